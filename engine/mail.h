/* The vocabulary of mail, as far as the engine has one: a folder, a message's facts, its key. No
 * protocol: keys are numbers, epochs and cursors are opaque. */
#ifndef MAILHAUL_MAIL_H
#define MAILHAUL_MAIL_H

#include "engine/limits.h"
#include "engine/stream.h"

enum { SIZE_UNKNOWN = -1 };

/* System flags, RFC 9051 section 2.3.2; \Recent is not a property of a message and is left out. */
enum mail_flag {
	MAIL_SEEN = 1,
	MAIL_ANSWERED = 2,
	MAIL_FLAGGED = 4,
	MAIL_DELETED = 8,
	MAIL_DRAFT = 16,
};

/* A date with its zone, as the source gave it. */
struct mail_date {
	int64_t seconds; /* since 1970-01-01 UTC; may be negative */
	int32_t zone_minutes;
	bool known;
};

struct mail_meta {
	uint32_t flags; /* enum mail_flag */
	struct mail_date date;
	uint16_t keywords_bytes;   /* space-separated in `keywords`, not terminated */
	uint16_t keywords_dropped; /* that did not fit */
	char keywords[KEYWORDS_BYTES_MAX];
};

/* Flags and keywords as one number, the same in whatever order they were named; 0 stands for none
 * known. Two that differ have different numbers, but for one case in 2^63. */
uint64_t mail_mark(const struct mail_meta *);
/* What flags and keywords had this mark: found where the keywords are some of `now` and `there`, if
 * these are ten at most; else those of `now` but for two, which may be of `there` and `others`.
 * Only flags and keywords of *was are set. False: they are not known. */
bool mail_meta_of_mark(uint64_t mark, const struct mail_meta *now, const struct mail_meta *there,
		       const struct mail_meta *others, struct mail_meta *was) MUST_CHECK;

/* Messages that were stored before and whose flags have changed at the source since, by what became
 * of that at the target. */
struct mail_carried {
	uint64_t carried; /* as at the source now, but for what was changed at the target only */
	uint64_t merged;  /* of these: where something was */
	uint64_t gone;	  /* not at the target any more */
	uint64_t refused; /* not, or not all of it */
};

/* Where a folder stood when it was listed, in the source's own words; empty: not known. With
 * `exact`, an equal one later means that nothing at all has changed in the folder. */
struct cursor {
	bool exact;
	char at[CURSOR_BYTES_MAX + 1];
};

/* RFC 6154 plus INBOX. */
enum box_use {
	BOX_USE_NONE,
	BOX_USE_INBOX,
	BOX_USE_ALL,
	BOX_USE_ARCHIVE,
	BOX_USE_DRAFTS,
	BOX_USE_FLAGGED,
	BOX_USE_JUNK,
	BOX_USE_SENT,
	BOX_USE_TRASH,
	BOX_USE_IMPORTANT,
};
const char *box_use_name(enum box_use); /* "sent"; "" for none */
bool box_use_from_name(struct text, enum box_use *);

/* One folder. `name` is UTF-8 with `separator` between levels ('\0': flat). `raw` is the source's
 * own spelling (IMAP: modified UTF-7), which is what the source is asked with. */
struct box {
	char name[BOX_NAME_BYTES_MAX + 1];
	char raw[BOX_NAME_BYTES_MAX + 1];
	char separator;
	enum box_use use;
	bool subscribed;
	bool selectable;   /* false: a mere level of the hierarchy */
	bool childless;	   /* it can have no children */
	enum err fate;	   /* not OK: the source refuses this folder; the rest is unknown */
	uint64_t epoch;	   /* IMAP: UIDVALIDITY. Another value: another folder of the same name */
	uint64_t next_no;  /* keys in the folder are below this; 0: unknown */
	uint64_t messages; /* as announced */
	uint64_t bytes;	   /* as announced; 0: unknown */
	uint64_t box_no;   /* the ledger's number, set by ledger_box() */
	uint64_t settled;  /* settled by earlier runs and not gone since; set by ledger_box() */
	char id[BOX_ID_BYTES_MAX + 1]; /* the folder's own, which a new name leaves as it is; "" */
	struct cursor cursor;	       /* as listed */
	struct cursor before;	       /* of the last scan; set by ledger_box() */
	/* What the names of all top-level folders but INBOX begin with; mostly empty. */
	char prefix[BOX_PREFIX_BYTES_MAX + 1];
	bool renamed; /* known by another name before; set by ledger_box() */
};

enum { DIGEST_BYTES = 32 };
/* Which function made it is the job's choice, recorded beside every stored value. */
struct digest {
	uint8_t bytes[DIGEST_BYTES];
};

/* Watches bytes go by and yields a digest; crypto/digest.c implements it. One object is used for
 * one message at a time, again and again. */
struct tap;
struct tap_type {
	const char *name; /* "blake3" */
	void (*begin)(struct tap *);
	void (*update)(struct tap *, const void *, size_t);
	void (*end)(struct tap *, struct digest *);
	void (*close)(struct tap **);
};
struct tap {
	const struct tap_type *type;
};

/* A body that is digested while it is pulled: *digest is filled when the end is seen. Takes `body`;
 * the struct is the caller's and must outlive the stream. */
struct tapped {
	struct stream base;
	struct stream *body;
	struct tap *tap;
	struct digest *digest;
};
struct stream *tapped_open(struct tapped *, struct stream *body, struct tap *, struct digest *);

/* How a stored message holds the bytes that were sent. Numbers are the ledger's. */
enum mail_form {
	MAIL_AS_IT_IS = 0,
	MAIL_WRAPPED = 1, /* inside another message, from which they can be taken out again */
};

/* What kind of sealed mail this is, by its header alone; for the report. */
enum mail_kind {
	MAIL_PLAIN,
	MAIL_SMIME_SIGNED,
	MAIL_SMIME_ENCRYPTED,
	MAIL_PGP_SIGNED,
	MAIL_PGP_ENCRYPTED,
	MAIL_KIND_COUNT
};
const char *mail_kind_name(enum mail_kind);
/* Looks at the top header in the first bytes of a message (RFC 8551 section 3.2, RFC 3156 section
 * 2). */
enum mail_kind mail_sniff(const uint8_t *head, size_t bytes);

/* One message on its way. */
struct item {
	enum item_kind {
		ITEM_MESSAGE,
		ITEM_RANGE_DONE, /* the oldest range asked for has been answered in full: what was
				  * not handed over is not there any more */
	} kind;
	uint64_t box_no, no;
	uint64_t range_first, range_last; /* of the range it was asked with */
	int64_t size_bytes;		  /* exact (the literal's {n}), or SIZE_UNKNOWN */
	enum err fate;			  /* not OK: this message will not come; body is NULL */
	struct mail_meta meta;
	struct stream *body;  /* the item's; drained before the source's next() */
	struct digest digest; /* valid after the body's end, put there by the lane */
	enum mail_kind mail_kind;
};

/* "dd-Mon-yyyy hh:mm:ss +zzzz" (RFC 9051 date-time; one-digit days padded with a space or not).
 * False if it is none. */
bool mail_date_parse(struct text, struct mail_date *);
/* The same to be sent, days of one digit padded with a space; `to` holds at least 40 bytes. Empty
 * where it cannot be said: a date that is not known, or that no year from 1 to 9999 has in its
 * zone. A zone beyond +-1400 is refused by servers: the same instant is said in +0000. */
char *mail_date_imap(char to[40], const struct mail_date *);
/* RFC 3339 with the zone kept: "2014-03-01T08:00:00+01:00"; `to` holds at least 40 bytes. */
char *mail_date_rfc3339(char to[40], const struct mail_date *);
bool mail_date_from_rfc3339(struct text, struct mail_date *);

#endif
