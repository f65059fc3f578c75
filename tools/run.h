/* `mailhaul run` from inside: what its parts share. tools/run.c begins and ends, run_worker.c is
 * one thread, run_mailbox.c one mailbox on it, run_watch.c what goes on beside the workers. */
#ifndef MAILHAUL_TOOLS_RUN_H
#define MAILHAUL_TOOLS_RUN_H

#include <pthread.h>
#include <stdatomic.h>

#include "engine/batch.h"
#include "engine/fiber.h"
#include "engine/ledger.h"
#include "engine/notify.h"
#include "engine/pace.h"
#include "engine/topology.h"
#include "tools/aws_record.h"
#include "tools/batch_view.h"
#include "tools/bucket.h"
#include "tools/bucket_watch.h"
#include "tools/counters.h"
#include "tools/endpoints.h"
#include "tools/job.h"
#include "tools/log_ids.h"
#include "tools/metrics.h"
#include "tools/paths.h"
#include "tools/routes.h"
#include "tools/series.h"
#include "tools/skip_reason.h"
#include "tools/url.h"

struct run_options {
	const char *confine;
	const char *retry_skipped;
	bool json, ignore_window, dry_run, log_names, stats, trace;
};

struct run_mailbox;

/* One thread with its shard. */
struct run_worker {
	struct run *run;
	unsigned no;
	pthread_t thread;
	bool started;
	struct ledger *ledger;		       /* its own front */
	struct run_mailbox *mailboxes;	       /* at work; only this thread looks at it */
	unsigned mailboxes_count, connections; /* under way, and granted to them */
	struct wait_queue changed;	       /* one has ended */
	bool bound;
	char not_bound[TOPOLOGY_WHY_BYTES];
	nsec cpu;
	struct counters counters;   /* of its shard, at its end */
	struct endpoints endpoints; /* met by its mailboxes */
	struct paths paths;	    /* of its connections */
	struct http_pool *pool;	    /* of those with a bucket's server */
};

/* An archive that mailboxes go to. */
struct run_hold {
	const char *target; /* the job's */
	struct url url;
	struct account account;
	struct store_s3_config s3; /* where it is in a bucket */
	struct archive_hold *hold;
	struct bucket_watch *watch; /* NULL: it is in no bucket */
	struct run_hold *next;
};

struct run {
	struct run_options options;
	struct job *job;
	struct batch *batch;
	struct topology *topology;
	struct ledger *ledger; /* the main thread's front */
	struct pace *pace;
	struct governor *governor;
	struct log_ids ids;
	struct notify *notify;
	struct metrics *metrics;
	struct run_hold *holds;			      /* targets, locked for the whole run */
	char retry_skipped[LEDGER_REASON_NAME_BYTES]; /* the ledger's name of it */
	/* By mailbox, of which only the worker that has it looks: once in a run is enough. NULL:
	 * nothing is asked for again. */
	bool *retried;
	struct series series;
	struct routes routes;
	struct run_buckets {
		struct bucket *bucket; /* NULL: nothing of this side is in one */
		struct account way;    /* to whoever gives its keys */
	} source_buckets, target_buckets;
	struct aws_record *record; /* with either */
	struct http_pool *pool;	   /* of this thread */
	struct group *beside_buckets;
	struct endpoints endpoints; /* of all workers, at their end */
	struct paths paths;	    /* the same */
	struct batch_view view;
	struct run_worker *workers;
	unsigned workers_count, mailboxes_per_worker, connections_most;
	atomic_uint workers_alive;
	struct window_state window; /* the main thread's, as last looked at */
	_Atomic int64_t window_closes_wall_s;
	int64_t started_wall_s;
	nsec started;
	_Atomic nsec elapsed;	  /* the thread of the metrics looks at it */
	struct counters counters; /* of the main thread, then of all */
	bool window_is_closing;	  /* why it drains */
	bool begun;		  /* workers were started: there is something to report */
	/* What ends the whole run, once; behind `lock`. */
	pthread_mutex_t lock;
	enum err stopped;
	struct err_note stopped_note;
};

/* The batch's counts with what only the run knows; any thread. `context` is the run. */
void run_counts(void *run, struct batch_counts *);
/* The running fiber's error ends the whole run: everybody drains. Any thread; the first one wins.
 */
void run_stop(struct run *, enum err);
/* How the run ends, after the workers have. */
int run_exit_code(const struct run *, const struct batch_counts *);
/* Whether an error is of the machine, or of what the whole job may do, rather than of one mailbox.
 */
bool run_is_stopped_by(enum err);

/* A worker's thread main. */
void *run_worker_main(void *worker);

/* What is in buckets, of both sides; before confinement_begin(). */
enum err run_plan_buckets(struct run *) MUST_CHECK;
/* `account` has its URL; if it is in a bucket, `s3` is filled in for the fibers of one thread, and
 * put into it. ERR_INPUT_USAGE. */
enum err run_use_bucket(const struct run *, const struct run_buckets *, struct http_pool *,
			struct account *, struct store_s3_config *s3) MUST_CHECK;
/* Of the targets that are archives: buckets are looked at, then one lock each for the whole run, so
 * that a second process is refused, and no lane has to clear up behind another. */
enum err run_hold_targets(struct run *) MUST_CHECK;
/* The one that a mailbox goes to; NULL: it is no archive, or nothing is held. */
const struct run_hold *run_hold_of(const struct run *, const char *target);
/* Every object that the run stored, when all workers have ended. ERR_S3_UNFIT and what else
 * bucket_audit() returns. */
enum err run_audit_targets(struct run *) MUST_CHECK;
/* Their locks are given back, and connections closed; they stay for the report. */
void run_release_targets(struct run *);
void run_forget_targets(struct run *);

/* Begin a mailbox in a fiber of `group`, counted in worker->mailboxes_count. Does not suspend. */
enum err run_mailbox_begin(struct run_worker *, struct group *, size_t no,
			   unsigned connections) MUST_CHECK;
/* Tell the batch how far the worker's mailboxes are. */
void run_mailboxes_tell(struct run_worker *);

/* The fiber beside the workers: window, bandwidth, heartbeat, service manager. Ends when all
 * workers have. */
enum err run_watch(void *run);
/* Every so often while that does not look: log and service manager. */
void run_attend(void *run);
/* The ledger's last word on the run. Suspends. */
void run_note_end(struct run *);
/* What earlier runs learnt about hosts, and what this one did. Suspend. */
enum err run_lessons_load(struct run *) MUST_CHECK;
enum err run_lessons_save(struct run *, bool accounts) MUST_CHECK;

/* Told on stdout, in files and on stderr; returns the exit code. After all threads have ended. */
int run_conclude(struct run *);

#endif
