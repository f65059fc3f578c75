/* The store in a bucket, over one in memory: what is visible when, taking back without reading, one
 * writer, and above all that a run which is cut, refused or answered late at any request leaves
 * nothing that is doubled, lost or another's. */
#include "tests/unit/s3_fake.h"

#include "engine/budget.h"
#include "engine/limits.h"
#include "transport/store_s3_state.h"

enum {
	PART = 8 * 1024,
	LEAST = 5 * 1024,
	ITEMS = 5,
	BYTES_MAX = 16 * PART,
	WRITERS = 6,
};

static const struct aws_partition aws = { .dns_suffix = "aws.example",
					  .dual_stack_suffix = "aws2.example" };
static const uint8_t ledger[STORE_S3_LEDGER_BYTES] = { 1, 2, 3 };
static const uint8_t other_ledger[STORE_S3_LEDGER_BYTES] = { 9 };

struct place {
	struct store_s3_config config;
	struct account account;
	struct store *store;
};

static void place_begin(struct place *place)
{
	*place = (struct place){
		.config = { .s3 = { .endpoint.partition = &aws },
			    .ledger_id = ledger,
			    .machine = "mover-1",
			    .part_bytes = PART,
			    .part_bytes_least = LEAST },
		.account = { .scheme = "s3", .host = "bucket", .path = "/a/b/", .shown = "s3" },
	};
	place->account.s3 = &place->config;
	snprintf(place->config.s3.endpoint.host, sizeof place->config.s3.endpoint.host, "s3.%s",
		 fake.ignores_conditions ? "other-aws.example" : "aws.example");
}

static enum err place_open(struct place *place)
{
	return store_s3.open(&place->store, &place->account, true, clock_after(NSEC_SECOND));
}

static bool place_open_locked(struct place *place)
{
	place_begin(place);
	return CHECK_OK(place_open(place)) && CHECK_OK(store_s3.lock(place->store));
}

static void place_close(struct place *place)
{
	store_s3.finish(place->store, clock_after(NSEC_SECOND));
	CHECK_EQ(err_note()->error, OK);
	store_s3.close(&place->store);
	CHECK(place->store == NULL);
}

static void fill(uint8_t *to, size_t n, unsigned seed)
{
	uint32_t x = 2463534242u + seed * 7919;

	for (size_t i = 0; i < n; i++) {
		x ^= x << 13, x ^= x >> 17, x ^= x << 5;
		to[i] = (uint8_t)(x >> 24);
	}
}

static bool lies_there(const char *key, const void *bytes, size_t n)
{
	struct fake_object *there = fake_find(key);

	return there && there->bytes == n && (n == 0 || memcmp(there->at, bytes, n) == 0);
}

static unsigned uploads_there(void)
{
	unsigned count = 0;

	for (unsigned i = 0; i < FAKE_UPLOADS; i++)
		count += fake.uploads[i].key[0] != '\0';
	return count;
}

/* ---- one object ---- */

static void write_and_publish(struct place *place, const char *key, const uint8_t *bytes, size_t n,
			      size_t piece)
{
	struct store_put *put = NULL;
	char full[200];
	uint64_t size;

	snprintf(full, sizeof full, "a/b/%s", key);
	REQUIRE(CHECK_OK(store_s3.put_open(place->store, key, &put)));
	for (size_t at = 0; at < n; at += piece)
		CHECK_OK(store_s3.put_write(put, bytes + at, min_u64(piece, n - at)));
	CHECK_OK(store_s3.put_seal(put));
	CHECK_ERR(store_s3.size(place->store, key, &size), ERR_DISK_ABSENT);
	err_note_clear();
	CHECK_OK(store_s3.put_publish(&put));
	CHECK(put == NULL);
	CHECK(lies_there(full, bytes, n));
	CHECK_OK(store_s3.size(place->store, key, &size));
	CHECK_EQ(size, n);
}

TEST_FIBER(objects_appear_whole_and_only_when_published)
{
	static const size_t sizes[] = { 0, 1, PART - 1, PART, PART + 1, 2 * PART, 3 * PART + 5 };
	static uint8_t bytes[3 * PART + 5];
	struct place place;
	char key[80];

	fake_reset(LEAST);
	fill(bytes, sizeof bytes, 1);
	REQUIRE(place_open_locked(&place));
	for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
		snprintf(key, sizeof key, "box/packs/%012zu.tar", sizes[i]);
		write_and_publish(&place, key, bytes, sizes[i], 701);
	}
	CHECK_EQ(uploads_there(), 0);
	place_close(&place);
}

/* Write `before`, mark, write `more`, take it back, twice; write `after`. */
static void check_rewind(struct place *place, size_t before, size_t more, size_t after)
{
	static uint8_t first[4 * PART], second[4 * PART], expected[8 * PART];
	struct store_put *put = NULL;
	char key[120], full[200];
	uint64_t mark, gets = fake.gets;

	fill(first, sizeof first, 2);
	fill(second, sizeof second, 3);
	snprintf(key, sizeof key, "r/packs/%012zu.%zu-%zu", before, more, after);
	snprintf(full, sizeof full, "a/b/%s", key);
	REQUIRE(CHECK_OK(store_s3.put_open(place->store, key, &put)));
	CHECK_OK(store_s3.put_write(put, first, before));
	CHECK_OK(store_s3.put_mark(put, &mark));
	CHECK_EQ(mark, before);
	for (int i = 0; i < 2; i++) {
		CHECK_OK(store_s3.put_write(put, second, more));
		CHECK_OK(store_s3.put_rewind(put, mark));
	}
	CHECK_OK(store_s3.put_write(put, second + 7, after));
	CHECK_OK(store_s3.put_seal(put));
	CHECK_OK(store_s3.put_publish(&put));
	memcpy(expected, first, before);
	memcpy(expected + before, second + 7, after);
	CHECK(lies_there(full, expected, before + after));
	CHECK_EQ(fake.gets, gets);
	store_s3.put_abort(&put);
}

TEST_FIBER(what_is_taken_back_leaves_no_trace_and_is_not_read)
{
	static const size_t before[] = { 0,	   1,	 LEAST - 1, LEAST,	     LEAST + 1,
					 PART - 1, PART, PART + 1,  2 * PART + LEAST };
	static const size_t more[] = { 0, 10, LEAST, PART, 3 * PART + 9 };
	static const size_t after[] = { 0, 1, LEAST, PART + 1, 3 * PART };
	struct place place;

	for (size_t i = 0; i < ARRAY_COUNT(before); i++)
		for (size_t j = 0; j < ARRAY_COUNT(more) * ARRAY_COUNT(after); j++) {
			fake_reset(LEAST);
			REQUIRE(place_open_locked(&place));
			check_rewind(&place, before[i], more[j % ARRAY_COUNT(more)],
				     after[j / ARRAY_COUNT(more)]);
			place_close(&place);
		}
}

TEST_FIBER(what_is_taken_back_is_replaced_where_it_cannot_be_left_out)
{
	struct place place;
	struct store_put *put = NULL;
	uint64_t mark;

	for (size_t before = 0; before < 2 * PART; before += 1021)
		for (size_t more = 0; more < 3 * PART; more += 4093) {
			fake_reset(LEAST);
			fake.ignores_conditions = true;
			REQUIRE(place_open_locked(&place));
			check_rewind(&place, before, more, more);
			place_close(&place);
		}
	REQUIRE(place_open_locked(&place));
	REQUIRE(CHECK_OK(store_s3.put_open(place.store, "box/packs/000000000001.tar", &put)));
	CHECK_OK(store_s3.put_mark(put, &mark));
	for (int i = 0; i < 3 * PART; i++)
		CHECK_OK(store_s3.put_write(put, "x", 1));
	CHECK_OK(store_s3.put_rewind(put, mark));
	CHECK_ERR(store_s3.put_seal(put), ERR_S3_UNAVAILABLE);
	err_note_clear();
	store_s3.put_abort(&put);
	place_close(&place);
}

TEST_FIBER(parts_grow_before_their_numbers_run_out)
{
	static uint8_t bytes[4096];
	struct place place;
	struct store_put *put = NULL;
	uint64_t written = 0;
	enum err e = OK;

	fake_reset(64);
	place_begin(&place);
	place.config.part_bytes = place.config.part_bytes_least = 64;
	REQUIRE(CHECK_OK(place_open(&place)) && CHECK_OK(store_s3.lock(place.store)));
	REQUIRE(CHECK_OK(store_s3.put_open(place.store, "box/packs/000000000001.tar", &put)));
	for (; written < UINT64_C(64) * S3_PARTS_MAX * 8 && !e; written += sizeof bytes)
		e = store_s3.put_write(put, bytes, sizeof bytes);
	CHECK_ERR(e, ERR_SINK_TOOBIG);
	err_note_clear();
	/* A quarter each of 1, 2, 4 and 8 times 64 bytes. */
	CHECK(written > UINT64_C(64) * S3_PARTS_MAX * 15 / 4 - 8192);
	CHECK(fake.parts_count >= S3_PARTS_MAX - 1);
	store_s3.put_abort(&put);
	place_close(&place);
	CHECK_EQ(uploads_there(), 0);
}

TEST_FIBER(an_object_is_never_overwritten)
{
	struct place place;
	struct store_put *put = NULL;
	const char *key = "box/packs/000000000001.tar", *full = "a/b/box/packs/000000000001.tar";

	for (int ignores = 0; ignores < 2; ignores++) {
		fake_reset(LEAST);
		fake.ignores_conditions = ignores;
		REQUIRE(place_open_locked(&place));
		fake_store(full, fake_copy("first", 5), 5);
		fake_store("a/b/x", fake_copy("first", 5), 5);
		REQUIRE(CHECK_OK(store_s3.put_open(place.store, key, &put)));
		CHECK_OK(store_s3.put_write(put, "first", 5)); /* the same bytes are no excuse */
		CHECK_OK(store_s3.put_seal(put));
		CHECK_ERR(store_s3.put_publish(&put), ERR_DISK_EXISTS);
		err_note_clear();
		store_s3.put_abort(&put);
		CHECK_ERR(store_put_whole(place.store, "x", "secon", 5), ERR_DISK_EXISTS);
		CHECK(strstr(err_note()->text, "a/b/x") != NULL);
		err_note_clear();
		CHECK_OK(store_put_whole(place.store, "x", "first", 5)); /* an earlier run's */
		CHECK(lies_there(full, "first", 5));
		CHECK(lies_there("a/b/x", "first", 5));
		place_close(&place);
		CHECK_EQ(uploads_there(), 0);
	}
}

/* ---- reading ---- */

TEST_FIBER(ranges_stop_at_the_end)
{
	struct place place;
	char got[10] = "";
	size_t n;

	fake_reset(LEAST);
	REQUIRE(place_open_locked(&place));
	CHECK_OK(store_put_whole(place.store, "a", "0123456789", 10));
	CHECK_OK(store_s3.get(place.store, "a", 4, got, 3, &n));
	CHECK(n == 3 && memcmp(got, "456", 3) == 0);
	CHECK_OK(store_s3.get(place.store, "a", 8, got, 10, &n));
	CHECK(n == 2 && memcmp(got, "89", 2) == 0);
	CHECK_OK(store_s3.get(place.store, "a", 10, got, 10, &n));
	CHECK_EQ(n, 0);
	CHECK_OK(store_s3.get(place.store, "a", 1u << 30, got, 10, &n));
	CHECK_EQ(n, 0);
	CHECK_EQ(fake.heads, 2); /* of the lock, and of it */
	CHECK_ERR(store_s3.get(place.store, "b", 0, got, 10, &n), ERR_DISK_ABSENT);
	err_note_clear();
	place_close(&place);
}

/* Long objects: each is a piece of the same bytes, from another place on. */
enum { LONG = 8 * 1024 * 1024 + 12345 };

static uint8_t long_bytes[LONG + 3];
static const char *const long_keys[] = { "x", "y", "z" };

static void store_long(unsigned i)
{
	char full[40];

	if (!long_bytes[0])
		fill(long_bytes, sizeof long_bytes, 6);
	snprintf(full, sizeof full, "a/b/%s", long_keys[i]);
	fake_store(full, fake_copy(long_bytes + i, LONG), LONG);
}

static bool begin_long(struct place *place)
{
	fake_reset(LEAST);
	place_begin(place);
	for (unsigned i = 0; i < ARRAY_COUNT(long_keys); i++)
		store_long(i);
	return CHECK_OK(place_open(place));
}

static void check_get(struct store *store, unsigned i, uint64_t offset, size_t length)
{
	uint8_t *bytes = calloc(1, length);
	size_t got = 0, expected = min_u64(length, LONG - offset);

	must(bytes);
	CHECK_OK(store_s3.get(store, long_keys[i], offset, bytes, length, &got));
	CHECK_EQ(got, expected);
	CHECK(memcmp(bytes, long_bytes + i + offset, expected) == 0);
	free(bytes);
}

TEST_FIBER(an_object_that_changes_under_the_reader_is_an_error)
{
	struct place place;
	uint64_t bytes;
	char got[10];
	size_t n;

	REQUIRE(begin_long(&place));
	check_get(place.store, 0, 0, 2);
	store_long(0);
	check_get(place.store, 0, 2, 2); /* was read before that */
	CHECK_ERR(store_s3.get(place.store, "x", LONG / 2, got, 2, &n), ERR_S3_CHANGED);
	CHECK_EQ(n, 0);
	err_note_clear();
	CHECK_ERR(store_s3.size(place.store, "x", &bytes), ERR_S3_CHANGED);
	err_note_clear();
	place_close(&place);
}

/* As a reader of a pack: the table at its end, and then all frames. 8 MiB with steps of 256 KiB,
 * 512 KiB, 1 MiB and 2 MiB are seven requests. */
TEST_FIBER(what_is_read_in_order_is_read_in_few_requests)
{
	struct place place;

	REQUIRE(begin_long(&place));
	check_get(place.store, 0, LONG - 9, 9);
	check_get(place.store, 0, LONG - 1009, 8);
	check_get(place.store, 0, LONG - 1001, 992);
	CHECK_EQ(fake.gets, 1);
	for (size_t at = 0, n; at < LONG; at += n)
		check_get(place.store, 0, at, n = 20000 + at % 60000);
	CHECK(fake.gets <= 8);
	CHECK_EQ(fake.heads, 1);
	place_close(&place);
}

/* Beside each other, anywhere, and of any length. */
TEST_FIBER(what_is_read_ahead_is_what_is_there)
{
	struct place place;
	uint64_t before;
	uint32_t x = 7;
	size_t at = 0, n;

	REQUIRE(begin_long(&place));
	for (unsigned i = 0; i < 600; i++) {
		x ^= x << 13, x ^= x >> 17, x ^= x << 5;
		n = i % 7 == 0 ? 3000000 : x % 300000;
		if (at >= LONG || i % 20 == 0)
			at = x % LONG;
		check_get(place.store, i / 5 % 3, at, n);
		at += x % 4 == 0 ? n + 1 : n;
	}
	before = fake.gets;
	check_get(place.store, 0, 5000000, 100); /* one message: no more than is asked for */
	check_get(place.store, 0, 3000000, 100);
	CHECK_EQ(fake.gets, before + 2);
	CHECK_EQ(fake.bytes_last, 100);
	place_close(&place);
}

struct reading {
	struct store *store;
	unsigned key;
	size_t from;
};

static enum err read_through(void *argument)
{
	const struct reading *reading = argument;

	for (size_t at = reading->from; at < LONG; at += 100000)
		check_get(reading->store, reading->key, at, 100000);
	return OK;
}

TEST_FIBER(several_fibers_may_read_one_object_and_more_than_are_read_ahead)
{
	struct place place;
	struct reading readings[6];
	struct group *reading = group_open();

	REQUIRE(begin_long(&place));
	for (unsigned i = 0; i < ARRAY_COUNT(readings); i++) {
		readings[i] = (struct reading){ place.store, i % 3, i / 3 * 55555 };
		CHECK_OK(group_spawn(reading, "read", FIBER_STACK_LARGE, read_through,
				     &readings[i]));
	}
	CHECK_OK(group_join(&reading));
	place_close(&place);
}

TEST_FIBER(lists_are_sorted_and_without_what_is_the_stores_own)
{
	static const char *const keys[] = { "a/b/b/2", "a/b/b/10", "a/b/a",  "a/b/a/1",	 "a/b/",
					    "a/b/b/",  "a/c",	   "a/b2/x", "a/b/b 2/x" };
	static const char *const root[] = { "a", "b", "b 2" }, *const below[] = { "10", "2" };
	struct place place;
	struct buffer names = { 0 };
	const char *name = NULL;

	fake_reset(LEAST);
	REQUIRE(place_open_locked(&place));
	for (size_t i = 0; i < ARRAY_COUNT(keys); i++)
		fake_store(keys[i], fake_copy("", 0), 0);
	CHECK_OK(store_s3.list(place.store, "", &names));
	for (size_t i = 0; i < ARRAY_COUNT(root); i++)
		CHECK(store_names_next(&names, &name) && CHECK_TEXT(name, root[i]));
	CHECK(!store_names_next(&names, &name));
	name = NULL;
	CHECK_OK(store_s3.list(place.store, "b", &names));
	for (size_t i = 0; i < ARRAY_COUNT(below); i++)
		CHECK(store_names_next(&names, &name) && CHECK_TEXT(name, below[i]));
	CHECK(!store_names_next(&names, &name));
	name = NULL;
	CHECK_OK(store_s3.list(place.store, "none", &names));
	CHECK(!store_names_next(&names, &name));
	buffer_free(&names);
	place_close(&place);
}

TEST_FIBER(prefixes_are_as_they_were_said_and_sound)
{
	static const char *const good[] = { "", "/", "/x", "x/y", "/x/y.z/", "/A-Z_9" };
	static const char *const shown[] = { "", "", "x/", "x/y/", "x/y.z/", "A-Z_9/" };
	static const char *const bad[] = { "/a//b", "/.", "/./a", "/a/../b", "/a b", "/\xC3\xA4" };
	struct place place;
	char path[1000], key[200];

	fake_reset(LEAST);
	place_begin(&place);
	for (size_t i = 0; i < ARRAY_COUNT(good); i++) {
		place.account.path = good[i];
		REQUIRE(CHECK_OK(place_open(&place)) && CHECK_OK(store_s3.lock(place.store)));
		snprintf(key, sizeof key, "%s.lock", shown[i]);
		CHECK(fake_find(key) != NULL);
		place_close(&place);
		CHECK(fake_find(key) == NULL);
	}
	for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
		place.account.path = bad[i];
		CHECK_ERR(place_open(&place), ERR_INPUT_USAGE);
		err_note_clear();
		CHECK_ERR(store_s3.open(&place.store, &place.account, false, 0), ERR_DISK_ABSENT);
		err_note_clear();
	}
	memset(path, 'x', sizeof path - 1);
	path[sizeof path - 1] = '\0';
	place.account.path = path;
	CHECK_ERR(place_open(&place), ERR_INPUT_USAGE);
	CHECK(place.store == NULL);
}

/* ---- one writer ---- */

TEST_FIBER(stores_of_one_process_share_the_lock_and_the_last_gives_it_back)
{
	struct place one, two;
	struct store_put *put = NULL;

	fake_reset(LEAST);
	REQUIRE(place_open_locked(&one));
	REQUIRE(CHECK_OK(store_s3.put_open(one.store, "box/packs/000000000001.tar", &put)));
	REQUIRE(place_open_locked(&two));
	CHECK_OK(store_s3.settle(two.store, "bux"));
	CHECK_OK(store_s3.put_seal(put)); /* was not taken for somebody's leftover */
	CHECK_OK(store_s3.put_publish(&put));
	place_close(&one);
	CHECK(fake_find("a/b/.lock") != NULL);
	CHECK_OK(store_put_whole(two.store, "still", "locked", 6));
	place_close(&two);
	CHECK(fake_find("a/b/.lock") == NULL);
}

TEST_FIBER(the_lock_of_another_is_respected_and_our_own_dead_ones_is_taken_over)
{
	struct place place;
	struct store *dead;

	for (int ignores = 0; ignores < 2; ignores++) {
		fake_reset(LEAST);
		fake.ignores_conditions = ignores;
		REQUIRE(place_open_locked(&place));
		dead = place.store;
		store_s3.close(&dead); /* without finish(): as if killed */
		CHECK(fake_find("a/b/.lock") != NULL);
		place.config.ledger_id = other_ledger;
		REQUIRE(CHECK_OK(place_open(&place)));
		CHECK_ERR(store_s3.lock(place.store), ERR_SINK_BUSY);
		CHECK(strstr(err_note()->text, "mover-1") != NULL);
		CHECK(strstr(err_note()->text, "a/b/.lock") != NULL);
		err_note_clear();
		place_close(&place);
		place.config.ledger_id = ledger;
		place.config.machine = "mover-2";
		REQUIRE(CHECK_OK(place_open(&place)));
		CHECK_ERR(store_s3.lock(place.store), ERR_SINK_BUSY);
		err_note_clear();
		place_close(&place);
		CHECK(fake_find("a/b/.lock") != NULL);
		REQUIRE(place_open_locked(&place));
		place_close(&place);
		CHECK(fake_find("a/b/.lock") == NULL);
	}
}

TEST_FIBER(where_conditions_are_ignored_the_last_of_two_writers_has_the_lock)
{
	struct place place;

	fake_reset(LEAST);
	fake.ignores_conditions = true;
	fake.intruder = "{\"format\":\"mailhaul-lock\",\"version\":1,\"ledger\":"
			"\"00112233445566778899aabbccddeeff\",\"writer\":\"8f3a01c2d4e5b697\","
			"\"host\":\"mover-9\",\"since\":\"2026-11-23T06:00:00+00:00\"}\n";
	place_begin(&place);
	REQUIRE(CHECK_OK(place_open(&place)));
	CHECK_ERR(store_s3.lock(place.store), ERR_SINK_BUSY);
	CHECK(strstr(err_note()->text, "mover-9") != NULL);
	CHECK(strstr(err_note()->text, "2026-11-23T06:00:00+00:00") != NULL);
	err_note_clear();
	place_close(&place);
	CHECK(lies_there("a/b/.lock", fake.intruder, strlen(fake.intruder)));
}

TEST_FIBER(what_is_no_lock_of_ours_is_left_alone)
{
	struct place place;

	fake_reset(LEAST);
	fake_store("a/b/.lock", fake_copy("hands off", 9), 9);
	place_begin(&place);
	REQUIRE(CHECK_OK(place_open(&place)));
	CHECK_ERR(store_s3.lock(place.store), ERR_SINK_FOREIGN);
	err_note_clear();
	place_close(&place);
	CHECK(lies_there("a/b/.lock", "hands off", 9));
}

static void leave_upload(const char *key, unsigned aborts)
{
	struct fake_late begin = fake_request(LATE_BEGIN, key, NULL, NULL);

	CHECK_OK(fake_do(&begin));
	for (unsigned i = 0; i < FAKE_UPLOADS; i++)
		if (strcmp(fake.uploads[i].id, begin.id) == 0)
			fake.uploads[i].aborts = aborts;
}

static const char *const foreign[] = { "a/b/photo.jpg", "a/b/box/packs/1.tar",
				       "a/b/x/y/000000000001/tar", "a/c/box/packs/000000000001.tar",
				       "a/b/box/000000000001.tar" };

static void foreign_begin(void)
{
	for (size_t i = 0; i < ARRAY_COUNT(foreign); i++)
		leave_upload(foreign[i], 0);
}

static void foreign_check(void)
{
	for (size_t i = 0; i < ARRAY_COUNT(foreign); i++)
		CHECK(fake_upload_find(foreign[i], NULL) != NULL);
}

TEST_FIBER(uploads_of_ours_end_with_the_lock_and_those_of_others_stay)
{
	struct place place;
	uint64_t count = 0;

	fake_reset(LEAST);
	foreign_begin();
	leave_upload("a/b/box/packs/000000000001.tar.zst", 0);
	leave_upload("a/b/box/changes/000000000001.ndjson.zst", 3); /* parts still arrive */
	place_begin(&place);
	REQUIRE(CHECK_OK(place_open(&place)));
	CHECK_OK(store_s3.leftovers(place.store, &count));
	CHECK_EQ(count, 2);
	CHECK_OK(store_s3.lock(place.store));
	CHECK_OK(store_s3.leftovers(place.store, &count));
	CHECK_EQ(count, 0);
	foreign_check();
	place_close(&place);
}

/* ---- what is stored is what was meant ---- */

TEST_FIBER(what_no_answer_proves_is_read_back)
{
	static uint8_t bytes[3 * PART];
	struct place place;
	struct store_put *put = NULL;

	fake_reset(LEAST);
	fake.tells_nothing = true;
	fill(bytes, sizeof bytes, 4);
	REQUIRE(place_open_locked(&place));
	write_and_publish(&place, "box/packs/000000000001.tar", bytes, sizeof bytes, 999);
	CHECK_OK(store_put_whole(place.store, "x", "bytes", 5));
	CHECK(fake.gets >= 2);
	REQUIRE(CHECK_OK(store_s3.put_open(place.store, "box/packs/000000000002.tar", &put)));
	CHECK_OK(store_s3.put_write(put, bytes, sizeof bytes));
	CHECK_OK(store_s3.put_seal(put));
	fake.damages = true;
	CHECK_ERR(store_s3.put_publish(&put), ERR_SINK_DAMAGED);
	err_note_clear();
	store_s3.put_abort(&put);
	CHECK_ERR(store_put_whole(place.store, "y", "bytes", 5), ERR_SINK_DAMAGED);
	err_note_clear();
	place_close(&place);
}

static void check_checksum(int crc64, bool tells_nothing, enum crc_kind chosen,
			   enum store_s3_proof expected)
{
	static uint8_t bytes[2 * PART];
	struct store_s3_proofs proofs = { { 0 } };
	struct place place, other;
	struct store_put *put = NULL;

	fake_reset(LEAST);
	fake.ignores_conditions = true; /* it is none of AWS's */
	fake.tells_nothing = tells_nothing;
	fake.crc64 = crc64;
	place_begin(&place);
	place.config.proofs = &proofs;
	REQUIRE(CHECK_OK(place_open(&place)) && CHECK_OK(store_s3.lock(place.store)));
	CHECK_EQ(uploads_there(), 0);
	CHECK_EQ(fake.checksum, chosen);
	write_and_publish(&place, "box/packs/000000000001.tar", bytes, sizeof bytes, 999);
	CHECK_OK(store_put_whole(place.store, "x", "bytes", 5));
	CHECK_EQ(proofs.objects[expected], 2);
	/* Another store of the process knows it from this one. */
	other = place;
	REQUIRE(CHECK_OK(place_open(&other)) && CHECK_OK(store_s3.lock(other.store)));
	REQUIRE(CHECK_OK(store_s3.put_open(other.store, "box/packs/000000000002.tar", &put)));
	CHECK_OK(store_s3.put_seal(put));
	CHECK_OK(store_s3.put_publish(&put));
	CHECK_EQ(proofs.objects[expected], 3);
	place_close(&other);
	place_close(&place);
}

TEST_FIBER(the_strongest_checksum_is_used_that_the_service_confirms)
{
	check_checksum(FAKE_KNOWS_CRC64, false, CRC64NVME, STORE_S3_BY_CRC64NVME);
	check_checksum(FAKE_IGNORES_CRC64, false, CRC32C, STORE_S3_BY_CRC32C);
	check_checksum(FAKE_REFUSES_CRC64, false, CRC32C, STORE_S3_BY_CRC32C);
	check_checksum(FAKE_KNOWS_CRC64, true, CRC64NVME, STORE_S3_BY_READ_BACK);
	check_checksum(FAKE_REFUSES_CRC64, true, CRC32C, STORE_S3_BY_READ_BACK);
}

/* ---- a run, cut at every request ---- */

struct setting {
	bool served;	 /* fibers of their own send */
	bool backwards;	 /* and what is sent at once lands in another order */
	bool as_radosgw; /* conditions are ignored, checksums not told */
	bool held;	 /* another store of the process has the lock all the time */
};

/* What a ledger would know of what is to be stored. */
struct world {
	struct place place;
	uint64_t next;
	struct {
		char key[80];
		bool sealed, settled;
	} items[ITEMS];
	bool finish_always;
	const struct setting *setting;
};

static const size_t item_bytes[ITEMS] = { 6 * PART + 100, 10, 0, 2 * PART, PART + LEAST };

static size_t item_fill(uint8_t *to, unsigned i)
{
	fill(to, item_bytes[i], 100 + i);
	return item_bytes[i];
}

/* With a mark somewhere, and something that is taken back. */
static enum err item_write(struct world *world, struct store_put *put, unsigned i)
{
	static const size_t mark_at[] = { PART + LEAST + 7, 3, 0, PART, 100 };
	static uint8_t bytes[BYTES_MAX], wrong[BYTES_MAX];
	size_t n = item_fill(bytes, i), first = min_u64(mark_at[i], n), more = 4 * PART + 9;
	uint64_t mark;
	enum err e;

	if (world->setting->as_radosgw) /* which bears no more than there is in the end */
		more = n - first;
	if ((e = store_s3.put_write(put, bytes, first)) || (e = store_s3.put_mark(put, &mark)) ||
	    (e = store_s3.put_write(put, wrong, more)) || (e = store_s3.put_rewind(put, mark)))
		return e;
	item_fill(bytes, i); /* another fiber may have used it meanwhile */
	return store_s3.put_write(put, bytes + first, n - first);
}

static enum err index_write(struct world *world, unsigned i)
{
	char key[120], text[40];

	snprintf(key, sizeof key, "box/index/%s", strrchr(world->items[i].key, '/') + 1);
	snprintf(text, sizeof text, "index of %u", i);
	return store_put_whole(world->place.store, key, text, strlen(text));
}

static enum err item_store(struct world *world, unsigned i)
{
	struct store *store = world->place.store;
	struct store_put *put = NULL;
	enum err e;

	snprintf(world->items[i].key, sizeof world->items[i].key, "box/packs/%012llu.tar",
		 (unsigned long long)++world->next);
	if (!(e = store_s3.put_open(store, world->items[i].key, &put)) &&
	    !(e = item_write(world, put, i)) && !(e = store_s3.put_seal(put))) {
		world->items[i].sealed = true;
		e = store_s3.put_publish(&put);
	}
	store_s3.put_abort(&put);
	return e;
}

/* After a cut: what is there is ours and whole, or it is stored anew. */
static enum err item_recover(struct world *world, unsigned i)
{
	static uint8_t bytes[BYTES_MAX];
	char full[120];
	uint64_t size;
	enum err e = store_s3.size(world->place.store, world->items[i].key, &size);

	if (e == ERR_DISK_ABSENT) {
		err_note_clear();
		world->items[i].sealed = false;
		return OK;
	}
	snprintf(full, sizeof full, "a/b/%s", world->items[i].key);
	CHECK(e || lies_there(full, bytes, item_fill(bytes, i)));
	return e;
}

static enum err item_run(struct world *world, unsigned i)
{
	enum err e;

	if (world->items[i].settled)
		return OK;
	if (world->items[i].sealed && (e = item_recover(world, i)))
		return e;
	if (!world->items[i].sealed && (e = item_store(world, i)))
		return e;
	if ((e = index_write(world, i)))
		return e;
	world->items[i].settled = true;
	return OK;
}

static unsigned ours_there(void)
{
	return uploads_there() - (unsigned)ARRAY_COUNT(foreign);
}

static enum err script(void *argument)
{
	struct world *world = argument;
	struct store *store = world->place.store;
	bool recovers = fake.fail_at == 0;
	enum err e;

	if ((e = store_s3.lock(store)))
		return e;
	if (recovers && !world->setting->held)
		CHECK_EQ(ours_there(), 0);
	if ((e = store_s3.settle(store, "box")))
		return e;
	if (recovers) {
		CHECK_EQ(ours_there(), 0);
		foreign_check();
		fake_catch_up(); /* at the worst moment: from now on we believe what we see */
	}
	e = store_put_whole(store, "mailhaul-archive.json", "ours", 4);
	for (unsigned i = 0; i < ITEMS && !e; i++)
		e = item_run(world, i);
	return e;
}

static enum err serve(void *argument)
{
	return store_s3.serve(argument);
}

static enum err script_served(struct world *world)
{
	struct group *serving = group_open();
	enum err e;

	CHECK_OK(group_spawn(serving, "serve", FIBER_STACK_LARGE, serve, world->place.store));
	(void)fiber_yield();
	e = script(world);
	group_cancel(serving);
	(void)!group_join(&serving);
	return e;
}

static enum err run(struct world *world)
{
	enum err e;

	fake.is_cut = false;
	place_begin(&world->place);
	if ((e = place_open(&world->place)))
		return e;
	e = world->setting->served ? script_served(world) : script(world);
	if (!e || world->finish_always)
		store_s3.finish(world->place.store, clock_after(NSEC_SECOND));
	CHECK_EQ(err_note()->error, e); /* and what went wrong then is not told */
	err_note_clear();
	store_s3.close(&world->place.store);
	return e;
}

static void check_end(void)
{
	static uint8_t bytes[BYTES_MAX];
	unsigned packs = 0, indexes = 0, copies;

	for (unsigned o = 0; o < FAKE_OBJECTS; o++) {
		packs += fake.objects[o].at && strstr(fake.objects[o].key, "/packs/") != NULL;
		indexes += fake.objects[o].at && strstr(fake.objects[o].key, "/index/") != NULL;
	}
	CHECK_EQ(packs, ITEMS);
	CHECK_EQ(indexes, ITEMS);
	for (unsigned i = 0; i < ITEMS; i++) {
		copies = 0;
		item_fill(bytes, i);
		for (unsigned o = 0; o < FAKE_OBJECTS; o++)
			copies += fake.objects[o].at &&
				  strstr(fake.objects[o].key, "/packs/") != NULL &&
				  lies_there(fake.objects[o].key, bytes, item_bytes[i]);
		CHECK_EQ(copies, 1);
	}
	CHECK_EQ(ours_there(), 0);
	foreign_check();
}

/* False: the run ends before that request. */
static bool check_fault(enum fake_fault fault, unsigned at, const struct setting *setting)
{
	struct world world = { .setting = setting, .finish_always = at % 2 };
	struct place hold = { .store = NULL };
	bool reached;
	enum err first;

	fake_reset(LEAST);
	fake.ignores_conditions = fake.tells_nothing = setting->as_radosgw;
	fake.lands_backwards = setting->backwards;
	foreign_begin();
	if (setting->held && !place_open_locked(&hold))
		return false;
	fake.fault = fault;
	fake.calls = 0;
	fake.fail_at = at;
	first = run(&world);
	reached = fake.calls >= at;
	CHECK(!first || (reached && fault != FAKE_REPEATED));
	fake.fail_at = 0;
	if (at % 3 == 0)
		fake_catch_up();
	CHECK_OK(run(&world));
	fake_catch_up();
	CHECK_OK(run(&world));
	if (hold.store)
		place_close(&hold);
	check_end();
	CHECK(fault == FAKE_LATE || !fake_find("a/b/.lock"));
	return reached;
}

static void sweep(const struct setting *setting)
{
	unsigned at, fewest = UINT32_MAX;

	for (enum fake_fault fault = FAKE_REFUSED; fault < FAKE_FAULTS; fault++) {
		for (at = 1; check_fault(fault, at, setting); at++)
			;
		fewest = (unsigned)min_u64(at - 1, fewest);
	}
	CHECK(fewest >= 35);
	printf("DONE %u requests of a run, each failed in %d ways\n", fewest, FAKE_FAULTS - 1);
}

TEST_FIBER(a_run_cut_at_any_request_is_made_whole_by_the_next)
{
	sweep(&(struct setting){ 0 });
}

TEST_FIBER(so_it_is_where_fibers_of_their_own_send)
{
	sweep(&(struct setting){ .served = true });
	CHECK(fake.flying_highest > 1);
}

TEST_FIBER(so_it_is_where_parts_land_in_another_order)
{
	sweep(&(struct setting){ .served = true, .backwards = true });
	CHECK_EQ(fake.flying_highest, UPLOADS_MAX + 1);
}

TEST_FIBER(so_it_is_where_others_of_the_process_go_on)
{
	sweep(&(struct setting){ .held = true });
	sweep(&(struct setting){ .held = true, .served = true });
}

TEST_FIBER(so_it_is_on_a_server_that_ignores_conditions)
{
	sweep(&(struct setting){ .as_radosgw = true });
}

/* ---- side by side ---- */

static struct group *serve_place(struct place *place)
{
	struct group *serving = group_open();

	CHECK_OK(group_spawn(serving, "serve", FIBER_STACK_LARGE, serve, place->store));
	(void)fiber_yield();
	return serving;
}

static void serve_no_more(struct group **serving)
{
	group_cancel(*serving);
	CHECK_ERR(group_join(serving), ERR_FIBER_CANCELED);
	err_note_clear();
}

TEST_FIBER(a_part_is_filled_while_another_is_on_its_way)
{
	static uint8_t bytes[BYTES_MAX];
	struct place place;
	struct group *serving;
	struct store_put *put = NULL;
	size_t room;

	fake_reset(LEAST);
	REQUIRE(place_open_locked(&place));
	serving = serve_place(&place);
	REQUIRE(CHECK_OK(store_s3.put_open(place.store, "box/packs/000000000001.tar", &put)));
	CHECK_OK(store_s3.put_write(put, bytes, PART));
	CHECK_EQ(fake.parts_count, 0); /* not by this fiber */
	store_s3.put_room(put, &room);
	CHECK_EQ(room, PART);
	CHECK_OK(store_s3.put_write(put, bytes, PART - 1));
	store_s3.put_abort(&put); /* with one on its way */
	CHECK(put == NULL);
	for (int i = 0; i < 1000 && uploads_there() > 0; i++)
		(void)fiber_yield();
	CHECK_EQ(uploads_there(), 0); /* ended by who serves */
	serve_no_more(&serving);
	place_close(&place);
}

TEST_FIBER(several_parts_are_on_their_way_at_once_and_land_in_any_order)
{
	static uint8_t bytes[12 * PART + 77];
	struct place place;
	struct group *serving;

	for (int backwards = 0; backwards < 2; backwards++) {
		fake_reset(LEAST);
		fake.lands_backwards = backwards;
		fill(bytes, sizeof bytes, 5);
		REQUIRE(place_open_locked(&place));
		serving = serve_place(&place);
		write_and_publish(&place, "box/packs/000000000001.tar", bytes, sizeof bytes, 1009);
		CHECK(fake.flying_highest >= UPLOADS_MAX);
		serve_no_more(&serving);
		place_close(&place);
	}
}

/* Nothing more is sent of it, and its upload ends when the others have landed: the fake sees to
 * that. */
static void check_one_fails(struct place *place, unsigned at)
{
	static uint8_t bytes[12 * PART];
	struct store_put *put = NULL;
	char key[80];
	enum err e;

	snprintf(key, sizeof key, "box/packs/%012u.tar", at);
	REQUIRE(CHECK_OK(store_s3.put_open(place->store, key, &put)));
	fake.fault = FAKE_REFUSED;
	fake.fail_at = fake.calls + at;
	fake.parts_count = 0;
	e = store_s3.put_write(put, bytes, sizeof bytes);
	if (!e)
		e = store_s3.put_seal(put);
	CHECK_ERR(e, ERR_S3_UNAVAILABLE);
	CHECK(strstr(err_note()->text, "refused") != NULL);
	err_note_clear();
	CHECK_ERR(store_s3.put_seal(put), ERR_S3_UNAVAILABLE); /* for good */
	err_note_clear();
	CHECK(fake.parts_count < at + UPLOADS_MAX);
	fake.fail_at = 0;
	store_s3.put_abort(&put);
	write_and_publish(place, key, bytes, sizeof bytes, PART);
}

/* Nothing more is sent of it, and its upload ends when the others have landed: the fake sees to
 * that. */
TEST_FIBER(one_of_several_that_fails_fails_the_object_and_nothing_else)
{
	struct place place;
	struct group *serving;

	fake_reset(LEAST);
	fake.lands_backwards = true;
	REQUIRE(place_open_locked(&place));
	serving = serve_place(&place);
	for (unsigned at = 1; at <= 8; at++)
		check_one_fails(&place, at);
	for (int i = 0; i < 1000 && uploads_there() > 0; i++)
		(void)fiber_yield();
	CHECK_EQ(uploads_there(), 0);
	serve_no_more(&serving);
	place_close(&place);
}

/* ---- memory ---- */

/* As a mailbox does it at its worst: a pack that waits to be sealed by another fiber, one of which
 * a part is kept and taken back to, and changes that are written beside both. */
struct writer {
	struct place place;
	unsigned no;
	struct store_put *full;
	struct wait_queue changed;
	bool sealed;
};

static enum err seal_later(void *argument)
{
	struct writer *writer = argument;
	enum err e = OK;

	while (!writer->full && !e)
		e = wait_on(&writer->changed, clock_after(60 * NSEC_SECOND));
	for (int i = 0; i < 50 && !e; i++)
		e = fiber_yield();
	if (!e && !(e = store_s3.put_seal(writer->full)))
		e = store_s3.put_publish(&writer->full);
	store_s3.put_abort(&writer->full);
	return e;
}

static enum err write_all(struct writer *writer, const char *kind, size_t n, struct store_put **put)
{
	static const uint8_t bytes[6 * PART];
	char key[80];
	enum err e;

	snprintf(key, sizeof key, "box%u/%s/000000000001.tar", writer->no, kind);
	if (!(e = store_s3.put_open(writer->place.store, key, put)))
		e = store_s3.put_write(*put, bytes, n);
	return e;
}

static enum err write_changes(struct writer *writer)
{
	struct store_put *put = NULL;
	enum err e = write_all(writer, "changes", 2 * PART + 5, &put);

	if (!e && !(e = store_s3.put_seal(put)))
		e = store_s3.put_publish(&put);
	store_s3.put_abort(&put);
	return e;
}

static enum err write_with_mark(struct writer *writer, struct store_put **put)
{
	static const uint8_t bytes[5 * PART];
	uint64_t mark;
	enum err e = write_all(writer, "marks", 100, put);

	if (e || (e = store_s3.put_mark(*put, &mark)) ||
	    (e = store_s3.put_write(*put, bytes, sizeof bytes)) || (e = write_changes(writer)) ||
	    (e = store_s3.put_rewind(*put, mark)) ||
	    (e = store_s3.put_write(*put, bytes, sizeof bytes)))
		return e;
	return store_s3.put_seal(*put);
}

static enum err write_much(void *argument)
{
	struct writer *writer = argument;
	struct group *sealing = group_open(), *serving = serve_place(&writer->place);
	struct store_put *full = NULL, *put = NULL;
	enum err e = write_all(writer, "packs", 3 * PART + 7, &full);

	CHECK_OK(e);
	CHECK_OK(group_spawn(sealing, "seal", FIBER_STACK_LARGE, seal_later, writer));
	writer->full = full;
	wake_all(&writer->changed);
	if (!e)
		e = write_with_mark(writer, &put);
	if (!e)
		e = store_s3.put_publish(&put);
	store_s3.put_abort(&put);
	CHECK_OK(e);
	CHECK_OK(group_join(&sealing));
	serve_no_more(&serving);
	return e;
}

/* Who waits for memory gets it, whatever the others hold. No other test of this program takes so
 * much. */
TEST_FIBER(memory_is_bounded_for_all_stores_of_a_thread_together)
{
	static struct writer writers[WRITERS];
	struct group *writing = group_open();

	fake_reset(LEAST);
	for (unsigned i = 0; i < WRITERS; i++) {
		writers[i] = (struct writer){ .no = i };
		REQUIRE(place_open_locked(&writers[i].place));
		CHECK_OK(group_spawn(writing, "write", FIBER_STACK_LARGE, write_much, &writers[i]));
	}
	CHECK_OK(group_join(&writing));
	for (unsigned i = 0; i < WRITERS; i++)
		place_close(&writers[i].place);
	CHECK_EQ(uploads_there(), 0);
	CHECK(budget_high(BUDGET_WRITES) > WRITERS * UPLOAD_PARTS_OWN * PART);
	CHECK(budget_high(BUDGET_WRITES) <=
	      (WRITERS * UPLOAD_PARTS_OWN + budget()->parts_shared) * PART);
}

/* "hello" and "world", the second one's ETag in bare digits, as some servers have it; RFC 1321 of
 * both digests, one behind the other. */
TEST(an_etag_of_the_parts_md5s_proves_what_was_put_together)
{
	struct s3_part_sent parts[] = {
		{ .number = 1,
		  .etag = "\"5d41402abc4b2a76b9719d911017c592\"",
		  .etag_is_md5 = true },
		{ .number = 3, .etag = "7d793037a0760186574b0282f2f435e7", .etag_is_md5 = true },
	};
	const struct s3_complete both = { .parts = parts, .parts_count = 2 };
	static const struct {
		const char *etag;
		bool proves;
	} rows[] = {
		{ "\"065947336a2f2a95ba8899f3675c3be6-2\"", true },
		{ "065947336a2f2a95ba8899f3675c3be6-2", true },
		{ "\"065947336a2f2a95ba8899f3675c3be7-2\"", false },
		{ "\"065947336a2f2a95ba8899f3675c3be6-21\"", false },
		{ "\"065947336a2f2a95ba8899f3675c3be6-1\"", false },
		{ "\"065947336a2f2a95ba8899f3675c3be6\"", false },
		{ "", false },
	};

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++)
		CHECK_EQ(store_s3_etag_is_of_parts(&both, rows[i].etag), rows[i].proves);
	parts[1].etag_is_md5 = false;
	CHECK(!store_s3_etag_is_of_parts(&both, rows[0].etag));
}
