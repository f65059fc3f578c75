/* See extract_file.h. */
#include "tools/extract_file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "engine/clock.h"
#include "engine/io.h"

enum { READ_BYTES = 64 * 1024 };

enum err extract_directory(const char *path, bool *made)
{
	enum err e = io_mkdir(path, 0700, clock_after(EXTRACT_FILE_TIMEOUT));

	if (made)
		*made = e == OK;
	if (e == ERR_DISK_EXISTS) {
		err_note_clear();
		return OK;
	}
	return e;
}

/* ---- what is there already ---- */

static enum err digest_file(int fd, struct tap *tap, struct digest *out)
{
	uint8_t *piece = malloc(READ_BYTES);
	uint64_t offset = 0;
	size_t got = 0;
	enum err e = OK;

	if (!piece)
		return RAISE(ERR_MEMORY_EXHAUSTED, "comparing a file");
	tap->type->begin(tap);
	do {
		if ((e = io_read(fd, piece, READ_BYTES, offset, clock_after(EXTRACT_FILE_TIMEOUT),
				 &got)))
			break;
		tap->type->update(tap, piece, got);
		offset += got;
	} while (got == READ_BYTES);
	tap->type->end(tap, out);
	free(piece);
	return e;
}

enum err extract_file_look(const char *path, const struct archive_message *message, struct tap *tap,
			   bool *exists, bool *same)
{
	struct ring_stat stat;
	struct digest digest;
	int fd = -1;
	enum err e = io_stat(path, clock_after(EXTRACT_FILE_TIMEOUT), &stat);

	*exists = e != ERR_DISK_ABSENT;
	*same = false;
	if (!*exists) {
		err_note_clear();
		return OK;
	}
	if (e || !stat.is_regular || stat.size_bytes != message->size_bytes)
		return e;
	e = io_open(path, O_RDONLY | O_NOFOLLOW, 0, clock_after(EXTRACT_FILE_TIMEOUT), &fd);
	if (e == OK && (e = digest_file(fd, tap, &digest)) == OK)
		*same = memcmp(digest.bytes, message->digest.bytes, DIGEST_BYTES) == 0;
	io_close(&fd);
	return e;
}

/* ---- writing ---- */

struct writing {
	int fd;
	uint64_t offset;
};

static enum err write_piece(void *context, const void *bytes, size_t count)
{
	struct writing *writing = context;
	enum err e = io_write(writing->fd, bytes, count, writing->offset,
			      clock_after(EXTRACT_FILE_TIMEOUT));

	writing->offset += count;
	return e;
}

/* The file's time is the message's INTERNALDATE. A file system that cannot hold it is no reason to
 * fail. */
static void set_time(int fd, const struct mail_date *date)
{
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_sec = date->seconds } };

	if (date->known && futimens(fd, times) != 0)
		return;
}

static enum err write_temporary(const struct extract_file *file, struct archive *archive,
				const struct archive_message *message)
{
	struct writing writing = { .fd = -1 };
	enum err e = io_open(file->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600,
			     clock_after(EXTRACT_FILE_TIMEOUT), &writing.fd);

	if (e)
		return e;
	e = archive_message_read(archive, message, write_piece, &writing);
	must(e || writing.offset == message->size_bytes);
	if (e == OK)
		set_time(writing.fd, &message->meta.date);
	if (e == OK && file->durable)
		e = io_fsync(writing.fd, false, clock_after(EXTRACT_FILE_TIMEOUT));
	io_close(&writing.fd);
	return e;
}

enum err extract_file_write(const struct extract_file *file, struct archive *archive,
			    const struct archive_message *message)
{
	enum err e = write_temporary(file, archive, message);

	if (e == OK)
		e = io_rename(file->temporary, file->path, file->replace,
			      clock_after(EXTRACT_FILE_TIMEOUT));
	if (e && io_unlink(file->temporary, clock_after(EXTRACT_FILE_TIMEOUT)))
		return e; /* what failed first is what counts */
	return e;
}
