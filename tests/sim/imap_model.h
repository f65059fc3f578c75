/* A model IMAP server: folders and messages in memory, the commands a reader needs, RFC 9051 and
 * 3501. It checks what it is asked: a command that could change something is counted, and a test
 * finds it. With a store (imap_model_store.h) it is a destination. Not for: what real servers do
 * differently (tests/wire, tests/real). */
#ifndef MAILHAUL_IMAP_MODEL_H
#define MAILHAUL_IMAP_MODEL_H

#include "tests/sim/net_sim.h"

enum { IMAP_MODEL_BOXES_MAX = 16, IMAP_MODEL_MESSAGES_MAX = 64, IMAP_MODEL_NAME_BYTES_MAX = 127 };

struct imap_model_message {
	uint32_t uid;
	char flags[64];	 /* "\\Seen $Forwarded" */
	char labels[64]; /* Gmail's: "\\Inbox \"a b\"" */
	char date[32];	 /* "17-Jul-1996 02:44:25 -0700" */
	uint64_t modseq;
	const uint8_t *bytes;
	size_t length;
	bool gone;    /* expunged: not there any more, and the judge knows what it was */
	bool foreign; /* at a destination: delivered by somebody else */
	int was; /* the message this one was before its folder was replaced: its index, or -1 */
};

struct imap_model_box {
	char raw[IMAP_MODEL_NAME_BYTES_MAX + 1]; /* as on the wire: modified UTF-7 */
	const char *name;			 /* what that means, UTF-8 */
	char attributes[64];			 /* "\\Sent" */
	uint32_t epoch, next_uid;		 /* UIDVALIDITY, UIDNEXT */
	bool subscribed;
	bool gone;		 /* deleted or renamed away */
	bool may_be_refused;	 /* a run may leave it out and say so: it is not what it was */
	unsigned messages_count; /* those that are gone among them */
	uint32_t withheld; /* the UID of a message that STATUS counts and nothing else tells of */
	uint32_t refused;  /* the UID of a message whose body it will not hand out: NO */
	unsigned late;	   /* so many of the last are not announced yet, nor handed out */
	struct imap_model_message messages[IMAP_MODEL_MESSAGES_MAX];
	/* RFC 7162: what changed last, and what was expunged when. */
	uint64_t modseq;
	unsigned vanished_count;
	struct {
		uint32_t uid;
		uint64_t modseq;
	} vanished[IMAP_MODEL_MESSAGES_MAX];
	char id[32]; /* RFC 8474: MAILBOXID */
};

/* What was asked, all connections of one process; lies where the judge can read it. */
struct imap_model_counts {
	unsigned connections, logins, examines, messages_sent;
	unsigned fetches; /* of bodies; those of flags alone are looks */
	unsigned looks;
	unsigned changes; /* commands that would not leave the server as it was */
	unsigned unknown; /* commands the model does not know */
	char unknown_line[80];
};

struct imap_store;
struct imap_model {
	struct imap_store *store; /* it may be changed: imap_model_store.h; NULL: it may not */
	const char *user, *password, *capabilities;
	const char *password_wanted; /* NULL: `password`; else the client's is wrong */
	unsigned boxes_count;
	struct imap_model_box boxes[IMAP_MODEL_BOXES_MAX];
	struct imap_model_counts *counts;
	/* Faults. The first `end_count` connections of a process meet it after so many bytes each.
	 */
	unsigned end_count;
	uint64_t end_after;
	enum net_accident end_how;
	unsigned replace_at_examine; /* the first folder is made anew before that EXAMINE of a
					process */
	unsigned refuse_fetches;     /* so many FETCH commands get NO [UNAVAILABLE] */
	/* The same connections end after so many bytes of the client instead; 0: not. */
	uint64_t end_after_heard;
	uint64_t bytes_per_second; /* 0: no limit */
};

extern const char imap_model_capabilities_plain[];     /* IMAP4rev1, little else */
extern const char imap_model_capabilities_extended[];  /* as Dovecot's */
extern const char imap_model_capabilities_condstore[]; /* and CONDSTORE, */
extern const char imap_model_capabilities_qresync[];   /* and QRESYNC, */
extern const char imap_model_capabilities_objectid[];  /* and OBJECTID */
extern const char imap_model_capabilities_gmail[];     /* as Gmail's: X-GM-EXT-1 */

/* `name` is borrowed for the model's life. */
struct imap_model_box *imap_model_add_box(struct imap_model *, const char *raw, const char *name,
					  const char *attributes);
/* Takes a copy of the bytes, which lives until imap_model_clear(). The uid is the next one. */
struct imap_model_message *imap_model_add_message(struct imap_model_box *, const char *flags,
						  const char *date, const void *, size_t);
/* Messages that a client can see, and the one that comes after the last of them. */
unsigned imap_model_messages(const struct imap_model_box *, uint32_t *next_uid);
/* The folder is made anew under its name, its messages under new numbers. */
void imap_model_replace(struct imap_model_box *);
/* The folder has another name now; the old one is gone. */
struct imap_model_box *imap_model_rename(struct imap_model *, struct imap_model_box *,
					 const char *name);
/* Somebody changes the mailbox, between two processes. */
void imap_model_flag(struct imap_model_box *, unsigned index, const char *flags);
void imap_model_expunge(struct imap_model_box *, unsigned index);
/* Another UIDVALIDITY; the messages have new UIDs, in the same order, from `first` on. */
void imap_model_renew(struct imap_model_box *, uint32_t first);
void imap_model_remove_box(struct imap_model *, unsigned index);
/* `name` is borrowed for the model's life. */
void imap_model_call(struct imap_model_box *, const char *raw, const char *name);
void imap_model_listen(struct imap_model *, uint16_t port);
/* Frees the messages' bytes. */
void imap_model_clear(struct imap_model *);

#endif
