#include "transport/gmail_labels.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/bytes.h"
#include "engine/filter.h"
#include "tests/test.h"

static struct box box_of(const char *raw, enum box_use use)
{
	struct box box = {
		.separator = '/', .use = use, .selectable = true, .epoch = 3, .next_no = 1000
	};

	snprintf(box.name, sizeof box.name, "%s", raw);
	snprintf(box.raw, sizeof box.raw, "%s", raw);
	return box;
}

static struct labels *begin(enum gmail_rule rule, bool keywords, const struct filter *filter)
{
	static const char *const folders[] = { "A", "A/B", "A/C", "Z" };
	static struct box all, box;
	struct labels *labels;

	all = box_of("[Gmail]/All Mail", BOX_USE_ALL);
	all.epoch = 11;
	CHECK_OK(gmail_labels_open(rule, keywords, &labels));
	CHECK_OK(gmail_labels_begin(labels, filter, &all));
	box = box_of("INBOX", BOX_USE_INBOX);
	CHECK_OK(gmail_labels_add_folder(labels, &box));
	box = box_of("[Gmail]/Sent Mail", BOX_USE_SENT);
	CHECK_OK(gmail_labels_add_folder(labels, &box));
	for (unsigned i = 0; i < ARRAY_COUNT(folders); i++) {
		box = box_of(folders[i], BOX_USE_NONE);
		CHECK_OK(gmail_labels_add_folder(labels, &box));
	}
	return labels;
}

/* Labels separated by '|'. */
static void note(struct labels *labels, uint32_t uid, const char *said)
{
	struct mail_meta meta = { .flags = MAIL_SEEN };
	char text[400];
	size_t n = strlen(said);

	snprintf(text, sizeof text, "%s", said);
	for (size_t i = 0; i < n; i++)
		text[i] = text[i] == '|' ? '\0' : text[i];
	CHECK_OK(gmail_labels_note(labels, uid, &meta, (struct text){ text, n ? n + 1 : 0 }, true));
}

static size_t folder_of(const struct labels *labels, const char *raw)
{
	static struct box box;

	box = box_of(raw, BOX_USE_NONE);
	box.epoch = ((uint64_t)1 << 32) + 11;
	return gmail_labels_find(labels, &box);
}

/* Folders that hold the message, in the order of the folders. */
static const char *folders_of(const struct labels *labels, uint32_t uid)
{
	static char text[400];
	static struct box box;
	size_t n = 0;

	text[0] = '\0';
	for (size_t i = 0; i < gmail_labels_folders(labels); i++)
		if (gmail_labels_holds(labels, i, uid) && gmail_labels_box(labels, i, &box))
			n += (size_t)snprintf(text + n, sizeof text - n, "%s%s", n ? "|" : "",
					      box.name);
	return text;
}

static const char *keywords_of(const struct labels *labels, const char *raw, uint32_t uid)
{
	static struct mail_meta meta;
	size_t folder = folder_of(labels, raw);

	meta = (struct mail_meta){ 0 };
	gmail_labels_add_keywords(labels, folder, uid, &meta);
	meta.keywords[meta.keywords_bytes] = '\0';
	return meta.keywords;
}

/* Labels that a message is noted with, and the folders it is in when all is noted. */
struct dealt {
	uint32_t uid;
	const char *said, *folders;
};

static void check_dealt(struct labels *labels, const struct dealt *messages, size_t count)
{
	for (size_t i = 0; i < count; i++)
		note(labels, messages[i].uid, messages[i].said);
	CHECK_OK(gmail_labels_end(labels));
	for (size_t i = 0; i < count; i++)
		CHECK_TEXT(folders_of(labels, messages[i].uid), messages[i].folders);
}

TEST(a_message_goes_to_the_first_of_its_folders)
{
	static const struct dealt messages[] = {
		{ 5, "Z|\\Inbox|A/B|\\Sent", "INBOX" },
		{ 6, "\\Sent|A/B", "[Gmail]/Sent Mail" },
		{ 7, "A|Z", "A" },
		{ 8, "A/C|A|Z|A/B", "A/B" },
		{ 9, "", "[Gmail]/All Mail" },
		{ 10, "\\Important|\\Starred|\\Muted", "[Gmail]/All Mail" },
		{ 11, "\\inbox", "INBOX" },
	};
	struct labels *labels = begin(GMAIL_RULE_FIRST, false, NULL);

	check_dealt(labels, messages, ARRAY_COUNT(messages));
	CHECK_TEXT(folders_of(labels, 12), "");
	gmail_labels_close(&labels);
}

TEST(a_message_goes_to_every_one_of_its_folders)
{
	static const struct dealt messages[] = {
		{ 5, "Z|\\Inbox|A/B|Z", "INBOX|A/B|Z" },
		{ 6, "\\Important", "[Gmail]/All Mail" },
	};
	struct labels *labels = begin(GMAIL_RULE_EVERY, false, NULL);

	check_dealt(labels, messages, ARRAY_COUNT(messages));
	gmail_labels_close(&labels);
}

/* What the filter leaves out is passed over as long as another folder is left. */
TEST(folders_that_are_left_out_take_no_message_from_others)
{
	static const struct dealt messages[] = {
		{ 5, "Z|\\Inbox|A/B", "Z" },
		{ 6, "\\Inbox|A/B", "INBOX" },
	};
	struct filter *filter;
	struct labels *labels;

	CHECK_OK(filter_open(NULL, &filter));
	CHECK_OK(filter_exclude_folder(filter, "INBOX"));
	CHECK_OK(filter_exclude_folder(filter, "A/**"));
	labels = begin(GMAIL_RULE_FIRST, false, filter);
	check_dealt(labels, messages, ARRAY_COUNT(messages));
	gmail_labels_close(&labels);
	filter_close(&filter);
}

TEST(labels_that_imap_does_not_show_are_folders_all_the_same)
{
	static const char book[] = "B\xc3\xbc"
				   "cher";
	static const struct dealt messages[] = {
		{ 5, "B&APw-cher|\\Draft",
		  "B\xc3\xbc"
		  "cher|[Gmail]/Drafts" },
		{ 6, book, book }, /* the same in UTF-8 */
		{ 7, "\xc3\xbc", "\xc3\xbc" },
		{ 8, "a&b\xff", "%raw:a%26b%FF" },
	};
	struct labels *labels = begin(GMAIL_RULE_EVERY, false, NULL);
	static struct box box;

	check_dealt(labels, messages, ARRAY_COUNT(messages));
	CHECK(gmail_labels_box(labels, folder_of(labels, "[Gmail]/Drafts"), &box));
	CHECK_EQ(box.use, BOX_USE_DRAFTS);
	CHECK_EQ(box.messages, 1);
	gmail_labels_close(&labels);
}

TEST(labels_that_are_no_folder_become_keywords)
{
	struct labels *labels = begin(GMAIL_RULE_FIRST, true, NULL);

	note(labels, 5, "\\Inbox|A|\\Important|two words (x) 100%|\\Muted|\\Starred|B&APw-cher");
	note(labels, 6, "A/B|A");
	CHECK_OK(gmail_labels_end(labels));
	CHECK_TEXT(keywords_of(labels, "INBOX", 5),
		   "A $Important two_words__x__100_ Muted B&APw-cher");
	CHECK_TEXT(keywords_of(labels, "A/B", 6), "A");
	CHECK_TEXT(keywords_of(labels, "A", 6), "");
	gmail_labels_close(&labels);
	labels = begin(GMAIL_RULE_FIRST, false, NULL);
	note(labels, 5, "\\Inbox|A");
	CHECK_OK(gmail_labels_end(labels));
	CHECK_TEXT(keywords_of(labels, "INBOX", 5), "");
	gmail_labels_close(&labels);
}

static void recall(struct labels *labels, const char *id, uint64_t epoch, uint64_t no, bool stored,
		   bool there)
{
	CHECK_OK(gmail_labels_recall(labels, id, epoch, no, stored, there));
}

TEST(what_was_stored_goes_before_what_was_there_before)
{
	static const struct dealt messages[] = {
		{ 5, "\\Inbox", "[Gmail]/All Mail" },
		{ 6, "\\Inbox", "[Gmail]/Sent Mail" },
		{ 7, "\\Inbox", "INBOX" },
		{ 8, "\\Inbox", "INBOX" },
		{ 9, "\\Inbox", "INBOX" },
	};
	struct labels *labels = begin(GMAIL_RULE_FIRST, false, NULL);
	uint64_t epoch = ((uint64_t)1 << 32) + 11;

	recall(labels, "gmail:sent", epoch, 5, true, false);
	recall(labels, "gmail:all", epoch, 5, true, true);
	recall(labels, "gmail:inbox", epoch, 5, false, false);
	recall(labels, "gmail:sent", epoch, 6, true, false);
	recall(labels, "gmail:inbox", epoch, 6, false, true);
	recall(labels, "gmail:inbox", epoch, 7, true, true);
	recall(labels, "gmail:sent", epoch, 7, true, true);
	recall(labels, "gmail:all", epoch - 1, 8, true, true);
	recall(labels, "gmail:label:0", epoch, 9, true, true);
	recall(labels, "", epoch, 9, true, true);
	recall(labels, "gmail:all", epoch, UINT64_MAX, true, true);
	check_dealt(labels, messages, ARRAY_COUNT(messages));
	gmail_labels_close(&labels);
}

TEST(messages_may_be_told_in_any_order_and_twice)
{
	struct labels *labels = begin(GMAIL_RULE_EVERY, false, NULL);
	size_t inbox, place, end;
	uint32_t first, last;

	note(labels, 900, "\\Inbox");
	note(labels, 7, "\\Inbox");
	note(labels, 8, "A");
	note(labels, 5, "\\Inbox");
	note(labels, 6, "\\Inbox|A");
	note(labels, 7, "\\Inbox");
	CHECK_OK(gmail_labels_end(labels));
	inbox = folder_of(labels, "INBOX");
	place = gmail_labels_seek(labels, inbox, 0);
	end = gmail_labels_seek(labels, inbox, UINT64_MAX);
	CHECK_EQ(end - place, 4);
	CHECK(gmail_labels_run(labels, &place, end, &first, &last));
	CHECK(first == 5 && last == 7);
	CHECK(gmail_labels_run(labels, &place, end, &first, &last));
	CHECK(first == 900 && last == 900);
	CHECK(!gmail_labels_run(labels, &place, end, &first, &last));
	CHECK_EQ(gmail_labels_uid(labels, gmail_labels_seek(labels, inbox, 6)), 6);
	CHECK(!gmail_labels_holds(labels, inbox, 8));
	gmail_labels_close(&labels);
}

/* As long as nothing changes in a folder, and no longer. */
TEST(a_cursor_says_when_a_folder_has_changed)
{
	struct cursor cursors[4]; /* of a mailbox; another UID, label, flag */

	for (unsigned i = 0; i < ARRAY_COUNT(cursors); i++) {
		struct labels *labels = begin(GMAIL_RULE_FIRST, false, NULL);
		static struct mail_meta meta;
		const char *said = i == 2 ? "A" : "\\Inbox";
		static struct box box;

		meta.flags = i == 3 ? MAIL_SEEN : 0;
		CHECK_OK(gmail_labels_note(labels, 5, &meta, (struct text){ "\\Inbox", 7 }, true));
		CHECK_OK(gmail_labels_note(labels, i == 1 ? 7 : 6, &meta,
					   (struct text){ said, strlen(said) + 1 }, true));
		CHECK_OK(gmail_labels_end(labels));
		CHECK(gmail_labels_box(labels, folder_of(labels, "INBOX"), &box));
		CHECK(box.cursor.exact);
		cursors[i] = box.cursor;
		for (unsigned n = 0; n < i; n++)
			CHECK(strcmp(cursors[n].at, cursors[i].at) != 0);
		gmail_labels_close(&labels);
	}
}

TEST(folders_that_are_no_labels_stay_what_they_are)
{
	struct labels *labels = begin(GMAIL_RULE_FIRST, false, NULL);
	static struct box box;

	box = box_of("[Gmail]/Chats", BOX_USE_NONE);
	CHECK_EQ(gmail_labels_kind(labels, &box), GMAIL_BOX_ITSELF);
	box = box_of("[Gmail]/Spam", BOX_USE_JUNK);
	CHECK_EQ(gmail_labels_kind(labels, &box), GMAIL_BOX_ITSELF);
	box = box_of("[Gmail]/Starred", BOX_USE_FLAGGED);
	CHECK_EQ(gmail_labels_kind(labels, &box), GMAIL_BOX_VIEW);
	box = box_of("[Gmail]/All Mail", BOX_USE_ALL);
	CHECK_EQ(gmail_labels_kind(labels, &box), GMAIL_BOX_VIEW);
	box = box_of("Chats", BOX_USE_NONE);
	CHECK_EQ(gmail_labels_kind(labels, &box), GMAIL_BOX_LABEL);
	box.selectable = false;
	CHECK_EQ(gmail_labels_kind(labels, &box), GMAIL_BOX_ITSELF);
	gmail_labels_close(&labels);
}

/* More labels than a message can have are left, and a mailbox has no more than anybody's. */
TEST(labels_without_end_are_bounded)
{
	struct labels *labels = begin(GMAIL_RULE_EVERY, false, NULL);
	static struct mail_meta meta;
	static char text[GMAIL_LABELS_OF_MESSAGE_MAX * 10 * 2];
	enum err e = OK;
	size_t n = 0;

	for (unsigned i = 0; i < 2 * GMAIL_LABELS_OF_MESSAGE_MAX; i++)
		n += (size_t)snprintf(text + n, sizeof text - n, "l%u", i) + 1;
	CHECK_OK(gmail_labels_note(labels, 5, &meta, (struct text){ text, n }, true));
	for (unsigned i = 0; i < GMAIL_LABELS_MAX + 1 && e == OK; i++) {
		n = (size_t)snprintf(text, sizeof text, "m%u", i) + 1;
		e = gmail_labels_note(labels, 6 + i, &meta, (struct text){ text, n }, true);
	}
	CHECK_EQ(e, ERR_SOURCE_LABELS);
	gmail_labels_close(&labels);
}
