/* See archive_entry.h. */
#include "transport/archive_entry.h"

#include <stdio.h>

static enum err check_mailbox(struct archive_entry *entry, bool write)
{
	struct archive_mailbox_mark mark;
	enum err e = archive_mailbox_read(entry->store, entry->mailbox_key, &mark);

	if (e == ERR_DISK_ABSENT) {
		err_note_clear();
		snprintf(mark.name, sizeof mark.name, "%s", entry->mailbox_name);
		snprintf(mark.digest_name, sizeof mark.digest_name, "%s", entry->digest->name);
		return write ? archive_mailbox_write(entry->store, entry->mailbox_key, &mark) : OK;
	}
	if (e)
		return e;
	if (strcmp(mark.name, entry->mailbox_name) != 0)
		return RAISE(ERR_SINK_FOREIGN, "%s holds another mailbox", entry->mailbox_key);
	if (strcmp(mark.digest_name, entry->digest->name) != 0)
		return RAISE(ERR_SINK_DIGEST, "%s was begun with digest %s; keep it",
			     entry->mailbox_key, mark.digest_name);
	return OK;
}

/* A mailbox has one layout. */
static enum err check_layout(struct archive_entry *entry, const char *shown, const char *others)
{
	char prefix[STORE_KEY_BYTES_MAX + 1];
	struct buffer names = { 0 };
	enum err e;

	snprintf(prefix, sizeof prefix, "%s/%s", entry->mailbox_key, others);
	e = entry->store->type->list(entry->store, prefix, &names);
	if (!e && names.bytes > 0)
		e = RAISE(ERR_SINK_FOREIGN,
			  "%s holds %s in another layout (there is something in %s); keep that "
			  "layout, or choose another target",
			  shown, entry->mailbox_name, prefix);
	buffer_free(&names);
	return e;
}

enum err archive_entry_open(struct archive_entry *entry, const struct account *account,
			    const struct sink_config *config, const char *others, nsec until)
{
	bool found;
	enum err e;

	entry->digest = config->digest;
	entry->dry_run = config->dry_run;
	snprintf(entry->mailbox_name, sizeof entry->mailbox_name, "%s", config->mailbox_name);
	if ((e = archive_mailbox_key(entry->mailbox_key, entry->mailbox_name)))
		return e;
	e = store_open(&entry->store, account, !entry->dry_run, until);
	if (e == ERR_DISK_ABSENT && entry->dry_run) {
		err_note_clear();
		return OK;
	}
	if (e ||
	    (e = archive_mark_check(entry->store, account->shown, config->ledger_id, &found)) ||
	    (e = check_mailbox(entry, false)))
		return e;
	return check_layout(entry, account->shown, others);
}

enum err archive_entry_claim(struct archive_entry *entry, const struct account *account,
			     const struct sink_config *config)
{
	enum err e;

	if (entry->dry_run)
		return OK;
	e = archive_mark_claim(entry->store, account->shown, config->ledger_id);
	return e ? e : entry->store->type->settle(entry->store, entry->mailbox_key);
}

enum err archive_entry_enter(struct archive_entry *entry)
{
	enum err e = entry->entered || entry->dry_run ? OK : check_mailbox(entry, true);

	entry->entered |= e == OK;
	return e;
}

void archive_entry_close(struct archive_entry *entry)
{
	if (entry->store)
		entry->store->type->close(&entry->store);
}
