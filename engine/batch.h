/* Many mailboxes in one run: which comes next, how many at once, what became of each. Workers take
 * from here when they have room, so a mailbox belongs to no worker until it starts, and none is
 * idle while another has mailboxes to spare. Thread-safe (one lock, never on the data path). Knows
 * no driver: tools/run_mailbox.c runs the mailboxes.
 *
 * Mailboxes begin wave after wave, in a wave by priority, then in the order of the list. One that
 * cannot begin because its host is full or rests lets those of other hosts pass, but none of a
 * later wave. A destination's host has rests of its own (engine/batch_target.c).
 *
 * Mailboxes that go to the same account of a server go one after the other: none is begun while
 * another of them runs or waits for another attempt, for what that one sent may be in doubt, and a
 * twin that arrives meanwhile would be taken for it. It lets others pass, those of the next wave
 * too, and may begin as soon as that one has ended for good. One that has begun waits for none of
 * them, so none waits for ever.
 */
#ifndef MAILHAUL_BATCH_H
#define MAILHAUL_BATCH_H

#include "engine/backoff.h"
#include "engine/clock.h"
#include "engine/err.h"
#include "engine/mail.h"

enum batch_state {
	BATCH_WAITING, /* not begun in this run, or to be tried again */
	BATCH_RUNNING,
	BATCH_DONE,	  /* every message moved */
	BATCH_INCOMPLETE, /* finished; some messages or folders skipped */
	BATCH_DOUBTFUL,	  /* finished or stopped; something does not match (exit code 121) */
	BATCH_FAILED,	  /* stopped by an error */
	BATCH_DRAINED,	  /* stopped as asked; goes on in the next run */
	BATCH_STATES
};
const char *batch_state_name(enum batch_state);

/* What became in the source of messages moved before, as this run found it. */
struct batch_changes {
	uint64_t reflagged, vanished, renumbered;
	struct mail_carried flags; /* to a target that is a server */
};
static inline void batch_changes_add(struct batch_changes *to, const struct batch_changes *more,
				     uint64_t sign)
{
	to->reflagged += sign * more->reflagged;
	to->vanished += sign * more->vanished;
	to->renumbered += sign * more->renumbered;
	to->flags.carried += sign * more->flags.carried;
	to->flags.merged += sign * more->flags.merged;
	to->flags.gone += sign * more->flags.gone;
	to->flags.refused += sign * more->flags.refused;
}

/* What is known of one mailbox; a copy. */
struct batch_mailbox {
	const char *source, *target, *wave; /* borrowed from the job */
	uint32_t line;
	enum batch_state state;
	enum err error; /* of failed; OK otherwise */
	char note[200]; /* what was being done to what, for people; "" if nothing to say */
	int exit_code;	/* as `copy` would have ended */
	unsigned attempts;
	nsec duration;
	uint64_t messages_known, bytes_known; /* as announced by the source */
	uint64_t messages_moved, bytes_moved; /* in this run, */
	uint64_t messages_found;	      /* among them those that were there before */
	uint64_t messages_before;	      /* settled by earlier runs */
	uint64_t messages_skipped, messages_doubtful, folders_skipped;
	uint64_t messages_wrapped;		      /* of all runs, once it has ended */
	uint64_t messages_left_out, folders_left_out; /* by the filter */
	struct batch_changes changes;
};

/* The whole run, at one moment. */
struct batch_counts {
	uint64_t mailboxes[BATCH_STATES];
	uint64_t mailboxes_backing_off; /* of the waiting: their host or account rests */
	uint64_t messages_known, bytes_known, messages_moved, bytes_moved, messages_before,
		messages_skipped, messages_doubtful, messages_left_out, folders_left_out,
		messages_found, messages_wrapped;
	struct batch_changes changes;
	uint64_t connections; /* open now */
	uint64_t reconnects;
	uint64_t errors[ERR_COUNT]; /* by enum err, as they stopped an attempt of a mailbox */
	nsec throttled;		    /* time mailboxes waited because a host asked for it, summed */
	nsec ran; /* times mailboxes ran, summed: throttled share = throttled / (both) */
	int64_t started_wall_s;
	nsec elapsed;
	int64_t window_closes_wall_s; /* INT64_MAX: never */
	bool draining;
};

/* ---- the run's side ---- */

/* One mailbox as the job asks for it. Texts are borrowed for the batch's life. */
struct batch_entry {
	const char *source, *target, *wave;
	const char *host; /* what its connections are counted by: "mail.example.com:993" */
	/* Of the destination, up to a slash if there is one: "alice@new.example:993", the same in
	 * any case (ASCII); without a user it is nobody else's. NULL or "": it is no server. Its
	 * host's connections are not counted, but it rests where it asks for that. */
	const char *target_account;
	uint32_t line;
	uint32_t wave_no; /* lower first */
	int32_t priority; /* higher first */
	unsigned connections;
};

struct batch_limits {
	unsigned mailboxes; /* under way at once */
	unsigned connections, connections_per_host;
};

struct batch;
/* The entries are asked for once, here. */
enum err batch_open(size_t count, void (*entry)(void *context, size_t no, struct batch_entry *),
		    void *context, const struct batch_limits *, struct batch **) MUST_CHECK;
/* No worker may be in a call any more. */
void batch_close(struct batch **);

/* The next mailbox to begin, counted as running from now on, with so many connections granted (at
 * least 1, at most what it asked for). False: none may begin now; ask again at *again
 * (DEADLINE_NEVER: no time is known), and when one has ended. */
bool batch_take(struct batch *, nsec now, size_t *no, unsigned *connections, nsec *again);

/* How far a running mailbox is. */
struct batch_figures {
	uint64_t messages_known, bytes_known, messages_moved, bytes_moved, messages_before,
		messages_skipped, messages_doubtful, folders_skipped, reconnects, connections;
	uint64_t messages_left_out, folders_left_out, messages_found, messages_wrapped;
	struct batch_changes changes;
};
void batch_progress(struct batch *, size_t no, const struct batch_figures *, nsec now);

/* How an attempt ended. An error worth another try (by its retry class, and unless it was tried
 * BATCH_ATTEMPTS_MAX times without anything moved) makes the mailbox wait, its host or account
 * rest; a host that nobody has reached in this run is given up after BATCH_HOST_FAILURES_MAX
 * failures with rests between them (attempts under way at once fail as one), and all its mailboxes
 * with it. Any other end is final. */
struct batch_outcome {
	enum batch_state state; /* DONE, INCOMPLETE, DOUBTFUL, FAILED or DRAINED */
	enum err error;
	const char *note; /* copied */
	int exit_code;
	bool met;	      /* the host answered in this attempt */
	bool met_target;      /* and the destination's */
	nsec retry_after;     /* the server's wish; 0: none */
	enum err_scope scope; /* who rests: the account, or the host with all its mailboxes */
	bool of_target;	      /* the error is of the conversation with the destination */
	unsigned connections_refused; /* the account was let in with one less; 0: with all */
	struct batch_figures figures;
};
enum { BATCH_ATTEMPTS_MAX = 8, BATCH_HOST_FAILURES_MAX = 4 };
/* False: the mailbox waits for another attempt. */
bool batch_end(struct batch *, size_t no, const struct batch_outcome *, nsec now);

/* Begin nothing more. */
void batch_drain(struct batch *);
/* Nothing is running, and nothing more will begin. */
bool batch_is_over(struct batch *);

/* ---- views; any thread ---- */

/* Without window_closes_wall_s and started_wall_s, which the caller knows. */
void batch_counts(struct batch *, nsec now, struct batch_counts *);
size_t batch_size(const struct batch *);
/* False: there is no such mailbox. */
bool batch_row(struct batch *, size_t no, struct batch_mailbox *);
/* The index-th of those that run. */
bool batch_running(struct batch *, size_t index, struct batch_mailbox *);

/* What was learnt about hosts and accounts, for the caller to keep until the next run. */
struct batch_lesson {
	bool of_account;
	char name[768]; /* of the host, or the account's source URL */
	struct backoff_saved saved;
};
/* By index from 0: the hosts, then the accounts. False: there are no more. *known false: nothing
 * was learnt about this one. */
bool batch_lesson(struct batch *, size_t index, nsec now, struct batch_lesson *, bool *known);
size_t batch_hosts(const struct batch *);
void batch_learn(struct batch *, const struct batch_lesson *, nsec now);

#endif
