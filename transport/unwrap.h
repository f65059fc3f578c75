/* Taking the original out of a wrapper (wrap.h, docs/FORMAT.md section 9), or finding that a
 * message is none: pushed through piece by piece, in memory that does not grow. Line ends may be LF
 * alone, as in files that were saved. Believes nothing: what is inside counts only if it has the
 * size that was announced, and by whoever holds the bytes, the digest. One layer: what is inside a
 * wrapper may be one itself, and is what was wrapped. */
#ifndef MAILHAUL_UNWRAP_H
#define MAILHAUL_UNWRAP_H

#include "engine/mail.h"

enum {
	UNWRAP_LINE_BYTES_MAX = 1000, /* longer lines are not ours, and passed over */
	UNWRAP_HEADER_BYTES_MAX = 192 * 1024,
	UNWRAP_FUNCTION_BYTES = 24,
	UNWRAP_CODED_BYTES = 4096, /* decoded at once */
};

struct unwrap {
	/* What is inside, in pieces, beginning when `function` and `digest` are known. */
	void (*take)(void *context, const void *from, size_t n);
	void *context;
	enum unwrap_state {
		UNWRAP_IN_HEADER,
		UNWRAP_BEFORE_TEXT, /* the part that explains */
		UNWRAP_IN_TEXT,
		UNWRAP_IN_PART_HEADER,
		UNWRAP_IN_ORIGINAL,
		UNWRAP_BEHIND,
		UNWRAP_NOT_WRAPPED, /* it is no wrapper: nothing more is looked at */
		UNWRAP_BROKEN,	    /* it is one, and `fault` */
	} state;
	const char *fault; /* for people: "its base64 is damaged" */
	/* As announced, once the header is read. */
	char function[UNWRAP_FUNCTION_BYTES];
	struct digest digest;
	uint64_t size_bytes;
	/* ---- its own ---- */
	char boundary[64];
	uint64_t header_bytes, taken;
	char line[UNWRAP_LINE_BYTES_MAX];
	size_t line_bytes;
	bool line_is_long, is_field, is_announced;
	char field[256]; /* what the field of ours says, joined */
	size_t field_bytes;
	char coded[UNWRAP_CODED_BYTES];
	size_t coded_bytes;
	bool is_padded; /* nothing may follow */
};

void unwrap_begin(struct unwrap *, void (*take)(void *context, const void *, size_t),
		  void *context);
void unwrap_feed(struct unwrap *, const void *from, size_t n);
/* Nothing more comes. UNWRAP_BEHIND: it was a wrapper, whole, with so many bytes inside as it says;
 * UNWRAP_NOT_WRAPPED; UNWRAP_BROKEN, with a fault. */
enum unwrap_state unwrap_end(struct unwrap *);

/* A tap that digests what is inside a wrapper, and gives a digest of zeros for anything else: for
 * what is no wrapper, or a damaged one; and for one with another digest inside than it announces,
 * where that is of the same function. `type` as for digest_open(). ERR_MEMORY_EXHAUSTED. */
enum err unwrap_tap_open(const struct tap_type *type, struct tap **) MUST_CHECK;
bool unwrap_is_inside(const struct digest *);

#endif
