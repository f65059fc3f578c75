/* Which messages lie below a prefix of a bucket, one object each: keys of any spelling,
 * sub-prefixes are folders. One list is read, a page at a time; rows lie in scratch memory, so that
 * a million objects cost a list of a thousand requests and no more memory than there is. Not for:
 * what is in the objects (mime_source.c).
 *
 * A message's number is made of its key and its ETag (docs/FORMAT.md section 13.4): the same as
 * long as the object is the same, and another one's never. */
#ifndef MAILHAUL_MIME_CATALOGUE_H
#define MAILHAUL_MIME_CATALOGUE_H

#include "engine/mail.h"
#include "transport/s3.h"
#include "transport/store.h"

enum {
	MIME_NO_BITS = 62,
	MIME_EPOCH = 1, /* of all folders: what a number means does not change */
	MIME_TAG_BYTES = 2 * 16 + 1,
};

struct mime_folder {
	char *name; /* UTF-8 */
	char separator;
	enum box_use use;
	bool subscribed, selectable;
	bool gone; /* all of its messages have left it */
	uint64_t messages, bytes;
	uint64_t next_no;	  /* above all numbers */
	char tag[MIME_TAG_BYTES]; /* another one when any of its messages is another one */
	size_t first, end;	  /* its places */
};

struct mime_message {
	uint64_t no, size_bytes;
	int64_t time_s; /* last modified */
	/* An instruction file of the S3 Encryption Client lies beside it. */
	bool has_instructions;
	char key[S3_KEY_BYTES_MAX + 1]; /* in the bucket */
	char etag[S3_ETAG_BYTES_MAX + 1];
};

/* Borrowed for the call; the bucket by its name and `owner`, whatever stands for the account. */
struct mime_place {
	struct s3 *s3;
	const char *bucket;
	const void *owner;
	const char *prefix; /* "" or with '/' at its end */
	/* Of a mailbox of ours (docs/FORMAT.md section 13), in which each folder says its name and
	 * changes what became of messages; NULL: it is none. */
	struct store *store;
	const char *mailbox_key;
	bool vanished; /* with what vanished from its source later */
};

struct mime_catalogue;
/* Conversations of one thread with one place share a catalogue. anew: list it again, for this one
 * and those that come. Suspends.
 * returns     OK | ERR_S3_* and what s3_list() returns | ERR_MEMORY_EXHAUSTED | ERR_DISK_FULL |
 *             ERR_ARCHIVE_DAMAGED: a folder does not say its name */
enum err mime_catalogue_take(const struct mime_place *, bool anew,
			     struct mime_catalogue **) MUST_CHECK;
void mime_catalogue_give(struct mime_catalogue **);

/* In the order in which the list had them first. */
size_t mime_catalogue_folders(const struct mime_catalogue *);
const struct mime_folder *mime_catalogue_folder(const struct mime_catalogue *, size_t index);
/* By name; SIZE_MAX: there is none. */
size_t mime_catalogue_find(const struct mime_catalogue *, const char *name);
/* The folder's first place whose number is not below `no`; places are in the order of numbers. */
size_t mime_catalogue_seek(const struct mime_catalogue *, size_t folder, uint64_t no);
uint64_t mime_catalogue_no(const struct mime_catalogue *, size_t place);
void mime_catalogue_message(const struct mime_catalogue *, size_t place, struct mime_message *);
/* Make flags and keywords that were stored with a message those that it has now. False: they are.
 */
bool mime_catalogue_meta(const struct mime_catalogue *, size_t place, struct mail_meta *);

#endif
