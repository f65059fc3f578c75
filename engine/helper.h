/* A process beside this one for what a confined thread may not do: run programs, and load what the
 * name service needs. It is forked at the start, before there are threads, secrets and filters;
 * each question is answered by a child of its own, which is ended at its deadline, so no question
 * can spoil the next. It answers the calls it was started with and no others, and dies with us.
 *
 * Where no helper was started (most subcommands, tests), a call runs where it is asked for. */
#ifndef MAILHAUL_HELPER_H
#define MAILHAUL_HELPER_H

#include <sys/types.h>

#include "engine/err.h"

enum {
	HELPER_CALLS_MAX = 8,
	HELPER_REQUEST_BYTES_MAX = 32 * 1024,
	HELPER_ANSWER_BYTES_MAX = 16 * 1024,
};

struct helper_call {
	const char *name; /* for error texts */
	/* In the child. The request is what was asked, whoever asked: look at it; a NUL follows it.
	 * May block; RAISE is carried over to whoever asked.
	 * answer_bytes  in: how much fits into `answer`; out: what was put there */
	enum err (*run)(struct text request, nsec until, void *answer, size_t *answer_bytes);
};

/* Fork the helper. `calls` outlive the process. ERR_HELPER_DIED: it cannot be had. */
enum err helper_start(const struct helper_call *const *calls, unsigned calls_count) MUST_CHECK;
/* Ask and wait; blocks, so on an offload thread, from any number of them. The answer goes straight
 * into `answer`, which may be guarded memory.
 * until    absolute; ERR_HELPER_FAILED a second later if there is no answer by then
 * returns  what the call returns | ERR_HELPER_FAILED: no answer | ERR_HELPER_DIED */
enum err helper_ask(const struct helper_call *, struct text request, nsec until, void *answer,
		    size_t *answer_bytes) MUST_CHECK;
/* 0: there is none. */
pid_t helper_pid(void);
/* Ends it, with what it is at. After the last question. */
void helper_stop(void);

#endif
