/* A message that a server does not take as it is, wrapped: a new message, which any server takes
 * (7 bits, CRLF, short lines), with the original inside as base64, byte for byte. It follows from
 * the original alone, so the same original always has the same wrapper. docs/FORMAT.md section 9.
 * Pure; taking it out again is unwrap.h. Not for: deciding what is wrapped (imap_link). */
#ifndef MAILHAUL_WRAP_H
#define MAILHAUL_WRAP_H

#include "engine/bytes.h"
#include "engine/mail.h"

enum {
	/* So much of the original is looked at for fields that are copied. */
	WRAP_HEADER_BYTES_MAX = 64 * 1024,
	WRAP_LINE_BYTES = 57,	       /* of the original in a line, */
	WRAP_LINE_CHARACTERS = 76 + 2, /* which is so long then */
	WRAP_PIECE_BYTES = 57 * 1024,  /* of the original, encoded at once */
	WRAP_PIECE_CHARACTERS = 78 * 1024,
};

struct wrap {
	struct buffer head, tail; /* what is before and behind the encoded original */
	uint64_t size_bytes;	  /* of all of it */
};

/* `header`: the first bytes of the original, WRAP_HEADER_BYTES_MAX or all of them. `function`: what
 * made the digest. ERR_MEMORY_EXHAUSTED. */
enum err wrap_open(struct wrap *, struct text header, uint64_t original_bytes,
		   const struct digest *, const char *function) MUST_CHECK;
/* Accepts a zeroed one. */
void wrap_close(struct wrap *);
/* Encode n bytes of the original, at most WRAP_PIECE_BYTES, and but for its last piece a multiple
 * of WRAP_LINE_BYTES; `to` holds WRAP_PIECE_CHARACTERS + 1. Returns how many characters. */
size_t wrap_encode(char *to, const uint8_t *from, size_t n);

#endif
