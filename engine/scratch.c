/* See scratch.h. */
#include "engine/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static int file_make(void)
{
	const char *tmpdir = secure_getenv("TMPDIR");
	const char *places[] = { tmpdir && *tmpdir ? tmpdir : "/var/tmp", "/var/tmp" };
	int fd = -1;

	for (size_t i = 0; i < ARRAY_COUNT(places) && fd < 0; i++)
		fd = open(places[i], O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	return fd >= 0 ? fd : memfd_create("mailhaul", MFD_CLOEXEC);
}

enum err scratch_grow(struct scratch *scratch, size_t bytes)
{
	int fd = scratch->fd_plus_one - 1, failed;
	void *at;

	if (bytes <= scratch->bytes)
		return OK;
	if (fd < 0 && (fd = file_make()) < 0)
		return RAISE_ERRNO(err_of_file_errno(errno), errno,
				   "making a temporary file; TMPDIR says where");
	scratch->fd_plus_one = fd + 1;
	do
		failed = posix_fallocate(fd, 0, (off_t)bytes);
	while (failed == EINTR);
	if (failed)
		return RAISE_ERRNO(
			err_of_file_errno(failed), failed,
			"making room for %zu bytes in a temporary file; TMPDIR says where", bytes);
	at = scratch->at ? mremap(scratch->at, scratch->bytes, bytes, MREMAP_MAYMOVE)
			 : mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED)
		return RAISE(ERR_MEMORY_EXHAUSTED, "mapping %zu bytes", bytes);
	scratch->at = at;
	scratch->bytes = bytes;
	return OK;
}

void scratch_close(struct scratch *scratch)
{
	if (scratch->at)
		munmap(scratch->at, scratch->bytes);
	if (scratch->fd_plus_one > 0)
		close(scratch->fd_plus_one - 1);
	*scratch = (struct scratch){ 0 };
}
