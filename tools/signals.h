/* SIGINT and SIGTERM: the first asks for an orderly end, the second ends at once. */
#ifndef MAILHAUL_TOOLS_SIGNALS_H
#define MAILHAUL_TOOLS_SIGNALS_H

/* For commands that move mail. The first signal requests SHARD_DRAIN, the second ends the process
 * with 130 or 143; SIGPIPE is ignored; a crash restores the terminal first. SIGBUS of a mapped file
 * that has no room on its disk ends it with a word about that and EXIT_IO. */
void signals_setup(void);

/* SIGHUP: the log file was moved away; open its path again. */
void signals_reopen_log(void);

#endif
