#include "tools/endpoints.h"

#include "tools/json_out.h"
#include "tools/terminal.h"
#include "tools/units.h"
#include "transport/residency.h"

/* ---- gathering ---- */

static bool is_same(const struct peer *a, const struct peer *b)
{
	return strcmp(a->address, b->address) == 0 && strcmp(a->host, b->host) == 0 &&
	       strcmp(a->certificate_sha256, b->certificate_sha256) == 0 &&
	       strcmp(a->key, b->key) == 0;
}

static void add(struct endpoints *endpoints, const struct endpoint *more)
{
	for (unsigned i = 0; i < endpoints->count; i++)
		if (is_same(&endpoints->at[i].peer, &more->peer)) {
			endpoints->at[i].connections += more->connections;
			return;
		}
	if (endpoints->count < ENDPOINTS_MAX)
		endpoints->at[endpoints->count++] = *more;
	else
		endpoints->connections_left_out += more->connections;
}

void endpoints_met(void *context, const struct peer *peer)
{
	add(context, &(struct endpoint){ .peer = *peer, .connections = 1 });
}

void endpoints_merge(struct endpoints *endpoints, const struct endpoints *more)
{
	for (unsigned i = 0; i < more->count; i++)
		add(endpoints, &more->at[i]);
	endpoints->connections_left_out += more->connections_left_out;
}

/* ---- text ---- */

static void text_endpoint(const struct endpoint *endpoint, FILE *to)
{
	const struct peer *peer = &endpoint->peer;
	char software[160];

	fprintf(to, "Endpoint     %s %s%s, %s %s, certificate SHA-256 %s%s%s", peer->host,
		peer->through ? "through " : "", peer->through ? peer->through : peer->address,
		peer->tls_version, peer->tls_cipher, peer->certificate_sha256,
		*peer->software ? ", " : "",
		terminal_text(software, sizeof software, peer->software));
	if (*peer->region)
		fprintf(to, ", region %s", peer->region);
	if (*peer->key)
		fprintf(to, ", key %s", peer->key);
	fprintf(to, ", %llu connection%s\n", (unsigned long long)endpoint->connections,
		units_plural(endpoint->connections));
}

/* Nothing outside of the policy is ever connected to, so what was met is inside. */
static void text_residency(const struct endpoints *endpoints, FILE *to)
{
	const struct residency *policy = residency_current();
	char shown[RESIDENCY_TEXT_BYTES];
	uint64_t refused = residency_refused();

	if (!policy)
		return;
	fprintf(to, "Residency    %u%s endpoint%s, all inside the policy (%s)", endpoints->count,
		endpoints->connections_left_out ? " and more" : "", units_plural(endpoints->count),
		residency_show(policy, shown));
	if (refused)
		fprintf(to, "; %llu attempt%s to leave it %s refused before a byte was sent",
			(unsigned long long)refused, units_plural(refused),
			refused == 1 ? "was" : "were");
	fputc('\n', to);
}

void endpoints_text(const struct endpoints *endpoints, FILE *to)
{
	for (unsigned i = 0; i < endpoints->count; i++)
		text_endpoint(&endpoints->at[i], to);
	if (endpoints->connections_left_out)
		fprintf(to, "Endpoint     %llu connection%s to others\n",
			(unsigned long long)endpoints->connections_left_out,
			units_plural(endpoints->connections_left_out));
	text_residency(endpoints, to);
}

/* ---- JSON ---- */

static void json_text_or_null(struct json_out *json, const char *key, const char *value)
{
	if (value && *value)
		json_text(json, key, value);
	else
		json_null(json, key);
}

static void json_endpoint(const struct endpoint *endpoint, struct json_out *json)
{
	const struct peer *peer = &endpoint->peer;

	json_object_begin(json, NULL);
	json_text(json, "host", peer->host);
	json_text(json, "address", peer->address);
	json_text_or_null(json, "through", peer->through);
	json_text(json, "tls_version", peer->tls_version);
	json_text(json, "tls_cipher", peer->tls_cipher);
	json_text(json, "certificate_sha256", peer->certificate_sha256);
	json_text(json, "software", peer->software);
	json_text_or_null(json, "region", peer->region);
	json_text_or_null(json, "key", peer->key);
	json_number(json, "connections", endpoint->connections);
	json_object_end(json);
}

static void json_residency(struct json_out *json)
{
	const struct residency *policy = residency_current();

	if (!policy) {
		json_null(json, "residency");
		return;
	}
	json_object_begin(json, "residency");
	for (unsigned i = 0; i < RESIDENCY_KINDS; i++) {
		enum residency_kind kind = (enum residency_kind)i;

		if (!residency_count(policy, kind))
			continue;
		json_array_begin(json, residency_kind_name(kind));
		for (unsigned at = 0; at < residency_count(policy, kind); at++)
			json_text(json, NULL, residency_entry(policy, kind, at));
		json_array_end(json);
	}
	json_number(json, "refused", residency_refused());
	json_object_end(json);
}

void endpoints_json(const struct endpoints *endpoints, struct json_out *json)
{
	json_array_begin(json, "endpoints");
	for (unsigned i = 0; i < endpoints->count; i++)
		json_endpoint(&endpoints->at[i], json);
	json_array_end(json);
	json_number(json, "endpoint_connections_left_out", endpoints->connections_left_out);
	json_residency(json);
}
