/* Canned servers by themselves, for bench/scaling: each core of the list gets one with a mailbox of
 * so many megabytes, whoever logs in. Prints "PORT PID" for each and serves until standard input
 * ends.
 *
 *   canned_bench CERTIFICATE KEY MEGABYTES CORE... */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench/canned.h"

enum { SERVERS_MAX = 64 };

int main(int count, char **arguments)
{
	struct canned servers[SERVERS_MAX];
	struct corpus corpus;
	int servers_count = count - 4;
	char byte;

	if (servers_count < 1 || servers_count > SERVERS_MAX) {
		fprintf(stderr, "usage: canned_bench CERTIFICATE KEY MEGABYTES CORE...\n");
		return 64;
	}
	corpus_make(&corpus, CORPUS_SMALL, strtoull(arguments[3], NULL, 10) << 20);
	for (int i = 0; i < servers_count; i++) {
		canned_start(&servers[i], &corpus, arguments[1], arguments[2],
			     atoi(arguments[4 + i]));
		printf("%u %d\n", servers[i].imaps_port, servers[i].pid);
	}
	fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
	for (int i = 0; i < servers_count; i++)
		canned_stop(&servers[i]);
	corpus_free(&corpus);
	return 0;
}
