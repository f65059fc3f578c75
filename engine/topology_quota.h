/* How much CPU time the control group of this process may use: cpu.max of version 2,
 * cpu.cfs_quota_us of version 1. hwloc knows the cpuset of a group but not its quota. */
#ifndef MAILHAUL_TOPOLOGY_QUOTA_H
#define MAILHAUL_TOPOLOGY_QUOTA_H

#include "engine/base.h"

/* In thousandths of a CPU, rounded up; the smallest of the group and its parents. 0: none, or none
 * that can be read. `root` stands before /proc and the mount points; "" outside tests. */
uint32_t topology_quota(const char *root);

#endif
