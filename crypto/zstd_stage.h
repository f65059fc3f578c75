/* One zstd frame at a time, one-shot (RFC 8878): a frame never stays open across a suspension, so
 * one context per thread serves every lane. */
#ifndef MAILHAUL_ZSTD_STAGE_H
#define MAILHAUL_ZSTD_STAGE_H

#include "engine/err.h"

struct zstd_stage;
enum { ZSTD_FRAME_BYTES_MAX = 1024 * 1024 };

/* level 1..19; 0 and negative levels are refused (they do not shrink base64). It may be used on any
 * thread, by one at a time. */
enum err zstd_stage_open(int level, struct zstd_stage **) MUST_CHECK;
void zstd_stage_close(struct zstd_stage **);
/* What a thread's context needs at most for frames of `frame_bytes` at this level. */
size_t zstd_stage_context_bytes(int level, size_t frame_bytes);
/* Room that a frame of n bytes needs at most. */
size_t zstd_stage_bound(size_t n);
/* Compress n bytes (at most ZSTD_FRAME_BYTES_MAX) into one frame with its content size and
 * checksum. `room` is at least zstd_stage_bound(n). */
enum err zstd_stage_frame(struct zstd_stage *, const void *from, size_t n, void *to, size_t room,
			  size_t *out) MUST_CHECK;
/* How long the frame that starts here is, stored and opened; ERR_ARCHIVE_DAMAGED if it is not whole
 * within n bytes or holds more than ZSTD_FRAME_BYTES_MAX. Opens nothing. */
enum err zstd_stage_measure(const void *from, size_t n, size_t *frame_bytes,
			    size_t *plain_bytes) MUST_CHECK;
/* Open one whole frame again; exactly n bytes come out or ERR_ARCHIVE_DAMAGED. */
enum err zstd_stage_open_frame(const void *from, size_t frame_bytes, void *to, size_t n) MUST_CHECK;

#endif
