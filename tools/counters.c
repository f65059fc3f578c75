/* See counters.h. */
#include "tools/counters.h"

#include <malloc.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "engine/budget.h"
#include "engine/chunk.h"
#include "engine/clock.h"
#include "engine/ledger.h"

/* ---- collecting ---- */

void counters_take(struct counters *to)
{
	const struct counters none = { 0 };
	struct counters mine = none;
	struct arena *arena = arena_current();

	mine.shards = 1;
	mine.fibers = fiber_counts();
	if (scheduler_ring())
		mine.ring = *ring_counts(scheduler_ring());
	if (arena) {
		mine.arena_chunks = arena_counts(arena).chunks;
		mine.arena_loans = arena_counts(arena).loans;
	}
	for (unsigned why = 0; why < BYTES_WHY_COUNT; why++)
		mine.copied[why] = bytes_copied((enum bytes_why)why);
	counters_add(to, &mine);
}

static void add_fibers(struct fiber_counts *to, const struct fiber_counts *more)
{
	to->spawned += more->spawned;
	to->switches += more->switches;
	to->stack_bytes_high = max_u64(to->stack_bytes_high, more->stack_bytes_high);
	if (more->longest_run > to->longest_run) {
		to->longest_run = more->longest_run;
		to->longest_name = more->longest_name;
	}
}

void counters_add(struct counters *to, const struct counters *more)
{
	add_fibers(&to->fibers, &more->fibers);
	to->ring.enters += more->ring.enters;
	to->ring.operations += more->ring.operations;
	to->ring.completions += more->ring.completions;
	to->ring.recv_starved += more->ring.recv_starved;
	to->ring.recv_bytes += more->ring.recv_bytes;
	to->ring.send_bytes += more->ring.send_bytes;
	to->arena_chunks += more->arena_chunks;
	to->arena_loans += more->arena_loans;
	for (unsigned why = 0; why < BYTES_WHY_COUNT; why++)
		to->copied[why] += more->copied[why];
	to->shards += more->shards;
}

/* ---- memory of the process ---- */

/* A line like "VmHWM:	   12345 kB" of /proc/self/status; 0 where there is none. */
static uint64_t status_bytes(const char *name)
{
	FILE *file = fopen("/proc/self/status", "re");
	unsigned long long kib = 0;
	char line[128];

	while (file && fgets(line, sizeof line, file))
		if (strncmp(line, name, strlen(name)) == 0)
			kib = strtoull(line + strlen(name), NULL, 10);
	if (file)
		fclose(file);
	return (uint64_t)kib * 1024;
}

static size_t allocated(void)
{
	struct mallinfo2 info = mallinfo2();

	return info.uordblks + info.hblkhd;
}

static size_t allocated_before;

void counters_begin(void)
{
	allocated_before = allocated();
	budget_take(BUDGET_PROGRAM, status_bytes("VmRSS:"));
}

void counters_listed(void)
{
	size_t after = allocated();

	budget_take(BUDGET_WAITING, after > allocated_before ? after - allocated_before : 0);
}

static uint64_t part_high(enum budget_part part)
{
	return part == BUDGET_LEDGER ? ledger_memory_high() : budget_high(part);
}

/* ---- telling ---- */

static double cpu_seconds(void)
{
	struct rusage usage;

	if (getrusage(RUSAGE_SELF, &usage))
		return 0;
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* Payload that was copied, by what was moved. */
static double copies_per_byte(const struct counters *counters)
{
	uint64_t copied = 0;

	for (unsigned why = 0; why < BYTES_WHY_COUNT; why++)
		if (why != BYTES_META)
			copied += counters->copied[why];
	return counters->payload_bytes ? (double)copied / (double)counters->payload_bytes : 0;
}

enum { NUMBERS = 12 };
struct number {
	const char *name;
	uint64_t value;
};

static void numbers_of(const struct counters *counters, struct number to[NUMBERS])
{
	const struct number numbers[NUMBERS] = {
		{ "ring_enters", counters->ring.enters },
		{ "ring_operations", counters->ring.operations },
		{ "ring_completions", counters->ring.completions },
		{ "ring_recv_starved", counters->ring.recv_starved },
		{ "ring_recv_bytes", counters->ring.recv_bytes },
		{ "ring_send_bytes", counters->ring.send_bytes },
		{ "fiber_spawned", counters->fibers.spawned },
		{ "fiber_switches", counters->fibers.switches },
		{ "fiber_stack_bytes_high", counters->fibers.stack_bytes_high },
		{ "fiber_longest_us", (uint64_t)(counters->fibers.longest_run / NSEC_MICROSECOND) },
		{ "arena_chunks", counters->arena_chunks },
		{ "arena_loans", counters->arena_loans },
	};

	for (unsigned i = 0; i < NUMBERS; i++)
		to[i] = numbers[i];
}

static void memory_line(FILE *to, const char *name, uint64_t high, uint64_t bound, const char *what)
{
	char full[48];

	snprintf(full, sizeof full, "memory_%s", name);
	fprintf(to, "stats %-24s %llu of %llu  %s\n", full, (unsigned long long)high,
		(unsigned long long)bound, what);
}

static void memory_text(FILE *to)
{
	for (unsigned part = 0; part < BUDGET_PARTS; part++)
		memory_line(to, budget_part_name(part), part_high(part), budget_bound(part),
			    budget_part_text(part));
	memory_line(to, "all", status_bytes("VmHWM:"), budget_bound_sum(),
		    "the process's peak resident memory");
	fprintf(to, "stats %-24s %llu\n", "memory_promised", (unsigned long long)budget_promise());
}

void counters_text(const struct counters *counters, FILE *to)
{
	struct number numbers[NUMBERS];
	char name[48];

	numbers_of(counters, numbers);
	for (unsigned i = 0; i < NUMBERS; i++)
		fprintf(to, "stats %-24s %llu\n", numbers[i].name,
			(unsigned long long)numbers[i].value);
	fprintf(to, "stats %-24s %s\n", "fiber_longest",
		counters->fibers.longest_name ? counters->fibers.longest_name : "none");
	for (unsigned why = 0; why < BYTES_WHY_COUNT; why++) {
		snprintf(name, sizeof name, "copied_%s", bytes_why_name((enum bytes_why)why));
		fprintf(to, "stats %-24s %llu\n", name, (unsigned long long)counters->copied[why]);
	}
	fprintf(to, "stats %-24s %.3f\n", "copies_per_byte", copies_per_byte(counters));
	fprintf(to, "stats %-24s %.3f\n", "cpu_seconds", cpu_seconds());
	memory_text(to);
}

static void memory_json(struct json_out *json)
{
	json_object_begin(json, "memory");
	for (unsigned part = 0; part < BUDGET_PARTS; part++) {
		json_object_begin(json, budget_part_name(part));
		json_number(json, "high", part_high(part));
		json_number(json, "bound", budget_bound(part));
		json_object_end(json);
	}
	json_number(json, "high", status_bytes("VmHWM:"));
	json_number(json, "bound", budget_bound_sum());
	json_number(json, "promised", budget_promise());
	json_object_end(json);
}

void counters_json(const struct counters *counters, struct json_out *json)
{
	struct number numbers[NUMBERS];

	json_object_begin(json, "stats");
	numbers_of(counters, numbers);
	for (unsigned i = 0; i < NUMBERS; i++)
		json_number(json, numbers[i].name, numbers[i].value);
	json_object_begin(json, "copied");
	for (unsigned why = 0; why < BYTES_WHY_COUNT; why++)
		json_number(json, bytes_why_name((enum bytes_why)why), counters->copied[why]);
	json_object_end(json);
	json_number_decimal(json, "copies_per_byte", copies_per_byte(counters));
	json_number_decimal(json, "cpu_seconds", cpu_seconds());
	memory_json(json);
	json_object_end(json);
}
