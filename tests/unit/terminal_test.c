#include "tools/terminal.h"

#include "tests/test.h"

static char shown[64];

static const char *fit(const char *text, unsigned columns)
{
	return terminal_fit(shown, sizeof shown, text_of(text), columns);
}

TEST(control_characters_and_direction_marks_never_reach_the_terminal)
{
	CHECK_TEXT(fit("a\x1b[2Jb\r\n\x7f", 40), "a?[2Jb???");
	CHECK_TEXT(fit("\xc2\x9b"
		       "31m",
		       40),
		   "?31m");			      /* C1: CSI in one character */
	CHECK_TEXT(fit("x\xe2\x80\xaey", 40), "x?y"); /* right-to-left override */
	CHECK_TEXT(fit("\xff\xc0\xaf", 40), "???");   /* not UTF-8 */
	CHECK_TEXT(fit("Entw\xc3\xbcrfe", 40), "Entw\xc3\xbcrfe");
}

TEST(a_text_is_cut_to_columns_not_bytes)
{
	CHECK_TEXT(fit("abcdef", 6), "abcdef");
	CHECK_TEXT(fit("abcdefg", 6), "abcde\xe2\x80\xa6");
	CHECK_TEXT(fit("\xc3\xbc\xc3\xbc\xc3\xbc", 3), "\xc3\xbc\xc3\xbc\xc3\xbc");
	CHECK_TEXT(fit("\xc3\xbc\xc3\xbc\xc3\xbc", 2), "\xc3\xbc\xe2\x80\xa6");
	/* two columns each */
	CHECK_TEXT(fit("\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e", 6),
		   "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e");
	CHECK_TEXT(fit("\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e", 5),
		   "\xe6\x97\xa5\xe6\x9c\xac\xe2\x80\xa6");
	CHECK_TEXT(fit("\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e", 4), "\xe6\x97\xa5\xe2\x80\xa6");
	CHECK_TEXT(fit("abc", 0), "");
	CHECK_TEXT(fit("abc", 1), "\xe2\x80\xa6");
	CHECK_TEXT(fit("", 0), "");
}

TEST(a_text_larger_than_the_buffer_is_cut_whole_characters)
{
	char small[8];

	CHECK_TEXT(terminal_text(small, sizeof small, "\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc"),
		   "\xc3\xbc\xc3\xbc\xe2\x80\xa6");
	CHECK_TEXT(terminal_text(small, sizeof small, "abcd"), "abcd");
}

TEST(only_shortest_form_utf8_counts)
{
	uint32_t code = 0;

	CHECK_EQ(utf8_take((struct text){ "\xe2\x82\xac", 3 }, &code), 3);
	CHECK_EQ(code, 0x20ac);
	CHECK_EQ(utf8_take((struct text){ "\xe2\x82\xac", 2 }, &code), 0);
	CHECK_EQ(utf8_take((struct text){ "\xe0\x80\xaf", 3 }, &code), 0);
	CHECK_EQ(utf8_take((struct text){ "\xed\xa0\x80", 3 }, &code), 0);
	CHECK_EQ(utf8_take((struct text){ "\xf4\x90\x80\x80", 4 }, &code), 0);
	CHECK_EQ(utf8_take((struct text){ "", 0 }, &code), 0);
}
