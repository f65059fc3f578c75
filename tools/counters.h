/* The engine's counters as text, for --stats. */
#ifndef MAILHAUL_TOOLS_COUNTERS_H
#define MAILHAUL_TOOLS_COUNTERS_H

#include <stdio.h>

/* Of this thread's shard; called inside it. */
void counters_print(FILE *);

#endif
