/* What the ledger knows of copies at the target, for a sink that looks for others there. */
#include <stdlib.h>

#include "engine/lane_state.h"

enum { PAGE_ROWS = 2048 };

struct copies {
	struct lane *lane;
	bool is_own;
	const char *target; /* NULL: any folder */
	uint64_t target_epoch;
	sink_each_copy *each;
	void *context;
	struct ledger_known_box box;
	struct ledger_stored rows[PAGE_ROWS];
};

static enum err tell(const struct copies *copies, const struct ledger_stored *stored)
{
	struct sink_copy copy = {
		.target_no = stored->target_no,
		.digest = stored->digest,
		.is_unlike = stored->doubtful || stored->found == LEDGER_FOUND_ALIKE,
		.is_guess = stored->doubtful && !stored->altered,
		.is_own = copies->is_own,
		.box_no = copies->box.box_no,
		.no = stored->no,
	};

	return copies->each(copies->context, &copy);
}

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

			after = stored->no;
			if (!copies->target == !stored->target_no)
				e = tell(copies, stored);
		}
	} while (!e && count == PAGE_ROWS);
	return e;
}

static enum err tell_mailbox(struct copies *copies, uint64_t mailbox_no)
{
	struct ledger *ledger = copies->lane->config->ledger;
	enum err e;

	copies->box = (struct ledger_known_box){ 0 };
	copies->is_own = mailbox_no == copies->lane->mailbox.mailbox_no;
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
