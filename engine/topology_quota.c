#include "engine/topology_quota.h"

#include <limits.h>
#include <stdio.h>

enum { LINE_BYTES = 512, NAME_BYTES = 256 };

/* Where a hierarchy of groups is mounted, and which of its groups stands at the mount point: inside
 * a container that is not always the topmost one (proc(5), /proc/pid/mountinfo). */
struct mount {
	bool unified; /* version 2 */
	char shows[NAME_BYTES], point[NAME_BYTES];
};

static FILE *open_text(const char *root, const char *folder, const char *name)
{
	char path[LINE_BYTES];
	int length = snprintf(path, sizeof path, "%s%s/%s", root, folder, name);

	return length < (int)sizeof path ? fopen(path, "re") : NULL;
}

static bool read_line(const char *root, const char *folder, const char *name, char to[LINE_BYTES])
{
	FILE *file = open_text(root, folder, name);
	bool found = file && fgets(to, LINE_BYTES, file);

	if (file)
		fclose(file);
	return found;
}

/* "36 31 0:33 /shows /point options tags - type device options" */
static bool parse_mount(const char *line, struct mount *mount)
{
	char type[16], options[NAME_BYTES], list[NAME_BYTES + 2];
	const char *tail = strstr(line, " - ");

	if (!tail || sscanf(line, "%*s %*s %*s %255s %255s", mount->shows, mount->point) != 2 ||
	    sscanf(tail, " - %15s %*s %255s", type, options) != 2)
		return false;
	mount->unified = !strcmp(type, "cgroup2");
	snprintf(list, sizeof list, ",%s,", options);
	return mount->unified || (!strcmp(type, "cgroup") && strstr(list, ",cpu,"));
}

/* This process's group in the hierarchy, from lines "number:controllers:/group", cgroups(7). */
static bool find_group(const char *root, bool unified, char group[LINE_BYTES])
{
	FILE *file = open_text(root, "/proc/self", "cgroup");
	char line[LINE_BYTES], list[NAME_BYTES + 2], controllers[NAME_BYTES];
	bool found = false;

	while (file && !found && fgets(line, sizeof line, file)) {
		controllers[0] = '\0';
		if (sscanf(line, "%*u::%511[^\n]", group) == 1)
			found = unified;
		else if (sscanf(line, "%*u:%255[^:]:%511[^\n]", controllers, group) == 2) {
			snprintf(list, sizeof list, ",%s,", controllers);
			found = !unified && strstr(list, ",cpu,");
		}
	}
	if (file)
		fclose(file);
	return found;
}

static uint32_t thousandths(long long quota_us, long long period_us)
{
	if (quota_us <= 0 || period_us <= 0 || quota_us > LLONG_MAX / 1000 - period_us)
		return 0;
	return (uint32_t)min_u64((uint64_t)((quota_us * 1000 + period_us - 1) / period_us),
				 UINT32_MAX);
}

/* cpu.max holds "max 100000" or "250000 100000" (cgroup-v2.rst); cpu.cfs_quota_us holds -1 or
 * microseconds in each cpu.cfs_period_us (sched-bwc.rst). */
static uint32_t quota_of(const char *root, bool unified, const char *folder)
{
	char line[LINE_BYTES];
	long long quota_us, period_us;

	if (unified)
		return read_line(root, folder, "cpu.max", line) &&
				       sscanf(line, "%lld %lld", &quota_us, &period_us) == 2
			       ? thousandths(quota_us, period_us)
			       : 0;
	if (!read_line(root, folder, "cpu.cfs_quota_us", line) ||
	    sscanf(line, "%lld", &quota_us) != 1 ||
	    !read_line(root, folder, "cpu.cfs_period_us", line) ||
	    sscanf(line, "%lld", &period_us) != 1)
		return 0;
	return thousandths(quota_us, period_us);
}

/* The smallest from the group up to the mount point. A group that the mount does not show is
 * another container's name for it: then the mount point is all there is to see. */
static uint32_t smallest_quota(const char *root, const struct mount *mount)
{
	char group[LINE_BYTES], folder[LINE_BYTES + NAME_BYTES];
	size_t shown = strcmp(mount->shows, "/") ? strlen(mount->shows) : 0;
	size_t point = strlen(mount->point), length;
	uint32_t smallest = 0, quota;

	if (!find_group(root, mount->unified, group) || strncmp(group, mount->shows, shown))
		group[shown = 0] = '\0';
	length = (size_t)snprintf(folder, sizeof folder, "%s%s", mount->point, group + shown);
	for (;;) {
		while (length > point && folder[length - 1] == '/')
			folder[--length] = '\0';
		if ((quota = quota_of(root, mount->unified, folder)) &&
		    (!smallest || quota < smallest))
			smallest = quota;
		if (length <= point)
			return smallest;
		while (length > point && folder[length - 1] != '/')
			folder[--length] = '\0';
	}
}

uint32_t topology_quota(const char *root)
{
	FILE *file = open_text(root, "/proc/self", "mountinfo");
	char line[2 * LINE_BYTES];
	uint32_t smallest = 0, quota;
	struct mount mount;

	while (file && fgets(line, sizeof line, file))
		if (parse_mount(line, &mount) && (quota = smallest_quota(root, &mount)) &&
		    (!smallest || quota < smallest))
			smallest = quota;
	if (file)
		fclose(file);
	return smallest;
}
