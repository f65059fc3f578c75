/* A folder of conversations as tests: one a file NAME.wire, called NAME. */
#ifndef MAILHAUL_TESTS_CONVERSATIONS_H
#define MAILHAUL_TESTS_CONVERSATIONS_H

#include "tests/test.h"
#include "tests/wire/trick.h"

/* In the order of their names, each run in a fiber by `run`, which finds the file by test_name().
 * Before main(), once in a program. Returns how many there are: none in a wrong working directory,
 * which must not look like success. */
unsigned conversations_add(const char *folder, void (*run)(void));

/* Play test_name()'s file of the folder in every way: each of its `each` lines, as it comes, byte
 * by byte and in pieces of chance (SEED), and then with every trick at every line. `play` is false
 * where the trick does not fit there, or the file has no such `each`. */
void conversation_play(const char *folder, bool (*play)(const char *path, struct wire_way *));

#endif
