/* Messages that are stored already and turn up under another number: their folder was replaced by
 * another of its name (IMAP: UIDVALIDITY changed), was renamed, or its messages were moved before
 * it was deleted. As long as messages of such folders are sought, the digest of each message that
 * comes is known before the sink has it for good, and one that is among them is not stored again:
 * it is the same stored message under its new number. Equal ones are matched one to one. What is
 * left when everything was read is gone. */
#include <stdlib.h>

#include "engine/lane_state.h"
#include "engine/log.h"

struct lane_seek {
	struct ledger_renumber found; /* the last one; was_no 0: none */
	char was_name[BOX_NAME_BYTES_MAX + 1];
	/* Told to the sink, and to be told to the ledger when they are durable there. */
	struct ledger_renumber pending[RENUMBERED_PENDING_MAX];
	size_t pending_count;
	struct box box;
	struct change change;
	struct ledger_known_box known; /* of the change */
	/* The body that is looked at while the sink has it. */
	struct stream base;
	struct stream *body;
	struct lane *lane;
	const struct item *item;
	enum err end;
};

/* ---- what is sought ---- */

static enum err is_any_sought(struct lane *lane, bool *any)
{
	struct ledger_known_box known = { 0 };
	enum err e;

	*any = false;
	while (!*any &&
	       (e = ledger_box_next(lane->config->ledger, lane->mailbox.mailbox_no, &known)) == OK)
		*any = known.former == LEDGER_SOUGHT;
	return *any || e == ERR_PIPE_ENDED ? OK : e;
}

static enum err fill(struct lane *lane)
{
	uint64_t box_no = 0, no = 0;
	enum err e;

	do {
		e = ledger_seek(lane->config->ledger, lane->mailbox.mailbox_no, &box_no, &no);
	} while (e == OK && box_no);
	return e;
}

enum err lane_seek_begin(struct lane *lane)
{
	bool any = false;
	enum err e;

	if (!lane->seek_stale)
		return OK;
	if ((e = is_any_sought(lane, &any)))
		return e;
	if (any && !lane->seek && !(lane->seek = calloc(1, sizeof *lane->seek)))
		return RAISE(ERR_MEMORY_EXHAUSTED, "looking for messages of former folders");
	if (any && (e = fill(lane)))
		return e;
	lane->seek_stale = false;
	return OK;
}

void lane_seek_close(struct lane_seek **seek)
{
	free(*seek);
	*seek = NULL;
}

/* ---- one message ---- */

static enum err look_up(struct lane *lane, const struct item *item)
{
	struct lane_seek *seek = lane->seek;

	seek->found = (struct ledger_renumber){ .box_no = item->box_no,
						.no = item->no,
						.mark = mail_mark(&item->meta) };
	return ledger_sought(lane->config->ledger, lane->mailbox.mailbox_no, &item->digest,
			     seek->pending, seek->pending_count, &seek->found, seek->was_name);
}

/* Its flags may have changed too: what they were, and where it lies. */
static enum err add_place(struct lane *lane)
{
	struct lane_seek *seek = lane->seek;
	struct ledger_seen seen = { 0 };
	size_t count;
	enum err e;

	if (!lane_carries(lane))
		return OK;
	e = ledger_seen(lane->config->ledger, seek->found.was_box_no, seek->found.was_no,
			seek->found.was_no, &seen, 1, &count);
	seek->change.was_mark = seen.mark;
	seek->change.target_no = seen.target_no;
	if (e || seen.mark == seek->found.mark)
		return e;
	return lane_change_place(lane, seek->found.was_box_no, &seek->known, &seek->change);
}

enum err lane_seek_take(struct lane *lane, const struct item *item)
{
	struct lane_seek *seek = lane->seek;
	enum err e;

	must(seek->found.was_no && seek->found.no == item->no);
	err_note_clear();
	plan_fill_box(lane->plan, item->box_no, &seek->box);
	seek->change = (struct change){
		.kind = CHANGE_RENUMBERED,
		.box = &seek->box,
		.epoch = seek->box.epoch,
		.no = item->no,
		.was_box = seek->was_name,
		.was_epoch = seek->found.was_epoch,
		.was_no = seek->found.was_no,
		.meta = item->meta,
	};
	if ((e = add_place(lane)) || (e = lane_amend(lane, &seek->change)))
		return e;
	seek->pending[seek->pending_count++] = seek->found;
	return seek->pending_count == RENUMBERED_PENDING_MAX ? lane_seek_flush(lane) : OK;
}

enum err lane_seek_staged(struct lane *lane, struct item *item, bool *known)
{
	const struct iolist *list = stream_list_peek(item->body);
	struct tap *tap = lane->config->digest;
	enum err e;

	*known = false;
	if (!list)
		return OK;
	tap->type->begin(tap);
	for (unsigned i = 0; i < list->count; i++)
		tap->type->update(tap, slice_bytes(&list->slices[i]), list->slices[i].length);
	tap->type->end(tap, &item->digest);
	if ((e = look_up(lane, item)) || !lane->seek->found.was_no)
		return e;
	*known = true;
	return lane_seek_take(lane, item);
}

/* The digest is there at the body's end: if it is one that is sought, the body has failed, as far
 * as the sink is concerned, and it takes back what it wrote of it. */
static enum err sought_pull(struct stream *stream, struct iolist *out)
{
	struct lane_seek *seek = CONTAINER_OF(stream, struct lane_seek, base);
	enum err e;

	if (seek->end)
		return seek->end;
	if ((e = stream_pull(seek->body, out)) != ERR_STREAM_ENDED)
		return e;
	if ((e = look_up(seek->lane, seek->item)))
		return e;
	seek->end = seek->found.was_no ? ERR_SOURCE_KNOWN : ERR_STREAM_ENDED;
	return seek->end;
}

static void sought_close(struct stream *stream)
{
	stream_close(&CONTAINER_OF(stream, struct lane_seek, base)->body);
}

struct stream *lane_seek_open(struct lane *lane, const struct item *item, struct stream *body)
{
	static const struct stream_type type = { .pull = sought_pull, .close = sought_close };
	struct lane_seek *seek = lane->seek;

	seek->base.type = &type;
	seek->body = body;
	seek->lane = lane;
	seek->item = item;
	seek->end = OK;
	return &seek->base;
}

/* ---- telling ---- */

void lane_seek_sink_lost(struct lane *lane)
{
	if (lane->seek)
		lane->seek->pending_count = 0;
}

enum err lane_seek_flush(struct lane *lane)
{
	struct lane_seek *seek = lane->seek;
	enum err e;

	if (!seek || !seek->pending_count)
		return OK;
	e = lane_amend_flush(lane);
	for (size_t i = 0; i < seek->pending_count && e == OK; i++)
		if ((e = ledger_renumber(lane->config->ledger, &seek->pending[i])) == OK)
			e = plan_settled(lane->plan, seek->pending[i].box_no, seek->pending[i].no);
	if (e || (e = ledger_commit(lane->config->ledger)))
		return e;
	lane->progress->changes.renumbered += seek->pending_count;
	lane->settled += seek->pending_count;
	seek->pending_count = 0;
	return OK;
}

/* ---- the end ---- */

/* A page of what is left in a former folder: told, then known as gone. */
static enum err give_up_page(struct lane *lane, uint64_t box_no, const struct ledger_seen *seen,
			     size_t count)
{
	struct lane_seek *seek = lane->seek;
	enum err e = OK;

	for (size_t i = 0; i < count && e == OK; i++) {
		seek->change.no = seen[i].no;
		if (seen[i].stored && !seen[i].vanished)
			e = lane_amend(lane, &seek->change);
	}
	if (!e)
		e = lane_amend_flush(lane);
	for (size_t i = 0; i < count && e == OK; i++)
		if (seen[i].stored && !seen[i].vanished) {
			lane->progress->changes.vanished++;
			e = ledger_vanished(lane->config->ledger, box_no, seen[i].no);
		}
	return e;
}

static enum err give_up(struct lane *lane, const struct ledger_known_box *known,
			struct ledger_seen *seen)
{
	struct lane_seek *seek = lane->seek;
	uint64_t first = 1;
	size_t count;
	enum err e;

	seek->box = (struct box){ .epoch = known->epoch, .box_no = known->box_no };
	bytes_copy(seek->box.name, known->name, strlen(known->name) + 1, BYTES_META);
	seek->change = (struct change){ .kind = CHANGE_VANISHED,
					.box = &seek->box,
					.epoch = known->epoch };
	while ((e = ledger_seen(lane->config->ledger, known->box_no, first, INT64_MAX - 1, seen,
				SCAN_MESSAGES, &count)) == OK &&
	       count) {
		if ((e = give_up_page(lane, known->box_no, seen, count)))
			return e;
		first = seen[count - 1].no + 1;
	}
	return e ? e : ledger_box_former(lane->config->ledger, known->box_no, LEDGER_OVER);
}

static enum err count_stored(struct lane *lane, uint64_t box_no, struct ledger_seen *seen,
			     uint64_t *stored)
{
	uint64_t first = 1;
	size_t count;
	enum err e;

	while ((e = ledger_seen(lane->config->ledger, box_no, first, INT64_MAX - 1, seen,
				SCAN_MESSAGES, &count)) == OK &&
	       count) {
		for (size_t i = 0; i < count; i++)
			*stored += seen[i].stored && !seen[i].vanished;
		first = seen[count - 1].no + 1;
	}
	return e;
}

enum err lane_seek_count(struct lane *lane, uint64_t *stored)
{
	struct ledger_known_box known = { 0 };
	struct ledger_seen *seen = calloc(SCAN_MESSAGES, sizeof *seen);
	enum err e;

	*stored = 0;
	if (!seen)
		return RAISE(ERR_MEMORY_EXHAUSTED, "looking for messages of former folders");
	while ((e = ledger_box_next(lane->config->ledger, lane->mailbox.mailbox_no, &known)) == OK)
		if (known.former == LEDGER_SOUGHT &&
		    (e = count_stored(lane, known.box_no, seen, stored)))
			break;
	free(seen);
	return e == ERR_PIPE_ENDED ? OK : e;
}

/* A folder that was refused in this run, came short or was left out may hold what is sought. */
enum err lane_seek_end(struct lane *lane)
{
	struct ledger_known_box known = { 0 };
	struct ledger_seen *seen;
	enum err e;

	if (!lane->seek || lane->progress->boxes_failed || lane_filter_may_hide(lane))
		return OK;
	seen = calloc(SCAN_MESSAGES, sizeof *seen);
	if (!seen)
		return RAISE(ERR_MEMORY_EXHAUSTED, "looking for messages of former folders");
	while ((e = ledger_box_next(lane->config->ledger, lane->mailbox.mailbox_no, &known)) == OK)
		if (known.former == LEDGER_SOUGHT && (e = give_up(lane, &known, seen)))
			break;
	free(seen);
	if (e != ERR_PIPE_ENDED ||
	    (e = ledger_seek_end(lane->config->ledger, lane->mailbox.mailbox_no)))
		return e;
	lane_seek_close(&lane->seek);
	return OK;
}
