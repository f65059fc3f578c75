#include "tools/mailbox_row.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/limits.h"
#include "tools/drivers.h"

enum {
	TEXT_BYTES_MAX = 1000, /* ticket, tags, wave: they are kept for every waiting mailbox */
	PRIORITY_MAX = 1000000,
};

static const struct csv_field *field_of(const struct mailbox_maker *maker, enum mailbox_side side,
					enum mailbox_role role)
{
	unsigned at = maker->layout->at[side][role];

	return at && at <= maker->record->count ? &maker->record->fields[at - 1] : NULL;
}

static struct text text_at(const struct mailbox_maker *maker, enum mailbox_side side,
			   enum mailbox_role role)
{
	const struct csv_field *field = field_of(maker, side, role);

	return field ? csv_trimmed(field) : (struct text){ "", 0 };
}

/* The column's name as its tool documents it; "" if the list has none in this role. */
static const char *name_of(const struct mailbox_maker *maker, enum mailbox_side side,
			   enum mailbox_role role)
{
	unsigned at = maker->layout->at[side][role];

	return at ? maker->layout->of[at - 1]->name : "";
}

#define FAULT(maker, side, role, ...)                                                              \
	mailbox_tell_fault((maker)->tell, fault_line(maker, side, role),                           \
			   name_of(maker, side, role), __VA_ARGS__)

static uint32_t fault_line(const struct mailbox_maker *maker, enum mailbox_side side,
			   enum mailbox_role role)
{
	const struct csv_field *field = field_of(maker, side, role);

	return field ? field->line : maker->record->line;
}

static const char *keep(struct mailbox_maker *maker, const char *before, struct text text)
{
	const char *kept;

	if (before && text_equal(text_of(before), text))
		return before;
	kept = text_store_add(&maker->texts, text);
	maker->memory_lost |= !kept;
	return kept ? kept : "";
}

/* url_parse() into maker->url; what it finds wrong becomes a fault of this column. */
static bool take_url(struct mailbox_maker *maker, enum mailbox_side side, enum mailbox_role role,
		     const char *text)
{
	struct err_note note = { 0 }, *outer = err_note_swap(&note);
	enum err e = url_parse(side == SIDE_SOURCE ? "the source" : "the destination", text,
			       "source-password-file", &maker->url);

	err_note_swap(outer);
	if (e == ERR_MEMORY_EXHAUSTED)
		maker->memory_lost = true;
	else if (e && strstr(note.text, "has a password in it"))
		FAULT(maker, side, role,
		      "has a password in the URL; write it as \"plain:PASSWORD\" or, better, as a "
		      "reference into the column for secrets");
	else if (e)
		FAULT(maker, side, role, "%s", note.text);
	return e == OK;
}

static const char *scratch(struct mailbox_maker *maker, const char *head, struct text text)
{
	buffer_reset(&maker->text);
	buffer_add_text(&maker->text, head);
	buffer_add(&maker->text, text.at, text.bytes);
	maker->memory_lost |= maker->text.failed;
	return maker->text.failed ? "" : maker->text.at;
}

/* RFC 3986 section 2.1: what would end this part of a URL, or look like a password in it, as %XX;
 * url_parse() gives all the rest its one spelling. */
static void add_encoded(struct buffer *to, struct text text, const char *reserved)
{
	size_t run;

	for (size_t i = 0; i < text.bytes; i += run + 1) {
		for (run = 0; i + run < text.bytes && !strchr(reserved, text.at[i + run]);)
			run++;
		buffer_add(to, text.at + i, run);
		if (i + run < text.bytes)
			buffer_addf(to, "%%%02X", (unsigned char)text.at[i + run]);
	}
}

/* ---- one side's server and user ---- */

struct endpoint {
	enum mailbox_role role; /* blamed if the whole is wrong */
	const char *scheme;
	struct text host, user, path;
	struct text port; /* digits, may be empty */
};

static bool compose(struct mailbox_maker *maker, enum mailbox_side side,
		    const struct endpoint *endpoint)
{
	bool bracketed = memchr(endpoint->host.at, ':', endpoint->host.bytes) != NULL;
	struct buffer *text = &maker->text;

	buffer_reset(text);
	buffer_addf(text, "%s://", endpoint->scheme);
	add_encoded(text, endpoint->user, "%/?#@:[");
	buffer_addf(text, "%s%s", endpoint->user.bytes ? "@" : "", bracketed ? "[" : "");
	buffer_add(text, endpoint->host.at, endpoint->host.bytes);
	buffer_addf(text, "%s%s", bracketed ? "]" : "", endpoint->port.bytes ? ":" : "");
	buffer_add(text, endpoint->port.at, endpoint->port.bytes);
	add_encoded(text, endpoint->path, "%?#@:[");
	maker->memory_lost |= text->failed;
	return !text->failed && take_url(maker, side, endpoint->role, text->at);
}

static bool is_one_of(struct text text, const char *a, const char *b)
{
	return (text.bytes == strlen(a) && strncasecmp(text.at, a, text.bytes) == 0) ||
	       (text.bytes == strlen(b) && strncasecmp(text.at, b, text.bytes) == 0);
}

/* MailFerry's words: "tls" is its older name for STARTTLS. */
static bool take_security(struct mailbox_maker *maker, enum mailbox_side side,
			  struct endpoint *endpoint)
{
	struct text word = text_at(maker, side, ROLE_SECURITY);

	if (is_one_of(word, "starttls", "tls"))
		endpoint->scheme = "imap";
	else if (is_one_of(word, "none", "plain"))
		FAULT(maker, side, ROLE_SECURITY,
		      "\"none\" would send the password and the mail in plaintext, which mailhaul "
		      "never does; use ssl or starttls");
	else if (!is_one_of(word, "ssl", "ssl"))
		FAULT(maker, side, ROLE_SECURITY,
		      "must be ssl (TLS from the first byte) or "
		      "starttls");
	else
		endpoint->scheme = "imaps";
	return *endpoint->scheme;
}

static bool next_word(struct text *rest, struct text *word)
{
	while (rest->bytes > 0 && *rest->at == ' ')
		rest->at++, rest->bytes--;
	*word = (struct text){ rest->at, 0 };
	while (word->bytes < rest->bytes && rest->at[word->bytes] != ' ')
		word->bytes++;
	rest->at += word->bytes;
	rest->bytes -= word->bytes;
	return word->bytes > 0;
}

/* Options of imapsync that say how to reach a server, and those that shape a destination, which do
 * not matter if the job names another. All others would change what is copied. */
static const struct {
	const char *name, *scheme;
	enum mailbox_side side;
	bool has_value, shapes;
} options[] = {
	{ "--ssl1", "imaps", SIDE_SOURCE, false, false },
	{ "--tls1", "imap", SIDE_SOURCE, false, false },
	{ "--port1", NULL, SIDE_SOURCE, true, false },
	{ "--ssl2", "imaps", SIDE_TARGET, false, false },
	{ "--tls2", "imap", SIDE_TARGET, false, false },
	{ "--port2", NULL, SIDE_TARGET, true, false },
	{ "--automap", NULL, SIDE_TARGET, false, true },
	{ "--subfolder2", NULL, SIDE_TARGET, true, true },
};

/* One option off `rest`; false if it is none of these. */
static bool take_option(const struct mailbox_maker *maker, struct text *rest, struct text word,
			enum mailbox_side side, struct endpoint *endpoint)
{
	struct text value = { "", 0 };

	for (size_t i = 0; i < ARRAY_COUNT(options); i++) {
		if (!is_one_of(word, options[i].name, options[i].name))
			continue;
		if (options[i].has_value && !next_word(rest, &value))
			return false;
		if (options[i].shapes && !maker->target_given)
			return false;
		if (options[i].side != side || options[i].shapes)
			return true;
		if (options[i].has_value)
			endpoint->port = value;
		else
			endpoint->scheme = options[i].scheme;
		return true;
	}
	return false;
}

static bool take_options(struct mailbox_maker *maker, enum mailbox_side side,
			 struct endpoint *endpoint)
{
	struct text rest = text_at(maker, SIDE_SOURCE, ROLE_OPTIONS), word;

	while (next_word(&rest, &word))
		if (!take_option(maker, &rest, word, side, endpoint)) {
			/* Both sides look at the options; one of them tells. */
			if (side == SIDE_SOURCE)
				FAULT(maker, SIDE_SOURCE, ROLE_OPTIONS,
				      "has an option that mailhaul cannot honour; it knows --ssl1, "
				      "--tls1, --port1, --ssl2, --tls2, --port2 and, where the job "
				      "has a target of its own, --automap and --subfolder2");
			return false;
		}
	return true;
}

/* The user of this side; two that differ are a fault. */
static bool take_user(struct mailbox_maker *maker, enum mailbox_side side, const char *in_url,
		      struct text *user)
{
	*user = text_at(maker, side, ROLE_USER);
	if (!user->bytes)
		*user = text_at(maker, side, ROLE_ADDRESS);
	if (*in_url && user->bytes && !text_equal(text_of(in_url), *user)) {
		FAULT(maker, side, ROLE_USER, "is not the user that stands in the URL");
		return false;
	}
	if (!user->bytes)
		*user = text_of(in_url);
	return true;
}

static struct endpoint endpoint_of(const struct url *url, char port[8], enum mailbox_role role)
{
	snprintf(port, 8, "%u", url->port);
	return (struct endpoint){
		.role = role,
		.scheme = url->scheme,
		.host = text_of(url->host),
		.path = text_of(url->path),
		.port = text_of(url->port ? port : ""),
	};
}

/* Where a URL stands in the row, or a host's name in its place. */
static bool take_whole_url(struct mailbox_maker *maker, enum mailbox_side side, struct text url)
{
	bool bare = !memmem(url.at, url.bytes, "://", 3);
	char port[8];
	struct endpoint endpoint;

	if (!take_url(maker, side, ROLE_URL, scratch(maker, bare ? "imaps://" : "", url)))
		return false;
	if (drivers_has_archives(maker->url.scheme)) /* an archive has no user */
		return true;
	maker->given = maker->url;
	endpoint = endpoint_of(&maker->given, port, ROLE_URL);
	return take_user(maker, side, maker->given.user, &endpoint.user) &&
	       compose(maker, side, &endpoint);
}

static bool take_host(struct mailbox_maker *maker, enum mailbox_side side, struct text host)
{
	struct endpoint endpoint = {
		.role = ROLE_HOST,
		.scheme = "imaps",
		.host = host,
		.path = text_of(""),
		.port = text_at(maker, side, ROLE_PORT),
	};

	if (field_of(maker, side, ROLE_SECURITY) && !take_security(maker, side, &endpoint))
		return false;
	return take_options(maker, side, &endpoint) && take_user(maker, side, "", &endpoint.user) &&
	       compose(maker, side, &endpoint);
}

/* Scheme, host, port and path of the job's source, with the row's user. */
static bool take_job_source(struct mailbox_maker *maker)
{
	char port[8];
	struct endpoint endpoint;

	if (!maker->source) {
		if (!maker->source_missed)
			FAULT(maker, SIDE_SOURCE, ROLE_USER,
			      "no server to read from: neither this row (nor perhaps others "
			      "below) nor the job's `source` names one");
		maker->source_missed = true;
		return false;
	}
	if (drivers_has_archives(maker->source->scheme)) {
		maker->url = *maker->source;
		return true;
	}
	endpoint = endpoint_of(maker->source, port, ROLE_USER);
	if (!take_user(maker, SIDE_SOURCE, "", &endpoint.user))
		return false;
	if (!endpoint.user.bytes)
		endpoint.user = text_of(maker->source->user);
	return compose(maker, SIDE_SOURCE, &endpoint);
}

/* ---- the parts of a row ---- */

/* What identifies the mailbox: addresses are the same in any case, other logins need not be. */
static const char *account_of(struct mailbox_maker *maker)
{
	char name[2 * URL_PART_BYTES_MAX + 32];
	const char *at = strrchr(maker->url.user, '@');

	url_mailbox_name(&maker->url, name, sizeof name);
	for (char *c = name; at && *c; c++)
		*c = *c >= 'A' && *c <= 'Z' ? (char)(*c - 'A' + 'a') : *c;
	return keep(maker, NULL, text_of(name));
}

/* A mailbox of the archive maker->url, by its name there. */
static void make_archived(struct mailbox_maker *maker)
{
	struct text name;

	if (!take_user(maker, SIDE_SOURCE, "", &name))
		return;
	if (!name.bytes) {
		FAULT(maker, SIDE_SOURCE, ROLE_USER, "is empty: which mailbox of the archive?");
		return;
	}
	maker->row->source_user = keep(maker, NULL, name);
	if (url_add_mailbox(&maker->url, maker->row->source_user)) {
		FAULT(maker, SIDE_SOURCE, ROLE_USER, "%s", err_note()->text);
		err_note_clear();
		return;
	}
	url_archived_account(&maker->url, &maker->text);
	maker->memory_lost |= maker->text.failed;
	if (!maker->text.failed)
		maker->row->account = keep(maker, NULL, text_of(maker->text.at));
	maker->row->source = keep(maker, NULL, text_of(maker->url.shown));
}

static void make_source(struct mailbox_maker *maker)
{
	struct text url = text_at(maker, SIDE_SOURCE, ROLE_URL);
	struct text host = text_at(maker, SIDE_SOURCE, ROLE_HOST);
	bool ok = url.bytes    ? take_whole_url(maker, SIDE_SOURCE, url)
		  : host.bytes ? take_host(maker, SIDE_SOURCE, host)
			       : take_job_source(maker);

	if (!ok)
		return;
	if (drivers_has_archives(maker->url.scheme)) {
		make_archived(maker);
		return;
	}
	if (!drivers_source(maker->url.scheme))
		FAULT(maker, SIDE_SOURCE, ROLE_URL,
		      "mailhaul cannot read from a URL of this kind; imaps://HOST/ and "
		      "imap://HOST/ (STARTTLS) are what it knows");
	else if (!*maker->url.user)
		FAULT(maker, SIDE_SOURCE, ROLE_USER, "is empty: whose mailbox is it?");
	maker->row->source = keep(maker, NULL, text_of(maker->url.shown));
	maker->row->source_user = keep(maker, NULL, text_of(maker->url.user));
	maker->row->account = account_of(maker);
}

/* The destination's columns count only where the job has no target, or the list is of our kind. */
static bool has_target(const struct mailbox_maker *maker)
{
	return maker->layout->dialect->own || !maker->target_given;
}

static void make_target(struct mailbox_maker *maker)
{
	struct text url = text_at(maker, SIDE_TARGET, ROLE_URL);
	struct text host = text_at(maker, SIDE_TARGET, ROLE_HOST), user;

	if (take_user(maker, SIDE_TARGET, "", &user))
		maker->row->target_user = keep(maker, maker->row->source_user, user);
	if (!has_target(maker) || (!url.bytes && !host.bytes))
		return;
	if (url.bytes ? !take_whole_url(maker, SIDE_TARGET, url)
		      : !take_host(maker, SIDE_TARGET, host))
		return;
	if (!drivers_sink(maker->url.scheme))
		FAULT(maker, SIDE_TARGET, url.bytes ? ROLE_URL : ROLE_HOST,
		      "mailhaul cannot write to a destination of this kind in this version; give "
		      "the job a `target` that it can write to");
	maker->row->target = keep(maker, NULL, text_of(maker->url.shown));
	if (*maker->url.user)
		maker->row->target_user = keep(maker, NULL, text_of(maker->url.user));
}

/* A password in the list itself. `skip` bytes of the field come before it. */
static struct secret_ref plain_secret(struct mailbox_maker *maker, enum mailbox_side side,
				      enum mailbox_role role, size_t skip)
{
	const struct csv_field *field = &maker->record->fields[maker->layout->at[side][role] - 1];
	struct text password = { field->at + skip, field->bytes - skip };
	bool spaced = password.bytes > 0 && (memchr(" \t", password.at[0], 2) ||
					     memchr(" \t", password.at[password.bytes - 1], 2));

	if (password.bytes == 0 || password.bytes > MAILBOX_SECRET_BYTES_MAX)
		FAULT(maker, side, role, "the password must have 1 to %d bytes",
		      MAILBOX_SECRET_BYTES_MAX);
	else if (spaced && !field->quoted && !maker->layout->dialect->literal)
		FAULT(maker, side, role,
		      "the password begins or ends with a space; put it in quotes if that is "
		      "meant, "
		      "take the space away if not");
	else {
		maker->plain_count++;
		if (!maker->plain_line)
			maker->plain_line = field->line;
		return mailbox_secret_place(maker->secrets, password, field->offset + skip,
					    field->raw_bytes - skip, field->doubled);
	}
	return (struct secret_ref){ .kind = SECRET_REF_NONE };
}

/* "file:..." and the like. What is no reference may be a password by mistake, so it is not kept
 * before it is known to be one. */
static struct secret_ref reference(struct mailbox_maker *maker, enum mailbox_side side,
				   struct text text)
{
	struct secret_ref ref = { .kind = SECRET_REF_NONE };
	struct err_note note = { 0 }, *outer;
	enum err e;

	if (text.bytes > TEXT_BYTES_MAX) {
		FAULT(maker, side, ROLE_AUTH, "is longer than %d bytes", TEXT_BYTES_MAX);
		return ref;
	}
	outer = err_note_swap(&note);
	e = secret_ref_parse(scratch(maker, "", text), &ref);

	if (e == OK)
		e = secret_ref_parse(keep(maker, NULL, text), &ref);
	err_note_swap(outer);
	if (e)
		FAULT(maker, side, ROLE_AUTH, "%s",
		      *note.text ? note.text : "is no reference to a secret");
	return ref;
}

static struct secret_ref make_secret(struct mailbox_maker *maker, enum mailbox_side side)
{
	const struct csv_field *field = field_of(maker, side, ROLE_AUTH);
	struct text auth = text_at(maker, side, ROLE_AUTH);

	if (auth.bytes >= 6 && memcmp(auth.at, "plain:", 6) == 0)
		return plain_secret(maker, side, ROLE_AUTH, (size_t)(auth.at - field->at) + 6);
	if (auth.bytes > 0)
		return reference(maker, side, auth);
	if (field_of(maker, side, ROLE_PASSWORD) && field_of(maker, side, ROLE_PASSWORD)->bytes)
		return plain_secret(maker, side, ROLE_PASSWORD, 0);
	return (struct secret_ref){ .kind = SECRET_REF_NONE };
}

/* A number in a column that may be empty (0). */
static bool number_at(struct mailbox_maker *maker, enum mailbox_role role, long min, long max,
		      long *out)
{
	struct text text = text_at(maker, SIDE_SOURCE, role);
	const char *digits;
	char *end;

	*out = 0;
	if (text.bytes == 0)
		return false;
	digits = scratch(maker, "", text);
	*out = strtol(digits, &end, 10);
	if (*end || strchr(" \t+", *digits) || text.bytes > 10 || *out < min || *out > max) {
		FAULT(maker, SIDE_SOURCE, role, "must be a whole number from %ld to %ld", min, max);
		*out = 0;
		return false;
	}
	return true;
}

static const char *words_at(struct mailbox_maker *maker, enum mailbox_role role, const char *before)
{
	struct text text = text_at(maker, SIDE_SOURCE, role);

	if (text.bytes > TEXT_BYTES_MAX) {
		FAULT(maker, SIDE_SOURCE, role, "is longer than %d bytes", TEXT_BYTES_MAX);
		return "";
	}
	return keep(maker, before, text);
}

static void make_rest(struct mailbox_maker *maker)
{
	const struct mailbox_row *before = maker->before;
	struct mailbox_row *row = maker->row;
	long number;

	row->priority_given = number_at(maker, ROLE_PRIORITY, -PRIORITY_MAX, PRIORITY_MAX, &number);
	row->priority = (int32_t)number;
	(void)number_at(maker, ROLE_CONNECTIONS, 1, LANE_READERS_MAX, &number);
	row->connections = (uint16_t)number;
	row->wave = words_at(maker, ROLE_WAVE, before ? before->wave : NULL);
	row->ticket = words_at(maker, ROLE_TICKET, before ? before->ticket : NULL);
	row->tags = words_at(maker, ROLE_TAGS, before ? before->tags : NULL);
}

/* ---- what is checked of every field ---- */

static bool has_control(struct text text)
{
	for (size_t i = 0; i < text.bytes; i++)
		if ((unsigned char)text.at[i] < 0x20 || text.at[i] == 0x7f)
			return true;
	return false;
}

static void check_fields(struct mailbox_maker *maker)
{
	for (size_t i = 0; i < maker->record->count && i < maker->layout->fields; i++) {
		const struct csv_field *field = &maker->record->fields[i];
		const struct mailbox_column *column = maker->layout->of[i];
		struct text text = csv_trimmed(field);

		if (!column)
			continue;
		if (column->role == ROLE_REFUSED && text.bytes > 0)
			mailbox_tell_fault(maker->tell, field->line, column->name,
					   "this version cannot honour it; leave it empty");
		else if (column->role == ROLE_FLAGS && !is_one_of(text, "", "0"))
			mailbox_tell_fault(maker->tell, field->line, column->name,
					   "mailhaul has none of MigrationWiz's flags; leave it "
					   "empty or 0");
		else if (column->role != ROLE_NOTHING && has_control(text))
			mailbox_tell_fault(maker->tell, field->line, column->name,
					   "holds a line break or another control character");
	}
}

/* A row with a field too few or too many has slipped, and nothing in it is where it seems. */
static bool count_is_right(const struct mailbox_maker *maker)
{
	const struct mailbox_layout *layout = maker->layout;
	size_t count = maker->record->count;
	size_t min = layout->dialect->columns_min ? layout->dialect->columns_min : layout->fields;

	/* What imapsync's scripts read into nothing. */
	while (layout->dialect->literal && count > layout->fields &&
	       maker->record->fields[count - 1].bytes == 0)
		count--;
	if (count >= min && count <= layout->fields)
		return true;
	mailbox_tell_fault(maker->tell, maker->record->line, "",
			   "%zu fields where there should be %zu; a field that holds the delimiter "
			   "must be in quotes",
			   count, layout->fields);
	return false;
}

enum err mailbox_row_make(struct mailbox_maker *maker, struct csv_record *record,
			  const struct mailbox_row *before, struct mailbox_row *row)
{
	*row = (struct mailbox_row){ .source = "",
				     .target = "",
				     .account = "",
				     .source_user = "",
				     .target_user = "",
				     .wave = "",
				     .ticket = "",
				     .tags = "",
				     .line = record->line };
	maker->record = record;
	maker->row = row;
	maker->before = before;
	if (!count_is_right(maker))
		return OK;
	check_fields(maker);
	make_source(maker);
	make_target(maker);
	row->source_secret = make_secret(maker, SIDE_SOURCE);
	if (has_target(maker))
		row->target_secret = make_secret(maker, SIDE_TARGET);
	make_rest(maker);
	return maker->memory_lost ? RAISE(ERR_MEMORY_EXHAUSTED, "keeping a mailbox list") : OK;
}

void mailbox_row_end(struct mailbox_maker *maker)
{
	if (maker->text.at)
		secret_wipe(maker->text.at, maker->text.room);
	buffer_free(&maker->text);
}
