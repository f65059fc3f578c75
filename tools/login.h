/* How an account logs in with OAuth2, as a job file or the command line says it, and the token
 * source (transport/oauth2.h) made of that for one mailbox. */
#ifndef MAILHAUL_TOOLS_LOGIN_H
#define MAILHAUL_TOOLS_LOGIN_H

#include "tools/secret_ref.h"
#include "transport/oauth2.h"

/* The same for many mailboxes; texts are "" where they do not apply, and borrowed. */
struct login {
	enum oauth2_grant grant;
	const char *token_url, *client_id, *scope, *ca_file;
	const char *credential;		 /* the reference as it was written, path absolute */
	struct secret_ref client_secret; /* beside a refresh token */
};

/* The key of the job file that holds the credential: "token", "client_secret" and so on. */
const char *login_credential_key(enum oauth2_grant);
/* What is missing or too much for its grant, and defaults of `scope`; ERR_INPUT_USAGE. */
enum err login_complete(struct login *) MUST_CHECK;

/* One mailbox's source of tokens. */
struct login_source {
	struct oauth2_source source;
	struct secret_ref credential, client_secret;
	char name[200];
};
/* Have `account`, which is otherwise complete, log in with tokens got by `credential`. Everything
 * passed is borrowed as long as the account is in use. */
void login_use(const struct login *, const struct secret_ref *credential, struct login_source *,
	       struct account *account);

#endif
