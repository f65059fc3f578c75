/* Fibers: groups, the run queue, deadlines, cancel. One scheduler per thread over one ring. Stacks
 * are in stack.c, deadlines in deadline.c, the switch itself in fiber_switch.S.
 *
 * A fiber is in exactly one place: running, in the run queue, or waiting (perhaps in a wait_queue,
 * and among the deadlines unless its own is DEADLINE_NEVER). Every switch goes through the
 * scheduler's own stack: two switches of 3 ns each buy one place where time is measured and fibers
 * end. */
#include "engine/fiber.h"

#include <stdlib.h>

#include "engine/clock.h"
#include "engine/deadline.h"
#include "engine/fiber_switch.h"
#include "engine/stack.h"
#include "engine/ring.h"

#if UNDER_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if UNDER_TSAN
#include <sanitizer/tsan_interface.h>
#endif

enum {
	FIBER_MAGIC = 0x46494245,
	GROUP_MAGIC = 0x47525550,
	SCHEDULER_MAGIC = 0x53434844,
	/* Completions are looked at after so many switches or so much time, whichever is first:
	 * rarely enough that two fibers handing over to each other do not pay a system call each
	 * time. */
	SWITCHES_PER_LOOK = 32,
	NSEC_PER_LOOK = 50 * 1000,
};

enum fiber_state { FIBER_READY, FIBER_RUNNING, FIBER_WAITING, FIBER_ENDED };

struct fiber {
	uint32_t magic;
	enum fiber_state state;
	void *stack_pointer; /* while not running */
	struct scheduler *scheduler;
	/* The run queue or a wait_queue, never both. */
	struct fiber *next, *before;
	struct wait_queue *queue;
	enum err woken_with;
	bool cancel_asked;
	unsigned shields;
	struct deadline deadline;

	const char *name, *tag;
	fiber_main *main;
	void *argument;
	struct group *group;
	struct fiber *next_member, *before_member;
	unsigned groups_open;
	struct stack *stack;
	void *asan_fake_stack;
	struct err_note note;
};

struct group {
	uint32_t magic;
	struct fiber *owner; /* NULL: the scheduler's root */
	struct fiber *members;
	struct wait_queue joiner;
	bool canceled, cancel_on_error;
	enum err error; /* the first, except that a cause replaces ERR_FIBER_CANCELED */
	struct err_note note;
};

struct scheduler {
	uint32_t magic;
	struct ring *ring;
	struct fiber *running;
	struct wait_queue ready; /* the run queue */
	struct deadlines deadlines;
	size_t fibers_count;
	struct stacks stacks;
	void *stack_pointer;
	/* What the sanitizers want to know about the thread's own stack. */
	const void *stack_low;
	size_t stack_bytes;
	void *asan_fake_stack, *tsan;
};

static _Thread_local struct scheduler *current; /* inside scheduler_run */
static _Thread_local struct fiber_counts counts;

/* ---- switching ---- */

static void switch_to_fiber(struct scheduler *scheduler, struct fiber *fiber)
{
#if UNDER_ASAN
	__sanitizer_start_switch_fiber(&scheduler->asan_fake_stack, fiber->stack->low,
				       fiber->stack->bytes);
#endif
#if UNDER_TSAN
	__tsan_switch_to_fiber(fiber->stack->tsan, 0);
#endif
	fiber_switch(&scheduler->stack_pointer, fiber->stack_pointer);
#if UNDER_ASAN
	__sanitizer_finish_switch_fiber(scheduler->asan_fake_stack, NULL, NULL);
#endif
}

/* Leave the running fiber, for good if it ended. */
static void switch_to_scheduler(struct fiber *fiber)
{
	struct scheduler *scheduler = fiber->scheduler;

#if UNDER_ASAN
	__sanitizer_start_switch_fiber(fiber->state == FIBER_ENDED ? NULL : &fiber->asan_fake_stack,
				       scheduler->stack_low, scheduler->stack_bytes);
#endif
#if UNDER_TSAN
	__tsan_switch_to_fiber(scheduler->tsan, 0);
#endif
	fiber_switch(&fiber->stack_pointer, scheduler->stack_pointer);
#if UNDER_ASAN
	__sanitizer_finish_switch_fiber(fiber->asan_fake_stack, NULL, NULL);
#endif
}

/* ---- queues ---- */

static void queue_add(struct wait_queue *queue, struct fiber *fiber)
{
	fiber->next = NULL;
	fiber->before = queue->last;
	if (queue->last)
		queue->last->next = fiber;
	else
		queue->first = fiber;
	queue->last = fiber;
}

static void queue_remove(struct wait_queue *queue, struct fiber *fiber)
{
	if (fiber->before)
		fiber->before->next = fiber->next;
	else
		queue->first = fiber->next;
	if (fiber->next)
		fiber->next->before = fiber->before;
	else
		queue->last = fiber->before;
	fiber->next = fiber->before = NULL;
}

static void make_ready(struct fiber *fiber)
{
	fiber->state = FIBER_READY;
	queue_add(&fiber->scheduler->ready, fiber);
}

static void wake(struct fiber *fiber, enum err with)
{
	struct scheduler *scheduler = fiber->scheduler;

	must(fiber->magic == FIBER_MAGIC && fiber->state == FIBER_WAITING);
	must(scheduler == current); /* another thread wakes through its ring */
	if (fiber->queue)
		queue_remove(fiber->queue, fiber);
	fiber->queue = NULL;
	deadlines_remove(&scheduler->deadlines, &fiber->deadline);
	fiber->woken_with = with;
	make_ready(fiber);
}

void wake_one(struct wait_queue *queue)
{
	if (queue->first)
		wake(queue->first, OK);
}

void wake_all(struct wait_queue *queue)
{
	while (queue->first)
		wake(queue->first, OK);
}

/* ---- the running fiber ---- */

struct fiber *fiber_self(void)
{
	return current ? current->running : NULL;
}

static struct fiber *self_required(void)
{
	struct fiber *self = fiber_self();

	MAGIC_CHECK(self, FIBER_MAGIC);
	must(self->state == FIBER_RUNNING);
	return self;
}

const char *fiber_name(void)
{
	return fiber_self() ? current->running->name : "";
}

const char *fiber_tag(void)
{
	return fiber_self() ? current->running->tag : NULL;
}

void fiber_set_tag(const char *tag)
{
	self_required()->tag = tag;
}

static bool cancel_is_due(const struct fiber *fiber)
{
	return fiber->cancel_asked && fiber->shields == 0;
}

bool fiber_canceled(void)
{
	return cancel_is_due(self_required());
}

void fiber_shield(void)
{
	struct fiber *self = self_required();

	must(self->shields < UINT32_MAX);
	self->shields++;
}

void fiber_unshield(void)
{
	struct fiber *self = self_required();

	must(self->shields > 0);
	self->shields--;
}

/* No note is raised for a timeout or a cancel: the caller knows what it was waiting for. */
static enum err suspend(struct fiber *self, struct wait_queue *queue, nsec until)
{
	if (cancel_is_due(self))
		return ERR_FIBER_CANCELED;
	self->state = FIBER_WAITING;
	self->queue = queue;
	if (queue)
		queue_add(queue, self);
	deadlines_add(&self->scheduler->deadlines, &self->deadline, until);
	switch_to_scheduler(self);
	must(self->state == FIBER_RUNNING);
	return self->woken_with;
}

enum err wait_on(struct wait_queue *queue, nsec until)
{
	must(queue);
	return suspend(self_required(), queue, until);
}

enum err fiber_sleep(nsec until)
{
	enum err e = suspend(self_required(), NULL, until);

	must(e == ERR_FIBER_TIMEOUT || e == ERR_FIBER_CANCELED);
	return e == ERR_FIBER_TIMEOUT ? OK : e;
}

enum err fiber_yield(void)
{
	struct fiber *self = self_required();

	if (cancel_is_due(self))
		return ERR_FIBER_CANCELED;
	make_ready(self);
	switch_to_scheduler(self);
	return cancel_is_due(self) ? ERR_FIBER_CANCELED : OK;
}

/* ---- groups ---- */

static struct group *group_new(struct fiber *owner)
{
	struct group *group = calloc(1, sizeof *group);

	must(group);
	group->magic = GROUP_MAGIC;
	group->owner = owner;
	group->cancel_on_error = true;
	return group;
}

struct group *group_open(void)
{
	struct fiber *self = self_required();

	self->groups_open++;
	return group_new(self);
}

static void cancel(struct fiber *fiber)
{
	fiber->cancel_asked = true;
	if (fiber->state == FIBER_WAITING && cancel_is_due(fiber))
		wake(fiber, ERR_FIBER_CANCELED);
}

void group_cancel(struct group *group)
{
	MAGIC_CHECK(group, GROUP_MAGIC);
	group->canceled = true;
	for (struct fiber *member = group->members; member; member = member->next_member)
		cancel(member);
}

void group_cancel_on_error(struct group *group, bool on)
{
	MAGIC_CHECK(group, GROUP_MAGIC);
	group->cancel_on_error = on;
}

static void group_add(struct group *group, struct fiber *fiber)
{
	fiber->group = group;
	fiber->next_member = group->members;
	if (group->members)
		group->members->before_member = fiber;
	group->members = fiber;
	fiber->cancel_asked = group->canceled;
}

/* A member ended with `e`; its note is still current. The first error wins, but being called off is
 * no cause: a real error that comes later takes its place. */
static void group_remove(struct group *group, struct fiber *fiber, enum err e)
{
	if (fiber->before_member)
		fiber->before_member->next_member = fiber->next_member;
	else
		group->members = fiber->next_member;
	if (fiber->next_member)
		fiber->next_member->before_member = fiber->before_member;
	if (e &&
	    (!group->error || (group->error == ERR_FIBER_CANCELED && e != ERR_FIBER_CANCELED))) {
		group->error = e;
		group->note = fiber->note;
	}
	if (e && e != ERR_FIBER_CANCELED && group->cancel_on_error)
		group_cancel(group);
	if (!group->members)
		wake_all(&group->joiner);
}

/* The end of a group without members: its error, and its note where the current fiber has none. */
static enum err group_settle(struct group **group_at)
{
	struct group *group = *group_at;
	enum err e = group->error;

	must(!group->members && !group->joiner.first);
	err_note_inherit(&group->note);
	group->magic = 0;
	free(group);
	*group_at = NULL;
	return e;
}

enum err group_join(struct group **group_at)
{
	struct group *group = *group_at;
	struct fiber *self = self_required();
	bool called_off = cancel_is_due(self);
	enum err e;

	MAGIC_CHECK(group, GROUP_MAGIC);
	must(group->owner == self && self->groups_open > 0);
	if (called_off)
		group_cancel(group);
	while (group->members) {
		self->shields += called_off; /* told once is enough: now it waits for the members */
		e = wait_on(&group->joiner, DEADLINE_NEVER);
		self->shields -= called_off;
		if (e == ERR_FIBER_CANCELED) {
			called_off = true;
			group_cancel(group);
		}
	}
	self->groups_open--;
	e = group_settle(group_at);
	return e ? e : called_off ? ERR_FIBER_CANCELED : OK;
}

/* The first function on a fiber's own stack, entered by fiber_entry. Does not return. */
static void fiber_begin(struct fiber *self)
{
	enum err e;

#if UNDER_ASAN
	__sanitizer_finish_switch_fiber(NULL, &self->scheduler->stack_low,
					&self->scheduler->stack_bytes);
#endif
	MAGIC_CHECK(self, FIBER_MAGIC);
	e = self->main(self->argument);
	must(self->groups_open == 0); /* no orphans */
	must(self->shields == 0);
	self->state = FIBER_ENDED;
	group_remove(self->group, self, e);
	switch_to_scheduler(self);
	must(false);
}

/* The fiber lives at the top of its stack, with its first frame below. Tops are coloured: at equal
 * offsets the hot lines of many fibers would compete for the same cache sets (LIMITS A.3). */
static struct fiber *fiber_place(struct scheduler *scheduler, struct stack *stack)
{
	struct fiber_frame *frame;
	struct fiber *fiber;
	uint8_t *top = stack->low + stack->bytes - scheduler->fibers_count % 8 * 192;
	/* Unwinders that do not know fiber_entry's rule stop at a return address of 0. */
	enum { NO_CALLER_BYTES = 16 };

	top -= round_up(sizeof *fiber, 64);
	fiber = (struct fiber *)(void *)top;
	memset(fiber, 0, sizeof *fiber);
	fiber->magic = FIBER_MAGIC;
	fiber->scheduler = scheduler;
	fiber->stack = stack;
	memset(top - NO_CALLER_BYTES, 0, NO_CALLER_BYTES);
	frame = (struct fiber_frame *)(void *)(top - NO_CALLER_BYTES - sizeof *frame);
	*frame = (struct fiber_frame)FIBER_FRAME_FIRST(fiber_begin, fiber);
	fiber->stack_pointer = frame;
	return fiber;
}

static enum err spawn(struct scheduler *scheduler, struct group *group, const char *name,
		      enum fiber_stack kind, fiber_main *main, void *argument)
{
	struct stack *stack;
	struct fiber *fiber;

	if (!deadlines_reserve(&scheduler->deadlines, scheduler->fibers_count + 1))
		return RAISE(ERR_FIBER_STACKS, "starting fiber %s: no memory for its deadline",
			     name);
	stack = stack_take(&scheduler->stacks, kind);
	if (!stack)
		return RAISE(ERR_FIBER_STACKS, "starting fiber %s: no memory for a stack; %zu run",
			     name, scheduler->fibers_count);
	fiber = fiber_place(scheduler, stack);
	fiber->name = name;
	fiber->tag = fiber_tag();
	fiber->main = main;
	fiber->argument = argument;
	group_add(group, fiber);
	make_ready(fiber);
	scheduler->fibers_count++;
	counts.spawned++;
	return OK;
}

enum err group_spawn(struct group *group, const char *name, enum fiber_stack kind, fiber_main *main,
		     void *argument)
{
	MAGIC_CHECK(group, GROUP_MAGIC);
	must(name && main && current);
	return spawn(current, group, name, kind, main, argument);
}

/* ---- the scheduler ---- */

enum err scheduler_open(struct ring *ring, struct scheduler **out)
{
	struct scheduler *scheduler = calloc(1, sizeof *scheduler);

	must(ring);
	if (!scheduler)
		return RAISE(ERR_MEMORY_EXHAUSTED, "opening the scheduler");
	scheduler->magic = SCHEDULER_MAGIC;
	scheduler->ring = ring;
	*out = scheduler;
	return OK;
}

void scheduler_close(struct scheduler **scheduler_at)
{
	struct scheduler *scheduler = *scheduler_at;

	if (!scheduler)
		return;
	MAGIC_CHECK(scheduler, SCHEDULER_MAGIC);
	must(scheduler != current && scheduler->fibers_count == 0);
	stacks_close(&scheduler->stacks);
	deadlines_close(&scheduler->deadlines);
	scheduler->magic = 0;
	free(scheduler);
	*scheduler_at = NULL;
}

struct ring *scheduler_ring(void)
{
	return current ? current->ring : NULL;
}

struct fiber_counts fiber_counts(void)
{
	return counts;
}

static void bury(struct scheduler *scheduler, struct fiber *fiber)
{
	fiber->magic = 0;
	scheduler->fibers_count--;
	stack_give(&scheduler->stacks, fiber->stack);
	counts.stack_bytes_high = max_u64(counts.stack_bytes_high, scheduler->stacks.bytes_high);
}

/* Let the first of the run queue run until it suspends; it held the core from `now` on. */
static nsec run_one(struct scheduler *scheduler, nsec now)
{
	struct fiber *fiber = scheduler->ready.first;
	struct err_note *before;
	nsec after;

	must(fiber->state == FIBER_READY);
	queue_remove(&scheduler->ready, fiber);
	fiber->state = FIBER_RUNNING;
	scheduler->running = fiber;
	before = err_note_swap(&fiber->note);
	switch_to_fiber(scheduler, fiber);
	err_note_swap(before);
	scheduler->running = NULL;
	counts.switches++;
	after = clock_now();
	if (after - now > counts.longest_run) {
		counts.longest_run = after - now;
		counts.longest_name = fiber->name;
	}
	if (fiber->state == FIBER_ENDED)
		bury(scheduler, fiber);
	return after;
}

static void expire(struct scheduler *scheduler)
{
	struct deadline *first = deadlines_first(&scheduler->deadlines);
	nsec now = first ? clock_now() : 0;

	for (; first && first->until <= now; first = deadlines_first(&scheduler->deadlines))
		wake(CONTAINER_OF(first, struct fiber, deadline), ERR_FIBER_TIMEOUT);
}

/* Run what is ready until it is time to look at the ring again. */
static void run_for_a_while(struct scheduler *scheduler)
{
	nsec began = clock_now(), now = began;

	for (unsigned i = 0;
	     i < SWITCHES_PER_LOOK && scheduler->ready.first && now - began <= NSEC_PER_LOOK; i++)
		now = run_one(scheduler, now);
}

static void run_all(struct scheduler *scheduler)
{
	struct deadline *first;
	nsec until;

	while (scheduler->fibers_count > 0) {
		run_for_a_while(scheduler);
		first = deadlines_first(&scheduler->deadlines);
		until = first ? first->until : DEADLINE_NEVER;
		if (scheduler->fibers_count > 0)
			ring_turn(scheduler->ring, scheduler->ready.first ? 0 : until);
		expire(scheduler);
	}
}

enum err scheduler_run(struct scheduler *scheduler, fiber_main *main, void *argument)
{
	struct group *root;
	enum err e;

	MAGIC_CHECK(scheduler, SCHEDULER_MAGIC);
	must(!current);
	current = scheduler;
	root = group_new(NULL);
#if UNDER_TSAN
	scheduler->tsan = __tsan_get_current_fiber();
#endif
	e = spawn(scheduler, root, "main", FIBER_STACK_LARGE, main, argument);
	if (!e)
		run_all(scheduler);
	must(scheduler->fibers_count == 0 && !scheduler->ready.first);
	current = NULL;
	if (!e)
		return group_settle(&root);
	free(root);
	return e;
}
