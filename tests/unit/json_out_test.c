#include "tools/json_out.h"

#include <math.h>
#include <stdlib.h>

#include "tests/test.h"

static char *text;
static size_t text_bytes;

static struct json_out begin(void)
{
	struct json_out json = { .file = open_memstream(&text, &text_bytes) };

	must(json.file != NULL);
	return json;
}

static void expect(struct json_out *json, const char *expected)
{
	fclose(json->file);
	CHECK_TEXT(text, expected);
	free(text);
}

TEST(values_and_levels_are_separated_by_commas)
{
	struct json_out json = begin();

	json_object_begin(&json, NULL);
	json_text(&json, "a", "x");
	json_array_begin(&json, "b");
	json_number(&json, NULL, UINT64_MAX);
	json_signed(&json, NULL, INT64_MIN);
	json_object_begin(&json, NULL);
	json_object_end(&json);
	json_array_end(&json);
	json_bool(&json, "c", true);
	json_null(&json, "d");
	json_number_decimal(&json, "e", 1.5);
	json_object_end(&json);
	json_line_end(&json);
	json_bool(&json, NULL, false);
	json_line_end(&json);
	expect(&json,
	       "{\"a\":\"x\",\"b\":[18446744073709551615,-9223372036854775808,{}],\"c\":true,"
	       "\"d\":null,\"e\":1.500}\nfalse\n");
}

TEST(text_is_escaped_and_what_is_not_utf8_replaced)
{
	struct json_out json = begin();
	static const char odd[] =
		"\"\\\n\t\x01\x7f\0\xc3\xa9\xff\xc0\xaf\xed\xa0\x80\xf0\x9f\x98\x80\xe2\x82";

	json_text_bytes(&json, NULL, (struct text){ odd, sizeof odd - 1 });
	expect(&json,
	       "\"\\\"\\\\\\n\\u0009\\u0001\\u007f\\u0000\xc3\xa9\\ufffd\\ufffd\\ufffd\\ufffd"
	       "\\ufffd\\ufffd\xf0\x9f\x98\x80\\ufffd\\ufffd\"");
}

TEST(numbers_that_json_cannot_spell_become_null)
{
	struct json_out json = begin();

	json_array_begin(&json, NULL);
	json_number_decimal(&json, NULL, INFINITY);
	json_number_decimal(&json, NULL, NAN);
	json_number_decimal(&json, NULL, -0.25);
	json_array_end(&json);
	expect(&json, "[null,null,-0.250]");
}
