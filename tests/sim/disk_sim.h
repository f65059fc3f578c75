/* The simulated disk: directories and files in memory that outlives a simulated process, and what a
 * power cut leaves of them.
 *
 * What counts as durable: a file's bytes and length after its fsync; a name (create, rename,
 * unlink, mkdir) after the fsync of its directory, and not before: stricter than ext4, which also
 * keeps the name of a file that was synced. A rename between two directories is one act: syncing
 * either keeps both halves. A cut takes or leaves each unsynced 4096-byte page by the dice, now and
 * then each 512-byte sector of one (a torn write), and of the unsynced names a prefix in the order
 * they happened (as a journal does).
 *
 * Cutting a file short is one act, with what was written to it before, as in the journals of ext4
 * and XFS: a cut leaves the whole old file, or the shorter one and of what came later by the dice.
 *
 * A sync that fails writes some pages and loses the others: as Linux does, it takes them for
 * written, so the next sync succeeds and does not write them again
 * (https://lwn.net/Articles/752063). They are read as they were written until their memory is
 * wanted for something else, here at the end of the process if the dice say so, and are gone with a
 * power cut.
 *
 * Results are as the kernel's: >= 0, or -errno. Not for: sockets (net_sim.h), locks between
 * processes (one simulated process lives at a time). */
#ifndef MAILHAUL_DISK_SIM_H
#define MAILHAUL_DISK_SIM_H

#include "engine/bytes.h"

struct disk;
struct disk_image;

enum { DISK_PAGE_BYTES = 4096, DISK_SECTOR_BYTES = 512, DISK_NAME_BYTES_MAX = 119 };

/* An empty disk of at most `bytes`, shared with every process forked later, made current. */
struct disk *disk_open(size_t bytes);
void disk_close(struct disk **);
struct disk *disk_current(void);
/* Back to empty. */
void disk_format(struct disk *);
/* Keep a copy, and go back to it. */
struct disk_image *disk_save(const struct disk *);
void disk_restore(struct disk *, const struct disk_image *);
void disk_image_free(struct disk_image **);

/* ---- names ---- */
/* A file's or directory's number: > 0. -ENOENT, -ENOTDIR. */
int disk_find(struct disk *, const char *path);
int disk_create(struct disk *, const char *path, bool directory, uint32_t mode); /* -EEXIST */
/* A file without a name, as O_TMPFILE makes it; gone when nobody holds it any more. */
int disk_create_nameless(struct disk *, uint32_t mode);
/* From now on there are none (-EOPNOTSUPP), as on NFS. */
void disk_refuse_nameless(struct disk *);
int disk_rename(struct disk *, const char *from, const char *to, bool replace);
int disk_remove(struct disk *, const char *path, bool directory);
/* NUL-separated, in no promised order. */
int disk_list(struct disk *, int node, struct buffer *names);

/* ---- files ---- */
struct disk_fact {
	uint64_t bytes;
	uint32_t mode;
	bool is_directory;
};
struct disk_fact disk_fact(const struct disk *, int node);
/* A removed file lives while it is open. */
void disk_hold(struct disk *, int node);
void disk_let_go(struct disk *, int node);
int64_t disk_read(struct disk *, int node, void *to, size_t n, uint64_t offset);
int64_t disk_write(struct disk *, int node, const void *from, size_t n, uint64_t offset);
int disk_truncate(struct disk *, int node, uint64_t bytes);
int disk_sync(struct disk *, int node); /* file or directory */

/* ---- fate ---- */
/* The process is gone; the disk keeps what the kernel had. */
void disk_process_ended(struct disk *);
/* The power is gone: what was not synced may be, too; or is, all of it. */
void disk_power_cut(struct disk *);
void disk_power_cut_taking_all(struct disk *);

/* Bytes the files may take together; 0: as much as there is. */
void disk_limit(struct disk *, uint64_t bytes);
/* This many reads, writes or syncs from now fails with EIO (1: the next); 0: none does. The write
 * has done half of its work by then. */
void disk_fail_read(struct disk *, unsigned from_now);
void disk_fail_write(struct disk *, unsigned from_now);
void disk_fail_sync(struct disk *, unsigned from_now);

/* Calls `each` for every file and directory below `path` ("": all), with its whole path. */
void disk_walk(struct disk *, const char *path,
	       void (*each)(void *context, const char *path, int node), void *context);
/* A number that differs when any name or byte below `path` differs. */
uint64_t disk_fingerprint(struct disk *, const char *path);

#endif
