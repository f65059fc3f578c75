/* See archive_history.h. */
#include "transport/archive_history.h"

#include <stdio.h>
#include <stdlib.h>

#include "transport/manifest.h"

struct archive_history {
	struct store *store;
	struct archive_faults *faults;
	char mailbox_key[128];
	uint64_t newest, generation; /* the one last returned */
	struct ndjson *lines;	     /* of it, read a second time for its changes */
	struct changes_read *changes;
	struct manifest_head head;
	struct manifest_line line;
};

enum err archive_history_open(struct archive *archive, const struct archive_mailbox *mailbox,
			      struct archive_history **out)
{
	struct archive_history *history = calloc(1, sizeof *history);

	*out = history;
	if (!history)
		return RAISE(ERR_MEMORY_EXHAUSTED, "reading the manifests of %s", mailbox->key);
	history->store = archive_store(archive);
	history->faults = archive_faults(archive);
	snprintf(history->mailbox_key, sizeof history->mailbox_key, "%s", mailbox->key);
	history->newest = mailbox->generation;
	return OK;
}

void archive_history_close(struct archive_history **history)
{
	if (*history) {
		ndjson_close(&(*history)->lines);
		changes_read_close(&(*history)->changes);
	}
	free(*history);
	*history = NULL;
}

static enum err line_next(struct archive_history *history)
{
	struct text text;
	enum err e = ndjson_next(history->lines, &text);

	if (e == ERR_PIPE_ENDED && strcmp(history->line.line, "end") != 0)
		return RAISE(ERR_ARCHIVE_DAMAGED, "%s: it is cut short",
			     ndjson_key(history->lines));
	if (!e && !manifest_line_read(text, &history->line))
		e = RAISE(ERR_ARCHIVE_DAMAGED, "%s: line %llu does not parse",
			  ndjson_key(history->lines),
			  (unsigned long long)ndjson_lines(history->lines));
	return e;
}

/* The manifest of the present generation from its second line on. */
static enum err lines_open(struct archive_history *history)
{
	char key[STORE_KEY_BYTES_MAX + 1];
	struct text text;
	enum err e;

	ndjson_close(&history->lines);
	history->line.line[0] = '\0';
	manifest_key(key, history->mailbox_key, history->generation);
	if ((e = ndjson_open(history->store, key, &history->lines)))
		return e;
	e = ndjson_next(history->lines, &text);
	if (e == ERR_PIPE_ENDED || (!e && !manifest_head_read(text, &history->head)))
		e = RAISE(ERR_ARCHIVE_DAMAGED, "%s: its first line does not parse", key);
	return e;
}

static enum err told(struct archive_history *history, enum err e)
{
	char key[STORE_KEY_BYTES_MAX + 1];

	manifest_key(key, history->mailbox_key, history->generation);
	return archive_fault(history->faults, key, e);
}

static void line_count(const struct manifest_line *line, struct archive_generation *to)
{
	to->packs += strcmp(line->line, "pack") == 0;
	to->messages += line->messages;
	to->bytes += line->bytes;
	to->reflagged += line->reflagged;
	to->vanished += line->vanished;
	to->renumbered += line->renumbered;
}

/* Read once for its sums, as far as it can be read, then begun again for its changes. */
static enum err generation_read(struct archive_history *history, struct archive_generation *out)
{
	enum err e = lines_open(history);

	*out = (struct archive_generation){ .generation = history->generation };
	if (e)
		return e;
	snprintf(out->created, sizeof out->created, "%s", history->head.created);
	while (!(e = line_next(history)))
		line_count(&history->line, out);
	if (e != ERR_PIPE_ENDED && (e = told(history, e)))
		return e;
	return lines_open(history);
}

enum err archive_history_next(struct archive_history *history, struct archive_generation *out)
{
	enum err e;

	changes_read_close(&history->changes);
	do {
		ndjson_close(&history->lines);
		if (history->generation == history->newest)
			return ERR_PIPE_ENDED;
		history->generation++;
		if (!(e = generation_read(history, out)))
			return OK;
	} while (!(e = told(history, e)));
	ndjson_close(&history->lines);
	return e;
}

/* The next object of changes that the manifest lists. Where it cannot be read further was told with
 * its sums. */
static enum err object_next(struct archive_history *history)
{
	enum err e;

	do
		e = line_next(history);
	while (!e && strcmp(history->line.line, "changes") != 0);
	if (e) {
		ndjson_close(&history->lines);
		return archive_is_damage(e) ? (err_note_clear(), ERR_PIPE_ENDED) : e;
	}
	if (!store_key_is_valid(text_of(history->line.object)))
		return told(history, RAISE(ERR_ARCHIVE_DAMAGED, "it lists \"%s\", which is no key",
					   history->line.object));
	return archive_fault(
		history->faults, history->line.object,
		changes_read_open(history->store, history->line.object, &history->changes));
}

enum err archive_history_change(struct archive_history *history, struct change_line *out)
{
	struct text text;
	enum err e = OK;

	while (!e && (history->lines || history->changes)) {
		if (!history->changes) {
			e = object_next(history);
			continue;
		}
		if (!(e = changes_read_next(history->changes, out, &text)))
			return OK;
		changes_read_close(&history->changes);
		e = e == ERR_PIPE_ENDED ? OK
					: archive_fault(history->faults, history->line.object, e);
	}
	return e ? e : ERR_PIPE_ENDED;
}
