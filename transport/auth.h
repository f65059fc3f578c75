/* Logging in to an IMAP server: with a password by SASL PLAIN (RFC 4616) or, where there is nothing
 * better, the LOGIN command; with an access token (oauth2.h) by OAUTHBEARER (RFC 7628) or XOAUTH2.
 * Which of the two is the account's to say: a password is never sent as a token, nor a token as a
 * password. The initial response goes with AUTHENTICATE where the server takes it (RFC 4959). Only
 * ever used under TLS. libetpan's SASL is not used: it loads plugins. */
#ifndef MAILHAUL_AUTH_H
#define MAILHAUL_AUTH_H

#include "transport/imap_session.h"

enum auth_method { AUTH_NONE, AUTH_PLAIN, AUTH_XOAUTH2, AUTH_LOGIN, AUTH_OAUTHBEARER };

struct auth_identity {
	struct text user;
	struct text
		on_behalf; /* authorization identity: whose mailbox it is, if not the user's own */
	struct text password; /* or the access token */
	struct text host;     /* of OAUTHBEARER: which server is meant */
	uint16_t port;
};

/* The method for these capabilities (enum imap_capability). With a password: PLAIN; without it the
 * LOGIN command unless LOGINDISABLED. With a token: OAUTHBEARER, or else XOAUTH2. */
enum auth_method auth_choose(unsigned capabilities, bool with_token);
/* Bytes of the base64 form of the method's message, terminator included. */
size_t auth_message_bytes(enum auth_method, const struct auth_identity *);
/* Writes it to `to`, which holds that much. ERR_MEMORY_EXHAUSTED. The caller wipes `to`. */
enum err auth_message(enum auth_method, const struct auth_identity *, char *to) MUST_CHECK;
/* What a refused token's challenge says, base64 of JSON (RFC 7628 section 3.2.2; XOAUTH2's is
 * alike), for people: "invalid_token", escaped and cut; "" if it says nothing. Returns `to`. */
enum { AUTH_CHALLENGE_BYTES = 80 };
char *auth_challenge_show(struct text challenge, char to[AUTH_CHALLENGE_BYTES]);
/* Where the account logs in with tokens: see that there is one, before a server waits for us.
 * Errors of oauth2_token_get(). Suspends. */
enum err auth_prepare(const struct account *, nsec until) MUST_CHECK;
/* Log the session in as its account says. A token that was used before and is refused is replaced
 * by a new one, once. `until` bounds the wait for that. ERR_IMAP_LOGIN with what the server said,
 * ERR_IMAP_NO_AUTH, ERR_IMAP_UNAVAILABLE, ERR_IMAP_THROTTLED; errors of oauth2_token_get().
 * Suspends. */
enum err auth_login(struct imap_session *, nsec until) MUST_CHECK;

#endif
