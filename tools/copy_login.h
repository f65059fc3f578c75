/* How the sides of `mailhaul copy`, and the destination of verify and rollback, log in: by a
 * password from a file, or by access tokens. */
#ifndef MAILHAUL_TOOLS_COPY_LOGIN_H
#define MAILHAUL_TOOLS_COPY_LOGIN_H

#include "tools/job.h"

/* What the command line says about one side; NULL: nothing. */
struct copy_login_options {
	const char *password_file, *token_file, *token_command;
};
struct copy_login {
	const struct login *login;    /* NULL: by password, if any */
	struct secret_ref credential; /* of the login */
	struct login of_options;
	struct login_source source;
	struct secret *password;
};

/* Which way it is to be; opens no secret. `side` is "source" or "destination", `of_file` and
 * `credential` are the job file's (--oauth2), if it has any. A command is allowed to be run from
 * the helper. ERR_INPUT_USAGE, ERR_INPUT_SECRET. */
enum err copy_login_plan(const char *side, const struct copy_login_options *,
			 const struct login *of_file, const struct secret_ref *credential,
			 struct copy_login *) MUST_CHECK;
/* Whether there is one; ERR_INPUT_USAGE says which options there are. */
enum err copy_login_check(const char *side, const char *url, const struct copy_login_options *,
			  const struct copy_login *) MUST_CHECK;
/* Read the password, if that is the way. Blocks. ERR_INPUT_SECRET. */
enum err copy_login_open(const struct copy_login_options *, struct copy_login *) MUST_CHECK;
/* Into an account that is otherwise complete; both stay where they are while it is in use. */
void copy_login_use(struct copy_login *, struct account *);
void copy_login_close(struct copy_login *);

#endif
