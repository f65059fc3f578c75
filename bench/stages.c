/* Each stage of a message's way, alone: see stages.h. */
#include "bench/stages.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "crypto/digest.h"
#include "crypto/zstd_stage.h"
#include "engine/clock.h"
#include "engine/io.h"
#include "engine/lane.h"
#include "engine/shard.h"
#include "transport/imap_fetch.h"
#include "transport/tls.h"

enum {
	RECORD_BYTES = 16384,
	PACK_BYTES = 64 * 1024 * 1024,
	FRAMING_MESSAGES_MAX = 20000,
};

/* What a stage that runs in a fiber is given, and gives. */
struct trial {
	const struct bench *bench;
	double ns;
};

double bench_cpu_ns(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return ((double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e9) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e3;
}

void bench_fiber(const char *what, fiber_main *body, void *context)
{
	enum err e = shard_run(&(struct shard_config){ 0 }, body, context);

	if (e) {
		fprintf(stderr, "bench: %s: %s (%s)\n", what, err_text(e), err_note()->text);
		exit(1);
	}
}

void bench_remove_ledger(const struct bench *bench)
{
	static const char *const names[] = { "ledger.db", "ledger.db-wal", "ledger.db-shm",
					     "ledger.lock" };
	char path[512];

	for (unsigned i = 0; i < ARRAY_COUNT(names); i++) {
		snprintf(path, sizeof path, "%s/%s", bench->state_dir, names[i]);
		unlink(path);
	}
}

static enum err receive_main(void *context)
{
	const struct trial *trial = context;
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_port = htons(trial->bench->canned.plain_port),
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct io_receiver *receiver = NULL;
	struct ring_bytes bytes;
	int fd = -1;
	enum err e;

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

double stage_receive(const struct bench *bench)
{
	struct trial trial = { bench, 0 };
	double before = bench_cpu_ns();

	bench_fiber("receive", receive_main, &trial);
	return (bench_cpu_ns() - before) / (double)bench->corpus.bytes;
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
static void record(const struct bench *bench, struct wires *wires, uint64_t bytes)
{
	size_t room = bytes + bytes / 64 + 65536;
	int got;

	wires->sealed = malloc(room);
	must(wires->sealed);
	wires->sealed_bytes = 0;
	for (uint64_t done = 0; done < bytes; done += RECORD_BYTES) {
		must(SSL_write(wires->server, bench->corpus.text + done % bench->corpus.text_bytes,
			       RECORD_BYTES) == RECORD_BYTES);
		got = BIO_read(wires->from_server, wires->sealed + wires->sealed_bytes,
			       (int)(room - wires->sealed_bytes));
		must(got > 0);
		wires->sealed_bytes += (size_t)got;
	}
	wires->recorded = true;
}

static double open_all(const struct bench *bench, struct tls *tls, uint64_t bytes)
{
	double before = bench_cpu_ns();
	uint64_t done = 0;
	size_t got;

	while (done < bytes) {
		uint8_t *to = bench->cold + done % (BENCH_COLD_BYTES - CHUNK_BYTES);

		must(tls_read(tls, to, CHUNK_BYTES, &got) == OK && got > 0);
		done += got;
	}
	return (bench_cpu_ns() - before) / (double)bytes;
}

double stage_tls(const struct bench *bench)
{
	struct wires wires = { .recorded = false };
	const struct tls_wire wire = {
		.take = wire_take, .give = wire_give, .owner = &wires, .peer = "the bench"
	};
	SSL_CTX *server = SSL_CTX_new(TLS_server_method());
	uint64_t bytes = min_u64(bench->corpus.bytes, 64 << 20) / RECORD_BYTES * RECORD_BYTES;
	struct tls_context *context = NULL;
	struct tls *tls = NULL;
	double ns;

	must(server &&
	     SSL_CTX_use_certificate_file(server, bench->certificate, SSL_FILETYPE_PEM) == 1);
	must(SSL_CTX_use_PrivateKey_file(server, bench->key, SSL_FILETYPE_PEM) == 1);
	wires.server = SSL_new(server);
	wires.to_server = BIO_new(BIO_s_mem());
	wires.from_server = BIO_new(BIO_s_mem());
	SSL_set_bio(wires.server, wires.to_server, wires.from_server);
	SSL_set_accept_state(wires.server);
	must(tls_context_open(bench->ca_file, &context) == OK);
	must(tls_open(context, "127.0.0.1", &wire, &tls) == OK);
	shake_hands(tls, &wires);
	record(bench, &wires, bytes);
	ns = open_all(bench, tls, bytes);
	tls_close(&tls);
	tls_context_close(&context);
	SSL_free(wires.server);
	SSL_CTX_free(server);
	free(wires.sealed);
	return ns;
}

double stage_digest(const struct bench *bench, const char *name)
{
	struct tap *tap = NULL;
	struct digest digest;
	size_t at = 0;
	double before;

	must(digest_open(digest_type(text_of(name)), &tap) == OK);
	before = bench_cpu_ns();
	for (size_t i = 0; i < bench->corpus.count; i++) {
		uint32_t left = bench->corpus.sizes[i];

		tap->type->begin(tap);
		for (uint32_t n; left > 0; left -= n, at += round_up(n, 64)) {
			n = (uint32_t)min_u64(left, CHUNK_BYTES);
			if (at + n > BENCH_COLD_BYTES)
				at = 0;
			tap->type->update(tap, bench->cold + at, n);
		}
		tap->type->end(tap, &digest);
	}
	before = bench_cpu_ns() - before;
	tap->type->close(&tap);
	return before / (double)bench->corpus.bytes;
}

double stage_crc(const struct bench *bench, enum crc_kind kind)
{
	double before = bench_cpu_ns();
	uint64_t crc = 0, bytes = 0;

	_Static_assert(BENCH_COLD_BYTES % CHUNK_BYTES == 0, "chunks never reach over the end");
	for (; bytes < bench->corpus.bytes; bytes += CHUNK_BYTES)
		crc = crc_update(kind, crc, bench->cold + bytes % BENCH_COLD_BYTES, CHUNK_BYTES);
	return (bench_cpu_ns() - before) / (double)bytes;
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

static enum err framing_main(void *context)
{
	struct trial *trial = context;
	size_t count = min_u64(trial->bench->corpus.count, FRAMING_MESSAGES_MAX), seen = 0;
	struct buffer text = { .bytes_max = 16 << 20 };
	struct reserve *reserve = NULL;
	struct imap_wire *wire = NULL;
	struct imap_fetch *fetch = NULL;
	struct imap_event event;
	struct replies replies;
	double before;
	enum err e;

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
	before = bench_cpu_ns();
	while (imap_fetch_next(fetch, &event) == OK) {
		seen += event.kind == IMAP_EVENT_MESSAGE;
		stream_close(&event.body);
	}
	trial->ns = (bench_cpu_ns() - before) / (double)count;
	must(seen == count);
	imap_fetch_close(&fetch);
	imap_wire_close(&wire);
	reserve_close(&reserve);
	buffer_free(&text);
	err_note_clear();
	return OK;
}

double stage_framing(const struct bench *bench)
{
	struct trial trial = { bench, 0 };

	bench_fiber("framing", framing_main, &trial);
	return trial.ns;
}

static enum err ledger_main(void *context)
{
	struct trial *trial = context;
	struct ledger_mailbox mailbox;
	struct ledger *ledger = NULL;
	struct box *box = calloc(1, sizeof *box);
	struct ledger_row row = { .state = LEDGER_MOVED, .size_bytes = 5000 };
	uint64_t epoch, next_no, count = trial->bench->corpus.count;
	double before;
	enum err e;

	must(box);
	snprintf(box->name, sizeof box->name, "INBOX");
	box->epoch = 1;
	if ((e = ledger_open(trial->bench->state_dir, clock_after(60 * NSEC_SECOND), &ledger)) ||
	    (e = ledger_mailbox(ledger, "a", "b", "blake3", &mailbox)) ||
	    (e = ledger_box(ledger, mailbox.mailbox_no, box, &epoch, &next_no)))
		return e;
	before = bench_cpu_ns();
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
		trial->ns = (bench_cpu_ns() - before) / (double)count;
	if (e == OK)
		e = ledger_finish(ledger, clock_after(60 * NSEC_SECOND));
	ledger_close(&ledger);
	free(box);
	return e;
}

double stage_ledger(const struct bench *bench)
{
	struct trial trial = { bench, 0 };

	bench_remove_ledger(bench);
	bench_fiber("ledger", ledger_main, &trial);
	return trial.ns;
}

/* As a pack has them: small messages share a frame, a large one has several. */
double stage_zstd(const struct bench *bench, int level, double *stored_per_byte)
{
	const struct corpus *corpus = &bench->corpus;
	size_t room = zstd_stage_bound(FRAME_BYTES), stored;
	uint8_t *to = malloc(room);
	struct zstd_stage *zstd = NULL;
	uint64_t stored_all = 0;
	double before;

	must(to && zstd_stage_open(level, &zstd) == OK);
	before = bench_cpu_ns();
	for (size_t i = 0, first = 0; i < corpus->count; first = i) {
		uint64_t left = corpus->sizes[i++];

		while (i < corpus->count && left + corpus->sizes[i] <= FRAME_BYTES)
			left += corpus->sizes[i++];
		for (uint64_t at = 0, n; left > 0; at += n, left -= n) {
			n = min_u64(left, FRAME_BYTES);
			must(zstd_stage_frame(zstd, corpus_body(corpus, first) + at, n, to, room,
					      &stored) == OK);
			stored_all += stored;
		}
	}
	before = bench_cpu_ns() - before;
	*stored_per_byte = (double)stored_all / (double)corpus->bytes;
	zstd_stage_close(&zstd);
	free(to);
	return before / (double)corpus->bytes;
}

double stage_store(const struct bench *bench)
{
	double before = bench_cpu_ns(), ns;
	char path[512];
	int fd = -1;

	snprintf(path, sizeof path, "%s/pack", bench->state_dir);
	for (uint64_t done = 0; done < bench->corpus.bytes; done += WRITE_BYTES_ALONE) {
		if (done % PACK_BYTES == 0) {
			if (fd >= 0)
				close(fd);
			unlink(path);
			fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
			must(fd >= 0);
		}
		must(write(fd, bench->cold + done % (BENCH_COLD_BYTES - WRITE_BYTES_ALONE),
			   WRITE_BYTES_ALONE) == WRITE_BYTES_ALONE);
	}
	ns = (bench_cpu_ns() - before) / (double)round_up(bench->corpus.bytes, WRITE_BYTES_ALONE);
	close(fd);
	unlink(path);
	return ns;
}
