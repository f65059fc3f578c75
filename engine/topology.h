/* Which worker runs where: one per physical core, nearest the network card first, its memory on its
 * own NUMA node. The only door to hwloc. Plans once, at start; not for watching CPUs that come and
 * go, and not on the data path. */
#ifndef MAILHAUL_TOPOLOGY_H
#define MAILHAUL_TOPOLOGY_H

#include "engine/err.h"

/* A NUMA node that is not known, of a worker or of a network card. */
enum { TOPOLOGY_NODE_UNKNOWN = -1 };
enum { TOPOLOGY_TEXT_BYTES = 128 };

struct topology_node {
	int number;			/* the kernel's */
	unsigned package;		/* from 0, of the first CPU near it */
	char cpus[TOPOLOGY_TEXT_BYTES]; /* "0-7,16-23"; "" for memory without CPUs */
	uint64_t memory_bytes;		/* 0: not known */
};

struct topology_card {
	char name[32]; /* "eth0" */
	bool up;
	int node; /* the nearest, of several the first */
};

struct topology_worker {
	unsigned cpu;	  /* the hardware thread it is bound to, by the kernel's number */
	unsigned core;	  /* physical, counted from 0 over the machine */
	unsigned package; /* counted from 0 */
	int node;
	bool near_card;	  /* its node is the one next to the network card */
	bool shares_core; /* a worker before it has the same core: a second hyperthread */
};

/* What was found and what was chosen. Constant once it is open. */
struct topology_plan {
	unsigned packages, cores, cpus;	    /* that this process may see */
	unsigned usable_cores, usable_cpus; /* by its affinity mask and cpuset */
	char usable[TOPOLOGY_TEXT_BYTES];   /* "0-3,8" */
	uint32_t quota_thousandths;	    /* of a CPU, by the cgroup; 0: no quota */
	unsigned workers_max;		    /* what may be asked for */
	struct topology_node *nodes;
	size_t nodes_count;
	struct topology_card *cards;
	size_t cards_count;
	struct topology_worker *workers; /* in the order in which they are to be filled */
	size_t workers_count;
	const char *not_bound; /* why no worker will be bound; NULL: they will be, if they may */
};

/* Look at the machine and choose. The affinity mask is the calling thread's.
 * workers_wanted  0: one per usable core, but no more than the cgroup's CPU quota has use for
 * returns  OK | ERR_INPUT_USAGE (more than workers_max, or HWLOC_SYNTHETIC or HWLOC_XMLFILE hold no
 *          topology) | ERR_TOPOLOGY_UNREADABLE | ERR_MEMORY_EXHAUSTED */
struct topology;
enum err topology_open(unsigned workers_wanted, struct topology **) MUST_CHECK;
void topology_close(struct topology **);
const struct topology_plan *topology_plan(const struct topology *);

/* Bind the calling thread to the worker's CPU and, where there are several nodes, what it touches
 * first from now on to the worker's node; then ask the kernel whether it is so. True: it is. False:
 * `why` says what is not, and the work goes on without. Threads may call it at the same time. */
enum { TOPOLOGY_WHY_BYTES = 200 };
bool topology_bind(const struct topology *, size_t worker, char why[TOPOLOGY_WHY_BYTES]) MUST_CHECK;

#endif
