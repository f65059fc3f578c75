/* See archive.h. Reading is a walk: mailboxes, then folders or messages of the one last returned.
 */
#include "transport/archive.h"

#include <stdio.h>
#include <stdlib.h>

#include "crypto/digest.h"
#include "transport/archive_changes.h"
#include "transport/archive_mark.h"
#include "transport/manifest.h"
#include "transport/pack_index.h"
#include "transport/pack_read.h"

struct archive {
	struct store *store;
	struct buffer names; /* at the root */
	const char *name;    /* the mailbox last returned */
	struct archive_mailbox mailbox;
	struct archive_moment moment;  /* to be read as of; zeros: now */
	struct manifest_head manifest; /* its newest */
	struct archive_changes *changes;
	bool changes_loaded;
	struct ndjson *boxes;
	bool boxes_ended;
	struct buffer indexes; /* names of its indexes */
	const char *index_name;
	struct ndjson *index;
	char pack_key[STORE_KEY_BYTES_MAX + 1]; /* of `index` */
	struct pack_read *pack;			/* the last one read from */
	struct tap *tap;
	struct pack_line line;
	struct manifest_line manifest_line;
};

struct store *archive_store(struct archive *archive)
{
	return archive->store;
}

static void mailbox_leave(struct archive *archive)
{
	ndjson_close(&archive->boxes);
	ndjson_close(&archive->index);
	pack_read_close(&archive->pack);
	archive_changes_close(&archive->changes);
	archive->changes_loaded = false;
	buffer_reset(&archive->indexes);
	archive->index_name = NULL;
	archive->boxes_ended = false;
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
	buffer_free(&archive->indexes);
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
	if (e == ERR_ARCHIVE_DAMAGED || e == ERR_PIPE_ENDED) {
		err_note_clear();
		return OK;
	}
	return e;
}

/* The first line of an index; damage is found again, and told, where messages are read. */
static enum err add_pack(struct archive *archive, const char *index_name)
{
	struct archive_mailbox *mailbox = &archive->mailbox;
	char key[STORE_KEY_BYTES_MAX + 1];
	struct ndjson *lines = NULL;
	struct pack_head head;
	struct text line;
	enum err e;

	snprintf(key, sizeof key, "%.80s/index/%.40s", mailbox->key, index_name);
	if (!(e = ndjson_open(archive->store, key, &lines)) && !(e = ndjson_next(lines, &line)) &&
	    pack_head_read(line, &head)) {
		mailbox->packs++;
		mailbox->messages += head.messages;
		mailbox->bytes += head.bytes;
		mailbox->stored_bytes += head.pack_bytes;
	}
	ndjson_close(&lines);
	return forgive_damage(e);
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
	const char *key = archive->mailbox.key;

	return is_as_of(archive) ? manifest_as_of(archive->store, key, archive->moment.generation,
						  &archive->moment.date, &archive->manifest)
				 : manifest_newest(archive->store, key, &archive->manifest);
}

static enum err take_totals(struct archive *archive)
{
	struct archive_mailbox *mailbox = &archive->mailbox;
	struct manifest_head *manifest = &archive->manifest;
	char prefix[STORE_KEY_BYTES_MAX + 1];
	const char *name = NULL;
	uint64_t number;
	enum err e;

	if ((e = forgive_damage(find_manifest(archive))))
		return e;
	mailbox->generation = manifest->generation;
	mailbox->packs = manifest->packs;
	mailbox->messages = manifest->messages;
	mailbox->bytes = manifest->bytes;
	mailbox->stored_bytes = manifest->stored_bytes;
	snprintf(prefix, sizeof prefix, "%s/index", mailbox->key);
	e = archive->store->type->list(archive->store, prefix, &archive->indexes);
	while (!e && store_names_next(&archive->indexes, &name))
		if (pack_number(name, &number) && number > manifest->last_pack &&
		    !is_as_of(archive))
			e = add_pack(archive, name);
	return e ? e : boxes_count(archive);
}

void archive_as_of(struct archive *archive, const struct archive_moment *moment)
{
	archive->moment = *moment;
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
		    strlen(archive->name) > ARCHIVE_MAILBOX_KEY_BYTES_MAX)
			continue;
		e = archive_mailbox_read(archive->store, archive->name, &mark);
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

static enum err boxes_end(struct archive *archive, enum err e)
{
	archive->boxes_ended = true;
	ndjson_close(&archive->boxes);
	return e;
}

enum err archive_box_next(struct archive *archive, struct box *box)
{
	struct manifest_line *line = &archive->manifest_line;
	struct text text;
	enum err e = archive->boxes_ended ? ERR_PIPE_ENDED : OK;

	must(archive->mailbox.key[0]);
	if (!e && !archive->boxes)
		e = boxes_open(archive);
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

/* The next index: opened, its first line read and left behind. */
static enum err index_open(struct archive *archive)
{
	const struct archive_mailbox *mailbox = &archive->mailbox;
	char key[STORE_KEY_BYTES_MAX + 1];
	struct pack_head head;
	struct text line;
	uint64_t number;
	enum err e;

	do {
		if (!store_names_next(&archive->indexes, &archive->index_name))
			return ERR_PIPE_ENDED;
	} while (!pack_number(archive->index_name, &number) ||
		 !counts(archive, number, archive->manifest.last_pack));
	snprintf(key, sizeof key, "%.80s/index/%.40s", mailbox->key, archive->index_name);
	if (!store_key_is_valid(text_of(key)))
		return RAISE(ERR_ARCHIVE_DAMAGED, "%s does not belong there", key);
	if ((e = ndjson_open(archive->store, key, &archive->index)))
		return e;
	e = ndjson_next(archive->index, &line);
	if (e == ERR_PIPE_ENDED || (!e && !pack_head_read(line, &head)))
		e = RAISE(ERR_ARCHIVE_DAMAGED, "%s: its first line does not parse", key);
	if (e)
		return e;
	pack_key(archive->pack_key, mailbox->key, number, true);
	if (strcmp(head.pack, archive->pack_key) != 0)
		pack_key(archive->pack_key, mailbox->key, number, false);
	if (strcmp(head.pack, archive->pack_key) != 0)
		return RAISE(ERR_ARCHIVE_DAMAGED, "%s is the index of another pack", key);
	return OK;
}

static void message_of(const struct archive *archive, struct archive_message *out)
{
	const struct pack_line *line = &archive->line;

	memset(out, 0, sizeof *out);
	snprintf(out->box, sizeof out->box, "%s", line->box);
	snprintf(out->pack, sizeof out->pack, "%s", archive->pack_key);
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
	uint64_t last = is_as_of(archive) ? archive->manifest.last_changes : UINT64_MAX;

	if (archive->changes_loaded)
		return OK;
	archive->changes_loaded = true;
	return archive_changes_open(archive->store, archive->mailbox.key, last, &archive->changes);
}

enum err archive_message_next(struct archive *archive, struct archive_message *out)
{
	struct text line;
	enum err e;

	must(archive->mailbox.key[0]);
	if ((e = changes_load(archive)))
		return e;
	for (;;) {
		if (!archive->index && (e = index_open(archive)))
			break;
		e = ndjson_next(archive->index, &line);
		if (!e && !pack_line_read(line, &archive->line))
			e = RAISE(ERR_ARCHIVE_DAMAGED, "%s: line %llu does not parse",
				  ndjson_key(archive->index),
				  (unsigned long long)ndjson_lines(archive->index));
		if (!e) {
			message_of(archive, out);
			if (archive->changes)
				archive_changes_apply(archive->changes, out);
			return OK;
		}
		if (e != ERR_PIPE_ENDED)
			break;
		ndjson_close(&archive->index);
	}
	ndjson_close(&archive->index);
	return e;
}

/* ---- one message ---- */

struct reading {
	struct tap *tap;
	enum err (*write)(void *context, const void *, size_t);
	void *context;
};

static enum err read_piece(void *context, const void *from, size_t n)
{
	struct reading *reading = context;

	reading->tap->type->update(reading->tap, from, n);
	return reading->write(reading->context, from, n);
}

static enum err pack_of(struct archive *archive, const char *key)
{
	if (archive->pack && strcmp(pack_read_key(archive->pack), key) == 0)
		return OK;
	pack_read_close(&archive->pack);
	return pack_read_open(archive->store, key, &archive->pack);
}

enum err archive_message_read(struct archive *archive, const struct archive_message *message,
			      enum err (*write)(void *context, const void *, size_t), void *context)
{
	struct reading reading = { archive->tap, write, context };
	struct digest digest;
	char quoted[120];
	enum err e;

	must(archive->tap && store_key_is_valid(text_of(message->pack)));
	if ((e = pack_of(archive, message->pack)))
		return e;
	archive->tap->type->begin(archive->tap);
	if ((e = pack_read_span(archive->pack, message->body_offset, message->size_bytes,
				read_piece, &reading)))
		return e;
	archive->tap->type->end(archive->tap, &digest);
	if (memcmp(&digest, &message->digest, sizeof digest) != 0)
		return RAISE(ERR_ARCHIVE_DAMAGED,
			     "%s: message %llu of \"%s\" is not what was stored", message->pack,
			     (unsigned long long)message->no,
			     err_quote(quoted, sizeof quoted, text_of(message->box)));
	return OK;
}
