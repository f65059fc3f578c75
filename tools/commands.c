/* What several subcommands share on their way in and out. */
#include "tools/commands.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "tools/hints.h"
#include "tools/url.h"

bool command_parse(const struct opt_command *usage, int count, char *const *words, void *values,
		   struct opt_words *out, int *exit_code)
{
	enum err e = opt_parse(usage, count, words, values, out);

	if (e) {
		*exit_code = hint_fail(usage->name, e);
		return false;
	}
	if (out->help) {
		opt_help(usage, "mailhaul", stdout);
		*exit_code = command_finish_output(usage->name, EXIT_ALL_MOVED);
		return false;
	}
	return true;
}

const char *const wrap_choices[] = { "no", "refused", "odd", NULL };

enum sink_wrap command_sink_wrap(const char *choice)
{
	unsigned i = 0;

	while (wrap_choices[i] && strcmp(wrap_choices[i], choice) != 0)
		i++;
	must(i <= SINK_WRAP_ODD);
	return (enum sink_wrap)i;
}

/* ---- surroundings ---- */

enum err command_make_state_directory(const char *state)
{
	char path[URL_PATH_BYTES_MAX + 1];

	if (snprintf(path, sizeof path, "%s", state) >= (int)sizeof path)
		return RAISE(ERR_INPUT_FILE, "the state directory's path is too long");
	for (char *slash = strchr(path + 1, '/');; slash = strchr(slash + 1, '/')) {
		if (slash)
			*slash = '\0';
		if (mkdir(path, 0700) && errno != EEXIST && errno != EROFS && errno != EACCES)
			return RAISE_ERRNO(err_of_file_errno(errno), errno,
					   "making the directory %s", path);
		if (!slash)
			return OK;
		*slash = '/';
	}
}

enum err command_state_directory(const char *given, char *to, size_t to_bytes)
{
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	int used;

	if (given)
		used = snprintf(to, to_bytes, "%s", given);
	else if (state &&
		 *state == '/') /* a relative one is to be ignored, says the XDG specification */
		used = snprintf(to, to_bytes, "%s/mailhaul", state);
	else if (home && *home)
		used = snprintf(to, to_bytes, "%s/.local/state/mailhaul", home);
	else
		return RAISE(ERR_INPUT_USAGE,
			     "there is no home directory to keep the ledger in; give --state DIR");
	if (used < 0 || (size_t)used >= to_bytes)
		return RAISE(ERR_INPUT_USAGE, "the name of the state directory is too long");
	return OK;
}

int command_finish_output(const char *command, int exit_code)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return exit_code;
	return hint_fail(command, RAISE_ERRNO(err_of_file_errno(errno ? errno : EIO),
					      errno ? errno : EIO, "writing to standard output"));
}
