/* Lines of an object in a store, one at a time in bounded memory: as stored, or in zstd frames of
 * whole lines when the key ends in ".zst". Not for: what the lines say (json.h). */
#ifndef MAILHAUL_NDJSON_H
#define MAILHAUL_NDJSON_H

#include "transport/store.h"

/* A name of 1 KiB and keywords of 1 KiB, all of it escaped, the member's name beside them. */
enum { NDJSON_LINE_BYTES_MAX = 32 * 1024 };

struct ndjson;
enum err ndjson_open(struct store *, const char *key, struct ndjson **) MUST_CHECK;
/* Without its LF, borrowed until the next call. ERR_PIPE_ENDED at the end, ERR_ARCHIVE_DAMAGED for
 * a line that is too long or not ended. Suspends. */
enum err ndjson_next(struct ndjson *, struct text *line) MUST_CHECK;
uint64_t ndjson_lines(const struct ndjson *); /* handed out so far */
const char *ndjson_key(const struct ndjson *);
void ndjson_close(struct ndjson **);

/* Append lines to `to` as zstd frames of whole lines. */
struct zstd_stage;
enum err ndjson_compress(struct zstd_stage *, struct text lines, struct buffer *to) MUST_CHECK;

#endif
