/* What is said of a message beside its bytes, where each message is an object: as user metadata of
 * the object, x-amz-meta-mailhaul-*; docs/FORMAT.md section 13.2. And what others say of theirs:
 * that the client encrypted it. Not for: bytes. */
#ifndef MAILHAUL_MIME_SAID_H
#define MAILHAUL_MIME_SAID_H

#include "engine/mail.h"
#include "transport/s3.h"

enum {
	/* Of keywords, as written: with all else below the 2 KB that S3 takes. */
	MIME_KEYWORDS_BYTES_MAX = 1400,
};

struct mime_said {
	uint64_t epoch, no; /* of the message where it came from */
	struct mail_meta meta;
	const struct tap_type *digest_type; /* NULL: none is said, or of a function we have not */
	struct digest digest;
};
/* fields  of the answer to HeadObject or GetObject
 * False: none of ours says anything that this version understands. */
bool mime_said_read(struct text fields, struct mime_said *) MUST_CHECK;

/* The S3 Encryption Client's, in any of its formats. */
bool mime_said_encrypted(struct text fields);

/* The same, to be stored. Large: keep it off fiber stacks, and where it is. */
struct mime_saying {
	struct s3_metadata metadata[S3_METADATA_MAX];
	size_t count;
	char epoch[21], no[21], dropped[6], date[40], flags[64];
	char keywords[MIME_KEYWORDS_BYTES_MAX + 1];
	char digest[16 + 1 + 2 * DIGEST_BYTES + 1];
};
/* digest  NULL: not known yet
 * returns how many keywords are left out, because there are too many or they are too long */
unsigned mime_saying_make(struct mime_saying *, uint64_t epoch, uint64_t no,
			  const struct mail_meta *, const char *digest_name,
			  const struct digest *digest);

#endif
