#include "tools/verify_destination.h"

#include <stdlib.h>

#include "tools/commands.h"
#include "tools/hints.h"
#include "tools/terminal.h"
#include "tools/units.h"
#include "transport/fingerprint.h"

struct verifying {
	const struct verify_destination_options *options;
	const struct destination_mailbox *mailbox;
	uint32_t per_million;
	uint64_t seed;
	struct json_out json;
	struct recheck_box sum;	  /* over all folders */
	struct recheck_box begun; /* what was told of the present one */
	uint64_t boxes_refused;
	char shown[3 * BOX_NAME_BYTES_MAX];
};

/* ---- telling ---- */

static const char *word_of(const struct recheck_row *row)
{
	return row->outcome == RECHECK_MISSING	 ? "missing"
	       : row->outcome == RECHECK_ALTERED ? "altered"
						 : "redated";
}

static void tell_mismatch(struct verifying *verifying, const struct recheck_box *box,
			  const struct recheck_row *row)
{
	struct json_out *json = &verifying->json;

	if (!verifying->options->json) {
		printf("%s  %s UID %llu (UID %llu of the source)\n",
		       row->outcome == RECHECK_MISSING	 ? "MISSING"
		       : row->outcome == RECHECK_ALTERED ? "ALTERED"
							 : "REDATED",
		       terminal_text(verifying->shown, sizeof verifying->shown, box->known.name),
		       (unsigned long long)row->stored.target_no,
		       (unsigned long long)row->stored.no);
		return;
	}
	json_object_begin(json, NULL);
	json_text(json, "kind", "mismatch");
	json_text(json, "what", word_of(row));
	destination_json_box(json, verifying->mailbox, box);
	json_number(json, "uidvalidity", box->known.target_epoch);
	json_number(json, "uid", row->stored.target_no);
	json_number(json, "source_uid", row->stored.no);
	json_object_end(json);
	json_line_end(json);
}

static void json_counts(struct json_out *json, const struct recheck_box *box)
{
	json_number(json, "messages", box->stored);
	json_number(json, "checked", box->chosen - box->unknown);
	json_number(json, "bytes", box->bytes);
	json_number(json, "same", box->same);
	json_number(json, "missing", box->missing);
	json_number(json, "altered", box->altered);
	json_number(json, "unchecked", box->unknown);
	json_number(json, "dates_differ", box->redated);
	json_number(json, "flags_differ", box->reflagged);
	json_number(json, "doubtful_before", box->doubtful);
	json_number(json, "found_before", box->found);
}

static void text_counts(const struct recheck_box *box)
{
	char bytes[UNITS_TEXT_BYTES];

	printf("%llu of %llu message%s checked, %s: %llu missing, %llu altered",
	       (unsigned long long)(box->chosen - box->unknown), (unsigned long long)box->stored,
	       units_plural(box->stored), units_bytes(bytes, box->bytes),
	       (unsigned long long)box->missing, (unsigned long long)box->altered);
	if (box->redated)
		printf(", %llu with another date", (unsigned long long)box->redated);
	if (box->unknown)
		printf(", %llu cannot be checked", (unsigned long long)box->unknown);
	if (box->doubtful)
		printf(", %llu doubtful before", (unsigned long long)box->doubtful);
	if (box->found)
		printf("; %llu of all were there before the copy", (unsigned long long)box->found);
	if (box->reflagged)
		printf("; %llu with other flags", (unsigned long long)box->reflagged);
	putchar('\n');
}

static void tell_box(struct verifying *verifying, const struct recheck_box *box)
{
	struct json_out *json = &verifying->json;

	if (!verifying->options->json) {
		printf("%s: ",
		       terminal_text(verifying->shown, sizeof verifying->shown, box->known.name));
		text_counts(box);
		if (box->fate)
			printf("  %s: %s\n", err_text(box->fate),
			       terminal_text(verifying->shown, sizeof verifying->shown, box->note));
		return;
	}
	json_object_begin(json, NULL);
	json_text(json, "kind", "folder");
	destination_json_box(json, verifying->mailbox, box);
	json_counts(json, box);
	json_text(json, "error", box->fate ? err_name(box->fate) : "");
	json_text(json, "note", box->note);
	json_object_end(json);
	json_line_end(json);
}

static void tell_total(struct verifying *verifying, bool whole, int exit_code)
{
	struct json_out *json = &verifying->json;

	if (!verifying->options->json) {
		printf("Verified%s: ", whole ? "" : " until it was stopped");
		text_counts(&verifying->sum);
		if (verifying->per_million < SAMPLE_ALL)
			printf("A sample of %s; --seed %llu takes the same one again\n",
			       verifying->options->sample, (unsigned long long)verifying->seed);
		return;
	}
	json_object_begin(json, NULL);
	json_text(json, "kind", "total");
	json_counts(json, &verifying->sum);
	json_number(json, "folders_refused", verifying->boxes_refused);
	json_number(json, "sample_per_million", verifying->per_million);
	json_number(json, "seed", verifying->seed);
	json_bool(json, "whole", whole);
	json_number(json, "exit_code", (uint64_t)exit_code);
	json_object_end(json);
	json_line_end(json);
}

/* ---- the walk ---- */

/* What is not as it was sent is told; if it is its bytes, it is doubtful from now on. */
static enum err on_page(void *context, const struct recheck_box *box,
			const struct recheck_row *rows, size_t count)
{
	struct verifying *verifying = context;
	enum err e = OK;

	verifying->begun = *box;
	for (size_t i = 0; i < count && !e; i++) {
		bool doubtful =
			rows[i].outcome == RECHECK_MISSING || rows[i].outcome == RECHECK_ALTERED;

		if (doubtful || rows[i].redated)
			tell_mismatch(verifying, box, &rows[i]);
		if (!doubtful)
			continue;
		e = ledger_doubt(verifying->mailbox->ledger, box->known.box_no, rows[i].stored.no,
				 rows[i].outcome == RECHECK_MISSING ? ERR_SINK_MISSING
								    : ERR_SINK_ALTERED);
	}
	return e;
}

static void add_box(struct verifying *verifying, const struct recheck_box *box)
{
	struct recheck_box *sum = &verifying->sum;

	sum->stored += box->stored;
	sum->doubtful += box->doubtful;
	sum->found += box->found;
	sum->chosen += box->chosen;
	sum->bytes += box->bytes;
	sum->same += box->same;
	sum->missing += box->missing;
	sum->altered += box->altered;
	sum->unknown += box->unknown;
	sum->reflagged += box->reflagged;
	sum->redated += box->redated;
	verifying->boxes_refused += box->fate != OK;
	verifying->begun = (struct recheck_box){ 0 };
}

static enum err on_box(void *context, const struct recheck_box *box)
{
	struct verifying *verifying = context;

	add_box(verifying, box);
	tell_box(verifying, box);
	return ledger_commit(verifying->mailbox->ledger);
}

/* The ledger's random number, so that ledgers do not all look at the same places. */
static uint64_t seed_of(const struct ledger *ledger)
{
	const uint8_t *id = ledger_id(ledger);
	uint64_t seed = 0;

	for (size_t i = 0; i < 4; i++) /* few enough digits to be typed */
		seed = seed << 8 | id[i];
	return seed | 1;
}

static enum err verify_mailbox(void *context, const struct destination_mailbox *mailbox)
{
	struct verifying *verifying = context;
	struct tap *fingerprint;
	enum err e = fingerprint_open(&fingerprint);

	if (e)
		return e;
	verifying->mailbox = mailbox;
	verifying->seed =
		verifying->options->seed ? verifying->options->seed : seed_of(mailbox->ledger);
	e = destination_recheck(mailbox,
				&(struct recheck_config){ .per_million = verifying->per_million,
							  .seed = verifying->seed,
							  .fingerprint = fingerprint,
							  .page = on_page,
							  .box = on_box,
							  .context = verifying });
	fingerprint->type->close(&fingerprint);
	add_box(verifying, &verifying->begun); /* where it was stopped in the middle of a folder */
	return e;
}

/* A mismatch counts before what stopped the rest. */
static int exit_code_of(const struct verifying *verifying, enum err e)
{
	const struct recheck_box *sum = &verifying->sum;

	if (sum->missing || sum->altered || sum->redated || sum->doubtful)
		return EXIT_MISMATCH;
	if (e)
		return e == ERR_FIBER_CANCELED ? EXIT_LATER : err_exit_code(e);
	return sum->unknown || verifying->boxes_refused ? EXIT_INCOMPLETE : EXIT_ALL_MOVED;
}

static int run(struct verifying *verifying, const char *url, const char *confine)
{
	const struct verify_destination_options *options = verifying->options;
	int exit_code;
	enum err e;

	if (options->sample && !sample_parse(options->sample, &verifying->per_million))
		return hint_fail("verify", RAISE(ERR_INPUT_USAGE,
						 "--sample wants a part of all messages, as in 2%% "
						 "or 0.5%%"));
	e = destination_run(&(struct destination_work){
		.command = "verify",
		.url = url,
		.confine = confine,
		.options = &options->destination,
		.mailbox = verify_mailbox,
		.context = verifying,
	});
	exit_code = exit_code_of(verifying, e);
	if (!e || verifying->mailbox)
		tell_total(verifying, e == OK, exit_code);
	if (e)
		(void)hint_fail("verify", e);
	return command_finish_output("verify", exit_code);
}

int verify_destination(const struct verify_destination_options *options, const char *url,
		       const char *confine)
{
	struct verifying *verifying = calloc(1, sizeof *verifying);
	int exit_code;

	if (!verifying)
		return hint_fail("verify", RAISE(ERR_MEMORY_EXHAUSTED, "starting"));
	verifying->options = options;
	verifying->per_million = SAMPLE_ALL;
	verifying->json.file = stdout;
	exit_code = run(verifying, url, confine);
	free(verifying);
	return exit_code;
}
