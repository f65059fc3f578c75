/* Messages of one folder on their way to an IMAP server: gathered whole before the first of them is
 * sent, so that a source that fails in the middle of one harms nothing, with all that parcel.h
 * wants to know of them. Small ones lie in memory; one that is too large for that travels alone and
 * lies in a file without a name. For the IMAP sink. */
#ifndef MAILHAUL_IMAP_PARCEL_H
#define MAILHAUL_IMAP_PARCEL_H

#include "engine/sink.h"
#include "transport/parcel.h"

struct imap_place;

/* More are no faster: LIMITS, 100 in a MULTIAPPEND are 0.11 ms each at Dovecot, one is 0.4. */
enum { IMAP_PARCEL_MESSAGES_MAX = 128 };

enum imap_message_fate {
	IMAP_MESSAGE_OPEN,
	IMAP_MESSAGE_STORED,
	IMAP_MESSAGE_ALTERED,  /* it is there, with other bytes */
	IMAP_MESSAGE_REFUSED,  /* `why` */
	IMAP_MESSAGE_RETURNED, /* it is not there, and nothing is wrong with it */
	IMAP_MESSAGE_FOUND,    /* it is not sent: it was there before */
};
struct imap_message {
	struct parcel_record record;
	size_t at; /* in the parcel's bytes, or in its file */
	uint32_t flags;
	struct mail_date date;
	uint32_t keywords_at; /* in the parcel's keywords */
	uint16_t keywords_bytes;
	unsigned oddities;	/* enum likeness_oddity */
	bool keywords_left_out; /* the server did not take the message with them */
	bool wrap;		/* it goes wrapped */
	uint64_t wrapped_bytes; /* which is so many; 0: not known yet */
	enum imap_message_fate fate;
	enum err why;
	uint32_t uid; /* 0: not known */
	enum sink_found found;
	struct digest fingerprint; /* of FOUND_ALIKE */
};

struct imap_parcel {
	struct imap_place *place; /* borrowed; NULL: nothing is in it */
	uint64_t seal_no;	  /* 0: it was not sealed */
	enum imap_parcel_state {
		IMAP_PARCEL_FREE,
		IMAP_PARCEL_FILLING,
		IMAP_PARCEL_FILLED,    /* waits for its seal */
		IMAP_PARCEL_SHOWN,     /* its seal is with the ledger */
		IMAP_PARCEL_PUBLISHED, /* may be sent */
		IMAP_PARCEL_SENDING,   /* bytes of it may have left */
		IMAP_PARCEL_ANSWERED,  /* every message has a fate */
		IMAP_PARCEL_LOST,      /* what became of the open ones is to be found out */
	} state;
	struct imap_message messages[IMAP_PARCEL_MESSAGES_MAX];
	unsigned count, next_receipt;
	unsigned open;	   /* messages without a fate */
	unsigned found;	   /* the last so many were found, and are neither sealed nor sent */
	bool is_matched;   /* it is known which those are */
	bool is_checked;   /* what the server made of it is known */
	uint32_t uid_from; /* of those sent: none has a lower UID */
	uint8_t *bytes;	   /* of the messages; or of the file those from window_at on */
	size_t used, room;
	uint64_t window_at;
	size_t window_bytes;
	struct buffer keywords;
	int file; /* -1: none */
	struct buffer seal;
	struct imap_parcel *next;
};

/* `room` bytes for bodies. ERR_MEMORY_EXHAUSTED. */
enum err imap_parcel_open(size_t room, struct imap_parcel **) MUST_CHECK;
void imap_parcel_close(struct imap_parcel **);
/* Empty, and free for another folder. */
void imap_parcel_reset(struct imap_parcel *);

/* Whether a message of so many bytes may be added; an empty parcel takes any. */
bool imap_parcel_takes(const struct imap_parcel *, const struct imap_place *, uint64_t size_bytes);
/* Pull the item's body to its end; its digest is read after that. `tap` for what some servers make
 * of it; `spool` a directory for large ones. When it fails nothing was added: the body's error, or
 * ERR_DISK_* of the file. Suspends. */
enum err imap_parcel_add(struct imap_parcel *, struct item *, struct tap *tap,
			 const char *spool) MUST_CHECK;
/* Those that were found behind the others. */
void imap_parcel_put_found_last(struct imap_parcel *);
/* parcel->seal, of what is to be sent, for a folder with these numbers. */
enum err imap_parcel_seal(struct imap_parcel *, uint32_t uidvalidity, uint32_t uidnext) MUST_CHECK;

/* As APPEND wants it. */
void imap_parcel_meta(const struct imap_parcel *, const struct imap_message *, struct mail_meta *);
/* The message's bytes from `offset` on, as many as there are in memory at once: borrowed until the
 * parcel is read again. One at a time. ERR_DISK_*. Suspends. */
enum err imap_parcel_read(struct imap_parcel *, const struct imap_message *, uint64_t offset,
			  const uint8_t **from, size_t *got) MUST_CHECK;
/* A message gets its fate, unless it has one. */
void imap_parcel_settle(struct imap_parcel *, unsigned message, enum imap_message_fate, enum err);
/* `count` messages from `first` on are not there, and nothing is wrong with them. */
void imap_parcel_return(struct imap_parcel *, unsigned first, unsigned count);

#endif
