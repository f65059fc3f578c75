#include "transport/conn_path.h"

#include "engine/clock.h"
#include "engine/ring.h"

#define SILENCE_COUNTED_MAX NSEC_SECOND

void conn_path_begin(struct conn_path *path, const struct account *account, uint16_t port)
{
	*path = (struct conn_path){ .parted = account->parted,
				    .context = account->parted_context,
				    .port = port };
	if (path->parted)
		path->moved_at = clock_now();
}

void conn_path_moved(struct conn_path *path)
{
	nsec now;

	if (!path->parted)
		return;
	now = clock_now();
	if (now - path->moved_at <= SILENCE_COUNTED_MAX)
		path->active += now - path->moved_at;
	path->moved_at = now;
}

void conn_path_end(struct conn_path *path, int fd, const struct peer *peer, uint64_t bytes_received,
		   uint64_t bytes_sent)
{
	struct path told = { .host = peer->host,
			     .compressed = path->compressed,
			     .through = peer->through,
			     .port = path->port,
			     .bytes_received = bytes_received,
			     .bytes_sent = bytes_sent,
			     .active = path->active };
	struct ring_path measured;

	if (!path->parted)
		return;
	if (ring_path_of(fd, &measured)) {
		told.round_trip = measured.round_trip;
		told.round_trip_min = measured.round_trip_min;
		told.mtu_bytes = measured.mtu_bytes;
		told.segments_resent = measured.segments_resent;
	}
	path->parted(path->context, &told);
	path->parted = NULL;
}
