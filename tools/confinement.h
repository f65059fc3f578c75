/* How commands shut themselves in: no core dumps, the helper, no_new_privs, seccomp filters.
 * The order matters (docs/OPERATING.md says what each is for), and what could not be had is told.
 */
#ifndef MAILHAUL_TOOLS_CONFINEMENT_H
#define MAILHAUL_TOOLS_CONFINEMENT_H

#include "engine/confine.h"
#include "tools/job.h"
#include "tools/json_out.h"

/* First of all, before anything secret or somebody's mail is in memory. `mode` is the value of
 * --confine. */
enum err confinement_prepare(const char *mode) MUST_CHECK;
/* Before confinement_begin(): a program that the command line names, which gives a secret; borrowed
 * until the end. A few at most. */
void confinement_allow(const char *command);
/* When everything is planned and this thread is still alone: the helper with the programs that the
 * job names (NULL: none), offload threads, filters. */
enum err confinement_begin(const struct job *) MUST_CHECK;
/* For a command that only reads an archive, in place of both: everything that is looked for or
 * loaded on first use is there, and what is not is never needed. Its one thread then takes its role
 * when its ring is open. */
enum err confinement_begin_offline(const char *mode) MUST_CHECK;
/* Ends the helper. After the last thread that may ask it. */
void confinement_end(void);

/* In a report: one line, one object. Nothing where nothing was begun. */
void confinement_text(FILE *);
void confinement_json(struct json_out *);

extern const char *const confinement_modes[];
#define CONFINEMENT_OFFLINE_OPTION(holder, field)                                                  \
	{                                                                                          \
		.name = "confine", OPT_STORES_CHOICE(holder, field), .choices = confinement_modes, \
		.initial = "on",                                                                   \
		.help = "What the program may ask the kernel for while it reads the archive: on: " \
			"only what that needs (no connections, no programs, no files to write "    \
			"but those of extract); log: anything, and the kernel's log names what "   \
			"on would have refused; off: anything, with debuggers and core files "     \
			"allowed. See docs/OPERATING.md."                                          \
	}
#define CONFINEMENT_HELP                                                                           \
	"What the program's threads may ask the kernel for: on: only what they need; log: "        \
	"anything, and the kernel's log names what on would have refused; off: anything, with "    \
	"debuggers and core files allowed. See docs/OPERATING.md."

#endif
