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
	/* Where several lanes share an arena, each has so many, and so many for each conversation
	 * (which sits on the chunk it fills); that carries small mail. For more it waits for a loan
	 * that makes its largest messages possible; an arena has chunks for so many loans. */
	LANE_CHUNKS_SHARING = 3,
	LANE_CHUNKS_SHARING_PER_READER = 2,
	ARENA_LOANS = 2,
	/* For reading back what a target holds, beside a mailbox that is under way. */
	LANE_CHUNKS_LOOKING = 3,
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
	/* Where many connections share them, each at least so many. */
	RECV_BUFFERS_HELD_MIN = 4,
	/* Where many workers share what is promised, a ring begins with at least so many. */
	RECV_BUFFERS_LEAST = 64,
	/* And gets so many more when its receivers starve. */
	RECV_BUFFERS_GROWTH = 16,

	RING_ENTRIES = 256,
	RING_COMPLETIONS = 4096,

	/* Frames of ours stay under 4 KiB; libetpan has one of 65 KiB and OpenSSL needs 7 KiB. */
	FIBER_STACK_BYTES = 64 * 1024,
	FIBER_STACK_BYTES_LARGE = 256 * 1024,

	OFFLOAD_THREADS = 4,

	/* zstd frames on their way through the compressor. One is filled, the others are in jobs or
	 * compressed. They are stored in their order, so one thread that loses its core to the
	 * server for its turn (some 3 ms, and a frame takes 1) holds up all that come after it: in
	 * a copy of 1.5 s by two cores these idled 0.40 s with 4, 0.34 s with 8, 0.30 s with 16.
	 * Where many packs are being written the others give both work. */
	FRAMES_MAX = 12,
	FRAMES_OF_FEW = 4,
	FRAMES_OF_MANY = 2,
	/* Small messages share a frame. Longer ones take less time and space, until a block of the
	 * compressor's (128 KiB) or two are full; one message is read by opening all of its frame.
	 * 10,000 messages of 16 kB, level 1, one each: 1.34 s and 84.8 MB; in frames of 64 KiB 1.24
	 * and 80.6, of 128 KiB 1.15 and 79.5, of 256 KiB 1.11 and 77.2. */
	FRAME_BYTES = 256 * 1024,
	FRAME_BYTES_OF_MANY = 64 * 1024,
	/* What a frame needs beside its content and what that may become: the compressor's bound is
	 * a 256th more and at most 64 bytes. */
	FRAME_OVERHEAD_BYTES = 160,

	/* Write buffers: 256 KiB is past the knee of fast disks. A mailbox alone has longer ones,
	 * because in a virtual machine each write is an exit to the hypervisor: of a copy of 184 MB
	 * without compression they were 7 to 12 % of the CPU. Where many objects are written at
	 * once the disk has enough to do with smaller ones. Each object has WRITE_BUFFERS; a lane
	 * has at most one object being filled, those that wait to be sealed, and a spare pair. */
	WRITE_BYTES_ALONE = 1024 * 1024,
	WRITE_BYTES = 256 * 1024,
	WRITE_BYTES_OF_MANY = 64 * 1024,
	WRITE_BYTES_LEAST = 32 * 1024,
	WRITE_BUFFERS = 2,
	/* What a lane towards a server has of such buffers for messages on their way. */
	PARCELS_WRITES = 8,

	/* Parts of objects on their way to buckets. S3 takes none below 5 MiB but an object's last,
	 * so they come on top of what is promised; memory is touched only as far as they are
	 * filled. Two of a mailbox may wait for what others do, the one being filled and one that
	 * holds what lies before a mark: those are its own. What is on its way comes back by
	 * itself, and is shared (store_s3_part.h). A mailbox sends so many at once; where a worker
	 * has many mailboxes the service has enough to do with fewer of each. */
	UPLOAD_PART_BYTES = 8 * 1024 * 1024,
	UPLOAD_PART_BYTES_LEAST = 5 * 1024 * 1024,
	UPLOAD_PARTS_OWN = 2,
	UPLOADS_MAX = 4,
	UPLOADS_OF_WORKER = 16,
	/* What is read ahead of an object in a bucket, of so many objects of one store: a pack, and
	 * what says what is in it. */
	READ_AHEAD_BYTES = 2 * 1024 * 1024,
	READ_AHEAD_BYTES_OF_MANY = 512 * 1024,
	READ_AHEADS = 2,

	/* A pack is closed at so many messages or bytes of index lines, so that what is kept of it
	 * until it is settled stays bounded, and one seal is one row of the ledger. Each pack costs
	 * two objects and some ten syncs, so one of many has the least (some 300 messages) doubled
	 * as often as what is promised allows. */
	PACK_MESSAGES_MAX = 8192,
	PACK_LINES_BYTES_MAX = 3 * 1024 * 1024,
	PACK_LINES_BYTES_OF_MANY = 96 * 1024,
	/* Complete packs that wait for the receipt fiber. One is sealed while the next arrives. */
	PACKS_FILLED_MAX = 2,
	PACKS_FILLED_OF_MANY = 1,

	/* Longest folder name we carry, as UTF-8 path. Servers cut at 255 to 1000 bytes. */
	BOX_NAME_BYTES_MAX = 1024,
	/* "INBOX.", "Mail/": what a namespace puts before the user's own folders. */
	BOX_PREFIX_BYTES_MAX = 63,
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
	/* So many may be given up in a row before that stops to count as progress: then it is the
	 * line that is bad, not the messages. */
	PLAN_POISON_IN_A_ROW_MAX = 16,
	/* Messages settled before that are compared with the source at a time. A server lists at
	 * most as many ranges of gone ones between them, which is below its longest line. */
	SCAN_MESSAGES = 4096,
	/* What a sink can be told of before it shows it: each of a piece's messages a few times. */
	AMENDS_QUEUED_MIN = 16 * SCAN_MESSAGES - 1,
	/* Messages that are moved already, under another number, and wait to be told of together.
	 */
	RENUMBERED_PENDING_MAX = 256,
	/* Settled rows collected for one commit, and the longest they wait. */
	LEDGER_ROWS_PER_COMMIT = 1000,
	/* The storage's page cache. */
	LEDGER_CACHE_BYTES = 4 * 1024 * 1024,

	/* ---- measured, and held to by tests/model/bounds_test: --stats prints both ---- */

	/* Of a fiber that has a conversation the deepest use met is 70 KiB (libetpan, in
	 * connecting); 64 mailboxes had 170 KiB of stacks each, in all. */
	FIBER_STACK_BYTES_USED = 96 * 1024,
	FIBER_STACK_BYTES_SHALLOW = 32 * 1024,
	/* Besides one for each conversation: mailbox, write, receipt. */
	LANE_STACKS = 3,
	/* Pipe (94 KiB), report and accounts (32 KiB), a page of folders (34 KiB), the plan. */
	LANE_BYTES = 192 * 1024,
	/* TLS and protocol state of one conversation: 64 KiB idle (bench/idle_bench). */
	CONNECTION_BYTES = 128 * 1024,
	/* Beside it, for one of HTTP: the answer's head, and what is read together with it. */
	HTTP_CONNECTION_BYTES = 40 * 1024,
	/* And what gathers of a body that is sent: two flights of 96 KiB, as ciphertext. */
	HTTP_SENDING_BYTES = 256 * 1024,
	/* zlib's memory for both directions of a compressed conversation: the widest window each,
	 * and 128 KiB of the compressor's tables (zconf.h says how much). With what comes and goes,
	 * a TLS record each. */
	DEFLATE_BYTES = 312 * 1024,
	COMPRESSED_CONVERSATION_BYTES = DEFLATE_BYTES + 33 * 1024,
	/* Code, libraries, trust store, and what malloc keeps; each worker, each further thread. */
	PROGRAM_BYTES = 14 * 1024 * 1024,
	THREAD_BYTES = 256 * 1024,
	/* A mailbox that waits: its row, its place in the batch, its texts. */
	WAITING_BYTES = 4 * 1024,
};

_Static_assert(PACK_LINES_BYTES_MAX == 32 * PACK_LINES_BYTES_OF_MANY,
	       "the lines of one of many are doubled up to those of one alone");
_Static_assert(STAGE_BYTES_MAX < CHUNK_BYTES * IOLIST_SLICES_MAX,
	       "a staged message may start in the middle of a chunk");

#endif
