/* Reading an archive back: what `list`, `extract` and `verify` need. docs/FORMAT.md is the format.
 * Memory does not grow with the number of messages or their size. Everything suspends but close. */
#ifndef MAILHAUL_ARCHIVE_H
#define MAILHAUL_ARCHIVE_H

#include "transport/store.h"

struct archive;
struct archive_faults;

/* Open for reading; takes no lock, so a copy may be going on. ERR_ARCHIVE_FORMAT, ERR_DISK_ABSENT.
 */
enum err archive_open(const struct store_driver *, const struct account *, nsec until,
		      struct archive **) MUST_CHECK;
void archive_close(struct archive **);

/* Mailboxes in the archive. ERR_PIPE_ENDED at the end. */
struct archive_mailbox {
	char name[512];	 /* "alice@mail.example.com" */
	char key[128];	 /* its key prefix */
	char digest[16]; /* "blake3" */
	/* By its newest manifest and the packs that came since. */
	uint64_t boxes, messages, bytes, stored_bytes, packs;
	uint64_t generation; /* of that manifest; 0: there is none yet */
};
enum err archive_mailbox_next(struct archive *, struct archive_mailbox *) MUST_CHECK;

/* Read as it was then: by the newest manifest up to a generation of each mailbox (not 0), or up to
 * a moment. A mailbox without one is passed over. Before the first archive_mailbox_next(). */
struct archive_moment {
	uint64_t generation;
	struct mail_date date; /* if it is known */
};
void archive_as_of(struct archive *, const struct archive_moment *);
/* A moment as it is written: a generation ("3"), RFC 3339, or a day ("2026-11-22"), which means its
 * end in UTC. False: it is none. */
bool archive_moment_read(const char *text, struct archive_moment *) MUST_CHECK;

/* Only the mailbox of this name, which is not empty: the others are neither read nor told of.
 * Before the first archive_mailbox_next(). */
enum err archive_only(struct archive *, const char *mailbox_name) MUST_CHECK;
/* The same by its key prefix, of at most 80 bytes. */
void archive_only_key(struct archive *, const char *mailbox_key);

/* Whom to tell of objects that are damaged or missing: by key, once each, with what is wrong. The
 * walks below then go on with what can be read and return no ERR_ARCHIVE_DAMAGED. Without it they
 * do where an object is damaged, and the next call goes on. Before the first
 * archive_mailbox_next(). */
void archive_on_damage(struct archive *,
		       void (*tell)(void *context, const char *key, const char *what),
		       void *context);

/* Whom to tell, while messages are walked, of each folder that messages have left because it was
 * renamed, replaced or deleted: by its name, at least once. Before the first
 * archive_mailbox_next(). */
void archive_on_left(struct archive *, void (*tell)(void *context, const char *box), void *context);

/* Folders of the mailbox last returned, from its newest manifest. */
enum err archive_box_next(struct archive *, struct box *) MUST_CHECK;

/* Messages of the mailbox last returned, pack by pack, as they are now: folder, number and flags by
 * the last change recorded. An index that is damaged or missing is told; its lines then come from
 * the copy inside the pack. So are damaged changes, before the first message, and a pack that is
 * not there or not as long as it was. */
struct archive_message {
	char box[BOX_NAME_BYTES_MAX + 1];
	char separator;
	char pack[192]; /* key */
	uint64_t no;	/* the source's number (UID) */
	uint64_t epoch; /* of the folder: another value, another folder of the same name */
	uint64_t size_bytes;
	struct digest digest;
	struct mail_meta meta;
	uint64_t offset;      /* of its tar member in the unpacked pack */
	uint64_t body_offset; /* of its first byte there */
	bool vanished;	      /* it was not in the source's folder any more */
	char changed[40];     /* when the last change of it was seen; "": never */
};
enum err archive_message_next(struct archive *, struct archive_message *) MUST_CHECK;

/* Hand the message's bytes to `write`, piece by piece, and compare the digest at the end
 * (ERR_ARCHIVE_DAMAGED: what was handed over is not what was stored, or it cannot be read; the note
 * names message and pack). Reads only the frames it lies in. */
enum err archive_message_read(struct archive *, const struct archive_message *,
			      enum err (*write)(void *context, const void *, size_t),
			      void *context) MUST_CHECK;

/* The same of `length` bytes of it from `offset` on, compared with nothing but what a frame says of
 * itself: for who reads a long one bit by bit and compares it at the end. */
enum err archive_message_part(struct archive *, const struct archive_message *, uint64_t offset,
			      uint64_t length,
			      enum err (*write)(void *context, const void *, size_t),
			      void *context) MUST_CHECK;

/* Check everything: every pack's stored digest, seek table, tar structure and members against
 * index, every message's digest, the manifest chain, that each change names a message that is
 * there. Goes on after a fault; `fault` is called for
 * each with the object's key and what is wrong. ERR_ARCHIVE_DAMAGED if there was one. */
struct archive_check {
	uint64_t packs, messages, bytes, stored_bytes, changes, faults;
	/* No faults, but worth a word: packs of a run that was cut or goes on (no manifest lists
	 * them yet), objects of changes likewise, objects under temporary names. */
	uint64_t packs_unlisted, changes_unlisted, leftovers;
};
enum err archive_verify(struct archive *,
			void (*fault)(void *context, const char *key, const char *what),
			void *context, struct archive_check *) MUST_CHECK;

/* What archive_verify.c and archive_history.c work on. */
struct store *archive_store(struct archive *);
struct archive_faults *archive_faults(struct archive *);
/* Of the messages of the mailbox last returned. */
const struct tap_type *archive_digest(const struct archive *);

#endif
