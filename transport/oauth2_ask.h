/* One token asked of a token endpoint over HTTP: the form in each grant's words (RFC 6749, RFC 7523
 * with a signed assertion), the answer, and what a refusal means. Private to transport/oauth2*.c,
 * its tests and its fuzzer. Not for: which tokens there are, and when one is asked for (oauth2.h).
 */
#ifndef MAILHAUL_OAUTH2_ASK_H
#define MAILHAUL_OAUTH2_ASK_H

#include "transport/oauth2.h"

enum { OAUTH2_TOKEN_BYTES_MAX = 12 * 1024 };
struct oauth2_answer {
	char access_token[OAUTH2_TOKEN_BYTES_MAX + 1];
	char refresh_token[OAUTH2_TOKEN_BYTES_MAX + 1]; /* "": none */
	uint64_t expires_in_s;
};

/* credential  the source's, or a newer refresh token; borrowed, and never in an error text
 * out         in guarded memory (secret_room_open); filled on OK
 * returns     as oauth2_token_get()
 * suspends    until `until`; of every grant but OAUTH2_TOKEN, on a fiber with FIBER_STACK_LARGE */
enum err oauth2_ask(const struct oauth2_source *, struct text credential, nsec until,
		    struct oauth2_answer *out) MUST_CHECK;

/* What an endpoint says in its answer.
 * status      of HTTP
 * body        JSON, which holds secrets; borrowed
 * hidden      must not appear in error texts
 * returns     OK, with *out filled, or as oauth2_token_get() */
enum err oauth2_answer_read(const char *shown, unsigned status, struct text body,
			    struct text hidden, struct oauth2_answer *out) MUST_CHECK;

#endif
