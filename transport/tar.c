/* See tar.h. Layout of the headers: POSIX.1-2001, pax interchange format. */
#include "transport/tar.h"

#include <stdio.h>
#include <stdlib.h>

#include "crypto/digest.h"
#include "transport/json.h"

/* The header block, as it lies in the file. */
struct ustar {
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], chksum[8];
	char typeflag, linkname[100], magic[6], version[2], uname[32], gname[32];
	char devmajor[8], devminor[8], prefix[155], filler[12];
};
_Static_assert(sizeof(struct ustar) == TAR_BLOCK_BYTES, "one block");

static const uint64_t OCTAL_11_MAX = 077777777777;

/* ---- names ---- */

enum {
	CUT_LEVEL_BYTES = TAR_LEVEL_BYTES_MAX - 17, /* '~' and 16 digits follow */
	HASH_BYTES = 8,
};

static bool is_refused_byte(struct text level, size_t i)
{
	uint8_t byte = (uint8_t)level.at[i];

	if (byte < 0x20 || byte == 0x7F || strchr("\"%*/:<>?\\|", byte))
		return true;
	if (i == 0 && (byte == '.' || byte == '-' || byte == '~'))
		return true;
	return i + 1 == level.bytes && (byte == '.' || byte == ' ');
}

/* The encoded form of the character at i: 1 to 12 bytes in `to`. Returns how many bytes of the
 * level it stands for. */
static size_t encode_character(char to[16], struct text level, size_t i)
{
	size_t n = json_utf8_bytes(level.at + i, level.bytes - i);
	bool is_c1 = n == 2 && (uint8_t)level.at[i] == 0xC2 && (uint8_t)level.at[i + 1] < 0xA0;

	if (n > 0 && !is_c1 && !(n == 1 && is_refused_byte(level, i))) {
		snprintf(to, 16, "%.*s", (int)n, level.at + i);
		return n;
	}
	if (is_c1)
		snprintf(to, 16, "%%C2%%%02X", (uint8_t)level.at[i + 1]);
	else
		snprintf(to, 16, "%%%02X", (uint8_t)level.at[i]);
	return is_c1 ? 2 : 1;
}

/* Encode until the next character would pass bytes_max; true if all of it fitted. */
static bool encode_level(struct buffer *to, struct text level, size_t bytes_max)
{
	size_t start = to->bytes;
	char one[16];

	for (size_t i = 0, n; i < level.bytes; i += n) {
		n = encode_character(one, level, i);
		if (to->bytes - start + strlen(one) > bytes_max)
			return false;
		buffer_add_text(to, one);
	}
	return true;
}

static enum err add_level(struct buffer *to, struct text level)
{
	size_t start = to->bytes;
	struct digest digest;
	char hex[2 * HASH_BYTES + 1];
	enum err e;

	if (level.bytes == 0)
		buffer_add(to, "%", 1);
	if (encode_level(to, level, TAR_LEVEL_BYTES_MAX))
		return OK;
	to->bytes = start;
	(void)encode_level(to, level, CUT_LEVEL_BYTES);
	if ((e = digest_of(digest_type(text_of("blake3")), level.at, level.bytes, &digest)))
		return e;
	bytes_to_hex(hex, digest.bytes, HASH_BYTES);
	buffer_addf(to, "~%s", hex);
	must(to->bytes - start <= TAR_LEVEL_BYTES_MAX);
	return OK;
}

enum err tar_path_add(struct buffer *to, struct text folder, char separator)
{
	const char *at = folder.at, *end = folder.at + folder.bytes, *stop;
	enum err e;

	for (;;) {
		stop = separator ? memchr(at, separator, (size_t)(end - at)) : NULL;
		if ((e = add_level(to, (struct text){ at, (size_t)((stop ? stop : end) - at) })))
			return e;
		if (!stop)
			break;
		buffer_add(to, "/", 1);
		at = stop + 1;
	}
	return to->failed ? RAISE(ERR_MEMORY_EXHAUSTED, "naming a folder") : OK;
}

/* ---- writing ---- */

void tar_record_add(struct buffer *to, const char *key, struct text value)
{
	/* The length counts its own digits: try until it is stable. */
	size_t rest = strlen(key) + value.bytes + 3, length = rest;
	char room[JSON_DIGITS_MAX];
	struct text digits = json_digits(room, length);

	while (length != rest + digits.bytes) {
		length = rest + digits.bytes;
		digits = json_digits(room, length);
	}
	buffer_add(to, digits.at, digits.bytes);
	buffer_add(to, " ", 1);
	buffer_add_text(to, key);
	buffer_add(to, "=", 1);
	buffer_add(to, value.at, value.bytes);
	buffer_add(to, "\n", 1);
}

static void set_octal(char *to, size_t to_bytes, uint64_t value)
{
	to[to_bytes - 1] = '\0';
	for (size_t i = to_bytes - 1; i-- > 0; value >>= 3)
		to[i] = (char)('0' + (value & 7));
	must(value == 0);
}

static uint32_t sum_of(const char *bytes, size_t n)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += (uint8_t)bytes[i];
	return sum;
}

/* Of all bytes, those of the field itself taken as blanks. */
static uint32_t checksum(const struct ustar *header)
{
	return sum_of((const char *)header, sizeof *header) -
	       sum_of(header->chksum, sizeof header->chksum) +
	       ' ' * (uint32_t)sizeof header->chksum;
}

static void add_header(struct buffer *to, struct text name, uint64_t size_bytes, uint64_t mtime,
		       char typeflag)
{
	struct ustar header = { 0 };

	must(name.bytes <= sizeof header.name);
	bytes_copy(header.name, name.at, name.bytes, BYTES_META);
	set_octal(header.mode, sizeof header.mode, 0600);
	set_octal(header.uid, sizeof header.uid, 0);
	set_octal(header.gid, sizeof header.gid, 0);
	set_octal(header.size, sizeof header.size, size_bytes);
	set_octal(header.mtime, sizeof header.mtime, mtime);
	header.typeflag = typeflag;
	memcpy(header.magic, "ustar", 6);
	memcpy(header.version, "00", 2);
	set_octal(header.devmajor, sizeof header.devmajor, 0);
	set_octal(header.devminor, sizeof header.devminor, 0);
	set_octal(header.chksum, sizeof header.chksum - 1, checksum(&header));
	header.chksum[7] = ' ';
	buffer_add(to, &header, sizeof header);
}

static void add_padding(struct buffer *to, uint64_t size_bytes)
{
	static const char zeros[TAR_BLOCK_BYTES];

	buffer_add(to, zeros, tar_padding(size_bytes));
}

static bool fits_header(struct text name)
{
	for (size_t i = 0; i < name.bytes; i++)
		if ((uint8_t)name.at[i] >= 0x80)
			return false;
	return name.bytes <= sizeof((struct ustar *)NULL)->name;
}

static struct text file_of(struct text name)
{
	const char *slash = memrchr(name.at, '/', name.bytes);

	return slash ? (struct text){ slash + 1, (size_t)(name.at + name.bytes - slash - 1) }
		     : name;
}

/* "PaxHeaders/" and the file name, as tar programs that do not know pax headers would unpack it. */
static void add_pax_header(struct buffer *to, const struct tar_entry *entry, struct text records)
{
	struct text file = file_of(entry->name);
	char name[101];

	snprintf(name, sizeof name, "PaxHeaders/%.*s", (int)min_u64(file.bytes, 80), file.at);
	add_header(to, text_of(name), records.bytes, entry->mtime, 'x');
	buffer_add(to, records.at, records.bytes);
	add_padding(to, records.bytes);
}

void tar_head_add(struct buffer *to, const struct tar_entry *entry, struct buffer *records)
{
	bool name_fits = fits_header(entry->name), size_fits = entry->size_bytes <= OCTAL_11_MAX;
	struct buffer extra = { 0 };
	char digits[JSON_DIGITS_MAX];

	must(entry->mtime <= OCTAL_11_MAX);
	if (!name_fits)
		tar_record_add(&extra, "path", entry->name);
	if (!size_fits)
		tar_record_add(&extra, "size", json_digits(digits, entry->size_bytes));
	if (extra.bytes > 0) {
		buffer_add(&extra, records->at, records->bytes);
		add_pax_header(to, entry, (struct text){ extra.at, extra.bytes });
	} else if (records->bytes > 0) {
		add_pax_header(to, entry, (struct text){ records->at, records->bytes });
	}
	to->failed |= extra.failed;
	buffer_free(&extra);
	add_header(to, name_fits ? entry->name : file_of(entry->name),
		   size_fits ? entry->size_bytes : 0, entry->mtime, '0');
}

/* ---- reading ---- */

enum tar_state { TAR_HEADER, TAR_RECORDS, TAR_BODY, TAR_PADDING, TAR_ENDED };

struct tar_read {
	const struct tar_events *events;
	void *context;
	enum tar_state state;
	uint64_t position; /* in the tar */
	uint64_t left;	   /* of records, body or padding */
	uint64_t pad_after_body;
	unsigned zero_blocks;
	bool has_records, has_path, has_size;
	struct tar_member member;
	size_t gathered;
	char block[TAR_RECORDS_BYTES_MAX + TAR_BLOCK_BYTES];
};

enum err tar_read_open(const struct tar_events *events, void *context, struct tar_read **out)
{
	struct tar_read *tar = calloc(1, sizeof *tar);

	*out = tar;
	if (!tar)
		return RAISE(ERR_MEMORY_EXHAUSTED, "reading a tar");
	tar->events = events;
	tar->context = context;
	return OK;
}

void tar_read_close(struct tar_read **tar)
{
	free(*tar);
	*tar = NULL;
}

static enum err damaged(const struct tar_read *tar, const char *what)
{
	return RAISE(ERR_ARCHIVE_DAMAGED, "tar: %s before byte %llu", what,
		     (unsigned long long)tar->position);
}

static bool get_octal(const char *from, size_t n, uint64_t *value)
{
	size_t i = 0;

	for (*value = 0; i < n && from[i] >= '0' && from[i] <= '7'; i++)
		*value = *value << 3 | (uint64_t)(from[i] - '0');
	return i > 0 && i < n && (from[i] == '\0' || from[i] == ' ');
}

static bool get_decimal(struct text from, uint64_t *value)
{
	*value = 0;
	for (size_t i = 0; i < from.bytes; i++) {
		if (from.at[i] < '0' || from.at[i] > '9' || *value > UINT64_MAX / 10 - 1)
			return false;
		*value = *value * 10 + (uint64_t)(from.at[i] - '0');
	}
	return from.bytes > 0;
}

bool tar_block_is(const void *block, const char *name, uint64_t *size_bytes)
{
	const struct ustar *header = block;
	uint64_t sum;

	return strncmp(header->name, name, sizeof header->name) == 0 && header->typeflag == '0' &&
	       memcmp(header->magic, "ustar", 6) == 0 &&
	       get_octal(header->chksum, sizeof header->chksum, &sum) && sum == checksum(header) &&
	       get_octal(header->size, sizeof header->size, size_bytes);
}

/* A member's bytes begin: after its ustar header. */
static enum err read_begin(struct tar_read *tar, const struct ustar *header, uint64_t size_bytes)
{
	struct tar_member *member = &tar->member;

	if (!tar->has_path)
		snprintf(member->name, sizeof member->name, "%.*s", (int)sizeof header->name,
			 header->name);
	if (!tar->has_size)
		member->size_bytes = size_bytes;
	if (!member->name[0] || header->prefix[0])
		return damaged(tar, "a name that we do not write");
	/* Frees the sums below from overflow; no file is so long. */
	if (member->size_bytes > UINT64_MAX / 4)
		return damaged(tar, "an impossible size");
	member->body_offset = tar->position;
	tar->has_records = tar->has_path = tar->has_size = false;
	tar->left = member->size_bytes;
	tar->pad_after_body = tar_padding(member->size_bytes);
	tar->state = TAR_BODY;
	return tar->events->begin(tar->context, member);
}

static bool is_zero(const struct ustar *header)
{
	static const struct ustar zero;

	return memcmp(header, &zero, sizeof zero) == 0;
}

static enum err read_header(struct tar_read *tar)
{
	const struct ustar *header = (const void *)tar->block;
	uint64_t size_bytes, sum;

	if (is_zero(header)) {
		if (tar->has_records)
			return damaged(tar, "the end behind a pax header");
		if (++tar->zero_blocks == 2)
			tar->state = TAR_ENDED;
		return OK;
	}
	if (tar->zero_blocks > 0)
		return damaged(tar, "a header behind the end");
	if (!get_octal(header->chksum, sizeof header->chksum, &sum) || sum != checksum(header) ||
	    memcmp(header->magic, "ustar", 6) != 0 ||
	    !get_octal(header->size, sizeof header->size, &size_bytes))
		return damaged(tar, "a header that is none");
	if (!tar->has_records)
		tar->member.offset = tar->position - TAR_BLOCK_BYTES;
	if (header->typeflag == '0')
		return read_begin(tar, header, size_bytes);
	if (header->typeflag != 'x' || tar->has_records || size_bytes > TAR_RECORDS_BYTES_MAX)
		return damaged(tar, "a kind of member that we do not write");
	tar->has_records = true;
	tar->left = size_bytes;
	tar->state = TAR_RECORDS;
	return OK;
}

static enum err take_record(struct tar_read *tar, struct text key, struct text value)
{
	if (text_equal(key, text_of("path"))) {
		if (value.bytes == 0 || value.bytes > TAR_NAME_BYTES_MAX ||
		    memchr(value.at, '\0', value.bytes))
			return damaged(tar, "a path that we do not write");
		snprintf(tar->member.name, sizeof tar->member.name, "%.*s", (int)value.bytes,
			 value.at);
		tar->has_path = true;
	} else if (text_equal(key, text_of("size"))) {
		if (!get_decimal(value, &tar->member.size_bytes))
			return damaged(tar, "a size that is no number");
		tar->has_size = true;
	}
	return OK;
}

/* "<length> <key>=<value>\n"; one record at *at, which moves behind it. */
static enum err read_record(struct tar_read *tar, struct text *rest)
{
	const char *space = memchr(rest->at, ' ', min_u64(rest->bytes, 8)), *equals;
	uint64_t length;
	enum err e;

	if (!space ||
	    !get_decimal((struct text){ rest->at, (size_t)(space - rest->at) }, &length) ||
	    length > rest->bytes || length < (size_t)(space - rest->at) + 3 ||
	    rest->at[length - 1] != '\n')
		return damaged(tar, "a pax record that is none");
	equals = memchr(space, '=', length - (size_t)(space - rest->at));
	if (!equals)
		return damaged(tar, "a pax record without a value");
	e = take_record(tar, (struct text){ space + 1, (size_t)(equals - space - 1) },
			(struct text){ equals + 1, (size_t)(rest->at + length - 1 - equals - 1) });
	rest->at += length;
	rest->bytes -= length;
	return e;
}

static enum err read_records(struct tar_read *tar)
{
	struct text rest = { tar->block, tar->left };
	enum err e = OK;

	while (rest.bytes > 0 && !e)
		e = read_record(tar, &rest);
	tar->state = TAR_HEADER;
	return e;
}

/* Gather a whole header or whole records, padding included. True when they are there. */
static bool gather(struct tar_read *tar, const uint8_t **at, size_t *n)
{
	size_t whole =
		tar->state == TAR_HEADER ? TAR_BLOCK_BYTES : round_up(tar->left, TAR_BLOCK_BYTES);
	size_t take = min_u64(whole - tar->gathered, *n);

	must(whole <= sizeof tar->block);
	bytes_copy(tar->block + tar->gathered, *at, take, BYTES_META);
	tar->gathered += take;
	tar->position += take;
	*at += take;
	*n -= take;
	if (tar->gathered < whole)
		return false;
	tar->gathered = 0;
	return true;
}

/* Body and padding go by without being gathered. */
static enum err pass(struct tar_read *tar, const uint8_t **at, size_t *n)
{
	size_t take = min_u64(tar->left, *n);
	enum err e = OK;

	if (take > 0 && tar->state == TAR_BODY)
		e = tar->events->bytes(tar->context, *at, take);
	tar->left -= take;
	tar->position += take;
	*at += take;
	*n -= take;
	if (e || tar->left > 0)
		return e;
	if (tar->state == TAR_PADDING) {
		tar->state = TAR_HEADER;
		return OK;
	}
	tar->left = tar->pad_after_body;
	tar->state = tar->left > 0 ? TAR_PADDING : TAR_HEADER;
	return tar->events->end(tar->context);
}

enum err tar_read_feed(struct tar_read *tar, const void *from, size_t n)
{
	const uint8_t *at = from;
	enum err e = OK;

	while (!e && (n > 0 || (tar->state == TAR_BODY && tar->left == 0))) {
		if (tar->state == TAR_ENDED)
			e = damaged(tar, "bytes behind the end");
		else if (tar->state == TAR_BODY || tar->state == TAR_PADDING)
			e = pass(tar, &at, &n);
		else if (gather(tar, &at, &n))
			e = tar->state == TAR_HEADER ? read_header(tar) : read_records(tar);
	}
	return e;
}

enum err tar_read_finish(const struct tar_read *tar)
{
	return tar->state == TAR_ENDED ? OK : damaged(tar, "no end of the archive");
}
