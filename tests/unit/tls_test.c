/* transport/tls.c: sessions, messages of TLS itself behind the handshake, and what is not TLS as we
 * want it. Certificates are tls_trust_test.c's, sockets and waiting conn_test.c's. */
#include "tests/unit/tls_pair.h"

/* ---- a session ---- */

static void open_session_at(struct pair *pair, struct identity *self, int version, size_t take_max)
{
	*self = identity_make(&own_spec);
	must(pair_open(pair, identity_server(self, version), identity_file(self),
		       "mail.example.com") == OK);
	pair->take_max = take_max;
	CHECK_OK(pair_shake(pair));
}

static void open_session(struct pair *pair, struct identity *self, int version)
{
	open_session_at(pair, self, version, 0);
}

static void close_session(struct pair *pair, struct identity *self)
{
	pair_close(pair);
	identity_free(self);
}

/* The server says `bytes`; we read them all, at most `max` at a time. */
static void check_hears(struct pair *pair, const char *bytes, size_t max)
{
	char heard[256] = "";
	size_t used = 0, got = 1;

	must(SSL_write(pair->server, bytes, (int)strlen(bytes)) == (int)strlen(bytes));
	pair_carry(pair);
	while (got > 0 && used < sizeof heard - 1) {
		got = 0;
		if (!CHECK_OK(tls_read(pair->client, heard + used,
				       min_u64(max, sizeof heard - 1 - used), &got)))
			break;
		CHECK(got <= max);
		used += got;
	}
	heard[used] = '\0';
	CHECK_TEXT(heard, bytes);
}

/* We say `bytes`; the server reads them all. */
static void check_says(struct pair *pair, const char *bytes)
{
	char heard[256] = "";
	bool sealed = false;
	int got;

	CHECK_OK(tls_write(pair->client, bytes, strlen(bytes), &sealed));
	CHECK(sealed);
	pair_carry(pair);
	got = SSL_read(pair->server, heard, sizeof heard - 1);
	CHECK_EQ(got, strlen(bytes));
	CHECK_TEXT(heard, bytes);
}

TEST(the_facts_are_those_of_the_session)
{
	char fingerprint[65];
	struct peer peer = { 0 };
	struct identity self;
	struct pair pair;

	open_session(&pair, &self, TLS1_2_VERSION);
	tls_facts(pair.client, &peer);
	identity_fingerprint(&self, fingerprint);
	CHECK_TEXT(peer.tls_version, "TLSv1.2");
	CHECK_TEXT(peer.tls_cipher, SSL_get_cipher_name(pair.server));
	CHECK_TEXT(peer.certificate_sha256, fingerprint);
	close_session(&pair, &self);
	open_session(&pair, &self, TLS1_3_VERSION);
	tls_facts(pair.client, &peer);
	CHECK_TEXT(peer.tls_version, "TLSv1.3");
	close_session(&pair, &self);
}

TEST(names_are_sent_as_sni_and_addresses_are_not)
{
	static const char *const hosts[] = { "mail.example.com", "mail.example.com.", "192.0.2.1",
					     "2001:db8::1" };
	struct identity self = identity_make(&own_spec);

	for (size_t i = 0; i < ARRAY_COUNT(hosts); i++) {
		struct pair pair;
		const char *sent;
		bool done;

		must(pair_open(&pair, identity_server(&self, TLS1_3_VERSION), identity_file(&self),
			       hosts[i]) == OK);
		CHECK_OK(tls_handshake(pair.client, &done));
		pair_carry(&pair);
		CHECK(SSL_do_handshake(pair.server) != 1);
		sent = SSL_get_servername(pair.server, TLSEXT_NAMETYPE_host_name);
		CHECK_TEXT(sent ? sent : "none", i < 2 ? "mail.example.com" : "none");
		pair_close(&pair);
	}
	identity_free(&self);
}

TEST(text_goes_both_ways_whole_in_both_versions)
{
	static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };

	for (size_t i = 0; i < ARRAY_COUNT(versions); i++) {
		struct identity self;
		struct pair pair;

		open_session(&pair, &self, versions[i]);
		check_hears(&pair, "* OK ready\r\n", 256);
		check_says(&pair, "a1 CAPABILITY\r\n");
		check_hears(&pair, "* CAPABILITY IMAP4rev1\r\na1 OK\r\n", 3);
		close_session(&pair, &self);
	}
}

TEST(a_wire_that_gives_one_byte_at_a_time_is_understood)
{
	struct identity self;
	struct pair pair;

	open_session_at(&pair, &self, TLS1_3_VERSION, 1);
	check_hears(&pair, "* OK ready\r\n", 1);
	check_says(&pair, "a1 NOOP\r\n");
	close_session(&pair, &self);
	open_session_at(&pair, &self, TLS1_2_VERSION, 1);
	check_hears(&pair, "* OK ready\r\n", 256);
	close_session(&pair, &self);
}

TEST(a_record_that_arrived_in_part_gives_nothing_until_it_is_whole)
{
	char heard[16] = "";
	struct identity self;
	struct pair pair;
	size_t got, whole;

	open_session(&pair, &self, TLS1_3_VERSION);
	CHECK_OK(tls_read(pair.client, heard, sizeof heard, &got)); /* the tickets */
	must(SSL_write(pair.server, "hello", 5) == 5);
	pair_carry(&pair);
	whole = pair.to_client.bytes;
	for (pair.to_client.bytes = pair.taken; pair.to_client.bytes < whole;
	     pair.to_client.bytes++) {
		CHECK_OK(tls_read(pair.client, heard, sizeof heard, &got));
		CHECK_EQ(got, 0);
	}
	CHECK_OK(tls_read(pair.client, heard, sizeof heard, &got));
	CHECK_EQ(got, 5);
	CHECK_TEXT(heard, "hello");
	close_session(&pair, &self);
}

TEST(a_large_write_is_sealed_whole)
{
	static uint8_t sent[100000], heard[sizeof sent];
	struct identity self;
	bool sealed = false;
	size_t used = 0;
	struct pair pair;
	int got = 1;

	for (size_t i = 0; i < sizeof sent; i++)
		sent[i] = (uint8_t)(i * 7 + i / 251);
	open_session(&pair, &self, TLS1_3_VERSION);
	CHECK_OK(tls_write(pair.client, sent, sizeof sent, &sealed));
	CHECK(sealed);
	pair_carry(&pair);
	for (; used < sizeof sent && got > 0; used += got > 0 ? (size_t)got : 0)
		got = SSL_read(pair.server, heard + used, (int)(sizeof heard - used));
	CHECK_EQ(used, sizeof sent);
	CHECK(memcmp(sent, heard, sizeof sent) == 0);
	close_session(&pair, &self);
}

TEST(close_notify_reads_as_the_end_again_and_again)
{
	struct identity self;
	struct pair pair;
	char heard[16];
	size_t got;

	open_session(&pair, &self, TLS1_3_VERSION);
	must(SSL_write(pair.server, "bye", 3) == 3);
	SSL_shutdown(pair.server);
	pair_carry(&pair);
	CHECK_OK(tls_read(pair.client, heard, sizeof heard, &got));
	CHECK_EQ(got, 3);
	CHECK_ERR(tls_read(pair.client, heard, sizeof heard, &got), ERR_NET_CLOSED);
	CHECK_EQ(got, 0);
	CHECK_ERR(tls_read(pair.client, heard, sizeof heard, &got), ERR_NET_CLOSED);
	close_session(&pair, &self);
}

TEST(goodbye_is_a_close_notify)
{
	struct identity self;
	struct pair pair;
	char heard[16];

	open_session(&pair, &self, TLS1_3_VERSION);
	tls_goodbye(pair.client);
	pair_carry(&pair);
	CHECK(SSL_read(pair.server, heard, sizeof heard) <= 0);
	CHECK_EQ(SSL_get_shutdown(pair.server) & SSL_RECEIVED_SHUTDOWN, SSL_RECEIVED_SHUTDOWN);
	close_session(&pair, &self);
}

TEST(a_flipped_bit_in_a_record_is_damage)
{
	static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };

	for (size_t i = 0; i < ARRAY_COUNT(versions); i++) {
		struct identity self;
		struct pair pair;
		char heard[16];
		size_t got;

		err_note_clear();
		open_session(&pair, &self, versions[i]);
		must(SSL_write(pair.server, "hello", 5) == 5);
		pair_carry(&pair);
		pair.to_client.at[pair.to_client.bytes - 1] ^= 1;
		CHECK_ERR(tls_read(pair.client, heard, sizeof heard, &got), ERR_TLS_RECORD);
		CHECK_EQ(got, 0);
		CHECK(strstr(err_note()->text, "test.example:993"));
		CHECK_ERR(tls_read(pair.client, heard, sizeof heard, &got), ERR_TLS_RECORD);
		close_session(&pair, &self);
	}
}

/* ---- messages of TLS itself behind the handshake ---- */

TEST(a_key_update_in_either_direction_is_answered_and_survived)
{
	struct identity self;
	struct pair pair;

	open_session(&pair, &self, TLS1_3_VERSION);
	check_says(&pair, "before");
	must(SSL_key_update(pair.server, SSL_KEY_UPDATE_REQUESTED));
	check_hears(&pair, "new keys from here", 256);
	check_says(&pair, "and here");
	check_hears(&pair, "all well", 256);
	must(SSL_key_update(pair.server, SSL_KEY_UPDATE_NOT_REQUESTED));
	check_hears(&pair, "again", 256);
	check_says(&pair, "good");
	close_session(&pair, &self);
}

/* A ticket that holds this much does not fit one of the small records below. */
static int fill_ticket(SSL *ssl, void *argument)
{
	static const uint8_t filler[3000];

	(void)argument;
	return SSL_SESSION_set1_ticket_appdata(SSL_get_session(ssl), filler, sizeof filler);
}

static SSL_TICKET_RETURN open_ticket(SSL *ssl, SSL_SESSION *session, const unsigned char *name,
				     size_t name_bytes, SSL_TICKET_STATUS status, void *argument)
{
	(void)ssl, (void)session, (void)name, (void)name_bytes, (void)status, (void)argument;
	return SSL_TICKET_RETURN_IGNORE;
}

TEST(writing_while_a_ticket_is_half_read_waits_for_the_other_half)
{
	struct identity self = identity_make(&own_spec);
	SSL_CTX *server_context = identity_server(&self, TLS1_3_VERSION);
	size_t whole, got, waited = 0;
	bool sealed = true;
	struct pair pair;
	char heard[16];

	SSL_CTX_set_max_send_fragment(server_context, 512);
	must(SSL_CTX_set_session_ticket_cb(server_context, fill_ticket, open_ticket, NULL));
	must(pair_open(&pair, server_context, identity_file(&self), "mail.example.com") == OK);
	CHECK_OK(pair_shake(&pair));
	whole = pair.to_client.bytes;
	CHECK(whole - pair.taken > 2 * 3000); /* two tickets wait */
	for (size_t piece = pair.taken; piece < whole; piece += 600) {
		pair.to_client.bytes = min_u64(piece + 600, whole);
		CHECK_OK(tls_read(pair.client, heard, sizeof heard, &got));
		CHECK_EQ(got, 0);
		CHECK_OK(tls_write(pair.client, "x", 1, &sealed));
		waited += !sealed;
	}
	CHECK(waited > 0);
	pair.to_client.bytes = whole;
	CHECK_OK(tls_read(pair.client, heard, sizeof heard, &got));
	pair_carry(&pair);
	while (SSL_read(pair.server, heard, 1) > 0)
		CHECK_EQ(heard[0], 'x');
	check_says(&pair, "hello");
	check_hears(&pair, "world", 256);
	close_session(&pair, &self);
}

TEST(renegotiation_is_not_done)
{
	struct identity self;
	struct pair pair;
	char heard[16];
	size_t got;

	open_session(&pair, &self, TLS1_2_VERSION);
	must(SSL_renegotiate(pair.server) == 1);
	SSL_do_handshake(pair.server);
	pair_carry(&pair);
	CHECK_OK(tls_read(pair.client, heard, sizeof heard, &got));
	CHECK_EQ(got, 0);
	pair_carry(&pair);
	CHECK(SSL_read(pair.server, heard, sizeof heard) <= 0);
	CHECK_EQ(ERR_GET_REASON(ERR_peek_last_error()), SSL_R_NO_RENEGOTIATION);
	close_session(&pair, &self);
}

TEST(a_demand_for_a_client_certificate_says_so)
{
	static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };

	for (size_t i = 0; i < ARRAY_COUNT(versions); i++) {
		struct identity self = identity_make(&own_spec);
		SSL_CTX *server_context = identity_server(&self, versions[i]);
		struct pair pair;
		bool done = false;
		enum err e = OK;
		char heard[16];
		size_t got;

		err_note_clear();
		SSL_CTX_set_verify(server_context,
				   SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
		must(pair_open(&pair, server_context, identity_file(&self), "mail.example.com") ==
		     OK);
		for (int turn = 0; turn < 4 && !e && !done; turn++) {
			e = tls_handshake(pair.client, &done);
			pair_carry(&pair);
			SSL_do_handshake(pair.server);
			pair_carry(&pair);
		}
		if (!e)
			e = tls_read(pair.client, heard, sizeof heard, &got);
		CHECK_ERR(e, ERR_TLS_HANDSHAKE);
		if (versions[i] == TLS1_3_VERSION)
			CHECK(strstr(err_note()->text, "wants a client certificate"));
		close_session(&pair, &self);
	}
}

/* ---- what is not TLS as we want it ---- */

static void check_first_answer(const char *answer, const char *says)
{
	struct identity self = identity_make(&own_spec);
	struct pair pair;
	bool done;

	err_note_clear();
	must(pair_open(&pair, identity_server(&self, TLS1_3_VERSION), identity_file(&self),
		       "mail.example.com") == OK);
	CHECK_OK(tls_handshake(pair.client, &done));
	buffer_add_text(&pair.to_client, answer);
	CHECK_ERR(tls_handshake(pair.client, &done), ERR_TLS_HANDSHAKE);
	CHECK(!done);
	CHECK(strstr(err_note()->text, "test.example:993"));
	if (!strstr(err_note()->text, says))
		test_failed(__FILE__, __LINE__, "\"%s\" does not say \"%s\"", err_note()->text,
			    says);
	close_session(&pair, &self);
}

TEST(a_plaintext_answer_asks_whether_this_is_a_tls_port)
{
	check_first_answer("* OK [CAPABILITY IMAP4rev1 STARTTLS] Dovecot ready.\r\n",
			   "is this a TLS port?");
	check_first_answer("HTTP/1.1 400 Bad Request\r\n\r\n", "is this a TLS port?");
	check_first_answer("220 mail.example.com ESMTP\r\n", "is this a TLS port?");
	check_first_answer("\x16\x03\x01\xff\xff", "OpenSSL: ");
}

TEST(a_server_without_tls_1_2_is_refused)
{
	struct identity self = identity_make(&own_spec);
	struct pair pair;

	must(pair_open(&pair, identity_server(&self, TLS1_1_VERSION), identity_file(&self),
		       "mail.example.com") == OK);
	CHECK_ERR(pair_shake(&pair), ERR_TLS_HANDSHAKE);
	CHECK(strstr(err_note()->text, "no TLS 1.2 or newer"));
	close_session(&pair, &self);
}

TEST(a_server_with_another_idea_of_ciphers_is_refused)
{
	struct identity self = identity_make(&own_spec);
	SSL_CTX *server_context = identity_server(&self, TLS1_2_VERSION);
	struct pair pair;

	SSL_CTX_set_security_level(server_context, 0);
	must(SSL_CTX_set_cipher_list(server_context, "ECDHE-ECDSA-NULL-SHA"));
	must(pair_open(&pair, server_context, identity_file(&self), "mail.example.com") == OK);
	CHECK_ERR(pair_shake(&pair), ERR_TLS_HANDSHAKE);
	CHECK(strstr(err_note()->text, "strong enough"));
	close_session(&pair, &self);
}

TEST(no_room_for_what_must_be_sent_is_an_error_not_a_loss)
{
	struct identity self;
	bool sealed = false;
	struct pair pair;
	bool done;

	self = identity_make(&own_spec);
	must(pair_open(&pair, identity_server(&self, TLS1_3_VERSION), identity_file(&self),
		       "mail.example.com") == OK);
	pair.give_fails = true;
	CHECK_ERR(tls_handshake(pair.client, &done), ERR_MEMORY_EXHAUSTED);
	close_session(&pair, &self);
	err_note_clear();
	open_session(&pair, &self, TLS1_3_VERSION);
	pair.give_fails = true;
	CHECK_ERR(tls_write(pair.client, "x", 1, &sealed), ERR_MEMORY_EXHAUSTED);
	CHECK(!sealed);
	close_session(&pair, &self);
}

TEST(a_host_that_is_no_name_is_refused)
{
	struct identity self = identity_make(&own_spec);
	char long_name[300];
	struct pair pair;

	memset(long_name, 'a', sizeof long_name);
	long_name[sizeof long_name - 1] = '\0';
	CHECK_ERR(pair_open(&pair, identity_server(&self, TLS1_3_VERSION), NULL, long_name),
		  ERR_NET_NAME);
	pair_close(&pair);
	err_note_clear();
	CHECK_ERR(pair_open(&pair, identity_server(&self, TLS1_3_VERSION), NULL, ""), ERR_NET_NAME);
	close_session(&pair, &self);
}
