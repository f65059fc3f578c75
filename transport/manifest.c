/* See manifest.h. A generation is made from what the store holds (the indexes that came since), so
 * a run that was cut leaves nothing to remember. */
#include "transport/manifest.h"

#include <stdio.h>
#include <stdlib.h>

#include "crypto/digest.h"
#include "engine/clock.h"
#include "transport/changes.h"
#include "transport/json.h"
#include "transport/pack_index.h"

enum {
	MANIFEST_VERSION = 1,
	LATE_MAX = 4, /* generations of earlier runs that come while ours is made */
};

void manifest_key(char to[STORE_KEY_BYTES_MAX + 1], const char *mailbox_key, uint64_t generation)
{
	int n = snprintf(to, STORE_KEY_BYTES_MAX + 1, "%s/manifest/%012llu.ndjson", mailbox_key,
			 (unsigned long long)generation);

	must(n > 0 && n <= STORE_KEY_BYTES_MAX);
}

/* ---- lines ---- */

struct head_line {
	char format[32];
	uint64_t version;
	struct manifest_head head;
};

static void head_add(struct buffer *to, const struct manifest_head *head)
{
	json_begin(to);
	json_add_text(to, "format", text_of("mailhaul-manifest"));
	json_add_number(to, "version", MANIFEST_VERSION);
	json_add_text(to, "mailbox", text_of(head->mailbox));
	json_add_number(to, "generation", head->generation);
	json_add_hex(to, "previous", head->previous, head->generation > 1 ? DIGEST_BYTES : 0);
	json_add_text(to, "digest_name", text_of(head->digest_name));
	json_add_text(to, "created", text_of(head->created));
	json_add_number(to, "packs", head->packs);
	json_add_number(to, "messages", head->messages);
	json_add_number(to, "bytes", head->bytes);
	json_add_number(to, "stored_bytes", head->stored_bytes);
	json_add_number(to, "last_pack", head->last_pack);
	json_add_number(to, "changes", head->changes);
	json_add_number(to, "last_changes", head->last_changes);
	json_end(to);
}

bool manifest_head_read(struct text line, struct manifest_head *head)
{
	static const struct json_field fields[] = {
		JSON_FIELD("format", JSON_TEXT, struct head_line, format),
		JSON_FIELD("version", JSON_NUMBER, struct head_line, version),
		JSON_FIELD("mailbox", JSON_TEXT, struct head_line, head.mailbox),
		JSON_FIELD("generation", JSON_NUMBER, struct head_line, head.generation),
		JSON_FIELD_OPTIONAL("previous", JSON_HEX, struct head_line, head.previous),
		JSON_FIELD("digest_name", JSON_TEXT, struct head_line, head.digest_name),
		JSON_FIELD("created", JSON_TEXT, struct head_line, head.created),
		JSON_FIELD("packs", JSON_NUMBER, struct head_line, head.packs),
		JSON_FIELD("messages", JSON_NUMBER, struct head_line, head.messages),
		JSON_FIELD("bytes", JSON_NUMBER, struct head_line, head.bytes),
		JSON_FIELD("stored_bytes", JSON_NUMBER, struct head_line, head.stored_bytes),
		JSON_FIELD("last_pack", JSON_NUMBER, struct head_line, head.last_pack),
		JSON_FIELD_OPTIONAL("changes", JSON_NUMBER, struct head_line, head.changes),
		JSON_FIELD_OPTIONAL("last_changes", JSON_NUMBER, struct head_line,
				    head.last_changes),
	};
	struct head_line read = { 0 };

	if (!json_read(line, fields, ARRAY_COUNT(fields), &read) ||
	    strcmp(read.format, "mailhaul-manifest") != 0 || read.version != MANIFEST_VERSION ||
	    read.head.generation == 0 || !digest_type(text_of(read.head.digest_name)))
		return false;
	*head = read.head;
	return true;
}

bool manifest_line_read(struct text line, struct manifest_line *out)
{
	static const struct json_field fields[] = {
		JSON_FIELD("line", JSON_TEXT, struct manifest_line, line),
		JSON_FIELD_OPTIONAL("number", JSON_NUMBER, struct manifest_line, number),
		JSON_FIELD_OPTIONAL("pack", JSON_TEXT, struct manifest_line, pack),
		JSON_FIELD_OPTIONAL("pack_bytes", JSON_NUMBER, struct manifest_line, pack_bytes),
		JSON_FIELD_OPTIONAL("pack_digest", JSON_HEX, struct manifest_line, pack_digest),
		JSON_FIELD_OPTIONAL("index", JSON_TEXT, struct manifest_line, index),
		JSON_FIELD_OPTIONAL("index_bytes", JSON_NUMBER, struct manifest_line, index_bytes),
		JSON_FIELD_OPTIONAL("index_digest", JSON_HEX, struct manifest_line, index_digest),
		JSON_FIELD_OPTIONAL("messages", JSON_NUMBER, struct manifest_line, messages),
		JSON_FIELD_OPTIONAL("bytes", JSON_NUMBER, struct manifest_line, bytes),
		JSON_FIELD_OPTIONAL("name", JSON_TEXT, struct manifest_line, name),
		JSON_FIELD_OPTIONAL("raw", JSON_TEXT, struct manifest_line, raw),
		JSON_FIELD_OPTIONAL("sep", JSON_TEXT, struct manifest_line, separator),
		JSON_FIELD_OPTIONAL("use", JSON_TEXT, struct manifest_line, use),
		JSON_FIELD_OPTIONAL("prefix", JSON_TEXT, struct manifest_line, prefix),
		JSON_FIELD_OPTIONAL("subscribed", JSON_BOOL, struct manifest_line, subscribed),
		JSON_FIELD_OPTIONAL("selectable", JSON_BOOL, struct manifest_line, selectable),
		JSON_FIELD_OPTIONAL("epoch", JSON_NUMBER, struct manifest_line, epoch),
		JSON_FIELD_OPTIONAL("object", JSON_TEXT, struct manifest_line, object),
		JSON_FIELD_OPTIONAL("object_bytes", JSON_NUMBER, struct manifest_line,
				    object_bytes),
		JSON_FIELD_OPTIONAL("object_digest", JSON_HEX, struct manifest_line, object_digest),
		JSON_FIELD_OPTIONAL("reflagged", JSON_NUMBER, struct manifest_line, reflagged),
		JSON_FIELD_OPTIONAL("vanished", JSON_NUMBER, struct manifest_line, vanished),
		JSON_FIELD_OPTIONAL("renumbered", JSON_NUMBER, struct manifest_line, renumbered),
		JSON_FIELD_OPTIONAL("lines", JSON_NUMBER, struct manifest_line, lines),
	};

	memset(out, 0, sizeof *out);
	return json_read(line, fields, ARRAY_COUNT(fields), out);
}

static void copy_name(char to[BOX_NAME_BYTES_MAX + 1], const char *from)
{
	snprintf(to, BOX_NAME_BYTES_MAX + 1, "%s", from);
}

void manifest_line_box(const struct manifest_line *line, struct box *box)
{
	memset(box, 0, sizeof *box);
	copy_name(box->name, line->name);
	copy_name(box->raw, line->raw);
	box->separator = line->separator[0];
	if (!box_use_from_name(text_of(line->use), &box->use))
		box->use = BOX_USE_NONE;
	box->subscribed = line->subscribed;
	box->selectable = line->selectable;
	box->epoch = line->epoch;
	snprintf(box->prefix, sizeof box->prefix, "%s", line->prefix);
}

static void box_add(struct buffer *to, const struct box *box)
{
	json_begin(to);
	json_add_text(to, "line", text_of("box"));
	json_add_text(to, "name", text_of(box->name));
	json_add_text(to, "raw", text_of(box->raw));
	json_add_text(to, "sep", (struct text){ &box->separator, box->separator != '\0' });
	json_add_text(to, "use", text_of(box_use_name(box->use)));
	json_add_bool(to, "subscribed", box->subscribed);
	json_add_bool(to, "selectable", box->selectable);
	json_add_number(to, "epoch", box->epoch);
	if (box->prefix[0])
		json_add_text(to, "prefix", text_of(box->prefix));
	json_end(to);
}

static void pack_line(struct buffer *to, const struct manifest_line *line)
{
	json_begin(to);
	json_add_text(to, "line", text_of("pack"));
	json_add_number(to, "number", line->number);
	json_add_text(to, "pack", text_of(line->pack));
	json_add_number(to, "pack_bytes", line->pack_bytes);
	json_add_hex(to, "pack_digest", line->pack_digest, DIGEST_BYTES);
	json_add_text(to, "index", text_of(line->index));
	json_add_number(to, "index_bytes", line->index_bytes);
	json_add_hex(to, "index_digest", line->index_digest, DIGEST_BYTES);
	json_add_number(to, "messages", line->messages);
	json_add_number(to, "bytes", line->bytes);
	json_end(to);
}

static void changes_line(struct buffer *to, const struct manifest_line *line)
{
	json_begin(to);
	json_add_text(to, "line", text_of("changes"));
	json_add_number(to, "number", line->number);
	json_add_text(to, "object", text_of(line->object));
	json_add_number(to, "object_bytes", line->object_bytes);
	json_add_hex(to, "object_digest", line->object_digest, DIGEST_BYTES);
	json_add_number(to, "reflagged", line->reflagged);
	json_add_number(to, "vanished", line->vanished);
	json_add_number(to, "renumbered", line->renumbered);
	json_end(to);
}

/* ---- folders met ---- */

/* Of the name as it reads back from JSON, or hostile bytes could look like two folders. */
static enum err name_hash(const char *name, uint64_t *hash)
{
	struct buffer escaped = { 0 };
	struct digest digest;
	enum err e;

	json_escape(&escaped, text_of(name));
	e = digest_of(digest_type(text_of("blake3")), escaped.at, escaped.bytes, &digest);
	buffer_free(&escaped);
	*hash = e ? 0 : bytes_get_le64(digest.bytes);
	return e;
}

enum err manifest_boxes_add(struct manifest_boxes *boxes, const struct box *box)
{
	uint64_t *more;
	size_t room;

	if (boxes->count == boxes->room) {
		room = boxes->room ? 2 * boxes->room : 64;
		if (!(more = realloc(boxes->hashes, room * sizeof *more)))
			return RAISE(ERR_MEMORY_EXHAUSTED, "keeping %zu folders", boxes->count);
		boxes->hashes = more;
		boxes->room = room;
	}
	box_add(&boxes->lines, box);
	if (boxes->lines.failed)
		return RAISE(ERR_MEMORY_EXHAUSTED, "keeping %zu folders", boxes->count);
	return name_hash(box->name, &boxes->hashes[boxes->count++]);
}

void manifest_boxes_free(struct manifest_boxes *boxes)
{
	buffer_free(&boxes->lines);
	free(boxes->hashes);
	*boxes = (struct manifest_boxes){ 0 };
}

static int compare_u64(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

	return left < right ? -1 : left > right;
}

static bool boxes_have(const struct manifest_boxes *boxes, uint64_t hash)
{
	return boxes->count > 0 &&
	       bsearch(&hash, boxes->hashes, boxes->count, sizeof hash, compare_u64);
}

/* ---- generations that are there ---- */

static enum err head_of(struct store *store, const char *mailbox_key, uint64_t generation,
			struct manifest_head *head)
{
	char key[STORE_KEY_BYTES_MAX + 1];
	struct ndjson *lines = NULL;
	struct text line;
	enum err e;

	*head = (struct manifest_head){ 0 };
	if (generation == 0)
		return OK;
	manifest_key(key, mailbox_key, generation);
	if (!(e = ndjson_open(store, key, &lines)))
		e = ndjson_next(lines, &line);
	if (e == ERR_PIPE_ENDED ||
	    (!e && (!manifest_head_read(line, head) || head->generation != generation)))
		e = RAISE(ERR_ARCHIVE_DAMAGED, "%s: its first line does not parse", key);
	if (e)
		*head = (struct manifest_head){ .generation = generation };
	ndjson_close(&lines);
	return e;
}

/* Those that there are, ascending: uint64_t. */
static enum err numbers_of(struct store *store, const char *mailbox_key, struct buffer *numbers)
{
	char prefix[STORE_KEY_BYTES_MAX + 1];
	struct buffer names = { 0 };
	const char *name = NULL;
	uint64_t number;
	enum err e;

	snprintf(prefix, sizeof prefix, "%s/manifest", mailbox_key);
	e = store->type->list(store, prefix, &names);
	while (!e && store_names_next(&names, &name))
		if (pack_number(name, &number))
			buffer_add(numbers, &number, sizeof number);
	buffer_free(&names);
	if (!e && numbers->failed)
		return RAISE(ERR_MEMORY_EXHAUSTED, "listing the manifests of %s", mailbox_key);
	if (!e && numbers->bytes > 0)
		qsort(numbers->at, numbers->bytes / sizeof number, sizeof number, compare_u64);
	return e;
}

static uint64_t number_at(const struct buffer *numbers, size_t i)
{
	uint64_t number;

	memcpy(&number, numbers->at + i * sizeof number, sizeof number);
	return number;
}

enum err manifest_newest(struct store *store, const char *mailbox_key, struct manifest_head *head)
{
	struct buffer numbers = { 0 };
	enum err e = numbers_of(store, mailbox_key, &numbers);
	size_t count = numbers.bytes / sizeof(uint64_t);
	uint64_t newest = !e && count > 0 ? number_at(&numbers, count - 1) : 0;

	buffer_free(&numbers);
	return e ? e : head_of(store, mailbox_key, newest, head);
}

static bool is_later(const struct manifest_head *head, const struct mail_date *date)
{
	struct mail_date created;

	return mail_date_from_rfc3339(text_of(head->created), &created) &&
	       created.seconds > date->seconds;
}

static enum err find_fault(struct archive_faults *faults, const char *mailbox_key,
			   uint64_t generation, enum err e)
{
	char key[STORE_KEY_BYTES_MAX + 1];

	manifest_key(key, mailbox_key, generation);
	return archive_fault(faults, key, e);
}

/* From the newest down; the names are listed once, however many are damaged. Numbers grow by one,
 * so one that is due and not there is a loss; behind a damaged one, which was told, none is due. */
enum err manifest_find(struct archive_faults *faults, struct store *store, const char *mailbox_key,
		       const struct archive_moment *moment, struct manifest_head *head)
{
	struct buffer numbers = { 0 };
	enum err e = numbers_of(store, mailbox_key, &numbers);
	size_t i = numbers.bytes / sizeof(uint64_t);
	uint64_t number = i ? number_at(&numbers, i - 1) : 0, highest = number;
	bool is_due = true, found = false;

	if (moment->generation)
		highest = min_u64(highest, moment->generation);
	while (!e && !found && i-- > 0) {
		if ((number = number_at(&numbers, i)) > highest)
			continue; /* beyond the moment, or there twice */
		if (is_due && number < highest &&
		    (e = find_fault(faults, mailbox_key, highest, ERR_DISK_ABSENT)))
			break;
		is_due = !(e = head_of(store, mailbox_key, number, head));
		if (is_due)
			found = !moment->date.known || !is_later(head, &moment->date);
		else
			e = find_fault(faults, mailbox_key, number, e);
		highest = number ? number - 1 : 0;
	}
	buffer_free(&numbers);
	if (!found)
		*head = (struct manifest_head){ 0 };
	return e;
}

/* ---- the next generation ---- */

struct making {
	struct store *store;
	const struct manifest_next *next;
	struct tap *tap;
	struct manifest_head head; /* of the generation being made */
	struct buffer packs, changes, kept, boxes_before, whole;
	uint64_t lines;
	struct manifest_line line;
	struct change_line change;
};

/* The pack whose index is `name`, as a line. */
static enum err add_pack(struct making *making, const char *name, uint64_t number)
{
	struct manifest_line *line = &making->line;
	struct pack_head pack;
	struct ndjson *lines = NULL;
	struct digest digest;
	struct text text;
	enum err e;

	memset(line, 0, sizeof *line);
	line->number = number;
	snprintf(line->index, sizeof line->index, "%s/index/%.40s", making->next->mailbox_key,
		 name);
	if (!(e = ndjson_open(making->store, line->index, &lines)) &&
	    !(e = ndjson_next(lines, &text)) && !pack_head_read(text, &pack))
		e = RAISE(ERR_ARCHIVE_DAMAGED, "%s: its first line does not parse", line->index);
	ndjson_close(&lines);
	if (!e)
		e = store_digest(making->store, line->index, making->tap, &digest,
				 &line->index_bytes);
	if (e)
		return e;
	memcpy(line->index_digest, digest.bytes, DIGEST_BYTES);
	memcpy(line->pack_digest, pack.pack_digest, DIGEST_BYTES);
	snprintf(line->pack, sizeof line->pack, "%s", pack.pack);
	line->pack_bytes = pack.pack_bytes;
	line->messages = pack.messages;
	line->bytes = pack.bytes;
	pack_line(&making->packs, line);
	making->head.packs++;
	making->head.messages += pack.messages;
	making->head.bytes += pack.bytes;
	making->head.stored_bytes += pack.pack_bytes;
	making->head.last_pack = number;
	making->lines++;
	return OK;
}

static enum err count_changes(struct making *making)
{
	struct manifest_line *line = &making->line;
	uint64_t *const counts[] = { [CHANGE_REFLAGGED] = &line->reflagged,
				     [CHANGE_VANISHED] = &line->vanished,
				     [CHANGE_RENUMBERED] = &line->renumbered };
	struct changes_read *read = NULL;
	struct text text;
	enum err e = changes_read_open(making->store, line->object, &read);

	while (!e && !(e = changes_read_next(read, &making->change, &text)))
		++*counts[making->change.kind];
	changes_read_close(&read);
	return e == ERR_PIPE_ENDED ? OK : e;
}

static enum err add_changes(struct making *making, const char *name, uint64_t number)
{
	struct manifest_line *line = &making->line;
	struct digest digest;
	enum err e;

	(void)name;
	memset(line, 0, sizeof *line);
	line->number = number;
	changes_key(line->object, making->next->mailbox_key, number);
	if ((e = count_changes(making)) ||
	    (e = store_digest(making->store, line->object, making->tap, &digest,
			      &line->object_bytes)))
		return e;
	memcpy(line->object_digest, digest.bytes, DIGEST_BYTES);
	changes_line(&making->changes, line);
	making->head.changes += line->reflagged + line->vanished + line->renumbered;
	making->head.last_changes = number;
	making->lines++;
	return OK;
}

/* What came since the newest generation, whichever run it was made by: one that was cut left it
 * unlisted. */
static enum err add_new(struct making *making, const char *folder, uint64_t after,
			enum err (*add)(struct making *, const char *name, uint64_t number))
{
	char prefix[STORE_KEY_BYTES_MAX + 1];
	struct buffer names = { 0 };
	const char *name = NULL;
	uint64_t number;
	enum err e;

	snprintf(prefix, sizeof prefix, "%s/%s", making->next->mailbox_key, folder);
	e = making->store->type->list(making->store, prefix, &names);
	while (!e && store_names_next(&names, &name))
		if (pack_number(name, &number) && number > after)
			e = add(making, name, number);
	buffer_free(&names);
	return e;
}

/* A folder of the generation before: kept at the end if it was not met again. */
static enum err keep_box(struct making *making, struct text line)
{
	uint64_t hash;
	enum err e;

	if (!manifest_line_read(line, &making->line) || strcmp(making->line.line, "box") != 0)
		return OK;
	buffer_add(&making->boxes_before, line.at, line.bytes);
	buffer_add(&making->boxes_before, "\n", 1);
	if ((e = name_hash(making->line.name, &hash)) || boxes_have(making->next->boxes, hash))
		return e;
	buffer_add(&making->kept, line.at, line.bytes);
	buffer_add(&making->kept, "\n", 1);
	making->lines++;
	return OK;
}

static enum err read_before(struct making *making, uint64_t generation)
{
	char key[STORE_KEY_BYTES_MAX + 1];
	struct ndjson *lines = NULL;
	struct digest digest;
	struct text line;
	uint64_t bytes;
	enum err e;

	if (generation == 0)
		return OK;
	manifest_key(key, making->next->mailbox_key, generation);
	if ((e = store_digest(making->store, key, making->tap, &digest, &bytes)))
		return e;
	memcpy(making->head.previous, digest.bytes, DIGEST_BYTES);
	e = ndjson_open(making->store, key, &lines);
	while (!e && !(e = ndjson_next(lines, &line)))
		e = keep_box(making, line);
	ndjson_close(&lines);
	return e == ERR_PIPE_ENDED ? OK : e;
}

static bool is_unchanged(const struct making *making, const struct manifest_head *newest)
{
	const struct buffer *before = &making->boxes_before, *now = &making->next->boxes->lines,
			    *kept = &making->kept;

	return making->head.generation > 1 && making->head.packs == newest->packs &&
	       making->head.last_changes == newest->last_changes &&
	       before->bytes == now->bytes + kept->bytes &&
	       (now->bytes == 0 || memcmp(before->at, now->at, now->bytes) == 0) &&
	       (kept->bytes == 0 || memcmp(before->at + now->bytes, kept->at, kept->bytes) == 0);
}

static enum err write_out(struct making *making)
{
	const struct mail_date now = { .seconds = clock_wall() / NSEC_SECOND, .known = true };
	const struct buffer *parts[] = { &making->packs, &making->changes,
					 &making->next->boxes->lines, &making->kept };
	struct manifest_head *head = &making->head;
	struct buffer *whole = &making->whole;
	char key[STORE_KEY_BYTES_MAX + 1];

	snprintf(head->mailbox, sizeof head->mailbox, "%s", making->next->mailbox_name);
	snprintf(head->digest_name, sizeof head->digest_name, "%s", making->next->digest->name);
	mail_date_rfc3339(head->created, &now);
	head_add(whole, head);
	for (size_t i = 0; i < ARRAY_COUNT(parts); i++) {
		buffer_add(whole, parts[i]->at, parts[i]->bytes);
		whole->failed |= parts[i]->failed;
	}
	json_begin(whole);
	json_add_text(whole, "line", text_of("end"));
	json_add_number(whole, "lines", making->lines + making->next->boxes->count + 2);
	json_end(whole);
	if (whole->failed)
		return RAISE(ERR_MEMORY_EXHAUSTED, "writing a manifest");
	manifest_key(key, making->next->mailbox_key, head->generation);
	return store_put_whole(making->store, key, whole->at, whole->bytes);
}

static enum err make_next(struct store *store, const struct manifest_next *next)
{
	struct making *making = calloc(1, sizeof *making);
	struct manifest_boxes *boxes = next->boxes;
	struct manifest_head newest;
	enum err e;

	if (!making)
		return RAISE(ERR_MEMORY_EXHAUSTED, "writing a manifest");
	making->store = store;
	making->next = next;
	if (boxes->count > 0)
		qsort(boxes->hashes, boxes->count, sizeof *boxes->hashes, compare_u64);
	if ((e = digest_open(next->digest, &making->tap)) ||
	    (e = manifest_newest(store, next->mailbox_key, &making->head)))
		goto out;
	newest = making->head;
	if ((e = read_before(making, making->head.generation++)) ||
	    (e = add_new(making, "index", newest.last_pack, add_pack)) ||
	    (e = add_new(making, "changes", newest.last_changes, add_changes)))
		goto out;
	if (!is_unchanged(making, &newest))
		e = write_out(making);
out:
	if (making->tap)
		making->tap->type->close(&making->tap);
	buffer_free(&making->packs);
	buffer_free(&making->changes);
	buffer_free(&making->kept);
	buffer_free(&making->boxes_before);
	buffer_free(&making->whole);
	free(making);
	return e;
}

/* In a bucket the last request of a run that was killed may be carried out late, and its generation
 * take the number that ours was to have: what it says is true, and ours goes on from it. */
enum err manifest_write(struct store *store, const struct manifest_next *next)
{
	enum err e = make_next(store, next);

	for (int i = 0; i < LATE_MAX && e == ERR_DISK_EXISTS; i++) {
		err_note_clear();
		e = make_next(store, next);
	}
	return e;
}
