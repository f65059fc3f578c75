/* See oauth2_ask.h. A request is put together, and its answer read, in guarded memory. */
#include "transport/oauth2_ask.h"

#include <stdio.h>
#include <stdlib.h>

#include "crypto/jwt.h"
#include "crypto/secret.h"
#include "engine/clock.h"
#include "transport/http.h"
#include "transport/json.h"

enum {
	FORM_BYTES_MAX = 48 * 1024, /* a credential with every byte escaped, and the rest */
	ANSWER_BYTES_MAX = 48 * 1024,
	DESCRIPTION_BYTES = 512, /* of what an endpoint says, so much is looked at */
	LIFE_S_DEFAULT = 300,	 /* where the endpoint does not say */
	LIFE_S_MAX = 24 * 3600,
	ASSERTION_LIFE_S = 600, /* Microsoft's advice is five to ten minutes */
	GOOGLE_LIFE_S = 3600,	/* the longest that Google takes */
	CLAIMS_BYTES_MAX = 4096,
};
#define GOODBYE_TIME	  NSEC_SECOND
#define RETRY_AFTER_S_MAX 3600

/* ---- the form of a request, in guarded memory ---- */

struct form {
	char *at;
	size_t bytes;
	bool failed;
};

static void form_put(struct form *form, char c)
{
	if (form->bytes == FORM_BYTES_MAX)
		form->failed = true;
	else
		form->at[form->bytes++] = c;
}

/* application/x-www-form-urlencoded; RFC 3986 section 2.3 says what needs no escape. */
static void form_put_escaped(struct form *form, struct text value)
{
	static const char hex[] = "0123456789ABCDEF";

	for (size_t i = 0; i < value.bytes; i++) {
		char c = value.at[i];

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		    (c && strchr("-._~", c))) {
			form_put(form, c);
			continue;
		}
		form_put(form, '%');
		form_put(form, hex[(unsigned char)c >> 4]);
		form_put(form, hex[(unsigned char)c & 15]);
	}
}

static void form_add(struct form *form, const char *name, struct text value)
{
	if (form->bytes > 0)
		form_put(form, '&');
	form_put_escaped(form, text_of(name));
	form_put(form, '=');
	form_put_escaped(form, value);
}

static void form_add_text(struct form *form, const char *name, const char *value)
{
	if (value && *value)
		form_add(form, name, text_of(value));
}

/* ---- assertions ---- */

static void wipe(struct buffer *buffer)
{
	if (buffer->at)
		secret_wipe(buffer->at, buffer->room);
	buffer_free(buffer);
}

/* The object without the line end that json_end() gives it. */
static struct text object(const struct buffer *json)
{
	must(json->failed || (json->bytes > 0 && json->at[json->bytes - 1] == '\n'));
	return (struct text){ json->at, json->failed ? 0 : json->bytes - 1 };
}

static enum err sign_into(struct form *form, const char *name, const struct jwt_key *key,
			  enum jwt_algorithm algorithm, const struct buffer *header,
			  const struct buffer *claims)
{
	struct buffer assertion = { 0 };
	enum err e;

	if (header->failed || claims->failed)
		return RAISE(ERR_INPUT_USAGE,
			     "client, scope and URL are too long for an assertion");
	e = jwt_sign(key, algorithm, object(header), object(claims), &assertion);
	if (e == OK)
		form_add(form, name, (struct text){ assertion.at, assertion.bytes });
	wipe(&assertion);
	return e;
}

/* learn.microsoft.com, "Microsoft identity platform application authentication certificate
 * credentials": PS256 and the certificate's thumbprints. */
static enum err assert_client(const struct oauth2_source *source, const struct jwt_key *key,
			      struct form *form)
{
	struct buffer header = { .bytes_max = CLAIMS_BYTES_MAX };
	struct buffer claims = { .bytes_max = CLAIMS_BYTES_MAX };
	uint64_t now = (uint64_t)(clock_wall() / NSEC_SECOND);
	char x5t[JWT_X5T_BYTES], x5t_s256[JWT_X5T_S256_BYTES];
	uint8_t random[16];
	enum err e;

	json_begin(&header);
	json_add_text(&header, "alg", text_of(jwt_key_is_rsa(key) ? "PS256" : "ES256"));
	json_add_text(&header, "typ", text_of("JWT"));
	if (jwt_key_thumbprints(key, x5t, x5t_s256)) {
		json_add_text(&header, "x5t", text_of(x5t));
		json_add_text(&header, "x5t#S256", text_of(x5t_s256));
	}
	json_end(&header);
	clock_random(random, sizeof random);
	json_begin(&claims);
	json_add_text(&claims, "aud", text_of(source->token_url));
	json_add_text(&claims, "iss", text_of(source->client_id));
	json_add_text(&claims, "sub", text_of(source->client_id));
	json_add_hex(&claims, "jti", random, sizeof random);
	json_add_number(&claims, "nbf", now - 60); /* clocks differ */
	json_add_number(&claims, "iat", now);
	json_add_number(&claims, "exp", now + ASSERTION_LIFE_S);
	json_end(&claims);
	e = sign_into(form, "client_assertion", key, jwt_key_is_rsa(key) ? JWT_PS256 : JWT_ES256,
		      &header, &claims);
	buffer_free(&header);
	buffer_free(&claims);
	return e;
}

/* The key file of a service account, as Google's console gives it. */
struct service_account {
	char client_email[256], private_key_id[128], token_uri[512], private_key[8192];
};
static const struct json_field service_account_fields[] = {
	JSON_FIELD("client_email", JSON_TEXT, struct service_account, client_email),
	JSON_FIELD("private_key", JSON_TEXT, struct service_account, private_key),
	JSON_FIELD_OPTIONAL("private_key_id", JSON_TEXT, struct service_account, private_key_id),
	JSON_FIELD_OPTIONAL("token_uri", JSON_TEXT, struct service_account, token_uri),
};

/* developers.google.com, "Using OAuth 2.0 for Server to Server Applications": RS256; `sub` is whom
 * it acts for, by domain-wide delegation. */
static enum err assert_subject(const struct oauth2_source *source,
			       const struct service_account *account, const char *url,
			       const struct jwt_key *key, struct form *form)
{
	struct buffer header = { .bytes_max = CLAIMS_BYTES_MAX };
	struct buffer claims = { .bytes_max = CLAIMS_BYTES_MAX };
	uint64_t now = (uint64_t)(clock_wall() / NSEC_SECOND);
	enum err e;

	json_begin(&header);
	json_add_text(&header, "alg", text_of("RS256"));
	json_add_text(&header, "typ", text_of("JWT"));
	if (*account->private_key_id)
		json_add_text(&header, "kid", text_of(account->private_key_id));
	json_end(&header);
	json_begin(&claims);
	json_add_text(&claims, "iss", text_of(account->client_email));
	json_add_text(&claims, "sub", text_of(source->subject));
	json_add_text(&claims, "scope", text_of(source->scope));
	json_add_text(&claims, "aud", text_of(url));
	json_add_number(&claims, "iat", now);
	json_add_number(&claims, "exp", now + GOOGLE_LIFE_S);
	json_end(&claims);
	e = sign_into(form, "assertion", key, JWT_RS256, &header, &claims);
	buffer_free(&header);
	buffer_free(&claims);
	return e;
}

/* ---- one request ---- */

struct asking {
	const struct oauth2_source *source;
	nsec until;
	char url[512];
	struct text sent; /* the credential */
	struct form form;
	char *body; /* of the answer: room for ANSWER_BYTES_MAX */
};

static enum err fill_certificate(struct asking *asking)
{
	struct jwt_key *key = NULL;
	enum err e = jwt_key_open(asking->sent, asking->source->name, &key);

	if (e)
		return e;
	form_add_text(&asking->form, "grant_type", "client_credentials");
	form_add_text(&asking->form, "client_id", asking->source->client_id);
	form_add_text(&asking->form, "scope", asking->source->scope);
	form_add_text(&asking->form, "client_assertion_type",
		      "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
	e = assert_client(asking->source, key, &asking->form);
	jwt_key_close(&key);
	return e;
}

static enum err fill_for_account(struct asking *asking, const struct service_account *account)
{
	const struct oauth2_source *source = asking->source;
	const char *url = source->token_url ? source->token_url : account->token_uri;
	struct jwt_key *key = NULL;
	enum err e;

	if (!*url)
		return RAISE(ERR_INPUT_SECRET, "%s names no token_uri; give a token URL",
			     source->name);
	snprintf(asking->url, sizeof asking->url, "%s", url);
	if ((e = jwt_key_open(text_of(account->private_key), source->name, &key)))
		return e;
	form_add_text(&asking->form, "grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer");
	e = assert_subject(source, account, url, key, &asking->form);
	jwt_key_close(&key);
	return e;
}

static enum err fill_service_account(struct asking *asking)
{
	struct service_account *account;
	void *room = secret_room_open(sizeof *account);
	enum err e;

	if (!room)
		return RAISE(ERR_MEMORY_EXHAUSTED, "reading a service account");
	account = room;
	*account = (struct service_account){ 0 };
	if (json_read(asking->sent, service_account_fields, ARRAY_COUNT(service_account_fields),
		      account))
		e = fill_for_account(asking, account);
	else
		e = RAISE(ERR_INPUT_SECRET,
			  "%s is not the key file of a service account: JSON with client_email and "
			  "private_key",
			  asking->source->name);
	secret_room_close(&room);
	return e;
}

static enum err fill_refresh_token(struct asking *asking)
{
	const struct oauth2_source *source = asking->source;
	struct secret *secret = NULL;
	enum err e;

	form_add_text(&asking->form, "grant_type", "refresh_token");
	form_add_text(&asking->form, "client_id", source->client_id);
	form_add_text(&asking->form, "scope", source->scope);
	form_add(&asking->form, "refresh_token", asking->sent);
	if (!source->has_client_secret)
		return OK;
	if ((e = source->credential(source, OAUTH2_CLIENT_SECRET_BESIDE, asking->until, &secret)))
		return e;
	form_add(&asking->form, "client_secret", secret_text(secret));
	secret_close(&secret);
	return OK;
}

static enum err fill_form(struct asking *asking)
{
	const struct oauth2_source *source = asking->source;
	enum err e = OK;

	switch (source->grant) {
	case OAUTH2_TOKEN:
		must(false); /* nobody is asked */
	case OAUTH2_CLIENT_SECRET:
		form_add_text(&asking->form, "grant_type", "client_credentials");
		form_add_text(&asking->form, "client_id", source->client_id);
		form_add_text(&asking->form, "scope", source->scope);
		form_add(&asking->form, "client_secret", asking->sent);
		break;
	case OAUTH2_CERTIFICATE:
		e = fill_certificate(asking);
		break;
	case OAUTH2_SERVICE_ACCOUNT:
		e = fill_service_account(asking);
		break;
	case OAUTH2_REFRESH_TOKEN:
		e = fill_refresh_token(asking);
		break;
	}
	if (e == OK && asking->form.failed)
		e = RAISE(ERR_INPUT_SECRET, "%s is too long for a token request", source->name);
	return e;
}

/* ---- the answer ---- */

struct error_answer {
	char error[100], description[DESCRIPTION_BYTES * 4];
};
static const struct json_field token_fields[] = {
	JSON_FIELD("access_token", JSON_TEXT, struct oauth2_answer, access_token),
	JSON_FIELD_OPTIONAL("refresh_token", JSON_TEXT, struct oauth2_answer, refresh_token),
	JSON_FIELD_OPTIONAL("expires_in", JSON_NUMBER, struct oauth2_answer, expires_in_s),
};
static const struct json_field error_fields[] = {
	JSON_FIELD("error", JSON_TEXT, struct error_answer, error),
	JSON_FIELD_OPTIONAL("error_description", JSON_TEXT, struct error_answer, description),
};

static bool is_for_now(unsigned status, const char *error)
{
	return status == 408 || status == 429 || status >= 500 ||
	       strcmp(error, "temporarily_unavailable") == 0 || strcmp(error, "slow_down") == 0 ||
	       strcmp(error, "server_error") == 0;
}

/* RFC 6749 section 5.2. What it says is for people, but never what we sent it. */
static enum err refused(const char *shown, unsigned status, struct text body, struct text hidden)
{
	struct error_answer said;
	char error[120], description[240];
	enum err e;

	if (status >= 300 && status < 400)
		return RAISE(ERR_OAUTH2_REFUSED,
			     "%s answers %u, that another address should be asked, which is not "
			     "followed; correct the token URL",
			     shown, status);
	said.description[0] = '\0';
	if (!json_read(body, error_fields, ARRAY_COUNT(error_fields), &said)) {
		e = is_for_now(status, "") ? ERR_OAUTH2_UNAVAILABLE : ERR_OAUTH2_REFUSED;
		return RAISE(e, "%s answers with status %u and no reason that can be read", shown,
			     status);
	}
	if (hidden.bytes && memmem(body.at, body.bytes, hidden.at, hidden.bytes)) {
		snprintf(said.error, sizeof said.error, "(a text that repeats the credential)");
		said.description[0] = '\0';
	}
	e = is_for_now(status, said.error) ? ERR_OAUTH2_UNAVAILABLE : ERR_OAUTH2_REFUSED;
	err_quote(error, sizeof error, text_of(said.error));
	err_quote(description, sizeof description, text_of(said.description));
	return RAISE(e, "%s refuses a token (status %u): %s%s%s%s", shown, status, error,
		     *description ? ": \"" : "", description, *description ? "\"" : "");
}

/* Some endpoints write the number as a text. */
static bool read_tokens(struct text body, struct oauth2_answer *out)
{
	struct json_field fields[ARRAY_COUNT(token_fields)];
	struct {
		struct oauth2_answer answer;
		char life[24];
	} * both;
	void *room;
	bool is_read;
	char *end;

	if (json_read(body, token_fields, ARRAY_COUNT(token_fields), out))
		return true;
	if (!(room = secret_room_open(sizeof *both)))
		return false;
	both = room;
	*both = (typeof(*both)){ 0 };
	for (size_t i = 0; i < ARRAY_COUNT(fields); i++)
		fields[i] = token_fields[i];
	fields[2].kind = JSON_TEXT;
	fields[2].offset = offsetof(typeof(*both), life);
	fields[2].room = sizeof both->life;
	is_read = json_read(body, fields, ARRAY_COUNT(fields), both);
	*out = both->answer;
	out->expires_in_s = strtoull(both->life, &end, 10);
	is_read = is_read && both->life[0] >= '0' && both->life[0] <= '9' && !*end;
	secret_room_close(&room);
	return is_read;
}

enum err oauth2_answer_read(const char *shown, unsigned status, struct text body,
			    struct text hidden, struct oauth2_answer *out)
{
	*out = (struct oauth2_answer){ .expires_in_s = LIFE_S_DEFAULT };
	if (status != 200)
		return refused(shown, status, body, hidden);
	if (!read_tokens(body, out) || !oauth2_token_is_sound(text_of(out->access_token)))
		return RAISE(ERR_HTTP_SYNTAX,
			     "%s answers with status 200, but with no access token in JSON", shown);
	out->expires_in_s = min_u64(out->expires_in_s, LIFE_S_MAX);
	return OK;
}

/* ---- the conversation with the endpoint ---- */

static enum err read_body(struct http *http, const char *shown, char *room, struct text *body)
{
	size_t used = 0, got;
	enum err e;

	while (used < ANSWER_BYTES_MAX &&
	       (e = http_read(http, room + used, ANSWER_BYTES_MAX - used, &got)) == OK)
		used += got;
	*body = (struct text){ room, used };
	if (used == ANSWER_BYTES_MAX)
		return RAISE(ERR_HTTP_SYNTAX, "%s answers with %d bytes or more", shown,
			     ANSWER_BYTES_MAX);
	return e == ERR_STREAM_ENDED ? OK : e;
}

/* Retry-After in seconds (RFC 9110 section 10.2.3); a date is passed over. */
static void note_patience(const struct http_head *head)
{
	struct text value;
	uint64_t seconds = 0;

	if ((head->status != 429 && head->status != 503) ||
	    !http_parse_field(head->fields, "retry-after", &value) ||
	    !http_parse_number(value, 999999, &seconds))
		return;
	err_retry_after((nsec)min_u64(seconds, RETRY_AFTER_S_MAX) * NSEC_SECOND, ERR_OF_MAILBOX);
}

static enum err post(struct asking *asking, struct http *http, const char *target,
		     const char *shown, struct oauth2_answer *answer)
{
	const struct http_field fields[] = {
		{ "Accept", text_of("application/json") },
		{ "Content-Type", text_of("application/x-www-form-urlencoded") },
	};
	struct http_request request = { .method = "POST",
					.target = target,
					.fields = fields,
					.fields_count = ARRAY_COUNT(fields),
					.body = { asking->form.at, asking->form.bytes },
					.first_byte = asking->source->io_timeout };
	struct http_head head;
	struct text body;
	enum err e;

	if ((e = http_ask(http, &request, asking->until, &head)) ||
	    (e = read_body(http, shown, asking->body, &body)))
		return e;
	note_patience(&head);
	return oauth2_answer_read(shown, head.status, body, asking->sent, answer);
}

static enum err ask_endpoint(struct asking *asking, struct oauth2_answer *answer)
{
	struct account endpoint = { .scheme = "https",
				    .ca_file = asking->source->ca_file,
				    .io_timeout = asking->source->io_timeout,
				    .connect_timeout = asking->source->connect_timeout,
				    .route = asking->source->route,
				    .met = asking->source->met,
				    .met_context = asking->source->met_context,
				    .parted = asking->source->parted,
				    .parted_context = asking->source->parted_context };
	struct http_url *url = calloc(1, sizeof *url);
	struct http *http = NULL;
	char shown[200];
	enum err e;

	if (!url)
		return RAISE(ERR_MEMORY_EXHAUSTED, "asking for a token");
	if ((e = http_url_parse("the token URL", asking->url, url)))
		goto out;
	endpoint.host = url->host;
	endpoint.port = url->port;
	snprintf(shown, sizeof shown, "the token endpoint https://%.100s", url->host);
	if ((e = http_open(&endpoint, asking->until, &http)) ||
	    (e = post(asking, http, url->target, shown, answer)))
		goto out;
	if (http_finish(http, clock_after(GOODBYE_TIME)))
		err_note_clear();
out:
	http_close(&http);
	free(url);
	return e;
}

enum err oauth2_ask(const struct oauth2_source *source, struct text credential, nsec until,
		    struct oauth2_answer *out)
{
	struct asking asking = { .source = source, .until = until, .sent = credential };
	void *room = secret_room_open(FORM_BYTES_MAX + ANSWER_BYTES_MAX);
	enum err e;

	if (!room)
		return RAISE(ERR_MEMORY_EXHAUSTED, "asking for a token");
	asking.form.at = room;
	asking.body = asking.form.at + FORM_BYTES_MAX;
	if (source->token_url)
		snprintf(asking.url, sizeof asking.url, "%s", source->token_url);
	if ((e = fill_form(&asking)) == OK)
		e = ask_endpoint(&asking, out);
	secret_room_close(&room);
	return e;
}
