/* Where a conversation turns to compressed bytes: exactly behind the CRLF of the OK, whatever was
 * read with it. Whole conversations are in tests/wire. */
#include "transport/imap_deflate.h"

#include <stdlib.h>

#include "engine/budget.h"
#include "engine/clock.h"
#include "engine/fiber.h"
#include "engine/limits.h"
#include "engine/shard.h"
#include "tests/test.h"
#include "transport/deflate.h"

/* What comes, `piece` bytes at once; then ERR_NET_CLOSED. */
struct coming {
	uint8_t bytes[8192];
	size_t count, at, piece;
};

static enum err read_coming(void *owner, void *to, size_t max, nsec until, size_t *got)
{
	struct coming *coming = owner;

	(void)until;
	if (coming->at == coming->count)
		return RAISE(ERR_NET_CLOSED, "the test's bytes are at their end");
	*got = min_u64(min_u64(max, coming->piece), coming->count - coming->at);
	bytes_copy(to, coming->bytes + coming->at, *got, BYTES_META);
	coming->at += *got;
	return OK;
}

static void add(struct coming *coming, const char *text)
{
	must(coming->count + strlen(text) <= sizeof coming->bytes);
	memcpy(coming->bytes + coming->count, text, strlen(text));
	coming->count += strlen(text);
}

static void add_packed(struct coming *coming, struct deflate *peer, const char *text)
{
	struct deflate_span from = { (const uint8_t *)text, strlen(text) };
	bool done = false;

	while (from.bytes)
		coming->count += deflate_pack(peer, &from, coming->bytes + coming->count,
					      sizeof coming->bytes - coming->count);
	while (!done)
		coming->count += deflate_flush(peer, coming->bytes + coming->count,
					       sizeof coming->bytes - coming->count, &done);
}

static void expect_line(struct imap_wire *wire, const char *line)
{
	struct text part = { 0 };
	int64_t literal = 0;

	if (CHECK_OK(imap_wire_part(wire, true, &part, &literal)))
		CHECK(text_equal(part, text_of(line)));
}

static enum err turn_behind_the_ok(void *argument)
{
	static struct coming coming; /* a fiber's frame is small */
	const struct imap_port port = { read_coming, &coming };
	uint64_t high = budget_high(BUDGET_CONNECTIONS);
	struct imap_wire *wire = NULL;
	struct deflate *peer = NULL;
	static char body[3000], heard[sizeof body];
	struct text part = { 0 };
	int64_t literal = 0;
	size_t got;

	coming = (struct coming){ .piece = *(const size_t *)argument };
	memset(body, 'b', sizeof body - 1);
	body[sizeof body - 1] = '\0';
	CHECK_OK(deflate_open(&peer));
	add(&coming, "* 3 EXISTS\r\na1 OK begin\r\n");
	add_packed(&coming, peer, "* 4 EXISTS\r\n* 1 FETCH (BODY[] {2999}\r\n");
	add_packed(&coming, peer, body);
	add_packed(&coming, peer, ")\r\na2 OK done\r\n");
	CHECK_OK(imap_wire_open(&port, NULL, 10 * NSEC_SECOND, &wire));
	expect_line(wire, "* 3 EXISTS");
	expect_line(wire, "a1 OK begin");
	CHECK_OK(imap_wire_compress(wire));
	CHECK_EQ(imap_wire_left(wire), 0);
	expect_line(wire, "* 4 EXISTS");
	CHECK_OK(imap_wire_part(wire, true, &part, &literal));
	CHECK_EQ(literal, 2999);
	for (size_t n = 0; n < 2999; n += got)
		if (!CHECK_OK(imap_wire_bytes(wire, heard + n, 2999 - n, &got)))
			break;
	CHECK(memcmp(heard, body, 2999) == 0);
	CHECK_OK(imap_wire_part(wire, false, &part, &literal));
	CHECK(text_equal(part, text_of(")")));
	expect_line(wire, "a2 OK done");
	CHECK_ERR(imap_wire_part(wire, true, &part, &literal), ERR_NET_CLOSED);
	err_note_clear();
	CHECK(budget_high(BUDGET_CONNECTIONS) >= high);
	CHECK(budget_high(BUDGET_CONNECTIONS) >= COMPRESSED_CONVERSATION_BYTES);
	imap_wire_close(&wire);
	deflate_close(&peer);
	return OK;
}

TEST(what_was_read_beyond_the_ok_is_compressed_already)
{
	static const size_t pieces[] = { 1, 13, 14, 25, 26, 27, 60, 8192 };

	for (size_t i = 0; i < ARRAY_COUNT(pieces); i++)
		CHECK_OK(shard_run(&(struct shard_config){ 0 }, turn_behind_the_ok,
				   (void *)(uintptr_t)&pieces[i]));
}

/* Empty stored blocks, RFC 1951 section 3.2.4, without a wait between them. */
static enum err read_nothing(void *owner, void *to, size_t max, nsec until, size_t *got)
{
	static const uint8_t block[] = { 0x00, 0x00, 0x00, 0xff, 0xff };
	uint64_t *times = owner;

	(void)until;
	must(max >= sizeof block);
	memcpy(to, block, sizeof block);
	*got = sizeof block;
	++*times;
	return OK;
}

static enum err read_until_it_is_late(void *argument)
{
	uint64_t times = 0;
	const struct imap_port below = { read_nothing, &times };
	struct imap_deflate *it = NULL;
	struct imap_port port;
	char to[100];
	size_t got;

	(void)argument;
	CHECK_OK(imap_deflate_open(&below, NULL, NULL, 0, &it));
	port = imap_deflate_port(it);
	CHECK_ERR(port.read(port.owner, to, sizeof to, clock_after(20 * NSEC_MILLISECOND), &got),
		  ERR_NET_TIMEOUT);
	CHECK(strstr(err_note()->text, "nothing comes out of it"));
	err_note_clear();
	CHECK(times > 0);
	imap_deflate_close(&it);
	return OK;
}

TEST(a_peer_that_sends_compressed_nothing_without_end_times_out)
{
	CHECK_OK(shard_run(&(struct shard_config){ 0 }, read_until_it_is_late, NULL));
}

/* A few bytes open to a thousand times as many: other fibers get their turn meanwhile. */
static enum err count_turns(void *argument)
{
	unsigned *turns = argument;
	enum err e;

	while ((e = fiber_yield()) == OK)
		++*turns;
	return e == ERR_FIBER_CANCELED ? OK : e;
}

static enum err read_swollen(void *argument)
{
	static struct coming coming;
	static char many[64 * 1024], to[64 * 1024];
	const struct imap_port below = { read_coming, &coming };
	struct group *group = group_open();
	struct imap_deflate *it = NULL;
	struct deflate *peer = NULL;
	struct imap_port port;
	unsigned turns = 0;
	size_t got, opened = 0;

	(void)argument;
	coming = (struct coming){ .piece = sizeof coming.bytes };
	memset(many, 'x', sizeof many - 1);
	CHECK_OK(deflate_open(&peer));
	for (unsigned i = 0; i < 64; i++)
		add_packed(&coming, peer, many);
	CHECK_OK(group_spawn(group, "others", FIBER_STACK_SMALL, count_turns, &turns));
	CHECK_OK(imap_deflate_open(&below, NULL, coming.bytes, 0, &it));
	port = imap_deflate_port(it);
	while (port.read(port.owner, to, sizeof to, clock_after(NSEC_SECOND), &got) == OK)
		opened += got;
	CHECK_EQ(opened, 64 * (sizeof many - 1));
	CHECK(turns >= opened / IMAP_DEFLATE_OPEN_BYTES_TURN - 1);
	err_note_clear();
	group_cancel(group);
	CHECK_OK(group_join(&group));
	imap_deflate_close(&it);
	deflate_close(&peer);
	return OK;
}

TEST(what_swells_leaves_others_their_turn)
{
	CHECK_OK(shard_run(&(struct shard_config){ 0 }, read_swollen, NULL));
}
