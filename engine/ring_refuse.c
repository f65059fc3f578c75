/* ring_refuse.h: looks at what the kernel, /proc and the limits say. */
#include "engine/ring_refuse.h"

#include <errno.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/utsname.h>

/* First line of a small file of /proc, or "" */
static void read_line(const char *path, char *line, int line_bytes)
{
	FILE *file = fopen(path, "re");

	line[0] = '\0';
	if (!file)
		return;
	if (!fgets(line, line_bytes, file))
		line[0] = '\0';
	line[strcspn(line, "\n")] = '\0';
	fclose(file);
}

static enum err refuse_forbidden(int errno_value)
{
	char disabled[16], group[16];

	read_line("/proc/sys/kernel/io_uring_disabled", disabled, sizeof disabled);
	read_line("/proc/sys/kernel/io_uring_group", group, sizeof group);
	if (strcmp(disabled, "2") == 0)
		return RAISE_ERRNO(
			ERR_RING_FORBIDDEN, errno_value,
			"/proc/sys/kernel/io_uring_disabled is 2 (nobody may use io_uring): "
			"set it to 0 with 'sysctl kernel.io_uring_disabled=0'");
	if (strcmp(disabled, "1") == 0)
		return RAISE_ERRNO(
			ERR_RING_FORBIDDEN, errno_value,
			"/proc/sys/kernel/io_uring_disabled is 1: put this user into the group "
			"of kernel.io_uring_group (now %s), or set it to 0 with "
			"'sysctl kernel.io_uring_disabled=0'",
			group);
	return RAISE_ERRNO(
		ERR_RING_FORBIDDEN, errno_value,
		"/proc/sys/kernel/io_uring_disabled is %s, so a seccomp profile (a "
		"container's default one does this) or a security module forbids it: allow "
		"io_uring_setup, io_uring_enter and io_uring_register there",
		disabled[0] ? disabled : "not readable");
}

enum err ring_refuse(const char *kernel, int errno_value)
{
	struct rlimit locked = { 0 };

	if (errno_value == EPERM || errno_value == EACCES)
		return refuse_forbidden(errno_value);
	if (errno_value == ENOSYS)
		return RAISE_ERRNO(
			ERR_RING_ABSENT, errno_value,
			"kernel %s answers io_uring_setup with: use a kernel built with "
			"CONFIG_IO_URING, or, in a container, a seccomp profile that lets "
			"io_uring through",
			kernel);
	if (errno_value != ENOMEM)
		return RAISE_ERRNO(ERR_RING_FAILED, errno_value, "opening io_uring on kernel %s",
				   kernel);
	(void)getrlimit(RLIMIT_MEMLOCK, &locked);
	return RAISE_ERRNO(
		ERR_RING_FAILED, errno_value,
		"opening io_uring: locked memory is limited to %llu KiB for this user: raise "
		"it with 'ulimit -l' or LimitMEMLOCK=",
		(unsigned long long)locked.rlim_cur / 1024);
}

unsigned ring_refuse_kernel_version(char *release, size_t release_bytes)
{
	struct utsname name;
	unsigned major, minor;

	if (uname(&name) != 0)
		return 0;
	snprintf(release, release_bytes, "%.*s", (int)release_bytes - 1, name.release);
	if (sscanf(name.release, "%u.%u", &major, &minor) != 2 || minor > 99)
		return 0;
	return major * 100 + minor;
}
