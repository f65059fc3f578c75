/* Errors: the table, the note, quoting. */
#include "tests/test.h"

#include <errno.h>

TEST(every_error_has_a_name_that_leads_back_to_it_a_text_and_an_exit_code)
{
	enum err found;

	for (unsigned i = 0; i < ERR_COUNT; i++) {
		enum err e = (enum err)i;

		CHECK(strlen(err_name(e)) > 0 && strlen(err_text(e)) > 0);
		CHECK(err_from_name(text_of(err_name(e)), &found) && found == e);
		CHECK(err_retry_class(e) <= RETRY_NONE);
		CHECK(i == 0 ? err_exit_code(e) == 0
			     : err_exit_code(e) > 0 && err_exit_code(e) < 256);
	}
	CHECK(!err_from_name(text_of("IMAP_NONSENSE"), &found));
	CHECK(!err_from_name(text_of(""), &found));
	CHECK(!err_from_name((struct text){ "DISK_FULLER", 8 }, &found));
}

TEST(a_row_says_what_the_table_says)
{
	CHECK_TEXT(err_name(ERR_IMAP_THROTTLED), "IMAP_THROTTLED");
	CHECK_EQ(err_retry_class(ERR_IMAP_THROTTLED), RETRY_BACKOFF);
	CHECK_EQ(err_exit_code(ERR_DISK_FULL), EXIT_IO);
	CHECK_EQ(err_retry_class(OK), RETRY_NONE);
}

TEST(raise_notes_what_was_done_and_returns_the_error)
{
	int line = __LINE__ + 1;
	enum err e = RAISE(ERR_NET_CLOSED, "reading from %s", "mail.example.com");

	CHECK_ERR(e, ERR_NET_CLOSED);
	CHECK_EQ(err_note()->error, ERR_NET_CLOSED);
	CHECK_TEXT(err_note()->text, "reading from mail.example.com");
	CHECK_TEXT(err_note()->file, __FILE__);
	CHECK_EQ(err_note()->line, line);
	CHECK_EQ(err_note()->errno_value, 0);
}

TEST(the_first_note_stays_until_it_is_cleared)
{
	CHECK_ERR(RAISE(ERR_NET_RESET, "the cause"), ERR_NET_RESET);
	CHECK_ERR(RAISE_ERRNO(ERR_DISK_IO, EIO, "a consequence"), ERR_DISK_IO);
	CHECK_EQ(err_note()->error, ERR_NET_RESET);
	CHECK_TEXT(err_note()->text, "the cause");
	CHECK_EQ(err_note()->errno_value, 0);
	err_note_clear();
	CHECK_EQ(err_note()->error, OK);
	CHECK_TEXT(err_note()->text, "");
	CHECK_ERR(RAISE(ERR_DISK_IO, "the next cause"), ERR_DISK_IO);
	CHECK_TEXT(err_note()->text, "the next cause");
}

TEST(raise_with_errno_appends_what_the_system_says)
{
	CHECK_ERR(RAISE_ERRNO(ERR_DISK_FULL, ENOSPC, "writing %s", "/tmp/x"), ERR_DISK_FULL);
	CHECK_TEXT(err_note()->text, "writing /tmp/x: No space left on device");
	CHECK_EQ(err_note()->errno_value, ENOSPC);
}

TEST(a_note_that_is_too_long_is_cut_and_terminated)
{
	char name[2 * ERR_NOTE_BYTES_MAX];

	memset(name, 'x', sizeof name);
	name[sizeof name - 1] = '\0';
	CHECK_ERR(RAISE_ERRNO(ERR_DISK_IO, EIO, "%s", name), ERR_DISK_IO);
	CHECK_EQ(strlen(err_note()->text), ERR_NOTE_BYTES_MAX - 1);
	err_note_clear();
	CHECK_ERR(RAISE_ERRNO(ERR_DISK_IO, EIO, "%.*s", ERR_NOTE_BYTES_MAX - 5, name), ERR_DISK_IO);
	CHECK_EQ(strlen(err_note()->text), ERR_NOTE_BYTES_MAX - 1);
	CHECK_TEXT(err_note()->text + ERR_NOTE_BYTES_MAX - 5, ": In");
}

TEST(a_swapped_note_is_current_until_swapped_back)
{
	struct err_note mine = { .error = OK }, *before;

	before = err_note_swap(&mine);
	CHECK_ERR(RAISE(ERR_NET_NAME, "elsewhere"), ERR_NET_NAME);
	CHECK(err_note() == &mine);
	CHECK(err_note_swap(before) == &mine);
	CHECK_EQ(err_note()->error, OK);
	CHECK_TEXT(mine.text, "elsewhere");
}

TEST(a_kept_note_is_inherited_where_there_is_none)
{
	struct err_note kept = { .error = OK }, *before = err_note_swap(&kept);

	CHECK_ERR(RAISE(ERR_NET_NAME, "elsewhere"), ERR_NET_NAME);
	(void)err_note_swap(before);
	err_note_inherit(&kept);
	CHECK_EQ(err_note()->error, ERR_NET_NAME);
	CHECK_TEXT(err_note()->text, "elsewhere");
	err_note_clear();
	CHECK_ERR(RAISE(ERR_DISK_FULL, "here"), ERR_DISK_FULL);
	err_note_inherit(&kept);
	CHECK_TEXT(err_note()->text, "here");
	err_note_inherit(&(struct err_note){ .error = OK });
	CHECK_TEXT(err_note()->text, "here");
}

TEST(file_errors_become_ours)
{
	static const struct {
		int errno_value;
		enum err e;
	} rows[] = {
		{ ENOSPC, ERR_DISK_FULL },     { EDQUOT, ERR_DISK_FULL },
		{ EROFS, ERR_DISK_READ_ONLY }, { EACCES, ERR_DISK_DENIED },
		{ ENOENT, ERR_DISK_ABSENT },   { EEXIST, ERR_DISK_EXISTS },
		{ EIO, ERR_DISK_IO },	       { EBADF, ERR_DISK_IO },
	};

	for (unsigned i = 0; i < ARRAY_COUNT(rows); i++)
		CHECK_ERR(err_of_file_errno(rows[i].errno_value), rows[i].e);
}

static void check_quote(const char *from, size_t from_bytes, size_t room, const char *expected)
{
	char to[64];

	memset(to, '~', sizeof to);
	CHECK_TEXT(err_quote(to, room, (struct text){ from, from_bytes }), expected);
	for (size_t i = room; i < sizeof to; i++)
		CHECK_EQ(to[i], '~');
}

TEST(quoting_makes_what_a_peer_said_harmless_and_fits)
{
	check_quote("plain text", 10, 64, "plain text");
	check_quote("", 0, 4, "");
	check_quote("a\0b\r\n\x1b[2J\"\\\x7f", 12, 64, "a\\x00b\\x0d\\x0a\\x1b[2J\\x22\\x5c\\x7f");
	check_quote("gr\xc3\xbc\xc3\x9f", 6, 64, "gr\xc3\xbc\xc3\x9f");
	check_quote("\xc3(\xff\xc0\x80\xed\xa0\x80", 8, 64, "\\xc3(\\xff\\xc0\\x80\\xed\\xa0\\x80");
	check_quote("0123456789", 10, 11, "0123456789");
	check_quote("0123456789", 10, 10, "012345...");
	check_quote("012\r\n", 5, 8, "012...");
	check_quote("\r\n", 2, 4, "...");
	check_quote("abc", 3, 4, "abc");
	check_quote("abcd", 4, 4, "...");
	check_quote("\xc3\xbc\xc3\xbc\xc3\xbc", 6, 6, "\xc3\xbc...");
}
