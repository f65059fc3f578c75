/* mailhaul topology: which worker a run would place where on this machine, and whether the kernel
 * lets it. */
#include "engine/topology.h"

#include "tools/commands.h"
#include "tools/hints.h"
#include "tools/json_out.h"
#include "tools/terminal.h"
#include "tools/units.h"

struct topology_options {
	uint64_t workers;
	bool json;
};

/* Nothing runs in this process yet, so its one thread tries every place in turn. */
static bool try_binding(const struct topology *topology, char why[TOPOLOGY_WHY_BYTES])
{
	for (size_t i = 0; i < topology_plan(topology)->workers_count; i++)
		if (!topology_bind(topology, i, why))
			return false;
	return true;
}

/* ---- text ---- */

static void tell_machine(const struct topology_plan *plan)
{
	printf("Machine: %u package%s, %zu NUMA node%s, %u core%s, %u CPU%s\n", plan->packages,
	       units_plural(plan->packages), plan->nodes_count, units_plural(plan->nodes_count),
	       plan->cores, units_plural(plan->cores), plan->cpus, units_plural(plan->cpus));
	for (const struct topology_node *node = plan->nodes; node < plan->nodes + plan->nodes_count;
	     node++) {
		char memory[UNITS_TEXT_BYTES];

		printf("  node %d: package %u, CPUs %s", node->number, node->package,
		       *node->cpus ? node->cpus : "none");
		if (node->memory_bytes)
			printf(", memory %s", units_bytes(memory, node->memory_bytes));
		putchar('\n');
	}
	printf("Usable: %u core%s, %u CPU%s (%s)\n", plan->usable_cores,
	       units_plural(plan->usable_cores), plan->usable_cpus, units_plural(plan->usable_cpus),
	       plan->usable);
	if (plan->quota_thousandths)
		printf("Quota: the control group allows the time of %.3g CPUs\n",
		       plan->quota_thousandths / 1000.0);
}

static void tell_cards(const struct topology_plan *plan)
{
	if (!plan->cards_count)
		printf("Network: no card found\n");
	for (const struct topology_card *card = plan->cards; card < plan->cards + plan->cards_count;
	     card++) {
		char name[2 * sizeof card->name];

		printf("Network: %s%s, ", terminal_text(name, sizeof name, card->name),
		       card->up ? " (up)" : "");
		if (card->node == TOPOLOGY_NODE_UNKNOWN)
			printf("node not known\n");
		else
			printf("next to node %d\n", card->node);
	}
}

static void tell_workers(const struct topology_plan *plan)
{
	printf("Workers: %zu\n", plan->workers_count);
	for (size_t i = 0; i < plan->workers_count; i++) {
		const struct topology_worker *worker = &plan->workers[i];

		printf("  worker %zu: CPU %u, core %u, package %u, ", i, worker->cpu, worker->core,
		       worker->package);
		if (worker->node == TOPOLOGY_NODE_UNKNOWN)
			printf("node not known");
		else
			printf("node %d", worker->node);
		printf("%s%s\n", worker->near_card ? ", near the network card" : "",
		       worker->shares_core ? ", second thread of its core" : "");
	}
}

static void tell_text(const struct topology *topology)
{
	const struct topology_plan *plan = topology_plan(topology);
	char why[TOPOLOGY_WHY_BYTES];

	tell_machine(plan);
	tell_cards(plan);
	tell_workers(plan);
	if (!try_binding(topology, why))
		printf("Not bound: %s.\n", why);
	else
		printf("Bound: each worker to its CPU%s (tried).\n",
		       plan->nodes_count > 1 ? ", its memory to its node" : "");
}

/* ---- JSON ---- */

static void json_node(struct json_out *json, int node)
{
	if (node == TOPOLOGY_NODE_UNKNOWN)
		json_null(json, "node");
	else
		json_signed(json, "node", node);
}

static void tell_machine_json(struct json_out *json, const struct topology_plan *plan)
{
	json_number(json, "packages", plan->packages);
	json_number(json, "cores", plan->cores);
	json_number(json, "cpus", plan->cpus);
	json_array_begin(json, "nodes");
	for (size_t i = 0; i < plan->nodes_count; i++) {
		json_object_begin(json, NULL);
		json_node(json, plan->nodes[i].number);
		json_number(json, "package", plan->nodes[i].package);
		json_text(json, "cpus", plan->nodes[i].cpus);
		json_number(json, "memory_bytes", plan->nodes[i].memory_bytes);
		json_object_end(json);
	}
	json_array_end(json);
	json_number(json, "usable_cores", plan->usable_cores);
	json_number(json, "usable_cpus", plan->usable_cpus);
	json_text(json, "usable", plan->usable);
	if (plan->quota_thousandths)
		json_number_decimal(json, "quota_cpus", plan->quota_thousandths / 1000.0);
	else
		json_null(json, "quota_cpus");
	json_number(json, "workers_max", plan->workers_max);
	json_array_begin(json, "network");
	for (size_t i = 0; i < plan->cards_count; i++) {
		json_object_begin(json, NULL);
		json_text(json, "name", plan->cards[i].name);
		json_bool(json, "up", plan->cards[i].up);
		json_node(json, plan->cards[i].node);
		json_object_end(json);
	}
	json_array_end(json);
}

static void tell_workers_json(struct json_out *json, const struct topology_plan *plan)
{
	json_array_begin(json, "workers");
	for (size_t i = 0; i < plan->workers_count; i++) {
		const struct topology_worker *worker = &plan->workers[i];

		json_object_begin(json, NULL);
		json_number(json, "worker", i);
		json_number(json, "cpu", worker->cpu);
		json_number(json, "core", worker->core);
		json_number(json, "package", worker->package);
		json_node(json, worker->node);
		json_bool(json, "near_card", worker->near_card);
		json_bool(json, "shares_core", worker->shares_core);
		json_object_end(json);
	}
	json_array_end(json);
}

static void tell_json(const struct topology *topology)
{
	const struct topology_plan *plan = topology_plan(topology);
	struct json_out json = { .file = stdout };
	char why[TOPOLOGY_WHY_BYTES];
	bool bound = try_binding(topology, why);

	json_object_begin(&json, NULL);
	tell_machine_json(&json, plan);
	tell_workers_json(&json, plan);
	json_bool(&json, "bound", bound);
	if (bound)
		json_null(&json, "not_bound");
	else
		json_text(&json, "not_bound", why);
	json_object_end(&json);
	json_line_end(&json);
}

/* ---- the command ---- */

static int topology_main(int count, char *const *words)
{
	struct topology_options values = { 0 };
	struct topology *topology;
	struct opt_words arguments;
	int exit_code;
	enum err e;

	if (!command_parse(topology_command.usage, count, words, &values, &arguments, &exit_code))
		return exit_code;
	if ((e = topology_open((unsigned)values.workers, &topology)))
		return hint_fail("topology", e);
	if (values.json)
		tell_json(topology);
	else
		tell_text(topology);
	topology_close(&topology);
	return command_finish_output("topology", EXIT_ALL_MOVED);
}

static const struct opt options[] = {
	{ .name = "workers",
	  OPT_STORES_NUMBER(struct topology_options, workers),
	  .value = "N",
	  .max = UINT32_MAX,
	  .initial = "0",
	  .help = "Show where this many workers would run. 0: one per usable core, but no more "
		  "than the control group's CPU quota has use for." },
	{ .name = "json",
	  OPT_STORES_FLAG(struct topology_options, json),
	  .help = "Print one JSON object." },
};

static const struct opt_command usage = {
	.name = "topology",
	.arguments = "",
	.summary = "show where the workers of a run would be placed",
	.about = "Show the machine's packages, NUMA nodes, cores and network cards as far as this "
		 "process may use them (its CPU affinity, cpuset and quota are obeyed), and the "
		 "CPU that each worker of a run would be bound to: one per core, next to the "
		 "network card first, second hyperthreads last. Binding is tried; if the kernel "
		 "does not do it, the last line says why.\n"
		 "\n"
		 "HWLOC_SYNTHETIC plans for another machine, with nothing bound; see hwloc(7).\n",
	.options = options,
	.options_count = ARRAY_COUNT(options),
	.examples = "  mailhaul topology\n"
		    "  taskset -c 0-3 mailhaul topology --workers 2 --json\n"
		    "  HWLOC_SYNTHETIC='pack:2 numa:1 core:8 pu:2' mailhaul topology\n",
};

const struct command topology_command = { &usage, topology_main };
