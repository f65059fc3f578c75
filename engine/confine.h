/* What the threads of this process may ask the kernel for (seccomp): each thread has the calls its
 * work needs and no others, so that a hole in a parser is not a shell. Not for: what a ring may do,
 * which seccomp does not see (ring_uring.c restricts it), and what needs exec or dlopen (helper.h).
 *
 * What is not in a role's list ends with EPERM and is logged; execve(2), ptrace(2), mount(2) and
 * their kind, which nothing here ever calls, end the process (docs/OPERATING.md). */
#ifndef MAILHAUL_CONFINE_H
#define MAILHAUL_CONFINE_H

#include "engine/err.h"

enum confine_mode {
	CONFINE_ON,
	CONFINE_LOG, /* everything is allowed, and the kernel logs what CONFINE_ON would not */
	CONFINE_OFF,
};

enum confine_role {
	CONFINE_MAIN,	   /* starts threads, opens rings, writes reports, serves metrics */
	CONFINE_OFFLOAD,   /* files, SQLite, computing; asks the helper */
	CONFINE_WORKER,	   /* turns a ring; makes connections through it */
	CONFINE_EXTRACTOR, /* reads an archive, writes files through its ring; no sockets */
	CONFINE_READER,	 /* reads an archive; opens nothing to write, writes to stdout and stderr */
	CONFINE_FETCHER, /* a worker, and an extractor: of an archive in a bucket */
	CONFINE_ROLES
};

enum { CONFINE_WHY_BYTES = 160 };
struct confine_facts {
	enum confine_mode mode;	     /* as asked for */
	bool filtered;		     /* filters are in place */
	bool no_new_privs;	     /* no program that is started gets rights we do not have */
	unsigned threads;	     /* that were given the filter of a role so far */
	char why[CONFINE_WHY_BYTES]; /* there are no filters; "" where there are */
};

/* Once, when only this thread is there and whatever needs more rights has been started: confine it
 * as CONFINE_MAIN, and with it every thread that it starts. Never fails: what the kernel or the
 * container does not allow is logged and told by confine_facts(). */
void confine_process(enum confine_mode);
/* Confine the calling thread further. Nothing to do where the process is not confined. */
void confine_thread(enum confine_role);
void confine_facts(struct confine_facts *);
/* Whether confine_process() would set filters here; nothing is changed. */
bool confine_is_possible(void);
/* "on", "log", "off" */
const char *confine_mode_name(enum confine_mode);
bool confine_mode_from_name(const char *, enum confine_mode *);

#endif
