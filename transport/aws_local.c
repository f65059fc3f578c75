#include "transport/aws_local.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "crypto/secret.h"
#include "engine/io.h"
#include "transport/http_trace.h"

enum {
	HTTP_PORT = 80, /* show() has it as a text */
	REQUEST_BYTES_MAX = 16 * 1024,
	RAW_BYTES_MAX = AWS_LOCAL_HEAD_BYTES_MAX + AWS_LOCAL_BODY_BYTES_MAX + 4096,
};

/* ---- addresses ---- */

bool aws_local_is_allowed(const union resolve_address *address)
{
	static const char *const allowed[] = { "169.254.169.254", "169.254.170.2", "169.254.170.23",
					       "fd00:ec2::254",	  "fd00:ec2::23",  "::1" };
	union resolve_address one;

	if (address->any.sa_family == AF_INET && ntohl(address->v4.sin_addr.s_addr) >> 24 == 127)
		return true;
	for (size_t i = 0; i < ARRAY_COUNT(allowed); i++) {
		must(resolve_literal(allowed[i], 0, &one));
		if (one.any.sa_family != address->any.sa_family)
			continue;
		if (one.any.sa_family == AF_INET
			    ? one.v4.sin_addr.s_addr == address->v4.sin_addr.s_addr
			    : memcmp(&one.v6.sin6_addr, &address->v6.sin6_addr,
				     sizeof one.v6.sin6_addr) == 0)
			return true;
	}
	return false;
}

/* ---- URLs ---- */

static bool take_port(const char *text, size_t bytes, uint16_t *port)
{
	unsigned long value = 0;

	for (size_t i = 0; i < bytes; i++) {
		if (text[i] < '0' || text[i] > '9' || value > UINT16_MAX)
			return false;
		value = value * 10 + (unsigned long)(text[i] - '0');
	}
	*port = (uint16_t)value;
	return value > 0 && value <= UINT16_MAX;
}

/* HOST, HOST:PORT, [V6] or [V6]:PORT. */
static bool take_authority(struct text from, union resolve_address *address)
{
	bool bracketed = from.bytes > 0 && *from.at == '[';
	const char *end =
		bracketed ? memchr(from.at, ']', from.bytes) : memchr(from.at, ':', from.bytes);
	size_t host_bytes = end ? (size_t)(end - from.at) - bracketed : from.bytes;
	size_t used = bracketed ? host_bytes + 2 : host_bytes;
	uint16_t port = HTTP_PORT;
	char host[64];

	if ((bracketed && !end) || host_bytes >= sizeof host)
		return false;
	snprintf(host, sizeof host, "%.*s", (int)host_bytes, from.at + bracketed);
	if (used < from.bytes &&
	    (from.at[used] != ':' || !take_port(from.at + used + 1, from.bytes - used - 1, &port)))
		return false;
	if (!bracketed && strcmp(host, "localhost") == 0)
		snprintf(host, sizeof host, "127.0.0.1");
	return resolve_literal(host, port, address) && aws_local_is_allowed(address);
}

static bool is_visible(const char *text)
{
	for (; *text; text++)
		if (*text <= ' ' || *text >= 0x7f || *text == '#')
			return false;
	return true;
}

enum err aws_local_parse(const char *what, const char *url, struct aws_local_place *place)
{
	static const char scheme[] = "http://";
	const char *rest = url + sizeof scheme - 1, *path;

	*place = (struct aws_local_place){ .target = "" };
	if (strncmp(url, scheme, sizeof scheme - 1) != 0 || !is_visible(url))
		return RAISE(ERR_INPUT_USAGE, "%s is no URL like http://169.254.170.2/PATH", what);
	path = rest + strcspn(rest, "/?");
	if (!take_authority((struct text){ rest, (size_t)(path - rest) }, &place->address))
		return RAISE(ERR_INPUT_USAGE,
			     "%s: without TLS only the addresses of AWS's own link-local services "
			     "and of this machine are asked; give an https:// URL",
			     what);
	if ((size_t)snprintf(place->target, sizeof place->target, "%s%s", *path == '/' ? "" : "/",
			     path) >= sizeof place->target)
		return RAISE(ERR_INPUT_USAGE, "%s is too long", what);
	return OK;
}

/* ---- asking ---- */

struct asking {
	char shown[RESOLVE_SHOWN_BYTES]; /* the value of Host, too */
	nsec until;
	int fd;
	struct io_receiver *receiver;
	char *raw; /* RAW_BYTES_MAX of the answer */
	size_t bytes;
	uint64_t exchange; /* in traces */
};

/* In `raw`, which is guarded: a field may hold a token. The answer comes into the same place. */
static enum err write_request(struct asking *asking, const struct aws_local_place *place,
			      const struct http_request *request, struct buffer *to)
{
	*to = (struct buffer){ .at = asking->raw,
			       .room = RAW_BYTES_MAX,
			       .bytes_max = REQUEST_BYTES_MAX };
	buffer_addf(to, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: mailhaul\r\n", request->method,
		    place->target, asking->shown);
	buffer_add_text(to, "Connection: close\r\n");
	for (size_t i = 0; i < request->fields_count; i++) {
		const struct http_field *field = &request->fields[i];

		must(http_parse_is_token(text_of(field->name)));
		if (!http_parse_is_value(field->value))
			return RAISE(ERR_INPUT_SECRET,
				     "the header field %s for %s would hold a control character",
				     field->name, asking->shown);
		buffer_addf(to, "%s: ", field->name);
		buffer_add(to, field->value.at, field->value.bytes);
		buffer_add_text(to, "\r\n");
	}
	if (strcmp(request->method, "PUT") == 0)
		buffer_add_text(to, "Content-Length: 0\r\n");
	buffer_add_text(to, "\r\n");
	return to->failed ? RAISE(ERR_INPUT_SECRET, "the token for %s is too long", asking->shown)
			  : OK;
}

/* What comes next, behind what is there. *ended: nothing does. No copy stays in the ring's buffers,
 * which are plain memory: without TLS the keys themselves arrive there. */
static enum err receive(struct asking *asking, bool *ended)
{
	struct ring_bytes got;
	enum err e = io_receive(asking->receiver, asking->until, &got);

	if (e)
		return e;
	*ended = got.length == 0;
	if (*ended)
		return OK;
	if (got.length <= RAW_BYTES_MAX - asking->bytes) {
		bytes_copy(asking->raw + asking->bytes, got.at, got.length, BYTES_META);
		asking->bytes += got.length;
	} else {
		e = RAISE(ERR_HTTP_SYNTAX, "%s answers with more than %d bytes", asking->shown,
			  AWS_LOCAL_BODY_BYTES_MAX);
	}
	secret_wipe((void *)(uintptr_t)got.at, got.length);
	io_release(asking->receiver, &got);
	return e;
}

static enum err receive_head(struct asking *asking, size_t *head_bytes, struct http_head *head)
{
	bool ended = false;
	enum err e;

	while (!(*head_bytes =
			 http_parse_head_bytes((struct text){ asking->raw, asking->bytes })) &&
	       asking->bytes <= AWS_LOCAL_HEAD_BYTES_MAX) {
		if (ended)
			return RAISE(ERR_STREAM_CUT, "%s ends its answer in the middle",
				     asking->shown);
		if ((e = receive(asking, &ended)))
			return e;
	}
	if (*head_bytes == 0 || *head_bytes > AWS_LOCAL_HEAD_BYTES_MAX)
		return RAISE(ERR_HTTP_SYNTAX, "%s answers with a head of more than %d bytes",
			     asking->shown, AWS_LOCAL_HEAD_BYTES_MAX);
	return http_parse_head((struct text){ asking->raw, *head_bytes }, false, head);
}

/* From what came behind the head on. The content moves to the front of where it lies. */
static enum err receive_body(struct asking *asking, size_t from, struct http_body *body,
			     struct aws_answer *answer)
{
	size_t used, kept = 0;
	struct text content;
	bool ended = false;
	enum err e = OK;

	while (!e && body->at != HTTP_AT_END) {
		if (from == asking->bytes && ended)
			return http_parse_body_ended(body);
		if (from == asking->bytes) {
			e = receive(asking, &ended);
			continue;
		}
		e = http_parse_body(body, (struct text){ asking->raw + from, asking->bytes - from },
				    &used, &content);
		from += e ? 0 : used;
		if (e || content.bytes == 0)
			continue;
		bytes_move(asking->raw + kept, content.at, content.bytes);
		kept += content.bytes;
		answer->body = (struct text){ asking->raw, kept };
		if (kept > AWS_LOCAL_BODY_BYTES_MAX)
			e = RAISE(ERR_HTTP_SYNTAX, "%s answers with more than %d bytes",
				  asking->shown, AWS_LOCAL_BODY_BYTES_MAX);
	}
	return e;
}

static enum err receive_answer(struct asking *asking, struct aws_answer *answer)
{
	struct http_body body = { 0 };
	struct http_head head;
	size_t head_bytes;
	enum err e;

	secret_wipe(asking->raw, RAW_BYTES_MAX);
	if ((e = receive_head(asking, &head_bytes, &head)))
		return e;
	http_trace_answer(asking->shown, asking->exchange, head.status,
			  (struct text){ asking->raw, head_bytes });
	if (head.status < 200)
		return RAISE(ERR_HTTP_SYNTAX, "%s says that it will answer, and nothing more",
			     asking->shown);
	answer->status = head.status;
	answer->body = (struct text){ asking->raw, 0 };
	http_parse_body_begin(&body, &head);
	e = receive_body(asking, head_bytes, &body, answer);
	http_parse_body_free(&body);
	return e;
}

static enum err converse(struct asking *asking, const struct aws_local_place *place,
			 const struct http_request *request, struct aws_answer *answer)
{
	socklen_t bytes = resolve_address_bytes(&place->address);
	struct buffer text;
	enum err e;

	if ((e = write_request(asking, place, request, &text)))
		return e;
	asking->exchange = http_trace_request(asking->shown, (struct text){ text.at, text.bytes },
					      request->hides_target);
	if ((e = io_connect(&place->address.any, bytes, asking->until, &asking->fd)))
		return e;
	if ((e = io_receiver_open(asking->fd, &asking->receiver)) == OK &&
	    (e = io_send(asking->fd, text.at, text.bytes, asking->until)) == OK)
		e = receive_answer(asking, answer);
	io_receiver_close(&asking->receiver);
	io_close(&asking->fd);
	return e;
}

/* "169.254.169.254", "127.0.0.1:8080": the usual port is not said, as every client has it. */
static void show(const union resolve_address *address, char to[RESOLVE_SHOWN_BYTES])
{
	static const char usual[] = ":80";
	size_t bytes = strlen(resolve_show(address, to)), n = sizeof usual - 1;

	if (bytes > n && strcmp(to + bytes - n, usual) == 0)
		to[bytes - n] = '\0';
}

enum err aws_local_ask(const struct aws_local_place *place, const struct http_request *request,
		       nsec until, struct aws_answer *answer)
{
	struct asking asking = { .until = until, .fd = -1 };
	enum err e;

	must(aws_local_is_allowed(&place->address)); /* nothing may ever leave the machine so */
	must(http_parse_is_token(text_of(request->method)) && place->target[0] == '/');
	*answer = (struct aws_answer){ .room = secret_room_open(RAW_BYTES_MAX) };
	if (!answer->room)
		return RAISE(ERR_MEMORY_EXHAUSTED, "asking a service of AWS beside this machine");
	asking.raw = answer->room;
	show(&place->address, asking.shown);
	e = converse(&asking, place, request, answer);
	if (e)
		aws_answer_close(answer);
	return e;
}
