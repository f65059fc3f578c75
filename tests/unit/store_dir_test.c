/* The store in a directory: what is visible when, taking back, one writer, and the ways a disk says
 * no. */
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mount.h>

#include "tests/unit/archive_help.h"
#include "transport/store.h"

enum { MIB = 1024 * 1024 };

struct place {
	struct account account;
	char path[200];
	struct store *store;
};

static enum err place_open(struct place *place, const char *path)
{
	*place = (struct place){ 0 };
	snprintf(place->path, sizeof place->path, "%s", path);
	place->account =
		(struct account){ .scheme = "file", .path = place->path, .shown = place->path };
	return store_dir.open(&place->store, &place->account, true, clock_after(10 * NSEC_SECOND));
}

static enum err place_open_locked(struct place *place, const char *path)
{
	enum err e = place_open(place, path);

	return e ? e : store_dir.lock(place->store);
}

/* The object holds exactly these bytes. */
static bool holds(struct place *place, const char *key, const void *bytes, size_t n)
{
	struct buffer got = { 0 };
	bool same = CHECK_OK(store_get_whole(place->store, key, 64 * MIB, &got)) &&
		    got.bytes == n && (n == 0 || memcmp(got.at, bytes, n) == 0);

	buffer_free(&got);
	return same;
}

static const char *below(const struct place *place, const char *name)
{
	static char path[400];

	snprintf(path, sizeof path, "%s/%s", place->path, name);
	return path;
}

TEST(keys_are_told_from_other_names)
{
	static const char *const good[] = { "a", "a/b", "Z-9_.x/0.tar.zst" };
	static const char *const bad[] = { "",	   "/a", "a/",	   "a//b", ".a",
					   "a/.b", "..", "a/../b", "a b",  "\xC3\xA4" };

	for (size_t i = 0; i < ARRAY_COUNT(good); i++)
		CHECK(store_key_is_valid(text_of(good[i])));
	for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
		CHECK(!store_key_is_valid(text_of(bad[i])));
	CHECK(!store_key_is_valid((struct text){ "a\0b", 3 }));
}

static void write_and_publish(struct place *place, const char *key, const uint8_t *bytes, size_t n,
			      size_t piece)
{
	struct store_put *put = NULL;
	uint64_t size;

	REQUIRE(CHECK_OK(store_dir.put_open(place->store, key, &put)));
	for (size_t at = 0; at < n; at += piece)
		CHECK_OK(store_dir.put_write(put, bytes + at, min_u64(piece, n - at)));
	CHECK_ERR(store_dir.size(place->store, key, &size), ERR_DISK_ABSENT);
	err_note_clear();
	CHECK_OK(store_dir.put_seal(put));
	CHECK_ERR(store_dir.size(place->store, key, &size), ERR_DISK_ABSENT);
	err_note_clear();
	CHECK_OK(store_dir.put_publish(&put));
	CHECK(put == NULL);
	CHECK_OK(store_dir.size(place->store, key, &size));
	CHECK_EQ(size, n);
	CHECK(holds(place, key, bytes, n));
}

/* Lengths on every side of a block and of the two buffers. */
TEST_FIBER(objects_appear_whole_and_only_when_published)
{
	static const size_t sizes[] = { 0,	 1,   4095,    4096,	4097,
					MIB - 1, MIB, MIB + 1, 2 * MIB, 3 * MIB + 5 };
	static uint8_t bytes[3 * MIB + 5];
	struct place place;
	char key[80];

	fill(bytes, sizeof bytes, 1);
	REQUIRE(CHECK_OK(place_open_locked(&place, test_directory())));
	for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
		snprintf(key, sizeof key, "deep/er/%zu.bin", sizes[i]);
		write_and_publish(&place, key, bytes, sizes[i], 70001);
	}
	store_dir.close(&place.store);
	CHECK(place.store == NULL);
}

TEST_FIBER(files_are_private_and_temporary_names_are_gone)
{
	struct place place;
	struct stat status;
	uint64_t leftovers;

	REQUIRE(CHECK_OK(place_open_locked(&place, test_directory())));
	CHECK_OK(store_put_whole(place.store, "a/b", "bytes", 5));
	CHECK_EQ(stat(below(&place, "a/b"), &status), 0);
	CHECK_EQ(status.st_mode & 07777, 0600);
	CHECK_EQ(stat(below(&place, "a"), &status), 0);
	CHECK_EQ(status.st_mode & 07777, 0700);
	CHECK_OK(store_dir.leftovers(place.store, &leftovers));
	CHECK_EQ(leftovers, 0);
	store_dir.close(&place.store);
}

TEST_FIBER(an_object_is_never_overwritten)
{
	struct place place;
	struct store_put *put = NULL;

	REQUIRE(CHECK_OK(place_open_locked(&place, test_directory())));
	CHECK_OK(store_put_whole(place.store, "a", "first", 5));
	REQUIRE(CHECK_OK(store_dir.put_open(place.store, "a", &put)));
	CHECK_OK(store_dir.put_write(put, "second", 6));
	CHECK_OK(store_dir.put_seal(put));
	CHECK_ERR(store_dir.put_publish(&put), ERR_DISK_EXISTS);
	err_note_clear();
	store_dir.put_abort(&put);
	CHECK(holds(&place, "a", "first", 5));
	store_dir.close(&place.store);
}

/* Write `before`, mark, write `more`, take it back, write `after`: as if `more` had never been. */
static void check_rewind(struct place *place, size_t before, size_t more, size_t after)
{
	static uint8_t first[3 * MIB], second[3 * MIB], expected[6 * MIB];
	struct store_put *put = NULL;
	char key[80];
	uint64_t mark;

	fill(first, sizeof first, 2);
	fill(second, sizeof second, 3);
	snprintf(key, sizeof key, "r/%zu-%zu-%zu", before, more, after);
	REQUIRE(CHECK_OK(store_dir.put_open(place->store, key, &put)));
	CHECK_OK(store_dir.put_write(put, first, before));
	CHECK_OK(store_dir.put_mark(put, &mark));
	CHECK_EQ(mark, before);
	CHECK_OK(store_dir.put_write(put, second, more));
	CHECK_OK(store_dir.put_rewind(put, mark));
	CHECK_OK(store_dir.put_write(put, second + 7, after));
	CHECK_OK(store_dir.put_seal(put));
	CHECK_OK(store_dir.put_publish(&put));
	memcpy(expected, first, before);
	memcpy(expected + before, second + 7, after);
	CHECK(holds(place, key, expected, before + after));
}

TEST_FIBER(what_is_taken_back_leaves_no_trace)
{
	static const size_t before[] = {
		0, 1, 4096, 5000, MIB - 1, MIB, MIB + 4099, 2 * MIB + 100
	};
	static const size_t more[] = { 0, 10, 4096, MIB, 2 * MIB + 9 };
	static const size_t after[] = { 0, 1, 4096, MIB + 1 };
	struct place place;

	REQUIRE(CHECK_OK(place_open_locked(&place, test_directory())));
	for (size_t i = 0; i < ARRAY_COUNT(before); i++)
		for (size_t j = 0; j < ARRAY_COUNT(more); j++)
			check_rewind(&place, before[i], more[j],
				     after[(i + j) % ARRAY_COUNT(after)]);
	store_dir.close(&place.store);
}

TEST_FIBER(ranges_stop_at_the_end)
{
	struct place place;
	char got[10] = "";
	size_t n;

	REQUIRE(CHECK_OK(place_open_locked(&place, test_directory())));
	CHECK_OK(store_put_whole(place.store, "a", "0123456789", 10));
	CHECK_OK(store_dir.get(place.store, "a", 4, got, 3, &n));
	CHECK(n == 3 && memcmp(got, "456", 3) == 0);
	CHECK_OK(store_dir.get(place.store, "a", 8, got, 10, &n));
	CHECK(n == 2 && memcmp(got, "89", 2) == 0);
	CHECK_OK(store_dir.get(place.store, "a", 10, got, 10, &n));
	CHECK_EQ(n, 0);
	CHECK_OK(store_dir.get(place.store, "a", 1u << 30, got, 10, &n));
	CHECK_EQ(n, 0);
	CHECK_ERR(store_dir.get(place.store, "b", 0, got, 10, &n), ERR_DISK_ABSENT);
	store_dir.close(&place.store);
}

TEST_FIBER(lists_are_sorted_and_without_what_is_the_stores_own)
{
	struct place place;
	struct buffer names = { 0 };
	const char *name = NULL;

	REQUIRE(CHECK_OK(place_open_locked(&place, test_directory())));
	CHECK_OK(store_put_whole(place.store, "b/2", "", 0));
	CHECK_OK(store_put_whole(place.store, "b/10", "", 0));
	CHECK_OK(store_put_whole(place.store, "a", "", 0));
	CHECK_OK(store_dir.list(place.store, "", &names));
	CHECK(store_names_next(&names, &name) && strcmp(name, "a") == 0);
	CHECK(store_names_next(&names, &name) && strcmp(name, "b") == 0);
	CHECK(!store_names_next(&names, &name));
	name = NULL;
	CHECK_OK(store_dir.list(place.store, "b", &names));
	CHECK(store_names_next(&names, &name) && strcmp(name, "10") == 0);
	CHECK(store_names_next(&names, &name) && strcmp(name, "2") == 0);
	name = NULL;
	CHECK_OK(store_dir.list(place.store, "none", &names));
	CHECK(!store_names_next(&names, &name));
	buffer_free(&names);
	store_dir.close(&place.store);
}

/* ---- one writer ---- */

TEST_FIBER(stores_of_one_process_share_the_lock_and_keep_each_others_objects)
{
	struct place one, two;
	struct store_put *put = NULL;

	REQUIRE(CHECK_OK(place_open_locked(&one, test_directory())));
	REQUIRE(CHECK_OK(store_dir.put_open(one.store, "mine", &put)));
	CHECK_OK(store_dir.put_write(put, "bytes", 5));
	REQUIRE(CHECK_OK(place_open_locked(&two, test_directory())));
	CHECK_OK(store_put_whole(two.store, "yours", "more", 4));
	CHECK_OK(store_dir.put_seal(put));
	CHECK_OK(store_dir.put_publish(&put));
	store_dir.close(&one.store);
	CHECK_OK(store_put_whole(two.store, "still", "locked", 6));
	CHECK(holds(&two, "mine", "bytes", 5));
	store_dir.close(&two.store);
}

TEST_FIBER(a_second_process_is_refused_until_the_first_ends)
{
	struct place place;
	char lock[300];
	int fd;

	snprintf(lock, sizeof lock, "%s/.lock", test_directory());
	REQUIRE((fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600)) >= 0);
	REQUIRE(flock(fd, LOCK_EX | LOCK_NB) == 0);
	CHECK_ERR(place_open_locked(&place, test_directory()), ERR_SINK_BUSY);
	CHECK(strstr(err_note()->text, place.path) != NULL);
	err_note_clear();
	close(fd);
	CHECK_OK(store_dir.lock(place.store));
	store_dir.close(&place.store);
}

/* What a process that was killed leaves. */
static void leave_behind(struct place *place, const char *name)
{
	close(open(below(place, name), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
}

TEST_FIBER(leftovers_of_a_cut_run_go_when_the_next_one_writes)
{
	struct place place;
	uint64_t count;

	REQUIRE(CHECK_OK(place_open_locked(&place, test_directory())));
	leave_behind(&place, ".tmp/0-b");
	CHECK_OK(store_dir.leftovers(place.store, &count));
	CHECK_EQ(count, 1);
	store_dir.close(&place.store);
	REQUIRE(CHECK_OK(place_open(&place, test_directory())));
	CHECK_OK(store_dir.leftovers(place.store, &count));
	CHECK_EQ(count, 1); /* reading changes nothing */
	CHECK_OK(store_dir.lock(place.store));
	CHECK_OK(store_dir.leftovers(place.store, &count));
	CHECK_EQ(count, 0);
	store_dir.close(&place.store);
}

/* Not by the next lock alone, which may be days away. */
TEST_FIBER(what_is_given_up_leaves_nothing_behind)
{
	struct place place;
	struct store_put *put = NULL;
	uint64_t count = 0;

	REQUIRE(CHECK_OK(place_open_locked(&place, test_directory())));
	REQUIRE(CHECK_OK(store_dir.put_open(place.store, "a/b", &put)));
	CHECK_OK(store_dir.put_write(put, "bytes", 5));
	CHECK_OK(store_dir.leftovers(place.store, &count));
	CHECK_EQ(count, 1);
	store_dir.put_abort(&put);
	CHECK(put == NULL);
	for (int i = 0; i < 10000 && count > 0; i++) {
		CHECK_OK(fiber_sleep(clock_after(NSEC_MILLISECOND)));
		CHECK_OK(store_dir.leftovers(place.store, &count));
	}
	CHECK_EQ(count, 0);
	store_dir.close(&place.store);
}

TEST_FIBER(settling_takes_what_is_there_and_what_is_not)
{
	struct place place;

	REQUIRE(CHECK_OK(place_open_locked(&place, test_directory())));
	CHECK_OK(store_put_whole(place.store, "a/b/c", "bytes", 5));
	CHECK_OK(store_put_whole(place.store, "a/d", "bytes", 5));
	CHECK_OK(store_dir.settle(place.store, "a"));
	CHECK_OK(store_dir.settle(place.store, "none"));
	CHECK_EQ(err_note()->error, OK);
	CHECK(holds(&place, "a/b/c", "bytes", 5));
	store_dir.close(&place.store);
}

/* Given up with writes under way: the memory lives until the kernel is done with it. */
TEST_FIBER(a_put_may_be_given_up_in_mid_write)
{
	static uint8_t bytes[3 * MIB];
	struct place place;
	struct store_put *put = NULL;

	REQUIRE(CHECK_OK(place_open_locked(&place, test_directory())));
	for (int i = 0; i < 8; i++) {
		REQUIRE(CHECK_OK(store_dir.put_open(place.store, "a", &put)));
		CHECK_OK(store_dir.put_write(put, bytes, MIB + (size_t)(i % 3) * MIB));
		store_dir.put_abort(&put);
	}
	CHECK_OK(store_put_whole(place.store, "a", bytes, sizeof bytes));
	CHECK(holds(&place, "a", bytes, sizeof bytes));
	store_dir.close(&place.store);
}

/* ---- the ways a place says no ---- */

TEST_FIBER(a_file_in_the_place_of_the_directory_is_foreign)
{
	struct place place;
	char path[300];

	snprintf(path, sizeof path, "%s/file", test_directory());
	close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	CHECK_ERR(place_open(&place, path), ERR_SINK_FOREIGN);
	CHECK(place.store == NULL);
}

TEST_FIBER(the_directory_is_made_but_not_those_above_it)
{
	struct place place;
	char path[300];

	snprintf(path, sizeof path, "%s/new/", test_directory());
	CHECK_OK(place_open(&place, path));
	store_dir.close(&place.store);
	snprintf(path, sizeof path, "%s/no/such", test_directory());
	CHECK_ERR(place_open(&place, path), ERR_DISK_ABSENT);
	CHECK(strstr(err_note()->text, "/no/such") != NULL);
	place.account.path = path;
	err_note_clear();
	CHECK_ERR(store_dir.open(&place.store, &place.account, false, clock_after(NSEC_SECOND)),
		  ERR_DISK_ABSENT);
}

/* Opening it would wait for somebody to write into it. */
TEST_FIBER(a_pipe_in_the_place_of_an_object_is_no_object)
{
	struct place place;
	uint64_t size;
	char got[4];
	size_t n;

	REQUIRE(CHECK_OK(place_open(&place, test_directory())));
	REQUIRE(mkfifo(below(&place, "pipe"), 0600) == 0);
	CHECK_ERR(store_dir.size(place.store, "pipe", &size), ERR_ARCHIVE_DAMAGED);
	err_note_clear();
	CHECK_ERR(store_dir.get(place.store, "pipe", 0, got, 4, &n), ERR_ARCHIVE_DAMAGED);
	store_dir.close(&place.store);
}

/* A small file system of its own below the test's directory; false (and skipped aloud) where that
 * is not allowed. */
static bool mounted(const char *type, const char *options, char path[300])
{
	snprintf(path, 300, "%s/mount", test_directory());
	if (mkdir(path, 0700) == 0 && mount("none", path, type, 0, options) == 0)
		return true;
	test_skipped("cannot mount %s here (needs root)", type);
	return false;
}

TEST_FIBER(a_full_disk_is_named_and_the_store_stays_usable)
{
	static uint8_t bytes[MIB];
	char path[300];
	struct place place;
	struct store_put *put = NULL;
	enum err e = OK;

	if (!mounted("tmpfs", "size=4m", path))
		return;
	if (CHECK_OK(place_open_locked(&place, path)) &&
	    CHECK_OK(store_dir.put_open(place.store, "big", &put))) {
		for (int i = 0; i < 8 && !e; i++)
			e = store_dir.put_write(put, bytes, sizeof bytes);
		if (!e)
			e = store_dir.put_seal(put);
		CHECK_ERR(e, ERR_DISK_FULL);
		CHECK(strstr(err_note()->text, path) != NULL);
		CHECK(strstr(err_note()->text, "make room") != NULL);
		err_note_clear();
		store_dir.put_abort(&put);
	}
	store_dir.close(&place.store);
	if (CHECK_OK(place_open_locked(&place, path))) { /* removes what filled it */
		CHECK_OK(store_put_whole(place.store, "small", bytes, 5000));
		CHECK(holds(&place, "small", bytes, 5000));
	}
	store_dir.close(&place.store);
	CHECK_EQ(umount2(path, MNT_DETACH), 0);
}

TEST_FIBER(a_read_only_disk_is_named)
{
	char path[300];
	struct place place;

	if (!mounted("tmpfs", "size=1m", path))
		return;
	CHECK_EQ(mount("none", path, "tmpfs", MS_REMOUNT | MS_RDONLY, NULL), 0);
	CHECK_ERR(place_open_locked(&place, path), ERR_DISK_READ_ONLY);
	CHECK(strstr(err_note()->text, path) != NULL);
	store_dir.close(&place.store);
	CHECK_EQ(umount2(path, MNT_DETACH), 0);
}

/* ramfs has no direct I/O at all. */
TEST_FIBER(where_o_direct_is_refused_writing_goes_on_without)
{
	static uint8_t bytes[3 * MIB + 5];
	char path[300], probe[320];
	struct place place;
	int fd;

	if (!mounted("ramfs", NULL, path))
		return;
	snprintf(probe, sizeof probe, "%s/probe", path);
	fd = open(probe, O_WRONLY | O_CREAT | O_DIRECT | O_CLOEXEC, 0600);
	if (fd >= 0)
		test_skipped("this kernel's ramfs takes O_DIRECT");
	close(fd);
	fill(bytes, sizeof bytes, 4);
	if (CHECK_OK(place_open_locked(&place, path))) {
		write_and_publish(&place, "a/b", bytes, sizeof bytes, 100000);
		check_rewind(&place, MIB + 4099, 2 * MIB + 9, 10);
	}
	store_dir.close(&place.store);
	CHECK_EQ(umount2(path, MNT_DETACH), 0);
}

TEST(what_an_archive_has_is_known_by_its_key)
{
	static const char *const ours[] = { "mailhaul-archive.json",
					    "m-1/mailbox.json",
					    "m/packs/000000000001.tar.zst",
					    "m/index/000000000001.ndjson.zst",
					    "m/changes/999999999999.ndjson.zst",
					    "m/manifest/000000000001.ndjson" };
	static const char *const others[] = { "",
					      "mailbox.json",
					      ".lock",
					      "x/mailhaul-archive.json",
					      "m/mailbox.json/",
					      ".m/mailbox.json",
					      "m/x/mailbox.json",
					      "m/photos/000000000001.jpg",
					      "m/packs/00000000001.tar",
					      "m/packs/0000000000001.tar",
					      "m/packs/000000000001",
					      "m/packs/000000000001/x",
					      "m/packs/000000000001.tar/x",
					      "m/packs/x/000000000001.tar",
					      "m n/packs/000000000001.tar",
					      "m/packs2/000000000001.tar",
					      "m/pack",
					      "m//000000000001.tar" };

	for (size_t i = 0; i < ARRAY_COUNT(ours); i++)
		CHECK(store_key_is_of_archive(text_of(ours[i])));
	for (size_t i = 0; i < ARRAY_COUNT(others); i++)
		if (store_key_is_of_archive(text_of(others[i])))
			test_failed(__FILE__, __LINE__, "\"%s\" is taken for ours", others[i]);
	CHECK(store_key_is_numbered(text_of("a/b/000000000001.x")));
	CHECK(!store_key_is_numbered(text_of("a/b/c/000000000001.x")));
	CHECK(store_key_is_single(text_of("a/eml/f/1700000000-0000000017.eml")));
	CHECK(!store_key_is_single(text_of("a/eml/f/1700000000-.eml")));
	CHECK(!store_key_is_single(text_of("a/eml/f/-17.eml")));
	CHECK(!store_key_is_single(text_of("a/eml/f/17-17.eml2")));
	CHECK(!store_key_is_single(text_of("a/eml/17-17.eml")));
	CHECK(!store_key_is_single(text_of("a/eml/f/g/17-17.eml")));
	CHECK(!store_key_is_single(text_of("a/packs/f/17-17.eml")));
	CHECK(store_key_is_of_archive(text_of("a/eml/f/1-1.eml")));
	CHECK(store_key_is_of_archive(text_of("a/eml/f/folder.json")));
	CHECK(!store_key_is_of_archive(text_of("a/eml/f/other.json")));
}
