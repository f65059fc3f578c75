/* Building a pack: messages become tar members as their bytes go by, then index, sums and the end.
 * docs/FORMAT.md section 2. One object builds one pack after another. Not for: where packs go and
 * when they count (archive_sink.c), reading (pack_read.c). */
#ifndef MAILHAUL_PACK_H
#define MAILHAUL_PACK_H

#include "transport/pack_index.h"
#include "transport/seal.h"

struct pack;
struct pack_config {
	struct store *store;
	const struct tap_type *digest; /* of messages */
	struct tap *digest_of_store;
	int zstd_level; /* 0: off */
	uint64_t pack_bytes;
	const char *mailbox_name;
};

/* Everything in the configuration is borrowed until close. */
enum err pack_open(const struct pack_config *, struct pack **) MUST_CHECK;
void pack_close(struct pack **);

/* created_s: seconds since 1970, the pack's date and the latest mtime in it. */
enum err pack_begin(struct pack *, const char *key, int64_t created_s) MUST_CHECK;
bool pack_is_begun(const struct pack *);
/* Pull the body to its end; item->digest is filled by then (tapped_open). If the body fails nothing
 * of it stays in the pack and *pack_broken is false; otherwise the pack cannot be used any more.
 * item->size_bytes is exact.
 */
enum err pack_add(struct pack *, const struct pack_box *, struct item *,
		  bool *pack_broken) MUST_CHECK;
/* One of the bounds was reached. */
bool pack_is_full(const struct pack *);

/* What a pack leaves behind when all its bytes are on their way. */
struct pack_done {
	char key[STORE_KEY_BYTES_MAX + 1];
	struct store_put *put; /* not sealed yet */
	uint64_t stored_bytes;
	struct digest digest;
	struct buffer records; /* of its seal */
	struct buffer index;   /* the index file */
};
/* Write the last members and the table. The result is the caller's: pack_done_free(). */
enum err pack_end(struct pack *, struct pack_done *) MUST_CHECK;
void pack_done_free(struct store *, struct pack_done *);
void pack_abort(struct pack *);

#endif
