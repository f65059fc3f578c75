/* tools/job.c and below: what a job file means, and that every fault is told with its line and key.
 * The lists themselves are tested in mailbox_csv_test.c. */
#include "tools/job.h"

#include <stdlib.h>
#include <sys/stat.h>

#include "engine/bytes.h"
#include "tests/test.h"
#include "transport/residency.h"

enum { FAULTS_MAX = 64 };
#define MARKER "hunter2-and-more"

/* What a complete job needs besides what is tested. */
#define SOURCE	"source: {url: \"imaps://old.example/\", password: env:JOB_TEST}\n"
#define TARGET	"target: {url: \"file:///var/archive\"}\n"
#define LIST	"mailboxes: {list: [{user: alice}]}\n"
#define MINIMAL SOURCE TARGET LIST

struct told {
	unsigned count, warnings, lines[FAULTS_MAX];
	char files[FAULTS_MAX][200], keys[FAULTS_MAX][80], texts[FAULTS_MAX][300];
	char warning[600]; /* the last */
};
static struct told told;

static void keep_fault(void *context, const struct job_fault *fault)
{
	struct told *to = context;

	to->warnings += fault->warning;
	if (fault->warning)
		snprintf(to->warning, sizeof to->warning, "%u: %s", fault->line, fault->text);
	if (fault->warning || to->count == FAULTS_MAX)
		return;
	to->lines[to->count] = fault->line;
	snprintf(to->files[to->count], sizeof to->files[0], "%s", fault->file);
	snprintf(to->keys[to->count], sizeof to->keys[0], "%s", fault->key);
	snprintf(to->texts[to->count++], sizeof to->texts[0], "%s", fault->text);
}

static const char *path_of(const char *name)
{
	static char paths[4][200];
	static unsigned next;
	char *path = paths[next++ % ARRAY_COUNT(paths)];

	snprintf(path, sizeof paths[0], "%s/%s", test_directory(), name);
	return path;
}

static const char *write_bytes(const char *name, struct text content, mode_t mode)
{
	const char *path = path_of(name);
	FILE *file = fopen(path, "w");

	must(file && fwrite(content.at, 1, content.bytes, file) == content.bytes);
	must(fclose(file) == 0 && chmod(path, mode) == 0);
	return path;
}

static const char *write_file(const char *name, const char *content, mode_t mode)
{
	return write_bytes(name, text_of(content), mode);
}

static enum err open_text(const char *content, struct job **job)
{
	setenv("JOB_TEST", "x", 1);
	told.count = told.warnings = 0;
	err_note_clear();
	return job_open(write_file("job.yaml", content, 0600), keep_fault, &told, job);
}

/* The file is refused with this fault among others. */
static void check_fault(const char *content, unsigned line, const char *key, const char *part)
{
	struct job *job = NULL;

	CHECK_ERR(open_text(content, &job), ERR_INPUT_FILE);
	CHECK(job == NULL);
	for (unsigned i = 0; i < told.count; i++) {
		CHECK(!strstr(told.texts[i], MARKER));
		if (told.lines[i] == line && strcmp(told.keys[i], key) == 0 &&
		    strstr(told.texts[i], part))
			return;
	}
	test_failed(__FILE__, __LINE__, "no fault %u: %s: ...%s... in:\n%s", line, key, part,
		    content);
	for (unsigned i = 0; i < told.count; i++)
		fprintf(stderr, "  told %u: %s: %s\n", told.lines[i], told.keys[i], told.texts[i]);
}

/* And it is the only one. */
static void check_one_fault(const char *content, unsigned line, const char *key, const char *part)
{
	check_fault(content, line, key, part);
	CHECK_EQ(told.count, 1);
}

/* ---- what a good file means ---- */

TEST(what_is_not_written_has_its_default)
{
	struct job *job = NULL;

	REQUIRE(CHECK_OK(open_text(MINIMAL, &job)));
	CHECK_TEXT(job->name, "job");
	CHECK_EQ(job->mailboxes_count, 1);
	CHECK_TEXT(job->mailboxes[0].source, "imaps://alice@old.example/");
	CHECK_TEXT(job->mailboxes[0].account, "alice@old.example");
	CHECK_TEXT(job->mailboxes[0].target, "file:///var/archive");
	CHECK_EQ(job->mailboxes[0].source_secret.kind, SECRET_REF_ENV);
	CHECK_EQ(job->mailboxes[0].target_secret.kind, SECRET_REF_NONE);
	CHECK_EQ(job->mailboxes[0].connections, 1);
	CHECK_EQ(job->mailboxes[0].line, 3);
	CHECK_TEXT(job->mailboxes[0].wave, "");
	CHECK_EQ(job->limits.workers, 0);
	CHECK_EQ(job->limits.connections, 256);
	CHECK_EQ(job->limits.bytes_per_second, 0);
	CHECK_TEXT(job->options.digest, "blake3");
	CHECK_EQ(job->options.zstd_level, 1);
	CHECK_EQ(job->options.pack_bytes, 64 << 20);
	CHECK_EQ(job->options.io_timeout, 60 * NSEC_SECOND);
	CHECK_TEXT(job->outputs.log_level, "warn");
	CHECK(job->outputs.log_json && !job->outputs.log_names);
	CHECK_TEXT(job->outputs.metrics, "");
	CHECK(job->window == NULL);
	job_close(&job);
	CHECK(job == NULL);
}

TEST(what_is_written_holds)
{
	struct job *job = NULL;

	REQUIRE(CHECK_OK(open_text("name: tenant-42\n" SOURCE TARGET LIST
				   "limits: {workers: 3, mailboxes: 20, connections: 40,\n"
				   "  connections_per_host: 30, connections_per_account: 4,\n"
				   "  bandwidth: 100MB/s}\n"
				   "options: {digest: sha-256, zstd: off, pack_size: 1MiB,\n"
				   "  io_timeout: 2m, connect_timeout: 500ms}\n"
				   "log: {level: info, json: no, names: true, file: run.log}\n"
				   "metrics: {listen: \"[::1]:9469\"}\n"
				   "state: /var/lib/x\n"
				   "report: {html: r.html}\n",
				   &job)));
	CHECK_TEXT(job->name, "tenant-42");
	CHECK_EQ(job->limits.workers, 3);
	CHECK_EQ(job->limits.mailboxes, 20);
	CHECK_EQ(job->limits.connections, 40);
	CHECK_EQ(job->limits.connections_per_host, 30);
	CHECK_EQ(job->limits.connections_per_account, 4);
	CHECK_EQ(job->limits.bytes_per_second, 100000000);
	CHECK_TEXT(job->options.digest, "sha-256");
	CHECK_EQ(job->options.zstd_level, 0);
	CHECK_EQ(job->options.pack_bytes, 1 << 20);
	CHECK_EQ(job->options.io_timeout, 120 * NSEC_SECOND);
	CHECK_EQ(job->options.connect_timeout, NSEC_SECOND / 2);
	CHECK_TEXT(job->outputs.log_level, "info");
	CHECK(!job->outputs.log_json && job->outputs.log_names);
	CHECK_TEXT(job->outputs.metrics, "[::1]:9469");
	CHECK_TEXT(job->outputs.state, "/var/lib/x");
	job_close(&job);
}

TEST(relative_paths_are_those_of_the_job_files_directory)
{
	struct job *job = NULL;
	char expected[300];

	write_file("pw", MARKER "\n", 0600);
	REQUIRE(CHECK_OK(open_text("source: {url: \"imaps://h/\", password: file:pw}\n" TARGET LIST
				   "log: run.log\n",
				   &job)));
	snprintf(expected, sizeof expected, "%s/run.log", test_directory());
	CHECK_TEXT(job->outputs.log, expected);
	snprintf(expected, sizeof expected, "%s/pw", test_directory());
	CHECK_TEXT(job->mailboxes[0].source_secret.text, expected);
	job_close(&job);
}

TEST(a_mailbox_overrides_the_job)
{
	struct job *job = NULL;

	REQUIRE(CHECK_OK(open_text(SOURCE TARGET "mailboxes:\n"
						 "  list:\n"
						 "    - user: Alice@Example.com\n"
						 "      source: imaps://other.example:9993/\n"
						 "      source_user: alice/admin\n"
						 "      password: env:HOME\n"
						 "      target: file:///var/other\n"
						 "      priority: -5\n"
						 "      connections: 4\n"
						 "      wave: pilot\n"
						 "      ticket: T1\n"
						 "      tags: a b\n",
				   &job)));
	CHECK_TEXT(job->mailboxes[0].source, "imaps://alice%2Fadmin@other.example:9993/");
	CHECK_TEXT(job->mailboxes[0].source_secret.text, "HOME");
	CHECK_TEXT(job->mailboxes[0].target, "file:///var/other");
	CHECK_EQ(job->mailboxes[0].priority, -5);
	CHECK_EQ(job->mailboxes[0].connections, 4);
	CHECK_TEXT(job->mailboxes[0].wave, "pilot");
	CHECK_TEXT(job->mailboxes[0].ticket, "T1");
	CHECK_TEXT(job->mailboxes[0].tags, "a b");
	CHECK_EQ(job->mailboxes[0].line, 5);
	CHECK_EQ(job->waves_count, 1);
	job_close(&job);
}

TEST(short_forms_say_the_same_as_long_ones)
{
	struct job *job = NULL;

	write_file("a.csv", "source_user,batch\nbob,staff\n", 0600);
	write_file("b.csv", "source_user,batch\ncarol,pilot\n", 0600);
	REQUIRE(CHECK_OK(open_text(SOURCE TARGET "mailboxes: [a.csv, b.csv]\n"
						 "waves: [pilot, staff]\n"
						 "window: 22:00-06:00 Europe/Berlin\n"
						 "metrics: 127.0.0.1:9469\n"
						 "report:\n",
				   &job)));
	CHECK_EQ(job->mailboxes_count, 2);
	CHECK_TEXT(job->mailboxes[0].source, "imaps://bob@old.example/");
	CHECK_EQ(job->mailboxes[0].line, 2);
	CHECK_TEXT(job->mailboxes[1].wave, "pilot");
	CHECK_TEXT(job->waves[0], "pilot");
	CHECK(job->window != NULL);
	CHECK_TEXT(job->window_texts[0], "22:00-06:00 Europe/Berlin");
	job_close(&job);
	REQUIRE(CHECK_OK(open_text(SOURCE TARGET "mailboxes: a.csv\n", &job)));
	CHECK_EQ(job->mailboxes_count, 1);
	job_close(&job);
}

TEST(user_in_a_reference_is_the_mailboxs)
{
	struct job *job = NULL;

	write_file("alice", MARKER "\n", 0600);
	REQUIRE(CHECK_OK(open_text(
		"source: {url: \"imaps://h/\", password: \"file:{user}\"}\n" TARGET LIST, &job)));
	CHECK_TEXT(job->mailboxes[0].source_secret.text, path_of("alice"));
	job_close(&job);
}

TEST(limits_that_are_not_written_give_way_to_those_that_are)
{
	struct job *job = NULL;

	REQUIRE(CHECK_OK(open_text(MINIMAL "limits: {connections: 3}\n", &job)));
	CHECK_EQ(job->limits.connections_per_host, 3);
	CHECK_EQ(job->limits.connections_per_account, 3);
	job_close(&job);
}

TEST(ten_thousand_rows_of_a_list_are_ten_thousand_mailboxes)
{
	struct buffer list = { 0 };
	struct job *job = NULL;

	buffer_add_text(&list, "source_user,batch,priority\n");
	for (unsigned i = 0; i < 10000; i++)
		buffer_addf(&list, "user%u@example.com,wave%u,%u\n", i, i % 7, i % 5);
	must(!list.failed);
	write_bytes("big.csv", (struct text){ list.at, list.bytes }, 0600);
	buffer_free(&list);
	REQUIRE(CHECK_OK(open_text(SOURCE TARGET "mailboxes: big.csv\n", &job)));
	CHECK_EQ(job->mailboxes_count, 10000);
	CHECK_EQ(job->waves_count, 7);
	CHECK_TEXT(job->mailboxes[9999].source, "imaps://user9999%40example.com@old.example/");
	CHECK(job->mailboxes[0].target == job->mailboxes[9999].target);
	CHECK(job->mailboxes[0].source_secret.text == job->mailboxes[9999].source_secret.text);
	job_close(&job);
}

/* ---- faults of form ---- */

TEST(what_is_not_yaml_is_told_with_its_line)
{
	check_one_fault("name: a\nsource: [\n", 3, "", "is not YAML");
	check_one_fault("name: a\n\tstate: b\n", 2, "", "is not YAML");
	check_one_fault("name: a\nstate: \xff\xfe\n", 2, "", "is not YAML");
	check_one_fault("", 0, "", "is empty");
	check_one_fault("# nothing\n", 0, "", "is empty");
	check_one_fault("just words\n", 1, "", "takes keys with values");
	check_fault(MINIMAL "---\nname: b\n", 4, "", "second YAML document");
}

TEST(unknown_keys_are_told_with_what_is_meant)
{
	check_one_fault(MINIMAL "nam: x\n", 4, "nam", "name is meant");
	check_one_fault(MINIMAL "workers: 3\n", 4, "workers", "limits.workers is meant");
	check_one_fault(MINIMAL "limits:\n  worker: 3\n", 5, "limits.worker",
			"limits.workers is meant");
	check_one_fault(MINIMAL "xyzzyplugh: 3\n", 4, "xyzzyplugh", "there is no such key");
	check_one_fault(SOURCE TARGET "mailboxes:\n  list:\n    - user: a\n      pasword: " MARKER
				      "\n",
			6, "mailboxes.list[0].pasword", "mailboxes.list[].password is meant");
	check_one_fault(MINIMAL "mailboxes.list[]: {user: x}\n", 4, "mailboxes.list[]",
			"there is no such key");
}

TEST(a_key_that_stands_twice_is_told_with_both_lines)
{
	check_one_fault(MINIMAL "name: a\nname: b\n", 5, "name", "first in line 4");
	check_one_fault(MINIMAL "limits: {workers: 1}\nlimits: {workers: 2}\n", 5, "limits",
			"first in line 4");
	check_one_fault(MINIMAL "limits:\n  workers: 1\n  workers: 2\n", 6, "limits.workers",
			"first in line 5");
}

TEST(values_of_another_kind_are_told)
{
	check_one_fault(MINIMAL "name: [a]\n", 4, "name", "not a list");
	check_one_fault(MINIMAL "name: {a: b}\n", 4, "name", "not a mapping");
	check_one_fault(MINIMAL "limits: 3\n", 4, "limits", "takes keys");
	check_one_fault(MINIMAL "waves: {a: b}\n", 4, "waves", "not a mapping");
	check_one_fault(MINIMAL "name: ~\n", 4, "name", "is empty");
	check_one_fault(MINIMAL "name: \"\"\n", 4, "name", "is empty");
	check_one_fault(MINIMAL "name: \"a\\nb\"\n", 4, "name", "control character");
	check_one_fault(MINIMAL "name: \"a\\0b\"\n", 4, "name", "control character");
	check_one_fault(MINIMAL "[a]: b\n", 4, "", "a key must be a word");
	check_fault(SOURCE TARGET "mailboxes:\n  list: alice\n", 4, "mailboxes.list",
		    "takes a list");
	check_fault(SOURCE TARGET "mailboxes:\n  list:\n    - alice\n", 5, "mailboxes.list[0]",
		    "takes keys");
	check_one_fault(MINIMAL "waves: []\n", 4, "waves", "empty list");
}

TEST(values_out_of_bounds_are_told_with_the_bounds)
{
	check_one_fault(MINIMAL "limits: {workers: 257}\n", 4, "limits.workers", "0 to 256");
	check_one_fault(MINIMAL "limits: {workers: many}\n", 4, "limits.workers", "\"many\"");
	check_one_fault(MINIMAL "limits: {connections: 0}\n", 4, "limits.connections", "from 1");
	check_one_fault(MINIMAL "limits: {bandwidth: 100MB}\n", 4, "limits.bandwidth", "100MB/s");
	check_one_fault(MINIMAL "options: {zstd: 20}\n", 4, "options.zstd", "from 1 to 19, or off");
	check_one_fault(MINIMAL "options: {pack_size: 1}\n", 4, "options.pack_size", "from 65536");
	check_one_fault(MINIMAL "options: {io_timeout: 1ms}\n", 4, "options.io_timeout", "1000");
	check_one_fault(MINIMAL "options: {digest: md5}\n", 4, "options.digest", "sha-256");
	check_one_fault(MINIMAL "log: {level: loud}\n", 4, "log.level", "one of debug");
	check_one_fault(MINIMAL "log: {json: maybe}\n", 4, "log.json", "true or false");
	check_one_fault(SOURCE TARGET "mailboxes: {list: [{user: a, priority: 1e3}]}\n", 3,
			"mailboxes.list[0].priority", "a number");
	check_one_fault(SOURCE TARGET "mailboxes: {list: [{user: a, connections: 0}]}\n", 3,
			"mailboxes.list[0].connections", "from 1 to 8");
}

TEST(anchors_and_aliases_are_refused_so_no_small_file_is_a_large_job)
{
	check_one_fault(SOURCE "target: {url: &a \"file:///x\"}\n" LIST "name: *a\n", 2, "",
			"an anchor (&name)");
	check_one_fault("waves: &a [x, x]\nmailboxes:\n  csv: [*a, *a, *a]\n", 1, "",
			"an anchor (&name)");
	check_one_fault("&r a: *r\n", 1, "", "an anchor (&name)");
	check_one_fault("name: a\nstate: *nowhere\n", 2, "", "an anchor (&name)");
}

static void check_deep(char open)
{
	struct buffer deep = { 0 };

	buffer_add_text(&deep, "name: ");
	for (unsigned i = 0; i < 100000; i++)
		buffer_add(&deep, &open, 1);
	must(!deep.failed);
	check_one_fault(deep.at, 1, "", "nests deeper");
	buffer_free(&deep);
}

TEST(deep_nesting_is_refused)
{
	check_deep('[');
	check_deep('{');
}

TEST(a_file_that_is_too_long_or_none_is_refused)
{
	struct buffer large = { 0 };
	struct job *job = NULL;

	for (unsigned i = 0; i < 70000; i++)
		buffer_add_text(&large, "# fifteen bytes\n");
	must(!large.failed);
	check_one_fault(large.at, 0, "", "longer than 1048576 bytes");
	buffer_free(&large);
	told.count = 0;
	CHECK_ERR(job_open(path_of("absent.yaml"), keep_fault, &told, &job), ERR_INPUT_FILE);
	CHECK(strstr(told.texts[0], "No such file") != NULL);
	told.count = 0;
	CHECK_ERR(job_open(test_directory(), keep_fault, &told, &job), ERR_INPUT_FILE);
	CHECK(strstr(told.texts[0], "not a regular file") != NULL);
	CHECK(job == NULL);
}

TEST(more_keys_than_there_can_be_are_refused)
{
	struct buffer many = { 0 };

	for (unsigned i = 0; i < 20000; i++)
		buffer_addf(&many, "k%u: x\n", i);
	must(!many.failed);
	check_fault(many.at, 1, "", "has 20000 keys");
	buffer_free(&many);
}

/* ---- faults of meaning ---- */

TEST(what_is_missing_is_told)
{
	check_one_fault(SOURCE TARGET, 0, "mailboxes", "there are none");
	check_one_fault(SOURCE LIST, 2, "", "no target");
	check_one_fault(TARGET LIST, 2, "mailboxes.list[0].source", "no source");
	check_one_fault("source: {url: \"imaps://h/\"}\n" TARGET LIST, 3, "", "no password");
	check_one_fault(SOURCE TARGET "mailboxes:\n  list:\n    - ticket: x\n", 5,
			"mailboxes.list[0].user", "no user");
}

TEST(urls_are_checked)
{
	check_one_fault("source: {url: \"http://h/\", password: env:JOB_TEST}\n" TARGET LIST, 1,
			"source.url", "none of the sources");
	check_one_fault("source: {url: \"imaps://h/INBOX\", password: env:JOB_TEST}\n" TARGET LIST,
			1, "source.url", "names a folder");
	check_one_fault("source: {url: \"imaps://a@h/\", password: env:JOB_TEST}\n" TARGET LIST, 1,
			"source.url", "names a user");
	check_one_fault("source: {url: nothing, password: env:JOB_TEST}\n" TARGET LIST, 1,
			"source.url", "is no URL");
	check_one_fault("source: {url: \"imaps://a:" MARKER
			"@h/\", password: env:JOB_TEST}\n" TARGET LIST,
			1, "source.url", "has a password in it");
	check_one_fault(SOURCE "target: {url: \"x://h/\"}\n" LIST, 2, "target.url",
			"none of the targets");
	check_one_fault(SOURCE "target: {url: \"imaps://h/a\", password: env:JOB_TEST}\n" LIST, 2,
			"target.url", "names a folder");
	check_one_fault(SOURCE "target: {url: \"imaps://h/\"}\n" LIST, 3, "",
			"no password for the target");
	check_one_fault(SOURCE TARGET "mailboxes:\n  list:\n    - {user: a, source: \"x://h/\"}\n",
			5, "mailboxes.list[0].source", "none of the sources");
}

TEST(a_mailbox_twice_is_told_with_both_places)
{
	write_file("a.csv", "source_user\nbob@example.com\n", 0600);
	write_file("b.csv", "source_user\ncarol\nBOB@example.com\n", 0600);
	check_one_fault(SOURCE TARGET "mailboxes: {list: [{user: a},\n {user: b}, {user: a}]}\n", 4,
			"", "job.yaml:3");
	check_one_fault(SOURCE TARGET "mailboxes: [a.csv, b.csv]\n", 3, "", "a.csv:2");
	CHECK(strstr(told.files[0], "b.csv") != NULL);
}

TEST(connections_must_fit_into_each_other)
{
	check_one_fault(
		MINIMAL "limits:\n  connections_per_host: 3\n  connections_per_account: 5\n", 6,
		"limits.connections_per_account", "more than limits.connections_per_host (3)");
	check_one_fault(MINIMAL "limits:\n  connections: 10\n  connections_per_host: 11\n", 6,
			"limits.connections_per_host", "more than limits.connections (10)");
	check_one_fault(MINIMAL "limits:\n  connections: 10\n  mailboxes: 11\n", 6,
			"limits.mailboxes", "more than limits.connections (10)");
	check_one_fault("source:\n  url: imaps://h/\n  password: env:JOB_TEST\n"
			"  connections_per_mailbox: 5\n" TARGET LIST
			"limits: {connections_per_account: 4}\n",
			4, "source.connections_per_mailbox", "connections_per_account (4)");
	check_one_fault(SOURCE TARGET "mailboxes: {list: [{user: a, connections: 5}]}\n"
				      "limits: {connections_per_account: 4}\n",
			3, "mailboxes.list[0].connections", "connections_per_account (4)");
}

TEST(waves_are_those_listed)
{
	check_one_fault(SOURCE TARGET "mailboxes: {list: [{user: a, wave: x}]}\nwaves: [y]\n", 3,
			"mailboxes.list[0].wave", "none of those listed");
	check_one_fault(MINIMAL "waves: [a,\n b,\n a]\n", 6, "waves", "already");
	write_file("a.csv", "source_user,batch\nbob,x\n", 0600);
	check_one_fault(SOURCE TARGET "mailboxes: a.csv\nwaves: [y]\n", 2, "batch",
			"none of those listed");
}

TEST(each_text_of_a_window_is_told_at_its_own_line)
{
	check_one_fault(MINIMAL "window: 25:00-06:00\n", 4, "window.open", "25:00");
	check_one_fault(MINIMAL "window:\n  open: 22:00-06:00\n  blackout: soon\n", 6,
			"window.blackout", "soon");
	check_one_fault(MINIMAL "window:\n  bandwidth: fast\n", 5, "window.bandwidth", "fast");
	check_one_fault(MINIMAL "window: 22:00-06:00 Europe/Nowhere\n", 4, "window.open",
			"Nowhere");
}

TEST(what_a_filter_asks_is_told_where_it_is_wrong)
{
	check_one_fault(MINIMAL "filter:\n  exclude_folders: [a, '/b', c]\n", 5,
			"filter.exclude_folders", "empty level");
	check_one_fault(MINIMAL "filter:\n  include_folders:\n    - a\n    - '@x'\n", 7,
			"filter.include_folders", "behind @");
	check_one_fault(MINIMAL "filter: {rename_folders: [A=B, C=B]}\n", 4,
			"filter.rename_folders", "cannot become one");
	check_one_fault(MINIMAL "filter: {since: 2024-02-30}\n", 4, "filter.since", "no date");
	check_one_fault(MINIMAL "filter:\n  since: 2024-02-02\n  before: 2024-02-01\n", 6,
			"filter.before", "no message");
	check_one_fault(MINIMAL "filter: {min_size: 2kB,\n  max_size: 1kB}\n", 5, "filter.max_size",
			"no message");
	check_one_fault(MINIMAL "filter: {min_size: much}\n", 4, "filter.min_size", "a size");
}

TEST(without_a_filter_there_is_none)
{
	struct job *job = NULL;

	REQUIRE(open_text(MINIMAL "filter:\n", &job) == OK);
	CHECK(!job->filter.filter && !job->options.newest_first);
	job_close(&job);
	REQUIRE(open_text(MINIMAL "filter: {max_size: 5MiB}\noptions: {newest_first: true}\n",
			  &job) == OK);
	CHECK(filter_wants_sizes(job->filter.filter) && !filter_wants_dates(job->filter.filter));
	CHECK(job->options.newest_first);
	job_close(&job);
}

TEST(files_that_are_named_must_be_there)
{
	check_one_fault("source: {url: \"imaps://h/\", password: env:JOB_TEST,\n"
			"  ca_file: no.pem}\n" TARGET LIST,
			2, "source.ca_file", "cannot be read");
	check_one_fault(SOURCE TARGET "mailboxes: {list: [{user: a, ca_file: no.pem}]}\n", 3,
			"mailboxes.list[0].ca_file", "cannot be read");
	check_one_fault(SOURCE TARGET "mailboxes:\n  csv:\n    - no.csv\n", 5, "mailboxes.csv",
			"No such file");
	check_one_fault(MINIMAL "report: {csv: no/such/r.csv}\n", 4, "report.csv", "No such file");
	check_one_fault(MINIMAL "log: .\n", 4, "log.file", "is a directory");
}

TEST(ways_there_are_checked_before_anything_begins)
{
	static const char *const ways[][3] = {
		{ "bind_address: eth0", "source.bind_address", "no IPv4 or IPv6 address" },
		{ "proxy: \"https://p:443\"", "source.proxy", "only socks5:// and http://" },
		{ "proxy: \"http://p\"", "source.proxy", "names no port" },
		{ "proxy: \"socks5://a:b@p\"", "source.proxy", "has a password in it" },
		{ "proxy: \"socks5://a@p\"", "source.proxy", "source.proxy_password is missing" },
		{ "proxy_password: env:JOB_TEST", "source.proxy_password", "names no user" },
		{ "proxy: \"socks5://a@p\", proxy_password: \"env:{user}\"",
		  "source.proxy_password", "has {user} in it" },
	};
	char text[400];

	for (size_t i = 0; i < ARRAY_COUNT(ways); i++) {
		snprintf(
			text, sizeof text,
			"source: {url: \"imaps://h/\", password: env:JOB_TEST,\n %s}\n" TARGET LIST,
			ways[i][0]);
		check_one_fault(text, 2, ways[i][1], ways[i][2]);
	}
}

TEST(metrics_are_for_this_machine_only)
{
	check_one_fault(MINIMAL "metrics: 0.0.0.0:9469\n", 4, "metrics.listen", "loopback");
	check_one_fault(MINIMAL "metrics: 127.0.0.1\n", 4, "metrics.listen", "127.0.0.1:9469");
}

static void check_password(const char *reference, const char *part)
{
	char content[400];

	snprintf(content, sizeof content,
		 "source:\n  url: imaps://h/\n  password: \"%s\"\n" TARGET LIST, reference);
	check_one_fault(content, 3, "source.password", part);
	snprintf(content, sizeof content,
		 SOURCE TARGET "mailboxes:\n  list:\n    - user: a\n      password: \"%s\"\n",
		 reference);
	check_one_fault(content, 6, "mailboxes.list[0].password", part);
}

TEST(secrets_are_references_that_could_be_resolved)
{
	unsetenv("CREDENTIALS_DIRECTORY");
	write_file("open.pw", MARKER "\n", 0644);
	check_password(MARKER, "no reference to a secret");
	check_password("file:absent.pw", "No such file");
	check_password("file:open.pw", "open to others");
	check_password("env:JOB_TEST_ABSENT", "is not set");
	check_password("systemd:imap", "$CREDENTIALS_DIRECTORY is not set");
	check_password("systemd:a/b", "name of a credential");
	check_password("exec:/no/such/program " MARKER, "cannot be run");
	check_password("exec:pass show " MARKER, "full path");
	check_password("exec:/bin/echo '" MARKER, "quotes closed");
}

TEST(a_reference_with_user_is_checked_for_each_mailbox)
{
	write_file("alice", MARKER "\n", 0600);
	check_one_fault("source: {url: \"imaps://h/\", password: \"file:{user}\"}\n" TARGET
			"mailboxes:\n  list:\n    - user: alice\n    - user: bob\n",
			6, "source.password", "bob: No such file");
	check_one_fault("source: {url: \"imaps://h/\", password: \"file:{user}\"}\n" TARGET
			"mailboxes:\n  list:\n    - user: ../x\n",
			5, "source.password", "cannot be put in the place of {user}");
	check_one_fault(
		"source: {url: \"imaps://h/\", password: \"exec:/bin/echo {user}\"}\n" TARGET
		"mailboxes:\n  list:\n    - user: \"a -x\"\n",
		5, "source.password", "cannot be put in the place of {user}");
}

TEST(all_faults_are_told_and_the_first_is_the_note)
{
	struct job *job = NULL;

	CHECK_ERR(open_text("nam: x\n" SOURCE TARGET LIST "limits: {workers: x}\n"
			    "window: never\noptions: {zstd: 99}\nmetrics: everywhere\n",
			    &job),
		  ERR_INPUT_FILE);
	CHECK_EQ(told.count, 5);
	CHECK(strstr(err_note()->text, "job.yaml:1: nam: ") != NULL);
	err_note_clear();
	CHECK_ERR(job_open(path_of("job.yaml"), NULL, NULL, &job), ERR_INPUT_FILE);
}

TEST(a_password_in_a_list_is_warned_of_and_not_a_fault)
{
	struct job *job = NULL;

	write_file("a.csv", "EmailAddress,UserName,Password\na@x.example,a," MARKER "\n", 0600);
	REQUIRE(CHECK_OK(open_text(SOURCE TARGET "mailboxes: a.csv\n", &job)));
	CHECK_EQ(told.warnings, 1);
	CHECK_EQ(job->mailboxes[0].source_secret.kind, SECRET_REF_CSV);
	job_close(&job);
}

/* However it is written: they would not see of each other what they send there. */
TEST(mailboxes_that_go_to_one_account_are_warned_of_once)
{
	static const char *const alike[] = { "imaps://New.example:993/", "imap://new.example/",
					     "imap://new.example:143" };
	static const char *const others[] = { "imaps://new.example:1993/", "imaps://newer.example/",
					      "file:///var/archive" };
	char text[1000];
	struct job *job = NULL;

	for (unsigned i = 0; i < 2; i++) {
		const char *const *targets = i ? others : alike;

		snprintf(text, sizeof text,
			 SOURCE "target: {password: env:JOB_TEST}\nmailboxes:\n  list:\n"
				"    - {user: a, target_user: b@x, target: \"%s\"}\n"
				"    - {user: b, target_user: B@x, target: \"%s\"}\n"
				"    - {user: c, target_user: b@X, target: \"%s\"}\n"
				"    - {user: d, target: \"%s\"}\n"
				"    - {user: e, target: \"%s\"}\n",
			 targets[0], targets[1], targets[2], targets[0], targets[2]);
		REQUIRE(CHECK_OK(open_text(text, &job)));
		CHECK_EQ(told.warnings, i ? 0 : 1);
		CHECK(i ||
		      (strncmp(told.warning, "6: goes to", 10) == 0 &&
		       strstr(told.warning, "job.yaml:5, ") && strstr(told.warning, "in all: 2")));
		for (unsigned n = 0; n < 3 && !i; n++)
			CHECK(strcasecmp(job_target_account(&job->mailboxes[n]),
					 "b%40x@new.example/") == 0);
		CHECK(!i || !job_target_account(&job->mailboxes[2]));
		job_close(&job);
	}
}

/* ---- residency ---- */

TEST(residency_becomes_a_policy_and_lists_may_be_one_text)
{
	struct job *job = NULL;
	char shown[RESIDENCY_TEXT_BYTES];

	REQUIRE(CHECK_OK(open_text(MINIMAL, &job)));
	CHECK(job->residency == NULL);
	job_close(&job);
	REQUIRE(CHECK_OK(
		open_text(MINIMAL "residency:\n  hosts: [.example, mail.example.eu]\n"
				  "  addresses: 192.0.2.0/24\n  regions: [eu-central-1]\n"
				  "  partitions: aws\n  keys: 'arn:aws:kms:eu-central-1:*:key/*'\n",
			  &job)));
	CHECK_TEXT(residency_show(job->residency, shown),
		   "partitions aws; regions eu-central-1; keys arn:aws:kms:eu-central-1:*:key/*; "
		   "hosts .example, mail.example.eu; addresses 192.0.2.0/24");
	job_close(&job);
	CHECK(residency_current() == NULL); /* reading a job is not running it */
}

TEST(a_policy_that_cannot_be_meant_is_a_fault_with_its_line)
{
	check_one_fault(MINIMAL "residency:\n  hosts:\n  - .example\n  - '*.example.eu'\n", 7,
			"residency.hosts", "\"*.example.eu\": has a star; a dot in front");
	check_one_fault(MINIMAL "residency: {addresses: [192.0.2.1/24]}\n", 4,
			"residency.addresses", "behind its prefix");
	check_one_fault(MINIMAL "residency: {regions: eu}\n", 4, "residency.regions",
			"\"eu\" is no region of AWS");
	check_one_fault(MINIMAL "residency: {partitions: aws-eu}\n", 4, "residency.partitions",
			"no partition");
	check_one_fault(MINIMAL "residency: {keys: alias/mail}\n", 4, "residency.keys", "no ARN");
	check_one_fault(MINIMAL "residency: {hosts: []}\n", 4, "residency.hosts", "empty list");
	check_one_fault(MINIMAL "residency:\n", 4, "residency", "is empty");
	check_one_fault(MINIMAL "residency: {}\n", 4, "residency", "is empty");
	check_one_fault(MINIMAL "residency: none\n", 4, "residency", "takes keys with values");
	check_one_fault(MINIMAL "residency: {host: .example}\n", 4, "residency.host", "");
}

/* Of a job that is well written. */
static void check_violation(const char *content, unsigned line, const char *key, const char *part)
{
	struct job *job = NULL;

	CHECK_ERR(open_text(content, &job), ERR_RESIDENCY_ENDPOINT);
	CHECK(job == NULL);
	CHECK_EQ(told.count, 1);
	CHECK_EQ(told.lines[0], line);
	CHECK_TEXT(told.keys[0], key);
	if (!strstr(told.texts[0], part))
		test_failed(__FILE__, __LINE__, "%s", told.texts[0]);
}

TEST(a_host_outside_the_policy_is_told_before_anything_runs)
{
	check_violation(MINIMAL "residency: {hosts: [.example.eu]}\n", 1, "source.url",
			"connecting to old.example: outside of residency.hosts (.example.eu)");
	check_violation(SOURCE "target: {url: 'imaps://new.example.com/', password: env:JOB_TEST}\n"
			       "mailboxes: {list: [{user: a}, {user: b}]}\n"
			       "residency: {hosts: [.example]}\n",
			2, "target.url", "new.example.com");
	check_violation(SOURCE TARGET "mailboxes:\n  list:\n  - {user: a}\n"
				      "  - {user: b, source: 'imaps://far.example.com/'}\n"
				      "  - {user: c, source: 'imaps://far.example.com/'}\n"
				      "residency: {hosts: [.example]}\n",
			6, "source", "far.example.com");
	check_violation("source: {url: 'imaps://imap.mail.us-east-1.awsapps.com/', password: "
			"env:JOB_TEST}\n" TARGET LIST "residency: {regions: [eu-west-1]}\n",
			1, "source.url", "in us-east-1 of aws: outside of residency.regions");
}

TEST(proxies_and_token_endpoints_are_hosts_too)
{
	check_violation("source: {url: 'imaps://old.example/', password: env:JOB_TEST, proxy: "
			"'socks5://proxy.example.com'}\n" TARGET LIST
			"residency: {hosts: [.example]}\n",
			1, "source.proxy", "proxy.example.com");
	check_violation("source:\n  url: imaps://old.example/\n  oauth2: {client_secret: "
			"'env:JOB_TEST', client_id: x, token_url: "
			"'https://login.example.com/token'}\n" TARGET LIST
			"residency: {hosts: [.example]}\n",
			3, "source.oauth2.token_url", "login.example.com");
	/* A proxy looks the name up where nobody sees its addresses. */
	check_violation("source: {url: 'imaps://old.example/', password: env:JOB_TEST, proxy: "
			"'socks5://192.0.2.1'}\n" TARGET LIST
			"residency: {addresses: [192.0.2.0/24]}\n",
			1, "source.url", "residency.hosts");
}

#define BUCKET(keys)                                                                               \
	SOURCE "target: {url: 's3://bucket/a/', s3: {" keys "}}\n" LIST                            \
	       "residency: {hosts: [.example, .amazonaws.com], regions: [eu-central-1]}\n"

TEST(a_bucket_is_where_its_region_or_endpoint_is_and_so_is_its_key)
{
	struct job *job = NULL;

	check_violation(BUCKET("region: us-east-1"), 2, "target.s3.region",
			"connecting to bucket.s3.us-east-1.amazonaws.com in us-east-1 of aws");
	check_violation(BUCKET("region: any, endpoint: 'https://s3.example.com/'"), 2,
			"target.s3.endpoint", "connecting to s3.example.com");
	CHECK_ERR(open_text(BUCKET("region: eu-central-1, encryption: 'aws:kms', kms_key: "
				   "'arn:aws:kms:us-east-1:123456789012:key/a'"),
			    &job),
		  ERR_RESIDENCY_KEY);
	CHECK_TEXT(told.keys[0], "target.s3.kms_key");
	CHECK_EQ(told.count, 1);
	CHECK_OK(open_text(BUCKET("region: eu-central-1, encryption: 'aws:kms', kms_key: "
				  "'arn:aws:kms:eu-central-1:123456789012:key/a'"),
			   &job));
	job_close(&job);
}

TEST(what_is_written_wrong_is_bad_input_whatever_leads_outside)
{
	struct job *job = NULL;

	CHECK_ERR(open_text(MINIMAL "nam: x\nresidency: {hosts: [.example.eu]}\n", &job),
		  ERR_INPUT_FILE);
	CHECK_EQ(told.count, 2);
}
