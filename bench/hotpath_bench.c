/* How close the hot path is to the sum of its parts, on this host: a canned IMAP server over TLS on
 * one core, the whole engine (source, lane, digest, ledger) into a null sink on the other, beside
 * each stage alone, interleaved in the same run on cold memory. Prints; judges nothing.
 *
 *   hotpath_bench CERTIFICATE KEY CA_FILE STATE_DIR [MEGABYTES [ROUNDS]] */
#include <openssl/ssl.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bench/canned.h"
#include "bench/null_sink.h"
#include "crypto/digest.h"
#include "crypto/secret.h"
#include "engine/clock.h"
#include "engine/io.h"
#include "engine/lane.h"
#include "engine/offload.h"
#include "engine/shard.h"
#include "transport/conn.h"
#include "transport/imap_fetch.h"
#include "transport/tls.h"

extern const struct source_driver imap_source;

enum stage { STAGE_RECEIVE, STAGE_TLS, STAGE_DIGEST, STAGE_FRAMING, STAGE_LEDGER, STAGE_COUNT };
static const char *const stage_names[STAGE_COUNT] = {
	"receive (kernel to ring buffers)",
	"TLS open (into cold chunks)",
	"digest (cold chunks)",
	"FETCH reply parsed",
	"ledger row settled",
};

enum { RECORD_BYTES = 16384, COLD_BYTES = 48 * 1024 * 1024 };

struct bench {
	struct corpus corpus;
	struct canned canned;
	const char *certificate, *key, *ca_file, *state_dir;
	double stage_ns[STAGE_COUNT]; /* best, per byte or per message */
	double whole_ns;	      /* best, per byte */
	uint64_t copied;	      /* in the whole, payload only */
	struct ring_counts counts;
	uint64_t moved;
	uint8_t *cold;
};
static struct bench bench;

static double cpu_ns(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return ((double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e9) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e3;
}

static void keep_best(double *best, double value)
{
	if (*best == 0 || value < *best)
		*best = value;
}

/* ---- the whole ---- */

static enum err whole_main(void *unused)
{
	struct secret *password = NULL;
	struct lane_progress progress = { 0 };
	struct ledger *ledger = NULL;
	struct tap *tap = NULL;
	struct account source = { .scheme = "imaps",
				  .user = "bench",
				  .host = "127.0.0.1",
				  .port = bench.canned.imaps_port,
				  .path = "/",
				  .shown = "imaps://bench/",
				  .ca_file = bench.ca_file,
				  .io_timeout = 60 * NSEC_SECOND,
				  .connect_timeout = 10 * NSEC_SECOND };
	struct account sink = {
		.scheme = "null", .path = "/", .shown = "null:", .io_timeout = 60 * NSEC_SECOND
	};
	struct lane_config config = { .source = &imap_source,
				      .connections = 1,
				      .source_account = &source,
				      .sink = &null_sink,
				      .sink_account = &sink,
				      .finish_timeout = 5 * NSEC_SECOND };
	enum err e;

	(void)unused;
	if ((e = secret_from_bytes("pw", 2, &password)) ||
	    (e = digest_open(digest_type(text_of("blake3")), &tap)) ||
	    (e = ledger_open(bench.state_dir, clock_after(60 * NSEC_SECOND), &ledger)))
		return e;
	source.password = password;
	config.ledger = ledger;
	config.digest = tap;
	e = lane_run(&config, &progress);
	bench.moved = progress.messages_moved;
	bench.counts = *ring_counts(scheduler_ring());
	if (e == OK)
		e = ledger_finish(ledger, clock_after(60 * NSEC_SECOND));
	ledger_close(&ledger);
	tap->type->close(&tap);
	secret_close(&password);
	conn_thread_cleanup();
	return e;
}

static void remove_state(void)
{
	static const char *const names[] = { "ledger.db", "ledger.db-wal", "ledger.db-shm",
					     "ledger.lock" };
	char path[512];

	for (unsigned i = 0; i < ARRAY_COUNT(names); i++) {
		snprintf(path, sizeof path, "%s/%s", bench.state_dir, names[i]);
		unlink(path);
	}
}

static uint64_t payload_copied(void)
{
	return bytes_copied(BYTES_LINE_TAIL) + bytes_copied(BYTES_FRAME) +
	       bytes_copied(BYTES_STORE);
}

static void run_fiber(const char *what, fiber_main *body)
{
	enum err e = shard_run(&(struct shard_config){ 0 }, body, NULL);

	if (e) {
		fprintf(stderr, "bench: %s: %s (%s)\n", what, err_text(e), err_note()->text);
		exit(1);
	}
}

static void measure_whole(void)
{
	double before = cpu_ns();
	uint64_t copied = payload_copied();

	remove_state();
	run_fiber("the whole", whole_main);
	keep_best(&bench.whole_ns, (cpu_ns() - before) / (double)bench.corpus.bytes);
	bench.copied = payload_copied() - copied;
	if (bench.moved != bench.corpus.count) {
		fprintf(stderr, "bench: %llu of %zu messages arrived\n",
			(unsigned long long)bench.moved, bench.corpus.count);
		exit(1);
	}
}

/* ---- its parts ---- */

static enum err receive_main(void *unused)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_port = htons(bench.canned.plain_port),
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct io_receiver *receiver = NULL;
	struct ring_bytes bytes;
	int fd = -1;
	enum err e;

	(void)unused;
	if ((e = io_connect((struct sockaddr *)&address, sizeof address, clock_after(NSEC_SECOND),
			    &fd)) ||
	    (e = io_receiver_open(fd, &receiver)))
		return e;
	while ((e = io_receive(receiver, clock_after(10 * NSEC_SECOND), &bytes)) == OK &&
	       bytes.length)
		io_release(receiver, &bytes);
	io_receiver_close(&receiver);
	io_close(&fd);
	return e;
}

/* Ciphertext made in memory by OpenSSL, opened by our tls.c. */
struct wires {
	SSL *server;
	BIO *to_server, *from_server;
	uint8_t *sealed;
	size_t sealed_bytes, taken;
	bool recorded;
};

static size_t wire_take(void *owner, void *to, size_t max)
{
	struct wires *wires = owner;
	size_t n;
	int got;

	if (!wires->recorded) {
		got = BIO_read(wires->from_server, to, (int)max);
		return got > 0 ? (size_t)got : 0;
	}
	n = min_u64(max, wires->sealed_bytes - wires->taken);
	bytes_copy(to, wires->sealed + wires->taken, n, BYTES_META);
	wires->taken += n;
	return n;
}

static bool wire_give(void *owner, const void *from, size_t bytes)
{
	return BIO_write(((struct wires *)owner)->to_server, from, (int)bytes) == (int)bytes;
}

static void shake_hands(struct tls *tls, struct wires *wires)
{
	bool done = false;

	for (int turn = 0; turn < 8; turn++) {
		if (!done && tls_handshake(tls, &done))
			break;
		(void)SSL_do_handshake(wires->server);
	}
	must(done && SSL_is_init_finished(wires->server));
}

/* The bytes of the corpus as one stream of full records, at most 64 MiB of them. */
static void record(struct wires *wires, uint64_t bytes)
{
	size_t room = bytes + bytes / 64 + 65536;
	int got;

	wires->sealed = malloc(room);
	must(wires->sealed);
	wires->sealed_bytes = 0;
	for (uint64_t done = 0; done < bytes; done += RECORD_BYTES) {
		must(SSL_write(wires->server, bench.corpus.text + done % bench.corpus.text_bytes,
			       RECORD_BYTES) == RECORD_BYTES);
		got = BIO_read(wires->from_server, wires->sealed + wires->sealed_bytes,
			       (int)(room - wires->sealed_bytes));
		must(got > 0);
		wires->sealed_bytes += (size_t)got;
	}
	wires->recorded = true;
}

static double open_all(struct tls *tls, uint64_t bytes)
{
	double before = cpu_ns();
	uint64_t done = 0;
	size_t got;

	while (done < bytes) {
		uint8_t *to = bench.cold + done % (COLD_BYTES - CHUNK_BYTES);

		must(tls_read(tls, to, CHUNK_BYTES, &got) == OK && got > 0);
		done += got;
	}
	return (cpu_ns() - before) / (double)bytes;
}

static void measure_tls(void)
{
	struct wires wires = { .recorded = false };
	const struct tls_wire wire = {
		.take = wire_take, .give = wire_give, .owner = &wires, .peer = "the bench"
	};
	SSL_CTX *server = SSL_CTX_new(TLS_server_method());
	uint64_t bytes = min_u64(bench.corpus.bytes, 64 << 20) / RECORD_BYTES * RECORD_BYTES;
	struct tls_context *context = NULL;
	struct tls *tls = NULL;

	must(server &&
	     SSL_CTX_use_certificate_file(server, bench.certificate, SSL_FILETYPE_PEM) == 1);
	must(SSL_CTX_use_PrivateKey_file(server, bench.key, SSL_FILETYPE_PEM) == 1);
	wires.server = SSL_new(server);
	wires.to_server = BIO_new(BIO_s_mem());
	wires.from_server = BIO_new(BIO_s_mem());
	SSL_set_bio(wires.server, wires.to_server, wires.from_server);
	SSL_set_accept_state(wires.server);
	must(tls_context_open(bench.ca_file, &context) == OK);
	must(tls_open(context, "127.0.0.1", &wire, &tls) == OK);
	shake_hands(tls, &wires);
	record(&wires, bytes);
	keep_best(&bench.stage_ns[STAGE_TLS], open_all(tls, bytes));
	tls_close(&tls);
	tls_context_close(&context);
	SSL_free(wires.server);
	SSL_CTX_free(server);
	free(wires.sealed);
}

static void measure_digest(void)
{
	struct tap *tap = NULL;
	struct digest digest;
	size_t at = 0;
	double before;

	must(digest_open(digest_type(text_of("blake3")), &tap) == OK);
	before = cpu_ns();
	for (size_t i = 0; i < bench.corpus.count; i++) {
		uint32_t left = bench.corpus.sizes[i];

		tap->type->begin(tap);
		for (uint32_t n; left > 0; left -= n, at += round_up(n, 64)) {
			n = (uint32_t)min_u64(left, CHUNK_BYTES);
			if (at + n > COLD_BYTES)
				at = 0;
			tap->type->update(tap, bench.cold + at, n);
		}
		tap->type->end(tap, &digest);
	}
	keep_best(&bench.stage_ns[STAGE_DIGEST], (cpu_ns() - before) / (double)bench.corpus.bytes);
	tap->type->close(&tap);
}

/* Replies with empty bodies: what is left is the parsing of their heads and tails. */
struct replies {
	char *text;
	size_t bytes, at;
};

static enum err replies_read(void *owner, void *to, size_t max, nsec until, size_t *got)
{
	struct replies *replies = owner;

	(void)until;
	*got = min_u64(max, replies->bytes - replies->at);
	bytes_copy(to, replies->text + replies->at, *got, BYTES_META);
	replies->at += *got;
	return *got ? OK : ERR_NET_CLOSED;
}

static enum err framing_main(void *unused)
{
	size_t count = min_u64(bench.corpus.count, 20000), seen = 0;
	struct buffer text = { .bytes_max = 16 << 20 };
	struct reserve *reserve = NULL;
	struct imap_wire *wire = NULL;
	struct imap_fetch *fetch = NULL;
	struct imap_event event;
	struct replies replies;
	double before;
	enum err e;

	(void)unused;
	for (size_t i = 1; i <= count; i++)
		buffer_addf(
			&text,
			"* %zu FETCH (UID %zu FLAGS (\\Seen) INTERNALDATE \"17-Jul-2016 02:44:25 "
			"-0700\" BODY[] {0}\r\n)\r\n",
			i, i);
	replies = (struct replies){ text.at, text.bytes, 0 };
	const struct imap_port port = { replies_read, &replies };

	if ((e = reserve_open(arena_current(), 64, clock_after(NSEC_SECOND), &reserve)) ||
	    (e = imap_wire_open(&port, NULL, 60 * NSEC_SECOND, &wire)) ||
	    (e = imap_fetch_open(wire, reserve, &fetch)))
		return e;
	wire->until = INT64_MAX;
	wire->read_bytes = IMAP_READ_BYTES_HOT;
	before = cpu_ns();
	while (imap_fetch_next(fetch, &event) == OK) {
		seen += event.kind == IMAP_EVENT_MESSAGE;
		stream_close(&event.body);
	}
	keep_best(&bench.stage_ns[STAGE_FRAMING], (cpu_ns() - before) / (double)count);
	must(seen == count);
	imap_fetch_close(&fetch);
	imap_wire_close(&wire);
	reserve_close(&reserve);
	buffer_free(&text);
	err_note_clear();
	return OK;
}

static enum err ledger_main(void *unused)
{
	struct ledger_mailbox mailbox;
	struct ledger *ledger = NULL;
	struct box *box = calloc(1, sizeof *box);
	struct ledger_row row = { .state = LEDGER_MOVED, .size_bytes = 5000 };
	uint64_t epoch, next_no, count = bench.corpus.count;
	double before;
	enum err e;

	(void)unused;
	must(box);
	snprintf(box->name, sizeof box->name, "INBOX");
	box->epoch = 1;
	if ((e = ledger_open(bench.state_dir, clock_after(60 * NSEC_SECOND), &ledger)) ||
	    (e = ledger_mailbox(ledger, "a", "b", "blake3", &mailbox)) ||
	    (e = ledger_box(ledger, mailbox.mailbox_no, box, &epoch, &next_no)))
		return e;
	before = cpu_ns();
	row.box_no = box->box_no;
	for (uint64_t first = 1; first <= count && e == OK; first += PARCEL_MESSAGES) {
		uint64_t last = min_u64(count, first + PARCEL_MESSAGES - 1);

		e = ledger_intend(ledger, box->box_no, first, last);
		for (row.no = first; row.no <= last && e == OK; row.no++)
			e = ledger_settle(ledger, &row);
		if (e == OK)
			e = ledger_range_done(ledger, box->box_no, first, last);
	}
	if (e == OK && (e = ledger_commit(ledger)) == OK)
		keep_best(&bench.stage_ns[STAGE_LEDGER], (cpu_ns() - before) / (double)count);
	if (e == OK)
		e = ledger_finish(ledger, clock_after(60 * NSEC_SECOND));
	ledger_close(&ledger);
	free(box);
	return e;
}

static void measure_parts(void)
{
	double before = cpu_ns();

	run_fiber("receive", receive_main);
	keep_best(&bench.stage_ns[STAGE_RECEIVE], (cpu_ns() - before) / (double)bench.corpus.bytes);
	measure_tls();
	measure_digest();
	run_fiber("framing", framing_main);
	remove_state();
	run_fiber("ledger", ledger_main);
}

static bool is_per_message(enum stage stage)
{
	return stage == STAGE_FRAMING || stage == STAGE_LEDGER;
}

static void print(const char *corpus_name)
{
	double mean = (double)bench.corpus.bytes / (double)bench.corpus.count, sum = 0;
	double megabytes = (double)bench.corpus.bytes / 1e6;

	printf("\ncorpus %s: %zu messages, %.1f MB, mean %.1f KB; best of the rounds\n",
	       corpus_name, bench.corpus.count, megabytes, mean / 1e3);
	for (enum stage stage = 0; stage < STAGE_COUNT; stage++) {
		double per_byte = bench.stage_ns[stage] / (is_per_message(stage) ? mean : 1);

		sum += per_byte;
		printf("  %-34s %7.3f ns/byte  %9.1f ns/message\n", stage_names[stage], per_byte,
		       per_byte * mean);
	}
	printf("  %-34s %7.3f ns/byte  %9.1f ns/message\n", "sum of the stages", sum, sum * mean);
	printf("  %-34s %7.3f ns/byte  %9.1f ns/message\n", "the whole engine into a null sink",
	       bench.whole_ns, bench.whole_ns * mean);
	printf("  whole / sum                        %7.2f\n", bench.whole_ns / sum);
	printf("  payload copies per byte            %7.3f\n",
	       (double)bench.copied / (double)bench.corpus.bytes);
	printf("  ring system calls per MB           %7.2f\n",
	       (double)bench.counts.enters / megabytes);
}

static void run_corpus(enum corpus_kind kind, const char *name, uint64_t bytes, int rounds)
{
	memset(bench.stage_ns, 0, sizeof bench.stage_ns);
	bench.whole_ns = 0;
	corpus_make(&bench.corpus, kind, bytes);
	canned_start(&bench.canned, &bench.corpus, bench.certificate, bench.key, 0);
	for (int round = 0; round < rounds; round++) {
		measure_whole();
		measure_parts();
	}
	print(name);
	canned_stop(&bench.canned);
	corpus_free(&bench.corpus);
}

int main(int count, char **arguments)
{
	uint64_t megabytes = count > 5 ? strtoull(arguments[5], NULL, 10) : 200;
	int rounds = count > 6 ? atoi(arguments[6]) : 5;

	if (count < 5) {
		fprintf(stderr, "usage: hotpath_bench CERTIFICATE KEY CA_FILE STATE_DIR [MEGABYTES "
				"[ROUNDS]]\n");
		return 64;
	}
	bench.certificate = arguments[1];
	bench.key = arguments[2];
	bench.ca_file = arguments[3];
	bench.state_dir = arguments[4];
	bench.cold =
		mmap(NULL, COLD_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	must(bench.cold != MAP_FAILED);
	madvise(bench.cold, COLD_BYTES, MADV_HUGEPAGE);
	memset(bench.cold, 'x', COLD_BYTES);
	if (!pin_to_core(1))
		printf("not pinned: this host has one core for us\n");
	must(secret_process_setup() == OK);
	run_corpus(CORPUS_SMALL, "small", megabytes << 20, rounds);
	run_corpus(CORPUS_MIXED, "mixed", megabytes << 20, rounds);
	offload_shutdown(clock_after(NSEC_SECOND));
	return 0;
}
