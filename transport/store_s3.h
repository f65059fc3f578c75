/* A store in a bucket (store.h): docs/FORMAT.md section 11. An account for it has the scheme "s3",
 * the bucket's name in `host`, the archive's place in `path` and, in `s3`, the rest:
 *
 *	s3://BUCKET/PREFIX/
 *
 * with a prefix of the characters that keys have. Below another there is nothing, and nothing can
 * be made: ERR_DISK_ABSENT, ERR_INPUT_USAGE.
 *
 * Its open() asks nobody, so that ERR_S3_BUCKET and its like come with the first call, and makes
 * nothing: a prefix needs no making. Beside store.h's errors all calls return those of s3.h, and
 * suspend on a fiber with FIBER_STACK_LARGE; each has a deadline of its own. */
#ifndef MAILHAUL_STORE_S3_H
#define MAILHAUL_STORE_S3_H

#include "transport/bucket_stored.h"
#include "transport/s3.h"
#include "transport/store.h"

enum {
	STORE_S3_LEDGER_BYTES = 16,
};

/* By what it was proved that an object which was made visible is what was meant. */
enum store_s3_proof {
	STORE_S3_BY_CRC64NVME, /* of the whole, as the service says it */
	STORE_S3_BY_CRC32C,
	STORE_S3_BY_ETAG,      /* its MD5 */
	STORE_S3_BY_READ_BACK, /* the service says nothing of use; all of it was read again */
	STORE_S3_PROOFS
};
/* For the run's report. */
struct store_s3_proofs {
	_Atomic uint64_t objects[STORE_S3_PROOFS];
};

/* All is borrowed until the store is closed. */
struct store_s3_config {
	/* All but `bucket` and `way`: these are the account's. A host that is none of AWS's may
	 * ignore If-None-Match, and more: FORMAT.md section 11.4. Where it does not know the
	 * checksum CRC64NVME, lock() chooses CRC32C, and says so in the log. */
	struct s3_config s3;
	/* Counted up by all stores that have it, on any thread; NULL: nobody asks. */
	struct store_s3_proofs *proofs;
	const uint8_t *ledger_id; /* of the lock; NULL: it will not be locked */
	const char *machine;	  /* this one's name, for the lock */
	/* Told of each object that is stored, for bucket_audit.h; NULL: nobody is. */
	struct bucket_stored *stored;
	/* 0: as the budget has it. It doubles in objects that would need more than S3_PARTS_MAX.
	 * How many there are at once is the budget's (store_s3_part.h), as is how many are sent at
	 * once while somebody is in serve(). */
	size_t part_bytes;
	size_t part_bytes_least; /* that the server takes but for the last; 0: S3_PART_BYTES_MIN */
};

/* The bucket of such a store, and below what its keys lie ("" or with '/' at its end), both as long
 * as the store: for bucket_guard_check() and bucket_audit(). On the store's thread. */
struct s3 *store_s3_bucket(struct store *, const char **prefix);

/* ---- objects with metadata, of a store whose type is store_s3 ---- */

/* What lies under a key, beside what is to lie there. */
enum store_s3_there { STORE_S3_ABSENT, STORE_S3_SAME, STORE_S3_OTHER };

struct store_s3_object {
	const char *key;
	const struct text *pieces; /* all of it, borrowed until return */
	size_t pieces_count;
	const struct s3_metadata *metadata;
	size_t metadata_count;
};
/* As put_whole(). *there: what was there before; of ABSENT it is there now, of the others nothing
 * was changed. Several may be under way. */
enum err store_s3_put_object(struct store *, const struct store_s3_object *,
			     enum store_s3_there *there) MUST_CHECK;
/* As put_open(). The metadata is borrowed until return. */
enum err store_s3_put_open_with(struct store *, const char *key, const struct s3_metadata *,
				size_t metadata_count, struct store_put **) MUST_CHECK;
/* By length and checksum (crc_update() of all); where the service has none of the whole, by reading
 * it. */
enum err store_s3_look(struct store *, const char *key, uint64_t bytes, uint64_t crc,
		       enum store_s3_there *) MUST_CHECK;
/* What is said of an object: as s3_head_fields() has it. ERR_DISK_ABSENT. */
enum err store_s3_fields(struct store *, const char *key, struct buffer *fields) MUST_CHECK;

#endif
