/* The writing half of store_dir.c: one object on its way into a directory. The functions are those
 * of struct store_driver. */
#ifndef MAILHAUL_STORE_DIR_PUT_H
#define MAILHAUL_STORE_DIR_PUT_H

#include "transport/store.h"

enum {
	STORE_DIR_ROOT_BYTES_MAX = 1024,
	STORE_DIR_PATH_BYTES_MAX = STORE_DIR_ROOT_BYTES_MAX + STORE_KEY_BYTES_MAX + 64,
};

/* What every object of one store has in common. */
struct store_dir_place {
	char root[STORE_DIR_ROOT_BYTES_MAX];
	uint8_t *spare; /* buffers of the last finished object; the store frees them */
};

/* Write buffers of one object: budget()->put_bytes each, WRITE_BUFFERS of them. NULL: no memory. */
uint8_t *store_dir_buffers_open(void);
void store_dir_buffers_close(uint8_t **);

/* The place is borrowed until the put ends. */
enum err store_dir_put_open(struct store_dir_place *, const char *key,
			    struct store_put **) MUST_CHECK;
enum err store_dir_put_write(struct store_put *, const void *, size_t) MUST_CHECK;
void *store_dir_put_room(struct store_put *, size_t *bytes);
enum err store_dir_put_took(struct store_put *, size_t) MUST_CHECK;
enum err store_dir_put_mark(struct store_put *, uint64_t *bytes) MUST_CHECK;
enum err store_dir_put_rewind(struct store_put *, uint64_t bytes) MUST_CHECK;
enum err store_dir_put_seal(struct store_put *) MUST_CHECK;
enum err store_dir_put_publish(struct store_put **) MUST_CHECK;
void store_dir_put_abort(struct store_put **);

/* ---- shared with store_dir.c ---- */

/* The deadline of one operation on the disk. */
nsec store_dir_patience(void);
char *store_dir_path(char to[STORE_DIR_PATH_BYTES_MAX], const struct store_dir_place *,
		     const char *key);
/* An operation on a descriptor does not know its path: say the same with it. */
enum err store_dir_named(enum err, const char *doing, const char *path);
/* OK where `expected` is an answer and no failure. */
enum err store_dir_unless(enum err, enum err expected);

#endif
