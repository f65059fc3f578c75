#include "tools/job_fault.h"

#include <stdarg.h>
#include <stdio.h>

void job_fault_pass(struct job_faults *faults, const struct job_fault *fault)
{
	if (!fault->warning && faults->count++ == 0) {
		int used = snprintf(faults->first, sizeof faults->first, "%s", fault->file);

		if (fault->line && used > 0 && (size_t)used < sizeof faults->first)
			used += snprintf(faults->first + used, sizeof faults->first - (size_t)used,
					 ":%u", fault->line);
		if (used > 0 && (size_t)used < sizeof faults->first)
			snprintf(faults->first + used, sizeof faults->first - (size_t)used,
				 ": %s%s%s", fault->key, *fault->key ? ": " : "", fault->text);
	}
	if (faults->tell)
		faults->tell(faults->context, fault);
}

void job_fault(struct job_faults *faults, unsigned line, const char *key, const char *format, ...)
{
	char text[ERR_NOTE_BYTES_MAX];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	job_fault_pass(faults, &(struct job_fault){
				       .file = faults->file,
				       .line = line,
				       .key = key,
				       .text = text,
			       });
}

void job_fault_raised(struct job_faults *faults, unsigned line, const char *key, enum err e)
{
	const struct err_note *note = err_note();

	job_fault(faults, line, key, "%s", *note->text ? note->text : err_text(e));
	err_note_clear();
}

enum err job_faults_end(const struct job_faults *faults)
{
	err_note_clear();
	return faults->count ? RAISE(ERR_INPUT_FILE, "%s", faults->first) : OK;
}
