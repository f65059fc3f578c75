/* Dates, names of uses and kinds, and what sealed mail looks like from outside. Not for: any
 * protocol, or anything that changes a message. */
#include "engine/mail.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/bytes.h"

/* A reader of short fixed forms: every call takes its bytes and says whether they were there. */
struct scan {
	const char *at, *end;
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* Without the C library's strcasecmp: its answer depends on the locale. */
static bool equal_nocase(struct text a, const char *b)
{
	if (a.bytes != strlen(b))
		return false;
	for (size_t i = 0; i < a.bytes; i++)
		if (lower(a.at[i]) != lower(b[i]))
			return false;
	return true;
}

static bool scan_char(struct scan *scan, char c)
{
	if (scan->at == scan->end || *scan->at != c)
		return false;
	scan->at++;
	return true;
}

/* Exactly so many digits, not above `most`. */
static bool scan_digits(struct scan *scan, unsigned digits, int most, int *out)
{
	int value = 0;

	if (scan->end - scan->at < (ptrdiff_t)digits)
		return false;
	for (unsigned i = 0; i < digits; i++, scan->at++) {
		if (!is_digit(*scan->at))
			return false;
		value = value * 10 + (*scan->at - '0');
	}
	*out = value;
	return value <= most;
}

/* ---- dates ---- */

/* A date and time of day as written, before its zone is applied. */
struct civil {
	int year, month, day, hour, minute, second;
};

static const char month_names[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
					 "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };

static bool is_leap(int year)
{
	return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int days_in_month(int year, int month)
{
	static const int days[12] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

	return days[month - 1] + (month == 2 && is_leap(year));
}

static bool civil_is_valid(const struct civil *civil)
{
	return civil->year >= 1 && civil->year <= 9999 && civil->month >= 1 && civil->month <= 12 &&
	       civil->day >= 1 && civil->day <= days_in_month(civil->year, civil->month) &&
	       civil->hour <= 23 && civil->minute <= 59 && civil->second <= 60;
}

enum {
	DAYS_PER_ERA = 146097, /* 400 years of the Gregorian calendar */
	DAYS_TO_1970 = 719468, /* from 0000-03-01 */
	SECONDS_PER_DAY = 24 * 3600,
	/* The widest that is in use: +14 in Kiribati, -12 at sea. */
	ZONE_MINUTES_MAX = 14 * 60,
};

/* Days since 1970-01-01 in the proleptic Gregorian calendar. Years are counted from March, so that
 * the leap day is the last of its year, in eras of 400 years. */
static int64_t days_from_civil(int year, int month, int day)
{
	int shifted = year - (month <= 2);
	int era = shifted / 400, year_of_era = shifted % 400;
	int day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;

	must(shifted >= 0);
	return (int64_t)era * DAYS_PER_ERA + year_of_era * 365 + year_of_era / 4 -
	       year_of_era / 100 + day_of_year - DAYS_TO_1970;
}

/* The other way. False outside years 1 to 9999. */
static bool civil_from_days(int64_t days, struct civil *civil)
{
	int64_t from_zero = days + DAYS_TO_1970;
	int era, day_of_era, year_of_era, day_of_year, month;

	if (from_zero < 0 || from_zero >= (int64_t)25 * DAYS_PER_ERA)
		return false;
	era = (int)(from_zero / DAYS_PER_ERA);
	day_of_era = (int)(from_zero % DAYS_PER_ERA);
	year_of_era =
		(day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
	day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	month = (5 * day_of_year + 2) / 153;
	civil->day = day_of_year - (153 * month + 2) / 5 + 1;
	civil->month = month < 10 ? month + 3 : month - 9;
	civil->year = era * 400 + year_of_era + (civil->month <= 2);
	return civil->year >= 1 && civil->year <= 9999;
}

static bool mail_date_set(struct mail_date *date, const struct civil *civil, int zone_minutes)
{
	if (!civil_is_valid(civil))
		return false;
	date->seconds = days_from_civil(civil->year, civil->month, civil->day) * SECONDS_PER_DAY +
			civil->hour * 3600 + civil->minute * 60 + civil->second - zone_minutes * 60;
	date->zone_minutes = zone_minutes;
	date->known = true;
	return true;
}

/* "+0130" or, with a separator, "+01:30". */
static bool scan_zone(struct scan *scan, bool with_colon, int *minutes_out)
{
	bool negative = scan_char(scan, '-');
	int hours, minutes;

	if (!negative && !scan_char(scan, '+'))
		return false;
	if (!scan_digits(scan, 2, 23, &hours) || (with_colon && !scan_char(scan, ':')) ||
	    !scan_digits(scan, 2, 59, &minutes))
		return false;
	*minutes_out = (hours * 60 + minutes) * (negative ? -1 : 1);
	return true;
}

static bool scan_time(struct scan *scan, struct civil *civil)
{
	return scan_digits(scan, 2, 23, &civil->hour) && scan_char(scan, ':') &&
	       scan_digits(scan, 2, 59, &civil->minute) && scan_char(scan, ':') &&
	       scan_digits(scan, 2, 60, &civil->second);
}

static bool scan_month_name(struct scan *scan, int *month)
{
	if (scan->end - scan->at < 3)
		return false;
	for (int i = 0; i < 12; i++)
		if (equal_nocase((struct text){ scan->at, 3 }, month_names[i])) {
			scan->at += 3;
			*month = i + 1;
			return true;
		}
	return false;
}

/* date-day-fixed is (SP DIGIT) / 2DIGIT; servers are met that leave the space out. */
static bool scan_day(struct scan *scan, int *day)
{
	if (scan->end - scan->at >= 2 && is_digit(scan->at[0]) && is_digit(scan->at[1]))
		return scan_digits(scan, 2, 31, day);
	(void)scan_char(scan, ' ');
	return scan_digits(scan, 1, 9, day);
}

bool mail_date_parse(struct text text, struct mail_date *out)
{
	struct scan scan = { text.at, text.at + text.bytes };
	struct civil civil = { 0 };
	int zone_minutes;

	return scan_day(&scan, &civil.day) && scan_char(&scan, '-') &&
	       scan_month_name(&scan, &civil.month) && scan_char(&scan, '-') &&
	       scan_digits(&scan, 4, 9999, &civil.year) && scan_char(&scan, ' ') &&
	       scan_time(&scan, &civil) && scan_char(&scan, ' ') &&
	       scan_zone(&scan, false, &zone_minutes) && scan.at == scan.end &&
	       mail_date_set(out, &civil, zone_minutes);
}

/* What a clock in the date's zone shows; false where none can: not known, or beyond all years. */
static bool civil_of(const struct mail_date *date, struct civil *civil)
{
	int64_t local, days;
	int rest;

	if (!date->known ||
	    __builtin_add_overflow(date->seconds, (int64_t)date->zone_minutes * 60, &local))
		return false;
	days = local / SECONDS_PER_DAY - (local % SECONDS_PER_DAY < 0);
	if (!civil_from_days(days, civil))
		return false;
	rest = (int)(local - days * SECONDS_PER_DAY);
	must(rest >= 0 && rest < SECONDS_PER_DAY);
	civil->hour = rest / 3600;
	civil->minute = rest / 60 % 60;
	civil->second = rest % 60;
	return true;
}

char *mail_date_imap(char to[40], const struct mail_date *date)
{
	struct mail_date said = *date;
	struct civil civil;
	int zone;

	to[0] = '\0';
	/* Servers refuse such a zone; the instant is what matters. */
	if (said.zone_minutes < -ZONE_MINUTES_MAX || said.zone_minutes > ZONE_MINUTES_MAX)
		said.zone_minutes = 0;
	zone = said.zone_minutes;
	if (civil_of(&said, &civil))
		snprintf(to, 40, "%2d-%s-%04d %02d:%02d:%02d %c%02d%02d", civil.day,
			 month_names[civil.month - 1], civil.year, civil.hour, civil.minute,
			 civil.second, zone < 0 ? '-' : '+', abs(zone) / 60, abs(zone) % 60);
	return to;
}

char *mail_date_rfc3339(char to[40], const struct mail_date *date)
{
	int zone = date->zone_minutes;
	struct civil civil;

	to[0] = '\0';
	if (zone > -24 * 60 && zone < 24 * 60 && civil_of(date, &civil))
		snprintf(to, 40, "%04d-%02d-%02dT%02d:%02d:%02d%c%02d:%02d", civil.year,
			 civil.month, civil.day, civil.hour, civil.minute, civil.second,
			 zone < 0 ? '-' : '+', abs(zone) / 60, abs(zone) % 60);
	return to;
}

/* time-secfrac, RFC 3339 section 5.6: accepted and dropped, mail has whole seconds. */
static bool scan_fraction(struct scan *scan)
{
	if (!scan_char(scan, '.'))
		return true;
	if (scan->at == scan->end || !is_digit(*scan->at))
		return false;
	while (scan->at < scan->end && is_digit(*scan->at))
		scan->at++;
	return true;
}

bool mail_date_from_rfc3339(struct text text, struct mail_date *out)
{
	struct scan scan = { text.at, text.at + text.bytes };
	struct civil civil = { 0 };
	int zone_minutes = 0;

	if (!(scan_digits(&scan, 4, 9999, &civil.year) && scan_char(&scan, '-') &&
	      scan_digits(&scan, 2, 12, &civil.month) && scan_char(&scan, '-') &&
	      scan_digits(&scan, 2, 31, &civil.day) &&
	      (scan_char(&scan, 'T') || scan_char(&scan, 't')) && scan_time(&scan, &civil) &&
	      scan_fraction(&scan)))
		return false;
	if (!scan_char(&scan, 'Z') && !scan_char(&scan, 'z') &&
	    !scan_zone(&scan, true, &zone_minutes))
		return false;
	return scan.at == scan.end && mail_date_set(out, &civil, zone_minutes);
}

/* ---- names ---- */

static const char *const use_names[] = {
	[BOX_USE_NONE] = "",	     [BOX_USE_INBOX] = "inbox",
	[BOX_USE_ALL] = "all",	     [BOX_USE_ARCHIVE] = "archive",
	[BOX_USE_DRAFTS] = "drafts", [BOX_USE_FLAGGED] = "flagged",
	[BOX_USE_JUNK] = "junk",     [BOX_USE_SENT] = "sent",
	[BOX_USE_TRASH] = "trash",   [BOX_USE_IMPORTANT] = "important",
};

const char *box_use_name(enum box_use use)
{
	must((unsigned)use < ARRAY_COUNT(use_names));
	return use_names[use];
}

bool box_use_from_name(struct text name, enum box_use *out)
{
	for (unsigned i = 0; i < ARRAY_COUNT(use_names); i++)
		if (text_equal(name, text_of(use_names[i]))) {
			*out = (enum box_use)i;
			return true;
		}
	return false;
}

const char *mail_kind_name(enum mail_kind kind)
{
	static const char *const names[MAIL_KIND_COUNT] = {
		[MAIL_PLAIN] = "plain",
		[MAIL_SMIME_SIGNED] = "smime-signed",
		[MAIL_SMIME_ENCRYPTED] = "smime-encrypted",
		[MAIL_PGP_SIGNED] = "pgp-signed",
		[MAIL_PGP_ENCRYPTED] = "pgp-encrypted",
	};

	must((unsigned)kind < MAIL_KIND_COUNT);
	return names[kind];
}

/* ---- sealed mail ---- */

/* A line without its end, and where the next begins. A bare LF ends a line too: messages that were
 * never on the wire have them. */
static struct text next_line(struct scan *scan)
{
	const char *end = memchr(scan->at, '\n', (size_t)(scan->end - scan->at));
	struct text line = { scan->at, (size_t)((end ? end : scan->end) - scan->at) };

	scan->at = end ? end + 1 : scan->end;
	if (line.bytes > 0 && line.at[line.bytes - 1] == '\r')
		line.bytes--;
	return line;
}

static bool continues(const struct scan *scan)
{
	return scan->at < scan->end && (*scan->at == ' ' || *scan->at == '\t');
}

/* The value of the first field of this name, folded as it stands (RFC 5322 section 2.2.3). */
static bool find_field(struct scan *scan, const char *name, struct scan *value)
{
	struct text line, field;
	const char *colon;

	while (scan->at < scan->end) {
		line = next_line(scan);
		if (line.bytes == 0)
			return false; /* the header's end */
		while (continues(scan))
			(void)next_line(scan);
		colon = memchr(line.at, ':', line.bytes);
		if (!colon)
			continue;
		field = (struct text){ line.at, (size_t)(colon - line.at) };
		while (field.bytes > 0 && (colon[-1] == ' ' || colon[-1] == '\t'))
			field.bytes--, colon--;
		if (!equal_nocase(field, name))
			continue;
		*value = (struct scan){ line.at + field.bytes, scan->at };
		while (!scan_char(value, ':'))
			value->at++;
		return true;
	}
	return false;
}

/* White space, line ends of folding, and comments, which nest (RFC 5322 section 3.2.2). */
static void skip_space(struct scan *scan)
{
	unsigned depth = 0;

	for (; scan->at < scan->end; scan->at++) {
		if (*scan->at == '(')
			depth++;
		else if (*scan->at == ')' && depth > 0)
			depth--;
		else if (*scan->at == '\\' && depth > 0 && scan->end - scan->at > 1)
			scan->at++;
		else if (depth == 0 && !memchr(" \t\r\n", *scan->at, 4))
			return;
	}
}

/* What ends a token (RFC 2045 section 5.1), and what ends a value for us: mailers are met that
 * leave out the quotes around protocol=application/pgp-signature. */
static const char ends_token[] = "()<>@,;:\\\"/[]?=", ends_value[] = ";(\"";

/* A token or a quoted string. Escapes inside quotes stay as they are: no name that is looked for
 * has any. */
static struct text next_word(struct scan *scan, const char *ends)
{
	struct text word;

	skip_space(scan);
	if (scan_char(scan, '"')) {
		word.at = scan->at;
		while (scan->at < scan->end && *scan->at != '"')
			scan->at += *scan->at == '\\' && scan->end - scan->at > 1 ? 2 : 1;
		word.bytes = (size_t)(scan->at - word.at);
		(void)scan_char(scan, '"');
		return word;
	}
	word.at = scan->at;
	while (scan->at < scan->end && (unsigned char)*scan->at > ' ' && !strchr(ends, *scan->at))
		scan->at++;
	word.bytes = (size_t)(scan->at - word.at);
	return word;
}

/* What of a Content-Type decides. */
struct content_type {
	struct text type, subtype, protocol, smime_type;
};

static struct content_type read_content_type(struct scan scan)
{
	struct content_type out = { 0 };
	struct text name, value;

	out.type = next_word(&scan, ends_token);
	skip_space(&scan);
	if (scan_char(&scan, '/'))
		out.subtype = next_word(&scan, ends_token);
	while (scan.at < scan.end) {
		skip_space(&scan);
		if (!scan_char(&scan, ';')) {
			scan.at +=
				scan.at < scan.end; /* something odd; the next ';' is a new start */
			continue;
		}
		name = next_word(&scan, ends_token);
		skip_space(&scan);
		if (!scan_char(&scan, '='))
			continue;
		value = next_word(&scan, ends_value);
		if (equal_nocase(name, "protocol"))
			out.protocol = value;
		else if (equal_nocase(name, "smime-type"))
			out.smime_type = value;
	}
	return out;
}

static bool is_pkcs7(struct text subtype, const char *what)
{
	if (subtype.bytes > 2 && lower(subtype.at[0]) == 'x' && subtype.at[1] == '-')
		subtype = (struct text){ subtype.at + 2, subtype.bytes - 2 };
	return equal_nocase(subtype, what);
}

/* RFC 8551 section 3.2.2. A list of certificates is signed data without content; compressed data is
 * neither. Without smime-type it is taken for what it mostly is. */
static enum mail_kind kind_of_pkcs7(struct text smime_type)
{
	if (equal_nocase(smime_type, "signed-data") || equal_nocase(smime_type, "certs-only"))
		return MAIL_SMIME_SIGNED;
	if (equal_nocase(smime_type, "compressed-data"))
		return MAIL_PLAIN;
	return MAIL_SMIME_ENCRYPTED;
}

/* `protocol` is "application/..." */
static enum mail_kind kind_of_multipart(struct text subtype, struct text protocol)
{
	static const struct text application = { "application/", 12 };

	if (protocol.bytes <= application.bytes ||
	    !equal_nocase((struct text){ protocol.at, application.bytes }, application.at))
		return MAIL_PLAIN;
	protocol.at += application.bytes;
	protocol.bytes -= application.bytes;
	if (equal_nocase(subtype, "signed") && is_pkcs7(protocol, "pkcs7-signature"))
		return MAIL_SMIME_SIGNED;
	if (equal_nocase(subtype, "signed") && equal_nocase(protocol, "pgp-signature"))
		return MAIL_PGP_SIGNED;
	if (equal_nocase(subtype, "encrypted") && equal_nocase(protocol, "pgp-encrypted"))
		return MAIL_PGP_ENCRYPTED;
	return MAIL_PLAIN;
}

enum mail_kind mail_sniff(const uint8_t *head, size_t bytes)
{
	const char *at = (const char *)head;
	struct scan scan = { at, at + bytes }, value;
	struct content_type type;

	if (bytes == 0 || !find_field(&scan, "content-type", &value))
		return MAIL_PLAIN;
	type = read_content_type(value);
	if (equal_nocase(type.type, "multipart"))
		return kind_of_multipart(type.subtype, type.protocol);
	if (equal_nocase(type.type, "application") && is_pkcs7(type.subtype, "pkcs7-mime"))
		return kind_of_pkcs7(type.smime_type);
	return MAIL_PLAIN;
}

/* ---- flags as a number ---- */

/* Keywords are equal in any case of letters (RFC 9051 section 2.3.2). */
static uint64_t hash_keyword(struct text keyword)
{
	uint64_t hash = 14695981039346656037u; /* FNV-1a */

	for (size_t i = 0; i < keyword.bytes; i++) {
		unsigned char c = (unsigned char)keyword.at[i];

		c = c >= 'A' && c <= 'Z' ? (unsigned char)(c + 'a' - 'A') : c;
		hash = (hash ^ c) * 1099511628211u;
	}
	hash ^= hash >> 32; /* the sum of several shall depend on all their bits */
	hash *= 0x9e3779b97f4a7c15u;
	return hash ^ hash >> 29;
}

/* The keyword at *at, which then is behind it. */
static struct text next_keyword(const char **at, const char *end)
{
	const char *space = memchr(*at, ' ', (size_t)(end - *at));
	struct text keyword = { *at, (size_t)((space ? space : end) - *at) };

	*at = space ? space + 1 : end;
	return keyword;
}

static const uint64_t mark_factor = 0x9e3779b97f4a7c15u;
static const uint64_t mark_factor_inverse = 0xf1de83e19937733du; /* modulo 2^64 */

uint64_t mail_mark(const struct mail_meta *meta)
{
	const char *at = meta->keywords, *end = at + meta->keywords_bytes;
	uint64_t mark = ((uint64_t)meta->keywords_dropped << 8 | meta->flags) + 1;

	for (mark *= mark_factor; at < end;)
		mark += hash_keyword(next_keyword(&at, end));
	return mark ? mark : 1;
}

/* ---- and back ---- */

/* Keywords that may have been there or not. */
enum { MARK_WORDS_MAX = 64, MARK_WORDS_FREE = 10, MARK_WORDS_CHANGED = 2 };
struct mark_words {
	struct {
		struct text text;
		uint64_t hash;
		bool is_now;
	} words[MARK_WORDS_MAX];
	unsigned count;
	uint64_t mark;
	uint16_t dropped;
	uint32_t flags; /* found */
};

static bool has_word(const struct mark_words *all, uint64_t hash)
{
	for (unsigned i = 0; i < all->count; i++)
		if (all->words[i].hash == hash)
			return true;
	return false;
}

static void add_words(struct mark_words *all, const struct mail_meta *meta, bool is_now)
{
	const char *at = meta->keywords, *end = at + meta->keywords_bytes;

	while (at < end && all->count < MARK_WORDS_MAX) {
		struct text text = next_keyword(&at, end);
		uint64_t hash = hash_keyword(text);

		if (text.bytes == 0 || has_word(all, hash))
			continue;
		all->words[all->count].text = text;
		all->words[all->count].hash = hash;
		all->words[all->count++].is_now = is_now;
	}
}

/* What is left of the mark without its keywords is five bits and a count. */
static bool is_mark_of(struct mark_words *all, uint64_t keywords)
{
	uint64_t left = (all->mark - keywords) * mark_factor_inverse - 1;

	all->flags = (uint32_t)(left & 0xff);
	return all->flags < 2 * MAIL_DRAFT && left >> 8 == all->dropped;
}

/* Which of the words were other than now, bit by bit; false: no choice of them fits. */
static bool find_choice(struct mark_words *all, uint64_t keywords, unsigned first, unsigned most,
			uint64_t *choice)
{
	if (is_mark_of(all, keywords))
		return true;
	for (unsigned i = first; most && i < all->count; i++) {
		uint64_t hash = all->words[i].hash;

		*choice ^= (uint64_t)1 << i;
		if (find_choice(all, all->words[i].is_now ? keywords - hash : keywords + hash,
				i + 1, most - 1, choice))
			return true;
		*choice ^= (uint64_t)1 << i;
	}
	return false;
}

static bool write_choice(const struct mark_words *all, uint64_t choice, struct mail_meta *was)
{
	size_t bytes = 0;

	for (unsigned i = 0; i < all->count; i++) {
		struct text text = all->words[i].text;

		if (all->words[i].is_now == (choice >> i & 1))
			continue;
		if (bytes + text.bytes + 1 > sizeof was->keywords)
			return false;
		if (bytes)
			was->keywords[bytes++] = ' ';
		bytes_copy(was->keywords + bytes, text.at, text.bytes, BYTES_META);
		bytes += text.bytes;
	}
	was->keywords_bytes = (uint16_t)bytes;
	was->keywords_dropped = all->dropped;
	was->flags = all->flags;
	return true;
}

bool mail_meta_of_mark(uint64_t mark, const struct mail_meta *now, const struct mail_meta *there,
		       const struct mail_meta *others, struct mail_meta *was)
{
	struct mark_words all = { .mark = mark, .dropped = now->keywords_dropped };
	uint64_t keywords = 0, choice = 0;

	add_words(&all, now, true);
	if (!mark || all.count == MARK_WORDS_MAX)
		return false;
	for (unsigned i = 0; i < all.count; i++)
		keywords += all.words[i].hash;
	add_words(&all, there, false);
	if (all.count <= MARK_WORDS_FREE && find_choice(&all, keywords, 0, all.count, &choice))
		return write_choice(&all, choice, was);
	add_words(&all, others, false);
	return find_choice(&all, keywords, 0, MARK_WORDS_CHANGED, &choice) &&
	       write_choice(&all, choice, was);
}

/* ---- digested on the way ---- */

static enum err tapped_pull(struct stream *stream, struct iolist *out)
{
	struct tapped *tapped = CONTAINER_OF(stream, struct tapped, base);
	enum err e = stream_pull(tapped->body, out);

	for (unsigned i = 0; e == OK && i < out->count; i++)
		tapped->tap->type->update(tapped->tap, slice_bytes(&out->slices[i]),
					  out->slices[i].length);
	if (e == ERR_STREAM_ENDED && tapped->digest) {
		tapped->tap->type->end(tapped->tap, tapped->digest);
		tapped->digest = NULL; /* the end may be seen again */
	}
	return e;
}

static void tapped_close(struct stream *stream)
{
	stream_close(&CONTAINER_OF(stream, struct tapped, base)->body);
}

struct stream *tapped_open(struct tapped *tapped, struct stream *body, struct tap *tap,
			   struct digest *digest)
{
	static const struct stream_type type = { .pull = tapped_pull, .close = tapped_close };

	must(body && tap && digest);
	*tapped = (struct tapped){ { &type }, body, tap, digest };
	tap->type->begin(tap);
	return &tapped->base;
}
