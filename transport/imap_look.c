/* An IMAP source of which only the bytes are wanted. */
#include "transport/imap_look.h"

#include <stdlib.h>

#include "crypto/digest.h"
#include "engine/clock.h"
#include "engine/filter.h"
#include "transport/imap_source.h"
#include "transport/unwrap.h"

enum {
	/* Without bodies to be had. More are a server that hands out nothing. */
	UNREAD_MAX = 1000,
	/* Ranges that are still to be asked for: each is halved, down to one UID. */
	RANGES_MAX = 33,
};

struct range {
	uint32_t first, last;
};

struct imap_look {
	const struct account *account; /* borrowed */
	struct reserve *reserve;
	struct source *source;
	/* One that is asked for sizes alone: its filter wants no message. NULL: not needed yet. */
	struct source *sizes;
	struct account sizes_account;
	struct filter *nothing;
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
	look->account = account;
	look->reserve = reserve;
	if ((e = digest_open(tap->type, &look->tap)) ||
	    (e = digest_open(tap->type, &look->normal_tap)) ||
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
	if ((*look)->sizes)
		imap_source.close(&(*look)->sizes);
	filter_close(&(*look)->nothing);
	if ((*look)->tap)
		(*look)->tap->type->close(&(*look)->tap);
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
	if (look->sizes && imap_source.finish(look->sizes, until))
		err_note_clear();
}

void imap_looked_free(struct imap_looked *looked)
{
	free(looked->found);
	free(looked->unread);
	*looked = (struct imap_looked){ 0 };
}

/* Room for one more of `count`, which is kept at powers of two. */
static enum err make_room(void **at, size_t count, size_t each)
{
	void *grown;

	if (count & (count - 1))
		return OK;
	if (!(grown = realloc(*at, (count ? 2 * count : 1) * each)))
		return RAISE(ERR_MEMORY_EXHAUSTED, "what is in a destination's folder");
	*at = grown;
	return OK;
}

static enum err add(struct imap_looked *looked, struct parcel_wanted *wanted,
		    const struct item *item, const struct likeness *likeness,
		    const struct digest *inside)
{
	const struct mail_meta *meta = &item->meta;
	struct parcel_found found = { .uid = (uint32_t)item->no,
				      .digest = item->digest,
				      .normal = likeness->normal,
				      .inside = *inside,
				      .wrapped = unwrap_is_inside(inside),
				      .mark = mail_mark(meta),
				      .date_s = meta->date.known ? meta->date.seconds : INT64_MIN };
	enum err e;

	looked->seen++;
	bytes_copy(found.id, likeness->id, sizeof found.id, BYTES_META);
	if (wanted && !parcel_wanted_keeps(wanted, &found))
		return OK;
	if ((e = make_room((void **)&looked->found, looked->found_count, sizeof found)) == OK)
		looked->found[looked->found_count++] = found;
	return e;
}

static enum err add_unread(struct imap_looked *looked, uint64_t uid)
{
	enum err e;

	looked->seen++;
	if (looked->unread_count == UNREAD_MAX)
		return RAISE(ERR_SINK_BUSY,
			     "the destination does not hand out more than %d of its messages",
			     UNREAD_MAX);
	if ((e = make_room((void **)&looked->unread, looked->unread_count,
			   sizeof *looked->unread)) == OK)
		looked->unread[looked->unread_count++] =
			(struct parcel_unread){ .uid = (uint32_t)uid, .size_bytes = UINT64_MAX };
	return e;
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

/* One item of the range; *ended with its fate. */
static enum err hear_one(struct imap_look *look, struct parcel_wanted *wanted,
			 struct imap_looked *looked, bool *ended)
{
	struct item *item = &look->item;
	struct likeness likeness;
	struct digest inside;
	enum err e = imap_source.next(look->source, item);

	if (e)
		return e;
	*ended = item->kind == ITEM_RANGE_DONE;
	if (*ended || item->fate == ERR_IMAP_MSG_GONE)
		return OK;
	if (item->fate && err_retry_class(item->fate) == RETRY_SKIP_MSG)
		return add_unread(looked, item->no);
	if (item->fate)
		return RAISE(item->fate, "reading back message %llu", (unsigned long long)item->no);
	if ((e = digest_body(look, item, &likeness, &inside)))
		return e;
	return add(looked, wanted, item, &likeness, &inside);
}

static void open_box(struct imap_look *look, const char *raw, uint32_t uidvalidity)
{
	look->box = (struct box){ .epoch = uidvalidity, .box_no = 1, .selectable = true };
	must(strlen(raw) <= BOX_NAME_BYTES_MAX);
	bytes_copy(look->box.raw, raw, strlen(raw) + 1, BYTES_META);
	imap_source_look_anew(look->source);
}

/* What a refused range handed out all the same comes again. */
static void forget(struct imap_looked *looked, const struct imap_looked *before,
		   struct parcel_wanted *wanted, size_t over)
{
	if (wanted)
		parcel_wanted_anew(wanted, looked->found, before->found_count, over);
	looked->found_count = before->found_count;
	looked->unread_count = before->unread_count;
	looked->seen = before->seen;
}

/* *refused: the server does not hand out all of it. */
static enum err look_at(struct imap_look *look, struct range range, struct parcel_wanted *wanted,
			struct imap_looked *looked, bool *refused)
{
	struct imap_looked before = *looked;
	size_t over = wanted ? parcel_wanted_over(wanted) : 0;
	bool ended = false;
	enum err e = imap_source.ask(look->source, &look->box, range.first, range.last);

	*refused = false;
	while (!e && !ended)
		e = hear_one(look, wanted, looked, &ended);
	if (e || !look->item.fate)
		return e;
	e = look->item.fate;
	*refused = err_retry_class(e) == RETRY_SKIP_MSG;
	if (!*refused)
		return RAISE(e, "reading back what a folder holds");
	err_note_clear();
	forget(looked, &before, wanted, over);
	return range.first == range.last ? add_unread(looked, range.first) : OK;
}

static enum err look_at_all(struct imap_look *look, struct range all, struct parcel_wanted *wanted,
			    struct imap_looked *looked)
{
	struct range ranges[RANGES_MAX] = { all };
	unsigned count = 1;
	bool refused;
	enum err e = OK;

	while (count > 0 && !e) {
		struct range range = ranges[--count];
		uint32_t middle = range.first + (range.last - range.first) / 2;

		e = look_at(look, range, wanted, looked, &refused);
		if (e || !refused || range.first == range.last)
			continue;
		must(count + 2 <= RANGES_MAX);
		ranges[count++] = (struct range){ middle + 1, range.last };
		ranges[count++] = (struct range){ range.first, middle };
	}
	return e;
}

/* ---- sizes ---- */

static enum err open_sizes(struct imap_look *look)
{
	const struct account *account = look->account;
	enum err e = OK;

	if (look->sizes)
		return OK;
	if (!look->nothing && (e = filter_open(NULL, &look->nothing)))
		return e;
	filter_sizes(look->nothing, INT64_MAX, 0);
	look->sizes_account = *account;
	look->sizes_account.filter = look->nothing;
	return imap_source.open(&look->sizes, &look->sizes_account, look->reserve,
				clock_after(account->connect_timeout + account->io_timeout));
}

/* What is not said stays unknown. */
static enum err ask_size(struct imap_look *look, struct parcel_unread *unread)
{
	struct item *item = &look->item;
	enum err e = imap_source.ask(look->sizes, &look->box, unread->uid, unread->uid);

	while (!e && (e = imap_source.next(look->sizes, item)) == OK) {
		if (item->kind == ITEM_RANGE_DONE)
			break;
		if (item->fate == ERR_SOURCE_FILTERED && item->no == unread->uid &&
		    item->size_bytes >= 0)
			unread->size_bytes = (uint64_t)item->size_bytes;
		if (item->body)
			stream_close(&item->body);
	}
	if (!e && item->fate)
		err_note_clear();
	return e;
}

static enum err ask_sizes(struct imap_look *look, struct imap_looked *looked)
{
	enum err e = looked->unread_count ? open_sizes(look) : OK;

	if (!e && looked->unread_count)
		imap_source_look_anew(look->sizes);
	for (size_t i = 0; i < looked->unread_count && !e; i++)
		e = ask_size(look, &looked->unread[i]);
	return e;
}

/* ---- the whole ---- */

enum err imap_look_into(struct imap_look *look, const char *raw, uint32_t uidvalidity,
			uint32_t first, uint32_t last, struct parcel_wanted *wanted,
			struct imap_looked *out)
{
	enum err e;

	open_box(look, raw, uidvalidity);
	*out = (struct imap_looked){ 0 };
	e = look_at_all(look, (struct range){ first ? first : 1, last }, wanted, out);
	if (!e)
		e = ask_sizes(look, out);
	if (e)
		imap_looked_free(out);
	return e;
}

/* ---- single ones ---- */

static enum err look_at_body(struct imap_look *look, struct item *item, struct tap *fingerprint,
			     struct imap_look_one *looked)
{
	struct iolist list = { 0 };
	struct tapped tapped, tapped_too;
	enum err e;

	*looked = (struct imap_look_one){ .uid = (uint32_t)item->no };
	item->body = tapped_open(&tapped, item->body, look->tap, &looked->digest);
	if (fingerprint)
		item->body =
			tapped_open(&tapped_too, item->body, fingerprint, &looked->fingerprint);
	while ((e = stream_pull(item->body, &list)) == OK)
		iolist_release(&list);
	stream_close(&item->body);
	return e == ERR_STREAM_ENDED ? OK : e;
}

/* What cannot be read is not told, and is for the caller as if it were not there. */
static enum err hear_single(struct imap_look *look, struct tap *fingerprint, imap_look_each *each,
			    void *context, bool *ended)
{
	struct item *item = &look->item;
	struct imap_look_one looked;
	enum err e = imap_source.next(look->source, item);

	*ended = !e && item->kind == ITEM_RANGE_DONE;
	if (e)
		return e;
	if (*ended && item->fate && err_retry_class(item->fate) != RETRY_SKIP_MSG)
		return RAISE(item->fate, "reading back what a folder holds");
	if (*ended || item->fate) {
		err_note_clear();
		return OK;
	}
	if ((e = look_at_body(look, item, fingerprint, &looked)) == OK)
		each(context, &looked);
	return e;
}

enum err imap_look_at(struct imap_look *look, const char *raw, uint32_t uidvalidity,
		      const uint32_t *uids, size_t count, struct tap *fingerprint,
		      imap_look_each *each, void *context)
{
	unsigned asked = 0;
	size_t at = 0;
	bool ended;
	enum err e = OK;

	open_box(look, raw, uidvalidity);
	while (!e && (at < count || asked)) {
		if (at < count && asked < imap_source.asks_max) {
			e = imap_source.ask(look->source, &look->box, uids[at], uids[at]);
			at++;
			asked++;
		} else {
			e = hear_single(look, fingerprint, each, context, &ended);
			asked -= !e && ended;
		}
	}
	return e;
}

struct imap_session *imap_look_session(struct imap_look *look)
{
	return imap_source_session(look->source);
}
