/* A folder of conversations as tests: one a file NAME.wire, called NAME. */
#ifndef MAILHAUL_TESTS_CONVERSATIONS_H
#define MAILHAUL_TESTS_CONVERSATIONS_H

#include "tests/test.h"

struct play_kind;

/* In the order of their names, each run in a fiber by `run`, which finds the file by test_name().
 * Before main(), once in a program. Returns how many there are: none in a wrong working directory,
 * which must not look like success. */
unsigned conversations_add(const char *folder, void (*run)(void));

/* Play test_name()'s file of the kind's folder (play.h) in every way: each of its `each` lines, as
 * it comes, byte by byte and in pieces of chance (SEED); then, unless WIRE_SHORT is set, with every
 * trick at every line. */
void conversation_play(const struct play_kind *);

#endif
