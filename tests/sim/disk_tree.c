/* The names of the simulated disk: directories, and the changes of names that no fsync has made
 * durable yet. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/sim/disk_state.h"
#include "tests/sim/sim.h"

enum { PATH_BYTES_MAX = 1024, DEPTH_MAX = 16 };

/* ---- tables of names ---- */

static struct disk_entry *entry_find(struct disk_names *names, int directory, const char *name)
{
	for (unsigned i = 0; i < names->count; i++)
		if (names->entries[i].node && names->entries[i].directory == directory &&
		    strcmp(names->entries[i].name, name) == 0)
			return &names->entries[i];
	return NULL;
}

static void entry_set(struct disk_names *names, const struct disk_entry *set)
{
	struct disk_entry *entry = entry_find(names, set->directory, set->name);

	for (unsigned i = 0; !entry && i < names->count; i++)
		if (!names->entries[i].node)
			entry = &names->entries[i];
	if (!entry) {
		must(names->count < DISK_ENTRIES_MAX); /* a scenario has few files */
		entry = &names->entries[names->count++];
	}
	*entry = *set;
}

static void entry_clear(struct disk_names *names, const struct disk_entry *gone)
{
	struct disk_entry *entry = entry_find(names, gone->directory, gone->name);

	if (entry)
		entry->node = 0;
}

static void change_apply(struct disk_names *names, const struct disk_change *change)
{
	if (change->removes)
		entry_clear(names, &change->remove);
	if (change->adds)
		entry_set(names, &change->add);
}

/* ---- changes waiting for an fsync ---- */

static void changes_drop_first(struct disk *disk, unsigned count)
{
	must(count <= disk->changes_count);
	disk->changes_count -= count;
	bytes_move(disk->changes, disk->changes + count,
		   disk->changes_count * sizeof disk->changes[0]);
}

static void change_make(struct disk *disk, const struct disk_change *change)
{
	change_apply(&disk->now, change);
	if (disk->changes_count == DISK_CHANGES_MAX) {
		change_apply(&disk->durable, &disk->changes[0]);
		changes_drop_first(disk, 1);
	}
	disk->changes[disk->changes_count++] = *change;
}

static bool same_name(const struct disk_entry *a, const struct disk_entry *b)
{
	return a->directory == b->directory && strcmp(a->name, b->name) == 0;
}

static bool touches_name(const struct disk_change *change, const struct disk_entry *entry)
{
	return (change->adds && same_name(&change->add, entry)) ||
	       (change->removes && same_name(&change->remove, entry));
}

static bool touches_directory(const struct disk_change *change, int directory)
{
	return (change->adds && change->add.directory == directory) ||
	       (change->removes && change->remove.directory == directory);
}

/* A rename into or out of the synced directory takes its other half along, and with it whatever
 * happened to that name before. */
static bool is_needed(const struct disk *disk, unsigned index, const bool *wanted)
{
	for (unsigned i = index + 1; i < disk->changes_count; i++) {
		const struct disk_change *later = &disk->changes[i];

		if (wanted[i] &&
		    ((later->adds && touches_name(&disk->changes[index], &later->add)) ||
		     (later->removes && touches_name(&disk->changes[index], &later->remove))))
			return true;
	}
	return false;
}

void disk_tree_sync(struct disk *disk, int directory)
{
	bool wanted[DISK_CHANGES_MAX] = { false };
	unsigned kept = 0;

	for (unsigned i = disk->changes_count; i-- > 0;)
		wanted[i] = touches_directory(&disk->changes[i], directory) ||
			    is_needed(disk, i, wanted);
	for (unsigned i = 0; i < disk->changes_count; i++)
		if (wanted[i])
			change_apply(&disk->durable, &disk->changes[i]);
		else
			disk->changes[kept++] = disk->changes[i];
	disk->changes_count = kept;
}

void disk_tree_cut(struct disk *disk, enum disk_cut cut)
{
	unsigned kept = cut == DISK_CUT_KEEPS ? disk->changes_count : 0;

	if (cut == DISK_CUT_MIXES)
		kept = (unsigned)sim_below(SIM_DISK, disk->changes_count + 1);
	for (unsigned i = 0; i < kept; i++)
		change_apply(&disk->durable, &disk->changes[i]);
	disk->changes_count = 0;
	disk->now = disk->durable;
}

/* ---- sweeping ---- */

/* Mark what can be reached from marked directories, however deep. */
static void mark_below(const struct disk_names *names, bool *marked)
{
	for (bool again = true; again;) {
		again = false;
		for (unsigned i = 0; i < names->count; i++) {
			const struct disk_entry *entry = &names->entries[i];

			if (entry->node && marked[entry->directory] && !marked[entry->node])
				again = marked[entry->node] = true;
		}
	}
}

static void drop_unmarked(struct disk_names *names, const bool *marked)
{
	for (unsigned i = 0; i < names->count; i++)
		if (names->entries[i].node &&
		    (!marked[names->entries[i].directory] || !marked[names->entries[i].node]))
			names->entries[i].node = 0;
}

void disk_tree_sweep(struct disk *disk)
{
	bool marked[DISK_NODES_MAX] = { [DISK_ROOT] = true };

	for (unsigned i = 0; i < disk->changes_count; i++)
		if (disk->changes[i].adds) {
			marked[disk->changes[i].add.node] = true;
			marked[disk->changes[i].add.directory] = true;
		}
	for (int i = 1; i < DISK_NODES_MAX; i++)
		marked[i] |= disk->nodes[i].holders > 0;
	mark_below(&disk->durable, marked);
	mark_below(&disk->now, marked);
	mark_below(&disk->durable, marked);
	drop_unmarked(&disk->durable, marked);
	drop_unmarked(&disk->now, marked);
	for (int i = 1; i < DISK_NODES_MAX; i++)
		if (disk->nodes[i].used && !marked[i])
			disk_node_free(disk, i);
}

/* ---- paths ---- */

/* Walks to the directory that holds the path's last name; fills *last with both. The root itself
 * has no such entry: -EINVAL. */
static int path_resolve(struct disk *disk, const char *path, struct disk_entry *last)
{
	int directory = DISK_ROOT, parts = 0;

	must(path[0] == '/'); /* absolute, as the real ring is asked */
	*last = (struct disk_entry){ 0 };
	for (const char *at = path + strspn(path, "/"); *at; at += strspn(at, "/")) {
		size_t bytes = strcspn(at, "/");

		if (bytes > DISK_NAME_BYTES_MAX)
			return -ENAMETOOLONG;
		if (bytes == 2 && at[0] == '.' && at[1] == '.')
			return -EINVAL; /* nobody has a reason to ask for it here */
		if (bytes == 1 && at[0] == '.') {
			at += bytes;
			continue;
		}
		if (parts++ && !last->node)
			return -ENOENT;
		directory = parts > 1 ? last->node : DISK_ROOT;
		if (!disk_node(disk, directory)->is_directory)
			return -ENOTDIR;
		*last = (struct disk_entry){ .directory = directory };
		bytes_copy(last->name, at, bytes, BYTES_META);
		if (entry_find(&disk->now, directory, last->name))
			last->node = entry_find(&disk->now, directory, last->name)->node;
		at += bytes;
	}
	return parts ? 0 : -EINVAL;
}

int disk_find(struct disk *disk, const char *path)
{
	struct disk_entry entry;
	int result;

	if (path[strspn(path, "/.")] == '\0')
		return DISK_ROOT;
	result = path_resolve(disk, path, &entry);
	if (result < 0)
		return result;
	return entry.node ? entry.node : -ENOENT;
}

static int node_new(struct disk *disk)
{
	for (int i = DISK_ROOT + 1; i < DISK_NODES_MAX; i++)
		if (!disk->nodes[i].used)
			return i;
	return -ENOSPC;
}

int disk_create(struct disk *disk, const char *path, bool directory, uint32_t mode)
{
	struct disk_change change = { .adds = true };
	int result = path_resolve(disk, path, &change.add);

	if (result < 0)
		return result == -EINVAL && directory ? -EEXIST : result;
	if (change.add.node)
		return -EEXIST;
	result = node_new(disk);
	if (result < 0)
		return result;
	disk->nodes[result] =
		(struct disk_node){ .used = true, .is_directory = directory, .mode = mode };
	change.add.node = result;
	change_make(disk, &change);
	return result;
}

void disk_refuse_nameless(struct disk *disk)
{
	disk->refuses_nameless = true;
}

int disk_create_nameless(struct disk *disk, uint32_t mode)
{
	int node = disk->refuses_nameless ? -EOPNOTSUPP : node_new(disk);

	if (node > 0)
		disk->nodes[node] = (struct disk_node){ .used = true, .mode = mode };
	return node;
}

static bool has_entries(const struct disk *disk, int directory)
{
	for (unsigned i = 0; i < disk->now.count; i++)
		if (disk->now.entries[i].node && disk->now.entries[i].directory == directory)
			return true;
	return false;
}

int disk_rename(struct disk *disk, const char *from, const char *to, bool replace)
{
	struct disk_change change = { .adds = true, .removes = true };
	int result = path_resolve(disk, from, &change.remove);

	if (!result)
		result = path_resolve(disk, to, &change.add);
	if (result)
		return result;
	if (!change.remove.node)
		return -ENOENT;
	if (change.add.node && !replace)
		return -EEXIST;
	if (change.add.node == change.remove.node)
		return 0;
	if (change.add.node && disk_node(disk, change.add.node)->is_directory)
		return -EISDIR;
	change.add.node = change.remove.node;
	change_make(disk, &change);
	disk_tree_sweep(disk);
	return 0;
}

int disk_remove(struct disk *disk, const char *path, bool directory)
{
	struct disk_change change = { .removes = true };
	int result = path_resolve(disk, path, &change.remove);

	if (result)
		return result;
	if (!change.remove.node)
		return -ENOENT;
	if (disk_node(disk, change.remove.node)->is_directory != directory)
		return directory ? -ENOTDIR : -EISDIR;
	if (directory && has_entries(disk, change.remove.node))
		return -ENOTEMPTY;
	change_make(disk, &change);
	disk_tree_sweep(disk);
	return 0;
}

int disk_list(struct disk *disk, int node, struct buffer *names)
{
	if (!disk_node(disk, node)->is_directory)
		return -ENOTDIR;
	for (unsigned i = 0; i < disk->now.count; i++) {
		const struct disk_entry *entry = &disk->now.entries[i];

		if (entry->node && entry->directory == node)
			buffer_add(names, entry->name, strlen(entry->name) + 1);
	}
	return names->failed ? -ENOBUFS : 0;
}

/* ---- looking at all of it ---- */

static void walk(struct disk *disk, const char *path, int directory, unsigned depth,
		 void (*each)(void *, const char *, int), void *context)
{
	char below[PATH_BYTES_MAX];

	must(depth < DEPTH_MAX);
	for (unsigned i = 0; i < disk->now.count; i++) {
		const struct disk_entry *entry = &disk->now.entries[i];

		if (!entry->node || entry->directory != directory)
			continue;
		snprintf(below, sizeof below, "%s/%s", path, entry->name);
		each(context, below, entry->node);
		if (disk_node(disk, entry->node)->is_directory)
			walk(disk, below, entry->node, depth + 1, each, context);
	}
}

void disk_walk(struct disk *disk, const char *path, void (*each)(void *, const char *, int),
	       void *context)
{
	int node = disk_find(disk, path);

	if (node > 0)
		walk(disk, path, node, 0, each, context);
}

/* FNV-1a, 64 bits. */
static uint64_t hash_add(uint64_t hash, const void *from, size_t n)
{
	for (size_t i = 0; i < n; i++)
		hash = (hash ^ ((const uint8_t *)from)[i]) * 0x100000001b3u;
	return hash;
}

/* The order of names in the table is no property of the disk, so files are added up. */
static void fingerprint_add(void *context, const char *path, int node)
{
	uint64_t *sum = context, hash = hash_add(0xcbf29ce484222325u, path, strlen(path));
	struct disk *disk = disk_current();
	uint8_t part[1024];
	int64_t got;

	for (uint64_t at = 0; !disk_fact(disk, node).is_directory &&
			      (got = disk_read(disk, node, part, sizeof part, at)) > 0;
	     at += (uint64_t)got)
		hash = hash_add(hash, part, (size_t)got);
	*sum += hash;
}

uint64_t disk_fingerprint(struct disk *disk, const char *path)
{
	uint64_t sum = 0;

	disk_walk(disk, path, fingerprint_add, &sum);
	return sum;
}
