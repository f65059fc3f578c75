/* What a connection costs in memory while nothing happens on it: so many logged-in IMAP sessions
 * over TLS in one shard, held at once. Prints the growth of resident memory between the first and
 * the last; the kernel's own socket buffers are not in it.
 *
 *   idle_bench PORT CA_FILE CONNECTIONS USER PASSWORD */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "crypto/secret.h"
#include "engine/clock.h"
#include "engine/offload.h"
#include "engine/shard.h"
#include "transport/conn.h"
#include "transport/imap_session.h"

struct choice {
	struct account account;
	unsigned connections;
	const char *password;
};

static double resident_kib(void)
{
	long pages[2] = { 0, 0 };
	FILE *file = fopen("/proc/self/statm", "r");

	must(file && fscanf(file, "%ld %ld", &pages[0], &pages[1]) == 2);
	fclose(file);
	return (double)pages[1] * (double)sysconf(_SC_PAGESIZE) / 1024;
}

static enum err hold_all(void *context)
{
	struct choice *choice = context;
	struct imap_session **sessions = calloc(choice->connections, sizeof(void *));
	struct secret *password = NULL;
	double first = 0, all;
	unsigned count = 0;
	enum err e;

	must(sessions);
	e = secret_from_bytes(choice->password, strlen(choice->password), &password);
	choice->account.password = password;
	while (e == OK && count < choice->connections) {
		e = imap_session_open(&choice->account, clock_after(60 * NSEC_SECOND),
				      &sessions[count++]);
		if (count == 1)
			first = resident_kib();
	}
	all = resident_kib();
	if (e == OK)
		printf("%u idle connections: %.1f KiB each (%.1f MiB with the first, %.1f MiB with "
		       "all)\n",
		       count, (all - first) / (count - 1), first / 1024, all / 1024);
	while (count > 0)
		imap_session_close(&sessions[--count]);
	free(sessions);
	secret_close(&password);
	conn_thread_cleanup();
	return e;
}

int main(int count, char **arguments)
{
	struct rlimit files;
	struct choice choice;
	enum err e;

	if (count != 6 || (choice.connections = (unsigned)atoi(arguments[3])) < 2) {
		fprintf(stderr, "usage: idle_bench PORT CA_FILE CONNECTIONS USER PASSWORD\n");
		return 64;
	}
	must(getrlimit(RLIMIT_NOFILE, &files) == 0);
	files.rlim_cur = files.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &files);
	choice.account = (struct account){ .scheme = "imaps",
					   .host = "127.0.0.1",
					   .port = (uint16_t)atoi(arguments[1]),
					   .path = "/",
					   .user = arguments[4],
					   .shown = "imaps://bench/",
					   .ca_file = arguments[2],
					   .io_timeout = 60 * NSEC_SECOND,
					   .connect_timeout = 30 * NSEC_SECOND };
	choice.password = arguments[5];
	must(secret_process_setup() == OK);
	if ((e = shard_run(&(struct shard_config){ .arena_chunks = 1 }, hold_all, &choice)))
		fprintf(stderr, "idle_bench: %s: %s\n", err_text(e), err_note()->text);
	offload_shutdown(clock_after(NSEC_SECOND));
	return e ? 1 : 0;
}
