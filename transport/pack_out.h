/* Bytes of a tar on their way into a store: cut into zstd frames, counted, digested as stored, with
 * the seek table at the end. Knows no members; pack.c says where they end. One object is used for
 * one pack after another. docs/FORMAT.md section 2.3. */
#ifndef MAILHAUL_PACK_OUT_H
#define MAILHAUL_PACK_OUT_H

#include "transport/store.h"

struct pack_out;

/* level 0: no frames, no table. The store and the tap are borrowed until close. */
enum err pack_out_open(struct store *, struct tap *digest_of_store, int zstd_level,
		       struct pack_out **) MUST_CHECK;
void pack_out_close(struct pack_out **);

enum err pack_out_begin(struct pack_out *, const char *key) MUST_CHECK;
bool pack_out_is_begun(const struct pack_out *);
/* Append bytes of the tar. Suspends; yields now and then. */
enum err pack_out_add(struct pack_out *, const void *, size_t) MUST_CHECK;
/* A member ends here: a frame may, and one that is full does. */
void pack_out_member_end(struct pack_out *);
/* The frame ends here. May suspend. */
enum err pack_out_cut(struct pack_out *) MUST_CHECK;
/* Let other fibers run if much was done since the last time. */
enum err pack_out_breathe(struct pack_out *) MUST_CHECK;
/* Between two members: what comes from here on may be taken back. The frame ends. May suspend. */
enum err pack_out_mark(struct pack_out *) MUST_CHECK;
/* Take back everything since the mark. Suspends. */
enum err pack_out_rewind(struct pack_out *) MUST_CHECK;
uint64_t pack_out_plain_bytes(const struct pack_out *);
/* What it takes in the store: what is there, and about what is on its way there becomes. */
uint64_t pack_out_expected_bytes(const struct pack_out *);
/* Write the table; the put is the caller's from now on, to be sealed. */
enum err pack_out_end(struct pack_out *, struct store_put **, uint64_t *stored_bytes,
		      struct digest *) MUST_CHECK;
/* Never suspends; what is being compressed is left to its thread, which frees it. */
void pack_out_abort(struct pack_out *);

#endif
