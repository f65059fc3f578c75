/* What the ledger knows of copies at the target, for a sink that looks for others there. */
#include <stdlib.h>

#include "engine/lane_state.h"

enum { PAGE_ROWS = 2048 };

struct copies {
	struct lane *lane;
	const char *target; /* NULL: any folder */
	uint64_t target_epoch;
	sink_each_copy *each;
	void *context;
	struct ledger_known_box box;
	struct ledger_stored rows[PAGE_ROWS];
};

static enum err tell_box(struct copies *copies)
{
	uint64_t after = 0;
	size_t count;
	enum err e;

	do {
		e = ledger_stored(copies->lane->config->ledger, copies->box.box_no, after,
				  copies->rows, PAGE_ROWS, &count);
		for (size_t i = 0; i < count && !e; i++) {
			const struct ledger_stored *stored = &copies->rows[i];
			struct sink_copy copy = { stored->target_no, stored->digest };

			after = stored->no;
			if (!copies->target == !stored->target_no)
				e = copies->each(copies->context, &copy);
		}
	} while (!e && count == PAGE_ROWS);
	return e;
}

static enum err tell_mailbox(struct copies *copies, uint64_t mailbox_no)
{
	struct ledger *ledger = copies->lane->config->ledger;
	enum err e;

	copies->box = (struct ledger_known_box){ 0 };
	while ((e = ledger_box_next(ledger, mailbox_no, &copies->box)) == OK) {
		bool is_it = !copies->target || (strcmp(copies->box.target, copies->target) == 0 &&
						 copies->box.target_epoch == copies->target_epoch);

		if (is_it && (e = tell_box(copies)))
			break;
	}
	return e == ERR_PIPE_ENDED ? OK : e;
}

enum err lane_ask_copies(void *argument, const char *target, uint64_t target_epoch,
			 sink_each_copy *each, void *context)
{
	struct lane *lane = argument;
	struct copies *copies = calloc(1, sizeof *copies);
	uint64_t mailbox_no = 0;
	enum err e = copies ? OK : RAISE(ERR_MEMORY_EXHAUSTED, "what the ledger knows of copies");

	if (e)
		return e;
	*copies = (struct copies){ .lane = lane,
				   .target = target,
				   .target_epoch = target_epoch,
				   .each = each,
				   .context = context };
	while (!e && !(e = ledger_mailbox_beside(lane->config->ledger, lane->mailbox.mailbox_no,
						 &mailbox_no)))
		e = tell_mailbox(copies, mailbox_no);
	free(copies);
	return e == ERR_PIPE_ENDED ? OK : e;
}
