/* A canned IMAP server and a corpus for it: the same bytes whoever asks, made once, so that the
 * server costs as little as possible and never decides the result. It runs in a process of its own.
 */
#ifndef MAILHAUL_BENCH_CANNED_H
#define MAILHAUL_BENCH_CANNED_H

#include "engine/err.h"

/* Message sizes as in real mailboxes: half below 6 KB, some of megabytes. Same seed, same sizes. */
struct corpus {
	uint32_t *sizes;
	size_t count;
	uint64_t bytes;
	uint8_t *text; /* every message is a span of it */
	size_t text_bytes;
};
enum corpus_kind { CORPUS_SMALL, CORPUS_MIXED };
void corpus_make(struct corpus *, enum corpus_kind, uint64_t bytes_total);
void corpus_free(struct corpus *);
/* Where message `index` begins in `text`. */
const uint8_t *corpus_body(const struct corpus *, size_t index);

struct canned {
	uint16_t imaps_port;
	uint16_t plain_port; /* accepts, sends corpus->bytes of noise, closes: the bare cost of
				receiving */
	int pid;
};
/* Fork the server onto core `core`. Certificate and key are PEM files. */
void canned_start(struct canned *, const struct corpus *, const char *certificate, const char *key,
		  int core);
void canned_stop(struct canned *);

/* Pin this process to a core. False where it cannot be. */
bool pin_to_core(int core);

#endif
