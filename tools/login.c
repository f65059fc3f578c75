#include "tools/login.h"

#include <stdio.h>
#include <string.h>

#include "engine/clock.h"
#include "tools/secret_ref_store.h"
#include "transport/http.h"

/* A command that asks a vault, or a file on a network. */
#define SECRET_TIMEOUT (30 * NSEC_SECOND)

const char *login_credential_key(enum oauth2_grant grant)
{
	switch (grant) {
	case OAUTH2_TOKEN:
		return "token";
	case OAUTH2_CLIENT_SECRET:
		return "client_secret";
	case OAUTH2_CERTIFICATE:
		return "certificate";
	case OAUTH2_SERVICE_ACCOUNT:
		return "service_account";
	case OAUTH2_REFRESH_TOKEN:
		return "refresh_token";
	}
	must(false); /* a grant that is not in the enum */
}

static enum err check_url(const char *text)
{
	struct http_url url;

	return *text ? http_url_parse("token_url", text, &url) : OK;
}

enum err login_complete(struct login *login)
{
	const char *credential = login_credential_key(login->grant);
	bool asks = login->grant != OAUTH2_TOKEN;
	bool is_client = asks && login->grant != OAUTH2_SERVICE_ACCOUNT;

	if (!asks && (*login->token_url || *login->client_id || *login->scope || *login->ca_file))
		return RAISE(ERR_INPUT_USAGE, "with token nobody is asked for one: leave out "
					      "token_url, client_id, scope and ca_file");
	if (is_client && !*login->token_url)
		return RAISE(ERR_INPUT_USAGE, "with %s a token_url is needed", credential);
	if (is_client && !*login->client_id)
		return RAISE(ERR_INPUT_USAGE, "with %s a client_id is needed", credential);
	if (login->grant == OAUTH2_SERVICE_ACCOUNT && *login->client_id)
		return RAISE(ERR_INPUT_USAGE, "with service_account leave out client_id: the key "
					      "file says who it is");
	if (login->grant == OAUTH2_SERVICE_ACCOUNT && !*login->scope)
		login->scope = "https://mail.google.com/";
	if ((login->grant == OAUTH2_CLIENT_SECRET || login->grant == OAUTH2_CERTIFICATE) &&
	    !*login->scope)
		login->scope = "https://outlook.office365.com/.default";
	return check_url(login->token_url);
}

/* ---- for one mailbox ---- */

static enum err read_credential(const struct oauth2_source *source, enum oauth2_credential which,
				nsec until, struct secret **out)
{
	const struct login_source *login = source->context;
	struct secret_ref ref =
		which == OAUTH2_CREDENTIAL ? login->credential : login->client_secret;

	ref.whole = which == OAUTH2_CREDENTIAL && (source->grant == OAUTH2_CERTIFICATE ||
						   source->grant == OAUTH2_SERVICE_ACCOUNT);
	return secret_ref_resolve(&ref, min_nsec(until, clock_after(SECRET_TIMEOUT)), out);
}

/* The endpoint's answer is all there is of it: what cannot be kept now is lost when the run ends.
 */
static enum err keep_credential(const struct oauth2_source *source, struct text was,
				struct text now)
{
	const struct login_source *login = source->context;
	char why[ERR_NOTE_BYTES_MAX] = "only a file can be written";
	enum err e;

	if (login->credential.kind == SECRET_REF_FILE) {
		e = secret_ref_store(&login->credential, was, now, clock_after(SECRET_TIMEOUT));
		if (!e)
			return OK;
		snprintf(why, sizeof why, "%s", err_note()->text);
		err_note_clear();
	}
	return RAISE(
		ERR_INPUT_SECRET,
		"the endpoint replaced the refresh token of %.80s, and the new one is good for "
		"this run only: %.200s",
		login->name, why);
}

/* Of a command the program, never its arguments. */
static void write_name(struct login_source *login)
{
	const struct secret_ref *ref = &login->credential;
	size_t shown = ref->kind == SECRET_REF_EXEC ? strcspn(ref->text, " ") : strlen(ref->text);

	snprintf(login->name, sizeof login->name, "%s%.*s", secret_ref_prefix(ref->kind),
		 (int)min_u64(shown, 150), ref->text);
}

static const char *or_null(const char *text)
{
	return *text ? text : NULL;
}

void login_use(const struct login *login, const struct secret_ref *credential,
	       struct login_source *made, struct account *account)
{
	made->credential = *credential;
	made->client_secret = login->client_secret;
	write_name(made);
	made->source = (struct oauth2_source){
		.grant = login->grant,
		.token_url = or_null(login->token_url),
		.client_id = or_null(login->client_id),
		.scope = or_null(login->scope),
		.subject = login->grant == OAUTH2_SERVICE_ACCOUNT ? account->user : NULL,
		.name = made->name,
		.place = credential->text,
		.ca_file = or_null(login->ca_file),
		.io_timeout = account->io_timeout,
		.connect_timeout = account->connect_timeout,
		.route = account->route,
		.met = account->met,
		.met_context = account->met_context,
		.parted = account->parted,
		.parted_context = account->parted_context,
		.has_client_secret = login->client_secret.kind != SECRET_REF_NONE,
		.credential = read_credential,
		.keep = keep_credential,
		.context = made,
	};
	account->oauth2 = &made->source;
	account->password = NULL;
}
