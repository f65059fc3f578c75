#include "tools/log_ids.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_BYTES_MAX = 1500 };

/* Checked through its descriptor: what is looked at is what is read. */
static enum err read_salt(const char *path, uint8_t salt[SALT_BYTES])
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat status;
	uint8_t more[SALT_BYTES + 1];
	ssize_t got = -1;
	enum err e = OK;

	if (fd < 0)
		return RAISE_ERRNO(err_of_file_errno(errno), errno, "opening %s", path);
	if (fstat(fd, &status) ||
	    (S_ISREG(status.st_mode) && (got = read(fd, more, sizeof more)) < 0))
		e = RAISE_ERRNO(err_of_file_errno(errno), errno, "reading %s", path);
	else if (got != SALT_BYTES)
		e = RAISE(ERR_INPUT_SECRET,
			  "%s is no file of %d bytes; remove it, then a new one is made and "
			  "mailboxes "
			  "get new ids in the log",
			  path, SALT_BYTES);
	else if (status.st_mode & (S_IRWXG | S_IRWXO))
		e = RAISE(ERR_INPUT_SECRET, "%s is open to others (mode %04o): chmod 600 %s", path,
			  (unsigned)(status.st_mode & 07777), path);
	else
		memcpy(salt, more, SALT_BYTES);
	close(fd);
	return e;
}

static enum err write_salt(int fd, const char *path)
{
	uint8_t salt[SALT_BYTES];
	enum err e = salt_make(salt);

	errno = ENOSPC; /* of a short write */
	if (!e && (write(fd, salt, sizeof salt) != (ssize_t)sizeof salt || fsync(fd)))
		e = RAISE_ERRNO(err_of_file_errno(errno), errno, "writing %s", path);
	return e;
}

/* A file that has no name yet, and where to link it from. Where the file system knows none (NFS),
 * it has a name of its own until then. */
static int open_nameless(const char *directory, const char *path, char *from, size_t size)
{
	int fd = open(directory, O_WRONLY | O_TMPFILE | O_CLOEXEC, 0600);

	if (fd >= 0) {
		snprintf(from, size, "/proc/self/fd/%d", fd);
	} else if (errno == EOPNOTSUPP || errno == EISDIR) {
		snprintf(from, size, "%s.%ld", path, (long)getpid());
		unlink(from); /* of a process that was killed here and had our number */
		fd = open(from, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	}
	return fd;
}

/* Written first and linked then: nobody ever reads a part of it, of two runs that make one at the
 * same time the first wins, and a process that is killed here leaves nothing behind. */
static enum err make_salt(const char *directory, const char *path)
{
	char from[PATH_BYTES_MAX + 24];
	int fd = open_nameless(directory, path, from, sizeof from);
	enum err e;

	if (fd < 0)
		return RAISE_ERRNO(err_of_file_errno(errno), errno, "making %s", path);
	e = write_salt(fd, path);
	if (!e && linkat(AT_FDCWD, from, AT_FDCWD, path, AT_SYMLINK_FOLLOW) && errno != EEXIST)
		e = RAISE_ERRNO(err_of_file_errno(errno), errno, "making %s", path);
	unlink(from); /* the other name, if it has one */
	close(fd);
	return e;
}

enum err log_ids_open(struct log_ids *ids, const char *state_directory, bool names)
{
	char path[PATH_BYTES_MAX];
	enum err e;

	*ids = (struct log_ids){ .names = names };
	if (names)
		return OK;
	if (snprintf(path, sizeof path, "%s/log.salt", state_directory) >= (int)sizeof path)
		return RAISE(ERR_DISK_IO, "the path %s is too long", state_directory);
	if (access(path, F_OK) && errno == ENOENT && (e = make_salt(state_directory, path)))
		return e;
	return read_salt(path, ids->salt);
}

const char *log_ids_of(const struct log_ids *ids, const char *name, char to[SALTED_ID_TEXT_BYTES])
{
	if (ids->names)
		return name;
	salted_id(ids->salt, text_of(name), to);
	return to;
}
