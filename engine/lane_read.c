/* A lane's read fiber: asks the source for what the plan says and hands what comes to the pipe,
 * small messages staged whole, large ones as they come. */
#include <stdlib.h>

#include "engine/lane_state.h"
#include "engine/log.h"
#include "engine/pace.h"

/* Append what one pull gave; slices that continue the last one are merged. False: no room. */
static bool stage_append(struct iolist *staged, struct iolist *more)
{
	for (unsigned i = 0; i < more->count; i++) {
		struct slice *last = staged->count ? &staged->slices[staged->count - 1] : NULL;
		struct slice *next = &more->slices[i];

		if (last && last->chunk == next->chunk &&
		    last->offset + last->length == next->offset) {
			last->length += next->length;
			chunk_unref(&next->chunk);
		} else if (staged->count < IOLIST_SLICES_MAX) {
			iolist_add(staged, *next);
		} else {
			for (unsigned left = i; left < more->count; left++)
				more->slices[left - i] = more->slices[left];
			more->count -= i;
			return false;
		}
	}
	more->count = 0;
	return true;
}

/* Pull a body into one list. OK: all of it is in `staged`. ERR_STREAM_ENDED is never returned. When
 * it does not fit, *rest holds the next slices and the body goes on. */
static enum err stage(struct stream *body, struct iolist *staged, struct iolist *rest)
{
	enum err e;

	while ((e = stream_pull(body, rest)) == OK)
		if (!stage_append(staged, rest))
			return OK;
	return e == ERR_STREAM_ENDED ? OK : e;
}

/* Takes the slice, also when it fails. */
static enum err feed_slice(struct lane *lane, struct slice slice)
{
	struct lane_stall stall = lane_stall_begin(lane, pipe_moves(lane->pipe));
	enum err e;

	do
		e = pipe_body_feed(lane->pipe, slice, stall.until);
	while (e == ERR_FIBER_TIMEOUT && lane_stall_goes_on(lane, &stall, pipe_moves(lane->pipe)));
	if (e)
		chunk_unref(&slice.chunk);
	return e;
}

/* Takes every slice, also when it fails. */
static enum err feed(struct lane *lane, struct iolist *list)
{
	enum err e = OK;

	for (unsigned i = 0; i < list->count; i++)
		if (e == OK)
			e = feed_slice(lane, list->slices[i]);
		else
			chunk_unref(&list->slices[i].chunk);
	list->count = 0;
	return e;
}

/* Another conversation's large body keeps the pipe for as long as its server needs, which may be
 * hours. That is no stall while it moves; were it one, this conversation would end the attempt, and
 * the body would begin anew. */
static enum err hand_over(struct lane *lane, struct item *item, struct iolist *staged)
{
	struct lane_stall stall = lane_stall_begin(lane, pipe_moves(lane->pipe));
	enum err e;

	do
		e = pipe_put(lane->pipe, item, staged, stall.until);
	while (e == ERR_FIBER_TIMEOUT && lane_stall_goes_on(lane, &stall, pipe_moves(lane->pipe)));
	return e;
}

/* A message larger than may be staged: its bytes pass through the pipe as they come. */
static enum err read_large(struct lane *lane, struct item *item, struct iolist *staged,
			   struct iolist *rest)
{
	struct stream *body = item->body;
	struct iolist none = { 0 };
	enum err e;

	item->body = NULL;
	if ((e = hand_over(lane, item, NULL))) {
		plan_given_back(lane->plan, item->box_no, item->no);
		item->body = body;
		return e;
	}
	if ((e = feed(lane, staged)) == OK)
		e = feed(lane, rest);
	while (e == OK && (e = stream_pull(body, &none)) == OK)
		e = feed(lane, &none);
	if (e == ERR_STREAM_ENDED)
		e = OK;
	pipe_body_end(lane->pipe, e);
	item->body = body;
	return e;
}

static enum err read_message(struct lane *lane, struct item *item)
{
	struct iolist staged = { 0 }, rest = { 0 };
	bool large = item->size_bytes < 0 || item->size_bytes > STAGE_BYTES_MAX;
	enum err e;

	must(item->size_bytes >= 0); /* no source without sizes yet: spooling comes with it */
	e = large ? stream_pull(item->body, &rest) : stage(item->body, &staged, &rest);
	if (e && e != ERR_STREAM_ENDED)
		goto out;
	if (staged.count || rest.count) {
		const struct slice *head = staged.count ? &staged.slices[0] : &rest.slices[0];

		item->mail_kind = mail_sniff(slice_bytes(head), head->length);
	}
	plan_taken(lane->plan, item->box_no, item->no);
	lane->progress->messages_read++;
	lane->progress->bytes_read += (uint64_t)item->size_bytes;
	if (large || rest.count) {
		e = read_large(lane, item, &staged, &rest);
	} else {
		struct stream *body = item->body;

		item->body = NULL;
		if ((e = hand_over(lane, item, &staged)))
			plan_given_back(lane->plan, item->box_no, item->no);
		item->body = body;
	}
out:
	iolist_release(&staged);
	iolist_release(&rest);
	stream_close(&item->body);
	return e;
}

/* A folder that the source refuses: on record, and never the end of the mailbox. */
enum err lane_refuse_box(struct lane *lane, uint64_t box_no, enum err fate)
{
	enum err e;

	log_event(LOG_WARN, "lane.box_refused", "box=%llu reason=%s", (unsigned long long)box_no,
		  err_name(fate));
	lane->progress->boxes_failed++;
	e = ledger_box_fate(lane->config->ledger, box_no, fate, err_note()->text);
	if (e == OK)
		err_note_clear();
	return e;
}

/* One message that will not come. */
static enum err read_fate(struct lane *lane, const struct item *item)
{
	struct ledger_row row = { .box_no = item->box_no,
				  .no = item->no,
				  .state = LEDGER_SKIPPED,
				  .reason = item->fate };
	enum err e;

	if (err_retry_class(item->fate) != RETRY_SKIP_MSG)
		return RAISE(item->fate, "message %llu", (unsigned long long)item->no);
	plan_taken(lane->plan, item->box_no, item->no);
	if (item->fate == ERR_SOURCE_FILTERED)
		lane->progress->messages_filtered++;
	else
		lane->progress->messages_skipped++;
	lane->settled++;
	if ((e = ledger_settle(lane->config->ledger, &row)))
		return e;
	return plan_settled(lane->plan, item->box_no, item->no);
}

static unsigned reader_no(const struct lane_reader *reader)
{
	return (unsigned)(reader - reader->lane->readers);
}

/* A range is answered. Fates of a message or a folder are taken down; any other ends the attempt.
 */
static enum err read_answered(struct lane_reader *reader, const struct item *item)
{
	struct lane *lane = reader->lane;
	enum err_retry class = item->fate ? err_retry_class(item->fate) : RETRY_NONE;
	enum err e = OK;

	if (item->fate == ERR_SOURCE_EPOCH &&
	    (e = lane_replaced(lane, item->fate)) != ERR_SOURCE_EPOCH)
		return e;
	e = OK;
	if (item->fate && class != RETRY_SKIP_MSG && class != RETRY_SKIP_BOX) {
		e = RAISE(item->fate, "folder \"%.200s\"", plan_box_name(lane->plan, item->box_no));
		if (class != RETRY_BACKOFF)
			return e;
		if (!lane->later.error) /* the other folders need not wait for this one */
			lane->later = *err_note();
		e = OK;
	}
	if (class == RETRY_SKIP_BOX && !plan_is_left_out(lane->plan, item->box_no))
		e = lane_refuse_box(lane, item->box_no, item->fate);
	err_note_clear();
	if (e)
		return e;
	return plan_answered(lane->plan, reader_no(reader), item->box_no, item->range_first,
			     item->range_last, item->fate);
}

/* The plan has one walker at a time: it suspends in the ledger. */
static enum err next_range(struct lane_reader *reader, struct box *box, uint64_t *first,
			   uint64_t *last)
{
	struct lane *lane = reader->lane;
	enum err e;

	while (lane->planning)
		if ((e = wait_on(&lane->plan_free, lane_stall_deadline())))
			return e;
	lane->planning = true;
	plan_cut(lane->plan, lane_pieces(lane));
	e = plan_next(lane->plan, reader_no(reader), box, first, last);
	lane->planning = false;
	wake_all(&lane->plan_free);
	return e;
}

/* How many ranges are kept asked for: what the source takes, but several conversations share what
 * is left, so none asks for much more than it can have under way. */
static unsigned asks_wanted(const struct lane_reader *reader)
{
	unsigned most = reader->source->type->asks_max;

	if (lane_pieces(reader->lane) > 1)
		return 1; /* what is asked for ahead comes, whatever its turn */
	return reader->lane->readers_max > 1 ? (unsigned)min_u64(most, LANE_SHARED_ASKS) : most;
}

/* Keep ranges asked for. */
static enum err ask_more(struct lane_reader *reader)
{
	struct box *box = malloc(sizeof *box);
	struct lane *lane = reader->lane;
	uint64_t first, last;
	enum err e = box ? OK : RAISE(ERR_MEMORY_EXHAUSTED, "asking for messages");

	while (e == OK && reader->asked < asks_wanted(reader)) {
		if ((e = next_range(reader, box, &first, &last)))
			break;
		bytes_copy(lane->progress->box_name, box->name, strlen(box->name) + 1, BYTES_META);
		if ((e = reader->source->type->ask(reader->source, box, first, last)) == OK)
			reader->asked++;
	}
	free(box);
	return e;
}

/* Bytes are taken first and paid for afterwards; meanwhile TCP slows the server. A change of the
 * rate, and the wish to drain, are seen soon. */
static enum err keep_pace(struct lane *lane, const struct item *item)
{
	struct pace *pace = lane->config->pace;
	nsec until;
	enum err e = OK;

	if (!pace || item->size_bytes <= 0)
		return OK;
	until = pace_take(pace, (uint64_t)item->size_bytes, clock_now());
	while (e == OK && until > clock_now() && !lane_is_drained()) {
		e = fiber_sleep(min_nsec(until, clock_after(LANE_LOOK)));
		until = pace_take(pace, 0, clock_now());
	}
	return e;
}

/* Within the day's budget, at the pace of bytes and of messages. */
static enum err read_in_turn(struct lane *lane, struct item *item)
{
	const struct account *account = lane->config->source_account;
	enum err e;

	if ((e = lane_spend(lane, account, item->size_bytes))) {
		stream_close(&item->body);
		return e;
	}
	if ((e = read_message(lane, item)) || (e = keep_pace(lane, item)))
		return e;
	lane_worked(lane);
	return lane_take_turn(lane, account);
}

static enum err read_loop(struct lane_reader *reader)
{
	struct item *item = calloc(1, sizeof *item);
	struct lane *lane = reader->lane;
	bool more = true;
	enum err e = item ? OK : RAISE(ERR_MEMORY_EXHAUSTED, "reading messages");

	reader->asked = 0;
	while (e == OK && !lane_is_drained()) {
		if (more && (e = ask_more(reader)) == ERR_PIPE_ENDED) {
			more = false;
			e = OK;
		}
		if (e || (reader->asked == 0 && !more))
			break;
		if ((e = reader->source->type->next(reader->source, item)))
			break;
		if (item->kind == ITEM_MESSAGE)
			lane_filter_item(lane, item);
		if (item->kind == ITEM_RANGE_DONE) {
			reader->asked--;
			e = read_answered(reader, item);
		} else if (item->fate) {
			e = read_fate(lane, item);
		} else {
			e = read_in_turn(lane, item);
		}
	}
	free(item);
	return e;
}

/* The first conversation is open. A further one that does not come about is not missed: the lane
 * goes on with as many as the server grants. */
static enum err open_further(struct lane_reader *reader)
{
	struct lane *lane = reader->lane;
	enum err e = lane_open_source(reader);

	if (!e || fiber_canceled())
		return e;
	log_error(LOG_INFO, "lane.fewer_connections", e);
	lane->was_refused_a_further |= err_retry_class(e) == RETRY_BACKOFF;
	err_note_clear();
	lane->readers_max = (unsigned)min_u64(lane->readers_max, reader_no(reader));
	return ERR_PIPE_ENDED;
}

enum err lane_read(void *argument)
{
	struct lane_reader *reader = argument;
	struct lane *lane = reader->lane;
	enum err e = open_further(reader);

	if (e == OK)
		reader->failed = (e = read_loop(reader)) != OK;
	if (--lane->reading == 0)
		pipe_end(lane->pipe, ERR_PIPE_ENDED);
	wake_all(&lane->changed);
	return e == ERR_PIPE_ENDED ? OK : e;
}
