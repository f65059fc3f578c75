/* Archives read back: damaged in every byte, cut at every length, and lying. Nothing may crash,
 * nothing wrong may be handed out as right, and every fault is found. */
#include <fcntl.h>
#include <glob.h>

#include "crypto/zstd_stage.h"
#include "engine/budget.h"
#include "tests/unit/archive_help.h"
#include "transport/ndjson.h"

static struct world world;
static struct archive_message message;
static uint8_t bytes[2000000];

/* An archive of one mailbox: three small messages in one pack. */
static bool make(int level)
{
	static struct box inbox;
	char path[100];

	snprintf(path, sizeof path, "%s/%d", test_directory(), level);
	must(mkdir(path, 0700) == 0);
	inbox = box_named("INBOX", 1);
	fill(bytes, sizeof bytes, 8);
	world_begin(&world, path);
	world.config.zstd_level = level;
	return CHECK_OK(world_open(&world)) && CHECK_OK(archive_sink.prepare(world.sink, &inbox)) &&
	       CHECK_OK(world_put(&world, 1, 1, bytes, 300, 0)) &&
	       CHECK_OK(world_put(&world, 1, 2, bytes, 0, 0)) &&
	       CHECK_OK(world_put(&world, 1, 3, bytes + 100, 700, 0)) &&
	       CHECK_OK(world_finish(&world));
}

/* The only file that matches, below the only mailbox. */
static const char *file_in(const char *folder)
{
	static char path[400];
	char pattern[400];
	glob_t found;

	snprintf(pattern, sizeof pattern, "%s/%s/%s/*", world.path, MAILBOX_KEY_PATTERN, folder);
	must(glob(pattern, 0, NULL, &found) == 0 && found.gl_pathc == 1);
	snprintf(path, sizeof path, "%s", found.gl_pathv[0]);
	globfree(&found);
	return path;
}

static struct buffer slurp(const char *path)
{
	struct buffer whole = { 0 };
	FILE *file = fopen(path, "rb");
	static char piece[4096];
	size_t n;

	must(file != NULL);
	while ((n = fread(piece, 1, sizeof piece, file)) > 0)
		buffer_add(&whole, piece, n);
	fclose(file);
	return whole;
}

static void spill(const char *path, const void *from, size_t n)
{
	FILE *file = fopen(path, "wb");

	must(file && fwrite(from, 1, n, file) == n && fclose(file) == 0);
}

/* Read every message; what comes with OK is what was put. Returns how many came. */
static unsigned read_all(void)
{
	struct archive *archive = NULL;
	struct archive_mailbox *mailbox = calloc(1, sizeof *mailbox);
	struct buffer got = { .bytes_max = 1 << 20 };
	unsigned right = 0;
	enum err e;

	must(mailbox != NULL);
	if (archive_at(&world, &archive, mailbox) == OK)
		while ((e = archive_message_next(archive, &message)) == OK) {
			buffer_reset(&got);
			if (archive_message_read(archive, &message, collect, &got))
				continue;
			right++;
			CHECK(got.bytes == message.size_bytes && message.no >= 1 &&
			      message.no <= 3);
			CHECK(got.bytes == (message.no == 1 ? 300 : message.no == 2 ? 0 : 700));
			CHECK(!got.bytes ||
			      memcmp(got.at, bytes + (message.no == 3 ? 100 : 0), got.bytes) == 0);
		}
	err_note_clear();
	archive_close(&archive);
	buffer_free(&got);
	free(mailbox);
	return right;
}

static bool verify_finds_a_fault(void)
{
	static struct faults faults;
	struct archive_check check;
	enum err e = world_verify(&world, &faults, &check);

	err_note_clear();
	CHECK(e == OK || e == ERR_ARCHIVE_DAMAGED);
	CHECK_EQ(e != OK, faults.count > 0);
	CHECK_EQ(check.faults, faults.count);
	return e == ERR_ARCHIVE_DAMAGED;
}

/* One bit of each byte of a file in turn. */
static void flip_each(const char *folder, bool is_found)
{
	char path[400];
	struct buffer whole;

	snprintf(path, sizeof path, "%s", file_in(folder));
	whole = slurp(path);
	for (size_t i = 0; i < whole.bytes; i++) {
		whole.at[i] ^= (char)(1u << i % 8);
		spill(path, whole.at, whole.bytes);
		if (!verify_finds_a_fault() && is_found)
			test_failed(__FILE__, __LINE__,
				    "flipped bit %zu of byte %zu of %s not found", i % 8, i,
				    folder);
		(void)read_all();
		whole.at[i] ^= (char)(1u << i % 8);
	}
	spill(path, whole.at, whole.bytes);
	CHECK(!verify_finds_a_fault());
	buffer_free(&whole);
}

static void cut_each(const char *folder)
{
	char path[400];
	struct buffer whole;

	snprintf(path, sizeof path, "%s", file_in(folder));
	whole = slurp(path);
	for (size_t n = 0; n < whole.bytes; n += 1 + n % 3) {
		spill(path, whole.at, n);
		if (!verify_finds_a_fault())
			test_failed(__FILE__, __LINE__, "%s cut to %zu bytes not found", folder, n);
		(void)read_all();
	}
	spill(path, whole.at, whole.bytes);
	CHECK_EQ(read_all(), 3);
	buffer_free(&whole);
}

TEST_FIBER(every_damaged_byte_of_a_pack_is_found)
{
	REQUIRE(make(1));
	flip_each("packs", true);
	world_end(&world);
}

TEST_FIBER(every_damaged_byte_of_an_index_is_found)
{
	REQUIRE(make(1));
	flip_each("index", true);
	world_end(&world);
}

/* Nobody holds the newest manifest's digest, so not every byte of it can be judged. */
TEST_FIBER(no_damaged_byte_of_a_manifest_does_harm)
{
	REQUIRE(make(1));
	flip_each("manifest", false);
	world_end(&world);
}

TEST_FIBER(every_cut_is_found)
{
	REQUIRE(make(1));
	cut_each("packs");
	cut_each("index");
	cut_each("manifest");
	world_end(&world);
}

/* Only the messages whose bytes are hit are lost. */
TEST_FIBER(damage_is_told_message_by_message)
{
	static struct faults faults;
	struct archive_check check;
	struct buffer whole;
	char path[400];

	REQUIRE(make(0));
	snprintf(path, sizeof path, "%s", file_in("packs"));
	whole = slurp(path);
	whole.at[1536 + 10] ^= 1; /* in the body of message 1 */
	spill(path, whole.at, whole.bytes);
	CHECK_EQ(read_all(), 2);
	CHECK_ERR(world_verify(&world, &faults, &check), ERR_ARCHIVE_DAMAGED);
	CHECK_EQ(faults.count, 2); /* the pack's bytes, and which message it is */
	CHECK_EQ(check.messages, 2);
	whole.at[1536 + 10] ^= 1;
	whole.at[600] ^=
		1; /* in the pax records of message 1: the walk stops, the messages are well */
	whole.at[100] ^= 1;
	spill(path, whole.at, whole.bytes);
	CHECK_ERR(world_verify(&world, &faults, &check), ERR_ARCHIVE_DAMAGED);
	CHECK_EQ(check.messages, 3);
	buffer_free(&whole);
	world_end(&world);
}

/* ---- lies ---- */

/* One frame, as long as they come: ours are shorter, but readers bear a MiB. */
static void add_frame(struct zstd_stage *zstd, const char *lines, size_t n, struct buffer *to)
{
	size_t room = zstd_stage_bound(n), stored = 0;
	char *frame = malloc(room);

	must(frame != NULL);
	CHECK_OK(zstd_stage_frame(zstd, lines, n, frame, room, &stored));
	buffer_add(to, frame, stored);
	free(frame);
}

/* Put another index in place: `head_end` bytes of the true header line, then `lines`. */
static void forge_index(const char *lines, size_t n)
{
	struct zstd_stage *zstd = NULL;
	struct ndjson *reader = NULL;
	struct buffer forged = { 0 };
	struct archive *archive = NULL;
	struct archive_mailbox *mailbox = calloc(1, sizeof *mailbox);
	char path[400], key[STORE_KEY_BYTES_MAX + 1], *at;
	struct text head;

	must(mailbox != NULL);
	snprintf(path, sizeof path, "%s", file_in("index"));
	must((at = strstr(path, "alice_")) != NULL);
	snprintf(key, sizeof key, "%s", at);
	REQUIRE(CHECK_OK(archive_at(&world, &archive, mailbox)));
	REQUIRE(CHECK_OK(ndjson_open(archive_store(archive), key, &reader)));
	CHECK_OK(ndjson_next(reader, &head));
	head.bytes++; /* its LF, which is still there */
	CHECK_OK(zstd_stage_open(1, &zstd));
	CHECK_OK(ndjson_compress(zstd, head, &forged));
	if (n > 0)
		add_frame(zstd, lines, n, &forged);
	spill(path, forged.at, forged.bytes);
	zstd_stage_close(&zstd);
	ndjson_close(&reader);
	archive_close(&archive);
	buffer_free(&forged);
	free(mailbox);
}

#define LINE(no, size, offset, body)                                                               \
	"{\"box\":\"INBOX\",\"sep\":\"/\",\"epoch\":1,\"no\":" no ",\"size\":" size                \
	",\"digest\":\""                                                                           \
	"00000000000000000000000000000000000000000000000000000000000000ff\",\"date\":\"\","        \
	"\"flags\":\"\","                                                                          \
	"\"keywords\":\"\",\"kind\":\"plain\",\"member\":\"x\",\"offset\":" offset                 \
	",\"body\":" body "}\n"

/* What a compressor's context takes grows with the frame. */
TEST_FIBER(a_long_index_needs_no_larger_compressor_than_messages_do)
{
	enum { LEVEL = 7, LINES = 20000 };
	static const char line[] = "{\"a line\":\"of an index that has many of them\"}\n";
	uint64_t before = budget_high(BUDGET_COMPRESSORS);
	struct buffer lines = { 0 }, compressed = { 0 };
	struct zstd_stage *zstd = NULL;

	for (int i = 0; i < LINES; i++)
		buffer_add(&lines, line, sizeof line - 1);
	REQUIRE(lines.bytes > 3 * FRAME_BYTES && CHECK_OK(zstd_stage_open(LEVEL, &zstd)));
	CHECK_OK(ndjson_compress(zstd, (struct text){ lines.at, lines.bytes }, &compressed));
	CHECK(compressed.bytes > 0 && compressed.bytes < lines.bytes / 2);
	CHECK(budget_high(BUDGET_COMPRESSORS) > before);
	CHECK(budget_high(BUDGET_COMPRESSORS) - before <=
	      zstd_stage_context_bytes(LEVEL, FRAME_BYTES));
	zstd_stage_close(&zstd);
	buffer_free(&lines);
	buffer_free(&compressed);
}

TEST_FIBER(an_index_that_lies_is_damage)
{
	static const char *const lies[] = {
		LINE("1", "300", "0", "1535"),
		LINE("1", "1000000000000", "0", "1536"),
		LINE("1", "18446744073709551615", "0", "1536"),
		LINE("1", "300", "18446744073709551615", "18446744073709551615"),
		LINE("1", "300", "1536", "0"),
		LINE("1", "300", "99999999999", "99999999999"),
		LINE("-1", "300", "0", "1536"),
		LINE("1", "300", "0", "1536") LINE("2", "0", "9", "9") LINE("3", "700", "1", "1")
			LINE("4", "1", "1", "1"),
		"{}\n",
		"\n",
		"null\n",
		"{\"box\":\"INBOX\"}\n",
	};

	for (int level = 0; level < 2; level++) {
		REQUIRE(make(level));
		for (size_t i = 0; i < ARRAY_COUNT(lies); i++) {
			forge_index(lies[i], strlen(lies[i]));
			CHECK_EQ(read_all(), 0);
			CHECK(verify_finds_a_fault());
		}
		forge_index("", 0);
		CHECK_EQ(read_all(), 0);
		CHECK(verify_finds_a_fault());
		world_end(&world);
	}
}

TEST_FIBER(lines_without_end_and_depth_without_bound_are_damage)
{
	enum { LONG = 900000 };
	char *line = malloc(LONG);

	REQUIRE(line != NULL && make(1));
	memset(line, 'x', LONG);
	line[LONG - 1] = '\n';
	forge_index(line, LONG);
	CHECK_EQ(read_all(), 0);
	CHECK(verify_finds_a_fault());
	memset(line, '[', 20000);
	memcpy(line, "{\"x\":", 5);
	line[19999] = '\n';
	forge_index(line, 20000);
	CHECK_EQ(read_all(), 0);
	memset(line, '\0', 100);
	line[99] = '\n';
	forge_index(line, 100);
	CHECK_EQ(read_all(), 0);
	free(line);
	world_end(&world);
}

/* Frames, sizes and counts in the table that are not those of the file. */
TEST_FIBER(a_seek_table_that_lies_is_damage)
{
	static const uint32_t lies[] = { 0,	     1,	      0x7FFFFFFF,   0x80000000,
					 0xFFFFFFFF, 1 << 20, (1 << 20) + 1 };
	struct buffer whole;
	char path[400];
	size_t foot, first;
	uint8_t was[4];

	REQUIRE(make(1));
	snprintf(path, sizeof path, "%s", file_in("packs"));
	whole = slurp(path);
	foot = whole.bytes - 9;
	first = foot - 8 * bytes_get_le32((const uint8_t *)whole.at + foot);
	for (size_t at = first - 8; at < foot + 4; at += 4)
		for (size_t i = 0; i < ARRAY_COUNT(lies); i++) {
			memcpy(was, whole.at + at, 4);
			bytes_put_le32((uint8_t *)whole.at + at, lies[i]);
			if (memcmp(was, whole.at + at, 4) != 0) {
				spill(path, whole.at, whole.bytes);
				(void)read_all();
				CHECK(verify_finds_a_fault());
			}
			memcpy(whole.at + at, was, 4);
		}
	spill(path, whole.at, whole.bytes);
	CHECK_EQ(read_all(), 3);
	buffer_free(&whole);
	world_end(&world);
}

/* ---- what is no archive, or more than one ---- */

TEST_FIBER(what_is_no_archive_is_told)
{
	static const char future[] = "{\"format\":\"mailhaul-archive\",\"version\":2,"
				     "\"ledger\":\"00000000000000000000000000000000\"}";
	struct archive *archive = NULL;
	char path[300];

	world_begin(&world, test_directory());
	CHECK_ERR(archive_open(&store_dir, &world.account, clock_after(NSEC_SECOND), &archive),
		  ERR_ARCHIVE_FORMAT);
	CHECK(strstr(err_note()->text, world.path) != NULL);
	err_note_clear();
	snprintf(path, sizeof path, "%s/mailhaul-archive.json", test_directory());
	spill(path, "not json", 8);
	CHECK_ERR(archive_open(&store_dir, &world.account, clock_after(NSEC_SECOND), &archive),
		  ERR_ARCHIVE_FORMAT);
	err_note_clear();
	spill(path, future, sizeof future - 1);
	CHECK_ERR(archive_open(&store_dir, &world.account, clock_after(NSEC_SECOND), &archive),
		  ERR_ARCHIVE_FORMAT);
	CHECK(strstr(err_note()->text, "version 2") != NULL);
	err_note_clear();
	snprintf(world.path, sizeof world.path, "%s/absent", test_directory());
	CHECK_ERR(archive_open(&store_dir, &world.account, clock_after(NSEC_SECOND), &archive),
		  ERR_DISK_ABSENT);
	err_note_clear();
	CHECK(archive == NULL);
	archive_close(&archive);
	world_end(&world);
}

TEST_FIBER(things_that_do_not_belong_there_are_told)
{
	static struct faults faults;
	struct archive_check check;
	char command[600], output[100];

	REQUIRE(make(1));
	snprintf(command, sizeof command,
		 "cd %s && mkdir lost+found .hidden 'odd name' && cd %s && touch packs/x.tar "
		 "'packs/a b' index/000000000009.ndjson.zst",
		 world.path, MAILBOX_KEY_PATTERN);
	CHECK_EQ(shell(command, output, sizeof output), 0);
	CHECK_ERR(world_verify(&world, &faults, &check), ERR_ARCHIVE_DAMAGED);
	CHECK_EQ(faults.count, 3);
	CHECK_EQ(check.messages, 3);
	err_note_clear();
	CHECK_EQ(read_all(), 3);
	world_end(&world);
}

TEST_FIBER(a_missing_pack_or_generation_is_told)
{
	static struct faults faults;
	struct archive_check check;
	char path[400];

	REQUIRE(make(1));
	snprintf(path, sizeof path, "%s", file_in("packs"));
	CHECK_EQ(unlink(path), 0);
	CHECK_ERR(world_verify(&world, &faults, &check), ERR_ARCHIVE_DAMAGED);
	CHECK(strstr(faults.first_what, "missing") != NULL);
	CHECK(strstr(faults.first_key, "packs/000000000001") != NULL);
	err_note_clear();
	CHECK_EQ(read_all(), 0);
	world_end(&world);
}

/* ---- hostile folder names, there and back ---- */

TEST_FIBER(folder_names_come_back_as_they_were)
{
	static const char *const names[] = { "../../x",	 "INBOX",   "inbox",
					     "Inbox",	 "a\"b\\c", "Entw\xC3\xBCrfe",
					     "\x01\x02", "-rf",	    "a//b" };
	static struct box box;
	struct archive *archive = NULL;
	static struct archive_mailbox mailbox;
	char longest[301];
	enum err e;

	memset(longest, 'y', 300);
	longest[300] = '\0';
	world_begin(&world, test_directory());
	REQUIRE(CHECK_OK(world_open(&world)));
	for (uint64_t i = 0; i <= ARRAY_COUNT(names); i++) {
		box = box_named(i < ARRAY_COUNT(names) ? names[i] : longest, i + 1);
		CHECK_OK(archive_sink.prepare(world.sink, &box));
		CHECK_OK(world_put(&world, i + 1, 1, bytes, i, 0));
	}
	CHECK_OK(world_finish(&world));
	CHECK(!verify_finds_a_fault());
	REQUIRE(CHECK_OK(archive_at(&world, &archive, &mailbox)));
	for (uint64_t i = 0; i <= ARRAY_COUNT(names); i++) {
		CHECK_OK(archive_message_next(archive, &message));
		CHECK_TEXT(message.box, i < ARRAY_COUNT(names) ? names[i] : longest);
		CHECK_EQ(message.size_bytes, i);
		CHECK_OK(archive_box_next(archive, &box));
		CHECK_TEXT(box.name, message.box);
	}
	CHECK_ERR(e = archive_message_next(archive, &message), ERR_PIPE_ENDED);
	archive_close(&archive);
	world_end(&world);
}

/* Two packs; the index of the first is broken. */
TEST_FIBER(a_broken_index_hides_no_message)
{
	struct archive *archive = NULL;
	static struct archive_mailbox mailbox;
	static struct box inbox;
	char path[400];

	REQUIRE(make(1));
	snprintf(path, sizeof path, "%s", file_in("index"));
	inbox = box_named("INBOX", 1);
	world.config.next_seal_no = 2;
	REQUIRE(CHECK_OK(world_open(&world)));
	CHECK_OK(archive_sink.prepare(world.sink, &inbox));
	CHECK_OK(world_put(&world, 1, 4, bytes, 10, 0));
	CHECK_OK(world_finish(&world));
	spill(path, "broken", 6);
	REQUIRE(CHECK_OK(archive_at(&world, &archive, &mailbox)));
	CHECK_ERR(archive_message_next(archive, &message), ERR_ARCHIVE_DAMAGED);
	err_note_clear();
	for (uint64_t no = 1; no <= 4; no++) {
		CHECK_OK(archive_message_next(archive, &message));
		CHECK_EQ(message.no, no);
	}
	CHECK_ERR(archive_message_next(archive, &message), ERR_PIPE_ENDED);
	archive_close(&archive);
	world_end(&world);
}
