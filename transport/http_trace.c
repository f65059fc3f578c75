#include "transport/http_trace.h"

#include <stdatomic.h>
#include <strings.h>

#include "engine/bytes.h"
#include "engine/log.h"

enum {
	/* An event has 2 KiB. Of S3's the fields need half of that. */
	TARGET_BYTES_MAX = 500,
	FIELDS_BYTES_MAX = 1300,
	KEY_ID_BYTES_SHOWN = 4, /* enough to tell one's keys apart */
	KEY_ID_BYTES_MIN = 16,	/* AWS's; a shorter one would be shown by too large a part */
};
#define HIDDEN "(hidden)"

/* ---- what may be shown ---- */

/* Of requests and answers alike. Not among them, besides credentials: x-amz-meta-*, keys of SSE-C,
 * the context of SSE-KMS, Location, which may be signed. */
static const char *const shown_fields[] = {
	/* HTTP: RFC 9110, 9111, 9112 */
	"accept",
	"accept-ranges",
	"age",
	"allow",
	"cache-control",
	"connection",
	"content-encoding",
	"content-length",
	"content-md5",
	"content-range",
	"content-type",
	"date",
	"etag",
	"expect",
	"expires",
	"host",
	"if-match",
	"if-none-match",
	"keep-alive",
	"last-modified",
	"range",
	"retry-after",
	"server",
	"strict-transport-security",
	"trailer",
	"transfer-encoding",
	"user-agent",
	"vary",
	"via",
	/* AWS */
	"x-amz-bucket-object-lock-enabled",
	"x-amz-bucket-region",
	"x-amz-checksum-algorithm",
	"x-amz-checksum-crc32",
	"x-amz-checksum-crc32c",
	"x-amz-checksum-crc64nvme",
	"x-amz-checksum-mode",
	"x-amz-checksum-type",
	"x-amz-content-sha256",
	"x-amz-date",
	"x-amz-decoded-content-length",
	"x-amz-delete-marker",
	"x-amz-expected-bucket-owner",
	"x-amz-id-2",
	"x-amz-mp-object-size",
	"x-amz-mp-parts-count",
	"x-amz-object-lock-legal-hold",
	"x-amz-object-lock-mode",
	"x-amz-object-lock-retain-until-date",
	"x-amz-replication-status",
	"x-amz-request-id",
	"x-amz-restore",
	"x-amz-sdk-checksum-algorithm",
	"x-amz-server-side-encryption",
	"x-amz-server-side-encryption-bucket-key-enabled",
	"x-amz-storage-class",
	"x-amz-target",
	"x-amz-trailer",
	"x-amz-version-id",
	"x-amzn-requestid",
	"x-aws-ec2-metadata-token-ttl-seconds",
};

static const char *const shown_parameters[] = {
	"X-Amz-Algorithm",    "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders",
	"continuation-token", "delimiter",  "encoding-type", "key-marker",
	"list-type",	      "max-keys",   "max-parts",     "max-uploads",
	"part-number-marker", "partNumber", "prefix",	     "start-after",
	"upload-id-marker",   "uploadId",   "versionId",
};

static bool is_among(struct text name, const char *const names[], size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strlen(names[i]) == name.bytes &&
		    strncasecmp(names[i], name.at, name.bytes) == 0)
			return true;
	return false;
}

static bool is_word(struct text text, const char *word)
{
	return is_among(text, &word, 1);
}

/* Up to the first `end`, which is taken too; all of it where there is none. */
static struct text take_until(struct text *from, const char *end)
{
	const char *at = memmem(from->at, from->bytes, end, strlen(end));
	struct text taken = { from->at, at ? (size_t)(at - from->at) : from->bytes };
	size_t used = taken.bytes + (at ? strlen(end) : 0);

	*from = (struct text){ from->at + used, from->bytes - used };
	return taken;
}

/* As much as fits. */
static void add(struct buffer *to, struct text text)
{
	size_t room = to->bytes_max - to->bytes;

	buffer_add(to, text.at, min_u64(text.bytes, room));
	to->failed |= text.bytes > room;
}

/* ---- fields ---- */

/* Of AWS's Signature Version 4, "AWS4-HMAC-SHA256 Credential=ID/SCOPE, SignedHeaders=NAMES,
 * Signature=...": whose key it is, and all that says how it was signed. */
static void add_authorization(struct buffer *to, struct text value)
{
	static const char begins[] = "AWS4-HMAC-SHA256 Credential=";
	struct text id, scope, names;

	if (value.bytes < sizeof begins - 1 || memcmp(value.at, begins, sizeof begins - 1) != 0) {
		buffer_add_text(to, HIDDEN);
		return;
	}
	(void)take_until(&value, "=");
	scope = take_until(&value, ", SignedHeaders=");
	id = take_until(&scope, "/");
	names = take_until(&value, ", Signature=");
	if (id.bytes < KEY_ID_BYTES_MIN || !scope.bytes || !value.bytes) {
		buffer_add_text(to, HIDDEN);
		return;
	}
	buffer_addf(to, "%s...", begins);
	buffer_add(to, id.at + id.bytes - KEY_ID_BYTES_SHOWN, KEY_ID_BYTES_SHOWN);
	buffer_add_text(to, "/");
	add(to, scope);
	buffer_add_text(to, ", SignedHeaders=");
	add(to, names);
	buffer_add_text(to, ", Signature=" HIDDEN);
}

static void add_field(struct buffer *to, struct text line)
{
	struct text name = take_until(&line, ":");

	while (line.bytes > 0 && *line.at == ' ')
		line = (struct text){ line.at + 1, line.bytes - 1 };
	buffer_add_text(to, to->bytes ? "; " : "");
	add(to, name);
	buffer_add_text(to, ": ");
	if (is_among(name, shown_fields, ARRAY_COUNT(shown_fields)))
		add(to, line);
	else if (is_word(name, "authorization"))
		add_authorization(to, line);
	else
		buffer_add_text(to, HIDDEN);
}

static void add_fields(struct buffer *to, struct text head)
{
	struct text line;

	while ((line = take_until(&head, "\r\n")).bytes > 0)
		add_field(to, line);
}

/* ---- targets ---- */

static void add_parameter(struct buffer *to, struct text parameter)
{
	struct text name = take_until(&parameter, "=");

	add(to, name);
	if (!parameter.at || parameter.at == name.at + name.bytes)
		return; /* one without a value */
	buffer_add_text(to, "=");
	if (is_among(name, shown_parameters, ARRAY_COUNT(shown_parameters)))
		add(to, parameter);
	else
		buffer_add_text(to, HIDDEN);
}

static void add_target(struct buffer *to, struct text target)
{
	const char *mark = "?";

	add(to, take_until(&target, "?"));
	while (target.bytes > 0) {
		buffer_add_text(to, mark);
		add_parameter(to, take_until(&target, "&"));
		mark = "&";
	}
}

/* ---- events ---- */

/* In memory that is there already, so that what does not fit is cut. */
static struct buffer buffer_in(char *room, size_t bytes)
{
	*room = '\0';
	return (struct buffer){ .at = room, .room = bytes, .bytes_max = bytes - 1 };
}

uint64_t http_trace_request(const char *host, struct text head, bool hides_target)
{
	static _Atomic uint64_t exchanges;
	char target_room[TARGET_BYTES_MAX], fields_room[FIELDS_BYTES_MAX];
	struct buffer target = buffer_in(target_room, sizeof target_room);
	struct buffer fields = buffer_in(fields_room, sizeof fields_room);
	struct text line, method;
	uint64_t exchange;

	if (!log_traces())
		return 0;
	exchange = atomic_fetch_add(&exchanges, 1) + 1;
	line = take_until(&head, "\r\n");
	method = take_until(&line, " ");
	if (hides_target)
		buffer_add_text(&target, HIDDEN);
	else
		add_target(&target, take_until(&line, " "));
	add_fields(&fields, head);
	log_event(LOG_TRACE, "http.request",
		  "exchange=%llu host=%s method=%.*s !target=\"%s%s\" fields=\"%s%s\"",
		  (unsigned long long)exchange, host, (int)method.bytes, method.at, target.at,
		  target.failed ? "..." : "", fields.at, fields.failed ? "..." : "");
	return exchange;
}

void http_trace_answer(const char *host, uint64_t exchange, unsigned status, struct text head)
{
	char room[FIELDS_BYTES_MAX];
	struct buffer fields = buffer_in(room, sizeof room);

	if (!log_traces())
		return;
	(void)take_until(&head, "\r\n");
	add_fields(&fields, head);
	log_event(LOG_TRACE, "http.answer", "exchange=%llu host=%s status=%u fields=\"%s%s\"",
		  (unsigned long long)exchange, host, status, fields.at,
		  fields.failed ? "..." : "");
}
