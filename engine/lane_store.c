/* A lane's write fiber (pipe to sink) and its receipt fiber (sink to ledger). */
#include "engine/lane_state.h"
#include "engine/log.h"

/* ---- the write fiber ---- */

/* A body that failed on the source's side is the read fiber's story; here the message is only let
 * go. */
static bool is_source_failure(struct lane *lane, enum err e)
{
	return pipe_body_failure(lane->pipe) == e;
}

/* Hand one message to the sink. The sink refusing it settles it; the source failing inside it does
 * not, the next attempt asks for it again. */
static enum err write_message(struct lane *lane, struct item *item)
{
	struct stream *body = item->body;
	struct tapped tapped;
	bool known = false;
	enum err e;

	if (lane->seek && ((e = lane_seek_staged(lane, item, &known)) || known))
		return e;
	if ((e = lane_spend(lane, lane->config->sink_account, item->size_bytes)) ||
	    (e = lane_take_turn(lane, lane->config->sink_account)))
		return e;
	item->body = tapped_open(&tapped, body, lane->config->digest, &item->digest);
	if (lane->seek && !stream_list_peek(body))
		item->body = lane_seek_open(lane, item, item->body);
	lane->owed++;
	e = lane->sink->type->put(lane->sink, item);
	item->body = body; /* the pipe's, which closes it */
	if (e == OK)
		return OK;
	lane->owed--;
	if (e == ERR_SOURCE_KNOWN)
		return lane_seek_take(lane, item);
	if (err_retry_class(e) == RETRY_SKIP_BOX && !is_source_failure(lane, e)) {
		plan_given_back(lane->plan, item->box_no, item->no);
		return lane_sink_refuses_box(lane, item->box_no, e);
	}
	if (err_retry_class(e) != RETRY_SKIP_MSG)
		return e;
	err_note_clear();
	lane->progress->messages_skipped++;
	struct ledger_row row = {
		.box_no = item->box_no, .no = item->no, .state = LEDGER_SKIPPED, .reason = e
	};

	if ((e = ledger_settle(lane->config->ledger, &row)))
		return e;
	return plan_settled(lane->plan, item->box_no, item->no);
}

static enum err write_loop(struct lane *lane)
{
	struct item *item;
	enum err e;

	/* How long a source may be silent is the read fiber's to say; it always ends the pipe. */
	while ((e = pipe_next(lane->pipe, &item, DEADLINE_NEVER)) == OK) {
		uint64_t box_no = item->box_no, no = item->no;

		if ((e = write_message(lane, item)) == OK)
			continue;
		if (!is_source_failure(lane, e))
			return e;
		plan_given_back(lane->plan, box_no, no);
		err_note_clear();
	}
	if (e == ERR_PIPE_ENDED && (e = lane_seek_flush(lane)) == OK)
		e = lane->sink->type->flush(lane->sink);
	return e;
}

enum err lane_write(void *argument)
{
	struct lane *lane = argument;

	lane->write_end = write_loop(lane);
	lane->writing = false;
	wake_all(&lane->changed);
	return lane->write_end;
}

/* ---- the receipt fiber ---- */

/* What was said to be moved is moved now. */
enum err lane_make_durable(struct lane *lane)
{
	enum err e = ledger_commit(lane->config->ledger);

	if (e)
		return e;
	lane->progress->messages_moved += lane->unsaid;
	lane->progress->bytes_moved += lane->unsaid_bytes;
	lane->unsaid = lane->unsaid_bytes = 0;
	return OK;
}

/* That there is no room may be known after the folder is left out; then it is the better reason. */
enum err lane_sink_refuses_box(struct lane *lane, uint64_t box_no, enum err fate)
{
	bool is_out = plan_is_left_out(lane->plan, box_no), has_room = fate != ERR_SINK_QUOTA;
	enum err e = OK;

	lane->no_room += !has_room;
	if (!is_out) {
		plan_leave_out(lane->plan, box_no);
		return lane_refuse_box(lane, box_no, fate);
	}
	if (!has_room)
		e = ledger_box_fate(lane->config->ledger, box_no, fate, err_note()->text);
	if (!e)
		err_note_clear();
	return e;
}

/* What comes later in this attempt is not asked for any more; the next one asks. */
static void returned(struct lane *lane, const struct receipt *receipt)
{
	if (lane->owed > 0)
		lane->owed--;
	plan_given_back(lane->plan, receipt->box_no, receipt->no);
}

static enum ledger_state state_of(enum receipt_kind kind)
{
	return kind == RECEIPT_STORED	  ? LEDGER_MOVED
	       : kind == RECEIPT_DOUBTFUL ? LEDGER_DOUBTFUL
					  : LEDGER_SKIPPED;
}

/* By an earlier run, or before this sink was opened: then it stays as it is. */
static enum err is_settled(struct lane *lane, const struct receipt *receipt, bool *known)
{
	struct ledger_range range;
	enum err e = ledger_unsettled(lane->config->ledger, receipt->box_no, receipt->no,
				      receipt->no, &range);

	*known = e == ERR_PIPE_ENDED;
	return *known ? OK : e;
}

_Static_assert((int)SINK_SENT == LEDGER_SENT && (int)SINK_FOUND_SAME == LEDGER_FOUND_SAME &&
		       (int)SINK_FOUND_ALIKE == LEDGER_FOUND_ALIKE,
	       "the same words");

static enum err settle(struct lane *lane, const struct receipt *receipt)
{
	bool stored = receipt->kind == RECEIPT_STORED, known;
	struct ledger_row row = {
		.box_no = receipt->box_no,
		.no = receipt->no,
		.state = state_of(receipt->kind),
		.reason = stored ? OK : receipt->why,
		.size_bytes = receipt->size_bytes,
		.digest = receipt->digest,
		.seal_no = receipt->seal_no,
		.mark = receipt->mark,
		.target_no = receipt->target_no,
		.date_s = receipt->date_s,
		.dated = receipt->dated,
		.found = (enum ledger_found)receipt->found,
		.fingerprint = receipt->fingerprint,
		.form = receipt->form,
	};
	enum err e;

	if (receipt->was_sealed && ((e = is_settled(lane, receipt, &known)) || known))
		return e;
	if ((e = ledger_settle(lane->config->ledger, &row)))
		return e;
	lane->settled++;
	if (lane->owed > 0 && lane->seals_owed == 0)
		lane->owed--;
	lane->progress->messages_wrapped += receipt->form == MAIL_WRAPPED;
	if (stored) {
		lane->unsaid++;
		lane->unsaid_bytes += receipt->size_bytes;
		lane->progress->messages_found += receipt->found != SINK_SENT;
		lane->progress->kinds[receipt->mail_kind]++;
	} else if (receipt->kind == RECEIPT_DOUBTFUL) {
		lane->progress->messages_doubtful++;
	} else {
		lane->progress->messages_skipped++;
	}
	return plan_settled(lane->plan, receipt->box_no, receipt->no);
}

static enum err seal(struct lane *lane, const struct receipt *receipt)
{
	enum err e = ledger_seal(lane->config->ledger, lane->mailbox.mailbox_no, receipt->seal_no,
				 receipt->seal);

	return e ? e : lane->sink->type->publish(lane->sink, receipt->seal_no);
}

static enum err seals_settled(struct lane *lane, const struct receipt *receipt)
{
	const uint64_t *seal_nos = receipt->seal_nos ? receipt->seal_nos : &receipt->seal_no;
	size_t count = receipt->seal_nos ? receipt->seals_count : 1;
	enum err e =
		ledger_seals_done(lane->config->ledger, lane->mailbox.mailbox_no, seal_nos, count);

	if (e || (e = lane_make_durable(lane)))
		return e;
	lane->seals_owed -= min_u64(lane->seals_owed, count);
	return OK;
}

static enum err receive_loop(struct lane *lane)
{
	struct receipt receipt;
	enum err e;

	while ((e = lane->sink->type->receipt(lane->sink, &receipt)) == OK) {
		lane->progress->met_sink = true;
		switch (receipt.kind) {
		case RECEIPT_STORED:
		case RECEIPT_DOUBTFUL:
		case RECEIPT_REFUSED:
			e = settle(lane, &receipt);
			break;
		case RECEIPT_RETURNED:
			returned(lane, &receipt);
			break;
		case RECEIPT_PLACED:
			e = ledger_box_target(lane->config->ledger, receipt.box_no,
					      receipt.target.at, receipt.target_epoch);
			break;
		case RECEIPT_BOX_REFUSED:
			e = lane_sink_refuses_box(lane, receipt.box_no, receipt.why);
			break;
		case RECEIPT_SEALED:
			e = seal(lane, &receipt);
			break;
		case RECEIPT_SETTLED:
			e = seals_settled(lane, &receipt);
			break;
		}
		if (e)
			break;
		if (lane->owed == 0)
			wake_all(&lane->changed);
	}
	return e == ERR_SINK_FINISHED ? lane_make_durable(lane) : e;
}

enum err lane_receive(void *argument)
{
	struct lane *lane = argument;

	lane->receive_end = receive_loop(lane);
	lane->receive_note = *err_note();
	if (lane->sink->type->end_receipts)
		lane->sink->type->end_receipts(lane->sink);
	lane->receiving = false;
	wake_all(&lane->changed);
	return lane->receive_end;
}
