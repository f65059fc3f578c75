/* What people may say to --retry-skipped, and how skipped messages are counted by reason. */
#include "tools/skip_reason.h"

#include <stdlib.h>

#include "tests/unit/ledger_help.h"

static enum err parse(const char *given, const char **said)
{
	static char to[LEDGER_REASON_NAME_BYTES];
	enum err e;

	snprintf(to, sizeof to, "untouched");
	e = skip_reason_parse(given, test_directory(), to);
	*said = to;
	return e;
}

TEST(a_reason_is_known_in_any_spelling_of_the_report)
{
	static const struct {
		const char *given, *name;
	} rows[] = {
		{ NULL, "" },
		{ "all", LEDGER_ANY_REASON },
		{ "ALL", LEDGER_ANY_REASON },
		{ "IMAP_MSG_REFUSED", "IMAP_MSG_REFUSED" },
		{ "imap-msg-refused", "IMAP_MSG_REFUSED" },
		{ "Imap msg refused", "IMAP_MSG_REFUSED" },
		{ "the server will not hand out this message", "IMAP_MSG_REFUSED" },
		{ "The destination will not store this message", "SINK_REFUSED" },
		{ "SOURCE_SIZE", "SOURCE_SIZE" },
	};
	const char *said;

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		CHECK_OK(parse(rows[i].given, &said));
		CHECK_TEXT(said, rows[i].name);
	}
}

/* IMAP_REFUSED is why folders are skipped, which each run asks for again by itself. */
TEST(what_no_message_is_skipped_for_is_refused_with_what_may_be)
{
	static const char *const rows[] = { "",	    "nope", "IMAP_MSG_REFUSE", "IMAP_MSG_REFUSEDX",
					    "al",   "OK",   "IMAP_REFUSED",    "NET_CLOSED",
					    "\x1b[" };
	const char *said;

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		CHECK_ERR(parse(rows[i], &said), ERR_INPUT_USAGE);
		CHECK(strstr(err_note()->text,
			     "may be skipped (IMAP_MSG_GONE, IMAP_MSG_REFUSED, "));
		CHECK(strstr(err_note()->text, "SINK_REFUSED, SINK_TOOBIG), or all, not \""));
		CHECK(!strchr(err_note()->text, '\x1b'));
		CHECK_TEXT(said, "untouched");
		err_note_clear();
	}
}

static void skip_two(void)
{
	struct ledger_row row;
	struct world w;

	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK_OK(ledger_intend(w.ledger, w.box_no, 1, 9));
	CHECK_OK(ledger_settle(w.ledger, (row = skipped(w.box_no, 1, ERR_SOURCE_SIZE), &row)));
	CHECK_OK(ledger_settle(w.ledger, (row = skipped(w.box_no, 2, ERR_SINK_REFUSED), &row)));
	CHECK_OK(world_finish(&w));
}

TEST_FIBER(a_ledger_names_its_own_reasons_also_those_of_another_version)
{
	const char *said;

	skip_two();
	CHECK_ERR(parse("nope", &said), ERR_INPUT_USAGE);
	CHECK(strstr(err_note()->text, "were skipped (SINK_REFUSED, SOURCE_SIZE), or all, not \""));
	err_note_clear();
	CHECK_TEXT(ask_file(test_directory(), "UPDATE reason SET name = 'FROM_THE_FUTURE' WHERE"
					      " name = 'SINK_REFUSED'"),
		   "");
	CHECK_OK(parse("from-the-future", &said));
	CHECK_TEXT(said, "FROM_THE_FUTURE");
	CHECK_OK(parse("IMAP_MSG_REFUSED", &said)); /* might be: nothing is skipped for it */
}

/* The caller frees it. */
static char *told(const struct ledger_reason *reasons, bool as_json)
{
	char *text = NULL;
	size_t bytes;
	FILE *to = open_memstream(&text, &bytes);
	struct json_out json = { .file = to };

	must(to);
	if (as_json) {
		json_object_begin(&json, NULL);
		skip_reasons_json(reasons, &json);
		json_object_end(&json);
	} else {
		skip_reasons_text(reasons, "Skipped for  ", to);
	}
	must(fclose(to) == 0);
	return text;
}

static void check_told(const struct ledger_reason *reasons, const char *text, const char *json)
{
	char *got = told(reasons, false);

	CHECK_TEXT(got, text);
	free(got);
	got = told(reasons, true);
	CHECK_TEXT(got, json);
	free(got);
}

TEST(reasons_of_several_mailboxes_are_summed_and_told)
{
	static const struct ledger_reason first[LEDGER_REASONS_MAX] = { { "A", 2 }, { "B", 1 } };
	static const struct ledger_reason second[LEDGER_REASONS_MAX] = { { "B", 40 },
									 { "C\x1b", 1 } };
	struct ledger_reason sum[LEDGER_REASONS_MAX] = { 0 };

	check_told(sum, "", "{\"skipped_reasons\":{}}");
	skip_reasons_add(sum, first);
	skip_reasons_add(sum, second);
	check_told(sum,
		   "Skipped for  2 A, 41 B, 1 C?; --retry-skipped REASON asks for them again\n",
		   "{\"skipped_reasons\":{\"A\":2,\"B\":41,\"C\\u001b\":1}}");
}

TEST(more_reasons_than_there_is_room_for_are_left_out)
{
	struct ledger_reason sum[LEDGER_REASONS_MAX] = { 0 }, more[LEDGER_REASONS_MAX] = { 0 };

	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < LEDGER_REASONS_MAX; i++) {
			snprintf(more[i].name, sizeof more[i].name, "R%u", i + 3 * round);
			more[i].messages = 1;
		}
		skip_reasons_add(sum, more);
	}
	for (unsigned i = 0; i < LEDGER_REASONS_MAX; i++)
		CHECK_EQ(sum[i].messages, i < 3 ? 1 : 2);
}
