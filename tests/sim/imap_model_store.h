/* The model IMAP server as a destination: what APPEND, CREATE and SUBSCRIBE make of it, and what
 * servers do wrong there. It lies in memory that all processes of a world share, so what a process
 * stored is there for the next one, whatever became of the process, and the judge can look.
 *
 * An APPEND that has arrived in full is *worked on* for a while and then stored whole, or refused
 * whole. Where its conversation has ended before, it is stored all the same, later, or never.
 * Not for: what clients read (imap_model_reply.h). */
#ifndef MAILHAUL_IMAP_MODEL_STORE_H
#define MAILHAUL_IMAP_MODEL_STORE_H

#include "tests/sim/imap_model.h"

enum {
	IMAP_STORE_BYTES = 24 * 1024 * 1024, /* of all messages */
	IMAP_STORE_WORKED_ON_MAX = 8,	     /* APPENDs at once */
	IMAP_STORE_SAME_UID = 5000,
};

enum imap_store_literals {
	IMAP_STORE_LITERALS_NONE, /* a client waits for "+" */
	IMAP_STORE_LITERALS_MINUS,
	IMAP_STORE_LITERALS_PLUS,
};

/* What a process asked for and got; lies where the judge can read it. */
struct imap_store_counts {
	unsigned appends, creates, subscribes, stores; /* commands */
	unsigned modified;			       /* messages that a STORE found changed */
	unsigned stored;			       /* messages of ours that became visible */
	unsigned refused, lost_answers;		       /* acts */
	unsigned late;	  /* acts whose conversation ended before they were stored, */
	unsigned never;	  /* or not stored because of that */
	unsigned foreign; /* messages that others delivered */
	unsigned broken;  /* what a client may not do here */
	char broken_what[80];
};

/* An APPEND that has arrived and is not stored yet. */
struct imap_store_work {
	bool used;
	struct imap_session *session; /* of the present process; NULL: it ended */
	nsec at;		      /* it is stored; between two processes: how long from now */
	unsigned box;
	char tag[64];
	unsigned count;
	struct imap_model_message messages[IMAP_MODEL_MESSAGES_MAX];
};

struct imap_store {
	/* What it offers. */
	bool uidplus, multiappend, binary, create_special_use, few; /* few: no LIST-EXTENDED... */
	bool condstore;
	enum imap_store_literals literals;
	bool folds_case;     /* "Work" is "work" */
	bool drops_keywords; /* PERMANENTFLAGS without "\*": others are forgotten silently */
	bool alters_headers; /* 8-bit bytes in a header become "X", as Cyrus does by default */
	bool refuses_early;  /* NO instead of "+", as far as it can be known then */
	/* What it refuses; 0, NULL: nothing. */
	unsigned quota_messages;    /* NO [OVERQUOTA] to what would be more than so many of ours */
	size_t bytes_max;	    /* NO [TOOBIG] above */
	const char *bad_text;	    /* BAD to a message that holds this */
	const char *create_no;	    /* NO [CANNOT] to CREATE of this folder */
	unsigned busy_appends;	    /* so many acts get NO [UNAVAILABLE], */
	unsigned throttled_appends; /* and then so many NO [THROTTLED] */
	/* How it works. */
	nsec works_max;	       /* longest time of an act; 0: done at once */
	nsec late_max;	       /* longest time until an act is stored whose conversation ended */
	unsigned never_one_in; /* so many of those are not stored at all; 0: none */
	/* What it says of UIDs: the truth; far too low, the same each time, far too high. */
	enum {
		IMAP_STORE_TELLS_TRUTH,
		IMAP_STORE_TELLS_LOW,
		IMAP_STORE_TELLS_SAME,
		IMAP_STORE_TELLS_HIGH
	} tells;
	unsigned lose_answers; /* so many acts are stored and their answer is lost */
	/* So many commands pass, on the average, until somebody else delivers, `foreign_left`
	 * times in all; between the messages of one act, too. */
	unsigned foreign_one_in, foreign_left;
	/* So many messages get the keyword "$touched" from somebody else, right behind the FETCH of
	 * their flags. */
	unsigned touches_left, touched;
	/* State. */
	char capabilities[400];
	struct imap_store_counts *counts;
	unsigned foreign_no;
	char keywords[128]; /* that a message ever had: FLAGS of SELECT */
	struct imap_store_work works[IMAP_STORE_WORKED_ON_MAX];
	size_t used;
	uint8_t bytes[IMAP_STORE_BYTES];
};

/* A server without folders but INBOX, that does nothing wrong and offers all. Both counts are
 * borrowed for its life. Its `store` holds the knobs: to be turned before imap_model_listen(). */
struct imap_model *imap_store_open(const char *user, const char *password,
				   struct imap_model_counts *, struct imap_store_counts *);
void imap_store_close(struct imap_model **);
/* The state, to come back to. The caller frees it. */
struct imap_store_image;
struct imap_store_image *imap_store_save(const struct imap_model *);
void imap_store_restore(struct imap_model *, const struct imap_store_image *);
/* A folder that is there from the beginning, `raw` in UTF-8 and modified UTF-7 alike. */
struct imap_model_box *imap_store_add_box(struct imap_model *, const char *raw,
					  const char *attributes);
/* Somebody else delivers a message of his own. */
void imap_store_deliver(struct imap_model *, struct imap_model_box *);
/* The same with these bytes, flags and date: perhaps what the source got, too. */
void imap_store_deliver_mail(struct imap_model *, struct imap_model_box *, const char *flags,
			     const char *date, const void *bytes, size_t);
/* What such a server makes of these bytes, in place. */
void imap_store_alter(void *bytes, size_t);
/* The process ends: its conversations are gone. What is worked on is stored late, or never. */
void imap_store_process_ended(struct imap_model *);
/* All that is worked on is stored. */
void imap_store_settle(struct imap_model *);
/* Of everything that is stored, with its UIDs, flags and dates. */
uint64_t imap_store_fingerprint(const struct imap_model *);

#endif
