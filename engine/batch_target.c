/* The hosts that a batch's mail goes to: rests of their own, beside those of the sources' hosts. A
 * mailbox has one conversation with its destination, so nothing bounds those at once but what the
 * destination bears. And the accounts there, each of which one mailbox holds at a time. */
#include <limits.h>
#include <stdlib.h>
#include <strings.h>

#include "engine/batch_state.h"
#include "engine/bytes.h"

/* ---- opening ---- */

static struct text account_of(const struct slot *slot)
{
	const char *account = slot->entry.target_account ? slot->entry.target_account : "";

	return (struct text){ account, strcspn(account, "/") };
}

static struct text host_in(struct text account)
{
	const char *at = memrchr(account.at, '@', account.bytes);
	size_t before = at ? (size_t)(at + 1 - account.at) : 0;

	return (struct text){ account.at + before, account.bytes - before };
}

static struct text host_of(const struct slot *slot)
{
	return host_in(account_of(slot));
}

static int compare_texts(struct text a, struct text b)
{
	if (a.bytes != b.bytes)
		return a.bytes < b.bytes ? -1 : 1;
	return strncasecmp(a.at, b.at, a.bytes);
}

/* By host, so that one's accounts stand together, then by account. */
static int compare(const void *a, const void *b, void *context)
{
	const struct slot *slots = context;
	const struct slot *x = &slots[*(const uint32_t *)a], *y = &slots[*(const uint32_t *)b];
	struct text one = account_of(x), other = account_of(y);
	int order = compare_texts(host_in(one), host_in(other));

	order = order ? order : compare_texts(one, other);
	return order ? order : x < y ? -1 : x > y;
}

static bool is_another_host(const struct batch *batch, const uint32_t *order, uint32_t i)
{
	struct text host = host_of(&batch->slots[order[i]]);

	return host.bytes &&
	       (i == 0 || compare_texts(host_of(&batch->slots[order[i - 1]]), host) != 0);
}

static bool is_same_account(const struct batch *batch, const uint32_t *order, uint32_t i)
{
	struct text account = account_of(&batch->slots[order[i]]);

	return i > 0 && memchr(account.at, '@', account.bytes) &&
	       compare_texts(account_of(&batch->slots[order[i - 1]]), account) == 0;
}

static void make_accounts(struct batch *batch, const uint32_t *order)
{
	for (uint32_t i = 0; i < batch->count; i++) {
		struct slot *slot = &batch->slots[order[i]];

		slot->holder = NOBODY;
		slot->first = is_same_account(batch, order, i) ? batch->slots[order[i - 1]].first
							       : order[i];
	}
}

static enum err make_hosts(struct batch *batch, const uint32_t *order)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < batch->count; i++)
		count += is_another_host(batch, order, i);
	batch->targets = calloc(count + 1, sizeof *batch->targets);
	if (!batch->targets)
		return RAISE(ERR_MEMORY_EXHAUSTED, "planning for %u destinations", count);
	for (uint32_t i = 0; i < batch->count; i++) {
		struct slot *slot = &batch->slots[order[i]];
		struct text host = host_of(slot);

		slot->target = NOBODY;
		if (!host.bytes)
			continue;
		if (is_another_host(batch, order, i)) {
			struct target *target = &batch->targets[batch->targets_count++];

			target->name = strndup(host.at, host.bytes);
			if (!target->name)
				return RAISE(ERR_MEMORY_EXHAUSTED, "planning destinations");
			backoff_init(&target->rest, UINT_MAX);
		}
		slot->target = batch->targets_count - 1;
	}
	return OK;
}

enum err batch_targets_make(struct batch *batch)
{
	uint32_t *order = calloc(batch->count + 1, sizeof *order);
	enum err e;

	if (!order)
		return RAISE(ERR_MEMORY_EXHAUSTED, "planning destinations");
	for (uint32_t i = 0; i < batch->count; i++)
		order[i] = i;
	qsort_r(order, batch->count, sizeof *order, compare, batch->slots);
	make_accounts(batch, order);
	e = make_hosts(batch, order);
	free(order);
	return e;
}

void batch_targets_free(struct batch *batch)
{
	for (uint32_t i = 0; i < batch->targets_count; i++) {
		free(batch->targets[i].name);
		free(batch->targets[i].note);
	}
	free(batch->targets);
}

/* ---- the accounts ---- */

bool batch_target_is_held(const struct batch *batch, const struct slot *slot)
{
	uint32_t holder = batch->slots[slot->first].holder;

	return holder != NOBODY && &batch->slots[holder] != slot;
}

void batch_target_hold(struct batch *batch, const struct slot *slot)
{
	must(!batch_target_is_held(batch, slot));
	batch->slots[slot->first].holder = (uint32_t)(slot - batch->slots);
}

void batch_target_let_go(struct batch *batch, const struct slot *slot)
{
	if (!batch_target_is_held(batch, slot)) /* else it has not begun */
		batch->slots[slot->first].holder = NOBODY;
}

/* ---- the hosts, while it runs ---- */

static struct target *target_of(const struct batch *batch, const struct slot *slot)
{
	return slot->target == NOBODY ? NULL : &batch->targets[slot->target];
}

bool batch_target_rests(const struct batch *batch, const struct slot *slot, nsec now, nsec *again)
{
	const struct target *target = target_of(batch, slot);
	nsec when;

	if (!target || backoff_may_start(&target->rest, now, target->in_use, &when))
		return false;
	*again = when < *again ? when : *again;
	return true;
}

const struct target *batch_target_given_up(const struct batch *batch, const struct slot *slot)
{
	const struct target *target = target_of(batch, slot);

	return target && target->given_up ? target : NULL;
}

void batch_target_began(struct batch *batch, const struct slot *slot, nsec now)
{
	struct target *target = target_of(batch, slot);

	if (!target)
		return;
	target->in_use++;
	backoff_started(&target->rest, now);
}

void batch_target_worked(struct batch *batch, const struct slot *slot, nsec now)
{
	struct target *target = target_of(batch, slot);

	if (!target)
		return;
	target->met = true;
	backoff_worked(&target->rest, slot->began, now);
}

void batch_target_ended(struct batch *batch, const struct slot *slot)
{
	struct target *target = target_of(batch, slot);

	if (!target)
		return;
	must(target->in_use > 0);
	target->in_use--;
}

/* Nothing came back from it in this attempt, as far as anybody knows. */
static bool is_unreached(const struct batch_outcome *outcome)
{
	switch (outcome->error) {
	case ERR_NET_NAME:
	case ERR_NET_REFUSED:
	case ERR_NET_UNREACHABLE:
		return true;
	case ERR_NET_TIMEOUT:
	case ERR_NET_CLOSED:
	case ERR_NET_RESET:
		return !outcome->figures.messages_moved;
	default:
		return false;
	}
}

bool batch_target_slow_down(struct batch *batch, const struct slot *slot,
			    const struct batch_outcome *outcome, nsec now)
{
	struct target *target = target_of(batch, slot);
	bool unreached = is_unreached(outcome) && !outcome->met_target;
	uint64_t random;

	if (!target || !outcome->of_target)
		return false;
	target->met |= !unreached;
	if (outcome->scope != ERR_OF_HOST && !unreached)
		return false;
	clock_random(&random, sizeof random);
	/* The one that ended was in use, too. */
	if (backoff_throttled(&target->rest, slot->began, now, target->in_use + 1,
			      outcome->retry_after, random))
		target->failures += unreached;
	if (!target->met && target->failures >= BATCH_HOST_FAILURES_MAX && !target->given_up) {
		target->given_up = true;
		target->error = outcome->error;
		target->exit_code = outcome->exit_code;
		target->note = outcome->note ? strdup(outcome->note) : NULL;
	}
	return true;
}
