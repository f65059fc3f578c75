/* The simulated world: a disk, a mail server (or two), and processes that live in it one after the
 *other, each a forked child of the test. A process runs the real engine over the simulated ring,
 *clock and disk; it ends by itself, or is cut before one of its counted operations (every operation
 * of the ring, every piece received, every write and sync of SQLite). The disk and the results
 * outlive it.
 *
 *	struct world *w = world_open(42);
 *
 *	world_fill(w);
 *	world_cut_at(w, 123);
 *	world_copy(w);            the first process, cut
 *	world_copy(w);            the next one: same ledger, same server, same archive
 *	CHECK(world_judge(w));
 *	world_close(&w); */
#ifndef MAILHAUL_WORLD_H
#define MAILHAUL_WORLD_H

#include "engine/lane.h"
#include "tests/sim/disk_sim.h"
#include "tests/sim/imap_model_store.h"

enum {
	WORLD_PORT = 993,
	WORLD_TARGET_PORT = 994,
	WORLD_DISK_BYTES = 192 * 1024 * 1024,
	WORLD_PATH_BYTES_MAX = 256
};
enum { WORLD_EXCUSED_MAX = 3 };

enum world_end {
	WORLD_FINISHED, /* to its end; see `error` */
	WORLD_CUT,
	WORLD_STUCK,   /* can never end, or went in circles */
	WORLD_CRASHED, /* a broken promise, a sanitizer's report, a signal */
};

/* What one process came to; lies in memory shared with it. */
struct world_result {
	enum world_end end;
	enum err error;
	bool happened;		       /* world.happens did */
	char note[ERR_NOTE_BYTES_MAX]; /* of the error; or why it is stuck */
	uint64_t steps;
	char last_step[32];
	unsigned open_files; /* and sockets, left behind at the end */
	unsigned faults;     /* the judge's */
	struct imap_model_counts imap;
	struct imap_model_counts target; /* of the other server, if there is one, */
	struct imap_store_counts store;	 /* and what it was given */
	struct lane_progress progress;
};

/* What goes wrong for the next process, besides the cut; forgotten behind it. 0: not that. */
struct world_faults {
	unsigned bad_connections;	     /* so many meet accidents of the dice, */
	uint64_t bad_bytes;		     /* in their first so many bytes */
	uint64_t room_bytes;		     /* the disk is full at so many */
	unsigned sync_no, write_no, read_no; /* this sync, write or read of a file fails: EIO, */
	uint64_t from_step;		     /* counted from this step on */
	bool slow;			     /* operations take seconds now and then */
	uint64_t wall_jumps_at;		     /* the wall clock is set at this step, */
	int64_t wall_jump_s;		     /* by so much, for good */
};

struct world_bucket; /* world_bucket.h */

struct world {
	uint32_t magic;
	uint64_t seed;
	unsigned process_no;
	uint64_t cut_at;
	struct disk *disk;
	struct imap_model imap;
	struct imap_model *target; /* the server that mail goes to; NULL: it goes to the archive, */
	struct world_bucket *bucket; /* which lies there; NULL: on the disk */
	/* Reasons why a message may be skipped or doubtful there, or a folder refused, by name. */
	const char *excused[WORLD_EXCUSED_MAX];
	/* The folder there that a source's folder becomes; NULL: the one of the same name. */
	const char *(*place_of)(const char *raw);
	struct world_result *result; /* of the last process */
	uint64_t pack_bytes;
	const struct sink_driver *sink; /* the archive, unless a test watches it */
	unsigned connections;		/* conversations with the source at once */
	nsec target_silence;		/* that is borne of the target; 0: a minute */
	bool cuts_kill; /* the process alone, always; else the dice say so now and then */
	const char *retry_skipped; /* see struct lane_config */
	bool newest_first;
	enum sink_existing existing; /* mail of others at the target that counts */
	enum sink_wrap wrap;	     /* what may be stored wrapped */
	bool flags_keep;	     /* see struct sink_config */
	uint64_t max_bytes;	     /* larger messages are left out; 0: none */
	const char *left_out_box;    /* a pattern of folders; NULL: none */
	/* Rule by which Gmail's labels become folders; NULL: folders are as they are listed. */
	const char *labels;
	unsigned drain_after; /* ask for an orderly end after so many steps; 0: never */
	struct world_faults faults;
	int64_t wall_s; /* what the wall clock is off by */
	/* What people do to the mailbox while the next process is at this step; 0: nothing. */
	uint64_t happens_at;
	void (*happens)(struct world *);
};

/* A world with an empty disk and a server without folders. */
struct world *world_open(uint64_t seed);
void world_close(struct world **);
/* $SEED, or `otherwise`. */
uint64_t world_seed(uint64_t otherwise);

/* Mail goes to a second server, which has nothing but INBOX and outlives the processes. Its
 * `store` says what it offers and does wrong. `sink` must be one for it. */
void world_add_target(struct world *);
/* The archive lies in a bucket, which is empty but for what others have there. */
void world_add_bucket(struct world *);

/* The standard mailbox: two folders with seven messages and an empty folder; twins, an empty
 * message, one too large to be staged, dates with zones, keywords. */
void world_fill(struct world *);
/* A message of about `bytes` bytes that says `subject`; the caller frees `to`. */
void world_make_mail(struct world *, const char *subject, size_t bytes, struct buffer *to);

/* ---- processes ---- */

/* The next process is cut before its step k; 0: not. The power goes, or (by the dice) the process
 * alone is killed and the disk keeps what the kernel had. */
void world_cut_at(struct world *, uint64_t k);
/* The power goes while no process runs, and takes all that was not synced. */
void world_lose_power(struct world *);
/* Run `body` as a process of this world. It calls shard_run() itself. */
typedef enum err world_body(struct world *, void *argument);
const struct world_result *world_process(struct world *, world_body *, void *argument);
/* What `mailhaul copy` does: ledger, lane, finish. */
const struct world_result *world_copy(struct world *);
/* Everything that must hold after a run that went to its end; prints what does not. */
bool world_judge(struct world *);
/* The same where mail goes to a server (world_judge_target.c); world_judge() calls it. */
bool world_judge_target(struct world *);
/* What both have in common: `judge` with its argument in a process of its own, in a shard's fiber,
 * and whether nothing unfinished was left behind. Looking changes nothing: the disk is put back as
 * it was. False: that process failed, or told of faults. */
bool world_judge_by(struct world *, enum err (*judge)(void *argument), void *argument);
/* Something does not hold: prints and counts it. In the judge's process. */
void world_fault(struct world *, const char *format, ...) PRINTF_LIKE(2, 3);
/* What a model server's flags mean: system flags as bits, the rest, which comes last and begins
 * with "$", as keywords. */
void world_flags(const char *flags, struct mail_meta *);
/* Print what the last process came to. */
void world_show(const struct world *, const char *what);

/* A place to come back to: disk, mailbox and clock as they are now, whose turn it is, and what it
 * is asked for. */
struct world_mark {
	struct disk_image *disk;
	struct imap_model *imap;
	struct imap_store_image *target; /* NULL: there is none */
	struct s3_model_image *bucket;	 /* the same */
	unsigned process_no;
	const char *retry_skipped;
	bool newest_first;
	uint64_t max_bytes;
	const char *left_out_box;
	int64_t wall_s;
};
struct world_mark world_mark(const struct world *);
void world_back(struct world *, const struct world_mark *);
void world_mark_free(struct world_mark *);

extern const char world_archive_path[], world_state_path[], world_spool_path[],
	world_source_shown[], world_target_shown[];
/* The archive on the disk as an account. */
struct account world_archive_account(void);
/* The archive that is filled, wherever it lies. In a bucket: between world_bucket_begin() and its
 * end. */
struct account world_place(const struct world *);
/* What the ledger calls the source. */
const char *world_source(const struct world *);
/* The second server; its password is "open sesame" too. The secret is borrowed. */
struct account world_target_account(const struct secret *password);

#endif
