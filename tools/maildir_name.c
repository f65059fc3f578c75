/* See maildir_name.h. */
#include "tools/maildir_name.h"

#include "crypto/digest.h"
#include "transport/imap_utf7.h"

/* Of a name that is too long; modified UTF-7 makes at most three bytes of one. */
enum { KEPT_BYTES = 60 };

/* Bytes of the character that can stand for itself here; 0: it is escaped. */
static size_t plain_bytes(struct text level, size_t at)
{
	uint8_t c = (uint8_t)level.at[at];

	if (c < 0x20 || c == 0x7f || c == '.' || c == '/' || c == '%' || (c == '~' && at == 0))
		return 0;
	return bytes_utf8_length(level.at + at, level.bytes - at);
}

/* *cut: the most that fits KEPT_BYTES without breaking a character or an escape. */
static void level_add(struct buffer *to, struct text level, size_t *cut)
{
	buffer_add_text(to, level.bytes ? "." : ".%");
	for (size_t i = 0, n; i < level.bytes; i += n ? n : 1) {
		if ((n = plain_bytes(level, i)) > 0)
			buffer_add(to, level.at + i, n);
		else
			buffer_addf(to, "%%%02X", (uint8_t)level.at[i]);
		if (to->bytes <= KEPT_BYTES)
			*cut = to->bytes;
	}
}

static size_t levels_add(struct buffer *to, const char *name, char separator)
{
	const char *end;
	size_t cut = 1;

	for (;; name = end + 1) {
		end = separator ? strchrnul(name, separator) : name + strlen(name);
		level_add(to, (struct text){ name, (size_t)(end - name) }, &cut);
		if (!*end)
			return cut;
	}
}

static enum err cut_short(struct buffer *escaped, size_t cut, const char *name, char separator)
{
	struct buffer whole = { 0 };
	struct digest digest;
	char hex[2 * 8 + 1];
	enum err e;

	buffer_add_text(&whole, name);
	buffer_add(&whole, &separator, 1);
	e = whole.failed
		    ? RAISE(ERR_MEMORY_EXHAUSTED, "naming a folder")
		    : digest_of(digest_type(text_of("blake3")), whole.at, whole.bytes, &digest);
	buffer_free(&whole);
	if (e)
		return e;
	bytes_to_hex(hex, digest.bytes, 8);
	escaped->bytes = cut;
	buffer_addf(escaped, "~%s", hex);
	return OK;
}

/* False: it does not fit. */
static bool encode(const struct buffer *escaped, bool utf8, char to[MAILDIR_NAME_BYTES_MAX + 1])
{
	if (!utf8)
		return imap_utf7_encode((struct text){ escaped->at, escaped->bytes }, to,
					MAILDIR_NAME_BYTES_MAX + 1);
	if (escaped->bytes > MAILDIR_NAME_BYTES_MAX)
		return false;
	bytes_copy(to, escaped->at, escaped->bytes, BYTES_META);
	to[escaped->bytes] = '\0';
	return true;
}

enum err maildir_name_add(struct buffer *to, const char *name, char separator, bool utf8)
{
	char encoded[MAILDIR_NAME_BYTES_MAX + 1];
	struct buffer escaped = { 0 };
	size_t cut = levels_add(&escaped, name, separator);
	enum err e = escaped.failed ? RAISE(ERR_MEMORY_EXHAUSTED, "naming a folder") : OK;

	if (!e && !encode(&escaped, utf8, encoded) &&
	    !(e = cut_short(&escaped, cut, name, separator)))
		must(encode(&escaped, utf8, encoded));
	if (!e)
		buffer_add_text(to, encoded);
	buffer_free(&escaped);
	return e;
}
