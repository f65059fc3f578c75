/* The sink's promises: receipts only for what is durable, every interruption ends well, nothing
 * foreign is touched. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mount.h>

#include "tests/unit/archive_help.h"

enum { MIB = 1024 * 1024 };

static struct world world;
static struct archive_message message; /* large: off the stack */
static uint8_t bytes[3 * MIB];

static bool begin(const char *path)
{
	struct box inbox = box_named("INBOX", 1);

	world_begin(&world, path);
	if (!CHECK_OK(world_open(&world)))
		return false;
	return CHECK_OK(archive_sink.prepare(world.sink, &inbox));
}

/* The next run of the same ledger over the same target. */
static bool begin_again(uint64_t next_seal_no)
{
	struct box inbox = box_named("INBOX", 1);

	archive_sink.close(&world.sink);
	world.config.next_seal_no = next_seal_no;
	if (!CHECK_OK(world_open(&world)))
		return false;
	return CHECK_OK(archive_sink.prepare(world.sink, &inbox));
}

static void check_sound(uint64_t messages)
{
	struct faults faults;
	struct archive_check check;

	CHECK_OK(world_verify(&world, &faults, &check));
	CHECK_TEXT(faults.first_what, "");
	CHECK_EQ(check.messages, messages);
}

static unsigned files_in(const char *folder)
{
	char command[400], output[100];

	snprintf(command, sizeof command, "ls %s/%s/%s 2>/dev/null | wc -l", world.path,
		 MAILBOX_KEY_PATTERN, folder);
	shell(command, output, sizeof output);
	return (unsigned)atoi(output);
}

TEST_FIBER(what_was_put_is_read_back)
{
	struct archive *archive = NULL;
	struct archive_mailbox mailbox;
	struct buffer got = { 0 };
	struct digest digest;

	fill(bytes, sizeof bytes, 1);
	REQUIRE(begin(test_directory()));
	CHECK_OK(world_put(&world, 1, 17, bytes, 50000, 0));
	CHECK_OK(world_put(&world, 1, 18, bytes, 0, 0));
	CHECK_OK(world_put(&world, 1, 19, bytes, sizeof bytes, CHUNK_BYTES));
	CHECK_OK(world_finish(&world));
	CHECK_EQ(world.stored, 3);
	CHECK_EQ(world.settled, 1);
	CHECK_OK(digest_of(world.config.digest, bytes, sizeof bytes, &digest));
	CHECK(memcmp(&digest, &world.last_digest, sizeof digest) == 0);
	REQUIRE(CHECK_OK(archive_at(&world, &archive, &mailbox)));
	CHECK_TEXT(mailbox.name, "alice@mail.example.com");
	CHECK_EQ(mailbox.messages, 3);
	CHECK_EQ(mailbox.boxes, 1);
	CHECK_EQ(mailbox.bytes, 50000 + sizeof bytes);
	for (uint64_t no = 17; no <= 19; no++) {
		buffer_reset(&got);
		CHECK_OK(archive_message_next(archive, &message));
		CHECK_EQ(message.no, no);
		CHECK_TEXT(message.box, "INBOX");
		CHECK_EQ(message.meta.flags, MAIL_SEEN | MAIL_FLAGGED);
		CHECK_EQ(message.meta.keywords_bytes, 11);
		CHECK(message.meta.date.known && message.meta.date.zone_minutes == 60);
		CHECK_EQ(message.meta.date.seconds, 1394000000 + (int64_t)no);
		CHECK_OK(archive_message_read(archive, &message, collect, &got));
		CHECK_EQ(got.bytes, message.size_bytes);
		CHECK(got.bytes == 0 || memcmp(got.at, bytes, got.bytes) == 0);
	}
	CHECK_ERR(archive_message_next(archive, &message), ERR_PIPE_ENDED);
	buffer_free(&got);
	archive_close(&archive);
	check_sound(3);
	world_end(&world);
}

/* ---- two fibers, as in a lane ---- */

static enum err receive_all(void *argument)
{
	(void)argument;
	return world_receipts(&world, true);
}

TEST_FIBER(packs_fill_while_others_are_receipted)
{
	struct group *group;
	struct faults faults;
	struct archive_check check;

	fill(bytes, sizeof bytes, 2);
	world_begin(&world, test_directory());
	world.config.pack_bytes = 200000;
	REQUIRE(CHECK_OK(world_open(&world)));
	struct box inbox = box_named("INBOX", 1);
	CHECK_OK(archive_sink.prepare(world.sink, &inbox));
	group = group_open();
	CHECK_OK(group_spawn(group, "receipts", FIBER_STACK_SMALL, receive_all, NULL));
	for (uint64_t no = 1; no <= 300; no++)
		CHECK_OK(world_put(&world, 1, no, bytes + no, 1 + no * 131 % 40000,
				   no % 3 ? 0 : 5000));
	CHECK_OK(archive_sink.flush(world.sink));
	archive_sink.drain(world.sink);
	CHECK_OK(group_join(&group));
	CHECK_OK(archive_sink.finish(world.sink, clock_after(60 * NSEC_SECOND)));
	archive_sink.close(&world.sink);
	CHECK_EQ(world.stored, 300);
	CHECK(world.settled > 10);
	CHECK_OK(world_verify(&world, &faults, &check));
	CHECK_EQ(check.messages, 300);
	CHECK_EQ(check.packs, world.settled);
	CHECK_EQ(check.packs_unlisted, 0);
	world_end(&world);
}

/* ---- interruptions: docs/FORMAT.md section 6 ---- */

static bool put_two(void)
{
	fill(bytes, sizeof bytes, 3);
	return CHECK_OK(world_put(&world, 1, 1, bytes, 1000, 0)) &&
	       CHECK_OK(world_put(&world, 1, 2, bytes, 2000, 0));
}

/* Ask about the seal, as a lane does at start. */
static enum err find(enum seal_fate *fate)
{
	return archive_sink.find(world.sink, world.seal_no,
				 (struct text){ world.seal.at, world.seal.bytes }, fate);
}

TEST_FIBER(a_cut_before_the_seal_leaves_nothing)
{
	REQUIRE(begin(test_directory()));
	REQUIRE(put_two());
	CHECK_OK(archive_sink.flush(world.sink));
	REQUIRE(begin_again(1));
	CHECK_EQ(files_in("packs"), 0);
	REQUIRE(put_two());
	CHECK_OK(world_finish(&world));
	CHECK_EQ(world.stored, 2);
	check_sound(2);
	world_end(&world);
}

TEST_FIBER(a_cut_after_the_seal_means_absent_and_a_new_number)
{
	enum seal_fate fate = SEAL_PRESENT;

	REQUIRE(begin(test_directory()));
	REQUIRE(put_two());
	CHECK_OK(archive_sink.flush(world.sink));
	CHECK_OK(world_receipts(&world, false));
	CHECK_EQ(world.seal_no, 1);
	REQUIRE(begin_again(2));
	CHECK_OK(find(&fate));
	CHECK_EQ(fate, SEAL_ABSENT);
	REQUIRE(put_two());
	CHECK_OK(world_finish(&world));
	CHECK_EQ(world.stored, 2);
	CHECK_EQ(world.seal_no, 2);
	check_sound(2);
	world_end(&world);
}

static bool publish_and_cut(void)
{
	return begin(test_directory()) && put_two() && CHECK_OK(archive_sink.flush(world.sink)) &&
	       CHECK_OK(world_receipts(&world, false)) &&
	       CHECK_OK(archive_sink.publish(world.sink, world.seal_no));
}

static void check_found_again(void)
{
	enum seal_fate fate = SEAL_ABSENT;

	REQUIRE(begin_again(2));
	CHECK_OK(find(&fate));
	CHECK_EQ(fate, SEAL_PRESENT);
	CHECK_OK(world_finish(&world));
	CHECK_EQ(world.stored, 2);
	CHECK_EQ(world.settled, 1);
	CHECK_EQ(files_in("index"), 1);
	CHECK_EQ(files_in("packs"), 1);
	check_sound(2);
}

TEST_FIBER(a_cut_after_publishing_means_present_and_receipts_follow)
{
	REQUIRE(publish_and_cut());
	check_found_again();
	world_end(&world);
}

TEST_FIBER(a_cut_between_pack_and_index_is_completed)
{
	char command[400], output[200];
	struct faults faults;
	struct archive_check check;

	REQUIRE(publish_and_cut());
	snprintf(command, sizeof command, "rm %s/%s/index/*", world.path, MAILBOX_KEY_PATTERN);
	CHECK_EQ(shell(command, output, sizeof output), 0);
	CHECK_OK(world_verify(&world, &faults, &check)); /* not a fault: the next run writes it */
	CHECK_EQ(check.packs_unlisted, 1);
	check_found_again();
	world_end(&world);
}

TEST_FIBER(another_pack_under_the_sealed_key_stops_everything)
{
	enum seal_fate fate;
	char command[400], output[200];

	REQUIRE(publish_and_cut());
	snprintf(command, sizeof command,
		 "printf x | dd of=$(ls %s/%s/packs/*) bs=1 seek=30 conv=notrunc 2>&1", world.path,
		 MAILBOX_KEY_PATTERN);
	CHECK_EQ(shell(command, output, sizeof output), 0);
	REQUIRE(begin_again(2));
	CHECK_ERR(find(&fate), ERR_SINK_DAMAGED);
	CHECK(strstr(err_note()->text, "/packs/000000000001.tar.zst") != NULL);
	world_end(&world);
}

/* Somebody put a file where the pack is to become visible. */
TEST_FIBER(a_key_that_is_taken_is_never_overwritten)
{
	char command[400], output[200];

	REQUIRE(begin(test_directory()));
	REQUIRE(put_two());
	CHECK_OK(archive_sink.flush(world.sink));
	CHECK_OK(world_receipts(&world, false));
	snprintf(command, sizeof command, "cd %s/%s/packs && printf mine > 000000000001.tar.zst",
		 world.path, MAILBOX_KEY_PATTERN);
	CHECK_EQ(shell(command, output, sizeof output), 0);
	CHECK_ERR(archive_sink.publish(world.sink, 1), ERR_SINK_DAMAGED);
	err_note_clear();
	CHECK_ERR(world_put(&world, 1, 3, bytes, 10, 0), ERR_SINK_DAMAGED);
	CHECK(strstr(err_note()->text, "000000000001.tar.zst") !=
	      NULL); /* the same words in every fiber */
	snprintf(command, sizeof command, "cat %s/%s/packs/000000000001.tar.zst", world.path,
		 MAILBOX_KEY_PATTERN);
	CHECK_EQ(shell(command, output, sizeof output), 0);
	CHECK_TEXT(output, "mine");
	world_end(&world);
}

TEST_FIBER(a_seal_that_is_none_of_ours_is_refused)
{
	enum seal_fate fate;

	REQUIRE(publish_and_cut());
	REQUIRE(begin_again(2));
	for (size_t n = 0; n < world.seal.bytes; n += 7) {
		CHECK_ERR(
			archive_sink.find(world.sink, 1, (struct text){ world.seal.at, n }, &fate),
			ERR_LEDGER_DAMAGED);
		err_note_clear();
	}
	world.seal.at[60] = '.'; /* the key's first byte */
	CHECK_ERR(find(&fate), ERR_LEDGER_DAMAGED);
	world_end(&world);
}

/* ---- a source that fails ---- */

TEST_FIBER(a_message_that_fails_harms_no_other)
{
	struct body_stream body;
	struct item item;

	REQUIRE(begin(test_directory()));
	REQUIRE(put_two());
	body = body_of(world.reserve, bytes, sizeof bytes, CHUNK_BYTES);
	body.fail = ERR_NET_CLOSED;
	body.fail_at = 2 * MIB;
	item = item_of(1, 3, &body);
	CHECK_ERR(archive_sink.put(world.sink, &item), ERR_NET_CLOSED);
	err_note_clear();
	CHECK_OK(world_put(&world, 1, 4, bytes, 500, 0));
	CHECK_OK(world_finish(&world));
	CHECK_EQ(world.stored, 3);
	check_sound(3);
	world_end(&world);
}

/* ---- the manifest ---- */

TEST_FIBER(generations_chain_and_folders_are_kept)
{
	static struct box other, gone;
	struct archive *archive = NULL;
	static struct archive_mailbox mailbox;
	static struct box box;

	other = box_named("Other", 2);
	gone = box_named("Gone/\"x\\", 3);
	REQUIRE(begin(test_directory()));
	CHECK_OK(archive_sink.prepare(world.sink, &gone));
	REQUIRE(put_two());
	CHECK_OK(world_finish(&world));
	CHECK_EQ(files_in("manifest"), 1);
	REQUIRE(begin_again(2)); /* Gone is not met again, but nothing is lost by that */
	CHECK_OK(world_finish(&world));
	CHECK_EQ(files_in("manifest"), 1);
	REQUIRE(begin_again(2));
	CHECK_OK(archive_sink.prepare(world.sink, &other));
	CHECK_OK(world_put(&world, 2, 1, bytes, 5, 0));
	CHECK_OK(world_finish(&world));
	CHECK_EQ(files_in("manifest"), 2);
	check_sound(3);
	REQUIRE(CHECK_OK(archive_at(&world, &archive, &mailbox)));
	CHECK_EQ(mailbox.boxes, 3);
	CHECK_EQ(mailbox.packs, 2);
	CHECK_OK(archive_box_next(archive, &box));
	CHECK_TEXT(box.name, "INBOX");
	CHECK_OK(archive_box_next(archive, &box));
	CHECK_TEXT(box.name, "Other");
	CHECK_OK(archive_box_next(archive, &box));
	CHECK_TEXT(box.name, "Gone/\"x\\");
	CHECK_EQ(box.epoch, 1700000000);
	CHECK(box.subscribed && box.selectable && box.separator == '/');
	CHECK_ERR(archive_box_next(archive, &box), ERR_PIPE_ENDED);
	CHECK_ERR(archive_box_next(archive, &box), ERR_PIPE_ENDED);
	CHECK_ERR(archive_mailbox_next(archive, &mailbox), ERR_PIPE_ENDED);
	archive_close(&archive);
	world_end(&world);
}

/* A run that was cut wrote no manifest; the next one lists its packs too. */
TEST_FIBER(packs_of_a_cut_run_are_listed_by_the_next)
{
	struct faults faults;
	struct archive_check check;
	enum seal_fate fate;

	REQUIRE(publish_and_cut());
	CHECK_OK(world_verify(&world, &faults, &check));
	CHECK_EQ(check.packs_unlisted, 1);
	REQUIRE(begin_again(2));
	CHECK_OK(find(&fate));
	CHECK_OK(world_put(&world, 1, 3, bytes, 30, 0));
	CHECK_OK(world_finish(&world));
	CHECK_EQ(files_in("manifest"), 1);
	CHECK_OK(world_verify(&world, &faults, &check));
	CHECK_EQ(check.packs_unlisted, 0);
	CHECK_EQ(check.packs, 2);
	CHECK_EQ(check.messages, 3);
	world_end(&world);
}

/* The lane ends a failed run in order too: what became visible is listed, what did not is left. */
TEST_FIBER(the_end_of_a_failed_run_lists_what_is_visible)
{
	struct faults faults;
	struct archive_check check;

	REQUIRE(publish_and_cut());
	CHECK_OK(world_put(&world, 1, 3, bytes, 30, 0)); /* stays in an open pack */
	CHECK_OK(archive_sink.finish(world.sink, clock_after(60 * NSEC_SECOND)));
	archive_sink.close(&world.sink);
	CHECK_OK(world_verify(&world, &faults, &check));
	CHECK_EQ(check.messages, 2);
	CHECK_EQ(check.packs_unlisted, 0);
	check_found_again();
	world_end(&world);
}

/* ---- whose target it is ---- */

static unsigned entries(const char *path)
{
	DIR *directory = opendir(path);
	unsigned count = 0;

	while (directory && readdir(directory))
		count++;
	if (directory)
		closedir(directory);
	return count - 2;
}

TEST_FIBER(a_foreign_directory_is_named_and_not_touched)
{
	char path[300];

	snprintf(path, sizeof path, "%s/letters \x1b[31m", test_directory());
	close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	world_begin(&world, test_directory());
	CHECK_ERR(world_open(&world), ERR_SINK_FOREIGN);
	CHECK(strstr(err_note()->text, "letters \\x1B[31m") ||
	      strstr(err_note()->text, "letters \\x1b[31m"));
	CHECK(world.sink == NULL);
	CHECK_EQ(entries(test_directory()), 1);
	world_end(&world);
}

TEST_FIBER(a_file_as_target_is_foreign)
{
	char path[300];

	snprintf(path, sizeof path, "%s/file", test_directory());
	close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	world_begin(&world, path);
	CHECK_ERR(world_open(&world), ERR_SINK_FOREIGN);
	world_end(&world);
}

TEST_FIBER(an_empty_directory_and_a_fresh_file_system_are_taken)
{
	char path[300];

	snprintf(path, sizeof path, "%s/lost+found", test_directory());
	REQUIRE(mkdir(path, 0700) == 0);
	REQUIRE(begin(test_directory()));
	CHECK_OK(world_finish(&world));
	check_sound(0);
	world_end(&world);
}

TEST_FIBER(another_ledgers_archive_is_refused_and_its_id_told)
{
	REQUIRE(begin(test_directory()));
	CHECK_OK(world_finish(&world));
	world.ledger_id[0] = 0x11;
	CHECK_ERR(world_open(&world), ERR_SINK_LEDGER_LOST);
	CHECK(strstr(err_note()->text, "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a") != NULL);
	world_end(&world);
}

TEST_FIBER(an_old_copy_of_the_ledger_is_refused)
{
	REQUIRE(begin(test_directory()));
	REQUIRE(put_two());
	CHECK_OK(world_finish(&world));
	world.config.next_seal_no = 1; /* as if seal 1 had never been given out */
	CHECK_ERR(world_open(&world), ERR_SINK_LEDGER_LOST);
	CHECK(strstr(err_note()->text, "000000000001.tar.zst") != NULL);
	world_end(&world);
}

TEST_FIBER(another_digest_than_begun_with_is_refused)
{
	REQUIRE(begin(test_directory()));
	CHECK_OK(world_finish(&world));
	world.config.digest = digest_type(text_of("sha-256"));
	CHECK_ERR(world_open(&world), ERR_SINK_DIGEST);
	CHECK(strstr(err_note()->text, "blake3") != NULL);
	world_end(&world);
}

/* The sink's own lock goes when the kernel has closed its file, a moment after close(). */
static bool lock_of_another_process(int fd)
{
	int failed = -1;

	for (int i = 0; i < 1000 && failed; i++)
		if ((failed = flock(fd, LOCK_EX | LOCK_NB)) &&
		    fiber_sleep(clock_after(NSEC_MILLISECOND)))
			break;
	return !failed;
}

TEST_FIBER(a_second_process_is_refused)
{
	char lock[300];
	int fd;

	REQUIRE(begin(test_directory()));
	CHECK_OK(world_finish(&world));
	snprintf(lock, sizeof lock, "%s/.lock", test_directory());
	REQUIRE((fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600)) >= 0);
	CHECK(lock_of_another_process(fd));
	CHECK_ERR(world_open(&world), ERR_SINK_BUSY);
	close(fd);
	world_end(&world);
}

/* Two mailboxes of one run write side by side below one root. */
TEST_FIBER(mailboxes_share_a_root)
{
	static struct world other;
	struct box inbox = box_named("INBOX", 1);
	struct archive *archive = NULL;
	struct archive_mailbox mailbox;
	struct faults faults;
	struct archive_check check;

	REQUIRE(begin(test_directory()));
	world_begin(&other, test_directory());
	other.config.mailbox_name = "alice/mail.example.com"; /* the same once made readable */
	REQUIRE(CHECK_OK(world_open(&other)));
	CHECK_OK(archive_sink.prepare(other.sink, &inbox));
	REQUIRE(put_two());
	CHECK_OK(world_put(&other, 1, 1, bytes, 77, 0));
	CHECK_OK(world_finish(&world));
	CHECK_OK(world_finish(&other));
	CHECK_OK(world_verify(&world, &faults, &check));
	CHECK_EQ(check.messages, 3);
	CHECK_EQ(check.packs, 2);
	REQUIRE(CHECK_OK(archive_at(&world, &archive, &mailbox)));
	CHECK_OK(archive_mailbox_next(archive, &mailbox));
	CHECK_ERR(archive_mailbox_next(archive, &mailbox), ERR_PIPE_ENDED);
	archive_close(&archive);
	world_end(&other);
	world_end(&world);
}

TEST_FIBER(a_dry_run_changes_nothing)
{
	char path[300];
	struct box inbox = box_named("INBOX", 1);

	world_begin(&world, test_directory());
	world.config.dry_run = true;
	CHECK_OK(world_open(&world));
	CHECK_OK(archive_sink.prepare(world.sink, &inbox));
	CHECK_OK(world_finish(&world));
	CHECK_EQ(entries(test_directory()), 0);
	snprintf(world.path, sizeof world.path, "%s/absent", test_directory());
	CHECK_OK(world_open(&world));
	CHECK_OK(world_finish(&world));
	CHECK_EQ(entries(test_directory()), 0);
	snprintf(world.path, sizeof world.path, "%s", test_directory());
	snprintf(path, sizeof path, "%s/foreign", test_directory());
	close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	CHECK_ERR(world_open(&world), ERR_SINK_FOREIGN);
	world_end(&world);
}

/* ---- a full disk ---- */

TEST_FIBER(a_full_disk_ends_the_run_and_loses_nothing)
{
	char path[300];
	enum err e = OK;

	fill(bytes, sizeof bytes, 6);
	snprintf(path, sizeof path, "%s/mount", test_directory());
	if (mkdir(path, 0700) != 0 || mount("none", path, "tmpfs", 0, "size=6m") != 0)
		SKIP("cannot mount a small tmpfs here (needs root)");
	if (begin(path)) {
		CHECK_OK(world_put(&world, 1, 1, bytes, 1000, 0));
		CHECK_OK(archive_sink.flush(world.sink));
		CHECK_OK(world_receipts(&world, false));
		CHECK_OK(archive_sink.publish(world.sink, 1));
		for (uint64_t no = 2; no < 12 && !e; no++)
			e = world_put(&world, 1, no, bytes, sizeof bytes, CHUNK_BYTES);
		CHECK_ERR(e, ERR_DISK_FULL);
		CHECK(strstr(err_note()->text, path) != NULL);
		err_note_clear();
		CHECK_ERR(world_put(&world, 1, 20, bytes, 10, 0), ERR_DISK_FULL);
		err_note_clear();
		archive_sink.drain(world.sink);
		CHECK_ERR(world_receipts(&world, true), ERR_DISK_FULL);
		err_note_clear();
		archive_sink.close(&world.sink);
		check_sound(1);
	}
	world_end(&world);
	CHECK_EQ(umount2(path, MNT_DETACH), 0);
}
