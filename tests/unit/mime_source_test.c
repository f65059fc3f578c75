/* Messages in a bucket, one object each: which of what lies there is a message and of which folder,
 * that each has a number for ever, what becomes of those that cannot be had, and what is said of
 * those that we stored. */
#include "tests/unit/archive_help.h"
#include "tests/unit/s3_fake.h"
#include "transport/mime_catalogue.h"
#include "transport/mime_source.h"
#include "transport/store_s3.h"

static const struct aws_partition aws = { .dns_suffix = "aws.example",
					  .dual_stack_suffix = "aws2.example" };
static struct store_s3_config config;
static struct account account;
static struct reserve *reserve;
static struct source *source, *second;
static struct box_page page;
static struct item item; /* large: off the stack */
static char text[8000];
static size_t used;

static nsec soon(void)
{
	return clock_after(60 * NSEC_SECOND);
}

/* ---- the bucket ---- */

static struct fake_object *plant_bytes(const char *key, const void *bytes, size_t n)
{
	return fake_store(key, fake_copy(bytes, n), n);
}

static struct fake_object *plant(const char *key, const char *bytes)
{
	return plant_bytes(key, bytes, strlen(bytes));
}

static void forget(const char *key)
{
	struct fake_object *there = fake_find(key);

	must(there);
	free(there->at);
	*there = (struct fake_object){ 0 };
}

#define MAIL(subject) "Subject: " subject "\r\n\r\nHello\r\n"

static enum err open_at(struct source **to, const char *path)
{
	account.path = path;
	if (*to)
		mime_source.close(to);
	return mime_source.open(to, &account, reserve, soon());
}

static void begin(void)
{
	fake_reset(0);
	config = (struct store_s3_config){
		.s3 = { .endpoint = { .host = "s3.aws.example", .partition = &aws } },
	};
	account = (struct account){ .scheme = "s3+eml",
				    .user = "",
				    .host = "bucket",
				    .shown = "s3://bucket/in/",
				    .s3 = &config,
				    .io_timeout = 60 * NSEC_SECOND };
	must(reserve_open(arena_current(), 3 * IOLIST_SLICES_MAX, soon(), &reserve) == OK);
}

static void end(void)
{
	if (source)
		mime_source.close(&source);
	if (second)
		mime_source.close(&second);
	reserve_close(&reserve);
	err_note_clear();
}

/* ---- reading ---- */

/* "NAME=MESSAGES/BYTES" of all folders. */
static const char *listed(void)
{
	used = 0;
	text[0] = '\0';
	do {
		if (!CHECK_OK(mime_source.list(source, &page, soon())))
			break;
		for (unsigned i = 0; i < page.count; i++)
			used += (size_t)snprintf(text + used, sizeof text - used, "%s%s=%llu/%llu",
						 used ? " " : "", page.boxes[i].name,
						 (unsigned long long)page.boxes[i].messages,
						 (unsigned long long)page.boxes[i].bytes);
	} while (!page.last);
	return text;
}

/* The folder of this name, from a new listing. */
static struct box *box_listed(const char *name)
{
	static struct box found[4];
	static unsigned last;
	struct box *at = &found[last++ % ARRAY_COUNT(found)];

	memset(at, 0, sizeof *at);
	do {
		if (!CHECK_OK(mime_source.list(source, &page, soon())))
			break;
		for (unsigned i = 0; i < page.count; i++)
			if (strcmp(page.boxes[i].name, name) == 0)
				*at = page.boxes[i];
	} while (!page.last);
	at->box_no = 3;
	return at;
}

static enum err drain(struct stream *body, struct buffer *to)
{
	struct iolist list = { 0 };
	enum err e;

	while (!(e = stream_pull(body, &list))) {
		for (unsigned i = 0; i < list.count; i++)
			buffer_add(to, slice_bytes(&list.slices[i]), list.slices[i].length);
		iolist_release(&list);
	}
	return e == ERR_STREAM_ENDED ? OK : e;
}

/* The next item that is a message, and its bytes. */
static enum err next_message(struct source *from, struct buffer *body)
{
	enum err e = mime_source.next(from, &item);

	buffer_reset(body);
	while (!e && item.kind == ITEM_RANGE_DONE && !item.fate)
		e = mime_source.next(from, &item);
	if (e || item.fate || !item.body)
		return e;
	e = drain(item.body, body);
	CHECK(e || body->bytes == (size_t)item.size_bytes);
	stream_close(&item.body);
	return e;
}

static int compare_words(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Of all messages of a folder the subject, or why it does not come; sorted. */
static const char *subjects_of(struct source *from, const struct box *box)
{
	static char rows[64][80], *words[64];
	struct buffer body = { 0 };
	size_t count = 0;
	enum err e = mime_source.ask(from, box, 1, UINT64_MAX);

	CHECK_OK(e);
	while (!e && !(e = next_message(from, &body)) && count < ARRAY_COUNT(rows)) {
		words[count] = rows[count];
		if (item.fate)
			snprintf(rows[count++], sizeof rows[0], "%s", err_name(item.fate));
		else if (body.bytes > 9)
			snprintf(rows[count++], sizeof rows[0], "%.*s",
				 (int)strcspn(body.at + 9, "\r"), body.at + 9);
		else
			snprintf(rows[count++], sizeof rows[0], "-");
		err_note_clear();
	}
	CHECK_ERR(e, ERR_PIPE_ENDED);
	err_note_clear();
	buffer_free(&body);
	qsort(words, count, sizeof *words, compare_words);
	used = 0;
	text[0] = '\0';
	for (size_t i = 0; i < count; i++)
		used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", used ? " " : "",
					 words[i]);
	return text;
}

/* ---- folders ---- */

TEST_FIBER(what_lies_at_the_prefix_is_inbox_and_each_prefix_below_it_a_folder)
{
	begin();
	plant("in/0a", MAIL("a"));
	plant("in/\xc3\xa4 b+c%20/d\"e", MAIL("b"));
	plant("in/x/y/1", MAIL("c"));
	plant("in/x/y/2", MAIL("dd"));
	plant("in/INBOX/1", MAIL("e"));
	plant("in2/1", MAIL("other"));
	plant("i", MAIL("other"));
	REQUIRE(CHECK_OK(open_at(&source, "/in/")));
	CHECK_TEXT(listed(), "INBOX=2/42 x/y=2/43 \xc3\xa4 b+c%20=1/21");
	CHECK_TEXT(subjects_of(source, box_listed("INBOX")), "a e");
	CHECK_TEXT(subjects_of(source, box_listed("x/y")), "c dd");
	CHECK_EQ(box_listed("INBOX")->use, BOX_USE_INBOX);
	CHECK_EQ(box_listed("x/y")->separator, '/');
	REQUIRE(CHECK_OK(open_at(&source, "/in"))); /* the same without its slash */
	CHECK_TEXT(subjects_of(source, box_listed("x/y")), "c dd");
	REQUIRE(CHECK_OK(open_at(&source, "/")));
	CHECK_TEXT(subjects_of(source, box_listed("in/x/y")), "c dd");
	REQUIRE(CHECK_OK(open_at(&source, "/nothing/")));
	CHECK_TEXT(listed(), "");
	end();
}

TEST_FIBER(what_is_no_message_by_its_name_is_none)
{
	begin();
	plant("in/", "");
	plant("in/sub/", "");
	plant("in/sub/AMAZON_SES_SETUP_NOTIFICATION", MAIL("setup"));
	plant("in/AMAZON_SES_SETUP_NOTIFICATION", MAIL("setup"));
	plant("in/AMAZON_SES_SETUP_NOTIFICATION2", MAIL("mail"));
	REQUIRE(CHECK_OK(open_at(&source, "/in/")));
	CHECK_TEXT(listed(), "INBOX=1/24");
	CHECK_TEXT(subjects_of(source, box_listed("INBOX")), "mail");
	end();
}

/* ---- numbers ---- */

static uint64_t number_of(const char *folder)
{
	struct buffer body = { 0 };
	uint64_t no = 0;

	CHECK_OK(mime_source.ask(source, box_listed(folder), 1, UINT64_MAX));
	while (!next_message(source, &body))
		no = item.no;
	err_note_clear();
	buffer_free(&body);
	return no;
}

TEST_FIBER(a_number_is_the_objects_for_ever_and_another_objects_never)
{
	static struct box before;
	uint64_t no, other;

	begin();
	plant("in/one/a", MAIL("a"));
	REQUIRE(CHECK_OK(open_at(&source, "/in/")));
	no = number_of("one");
	CHECK(no > 0 && no < (uint64_t)1 << MIME_NO_BITS);
	before = *box_listed("one");
	CHECK_EQ(before.next_no, no + 1);
	CHECK_EQ(before.cursor.exact, true);
	plant("in/0", MAIL("elsewhere"));
	CHECK_TEXT(box_listed("one")->cursor.at, before.cursor.at);
	REQUIRE(CHECK_OK(open_at(&source, "/in/")));
	CHECK_EQ(number_of("one"), no);
	plant("in/one/a", MAIL("z")); /* in its place */
	other = number_of("one");
	CHECK(other != no && other > 0);
	CHECK(strcmp(box_listed("one")->cursor.at, before.cursor.at) != 0);
	forget("in/one/a");
	plant("in/one/b", MAIL("a"));
	CHECK(number_of("one") != no && number_of("one") != other);
	end();
}

/* docs/FORMAT.md section 13.4. */
TEST_FIBER(a_number_is_made_as_the_format_says)
{
	struct fake_object *one;

	begin();
	one = plant("in/one/a", MAIL("a"));
	snprintf(one->etag, sizeof one->etag, "\"0123456789abcdef0123456789abcdef\"");
	REQUIRE(CHECK_OK(open_at(&source, "/in/")));
	CHECK_EQ(number_of("one"), 1040594694304117246LL);
	snprintf(one->etag, sizeof one->etag, "0123456789abcdef0123456789abcdef");
	CHECK_EQ(number_of("one"),
		 1040594694304117246LL); /* a server that leaves the quotes away */
	end();
}

static unsigned there, gone;

static void scan(const struct box *box, uint64_t first, uint64_t last)
{
	struct finding finding;
	enum err e = mime_source.scan(source, box, first, last, true);

	there = gone = 0;
	CHECK_OK(e);
	while (!e && !(e = mime_source.found(source, &finding))) {
		there += finding.kind == FINDING_THERE;
		gone += finding.kind == FINDING_REST_GONE;
		CHECK(finding.kind == FINDING_THERE ? finding.no >= first && finding.no <= last
						    : finding.no == first && finding.last == last);
	}
	CHECK_ERR(e, ERR_PIPE_ENDED);
	err_note_clear();
}

TEST_FIBER(a_scan_tells_all_that_is_there_and_that_the_rest_is_gone)
{
	char key[40];
	struct box *box;
	unsigned low;

	begin();
	for (unsigned i = 0; i < 40; i++) {
		snprintf(key, sizeof key, "in/f/%u", i);
		plant(key, MAIL("x"));
	}
	REQUIRE(CHECK_OK(open_at(&source, "/in/")));
	box = box_listed("f");
	scan(box, 1, box->next_no);
	CHECK_EQ(there, 40);
	CHECK_EQ(gone, 1);
	scan(box, 1, box->next_no / 2);
	low = there;
	CHECK(low > 0 && low < 40);
	scan(box, box->next_no / 2 + 1, box->next_no - 1);
	CHECK_EQ(low + there, 40);
	box->epoch = 7;
	CHECK_ERR(mime_source.scan(source, box, 1, 5, false), ERR_SOURCE_EPOCH);
	end();
}

TEST_FIBER(ranges_part_a_folder)
{
	struct buffer body = { 0 };
	unsigned messages = 0, ranges = 0;
	struct box *box;
	char key[40];
	uint64_t width;
	enum err e;

	begin();
	for (unsigned i = 0; i < 30; i++) {
		snprintf(key, sizeof key, "in/f/%u", i);
		plant(key, MAIL("x"));
	}
	REQUIRE(CHECK_OK(open_at(&source, "/in/")));
	box = box_listed("f");
	width = box->next_no / 4;
	for (unsigned i = 0; i < 4; i++)
		CHECK_OK(mime_source.ask(source, box, i * width + 1,
					 (i + 1) * width + (i == 3) * 4));
	while (!(e = mime_source.next(source, &item))) {
		CHECK_EQ(item.box_no, 3);
		CHECK_EQ(item.range_first, ranges * width + 1);
		if (item.kind == ITEM_RANGE_DONE) {
			ranges++;
			continue;
		}
		CHECK(item.no >= item.range_first && item.no <= item.range_last);
		CHECK_OK(drain(item.body, &body));
		stream_close(&item.body);
		messages++;
	}
	CHECK_ERR(e, ERR_PIPE_ENDED);
	CHECK_EQ(messages, 30);
	CHECK_EQ(ranges, 4);
	buffer_free(&body);
	end();
}

TEST_FIBER(conversations_share_one_list)
{
	struct box *box;
	uint64_t calls;

	begin();
	plant("in/a", MAIL("a"));
	REQUIRE(CHECK_OK(open_at(&source, "/in/")) && CHECK_OK(open_at(&second, "/in/")));
	box = box_listed("INBOX");
	calls = fake.lists;
	CHECK_TEXT(subjects_of(second, box), "a");
	CHECK_EQ(fake.lists, calls);
	mime_source.close(&source); /* whoever comes later has it too */
	REQUIRE(CHECK_OK(open_at(&source, "/in/")));
	CHECK_TEXT(subjects_of(source, box), "a");
	CHECK_EQ(fake.lists, calls);
	mime_source.close(&source);
	mime_source.close(&second);
	REQUIRE(CHECK_OK(open_at(&source, "/in/"))); /* and who is alone asks himself */
	CHECK_TEXT(subjects_of(source, box), "a");
	CHECK_EQ(fake.lists, calls + 1);
	end();
}

/* ---- bytes ---- */

static void check_bytes(size_t n)
{
	static uint8_t bytes[3 * 1024 * 1024];
	struct buffer body = { 0 };

	must(n <= sizeof bytes);
	fill(bytes, n, n);
	memcpy(bytes, "A: ", 3); /* bare line ends stay so */
	plant_bytes("in/f/a", bytes, n);
	CHECK_OK(mime_source.ask(source, box_listed("f"), 1, UINT64_MAX));
	REQUIRE(CHECK_OK(next_message(source, &body)));
	CHECK_EQ(item.kind, ITEM_MESSAGE);
	CHECK_EQ(item.size_bytes, n);
	CHECK_EQ(item.meta.flags, 0);
	CHECK_EQ(item.meta.date.seconds, FAKE_TIME);
	CHECK(item.meta.date.known && item.meta.date.zone_minutes == 0);
	CHECK(body.bytes == n && memcmp(body.at, bytes, n) == 0);
	CHECK_ERR(next_message(source, &body), ERR_PIPE_ENDED);
	err_note_clear();
	buffer_free(&body);
}

TEST_FIBER(bytes_come_as_they_lie_there)
{
	begin();
	REQUIRE(CHECK_OK(open_at(&source, "/in/")));
	check_bytes(4);
	check_bytes(CHUNK_BYTES);
	check_bytes(512 * 1024);
	check_bytes(512 * 1024 + 1);
	check_bytes(STAGE_BYTES_MAX);
	check_bytes(STAGE_BYTES_MAX + 1);
	check_bytes(3 * 1024 * 1024);
	end();
}

/* Its beginning was handed out: that it is another one breaks it off, and the next attempt says
 * what it is. */
TEST_FIBER(a_large_object_that_changes_inside_breaks_off)
{
	static uint8_t bytes[3 * 1024 * 1024];
	struct iolist list = { 0 };
	uint64_t got = 0;
	struct box *box;
	enum err e;

	begin();
	fill(bytes, sizeof bytes, 7);
	memcpy(bytes, "A: ", 3);
	plant_bytes("in/f/a", bytes, sizeof bytes);
	REQUIRE(CHECK_OK(open_at(&source, "/in/")));
	box = box_listed("f");
	CHECK_OK(mime_source.ask(source, box, 1, UINT64_MAX));
	REQUIRE(CHECK_OK(mime_source.next(source, &item)) && item.body);
	plant_bytes("in/f/a", bytes, sizeof bytes);
	while (!(e = stream_pull(item.body, &list))) {
		got += iolist_bytes(&list);
		iolist_release(&list);
	}
	CHECK_ERR(e, ERR_STREAM_CUT);
	CHECK(got > 0 && got < sizeof bytes);
	stream_close(&item.body);
	err_note_clear();
	CHECK_OK(mime_source.ask(source, box, 1, UINT64_MAX));
	end();
}

/* ---- what does not come ---- */

static void check_object(const char *bytes, const char *expected)
{
	plant("in/f/a", bytes);
	if (strcmp(subjects_of(source, box_listed("f")), expected) != 0)
		test_failed(__FILE__, __LINE__, "\"%s\" is %s, not %s", bytes, text, expected);
}

TEST_FIBER(what_does_not_begin_as_mail_is_told_so)
{
	begin();
	REQUIRE(CHECK_OK(open_at(&source, "/in/")));
	check_object("", "SOURCE_NOT_MAIL");
	check_object("{\"format\":\"json\"}", "SOURCE_NOT_MAIL");
	check_object("\r\nno header", "SOURCE_NOT_MAIL");
	check_object("Hello, this is text: read it", "SOURCE_NOT_MAIL");
	check_object("\x1f\x8b\x08 gzip:", "SOURCE_NOT_MAIL");
	check_object(":", "SOURCE_NOT_MAIL");
	check_object("Subject", "SOURCE_NOT_MAIL");
	check_object("From me to you, no header\r\nsecond line\r\n", "SOURCE_NOT_MAIL");
	check_object("<?xml version=\"1.0\"?>", "SOURCE_NOT_MAIL");
	check_object("A: ", "-");
	check_object("Subject: \r\n", "");
	check_object("Subject : x\r\n", " x");
	check_object("From a@b Mon Nov 23 2026\nX-Y: z\n\n", "Mon Nov 23 2026\nX-Y: z\n\n");
	check_object("\xEF\xBB\xBFSubject: x\r\n", "t: x");
	end();
}

TEST_FIBER(what_the_client_encrypted_is_told_so)
{
	static const char v2[] =
		"x-amz-meta-x-amz-key-v2: AAAA\r\nx-amz-meta-x-amz-iv: BBBB\r\n"
		"x-amz-meta-x-amz-cek-alg: AES/GCM/NoPadding\r\n"
		"x-amz-meta-x-amz-wrap-alg: kms+context\r\nx-amz-meta-x-amz-matdesc: {}\r\n"
		"x-amz-meta-x-amz-tag-len: 128\r\n";
	static const char v3[] =
		"x-amz-meta-x-amz-c: 115\r\nx-amz-meta-x-amz-d: x\r\nx-amz-meta-x-amz-i: y\r\n"
		"x-amz-meta-x-amz-3: z\r\nx-amz-meta-x-amz-w: 12\r\n";
	static const char *const said[] = {
		v2,
		"x-amz-meta-x-amz-key: AAAA\r\n",
		"X-Amz-Meta-X-Amz-Cek-Alg: AES/CBC/PKCS5Padding\r\n",
		v3,
		"x-amz-meta-x-amz-d: x\r\n",
	};

	begin();
	REQUIRE(CHECK_OK(open_at(&source, "/in/")));
	for (size_t i = 0; i < ARRAY_COUNT(said); i++) {
		/* Even where what is encrypted looks like mail, or is nothing. */
		snprintf(plant("in/f/a", i % 2 ? "" : MAIL("x"))->fields, FAKE_FIELDS_BYTES, "%s",
			 said[i]);
		CHECK_TEXT(subjects_of(source, box_listed("f")), "SOURCE_ENCRYPTED");
	}
	snprintf(plant("in/f/a", MAIL("x"))->fields, FAKE_FIELDS_BYTES,
		 "x-amz-meta-x-amz-something: else\r\n");
	CHECK_TEXT(subjects_of(source, box_listed("f")), "x");
	end();
}

/* A key that lies beside what it opens. */
TEST_FIBER(what_has_instructions_beside_it_is_encrypted)
{
	begin();
	plant("in/f/a", MAIL("sealed"));
	plant("in/f/a-b", MAIL("between"));
	plant("in/f/a.instruction", "{\"x-amz-key-v2\":\"AAAA\"}");
	plant("in/f/b.instruction", MAIL("named-so"));
	REQUIRE(CHECK_OK(open_at(&source, "/in/")));
	CHECK_EQ(box_listed("f")->messages, 3);
	CHECK_TEXT(subjects_of(source, box_listed("f")), "SOURCE_ENCRYPTED between named-so");
	end();
}

TEST_FIBER(what_was_replaced_deleted_or_put_away_since_the_list_is_told_so)
{
	struct fake_object *put_away;
	struct box *box;

	begin();
	plant("in/f/a", MAIL("a"));
	plant("in/f/b", MAIL("b"));
	put_away = plant("in/f/c", MAIL("c"));
	plant("in/f/d", MAIL("d"));
	plant("in/f/e", "");
	REQUIRE(CHECK_OK(open_at(&source, "/in/")));
	box = box_listed("f");
	plant("in/f/a", MAIL("z"));
	forget("in/f/b");
	forget("in/f/e");
	put_away->is_archived = true;
	CHECK_TEXT(subjects_of(source, box),
		   "SOURCE_ARCHIVED SOURCE_CHANGED SOURCE_CHANGED SOURCE_CHANGED d");
	end();
}

/* What fails for now is no verdict on the message: it is asked for again. */
TEST_FIBER(what_fails_for_now_is_asked_for_again)
{
	struct buffer body = { 0 };

	begin();
	plant("in/f/a", MAIL("a"));
	REQUIRE(CHECK_OK(open_at(&source, "/in/")));
	CHECK_OK(mime_source.ask(source, box_listed("f"), 1, UINT64_MAX));
	fake.fail_at = fake.calls + 1;
	fake.fault = FAKE_REFUSED;
	CHECK_ERR(mime_source.next(source, &item), ERR_S3_UNAVAILABLE);
	err_note_clear();
	CHECK_OK(next_message(source, &body));
	CHECK_EQ(body.bytes, strlen(MAIL("a")));
	buffer_free(&body);
	end();
}

/* ---- what we said of our own ---- */

static void check_said(const char *fields, uint32_t flags, const char *keywords, int64_t seconds,
		       int32_t zone, unsigned dropped)
{
	struct buffer body = { 0 };

	snprintf(plant("in/f/a", "")->fields, FAKE_FIELDS_BYTES, "%s", fields);
	CHECK_OK(mime_source.ask(source, box_listed("f"), 1, UINT64_MAX));
	REQUIRE(CHECK_OK(next_message(source, &body)));
	CHECK_EQ(item.fate, OK); /* it may be empty, too */
	CHECK_EQ(item.size_bytes, 0);
	CHECK_EQ(item.meta.flags, flags);
	CHECK_EQ(item.meta.keywords_bytes, strlen(keywords));
	CHECK(memcmp(item.meta.keywords, keywords, strlen(keywords)) == 0);
	CHECK_EQ(item.meta.keywords_dropped, dropped);
	CHECK_EQ(item.meta.date.known, seconds != 0);
	CHECK_EQ(item.meta.date.seconds, seconds);
	CHECK_EQ(item.meta.date.zone_minutes, zone);
	CHECK_ERR(next_message(source, &body), ERR_PIPE_ENDED);
	err_note_clear();
	buffer_free(&body);
}

#define OURS                                                                                       \
	"x-amz-meta-mailhaul-version: 1\r\nx-amz-meta-mailhaul-epoch: 5\r\n"                       \
	"x-amz-meta-mailhaul-no: 7\r\n"

TEST_FIBER(what_we_said_of_a_message_comes_back)
{
	begin();
	REQUIRE(CHECK_OK(open_at(&source, "/in/")));
	check_said(OURS, 0, "", 0, 0, 0);
	check_said(OURS "x-amz-meta-mailhaul-flags: seen flagged\r\n"
			"x-amz-meta-mailhaul-keywords: $Label1 a%C3%A4%25\r\n"
			"x-amz-meta-mailhaul-keywords-dropped: 2\r\n"
			"x-amz-meta-mailhaul-date: 2014-03-01T08:00:00+01:00\r\n",
		   MAIL_SEEN | MAIL_FLAGGED, "$Label1 a\xc3\xa4%", 1393657200, 60, 2);
	end();
}

/* Then it is as if it were not ours. */
TEST_FIBER(what_is_said_in_another_version_or_not_as_we_do_is_not_believed)
{
	static const char *const said[] = {
		"x-amz-meta-mailhaul-version: 2\r\nx-amz-meta-mailhaul-epoch: 5\r\n"
		"x-amz-meta-mailhaul-no: 7\r\n",
		"x-amz-meta-mailhaul-version: 1\r\n",
		OURS "x-amz-meta-mailhaul-keywords: a%0D%0Ab\r\n",
		OURS "x-amz-meta-mailhaul-keywords: a%4\r\n",
		OURS "x-amz-meta-mailhaul-keywords: %zz\r\n",
	};

	begin();
	REQUIRE(CHECK_OK(open_at(&source, "/in/")));
	for (size_t i = 0; i < ARRAY_COUNT(said); i++) {
		snprintf(plant("in/f/a", "")->fields, FAKE_FIELDS_BYTES, "%s", said[i]);
		CHECK_TEXT(subjects_of(source, box_listed("f")), "SOURCE_NOT_MAIL");
	}
	end();
}
