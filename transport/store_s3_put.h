/* One object on its way into a bucket, as an upload of parts. The functions are those of struct
 * store_driver. */
#ifndef MAILHAUL_STORE_S3_PUT_H
#define MAILHAUL_STORE_S3_PUT_H

#include "transport/store_s3_state.h"

/* The place is borrowed until the put ends, the metadata until return. */
enum err store_s3_put_open(struct store_s3_place *, const char *key, const struct s3_metadata *,
			   size_t metadata_count, struct store_put **) MUST_CHECK;
enum err store_s3_put_write(struct store_put *, const void *, size_t) MUST_CHECK;
void *store_s3_put_room(struct store_put *, size_t *bytes);
enum err store_s3_put_took(struct store_put *, size_t) MUST_CHECK;
enum err store_s3_put_mark(struct store_put *, uint64_t *bytes) MUST_CHECK;
enum err store_s3_put_rewind(struct store_put *, uint64_t bytes) MUST_CHECK;
enum err store_s3_put_seal(struct store_put *) MUST_CHECK;
enum err store_s3_put_publish(struct store_put **) MUST_CHECK;
void store_s3_put_abort(struct store_put **);

/* Send parts that were filled, and end uploads that were given up, until cancelled. */
enum err store_s3_put_serve(struct store_s3_place *) MUST_CHECK;
/* Uploads that were given up and not ended yet. An error leaves the rest for the next run. */
enum err store_s3_put_end_given_up(struct store_s3_place *, nsec until) MUST_CHECK;
/* The memory of what nobody ended. */
void store_s3_put_forget(struct store_s3_place *);

#endif
