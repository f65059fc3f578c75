/* ring_direct.h: truncate, lock, socket; reading a directory; what a socket's way is like. */
#include "engine/ring_direct.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/file.h>
#include <unistd.h>

#include "engine/bytes.h"

typedef int direct_verb(struct ring_op *);

static int direct_truncate(struct ring_op *op)
{
	return ftruncate(op->fd, op->offset) == 0 ? 0 : -errno;
}

static int direct_lock(struct ring_op *op)
{
	return flock(op->fd, LOCK_EX | LOCK_NB) == 0 ? 0 : -errno;
}

int ring_direct_open(const struct ring_op *op)
{
	int fd = op->verb == RING_LIST ? open(op->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
				       : open(op->path, op->flags, (mode_t)op->mode);

	return fd >= 0 ? fd : -errno;
}

int ring_direct_list(struct ring_op *op, int fd)
{
	DIR *directory = fdopendir(fd); /* takes fd */
	const struct dirent *entry;
	int result = -errno;

	if (!directory) {
		close(fd);
		return result;
	}
	while (errno = 0, (entry = readdir(directory)) != NULL)
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			buffer_add(op->names, entry->d_name, strlen(entry->d_name) + 1);
	result = op->names->failed ? -ENOBUFS : -errno;
	closedir(directory);
	return result;
}

static int direct_socket(struct ring_op *op)
{
	int on = 1, result, fd = socket(op->flags, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	/* What we send is large, or somebody waits for it. No such option on AF_UNIX. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	if (!op->address)
		return fd;
	/* The port is chosen when it connects, so that one is enough for many peers. */
	(void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
	if (bind(fd, op->address, op->address_bytes) == 0)
		return fd;
	result = -errno;
	close(fd);
	return result;
}

int ring_address_check(const struct sockaddr *address, socklen_t address_bytes)
{
	struct ring_op op = { .verb = RING_SOCKET,
			      .flags = address->sa_family,
			      .address = address,
			      .address_bytes = address_bytes };
	int fd = direct_socket(&op);

	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

bool ring_path_of(int fd, struct ring_path *path)
{
	struct tcp_info info = { 0 };
	socklen_t bytes = sizeof info;

	*path = (struct ring_path){ 0 };
	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &bytes) != 0 ||
	    bytes < offsetof(struct tcp_info, tcpi_min_rtt) + sizeof info.tcpi_min_rtt)
		return false;
	path->round_trip = info.tcpi_rtt * NSEC_MICROSECOND;
	if (info.tcpi_min_rtt != UINT32_MAX) /* not measured yet */
		path->round_trip_min = info.tcpi_min_rtt * NSEC_MICROSECOND;
	path->segments_resent = info.tcpi_total_retrans;
	path->mtu_bytes = info.tcpi_pmtu;
	return true;
}

void ring_direct_acknowledge(int fd)
{
	int on = 1;

	/* The kernel forgets it with the next that is sent. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on);
}

static direct_verb *const direct[RING_VERB_COUNT] = {
	[RING_TRUNCATE] = direct_truncate,
	[RING_LOCK] = direct_lock,
	[RING_SOCKET] = direct_socket,
};

bool ring_direct_has(enum ring_verb verb)
{
	must((unsigned)verb < RING_VERB_COUNT);
	return direct[verb] != NULL;
}

int ring_direct_do(struct ring_op *op)
{
	must(ring_direct_has(op->verb));
	return direct[op->verb](op);
}
