/* One simulated process: its dice, its time, and the count of operations at which it can be cut.
 * The companions (ring_sim.c, clock_sim.c, disk_sim.c ...) take every accident and every moment
 * from here, so a seed and a number repeat a run exactly. */
#ifndef MAILHAUL_SIM_H
#define MAILHAUL_SIM_H

#include "engine/base.h"

/* Each user throws its own dice, so one more throw of the network does not change the disk's fate.
 */
enum sim_dice { SIM_ORDER, SIM_NET, SIM_DISK, SIM_RANDOM, SIM_OFFLOAD, SIM_DICE_COUNT };

enum { SIM_STEPS_MAX = 2000000 }; /* more: the run goes in circles */

struct sim_config {
	uint64_t seed;
	unsigned process_no; /* another process of the same world throws other dice */
	uint64_t cut_at;     /* cut before this step is done (the first is 1); 0: never */
	/* Called for the cut, and when a promise of the world is broken (`why`); neither returns.
	 */
	void (*cut)(void *owner, const char *what);
	void (*stuck)(void *owner, const char *why);
	void (*passed)(void *owner); /* before each step that is not cut; may be NULL */
	int64_t wall_s;		     /* the wall clock is so much before or behind, */
	uint64_t wall_jumps_at;	     /* and jumps at this step */
	int64_t wall_jump_s;
	bool slow; /* operations take seconds now and then */
	void *owner;
};

/* Start over: time, dice and steps of a new process. Without it everything runs from seed 1. */
void sim_begin(const struct sim_config *);

/* One operation that changes something outside the process is about to be done. */
void sim_step(const char *what);
uint64_t sim_steps(void);
const char *sim_last_step(void);
/* Print why this run can never end, and end it. */
NO_RETURN void sim_stuck(const char *format, ...) PRINTF_LIKE(1, 2);

uint64_t sim_throw(enum sim_dice);
uint64_t sim_below(enum sim_dice, uint64_t bound); /* 0 <= result < bound */
static inline bool sim_one_in(enum sim_dice dice, unsigned chance)
{
	return sim_below(dice, chance) == 0;
}

nsec sim_now(void);
void sim_advance(nsec until); /* never back */
unsigned sim_process_no(void);
int64_t sim_wall_s(void); /* what the wall clock is off by */
bool sim_is_slow(void);

#endif
