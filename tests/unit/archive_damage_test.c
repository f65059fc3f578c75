/* Archives of which a part is damaged or gone: everything else is read, and what is wrong is told
 * by name, once. */
#include <glob.h>

#include "crypto/zstd_stage.h"
#include "tests/unit/archive_help.h"
#include "transport/archive_history.h"

enum { SIZE_1 = 300, SIZE_3 = 70000, MANY = 3000 };

static struct world world;
static struct archive_message message;
static struct archive_mailbox mailbox;
static struct box boxes[2];
static uint8_t bytes[SIZE_3];

/* What a reader was told and what it got. */
static struct seen {
	unsigned told, right, wrong, boxes;
	char keys[4][200], whats[4][400];
} seen;

static void tell(void *context, const char *key, const char *what)
{
	must(context == &seen && key[0] && what[0]);
	if (seen.told < ARRAY_COUNT(seen.keys)) {
		snprintf(seen.keys[seen.told], sizeof seen.keys[0], "%s", key);
		snprintf(seen.whats[seen.told], sizeof seen.whats[0], "%s", what);
	}
	seen.told++;
}

static size_t size_of(uint64_t no)
{
	return no == 1 ? SIZE_1 : no == 3 ? SIZE_3 : 0;
}

static void read_one(struct archive *archive)
{
	struct buffer got = { 0 };
	enum err e = archive_message_read(archive, &message, collect, &got);

	CHECK(!e || e == ERR_ARCHIVE_DAMAGED);
	if (e) {
		seen.wrong++;
		CHECK(strstr(err_note()->text, "message ") != NULL);
		err_note_clear();
	} else {
		seen.right++;
		CHECK_EQ(got.bytes, size_of(message.no));
		CHECK(!got.bytes || memcmp(got.at, bytes, got.bytes) == 0);
	}
	buffer_free(&got);
}

/* All of it; damage does not end the walk. */
static void read_all(const struct archive_moment *moment)
{
	static struct box box;
	struct archive *archive = NULL;
	enum err e =
		archive_open(&store_dir, &world.account, clock_after(60 * NSEC_SECOND), &archive);

	seen = (struct seen){ 0 };
	if (!CHECK_OK(e))
		return;
	archive_on_damage(archive, tell, &seen);
	if (moment)
		archive_as_of(archive, moment);
	while (!(e = archive_mailbox_next(archive, &mailbox))) {
		while (!(e = archive_box_next(archive, &box)))
			seen.boxes++;
		CHECK_ERR(e, ERR_PIPE_ENDED);
		while (!(e = archive_message_next(archive, &message)))
			read_one(archive);
		CHECK_ERR(e, ERR_PIPE_ENDED);
		CHECK_TEXT(mailbox.name, "alice@mail.example.com");
	}
	CHECK_ERR(e, ERR_PIPE_ENDED);
	archive_close(&archive);
}

static void check_told(unsigned index, const char *key, const char *what)
{
	if (seen.told <= index || !strstr(seen.keys[index], key) ||
	    !strstr(seen.whats[index], what))
		test_failed(__FILE__, __LINE__, "%u told; %s: %s, not %s: %s", seen.told,
			    seen.keys[index], seen.whats[index], key, what);
}

static void check_seen(unsigned told, unsigned right, unsigned wrong)
{
	CHECK_EQ(seen.told, told);
	CHECK_EQ(seen.right, right);
	CHECK_EQ(seen.wrong, wrong);
}

/* A shell command in the mailbox's directory, or nothing where there is no such directory. It names
 * only what lies below. */
static void hurt(const char *command)
{
	char whole[600], output[100];

	snprintf(whole, sizeof whole, "cd %s/%s && { %s; }", world.path, MAILBOX_KEY_PATTERN,
		 command);
	if (shell(whole, output, sizeof output) != 0)
		test_failed(__FILE__, __LINE__, "%s: %s", whole, output);
}

/* Each run is a pack and a generation; messages 1, 2, 3 in the first, then one empty one each. */
static bool make(int level, unsigned runs)
{
	static unsigned made;
	char path[150];

	fill(bytes, sizeof bytes, 8);
	boxes[0] = box_named("INBOX", 1);
	boxes[1] = box_named("Sent", 2);
	snprintf(path, sizeof path, "%s/%u", test_directory(), ++made);
	world_begin(&world, path);
	world.config.zstd_level = level;
	for (unsigned i = 0; i < runs; i++) {
		world.config.next_seal_no = i + 1;
		if (!CHECK_OK(world_open(&world)) ||
		    !CHECK_OK(archive_sink.prepare(world.sink, &boxes[0])) ||
		    (i && !CHECK_OK(archive_sink.prepare(world.sink, &boxes[1]))))
			return false;
		for (uint64_t no = i ? 3 + i : 1; no <= 3 + i; no++)
			if (!CHECK_OK(world_put(&world, 1, no, bytes, size_of(no), 0)))
				return false;
		if (!CHECK_OK(world_finish(&world)))
			return false;
	}
	read_all(NULL);
	check_seen(0, 2 + runs, 0);
	return true;
}

/* ---- indexes ---- */

/* A frame's header has bits that mean nothing: those are the only ones not told. */
static void every_flip_is_survived(const char *file, unsigned right)
{
	unsigned told_in_all = 0;
	char path[400];
	struct stat stat_now;
	FILE *handle;
	glob_t found;

	snprintf(path, sizeof path, "%s/%s/%s", world.path, MAILBOX_KEY_PATTERN, file);
	REQUIRE(glob(path, 0, NULL, &found) == 0 && stat(found.gl_pathv[0], &stat_now) == 0);
	REQUIRE((handle = fopen(found.gl_pathv[0], "r+b")) != NULL);
	for (long at = 0; at < stat_now.st_size; at++) {
		int byte = (fseek(handle, at, SEEK_SET), fgetc(handle));

		fseek(handle, at, SEEK_SET);
		fputc(byte ^ 1 << at % 8, handle);
		fflush(handle);
		read_all(NULL);
		told_in_all += seen.told;
		if (seen.told > 1 || seen.right < right)
			test_failed(__FILE__, __LINE__, "byte %ld of %s: %u told, %u right", at,
				    file, seen.told, seen.right);
		fseek(handle, at, SEEK_SET);
		fputc(byte, handle);
		fflush(handle);
	}
	CHECK(told_in_all + 8 > stat_now.st_size);
	fclose(handle);
	globfree(&found);
	read_all(NULL);
	check_seen(0, 3, 0);
}

TEST_FIBER(an_index_damaged_in_any_byte_costs_no_message)
{
	REQUIRE(make(1, 1));
	every_flip_is_survived("index/000000000001.ndjson.zst", 3);
	world_end(&world);
}

TEST_FIBER(an_index_that_is_cut_or_gone_costs_no_message)
{
	for (int level = 0; level < 2; level++) {
		REQUIRE(make(level, 2));
		hurt("zstd -qdc index/000000000001.ndjson.zst >whole && head -n 1 whole >head && "
		     "rm -f index/000000000001.ndjson.zst && zstd -q head -o "
		     "index/000000000001.ndjson.zst");
		read_all(NULL);
		check_seen(1, 4, 0);
		check_told(0, "index/000000000001", "it has 0 lines, its first one says 3");
		hurt("rm -f index/000000000001.ndjson.zst && head -n 3 whole >head && zstd -q head "
		     "-o index/000000000001.ndjson.zst");
		read_all(NULL);
		check_seen(1, 4, 0);
		hurt("rm -f index/000000000001.ndjson.zst");
		read_all(NULL);
		check_seen(1, 4, 0);
		check_told(0, "index/000000000001", "it is missing");
		hurt("rm -f index/*");
		read_all(NULL);
		check_seen(2, 4, 0);
		world_end(&world);
	}
}

/* Page 0 of a process, which nobody has, reads as a bad sector does: EIO. */
TEST_FIBER(a_file_that_the_disk_cannot_read_is_told_and_passed_over)
{
	static struct faults faults;
	struct archive_check check;

	REQUIRE(make(1, 2));
	hurt("ln -sf /proc/self/mem index/000000000001.ndjson.zst");
	read_all(NULL);
	check_seen(1, 4, 0);
	check_told(0, "index/000000000001", "Input/output error");
	CHECK_ERR(world_verify(&world, &faults, &check), ERR_ARCHIVE_DAMAGED);
	CHECK(strstr(faults.first_key, "index/000000000001") != NULL);
	err_note_clear();
	world_end(&world);
}

/* Neither a manifest nor a pack that cannot be read ends a check: what comes behind it is named. */
TEST_FIBER(a_check_goes_on_behind_what_cannot_be_read)
{
	static struct faults faults;
	struct archive_check check;

	REQUIRE(make(1, 2));
	hurt("ln -sf /proc/self/mem manifest/000000000001.ndjson");
	CHECK_ERR(world_verify(&world, &faults, &check), ERR_ARCHIVE_DAMAGED);
	CHECK(strstr(faults.first_key, "manifest/000000000001") != NULL);
	CHECK_EQ(check.faults, 1);
	CHECK_EQ(check.messages, 4);
	err_note_clear();
	hurt("mkfifo fifo && mv fifo index/000000000001.ndjson.zst && "
	     "rm packs/000000000002.tar.zst && mkdir packs/000000000002.tar.zst");
	CHECK_ERR(world_verify(&world, &faults, &check), ERR_ARCHIVE_DAMAGED);
	CHECK_EQ(check.packs, 2);
	CHECK(strstr(faults.first_key, "index/000000000001") != NULL);
	err_note_clear();
	world_end(&world);
}

/* `zstd -d` leaves the pack beside what it made of it; an editor leaves a copy of what it opened.
 */
TEST_FIBER(a_pack_that_lies_there_in_two_forms_is_read_once)
{
	REQUIRE(make(1, 2));
	hurt("zstd -qd packs/000000000001.tar.zst && "
	     "cp index/000000000002.ndjson.zst index/000000000002.ndjson.zst.bak");
	read_all(NULL);
	check_seen(0, 4, 0);
	hurt("rm index/*.zst");
	read_all(NULL);
	CHECK_EQ(seen.right, 4);
	world_end(&world);
}

/* Between pack and index a run may be cut, and the next one writes it: nothing is damaged. */
TEST_FIBER(an_index_that_no_manifest_lists_may_be_missing)
{
	REQUIRE(make(1, 2));
	hurt("rm index/000000000002.ndjson.zst manifest/000000000002.ndjson");
	read_all(NULL);
	check_seen(0, 4, 0);
	CHECK_EQ(mailbox.packs, 2);
	CHECK_EQ(mailbox.messages, 4);
	world_end(&world);
}

/* Its lines are many frames, and so are the sums behind it. */
TEST_FIBER(a_large_index_is_read_from_inside_its_pack)
{
	REQUIRE(make(1, 1));
	world.config.next_seal_no = 2;
	REQUIRE(CHECK_OK(world_open(&world)) &&
		CHECK_OK(archive_sink.prepare(world.sink, &boxes[0])));
	for (uint64_t no = 4; no < 4 + MANY; no++)
		CHECK_OK(world_put(&world, 1, no, bytes, 0, 0));
	CHECK_OK(world_finish(&world));
	hurt("rm index/*");
	read_all(NULL);
	check_seen(2, 3 + MANY, 0);
	CHECK_EQ(message.no, 3 + MANY);
	world_end(&world);
}

/* ---- packs ---- */

TEST_FIBER(a_damaged_frame_beside_a_lost_index_costs_only_its_messages)
{
	for (int level = 0; level < 2; level++) {
		REQUIRE(make(level, 2));
		/* In the frame that messages 1 and 3 share (2 is empty); in the body of message 1.
		 */
		hurt(level ? "printf x | dd of=packs/000000000001.tar.zst bs=1 seek=100 "
			     "conv=notrunc 2>&1"
			   : "printf '\\001' | dd of=packs/000000000001.tar bs=1 seek=1600 "
			     "conv=notrunc 2>&1");
		read_all(NULL);
		check_seen(0, level ? 2 : 3, level ? 2 : 1);
		hurt("rm index/000000000001.ndjson.zst");
		read_all(NULL);
		check_seen(1, level ? 2 : 3, level ? 2 : 1);
		world_end(&world);
	}
}

/* As many frames as are looked at behind the messages, each the largest there is, all damaged: a
 * few kilobytes, opened once. Block by block this took more than half a minute. */
TEST_FIBER(a_small_pack_of_many_damaged_frames_costs_no_time)
{
	enum { FRAMES = 48 };
	static uint8_t zeros[ZSTD_FRAME_BYTES_MAX];
	uint8_t *frame = malloc(zstd_stage_bound(sizeof zeros)), entry[8];
	struct zstd_stage *zstd = NULL;
	char path[400];
	size_t n = 0;
	nsec begun;
	FILE *handle;

	REQUIRE(frame && make(1, 1));
	REQUIRE(CHECK_OK(zstd_stage_open(1, &zstd)) &&
		CHECK_OK(zstd_stage_frame(zstd, zeros, sizeof zeros, frame,
					  zstd_stage_bound(sizeof zeros), &n)));
	frame[n - 1] ^= 1; /* of its checksum, which is looked at last */
	snprintf(path, sizeof path, "%s/frames", world.path);
	REQUIRE((handle = fopen(path, "wb")) != NULL);
	for (unsigned i = 0; i < FRAMES; i++)
		fwrite(frame, n, 1, handle);
	bytes_put_le32(entry, 0x184D2A5E);
	bytes_put_le32(entry + 4, FRAMES * sizeof entry + 9);
	fwrite(entry, sizeof entry, 1, handle);
	bytes_put_le32(entry, (uint32_t)n);
	bytes_put_le32(entry + 4, sizeof zeros);
	for (unsigned i = 0; i < FRAMES; i++)
		fwrite(entry, sizeof entry, 1, handle);
	bytes_put_le32(entry, FRAMES);
	entry[4] = 0;
	fwrite(entry, 5, 1, handle);
	bytes_put_le32(entry, 0x8F92EAB1);
	fwrite(entry, 4, 1, handle);
	fclose(handle);
	hurt("mv ../frames packs/000000000001.tar.zst && rm index/000000000001.ndjson.zst");
	begun = clock_now();
	read_all(NULL);
	check_seen(2, 0, 0);
	check_told(1, "packs/000000000001", "no index that can be read");
	CHECK(clock_now() - begun < 10 * NSEC_SECOND);
	zstd_stage_close(&zstd);
	free(frame);
	world_end(&world);
}

TEST_FIBER(a_pack_that_is_gone_or_cut_is_told_and_the_others_are_read)
{
	REQUIRE(make(1, 2));
	hurt("mv packs/000000000001.tar.zst kept");
	read_all(NULL);
	check_seen(1, 1, 3);
	check_told(0, "packs/000000000001.tar.zst", "it is missing");
	hurt("head -c 500 kept >packs/000000000001.tar.zst");
	read_all(NULL);
	check_seen(1, 1, 3);
	check_told(0, "packs/000000000001.tar.zst", "it is 500 bytes long");
	hurt("rm index/000000000001.ndjson.zst");
	read_all(NULL);
	check_seen(2, 1, 0);
	check_told(1, "packs/000000000001.tar.zst", "its messages are not found");
	hurt("rm packs/000000000001.tar.zst");
	read_all(NULL);
	check_seen(1, 1, 0);
	check_told(0, "/packs", "counts 2 packs, 1 of them");
	world_end(&world);
}

/* ---- the other files ---- */

TEST_FIBER(a_damaged_manifest_costs_no_message_and_gives_way_to_the_one_before)
{
	const struct archive_moment second = { .generation = 2 };

	REQUIRE(make(1, 3));
	CHECK_EQ(seen.boxes, 2);
	hurt("printf x | dd of=manifest/000000000003.ndjson bs=1 seek=3 conv=notrunc 2>&1");
	read_all(NULL);
	check_seen(1, 5, 0);
	check_told(0, "manifest/000000000003", "first line");
	CHECK_EQ(seen.boxes, 2);
	CHECK_EQ(mailbox.packs, 3);
	hurt("rm manifest/000000000002.ndjson");
	read_all(NULL);
	check_seen(1, 5, 0);
	CHECK_EQ(seen.boxes, 1);
	read_all(&second);
	check_seen(1, 3, 0); /* as of the first: nobody knows where the second ended */
	check_told(0, "manifest/000000000002", "it is missing");
	hurt("rm manifest/*");
	read_all(NULL);
	check_seen(0, 5, 0);
	world_end(&world);
}

/* Each is told, and their names are listed once, not once for each. */
TEST_FIBER(very_many_damaged_manifests_give_way_to_the_first_that_can_be_read)
{
	nsec begun;

	REQUIRE(make(1, 1));
	hurt("seq -f 'manifest/%012.0f.ndjson' 3 3002 | xargs touch");
	begun = clock_now();
	read_all(NULL);
	check_seen(MANY, 3, 0);
	CHECK(clock_now() - begun < 10 * NSEC_SECOND);
	CHECK_EQ(mailbox.generation, 1);
	read_all(&(struct archive_moment){ .generation = 2 });
	check_seen(1, 3, 0);
	check_told(0, "manifest/000000000002", "it is missing");
	world_end(&world);
}

TEST_FIBER(a_manifest_cut_at_the_end_of_a_line_is_damage)
{
	REQUIRE(make(1, 2));
	hurt("head -n 2 manifest/000000000002.ndjson >cut && mv cut manifest/000000000002.ndjson");
	read_all(NULL);
	check_seen(1, 4, 0);
	check_told(0, "manifest/000000000002", "cut short");
	world_end(&world);
}

TEST_FIBER(a_mailbox_without_its_own_file_keeps_name_and_messages)
{
	static struct faults faults;
	struct archive_check check;

	REQUIRE(make(1, 1));
	hurt("echo >mailbox.json");
	read_all(NULL);
	check_seen(1, 3, 0);
	check_told(0, "/mailbox.json", "does not parse");
	hurt("rm mailbox.json");
	read_all(NULL);
	check_seen(1, 3, 0);
	check_told(0, "/mailbox.json", "it is missing");
	CHECK_ERR(world_verify(&world, &faults, &check), ERR_ARCHIVE_DAMAGED);
	CHECK(strstr(faults.first_key, "/mailbox.json") != NULL);
	err_note_clear();
	hurt("mkdir ../lost+found ../other");
	read_all(NULL);
	check_seen(1, 3, 0);
	hurt("echo >mailbox.json; rm index/*; echo >packs/000000000001.tar.zst");
	read_all(NULL);
	check_seen(1, 0, 0);
	check_told(0, "/mailbox.json", "does not parse");
	hurt("rm mailbox.json");
	read_all(NULL);
	check_seen(1, 0, 0);
	check_told(0, "/mailbox.json", "whose mailbox this is");
	/* A folder that cannot be listed may hold packs. */
	hurt("rm packs/*; rmdir packs; ln -s packs packs");
	CHECK_ERR(world_verify(&world, &faults, &check), ERR_ARCHIVE_DAMAGED);
	CHECK(strstr(faults.first_key, "/mailbox.json") != NULL);
	err_note_clear();
	hurt("rm packs");
	CHECK_OK(world_verify(&world, &faults, &check));
	world_end(&world);
}

/* How many mailboxes there are when only this one is asked for; what is damaged is told to `seen`.
 */
static unsigned mailboxes_named(const char *name)
{
	struct archive *archive = NULL;
	unsigned count = 0;
	enum err e =
		archive_open(&store_dir, &world.account, clock_after(60 * NSEC_SECOND), &archive);

	seen = (struct seen){ 0 };
	if (!CHECK_OK(e))
		return 0;
	archive_on_damage(archive, tell, &seen);
	CHECK_OK(archive_only(archive, name));
	while (!(e = archive_mailbox_next(archive, &mailbox)))
		count++;
	CHECK_ERR(e, ERR_PIPE_ENDED);
	archive_close(&archive);
	return count;
}

TEST_FIBER(only_the_mailbox_asked_for_is_read_and_told_of)
{
	REQUIRE(make(1, 1));
	hurt("mkdir -p ../bob-11111111/packs; echo >../bob-11111111/packs/000000000001.tar.zst; "
	     "echo >../bob-11111111/mailbox.json");
	read_all(NULL);
	check_seen(1, 3, 0);
	CHECK_EQ(mailboxes_named("alice@mail.example.com"), 1);
	CHECK_TEXT(mailbox.name, "alice@mail.example.com");
	CHECK_EQ(seen.told, 0);
	CHECK_EQ(mailboxes_named("carol@mail.example.com"), 0);
	CHECK_EQ(seen.told, 0);
	world_end(&world);
}

/* ---- changes ---- */

static enum err vanish(uint64_t no)
{
	const struct change change = {
		.kind = CHANGE_VANISHED, .box = &boxes[0], .epoch = boxes[0].epoch, .no = no
	};

	return archive_sink.amend(world.sink, &change);
}

/* How many changes and generations the history has. */
static void read_history(unsigned *generations, unsigned *changes)
{
	static struct archive_generation generation;
	static struct change_line change;
	struct archive_history *history = NULL;
	struct archive *archive = NULL;
	enum err e =
		archive_open(&store_dir, &world.account, clock_after(60 * NSEC_SECOND), &archive);

	seen = (struct seen){ 0 };
	*generations = *changes = 0;
	REQUIRE(CHECK_OK(e));
	archive_on_damage(archive, tell, &seen);
	REQUIRE(CHECK_OK(archive_mailbox_next(archive, &mailbox)) &&
		CHECK_OK(archive_history_open(archive, &mailbox, &history)));
	while (!(e = archive_history_next(history, &generation))) {
		++*generations;
		while (!(e = archive_history_change(history, &change)))
			++*changes;
		CHECK_ERR(e, ERR_PIPE_ENDED);
	}
	CHECK_ERR(e, ERR_PIPE_ENDED);
	archive_history_close(&history);
	archive_close(&archive);
}

TEST_FIBER(each_damaged_or_missing_object_of_changes_is_told_and_the_others_hold)
{
	unsigned generations, changes;

	REQUIRE(make(1, 1));
	for (uint64_t no = 1; no <= 3; no++) {
		world.config.next_seal_no = no + 1;
		REQUIRE(CHECK_OK(world_open(&world)) &&
			CHECK_OK(archive_sink.prepare(world.sink, &boxes[0])));
		CHECK_OK(vanish(no));
		CHECK_OK(world_finish(&world));
	}
	read_history(&generations, &changes);
	CHECK_EQ(generations, 4);
	CHECK_EQ(changes, 3);
	hurt("echo >changes/000000000001.ndjson.zst; rm changes/000000000003.ndjson.zst");
	read_all(NULL);
	check_seen(2, 3, 0);
	check_told(0, "changes/000000000001", "cannot be opened");
	check_told(1, "changes/000000000003", "it is missing");
	read_history(&generations, &changes);
	CHECK_EQ(generations, 4);
	CHECK_EQ(changes, 1);
	CHECK_EQ(seen.told, 2);
	hurt("echo >manifest/000000000003.ndjson");
	read_history(&generations, &changes);
	CHECK_EQ(generations, 3);
	CHECK_EQ(changes, 0);
	CHECK_EQ(seen.told, 3);
	world_end(&world);
}
