/* The door to libFuzzer, and the shard that targets in a fiber run in: opened once and used for
 * every input, because opening one costs more than most inputs do. */
#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/chunk.h"
#include "engine/clock.h"
#include "engine/fiber.h"
#include "engine/io.h"
#include "engine/log.h"
#include "tests/sim/disk_sim.h"
#include "tests/sim/ring_verbs.h"
#include "tests/sim/sim.h"

int LLVMFuzzerInitialize(int *count, char ***arguments);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

enum { DISK_BYTES = 1024 * 1024 };
#define DRAIN_TIMEOUT (60 * NSEC_SECOND)

static struct fuzz_target *first, *target;
static struct ring *ring;
static struct arena *arena;
static struct scheduler *scheduler;

void fuzz_add(struct fuzz_target *added)
{
	struct fuzz_target **at = &first;

	while (*at && strcmp((*at)->name, added->name) < 0)
		at = &(*at)->next;
	added->next = *at;
	*at = added;
}

/* ---- what targets need ---- */

unsigned fuzz_take_byte(struct text *input)
{
	unsigned value = input->bytes ? (unsigned char)input->at[0] : 0;

	if (input->bytes) {
		input->at++;
		input->bytes--;
	}
	return value;
}

struct text fuzz_take_part(struct text *input)
{
	const char *end = input->bytes ? memchr(input->at, FUZZ_SEPARATOR, input->bytes) : NULL;
	struct text part = *input;

	if (end)
		part.bytes = (size_t)(end - input->at);
	input->at += part.bytes + (end != NULL);
	input->bytes -= part.bytes + (end != NULL);
	return part;
}

char *fuzz_string(struct text text)
{
	char *copy = malloc(text.bytes + 1);

	must(copy);
	bytes_copy(copy, text.at, text.bytes, BYTES_META);
	copy[text.bytes] = '\0';
	return copy;
}

struct text fuzz_fill(struct text input)
{
	static char filler[FUZZ_FILLER_BYTES];
	struct buffer to = { 0 };
	size_t left = FUZZ_FILLED_BYTES_MAX;

	memset(filler, 'x', sizeof filler);
	for (size_t i = 0; i < input.bytes; i++) {
		size_t count = 0;

		if (input.at[i] != FUZZ_FILLER)
			buffer_add(&to, &input.at[i], 1);
		else if (++i < input.bytes)
			count = min_u64((unsigned char)input.at[i], left / sizeof filler);
		left -= count * sizeof filler;
		while (count--)
			buffer_add(&to, filler, sizeof filler);
	}
	must(!to.failed);
	return (struct text){ to.at ? to.at : fuzz_string(input), to.bytes };
}

uint64_t fuzz_hash(uint64_t hash, const void *from, size_t n)
{
	const uint8_t *at = from;

	hash = hash ? hash : 14695981039346656037u;
	for (size_t i = 0; i < n; i++)
		hash = (hash ^ at[i]) * 1099511628211u;
	return hash;
}

static int file_open(unsigned place)
{
	int wanted = FUZZ_FILE_FD + (int)place, fd;

	if (fcntl(wanted, F_GETFD) >= 0)
		return wanted;
	fd = memfd_create("fuzz", MFD_CLOEXEC);
	must(fd >= 0 && dup3(fd, wanted, O_CLOEXEC) == wanted);
	close(fd);
	must(fchmod(wanted, 0600) == 0); /* as a file with secrets has to be */
	return wanted;
}

const char *fuzz_file(unsigned place, struct text content)
{
	static char paths[2][40];
	int fd = file_open(place);

	must(place < ARRAY_COUNT(paths));
	must(ftruncate(fd, 0) == 0);
	must(pwrite(fd, content.at, content.bytes, 0) == (ssize_t)content.bytes);
	snprintf(paths[place], sizeof paths[place], "/proc/self/fd/%d", fd);
	return paths[place];
}

/* ---- running ---- */

static void shard_open(void)
{
	(void)disk_open(DISK_BYTES); /* empty: trust settings look for files */
	must(ring_open(&ring) == OK);
	must(arena_open(ARENA_CHUNKS_DEFAULT, &arena) == OK);
	arena_set_current(arena);
	must(scheduler_open(ring, &scheduler) == OK);
}

static enum err run_in_fiber(void *argument)
{
	target->run(*(struct text *)argument);
	return OK;
}

/* Whatever the bytes: every chunk is home, every socket closed, nothing in flight. */
static void run_in_shard(struct text input)
{
	sim_begin(&(struct sim_config){ .seed = 1 });
	must(scheduler_run(scheduler, run_in_fiber, &input) == OK);
	must(io_drain(ring, clock_after(DRAIN_TIMEOUT)));
	must(ring_verb_open_files(true) == 0);
	must(arena_counts(arena).in_use == 0 && arena_counts(arena).reserved == 0);
}

int LLVMFuzzerInitialize(int *count, char ***arguments)
{
	const char *slash = strrchr((*arguments)[0], '/'), *name = slash ? slash + 1 : "";
	int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);

	(void)count;
	for (target = first; target && strcmp(target->name, name) != 0;)
		target = target->next;
	if (!target) { /* called by no target's name: say which there are */
		for (target = first; target; target = target->next)
			puts(target->name);
		exit(0);
	}
	must(nowhere >= 0);
	log_setup(nowhere, LOG_WARN, false);
	if (target->in_fiber)
		shard_open();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct text input = { (const char *)bytes, n };

	if (target->in_fiber)
		run_in_shard(input);
	else
		target->run(input);
	err_note_clear();
	return 0;
}
