#include "tools/mailbox_tell.h"

#include <stdarg.h>
#include <stdio.h>

enum { TEXT_BYTES_MAX = 512 };

static void tell_one(const struct mailbox_tell *tell, bool warning, uint32_t line,
		     const char *column, const char *text)
{
	if (tell->fault)
		tell->fault(tell->context, &(struct job_fault){ .warning = warning,
								.file = tell->path,
								.line = line,
								.key = column,
								.text = text });
}

void mailbox_tell_fault(struct mailbox_tell *tell, uint32_t line, const char *column,
			const char *format, ...)
{
	char text[TEXT_BYTES_MAX];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	if (tell->faults++ == 0)
		(void)RAISE(ERR_INPUT_FILE, "%s:%u: %s%s%s", tell->path, line, column,
			    *column ? ": " : "", text);
	tell_one(tell, false, line, column, text);
}

void mailbox_tell_warning(struct mailbox_tell *tell, uint32_t line, const char *column,
			  const char *format, ...)
{
	char text[TEXT_BYTES_MAX];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	tell_one(tell, true, line, column, text);
}
