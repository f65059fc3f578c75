/* The parser of FETCH from memory: whatever the pieces it is read in, the outcome is the same;
 * whatever is cut or damaged, it ends, and every chunk comes home. Single replies: tests/wire. */
#include "tests/test.h"

#include <stdlib.h>

#include "engine/bytes.h"
#include "engine/clock.h"
#include "engine/fiber.h"
#include "transport/imap_fetch.h"

/* Everything a server may say, with every way to send a body. */
static const char transcript[] =
	"* OK [UIDVALIDITY 7] fine {5}\r\n"
	"* 3 EXISTS\r\n"
	"* 1 FETCH (UID 1 FLAGS (\\Seen $Label a) INTERNALDATE \" 1-Mar-2014 08:00:00 +0100\" "
	"BODY[] {12}\r\n"
	"hello\r\n\r\n* )"
	")\r\n"
	"* 2 FETCH (BODY[] {6}\r\nsecond UID 2 FLAGS () INTERNALDATE \"01-Jan-2020 00:00:00 "
	"+0000\")\r\n"
	"* 3 FETCH (UID 3 MODSEQ (7) FLAGS (\\Odd \\Recent) X ({3}\r\na)b (c \"d)\" (e))) "
	"INTERNALDATE NIL"
	" RFC822.SIZE 99 BODY[] \"quo\\\"ted\")\r\n"
	"* 4 FETCH (UID 4 FLAGS () INTERNALDATE \"01-Jan-2020 00:00:00 +0000\" BODY[] NIL)\r\n"
	"* 5 FETCH (UID 5 FLAGS () INTERNALDATE \"01-Jan-2020 00:00:00 +0000\" BODY[] ~{0}\r\n)\r\n"
	"* 5 FETCH (FLAGS (\\Deleted))\r\n"
	"* LIST () \"/\" {4}\r\na{1}\r\n"
	"* VANISHED 4:7\r\n"
	"* NO [ALERT] hm\r\n"
	"a3 OK done\r\n"
	"* BYE so long\r\n";

struct memory {
	const char *at;
	size_t left, piece;
};

static enum err read_memory(void *owner, void *to, size_t max, nsec until, size_t *got)
{
	struct memory *memory = owner;
	size_t n = min_u64(min_u64(max, memory->piece), memory->left);

	(void)until;
	if (n == 0)
		return RAISE(ERR_NET_CLOSED, "end of the transcript");
	bytes_copy(to, memory->at, n, BYTES_META);
	memory->at += n;
	memory->left -= n;
	*got = n;
	return OK;
}

/* The parser over what is in memory. */
struct reading {
	struct memory memory;
	struct imap_port port;
	struct imap_wire *wire;
	struct imap_fetch *fetch;
	struct reserve *reserve;
};

/* It comes in pieces of `piece` bytes; the reserve is taken. Stays where it is until closed. */
static void reading_open(struct reading *reading, struct text text, size_t piece,
			 struct reserve *reserve)
{
	*reading = (struct reading){ .memory = { text.at, text.bytes, piece },
				     .port = { read_memory, &reading->memory },
				     .reserve = reserve };
	CHECK_OK(imap_wire_open(&reading->port, NULL, 10 * NSEC_SECOND, &reading->wire));
	CHECK_OK(imap_fetch_open(reading->wire, reserve, &reading->fetch));
}

static void reading_close(struct reading *reading)
{
	imap_fetch_close(&reading->fetch);
	imap_wire_close(&reading->wire);
	reserve_close(&reading->reserve); /* insists that every chunk is home */
	err_note_clear();
}

static struct reserve *reserve_of(unsigned chunks)
{
	struct reserve *reserve = NULL;

	CHECK_OK(reserve_open(arena_current(), chunks, clock_after(NSEC_SECOND), &reserve));
	return reserve;
}

static struct text text_in(const struct buffer *buffer)
{
	return (struct text){ buffer->at, buffer->bytes };
}

static enum err add_body(struct stream *body, struct buffer *told)
{
	struct iolist list = { .count = 0 };
	enum err e;

	while ((e = stream_pull(body, &list)) == OK) {
		for (unsigned i = 0; i < list.count; i++) {
			CHECK(list.slices[i].offset % 64 == 0);
			buffer_add(told, slice_bytes(&list.slices[i]), list.slices[i].length);
		}
		iolist_release(&list);
	}
	buffer_addf(told, "/%s", err_name(e));
	return e;
}

/* Tells everything that is read as one text, the error at its end included. */
static void tell(struct imap_fetch *fetch, struct buffer *told)
{
	struct imap_event event;
	enum err e;

	while ((e = imap_fetch_next(fetch, &event)) == OK) {
		buffer_addf(
			told,
			"[%d tag=%u state=%d code=%.*s text=%.*s uid=%u no=%d large=%d size=%lld ",
			event.kind, event.tag, event.status.state, (int)event.status.code.bytes,
			event.status.code.at, (int)event.status.text.bytes, event.status.text.at,
			event.uid, event.no_body, event.too_large, (long long)event.size_bytes);
		if (event.meta)
			buffer_addf(told, "flags=%u keywords=%.*s dropped=%u date=%lld body=",
				    event.meta->flags, event.meta->keywords_bytes,
				    event.meta->keywords, event.meta->keywords_dropped,
				    (long long)(event.meta->date.known ? event.meta->date.seconds
								       : -1));
		if (event.body)
			(void)add_body(event.body, told);
		buffer_add_text(told, "]\n");
	}
	buffer_addf(told, "%s\n", err_name(e));
}

static void parse(const char *bytes, size_t n, size_t piece, size_t read_bytes, struct buffer *told)
{
	struct reading reading;

	reading_open(&reading, (struct text){ bytes, n }, piece, reserve_of(LANE_CHUNKS_RESERVED));
	reading.wire->read_bytes = read_bytes;
	tell(reading.fetch, told);
	reading_close(&reading);
}

TEST_FIBER(every_fragmentation_gives_the_same)
{
	size_t n = sizeof transcript - 1;
	struct buffer whole = { 0 }, told = { 0 };

	parse(transcript, n, n, IMAP_READ_BYTES_COLD, &whole);
	CHECK(strstr(whole.at, "body=hello\r\n\r\n* )/STREAM_ENDED"));
	CHECK(strstr(whole.at,
		     "uid=2 no=0 large=0 size=6 flags=0 keywords= dropped=0 date=1577836800 "
		     "body=second/STREAM_ENDED"));
	CHECK(strstr(whole.at, "dropped=1 date=-1 body=quo\"ted/STREAM_ENDED"));
	CHECK(strstr(whole.at, "uid=4 no=1"));
	CHECK(strstr(whole.at, "text=so long"));
	for (size_t piece = 1; piece <= n; piece++) {
		buffer_reset(&told);
		parse(transcript, n, piece, piece % 2 ? IMAP_READ_BYTES_HOT : IMAP_READ_BYTES_COLD,
		      &told);
		if (strcmp(told.at, whole.at) != 0) {
			test_failed(__FILE__, __LINE__, "pieces of %zu give %s", piece, told.at);
			break;
		}
	}
	buffer_free(&whole);
	buffer_free(&told);
}

/* Behind what both tell there is the end of the one body being read, and the end of it all. */
static bool is_cut_short(const char *rest)
{
	const char *line = strchr(rest, '\n');

	if (strcmp(rest, "NET_CLOSED\n") == 0)
		return true;
	return line && strstr(rest, "NET_CLOSED]\n") && strcmp(line, "\nNET_CLOSED\n") == 0;
}

TEST_FIBER(every_cut_ends_and_makes_nothing_up)
{
	size_t n = sizeof transcript - 1, same;
	struct buffer whole = { 0 }, told = { 0 };

	parse(transcript, n, n, IMAP_READ_BYTES_HOT, &whole);
	for (size_t cut = 0; cut < n; cut++) {
		buffer_reset(&told);
		parse(transcript, cut, 7, IMAP_READ_BYTES_HOT, &told);
		for (same = 0; told.at[same] && told.at[same] == whole.at[same]; same++)
			continue;
		if (told.at[same] && !is_cut_short(told.at + same)) {
			test_failed(__FILE__, __LINE__, "cut at %zu gives %s", cut, told.at);
			break;
		}
	}
	buffer_free(&whole);
	buffer_free(&told);
}

TEST_FIBER(every_damaged_byte_ends_and_loses_no_chunk)
{
	static const char damage[] = { '\0', '\r', '\n', ' ', '(', ')', '"', '\\',	'{',
				       '}',  '[',  ']',	 '~', '0', '9', '*', (char)0xff };
	size_t n = sizeof transcript - 1;
	char *copy = malloc(n);
	struct buffer told = { 0 };

	for (size_t at = 0; at < n; at++)
		for (unsigned i = 0; i < sizeof damage; i++) {
			bytes_copy(copy, transcript, n, BYTES_META);
			copy[at] = damage[i];
			buffer_reset(&told);
			parse(copy, n, n, IMAP_READ_BYTES_HOT, &told);
			CHECK(told.bytes > 0 && !told.failed);
		}
	buffer_free(&told);
	free(copy);
}

/* ---- labels ---- */

/* Labels as a server may say them, joined by '|' and with "-n" for n that were dropped; else the
 * error. Read in pieces of `piece` bytes. */
static const char *labels_of(const char *said, size_t piece)
{
	static struct buffer told;
	struct buffer text = { 0 };
	struct reading reading;
	struct imap_event event;
	enum err e;

	buffer_addf(&text, "* 1 FETCH (UID 7 X-GM-LABELS %s FLAGS (\\Seen))\r\n", said);
	buffer_reset(&told);
	buffer_add_text(&told, "");
	reading_open(&reading, text_in(&text), piece, reserve_of(LANE_CHUNKS_RESERVED));
	imap_fetch_take_labels(reading.fetch, true);
	e = imap_fetch_next(reading.fetch, &event);
	if (e) {
		buffer_add_text(&told, err_name(e));
	} else {
		CHECK(event.has_labels && event.has_flags && event.uid == 7);
		buffer_add(&told, event.labels.at, event.labels.bytes);
		for (size_t i = 0; i < told.bytes; i++)
			told.at[i] = told.at[i] ? told.at[i] : '|';
		if (event.labels_dropped)
			buffer_addf(&told, "-%u", event.labels_dropped);
	}
	reading_close(&reading);
	buffer_free(&text);
	return told.at;
}

TEST_FIBER(labels_are_read_in_every_shape)
{
	static const struct {
		const char *said, *read;
	} shapes[] = {
		{ "()", "" },
		{ "NIL", "" },
		{ "( )", "" },
		{ "(\\Inbox \\Sent Important \"Muy Importante\")",
		  "\\Inbox|\\Sent|Important|Muy Importante|" },
		{ "(\"\\\\Inbox\" \"a \\\"b\\\" (c)\")", "\\Inbox|a \"b\" (c)|" },
		{ "({3}\r\na)b {0}\r\n x)", "a)b|x|-1" },
		{ "(a {4}\r\nb\r\nc)", "a|b\r\nc|" },
		{ "(B&APw-cher [x] \"\xc3\xbc\")", "B&APw-cher|[x]|\xc3\xbc|" },
		{ "(\"a\"\"b\")", "a|b|" },
		{ "(a  b )", "a|b|" },
		{ "(a (b (c)) \"\")", "a|-2" },
		{ "(a {7}\r\n{3}\r\nab)", "a|{3}\r\nab|" },
		{ "a", "IMAP_SYNTAX" },
		{ "(a", "IMAP_SYNTAX" },
		{ "(a \"b)", "IMAP_SYNTAX" },
		{ "(a (b)", "IMAP_SYNTAX" },
		{ "(a)b", "IMAP_SYNTAX" },
		{ "", "IMAP_SYNTAX" },
	};

	for (unsigned i = 0; i < ARRAY_COUNT(shapes); i++)
		for (size_t piece = 1; piece < 40; piece += 3)
			CHECK_TEXT(labels_of(shapes[i].said, piece), shapes[i].read);
}

/* Longer than the name of any folder, and more than anybody has. */
TEST_FIBER(labels_without_end_are_dropped_and_counted)
{
	struct buffer said = { 0 };
	const char *told;

	buffer_addf(&said, "(a \"%01025d\" {2000}\r\n%02000d b %01024d)", 0, 0, 0);
	told = labels_of(said.at, 1000);
	CHECK(strncmp(told, "a|b|000", 7) == 0);
	CHECK(strstr(told, "|-2"));
	buffer_reset(&said);
	buffer_add_text(&said, "(");
	for (unsigned i = 0; i < IMAP_LABELS_BYTES_MAX / 8 + 100; i++)
		buffer_add_text(&said, "abcdefg ");
	buffer_add_text(&said, "x)");
	told = labels_of(said.at, 5000);
	CHECK(strstr(told, "|abcdefg|-101"));
	buffer_free(&said);
}

/* 40 messages of 1000 bytes take one chunk, not 40. */
TEST_FIBER(small_messages_share_a_chunk)
{
	struct buffer text = { 0 };
	struct reading reading;
	struct iolist *held = calloc(40, sizeof *held);
	struct imap_event event;

	REQUIRE(held);
	for (unsigned i = 1; i <= 40; i++)
		buffer_addf(
			&text,
			"* %u FETCH (UID %u FLAGS () INTERNALDATE NIL BODY[] {1000}\r\n%0*u)\r\n",
			i, i, 1000, i);
	reading_open(&reading, text_in(&text), text.bytes, reserve_of(1));
	for (unsigned i = 0; i < 40; i++) {
		CHECK_OK(imap_fetch_next(reading.fetch, &event));
		REQUIRE(event.body);
		CHECK_OK(stream_pull(event.body, &held[i]));
		CHECK_EQ(iolist_bytes(&held[i]), 1000);
		CHECK(held[i].slices[0].chunk == held[0].slices[0].chunk);
	}
	for (unsigned i = 0; i < 40; i++) {
		CHECK_EQ(strtoul((const char *)slice_bytes(&held[i].slices[0]) + 990, NULL, 10),
			 i + 1);
		iolist_release(&held[i]);
	}
	reading_close(&reading);
	buffer_free(&text);
	free(held);
}

/* Whole chunks at offsets that are multiples of a chunk, so that digests see long spans; and only
 * what was read with the line is copied. */
TEST_FIBER(large_messages_fill_whole_chunks_with_few_copies)
{
	struct buffer text = { 0 }, body = { 0 };
	struct iolist list = { .count = 0 };
	struct reading reading;
	struct imap_event event;
	uint64_t copied = bytes_copied(BYTES_LINE_TAIL);

	buffer_addf(&text,
		    "* 1 FETCH (UID 1 FLAGS () INTERNALDATE NIL BODY[] {200000}\r\n%0200000d)\r\n",
		    7);
	reading_open(&reading, text_in(&text), 5000, reserve_of(8));
	reading.wire->read_bytes = IMAP_READ_BYTES_HOT;
	CHECK_OK(imap_fetch_next(reading.fetch, &event));
	REQUIRE(event.body);
	for (unsigned i = 0; i < 4; i++) {
		CHECK_OK(stream_pull(event.body, &list));
		CHECK_EQ(iolist_bytes(&list), i < 3 ? CHUNK_BYTES : 200000 - 3 * CHUNK_BYTES);
		buffer_add(&body, slice_bytes(&list.slices[0]), list.slices[0].length);
		iolist_release(&list);
	}
	CHECK_ERR(stream_pull(event.body, &list), ERR_STREAM_ENDED);
	CHECK_EQ(strtoul(body.at, NULL, 10), 7);
	CHECK(bytes_copied(BYTES_LINE_TAIL) - copied < IMAP_READ_BYTES_HOT);
	reading_close(&reading);
	buffer_free(&text);
	buffer_free(&body);
}

/* What a sink has of a message that was read with a loan, and somebody who waits for that loan. */
struct lent {
	struct iolist stored[4];
	struct reserve *asking;
	bool is_stored, is_lent;
};

static enum err store_at_last(void *argument)
{
	struct lent *lent = argument;

	for (int i = 0; i < 50; i++)
		CHECK_OK(fiber_yield());
	lent->is_stored = true;
	for (int i = 0; i < 4; i++)
		iolist_release(&lent->stored[i]);
	return OK;
}

static enum err ask_for_loan(void *argument)
{
	struct lent *lent = argument;
	struct chunk *chunks[4] = { 0 };

	for (int i = 0; i < 4; i++)
		CHECK_OK(chunk_wait(lent->asking, clock_after(60 * NSEC_SECOND), &chunks[i]));
	lent->is_lent = true;
	for (int i = 0; i < 4; i++)
		chunk_unref(&chunks[i]);
	return OK;
}

TEST_FIBER(a_message_is_not_begun_with_a_loan_that_somebody_waits_for)
{
	struct buffer text = { 0 };
	struct lent lent = { 0 };
	struct iolist list = { .count = 0 };
	struct reserve *reserve = NULL;
	struct reading reading;
	struct arena *arena = NULL;
	struct imap_event event;
	struct group *group = group_open();

	for (unsigned i = 1; i <= 2; i++)
		buffer_addf(&text,
			    "* %u FETCH (UID %u FLAGS () INTERNALDATE NIL BODY[] {200000}\r\n"
			    "%0200000d)\r\n",
			    i, i, 7);
	CHECK_OK(arena_open(2 + 2 + 6, &arena));
	CHECK_OK(reserve_open_lending(arena, 2, 8, clock_after(NSEC_SECOND), &reserve));
	CHECK_OK(reserve_open_lending(arena, 2, 8, clock_after(NSEC_SECOND), &lent.asking));
	reading_open(&reading, text_in(&text), 5000, reserve);
	CHECK_OK(imap_fetch_next(reading.fetch, &event));
	REQUIRE(event.body);
	for (int i = 0; i < 4; i++)
		CHECK_OK(stream_pull(event.body, &lent.stored[i]));
	CHECK_ERR(stream_pull(event.body, &list), ERR_STREAM_ENDED);
	CHECK_EQ(arena_counts(arena).loans, 1);
	CHECK_OK(group_spawn(group, "asks", FIBER_STACK_SMALL, ask_for_loan, &lent));
	CHECK_OK(group_spawn(group, "stores", FIBER_STACK_SMALL, store_at_last, &lent));
	for (int i = 0; i < 4; i++)
		CHECK_OK(fiber_yield());
	CHECK(!lent.is_lent && !lent.is_stored);
	stream_close(&event.body);
	CHECK_OK(imap_fetch_next(reading.fetch, &event));
	REQUIRE(event.body);
	CHECK_OK(stream_pull(event.body, &list));
	CHECK(lent.is_stored); /* it waited */
	CHECK_OK(group_join(&group));
	CHECK(lent.is_lent);
	CHECK_EQ(iolist_bytes(&list), CHUNK_BYTES);
	iolist_release(&list);
	stream_close(&event.body);
	reading_close(&reading);
	reserve_close(&lent.asking);
	arena_close(&arena);
	buffer_free(&text);
}
