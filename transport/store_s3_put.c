/* See store_s3_put.h. Nothing is seen of an upload before it is completed, so what store_dir.c has
 * a temporary name for needs none. A part is filled while those before it are on their way: sent by
 * the fibers that serve the store, several at once and answered in any order, or, where nobody
 * serves, by who fills. docs/FORMAT.md section 11 has the order. */
#include "transport/store_s3_put.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/budget.h"
#include "engine/clock.h"
#include "engine/limits.h"
#include "transport/store_s3_part.h"

enum {
	/* Of each so many parts the next are twice as long: 300 GB with parts of 8 MiB. */
	PARTS_DOUBLE_AFTER = S3_PARTS_MAX / 4,
	PARTS_ROOM_LEAST = 16,
};
/* Each send has its own deadline; this only makes waiting for one of another fiber a bounded wait.
 */
#define WAIT_NS (3600 * NSEC_SECOND)

_Static_assert((int)UPLOAD_PART_BYTES_LEAST >= (int)S3_PART_BYTES_MIN, "S3 takes them");

struct store_put {
	struct store_s3_place *place;
	char key[STORE_KEY_BYTES_MAX + 1];
	char upload_id[S3_UPLOAD_ID_BYTES_MAX + 1]; /* "": none was begun */
	struct store_s3_part *filling; /* NULL: none was to be had, and it has failed */
	struct store_s3_part *kept;    /* has left, and holds what lies before the mark; or NULL */
	unsigned flying;	       /* parts */
	bool sealed, given_up;
	unsigned numbers; /* given to parts so far */
	/* Parts that have left and count, in order, and where in the object each ends. They land in
	 * any order; only then a row has its ETag and checksum. */
	struct s3_part_sent *sent;
	uint64_t *ends;
	size_t sent_count, sent_room;
	unsigned sent_highest; /* number of a part */
	uint64_t mark;
	enum err failed; /* the first that did, in whichever fiber */
	char failed_why[ERR_NOTE_BYTES_MAX];
	struct wait_queue landed;
	struct store_put *next; /* of those that were given up */
};

/* ---- parts ---- */

static size_t part_bytes_usual(const struct store_s3_place *place)
{
	return place->config->part_bytes ? place->config->part_bytes : budget()->part_bytes;
}

static size_t part_bytes_least(const struct store_s3_place *place)
{
	return place->config->part_bytes_least ? place->config->part_bytes_least
					       : S3_PART_BYTES_MIN;
}

static enum err part_number(struct store_put *put, struct store_s3_part *part)
{
	if (put->numbers == S3_PARTS_MAX)
		return RAISE(ERR_SINK_TOOBIG, "%s needs more than %d parts", put->key,
			     S3_PARTS_MAX);
	part->number = ++put->numbers;
	return OK;
}

/* Rows for two parts more: the one being filled, and the one after it. */
static enum err sent_provide(struct store_put *put)
{
	size_t room = put->sent_room ? 2 * put->sent_room : PARTS_ROOM_LEAST;
	struct s3_part_sent *sent;
	uint64_t *ends;

	if (put->sent_count + 2 <= put->sent_room)
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

/* Suspends where all memory for parts is in use. */
static enum err part_make(struct store_put *put, struct store_s3_part **part)
{
	struct store_s3_place *place = put->place;
	size_t room = part_bytes_usual(place) << put->numbers / PARTS_DOUBLE_AFTER;
	enum err e;

	*part = NULL;
	if ((e = sent_provide(put)) || (e = store_s3_part_take(place, room, part)))
		return e;
	(*part)->put = put;
	if ((e = part_number(put, *part)))
		store_s3_part_give(place, part);
	return e;
}

/* One that is on its way is given back when it has landed. */
static void kept_forget(struct store_put *put)
{
	if (put->kept && !put->kept->flies)
		store_s3_part_give(put->place, &put->kept);
	put->kept = NULL;
}

static void parts_free(struct store_put *put)
{
	store_s3_part_give(put->place, &put->filling);
	kept_forget(put);
}

static void put_free(struct store_put *put)
{
	must(put->flying == 0);
	parts_free(put);
	free(put->sent);
	free(put->ends);
	free(put);
}

/* ---- beginning and giving up ---- */

/* Its upload is ended by who serves, by finish(), or by the next run. */
static void give_up(struct store_put *put)
{
	put->next = put->place->given_up;
	put->place->given_up = put;
	wake_one(&put->place->work);
}

void store_s3_put_abort(struct store_put **put_at)
{
	struct store_put *put = *put_at;

	*put_at = NULL;
	if (!put)
		return;
	put->given_up = true;
	parts_free(put);
	if (!put->upload_id[0])
		put_free(put);
	else if (put->flying == 0) /* else when all have landed */
		give_up(put);
}

static struct store_put *given_up_take(struct store_s3_place *place)
{
	struct store_put *put = place->given_up;

	place->given_up = put->next;
	return put;
}

enum err store_s3_put_end_given_up(struct store_s3_place *place, nsec until)
{
	char full[S3_KEY_BYTES_MAX + 1];
	struct store_put *put;
	enum err e = OK;

	while (place->given_up && !e) {
		put = given_up_take(place);
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
		put_free(given_up_take(place));
}

enum err store_s3_put_open(struct store_s3_place *place, const char *key,
			   const struct s3_metadata *metadata, size_t metadata_count,
			   struct store_put **out)
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
	if (!e && (e = s3_upload_begin(place->s3,
				       &(struct s3_begin){ .key = store_s3_key(full, place, key),
							   .metadata = metadata,
							   .metadata_count = metadata_count },
				       store_s3_patience(), put->upload_id)))
		put->upload_id[0] = '\0';
	if (e)
		store_s3_put_abort(out);
	return store_s3_error(e);
}

/* ---- sending ---- */

/* What failed in one fiber fails in the others, with the same words. */
static enum err has_failed(const struct store_put *put)
{
	return put->failed ? RAISE(put->failed, "%s", put->failed_why) : OK;
}

static enum err fails(struct store_put *put, enum err e)
{
	if (e && !put->failed) {
		put->failed = e;
		snprintf(put->failed_why, sizeof put->failed_why, "%s", err_note()->text);
	}
	return e;
}

static enum err wait_landed(struct store_put *put)
{
	enum err e = OK;

	while (put->flying > 0 && !e)
		e = wait_on(&put->landed, clock_after(WAIT_NS));
	return e ? e : has_failed(put);
}

static enum err part_send(const struct store_s3_part *part)
{
	struct store_put *put = part->put;
	struct store_s3_place *place = put->place;
	char full[S3_KEY_BYTES_MAX + 1];
	const struct text piece = { (const char *)part->at, part->fill };
	const struct s3_part_put sending = {
		.key = store_s3_key(full, place, put->key),
		.upload_id = put->upload_id,
		.number = part->number,
		.pieces = &piece,
		.pieces_count = 1,
		.crc = crc_update(place->checksum, 0, part->at, part->fill),
	};
	struct s3_part_sent *sent;
	struct s3_stored stored;
	enum err e;

	if ((e = s3_upload_part(place->s3, &sending, store_s3_patience(), &stored)))
		return e == ERR_S3_ABSENT
			       ? store_s3_instead(ERR_SINK_DAMAGED, put->key,
						  "cannot be written, for somebody has aborted its "
						  "upload")
			       : e;
	sent = &put->sent[part->row];
	sent->crc = sending.crc;
	snprintf(sent->etag, sizeof sent->etag, "%s", stored.etag);
	sent->etag_is_md5 = stored.proof == S3_PROOF_ETAG;
	return OK;
}

/* Send it and say so to who waits. Of what has failed or was given up nothing more is sent. The put
 * may be gone then. */
static void part_fly(struct store_s3_part *part)
{
	struct store_put *put = part->put;

	if (!put->given_up && !put->failed && fails(put, part_send(part)))
		err_note_clear();
	part->flies = false;
	put->flying--;
	if (part != put->kept)
		store_s3_part_give(put->place, &part);
	if (!put->given_up)
		wake_all(&put->landed);
	else if (put->flying == 0)
		give_up(put);
}

/* What was filled is on its way, and nothing is filled. */
static struct store_s3_part *part_start(struct store_put *put)
{
	struct store_s3_part *part = put->filling;

	must(put->sent_count < put->sent_room);
	part->row = put->sent_count;
	part->flies = true;
	put->sent[part->row] = (struct s3_part_sent){ .number = part->number };
	put->ends[put->sent_count++] = part->base + part->fill;
	put->sent_highest = (unsigned)max_u64(put->sent_highest, part->number);
	put->flying++;
	put->filling = NULL;
	return part;
}

/* It waits for one of those who send; who fills does where there are none. */
static void part_hand_over(struct store_s3_part *part)
{
	struct store_s3_place *place = part->put->place;
	struct store_s3_part **last = &place->waiting;

	if (place->senders == 0) {
		part_fly(part);
		return;
	}
	while (*last)
		last = &(*last)->next;
	part->next = NULL;
	*last = part;
	wake_one(&place->work);
}

/* One that sends. It leaves nobody's part behind: who hands one over sees that somebody sends. */
static enum err send_parts(void *argument)
{
	struct store_s3_place *place = argument;
	struct store_s3_part *part;
	enum err e = OK;

	place->senders++;
	while (e != ERR_FIBER_CANCELED || place->waiting) {
		err_note_clear();
		if ((part = place->waiting)) {
			place->waiting = part->next;
			part_fly(part);
		} else if (place->given_up) { /* what fails here is left to the next run */
			e = store_s3_put_end_given_up(place, store_s3_patience());
		} else {
			e = wait_on(&place->work, clock_after(WAIT_NS));
		}
	}
	place->senders--;
	return e;
}

/* With fewer where there is no room for a fiber. */
enum err store_s3_put_serve(struct store_s3_place *place)
{
	struct group *others = group_open();
	enum err e = OK;

	must(place->senders == 0);
	for (unsigned i = 1; i < budget()->uploads && !e; i++)
		e = group_spawn(others, "store.part", FIBER_STACK_LARGE, send_parts, place);
	e = send_parts(place);
	group_cancel(others);
	(void)!group_join(&others);
	return e;
}

/* ---- filling ---- */

/* Bytes of the part that lie before a mark inside of it. */
static size_t before_mark(const struct store_put *put)
{
	const struct store_s3_part *part = put->filling;

	return put->mark > part->base && put->mark < part->base + part->fill
		       ? put->mark - part->base
		       : 0;
}

/* The full part, up to the mark inside of it, and the rest in the next one. */
static enum err part_cut(struct store_put *put, size_t before, struct store_s3_part **next)
{
	struct store_s3_part *full = put->filling;
	enum err e;

	if ((e = part_make(put, next)))
		return e;
	(*next)->fill = full->fill - before;
	bytes_copy((*next)->at, full->at + before, (*next)->fill, BYTES_STORE);
	full->fill = before;
	return OK;
}

/* The full part leaves. One that is long enough to be a part of its own ends at the mark; else what
 * lies before the mark is kept, so that taking back needs no reading. It leaves before the next is
 * waited for (store_s3_part.h); where it is cut nothing is kept. */
static enum err part_leave(struct store_put *put)
{
	struct store_s3_part *next = NULL;
	size_t before = before_mark(put);
	uint64_t end;
	enum err e;

	if ((e = has_failed(put)))
		return e;
	if (before >= part_bytes_least(put->place))
		e = part_cut(put, before, &next);
	else if (before > 0)
		put->kept = put->filling;
	if (e)
		return fails(put, e);
	end = put->filling->base + put->filling->fill;
	part_hand_over(part_start(put));
	if (!next && (e = part_make(put, &next)))
		return fails(put, e);
	next->base = end;
	put->filling = next;
	return has_failed(put);
}

void *store_s3_put_room(struct store_put *put, size_t *bytes)
{
	must(!put->sealed && put->filling && put->filling->fill < put->filling->room);
	*bytes = put->filling->room - put->filling->fill;
	return put->filling->at + put->filling->fill;
}

enum err store_s3_put_took(struct store_put *put, size_t n)
{
	must(!put->sealed && n <= put->filling->room - put->filling->fill);
	put->filling->fill += n;
	return put->filling->fill < put->filling->room ? OK : part_leave(put);
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
	enum err e;

	must(!put->sealed);
	if ((e = has_failed(put)))
		return e;
	put->mark = put->filling->base + put->filling->fill;
	kept_forget(put);
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
	return part_number(put, put->filling);
}

/* Parts behind the mark are forgotten. */
enum err store_s3_put_rewind(struct store_put *put, uint64_t bytes)
{
	uint64_t start;
	enum err e;

	must(!put->sealed && bytes == put->mark);
	if ((e = has_failed(put)))
		return e;
	if (bytes >= put->filling->base) {
		must(bytes <= put->filling->base + put->filling->fill);
		put->filling->fill = bytes - put->filling->base;
		return OK;
	}
	if ((e = wait_landed(put)))
		return e;
	while (put->sent_count > 0 && put->ends[put->sent_count - 1] > bytes)
		put->sent_count--;
	start = put->sent_count > 0 ? put->ends[put->sent_count - 1] : 0;
	if (start < bytes) {
		must(put->kept && put->kept->base == start);
		store_s3_part_give(put->place, &put->filling);
		put->filling = put->kept;
		put->kept = NULL;
	}
	put->filling->base = start;
	put->filling->fill = bytes - start;
	return number_again(put);
}

/* ---- the end ---- */

/* An object has one part at least. Who seals sends the last one, beside those on their way. */
enum err store_s3_put_seal(struct store_put *put)
{
	enum err e;

	must(!put->sealed);
	if ((e = has_failed(put)))
		return e;
	kept_forget(put);
	if (put->filling->fill > 0 || put->sent_count == 0)
		part_fly(part_start(put));
	if ((e = wait_landed(put)))
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
		crc = crc_combine(put->place->checksum, crc, put->sent[i].crc, put->ends[i] - from);
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
	struct s3_about about;
	enum err e = s3_head(put->place->s3, complete->key, store_s3_patience(), &about);

	if (e == ERR_S3_ABSENT) {
		err_note_clear();
		return OK;
	}
	return e ? e : RAISE(ERR_DISK_EXISTS, "%s%s is there already", put->place->name, put->key);
}

/* Ceph's radosgw 16 says no ETag when an upload is completed, but has one. */
static enum err prove(struct store_put *put, const struct s3_complete *complete, const char *etag)
{
	struct s3_about *about = malloc(sizeof *about);
	enum err e = OK;
	bool is_proved;

	if (!about)
		return RAISE(ERR_MEMORY_EXHAUSTED, "proving %s", put->key);
	if (!*etag)
		e = s3_head(put->place->s3, complete->key, store_s3_patience(), about);
	is_proved = !e && store_s3_etag_is_of_parts(complete, *etag ? etag : about->etag);
	free(about);
	if (is_proved)
		store_s3_proved(put->place, STORE_S3_BY_ETAG);
	if (is_proved || (e && e != ERR_S3_ABSENT))
		return e;
	err_note_clear();
	return store_s3_prove(put->place, put->key, complete->bytes, complete->crc);
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
		e = prove(put, &complete, stored.etag);
	else if (!e)
		store_s3_proved(put->place, store_s3_proof_of(put->place, stored.proof));
	if (e)
		return e;
	store_s3_was_stored(put->place, put->key, complete.bytes, complete.crc);
	put_free(put);
	*put_at = NULL;
	return OK;
}
