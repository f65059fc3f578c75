/* What a connection was like while it lasted: the time in which its bytes moved, and what the
 * kernel measured of its way. Told once, when it ends. Nothing here suspends. */
#ifndef MAILHAUL_CONN_PATH_H
#define MAILHAUL_CONN_PATH_H

#include "engine/source.h"

/* The part of a conn that this is about. Zero-initialised: nobody wants to know. */
struct conn_path {
	void (*parted)(void *context, const struct path *);
	void *context;
	uint16_t port;
	bool compressed;
	nsec moved_at, active;
};

void conn_path_begin(struct conn_path *, const struct account *, uint16_t port);
/* Bytes came, or went. A silence longer than a second before it is not counted. */
void conn_path_moved(struct conn_path *);
/* Tells the account's parted(). The socket is still open. */
void conn_path_end(struct conn_path *, int fd, const struct peer *, uint64_t bytes_received,
		   uint64_t bytes_sent);

#endif
