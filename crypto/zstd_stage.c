/* zstd frames, one at a time and one-shot: the door to libzstd. A frame never stays open across a
 * suspension, so the threads' contexts (1.3 MiB each) are shared by everything that runs on a
 * thread; a stage may be used on any thread. Not for: where a frame ends (transport/pack_out.c),
 * the seek table (transport/pack_read.c).
 */
#include "crypto/zstd_stage.h"

#include <pthread.h>
#include <stdlib.h>
#define ZSTD_STATIC_LINKING_ONLY /* for a context's size, and one in memory of ours */
#include <zstd.h>

#include "engine/budget.h"

struct zstd_stage {
	int level;
};

/* One per thread, made on first use, freed when the thread ends. The compressor's context lies in
 * memory of ours that only grows: the library would give a context that is too large for the last
 * hundred frames back to the kernel and fetch another for the next large one, over and over where
 * small and large messages alternate. */
struct contexts {
	ZSTD_CCtx *compress; /* in `room` */
	void *room;
	ZSTD_DCtx *open;
	size_t held; /* of the budget: `room` */
};

static pthread_key_t contexts_key;
static pthread_once_t contexts_once = PTHREAD_ONCE_INIT;
static bool contexts_key_made;

static void contexts_free(void *pointer)
{
	struct contexts *contexts = pointer;

	free(contexts->room);
	ZSTD_freeDCtx(contexts->open);
	budget_hold(BUDGET_COMPRESSORS, &contexts->held, 0);
	free(contexts);
}

static void contexts_make_key(void)
{
	contexts_key_made = pthread_key_create(&contexts_key, contexts_free) == 0;
}

static struct contexts *contexts_of_thread(void)
{
	struct contexts *contexts;

	pthread_once(&contexts_once, contexts_make_key);
	if (!contexts_key_made)
		return NULL;
	contexts = pthread_getspecific(contexts_key);
	if (contexts)
		return contexts;
	contexts = calloc(1, sizeof *contexts);
	if (contexts && pthread_setspecific(contexts_key, contexts) != 0) {
		free(contexts);
		return NULL;
	}
	return contexts;
}

enum err zstd_stage_open(int level, struct zstd_stage **out)
{
	*out = NULL;
	if (level < 1 || level > 19)
		return RAISE(ERR_INPUT_USAGE, "zstd level %d: choose 1 to 19", level);
	if (!(*out = calloc(1, sizeof **out)))
		return RAISE(ERR_MEMORY_EXHAUSTED, "opening a zstd stage");
	(*out)->level = level;
	return OK;
}

void zstd_stage_close(struct zstd_stage **stage)
{
	free(*stage);
	*stage = NULL;
}

/* For a frame of exactly so many. */
static size_t context_bytes(int level, size_t n)
{
	size_t bytes = ZSTD_estimateCCtxSize_usingCParams(ZSTD_getCParams(level, n, 0));

	must(!ZSTD_isError(bytes));
	return bytes;
}

/* The library has a table of parameters for each class of lengths, and a shorter frame's may take
 * more: level 4 has a larger hash table up to 128 KiB than above. */
size_t zstd_stage_context_bytes(int level, size_t frame_bytes)
{
	static const size_t classes[] = { 16 * 1024, 128 * 1024, 256 * 1024 };
	size_t most = context_bytes(level, frame_bytes);

	for (size_t i = 0; i < ARRAY_COUNT(classes) && classes[i] < frame_bytes; i++)
		most = max_u64(most, context_bytes(level, classes[i]));
	return most;
}

size_t zstd_stage_bound(size_t n)
{
	return ZSTD_compressBound(n);
}

/* This thread's, for a frame of n bytes; NULL: no memory. */
static ZSTD_CCtx *compressor(int level, size_t n)
{
	struct contexts *contexts = contexts_of_thread();
	size_t needed = context_bytes(level, n);

	if (!contexts || needed <= contexts->held)
		return contexts ? contexts->compress : NULL;
	free(contexts->room);
	contexts->room = malloc(needed);
	budget_hold(BUDGET_COMPRESSORS, &contexts->held, contexts->room ? needed : 0);
	contexts->compress = contexts->room ? ZSTD_initStaticCCtx(contexts->room, needed) : NULL;
	return contexts->compress;
}

enum err zstd_stage_frame(struct zstd_stage *stage, const void *from, size_t n, void *to,
			  size_t room, size_t *out)
{
	ZSTD_CCtx *compress = compressor(stage->level, n);
	size_t result;

	must(n <= ZSTD_FRAME_BYTES_MAX && room >= zstd_stage_bound(n));
	if (!compress)
		return RAISE(ERR_MEMORY_EXHAUSTED, "opening a zstd context");
	ZSTD_CCtx_reset(compress, ZSTD_reset_session_and_parameters);
	ZSTD_CCtx_setParameter(compress, ZSTD_c_compressionLevel, stage->level);
	ZSTD_CCtx_setParameter(compress, ZSTD_c_checksumFlag, 1);
	result = ZSTD_compress2(compress, to, room, from, n);
	if (ZSTD_isError(result))
		return RAISE(ERR_MEMORY_EXHAUSTED, "compressing %zu bytes: %s", n,
			     ZSTD_getErrorName(result));
	*out = result;
	return OK;
}

enum err zstd_stage_measure(const void *from, size_t n, size_t *frame_bytes, size_t *plain_bytes)
{
	unsigned long long plain = ZSTD_getFrameContentSize(from, n);
	size_t frame = ZSTD_findFrameCompressedSize(from, n);

	if (plain == ZSTD_CONTENTSIZE_ERROR || ZSTD_isError(frame))
		return RAISE(ERR_ARCHIVE_DAMAGED, "no whole zstd frame in %zu bytes", n);
	if (plain == ZSTD_CONTENTSIZE_UNKNOWN || plain > ZSTD_FRAME_BYTES_MAX)
		return RAISE(ERR_ARCHIVE_DAMAGED,
			     "a zstd frame of more than %d bytes or of unknown size",
			     ZSTD_FRAME_BYTES_MAX);
	*frame_bytes = frame;
	*plain_bytes = (size_t)plain;
	return OK;
}

enum err zstd_stage_open_frame(const void *from, size_t frame_bytes, void *to, size_t n)
{
	struct contexts *contexts = contexts_of_thread();
	size_t frame, plain, result;
	enum err e;

	must(n <= ZSTD_FRAME_BYTES_MAX);
	if ((e = zstd_stage_measure(from, frame_bytes, &frame, &plain)))
		return e;
	if (frame != frame_bytes || plain != n)
		return RAISE(ERR_ARCHIVE_DAMAGED, "a zstd frame is %zu/%zu bytes long, not %zu/%zu",
			     frame, plain, frame_bytes, n);
	if (contexts && !contexts->open)
		contexts->open = ZSTD_createDCtx();
	if (!contexts || !contexts->open)
		return RAISE(ERR_MEMORY_EXHAUSTED, "opening a zstd context");
	result = ZSTD_decompressDCtx(contexts->open, to, n, from, frame_bytes);
	if (ZSTD_isError(result) || result != n)
		return RAISE(ERR_ARCHIVE_DAMAGED, "a zstd frame does not open: %s",
			     ZSTD_isError(result) ? ZSTD_getErrorName(result) : "wrong length");
	return OK;
}
