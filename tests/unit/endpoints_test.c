/* tools/endpoints.c: whom a run met, each once and within bounds, from one thread or several, and
 * what the residency policy has to say of it. */
#include "tools/endpoints.h"

#include <stdlib.h>

#include "tests/test.h"
#include "tools/json_out.h"
#include "transport/residency.h"

/* Too large for a frame. */
static struct endpoints endpoints, others;

static const struct peer somebody = {
	.host = "mail.example.com",
	.address = "[2001:db8::1]:993",
	.tls_version = "TLSv1.3",
	.tls_cipher = "TLS_AES_256_GCM_SHA384",
	.certificate_sha256 = "ab12",
	.software = "Dovecot\x1b[31m",
};

static void begin(void)
{
	static const struct endpoints none;

	endpoints = others = none;
}

static char *told(void)
{
	char *text = NULL;
	size_t bytes;
	FILE *file = open_memstream(&text, &bytes);

	must(file != NULL);
	endpoints_text(&endpoints, file);
	fclose(file);
	return text;
}

static char *told_json(void)
{
	char *text = NULL;
	size_t bytes;
	FILE *file = open_memstream(&text, &bytes);
	struct json_out json = { .file = file };

	must(file != NULL);
	json_object_begin(&json, NULL);
	endpoints_json(&endpoints, &json);
	json_object_end(&json);
	fclose(file);
	return text;
}

static void shows(const char *text, const char *part)
{
	if (!strstr(text, part))
		test_failed(__FILE__, __LINE__, "there is no \"%s\" in:\n%s", part, text);
}

TEST(each_endpoint_is_told_once_with_its_tls_facts)
{
	struct peer other = somebody;
	char *text;

	begin();
	endpoints_met(&endpoints, &somebody);
	endpoints_met(&endpoints, &somebody);
	strcpy(other.certificate_sha256, "cd34");
	endpoints_met(&endpoints, &other);
	strcpy(other.host, "alias.example.com");
	endpoints_met(&endpoints, &other);
	strcpy(other.address, "192.0.2.1:993");
	endpoints_met(&endpoints, &other);
	CHECK_EQ(endpoints.count, 4);
	text = told();
	shows(text,
	      "Endpoint     mail.example.com [2001:db8::1]:993, TLSv1.3 TLS_AES_256_GCM_SHA384, "
	      "certificate SHA-256 ab12, Dovecot?[31m, 2 connections\n");
	shows(text, "cd34, Dovecot?[31m, 1 connection\n");
	CHECK(!strstr(text, "Residency")); /* there is no policy */
	free(text);
}

TEST(a_host_of_aws_is_told_with_its_region_and_the_key)
{
	struct peer kms = { .host = "kms.eu-central-1.amazonaws.com",
			    .address = "192.0.2.9:443",
			    .region = "eu-central-1",
			    .key = "arn:aws:kms:eu-central-1:123456789012:key/a" };
	char *text;

	begin();
	endpoints_met(&endpoints, &kms);
	strcpy(kms.key, "arn:aws:kms:eu-central-1:123456789012:key/b");
	endpoints_met(&endpoints, &kms);
	text = told();
	shows(text, ", region eu-central-1, key arn:aws:kms:eu-central-1:123456789012:key/a, 1 ");
	shows(text, ", region eu-central-1, key arn:aws:kms:eu-central-1:123456789012:key/b, 1 ");
	free(text);
	endpoints_met(&endpoints, &somebody);
	text = told_json();
	shows(text, "\"region\":\"eu-central-1\",\"key\":\"arn:aws:kms:eu-central-1:123456789012:"
		    "key/a\",\"connections\":1}");
	shows(text, "key/b\"");
	shows(text, "{\"host\":\"mail.example.com\",\"address\":\"[2001:db8::1]:993\",\"through\":"
		    "null,\"tls_version\":\"TLSv1.3\",");
	shows(text, "\"region\":null,\"key\":null,\"connections\":1}],"
		    "\"endpoint_connections_left_out\":0,\"residency\":null}");
	free(text);
}

static void meet_many(struct endpoints *to, unsigned count, unsigned net)
{
	struct peer peer = somebody;

	for (unsigned i = 0; i < count; i++) {
		snprintf(peer.address, sizeof peer.address, "192.0.%u.%u:993", net, i);
		endpoints_met(to, &peer);
	}
}

TEST(of_more_endpoints_than_fit_the_connections_are_counted)
{
	char *text;

	begin();
	meet_many(&endpoints, ENDPOINTS_MAX + 3, 2);
	meet_many(&endpoints, 1, 2);
	CHECK_EQ(endpoints.count, ENDPOINTS_MAX);
	CHECK_EQ(endpoints.connections_left_out, 3);
	CHECK_EQ(endpoints.at[0].connections, 2);
	text = told();
	shows(text, "Endpoint     3 connections to others\n");
	free(text);
	text = told_json();
	shows(text, "\"endpoint_connections_left_out\":3,");
	free(text);
}

TEST(what_several_threads_met_is_told_together)
{
	begin();
	meet_many(&endpoints, 40, 2);
	for (unsigned i = 0; i < 3; i++)
		meet_many(&others, 1, 2);
	meet_many(&others, ENDPOINTS_MAX + 1, 3);
	endpoints_merge(&endpoints, &others);
	CHECK_EQ(endpoints.count, ENDPOINTS_MAX);
	CHECK_EQ(endpoints.at[0].connections, 4);
	CHECK_EQ(endpoints.at[40].connections, 1);
	/* Of 65 others 2 did not fit there, and of the 63 that did, 24 fit here. */
	CHECK_EQ(endpoints.connections_left_out, 2 + 63 - 24);
}

TEST(the_policy_has_the_last_word)
{
	struct residency *policy;
	char *text;

	begin();
	REQUIRE(residency_open(&policy) == OK);
	CHECK_OK(residency_add(policy, RESIDENCY_HOSTS, ".example.com"));
	CHECK_OK(residency_add(policy, RESIDENCY_REGIONS, "eu-central-1"));
	residency_set(policy);
	endpoints_met(&endpoints, &somebody);
	text = told();
	shows(text, "\nResidency    1 endpoint, all inside the policy (regions eu-central-1; hosts "
		    ".example.com)\n");
	free(text);
	CHECK_ERR(residency_guard_host("mail.example.org", false), ERR_RESIDENCY_ENDPOINT);
	err_note_clear();
	text = told();
	shows(text, ".example.com); 1 attempt to leave it was refused before a byte was sent\n");
	free(text);
	text = told_json();
	shows(text, "\"residency\":{\"regions\":[\"eu-central-1\"],\"hosts\":[\".example.com\"],"
		    "\"refused\":1}}");
	free(text);
	residency_set(NULL);
	residency_close(&policy);
}
