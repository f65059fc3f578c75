/* Writing a secret back: see secret_ref_store.h. Its bytes are in guarded memory on their way. */
#include "tools/secret_ref_store.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/bytes.h"
#include "engine/io.h"

enum { FILE_BYTES_MAX = 2 * SECRET_BYTES_MAX };

static enum err check_ours(const char *path, int fd)
{
	struct stat status;
	enum err e;

	if (fstat(fd, &status))
		return RAISE_ERRNO(ERR_INPUT_SECRET, errno, "looking at the secret file %s", path);
	if ((e = secret_file_check(path, &status)))
		return e;
	return status.st_uid == geteuid()
		       ? OK
		       : RAISE(ERR_INPUT_SECRET, "the secret file %s belongs to user %u, not to us",
			       path, (unsigned)status.st_uid);
}

/* Of what the file holds, what is behind the secret in its first line. */
static enum err find_rest(const char *path, struct text all, struct text was, struct text *rest)
{
	size_t at = was.bytes;

	if (all.bytes < at || memcmp(all.at, was.at, at) != 0 ||
	    (all.bytes > at && all.at[at] != '\n' && all.at[at] != '\r'))
		return RAISE(ERR_INPUT_SECRET,
			     "the secret file %s holds another secret by now, which is left", path);
	*rest = (struct text){ all.at + at, all.bytes - at };
	return OK;
}

/* In guarded memory. */
struct room {
	char old[FILE_BYTES_MAX], fresh[FILE_BYTES_MAX + SECRET_BYTES_MAX];
};

static enum err replace(const char *path, int fd, struct text was, struct text now,
			struct room *room, nsec until)
{
	struct text rest = { NULL, 0 };
	size_t got;
	enum err e;

	if ((e = check_ours(path, fd)) ||
	    (e = io_read(fd, room->old, sizeof room->old, 0, until, &got)) ||
	    (e = find_rest(path, (struct text){ room->old, got }, was, &rest)))
		return e;
	if (got == sizeof room->old || now.bytes > SECRET_BYTES_MAX)
		return RAISE(ERR_INPUT_SECRET, "the secret file %s would be too long", path);
	bytes_copy(room->fresh, now.at, now.bytes, BYTES_META);
	bytes_copy(room->fresh + now.bytes, rest.at, rest.bytes, BYTES_META);
	return io_write_file(path, room->fresh, now.bytes + rest.bytes, 0600, until);
}

enum err secret_ref_store(const struct secret_ref *ref, struct text was, struct text now,
			  nsec until)
{
	void *room = NULL;
	int fd = -1;
	enum err e;

	if (ref->kind != SECRET_REF_FILE)
		return RAISE(ERR_INPUT_SECRET,
			     "only a secret in a file of its own can be replaced");
	/* O_NONBLOCK: a FIFO must not be waited for before it can be refused. */
	if ((e = io_open(ref->text, O_RDONLY | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK, 0, until, &fd)))
		return e;
	if ((room = secret_room_open(sizeof(struct room))))
		e = replace(ref->text, fd, was, now, room, until);
	else
		e = RAISE(ERR_MEMORY_EXHAUSTED, "replacing a secret");
	secret_room_close(&room);
	io_close(&fd);
	return e;
}
