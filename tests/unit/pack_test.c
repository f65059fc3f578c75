/* Packs built and read back below the sink: frames, bounds, taking back a message that failed. */
#include <errno.h>

#include "engine/budget.h"
#include "tests/unit/archive_help.h"
#include "transport/json.h"
#include "transport/pack.h"
#include "transport/pack_read.h"

enum { MIB = 1024 * 1024, BIG_BYTES = 3 * MIB + 12345 };

struct bench {
	struct account account;
	char path[200];
	struct store *store;
	struct tap *tap;
	struct reserve *reserve;
	struct pack *pack;
	struct pack_done done;
	struct pack_box box;
};

static const char KEY[] = "m/packs/000000000001.tar.zst", PLAIN_KEY[] = "m/packs/000000000002.tar";

static enum err bench_begin(struct bench *bench, struct store *store, int level,
			    uint64_t pack_bytes)
{
	const struct pack_config config = { .store = store,
					    .digest = digest_type(text_of("blake3")),
					    .digest_of_store = bench->tap,
					    .zstd_level = level,
					    .pack_bytes = pack_bytes,
					    .mailbox_name = "m" };
	enum err e = pack_open(&config, &bench->pack);

	return e ? e : pack_begin(bench->pack, level ? KEY : PLAIN_KEY, 1700000000);
}

static enum err bench_open(struct bench *bench, int level, uint64_t pack_bytes)
{
	enum err e;

	*bench = (struct bench){ .box = { 1, 7, text_of("INBOX"), text_of("INBOX"),
					  text_of("INBOX"), '/' } };
	snprintf(bench->path, sizeof bench->path, "%s", test_directory());
	bench->account =
		(struct account){ .scheme = "file", .path = bench->path, .shown = bench->path };
	if ((e = reserve_open(arena_current(), 2 * IOLIST_SLICES_MAX, clock_after(NSEC_SECOND),
			      &bench->reserve)) ||
	    (e = store_dir.open(&bench->store, &bench->account, true, clock_after(NSEC_SECOND))) ||
	    (e = store_dir.lock(bench->store)) ||
	    (e = digest_open(digest_type(text_of("blake3")), &bench->tap)))
		return e;
	return bench_begin(bench, bench->store, level, pack_bytes);
}

static void bench_close(struct bench *bench)
{
	pack_done_free(bench->store, &bench->done);
	pack_close(&bench->pack);
	bench->tap->type->close(&bench->tap);
	store_dir.close(&bench->store);
	reserve_close(&bench->reserve);
}

static enum err add(struct bench *bench, uint64_t no, struct body_stream *body, bool *broken)
{
	struct item item = item_of(1, no, body);
	struct digesting digesting;
	enum err e;

	digesting_open(&digesting, &item, bench->tap->type);
	e = pack_add(bench->pack, &bench->box, &item, broken);
	digesting_close(&digesting);
	return e;
}

static void add_well(struct bench *bench, uint64_t no, const void *bytes, size_t n, size_t piece)
{
	struct body_stream body = body_of(bench->reserve, bytes, n, piece);
	bool broken = true;

	CHECK_OK(add(bench, no, &body, &broken));
	CHECK(!broken);
}

/* Visible under its key, and its length and digest are what is stored. */
static bool publish(struct bench *bench)
{
	struct digest digest;
	uint64_t bytes;

	if (!CHECK_OK(pack_end(bench->pack, &bench->done)) ||
	    !CHECK_OK(store_dir.put_seal(bench->done.put)) ||
	    !CHECK_OK(store_dir.put_publish(&bench->done.put)) ||
	    !CHECK_OK(store_digest(bench->store, bench->done.key, bench->tap, &digest, &bytes)))
		return false;
	CHECK_EQ(bytes, bench->done.stored_bytes);
	CHECK(memcmp(&digest, &bench->done.digest, sizeof digest) == 0);
	return true;
}

static void check_span(struct bench *bench, struct pack_read *pack, uint64_t offset,
		       const uint8_t *bytes, size_t n)
{
	struct buffer got = { 0 };

	(void)bench;
	CHECK_OK(pack_read_span(pack, offset, n, collect, &got));
	CHECK(got.bytes == n && (n == 0 || memcmp(got.at, bytes, n) == 0));
	buffer_free(&got);
}

static uint8_t big[BIG_BYTES];

TEST_FIBER(a_message_larger_than_a_frame_spans_several_and_reads_back_from_anywhere)
{
	static const char *const keys[] = { KEY, PLAIN_KEY };
	struct bench bench;
	struct pack_read *pack = NULL;

	fill(big, sizeof big, 9);
	for (int level = 1; level >= 0; level--) {
		REQUIRE(CHECK_OK(bench_open(&bench, level, UINT64_MAX)));
		add_well(&bench, 1, big, 100, 0);
		add_well(&bench, 2, big, sizeof big, CHUNK_BYTES);
		add_well(&bench, 3, big, 100, 0);
		REQUIRE(publish(&bench));
		REQUIRE(CHECK_OK(pack_read_open(bench.store, keys[!level], &pack)));
		/* One, twelve full ones, the end of the large one and the last; index, sums and
		 * end. */
		CHECK_EQ(pack_read_frames(pack), level ? 17 : 0);
		/* Members of 100 bytes are 4 blocks long; bodies come after 3. */
		check_span(&bench, pack, 2048 + 1536, big, sizeof big);
		check_span(&bench, pack, 2048 + 1536 + 2 * MIB, big + 2 * MIB, 77);
		check_span(&bench, pack, 1536, big, 100);
		check_span(&bench, pack, 2048 + 1536 + BIG_BYTES - 1, big + BIG_BYTES - 1, 1);
		struct buffer none = { 0 };
		CHECK_ERR(pack_read_span(pack, UINT64_C(1) << 40, 1, collect, &none),
			  ERR_ARCHIVE_DAMAGED);
		err_note_clear();
		CHECK_ERR(pack_read_span(pack, 0, UINT64_MAX, collect, &none), ERR_ARCHIVE_DAMAGED);
		err_note_clear();
		buffer_free(&none);
		pack_read_close(&pack);
		bench_close(&bench);
	}
}

static struct digest digest_of_tar(struct bench *bench, const char *key)
{
	struct pack_read *pack = NULL;
	struct digest digest = { 0 };
	const uint8_t *at;
	size_t n;
	enum err e = pack_read_open(bench->store, key, &pack);

	bench->tap->type->begin(bench->tap);
	while (!e && !(e = pack_read_next(pack, &at, &n)))
		bench->tap->type->update(bench->tap, at, n);
	CHECK_ERR(e, ERR_PIPE_ENDED);
	bench->tap->type->end(bench->tap, &digest);
	pack_read_close(&pack);
	return digest;
}

/* The tar of a pack that got messages 1 and 3, and between them tried `between`. */
static struct digest digest_with(int level, struct body_stream *between, enum err expected)
{
	struct bench bench;
	struct digest digest = { 0 };
	const char *key = level ? KEY : PLAIN_KEY;
	char path[150];
	bool broken = true;

	if (CHECK_OK(bench_open(&bench, level, UINT64_MAX))) {
		add_well(&bench, 1, big, 50000, 0);
		if (between) {
			between->reserve = bench.reserve;
			CHECK_ERR(add(&bench, 2, between, &broken), expected);
			CHECK(!broken);
			err_note_clear();
		}
		add_well(&bench, 3, big + 1, 70000, 0);
		if (publish(&bench))
			digest = digest_of_tar(&bench, key);
		snprintf(path, sizeof path, "%s/%s", test_directory(), key);
		CHECK_EQ(remove(path), 0);
	}
	bench_close(&bench);
	return digest;
}

/* Messages that fit share frames, and none is cut in two; one that does not has a frame's rest. */
TEST_FIBER(a_message_that_fits_into_a_frame_lies_in_one)
{
	struct bench bench;
	struct pack_read *pack = NULL;
	uint64_t begins = 0, ends = 0, member = 0, members = 0;
	const uint8_t *at;
	size_t n;
	enum err e;

	fill(big, sizeof big, 9);
	REQUIRE(CHECK_OK(bench_open(&bench, 1, UINT64_MAX)));
	for (uint64_t no = 1; no <= 40; no++)
		add_well(&bench, no, big, 60000 - 1000 * no, 0);
	REQUIRE(publish(&bench) && CHECK_OK(pack_read_open(bench.store, KEY, &pack)));
	for (; members < 40 && !(e = pack_read_next(pack, &at, &n)); begins = ends) {
		ends += n;
		CHECK_EQ(begins, member);
		for (; members < 40 && member < ends; members++)
			member += 1536 + (60000 - 1000 * (members + 1) + 511) / 512 * 512;
		CHECK_EQ(ends, member);
		CHECK(n > FRAME_BYTES - 63 * 1024 || members == 40);
	}
	/* 1.6 MB of tar in frames of up to 256 KiB; index, sums and end. */
	CHECK_EQ(pack_read_frames(pack), 10);
	pack_read_close(&pack);
	bench_close(&bench);
}

/* Whatever a source does inside a message, the tar is byte for byte as if it had never begun. */
TEST_FIBER(a_message_that_fails_leaves_no_trace)
{
	static const size_t pieces[] = { 0, 1000, CHUNK_BYTES };
	static const size_t lengths[] = { 10, 600000, BIG_BYTES };
	struct digest without, with;

	fill(big, sizeof big, 9);
	for (int level = 0; level < 2; level++) {
		without = digest_with(level, NULL, OK);
		for (size_t i = 0; i < ARRAY_COUNT(pieces); i++)
			for (size_t j = 0; j < ARRAY_COUNT(lengths); j++) {
				struct body_stream body = body_of(NULL, big, lengths[j], pieces[i]);

				if (!pieces[i] && lengths[j] > STAGE_BYTES_MAX)
					continue; /* nobody stages so much */
				body.fail = ERR_NET_CLOSED;
				body.fail_at = pieces[i] ? lengths[j] / 2 : lengths[j];
				with = digest_with(level, &body, ERR_NET_CLOSED);
				CHECK(memcmp(&with, &without, sizeof with) == 0);
			}
	}
}

/* ---- any messages in any order ---- */

enum { ANY_MESSAGES = 60, ANY_MEMBER_HEAD = 1536 };

static uint64_t dice;

static uint64_t roll(uint64_t sides)
{
	dice ^= dice << 13;
	dice ^= dice >> 7;
	dice ^= dice << 17;
	return dice % sides;
}

/* Around what fills a frame or half of it, far below and far above. */
static size_t roll_size(void)
{
	const size_t whole = budget()->frame_bytes - ANY_MEMBER_HEAD;

	switch (roll(6)) {
	case 0:
		return 0;
	case 1:
		return whole - 512 * roll(3) + roll(3) - 1;
	case 2:
		return whole / 2 + roll(2000);
	case 3:
		return whole + roll(900000);
	default:
		return roll(20000);
	}
}

static struct any {
	const uint8_t *bytes;
	size_t size;
} any[ANY_MESSAGES];

/* One in four fails somewhere on its way. How many are in the pack. */
static size_t add_any(struct bench *bench)
{
	size_t count = 0;

	for (uint64_t no = 1; no <= ANY_MESSAGES; no++) {
		const uint8_t *bytes = big + roll(MIB);
		size_t size = roll_size();
		bool staged = size <= STAGE_BYTES_MAX && roll(2), fails = roll(4) == 0,
		     broken = true;
		struct body_stream body = body_of(bench->reserve, bytes, size,
						  staged ? 0 : 5000 + roll(CHUNK_BYTES - 5000));

		body.fail = fails ? ERR_NET_CLOSED : OK;
		body.fail_at = staged ? size : roll(size + 1);
		CHECK_ERR(add(bench, no, &body, &broken), body.fail);
		CHECK(!broken);
		err_note_clear();
		if (!fails)
			any[count++] = (struct any){ bytes, size };
	}
	return count;
}

static size_t frame_ends(struct pack_read *pack, uint64_t *ends, size_t room)
{
	const uint8_t *at;
	size_t frames = 0, n;
	uint64_t plain = 0;
	enum err e;

	while (!(e = pack_read_next(pack, &at, &n)) && frames < room) {
		CHECK(n <= budget()->frame_bytes);
		ends[frames++] = plain += n;
	}
	CHECK_ERR(e, ERR_PIPE_ENDED);
	return frames;
}

static size_t lines_of(const struct buffer *text)
{
	size_t lines = 0;

	for (size_t i = 0; i < text->bytes; i++)
		lines += text->at[i] == '\n';
	return lines;
}

/* Each message reads back, and one that fits into a frame lies in one; index and sums are found. */
static void check_any(struct bench *bench, size_t count)
{
	static uint64_t ends[2000];
	struct pack_read *pack = NULL;
	struct buffer got = { 0 };
	uint64_t member = 0, next, *end = ends;

	REQUIRE(CHECK_OK(pack_read_open(bench->store, KEY, &pack)));
	CHECK(frame_ends(pack, ends, ARRAY_COUNT(ends)) > 3);
	for (size_t i = 0; i < count; i++, member = next) {
		next = member + ANY_MEMBER_HEAD + round_up(any[i].size, 512);
		while (*end <= member)
			end++;
		CHECK(next <= *end || next - member > budget()->frame_bytes);
		check_span(bench, pack, member + ANY_MEMBER_HEAD, any[i].bytes, any[i].size);
	}
	CHECK_OK(pack_read_file(pack, ".mailhaul/index.ndjson", MIB, &got));
	CHECK_EQ(lines_of(&got), count + 1); /* with its header line */
	CHECK_OK(pack_read_file(pack, ".mailhaul/B3SUMS", MIB, &got));
	CHECK_EQ(lines_of(&got), count + 1); /* with that of the index */
	buffer_free(&got);
	pack_read_close(&pack);
}

static void set_lanes(unsigned lanes)
{
	const unsigned connections = lanes == 1 ? LANE_READERS_MAX : 1;

	budget_set(&(struct budget_shape){ .workers = 1,
					   .lanes = lanes,
					   .connections = connections,
					   .pairs = lanes * connections });
}

/* With as many frames and as long ones as there are, and with as few and short ones. */
TEST_FIBER(messages_of_any_size_are_whole_whatever_fails_between_them)
{
	static const unsigned lanes[] = { 1, 1000 };
	struct bench bench;
	char path[150];
	size_t count;

	fill(big, sizeof big, 9);
	snprintf(path, sizeof path, "%s/%s", test_directory(), KEY);
	for (uint64_t seed = 1; seed <= 6; seed++) {
		dice = seed * 0x9E3779B97F4A7C15u;
		set_lanes(lanes[seed % 2]);
		CHECK_EQ(budget()->frames, seed % 2 ? FRAMES_OF_MANY : FRAMES_MAX);
		REQUIRE(CHECK_OK(bench_open(&bench, 1, UINT64_MAX)));
		count = add_any(&bench);
		CHECK(count > ANY_MESSAGES / 2 && publish(&bench));
		check_any(&bench, count);
		bench_close(&bench);
		CHECK_EQ(remove(path), 0);
	}
	set_lanes(1);
}

/* ---- a disk that fails ---- */

/* Cannot write, and cannot read what begins at byte 0 of a file. */
static struct {
	struct store base;
	struct store *well;
	unsigned reads;
} bad;

static enum err bad_put_open(struct store *store, const char *key, struct store_put **out)
{
	must(store == &bad.base);
	return store_dir.put_open(bad.well, key, out);
}

static enum err bad_put_took(struct store_put *put, size_t n)
{
	(void)put;
	return n > 0 ? RAISE_ERRNO(ERR_DISK_FULL, ENOSPC, "writing") : OK;
}

static enum err bad_get(struct store *store, const char *key, uint64_t offset, void *to,
			size_t length, size_t *got)
{
	must(store == &bad.base);
	bad.reads++;
	return offset == 0 ? RAISE_ERRNO(ERR_DISK_IO, EIO, "reading %s", key)
			   : store_dir.get(bad.well, key, offset, to, length, got);
}

static enum err bad_size(struct store *store, const char *key, uint64_t *bytes)
{
	must(store == &bad.base);
	return store_dir.size(bad.well, key, bytes);
}

static struct store *bad_store(struct store *well)
{
	static struct store_driver driver;

	driver = store_dir;
	driver.put_open = bad_put_open;
	driver.put_took = bad_put_took;
	driver.get = bad_get;
	driver.size = bad_size;
	bad.base.type = &driver;
	bad.well = well;
	bad.reads = 0;
	return &bad.base;
}

/* What lies before a message that failed is stored before it is taken back. As a failure of the
 * source it would be forgiven. */
TEST_FIBER(a_message_that_fails_on_a_full_disk_fails_because_of_the_disk)
{
	struct bench bench;
	struct body_stream body;
	bool broken = false;

	fill(big, sizeof big, 9);
	REQUIRE(CHECK_OK(bench_open(&bench, 1, UINT64_MAX)));
	pack_close(&bench.pack);
	REQUIRE(CHECK_OK(bench_begin(&bench, bad_store(bench.store), 1, UINT64_MAX)));
	add_well(&bench, 1, big, 1000, 0);
	body = body_of(bench.reserve, big, 10000, 1000);
	body.fail = ERR_NET_CLOSED;
	body.fail_at = 5000;
	CHECK_ERR(add(&bench, 2, &body, &broken), ERR_DISK_FULL);
	CHECK(broken);
	CHECK_EQ(err_note()->error, ERR_DISK_FULL);
	err_note_clear();
	bench_close(&bench);
}

/* A disk may try for many seconds. */
TEST_FIBER(a_frame_that_the_disk_cannot_read_is_tried_once_for_all_its_messages)
{
	enum { MESSAGES = 100, MEMBER = ANY_MEMBER_HEAD + 512 };
	struct bench bench;
	struct pack_read *pack = NULL;
	struct buffer got = { 0 };
	unsigned reads = 0;

	fill(big, sizeof big, 9);
	REQUIRE(CHECK_OK(bench_open(&bench, 1, UINT64_MAX)));
	for (uint64_t no = 1; no <= MESSAGES; no++)
		add_well(&bench, no, big, 500, 0);
	REQUIRE(publish(&bench));
	REQUIRE(CHECK_OK(pack_read_open(bad_store(bench.store), KEY, &pack)));
	for (uint64_t i = 0; i < MESSAGES; i++) {
		CHECK_ERR(pack_read_span(pack, i * MEMBER + ANY_MEMBER_HEAD, 500, collect, &got),
			  ERR_DISK_IO);
		CHECK_EQ(err_note()->errno_value, EIO);
		CHECK(strstr(err_note()->text, KEY) != NULL);
		err_note_clear();
		reads = i == 0 ? bad.reads : reads;
	}
	CHECK_EQ(bad.reads, reads);
	/* What another one holds is read, and then the bad one is tried again. */
	CHECK_OK(pack_read_span(pack, MESSAGES * MEMBER, 512, collect, &got));
	CHECK(got.bytes == 512 && strcmp(got.at, ".mailhaul/index.ndjson") == 0);
	CHECK_ERR(pack_read_span(pack, ANY_MEMBER_HEAD, 500, collect, &got), ERR_DISK_IO);
	err_note_clear();
	CHECK_EQ(bad.reads, reads + 2);
	buffer_free(&got);
	pack_read_close(&pack);
	bench_close(&bench);
}

/* ---- bodies of another length ---- */

/* A body whose length is not the announced one. */
static enum err add_announced(struct bench *bench, size_t length, size_t piece, int64_t announced)
{
	struct body_stream body = body_of(bench->reserve, big, length, piece);
	struct item item = item_of(1, 5, &body);
	bool broken = true;
	enum err e;

	item.size_bytes = announced;
	e = pack_add(bench->pack, &bench->box, &item, &broken);
	CHECK(!broken);
	err_note_clear();
	return e;
}

TEST_FIBER(a_body_of_another_length_than_announced_is_cut)
{
	struct bench bench;

	REQUIRE(CHECK_OK(bench_open(&bench, 1, UINT64_MAX)));
	CHECK_ERR(add_announced(&bench, 100, 0, 101), ERR_STREAM_CUT);
	CHECK_ERR(add_announced(&bench, 100, 0, 99), ERR_STREAM_CUT);
	CHECK_ERR(add_announced(&bench, 100, 0, 0), ERR_STREAM_CUT);
	CHECK_ERR(add_announced(&bench, 0, 0, 1), ERR_STREAM_CUT);
	CHECK_ERR(add_announced(&bench, 2 * MIB, CHUNK_BYTES, 2 * MIB + 1), ERR_STREAM_CUT);
	CHECK_ERR(add_announced(&bench, 2 * MIB, CHUNK_BYTES, 2 * MIB - 1), ERR_STREAM_CUT);
	CHECK_ERR(add_announced(&bench, 2 * MIB, CHUNK_BYTES, 2 * MIB - CHUNK_BYTES),
		  ERR_STREAM_CUT);
	CHECK_ERR(add_announced(&bench, 2 * MIB, CHUNK_BYTES, 2 * MIB), OK);
	CHECK_ERR(add_announced(&bench, 0, 0, 0), OK);
	bench_close(&bench);
}

TEST_FIBER(a_pack_is_full_at_any_of_its_bounds)
{
	struct bench bench;
	struct buffer escaped = { 0 };
	char name[BOX_NAME_BYTES_MAX];
	uint64_t no = 1;

	fill(big, 100000, 1);
	REQUIRE(CHECK_OK(bench_open(&bench, 0, 200000)));
	add_well(&bench, no++, big, 90000, 0);
	CHECK(!pack_is_full(bench.pack));
	add_well(&bench, no++, big, 100000, 0);
	add_well(&bench, no++, big, 9000, 0);
	CHECK(pack_is_full(bench.pack));
	bench_close(&bench);
	REQUIRE(CHECK_OK(bench_open(&bench, 1, UINT64_MAX)));
	while (!pack_is_full(bench.pack) && no < 10000)
		add_well(&bench, no++, "x", 1, 0);
	CHECK_EQ(no - 4, PACK_MESSAGES_MAX);
	REQUIRE(publish(&bench));
	CHECK_EQ(bench.done.records.bytes, PACK_MESSAGES_MAX * SEAL_RECORD_BYTES);
	bench_close(&bench);
	/* A folder's name that needs six bytes a byte in every line. */
	memset(name, '\x01', sizeof name);
	json_escape(&escaped, (struct text){ name, sizeof name });
	REQUIRE(CHECK_OK(bench_open(&bench, 1, UINT64_MAX)));
	bench.box.escaped = (struct text){ escaped.at, escaped.bytes };
	for (no = 1; !pack_is_full(bench.pack) && no < 10000;)
		add_well(&bench, no++, "x", 1, 0);
	CHECK(no < 700);
	buffer_free(&escaped);
	bench_close(&bench);
}

/* ---- stock tools ---- */

/* Dates that stock tar warns about, names it would warn about, an empty message: not a word. */
TEST_FIBER(stock_tools_unpack_and_prove_it_without_a_word)
{
	static const char *const tools[] = { "zstd", "tar", "b3sum" };
	struct mail_date dates[] = { { -2000000000, 0, true }, { 4000000000, 0, true }, { 0 } };
	struct bench bench;
	struct buffer path = { 0 };
	static char output[2000];
	char command[1000];

	for (size_t i = 0; i < ARRAY_COUNT(tools); i++)
		if (!have_program(tools[i]))
			SKIP("%s is not installed", tools[i]);
	fill(big, sizeof big, 9);
	REQUIRE(CHECK_OK(bench_open(&bench, 1, UINT64_MAX)));
	CHECK_OK(tar_path_add(&path, text_of("../../x/\xC3\xA4 b/-rf"), '/'));
	bench.box.path = (struct text){ path.at, path.bytes };
	for (uint64_t i = 0; i < ARRAY_COUNT(dates); i++) {
		struct body_stream body = body_of(bench.reserve, big, i * 1000, 0);
		struct item item = item_of(1, i + 1, &body);
		struct digesting digesting;
		bool broken;

		item.meta.date = dates[i];
		digesting_open(&digesting, &item, bench.tap->type);
		CHECK_OK(pack_add(bench.pack, &bench.box, &item, &broken));
		digesting_close(&digesting);
	}
	add_well(&bench, 9, big, sizeof big, CHUNK_BYTES);
	REQUIRE(publish(&bench));
	snprintf(command, sizeof command,
		 "mkdir %s/out && cd %s/out && (zstd -dc ../%s | tar -x && b3sum --quiet -c "
		 ".mailhaul/B3SUMS) 2>&1",
		 bench.path, bench.path, KEY);
	CHECK_EQ(shell(command, output, sizeof output), 0);
	CHECK_TEXT(output, "");
	snprintf(command, sizeof command, "cd %s/out && find . -type f | LC_ALL=C sort",
		 bench.path);
	CHECK_EQ(shell(command, output, sizeof output), 0);
	CHECK_TEXT(output, "./%2E%2E/%2E%2E/x/\xC3\xA4 b/%2Drf/7-0000000001.eml\n"
			   "./%2E%2E/%2E%2E/x/\xC3\xA4 b/%2Drf/7-0000000002.eml\n"
			   "./%2E%2E/%2E%2E/x/\xC3\xA4 b/%2Drf/7-0000000003.eml\n"
			   "./%2E%2E/%2E%2E/x/\xC3\xA4 b/%2Drf/7-0000000009.eml\n"
			   "./.mailhaul/B3SUMS\n./.mailhaul/index.ndjson\n");
	buffer_free(&path);
	bench_close(&bench);
}
