/* The report's decisions (exit code, reason) and what it tells, with and without a ledger. */
#include "tools/report.h"

#include <jansson.h>
#include <stdlib.h>

#include "engine/clock.h"
#include "engine/fiber.h"
#include "tests/test.h"

static struct lane_progress done;

/* Too large for a frame. */
static struct report report;

static void begin(void)
{
	static const struct report none;

	done = (struct lane_progress){ .boxes_known = 3, .boxes_done = 3 };
	report = none;
	report.source = "imaps://alice@mail.example.com/";
	report.target = "file:///var/archive";
	report.digest = "blake3";
	report.started_wall_s = 1767225600;
	report.duration = 2 * NSEC_SECOND;
	report.progress = &done;
}

static const struct peer somebody = {
	.host = "mail.example.com",
	.address = "[2001:db8::1]:993",
	.tls_version = "TLSv1.3",
	.tls_cipher = "TLS_AES_256_GCM_SHA384",
	.certificate_sha256 = "ab12",
	.software = "Dovecot\x1b[31m",
};

static char *told(struct ledger *ledger,
		  enum err (*tell)(const struct report *, struct ledger *, FILE *))
{
	char *text = NULL;
	size_t bytes;
	FILE *file = open_memstream(&text, &bytes);

	must(file != NULL);
	CHECK_OK(tell(&report, ledger, file));
	fclose(file);
	return text;
}

static void shows(const char *text, const char *part)
{
	if (!strstr(text, part))
		test_failed(__FILE__, __LINE__, "there is no \"%s\" in:\n%s", part, text);
}

TEST(of_several_causes_the_gravest_decides)
{
	begin();
	CHECK_EQ(report_exit_code(&report), EXIT_ALL_MOVED);
	done.messages_skipped = 1;
	CHECK_EQ(report_exit_code(&report), EXIT_INCOMPLETE);
	report.error = ERR_TLS_EXPIRED;
	CHECK_EQ(report_exit_code(&report), EXIT_TLS);
	report.error = OK;
	report.drained = true;
	CHECK_EQ(report_exit_code(&report), EXIT_LATER);
	done.messages_doubtful = 1;
	CHECK_EQ(report_exit_code(&report), EXIT_MISMATCH);
}

TEST(what_the_filter_left_out_is_told_and_no_failure)
{
	char *text;

	begin();
	text = told(NULL, report_text);
	CHECK(!strstr(text, "Left out"));
	free(text);
	done.boxes_left_out = 1;
	done.messages_filtered = 2;
	CHECK_EQ(report_exit_code(&report), EXIT_ALL_MOVED);
	text = told(NULL, report_text);
	shows(text, "Left out     1 folder and 2 messages by the filter\n");
	CHECK(!strstr(text, "Not moved"));
	free(text);
	text = told(NULL, report_json);
	shows(text, "\"folders_left_out\":1,\"messages_left_out\":2,");
	free(text);
}

TEST(each_kind_of_error_has_the_exit_code_users_were_promised)
{
	static const struct {
		enum err error;
		int exit_code;
	} rows[] = {
		{ ERR_NET_REFUSED, 101 },   { ERR_NET_NAME, 101 },     { ERR_TLS_UNTRUSTED, 12 },
		{ ERR_TLS_HOSTNAME, 12 },   { ERR_IMAP_LOGIN, 161 },   { ERR_SINK_FOREIGN, 73 },
		{ ERR_DISK_DENIED, 73 },    { ERR_DISK_FULL, 74 },     { ERR_DISK_IO, 74 },
		{ ERR_LEDGER_BUSY, 75 },    { ERR_SINK_BUSY, 75 },     { ERR_INPUT_SECRET, 65 },
		{ ERR_SINK_QUOTA, 113 },    { ERR_SINK_DAMAGED, 121 }, { ERR_INPUT_USAGE, 64 },
		{ ERR_DISK_READ_ONLY, 73 },
	};

	begin();
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		report.error = rows[i].error;
		CHECK_EQ(report_exit_code(&report), rows[i].exit_code);
	}
}

TEST(what_earlier_runs_skipped_keeps_the_exit_code)
{
	begin();
	report.totals_known = true;
	report.totals.messages[LEDGER_SKIPPED] = 2;
	CHECK_EQ(report_exit_code(&report), EXIT_INCOMPLETE);
	report.totals.messages[LEDGER_SKIPPED] = 0;
	report.totals.boxes_skipped = 1;
	CHECK_EQ(report_exit_code(&report), EXIT_INCOMPLETE);
}

TEST(the_reason_says_what_happened_and_what_to_do)
{
	char reason[ERR_NOTE_BYTES_MAX * 4];

	begin();
	CHECK_TEXT(report_reason(&report, reason, sizeof reason), "");
	report.error = ERR_NET_REFUSED;
	report.note.error = report.error;
	snprintf(report.note.text, sizeof report.note.text, "connecting to h\x1b[2J");
	report_reason(&report, reason, sizeof reason);
	shows(reason, "connecting to h?[2J: the host refuses the connection. Check host and port");
	begin();
	report.drained = true;
	shows(report_reason(&report, reason, sizeof reason), "Run the same command again");
	begin();
	done.messages_skipped = 1;
	done.boxes_failed = 2;
	shows(report_reason(&report, reason, sizeof reason),
	      "1 message and 2 folders were not moved");
}

TEST(whom_we_met_and_the_way_there_are_told)
{
	static struct endpoints endpoints; /* too large for a frame */
	static struct paths paths;
	struct peer peer = somebody;
	char *text;

	begin();
	peer.through = "socks5://proxy.example:1080";
	endpoints_met(&endpoints, &peer);
	report.endpoints = &endpoints;
	paths_add(&paths, &(struct path){ .host = "mail.example.com",
					  .port = 993,
					  .round_trip = 7 * NSEC_MILLISECOND });
	report.paths = &paths;
	text = told(NULL, report_text);
	shows(text, "Endpoint     mail.example.com through socks5://proxy.example:1080, TLSv1.3 ");
	shows(text, "Path         mail.example.com:993, round trip 7.00 ms, ");
	free(text);
	text = told(NULL, report_json);
	shows(text, "\"through\":\"socks5://proxy.example:1080\"");
	shows(text, "\"round_trip_ms\":7");
	free(text);
}

TEST(the_text_tells_what_moved_how_fast_and_which_mail_was_sealed)
{
	char *text;

	begin();
	done.messages_moved = 500;
	done.bytes_moved = 30000000;
	done.messages_before = 7;
	done.kinds[MAIL_SMIME_SIGNED] = 4;
	done.kinds[MAIL_PGP_ENCRYPTED] = 2;
	text = told(NULL, report_text);
	shows(text, "2026-01-01T00:00:00Z, took 2.0 s");
	shows(text, "500 messages, 30.0 MB (250 messages/s, 15.0 MB/s)");
	shows(text, "7 messages by earlier runs");
	shows(text, "4 ");
	shows(text, mail_kind_name(MAIL_SMIME_SIGNED));
	shows(text, mail_kind_name(MAIL_PGP_ENCRYPTED));
	CHECK(!strstr(text, "Nothing was left"));
	free(text);
	done.messages_moved = 0;
	text = told(NULL, report_text);
	shows(text, "Nothing was left to do.");
	free(text);
	report.dry_run = true;
	text = told(NULL, report_text);
	CHECK(!strstr(text, "Nothing was left"));
	shows(text, "nothing was written");
	free(text);
}

TEST(what_is_tried_again_is_told_and_is_not_nothing)
{
	char *text;

	begin();
	done.retry_begun = true;
	text = told(NULL, report_text);
	shows(text, "Retried      0 messages that earlier runs skipped\nFolders");
	shows(text, "Nothing was left to do.");
	free(text);
	done.messages_retried = 1;
	text = told(NULL, report_text);
	shows(text, "Retried      1 message that earlier runs skipped\n");
	CHECK(!strstr(text, "Nothing was left"));
	free(text);
	report.dry_run = true;
	text = told(NULL, report_text);
	shows(text, "Would retry  1 message that earlier runs skipped\n");
	free(text);
	text = told(NULL, report_json);
	shows(text, "\"messages_retried\":1,");
	free(text);
}

/* ---- with a ledger ---- */

enum { SKIPPED = 23 };

static struct ledger *ledger_with_skipped(void)
{
	struct ledger_mailbox mailbox;
	struct box *box = calloc(1, sizeof *box);
	struct ledger *ledger = NULL;
	uint64_t epoch, next_no;

	must(box != NULL);
	snprintf(box->name, sizeof box->name, "Odd\x1b\xff\"name");
	CHECK_OK(ledger_open(test_directory(), clock_after(NSEC_SECOND * 60), &ledger));
	CHECK_OK(ledger_mailbox(ledger, report.source, report.target, "blake3", &mailbox));
	done.mailbox_no = mailbox.mailbox_no;
	CHECK_OK(ledger_box(ledger, mailbox.mailbox_no, box, &epoch, &next_no));
	CHECK_OK(ledger_intend(ledger, box->box_no, 1, 100));
	for (uint64_t no = 1; no <= SKIPPED; no++) {
		struct ledger_row row = { .box_no = box->box_no,
					  .no = no,
					  .state = LEDGER_SKIPPED,
					  .reason = ERR_SINK_REFUSED };

		CHECK_OK(ledger_settle(ledger, &row));
	}
	CHECK_OK(ledger_commit(ledger));
	CHECK_OK(ledger_totals(ledger, mailbox.mailbox_no, &report.totals));
	report.totals_known = true;
	free(box);
	return ledger;
}

static void check_exceptions(const json_t *root)
{
	const json_t *list = json_object_get(root, "exceptions"), *last;

	CHECK_EQ(json_array_size(list), SKIPPED);
	last = json_array_get(list, SKIPPED - 1);
	CHECK_EQ(json_integer_value(json_object_get(last, "uid")), SKIPPED);
	CHECK_TEXT(json_string_value(json_object_get(last, "reason")), "SINK_REFUSED");
	CHECK_TEXT(json_string_value(json_object_get(last, "state")), "skipped");
	CHECK_TEXT(json_string_value(json_object_get(last, "folder")), "Odd\x1b\xef\xbf\xbd\"name");
	CHECK_EQ(json_integer_value(json_object_get(root, "exit_code")), EXIT_INCOMPLETE);
}

TEST_FIBER(text_names_the_first_skipped_and_json_names_them_all)
{
	struct ledger *ledger;
	char *text;
	json_t *root;

	begin();
	ledger = ledger_with_skipped();
	text = told(ledger, report_text);
	shows(text, "skipped  Odd??\"name  message 20: ");
	CHECK(!strstr(text, "message 21:"));
	shows(text, "and 3 more");
	shows(text, "Skipped for  23 SINK_REFUSED; --retry-skipped REASON asks for them again\n");
	free(text);
	text = told(ledger, report_json);
	shows(text, "\"skipped_reasons\":{\"SINK_REFUSED\":23}");
	root = json_loads(text, 0, NULL);
	CHECK(root != NULL);
	if (root)
		check_exceptions(root);
	json_decref(root);
	free(text);
	ledger_close(&ledger);
}

TEST(json_parses_also_when_nothing_could_be_begun)
{
	json_t *root;
	char *text;

	begin();
	report.error = ERR_LEDGER_BUSY;
	report.note.error = report.error;
	snprintf(report.note.text, sizeof report.note.text, "a \"note\"\xff");
	text = told(NULL, report_json);
	root = json_loads(text, 0, NULL);
	REQUIRE(root != NULL);
	CHECK_EQ(json_integer_value(json_object_get(root, "exit_code")), EXIT_LATER);
	CHECK_TEXT(json_string_value(json_object_get(json_object_get(root, "error"), "name")),
		   "LEDGER_BUSY");
	CHECK_EQ(json_array_size(json_object_get(root, "exceptions")), 0);
	json_decref(root);
	free(text);
}
