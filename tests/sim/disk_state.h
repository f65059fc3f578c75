/* What disk_sim.c (files) and disk_tree.c (names) share. Everything lies in one mapping that forked
 * processes share at one address; page numbers count from its start. */
#ifndef MAILHAUL_DISK_STATE_H
#define MAILHAUL_DISK_STATE_H

#include "tests/sim/disk_sim.h"

enum {
	DISK_MAGIC = 0xd15c51,
	DISK_ROOT = 1,
	DISK_NODES_MAX = 512,
	DISK_ENTRIES_MAX = 512,
	/* More unsynced names: the oldest are written back, as a kernel does. */
	DISK_CHANGES_MAX = 256,
	DISK_MAPS_MAX = 32,
	DISK_MAP_SLOTS = 512, /* of 4096 bytes each: a file has at most 64 MiB */
	DISK_PAGES_MAX = 65536,
};

/* One page of a file as the process sees it, and as it is on the platter; 0: a hole. Equal numbers:
 * nothing is waiting to be written. */
struct disk_slot {
	uint32_t now, durable;
};
_Static_assert(sizeof(struct disk_slot) * DISK_MAP_SLOTS == DISK_PAGE_BYTES, "a map is a page");

struct disk_node {
	bool used, is_directory;
	uint32_t mode, holders;
	uint64_t bytes, bytes_durable;
	bool is_shortened;	      /* since the last sync, */
	uint64_t bytes_shortest;      /* and then it had so many */
	uint32_t maps[DISK_MAPS_MAX]; /* pages of slots */
};

struct disk_entry {
	int directory, node; /* node 0: a free row */
	char name[DISK_NAME_BYTES_MAX + 1];
};
struct disk_names {
	unsigned count;
	struct disk_entry entries[DISK_ENTRIES_MAX];
};

/* A name that changed and is not synced. A rename has both halves. */
struct disk_change {
	bool adds, removes;
	struct disk_entry add, remove;
};

struct disk {
	uint32_t magic;
	uint32_t pages_count, pages_high;
	uint32_t page_free; /* free pages are chained by their first word */
	uint64_t pages_used, pages_limit;
	size_t mapped_bytes;
	unsigned fail_read, fail_write, fail_sync;
	bool refuses_nameless;
	/* A bit for each page that a failed sync lost: taken for written, not on the platter. */
	uint8_t lost[DISK_PAGES_MAX / 8];
	struct disk_node nodes[DISK_NODES_MAX]; /* [0] is never used */
	struct disk_names now, durable;
	unsigned changes_count;
	struct disk_change changes[DISK_CHANGES_MAX];
};

struct disk_node *disk_node(const struct disk *, int node);
/* The file's bytes are not needed any more. */
void disk_node_free(struct disk *, int node);
/* What a power cut does to one file. mode: see disk_power_cut(). */
enum disk_cut { DISK_CUT_LOSES, DISK_CUT_KEEPS, DISK_CUT_MIXES };
void disk_node_cut(struct disk *, int node, enum disk_cut);
void disk_tree_sync(struct disk *, int directory);
void disk_tree_cut(struct disk *, enum disk_cut);
/* Free what no name, no change and no holder refers to. */
void disk_tree_sweep(struct disk *);

#endif
