/* Moving bytes, and counting who does. Payload may be copied through bytes_copy() only; the bench
 * prints copies per message byte, and that number is reviewed like a test. tools/lint.py refuses a
 * memcpy or memmove of variable length anywhere else. */
#ifndef MAILHAUL_BYTES_H
#define MAILHAUL_BYTES_H

#include "engine/base.h"

enum bytes_why {
	BYTES_META,	 /* not payload: names, lines, heads; not counted as payload */
	BYTES_LINE_TAIL, /* read past a literal's head together with the line before it */
	BYTES_FRAME,	 /* gathered into one span for the one-shot compressor */
	BYTES_STORE,	 /* into the store's aligned write buffer */
	BYTES_EXTRACT,	 /* reading an archive back */
	BYTES_PARCEL,	 /* gathered until a parcel of messages is sealed */
	BYTES_RECORD,	 /* small messages gathered into whole TLS records */
	BYTES_WHY_COUNT
};

/* Copy n bytes; the spans do not overlap. Counts per reason in a thread-local table. */
void bytes_copy(void *to, const void *from, size_t n, enum bytes_why);
/* The same for spans that may overlap; always BYTES_META. */
void bytes_move(void *to, const void *from, size_t n);
uint64_t bytes_copied(enum bytes_why);
const char *bytes_why_name(enum bytes_why);

void bytes_put_le32(uint8_t to[4], uint32_t);
void bytes_put_le64(uint8_t to[8], uint64_t);
uint32_t bytes_get_le32(const uint8_t from[4]);
uint64_t bytes_get_le64(const uint8_t from[8]);

/* Lower-case hexadecimal; `to` holds 2n+1 bytes and is terminated. */
void bytes_to_hex(char *to, const uint8_t *from, size_t n);
/* False unless `from` is exactly 2n hexadecimal digits. */
bool bytes_from_hex(uint8_t *to, size_t n, struct text from);
/* Bytes of the UTF-8 character that starts here (RFC 3629); 0 if none does. */
size_t bytes_utf8_length(const void *from, size_t n);

/* A growing buffer for what is not payload (command text, index lines). bytes_max bounds it; past
 * that or without memory it keeps what it has and `failed` stays true until the next reset. What is
 * inside is always followed by a NUL that does not count. Zero-initialised is valid and empty;
 * release with buffer_free(). */
struct buffer {
	char *at;
	size_t bytes, room, bytes_max; /* bytes_max 0: BUFFER_BYTES_MAX */
	bool failed;
};
enum { BUFFER_BYTES_MAX = 64 * 1024 * 1024 };
void buffer_add(struct buffer *, const void *from, size_t n);
void buffer_add_text(struct buffer *, const char *string);
void buffer_addf(struct buffer *, const char *format, ...) PRINTF_LIKE(2, 3);
/* Keeps the memory. */
void buffer_reset(struct buffer *);
void buffer_free(struct buffer *);

#endif
