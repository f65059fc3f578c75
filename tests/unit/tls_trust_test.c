/* transport/tls.c: whose certificates are accepted, and what is said about the others. */
#include "tests/unit/tls_pair.h"

/* ---- who is trusted ---- */

struct trust_case {
	struct identity_spec leaf;
	const char *issuer; /* an authority that is not trusted; NULL: the trusted one */
	const char *host;   /* NULL: "mail.example.com" */
	enum err expected;
	const char *says[3]; /* in the note */
};

static const struct identity_spec authority_spec = { .subject = "Test Authority",
						     .from_hours = -1,
						     .is_authority = true };

static void check_trust(const struct trust_case *row)
{
	struct identity authority = identity_make(&authority_spec);
	struct identity_spec spec = row->leaf, other_spec = authority_spec;
	struct identity leaf, other;
	struct pair pair;
	enum err e;

	err_note_clear();
	other_spec.subject = row->issuer ? row->issuer : "unused";
	other = identity_make(&other_spec);
	spec.issuer = row->issuer ? &other : &authority;
	leaf = identity_make(&spec);
	e = pair_open(&pair, identity_server(&leaf, TLS1_3_VERSION), identity_file(&authority),
		      row->host ? row->host : "mail.example.com");
	if (CHECK_OK(e))
		CHECK_ERR(pair_shake(&pair), row->expected);
	for (size_t i = 0; i < ARRAY_COUNT(row->says) && row->says[i]; i++)
		if (!strstr(err_note()->text, row->says[i]))
			test_failed(__FILE__, __LINE__, "\"%s\" does not say \"%s\"",
				    err_note()->text, row->says[i]);
	pair_close(&pair);
	identity_free(&leaf);
	identity_free(&other);
	identity_free(&authority);
}

TEST(a_certificate_of_a_trusted_authority_for_this_host_is_accepted)
{
	check_trust(&(struct trust_case){
		.leaf = { .subject = "x", .names = "DNS:other.example,DNS:mail.example.com" } });
	check_trust(
		&(struct trust_case){ .leaf = { .subject = "x", .names = "DNS:*.example.com" } });
	check_trust(&(struct trust_case){
		.leaf = { .subject = "x", .names = "DNS:MAIL.example.COM" } });
	/* Without subjectAltName the subject counts, as with other OpenSSL clients. */
	check_trust(&(struct trust_case){ .leaf = { .subject = "mail.example.com" } });
	/* A rooted name is the same name. */
	check_trust(
		&(struct trust_case){ .leaf = { .subject = "x", .names = "DNS:mail.example.com" },
				      .host = "mail.example.com." });
}

TEST(an_address_is_matched_against_the_addresses_of_the_certificate)
{
	check_trust(&(struct trust_case){ .leaf = { .subject = "x", .names = "IP:127.0.0.1" },
					  .host = "127.0.0.1" });
	check_trust(&(struct trust_case){ .leaf = { .subject = "x", .names = "IP:::1" },
					  .host = "0:0:0:0:0:0:0:1" });
	check_trust(&(struct trust_case){ .leaf = { .subject = "x", .names = "IP:fe80::1" },
					  .host = "fe80::1%eth0" });
	check_trust(
		&(struct trust_case){ .leaf = { .subject = "x", .names = "IP:127.0.0.1,IP:::1" },
				      .host = "127.0.0.2",
				      .expected = ERR_TLS_HOSTNAME,
				      .says = { "127.0.0.2", "127.0.0.1, ::1" } });
	/* A name that looks like the address is not the address. */
	check_trust(
		&(struct trust_case){ .leaf = { .subject = "127.0.0.1", .names = "DNS:127.0.0.1" },
				      .host = "127.0.0.1",
				      .expected = ERR_TLS_HOSTNAME });
}

TEST(a_certificate_for_another_host_is_refused_and_its_names_are_shown)
{
	check_trust(&(struct trust_case){
		.leaf = { .subject = "mail.example.com",
			  .names = "DNS:imap.example.net,DNS:smtp.example.net,IP:192.0.2.7" },
		.expected = ERR_TLS_HOSTNAME,
		.says = { "test.example:993", "not for mail.example.com",
			  "imap.example.net, smtp.example.net, 192.0.2.7" } });
	check_trust(&(struct trust_case){ .leaf = { .subject = "x", .names = "DNS:example.com" },
					  .expected = ERR_TLS_HOSTNAME });
	check_trust(&(struct trust_case){ .leaf = { .subject = "x", .names = "DNS:*.com" },
					  .expected = ERR_TLS_HOSTNAME });
	check_trust(
		&(struct trust_case){ .leaf = { .subject = "x", .names = "DNS:ma*.example.com" },
				      .expected = ERR_TLS_HOSTNAME });
	check_trust(&(struct trust_case){ .leaf = { .subject = "imap.example.net" },
					  .expected = ERR_TLS_HOSTNAME,
					  .says = { "CN=imap.example.net" } });
}

TEST(many_names_of_a_certificate_are_cut_not_overflown)
{
	static char names[40 * 60];
	size_t used = 0;

	for (int i = 0; i < 40; i++)
		used += (size_t)snprintf(names + used, sizeof names - used,
					 "%sDNS:host-number-%02d.a-rather-long-name.example",
					 i ? "," : "", i);
	check_trust(&(struct trust_case){ .leaf = { .subject = "x", .names = names },
					  .expected = ERR_TLS_HOSTNAME,
					  .says = { "host-number-00", ", ...", "use a name" } });
}

TEST(a_certificate_outside_its_time_is_refused_with_its_dates)
{
	check_trust(&(struct trust_case){ .leaf = { .subject = "old one",
						    .names = "DNS:mail.example.com",
						    .from_hours = -48,
						    .until_hours = -24 },
					  .expected = ERR_TLS_EXPIRED,
					  .says = { "has expired", "CN=old one", "GMT until" } });
	check_trust(&(struct trust_case){ .leaf = { .subject = "early one",
						    .names = "DNS:mail.example.com",
						    .from_hours = 24,
						    .until_hours = 48 },
					  .expected = ERR_TLS_EXPIRED,
					  .says = { "not yet valid", "CN=early one", "clock" } });
}

TEST(a_certificate_of_an_unknown_authority_is_refused_with_the_remedy)
{
	check_trust(&(struct trust_case){
		.leaf = { .subject = "mail", .names = "DNS:mail.example.com" },
		.issuer = "Other Authority",
		.expected = ERR_TLS_UNTRUSTED,
		.says = { "CN=mail, issued by CN=Other Authority", "SHA-256 ",
			  "give its CA with --ca-file" } });
}

TEST(an_authority_of_the_same_name_is_not_the_same_authority)
{
	check_trust(&(struct trust_case){
		.leaf = { .subject = "mail", .names = "DNS:mail.example.com" },
		.issuer = "Test Authority",
		.expected = ERR_TLS_UNTRUSTED,
		.says = { "signature" } });
}

TEST(a_hostile_subject_is_shown_escaped)
{
	check_trust(&(struct trust_case){ .leaf = { .subject = "evil\x1b[2J\r\nname",
						    .names = "DNS:mail.example.com",
						    .from_hours = -48,
						    .until_hours = -24 },
					  .expected = ERR_TLS_EXPIRED });
	check_trust(&(struct trust_case){ .leaf = { .subject = "evil\x1b[2J\r\nname" },
					  .issuer = "Other Authority",
					  .expected = ERR_TLS_UNTRUSTED });
	CHECK(!strpbrk(err_note()->text, "\x1b\r\n"));
	CHECK(strstr(err_note()->text, "CN=evil\\x1b"));
}

TEST(a_self_signed_certificate_is_refused_unless_it_is_the_ca_file)
{
	struct identity self = identity_make(&own_spec), other = identity_make(&authority_spec);
	char fingerprint[65];
	struct pair pair;

	REQUIRE(CHECK_OK(pair_open(&pair, identity_server(&self, TLS1_3_VERSION),
				   identity_file(&other), "mail.example.com")));
	CHECK_ERR(pair_shake(&pair), ERR_TLS_UNTRUSTED);
	identity_fingerprint(&self, fingerprint);
	CHECK(strstr(err_note()->text, fingerprint));
	CHECK(strstr(err_note()->text, "self-signed"));
	CHECK(strstr(err_note()->text, "give its CA with --ca-file"));
	CHECK(strstr(err_note()->text, "test.example:993"));
	pair_close(&pair);
	err_note_clear();

	REQUIRE(CHECK_OK(pair_open(&pair, identity_server(&self, TLS1_3_VERSION),
				   identity_file(&self), "mail.example.com")));
	CHECK_OK(pair_shake(&pair));
	pair_close(&pair);
	identity_free(&self);
	identity_free(&other);
}

TEST(a_leaf_in_the_ca_file_does_not_make_its_chain_whole)
{
	struct identity authority = identity_make(&authority_spec), leaf;
	struct identity_spec spec = own_spec;
	struct pair pair;

	spec.issuer = &authority;
	leaf = identity_make(&spec);
	REQUIRE(CHECK_OK(pair_open(&pair, identity_server(&leaf, TLS1_3_VERSION),
				   identity_file(&leaf), "mail.example.com")));
	CHECK_ERR(pair_shake(&pair), ERR_TLS_UNTRUSTED);
	pair_close(&pair);
	identity_free(&leaf);
	identity_free(&authority);
}

TEST(the_systems_trust_does_not_hold_a_certificate_made_here)
{
	struct identity self = identity_make(&own_spec);
	struct pair pair;

	REQUIRE(CHECK_OK(pair_open(&pair, identity_server(&self, TLS1_3_VERSION), NULL,
				   "mail.example.com")));
	CHECK_ERR(pair_shake(&pair), ERR_TLS_UNTRUSTED);
	pair_close(&pair);
	identity_free(&self);
}

TEST(a_ca_file_that_is_absent_or_not_pem_is_named)
{
	struct tls_context *context = NULL;
	char path[128];
	FILE *file;

	CHECK_ERR(tls_context_open("/nonexistent/ca.pem", &context), ERR_TLS_SETUP);
	CHECK(context == NULL);
	CHECK(strstr(err_note()->text, "/nonexistent/ca.pem"));
	err_note_clear();
	snprintf(path, sizeof path, "%s/ca.pem", test_directory());
	file = fopen(path, "w");
	REQUIRE(file && fputs("not a certificate\n", file) >= 0 && fclose(file) == 0);
	CHECK_ERR(tls_context_open(path, &context), ERR_TLS_SETUP);
	CHECK(strstr(err_note()->text, path));
	tls_context_close(&context);
}
