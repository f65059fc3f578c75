/* See archive_chain.h. */
#include "transport/archive_chain.h"

#include <stdio.h>
#include <stdlib.h>

#include "crypto/digest.h"
#include "transport/archive_changes.h"
#include "transport/pack_index.h"

struct chain {
	struct archive_faults *faults;
	struct store *store;
	const char *mailbox_key;
	struct tap *tap;
	struct manifest_head sums; /* of what is listed so far */
	struct manifest_line line;
	struct archive_changes *changes;
	struct pack_line pack_line;
	struct archive_message message;
	struct change_line change;
};

/* ---- the manifest ---- */

/* ---- generations ---- */

static enum err check_object(struct chain *chain, const char *key, uint64_t bytes,
			     const uint8_t digest[DIGEST_BYTES], const char *what)
{
	struct digest found;
	uint64_t bytes_found;
	enum err e;

	if (!store_key_is_valid(text_of(key)))
		return ARCHIVE_DAMAGED("it lists \"%s\", which is no key", key);
	e = store_digest(chain->store, key, chain->tap, &found, &bytes_found);
	if (!e && (bytes_found != bytes || memcmp(&found, digest, sizeof found) != 0))
		e = ARCHIVE_DAMAGED("it is not the %s that the manifest lists", what);
	return archive_fault(chain->faults, key, e);
}

/* A pack line against what is stored; its bytes were read with the packs. */
static enum err check_pack_line(struct chain *chain)
{
	const struct manifest_line *line = &chain->line;
	uint64_t bytes;
	enum err e;

	chain->sums.packs++;
	chain->sums.messages += line->messages;
	chain->sums.bytes += line->bytes;
	chain->sums.stored_bytes += line->pack_bytes;
	if (!store_key_is_valid(text_of(line->pack)))
		return ARCHIVE_DAMAGED("it lists \"%s\", which is no key", line->pack);
	e = chain->store->type->size(chain->store, line->pack, &bytes);
	if (!e && bytes != line->pack_bytes)
		e = ARCHIVE_DAMAGED("it is not as long as the manifest says");
	if ((e = archive_fault(chain->faults, line->pack, e)))
		return e;
	return check_object(chain, line->index, line->index_bytes, line->index_digest, "index");
}

static enum err check_changes_line(struct chain *chain)
{
	const struct manifest_line *line = &chain->line;

	chain->sums.changes += line->reflagged + line->vanished + line->renumbered;
	chain->sums.last_changes = line->number;
	return check_object(chain, line->object, line->object_bytes, line->object_digest,
			    "object of changes");
}

static enum err check_line(struct chain *chain)
{
	const char *line = chain->line.line;

	return strcmp(line, "pack") == 0      ? check_pack_line(chain)
	       : strcmp(line, "changes") == 0 ? check_changes_line(chain)
					      : OK;
}

static enum err check_lines(struct chain *chain, struct ndjson *lines)
{
	const struct manifest_line *line = &chain->line;
	struct text text;
	enum err e;

	while (!(e = ndjson_next(lines, &text))) {
		if (!manifest_line_read(text, &chain->line))
			return ARCHIVE_DAMAGED("line %llu does not parse",
					       (unsigned long long)ndjson_lines(lines));
		if (strcmp(line->line, "end") == 0)
			return line->lines == ndjson_lines(lines)
				       ? OK
				       : ARCHIVE_DAMAGED("lines are missing");
		if ((e = check_line(chain)))
			return e;
	}
	return e == ERR_PIPE_ENDED ? ARCHIVE_DAMAGED("it is cut short") : e;
}

static enum err check_sums(const struct manifest_head *said, const struct manifest_head *found)
{
	if (said->packs == found->packs && said->messages == found->messages &&
	    said->bytes == found->bytes && said->stored_bytes == found->stored_bytes &&
	    said->changes == found->changes && said->last_changes == found->last_changes)
		return OK;
	return ARCHIVE_DAMAGED("its sums are not those of the packs and changes listed");
}

static enum err check_generation(struct chain *chain, const char *key, uint64_t generation,
				 const struct digest *previous)
{
	struct manifest_head head;
	struct ndjson *lines = NULL;
	struct text line;
	enum err e;

	if ((e = ndjson_open(chain->store, key, &lines)))
		return e;
	e = ndjson_next(lines, &line);
	if (e == ERR_PIPE_ENDED ||
	    (!e && (!manifest_head_read(line, &head) || head.generation != generation)))
		e = ARCHIVE_DAMAGED("its first line does not parse");
	if (!e && generation > 1 && memcmp(head.previous, previous, DIGEST_BYTES) != 0)
		e = ARCHIVE_DAMAGED(
			"the generation before it is another one than it was made from");
	if (!e && !(e = check_lines(chain, lines)))
		e = check_sums(&head, &chain->sums);
	ndjson_close(&lines);
	return e;
}

/* From the first generation on, each against the one before. A chain with a hole, be it a file that
 * is gone or one that the disk cannot read, is not followed further. */
static enum err check_generations(struct chain *chain, uint64_t newest)
{
	char key[STORE_KEY_BYTES_MAX + 1];
	struct digest previous = { 0 };
	uint64_t bytes, faults;
	enum err e;

	for (uint64_t generation = 1; generation <= newest; generation++) {
		manifest_key(key, chain->mailbox_key, generation);
		faults = chain->faults->check->faults;
		if ((e = archive_fault(chain->faults, key,
				       check_generation(chain, key, generation, &previous))))
			return e;
		e = store_digest(chain->store, key, chain->tap, &previous, &bytes);
		if (archive_is_damage(e) && chain->faults->check->faults > faults) { /* told */
			err_note_clear();
			return OK;
		}
		if (e)
			return archive_fault(chain->faults, key, e);
	}
	return OK;
}

/* ---- changes ---- */

static enum err read_object(struct chain *chain, const char *key)
{
	struct changes_read *read = NULL;
	struct text text;
	enum err e = changes_read_open(chain->store, key, &read);

	while (!e && !(e = changes_read_next(read, &chain->change, &text)))
		chain->faults->check->changes++;
	changes_read_close(&read);
	return e == ERR_PIPE_ENDED ? OK : e;
}

static enum err each_name(struct chain *chain, const char *folder, uint64_t last,
			  enum err (*check)(struct chain *, const char *key, bool listed))
{
	char key[STORE_KEY_BYTES_MAX + 1];
	struct buffer names = { 0 };
	const char *name = NULL;
	uint64_t number;
	enum err e;

	snprintf(key, sizeof key, "%s/%s", chain->mailbox_key, folder);
	e = chain->store->type->list(chain->store, key, &names);
	while (!e && store_names_next(&names, &name)) {
		snprintf(key, sizeof key, "%s/%s/%.60s", chain->mailbox_key, folder, name);
		e = pack_number(name, &number) && store_key_is_valid(text_of(key))
			    ? check(chain, key, number <= last)
			    : archive_fault(chain->faults, key,
					    ARCHIVE_DAMAGED("this does not belong here"));
	}
	buffer_free(&names);
	return e;
}

static enum err check_object_of_changes(struct chain *chain, const char *key, bool listed)
{
	chain->faults->check->changes_unlisted += !listed;
	return archive_fault(chain->faults, key, read_object(chain, key));
}

/* Every message of one index meets its changes. */
static enum err meet_index(struct chain *chain, const char *key, bool listed)
{
	struct archive_message *message = &chain->message;
	struct ndjson *lines = NULL;
	struct text text;
	enum err e = ndjson_open(chain->store, key, &lines);

	(void)listed;
	while (!e && !(e = ndjson_next(lines, &text)))
		if (ndjson_lines(lines) > 1 && pack_line_read(text, &chain->pack_line)) {
			*message = (struct archive_message){ .epoch = chain->pack_line.epoch,
							     .no = chain->pack_line.no };
			snprintf(message->box, sizeof message->box, "%s", chain->pack_line.box);
			archive_changes_apply(chain->changes, message);
		}
	ndjson_close(&lines);
	return e == ERR_PIPE_ENDED ? OK : e;
}

static enum err tell_unmet(struct chain *chain)
{
	const struct change_line *line = &chain->change;
	char key[STORE_KEY_BYTES_MAX + 1], quoted[120];
	size_t at = 0;
	enum err e = OK;

	snprintf(key, sizeof key, "%s/changes", chain->mailbox_key);
	while (!e && archive_changes_unmet(chain->changes, &at, &chain->change)) {
		bool moved = line->kind == CHANGE_RENUMBERED;
		const char *box = moved ? line->was_box : line->box;

		e = archive_fault(
			chain->faults, key,
			ARCHIVE_DAMAGED("message %llu of \"%s\" is %s, and no pack has it",
					(unsigned long long)(moved ? line->was_no : line->no),
					err_quote(quoted, sizeof quoted, text_of(box)),
					line->change));
	}
	return e;
}

static enum err check_changes(struct chain *chain, uint64_t last, bool indexes_sound)
{
	uint64_t faults = chain->faults->check->faults;
	enum err e = each_name(chain, "changes", last, check_object_of_changes);

	/* What is damaged may be what is missed: told once is enough. */
	if (e || !indexes_sound || chain->faults->check->faults != faults)
		return e;
	if ((e = archive_changes_open(chain->store, chain->mailbox_key, UINT64_MAX, 0,
				      chain->faults, &chain->changes)) ||
	    (e = each_name(chain, "index", 0, meet_index)))
		return e;
	return tell_unmet(chain);
}

enum err archive_chain_check(struct archive_faults *faults, struct store *store,
			     const char *mailbox_key, const struct tap_type *digest,
			     const struct manifest_head *newest, bool indexes_sound)
{
	struct chain *chain = calloc(1, sizeof *chain);
	enum err e;

	if (!chain)
		return RAISE(ERR_MEMORY_EXHAUSTED, "checking the manifests of %s", mailbox_key);
	chain->faults = faults;
	chain->store = store;
	chain->mailbox_key = mailbox_key;
	if (!(e = digest_open(digest, &chain->tap)) &&
	    !(e = check_generations(chain, newest->generation)))
		e = check_changes(chain, newest->last_changes, indexes_sound);
	archive_changes_close(&chain->changes);
	if (chain->tap)
		chain->tap->type->close(&chain->tap);
	free(chain);
	return e;
}
