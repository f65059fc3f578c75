/* What the reports of a batch tell, and that a file of them is whole or the one before. */
#include "tools/batch_report.h"

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/test.h"
#include "tests/unit/batch_rows.h"

static struct batch_counts counts;

/* One row that a test may set. */
static struct batch_mailbox one;

static bool only_row(void *context, size_t index, struct batch_mailbox *out)
{
	(void)context;
	*out = one;
	return index == 0;
}

static struct batch_report report_of_one(void)
{
	struct batch_report report = made_up_report(1, &counts);

	report.rows = (struct batch_rows){ only_row, NULL, 1 };
	one = (struct batch_mailbox){ .source = "imaps://a@b/", .target = "file:///t", .wave = "" };
	return report;
}

/* ---- text ---- */

TEST(the_text_names_every_kind_of_trouble_once_with_its_next_step)
{
	struct batch_report report = made_up_report(1000, &counts);
	char *text = written(&report, batch_report_text);

	CHECK(strstr(text, "Mailboxes    1,000: 961 done, 8 incomplete, 1 doubtful, 11 "
			   "failed, 19 waiting\n"));
	CHECK_EQ(times(text, "Next: Check the user and the password"), 1);
	CHECK_EQ(times(text, "failed, the server refuses the login: "), 1);
	CHECK_EQ(times(text, ": 1 message is stored but not as sent"), 1);
	CHECK_EQ(times(text, "2 messages and 1 folder were not moved"), 8);
	CHECK(strstr(text, "Throttled    10.0 %"));
	CHECK(strstr(text, "Not all mailboxes are done. Run the same command again"));
	CHECK(strstr(text, "Slowest"));
	free(text);
}

TEST(the_text_is_no_longer_for_a_hundred_thousand_mailboxes)
{
	struct batch_report report = made_up_report(100000, &counts);
	char *text = written(&report, batch_report_text);

	CHECK(strlen(text) < 16 * 1024);
	CHECK_EQ(times(text, " (line "), BATCH_REPORT_WORST_SHOWN);
	CHECK(strstr(text, "more: see the CSV /var/lib/mailhaul/office-a.csv"));
	CHECK(!strstr(text, "\x1b"));
	free(text);
}

TEST(a_dry_run_tells_what_was_found_and_that_nothing_was_written)
{
	struct batch_report report = report_of_one();
	char *text;

	report.dry_run = true;
	counts = (struct batch_counts){ .messages_known = 1040, .bytes_known = 3000000 };
	counts.mailboxes[BATCH_DONE] = 1;
	text = written(&report, batch_report_text);
	CHECK(strstr(text, "\nDry run      1,040 messages in 1 mailbox, 3.0 MB; nothing was "
			   "written\n"));
	CHECK(!strstr(text, "Moved"));
	free(text);
	counts.bytes_known = 0;
	text = written(&report, batch_report_text);
	CHECK(strstr(text, "in 1 mailbox, sizes not known before they are moved; nothing was"));
	free(text);
	text = written(&report, batch_report_json);
	CHECK(strstr(text, "\"dry_run\":true"));
	free(text);
	report.dry_run = false;
	text = written(&report, batch_report_json);
	CHECK(strstr(text, "\"dry_run\":false"));
	free(text);
}

TEST(what_a_filter_left_out_is_told_of_all_and_of_each)
{
	struct batch_report report = made_up_report(3, &counts);
	char *text;

	counts.messages_left_out = 1204;
	counts.folders_left_out = 1;
	text = written(&report, batch_report_text);
	CHECK(strstr(text, "\nLeft out     1 folder and 1204 messages by the filter\n"));
	free(text);
	text = written(&report, batch_report_json);
	CHECK(strstr(text, "\"left_out\":1204,") && strstr(text, "\"folders_left_out\":1,"));
	CHECK(strstr(text, "\"left_out\":0,") && strstr(text, "\"folders_left_out\":0}"));
	free(text);
	counts.messages_left_out = counts.folders_left_out = 0;
	text = written(&report, batch_report_text);
	CHECK(!strstr(text, "Left out"));
	free(text);
}

TEST(without_a_csv_the_text_says_how_to_get_one)
{
	struct batch_report report = made_up_report(100000, &counts);
	char *text;

	report.csv_path = "";
	text = written(&report, batch_report_text);
	CHECK(strstr(text, "more: see the CSV (report.csv)\n"));
	free(text);
}

TEST(the_slowest_stand_in_their_order)
{
	struct batch_report report = made_up_report(500, &counts);
	char *text = written(&report, batch_report_text);
	const char *at = strstr(text, "Slowest");
	nsec last = INT64_MAX;
	unsigned shown = 0;

	REQUIRE(at);
	while ((at = strstr(at, "imaps://user"))) {
		struct batch_mailbox mailbox;

		(void)made_up_row(NULL, strtoul(at + 12, NULL, 10), &mailbox);
		CHECK(mailbox.duration <= last);
		last = mailbox.duration;
		shown++;
		at++;
	}
	CHECK_EQ(shown, BATCH_REPORT_SLOWEST_SHOWN);
	for (size_t i = 0; i < 500; i++) {
		struct batch_mailbox mailbox;

		(void)made_up_row(NULL, i, &mailbox);
		shown -= mailbox.duration > last;
	}
	CHECK(shown >= 1); /* fewer than all shown are slower than the last one shown */
	free(text);
}

TEST(a_batch_that_went_well_says_nothing_of_attention)
{
	struct batch_report report = report_of_one();
	char *text;

	one.state = BATCH_DONE;
	text = written(&report, batch_report_text);
	CHECK(!strstr(text, "attention"));
	CHECK(!strstr(text, "Slowest")); /* it did not take any time */
	free(text);
}

TEST(names_cannot_steer_the_terminal)
{
	struct batch_report report = report_of_one();
	char *text;

	one.state = BATCH_FAILED;
	one.error = ERR_NET_NAME;
	one.source = "imaps://\x1b[2J\xe2\x80\xae@x/";
	snprintf(one.note, sizeof one.note, "said \x1b]0;\a");
	text = written(&report, batch_report_text);
	CHECK(!strstr(text, "\x1b"));
	CHECK(!strstr(text, "\xe2\x80\xae"));
	CHECK(strstr(text, "imaps://?[2J?@x/"));
	free(text);
}

TEST(a_mailbox_that_waits_after_an_error_needs_attention_and_one_that_just_waits_does_not)
{
	struct batch_mailbox mailbox = { .state = BATCH_WAITING };

	CHECK_EQ(batch_report_rank(&mailbox), BATCH_RANK_WAITING);
	mailbox.error = ERR_NET_REFUSED;
	CHECK_EQ(batch_report_rank(&mailbox), BATCH_RANK_STUCK);
	mailbox.state = BATCH_DRAINED;
	CHECK_EQ(batch_report_rank(&mailbox), BATCH_RANK_STUCK);
	for (unsigned state = 0; state < BATCH_STATES; state++) {
		mailbox = (struct batch_mailbox){ .state = (enum batch_state)state };
		if (batch_report_rank(&mailbox) <= BATCH_RANK_STUCK)
			CHECK(*batch_report_next_step(&mailbox));
	}
}

/* ---- JSON ---- */

static json_int_t number_at(json_t *in, const char *outer, const char *key)
{
	return json_integer_value(json_object_get(json_object_get(in, outer), key));
}

TEST(the_json_parses_and_its_rows_sum_up_to_its_totals)
{
	struct batch_report report = made_up_report(1000, &counts);
	char *text = written(&report, batch_report_json);
	json_t *all = json_loads(text, 0, NULL), *rows, *row, *totals;
	json_int_t moved = 0, failed = 0;
	size_t i;

	REQUIRE(all);
	rows = json_object_get(all, "mailboxes");
	totals = json_object_get(all, "totals");
	CHECK_EQ(json_array_size(rows), 1000);
	json_array_foreach(rows, i, row)
	{
		moved += number_at(row, "messages", "moved");
		failed += strcmp(json_string_value(json_object_get(row, "state")), "failed") == 0;
	}
	CHECK_EQ(moved, number_at(totals, "messages", "moved"));
	CHECK_EQ(failed, number_at(totals, "mailboxes", "failed"));
	CHECK_EQ(number_at(totals, "mailboxes", "total"), 1000);
	CHECK_EQ(json_integer_value(json_object_get(all, "exit_code")), EXIT_INCOMPLETE);
	CHECK_TEXT(json_string_value(json_object_get(json_array_get(rows, 3), "source")), HOSTILE);
	CHECK_TEXT(json_string_value(json_object_get(json_array_get(rows, 3), "error")),
		   "IMAP_LOGIN");
	CHECK(json_is_null(json_object_get(json_array_get(rows, 0), "error")));
	json_decref(all);
	free(text);
}

/* ---- CSV ---- */

static const char *row_of_csv(const struct batch_report *report, char **text)
{
	char *row;

	*text = written(report, batch_report_csv);
	row = strstr(*text, "\r\n");
	return row ? row + 2 : "";
}

TEST(the_csv_has_a_row_for_each_mailbox_and_as_many_fields_as_its_header)
{
	struct batch_report report = made_up_report(1000, &counts);
	char *text = written(&report, batch_report_csv);
	size_t fields = 1, commas = 0;
	bool quoted = false;

	CHECK_EQ(times(text, "\r\n"), 1001);
	for (const char *at = text; at < strstr(text, "\r\n"); at++)
		fields += *at == ',';
	for (const char *at = text; *at; at++) {
		quoted ^= *at == '"';
		commas += *at == ',' && !quoted;
	}
	CHECK_EQ(commas, 1001 * (fields - 1));
	free(text);
}

TEST(the_csv_tells_what_was_found_wrapped_and_left_out_of_each)
{
	static const char columns[] =
		",messages_found,messages_wrapped,messages_left_out,folders_left_out";
	struct batch_report report = report_of_one();
	char *text, *end;

	one.messages_found = 71;
	one.messages_wrapped = 72;
	one.messages_left_out = 73;
	one.folders_left_out = 74;
	text = written(&report, batch_report_csv);
	end = strstr(text, "\r\n");
	REQUIRE(end);
	CHECK(memcmp(end - strlen(columns), columns, strlen(columns)) == 0);
	CHECK(strstr(end, ",71,72,73,74\r\n"));
	free(text);
}

TEST(a_cell_of_the_csv_cannot_become_a_formula_or_two_cells)
{
	struct batch_report report = report_of_one();
	const char *row;
	char *text;

	one.source = "=HYPERLINK(\"http://x\";\"y\")";
	one.wave = "@a";
	snprintf(one.note, sizeof one.note, "-1,\r\n+2\xff");
	row = row_of_csv(&report, &text);
	CHECK(strstr(row, "\"'=HYPERLINK(\"\"http://x\"\";\"\"y\"\")\",\"file:///t\",\"'@a\","));
	CHECK(strstr(row, "\"'-1,\r\n+2\xef\xbf\xbd\""));
	free(text);
	one.source = "+x";
	row = row_of_csv(&report, &text);
	CHECK(strncmp(row, "0,\"'+x\",", 8) == 0);
	free(text);
	one.source = "\t=x";
	row = row_of_csv(&report, &text);
	CHECK(strncmp(row, "0,\"'\t=x\",", 9) == 0);
	free(text);
}

/* ---- files ---- */

static char path[128];

static const char *file_named(const char *name)
{
	snprintf(path, sizeof path, "%s/%s", test_directory(), name);
	return path;
}

static size_t files_in_directory(void)
{
	DIR *directory = opendir(test_directory());
	size_t count = 0;

	must(directory);
	while (readdir(directory))
		count++;
	closedir(directory);
	return count - 2; /* . and .. */
}

TEST(a_saved_report_is_the_owners_alone_and_leaves_nothing_beside_it)
{
	struct batch_report report = made_up_report(20, &counts);
	struct stat status;

	CHECK_OK(batch_report_save(&report, file_named("a.csv"), batch_report_csv));
	REQUIRE(stat(path, &status) == 0);
	CHECK_EQ(status.st_mode & 0777, 0600);
	CHECK(status.st_size > 1000);
	CHECK_OK(batch_report_save(&report, path, batch_report_json));
	CHECK_EQ(files_in_directory(), 1);
}

TEST(a_symbolic_link_stays_and_its_file_is_replaced)
{
	struct batch_report report = made_up_report(2, &counts);
	char link_name[160];
	struct stat status;

	CHECK_OK(batch_report_save(&report, file_named("a.csv"), batch_report_csv));
	snprintf(link_name, sizeof link_name, "%s/link", test_directory());
	REQUIRE(symlink("a.csv", link_name) == 0);
	CHECK_OK(batch_report_save(&report, link_name, batch_report_json));
	REQUIRE(lstat(link_name, &status) == 0);
	CHECK(S_ISLNK(status.st_mode));
	CHECK_EQ(files_in_directory(), 2);
}

TEST(a_report_that_cannot_be_written_is_told_with_its_name)
{
	struct batch_report report = made_up_report(2, &counts);

	CHECK_ERR(batch_report_save(&report, file_named("no/such/r.csv"), batch_report_csv),
		  ERR_DISK_ABSENT);
	CHECK(strstr(err_note()->text, "no/such/r.csv"));
	err_note_clear();
	CHECK_ERR(batch_report_save(&report, "/dev/full", batch_report_csv), ERR_DISK_FULL);
	CHECK(strstr(err_note()->text, "/dev/full"));
	err_note_clear();
	CHECK_ERR(batch_report_save(&report, test_directory(), batch_report_csv), ERR_DISK_IO);
	err_note_clear();
	CHECK_OK(batch_report_save(&report, "/dev/null", batch_report_csv));
	CHECK_EQ(files_in_directory(), 0);
}

/* As if the disk were full: the stream refuses what is written to it. */
static void write_badly(const struct batch_report *report, FILE *to)
{
	batch_report_csv(report, to);
	fflush(to);
	close(fileno(to));
	batch_report_csv(report, to);
}

TEST(a_report_that_failed_half_way_leaves_the_one_before)
{
	struct batch_report report = made_up_report(2000, &counts);
	struct stat before, after;

	CHECK_OK(batch_report_save(&report, file_named("a.csv"), batch_report_csv));
	REQUIRE(stat(path, &before) == 0);
	CHECK_ERR(batch_report_save(&report, path, write_badly), ERR_DISK_IO);
	REQUIRE(stat(path, &after) == 0);
	CHECK_EQ(after.st_size, before.st_size);
	CHECK_EQ(after.st_ino, before.st_ino);
	CHECK_EQ(files_in_directory(), 1);
	err_note_clear();
}
