/* What a settled message costs the ledger: CPU and wall time a row, and bytes at rest after a
 * million rows and the final checkpoint. Prints, asserts nothing. The scratch directory is made in
 * the working directory, because /tmp is often memory, where an fsync costs nothing. BENCH_ROWS
 * changes the million. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/clock.h"
#include "engine/ledger.h"
#include "engine/shard.h"

struct shape {
	const char *name;
	unsigned boxes;	      /* folders that take turns row by row */
	unsigned rows_total;  /* 0: all */
	unsigned commit_rows; /* ledger_commit after so many; 0: the ledger's own pace */
};

static const struct shape shapes[] = {
	{ "clustered, own pace", 1, 0, 0 },
	{ "64 folders in turn, own pace", 64, 200000, 0 },
	{ "448 folders in turn, own pace", 448, 200000, 0 },
	{ "clustered, commit each 100", 1, 100000, 100 },
	{ "clustered, commit each row", 1, 2000, 1 },
};

/* The whole process: the storage works on another thread. */
static double cpu_seconds(void)
{
	struct rusage usage;

	must(getrusage(RUSAGE_SELF, &usage) == 0);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static enum err settle_rows(struct ledger *ledger, const struct shape *shape, const uint64_t *boxes,
			    unsigned rows)
{
	struct ledger_row row = { .state = LEDGER_MOVED };
	enum err e = OK;

	for (unsigned i = 0; !e && i < rows; i++) {
		row.box_no = boxes[i % shape->boxes];
		row.no = 1 + i / shape->boxes * 3; /* numbers with gaps */
		row.size_bytes = 2000 + (uint64_t)i * 7919 % 150000;
		row.seal_no = 1 + i / 900;
		bytes_put_le64(row.digest.bytes, i * 0x9e3779b97f4a7c15u);
		row.mark = i * 0xbf58476d1ce4e5b9u + 1;
		e = ledger_settle(ledger, &row);
		if (!e && shape->commit_rows && (i + 1) % shape->commit_rows == 0)
			e = ledger_commit(ledger);
	}
	return e ? e : ledger_commit(ledger);
}

static enum err add_boxes(struct ledger *ledger, const struct shape *shape, uint64_t *boxes)
{
	static struct box box;
	struct ledger_mailbox mailbox;
	uint64_t epoch, next_no;
	enum err e = ledger_mailbox(ledger, "imaps://a@here/", "file:///there", "blake3", &mailbox);

	for (unsigned i = 0; !e && i < shape->boxes; i++) {
		box = (struct box){ .epoch = 1 };
		snprintf(box.name, sizeof box.name, "Folder %u", i);
		e = ledger_box(ledger, mailbox.mailbox_no, &box, &epoch, &next_no);
		boxes[i] = box.box_no;
		if (!e)
			e = ledger_intend(ledger, box.box_no, 1, 100000000);
	}
	return e;
}

static void print(const struct shape *shape, const char *file, unsigned rows, double cpu,
		  double wall)
{
	struct stat status = { 0 };

	(void)!stat(file, &status);
	printf("%-30s %9u rows  %6.2f us CPU/row  %6.2f us wall/row  %6.1f bytes/row at rest\n",
	       shape->name, rows, cpu * 1e6 / rows, wall * 1e6 / rows,
	       (double)status.st_size / rows);
}

static enum err measure(const struct shape *shape, const char *directory)
{
	static uint64_t boxes[448];
	const char *asked = getenv("BENCH_ROWS");
	unsigned rows = shape->rows_total ? shape->rows_total
			: asked		  ? (unsigned)atoi(asked)
					  : 1000000;
	struct ledger *ledger;
	char file[300];
	double cpu, wall;
	enum err e = ledger_open(directory, clock_after(60 * NSEC_SECOND), &ledger), finished;

	if (e)
		return e;
	e = add_boxes(ledger, shape, boxes);
	cpu = cpu_seconds();
	wall = (double)clock_now() / 1e9;
	if (!e)
		e = settle_rows(ledger, shape, boxes, rows);
	cpu = cpu_seconds() - cpu;
	wall = (double)clock_now() / 1e9 - wall;
	finished = ledger_finish(ledger, clock_after(60 * NSEC_SECOND));
	ledger_close(&ledger);
	snprintf(file, sizeof file, "%s/ledger.db", directory);
	print(shape, file, rows, cpu, wall);
	return e ? e : finished;
}

static enum err measure_all(void *argument)
{
	static const char *const files[] = { "ledger.db", "ledger.lock", "ledger.db-wal",
					     "ledger.db-shm" };
	char directory[200], file[300];
	enum err e = OK;

	(void)argument;
	for (size_t i = 0; !e && i < ARRAY_COUNT(shapes); i++) {
		snprintf(directory, sizeof directory, "ledger-bench-%ld.tmp", (long)getpid());
		e = measure(&shapes[i], directory);
		for (size_t f = 0; f < ARRAY_COUNT(files); f++) {
			snprintf(file, sizeof file, "%s/%s", directory, files[f]);
			(void)unlink(file);
		}
		(void)rmdir(directory);
	}
	return e;
}

int main(void)
{
	enum err e = shard_run(&(struct shard_config){ 0 }, measure_all, NULL);

	if (e)
		fprintf(stderr, "ledger_bench: %s: %s\n", err_text(e), err_note()->text);
	return e ? 1 : 0;
}
