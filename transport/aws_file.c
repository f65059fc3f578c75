#include "transport/aws_file.h"

#include <fcntl.h>

#include "crypto/secret.h"
#include "engine/bytes.h"
#include "engine/io.h"

static enum err make_room(const char *shown, size_t bytes, size_t bytes_max, struct aws_file *file)
{
	*file = (struct aws_file){ .text = { "", 0 } };
	if (bytes > bytes_max)
		return RAISE(ERR_INPUT_FILE, "%s is larger than %zu bytes", shown, bytes_max);
	if (!(file->room = secret_room_open(bytes + 1)))
		return RAISE(ERR_MEMORY_EXHAUSTED, "guarded memory for %s", shown);
	file->text.at = file->room;
	return OK;
}

/* There is room for one byte more than the file had: it must not have grown. */
static enum err read_whole(const char *path, int fd, size_t bytes, nsec until,
			   struct aws_file *file)
{
	size_t used = 0, got = 1;
	enum err e = OK;

	while (!e && got > 0 && used <= bytes) {
		e = io_read(fd, (char *)file->room + used, bytes + 1 - used, used, until, &got);
		used += e ? 0 : got;
	}
	file->text.bytes = used;
	if (!e && used > bytes)
		e = RAISE(ERR_INPUT_FILE, "%s changed while it was read, or is no regular file",
			  path);
	return e;
}

enum err aws_file_read(const char *path, size_t bytes_max, nsec until, struct aws_file *file)
{
	struct ring_stat stat;
	size_t bytes;
	enum err e;
	int fd;

	*file = (struct aws_file){ .text = { "", 0 } };
	if ((e = io_stat(path, until, &stat)))
		return e;
	bytes = stat.is_regular ? stat.size_bytes : 0;
	if ((e = make_room(path, bytes, bytes_max, file)) ||
	    (e = io_open(path, O_RDONLY | O_NOCTTY | O_NONBLOCK, 0, until, &fd))) {
		aws_file_close(file);
		return e;
	}
	file->mode = stat.mode;
	e = read_whole(path, fd, bytes, until, file);
	io_close(&fd);
	if (e)
		aws_file_close(file);
	return e;
}

enum err aws_file_of(const char *shown, struct text text, size_t bytes_max, struct aws_file *file)
{
	enum err e = make_room(shown, text.bytes, bytes_max, file);

	if (e)
		return e;
	if (text.bytes > 0)
		bytes_copy(file->room, text.at, text.bytes, BYTES_META);
	file->text.bytes = text.bytes;
	return OK;
}

void aws_file_close(struct aws_file *file)
{
	secret_room_close(&file->room);
	*file = (struct aws_file){ .text = { "", 0 } };
}
