/* One mailbox from source to sink. The story is told in lane_run(): recover what an interrupted run
 * left, then attempt after attempt until nothing is left to ask for. An attempt reads until the
 * source has answered everything or fails; whatever came is then stored and settled before the next
 * attempt looks at the ledger again, so the ledger is the only memory between attempts. */
#include "engine/lane.h"

#include <stdlib.h>

#include "engine/lane_state.h"
#include "engine/log.h"
#include "engine/retry.h"

/* ---- listing ---- */

static enum err list_box(struct lane *lane, struct lane_listed *listed, struct box *box)
{
	struct lane_progress *progress = lane->progress;
	uint64_t epoch, next_no;
	bool left_out;
	enum err e = lane_filter_box(lane, listed, box, &left_out);

	if (e || left_out)
		return e;
	progress->boxes_known += box->selectable || box->fate;
	progress->messages_known += box->messages;
	progress->bytes_known += box->bytes;
	if (!lane->config->ledger)
		return OK;
	if (box->fate || !box->selectable) {
		e = ledger_box(lane->config->ledger, lane->mailbox.mailbox_no, box, &epoch,
			       &next_no);
		if (e == OK && box->fate)
			e = lane_refuse_box(lane, box->box_no, box->fate);
	} else {
		e = plan_add_box(lane->plan, lane->mailbox.mailbox_no, box,
				 !lane->config->flags_never);
		if (e == ERR_SOURCE_TWINS)
			return lane_refuse_box(lane, box->box_no, e);
	}
	if (!e)
		e = lane_listed_add(listed, box);
	if (e || !lane->sink || box->fate == ERR_SOURCE_LOST) /* that is no folder */
		return e;
	e = lane->sink->type->prepare(lane->sink, box);
	lane->sink_failed |= e && e != ERR_FIBER_CANCELED;
	return e;
}

static enum err list_boxes(struct lane *lane, nsec until)
{
	struct box_page *page = calloc(1, sizeof *page);
	struct source *source = lane->readers[0].source;
	struct lane_listed listed = { 0 };
	enum err e = page ? OK : RAISE(ERR_MEMORY_EXHAUSTED, "listing folders");

	/* A listing that was cut begins anew: what was entered so far is entered again,
	 * idempotently. */
	lane->progress->messages_skipped += lane->plan ? plan_skipped(lane->plan) : 0;
	plan_close(&lane->plan);
	lane->progress->boxes_known = lane->progress->messages_known = lane->progress->bytes_known =
		0;
	lane->progress->boxes_failed = lane->progress->boxes_left_out = 0;
	if (e == OK && lane->config->ledger)
		e = plan_open(lane->config->ledger, &lane->plan);
	if (e == OK && lane->plan && lane->config->newest_first)
		plan_newest_first(lane->plan);
	if (e == OK && lane->config->ledger)
		e = lane_recall(lane);
	while (e == OK) {
		if ((e = source->type->list(source, page, until)))
			break;
		for (unsigned i = 0; i < page->count && e == OK; i++)
			e = list_box(lane, &listed, &page->boxes[i]);
		if (page->last)
			break;
	}
	if (e == OK && lane->config->ledger)
		e = lane_look_for_missing(lane, &listed);
	lane_listed_free(&listed);
	free(page);
	lane->listed = lane->seek_stale = e == OK;
	lane_filter_listed(lane);
	return e;
}

/* ---- attempts ---- */

/* Skipped messages that somebody wants tried again are not settled any more, before anything is
 * planned. */
static enum err retry_skipped(struct lane *lane)
{
	struct lane_progress *progress = lane->progress;
	const char *reason = lane->config->retry_skipped;
	enum err e;

	if (!reason || !lane->config->ledger || progress->retry_begun)
		return OK;
	if ((e = ledger_forget_skipped(lane->config->ledger, lane->mailbox.mailbox_no, reason,
				       &progress->messages_retried)))
		return e;
	progress->retry_begun = true;
	progress->messages_before -= min_u64(progress->messages_before, progress->messages_retried);
	log_event(LOG_INFO, "lane.retry_skipped", "reason=%s messages=%llu", reason,
		  (unsigned long long)progress->messages_retried);
	return OK;
}

/* A host that was never reached in this run is more likely misspelt than resting. */
enum { LANE_FIRST_FAILURES_MAX = 3 };

enum err lane_open_source(struct lane_reader *reader)
{
	struct lane *lane = reader->lane;
	const struct account *account = lane->config->source_account;
	nsec until = clock_after(account->connect_timeout + account->io_timeout);
	enum err e = OK;

	if (!reader->source) {
		e = lane->config->source->open(&reader->source, account, lane->reserve, until);
		lane->progress->connections += e == OK;
		lane->connections_most =
			max_u64(lane->connections_most, lane->progress->connections);
	}
	return e;
}

static void close_source(struct lane_reader *reader)
{
	if (reader->source) {
		reader->source->type->close(&reader->source);
		reader->lane->progress->connections--;
	}
}

static enum err connect_source(void *argument)
{
	struct lane *lane = argument;
	const struct account *account = lane->config->source_account;
	enum err e = lane->config->dry_run ? OK : lane_sink_recover(lane);

	if (!e && (e = retry_skipped(lane)) == OK) {
		e = lane_open_source(&lane->readers[0]);
		lane->progress->met |= e == OK;
	}
	if (e == OK && !lane->listed)
		e = list_boxes(lane, clock_after(10 * account->io_timeout));
	if (e == OK && lane->config->ledger && (e = lane_delta(lane)) == OK &&
	    !lane->config->dry_run)
		e = lane_seek_begin(lane);
	lane->connecting = false;
	wake_all(&lane->changed);
	return e;
}

/* In a fiber of its own, so that the wish to drain need not wait for a server that is silent. */
static enum err connect_unless_drained(struct lane *lane)
{
	struct group *group = group_open();
	enum err e;

	lane->connecting = true;
	e = group_spawn(group, "connect", FIBER_STACK_LARGE, connect_source, lane);
	while (e == OK && lane->connecting) {
		if (lane_is_drained())
			group_cancel(group);
		e = wait_on(&lane->changed, clock_after(LANE_LOOK));
		e = e == ERR_FIBER_TIMEOUT ? OK : e;
	}
	if (e)
		group_cancel(group);
	return group_join(&group);
}

/* How many conversations what is left is worth. */
static unsigned readers_wanted(const struct lane *lane)
{
	return (unsigned)min_u64(lane->readers_max,
				 1 + plan_left(lane->plan) / LANE_MESSAGES_PER_READER);
}

static enum err spawn_readers(struct lane *lane, struct group *reading)
{
	unsigned count = readers_wanted(lane);
	enum err e = OK;

	group_cancel_on_error(reading, false); /* what one loses, the next attempt asks for */
	for (unsigned i = 0; i < count && e == OK; i++) {
		e = group_spawn(reading, "read", FIBER_STACK_LARGE, lane_read, &lane->readers[i]);
		lane->reading += e == OK;
	}
	return e;
}

/* Watch the fibers: a failing sink, or the wish to drain, stops the reading. */
static enum err watch(struct lane *lane, struct group *reading, struct group *writing)
{
	enum err e = OK;

	while (lane->reading || lane->writing) {
		if (lane_is_drained() || !lane->receiving || (!lane->writing && lane->write_end))
			group_cancel(reading);
		if (!lane->receiving)
			group_cancel(writing);
		e = wait_on(&lane->changed, clock_after(LANE_LOOK));
		if (e == ERR_FIBER_CANCELED) {
			group_cancel(reading);
			group_cancel(writing);
			return e;
		}
	}
	return OK;
}

/* All of them, to their ends. Sink errors come first: they are final. */
static enum err read_and_write(struct lane *lane)
{
	struct group *reading = group_open(), *writing = group_open();
	enum err e, watched, read_end;

	lane->writing = true;
	lane->later.error = OK;
	lane->write_end = OK;
	e = group_spawn(writing, "write", FIBER_STACK_LARGE, lane_write, lane);
	if (e == OK && (e = spawn_readers(lane, reading)) && !lane->reading)
		pipe_end(lane->pipe, e);
	watched = e ? e : watch(lane, reading, writing);
	if (e)
		group_cancel(reading);
	read_end = group_join(&reading);
	e = group_join(&writing);
	lane->sink_failed = (e && e != ERR_FIBER_CANCELED) || !lane->receiving;
	if (e && e != ERR_FIBER_CANCELED)
		return e;
	if (lane->receive_end && !lane->receiving)
		return lane_receive_failed(lane);
	if (watched)
		return watched;
	return read_end;
}

/* One attempt: everything that is left is asked for; what came is settled before it ends, whatever
 * became of the source. */
static enum err attempt(struct lane *lane)
{
	enum err e, settled;

	if ((!lane->plan && (e = plan_open(lane->config->ledger, &lane->plan))) ||
	    (e = lane_sink_open(lane)) || (e = connect_unless_drained(lane)) ||
	    (e = pipe_open(&lane->pipe)))
		return e;
	e = read_and_write(lane);
	pipe_close(&lane->pipe);
	if (lane->sink_failed)
		return e;
	settled = lane_sink_settled(lane);
	/* What it still owes is on its way: nothing is put again before that was answered, or is
	 * asked for by the next one. */
	lane->sink_failed |= settled && settled != ERR_FIBER_CANCELED;
	if (!settled && !e && lane->later.error) {
		*err_note() = lane->later;
		e = lane->later.error;
	}
	return settled ? settled : e;
}

/* What the conversations that failed were at may be what killed them. */
static void suspect_failed(struct lane *lane)
{
	for (unsigned i = 0; i < LANE_READERS_MAX; i++) {
		if (lane->readers[i].failed)
			plan_failed(lane->plan, i, lane->settled > 0);
		lane->readers[i].failed = false;
	}
}

/* A failed attempt may be tried again on a new conversation, unless the ledger failed, or a sink
 * that is not opened again. */
static bool try_again(struct lane *lane, struct retry *retry, enum err e)
{
	bool sink_failed = lane->sink_failed || !lane->receiving;
	nsec at;

	if ((sink_failed && !lane->config->sink->reopens) || lane_is_drained() ||
	    fiber_canceled() || e == ERR_LIMIT_DAY)
		return false;
	suspect_failed(lane);
	if (lane->settled || (lane->plan && plan_advanced(lane->plan)))
		retry_progress(retry);
	if (!retry_again(retry, e, &at) ||
	    (!lane->progress->met && retry->failures >= LANE_FIRST_FAILURES_MAX) ||
	    !lane_may_go_on(lane, e, &at))
		return false;
	log_error(LOG_WARN, "lane.reconnect", e);
	for (unsigned i = 0; i < LANE_READERS_MAX; i++)
		close_source(&lane->readers[i]);
	if (sink_failed)
		lane_sink_drop(lane);
	lane->progress->reconnects++;
	while (clock_now() < at && !lane_is_drained())
		if (fiber_sleep(min_nsec(at, clock_after(LANE_LOOK))))
			return false;
	return !lane_is_drained();
}

/* Fewer messages than announced are on record and in the exit code, whatever the cause; and the
 * next run lists what is there, however little has changed since. */
static enum err report_short_boxes(struct lane *lane)
{
	uint64_t box_no, announced, settled, left;
	const char *name;
	enum err e = OK;

	for (size_t at = 0;
	     e == OK && plan_short_box(lane->plan, &at, &box_no, &announced, &settled, &left);) {
		name = plan_box_name(lane->plan, box_no);
		if (left)
			e = RAISE(ERR_SOURCE_POISON,
				  "folder \"%.200s\": the conversation ends each time message %llu"
				  " is asked for; the next run asks again",
				  name, (unsigned long long)left);
		else
			e = RAISE(ERR_SOURCE_SHORT,
				  "folder \"%.200s\": %llu messages announced, %llu handed out",
				  name, (unsigned long long)announced, (unsigned long long)settled);
		e = lane_refuse_box(lane, box_no, e);
		if (!e && !left)
			e = ledger_cursor(lane->config->ledger, box_no, &(struct cursor){ 0 });
	}
	return e;
}

/* Folders that the destination has no room for: its owner must act before the next run. */
static enum err report_no_room(struct lane *lane)
{
	if (!lane->no_room)
		return OK;
	return RAISE(ERR_SINK_QUOTA,
		     "%u folders are not complete; make room and run again to go on",
		     lane->no_room);
}

/* Attempt after attempt. The lane comes back here also when all went well but ranges were refused
 * in part (asked again in pieces) or too many were in flight to go on. */
static enum err copy_all(struct lane *lane)
{
	struct retry retry = { 0 };
	bool stuck;
	enum err e;

	for (;;) {
		lane->settled = 0;
		lane->began = clock_now();
		lane->connections_most = lane->progress->connections;
		lane->was_refused_a_further = false;
		e = attempt(lane);
		lane->progress->sink_failed = e && lane->sink_failed;
		lane_tell_governor(lane, e);
		if (lane_is_drained() && !lane->sink_failed)
			return RAISE(ERR_FIBER_CANCELED, "draining, as asked");
		if (e == OK && plan_finished(lane->plan))
			return (e = report_short_boxes(lane)) || (e = lane_seek_end(lane))
				       ? e
				       : report_no_room(lane);
		stuck = e == OK && !lane->settled && !plan_advanced(lane->plan);
		if (stuck)
			e = RAISE(ERR_SOURCE_STUCK, "asking again for what was not answered");
		/* How often a message was refused is known to this plan only, and a lane that began
		 * anew would never have asked often enough to skip it. */
		retry.backoff_is_elsewhere = lane->config->backoff_is_elsewhere && !stuck;
		if (e && !try_again(lane, &retry, e))
			return e;
		err_note_clear();
		if (lane->plan)
			plan_restart(lane->plan);
	}
}

/* ---- the whole ---- */

static enum err finish_source(struct lane_reader *reader, nsec until)
{
	return reader->source ? reader->source->type->finish(reader->source, until) : OK;
}

enum err lane_mailbox(struct lane *lane)
{
	return ledger_mailbox(lane->config->ledger, lane->config->source_account->shown,
			      lane->config->sink_account->shown, lane->config->digest->type->name,
			      &lane->mailbox);
}

static enum err open_ledger_mailbox(struct lane *lane)
{
	const char *digest = lane->config->digest->type->name;
	struct ledger_totals totals;
	enum err e = lane_mailbox(lane);

	if (e || (e = lane_filter_begin(lane)) ||
	    (e = ledger_totals(lane->config->ledger, lane->mailbox.mailbox_no, &totals)))
		return e;
	if (strcmp(lane->mailbox.digest, digest) != 0)
		return RAISE(ERR_SINK_DIGEST,
			     "%s was begun with the digest %s, this run asks for %s",
			     lane->config->sink_account->shown, lane->mailbox.digest, digest);
	lane->progress->mailbox_no = lane->mailbox.mailbox_no;
	lane->progress->messages_filtered = totals.filtered;
	for (unsigned state = LEDGER_MOVED; state <= LEDGER_WITHDRAWN; state++)
		lane->progress->messages_before += totals.messages[state];
	lane->progress->messages_before -=
		min_u64(lane->progress->messages_before, totals.vanished);
	return OK;
}

/* What would be done: looked up in a copy of the ledger, where there is one. */
static enum err dry_run(struct lane *lane)
{
	enum err e = lane->config->ledger ? open_ledger_mailbox(lane) : OK;

	lane->progress->mailbox_no = 0; /* the copy's */
	if (e == OK)
		e = retry_skipped(lane);
	if (e == OK)
		e = connect_unless_drained(lane);
	if (e == OK && lane->plan) {
		lane->progress->messages_new = plan_left(lane->plan);
		e = lane_seek_count(lane, &lane->progress->messages_sought);
	}
	if (e == OK)
		e = finish_source(&lane->readers[0], clock_after(lane->config->finish_timeout));
	return e;
}

/* Everything is read. */
static enum err finish_sources(void *argument)
{
	struct lane *lane = argument;
	nsec until = clock_after(lane->config->finish_timeout);

	for (unsigned i = 0; i < LANE_READERS_MAX; i++)
		if (finish_source(&lane->readers[i], until))
			err_note_clear(); /* a lost goodbye changes nothing */
	return OK;
}

static enum err finish(struct lane *lane, enum err e)
{
	nsec until = clock_after(lane->config->finish_timeout);
	struct err_note cause = *err_note(); /* of `e`: what follows may note and clear */
	struct group *goodbye = group_open();
	bool was_ok = e == OK;

	/* While the sink still waits for its answers: that is a round trip less. */
	if (was_ok && group_spawn(goodbye, "goodbye", FIBER_STACK_LARGE, finish_sources, lane))
		err_note_clear();
	e = lane_sink_finish(lane, until, e);
	if (!cause.error)
		cause = *err_note();
	if (group_join(&goodbye))
		err_note_clear();
	*err_note() = cause;
	return e;
}

static enum err copy(struct lane *lane)
{
	enum err e;

	if ((e = open_ledger_mailbox(lane)) || (e = lane_may_begin(lane)))
		return e;
	e = finish(lane, copy_all(lane));
	if (lane->plan) {
		lane->progress->boxes_done = plan_boxes_done(lane->plan);
		lane->progress->messages_skipped += plan_skipped(lane->plan);
	}
	return e;
}

/* A share of the arena, or all that a lane alone has use for. */
static enum err open_reserve(struct lane *lane)
{
	const struct lane_config *config = lane->config;
	unsigned most =
		config->chunks_most ? config->chunks_most : lane_chunks(config->connections);

	return reserve_open_lending(arena_current(), config->chunks ? config->chunks : most, most,
				    lane_stall_deadline(), &lane->reserve);
}

enum err lane_run(const struct lane_config *config, struct lane_progress *progress)
{
	struct lane lane = { .config = config,
			     .progress = progress,
			     .readers_max = config->connections };
	enum err e;

	must(config->source && config->sink && config->digest);
	must(config->ledger || config->dry_run);
	must(config->connections >= 1 && config->connections <= LANE_READERS_MAX);
	for (unsigned i = 0; i < LANE_READERS_MAX; i++)
		lane.readers[i].lane = &lane;
	e = open_reserve(&lane);
	if (e)
		return e;
	e = config->dry_run ? dry_run(&lane) : copy(&lane);
	for (unsigned i = 0; i < LANE_READERS_MAX; i++)
		close_source(&lane.readers[i]);
	if (lane.sink)
		lane.sink->type->close(&lane.sink);
	lane_seek_close(&lane.seek);
	plan_close(&lane.plan);
	reserve_close(&lane.reserve);
	return e;
}
