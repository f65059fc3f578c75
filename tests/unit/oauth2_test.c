/* transport/oauth2.c, oauth2_ask.c: what an endpoint's answer means, and tokens got from an
 * endpoint on loopback: shared, renewed, refused. */
#include "tests/unit/tls_server.h"

#include <jansson.h>

#include "crypto/secret.h"
#include "transport/oauth2_ask.h"

/* ---- answers ---- */

static enum err read_answer(unsigned status, const char *body, struct oauth2_answer *answer)
{
	return oauth2_answer_read("the endpoint", status, text_of(body), text_of("hunter2"),
				  answer);
}

TEST(an_answer_with_a_token_is_read)
{
	struct oauth2_answer *answer = calloc(1, sizeof *answer);

	CHECK_OK(read_answer(200,
			     "{\"token_type\":\"Bearer\",\"expires_in\":3599,\"ext_expires_in\":"
			     "3599,\"access_token\":\"abc.def\",\"more\":[{\"x\":1}]}\n",
			     answer));
	CHECK_TEXT(answer->access_token, "abc.def");
	CHECK_TEXT(answer->refresh_token, "");
	CHECK_EQ(answer->expires_in_s, 3599);
	CHECK_OK(read_answer(200, "{\"access_token\":\"a\",\"refresh_token\":\"r\"}", answer));
	CHECK_TEXT(answer->refresh_token, "r");
	CHECK_EQ(answer->expires_in_s, 300);
	CHECK_OK(read_answer(200, "{\"access_token\":\"a\",\"expires_in\":\"60\"}", answer));
	CHECK_EQ(answer->expires_in_s, 60);
	CHECK_OK(read_answer(200, "{\"access_token\":\"a\",\"expires_in\":99999999999}", answer));
	CHECK_EQ(answer->expires_in_s, 86400);
	free(answer);
}

static void check_answer(unsigned status, const char *body, enum err expected, const char *words)
{
	struct oauth2_answer *answer = calloc(1, sizeof *answer);

	CHECK_ERR(read_answer(status, body, answer), expected);
	if (!strstr(err_note()->text, words))
		test_failed(__FILE__, __LINE__, "\"%s\" does not say \"%s\"", err_note()->text,
			    words);
	CHECK(!strstr(err_note()->text, "hunter2"));
	err_note_clear();
	free(answer);
}

TEST(an_answer_without_a_token_says_why)
{
	check_answer(
		400,
		"{\"error\":\"invalid_client\",\"error_description\":\"AADSTS7000215: "
		"Invalid client secret provided.\\r\\nTrace ID: 1\",\"error_codes\":[7]}",
		ERR_OAUTH2_REFUSED,
		"invalid_client: \"AADSTS7000215: Invalid client secret provided.\\x0d\\x0aTrace");
	check_answer(401, "{\"error\":\"unauthorized_client\"}", ERR_OAUTH2_REFUSED,
		     "(status 401): unauthorized_client");
	check_answer(400, "{\"error\":\"x\",\"error_description\":\"no hunter2 here\"}",
		     ERR_OAUTH2_REFUSED, "repeats the credential");
	check_answer(400, "{\"error\":\"temporarily_unavailable\"}", ERR_OAUTH2_UNAVAILABLE,
		     "temporarily_unavailable");
	check_answer(503, "<html>", ERR_OAUTH2_UNAVAILABLE, "status 503");
	check_answer(429, "", ERR_OAUTH2_UNAVAILABLE, "status 429");
	check_answer(404, "<html>", ERR_OAUTH2_REFUSED, "status 404");
	check_answer(302, "", ERR_OAUTH2_REFUSED, "which is not followed");
	check_answer(200, "", ERR_HTTP_SYNTAX, "no access token");
	check_answer(200, "{\"access_token\":\"\"}", ERR_HTTP_SYNTAX, "no access token");
	check_answer(200, "{\"access_token\":\"a\\u0001user=x\"}", ERR_HTTP_SYNTAX,
		     "no access token");
	check_answer(200, "{\"access_token\":\"a b\"}", ERR_HTTP_SYNTAX, "no access token");
	check_answer(200, "{\"access_token\":\"a\",\"expires_in\":\"soon\"}", ERR_HTTP_SYNTAX,
		     "no access token");
	check_answer(200, "{\"error\":\"invalid_client\"}", ERR_HTTP_SYNTAX, "no access token");
}

/* ---- an endpoint ---- */

enum { ANSWERS_MAX = 8 };
static const char *answers[ANSWERS_MAX]; /* "STATUS BODY", one a connection; NULL: silence */
static char heard[ANSWERS_MAX][16384];
static _Atomic unsigned heard_count;

static bool hear_whole(SSL *ssl, char *to, size_t room)
{
	size_t used = 0;
	char *end, *length;
	int got;

	while ((got = SSL_read(ssl, to + used, (int)(room - 1 - used))) > 0) {
		used += (size_t)got;
		to[used] = '\0';
		end = strstr(to, "\r\n\r\n");
		length = strstr(to, "Content-Length: ");
		if (end && length &&
		    used >= (size_t)(end + 4 - to) + strtoul(length + 16, NULL, 10))
			return true;
	}
	return false;
}

static void answer_one(struct server *server)
{
	const char *answer = answers[heard_count];
	char said[1024];

	if (!hear_whole(server->ssl, heard[heard_count], sizeof heard[0]))
		return;
	heard_count++;
	if (!answer) {
		hear_end(server);
		return;
	}
	snprintf(said, sizeof said,
		 "HTTP/1.1 %.3s X\r\nContent-Length: %zu\r\nRetry-After: 7\r\n\r\n%s", answer,
		 strlen(answer + 4), answer + 4);
	say(server, said);
	hear_end(server);
}

/* As many connections as there are answers, each with TLS of its own. */
static void answer_all(struct server *server)
{
	for (;;) {
		answer_one(server);
		SSL_free(server->ssl);
		server->ssl = NULL;
		close(server->fd);
		if (heard_count == ANSWERS_MAX ||
		    (server->fd = accept(server->listener, NULL, NULL)) < 0)
			return;
		server_tls(server);
		if (!server->ssl)
			return;
	}
}

struct endpoint {
	struct server server;
	struct oauth2_source source;
	char url[80];
	const char *credential, *beside;
	char kept[40]; /* becomes the credential */
	bool refuses_to_keep;
	unsigned reads, keeps;
};

static enum err give_credential(const struct oauth2_source *source, enum oauth2_credential which,
				nsec until, struct secret **out)
{
	struct endpoint *endpoint = (struct endpoint *)(uintptr_t)source->context;
	const char *text = which == OAUTH2_CREDENTIAL ? endpoint->credential : endpoint->beside;

	(void)until;
	endpoint->reads += which == OAUTH2_CREDENTIAL;
	return secret_from_bytes(text, strlen(text), out);
}

static enum err keep_credential(const struct oauth2_source *source, struct text was,
				struct text now)
{
	struct endpoint *endpoint = (struct endpoint *)(uintptr_t)source->context;

	endpoint->keeps++;
	CHECK(text_equal(was, text_of(endpoint->credential)));
	if (endpoint->refuses_to_keep)
		return RAISE(ERR_DISK_READ_ONLY, "keeping it");
	snprintf(endpoint->kept, sizeof endpoint->kept, "%.*s", (int)now.bytes, now.at);
	endpoint->credential = endpoint->kept;
	return OK;
}

static bool endpoint_open(struct endpoint *endpoint, enum oauth2_grant grant, const char *secret)
{
	*endpoint = (struct endpoint){ .server = { .behave = answer_all }, .credential = secret };
	heard_count = 0;
	if (!server_start(&endpoint->server))
		return false;
	snprintf(endpoint->url, sizeof endpoint->url, "https://localhost:%u/t/token",
		 endpoint->server.port);
	endpoint->source = (struct oauth2_source){
		.grant = grant,
		.token_url = endpoint->url,
		.client_id = "app",
		.scope = "https://outlook.office365.com/.default",
		.name = "file:/run/secret",
		.place = "/run/secret",
		.ca_file = endpoint->server.ca_file,
		.io_timeout = 20 * NSEC_SECOND,
		.connect_timeout = 20 * NSEC_SECOND,
		.credential = give_credential,
		.context = endpoint,
	};
	return true;
}

static void endpoint_close(struct endpoint *endpoint)
{
	err_note_clear();
	oauth2_thread_cleanup();
	server_stop(&endpoint->server);
	for (size_t i = 0; i < ANSWERS_MAX; i++)
		answers[i] = NULL;
}

static void check_token(const struct oauth2_source *source, const char *wanted)
{
	struct oauth2_token *token = NULL;

	if (CHECK_OK(oauth2_token_get(source, clock_after(20 * NSEC_SECOND), &token)))
		CHECK(text_equal(oauth2_token_text(token), text_of(wanted)));
	oauth2_token_put(&token);
}

static void check_no_token(const struct oauth2_source *source, enum err expected, const char *words)
{
	struct oauth2_token *token = NULL;

	CHECK_ERR(oauth2_token_get(source, clock_after(20 * NSEC_SECOND), &token), expected);
	CHECK(!token);
	if (!strstr(err_note()->text, words))
		test_failed(__FILE__, __LINE__, "\"%s\" does not say \"%s\"", err_note()->text,
			    words);
	err_note_clear();
}

static const char *body_of(unsigned i)
{
	return strstr(heard[i], "\r\n\r\n") + 4;
}

TEST_FIBER(a_client_secret_gets_a_token_that_is_shared)
{
	struct endpoint endpoint;

	answers[0] = "200 {\"access_token\":\"one\",\"expires_in\":3600}";
	answers[1] = "200 {\"access_token\":\"two\",\"expires_in\":3600}";
	REQUIRE(endpoint_open(&endpoint, OAUTH2_CLIENT_SECRET, "s&=% e+c"));
	check_token(&endpoint.source, "one");
	check_token(&endpoint.source, "one");
	endpoint.source.client_id = "other";
	check_token(&endpoint.source, "two");
	CHECK_EQ(endpoint.reads, 2);
	CHECK_EQ(heard_count, 2);
	CHECK(strstr(heard[0], "POST /t/token HTTP/1.1\r\nHost: localhost:") == heard[0]);
	CHECK(strstr(heard[0], "Content-Type: application/x-www-form-urlencoded\r\n") != NULL);
	CHECK_TEXT(body_of(0), "grant_type=client_credentials&client_id=app&scope=https%3A%2F%2F"
			       "outlook.office365.com%2F.default&client_secret=s%26%3D%25%20e%2Bc");
	endpoint_close(&endpoint);
}

static enum err want_token(void *argument)
{
	check_token(argument, "one");
	return OK;
}

TEST_FIBER(who_asks_while_one_is_asked_for_waits_for_it)
{
	struct endpoint endpoint;
	struct group *group;

	answers[0] = "200 {\"access_token\":\"one\",\"expires_in\":3600}";
	REQUIRE(endpoint_open(&endpoint, OAUTH2_CLIENT_SECRET, "hunter2"));
	group = group_open();
	for (unsigned i = 0; i < 5; i++)
		CHECK_OK(group_spawn(group, "want", FIBER_STACK_LARGE, want_token,
				     &endpoint.source));
	CHECK_OK(group_join(&group));
	CHECK_EQ(heard_count, 1);
	endpoint_close(&endpoint);
}

struct many {
	struct endpoint *endpoint;
	char subject[8];
};

static enum err want_own_token(void *argument)
{
	struct many *many = argument;
	struct oauth2_source source = many->endpoint->source;
	struct oauth2_token *token = NULL;

	source.client_id = many->subject;
	CHECK_OK(oauth2_token_get(&source, clock_after(60 * NSEC_SECOND), &token));
	oauth2_token_put(&token);
	return OK;
}

/* The endpoint serves one connection after the other, so that those at once wait for it. */
TEST_FIBER(tokens_of_their_own_come_in_turn)
{
	struct many many[ANSWERS_MAX];
	struct endpoint endpoint;
	struct group *group;

	for (unsigned i = 0; i < ANSWERS_MAX; i++)
		answers[i] = "200 {\"access_token\":\"one\",\"expires_in\":3600}";
	REQUIRE(endpoint_open(&endpoint, OAUTH2_CLIENT_SECRET, "s3cret"));
	group = group_open();
	for (unsigned i = 0; i < ANSWERS_MAX; i++) {
		many[i].endpoint = &endpoint;
		snprintf(many[i].subject, sizeof many[i].subject, "app%u", i);
		CHECK_OK(group_spawn(group, "want", FIBER_STACK_LARGE, want_own_token, &many[i]));
	}
	CHECK_OK(group_join(&group));
	CHECK_EQ(heard_count, ANSWERS_MAX);
	endpoint_close(&endpoint);
}

TEST_FIBER(a_token_is_renewed_before_it_expires_and_when_it_was_refused)
{
	struct oauth2_token *token = NULL;
	struct endpoint endpoint;

	answers[0] = "200 {\"access_token\":\"one\",\"expires_in\":0}";
	answers[1] = "200 {\"access_token\":\"two\",\"expires_in\":3600}";
	answers[2] = "200 {\"access_token\":\"three\",\"expires_in\":3600}";
	REQUIRE(endpoint_open(&endpoint, OAUTH2_CLIENT_SECRET, "hunter2"));
	check_token(&endpoint.source, "one");
	if (CHECK_OK(oauth2_token_get(&endpoint.source, clock_after(20 * NSEC_SECOND), &token))) {
		CHECK(!oauth2_token_was_used(token));
		CHECK(oauth2_token_was_used(token));
		oauth2_token_drop(&endpoint.source, token);
		CHECK(text_equal(oauth2_token_text(token), text_of("two")));
		check_token(&endpoint.source, "three");
		oauth2_token_drop(&endpoint.source, token); /* an old one: nothing happens */
	}
	oauth2_token_put(&token);
	check_token(&endpoint.source, "three");
	CHECK_EQ(heard_count, 3);
	endpoint_close(&endpoint);
}

TEST_FIBER(a_refusal_is_told_to_all_and_asked_for_once)
{
	struct endpoint endpoint;

	answers[0] = "401 {\"error\":\"invalid_client\",\"error_description\":\"wrong\"}";
	REQUIRE(endpoint_open(&endpoint, OAUTH2_CLIENT_SECRET, "hunter2"));
	for (unsigned i = 0; i < 3; i++)
		check_no_token(&endpoint.source, ERR_OAUTH2_REFUSED,
			       "the token endpoint https://localhost refuses a token (status 401): "
			       "invalid_client: \"wrong\"");
	CHECK_EQ(heard_count, 1);
	endpoint_close(&endpoint);
}

TEST_FIBER(an_endpoint_that_hangs_is_left_at_its_deadline)
{
	struct endpoint endpoint;

	REQUIRE(endpoint_open(&endpoint, OAUTH2_CLIENT_SECRET, "hunter2"));
	endpoint.source.io_timeout = 50 * NSEC_MILLISECOND;
	check_no_token(&endpoint.source, ERR_NET_TIMEOUT, "localhost");
	endpoint_close(&endpoint);
}

TEST_FIBER(an_endpoint_says_how_long_to_stay_away)
{
	struct oauth2_token *token = NULL;
	struct endpoint endpoint;

	answers[0] = "429 {\"error\":\"slow_down\"}";
	REQUIRE(endpoint_open(&endpoint, OAUTH2_CLIENT_SECRET, "hunter2"));
	CHECK_ERR(oauth2_token_get(&endpoint.source, clock_after(20 * NSEC_SECOND), &token),
		  ERR_OAUTH2_UNAVAILABLE);
	CHECK_EQ(err_note()->retry_after, 7 * NSEC_SECOND);
	endpoint_close(&endpoint);
}

TEST_FIBER(an_endpoint_with_another_certificate_is_told_nothing)
{
	struct endpoint endpoint;

	REQUIRE(endpoint_open(&endpoint, OAUTH2_CLIENT_SECRET, "hunter2"));
	endpoint.source.ca_file = NULL;
	check_no_token(&endpoint.source, ERR_TLS_UNTRUSTED, "localhost");
	CHECK_EQ(heard_count, 0);
	endpoint_close(&endpoint);
}

TEST_FIBER(a_url_without_tls_is_refused)
{
	struct endpoint endpoint;

	REQUIRE(endpoint_open(&endpoint, OAUTH2_CLIENT_SECRET, "hunter2"));
	endpoint.source.token_url = "http://localhost/";
	check_no_token(&endpoint.source, ERR_INPUT_USAGE, "https://");
	endpoint_close(&endpoint);
}

TEST_FIBER(a_refresh_token_is_sent_and_a_newer_one_is_kept)
{
	struct endpoint endpoint;

	answers[0] = "200 {\"access_token\":\"one\",\"expires_in\":0,\"refresh_token\":\"r2\"}";
	answers[1] = "200 {\"access_token\":\"two\",\"expires_in\":3600}";
	REQUIRE(endpoint_open(&endpoint, OAUTH2_REFRESH_TOKEN, "r1"));
	endpoint.source.scope = NULL;
	endpoint.source.has_client_secret = true;
	endpoint.beside = "cs";
	check_token(&endpoint.source, "one");
	check_token(&endpoint.source, "two");
	CHECK_TEXT(body_of(0),
		   "grant_type=refresh_token&client_id=app&refresh_token=r1&client_secret=cs");
	CHECK_TEXT(body_of(1),
		   "grant_type=refresh_token&client_id=app&refresh_token=r2&client_secret=cs");
	endpoint_close(&endpoint);
}

static void open_rotating(struct endpoint *endpoint)
{
	answers[0] = "200 {\"access_token\":\"one\",\"expires_in\":0,\"refresh_token\":\"r2\"}";
	answers[1] = "200 {\"access_token\":\"two\",\"expires_in\":0,\"refresh_token\":\"r3\"}";
	answers[2] = "200 {\"access_token\":\"three\",\"expires_in\":0,\"refresh_token\":\"r3\"}";
	if (!endpoint_open(endpoint, OAUTH2_REFRESH_TOKEN, "r1"))
		return;
	endpoint->source.keep = keep_credential;
}

static void check_sent(unsigned i, const char *refresh_token)
{
	char wanted[80];

	snprintf(wanted, sizeof wanted, "&refresh_token=%s", refresh_token);
	CHECK(strstr(body_of(i), wanted) != NULL);
}

TEST_FIBER(a_newer_refresh_token_is_kept_where_the_old_one_was)
{
	struct endpoint endpoint;

	open_rotating(&endpoint);
	check_token(&endpoint.source, "one");
	CHECK_TEXT(endpoint.credential, "r2");
	check_token(&endpoint.source, "two");
	check_token(&endpoint.source, "three"); /* with no newer one */
	CHECK_EQ(endpoint.keeps, 2);
	CHECK_TEXT(endpoint.credential, "r3");
	check_sent(0, "r1");
	check_sent(1, "r2");
	check_sent(2, "r3");
	endpoint_close(&endpoint);
}

TEST_FIBER(a_refresh_token_that_cannot_be_kept_is_good_as_long_as_the_run)
{
	struct endpoint endpoint;

	open_rotating(&endpoint);
	endpoint.refuses_to_keep = true;
	check_token(&endpoint.source, "one");
	check_token(&endpoint.source, "two");
	check_token(&endpoint.source, "three");
	CHECK_TEXT(endpoint.credential, "r1");
	check_sent(1, "r2");
	check_sent(2, "r3");
	CHECK_EQ(endpoint.keeps, 2);
	endpoint_close(&endpoint);
}

/* What is sent by then is not what the source gives. */
TEST_FIBER(an_endpoint_that_repeats_a_newer_refresh_token_is_not_quoted)
{
	struct endpoint endpoint;

	answers[0] = "200 {\"access_token\":\"one\",\"expires_in\":0,\"refresh_token\":\"newer\"}";
	answers[1] = "503 {\"error\":\"server_error\",\"error_description\":\"newer\"}";
	REQUIRE(endpoint_open(&endpoint, OAUTH2_REFRESH_TOKEN, "older"));
	check_token(&endpoint.source, "one");
	check_no_token(&endpoint.source, ERR_OAUTH2_UNAVAILABLE,
		       "(status 503): (a text that repeats the credential)");
	check_sent(1, "newer");
	endpoint_close(&endpoint);
}

static enum err give_next(const struct oauth2_source *source, enum oauth2_credential which,
			  nsec until, struct secret **out)
{
	struct endpoint *endpoint = (struct endpoint *)(uintptr_t)source->context;

	endpoint->credential = endpoint->reads ? "r2" : "r1"; /* somebody wrote it meanwhile */
	return give_credential(source, which, until, out);
}

TEST_FIBER(a_refresh_token_that_somebody_else_replaced_is_read_again_once)
{
	struct endpoint endpoint;

	answers[0] = "400 {\"error\":\"invalid_grant\"}";
	answers[1] = "200 {\"access_token\":\"two\",\"expires_in\":3600}";
	REQUIRE(endpoint_open(&endpoint, OAUTH2_REFRESH_TOKEN, "r1"));
	endpoint.source.credential = give_next;
	check_token(&endpoint.source, "two");
	check_sent(0, "r1");
	check_sent(1, "r2");
	endpoint_close(&endpoint);
}

TEST_FIBER(a_refresh_token_that_is_refused_says_what_to_do)
{
	struct endpoint endpoint;

	answers[0] = "400 {\"error\":\"invalid_grant\",\"error_description\":\"expired\"}";
	REQUIRE(endpoint_open(&endpoint, OAUTH2_REFRESH_TOKEN, "r1-secret"));
	check_no_token(&endpoint.source, ERR_OAUTH2_REFUSED,
		       "invalid_grant: \"expired\"; the refresh token of file:/run/secret is "
		       "expired, revoked or replaced: log in anew");
	CHECK_EQ(heard_count, 1);
	endpoint_close(&endpoint);
}

TEST_FIBER(a_token_that_is_given_is_kept_until_it_is_refused)
{
	struct oauth2_token *token = NULL, *again = NULL;
	struct endpoint endpoint = { .credential = "given" };
	struct oauth2_source source = { .grant = OAUTH2_TOKEN,
					.name = "file:t",
					.place = "t",
					.credential = give_credential,
					.context = &endpoint };

	if (CHECK_OK(oauth2_token_get(&source, clock_after(NSEC_SECOND), &token))) {
		CHECK(!oauth2_token_was_used(token));
		check_token(&source, "given");
		CHECK_EQ(endpoint.reads, 1);
		oauth2_token_drop(&source, token);
		CHECK_OK(oauth2_token_get(&source, clock_after(NSEC_SECOND), &again));
		CHECK_EQ(endpoint.reads, 2);
		CHECK(again == token && oauth2_token_was_used(again));
		oauth2_token_put(&again);
		oauth2_token_drop(&source, token);
		endpoint.credential = "newer";
		check_token(&source, "newer");
	}
	oauth2_token_put(&token);
	oauth2_thread_cleanup();
	endpoint.credential = "two words";
	check_no_token(&source, ERR_INPUT_SECRET, "file:t is no access token");
	oauth2_thread_cleanup();
}

/* ---- assertions ---- */

static char *decode(const char *from, size_t bytes)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	char *to = calloc(1, bytes + 1), *at = to;
	uint32_t bits = 0;
	unsigned have = 0;

	for (size_t i = 0; i < bytes; i++) {
		bits = bits << 6 | (uint32_t)(strchr(digits, from[i]) - digits);
		if ((have += 6) >= 8)
			*at++ = (char)(bits >> (have -= 8));
	}
	return to;
}

/* Part 0 or 1 of the JWT that `name=` has in the n-th request. */
static json_t *part_of(unsigned n, const char *name, unsigned part)
{
	const char *from = strstr(body_of(n), name);
	char *text;
	json_t *json;

	must(from);
	from += strlen(name);
	if (part)
		from = strchr(from, '.') + 1;
	text = decode(from, strcspn(from, "."));
	json = json_loads(text, 0, NULL);
	must(json);
	free(text);
	return json;
}

static const char *word(const json_t *json, const char *key)
{
	const char *text = json_string_value(json_object_get(json, key));

	return text ? text : "(none)";
}

/* A key with its certificate, as PEM; RSA, because Google takes no other. */
static const char *rsa_pem(void)
{
	static char pem[8192];
	EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048);
	BIO *out = BIO_new(BIO_s_mem());
	char *at;
	long bytes;

	must(PEM_write_bio_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL));
	bytes = BIO_get_mem_data(out, &at);
	snprintf(pem, sizeof pem, "%.*s", (int)bytes, at);
	BIO_free(out);
	EVP_PKEY_free(key);
	return pem;
}

TEST_FIBER(a_certificate_signs_who_the_client_is)
{
	struct endpoint endpoint;
	json_t *header, *claims;
	int64_t now = clock_wall() / NSEC_SECOND, expires;

	answers[0] = "200 {\"access_token\":\"one\",\"expires_in\":3600}";
	REQUIRE(endpoint_open(&endpoint, OAUTH2_CERTIFICATE, rsa_pem()));
	check_token(&endpoint.source, "one");
	CHECK(strstr(body_of(0), "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-"
				 "assertion-type%3Ajwt-bearer&client_assertion=ey") != NULL);
	header = part_of(0, "client_assertion=", 0);
	claims = part_of(0, "client_assertion=", 1);
	CHECK_TEXT(word(header, "alg"), "PS256");
	CHECK_TEXT(word(claims, "aud"), endpoint.url);
	CHECK_TEXT(word(claims, "iss"), "app");
	CHECK_TEXT(word(claims, "sub"), "app");
	CHECK_EQ(strlen(word(claims, "jti")), 32);
	expires = json_integer_value(json_object_get(claims, "exp"));
	CHECK(expires >= now + 600 && expires <= clock_wall() / NSEC_SECOND + 600);
	json_decref(header);
	json_decref(claims);
	endpoint_close(&endpoint);
}

TEST_FIBER(a_service_account_acts_for_each_mailbox)
{
	struct endpoint endpoint;
	json_t *file = json_pack("{s:s,s:s,s:s,s:s}", "type", "service_account", "client_email",
				 "mover@project", "private_key", rsa_pem(), "private_key_id", "k1");
	json_t *header, *claims;
	char *text;

	answers[0] = "200 {\"access_token\":\"one\",\"expires_in\":3600}";
	answers[1] = "200 {\"access_token\":\"two\",\"expires_in\":3600}";
	REQUIRE(endpoint_open(&endpoint, OAUTH2_SERVICE_ACCOUNT, ""));
	json_object_set_new(file, "token_uri", json_string(endpoint.url));
	text = json_dumps(file, JSON_INDENT(2));
	endpoint.credential = text;
	endpoint.source.token_url = endpoint.source.client_id = NULL;
	endpoint.source.scope = "https://mail.google.com/";
	endpoint.source.subject = "alice@example.com";
	check_token(&endpoint.source, "one");
	endpoint.source.subject = "bob@example.com";
	check_token(&endpoint.source, "two");
	CHECK(strncmp(body_of(0),
		      "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer"
		      "&assertion=ey",
		      77) == 0);
	header = part_of(1, "assertion=", 0);
	claims = part_of(1, "assertion=", 1);
	CHECK_TEXT(word(header, "alg"), "RS256");
	CHECK_TEXT(word(header, "kid"), "k1");
	CHECK_TEXT(word(claims, "iss"), "mover@project");
	CHECK_TEXT(word(claims, "sub"), "bob@example.com");
	CHECK_TEXT(word(claims, "scope"), "https://mail.google.com/");
	CHECK_TEXT(word(claims, "aud"), endpoint.url);
	json_decref(header);
	json_decref(claims);
	endpoint.credential = "{\"client_email\":\"x\"}";
	endpoint.source.subject = "carol";
	check_no_token(&endpoint.source, ERR_INPUT_SECRET, "not the key file of a service account");
	free(text);
	json_decref(file);
	endpoint_close(&endpoint);
}
