#include "tools/counters.h"

#include "engine/bytes.h"
#include "engine/chunk.h"
#include "engine/clock.h"
#include "engine/fiber.h"
#include "engine/ring.h"

static void print(FILE *to, const char *name, uint64_t value)
{
	fprintf(to, "stats %-24s %llu\n", name, (unsigned long long)value);
}

static void print_ring(FILE *to, const struct ring_counts *counts)
{
	print(to, "ring.enters", counts->enters);
	print(to, "ring.operations", counts->operations);
	print(to, "ring.completions", counts->completions);
	print(to, "ring.recv_starved", counts->recv_starved);
	print(to, "ring.recv_bytes", counts->recv_bytes);
	print(to, "ring.send_bytes", counts->send_bytes);
}

static void print_fibers(FILE *to, const struct fiber_counts *counts)
{
	print(to, "fiber.spawned", counts->spawned);
	print(to, "fiber.switches", counts->switches);
	print(to, "fiber.stack_bytes_high", counts->stack_bytes_high);
	fprintf(to, "stats %-24s %lld (%s)\n", "fiber.longest_us",
		(long long)(counts->longest_run / NSEC_MICROSECOND),
		counts->longest_name ? counts->longest_name : "none");
}

void counters_print(FILE *to)
{
	struct fiber_counts fibers = fiber_counts();
	struct arena *arena = arena_current();
	char name[48];

	if (scheduler_ring())
		print_ring(to, ring_counts(scheduler_ring()));
	print_fibers(to, &fibers);
	if (arena) {
		struct arena_counts counts = arena_counts(arena);

		print(to, "arena.chunks", counts.chunks);
		print(to, "arena.reserved", counts.reserved);
		print(to, "arena.in_use_high", counts.in_use_high);
	}
	for (unsigned why = 0; why < BYTES_WHY_COUNT; why++) {
		snprintf(name, sizeof name, "copied.%s", bytes_why_name((enum bytes_why)why));
		print(to, name, bytes_copied((enum bytes_why)why));
	}
	print(to, "cpu.thread_us", (uint64_t)(clock_thread_cpu() / NSEC_MICROSECOND));
}
