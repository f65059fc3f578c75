/* The standard mailbox of the simulated world, and the process that copies it: the same composition
 * as `mailhaul copy`, without its command line and report. */
#include <stdio.h>
#include <stdlib.h>

#include "crypto/digest.h"
#include "crypto/secret.h"
#include "engine/filter.h"
#include "engine/clock.h"
#include "engine/shard.h"
#include "tests/sim/sim.h"
#include "tests/sim/world_bucket.h"
#include "transport/gmail_labels.h"

#define SOURCE(symbol, scheme, what) extern const struct source_driver symbol##_source;
#define SINK(symbol, scheme, what)   extern const struct sink_driver symbol##_sink;
#include "transport/drivers.def"
#undef SOURCE
#undef SINK

#define LEDGER_TIMEOUT (120 * NSEC_SECOND)
#define FINISH_TIMEOUT (10 * NSEC_SECOND)

/* ---- the mailbox ---- */

/* Low entropy, as mail is; every line numbered, so a piece in the wrong place is seen. */
void world_make_mail(struct world *world, const char *subject, size_t bytes, struct buffer *to)
{
	static const char *const words[] = { "lorem", "ipsum", "dolor", "sit", "amet", "\xc3\xbc" };
	uint64_t state = world->seed * 2654435761u + bytes;

	buffer_addf(to,
		    "From: alice@example.org\r\nTo: bob@example.net\r\nSubject: %s\r\n"
		    "Message-ID: <%zu.%s@example.org>\r\nMIME-Version: 1.0\r\n\r\n",
		    subject, bytes, subject);
	for (unsigned line = 0; to->bytes < bytes; line++) {
		buffer_addf(to, "%06u", line);
		for (unsigned i = 0; i < 9; i++) {
			state = state * 6364136223846793005u + 1442695040888963407u;
			buffer_addf(to, " %s", words[(state >> 33) % ARRAY_COUNT(words)]);
		}
		buffer_add_text(to, "\r\n");
	}
	must(!to->failed);
}

static void add(struct world *world, struct imap_model_box *box, const char *flags,
		const char *date, const char *subject, size_t bytes)
{
	struct buffer mail = { 0 };

	world_make_mail(world, subject, bytes, &mail);
	(void)imap_model_add_message(box, flags, date, mail.at, mail.bytes);
	buffer_free(&mail);
}

void world_fill(struct world *world)
{
	struct imap_model_box *box = imap_model_add_box(&world->imap, "INBOX", "INBOX", "");

	add(world, box, "\\Seen", "17-Jul-1996 02:44:25 -0700", "first", 600);
	add(world, box, "\\Seen \\Answered", "01-Jan-2014 00:00:00 +0000", "twin", 9000);
	add(world, box, "\\Seen \\Answered", "01-Jan-2014 00:00:00 +0000", "twin", 9000);
	box->next_uid = 7; /* three were deleted */
	(void)imap_model_add_message(box, "", " 9-Feb-2020 23:59:59 +0530", "", 0);
	add(world, box, "\\Flagged $Forwarded", "29-Feb-2016 12:00:00 +0100", "large",
	    STAGE_BYTES_MAX + 150000);
	add(world, box, "", "31-Dec-1999 23:59:59 -1200", "after", 40000);
	(void)imap_model_add_box(&world->imap, "Empty", "Empty", "");
	box = imap_model_add_box(&world->imap, "Sent/Entw&APw-rfe", "Sent/Entw\xc3\xbcrfe",
				 "\\Drafts");
	add(world, box, "\\Draft", "28-Mar-2021 02:30:00 +0200", "last", 3000);
}

/* ---- the process ---- */

struct copy {
	struct world *world;
	struct ledger *ledger;
	struct secret *password;
	struct tap *digest, *store_digest;
};

struct account world_archive_account(void)
{
	return (struct account){ .scheme = "file",
				 .user = "",
				 .host = "",
				 .path = world_archive_path,
				 .shown = "file:///mail/archive",
				 .io_timeout = 60 * NSEC_SECOND,
				 .connect_timeout = 30 * NSEC_SECOND };
}

static bool is_from_bucket(const struct world *world)
{
	return world->bucket && world->bucket->is_source;
}

struct account world_place(const struct world *world)
{
	return world->bucket && !is_from_bucket(world) ? world_bucket_account(world->bucket)
						       : world_archive_account();
}

const char *world_source(const struct world *world)
{
	return is_from_bucket(world) ? world_bucket_account(world->bucket).shown
				     : world_source_shown;
}

static struct account source_account(const struct world *world, const struct secret *password)
{
	return (struct account){ .scheme = "imaps",
				 .user = world->imap.user,
				 .host = "127.0.0.1",
				 .port = WORLD_PORT,
				 .path = "/",
				 .shown = world_source_shown,
				 .password = password,
				 .io_timeout = 60 * NSEC_SECOND,
				 .connect_timeout = 30 * NSEC_SECOND };
}

struct account world_target_account(const struct secret *password)
{
	return (struct account){ .scheme = "imaps",
				 .user = "bob",
				 .host = "127.0.0.2",
				 .port = WORLD_TARGET_PORT,
				 .path = "/",
				 .shown = world_target_shown,
				 .password = password,
				 .io_timeout = 60 * NSEC_SECOND,
				 .connect_timeout = 30 * NSEC_SECOND };
}

/* What the world wants only part of. */
static enum err make_filter(const struct world *world, struct filter **filter)
{
	enum err e = OK;

	*filter = NULL;
	if (!world->max_bytes && !world->left_out_box)
		return OK;
	if ((e = filter_open(NULL, filter)))
		return e;
	filter_sizes(*filter, 0, world->max_bytes);
	return world->left_out_box ? filter_exclude_folder(*filter, world->left_out_box) : OK;
}

static enum err open_labels(const struct world *world, struct labels **labels)
{
	enum gmail_rule rule;

	if (!world->labels)
		return OK;
	must(gmail_rule_from_name(text_of(world->labels), &rule));
	return gmail_labels_open(rule, false, labels);
}

static enum err run_lane(struct copy *copy)
{
	struct world *world = copy->world;
	struct filter *filter = NULL;
	enum err e = make_filter(world, &filter);
	struct account source = is_from_bucket(world) ? world_bucket_account(world->bucket)
						      : source_account(world, copy->password);
	struct account target =
		world->target ? world_target_account(copy->password) : world_place(world);
	struct lane_config lane = { .source =
					    is_from_bucket(world) ? &archive_source : &imap_source,
				    .connections = world->connections,
				    .source_account = &source,
				    .sink = world->sink ? world->sink : &archive_sink,
				    .sink_account = &target,
				    .sink_config = { .mailbox_name = "alice@127.0.0.1",
						     .digest = copy->digest->type,
						     .digest_of_store = copy->store_digest,
						     .zstd_level = 1,
						     .settle = 30 * NSEC_SECOND,
						     .spool = world_spool_path,
						     .wrap = world->wrap,
						     .existing = world->existing,
						     .flags_keep = world->flags_keep,
						     .pack_bytes = world->pack_bytes },
				    .ledger = copy->ledger,
				    .digest = copy->digest,
				    .newest_first = world->newest_first,
				    .retry_skipped = world->retry_skipped,
				    .finish_timeout = FINISH_TIMEOUT };

	source.filter = filter;
	e = e ? e : open_labels(world, &source.labels);
	if (world->target_silence)
		target.io_timeout = world->target_silence;
	e = e ? e : lane_run(&lane, &world->result->progress);
	gmail_labels_close(&source.labels);
	filter_close(&filter);
	return e;
}

static enum err copy_fiber(void *argument)
{
	struct copy *copy = argument;
	struct ledger_run run = { .started_wall_s = clock_wall() / NSEC_SECOND, .pid = 1 };
	enum err e, finished;

	if ((e = ledger_open(world_state_path, clock_after(LEDGER_TIMEOUT), &copy->ledger)))
		return e;
	ledger_run_note(copy->ledger, &run);
	if (copy->world->bucket)
		world_bucket_begin(copy->world->bucket, ledger_id(copy->ledger));
	e = run_lane(copy);
	if (copy->world->bucket)
		world_bucket_end(copy->world->bucket);
	run.updated_wall_s = run.ended_wall_s = clock_wall() / NSEC_SECOND;
	run.exit_code = err_exit_code(e);
	ledger_run_note(copy->ledger, &run);
	finished = ledger_finish(copy->ledger, clock_after(LEDGER_TIMEOUT));
	ledger_close(&copy->ledger);
	return e ? e : finished;
}

static enum err copy_body(struct world *world, void *argument)
{
	struct copy copy = { .world = world };
	const struct tap_type *blake3 = digest_type(text_of("blake3"));
	enum err e;

	(void)argument;
	must(!world->target || world->sink);
	if ((e = digest_open(blake3, &copy.digest)) ||
	    (e = digest_open(blake3, &copy.store_digest)) ||
	    (e = secret_from_bytes(world->imap.password, strlen(world->imap.password),
				   &copy.password)))
		return e;
	/* Four lanes' worth of chunks would be touched for nothing in each of thousands of
	 * processes. */
	e = shard_run(&(struct shard_config){ .arena_chunks = lane_chunks(world->connections) +
							      LANE_CHUNKS_LOOKING },
		      copy_fiber, &copy);
	copy.digest->type->close(&copy.digest);
	copy.store_digest->type->close(&copy.store_digest);
	secret_close(&copy.password);
	return e;
}

const struct world_result *world_copy(struct world *world)
{
	return world_process(world, copy_body, NULL);
}
