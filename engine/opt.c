/* The parser of option tables. Their help and man page are made in opt_text.c. */
#include "engine/opt.h"

enum { NAME_BYTES_MAX = 48 }; /* of an option, ours or a mistyped one worth a suggestion */

/* ---- single values ---- */

/* Digits at the start of `text`; false without any or past 64 bits. *rest is what follows. */
static bool digits(const char *text, uint64_t *out, const char **rest)
{
	uint64_t value = 0;

	if (*text < '0' || *text > '9')
		return false;
	for (; *text >= '0' && *text <= '9'; text++)
		if (__builtin_mul_overflow(value, 10u, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*text - '0'), &value))
			return false;
	*out = value;
	*rest = text;
	return true;
}

bool opt_number(const char *text, uint64_t *out)
{
	const char *rest;

	return digits(text, out, &rest) && !*rest;
}

struct unit {
	const char *name;
	uint64_t factor;
};

static bool with_unit(const char *text, const struct unit *units, size_t count, uint64_t *out)
{
	const char *rest;
	uint64_t value;

	if (!digits(text, &value, &rest))
		return false;
	for (size_t i = 0; i < count; i++)
		if (strcmp(rest, units[i].name) == 0)
			return !__builtin_mul_overflow(value, units[i].factor, out);
	return false;
}

bool opt_size(const char *text, uint64_t *out)
{
	static const struct unit units[] = {
		{ "", 1 },
		{ "B", 1 },
		{ "KiB", 1024 },
		{ "MiB", 1024 * 1024 },
		{ "GiB", 1024 * 1024 * 1024 },
		{ "TiB", (uint64_t)1 << 40 },
		{ "K", 1024 },
		{ "M", 1024 * 1024 },
		{ "G", 1024 * 1024 * 1024 },
		{ "T", (uint64_t)1 << 40 },
		{ "kB", 1000 },
		{ "MB", 1000 * 1000 },
		{ "GB", 1000 * 1000 * 1000 },
		{ "TB", (uint64_t)1000 * 1000 * 1000 * 1000 },
	};

	return with_unit(text, units, ARRAY_COUNT(units), out);
}

bool opt_duration(const char *text, nsec *out)
{
	static const struct unit units[] = {
		{ "", NSEC_SECOND },	      { "s", NSEC_SECOND },
		{ "ms", NSEC_MILLISECOND },   { "m", 60 * NSEC_SECOND },
		{ "min", 60 * NSEC_SECOND },  { "h", 3600 * NSEC_SECOND },
		{ "d", 86400 * NSEC_SECOND },
	};
	uint64_t value;

	if (!with_unit(text, units, ARRAY_COUNT(units), &value) || value > INT64_MAX / 2)
		return false;
	*out = (nsec)value;
	return true;
}

/* ---- storing ---- */

static enum err refuse_value(const struct opt *opt, const char *text, const char *expected)
{
	char shown[80];

	return RAISE(ERR_INPUT_USAGE, "--%s takes %s%s%s, not \"%s\"", opt->name, expected,
		     opt->zero_word ? " or " : "", opt->zero_word ? opt->zero_word : "",
		     err_quote(shown, sizeof shown, text_of(text)));
}

static enum err store_choice(const struct opt *opt, const char *text, void *at)
{
	char names[160] = "";
	size_t used = 0;

	for (const char *const *choice = opt->choices; *choice; choice++) {
		if (strcmp(*choice, text) == 0) {
			*(const char **)at = *choice;
			return OK;
		}
		used += (size_t)snprintf(names + used, sizeof names - used, "%s%s",
					 used ? ", " : "one of ", *choice);
		must(used < sizeof names);
	}
	return refuse_value(opt, text, names);
}

/* Numbers, sizes and durations share a size, and the bounds are written in the stored unit. */
static enum err store_scalar(const struct opt *opt, const char *text, void *at)
{
	const char *expected = opt->kind == OPT_NUMBER ? "a number"
			       : opt->kind == OPT_SIZE ? "a size such as 64MiB"
						       : "a time such as 30s";
	uint64_t value = 0;
	nsec duration = 0;
	bool fits;

	if (opt->zero_word && strcmp(text, opt->zero_word) == 0) {
		*(uint64_t *)at = 0;
		return OK;
	}
	if (opt->kind == OPT_DURATION) {
		fits = opt_duration(text, &duration);
		value = (uint64_t)duration;
	} else {
		fits = opt->kind == OPT_NUMBER ? opt_number(text, &value) : opt_size(text, &value);
	}
	if (!fits)
		return refuse_value(opt, text, expected);
	if (value < opt->min || (opt->max && value > opt->max)) {
		char range[80];
		uint64_t unit = opt->kind == OPT_DURATION ? (uint64_t)NSEC_MILLISECOND : 1;

		snprintf(range, sizeof range, "%s from %llu to %llu%s", expected,
			 (unsigned long long)(opt->min / unit),
			 (unsigned long long)((opt->max ? opt->max : UINT64_MAX) / unit),
			 opt->kind == OPT_DURATION ? " ms" : "");
		return refuse_value(opt, text, range);
	}
	if (opt->kind == OPT_DURATION)
		*(nsec *)at = duration;
	else
		*(uint64_t *)at = value;
	return OK;
}

static enum err store_item(const struct opt *opt, const char *text, struct opt_list *list)
{
	if (!*text)
		return RAISE(ERR_INPUT_USAGE, "--%s is given an empty %s", opt->name, opt->value);
	if (list->count == OPT_LIST_MAX)
		return RAISE(ERR_INPUT_USAGE, "--%s is given more than %d times", opt->name,
			     OPT_LIST_MAX);
	list->at[list->count++] = text;
	return OK;
}

static enum err store(const struct opt *opt, const char *text, void *values)
{
	void *at = (char *)values + opt->offset;

	switch (opt->kind) {
	case OPT_FLAG:
		*(bool *)at = true;
		return OK;
	case OPT_TEXT:
	case OPT_FILE:
		if (!*text)
			return RAISE(ERR_INPUT_USAGE, "--%s is given an empty %s", opt->name,
				     opt->value);
		*(const char **)at = text;
		return OK;
	case OPT_CHOICE:
		return store_choice(opt, text, at);
	case OPT_LIST:
		return store_item(opt, text, at);
	case OPT_NUMBER:
	case OPT_SIZE:
	case OPT_DURATION:
		return store_scalar(opt, text, at);
	}
	must(false); /* a kind that is not in the table above */
}

/* ---- suggesting ---- */

/* Edits (insert, delete, replace) between two names, both shorter than NAME_BYTES_MAX. */
static unsigned edits(struct text a, struct text b)
{
	unsigned row[NAME_BYTES_MAX + 1];

	must(a.bytes <= NAME_BYTES_MAX && b.bytes <= NAME_BYTES_MAX);
	for (unsigned j = 0; j <= b.bytes; j++)
		row[j] = j;
	for (unsigned i = 1; i <= a.bytes; i++) {
		unsigned diagonal = row[0];

		row[0] = i;
		for (unsigned j = 1; j <= b.bytes; j++) {
			unsigned best = diagonal + (a.at[i - 1] != b.at[j - 1]);

			diagonal = row[j];
			best = (unsigned)min_u64(best, min_u64(row[j], row[j - 1]) + 1);
			row[j] = best;
		}
	}
	return row[b.bytes];
}

const char *opt_nearest(struct text name, const char *(*known)(const void *from, size_t index),
			const void *from)
{
	const char *best = NULL, *one;
	unsigned best_edits = (unsigned)max_u64(2, name.bytes / 3) + 1;

	if (name.bytes < 2 || name.bytes > NAME_BYTES_MAX)
		return NULL;
	for (size_t i = 0; (one = known(from, i)); i++) {
		unsigned distance =
			strncmp(one, name.at, name.bytes) == 0 ? 0 : edits(name, text_of(one));

		if (distance < best_edits) {
			best = one;
			best_edits = distance;
		}
	}
	return best;
}

static const char *option_name(const void *from, size_t index)
{
	const struct opt_command *command = from;

	return index < command->options_count ? command->options[index].name : NULL;
}

static enum err refuse_name(const struct opt_command *command, struct text name)
{
	const char *meant = opt_nearest(name, option_name, command);
	char shown[80];

	err_quote(shown, sizeof shown, name);
	if (meant)
		return RAISE(ERR_INPUT_USAGE, "there is no option --%s; perhaps --%s is meant",
			     shown, meant);
	return RAISE(ERR_INPUT_USAGE, "there is no option --%s", shown);
}

/* ---- parsing ---- */

static const struct opt *find(const struct opt_command *command, struct text name)
{
	for (size_t i = 0; i < command->options_count; i++)
		if (text_equal(text_of(command->options[i].name), name))
			return &command->options[i];
	return NULL;
}

/* words[*at] is an option; *at moves on past its value. */
static enum err parse_option(const struct opt_command *command, int count, char *const *words,
			     int *at, void *values)
{
	const char *word = words[*at] + 2, *equals = strchr(word, '=');
	struct text name = { word, equals ? (size_t)(equals - word) : strlen(word) };
	const struct opt *opt = find(command, name);

	if (!opt)
		return refuse_name(command, name);
	if (opt->kind == OPT_FLAG) {
		if (equals)
			return RAISE(ERR_INPUT_USAGE, "--%s takes no value", opt->name);
		return store(opt, "", values);
	}
	if (equals)
		return store(opt, equals + 1, values);
	if (++*at >= count)
		return RAISE(ERR_INPUT_USAGE, "--%s needs a value", opt->name);
	return store(opt, words[*at], values);
}

static enum err store_defaults(const struct opt_command *command, void *values)
{
	enum err e;

	for (size_t i = 0; i < command->options_count; i++)
		if (command->options[i].initial &&
		    (e = store(&command->options[i], command->options[i].initial, values)))
			return e;
	return OK;
}

static enum err check_words(const struct opt_command *command, const struct opt_words *out)
{
	if (out->count < command->words_min)
		return RAISE(ERR_INPUT_USAGE, "%s is missing: mailhaul %s%s%s",
			     out->count ? "an argument" : "what to work on", command->name,
			     *command->name ? " " : "", command->arguments);
	if (out->count > command->words_max)
		return RAISE(ERR_INPUT_USAGE, "%u argument%s given, %u too many: mailhaul %s%s%s",
			     out->count, out->count == 1 ? " is" : "s are",
			     out->count - command->words_max, command->name,
			     *command->name ? " " : "", command->arguments);
	return OK;
}

enum err opt_parse(const struct opt_command *command, int count, char *const *words, void *values,
		   struct opt_words *out)
{
	bool options_ended = false;
	enum err e = store_defaults(command, values);

	must(e == OK); /* a table whose defaults do not parse is our own mistake */
	*out = (struct opt_words){ 0 };
	for (int i = 0; i < count; i++) {
		const char *word = words[i];

		if (!options_ended && strcmp(word, "--") == 0) {
			options_ended = true;
		} else if (!options_ended &&
			   (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)) {
			out->help = true;
			return OK;
		} else if (!options_ended && word[0] == '-' && word[1] == '-') {
			if ((e = parse_option(command, count, words, &i, values)))
				return e;
		} else if (!options_ended && word[0] == '-' && word[1]) {
			return RAISE(ERR_INPUT_USAGE,
				     "options have two dashes; -%c is none of them",
				     word[1] >= '!' && word[1] <= '~' ? word[1] : '?');
		} else if (out->count == OPT_WORDS_MAX) {
			return RAISE(ERR_INPUT_USAGE, "too many arguments");
		} else {
			out->at[out->count++] = word;
		}
	}
	return check_words(command, out);
}
