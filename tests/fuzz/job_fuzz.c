/* A job file, and behind a separator the list of mailboxes that it may name as "201". */
#include "tools/job.h"

#include "tests/fuzz/fuzz.h"

static void told(void *context, const struct job_fault *fault)
{
	must(fault->text && fault->key && fault->file);
	*(unsigned *)context += !fault->warning;
}

FUZZ(job)
{
	struct text file = fuzz_take_part(&input);
	struct job *job = NULL;
	unsigned faults = 0;
	enum err e;

	(void)fuzz_file(1, input);
	e = job_open(fuzz_file(0, file), told, &faults, &job);
	must((e == OK) == (job != NULL));
	must((e == ERR_INPUT_FILE) == (faults > 0));
	for (size_t i = 0; job && i < job->mailboxes_count; i++) {
		must(job->mailboxes[i].source[0] && job->mailboxes[i].target[0]);
		must(job->mailboxes[i].connections > 0);
	}
	job_close(&job);
}
