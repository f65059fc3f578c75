/* mailhaul rollback: takes back from a server what this ledger put there and what is there still as
 * it was put: same UIDVALIDITY, UID, size and digest. Without --yes it only counts.
 *
 * A row becomes `withdrawn` when its message is known to be gone: the server said so to UID EXPUNGE
 * and was asked again; or it was not there when it was looked for. The second is what is left of a
 * roll-back that was cut between the two, and it is right whoever removed the message: there is
 * nothing left to take back. What is cut in between leaves a message marked \Deleted with its row
 * as it was, and the next roll-back removes it. */
#include <stdlib.h>

#include "engine/clock.h"
#include "tools/commands.h"
#include "tools/confinement.h"
#include "tools/destination.h"
#include "tools/hints.h"
#include "tools/terminal.h"
#include "tools/units.h"
#include "transport/imap_remove.h"

struct rollback_counts {
	uint64_t messages, removed, gone, changed, unknown, refused, found;
};

struct rollback {
	struct rollback_options {
		struct destination_options destination;
		const char *confine;
		bool yes, json;
	} options;
	const struct destination_mailbox *mailbox;
	struct imap_remove *remove;
	struct json_out json;
	struct rollback_counts box, sum;
	uint32_t uids[IMAP_REMOVE_UIDS_MAX];
	bool there[IMAP_REMOVE_UIDS_MAX];
	enum err refusal; /* of the present folder */
	char refusal_note[240];
	char shown[3 * BOX_NAME_BYTES_MAX];
};

/* ---- telling ---- */

static void tell_changed(struct rollback *rollback, const struct recheck_box *box,
			 const struct recheck_row *row)
{
	struct json_out *json = &rollback->json;

	if (!rollback->options.json) {
		printf("CHANGED  %s UID %llu is not what was put there, and is left\n",
		       terminal_text(rollback->shown, sizeof rollback->shown, box->known.name),
		       (unsigned long long)row->stored.target_no);
		return;
	}
	json_object_begin(json, NULL);
	json_text(json, "kind", "changed");
	destination_json_box(json, rollback->mailbox, box);
	json_number(json, "uidvalidity", box->known.target_epoch);
	json_number(json, "uid", row->stored.target_no);
	json_object_end(json);
	json_line_end(json);
}

static void json_counts(struct rollback *rollback, const struct rollback_counts *counts)
{
	struct json_out *json = &rollback->json;

	json_number(json, "messages", counts->messages);
	json_number(json, rollback->options.yes ? "removed" : "to_remove", counts->removed);
	json_number(json, "gone_before", counts->gone);
	json_number(json, "changed", counts->changed);
	json_number(json, "unchecked", counts->unknown);
	json_number(json, "refused", counts->refused);
	json_number(json, "found_before", counts->found);
}

static void text_counts(const struct rollback *rollback, const struct rollback_counts *counts)
{
	printf("%llu message%s %s", (unsigned long long)counts->removed,
	       units_plural(counts->removed),
	       rollback->options.yes ? "removed" : "would be removed");
	if (counts->gone)
		printf(", %llu gone before", (unsigned long long)counts->gone);
	if (counts->changed)
		printf(", %llu changed since and left", (unsigned long long)counts->changed);
	if (counts->unknown)
		printf(", %llu cannot be told apart and left", (unsigned long long)counts->unknown);
	if (counts->refused)
		printf(", %llu refused by the server", (unsigned long long)counts->refused);
	if (counts->found)
		printf("; %llu were there before the copy and stay",
		       (unsigned long long)counts->found);
	putchar('\n');
}

static void tell_box(struct rollback *rollback, const struct recheck_box *box)
{
	enum err fate = box->fate ? box->fate : rollback->refusal;
	const char *note = box->fate ? box->note : rollback->refusal_note;
	struct json_out *json = &rollback->json;

	if (!rollback->options.json) {
		printf("%s: ",
		       terminal_text(rollback->shown, sizeof rollback->shown, box->known.name));
		text_counts(rollback, &rollback->box);
		if (fate)
			printf("  %s: %s\n", err_text(fate),
			       terminal_text(rollback->shown, sizeof rollback->shown, note));
		return;
	}
	json_object_begin(json, NULL);
	json_text(json, "kind", "folder");
	destination_json_box(json, rollback->mailbox, box);
	json_counts(rollback, &rollback->box);
	json_text(json, "error", fate ? err_name(fate) : "");
	json_text(json, "note", note);
	json_object_end(json);
	json_line_end(json);
}

static void tell_total(struct rollback *rollback, bool whole, int exit_code)
{
	struct json_out *json = &rollback->json;

	if (!rollback->options.json) {
		printf("%s%s: ", rollback->options.yes ? "Rolled back" : "Dry run",
		       whole ? "" : " until it was stopped");
		text_counts(rollback, &rollback->sum);
		if (!rollback->options.yes && whole)
			printf("Nothing was changed; --yes removes them\n");
		return;
	}
	json_object_begin(json, NULL);
	json_text(json, "kind", "total");
	json_bool(json, "dry_run", !rollback->options.yes);
	json_counts(rollback, &rollback->sum);
	json_bool(json, "whole", whole);
	json_number(json, "exit_code", (uint64_t)exit_code);
	json_object_end(json);
	json_line_end(json);
}

/* ---- removing ---- */

static enum err open_remove(struct rollback *rollback)
{
	const struct account *account = rollback->mailbox->account;

	if (rollback->remove)
		return OK;
	return imap_remove_open(account, !rollback->options.yes,
				clock_after(account->connect_timeout + account->io_timeout),
				&rollback->remove);
}

/* Saying it twice does no harm, so a conversation that was broken off for its long silence is begun
 * anew, once. */
static enum err remove_them(struct rollback *rollback, const struct recheck_box *box, size_t count)
{
	bool again = true;
	enum err e;

	for (;;) {
		if ((e = open_remove(rollback)) == OK)
			e = imap_remove_from(rollback->remove, box->known.target,
					     (uint32_t)box->known.target_epoch, rollback->uids,
					     count, rollback->there);
		if (e == OK || err_retry_class(e) == RETRY_SKIP_BOX)
			return e;
		imap_remove_close(&rollback->remove);
		if (err_retry_class(e) != RETRY_RECONNECT || !again)
			return e;
		err_note_clear();
		again = false;
	}
}

static bool is_there(const struct rollback *rollback, size_t count, uint64_t uid)
{
	for (size_t i = 0; i < count; i++)
		if (rollback->uids[i] == uid)
			return rollback->there[i];
	return false;
}

static enum err withdraw(struct rollback *rollback, const struct recheck_box *box,
			 const struct recheck_row *row)
{
	return ledger_settle(rollback->mailbox->ledger,
			     &(struct ledger_row){ .box_no = box->known.box_no,
						   .no = row->stored.no,
						   .state = LEDGER_WITHDRAWN });
}

/* All of `count` at once, after the server's word, and durable before the next ones. */
static enum err withdraw_all(struct rollback *rollback, const struct recheck_box *box,
			     const struct recheck_row *rows, size_t rows_count, size_t count)
{
	enum err e = OK;

	for (size_t i = 0; i < rows_count && !e; i++) {
		const struct recheck_row *row = &rows[i];
		bool removed = row->outcome == RECHECK_SAME && !rollback->refusal &&
			       !is_there(rollback, count, row->stored.target_no);

		if (row->outcome == RECHECK_SAME && !removed)
			rollback->box.refused++;
		rollback->box.removed += removed;
		if (removed || row->outcome == RECHECK_MISSING)
			e = withdraw(rollback, box, row);
	}
	return e ? e : ledger_commit(rollback->mailbox->ledger);
}

static size_t take_uids(struct rollback *rollback, const struct recheck_row *rows, size_t count)
{
	size_t n = 0;

	for (size_t i = 0; i < count; i++)
		if (rows[i].outcome == RECHECK_SAME &&
		    (n == 0 || rollback->uids[n - 1] < rows[i].stored.target_no)) {
			must(n < IMAP_REMOVE_UIDS_MAX);
			rollback->uids[n++] = (uint32_t)rows[i].stored.target_no;
		}
	return n;
}

static enum err remove_page(struct rollback *rollback, const struct recheck_box *box,
			    const struct recheck_row *rows, size_t rows_count)
{
	size_t count = take_uids(rollback, rows, rows_count);
	enum err e = OK;

	if (count && !rollback->refusal)
		e = remove_them(rollback, box, count);
	if (e && err_retry_class(e) != RETRY_SKIP_BOX)
		return e;
	if (e) {
		rollback->refusal = e;
		snprintf(rollback->refusal_note, sizeof rollback->refusal_note, "%.239s",
			 err_note()->text);
		err_note_clear();
	}
	return withdraw_all(rollback, box, rows, rows_count, count);
}

/* ---- the walk ---- */

static enum err on_page(void *context, const struct recheck_box *box,
			const struct recheck_row *rows, size_t count)
{
	struct rollback *rollback = context;

	for (size_t i = 0; i < count; i++) {
		rollback->box.gone += rows[i].outcome == RECHECK_MISSING;
		rollback->box.changed += rows[i].outcome == RECHECK_ALTERED;
		rollback->box.unknown += rows[i].outcome == RECHECK_UNKNOWN;
		if (rows[i].outcome == RECHECK_ALTERED)
			tell_changed(rollback, box, &rows[i]);
		if (!rollback->options.yes)
			rollback->box.removed += rows[i].outcome == RECHECK_SAME;
	}
	return rollback->options.yes ? remove_page(rollback, box, rows, count) : OK;
}

static void add_box(struct rollback *rollback)
{
	struct rollback_counts *sum = &rollback->sum;

	sum->messages += rollback->box.messages;
	sum->removed += rollback->box.removed;
	sum->gone += rollback->box.gone;
	sum->changed += rollback->box.changed;
	sum->unknown += rollback->box.unknown;
	sum->refused += rollback->box.refused;
	sum->found += rollback->box.found;
	rollback->box = (struct rollback_counts){ 0 };
}

static enum err on_box(void *context, const struct recheck_box *box)
{
	struct rollback *rollback = context;

	rollback->box.messages = box->stored;
	rollback->box.found = box->found;
	tell_box(rollback, box);
	add_box(rollback);
	rollback->refusal = OK;
	rollback->refusal_note[0] = '\0';
	return OK;
}

/* Whether the server can do it is known before anything is read. */
static enum err roll_back_mailbox(void *context, const struct destination_mailbox *mailbox)
{
	struct rollback *rollback = context;
	enum err e;

	rollback->mailbox = mailbox;
	if ((e = open_remove(rollback)))
		return e;
	e = destination_recheck(mailbox, &(struct recheck_config){ .per_million = SAMPLE_ALL,
								   .doubtful = true,
								   .sent_only = true,
								   .page = on_page,
								   .box = on_box,
								   .context = rollback });
	add_box(rollback); /* where it was stopped in the middle of a folder */
	if (!e && rollback->remove)
		imap_remove_finish(rollback->remove, clock_after(DESTINATION_FINISH_TIMEOUT));
	imap_remove_close(&rollback->remove);
	return e;
}

static int run(struct rollback *rollback, const char *url)
{
	const struct rollback_counts *sum = &rollback->sum;
	int exit_code;
	enum err e = destination_run(&(struct destination_work){
		.command = "rollback",
		.url = url,
		.confine = rollback->options.confine,
		.options = &rollback->options.destination,
		.mailbox = roll_back_mailbox,
		.context = rollback,
	});

	exit_code = e == ERR_FIBER_CANCELED			   ? EXIT_LATER
		    : e						   ? err_exit_code(e)
		    : sum->changed || sum->unknown || sum->refused ? EXIT_INCOMPLETE
								   : EXIT_ALL_MOVED;
	if (!e || rollback->mailbox)
		tell_total(rollback, e == OK, exit_code);
	if (e)
		(void)hint_fail("rollback", e);
	return command_finish_output("rollback", exit_code);
}

static int rollback_main(int count, char *const *words)
{
	struct rollback *rollback = calloc(1, sizeof *rollback);
	struct opt_words arguments;
	int exit_code;

	if (!rollback)
		return hint_fail("rollback", RAISE(ERR_MEMORY_EXHAUSTED, "starting"));
	rollback->json.file = stdout;
	if (command_parse(rollback_command.usage, count, words, &rollback->options, &arguments,
			  &exit_code))
		exit_code = run(rollback, arguments.at[0]);
	free(rollback);
	return exit_code;
}

static const struct opt options[] = {
	{ .name = "yes",
	  OPT_STORES_FLAG(struct rollback_options, yes),
	  .help = "Remove them. Without it nothing is changed, here or there: it is looked for and "
		  "counted what would be removed." },
	{ .name = "json",
	  OPT_STORES_FLAG(struct rollback_options, json),
	  .help = "One JSON object per folder and per message that was changed, and one with the "
		  "totals, one per line." },
	DESTINATION_OPTIONS(struct rollback_options, destination),
	{ .name = "confine",
	  OPT_STORES_CHOICE(struct rollback_options, confine),
	  .choices = confinement_modes,
	  .initial = "on",
	  .help = CONFINEMENT_HELP },
};

static const struct opt_section sections[] = {
	{ "What is removed",
	  "Only messages that this ledger knows to have put there, whose folder still has the same "
	  "UIDVALIDITY, and which have the size and the digest they had when they were sent: each "
	  "is read back before. Whatever else is in the folders, marked \\Deleted or not, stays, "
	  "what was there before and counted (--skip-existing) with it, and "
	  "so do the folders themselves. The server must offer UIDPLUS (RFC 4315); there is no "
	  "other way to remove single messages safely.\n" },
	{ "Afterwards",
	  "Messages taken back are withdrawn in the ledger, for good: a later copy with the same "
	  "state directory does not bring them again. For a fresh start take another --state.\n" },
	{ "Exit codes", hint_exit_codes },
};

static const struct opt_command usage = {
	.name = "rollback",
	.arguments = "DESTINATION",
	.words_min = 1,
	.words_max = 1,
	.summary = "take back from a server what was copied to it",
	.about = "Remove from DESTINATION (imaps://user@host/, as it was given to copy) the "
		 "messages that were copied there and are there unchanged. Without --yes it only "
		 "says how many those are. It may be stopped at any time and run again. Exit code "
		 "111 if some had to be left.\n",
	.options = options,
	.options_count = ARRAY_COUNT(options),
	.sections = sections,
	.sections_count = ARRAY_COUNT(sections),
	.examples = "  mailhaul rollback --destination-password-file new.pw \\\n"
		    "      imaps://alice@new.example.com/\n"
		    "  mailhaul rollback --yes --destination-password-file new.pw \\\n"
		    "      imaps://alice@new.example.com/\n",
};

const struct command rollback_command = { &usage, rollback_main };
