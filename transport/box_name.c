/* See box_name.h. */
#include "transport/box_name.h"

#include <stdio.h>

#include "engine/bytes.h"
#include "transport/imap_utf7.h"

enum { MARK_BYTES = 9 }; /* '~' and 8 digits */

static struct text text_from(const struct box_name *name, size_t from)
{
	return (struct text){ name->at + from, name->bytes - from };
}

/* ---- how long a name is when it is said ---- */

static bool fits(struct text name, size_t bytes_max, bool utf8)
{
	char raw[BOX_NAME_BYTES_MAX + 1];

	must(bytes_max < sizeof raw);
	if (utf8)
		return name.bytes <= bytes_max;
	return imap_utf7_encode(name, raw, bytes_max + 1);
}

/* The last border of characters at or before i. */
static size_t border(struct text name, size_t i)
{
	while (i > 0 && i < name.bytes && ((unsigned char)name.at[i] & 0xc0) == 0x80)
		i--;
	return i;
}

/* How much of the beginning fits; whole characters. By halves: what more characters need is never
 * less. */
static size_t cut_at(struct text name, size_t bytes_max, bool utf8)
{
	size_t low = 0, high = name.bytes + 1;

	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (fits((struct text){ name.at, border(name, middle) }, bytes_max, utf8))
			low = middle;
		else
			high = middle;
	}
	return border(name, low);
}

/* ---- characters ---- */

static bool is_refused(const struct box_name_rules *rules, char c)
{
	unsigned char byte = (unsigned char)c;

	/* "%" and "*" are LIST's wildcards: a folder named with one cannot be listed alone. */
	return byte < 0x20 || byte == 0x7f || c == rules->separator || c == '%' || c == '*' ||
	       strchr(rules->forbidden, c);
}

static char substitute(const struct box_name_rules *rules)
{
	return is_refused(rules, '_') ? '-' : '_';
}

static void put(struct box_name *name, const char *from, size_t n)
{
	if (name->full || name->bytes + n > BOX_NAME_BYTES_MAX) {
		name->full = true;
		return;
	}
	bytes_copy(name->at + name->bytes, from, n, BYTES_META);
	name->bytes += n;
}

static void put_substitute(struct box_name *name, const struct box_name_rules *rules)
{
	char c = substitute(rules);

	put(name, &c, 1);
	name->replaced = true;
}

/* What we make up ourselves, where there is room for it; it does not count as replaced. */
static void put_own(struct box_name *name, const struct box_name_rules *rules, const char *own)
{
	for (; *own; own++) {
		char c = is_refused(rules, *own) ? substitute(rules) : *own;

		put(name, &c, 1);
	}
}

static void put_mark(struct box_name *name, const struct box_name_rules *rules, uint32_t mark)
{
	char text[MARK_BYTES + 1];

	snprintf(text, sizeof text, "~%08x", mark);
	put_own(name, rules, text);
	name->cut = true;
}

/* The character at i, or a substitute; returns how many bytes of the level it was. C1 controls are
 * U+0080 to U+009F. */
static size_t put_character(struct box_name *name, const struct box_name_rules *rules,
			    struct text level, size_t i)
{
	size_t n = bytes_utf8_length(level.at + i, level.bytes - i);
	bool is_c1 = n == 2 && (unsigned char)level.at[i] == 0xc2 &&
		     (unsigned char)level.at[i + 1] < 0xa0;

	if (n == 0 || is_c1 || (n == 1 && is_refused(rules, level.at[i])))
		put_substitute(name, rules);
	else
		put(name, level.at + i, n);
	return n ? n : 1;
}

/* ---- levels ---- */

/* "." and ".." are no names where folders are directories. */
static bool is_dots(struct text level)
{
	return text_equal(level, text_of(".")) || text_equal(level, text_of(".."));
}

static void add_level(struct box_name *name, const struct box_name_rules *rules, struct text level,
		      uint32_t mark)
{
	size_t start = name->bytes;

	if (level.bytes == 0)
		put_substitute(name, rules);
	for (size_t i = 0; i < level.bytes && !name->full;) {
		if (is_dots(level)) {
			put_substitute(name, rules);
			i++;
		} else {
			i += put_character(name, rules, level, i);
		}
	}
	if (name->full || fits(text_from(name, start), rules->level_bytes_max, rules->utf8))
		return;
	name->bytes = start + cut_at(text_from(name, start), rules->level_bytes_max - MARK_BYTES,
				     rules->utf8);
	put_mark(name, rules, mark);
}

void box_name_begin(struct box_name *name, struct text base)
{
	name->bytes = 0;
	name->replaced = name->cut = name->full = false;
	put(name, base.at, border(base, min_u64(base.bytes, BOX_NAME_BYTES_MAX)));
	name->full = base.bytes > BOX_NAME_BYTES_MAX;
}

void box_name_add(struct box_name *name, const struct box_name_rules *rules, struct text levels,
		  char separator, uint32_t mark)
{
	char joint = rules->separator ? rules->separator : substitute(rules);
	const char *at = levels.at, *end = levels.at + levels.bytes, *stop;

	for (;; at = stop + 1) {
		stop = separator ? memchr(at, separator, (size_t)(end - at)) : NULL;
		add_level(name, rules, (struct text){ at, (size_t)((stop ? stop : end) - at) },
			  mark);
		if (!stop)
			return;
		put(name, &joint, 1);
	}
}

static size_t last_level(const struct box_name *name, const struct box_name_rules *rules)
{
	const char *last =
		rules->separator ? memrchr(name->at, rules->separator, name->bytes) : NULL;

	return last ? (size_t)(last + 1 - name->at) : 0;
}

/* Whether so many ASCII characters can be added. */
static bool has_room(const struct box_name *name, const struct box_name_rules *rules, size_t n)
{
	return !name->full && name->bytes + n <= BOX_NAME_BYTES_MAX &&
	       fits(text_from(name, 0), rules->name_bytes_max - n, rules->utf8) &&
	       fits(text_from(name, last_level(name, rules)), rules->level_bytes_max - n,
		    rules->utf8);
}

/* First the whole, then the level in which that ends: it may be one that was full. */
static void cut(struct box_name *name, const struct box_name_rules *rules, size_t spare)
{
	struct text whole = text_from(name, 0);
	size_t start;

	whole.bytes = border(whole, min_u64(whole.bytes, BOX_NAME_BYTES_MAX - spare));
	name->bytes = cut_at(whole, rules->name_bytes_max - spare, rules->utf8);
	name->full = false;
	start = last_level(name, rules);
	name->bytes =
		start + cut_at(text_from(name, start), rules->level_bytes_max - spare, rules->utf8);
}

void box_name_end(struct box_name *name, const struct box_name_rules *rules, const char *suffix,
		  uint32_t mark)
{
	size_t n = strlen(suffix);

	must(n + MARK_BYTES < BOX_NAME_BYTES_MIN);
	if (!has_room(name, rules, n)) {
		cut(name, rules, MARK_BYTES + n);
		put_mark(name, rules, mark);
	}
	put_own(name, rules, suffix);
	must(!name->full);
	name->at[name->bytes] = '\0';
}

/* ---- as it is said ---- */

void box_name_raw(const struct box_name_rules *rules, struct text name,
		  char raw[BOX_NAME_BYTES_MAX + 1])
{
	must(name.bytes <= BOX_NAME_BYTES_MAX);
	if (!rules->utf8) {
		bool fitted = imap_utf7_encode(name, raw, BOX_NAME_BYTES_MAX + 1);

		must(fitted);
		return;
	}
	bytes_copy(raw, name.at, name.bytes, BYTES_META);
	raw[name.bytes] = '\0';
}

bool box_name_decode(bool utf8, struct text raw, char name[BOX_NAME_BYTES_MAX + 1])
{
	if (!utf8)
		return imap_utf7_decode(raw, name, BOX_NAME_BYTES_MAX + 1);
	if (raw.bytes > BOX_NAME_BYTES_MAX || !imap_utf8_valid(raw) ||
	    memchr(raw.at, '\0', raw.bytes))
		return false;
	bytes_copy(name, raw.at, raw.bytes, BYTES_META);
	name[raw.bytes] = '\0';
	return true;
}

/* ---- case ---- */

/* Ranges of capital letters, Unicode's CaseFolding.txt (status C): each is `apart` before its small
 * one, in some ranges with the small ones in between. */
static const struct {
	uint16_t first, last, apart;
	bool every_second;
} capitals[] = {
	{ 0x00c0, 0x00d6, 32, false }, { 0x00d8, 0x00de, 32, false }, /* Latin-1 */
	{ 0x0100, 0x012e, 1, true },   { 0x0132, 0x0136, 1, true },   /* Latin Extended-A */
	{ 0x0139, 0x0147, 1, true },   { 0x014a, 0x0176, 1, true },
	{ 0x0179, 0x017d, 1, true },   { 0x0386, 0x0386, 38, false }, /* Greek */
	{ 0x0388, 0x038a, 37, false }, { 0x038c, 0x038c, 64, false },
	{ 0x038e, 0x038f, 63, false }, { 0x0391, 0x03a1, 32, false },
	{ 0x03a3, 0x03ab, 32, false }, { 0x03c2, 0x03c2, 1, false },  /* the final sigma */
	{ 0x0400, 0x040f, 80, false }, { 0x0410, 0x042f, 32, false }, /* Cyrillic */
	{ 0x0460, 0x0480, 1, true },   { 0x048a, 0x04be, 1, true },
	{ 0x04d0, 0x04fe, 1, true },
};

static unsigned fold_code(unsigned code)
{
	if (code == 0x0178)
		return 0x00ff; /* the one that comes before its capital */
	for (unsigned i = 0; i < ARRAY_COUNT(capitals); i++)
		if (code >= capitals[i].first && code <= capitals[i].last)
			return capitals[i].every_second && (code - capitals[i].first) % 2
				       ? code
				       : code + capitals[i].apart;
	return code;
}

/* Two bytes of UTF-8 are 5 and 6 bits: U+0080 to U+07FF. */
static void fold_pair(unsigned char at[2])
{
	unsigned code = fold_code((at[0] & 0x1fu) << 6 | (at[1] & 0x3fu));

	at[0] = (unsigned char)(0xc0 | code >> 6);
	at[1] = (unsigned char)(0x80 | (code & 0x3f));
}

void box_name_fold(char *text, size_t bytes)
{
	unsigned char *at = (unsigned char *)text;
	size_t n;

	for (size_t i = 0; i < bytes; i += n) {
		n = max_u64(bytes_utf8_length(at + i, bytes - i), 1);
		if (at[i] >= 'A' && at[i] <= 'Z')
			at[i] = (unsigned char)(at[i] + 'a' - 'A');
		else if (n == 2)
			fold_pair(at + i);
	}
}

/* Character by character: most names part at the first. */
bool box_name_alike(struct text a, struct text b)
{
	size_t n;

	if (a.bytes != b.bytes)
		return false;
	for (size_t i = 0; i < a.bytes; i += n) {
		char one[4] = { 0 }, other[4] = { 0 };

		n = max_u64(bytes_utf8_length(a.at + i, a.bytes - i), 1);
		bytes_copy(one, a.at + i, n, BYTES_META);
		bytes_copy(other, b.at + i, n, BYTES_META);
		box_name_fold(one, n);
		box_name_fold(other, n);
		if (memcmp(one, other, sizeof one) != 0)
			return false;
	}
	return true;
}
