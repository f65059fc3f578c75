/* A store in a bucket: its place, and names. Reading is store_s3_read.c, writing store_s3_put.c and
 * store_s3_whole.c, who may write store_s3_lock.c. */
#include "transport/store_s3.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/clock.h"
#include "transport/store_s3_part.h"
#include "transport/store_s3_put.h"
#include "transport/store_s3_read.h"

enum {
	/* Names of one list: of 100,000 mailboxes. What has more is no archive. */
	NAMES_BYTES_MAX = 16 * 1024 * 1024,
};
/* Of one call, with its repetitions: a part of 8 MiB takes 70 s over a line of 1 Mbit/s. A list of
 * a million names takes a thousand requests. */
#define PATIENCE_NS	 (900 * NSEC_SECOND)
#define LIST_PATIENCE_NS (3600 * NSEC_SECOND)

struct store_s3 {
	struct store base;
	struct store_s3_place place;
	struct store_s3_reader reader;
};

static struct store_s3 *s3_of(struct store *store)
{
	must(store->type == &store_s3);
	return CONTAINER_OF(store, struct store_s3, base);
}

/* ---- shared with the other files ---- */

char *store_s3_key(char to[S3_KEY_BYTES_MAX + 1], const struct store_s3_place *place,
		   const char *key)
{
	int n = snprintf(to, S3_KEY_BYTES_MAX + 1, "%s%s", place->prefix, key);

	must(n >= 0 && n <= S3_KEY_BYTES_MAX);
	return to;
}

void store_s3_was_stored(const struct store_s3_place *place, const char *key, uint64_t bytes,
			 uint64_t crc)
{
	char full[S3_KEY_BYTES_MAX + 1];

	if (place->config->stored)
		bucket_stored_add(place->config->stored, store_s3_key(full, place, key), bytes,
				  crc);
}

nsec store_s3_patience(void)
{
	return clock_after(PATIENCE_NS);
}

enum err store_s3_instead(enum err e, const char *key, const char *text)
{
	char words[ERR_NOTE_BYTES_MAX];

	snprintf(words, sizeof words, "%s", err_note()->text);
	err_note_clear();
	return RAISE(e, "%s%s%s%s%s", text ? key : "", text ? " " : "", text ? text : "",
		     text && words[0] ? ": " : "", words);
}

enum err store_s3_error(enum err e)
{
	if (e == ERR_S3_ABSENT)
		return store_s3_instead(ERR_DISK_ABSENT, NULL, NULL);
	return e == ERR_S3_EXISTS ? store_s3_instead(ERR_DISK_EXISTS, NULL, NULL) : e;
}

/* ---- opening, the end ---- */

/* What keys have, too: the rest is sent, listed and shown in other ways by one server or another
 * (radosgw 16 lists uploads below "a b/" as if below "a%20b/", and says nothing of that). */
static bool is_sound(struct text prefix)
{
	const char *slash;
	size_t bytes;

	for (; prefix.bytes > 0; prefix.at += bytes + 1, prefix.bytes -= bytes + 1) {
		slash = memchr(prefix.at, '/', prefix.bytes);
		bytes = slash - prefix.at;
		if (!store_name_is_valid((struct text){ prefix.at, bytes }))
			return false;
	}
	return true;
}

static enum err place_name(struct store_s3_place *place, const struct account *account, bool create)
{
	const char *path = account->path + strspn(account->path, "/");
	size_t bytes = strlen(path);

	while (bytes > 0 && path[bytes - 1] == '/')
		bytes--;
	if (bytes >= STORE_S3_PREFIX_BYTES_MAX)
		return RAISE(create ? ERR_INPUT_USAGE : ERR_DISK_ABSENT,
			     "the prefix in %s is too long: at most %d bytes", account->shown,
			     STORE_S3_PREFIX_BYTES_MAX - 1);
	snprintf(place->prefix, sizeof place->prefix, "%.*s%s", (int)bytes, path,
		 bytes > 0 ? "/" : "");
	snprintf(place->name, sizeof place->name, "s3://%s/%s", account->host, place->prefix);
	return is_sound(text_of(place->prefix))
		       ? OK
		       : RAISE(create ? ERR_INPUT_USAGE : ERR_DISK_ABSENT,
			       "the prefix in %s is not of letters, digits and . _ - / alone, or a "
			       "component of it is empty, too long or begins with a dot",
			       account->shown);
}

static void s3_store_close(struct store **store_at)
{
	struct store_s3 *store;
	union store_lock_held held;

	if (!*store_at)
		return;
	store = s3_of(*store_at);
	must(store->place.senders == 0);
	*store_at = NULL;
	/* Without finish() the lock object stays, for the next run to take over. */
	(void)store_lock_leave(&store->place.lock, &held);
	store_s3_put_forget(&store->place);
	store_s3_read_close(&store->reader);
	store_s3_parts_close(&store->place);
	s3_close(&store->place.s3);
	free(store);
}

static enum err s3_store_open(struct store **out, const struct account *account, bool create,
			      nsec until)
{
	struct store_s3 *store = calloc(1, sizeof *store);
	struct s3_config config;
	enum err e;

	(void)until;
	*out = NULL;
	must(account->s3 != NULL);
	if (!store)
		return RAISE(ERR_MEMORY_EXHAUSTED, "opening %s", account->shown);
	store->base.type = &store_s3;
	store_s3_parts_open();
	store->place.config = account->s3;
	store->place.way = *account;
	store->place.checksum = account->s3->s3.checksum;
	store->place.is_careful = !aws_endpoint_is_of_aws(&account->s3->s3.endpoint);
	config = account->s3->s3;
	config.bucket = account->host;
	config.way = &store->place.way;
	*out = &store->base;
	if ((e = place_name(&store->place, account, create)) ||
	    (e = s3_open(&config, &store->place.s3)))
		s3_store_close(out);
	return e;
}

static void s3_store_finish(struct store *base, nsec until)
{
	store_s3_unlock(&s3_of(base)->place, until);
}

struct s3 *store_s3_bucket(struct store *base, const char **prefix)
{
	struct store_s3 *store = s3_of(base);

	*prefix = store->place.prefix;
	return store->place.s3;
}

/* ---- reading ---- */

static enum err s3_store_size(struct store *base, const char *key, uint64_t *bytes)
{
	struct store_s3 *store = s3_of(base);

	must(store_key_is_valid(text_of(key)));
	return store_s3_read_size(&store->place, &store->reader, key, bytes);
}

static enum err s3_store_get(struct store *base, const char *key, uint64_t offset, void *to,
			     size_t length, size_t *got)
{
	struct store_s3 *store = s3_of(base);

	must(store_key_is_valid(text_of(key)));
	return store_s3_read_get(&store->place, &store->reader, key, offset, to, length, got);
}

/* ---- names ---- */

struct listing {
	struct buffer *names;
	const char *prefix;
	size_t prefix_bytes, count;
	bool is_root;
};

static bool is_own_name(const struct listing *listing, struct text name)
{
	return listing->is_root && text_equal(name, text_of(".lock"));
}

static enum err take_name(void *context, const struct s3_entry *entry)
{
	struct listing *listing = context;
	struct text name = text_of(entry->key);

	if (strncmp(entry->key, listing->prefix, listing->prefix_bytes) != 0)
		return RAISE(ERR_XML_SYNTAX, "the server lists what was not asked for");
	name.at += listing->prefix_bytes;
	name.bytes -= listing->prefix_bytes;
	if (entry->is_prefix && name.bytes > 0)
		name.bytes--;
	if (name.bytes == 0 || is_own_name(listing, name))
		return OK;
	if (listing->names->bytes + name.bytes >= NAMES_BYTES_MAX)
		return RAISE(ERR_SINK_FOREIGN,
			     "there are more than %zu names below %.*s, so this is no archive; "
			     "choose another prefix",
			     listing->count, (int)listing->prefix_bytes, entry->key);
	buffer_add(listing->names, name.at, name.bytes);
	buffer_add(listing->names, "", 1);
	listing->count++;
	return OK;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Pages are in order, but objects and what stands for those below a delimiter are told apart. An
 * object and others below its key give one name. */
static bool sort_names(struct buffer *names, size_t count)
{
	const char **rows = calloc(count + 1, sizeof *rows), *name = NULL;
	struct buffer sorted = { 0 };
	size_t i = 0;

	while (rows && store_names_next(names, &name))
		rows[i++] = name;
	if (rows)
		qsort(rows, i, sizeof *rows, compare_names);
	for (size_t j = 0; j < i; j++)
		if (j == 0 || strcmp(rows[j - 1], rows[j]) != 0)
			buffer_add(&sorted, rows[j], strlen(rows[j]) + 1);
	sorted.failed |= !rows;
	free(rows);
	buffer_free(names);
	*names = sorted;
	return !sorted.failed;
}

static enum err s3_store_list(struct store *base, const char *prefix, struct buffer *names)
{
	struct store_s3 *store = s3_of(base);
	char below[STORE_KEY_BYTES_MAX + 2], full[S3_KEY_BYTES_MAX + 1];
	struct listing listing = { .names = names, .is_root = !prefix[0] };
	enum err e;

	must(!prefix[0] || store_key_is_valid(text_of(prefix)));
	buffer_reset(names);
	snprintf(below, sizeof below, "%s%s", prefix, prefix[0] ? "/" : "");
	listing.prefix = store_s3_key(full, &store->place, below);
	listing.prefix_bytes = strlen(full);
	e = s3_list(
		store->place.s3,
		&(struct s3_list){
			.prefix = full, .delimiter = "/", .take = take_name, .context = &listing },
		clock_after(LIST_PATIENCE_NS));
	if (!e && (names->failed || !sort_names(names, listing.count)))
		e = RAISE(ERR_MEMORY_EXHAUSTED, "listing %s%s", store->place.name, prefix);
	return e;
}

/* ---- the calls of the other files ---- */

static enum err s3_store_put_open(struct store *base, const char *key, struct store_put **out)
{
	return store_s3_put_open(&s3_of(base)->place, key, NULL, 0, out);
}

enum err store_s3_put_open_with(struct store *base, const char *key,
				const struct s3_metadata *metadata, size_t metadata_count,
				struct store_put **out)
{
	return store_s3_put_open(&s3_of(base)->place, key, metadata, metadata_count, out);
}

enum err store_s3_put_object(struct store *base, const struct store_s3_object *object,
			     enum store_s3_there *there)
{
	return store_s3_whole_put(&s3_of(base)->place, object, there);
}

enum err store_s3_look(struct store *base, const char *key, uint64_t bytes, uint64_t crc,
		       enum store_s3_there *there)
{
	return store_s3_compare(&s3_of(base)->place, key, bytes, crc, there);
}

enum err store_s3_fields(struct store *base, const char *key, struct buffer *fields)
{
	struct store_s3 *store = s3_of(base);
	char full[S3_KEY_BYTES_MAX + 1];
	struct s3_about about;

	return store_s3_error(s3_head_fields(store->place.s3,
					     store_s3_key(full, &store->place, key),
					     store_s3_patience(), &about, fields));
}

static enum err s3_store_put_whole(struct store *base, const char *key, const void *from, size_t n)
{
	return store_s3_put_whole(&s3_of(base)->place, key, from, n);
}

static enum err s3_store_lock(struct store *base)
{
	return store_s3_lock(&s3_of(base)->place);
}

/* Durable is all that is visible. What a run that was cut had asked for last finds no upload. */
static enum err s3_store_settle(struct store *base, const char *prefix)
{
	struct store_s3_place *place = &s3_of(base)->place;
	char below[STORE_KEY_BYTES_MAX + 2];

	must(place->lock != NULL && store_key_is_valid(text_of(prefix)));
	snprintf(below, sizeof below, "%s/", prefix);
	return store_s3_uploads_end(place, below, store_s3_patience());
}

static enum err s3_store_leftovers(struct store *base, uint64_t *count)
{
	return store_s3_uploads_count(&s3_of(base)->place, count);
}

static enum err s3_store_serve(struct store *base)
{
	return store_s3_put_serve(&s3_of(base)->place);
}

const struct store_driver store_s3 = {
	.scheme = "s3",
	.open = s3_store_open,
	.put_open = s3_store_put_open,
	.put_write = store_s3_put_write,
	.put_room = store_s3_put_room,
	.put_took = store_s3_put_took,
	.put_mark = store_s3_put_mark,
	.put_rewind = store_s3_put_rewind,
	.put_seal = store_s3_put_seal,
	.put_publish = store_s3_put_publish,
	.put_abort = store_s3_put_abort,
	.put_whole = s3_store_put_whole,
	.get = s3_store_get,
	.size = s3_store_size,
	.list = s3_store_list,
	.lock = s3_store_lock,
	.settle = s3_store_settle,
	.leftovers = s3_store_leftovers,
	.serve = s3_store_serve,
	.finish = s3_store_finish,
	.close = s3_store_close,
};
