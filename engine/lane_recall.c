/* What a source is reminded of before it lists its folders: which messages are settled where, for
 * one that puts them into folders itself and must not put one into another folder than before. */
#include <stdlib.h>

#include "engine/lane_state.h"

static enum err recall_box(struct lane *lane, const struct ledger_known_box *known,
			   struct ledger_seen *seen)
{
	struct source *source = lane->readers[0].source;
	uint64_t first = 1;
	size_t count;
	enum err e;

	while ((e = ledger_seen(lane->config->ledger, known->box_no, first, INT64_MAX - 1, seen,
				SCAN_MESSAGES, &count)) == OK &&
	       count) {
		for (size_t i = 0; i < count && e == OK; i++)
			e = source->type->recall(
				source, &(struct settled_before){ .box_id = known->id,
								  .epoch = known->epoch,
								  .no = seen[i].no,
								  .stored = seen[i].stored,
								  .there = !seen[i].vanished });
		if (e)
			return e;
		first = seen[count - 1].no + 1;
	}
	return e;
}

enum err lane_recall(struct lane *lane)
{
	struct source *source = lane->readers[0].source;
	struct ledger_known_box known = { 0 };
	struct ledger_seen *seen;
	enum err e;

	if (!source->type->recalls || !source->type->recalls(source))
		return OK;
	if (!(seen = calloc(SCAN_MESSAGES, sizeof *seen)))
		return RAISE(ERR_MEMORY_EXHAUSTED, "telling what was copied before");
	while ((e = ledger_box_next(lane->config->ledger, lane->mailbox.mailbox_no, &known)) == OK)
		if (known.id[0] && (e = recall_box(lane, &known, seen)))
			break;
	free(seen);
	return e == ERR_PIPE_ENDED ? OK : e;
}
