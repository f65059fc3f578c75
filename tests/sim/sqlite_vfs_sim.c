/* A VFS for SQLite over the simulated disk: the same durability as for the ring's files, each
 * write, sync, truncation and removal a step at which the world can be cut. Locks and the WAL's
 * shared memory live in the process, so they are gone after a cut as they are after a real one; the
 * next process finds an empty index and recovers the log.
 *
 * What unix's own VFS does and this one repeats: the directory is synced with the first sync of a
 * new journal or log (https://www.sqlite.org/src, os_unix.c, UNIXFILE_DIRSYNC), and not for a new
 * database. */
#include "tests/sim/sqlite_vfs_sim.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/clock.h"
#include "tests/sim/disk_sim.h"
#include "tests/sim/sim.h"

enum {
	FILE_MAGIC = 0x5f11e5,
	INODES_MAX = 16,
	REGIONS_MAX = 64,
	PATH_BYTES_MAX = 512,
};
#define EPOCH_JULIAN_MS ((sqlite3_int64)24405875 * 8640000) /* 1970-01-01 as a Julian day, in ms   \
							     */

/* What all handles of one file share. */
struct inode {
	int node, handles;
	int shared_count;
	struct file *reserved, *pending, *exclusive;
	void *regions[REGIONS_MAX];
	int shm_shared[SQLITE_SHM_NLOCK];
	struct file *shm_exclusive[SQLITE_SHM_NLOCK];
};

struct file {
	sqlite3_file base;
	uint32_t magic;
	struct inode *inode;
	int level; /* SQLITE_LOCK_* */
	uint32_t shm_held;
	bool delete_on_close, sync_directory;
	char path[PATH_BYTES_MAX];
};

static struct inode inodes[INODES_MAX];
static int last_errno;

static struct file *file_of(sqlite3_file *handle)
{
	struct file *file = (struct file *)(void *)handle;

	MAGIC_CHECK(file, FILE_MAGIC);
	return file;
}

static int failed(int64_t result, int code)
{
	last_errno = (int)-result;
	return result == -ENOSPC ? SQLITE_FULL : code;
}

static struct inode *inode_ref(int node)
{
	struct inode *unused = NULL;

	for (unsigned i = 0; i < INODES_MAX; i++) {
		if (inodes[i].handles && inodes[i].node == node) {
			inodes[i].handles++;
			return &inodes[i];
		}
		if (!inodes[i].handles)
			unused = &inodes[i];
	}
	must(unused);
	*unused = (struct inode){ .node = node, .handles = 1 };
	return unused;
}

static void inode_unref(struct inode *inode)
{
	if (--inode->handles)
		return;
	for (unsigned i = 0; i < REGIONS_MAX; i++)
		free(inode->regions[i]);
	*inode = (struct inode){ 0 };
}

/* "/a/b" for "/a/b/c". */
static void directory_of(char to[PATH_BYTES_MAX], const char *path)
{
	snprintf(to, PATH_BYTES_MAX, "%s", path);
	must(strrchr(to, '/'));
	*strrchr(to, '/') = '\0';
}

static int sync_directory_of(const char *path)
{
	char directory[PATH_BYTES_MAX];
	int node;

	directory_of(directory, path);
	sim_step("sqlite sync directory");
	node = disk_find(disk_current(), directory);
	return node < 0 ? node : disk_sync(disk_current(), node);
}

/* ---- bytes ---- */

static int vfs_read(sqlite3_file *handle, void *to, int n, sqlite3_int64 offset)
{
	int64_t got = disk_read(disk_current(), file_of(handle)->inode->node, to, (size_t)n,
				(uint64_t)offset);

	if (got < 0)
		return failed(got, SQLITE_IOERR_READ);
	if (got == n)
		return SQLITE_OK;
	memset((char *)to + got, 0, (size_t)(n - got));
	return SQLITE_IOERR_SHORT_READ;
}

static int vfs_write(sqlite3_file *handle, const void *from, int n, sqlite3_int64 offset)
{
	struct file *file = file_of(handle);
	int64_t done;

	sim_step("sqlite write");
	done = disk_write(disk_current(), file->inode->node, from, (size_t)n, (uint64_t)offset);
	if (done == n)
		return SQLITE_OK;
	return failed(done < 0 ? done : -ENOSPC, SQLITE_IOERR_WRITE);
}

static int vfs_truncate(sqlite3_file *handle, sqlite3_int64 bytes)
{
	int result;

	sim_step("sqlite truncate");
	result = disk_truncate(disk_current(), file_of(handle)->inode->node, (uint64_t)bytes);
	return result ? failed(result, SQLITE_IOERR_TRUNCATE) : SQLITE_OK;
}

static int vfs_sync(sqlite3_file *handle, int flags)
{
	struct file *file = file_of(handle);
	int result;

	(void)flags;
	sim_step("sqlite sync");
	result = disk_sync(disk_current(), file->inode->node);
	if (!result && file->sync_directory) {
		file->sync_directory = false;
		result = sync_directory_of(file->path);
	}
	return result ? failed(result, SQLITE_IOERR_FSYNC) : SQLITE_OK;
}

static int vfs_size(sqlite3_file *handle, sqlite3_int64 *bytes)
{
	*bytes = (sqlite3_int64)disk_fact(disk_current(), file_of(handle)->inode->node).bytes;
	return SQLITE_OK;
}

/* ---- locks: https://www.sqlite.org/lockingv3.html section 3 ---- */

static void unlock_above(struct file *file, int level)
{
	struct inode *inode = file->inode;

	if (level < SQLITE_LOCK_EXCLUSIVE && inode->exclusive == file)
		inode->exclusive = NULL;
	if (level < SQLITE_LOCK_PENDING && inode->pending == file)
		inode->pending = NULL;
	if (level < SQLITE_LOCK_RESERVED && inode->reserved == file)
		inode->reserved = NULL;
	if (level < SQLITE_LOCK_SHARED && file->level >= SQLITE_LOCK_SHARED)
		inode->shared_count--;
	if (file->level > level)
		file->level = level;
}

static int lock_shared(struct file *file)
{
	struct inode *inode = file->inode;

	if (inode->pending || inode->exclusive)
		return SQLITE_BUSY;
	inode->shared_count++;
	file->level = SQLITE_LOCK_SHARED;
	return SQLITE_OK;
}

static int lock_exclusive(struct file *file)
{
	struct inode *inode = file->inode;

	if ((inode->reserved && inode->reserved != file) ||
	    (inode->pending && inode->pending != file))
		return SQLITE_BUSY;
	inode->pending = file;
	file->level = SQLITE_LOCK_PENDING;
	if (inode->shared_count > 1)
		return SQLITE_BUSY; /* pending is kept, so that no reader comes in any more */
	inode->exclusive = file;
	file->level = SQLITE_LOCK_EXCLUSIVE;
	return SQLITE_OK;
}

static int vfs_lock(sqlite3_file *handle, int level)
{
	struct file *file = file_of(handle);
	struct inode *inode = file->inode;

	if (file->level >= level)
		return SQLITE_OK;
	if (level == SQLITE_LOCK_SHARED)
		return lock_shared(file);
	if (level != SQLITE_LOCK_RESERVED)
		return lock_exclusive(file);
	if (inode->reserved || inode->pending || inode->exclusive)
		return SQLITE_BUSY;
	inode->reserved = file;
	file->level = level;
	return SQLITE_OK;
}

static int vfs_unlock(sqlite3_file *handle, int level)
{
	unlock_above(file_of(handle), level);
	return SQLITE_OK;
}

static int vfs_check_reserved(sqlite3_file *handle, int *reserved)
{
	struct inode *inode = file_of(handle)->inode;

	*reserved = inode->reserved || inode->pending || inode->exclusive;
	return SQLITE_OK;
}

/* ---- the log's index: memory of the process ---- */

static int vfs_shm_map(sqlite3_file *handle, int index, int bytes, int extend, void volatile **out)
{
	struct inode *inode = file_of(handle)->inode;

	must(index < REGIONS_MAX);
	if (!inode->regions[index] && extend) {
		inode->regions[index] = calloc(1, (size_t)bytes);
		must(inode->regions[index]);
	}
	*out = inode->regions[index];
	return SQLITE_OK;
}

static bool shm_is_taken(const struct file *file, int slot, bool exclusive)
{
	const struct inode *inode = file->inode;
	int own_shared = (file->shm_held >> slot) & 1 && inode->shm_exclusive[slot] != file;

	if (inode->shm_exclusive[slot] && inode->shm_exclusive[slot] != file)
		return true;
	return exclusive && inode->shm_shared[slot] > own_shared;
}

static void shm_set(struct file *file, int slot, int flags)
{
	struct inode *inode = file->inode;
	uint32_t bit = 1u << slot;

	if (flags & SQLITE_SHM_UNLOCK) {
		if (inode->shm_exclusive[slot] == file)
			inode->shm_exclusive[slot] = NULL;
		else if (file->shm_held & bit)
			inode->shm_shared[slot]--;
		file->shm_held &= ~bit;
		return;
	}
	if (flags & SQLITE_SHM_EXCLUSIVE)
		inode->shm_exclusive[slot] = file;
	else if (!(file->shm_held & bit))
		inode->shm_shared[slot]++;
	file->shm_held |= bit;
}

static int vfs_shm_lock(sqlite3_file *handle, int offset, int n, int flags)
{
	struct file *file = file_of(handle);

	must(offset >= 0 && offset + n <= SQLITE_SHM_NLOCK);
	for (int i = offset; (flags & SQLITE_SHM_LOCK) && i < offset + n; i++)
		if (shm_is_taken(file, i, (flags & SQLITE_SHM_EXCLUSIVE) != 0))
			return SQLITE_BUSY;
	for (int i = offset; i < offset + n; i++)
		shm_set(file, i, flags);
	return SQLITE_OK;
}

static void vfs_shm_barrier(sqlite3_file *handle)
{
	(void)handle;
}

static int vfs_shm_unmap(sqlite3_file *handle, int delete)
{
	struct inode *inode = file_of(handle)->inode;

	for (unsigned i = 0; delete &&i < REGIONS_MAX; i++) {
		free(inode->regions[i]);
		inode->regions[i] = NULL;
	}
	return SQLITE_OK;
}

/* ---- files ---- */

static int vfs_close(sqlite3_file *handle)
{
	struct file *file = file_of(handle);
	int node = file->inode->node;

	unlock_above(file, SQLITE_LOCK_NONE);
	inode_unref(file->inode);
	disk_let_go(disk_current(), node);
	if (file->delete_on_close)
		(void)disk_remove(disk_current(), file->path, false);
	file->magic = 0;
	return SQLITE_OK;
}

static int vfs_control(sqlite3_file *handle, int what, void *argument)
{
	(void)handle, (void)what, (void)argument;
	return SQLITE_NOTFOUND;
}

static int vfs_sector(sqlite3_file *handle)
{
	(void)handle;
	return DISK_PAGE_BYTES;
}

/* As unix's VFS: a write that is cut harms no byte outside of itself. */
static int vfs_traits(sqlite3_file *handle)
{
	(void)handle;
	return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

static const sqlite3_io_methods methods = {
	.iVersion = 2,
	.xClose = vfs_close,
	.xRead = vfs_read,
	.xWrite = vfs_write,
	.xTruncate = vfs_truncate,
	.xSync = vfs_sync,
	.xFileSize = vfs_size,
	.xLock = vfs_lock,
	.xUnlock = vfs_unlock,
	.xCheckReservedLock = vfs_check_reserved,
	.xFileControl = vfs_control,
	.xSectorSize = vfs_sector,
	.xDeviceCharacteristics = vfs_traits,
	.xShmMap = vfs_shm_map,
	.xShmLock = vfs_shm_lock,
	.xShmBarrier = vfs_shm_barrier,
	.xShmUnmap = vfs_shm_unmap,
};

static int find_or_create(const char *path, int flags, bool *created)
{
	int node = disk_find(disk_current(), path);

	*created = node == -ENOENT && (flags & SQLITE_OPEN_CREATE);
	if (!*created)
		return node;
	sim_step("sqlite create");
	return disk_create(disk_current(), path, false, 0600);
}

static int vfs_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *handle, int flags,
		    int *flags_out)
{
	struct file *file = (struct file *)(void *)handle;
	bool created;
	int node;

	(void)vfs;
	handle->pMethods = NULL;
	if (!path) /* a temporary file: the ledger keeps those in memory */
		return SQLITE_CANTOPEN;
	node = find_or_create(path, flags, &created);
	if (node < 0)
		return failed(node, SQLITE_CANTOPEN);
	disk_hold(disk_current(), node);
	*file = (struct file){ .magic = FILE_MAGIC, .inode = inode_ref(node) };
	file->base.pMethods = &methods;
	file->delete_on_close = (flags & SQLITE_OPEN_DELETEONCLOSE) != 0;
	file->sync_directory = created && (flags & (SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL));
	snprintf(file->path, sizeof file->path, "%s", path);
	if (flags_out)
		*flags_out = flags;
	return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *path, int sync_directory)
{
	int result;

	(void)vfs;
	sim_step("sqlite delete");
	result = disk_remove(disk_current(), path, false);
	if (result == -ENOENT)
		return SQLITE_IOERR_DELETE_NOENT;
	if (!result && sync_directory)
		result = sync_directory_of(path);
	return result ? failed(result, SQLITE_IOERR_DELETE) : SQLITE_OK;
}

/* As unix's VFS does: an empty file is none, for SQLITE_ACCESS_EXISTS. */
static int vfs_access(sqlite3_vfs *vfs, const char *path, int flags, int *out)
{
	int node = disk_find(disk_current(), path);

	(void)vfs;
	*out = node > 0 &&
	       (flags != SQLITE_ACCESS_EXISTS || disk_fact(disk_current(), node).is_directory ||
		disk_fact(disk_current(), node).bytes > 0);
	return SQLITE_OK;
}

static int vfs_full_path(sqlite3_vfs *vfs, const char *path, int room, char *to)
{
	(void)vfs;
	if (path[0] != '/' || (int)strlen(path) >= room)
		return SQLITE_CANTOPEN;
	snprintf(to, (size_t)room, "%s", path);
	return SQLITE_OK;
}

static int vfs_randomness(sqlite3_vfs *vfs, int n, char *to)
{
	(void)vfs;
	clock_random(to, (size_t)n);
	return n;
}

static int vfs_sleep(sqlite3_vfs *vfs, int microseconds)
{
	(void)vfs;
	sim_advance(sim_now() + microseconds * NSEC_MICROSECOND);
	return microseconds;
}

static int vfs_time(sqlite3_vfs *vfs, sqlite3_int64 *now)
{
	(void)vfs;
	*now = EPOCH_JULIAN_MS + clock_wall() / NSEC_MILLISECOND;
	return SQLITE_OK;
}

static int vfs_last_error(sqlite3_vfs *vfs, int n, char *to)
{
	(void)vfs, (void)n, (void)to;
	return last_errno;
}

void sqlite_vfs_sim_register(void)
{
	static sqlite3_vfs vfs = {
		.iVersion = 2,
		.szOsFile = sizeof(struct file),
		.mxPathname = PATH_BYTES_MAX,
		.zName = "sim",
		.xOpen = vfs_open,
		.xDelete = vfs_delete,
		.xAccess = vfs_access,
		.xFullPathname = vfs_full_path,
		.xRandomness = vfs_randomness,
		.xSleep = vfs_sleep,
		.xGetLastError = vfs_last_error,
		.xCurrentTimeInt64 = vfs_time,
	};

	must(sqlite3_vfs_register(&vfs, 1) == SQLITE_OK);
}
