/* Passwords and keys in memory that is locked, left out of core dumps and wiped (libsodium's
 * guarded heap). Not for: how a secret is spent; whoever sends it wipes its own copy with
 * secret_wipe(). */
#include "crypto/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/bytes.h"

enum {
	SECRET_MAGIC = 0x5ec3e700,
	/* A line of SECRET_BYTES_MAX with CR LF fits, and one byte more shows that it was longer.
	 */
	FILE_BYTES_MAX = SECRET_BYTES_MAX + 3,
};

struct secret {
	uint32_t magic;
	size_t bytes;
	char at[];
};

static atomic_bool unlocked; /* a secret is in memory that could not be locked */

/* sodium_malloc() puts the block at the end of a page, before a guard page; locking is best effort
 * there (RLIMIT_MEMLOCK may be small), as the header says. */
void *secret_room_open(size_t bytes)
{
	must(bytes > 0);
	return sodium_init() < 0 ? NULL : sodium_malloc(round_up(bytes, 16));
}

void secret_room_close(void **room)
{
	sodium_free(*room); /* wipes; accepts NULL */
	*room = NULL;
}

enum err secret_from_bytes(const void *from, size_t bytes, struct secret **out)
{
	struct secret *secret;

	if (bytes == 0 || bytes > SECRET_BYTES_MAX)
		return RAISE(ERR_INPUT_SECRET, "a secret of %zu bytes; 1 to %d are allowed", bytes,
			     SECRET_BYTES_MAX);
	if (memchr(from, '\0', bytes))
		return RAISE(ERR_INPUT_SECRET, "the secret holds a NUL byte");
	if (!(secret = secret_room_open(sizeof *secret + bytes)))
		return RAISE(ERR_MEMORY_EXHAUSTED, "guarded memory for a secret");
	/* sodium_malloc() has locked it or has not, and does not say: lock it again. */
	if (mlock(secret, sizeof *secret + bytes))
		atomic_store(&unlocked, true);
	secret->magic = SECRET_MAGIC;
	secret->bytes = bytes;
	bytes_copy(secret->at, from, bytes, BYTES_META);
	must(sodium_mprotect_readonly(secret) == 0);
	*out = secret;
	return OK;
}

/* The file is checked through its descriptor, so it cannot be exchanged between check and reading.
 */
static enum err check_file(const char *path, int fd)
{
	struct stat status;

	if (fstat(fd, &status))
		return RAISE_ERRNO(ERR_INPUT_SECRET, errno, "looking at the secret file %s", path);
	return secret_file_check(path, &status);
}

enum err secret_file_check(const char *path, const struct stat *status)
{
	if (!S_ISREG(status->st_mode))
		return RAISE(ERR_INPUT_SECRET, "the secret file %s is not a regular file", path);
	if (status->st_uid != geteuid() && status->st_uid != 0)
		return RAISE(ERR_INPUT_SECRET,
			     "the secret file %s belongs to user %u, not to you or root", path,
			     (unsigned)status->st_uid);
	if (status->st_mode & (S_IRWXG | S_IRWXO))
		return RAISE(ERR_INPUT_SECRET,
			     "the secret file %s is open to others (mode %04o): chmod 600 %s", path,
			     (unsigned)(status->st_mode & 07777), path);
	return OK;
}

/* At most `max` bytes from the beginning; *got is less only at the end of the file. */
static enum err read_head(const char *path, int fd, char *to, size_t max, size_t *got)
{
	ssize_t n;

	*got = 0;
	while (*got < max && (n = read(fd, to + *got, max - *got)) != 0) {
		if (n > 0)
			*got += (size_t)n;
		else if (errno != EINTR)
			return RAISE_ERRNO(ERR_INPUT_SECRET, errno, "reading the secret file %s",
					   path);
	}
	return OK;
}

/* The first line without its LF or CR LF. A line that is empty, too long or holds NUL is refused:
 * it is not what whoever wrote the file meant. */
static enum err take_line(const char *path, const char *head, size_t got, struct secret **out)
{
	const char *end = memchr(head, '\n', got);
	size_t bytes = end ? (size_t)(end - head) : got;

	if (end && bytes > 0 && head[bytes - 1] == '\r')
		bytes--;
	if (bytes == 0)
		return RAISE(ERR_INPUT_SECRET,
			     "the secret file %s %s: its first line must be the secret", path,
			     got == 0 ? "is empty" : "begins with an empty line");
	if (bytes > SECRET_BYTES_MAX)
		return RAISE(ERR_INPUT_SECRET,
			     "the first line of the secret file %s is longer than %d bytes", path,
			     SECRET_BYTES_MAX);
	if (memchr(head, '\0', bytes))
		return RAISE(ERR_INPUT_SECRET,
			     "the first line of the secret file %s holds a NUL byte: is it text?",
			     path);
	return secret_from_bytes(head, bytes, out);
}

/* All of it; a file without a byte and one that is too long are refused in the same words. */
static enum err take_all(const char *path, const char *head, size_t got, struct secret **out)
{
	if (got == 0 || got > SECRET_BYTES_MAX)
		return RAISE(ERR_INPUT_SECRET, "the secret file %s %s", path,
			     got ? "is too long for a key" : "is empty");
	return secret_from_bytes(head, got, out);
}

static enum err from_file(const char *path, bool whole, struct secret **out)
{
	/* O_NONBLOCK: opening a FIFO must not wait for a writer before we can refuse it. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	void *head = NULL;
	size_t got;
	enum err e;

	if (fd < 0)
		return RAISE_ERRNO(ERR_INPUT_SECRET, errno, "opening the secret file %s", path);
	if ((e = check_file(path, fd)))
		goto out;
	if (!(head = secret_room_open(FILE_BYTES_MAX)))
		e = RAISE(ERR_MEMORY_EXHAUSTED, "guarded memory for the secret file %s", path);
	else if ((e = read_head(path, fd, head, FILE_BYTES_MAX, &got)) == OK)
		e = whole ? take_all(path, head, got, out) : take_line(path, head, got, out);
out:
	secret_room_close(&head);
	close(fd);
	return e;
}

enum err secret_from_file(const char *path, struct secret **out)
{
	return from_file(path, false, out);
}

enum err secret_from_file_whole(const char *path, struct secret **out)
{
	return from_file(path, true, out);
}

struct text secret_text(const struct secret *secret)
{
	MAGIC_CHECK(secret, SECRET_MAGIC);
	return (struct text){ secret->at, secret->bytes };
}

bool secret_all_locked(void)
{
	return !atomic_load(&unlocked);
}

void secret_close(struct secret **secret)
{
	if (!*secret)
		return;
	MAGIC_CHECK(*secret, SECRET_MAGIC);
	sodium_free(*secret); /* makes it writable again, wipes it, checks its canary */
	*secret = NULL;
}

void secret_wipe(void *at, size_t bytes)
{
	sodium_memzero(at, bytes);
}

enum err secret_check_key(uint8_t key[SECRET_CHECK_KEY_BYTES])
{
	if (sodium_init() < 0)
		return RAISE(ERR_INPUT_SECRET, "libsodium cannot be started");
	randombytes_buf(key, SECRET_CHECK_KEY_BYTES);
	return OK;
}

uint64_t secret_check(const uint8_t key[SECRET_CHECK_KEY_BYTES], const void *at, size_t bytes)
{
	uint8_t hash[crypto_shorthash_BYTES];

	_Static_assert(sizeof hash == 8 && SECRET_CHECK_KEY_BYTES == crypto_shorthash_KEYBYTES,
		       "SipHash-2-4 of libsodium");
	crypto_shorthash(hash, at, bytes, key);
	return bytes_get_le64(hash);
}

enum err secret_process_setup(void)
{
	if (sodium_init() < 0)
		return RAISE(ERR_INPUT_SECRET, "libsodium cannot be started");
	if (setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 }))
		return RAISE_ERRNO(ERR_INPUT_SECRET, errno, "turning core dumps off");
	/* Also keeps other processes of this user from attaching (ptrace(2)). */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
		return RAISE_ERRNO(ERR_INPUT_SECRET, errno, "making this process not dumpable");
	return OK;
}
