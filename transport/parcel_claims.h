/* Copies in a folder that are some message's already, by the UIDs that the ledger has for them:
 * what becomes of a seal is asked without them, or the copy of one message would pass for that of
 * its twin, from this mailbox or from another one that goes to the same folder. They lie in scratch
 * storage, so memory does not grow with the folder. Not for: asking the ledger (imap_recover). */
#ifndef MAILHAUL_PARCEL_CLAIMS_H
#define MAILHAUL_PARCEL_CLAIMS_H

#include "transport/parcel.h"

struct parcel_claims;

/* For a folder in which these records have UIDs from `mark` on; further records are of another one.
 * `records` is borrowed until close. 24 bytes a record. ERR_MEMORY_EXHAUSTED. */
enum err parcel_claims_open(struct text records, uint32_t mark, struct parcel_claims **) MUST_CHECK;
void parcel_claims_close(struct parcel_claims **);
/* A sink_each_copy; the context is the claims. 44 bytes of scratch storage for each that counts:
 * of other mailboxes all, of this one those of the records, because whatever else it has there was
 * sent later. ERR_DISK_*, ERR_MEMORY_EXHAUSTED. */
enum err parcel_claims_add(void *claims, const struct sink_copy *) MUST_CHECK;
/* All of them are added. Before anything is asked. */
void parcel_claims_sort(struct parcel_claims *);

enum parcel_claim {
	PARCEL_NOBODYS,
	PARCEL_OTHERS, /* of another mailbox */
	PARCEL_OURS,   /* a record's */
};
/* Whose the message is. A claim on other bytes than are there counts for nothing: servers were seen
 * to tell UIDs that are not true. */
enum parcel_claim parcel_claims_find(const struct parcel_claims *,
				     const struct parcel_found *) MUST_CHECK;
/* A record whose copy is `settled`, or claimed and not to be read, takes no other: it becomes
 * SINK_KNOWN_NOT_STORED. What cannot be read and is claimed goes from `unread`. Returns how many
 * records these are. */
size_t parcel_claims_settle(const struct parcel_claims *, const struct parcel_found *found,
			    size_t found_count, struct parcel_unread *unread, size_t *unread_count,
			    enum sink_known *known);

#endif
