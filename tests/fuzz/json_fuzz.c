/* One object of our own JSON: what was read is written again and read the same. */
#include "transport/json.h"

#include "tests/fuzz/fuzz.h"

struct object {
	char text[64], other[16];
	uint64_t number;
	bool flag;
	uint8_t hex[8];
};
static const struct json_field fields[] = {
	JSON_FIELD("text", JSON_TEXT, struct object, text),
	JSON_FIELD_OPTIONAL("other", JSON_TEXT, struct object, other),
	JSON_FIELD("number", JSON_NUMBER, struct object, number),
	JSON_FIELD_OPTIONAL("flag", JSON_BOOL, struct object, flag),
	JSON_FIELD_OPTIONAL("hex", JSON_HEX, struct object, hex),
};

FUZZ(json)
{
	struct object object = { .number = 0 }, again = { .number = 0 };
	struct buffer line = { 0 };

	if (!json_read(input, fields, ARRAY_COUNT(fields), &object))
		return;
	json_begin(&line);
	json_add_text(&line, "text", text_of(object.text));
	json_add_text(&line, "other", text_of(object.other));
	json_add_number(&line, "number", object.number);
	json_add_bool(&line, "flag", object.flag);
	json_add_hex(&line, "hex", object.hex, sizeof object.hex);
	json_end(&line);
	must(json_read((struct text){ line.at, line.bytes }, fields, ARRAY_COUNT(fields), &again));
	must(strcmp(object.text, again.text) == 0 && strcmp(object.other, again.other) == 0);
	must(object.number == again.number && object.flag == again.flag);
	must(memcmp(object.hex, again.hex, sizeof object.hex) == 0);
	buffer_free(&line);
}
