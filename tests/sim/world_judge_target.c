/* What must hold when a run to an IMAP server went to its end, whatever happened before: each
 * message is there once, in its folder, with its bytes, flags, keywords and date, or the ledger
 * tells why not, with a reason that the scenario excuses; nothing is there that nobody put there.
 * What a server was still working on counts as stored. */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/clock.h"
#include "engine/shard.h"
#include "tests/sim/world.h"
#include "transport/fingerprint.h"
#include "transport/unwrap.h"

enum { BOXES_LIED_ABOUT = 3 };
enum { BOXES = IMAP_MODEL_BOXES_MAX, MESSAGES = IMAP_MODEL_MESSAGES_MAX };

/* Of a message of the source. */
enum fate { EXPECTED, SKIPPED, DOUBTFUL };

struct judge {
	struct world *world;
	enum fate fates[BOXES][MESSAGES];
	bool refused[BOXES];
	bool found[BOXES][MESSAGES];   /* of the source */
	bool claimed[BOXES][MESSAGES]; /* of the destination: somebody's copy */
	uint64_t moved, skipped, doubtful;
	unsigned lies_believed;
};

/* ---- the ledger ---- */

static bool is_excused(const struct world *world, const char *reason)
{
	for (unsigned i = 0; i < WORLD_EXCUSED_MAX; i++)
		if (world->excused[i] && strcmp(world->excused[i], reason) == 0)
			return true;
	return false;
}

static void judge_exception(struct judge *judge, const struct ledger_exception *exception)
{
	const struct imap_model *model = &judge->world->imap;

	if (!is_excused(judge->world, exception->reason_name))
		world_fault(judge->world, "the ledger has an exception: message %llu of \"%s\", %s",
			    (unsigned long long)exception->no, exception->box_name,
			    exception->reason_name);
	judge->skipped += exception->no && exception->state == LEDGER_SKIPPED;
	judge->doubtful += exception->no && exception->state == LEDGER_DOUBTFUL;
	for (unsigned b = 0; b < model->boxes_count; b++) {
		if (strcmp(model->boxes[b].name, exception->box_name) != 0)
			continue;
		judge->refused[b] |= exception->no == 0;
		for (unsigned m = 0; m < model->boxes[b].messages_count; m++)
			if (model->boxes[b].messages[m].uid == exception->no)
				judge->fates[b][m] =
					exception->state == LEDGER_SKIPPED ? SKIPPED : DOUBTFUL;
	}
}

static enum err read_exceptions(struct judge *judge, struct ledger *ledger, uint64_t mailbox_no)
{
	struct ledger_exception *exception = calloc(1, sizeof *exception);
	enum err e;

	must(exception);
	while ((e = ledger_exception_next(ledger, mailbox_no, exception)) == OK)
		judge_exception(judge, exception);
	free(exception);
	return e == ERR_PIPE_ENDED ? OK : e;
}

static enum err read_ledger(struct judge *judge, struct ledger_totals *totals)
{
	struct ledger_mailbox mailbox;
	struct ledger *ledger;
	enum err e = ledger_open(world_state_path, clock_after(600 * NSEC_SECOND), &ledger);

	if (e)
		return e;
	e = ledger_mailbox(ledger, world_source_shown, world_target_shown, "blake3", &mailbox);
	if (!e)
		e = ledger_totals(ledger, mailbox.mailbox_no, totals);
	if (!e)
		e = read_exceptions(judge, ledger, mailbox.mailbox_no);
	ledger_close(&ledger);
	return e;
}

static void judge_totals(struct judge *judge, const struct ledger_totals *totals)
{
	unsigned refused = 0;

	for (unsigned b = 0; b < BOXES; b++)
		refused += judge->refused[b];
	if (totals->messages[LEDGER_MOVED] != judge->moved ||
	    totals->messages[LEDGER_SKIPPED] != judge->skipped ||
	    totals->messages[LEDGER_DOUBTFUL] != judge->doubtful ||
	    totals->messages[LEDGER_WITHDRAWN] != 0)
		world_fault(
			judge->world,
			"the ledger knows %llu moved of %llu, %llu skipped, %llu doubtful, %llu "
			"withdrawn messages",
			(unsigned long long)totals->messages[LEDGER_MOVED],
			(unsigned long long)judge->moved,
			(unsigned long long)totals->messages[LEDGER_SKIPPED],
			(unsigned long long)totals->messages[LEDGER_DOUBTFUL],
			(unsigned long long)totals->messages[LEDGER_WITHDRAWN]);
	if ((totals->ranges_open && !refused) || totals->seals_open)
		world_fault(judge->world, "the ledger has %llu open ranges, %llu open seals",
			    (unsigned long long)totals->ranges_open,
			    (unsigned long long)totals->seals_open);
}

/* ---- messages ---- */

static bool same_facts(const struct world *world, const struct imap_model_message *source,
		       const struct imap_model_message *copy)
{
	static struct mail_meta want, got;

	want = got = (struct mail_meta){ 0 };
	world_flags(source->flags, &want);
	world_flags(copy->flags, &got);
	if (world->target->store->drops_keywords)
		want.keywords_bytes = 0;
	must(mail_date_parse(text_of(source->date), &want.date));
	return mail_date_parse(text_of(copy->date), &got.date) && want.flags == got.flags &&
	       text_equal((struct text){ want.keywords, want.keywords_bytes },
			  (struct text){ got.keywords, got.keywords_bytes }) &&
	       want.date.seconds == got.date.seconds &&
	       want.date.zone_minutes == got.date.zone_minutes;
}

static void take_inside(void *context, const void *from, size_t n)
{
	buffer_add(context, from, n);
}

/* The copy is a wrapper with the source's message inside. */
static bool is_inside(const struct imap_model_message *source,
		      const struct imap_model_message *copy)
{
	struct unwrap *unwrap = malloc(sizeof *unwrap);
	struct buffer inside = { 0 };
	bool same;

	must(unwrap);
	unwrap_begin(unwrap, take_inside, &inside);
	unwrap_feed(unwrap, copy->bytes, copy->length);
	same = unwrap_end(unwrap) == UNWRAP_BEHIND && inside.bytes == source->length &&
	       memcmp(inside.at, source->bytes, inside.bytes) == 0;
	free(unwrap);
	buffer_free(&inside);
	return same;
}

static bool is_as_it_was(const struct imap_model_message *source,
			 const struct imap_model_message *copy)
{
	return source->length == copy->length &&
	       memcmp(source->bytes, copy->bytes, copy->length) == 0;
}

/* THEIRS: delivered by others, and counts all the same. */
enum likeness { THEIRS, SAME, SAME_BYTES, ALTERED };

static bool same_fingerprint(const struct imap_model_message *source,
			     const struct imap_model_message *copy)
{
	struct digest one, other;
	struct tap *tap;

	must(fingerprint_open(&tap) == OK);
	tap->type->update(tap, source->bytes, source->length);
	tap->type->end(tap, &one);
	tap->type->begin(tap);
	tap->type->update(tap, copy->bytes, copy->length);
	tap->type->end(tap, &other);
	tap->type->close(&tap);
	return !fingerprint_is_none(&one) && memcmp(&one, &other, sizeof one) == 0;
}

static bool is_like(const struct world *world, const struct imap_model_message *source,
		    const struct imap_model_message *copy, enum likeness likeness)
{
	uint8_t *altered;
	bool alike;

	if (copy->foreign != (likeness == THEIRS))
		return false;
	if (copy->foreign && (!world->existing || strstr(copy->flags, "\\Deleted")))
		return false;
	if (copy->foreign && world->existing == SINK_EXISTING_FINGERPRINT)
		return same_fingerprint(source, copy);
	if (copy->foreign)
		return is_as_it_was(source, copy);
	if (likeness != ALTERED)
		return (is_as_it_was(source, copy) || (world->wrap && is_inside(source, copy))) &&
		       (likeness != SAME || same_facts(world, source, copy));
	if (source->length != copy->length)
		return false;
	altered = malloc(source->length + 1);
	must(altered);
	bytes_copy(altered, source->bytes, source->length, BYTES_META);
	imap_store_alter(altered, source->length);
	alike = memcmp(altered, copy->bytes, copy->length) == 0;
	free(altered);
	return alike;
}

static const struct imap_model_box *place_of(const struct world *world, unsigned b, unsigned *index)
{
	const char *raw = world->imap.boxes[b].raw;

	if (world->place_of)
		raw = world->place_of(raw);
	for (*index = 0; *index < world->target->boxes_count; ++*index)
		if (strcmp(world->target->boxes[*index].raw, raw) == 0)
			return &world->target->boxes[*index];
	return NULL;
}

/* The source's message finds a copy of its own. */
static void claim(struct judge *judge, unsigned b, unsigned m, enum likeness likeness)
{
	const struct imap_model_message *message = &judge->world->imap.boxes[b].messages[m];
	unsigned t;
	const struct imap_model_box *box = place_of(judge->world, b, &t);

	for (unsigned i = 0; box && i < box->messages_count; i++)
		if (!judge->claimed[t][i] &&
		    is_like(judge->world, message, &box->messages[i], likeness)) {
			judge->claimed[t][i] = judge->found[b][m] = true;
			return;
		}
}

static void judge_message(struct judge *judge, unsigned b, unsigned m, enum likeness likeness)
{
	const struct imap_model_box *box = &judge->world->imap.boxes[b];
	bool was_found = judge->found[b][m];

	if (was_found || judge->fates[b][m] == SKIPPED ||
	    (likeness == ALTERED && judge->fates[b][m] != DOUBTFUL))
		return;
	claim(judge, b, m, likeness);
	if (!judge->found[b][m])
		return;
	judge->moved += judge->fates[b][m] == EXPECTED;
	if (likeness == SAME_BYTES)
		world_fault(judge->world, "message %u of \"%s\" has other flags or another date",
			    box->messages[m].uid, box->name);
}

/* Those that are there whole first, so that no other takes their copies; those that are gone from
 * the source last. */
static void judge_messages(struct judge *judge)
{
	const struct imap_model *model = &judge->world->imap;

	for (unsigned pass = 0; pass < 2 * (ALTERED + 1); pass++)
		for (unsigned b = 0; b < model->boxes_count; b++)
			for (unsigned m = 0; m < model->boxes[b].messages_count; m++)
				if (model->boxes[b].messages[m].gone == (pass > ALTERED))
					judge_message(judge, b, m,
						      (enum likeness)(pass % (ALTERED + 1)));
}

static void judge_missing(struct judge *judge)
{
	const struct imap_model *model = &judge->world->imap;

	for (unsigned b = 0; b < model->boxes_count; b++)
		for (unsigned m = 0; m < model->boxes[b].messages_count; m++)
			if (!judge->found[b][m] && !judge->refused[b] &&
			    judge->fates[b][m] != SKIPPED && !model->boxes[b].messages[m].gone)
				world_fault(judge->world,
					    "message %u of \"%s\" is not at the destination",
					    model->boxes[b].messages[m].uid, model->boxes[b].name);
}

static void judge_surplus(struct judge *judge)
{
	const struct imap_model *target = judge->world->target;
	unsigned foreign = 0;

	for (unsigned b = 0; b < target->boxes_count; b++)
		for (unsigned m = 0; m < target->boxes[b].messages_count; m++) {
			const struct imap_model_message *message = &target->boxes[b].messages[m];

			foreign += message->foreign;
			if (!message->foreign && !judge->claimed[b][m])
				world_fault(judge->world,
					    "message %u of the destination's \"%s\" is nobody's, "
					    "or one copy too many",
					    message->uid, target->boxes[b].raw);
		}
	if (foreign != target->store->foreign_no)
		world_fault(judge->world, "of %u messages of others, %u are there",
			    target->store->foreign_no, foreign);
}

/* ---- where the ledger says that they lie ---- */

static const struct imap_model_message *source_message(const struct world *world, const char *name,
						       uint64_t uid)
{
	for (unsigned b = 0; b < world->imap.boxes_count; b++) {
		const struct imap_model_box *box = &world->imap.boxes[b];

		for (unsigned m = 0; m < box->messages_count; m++)
			if (strcmp(box->name, name) == 0 && box->messages[m].uid == uid)
				return &box->messages[m];
	}
	return NULL;
}

static const struct imap_model_message *target_message(const struct world *world, const char *raw,
						       uint64_t epoch, uint64_t uid)
{
	for (unsigned b = 0; b < world->target->boxes_count; b++) {
		const struct imap_model_box *box = &world->target->boxes[b];

		for (unsigned m = 0; m < box->messages_count; m++)
			if (strcmp(box->raw, raw) == 0 && box->epoch == epoch &&
			    box->messages[m].uid == uid)
				return &box->messages[m];
	}
	return NULL;
}

/* A row: box, no, state, target_box, target_epoch, target_no, form, found. Another message of the
 * same bytes is as good. Without UIDPLUS nobody may know, nor where the server lies. */
static void judge_row(struct judge *judge, sqlite3_stmt *row)
{
	const char *name = (const char *)sqlite3_column_text(row, 0),
		   *state = (const char *)sqlite3_column_text(row, 2),
		   *raw = (const char *)sqlite3_column_text(row, 3);
	uint64_t no = (uint64_t)sqlite3_column_int64(row, 1),
		 epoch = (uint64_t)sqlite3_column_int64(row, 4),
		 uid = (uint64_t)sqlite3_column_int64(row, 5);
	const struct imap_store *store = judge->world->target->store;
	const struct imap_model_message *message = source_message(judge->world, name, no),
					*copy = target_message(judge->world, raw, epoch, uid);

	if ((uid == 0 && (!store->uidplus || store->tells)) ||
	    store->tells == IMAP_STORE_TELLS_HIGH)
		return;
	if (store->tells == IMAP_STORE_TELLS_SAME && uid == IMAP_STORE_SAME_UID) {
		/* Once in a group, of which a run has one for each folder, it may be true. */
		if (++judge->lies_believed == judge->world->process_no * BOXES_LIED_ABOUT + 1)
			world_fault(judge->world,
				    "the ledger believes one UID of too many messages");
		return;
	}
	if (!message || !copy ||
	    !is_like(judge->world, message, copy,
		     copy->foreign		   ? THEIRS
		     : strcmp(state, "moved") == 0 ? SAME_BYTES
						   : ALTERED))
		world_fault(judge->world,
			    "the ledger says that message %llu of \"%s\" is number %llu of \"%s\" "
			    "(%llu)",
			    (unsigned long long)no, name, (unsigned long long)uid, raw,
			    (unsigned long long)epoch);
	else if (strcmp(state, "moved") == 0 && !*(const char *)sqlite3_column_text(row, 7) &&
		 is_as_it_was(message, copy) != (sqlite3_column_int(row, 6) == MAIL_AS_IT_IS))
		world_fault(judge->world,
			    "the ledger is wrong about whether message %llu of \"%s\" is wrapped",
			    (unsigned long long)no, name);
}

static void judge_places(struct judge *judge)
{
	char path[WORLD_PATH_BYTES_MAX];
	sqlite3_stmt *row = NULL;
	sqlite3 *db = NULL;

	snprintf(path, sizeof path, "%s/ledger.db", world_state_path);
	if (sqlite3_open(path, &db) ||
	    sqlite3_prepare_v2(
		    db,
		    "SELECT box, no, state, target_box, target_epoch, target_no, form, found"
		    " FROM message WHERE state IN ('moved', 'doubtful') AND source = ?1",
		    -1, &row, NULL) ||
	    sqlite3_bind_text(row, 1, world_source_shown, -1, SQLITE_STATIC))
		world_fault(judge->world, "reading the ledger's places: %s", sqlite3_errmsg(db));
	while (row && sqlite3_step(row) == SQLITE_ROW)
		judge_row(judge, row);
	sqlite3_finalize(row);
	/* Also of a message that is a wrapper, and its original that we wrapped: the same bytes. */
	if (sqlite3_prepare_v2(db,
			       "SELECT 1 FROM message WHERE state IN ('moved', 'doubtful') AND"
			       " target_no > 0 GROUP BY target_box, target_no"
			       " HAVING count(*) > 1",
			       -1, &row, NULL) ||
	    sqlite3_step(row) != SQLITE_DONE)
		world_fault(judge->world, "the ledger says that two messages are one copy");
	sqlite3_finalize(row);
	sqlite3_close(db);
}

/* ---- */

static void judge_boxes(struct judge *judge)
{
	const struct world *world = judge->world;

	for (unsigned b = 0; b < world->imap.boxes_count; b++) {
		const struct imap_model_box *box = &world->imap.boxes[b], *place;
		unsigned t;

		if (box->gone || judge->refused[b] || strstr(box->attributes, "\\Noselect"))
			continue;
		place = place_of(world, b, &t);
		if (!place)
			world_fault(judge->world, "folder \"%s\" is not at the destination",
				    box->name);
		else if (box->subscribed && !place->subscribed)
			world_fault(judge->world, "folder \"%s\" is not subscribed", place->raw);
	}
}

static enum err judge_all(void *argument)
{
	struct judge *judge = argument;
	struct ledger_totals totals;
	enum err e = read_ledger(judge, &totals);

	if (e) {
		world_fault(judge->world, "reading the ledger: %s %s", err_name(e),
			    err_note()->text);
		err_note_clear();
		return OK;
	}
	imap_store_settle(judge->world->target);
	judge_boxes(judge);
	judge_messages(judge);
	judge_missing(judge);
	judge_surplus(judge);
	judge_places(judge);
	judge_totals(judge, &totals);
	return OK;
}

bool world_judge_target(struct world *world)
{
	struct judge *judge = calloc(1, sizeof *judge);
	bool good;

	must(judge);
	judge->world = world;
	good = world_judge_by(world, judge_all, judge);
	free(judge);
	return good;
}
