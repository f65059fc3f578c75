/* Where mail goes. put() does not wait for the answer; receipts come from a fiber of their own, any
 * order. A message counts as moved once its ledger row is durable, not before. */
#ifndef MAILHAUL_SINK_H
#define MAILHAUL_SINK_H

#include "engine/source.h"

enum receipt_kind {
	RECEIPT_STORED,	  /* box_no, no, size, digest: it is there, durably */
	RECEIPT_DOUBTFUL, /* the same, why: it is there, but not as it was sent */
	RECEIPT_REFUSED,  /* box_no, no, why: it will not be stored */
	RECEIPT_RETURNED, /* box_no, no: it is not there, and may be put again */
	RECEIPT_SEALED,	  /* seal_no, seal: make this durable in the ledger, then call
			     publish(seal_no) */
	RECEIPT_SETTLED, /* seal_no: every message of that seal was receipted; the ledger may forget
			    it. Or seal_nos: of all of them, which are forgotten in one commit */
	RECEIPT_PLACED,	 /* box_no, target, target_epoch: which folder of the target it becomes;
			    before anything is sent there */
	RECEIPT_BOX_REFUSED, /* box_no, why, and err_note(): the target will not have this folder,
				or no more of it, in this run */
};

struct receipt {
	enum receipt_kind kind;
	uint64_t box_no, no;
	uint64_t size_bytes;
	struct digest digest;
	uint64_t mark; /* mail_mark() of the item's meta; 0: not known any more */
	enum mail_kind mail_kind;
	enum err why;
	uint64_t seal_no;
	const uint64_t *seal_nos; /* borrowed until the next receipt(); NULL: seal_no */
	size_t seals_count;
	struct text seal;    /* borrowed until the next receipt() */
	bool was_sealed;     /* of an earlier sink: it may be settled already, and stays so then */
	uint64_t target_no;  /* of STORED and DOUBTFUL: its number there; 0: not known */
	enum mail_form form; /* of STORED and DOUBTFUL; size and digest are the original's */
	int64_t date_s;	     /* of STORED and DOUBTFUL, if `dated`: the date it was given there */
	bool dated;
	/* Of STORED: nothing was put, it was there before; `fingerprint` if ALIKE. */
	enum sink_found {
		SINK_SENT, /* (no, it was put) */
		SINK_FOUND_SAME,
		SINK_FOUND_ALIKE,
	} found;
	struct digest fingerprint;
	struct text target; /* borrowed until the next receipt(); in the target's own words */
	uint64_t target_epoch;
};

/* What a seal left in the ledger turns out to be after a restart. */
enum seal_fate {
	/* Stored as sealed: receipts follow as if it had just been published. Or a part of it is:
	 * what is not there has no receipt, and is planned again. */
	SEAL_PRESENT,
	SEAL_ABSENT, /* not there: its messages are planned again under a new key */
};

/* What became of a message that an earlier run moved: recorded beside it, never over it. Telling
 * the same change twice is harmless: the last one told about a message holds. */
enum change_kind {
	CHANGE_REFLAGGED,  /* `meta`: flags and keywords as they are now */
	CHANGE_VANISHED,   /* it is not in the source's folder any more */
	CHANGE_RENUMBERED, /* what was stored as (was_box, was_epoch, was_no) is now (box, no) */
};
struct change {
	enum change_kind kind;
	const struct box *box; /* as it is now; borrowed until return */
	uint64_t epoch;	       /* that the message is known by: box->epoch, or of before */
	uint64_t no;
	const char *was_box; /* RENUMBERED: the folder's name then; may be the same */
	uint64_t was_epoch, was_no;
	struct mail_meta meta; /* not of VANISHED */
	uint64_t was_mark;     /* of its flags as the ledger knows them; 0: not known */
	/* Where it lies, for a sink that `carries`; not of VANISHED. In the target's own words, as
	 * receipts said it; NULL, 0: not known. */
	const char *target; /* borrowed until return */
	uint64_t target_epoch, target_no;
};

struct sink;

/* Whether mail that is at the target already counts as a message's copy; each one once. Values are
 * in the order of the option's choices. */
enum sink_existing {
	SINK_EXISTING_NO,	   /* it is none of ours */
	SINK_EXISTING_DIGEST,	   /* if it has the same bytes */
	SINK_EXISTING_FINGERPRINT, /* if it has the same fingerprint (transport/fingerprint.h) */
};

/* A copy at the target that is some message's already: sent by this run or an earlier one, or found
 * there. */
struct sink_copy {
	uint64_t target_no;   /* its number there; 0: nobody knows */
	struct digest digest; /* of the message; what lies there has it, as it is or wrapped, */
	bool is_unlike;	      /* or may be otherwise: it is in doubt, or was found alike */
	bool is_guess;	      /* in doubt is whether it has that number at all: nobody read it */
	bool is_own;	      /* of the mailbox that asks, */
	uint64_t box_no, no;  /* and of this message */
};
typedef enum err sink_each_copy(void *context, const struct sink_copy *);

/* What is settled already of a message that a seal names: seals are kept for the others of their
 * group. */
enum sink_known {
	SINK_KNOWN_OPEN,
	SINK_KNOWN_STORED,     /* moved or doubtful */
	SINK_KNOWN_NOT_STORED, /* skipped, say: it never was there */
};

/* Choices of the job that a sink needs to know. */
struct sink_config {
	uint64_t mailbox_no;	  /* the ledger's */
	const char *mailbox_name; /* "alice@mail.example.com" */
	const uint8_t *ledger_id; /* 16 bytes: which ledger fills this target */
	/* Of the messages [no, no + count) of a folder, one `known` each. ERR_LEDGER_*,
	 * ERR_DISK_*. Suspends. `asked` is borrowed for the sink's life. */
	enum err (*ask_known)(void *asked, uint64_t box_no, uint64_t no, size_t count,
			      enum sink_known *known);
	/* Copies in this folder of the target, with these numbers, whatever mailbox of this ledger
	 * they came from; `target` NULL: those without a number, in any folder. Errors of the
	 * ledger, and of `each`. Suspends. */
	enum err (*ask_copies)(void *asked, const char *target, uint64_t target_epoch,
			       sink_each_copy *each, void *context);
	void *asked;
	uint64_t next_seal_no; /* first number not used yet in this target by this ledger */
	const struct tap_type *digest;
	struct tap
		*digest_of_store; /* a second tap for stored bytes; borrowed for the sink's life */
	int zstd_level;		  /* 0: off */
	uint64_t pack_bytes;	  /* close a pack at about this many stored bytes */
	bool dry_run;
	/* ---- of a target that is somebody else's server ---- */
	unsigned connections; /* at most; 0: as few as do */
	nsec settle;	      /* how long a target must be still before what it shows is believed */
	const char *spool;    /* directory for messages too large for memory; borrowed */
	enum sink_existing existing;
	/* What may be stored wrapped (MAIL_WRAPPED), because the target does not take it as it is:
	 * nothing; what was refused; and what it is known to alter, too. */
	enum sink_wrap { SINK_WRAP_NO, SINK_WRAP_REFUSED, SINK_WRAP_ODD } wrap;
	bool flags_keep; /* flags of messages that are there already are left as they are */
	struct mail_carried *carried; /* counts what became of flags; borrowed; filled by the lane
				       */
};

/* Everything suspends but close. */
struct sink_driver {
	const char *scheme;
	/* After an error of class RECONNECT or BACKOFF a new one may be opened, which is asked by
	 * find() what became of the seals of this one. */
	bool reopens;
	/* Flags that changed at the source are set at the target: amend() wants to know where. */
	bool carries;
	/* ERR_SINK_FOREIGN, ERR_SINK_BUSY, ERR_SINK_LEDGER_LOST, ERR_DISK_*. Nothing of the target
	 * is changed before it is known to be ours. */
	enum err (*open)(struct sink **, const struct account *, const struct sink_config *,
			 nsec until);
	/* A folder is about to be filled (or is empty); called once for each, box_no is set. */
	enum err (*prepare)(struct sink *, const struct box *);
	/* Where an earlier run put a folder of this name; before the first prepare(), `target` as
	 * RECEIPT_PLACED said it. NULL: the sink does not want to know. */
	enum err (*recall)(struct sink *, const char *name, const char *target);
	/* A seal found in the ledger at start, before any put(); all of them in order, then
	 * flush(). */
	enum err (*find)(struct sink *, uint64_t seal_no, struct text seal, enum seal_fate *);
	/* Pulls the body to its end; item->digest is valid after that. If the body fails, the sink
	 * takes back what it wrote of it and returns that error; earlier messages are not harmed.
	 * Class SKIP_BOX: nothing of the folder is taken any more.
	 */
	enum err (*put)(struct sink *, struct item *);
	/* Record a change; queued, and shown to nobody before amend_flush() while no more than
	 * AMENDS_QUEUED_MIN wait (by a sink that `carries`, 4096). Called from the fiber that
	 * puts. */
	enum err (*amend)(struct sink *, const struct change *);
	/* Every change told so far is durable and visible on return; a sink that `carries` may
	 * have counted instead why one cannot be. An error is never of class SKIP_MSG or SKIP_BOX
	 * then, and what was told is forgotten. */
	enum err (*amend_flush)(struct sink *);
	/* Everything put so far shall get its receipts soon. */
	enum err (*flush)(struct sink *);
	/* The next receipt; ERR_SINK_FINISHED when finish-ing and nothing is owed any more. Called
	 * from one fiber, other than the one that puts. */
	enum err (*receipt)(struct sink *, struct receipt *);
	/* No receipt() will follow: from the fiber that called it, whether it ended well or not.
	 * NULL: the sink has nothing running. */
	void (*end_receipts)(struct sink *);
	/* The seal is durable in the ledger: make it visible. Called from the receipt fiber. */
	enum err (*publish)(struct sink *, uint64_t seal_no);
	/* No more put(): receipt() ends when everything was answered. Does not wait for that. */
	void (*drain)(struct sink *);
	/* After the last receipt: the orderly end (the manifest). */
	enum err (*finish)(struct sink *, nsec until);
	void (*close)(struct sink **);
};
struct sink {
	const struct sink_driver *type;
};

#endif
