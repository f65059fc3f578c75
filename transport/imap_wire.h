/* The bytes of one IMAP conversation: replies cut into lines and literals, and the only place where
 * a command leaves the process. Bounded whatever the server sends: a line is at most
 * IMAP_LINE_BYTES_MAX, has to be complete within io_timeout, and a literal has to keep moving. Not
 * for: meaning (imap_scan, imap_fetch, imap). */
#ifndef MAILHAUL_IMAP_WIRE_H
#define MAILHAUL_IMAP_WIRE_H

#include "engine/bytes.h"
#include "transport/imap_scan.h"

struct conn;
struct imap_deflate; /* transport/imap_deflate.h */

enum {
	/* Longest part of a reply between two literals. FLAGS, LIST and CAPABILITY stay far below;
	 * a quoted string that holds a message is the longest legitimate one. */
	IMAP_LINE_BYTES_MAX = 64 * 1024,
	/* Read at once while waiting for a line of the cold path. */
	IMAP_READ_BYTES_COLD = 4096,
	/* The same between messages. What is read beyond a literal's head has to be copied into the
	 * message, and a FETCH head is about 100 bytes: small keeps the copies few. */
	IMAP_READ_BYTES_HOT = 192,
	/* A literal slower than this over a whole io_timeout ends the conversation
	 * (ERR_NET_TIMEOUT): a server that drips a byte now and then must not hold a lane for
	 * ever. */
	IMAP_BYTES_PER_SECOND_MIN = 100,
	/* Longest time of one reply without its body, in io_timeouts: parts may follow each other
	 * without end, each within its own bounds. */
	IMAP_REPLY_TIMEOUTS = 10,
	/* Longest command: two names or a secret, with their escapes. */
	IMAP_COMMAND_BYTES_MAX = 24 * 1024,
	/* Where messages are sent, what is small gathers until it fills a TLS record: command,
	 * message and end of several small ones are one. Larger pieces are sent from where they
	 * lie. */
	IMAP_GATHER_BYTES_MAX = 16 * 1024,
	IMAP_GATHER_PIECE_BYTES_MAX = 4 * 1024,
};
/* Largest literal taken: 1 TiB. Far above any message, far below overflow. */
#define IMAP_LITERAL_BYTES_MAX ((uint64_t)1 << 40)
#define IMAP_NO_LITERAL	       (-1)

/* Where bytes come from: at least one, at most max, by `until`. The tests' door; imap_wire_open()
 * puts a conn behind it. */
struct imap_port {
	enum err (*read)(void *owner, void *to, size_t max, nsec until, size_t *got);
	void *owner;
};

/* What a conversation may do at the server beside reading; it never does more than one of these. */
enum imap_wire_may {
	IMAP_WIRE_READ,
	IMAP_WIRE_CHANGE, /* imap_wire_allow_changes() */
	IMAP_WIRE_REMOVE, /* imap_wire_allow_removal() */
	IMAP_WIRE_FLAG,	  /* imap_wire_allow_flags() */
};

struct imap_wire {
	struct imap_port port;
	struct conn *conn;	      /* borrowed; NULL where nothing is sent (tests of parsers) */
	struct imap_deflate *deflate; /* between the two and `line`; NULL: nothing is compressed */
	nsec io_timeout;
	nsec until;	    /* no wait goes past it; the whole act's deadline */
	nsec reply_until;   /* of the present reply, but for its body */
	size_t read_bytes;  /* IMAP_READ_BYTES_* */
	size_t begin, end;  /* of `line`: read, not taken yet */
	nsec pace_until;    /* present window of a literal's minimum rate */
	int64_t pace_bytes; /* still to come within it */
	bool resp_text;	    /* the present line is a status response: no literals in it */
	struct buffer command;
	unsigned tag; /* of the last command begun */
	enum imap_wire_may may;
	uint8_t *gathered; /* not handed to `conn` yet; NULL: nothing ever gathers */
	size_t gathered_bytes;
	char line[IMAP_LINE_BYTES_MAX + IMAP_READ_BYTES_COLD];
};

enum err imap_wire_open(const struct imap_port *, struct conn *, nsec io_timeout,
			struct imap_wire **) MUST_CHECK;
/* A port that reads `conn`. */
struct imap_port imap_wire_conn_port(struct conn *);
void imap_wire_close(struct imap_wire **);
/* Both sides compress from here on (RFC 4978 section 3): to be called when the tagged OK has been
 * read and before anything else is sent. What was read beyond it is compressed already.
 * ERR_MEMORY_EXHAUSTED. */
enum err imap_wire_compress(struct imap_wire *) MUST_CHECK;

/* ---- replies ---- */

/* The next part of a reply up to its end of line or to a literal: *part without CRLF and without
 * the literal's "{n}", borrowed until the next call; *literal its bytes, or IMAP_NO_LITERAL.
 * `first`: the part begins a reply. ERR_IMAP_SYNTAX (too long, NUL, bad literal), ERR_NET_*,
 * ERR_TLS_*. Suspends. */
enum err imap_wire_part(struct imap_wire *, bool first, struct text *part,
			int64_t *literal) MUST_CHECK;
/* Bytes of the literal that imap_wire_part() announced; the caller counts, and never asks for
 * more than is left. Payload: copied by BYTES_LINE_TAIL only what had been read with the line.
 * Suspends. */
enum err imap_wire_bytes(struct imap_wire *, void *to, size_t max, size_t *got) MUST_CHECK;
/* Begin a new window of the minimum rate: to be called before reading after a pause of our own. */
void imap_wire_pace(struct imap_wire *);
/* The body of the present reply has been read: what follows has a time of its own. */
void imap_wire_body_ended(struct imap_wire *);
/* Read and forget. What is no body must come by `reply_until`. Suspends. */
enum err imap_wire_skip(struct imap_wire *, uint64_t bytes, bool is_body) MUST_CHECK;
/* Bytes read beyond the last line; after STARTTLS there must be none. */
size_t imap_wire_left(const struct imap_wire *);

/* ---- commands ---- */

/* Begin a command; its text without tag and CRLF is then added to wire->command. Returns the tag's
 * number. */
unsigned imap_wire_begin(struct imap_wire *);
/* From now on this conversation may send commands that change the server, and small pieces gather.
 * Nothing deletes even then. To be called when no secret is sent any more: what gathers is not
 * wiped. */
enum err imap_wire_allow_changes(struct imap_wire *) MUST_CHECK;
/* From now on this conversation may mark messages \Deleted and remove them by their UIDs (RFC
 * 4315), and do nothing else to the server. */
void imap_wire_allow_removal(struct imap_wire *);
/* From now on this conversation may add flags to messages and take flags from them, both by their
 * UIDs and by name (UID STORE +FLAGS.SILENT and -FLAGS.SILENT, RFC 9051 section 6.4.6), and do
 * nothing else to the server. \Recent is not among them, and \Deleted is added by a command of its
 * own. */
void imap_wire_allow_flags(struct imap_wire *);
/* Check the verb against the table of those that change nothing at the server (or of those allowed
 * by one of the calls above), and write. The command's memory is wiped. Goes out at
 * imap_wire_flush(). May suspend. */
enum err imap_wire_send(struct imap_wire *) MUST_CHECK;
/* The same for what goes on with a command: a SASL message that the server asked for with "+", or
 * what stands behind a literal. */
enum err imap_wire_send_more(struct imap_wire *) MUST_CHECK;
/* Bytes of a message, as they are; only behind imap_wire_allow_changes(). Whoever sends 128 KiB of
 * them waits until the server has taken as much, io_timeout at most. May suspend. */
enum err imap_wire_send_bytes(struct imap_wire *, const void *from, size_t bytes) MUST_CHECK;
/* OK also where the server has gone meanwhile: why it went ("* BYE [UNAVAILABLE] ...") may be there
 * to be read, and where it is not, reading meets the failure again. So an answer must be read. */
enum err imap_wire_flush(struct imap_wire *) MUST_CHECK;
/* A string argument: quoted, or as literal where it must be and `literal_plus` allows; false if it
 * can be sent in no way. */
bool imap_wire_add_string(struct imap_wire *, struct text, bool literal_plus) MUST_CHECK;
/* "a17" -> 17. */
bool imap_wire_tag(struct imap_scan *, unsigned *tag);

#endif
