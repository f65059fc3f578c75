/* mailhaul verify: proves that an archive holds what it says, or names what it does not. What was
 * copied to a server is read back by verify_destination.c. */
#include "engine/log.h"
#include <stdlib.h>

#include "tools/commands.h"
#include "tools/confinement.h"
#include "tools/damage.h"
#include "tools/hints.h"
#include "tools/json_out.h"
#include "tools/reading.h"
#include "tools/terminal.h"
#include "tools/units.h"
#include "tools/verify_destination.h"
#include "transport/archive.h"

struct verify {
	struct verify_options {
		struct verify_destination_options of_server;
		struct bucket_options bucket;
		const char *confine;
		bool trace;
	} options;
	struct json_out json;
	struct archive_check check;
	enum err end;
};

static void on_fault(void *context, const char *key, const char *what)
{
	struct verify *verify = context;
	char shown_key[512], shown_what[512];

	if (!verify->options.of_server.json) {
		printf("FAULT  %s: %s\n", terminal_text(shown_key, sizeof shown_key, key),
		       terminal_text(shown_what, sizeof shown_what, what));
		return;
	}
	damage_json(&verify->json, key, what);
}

static void tell_totals(struct verify *verify)
{
	const struct archive_check *check = &verify->check;
	char bytes[UNITS_TEXT_BYTES], stored[UNITS_TEXT_BYTES];

	if (!verify->options.of_server.json) {
		printf("Verified %llu message%s, %s, stored as %s in %llu pack%s, %llu change%s: "
		       "%llu fault%s\n",
		       (unsigned long long)check->messages, units_plural(check->messages),
		       units_bytes(bytes, check->bytes), units_bytes(stored, check->stored_bytes),
		       (unsigned long long)check->packs, units_plural(check->packs),
		       (unsigned long long)check->changes, units_plural(check->changes),
		       (unsigned long long)check->faults, units_plural(check->faults));
		return;
	}
	json_object_begin(&verify->json, NULL);
	json_text(&verify->json, "kind", "total");
	json_number(&verify->json, "packs", check->packs);
	json_number(&verify->json, "messages", check->messages);
	json_number(&verify->json, "bytes", check->bytes);
	json_number(&verify->json, "stored_bytes", check->stored_bytes);
	json_number(&verify->json, "packs_unlisted", check->packs_unlisted);
	json_number(&verify->json, "changes", check->changes);
	json_number(&verify->json, "changes_unlisted", check->changes_unlisted);
	json_number(&verify->json, "leftovers", check->leftovers);
	json_number(&verify->json, "faults", check->faults);
	json_bool(&verify->json, "sound", verify->end == OK && !check->faults);
	json_object_end(&verify->json);
	json_line_end(&verify->json);
}

static enum err verify_archive(void *context, struct archive *archive)
{
	struct verify *verify = context;

	verify->end = archive_verify(archive, on_fault, verify, &verify->check);
	if (verify->end == OK || verify->check.faults)
		tell_totals(verify);
	if (verify->end == OK && verify->check.faults)
		verify->end = RAISE(ERR_ARCHIVE_DAMAGED, "verifying");
	return verify->end;
}

/* What only means something of a server; NULL: nothing of that was said. */
static const char *too_much(const struct verify_destination_options *options)
{
	return options->sample				  ? "--sample"
	       : options->seed				  ? "--seed"
	       : options->destination.source		  ? "--source"
	       : options->destination.login.password_file ? "--destination-password-file"
	       : options->destination.login.token_file	  ? "--destination-token-file"
	       : options->destination.login.token_command ? "--destination-token-command"
	       : options->destination.oauth2		  ? "--oauth2"
							  : NULL;
}

/* What a server and a bucket have in common. */
static struct reading_options reading_options(const struct verify_options *options)
{
	const struct destination_options *way = &options->of_server.destination;

	return (struct reading_options){
		.bucket = options->bucket,
		.ca_file = way->ca_file,
		.bind_address = way->bind_address,
		.proxy = way->proxy,
		.proxy_password_file = way->proxy_password_file,
		.io_timeout = way->io_timeout,
		.connect_timeout = way->connect_timeout,
		.trace = options->trace,
	};
}

static int verify_run(struct verify *verify, int count, char *const *words)
{
	struct opt_words arguments;
	struct reading_options options;
	int exit_code = EXIT_ALL_MOVED;
	enum err e;

	if (!command_parse(verify_command.usage, count, words, &verify->options, &arguments,
			   &exit_code))
		return exit_code;
	log_set_trace(verify->options.trace);
	if (destination_is_meant(arguments.at[0]))
		return (e = bucket_refuse("--", arguments.at[0], &verify->options.bucket))
			       ? hint_fail("verify", e)
			       : verify_destination(&verify->options.of_server, arguments.at[0],
						    verify->options.confine);
	if (too_much(&verify->options.of_server))
		return hint_fail("verify", RAISE(ERR_INPUT_USAGE,
						 "%s is of no use for an archive, which is "
						 "always read from end to end",
						 too_much(&verify->options.of_server)));
	options = reading_options(&verify->options);
	if ((e = reading_run(&(struct reading){
		     .archive = arguments.at[0],
		     .confine = verify->options.confine,
		     .options = &options,
		     .residency = &verify->options.of_server.destination.residency,
		     .work = verify_archive,
		     .context = verify,
	     })))
		exit_code = hint_fail("verify", e);
	return command_finish_output("verify", exit_code);
}

static int verify_main(int count, char *const *words)
{
	struct verify *verify = calloc(1, sizeof *verify);
	int exit_code;

	if (!verify)
		return hint_fail("verify", RAISE(ERR_MEMORY_EXHAUSTED, "starting"));
	verify->json.file = stdout;
	exit_code = verify_run(verify, count, words);
	free(verify);
	return exit_code;
}

static const struct opt options[] = {
	{ .name = "json",
	  OPT_STORES_FLAG(struct verify_options, of_server.json),
	  .help = "One JSON object per fault, mismatch and folder and one with the totals, one per "
		  "line." },
	{ .name = "sample",
	  OPT_STORES_TEXT(struct verify_options, of_server.sample),
	  .value = "PART",
	  .help = "Of a server: read back only this part of the messages, as in 2%, of each folder "
		  "and of each size class in it, and one of each at least." },
	{ .name = "seed",
	  OPT_STORES_NUMBER(struct verify_options, of_server.seed),
	  .value = "N",
	  .min = 1,
	  .help = "Which sample: the same number takes the same messages, another one others. "
		  "Without it a number of the ledger's own." },
	DESTINATION_OPTIONS(struct verify_options, of_server.destination),
	BUCKET_ACCESS_OPTIONS("", "the bucket", struct verify_options, bucket),
	TRACE_OPTION(struct verify_options, trace),
	CONFINEMENT_OFFLINE_OPTION(struct verify_options, confine),
};

static const struct opt_section sections[] = {
	{ "Archives", "Stored bytes are compared with the packs' digests, each message with its "
		      "own, packs with their indexes, manifests with their predecessors.\n" },
	{ "Servers",
	  "Each moved message is asked for by its UID, read without marking it, and compared with "
	  "the size and digest in the ledger. One that is not there, or has other bytes, is named "
	  "and is doubtful in the ledger from now on; one with another date is named. Flags that "
	  "differ from those last seen at "
	  "the source are counted and are no mismatch: their owner may have changed them. "
	  "Messages whose UID the server never told, and folders that were removed or replaced, "
	  "cannot be checked: exit code 111. Nothing at the server is changed.\n" },
	{ "Exit codes", hint_exit_codes },
};

static const struct opt_command usage = {
	.name = "verify",
	.arguments = "ARCHIVE|DESTINATION",
	.words_min = 1,
	.words_max = 1,
	.summary = "check every byte of an archive, or what a server holds",
	.about = "Read all of ARCHIVE (file:///path), or what was copied to DESTINATION "
		 "(imaps://user@host/, as it was given to copy), and compare. Goes on after a "
		 "fault and names each. Exit code 121 if there was one.\n",
	.options = options,
	.options_count = ARRAY_COUNT(options),
	.sections = sections,
	.sections_count = ARRAY_COUNT(sections),
	.examples = "  mailhaul verify file:///var/archive\n"
		    "  mailhaul verify --sample 2% --destination-password-file new.pw \\\n"
		    "      imaps://alice@new.example.com/\n",
};

const struct command verify_command = { &usage, verify_main };
