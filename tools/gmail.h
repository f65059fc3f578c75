/* How a Gmail source's labels become folders, as a person writes it: options of `copy`, and the
 * same as keys of a job file. */
#ifndef MAILHAUL_TOOLS_GMAIL_H
#define MAILHAUL_TOOLS_GMAIL_H

#include "engine/opt.h"
#include "transport/gmail_labels.h"

struct gmail_options {
	const char *labels; /* a name of gmail_rule */
	bool keywords;
};

extern const char *const gmail_rules[]; /* NULL-terminated */

#define GMAIL_LABELS_HELP                                                                          \
	"Of a Gmail source, where folders are labels. first: each message is fetched and copied "  \
	"once, into INBOX, Sent, Drafts or the folder of a label of its, else into All Mail's; "   \
	"where an earlier run put it, it stays. every: into the folder of each of its labels. "    \
	"folders: as the server shows it, All Mail too. Of no meaning elsewhere. See "             \
	"docs/OPERATING.md."
#define GMAIL_KEYWORDS_HELP                                                                        \
	"Of a Gmail source: keep as keywords the labels that are not the message's folder. Not "   \
	"with --gmail-labels folders."

/* Rows of an option table; `field` of `holder` is a struct gmail_options. */
#define GMAIL_OPTION_ROWS(holder, field)                                                           \
	{ .name = "gmail-labels",                                                                  \
	  OPT_STORES_CHOICE(holder, field.labels),                                                 \
	  .choices = gmail_rules,                                                                  \
	  .initial = "first",                                                                      \
	  .help = GMAIL_LABELS_HELP },                                                             \
	{                                                                                          \
		.name = "gmail-keywords", OPT_STORES_FLAG(holder, field.keywords),                 \
		.help = GMAIL_KEYWORDS_HELP                                                        \
	}

/* For one lane. ERR_MEMORY_EXHAUSTED */
enum err gmail_open(const struct gmail_options *, struct labels **) MUST_CHECK;

#endif
