/* Every bound of the program, beside the sentence that justifies it. Memory at start is their sum
 * (docs/ARCHITECTURE.md shows it); running out means waiting, never failing. */
#ifndef MAILHAUL_LIMITS_H
#define MAILHAUL_LIMITS_H

enum {
	/* Unit of payload memory: four TLS records, so a record rarely straddles; 16 of them are
	 * the largest message that is staged whole. */
	CHUNK_BYTES = 64 * 1024,
	IOLIST_SLICES_MAX = 16,
	STAGE_BYTES_MAX = CHUNK_BYTES * (IOLIST_SLICES_MAX - 1),

	/* One arena per worker. 256 chunks are 16 MiB. */
	ARENA_CHUNKS_DEFAULT = 256,
	/* A lane reserves its worst case before it connects: one staged message being filled, one
	 * being stored, and the same again in the pipe between the two fibers. */
	LANE_CHUNKS_RESERVED = 4 * IOLIST_SLICES_MAX,
	/* Each further conversation with the source fills a staged message of its own. */
	LANE_CHUNKS_PER_READER = IOLIST_SLICES_MAX,
	/* Conversations one mailbox may have with its source at once. Servers allow 10 to 20 an
	 * account (Dovecot's default is 10), and its owner's own clients need some. */
	LANE_READERS_MAX = 8,
	/* Items between the read and the write fiber; each is small, the chunks are counted above.
	 */
	PIPE_ITEMS_MAX = 64,

	/* Receive buffers of one ring: a TLS record each; 256 are 4 MiB, which stays in the outer
	 * caches (LIMITS.md: 16 to 64 MiB pools are read back from L3). */
	RECV_BUFFER_BYTES = 16 * 1024,
	RECV_BUFFERS_COUNT = 256,
	/* Buffers one connection may hold before we stop receiving and TCP slows its server. */
	RECV_BUFFERS_HELD_MAX = 64,

	RING_ENTRIES = 256,
	RING_COMPLETIONS = 4096,

	/* Frames of ours stay under 4 KiB; libetpan has one of 65 KiB and OpenSSL needs 7 KiB. */
	FIBER_STACK_BYTES = 64 * 1024,
	FIBER_STACK_BYTES_LARGE = 256 * 1024,

	OFFLOAD_THREADS = 4,

	/* Longest folder name we carry, as UTF-8 path. Servers cut at 255 to 1000 bytes. */
	BOX_NAME_BYTES_MAX = 1024,
	/* Keywords of one message, joined; more are counted as dropped in the report. */
	KEYWORDS_BYTES_MAX = 1024,
	/* An opaque blob (mark, cursor) that a driver asks the ledger to keep. */
	BLOB_BYTES_MAX = 512,
	/* Where a folder stood: IMAP needs four numbers of at most 20 digits. */
	CURSOR_BYTES_MAX = 95,
	/* A folder's own name, RFC 8474 section 4: at most 255 characters. */
	BOX_ID_BYTES_MAX = 255,

	/* Messages asked for in one range when the folder is densely numbered. */
	PARCEL_MESSAGES = 256,
	/* Ranges of keys a lane keeps in memory; with more on their way it lets the sink catch up.
	 */
	PLAN_RANGES_MAX = 1024,
	/* A range the source fails in is asked for again in this many pieces, down to one message.
	 */
	PLAN_NARROW = 16,
	PLAN_SUSPECTS_MAX = 64,
	/* A lone message the source fails in this often is given up (ERR_SOURCE_POISON). */
	PLAN_POISON_FAILURES = 3,
	/* Messages settled before that are compared with the source at a time. A server lists at
	 * most as many ranges of gone ones between them, which is below its longest line. */
	SCAN_MESSAGES = 4096,
	/* Messages that are moved already, under another number, and wait to be told of together.
	 */
	RENUMBERED_PENDING_MAX = 256,
	/* Settled rows collected for one commit, and the longest they wait. */
	LEDGER_ROWS_PER_COMMIT = 1000,
};

_Static_assert(STAGE_BYTES_MAX < CHUNK_BYTES * IOLIST_SLICES_MAX,
	       "a staged message may start in the middle of a chunk");

#endif
