/* Simulated time and randomness, linked in place of engine/clock.c. Time moves in ring_turn() only;
 * each simulated process starts an hour of wall time after the one before it, unless somebody sets
 * the wall clock (it may go back; clock_now() never does). */
#include "engine/clock.h"

#include "tests/sim/sim.h"

enum { WALL_START_S = 1700000000 }; /* 2023-11-14T22:13:20Z */

nsec clock_now(void)
{
	return sim_now();
}

nsec clock_wall(void)
{
	return (WALL_START_S + (nsec)sim_process_no() * 3600 + sim_wall_s()) * NSEC_SECOND +
	       sim_now();
}

nsec clock_thread_cpu(void)
{
	return sim_now();
}

void clock_random(void *to, size_t bytes)
{
	uint8_t *at = to;

	for (size_t i = 0; i < bytes; i++)
		at[i] = (uint8_t)sim_throw(SIM_RANDOM);
}
