/* Flags of messages that lie on an IMAP server, brought up to date by their UIDs: UID FETCH, then
 * UID STORE +FLAGS.SILENT and -FLAGS.SILENT of what flag_merge() says, over a session of its own
 * that can do no more. Where the server has CONDSTORE (RFC 7162), each STORE holds only while the
 * message is as it was read; one that somebody changed meanwhile is read again. Nothing is ever
 * removed. Not for: which messages (engine/lane_delta.c), when (imap_amend.c). */
#ifndef MAILHAUL_IMAP_FLAG_H
#define MAILHAUL_IMAP_FLAG_H

#include "engine/source.h"

struct imap_flag;
/* Connect and log in; borrows the account until close. ERR_NET_*, ERR_TLS_*, ERR_IMAP_*. Suspends;
 * needs a large stack. */
enum err imap_flag_open(const struct account *, nsec until, struct imap_flag **) MUST_CHECK;
void imap_flag_close(struct imap_flag **);
/* LOGOUT; a server that is gone already is no error. Suspends. */
void imap_flag_finish(struct imap_flag *, nsec until);

/* A message as the source has it now. */
struct imap_flagged {
	uint32_t uid;	   /* at the destination */
	uint32_t flags;	   /* enum mail_flag */
	uint64_t was_mark; /* mail_mark() of before; 0: not known */
	const char *keywords;
	uint16_t keywords_bytes, keywords_dropped;
};
/* Carry what changed of `count` messages of the folder `raw`, whose UIDVALIDITY must be the one
 * given; UIDs ascend. OK: all of them are counted in *carried, by what became of each; a folder
 * that is not there any more, is another one or refuses is counted too. Any other error is the
 * conversation's: some of it may be done, and doing it again does no harm. Suspends. */
enum err imap_flag_carry(struct imap_flag *, const char *raw, uint32_t uidvalidity,
			 const struct imap_flagged *, size_t count,
			 struct mail_carried *carried) MUST_CHECK;

enum {
	/* Messages that are read and stored together: their UIDs are below 6 KiB, so with flags a
	 * command stays below the 8192 bytes of RFC 7162 section 4. */
	IMAP_FLAG_MESSAGES_MAX = 512,
	/* STORE commands sent ahead of their answers. */
	IMAP_FLAG_FLIGHT_MAX = 4,
};

#endif
