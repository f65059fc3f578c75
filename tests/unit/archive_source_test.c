/* An archive read as a source: every fact of folders and messages comes back as it is now, ranges
 * and keys behave as a lane expects, and what is damaged costs itself. */
#include <fcntl.h>
#include <stdarg.h>

#include "tests/unit/archive_help.h"
#include "transport/archive_mark.h"
#include "transport/archive_source.h"

#define EPOCH	    1700000000u
#define LARGE_BYTES ((size_t)20 * 1024 * 1024 + 12345)

static struct world world;
static struct box inbox, sent;
static uint8_t bytes[4000];
static struct change change;
static struct source *source;
static struct box_page page;
static struct item item; /* large: off the stack */
static char text[4000];
static size_t used;

static nsec soon(void)
{
	return clock_after(60 * NSEC_SECOND);
}

/* ---- making ---- */

static bool open_sink(void)
{
	archive_sink.close(&world.sink);
	world.config.next_seal_no = world.seal_no + 1;
	return CHECK_OK(world_open(&world)) && CHECK_OK(archive_sink.prepare(world.sink, &inbox)) &&
	       CHECK_OK(archive_sink.prepare(world.sink, &sent));
}

/* Messages 1 to 5 of INBOX, 500 bytes to 2500, and 7 of Sent. */
static bool begin_with(int zstd_level)
{
	fill(bytes, sizeof bytes, 5);
	inbox = box_named("INBOX", 1);
	inbox.use = BOX_USE_INBOX;
	sent = box_named("Gesendet/\xc3\x84rger", 2);
	snprintf(sent.raw, sizeof sent.raw, "Gesendet/&AMQ-rger");
	sent.use = BOX_USE_SENT;
	sent.subscribed = false;
	sent.epoch = 1234567;
	world_begin(&world, test_directory());
	world.config.zstd_level = zstd_level;
	if (!open_sink())
		return false;
	for (uint64_t no = 1; no <= 5; no++)
		if (!CHECK_OK(world_put(&world, 1, no, bytes + no, 500 * no, 0)))
			return false;
	return CHECK_OK(world_put(&world, 2, 7, bytes, 777, 0)) && CHECK_OK(world_finish(&world));
}

static bool begin(void)
{
	return begin_with(1);
}

static enum err amend(enum change_kind kind, const struct box *box, uint64_t no, uint32_t flags)
{
	change = (struct change){ .kind = kind, .box = box, .epoch = box->epoch, .no = no };
	change.meta.flags = flags;
	change.meta.keywords_bytes = 4;
	memcpy(change.meta.keywords, "work", 4);
	return archive_sink.amend(world.sink, &change);
}

static enum err renumber(const struct box *was, uint64_t was_no, const struct box *box, uint64_t no)
{
	change = (struct change){ .kind = CHANGE_RENUMBERED,
				  .box = box,
				  .epoch = box->epoch,
				  .no = no,
				  .was_box = was->name,
				  .was_epoch = was->epoch,
				  .was_no = was_no };
	change.meta.flags = MAIL_ANSWERED;
	change.meta.date = (struct mail_date){ 1394000000 + (int64_t)was_no, 60, true };
	return archive_sink.amend(world.sink, &change);
}

static int run_shell(const char *format, ...) PRINTF_LIKE(1, 2);
static int run_shell(const char *format, ...)
{
	char command[1000], output[1000];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(command, sizeof command, format, arguments);
	va_end(arguments);
	return shell(command, output, sizeof output);
}

static char *mailbox_path(char to[400], const char *below)
{
	char key[ARCHIVE_MAILBOX_KEY_BYTES_MAX + 1];

	must(archive_mailbox_key(key, world.config.mailbox_name) == OK);
	snprintf(to, 400, "%s/%s/%s", world.path, key, below);
	return to;
}

/* Turn over one bit of a file. */
static void flip(const char *below, off_t at)
{
	char path[400];
	uint8_t byte = 0;
	int fd = open(mailbox_path(path, below), O_RDWR | O_CLOEXEC);

	must(fd >= 0 && pread(fd, &byte, 1, at) == 1);
	byte ^= 4;
	must(pwrite(fd, &byte, 1, at) == 1 && close(fd) == 0);
}

static void lose(const char *below)
{
	char path[400];

	must(unlink(mailbox_path(path, below)) == 0);
}

/* ---- reading ---- */

static enum err open_at(const char *path)
{
	struct account account = world.account;

	archive_source.close(&source);
	account.path = path;
	return archive_source.open(&source, &account, world.reserve, soon());
}

static enum err open_source(void)
{
	return open_at(world.path);
}

static void end(void)
{
	archive_source.close(&source);
	world_end(&world);
}

/* The folder of this name, from a listing; one of the last four. */
static struct box *box_listed(const char *name)
{
	static struct box found[4];
	static unsigned last;
	struct box *at = &found[last++ % ARRAY_COUNT(found)];

	memset(at, 0, sizeof *at);
	do {
		page.count = 0;
		CHECK_OK(archive_source.list(source, &page, soon()));
		for (unsigned i = 0; i < page.count; i++)
			if (strcmp(page.boxes[i].name, name) == 0)
				*at = page.boxes[i];
	} while (!page.last);
	err_note_clear();
	return at;
}

/* Names of folders, in order; one that cannot be had with its error behind it. */
static const char *listed(void)
{
	static char names[2000];
	size_t n = 0;

	names[0] = '\0';
	do {
		CHECK_OK(archive_source.list(source, &page, soon()));
		for (unsigned i = 0; i < page.count; i++)
			n += (size_t)snprintf(names + n, sizeof names - n, "%s%s%s%s", n ? " " : "",
					      page.boxes[i].name, page.boxes[i].fate ? "!" : "",
					      page.boxes[i].fate ? err_name(page.boxes[i].fate)
								 : "");
	} while (!page.last);
	err_note_clear();
	return names;
}

static enum err drain(struct stream *body, struct buffer *to)
{
	struct iolist list = { 0 };
	enum err e;

	while (!(e = stream_pull(body, &list))) {
		for (unsigned i = 0; i < list.count; i++)
			buffer_add(to, slice_bytes(&list.slices[i]), list.slices[i].length);
		iolist_release(&list);
	}
	return e == ERR_STREAM_ENDED ? OK : e;
}

static void note_item(const struct buffer *body)
{
	if (item.kind == ITEM_RANGE_DONE)
		used += (size_t)snprintf(text + used, sizeof text - used, "%s.%s", used ? " " : "",
					 item.fate ? err_name(item.fate) : "");
	else if (item.fate)
		used += (size_t)snprintf(text + used, sizeof text - used, "%s%llu!%s",
					 used ? " " : "", (unsigned long long)item.no,
					 err_name(item.fate));
	else
		used += (size_t)snprintf(text + used, sizeof text - used, "%s%llu:%x:%zu",
					 used ? " " : "", (unsigned long long)item.no,
					 item.meta.flags, body->bytes);
}

/* Everything asked for, one word each: number, flags, bytes; '!' and why it does not come; '.' for
 * the end of a range. */
static const char *answers(void)
{
	struct buffer body = { 0 };
	enum err e;

	used = 0;
	text[0] = '\0';
	while (!(e = archive_source.next(source, &item))) {
		buffer_reset(&body);
		if (item.kind == ITEM_MESSAGE && !item.fate) {
			CHECK_OK(drain(item.body, &body));
			CHECK_EQ(body.bytes, item.size_bytes);
			stream_close(&item.body);
		}
		note_item(&body);
		err_note_clear();
	}
	CHECK_ERR(e, ERR_PIPE_ENDED);
	err_note_clear();
	buffer_free(&body);
	return text;
}

static const char *messages_of(const char *name)
{
	struct box *box = box_listed(name);

	box->box_no = 3;
	if (!box->next_no)
		return "no such folder";
	CHECK_OK(archive_source.ask(source, box, 1, box->next_no));
	return answers();
}

static const char *findings(const struct box *box, uint64_t first, uint64_t last, bool flags)
{
	struct finding finding;
	enum err e = archive_source.scan(source, box, first, last, flags);

	used = 0;
	text[0] = '\0';
	while (!e && !(e = archive_source.found(source, &finding))) {
		char kind = "FTGR"[finding.kind];

		used += (size_t)snprintf(text + used, sizeof text - used, "%s%c%llu",
					 used ? " " : "", kind, (unsigned long long)finding.no);
		if (finding.kind == FINDING_FLAGS)
			used += (size_t)snprintf(text + used, sizeof text - used, ":%x",
						 finding.meta->flags);
		if (finding.kind == FINDING_REST_GONE)
			used += (size_t)snprintf(text + used, sizeof text - used, "-%llu",
						 (unsigned long long)finding.last);
	}
	CHECK_ERR(e, ERR_PIPE_ENDED);
	err_note_clear();
	return text;
}

/* ---- what is whole ---- */

TEST_FIBER(every_fact_of_a_folder_comes_back)
{
	struct box *box;

	REQUIRE(begin());
	REQUIRE(CHECK_OK(open_source()));
	CHECK_TEXT(listed(), "INBOX Gesendet/\xc3\x84rger");
	box = box_listed(sent.name);
	CHECK_TEXT(box->raw, sent.raw);
	CHECK_EQ(box->separator, '/');
	CHECK_EQ(box->use, BOX_USE_SENT);
	CHECK_EQ(box->subscribed, false);
	CHECK_EQ(box->selectable, true);
	CHECK_EQ(box->epoch, 1234567);
	CHECK_EQ(box->next_no, 8);
	CHECK_EQ(box->messages, 1);
	CHECK_EQ(box->bytes, 777);
	CHECK_EQ(box->cursor.exact, true);
	CHECK_TEXT(box->prefix, "");
	box = box_listed("INBOX");
	CHECK_EQ(box->use, BOX_USE_INBOX);
	CHECK_EQ(box->subscribed, true);
	CHECK_EQ(box->epoch, EPOCH);
	CHECK_EQ(box->next_no, 6);
	CHECK_EQ(box->messages, 5);
	CHECK_EQ(box->bytes, 7500);
	end();
}

/* Those that a source makes of hashes. */
TEST_FIBER(numbers_of_62_bits_come_back)
{
	uint64_t highest = (UINT64_C(1) << 62) - 1;

	REQUIRE(begin());
	REQUIRE(open_sink());
	REQUIRE(CHECK_OK(world_put(&world, 2, highest, bytes, 99, 0)));
	REQUIRE(CHECK_OK(world_finish(&world)));
	REQUIRE(CHECK_OK(open_source()));
	CHECK_EQ(box_listed(sent.name)->next_no, highest + 1);
	CHECK_TEXT(messages_of(sent.name), "7:5:777 4611686018427387903:5:99 .");
	end();
}

TEST_FIBER(the_prefix_of_a_servers_folders_comes_back)
{
	REQUIRE(begin());
	snprintf(sent.prefix, sizeof sent.prefix, "INBOX.");
	REQUIRE(open_sink());
	REQUIRE(CHECK_OK(world_finish(&world)));
	REQUIRE(CHECK_OK(open_source()));
	CHECK_TEXT(box_listed(sent.name)->prefix, "INBOX.");
	end();
}

static void check_every_fact(void)
{
	struct buffer body = { 0 };
	struct box *box = box_listed("INBOX");

	box->box_no = 42;
	CHECK_OK(archive_source.ask(source, box, 1, 5));
	for (uint64_t no = 1; no <= 5; no++) {
		buffer_reset(&body);
		REQUIRE(CHECK_OK(archive_source.next(source, &item)));
		CHECK_EQ(item.kind, ITEM_MESSAGE);
		CHECK_EQ(item.fate, OK);
		CHECK_EQ(item.box_no, 42);
		CHECK_EQ(item.no, no);
		CHECK_EQ(item.range_first, 1);
		CHECK_EQ(item.range_last, 5);
		CHECK_EQ(item.size_bytes, 500 * no);
		CHECK_EQ(item.meta.flags, MAIL_SEEN | MAIL_FLAGGED);
		CHECK_EQ(item.meta.date.known, true);
		CHECK_EQ(item.meta.date.seconds, 1394000000 + (int64_t)no);
		CHECK_EQ(item.meta.date.zone_minutes, 60);
		CHECK_EQ(item.meta.keywords_bytes, 11);
		CHECK_EQ(memcmp(item.meta.keywords, "$Label1 abc", 11), 0);
		CHECK_OK(drain(item.body, &body));
		CHECK_EQ(body.bytes, 500 * no);
		CHECK_EQ(memcmp(body.at, bytes + no, body.bytes), 0);
		stream_close(&item.body);
	}
	CHECK_OK(archive_source.next(source, &item));
	CHECK_EQ(item.kind, ITEM_RANGE_DONE);
	CHECK_EQ(item.fate, OK);
	CHECK_ERR(archive_source.next(source, &item), ERR_PIPE_ENDED);
	err_note_clear();
	buffer_free(&body);
}

TEST_FIBER(every_fact_of_a_message_comes_back)
{
	REQUIRE(begin());
	REQUIRE(CHECK_OK(open_source()));
	check_every_fact();
	CHECK_OK(archive_source.finish(source, soon()));
	end();
}

TEST_FIBER(an_archive_without_compression_is_read_too)
{
	REQUIRE(begin_with(0));
	REQUIRE(CHECK_OK(open_source()));
	check_every_fact();
	end();
}

TEST_FIBER(a_message_of_20_megabytes_streams_through_few_chunks)
{
	uint8_t *large = malloc(LARGE_BYTES);
	struct buffer body = { 0 };
	struct box *box;

	REQUIRE(begin());
	must(large);
	fill(large, LARGE_BYTES, 9);
	REQUIRE(open_sink());
	CHECK_OK(world_put(&world, 1, 6, large, LARGE_BYTES, CHUNK_BYTES));
	CHECK_OK(world_put(&world, 1, 7, "", 0, 0));
	REQUIRE(CHECK_OK(world_finish(&world)));
	REQUIRE(CHECK_OK(open_source()));
	box = box_listed("INBOX");
	CHECK_OK(archive_source.ask(source, box, 6, 7));
	REQUIRE(CHECK_OK(archive_source.next(source, &item)));
	CHECK_EQ(item.size_bytes, LARGE_BYTES);
	CHECK(arena_counts(arena_current()).in_use <= 2);
	CHECK_OK(drain(item.body, &body));
	CHECK_EQ(body.bytes, LARGE_BYTES);
	CHECK_EQ(memcmp(body.at, large, LARGE_BYTES), 0);
	stream_close(&item.body);
	CHECK_TEXT(answers(), "7:5:0 .");
	buffer_free(&body);
	free(large);
	end();
}

/* ---- what became of messages ---- */

TEST_FIBER(messages_come_with_their_latest_flags_and_without_what_vanished)
{
	REQUIRE(begin());
	REQUIRE(open_sink());
	CHECK_OK(amend(CHANGE_REFLAGGED, &inbox, 2, MAIL_DRAFT));
	CHECK_OK(amend(CHANGE_VANISHED, &inbox, 5, 0));
	CHECK_OK(amend(CHANGE_VANISHED, &inbox, 1, 0));
	REQUIRE(CHECK_OK(world_finish(&world)));
	REQUIRE(CHECK_OK(open_source()));
	CHECK_TEXT(messages_of("INBOX"), "2:10:1000 3:5:1500 4:5:2000 .");
	CHECK_EQ(box_listed("INBOX")->messages, 3);
	CHECK_EQ(box_listed("INBOX")->next_no, 6);
	world.account.vanished = true;
	REQUIRE(CHECK_OK(open_source()));
	CHECK_TEXT(messages_of("INBOX"), "1:5:500 2:10:1000 3:5:1500 4:5:2000 5:5:2500 .");
	end();
}

TEST_FIBER(a_renamed_folder_comes_under_its_new_name_only)
{
	static struct box moved;

	REQUIRE(begin());
	REQUIRE(open_sink());
	moved = box_named("Post", 3);
	CHECK_OK(archive_sink.prepare(world.sink, &moved));
	CHECK_OK(renumber(&sent, 7, &moved, 31));
	REQUIRE(CHECK_OK(world_finish(&world)));
	REQUIRE(CHECK_OK(open_source()));
	CHECK_TEXT(listed(), "INBOX Post");
	CHECK_TEXT(messages_of("Post"), "31:2:777 .");
	end();
}

TEST_FIBER(a_folder_that_is_empty_is_a_folder_all_the_same)
{
	static struct box trash;

	REQUIRE(begin());
	REQUIRE(open_sink());
	trash = box_named("Trash", 3);
	CHECK_OK(archive_sink.prepare(world.sink, &trash));
	CHECK_OK(amend(CHANGE_VANISHED, &sent, 7, 0));
	REQUIRE(CHECK_OK(world_finish(&world)));
	REQUIRE(CHECK_OK(open_source()));
	CHECK_TEXT(messages_of("Trash"), ".");
	CHECK_TEXT(messages_of(sent.name), ".");
	end();
}

TEST_FIBER(renumbered_messages_have_their_new_numbers)
{
	static struct box was;

	REQUIRE(begin());
	was = inbox;
	inbox.epoch = EPOCH + 5;
	REQUIRE(open_sink());
	for (uint64_t no = 1; no <= 4; no++)
		CHECK_OK(renumber(&was, no, &inbox, 6 - no));
	CHECK_OK(amend(CHANGE_VANISHED, &was, 5, 0));
	REQUIRE(CHECK_OK(world_finish(&world)));
	REQUIRE(CHECK_OK(open_source()));
	CHECK_EQ(box_listed("INBOX")->epoch, EPOCH + 5);
	/* In the order of the pack. */
	CHECK_TEXT(messages_of("INBOX"), "5:2:500 4:2:1000 3:2:1500 2:2:2000 .");
	/* What vanished under a former epoch needs no room among the numbers. */
	CHECK_EQ(box_listed("INBOX")->next_no, 6);
	end();
}

/* A run that was cut had stored messages of a folder that has another UIDVALIDITY by now, and no
 * manifest says so yet. */
TEST_FIBER(messages_of_two_epochs_of_a_folder_have_keys_that_differ_and_last)
{
	const char *both = "1:5:500 2:5:1000 3:5:1500 4:5:2000 5:5:2500 4294967297:5:600 "
			   "4294967298:5:700 .";

	REQUIRE(begin());
	inbox.epoch = EPOCH + 5;
	REQUIRE(open_sink());
	CHECK_OK(world_put(&world, 1, 1, bytes, 600, 0));
	CHECK_OK(world_put(&world, 1, 2, bytes, 700, 0));
	archive_sink.drain(world.sink);
	REQUIRE(CHECK_OK(world_receipts(&world, true)));
	archive_sink.close(&world.sink);
	REQUIRE(CHECK_OK(open_source()));
	CHECK_EQ(box_listed("INBOX")->epoch, EPOCH);
	CHECK_EQ(box_listed("INBOX")->messages, 7);
	CHECK_TEXT(messages_of("INBOX"), both);
	REQUIRE(CHECK_OK(open_source()));
	CHECK_TEXT(messages_of("INBOX"), both);
	end();
}

TEST_FIBER(a_run_that_was_cut_before_its_first_manifest_can_be_read)
{
	REQUIRE(begin());
	lose("manifest/000000000001.ndjson");
	REQUIRE(CHECK_OK(open_source()));
	CHECK_TEXT(listed(), "INBOX Gesendet/\xc3\x84rger");
	CHECK_EQ(box_listed("INBOX")->epoch, EPOCH);
	CHECK_EQ(box_listed("INBOX")->use, BOX_USE_INBOX);
	CHECK_TEXT(messages_of("INBOX"), "1:5:500 2:5:1000 3:5:1500 4:5:2000 5:5:2500 .");
	end();
}

TEST_FIBER(an_archive_is_read_as_it_was_at_the_end_of_a_run)
{
	REQUIRE(begin());
	REQUIRE(open_sink());
	CHECK_OK(amend(CHANGE_VANISHED, &inbox, 1, 0));
	CHECK_OK(world_put(&world, 1, 6, bytes, 600, 0));
	REQUIRE(CHECK_OK(world_finish(&world)));
	world.account.as_of = "1";
	REQUIRE(CHECK_OK(open_source()));
	CHECK_TEXT(messages_of("INBOX"), "1:5:500 2:5:1000 3:5:1500 4:5:2000 5:5:2500 .");
	world.account.as_of = "2";
	REQUIRE(CHECK_OK(open_source()));
	CHECK_TEXT(messages_of("INBOX"), "2:5:1000 3:5:1500 4:5:2000 5:5:2500 6:5:600 .");
	world.account.as_of = "2001-01-01";
	CHECK_ERR(open_source(), ERR_SOURCE_FOREIGN);
	CHECK(strstr(err_note()->text, "--as-of 2001-01-01") != NULL);
	err_note_clear();
	end();
}

/* ---- ranges and changes, as a lane asks ---- */

TEST_FIBER(an_equal_cursor_says_that_nothing_changed_and_another_that_something_did)
{
	struct cursor inbox_before, sent_before;

	REQUIRE(begin());
	REQUIRE(CHECK_OK(open_source()));
	inbox_before = box_listed("INBOX")->cursor;
	sent_before = box_listed(sent.name)->cursor;
	CHECK(inbox_before.at[0] != '\0' && strcmp(inbox_before.at, sent_before.at) != 0);
	REQUIRE(CHECK_OK(open_source()));
	CHECK_TEXT(box_listed("INBOX")->cursor.at, inbox_before.at);
	REQUIRE(open_sink());
	CHECK_OK(amend(CHANGE_REFLAGGED, &inbox, 2, MAIL_SEEN | MAIL_FLAGGED));
	REQUIRE(CHECK_OK(world_finish(&world)));
	REQUIRE(CHECK_OK(open_source()));
	CHECK(strcmp(box_listed("INBOX")->cursor.at, inbox_before.at) != 0);
	CHECK_TEXT(box_listed(sent.name)->cursor.at, sent_before.at);
	end();
}

TEST_FIBER(a_scan_tells_what_is_there_and_that_the_rest_is_gone)
{
	struct box *box;

	REQUIRE(begin());
	REQUIRE(open_sink());
	CHECK_OK(amend(CHANGE_VANISHED, &inbox, 3, 0));
	CHECK_OK(amend(CHANGE_REFLAGGED, &inbox, 4, MAIL_SEEN));
	REQUIRE(CHECK_OK(world_finish(&world)));
	REQUIRE(CHECK_OK(open_source()));
	box = box_listed("INBOX");
	CHECK_TEXT(findings(box, 2, 4, true), "F2:5 F4:1 R2-4");
	CHECK_TEXT(findings(box, 1, 100, false), "T1 T2 T4 T5 R1-100");
	CHECK_TEXT(findings(box, 90, 100, true), "R90-100");
	box->epoch++;
	CHECK_ERR(archive_source.scan(source, box, 1, 5, true), ERR_SOURCE_EPOCH);
	err_note_clear();
	end();
}

TEST_FIBER(ranges_are_answered_in_order_and_each_with_its_own)
{
	struct box *first, *second;

	REQUIRE(begin());
	REQUIRE(CHECK_OK(open_source()));
	first = box_listed("INBOX");
	second = box_listed(sent.name);
	CHECK_OK(archive_source.ask(source, first, 4, 4));
	CHECK_OK(archive_source.ask(source, second, 1, 100));
	CHECK_OK(archive_source.ask(source, first, 1, 2));
	CHECK_OK(archive_source.ask(source, first, 6, UINT64_MAX));
	CHECK_TEXT(answers(), "4:5:2000 . 7:5:777 . 1:5:500 2:5:1000 . .");
	first->epoch = 99;
	CHECK_OK(archive_source.ask(source, first, 1, 2));
	CHECK_TEXT(answers(), ".SOURCE_EPOCH");
	end();
}

TEST_FIBER(two_conversations_share_a_mailbox)
{
	struct source *one;
	struct box *box;

	REQUIRE(begin());
	REQUIRE(CHECK_OK(open_source()));
	one = source;
	source = NULL;
	REQUIRE(CHECK_OK(open_source()));
	box = box_listed("INBOX");
	CHECK_OK(archive_source.ask(one, box, 1, 2));
	CHECK_OK(archive_source.ask(source, box, 3, 5));
	CHECK_TEXT(answers(), "3:5:1500 4:5:2000 5:5:2500 .");
	archive_source.close(&source);
	source = one;
	CHECK_TEXT(answers(), "1:5:500 2:5:1000 .");
	end();
}

/* A folder whose messages lie in many packs, asked for in one range of more than a window. */
TEST_FIBER(a_folder_of_many_packs_is_read_pack_by_pack)
{
	enum { RUNS = 4, EACH = 100 };
	uint64_t no = 100, next = 0;
	struct box *box;

	REQUIRE(begin());
	for (unsigned run = 0; run < RUNS; run++) {
		REQUIRE(open_sink());
		for (unsigned i = 0; i < EACH; i++)
			REQUIRE(CHECK_OK(world_put(&world, 1, no++, bytes, 10 + i, 0)));
		REQUIRE(CHECK_OK(world_finish(&world)));
	}
	REQUIRE(CHECK_OK(open_source()));
	box = box_listed("INBOX");
	CHECK_OK(archive_source.ask(source, box, 100, UINT64_MAX));
	while (archive_source.next(source, &item) == OK && item.kind == ITEM_MESSAGE) {
		CHECK_EQ(item.fate, OK);
		CHECK_EQ(item.no, 100 + next);
		CHECK_EQ(item.size_bytes, 10 + next % EACH);
		stream_close(&item.body); /* before its end */
		next++;
	}
	CHECK_EQ(next, RUNS * EACH);
	CHECK_EQ(item.kind, ITEM_RANGE_DONE);
	end();
}

/* ---- which mailbox ---- */

static bool add_bob(void)
{
	world.config.mailbox_name = "bob@mail.example.com";
	world.seal_no = 0;
	return open_sink() && CHECK_OK(world_put(&world, 1, 9, bytes, 99, 0)) &&
	       CHECK_OK(world_finish(&world));
}

TEST_FIBER(one_of_several_mailboxes_is_chosen_by_name_or_directory)
{
	char path[400], bob[ARCHIVE_MAILBOX_KEY_BYTES_MAX + 1];

	REQUIRE(begin());
	REQUIRE(add_bob());
	CHECK_ERR(open_source(), ERR_SOURCE_FOREIGN);
	CHECK(strstr(err_note()->text, "alice@mail.example.com, bob@mail.example.com") != NULL);
	err_note_clear();
	snprintf(path, sizeof path, "%s/bob@mail.example.com", world.path);
	REQUIRE(CHECK_OK(open_at(path)));
	CHECK_TEXT(messages_of("INBOX"), "9:5:99 .");
	CHECK_OK(archive_mailbox_key(bob, world.config.mailbox_name));
	snprintf(path, sizeof path, "%s/%s/", world.path, bob);
	REQUIRE(CHECK_OK(open_at(path)));
	CHECK_TEXT(messages_of("INBOX"), "9:5:99 .");
	snprintf(path, sizeof path, "%s//alice@mail.example.com", world.path);
	REQUIRE(CHECK_OK(open_at(path)));
	CHECK_TEXT(messages_of("INBOX"), "1:5:500 2:5:1000 3:5:1500 4:5:2000 5:5:2500 .");
	snprintf(path, sizeof path, "%s/carol@mail.example.com", world.path);
	CHECK_ERR(open_at(path), ERR_SOURCE_FOREIGN);
	CHECK(strstr(err_note()->text, "holds no mailbox of this name") != NULL);
	err_note_clear();
	end();
}

TEST_FIBER(what_is_no_archive_is_told_from_one)
{
	REQUIRE(begin());
	CHECK_ERR(open_at("/nonexistent-mailhaul/a/b"), ERR_SOURCE_FOREIGN);
	CHECK(strstr(err_note()->text, "this is no archive") != NULL);
	err_note_clear();
	CHECK_ERR(open_at("/"), ERR_SOURCE_FOREIGN);
	err_note_clear();
	CHECK_EQ(run_shell("rm -r %s/" MAILBOX_KEY_PATTERN, world.path), 0);
	CHECK_ERR(open_source(), ERR_SOURCE_FOREIGN);
	CHECK(strstr(err_note()->text, "holds no mailbox") != NULL);
	err_note_clear();
	CHECK_EQ(run_shell("echo nonsense >%s/mailhaul-archive.json", world.path), 0);
	CHECK_ERR(open_source(), ERR_SOURCE_FOREIGN);
	err_note_clear();
	end();
}

/* ---- damage ---- */

TEST_FIBER(a_damaged_message_is_one_that_does_not_come)
{
	REQUIRE(begin_with(0));
	/* Bytes of message 1 begin behind its headers; the offset of a member is a multiple of 512.
	 */
	flip("packs/000000000001.tar", 1024 + 512 + 100);
	REQUIRE(CHECK_OK(open_source()));
	CHECK_EQ(box_listed("INBOX")->messages, 5);
	CHECK_TEXT(messages_of("INBOX"), "1!SOURCE_DAMAGED 2:5:1000 3:5:1500 4:5:2000 5:5:2500 .");
	CHECK_TEXT(messages_of(sent.name), "7:5:777 .");
	end();
}

TEST_FIBER(a_damaged_frame_costs_its_messages)
{
	REQUIRE(begin());
	REQUIRE(open_sink());
	CHECK_OK(world_put(&world, 1, 6, bytes, 600, 0));
	REQUIRE(CHECK_OK(world_finish(&world)));
	flip("packs/000000000001.tar.zst", 100);
	REQUIRE(CHECK_OK(open_source()));
	CHECK_TEXT(messages_of("INBOX"),
		   "1!SOURCE_DAMAGED 2!SOURCE_DAMAGED 3!SOURCE_DAMAGED 4!SOURCE_DAMAGED "
		   "5!SOURCE_DAMAGED 6:5:600 .");
	end();
}

TEST_FIBER(a_damaged_large_message_does_not_even_begin)
{
	uint8_t *large = malloc(LARGE_BYTES);

	REQUIRE(begin_with(0));
	must(large);
	fill(large, LARGE_BYTES, 9);
	REQUIRE(open_sink());
	CHECK_OK(world_put(&world, 1, 6, large, LARGE_BYTES, CHUNK_BYTES));
	CHECK_OK(world_put(&world, 1, 7, bytes, 70, 0));
	REQUIRE(CHECK_OK(world_finish(&world)));
	free(large);
	flip("packs/000000000002.tar", 20 * 1024 * 1024);
	REQUIRE(CHECK_OK(open_source()));
	CHECK_TEXT(messages_of("INBOX"), "1:5:500 2:5:1000 3:5:1500 4:5:2000 5:5:2500 "
					 "6!SOURCE_DAMAGED 7:5:70 .");
	end();
}

TEST_FIBER(a_lost_index_costs_nothing)
{
	REQUIRE(begin());
	lose("index/000000000001.ndjson.zst");
	REQUIRE(CHECK_OK(open_source()));
	CHECK_TEXT(listed(), "INBOX Gesendet/\xc3\x84rger");
	CHECK(box_listed("INBOX")->cursor.at[0] != '\0');
	check_every_fact();
	end();
}

TEST_FIBER(a_lost_pack_is_named_and_its_messages_do_not_come)
{
	struct box *box;

	REQUIRE(begin());
	REQUIRE(open_sink());
	CHECK_OK(world_put(&world, 1, 6, bytes, 600, 0));
	REQUIRE(CHECK_OK(world_finish(&world)));
	lose("packs/000000000001.tar.zst");
	REQUIRE(CHECK_OK(open_source()));
	CHECK(strstr(listed(), "/packs/000000000001.tar.zst!SOURCE_LOST") != NULL);
	CHECK_TEXT(messages_of("INBOX"),
		   "1!SOURCE_DAMAGED 2!SOURCE_DAMAGED 3!SOURCE_DAMAGED 4!SOURCE_DAMAGED "
		   "5!SOURCE_DAMAGED 6:5:600 .");
	/* Neither are these gone, nor is anything known to be unchanged. */
	box = box_listed("INBOX");
	CHECK_TEXT(box->cursor.at, "");
	CHECK_TEXT(findings(box, 1, 6, false), "T1 T2 T3 T4 T5 T6");
	end();
}

TEST_FIBER(a_pack_of_which_nothing_is_left_does_not_make_its_messages_vanish)
{
	struct box *box;

	REQUIRE(begin());
	REQUIRE(open_sink());
	CHECK_OK(world_put(&world, 1, 6, bytes, 600, 0));
	REQUIRE(CHECK_OK(world_finish(&world)));
	lose("packs/000000000001.tar.zst");
	lose("index/000000000001.ndjson.zst");
	REQUIRE(CHECK_OK(open_source()));
	CHECK(strstr(listed(), "/packs!SOURCE_LOST") != NULL);
	CHECK(strstr(listed(), sent.name) != NULL);
	CHECK_TEXT(messages_of("INBOX"), "6:5:600 .");
	box = box_listed("INBOX");
	CHECK_TEXT(box->cursor.at, "");
	CHECK_TEXT(findings(box, 1, 6, false), "T6");
	end();
}

TEST_FIBER(lost_changes_are_told_as_a_loss)
{
	REQUIRE(begin());
	REQUIRE(open_sink());
	CHECK_OK(amend(CHANGE_VANISHED, &inbox, 1, 0));
	REQUIRE(CHECK_OK(world_finish(&world)));
	flip("changes/000000000001.ndjson.zst", 30);
	REQUIRE(CHECK_OK(open_source()));
	CHECK(strstr(listed(), "/changes/000000000001.ndjson.zst!SOURCE_LOST") != NULL);
	CHECK_TEXT(messages_of("INBOX"), "1:5:500 2:5:1000 3:5:1500 4:5:2000 5:5:2500 .");
	end();
}
