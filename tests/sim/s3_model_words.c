/* The words of a request to the S3 stand-in: head, target, escapes, times, elements of XML. */
#include "tests/sim/s3_model_state.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <time.h>

/* ---- looking up ---- */

const struct s3_model_header *s3_model_header(const struct s3_model_request *r, const char *name)
{
	for (unsigned i = 0; i < r->headers_count; i++)
		if (strcmp(r->headers[i].name, name) == 0)
			return &r->headers[i];
	return NULL;
}

bool s3_model_header_text(const struct s3_model_request *r, const char *name, char *to, size_t max)
{
	const struct s3_model_header *header = s3_model_header(r, name);

	to[0] = '\0';
	if (!header || header->value.bytes >= max)
		return false;
	snprintf(to, max, "%.*s", (int)header->value.bytes, header->value.at);
	return true;
}

bool s3_model_header_is(const struct s3_model_request *r, const char *name, const char *value)
{
	const struct s3_model_header *header = s3_model_header(r, name);

	return header && text_equal(header->value, text_of(value));
}

const char *s3_model_query(const struct s3_model_request *r, const char *name)
{
	for (unsigned i = 0; i < r->queries_count; i++)
		if (strcmp(r->queries[i].name, name) == 0)
			return r->queries[i].value;
	return NULL;
}

bool s3_model_number(const char *text, uint64_t *number)
{
	char *end;

	if (!isdigit((unsigned char)text[0]) || strlen(text) > 18)
		return false;
	*number = strtoull(text, &end, 10);
	return *end == '\0';
}

/* ---- escapes ---- */

void s3_model_encode(struct buffer *to, const char *from, size_t n, bool path)
{
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)from[i];

		if (isalnum(c) || strchr("-._~", c) || (path && c == '/'))
			buffer_add(to, &from[i], 1);
		else
			buffer_addf(to, "%%%02X", c);
	}
}

bool s3_model_decode(struct text from, bool query, char *to, size_t max, size_t *bytes)
{
	size_t n = 0;

	for (size_t i = 0; i < from.bytes; i++, n++) {
		uint8_t c = (uint8_t)from.at[i];

		if (n + 1 >= max)
			return false;
		if (c == '%') {
			if (i + 2 >= from.bytes ||
			    !bytes_from_hex(&c, 1, (struct text){ from.at + i + 1, 2 }))
				return false;
			i += 2;
		} else if (c == '+' && query) {
			c = ' ';
		}
		to[n] = (char)c;
	}
	to[n] = '\0';
	*bytes = n;
	return true;
}

/* ---- times ---- */

static struct tm parts_of(int64_t seconds)
{
	time_t at = (time_t)seconds;
	struct tm parts;

	must(gmtime_r(&at, &parts));
	return parts;
}

void s3_model_iso_time(char to[32], int64_t seconds)
{
	struct tm parts = parts_of(seconds);

	must(strftime(to, 32, "%Y-%m-%dT%H:%M:%S.000Z", &parts));
}

void s3_model_http_time(char to[32], int64_t seconds)
{
	struct tm parts = parts_of(seconds);

	must(strftime(to, 32, "%a, %d %b %Y %H:%M:%S GMT", &parts));
}

bool s3_model_parse_time(const char *text, int64_t *seconds)
{
	struct tm parts = { 0 };
	const char *end = strptime(text, "%Y%m%dT%H%M%S", &parts);

	if (!end)
		end = strptime(text, "%Y-%m-%dT%H:%M:%S", &parts);
	if (!end)
		return false;
	if (*end == '.')
		end += 1 + strspn(end + 1, "0123456789");
	if (strcmp(end, "Z") != 0)
		return false;
	*seconds = timegm(&parts);
	return true;
}

/* ---- XML ---- */

/* The children of interest have names of their own, so the first match will do. */
bool s3_model_element(struct text *at, const char *tag, struct text *inside)
{
	char open[72], close[72];
	const char *start, *end;

	snprintf(open, sizeof open, "<%s>", tag);
	snprintf(close, sizeof close, "</%s>", tag);
	start = memmem(at->at, at->bytes, open, strlen(open));
	if (!start)
		return false;
	start += strlen(open);
	end = memmem(start, at->bytes - (size_t)(start - at->at), close, strlen(close));
	if (!end)
		return false;
	*inside = (struct text){ start, (size_t)(end - start) };
	end += strlen(close);
	*at = (struct text){ end, at->bytes - (size_t)(end - at->at) };
	return true;
}

/* ---- the head of a request, RFC 9112 ---- */

static bool read_query(struct s3_model_request *r, struct text query)
{
	while (query.bytes) {
		const char *end = memchr(query.at, '&', query.bytes);
		struct text pair = { query.at, end ? (size_t)(end - query.at) : query.bytes };
		const char *is = memchr(pair.at, '=', pair.bytes);
		struct text name = { pair.at, is ? (size_t)(is - pair.at) : pair.bytes };
		struct s3_model_query *q = &r->queries[r->queries_count];
		struct text value = { is ? is + 1 : "", is ? pair.bytes - name.bytes - 1 : 0 };
		size_t n;

		if (r->queries_count == S3_MODEL_QUERIES_MAX ||
		    !s3_model_decode(name, true, q->name, sizeof q->name, &n) ||
		    !s3_model_decode(value, true, q->value, sizeof q->value, &n))
			return s3_model_refuse(r, 400, "InvalidURI", "Couldn't parse the URI.");
		q->has_value = is;
		r->queries_count++;
		query.bytes -= pair.bytes + (end ? 1 : 0);
		query.at += pair.bytes + (end ? 1 : 0);
	}
	return true;
}

static bool read_target(struct s3_model_request *r)
{
	const char *mark = memchr(r->target.at, '?', r->target.bytes);
	size_t n = mark ? (size_t)(mark - r->target.at) : r->target.bytes;

	if (n == 0 || r->target.at[0] != '/' ||
	    !s3_model_decode((struct text){ r->target.at, n }, false, r->path, sizeof r->path,
			     &r->path_bytes) ||
	    strlen(r->path) != r->path_bytes)
		return s3_model_refuse(r, 400, "InvalidURI", "Couldn't parse the URI.");
	return !mark || read_query(r, (struct text){ mark + 1, r->target.bytes - n - 1 });
}

static struct text trim(struct text value)
{
	while (value.bytes && (*value.at == ' ' || *value.at == '\t'))
		value = (struct text){ value.at + 1, value.bytes - 1 };
	while (value.bytes && strchr(" \t", value.at[value.bytes - 1]))
		value.bytes--;
	return value;
}

static bool read_header(struct s3_model_request *r, struct text line)
{
	static const char tchar[] = "!#$%&'*+-.^_`|~";
	const char *colon = memchr(line.at, ':', line.bytes);
	size_t n = colon ? (size_t)(colon - line.at) : 0;
	struct s3_model_header *header = &r->headers[r->headers_count];

	if (n == 0 || n >= sizeof header->name || r->headers_count == S3_MODEL_HEADERS_MAX)
		return s3_model_refuse(r, 400, "BadRequest", "A header line is malformed.");
	for (size_t i = 0; i < n; i++) {
		if (!isalnum((unsigned char)line.at[i]) && !strchr(tchar, line.at[i]))
			return s3_model_refuse(r, 400, "BadRequest", "A header name is malformed.");
		header->name[i] = (char)tolower((unsigned char)line.at[i]);
	}
	header->name[n] = '\0';
	header->value = trim((struct text){ colon + 1, line.bytes - n - 1 });
	for (size_t i = 0; i < header->value.bytes; i++)
		if ((unsigned char)header->value.at[i] < ' ' && header->value.at[i] != '\t')
			return s3_model_refuse(r, 400, "BadRequest",
					       "A header has a control character.");
	if (s3_model_header(r, header->name))
		return s3_model_refuse(r, 400, "BadRequest", "Header %s comes twice.",
				       header->name);
	r->headers_count++;
	return true;
}

/* METHOD SP target SP HTTP/1.1 */
static bool read_request_line(struct s3_model_request *r, struct text line)
{
	const char *first = memchr(line.at, ' ', line.bytes);
	size_t n = first ? (size_t)(first - line.at) : 0;
	static const char version[] = " HTTP/1.1";

	if (n == 0 || n >= sizeof r->method || line.bytes < n + 2 + strlen(version) ||
	    memcmp(line.at + line.bytes - strlen(version), version, strlen(version)) != 0)
		return s3_model_refuse(r, 400, "BadRequest", "The request line is malformed.");
	snprintf(r->method, sizeof r->method, "%.*s", (int)n, line.at);
	r->target = (struct text){ first + 1, line.bytes - n - 1 - strlen(version) };
	if (memchr(r->target.at, ' ', r->target.bytes))
		return s3_model_refuse(r, 400, "BadRequest", "The request line is malformed.");
	return true;
}

bool s3_model_read_head(struct s3_model_request *r, struct text head)
{
	bool is_first = true;

	while (head.bytes) {
		const char *end = memmem(head.at, head.bytes, "\r\n", 2);
		struct text line = { head.at, end ? (size_t)(end - head.at) : head.bytes };

		if (!(is_first ? read_request_line(r, line) : read_header(r, line)))
			return false;
		is_first = false;
		head.at += min_u64(line.bytes + 2, head.bytes);
		head.bytes -= min_u64(line.bytes + 2, head.bytes);
	}
	if (!s3_model_header(r, "host"))
		return s3_model_refuse(r, 400, "MissingHost", "The request has no Host.");
	return read_target(r);
}
