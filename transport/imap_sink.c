/* The write fiber fills parcels; the receipt fiber has them sealed, hands them to the links, and
 * receipts what these were answered. The links are fibers of the receipt fiber's group. A parcel
 * goes FILLING, FILLED, SHOWN, PUBLISHED, SENDING, ANSWERED, FREE. */
#include "transport/imap_sink.h"

#include <stdlib.h>

#include "crypto/digest.h"
#include "engine/budget.h"
#include "engine/log.h"
#include "transport/imap_sink_state.h"

enum {
	SINK_MAGIC = 0x1a4a9517,
	/* Of the budget's pieces: 2 MiB where a mailbox is alone. A parcel costs a seal, which is a
	 * sync of the ledger, and an answer; a longer message goes through a file. */
	PARCEL_ROOMS = PARCELS_WRITES / IMAP_PARCELS_MAX,
};

static struct imap_sink *sink_of(struct sink *base)
{
	struct imap_sink *sink = CONTAINER_OF(base, struct imap_sink, base);

	MAGIC_CHECK(sink, SINK_MAGIC);
	return sink;
}

/* ---- one reason for all fibers ---- */

enum err imap_sink_is_broken(const struct imap_sink *sink)
{
	if (sink->broken.error && !err_note()->error)
		*err_note() = sink->broken;
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

enum err imap_sink_borrow(struct imap_sink *sink, struct imap_session **session)
{
	enum err e = imap_sink_is_broken(sink);

	while (!e && (!sink->links[0].append || sink->is_paused))
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
	enum err e = OK;

	if (!sink->looking)
		e = reserve_open(arena_current(), LANE_CHUNKS_LOOKING,
				 clock_after(account->io_timeout), &sink->looking);
	if (!e && !sink->look)
		e = imap_look_open(account, sink->looking, sink->tap,
				   clock_after(account->connect_timeout + account->io_timeout),
				   &sink->look);
	*look = sink->look;
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
	for (struct imap_group *next, *group = sink->groups; group; group = next) {
		next = group->next;
		free(group->seal_nos);
		free(group);
	}
	imap_recover_close(sink);
	imap_look_close(&sink->look);
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
	if ((e = digest_open(config->digest, &sink->tap)))
		imap_sink_close(out);
	return e;
}

/* ---- folders ---- */

/* Listed by the first link, right after its login. */
static enum err wait_for_places(struct imap_sink *sink)
{
	enum err e = imap_sink_is_broken(sink);

	while (!e && !sink->links[0].append)
		e = imap_sink_wait(sink);
	return e;
}

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

/* All folders there are get their places together: what goes where depends on all. */
static enum err settle_places(struct imap_sink *sink)
{
	struct imap_session *session;
	enum err e;

	if (!imap_places_are_open(sink->places))
		return OK;
	if ((e = imap_sink_borrow(sink, &session)))
		return e;
	if ((e = imap_places_settle(sink->places, session)))
		imap_sink_breaks(sink, e);
	imap_sink_give_back(sink);
	return imap_sink_is_broken(sink);
}

/* ---- filling ---- */

static void queue_parcel(struct imap_sink *sink, struct imap_parcel *parcel)
{
	struct imap_parcel **at = &sink->queue;

	while (*at)
		at = &(*at)->next;
	parcel->next = NULL;
	*at = parcel;
}

static void fill_ends(struct imap_sink *sink)
{
	struct imap_parcel *parcel = sink->filling;

	if (!parcel)
		return;
	sink->filling = NULL;
	parcel->state = IMAP_PARCEL_FILLED;
	queue_parcel(sink, parcel);
	wake_all(&sink->changed);
}

static struct imap_parcel *free_parcel(struct imap_sink *sink)
{
	for (unsigned i = 0; i < sink->parcels_count; i++)
		if (sink->parcels[i]->state == IMAP_PARCEL_FREE)
			return sink->parcels[i];
	return NULL;
}

/* A parcel that takes the message: the one being filled, or another. */
static enum err fill_begins(struct imap_sink *sink, struct imap_place *place, uint64_t bytes)
{
	struct imap_parcel *parcel;
	enum err e = imap_sink_is_broken(sink);

	if (e || (sink->filling && imap_parcel_takes(sink->filling, place, bytes)))
		return e;
	fill_ends(sink);
	while (!e && !(parcel = free_parcel(sink))) {
		if (sink->parcels_count < IMAP_PARCELS_MAX)
			e = imap_parcel_open(PARCEL_ROOMS * budget()->put_bytes,
					     &sink->parcels[sink->parcels_count++]);
		else
			e = imap_sink_wait(sink);
	}
	if (e)
		return e;
	parcel->state = IMAP_PARCEL_FILLING;
	parcel->place = place;
	sink->filling = parcel;
	return OK;
}

static enum err imap_sink_put(struct sink *base, struct item *item)
{
	struct imap_sink *sink = sink_of(base);
	struct imap_place *place;
	enum err e;

	must(!sink->is_draining && item->size_bytes != SIZE_UNKNOWN);
	if ((e = imap_sink_is_broken(sink)) || (e = settle_places(sink)))
		return e;
	place = imap_places_find(sink->places, item->box_no);
	must(place);
	if (place->fate)
		return RAISE(ERR_SINK_BOX, "%s", place->why); /* the receipt says why */
	if ((uint64_t)item->size_bytes > sink->append_limit)
		return RAISE(ERR_SINK_TOOBIG, "a message of %lld bytes: the destination takes %llu",
			     (long long)item->size_bytes, (unsigned long long)sink->append_limit);
	if ((e = fill_begins(sink, place, (uint64_t)item->size_bytes)))
		return e;
	e = imap_parcel_add(sink->filling, item, sink->tap, sink->config.spool);
	if (sink->filling->count == 0) {
		imap_parcel_reset(sink->filling);
		sink->filling = NULL;
	}
	return e;
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
		e = settle_places(sink);
	fill_ends(sink);
	for (struct imap_group *group = sink->groups; group; group = group->next)
		group->is_closed = true;
	wake_all(&sink->changed);
	return e;
}

/* ---- groups ---- */

/* What is open is read back after a crash, and lies in the ledger until then. */
static void close_eldest(struct imap_sink *sink)
{
	struct imap_group *eldest = NULL;
	unsigned open = 0;

	for (struct imap_group *group = sink->groups; group; group = group->next)
		if (!group->is_closed) {
			eldest = group;
			open++;
		}
	if (open >= IMAP_GROUPS_OPEN_MAX)
		eldest->is_closed = true;
}

static enum err new_group(struct imap_sink *sink, struct imap_place *place)
{
	struct imap_group *group = calloc(1, sizeof *group);

	if (group)
		group->seal_nos = calloc(IMAP_GROUP_PARCELS_MAX, sizeof *group->seal_nos);
	if (!group || !group->seal_nos) {
		free(group);
		return RAISE(ERR_MEMORY_EXHAUSTED, "sealing a parcel");
	}
	close_eldest(sink);
	group->place = place;
	group->is_closed = sink->is_draining; /* or it would never end */
	group->knows_uids = true;
	group->next = sink->groups;
	sink->groups = group;
	place->owner = group;
	return OK;
}

/* All of it is settled and was told: where the next one begins follows from the UIDs, or is asked
 * for. */
static void end_group(struct imap_sink *sink, struct imap_group *group)
{
	struct imap_group **at = &sink->groups;

	while (*at != group)
		at = &(*at)->next;
	*at = group->next;
	if (group->knows_uids && group->uid_top)
		group->place->uidnext = group->uid_top + 1;
	else
		group->place->uidnext = 0;
	group->place->owner = NULL;
	free(group->seal_nos);
	free(group);
}

/* The folder's numbers, where a group begins and they are not known. */
static enum err ask_mark(struct imap_sink *sink, struct imap_place *place)
{
	struct imap_session *session;
	enum err e;

	if (place->uidvalidity && place->uidnext)
		return OK;
	if ((e = imap_sink_borrow(sink, &session)))
		return e;
	e = imap_place_status(session, place);
	imap_sink_give_back(sink);
	if (e && err_retry_class(e) == RETRY_SKIP_BOX) {
		imap_sink_refuse(sink, place, ERR_SINK_BOX, err_note()->text);
		err_note_clear();
		return OK;
	}
	return e;
}

static bool may_join(const struct imap_parcel *parcel)
{
	const struct imap_group *group = parcel->place->owner;

	return !group || (!group->is_closed && group->count < IMAP_GROUP_PARCELS_MAX);
}

/* ---- receipts ---- */

static bool tell_news(struct imap_sink *sink, struct receipt *receipt)
{
	struct imap_place *place;

	if (!sink->places || !imap_places_next_news(sink->places, &receipt->box_no, &place))
		return false;
	if (place->fate) {
		receipt->kind = RECEIPT_BOX_REFUSED;
		receipt->why = RAISE(place->fate, "%s", place->why);
		return true;
	}
	receipt->kind = RECEIPT_PLACED;
	receipt->target = text_of(place->raw);
	receipt->target_epoch = place->uidvalidity;
	return true;
}

static void receipt_message(const struct imap_message *message, struct receipt *receipt)
{
	static const enum receipt_kind kinds[] = {
		[IMAP_MESSAGE_STORED] = RECEIPT_STORED,
		[IMAP_MESSAGE_ALTERED] = RECEIPT_DOUBTFUL,
		[IMAP_MESSAGE_REFUSED] = RECEIPT_REFUSED,
		[IMAP_MESSAGE_RETURNED] = RECEIPT_RETURNED,
	};
	const struct parcel_record *record = &message->record;
	char date[40];

	receipt->kind = kinds[message->fate];
	receipt->box_no = record->box_no;
	receipt->no = record->no;
	receipt->size_bytes = record->size_bytes;
	receipt->digest = record->digest;
	receipt->mark = record->mark;
	receipt->mail_kind = (enum mail_kind)record->kind;
	receipt->why = message->why;
	receipt->target_no = message->uid;
	receipt->date_s = message->date.seconds;
	receipt->dated = *mail_date_imap(date, &message->date) != '\0';
}

static void remove_parcel(struct imap_sink *sink, struct imap_parcel *parcel)
{
	struct imap_parcel **at = &sink->queue;

	while (*at != parcel)
		at = &(*at)->next;
	*at = parcel->next;
	imap_parcel_reset(parcel);
	wake_all(&sink->changed);
}

/* The next receipt of a parcel of which something is known; false: there is none. */
static bool tell_fates(struct imap_sink *sink, struct imap_parcel *parcel, struct receipt *receipt)
{
	while (parcel->next_receipt < parcel->count) {
		const struct imap_message *message = &parcel->messages[parcel->next_receipt++];

		if (message->fate == IMAP_MESSAGE_OPEN)
			continue;
		receipt_message(message, receipt);
		receipt->seal_no = parcel->seal_no;
		if (message->fate == IMAP_MESSAGE_RETURNED && parcel->place->fate &&
		    sink->refused_box_no != message->record.box_no) {
			parcel->next_receipt--; /* first why */
			sink->refused_box_no = message->record.box_no;
			receipt->kind = RECEIPT_BOX_REFUSED;
			receipt->why = RAISE(parcel->place->fate, "%s", parcel->place->why);
		}
		return true;
	}
	return false;
}

static bool tell_answered(struct imap_sink *sink, struct receipt *receipt)
{
	struct imap_parcel *next;

	for (struct imap_parcel *parcel = sink->queue; parcel; parcel = next) {
		struct imap_group *group = parcel->place->owner;

		next = parcel->next;
		if (parcel->state != IMAP_PARCEL_ANSWERED || !parcel->is_checked)
			continue;
		if (tell_fates(sink, parcel, receipt))
			return true;
		if (parcel->seal_no)
			group->unsettled--;
		remove_parcel(sink, parcel);
	}
	return false;
}

static bool tell_settled(struct imap_sink *sink, struct receipt *receipt)
{
	struct imap_group *next;

	for (struct imap_group *group = sink->groups; group; group = next) {
		next = group->next;
		if (group->unsettled)
			continue;
		if (!group->is_closed && group->count < IMAP_GROUP_PARCELS_MAX)
			continue;
		group->is_closed = true;
		if (!group->is_told) {
			group->is_told = true;
			receipt->kind = RECEIPT_SETTLED;
			receipt->seal_nos = group->seal_nos;
			receipt->seals_count = group->count;
			return true;
		}
		end_group(sink, group);
		wake_all(&sink->changed);
	}
	return false;
}

/* A parcel of a folder that was refused meanwhile is not even sealed. */
static void give_up(struct imap_parcel *parcel)
{
	for (unsigned i = 0; i < parcel->count; i++)
		imap_parcel_settle(parcel, i, IMAP_MESSAGE_RETURNED, OK);
	parcel->state = IMAP_PARCEL_ANSWERED;
	parcel->is_checked = true; /* nothing of it is there */
}

static enum err check_answered(struct imap_sink *sink)
{
	enum err e = OK;

	for (struct imap_parcel *parcel = sink->queue; parcel && !e; parcel = parcel->next)
		if (parcel->state == IMAP_PARCEL_ANSWERED && !parcel->is_checked)
			e = imap_recover_check(sink, parcel);
	return e;
}

static enum err join(struct imap_sink *sink, struct imap_parcel *parcel, struct receipt *receipt)
{
	struct imap_group *group;
	enum err e;

	if (!parcel->place->owner && (e = new_group(sink, parcel->place)))
		return e;
	group = parcel->place->owner;
	if ((e = imap_parcel_seal(parcel, parcel->place->uidvalidity, parcel->place->uidnext)))
		return e;
	parcel->seal_no = sink->seal_no++;
	parcel->state = IMAP_PARCEL_SHOWN;
	group->seal_nos[group->count++] = parcel->seal_no;
	group->unsettled++;
	receipt->kind = RECEIPT_SEALED;
	receipt->seal_no = parcel->seal_no;
	receipt->seal = (struct text){ parcel->seal.at, parcel->seal.bytes };
	return OK;
}

/* The oldest parcel whose folder takes another one is sealed. */
static enum err tell_sealed(struct imap_sink *sink, struct receipt *receipt, bool *told)
{
	enum err e;

	*told = false;
	for (struct imap_parcel *parcel = sink->queue; parcel; parcel = parcel->next) {
		struct imap_place *place = parcel->place;

		if (parcel->state != IMAP_PARCEL_FILLED || !may_join(parcel))
			continue;
		if (!place->fate && !place->owner && (e = ask_mark(sink, place)))
			return e;
		*told = true;
		if (!place->fate)
			return join(sink, parcel, receipt);
		give_up(parcel);
		must(tell_answered(sink, receipt));
		return OK;
	}
	return OK;
}

/* ---- the end of a broken one ---- */

static bool is_anybody_busy(const struct imap_sink *sink)
{
	for (unsigned i = 0; i < sink->links_count; i++)
		if (sink->links[i].is_sending || sink->links[i].is_hearing)
			return true;
	return false;
}

/* What no byte left of is returned, so its seal can be forgotten. What was lost is told as far as
 * it is known, and stays sealed with all of its group. */
static void clear_up(struct imap_sink *sink)
{
	for (struct imap_parcel *parcel = sink->queue; parcel; parcel = parcel->next) {
		if (parcel->state < IMAP_PARCEL_SENDING) {
			give_up(parcel);
		} else if (!parcel->is_checked && parcel->state != IMAP_PARCEL_LOST) {
			parcel->state = IMAP_PARCEL_LOST;
			imap_recover_uncheck(sink, parcel);
		}
	}
	for (struct imap_group *group = sink->groups; group; group = group->next)
		group->is_closed = true;
}

static bool tell_lost(struct imap_sink *sink, struct receipt *receipt)
{
	for (struct imap_parcel *parcel = sink->queue; parcel; parcel = parcel->next)
		if (parcel->state == IMAP_PARCEL_LOST && tell_fates(sink, parcel, receipt))
			return true;
	return false;
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

static enum err next_receipt(struct imap_sink *sink, struct receipt *receipt, bool *told)
{
	bool is_dead = sink->broken.error && !is_anybody_busy(sink);

	enum err e = sink->broken.error ? OK : check_answered(sink);

	*told = false;
	if (e)
		return e;
	if (is_dead)
		clear_up(sink);
	*told = tell_news(sink, receipt) || tell_answered(sink, receipt) ||
		tell_settled(sink, receipt) ||
		(sink->is_looked && imap_recover_receipt(sink, receipt)) ||
		(is_dead && tell_lost(sink, receipt));
	if (is_dead && !*told)
		return imap_sink_is_broken(sink);
	return *told || sink->broken.error ? OK : tell_sealed(sink, receipt, told);
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
	for (const struct imap_parcel *parcel = sink->queue; parcel; parcel = parcel->next)
		if (parcel->state == IMAP_PARCEL_PUBLISHED)
			return true;
	return false;
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
	fill_ends(sink);
	for (struct imap_group *group = sink->groups; group; group = group->next)
		group->is_closed = true;
	wake_all(&sink->changed);
}

static enum err imap_sink_finish(struct sink *base, nsec until)
{
	struct imap_sink *sink = sink_of(base);
	enum err e = OK;

	if (!sink->broken.error && sink->found)
		e = imap_recover_look_again(sink);
	for (unsigned i = 0; i < sink->links_count && !sink->broken.error; i++)
		if (sink->links[i].session && imap_session_finish(sink->links[i].session, until))
			err_note_clear(); /* all is settled: a lost goodbye changes nothing */
	if (sink->look)
		imap_look_finish(sink->look, until);
	return e;
}

const struct sink_driver imap_sink = {
	.scheme = "imaps",
	.reopens = true,
	.open = imap_sink_open,
	.recall = imap_sink_recall,
	.prepare = imap_sink_prepare,
	.find = imap_sink_find,
	.put = imap_sink_put,
	.flush = imap_sink_flush,
	.receipt = imap_sink_receipt,
	.end_receipts = imap_sink_end_receipts,
	.publish = imap_sink_publish,
	.drain = imap_sink_drain,
	.finish = imap_sink_finish,
	.close = imap_sink_close,
};
