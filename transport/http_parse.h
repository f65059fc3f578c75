/* What a server answers in HTTP/1.1 (RFC 9112), from bytes in memory: the head whole, the body in
 * whatever pieces it comes. Knows no connection. Where the standard lets a client repair what is
 * ambiguous, this one refuses: two parties that read one answer differently is how answers are
 * smuggled (RFC 9112 section 11.2). */
#ifndef MAILHAUL_HTTP_PARSE_H
#define MAILHAUL_HTTP_PARSE_H

#include "engine/bytes.h"
#include "engine/err.h"

enum {
	HTTP_HEAD_BYTES_MAX = 32 * 1024, /* servers' own limits are 8 to 16 KiB */
	HTTP_FIELDS_MAX = 100,
	HTTP_TRAILER_BYTES_MAX = 8 * 1024,
	HTTP_CHUNK_LINE_BYTES_MAX = 256, /* a size and extensions nobody has a use for */
};

enum http_framing {
	HTTP_NO_BODY,
	HTTP_LENGTH,  /* body_bytes of them */
	HTTP_CHUNKED, /* RFC 9112 section 7.1 */
	HTTP_TO_END,  /* until the connection ends */
};

struct http_head {
	unsigned status;    /* 100 to 599 */
	struct text fields; /* the lines of the fields; borrows the text that was parsed */
	enum http_framing framing;
	uint64_t body_bytes;
	bool keeps_alive; /* another request may follow on this connection */
	nsec keeps_for;	  /* so long it may be idle before (RFC 2068 section 19.7.1.1); 0: unsaid */
};

/* The bytes of the head that `from` begins with, its empty line included; 0: it is not there in
 * full yet. */
size_t http_parse_head_bytes(struct text from);
/* A whole head. `to_head`: it answers a HEAD, so there is no body. ERR_HTTP_SYNTAX; `out` is then
 * not to be used. */
enum err http_parse_head(struct text head, bool to_head, struct http_head *out) MUST_CHECK;
/* The value of the first field of that name (any case), without the spaces around it; false: there
 * is none. `fields` is of a head, or trailers. */
bool http_parse_field(struct text fields, const char *name, struct text *value);
/* The same, terminated and cut to fit; "" where there is none. */
void http_parse_copy_field(struct text fields, const char *name, char *to, size_t room);
/* A number of decimal digits, at most `max`; false: it is none. */
bool http_parse_number(struct text, uint64_t max, uint64_t *out);
/* A token, RFC 9110 section 5.6.2. */
bool http_parse_is_token(struct text);
/* What may be a field's value: no control bytes but the tab, RFC 9110 section 5.5. */
bool http_parse_is_value(struct text);

/* Where in a body we are. Set up by http_parse_body_begin(). */
struct http_body {
	enum http_framing framing;
	enum http_body_at {
		HTTP_AT_DATA,
		HTTP_AT_CHUNK_SIZE,
		HTTP_AT_CHUNK_END,
		HTTP_AT_TRAILERS,
		HTTP_AT_END,
	} at;
	uint64_t left;		/* of the length or the chunk */
	uint64_t bytes;		/* of content so far */
	struct buffer line;	/* the one that has come in part */
	struct buffer trailers; /* lines of fields, when HTTP_AT_END */
	unsigned trailers_count;
};
void http_parse_body_begin(struct http_body *, const struct http_head *);
void http_parse_body_free(struct http_body *);
/* Take what comes next. *used bytes of `from` are done with; `content` is what of them is the
 * body's, and lies in `from` (perhaps none). Stops behind each piece of content and at the end, so
 * call again while something is left and the body is not at its end. ERR_HTTP_SYNTAX. */
enum err http_parse_body(struct http_body *, struct text from, size_t *used,
			 struct text *content) MUST_CHECK;
/* How many bytes of content come next, so that nothing else can be among them, and may be read to
 * where they belong instead; 0: none, or what comes next is http_parse_body()'s to see. */
uint64_t http_parse_body_straight(const struct http_body *);
/* So many of them were. */
void http_parse_body_took(struct http_body *, uint64_t bytes);
/* The connection has ended: whether the body may end there. ERR_STREAM_CUT. */
enum err http_parse_body_ended(const struct http_body *) MUST_CHECK;

#endif
