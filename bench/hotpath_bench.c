/* How close the hot path is to the sum of its parts, on this host: a canned IMAP server over TLS on
 * one core, the whole engine (source, lane, digest, ledger) on the other, into a null sink and into
 * an archive in memory with every digest and zstd level, beside each stage alone, interleaved in
 * the same run on cold memory. CPU time is the whole process's: compressing is done on threads of
 * its own. Prints; judges nothing.
 *
 *   hotpath_bench CERTIFICATE KEY CA_FILE STATE_DIR [MEGABYTES [ROUNDS]]
 *
 * The sum for an archive has zstd, and digest and write(2) of what is stored, on top; no tar
 * headers, index or fsync, so its ratio holds those as well; checksums, which S3 wants in addition,
 * are in no sum. The corpus is base64 of noise: what compresses least. */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/null_sink.h"
#include "bench/stages.h"
#include "crypto/digest.h"
#include "crypto/secret.h"
#include "engine/clock.h"
#include "engine/lane.h"
#include "engine/offload.h"
#include "engine/ring.h"
#include "engine/shard.h"
#include "transport/conn.h"

extern const struct source_driver imap_source;
extern const struct sink_driver archive_sink;

static const char *const digests[] = { "blake3", "blake2b-256", "sha-256" };
enum { DIGESTS = ARRAY_COUNT(digests) };

/* Where the mail goes: a column of the table. */
static const struct outlet {
	const char *name;
	bool is_archive;
	int zstd_level;
} outlets[] = {
	{ "null sink", false, 0 },
	{ "archive, zstd off", true, 0 },
	{ "archive, zstd 1", true, 1 },
	{ "archive, zstd 3", true, 3 },
};
enum { OUTLETS = ARRAY_COUNT(outlets) };

/* Of each figure the best of the rounds. */
struct whole {
	const struct bench *bench;
	const struct outlet *outlet;
	const char *digest;
	double ns_per_byte;
	uint64_t moved, copied;
	struct ring_counts counts;
};

struct stages {
	double receive, tls, framing, ledger, store; /* framing, ledger: per message */
	double digest[DIGESTS], crc[CRC_KIND_COUNT], zstd[OUTLETS], stored_per_byte[OUTLETS];
};

static void keep_best(double *best, double value)
{
	if (*best == 0 || value < *best)
		*best = value;
}

/* ---- the whole ---- */

static void target_path(const struct bench *bench, char to[512])
{
	snprintf(to, 512, "%s/archive", bench->state_dir);
}

static enum err haul(const struct whole *whole, struct lane_config *config,
		     struct lane_progress *progress)
{
	const struct bench *bench = whole->bench;
	char path[512];
	struct account source = { .scheme = "imaps",
				  .user = "bench",
				  .host = "127.0.0.1",
				  .port = bench->canned.imaps_port,
				  .path = "/",
				  .shown = "imaps://bench/",
				  .ca_file = bench->ca_file,
				  .io_timeout = 60 * NSEC_SECOND,
				  .connect_timeout = 10 * NSEC_SECOND };
	struct account sink = {
		.scheme = "file", .path = path, .shown = path, .io_timeout = 60 * NSEC_SECOND
	};
	struct secret *password = NULL;
	enum err e = secret_from_bytes("pw", 2, &password);

	target_path(bench, path);
	source.password = password;
	config->source = &imap_source;
	config->source_account = &source;
	config->sink = whole->outlet->is_archive ? &archive_sink : &null_sink;
	config->sink_account = &sink;
	e = e ? e : lane_run(config, progress);
	secret_close(&password);
	return e;
}

static enum err whole_main(void *context)
{
	struct whole *whole = context;
	const struct tap_type *digest = digest_type(text_of(whole->digest));
	struct lane_progress progress = { 0 };
	struct ledger *ledger = NULL;
	struct tap *tap = NULL, *store_tap = NULL;
	struct lane_config config = { .connections = 1, .finish_timeout = 5 * NSEC_SECOND };
	enum err e;

	if ((e = digest_open(digest, &tap)) || (e = digest_open(digest, &store_tap)) ||
	    (e = ledger_open(whole->bench->state_dir, clock_after(60 * NSEC_SECOND), &ledger)))
		return e;
	config.ledger = ledger;
	config.digest = tap;
	config.sink_config = (struct sink_config){ .mailbox_name = "bench@127.0.0.1",
						   .digest = digest,
						   .digest_of_store = store_tap,
						   .zstd_level = whole->outlet->zstd_level,
						   .pack_bytes = 64 << 20 };
	e = haul(whole, &config, &progress);
	whole->moved = progress.messages_moved;
	whole->counts = *ring_counts(scheduler_ring());
	if (e == OK)
		e = ledger_finish(ledger, clock_after(60 * NSEC_SECOND));
	ledger_close(&ledger);
	tap->type->close(&tap);
	store_tap->type->close(&store_tap);
	conn_thread_cleanup();
	return e;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *where)
{
	(void)status, (void)type, (void)where;
	return remove(path);
}

static void remove_target(const struct bench *bench)
{
	char path[512];

	target_path(bench, path);
	(void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static uint64_t payload_copied(void)
{
	return bytes_copied(BYTES_LINE_TAIL) + bytes_copied(BYTES_FRAME) +
	       bytes_copied(BYTES_STORE);
}

static void measure_whole(struct whole *whole)
{
	const struct corpus *corpus = &whole->bench->corpus;
	uint64_t copied = payload_copied();
	double before;

	bench_remove_ledger(whole->bench);
	before = bench_cpu_ns();
	bench_fiber("the whole", whole_main, whole);
	keep_best(&whole->ns_per_byte, (bench_cpu_ns() - before) / (double)corpus->bytes);
	whole->copied = payload_copied() - copied;
	remove_target(whole->bench);
	if (whole->moved != corpus->count) {
		fprintf(stderr, "bench: %llu of %zu messages arrived\n",
			(unsigned long long)whole->moved, corpus->count);
		exit(1);
	}
}

/* ---- its parts ---- */

static void measure_parts(const struct bench *bench, struct stages *stages)
{
	keep_best(&stages->receive, stage_receive(bench));
	keep_best(&stages->tls, stage_tls(bench));
	keep_best(&stages->framing, stage_framing(bench));
	keep_best(&stages->ledger, stage_ledger(bench));
	keep_best(&stages->store, stage_store(bench));
	for (unsigned i = 0; i < DIGESTS; i++)
		keep_best(&stages->digest[i], stage_digest(bench, digests[i]));
	for (enum crc_kind kind = 0; kind < CRC_KIND_COUNT; kind++)
		keep_best(&stages->crc[kind], stage_crc(bench, kind));
	for (unsigned i = 0; i < OUTLETS; i++)
		if (outlets[i].zstd_level)
			keep_best(&stages->zstd[i], stage_zstd(bench, outlets[i].zstd_level,
							       &stages->stored_per_byte[i]));
		else
			stages->stored_per_byte[i] = outlets[i].is_archive;
}

/* What a byte of mail costs in all stages of a combination. */
static double sum_of(const struct stages *stages, unsigned digest, unsigned outlet, double mean)
{
	return stages->receive + stages->tls + stages->digest[digest] +
	       (stages->framing + stages->ledger) / mean + stages->zstd[outlet] +
	       (stages->digest[digest] + stages->store) * stages->stored_per_byte[outlet];
}

/* ---- the table ---- */

static void print_stage(const char *name, const char *which, double ns_per_byte, double mean)
{
	printf("  %-38s %-12s %7.3f ns/byte %9.2f us/message\n", name, which, ns_per_byte,
	       ns_per_byte * mean / 1e3);
}

static void print_stages(const struct stages *stages, double mean)
{
	print_stage("receive (kernel to ring buffers)", "", stages->receive, mean);
	print_stage("TLS open (into cold chunks)", "", stages->tls, mean);
	print_stage("FETCH reply parsed", "", stages->framing / mean, mean);
	print_stage("ledger row settled", "", stages->ledger / mean, mean);
	for (unsigned i = 0; i < DIGESTS; i++)
		print_stage("digest (cold chunks)", digests[i], stages->digest[i], mean);
	for (unsigned i = 0; i < OUTLETS; i++)
		if (outlets[i].zstd_level)
			print_stage("compressing, in frames as a pack's", outlets[i].name + 9,
				    stages->zstd[i], mean);
	for (enum crc_kind kind = 0; kind < CRC_KIND_COUNT; kind++)
		print_stage("checksum, per byte stored", crc_name(kind), stages->crc[kind], mean);
	print_stage("write(2), per byte stored", "", stages->store, mean);
}

static void print_wholes(const struct whole wholes[DIGESTS][OUTLETS], const struct stages *stages,
			 double mean)
{
	printf("  %-12s %-18s %10s %11s %11s %6s %11s %13s\n", "digest", "into", "ns/byte",
	       "us/message", "sum ns/byte", "ratio", "copies/byte", "ring calls/MB");
	for (unsigned i = 0; i < DIGESTS; i++)
		for (unsigned k = 0; k < OUTLETS; k++) {
			const struct whole *whole = &wholes[i][k];
			double bytes = (double)whole->bench->corpus.bytes;
			double sum = sum_of(stages, i, k, mean);

			printf("  %-12s %-18s %10.3f %11.2f %11.3f %6.2f %11.3f %13.2f\n",
			       digests[i], outlets[k].name, whole->ns_per_byte,
			       whole->ns_per_byte * mean / 1e3, sum, whole->ns_per_byte / sum,
			       (double)whole->copied / bytes,
			       (double)whole->counts.enters / (bytes / 1e6));
		}
}

static void run_corpus(struct bench *bench, enum corpus_kind kind, const char *name, uint64_t bytes,
		       int rounds)
{
	struct whole wholes[DIGESTS][OUTLETS] = { 0 };
	struct stages stages = { 0 };
	double mean;

	corpus_make(&bench->corpus, kind, bytes);
	canned_start(&bench->canned, &bench->corpus, bench->certificate, bench->key, 0);
	for (int round = 0; round < rounds; round++) {
		for (unsigned i = 0; i < DIGESTS * OUTLETS; i++) {
			struct whole *whole = &wholes[i / OUTLETS][i % OUTLETS];

			whole->bench = bench;
			whole->digest = digests[i / OUTLETS];
			whole->outlet = &outlets[i % OUTLETS];
			measure_whole(whole);
		}
		measure_parts(bench, &stages);
	}
	mean = (double)bench->corpus.bytes / (double)bench->corpus.count;
	printf("\ncorpus %s: %zu messages, %.1f MB, mean %.1f KB; best of %d rounds\n", name,
	       bench->corpus.count, (double)bench->corpus.bytes / 1e6, mean / 1e3, rounds);
	print_stages(&stages, mean);
	print_wholes((const struct whole(*)[OUTLETS])wholes, &stages, mean);
	fflush(stdout);
	canned_stop(&bench->canned);
	corpus_free(&bench->corpus);
}

int main(int count, char **arguments)
{
	uint64_t megabytes = count > 5 ? strtoull(arguments[5], NULL, 10) : 200;
	int rounds = count > 6 ? atoi(arguments[6]) : 3;
	struct bench bench = { 0 };

	if (count < 5) {
		fprintf(stderr, "usage: hotpath_bench CERTIFICATE KEY CA_FILE STATE_DIR [MEGABYTES "
				"[ROUNDS]]\n");
		return 64;
	}
	bench.certificate = arguments[1];
	bench.key = arguments[2];
	bench.ca_file = arguments[3];
	bench.state_dir = arguments[4];
	bench.cold = mmap(NULL, BENCH_COLD_BYTES, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	must(bench.cold != MAP_FAILED);
	madvise(bench.cold, BENCH_COLD_BYTES, MADV_HUGEPAGE);
	memset(bench.cold, 'x', BENCH_COLD_BYTES);
	if (!pin_to_core(1))
		printf("not pinned: this host has one core for us\n");
	must(secret_process_setup() == OK);
	run_corpus(&bench, CORPUS_SMALL, "small", megabytes << 20, rounds);
	run_corpus(&bench, CORPUS_MIXED, "mixed", megabytes << 20, rounds);
	offload_shutdown(clock_after(NSEC_SECOND));
	return 0;
}
