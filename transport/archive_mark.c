/* See archive_mark.h. */
#include "transport/archive_mark.h"

#include <stdio.h>

#include "crypto/digest.h"
#include "engine/clock.h"
#include "transport/json.h"

enum { MARK_BYTES_MAX = 8192, MARK_VERSION = 1, READABLE_BYTES = 64, HASH_BYTES = 4 };

static const char marker_key[] = "mailhaul-archive.json";

struct marker {
	char format[32];
	uint64_t version;
	uint8_t ledger[ARCHIVE_LEDGER_ID_BYTES];
};

static const struct json_field marker_fields[] = {
	JSON_FIELD("format", JSON_TEXT, struct marker, format),
	JSON_FIELD("version", JSON_NUMBER, struct marker, version),
	JSON_FIELD("ledger", JSON_HEX, struct marker, ledger),
};

/* No marker: fine if there is nothing else either. A fresh ext4 file system has its lost+found. */
static enum err check_empty(struct store *store, const char *shown)
{
	struct buffer names = { 0 };
	const char *name = NULL;
	char quoted[80];
	enum err e = store->type->list(store, "", &names);

	while (!e && store_names_next(&names, &name))
		if (strcmp(name, "lost+found") != 0)
			e = RAISE(ERR_SINK_FOREIGN,
				  "%s is no archive but holds \"%s\"; choose an empty "
				  "directory",
				  shown, err_quote(quoted, sizeof quoted, text_of(name)));
	buffer_free(&names);
	return e;
}

/* *found false: there is nothing at all. Another lane may make it an archive between our two looks,
 * and the marker comes first: what is no archive has none after the second look either. */
static enum err marker_get(struct store *store, const char *shown, struct buffer *text, bool *found)
{
	struct err_note foreign;
	enum err e = store_get_whole(store, marker_key, MARK_BYTES_MAX, text);

	*found = !e;
	if (e != ERR_DISK_ABSENT)
		return e;
	err_note_clear();
	e = check_empty(store, shown);
	foreign = *err_note();
	if (e != ERR_SINK_FOREIGN)
		return e;
	if (store_get_whole(store, marker_key, MARK_BYTES_MAX, text)) {
		*err_note() = foreign;
		return e;
	}
	err_note_clear();
	*found = true;
	return OK;
}

enum err archive_mark_read(struct store *store, const char *shown, bool *found,
			   uint8_t ledger_id[ARCHIVE_LEDGER_ID_BYTES])
{
	struct buffer text = { 0 };
	struct marker marker = { 0 };
	enum err e = marker_get(store, shown, &text, found);

	if (*found && (!json_read((struct text){ text.at, text.bytes }, marker_fields,
				  ARRAY_COUNT(marker_fields), &marker) ||
		       strcmp(marker.format, "mailhaul-archive") != 0))
		e = RAISE(ERR_ARCHIVE_FORMAT, "%s: %s does not parse", shown, marker_key);
	else if (*found && marker.version != MARK_VERSION)
		e = RAISE(ERR_ARCHIVE_FORMAT, "%s has format version %llu; this program knows %d",
			  shown, (unsigned long long)marker.version, MARK_VERSION);
	memcpy(ledger_id, marker.ledger, ARCHIVE_LEDGER_ID_BYTES);
	buffer_free(&text);
	return e;
}

enum err archive_mark_check(struct store *store, const char *shown,
			    const uint8_t ledger_id[ARCHIVE_LEDGER_ID_BYTES], bool *found)
{
	uint8_t theirs[ARCHIVE_LEDGER_ID_BYTES];
	char hex[2 * ARCHIVE_LEDGER_ID_BYTES + 1];
	enum err e;

	if ((e = archive_mark_read(store, shown, found, theirs)) || !*found)
		return e;
	if (memcmp(theirs, ledger_id, ARCHIVE_LEDGER_ID_BYTES) == 0)
		return OK;
	bytes_to_hex(hex, theirs, ARCHIVE_LEDGER_ID_BYTES);
	return RAISE(ERR_SINK_LEDGER_LOST,
		     "%s belongs to ledger %s; use that one's state directory, or "
		     "another target",
		     shown, hex);
}

static enum err mark_write(struct store *store, const uint8_t ledger_id[ARCHIVE_LEDGER_ID_BYTES])
{
	const struct mail_date now = { .seconds = clock_wall() / NSEC_SECOND, .known = true };
	struct buffer text = { 0 };
	char date[40];
	enum err e;

	json_begin(&text);
	json_add_text(&text, "format", text_of("mailhaul-archive"));
	json_add_number(&text, "version", MARK_VERSION);
	json_add_hex(&text, "ledger", ledger_id, ARCHIVE_LEDGER_ID_BYTES);
	json_add_text(&text, "created", text_of(mail_date_rfc3339(date, &now)));
	json_end(&text);
	e = text.failed ? RAISE(ERR_MEMORY_EXHAUSTED, "marking an archive")
			: store_put_whole(store, marker_key, text.at, text.bytes);
	buffer_free(&text);
	return e;
}

enum err archive_mark_claim(struct store *store, const char *shown,
			    const uint8_t ledger_id[ARCHIVE_LEDGER_ID_BYTES])
{
	bool found;
	enum err e;

	if ((e = store->type->lock(store)) ||
	    (e = archive_mark_check(store, shown, ledger_id, &found)) || found)
		return e;
	e = mark_write(store, ledger_id);
	if (e != ERR_DISK_EXISTS)
		return e;
	err_note_clear(); /* another lane was first */
	return archive_mark_check(store, shown, ledger_id, &found);
}

/* ---- mailboxes ---- */

enum err archive_mailbox_key(char to[ARCHIVE_MAILBOX_KEY_BYTES_MAX + 1], const char *name)
{
	must(name[0] != '\0');
	return store_name_of(to, ARCHIVE_MAILBOX_KEY_BYTES_MAX + 1, name, READABLE_BYTES,
			     HASH_BYTES);
}

struct mailbox_file {
	char format[32];
	uint64_t version;
	struct archive_mailbox_mark mark;
};

static const struct json_field mailbox_fields[] = {
	JSON_FIELD("format", JSON_TEXT, struct mailbox_file, format),
	JSON_FIELD("version", JSON_NUMBER, struct mailbox_file, version),
	JSON_FIELD("name", JSON_TEXT, struct mailbox_file, mark.name),
	JSON_FIELD("digest_name", JSON_TEXT, struct mailbox_file, mark.digest_name),
};

static char *mailbox_file_key(char to[STORE_KEY_BYTES_MAX + 1], const char *mailbox_key)
{
	int n = snprintf(to, STORE_KEY_BYTES_MAX + 1, "%s/mailbox.json", mailbox_key);

	must(n > 0 && n <= STORE_KEY_BYTES_MAX);
	return to;
}

enum err archive_mailbox_read(struct store *store, const char *mailbox_key,
			      struct archive_mailbox_mark *mark)
{
	char key[STORE_KEY_BYTES_MAX + 1];
	struct buffer text = { 0 };
	struct mailbox_file file = { 0 };
	enum err e =
		store_get_whole(store, mailbox_file_key(key, mailbox_key), MARK_BYTES_MAX, &text);

	if (!e && (!json_read((struct text){ text.at, text.bytes }, mailbox_fields,
			      ARRAY_COUNT(mailbox_fields), &file) ||
		   strcmp(file.format, "mailhaul-mailbox") != 0 || file.version != MARK_VERSION ||
		   !digest_type(text_of(file.mark.digest_name))))
		e = RAISE(ERR_ARCHIVE_DAMAGED, "%s does not parse", key);
	*mark = file.mark;
	buffer_free(&text);
	return e;
}

enum err archive_mailbox_write(struct store *store, const char *mailbox_key,
			       const struct archive_mailbox_mark *mark)
{
	char key[STORE_KEY_BYTES_MAX + 1];
	struct buffer text = { 0 };
	enum err e;

	json_begin(&text);
	json_add_text(&text, "format", text_of("mailhaul-mailbox"));
	json_add_number(&text, "version", MARK_VERSION);
	json_add_text(&text, "name", text_of(mark->name));
	json_add_text(&text, "digest_name", text_of(mark->digest_name));
	json_end(&text);
	e = text.failed ? RAISE(ERR_MEMORY_EXHAUSTED, "naming a mailbox")
			: store_put_whole(store, mailbox_file_key(key, mailbox_key), text.at,
					  text.bytes);
	buffer_free(&text);
	return e;
}
