/* Which mailboxes, folders and messages of an archive are meant: options of list and extract. */
#ifndef MAILHAUL_TOOLS_SELECTION_H
#define MAILHAUL_TOOLS_SELECTION_H

#include "engine/opt.h"

/* Zeroed: everything. */
struct selection {
	const char *mailbox, *box;
	uint64_t number;
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
	{                                                                                          \
		.name = "uid", OPT_STORES_NUMBER(holder, field.number), .value = "N", .min = 1,    \
		.max = UINT32_MAX, .help = "Only the message of this UID."                         \
	}

bool selection_is_all(const struct selection *);
bool selection_has_mailbox(const struct selection *, const char *name);
bool selection_has_box(const struct selection *, const char *name);
bool selection_has_message(const struct selection *, const char *box_name, uint64_t number);

#endif
