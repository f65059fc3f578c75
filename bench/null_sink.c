/* The null sink. Receipts come as soon as asked for. */
#include "bench/null_sink.h"

#include <stdlib.h>

#include "engine/clock.h"
#include "engine/fiber.h"

enum { NULL_RECEIPTS_MAX = 1024 };

struct null {
	struct sink base;
	struct receipt receipts[NULL_RECEIPTS_MAX];
	unsigned head, count;
	bool draining;
	struct wait_queue changed;
};

static enum err null_open(struct sink **out, const struct account *account,
			  const struct sink_config *config, nsec until)
{
	struct null *null = calloc(1, sizeof *null);

	(void)account, (void)config, (void)until;
	must(null);
	null->base.type = &null_sink;
	*out = &null->base;
	return OK;
}

static enum err null_prepare(struct sink *sink, const struct box *box)
{
	(void)sink, (void)box;
	return OK;
}

static enum err null_find(struct sink *sink, uint64_t seal_no, struct text seal,
			  enum seal_fate *fate)
{
	(void)sink, (void)seal_no, (void)seal;
	*fate = SEAL_ABSENT;
	return OK;
}

static enum err null_put(struct sink *sink, struct item *item)
{
	struct null *null = (struct null *)sink;
	struct iolist list = { .count = 0 };
	enum err e;

	while ((e = stream_pull(item->body, &list)) == OK)
		iolist_release(&list);
	if (e != ERR_STREAM_ENDED)
		return e;
	while (null->count == NULL_RECEIPTS_MAX)
		if ((e = wait_on(&null->changed, clock_after(60 * NSEC_SECOND))))
			return e;
	null->receipts[(null->head + null->count++) % NULL_RECEIPTS_MAX] =
		(struct receipt){ .kind = RECEIPT_STORED,
				  .box_no = item->box_no,
				  .no = item->no,
				  .size_bytes = (uint64_t)item->size_bytes,
				  .digest = item->digest,
				  .mail_kind = item->mail_kind };
	if (null->count == NULL_RECEIPTS_MAX / 2)
		wake_all(&null->changed);
	return OK;
}

static enum err null_flush(struct sink *sink)
{
	wake_all(&((struct null *)sink)->changed);
	return OK;
}

static enum err null_amend(struct sink *sink, const struct change *change)
{
	(void)sink, (void)change;
	return OK;
}

static enum err null_amend_flush(struct sink *sink)
{
	(void)sink;
	return OK;
}

static enum err null_receipt(struct sink *sink, struct receipt *receipt)
{
	struct null *null = (struct null *)sink;
	enum err e;

	while (null->count == 0) {
		if (null->draining)
			return ERR_SINK_FINISHED;
		e = wait_on(&null->changed, clock_after(100 * NSEC_MILLISECOND));
		if (e && e != ERR_FIBER_TIMEOUT)
			return e;
	}
	*receipt = null->receipts[null->head];
	null->head = (null->head + 1) % NULL_RECEIPTS_MAX;
	if (null->count-- == NULL_RECEIPTS_MAX)
		wake_all(&null->changed);
	return OK;
}

static enum err null_publish(struct sink *sink, uint64_t seal_no)
{
	(void)sink, (void)seal_no;
	return OK;
}

static void null_drain(struct sink *sink)
{
	((struct null *)sink)->draining = true;
	wake_all(&((struct null *)sink)->changed);
}

static enum err null_finish(struct sink *sink, nsec until)
{
	(void)sink, (void)until;
	return OK;
}

static void null_close(struct sink **sink)
{
	free(*sink);
	*sink = NULL;
}

const struct sink_driver null_sink = {
	.scheme = "null",
	.open = null_open,
	.prepare = null_prepare,
	.find = null_find,
	.put = null_put,
	.amend = null_amend,
	.amend_flush = null_amend_flush,
	.flush = null_flush,
	.receipt = null_receipt,
	.publish = null_publish,
	.drain = null_drain,
	.finish = null_finish,
	.close = null_close,
};
