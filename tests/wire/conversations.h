/* A folder of conversations as tests: one a file NAME.wire, called NAME. */
#ifndef MAILHAUL_TESTS_CONVERSATIONS_H
#define MAILHAUL_TESTS_CONVERSATIONS_H

#include "tests/test.h"

struct play_kind;

/* A test for each file of the kind's folder (play.h), in the order of their names. It plays the
 * file in a fiber in every way: each of its `each` lines, as it comes, byte by byte and in pieces
 * of chance (SEED); then, unless WIRE_SHORT is set, with every trick at every line. Once in a
 * program, at file scope, where a TEST would stand. */
#define CONVERSATIONS(kind)                                                                        \
	__attribute__((constructor)) static void add_conversations(void)                           \
	{                                                                                          \
		conversations_add(&(kind));                                                        \
	}
/* Of CONVERSATIONS: before main(), borrowed until the end. */
void conversations_add(const struct play_kind *);
/* How many there are: none in a wrong working directory, which must not look like success. */
unsigned conversations_count(void);

#endif
