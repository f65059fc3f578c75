/* What of a message stays the same when a server stores it otherwise than it was sent: its normal
 * form, and its Message-ID (docs/FORMAT.md section 8.2). So that after a lost answer nothing is
 * sent twice. Pure. Not for: what is moved, which is compared byte for byte. */
#ifndef MAILHAUL_LIKENESS_H
#define MAILHAUL_LIKENESS_H

#include "engine/mail.h"

enum { LIKENESS_ID_BYTES = 16 };

/* What some servers store otherwise. */
enum likeness_oddity {
	LIKENESS_8BIT_HEADER = 1, /* Cyrus: "X" */
	LIKENESS_LINE_END = 2,	  /* CR or LF alone. Dovecot, Courier: CRLF, or left out */
	LIKENESS_NO_LAST_END = 4, /* the last line has none, or there is none. Courier adds it */
	LIKENESS_NUL = 8,	  /* Dovecot: 0x80 */
	LIKENESS_ODDITIES = 4,	  /* so many */
};

struct likeness {
	struct digest normal;	       /* of the normal form */
	uint8_t id[LIKENESS_ID_BYTES]; /* of the Message-ID; zero: it has none */
	unsigned oddities;	       /* enum likeness_oddity */
};

/* Reads a message piece by piece. */
struct likeness_reader {
	struct tap *tap; /* NULL: no normal form is wanted */
	struct likeness seen;
	uint64_t bytes;
	bool in_header, at_line_start, after_cr;
	bool is_id_line, id_is_over; /* inside of the Message-ID's field; it was read */
	uint8_t line[16];	     /* of the present header line, its beginning in lower case */
	unsigned line_bytes;
	uint8_t id[256];
	unsigned id_bytes;
};

/* `tap` is borrowed until end. */
void likeness_begin(struct likeness_reader *, struct tap *);
void likeness_feed(struct likeness_reader *, const void *, size_t);
/* ERR_MEMORY_EXHAUSTED. */
enum err likeness_end(struct likeness_reader *, struct likeness *) MUST_CHECK;

#endif
