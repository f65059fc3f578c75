/* Our JSON: what is written reads back, and what a hostile file may hold is refused. */
#include "transport/json.h"

#include "tests/test.h"

struct row {
	char name[32];
	uint64_t number;
	bool flag;
	uint8_t hex[4];
};

static const struct json_field fields[] = {
	JSON_FIELD("name", JSON_TEXT, struct row, name),
	JSON_FIELD("number", JSON_NUMBER, struct row, number),
	JSON_FIELD_OPTIONAL("flag", JSON_BOOL, struct row, flag),
	JSON_FIELD_OPTIONAL("hex", JSON_HEX, struct row, hex),
};

static bool reads(const char *text, struct row *row)
{
	*row = (struct row){ 0 };
	return json_read(text_of(text), fields, ARRAY_COUNT(fields), row);
}

TEST(what_is_written_reads_back)
{
	static const char name[] = "a\"b\\c\x01\x7f\n\xC3\xA4\xF0\x9F\x93\xA7";
	struct buffer line = { 0 };
	struct row row = { 0 };

	json_begin(&line);
	json_add_text(&line, "name", text_of(name));
	json_add_number(&line, "number", UINT64_MAX);
	json_add_bool(&line, "flag", true);
	json_add_hex(&line, "hex", (const uint8_t[]){ 1, 2, 0xFE, 0xFF }, 4);
	json_end(&line);
	REQUIRE(json_read((struct text){ line.at, line.bytes }, fields, ARRAY_COUNT(fields), &row));
	CHECK_TEXT(row.name, name);
	CHECK(row.number == UINT64_MAX);
	CHECK(row.flag);
	CHECK(row.hex[0] == 1 && row.hex[3] == 0xFF);
	buffer_free(&line);
}

TEST(bytes_that_are_no_utf8_become_question_marks)
{
	struct buffer text = { 0 };

	json_escape(&text, text_of("a\xFF\xC3(\xED\xA0\x80\xC0\xAFz"));
	buffer_add(&text, "", 1);
	CHECK_TEXT(text.at, "a?"
			    "?("
			    "?????z");
	buffer_free(&text);
}

TEST(unknown_members_and_space_are_passed_over)
{
	struct row row;

	CHECK(reads(" { \"x\" : [1, {\"y\": \"]}\"}, null] , "
		    "\"name\":\"n\",\"z\":-1.5e3,\t\"number\":7 }\n",
		    &row));
	CHECK_TEXT(row.name, "n");
	CHECK_EQ(row.number, 7);
	CHECK(reads("{\"name\":\"\\u00e4\\ud83d\\udce7\\/\",\"number\":0,\"hex\":\"\"}", &row));
	CHECK_TEXT(row.name, "\xC3\xA4\xF0\x9F\x93\xA7/");
}

TEST(what_is_no_object_of_ours_is_refused)
{
	static const char *const refused[] = {
		"",
		"{",
		"{}",
		"[]",
		"null",
		"{\"name\":\"n\"}",
		"{\"name\":\"n\",\"number\":1",
		"{\"name\":\"n\",\"number\":1}x",
		"{\"name\":\"n\",\"number\":1,}",
		"{\"name\":\"n\",\"number\":-1}",
		"{\"name\":\"n\",\"number\":01}",
		"{\"name\":\"n\",\"number\":18446744073709551616}",
		"{\"name\":\"n\",\"number\":1.5}",
		"{\"name\":\"n\",\"number\":\"1\"}",
		"{\"name\":7,\"number\":1}",
		"{\"name\":\"n\",\"name\":\"m\",\"number\":1}", /* doubled */
		"{\"name\":\"a\\u0000b\",\"number\":1}",	/* NUL */
		"{\"name\":\"\\ud83d\",\"number\":1}",
		"{\"name\":\"\\udce7\",\"number\":1}",
		"{\"name\":\"\xFF\",\"number\":1}",
		"{\"name\":\"a\nb\",\"number\":1}",
		"{\"name\":\"\\x\",\"number\":1}",
		"{\"name\":\"open,\"number\":1}",
		"{\"name\":\"0123456789012345678901234567890123456789\",\"number\":1}", /* too long
											 */
		"{\"name\":\"n\",\"number\":1,\"hex\":\"0102\"}",
		"{\"name\":\"n\",\"number\":1,\"hex\":\"0102030405\"}",
		"{\"name\":\"n\",\"number\":1,\"hex\":\"0102030g\"}",
		"{\"name\":\"n\",\"number\":1,\"flag\":1}",
	};
	struct row row;

	for (size_t i = 0; i < ARRAY_COUNT(refused); i++)
		if (reads(refused[i], &row))
			test_failed(__FILE__, __LINE__, "taken: %s", refused[i]);
}

TEST(depth_is_bounded_whatever_the_length)
{
	struct buffer text = { 0 };
	struct row row = { 0 };

	buffer_add_text(&text, "{\"name\":\"n\",\"number\":1,\"x\":");
	for (int i = 0; i < JSON_DEPTH_MAX; i++)
		buffer_add(&text, "[", 1);
	for (int i = 0; i < JSON_DEPTH_MAX; i++)
		buffer_add(&text, "]", 1);
	buffer_add(&text, "}", 1);
	CHECK(json_read((struct text){ text.at, text.bytes }, fields, ARRAY_COUNT(fields), &row));
	buffer_reset(&text);
	buffer_add_text(&text, "{\"name\":\"n\",\"number\":1,\"x\":");
	for (int i = 0; i < 1000000; i++)
		buffer_add(&text, "[", 1);
	CHECK(!json_read((struct text){ text.at, text.bytes }, fields, ARRAY_COUNT(fields), &row));
	buffer_free(&text);
}

/* Cut at every byte: refused, and nothing behind the cut is read (the copy is exactly as long). */
TEST(a_line_cut_anywhere_is_refused)
{
	static const char whole[] =
		"{\"name\":\"\\u00e4\",\"number\":12,\"x\":[\"]\"],\"hex\":\"01020304\"}";
	struct row row;

	for (size_t n = 0; n < sizeof whole - 1; n++) {
		struct buffer cut = { 0 };

		buffer_add(&cut, whole, n);
		CHECK(!json_read((struct text){ cut.at, n }, fields, ARRAY_COUNT(fields), &row));
		buffer_free(&cut);
	}
}
