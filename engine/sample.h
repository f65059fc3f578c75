/* A sample of stored messages: of each folder and size class (of which the largest message has less
 * than twice the bytes of the smallest) so many in a million, and one at least. The same numbers
 * with the same seed are the same sample. Pure. Not for: what is done with it (recheck.h). */
#ifndef MAILHAUL_SAMPLE_H
#define MAILHAUL_SAMPLE_H

#include "engine/base.h"

enum { SAMPLE_ALL = 1000 * 1000, SAMPLE_CLASSES = 65 };

/* One folder's, by size class. */
struct sample {
	uint64_t seed;
	struct sample_class {
		uint64_t there;	       /* counted */
		uint64_t left, wanted; /* not passed yet; of them to be taken */
		uint64_t dice;
	} classes[SAMPLE_CLASSES];
};

/* "2%", "0.05%", "100%": as parts of a million, from 1 to SAMPLE_ALL. False if it is none. */
bool sample_parse(const char *, uint32_t *per_million) MUST_CHECK;

/* For the folder of this number. */
void sample_begin(struct sample *, uint64_t seed, uint64_t box_no);
/* First each message is counted, ... */
void sample_count(struct sample *, uint64_t size_bytes);
/* ... then it is said how many of them are wanted, ... */
void sample_draw(struct sample *, uint32_t per_million);
/* ... and each is asked about, in any order that is the same each time. A message more than were
 * counted is not taken. */
bool sample_takes(struct sample *, uint64_t size_bytes);

#endif
