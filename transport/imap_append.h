/* Messages towards an IMAP destination: APPEND (RFC 9051 section 6.3.12) of one message, or of
 * several where the server offers MULTIAPPEND (RFC 3502: all of them are stored or none). For the
 * IMAP sink. Our own, because libetpan rewrites line ends, waits at each literal, and knows neither
 * LITERAL+ nor MULTIAPPEND.
 *
 * One *act* is one command: begin, then for each message message() and its bytes, end, answer. Acts
 * are written one after the other; the next may be written before the one before is answered, and
 * nothing waits for the server where its literals allow that (LITERAL+; LITERAL- up to 4096 bytes).
 * Where they do not, message() waits for the server's "+".
 *
 * Two fibers of one thread may share it: one that writes, one that takes answers. Either may read
 * for both. Between the first begin and the last answer nobody else uses the session. After an
 * error of any call but begin() the conversation is of no use any more;
 * imap_append_may_be_stored() says what may have come of each act.
 *
 * Not for: which messages, folders (the sink), trying again (engine/retry), the session. */
#ifndef MAILHAUL_IMAP_APPEND_H
#define MAILHAUL_IMAP_APPEND_H

#include "engine/mail.h"
#include "transport/imap_session.h"

enum {
	/* Acts begun and not answered yet. At 100 ms to the server and back these are 320 messages
	 * a second; their answers stay far below what the kernel holds for us. */
	IMAP_APPENDS_MAX = 32,
	/* What is kept of a told set of UIDs: the messages of one act have consecutive ones but
	 * where another client stores at the same moment. Longer: not told. */
	IMAP_APPEND_UIDS_BYTES_MAX = 127,
};

struct imap_append;	/* all acts of one session */
struct imap_append_act; /* one command */

/* The session was opened with imap_session_open_to_change() and is borrowed until close.
 * ERR_MEMORY_EXHAUSTED. */
enum err imap_append_open(struct imap_session *, struct imap_append **) MUST_CHECK;
/* Acts not answered are forgotten. No fiber may be in a call. */
void imap_append_close(struct imap_append **);

/* ---- writing ---- */

/* False: IMAP_APPENDS_MAX acts wait for their answers, so one has to be taken first. */
bool imap_append_has_room(const struct imap_append *);

/* Begin the next act, into the folder of this raw name; nothing is sent yet. ERR_IMAP_REFUSED, with
 * nothing begun: the name is not ASCII, and the server has no LITERAL+ to say it with. */
enum err imap_append_begin(struct imap_append *, const char *raw,
			   struct imap_append_act **) MUST_CHECK;

/* What a message has and cannot be told to the server. */
struct imap_append_left_out {
	unsigned keywords; /* that are no atom (RFC 9051 section 9, flag-keyword) */
	bool date;	   /* known, but see mail_date_imap(); the server takes the present time */
};
/* The next message of the act: its flags, keywords, date, and exact size.
 * meta         borrowed until return
 * size_bytes   an empty message must be alone in its act: between others its literal would call the
 *              act off (RFC 3502 section 6.3.11)
 * binary       as literal8, which may hold NUL; only with IMAP_HAS_BINARY
 * A second message only with IMAP_HAS_MULTIAPPEND. Where the server refuses instead of "+", that is
 * this act's answer, and OK. ERR_IMAP_*, ERR_NET_*, ERR_TLS_*. Suspends. */
enum err imap_append_message(struct imap_append_act *, const struct mail_meta *meta,
			     uint64_t size_bytes, bool binary,
			     struct imap_append_left_out *) MUST_CHECK;
/* The message's next bytes, as they are; in sum exactly size_bytes. A server that refuses a message
 * early goes on reading it, and so do we go on sending. One that stops reading ends in
 * ERR_NET_TIMEOUT. One that has gone: the error of what it said last (ERR_IMAP_BYE...), or OK where
 * that was this act's answer. Suspends. */
enum err imap_append_bytes(struct imap_append_act *, const void *from, size_t bytes) MUST_CHECK;
/* The server has refused this act and takes no more of it: bytes() and end() send nothing any more,
 * and the bytes may be left out. */
bool imap_append_is_off(const struct imap_append_act *);
/* Complete the command and send all there is. Errors as imap_append_bytes(). Suspends. */
enum err imap_append_end(struct imap_append_act *) MUST_CHECK;

/* ---- answers ---- */

struct imap_appended {
	bool granted;
	unsigned messages; /* of the act: all or none are stored */
	/* Not granted: ERR_SINK_REFUSED, ERR_SINK_TOOBIG, ERR_SINK_QUOTA, ERR_IMAP_BOX_GONE (code
	 * TRYCREATE, or NONEXISTENT), ERR_IMAP_THROTTLED, ERR_IMAP_UNAVAILABLE. BAD is no wider
	 * than NO: Exchange says it of single messages. */
	struct imap_hint hint;
	enum imap_state state; /* IMAP_OK, IMAP_NO, IMAP_BAD */
	char code[40];	       /* "TRYCREATE"; may be empty */
	char text[160];	       /* of the server, escaped and cut */
	/* APPENDUID, RFC 4315 section 3; 0: not told. What is malformed, or has not exactly as many
	 * UIDs as messages, or not in ascending order, was not told. */
	uint32_t uidvalidity;
	char uids[IMAP_APPEND_UIDS_BYTES_MAX + 1]; /* as told: "7:9,12" */
};
/* Read up to the answer of an act after imap_append_end(). Those of other acts on the way are kept
 * for them. The act is over then, and its memory anybody's. ERR_IMAP_SYNTAX, ERR_IMAP_BYE...,
 * ERR_NET_*, ERR_TLS_*: no answer will come, and the act stays. Suspends, at most ten io_timeouts.
 */
enum err imap_append_answer(struct imap_append_act *, struct imap_appended *) MUST_CHECK;
/* Of the n-th message of the act, from 0; 0: not told. */
uint32_t imap_appended_uid(const struct imap_appended *, unsigned n);
/* Raise what was not granted: "<what>: the server says NO [CODE] "text"", with scope and time. */
enum err imap_appended_raise(const struct imap_appended *, const char *what) MUST_CHECK;

/* Whether the act's messages may be at the server: from the moment its last bytes may have left
 * until a refusal is read. Before that they are not there: a server stores nothing of a command
 * that does not end (the literal's last byte is not its end). */
bool imap_append_may_be_stored(const struct imap_append_act *);

#endif
