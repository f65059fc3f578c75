/* See store_s3_put.h. Nothing is seen of an upload before it is completed, so what store_dir.c has
 * a temporary name for needs none. A part is filled while the one before it is on its way: sent by
 * who serves the store, or, where nobody does, by who fills. docs/FORMAT.md section 11 has the
 * order. */
#include "transport/store_s3_put.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/budget.h"
#include "engine/clock.h"
#include "engine/limits.h"

enum {
	/* Of each so many parts the next are twice as long: 300 GB with parts of 8 MiB. */
	PARTS_DOUBLE_AFTER = S3_PARTS_MAX / 4,
	PARTS_ROOM_LEAST = 16,
};
/* Each send has its own deadline; this only makes waiting for one of another fiber a bounded wait.
 */
#define WAIT_NS (3600 * NSEC_SECOND)

_Static_assert((int)UPLOAD_PART_BYTES_LEAST >= (int)S3_PART_BYTES_MIN, "S3 takes them");

struct part {
	uint8_t *at;
	size_t room, fill;
	uint64_t base; /* its place in the object */
	unsigned number;
};

struct store_put {
	struct store_s3_place *place;
	char key[STORE_KEY_BYTES_MAX + 1];
	char upload_id[S3_UPLOAD_ID_BYTES_MAX + 1]; /* "": none was begun */
	struct part filling;
	struct part flying; /* memory while it is on its way */
	bool flies, keep;   /* it is on its way; what lies before the mark is wanted after that */
	bool sealed, given_up;
	unsigned sent_highest; /* number of a part */
	struct part kept;      /* sent, and holds what lies before the mark; or no memory */
	unsigned numbers;      /* given to parts so far */
	/* Parts that count, in order, and where in the object each ends. */
	struct s3_part_sent *sent;
	uint64_t *ends;
	size_t sent_count, sent_room;
	uint64_t mark;
	enum err failed; /* what was sent by another fiber */
	char failed_why[ERR_NOTE_BYTES_MAX];
	struct wait_queue landed;
	struct store_put *next; /* of the place's list that it is in */
};

/* ---- memory ---- */

static size_t part_bytes_usual(const struct store_s3_place *place)
{
	return place->config->part_bytes ? place->config->part_bytes : budget()->part_bytes;
}

static size_t part_bytes_least(const struct store_s3_place *place)
{
	return place->config->part_bytes_least ? place->config->part_bytes_least
					       : S3_PART_BYTES_MIN;
}

static void memory_free(void *at, size_t room)
{
	if (at)
		budget_give(BUDGET_WRITES, room);
	free(at);
}

/* One of the usual size is left to the next that needs one. */
static void part_free(struct store_s3_place *place, struct part *part)
{
	if (part->at && !place->spare && part->room == part_bytes_usual(place))
		place->spare = part->at;
	else
		memory_free(part->at, part->room);
	*part = (struct part){ 0 };
}

static enum err part_number(struct store_put *put, struct part *part)
{
	if (put->numbers == S3_PARTS_MAX)
		return RAISE(ERR_SINK_TOOBIG, "%s needs more than %d parts", put->key,
			     S3_PARTS_MAX);
	part->number = ++put->numbers;
	return OK;
}

static enum err part_make(struct store_put *put, struct part *part)
{
	struct store_s3_place *place = put->place;
	unsigned doublings = put->numbers / PARTS_DOUBLE_AFTER;
	enum err e;

	*part = (struct part){ .room = part_bytes_usual(place) << doublings };
	if ((e = part_number(put, part)))
		return e;
	if (doublings == 0 && place->spare) {
		part->at = place->spare;
		place->spare = NULL;
		return OK;
	}
	if (!(part->at = malloc(part->room)))
		return RAISE(ERR_MEMORY_EXHAUSTED, "writing %s", put->key);
	budget_take(BUDGET_WRITES, part->room);
	return OK;
}

static void parts_free(struct store_put *put)
{
	part_free(put->place, &put->filling);
	part_free(put->place, &put->flying);
	part_free(put->place, &put->kept);
}

static void put_free(struct store_put *put)
{
	parts_free(put);
	free(put->sent);
	free(put->ends);
	free(put);
}

/* ---- beginning and giving up ---- */

static void list_add(struct store_put **list, struct store_put *put)
{
	while (*list)
		list = &(*list)->next;
	put->next = NULL;
	*list = put;
}

static struct store_put *list_take(struct store_put **list)
{
	struct store_put *put = *list;

	*list = put->next;
	return put;
}

/* Its upload is ended by who serves, by finish(), or by the next run. */
static void give_up(struct store_put *put)
{
	parts_free(put);
	list_add(&put->place->given_up, put);
	wake_all(&put->place->work);
}

void store_s3_put_abort(struct store_put **put_at)
{
	struct store_put *put = *put_at;

	*put_at = NULL;
	if (!put)
		return;
	put->given_up = true;
	if (!put->upload_id[0])
		put_free(put);
	else if (!put->flies) /* else when it has landed */
		give_up(put);
}

enum err store_s3_put_end_given_up(struct store_s3_place *place, nsec until)
{
	char full[S3_KEY_BYTES_MAX + 1];
	struct store_put *put;
	enum err e = OK;

	while (place->given_up && !e) {
		put = list_take(&place->given_up);
		e = store_s3_upload_end(place, store_s3_key(full, place, put->key), put->upload_id,
					until);
		put_free(put);
	}
	return e;
}

void store_s3_put_forget(struct store_s3_place *place)
{
	must(!place->waiting);
	while (place->given_up)
		put_free(list_take(&place->given_up));
	memory_free(place->spare, part_bytes_usual(place));
	place->spare = NULL;
}

enum err store_s3_put_open(struct store_s3_place *place, const char *key, struct store_put **out)
{
	char full[S3_KEY_BYTES_MAX + 1];
	struct store_put *put = calloc(1, sizeof *put);
	enum err e;

	must(place->lock != NULL && store_key_is_valid(text_of(key)));
	*out = put;
	if (!put)
		return RAISE(ERR_MEMORY_EXHAUSTED, "writing %s", key);
	put->place = place;
	snprintf(put->key, sizeof put->key, "%s", key);
	e = part_make(put, &put->filling);
	if (!e && (e = s3_upload_begin(place->s3, store_s3_key(full, place, key),
				       store_s3_patience(), put->upload_id)))
		put->upload_id[0] = '\0';
	if (e)
		store_s3_put_abort(out);
	return store_s3_error(e);
}

/* ---- sending ---- */

/* What failed in the fiber that sends fails in the one that fills, with the same words. */
static enum err has_failed(const struct store_put *put)
{
	return put->failed ? RAISE(put->failed, "%s", put->failed_why) : OK;
}

static enum err wait_landed(struct store_put *put)
{
	enum err e = OK;

	while (put->flies && !e)
		e = wait_on(&put->landed, clock_after(WAIT_NS));
	return e ? e : has_failed(put);
}

static enum err sent_provide(struct store_put *put)
{
	size_t room = put->sent_room ? 2 * put->sent_room : PARTS_ROOM_LEAST;
	struct s3_part_sent *sent;
	uint64_t *ends;

	if (put->sent_count < put->sent_room)
		return OK;
	if ((sent = realloc(put->sent, room * sizeof *sent)))
		put->sent = sent;
	if ((ends = realloc(put->ends, room * sizeof *ends)))
		put->ends = ends;
	if (!sent || !ends)
		return RAISE(ERR_MEMORY_EXHAUSTED, "writing %s", put->key);
	put->sent_room = room;
	return OK;
}

static enum err part_send(struct store_put *put)
{
	const struct part *part = &put->flying;
	struct store_s3_place *place = put->place;
	char full[S3_KEY_BYTES_MAX + 1];
	const struct text piece = { (const char *)part->at, part->fill };
	const struct s3_part_put sending = {
		.key = store_s3_key(full, place, put->key),
		.upload_id = put->upload_id,
		.number = part->number,
		.pieces = &piece,
		.pieces_count = 1,
		.crc = crc_update(place->config->s3.checksum, 0, part->at, part->fill),
	};
	struct s3_part_sent *sent;
	struct s3_stored stored;
	enum err e;

	put->sent_highest = (unsigned)max_u64(put->sent_highest, part->number);
	if ((e = sent_provide(put)) ||
	    (e = s3_upload_part(place->s3, &sending, store_s3_patience(), &stored)))
		return e == ERR_S3_ABSENT
			       ? store_s3_instead(ERR_SINK_DAMAGED, put->key,
						  "cannot be written, for somebody has aborted its "
						  "upload")
			       : e;
	sent = &put->sent[put->sent_count];
	sent->number = sending.number;
	sent->crc = sending.crc;
	snprintf(sent->etag, sizeof sent->etag, "%s", stored.etag);
	put->ends[put->sent_count++] = part->base + part->fill;
	return OK;
}

/* Send it and say so to who waits. */
static void part_fly(struct store_put *put)
{
	enum err e = put->given_up ? OK : part_send(put);

	if (e && !put->failed) {
		put->failed = e;
		snprintf(put->failed_why, sizeof put->failed_why, "%s", err_note()->text);
	}
	if (e)
		err_note_clear();
	if (put->keep) {
		part_free(put->place, &put->kept);
		put->kept = put->flying;
		put->flying = (struct part){ 0 };
	}
	part_free(put->place, &put->flying);
	put->flies = put->keep = false;
	if (put->given_up)
		give_up(put);
	else
		wake_all(&put->landed);
}

/* The filled part is on its way; nothing else is. Who fills sends it, where nobody else does. */
static enum err part_start(struct store_put *put, bool by_server)
{
	struct store_s3_place *place = put->place;

	must(!put->flies && !put->flying.at);
	put->flying = put->filling;
	put->filling = (struct part){ 0 };
	put->flies = true;
	if (by_server) {
		list_add(&place->waiting, put);
		wake_all(&place->work);
		return OK;
	}
	part_fly(put);
	return has_failed(put);
}

enum err store_s3_put_serve(struct store_s3_place *place)
{
	enum err e = OK;

	must(!place->is_served);
	place->is_served = true;
	while (e != ERR_FIBER_CANCELED || place->waiting) {
		err_note_clear();
		if (place->waiting)
			part_fly(list_take(&place->waiting));
		else if (place->given_up) /* what fails here is left to the next run */
			e = store_s3_put_end_given_up(place, store_s3_patience());
		else
			e = wait_on(&place->work, clock_after(WAIT_NS));
	}
	place->is_served = false;
	return e;
}

/* ---- filling ---- */

/* Bytes of the part that lie before a mark inside of it. */
static size_t before_mark(const struct store_put *put)
{
	const struct part *part = &put->filling;

	return put->mark > part->base && put->mark < part->base + part->fill
		       ? put->mark - part->base
		       : 0;
}

/* The full part leaves. One that is long enough to be a part of its own ends at the mark; else what
 * lies before the mark is kept, so that taking back needs no reading. */
static enum err part_leave(struct store_put *put)
{
	size_t before = before_mark(put);
	struct part next;
	enum err e;

	if ((e = wait_landed(put)) || (e = part_make(put, &next)))
		return e;
	put->keep = before > 0 && before < part_bytes_least(put->place);
	if (before > 0 && !put->keep) {
		next.fill = put->filling.fill - before;
		bytes_copy(next.at, put->filling.at + before, next.fill, BYTES_STORE);
		put->filling.fill = before;
	}
	next.base = put->filling.base + put->filling.fill;
	e = part_start(put, put->place->is_served);
	put->filling = next;
	return e;
}

void *store_s3_put_room(struct store_put *put, size_t *bytes)
{
	must(!put->sealed && put->filling.fill < put->filling.room);
	*bytes = put->filling.room - put->filling.fill;
	return put->filling.at + put->filling.fill;
}

enum err store_s3_put_took(struct store_put *put, size_t n)
{
	must(!put->sealed && n <= put->filling.room - put->filling.fill);
	put->filling.fill += n;
	return put->filling.fill < put->filling.room ? OK : part_leave(put);
}

enum err store_s3_put_write(struct store_put *put, const void *from, size_t n)
{
	const uint8_t *at = from;
	size_t room, take;
	void *to;
	enum err e = OK;

	while (n > 0 && !e) {
		to = store_s3_put_room(put, &room);
		take = min_u64(n, room);
		bytes_copy(to, at, take, BYTES_STORE);
		at += take;
		n -= take;
		e = store_s3_put_took(put, take);
	}
	return e;
}

enum err store_s3_put_mark(struct store_put *put, uint64_t *bytes)
{
	must(!put->sealed);
	put->mark = put->filling.base + put->filling.fill;
	put->keep = false;
	part_free(put->place, &put->kept);
	*bytes = put->mark;
	return OK;
}

/* The number for what is filled from here on. One that was used is not used again, so that no late
 * request replaces a part; but radosgw (16.2, seen) completes no upload of which it has parts that
 * do not count, so there the later part is to replace the earlier. Complete names ETags, so a late
 * one does not go unnoticed: InvalidPart, and all of it anew. */
static enum err number_again(struct store_put *put)
{
	if (put->place->is_careful)
		put->numbers = put->sent_count > 0 ? put->sent[put->sent_count - 1].number : 0;
	return part_number(put, &put->filling);
}

/* Parts behind the mark are forgotten. */
enum err store_s3_put_rewind(struct store_put *put, uint64_t bytes)
{
	uint64_t start;
	enum err e;

	must(!put->sealed && bytes == put->mark);
	if (bytes >= put->filling.base) {
		must(bytes <= put->filling.base + put->filling.fill);
		put->filling.fill = bytes - put->filling.base;
		return OK;
	}
	if ((e = wait_landed(put)))
		return e;
	while (put->sent_count > 0 && put->ends[put->sent_count - 1] > bytes)
		put->sent_count--;
	start = put->sent_count > 0 ? put->ends[put->sent_count - 1] : 0;
	if (start < bytes) {
		must(put->kept.at && put->kept.base == start);
		part_free(put->place, &put->filling);
		put->filling = put->kept;
		put->kept = (struct part){ 0 };
	}
	put->filling.base = start;
	put->filling.fill = bytes - start;
	return number_again(put);
}

/* ---- the end ---- */

/* An object has one part at least. */
enum err store_s3_put_seal(struct store_put *put)
{
	enum err e;

	must(!put->sealed);
	if ((e = wait_landed(put)))
		return e;
	if ((put->filling.fill > 0 || put->sent_count == 0) && (e = part_start(put, false)))
		return e;
	if (put->place->is_careful && put->sent_highest > put->sent[put->sent_count - 1].number)
		return RAISE(ERR_S3_UNAVAILABLE,
			     "%s%s is shorter than what was begun of it and taken back, which this "
			     "server cannot leave out; run again",
			     put->place->name, put->key);
	put->sealed = true;
	parts_free(put);
	return OK;
}

static uint64_t whole_crc(const struct store_put *put)
{
	uint64_t crc = 0, from = 0;

	for (size_t i = 0; i < put->sent_count; i++) {
		crc = crc_combine(put->place->config->s3.checksum, crc, put->sent[i].crc,
				  put->ends[i] - from);
		from = put->ends[i];
	}
	return crc;
}

/* The service says that it cannot be completed. It was if the answer to that was lost, and the
 * object is what it was to be. An upload that is gone after the service failed, or answered 409, is
 * to be begun anew ("CompleteMultipartUpload", ConditionalRequestConflict). */
static enum err was_completed(const struct store_put *put, const struct s3_complete *complete,
			      enum err e, bool maybe_ours)
{
	enum store_s3_there there = STORE_S3_ABSENT;
	enum err look = OK;

	err_note_clear();
	if (maybe_ours)
		look = store_s3_compare(put->place, put->key, complete->bytes, complete->crc,
					&there);
	if (look || there == STORE_S3_SAME)
		return look;
	if (e == ERR_S3_EXISTS || there == STORE_S3_OTHER)
		return RAISE(ERR_DISK_EXISTS, "%s%s is there already", put->place->name, put->key);
	if (maybe_ours)
		return RAISE(ERR_S3_UNAVAILABLE,
			     "%s%s was not stored, for the service has failed and lost its upload; "
			     "run again",
			     put->place->name, put->key);
	return RAISE(ERR_SINK_DAMAGED,
		     "%s%s was not stored, for somebody has aborted its upload; run again",
		     put->place->name, put->key);
}

static enum err check_absent(const struct store_put *put, const struct s3_complete *complete)
{
	enum store_s3_there there;
	enum err e = store_s3_compare(put->place, put->key, complete->bytes, complete->crc, &there);

	if (e || there == STORE_S3_ABSENT)
		return e;
	return RAISE(ERR_DISK_EXISTS, "%s%s is there already", put->place->name, put->key);
}

enum err store_s3_put_publish(struct store_put **put_at)
{
	struct store_put *put = *put_at;
	char full[S3_KEY_BYTES_MAX + 1];
	struct s3_stored stored;
	enum err e = OK;

	must(put->sealed);
	const struct s3_complete complete = {
		.key = store_s3_key(full, put->place, put->key),
		.upload_id = put->upload_id,
		.parts = put->sent,
		.parts_count = put->sent_count,
		.crc = whole_crc(put),
		.bytes = put->ends[put->sent_count - 1],
		.only_if_absent = true,
	};
	if (put->place->is_careful && (e = check_absent(put, &complete)))
		return e;
	e = s3_upload_complete(put->place->s3, &complete, store_s3_patience(), &stored);
	if (e == ERR_S3_EXISTS || e == ERR_S3_ABSENT)
		e = was_completed(put, &complete, e, stored.maybe_ours);
	else if (!e && stored.proof == S3_PROOF_NONE)
		e = store_s3_prove(put->place, put->key, complete.bytes, complete.crc);
	if (e)
		return e;
	store_s3_was_stored(put->place, put->key, complete.bytes, complete.crc);
	put_free(put);
	*put_at = NULL;
	return OK;
}
