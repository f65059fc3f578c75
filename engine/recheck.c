/* The walk, page by page of the ledger's rows: chosen, sorted by their numbers at the target, asked
 * for in runs of consecutive ones, matched with what comes. */
#include "engine/recheck.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/budget.h"
#include "engine/clock.h"
#include "engine/fiber.h"
#include "engine/log.h"
#include "engine/shard.h"
#include "engine/govern_spend.h"

enum {
	PAGE_ROWS = 512,
	RUN_ROWS = 128,	   /* asked for at once: what is cut is read again */
	CUTS_MAX = 5,	   /* in a row, without a page between them */
	COUNT_ROWS = 4096, /* of the pass that only counts; a multiple of a page */
};
/* How often whoever waits looks whether it is to stop. */
#define LOOK (100 * NSEC_MILLISECOND)
/* A rest that the server asks for and that is over sooner is waited for. */
#define REST_WAITED_FOR (10 * 60 * NSEC_SECOND)

struct recheck {
	const struct recheck_config *config;
	struct reserve *reserve;
	struct source *source; /* NULL: none is open */
	unsigned cuts;
	struct sample sample;
	struct recheck_box box;
	struct box asked; /* the same for the source */
	struct item item;
	struct ledger_stored *stored; /* COUNT_ROWS */
	struct recheck_row rows[PAGE_ROWS];
	size_t count;
	uint64_t bytes; /* read of the present page */
};

/* ---- the conversation ---- */

static void close_source(struct recheck *recheck)
{
	if (recheck->source)
		recheck->source->type->close(&recheck->source);
}

static enum err open_source(struct recheck *recheck)
{
	const struct account *account = recheck->config->account;
	nsec until = clock_after(account->connect_timeout + account->io_timeout);
	enum err e;

	if (recheck->source)
		return OK;
	if ((e = spend_look(account, GOVERN_DOWN)))
		return e;
	return recheck->config->source->open(&recheck->source, account, recheck->reserve, until);
}

static bool is_a_cut(enum err e)
{
	enum err_retry class = err_retry_class(e);

	return e && (class == RETRY_NOW || class == RETRY_RECONNECT || class == RETRY_BACKOFF);
}

static enum err sleep_until(nsec until)
{
	enum err e = OK;

	while (!e && until > clock_now()) {
		if (shard_requested() == SHARD_DRAIN)
			return RAISE(ERR_FIBER_CANCELED, "stopped as asked");
		e = fiber_sleep(min_nsec(until, clock_after(LOOK)));
	}
	return e;
}

/* Wait for a while that grows, or for as long as the server asks. A ration that is used up is not
 * waited for. */
static enum err after_cut(struct recheck *recheck, enum err e)
{
	struct govern *govern = recheck->config->account->govern;
	nsec rest = err_note()->retry_after;

	close_source(recheck);
	if (e == ERR_IMAP_THROTTLED && govern)
		govern_throttled(govern, err_note()->scope, clock_now());
	if (!is_a_cut(e) || fiber_canceled() || recheck->cuts == CUTS_MAX || e == ERR_LIMIT_DAY ||
	    rest > REST_WAITED_FOR)
		return e;
	log_error(LOG_WARN, "recheck.reconnect", e);
	err_note_clear();
	rest = rest > NSEC_SECOND << recheck->cuts ? rest : NSEC_SECOND << recheck->cuts;
	recheck->cuts++;
	return sleep_until(clock_after(rest));
}

/* ---- one page ---- */

static int compare(const void *left, const void *right)
{
	const struct recheck_row *a = left, *b = right;

	if (a->stored.target_no != b->stored.target_no)
		return a->stored.target_no < b->stored.target_no ? -1 : 1;
	return a->stored.no < b->stored.no ? -1 : a->stored.no > b->stored.no;
}

/* The first row whose number is not below `no`. */
static size_t row_at(const struct recheck *recheck, uint64_t no)
{
	size_t low = 0, high = recheck->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (recheck->rows[middle].stored.target_no < no)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Every open row with a number in [first, last]. */
static void settle(struct recheck *recheck, uint64_t first, uint64_t last,
		   enum recheck_outcome outcome, enum err why)
{
	for (size_t i = row_at(recheck, first);
	     i < recheck->count && recheck->rows[i].stored.target_no <= last; i++)
		if (recheck->rows[i].outcome == RECHECK_OPEN) {
			recheck->rows[i].outcome = outcome;
			recheck->rows[i].why = why;
		}
}

/* Whether one of the rows from `at` on that have this number is stored wrapped. */
static bool is_wrapped(const struct recheck *recheck, size_t at, uint64_t no)
{
	for (; at < recheck->count && recheck->rows[at].stored.target_no == no; at++)
		if (recheck->rows[at].stored.form == MAIL_WRAPPED)
			return true;
	return false;
}

/* What a body was read for besides its own digest; zeros where it was not. */
struct also_read {
	struct digest inside; /* of what is in a wrapper */
	struct digest fingerprint;
};

static enum err drain_body(struct recheck *recheck, struct item *item, bool wrapped,
			   struct also_read *also)
{
	struct tapped tapped, tapped_inside, tapped_print;
	struct iolist list = { 0 };
	enum err e;

	*also = (struct also_read){ 0 };
	item->body = tapped_open(&tapped, item->body, recheck->config->digest, &item->digest);
	if (wrapped)
		item->body = tapped_open(&tapped_inside, item->body, recheck->config->inside,
					 &also->inside);
	if (recheck->config->fingerprint)
		item->body = tapped_open(&tapped_print, item->body, recheck->config->fingerprint,
					 &also->fingerprint);
	while ((e = stream_pull(item->body, &list)) == OK)
		iolist_release(&list);
	stream_close(&item->body);
	return e == ERR_STREAM_ENDED ? OK : e;
}

/* What was found by its fingerprint has other bytes, and flags of others. */
static void compare_row(struct recheck_row *row, const struct item *item,
			const struct also_read *also)
{
	const struct ledger_stored *stored = &row->stored;
	bool wrapped = stored->form == MAIL_WRAPPED;
	const struct digest *digest = wrapped ? &also->inside : &item->digest;
	bool same = (wrapped || (uint64_t)item->size_bytes == stored->size_bytes) &&
		    memcmp(digest->bytes, stored->digest.bytes, DIGEST_BYTES) == 0;

	if (stored->found == LEDGER_FOUND_ALIKE)
		same = memcmp(&also->fingerprint, &stored->fingerprint, sizeof also->fingerprint) ==
		       0;
	row->outcome = same ? RECHECK_SAME : RECHECK_ALTERED;
	if (stored->found)
		return;
	row->reflagged = stored->mark && mail_mark(&item->meta) != stored->mark;
	row->redated =
		stored->dated && item->meta.date.known && item->meta.date.seconds != stored->date_s;
}

/* What nobody asked for is closed unread. */
static enum err take_message(struct recheck *recheck)
{
	struct item *item = &recheck->item;
	size_t at = row_at(recheck, item->no);
	struct also_read also;
	enum err e;

	if (item->fate) {
		settle(recheck, item->no, item->no,
		       item->fate == ERR_IMAP_MSG_GONE ? RECHECK_MISSING : RECHECK_UNKNOWN,
		       item->fate);
		return OK;
	}
	if (at == recheck->count || recheck->rows[at].stored.target_no != item->no) {
		stream_close(&item->body);
		return OK;
	}
	if ((e = drain_body(recheck, item, is_wrapped(recheck, at, item->no), &also)))
		return e;
	recheck->bytes += (uint64_t)item->size_bytes;
	for (; at < recheck->count && recheck->rows[at].stored.target_no == item->no; at++)
		compare_row(&recheck->rows[at], item, &also);
	return OK;
}

/* What a granted range did not bring is not there. One that was not answered in full is asked for
 * once more, message by message: its rows stay open. */
static enum err take_range(struct recheck *recheck)
{
	const struct item *item = &recheck->item;
	enum err_retry class = item->fate ? err_retry_class(item->fate) : RETRY_NONE;

	if (!item->fate) {
		settle(recheck, item->range_first, item->range_last, RECHECK_MISSING, OK);
		return OK;
	}
	if (class == RETRY_SKIP_BOX) {
		recheck->box.fate = item->fate;
		snprintf(recheck->box.note, sizeof recheck->box.note, "%.239s", err_note()->text);
		err_note_clear();
		return OK;
	}
	if (class != RETRY_SKIP_MSG)
		return RAISE(item->fate, "reading back folder \"%.200s\"", recheck->box.known.name);
	err_note_clear();
	if (item->range_first == item->range_last)
		settle(recheck, item->range_first, item->range_first, RECHECK_UNKNOWN, item->fate);
	return OK;
}

/* How many rows from `at` on can be asked for at once: open ones with consecutive numbers. */
static size_t run_length(const struct recheck *recheck, size_t at, size_t max)
{
	const struct recheck_row *rows = recheck->rows;
	size_t n = 1;

	while (n < max && at + n < recheck->count && rows[at + n].outcome == RECHECK_OPEN &&
	       rows[at + n].stored.target_no - rows[at + n - 1].stored.target_no <= 1)
		n++;
	return n;
}

/* What is spared the server is spared here: the rate in messages a second, the ration in bytes as
 * they should be. */
static enum err ask_run(struct recheck *recheck, size_t at, size_t n)
{
	const struct account *account = recheck->config->account;
	struct source *source = recheck->source;
	const struct recheck_row *rows = &recheck->rows[at];
	uint64_t bytes = 0;
	nsec until = 0;
	enum err e;

	for (size_t i = 0; i < n; i++) {
		bytes += rows[i].stored.size_bytes;
		if (account->govern)
			until = govern_message(account->govern, clock_now());
	}
	if ((e = spend_bytes(account, GOVERN_DOWN, bytes)) || (e = sleep_until(until)))
		return e;
	return source->type->ask(source, &recheck->asked, rows[0].stored.target_no,
				 rows[n - 1].stored.target_no);
}

/* Ask for every open row, in runs of at most `run`, and hear all of it. */
static enum err read_open(struct recheck *recheck, size_t run)
{
	struct source *source = recheck->source;
	unsigned asked = 0;
	size_t at = 0, n;
	enum err e = OK;

	for (;;) {
		while (!e && !recheck->box.fate && asked < source->type->asks_max &&
		       at < recheck->count) {
			n = 1;
			if (recheck->rows[at].outcome == RECHECK_OPEN) {
				n = run_length(recheck, at, run);
				e = ask_run(recheck, at, n);
				asked++;
			}
			at += n;
		}
		if (e || !asked || (e = source->type->next(source, &recheck->item)))
			return e;
		if (recheck->item.kind == ITEM_MESSAGE) {
			e = take_message(recheck);
		} else {
			asked--;
			e = take_range(recheck);
		}
	}
}

static void reset_page(struct recheck *recheck)
{
	recheck->bytes = 0;
	for (size_t i = 0; i < recheck->count; i++) {
		struct recheck_row *row = &recheck->rows[i];

		*row = (struct recheck_row){ .stored = row->stored };
		if (!row->stored.target_no || !*recheck->asked.raw ||
		    (row->stored.found == LEDGER_FOUND_ALIKE && !recheck->config->fingerprint))
			row->outcome = RECHECK_UNKNOWN;
	}
}

static bool any_open(const struct recheck *recheck)
{
	for (size_t i = 0; i < recheck->count; i++)
		if (recheck->rows[i].outcome == RECHECK_OPEN)
			return true;
	return false;
}

static enum err try_page(struct recheck *recheck)
{
	enum err e = OK;

	reset_page(recheck);
	if (!any_open(recheck) || recheck->box.fate || (e = open_source(recheck)) ||
	    (e = read_open(recheck, RUN_ROWS)))
		return e;
	return recheck->box.fate ? OK : read_open(recheck, 1);
}

static void count_page(struct recheck *recheck)
{
	struct recheck_box *box = &recheck->box;

	for (size_t i = 0; i < recheck->count; i++) {
		const struct recheck_row *row = &recheck->rows[i];

		must(row->outcome != RECHECK_OPEN);
		box->same += row->outcome == RECHECK_SAME;
		box->missing += row->outcome == RECHECK_MISSING;
		box->altered += row->outcome == RECHECK_ALTERED;
		box->unknown += row->outcome == RECHECK_UNKNOWN;
		box->reflagged += row->reflagged;
		box->redated += row->redated;
	}
	box->chosen += recheck->count;
	box->bytes += recheck->bytes;
}

/* Nothing is believed of a folder that was refused in the middle of a page: it may be another by
 * now. */
static enum err do_page(struct recheck *recheck)
{
	const struct recheck_config *config = recheck->config;
	enum err e;

	qsort(recheck->rows, recheck->count, sizeof recheck->rows[0], compare);
	while ((e = try_page(recheck)) != OK)
		if ((e = after_cut(recheck, e)))
			return e;
	recheck->cuts = 0;
	if (recheck->box.fate) {
		reset_page(recheck);
		settle(recheck, 0, UINT64_MAX, RECHECK_UNKNOWN, recheck->box.fate);
	}
	count_page(recheck);
	e = config->page(config->context, &recheck->box, recheck->rows, recheck->count);
	recheck->count = 0;
	return e;
}

/* ---- one folder ---- */

static bool is_sought(const struct recheck *recheck, const struct ledger_stored *stored)
{
	return (!stored->doubtful || recheck->config->doubtful) &&
	       (!stored->found || !recheck->config->sent_only);
}

/* Every stored message of the folder is handed to `each`. */
static enum err walk(struct recheck *recheck,
		     enum err (*each)(struct recheck *, const struct ledger_stored *))
{
	const struct recheck_config *config = recheck->config;
	uint64_t after = 0;
	size_t count;
	enum err e;

	do {
		if (shard_requested() == SHARD_DRAIN)
			return RAISE(ERR_FIBER_CANCELED, "stopped as asked");
		e = ledger_stored(config->ledger, recheck->box.known.box_no, after, recheck->stored,
				  COUNT_ROWS, &count);
		for (size_t i = 0; !e && i < count; i++)
			e = each(recheck, &recheck->stored[i]);
		if (count)
			after = recheck->stored[count - 1].no;
	} while (!e && count == COUNT_ROWS);
	return e;
}

static enum err count_one(struct recheck *recheck, const struct ledger_stored *stored)
{
	recheck->box.doubtful += stored->doubtful;
	recheck->box.found += stored->found != LEDGER_SENT;
	if (!is_sought(recheck, stored))
		return OK;
	recheck->box.stored++;
	sample_count(&recheck->sample, stored->size_bytes);
	return OK;
}

static enum err check_one(struct recheck *recheck, const struct ledger_stored *stored)
{
	if (!is_sought(recheck, stored) || !sample_takes(&recheck->sample, stored->size_bytes))
		return OK;
	recheck->rows[recheck->count++] = (struct recheck_row){ .stored = *stored };
	if (recheck->count < PAGE_ROWS)
		return OK;
	if (shard_requested() == SHARD_DRAIN)
		return RAISE(ERR_FIBER_CANCELED, "stopped as asked");
	return do_page(recheck);
}

static enum err do_box(struct recheck *recheck)
{
	const struct recheck_config *config = recheck->config;
	const struct ledger_known_box *known = &recheck->box.known;
	enum err e;

	recheck->count = 0;
	recheck->asked = (struct box){ .epoch = known->target_epoch,
				       .box_no = known->box_no,
				       .selectable = true };
	bytes_copy(recheck->asked.raw, known->target, strlen(known->target) + 1, BYTES_META);
	sample_begin(&recheck->sample, config->seed, known->box_no);
	if ((e = walk(recheck, count_one)))
		return e;
	sample_draw(&recheck->sample, config->per_million);
	if (recheck->box.stored &&
	    ((e = walk(recheck, check_one)) || (recheck->count && (e = do_page(recheck)))))
		return e;
	return recheck->box.stored || recheck->box.doubtful || recheck->box.found
		       ? config->box(config->context, &recheck->box)
		       : OK;
}

/* ---- the mailbox ---- */

static enum err run(struct recheck *recheck)
{
	const struct recheck_config *config = recheck->config;
	uint64_t box_no = 0;
	enum err e;

	for (;;) {
		recheck->box = (struct recheck_box){ .known = { .box_no = box_no } };
		if ((e = ledger_box_next(config->ledger, config->mailbox_no, &recheck->box.known)))
			return e == ERR_PIPE_ENDED ? OK : e;
		box_no = recheck->box.known.box_no;
		if ((e = do_box(recheck)))
			return e;
	}
}

static enum err open_all(struct recheck *recheck)
{
	unsigned chunks = budget_lane_chunks_most(1);

	if (!(recheck->stored = calloc(COUNT_ROWS, sizeof *recheck->stored)))
		return RAISE(ERR_MEMORY_EXHAUSTED, "reading messages back");
	return reserve_open(arena_current(), chunks, clock_after(60 * NSEC_SECOND),
			    &recheck->reserve);
}

enum err recheck_run(const struct recheck_config *config)
{
	struct recheck *recheck = calloc(1, sizeof *recheck);
	enum err e;

	if (!recheck)
		return RAISE(ERR_MEMORY_EXHAUSTED, "reading messages back");
	recheck->config = config;
	if ((e = open_all(recheck)) == OK)
		e = run(recheck);
	if (e == OK && recheck->source &&
	    recheck->source->type->finish(recheck->source, clock_after(config->finish_timeout)))
		err_note_clear(); /* what was read was read */
	close_source(recheck);
	reserve_close(&recheck->reserve);
	free(recheck->stored);
	free(recheck);
	return e;
}
