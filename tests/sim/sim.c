/* Dice, time and steps of one simulated process. The generator is splitmix64 (Steele, Lea, Flood
 * 2014): one word of state a die, so that a die can be started anywhere. */
#include "tests/sim/sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static struct sim_config config = { .seed = 1 };
static uint64_t dice[SIM_DICE_COUNT] = { 1, 2, 3, 4, 5 };
static nsec now = 1000 * NSEC_SECOND;
static uint64_t steps;
static const char *last_step = "";

static uint64_t mix(uint64_t value)
{
	value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
	value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
	return value ^ (value >> 31);
}

void sim_begin(const struct sim_config *begin)
{
	config = *begin;
	for (unsigned i = 0; i < SIM_DICE_COUNT; i++)
		dice[i] = mix(mix(config.seed + 1) + config.process_no * SIM_DICE_COUNT + i);
	now = 1000 * NSEC_SECOND;
	steps = 0;
	last_step = "";
}

void sim_step(const char *what)
{
	steps++;
	last_step = what;
	if (steps == config.cut_at && config.cut)
		config.cut(config.owner, what);
	if (config.passed)
		config.passed(config.owner);
	if (steps > SIM_STEPS_MAX)
		sim_stuck("%d operations and no end; the last was %s", SIM_STEPS_MAX, what);
}

uint64_t sim_steps(void)
{
	return steps;
}

const char *sim_last_step(void)
{
	return last_step;
}

void sim_stuck(const char *format, ...)
{
	va_list arguments;
	char why[400];

	va_start(arguments, format);
	vsnprintf(why, sizeof why, format, arguments);
	va_end(arguments);
	if (config.stuck)
		config.stuck(config.owner, why);
	fprintf(stderr, "simulated run is stuck: %s\n", why);
	abort();
}

uint64_t sim_throw(enum sim_dice die)
{
	must(die < SIM_DICE_COUNT);
	dice[die] += 0x9e3779b97f4a7c15u;
	return mix(dice[die]);
}

uint64_t sim_below(enum sim_dice die, uint64_t bound)
{
	must(bound > 0);
	return sim_throw(die) % bound;
}

nsec sim_now(void)
{
	return now;
}

void sim_advance(nsec until)
{
	if (until > now)
		now = until;
}

int64_t sim_wall_s(void)
{
	bool jumped = config.wall_jumps_at && steps >= config.wall_jumps_at;

	return config.wall_s + (jumped ? config.wall_jump_s : 0);
}

bool sim_is_slow(void)
{
	return config.slow;
}

unsigned sim_process_no(void)
{
	return config.process_no;
}
