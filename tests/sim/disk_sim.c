/* The files of the simulated disk: pages, what of them is durable, what a cut leaves. Names are in
 * disk_tree.c. */
#include "tests/sim/disk_sim.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "tests/sim/disk_state.h"
#include "tests/sim/sim.h"

struct disk_image {
	size_t bytes;
	uint8_t copy[];
};

/* So many pages that survive a cut in part are torn. */
enum { TORN_ONE_IN = 4 };

static struct disk *current;

/* ---- pages ---- */

static uint32_t pages_first(void)
{
	return (uint32_t)(round_up(sizeof(struct disk), DISK_PAGE_BYTES) / DISK_PAGE_BYTES);
}

static uint8_t *page(const struct disk *disk, uint32_t number)
{
	must(number >= pages_first() && number < disk->pages_high);
	return (uint8_t *)(uintptr_t)disk + (size_t)number * DISK_PAGE_BYTES;
}

/* 0: the mapping is full, which is a disk larger than the scenario was given. */
static uint32_t page_new(struct disk *disk)
{
	uint32_t number = disk->page_free;

	if (number) {
		disk->page_free = bytes_get_le32(page(disk, number));
	} else {
		if (disk->pages_high == disk->pages_count)
			return 0;
		number = disk->pages_high++;
	}
	memset(page(disk, number), 0, DISK_PAGE_BYTES);
	disk->lost[number / 8] &= (uint8_t) ~(1u << number % 8);
	return number;
}

static bool is_lost(const struct disk *disk, uint32_t number)
{
	return disk->lost[number / 8] >> number % 8 & 1;
}

static void page_drop(struct disk *disk, uint32_t number)
{
	bytes_put_le32(page(disk, number), disk->page_free);
	disk->page_free = number;
}

static void slot_set_now(struct disk *disk, struct disk_slot *slot, uint32_t number)
{
	uint32_t before = slot->now;

	disk->pages_used += (number != 0) - (before != 0);
	slot->now = number;
	if (before && before != number && before != slot->durable)
		page_drop(disk, before);
}

static void slot_set_durable(struct disk *disk, struct disk_slot *slot, uint32_t number)
{
	uint32_t before = slot->durable;

	slot->durable = number;
	if (before && before != number && before != slot->now)
		page_drop(disk, before);
}

/* The slot of a page of a file, NULL where the file has no map and `make` is false or fails. */
static struct disk_slot *slot_of(struct disk *disk, struct disk_node *node, uint64_t index,
				 bool make)
{
	uint32_t *map = &node->maps[index / DISK_MAP_SLOTS];

	must(index < (uint64_t)DISK_MAPS_MAX * DISK_MAP_SLOTS);
	if (!*map && make)
		*map = page_new(disk);
	if (!*map)
		return NULL;
	return (struct disk_slot *)(void *)page(disk, *map) + index % DISK_MAP_SLOTS;
}

/* Calls `each` for every slot that was ever used. */
static void slots_each(struct disk *disk, struct disk_node *node, enum disk_cut cut,
		       void (*each)(struct disk *, struct disk_slot *, enum disk_cut))
{
	for (unsigned i = 0; i < DISK_MAPS_MAX; i++)
		for (unsigned j = 0; node->maps[i] && j < DISK_MAP_SLOTS; j++)
			each(disk, (struct disk_slot *)(void *)page(disk, node->maps[i]) + j, cut);
}

/* ---- the disk ---- */

struct disk *disk_open(size_t bytes)
{
	size_t mapped = round_up(sizeof(struct disk) + bytes, DISK_PAGE_BYTES);
	struct disk *disk = mmap(NULL, mapped, PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	must(disk != MAP_FAILED && !current);
	disk->mapped_bytes = mapped;
	disk_format(disk);
	current = disk;
	return disk;
}

void disk_close(struct disk **disk)
{
	if (!*disk)
		return;
	MAGIC_CHECK(*disk, DISK_MAGIC);
	must(munmap(*disk, (*disk)->mapped_bytes) == 0);
	current = *disk = NULL;
}

struct disk *disk_current(void)
{
	must(current); /* the test opened none */
	return current;
}

void disk_format(struct disk *disk)
{
	size_t mapped = disk->mapped_bytes;

	memset(disk, 0, sizeof *disk);
	disk->magic = DISK_MAGIC;
	disk->mapped_bytes = mapped;
	must(mapped / DISK_PAGE_BYTES <= DISK_PAGES_MAX);
	disk->pages_count = (uint32_t)(mapped / DISK_PAGE_BYTES);
	disk->pages_high = pages_first();
	disk->nodes[DISK_ROOT] =
		(struct disk_node){ .used = true, .is_directory = true, .mode = 0755 };
}

struct disk_image *disk_save(const struct disk *disk)
{
	size_t bytes = (size_t)disk->pages_high * DISK_PAGE_BYTES;
	struct disk_image *image = malloc(sizeof *image + bytes);

	must(image);
	image->bytes = bytes;
	bytes_copy(image->copy, disk, bytes, BYTES_META);
	return image;
}

void disk_restore(struct disk *disk, const struct disk_image *image)
{
	MAGIC_CHECK(disk, DISK_MAGIC);
	must(image->bytes <= disk->mapped_bytes);
	bytes_copy(disk, image->copy, image->bytes, BYTES_META);
}

void disk_image_free(struct disk_image **image)
{
	free(*image);
	*image = NULL;
}

void disk_limit(struct disk *disk, uint64_t bytes)
{
	disk->pages_limit = bytes / DISK_PAGE_BYTES;
}

void disk_fail_read(struct disk *disk, unsigned from_now)
{
	disk->fail_read = from_now;
}

void disk_fail_write(struct disk *disk, unsigned from_now)
{
	disk->fail_write = from_now;
}

void disk_fail_sync(struct disk *disk, unsigned from_now)
{
	disk->fail_sync = from_now;
}

static bool fails_now(unsigned *countdown)
{
	return *countdown && --*countdown == 0;
}

/* ---- files ---- */

struct disk_node *disk_node(const struct disk *disk, int node)
{
	MAGIC_CHECK(disk, DISK_MAGIC);
	must(node > 0 && node < DISK_NODES_MAX && disk->nodes[node].used);
	return (struct disk_node *)(uintptr_t)&disk->nodes[node];
}

struct disk_fact disk_fact(const struct disk *disk, int node)
{
	const struct disk_node *file = disk_node(disk, node);

	return (struct disk_fact){ file->bytes, file->mode, file->is_directory };
}

void disk_hold(struct disk *disk, int node)
{
	disk_node(disk, node)->holders++;
}

void disk_let_go(struct disk *disk, int node)
{
	must(disk_node(disk, node)->holders > 0);
	if (--disk_node(disk, node)->holders == 0)
		disk_tree_sweep(disk);
}

int64_t disk_read(struct disk *disk, int node, void *to, size_t n, uint64_t offset)
{
	struct disk_node *file = disk_node(disk, node);
	size_t done = 0;

	if (file->is_directory)
		return -EISDIR;
	if (fails_now(&disk->fail_read))
		return -EIO;
	n = offset >= file->bytes ? 0 : (size_t)min_u64(n, file->bytes - offset);
	while (done < n) {
		uint64_t at = offset + done;
		size_t part = (size_t)min_u64(n - done, DISK_PAGE_BYTES - at % DISK_PAGE_BYTES);
		struct disk_slot *slot = slot_of(disk, file, at / DISK_PAGE_BYTES, false);

		if (slot && slot->now)
			bytes_copy((uint8_t *)to + done,
				   page(disk, slot->now) + at % DISK_PAGE_BYTES, part, BYTES_META);
		else
			memset((uint8_t *)to + done, 0, part);
		done += part;
	}
	return (int64_t)n;
}

/* The page to write into: the file's own, or a copy where the platter still holds the old one. */
static uint8_t *page_to_write(struct disk *disk, struct disk_node *file, uint64_t index)
{
	struct disk_slot *slot;
	uint32_t fresh;

	if (index >= (uint64_t)DISK_MAPS_MAX * DISK_MAP_SLOTS)
		return NULL;
	slot = slot_of(disk, file, index, true);
	if (!slot)
		return NULL;
	if (slot->now && slot->now != slot->durable) {
		disk->lost[slot->now / 8] &= (uint8_t) ~(1u << slot->now % 8);
		return page(disk, slot->now);
	}
	if (!slot->now && disk->pages_limit && disk->pages_used >= disk->pages_limit)
		return NULL;
	fresh = page_new(disk);
	if (!fresh)
		return NULL;
	if (slot->now)
		bytes_copy(page(disk, fresh), page(disk, slot->now), DISK_PAGE_BYTES, BYTES_META);
	slot_set_now(disk, slot, fresh);
	return page(disk, fresh);
}

int64_t disk_write(struct disk *disk, int node, const void *from, size_t n, uint64_t offset)
{
	struct disk_node *file = disk_node(disk, node);
	bool fails = fails_now(&disk->fail_write);
	size_t done = 0;

	if (file->is_directory)
		return -EISDIR;
	n = fails ? n / 2 : n;
	while (done < n) {
		uint64_t at = offset + done;
		size_t part = (size_t)min_u64(n - done, DISK_PAGE_BYTES - at % DISK_PAGE_BYTES);
		uint8_t *to = page_to_write(disk, file, at / DISK_PAGE_BYTES);

		if (!to)
			return done ? (int64_t)done : -ENOSPC;
		bytes_copy(to + at % DISK_PAGE_BYTES, (const uint8_t *)from + done, part,
			   BYTES_META);
		done += part;
		file->bytes = max_u64(file->bytes, offset + done);
	}
	return fails ? -EIO : (int64_t)n;
}

/* Nothing of a file may be readable beyond its end, also when it grows again later. */
static bool clear_from(struct disk *disk, struct disk_node *file, uint64_t bytes)
{
	uint64_t first = round_up(bytes, DISK_PAGE_BYTES) / DISK_PAGE_BYTES;
	struct disk_slot *slot;
	uint8_t *tail;

	for (uint64_t i = 0; i < (uint64_t)DISK_MAPS_MAX * DISK_MAP_SLOTS; i++)
		if (!file->maps[i / DISK_MAP_SLOTS])
			i |= DISK_MAP_SLOTS - 1; /* no page in this map at all */
		else if (i >= first)
			slot_set_now(disk, slot_of(disk, file, i, false), 0);
	slot = slot_of(disk, file, bytes / DISK_PAGE_BYTES, false);
	if (bytes % DISK_PAGE_BYTES == 0 || !slot || !slot->now)
		return true;
	tail = page_to_write(disk, file, bytes / DISK_PAGE_BYTES);
	if (tail)
		memset(tail + bytes % DISK_PAGE_BYTES, 0,
		       DISK_PAGE_BYTES - bytes % DISK_PAGE_BYTES);
	return tail != NULL;
}

int disk_truncate(struct disk *disk, int node, uint64_t bytes)
{
	struct disk_node *file = disk_node(disk, node);

	if (file->is_directory)
		return -EISDIR;
	if (bytes >= (uint64_t)DISK_MAPS_MAX * DISK_MAP_SLOTS * DISK_PAGE_BYTES)
		return -EFBIG;
	if (bytes < file->bytes && !clear_from(disk, file, bytes))
		return -ENOSPC;
	if (bytes < file->bytes) {
		file->bytes_shortest =
			file->is_shortened ? min_u64(file->bytes_shortest, bytes) : bytes;
		file->is_shortened = true;
	}
	file->bytes = bytes;
	return 0;
}

static void slot_sync(struct disk *disk, struct disk_slot *slot, enum disk_cut cut)
{
	(void)cut;
	if (slot->now != slot->durable && !is_lost(disk, slot->now))
		slot_set_durable(disk, slot, slot->now);
}

/* The sync failed: this page was written before that, or is lost. */
static void slot_lose(struct disk *disk, struct disk_slot *slot, enum disk_cut cut)
{
	if (!slot->now)
		return;
	if (slot->now == slot->durable || sim_one_in(SIM_DISK, 2))
		slot_sync(disk, slot, cut);
	else
		disk->lost[slot->now / 8] |= (uint8_t)(1u << slot->now % 8);
}

int disk_sync(struct disk *disk, int node)
{
	struct disk_node *file = disk_node(disk, node);

	if (fails_now(&disk->fail_sync)) {
		slots_each(disk, file, DISK_CUT_MIXES, slot_lose);
		return -EIO;
	}
	if (file->is_directory) {
		disk_tree_sync(disk, node);
		return 0;
	}
	slots_each(disk, file, DISK_CUT_KEEPS, slot_sync);
	file->bytes_durable = file->bytes;
	file->is_shortened = false;
	return 0;
}

static void slot_free(struct disk *disk, struct disk_slot *slot, enum disk_cut cut)
{
	(void)cut;
	slot_set_now(disk, slot, 0);
	slot_set_durable(disk, slot, 0);
}

void disk_node_free(struct disk *disk, int node)
{
	struct disk_node *file = disk_node(disk, node);

	slots_each(disk, file, DISK_CUT_KEEPS, slot_free);
	for (unsigned i = 0; i < DISK_MAPS_MAX; i++)
		if (file->maps[i])
			page_drop(disk, file->maps[i]);
	*file = (struct disk_node){ .used = false };
}

/* ---- the cut ---- */

static bool survives(enum disk_cut cut)
{
	return cut == DISK_CUT_KEEPS || (cut == DISK_CUT_MIXES && sim_one_in(SIM_DISK, 2));
}

/* Each sector is as it is now, or still as it was. */
static void tear(struct disk *disk, const struct disk_slot *slot)
{
	static const uint8_t hole[DISK_PAGE_BYTES];
	const uint8_t *before = slot->durable ? page(disk, slot->durable) : hole;

	for (size_t at = 0; at < DISK_PAGE_BYTES; at += DISK_SECTOR_BYTES)
		if (sim_one_in(SIM_DISK, 2))
			bytes_copy(page(disk, slot->now) + at, before + at, DISK_SECTOR_BYTES,
				   BYTES_META);
}

static void slot_cut(struct disk *disk, struct disk_slot *slot, enum disk_cut cut)
{
	bool kept = cut != DISK_CUT_LOSES; /* a hole, where the file was cut short */

	if (slot->now == slot->durable)
		return;
	if (slot->now)
		kept = !is_lost(disk, slot->now) && survives(cut);
	if (!kept)
		slot_set_now(disk, slot, slot->durable);
	else if (cut == DISK_CUT_MIXES && slot->now && sim_one_in(SIM_DISK, TORN_ONE_IN))
		tear(disk, slot);
	slot_set_durable(disk, slot, slot->now);
}

static void slot_forget_lost(struct disk *disk, struct disk_slot *slot, enum disk_cut cut)
{
	(void)cut;
	if (slot->now != slot->durable && is_lost(disk, slot->now))
		slot_set_now(disk, slot, slot->durable);
}

/* The length is one more thing that may or may not have reached the platter; a file that was
 * growing may end anywhere between. */
static uint64_t length_after_cut(const struct disk_node *file, enum disk_cut cut)
{
	uint64_t from = file->bytes_durable;

	if (file->is_shortened && cut == DISK_CUT_MIXES)
		from = file->bytes_shortest;
	if (cut == DISK_CUT_MIXES && file->bytes > from && sim_one_in(SIM_DISK, 2))
		return from + sim_below(SIM_DISK, file->bytes - from + 1);
	return survives(cut) ? file->bytes : from;
}

void disk_node_cut(struct disk *disk, int node, enum disk_cut cut)
{
	struct disk_node *file = disk_node(disk, node);

	if (file->is_directory)
		return;
	if (cut == DISK_CUT_MIXES && file->is_shortened && !survives(cut))
		cut = DISK_CUT_LOSES;
	file->bytes = length_after_cut(file, cut);
	slots_each(disk, file, cut, slot_cut);
	must(clear_from(disk, file, file->bytes));
	slots_each(disk, file, cut, slot_sync);
	file->bytes_durable = file->bytes;
	file->is_shortened = false;
}

void disk_process_ended(struct disk *disk)
{
	bool forgets = sim_one_in(SIM_DISK, 2);

	disk->fail_read = disk->fail_write = disk->fail_sync = 0;
	for (int i = 1; i < DISK_NODES_MAX; i++) {
		disk->nodes[i].holders = 0;
		if (forgets && disk->nodes[i].used)
			slots_each(disk, &disk->nodes[i], DISK_CUT_LOSES, slot_forget_lost);
	}
	disk_tree_sweep(disk);
}

static void power_cut(struct disk *disk, enum disk_cut cut)
{
	disk_tree_cut(disk, cut);
	for (int i = 1; i < DISK_NODES_MAX; i++)
		if (disk->nodes[i].used)
			disk_node_cut(disk, i, cut);
	disk_process_ended(disk);
}

void disk_power_cut(struct disk *disk)
{
	static const enum disk_cut fates[] = { DISK_CUT_LOSES, DISK_CUT_KEEPS, DISK_CUT_MIXES,
					       DISK_CUT_MIXES };

	power_cut(disk, fates[sim_below(SIM_DISK, ARRAY_COUNT(fates))]);
}

void disk_power_cut_taking_all(struct disk *disk)
{
	power_cut(disk, DISK_CUT_LOSES);
}
