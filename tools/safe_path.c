#include "tools/safe_path.h"

#include <strings.h>

/* FNV-1a: tells long names apart; it need not resist anybody, since a message is never replaced. */
static uint32_t name_hash(struct text name)
{
	uint32_t hash = 2166136261u;

	for (size_t i = 0; i < name.bytes; i++)
		hash = (hash ^ (uint8_t)name.at[i]) * 16777619u;
	return hash;
}

static bool is_message_suffix(struct text level, size_t at)
{
	return level.bytes - at == 4 && strncasecmp(level.at + at, ".eml", 4) == 0;
}

static bool is_written_plainly(struct text level, size_t at)
{
	uint8_t c = (uint8_t)level.at[at];

	if (c < 0x20 || c == 0x7f || c == '/' || c == '%')
		return false;
	return c != '.' || (at > 0 && !is_message_suffix(level, at));
}

static bool is_continued(struct text level, size_t at)
{
	return at < level.bytes && ((uint8_t)level.at[at] & 0xc0) == 0x80;
}

void safe_path_add_level(struct buffer *to, struct text level)
{
	size_t begin = to->bytes, cut = to->bytes;

	if (!level.bytes)
		buffer_add_text(to, "%");
	for (size_t i = 0; i < level.bytes; i++) {
		if (is_written_plainly(level, i))
			buffer_add(to, level.at + i, 1);
		else
			buffer_addf(to, "%%%02X", (uint8_t)level.at[i]);
		/* Neither an escape nor a character of UTF-8 is cut in two. */
		if (to->bytes - begin <= SAFE_PATH_LEVEL_BYTES_MAX && !is_continued(level, i + 1))
			cut = to->bytes;
	}
	if (to->bytes - begin <= SAFE_PATH_LEVEL_BYTES_MAX)
		return;
	must(cut > begin || is_continued(level, 1));
	to->bytes = cut;
	buffer_addf(to, "~%08x", name_hash(level));
}

void safe_path_add_box(struct buffer *to, const char *name, char separator)
{
	for (;;) {
		const char *end = separator ? strchrnul(name, separator) : name + strlen(name);

		buffer_add_text(to, "/");
		safe_path_add_level(to, (struct text){ name, (size_t)(end - name) });
		if (!*end)
			return;
		name = end + 1;
	}
}
