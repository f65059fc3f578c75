/* Command line options as tables. One row per option holds everything: name, kind, default, help,
 * and where the value goes in the caller's struct. The parser, --help and the man page are all made
 * from it, so text is written once. Not for: what the options mean. */
#ifndef MAILHAUL_OPT_H
#define MAILHAUL_OPT_H

#include <stdio.h>

#include "engine/err.h"

enum opt_kind {
	OPT_FLAG,     /* bool */
	OPT_TEXT,     /* const char *: borrowed from the command line */
	OPT_FILE,     /* the same; named FILE or DIR in help */
	OPT_NUMBER,   /* uint64_t */
	OPT_SIZE,     /* uint64_t bytes: "64MiB", "500kB", "4096" */
	OPT_DURATION, /* nsec: "30s", "250ms", "5m", "2h"; a bare number is seconds */
	OPT_CHOICE,   /* const char *: one of `choices` */
	OPT_LIST,     /* struct opt_list: texts; the option may be given more than once */
};

enum { OPT_LIST_MAX = 64 };
struct opt_list {
	const char *at[OPT_LIST_MAX]; /* borrowed from the command line, in order */
	unsigned count;
};

struct opt {
	const char *name;    /* without the dashes */
	const char *value;   /* its name in help: "FILE"; NULL for flags and choices */
	const char *initial; /* the default, parsed as if it had been given; NULL: left zeroed */
	const char *help;    /* a sentence or two, without a line break */
	enum opt_kind kind;
	size_t offset;
	uint64_t min, max;     /* of the stored value; max 0: no bound */
	const char *zero_word; /* a word that stands for 0, whatever min is ("off"); may be NULL */
	const char *const *choices; /* NULL-terminated */
};

/* Where a row stores: kind and offset at once, and a compile error where the field has another
 * type. */
#define OPT_AT(holder, field, type)                                                                \
	(offsetof(holder, field) +                                                                 \
	 0 * sizeof(char[__builtin_types_compatible_p(__typeof__(((holder *)0)->field), type)      \
				 ? 1                                                               \
				 : -1]))
#define OPT_STORES(kind_word, type, holder, field)                                                 \
	.kind = (kind_word), .offset = OPT_AT(holder, field, type)
#define OPT_STORES_FLAG(holder, field)	   OPT_STORES(OPT_FLAG, bool, holder, field)
#define OPT_STORES_TEXT(holder, field)	   OPT_STORES(OPT_TEXT, const char *, holder, field)
#define OPT_STORES_FILE(holder, field)	   OPT_STORES(OPT_FILE, const char *, holder, field)
#define OPT_STORES_NUMBER(holder, field)   OPT_STORES(OPT_NUMBER, uint64_t, holder, field)
#define OPT_STORES_SIZE(holder, field)	   OPT_STORES(OPT_SIZE, uint64_t, holder, field)
#define OPT_STORES_DURATION(holder, field) OPT_STORES(OPT_DURATION, nsec, holder, field)
#define OPT_STORES_CHOICE(holder, field)   OPT_STORES(OPT_CHOICE, const char *, holder, field)
#define OPT_STORES_LIST(holder, field)	   OPT_STORES(OPT_LIST, struct opt_list, holder, field)

/* More text for --help and the man page. Lines that begin with two spaces are kept as they are, the
 * others are filled into paragraphs; an empty line ends a paragraph. */
struct opt_section {
	const char *title, *text;
};

struct opt_command {
	const char *name;      /* "copy" */
	const char *arguments; /* "SOURCE TARGET" */
	unsigned words_min, words_max;
	const char *summary; /* one line, no full stop: "copy a mailbox into an archive" */
	const char *about;   /* as a section's text */
	const struct opt *options;
	size_t options_count;
	const char *examples; /* lines as typed, each with a comment line above it or not */
	const struct opt_section *sections;
	size_t sections_count;
};

enum { OPT_WORDS_MAX = 8 };
struct opt_words {
	const char *
		at[OPT_WORDS_MAX]; /* what is no option, in order; borrowed from the command line */
	unsigned count;
	bool help; /* --help or -h was given: nothing else was checked after it */
};

/* Parse words[0..count): "--name value", "--name=value", "--" ends options. Defaults are stored
 * first, `values` is otherwise left as it is. What is not an option is never quoted in an error,
 * because it may be a secret by mistake. returns     OK | ERR_INPUT_USAGE with a note that names
 * the option and the nearest known name */
enum err opt_parse(const struct opt_command *, int count, char *const *words, void *values,
		   struct opt_words *) MUST_CHECK;

/* The whole --help text, filled to 80 columns; the man page in roff (man(7)). `program` is
 * "mailhaul"; a command whose name is "" is the program itself. */
void opt_help(const struct opt_command *, const char *program, FILE *);
void opt_man(const struct opt_command *, const char *program, const char *version, FILE *);

/* The name a mistyped one was meant to be: one that begins with it, or the nearest; NULL if none is
 * near. `known` gives the names by index, then NULL. */
const char *opt_nearest(struct text name, const char *(*known)(const void *from, size_t index),
			const void *from);

/* The parsers of single values, also for other users of such text. False if it is none. */
bool opt_number(const char *, uint64_t *);
bool opt_size(const char *, uint64_t *);
bool opt_duration(const char *, nsec *);

#endif
