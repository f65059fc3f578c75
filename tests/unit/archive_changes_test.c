/* What became of messages after they were stored: recorded beside them, listed, read back as they
 * are now, and checked. */
#include <fcntl.h>

#include "tests/unit/archive_help.h"
#include "transport/changes.h"

static struct world world;
static struct archive_message message; /* large: off the stack */
static struct box inbox, sent;
static uint8_t bytes[4000];
static struct change change;

/* ---- making ---- */

/* Messages 1 to 5 of INBOX and 1 of Sent, stored and settled; the sink of the next run is open. */
static bool begin(void)
{
	fill(bytes, sizeof bytes, 5);
	inbox = box_named("INBOX", 1);
	sent = box_named("Sent", 2);
	world_begin(&world, test_directory());
	if (!CHECK_OK(world_open(&world)) || !CHECK_OK(archive_sink.prepare(world.sink, &inbox)) ||
	    !CHECK_OK(archive_sink.prepare(world.sink, &sent)))
		return false;
	for (uint64_t no = 1; no <= 5; no++)
		if (!CHECK_OK(world_put(&world, 1, no, bytes, 100 * no, 0)))
			return false;
	return CHECK_OK(world_put(&world, 2, 1, bytes, 77, 0)) && CHECK_OK(world_finish(&world));
}

static bool begin_again(void)
{
	archive_sink.close(&world.sink);
	world.config.next_seal_no = world.seal_no + 1;
	return CHECK_OK(world_open(&world)) && CHECK_OK(archive_sink.prepare(world.sink, &inbox)) &&
	       CHECK_OK(archive_sink.prepare(world.sink, &sent));
}

static enum err amend(enum change_kind kind, const struct box *box, uint64_t no, uint32_t flags,
		      const char *keywords)
{
	change = (struct change){ .kind = kind, .box = box, .epoch = box->epoch, .no = no };
	change.meta.flags = flags;
	change.meta.keywords_bytes = (uint16_t)strlen(keywords);
	memcpy(change.meta.keywords, keywords, strlen(keywords));
	return archive_sink.amend(world.sink, &change);
}

static enum err renumber(const char *was_box, uint64_t was_epoch, uint64_t was_no,
			 const struct box *box, uint64_t no, uint32_t flags)
{
	change = (struct change){ .kind = CHANGE_RENUMBERED,
				  .box = box,
				  .epoch = box->epoch,
				  .no = no,
				  .was_box = was_box,
				  .was_epoch = was_epoch,
				  .was_no = was_no };
	change.meta.flags = flags;
	change.meta.date = (struct mail_date){ 1394000000 + (int64_t)was_no, 60, true };
	return archive_sink.amend(world.sink, &change);
}

/* ---- reading ---- */

/* All messages, one word each, in the order of the archive: "INBOX/1:3" is folder, number, flags;
 * '-' before it: vanished. */
static const char *read_all(const struct archive_moment *moment)
{
	static char text[2000];
	static struct archive_mailbox mailbox;
	struct archive *archive = NULL;
	struct buffer got = { 0 };
	size_t used = 0;
	enum err e =
		archive_open(&store_dir, &world.account, clock_after(60 * NSEC_SECOND), &archive);

	text[0] = '\0';
	if (!e && moment)
		archive_as_of(archive, moment);
	if (!e)
		e = archive_mailbox_next(archive, &mailbox);
	while (!e && !(e = archive_message_next(archive, &message))) {
		used += (size_t)snprintf(text + used, sizeof text - used, "%s%s%s/%llu:%x",
					 used ? " " : "", message.vanished ? "-" : "", message.box,
					 (unsigned long long)message.no, message.meta.flags);
		buffer_reset(&got);
		CHECK_OK(archive_message_read(archive, &message, collect, &got));
		CHECK_EQ(got.bytes, message.size_bytes);
		CHECK_EQ(message.vanished && !message.changed[0], 0);
	}
	CHECK_ERR(e, ERR_PIPE_ENDED);
	err_note_clear();
	buffer_free(&got);
	archive_close(&archive);
	return text;
}

static void check_sound(uint64_t changes, uint64_t unlisted)
{
	static struct faults faults;
	struct archive_check check;

	CHECK_OK(world_verify(&world, &faults, &check));
	CHECK_TEXT(faults.first_what, "");
	CHECK_EQ(check.changes, changes);
	CHECK_EQ(check.changes_unlisted, unlisted);
	CHECK_EQ(check.messages, 6);
	CHECK_EQ(check.leftovers, 0);
}

static int count_of(const char *what)
{
	char command[400], output[100];

	snprintf(command, sizeof command, "ls %s/%s/%s 2>/dev/null | wc -l", world.path,
		 MAILBOX_KEY_PATTERN, what);
	shell(command, output, sizeof output);
	return atoi(output);
}

#define AS_STORED "INBOX/1:5 INBOX/2:5 INBOX/3:5 INBOX/4:5 INBOX/5:5 Sent/1:5"

/* ---- one run after the other ---- */

TEST_FIBER(a_run_without_changes_writes_neither_changes_nor_a_generation)
{
	REQUIRE(begin());
	REQUIRE(begin_again());
	CHECK_OK(archive_sink.amend_flush(world.sink));
	CHECK_OK(world_finish(&world));
	CHECK_EQ(count_of("changes"), 0);
	CHECK_EQ(count_of("manifest"), 1);
	CHECK_TEXT(read_all(NULL), AS_STORED);
	check_sound(0, 0);
	world_end(&world);
}

TEST_FIBER(flags_keywords_and_vanished_messages_read_back_as_they_are_now)
{
	REQUIRE(begin());
	REQUIRE(begin_again());
	CHECK_OK(amend(CHANGE_REFLAGGED, &inbox, 2, MAIL_DRAFT, "$MDNSent \"odd\\"));
	CHECK_OK(amend(CHANGE_VANISHED, &inbox, 4, 0, ""));
	CHECK_OK(amend(CHANGE_REFLAGGED, &sent, 1, 0, ""));
	CHECK_OK(world_finish(&world));
	CHECK_TEXT(read_all(NULL), "INBOX/1:5 INBOX/2:10 INBOX/3:5 -INBOX/4:5 INBOX/5:5 Sent/1:0");
	CHECK_EQ(count_of("changes"), 1);
	CHECK_EQ(count_of("manifest"), 2);
	check_sound(3, 0);
	world_end(&world);
}

TEST_FIBER(the_last_change_told_about_a_message_holds)
{
	REQUIRE(begin());
	for (uint32_t flags = 1; flags <= 16; flags *= 2) {
		REQUIRE(begin_again());
		CHECK_OK(amend(CHANGE_REFLAGGED, &inbox, 1, flags, ""));
		CHECK_OK(amend(CHANGE_VANISHED, &inbox, 2, 0, ""));
		CHECK_OK(archive_sink.amend_flush(world.sink));
		CHECK_OK(amend(CHANGE_REFLAGGED, &inbox, 2, flags, "")); /* it is back */
		CHECK_OK(amend(CHANGE_REFLAGGED, &inbox, 3, flags, ""));
		CHECK_OK(amend(CHANGE_VANISHED, &inbox, 3, 0, ""));
		CHECK_OK(world_finish(&world));
	}
	CHECK_TEXT(read_all(NULL),
		   "INBOX/1:10 INBOX/2:10 -INBOX/3:10 INBOX/4:5 INBOX/5:5 Sent/1:5");
	CHECK_EQ(count_of("changes"), 10);
	CHECK_EQ(count_of("manifest"), 6);
	check_sound(25, 0);
	world_end(&world);
}

TEST_FIBER(a_renumbered_message_is_one_message_under_its_newest_name)
{
	struct box fresh;

	REQUIRE(begin());
	REQUIRE(begin_again());
	fresh = inbox;
	fresh.epoch++;
	CHECK_OK(renumber("INBOX", inbox.epoch, 1, &fresh, 11, MAIL_SEEN));
	CHECK_OK(
		renumber("INBOX", inbox.epoch, 2, &fresh, 1, MAIL_SEEN)); /* a number used before */
	CHECK_OK(archive_sink.amend_flush(world.sink));
	CHECK_OK(amend(CHANGE_REFLAGGED, &fresh, 11, MAIL_DELETED, ""));
	CHECK_OK(renumber("INBOX", fresh.epoch, 1, &sent, 9, MAIL_DRAFT)); /* and moved on */
	CHECK_OK(amend(CHANGE_VANISHED, &sent, 9, 0, ""));
	CHECK_OK(world_finish(&world));
	CHECK_TEXT(read_all(NULL), "INBOX/11:8 -Sent/9:10 INBOX/3:5 INBOX/4:5 INBOX/5:5 Sent/1:5");
	check_sound(5, 0);
	world_end(&world);
}

/* A folder renamed and renamed back: the way from name to name is a circle, not an endless one. */
TEST_FIBER(a_message_renumbered_in_a_circle_ends_where_it_is)
{
	REQUIRE(begin());
	for (unsigned i = 0; i < 3; i++) {
		REQUIRE(begin_again());
		CHECK_OK(renumber("INBOX", inbox.epoch, 1, &sent, 50, i));
		CHECK_OK(renumber("INBOX", inbox.epoch, 1, &sent, 50, i)); /* told twice */
		CHECK_OK(archive_sink.amend_flush(world.sink));
		CHECK_OK(renumber("Sent", sent.epoch, 50, &inbox, 1, 8 + i));
		CHECK_OK(world_finish(&world));
		CHECK_EQ(strncmp(read_all(NULL),
				 i == 2 ? "INBOX/1:a " : "INBOX/1:", 8 + 2 * (i == 2)),
			 0);
	}
	check_sound(9, 0);
	world_end(&world);
}

/* Its old name is its name again, and what befalls it then is the last change of that name: the
 * way through the other folder is known to be its own, and the flags it got there hold. */
TEST_FIBER(a_message_back_under_its_old_name_has_later_changes)
{
	REQUIRE(begin());
	for (uint64_t no = 1; no <= 2; no++) {
		REQUIRE(begin_again());
		CHECK_OK(renumber("INBOX", inbox.epoch, no, &sent, 50 + no, MAIL_SEEN));
		CHECK_OK(archive_sink.amend_flush(world.sink));
		CHECK_OK(amend(CHANGE_REFLAGGED, &sent, 50 + no, MAIL_DRAFT, ""));
		CHECK_OK(renumber("Sent", sent.epoch, 50 + no, &inbox, no, MAIL_DRAFT));
		CHECK_OK(world_finish(&world));
	}
	check_sound(6, 0);
	REQUIRE(begin_again());
	CHECK_OK(amend(CHANGE_VANISHED, &inbox, 1, 0, ""));
	CHECK_OK(amend(CHANGE_REFLAGGED, &inbox, 2, MAIL_DELETED, ""));
	CHECK_OK(world_finish(&world));
	CHECK_TEXT(read_all(NULL), "-INBOX/1:10 INBOX/2:8 INBOX/3:5 INBOX/4:5 INBOX/5:5 Sent/1:5");
	check_sound(8, 0);
	world_end(&world);
}

/* INBOX was away and came back, and of twins the other one was found to be message 1: what befalls
 * that then is no concern of the one that had the name first. */
TEST_FIBER(twins_that_changed_places_stay_two_messages)
{
	REQUIRE(begin());
	REQUIRE(begin_again());
	for (uint64_t no = 1; no <= 2; no++)
		CHECK_OK(renumber("INBOX", inbox.epoch, no, &sent, 50 + no, MAIL_SEEN));
	CHECK_OK(world_finish(&world));
	REQUIRE(begin_again());
	CHECK_OK(renumber("Sent", sent.epoch, 51, &inbox, 2, 4));
	CHECK_OK(renumber("Sent", sent.epoch, 52, &inbox, 1, 8));
	CHECK_OK(world_finish(&world));
	CHECK_TEXT(read_all(NULL), "INBOX/2:4 INBOX/1:8 INBOX/3:5 INBOX/4:5 INBOX/5:5 Sent/1:5");
	REQUIRE(begin_again());
	CHECK_OK(amend(CHANGE_REFLAGGED, &inbox, 1, 16, ""));
	CHECK_OK(amend(CHANGE_VANISHED, &inbox, 2, 0, ""));
	CHECK_OK(world_finish(&world));
	CHECK_TEXT(read_all(NULL), "-INBOX/2:4 INBOX/1:10 INBOX/3:5 INBOX/4:5 INBOX/5:5 Sent/1:5");
	check_sound(6, 0);
	world_end(&world);
}

/* A run was cut after its changes were visible and before the ledger knew; the next one decides
 * otherwise. */
TEST_FIBER(what_a_cut_run_told_is_overruled_by_the_next)
{
	struct box fresh;

	REQUIRE(begin());
	REQUIRE(begin_again());
	fresh = inbox;
	fresh.epoch++;
	CHECK_OK(renumber("INBOX", inbox.epoch, 1, &fresh, 7, 0));
	CHECK_OK(renumber("INBOX", inbox.epoch, 2, &fresh, 8, 0));
	CHECK_OK(archive_sink.amend_flush(world.sink));
	check_sound(2, 1);
	REQUIRE(begin_again()); /* no manifest was written */
	CHECK_EQ(count_of("manifest"), 1);
	CHECK_OK(renumber("INBOX", inbox.epoch, 1, &fresh, 8, 1)); /* twins: the other one */
	CHECK_OK(amend(CHANGE_VANISHED, &inbox, 2, 0, ""));
	CHECK_OK(world_finish(&world));
	CHECK_TEXT(read_all(NULL), "INBOX/8:1 -INBOX/2:0 INBOX/3:5 INBOX/4:5 INBOX/5:5 Sent/1:5");
	CHECK_EQ(count_of("changes"), 2);
	CHECK_EQ(count_of("manifest"), 2); /* both objects are listed by the second one */
	check_sound(4, 0);
	world_end(&world);
}

TEST_FIBER(an_archive_reads_as_of_each_generation_and_moment)
{
	struct archive_moment moment = { .generation = 1 };

	REQUIRE(begin());
	REQUIRE(begin_again());
	CHECK_OK(amend(CHANGE_VANISHED, &inbox, 1, 0, ""));
	CHECK_OK(world_finish(&world));
	REQUIRE(begin_again());
	CHECK_OK(amend(CHANGE_REFLAGGED, &inbox, 2, 0, ""));
	CHECK_OK(world_put(&world, 2, 2, bytes, 10, 0));
	CHECK_OK(world_finish(&world));
	CHECK_TEXT(read_all(&moment), AS_STORED);
	moment.generation = 2;
	CHECK_TEXT(read_all(&moment), "-" AS_STORED);
	moment.generation = 3;
	CHECK_TEXT(read_all(&moment),
		   "-INBOX/1:5 INBOX/2:0 INBOX/3:5 INBOX/4:5 INBOX/5:5 Sent/1:5 Sent/2:5");
	moment = (struct archive_moment){ .date = { .seconds = clock_wall() / NSEC_SECOND + 1,
						    .known = true } };
	CHECK_TEXT(read_all(&moment), read_all(NULL));
	moment.date.seconds = 1000000; /* before it was begun: the mailbox is passed over */
	CHECK_TEXT(read_all(&moment), "");
	world_end(&world);
}

/* ---- many ---- */

enum { MANY = 66000 };

/* More than one object holds, told out of order. */
TEST_FIBER(tens_of_thousands_of_changes_take_several_objects_and_are_found_again)
{
	struct archive *archive = NULL;
	static struct archive_mailbox mailbox;
	static struct faults faults;
	struct archive_check check;
	uint64_t right = 0;

	fill(bytes, sizeof bytes, 6);
	inbox = box_named("INBOX", 1);
	world_begin(&world, test_directory());
	REQUIRE(CHECK_OK(world_open(&world)));
	CHECK_OK(archive_sink.prepare(world.sink, &inbox));
	CHECK_OK(world_put(&world, 1, 7, bytes, 10, 0));
	CHECK_OK(world_put(&world, 1, MANY, bytes, 10, 0));
	for (uint64_t no = MANY; no > 0; no--)
		if (amend(CHANGE_REFLAGGED, &inbox, no, (uint32_t)no % 32, ""))
			break;
	CHECK_EQ(change.no, 1);
	CHECK_OK(world_finish(&world));
	CHECK_EQ(count_of("changes"), 2);
	REQUIRE(CHECK_OK(archive_at(&world, &archive, &mailbox)));
	while (archive_message_next(archive, &message) == OK)
		right += message.meta.flags == message.no % 32;
	CHECK_EQ(right, 2);
	archive_close(&archive);
	/* All but two name messages that no pack has. */
	CHECK_ERR(world_verify(&world, &faults, &check), ERR_ARCHIVE_DAMAGED);
	CHECK_EQ(faults.count, MANY - 2);
	CHECK(strstr(faults.first_what, "no pack has it") != NULL);
	err_note_clear();
	world_end(&world);
}

/* ---- damage ---- */

static void damage(const char *how)
{
	char command[600], output[200];

	snprintf(command, sizeof command, "cd %s/%s/changes && %s", world.path, MAILBOX_KEY_PATTERN,
		 how);
	CHECK_EQ(shell(command, output, sizeof output), 0);
}

static void check_fault(const char *key, const char *what)
{
	static struct faults faults;
	struct archive_check check;

	CHECK_ERR(world_verify(&world, &faults, &check), ERR_ARCHIVE_DAMAGED);
	if (!strstr(faults.first_key, key) || !strstr(faults.first_what, what))
		test_failed(__FILE__, __LINE__, "%s: %s", faults.first_key, faults.first_what);
	err_note_clear();
}

static bool begin_with_changes(void)
{
	return begin() && begin_again() && CHECK_OK(amend(CHANGE_REFLAGGED, &inbox, 1, 0, "")) &&
	       CHECK_OK(archive_sink.amend_flush(world.sink)) &&
	       CHECK_OK(amend(CHANGE_VANISHED, &inbox, 2, 0, "")) && CHECK_OK(world_finish(&world));
}

TEST_FIBER(damaged_changes_are_told_once_and_the_rest_is_read)
{
	static struct archive_mailbox mailbox;
	struct archive *archive = NULL;
	unsigned messages = 0, gone = 0;

	REQUIRE(begin_with_changes());
	damage("printf x | dd of=000000000001.ndjson.zst bs=1 seek=40 conv=notrunc 2>&1");
	check_fault("changes/000000000001", "");
	REQUIRE(CHECK_OK(archive_at(&world, &archive, &mailbox)));
	CHECK_ERR(archive_message_next(archive, &message), ERR_ARCHIVE_DAMAGED);
	CHECK(strstr(err_note()->text, "changes/000000000001") != NULL);
	err_note_clear();
	while (archive_message_next(archive, &message) == OK) {
		messages++;
		gone += message.vanished;
	}
	CHECK_EQ(messages, 6);
	CHECK_EQ(gone, 1);
	archive_close(&archive);
	world_end(&world);
}

TEST_FIBER(changes_that_are_missing_cut_foreign_or_others_are_faults)
{
	REQUIRE(begin_with_changes());
	damage("mv 000000000001.ndjson.zst ..");
	check_fault("changes/000000000001", "it is missing");
	damage("mv ../000000000001.ndjson.zst . && touch README");
	check_fault("changes/README", "does not belong");
	damage("rm README && cp 000000000002.ndjson.zst 000000000003.ndjson.zst");
	check_sound(3, 1); /* as good as one of a run that was cut */
	damage("rm 000000000003.ndjson.zst && cp 000000000002.ndjson.zst 000000000001.ndjson.zst");
	check_fault("changes/000000000001", "not the object of changes that the manifest lists");
	world_end(&world);
}

/* One bit of each byte in turn: found, and nothing read is wrong in a way that crashes. */
TEST_FIBER(every_damaged_byte_of_changes_is_found)
{
	char path[400], glob_path[400], byte;
	static struct faults faults;
	static struct archive_mailbox mailbox;
	struct archive *archive;
	struct archive_check check;
	struct stat stat_now;
	int fd;

	REQUIRE(begin_with_changes());
	snprintf(glob_path, sizeof glob_path, "ls %s/%s/changes/000000000001.ndjson.zst",
		 world.path, MAILBOX_KEY_PATTERN);
	CHECK_EQ(shell(glob_path, path, sizeof path), 0);
	path[strcspn(path, "\n")] = '\0';
	REQUIRE((fd = open(path, O_RDWR)) >= 0 && fstat(fd, &stat_now) == 0);
	for (off_t at = 0; at < stat_now.st_size; at++) {
		REQUIRE(pread(fd, &byte, 1, at) == 1);
		byte ^= (char)(1 << at % 8);
		REQUIRE(pwrite(fd, &byte, 1, at) == 1);
		CHECK_ERR(world_verify(&world, &faults, &check), ERR_ARCHIVE_DAMAGED);
		err_note_clear();
		if (CHECK_OK(archive_at(&world, &archive, &mailbox))) {
			enum err e = archive_message_next(archive, &message);

			CHECK(e == OK || e == ERR_ARCHIVE_DAMAGED);
			while (archive_message_next(archive, &message) == OK)
				;
		}
		err_note_clear();
		archive_close(&archive);
		byte ^= (char)(1 << at % 8);
		REQUIRE(pwrite(fd, &byte, 1, at) == 1);
	}
	close(fd);
	check_sound(2, 0);
	world_end(&world);
}

/* As lines come from a file that somebody else wrote. */
TEST(lines_that_make_no_sense_are_refused)
{
	static struct change_line line;
	static const char *const refused[] = {
		"",
		"{}",
		"{\"change\":\"moved\",\"box\":\"a\",\"epoch\":1,\"no\":1}",
		"{\"change\":\"vanished\",\"box\":\"a\",\"epoch\":1}",
		"{\"change\":\"vanished\",\"box\":\"a\",\"epoch\":1,\"no\":0}",
		"{\"change\":\"vanished\",\"box\":\"a\",\"box\":\"b\",\"epoch\":1,\"no\":1}",
		"{\"change\":\"vanished\",\"box\":\"a\\u0000\",\"epoch\":1,\"no\":1}",
		"{\"change\":\"renumbered\",\"box\":\"a\",\"epoch\":1,\"no\":1}",
		"{\"change\":\"vanished\",\"box\":\"a\",\"epoch\":1,\"no\":99999999999999999999}",
	};

	for (size_t i = 0; i < ARRAY_COUNT(refused); i++)
		CHECK(!change_line_read(text_of(refused[i]), &line));
	CHECK(change_line_read(text_of("{\"change\":\"vanished\",\"box\":\"a\",\"epoch\":1,"
				       "\"no\":1,\"more\":[{}]}"),
			       &line));
}

TEST_FIBER(an_object_without_its_end_is_damaged)
{
	if (!have_program("zstd"))
		SKIP("zstd is not installed");
	REQUIRE(begin_with_changes());
	damage("zstd -dcq 000000000002.ndjson.zst | head -n 2 > t && "
	       "zstd -q --stream-size=$(wc -c < t) < t > 000000000003.ndjson.zst && rm t");
	check_fault("changes/000000000003", "it is cut short");
	world_end(&world);
}
