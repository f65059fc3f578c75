/* Secrets that a program prints: run without a shell, killed at its deadline, its output wiped. */
#ifndef MAILHAUL_TOOLS_SECRET_REF_EXEC_H
#define MAILHAUL_TOOLS_SECRET_REF_EXEC_H

#include "crypto/secret.h"
#include "engine/helper.h"

/* Whether `command` is a full path and arguments, separated by spaces; one with spaces in it stands
 * in single or double quotes (there is no other quoting). ERR_INPUT_USAGE. */
enum err secret_ref_exec_parse(const char *command) MUST_CHECK;
/* Whether the program is there and may be run. ERR_INPUT_SECRET. */
enum err secret_ref_exec_check(const char *command) MUST_CHECK;
/* The commands that a helper started after this call may be asked to run, and no others: it has
 * them from the job, not from whoever asks. Sorts `commands`, which stay. */
void secret_ref_exec_allow(const char **commands, size_t count);
/* What the helper is started with. */
extern const struct helper_call secret_ref_exec_call, secret_ref_exec_whole_call;
/* Run it, in the helper: no standard input, standard error dropped, the environment as it is. Its
 * first line, or with `whole` all of it, is the secret; no more than SECRET_BYTES_MAX are taken. At
 * `until` it is killed, together with what it started. Blocks. ERR_INPUT_SECRET names the program,
 * never its arguments or output. */
enum err secret_ref_exec(const char *command, nsec until, bool whole, struct secret **) MUST_CHECK;
/* The first line, or all, of what comes from `fd` until its end; `what` is for error texts. Blocks
 * until `until`. ERR_INPUT_SECRET. */
enum err secret_ref_exec_read(int fd, nsec until, const char *what, bool whole,
			      struct secret **) MUST_CHECK;

#endif
