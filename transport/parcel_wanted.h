/* Which messages of a folder could be one of the records of a seal: so that of a folder that others
 * fill as well, no more is kept in memory than may be ours. Pure. Not for: which of them it is
 * (parcel_match). */
#ifndef MAILHAUL_PARCEL_WANTED_H
#define MAILHAUL_PARCEL_WANTED_H

#include "transport/parcel_claims.h"

struct parcel_wanted;

/* 120 bytes a record. Of the claims, which are borrowed until close (NULL: there are none), those
 * of others are not wanted. ERR_MEMORY_EXHAUSTED. */
enum err parcel_wanted_open(struct text records, const struct parcel_claims *,
			    struct parcel_wanted **) MUST_CHECK;
void parcel_wanted_close(struct parcel_wanted **);
/* Whether the message may be a record's; says whether it is `settled`. Of those that are not and
 * are alike one more is kept than there are records, so in all less than seven times the records;
 * further ones are counted. */
bool parcel_wanted_keeps(struct parcel_wanted *, struct parcel_found *);
/* Of all that was kept only these are; the others are found anew. */
void parcel_wanted_anew(struct parcel_wanted *, struct parcel_found *, size_t count, size_t over);
/* Messages with the bytes of a record that were not kept. */
size_t parcel_wanted_over(const struct parcel_wanted *);

#endif
