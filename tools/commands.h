/* The subcommands. Each file below tools/ that holds one defines its row; main.c lists them. */
#ifndef MAILHAUL_TOOLS_COMMANDS_H
#define MAILHAUL_TOOLS_COMMANDS_H

#include "engine/opt.h"
#include "engine/sink.h"

struct command {
	const struct opt_command *usage;
	/* `words` are what follows the subcommand's name. Returns the process's exit code. */
	int (*run)(int count, char *const *words);
};

extern const struct command copy_command, run_command, config_command, list_command,
	extract_command, verify_command, rollback_command, unwrap_command, status_command,
	topology_command, providers_command, version_command;

/* "v0.1-3-gabc123"; in version.c. */
extern const char program_version[];

/* Parse, or show help, or complain. True: go on. False: *exit_code says how to end. */
bool command_parse(const struct opt_command *, int count, char *const *words, void *values,
		   struct opt_words *, int *exit_code);

/* The values of --wrap, in the order of enum sink_wrap; NULL behind the last. */
extern const char *const wrap_choices[];
enum sink_wrap command_sink_wrap(const char *choice);

/* Where the ledger lies when --state is not given: $XDG_STATE_HOME/mailhaul,
 * ~/.local/state/mailhaul. */
enum err command_state_directory(const char *given, char *to, size_t to_bytes) MUST_CHECK;

/* Make it, and what is missing above it, with mode 0700; what is denied is for the ledger to say.
 */
enum err command_make_state_directory(const char *) MUST_CHECK;

/* Everything printed must have arrived: a full disk behind stdout is an error. */
int command_finish_output(const char *command, int exit_code);

#endif
