/* The index of a pack: what its header line and its message lines say, written and read.
 * docs/FORMAT.md section 3. */
#ifndef MAILHAUL_PACK_INDEX_H
#define MAILHAUL_PACK_INDEX_H

#include "transport/ndjson.h"
#include "transport/tar.h"

/* The header line. In the copy inside a pack the last three are missing (and 0 when read). */
struct pack_head {
	char mailbox[512];
	char pack[STORE_KEY_BYTES_MAX + 1];
	char created[40];
	char digest_name[16];
	uint64_t messages, bytes, plain_bytes, pack_bytes;
	uint8_t pack_digest[DIGEST_BYTES];
};
void pack_head_add(struct buffer *, const struct pack_head *, bool whole);
bool pack_head_read(struct text line, struct pack_head *) MUST_CHECK;

/* A folder as it stands in every line of its messages, made once. */
struct pack_box {
	uint64_t box_no, epoch;
	struct text name;    /* UTF-8 as the source has it */
	struct text escaped; /* the same as JSON */
	struct text path;    /* the same as tar levels */
	char separator;
};

/* Append the line of one message. */
struct pack_place {
	struct text member;
	uint64_t offset, body_offset;
};
void pack_line_add(struct buffer *, const struct pack_box *, const struct item *,
		   const struct pack_place *);

/* One line read back. Large: keep it off fiber stacks. */
struct pack_line {
	char box[BOX_NAME_BYTES_MAX + 1], separator[5];
	uint64_t epoch, no, size_bytes;
	struct digest digest;
	char date[40], flags[64], keywords[KEYWORDS_BYTES_MAX + 1], kind[24];
	char member[TAR_NAME_BYTES_MAX + 1];
	uint64_t offset, body_offset;
};
bool pack_line_read(struct text line, struct pack_line *) MUST_CHECK;
void pack_line_meta(const struct pack_line *, struct mail_meta *);
/* The same of its texts, which fit. */
void pack_meta_read(const char *date, const char *flags, const char *keywords, struct mail_meta *);

/* System flags by name, separated by a space, in the order of enum mail_flag. */
void pack_flags_add(struct buffer *, uint32_t flags);

/* "<mailbox>/packs/000000000017.tar.zst" -> "<mailbox>/index/000000000017.ndjson.zst". */
void pack_index_key(char to[STORE_KEY_BYTES_MAX + 1], const char *pack_key);
/* Keys by mailbox and number. */
void pack_key(char to[STORE_KEY_BYTES_MAX + 1], const char *mailbox_key, uint64_t number,
	      bool compressed);
/* The number in a name like "000000000017.tar.zst" (12 digits or more, then '.'); false for any
 * other. */
bool pack_number(const char *name, uint64_t *number);

#endif
