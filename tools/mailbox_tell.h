/* Telling what is wrong with a mailbox list. No text ever holds what a field holds: a row that
 * slipped by one column would show its password. */
#ifndef MAILHAUL_TOOLS_MAILBOX_TELL_H
#define MAILHAUL_TOOLS_MAILBOX_TELL_H

#include "tools/mailbox_csv.h"

struct mailbox_tell {
	void (*fault)(void *context, const struct job_fault *); /* may be NULL */
	void *context;
	const char *path;
	uint64_t faults;
};

/* column  "" where it is about the whole line; line 0: about the whole file. The first fault
 * becomes the fiber's note. */
void mailbox_tell_fault(struct mailbox_tell *, uint32_t line, const char *column,
			const char *format, ...) PRINTF_LIKE(4, 5);
void mailbox_tell_warning(struct mailbox_tell *, uint32_t line, const char *column,
			  const char *format, ...) PRINTF_LIKE(4, 5);

#endif
