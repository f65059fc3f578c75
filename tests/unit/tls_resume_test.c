/* transport/tls.c going on from an earlier session with the same host: when it does, when it must
 * not, and what becomes of a server that cannot. */
#include "tests/unit/tls_pair.h"

static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };

/* One more client under the trust of `first`, with a server of `context`. */
static void open_another(struct pair *pair, const struct pair *first, SSL_CTX *context,
			 const char *host)
{
	const struct tls_wire wire = {
		.take = pair_take, .give = pair_give, .owner = pair, .peer = "test.example:993"
	};

	*pair = (struct pair){ .server = SSL_new(context) };
	must(pair->server);
	SSL_set_bio(pair->server, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
	BIO_set_mem_eof_return(SSL_get_rbio(pair->server), -1);
	SSL_set_accept_state(pair->server);
	must(tls_open(first->trust, host, &wire, &pair->client) == OK);
}

/* A conversation to its end; whether it went on from an earlier session, as the server saw it. */
static bool converse(struct pair *pair)
{
	size_t got = 1;
	char heard[16];

	if (!CHECK_OK(pair_shake(pair)))
		return false;
	must(SSL_write(pair->server, "hello", 5) == 5);
	pair_carry(pair);
	while (got > 0 && CHECK_OK(tls_read(pair->client, heard, sizeof heard, &got)))
		;
	tls_goodbye(pair->client);
	return SSL_session_reused(pair->server);
}

static bool converse_again(const struct pair *first, SSL_CTX *context, const char *host)
{
	struct pair pair;
	bool resumed;

	open_another(&pair, first, context, host);
	resumed = converse(&pair);
	pair_close(&pair);
	return resumed;
}

static void open_first(struct pair *pair, struct identity *self, int version)
{
	static const struct identity_spec spec = {
		.subject = "self", .names = "DNS:mail.example.com,DNS:other.example.com"
	};

	*self = identity_make(&spec);
	must(pair_open(pair, identity_server(self, version), identity_file(self),
		       "mail.example.com") == OK);
	CHECK(!converse(pair));
}

TEST(the_next_session_with_a_host_goes_on_from_the_last)
{
	for (size_t i = 0; i < ARRAY_COUNT(versions); i++) {
		struct identity self;
		struct pair first;

		open_first(&first, &self, versions[i]);
		CHECK(converse_again(&first, first.server_context, "mail.example.com"));
		CHECK(converse_again(&first, first.server_context, "mail.example.com."));
		CHECK(converse_again(&first, first.server_context, "mail.example.com"));
		pair_close(&first);
		identity_free(&self);
	}
}

TEST(a_resumed_session_has_the_facts_of_the_first)
{
	for (size_t i = 0; i < ARRAY_COUNT(versions); i++) {
		struct peer facts = { 0 };
		char fingerprint[65];
		struct identity self;
		struct pair first, next;

		open_first(&first, &self, versions[i]);
		open_another(&next, &first, first.server_context, "mail.example.com");
		CHECK(converse(&next));
		tls_facts(next.client, &facts);
		identity_fingerprint(&self, fingerprint);
		CHECK_TEXT(facts.certificate_sha256, fingerprint);
		CHECK_TEXT(facts.tls_version, i == 0 ? "TLSv1.2" : "TLSv1.3");
		pair_close(&next);
		pair_close(&first);
		identity_free(&self);
	}
}

TEST(several_sessions_at_once_go_on_from_the_tickets_of_one)
{
	struct pair first, one, two;
	struct identity self;

	open_first(&first, &self, TLS1_3_VERSION);
	open_another(&one, &first, first.server_context, "mail.example.com");
	open_another(&two, &first, first.server_context, "mail.example.com");
	CHECK(converse(&one));
	CHECK(converse(&two));
	pair_close(&one);
	pair_close(&two);
	pair_close(&first);
	identity_free(&self);
}

TEST(another_name_of_the_same_server_is_verified_anew)
{
	struct identity self;
	struct pair first;

	open_first(&first, &self, TLS1_3_VERSION);
	CHECK(!converse_again(&first, first.server_context, "other.example.com"));
	CHECK(converse_again(&first, first.server_context, "other.example.com"));
	pair_close(&first);
	identity_free(&self);
}

/* Whoever else answers under the name does not have the first one's keys. */
TEST(another_server_under_the_same_name_is_verified)
{
	struct identity self, thief = identity_make(&own_spec);
	struct pair first, next;

	open_first(&first, &self, TLS1_3_VERSION);
	SSL_CTX *context = identity_server(&thief, TLS1_3_VERSION);

	open_another(&next, &first, context, "mail.example.com");
	CHECK_ERR(pair_shake(&next), ERR_TLS_UNTRUSTED);
	pair_close(&next);
	err_note_clear();
	SSL_CTX_free(context);
	pair_close(&first);
	identity_free(&self);
	identity_free(&thief);
}

TEST(a_server_that_has_forgotten_begins_anew)
{
	struct identity self;
	struct pair first;
	SSL_CTX *restarted;

	open_first(&first, &self, TLS1_3_VERSION);
	restarted = identity_server(&self, TLS1_3_VERSION); /* other ticket keys */
	CHECK(!converse_again(&first, restarted, "mail.example.com"));
	CHECK(converse_again(&first, restarted, "mail.example.com"));
	SSL_CTX_free(restarted);
	pair_close(&first);
	identity_free(&self);
}

TEST(more_tickets_than_are_kept_only_cost_handshakes)
{
	static const struct identity_spec spec = { .subject = "self",
						   .names = "DNS:*.example.com" };
	struct identity self = identity_make(&spec);
	struct pair first;
	char host[40];

	must(pair_open(&first, identity_server(&self, TLS1_3_VERSION), identity_file(&self),
		       "mail.example.com") == OK);
	CHECK(!converse(&first));
	for (int i = 0; i < 64; i++) {
		snprintf(host, sizeof host, "h%d.example.com", i);
		CHECK(!converse_again(&first, first.server_context, host));
	}
	CHECK(!converse_again(&first, first.server_context, "mail.example.com"));
	CHECK(converse_again(&first, first.server_context, "h63.example.com"));
	pair_close(&first);
	identity_free(&self);
}

/* A server that asks for certificates and has no session id context breaks off when a session is
 * offered (OpenSSL's own default for such a server). */
TEST(a_server_that_breaks_off_is_not_offered_a_session_again)
{
	struct identity self;
	struct pair first, next;

	open_first(&first, &self, TLS1_3_VERSION);
	SSL_CTX_set_verify(first.server_context, SSL_VERIFY_PEER, NULL);
	open_another(&next, &first, first.server_context, "mail.example.com");
	CHECK_ERR(pair_shake(&next), ERR_NET_RESET);
	CHECK(err_retry_class(ERR_NET_RESET) == RETRY_RECONNECT);
	pair_close(&next);
	err_note_clear();
	CHECK(!converse_again(&first, first.server_context, "mail.example.com"));
	CHECK(!converse_again(&first, first.server_context, "mail.example.com"));
	pair_close(&first);
	identity_free(&self);
}
