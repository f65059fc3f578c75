/* What the files of a store in a bucket share. Nobody else's. */
#ifndef MAILHAUL_STORE_S3_STATE_H
#define MAILHAUL_STORE_S3_STATE_H

#include "engine/fiber.h"
#include "transport/store_lock.h"
#include "transport/store_s3.h"

enum {
	STORE_S3_PREFIX_BYTES_MAX = S3_KEY_BYTES_MAX - STORE_KEY_BYTES_MAX - 8,
	STORE_S3_PLACE_BYTES = S3_BUCKET_BYTES_MAX + STORE_S3_PREFIX_BYTES_MAX + sizeof "s3:///",
};

/* What all objects of one store have in common. */
struct store_s3_place {
	struct s3 *s3;
	struct account way;
	const struct store_s3_config *config;
	char prefix[STORE_S3_PREFIX_BYTES_MAX + 1]; /* "" or with '/' at its end */
	char name[STORE_S3_PLACE_BYTES];	    /* "s3://BUCKET/PREFIX", for people */
	struct store_lock *lock;
	enum crc_kind checksum; /* the s3's, which is the config's until lock() */
	bool is_careful;	/* the server is none of AWS's: FORMAT.md section 11.4 */
	/* ---- store_s3_put.c ---- */
	unsigned senders; /* fibers of who serves */
	struct wait_queue work;
	struct store_s3_part *waiting; /* for them, oldest first */
	struct store_put *given_up;
	unsigned parts_held; /* store_s3_part.c */
};

/* The object's key in the bucket; "" is the prefix itself. */
char *store_s3_key(char to[S3_KEY_BYTES_MAX + 1], const struct store_s3_place *, const char *key);
/* It is there, and proven: for the audit. */
void store_s3_was_stored(const struct store_s3_place *, const char *key, uint64_t bytes,
			 uint64_t crc);
/* The deadline of one call. */
nsec store_s3_patience(void);
/* ERR_S3_ABSENT and ERR_S3_EXISTS as store.h has them, with the same words. */
enum err store_s3_error(enum err);
/* The other error instead, which says `text` in front of those words. */
enum err store_s3_instead(enum err, const char *key, const char *text);

/* ---- store_s3_whole.c ---- */

/* By length and checksum; where the service has none of the whole, by reading it. SAME counts as
 * the object's proof. */
enum err store_s3_compare(struct store_s3_place *, const char *key, uint64_t bytes, uint64_t crc,
			  enum store_s3_there *) MUST_CHECK;
/* It was stored just now, and nothing has proved what: ERR_SINK_DAMAGED. */
enum err store_s3_prove(struct store_s3_place *, const char *key, uint64_t bytes,
			uint64_t crc) MUST_CHECK;
enum err store_s3_put_whole(struct store_s3_place *, const char *key, const void *,
			    size_t) MUST_CHECK;
enum err store_s3_whole_put(struct store_s3_place *, const struct store_s3_object *,
			    enum store_s3_there *) MUST_CHECK;

/* ---- store_s3_checksum.c ---- */

void store_s3_checksum_use(struct store_s3_place *, enum crc_kind);
/* By what the service answers, if it is none of AWS's; before anything is written there, and before
 * any other call is under way. */
enum err store_s3_checksum_choose(struct store_s3_place *) MUST_CHECK;
/* An object is visible, and this has proved that it is what was meant. */
void store_s3_proved(const struct store_s3_place *, enum store_s3_proof);
/* A proof of the service's own. */
enum store_s3_proof store_s3_proof_of(const struct store_s3_place *, enum s3_proof);

/* Whether it is the MD5 of the parts' MD5s, as bytes, and behind it "-" and their number: what the
 * service has put together is the parts that it was proved to have, in this order. Something else
 * proves nothing either way. */
bool store_s3_etag_is_of_parts(const struct s3_complete *, const char *etag);

/* ---- store_s3_lock.c ---- */

enum err store_s3_lock(struct store_s3_place *) MUST_CHECK;
/* Ends the uploads that were given up, and, unless other stores of the process share the lock, all
 * others of ours; then it deletes the lock object. What goes wrong is logged, and the note stays as
 * it was. */
void store_s3_unlock(struct store_s3_place *, nsec until);
/* End all uploads of ours below a key prefix, "" or with '/' at its end. */
enum err store_s3_uploads_end(struct store_s3_place *, const char *below, nsec until) MUST_CHECK;
enum err store_s3_uploads_count(struct store_s3_place *, uint64_t *count) MUST_CHECK;
/* This one, until the service knows it no more; so it does not if it was completed. The key is that
 * in the bucket. */
enum err store_s3_upload_end(struct store_s3_place *, const char *key, const char *upload_id,
			     nsec until) MUST_CHECK;

#endif
