/* See archive.h. Reading is a walk: mailboxes, then folders or messages of the one last returned.
 */
#include "transport/archive.h"

#include <stdio.h>
#include <stdlib.h>

#include "crypto/digest.h"
#include "transport/archive_changes.h"
#include "transport/archive_mark.h"
#include "transport/archive_packs.h"
#include "transport/index_read.h"
#include "transport/manifest.h"
#include "transport/pack_read.h"

struct archive {
	struct store *store;
	struct archive_faults faults;
	void (*left)(void *context, const char *box); /* NULL: nobody wants to know */
	void *left_context;
	struct buffer names;			      /* at the root */
	const char *name;			      /* the mailbox last returned */
	char only[ARCHIVE_MAILBOX_KEY_BYTES_MAX + 1]; /* "": all of them */
	struct archive_mailbox mailbox;
	struct archive_moment moment;  /* to be read as of; zeros: now */
	struct manifest_head manifest; /* its newest */
	struct archive_changes *changes;
	bool changes_loaded;
	struct ndjson *boxes;
	bool boxes_ended;
	struct archive_packs packs;
	uint64_t packs_met; /* of those that the manifest counts */
	bool packs_ended;
	struct index_read *index;
	bool index_begun;
	struct pack_read *pack; /* the last one read from */
	struct tap *tap;
	struct pack_line line;
	struct manifest_line manifest_line;
};

struct store *archive_store(struct archive *archive)
{
	return archive->store;
}

struct archive_faults *archive_faults(struct archive *archive)
{
	return &archive->faults;
}

const struct tap_type *archive_digest(const struct archive *archive)
{
	must(archive->tap);
	return archive->tap->type;
}

void archive_on_damage(struct archive *archive, void (*tell)(void *, const char *, const char *),
		       void *context)
{
	archive->faults.tell = tell;
	archive->faults.context = context;
}

enum err archive_only(struct archive *archive, const char *mailbox_name)
{
	return archive_mailbox_key(archive->only, mailbox_name);
}

void archive_only_key(struct archive *archive, const char *mailbox_key)
{
	must(strlen(mailbox_key) < sizeof archive->only);
	snprintf(archive->only, sizeof archive->only, "%s", mailbox_key);
}

void archive_on_left(struct archive *archive, void (*tell)(void *, const char *), void *context)
{
	archive->left = tell;
	archive->left_context = context;
}

static void mailbox_leave(struct archive *archive)
{
	ndjson_close(&archive->boxes);
	index_read_close(&archive->index);
	pack_read_close(&archive->pack);
	archive_changes_close(&archive->changes);
	archive->changes_loaded = archive->boxes_ended = archive->packs_ended = false;
	archive->packs_met = 0;
	if (archive->tap)
		archive->tap->type->close(&archive->tap);
}

void archive_close(struct archive **archive_at)
{
	struct archive *archive = *archive_at;

	*archive_at = NULL;
	if (!archive)
		return;
	mailbox_leave(archive);
	buffer_free(&archive->names);
	archive_packs_free(&archive->packs);
	if (archive->store)
		archive->store->type->close(&archive->store);
	free(archive);
}

static enum err check_marker(struct archive *archive, const char *shown)
{
	uint8_t ledger_id[ARCHIVE_LEDGER_ID_BYTES];
	bool found = false;
	enum err e = archive_mark_read(archive->store, shown, &found, ledger_id);

	if (e == ERR_SINK_FOREIGN || (!e && !found)) {
		err_note_clear();
		return RAISE(ERR_ARCHIVE_FORMAT,
			     "%s: there is no mailhaul-archive.json, so this is no "
			     "archive",
			     shown);
	}
	return e;
}

enum err archive_open(const struct store_driver *driver, const struct account *account, nsec until,
		      struct archive **out)
{
	struct archive *archive = calloc(1, sizeof *archive);
	enum err e;

	*out = archive;
	if (!archive)
		return RAISE(ERR_MEMORY_EXHAUSTED, "opening %s", account->shown);
	e = driver->open(&archive->store, account, false, until);
	if (e == ERR_SINK_FOREIGN) {
		err_note_clear();
		e = RAISE(ERR_ARCHIVE_FORMAT, "%s is not a directory", account->shown);
	}
	if (!e && !(e = check_marker(archive, account->shown)))
		e = archive->store->type->list(archive->store, "", &archive->names);
	if (e)
		archive_close(out);
	return e;
}

/* ---- mailboxes ---- */

static enum err forgive_damage(enum err e)
{
	if (archive_is_damage(e) || e == ERR_PIPE_ENDED) {
		err_note_clear();
		return OK;
	}
	return e;
}

/* The first line of an index; damage is found again, and told, where messages are read. */
static enum err head_of_pack(struct archive *archive, uint64_t number, const char *index_name,
			     struct pack_head *head)
{
	struct index_read *index = NULL;
	enum err e = index_read_open(archive->store, archive->name, number, index_name, &index);

	*head = (struct pack_head){ 0 };
	if (!e)
		e = index_read_head(index, head);
	if (!e && !head->pack_bytes) /* the copy inside does not know */
		e = archive->store->type->size(archive->store, index_read_pack(index),
					       &head->pack_bytes);
	index_read_close(&index);
	return forgive_damage(e);
}

static enum err add_pack(struct archive *archive, uint64_t number, const char *index_name)
{
	struct archive_mailbox *mailbox = &archive->mailbox;
	struct pack_head head;
	enum err e = head_of_pack(archive, number, index_name, &head);

	mailbox->packs += head.pack[0] != '\0';
	mailbox->messages += head.messages;
	mailbox->bytes += head.bytes;
	mailbox->stored_bytes += head.pack_bytes;
	return e;
}

static enum err boxes_open(struct archive *archive)
{
	char key[STORE_KEY_BYTES_MAX + 1];

	if (archive->manifest.generation == 0)
		return ERR_PIPE_ENDED;
	manifest_key(key, archive->mailbox.key, archive->manifest.generation);
	return ndjson_open(archive->store, key, &archive->boxes);
}

static enum err boxes_count(struct archive *archive)
{
	struct manifest_line *line = &archive->manifest_line;
	struct text text;
	enum err e = boxes_open(archive);

	while (!e && !(e = ndjson_next(archive->boxes, &text)))
		if (ndjson_lines(archive->boxes) > 1 && manifest_line_read(text, line))
			archive->mailbox.boxes += strcmp(line->line, "box") == 0;
	ndjson_close(&archive->boxes);
	return forgive_damage(e);
}

static bool is_as_of(const struct archive *archive)
{
	return archive->moment.generation > 0 || archive->moment.date.known;
}

/* A pack or an object of changes that counts: behind the manifest it came later. */
static bool counts(const struct archive *archive, uint64_t number, uint64_t last)
{
	return number <= last || !is_as_of(archive);
}

static enum err find_manifest(struct archive *archive)
{
	enum err e = manifest_find(&archive->faults, archive->store, archive->mailbox.key,
				   &archive->moment, &archive->manifest);

	if (e)
		archive->manifest = (struct manifest_head){ 0 };
	return forgive_damage(e);
}

static enum err take_totals(struct archive *archive)
{
	struct archive_mailbox *mailbox = &archive->mailbox;
	struct manifest_head *manifest = &archive->manifest;
	const char *name;
	uint64_t number;
	enum err e;

	if ((e = find_manifest(archive)))
		return e;
	mailbox->generation = manifest->generation;
	mailbox->packs = manifest->packs;
	mailbox->messages = manifest->messages;
	mailbox->bytes = manifest->bytes;
	mailbox->stored_bytes = manifest->stored_bytes;
	e = archive_packs_list(&archive->packs, archive->store, mailbox->key);
	while (!e && archive_packs_next(&archive->packs, &number, &name))
		if (number > manifest->last_pack && !is_as_of(archive))
			e = add_pack(archive, number, name);
	archive_packs_rewind(&archive->packs);
	return e ? e : boxes_count(archive);
}

void archive_as_of(struct archive *archive, const struct archive_moment *moment)
{
	archive->moment = *moment;
}

bool archive_moment_read(const char *text, struct archive_moment *moment)
{
	char whole[64];
	char *end;

	*moment = (struct archive_moment){ 0 };
	if (strspn(text, "0123456789") == strlen(text)) {
		moment->generation = strtoull(text, &end, 10);
		return moment->generation > 0;
	}
	/* A day alone means its end: what had been archived by then. */
	snprintf(whole, sizeof whole, "%.40s%s", text, strchr(text, 'T') ? "" : "T23:59:59Z");
	moment->date.known = mail_date_from_rfc3339(text_of(whole), &moment->date);
	return moment->date.known;
}

/* What the mailbox's own file says stands in each index, too. */
static enum err mark_guess(struct archive *archive, struct archive_mailbox_mark *mark,
			   bool *any_pack)
{
	struct archive_packs packs = { 0 };
	struct pack_head head = { 0 };
	const char *name;
	uint64_t number;
	enum err e = archive_packs_list(&packs, archive->store, archive->name);

	*any_pack = false;
	while (!e && !head.mailbox[0] && archive_packs_next(&packs, &number, &name)) {
		*any_pack = true;
		e = head_of_pack(archive, number, name, &head);
	}
	archive_packs_free(&packs);
	snprintf(mark->name, sizeof mark->name, "%s", head.mailbox);
	snprintf(mark->digest_name, sizeof mark->digest_name, "%s", head.digest_name);
	return e;
}

/* ERR_DISK_ABSENT: this is no mailbox. */
static enum err mark_read(struct archive *archive, struct archive_mailbox_mark *mark)
{
	char key[STORE_KEY_BYTES_MAX + 1];
	struct err_note before;
	enum err e = archive_mailbox_read(archive->store, archive->name, mark), guessed;
	bool any_pack, known;

	if (!archive_is_damage(e))
		return e;
	before = *err_note();
	err_note_clear();
	guessed = mark_guess(archive, mark, &any_pack);
	if (guessed)
		return guessed;
	if (e == ERR_DISK_ABSENT && !any_pack)
		return e;
	known = mark->name[0] && digest_type(text_of(mark->digest_name));
	snprintf(key, sizeof key, "%.80s/mailbox.json", archive->name);
	if (known || e != ERR_DISK_ABSENT)
		*err_note() = before;
	else
		e = RAISE(ERR_ARCHIVE_DAMAGED,
			  "%s: it is missing, and no index says whose mailbox this is, so its "
			  "packs are not read",
			  key);
	e = archive_fault(&archive->faults, key, e);
	return e || known ? e : ERR_DISK_ABSENT;
}

static enum err mailbox_next(struct archive *archive)
{
	struct archive_mailbox *mailbox = &archive->mailbox;
	struct archive_mailbox_mark mark;
	enum err e = ERR_DISK_ABSENT;

	mailbox_leave(archive);
	*mailbox = (struct archive_mailbox){ 0 };
	while (e == ERR_DISK_ABSENT) {
		err_note_clear();
		if (!store_names_next(&archive->names, &archive->name))
			return ERR_PIPE_ENDED;
		if (!store_name_is_valid(text_of(archive->name)) ||
		    strlen(archive->name) > ARCHIVE_MAILBOX_KEY_BYTES_MAX ||
		    (*archive->only && strcmp(archive->only, archive->name) != 0))
			continue;
		e = mark_read(archive, &mark);
	}
	if (e)
		return e;
	snprintf(mailbox->name, sizeof mailbox->name, "%s", mark.name);
	snprintf(mailbox->digest, sizeof mailbox->digest, "%s", mark.digest_name);
	snprintf(mailbox->key, sizeof mailbox->key, "%s", archive->name);
	e = digest_open(digest_type(text_of(mark.digest_name)), &archive->tap);
	return e ? e : take_totals(archive);
}

enum err archive_mailbox_next(struct archive *archive, struct archive_mailbox *out)
{
	enum err e;

	do
		e = mailbox_next(archive);
	while (!e && is_as_of(archive) && archive->manifest.generation == 0);
	if (!e)
		*out = archive->mailbox;
	return e;
}

/* ---- folders ---- */

/* Behind the last one, or where the manifest cannot be read further. */
static enum err boxes_end(struct archive *archive, enum err e)
{
	const bool whole = strcmp(archive->manifest_line.line, "end") == 0;
	char key[STORE_KEY_BYTES_MAX + 1];

	archive->boxes_ended = true;
	if (archive->boxes && e == ERR_PIPE_ENDED && !whole)
		e = RAISE(ERR_ARCHIVE_DAMAGED, "%s: it is cut short", ndjson_key(archive->boxes));
	ndjson_close(&archive->boxes);
	manifest_key(key, archive->mailbox.key, archive->manifest.generation);
	e = archive_fault(&archive->faults, key, e);
	return e ? e : ERR_PIPE_ENDED;
}

enum err archive_box_next(struct archive *archive, struct box *box)
{
	struct manifest_line *line = &archive->manifest_line;
	struct text text;
	enum err e;

	must(archive->mailbox.key[0]);
	if (archive->boxes_ended)
		return ERR_PIPE_ENDED;
	e = archive->boxes ? OK : boxes_open(archive);
	while (!e && !(e = ndjson_next(archive->boxes, &text))) {
		if (ndjson_lines(archive->boxes) == 1)
			continue; /* the head */
		if (!manifest_line_read(text, line)) {
			e = RAISE(ERR_ARCHIVE_DAMAGED, "%s: line %llu does not parse",
				  ndjson_key(archive->boxes),
				  (unsigned long long)ndjson_lines(archive->boxes));
		} else if (strcmp(line->line, "box") == 0) {
			manifest_line_box(line, box);
			return OK;
		}
	}
	return boxes_end(archive, e);
}

/* ---- messages ---- */

/* Packs of which nothing is left have a gap in the numbers, as packs that were given up have. */
static enum err packs_end(struct archive *archive)
{
	const uint64_t packs = archive->manifest.packs;
	char key[STORE_KEY_BYTES_MAX + 1];
	enum err e;

	if (archive->packs_ended || archive->packs_met >= packs || !archive->faults.tell)
		return ERR_PIPE_ENDED;
	archive->packs_ended = true;
	snprintf(key, sizeof key, "%.80s/packs", archive->mailbox.key);
	e = archive_fault(&archive->faults, key,
			  RAISE(ERR_ARCHIVE_DAMAGED,
				"the manifest counts %llu packs, %llu of them are gone, and so are "
				"their indexes",
				(unsigned long long)packs,
				(unsigned long long)(packs - archive->packs_met)));
	return e ? e : ERR_PIPE_ENDED;
}

/* The next pack's index. One that no manifest lists may be about to be written. */
static enum err pack_enter(struct archive *archive)
{
	const uint64_t last = archive->manifest.last_pack;
	char pack[STORE_KEY_BYTES_MAX + 1], key[STORE_KEY_BYTES_MAX + 1];
	const char *name;
	uint64_t number;
	enum err e;

	do {
		if (!archive_packs_next(&archive->packs, &number, &name))
			return packs_end(archive);
	} while (!counts(archive, number, last));
	archive->packs_met += number <= last;
	archive->index_begun = false;
	e = index_read_open(archive->store, archive->mailbox.key, number, name, &archive->index);
	if (e || name || number > last)
		return e;
	pack_key(pack, archive->mailbox.key, number, true);
	pack_index_key(key, pack);
	return archive_fault(&archive->faults, key, ERR_DISK_ABSENT);
}

/* Its first line was read: is there a pack to it? Without this a list would be of what is gone. */
static enum err pack_check(struct archive *archive)
{
	if (archive->index_begun || !archive->faults.tell)
		return OK;
	archive->index_begun = true;
	return archive_fault(&archive->faults, index_read_pack(archive->index),
			     index_read_check_pack(archive->index));
}

static void message_of(const struct archive *archive, struct archive_message *out)
{
	const struct pack_line *line = &archive->line;

	memset(out, 0, sizeof *out);
	snprintf(out->box, sizeof out->box, "%s", line->box);
	snprintf(out->pack, sizeof out->pack, "%s", index_read_pack(archive->index));
	out->separator = line->separator[0];
	out->no = line->no;
	out->epoch = line->epoch;
	out->size_bytes = line->size_bytes;
	out->digest = line->digest;
	out->offset = line->offset;
	out->body_offset = line->body_offset;
	pack_line_meta(line, &out->meta);
}

static enum err changes_load(struct archive *archive)
{
	uint64_t listed = archive->manifest.last_changes;
	enum err e;

	if (archive->changes_loaded)
		return OK;
	archive->changes_loaded = true;
	e = archive_changes_open(archive->store, archive->mailbox.key,
				 is_as_of(archive) ? listed : UINT64_MAX, listed, &archive->faults,
				 &archive->changes);
	if (archive->changes && archive->left)
		archive_changes_on_left(archive->changes, archive->left, archive->left_context);
	return e;
}

enum err archive_message_next(struct archive *archive, struct archive_message *out)
{
	enum err e;

	must(archive->mailbox.key[0]);
	if ((e = changes_load(archive)))
		return e;
	for (;;) {
		if (!archive->index && (e = pack_enter(archive)))
			return e;
		if (!(e = index_read_next(archive->index, &archive->line)))
			break;
		if (e == ERR_PIPE_ENDED)
			index_read_close(&archive->index);
		else if ((e = archive_fault(&archive->faults, index_read_key(archive->index), e)))
			return e;
	}
	message_of(archive, out);
	if (archive->changes)
		archive_changes_apply(archive->changes, out);
	return pack_check(archive);
}

/* ---- one message ---- */

struct reading {
	struct tap *tap;
	enum err (*write)(void *context, const void *, size_t);
	void *context;
	bool write_failed; /* what is wrong is not the archive's */
};

static enum err read_piece(void *context, const void *from, size_t n)
{
	struct reading *reading = context;
	enum err e;

	reading->tap->type->update(reading->tap, from, n);
	e = reading->write(reading->context, from, n);
	reading->write_failed = e != OK;
	return e;
}

static enum err pack_of(struct archive *archive, const char *key)
{
	if (archive->pack && strcmp(pack_read_key(archive->pack), key) == 0)
		return OK;
	pack_read_close(&archive->pack);
	return pack_read_open(archive->store, key, &archive->pack);
}

static enum err read_span(struct archive *archive, const struct archive_message *message,
			  struct reading *reading)
{
	struct digest digest;
	enum err e;

	if ((e = pack_of(archive, message->pack)))
		return e;
	archive->tap->type->begin(archive->tap);
	if ((e = pack_read_span(archive->pack, message->body_offset, message->size_bytes,
				read_piece, reading)))
		return e;
	archive->tap->type->end(archive->tap, &digest);
	return memcmp(&digest, &message->digest, sizeof digest) == 0
		       ? OK
		       : RAISE(ERR_ARCHIVE_DAMAGED, "it is not what was stored");
}

/* What was read is not what was stored, or could not be: name message and pack. */
static enum err name_damage(const struct archive_message *message, enum err e)
{
	char quoted[120], what[ERR_NOTE_BYTES_MAX];

	snprintf(what, sizeof what, "%s",
		 e == ERR_DISK_ABSENT ? "the pack is missing" : archive_fault_what(message->pack));
	err_note_clear();
	return RAISE(ERR_ARCHIVE_DAMAGED, "%s: message %llu of \"%s\": %s", message->pack,
		     (unsigned long long)message->no,
		     err_quote(quoted, sizeof quoted, text_of(message->box)), what);
}

enum err archive_message_read(struct archive *archive, const struct archive_message *message,
			      enum err (*write)(void *context, const void *, size_t), void *context)
{
	struct reading reading = { archive->tap, write, context, false };
	enum err e;

	must(archive->tap && store_key_is_valid(text_of(message->pack)));
	e = read_span(archive, message, &reading);
	return archive_is_damage(e) && !reading.write_failed ? name_damage(message, e) : e;
}

static enum err part_piece(void *context, const void *from, size_t n)
{
	struct reading *reading = context;
	enum err e = reading->write(reading->context, from, n);

	reading->write_failed = e != OK;
	return e;
}

enum err archive_message_part(struct archive *archive, const struct archive_message *message,
			      uint64_t offset, uint64_t length,
			      enum err (*write)(void *context, const void *, size_t), void *context)
{
	struct reading reading = { NULL, write, context, false };
	enum err e;

	must(store_key_is_valid(text_of(message->pack)));
	must(offset <= message->size_bytes && length <= message->size_bytes - offset);
	if (!(e = pack_of(archive, message->pack)))
		e = pack_read_span(archive->pack, message->body_offset + offset, length, part_piece,
				   &reading);
	return archive_is_damage(e) && !reading.write_failed ? name_damage(message, e) : e;
}
