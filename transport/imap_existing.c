/* Which copy is whose: for each message of a parcel, of those rows of its folder that have its key
 * and whose bytes were read back, the first that nobody has yet. */
#include "transport/imap_existing.h"

#include <stdlib.h>

#include "transport/fingerprint.h"
#include "transport/imap_existing_state.h"

enum { READING_MAX = 512 };

enum err imap_existing_open(const struct sink_config *config, struct imap_existing **out)
{
	struct imap_existing *existing = calloc(1, sizeof *existing);
	enum err e = OK;

	must(config->existing != SINK_EXISTING_NO);
	*out = existing;
	if (!existing)
		return RAISE(ERR_MEMORY_EXHAUSTED, "what lies in a destination");
	existing->config = config;
	if (!(existing->reading = calloc(READING_MAX, sizeof *existing->reading)))
		e = RAISE(ERR_MEMORY_EXHAUSTED, "what lies in a destination");
	if (!e && config->existing == SINK_EXISTING_FINGERPRINT)
		e = fingerprint_open(&existing->fingerprint);
	if (e)
		imap_existing_close(out);
	return e;
}

void imap_existing_close(struct imap_existing **taken)
{
	struct imap_existing *existing = *taken;

	*taken = NULL;
	if (!existing)
		return;
	for (struct imap_existing_box *next, *box = existing->boxes; box; box = next) {
		next = box->next;
		free(box);
	}
	existing_close(&existing->table);
	if (existing->fingerprint)
		existing->fingerprint->type->close(&existing->fingerprint);
	free(existing->reading);
	free(existing);
}

/* ---- what is wanted ---- */

static enum err read_fingerprint(struct imap_existing *existing, struct imap_parcel *parcel,
				 const struct imap_message *message,
				 struct imap_existing_wanted *wanted)
{
	struct tap *tap = existing->fingerprint;
	const uint8_t *from;
	size_t got;
	enum err e = OK;

	tap->type->begin(tap);
	for (uint64_t at = 0; !e && at < message->record.size_bytes; at += got)
		if ((e = imap_parcel_read(parcel, message, at, &from, &got)) == OK)
			tap->type->update(tap, from, got);
	tap->type->end(tap, &wanted->value);
	wanted->is_known = fingerprint_key(tap, wanted->key);
	return e;
}
_Static_assert((int)EXISTING_KEY_BYTES == (int)FINGERPRINT_KEY_BYTES, "one is the other");

static enum err find_wanted(struct imap_existing *existing, struct imap_parcel *parcel)
{
	enum err e = OK;

	for (unsigned i = 0; i < parcel->count && !e; i++) {
		const struct imap_message *message = &parcel->messages[i];
		struct imap_existing_wanted *wanted = &existing->wanted[i];

		*wanted = (struct imap_existing_wanted){ 0 };
		if (message->fate != IMAP_MESSAGE_OPEN)
			continue;
		if (existing->config->existing == SINK_EXISTING_FINGERPRINT) {
			e = read_fingerprint(existing, parcel, message, wanted);
			continue;
		}
		wanted->is_known = true;
		wanted->value = message->record.digest;
		bytes_put_le64(wanted->key, message->record.size_bytes);
	}
	return e;
}

/* ---- reading back ---- */

static int by_uid(const void *left, const void *right)
{
	const struct existing_row *a = *(struct existing_row *const *)left,
				  *b = *(struct existing_row *const *)right;

	return (a->uid > b->uid) - (a->uid < b->uid);
}

/* A copy that may be ours all the same is nobody's. */
static void take_looked(void *context, const struct imap_look_one *looked)
{
	struct imap_existing *existing = context;
	struct existing_row wanted = { .uid = looked->uid }, *key = &wanted,
			    **row = bsearch(&key, existing->reading, existing->reading_count,
					    sizeof key, by_uid);

	if (!row || existing_may_be_ours(&existing->table, existing->box, &looked->digest))
		return;
	if (existing->fingerprint && fingerprint_is_none(&looked->fingerprint))
		return;
	(*row)->value = existing->fingerprint ? looked->fingerprint : looked->digest;
	(*row)->state = EXISTING_READ;
}

/* Rows that some message wants and nobody has read, as many as are read at once. */
static void choose_rows(struct imap_existing *existing, unsigned messages)
{
	existing->reading_count = 0;
	for (unsigned i = 0; i < messages; i++) {
		struct existing_row *row;
		size_t rows = existing->wanted[i].is_known
				      ? existing_find(&existing->table, existing->box,
						      existing->wanted[i].key, &row)
				      : 0;

		for (; rows && existing->reading_count < READING_MAX; rows--, row++)
			if (row->state == EXISTING_UNREAD) {
				row->state = EXISTING_TAKEN; /* unless it is read */
				existing->reading[existing->reading_count++] = row;
			}
	}
	qsort(existing->reading, existing->reading_count, sizeof *existing->reading, by_uid);
}

static enum err read_rows(struct imap_existing *existing, struct imap_look *look,
			  const struct imap_parcel *parcel)
{
	uint32_t *uids = calloc(READING_MAX, sizeof *uids);
	enum err e = uids ? OK : RAISE(ERR_MEMORY_EXHAUSTED, "what lies in a destination");

	while (!e) {
		choose_rows(existing, parcel->count);
		if (!existing->reading_count)
			break;
		for (size_t i = 0; i < existing->reading_count; i++)
			uids[i] = existing->reading[i]->uid;
		e = imap_look_at(look, parcel->place->raw, parcel->place->uidvalidity, uids,
				 existing->reading_count, existing->fingerprint, take_looked,
				 existing);
	}
	free(uids);
	return e;
}

/* ---- matching ---- */

static bool take_copy(struct imap_existing *existing, const struct imap_existing_wanted *wanted,
		      uint32_t *uid)
{
	struct existing_row *row;
	size_t rows = wanted->is_known
			      ? existing_find(&existing->table, existing->box, wanted->key, &row)
			      : 0;

	for (; rows; rows--, row++) {
		if (row->state != EXISTING_READ ||
		    memcmp(&row->value, &wanted->value, sizeof row->value) != 0)
			continue;
		row->state = EXISTING_TAKEN;
		*uid = row->uid;
		return true;
	}
	return false;
}

static void take_copies(struct imap_existing *existing, struct imap_parcel *parcel)
{
	bool alike = existing->config->existing == SINK_EXISTING_FINGERPRINT;

	for (unsigned i = 0; i < parcel->count; i++) {
		struct imap_message *message = &parcel->messages[i];

		if (!take_copy(existing, &existing->wanted[i], &message->uid))
			continue;
		message->found = alike ? SINK_FOUND_ALIKE : SINK_FOUND_SAME;
		if (alike)
			message->fingerprint = existing->wanted[i].value;
		imap_parcel_settle(parcel, i, IMAP_MESSAGE_FOUND, OK);
	}
}

/* ---- folders ---- */

static enum err list_box(struct imap_existing *existing, struct imap_session *session,
			 struct imap_place *place)
{
	struct imap_existing_box *box = calloc(1, sizeof *box);
	enum err e;

	if (!box)
		return RAISE(ERR_MEMORY_EXHAUSTED, "what lies in a destination");
	box->place = place;
	if ((e = imap_existing_list(existing, session, box))) {
		free(box);
		return e;
	}
	box->next = existing->boxes;
	existing->boxes = box;
	return OK;
}

static struct imap_existing_box *box_of(const struct imap_existing *existing,
					const struct imap_place *place)
{
	struct imap_existing_box *box = existing->boxes;

	while (box && box->place != place)
		box = box->next;
	return box;
}

enum err imap_existing_match(struct imap_existing *existing, struct imap_look *look,
			     struct imap_parcel *parcel, bool *listed)
{
	struct imap_place *place = parcel->place;
	struct imap_existing_box *box = box_of(existing, place);
	enum err e;

	*listed = !box;
	if (!box && (e = list_box(existing, imap_look_session(look), place)))
		return e;
	existing->box = *listed ? &existing->boxes->box : &box->box;
	if (!existing->box->count)
		return OK;
	if ((e = find_wanted(existing, parcel)) || (e = read_rows(existing, look, parcel)))
		return e;
	take_copies(existing, parcel);
	imap_parcel_put_found_last(parcel);
	return OK;
}
