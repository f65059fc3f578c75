#include "engine/topology.h"

#include <errno.h>
#include <hwloc.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engine/topology_quota.h"

struct topology {
	hwloc_topology_t machine;
	hwloc_bitmap_t usable;	   /* CPUs: allowed by the cpuset and in the affinity mask */
	hwloc_bitmap_t near_nodes; /* next to the network card; empty where that is not known */
	struct topology_plan plan;
};

/* A hardware thread that a worker might get, and what decides its place in the order. */
struct seat {
	struct topology_worker worker;
	unsigned thread; /* 0: the first usable one of its core */
	unsigned turn;	 /* of the seats of its node with the same `thread` */
	unsigned order;	 /* hwloc's, which keeps neighbours together */
};

static enum err no_memory(void)
{
	return RAISE(ERR_MEMORY_EXHAUSTED, "planning the workers");
}

static bool from_environment(const char *name, const char **text)
{
	*text = getenv(name);
	return *text && **text;
}

/* hwloc reads these variables itself, but falls back to this machine, silently, where they hold
 * nothing that it understands; then a test of a plan would test another one. */
static enum err choose_machine(struct topology *topology)
{
	const char *text;
	char shown[160];

	if (from_environment("HWLOC_SYNTHETIC", &text)) {
		if (hwloc_topology_set_synthetic(topology->machine, text))
			return RAISE(ERR_INPUT_USAGE,
				     "HWLOC_SYNTHETIC is \"%s\", not a topology as in "
				     "\"pack:2 numa:1 core:8 pu:2\"; correct it, or unset it to "
				     "use this machine's",
				     err_quote(shown, sizeof shown, text_of(text)));
		topology->plan.not_bound = "the topology is synthetic (HWLOC_SYNTHETIC)";
	} else if (from_environment("HWLOC_XMLFILE", &text)) {
		if (hwloc_topology_set_xml(topology->machine, text))
			return RAISE(ERR_INPUT_USAGE,
				     "HWLOC_XMLFILE is \"%s\", not a file that hwloc wrote; "
				     "correct it, or unset it to use this machine's topology",
				     err_quote(shown, sizeof shown, text_of(text)));
		topology->plan.not_bound = "the topology comes from a file (HWLOC_XMLFILE)";
	}
	return OK;
}

/* Of the devices only network cards are of interest, and those are in /sys. These components load
 * the drivers of graphics cards or libpciaccess (which leaks) to find out more. A component that is
 * not installed cannot be left out, which is no fault. */
static void leave_out_components(hwloc_topology_t machine)
{
	static const char *const names[] = { "pci",  "opencl", "cuda",	   "nvml",
					     "rsmi", "gl",     "levelzero" };

	for (size_t i = 0; i < ARRAY_COUNT(names); i++)
		(void)hwloc_topology_set_components(
			machine, HWLOC_TOPOLOGY_COMPONENTS_FLAG_BLACKLIST, names[i]);
}

static enum err load(struct topology *topology)
{
	enum err e;

	if (hwloc_topology_init(&topology->machine)) {
		topology->machine = NULL;
		return no_memory();
	}
	leave_out_components(topology->machine);
	if ((e = choose_machine(topology)))
		return e;
	if (hwloc_topology_set_io_types_filter(topology->machine,
					       HWLOC_TYPE_FILTER_KEEP_IMPORTANT) ||
	    hwloc_topology_load(topology->machine))
		return RAISE_ERRNO(ERR_TOPOLOGY_UNREADABLE, errno, "reading /sys through hwloc");
	if (hwloc_topology_is_thissystem(topology->machine))
		topology->plan.not_bound = NULL; /* HWLOC_THISSYSTEM=1 vouches for it */
	else if (!topology->plan.not_bound)
		topology->plan.not_bound = "the topology is not this machine's";
	return OK;
}

static unsigned count_of(const struct topology *topology, hwloc_obj_type_t type)
{
	int count = hwloc_get_nbobjs_by_type(topology->machine, type);

	return count > 0 ? (unsigned)count : 0;
}

static unsigned package_of(const struct topology *topology, hwloc_const_cpuset_t cpus)
{
	hwloc_obj_t package = NULL;

	while ((package =
			hwloc_get_next_obj_by_type(topology->machine, HWLOC_OBJ_PACKAGE, package)))
		if (hwloc_bitmap_intersects(package->cpuset, cpus))
			return package->logical_index;
	return 0;
}

/* On another machine's topology nothing of this process applies. */
static enum err find_usable(struct topology *topology)
{
	struct topology_plan *plan = &topology->plan;

	topology->usable = hwloc_bitmap_dup(hwloc_topology_get_allowed_cpuset(topology->machine));
	topology->near_nodes = hwloc_bitmap_alloc();
	if (!topology->usable || !topology->near_nodes)
		return no_memory();
	if (!plan->not_bound) {
		hwloc_bitmap_t mask = hwloc_bitmap_alloc();

		if (!mask)
			return no_memory();
		if (!hwloc_get_cpubind(topology->machine, mask, HWLOC_CPUBIND_THREAD) &&
		    hwloc_bitmap_intersects(mask, topology->usable))
			hwloc_bitmap_and(topology->usable, topology->usable, mask);
		hwloc_bitmap_free(mask);
		plan->quota_thousandths = topology_quota("");
	}
	plan->packages = count_of(topology, HWLOC_OBJ_PACKAGE);
	plan->cores = count_of(topology, HWLOC_OBJ_CORE);
	plan->cpus = count_of(topology, HWLOC_OBJ_PU);
	hwloc_bitmap_list_snprintf(plan->usable, sizeof plan->usable, topology->usable);
	return OK;
}

static enum err find_nodes(struct topology *topology)
{
	struct topology_plan *plan = &topology->plan;
	hwloc_obj_t object = NULL;

	if (!(plan->nodes =
		      calloc(count_of(topology, HWLOC_OBJ_NUMANODE) + 1, sizeof *plan->nodes)))
		return no_memory();
	while ((object = hwloc_get_next_obj_by_type(topology->machine, HWLOC_OBJ_NUMANODE,
						    object))) {
		struct topology_node *node = &plan->nodes[plan->nodes_count++];

		node->number = (int)object->os_index;
		node->package = package_of(topology, object->cpuset);
		node->memory_bytes = object->attr->numanode.local_memory;
		hwloc_bitmap_list_snprintf(node->cpus, sizeof node->cpus, object->cpuset);
	}
	return OK;
}

/* ---- network cards ---- */

static bool is_card(hwloc_obj_t device)
{
	return device->attr->osdev.type == HWLOC_OBJ_OSDEV_NETWORK && device->name &&
	       strcmp(device->name, "lo") != 0;
}

/* RFC 2863's ifOperStatus as Linux shows it; "unknown" is what drivers say that do not know. Of
 * another machine's cards nothing is known. */
static bool card_is_up(const struct topology *topology, const char *name)
{
	char path[80], state[16] = "";
	FILE *file;

	if (topology->plan.not_bound)
		return false;
	snprintf(path, sizeof path, "/sys/class/net/%.31s/operstate", name);
	if (!(file = fopen(path, "re")))
		return false;
	if (!fgets(state, sizeof state, file))
		state[0] = '\0';
	fclose(file);
	return !strcmp(state, "up\n");
}

/* Next to which nodes the device is; NULL where it hangs on the machine as a whole and that has
 * several, which is how hwloc shows that the firmware does not say. */
static hwloc_const_nodeset_t nodes_near(const struct topology *topology, hwloc_obj_t device)
{
	hwloc_obj_t place = hwloc_get_non_io_ancestor_obj(topology->machine, device);
	int near = place && place->nodeset ? hwloc_bitmap_weight(place->nodeset) : 0;

	return near == 1 || (near > 0 && (size_t)near < topology->plan.nodes_count) ? place->nodeset
										    : NULL;
}

/* Cards that are up decide; without any, all of them do. */
static enum err find_cards(struct topology *topology)
{
	struct topology_plan *plan = &topology->plan;
	hwloc_const_nodeset_t near;
	bool decided_by_up = false;
	hwloc_obj_t device = NULL;

	if (!(plan->cards =
		      calloc(count_of(topology, HWLOC_OBJ_OS_DEVICE) + 1, sizeof *plan->cards)))
		return no_memory();
	while ((device = hwloc_get_next_osdev(topology->machine, device))) {
		struct topology_card *card = &plan->cards[plan->cards_count];

		if (!is_card(device))
			continue;
		plan->cards_count++;
		snprintf(card->name, sizeof card->name, "%s", device->name);
		card->up = card_is_up(topology, device->name);
		near = nodes_near(topology, device);
		card->node = near ? hwloc_bitmap_first(near) : TOPOLOGY_NODE_UNKNOWN;
		if (!near || (decided_by_up && !card->up))
			continue;
		if (card->up && !decided_by_up)
			hwloc_bitmap_zero(topology->near_nodes);
		decided_by_up = card->up;
		hwloc_bitmap_or(topology->near_nodes, topology->near_nodes, near);
	}
	return OK;
}

/* ---- the order of the workers ---- */

static int order_of(long long a, long long b)
{
	return (a > b) - (a < b);
}

/* Whole cores before second hyperthreads; next to the network card before the rest; then one node
 * after the other in turn, so that few workers already have every node's memory bandwidth. */
static int compare_seats(const void *left, const void *right)
{
	const struct seat *a = left, *b = right;
	int order;

	if ((order = order_of(a->thread, b->thread)) ||
	    (order = order_of(b->worker.near_card, a->worker.near_card)) ||
	    (order = order_of(a->turn, b->turn)) ||
	    (order = order_of(a->worker.node, b->worker.node)))
		return order;
	return order_of(a->order, b->order);
}

/* A CPU without a core above it (some virtual machines, some synthetic ones) is a core. */
static void fill_seat(const struct topology *topology, hwloc_obj_t cpu, struct seat *seats,
		      unsigned index)
{
	hwloc_obj_t core = hwloc_get_ancestor_obj_by_type(topology->machine, HWLOC_OBJ_CORE, cpu);
	struct seat *seat = &seats[index];

	*seat = (struct seat){
		.order = index,
		.worker = { .cpu = cpu->os_index,
			    .core = core ? core->logical_index : cpu->logical_index,
			    .package = package_of(topology, cpu->cpuset),
			    .node = hwloc_bitmap_first(cpu->nodeset) },
	};
	seat->worker.near_card =
		seat->worker.node != TOPOLOGY_NODE_UNKNOWN &&
		hwloc_bitmap_isset(topology->near_nodes, (unsigned)seat->worker.node);
	for (unsigned i = 0; i < index; i++)
		seat->thread += seats[i].worker.core == seat->worker.core;
	for (unsigned i = 0; i < index; i++)
		seat->turn += seats[i].worker.node == seat->worker.node &&
			      seats[i].thread == seat->thread;
	seat->worker.shares_core = seat->thread > 0;
}

static enum err find_seats(const struct topology *topology, struct seat **out, unsigned *count)
{
	struct seat *seats = calloc(topology->plan.cpus + 1, sizeof *seats);
	hwloc_obj_t cpu = NULL;

	if (!seats)
		return no_memory();
	*count = 0;
	while ((cpu = hwloc_get_next_obj_by_type(topology->machine, HWLOC_OBJ_PU, cpu)))
		if (hwloc_bitmap_isset(topology->usable, cpu->os_index))
			fill_seat(topology, cpu, seats, (*count)++);
	must(*count > 0);
	qsort(seats, *count, sizeof *seats, compare_seats);
	*out = seats;
	return OK;
}

static enum err refuse(const struct topology_plan *plan, unsigned wanted)
{
	if (plan->workers_max < plan->usable_cpus)
		return RAISE(ERR_INPUT_USAGE,
			     "%u workers are asked for, but the control group's CPU quota is "
			     "%u.%03u CPUs: ask for at most %u, or 0 for the best number",
			     wanted, plan->quota_thousandths / 1000, plan->quota_thousandths % 1000,
			     plan->workers_max);
	return RAISE(ERR_INPUT_USAGE,
		     "%u workers are asked for, but this process may use %u CPU%s (%s): ask for "
		     "at most %u, or 0 for one per core",
		     wanted, plan->usable_cpus, plan->usable_cpus == 1 ? "" : "s", plan->usable,
		     plan->workers_max);
}

static enum err choose_workers(struct topology *topology, unsigned wanted)
{
	struct topology_plan *plan = &topology->plan;
	struct seat *seats = NULL;
	enum err e;

	if ((e = find_seats(topology, &seats, &plan->usable_cpus)))
		return e;
	for (unsigned i = 0; i < plan->usable_cpus; i++)
		plan->usable_cores += seats[i].thread == 0;
	plan->workers_max = plan->usable_cpus;
	if (plan->quota_thousandths)
		plan->workers_max = (unsigned)min_u64(
			plan->workers_max, ((uint64_t)plan->quota_thousandths + 999) / 1000);
	if (wanted > plan->workers_max) {
		e = refuse(plan, wanted);
		goto out;
	}
	if (!wanted)
		wanted = (unsigned)min_u64(plan->usable_cores, plan->workers_max);
	if (!(plan->workers = calloc(wanted, sizeof *plan->workers))) {
		e = no_memory();
		goto out;
	}
	for (; plan->workers_count < wanted; plan->workers_count++)
		plan->workers[plan->workers_count] = seats[plan->workers_count].worker;
out:
	free(seats);
	return e;
}

enum err topology_open(unsigned workers_wanted, struct topology **out)
{
	struct topology *topology = calloc(1, sizeof *topology);
	enum err e;

	if (!topology)
		return no_memory();
	if ((e = load(topology)) || (e = find_usable(topology)) || (e = find_nodes(topology)) ||
	    (e = find_cards(topology)) || (e = choose_workers(topology, workers_wanted)))
		topology_close(&topology);
	*out = topology;
	return e;
}

void topology_close(struct topology **topology)
{
	struct topology *t = *topology;

	*topology = NULL;
	if (!t)
		return;
	free(t->plan.nodes);
	free(t->plan.cards);
	free(t->plan.workers);
	hwloc_bitmap_free(t->usable);
	hwloc_bitmap_free(t->near_nodes);
	if (t->machine)
		hwloc_topology_destroy(t->machine);
	free(t);
}

const struct topology_plan *topology_plan(const struct topology *topology)
{
	return &topology->plan;
}

/* ---- binding ---- */

/* The kernel's own word, without hwloc in between: hwloc's calls succeed where they do nothing.
 * 8192 CPUs and 1024 nodes are the most that Linux is built for. */
static bool is_on_cpu(unsigned cpu)
{
	cpu_set_t mask[8192 / CPU_SETSIZE];

	return !sched_getaffinity(0, sizeof mask, mask) && CPU_COUNT_S(sizeof mask, mask) == 1 &&
	       CPU_ISSET_S(cpu, sizeof mask, mask);
}

static bool is_on_node(unsigned node)
{
	enum { NODES_MAX = 1024, BITS = 8 * sizeof(unsigned long) };
	unsigned long mask[NODES_MAX / BITS] = { 0 };
	unsigned nodes = 0;
	int mode;

	if (node >= NODES_MAX || syscall(SYS_get_mempolicy, &mode, mask, NODES_MAX, NULL, 0))
		return false;
	for (size_t i = 0; i < ARRAY_COUNT(mask); i++)
		nodes += (unsigned)__builtin_popcountl(mask[i]);
	return mode != MPOL_DEFAULT && nodes == 1 && (mask[node / BITS] >> node % BITS & 1);
}

static bool bind_cpu(const struct topology *topology, unsigned cpu, hwloc_bitmap_t set)
{
	errno = ENOSYS; /* what it means where hwloc does not say */
	hwloc_bitmap_only(set, cpu);
	return !hwloc_set_cpubind(topology->machine, set,
				  HWLOC_CPUBIND_THREAD | HWLOC_CPUBIND_STRICT) &&
	       is_on_cpu(cpu);
}

/* Not HWLOC_MEMBIND_STRICT: that is MPOL_BIND, with which a node that is full has the process
 * killed while another has room (set_mempolicy(2)). Without it the node is preferred. */
static bool bind_memory(const struct topology *topology, unsigned node, hwloc_bitmap_t set)
{
	errno = ENOSYS;
	hwloc_bitmap_only(set, node);
	return !hwloc_set_membind(topology->machine, set, HWLOC_MEMBIND_BIND,
				  HWLOC_MEMBIND_THREAD | HWLOC_MEMBIND_BYNODESET) &&
	       is_on_node(node);
}

static void bind_worker(const struct topology *topology, const struct topology_worker *worker,
			hwloc_bitmap_t set, char why[TOPOLOGY_WHY_BYTES])
{
	if (!bind_cpu(topology, worker->cpu, set))
		snprintf(why, TOPOLOGY_WHY_BYTES,
			 "the kernel does not bind the thread to CPU %u (%s)", worker->cpu,
			 strerrordesc_np(errno));
	else if (topology->plan.nodes_count > 1 && worker->node != TOPOLOGY_NODE_UNKNOWN &&
		 !bind_memory(topology, (unsigned)worker->node, set))
		snprintf(why, TOPOLOGY_WHY_BYTES,
			 "the thread is on CPU %u, but the kernel does not bind its memory to "
			 "node %d (%s)",
			 worker->cpu, worker->node, strerrordesc_np(errno));
}

bool topology_bind(const struct topology *topology, size_t worker, char why[TOPOLOGY_WHY_BYTES])
{
	const struct topology_plan *plan = &topology->plan;
	hwloc_bitmap_t set = NULL;

	must(worker < plan->workers_count);
	why[0] = '\0';
	if (plan->not_bound)
		snprintf(why, TOPOLOGY_WHY_BYTES, "%s", plan->not_bound);
	else if (!(set = hwloc_bitmap_alloc()))
		snprintf(why, TOPOLOGY_WHY_BYTES, "%s", err_text(ERR_MEMORY_EXHAUSTED));
	else
		bind_worker(topology, &plan->workers[worker], set, why);
	hwloc_bitmap_free(set);
	return !why[0];
}
