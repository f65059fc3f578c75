/* What can be done with any store by its driver's calls alone. */
#include "transport/store.h"

#include <stdio.h>
#include <stdlib.h>

#include "crypto/digest.h"

enum { READ_BYTES = 1024 * 1024, NUMBER_DIGITS = 12, READABLE_BYTES_MAX = 64 };

const struct store_driver *store_driver_of(const char *scheme)
{
	static const struct store_driver *const drivers[] = { &store_dir, &store_s3 };

	for (size_t i = 0; i < ARRAY_COUNT(drivers); i++)
		if (strcmp(drivers[i]->scheme, scheme) == 0)
			return drivers[i];
	return NULL;
}

enum err store_open(struct store **out, const struct account *account, bool create, nsec until)
{
	const struct store_driver *driver;
	char scheme[16]; /* without the layout of what is in it: "s3+eml" */

	snprintf(scheme, sizeof scheme, "%.*s", (int)strcspn(account->scheme, "+"),
		 account->scheme);
	driver = store_driver_of(scheme);

	must(driver != NULL);
	return driver->open(out, account, create, until);
}

static bool is_key_byte(char byte)
{
	return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
	       (byte >= '0' && byte <= '9') || byte == '.' || byte == '_' || byte == '-';
}

bool store_name_is_valid(struct text name)
{
	if (name.bytes == 0 || name.bytes > STORE_KEY_BYTES_MAX || name.at[0] == '.')
		return false;
	for (size_t i = 0; i < name.bytes; i++)
		if (!is_key_byte(name.at[i]))
			return false;
	return true;
}

enum err store_name_of(char *to, size_t room, const char *name, size_t readable_bytes,
		       size_t hash_bytes)
{
	char readable[READABLE_BYTES_MAX + 1], hex[2 * DIGEST_BYTES + 1];
	struct digest digest;
	size_t n = 0;
	enum err e;

	must(readable_bytes <= READABLE_BYTES_MAX && hash_bytes <= DIGEST_BYTES);
	for (; name[n] && n < readable_bytes; n++) {
		struct text one = { name + n, 1 };

		readable[n] = store_name_is_valid(one) || (n > 0 && name[n] == '.') ? name[n] : '_';
	}
	readable[n] = '\0';
	if ((e = digest_of(digest_type(text_of("blake3")), name, strlen(name), &digest)))
		return e;
	bytes_to_hex(hex, digest.bytes, hash_bytes);
	snprintf(to, room, "%s-%s", readable, hex);
	return OK;
}

bool store_key_is_valid(struct text key)
{
	const char *slash;
	size_t bytes;

	if (key.bytes > STORE_KEY_BYTES_MAX)
		return false;
	for (;;) {
		slash = key.bytes ? memchr(key.at, '/', key.bytes) : NULL;
		bytes = slash ? (size_t)(slash - key.at) : key.bytes;
		if (!store_name_is_valid((struct text){ key.at, bytes }))
			return false;
		if (!slash)
			return true;
		key.at += bytes + 1;
		key.bytes -= bytes + 1;
	}
}

/* What stands behind the slash of this number, from 1; none: NULL. */
static const char *behind_slash(struct text key, unsigned number)
{
	const char *at = key.at, *end = key.at + key.bytes;

	while (at && number-- > 0)
		if ((at = memchr(at, '/', (size_t)(end - at))))
			at++;
	return at;
}

static bool begins_with(const char *at, struct text key, const char *head)
{
	size_t bytes = strlen(head);

	return (size_t)(key.at + key.bytes - at) >= bytes && memcmp(at, head, bytes) == 0;
}

/* Behind the digits that there are; `at` itself: none. */
static const char *behind_digits(const char *at, const char *end)
{
	while (at < end && *at >= '0' && *at <= '9')
		at++;
	return at;
}

bool store_key_is_numbered(struct text key)
{
	const char *name = behind_slash(key, 2), *end = key.at + key.bytes, *at;

	if (!store_key_is_valid(key) || !name || behind_slash(key, 3))
		return false;
	at = behind_digits(name, end);
	return at - name == NUMBER_DIGITS && at < end && *at == '.';
}

bool store_key_is_single(struct text key)
{
	const char *second = behind_slash(key, 1), *name = behind_slash(key, 3);
	const char *end = key.at + key.bytes, *dash, *dot;

	if (!store_key_is_valid(key) || !name || behind_slash(key, 4) ||
	    !begins_with(second, key, "eml/"))
		return false;
	dash = behind_digits(name, end);
	if (dash == name || dash == end || *dash != '-')
		return false;
	dot = behind_digits(dash + 1, end);
	return dot > dash + 1 &&
	       text_equal((struct text){ dot, (size_t)(end - dot) }, text_of(".eml"));
}

/* MAILBOX/eml/FOLDER/folder.json */
static bool is_of_folder(struct text key)
{
	const char *name = behind_slash(key, 3), *end = key.at + key.bytes;

	return store_key_is_valid(key) && name &&
	       text_equal((struct text){ name, (size_t)(end - name) }, text_of("folder.json"));
}

bool store_key_is_of_archive(struct text key)
{
	static const char *const kinds[] = { "packs/", "index/", "changes/", "manifest/" };
	const char *second = behind_slash(key, 1);

	if (!second)
		return text_equal(key, text_of("mailhaul-archive.json"));
	if (!behind_slash(key, 2))
		return store_key_is_valid(key) &&
		       text_equal((struct text){ second, (size_t)(key.at + key.bytes - second) },
				  text_of("mailbox.json"));
	for (size_t i = 0; i < ARRAY_COUNT(kinds); i++)
		if (begins_with(second, key, kinds[i]))
			return store_key_is_numbered(key);
	return begins_with(second, key, "eml/") && (store_key_is_single(key) || is_of_folder(key));
}

enum err store_put_whole(struct store *store, const char *key, const void *from, size_t n)
{
	struct store_put *put;
	enum err e;

	if (store->type->put_whole)
		return store->type->put_whole(store, key, from, n);
	if ((e = store->type->put_open(store, key, &put)))
		return e;
	e = store->type->put_write(put, from, n);
	if (!e)
		e = store->type->put_seal(put);
	if (!e)
		e = store->type->put_publish(&put);
	store->type->put_abort(&put);
	return e;
}

enum err store_get_whole(struct store *store, const char *key, size_t bytes_max, struct buffer *to)
{
	uint64_t bytes;
	size_t got;
	enum err e;

	buffer_reset(to);
	if ((e = store->type->size(store, key, &bytes)))
		return e;
	if (bytes > bytes_max)
		return RAISE(ERR_ARCHIVE_DAMAGED, "%s has %llu bytes, at most %zu make sense", key,
			     (unsigned long long)bytes, bytes_max);
	char *at = malloc(bytes + 1);
	if (!at)
		return RAISE(ERR_MEMORY_EXHAUSTED, "reading %s", key);
	e = store->type->get(store, key, 0, at, bytes, &got);
	if (!e)
		buffer_add(to, at, got);
	free(at);
	if (!e && to->failed)
		return RAISE(ERR_MEMORY_EXHAUSTED, "reading %s", key);
	return e;
}

enum err store_digest(struct store *store, const char *key, struct tap *tap, struct digest *out,
		      uint64_t *bytes)
{
	char *piece = malloc(READ_BYTES);
	size_t got = 0;
	enum err e = OK;

	if (!piece)
		return RAISE(ERR_MEMORY_EXHAUSTED, "reading %s", key);
	*bytes = 0;
	tap->type->begin(tap);
	do {
		if ((e = store->type->get(store, key, *bytes, piece, READ_BYTES, &got)))
			break;
		tap->type->update(tap, piece, got);
		*bytes += got;
	} while (got == READ_BYTES);
	tap->type->end(tap, out);
	free(piece);
	return e;
}

bool store_names_next(const struct buffer *names, const char **name)
{
	const char *next = *name ? *name + strlen(*name) + 1 : names->at;

	if (!next || next >= names->at + names->bytes)
		return false;
	*name = next;
	return true;
}
