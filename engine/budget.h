/* What each part of the program may take of memory, and what it took. The sizes of the parts follow
 * from the run's shape: one mailbox alone gets wide buffers, many at once get small ones, so that
 * the sum stays below what is promised (BUDGET_* below; docs/ARCHITECTURE.md). Set once, before
 * threads start; read from any thread. Not for: handing out memory. */
#ifndef MAILHAUL_BUDGET_H
#define MAILHAUL_BUDGET_H

#include "engine/base.h"

/* The run's shape. */
struct budget_shape {
	unsigned workers;
	unsigned lanes;	      /* mailboxes under way at once, on all workers */
	unsigned connections; /* most that one mailbox may have with its source */
	unsigned pairs;	      /* connections with sources at once, in all */
	uint64_t waiting;     /* mailboxes of the list */
	unsigned offload_threads;
	bool to_servers;   /* some targets are servers, where it is looked at what was stored */
	bool to_buckets;   /* some targets are archives in buckets */
	bool from_buckets; /* some sources are */
	/* Of one compressor's context for frames of FRAME_BYTES, and of FRAME_BYTES_OF_MANY. */
	size_t compressor_bytes, compressor_bytes_of_many;
	/* Conversations of a pair that are to be compressed: 0, 1 or both. */
	unsigned compressed;
};

/* What follows from it for a worker and a lane. */
struct budget {
	struct budget_shape shape;
	unsigned chunks, chunks_per_reader; /* of the arena, that a lane always has */
	unsigned loans;			    /* for which a worker's arena has chunks beyond those */
	unsigned recv_buffers;		    /* of a worker, unless its receivers starve */
	unsigned recv_held;		    /* of them that one connection may hold */
	unsigned frames;		    /* on their way through the compressor */
	size_t frame_bytes;		    /* the longest zstd frame */
	size_t put_bytes;		    /* a write buffer: each object being written has two */
	size_t part_bytes;		    /* of an object that goes to a bucket */
	unsigned uploads;		    /* such parts that a lane sends at once */
	unsigned parts_shared; /* that a worker's lanes have beyond UPLOAD_PARTS_OWN each */
	size_t ahead_bytes;    /* read ahead of an object in a bucket */
	size_t lines_bytes;    /* index lines of a pack before it is closed */
	unsigned filled;       /* complete packs that wait to be sealed */
};
/* Plans for it. What many workers need beside 2 MiB for each of their connections may be more than
 * is promised, however narrow all is: budget_is_kept() tells, and then fewer must do. */
void budget_set(const struct budget_shape *);
bool budget_is_kept(void);
/* Unless set: one mailbox with LANE_READERS_MAX connections. */
const struct budget *budget(void);

/* Chunks of a lane with so many conversations: its own, and with a loan that makes its largest
 * messages possible. */
unsigned budget_lane_chunks(unsigned connections);
unsigned budget_lane_chunks_most(unsigned connections);
/* Of a worker's arena. */
unsigned budget_arena_chunks(void);
/* A worker that has so many connections begins no further mailbox, so that none of them needs room
 * for all; with its last one it may have up to `shape.connections` - 1 more. */
unsigned budget_worker_connections(void);
/* Conversations of a worker's lanes with the service that has their targets' buckets: each lane's
 * uploads, and one in which it asks for other things meanwhile; no more than UPLOADS_OF_WORKER, for
 * which they wait in turn. 0: there are no such targets. */
unsigned budget_bucket_connections(void);

/* ---- what was taken ---- */

/* BUDGET_PART(name, what it is) */
#define BUDGET_PARTS_ALL(BUDGET_PART)                                                              \
	BUDGET_PART(PROGRAM, "program", "code, libraries and their tables, threads")               \
	BUDGET_PART(RECEIVE, "receive", "receive buffers of the workers' rings")                   \
	BUDGET_PART(ARENA, "arena", "message bytes on their way")                                  \
	BUDGET_PART(STACKS, "stacks", "fibers' stacks")                                            \
	BUDGET_PART(LANES, "lanes", "mailboxes under way: pipe, plan, report")                     \
	BUDGET_PART(CONNECTIONS, "connections",                                                    \
		    "conversations with servers, and what is read ahead")                          \
	BUDGET_PART(COMPRESSORS, "compressors", "compressors' contexts, one a thread")             \
	BUDGET_PART(FRAMES, "frames", "frames on their way through the compressor")                \
	BUDGET_PART(WRITES, "writes", "write buffers, and messages on their way to servers")       \
	BUDGET_PART(PACKS, "packs", "index lines, sums and seals of packs not settled yet")        \
	BUDGET_PART(LEDGER, "ledger", "the storage's cache, and queues")                           \
	BUDGET_PART(WAITING, "waiting", "mailboxes of the list")

enum budget_part {
#define BUDGET_PART(id, name, text) BUDGET_##id,
	BUDGET_PARTS_ALL(BUDGET_PART)
#undef BUDGET_PART
		BUDGET_PARTS
};
const char *budget_part_name(enum budget_part);
const char *budget_part_text(enum budget_part);

/* A part took or gave back bytes. Any thread. */
void budget_take(enum budget_part, size_t bytes);
void budget_give(enum budget_part, size_t bytes);
/* The same for somebody whose share of a part grows and shrinks: *held becomes `bytes`. */
void budget_hold(enum budget_part, size_t *held, size_t bytes);
/* The most it ever held at once; 0 where nobody counts. */
uint64_t budget_high(enum budget_part);
/* The most it may hold in a run of this shape. */
uint64_t budget_bound(enum budget_part);
uint64_t budget_bound_sum(void);
/* What is promised for this shape: 64 MiB, 2 MiB a connection pair, 4 KiB a waiting mailbox, and
 * what was asked for beyond that: COMPRESSED_CONVERSATION_BYTES a compressed conversation, and for
 * targets in buckets the parts of objects and the conversations in which they are sent. */
uint64_t budget_promise(void);

#endif
