/* See archive_place.h. */
#include "transport/archive_place.h"

#include <stdio.h>

#include "transport/archive_mark.h"

enum { NAMES_SHOWN = 4 };

enum err archive_place_error(enum err e, const char *shown)
{
	char text[ERR_NOTE_BYTES_MAX];

	if (e != ERR_ARCHIVE_FORMAT && e != ERR_ARCHIVE_DAMAGED && e != ERR_SINK_FOREIGN &&
	    e != ERR_DISK_DENIED && e != ERR_DISK_ABSENT)
		return e;
	snprintf(text, sizeof text, "%s", err_note()->error ? err_note()->text : "");
	err_note_clear();
	return *text ? RAISE(ERR_SOURCE_FOREIGN, "%s", text)
		     : RAISE(ERR_SOURCE_FOREIGN, "%s: %s", shown, err_text(e));
}

/* The path, or the nearest directory above it, that holds an archive's marker. */
static enum err find_root(const struct account *account, nsec until, struct archive_place *place,
			  struct store **store)
{
	struct account at = *account;
	/* Nobody's archive lies in a file system's root; a bucket may be one. */
	size_t bytes = strlen(account->path), least = account->s3 ? 0 : 1;
	uint64_t marker_bytes;
	enum err e;

	for (at.path = place->root;; bytes--) {
		while (bytes > 1 && account->path[bytes - 1] == '/')
			bytes--;
		if (bytes >= sizeof place->root)
			return RAISE(ERR_SOURCE_FOREIGN, "%s: its path is too long",
				     account->shown);
		snprintf(place->root, sizeof place->root, "%.*s", (int)bytes, account->path);
		e = store_open(store, &at, false, until);
		if (!e)
			e = (*store)->type->size(*store, "mailhaul-archive.json", &marker_bytes);
		if (!e)
			return OK;
		if (*store)
			(*store)->type->close(store);
		if (e != ERR_DISK_ABSENT && e != ERR_SINK_FOREIGN)
			return archive_place_error(e, account->shown);
		err_note_clear();
		while (bytes > 0 && account->path[bytes - 1] != '/')
			bytes--;
		if (bytes <= least)
			return RAISE(ERR_SOURCE_FOREIGN,
				     "%s: there is no mailhaul-archive.json in this directory or "
				     "above it, so this is no archive",
				     account->shown);
	}
}

static bool may_be_mailbox(const char *name)
{
	return store_name_is_valid(text_of(name)) && strlen(name) <= ARCHIVE_MAILBOX_KEY_BYTES_MAX;
}

/* Whether a directory of the archive is a mailbox, and its name; where it cannot be read, the
 * directory stands for it. */
static enum err read_mailbox(struct store *store, const char *key, struct archive_place *place,
			     bool *found)
{
	struct archive_mailbox_mark mark;
	struct buffer names = { 0 };
	char packs[STORE_KEY_BYTES_MAX + 1];
	enum err e = archive_mailbox_read(store, key, &mark);

	*found = e == OK;
	snprintf(place->key, sizeof place->key, "%s", key);
	snprintf(place->mailbox, sizeof place->mailbox, "%s", e ? key : mark.name);
	if (e != ERR_DISK_ABSENT && e != ERR_ARCHIVE_DAMAGED)
		return e;
	err_note_clear();
	snprintf(packs, sizeof packs, "%.100s/packs", key);
	e = store->type->list(store, packs, &names);
	*found = names.bytes > 0;
	buffer_free(&names);
	return e;
}

/* The only mailbox; where there are more, their names. */
static enum err only_mailbox(struct store *store, const char *shown, struct archive_place *place)
{
	struct archive_place other = { .root = "" };
	struct buffer names = { 0 }, text = { 0 };
	const char *name = NULL;
	unsigned count = 0;
	bool found;
	char quoted[160];
	enum err e = store->type->list(store, "", &names);

	while (!e && store_names_next(&names, &name)) {
		if (!may_be_mailbox(name) || (e = read_mailbox(store, name, &other, &found)) ||
		    !found)
			continue;
		if (count++ == 0) {
			snprintf(place->mailbox, sizeof place->mailbox, "%s", other.mailbox);
			snprintf(place->key, sizeof place->key, "%s", other.key);
		}
		if (count <= NAMES_SHOWN)
			buffer_addf(&text, "%s%s", count > 1 ? ", " : "",
				    err_quote(quoted, sizeof quoted, text_of(other.mailbox)));
	}
	if (!e && count == 0)
		e = RAISE(ERR_SOURCE_FOREIGN, "%s: the archive holds no mailbox", shown);
	if (!e && count > 1)
		e = RAISE(ERR_SOURCE_FOREIGN,
			  "%s holds %u mailboxes; put the name of one behind the path "
			  "(/%.60s): %s%s",
			  shown, count, place->mailbox, text.at ? text.at : "",
			  count > NAMES_SHOWN ? ", ..." : "");
	buffer_free(&names);
	buffer_free(&text);
	return e;
}

/* Named as `list` shows it, or as its directory is. */
static enum err named_mailbox(struct store *store, const char *shown, const char *name,
			      struct archive_place *place)
{
	char key[ARCHIVE_MAILBOX_KEY_BYTES_MAX + 1];
	bool found = false;
	enum err e = archive_mailbox_key(key, name);

	if (!e && !(e = read_mailbox(store, key, place, &found)) && !found && may_be_mailbox(name))
		e = read_mailbox(store, name, place, &found);
	return e || found ? e
			  : RAISE(ERR_SOURCE_FOREIGN,
				  "%s: the archive %s holds no mailbox of this name; mailhaul list "
				  "shows those it holds",
				  shown, place->root);
}

enum err archive_place_root(const struct account *account, nsec until, struct archive_place *place,
			    bool *found)
{
	struct store *store = NULL;
	enum err e;

	*place = (struct archive_place){ .root = "" };
	e = find_root(account, until, place, &store);
	*found = e == OK;
	if (store)
		store->type->close(&store);
	if (e != ERR_SOURCE_FOREIGN)
		return e;
	err_note_clear();
	return OK;
}

enum err archive_place_find(const struct account *account, nsec until, struct archive_place *place)
{
	struct buffer name = { 0 };
	struct store *store = NULL;
	struct text rest;
	enum err e;

	*place = (struct archive_place){ .root = "" };
	if ((e = find_root(account, until, place, &store)))
		return e;
	rest = text_of(account->path + strlen(place->root));
	for (; rest.bytes && rest.at[0] == '/'; rest.at++)
		rest.bytes--;
	while (rest.bytes && rest.at[rest.bytes - 1] == '/')
		rest.bytes--;
	buffer_add(&name, rest.at, rest.bytes);
	if (name.failed)
		e = RAISE(ERR_MEMORY_EXHAUSTED, "opening %s", account->shown);
	else
		e = rest.bytes ? named_mailbox(store, account->shown, name.at, place)
			       : only_mailbox(store, account->shown, place);
	buffer_free(&name);
	store->type->close(&store);
	return archive_place_error(e, account->shown);
}
