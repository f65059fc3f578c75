/* Reading: what an object is, and ranges of it into the caller's memory. */
#include <stdio.h>

#include "transport/s3_state.h"

/* ---- HeadObject ---- */

static const struct s3_operation head_object = {
	.name = "HeadObject", .method = "HEAD", .action = "s3:GetObject", .on_object = true
};

/* What a caller finds metadata in. */
static enum err keep_fields(const struct http_head *head, struct buffer *fields)
{
	if (!fields)
		return OK;
	buffer_reset(fields);
	buffer_add(fields, head->fields.at, head->fields.bytes);
	return fields->failed ? RAISE(ERR_MEMORY_EXHAUSTED, "what an object says of itself") : OK;
}

struct heading {
	struct s3_about *about;
	struct buffer *fields;
};

static enum err take_about(struct s3_call *call, struct http *http, const struct http_head *head)
{
	const struct heading *heading = call->owner;
	struct s3_about *about = heading->about;
	char bucket_key[sizeof "false"];
	const struct {
		const char *name;
		char *to;
		size_t room;
	} texts[] = {
		{ "ETag", about->etag, sizeof about->etag },
		{ "x-amz-version-id", about->version_id, sizeof about->version_id },
		{ s3_checksum_field(call->s3), about->checksum, sizeof about->checksum },
		{ "x-amz-storage-class", about->storage_class, sizeof about->storage_class },
		{ "x-amz-server-side-encryption", about->encryption, sizeof about->encryption },
		{ "x-amz-server-side-encryption-aws-kms-key-id", about->kms_key,
		  sizeof about->kms_key },
		{ "x-amz-server-side-encryption-bucket-key-enabled", bucket_key,
		  sizeof bucket_key },
		{ "x-amz-object-lock-mode", about->lock_mode, sizeof about->lock_mode },
		{ "x-amz-object-lock-retain-until-date", about->retain_until,
		  sizeof about->retain_until },
		{ "x-amz-object-lock-legal-hold", about->legal_hold, sizeof about->legal_hold },
	};
	struct text length;
	enum err e = keep_fields(head, heading->fields);

	if (e)
		return e;
	for (size_t i = 0; i < ARRAY_COUNT(texts); i++)
		http_parse_copy_field(head->fields, texts[i].name, texts[i].to, texts[i].room);
	about->bucket_key = strcmp(bucket_key, "true") == 0;
	/* One of parts' checksums ("-3" behind it) says nothing of the whole by itself. */
	if (strchr(about->checksum, '-'))
		about->checksum[0] = '\0';
	if (!http_parse_field(head->fields, "Content-Length", &length) ||
	    !http_parse_number(length, INT64_MAX, &about->bytes))
		return RAISE(ERR_HTTP_SYNTAX, "%s does not say how long it is", call->s3->host);
	return s3_take_nothing(call, http);
}

static enum err get_a_byte(struct s3 *s3, const char *key, nsec until)
{
	char byte;
	const struct s3_get get = { .key = key, .to = &byte, .bytes = sizeof byte };
	size_t got;

	return s3_get(s3, &get, until, &got);
}

enum err s3_head_fields(struct s3 *s3, const char *key, nsec until, struct s3_about *about,
			struct buffer *fields)
{
	struct heading heading = { about, fields };
	struct s3_call *call;
	enum err e;

	*about = (struct s3_about){ .bytes = 0 };
	if ((e = s3_call_open(s3, &head_object, key, &call)))
		return e;
	s3_call_field(call, "x-amz-checksum-mode", "ENABLED");
	call->take = take_about;
	call->owner = &heading;
	e = s3_ask_head(call, get_a_byte, until);
	s3_call_close(&call);
	return e;
}

enum err s3_head(struct s3 *s3, const char *key, nsec until, struct s3_about *about)
{
	return s3_head_fields(s3, key, until, about, NULL);
}

/* ---- GetObject ---- */

static const struct s3_operation get_object = {
	.name = "GetObject", .method = "GET", .action = "s3:GetObject", .on_object = true
};

/* What an answer has of an object: [at, end) of `bytes`. */
struct span {
	uint64_t at, end, bytes;
};

struct getting {
	const struct s3_get *get;
	size_t got;
	char range[sizeof "bytes=-" + 2 * 20];
	char etag[S3_ETAG_BYTES_MAX + 1]; /* of the object that is read; "": none yet */
	size_t range_field;
};

/* "bytes 0-1023/146515", RFC 9110 section 14.4. */
static bool parse_range(struct text value, struct span *span)
{
	const char *end = value.at + value.bytes, *dash, *slash;

	if (value.bytes < 6 || memcmp(value.at, "bytes ", 6) != 0)
		return false;
	value.at += 6;
	dash = memchr(value.at, '-', (size_t)(end - value.at));
	slash = dash ? memchr(dash, '/', (size_t)(end - dash)) : NULL;
	if (!slash ||
	    !http_parse_number((struct text){ value.at, (size_t)(dash - value.at) }, INT64_MAX,
			       &span->at) ||
	    !http_parse_number((struct text){ dash + 1, (size_t)(slash - dash - 1) }, INT64_MAX,
			       &span->end) ||
	    !http_parse_number((struct text){ slash + 1, (size_t)(end - slash - 1) }, INT64_MAX,
			       &span->bytes))
		return false;
	span->end++;
	return span->at < span->end && span->end <= span->bytes;
}

/* A server without ranges sends the whole object. */
static bool read_span(const struct http_head *head, struct span *span)
{
	struct text value;

	if (head->status == 206)
		return http_parse_field(head->fields, "Content-Range", &value) &&
		       parse_range(value, span);
	*span = (struct span){ .at = 0, .end = head->body_bytes, .bytes = head->body_bytes };
	return head->status == 200 && head->framing == HTTP_LENGTH;
}

static enum err check_span(const struct getting *getting, const struct http_head *head,
			   struct span *span)
{
	const struct s3_get *get = getting->get;
	uint64_t at = get->at + getting->got, end = get->at + get->bytes;

	if (!read_span(head, span) || span->at != at || span->end != min_u64(end, span->bytes))
		return RAISE(ERR_HTTP_SYNTAX,
			     "bytes %llu to %llu were asked for, and other ones come (status %u)",
			     (unsigned long long)at, (unsigned long long)end - 1, head->status);
	return OK;
}

/* They come with their quotes or without, and weak ones (RFC 9110 section 8.8.3) from whoever
 * stands in front of a server. */
static struct text bare_etag(const char *etag)
{
	struct text text = text_of(etag + (strncmp(etag, "W/", 2) == 0 ? 2 : 0));

	if (text.bytes > 1 && text.at[0] == '"' && text.at[text.bytes - 1] == '"') {
		text.at++;
		text.bytes -= 2;
	}
	return text;
}

/* What is read in several answers is of one object; a server may not know If-Match. */
static enum err check_etag(struct getting *getting, const struct http_head *head)
{
	char etag[sizeof getting->etag];

	http_parse_copy_field(head->fields, "ETag", etag, sizeof etag);
	if (*getting->etag && !text_equal(bare_etag(etag), bare_etag(getting->etag)))
		return RAISE(
			ERR_S3_CHANGED,
			"its ETag is %.50s, and was %.50s: somebody else writes there: see who, "
			"and run again",
			etag, getting->etag);
	snprintf(getting->etag, sizeof getting->etag, "%s", etag);
	return OK;
}

static enum err take_range(struct s3_call *call, struct http *http, const struct http_head *head)
{
	struct getting *getting = call->owner;
	const struct s3_get *get = getting->get;
	struct span span;
	size_t got, wanted;
	enum err e;

	if ((e = check_etag(getting, head)) || (e = check_span(getting, head, &span)) ||
	    (e = keep_fields(head, get->fields)))
		return e;
	wanted = span.end - get->at;
	while (!e && getting->got < wanted) {
		e = http_read(http, (char *)get->to + getting->got, wanted - getting->got, &got);
		getting->got += got;
		call->bytes_received += got;
	}
	if (e == ERR_STREAM_ENDED)
		return RAISE(ERR_STREAM_CUT, "the answer has %zu bytes less than it says",
			     wanted - getting->got);
	return e;
}

/* From where the attempt before broke off, and of the same object. */
static void ask_for_rest(struct s3_call *call)
{
	struct getting *getting = call->owner;
	const struct s3_get *get = getting->get;

	snprintf(getting->range, sizeof getting->range, "bytes=%llu-%llu",
		 (unsigned long long)(get->at + getting->got),
		 (unsigned long long)(get->at + get->bytes - 1));
	call->fields_count = getting->range_field;
	s3_call_field(call, "range", getting->range);
	s3_call_field(call, "if-match", *getting->etag ? getting->etag : NULL);
}

enum err s3_get(struct s3 *s3, const struct s3_get *get, nsec until, size_t *got)
{
	struct getting getting = { .get = get };
	struct s3_call *call;
	enum err e;

	*got = 0;
	must(get->bytes > 0 && get->at <= INT64_MAX - get->bytes);
	if ((e = s3_call_open(s3, &get_object, get->key, &call)))
		return e;
	if (get->etag)
		snprintf(getting.etag, sizeof getting.etag, "%s", get->etag);
	getting.range_field = call->fields_count;
	call->begin = ask_for_rest;
	call->take = take_range;
	call->owner = &getting;
	e = s3_ask(call, until);
	/* Range Not Satisfiable: it ends before `at`. */
	if (e && call->status == 416 && getting.got == 0) {
		if (!call->had_note)
			err_note_clear();
		e = OK;
	}
	*got = getting.got;
	s3_call_close(&call);
	return e;
}
