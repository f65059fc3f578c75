/* Access tokens to log in with (OAuth 2.0, RFC 6749): from wherever a program or file gives them,
 * or from a token endpoint. Each thread keeps those it has, so mailboxes that may use the same
 * token share it; a token is renewed before it expires, by one fiber while the others wait. Not
 * for: how a token is shown to a mail server (auth.c). */
#ifndef MAILHAUL_OAUTH2_H
#define MAILHAUL_OAUTH2_H

#include "engine/source.h"

enum oauth2_grant {
	/* The credential is the access token: somebody else renews it. It is read again when it was
	 * refused, and every five minutes. */
	OAUTH2_TOKEN,
	/* RFC 6749 section 4.4 with a client secret: Microsoft's application permission
	 * IMAP.AccessAsApp, scope https://outlook.office365.com/.default. One token for all. */
	OAUTH2_CLIENT_SECRET,
	/* The same with a signed assertion (RFC 7523 section 2.2): the credential is a private key
	 * in PEM with its certificate, which Microsoft knows by its thumbprint. */
	OAUTH2_CERTIFICATE,
	/* RFC 7523 section 2.1 with a key file of Google's: domain-wide delegation, scope
	 * https://mail.google.com/. One token for each mailbox (`subject`). */
	OAUTH2_SERVICE_ACCOUNT,
	/* RFC 6749 section 6: a refresh token that somebody got by logging in once. */
	OAUTH2_REFRESH_TOKEN,
};
enum oauth2_credential { OAUTH2_CREDENTIAL, OAUTH2_CLIENT_SECRET_BESIDE };

/* Where tokens come from. Sources that are equal in all texts share their tokens. Borrowed as long
 * as something logs in with it. Texts may be NULL where the grant has no use for them. */
struct oauth2_source {
	enum oauth2_grant grant;
	const char *token_url; /* https:// only; of a service account its file's, if NULL */
	const char *client_id, *scope;
	const char *subject; /* whose mailbox it is; of SERVICE_ACCOUNT only */
	const char *name;    /* where the credential is ("file:/run/token"); for texts */
	const char *place;   /* the same in full: tells sources apart, and is never shown */
	const char *ca_file; /* of the endpoint; NULL: the system's */
	nsec io_timeout, connect_timeout;
	const struct route *route; /* to the endpoint, and who is told of it: as struct account */
	void (*met)(void *context, const struct peer *);
	void *met_context;
	void (*parted)(void *context, const struct path *);
	void *parted_context;
	bool has_client_secret; /* REFRESH_TOKEN: there is one beside */
	/* Read a credential; it is read each time it is needed, and closed at once. Suspends. */
	enum err (*credential)(const struct oauth2_source *, enum oauth2_credential, nsec until,
			       struct secret **);
	/* REFRESH_TOKEN: the endpoint gave `now` in place of the credential, which read `was` and
	 * may be good for nothing any more. Kept for whoever reads the credential next, or an error
	 * that says why not; then this thread remembers it. NULL: there is nowhere to keep it.
	 * Suspends; nobody cancels it. */
	enum err (*keep)(const struct oauth2_source *, struct text was, struct text now);
	const void *context; /* of credential() and keep() */
};

/* One token, counted; the text is valid while it is held. */
struct oauth2_token;
struct text oauth2_token_text(const struct oauth2_token *);

/* A token that is good for some time yet. ERR_OAUTH2_REFUSED with what the endpoint says,
 * ERR_OAUTH2_UNAVAILABLE, ERR_HTTP_SYNTAX, ERR_NET_*, ERR_TLS_*, ERR_INPUT_SECRET. What failed is
 * not asked for again for some seconds (a refusal: a minute), but fails with the same words. On a
 * fiber with FIBER_STACK_LARGE. Suspends. */
enum err oauth2_token_get(const struct oauth2_source *, nsec until,
			  struct oauth2_token **) MUST_CHECK;
void oauth2_token_put(struct oauth2_token **);
/* The token is about to be shown to a server. False the first time: if it is refused then, a new
 * one would be no better. */
bool oauth2_token_was_used(struct oauth2_token *);
/* A server refused it: the next one will be another, if there is another. */
void oauth2_token_drop(const struct oauth2_source *, const struct oauth2_token *);
/* Forget all tokens of this thread, before it ends. None may be held. */
void oauth2_thread_cleanup(void);

/* Whether a token may be sent as such: 1 or more visible ASCII characters (RFC 6750 section 2.1
 * allows fewer, and servers give out more). */
bool oauth2_token_is_sound(struct text);

#endif
