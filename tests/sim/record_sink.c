/* See record_sink.h. */
#include "tests/sim/record_sink.h"

#include <stdio.h>
#include <stdlib.h>

extern const struct sink_driver archive_sink;

struct record_sink {
	struct sink base;
	struct sink *inner;
};

static struct records *records;

void record_into(struct records *to)
{
	records = to;
}

static struct sink *inner(struct sink *base)
{
	must(base->type == &record_sink);
	return CONTAINER_OF(base, struct record_sink, base)->inner;
}

static void record_close(struct sink **base)
{
	if (!*base)
		return;
	archive_sink.close(&CONTAINER_OF(*base, struct record_sink, base)->inner);
	free(CONTAINER_OF(*base, struct record_sink, base));
	*base = NULL;
}

static enum err record_open(struct sink **out, const struct account *account,
			    const struct sink_config *config, nsec until)
{
	struct record_sink *sink = calloc(1, sizeof *sink);
	enum err e;

	must(sink && records);
	if (records->opened++ % 2 == 0 && records->flushing > records->flushed)
		records->flushed = records->flushing;
	records->count = records->flushing = records->flushed;
	sink->base.type = &record_sink;
	*out = &sink->base;
	if ((e = archive_sink.open(&sink->inner, account, config, until)))
		record_close(out);
	return e;
}

static enum err record_prepare(struct sink *sink, const struct box *box)
{
	return archive_sink.prepare(inner(sink), box);
}

static enum err record_find(struct sink *sink, uint64_t seal_no, struct text seal,
			    enum seal_fate *fate)
{
	return archive_sink.find(inner(sink), seal_no, seal, fate);
}

static enum err record_put(struct sink *sink, struct item *item)
{
	return archive_sink.put(inner(sink), item);
}

static enum err record_amend(struct sink *sink, const struct change *change)
{
	struct record *record = &records->records[records->count++];

	must(records->count <= RECORDS_MAX && change->box && change->no && change->epoch);
	*record = (struct record){ .kind = change->kind,
				   .epoch = change->epoch,
				   .no = change->no,
				   .was_epoch = change->was_epoch,
				   .was_no = change->was_no };
	snprintf(record->box, RECORD_NAME_BYTES, "%.127s", change->box->name);
	if (change->kind == CHANGE_RENUMBERED)
		snprintf(record->was_box, RECORD_NAME_BYTES, "%.127s", change->was_box);
	if (change->kind != CHANGE_VANISHED)
		record->mark = mail_mark(&change->meta);
	return archive_sink.amend ? archive_sink.amend(inner(sink), change) : OK;
}

static enum err record_amend_flush(struct sink *sink)
{
	enum err e;

	records->flushing = records->count;
	e = archive_sink.amend_flush ? archive_sink.amend_flush(inner(sink)) : OK;
	if (!e)
		records->flushed = records->count;
	return e;
}

static enum err record_flush(struct sink *sink)
{
	return archive_sink.flush(inner(sink));
}

static enum err record_receipt(struct sink *sink, struct receipt *receipt)
{
	return archive_sink.receipt(inner(sink), receipt);
}

static enum err record_publish(struct sink *sink, uint64_t seal_no)
{
	return archive_sink.publish(inner(sink), seal_no);
}

static void record_drain(struct sink *sink)
{
	archive_sink.drain(inner(sink));
}

static enum err record_finish(struct sink *sink, nsec until)
{
	return archive_sink.finish(inner(sink), until);
}

const struct sink_driver record_sink = {
	.scheme = "file",
	.open = record_open,
	.prepare = record_prepare,
	.find = record_find,
	.put = record_put,
	.amend = record_amend,
	.amend_flush = record_amend_flush,
	.flush = record_flush,
	.receipt = record_receipt,
	.publish = record_publish,
	.drain = record_drain,
	.finish = record_finish,
	.close = record_close,
};
