/* What the tests of archives share: messages made of a seed, a sink's life in one call, an archive
 * read back and compared, stock tools run over it. */
#ifndef MAILHAUL_TESTS_ARCHIVE_HELP_H
#define MAILHAUL_TESTS_ARCHIVE_HELP_H

#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crypto/digest.h"
#include "engine/clock.h"
#include "engine/fiber.h"
#include "engine/sink.h"
#include "tests/test.h"
#include "transport/archive.h"

#define HELP __attribute__((unused)) static

extern const struct sink_driver archive_sink;

/* ---- bytes ---- */

/* Text-like, the same for the same seed. */
HELP void fill(uint8_t *to, size_t n, uint64_t seed)
{
	uint64_t state = seed * 0x9E3779B97F4A7C15u + 1;

	for (size_t i = 0; i < n; i++) {
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		to[i] = i % 61 == 60 ? '\n' : (uint8_t)("etaoin shrdlu cmfwyp"[state % 20]);
	}
}

/* A body of known bytes, handed out all at once (staged) or piece by piece, that may fail on the
 * way. */
struct body_stream {
	struct stream base;
	struct reserve *reserve;
	const uint8_t *bytes;
	size_t length, at, piece; /* piece 0: staged, as one list */
	size_t fail_at;		  /* once so many bytes went out */
	enum err fail;		  /* OK: never */
	bool closed;
};

HELP enum err body_slice(struct body_stream *body, struct iolist *out)
{
	size_t n = min_u64(body->length - body->at, body->piece ? body->piece : CHUNK_BYTES);
	struct chunk *chunk;
	enum err e;

	if ((e = chunk_wait(body->reserve, clock_after(10 * NSEC_SECOND), &chunk)))
		return e;
	bytes_copy(chunk->data, body->bytes + body->at, n, BYTES_META);
	body->at += n;
	iolist_add(out, (struct slice){ chunk, 0, (uint32_t)n });
	return OK;
}

HELP enum err body_pull_any(struct stream *stream, struct iolist *out)
{
	struct body_stream *body = CONTAINER_OF(stream, struct body_stream, base);
	enum err e;

	if (body->fail && body->at >= body->fail_at)
		return RAISE(body->fail, "the source failed");
	if (body->at == body->length)
		return ERR_STREAM_ENDED;
	do
		e = body_slice(body, out);
	while (!e && !body->piece && body->at < body->length);
	return e;
}

HELP void body_close_any(struct stream *stream)
{
	CONTAINER_OF(stream, struct body_stream, base)->closed = true;
}

static const struct stream_type body_type = { body_pull_any, body_close_any };

HELP struct body_stream body_of(struct reserve *reserve, const void *bytes, size_t length,
				size_t piece)
{
	return (struct body_stream){ .base = { &body_type },
				     .reserve = reserve,
				     .bytes = bytes,
				     .length = length,
				     .piece = piece };
}

/* ---- a sink ---- */

/* What the lane does: the message's digest is made while the sink pulls it. */
struct digesting {
	struct tapped tapped;
	struct tap *tap;
};

HELP void digesting_open(struct digesting *digesting, struct item *item,
			 const struct tap_type *type)
{
	must(digest_open(type, &digesting->tap) == OK);
	item->body = tapped_open(&digesting->tapped, item->body, digesting->tap, &item->digest);
}

HELP void digesting_close(struct digesting *digesting)
{
	digesting->tap->type->close(&digesting->tap);
}

struct world {
	struct account account;
	struct sink_config config;
	struct reserve *reserve;
	struct tap *store_tap;
	struct sink *sink;
	char path[200];
	uint8_t ledger_id[16];
	/* What the receipts said. */
	uint64_t stored, settled;
	struct digest last_digest;
	struct buffer seal; /* the last one */
	uint64_t seal_no;
};

HELP void world_begin(struct world *world, const char *path)
{
	*world = (struct world){ 0 };
	snprintf(world->path, sizeof world->path, "%s", path);
	memset(world->ledger_id, 0x5A, sizeof world->ledger_id);
	world->account = (struct account){ .scheme = "file",
					   .user = "",
					   .host = "",
					   .path = world->path,
					   .shown = world->path,
					   .io_timeout = 60 * NSEC_SECOND };
	world->config = (struct sink_config){
		.mailbox_no = 1,
		.mailbox_name = "alice@mail.example.com",
		.ledger_id = world->ledger_id,
		.next_seal_no = 1,
		.digest = digest_type(text_of("blake3")),
		.zstd_level = 1,
		.pack_bytes = 64 * 1024 * 1024,
	};
	must(reserve_open(arena_current(), 2 * IOLIST_SLICES_MAX, clock_after(NSEC_SECOND),
			  &world->reserve) == OK);
	must(digest_open(world->config.digest, &world->store_tap) == OK);
	world->config.digest_of_store = world->store_tap;
}

HELP enum err world_open(struct world *world)
{
	return archive_sink.open(&world->sink, &world->account, &world->config,
				 clock_after(60 * NSEC_SECOND));
}

HELP void world_end(struct world *world)
{
	archive_sink.close(&world->sink);
	reserve_close(&world->reserve);
	world->store_tap->type->close(&world->store_tap);
	buffer_free(&world->seal);
}

HELP struct box box_named(const char *name, uint64_t box_no)
{
	struct box box = { .separator = '/',
			   .selectable = true,
			   .epoch = 1700000000,
			   .box_no = box_no,
			   .subscribed = true };

	snprintf(box.name, sizeof box.name, "%s", name);
	snprintf(box.raw, sizeof box.raw, "%s", name);
	return box;
}

HELP struct item item_of(uint64_t box_no, uint64_t no, struct body_stream *body)
{
	struct item item = { .kind = ITEM_MESSAGE,
			     .box_no = box_no,
			     .no = no,
			     .size_bytes = (int64_t)body->length,
			     .body = &body->base };

	item.meta.flags = MAIL_SEEN | MAIL_FLAGGED;
	item.meta.date = (struct mail_date){ 1394000000 + (int64_t)no, 60, true };
	item.meta.keywords_bytes = 11;
	memcpy(item.meta.keywords, "$Label1 abc", 11);
	return item;
}

HELP enum err world_put(struct world *world, uint64_t box_no, uint64_t no, const void *bytes,
			size_t n, size_t piece)
{
	struct body_stream body = body_of(world->reserve, bytes, n, piece);
	struct item item = item_of(box_no, no, &body);
	struct digesting digesting;
	enum err e = OK;

	digesting_open(&digesting, &item, world->config.digest);
	e = archive_sink.put(world->sink, &item);
	digesting_close(&digesting);

	stream_close(&item.body);
	return e;
}

/* Answer every receipt; `publish` false: keep the seal but let nothing become visible (and stop).
 */
HELP enum err world_receipts(struct world *world, bool publish)
{
	struct receipt receipt;
	enum err e;

	while (!(e = archive_sink.receipt(world->sink, &receipt))) {
		if (receipt.kind == RECEIPT_STORED) {
			world->stored++;
			world->last_digest = receipt.digest;
		} else if (receipt.kind == RECEIPT_SETTLED) {
			world->settled++;
		} else {
			buffer_reset(&world->seal);
			buffer_add(&world->seal, receipt.seal.at, receipt.seal.bytes);
			world->seal_no = receipt.seal_no;
			if (!publish)
				return OK;
			if ((e = archive_sink.publish(world->sink, receipt.seal_no)))
				return e;
		}
	}
	return e == ERR_SINK_FINISHED ? OK : e;
}

/* Drain, answer, write the manifest, close. */
HELP enum err world_finish(struct world *world)
{
	enum err e;

	archive_sink.drain(world->sink);
	if (!(e = world_receipts(world, true)))
		e = archive_sink.finish(world->sink, clock_after(60 * NSEC_SECOND));
	archive_sink.close(&world->sink);
	return e;
}

/* ---- reading back ---- */

HELP enum err collect(void *context, const void *from, size_t n)
{
	buffer_add(context, from, n);
	return OK;
}

HELP enum err archive_at(struct world *world, struct archive **archive,
			 struct archive_mailbox *mailbox)
{
	enum err e = archive_open(store_driver_of(world->account.scheme), &world->account,
				  clock_after(60 * NSEC_SECOND), archive);

	return e ? e : archive_mailbox_next(*archive, mailbox);
}

struct faults {
	unsigned count;
	char first_key[200], first_what[400];
};

HELP void fault_seen(void *context, const char *key, const char *what)
{
	struct faults *faults = context;

	if (faults->count++ == 0) {
		snprintf(faults->first_key, sizeof faults->first_key, "%s", key);
		snprintf(faults->first_what, sizeof faults->first_what, "%s", what);
	}
}

HELP enum err world_verify(struct world *world, struct faults *faults, struct archive_check *check)
{
	struct archive *archive = NULL;
	enum err e = archive_open(store_driver_of(world->account.scheme), &world->account,
				  clock_after(60 * NSEC_SECOND), &archive);

	*faults = (struct faults){ 0 };
	if (!e)
		e = archive_verify(archive, fault_seen, faults, check);
	archive_close(&archive);
	return e;
}

/* ---- stock tools ---- */

/* Exit code of a shell command; its output goes to `output` (at most room - 1 bytes). */
HELP int shell(const char *command, char *output, size_t room)
{
	FILE *pipe = popen(command, "r");
	size_t n;

	must(pipe != NULL);
	n = fread(output, 1, room - 1, pipe);
	output[n] = '\0';
	int status = pclose(pipe);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

HELP bool have_program(const char *name)
{
	char command[100], output[200];

	snprintf(command, sizeof command, "command -v %s", name);
	return shell(command, output, sizeof output) == 0;
}

#define MAILBOX_KEY_PATTERN "alice_mail.example.com-*"

#endif
