/* See mime_said.h. Values are printable ASCII: what else S3 takes it gives back in encoded words.
 */
#include "transport/mime_said.h"

#include <stdio.h>

#include "crypto/digest.h"
#include "transport/http_parse.h"
#include "transport/pack_index.h"

#define PREFIX "x-amz-meta-mailhaul-"
enum { VERSION = 1 };

/* ---- keywords ---- */

static bool is_plain(unsigned char c)
{
	return c > ' ' && c < 0x7F && c != '%';
}

/* As it is written: bytes of it, or with `to` the bytes. */
static size_t write_word(char *to, struct text word)
{
	size_t bytes = 0;

	for (size_t i = 0; i < word.bytes; i++) {
		unsigned char c = (unsigned char)word.at[i];

		if (to && is_plain(c))
			to[bytes] = (char)c;
		else if (to)
			snprintf(to + bytes, 4, "%%%02X", c);
		bytes += is_plain(c) ? 1 : 3;
	}
	return bytes;
}

/* The first word; *rest goes on behind it. */
static struct text first_word(struct text *rest)
{
	const char *space = rest->bytes ? memchr(rest->at, ' ', rest->bytes) : NULL;
	struct text word = { rest->at, space ? (size_t)(space - rest->at) : rest->bytes };
	size_t used = word.bytes + (space != NULL);

	*rest = (struct text){ rest->at + used, rest->bytes - used };
	return word;
}

static unsigned write_keywords(char to[MIME_KEYWORDS_BYTES_MAX + 1], const struct mail_meta *meta)
{
	struct text rest = { meta->keywords, meta->keywords_bytes };
	unsigned dropped = meta->keywords_dropped;
	size_t at = 0;

	while (rest.bytes > 0) {
		struct text word = first_word(&rest);
		size_t bytes = write_word(NULL, word) + (at > 0);

		if (at + bytes > MIME_KEYWORDS_BYTES_MAX - 2) {
			dropped++;
			continue;
		}
		if (at > 0)
			to[at++] = ' ';
		at += write_word(to + at, word);
	}
	to[at] = '\0';
	return dropped;
}

static int hex_of(char c)
{
	const char *digits = "0123456789ABCDEF", *at = c ? strchr(digits, c) : NULL;

	return at ? (int)(at - digits) : -1;
}

/* False: it is not as we write it, or too long. */
static bool read_keywords(struct text from, char to[KEYWORDS_BYTES_MAX + 1])
{
	size_t at = 0;

	for (size_t i = 0; i < from.bytes; i++, at++) {
		char c = from.at[i];

		if (at == KEYWORDS_BYTES_MAX)
			return false;
		if (c == '%') {
			if (from.bytes - i < 3 || hex_of(from.at[i + 1]) < 0 ||
			    hex_of(from.at[i + 2]) < 0)
				return false;
			c = (char)(hex_of(from.at[i + 1]) << 4 | hex_of(from.at[i + 2]));
			i += 2;
		}
		if ((unsigned char)c < ' ' || c == 0x7F)
			return false;
		to[at] = c;
	}
	to[at] = '\0';
	return true;
}

/* ---- writing ---- */

static void say(struct mime_saying *saying, const char *name, const char *value)
{
	must(saying->count < S3_METADATA_MAX);
	if (*value)
		saying->metadata[saying->count++] = (struct s3_metadata){ name, value };
}

static void write_flags(char to[64], uint32_t flags)
{
	struct buffer text = { .bytes_max = 64 };

	pack_flags_add(&text, flags);
	snprintf(to, 64, "%s", text.at ? text.at : "");
	buffer_free(&text);
}

unsigned mime_saying_make(struct mime_saying *saying, uint64_t epoch, uint64_t no,
			  const struct mail_meta *meta, const char *digest_name,
			  const struct digest *digest)
{
	unsigned dropped = write_keywords(saying->keywords, meta);
	int used = 0;

	saying->count = 0;
	saying->date[0] = saying->dropped[0] = saying->digest[0] = '\0';
	snprintf(saying->epoch, sizeof saying->epoch, "%llu", (unsigned long long)epoch);
	snprintf(saying->no, sizeof saying->no, "%llu", (unsigned long long)no);
	write_flags(saying->flags, meta->flags);
	if (meta->date.known)
		mail_date_rfc3339(saying->date, &meta->date);
	if (dropped)
		snprintf(saying->dropped, sizeof saying->dropped, "%u",
			 (unsigned)min_u64(dropped, UINT16_MAX));
	if (digest) {
		used = snprintf(saying->digest, sizeof saying->digest, "%.15s:", digest_name);
		bytes_to_hex(saying->digest + used, digest->bytes, DIGEST_BYTES);
	}
	say(saying, PREFIX "version", "1");
	say(saying, PREFIX "epoch", saying->epoch);
	say(saying, PREFIX "no", saying->no);
	say(saying, PREFIX "date", saying->date);
	say(saying, PREFIX "flags", saying->flags);
	say(saying, PREFIX "keywords", saying->keywords);
	say(saying, PREFIX "keywords-dropped", saying->dropped);
	say(saying, PREFIX "digest", saying->digest);
	return dropped;
}

/* ---- reading ---- */

/* "" where it is not said; cut where it is too long. */
static void read_text(struct text fields, const char *name, char *to, size_t room)
{
	struct text value = { NULL, 0 };

	if (http_parse_field(fields, name, &value))
		value.bytes = min_u64(value.bytes, room - 1);
	bytes_copy(to, value.at, value.bytes, BYTES_META);
	to[value.bytes] = '\0';
}

static bool read_number(struct text fields, const char *name, uint64_t *out)
{
	struct text value;

	return http_parse_field(fields, name, &value) && http_parse_number(value, UINT64_MAX, out);
}

/* "blake3:5a..." */
static void read_digest(struct text fields, struct mime_said *said)
{
	struct text value;
	const char *colon;

	said->digest_type = NULL;
	if (!http_parse_field(fields, PREFIX "digest", &value) || value.bytes == 0 ||
	    !(colon = memchr(value.at, ':', value.bytes)))
		return;
	if (bytes_from_hex(
		    said->digest.bytes, DIGEST_BYTES,
		    (struct text){ colon + 1, (size_t)(value.at + value.bytes - colon - 1) }))
		said->digest_type =
			digest_type((struct text){ value.at, (size_t)(colon - value.at) });
}

bool mime_said_read(struct text fields, struct mime_said *said)
{
	char date[40], flags[64], keywords[KEYWORDS_BYTES_MAX + 1];
	struct text words = { NULL, 0 };
	uint64_t version, dropped = 0;

	if (!read_number(fields, PREFIX "version", &version) || version != VERSION ||
	    !read_number(fields, PREFIX "epoch", &said->epoch) ||
	    !read_number(fields, PREFIX "no", &said->no))
		return false;
	(void)http_parse_field(fields, PREFIX "keywords", &words);
	(void)!read_number(fields, PREFIX "keywords-dropped", &dropped);
	if (!read_keywords(words, keywords))
		return false;
	read_text(fields, PREFIX "date", date, sizeof date);
	read_text(fields, PREFIX "flags", flags, sizeof flags);
	said->meta = (struct mail_meta){ .flags = 0 };
	pack_meta_read(date, flags, keywords, &said->meta);
	said->meta.keywords_dropped = (uint16_t)min_u64(dropped, UINT16_MAX);
	read_digest(fields, said);
	return true;
}

/* Each format of the metadata has one of these, "Content metadata" of the S3 Encryption Client's
 * specification: V1 and V2 the wrapped key, V3 the commitment to it, and all of them the algorithm
 * or the vector. One that keeps the key in an instruction file may have none. */
bool mime_said_encrypted(struct text fields)
{
	static const char *const names[] = {
		"x-amz-meta-x-amz-key",	    "x-amz-meta-x-amz-key-v2",	"x-amz-meta-x-amz-iv",
		"x-amz-meta-x-amz-cek-alg", "x-amz-meta-x-amz-matdesc", "x-amz-meta-x-amz-c",
		"x-amz-meta-x-amz-d",	    "x-amz-meta-x-amz-3",
	};
	struct text value;

	for (size_t i = 0; i < ARRAY_COUNT(names); i++)
		if (http_parse_field(fields, names[i], &value))
			return true;
	return false;
}
