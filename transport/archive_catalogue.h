/* What a mailbox of an archive holds now, by folder and key: for who asks for ranges of keys, where
 * archive.h walks pack by pack. Made in one walk; then nothing in it changes, whatever is written
 * into the archive meanwhile.
 *
 * A message's key is its number (UID). One whose folder had another epoch (UIDVALIDITY) than the
 * folder has now, which only a run that was cut leaves, has the number of that epoch among the
 * folder's former ones in its upper bits: so keys stay what they are while the archive grows.
 *
 * Costs some 120 bytes for each message in scratch memory that the kernel may put aside, and the
 * folders' names. */
#ifndef MAILHAUL_ARCHIVE_CATALOGUE_H
#define MAILHAUL_ARCHIVE_CATALOGUE_H

#include "transport/archive.h"

struct archive_catalogue;

/* Folders that have no message and whose messages went to another one (renamed, replaced, deleted)
 * are not there, `gone`. */
struct archive_folder {
	char *name, *raw;
	char separator;
	enum box_use use;
	bool subscribed, selectable, gone;
	uint64_t epoch, next_no;
	uint64_t messages, bytes; /* with those that no key can be given to */
	uint64_t mark[2];	  /* equal: the same messages, keys and flags */
	size_t first, end;	  /* its places in the order of folders and keys */
};

struct archive_key {
	uint64_t no;
	uint32_t folder; /* its index */
	uint32_t row;	 /* grows in the order of the packs */
};

/* What could not be read, and what only it knew is missing. */
struct archive_loss {
	char key[STORE_KEY_BYTES_MAX + 1];
	char what[ERR_NOTE_BYTES_MAX];
};
enum { ARCHIVE_LOSSES_MAX = 16 };

/* The next mailbox of the archive, of which only single messages may be read from then on.
 * vanished  with messages that were not in the source's folder any more
 * returns   OK | ERR_PIPE_ENDED: there is none | ERR_DISK_* | ERR_MEMORY_EXHAUSTED. Suspends. */
enum err archive_catalogue_open(struct archive *, bool vanished,
				struct archive_catalogue **) MUST_CHECK;
void archive_catalogue_close(struct archive_catalogue **);

/* None of these suspends. */
size_t archive_catalogue_folders(const struct archive_catalogue *);
const struct archive_folder *archive_catalogue_folder(const struct archive_catalogue *, size_t);
/* What the names of all top-level folders but INBOX began with at the source; mostly empty. */
const char *archive_catalogue_prefix(const struct archive_catalogue *);
/* By its raw name; SIZE_MAX: there is none. */
size_t archive_catalogue_find(const struct archive_catalogue *, const char *raw);
/* The place of the folder's first key that is not below `no`; folder->end: there is none. */
size_t archive_catalogue_seek(const struct archive_catalogue *, size_t folder, uint64_t no);
const struct archive_key *archive_catalogue_key(const struct archive_catalogue *, size_t place);
/* The message of a key, as it is now; `no` is the key. */
void archive_catalogue_message(const struct archive_catalogue *, const struct archive_key *,
			       struct archive_message *);
/* What was lost: folders may be short of messages, or wrong in flags, that is not known. The first
 * ARCHIVE_LOSSES_MAX can be asked for. */
size_t archive_catalogue_losses(const struct archive_catalogue *);
const struct archive_loss *archive_catalogue_loss(const struct archive_catalogue *, size_t);

#endif
