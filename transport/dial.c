/* Connecting to one of several addresses: see dial.h. */
#include "transport/dial.h"

#include <stdio.h>

#include "engine/bytes.h"
#include "engine/clock.h"
#include "engine/io.h"
#include "transport/residency.h"

#define SHARE_MIN (2 * NSEC_SECOND)

void dial_show(const char *host, uint16_t port, char *to, size_t room)
{
	bool is_v6_literal = strchr(host, ':') != NULL;

	snprintf(to, room, is_v6_literal ? "[%.120s]:%u" : "%.120s:%u", host, port);
}

static bool is_of_address(enum err e)
{
	return e == ERR_NET_REFUSED || e == ERR_NET_UNREACHABLE || e == ERR_NET_TIMEOUT ||
	       e == ERR_NET_RESET || e == ERR_NET_CLOSED;
}

/* What became of each address, for the note. */
struct attempts {
	enum err error; /* the one to report: any says more than "unreachable" */
	bool had_note;
	struct buffer text;
};

static void attempt_failed(struct attempts *attempts, const char *address, enum err e)
{
	int errno_value = attempts->had_note ? 0 : err_note()->errno_value;

	if (!attempts->had_note)
		err_note_clear();
	buffer_addf(&attempts->text, "%s%s: %s", attempts->text.bytes ? "; " : "", address,
		    e == ERR_NET_TIMEOUT ? "no answer in time"
		    : errno_value	 ? strerrordesc_np(errno_value)
					 : err_text(e));
	if (!attempts->error || attempts->error == ERR_NET_UNREACHABLE)
		attempts->error = e;
}

/* Each address gets an even share of the time that is left, but at least SHARE_MIN; what one does
 * not use is the others'. */
static enum err dial_any(const struct resolve_list *list, const struct sockaddr *from, nsec until,
			 struct attempts *attempts, int *fd, char address[RESOLVE_SHOWN_BYTES])
{
	nsec share;
	enum err e;

	for (unsigned i = 0; i < list->count && clock_now() < until; i++) {
		const union resolve_address *at = &list->addresses[i];

		resolve_show(at, address);
		share = (until - clock_now()) / (list->count - i);
		share = share < SHARE_MIN ? SHARE_MIN : share;
		e = io_connect_from(from, &at->any, resolve_address_bytes(at),
				    min_nsec(until, clock_after(share)), fd);
		if (!is_of_address(e))
			return e; /* connected, or nothing that another address would mend */
		attempt_failed(attempts, address, e);
	}
	return attempts->error ? attempts->error : ERR_NET_TIMEOUT;
}

static enum err dial_list_from(const char *shown, const struct resolve_list *list,
			       const struct sockaddr *from, nsec until, int *fd,
			       char address[RESOLVE_SHOWN_BYTES])
{
	struct attempts attempts = { .had_note = err_note()->error != OK };
	enum err e;

	*fd = -1;
	if ((e = residency_guard_addresses(shown, list)))
		return e;
	e = dial_any(list, from, until, &attempts, fd, address);
	must((e == OK) == (*fd >= 0));
	if (is_of_address(e) && attempts.text.bytes == 0)
		e = RAISE(e, "connecting to %s: no time was left", shown);
	else if (is_of_address(e))
		e = RAISE(e, "connecting to %s: %.*s", shown, (int)attempts.text.bytes,
			  attempts.text.at);
	buffer_free(&attempts.text);
	return e;
}

enum err dial_list(const char *shown, const struct resolve_list *list, nsec until, int *fd,
		   char address[RESOLVE_SHOWN_BYTES])
{
	return dial_list_from(shown, list, NULL, until, fd, address);
}

/* Only addresses that can be reached from `from`. */
static enum err keep_family(struct resolve_list *list, const struct route *route, const char *shown)
{
	bool is_v6 = route->from.any.sa_family == AF_INET6;
	unsigned kept = 0;

	for (unsigned i = 0; i < list->count; i++)
		if (list->addresses[i].any.sa_family == route->from.any.sa_family)
			list->addresses[kept++] = list->addresses[i];
	list->count = kept;
	return kept ? OK
		    : RAISE(ERR_NET_UNREACHABLE,
			    "connecting to %s from %s: it has no IPv%d address", shown,
			    route->from_shown, is_v6 ? 6 : 4);
}

static enum err dial_host(const struct route *route, const char *shown, const char *host,
			  uint16_t port, nsec until, int *fd, char address[RESOLVE_SHOWN_BYTES])
{
	bool has_from = route && route->has_from;
	struct resolve_list list;
	enum err e;

	if ((e = resolve(host, port, until, &list)))
		return e;
	if (has_from && (e = keep_family(&list, route, shown)))
		return e;
	return dial_list_from(shown, &list, has_from ? &route->from.any : NULL, until, fd, address);
}

/* What went wrong on the way to the proxy does not say where the proxy should have led. */
static enum err name_target(enum err e, bool had_note, const char *shown)
{
	struct err_note *note = err_note();
	char text[ERR_NOTE_BYTES_MAX];
	int errno_value = note->errno_value;

	if (!e || had_note || note->error != e || strstr(note->text, shown))
		return e;
	snprintf(text, sizeof text, "%s", note->text);
	err_note_clear();
	return errno_value ? RAISE_ERRNO(e, errno_value, "%s: %s", shown, text)
			   : RAISE(e, "%s: %s", shown, text);
}

enum err dial(const struct route *route, const char *host, uint16_t port, nsec until, int *fd,
	      char address[RESOLVE_SHOWN_BYTES])
{
	bool is_proxied = route && route->kind != ROUTE_STRAIGHT;
	bool had_note = err_note()->error != OK;
	char target[RESOLVE_HOST_BYTES_MAX], shown[ERR_NOTE_BYTES_MAX / 2 + 100];
	enum err e;

	*fd = -1;
	dial_show(host, port, target, sizeof target);
	if ((e = residency_guard_host(host, is_proxied)))
		return e;
	if (!is_proxied)
		return dial_host(route, target, host, port, until, fd, address);
	if ((e = residency_guard_host(route->host, false)))
		return name_target(e, had_note, target);
	snprintf(shown, sizeof shown, "the proxy %.140s towards %.120s", route->shown, target);
	e = dial_host(route, shown, route->host, route->port, until, fd, address);
	return name_target(e, had_note, shown);
}
