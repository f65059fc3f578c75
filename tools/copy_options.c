/* See copy_options.h. */
#include "tools/copy_options.h"

#include "tools/commands.h"
#include "tools/confinement.h"
#include "tools/drivers.h"
#include "tools/hints.h"
#include "tools/skip_reason.h"
#include "tools/trace.h"

/* ---- choices ---- */

static const char *const digests[] = { "blake3", "blake2b-256", "sha-256", NULL };
static const char *const log_levels[] = { "debug", "info", "warn", "error", NULL };
static const char *const flag_ways[] = { "auto", "keep", "never", NULL };
static const char *const compressed_sides[] = { "off", "source", "destination", "both", NULL };
static const char *const existing_ways[] = { "no", "digest", "fingerprint", NULL };

/* Which of the choices it is: the parser takes no other word. */
static unsigned index_of(const char *const choices[], const char *word)
{
	unsigned i = 0;

	while (choices[i] && strcmp(choices[i], word) != 0)
		i++;
	must(choices[i]);
	return i;
}

enum sink_existing copy_options_existing(const struct copy_options *options)
{
	return (enum sink_existing)index_of(existing_ways, options->skip_existing);
}

enum log_level copy_options_log_level(const struct copy_options *options)
{
	return (enum log_level)index_of(log_levels, options->log_level);
}

/* ---- the table ---- */

static const struct opt options[] = {
	{ .name = "source-password-file",
	  OPT_STORES_FILE(struct copy_options, source_login.password_file),
	  .value = "FILE",
	  .help = "The source's password is the first line of FILE, which nobody else may be able "
		  "to read (mode 0600). Passwords are never taken from the command line." },
	{ .name = "destination-password-file",
	  OPT_STORES_FILE(struct copy_options, destination_login.password_file),
	  .value = "FILE",
	  .help = "The same for the target; not used where there is nothing to log in to." },
	{ .name = "source-token-file",
	  OPT_STORES_FILE(struct copy_options, source_login.token_file),
	  .value = "FILE",
	  .help = "Instead of a password: log in with the OAuth2 access token in FILE (mode 0600). "
		  "Somebody else renews it; it is read again when it was refused, and every five "
		  "minutes." },
	{ .name = "source-token-command",
	  OPT_STORES_TEXT(struct copy_options, source_login.token_command),
	  .value = "COMMAND",
	  .help = "The same with what COMMAND prints: a full path and arguments, no shell." },
	{ .name = "destination-token-file",
	  OPT_STORES_FILE(struct copy_options, destination_login.token_file),
	  .value = "FILE",
	  .help = "As --source-token-file, for the target." },
	{ .name = "destination-token-command",
	  OPT_STORES_TEXT(struct copy_options, destination_login.token_command),
	  .value = "COMMAND",
	  .help = "As --source-token-command, for the target." },
	{ .name = "oauth2",
	  OPT_STORES_FILE(struct copy_options, oauth2),
	  .value = "FILE",
	  .help = "Get access tokens as source.oauth2 and target.oauth2 of the job file FILE say "
		  "(docs/JOBFILE.md); nothing else of it is used." },
	{ .name = "ca-file",
	  OPT_STORES_FILE(struct copy_options, ca_file),
	  .value = "FILE",
	  .help = "Trust the certificate authorities in FILE (PEM) instead of the system's. Chain "
		  "and host name are always verified." },
	{ .name = "state",
	  OPT_STORES_FILE(struct copy_options, state),
	  .value = "DIR",
	  .help = "Where the ledger lies that knows what is moved already. Without it: "
		  "$XDG_STATE_HOME/mailhaul, or ~/.local/state/mailhaul." },
	{ .name = "dry-run",
	  OPT_STORES_FLAG(struct copy_options, dry_run),
	  .help = "Log in, list and count, look for what changed since earlier runs, and write "
		  "nothing but the report." },
	{ .name = "json",
	  OPT_STORES_FLAG(struct copy_options, json),
	  .help = "Print the report as one JSON object, with every message that was not moved; log "
		  "lines are JSON objects too." },
	{ .name = "digest",
	  OPT_STORES_CHOICE(struct copy_options, digest),
	  .choices = digests,
	  .initial = "blake3",
	  .help = "How each message and pack is measured; recorded beside each value. A target "
		  "keeps the digest it was begun with." },
	{ .name = "zstd",
	  OPT_STORES_NUMBER(struct copy_options, zstd),
	  .value = "LEVEL",
	  .initial = "1",
	  .min = 1,
	  .max = 19,
	  .zero_word = "off",
	  .help = "How hard packs are compressed: 1 to 19, or off." },
	{ .name = "pack-size",
	  OPT_STORES_SIZE(struct copy_options, pack_size),
	  .value = "SIZE",
	  .initial = "64MiB",
	  .min = 64 * 1024,
	  .max = (uint64_t)16 << 30,
	  .help = "A pack of the archive is closed at about this many stored bytes." },
	{ .name = "flags",
	  OPT_STORES_CHOICE(struct copy_options, flags),
	  .choices = flag_ways,
	  .initial = "auto",
	  .help = "What a later run does about flags that changed at the source: auto asks a "
		  "server with CONDSTORE for what changed, reads all flags again from any other, "
		  "and sets what changed at a destination that is a server, too; keep finds and "
		  "records them and leaves such a destination as it is; never is keep, and does "
		  "not "
		  "even read them again from a source without CONDSTORE." },
	{ .name = "skip-existing",
	  OPT_STORES_CHOICE(struct copy_options, skip_existing),
	  .choices = existing_ways,
	  .initial = "no",
	  .help = "Whether mail that others put into an IMAP target's folders counts as copied, "
		  "each copy once: digest if it has the same bytes; fingerprint if it has the "
		  "same Message-ID, Date, From and body, as mail that was delivered to both sides "
		  "has. It is read back before it counts, and never changed or rolled back." },
	{ .name = "as-of",
	  OPT_STORES_TEXT(struct copy_options, as_of),
	  .value = "WHEN",
	  .help = "Of an archive as SOURCE: read it as it was at the end of a run: a generation of "
		  "the manifest (3), a moment (2026-11-22T06:00:00Z), or the end of a day in UTC "
		  "(2026-11-22)." },
	{ .name = "vanished",
	  OPT_STORES_FLAG(struct copy_options, vanished),
	  .help = "Of an archive as SOURCE: copy also what was not at its source any more when "
		  "the last run looked. Without it such messages stay where they are." },
	{ .name = "retry-skipped",
	  OPT_STORES_TEXT(struct copy_options, retry_skipped),
	  .value = "REASON",
	  .help = RETRY_SKIPPED_HELP },
	FILTER_OPTION_ROWS(struct copy_options, filter),
	GMAIL_OPTION_ROWS(struct copy_options, gmail),
	{ .name = "connections",
	  OPT_STORES_NUMBER(struct copy_options, connections),
	  .value = "N",
	  .initial = "2",
	  .min = 1,
	  .max = LANE_READERS_MAX,
	  .help = "Conversations with the source at once, each on messages of its own. A server "
		  "that grants fewer is used with fewer, an archive with one." },
	{ .name = "max-messages-per-second",
	  OPT_STORES_NUMBER(struct copy_options, messages_per_second),
	  .value = "N",
	  .initial = "off",
	  .min = 1,
	  .max = 1000000,
	  .zero_word = "off",
	  .help = "At most so many messages a second for one account. Without it as many as the "
		  "server bears: fewer once it complains, and slowly more again." },
	{ .name = "max-bytes-per-second",
	  OPT_STORES_SIZE(struct copy_options, bytes_per_second),
	  .value = "SIZE",
	  .initial = "off",
	  .min = 1024,
	  .zero_word = "off",
	  .help = "At most so many bytes a second, as a mean." },
	{ .name = "daily-down",
	  OPT_STORES_SIZE(struct copy_options, daily_down),
	  .value = "SIZE",
	  .initial = "auto",
	  .min = 1024,
	  .zero_word = "auto",
	  .help = "Read at most so many bytes of one account in any 24 hours. auto: what its "
		  "provider allows (2500 MB at Gmail), unbounded where nothing is known. See "
		  "mailhaul providers." },
	{ .name = "daily-up",
	  OPT_STORES_SIZE(struct copy_options, daily_up),
	  .value = "SIZE",
	  .initial = "auto",
	  .min = 1024,
	  .zero_word = "auto",
	  .help = "The same for bytes stored at a server (500 MB at Gmail)." },
	{ .name = "settle",
	  OPT_STORES_DURATION(struct copy_options, settle),
	  .value = "TIME",
	  .initial = "30s",
	  .min = 0,
	  .max = 3600 * NSEC_SECOND,
	  .help = "After a lost answer or a crash: how long the folders of an IMAP target must be "
		  "still before what is in them is believed. Servers go on storing for a moment "
		  "what a lost connection sent." },
	{ .name = "io-timeout",
	  OPT_STORES_DURATION(struct copy_options, io_timeout),
	  .value = "TIME",
	  .initial = "60s",
	  .min = NSEC_SECOND,
	  .max = 86400 * NSEC_SECOND,
	  .help = "The longest silence of a server that is tolerated." },
	{ .name = "connect-timeout",
	  OPT_STORES_DURATION(struct copy_options, connect_timeout),
	  .value = "TIME",
	  .initial = "30s",
	  .min = NSEC_SECOND / 10,
	  .max = 3600 * NSEC_SECOND,
	  .help = "How long a connection may take, name lookup and TLS included." },
	{ .name = "compress",
	  OPT_STORES_CHOICE(struct copy_options, compress),
	  .choices = compressed_sides,
	  .initial = "off",
	  .help = "With which side the conversations are compressed inside TLS "
		  "(COMPRESS=DEFLATE), where its server offers that: for links of less than some "
		  "200 Mbit/s." },
	{ .name = "wrap",
	  OPT_STORES_CHOICE(struct copy_options, wrap),
	  .choices = wrap_choices,
	  .initial = "no",
	  .help = "What an IMAP target may hold as the attachment of another message, from which "
		  "mailhaul unwrap takes it out again byte for byte, because its server does not "
		  "take it as it is. refused: what it refuses (NUL bytes, bare LF), instead of "
		  "skipping it; odd: also what it is known to alter (8-bit headers at Cyrus), "
		  "instead of storing it altered." },
	ROUTES_OPTIONS(struct copy_options, routes),
	RESIDENCY_OPTIONS(struct copy_options, residency),
	BUCKET_ACCESS_OPTIONS("source-", "the source's bucket", struct copy_options, source_bucket),
	BUCKET_ACCESS_OPTIONS("destination-", "the target's bucket", struct copy_options,
			      destination_bucket),
	BUCKET_STORING_OPTIONS("destination-", struct copy_options, destination_bucket),
	{ .name = "log",
	  OPT_STORES_FILE(struct copy_options, log),
	  .value = "FILE",
	  .help = "Append log lines to FILE (made with mode 0600) instead of writing them to "
		  "stderr." },
	{ .name = "log-level",
	  OPT_STORES_CHOICE(struct copy_options, log_level),
	  .choices = log_levels,
	  .initial = "warn",
	  .help = "The least that is logged." },
	TRACE_OPTION(struct copy_options, trace),
	{ .name = "confine",
	  OPT_STORES_CHOICE(struct copy_options, confine),
	  .choices = confinement_modes,
	  .initial = "on",
	  .help = CONFINEMENT_HELP },
	{ .name = "stats",
	  OPT_STORES_FLAG(struct copy_options, stats),
	  .help = "Tell at the end what the run cost and what memory each part took, beside what "
		  "it may take: on stderr, or with --json in the report." },
};

static const struct opt_section sections[] = {
	{ "Sources", drivers_sources_text },
	{ "Targets", drivers_sinks_text },
	{ "Signals", "SIGINT and SIGTERM stop orderly: what is in flight is finished, and the exit "
		     "code is 75. A second one stops at once. Either way nothing is lost, and the "
		     "next run goes on where this one stopped.\n" },
	{ "Exit codes", hint_exit_codes },
};

const struct opt_command copy_usage = {
	.name = "copy",
	.arguments = "SOURCE TARGET",
	.words_min = 2,
	.words_max = 2,
	.summary = "copy a mailbox, or one of an archive, resumably and with proof",
	.about = "Copy every folder and message of SOURCE into TARGET. The source is never "
		 "changed. A message counts as moved once it is stored durably and its digest is "
		 "in the ledger; run the same command again to go on after an interruption, or to "
		 "take over what is new.\n"
		 "\n"
		 "An archive is file:///path, or s3://BUCKET/PREFIX/ in a bucket. As SOURCE that "
		 "is enough where it holds one mailbox; otherwise it is file:///path/MAILBOX or "
		 "s3://BUCKET/PREFIX/MAILBOX, named as mailhaul list shows it or as its directory "
		 "is. "
		 "Messages come as they are now, with their latest flags in their latest folders; "
		 "the archive itself is only read.\n"
		 "\n"
		 "In URLs a user with an @ is written with %40, an IPv6 address in brackets. A URL "
		 "never holds a password.\n",
	.options = options,
	.options_count = ARRAY_COUNT(options),
	.sections = sections,
	.sections_count = ARRAY_COUNT(sections),
	.examples = "  mailhaul copy --source-password-file alice.pw \\\n"
		    "      imaps://alice@mail.example.com/ file:///var/archive\n"
		    "  mailhaul copy --dry-run --source-password-file alice.pw \\\n"
		    "      imaps://alice%40example.com@[2001:db8::1]:993/ file:///var/archive\n"
		    "  mailhaul copy --as-of 2026-11-20 \\\n"
		    "      file:///var/archive/alice@mail.example.com file:///srv/other\n",
};
