#include "tools/job_keys.h"

#include <stdlib.h>

#include "engine/bytes.h"
#include "engine/limits.h"
#include "tools/commands.h"
#include "tools/filters.h"

const struct job_key job_keys[JOB_KEYS] = {
#define KEY(id, key_path, kind_word, ...)                                                          \
	[JOB_KEY_##id] = { .path = key_path, .kind = JOB_##kind_word, __VA_ARGS__ },
#include "tools/job_keys.def"
#undef KEY
};

/* ---- names ---- */

const char *job_key_name(const struct job_key *key)
{
	const char *dot = strrchr(key->path, '.');

	return dot ? dot + 1 : key->path;
}

struct text job_key_section(const struct job_key *key)
{
	return (struct text){ key->path, (size_t)(job_key_name(key) - key->path) };
}

enum job_key_id job_key_find(struct text section, struct text name)
{
	for (size_t i = 0; i < JOB_KEYS; i++)
		if (text_equal(job_key_section(&job_keys[i]), section) &&
		    text_equal(text_of(job_key_name(&job_keys[i])), name))
			return (enum job_key_id)i;
	return JOB_KEYS;
}

enum { NAME_BYTES_MAX = 40 };

/* Edits (insert, delete, replace) from one name to the other; far for what is no name. */
static unsigned distance(struct text a, const char *b)
{
	unsigned row[NAME_BYTES_MAX + 1];
	size_t b_bytes = strlen(b);

	if (a.bytes > NAME_BYTES_MAX || b_bytes > NAME_BYTES_MAX)
		return NAME_BYTES_MAX;
	for (unsigned j = 0; j <= b_bytes; j++)
		row[j] = j;
	for (unsigned i = 1; i <= a.bytes; i++) {
		unsigned diagonal = row[0];

		row[0] = i;
		for (unsigned j = 1; j <= b_bytes; j++) {
			uint64_t best = diagonal + (a.at[i - 1] != b[j - 1]);

			diagonal = row[j];
			row[j] = (unsigned)min_u64(best, min_u64(row[j], row[j - 1]) + 1);
		}
	}
	return row[b_bytes];
}

/* A right name in the wrong section is as near as one with a typing error in its own. */
const char *job_key_nearest(struct text section, struct text name)
{
	unsigned best = (unsigned)max_u64(2, name.bytes / 3) + 1;
	const char *found = NULL;

	for (size_t i = 0; i < JOB_KEYS; i++) {
		bool near = text_equal(job_key_section(&job_keys[i]), section);
		unsigned away = distance(name, job_key_name(&job_keys[i])) + !near;

		if (away < best && (near || away == 1)) {
			best = away;
			found = job_keys[i].path;
		}
		/* Without a section: "limit" for "limits." */
		if (section.bytes == 0 && job_key_section(&job_keys[i]).bytes) {
			char first[NAME_BYTES_MAX + 1];

			snprintf(first, sizeof first, "%.*s", (int)strcspn(job_keys[i].path, "."),
				 job_keys[i].path);
			if ((away = distance(name, first)) < best) {
				best = away;
				found = job_keys[i].path;
			}
		}
	}
	return found;
}

/* ---- what stands in copy's table ---- */

const struct opt *job_key_option(const struct job_key *key)
{
	const struct opt_command *copy = copy_command.usage;

	must(key->kind == JOB_COPY);
	for (size_t i = 0; i < copy->options_count; i++)
		if (strcmp(copy->options[i].name, key->copy) == 0)
			return &copy->options[i];
	must(false); /* a key that names no option of copy */
}

const char *job_key_initial(const struct job_key *key)
{
	return key->kind == JOB_COPY ? job_key_option(key)->initial : key->initial;
}

const char *job_key_help(const struct job_key *key)
{
	return key->kind == JOB_COPY ? job_key_option(key)->help : key->help;
}

/* ---- values ---- */

/* Where a value must lie, in the words of a file. */
static void write_bounds(struct buffer *to, uint64_t min, uint64_t max, enum opt_kind kind)
{
	uint64_t unit = kind == OPT_DURATION ? (uint64_t)NSEC_MILLISECOND : 1;
	const char *name = kind == OPT_DURATION ? " ms" : kind == OPT_SIZE ? " bytes" : "";

	if (max)
		buffer_addf(to, " from %llu to %llu%s", (unsigned long long)(min / unit),
			    (unsigned long long)(max / unit), name);
	else if (min)
		buffer_addf(to, " from %llu%s", (unsigned long long)(min / unit), name);
}

static void write_expected_option(struct buffer *to, const struct opt *opt)
{
	if (opt->kind == OPT_CHOICE) {
		for (const char *const *choice = opt->choices; *choice; choice++)
			buffer_addf(to, "%s%s", choice == opt->choices ? "one of " : ", ", *choice);
		return;
	}
	buffer_add_text(to, opt->kind == OPT_NUMBER ? "a number"
			    : opt->kind == OPT_SIZE ? "a size such as 64MiB"
						    : "a time such as 30s");
	write_bounds(to, opt->min, opt->max, opt->kind);
	if (opt->zero_word)
		buffer_addf(to, ", or %s", opt->zero_word);
}

static void write_expected(struct buffer *to, const struct job_key *key)
{
	switch (key->kind) {
	case JOB_TEXT:
		buffer_add_text(to, "text");
		break;
	case JOB_PATH:
		buffer_add_text(to, "a path");
		break;
	case JOB_SECRET:
		buffer_add_text(to, "file:PATH, env:NAME, systemd:NAME or exec:/PROGRAM ARGUMENTS");
		break;
	case JOB_NUMBER:
		buffer_add_text(to, "a number");
		write_bounds(to, key->min, key->max, OPT_NUMBER);
		break;
	case JOB_SIGNED:
		buffer_addf(to, "a number from -%llu to %llu", (unsigned long long)key->max,
			    (unsigned long long)key->max);
		break;
	case JOB_RATE:
		buffer_add_text(to, "a rate such as 100MB/s");
		write_bounds(to, key->min, key->max, OPT_SIZE);
		buffer_addf(to, ", or %s", key->zero_word);
		break;
	case JOB_BOOL:
		buffer_add_text(to, "true or false");
		break;
	case JOB_COPY:
		write_expected_option(to, job_key_option(key));
		break;
	case JOB_LIST:
		buffer_addf(to, "a list of %s", key->is_path ? "paths" : "names");
		break;
	case JOB_ROWS:
		buffer_add_text(to, "a list of mailboxes, each with keys of its own");
		break;
	}
}

static bool parse_rate(const char *text, uint64_t *out)
{
	size_t bytes = strlen(text);
	char size[32];

	if (bytes < 3 || bytes - 2 >= sizeof size || strcmp(text + bytes - 2, "/s") != 0)
		return false;
	snprintf(size, sizeof size, "%.*s", (int)(bytes - 2), text);
	return opt_size(size, out);
}

static bool parse_signed(const char *text, uint64_t max, uint64_t *out)
{
	bool negative = *text == '-';

	if (!opt_number(text + negative, out) || *out > max)
		return false;
	*out = negative ? -*out : *out;
	return true;
}

/* YAML 1.2's two words, and those of 1.1 that people still write. */
static bool parse_bool(const char *text, uint64_t *out)
{
	static const char *const words[] = { "false", "true", "no", "yes", "off", "on" };

	for (size_t i = 0; i < ARRAY_COUNT(words); i++)
		if (strcmp(text, words[i]) == 0) {
			*out = i & 1;
			return true;
		}
	return false;
}

static bool parse_option(const struct opt *opt, const char *text, uint64_t *out)
{
	nsec duration;

	switch (opt->kind) {
	case OPT_CHOICE:
		for (*out = 0; opt->choices[*out]; ++*out)
			if (strcmp(opt->choices[*out], text) == 0)
				return true;
		return false;
	case OPT_NUMBER:
		return opt_number(text, out);
	case OPT_SIZE:
		return opt_size(text, out);
	case OPT_DURATION:
		if (!opt_duration(text, &duration))
			return false;
		*out = (uint64_t)duration;
		return true;
	case OPT_FLAG:
	case OPT_TEXT:
	case OPT_FILE:
	case OPT_LIST:
		break;
	}
	must(false); /* an option of a kind that no key borrows */
}

static bool parse(const struct job_key *key, const char *text, uint64_t *out)
{
	const struct opt *opt = key->kind == JOB_COPY ? job_key_option(key) : NULL;
	const char *zero_word = opt ? opt->zero_word : key->zero_word;
	uint64_t min = opt ? opt->min : key->min, max = opt ? opt->max : key->max;
	bool is_one;

	*out = 0;
	if (zero_word && strcmp(text, zero_word) == 0)
		return true;
	switch (key->kind) {
	case JOB_NUMBER:
		is_one = opt_number(text, out);
		break;
	case JOB_RATE:
		is_one = parse_rate(text, out);
		break;
	case JOB_COPY:
		is_one = parse_option(job_key_option(key), text, out);
		break;
	case JOB_SIGNED:
		return parse_signed(text, key->max, out);
	case JOB_BOOL:
		return parse_bool(text, out);
	default:
		return *text && strlen(text) <= JOB_TEXT_BYTES_MAX;
	}
	return is_one && *out >= min && (!max || *out <= max);
}

enum err job_key_parse(const struct job_key *key, const char *text, uint64_t *out)
{
	struct buffer expected = { .bytes_max = 256 };
	char shown[80] = "that";
	enum err e;

	if (parse(key, text, out))
		return OK;
	write_expected(&expected, key);
	if (strlen(text) > JOB_TEXT_BYTES_MAX)
		e = RAISE(ERR_INPUT_USAGE, "longer than %d bytes", JOB_TEXT_BYTES_MAX);
	else if (!*text)
		e = RAISE(ERR_INPUT_USAGE, "is empty; write %s, or leave the key out", expected.at);
	else
		e = RAISE(ERR_INPUT_USAGE, "takes %s, not \"%s\"", expected.at,
			  err_quote(shown, sizeof shown, text_of(text)));
	buffer_free(&expected);
	return e;
}

/* ---- documentation ---- */

void job_keys_print(FILE *to)
{
	struct buffer expected = { .bytes_max = 256 };

	fprintf(to, "| key | value | default | example | meaning |\n|---|---|---|---|---|\n");
	for (size_t i = 0; i < JOB_KEYS; i++) {
		const struct job_key *key = &job_keys[i];
		const char *initial = job_key_initial(key);
		bool given = initial && *initial;

		buffer_reset(&expected);
		write_expected(&expected, key);
		fprintf(to, "| `%s` | %s | %s%s%s | `%s` | %s |\n", key->path, expected.at,
			given ? "`" : "", given ? initial : "", given ? "`" : "", key->example,
			job_key_help(key));
	}
	buffer_free(&expected);
}
