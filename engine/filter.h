/* What of a mailbox is wanted, and what its folders are called from here on: patterns of folders,
 * rules for other names, dates and sizes of messages. Made from what a person wrote, then constant,
 * so threads may share it. Pure: knows no source, no sink and no ledger.
 *
 * In patterns and rules levels are separated by '/', whatever the source's separator is (which does
 * as well):
 *
 *   *        any characters within a level
 *   ?        one character within a level
 *   **       any characters, across levels; as the last level, the folder before it too; as
 *            another level, any number of levels or none
 *   \c       the character c itself
 *   @sent    the folder of that use (RFC 6154), as the source says or, where it says none, by its
 *            name; @inbox too
 *
 * Everything else stands for itself, brackets too ("[Gmail]"). INBOX as a first
 * level is the same in any case, RFC 9051 section 5.1; other letters are not. */
#ifndef MAILHAUL_FILTER_H
#define MAILHAUL_FILTER_H

#include "engine/mail.h"

enum {
	/* Nobody writes more by hand, and each folder is compared with each of them. */
	FILTER_PATTERNS_MAX = 256, /* of each kind, and of rules */
	FILTER_TEXT_BYTES = 160,
};

struct filter;

/* Takes everything. `by_name`: the use that a level of this name has by custom, for folders of
 * which the source says none; counts at top level and directly in INBOX. May be NULL.
 * returns     OK | ERR_MEMORY_EXHAUSTED */
enum err filter_open(enum box_use (*by_name)(struct text level), struct filter **) MUST_CHECK;
void filter_close(struct filter **);

/* With one or more of these, only the folders that one of them matches; of these, not those that an
 * exclusion matches. A folder's children are folders of their own.
 * returns     OK | ERR_INPUT_USAGE with what is wrong about the pattern | ERR_MEMORY_EXHAUSTED */
enum err filter_include_folder(struct filter *, const char *pattern) MUST_CHECK;
enum err filter_exclude_folder(struct filter *, const char *pattern) MUST_CHECK;
/* "FROM=TO": the folder FROM is TO from here on; where FROM ends with a level "**", with all that
 * is below it; FROM "**": everything goes below TO; FROM "@sent": the folder of that use. The first
 * rule that fits counts. "\=" is an equals sign in FROM. Returns as above. */
enum err filter_rename_folder(struct filter *, const char *rule) MUST_CHECK;
/* Of messages: from this instant on; before this instant. RFC 3339: a date and time with its zone,
 * or a date, which begins at 00:00 UTC unless a zone stands behind it ("2024-01-01+01:00").
 * returns     OK | ERR_INPUT_USAGE */
enum err filter_since(struct filter *, const char *date) MUST_CHECK;
enum err filter_before(struct filter *, const char *date) MUST_CHECK;
/* At least and at most so many bytes; 0: no bound. */
void filter_sizes(struct filter *, uint64_t min, uint64_t max);
/* Can a message pass at all?
 * returns     OK | ERR_INPUT_USAGE */
enum err filter_check(const struct filter *) MUST_CHECK;

/* The calls below take NULL for a filter that takes everything. */

/* Whether the folder, by its name at the source, is wanted. */
bool filter_takes_folder(const struct filter *, const struct box *);
/* Give it its new name, where a rule says so; `raw` stays. It has no use then: it is to go where
 * the rule says, and not where a destination keeps such mail. Characters of the new name that
 * separate levels at the source become '_'.
 * returns     OK | ERR_SOURCE_NAME: longer than a name may be; the box is unchanged */
enum err filter_name_folder(const struct filter *, struct box *) MUST_CHECK;

/* What has to be known of a message before it can be judged. */
bool filter_wants_dates(const struct filter *);
bool filter_wants_sizes(const struct filter *);
static inline bool filter_judges_messages(const struct filter *filter)
{
	return filter_wants_dates(filter) || filter_wants_sizes(filter);
}
/* Dates are compared as instants, whatever their zones. What is not known (a date that is not, or
 * SIZE_UNKNOWN) keeps no message out. */
bool filter_takes_message(const struct filter *, const struct mail_date *, int64_t size_bytes);
/* What it asks of messages as a text, the same for filters that ask the same; "" for nothing.
 * Returns `to`. */
char *filter_text(const struct filter *, char to[FILTER_TEXT_BYTES]);

#endif
