/* Messages stored one by one in a bucket: each is there once, whole, with what stood beside it,
 * whatever becomes of any request; and the source `mime` gives all of it back. */
#include "tests/unit/archive_help.h"
#include "tests/unit/s3_fake.h"
#include "transport/changes.h"
#include "transport/eml_layout.h"
#include "transport/eml_sink.h"
#include "transport/mime_source.h"
#include "transport/store_s3.h"

enum { PART = 64 * 1024, LEAST = 40 * 1024, MESSAGES = 9, BYTES_MAX = 3 * PART };

static const struct aws_partition aws = { .dns_suffix = "aws.example",
					  .dual_stack_suffix = "aws2.example" };
static const uint8_t ledger_id[16] = "0123456789abcdef";
static const char foreign[] = "a/else/where/000000000001.tar.zst";
static struct store_s3_config store_config;
static struct account account;
static struct sink_config config;
static struct reserve *reserve;
static struct box inbox, sent;
static struct sink *sink;
static struct tap *tap;

/* What a ledger would know. */
static struct message {
	uint64_t no, box_no;
	size_t bytes;
	uint32_t flags;
	const char *keywords;
	struct mail_date date;
	bool stored, doubtful;
	uint64_t mark;
} messages[MESSAGES];
static uint64_t seals;		      /* that are not settled */
static unsigned receipts, puts_count; /* messages that the sink has taken */

static nsec soon(void)
{
	return clock_after(60 * NSEC_SECOND);
}

/* ---- messages ---- */

static uint8_t bytes[MESSAGES][BYTES_MAX];

static const uint8_t *bytes_of(const struct message *message)
{
	return bytes[message - messages];
}

static void messages_make(void)
{
	static const size_t sizes[MESSAGES] = {
		100, 0, 1, 3000, PART, 5, PART + 1, 4000, 3 * PART
	};
	static const char *const keywords[] = { "", "$Label1", "a gr\xc3\xbcn 50% $Junk" };

	for (unsigned i = 0; i < MESSAGES; i++) {
		fill(bytes[i], sizes[i], i);
		messages[i] = (struct message){
			.no = 7 * i + 1,
			.box_no = i == 5 ? 2 : 1,
			.bytes = sizes[i],
			.flags = i % 4 ? i : MAIL_SEEN | MAIL_DRAFT,
			.keywords = keywords[i % 3],
			.date = { .seconds = 1393657200 + i, .zone_minutes = 60, .known = i != 3 },
		};
	}
}

static struct item item_made(const struct message *message, struct body_stream *body)
{
	struct item item = { .kind = ITEM_MESSAGE,
			     .box_no = message->box_no,
			     .no = message->no,
			     .size_bytes = (int64_t)message->bytes,
			     .body = &body->base };

	item.meta.flags = message->flags;
	item.meta.date = message->date;
	item.meta.keywords_bytes = (uint16_t)strlen(message->keywords);
	memcpy(item.meta.keywords, message->keywords, item.meta.keywords_bytes);
	return item;
}

/* ---- a run ---- */

static enum err sink_open(void)
{
	return eml_sink.open(&sink, &account, &config, soon());
}

static void begin(void)
{
	struct fake_late upload = fake_request(LATE_BEGIN, foreign, NULL, NULL);

	fake_reset(LEAST);
	must(fake_do(&upload) == OK);
	store_config = (struct store_s3_config){
		.s3 = { .endpoint = { .host = "s3.aws.example", .partition = &aws } },
		.ledger_id = ledger_id,
		.machine = "mover-1",
		.part_bytes = PART,
		.part_bytes_least = LEAST,
	};
	account = (struct account){ .scheme = "s3+eml",
				    .user = "",
				    .host = "bucket",
				    .path = "/a/b/",
				    .shown = "s3://bucket/a/b/",
				    .s3 = &store_config,
				    .io_timeout = 60 * NSEC_SECOND };
	config = (struct sink_config){ .mailbox_name = "alice@mail.example.com",
				       .ledger_id = ledger_id,
				       .next_seal_no = 1,
				       .digest = digest_type(text_of("blake3")) };
	inbox = (struct box){ .name = "INBOX",
			      .raw = "INBOX",
			      .separator = '/',
			      .use = BOX_USE_INBOX,
			      .selectable = true,
			      .subscribed = true,
			      .epoch = 1700000000,
			      .box_no = 1 };
	sent = (struct box){ .name = "Gesendet/\xc3\x84rger",
			     .raw = "Gesendet/&AMQ-rger",
			     .separator = '/',
			     .use = BOX_USE_SENT,
			     .selectable = true,
			     .epoch = 5,
			     .box_no = 2 };
	messages_make();
	receipts = 0;
	seals = 0;
	must(digest_open(config.digest, &tap) == OK);
	must(reserve_open(arena_current(), 3 * IOLIST_SLICES_MAX, soon(), &reserve) == OK);
}

static void end(void)
{
	if (sink)
		eml_sink.close(&sink);
	reserve_close(&reserve);
	tap->type->close(&tap);
	err_note_clear();
}

static void take(const struct receipt *receipt)
{
	for (unsigned i = 0; i < MESSAGES; i++) {
		struct message *message = &messages[i];
		struct digest digest;

		if (message->no != receipt->no || message->box_no != receipt->box_no)
			continue;
		CHECK(receipt->kind == RECEIPT_STORED || receipt->kind == RECEIPT_DOUBTFUL);
		CHECK_EQ(receipt->size_bytes, message->bytes);
		must(digest_of(config.digest, bytes_of(message), message->bytes, &digest) == OK);
		CHECK(memcmp(&digest, &receipt->digest, sizeof digest) == 0);
		CHECK(!message->stored && !message->doubtful);
		message->stored = receipt->kind == RECEIPT_STORED;
		message->doubtful = receipt->kind == RECEIPT_DOUBTFUL;
		message->mark = receipt->mark;
		receipts++;
		return;
	}
	test_failed(__FILE__, __LINE__, "a receipt for nothing: %llu",
		    (unsigned long long)receipt->no);
}

/* The next receipt of a message; what is sealed is said to be durable. */
static enum err hear(struct receipt *receipt)
{
	enum err e;

	while (!(e = eml_sink.receipt(sink, receipt))) {
		if (receipt->kind == RECEIPT_SEALED) {
			CHECK_EQ(receipt->seal_no, config.next_seal_no);
			config.next_seal_no++;
			seals++;
			if ((e = eml_sink.publish(sink, receipt->seal_no)))
				return e;
		} else if (receipt->kind == RECEIPT_SETTLED) {
			CHECK(receipt->seals_count > 0 && receipt->seals_count <= seals);
			seals -= receipt->seals_count;
		} else {
			return OK;
		}
	}
	return e;
}

static enum err take_receipts(void *argument)
{
	struct receipt receipt;
	enum err e;

	(void)argument;
	while (!(e = hear(&receipt)))
		take(&receipt);
	eml_sink.end_receipts(sink);
	return e == ERR_SINK_FINISHED ? OK : e;
}

static enum err put_one(const struct message *message, enum err fail)
{
	struct body_stream body =
		body_of(reserve, bytes_of(message), message->bytes, message->no % 2 ? 5000 : 0);
	struct item item = item_made(message, &body);
	struct tapped tapped;
	enum err e;

	body.fail = fail;
	body.fail_at = message->bytes / 2;
	item.body = tapped_open(&tapped, item.body, tap, &item.digest);
	e = eml_sink.put(sink, &item);
	stream_close(&item.body);
	return e;
}

static enum err put_all(void *argument)
{
	enum err e = OK;

	(void)argument;
	for (unsigned i = 0; i < MESSAGES && !e; i++)
		if (!messages[i].stored && !messages[i].doubtful &&
		    !(e = put_one(&messages[i], OK)))
			puts_count++;
	eml_sink.drain(sink);
	return e;
}

static enum err run_fibers(void)
{
	struct group *both = group_open();
	enum err e;

	group_cancel_on_error(both, false);
	if ((e = group_spawn(both, "receipt", FIBER_STACK_LARGE, take_receipts, NULL)) ||
	    (e = group_spawn(both, "write", FIBER_STACK_LARGE, put_all, NULL)))
		group_cancel(both);
	e = group_join(&both);
	return e;
}

/* As a lane does: open, tell of the folders, put what is not settled, hear of it. */
static enum err run(void)
{
	enum err e = sink_open();

	if (!e && !(e = eml_sink.prepare(sink, &inbox)) && !(e = eml_sink.prepare(sink, &sent)))
		e = run_fibers();
	if (!e)
		e = eml_sink.finish(sink, soon());
	if (sink)
		eml_sink.close(&sink);
	return e;
}

/* ---- the bucket ---- */

#define MAILBOX "a/b/alice_mail.example.com-97b7a10a"

static const struct fake_object *object_of(const struct message *message)
{
	char key[STORE_KEY_BYTES_MAX + 1], folder[EML_FOLDER_KEY_BYTES_MAX + 1], full[300];
	const struct box *box = message->box_no == 1 ? &inbox : &sent;

	must(eml_folder_key(folder, box->name) == OK);
	eml_message_key(key, "alice_mail.example.com-97b7a10a", folder, box->epoch, message->no);
	snprintf(full, sizeof full, "a/b/%s", key);
	return fake_find(full);
}

static unsigned objects_like(const char *text)
{
	unsigned count = 0;

	for (unsigned i = 0; i < FAKE_OBJECTS; i++)
		count += fake.objects[i].at && strstr(fake.objects[i].key, text);
	return count;
}

static unsigned uploads(void)
{
	unsigned count = 0;

	for (unsigned i = 0; i < FAKE_UPLOADS; i++)
		count += fake.uploads[i].key[0] != '\0';
	return count;
}

static void check_bucket(void)
{
	for (unsigned i = 0; i < MESSAGES; i++) {
		const struct fake_object *object = object_of(&messages[i]);

		CHECK(object && object->bytes == messages[i].bytes &&
		      memcmp(object->at, bytes_of(&messages[i]), messages[i].bytes) == 0);
	}
	CHECK_EQ(objects_like(".eml"), MESSAGES);
	CHECK_EQ(objects_like("/folder.json"), 2);
	CHECK_EQ(objects_like("/mailbox.json"), 1);
	CHECK_EQ(objects_like(".lock"), 0);
	CHECK(fake_upload_find(foreign, NULL) != NULL);
}

static void check_settled(void)
{
	for (unsigned i = 0; i < MESSAGES; i++)
		CHECK(messages[i].stored);
	CHECK_EQ(receipts, MESSAGES);
}

/* ---- round trip ---- */

static struct box_page page;
static struct item item; /* large: off the stack */

static const struct message *message_like(const struct item *got, const struct buffer *body,
					  uint64_t box_no)
{
	for (unsigned i = 0; i < MESSAGES; i++)
		if (messages[i].box_no == box_no && messages[i].bytes == body->bytes &&
		    memcmp(bytes_of(&messages[i]), body->bytes ? body->at : "", body->bytes) == 0 &&
		    (uint64_t)got->size_bytes == body->bytes)
			return &messages[i];
	return NULL;
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

static void check_message(uint64_t box_no, unsigned *seen)
{
	struct buffer body = { 0 };
	const struct message *message;

	CHECK_EQ(item.fate, OK);
	if (item.fate)
		return;
	CHECK_OK(drain(item.body, &body));
	stream_close(&item.body);
	message = message_like(&item, &body, box_no);
	CHECK(message != NULL);
	buffer_free(&body);
	if (!message)
		return;
	++*seen;
	CHECK_EQ(item.meta.flags, message->flags);
	CHECK_EQ(item.meta.keywords_bytes, strlen(message->keywords));
	CHECK(memcmp(item.meta.keywords, message->keywords, strlen(message->keywords)) == 0);
	CHECK_EQ(item.meta.date.known, message->date.known);
	if (message->date.known) {
		CHECK_EQ(item.meta.date.seconds, message->date.seconds);
		CHECK_EQ(item.meta.date.zone_minutes, message->date.zone_minutes);
	}
}

static void check_folder(struct source *source, const struct box *box)
{
	const struct box *was = strcmp(box->name, inbox.name) == 0 ? &inbox : &sent;
	unsigned seen = 0;
	enum err e;

	CHECK_TEXT(box->name, was->name);
	CHECK_EQ(box->separator, was->separator);
	CHECK_EQ(box->use, was->use);
	CHECK_EQ(box->subscribed, was->subscribed);
	CHECK_OK(mime_source.ask(source, box, 1, UINT64_MAX));
	while (!(e = mime_source.next(source, &item)))
		if (item.kind == ITEM_MESSAGE)
			check_message(was->box_no, &seen);
	CHECK_ERR(e, ERR_PIPE_ENDED);
	err_note_clear();
	CHECK_EQ(seen, was == &inbox ? MESSAGES - 1 : 1);
	CHECK_EQ(box->messages, seen);
}

static void check_read_back(const char *path)
{
	static struct box boxes[16];
	struct source *source = NULL;
	unsigned count = 0;

	account.path = path;
	REQUIRE(CHECK_OK(mime_source.open(&source, &account, reserve, soon())));
	CHECK_OK(mime_source.list(source, &page, soon()));
	CHECK(page.last);
	for (unsigned i = 0; i < page.count; i++)
		boxes[count++] = page.boxes[i];
	CHECK_EQ(count, 2);
	for (unsigned i = 0; i < count; i++)
		check_folder(source, &boxes[i]);
	mime_source.close(&source);
	account.path = "/a/b/";
}

TEST_FIBER(what_was_stored_comes_back_with_all_that_stood_beside_it)
{
	begin();
	CHECK_OK(run());
	check_settled();
	check_bucket();
	CHECK_EQ(uploads(), 1);
	check_read_back("/a/b/"); /* the archive has but one mailbox */
	check_read_back("/a/b/alice@mail.example.com");
	check_read_back("/a/b/alice_mail.example.com-97b7a10a/");
	end();
}

/* ---- format ---- */

static void read_vector(const char *name, char *to, size_t room)
{
	char path[200];
	FILE *file;
	size_t n;

	snprintf(path, sizeof path, "tests/vec/eml/%s", name);
	file = fopen(path, "r");
	must(file);
	n = fread(to, 1, room - 1, file);
	to[n] = '\0';
	fclose(file);
}

/* docs/FORMAT.md section 13.2. */
TEST_FIBER(a_message_lies_as_the_format_says)
{
	static char mail[1000], fields[1000], folder[1000], key[200];
	const struct fake_object *object;
	struct body_stream body;
	struct item one;
	struct tapped tapped;
	struct receipt receipt;

	begin();
	read_vector("message.eml", mail, sizeof mail);
	read_vector("metadata", fields, sizeof fields);
	read_vector("folder.json", folder, sizeof folder);
	read_vector("key", key, sizeof key);
	key[strcspn(key, "\n")] = '\0';
	messages[0] = (struct message){ .no = 17,
					.box_no = 1,
					.bytes = strlen(mail),
					.flags = MAIL_SEEN | MAIL_FLAGGED,
					.keywords = "$Label1 gr\xc3\xbcn",
					.date = { 1393657200, 60, true } };
	REQUIRE(CHECK_OK(sink_open()) && CHECK_OK(eml_sink.prepare(sink, &inbox)));
	body = body_of(reserve, mail, strlen(mail), 0);
	one = item_made(&messages[0], &body);
	one.body = tapped_open(&tapped, one.body, tap, &one.digest);
	CHECK_OK(eml_sink.put(sink, &one));
	CHECK_OK(hear(&receipt));
	eml_sink.end_receipts(sink);
	CHECK_OK(eml_sink.finish(sink, soon()));
	object = fake_find(key);
	REQUIRE(object != NULL);
	CHECK(object->bytes == strlen(mail) && memcmp(object->at, mail, object->bytes) == 0);
	CHECK_TEXT(object->fields, fields);
	memcpy(strrchr(key, '/'), "/folder.json", sizeof "/folder.json");
	object = fake_find(key);
	REQUIRE(object != NULL);
	CHECK(object->bytes == strlen(folder) && memcmp(object->at, folder, object->bytes) == 0);
	end();
}

/* ---- accidents ---- */

/* One accident at one request; the next run makes all whole. False: that was none any more. */
static bool check_accident(unsigned at, enum fake_fault fault, bool late_after)
{
	bool was_met;

	begin();
	fake.fail_at = at;
	fake.fault = fault;
	(void)!run();
	err_note_clear();
	was_met = fake.calls >= at;
	fake.fail_at = 0;
	fake.is_cut = false;
	if (!late_after)
		fake_catch_up();
	CHECK_OK(run());
	err_note_clear();
	fake_catch_up();
	check_settled();
	check_bucket();
	CHECK_OK(run()); /* it has nothing to do */
	CHECK_EQ(receipts, MESSAGES);
	check_bucket();
	CHECK(objects_like("/changes/") == 0);
	/* An upload that begins late is ended by the next run. */
	CHECK_EQ(uploads(), 1);
	end();
	return was_met;
}

static void check_accidents(enum fake_fault fault)
{
	unsigned at = 1;

	while (check_accident(at, fault, at % 2))
		at += SANITIZED ? 5 : 1;
	CHECK(at > 30);
}

TEST_FIBER(a_run_that_is_refused_something_loses_nothing)
{
	check_accidents(FAKE_REFUSED);
}

TEST_FIBER(an_answer_that_is_lost_doubles_nothing)
{
	check_accidents(FAKE_LOST);
}

TEST_FIBER(a_repetition_that_is_answered_harms_nothing)
{
	check_accidents(FAKE_REPEATED);
}

TEST_FIBER(a_request_that_is_carried_out_late_harms_nothing)
{
	check_accidents(FAKE_LATE);
}

TEST_FIBER(a_run_that_is_cut_is_gone_on_with)
{
	check_accidents(FAKE_CUT);
}

/* radosgw 16: conditions are ignored, and nothing is said that proves anything. */
TEST_FIBER(a_server_without_conditions_and_checksums_is_looked_at)
{
	begin();
	snprintf(store_config.s3.endpoint.host, sizeof store_config.s3.endpoint.host,
		 "rgw.example.com");
	fake.ignores_conditions = fake.tells_nothing = true;
	CHECK_OK(run());
	check_settled();
	check_bucket();
	for (unsigned i = 0; i < MESSAGES; i++)
		messages[i].stored = false;
	receipts = 0;
	CHECK_OK(run());
	check_settled();
	check_bucket();
	end();
}

TEST_FIBER(bytes_that_are_altered_are_an_error)
{
	begin();
	REQUIRE(CHECK_OK(sink_open()) && CHECK_OK(eml_sink.prepare(sink, &inbox)) &&
		CHECK_OK(eml_sink.prepare(sink, &sent)));
	fake.damages = fake.tells_nothing = true;
	CHECK_ERR(run_fibers(), ERR_SINK_DAMAGED);
	end();
}

/* Nobody sends yet: what is gathered has an end. */
TEST_FIBER(no_more_is_gathered_than_a_part)
{
	struct group *writing = group_open();

	begin();
	puts_count = 0;
	REQUIRE(CHECK_OK(sink_open()) && CHECK_OK(eml_sink.prepare(sink, &inbox)) &&
		CHECK_OK(eml_sink.prepare(sink, &sent)));
	must(group_spawn(writing, "write", FIBER_STACK_LARGE, put_all, NULL) == OK);
	for (unsigned i = 0; i < 1000; i++)
		CHECK_OK(fiber_yield());
	CHECK_EQ(puts_count, 4); /* the fifth is as long as a part */
	CHECK_OK(take_receipts(NULL));
	CHECK_OK(group_join(&writing));
	CHECK_OK(eml_sink.finish(sink, soon()));
	check_settled();
	check_bucket();
	end();
}

/* ---- a body that fails ---- */

TEST_FIBER(a_body_that_fails_leaves_nothing_and_harms_nobody)
{
	begin();
	REQUIRE(CHECK_OK(sink_open()) && CHECK_OK(eml_sink.prepare(sink, &inbox)) &&
		CHECK_OK(eml_sink.prepare(sink, &sent)));
	CHECK_ERR(put_one(&messages[8], ERR_STREAM_CUT), ERR_STREAM_CUT);
	err_note_clear();
	CHECK_ERR(put_one(&messages[3], ERR_STREAM_CUT), ERR_STREAM_CUT);
	err_note_clear();
	CHECK_OK(run_fibers());
	CHECK_OK(eml_sink.finish(sink, soon()));
	check_settled();
	check_bucket();
	CHECK_EQ(uploads(), 1);
	end();
}

/* ---- what is there already ---- */

static void check_change(const char *flags, const char *keywords)
{
	struct change_line *line = calloc(1, sizeof *line);
	struct changes_read *read = NULL;
	struct store *store = NULL;
	struct account at = account;
	struct text text;

	at.scheme = "s3";
	must(line);
	REQUIRE(CHECK_OK(store_open(&store, &at, false, soon())));
	REQUIRE(CHECK_OK(changes_read_open(
		store, "alice_mail.example.com-97b7a10a/changes/000000000001.ndjson.zst", &read)));
	CHECK_OK(changes_read_next(read, line, &text));
	CHECK_EQ(line->kind, CHANGE_REFLAGGED);
	CHECK_TEXT(line->box, "INBOX");
	CHECK_EQ(line->epoch, inbox.epoch);
	CHECK_EQ(line->no, 1);
	CHECK_TEXT(line->flags, flags);
	CHECK_TEXT(line->keywords, keywords);
	CHECK_ERR(changes_read_next(read, line, &text), ERR_PIPE_ENDED);
	err_note_clear();
	changes_read_close(&read);
	store->type->close(&store);
	free(line);
}

/* The run that stored it was cut before it was settled; meanwhile it was read by its owner. */
TEST_FIBER(other_flags_than_were_stored_are_recorded)
{
	begin();
	CHECK_OK(run());
	receipts--;
	messages[0].stored = false;
	messages[0].flags = MAIL_FLAGGED;
	messages[0].keywords = "new";
	CHECK_OK(run());
	check_settled();
	check_bucket();
	check_change("flagged", "new");
	end();
}

TEST_FIBER(a_message_that_is_not_what_was_stored_is_told_so)
{
	struct source *source = NULL;
	struct buffer body = { 0 };
	unsigned damaged = 0;

	begin();
	CHECK_OK(run());
	object_of(&messages[3])->at[1000] ^= 1;
	REQUIRE(CHECK_OK(mime_source.open(&source, &account, reserve, soon())));
	CHECK_OK(mime_source.list(source, &page, soon()));
	CHECK_OK(mime_source.ask(source, &page.boxes[1], 1, UINT64_MAX));
	while (!mime_source.next(source, &item)) {
		damaged += item.fate == ERR_SOURCE_DAMAGED;
		if (item.body)
			CHECK_OK(drain(item.body, &body));
		stream_close(&item.body);
	}
	CHECK_EQ(damaged, 1);
	err_note_clear();
	buffer_free(&body);
	mime_source.close(&source);
	end();
}

TEST_FIBER(other_bytes_than_are_there_are_doubtful_and_change_nothing)
{
	begin();
	CHECK_OK(run());
	receipts -= 2;
	for (unsigned i = 4; i < 9; i += 4) { /* a small one, a large one */
		messages[i].stored = false;
		object_of(&messages[i])->at[1] ^= 1;
	}
	CHECK_OK(run());
	CHECK(messages[4].doubtful && messages[8].doubtful);
	CHECK_EQ(receipts, MESSAGES);
	for (unsigned i = 4; i < 9; i += 4)
		object_of(&messages[i])->at[1] ^= 1;
	check_bucket();
	end();
}

TEST_FIBER(a_folder_whose_place_is_taken_is_refused)
{
	static const char other[] =
		"{\"format\":\"mailhaul-folder\",\"version\":1,\"name\":\"Other\",\"raw\":"
		"\"Other\","
		"\"sep\":\"/\",\"use\":\"\",\"subscribed\":true,\"selectable\":true,\"epoch\":1}\n";

	begin();
	CHECK_OK(run());
	fake_store(MAILBOX "/eml/INBOX-1302608b19023509/folder.json",
		   fake_copy(other, strlen(other)), strlen(other));
	messages[0].stored = false;
	REQUIRE(CHECK_OK(sink_open()) && CHECK_OK(eml_sink.prepare(sink, &inbox)));
	CHECK_ERR(put_one(&messages[0], OK), ERR_SINK_BOX);
	err_note_clear();
	CHECK_OK(eml_sink.finish(sink, soon()));
	end();
}

TEST_FIBER(a_seal_of_another_layout_is_refused)
{
	const char *const seals_of_others[] = { "", "MHSEAL02", "MHEMLS01 and half a message" };
	enum seal_fate fate;

	begin();
	REQUIRE(CHECK_OK(sink_open()));
	for (unsigned i = 0; i < ARRAY_COUNT(seals_of_others); i++) {
		CHECK_ERR(eml_sink.find(sink, 1, text_of(seals_of_others[i]), &fate),
			  ERR_SINK_FOREIGN);
		err_note_clear();
	}
	end();
}

TEST_FIBER(a_mailbox_has_one_layout)
{
	begin();
	fake_store(MAILBOX "/packs/000000000001.tar.zst", fake_copy("x", 1), 1);
	fake_store("a/b/mailhaul-archive.json", fake_copy("x", 1), 1);
	CHECK_ERR(sink_open(), ERR_ARCHIVE_FORMAT);
	err_note_clear();
	fake_reset(LEAST);
	CHECK_OK(run());
	account.scheme = "s3";
	CHECK_ERR(archive_sink.open(&sink, &account, &config, soon()), ERR_SINK_FOREIGN);
	err_note_clear();
	account.scheme = "s3+eml";
	fake_store(MAILBOX "/packs/000000000001.tar.zst", fake_copy("x", 1), 1);
	CHECK_ERR(sink_open(), ERR_SINK_FOREIGN);
	end();
}

TEST_FIBER(who_has_another_ledger_or_comes_second_is_refused)
{
	static const uint8_t other_ledger[16] = "fedcba9876543210";

	begin();
	CHECK_OK(run());
	config.ledger_id = other_ledger;
	CHECK_ERR(sink_open(), ERR_SINK_LEDGER_LOST);
	end();
}

/* S3 takes 2 KB of metadata (the bucket in memory sees to that); what does not fit is counted. */
TEST_FIBER(keywords_that_do_not_fit_are_counted)
{
	static char keywords[KEYWORDS_BYTES_MAX + 1];
	struct source *source = NULL;
	struct buffer body = { 0 };
	unsigned seen = 0;
	size_t used = 0;

	for (unsigned i = 0; used + 8 < sizeof keywords; i++)
		used += (size_t)snprintf(keywords + used, sizeof keywords - used,
					 "%s\xc3\xa4\xc3\xa4%03u", i ? " " : "", i);
	begin();
	messages[0].keywords = keywords;
	CHECK_OK(run());
	check_settled();
	REQUIRE(CHECK_OK(mime_source.open(&source, &account, reserve, soon())));
	CHECK_OK(mime_source.list(source, &page, soon()));
	for (unsigned i = 0; i < page.count; i++)
		CHECK_OK(mime_source.ask(source, &page.boxes[i], 1, UINT64_MAX));
	while (!mime_source.next(source, &item)) {
		if (item.kind != ITEM_MESSAGE)
			continue;
		CHECK_OK(drain(item.body, &body));
		stream_close(&item.body);
		if (item.size_bytes != 100)
			continue;
		seen++;
		CHECK(item.meta.keywords_bytes > 650 &&
		      item.meta.keywords_bytes < strlen(keywords));
		CHECK(memcmp(item.meta.keywords, keywords, item.meta.keywords_bytes) == 0);
		CHECK_EQ(item.meta.keywords_dropped * 8 + item.meta.keywords_bytes,
			 strlen(keywords));
	}
	CHECK_EQ(seen, 1);
	buffer_free(&body);
	err_note_clear();
	mime_source.close(&source);
	end();
}

/* ---- what became of messages ---- */

static enum err tell(enum change_kind kind, const struct message *message, const struct box *now)
{
	static struct change change;
	const struct box *was = message->box_no == 1 ? &inbox : &sent;

	change = (struct change){ .kind = kind,
				  .box = now,
				  .epoch = now->epoch,
				  .no = kind == CHANGE_RENUMBERED ? 1000 : message->no,
				  .was_box = was->name,
				  .was_epoch = was->epoch,
				  .was_no = message->no };
	change.meta.flags = MAIL_ANSWERED;
	change.meta.keywords_bytes = 3;
	memcpy(change.meta.keywords, "now", 3);
	return eml_sink.amend(sink, &change);
}

/* "SIZE:FLAGS:KEYWORDS" of each message of a folder, in the order of sizes below 10,000. */
static const char *read_folder(struct source *source, const char *name)
{
	static char text[2000];
	char rows[MESSAGES][100];
	struct buffer body = { 0 };
	size_t used = 0;

	memset(rows, 0, sizeof rows);
	for (unsigned i = 0; i < page.count; i++)
		if (strcmp(page.boxes[i].name, name) == 0)
			CHECK_OK(mime_source.ask(source, &page.boxes[i], 1, UINT64_MAX));
	while (!mime_source.next(source, &item)) {
		if (item.kind != ITEM_MESSAGE || item.fate)
			continue;
		buffer_reset(&body);
		CHECK_OK(drain(item.body, &body));
		stream_close(&item.body);
		for (unsigned i = 0; i < MESSAGES; i++)
			if (messages[i].bytes == (size_t)item.size_bytes && i < 4)
				snprintf(rows[i], sizeof rows[i], "%zu:%x:%.*s", messages[i].bytes,
					 item.meta.flags, (int)item.meta.keywords_bytes,
					 item.meta.keywords);
	}
	err_note_clear();
	buffer_free(&body);
	text[0] = '\0';
	for (unsigned i = 0; i < MESSAGES; i++)
		if (rows[i][0])
			used += (size_t)snprintf(text + used, sizeof text - used, "%s%s",
						 used ? " " : "", rows[i]);
	return text;
}

static unsigned flags_told;

static void scan_folder(struct source *source, const struct box *box)
{
	struct finding finding;

	flags_told = 0;
	CHECK_OK(mime_source.scan(source, box, 1, UINT64_MAX, true));
	while (!mime_source.found(source, &finding))
		if (finding.kind == FINDING_FLAGS) {
			flags_told++;
			CHECK_EQ(finding.meta->flags, MAIL_ANSWERED);
		}
	err_note_clear();
}

TEST_FIBER(what_became_of_messages_later_is_recorded_and_read)
{
	static struct cursor before;
	struct source *source = NULL;

	begin();
	CHECK_OK(run());
	REQUIRE(CHECK_OK(mime_source.open(&source, &account, reserve, soon())));
	CHECK_OK(mime_source.list(source, &page, soon()));
	before = page.boxes[1].cursor;
	CHECK_TEXT(page.boxes[1].name, "INBOX");
	CHECK_TEXT(read_folder(source, "INBOX"),
		   "100:11: 0:1:$Label1 1:2:a gr\xc3\xbcn 50% $Junk 3000:3:");
	scan_folder(source, &page.boxes[1]);
	CHECK_EQ(flags_told, 0);
	mime_source.close(&source);
	REQUIRE(CHECK_OK(sink_open()));
	CHECK_OK(eml_sink.prepare(sink, &inbox));
	CHECK_OK(tell(CHANGE_REFLAGGED, &messages[0], &inbox));
	CHECK_OK(tell(CHANGE_VANISHED, &messages[1], &inbox));
	CHECK_OK(tell(CHANGE_RENUMBERED, &messages[2], &sent));
	CHECK_OK(eml_sink.amend_flush(sink));
	CHECK_OK(eml_sink.finish(sink, soon()));
	eml_sink.close(&sink);
	check_bucket(); /* nothing of it is another one */
	REQUIRE(CHECK_OK(mime_source.open(&source, &account, reserve, soon())));
	CHECK_OK(mime_source.list(source, &page, soon()));
	CHECK(strcmp(page.boxes[1].cursor.at, before.at) != 0);
	CHECK_TEXT(read_folder(source, "INBOX"), "100:2:now 3000:3:");
	CHECK_TEXT(read_folder(source, sent.name), "1:2:now");
	scan_folder(source, &page.boxes[1]);
	CHECK_EQ(flags_told, 1);
	account.vanished = true;
	mime_source.close(&source);
	REQUIRE(CHECK_OK(mime_source.open(&source, &account, reserve, soon())));
	CHECK_OK(mime_source.list(source, &page, soon()));
	CHECK_TEXT(read_folder(source, "INBOX"), "100:2:now 0:1:$Label1 3000:3:");
	account.vanished = false;
	mime_source.close(&source);
	end();
}
