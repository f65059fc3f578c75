/* The archive's sink, watched: what it is told of messages moved before is also written down, in
 * memory that all processes of a test share. What was being flushed when a process ends is lost or
 * kept, process by process, as it may be on a disk. Not for: judging it (delta_test.c). */
#ifndef MAILHAUL_RECORD_SINK_H
#define MAILHAUL_RECORD_SINK_H

#include "engine/sink.h"

enum { RECORDS_MAX = 2048, RECORD_NAME_BYTES = 128 };

struct record {
	enum change_kind kind;
	char box[RECORD_NAME_BYTES], was_box[RECORD_NAME_BYTES];
	uint64_t epoch, no, was_epoch, was_no;
	uint64_t mark; /* of the flags told */
};
struct records {
	unsigned count, flushed;
	unsigned flushing; /* may be on the disk */
	unsigned opened; /* times */
	struct record records[RECORDS_MAX];
};

extern const struct sink_driver record_sink;
/* Where it is written from now on. */
void record_into(struct records *);

#endif
