/* Which mailboxes, folders and messages of an archive are meant: options of list and extract. */
#ifndef MAILHAUL_TOOLS_SELECTION_H
#define MAILHAUL_TOOLS_SELECTION_H

#include "engine/opt.h"
#include "transport/archive.h"

/* Zeroed: everything. */
struct selection {
	const char *mailbox, *box;
	uint64_t number;
	const char *as_of;
	bool present;
};

#define SELECTION_OPTIONS(holder, field)                                                           \
	{ .name = "mailbox",                                                                       \
	  OPT_STORES_TEXT(holder, field.mailbox),                                                  \
	  .value = "NAME",                                                                         \
	  .help = "Only this mailbox, named as list shows it: alice@mail.example.com." },          \
		{ .name = "folder",                                                                \
		  OPT_STORES_TEXT(holder, field.box),                                              \
		  .value = "NAME",                                                                 \
		  .help = "Only this folder, in UTF-8 and with the source's separator: "           \
			  "Work/2019." },                                                          \
		{ .name = "uid",                                                                   \
		  OPT_STORES_NUMBER(holder, field.number),                                         \
		  .value = "N",                                                                    \
		  .min = 1,                                                                        \
		  .max = UINT32_MAX,                                                               \
		  .help = "Only the message of this UID." },                                       \
		{ .name = "present",                                                               \
		  OPT_STORES_FLAG(holder, field.present),                                          \
		  .help = "Leave out messages that were not at the source any more when the last " \
			  "run looked." },                                                         \
	{                                                                                          \
		.name = "as-of", OPT_STORES_TEXT(holder, field.as_of), .value = "WHEN",            \
		.help = "Read the archive as it was at the end of a run: a generation of the "     \
			"manifest (3), a moment (2026-11-22T06:00:00Z), or the end of a day in "   \
			"UTC (2026-11-22)."                                                        \
	}

bool selection_is_all(const struct selection *);
bool selection_has_box(const struct selection *, const char *name);
bool selection_has_message(const struct selection *, const struct archive_message *);
/* Make the archive read only the mailbox that --mailbox names, and as of what --as-of says, where
 * they are given. ERR_INPUT_USAGE. */
enum err selection_apply(const struct selection *, struct archive *) MUST_CHECK;

#endif
