/* What the files of the IMAP sink share: imap_sink.c (the driver), imap_fill.c (messages into
 * parcels), imap_group.c (parcels with one mark), imap_link.c (a conversation that sends),
 * imap_receipt.c (what the lane is told), imap_check.c (what a server made of it), imap_recover.c
 * (what became of what was sealed before). One thread, so no locks; after every call that suspends,
 * what was assumed about it is checked again. */
#ifndef MAILHAUL_IMAP_SINK_STATE_H
#define MAILHAUL_IMAP_SINK_STATE_H

#include "engine/clock.h"
#include "engine/fiber.h"
#include "engine/sink.h"
#include "transport/imap_append.h"
#include "transport/imap_existing.h"
#include "transport/imap_look.h"
#include "transport/imap_parcel.h"
#include "transport/imap_places.h"

enum {
	/* Conversations that send, where each message has to wait for the server's "+". */
	IMAP_LINKS_MAX = 4,
	/* Parcels that have the same mark. At its end nothing of the folder is under way, which
	 * costs a round trip, so it is long; all of it is looked at after a crash, so it is not
	 * longer: 8,192 messages or 128 MiB. */
	IMAP_GROUP_PARCELS_MAX = 64,
	/* Folders that have a group which others may join: as many as are read at once. */
	IMAP_GROUPS_OPEN_MAX = LANE_READERS_MAX,
	/* Being filled, sealed, sent, and on its way to its answer. */
	IMAP_PARCELS_MAX = 4,
	/* Messages that a server is watched for altering. */
	IMAP_UNALTERED_ENOUGH = 3,
};

/* The parcels of a folder that are sealed with the same UIDNEXT. While one of them is not settled
 * all their seals are kept, and they are forgotten in one commit: together they are all that is
 * ours from that UID on, and of twins in two of them one would pass for the other. */
struct imap_group {
	struct imap_place *place;
	uint64_t *seal_nos;
	unsigned count;	    /* seals */
	unsigned unsettled; /* parcels without all their receipts */
	bool is_closed;	    /* no more may join */
	bool is_told;	    /* the lane was told that all are settled */
	bool knows_uids;    /* of everything in it */
	uint32_t uid_top;   /* highest that was told */
	unsigned stored;    /* messages */
	/* What was told last, as first and last UID of an act. */
	struct imap_told {
		uint32_t first, last;
	} told[IMAP_APPENDS_MAX];
	unsigned told_count;
	struct imap_group *next;
};

/* An act on its way: messages [first, first + count) of a parcel. */
struct imap_sent {
	struct imap_append_act *act;
	struct imap_parcel *parcel;
	unsigned first, count;
	uint32_t uid_floor; /* its messages get higher UIDs than this */
};
/* What is to be sent again, in smaller acts. */
struct imap_again {
	struct imap_parcel *parcel;
	unsigned first, count;
	struct imap_again *next;
};

struct imap_link {
	struct imap_sink *sink;
	struct imap_session *session;
	struct imap_append *append;
	struct imap_sent sent[IMAP_APPENDS_MAX];
	unsigned sent_head, sent_count;
	struct imap_again *again;
	struct imap_parcel *busy; /* being sent; NULL: none */
	bool is_sending;	  /* its fiber runs */
	bool is_hearing;
	bool is_dead; /* nothing more goes in or out */
};

/* Receipts of what an earlier conversation sealed. */
struct imap_found {
	struct buffer seal;
	struct parcel_seal view; /* into it */
	uint64_t seal_no;
	struct parcel_outcome *outcomes; /* NULL: not known yet */
	enum err doubt;			 /* why what is there is doubtful all the same */
	size_t at;			 /* next to be receipted */
	bool is_settled;		 /* the lane was told so */
	/* Of the first seal of a folder: how often messages that were in doubt should be there. */
	struct imap_expected {
		struct digest digest;
		uint32_t copies;
	} * expected; /* sorted */
	size_t expected_count;
	uint32_t looked_epoch, looked_from; /* UIDVALIDITY and UID */
	struct imap_found *next;
};

struct imap_sink {
	struct sink base;
	uint32_t magic;
	struct sink_config config;
	const struct account *account; /* borrowed */
	struct tap *tap;	       /* of stored bytes, and altered ones */
	struct imap_places *places;    /* NULL: not listed yet */
	struct imap_link links[IMAP_LINKS_MAX];
	unsigned links_count, links_max;
	uint64_t append_limit;
	struct group *fibers; /* the receipt fiber's */
	struct wait_queue changed;
	uint64_t seal_no; /* of the next parcel */

	struct imap_parcel *parcels[IMAP_PARCELS_MAX];
	unsigned parcels_count;
	struct imap_parcel *filling; /* NULL: none */
	struct imap_parcel *queue;   /* filled ones and later, oldest first */
	struct imap_group *groups;   /* one of a folder at most */

	struct imap_found *found; /* seals of before */
	uint64_t *found_nos;	  /* of those of one folder: told as settled last */
	bool is_looked;		  /* for all of them */
	size_t surplus;		  /* copies too many that were there then */
	bool is_paused;		  /* nobody begins to send: somebody needs the session */
	/* Messages with an oddity that the server stored as they are. */
	unsigned unaltered[LIKENESS_ODDITIES];
	unsigned altered;		/* oddities of messages that it altered */
	struct reserve *looking;	/* its chunks, or its reader would wait for ours */
	struct imap_look *look;		/* NULL: none */
	nsec look_used;			/* last */
	struct imap_amends *amends;	/* NULL: nothing to be carried yet */
	struct imap_existing *existing; /* NULL: nothing there counts */
	unsigned quota_refusals;
	uint64_t refused_box_no; /* whose refusal was told last */

	struct err_note broken; /* error OK: it is not */
	bool is_draining, is_over;
};

/* ---- imap_sink.c ---- */

/* The sink is of no use any more, for the reason in err_note(), which is taken. The first stays. */
void imap_sink_breaks(struct imap_sink *, enum err);
/* Raised as it was. */
enum err imap_sink_is_broken(const struct imap_sink *) MUST_CHECK;
/* Until something is different. ERR_FIBER_CANCELED, or why it is broken. */
enum err imap_sink_wait(struct imap_sink *) MUST_CHECK;
/* The session of the first link for oneself, with nothing under way; then give it back. The folders
 * are listed on return. */
enum err imap_sink_borrow(struct imap_sink *, struct imap_session **) MUST_CHECK;
void imap_sink_give_back(struct imap_sink *);
/* The folder takes nothing any more. */
void imap_sink_refuse(struct imap_sink *, struct imap_place *, enum err fate, const char *why);
/* A conversation for reading back, opened at its first use. */
enum err imap_sink_look(struct imap_sink *, struct imap_look **) MUST_CHECK;

/* ---- imap_fill.c: the write fiber's ---- */

/* All folders that were prepared get their places. Why the sink is broken. Suspends. */
enum err imap_fill_settle_places(struct imap_sink *) MUST_CHECK;
/* As put() of the sink. Suspends. */
enum err imap_fill_put(struct imap_sink *, struct item *) MUST_CHECK;
/* What is being filled waits for its seal. */
void imap_fill_end(struct imap_sink *);

/* ---- imap_group.c ---- */

/* No more may join any of them, so they end. */
void imap_group_close_all(struct imap_sink *);
/* The parcel's folder has a group that takes it, or none. */
bool imap_group_may_join(const struct imap_parcel *) MUST_CHECK;
/* The folder's numbers, which its next group begins with; a folder that does not tell them gets a
 * fate. Suspends. */
enum err imap_group_ask_mark(struct imap_sink *, struct imap_place *) MUST_CHECK;
/* The parcel is sealed with its group's mark; its folder has a group or a known mark. */
enum err imap_group_join(struct imap_sink *, struct imap_parcel *, struct receipt *) MUST_CHECK;
/* The receipt of a group of which all is settled; false: there is none. */
bool imap_group_tell_settled(struct imap_sink *, struct receipt *);
/* Messages that are stored from now on have higher UIDs: the mark, and what was told so far. */
uint32_t imap_group_uid_floor(const struct imap_group *);
/* Of messages that a server stored in one act: whether it may be true that they have these UIDs
 * (`first` 0: not told). What cannot be, it did not tell; RFC 9051 section 2.3.1.1: they ascend. */
bool imap_group_note_uids(struct imap_group *, uint32_t floor, uint32_t first, uint32_t last,
			  unsigned count);
void imap_group_close(struct imap_sink *);

/* ---- imap_receipt.c: one receipt each; false, or not `told`: there is none ---- */

/* Of a folder that has its place. */
bool imap_receipt_news(struct imap_sink *, struct receipt *);
/* Of a parcel that was answered and checked. */
bool imap_receipt_answered(struct imap_sink *, struct receipt *);
/* The next seal. Suspends. */
enum err imap_receipt_sealed(struct imap_sink *, struct receipt *, bool *told) MUST_CHECK;
/* The sink is broken and nobody is at work any more: what no byte left of is returned, so its seal
 * can be forgotten. What was lost is told as far as it is known, and stays sealed with all of its
 * group. */
void imap_receipt_clear_up(struct imap_sink *);
bool imap_receipt_lost(struct imap_sink *, struct receipt *);

/* ---- imap_link.c ---- */

/* The fibers of a link: connect and send; take answers. The argument is the link. */
enum err imap_link_send(void *link);
enum err imap_link_hear(void *link);
/* Nothing of it is under way. */
bool imap_link_is_idle(const struct imap_link *);
/* The oldest parcel that may be sent; NULL: none. */
struct imap_parcel *imap_link_next_published(const struct imap_sink *);
void imap_link_close(struct imap_link *);

/* ---- imap_check.c ---- */

/* Messages of an answered parcel that some servers alter are read back, until it is known that this
 * one does not. Suspends. */
enum err imap_check_parcel(struct imap_sink *, struct imap_parcel *) MUST_CHECK;
/* The answers to those count as lost, because they were not read back. */
void imap_check_undo(const struct imap_sink *, struct imap_parcel *);

/* ---- imap_recover.c ---- */

enum err imap_recover_add(struct imap_sink *, uint64_t seal_no, struct text seal) MUST_CHECK;
/* What became of them. Suspends, some settle times. */
enum err imap_recover_look(struct imap_sink *) MUST_CHECK;
/* The next receipt of one of them; false: there is none. */
bool imap_recover_receipt(struct imap_sink *, struct receipt *);
/* The server has stored one more. */
void imap_recover_note_stored(struct imap_sink *, const struct imap_place *,
			      const struct parcel_record *);
/* Look once more. ERR_SINK_SURPLUS: there are more copies than were sent. Suspends. */
enum err imap_recover_look_again(struct imap_sink *) MUST_CHECK;
void imap_recover_close(struct imap_sink *);

/* ---- imap_amend.c ---- */

/* The driver's calls of these names. */
enum err imap_amend(struct sink *, const struct change *) MUST_CHECK;
enum err imap_amend_flush(struct sink *) MUST_CHECK;
/* The conversation's orderly end. Suspends. */
void imap_amend_finish(struct imap_sink *, nsec until);
void imap_amend_close(struct imap_sink *);

#endif
