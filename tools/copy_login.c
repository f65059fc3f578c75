#include "tools/copy_login.h"

#include "tools/confinement.h"
#include "tools/secret_ref_exec.h"

/* The credential is the token itself. */
static enum err plan_token(enum secret_ref_kind kind, const char *text, struct copy_login *made)
{
	made->of_options = (struct login){ .grant = OAUTH2_TOKEN,
					   .token_url = "",
					   .client_id = "",
					   .scope = "",
					   .ca_file = "",
					   .credential = "",
					   .client_secret = { .text = "" } };
	made->credential = (struct secret_ref){ .kind = kind, .text = text };
	made->login = &made->of_options;
	return secret_ref_check(&made->credential);
}

static enum err plan_command(const char *side, const char *command, struct copy_login *made)
{
	if (secret_ref_exec_parse(command)) {
		err_note_clear();
		return RAISE(ERR_INPUT_USAGE,
			     "--%s-token-command wants a full path and arguments, as in "
			     "\"/usr/bin/token --for mail\"; there is no shell",
			     side);
	}
	confinement_allow(command);
	return plan_token(SECRET_REF_EXEC, command, made);
}

enum err copy_login_plan(const char *side, const struct copy_login_options *options,
			 const struct login *of_file, const struct secret_ref *credential,
			 struct copy_login *made)
{
	unsigned ways = (options->password_file != NULL) + (options->token_file != NULL) +
			(options->token_command != NULL) + (of_file != NULL);

	*made = (struct copy_login){ 0 };
	if (ways > 1)
		return RAISE(ERR_INPUT_USAGE,
			     "the %s can log in in one way: --%s-password-file, "
			     "--%s-token-file, --%s-token-command or the %s of --oauth2",
			     side, side, side, side, side);
	if (options->token_file)
		return plan_token(SECRET_REF_FILE, options->token_file, made);
	if (options->token_command)
		return plan_command(side, options->token_command, made);
	made->login = of_file;
	if (of_file)
		made->credential = *credential;
	return OK;
}

enum err copy_login_check(const char *side, const char *url,
			  const struct copy_login_options *options,
			  const struct copy_login *planned)
{
	if (options->password_file || planned->login)
		return OK;
	return RAISE(ERR_INPUT_USAGE,
		     "--%s-password-file FILE is missing: the password of %s (or a token: see "
		     "--%s-token-file and --oauth2)",
		     side, url, side);
}

enum err copy_login_open(const struct copy_login_options *options, struct copy_login *made)
{
	return options->password_file ? secret_from_file(options->password_file, &made->password)
				      : OK;
}

void copy_login_use(struct copy_login *made, struct account *account)
{
	account->password = made->password;
	if (made->login)
		login_use(made->login, &made->credential, &made->source, account);
}

void copy_login_close(struct copy_login *made)
{
	secret_close(&made->password);
}
