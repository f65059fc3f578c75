/* The simulated disk keeps its own promises: what a cut may take, and what it never takes. */
#include <errno.h>

#include "tests/sim/disk_sim.h"
#include "tests/sim/sim.h"
#include "tests/test.h"

enum { DISK_BYTES = 16 * 1024 * 1024, SEEDS = 200, PAGE = DISK_PAGE_BYTES };

static struct disk *open_seeded(uint64_t seed)
{
	sim_begin(&(struct sim_config){ .seed = seed });
	return disk_open(DISK_BYTES);
}

static int make_file(struct disk *disk, const char *path, char fill, size_t bytes)
{
	static char all[8 * PAGE];
	int node = disk_create(disk, path, false, 0600);

	must(node > 0 && bytes <= sizeof all);
	memset(all, fill, bytes);
	must(disk_write(disk, node, all, bytes, 0) == (int64_t)bytes);
	return node;
}

static char byte_at(struct disk *disk, int node, uint64_t offset)
{
	char byte = '?';

	(void)disk_read(disk, node, &byte, 1, offset);
	return byte;
}

TEST(synced_bytes_under_a_synced_name_survive_every_cut)
{
	for (unsigned seed = 0; seed < SEEDS; seed++) {
		struct disk *disk = open_seeded(seed);
		int node = make_file(disk, "/a", 'x', 3 * PAGE + 5);

		CHECK_EQ(disk_sync(disk, node), 0);
		CHECK_EQ(disk_sync(disk, disk_find(disk, "/")), 0);
		disk_power_cut(disk);
		node = disk_find(disk, "/a");
		CHECK(node > 0);
		CHECK_EQ(disk_fact(disk, node).bytes, 3 * PAGE + 5);
		CHECK_EQ(byte_at(disk, node, 3 * PAGE + 4), 'x');
		disk_close(&disk);
	}
}

TEST(a_file_without_a_name_lives_as_long_as_somebody_holds_it)
{
	struct disk *disk = open_seeded(1);
	uint64_t empty = disk_fingerprint(disk, "/");
	int node;

	for (unsigned i = 0; i < 1000; i++) { /* each takes the place of the one before */
		node = disk_create_nameless(disk, 0600);
		CHECK(node > 0);
		disk_hold(disk, node);
		CHECK_EQ(disk_write(disk, node, "abc", 3, 0), 3);
		CHECK_EQ(byte_at(disk, node, 2), 'c');
		if (i % 2)
			disk_let_go(disk, node);
		else
			disk_power_cut(disk);
	}
	CHECK_EQ(disk_fingerprint(disk, "/"), empty);
	disk_close(&disk);
}

/* A page whose sectors differ was torn. */
static bool is_torn(struct disk *disk, int node, uint64_t at)
{
	for (unsigned i = 1; i < PAGE / DISK_SECTOR_BYTES; i++)
		if (byte_at(disk, node, at) != byte_at(disk, node, at + i * DISK_SECTOR_BYTES))
			return true;
	return false;
}

TEST(a_cut_leaves_each_unsynced_sector_old_or_new_and_some_pages_torn)
{
	unsigned old = 0, new = 0, torn = 0;

	for (unsigned seed = 0; seed < SEEDS; seed++) {
		struct disk *disk = open_seeded(seed);
		int node = make_file(disk, "/a", 'o', 4 * PAGE);
		static char page[PAGE];

		memset(page, 'n', sizeof page);
		CHECK_EQ(disk_sync(disk, node) | disk_sync(disk, disk_find(disk, "/")), 0);
		for (unsigned i = 0; i < 4; i++)
			CHECK_EQ(disk_write(disk, node, page, PAGE, i * PAGE), PAGE);
		disk_power_cut(disk);
		for (unsigned i = 0; i < 4; i++) {
			char first = byte_at(disk, node, i * PAGE);

			CHECK(first == byte_at(disk, node, i * PAGE + DISK_SECTOR_BYTES - 1));
			torn += is_torn(disk, node, i * PAGE);
			old += first == 'o';
			new += first == 'n';
		}
		disk_close(&disk);
	}
	CHECK_EQ(old + new, 4 * SEEDS);
	CHECK(old > SEEDS && new > SEEDS &&torn > 0 && torn < SEEDS);
}

TEST(an_unsynced_length_ends_between_the_old_one_and_the_new_one)
{
	unsigned shorter = 0, whole = 0;

	for (unsigned seed = 0; seed < SEEDS; seed++) {
		struct disk *disk = open_seeded(seed);
		int node = make_file(disk, "/a", 'x', 100);
		uint64_t bytes;

		CHECK_EQ(disk_sync(disk, node) | disk_sync(disk, disk_find(disk, "/")), 0);
		CHECK_EQ(disk_write(disk, node, "y", 1, 3 * PAGE), 1);
		disk_power_cut(disk);
		bytes = disk_fact(disk, node).bytes;
		CHECK(bytes >= 100 && bytes <= 3 * PAGE + 1);
		CHECK_EQ(byte_at(disk, node, 99), 'x');
		shorter += bytes < 3 * PAGE + 1;
		whole += bytes == 3 * PAGE + 1;
		disk_close(&disk);
	}
	CHECK(shorter > 0 && whole > 0);
}

TEST(a_file_cut_short_is_the_old_one_or_the_short_one_after_a_power_cut)
{
	unsigned old = 0, empty = 0;

	for (unsigned seed = 0; seed < SEEDS; seed++) {
		struct disk *disk = open_seeded(seed);
		int node = make_file(disk, "/a", 'x', 5 * PAGE);
		uint64_t bytes;

		CHECK_EQ(disk_sync(disk, node) | disk_sync(disk, disk_find(disk, "/")), 0);
		CHECK_EQ(disk_truncate(disk, node, 0), 0);
		disk_power_cut(disk);
		bytes = disk_fact(disk, node).bytes;
		for (unsigned i = 0; i < 5 && bytes; i++)
			CHECK_EQ(byte_at(disk, node, i * PAGE), 'x');
		old += bytes == 5 * PAGE;
		empty += bytes == 0;
		disk_close(&disk);
	}
	CHECK_EQ(old + empty, SEEDS);
	CHECK(old > 0 && empty > 0);
}

TEST(a_name_may_vanish_until_its_directory_is_synced_even_if_the_file_was)
{
	unsigned gone = 0, there = 0;

	for (unsigned seed = 0; seed < SEEDS; seed++) {
		struct disk *disk = open_seeded(seed);
		int node = make_file(disk, "/a", 'x', 10);

		CHECK_EQ(disk_sync(disk, node), 0);
		disk_power_cut(disk);
		gone += disk_find(disk, "/a") == -ENOENT;
		there += disk_find(disk, "/a") > 0;
		disk_close(&disk);
	}
	CHECK(gone > 0 && there > 0);
	CHECK_EQ(gone + there, SEEDS);
}

TEST(a_file_in_a_directory_whose_own_name_was_not_synced_may_vanish)
{
	unsigned gone = 0;

	for (unsigned seed = 0; seed < SEEDS; seed++) {
		struct disk *disk = open_seeded(seed);

		CHECK(disk_create(disk, "/d", true, 0700) > 0);
		CHECK_EQ(disk_sync(disk, make_file(disk, "/d/a", 'x', 10)), 0);
		CHECK_EQ(disk_sync(disk, disk_find(disk, "/d")), 0);
		disk_power_cut(disk);
		gone += disk_find(disk, "/d/a") == -ENOENT;
		disk_close(&disk);
	}
	CHECK(gone > 0 && gone < SEEDS);
}

TEST(a_rename_between_directories_is_seen_whole_or_not_at_all)
{
	unsigned moved = 0;

	for (unsigned seed = 0; seed < SEEDS; seed++) {
		struct disk *disk = open_seeded(seed);
		bool sync_target = seed % 3 == 0, sync_source = seed % 3 == 1, from, to;

		CHECK(disk_create(disk, "/s", true, 0700) > 0 &&
		      disk_create(disk, "/t", true, 0700) > 0);
		CHECK_EQ(disk_sync(disk, disk_find(disk, "/")), 0);
		CHECK_EQ(disk_sync(disk, make_file(disk, "/s/a", 'x', 10)), 0);
		CHECK_EQ(disk_sync(disk, disk_find(disk, "/s")), 0);
		CHECK_EQ(disk_rename(disk, "/s/a", "/t/b", false), 0);
		if (sync_target || sync_source)
			CHECK_EQ(disk_sync(disk, disk_find(disk, sync_target ? "/t" : "/s")), 0);
		disk_power_cut(disk);
		from = disk_find(disk, "/s/a") > 0;
		to = disk_find(disk, "/t/b") > 0;
		CHECK(from != to);
		CHECK(to || !(sync_target || sync_source));
		moved += to;
		disk_close(&disk);
	}
	CHECK(moved > SEEDS * 2 / 3 && moved < SEEDS);
}

TEST(syncing_a_rename_of_a_name_that_was_never_synced_leaves_one_name)
{
	for (unsigned seed = 0; seed < SEEDS; seed++) {
		struct disk *disk = open_seeded(seed);

		CHECK(disk_create(disk, "/t", true, 0700) > 0);
		CHECK_EQ(disk_sync(disk, disk_find(disk, "/")), 0);
		CHECK_EQ(disk_sync(disk, make_file(disk, "/a", 'x', 10)), 0);
		CHECK_EQ(disk_rename(disk, "/a", "/t/a", false), 0);
		CHECK_EQ(disk_sync(disk, disk_find(disk, "/t")), 0);
		disk_power_cut(disk);
		CHECK_EQ(disk_find(disk, "/a"), -ENOENT);
		CHECK(disk_find(disk, "/t/a") > 0);
		disk_close(&disk);
	}
}

TEST(a_rename_over_a_synced_file_leaves_the_old_one_or_the_new_one)
{
	for (unsigned seed = 0; seed < SEEDS; seed++) {
		struct disk *disk = open_seeded(seed);
		int node;

		CHECK_EQ(disk_sync(disk, make_file(disk, "/a", 'o', PAGE)), 0);
		CHECK_EQ(disk_sync(disk, disk_find(disk, "/")), 0);
		CHECK_EQ(disk_sync(disk, make_file(disk, "/a.new", 'n', PAGE)), 0);
		CHECK_EQ(disk_rename(disk, "/a.new", "/a", false), -EEXIST);
		CHECK_EQ(disk_rename(disk, "/a.new", "/a", true), 0);
		disk_power_cut(disk);
		node = disk_find(disk, "/a");
		CHECK(node > 0);
		CHECK(node > 0 && (byte_at(disk, node, 0) == 'o' || byte_at(disk, node, 0) == 'n'));
		CHECK_EQ(disk_fact(disk, node).bytes, PAGE);
		disk_close(&disk);
	}
}

TEST(a_removed_file_lives_while_it_is_open_and_gives_its_room_back_after)
{
	struct disk *disk = open_seeded(1);
	int node = make_file(disk, "/a", 'x', 4 * PAGE);

	disk_limit(disk, 5 * PAGE);
	disk_hold(disk, node);
	CHECK_EQ(disk_remove(disk, "/a", false), 0);
	CHECK_EQ(byte_at(disk, node, 7), 'x');
	CHECK_EQ(disk_sync(disk, disk_find(disk, "/")), 0);
	disk_let_go(disk, node);
	CHECK_EQ(disk_find(disk, "/a"), -ENOENT);
	CHECK_EQ(disk_sync(disk, make_file(disk, "/b", 'y', 5 * PAGE)), 0);
	disk_close(&disk);
}

TEST(a_full_disk_takes_what_fits_and_then_nothing)
{
	struct disk *disk = open_seeded(1);
	int node = make_file(disk, "/a", 'x', PAGE);
	static char more[4 * PAGE];

	disk_limit(disk, 3 * PAGE);
	CHECK_EQ(disk_write(disk, node, more, sizeof more, PAGE), 2 * PAGE);
	CHECK_EQ(disk_write(disk, node, more, PAGE, 3 * PAGE), -ENOSPC);
	CHECK_EQ(disk_write(disk, node, more, PAGE, 0), PAGE); /* its own room */
	CHECK_EQ(disk_truncate(disk, node, PAGE), 0);
	CHECK_EQ(disk_write(disk, node, more, PAGE, PAGE), PAGE);
	disk_close(&disk);
}

TEST(bytes_cut_off_do_not_come_back_when_the_file_grows)
{
	struct disk *disk = open_seeded(1);
	int node = make_file(disk, "/a", 'x', 2 * PAGE);

	CHECK_EQ(disk_sync(disk, node), 0);
	CHECK_EQ(disk_truncate(disk, node, 10), 0);
	CHECK_EQ(disk_truncate(disk, node, 2 * PAGE), 0);
	CHECK_EQ(byte_at(disk, node, 9), 'x');
	CHECK_EQ(byte_at(disk, node, 10), 0);
	CHECK_EQ(byte_at(disk, node, PAGE + 1), 0);
	disk_close(&disk);
}

TEST(a_failed_read_or_sync_fails_once_where_it_was_asked_to)
{
	struct disk *disk = open_seeded(1);
	int node = make_file(disk, "/a", 'x', 10);
	char byte;

	disk_fail_sync(disk, 2);
	CHECK_EQ(disk_sync(disk, node), 0);
	CHECK_EQ(disk_sync(disk, node), -EIO);
	CHECK_EQ(disk_sync(disk, node), 0);
	disk_fail_read(disk, 1);
	CHECK_EQ(disk_read(disk, node, &byte, 1, 0), -EIO);
	CHECK_EQ(disk_read(disk, node, &byte, 1, 0), 1);
	disk_close(&disk);
}

TEST(what_a_failed_sync_lost_is_read_but_no_later_sync_saves_it)
{
	unsigned gone = 0;

	for (unsigned seed = 0; seed < SEEDS; seed++) {
		struct disk *disk = open_seeded(seed);
		int node = make_file(disk, "/a", 'o', PAGE);

		CHECK_EQ(disk_sync(disk, node) | disk_sync(disk, disk_find(disk, "/")), 0);
		CHECK_EQ(disk_write(disk, node, "n", 1, 0), 1);
		disk_fail_sync(disk, 1);
		CHECK_EQ(disk_sync(disk, node), -EIO);
		CHECK_EQ(byte_at(disk, node, 0), 'n');
		CHECK_EQ(disk_sync(disk, node), 0);
		disk_power_cut(disk);
		gone += byte_at(disk, node, 0) == 'o';
		disk_close(&disk);
	}
	CHECK(gone > 0 && gone < SEEDS);
}

TEST(what_a_failed_sync_lost_is_saved_when_it_is_written_again)
{
	for (unsigned seed = 0; seed < SEEDS; seed++) {
		struct disk *disk = open_seeded(seed);
		int node = make_file(disk, "/a", 'o', PAGE);

		CHECK_EQ(disk_sync(disk, disk_find(disk, "/")), 0);
		disk_fail_sync(disk, 1);
		CHECK_EQ(disk_sync(disk, node), -EIO);
		CHECK_EQ(disk_write(disk, node, "n", 1, 0), 1);
		CHECK_EQ(disk_sync(disk, node), 0);
		disk_power_cut(disk);
		CHECK_EQ(byte_at(disk, node, 0), 'n');
		CHECK_EQ(byte_at(disk, node, PAGE - 1), 'o');
		disk_close(&disk);
	}
}

TEST(a_failed_write_has_done_half_of_its_work)
{
	struct disk *disk = open_seeded(1);
	int node = make_file(disk, "/a", 'x', 10);

	disk_fail_write(disk, 1);
	CHECK_EQ(disk_write(disk, node, "yyyy", 4, 0), -EIO);
	CHECK_EQ(byte_at(disk, node, 1), 'y');
	CHECK_EQ(byte_at(disk, node, 2), 'x');
	CHECK_EQ(disk_write(disk, node, "yyyy", 4, 0), 4);
	disk_close(&disk);
}

TEST(a_kept_image_brings_back_every_name_and_byte)
{
	struct disk *disk = open_seeded(1);
	struct disk_image *image;
	uint64_t before;

	CHECK_EQ(disk_sync(disk, make_file(disk, "/a", 'x', 5 * PAGE)), 0);
	before = disk_fingerprint(disk, "/");
	image = disk_save(disk);
	CHECK_EQ(disk_write(disk, disk_find(disk, "/a"), "!", 1, 77), 1);
	CHECK(make_file(disk, "/b", 'y', 100) > 0);
	CHECK(disk_fingerprint(disk, "/") != before);
	disk_restore(disk, image);
	CHECK_EQ(disk_fingerprint(disk, "/"), before);
	CHECK_EQ(disk_find(disk, "/b"), -ENOENT);
	disk_image_free(&image);
	disk_close(&disk);
}
