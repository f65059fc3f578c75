/* A pattern is a row of tokens; all places in it that a name may have reached so far are followed
 * at once, character by character, so no pattern takes longer than its length times the name's. */
#include "engine/filter.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/bytes.h"

/* A token is a character, or one of these. */
enum {
	TOKEN_SEPARATOR = -1,
	TOKEN_ONE = -2,	   /* '?' */
	TOKEN_STAR = -3,   /* any within a level */
	TOKEN_DEEP = -4,   /* any at all */
	TOKEN_TAIL = -5,   /* nothing more, or a separator and DEEP, which follows */
	TOKEN_LEVELS = -6, /* any number of levels with their separators; INSIDE follows */
	TOKEN_INSIDE = -7, /* in one of these */
};
enum {
	TOKENS_MAX = BOX_NAME_BYTES_MAX + 1,
	INBOX_BYTES = 5,
	/* Bytes that are not UTF-8 are characters beyond all others. */
	NO_CHARACTER = 0x110000,
};

struct pattern {
	int32_t *tokens;
	unsigned count;
	enum box_use use; /* not NONE: that is all */
};
struct rename_rule {
	char *from, *to; /* levels separated by '/' */
	bool below;	 /* with all that is below it */
	enum box_use use;
};
struct filter {
	enum box_use (*by_name)(struct text level);
	struct pattern included[FILTER_PATTERNS_MAX], excluded[FILTER_PATTERNS_MAX];
	struct rename_rule rules[FILTER_PATTERNS_MAX];
	unsigned included_count, excluded_count, rules_count;
	bool has_since, has_before;
	int64_t since, before;
	uint64_t min, max;
};

/* ---- characters ---- */

/* The next character of a text that ends with NUL; bytes that do not decode are one each. */
static int32_t next_character(const char **at)
{
	const unsigned char *p = (const unsigned char *)*at;
	unsigned more = *p >= 0xf8 ? 0 : *p >= 0xf0 ? 3 : *p >= 0xe0 ? 2 : *p >= 0xc0 ? 1 : 0;
	int32_t c = more ? *p & (0x3f >> more) : *p;

	for (unsigned i = 1; i <= more; i++) {
		if ((p[i] & 0xc0) != 0x80) {
			more = 0;
			break;
		}
		c = c << 6 | (p[i] & 0x3f);
	}
	if (more == 0 && *p >= 0x80)
		c = NO_CHARACTER + *p;
	*at += 1 + more;
	return c;
}

static char upper(char c)
{
	return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

/* Is INBOX the first level? */
static bool begins_with_inbox(const char *name, char separator)
{
	static const char inbox[] = "INBOX";

	for (unsigned i = 0; i < INBOX_BYTES; i++)
		if (upper(name[i]) != inbox[i])
			return false;
	return !name[INBOX_BYTES] || name[INBOX_BYTES] == '/' ||
	       (separator && name[INBOX_BYTES] == separator);
}

static bool is_separator(char c, char separator)
{
	return c == '/' || (separator && c == separator);
}

/* ---- patterns: what was written ---- */

static enum err refuse(const char *text, const char *why)
{
	char shown[120];

	return RAISE(ERR_INPUT_USAGE, "\"%s\": %s", err_quote(shown, sizeof shown, text_of(text)),
		     why);
}

static enum err find_use(const char *text, struct text name, enum box_use *use)
{
	if (name.bytes && box_use_from_name(name, use) && *use != BOX_USE_NONE)
		return OK;
	return refuse(text, "behind @ stands inbox, sent, drafts, trash, junk, archive, all, "
			    "flagged or important; a folder whose name begins with @ is \\@...");
}

static enum err check_levels(const char *text)
{
	size_t n = strlen(text);

	if (!n)
		return refuse(text, "is empty; it takes a folder's name, levels separated by /");
	if (n > BOX_NAME_BYTES_MAX)
		return refuse(text, "is longer than a folder's name can be");
	if (text[0] == '/' || text[n - 1] == '/' || strstr(text, "//"))
		return refuse(text, "has an empty level; levels are separated by one slash, with "
				    "none at the ends");
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			return refuse(text, "holds a control character");
	return OK;
}

/* Two stars or more at *at. */
static void add_deep(struct pattern *pattern, const char **at)
{
	int32_t before = pattern->count ? pattern->tokens[pattern->count - 1] : TOKEN_SEPARATOR;
	bool whole = before == TOKEN_SEPARATOR || before == TOKEN_INSIDE;

	while (**at == '*')
		++*at;
	if (whole && **at == '/') {
		++*at;
		pattern->tokens[pattern->count++] = TOKEN_LEVELS;
		pattern->tokens[pattern->count++] = TOKEN_INSIDE;
		return;
	}
	if (whole && !**at && pattern->count && before == TOKEN_SEPARATOR)
		pattern->tokens[pattern->count - 1] = TOKEN_TAIL;
	pattern->tokens[pattern->count++] = TOKEN_DEEP;
}

static enum err add_tokens(struct pattern *pattern, const char *text)
{
	bool inbox = begins_with_inbox(text, '/');

	for (const char *at = text; *at;) {
		const char *from = at;
		int32_t c = next_character(&at);

		must(pattern->count + 2 <= TOKENS_MAX);
		if (c == '\\' && !*at)
			return refuse(text, "ends with a backslash; one stands before the "
					    "character that is meant itself");
		if (c == '\\')
			c = next_character(&at);
		else if (c == '*' && *at == '*') {
			at = from;
			add_deep(pattern, &at);
			continue;
		} else if (c == '*')
			c = TOKEN_STAR;
		else if (c == '?')
			c = TOKEN_ONE;
		else if (c == '/')
			c = TOKEN_SEPARATOR;
		else if (inbox && from - text < INBOX_BYTES)
			c = upper(*from);
		pattern->tokens[pattern->count++] = c;
	}
	return OK;
}

static enum err add_pattern(struct pattern *patterns, unsigned *count, const char *text)
{
	struct pattern *pattern = &patterns[*count];
	enum err e = check_levels(text);

	if (e)
		return e;
	if (*count == FILTER_PATTERNS_MAX)
		return refuse(text, "there are more than 256 patterns");
	if (*text == '@') {
		if ((e = find_use(text, text_of(text + 1), &pattern->use)) == OK)
			++*count;
		return e;
	}
	pattern->tokens = calloc(TOKENS_MAX, sizeof *pattern->tokens);
	if (!pattern->tokens)
		return RAISE(ERR_MEMORY_EXHAUSTED, "reading a pattern of folders");
	++*count;
	return add_tokens(pattern, text);
}

enum err filter_include_folder(struct filter *filter, const char *pattern)
{
	return add_pattern(filter->included, &filter->included_count, pattern);
}

enum err filter_exclude_folder(struct filter *filter, const char *pattern)
{
	return add_pattern(filter->excluded, &filter->excluded_count, pattern);
}

/* ---- patterns: matching ---- */

struct places {
	bool at[TOKENS_MAX + 1];
};

/* Place `i`, and those it reaches by nothing. */
static void reach(const struct pattern *pattern, struct places *places, unsigned i)
{
	for (;;) {
		places->at[i] = true;
		if (i == pattern->count)
			return;
		if (pattern->tokens[i] == TOKEN_STAR || pattern->tokens[i] == TOKEN_DEEP)
			i++;
		else if (pattern->tokens[i] == TOKEN_TAIL || pattern->tokens[i] == TOKEN_LEVELS)
			i += 2;
		else
			return;
	}
}

/* From place `i` with one character more. */
static void step(const struct pattern *pattern, unsigned i, int32_t c, bool separates,
		 struct places *next)
{
	int32_t token = pattern->tokens[i];

	switch (token) {
	case TOKEN_SEPARATOR:
		if (separates || c == '/')
			reach(pattern, next, i + 1);
		break;
	case TOKEN_ONE:
		if (!separates)
			reach(pattern, next, i + 1);
		break;
	case TOKEN_STAR:
		if (!separates)
			reach(pattern, next, i);
		break;
	case TOKEN_DEEP:
		reach(pattern, next, i);
		break;
	case TOKEN_TAIL:
		if (separates)
			reach(pattern, next, i + 1);
		break;
	case TOKEN_LEVELS:
	case TOKEN_INSIDE:
		if (separates)
			reach(pattern, next, token == TOKEN_LEVELS ? i : i - 1);
		else
			next->at[token == TOKEN_LEVELS ? i + 1 : i] = true;
		break;
	default:
		if (c == token) /* who writes the source's own separator means it */
			reach(pattern, next, i + 1);
	}
}

static bool matches_name(const struct pattern *pattern, const struct box *box)
{
	struct places places = { 0 }, next;
	bool inbox = begins_with_inbox(box->name, box->separator);

	reach(pattern, &places, 0);
	for (const char *at = box->name; *at;) {
		bool separates = box->separator && *at == box->separator;
		bool fold = inbox && at - box->name < INBOX_BYTES;
		int32_t c = fold ? upper(*at) : 0;
		int32_t read = next_character(&at);

		memset(next.at, 0, pattern->count + 1);
		for (unsigned i = 0; i < pattern->count; i++)
			if (places.at[i])
				step(pattern, i, fold ? c : read, separates, &next);
		bytes_copy(places.at, next.at, pattern->count + 1, BYTES_META);
	}
	return places.at[pattern->count];
}

/* ---- folders ---- */

/* The level a use is looked up by: the only one, or the one below INBOX. False: there is none. */
static bool level_of_use(const struct box *box, struct text *level)
{
	const char *at = box->name;
	size_t n = strlen(at);

	if (box->separator && begins_with_inbox(at, box->separator) &&
	    at[INBOX_BYTES] == box->separator) {
		at += INBOX_BYTES + 1;
		n -= INBOX_BYTES + 1;
	}
	*level = (struct text){ at, n };
	return n && (!box->separator || !memchr(at, box->separator, n));
}

static enum box_use use_of(const struct filter *filter, const struct box *box)
{
	struct text level;

	if (box->use != BOX_USE_NONE)
		return box->use;
	if (begins_with_inbox(box->name, box->separator) && !box->name[INBOX_BYTES])
		return BOX_USE_INBOX;
	if (!filter->by_name || !level_of_use(box, &level))
		return BOX_USE_NONE;
	return filter->by_name(level);
}

static bool matches_any(const struct filter *filter, const struct pattern *patterns, unsigned count,
			const struct box *box)
{
	for (unsigned i = 0; i < count; i++)
		if (patterns[i].use != BOX_USE_NONE ? patterns[i].use == use_of(filter, box)
						    : matches_name(&patterns[i], box))
			return true;
	return false;
}

bool filter_takes_folder(const struct filter *filter, const struct box *box)
{
	if (!filter)
		return true;
	if (filter->included_count &&
	    !matches_any(filter, filter->included, filter->included_count, box))
		return false;
	return !matches_any(filter, filter->excluded, filter->excluded_count, box);
}

/* ---- other names ---- */

/* Up to `end`, without the backslashes; NULL without memory. */
static char *unescaped(const char *text, const char *end)
{
	char *copy = malloc((size_t)(end - text) + 1), *to = copy;

	if (!copy)
		return NULL;
	for (const char *at = text; at < end; at++) {
		at += *at == '\\' && at + 1 < end;
		*to++ = *at;
	}
	*to = '\0';
	return copy;
}

static bool has_wildcard(const char *text, const char *end)
{
	for (const char *at = text; at < end; at++)
		if (*at == '\\')
			at++;
		else if (*at == '*' || *at == '?')
			return true;
	return false;
}

static enum err take_from(struct rename_rule *made, const char *rule, const char *end)
{
	size_t n = (size_t)(end - rule);
	enum err e;

	if (n == 2 && memcmp(rule, "**", 2) == 0) {
		made->below = true;
		n = 0;
	} else if (n > 3 && memcmp(end - 3, "/**", 3) == 0) {
		made->below = true;
		n -= 3;
	}
	if (has_wildcard(rule, rule + n))
		return refuse(rule, "FROM is one folder, or one with /** behind it for all below; "
				    "a star that is meant itself is \\*");
	if (!(made->from = unescaped(rule, rule + n)))
		return RAISE(ERR_MEMORY_EXHAUSTED, "reading another name for a folder");
	if (*rule == '@' && (e = find_use(rule, text_of(made->from + 1), &made->use)))
		return e;
	return n && (e = check_levels(made->from)) ? e : OK;
}

enum err filter_rename_folder(struct filter *filter, const char *rule)
{
	struct rename_rule *made = &filter->rules[filter->rules_count];
	const char *equals = rule;
	enum err e;

	while (*equals && *equals != '=')
		equals += 1 + (*equals == '\\' && equals[1]);
	if (*equals != '=' || equals == rule)
		return refuse(rule, "is not FROM=TO, a folder and the name it is to have");
	if (filter->rules_count == FILTER_PATTERNS_MAX)
		return refuse(rule, "there are more than 256 rules");
	filter->rules_count++;
	if ((e = take_from(made, rule, equals)) || (e = check_levels(equals + 1)))
		return e;
	made->to = strdup(equals + 1);
	if (!made->to)
		return RAISE(ERR_MEMORY_EXHAUSTED, "reading another name for a folder");
	for (unsigned i = 0; i + 1 < filter->rules_count; i++)
		if (strcmp(filter->rules[i].to, made->to) == 0)
			return refuse(rule, "another rule gives that name already, and two folders "
					    "cannot become one");
	return OK;
}

/* Does the rule fit the folder? *rest is what stays of its name, with the separator before it. */
static bool rule_fits(const struct filter *filter, const struct rename_rule *rule,
		      const struct box *box, const char **rest)
{
	const char *at = box->name, *from = rule->from;
	bool inbox = begins_with_inbox(at, box->separator) && begins_with_inbox(from, '/');

	*rest = "";
	if (rule->use != BOX_USE_NONE)
		return use_of(filter, box) == rule->use;
	for (unsigned i = 0; *from; i++, at++, from++)
		if (!(*at == *from || (*from == '/' && is_separator(*at, box->separator)) ||
		      (inbox && i < INBOX_BYTES && upper(*at) == upper(*from))))
			return false;
	if (*at && !rule->below)
		return false;
	*rest = at;
	return !*at || !*rule->from || is_separator(*at, box->separator);
}

enum err filter_name_folder(const struct filter *filter, struct box *box)
{
	char name[BOX_NAME_BYTES_MAX + 1], separator = box->separator ? box->separator : '/';
	const char *rest = NULL, *to;
	size_t n, used = 0;
	unsigned i = 0;

	while (filter && i < filter->rules_count &&
	       !rule_fits(filter, &filter->rules[i], box, &rest))
		i++;
	if (!filter || i == filter->rules_count)
		return OK;
	to = filter->rules[i].to;
	n = strlen(to) + strlen(rest) + !*filter->rules[i].from;
	if (n > BOX_NAME_BYTES_MAX)
		return RAISE(ERR_SOURCE_NAME,
			     "folder \"%.200s\": below \"%.200s\" its name has %zu bytes, and %d "
			     "is the most; give it a shorter one",
			     box->name, to, n, BOX_NAME_BYTES_MAX);
	for (; *to; to++)
		name[used++] = *to == '/'			    ? separator
			       : *to == separator /* not a level */ ? '_'
								    : *to;
	if (!*filter->rules[i].from)
		name[used++] = separator;
	bytes_copy(name + used, rest, strlen(rest) + 1, BYTES_META);
	if (!box->separator && memchr(name, separator, used))
		box->separator = separator;
	if (strcmp(name, box->name) != 0)
		box->use = BOX_USE_NONE;
	bytes_copy(box->name, name, n + 1, BYTES_META);
	return OK;
}

/* ---- messages ---- */

static enum err take_date(const char *text, int64_t *seconds)
{
	enum { DAY_BYTES = sizeof "2024-01-01" - 1 };
	struct mail_date date;
	char whole[64];

	if (strlen(text) > 40)
		return refuse(text, "is no date");
	if (strlen(text) >= DAY_BYTES && !strchr("Tt ", text[DAY_BYTES])) /* or its end */
		snprintf(whole, sizeof whole, "%.*sT00:00:00%s", DAY_BYTES, text, text + DAY_BYTES);
	else if (strlen(text) == DAY_BYTES)
		snprintf(whole, sizeof whole, "%sT00:00:00Z", text);
	else
		snprintf(whole, sizeof whole, "%s", text);
	if (!mail_date_from_rfc3339(text_of(whole), &date))
		return refuse(text, "is no date; 2024-01-31 is one (from 00:00 UTC), and so are "
				    "2024-01-31+01:00 and 2024-01-31T08:00:00+01:00");
	*seconds = date.seconds;
	return OK;
}

enum err filter_since(struct filter *filter, const char *date)
{
	filter->has_since = true;
	return take_date(date, &filter->since);
}

enum err filter_before(struct filter *filter, const char *date)
{
	filter->has_before = true;
	return take_date(date, &filter->before);
}

void filter_sizes(struct filter *filter, uint64_t min, uint64_t max)
{
	filter->min = min;
	filter->max = max;
}

enum err filter_check(const struct filter *filter)
{
	if (filter->has_since && filter->has_before && filter->since >= filter->before)
		return RAISE(ERR_INPUT_USAGE,
			     "no message is both since and before: the first date is not the "
			     "earlier one");
	if (filter->max && filter->min > filter->max)
		return RAISE(ERR_INPUT_USAGE, "no message has %llu bytes at least and %llu at most",
			     (unsigned long long)filter->min, (unsigned long long)filter->max);
	return OK;
}

bool filter_wants_dates(const struct filter *filter)
{
	return filter && (filter->has_since || filter->has_before);
}

bool filter_wants_sizes(const struct filter *filter)
{
	return filter && (filter->min || filter->max);
}

bool filter_takes_message(const struct filter *filter, const struct mail_date *date,
			  int64_t size_bytes)
{
	if (filter_wants_dates(filter) && date->known &&
	    ((filter->has_since && date->seconds < filter->since) ||
	     (filter->has_before && date->seconds >= filter->before)))
		return false;
	return !filter_wants_sizes(filter) || size_bytes < 0 ||
	       ((uint64_t)size_bytes >= filter->min &&
		(!filter->max || (uint64_t)size_bytes <= filter->max));
}

char *filter_text(const struct filter *filter, char to[FILTER_TEXT_BYTES])
{
	size_t used = 0;

	to[0] = '\0';
	if (filter && filter->has_since)
		used += (size_t)snprintf(to + used, FILTER_TEXT_BYTES - used, "since=%lld ",
					 (long long)filter->since);
	if (filter && filter->has_before)
		used += (size_t)snprintf(to + used, FILTER_TEXT_BYTES - used, "before=%lld ",
					 (long long)filter->before);
	if (filter && filter->min)
		used += (size_t)snprintf(to + used, FILTER_TEXT_BYTES - used, "min=%llu ",
					 (unsigned long long)filter->min);
	if (filter && filter->max)
		used += (size_t)snprintf(to + used, FILTER_TEXT_BYTES - used, "max=%llu ",
					 (unsigned long long)filter->max);
	must(used < FILTER_TEXT_BYTES);
	return to;
}

/* ---- the whole ---- */

enum err filter_open(enum box_use (*by_name)(struct text level), struct filter **out)
{
	struct filter *filter = calloc(1, sizeof *filter);

	*out = filter;
	if (!filter)
		return RAISE(ERR_MEMORY_EXHAUSTED, "reading what is to be copied");
	filter->by_name = by_name;
	return OK;
}

void filter_close(struct filter **taken)
{
	struct filter *filter = *taken;

	if (!filter)
		return;
	for (unsigned i = 0; i < FILTER_PATTERNS_MAX; i++) {
		free(filter->included[i].tokens);
		free(filter->excluded[i].tokens);
		free(filter->rules[i].from);
		free(filter->rules[i].to);
	}
	free(filter);
	*taken = NULL;
}
