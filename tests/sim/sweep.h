/* One scenario of the simulated world, cut at one step after another: the first run is cut, what
 * people do in between is done, the next run goes to its end, and then everything must hold that
 * world_judge.c wants, and a third run must find nothing to do. Not for: what is in the scenarios
 * (copy_test.c, scenario_test.c, target_test.c). */
#ifndef MAILHAUL_SWEEP_H
#define MAILHAUL_SWEEP_H

#include "tests/sim/world.h"

enum { SEED_USUAL = 7, FAILURES_MAX = 3 /* told in full; then the test ends */ };

struct scenario {
	const char *name;	      /* to choose it: SCENARIO=name; NULL: of no table */
	void (*fill)(struct world *); /* the mailbox, and the world it lies in */
	/* What else goes wrong in the run that is cut at step k; it may then end with an error. */
	void (*trouble)(struct world *, uint64_t k);
	bool is_uncut; /* the trouble is all of it: no cut but in the recovery */
	void (*meanwhile)(struct world *); /* what people do to the mailbox during that run, */
	void (*between)(struct world *);   /* and before the next one */
};

struct sweep {
	const struct scenario *scenario;
	const char *variable; /* that repeats one cut: "CUT" */
	struct world *world;
	struct world_mark start;
	uint64_t steps;		    /* of a run that is not cut */
	uint64_t only, only_second; /* the cuts that are asked for; 0: all */
	unsigned failures, made;
};

/* The number in the environment variable; 0 without it. */
uint64_t sweep_asked(const char *variable);
/* Somebody repeats an accident of another kind than `mine`: not this test. */
bool sweep_another_is_asked(const char *mine);
#define ONLY_FOR(mine)                                                                             \
	do {                                                                                       \
		if (sweep_another_is_asked(mine))                                                  \
			SKIP("another accident is to be repeated");                                \
	} while (0)

/* Takes the world, which is filled. */
void sweep_open(struct sweep *, const struct scenario *, struct world *, const char *variable);
void sweep_close(struct sweep *);
/* About `usual` cuts, or all with SIM_ALL=1, or the one that is asked for. */
void sweep_cuts(struct sweep *, uint64_t usual);
/* About `firsts` cuts, each followed by about `seconds` cuts of the run that recovers from it;
 * SIM_ALL=1: eight times as many, each by every seventh. */
void sweep_second_cuts(struct sweep *, uint64_t firsts, uint64_t seconds);

/* A scenario of a table: filled, and swept by the usual cuts and second ones. */
void sweep_scenario(const struct scenario *);
#define SCENARIO(scenario_name, ...)                                                               \
	TEST(scenario_name)                                                                        \
	{                                                                                          \
		sweep_scenario(&(const struct scenario){ .name = #scenario_name, __VA_ARGS__ });   \
	}

/* A step before step k, any of them, the same each time. */
uint64_t sweep_before(uint64_t k);
/* Every how many-th of `count`, so that about `wanted` are taken. */
uint64_t sweep_every(uint64_t count, uint64_t wanted);

/* ---- what must hold ---- */

/* A run that must go to its end without an error; prints what is wrong. */
bool sweep_completes(struct world *, const char *what);
/* The run left the server as it was, and nothing open. */
bool sweep_is_harmless(const struct world *);
/* One more run: nothing is asked for, nothing is written to the archive. */
bool sweep_has_nothing_to_do(struct world *);
/* The next run completes, and what it has told outlives a power cut right after it. */
bool sweep_ends_well(struct world *);
/* A run in trouble may end with this. */
bool sweep_is_excused(enum err);

#endif
