#include "tests/unit/mailbox_csv_help.h"

#include <sys/resource.h>
#include <unistd.h>

static const char mark[] = "s3cret-MARK";

/* ---- memory; first, because it looks at the highest there was ---- */

/* A sanitizer keeps freed memory for a while, so a peak says nothing there. */
enum { PEAK_COUNTS = !SANITIZED };

static long memory_peak_kib(void)
{
	struct rusage usage;

	must(getrusage(RUSAGE_SELF, &usage) == 0);
	return usage.ru_maxrss;
}

static FILE *list_begin(const char *header)
{
	FILE *file = fopen(list_path(), "w");

	must(file && fchmod(fileno(file), 0600) == 0);
	fputs(header, file);
	return file;
}

/* 80 MiB of a column that is not kept. */
TEST(what_is_not_kept_of_a_large_file_takes_no_memory)
{
	FILE *file = list_begin("source,source_user,source_auth,notes\n");
	struct told told = { 0 };
	struct mailbox_csv *list;
	static char notes[4096];
	long before;

	memset(notes, 'n', sizeof notes - 1);
	for (unsigned i = 0; i < 20000; i++)
		fprintf(file, "imaps://h/,user%u,env:P,\"%s\"\n", i, notes);
	must(fclose(file) == 0);
	before = memory_peak_kib();
	CHECK_OK(list_read("", true, &told, &list));
	CHECK(!PEAK_COUNTS || memory_peak_kib() - before < 16 * 1024);
	CHECK_EQ(list->count, 20000);
	CHECK(told_has(&told.warnings, "1||column 4, \"notes\", means nothing to mailhaul"));
	mailbox_csv_close(&list);
	told_free(&told);
}

TEST(half_a_million_mailboxes_take_less_than_a_kibibyte_each)
{
	FILE *file = list_begin("wave,source,source_user,source_auth,dest,priority\n");
	struct told told = { 0 };
	struct mailbox_csv *list;
	long before;

	for (unsigned i = 0; i < 500000; i++)
		fprintf(file,
			"w%u,imaps://imap%u.example.com/,user%u@example.com,plain:%u,file:///a/%u,"
			"%u\n",
			i / 1000, i % 7, i, i, i, i % 5);
	must(fclose(file) == 0);
	before = memory_peak_kib();
	CHECK_OK(list_read("", false, &told, &list));
	CHECK(!PEAK_COUNTS || memory_peak_kib() - before < 500000);
	REQUIRE(list != NULL);
	CHECK_EQ(list->count, 500000);
	CHECK_TEXT(list->rows[499999].source,
		   "imaps://user499999%40example.com@imap3.example.com/");
	CHECK_TEXT(list->rows[499999].target, "file:///a/499999");
	CHECK(secret_is(&list->rows[499999].source_secret, "499999"));
	mailbox_csv_close(&list);
	told_free(&told);
}

/* ---- lists as the tools document them, unedited ---- */

static struct mailbox_csv *documented(const char *name, const char *source, struct told *told)
{
	static char text[8192];
	char path[200];
	struct mailbox_csv *list;
	FILE *file;
	size_t bytes;

	snprintf(path, sizeof path, "tests/vec/csv/%s", name);
	file = fopen(path, "r");
	must(file);
	bytes = fread(text, 1, sizeof text, file);
	fclose(file);
	list_write(text, bytes, 0600);
	if (!CHECK_OK(list_read(source, true, told, &list)))
		told_has(&told->faults, "no faults");
	return list;
}

static void row_is(const struct mailbox_csv *list, size_t index, uint32_t line, const char *source,
		   const char *password)
{
	const struct mailbox_row *row = &list->rows[index];

	must(index < list->count);
	CHECK_EQ(row->line, line);
	CHECK_TEXT(row->source, source);
	if (password)
		CHECK(secret_is(&row->source_secret, password));
	else
		CHECK(row->source_secret.kind != SECRET_REF_CSV);
}

TEST(a_native_list_reads_as_documented)
{
	struct told told = { 0 };
	struct mailbox_csv *list = documented("native.csv", "", &told);
	const struct mailbox_row *row;

	REQUIRE(list && list->count == 3);
	CHECK_TEXT(list->dialect, "native");
	CHECK(!list->passwords_plain);
	row_is(list, 0, 3, "imaps://alice%40example.com@mail.example.com/", NULL);
	row_is(list, 1, 4, "imap://bob%40example.com@mail.example.com/", NULL);
	row_is(list, 2, 6, "imaps://carol@mail.example.net/", NULL);
	row = &list->rows[0];
	CHECK_TEXT(row->target, "file:///srv/archive/alice");
	CHECK_EQ(row->source_secret.kind, SECRET_REF_FILE);
	CHECK_TEXT(row->source_secret.text, "/etc/mailhaul/alice");
	CHECK_TEXT(row->wave, "pilot");
	CHECK_EQ(row->priority, 10);
	CHECK_EQ(row->connections, 2);
	CHECK_TEXT(row->account, "alice@example.com@mail.example.com");
	row = &list->rows[1];
	CHECK_EQ(row->source_secret.kind, SECRET_REF_ENV);
	CHECK_TEXT(row->ticket, "CHG-1002, second part");
	CHECK_TEXT(row->tags, "sales, emea");
	CHECK_TEXT(row->target, "");
	CHECK(!row->priority_given);
	CHECK_EQ(row->connections, 0);
	row = &list->rows[2];
	CHECK_EQ(row->source_secret.kind, SECRET_REF_EXEC);
	CHECK_TEXT(row->source_secret.text, "/usr/bin/pass show carol");
	CHECK(row->priority_given && row->priority == -5);
	CHECK_EQ(told.warnings.bytes, 0);
	mailbox_csv_close(&list);
	told_free(&told);
}

TEST(a_microsoft_list_takes_its_server_from_the_job)
{
	struct told told = { 0 };
	struct mailbox_csv *list =
		documented("microsoft.csv", "imap://old.example.com:1143/", &told);

	REQUIRE(list && list->count == 3);
	CHECK_TEXT(list->dialect, "Microsoft IMAP");
	row_is(list, 0, 2, "imap://example%5Cann.lee@old.example.com:1143/", "1091990");
	row_is(list, 2, 4, "imap://example%5Ccho.kim@old.example.com:1143/", "32,819\"86");
	CHECK_TEXT(list->rows[0].source_user, "example\\ann.lee");
	CHECK_TEXT(list->rows[0].target_user, "ann@example.org");
	CHECK_TEXT(list->rows[0].target, "");
	CHECK(list->passwords_plain);
	CHECK(told_has(&told.warnings, "2||3 passwords stand in the list in plain"));
	mailbox_csv_close(&list);
	told_free(&told);
}

TEST(a_migrationwiz_list_needs_only_the_two_addresses)
{
	struct told told = { 0 };
	struct mailbox_csv *list =
		documented("migrationwiz.csv", "imaps://old.example.com/", &told);

	REQUIRE(list && list->count == 2);
	CHECK_TEXT(list->dialect, "MigrationWiz");
	row_is(list, 0, 2, "imaps://ann@old.example.com/", "one1");
	row_is(list, 1, 3, "imaps://ben%40example.com@old.example.com/", NULL);
	CHECK_EQ(list->rows[1].source_secret.kind, SECRET_REF_NONE);
	CHECK_EQ(list->rows[0].target_secret.kind, SECRET_REF_NONE);
	CHECK_TEXT(list->rows[1].target_user, "ben@example.org");
	mailbox_csv_close(&list);
	told_free(&told);
}

TEST(a_mailferry_list_says_how_tls_begins)
{
	struct told told = { 0 };
	struct mailbox_csv *list = documented("mailferry.csv", "", &told);

	REQUIRE(list && list->count == 3);
	CHECK_TEXT(list->dialect, "MailFerry");
	row_is(list, 0, 2, "imaps://ann%40example.com@imap.example.com/", "Secret1");
	row_is(list, 1, 3, "imap://ben%40example.com@imap.example.com/", "Secret3");
	row_is(list, 2, 4, "imap://cho%40example.com@imap.example.com:1143/", "Secret5");
	CHECK_TEXT(list->rows[2].target, "");
	CHECK_TEXT(list->rows[2].target_user, "cho@example.org");
	mailbox_csv_close(&list);
	told_free(&told);
}

TEST(an_imapsync_list_has_neither_header_nor_quotes)
{
	struct told told = { 0 };
	struct mailbox_csv *list = documented("imapsync.txt", "", &told);

	REQUIRE(list && list->count == 4);
	CHECK_TEXT(list->dialect, "imapsync");
	row_is(list, 0, 6, "imaps://ann@imap1.example.com/", "\"pass,word");
	row_is(list, 1, 7, "imaps://ben@imap1.example.com/", "pass#word");
	row_is(list, 2, 10, "imaps://cho@imap1.example.com/", "passw");
	row_is(list, 3, 11, "imap://dan@imap1.example.com:1143/", "passw");
	CHECK_TEXT(list->rows[3].target_user, "dan@example.com");
	mailbox_csv_close(&list);
	told_free(&told);
}

/* ---- 10,000 rows of each ---- */

static const struct large {
	const char *name, *header, *row, *job_source, *source, *password;
} large[] = {
	{ "native",
	  "\xef\xbb\xbf"
	  "batch,source,source_user,source_auth,dest,dest_user,dest_auth,priority,"
	  "folder_rules,since,before,max_gb,ticket,tags\r\n",
	  "w1,imaps://old.example.com/,u%u@example.com,plain:p\"%u,,,,,,,,,,\r\n", "",
	  "imaps://u%u%%40example.com@old.example.com/", "p\"%u" },
	{ "Microsoft IMAP", "EmailAddress,UserName,Password\r\n",
	  "u%u@example.org,example\\u%1$u,p%1$u\r\n", "imaps://old.example.com",
	  "imaps://example%%5Cu%u@old.example.com/", "p%u" },
	{ "Microsoft IMAP", "\"EmailAddress\";\"UserName\";\"Password\"\n",
	  "\"u%u@example.org\";\"u%1$u\";\"p;\"\"%1$u\"\n", "imaps://old.example.com",
	  "imaps://u%u@old.example.com/", "p;\"%u" },
	{ "MigrationWiz",
	  "Source Email,Source Login Name,Source Password,Destination Email,Destination Login "
	  "Name,Destination Password,Flags\r\n",
	  "u%u@example.com,,p%1$u,u%1$u@example.org,,x,\r\n", "imaps://old.example.com",
	  "imaps://u%u%%40example.com@old.example.com/", "p%u" },
	{ "MailFerry",
	  "srchost,srcport,srcsecurity,srcuser,srcpassword,dsthost,dstport,dstsecurity,dstuser,"
	  "dstpassword\n",
	  "old.example.com,993,ssl,u%u,p%1$u,new.example.org,993,ssl,u%1$u,x\n", "",
	  "imaps://u%u@old.example.com/", "p%u" },
	{ "imapsync", "# host1;user1;password1;host2;user2;password2;extra options;\n",
	  "old.example.com;u%u;p,\"%1$u;new.example.org;u%1$u;x;;\n", "",
	  "imaps://u%u@old.example.com/", "p,\"%u" },
	{ "MailFerry",
	  "dstpassword\tdstuser\tdstsecurity\tdstport\tdsthost\tsrcpassword\tsrcuser\tSRCSECURITY\t"
	  "srcport\tsrchost\r",
	  "x\tu\tssl\t\tnew.example.org\tp%u\tu%1$u\tSTARTTLS\t\told.example.com\r", "",
	  "imap://u%u@old.example.com/", "p%u" },
};

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
static void write_large(const struct large *of)
{
	FILE *file = list_begin(of->header);

	for (unsigned i = 0; i < 10000; i++)
		fprintf(file, of->row, i, i);
	must(fclose(file) == 0);
}

static bool large_row_is(const struct large *of, const struct mailbox_row *row, unsigned i)
{
	char source[100], password[100];

	snprintf(source, sizeof source, of->source, i);
	snprintf(password, sizeof password, of->password, i);
	return row->line == i + 2 && strcmp(row->source, source) == 0 &&
	       secret_is(&row->source_secret, password);
}
#pragma GCC diagnostic pop

TEST(ten_thousand_rows_of_every_dialect_read_unedited)
{
	for (size_t at = 0; at < ARRAY_COUNT(large); at++) {
		struct told told = { 0 };
		struct mailbox_csv *list;
		unsigned wrong = 0;

		write_large(&large[at]);
		CHECK_OK(list_read(large[at].job_source, true, &told, &list));
		if (!list || list->count != 10000)
			test_failed(__FILE__, __LINE__, "case %zu: %s", at,
				    told.faults.at ? told.faults.at : "rows are missing");
		for (unsigned i = 0; list && i < list->count; i++)
			wrong += !large_row_is(&large[at], &list->rows[i], i);
		CHECK_EQ(wrong, 0);
		if (list)
			CHECK_TEXT(list->dialect, large[at].name);
		mailbox_csv_close(&list);
		told_free(&told);
	}
}

/* ---- faults ---- */

/* Every fault names its place and none shows a field: the marker stands for a password, in its own
 * column and in those it may slip into. */
static void faulty(const char *text, size_t bytes, const char *source, bool target,
		   const char *expected)
{
	struct told told = { 0 };
	struct mailbox_csv *list;

	list_write(text, bytes, 0600);
	CHECK_ERR(list_read(source, target, &told, &list), ERR_INPUT_FILE);
	if (!told_has(&told.faults, expected))
		test_failed(__FILE__, __LINE__, "not told: %s", expected);
	CHECK(!told.faults.at || !strstr(told.faults.at, mark));
	CHECK(!told.warnings.at || !strstr(told.warnings.at, mark));
	CHECK(!strstr(err_note()->text, mark));
	CHECK(list == NULL);
	mailbox_csv_close(&list);
	told_free(&told);
}

#define NATIVE "source,source_user,source_auth,priority,connections,since,max_gb\n"
#define MS     "EmailAddress,UserName,Password,UserRoot\n"
#define FERRY                                                                                      \
	"srchost,srcport,srcsecurity,srcuser,srcpassword,dsthost,dstport,dstsecurity,"             \
	"dstuser,dstpassword\n"
#define M "s3cret-MARK"

TEST(every_fault_is_told_with_its_place_and_without_the_password)
{
	static const struct {
		const char *text, *source;
		bool target;
		const char *expected;
	} cases[] = {
		{ NATIVE "imaps://h,a," M ",,,,\n", "", true, "2|source_auth|" },
		{ NATIVE "imaps://h,a,fil:" M ",,,,\n", "", true, "2|source_auth|" },
		{ NATIVE "imaps://h,a,plain:,,,,\n", "", true, "2|source_auth|" },
		{ NATIVE "imaps://a:" M "@h/,,env:P,,,,\n", "", true, "2|source|has a password" },
		{ NATIVE "imaps://b@h/,a,env:P,,,,\n", "", true, "2|source_user|is not the user" },
		{ NATIVE "pop3://h/,a,env:P,,,,\n", "", true, "2|source|mailhaul cannot read" },
		{ NATIVE "imaps://h,,env:P,,,,\n", "", true, "2|source_user|is empty" },
		{ NATIVE ",a,env:P,,,,\n", "", true, "2|source_user|no server" },
		{ NATIVE "imaps://h,a,env:P," M ",,,\n", "", true, "2|priority|must be a whole" },
		{ NATIVE "imaps://h,a,env:P,,0,,\n", "", true, "2|connections|must be a whole" },
		{ NATIVE "imaps://h,a,env:P,,9,,\n", "", true,
		  "2|connections|must be a whole number from 1 to 8" },
		{ NATIVE "imaps://h,a,env:P,,,2024-01-01,\n", "", true, "2|since|this version" },
		{ NATIVE "imaps://h,a,env:P,,,," M "\n", "", true, "2|max_gb|this version" },
		{ NATIVE "imaps://h," M ",a,env:P,,,,\n", "", true, "2||8 fields where there" },
		{ NATIVE "imaps://" M "/?,a,env:P,,,,\n", "", true, "2|source|" },
		{ NATIVE "imaps://h,a,\"plain:" M "\nx\",,,,\n", "", true,
		  "2|source_auth|holds a line break" },
		{ "source,source_user,wave,batch\nimaps://h,a,1,1\n", "", true,
		  "1|batch|this column is there twice" },
		{ "source,dest\nimaps://a@h,ews://b@k\n", "", true,
		  "2|dest|mailhaul cannot write" },
		{ MS "a@b," M "," M ",\n", "", true, "2|UserName|no server" },
		{ MS "a@b,a," M " ,\n", "imaps://h", true,
		  "2|Password|the password begins or ends" },
		{ MS "a@b,a," M ",/Migrated\n", "imaps://h", true, "2|UserRoot|this version" },
		{ MS "a@b,a," M "," M "," M "\n", "imaps://h", true, "2||5 fields" },
		{ MS "a@b,a,\"" M "\n\n\n", "imaps://h", true, "2||column 7: the quote" },
		{ MS "a@b,a,\"" M "\"" M ",\n", "imaps://h", true, "2||column 20: text follows" },
		{ MS "a@b,a," M "\xff,\n", "imaps://h", true, "2||column 18: not UTF-8" },
		{ MS "a@b,a," M ",\n", "nonsense", true, "0|source|" },
		{ "EmailAddress,UserName\na,b\n", "imaps://h", true, "1|Password|this looks like" },
		{ "a@b," M "," M "\n", "imaps://h", true, "1||the first line is no header" },
		{ FERRY "h,993,none,a," M ",k,993,ssl,b," M "\n", "", true,
		  "2|srcsecurity|\"none\" would send" },
		{ FERRY "h,993," M ",a," M ",k,993,ssl,b," M "\n", "", true,
		  "2|srcsecurity|must be" },
		{ FERRY "h," M ",ssl,a," M ",k,993,ssl,b," M "\n", "", true, "2|srchost|" },
		{ FERRY "h,993,ssl,a," M ",k,993,none,b," M "\n", "", false, "2|dstsecurity|" },
		{ "h;a;" M ";k;b;" M ";--dry;\n", "", true, "1|extra options|has an option" },
		{ "h;a;" M ";k;b;" M ";--automap;\n", "", false, "1|extra options|has an option" },
		{ "h;a;" M ";k;b;" M ";;;" M "\n", "", true, "1||9 fields" },
		{ "h;;" M ";k;b;" M ";\n", "", true, "1|user1|is empty" },
		{ "", "", true, "0||the list is empty" },
		{ "# " M "\n\n", "", true, "0||the list is empty" },
		{ NATIVE, "", true, "0||the list has no mailboxes" },
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
		faulty(cases[i].text, strlen(cases[i].text), cases[i].source, cases[i].target,
		       cases[i].expected);
}

TEST(utf16_and_nul_bytes_are_refused_with_the_way_out)
{
	faulty("\xff\xfe"
	       "a\0,\0",
	       6, "", true, "1||the list is in UTF-16");
	faulty("\xfe\xff\0a\0,", 6, "", true, "iconv -f UTF-16 -t UTF-8");
	faulty("s\0o\0u\0", 6, "", true, "1||column 2: a NUL byte");
	faulty(MS "a@b,a,b\0c,\n", sizeof MS + 10, "imaps://h", true, "2||column 8: a NUL byte");
}

TEST(all_faults_of_a_file_are_told_in_one_pass)
{
	struct told told = { 0 };
	struct mailbox_csv *list;
	static const char text[] = NATIVE "imaps://h,a,env:P,x,y,,\n"
					  "imaps://h,b,env:P,,,,\n"
					  "imaps://h,c,,,,z,\n"
					  "imaps://h\n";

	list_write(text, sizeof text - 1, 0600);
	CHECK_ERR(list_read("", true, &told, &list), ERR_INPUT_FILE);
	CHECK_EQ(told.faults_count, 4);
	CHECK(strstr(err_note()->text, "list.csv:2: priority: must be a whole number"));
	told_free(&told);
}

TEST(a_mailbox_that_stands_there_twice_is_named_with_both_lines)
{
	static const char native[] = NATIVE "imaps://h,A@B.example,env:P,,,,\n"
					    "imaps://h,c,env:P,,,,\n"
					    "imaps://a%40b.example@H:993/,,env:Q,,,,\n";
	static const char microsoft[] = MS "a@b,u," M ",\nc@d,u," M ",\n";

	faulty(native, sizeof native - 1, "", true,
	       "4|source_user|the same mailbox stands in line 2");
	faulty(microsoft, sizeof microsoft - 1, "imaps://h", true,
	       "3|UserName|the same mailbox stands in line 2");
}

TEST(logins_that_are_no_addresses_keep_their_case_and_ports_their_server)
{
	static const char text[] = NATIVE "imaps://h,u,env:P,,,,\nimaps://h,U,env:P,,,,\n"
					  "imaps://h:1993,u,env:P,,,,\n";
	struct told told = { 0 };
	struct mailbox_csv *list;

	list_write(text, sizeof text - 1, 0644);
	CHECK_OK(list_read("", true, &told, &list));
	REQUIRE(list && list->count == 3);
	CHECK_TEXT(list->rows[2].account, "u@h:1993");
	mailbox_csv_close(&list);
	told_free(&told);
}

/* ---- passwords in the file ---- */

#define ONE_PASSWORD MS "a@b,a," M ",\n"

TEST(a_list_with_passwords_that_others_can_read_is_refused)
{
	struct told told = { 0 };
	struct mailbox_csv *list;

	list_write(ONE_PASSWORD, sizeof ONE_PASSWORD - 1, 0640);
	CHECK_ERR(list_read("imaps://h", true, &told, &list), ERR_INPUT_FILE);
	CHECK(told_has(&told.faults, "2||the list holds a password and is open to others "
				     "(mode 0640): chmod 600"));
	told_free(&told);
}

TEST(a_list_changed_in_place_is_noticed_when_the_password_is_read)
{
	struct told told = { 0 };
	struct mailbox_csv *list;
	struct secret *secret = NULL;

	list_write(ONE_PASSWORD, sizeof ONE_PASSWORD - 1, 0600);
	CHECK_OK(list_read("imaps://h", true, &told, &list));
	REQUIRE(list != NULL);
	CHECK(secret_is(&list->rows[0].source_secret, mark));
	list_write(MS "a@b,a,s3cret-mark,\n", sizeof ONE_PASSWORD - 1, 0600);
	err_note_clear();
	CHECK_ERR(mailbox_secret_read(&list->rows[0].source_secret, &secret), ERR_INPUT_SECRET);
	CHECK(strstr(err_note()->text, "was changed in place"));
	CHECK(!strstr(err_note()->text, "s3cret"));
	list_write("", 0, 0600);
	CHECK_ERR(mailbox_secret_read(&list->rows[0].source_secret, &secret), ERR_INPUT_SECRET);
	mailbox_csv_close(&list);
	told_free(&told);
}

TEST(a_list_replaced_by_rename_goes_on_being_read_as_it_was)
{
	struct told told = { 0 };
	struct mailbox_csv *list;
	char old[300];

	list_write(ONE_PASSWORD, sizeof ONE_PASSWORD - 1, 0600);
	CHECK_OK(list_read("imaps://h", true, &told, &list));
	REQUIRE(list != NULL);
	snprintf(old, sizeof old, "%s.old", list_path());
	CHECK_EQ(rename(list_path(), old), 0);
	CHECK_EQ(unlink(old), 0);
	list_write("something else", 14, 0600);
	CHECK(secret_is(&list->rows[0].source_secret, mark));
	mailbox_csv_close(&list);
	told_free(&told);
}

TEST(spaces_belong_to_a_password_in_quotes_and_to_nothing_else)
{
	static const char text[] = "EmailAddress , UserName ,\tPassword\n a@b , \"u\" ,\" p \"\n";
	struct told told = { 0 };
	struct mailbox_csv *list;

	list_write(text, sizeof text - 1, 0600);
	CHECK_OK(list_read("imaps://h", true, &told, &list));
	REQUIRE(list && list->count == 1);
	CHECK_TEXT(list->rows[0].source, "imaps://u@h/");
	CHECK_TEXT(list->rows[0].target_user, "a@b");
	CHECK(secret_is(&list->rows[0].source_secret, " p "));
	mailbox_csv_close(&list);
	told_free(&told);
}

TEST(what_is_no_file_is_refused)
{
	struct told told = { 0 };
	struct mailbox_csv *list;

	CHECK_ERR(list_read("", true, &told, &list), ERR_DISK_ABSENT);
	err_note_clear();
	CHECK_ERR(mailbox_csv_read(
			  test_directory(),
			  &(struct mailbox_csv_defaults){ .source = "", .target_given = true },
			  NULL, NULL, &list),
		  ERR_INPUT_FILE);
	told_free(&told);
}
