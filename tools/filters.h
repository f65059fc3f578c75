/* What of a mailbox is wanted, as a person writes it: the options of `copy` (the keys of a job file
 * are read in tools/job_filter.c), and the filter made of them. */
#ifndef MAILHAUL_TOOLS_FILTERS_H
#define MAILHAUL_TOOLS_FILTERS_H

#include "engine/filter.h"
#include "engine/opt.h"

struct filter_options {
	struct opt_list include, exclude, rename;
	const char *since, *before;
	uint64_t min_bytes, max_bytes;
	bool newest_first;
};

#define FILTER_PATTERN_HELP                                                                        \
	"Levels are separated by /; * stands for anything within a level, ** across levels, ? "    \
	"for one character: INBOX, 'Work/**' (Work and all below it), '*'. @sent, @drafts, "       \
	"@trash, @junk, @archive, @all, @flagged, @important or @inbox is the folder of that "     \
	"use, as the source says or by its name. \\ takes the meaning from the next character."
#define FILTER_INCLUDE_HELP                                                                        \
	"Copy only folders that PATTERN matches; may be given more than "                          \
	"once. " FILTER_PATTERN_HELP
#define FILTER_EXCLUDE_HELP                                                                        \
	"Leave out folders that PATTERN matches, as --include-folder has them; may be given more " \
	"than once, and goes before it. What earlier runs copied of them stays as it is."
#define FILTER_RENAME_HELP                                                                         \
	"Call the folder FROM TO at the target; FROM/** is FROM with all below it, ** stands for " \
	"everything. May be given more than once; the first rule that fits counts. Patterns of "   \
	"folders mean the names at the source."
#define FILTER_SINCE_HELP                                                                          \
	"Copy only messages that the source received at DATE or later: 2024-01-31 (from 00:00 "    \
	"UTC), 2024-01-31+01:00 or 2024-01-31T08:00:00+01:00. Messages without a date are copied."
#define FILTER_BEFORE_HELP "Copy only messages that the source received before DATE."
#define FILTER_MIN_HELP	   "Leave out messages of fewer bytes than SIZE."
#define FILTER_MAX_HELP	   "Leave out messages of more bytes than SIZE."
#define FILTER_NEWEST_HELP                                                                         \
	"Within each folder copy the newest messages first, so that what is left when time runs "  \
	"out is the oldest mail."

/* Rows of an option table; `field` of `holder` is a struct filter_options. */
#define FILTER_OPTION_ROWS(holder, field)                                                          \
	{ .name = "include-folder",                                                                \
	  OPT_STORES_LIST(holder, field.include),                                                  \
	  .value = "PATTERN",                                                                      \
	  .help = FILTER_INCLUDE_HELP },                                                           \
		{ .name = "exclude-folder",                                                        \
		  OPT_STORES_LIST(holder, field.exclude),                                          \
		  .value = "PATTERN",                                                              \
		  .help = FILTER_EXCLUDE_HELP },                                                   \
		{ .name = "rename-folder",                                                         \
		  OPT_STORES_LIST(holder, field.rename),                                           \
		  .value = "FROM=TO",                                                              \
		  .help = FILTER_RENAME_HELP },                                                    \
		{ .name = "since",                                                                 \
		  OPT_STORES_TEXT(holder, field.since),                                            \
		  .value = "DATE",                                                                 \
		  .help = FILTER_SINCE_HELP },                                                     \
		{ .name = "before",                                                                \
		  OPT_STORES_TEXT(holder, field.before),                                           \
		  .value = "DATE",                                                                 \
		  .help = FILTER_BEFORE_HELP },                                                    \
		{ .name = "min-size",                                                              \
		  OPT_STORES_SIZE(holder, field.min_bytes),                                        \
		  .value = "SIZE",                                                                 \
		  .initial = "off",                                                                \
		  .min = 1,                                                                        \
		  .max = (uint64_t)1 << 40,                                                        \
		  .zero_word = "off",                                                              \
		  .help = FILTER_MIN_HELP },                                                       \
		{ .name = "max-size",                                                              \
		  OPT_STORES_SIZE(holder, field.max_bytes),                                        \
		  .value = "SIZE",                                                                 \
		  .initial = "off",                                                                \
		  .min = 1,                                                                        \
		  .max = (uint64_t)1 << 40,                                                        \
		  .zero_word = "off",                                                              \
		  .help = FILTER_MAX_HELP },                                                       \
	{                                                                                          \
		.name = "newest-first", OPT_STORES_FLAG(holder, field.newest_first),               \
		.help = FILTER_NEWEST_HELP                                                         \
	}

/* One that takes everything, and knows folders of a use by the names that they commonly have. */
enum err filters_begin(struct filter **) MUST_CHECK;
/* The filter that the options ask for; *out stays NULL where they ask for none.
 * returns     OK | ERR_INPUT_USAGE with a note that names the option | ERR_MEMORY_EXHAUSTED */
enum err filters_open(const struct filter_options *, struct filter **out) MUST_CHECK;

#endif
