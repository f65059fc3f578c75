#include "transport/proxy.h"

#include <stdlib.h>

#include "engine/bytes.h"
#include "transport/proxy_talk.h"

/* The ring's errors do not know what was being done. */
static enum err name_talk(const struct proxy_talk *talk, enum err e, bool had_note)
{
	int errno_value = err_note()->errno_value;

	if (e == ERR_FIBER_CANCELED || had_note)
		return e;
	err_note_clear();
	if (e == ERR_NET_TIMEOUT)
		return RAISE(e, "%s: it did not answer in time", talk->shown);
	return errno_value ? RAISE_ERRNO(e, errno_value, "%s", talk->shown)
			   : RAISE(e, "%s", talk->shown);
}

static enum err converse(struct proxy_talk *talk, int fd, struct io_receiver *receiver, nsec until,
			 struct ring_bytes *arrived, uint32_t *arrived_used)
{
	bool had_note = err_note()->error != OK;
	struct text heard;
	size_t used;
	enum err e = OK;

	while (e == OK && !talk->done) {
		if (talk->say_bytes && (e = io_send(fd, talk->say, talk->say_bytes, until)))
			return name_talk(talk, e, had_note);
		proxy_talk_end(talk); /* what was said is not needed any more */
		if ((e = io_receive(receiver, until, arrived)))
			return name_talk(talk, e, had_note);
		if (arrived->length == 0)
			return RAISE(ERR_NET_CLOSED, "%s: it closed the connection", talk->shown);
		heard = (struct text){ (const char *)arrived->at, arrived->length };
		e = proxy_talk_hear(talk, heard, &used);
		*arrived_used = (uint32_t)used;
		if (e || used == arrived->length) {
			io_release(receiver, arrived);
			arrived->length = 0;
		}
	}
	return e;
}

enum err proxy_connect(const struct route *route, const char *host, uint16_t port, int fd,
		       struct io_receiver *receiver, nsec until, struct ring_bytes *arrived,
		       uint32_t *arrived_used)
{
	struct proxy_talk *talk = calloc(1, sizeof *talk);
	enum err e;

	*arrived = (struct ring_bytes){ 0 };
	*arrived_used = 0;
	if (!talk)
		return RAISE(ERR_MEMORY_EXHAUSTED, "talking to the proxy %s", route->shown);
	if ((e = proxy_talk_begin(talk, route, host, port)) == OK)
		e = converse(talk, fd, receiver, until, arrived, arrived_used);
	proxy_talk_end(talk);
	free(talk);
	return e;
}
