/* See list_changes.h. */
#include "tools/list_changes.h"

#include <stdlib.h>

#include "tools/terminal.h"
#include "tools/units.h"
#include "transport/archive_history.h"

struct telling {
	const struct archive_mailbox *mailbox;
	const struct selection *selection;
	struct json_out *json;
	struct archive_generation generation;
	struct change_line change;
	char shown[3 * BOX_NAME_BYTES_MAX], shown_before[3 * BOX_NAME_BYTES_MAX];
};

static void tell_generation(struct telling *telling)
{
	const struct archive_generation *generation = &telling->generation;
	struct json_out *json = telling->json;
	char bytes[UNITS_TEXT_BYTES];

	if (!json) {
		printf("  generation %llu  %s  %llu message%s, %s, in %llu pack%s; %llu reflagged, "
		       "%llu vanished, %llu renumbered\n",
		       (unsigned long long)generation->generation, generation->created,
		       (unsigned long long)generation->messages, units_plural(generation->messages),
		       units_bytes(bytes, generation->bytes), (unsigned long long)generation->packs,
		       units_plural(generation->packs), (unsigned long long)generation->reflagged,
		       (unsigned long long)generation->vanished,
		       (unsigned long long)generation->renumbered);
		return;
	}
	json_object_begin(json, NULL);
	json_text(json, "kind", "generation");
	json_text(json, "mailbox", telling->mailbox->name);
	json_number(json, "generation", generation->generation);
	json_text(json, "created", generation->created);
	json_number(json, "packs", generation->packs);
	json_number(json, "messages", generation->messages);
	json_number(json, "bytes", generation->bytes);
	json_number(json, "reflagged", generation->reflagged);
	json_number(json, "vanished", generation->vanished);
	json_number(json, "renumbered", generation->renumbered);
	json_object_end(json);
	json_line_end(json);
}

static void tell_change_json(struct telling *telling)
{
	const struct change_line *change = &telling->change;
	struct json_out *json = telling->json;

	json_object_begin(json, NULL);
	json_text(json, "kind", "change");
	json_text(json, "mailbox", telling->mailbox->name);
	json_number(json, "generation", telling->generation.generation);
	json_text(json, "change", change->change);
	json_text(json, "seen", change->seen);
	json_text(json, "folder", change->box);
	json_number(json, "uidvalidity", change->epoch);
	json_number(json, "uid", change->no);
	if (change->kind == CHANGE_RENUMBERED) {
		json_text(json, "was_folder", change->was_box);
		json_number(json, "was_uidvalidity", change->was_epoch);
		json_number(json, "was_uid", change->was_no);
	}
	if (change->kind != CHANGE_VANISHED) {
		json_text(json, "flags", change->flags);
		json_text(json, "keywords", change->keywords);
	}
	json_object_end(json);
	json_line_end(json);
}

static void tell_change(struct telling *telling)
{
	const struct change_line *change = &telling->change;

	if (telling->json) {
		tell_change_json(telling);
		return;
	}
	printf("    %-10s  %s  %10llu  %s", change->change, change->seen,
	       (unsigned long long)change->no,
	       terminal_text(telling->shown, sizeof telling->shown, change->box));
	if (change->kind == CHANGE_RENUMBERED)
		printf(", was %llu in %s", (unsigned long long)change->was_no,
		       terminal_text(telling->shown_before, sizeof telling->shown_before,
				     change->was_box));
	if (change->kind != CHANGE_VANISHED)
		printf("  [%s]", terminal_text(telling->shown, sizeof telling->shown,
					       change->flags[0] ? change->flags : "no flags"));
	printf("\n");
}

static enum err tell_changes(struct telling *telling, struct archive_history *history,
			     uint64_t *lines)
{
	const struct selection *selection = telling->selection;
	enum err e = OK;

	while (!ferror(stdout) && !(e = archive_history_change(history, &telling->change))) {
		if (!selection_has_box(selection, telling->change.box) ||
		    (selection->number && selection->number != telling->change.no))
			continue;
		++*lines;
		tell_change(telling);
	}
	return e == ERR_PIPE_ENDED ? OK : e;
}

enum err list_changes(struct archive *archive, const struct archive_mailbox *mailbox,
		      const struct selection *selection, struct json_out *json, uint64_t *lines)
{
	struct telling *telling = calloc(1, sizeof *telling);
	struct archive_history *history = NULL;
	enum err e;

	if (!telling)
		return RAISE(ERR_MEMORY_EXHAUSTED, "listing changes");
	telling->mailbox = mailbox;
	telling->selection = selection;
	telling->json = json;
	e = archive_history_open(archive, mailbox, &history);
	while (!e && !ferror(stdout) &&
	       !(e = archive_history_next(history, &telling->generation))) {
		tell_generation(telling);
		e = tell_changes(telling, history, lines);
	}
	archive_history_close(&history);
	free(telling);
	return e == ERR_PIPE_ENDED ? OK : e;
}
