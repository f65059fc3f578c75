/* An IMAP source of which only the bytes are wanted. */
#include "transport/imap_look.h"

#include <stdlib.h>

#include "crypto/digest.h"
#include "transport/imap_source.h"
#include "transport/unwrap.h"

enum {
	/* A bound for what others deliver behind our mark. */
	FOUND_MAX = 200 * 1000,
};

struct imap_look {
	struct source *source;
	struct tap *tap, *normal_tap, *inside_tap;
	struct item item;
	struct box box;
};

enum err imap_look_open(const struct account *account, struct reserve *reserve, struct tap *tap,
			nsec until, struct imap_look **out)
{
	struct imap_look *look = calloc(1, sizeof *look);
	enum err e;

	*out = look;
	if (!look)
		return RAISE(ERR_MEMORY_EXHAUSTED, "looking into a destination");
	look->tap = tap;
	if ((e = digest_open(tap->type, &look->normal_tap)) ||
	    (e = unwrap_tap_open(tap->type, &look->inside_tap)) ||
	    (e = imap_source.open(&look->source, account, reserve, until)))
		imap_look_close(out);
	return e;
}

void imap_look_close(struct imap_look **look)
{
	if (!*look)
		return;
	if ((*look)->source)
		imap_source.close(&(*look)->source);
	if ((*look)->normal_tap)
		(*look)->normal_tap->type->close(&(*look)->normal_tap);
	if ((*look)->inside_tap)
		(*look)->inside_tap->type->close(&(*look)->inside_tap);
	free(*look);
	*look = NULL;
}

void imap_look_finish(struct imap_look *look, nsec until)
{
	if (imap_source.finish(look->source, until))
		err_note_clear(); /* what was read was read */
}

static enum err add(struct parcel_found **found, size_t *count, const struct item *item,
		    const struct likeness *likeness, const struct digest *inside)
{
	const struct mail_meta *meta = &item->meta;
	struct parcel_found *grown = *found;

	if (*count == FOUND_MAX)
		return RAISE(ERR_SINK_BUSY, "more than %d messages came into the folder meanwhile",
			     FOUND_MAX);
	if ((*count & (*count - 1)) == 0) /* room for the next power of two */
		grown = realloc(*found, (*count ? 2 * *count : 1) * sizeof *grown);
	if (!grown)
		return RAISE(ERR_MEMORY_EXHAUSTED, "what is in a destination's folder");
	*found = grown;
	grown += (*count)++;
	*grown = (struct parcel_found){ .uid = (uint32_t)item->no,
					.digest = item->digest,
					.normal = likeness->normal,
					.inside = *inside,
					.wrapped = unwrap_is_inside(inside),
					.mark = mail_mark(meta),
					.date_s =
						meta->date.known ? meta->date.seconds : INT64_MIN };
	bytes_copy(grown->id, likeness->id, sizeof grown->id, BYTES_META);
	return OK;
}

/* Drain a body. */
static enum err digest_body(struct imap_look *look, struct item *item, struct likeness *likeness,
			    struct digest *inside)
{
	struct tapped tapped, tapped_inside;
	struct likeness_reader reader;
	struct iolist list = { 0 };
	enum err e;

	likeness_begin(&reader, look->normal_tap);
	item->body = tapped_open(&tapped, item->body, look->tap, &item->digest);
	item->body = tapped_open(&tapped_inside, item->body, look->inside_tap, inside);
	while ((e = stream_pull(item->body, &list)) == OK) {
		for (unsigned i = 0; i < list.count; i++)
			likeness_feed(&reader, slice_bytes(&list.slices[i]), list.slices[i].length);
		iolist_release(&list);
	}
	stream_close(&item->body);
	return e == ERR_STREAM_ENDED ? likeness_end(&reader, likeness) : e;
}

static enum err hear(struct imap_look *look, struct parcel_found **found, size_t *count)
{
	struct item *item = &look->item;
	struct likeness likeness;
	struct digest inside;
	enum err e;

	for (;;) {
		if ((e = imap_source.next(look->source, item)))
			return e;
		if (item->kind == ITEM_RANGE_DONE)
			return item->fate ? RAISE(item->fate, "reading back what a folder holds")
					  : OK;
		if (item->fate == ERR_IMAP_MSG_GONE)
			continue;
		if (item->fate)
			return RAISE(item->fate, "reading back message %llu",
				     (unsigned long long)item->no);
		if ((e = digest_body(look, item, &likeness, &inside)) ||
		    (e = add(found, count, item, &likeness, &inside)))
			return e;
	}
}

enum err imap_look_into(struct imap_look *look, const char *raw, uint32_t uidvalidity,
			uint32_t first, uint32_t last, struct parcel_found **found, size_t *count)
{
	enum err e;

	look->box = (struct box){ .epoch = uidvalidity, .box_no = 1, .selectable = true };
	must(strlen(raw) <= BOX_NAME_BYTES_MAX);
	bytes_copy(look->box.raw, raw, strlen(raw) + 1, BYTES_META);
	*found = NULL;
	*count = 0;
	imap_source_look_anew(look->source);
	e = imap_source.ask(look->source, &look->box, first, last);
	if (!e)
		e = hear(look, found, count);
	if (e) {
		free(*found);
		*found = NULL;
	}
	return e;
}
