/* See store_s3_part.h. */
#include "transport/store_s3_part.h"

#include <stdlib.h>

#include "engine/budget.h"
#include "engine/clock.h"
#include "engine/limits.h"

/* What is waited for has deadlines of its own; this only makes it a bounded wait. */
#define WAIT_NS (3600 * NSEC_SECOND)

static _Thread_local struct {
	unsigned stores;
	unsigned shared;	     /* that stores hold beyond their own */
	struct store_s3_part *spare; /* left to the next that needs one: at most parts_shared */
	unsigned spares;
	struct wait_queue given;
} memory;

static void memory_free(struct store_s3_part *part)
{
	budget_give(BUDGET_WRITES, part->room);
	free(part);
}

static struct store_s3_part *spare_take(void)
{
	struct store_s3_part *part = memory.spare;

	memory.spare = part->next;
	memory.spares--;
	return part;
}

void store_s3_parts_open(void)
{
	memory.stores++;
}

void store_s3_parts_close(const struct store_s3_place *place)
{
	must(place->parts_held == 0 && memory.stores > 0);
	if (--memory.stores > 0)
		return;
	must(memory.shared == 0);
	while (memory.spare)
		memory_free(spare_take());
}

/* Spares of another length are of stores with other settings. */
static struct store_s3_part *memory_provide(size_t room)
{
	struct store_s3_part *part;

	while (memory.spare) {
		part = spare_take();
		if (part->room == room)
			return part;
		memory_free(part);
	}
	if ((part = malloc(sizeof *part + room)))
		budget_take(BUDGET_WRITES, room);
	return part;
}

enum err store_s3_part_take(struct store_s3_place *place, size_t room, struct store_s3_part **out)
{
	struct store_s3_part *part;
	enum err e = OK;

	*out = NULL;
	while (!e && place->parts_held >= UPLOAD_PARTS_OWN &&
	       memory.shared >= budget()->parts_shared)
		e = wait_on(&memory.given, clock_after(WAIT_NS));
	if (e)
		return e;
	if (!(part = memory_provide(room)))
		return RAISE(ERR_MEMORY_EXHAUSTED, "a part of %zu bytes for %s", room, place->name);
	*part = (struct store_s3_part){ .room = room };
	memory.shared += place->parts_held++ >= UPLOAD_PARTS_OWN;
	*out = part;
	return OK;
}

void store_s3_part_give(struct store_s3_place *place, struct store_s3_part **part_at)
{
	struct store_s3_part *part = *part_at;

	*part_at = NULL;
	if (!part)
		return;
	must(place->parts_held > 0 && !part->flies);
	memory.shared -= --place->parts_held >= UPLOAD_PARTS_OWN;
	if (memory.spares < budget()->parts_shared) {
		part->next = memory.spare;
		memory.spare = part;
		memory.spares++;
	} else {
		memory_free(part);
	}
	wake_all(&memory.given);
}
