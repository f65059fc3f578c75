/* Numbers as people read them. Decimal units: 1 MB is 1,000,000 bytes. */
#ifndef MAILHAUL_TOOLS_UNITS_H
#define MAILHAUL_TOOLS_UNITS_H

#include "engine/base.h"

enum { UNITS_TEXT_BYTES = 32 };
/* "512 B", "48.2 kB", "1.3 GB". */
char *units_bytes(char to[UNITS_TEXT_BYTES], uint64_t bytes);
/* "0.4 s", "12 s", "3:05 min", "2:10 h". */
char *units_duration(char to[UNITS_TEXT_BYTES], nsec);
/* "2026-03-01T08:00:00Z". */
char *units_wall(char to[UNITS_TEXT_BYTES], int64_t wall_seconds);
/* n per second; 0 for no time. */
double units_rate(uint64_t n, nsec duration);
/* "s" unless n is 1: "1 folder", "2 folders". */
const char *units_plural(uint64_t n);

#endif
