#include "tools/paths.h"

#include "tools/json_out.h"
#include "tools/units.h"

static bool is_same(const struct paths_host *a, const struct paths_host *b)
{
	if (a->port != b->port || strcmp(a->host, b->host) != 0)
		return false;
	return a->through && b->through ? strcmp(a->through, b->through) == 0
					: a->through == b->through;
}

/* 0 stands for what is not known. */
static uint64_t least(uint64_t a, uint64_t b)
{
	return !a ? b : !b ? a : min_u64(a, b);
}

static void gather(struct paths_host *to, const struct paths_host *more)
{
	to->connections += more->connections;
	to->compressed += more->compressed;
	to->measured += more->measured;
	to->round_trip += more->round_trip;
	to->round_trip_least =
		(nsec)least((uint64_t)to->round_trip_least, (uint64_t)more->round_trip_least);
	to->mtu_least = (uint32_t)least(to->mtu_least, more->mtu_least);
	to->segments_resent += more->segments_resent;
	to->bytes_received += more->bytes_received;
	to->bytes_sent += more->bytes_sent;
	to->active += more->active;
}

static void add_host(struct paths *paths, const struct paths_host *more)
{
	for (unsigned i = 0; i < paths->count; i++)
		if (is_same(&paths->hosts[i], more)) {
			gather(&paths->hosts[i], more);
			return;
		}
	if (paths->count < PATHS_HOSTS_MAX)
		paths->hosts[paths->count++] = *more;
	else
		paths->connections_left_out += more->connections;
}

void paths_add(void *context, const struct path *path)
{
	struct paths_host host = {
		.port = path->port,
		.through = path->through,
		.connections = 1,
		.compressed = path->compressed,
		.measured = path->round_trip > 0,
		.round_trip = path->round_trip,
		.round_trip_least = path->round_trip_min,
		.mtu_least = path->mtu_bytes,
		.segments_resent = path->segments_resent,
		.bytes_received = path->bytes_received,
		.bytes_sent = path->bytes_sent,
		.active = path->active,
	};

	snprintf(host.host, sizeof host.host, "%s", path->host);
	add_host(context, &host);
}

void paths_merge(struct paths *paths, const struct paths *more)
{
	for (unsigned i = 0; i < more->count; i++)
		add_host(paths, &more->hosts[i]);
	paths->connections_left_out += more->connections_left_out;
}

/* ---- shown ---- */

static double milliseconds(nsec duration)
{
	return (double)duration / (double)NSEC_MILLISECOND;
}

nsec paths_round_trip(const struct paths_host *host)
{
	return host->measured ? host->round_trip / (nsec)host->measured : 0;
}

static void text_measured(const struct paths_host *host, FILE *to)
{
	if (host->measured)
		fprintf(to, ", round trip %.2f ms", milliseconds(paths_round_trip(host)));
	if (host->measured && host->round_trip_least)
		fprintf(to, " (least %.2f ms)", milliseconds(host->round_trip_least));
	if (host->mtu_least)
		fprintf(to, ", path MTU %u", host->mtu_least);
	if (host->measured)
		fprintf(to, ", %llu segment%s sent again",
			(unsigned long long)host->segments_resent,
			units_plural(host->segments_resent));
}

static void text_speed(const char *what, uint64_t bytes, nsec active, FILE *to)
{
	char amount[UNITS_TEXT_BYTES], speed[UNITS_TEXT_BYTES];

	fprintf(to, ", %s %s (%s/s)", what, units_bytes(amount, bytes),
		units_bytes(speed, (uint64_t)units_rate(bytes, active)));
}

void paths_text(const struct paths *paths, FILE *to)
{
	for (unsigned i = 0; i < paths->count; i++) {
		const struct paths_host *host = &paths->hosts[i];
		bool is_v6 = strchr(host->host, ':') != NULL;

		fprintf(to, "Path         %s%s%s:%u", is_v6 ? "[" : "", host->host,
			is_v6 ? "]" : "", host->port);
		if (host->through)
			fprintf(to, " through %s", host->through);
		if (host->compressed)
			fprintf(to, ", %llu of %llu connection%s compressed",
				(unsigned long long)host->compressed,
				(unsigned long long)host->connections,
				units_plural(host->connections));
		text_measured(host, to);
		text_speed("received", host->bytes_received, host->active, to);
		text_speed("sent", host->bytes_sent, host->active, to);
		fputc('\n', to);
	}
	if (paths->connections_left_out)
		fprintf(to, "Path         %llu connection%s to other hosts\n",
			(unsigned long long)paths->connections_left_out,
			units_plural(paths->connections_left_out));
}

static void json_milliseconds(struct json_out *json, const char *key, nsec duration)
{
	if (duration > 0)
		json_number_decimal(json, key, milliseconds(duration));
	else
		json_null(json, key);
}

static void json_host(const struct paths_host *host, struct json_out *json)
{
	json_object_begin(json, NULL);
	json_text(json, "host", host->host);
	json_number(json, "port", host->port);
	if (host->through)
		json_text(json, "through", host->through);
	else
		json_null(json, "through");
	json_number(json, "connections", host->connections);
	json_number(json, "compressed", host->compressed);
	json_milliseconds(json, "round_trip_ms", paths_round_trip(host));
	json_milliseconds(json, "round_trip_min_ms", host->round_trip_least);
	if (host->mtu_least)
		json_number(json, "path_mtu", host->mtu_least);
	else
		json_null(json, "path_mtu");
	json_number(json, "segments_resent", host->segments_resent);
	json_number(json, "bytes_received", host->bytes_received);
	json_number(json, "bytes_sent", host->bytes_sent);
	json_number_decimal(json, "active_s", (double)host->active / (double)NSEC_SECOND);
	json_number_decimal(json, "received_per_second",
			    units_rate(host->bytes_received, host->active));
	json_number_decimal(json, "sent_per_second", units_rate(host->bytes_sent, host->active));
	json_object_end(json);
}

void paths_json(const struct paths *paths, struct json_out *json)
{
	json_array_begin(json, "paths");
	for (unsigned i = 0; i < paths->count; i++)
		json_host(&paths->hosts[i], json);
	json_array_end(json);
}
