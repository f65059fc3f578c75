/* An archive as a reader finds it, every file of it the input's: listed, read by its indexes, and
 * verified whole. The input is a row of files: which (FILES), its length in two bytes, the lower
 * first, its bytes. Plain variants stand beside compressed ones, because no mutation of a
 * compressed byte makes a sensible plain one. */
#include <stdlib.h>

#include "engine/clock.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/store_memory.h"
#include "transport/archive.h"
#include "transport/archive_catalogue.h"

#define MAILBOX "alice_mail.example.com-97b7a10a/"
static const char *const FILES[] = {
	"mailhaul-archive.json",
	MAILBOX "mailbox.json",
	MAILBOX "index/000000000001.ndjson.zst",
	MAILBOX "manifest/000000000001.ndjson",
	MAILBOX "packs/000000000001.tar.zst",
	MAILBOX "index/000000000002.ndjson",
	MAILBOX "manifest/000000000002.ndjson",
	MAILBOX "packs/000000000002.tar",
	MAILBOX "index/stray",
	"stray",
	MAILBOX "changes/000000000001.ndjson.zst",
	MAILBOX "changes/000000000002.ndjson.zst",
	MAILBOX "changes/stray",
};
enum { WALK_MAX = 2000 };
#define PATIENCE (600 * NSEC_SECOND)

static void fill(struct store_memory *store, struct text input)
{
	while (input.bytes >= 3) {
		unsigned which = fuzz_take_byte(&input) % ARRAY_COUNT(FILES);
		size_t low = fuzz_take_byte(&input), n = low | (size_t)fuzz_take_byte(&input) << 8;

		n = min_u64(n, input.bytes);
		store_memory_put(store, FILES[which], (struct text){ input.at, n });
		input.at += n;
		input.bytes -= n;
	}
}

static enum err count_bytes(void *context, const void *at, size_t n)
{
	must(at && n > 0);
	*(uint64_t *)context += n;
	return OK;
}

static void read_messages(struct archive *archive)
{
	struct archive_message *message = calloc(1, sizeof *message);
	enum err e = OK;

	must(message);
	for (unsigned i = 0; i < WALK_MAX && (!e || e == ERR_ARCHIVE_DAMAGED); i++) {
		uint64_t bytes = 0;

		err_note_clear();
		if ((e = archive_message_next(archive, message)))
			continue;
		must(memchr(message->box, '\0', sizeof message->box));
		if (archive_message_read(archive, message, count_bytes, &bytes) == OK)
			must(bytes == message->size_bytes);
	}
	free(message);
}

static void read_boxes(struct archive *archive)
{
	struct box *box = calloc(1, sizeof *box);

	must(box);
	for (unsigned i = 0; i < WALK_MAX && archive_box_next(archive, box) == OK; i++)
		must(memchr(box->name, '\0', sizeof box->name));
	err_note_clear();
	free(box);
}

static void told(void *context, const char *key, const char *what)
{
	must(key && what && what[0]);
	++*(uint64_t *)context;
}

/* Each walk, with somebody to tell of damage (then none of it is an error) and without. */
static void walk(const struct account *account, bool tells)
{
	struct archive_mailbox *mailbox = calloc(1, sizeof *mailbox);
	struct archive *archive = NULL;
	uint64_t faults = 0;
	enum err e = archive_open(&store_memory, account, clock_after(PATIENCE), &archive);

	must(mailbox);
	if (!e && tells)
		archive_on_damage(archive, told, &faults);
	while (!e && !(e = archive_mailbox_next(archive, mailbox))) {
		read_boxes(archive);
		read_messages(archive);
	}
	must(!archive || !tells || e == ERR_PIPE_ENDED);
	err_note_clear();
	archive_close(&archive);
	free(mailbox);
}

static void check_all(struct archive *archive)
{
	struct archive_check check = { 0 };
	uint64_t faults = 0;
	enum err e = archive_verify(archive, told, &faults, &check);

	must(faults == check.faults);
	must(e != OK || faults == 0);
	must(e != ERR_ARCHIVE_DAMAGED || faults > 0);
	err_note_clear();
}

static void check_folder(const struct archive_catalogue *catalogue, size_t index,
			 struct archive_message *message)
{
	const struct archive_folder *folder = archive_catalogue_folder(catalogue, index);
	uint64_t before = 0;

	must(folder->end - folder->first <= folder->messages);
	must(archive_catalogue_find(catalogue, folder->raw) != SIZE_MAX);
	for (size_t place = folder->first; place < folder->end; place++) {
		const struct archive_key *key = archive_catalogue_key(catalogue, place);

		must(key->no > before && key->no < folder->next_no && key->folder == index);
		must(archive_catalogue_seek(catalogue, index, key->no) == place);
		must(archive_catalogue_seek(catalogue, index, before + 1) == place);
		archive_catalogue_message(catalogue, key, message);
		must(message->no == key->no && strcmp(message->box, folder->name) == 0);
		before = key->no;
	}
}

/* By folder and key, as the source of a copy reads it. */
static void walk_by_keys(const struct account *account, bool vanished)
{
	struct archive_message *message = calloc(1, sizeof *message);
	struct archive_catalogue *catalogue = NULL;
	struct archive *archive = NULL;
	enum err e = archive_open(&store_memory, account, clock_after(PATIENCE), &archive);

	must(message);
	if (!e && !(e = archive_catalogue_open(archive, vanished, &catalogue)))
		for (size_t i = 0; i < archive_catalogue_folders(catalogue); i++)
			check_folder(catalogue, i, message);
	must(!archive || !e || e == ERR_PIPE_ENDED);
	err_note_clear();
	archive_catalogue_close(&catalogue);
	archive_close(&archive);
	free(message);
}

FUZZ_FIBER(archive)
{
	const struct account account = { .scheme = "memory", .path = "/", .shown = "memory:///" };
	struct archive *archive = NULL;
	struct store_memory store;

	store_memory_init(&store);
	fill(&store, input);
	walk(&account, true);
	walk(&account, false);
	walk_by_keys(&account, false);
	walk_by_keys(&account, true);
	if (archive_open(&store_memory, &account, clock_after(PATIENCE), &archive) == OK)
		check_all(archive);
	err_note_clear();
	archive_close(&archive);
}
