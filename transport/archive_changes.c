/* See archive_changes.h. The lines are kept one behind the other as they were read, so a line's
 * offset is also its place in time; a table of slots finds them by the message that they name. */
#include "transport/archive_changes.h"

#include <stdio.h>
#include <stdlib.h>

#include "crypto/digest.h"
#include "engine/scratch.h"
#include "transport/pack_index.h"

/* Changes that name one message: by `was_*` where it is renumbered, else by folder and number. The
 * last one told holds. Offsets are of the line's first byte, plus one; 0: there is none. */
struct span {
	uint64_t last; /* in a slot: and MET */
	uint64_t meta; /* the last one with flags in it */
};
/* A message's name means that message for ever (RFC 9051 section 2.3.1.1), but after a folder was
 * away and came back, the message in it may have been found to be a twin of the one stored under
 * that name. So a name given again begins a span of its own. */
struct slot {
	uint64_t tag; /* hash of the name; 0: the slot is free */
	struct span span;
	uint64_t past; /* the span before, as its place in `pasts` plus one; 0: none */
};
struct past {
	uint64_t until; /* the line that gave the name again */
	struct span span;
	uint64_t past;
};
_Static_assert(sizeof(struct slot) == 32, "what docs/FORMAT.md says a change costs");

#define MET ((uint64_t)1 << 63)

enum { SLOTS_MIN = 4096, PASTS_MIN = 1024, LINES_BYTES_MIN = 1024 * 1024 };

struct archive_changes {
	struct scratch table, lines, pasts;
	size_t slots_count, slots_used, lines_bytes, pasts_count;
	struct tap *tap;
	void (*left)(void *context, const char *box); /* NULL: nobody wants to know */
	void *left_context;
	struct change_line line;
};

/* ---- the table ---- */

static struct slot *slots(const struct archive_changes *changes)
{
	return (struct slot *)(void *)changes->table.at;
}

static struct past *pasts(const struct archive_changes *changes)
{
	return (struct past *)(void *)changes->pasts.at;
}

static uint64_t tag_of(struct archive_changes *changes, const char *box, uint64_t epoch,
		       uint64_t no)
{
	struct tap *tap = changes->tap;
	uint8_t numbers[16];
	struct digest digest;
	uint64_t tag;

	bytes_put_le64(numbers, epoch);
	bytes_put_le64(numbers + 8, no);
	tap->type->begin(tap);
	tap->type->update(tap, numbers, sizeof numbers);
	tap->type->update(tap, box, strlen(box));
	tap->type->end(tap, &digest);
	tag = bytes_get_le64(digest.bytes);
	return tag ? tag : 1;
}

/* The slot of this tag, or the free one that it would take. */
static struct slot *slot_at(struct slot *from, size_t count, uint64_t tag)
{
	size_t i = tag & (count - 1);

	while (from[i].tag && from[i].tag != tag)
		i = (i + 1) & (count - 1);
	return &from[i];
}

static enum err table_grow(struct archive_changes *changes)
{
	size_t count = changes->slots_count ? 2 * changes->slots_count : SLOTS_MIN;
	struct scratch grown = { 0 };
	const struct slot *from = slots(changes);
	enum err e;

	if (changes->slots_used < changes->slots_count / 4 * 3)
		return OK;
	if ((e = scratch_grow(&grown, count * sizeof *from)))
		return e;
	for (size_t i = 0; i < changes->slots_count; i++)
		if (from[i].tag)
			*slot_at((struct slot *)(void *)grown.at, count, from[i].tag) = from[i];
	scratch_close(&changes->table);
	changes->table = grown;
	changes->slots_count = count;
	return OK;
}

/* ---- loading ---- */

static enum err line_keep(struct archive_changes *changes, struct text line)
{
	size_t room = max_u64(changes->lines.bytes, LINES_BYTES_MIN);
	enum err e;

	while (room - changes->lines_bytes < line.bytes + 1)
		room *= 2;
	if ((e = scratch_grow(&changes->lines, room)))
		return e;
	bytes_copy(changes->lines.at + changes->lines_bytes, line.at, line.bytes, BYTES_META);
	changes->lines.at[changes->lines_bytes + line.bytes] = '\n';
	changes->lines_bytes += line.bytes + 1;
	return OK;
}

/* The line at hand gives a name: what was told of it before is over. */
static enum err name_given(struct archive_changes *changes, uint64_t place)
{
	const struct change_line *line = &changes->line;
	struct slot *slot = slot_at(slots(changes), changes->slots_count,
				    tag_of(changes, line->box, line->epoch, line->no));
	size_t room = max_u64(changes->pasts.bytes, PASTS_MIN * sizeof(struct past));
	enum err e;

	if (!slot->tag || !slot->span.last)
		return OK;
	if (room < (changes->pasts_count + 1) * sizeof(struct past))
		room *= 2;
	if ((e = scratch_grow(&changes->pasts, room)))
		return e;
	pasts(changes)[changes->pasts_count] = (struct past){ place, slot->span, slot->past };
	slot->past = ++changes->pasts_count;
	slot->span = (struct span){ 0 };
	return OK;
}

static enum err change_keep(struct archive_changes *changes, struct text text)
{
	const struct change_line *line = &changes->line;
	bool moved = line->kind == CHANGE_RENUMBERED;
	uint64_t tag =
		tag_of(changes, moved ? line->was_box : line->box,
		       moved ? line->was_epoch : line->epoch, moved ? line->was_no : line->no);
	uint64_t place = changes->lines_bytes + 1;
	struct slot *slot;
	enum err e;

	if ((e = table_grow(changes)) || (e = line_keep(changes, text)))
		return e;
	slot = slot_at(slots(changes), changes->slots_count, tag);
	changes->slots_used += slot->tag == 0;
	slot->tag = tag;
	slot->span.last = place;
	if (line->kind != CHANGE_VANISHED)
		slot->span.meta = place;
	return moved ? name_given(changes, place) : OK;
}

static enum err object_load(struct archive_changes *changes, struct store *store, const char *key)
{
	struct changes_read *read = NULL;
	struct text text;
	enum err e = changes_read_open(store, key, &read);

	while (!e && !(e = changes_read_next(read, &changes->line, &text)))
		e = change_keep(changes, text);
	changes_read_close(&read);
	return e == ERR_PIPE_ENDED ? OK : e;
}

/* What the loading of a mailbox's objects needs. */
struct loading {
	struct archive_changes *changes;
	struct store *store;
	const char *mailbox_key;
	struct archive_faults *faults;
	enum err damage; /* the first, where nobody is told */
	struct err_note first;
};

static enum err object_is(struct loading *loading, uint64_t number, enum err e)
{
	char key[STORE_KEY_BYTES_MAX + 1];

	changes_key(key, loading->mailbox_key, number);
	e = archive_fault(loading->faults, key, e);
	if (e != ERR_ARCHIVE_DAMAGED)
		return e;
	if (!loading->damage)
		loading->first = *err_note();
	loading->damage = e;
	err_note_clear();
	return OK;
}

/* Numbers grow by one, so a gap is a loss; it is told by its first. */
static enum err objects_load(struct loading *loading, uint64_t last, uint64_t listed)
{
	char key[STORE_KEY_BYTES_MAX + 1];
	struct buffer names = { 0 };
	const char *name = NULL;
	uint64_t number, next = 1;
	enum err e;

	snprintf(key, sizeof key, "%s/changes", loading->mailbox_key);
	e = loading->store->type->list(loading->store, key, &names);
	while (!e && store_names_next(&names, &name)) {
		if (!pack_number(name, &number) || number > last)
			continue;
		if (next < number && next <= listed)
			e = object_is(loading, next, ERR_DISK_ABSENT);
		next = number + 1;
		changes_key(key, loading->mailbox_key, number);
		if (!e)
			e = object_is(loading, number,
				      object_load(loading->changes, loading->store, key));
	}
	if (!e && next <= listed)
		e = object_is(loading, next, ERR_DISK_ABSENT);
	buffer_free(&names);
	if (!e && loading->damage)
		*err_note() = loading->first;
	return e ? e : loading->damage;
}

enum err archive_changes_open(struct store *store, const char *mailbox_key, uint64_t last,
			      uint64_t listed, struct archive_faults *faults,
			      struct archive_changes **out)
{
	struct archive_changes *changes = calloc(1, sizeof *changes);
	struct loading loading = { changes, store, mailbox_key, faults, OK, { 0 } };
	enum err e;

	*out = changes;
	if (!changes)
		return RAISE(ERR_MEMORY_EXHAUSTED, "reading the changes of %s", mailbox_key);
	if (!(e = digest_open(digest_type(text_of("blake3")), &changes->tap)))
		e = objects_load(&loading, last, listed);
	if (e && e != ERR_ARCHIVE_DAMAGED)
		archive_changes_close(out);
	return e;
}

void archive_changes_close(struct archive_changes **changes_at)
{
	struct archive_changes *changes = *changes_at;

	*changes_at = NULL;
	if (!changes)
		return;
	scratch_close(&changes->table);
	scratch_close(&changes->lines);
	scratch_close(&changes->pasts);
	if (changes->tap)
		changes->tap->type->close(&changes->tap);
	free(changes);
}

/* ---- asking ---- */

static void line_at(struct archive_changes *changes, uint64_t place)
{
	size_t offset = (size_t)place - 1;
	const char *at = (const char *)changes->lines.at + offset;
	const char *end = memchr(at, '\n', changes->lines_bytes - offset);

	must(end && change_line_read((struct text){ at, (size_t)(end - at) }, &changes->line));
}

static void meta_apply(const struct change_line *line, struct archive_message *message)
{
	struct mail_date date = message->meta.date;

	pack_meta_read(line->date, line->flags, line->keywords, &message->meta);
	if (!message->meta.date.known)
		message->meta.date = date;
}

void archive_changes_on_left(struct archive_changes *changes, void (*tell)(void *, const char *),
			     void *context)
{
	changes->left = tell;
	changes->left_context = context;
}

static void tell_left(struct archive_changes *changes, const struct archive_message *message)
{
	if (changes->left && strcmp(message->box, changes->line.box) != 0)
		changes->left(changes->left_context, message->box);
}

/* The line at hand; false: nothing can follow it. */
static bool line_apply(struct archive_changes *changes, const struct span *span,
		       struct archive_message *message)
{
	const struct change_line *line = &changes->line;

	snprintf(message->changed, sizeof message->changed, "%s", line->seen);
	message->vanished = line->kind == CHANGE_VANISHED;
	if (line->kind == CHANGE_RENUMBERED) {
		tell_left(changes, message);
		snprintf(message->box, sizeof message->box, "%s", line->box);
		message->separator = line->separator[0];
		message->epoch = line->epoch;
		message->no = line->no;
	}
	if (message->vanished && span->meta)
		line_at(changes, span->meta);
	if (line->kind != CHANGE_VANISHED)
		meta_apply(line, message);
	return line->kind == CHANGE_RENUMBERED && !message->vanished;
}

/* What was told of the name while the message had it that was given it by the line `after`. */
static struct span span_behind(const struct archive_changes *changes, const struct slot *slot,
			       uint64_t after)
{
	struct span span = { slot->span.last & ~MET, slot->span.meta };
	const struct past *past;

	for (uint64_t at = slot->past; at; at = past->past) {
		past = &pasts(changes)[at - 1];
		if (past->until <= after)
			break;
		span = (struct span){ past->span.last & ~MET, past->span.meta };
	}
	return span;
}

/* Each step goes to a later line, so a message renumbered in a circle comes to an end, too. */
void archive_changes_apply(struct archive_changes *changes, struct archive_message *message)
{
	uint64_t after = 0;
	struct slot *slot;
	struct span span;

	if (!changes->slots_count)
		return;
	do {
		slot = slot_at(slots(changes), changes->slots_count,
			       tag_of(changes, message->box, message->epoch, message->no));
		if (!slot->tag)
			return;
		span = span_behind(changes, slot, after);
		if (span.last <= after)
			return;
		slot->span.last |= MET;
		line_at(changes, after = span.last);
	} while (line_apply(changes, &span, message));
}

bool archive_changes_unmet(struct archive_changes *changes, size_t *at, struct change_line *out)
{
	struct span span;

	for (; *at < changes->slots_count; ++*at) {
		const struct slot *slot = &slots(changes)[*at];

		if (slot->tag && !(slot->span.last & MET)) {
			span = slot->span.last ? slot->span : pasts(changes)[slot->past - 1].span;
			line_at(changes, span.last);
			*out = changes->line;
			++*at;
			return true;
		}
	}
	return false;
}
