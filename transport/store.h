/* Where an archive's files lie: a directory (store_dir.c) or a bucket (store_s3.c). Keys
 * are relative, '/'-separated, of [A-Za-z0-9._-] and '/', no component starting with '.'. Objects
 * are never overwritten. Everything suspends but close and what says otherwise. */
#ifndef MAILHAUL_STORE_H
#define MAILHAUL_STORE_H

#include "engine/bytes.h"
#include "engine/source.h"

struct store;
struct store_put;

enum {
	/* Longest key: a mailbox's name (64 and its hash), a folder, a number, endings. */
	STORE_KEY_BYTES_MAX = 160,
};

struct store_driver {
	const char *scheme;
	/* account->path is the place. create: make it if it is absent (ERR_DISK_ABSENT otherwise).
	 * ERR_SINK_FOREIGN: something else lies there. Changes nothing else. */
	enum err (*open)(struct store **, const struct account *, bool create, nsec until);
	/* Begin an object under a temporary name. Several may be open. Needs the lock. */
	enum err (*put_open)(struct store *, const char *key, struct store_put **);
	/* Append. The bytes are copied before return (BYTES_STORE). */
	enum err (*put_write)(struct store_put *, const void *, size_t);
	/* Append without a copy: room for *bytes bytes (at least one), to be written into; then say
	 * how many were. put_room does not suspend, put_took may; the room is the caller's between
	 * the two. */
	void *(*put_room)(struct store_put *, size_t *bytes);
	enum err (*put_took)(struct store_put *, size_t);
	/* Take back everything after `bytes`, which must be the value put_mark() returned last. */
	enum err (*put_mark)(struct store_put *, uint64_t *bytes);
	enum err (*put_rewind)(struct store_put *, uint64_t bytes);
	/* Everything written so far is on disk, still under the temporary name; no more can be. */
	enum err (*put_seal)(struct store_put *);
	/* Make it visible under its key, durably; sealed before. ERR_DISK_EXISTS if the key is
	 * taken. */
	enum err (*put_publish)(struct store_put **);
	/* Never suspends; what lies under the temporary name is removed soon. */
	void (*put_abort)(struct store_put **);
	/* A whole small object, durable and visible on return; one that is there already with the
	 * same bytes may be taken for it. ERR_DISK_EXISTS. Needs the lock. NULL: store_put_whole()
	 * makes do with the calls above. */
	enum err (*put_whole)(struct store *, const char *key, const void *, size_t);
	/* Ranged read of at most `length` bytes; *got less only at the end. ERR_DISK_ABSENT. */
	enum err (*get)(struct store *, const char *key, uint64_t offset, void *to, size_t length,
			size_t *got);
	enum err (*size)(struct store *, const char *key, uint64_t *bytes); /* ERR_DISK_ABSENT */
	/* Names directly below a key prefix ("" or "a/b"), NUL-separated, sorted; names that cannot
	 * be part of a key are among them, the store's own are not. Nothing there: none. */
	enum err (*list)(struct store *, const char *prefix, struct buffer *names);
	/* One writer at a time for the whole store; held until close. Stores of one process share
	 * it. ERR_SINK_BUSY. The first holder removes what earlier writers left under temporary
	 * names, and makes the names directly below the root durable. What this costs does not grow
	 * with the number of objects. */
	enum err (*lock)(struct store *);
	/* What a killed writer had made visible may not outlive a power cut yet, and what it asked
	 * for last may be carried out late: on return the names of a key prefix, its own with them,
	 * are durable, and none that anybody has begun to put there before appears any more. Needs
	 * the lock; before anything found below the prefix is relied on. Nothing there: OK. */
	enum err (*settle)(struct store *, const char *prefix);
	/* How many such leftovers there are now. */
	enum err (*leftovers)(struct store *, uint64_t *count);
	/* For a fiber of its own, with FIBER_STACK_LARGE: while it is in here it does what puts
	 * would else wait for. Returns when it is cancelled. NULL: there is nothing to be done. */
	enum err (*serve)(struct store *);
	/* The orderly end: gives back the lock, and what close() cannot. What goes wrong is logged,
	 * for the next run gets over it. NULL: close() does. */
	void (*finish)(struct store *, nsec until);
	/* Nobody may be in serve(). */
	void (*close)(struct store **);
};
struct store {
	const struct store_driver *type;
};

extern const struct store_driver store_dir, store_s3;
/* That of a scheme; NULL: there is none. */
const struct store_driver *store_driver_of(const char *scheme);
/* By the account's scheme, which must be one of theirs, or one and, behind a '+', a layout: open()
 * above. */
enum err store_open(struct store **, const struct account *, bool create, nsec until) MUST_CHECK;

/* ---- for every store (store.c) ---- */

/* Whether a text may be a key, or one component of it. */
bool store_key_is_valid(struct text key);
bool store_name_is_valid(struct text name);
/* A component of a key for any name: the beginning of it, at most readable_bytes (64), with '_' for
 * what cannot stand there, '-', and so many bytes of its BLAKE3 (32) as digits. */
enum err store_name_of(char *to, size_t room, const char *name, size_t readable_bytes,
		       size_t hash_bytes) MUST_CHECK;
/* Whether it has three components, the last of which begins with NUMBER and a dot, as all objects
 * of an archive have but its marks: docs/FORMAT.md section 1. */
bool store_key_is_numbered(struct text key);
/* Whether it is that of a message which is an object of its own: MAILBOX/eml/FOLDER/EPOCH-NO.eml.
 */
bool store_key_is_single(struct text key);
/* Whether an archive has objects of this key, by its form. */
bool store_key_is_of_archive(struct text key);

/* A whole small object, durable and visible on return. ERR_DISK_EXISTS. */
enum err store_put_whole(struct store *, const char *key, const void *, size_t) MUST_CHECK;
/* All of a small object, at most bytes_max bytes (ERR_ARCHIVE_DAMAGED). The caller frees `to`. */
enum err store_get_whole(struct store *, const char *key, size_t bytes_max,
			 struct buffer *to) MUST_CHECK;
/* Digest and length of an object as stored. The tap is borrowed and begun here. */
enum err store_digest(struct store *, const char *key, struct tap *, struct digest *,
		      uint64_t *bytes) MUST_CHECK;

/* Walk names as list() and io_list() give them: false at the end; start with *name NULL. */
bool store_names_next(const struct buffer *names, const char **name);

#endif
