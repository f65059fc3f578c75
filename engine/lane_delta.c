/* A lane's second look at folders that were copied before: which flags changed, what is gone. The
 * source says what it finds, in pieces of at most SCAN_MESSAGES settled messages; here it is
 * compared with the ledger. Of each piece the sink is told first, then the ledger, and when the
 * folder is through, where it stood. So a cut anywhere leaves the old cursor, and the next run asks
 * again for what is harmless to tell twice. Not for: new messages, which the plan asks for
 * (lane_plan.c); but what turns up in a range that is done was withheld before, and its range is
 * open again. */
#include <stdlib.h>

#include "engine/lane_state.h"
#include "engine/log.h"

/* Findings of one piece: a server may repeat itself, but not for ever. */
enum { FINDINGS_FREE = SCAN_MESSAGES, FINDINGS_PER_NUMBER = 4 };

/* What is found out about one settled message. */
struct verdict {
	uint64_t mark; /* of its flags; 0: as they were */
	bool there, vanished;
};

/* The work on one folder. */
struct look {
	struct lane *lane;
	struct box *box;
	char was_name[BOX_NAME_BYTES_MAX + 1]; /* of a renamed folder */
	struct ledger_seen seen[SCAN_MESSAGES];
	struct verdict verdicts[SCAN_MESSAGES];
	size_t count;
	uint64_t first, last;		  /* of this piece, */
	uint64_t again_first, again_last; /* what of it is open again, the last time */
	bool told;			  /* something of this piece, to the sink */
	bool unclear;			  /* what was gone is there, but how is not known */
	uint64_t came_back;		  /* thought to be gone before, */
	uint64_t vanished;		  /* and the other way round */
	struct ledger_known_box known;	  /* it is, box_no 0: not asked for yet */
	struct box shown;		  /* the folder as the sink knows it, */
	struct change change;
};

enum err lane_amend(struct lane *lane, const struct change *change)
{
	return lane->sink && lane->sink->type->amend ? lane->sink->type->amend(lane->sink, change)
						     : OK;
}

enum err lane_amend_flush(struct lane *lane)
{
	return lane->sink && lane->sink->type->amend_flush
		       ? lane->sink->type->amend_flush(lane->sink)
		       : OK;
}

bool lane_carries(const struct lane *lane)
{
	return lane->sink && lane->sink->type->carries;
}

enum err lane_change_place(struct lane *lane, uint64_t box_no, struct ledger_known_box *known,
			   struct change *change)
{
	enum err e;

	if (known->box_no != box_no) {
		known->box_no = box_no - 1;
		e = ledger_box_next(lane->config->ledger, lane->mailbox.mailbox_no, known);
		if (e)
			return e;
		must(known->box_no == box_no);
	}
	change->target = *known->target ? known->target : NULL;
	change->target_epoch = known->target_epoch;
	return OK;
}

enum err lane_replaced(struct lane *lane, enum err e)
{
	if (e != ERR_SOURCE_EPOCH ||
	    (lane->listed && lane->listings_again == LANE_LISTINGS_AGAIN_MAX))
		return e;
	lane->listings_again += lane->listed;
	lane->listed = false;
	err_note_clear();
	return RAISE(ERR_SOURCE_AGAIN, "a folder has another epoch than when it was listed");
}

/* ---- folders that are not there any more ---- */

enum err lane_listed_add(struct lane_listed *listed, const struct box *box)
{
	size_t room = listed->room ? 2 * listed->room : 64;
	uint64_t *box_nos;

	if (!box->selectable && !box->fate && box->settled)
		return OK; /* a folder with messages has become a mere level: they are missing */
	listed->any |= box->selectable;
	if (listed->count == listed->room) {
		box_nos = realloc(listed->box_nos, room * sizeof *box_nos);
		if (!box_nos)
			return RAISE(ERR_MEMORY_EXHAUSTED, "listing %zu folders", room);
		listed->box_nos = box_nos;
		listed->room = room;
	}
	listed->box_nos[listed->count++] = box->box_no;
	return OK;
}

static int compare_numbers(const void *left, const void *right)
{
	const uint64_t *a = left, *b = right;

	return (*a > *b) - (*a < *b);
}

/* There may be none at all, where all are left out by the filter. */
static bool was_listed(const struct lane_listed *listed, uint64_t box_no)
{
	return listed->count && bsearch(&box_no, listed->box_nos, listed->count,
					sizeof listed->box_nos[0], compare_numbers);
}

/* A listing without a single folder is a server in trouble, and no reason to believe that all are
 * deleted: INBOX at least is always there. */
enum err lane_look_for_missing(struct lane *lane, struct lane_listed *listed)
{
	struct ledger_known_box known = { 0 };
	struct ledger *ledger = lane->config->ledger;
	enum err e;

	if (!listed->any)
		return OK;
	if (listed->count)
		qsort(listed->box_nos, listed->count, sizeof listed->box_nos[0], compare_numbers);
	while ((e = ledger_box_next(ledger, lane->mailbox.mailbox_no, &known)) == OK) {
		if (known.former != LEDGER_PRESENT || was_listed(listed, known.box_no))
			continue;
		if (lane_is_left_out(listed,
				     &known)) { /* and no failure of an earlier run counts */
			if ((e = ledger_box_fate(ledger, known.box_no, OK, "")))
				break;
			continue;
		}
		log_event(LOG_INFO, "lane.box_missing", "box=%llu",
			  (unsigned long long)known.box_no);
		if ((e = ledger_box_former(ledger, known.box_no, LEDGER_SOUGHT)))
			break;
	}
	return e == ERR_PIPE_ENDED ? OK : e;
}

/* ---- one finding ---- */

/* The first settled message of the piece from `no` on. */
static size_t place_of(const struct look *look, uint64_t no)
{
	size_t low = 0, high = look->count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (look->seen[middle].no < no)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Of flags: what they were, and where. */
static enum err tell_flags(struct look *look, const struct ledger_seen *seen, uint64_t was_mark)
{
	look->change.was_mark = was_mark;
	look->change.target_no = seen->target_no;
	return lane_carries(look->lane) ? lane_change_place(look->lane, look->box->box_no,
							    &look->known, &look->change)
					: OK;
}

static enum err tell(struct look *look, enum change_kind kind, uint64_t no)
{
	struct change *change = &look->change;

	change->kind = kind;
	change->box = look->box;
	change->epoch = look->box->epoch;
	change->no = no;
	if (kind == CHANGE_RENUMBERED) {
		change->was_box = look->was_name;
		change->was_epoch = look->box->epoch;
		change->was_no = no;
	} else if (look->box->renamed) {
		change->box = &look->shown; /* it was not told of under the new name */
	}
	look->told = true;
	return lane_amend(look->lane, change);
}

static enum err take_flags(struct look *look, size_t i, const struct mail_meta *meta)
{
	const struct ledger_seen *seen = &look->seen[i];
	struct verdict *verdict = &look->verdicts[i];
	uint64_t mark = mail_mark(meta), before = verdict->mark ? verdict->mark : seen->mark;
	bool back = seen->vanished && !verdict->mark;
	enum err e;

	verdict->there = true;
	if (mark == before && !back && !(look->box->renamed && !verdict->mark))
		return OK;
	look->came_back += back;
	if (seen->mark != mark || back)
		look->lane->progress->changes.reflagged += !verdict->mark;
	verdict->mark = mark;
	look->change.meta = *meta;
	if ((e = tell_flags(look, seen, before)))
		return e;
	return tell(look, look->box->renamed ? CHANGE_RENUMBERED : CHANGE_REFLAGGED, seen->no);
}

static enum err take_gone(struct look *look, uint64_t first, uint64_t last, bool all)
{
	enum err e = OK;

	for (size_t i = place_of(look, first);
	     e == OK && i < look->count && look->seen[i].no <= last; i++) {
		struct verdict *verdict = &look->verdicts[i];

		if (!look->seen[i].stored || look->seen[i].vanished || verdict->vanished ||
		    (verdict->there && !all))
			continue;
		verdict->vanished = true;
		look->vanished++;
		look->lane->progress->changes.vanished++;
		e = tell(look, CHANGE_VANISHED, look->seen[i].no);
	}
	return e;
}

/* It is there, and nothing is known of it: a server that lags left it out when it was asked for.
 * All that lies between its neighbours is asked for again: servers do not forget just one. */
static enum err take_unknown(struct look *look, size_t i, uint64_t no)
{
	uint64_t first = i ? look->seen[i - 1].no + 1 : look->first;
	uint64_t last = i < look->count ? look->seen[i].no - 1 : look->last;

	if (no < look->first || no > look->last ||
	    (no >= look->again_first && no <= look->again_last))
		return OK;
	look->again_first = first;
	look->again_last = last;
	return ledger_range_again(look->lane->config->ledger, look->box->box_no, first, last);
}

static enum err take_finding(struct look *look, const struct finding *finding)
{
	size_t i;

	if (finding->kind == FINDING_GONE || finding->kind == FINDING_REST_GONE)
		return take_gone(look, finding->no, finding->last, finding->kind == FINDING_GONE);
	i = place_of(look, finding->no);
	if (i == look->count || look->seen[i].no != finding->no)
		return take_unknown(look, i, finding->no);
	if (!look->seen[i].stored || look->verdicts[i].vanished)
		return OK;
	if (finding->kind == FINDING_FLAGS)
		return take_flags(look, i, finding->meta);
	look->verdicts[i].there = true;
	look->unclear |= look->seen[i].vanished;
	return OK;
}

/* ---- one piece, one folder ---- */

static enum err hear(struct look *look, uint64_t first, uint64_t last)
{
	uint64_t most = FINDINGS_FREE + FINDINGS_PER_NUMBER * (last - first + 1);
	struct source *source = look->lane->readers[0].source;
	struct finding finding;
	enum err e = source->type->scan(source, look->box, first, last,
					!look->lane->config->flags_never || look->box->renamed);

	while (e == OK && (e = source->type->found(source, &finding)) == OK) {
		if (most-- == 0)
			return RAISE(ERR_SOURCE_STUCK,
				     "folder \"%.200s\": asked what changed, the source does not "
				     "come to an end",
				     look->box->name);
		e = take_finding(look, &finding);
	}
	return e == ERR_PIPE_ENDED ? OK : e;
}

/* Before the sink is told: a cut right after it leaves flags that are not known, and the next run
 * tells them, also where they are again what they were. */
static enum err unsettle(struct look *look)
{
	struct ledger *ledger = look->lane->config->ledger;
	enum err e = OK;

	if (lane_carries(look->lane))
		return OK; /* what they were says what to do: it is kept until that is done */
	for (size_t i = 0; i < look->count && e == OK; i++)
		if (look->verdicts[i].mark && !look->verdicts[i].vanished)
			e = ledger_mark(ledger, look->box->box_no, look->seen[i].no, 0);
	return e ? e : ledger_commit(ledger);
}

/* The sink has it durably: now the ledger. */
static enum err settle(struct look *look)
{
	struct ledger *ledger = look->lane->config->ledger;
	enum err e = OK;

	for (size_t i = 0; i < look->count && e == OK; i++) {
		const struct verdict *verdict = &look->verdicts[i];

		if (verdict->vanished)
			e = ledger_vanished(ledger, look->box->box_no, look->seen[i].no);
		else if (verdict->mark)
			e = ledger_mark(ledger, look->box->box_no, look->seen[i].no, verdict->mark);
	}
	return e;
}

static enum err look_at_piece(struct look *look, uint64_t first, uint64_t last)
{
	enum err e;

	memset(look->verdicts, 0, sizeof look->verdicts);
	look->told = look->unclear = false;
	look->came_back = look->vanished = look->again_first = look->again_last = 0;
	look->first = first;
	look->last = last;
	if ((e = hear(look, first, last)))
		return e;
	if (look->told &&
	    ((e = unsettle(look)) || (e = lane_amend_flush(look->lane)) || (e = settle(look))))
		return e;
	plan_scanned_to(look->lane->plan, look->box->box_no, last, look->came_back, look->vanished,
			look->unclear);
	look->lane->settled++; /* progress: the next attempt need not do this again */
	return OK;
}

/* The name that the ledger has for a folder with another one. */
static enum err recall_name(struct look *look)
{
	struct ledger_known_box known = { .box_no = look->box->box_no - 1 };
	enum err e =
		ledger_box_next(look->lane->config->ledger, look->lane->mailbox.mailbox_no, &known);

	if (e)
		return e;
	must(known.box_no == look->box->box_no);
	bytes_copy(look->was_name, known.name, strlen(known.name) + 1, BYTES_META);
	look->shown = *look->box;
	bytes_copy(look->shown.name, known.name, strlen(known.name) + 1, BYTES_META);
	look->box->before.at[0] = '\0'; /* all flags are told anew, under the new name */
	return OK;
}

/* All of it is durable: the name, and where the folder stood when it was listed. */
static enum err close_look(struct look *look)
{
	struct ledger *ledger = look->lane->config->ledger;
	enum err e = OK;

	if (plan_scan_is_unclear(look->lane->plan, look->box->box_no))
		look->box->cursor.at[0] = '\0'; /* the next run reads all flags */
	if (look->box->renamed)
		e = ledger_box_rename(ledger, look->lane->mailbox.mailbox_no, look->box);
	if (!e)
		e = ledger_cursor(ledger, look->box->box_no, &look->box->cursor);
	if (!e)
		plan_scanned(look->lane->plan, look->box->box_no);
	return e;
}

static enum err look_at_box(struct look *look, uint64_t first, uint64_t last)
{
	struct ledger *ledger = look->lane->config->ledger;
	uint64_t piece_last;
	enum err e = OK;

	if (look->box->renamed)
		e = recall_name(look);
	for (; e == OK && first <= last; first = piece_last + 1) {
		if ((e = ledger_seen(ledger, look->box->box_no, first, last, look->seen,
				     SCAN_MESSAGES, &look->count)))
			break;
		if (look->count == 0 && look->box->before.at[0])
			break; /* and where nothing is known, all that is there is looked for */
		piece_last = look->count == SCAN_MESSAGES ? look->seen[look->count - 1].no : last;
		e = look_at_piece(look, first, piece_last);
	}
	return e ? e : close_look(look);
}

/* A folder that the source refuses costs nothing but itself. */
static enum err look_or_leave(struct look *look, uint64_t first, uint64_t last)
{
	enum err e = look_at_box(look, first, last);

	if (e == ERR_SOURCE_EPOCH && (e = lane_replaced(look->lane, e)) != ERR_SOURCE_EPOCH)
		return e;
	if (!e || err_retry_class(e) != RETRY_SKIP_BOX)
		return e;
	plan_leave_out(look->lane->plan, look->box->box_no);
	return lane_refuse_box(look->lane, look->box->box_no, e);
}

enum err lane_delta(struct lane *lane)
{
	struct look *look;
	size_t index = 0;
	uint64_t first, last;
	enum err e = OK;

	if (!lane->readers[0].source->type->scan)
		return OK;
	look = calloc(1, sizeof *look);
	if (look)
		look->box = calloc(1, sizeof *look->box);
	if (!look || !look->box)
		e = RAISE(ERR_MEMORY_EXHAUSTED, "looking for what changed");
	else
		look->lane = lane;
	while (e == OK && plan_next_scan(lane->plan, &index, look->box, &first, &last))
		e = look_or_leave(look, first, last);
	if (look)
		free(look->box);
	free(look);
	return e;
}
