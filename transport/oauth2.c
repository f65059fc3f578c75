/* Tokens, who has them and how they are asked for: see oauth2.h. A request is put together, and its
 * answer read, in guarded memory. */
#include "transport/oauth2.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "crypto/jwt.h"
#include "crypto/secret.h"
#include "engine/clock.h"
#include "engine/fiber.h"
#include "engine/log.h"
#include "transport/http.h"
#include "transport/json.h"

enum {
	FORM_BYTES_MAX = 48 * 1024, /* a credential with every byte escaped, and the rest */
	ANSWER_BYTES_MAX = 48 * 1024,
	DESCRIPTION_BYTES = 512, /* of what an endpoint says, so much is looked at */
	ENTRIES_MAX = 256,	 /* tokens kept; each is a page of locked memory */
	ASKING_MAX = 4,		 /* requests of a thread at once, of some 200 KiB each */
	LIFE_S_DEFAULT = 300,	 /* where the endpoint does not say */
	LIFE_S_MAX = 24 * 3600,
	ASSERTION_LIFE_S = 600, /* Microsoft's advice is five to ten minutes */
	GOOGLE_LIFE_S = 3600,	/* the longest that Google takes */
	CLAIMS_BYTES_MAX = 4096,
};
#define AHEAD_MAX	  (300 * NSEC_SECOND) /* so long before it expires a token is renewed */
#define TOKEN_READ_AGAIN  (300 * NSEC_SECOND)
#define REQUEST_TIME_MAX  (60 * NSEC_SECOND)
#define REFUSED_FOR	  (60 * NSEC_SECOND)
#define FAILED_FOR	  (5 * NSEC_SECOND)
#define OLD_ONE_FOR	  (30 * NSEC_SECOND)
#define GOODBYE_TIME	  NSEC_SECOND
#define RETRY_AFTER_S_MAX 3600

/* ---- tokens ---- */

struct oauth2_token {
	unsigned refs;
	bool used;
	struct secret *secret;
};

struct text oauth2_token_text(const struct oauth2_token *token)
{
	return secret_text(token->secret);
}

void oauth2_token_put(struct oauth2_token **taken)
{
	struct oauth2_token *token = *taken;

	*taken = NULL;
	if (!token || --token->refs > 0)
		return;
	secret_close(&token->secret);
	free(token);
}

bool oauth2_token_was_used(struct oauth2_token *token)
{
	bool used = token->used;

	token->used = true;
	return used;
}

bool oauth2_token_is_sound(struct text text)
{
	for (size_t i = 0; i < text.bytes; i++)
		if (text.at[i] <= ' ' || text.at[i] >= 0x7f)
			return false;
	return text.bytes > 0;
}

static enum err token_new(struct text text, struct oauth2_token **out)
{
	struct oauth2_token *token = calloc(1, sizeof *token);
	enum err e;

	if (!token)
		return RAISE(ERR_MEMORY_EXHAUSTED, "keeping an access token");
	token->refs = 1;
	if ((e = secret_from_bytes(text.at, text.bytes, &token->secret)))
		free(token);
	else
		*out = token;
	return e;
}

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
	struct form form;
	struct secret *credential; /* as the source gives it */
	struct text sent;	   /* it, or a newer refresh token */
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

/* In guarded memory. */
struct answer_room {
	struct oauth2_answer answer;
	char body[ANSWER_BYTES_MAX];
};

static enum err read_body(struct http *http, const char *shown, struct answer_room *room,
			  struct text *body)
{
	size_t used = 0, got;
	enum err e;

	while (used < sizeof room->body &&
	       (e = http_read(http, room->body + used, sizeof room->body - used, &got)) == OK)
		used += got;
	*body = (struct text){ room->body, used };
	if (used == sizeof room->body)
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
	    !http_parse_field(head->fields, "retry-after", &value) || value.bytes > 6)
		return;
	for (size_t i = 0; i < value.bytes; i++) {
		if (value.at[i] < '0' || value.at[i] > '9')
			return;
		seconds = seconds * 10 + (uint64_t)(value.at[i] - '0');
	}
	err_retry_after((nsec)min_u64(seconds, RETRY_AFTER_S_MAX) * NSEC_SECOND, ERR_OF_MAILBOX);
}

static enum err post(struct asking *asking, struct http *http, const char *target,
		     const char *shown, struct answer_room *room)
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
	    (e = read_body(http, shown, room, &body)))
		return e;
	note_patience(&head);
	return oauth2_answer_read(shown, head.status, body, asking->sent, &room->answer);
}

static enum err ask_endpoint(struct asking *asking, struct answer_room *room)
{
	struct account endpoint = { .scheme = "https",
				    .ca_file = asking->source->ca_file,
				    .io_timeout = asking->source->io_timeout,
				    .connect_timeout = asking->source->connect_timeout,
				    .route = asking->source->route,
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
	    (e = post(asking, http, url->target, shown, room)))
		goto out;
	if (http_finish(http, clock_after(GOODBYE_TIME)))
		err_note_clear();
out:
	http_close(&http);
	free(url);
	return e;
}

static enum err ask_with(struct asking *asking, struct answer_room *answer)
{
	void *room = secret_room_open(FORM_BYTES_MAX);
	enum err e;

	if (!room)
		return RAISE(ERR_MEMORY_EXHAUSTED, "asking for a token");
	asking->form = (struct form){ .at = room };
	if ((e = fill_form(asking)) == OK)
		e = ask_endpoint(asking, answer);
	secret_room_close(&room);
	return e;
}

/* ---- what a thread keeps ---- */

struct entry {
	struct entry *next;
	char *key;
	struct oauth2_token *token; /* NULL: none */
	nsec refresh_at, expires_at, used_at;
	struct secret *refresh_token; /* of the last answer that had one, if it was not kept */
	unsigned users;		      /* fibers between whose waits it must stay */
	bool busy;		      /* one of them is asking */
	struct wait_queue changed;
	enum err failed; /* the last one's, until then */
	nsec failed_until;
	char why[ERR_NOTE_BYTES_MAX];
};
static _Thread_local struct entry *entries;

static void entry_free(struct entry **at)
{
	struct entry *entry = *at;

	*at = entry->next;
	must(entry->users == 0);
	oauth2_token_put(&entry->token);
	secret_close(&entry->refresh_token);
	free(entry->key);
	free(entry);
}

/* Too many: the one that nobody has asked for longest goes. */
static void make_room(void)
{
	struct entry **oldest = NULL;
	unsigned count = 0;

	for (struct entry **at = &entries; *at; at = &(*at)->next, count++)
		if ((*at)->users == 0 && (!oldest || (*at)->used_at < (*oldest)->used_at))
			oldest = at;
	if (count >= ENTRIES_MAX && oldest)
		entry_free(oldest);
}

static void write_key(const struct oauth2_source *source, struct buffer *key)
{
	const char *const texts[] = { source->token_url, source->client_id, source->scope,
				      source->subject,	 source->name,	    source->place,
				      source->ca_file };

	buffer_addf(key, "%d", (int)source->grant);
	for (size_t i = 0; i < ARRAY_COUNT(texts); i++)
		buffer_addf(key, "\n%s", texts[i] ? texts[i] : "");
}

/* The entry for such a source; with `add` it is made. NULL: there is none, or no memory. */
static struct entry *entry_of(const struct oauth2_source *source, bool add)
{
	struct buffer key = { 0 };
	struct entry *entry = NULL;

	write_key(source, &key);
	if (key.failed)
		goto out;
	for (entry = entries; entry; entry = entry->next)
		if (strcmp(entry->key, key.at) == 0)
			goto out;
	if (!add || !(entry = calloc(1, sizeof *entry)))
		goto out;
	make_room();
	entry->key = key.at;
	key = (struct buffer){ 0 };
	entry->next = entries;
	entries = entry;
out:
	buffer_free(&key);
	return entry;
}

static void entry_set(struct entry *entry, struct oauth2_token *token, nsec life)
{
	nsec ahead = min_nsec(AHEAD_MAX, life / 10);

	oauth2_token_put(&entry->token);
	entry->token = token;
	entry->expires_at = clock_after(life);
	entry->refresh_at = entry->expires_at - ahead;
	entry->failed = OK;
}

/* ---- getting one ---- */

static enum err take_given(struct entry *entry, const struct oauth2_source *source,
			   const struct secret *given)
{
	struct oauth2_token *token = NULL;
	enum err e;

	if (!oauth2_token_is_sound(secret_text(given)))
		return RAISE(ERR_INPUT_SECRET,
			     "%s is no access token: it holds a space or what is not ASCII",
			     source->name);
	/* The one we have, read again, stays the one that was used. */
	if (entry->token && text_equal(oauth2_token_text(entry->token), secret_text(given))) {
		entry->token->refs++;
		token = entry->token;
	} else if ((e = token_new(secret_text(given), &token))) {
		return e;
	}
	entry_set(entry, token, TOKEN_READ_AGAIN);
	return OK;
}

/* The next one reads it where it was kept, as do other threads and programs. What cannot be kept is
 * good as long as this thread lives, and said. */
static enum err keep_refresh_token(struct entry *entry, const struct asking *asking,
				   struct text fresh)
{
	const struct oauth2_source *source = asking->source;
	enum err e = OK;

	if (!fresh.bytes || text_equal(fresh, asking->sent))
		return OK;
	fiber_shield();
	if (source->keep)
		e = source->keep(source, secret_text(asking->credential), fresh);
	fiber_unshield();
	if (e)
		log_error(LOG_WARN, "oauth2.rotated", e);
	err_note_clear();
	secret_close(&entry->refresh_token);
	return !e && source->keep ? OK
				  : secret_from_bytes(fresh.at, fresh.bytes, &entry->refresh_token);
}

static enum err keep_answer(struct entry *entry, const struct asking *asking,
			    const struct oauth2_answer *answer)
{
	struct oauth2_token *token = NULL;
	enum err e = token_new(text_of(answer->access_token), &token);

	if (e)
		return e;
	entry_set(entry, token, (nsec)answer->expires_in_s * NSEC_SECOND);
	return asking->source->grant == OAUTH2_REFRESH_TOKEN
		       ? keep_refresh_token(entry, asking, text_of(answer->refresh_token))
		       : OK;
}

/* Whoever reads "invalid_grant" has to know what to do about it. */
static enum err explain_refusal(const struct oauth2_source *source)
{
	char said[ERR_NOTE_BYTES_MAX];

	snprintf(said, sizeof said, "%s", err_note()->text);
	if (!strstr(said, "invalid_grant"))
		return ERR_OAUTH2_REFUSED;
	err_note_clear();
	return RAISE(ERR_OAUTH2_REFUSED,
		     "%.150s; the refresh token of %.120s is expired, revoked or replaced: log in "
		     "anew, put the new one there, and let the file be written",
		     said, source->name);
}

/* There is another refresh token than the one that was sent: another thread or program had it
 * replaced, or a person gave a new one. */
static bool was_replaced(const struct asking *asking, enum err e)
{
	const struct oauth2_source *source = asking->source;
	struct secret *now = NULL;
	bool is_other;

	if (e != ERR_OAUTH2_REFUSED || source->grant != OAUTH2_REFRESH_TOKEN ||
	    source->credential(source, OAUTH2_CREDENTIAL, asking->until, &now))
		return false;
	is_other = !text_equal(secret_text(now), asking->sent);
	secret_close(&now);
	return is_other;
}

static enum err ask_once(struct entry *entry, struct asking *asking)
{
	const struct oauth2_source *source = asking->source;
	void *room = NULL;
	enum err e;

	secret_close(&asking->credential);
	if ((e = source->credential(source, OAUTH2_CREDENTIAL, asking->until, &asking->credential)))
		return e;
	if (source->grant == OAUTH2_TOKEN)
		return take_given(entry, source, asking->credential);
	if (!(room = secret_room_open(sizeof(struct answer_room))))
		return RAISE(ERR_MEMORY_EXHAUSTED, "asking for a token");
	if (source->token_url)
		snprintf(asking->url, sizeof asking->url, "%s", source->token_url);
	asking->sent =
		secret_text(entry->refresh_token ? entry->refresh_token : asking->credential);
	if ((e = ask_with(asking, room)) == OK)
		e = keep_answer(entry, asking, &((struct answer_room *)room)->answer);
	secret_room_close(&room);
	return e;
}

static enum err ask(struct entry *entry, const struct oauth2_source *source, nsec until)
{
	struct asking asking = { .source = source, .until = until };
	enum err e = ask_once(entry, &asking);

	if (was_replaced(&asking, e)) {
		err_note_clear();
		secret_close(&entry->refresh_token);
		e = ask_once(entry, &asking);
	}
	if (e == ERR_OAUTH2_REFUSED && source->grant == OAUTH2_REFRESH_TOKEN)
		e = explain_refusal(source);
	secret_close(&asking.credential);
	return e;
}

static bool may_pass(enum err e)
{
	return err_retry_class(e) == RETRY_BACKOFF || err_retry_class(e) == RETRY_RECONNECT;
}

/* Of a failure: the old token, if it is still good, or the same words for whoever asks next. */
static enum err take_failure(struct entry *entry, enum err e)
{
	if (e == ERR_FIBER_CANCELED)
		return e;
	if (entry->token && may_pass(e) && clock_after(OLD_ONE_FOR) < entry->expires_at) {
		entry->refresh_at = clock_after(OLD_ONE_FOR);
		err_note_clear();
		return OK;
	}
	entry->failed = e;
	entry->failed_until = clock_after(may_pass(e) ? FAILED_FOR : REFUSED_FOR);
	snprintf(entry->why, sizeof entry->why, "%s", err_note()->text);
	return e;
}

/* Where each mailbox has a token of its own, a run begins with many at once. */
static _Thread_local unsigned asking_count;
static _Thread_local struct wait_queue asking_fewer;

static enum err ask_in_turn(struct entry *entry, const struct oauth2_source *source, nsec until)
{
	enum err e = OK;

	while (asking_count == ASKING_MAX && !e)
		e = wait_on(&asking_fewer, until);
	if (e)
		return e == ERR_FIBER_TIMEOUT
			       ? RAISE(ERR_NET_TIMEOUT, "waiting for other access tokens")
			       : e;
	asking_count++;
	e = ask(entry, source, min_nsec(until, clock_after(REQUEST_TIME_MAX)));
	asking_count--;
	wake_all(&asking_fewer);
	return e;
}

static enum err refresh(struct entry *entry, const struct oauth2_source *source, nsec until)
{
	enum err e;

	entry->busy = true;
	e = ask_in_turn(entry, source, until);
	entry->busy = false;
	wake_all(&entry->changed);
	return e ? take_failure(entry, e) : OK;
}

static enum err wait_for_other(struct entry *entry, nsec until)
{
	enum err e = wait_on(&entry->changed, until);

	return e == ERR_FIBER_TIMEOUT
		       ? RAISE(ERR_NET_TIMEOUT, "waiting for an access token that is asked for")
		       : e;
}

static enum err get(struct entry *entry, const struct oauth2_source *source, nsec until)
{
	enum err e;

	while (entry->busy)
		if ((e = wait_for_other(entry, until)))
			return e;
	if (entry->token && clock_now() < entry->refresh_at)
		return OK;
	if (entry->failed && clock_now() < entry->failed_until)
		return RAISE(entry->failed, "%s", entry->why);
	return refresh(entry, source, until);
}

enum err oauth2_token_get(const struct oauth2_source *source, nsec until, struct oauth2_token **out)
{
	struct entry *entry = entry_of(source, true);
	enum err e;

	must(source->name && source->credential);
	if (!entry)
		return RAISE(ERR_MEMORY_EXHAUSTED, "keeping access tokens");
	entry->users++;
	entry->used_at = clock_now();
	if ((e = get(entry, source, until)) == OK) {
		entry->token->refs++;
		*out = entry->token;
	}
	entry->users--;
	return e;
}

void oauth2_token_drop(const struct oauth2_source *source, const struct oauth2_token *token)
{
	struct entry *entry = entry_of(source, false);

	if (entry && entry->token == token)
		entry->refresh_at = entry->expires_at = 0;
}

void oauth2_thread_cleanup(void)
{
	while (entries)
		entry_free(&entries);
}
