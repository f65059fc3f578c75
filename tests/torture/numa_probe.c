/* Runs on a machine of several NUMA nodes (a guest: numa_test) and asks the kernel, not hwloc,
 *where each bound worker and its memory are. With a word for a wrong binding it must fail: a probe
 *that cannot fail proves nothing.
 *
 *	numa_probe bound | unbound | wrong-cpu | wrong-memory
 *	numa_probe plan		one line a worker, for a script */
#include <linux/mempolicy.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engine/topology.h"

enum { PAGES = 1024, NODES_MAX = 8 };

struct probe {
	const struct topology *topology;
	const char *how;
	size_t worker;
	bool failed;
};

static void complain(struct probe *probe, const char *what, long long got, long long expected)
{
	printf("worker %zu: %s is %lld, not %lld\n", probe->worker, what, got, expected);
	probe->failed = true;
}

/* A worker of another node, whose places are the wrong ones. */
static const struct topology_worker *stranger(const struct probe *probe)
{
	const struct topology_plan *plan = topology_plan(probe->topology);

	for (size_t i = 0; i < plan->workers_count; i++)
		if (plan->workers[i].node != plan->workers[probe->worker].node)
			return &plan->workers[i];
	return NULL;
}

static void bind_as_told(struct probe *probe)
{
	const struct topology_worker *other = stranger(probe);
	char why[TOPOLOGY_WHY_BYTES];

	if (strcmp(probe->how, "unbound") != 0 &&
	    !topology_bind(probe->topology, probe->worker, why)) {
		printf("worker %zu: %s\n", probe->worker, why);
		probe->failed = true;
	}
	must(other != NULL);
	if (!strcmp(probe->how, "wrong-cpu")) {
		cpu_set_t mask;

		CPU_ZERO(&mask);
		CPU_SET(other->cpu, &mask);
		must(!sched_setaffinity(0, sizeof mask, &mask));
	} else if (!strcmp(probe->how, "wrong-memory")) {
		unsigned long mask = 1ul << other->node;

		must(!syscall(SYS_set_mempolicy, MPOL_BIND, &mask, 8 * sizeof mask));
	}
}

static void check_cpu(struct probe *probe, const struct topology_worker *worker)
{
	unsigned cpu, node;
	cpu_set_t mask;

	must(!sched_getaffinity(0, sizeof mask, &mask));
	if (CPU_COUNT(&mask) != 1)
		complain(probe, "the number of CPUs it may use", CPU_COUNT(&mask), 1);
	must(!syscall(SYS_getcpu, &cpu, &node, NULL));
	if (cpu != worker->cpu)
		complain(probe, "its CPU", cpu, worker->cpu);
	if ((int)node != worker->node)
		complain(probe, "its CPU's node", node, worker->node);
}

/* The pages of the mapping at `memory` on each node: "7f0000000000 prefer:1 anon=9 N1=9", see
 * numa(7). */
static void count_pages(const void *memory, long long pages[NODES_MAX])
{
	FILE *maps = fopen("/proc/self/numa_maps", "re");
	char line[1000];

	must(maps != NULL);
	while (fgets(line, sizeof line, maps)) {
		if (strtoull(line, NULL, 16) != (uintptr_t)memory)
			continue;
		for (unsigned node = 0; node < NODES_MAX; node++) {
			char word[] = " N0=";
			const char *at;

			word[2] = (char)('0' + node);
			if ((at = strstr(line, word)))
				pages[node] = strtoll(at + 4, NULL, 10);
		}
	}
	fclose(maps);
}

static void check_memory(struct probe *probe, const struct topology_worker *worker)
{
	size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE), bytes = PAGES * page_bytes;
	char *memory =
		mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	long long pages[NODES_MAX] = { 0 };

	must(memory != MAP_FAILED);
	/* A mapping of its own line in numa_maps, in small pages. */
	must(!madvise(memory, bytes, MADV_NOHUGEPAGE) && !madvise(memory, bytes, MADV_DONTFORK));
	for (size_t i = 0; i < bytes; i += page_bytes)
		memory[i] = 1;
	count_pages(memory, pages);
	for (int node = 0; node < NODES_MAX; node++)
		if (pages[node] != (node == worker->node ? PAGES : 0)) {
			printf("node %d: ", node);
			complain(probe, "the number of its pages there", pages[node],
				 node == worker->node ? PAGES : 0);
		}
	munmap(memory, bytes);
}

static void *run_worker(void *argument)
{
	struct probe *probe = argument;
	const struct topology_worker *worker =
		&topology_plan(probe->topology)->workers[probe->worker];

	bind_as_told(probe);
	check_cpu(probe, worker);
	check_memory(probe, worker);
	return NULL;
}

/* As if started by numactl --interleave=all: threads inherit it, so memory is where it belongs only
 * if the worker said so itself. By default it would be there because its CPU touched it first. */
static void scatter_memory(const struct topology_plan *plan)
{
	unsigned long mask = 0;

	for (size_t i = 0; i < plan->nodes_count; i++)
		mask |= 1ul << plan->nodes[i].number;
	must(!syscall(SYS_set_mempolicy, MPOL_INTERLEAVE, &mask, 8 * sizeof mask));
}

static void print_plan(const struct topology_plan *plan)
{
	for (size_t i = 0; i < plan->workers_count; i++)
		printf("worker %zu cpu %u node %d%s\n", i, plan->workers[i].cpu,
		       plan->workers[i].node, plan->workers[i].near_card ? " near" : "");
}

int main(int count, char **words)
{
	struct probe probe = { .how = count == 2 ? words[1] : "bound" };
	struct topology *topology;
	pthread_t thread;

	if (topology_open(0, &topology)) {
		printf("%s\n", err_note()->text);
		return 1;
	}
	probe.topology = topology;
	if (!strcmp(probe.how, "plan")) {
		print_plan(topology_plan(topology));
		topology_close(&topology);
		return 0;
	}
	if (topology_plan(topology)->nodes_count < 2) {
		printf("this machine has one node: nothing can be wrong here\n");
		return 2;
	}
	scatter_memory(topology_plan(topology));
	for (; probe.worker < topology_plan(topology)->workers_count; probe.worker++) {
		must(!pthread_create(&thread, NULL, run_worker, &probe));
		pthread_join(thread, NULL);
	}
	topology_close(&topology);
	printf("%s: %s\n", probe.how, probe.failed ? "wrong" : "right");
	return probe.failed;
}
