/* The parser of FETCH (imap_fetch, imap_scan, imap_body) from memory. The first byte chooses the
 * pieces it is read in, and whether labels are of interest: what is understood must not depend on
 * the pieces. */
#include <stdlib.h>

#include "engine/chunk.h"
#include "engine/clock.h"
#include "tests/fuzz/fuzz.h"
#include "transport/imap_fetch.h"

enum { LARGE_PIECES = 20000 }; /* of a large input, or it would take seconds */

struct memory {
	const char *at;
	size_t left, piece;
};

/* What came of one reading: all events but the one that was cut short. */
struct reading {
	uint64_t hash, events;
	enum err end;
};

static enum err read_memory(void *owner, void *to, size_t max, nsec until, size_t *got)
{
	struct memory *memory = owner;
	size_t n = min_u64(min_u64(max, memory->piece), memory->left);

	(void)until;
	if (n == 0)
		return RAISE(ERR_NET_CLOSED, "end of the input");
	bytes_copy(to, memory->at, n, BYTES_META);
	memory->at += n;
	memory->left -= n;
	*got = n;
	return OK;
}

/* The body's bytes into the hash; of one that breaks off, nothing. */
static void read_body(const struct imap_event *event, uint64_t *hash)
{
	struct iolist list = { .count = 0 };
	uint64_t inside = *hash, bytes = 0;
	enum err e;

	while ((e = stream_pull(event->body, &list)) == OK) {
		must(list.count > 0);
		for (unsigned i = 0; i < list.count; i++)
			inside = fuzz_hash(inside, slice_bytes(&list.slices[i]),
					   list.slices[i].length);
		bytes += iolist_bytes(&list);
		iolist_release(&list);
	}
	must(stream_pull(event->body, &list) == e); /* again and again */
	if (e != ERR_STREAM_ENDED)
		return;
	must((int64_t)bytes == event->size_bytes);
	*hash = inside;
}

static void read_meta(const struct mail_meta *meta, uint64_t *hash)
{
	must(meta->keywords_bytes <= sizeof meta->keywords);
	*hash = fuzz_hash(*hash, meta->keywords, meta->keywords_bytes);
	*hash = fuzz_hash(*hash, &meta->keywords_dropped, sizeof meta->keywords_dropped);
	*hash = fuzz_hash(*hash, &meta->flags, sizeof meta->flags);
	if (meta->date.known)
		*hash = fuzz_hash(*hash, &meta->date.seconds, sizeof meta->date.seconds);
}

static void read_event(const struct imap_event *event, struct reading *reading)
{
	uint64_t hash = fuzz_hash(reading->hash, &event->kind, sizeof event->kind);

	hash = fuzz_hash(hash, &event->uid, sizeof event->uid);
	hash = fuzz_hash(hash, &event->tag, sizeof event->tag);
	if (event->kind == IMAP_EVENT_TAGGED || event->kind == IMAP_EVENT_STATUS) {
		hash = fuzz_hash(hash, event->status.code.at, event->status.code.bytes);
		hash = fuzz_hash(hash, event->status.argument.at, event->status.argument.bytes);
		hash = fuzz_hash(hash, event->status.text.at, event->status.text.bytes);
	}
	if (event->meta)
		read_meta(event->meta, &hash);
	must(event->labels.bytes <= IMAP_LABELS_BYTES_MAX);
	must(!event->labels.bytes || event->labels.at[event->labels.bytes - 1] == '\0');
	hash = fuzz_hash(hash, event->labels.at, event->labels.bytes);
	hash = fuzz_hash(hash, &event->labels_dropped, sizeof event->labels_dropped);
	must(!event->body || event->kind == IMAP_EVENT_MESSAGE);
	if (event->body)
		read_body(event, &hash);
	reading->hash = hash;
	reading->events++;
}

static struct reading read_all(struct text input, size_t piece, size_t read_bytes, bool expects,
			       bool labels)
{
	struct memory memory = { input.at, input.bytes, piece };
	struct imap_port port = { read_memory, &memory };
	struct reading reading = { .hash = 0 };
	struct mail_meta meta = { .flags = MAIL_SEEN };
	struct imap_wire *wire = NULL;
	struct imap_fetch *fetch = NULL;
	struct reserve *reserve = NULL;
	struct imap_event event;

	must(reserve_open(arena_current(), LANE_CHUNKS_RESERVED, clock_after(NSEC_SECOND),
			  &reserve) == OK);
	must(imap_wire_open(&port, NULL, 10 * NSEC_SECOND, &wire) == OK);
	wire->read_bytes = read_bytes;
	must(imap_fetch_open(wire, reserve, &fetch) == OK);
	imap_fetch_take_labels(fetch, labels);
	if (expects)
		imap_fetch_expect(fetch, 7, &meta);
	while ((reading.end = imap_fetch_next(fetch, &event)) == OK)
		read_event(&event, &reading);
	imap_fetch_close(&fetch);
	imap_wire_close(&wire);
	reserve_close(&reserve);
	err_note_clear();
	return reading;
}

FUZZ_FIBER(fetch)
{
	unsigned how = fuzz_take_byte(&input);
	struct text filled = fuzz_fill(input);
	bool expects = how & 1, labels = how & 2;
	size_t piece = 1 + how / 2 + filled.bytes / LARGE_PIECES;
	struct reading whole =
		read_all(filled, filled.bytes + 1, IMAP_READ_BYTES_COLD, expects, labels);
	struct reading pieces = read_all(filled, piece, IMAP_READ_BYTES_HOT, expects, labels);

	must(whole.end == pieces.end && whole.events == pieces.events);
	must(whole.hash == pieces.hash);
	free((char *)(uintptr_t)filled.at);
}
