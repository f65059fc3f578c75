/* The write fiber fills parcels (imap_fill.c); the receipt fiber has them sealed (imap_group.c),
 * hands them to the links (imap_link.c), and receipts what these were answered (imap_receipt.c).
 * The links are fibers of the receipt fiber's group. A parcel goes FILLING, FILLED, SHOWN,
 * PUBLISHED, SENDING, ANSWERED, FREE. Here are the driver's calls and what they share. */
#include "transport/imap_sink.h"

#include <stdlib.h>

#include "crypto/digest.h"
#include "engine/log.h"
#include "transport/imap_sink_state.h"

enum { SINK_MAGIC = 0x1a4a9517 };
/* Servers log out who is silent for half an hour, and some much sooner. */
#define LOOK_IDLE_MAX (60 * NSEC_SECOND)

static struct imap_sink *sink_of(struct sink *base)
{
	struct imap_sink *sink = CONTAINER_OF(base, struct imap_sink, base);

	MAGIC_CHECK(sink, SINK_MAGIC);
	return sink;
}

/* ---- one reason for all fibers ---- */

enum err imap_sink_is_broken(const struct imap_sink *sink)
{
	err_note_inherit(&sink->broken);
	return sink->broken.error;
}

void imap_sink_breaks(struct imap_sink *sink, enum err e)
{
	if (!sink->broken.error) {
		sink->broken = *err_note();
		sink->broken.error = e;
	}
	err_note_clear();
	wake_all(&sink->changed);
}

enum err imap_sink_wait(struct imap_sink *sink)
{
	enum err e = wait_on(&sink->changed, DEADLINE_NEVER);

	return e ? e : imap_sink_is_broken(sink);
}

void imap_sink_refuse(struct imap_sink *sink, struct imap_place *place, enum err fate,
		      const char *why)
{
	bool is_new = !place->fate;

	imap_place_refuse(place, fate, why);
	/* One folder may have a quota of its own. Two: there is no room in the account. */
	if (is_new && fate == ERR_SINK_QUOTA && ++sink->quota_refusals > 1)
		imap_sink_breaks(sink, RAISE(ERR_SINK_QUOTA, "%s", why));
	wake_all(&sink->changed);
}

/* ---- the session for oneself ---- */

static bool is_idle(const struct imap_sink *sink)
{
	for (unsigned i = 0; i < sink->links_count; i++)
		if (!imap_link_is_idle(&sink->links[i]))
			return false;
	return true;
}

/* They are listed by the first link, right after its login. */
static enum err wait_for_places(struct imap_sink *sink)
{
	enum err e = imap_sink_is_broken(sink);

	while (!e && !sink->links[0].append)
		e = imap_sink_wait(sink);
	return e;
}

enum err imap_sink_borrow(struct imap_sink *sink, struct imap_session **session)
{
	enum err e = wait_for_places(sink);

	while (!e && sink->is_paused)
		e = imap_sink_wait(sink);
	if (e)
		return e;
	sink->is_paused = true;
	while (!e && !is_idle(sink))
		e = imap_sink_wait(sink);
	if (e) {
		imap_sink_give_back(sink);
		return e;
	}
	*session = sink->links[0].session;
	imap_session_wire(*session)->until = clock_after(10 * sink->account->io_timeout);
	return OK;
}

void imap_sink_give_back(struct imap_sink *sink)
{
	if (sink->links[0].session)
		imap_session_wire(sink->links[0].session)->until = DEADLINE_NEVER;
	sink->is_paused = false;
	wake_all(&sink->changed);
}

enum err imap_sink_look(struct imap_sink *sink, struct imap_look **look)
{
	const struct account *account = sink->account;
	nsec now = clock_now();
	enum err e = OK;

	if (sink->look && now - sink->look_used > LOOK_IDLE_MAX) {
		imap_look_finish(sink->look, clock_after(account->io_timeout));
		imap_look_close(&sink->look);
	}
	if (!sink->looking)
		e = reserve_open(arena_current(), LANE_CHUNKS_LOOKING,
				 clock_after(account->io_timeout), &sink->looking);
	if (!e && !sink->look)
		e = imap_look_open(account, sink->looking, sink->tap,
				   clock_after(account->connect_timeout + account->io_timeout),
				   &sink->look);
	*look = sink->look;
	sink->look_used = clock_now();
	return e;
}

/* ---- opening and closing ---- */

static void imap_sink_close(struct sink **base)
{
	struct imap_sink *sink;

	if (!*base)
		return;
	sink = sink_of(*base);
	*base = NULL;
	must(!sink->fibers);
	for (unsigned i = 0; i < sink->links_count; i++)
		imap_link_close(&sink->links[i]);
	for (unsigned i = 0; i < sink->parcels_count; i++)
		imap_parcel_close(&sink->parcels[i]);
	imap_group_close(sink);
	imap_recover_close(sink);
	imap_look_close(&sink->look);
	imap_existing_close(&sink->existing);
	imap_amend_close(sink);
	reserve_close(&sink->looking);
	imap_places_close(&sink->places);
	if (sink->tap)
		sink->tap->type->close(&sink->tap);
	sink->magic = 0;
	free(sink);
}

/* Nothing is waited for: the first receipt() begins to connect. */
static enum err imap_sink_open(struct sink **out, const struct account *account,
			       const struct sink_config *config, nsec until)
{
	struct imap_sink *sink = calloc(1, sizeof *sink);
	enum err e;

	(void)until;
	*out = NULL;
	if (!sink)
		return RAISE(ERR_MEMORY_EXHAUSTED, "an IMAP destination");
	must(!config->dry_run);
	sink->base.type = &imap_sink;
	sink->magic = SINK_MAGIC;
	sink->config = *config;
	sink->account = account;
	sink->seal_no = config->next_seal_no;
	sink->links_max = 1;
	sink->append_limit = IMAP_APPEND_LIMIT_UNKNOWN;
	*out = &sink->base;
	if ((e = digest_open(config->digest, &sink->tap)) == OK && config->existing)
		e = imap_existing_open(&sink->config, &sink->existing);
	if (e)
		imap_sink_close(out);
	return e;
}

/* ---- the write fiber's calls ---- */

static enum err imap_sink_recall(struct sink *base, const char *name, const char *target)
{
	struct imap_sink *sink = sink_of(base);
	enum err e = wait_for_places(sink);

	return e ? e : imap_places_recall(sink->places, name, target);
}

static enum err imap_sink_prepare(struct sink *base, const struct box *box)
{
	struct imap_sink *sink = sink_of(base);
	enum err e = wait_for_places(sink);

	return e ? e : imap_places_add(sink->places, box);
}

static enum err imap_sink_put(struct sink *base, struct item *item)
{
	return imap_fill_put(sink_of(base), item);
}

/* Folders without mail get their places too. */
static enum err imap_sink_flush(struct sink *base)
{
	struct imap_sink *sink = sink_of(base);
	enum err e = imap_sink_is_broken(sink);

	if (!e && sink->found && !sink->is_looked) {
		if ((e = imap_recover_look(sink)))
			imap_sink_breaks(sink, e);
		return imap_sink_is_broken(sink);
	}
	if (!e && sink->places)
		e = imap_fill_settle_places(sink);
	imap_fill_end(sink);
	imap_group_close_all(sink);
	return e;
}

/* ---- links ---- */

static enum err begin_link(struct imap_sink *sink)
{
	struct imap_link *link = &sink->links[sink->links_count];
	enum err e;

	*link = (struct imap_link){ .sink = sink };
	sink->links_count++;
	e = group_spawn(sink->fibers, "append", FIBER_STACK_LARGE, imap_link_send, link);
	link->is_sending = e == OK;
	if (!e)
		e = group_spawn(sink->fibers, "answers", FIBER_STACK_LARGE, imap_link_hear, link);
	link->is_hearing = link->is_sending && e == OK;
	return e;
}

static enum err begin(struct imap_sink *sink)
{
	if (sink->fibers)
		return OK;
	sink->fibers = group_open();
	return begin_link(sink);
}

static void imap_sink_end_receipts(struct sink *base)
{
	struct imap_sink *sink = sink_of(base);

	sink->is_over = true;
	wake_all(&sink->changed);
	if (!sink->fibers)
		return;
	if (!is_idle(sink) || sink->broken.error || fiber_canceled())
		group_cancel(sink->fibers);
	if (group_join(&sink->fibers))
		err_note_clear(); /* what went wrong is told already */
	/* Whoever still waits for the folders waits in vain. */
	if (!sink->broken.error && !sink->is_draining)
		imap_sink_breaks(sink, RAISE(ERR_FIBER_CANCELED, "the destination was called off"));
}

/* ---- the receipt fiber's calls ---- */

static bool is_anybody_busy(const struct imap_sink *sink)
{
	for (unsigned i = 0; i < sink->links_count; i++)
		if (sink->links[i].is_sending || sink->links[i].is_hearing)
			return true;
	return false;
}

static enum err check_answered(struct imap_sink *sink)
{
	enum err e = OK;

	for (struct imap_parcel *parcel = sink->queue; parcel && !e; parcel = parcel->next)
		if (parcel->state == IMAP_PARCEL_ANSWERED && !parcel->is_checked)
			e = imap_check_parcel(sink, parcel);
	return e;
}

static enum err next_receipt(struct imap_sink *sink, struct receipt *receipt, bool *told)
{
	bool is_dead = sink->broken.error && !is_anybody_busy(sink);

	enum err e = sink->broken.error ? OK : check_answered(sink);

	*told = false;
	if (e)
		return e;
	if (is_dead)
		imap_receipt_clear_up(sink);
	*told = imap_receipt_news(sink, receipt) || imap_receipt_answered(sink, receipt) ||
		imap_group_tell_settled(sink, receipt) ||
		(sink->is_looked && imap_recover_receipt(sink, receipt)) ||
		(is_dead && imap_receipt_lost(sink, receipt));
	if (is_dead && !*told)
		return imap_sink_is_broken(sink);
	return *told || sink->broken.error ? OK : imap_receipt_sealed(sink, receipt, told);
}

static bool is_all_told(const struct imap_sink *sink)
{
	return !sink->queue && !sink->filling && !sink->groups && !sink->broken.error;
}

/* A published parcel waits, and every link is at work. */
static bool is_link_missed(const struct imap_sink *sink)
{
	if (sink->links_count >= sink->links_max || sink->broken.error || sink->is_paused)
		return false;
	for (unsigned i = 0; i < sink->links_count; i++)
		if (!sink->links[i].busy)
			return false;
	return imap_link_next_published(sink) != NULL;
}

static enum err imap_sink_receipt(struct sink *base, struct receipt *receipt)
{
	struct imap_sink *sink = sink_of(base);
	bool told = false;
	enum err e;

	*receipt = (struct receipt){ .kind = RECEIPT_STORED };
	if ((e = begin(sink)) || (is_link_missed(sink) && (e = begin_link(sink))))
		return e;
	while (!e && !told) {
		bool was_broken = sink->broken.error;

		e = next_receipt(sink, receipt, &told);
		if (e && !was_broken && e != ERR_FIBER_CANCELED) {
			imap_sink_breaks(sink, e); /* what is known is told first */
			e = OK;
		} else if (!e && !told) {
			if (sink->is_draining && is_all_told(sink))
				return ERR_SINK_FINISHED;
			e = wait_on(&sink->changed, DEADLINE_NEVER);
		}
	}
	return e;
}

static enum err imap_sink_publish(struct sink *base, uint64_t seal_no)
{
	struct imap_sink *sink = sink_of(base);

	for (struct imap_parcel *parcel = sink->queue; parcel; parcel = parcel->next)
		if (parcel->state == IMAP_PARCEL_SHOWN && parcel->seal_no == seal_no)
			parcel->state = IMAP_PARCEL_PUBLISHED;
	wake_all(&sink->changed);
	return OK;
}

static enum err imap_sink_find(struct sink *base, uint64_t seal_no, struct text seal,
			       enum seal_fate *fate)
{
	*fate = SEAL_PRESENT; /* until it is looked for */
	return imap_recover_add(sink_of(base), seal_no, seal);
}

static void imap_sink_drain(struct sink *base)
{
	struct imap_sink *sink = sink_of(base);

	sink->is_draining = true;
	imap_fill_end(sink);
	imap_group_close_all(sink);
}

static enum err imap_sink_finish(struct sink *base, nsec until)
{
	struct imap_sink *sink = sink_of(base);
	struct err_note why;
	enum err e = OK;

	if (!sink->broken.error && sink->found)
		e = imap_recover_look_again(sink);
	why = *err_note(); /* of that, or of the caller's */
	for (unsigned i = 0; i < sink->links_count && !sink->broken.error; i++)
		if (sink->links[i].session && imap_session_finish(sink->links[i].session, until))
			err_note_clear(); /* all is settled: a lost goodbye changes nothing */
	if (sink->look)
		imap_look_finish(sink->look, until);
	imap_amend_finish(sink, until);
	*err_note() = why;
	return e;
}

const struct sink_driver imap_sink = {
	.scheme = "imaps",
	.reopens = true,
	.carries = true,
	.open = imap_sink_open,
	.recall = imap_sink_recall,
	.prepare = imap_sink_prepare,
	.find = imap_sink_find,
	.put = imap_sink_put,
	.amend = imap_amend,
	.amend_flush = imap_amend_flush,
	.flush = imap_sink_flush,
	.receipt = imap_sink_receipt,
	.end_receipts = imap_sink_end_receipts,
	.publish = imap_sink_publish,
	.drain = imap_sink_drain,
	.finish = imap_sink_finish,
	.close = imap_sink_close,
};
