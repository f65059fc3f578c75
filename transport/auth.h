/* Logging in to an IMAP server: SASL PLAIN (RFC 4616) and XOAUTH2 through AUTHENTICATE, with the
 * initial response in the command where the server takes it (RFC 4959), or the LOGIN command
 * where there is nothing better. Only ever used under TLS. libetpan's SASL is not used: it loads
 * plugins. */
#ifndef MAILHAUL_AUTH_H
#define MAILHAUL_AUTH_H

#include "transport/imap_session.h"

enum auth_method { AUTH_NONE, AUTH_PLAIN, AUTH_XOAUTH2, AUTH_LOGIN };

struct auth_identity {
	struct text user;
	struct text
		on_behalf; /* authorization identity: whose mailbox it is, if not the user's own */
	struct text password; /* XOAUTH2: the access token */
};

/* The method for these capabilities (enum imap_capability): PLAIN; without it the LOGIN command
 * unless LOGINDISABLED; XOAUTH2 where it is all there is (the password is then the access
 * token). */
enum auth_method auth_choose(unsigned capabilities);
/* Bytes of the base64 form of the method's message, terminator included. */
size_t auth_message_bytes(enum auth_method, const struct auth_identity *);
/* Writes it to `to`, which holds that much. ERR_MEMORY_EXHAUSTED. The caller wipes `to`. */
enum err auth_message(enum auth_method, const struct auth_identity *, char *to) MUST_CHECK;
/* Log the session in as its account says. ERR_IMAP_LOGIN with what the server said,
 * ERR_IMAP_NO_AUTH, ERR_IMAP_UNAVAILABLE, ERR_IMAP_THROTTLED. Suspends. */
enum err auth_login(struct imap_session *) MUST_CHECK;

#endif
