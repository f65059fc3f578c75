/* batch.h: the queue of mailboxes and what became of each. Every call holds the one lock for a few
 * instructions, but for copies of rows. Not for: running a mailbox, or waiting: callers ask again.
 *
 * Each host has its mailboxes in order, so finding the next one looks at hosts, not at mailboxes: a
 * tenant of 500,000 comes from a handful of hosts. */
#include "engine/batch.h"

#include <stdlib.h>

#include "engine/batch_state.h"
#include "engine/bytes.h"

enum { PASSED_MAX = 256 };

const char *batch_state_name(enum batch_state state)
{
	static const char *const names[BATCH_STATES] = {
		[BATCH_WAITING] = "waiting",   [BATCH_RUNNING] = "running",
		[BATCH_DONE] = "done",	       [BATCH_INCOMPLETE] = "incomplete",
		[BATCH_DOUBTFUL] = "doubtful", [BATCH_FAILED] = "failed",
		[BATCH_DRAINED] = "drained",
	};

	must(state < BATCH_STATES);
	return names[state];
}

void batch_lock(struct batch *batch)
{
	must(pthread_mutex_lock(&batch->lock) == 0);
}

void batch_unlock(struct batch *batch)
{
	must(pthread_mutex_unlock(&batch->lock) == 0);
}

void batch_count_times(struct batch *batch, nsec now)
{
	nsec passed = batch->counted_at ? now - batch->counted_at : 0;

	batch->throttled += passed * (nsec)batch->resting;
	batch->ran += passed * (nsec)batch->states[BATCH_RUNNING];
	batch->counted_at = now;
}

static void change_state(struct batch *batch, struct slot *slot, enum batch_state state)
{
	must(batch->states[slot->state] > 0);
	batch->states[slot->state]--;
	batch->states[state]++;
	slot->state = state;
}

/* ---- opening ---- */

static int compare_slots(const void *a, const void *b, void *context)
{
	const struct slot *slots = context;
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	const struct batch_entry *p = &slots[x].entry, *q = &slots[y].entry;

	if (p->wave_no != q->wave_no)
		return p->wave_no < q->wave_no ? -1 : 1;
	if (p->priority != q->priority)
		return p->priority > q->priority ? -1 : 1;
	return x < y ? -1 : x > y;
}

static int compare_hosts(const void *a, const void *b, void *context)
{
	const struct slot *slots = context;
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	int by_name = strcmp(slots[x].entry.host, slots[y].entry.host);

	return by_name ? by_name : compare_slots(a, b, context);
}

/* `order` lists the slots by host, then in their order. */
static enum err make_hosts(struct batch *batch, uint32_t *order)
{
	struct host *host = NULL;

	for (uint32_t i = 0; i < batch->count; i++)
		batch->hosts_count += i == 0 || strcmp(batch->slots[order[i]].entry.host,
						       batch->slots[order[i - 1]].entry.host) != 0;
	batch->hosts = calloc(batch->hosts_count + 1, sizeof *batch->hosts);
	if (!batch->hosts)
		return RAISE(ERR_MEMORY_EXHAUSTED, "planning for %u hosts", batch->hosts_count);
	for (uint32_t i = 0; i < batch->count; i++) {
		struct slot *slot = &batch->slots[order[i]];

		if (!host || strcmp(host->name, slot->entry.host) != 0) {
			host = host ? host + 1 : batch->hosts;
			*host = (struct host){ .name = slot->entry.host,
					       .slots = order + i,
					       .again = NOBODY };
			backoff_init(&host->rest, batch->limits.connections_per_host);
		}
		host->count++;
		slot->host = (uint32_t)(host - batch->hosts);
	}
	return OK;
}

static enum err make_waves(struct batch *batch)
{
	for (uint32_t i = 0; i < batch->count; i++)
		if (batch->slots[i].entry.wave_no >= batch->waves_count)
			batch->waves_count = batch->slots[i].entry.wave_no + 1;
	batch->waves_left = calloc(batch->waves_count + 1, sizeof *batch->waves_left);
	if (!batch->waves_left)
		return RAISE(ERR_MEMORY_EXHAUSTED, "planning %u waves", batch->waves_count);
	for (uint32_t i = 0; i < batch->count; i++)
		batch->waves_left[batch->slots[i].entry.wave_no]++;
	return OK;
}

enum err batch_open(size_t count, void (*entry)(void *context, size_t no, struct batch_entry *),
		    void *context, const struct batch_limits *limits, struct batch **out)
{
	struct batch *batch = calloc(1, sizeof *batch);
	uint32_t *order = calloc(count + 1, sizeof *order);
	enum err e = OK;

	must(count < NOBODY && limits->mailboxes && limits->connections);
	must(limits->connections_per_host);
	*out = batch;
	if (batch)
		batch->slots = calloc(count + 1, sizeof *batch->slots);
	if (!batch || !order || !batch->slots) {
		e = RAISE(ERR_MEMORY_EXHAUSTED, "planning %zu mailboxes", count);
		free(order);
		if (batch)
			free(batch->slots);
		free(batch);
		*out = NULL;
		return e;
	}
	must(pthread_mutex_init(&batch->lock, NULL) == 0);
	batch->limits = *limits;
	batch->count = (uint32_t)count;
	batch->running = NOBODY;
	batch->states[BATCH_WAITING] = count;
	for (uint32_t i = 0; i < batch->count; i++) {
		order[i] = i;
		entry(context, i, &batch->slots[i].entry);
		must(batch->slots[i].entry.connections > 0);
	}
	qsort_r(order, count, sizeof *order, compare_hosts, batch->slots);
	if ((e = make_hosts(batch, order)) || (e = make_waves(batch)) ||
	    (e = batch_targets_make(batch))) {
		if (!batch->hosts)
			free(order);
		batch_close(out);
	} else if (count == 0) {
		free(order);
	}
	return e;
}

void batch_close(struct batch **batch_at)
{
	struct batch *batch = *batch_at;

	*batch_at = NULL;
	if (!batch)
		return;
	if (batch->hosts && batch->count)
		free(batch->hosts[0].slots); /* of all hosts: one array */
	for (uint32_t i = 0; i < batch->count; i++) {
		free(batch->slots[i].note);
		free(batch->slots[i].account);
	}
	must(pthread_mutex_destroy(&batch->lock) == 0);
	batch_targets_free(batch);
	free(batch->hosts);
	free(batch->waves_left);
	free(batch->slots);
	free(batch);
}

/* ---- what comes next ---- */

static nsec sooner(nsec a, nsec b)
{
	return a < b ? a : b;
}

static void take_from_again(struct batch *batch, struct host *host, uint32_t no)
{
	uint32_t before = NOBODY, at = host->again;

	for (; at != no; at = batch->slots[at].next) {
		must(at != NOBODY);
		before = at;
	}
	if (before == NOBODY)
		host->again = batch->slots[no].next;
	else
		batch->slots[before].next = batch->slots[no].next;
	if (host->again_last == no)
		host->again_last = before;
	batch->slots[no].again = false;
	host->again_count--;
}

static void add_to_again(struct batch *batch, struct host *host, uint32_t no)
{
	batch->slots[no].next = NOBODY;
	batch->slots[no].again = true;
	if (host->again == NOBODY)
		host->again = no;
	else
		batch->slots[host->again_last].next = no;
	host->again_last = no;
	host->again_count++;
}

/* It is not to be begun any more. */
static void leave_queue(struct batch *batch, struct host *host, uint32_t no)
{
	struct slot *slot = &batch->slots[no];

	if (slot->again) {
		take_from_again(batch, host, no);
	} else {
		must(host->slots[host->at] == no);
		host->at++;
		batch->waves_left[slot->entry.wave_no]--;
	}
	if (slot->rests)
		batch->resting--;
	slot->rests = false;
}

static bool account_rests(const struct slot *slot, nsec now, nsec *again)
{
	nsec when;

	if (!slot->account || backoff_may_start(slot->account, now, 0, &when))
		return false;
	*again = sooner(*again, when);
	return true;
}

static void settle(struct batch *batch, struct slot *slot, enum batch_state state, enum err e,
		   int exit_code)
{
	change_state(batch, slot, state);
	batch_target_let_go(batch, slot);
	slot->error = state == BATCH_FAILED || state == BATCH_DOUBTFUL ? e : OK;
	slot->exit_code = exit_code;
}

/* Nobody has reached its destination in this run. */
static bool fails_by_target(struct batch *batch, struct host *host, uint32_t no)
{
	struct slot *slot = &batch->slots[no];
	const struct target *target = batch_target_given_up(batch, slot);

	if (!target)
		return false;
	leave_queue(batch, host, no);
	free(slot->note);
	slot->note = target->note ? strdup(target->note) : NULL;
	settle(batch, slot, BATCH_FAILED, target->error, target->exit_code);
	return true;
}

static bool may_not_begin(const struct batch *batch, const struct slot *slot, nsec now, nsec *again)
{
	bool rests;

	if (batch_target_is_held(batch, slot))
		return true; /* until one has ended: no clock says when */
	rests = account_rests(slot, now, again);
	return batch_target_rests(batch, slot, now, again) || rests;
}

static uint32_t head_of_again(struct batch *batch, struct host *host, nsec now, nsec *again)
{
	uint32_t next;

	for (uint32_t no = host->again; no != NOBODY; no = next) {
		next = batch->slots[no].next;
		if (!fails_by_target(batch, host, no) &&
		    !may_not_begin(batch, &batch->slots[no], now, again))
			return no;
	}
	return NOBODY;
}

/* The mailbox of a host that would be next: one to be tried again whose rest is over, else a fresh
 * one of the wave that is under way. A fresh one that is known to rest, by what an earlier run
 * learnt or because its destination rests, lets the others pass, and so does one whose account
 * there is held: not more than a few, for all of a job may go to one destination. */
static uint32_t head_of(struct batch *batch, struct host *host, nsec now, nsec *again)
{
	uint32_t no = head_of_again(batch, host, now, again);

	while (no == NOBODY && host->at < host->count) {
		no = host->slots[host->at];
		if (batch->slots[no].entry.wave_no != batch->wave)
			return NOBODY;
		if (fails_by_target(batch, host, no)) {
			no = NOBODY;
			continue;
		}
		if (!may_not_begin(batch, &batch->slots[no], now, again))
			return no;
		if (host->again_count >= PASSED_MAX)
			return NOBODY;
		leave_queue(batch, host, no);
		add_to_again(batch, host, no);
		no = NOBODY;
	}
	return no;
}

static void begin(struct batch *batch, struct host *host, uint32_t no, nsec now,
		  unsigned connections)
{
	struct slot *slot = &batch->slots[no];

	batch_count_times(batch, now);
	leave_queue(batch, host, no);
	change_state(batch, slot, BATCH_RUNNING);
	slot->attempts++;
	slot->began = now;
	slot->connections = connections;
	slot->next = batch->running;
	batch->running = no;
	slot->moved_before_attempt = slot->figures.messages_moved;
	slot->found_before_attempt = slot->figures.messages_found;
	slot->bytes_before_attempt = slot->figures.bytes_moved;
	slot->reconnects_before = slot->figures.reconnects;
	slot->changes_before = slot->figures.changes;
	host->connections += connections;
	batch->connections += connections;
	backoff_started(&host->rest, now);
	batch_target_hold(batch, slot);
	batch_target_began(batch, slot, now);
	if (slot->account)
		backoff_started(slot->account, now);
}

/* Whether a host has a mailbox that may begin now. */
static uint32_t candidate(struct batch *batch, struct host *host, nsec now, nsec *again)
{
	uint32_t no = head_of(batch, host, now, again);
	nsec when;

	if (no == NOBODY || backoff_may_start(&host->rest, now, host->connections, &when))
		return no;
	*again = sooner(*again, when);
	return NOBODY;
}

/* How many connections there is room for, of those it asks for. */
static unsigned room_for(const struct batch *batch, const struct host *host,
			 const struct slot *slot)
{
	unsigned room = batch->limits.connections - batch->connections;

	must(host->rest.limit > host->connections);
	room = (unsigned)min_u64(room, host->rest.limit - host->connections);
	if (slot->account)
		room = (unsigned)min_u64(room, slot->account->limit);
	return (unsigned)min_u64(room, slot->entry.connections);
}

static bool take(struct batch *batch, nsec now, size_t *no, unsigned *connections, nsec *again)
{
	uint32_t best = NOBODY;

	if (batch->draining || batch->states[BATCH_RUNNING] >= batch->limits.mailboxes ||
	    batch->connections >= batch->limits.connections)
		return false;
	while (batch->wave + 1 < batch->waves_count && !batch->waves_left[batch->wave])
		batch->wave++;
	for (uint32_t i = 0; i < batch->hosts_count; i++) {
		uint32_t next = candidate(batch, &batch->hosts[i], now, again);

		if (next != NOBODY &&
		    (best == NOBODY || compare_slots(&next, &best, batch->slots) < 0))
			best = next;
	}
	if (best == NOBODY)
		return false;
	*no = best;
	*connections = room_for(batch, &batch->hosts[batch->slots[best].host], &batch->slots[best]);
	begin(batch, &batch->hosts[batch->slots[best].host], best, now, *connections);
	return true;
}

bool batch_take(struct batch *batch, nsec now, size_t *no, unsigned *connections, nsec *again)
{
	bool taken;

	*again = DEADLINE_NEVER;
	batch_lock(batch);
	taken = take(batch, now, no, connections, again);
	batch_unlock(batch);
	return taken;
}

/* ---- what becomes of it ---- */

static void add_figures(struct batch_figures *to, const struct batch_figures *figures,
			uint64_t sign)
{
	to->messages_known += sign * figures->messages_known;
	to->bytes_known += sign * figures->bytes_known;
	to->messages_moved += sign * figures->messages_moved;
	to->bytes_moved += sign * figures->bytes_moved;
	to->messages_found += sign * figures->messages_found;
	to->messages_before += sign * figures->messages_before;
	to->messages_skipped += sign * figures->messages_skipped;
	to->messages_left_out += sign * figures->messages_left_out;
	to->folders_left_out += sign * figures->folders_left_out;
	to->messages_doubtful += sign * figures->messages_doubtful;
	to->messages_wrapped += sign * figures->messages_wrapped;
	to->connections += sign * figures->connections;
	to->reconnects += sign * figures->reconnects;
	batch_changes_add(&to->changes, &figures->changes, sign);
}

/* What an attempt counts is added to what those before it moved. */
static void take_figures(struct batch *batch, struct slot *slot,
			 const struct batch_figures *figures)
{
	add_figures(&batch->totals, &slot->figures, UINT64_MAX); /* minus, modulo 2^64 */
	slot->figures = *figures;
	slot->figures.messages_moved += slot->moved_before_attempt;
	slot->figures.messages_found += slot->found_before_attempt;
	/* The ledger, which is what an attempt begins from, does not know that they are of this
	 * run. */
	slot->figures.messages_before -=
		min_u64(slot->figures.messages_before, slot->moved_before_attempt);
	slot->figures.bytes_moved += slot->bytes_before_attempt;
	slot->figures.reconnects += slot->reconnects_before;
	batch_changes_add(&slot->figures.changes, &slot->changes_before, 1);
	add_figures(&batch->totals, &slot->figures, 1);
}

void batch_progress(struct batch *batch, size_t no, const struct batch_figures *figures, nsec now)
{
	struct slot *slot = &batch->slots[no];
	struct host *host = &batch->hosts[slot->host];

	batch_lock(batch);
	must(no < batch->count && slot->state == BATCH_RUNNING);
	if (figures->connections > 0) {
		host->met = true;
		backoff_worked(&host->rest, slot->began, now);
		if (slot->account)
			backoff_worked(slot->account, slot->began, now);
	}
	if (figures->messages_moved)
		batch_target_worked(batch, slot, now);
	take_figures(batch, slot, figures);
	batch_unlock(batch);
}

static void end_running(struct batch *batch, struct slot *slot, nsec now)
{
	struct host *host = &batch->hosts[slot->host];
	uint32_t *at = &batch->running, no = (uint32_t)(slot - batch->slots);

	while (*at != no) {
		must(*at != NOBODY);
		at = &batch->slots[*at].next;
	}
	*at = slot->next;
	host->connections -= slot->connections;
	batch->connections -= slot->connections;
	batch_target_ended(batch, slot);
	slot->connections = 0;
	batch->totals.connections -= slot->figures.connections;
	slot->figures.connections = 0;
	slot->ran += now - slot->began;
}

static bool is_worth_another_try(const struct slot *slot, const struct batch_outcome *outcome)
{
	enum err_retry class = err_retry_class(outcome->error);

	return outcome->state == BATCH_FAILED && slot->fruitless < BATCH_ATTEMPTS_MAX &&
	       (class == RETRY_NOW || class == RETRY_RECONNECT || class == RETRY_BACKOFF);
}

/* Nothing came back from the host at all. */
static bool is_unreached(const struct batch_outcome *outcome)
{
	if (outcome->of_target)
		return false; /* it was the other one's turn */
	switch (outcome->error) {
	case ERR_NET_NAME:
	case ERR_NET_REFUSED:
	case ERR_NET_UNREACHABLE:
	case ERR_NET_TIMEOUT:
	case ERR_NET_CLOSED:
	case ERR_NET_RESET:
		return !outcome->met;
	default:
		return false;
	}
}

static struct backoff *need_account(struct slot *slot)
{
	if (!slot->account && (slot->account = calloc(1, sizeof *slot->account)))
		backoff_init(slot->account, slot->entry.connections);
	return slot->account;
}

/* The host or the account rests. A budget that is used up is nobody's complaint. */
static void slow_down(struct batch *batch, struct slot *slot, const struct batch_outcome *outcome,
		      unsigned in_use, unsigned granted, nsec now)
{
	struct host *host = &batch->hosts[slot->host];
	bool of_host =
		!outcome->of_target && (outcome->scope == ERR_OF_HOST || is_unreached(outcome));
	uint64_t random;

	if (batch_target_slow_down(batch, slot, outcome, now))
		return;

	clock_random(&random, sizeof random);
	if (outcome->error == ERR_LIMIT_DAY) {
		if (need_account(slot))
			backoff_rest(slot->account, now + outcome->retry_after);
		return;
	}
	if (!of_host && need_account(slot))
		(void)backoff_throttled(slot->account, slot->began, now, granted,
					outcome->retry_after, random);
	/* Attempts that were under way at once and failed together are one failure: else a host
	 * that is away for a second would be given up before anybody asked again. */
	if (of_host &&
	    backoff_throttled(&host->rest, slot->began, now, in_use, outcome->retry_after, random))
		host->failures += is_unreached(outcome);
}

/* Nobody has reached this host in this run: none of its mailboxes is begun any more. */
static void give_up(struct batch *batch, struct host *host, const struct batch_outcome *outcome)
{
	host->given_up = true;
	while (host->again != NOBODY || host->at < host->count) {
		uint32_t no = host->again != NOBODY ? host->again : host->slots[host->at];

		leave_queue(batch, host, no);
		free(batch->slots[no].note);
		batch->slots[no].note = outcome->note ? strdup(outcome->note) : NULL;
		settle(batch, &batch->slots[no], BATCH_FAILED, outcome->error, outcome->exit_code);
	}
}

static void look_at_host(struct batch *batch, struct slot *slot,
			 const struct batch_outcome *outcome, nsec now)
{
	struct host *host = &batch->hosts[slot->host];

	host->met |= outcome->met || (!outcome->of_target && !is_unreached(outcome));
	if (outcome->met && !outcome->error)
		batch_target_worked(batch, slot, now);
	if (outcome->met && !outcome->error) {
		backoff_worked(&host->rest, slot->began, now);
		if (slot->account)
			backoff_worked(slot->account, slot->began, now);
	}
}

static bool end(struct batch *batch, uint32_t no, const struct batch_outcome *outcome, nsec now)
{
	struct slot *slot = &batch->slots[no];
	struct host *host = &batch->hosts[slot->host];
	unsigned in_use = host->connections, granted = slot->connections;
	bool again;

	batch_count_times(batch, now);
	take_figures(batch, slot, &outcome->figures);
	end_running(batch, slot, now);
	batch->errors[outcome->error] += outcome->error != OK;
	free(slot->note);
	slot->note = outcome->note && *outcome->note ? strdup(outcome->note) : NULL;
	look_at_host(batch, slot, outcome, now);
	if (outcome->connections_refused && need_account(slot))
		backoff_granted(slot->account, outcome->connections_refused - 1, now);
	slot->fruitless = outcome->figures.messages_moved ? 0 : slot->fruitless + 1;
	again = is_worth_another_try(slot, outcome) && !host->given_up;
	if (again && !batch->draining) {
		slow_down(batch, slot, outcome, in_use, granted, now);
		change_state(batch, slot, BATCH_WAITING);
		slot->error = outcome->error;
		slot->rests = !is_unreached(outcome);
		batch->resting += slot->rests;
		add_to_again(batch, host, no);
		if (!host->met && host->failures >= BATCH_HOST_FAILURES_MAX)
			give_up(batch, host, outcome);
		return slot->state != BATCH_WAITING;
	}
	settle(batch, slot, again ? BATCH_DRAINED : outcome->state, outcome->error,
	       again ? EXIT_LATER : outcome->exit_code);
	return true;
}

bool batch_end(struct batch *batch, size_t no, const struct batch_outcome *outcome, nsec now)
{
	bool final;

	must(outcome->state > BATCH_RUNNING && outcome->state < BATCH_STATES);
	batch_lock(batch);
	must(no < batch->count && batch->slots[no].state == BATCH_RUNNING);
	final = end(batch, (uint32_t)no, outcome, now);
	batch_unlock(batch);
	return final;
}

void batch_drain(struct batch *batch)
{
	batch_lock(batch);
	batch->draining = true;
	batch_unlock(batch);
}

bool batch_is_over(struct batch *batch)
{
	bool over;

	batch_lock(batch);
	over = batch->states[BATCH_RUNNING] == 0 &&
	       (batch->draining || batch->states[BATCH_WAITING] == 0);
	batch_unlock(batch);
	return over;
}
