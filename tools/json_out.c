#include "tools/json_out.h"

#include "tools/terminal.h"

static void write_escaped(FILE *file, struct text value)
{
	while (value.bytes) {
		uint32_t code;
		size_t bytes = utf8_take(value, &code);

		if (!bytes) {
			fputs("\\ufffd", file);
			bytes = 1;
		} else if (code == '"' || code == '\\') {
			fprintf(file, "\\%c", (char)code);
		} else if (code == '\n') {
			fputs("\\n", file);
		} else if (code < 0x20 || code == 0x7f) {
			fprintf(file, "\\u%04x", code);
		} else {
			fwrite(value.at, 1, bytes, file);
		}
		value.at += bytes;
		value.bytes -= bytes;
	}
}

static void begin_value(struct json_out *json, const char *key)
{
	must(json->file != NULL);
	if (json->filled[json->depth])
		fputc(',', json->file);
	json->filled[json->depth] = true;
	if (!key)
		return;
	must(json->depth > 0);
	fputc('"', json->file);
	write_escaped(json->file, text_of(key));
	fputs("\":", json->file);
}

static void open_level(struct json_out *json, const char *key, char mark)
{
	begin_value(json, key);
	fputc(mark, json->file);
	must(json->depth + 1 < JSON_OUT_DEPTH_MAX);
	json->filled[++json->depth] = false;
}

static void close_level(struct json_out *json, char mark)
{
	must(json->depth > 0);
	json->depth--;
	fputc(mark, json->file);
}

void json_object_begin(struct json_out *json, const char *key)
{
	open_level(json, key, '{');
}

void json_object_end(struct json_out *json)
{
	close_level(json, '}');
}

void json_array_begin(struct json_out *json, const char *key)
{
	open_level(json, key, '[');
}

void json_array_end(struct json_out *json)
{
	close_level(json, ']');
}

void json_text_bytes(struct json_out *json, const char *key, struct text value)
{
	begin_value(json, key);
	fputc('"', json->file);
	write_escaped(json->file, value);
	fputc('"', json->file);
}

void json_text(struct json_out *json, const char *key, const char *value)
{
	json_text_bytes(json, key, text_of(value));
}

void json_number(struct json_out *json, const char *key, uint64_t value)
{
	begin_value(json, key);
	fprintf(json->file, "%llu", (unsigned long long)value);
}

void json_signed(struct json_out *json, const char *key, int64_t value)
{
	begin_value(json, key);
	fprintf(json->file, "%lld", (long long)value);
}

void json_number_decimal(struct json_out *json, const char *key, double value)
{
	begin_value(json, key);
	/* Infinities and NaN have no spelling in JSON (RFC 8259 section 6). */
	if (__builtin_isfinite(value))
		fprintf(json->file, "%.3f", value);
	else
		fputs("null", json->file);
}

void json_bool(struct json_out *json, const char *key, bool value)
{
	begin_value(json, key);
	fputs(value ? "true" : "false", json->file);
}

void json_null(struct json_out *json, const char *key)
{
	begin_value(json, key);
	fputs("null", json->file);
}

void json_line_end(struct json_out *json)
{
	must(json->depth == 0);
	json->filled[0] = false;
	fputc('\n', json->file);
}
