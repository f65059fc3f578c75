#include "tools/csv.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/bytes.h"
#include "tests/test.h"

/* Read `text` through windows of `step` more bytes each, and write down what comes: fields between
 * [ and ], a record per line with its line number, faults as "!line:column". */
static void show(const char *text, size_t bytes, char delimiter, size_t step, struct buffer *to)
{
	static struct csv_record record;
	struct csv csv = { .delimiter = delimiter, .quotes = true, .line = 1 };
	size_t from = 0, filled = min_u64(step, bytes), used;
	char *copy = malloc(bytes + 1);
	enum csv_result result;

	must(copy);
	bytes_copy(copy, text, bytes, BYTES_META);
	while ((result = csv_next(&csv, copy + from, filled - from, filled == bytes, &record,
				  &used)) != CSV_END) {
		CHECK(result != CSV_MORE || filled < bytes);
		from += used;
		if (result == CSV_MORE) {
			filled = min_u64(filled + step, bytes);
			continue;
		}
		if (result == CSV_FAULT) {
			buffer_addf(to, "!%u:%u\n", csv.fault_line, csv.fault_column);
			continue;
		}
		for (size_t i = 0; i < record.count; i++) {
			const struct csv_field *field = &record.fields[i];

			/* The place it names in the file is where it is. */
			CHECK(field->offset + field->raw_bytes <= bytes &&
			      memcmp(text + field->offset, field->at, field->raw_bytes) == 0);
		}
		csv_decode(&record);
		buffer_addf(to, "%u", record.line);
		for (size_t i = 0; i < record.count; i++)
			buffer_addf(to, "[%.*s]", (int)record.fields[i].bytes, record.fields[i].at);
		buffer_addf(to, "\n");
	}
	free(copy);
}

static void reads_bytes(const char *text, size_t bytes, char delimiter, const char *expected)
{
	for (size_t step = 1; step <= bytes + 1; step++) {
		struct buffer shown = { 0 };

		show(text, bytes, delimiter, step, &shown);
		if (!CHECK_TEXT(shown.at ? shown.at : "", expected))
			step = bytes + 1;
		buffer_free(&shown);
	}
}

static void reads(const char *text, char delimiter, const char *expected)
{
	reads_bytes(text, strlen(text), delimiter, expected);
}

TEST(fields_come_apart_at_the_delimiter_however_the_bytes_arrive)
{
	reads("a,b,c\nd,,f\n", ',', "1[a][b][c]\n2[d][][f]\n");
	reads("a;b\nc;d", ';', "1[a][b]\n2[c][d]\n");
	reads("a\t b\nc\td\n", '\t', "1[a][ b]\n2[c][d]\n");
	reads("one\n", ',', "1[one]\n");
	reads("", ',', "");
	reads("a,b,\n", ',', "1[a][b][]\n");
}

TEST(every_line_end_is_one_line)
{
	reads("a\r\nb\r\nc", ',', "1[a]\n2[b]\n3[c]\n");
	reads("a\rb\rc\r", ',', "1[a]\n2[b]\n3[c]\n");
	reads("a\n\r\nb\r\rc\n", ',', "1[a]\n3[b]\n5[c]\n");
}

TEST(quoted_fields_hold_delimiters_quotes_and_line_ends)
{
	reads("\"a,b\",\"c\"\"d\",\"\"\n", ',', "1[a,b][c\"d][]\n");
	reads("\"a\r\nb\nc\",d\ne\n", ',', "1[a\r\nb\nc][d]\n4[e]\n");
	reads("\"\"\"\",\"\"\"x\"\"\"", ',', "1[\"][\"x\"]\n");
	reads(" \"a b\" ,\tc\n", ',', "1[a b][\tc]\n");
	reads("a\"b,c\"\n", ',', "1[a\"b][c\"]\n");
	reads("\"#a\"\n", ',', "1[#a]\n");
}

TEST(comments_and_blank_lines_are_passed_over)
{
	reads("# one, \"two\n\n  # three\n \t\na\n#\n,,,\nb\n# end", ',', "5[a]\n8[b]\n");
	reads("a#b,#c\n", ',', "1[a#b][#c]\n");
}

TEST(what_is_not_sound_is_told_with_line_and_column)
{
	reads("a,b\nc,\"d\ne", ',', "1[a][b]\n!2:3\n");
	reads("a,\"b\"c,d\ne\n", ',', "!1:6\n2[e]\n");
	reads("a\n\xc3\xa9,\xe9t\xe9\nb\n", ',', "1[a]\n!2:3\n3[b]\n");
	reads_bytes("a\nb,c\0d\ne\n", 10, ',', "1[a]\n!2:4\n");
	reads("\"x\n\xc3\xa9\xff\"\ny\n", ',', "!2:2\n3[y]\n");
}

TEST(a_quote_is_a_character_where_the_dialect_has_none)
{
	static struct csv_record record;
	struct csv csv = { .delimiter = ';', .line = 1 };
	char text[] = "\"a;b\"\"c;\n";
	size_t used;

	REQUIRE(csv_next(&csv, text, strlen(text), true, &record, &used) == CSV_RECORD);
	CHECK_EQ(record.count, 3);
	CHECK_EQ(record.fields[0].bytes, 2);
	CHECK_EQ(record.fields[1].bytes, 4);
}

/* Neither a line without an end nor a quote that nobody closed makes the reader keep the file. */
TEST(a_record_has_a_bound)
{
	static struct csv_record record;
	static char text[2 * CSV_RECORD_BYTES_MAX];
	struct csv csv = { .delimiter = ',', .quotes = true, .line = 1 };
	size_t used;

	memset(text, 'x', sizeof text);
	CHECK_EQ(csv_next(&csv, text, sizeof text, false, &record, &used), CSV_FAULT);
	CHECK(strstr(csv.fault, "64 KiB"));
	CHECK_EQ(csv_next(&csv, text, 10, false, &record, &used), CSV_END);

	csv = (struct csv){ .delimiter = ',', .quotes = true, .line = 7 };
	text[0] = 'a';
	text[1] = ',';
	text[2] = '"';
	CHECK_EQ(csv_next(&csv, text, sizeof text, false, &record, &used), CSV_FAULT);
	CHECK(strstr(csv.fault, "never closed"));
	CHECK_EQ(csv.fault_line, 7);
	CHECK_EQ(csv.fault_column, 3);

	csv = (struct csv){ .delimiter = ',', .quotes = true, .line = 1 };
	memset(text, ',', 100);
	text[0] = 'a';
	text[100] = '\n';
	CHECK_EQ(csv_next(&csv, text, 101, true, &record, &used), CSV_FAULT);
	CHECK(strstr(csv.fault, "64 columns"));
	CHECK_EQ(used, 101);
}

TEST(the_byte_order_mark_is_told_apart)
{
	bool utf16;

	CHECK_EQ(csv_mark("\xef\xbb\xbf"
			  "a",
			  4, &utf16),
		 3);
	CHECK(!utf16);
	CHECK_EQ(csv_mark("abcd", 4, &utf16), 0);
	CHECK(!utf16);
	csv_mark("\xff\xfe"
		 "a\0",
		 4, &utf16);
	CHECK(utf16);
	csv_mark("\xfe\xff\0a", 4, &utf16);
	CHECK(utf16);
	CHECK_EQ(csv_mark("", 0, &utf16), 0);
	CHECK(!utf16);
}

/* Random bytes of the kind that matters: what is read does not depend on how it arrives. */
TEST(the_same_bytes_read_the_same_through_every_window)
{
	static const char alphabet[] = "ab,\"\"\"\n\r #\xc3\xa9;";
	uint64_t seed = 42;

	for (unsigned round = 0; round < 300; round++) {
		struct buffer whole = { 0 };
		char text[24];

		for (size_t i = 0; i < sizeof text; i++) {
			seed = seed * 6364136223846793005u + 1442695040888963407u;
			text[i] = alphabet[(seed >> 33) % (sizeof alphabet - 1)];
		}
		show(text, sizeof text, ',', sizeof text, &whole);
		reads_bytes(text, sizeof text, ',', whole.at ? whole.at : "");
		buffer_free(&whole);
	}
}
