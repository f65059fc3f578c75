/* One archive filled by many lanes on several worker threads at once, and by one process after
 * another. What runs is a child of this process, which itself starts no thread: so its lock is
 * another process's, and it can be killed. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "engine/shard.h"
#include "tests/unit/archive_help.h"
#include "transport/archive_hold.h"
#include "transport/archive_mark.h"

enum {
	WORKERS = 4,
	LANES_PER_WORKER = 16,
	LANES = WORKERS * LANES_PER_WORKER,
	MESSAGES = 5, /* of each lane in each run */
	LARGE_BYTES = 700 * 1024,
	/* What world_begin() reserves for each lane. */
	CHUNKS = LANES_PER_WORKER * 2 * IOLIST_SLICES_MAX,
	PATIENCE_MS = 120000,
	SEAL_BYTES_MAX = 4096, /* of so few messages */
};

static uint8_t bytes[LARGE_BYTES + MESSAGES];
static struct box inbox;

/* ---- what is shared with the children ---- */

/* A lane's row in what a ledger would be: the seal is there before the pack is visible. */
struct row {
	_Atomic enum row_state { ROW_EMPTY, ROW_SEALED, ROW_DONE } state;
	size_t seal_bytes;
	char seal[SEAL_BYTES_MAX];
};

struct run {
	char path[200];
	struct row rows[LANES];
	const struct row *before; /* of a run that was killed; NULL: none */
	atomic_uint stored;	  /* messages receipted, all lanes */
	uint64_t seal_no;	  /* of every mailbox: the next one */
	bool hold, stay;	  /* lock the archive for the whole run; never end */
	pthread_barrier_t met;	  /* every worker is there: now all at once */
	enum err error;		  /* the first of all; OK */
	char why[ERR_NOTE_BYTES_MAX];
	struct faults faults; /* of verify */
	struct archive_check check;
};

/* The world's account and its ledger's name, for what is no lane. */
static struct world *world_named(const char *path)
{
	struct world *world = calloc(1, sizeof *world);

	must(world != NULL);
	world_begin(world, path);
	return world;
}

static void world_free(struct world *world)
{
	world_end(world);
	free(world);
}

/* ---- a run: a child of its own ---- */

struct worker {
	struct run *run;
	unsigned no;
	pthread_t thread;
	enum err error;
	char why[ERR_NOTE_BYTES_MAX];
};

struct lane {
	struct run *run;
	unsigned no;
};

/* What a lane does with the seal of a run that was cut. */
static enum err lane_recover(const struct row *row, struct world *world)
{
	enum seal_fate fate;

	if (row->state != ROW_SEALED)
		return OK;
	return archive_sink.find(world->sink, 1, (struct text){ row->seal, row->seal_bytes },
				 &fate);
}

/* Make the one pack of this lane visible, after its seal was kept. */
static enum err lane_publish(struct row *row, struct world *world)
{
	enum err e;

	if ((e = archive_sink.flush(world->sink)) || (e = world_receipts(world, false)))
		return e;
	must(world->seal.bytes <= sizeof row->seal);
	row->seal_bytes = world->seal.bytes;
	bytes_copy(row->seal, world->seal.at, world->seal.bytes, BYTES_META);
	atomic_store(&row->state, ROW_SEALED);
	if ((e = archive_sink.publish(world->sink, world->seal_no)) || (e = world_finish(world)))
		return e;
	atomic_store(&row->state, ROW_DONE);
	return OK;
}

static enum err lane_fill(struct lane *lane, struct world *world)
{
	struct run *run = lane->run;
	uint64_t first = run->seal_no * 100;
	enum err e;

	if ((e = world_open(world)) || (e = archive_sink.prepare(world->sink, &inbox)) ||
	    (run->before && (e = lane_recover(&run->before[lane->no], world))))
		return e;
	for (uint64_t i = 0; i < MESSAGES && !e; i++)
		e = world_put(world, 1, first + i, bytes + i, i == 3 ? LARGE_BYTES : 100 + lane->no,
			      i == 3 ? CHUNK_BYTES : 0);
	return e ? e : lane_publish(&run->rows[lane->no], world);
}

static enum err lane_main(void *argument)
{
	struct lane *lane = argument;
	struct world *world = world_named(lane->run->path);
	char name[32];
	enum err e;

	snprintf(name, sizeof name, "user%u@example.org", lane->no);
	world->config.mailbox_name = name;
	world->config.next_seal_no = lane->run->seal_no;
	e = lane_fill(lane, world);
	atomic_fetch_add(&lane->run->stored, (unsigned)world->stored);
	world_free(world);
	return e;
}

static enum err worker_fibers(void *argument)
{
	struct worker *worker = argument;
	struct lane lanes[LANES_PER_WORKER];
	struct group *group = group_open();

	pthread_barrier_wait(&worker->run->met);
	for (unsigned i = 0; i < LANES_PER_WORKER; i++) {
		lanes[i] = (struct lane){ worker->run, worker->no * LANES_PER_WORKER + i };
		must(group_spawn(group, "lane", FIBER_STACK_LARGE, lane_main, &lanes[i]) == OK);
	}
	return group_join(&group);
}

static void *worker_thread(void *argument)
{
	struct worker *worker = argument;

	worker->error =
		shard_run(&(struct shard_config){ .arena_chunks = CHUNKS }, worker_fibers, worker);
	snprintf(worker->why, sizeof worker->why, "%s", err_note()->text);
	return NULL;
}

static void fill_with_workers(struct run *run)
{
	struct worker workers[WORKERS];

	must(pthread_barrier_init(&run->met, NULL, WORKERS) == 0);
	for (unsigned i = 0; i < WORKERS; i++) {
		workers[i] = (struct worker){ .run = run, .no = i };
		must(pthread_create(&workers[i].thread, NULL, worker_thread, &workers[i]) == 0);
	}
	for (unsigned i = 0; i < WORKERS; i++) {
		must(pthread_join(workers[i].thread, NULL) == 0);
		if (workers[i].error && !run->error) {
			run->error = workers[i].error;
			snprintf(run->why, sizeof run->why, "%s", workers[i].why);
		}
	}
}

static enum err fill_and_verify(void *argument)
{
	struct run *run = argument;
	struct world *world = world_named(run->path);
	struct archive_hold *hold = NULL;
	enum err e = OK;

	if (run->hold)
		e = archive_hold(&world->account, world->ledger_id, clock_after(60 * NSEC_SECOND),
				 &hold);
	if (!e)
		fill_with_workers(run);
	while (!e && run->stay)
		pause();
	if (!e)
		e = world_verify(world, &run->faults, &run->check);
	archive_release(&hold);
	world_free(world);
	return e;
}

static enum err open_only(void *argument)
{
	struct run *run = argument;
	struct world *world = world_named(run->path);
	enum err e;

	world->config.next_seal_no = run->seal_no;
	e = world_open(world);
	world_free(world);
	return e;
}

static pid_t child_start(struct run *run, fiber_main *main)
{
	pid_t child = fork();
	enum err e;

	must(child >= 0);
	if (child > 0)
		return child;
	e = shard_run(&(struct shard_config){ 0 }, main, run);
	if (e && !run->error) {
		run->error = e;
		snprintf(run->why, sizeof run->why, "%s", err_note()->text);
	}
	exit(0);
}

/* Its exit status as wait(2) has it. */
static int child_end(pid_t child)
{
	int status = -1;

	must(waitpid(child, &status, 0) == child);
	return status;
}

static void child_run(struct run *run, fiber_main *main)
{
	run->error = OK;
	CHECK_EQ(child_end(child_start(run, main)), 0);
}

static struct run *run_open(void)
{
	struct run *run =
		mmap(NULL, sizeof *run, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	must(run != MAP_FAILED);
	fill(bytes, sizeof bytes, 5);
	inbox = box_named("INBOX", 1);
	snprintf(run->path, sizeof run->path, "%s", test_directory());
	run->seal_no = 1;
	return run;
}

static void run_close(struct run *run)
{
	munmap(run, sizeof *run);
}

static unsigned lanes_done(const struct run *run)
{
	unsigned done = 0;

	for (unsigned i = 0; i < LANES; i++)
		done += run->rows[i].state == ROW_DONE;
	return done;
}

static void check_all_found(const struct run *run, uint64_t messages)
{
	CHECK_TEXT(run->why, "");
	CHECK_EQ(run->error, OK);
	CHECK_TEXT(run->faults.first_what, "");
	CHECK_EQ(run->check.messages, messages);
	CHECK_EQ(run->check.packs_unlisted, 0);
}

/* ---- the tests ---- */

/* Nobody holds it: every lane finds the directory empty, and takes and frees the lock itself. */
TEST(lanes_that_open_an_empty_archive_at_once_all_fill_it)
{
	struct run *run = run_open();

	child_run(run, fill_and_verify);
	check_all_found(run, LANES * MESSAGES);
	CHECK_EQ(lanes_done(run), LANES);
	run->seal_no = 2;
	child_run(run, fill_and_verify);
	check_all_found(run, 2 * LANES * MESSAGES);
	run_close(run);
}

TEST(a_held_archive_is_filled_by_all_lanes_and_free_afterwards)
{
	struct run *run = run_open();

	run->hold = true;
	child_run(run, fill_and_verify);
	check_all_found(run, LANES * MESSAGES);
	run->seal_no = 2;
	child_run(run, open_only);
	CHECK_TEXT(run->why, "");
	run_close(run);
}

static bool wait_for_lanes(struct run *run, unsigned count)
{
	for (unsigned ms = 0; ms < PATIENCE_MS && lanes_done(run) < count; ms++)
		usleep(1000);
	return lanes_done(run) >= count;
}

TEST(a_second_process_is_refused_while_it_is_held_and_goes_on_after_a_kill)
{
	struct run *run = run_open(), *second = run_open();
	pid_t child;

	run->hold = run->stay = true;
	child = child_start(run, fill_and_verify);
	CHECK(wait_for_lanes(run, 5));
	second->seal_no = 2;
	child_run(second, open_only);
	CHECK_EQ(second->error, ERR_SINK_BUSY);
	CHECK(strstr(second->why, second->path) != NULL);
	kill(child, SIGKILL);
	CHECK_EQ(child_end(child), SIGKILL);
	*second->why = '\0';
	second->hold = true;
	second->before = run->rows;
	child_run(second, fill_and_verify);
	CHECK_EQ(lanes_done(second), LANES);
	check_all_found(second, second->stored + lanes_done(run) * MESSAGES);
	run_close(second);
	run_close(run);
}

/* A hold changes nothing that is not ours. */
TEST_FIBER(what_is_foreign_is_not_held)
{
	struct world *world;
	struct archive_hold *hold = NULL;
	char command[300], output[100];

	snprintf(command, sizeof command, "touch %s/letters", test_directory());
	CHECK_EQ(shell(command, output, sizeof output), 0);
	world = world_named(test_directory());
	CHECK_ERR(archive_hold(&world->account, world->ledger_id, clock_after(NSEC_SECOND), &hold),
		  ERR_SINK_FOREIGN);
	CHECK(hold == NULL);
	snprintf(command, sizeof command, "ls -A %s", test_directory());
	CHECK_EQ(shell(command, output, sizeof output), 0);
	CHECK_TEXT(output, "letters\n");
	world_free(world);
}

/* ---- two lanes and one marker, step by step ---- */

struct claimant {
	struct world *world;
	struct store *store;
};

static struct claimant claimant_open(void)
{
	struct claimant claimant = { .world = world_named(test_directory()) };

	CHECK_OK(store_dir.open(&claimant.store, &claimant.world->account, true,
				clock_after(NSEC_SECOND)));
	return claimant;
}

static void claimant_close(struct claimant *claimant)
{
	store_dir.close(&claimant->store);
	world_free(claimant->world);
}

static enum err claim(void *argument)
{
	struct claimant *claimant = argument;

	return archive_mark_claim(claimant->store, "here", claimant->world->ledger_id);
}

/* Both fibers look before either has written. */
TEST_FIBER(two_lanes_that_saw_no_marker_agree_on_one)
{
	struct claimant one = claimant_open(), two = claimant_open(), other = claimant_open();
	struct group *group = group_open();

	CHECK_OK(store_dir.lock(one.store));
	CHECK_OK(store_dir.lock(two.store));
	CHECK_OK(group_spawn(group, "one", FIBER_STACK_SMALL, claim, &one));
	CHECK_OK(group_spawn(group, "two", FIBER_STACK_SMALL, claim, &two));
	CHECK_OK(group_join(&group));
	other.world->ledger_id[3] ^= 1;
	CHECK_ERR(claim(&other), ERR_SINK_LEDGER_LOST);
	claimant_close(&other);
	claimant_close(&two);
	claimant_close(&one);
}

static struct store_driver looking;
static struct claimant quicker;

static enum err looking_size(struct store *store, const char *key, uint64_t *size)
{
	enum err e;

	store->type = &store_dir;
	e = store_dir.size(store, key, size);
	store->type = &looking;
	return e;
}

/* The marker comes between the two looks. */
static enum err looking_list(struct store *store, const char *prefix, struct buffer *names)
{
	enum err e = claim(&quicker);

	store->type = &store_dir;
	return e ? e : store_dir.list(store, prefix, names);
}

TEST_FIBER(a_marker_that_comes_while_a_lane_looks_is_not_foreign)
{
	struct claimant slower = claimant_open();
	bool found = false;

	quicker = claimant_open();
	looking = store_dir;
	looking.size = looking_size;
	looking.list = looking_list;
	slower.store->type = &looking;
	CHECK_OK(archive_mark_check(slower.store, "here", slower.world->ledger_id, &found));
	CHECK(found);
	CHECK_EQ(err_note()->error, OK);
	slower.store->type = &store_dir;
	claimant_close(&slower);
	claimant_close(&quicker);
}
