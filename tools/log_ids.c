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

static enum err write_salt(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	uint8_t salt[SALT_BYTES];
	enum err e;

	if (fd < 0)
		return RAISE_ERRNO(err_of_file_errno(errno), errno, "making %s", path);
	e = salt_make(salt);
	errno = ENOSPC; /* of a short write */
	if (!e && (write(fd, salt, sizeof salt) != (ssize_t)sizeof salt || fsync(fd)))
		e = RAISE_ERRNO(err_of_file_errno(errno), errno, "writing %s", path);
	close(fd);
	return e;
}

/* Written under another name and linked: nobody ever reads a part of it, and of two runs that make
 * one at the same time the first wins. */
static enum err make_salt(const char *path)
{
	char own[PATH_BYTES_MAX];
	enum err e;

	if (snprintf(own, sizeof own, "%s.%ld", path, (long)getpid()) >= (int)sizeof own)
		return RAISE(ERR_DISK_IO, "the path %s is too long", path);
	unlink(own); /* of a process that was killed here and had our number */
	e = write_salt(own);
	if (!e && link(own, path) && errno != EEXIST)
		e = RAISE_ERRNO(err_of_file_errno(errno), errno, "making %s", path);
	unlink(own);
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
	if (access(path, F_OK) && errno == ENOENT && (e = make_salt(path)))
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
