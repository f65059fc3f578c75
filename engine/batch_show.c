/* The batch as others see it: counts, rows, and what was learnt about hosts. */
#include <stdio.h>
#include <stdlib.h>

#include "engine/batch_state.h"
#include "engine/bytes.h"

/* ---- views ---- */

void batch_counts(struct batch *batch, nsec now, struct batch_counts *counts)
{
	const struct batch_figures *totals = &batch->totals;

	*counts = (struct batch_counts){ .window_closes_wall_s = INT64_MAX };
	batch_lock(batch);
	batch_count_times(batch, now);
	counts->messages_known = totals->messages_known;
	counts->bytes_known = totals->bytes_known;
	counts->messages_moved = totals->messages_moved;
	counts->bytes_moved = totals->bytes_moved;
	counts->messages_before = totals->messages_before;
	counts->messages_skipped = totals->messages_skipped;
	counts->messages_left_out = totals->messages_left_out;
	counts->folders_left_out = totals->folders_left_out;
	counts->messages_doubtful = totals->messages_doubtful;
	counts->messages_found = totals->messages_found;
	counts->messages_wrapped = totals->messages_wrapped;
	counts->changes = totals->changes;
	counts->connections = totals->connections;
	counts->reconnects = totals->reconnects;
	for (unsigned i = 0; i < BATCH_STATES; i++)
		counts->mailboxes[i] = batch->states[i];
	for (unsigned i = 0; i < ERR_COUNT; i++)
		counts->errors[i] = batch->errors[i];
	counts->mailboxes_backing_off = batch->resting;
	counts->throttled = batch->throttled;
	counts->ran = batch->ran;
	counts->draining = batch->draining;
	batch_unlock(batch);
}

size_t batch_size(const struct batch *batch)
{
	return batch->count;
}

static void show(const struct slot *slot, nsec now, struct batch_mailbox *out)
{
	const struct batch_figures *figures = &slot->figures;

	*out = (struct batch_mailbox){
		.source = slot->entry.source,
		.target = slot->entry.target,
		.wave = slot->entry.wave,
		.line = slot->entry.line,
		.state = slot->state,
		.error = slot->error,
		.exit_code = slot->exit_code,
		.attempts = slot->attempts,
		.duration = slot->ran + (slot->state == BATCH_RUNNING ? now - slot->began : 0),
		.messages_known = figures->messages_known,
		.bytes_known = figures->bytes_known,
		.messages_moved = figures->messages_moved,
		.bytes_moved = figures->bytes_moved,
		.messages_before = figures->messages_before,
		.messages_skipped = figures->messages_skipped,
		.messages_doubtful = figures->messages_doubtful,
		.messages_found = figures->messages_found,
		.messages_wrapped = figures->messages_wrapped,
		.folders_skipped = figures->folders_skipped,
		.messages_left_out = figures->messages_left_out,
		.folders_left_out = figures->folders_left_out,
		.changes = figures->changes,
	};
	snprintf(out->note, sizeof out->note, "%s", slot->note ? slot->note : "");
}

bool batch_row(struct batch *batch, size_t no, struct batch_mailbox *out)
{
	if (no >= batch->count)
		return false;
	batch_lock(batch);
	show(&batch->slots[no], clock_now(), out);
	batch_unlock(batch);
	return true;
}

bool batch_running(struct batch *batch, size_t index, struct batch_mailbox *out)
{
	uint32_t no;

	batch_lock(batch);
	no = batch->running;
	while (no != NOBODY && index-- > 0)
		no = batch->slots[no].next;
	if (no != NOBODY)
		show(&batch->slots[no], clock_now(), out);
	batch_unlock(batch);
	return no != NOBODY;
}

/* ---- lessons ---- */

size_t batch_hosts(const struct batch *batch)
{
	return (size_t)batch->hosts_count + batch->targets_count;
}

/* A host that mail comes from and goes to: what was learnt as the first is kept. */
static const struct backoff *learnt_of_target(const struct batch *batch, size_t index)
{
	for (uint32_t i = 0; i < batch->hosts_count; i++)
		if (strcmp(batch->hosts[i].name, batch->targets[index].name) == 0)
			return NULL;
	return &batch->targets[index].rest;
}

bool batch_lesson(struct batch *batch, size_t index, nsec now, struct batch_lesson *lesson,
		  bool *known)
{
	const struct backoff *learnt;
	const char *name;

	if (index >= batch_hosts(batch) + batch->count)
		return false;
	batch_lock(batch);
	lesson->of_account = index >= batch_hosts(batch);
	if (lesson->of_account) {
		learnt = batch->slots[index - batch_hosts(batch)].account;
		name = batch->slots[index - batch_hosts(batch)].entry.source;
	} else if (index >= batch->hosts_count) {
		learnt = learnt_of_target(batch, index - batch->hosts_count);
		name = batch->targets[index - batch->hosts_count].name;
	} else {
		learnt = &batch->hosts[index].rest;
		name = batch->hosts[index].name;
	}
	*known = learnt != NULL && strlen(name) < sizeof lesson->name;
	if (*known) {
		snprintf(lesson->name, sizeof lesson->name, "%s", name);
		lesson->saved = backoff_save(learnt, now, clock_wall());
	}
	batch_unlock(batch);
	return true;
}

/* Lessons about accounts are few, and this happens once. */
static void learn_account(struct batch *batch, const struct batch_lesson *lesson, nsec now)
{
	for (uint32_t i = 0; i < batch->count; i++) {
		struct slot *slot = &batch->slots[i];

		if (strcmp(slot->entry.source, lesson->name) != 0)
			continue;
		if (!slot->account && (slot->account = calloc(1, sizeof *slot->account)))
			backoff_init(slot->account, slot->entry.connections);
		if (slot->account)
			backoff_load(slot->account, &lesson->saved, now, clock_wall());
	}
}

void batch_learn(struct batch *batch, const struct batch_lesson *lesson, nsec now)
{
	batch_lock(batch);
	if (lesson->of_account)
		learn_account(batch, lesson, now);
	for (uint32_t i = 0; i < batch->hosts_count && !lesson->of_account; i++)
		if (strcmp(batch->hosts[i].name, lesson->name) == 0)
			backoff_load(&batch->hosts[i].rest, &lesson->saved, now, clock_wall());
	for (uint32_t i = 0; i < batch->targets_count && !lesson->of_account; i++)
		if (strcmp(batch->targets[i].name, lesson->name) == 0)
			backoff_load(&batch->targets[i].rest, &lesson->saved, now, clock_wall());
	batch_unlock(batch);
}
