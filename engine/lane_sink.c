/* A lane's sink from opening to the orderly end, and what an interrupted run, or a sink that failed
 * in this one, left behind. Not for: putting and receipting (lane_store.c). */
#include <stdlib.h>

#include "engine/lane_state.h"
#include "engine/log.h"

enum { KNOWN_AT_ONCE = 64 };

/* Found seals may name what is settled. */
static enum err ask_known(void *argument, uint64_t box_no, uint64_t no, size_t count,
			  enum sink_known *known)
{
	struct lane *lane = argument;
	struct ledger_seen seen[KNOWN_AT_ONCE];
	enum err e = OK;

	for (size_t at = 0, got; at < count && !e; at += KNOWN_AT_ONCE) {
		uint64_t first = no + at, last = no + min_u64(count, at + KNOWN_AT_ONCE) - 1;

		for (uint64_t i = at; i < count && i < at + KNOWN_AT_ONCE; i++)
			known[i] = SINK_KNOWN_OPEN;
		e = ledger_seen(lane->config->ledger, box_no, first, last, seen, KNOWN_AT_ONCE,
				&got);
		for (size_t i = 0; i < got && !e; i++)
			known[seen[i].no - no] =
				seen[i].stored ? SINK_KNOWN_STORED : SINK_KNOWN_NOT_STORED;
	}
	return e;
}

static enum err open_sink(struct lane *lane)
{
	struct sink_config config = lane->config->sink_config;
	struct account *account = &lane->sink_account;
	enum err e;

	*account = *lane->config->sink_account;
	account->heard = &lane->sink_heard;
	config.mailbox_no = lane->mailbox.mailbox_no;
	config.next_seal_no = lane->mailbox.next_seal_no;
	config.ledger_id = ledger_id(lane->config->ledger);
	config.ask_known = ask_known;
	config.ask_copies = lane_ask_copies;
	config.asked = lane;
	config.carried = &lane->progress->changes.flags;
	e = lane->config->sink->open(&lane->sink, account, &config,
				     clock_after(account->io_timeout));
	if (e)
		lane->sink_failed = true;
	return e;
}

enum err lane_sink_open(struct lane *lane)
{
	enum err e;

	if (lane->sink)
		return OK;
	if ((e = lane_mailbox(lane)) || (e = open_sink(lane)))
		return e;
	lane->recovered = lane->sink_failed = lane->progress->met_sink = false;
	lane->receive_end = OK;
	lane->receiving = true;
	lane->receiving_group = group_open();
	e = group_spawn(lane->receiving_group, "receipt", FIBER_STACK_LARGE, lane_receive, lane);
	if (e)
		lane->receiving = false;
	return e;
}

struct lane_stall lane_stall_begin(const struct lane *lane, uint64_t moves)
{
	nsec now = clock_now();

	return (struct lane_stall){ .moves = moves,
				    .heard = lane->sink_heard,
				    .until = now + LANE_STALL,
				    .most = now + LANE_STALL_MOST };
}

bool lane_stall_goes_on(const struct lane *lane, struct lane_stall *stall, uint64_t moves)
{
	struct lane_stall now = lane_stall_begin(lane, moves);
	bool moved = now.moves != stall->moves;

	if (!moved)
		now.most = stall->most;
	if (moved || now.heard != stall->heard)
		now.until = min_nsec(now.until, now.most);
	else
		now.until = stall->until;
	*stall = now;
	return clock_now() < now.until;
}

enum err lane_sink_settled(struct lane *lane)
{
	struct lane_stall stall = lane_stall_begin(lane, lane->settled);
	enum err e = OK;

	while ((lane->owed || lane->seals_owed) && lane->receiving && e == OK) {
		e = wait_on(&lane->changed, min_nsec(stall.until, clock_after(LANE_LOOK)));
		if (lane_stall_goes_on(lane, &stall, lane->settled) && e == ERR_FIBER_TIMEOUT)
			e = OK;
	}
	if (e == ERR_FIBER_TIMEOUT)
		return RAISE(lane->config->sink->reopens ? ERR_NET_TIMEOUT : ERR_DISK_IO,
			     "waiting for the destination to store %llu messages",
			     (unsigned long long)lane->owed);
	if (!lane->receiving && !e)
		e = lane_receive_failed(lane);
	return e ? e : lane_make_durable(lane);
}

/* ---- recovery ---- */

/* Where folders went in earlier runs. */
static enum err recall(struct lane *lane)
{
	struct ledger_known_box *known;
	enum err e;

	if (!lane->config->sink->recall)
		return OK;
	if (!(known = calloc(1, sizeof *known)))
		return RAISE(ERR_MEMORY_EXHAUSTED, "recalling where folders went");
	while ((e = ledger_box_next(lane->config->ledger, lane->mailbox.mailbox_no, known)) == OK)
		if (known->target[0] &&
		    (e = lane->sink->type->recall(lane->sink, known->name, known->target)))
			break;
	free(known);
	return e == ERR_PIPE_ENDED ? OK : e;
}

/* What an interrupted run had sealed: ask the sink what became of it. */
static enum err find_sealed(struct lane *lane)
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
	return e == ERR_PIPE_ENDED ? OK : e;
}

enum err lane_sink_recover(struct lane *lane)
{
	enum err e;

	if (lane->recovered)
		return OK;
	if ((e = recall(lane)) == OK && (e = find_sealed(lane)) == OK && lane->seals_owed)
		e = lane->sink->type->flush(lane->sink);
	if (e == OK)
		e = lane_sink_settled(lane);
	if (e && e != ERR_FIBER_CANCELED)
		lane->sink_failed = true;
	lane->recovered = e == OK;
	return e;
}

/* ---- the end ---- */

/* The receipt fiber ends with what it knows: what is not answered then stays sealed. */
void lane_sink_drop(struct lane *lane)
{
	if (lane->sink)
		lane->sink->type->drain(lane->sink);
	if (lane->receiving_group && group_join(&lane->receiving_group))
		err_note_clear(); /* why is told already */
	if (lane->sink)
		lane->sink->type->close(&lane->sink);
	lane->owed = lane->seals_owed = 0;
	lane_seek_sink_lost(lane);
	lane->listed = false; /* a new one is told of all folders again */
	/* What the old one had under way is not settled, so it is planned anew. */
	lane->progress->messages_skipped += plan_skipped(lane->plan);
	plan_close(&lane->plan);
}

enum err lane_sink_finish(struct lane *lane, nsec until, enum err e)
{
	enum err ended = OK;

	if (!lane->sink)
		return e;
	if (lane->receiving_group) {
		if (e && err_retry_class(e) == RETRY_STOP_JOB)
			group_cancel(lane->receiving_group);
		lane->sink->type->drain(lane->sink);
		ended = group_join(&lane->receiving_group);
	}
	e = e ? e : ended;
	if (!e || err_retry_class(e) != RETRY_STOP_JOB) {
		fiber_shield();
		ended = lane->sink->type->finish(lane->sink, until);
		fiber_unshield();
		e = e ? e : ended;
	}
	return e;
}
