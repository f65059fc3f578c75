/* Writing JSON (RFC 8259), value by value, to a file: for --json. Text that is not UTF-8 is written
 * with U+FFFD in its place, so the output always parses. Not for reading JSON: see
 * transport/json.h. */
#ifndef MAILHAUL_TOOLS_JSON_OUT_H
#define MAILHAUL_TOOLS_JSON_OUT_H

#include <stdio.h>

#include "engine/base.h"

enum { JSON_OUT_DEPTH_MAX = 16 };
/* Zero-initialised but for `file` is valid: nothing written yet. */
struct json_out {
	FILE *file;
	unsigned depth;
	bool filled[JSON_OUT_DEPTH_MAX]; /* something stands in this level already: a comma is due
					  */
};

/* `key` is NULL inside arrays and at the top. */
void json_object_begin(struct json_out *, const char *key);
void json_object_end(struct json_out *);
void json_array_begin(struct json_out *, const char *key);
void json_array_end(struct json_out *);
void json_text(struct json_out *, const char *key, const char *value);
void json_text_bytes(struct json_out *, const char *key, struct text value);
void json_number(struct json_out *, const char *key, uint64_t value);
void json_signed(struct json_out *, const char *key, int64_t value);
/* With three decimals. */
void json_number_decimal(struct json_out *, const char *key, double value);
void json_bool(struct json_out *, const char *key, bool value);
void json_null(struct json_out *, const char *key);
/* One value per line: ends the line; every level must be closed. */
void json_line_end(struct json_out *);

#endif
