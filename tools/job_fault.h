/* Gathering what is wrong with a job, to be told at its end: file by file in the order of lines, of
 * each the first ones only. Warnings are told at once. Only between the files that make a job. */
#ifndef MAILHAUL_TOOLS_JOB_FAULT_H
#define MAILHAUL_TOOLS_JOB_FAULT_H

#include "tools/job.h"

struct job_faults {
	const char *file;				       /* the job file */
	void (*tell)(void *context, const struct job_fault *); /* may be NULL */
	void *context;
	unsigned count; /* without warnings */
	struct job_fault_file *files;
};

/* A fault of the job file at `line` (0: the file as a whole). */
void job_fault(struct job_faults *, unsigned line, const char *key, const char *format, ...)
	PRINTF_LIKE(4, 5);
/* The same with the text of the error that was just raised, whose note is cleared. */
void job_fault_raised(struct job_faults *, unsigned line, const char *key, enum err);
/* One that somebody else found, perhaps in another file. */
void job_fault_pass(struct job_faults *, const struct job_fault *);
/* OK if there was none, else ERR_INPUT_FILE with the first as its note. */
enum err job_faults_end(const struct job_faults *) MUST_CHECK;
/* Tell what was gathered, and let go of it. */
void job_faults_tell(struct job_faults *);

#endif
