/* What says that a store is an archive, whose it is, and which mailboxes lie in it: the marker at
 * the root and each mailbox.json. docs/FORMAT.md section 1. */
#ifndef MAILHAUL_ARCHIVE_MARK_H
#define MAILHAUL_ARCHIVE_MARK_H

#include "transport/store.h"

enum {
	ARCHIVE_LEDGER_ID_BYTES = 16,
	ARCHIVE_MAILBOX_KEY_BYTES_MAX = 80, /* 64, '-', 8 */
};

/* `shown` names the store in errors. *found false: there is nothing at all. ERR_SINK_FOREIGN: there
 * is something, but no marker. ERR_ARCHIVE_FORMAT: a marker that we cannot read. */
enum err archive_mark_read(struct store *, const char *shown, bool *found,
			   uint8_t ledger_id[ARCHIVE_LEDGER_ID_BYTES]) MUST_CHECK;
/* The same, and ERR_SINK_LEDGER_LOST if it belongs to another ledger. *found may be false. */
enum err archive_mark_check(struct store *, const char *shown,
			    const uint8_t ledger_id[ARCHIVE_LEDGER_ID_BYTES],
			    bool *found) MUST_CHECK;
/* Lock the store (ERR_SINK_BUSY) and make it this ledger's archive, unless it is. Check it first:
 * this changes what is there. Lanes may do so at the same time; the marker is written once. */
enum err archive_mark_claim(struct store *, const char *shown,
			    const uint8_t ledger_id[ARCHIVE_LEDGER_ID_BYTES]) MUST_CHECK;

/* The mailbox's folder in the store. */
enum err archive_mailbox_key(char to[ARCHIVE_MAILBOX_KEY_BYTES_MAX + 1],
			     const char *name) MUST_CHECK;

struct archive_mailbox_mark {
	char name[512];
	char digest_name[16];
};
/* ERR_DISK_ABSENT: none there; ERR_ARCHIVE_DAMAGED. */
enum err archive_mailbox_read(struct store *, const char *mailbox_key,
			      struct archive_mailbox_mark *) MUST_CHECK;
enum err archive_mailbox_write(struct store *, const char *mailbox_key,
			       const struct archive_mailbox_mark *) MUST_CHECK;

#endif
