/* One mailbox from source to sink. The story is told in lane_run(): recover what an interrupted run
 * left, then attempt after attempt until nothing is left to ask for. An attempt reads until the
 * source has answered everything or fails; whatever came is then stored and settled before the next
 * attempt looks at the ledger again, so the ledger is the only memory between attempts. */
#include "engine/lane.h"

#include <stdlib.h>

#include "engine/lane_state.h"
#include "engine/log.h"
#include "engine/retry.h"

/* ---- recovery ---- */

/* Wait until every message put so far has its receipt. */
static enum err wait_settled(struct lane *lane)
{
	nsec until = lane_stall_deadline();
	uint64_t last = lane->settled;
	enum err e = OK;

	while ((lane->owed || lane->seals_owed) && lane->receiving && e == OK) {
		e = wait_on(&lane->changed, min_nsec(until, clock_after(LANE_LOOK)));
		if (e == ERR_FIBER_TIMEOUT && clock_now() < until)
			e = OK;
		if (lane->settled != last)
			until = lane_stall_deadline();
		last = lane->settled;
	}
	if (e == ERR_FIBER_TIMEOUT)
		return RAISE(ERR_DISK_IO, "waiting for the destination to store %llu messages",
			     (unsigned long long)lane->owed);
	if (!lane->receiving && !e)
		e = lane->receive_end; /* told by its join */
	return e ? e : lane_make_durable(lane);
}

/* What an interrupted run had sealed: ask the sink what became of it. */
static enum err recover(struct lane *lane)
{
	struct buffer blob = { 0 };
	uint64_t no = 0;
	enum seal_fate fate;
	enum err e;

	while ((e = ledger_seal_next(lane->config->ledger, lane->mailbox.mailbox_no, no, &no,
				     &blob)) == OK) {
		e = lane->sink->type->find(lane->sink, no, (struct text){ blob.at, blob.bytes },
					   &fate);
		if (e)
			break;
		log_event(LOG_INFO, "lane.recovered", "seal=%llu present=%d",
			  (unsigned long long)no, fate == SEAL_PRESENT);
		if (fate == SEAL_PRESENT)
			lane->seals_owed++;
		else if ((e = ledger_seal_drop(lane->config->ledger, lane->mailbox.mailbox_no, no)))
			break;
	}
	buffer_free(&blob);
	return e == ERR_PIPE_ENDED ? wait_settled(lane) : e;
}

/* ---- listing ---- */

static enum err list_box(struct lane *lane, struct lane_listed *listed, struct box *box)
{
	struct lane_progress *progress = lane->progress;
	uint64_t epoch, next_no;
	enum err e;

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
	return lane->sink->type->prepare(lane->sink, box);
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
	lane->progress->boxes_failed = 0;
	if (e == OK && lane->config->ledger)
		e = plan_open(lane->config->ledger, &lane->plan);
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
	free(listed.box_nos);
	free(page);
	lane->listed = lane->seek_stale = e == OK;
	return e;
}

/* ---- attempts ---- */

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
	enum err e = lane_open_source(&lane->readers[0]);

	lane->progress->met |= e == OK;
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
	lane->body_end = lane->write_end = OK;
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
		return lane->receive_end;
	if (watched)
		return watched;
	return read_end;
}

/* One attempt: everything that is left is asked for; what came is settled before it ends, whatever
 * became of the source. */
static enum err attempt(struct lane *lane)
{
	enum err e, settled;

	if ((e = connect_unless_drained(lane)) || (e = pipe_open(&lane->pipe)))
		return e;
	e = read_and_write(lane);
	pipe_close(&lane->pipe);
	if (lane->sink_failed)
		return e;
	settled = wait_settled(lane);
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

/* A failed attempt may be tried again on a new conversation, unless the sink or the ledger failed.
 */
static bool try_again(struct lane *lane, struct retry *retry, enum err e)
{
	nsec at;

	if (!lane->receiving || lane->sink_failed || lane_is_drained() || fiber_canceled())
		return false;
	suspect_failed(lane);
	if (lane->settled || (lane->plan && plan_advanced(lane->plan)))
		retry_progress(retry);
	if (!retry_again(retry, e, &at) ||
	    (!lane->progress->met && retry->failures >= LANE_FIRST_FAILURES_MAX))
		return false;
	log_error(LOG_WARN, "lane.reconnect", e);
	for (unsigned i = 0; i < LANE_READERS_MAX; i++)
		close_source(&lane->readers[i]);
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

/* Attempt after attempt. The lane comes back here also when all went well but ranges were refused
 * in part (asked again in pieces) or too many were in flight to go on. */
static enum err copy_all(struct lane *lane)
{
	struct retry retry = { 0 };
	bool stuck;
	enum err e;

	for (;;) {
		lane->settled = 0;
		e = attempt(lane);
		if (lane_is_drained() && !lane->sink_failed)
			return RAISE(ERR_FIBER_CANCELED, "draining, as asked");
		if (e == OK && plan_finished(lane->plan))
			return (e = report_short_boxes(lane)) ? e : lane_seek_end(lane);
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

static enum err open_sink(struct lane *lane)
{
	struct sink_config config = lane->config->sink_config;
	const struct account *account = lane->config->sink_account;

	config.mailbox_no = lane->mailbox.mailbox_no;
	config.next_seal_no = lane->mailbox.next_seal_no;
	config.ledger_id = ledger_id(lane->config->ledger);
	return lane->config->sink->open(&lane->sink, account, &config,
					clock_after(account->io_timeout));
}

static enum err open_ledger_mailbox(struct lane *lane)
{
	const char *digest = lane->config->digest->type->name;
	struct ledger_totals totals;
	enum err e = ledger_mailbox(lane->config->ledger, lane->config->source_account->shown,
				    lane->config->sink_account->shown, digest, &lane->mailbox);

	if (e || (e = ledger_totals(lane->config->ledger, lane->mailbox.mailbox_no, &totals)))
		return e;
	if (strcmp(lane->mailbox.digest, digest) != 0)
		return RAISE(ERR_SINK_DIGEST,
			     "%s was begun with the digest %s, this run asks for %s",
			     lane->config->sink_account->shown, lane->mailbox.digest, digest);
	lane->progress->mailbox_no = lane->mailbox.mailbox_no;
	for (unsigned state = LEDGER_MOVED; state <= LEDGER_WITHDRAWN; state++)
		lane->progress->messages_before += totals.messages[state];
	lane->progress->messages_before -=
		min_u64(lane->progress->messages_before, totals.vanished);
	return OK;
}

/* Skipped messages that somebody wants tried again are not settled any more, before anything is
 * planned. */
static enum err retry_skipped(struct lane *lane)
{
	struct lane_progress *progress = lane->progress;
	const char *reason = lane->config->retry_skipped;
	enum err e;

	if (!reason || !lane->config->ledger)
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

/* Let the receipt fiber answer everything, then the orderly ends. */
static enum err finish(struct lane *lane, struct group **receiving, enum err e)
{
	nsec until = clock_after(lane->config->finish_timeout);
	struct err_note cause = *err_note(); /* of `e`: what follows may note and clear */
	enum err ended;

	if (e && err_retry_class(e) == RETRY_STOP_JOB)
		group_cancel(*receiving);
	lane->sink->type->drain(lane->sink);
	ended = group_join(receiving);
	e = e ? e : ended;
	if (!e || err_retry_class(e) != RETRY_STOP_JOB) {
		fiber_shield();
		ended = lane->sink->type->finish(lane->sink, until);
		fiber_unshield();
		e = e ? e : ended;
	}
	for (unsigned i = 0; i < LANE_READERS_MAX && e == OK; i++)
		if (finish_source(&lane->readers[i], until))
			err_note_clear(); /* all is settled: a lost goodbye changes nothing */
	if (cause.error)
		*err_note() = cause;
	return e;
}

static enum err copy(struct lane *lane)
{
	struct group *receiving;
	enum err e;

	if ((e = open_ledger_mailbox(lane)) || (e = open_sink(lane)))
		return e;
	receiving = group_open();
	lane->receiving = true;
	e = group_spawn(receiving, "receipt", FIBER_STACK_LARGE, lane_receive, lane);
	if (e == OK && (e = plan_open(lane->config->ledger, &lane->plan)) == OK)
		e = recover(lane);
	if (e == OK)
		e = retry_skipped(lane);
	if (e == OK)
		e = copy_all(lane);
	e = finish(lane, &receiving, e);
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
