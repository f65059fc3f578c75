/* A parcel: messages on their way into one folder of an IMAP server. Its seal is what the ledger
 * keeps of it from before the first byte is sent until each message is settled; after a crash the
 * folder is looked into, and parcel_match() says what became of them. docs/FORMAT.md section 8.
 * Pure functions. Not for: sending (imap_append), looking (imap_source). */
#ifndef MAILHAUL_PARCEL_H
#define MAILHAUL_PARCEL_H

#include "engine/bytes.h"
#include "engine/mail.h"
#include "engine/sink.h"
#include "transport/likeness.h"

enum { PARCEL_RECORD_BYTES = 124 };

struct parcel_record {
	uint64_t box_no, no, size_bytes;
	struct digest digest; /* of the bytes sent */
	struct digest normal; /* of their normal form; `digest` where no server alters them */
	uint32_t kind;	      /* enum mail_kind */
	uint64_t mark;	      /* mail_mark(); 0: not known */
	int64_t date_s;	      /* INT64_MIN: not known */
	uint8_t id[LIKENESS_ID_BYTES];
};

struct parcel_seal {
	struct text raw;      /* the folder, as the server spells it */
	uint32_t uidvalidity; /* RFC 9051 section 2.3.1.1 */
	/* Messages of the parcel have this UID or a higher one, and nothing else of ours has: it
	 * was asked for behind the answer to the parcel before, in the same folder. */
	uint32_t uidnext;
	struct text records; /* PARCEL_RECORD_BYTES each */
};

void parcel_record_add(struct buffer *, const struct parcel_record *);
/* The i-th; i is below records.bytes / PARCEL_RECORD_BYTES. */
void parcel_record_get(struct text records, size_t i, struct parcel_record *);
void parcel_seal_write(struct buffer *, const struct parcel_seal *);
/* Borrows from `blob`. False: it is none of ours. */
bool parcel_seal_read(struct text blob, struct parcel_seal *) MUST_CHECK;

/* ---- what became of it ---- */

/* A message found in the folder with a UID not below the seal's. */
struct parcel_found {
	uint32_t uid;
	struct digest digest, normal;
	struct digest inside; /* if it is `wrapped`: of the original inside */
	bool wrapped;
	uint64_t mark;
	int64_t date_s;
	uint8_t id[LIKENESS_ID_BYTES];
	bool settled;  /* it is the copy of a record that is settled: no other takes it */
	bool taken;    /* parcel_match()'s own, */
	uint32_t skip; /* and this */
};
/* One that the server does not hand out. */
struct parcel_unread {
	uint32_t uid;
	uint64_t size_bytes; /* as the server says; UINT64_MAX: not known */
	bool taken;	     /* parcel_match_unread()'s own */
};
enum parcel_fate {
	PARCEL_ABSENT,	/* it is not there: it may be sent again */
	PARCEL_STORED,	/* it is there, byte for byte */
	PARCEL_ALTERED, /* it is there, altered by the server: doubtful, never to be sent again
			 */
	PARCEL_UNREAD,	/* one that may be it cannot be read: doubtful, never to be sent again */
};
struct parcel_outcome {
	enum parcel_fate fate;
	uint32_t uid; /* not of ABSENT */
	bool wrapped; /* of STORED: it is inside of what has that UID */
};

/* Each message found accounts for one record at most, so identical twins stay twins, and of those
 * with the same bytes the first record has the lowest UID. One that is known to be there comes
 * before its open twins: the copy is its; one that is settled and was not stored takes nothing.
 * A `settled` copy's record is known as not stored, so it takes no other. What was delivered by
 * others matches nothing. `known`: one for each record; NULL: all are open.
 * Sorts `found`. Returns how many found messages have the bytes of a record and are one copy too
 * many: of ours or of others, nobody can tell. */
size_t parcel_match(struct text records, const enum sink_known *known, struct parcel_found *found,
		    size_t found_count, struct parcel_outcome *outcomes);

/* The same for a folder that was replaced, perhaps more than once. The first `present` records are
 * of the folder as it is, and have UIDs from `mark` on; the others are of those before it, and
 * their copies may have any. No message is two records' copy. Returns the surplus of the present
 * ones; 0 where there are others: what was settled earlier is found with them, and cannot be told
 * apart. */
size_t parcel_match_folder(struct text records, size_t present, uint32_t mark,
			   const enum sink_known *known, struct parcel_found *found,
			   size_t found_count, struct parcel_outcome *outcomes);

/* Behind that: a message that cannot be read accounts for an absent record that has its size, or
 * that some servers alter. What has the size of no record is somebody else's. */
void parcel_match_unread(struct text records, const enum sink_known *known,
			 struct parcel_unread *unread, size_t unread_count,
			 struct parcel_outcome *outcomes);

#endif
