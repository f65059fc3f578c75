/* Plans for machines of 1, 2 and 8 nodes, which hwloc makes up, and real binding on this one. That
 * memory really lands on its node needs two: tests/torture/numa_test. */
#include "engine/topology.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/topology_quota.h"
#include "tests/test.h"

static void use_this_machine(void)
{
	unsetenv("HWLOC_SYNTHETIC");
	unsetenv("HWLOC_XMLFILE");
}

static enum err open_synthetic(const char *text, unsigned wanted, struct topology **out)
{
	enum err e;

	setenv("HWLOC_SYNTHETIC", text, 1);
	e = topology_open(wanted, out);
	use_this_machine();
	return e;
}

static size_t workers_on(const struct topology_plan *plan, int node, size_t first_workers)
{
	size_t count = 0;

	for (size_t i = 0; i < first_workers; i++)
		count += plan->workers[i].node == node;
	return count;
}

static bool each_cpu_once(const struct topology_plan *plan)
{
	for (size_t i = 0; i < plan->workers_count; i++)
		for (size_t j = 0; j < i; j++)
			if (plan->workers[i].cpu == plan->workers[j].cpu)
				return false;
	return true;
}

/* A worker says that it shares its core exactly if an earlier one has it. */
static bool shared_cores_are_said(const struct topology_plan *plan)
{
	for (size_t i = 0; i < plan->workers_count; i++) {
		bool shares = false;

		for (size_t j = 0; j < i; j++)
			shares |= plan->workers[i].core == plan->workers[j].core;
		if (shares != plan->workers[i].shares_core)
			return false;
	}
	return true;
}

/* Opens a made-up machine of `nodes` with `cores` each and two threads a core, and checks what must
 * hold whatever its size. */
static void check_machine(const char *text, unsigned nodes, unsigned cores)
{
	unsigned all = nodes * cores;
	const struct topology_plan *plan;
	struct topology *topology;

	REQUIRE(CHECK_OK(open_synthetic(text, 2 * all, &topology)));
	plan = topology_plan(topology);
	CHECK_EQ(plan->nodes_count, nodes);
	CHECK_EQ(plan->cores, all);
	CHECK_EQ(plan->usable_cores, all);
	CHECK_EQ(plan->usable_cpus, 2 * all);
	CHECK_EQ(plan->workers_max, 2 * all);
	CHECK_EQ(plan->workers_count, 2 * all);
	CHECK(each_cpu_once(plan));
	CHECK(shared_cores_are_said(plan));
	for (size_t i = 0; i < plan->workers_count; i++)
		CHECK_EQ(plan->workers[i].shares_core, i >= all);
	for (size_t first = 0; first <= plan->workers_count; first += nodes)
		for (unsigned node = 0; node < nodes; node++)
			CHECK_EQ(workers_on(plan, (int)node, first), first / nodes);
	topology_close(&topology);
	CHECK(!topology);
}

TEST(every_cpu_is_given_once_nodes_in_turn_and_second_threads_last)
{
	check_machine("numa:1 core:4 pu:2", 1, 4);
	check_machine("pack:2 numa:1 l3:1 core:8 pu:2", 2, 8);
	check_machine("pack:4 numa:2 core:3 pu:2", 8, 3);
}

TEST(without_a_number_each_core_gets_one_worker)
{
	struct topology *topology;

	REQUIRE(CHECK_OK(open_synthetic("pack:2 numa:1 core:8 pu:2", 0, &topology)));
	CHECK_EQ(topology_plan(topology)->workers_count, 16);
	CHECK_EQ(topology_plan(topology)->packages, 2);
	CHECK_EQ(topology_plan(topology)->workers[1].package, 1);
	topology_close(&topology);
}

TEST(a_cpu_without_a_core_above_it_is_a_core)
{
	struct topology *topology;

	REQUIRE(CHECK_OK(open_synthetic("pu:4", 0, &topology)));
	CHECK_EQ(topology_plan(topology)->workers_count, 4);
	CHECK(shared_cores_are_said(topology_plan(topology)));
	topology_close(&topology);
}

TEST(more_workers_than_cpus_are_refused_with_their_number)
{
	struct topology *topology;

	CHECK_ERR(open_synthetic("numa:1 core:4 pu:2", 9, &topology), ERR_INPUT_USAGE);
	CHECK(!topology);
	CHECK(strstr(err_note()->text, "9 workers") && strstr(err_note()->text, "at most 8"));
	err_note_clear();
}

TEST(what_hwloc_cannot_read_is_refused_and_not_ignored)
{
	struct topology *topology;

	CHECK_ERR(open_synthetic("pack:2 nonsense", 0, &topology), ERR_INPUT_USAGE);
	CHECK(strstr(err_note()->text, "HWLOC_SYNTHETIC is \"pack:2 nonsense\""));
	err_note_clear();
	setenv("HWLOC_XMLFILE", "/nonexistent.xml", 1);
	CHECK_ERR(topology_open(0, &topology), ERR_INPUT_USAGE);
	CHECK(strstr(err_note()->text, "HWLOC_XMLFILE"));
	err_note_clear();
	use_this_machine();
}

TEST(on_a_synthetic_machine_no_binding_is_claimed_and_none_is_made)
{
	char why[TOPOLOGY_WHY_BYTES];
	struct topology *topology;
	cpu_set_t before, after;

	CHECK_EQ(sched_getaffinity(0, sizeof before, &before), 0);
	REQUIRE(CHECK_OK(open_synthetic("pack:2 numa:1 core:2 pu:1", 0, &topology)));
	for (size_t i = 0; i < topology_plan(topology)->workers_count; i++) {
		CHECK(!topology_bind(topology, i, why));
		CHECK_TEXT(why, "the topology is synthetic (HWLOC_SYNTHETIC)");
	}
	topology_close(&topology);
	CHECK_EQ(sched_getaffinity(0, sizeof after, &after), 0);
	CHECK(CPU_EQUAL(&before, &after));
}

/* Two nodes, two cores each, as hwloc writes it; eth0 hangs on a bridge of the second node. */
static const char with_card_xml[] =
	"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
	"<!DOCTYPE topology SYSTEM \"hwloc2.dtd\">\n"
	"<topology version=\"2.0\">\n"
	"<object type=\"Machine\" os_index=\"0\" cpuset=\"0xf\" complete_cpuset=\"0xf\" "
	"allowed_cpuset=\"0xf\" nodeset=\"0x3\" complete_nodeset=\"0x3\" allowed_nodeset=\"0x3\" "
	"gp_index=\"1\">\n";

static void put_package(FILE *file, unsigned index, const char *below)
{
	unsigned cpus = 3u << 2 * index, node = 1u << index, id = 100 * (index + 1);

#define SETS "cpuset=\"0x%x\" complete_cpuset=\"0x%x\" nodeset=\"0x%x\" complete_nodeset=\"0x%x\""
	fprintf(file, "<object type=\"Package\" os_index=\"%u\" " SETS " gp_index=\"%u\">\n", index,
		cpus, cpus, node, node, id);
	fprintf(file,
		"<object type=\"NUMANode\" os_index=\"%u\" " SETS
		" gp_index=\"%u\" local_memory=\"1048576\"/>\n",
		index, cpus, cpus, node, node, id + 1);
	for (unsigned i = 0; i < 2; i++) {
		unsigned cpu = 2 * index + i, mask = 1u << cpu;

		fprintf(file, "<object type=\"Core\" os_index=\"%u\" " SETS " gp_index=\"%u\">\n",
			cpu, mask, mask, node, node, id + 10 + i);
		fprintf(file,
			"<object type=\"PU\" os_index=\"%u\" " SETS
			" gp_index=\"%u\"/>\n</object>\n",
			cpu, mask, mask, node, node, id + 20 + i);
	}
	fprintf(file, "%s</object>\n", below);
#undef SETS
}

static bool write_machine_with_card(const char *path)
{
	static const char bridge[] =
		"<object type=\"Bridge\" gp_index=\"50\" bridge_type=\"0-1\" depth=\"0\" "
		"bridge_pci=\"0000:[80-81]\">\n"
		"<object type=\"PCIDev\" gp_index=\"51\" pci_busid=\"0000:81:00.0\" "
		"pci_type=\"0200 [8086:1572] [0000:0000] 01\" pci_link_speed=\"0.000000\">\n"
		"<object type=\"OSDev\" gp_index=\"52\" name=\"eth7\" osdev_type=\"2\"/>\n"
		"</object>\n</object>\n";
	FILE *file = fopen(path, "w");

	if (!file)
		return false;
	fputs(with_card_xml, file);
	put_package(file, 0, "");
	put_package(file, 1, bridge);
	fputs("</object>\n</topology>\n", file);
	return !fclose(file);
}

TEST(cores_next_to_the_network_card_come_first)
{
	const struct topology_plan *plan;
	struct topology *topology;
	char path[300];

	snprintf(path, sizeof path, "%s/machine.xml", test_directory());
	REQUIRE(write_machine_with_card(path));
	setenv("HWLOC_XMLFILE", path, 1);
	REQUIRE(CHECK_OK(topology_open(0, &topology)));
	use_this_machine();
	plan = topology_plan(topology);
	CHECK_TEXT(plan->not_bound, "the topology comes from a file (HWLOC_XMLFILE)");
	CHECK_EQ(plan->cards_count, 1);
	CHECK_TEXT(plan->cards[0].name, "eth7");
	CHECK_EQ(plan->cards[0].node, 1);
	CHECK_EQ(plan->workers_count, 4);
	for (size_t i = 0; i < plan->workers_count; i++) {
		CHECK_EQ(plan->workers[i].node, i < 2);
		CHECK_EQ(plan->workers[i].near_card, i < 2);
	}
	topology_close(&topology);
}

/* ---- this machine ---- */

struct bound {
	const struct topology *topology;
	size_t worker;
	bool said;
	char why[TOPOLOGY_WHY_BYTES];
	cpu_set_t mask;
};

static void *bind_here(void *argument)
{
	struct bound *bound = argument;

	bound->said = topology_bind(bound->topology, bound->worker, bound->why);
	if (sched_getaffinity(0, sizeof bound->mask, &bound->mask))
		CPU_ZERO(&bound->mask);
	return NULL;
}

TEST(each_worker_of_this_machine_is_bound_to_its_cpu_and_to_no_other)
{
	struct bound bound = { 0 };
	struct topology *topology;
	pthread_t thread;

	REQUIRE(CHECK_OK(topology_open(0, &topology)));
	bound.topology = topology;
	for (; bound.worker < topology_plan(topology)->workers_count; bound.worker++) {
		REQUIRE(!pthread_create(&thread, NULL, bind_here, &bound));
		pthread_join(thread, NULL);
		CHECK(bound.said);
		CHECK_TEXT(bound.why, "");
		CHECK_EQ(CPU_COUNT(&bound.mask), 1);
		CHECK(CPU_ISSET(topology_plan(topology)->workers[bound.worker].cpu, &bound.mask));
	}
	topology_close(&topology);
}

/* hwloc is made to believe that this machine has two CPUs of numbers that it does not have. */
TEST(what_the_kernel_refuses_is_not_claimed)
{
	char why[TOPOLOGY_WHY_BYTES];
	struct topology *topology;
	enum err e;

	setenv("HWLOC_THISSYSTEM", "1", 1);
	e = open_synthetic("core:2 pu:1(indexes=900,901)", 0, &topology);
	unsetenv("HWLOC_THISSYSTEM");
	REQUIRE(CHECK_OK(e));
	CHECK(!topology_plan(topology)->not_bound);
	CHECK(!topology_bind(topology, 1, why));
	CHECK_TEXT(why, "the kernel does not bind the thread to CPU 901 (Invalid argument)");
	topology_close(&topology);
}

/* In a child, because the mask stays: 0 if the plan is one worker on that CPU and no second one. */
static int plan_on_one_cpu(void)
{
	const struct topology_plan *plan;
	struct topology *topology;
	cpu_set_t mask;
	unsigned last = 0;

	if (sched_getaffinity(0, sizeof mask, &mask))
		return 1;
	for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &mask))
			last = cpu;
	CPU_ZERO(&mask);
	CPU_SET(last, &mask);
	if (sched_setaffinity(0, sizeof mask, &mask) || topology_open(0, &topology))
		return 2;
	plan = topology_plan(topology);
	if (plan->workers_count != 1 || plan->workers[0].cpu != last || plan->usable_cpus != 1)
		return 3;
	topology_close(&topology);
	return topology_open(2, &topology) == ERR_INPUT_USAGE ? 0 : 4;
}

TEST(the_affinity_mask_is_obeyed)
{
	pid_t child = fork();
	int status = -1;

	REQUIRE(child >= 0);
	if (!child)
		_exit(plan_on_one_cpu());
	CHECK_EQ(waitpid(child, &status, 0), child);
	CHECK(WIFEXITED(status));
	CHECK_EQ(WEXITSTATUS(status), 0);
}

/* ---- quotas ---- */

/* Put `text` into a file below the test's directory, and make the folders on the way. */
static void put(const char *path, const char *text)
{
	char name[600];
	FILE *file;

	snprintf(name, sizeof name, "%s%s", test_directory(), path);
	for (char *at = name + 1; (at = strchr(at, '/')); at++) {
		*at = '\0';
		mkdir(name, 0700);
		*at = '/';
	}
	if (!(file = fopen(name, "w"))) {
		test_failed(__FILE__, __LINE__, "cannot write %s", name);
		return;
	}
	fputs(text, file);
	fclose(file);
}

TEST(without_control_groups_there_is_no_quota)
{
	CHECK_EQ(topology_quota(test_directory()), 0);
}

TEST(the_smallest_quota_of_a_version_2_group_and_its_parents_counts)
{
	put("/proc/self/cgroup", "0::/night.slice/haul.service\n");
	put("/proc/self/mountinfo",
	    "22 1 0:20 / /proc rw - proc proc rw\n"
	    "35 24 0:30 / /cg rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n");
	CHECK_EQ(topology_quota(test_directory()), 0);
	put("/cg/night.slice/haul.service/cpu.max", "max 100000\n");
	CHECK_EQ(topology_quota(test_directory()), 0);
	put("/cg/night.slice/haul.service/cpu.max", "400000 100000\n");
	CHECK_EQ(topology_quota(test_directory()), 4000);
	put("/cg/night.slice/cpu.max", "150001 100000\n");
	CHECK_EQ(topology_quota(test_directory()), 1501);
	put("/cg/night.slice/haul.service/cpu.max", "1000 100000\n");
	CHECK_EQ(topology_quota(test_directory()), 10);
}

TEST(a_version_1_quota_counts_in_a_container_that_sees_its_own_group_only)
{
	put("/proc/self/cgroup", "5:cpuset:/\n4:cpu,cpuacct:/docker/abc\n0::/\n");
	put("/proc/self/mountinfo",
	    "31 30 0:29 /docker/abc /cg/cpuset rw - cgroup cgroup rw,cpuset\n"
	    "32 30 0:30 /docker/abc /cg/cpu rw - cgroup cgroup rw,cpu,cpuacct\n");
	put("/cg/cpu/cpu.cfs_quota_us", "-1\n");
	put("/cg/cpu/cpu.cfs_period_us", "100000\n");
	CHECK_EQ(topology_quota(test_directory()), 0);
	put("/cg/cpu/cpu.cfs_quota_us", "250000\n");
	CHECK_EQ(topology_quota(test_directory()), 2500);
	put("/proc/self/cgroup", "4:cpu,cpuacct:/docker/abc/part\n0::/\n");
	CHECK_EQ(topology_quota(test_directory()), 2500);
	put("/cg/cpu/part/cpu.cfs_quota_us", "50000\n");
	put("/cg/cpu/part/cpu.cfs_period_us", "200000\n");
	CHECK_EQ(topology_quota(test_directory()), 250);
	put("/cg/cpu/part/cpu.cfs_quota_us", "-1\n");
	put("/cg/cpuset/cpu.cfs_quota_us", "1000\n");
	put("/cg/cpuset/cpu.cfs_period_us", "100000\n");
	CHECK_EQ(topology_quota(test_directory()), 2500);
}
