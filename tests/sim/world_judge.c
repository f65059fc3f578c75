/* What must hold in the simulated world when a run went to its end, whatever happened before: none
 * lost, none doubled, every byte and fact as the server has it, the ledger in bold states only,
 * nothing unfinished left behind. What was deleted meanwhile may be there, once; what is in a
 * folder that was replaced by another one of its name, too, if the ledger says that it was refused.
 * Reads the archive as `mailhaul extract` and `verify` do. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/clock.h"
#include "engine/shard.h"
#include "tests/sim/world_bucket.h"
#include "transport/archive.h"

struct judge {
	struct world *world;
	struct archive *archive;
	unsigned seen[IMAP_MODEL_BOXES_MAX][IMAP_MODEL_MESSAGES_MAX];
	unsigned seen_box[IMAP_MODEL_BOXES_MAX];
	bool refused[IMAP_MODEL_BOXES_MAX];
	uint64_t seen_all;
	/* the message being read */
	const struct imap_model_message *message;
	uint64_t read;
	bool differs;
};

void world_fault(struct world *world, const char *format, ...)
{
	va_list arguments;

	world->result->faults++;
	printf("  judge: ");
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	printf("\n");
}

/* ---- messages ---- */

static int box_index(const struct imap_model *model, const char *name)
{
	for (unsigned i = 0; i < model->boxes_count; i++)
		if (strcmp(model->boxes[i].name, name) == 0)
			return (int)i;
	return -1;
}

static int message_index(const struct imap_model_box *box, uint64_t uid)
{
	for (unsigned i = 0; i < box->messages_count; i++)
		if (box->messages[i].uid == uid)
			return (int)i;
	return -1;
}

static enum err compare(void *context, const void *from, size_t n)
{
	struct judge *judge = context;
	const struct imap_model_message *message = judge->message;

	if (judge->read + n > message->length ||
	    (n && memcmp(message->bytes + judge->read, from, n) != 0))
		judge->differs = true;
	judge->read += n;
	return OK;
}

void world_flags(const char *flags, struct mail_meta *meta)
{
	static const struct {
		const char *name;
		uint32_t bit;
	} system_flags[] = { { "\\Seen", MAIL_SEEN },
			     { "\\Answered", MAIL_ANSWERED },
			     { "\\Flagged", MAIL_FLAGGED },
			     { "\\Deleted", MAIL_DELETED },
			     { "\\Draft", MAIL_DRAFT } };
	const char *keyword = strchr(flags, '$');

	for (unsigned i = 0; i < ARRAY_COUNT(system_flags); i++)
		meta->flags |= strstr(flags, system_flags[i].name) ? system_flags[i].bit : 0;
	if (keyword) { /* the scenarios' come last */
		meta->keywords_bytes = (uint16_t)strlen(keyword);
		bytes_copy(meta->keywords, keyword, strlen(keyword), BYTES_META);
	}
}

static void judge_meta(struct judge *judge, const struct archive_message *found, const char *what)
{
	static struct mail_meta expected;
	const struct mail_meta *meta = &found->meta;

	expected = (struct mail_meta){ 0 };
	world_flags(judge->message->flags, &expected);
	if (meta->flags != expected.flags)
		world_fault(judge->world, "%s has flags %x, not %x", what, meta->flags,
			    expected.flags);
	if (!text_equal((struct text){ meta->keywords, meta->keywords_bytes },
			(struct text){ expected.keywords, expected.keywords_bytes }))
		world_fault(judge->world, "%s has keywords \"%.*s\"", what, meta->keywords_bytes,
			    meta->keywords);
	must(mail_date_parse(text_of(judge->message->date), &expected.date));
	if (!meta->date.known || meta->date.seconds != expected.date.seconds ||
	    meta->date.zone_minutes != expected.date.zone_minutes)
		world_fault(judge->world, "%s has another date than \"%s\"", what,
			    judge->message->date);
}

static void judge_message(struct judge *judge, const struct archive_message *found)
{
	int b = box_index(&judge->world->imap, found->box), m = -1;
	const struct imap_model_box *box = b < 0 ? NULL : &judge->world->imap.boxes[b];
	char what[200];
	enum err e;

	snprintf(what, sizeof what, "message %llu of \"%.100s\"", (unsigned long long)found->no,
		 found->box);
	if (box)
		m = message_index(box, found->no);
	if (m < 0) {
		world_fault(judge->world, "%s was never on the server", what);
		return;
	}
	judge->seen[b][m]++;
	judge->seen_all++;
	judge->message = &box->messages[m];
	judge->read = 0;
	judge->differs = false;
	judge_meta(judge, found, what);
	e = archive_message_read(judge->archive, found, compare, judge);
	if (e)
		world_fault(judge->world, "%s cannot be read: %s %s", what, err_name(e),
			    err_note()->text);
	else if (judge->differs || judge->read != judge->message->length)
		world_fault(judge->world, "%s has other bytes than on the server", what);
	err_note_clear();
}

/* Copies of a message, under this number and those it had before. */
static unsigned copies_of(const struct judge *judge, unsigned b, unsigned m)
{
	const struct imap_model_box *box = &judge->world->imap.boxes[b];
	unsigned copies = 0;

	for (int i = (int)m; i >= 0; i = box->messages[i].was)
		copies += judge->seen[b][i];
	return copies;
}

static void judge_counts(struct judge *judge)
{
	const struct imap_model *model = &judge->world->imap;

	for (unsigned b = 0; b < model->boxes_count; b++) {
		const struct imap_model_box *box = &model->boxes[b];

		if (judge->seen_box[b] > 1 || (judge->seen_box[b] == 0 && !box->gone))
			world_fault(judge->world, "folder \"%s\" is there %u times", box->name,
				    judge->seen_box[b]);
		for (unsigned m = 0; m < box->messages_count; m++) {
			bool optional = box->messages[m].gone || judge->refused[b];
			unsigned copies = copies_of(judge, b, m);

			if (copies > 1 || (copies == 0 && !optional))
				world_fault(judge->world, "message %u of \"%s\" is there %u times",
					    box->messages[m].uid, box->name, copies);
		}
	}
}

/* ---- the archive ---- */

static enum err judge_boxes(struct judge *judge)
{
	struct box *box = calloc(1, sizeof *box);
	enum err e;
	int index;

	must(box);
	while ((e = archive_box_next(judge->archive, box)) == OK) {
		index = box_index(&judge->world->imap, box->name);
		if (index < 0)
			world_fault(judge->world, "folder \"%s\" was never on the server",
				    box->name);
		else
			judge->seen_box[index]++;
	}
	free(box);
	return e == ERR_PIPE_ENDED ? OK : e;
}

static enum err judge_messages(struct judge *judge)
{
	struct archive_message *found = calloc(1, sizeof *found);
	enum err e;

	must(found);
	while ((e = archive_message_next(judge->archive, found)) == OK)
		judge_message(judge, found);
	free(found);
	return e == ERR_PIPE_ENDED ? OK : e;
}

static enum err judge_mailboxes(struct judge *judge)
{
	struct archive_mailbox *mailbox = calloc(1, sizeof *mailbox);
	unsigned count = 0;
	enum err e;

	must(mailbox);
	while ((e = archive_mailbox_next(judge->archive, mailbox)) == OK) {
		count++;
		if ((e = judge_boxes(judge)) || (e = judge_messages(judge)))
			break;
	}
	free(mailbox);
	if (e != ERR_PIPE_ENDED)
		return e;
	if (count != 1)
		world_fault(judge->world, "the archive has %u mailboxes", count);
	return OK;
}

static void verify_fault(void *context, const char *key, const char *what)
{
	struct judge *judge = context;

	world_fault(judge->world, "verify says of %s: %s", key, what);
}

static enum err judge_archive(struct judge *judge)
{
	struct account account = world_place(judge->world);
	struct archive_check check;
	enum err e = archive_open(store_driver_of(account.scheme), &account,
				  clock_after(account.io_timeout), &judge->archive);

	if (e)
		return e;
	if ((e = judge_mailboxes(judge)) == OK)
		e = archive_verify(judge->archive, verify_fault, judge, &check);
	archive_close(&judge->archive);
	return e;
}

/* ---- the ledger and what lies about ---- */

static void judge_totals(struct judge *judge, const struct ledger_totals *totals)
{
	const struct imap_model *model = &judge->world->imap;
	unsigned boxes = model->boxes_count, gone = 0, refused = 0;

	for (unsigned i = 0; i < boxes; i++) {
		gone += model->boxes[i].gone;
		refused += judge->refused[i];
	}
	if (totals->messages[LEDGER_MOVED] != judge->seen_all || totals->boxes > boxes ||
	    totals->boxes < boxes - gone)
		world_fault(judge->world,
			    "the ledger knows %llu moved messages of %llu, %llu folders of %u",
			    (unsigned long long)totals->messages[LEDGER_MOVED],
			    (unsigned long long)judge->seen_all, (unsigned long long)totals->boxes,
			    boxes);
	if (totals->messages[LEDGER_SKIPPED] || totals->messages[LEDGER_DOUBTFUL] ||
	    totals->messages[LEDGER_WITHDRAWN])
		world_fault(judge->world,
			    "the ledger has %llu skipped, %llu doubtful, %llu withdrawn messages",
			    (unsigned long long)totals->messages[LEDGER_SKIPPED],
			    (unsigned long long)totals->messages[LEDGER_DOUBTFUL],
			    (unsigned long long)totals->messages[LEDGER_WITHDRAWN]);
	if ((totals->ranges_open && !refused && !gone) || totals->seals_open)
		world_fault(judge->world, "the ledger has %llu open ranges, %llu open seals",
			    (unsigned long long)totals->ranges_open,
			    (unsigned long long)totals->seals_open);
}

/* Folders that the last run left out: only those that are not what they were may be among them. */
static enum err judge_refused(struct judge *judge, struct ledger *ledger, uint64_t mailbox_no)
{
	struct ledger_exception *exception = calloc(1, sizeof *exception);
	enum err e;
	int b;

	must(exception);
	while ((e = ledger_exception_next(ledger, mailbox_no, exception)) == OK) {
		b = box_index(&judge->world->imap, exception->box_name);
		if (exception->no == 0 && b >= 0 && judge->world->imap.boxes[b].may_be_refused)
			judge->refused[b] = true;
		else
			world_fault(judge->world,
				    "the ledger has an exception: message %llu of \"%s\", %s",
				    (unsigned long long)exception->no, exception->box_name,
				    exception->reason_name);
	}
	free(exception);
	return e == ERR_PIPE_ENDED ? OK : e;
}

static enum err judge_ledger(struct judge *judge)
{
	nsec until = clock_after(600 * NSEC_SECOND);
	struct ledger_mailbox mailbox;
	struct ledger_totals totals;
	struct ledger *ledger;
	enum err e = ledger_open(world_state_path, until, &ledger);

	if (e)
		return e;
	e = ledger_mailbox(ledger, world_source(judge->world), world_place(judge->world).shown,
			   "blake3", &mailbox);
	if (!e)
		e = ledger_totals(ledger, mailbox.mailbox_no, &totals);
	if (!e)
		e = judge_refused(judge, ledger, mailbox.mailbox_no);
	if (!e) {
		judge_totals(judge, &totals);
		judge_counts(judge);
	}
	ledger_close(&ledger);
	return e;
}

static enum err judge_all(void *argument)
{
	struct judge *judge = argument;
	struct world_bucket *bucket = judge->world->bucket;
	enum err e;

	if (bucket)
		world_bucket_begin(bucket, NULL);
	e = judge_archive(judge); /* first: what it has is compared with the ledger */
	if (bucket) {
		world_bucket_end(bucket);
		world_bucket_judge(judge->world);
	}
	if (e)
		world_fault(judge->world, "reading the archive: %s %s", err_name(e),
			    err_note()->text);
	err_note_clear();
	e = judge_ledger(judge);
	if (e)
		world_fault(judge->world, "reading the ledger: %s %s", err_name(e),
			    err_note()->text);
	err_note_clear();
	return OK;
}

/* ---- in a process of its own ---- */

struct judging {
	enum err (*judge)(void *argument);
	void *argument;
};

/* A name under which only unfinished things lie. */
static bool is_temporary(const char *path)
{
	size_t n = strlen(path);

	return strstr(path, "/.tmp/") ||
	       (n > 4 && strcmp(path + n - 4, ".tmp") == 0 && (n < 5 || path[n - 5] != '/'));
}

static void judge_name(void *world, const char *path, int node)
{
	(void)node;
	if (is_temporary(path))
		world_fault(world, "%s was left behind", path);
}

static enum err judge_body(struct world *world, void *argument)
{
	const struct judging *judging = argument;

	disk_walk(world->disk, "", judge_name, world);
	return shard_run(&(struct shard_config){ 0 }, judging->judge, judging->argument);
}

bool world_judge_by(struct world *world, enum err (*judge)(void *argument), void *argument)
{
	struct judging judging = { judge, argument };
	struct world_mark before = world_mark(world);
	const struct world_result *result = world_process(world, judge_body, &judging);
	bool good = result->end == WORLD_FINISHED && !result->error && !result->faults &&
		    !result->open_files;

	if (!good)
		world_show(world, "the judge");
	world_back(world, &before);
	world_mark_free(&before);
	return good;
}

bool world_judge(struct world *world)
{
	struct judge *judge;
	bool good;

	if (world->target)
		return world_judge_target(world);
	judge = calloc(1, sizeof *judge);
	must(judge);
	judge->world = world;
	good = world_judge_by(world, judge_all, judge);
	free(judge);
	return good;
}
