/* See mime_catalogue.h. Rows lie in the order of the list, keys point to them and are sorted by
 * folder and number. */
#include "transport/mime_catalogue.h"

#include <stdio.h>
#include <stdlib.h>

#include "crypto/digest.h"
#include "engine/clock.h"
#include "engine/fiber.h"
#include "engine/log.h"
#include "engine/scratch.h"
#include "transport/archive_changes.h"
#include "transport/eml_layout.h"
#include "transport/http_parse.h"
#include "transport/name_table.h"

enum {
	ROOM_BYTES_MIN = 64 * 1024,
	TURN_KEYS = 8192, /* looked at before other fibers have a turn */
};
/* A list of a million objects takes a thousand requests. */
#define LIST_PATIENCE (3600 * NSEC_SECOND)
#define READ_PATIENCE (900 * NSEC_SECOND)

static const char instruction[] = ".instruction"; /* PROTOCOLS: S3 Encryption Client */

/* In texts, at `text_at`: the key below the prefix and the ETag, each terminated. */
struct row {
	uint64_t no, size_bytes, text_at;
	uint64_t mark; /* of the flags that it has now; 0: those that were stored with it */
	int64_t time_s;
	uint32_t folder;
	uint16_t key_bytes;
	bool has_instructions;
};

struct key {
	uint64_t no;
	uint32_t row;
};

struct mime_catalogue {
	unsigned references;
	struct mime_catalogue *next; /* of this thread; the newest first */
	char bucket[S3_BUCKET_BYTES_MAX + 1];
	const void *owner;
	char prefix[S3_KEY_BYTES_MAX + 1];
	bool is_ours, with_vanished;
	struct archive_changes *changes; /* NULL: nobody told of any */
	struct archive_message *message; /* that is looked up in them */
	struct mime_folder *folders;
	size_t folders_count, folders_room;
	struct name_table directories, names; /* of folders, by their prefix and by name */
	struct scratch rows, keys, texts;
	size_t rows_count, texts_bytes;
	struct s3 *s3; /* while it is listed */
	uint64_t passed_over;
};

static _Thread_local struct mime_catalogue *catalogues;

static struct row *rows_of(const struct mime_catalogue *catalogue)
{
	return (struct row *)(void *)catalogue->rows.at;
}

static struct key *keys_of(const struct mime_catalogue *catalogue)
{
	return (struct key *)(void *)catalogue->keys.at;
}

static const char *key_of(const struct mime_catalogue *catalogue, const struct row *row)
{
	return (const char *)catalogue->texts.at + row->text_at;
}

static enum err no_memory(void)
{
	return RAISE(ERR_MEMORY_EXHAUSTED, "listing messages in a bucket");
}

static void catalogue_free(struct mime_catalogue **catalogue_at)
{
	struct mime_catalogue *catalogue = *catalogue_at;

	*catalogue_at = NULL;
	if (!catalogue)
		return;
	for (size_t i = 0; i < catalogue->folders_count; i++)
		free(catalogue->folders[i].name);
	free(catalogue->folders);
	archive_changes_close(&catalogue->changes);
	free(catalogue->message);
	name_table_free(&catalogue->directories);
	name_table_free(&catalogue->names);
	scratch_close(&catalogue->rows);
	scratch_close(&catalogue->keys);
	scratch_close(&catalogue->texts);
	free(catalogue);
}

/* ---- folders ---- */

/* What lies at the prefix itself is new mail. */
static const char *name_of_directory(const char *directory)
{
	return *directory ? directory : "INBOX";
}

static enum err folder_add(struct mime_catalogue *catalogue, const char *name, uint32_t *index)
{
	size_t room = catalogue->folders_room ? 2 * catalogue->folders_room : 64;
	struct mime_folder *folders;

	if (catalogue->folders_count == catalogue->folders_room) {
		folders = reallocarray(catalogue->folders, room, sizeof *folders);
		if (!folders)
			return no_memory();
		catalogue->folders = folders;
		catalogue->folders_room = room;
	}
	*index = (uint32_t)catalogue->folders_count++;
	catalogue->folders[*index] =
		(struct mime_folder){ .name = strdup(name),
				      .separator = '/',
				      .subscribed = true,
				      .selectable = true,
				      .use = strcmp(name, "INBOX") == 0 ? BOX_USE_INBOX
									: BOX_USE_NONE };
	if (!catalogue->folders[*index].name)
		return no_memory();
	return name_table_put(&catalogue->names, text_of(name), *index);
}

/* The key in the bucket; false: it would be too long for one. */
static bool full_key(char to[S3_KEY_BYTES_MAX + 1], const struct mime_catalogue *catalogue,
		     const char *below, const char *more)
{
	int bytes = snprintf(to, S3_KEY_BYTES_MAX + 1, "%s%s%s", catalogue->prefix, below, more);

	return bytes >= 0 && bytes <= S3_KEY_BYTES_MAX;
}

static enum err read_folder_file(struct mime_catalogue *catalogue, const char *directory,
				 struct eml_folder_file *file)
{
	char key[S3_KEY_BYTES_MAX + 1], *text;
	size_t got = 0;
	enum err e;

	if (!full_key(key, catalogue, directory, eml_folder_name))
		return RAISE(ERR_S3_ABSENT, "%s says no name", directory);
	if (!(text = malloc(EML_FOLDER_BYTES_MAX)))
		return no_memory();
	e = s3_get(catalogue->s3,
		   &(struct s3_get){ .key = key, .to = text, .bytes = EML_FOLDER_BYTES_MAX },
		   clock_after(READ_PATIENCE), &got);
	if (!e && !eml_folder_read((struct text){ text, got }, file))
		e = RAISE(ERR_ARCHIVE_DAMAGED, "%s does not parse", key);
	free(text);
	return e;
}

static enum err folder_called(struct mime_catalogue *catalogue, const char *name, uint32_t *index)
{
	*index = name_table_find(&catalogue->names, text_of(name));
	return *index == NAME_TABLE_NONE ? folder_add(catalogue, name, index) : OK;
}

/* In a bucket of ours the folder says what it is called; one that does not is somebody else's. Two
 * that say the same are one. */
static enum err folder_named(struct mime_catalogue *catalogue, const char *directory,
			     uint32_t *index)
{
	struct eml_folder_file *file = calloc(1, sizeof *file);
	struct mime_folder *folder;
	enum err e = file ? read_folder_file(catalogue, directory, file) : no_memory();

	if (e == ERR_S3_ABSENT) {
		err_note_clear();
		e = folder_called(catalogue, directory, index);
	} else if (!e && !(e = folder_called(catalogue, file->name, index))) {
		folder = &catalogue->folders[*index];
		folder->separator = file->separator[0];
		folder->subscribed = file->subscribed;
		folder->selectable = file->selectable;
		if (!box_use_from_name(text_of(file->use), &folder->use))
			folder->use = BOX_USE_NONE;
	}
	free(file);
	return e;
}

static enum err folder_of(struct mime_catalogue *catalogue, const char *directory, uint32_t *index)
{
	enum err e;

	*index = name_table_find(&catalogue->directories, text_of(directory));
	if (*index != NAME_TABLE_NONE)
		return OK;
	e = catalogue->is_ours && *directory
		    ? folder_named(catalogue, directory, index)
		    : folder_called(catalogue, name_of_directory(directory), index);
	return e ? e : name_table_put(&catalogue->directories, text_of(directory), *index);
}

/* ---- rows ---- */

static enum err room_grow(struct scratch *scratch, size_t bytes)
{
	size_t room = max_u64(scratch->bytes, ROOM_BYTES_MIN);

	while (room < bytes)
		room *= 2;
	return scratch_grow(scratch, room);
}

/* ETags come with their quotes or without, as the server likes. */
static struct text bare(const char *etag)
{
	struct text text = text_of(etag + (*etag == '"'));

	if (text.bytes > 0 && text.at[text.bytes - 1] == '"')
		text.bytes--;
	return text;
}

static enum err number_of(const char *key, const char *etag, uint64_t *no)
{
	char text[S3_KEY_BYTES_MAX + 1 + S3_ETAG_BYTES_MAX + 1];
	struct text tag = bare(etag);
	int bytes = snprintf(text, sizeof text, "%s%c%.*s", key, '\0', (int)tag.bytes, tag.at);
	struct digest digest;
	enum err e;

	must(bytes > 0 && (size_t)bytes < sizeof text);
	e = digest_of(digest_type(text_of("blake3")), text, (size_t)bytes, &digest);
	*no = max_u64(bytes_get_le64(digest.bytes) >> (64 - MIME_NO_BITS), 1);
	return e;
}

static enum err keep_texts(struct mime_catalogue *catalogue, struct text key, struct text etag)
{
	uint8_t *to;
	enum err e =
		room_grow(&catalogue->texts, catalogue->texts_bytes + key.bytes + etag.bytes + 2);

	if (e)
		return e;
	to = catalogue->texts.at + catalogue->texts_bytes;
	bytes_copy(to, key.at, key.bytes + 1, BYTES_META);
	bytes_copy(to + key.bytes + 1, etag.at, etag.bytes + 1, BYTES_META);
	catalogue->texts_bytes += key.bytes + etag.bytes + 2;
	return OK;
}

static enum err keep_row(struct mime_catalogue *catalogue, const char *key,
			 const struct s3_entry *entry, uint32_t folder, uint64_t mark)
{
	struct row row = { .size_bytes = entry->bytes,
			   .text_at = catalogue->texts_bytes,
			   .mark = mark,
			   .time_s = entry->time_s,
			   .folder = folder,
			   .key_bytes = (uint16_t)strlen(key) };
	enum err e;

	if (catalogue->rows_count == UINT32_MAX)
		return no_memory();
	if ((e = room_grow(&catalogue->rows, (catalogue->rows_count + 1) * sizeof row)) ||
	    (e = number_of(key, entry->id, &row.no)) ||
	    (e = keep_texts(catalogue, text_of(key), text_of(entry->id))))
		return e;
	rows_of(catalogue)[catalogue->rows_count++] = row;
	return OK;
}

/* Lists are in the order of keys; where one is not, what is not found is no harm: the object is
 * then seen to be no mail. */
static struct row *find_key(const struct mime_catalogue *catalogue, struct text key)
{
	size_t low = 0, high = catalogue->rows_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		struct row *row = &rows_of(catalogue)[middle];
		int order = strncmp(key_of(catalogue, row), key.at, key.bytes);

		if (order == 0 && row->key_bytes == key.bytes)
			return row;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

static void pass_over(struct mime_catalogue *catalogue, const char *key, const char *what)
{
	char shown[200];

	log_event(catalogue->passed_over++ ? LOG_DEBUG : LOG_WARN, "mime.passed_over",
		  "!key=\"%s\" what=\"%s\"", err_quote(shown, sizeof shown, text_of(key)), what);
}

/* What is no message by its name alone. */
static bool is_passed_over(struct mime_catalogue *catalogue, const char *key)
{
	const char *slash = strrchr(key, '/'), *name = slash ? slash + 1 : key;
	size_t bytes = strlen(key), more = sizeof instruction - 1;
	struct row *row;

	if (!*name) {
		if (*key)
			pass_over(catalogue, key, "a folder's marker");
		return true;
	}
	if (strcmp(name, "AMAZON_SES_SETUP_NOTIFICATION") == 0) {
		pass_over(catalogue, key, "what SES writes when a rule is made");
		return true;
	}
	if (bytes <= more || strcmp(key + bytes - more, instruction) != 0 ||
	    !(row = find_key(catalogue, (struct text){ key, bytes - more })))
		return false;
	row->has_instructions = true;
	pass_over(catalogue, key, "what the S3 Encryption Client keeps beside an object");
	return true;
}

/* ---- what became of messages ---- */

/* EPOCH-NUMBER.eml */
static bool read_name(const char *name, uint64_t *epoch, uint64_t *no)
{
	const char *dash = strchr(name, '-'), *dot = strchr(name, '.');

	return dash && dot && dash < dot && strcmp(dot, ".eml") == 0 &&
	       http_parse_number((struct text){ name, (size_t)(dash - name) }, UINT64_MAX, epoch) &&
	       http_parse_number((struct text){ dash + 1, (size_t)(dot - dash - 1) }, UINT64_MAX,
				 no);
}

/* Into catalogue->message what became of it; false: nothing that anybody told of. */
static bool look_up(const struct mime_catalogue *catalogue, const char *key,
		    const struct mail_meta *meta)
{
	const char *slash = strrchr(key, '/');
	struct archive_message *message = catalogue->message;
	uint32_t folder;

	if (!catalogue->changes || !slash)
		return false;
	folder = name_table_find(&catalogue->directories,
				 (struct text){ key, (size_t)(slash - key) });
	*message = (struct archive_message){ .vanished = false };
	if (folder == NAME_TABLE_NONE || !read_name(slash + 1, &message->epoch, &message->no))
		return false;
	if (meta)
		message->meta = *meta;
	snprintf(message->box, sizeof message->box, "%s", catalogue->folders[folder].name);
	archive_changes_apply(catalogue->changes, message);
	return message->changed[0] != '\0';
}

static void note_left(void *context, const char *box)
{
	struct mime_catalogue *catalogue = context;
	uint32_t index = name_table_find(&catalogue->names, text_of(box));

	if (index != NAME_TABLE_NONE)
		catalogue->folders[index].gone = true;
}

static enum err keep_changed(struct mime_catalogue *catalogue, const char *key,
			     const struct s3_entry *entry)
{
	const struct archive_message *message = catalogue->message;
	uint32_t folder;
	enum err e;

	if (message->vanished && !catalogue->with_vanished)
		return OK;
	if ((e = folder_called(catalogue, message->box, &folder)))
		return e;
	return keep_row(catalogue, key, entry, folder, mail_mark(&message->meta));
}

static void tell_damage(void *context, const char *key, const char *what)
{
	(void)context;
	log_event(LOG_WARN, "mime.changes_damaged", "!key=\"%s\" !what=\"%s\"", key, what);
}

static enum err load_changes(struct mime_catalogue *catalogue, const struct mime_place *place)
{
	struct archive_faults faults = { .tell = tell_damage };
	enum err e;

	if (!place->store)
		return OK;
	if (!(catalogue->message = calloc(1, sizeof *catalogue->message)))
		return no_memory();
	e = archive_changes_open(place->store, place->mailbox_key, UINT64_MAX, 0, &faults,
				 &catalogue->changes);
	if (catalogue->changes)
		archive_changes_on_left(catalogue->changes, note_left, catalogue);
	return e;
}

/* ---- the list ---- */

/* A folder is one because something lies in it, if only what says its name. */
static enum err take_entry(void *context, const struct s3_entry *entry)
{
	struct mime_catalogue *catalogue = context;
	size_t prefix_bytes = strlen(catalogue->prefix);
	char directory[S3_KEY_BYTES_MAX + 1];
	const char *key, *slash;
	uint32_t folder;
	enum err e;

	if (strlen(entry->key) > S3_KEY_BYTES_MAX || strlen(entry->id) > S3_ETAG_BYTES_MAX ||
	    entry->bytes > INT64_MAX || strncmp(entry->key, catalogue->prefix, prefix_bytes) != 0)
		return RAISE(ERR_XML_SYNTAX, "bucket %s lists what was not asked for",
			     catalogue->bucket);
	key = entry->key + prefix_bytes;
	slash = strrchr(key, '/');
	if (is_passed_over(catalogue, key))
		return OK;
	if (!*entry->id)
		return RAISE(ERR_XML_SYNTAX,
			     "bucket %s lists objects without ETags, so nobody can tell whether "
			     "one is replaced while it is read",
			     catalogue->bucket);
	snprintf(directory, sizeof directory, "%.*s", slash ? (int)(slash - key) : 0, key);
	if ((e = folder_of(catalogue, directory, &folder)))
		return e;
	if (catalogue->is_ours && slash && strcmp(slash, eml_folder_name) == 0)
		return OK;
	return look_up(catalogue, key, NULL) ? keep_changed(catalogue, key, entry)
					     : keep_row(catalogue, key, entry, folder, 0);
}

/* ---- the order of keys ---- */

static enum err deal_keys(struct mime_catalogue *catalogue)
{
	size_t place = 0;
	enum err e =
		room_grow(&catalogue->keys, max_u64(catalogue->rows_count, 1) * sizeof(struct key));

	if (e)
		return e;
	for (size_t i = 0; i < catalogue->rows_count; i++) {
		struct mime_folder *folder = &catalogue->folders[rows_of(catalogue)[i].folder];

		folder->messages++;
		folder->bytes += rows_of(catalogue)[i].size_bytes;
	}
	for (size_t i = 0; i < catalogue->folders_count; i++) {
		catalogue->folders[i].first = catalogue->folders[i].end = place;
		place += catalogue->folders[i].messages;
	}
	for (size_t i = 0; i < catalogue->rows_count; i++) {
		const struct row *row = &rows_of(catalogue)[i];

		keys_of(catalogue)[catalogue->folders[row->folder].end++] =
			(struct key){ row->no, (uint32_t)i };
	}
	return OK;
}

static int compare_keys(const void *left, const void *right)
{
	const struct key *a = left, *b = right;

	if (a->no != b->no)
		return a->no < b->no ? -1 : 1;
	return (a->row > b->row) - (a->row < b->row);
}

static uint64_t mix(uint64_t hash, uint64_t with)
{
	hash = (hash ^ with) * 0x9e3779b97f4a7c15u;
	return hash ^ hash >> 29;
}

/* Of two messages with one number, which are to be expected once in ten million folders of a
 * million, the first is taken, and the other stays announced. */
static enum err sort_folder(struct mime_catalogue *catalogue, struct mime_folder *folder)
{
	struct key *keys = keys_of(catalogue) + folder->first;
	size_t count = folder->end - folder->first, kept = 0;
	uint64_t mark[2] = { folder->messages, 0 }, flags;
	enum err e = OK;

	if (count > 0)
		qsort(keys, count, sizeof *keys, compare_keys);
	for (size_t i = 0; i < count && !e; i++) {
		if (kept > 0 && keys[i].no == keys[kept - 1].no)
			continue;
		keys[kept++] = keys[i];
		flags = rows_of(catalogue)[keys[i].row].mark;
		mark[0] = mix(mix(mark[0], keys[i].no), flags);
		mark[1] = mix(mix(mark[1] + 1, flags), keys[i].no);
		if (i % TURN_KEYS == TURN_KEYS - 1)
			e = fiber_yield();
	}
	folder->end = folder->first + kept;
	folder->gone &= folder->messages == 0;
	folder->next_no = kept > 0 ? keys[kept - 1].no + 1 : 1;
	snprintf(folder->tag, sizeof folder->tag, "%016llx%016llx", (unsigned long long)mark[0],
		 (unsigned long long)mark[1]);
	return e;
}

/* ---- the whole ---- */

static enum err fill(struct mime_catalogue *catalogue, const struct mime_place *place)
{
	enum err e = load_changes(catalogue, place);

	if (!e)
		e = s3_list(place->s3,
			    &(struct s3_list){ .prefix = catalogue->prefix,
					       .take = take_entry,
					       .context = catalogue },
			    clock_after(LIST_PATIENCE));
	if (!e)
		e = deal_keys(catalogue);
	for (size_t i = 0; i < catalogue->folders_count && !e; i++)
		e = sort_folder(catalogue, &catalogue->folders[i]);
	if (!e && catalogue->passed_over > 0)
		log_event(LOG_INFO, "mime.listed", "messages=%zu folders=%zu passed_over=%llu",
			  catalogue->rows_count, catalogue->folders_count,
			  (unsigned long long)catalogue->passed_over);
	return e;
}

static enum err catalogue_make(const struct mime_place *place, struct mime_catalogue **out)
{
	struct mime_catalogue *catalogue = calloc(1, sizeof *catalogue);
	enum err e;

	if (!catalogue)
		return no_memory();
	catalogue->references = 1;
	catalogue->owner = place->owner;
	catalogue->is_ours = place->store != NULL;
	catalogue->with_vanished = place->vanished;
	catalogue->s3 = place->s3;
	snprintf(catalogue->bucket, sizeof catalogue->bucket, "%s", place->bucket);
	snprintf(catalogue->prefix, sizeof catalogue->prefix, "%s", place->prefix);
	if ((e = fill(catalogue, place))) {
		catalogue_free(&catalogue);
		return e;
	}
	catalogue->s3 = NULL;
	catalogue->next = catalogues;
	catalogues = *out = catalogue;
	return OK;
}

static bool is_of(const struct mime_catalogue *catalogue, const struct mime_place *place)
{
	return catalogue->owner == place->owner && catalogue->with_vanished == place->vanished &&
	       strcmp(catalogue->bucket, place->bucket) == 0 &&
	       strcmp(catalogue->prefix, place->prefix) == 0;
}

enum err mime_catalogue_take(const struct mime_place *place, bool anew, struct mime_catalogue **out)
{
	*out = NULL;
	for (struct mime_catalogue *at = catalogues; at && !anew && !*out; at = at->next)
		if (is_of(at, place))
			*out = at;
	if (!*out)
		return catalogue_make(place, out);
	(*out)->references++;
	return OK;
}

void mime_catalogue_give(struct mime_catalogue **catalogue_at)
{
	struct mime_catalogue *catalogue = *catalogue_at, **at = &catalogues;

	*catalogue_at = NULL;
	if (!catalogue || --catalogue->references > 0)
		return;
	while (*at != catalogue)
		at = &(*at)->next;
	*at = catalogue->next;
	catalogue_free(&catalogue);
}

/* ---- asking ---- */

size_t mime_catalogue_folders(const struct mime_catalogue *catalogue)
{
	return catalogue->folders_count;
}

const struct mime_folder *mime_catalogue_folder(const struct mime_catalogue *catalogue,
						size_t index)
{
	must(index < catalogue->folders_count);
	return &catalogue->folders[index];
}

size_t mime_catalogue_find(const struct mime_catalogue *catalogue, const char *name)
{
	uint32_t index = name_table_find(&catalogue->names, text_of(name));

	return index == NAME_TABLE_NONE ? SIZE_MAX : index;
}

size_t mime_catalogue_seek(const struct mime_catalogue *catalogue, size_t index, uint64_t no)
{
	const struct mime_folder *folder = mime_catalogue_folder(catalogue, index);
	size_t low = folder->first, high = folder->end;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (keys_of(catalogue)[middle].no < no)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

uint64_t mime_catalogue_no(const struct mime_catalogue *catalogue, size_t place)
{
	must(place < catalogue->rows_count);
	return keys_of(catalogue)[place].no;
}

void mime_catalogue_message(const struct mime_catalogue *catalogue, size_t place,
			    struct mime_message *out)
{
	const struct row *row;

	must(place < catalogue->rows_count);
	row = &rows_of(catalogue)[keys_of(catalogue)[place].row];
	out->no = row->no;
	out->size_bytes = row->size_bytes;
	out->time_s = row->time_s;
	out->has_instructions = row->has_instructions;
	must(full_key(out->key, catalogue, key_of(catalogue, row), ""));
	snprintf(out->etag, sizeof out->etag, "%s", key_of(catalogue, row) + row->key_bytes + 1);
}

bool mime_catalogue_meta(const struct mime_catalogue *catalogue, size_t place,
			 struct mail_meta *meta)
{
	const struct row *row;

	must(place < catalogue->rows_count);
	row = &rows_of(catalogue)[keys_of(catalogue)[place].row];
	if (!row->mark || !look_up(catalogue, key_of(catalogue, row), meta))
		return false;
	*meta = catalogue->message->meta;
	return true;
}
