/* Worlds and their processes: fork, run, cut, wait. What a process does is elsewhere: world_copy.c,
 * world_judge.c, the tests. */
#include "tests/sim/world_bucket.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/log.h"
#include "engine/offload.h"
#include "engine/shard.h"
#include "tests/sim/ring_verbs.h"
#include "tests/sim/sim.h"
#include "tests/sim/sqlite_vfs_sim.h"
#include "transport/conn.h"

enum {
	WORLD_MAGIC = 0x3071d,
	/* Real seconds; simulated time costs none, so a process that lives longer hangs. */
	LIFE_SECONDS = 120,
	EXIT_TOLD = 0, /* the result says how it ended */
	/* So many cuts kill the process alone: what was not synced stays in the kernel's hands, and
	 * may be lost by the next cut. */
	KILL_ONE_IN = 4,
};
/* Longer than a server may be silent: some pauses are waited for, others end the conversation. */
#define WORLD_PAUSE_MAX (90 * NSEC_SECOND)

const char world_archive_path[] = "/mail/archive", world_state_path[] = "/state/mailhaul",
	   world_spool_path[] = "/state", world_source_shown[] = "imaps://alice@127.0.0.1/",
	   world_target_shown[] = "imaps://bob@127.0.0.2:994/";

/* One value a process, so that two runs from one seed write the same bytes. */
pid_t getpid(void)
{
	return (pid_t)(1000 + sim_process_no());
}

uint64_t world_seed(uint64_t otherwise)
{
	const char *seed = getenv("SEED");

	return seed && *seed ? strtoull(seed, NULL, 10) : otherwise;
}

/* What the machine's administrator made, durably, before the first run. */
static void make_directory(struct disk *disk, const char *path, const char *above)
{
	must(disk_create(disk, path, true, 0700) > 0);
	must(disk_sync(disk, disk_find(disk, above)) == 0);
}

struct world *world_open(uint64_t seed)
{
	struct world *world = calloc(1, sizeof *world);

	must(world);
	world->magic = WORLD_MAGIC;
	world->seed = seed;
	world->disk = disk_open(WORLD_DISK_BYTES);
	world->pack_bytes = 64 * 1024;
	world->connections = 1;
	make_directory(world->disk, "/mail", "/");
	make_directory(world->disk, "/state", "/");
	world->result = mmap(NULL, sizeof *world->result, PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	must(world->result != MAP_FAILED);
	world->imap.user = "alice";
	world->imap.password = "open sesame";
	world->imap.capabilities = imap_model_capabilities_extended;
	world->imap.counts = &world->result->imap;
	return world;
}

void world_add_target(struct world *world)
{
	must(!world->target);
	world->target = imap_store_open("bob", world->imap.password, &world->result->target,
					&world->result->store);
}

void world_add_bucket(struct world *world)
{
	must(!world->bucket);
	world->bucket = world_bucket_open(world->seed);
}

void world_close(struct world **world)
{
	if (!*world)
		return;
	MAGIC_CHECK(*world, WORLD_MAGIC);
	imap_model_clear(&(*world)->imap);
	imap_store_close(&(*world)->target);
	world_bucket_close(&(*world)->bucket);
	disk_close(&(*world)->disk);
	must(munmap((*world)->result, sizeof *(*world)->result) == 0);
	free(*world);
	*world = NULL;
}

void world_cut_at(struct world *world, uint64_t k)
{
	world->cut_at = k;
}

/* ---- inside the process ---- */

static void keep_steps(struct world_result *result)
{
	result->steps = sim_steps();
	snprintf(result->last_step, sizeof result->last_step, "%s", sim_last_step());
}

NO_RETURN static void leave(void)
{
	fflush(stdout);
	_exit(EXIT_TOLD); /* nothing of this process is tidied up: it was cut, or it is done */
}

/* Servers live on, and have what they heard. */
static void conversations_ended(struct world *world)
{
	if (world->target)
		imap_store_process_ended(world->target);
	if (world->bucket)
		s3_model_process_ended(world->bucket->model);
}

static void cut(void *owner, const char *what)
{
	struct world *world = owner;

	(void)what;
	keep_steps(world->result);
	conversations_ended(world);
	world->result->end = WORLD_CUT;
	if (sim_one_in(SIM_DISK, KILL_ONE_IN) || world->cuts_kill)
		disk_process_ended(world->disk);
	else
		disk_power_cut(world->disk);
	leave();
}

static void stuck(void *owner, const char *why)
{
	struct world *world = owner;

	keep_steps(world->result);
	world->result->end = WORLD_STUCK;
	snprintf(world->result->note, sizeof world->result->note, "%s", why);
	leave();
}

static void arm_disk(struct world *world)
{
	disk_fail_sync(world->disk, world->faults.sync_no);
	disk_fail_write(world->disk, world->faults.write_no);
	disk_fail_read(world->disk, world->faults.read_no);
}

/* What comes from outside comes between two steps: the wish to drain as a signal would, and what
 * people do to the mailbox. */
static void passed(void *owner)
{
	struct world *world = owner;

	if (world->drain_after && sim_steps() == world->drain_after)
		shard_request(SHARD_DRAIN);
	if (world->faults.from_step && sim_steps() == world->faults.from_step)
		arm_disk(world);
	if (world->happens_at && sim_steps() == world->happens_at) {
		world->happens(world);
		world->result->happened = true;
	}
}

static void arm(struct world *world)
{
	const struct world_faults *faults = &world->faults;

	net_weather(faults->bad_connections, faults->bad_bytes, WORLD_PAUSE_MAX);
	if (faults->room_bytes)
		disk_limit(world->disk, faults->room_bytes);
	if (!faults->from_step)
		arm_disk(world);
}

static void live(struct world *world, world_body *body, void *argument)
{
	struct sim_config config = { .seed = world->seed,
				     .process_no = world->process_no,
				     .cut_at = world->cut_at,
				     .cut = cut,
				     .stuck = stuck,
				     .passed = passed,
				     .wall_s = world->wall_s,
				     .wall_jumps_at = world->faults.wall_jumps_at,
				     .wall_jump_s = world->faults.wall_jump_s,
				     .slow = world->faults.slow,
				     .owner = world };
	struct world_result *result = world->result;

	alarm(LIFE_SECONDS);
	log_setup(STDERR_FILENO, getenv("SIM_LOG") ? LOG_DEBUG : LOG_ERROR, false);
	sim_begin(&config);
	sqlite_vfs_sim_register();
	net_forget();
	arm(world);
	imap_model_listen(&world->imap, WORLD_PORT);
	if (world->target)
		imap_model_listen(world->target, WORLD_TARGET_PORT);
	if (world->bucket)
		world_bucket_listen(world->bucket);
	result->error = body(world, argument);
	snprintf(result->note, sizeof result->note, "%s", result->error ? err_note()->text : "");
	conn_thread_cleanup();
	offload_shutdown(0);
	result->open_files = ring_verb_open_files(true);
	keep_steps(result);
	result->end = WORLD_FINISHED;
	conversations_ended(world);
	disk_process_ended(world->disk);
	leave();
}

/* ---- outside of it ---- */

static void wait_for_end(struct world *world, pid_t child)
{
	struct world_result *result = world->result;
	int status;

	while (waitpid(child, &status, 0) < 0)
		must(errno == EINTR);
	if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_TOLD)
		return;
	result->end = WORLD_CRASHED;
	snprintf(result->note, sizeof result->note, "%s %d, see above",
		 WIFSIGNALED(status) ? "signal" : "exit code",
		 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	disk_process_ended(world->disk);
}

/* What the process's memory knew of the world, and the next one must find. */
static void carry_over(struct world *world)
{
	struct world_faults *faults = &world->faults;

	if (world->result->happened)
		world->happens(world);
	if (faults->wall_jumps_at && world->result->steps >= faults->wall_jumps_at)
		world->wall_s += faults->wall_jump_s;
	if (faults->room_bytes)
		disk_limit(world->disk, 0);
	*faults = (struct world_faults){ 0 };
	if (world->bucket)
		world->bucket->model->faults_count = 0;
	world->happens_at = world->cut_at = 0;
}

const struct world_result *world_process(struct world *world, world_body *body, void *argument)
{
	pid_t child;

	MAGIC_CHECK(world, WORLD_MAGIC);
	world->process_no++;
	*world->result = (struct world_result){ .end = WORLD_CRASHED };
	fflush(stdout);
	fflush(stderr);
	child = fork();
	must(child >= 0);
	if (child == 0)
		live(world, body, argument);
	wait_for_end(world, child);
	carry_over(world);
	return world->result;
}

void world_lose_power(struct world *world)
{
	disk_power_cut_taking_all(world->disk);
}

void world_show(const struct world *world, const char *what)
{
	static const char *const ends[] = { "finished", "was cut", "is stuck", "crashed" };
	const struct world_result *result = world->result;

	printf("  %s (process %u): %s after %llu steps, last \"%s\"; %s %s\n", what,
	       world->process_no, ends[result->end], (unsigned long long)result->steps,
	       result->last_step, result->error ? err_name(result->error) : "", result->note);
}

struct world_mark world_mark(const struct world *world)
{
	struct imap_model *imap = malloc(sizeof *imap);

	must(imap);
	*imap = world->imap;
	return (struct world_mark){ .disk = disk_save(world->disk),
				    .imap = imap,
				    .target = world->target ? imap_store_save(world->target) : NULL,
				    .bucket = world->bucket ? s3_model_save(world->bucket->model)
							    : NULL,
				    .process_no = world->process_no,
				    .retry_skipped = world->retry_skipped,
				    .newest_first = world->newest_first,
				    .max_bytes = world->max_bytes,
				    .left_out_box = world->left_out_box,
				    .wall_s = world->wall_s };
}

void world_back(struct world *world, const struct world_mark *mark)
{
	disk_restore(world->disk, mark->disk);
	world->imap = *mark->imap;
	if (mark->target)
		imap_store_restore(world->target, mark->target);
	if (mark->bucket)
		s3_model_restore(world->bucket->model, mark->bucket);
	world->process_no = mark->process_no;
	world->retry_skipped = mark->retry_skipped;
	world->newest_first = mark->newest_first;
	world->max_bytes = mark->max_bytes;
	world->left_out_box = mark->left_out_box;
	world->wall_s = mark->wall_s;
}

void world_mark_free(struct world_mark *mark)
{
	disk_image_free(&mark->disk);
	free(mark->imap);
	free(mark->target);
	free(mark->bucket);
	mark->imap = NULL;
	mark->target = NULL;
	mark->bucket = NULL;
}
