/* Extracting into a Maildir, cut at every step: what has a name in cur is whole, and the next run
 * writes what is missing, each message once. What a mail server makes of it is
 * tests/real/dovecot_test's.
 *
 *	make sim SEED=41 MAILDIR=17    the extraction is cut before that step */
#include <stdlib.h>

#include "crypto/digest.h"
#include "engine/clock.h"
#include "engine/shard.h"
#include "tests/sim/world.h"
#include "tests/test.h"
#include "tools/maildir.h"

enum { SEED_USUAL = 41, CUTS_STEP = SANITIZED ? 3 : 1 };

static const char target[] = "/mail/out";

/* ---- the process: as `mailhaul extract --maildir` does it ---- */

struct extraction {
	struct tap *digest;
	struct maildir *maildir;
	struct archive *archive;
	struct archive_mailbox mailbox;
	struct archive_message message;
	struct box box;
};

static enum err extract_messages(struct extraction *extraction)
{
	bool present;
	enum err e;

	while (!(e = archive_box_next(extraction->archive, &extraction->box)))
		if ((e = maildir_add_box(extraction->maildir, &extraction->box)))
			return e;
	if (e != ERR_PIPE_ENDED)
		return e;
	while (!(e = archive_message_next(extraction->archive, &extraction->message)))
		if ((e = maildir_add(extraction->maildir, extraction->archive, &extraction->message,
				     &present)))
			return e;
	return e == ERR_PIPE_ENDED ? maildir_finish(extraction->maildir) : e;
}

static enum err extract_fiber(void *argument)
{
	struct extraction *extraction = argument;
	struct account account = world_archive_account();
	struct maildir_config config = { .path = target };
	enum err e = digest_open(digest_type(text_of("blake3")), &extraction->digest);

	config.digest = extraction->digest;
	if (!e &&
	    !(e = archive_open(&store_dir, &account, clock_after(account.io_timeout),
			       &extraction->archive)) &&
	    !(e = archive_mailbox_next(extraction->archive, &extraction->mailbox)) &&
	    !(e = maildir_open(&config, &extraction->maildir)))
		e = extract_messages(extraction);
	maildir_close(&extraction->maildir);
	archive_close(&extraction->archive);
	if (extraction->digest)
		extraction->digest->type->close(&extraction->digest);
	return e;
}

static enum err extract_body(struct world *world, void *argument)
{
	static struct extraction extraction;

	(void)world, (void)argument;
	return shard_run(&(struct shard_config){ .arena_chunks = 1 }, extract_fiber, &extraction);
}

/* ---- looking from outside ---- */

struct look {
	struct world *world;
	bool is_last; /* nothing may be missing, or lie in tmp */
	bool used[IMAP_MODEL_BOXES_MAX][IMAP_MODEL_MESSAGES_MAX];
	unsigned faults;
};

static void fault(struct look *look, const char *path, const char *what)
{
	look->faults++;
	printf("  %s %s\n", path, what);
}

/* Which folder of the model lies in this directory; -1: none. */
static int box_of(const struct world *world, const char *path)
{
	char directory[300];

	for (unsigned i = 0; i < world->imap.boxes_count; i++) {
		const struct imap_model_box *box = &world->imap.boxes[i];
		char dotted[IMAP_MODEL_NAME_BYTES_MAX + 2] = "";

		if (strcmp(box->name, "INBOX") != 0)
			snprintf(dotted, sizeof dotted, "/.%s", box->raw);
		for (char *slash = dotted + 1; (slash = strchr(slash, '/'));)
			*slash = '.';
		snprintf(directory, sizeof directory, "%s%s/cur/", target, dotted);
		if (strncmp(path, directory, strlen(directory)) == 0)
			return (int)i;
	}
	return -1;
}

static bool is_message(struct disk *disk, int node, const struct imap_model_message *message)
{
	uint8_t *bytes = malloc(message->length + 1);
	bool same;

	must(bytes);
	same = disk_read(disk, node, bytes, message->length + 1, 0) == (int64_t)message->length &&
	       (!message->length || memcmp(bytes, message->bytes, message->length) == 0);
	free(bytes);
	return same;
}

static void look_at_file(void *context, const char *path, int node)
{
	struct look *look = context;
	int b;

	if (disk_fact(look->world->disk, node).is_directory)
		return;
	if (strstr(path, "/tmp/")) {
		if (look->is_last)
			fault(look, path, "was left behind");
		return;
	}
	if (!strstr(path, "/cur/"))
		return; /* maildirfolder, subscriptions, dovecot-keywords */
	b = box_of(look->world, path);
	for (unsigned m = 0; b >= 0 && m < look->world->imap.boxes[b].messages_count; m++)
		if (!look->used[b][m] &&
		    is_message(look->world->disk, node, &look->world->imap.boxes[b].messages[m])) {
			look->used[b][m] = true;
			return;
		}
	fault(look, path, "is no message of that folder, or one too many");
}

static bool is_well(struct world *world, bool is_last)
{
	struct look look = { .world = world, .is_last = is_last };

	disk_walk(world->disk, target, look_at_file, &look);
	for (unsigned b = 0; is_last && b < world->imap.boxes_count; b++)
		for (unsigned m = 0; m < world->imap.boxes[b].messages_count; m++)
			if (!look.used[b][m])
				fault(&look, world->imap.boxes[b].name, "lacks a message");
	return look.faults == 0;
}

static bool next_run_completes(struct world *world)
{
	const struct world_result *result = world_process(world, extract_body, NULL);

	if (result->end != WORLD_FINISHED || result->error || result->open_files) {
		world_show(world, "the next extraction");
		return false;
	}
	return is_well(world, true);
}

/* ---- */

static bool survives(struct world *world, const struct world_mark *start, uint64_t k)
{
	world_back(world, start);
	world_cut_at(world, k);
	if (world_process(world, extract_body, NULL)->end != WORLD_CUT)
		return CHECK(world->result->end == WORLD_FINISHED), true;
	return is_well(world, false) && next_run_completes(world);
}

TEST(an_extraction_into_a_maildir_is_gone_on_with_after_a_cut_at_any_step)
{
	const char *only = getenv("MAILDIR");
	struct world *world = world_open(world_seed(SEED_USUAL));
	struct world_mark start;
	uint64_t steps, k = only ? strtoull(only, NULL, 10) : 1;
	unsigned cuts = 0;

	world_fill(world);
	must(world_copy(world)->end == WORLD_FINISHED && world->result->error == OK);
	start = world_mark(world);
	CHECK(next_run_completes(world));
	steps = world->result->steps;
	CHECK(next_run_completes(world)); /* with nothing to do */
	for (; k <= (only ? k : steps); k += CUTS_STEP) {
		cuts++;
		if (!survives(world, &start, k)) {
			test_failed(__FILE__, __LINE__, "repeat: make sim SEED=%llu MAILDIR=%llu",
				    (unsigned long long)world->seed, (unsigned long long)k);
			break;
		}
		if (only)
			break;
	}
	printf("  %u of %llu steps cut\n", cuts, (unsigned long long)steps);
	world_mark_free(&start);
	world_close(&world);
}
