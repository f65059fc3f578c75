/* The JSON of our own files: one flat object at a time, written in order, read by a table. Not a
 * general parser: values of members nobody asked for are skipped, nested ones too. No allocation,
 * no recursion, so a hostile file costs nothing but an error. */
#ifndef MAILHAUL_JSON_H
#define MAILHAUL_JSON_H

#include "engine/bytes.h"

/* Writing: json_begin, members in order, json_end (which adds LF). */
void json_begin(struct buffer *);
void json_add_text(struct buffer *, const char *key, struct text value);
void json_add_number(struct buffer *, const char *key, uint64_t value);
void json_add_bool(struct buffer *, const char *key, bool value);
void json_add_hex(struct buffer *, const char *key, const uint8_t *from, size_t n);
/* Text that was escaped before (json_escape), for members that repeat line after line. */
void json_add_escaped(struct buffer *, const char *key, struct text escaped);
void json_escape(struct buffer *, struct text value);
void json_end(struct buffer *);

enum json_kind {
	JSON_TEXT,   /* char[room], terminated; NUL in it or more than fits: refused */
	JSON_NUMBER, /* uint64_t */
	JSON_BOOL,   /* bool */
	JSON_HEX,    /* uint8_t[room], exactly; "" only where it is optional: left as it is */
};
struct json_field {
	const char *key;
	enum json_kind kind;
	bool optional;
	size_t offset, room;
};
#define JSON_FIELD(key_text, json_kind_, type, member)                                             \
	{                                                                                          \
		.key = (key_text), .kind = (json_kind_), .offset = offsetof(type, member),         \
		.room = sizeof(((type *)NULL)->member)                                             \
	}
#define JSON_FIELD_OPTIONAL(key_text, json_kind_, type, member)                                    \
	{                                                                                          \
		.key = (key_text), .kind = (json_kind_), .optional = true,                         \
		.offset = offsetof(type, member), .room = sizeof(((type *)NULL)->member)           \
	}
enum { JSON_FIELDS_MAX = 32, JSON_DEPTH_MAX = 8 };

/* One object, with white space around it at most. False: it is none, a member is doubled, a field
 * is missing or of another kind. `to` may then be half filled. */
bool json_read(struct text object, const struct json_field *, size_t fields_count,
	       void *to) MUST_CHECK;

/* Decimal digits, not terminated; printf() costs ten times as much, and a message has a dozen
 * numbers. `digits` is the room; what is returned lies at its end. */
enum { JSON_DIGITS_MAX = 20 };
struct text json_digits(char digits[JSON_DIGITS_MAX], uint64_t value);

/* Length of the UTF-8 character that starts here, 0 if it is not valid (RFC 3629). */
size_t json_utf8_bytes(const char *at, size_t n);

#endif
