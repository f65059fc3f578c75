/* Memory for parts of objects on their way into buckets: so much for all stores of a thread, so
 * that it is bounded however many objects are being written. Each store has UPLOAD_PARTS_OWN for
 * itself; beyond those all stores together have the budget's parts_shared, and who needs one more
 * waits. Pages are touched only as far as a part is filled. Not for: what is in a part, and where
 * it goes (store_s3_put.c).
 *
 * Nobody waits for ever. Of the parts that a store holds at most two may stay for as long as
 * somebody else pleases: the one that its pack fills, and the one that is kept for what lies before
 * the mark. All others are on their way to the service, or are the end of an object that is sealed
 * next by a fiber that needs no memory for it, or of one that is written from its beginning to its
 * end without a pause: they come back. So what a store holds beyond its own two comes back, which
 * is all that is shared; and a filler hands its full part to who sends before it waits for the
 * next, so that then its store can hold but one that does not come back. */
#ifndef MAILHAUL_STORE_S3_PART_H
#define MAILHAUL_STORE_S3_PART_H

#include "transport/store_s3_state.h"

struct store_s3_part {
	struct store_put *put;	    /* that it is of */
	struct store_s3_part *next; /* of those that wait to be sent */
	uint64_t base;		    /* its place in the object */
	size_t room, fill;
	size_t row;	 /* of the put's table, when it has left */
	unsigned number; /* 1 to S3_PARTS_MAX */
	bool flies;	 /* it has left, and there is no answer yet */
	uint8_t at[];
};

/* The store begins and ends to share the thread's memory. It must hold none at its end. */
void store_s3_parts_open(void);
void store_s3_parts_close(const struct store_s3_place *);
/* Memory for `room` bytes; all else is 0. Waits. Suspends. ERR_MEMORY_EXHAUSTED. */
enum err store_s3_part_take(struct store_s3_place *, size_t room,
			    struct store_s3_part **) MUST_CHECK;
/* Accepts NULL inside, leaves NULL. */
void store_s3_part_give(struct store_s3_place *, struct store_s3_part **);

#endif
