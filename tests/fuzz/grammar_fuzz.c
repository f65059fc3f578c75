/* libetpan behind its door (transport/imap.c), one reply an input: the imap target reaches the same
 * code, at a tenth of the speed. What imap_session would not have let through is left out here. */
#include <stdlib.h>

#include "engine/mail.h"
#include "tests/fuzz/fuzz.h"
#include "transport/imap.h"

/* Nested no deeper than imap_session allows; brackets in strings are counted too, which only leaves
 * out more. */
static bool is_shallow(struct text reply)
{
	unsigned depth = 0;

	for (size_t i = 0; i < reply.bytes; i++) {
		depth += reply.at[i] == '(';
		depth -= reply.at[i] == ')' && depth;
		if (depth > IMAP_NESTING_MAX)
			return false;
	}
	return true;
}

/* An end of line stands only behind the "{n}" of a literal (imap_wire.c), whose bytes follow. */
static bool has_whole_literals(struct text reply)
{
	struct imap_scan scan = imap_scan_of(reply);
	const char *line;
	uint64_t bytes;

	while ((line = memchr(scan.at, '\n', (size_t)(scan.end - scan.at))) != NULL) {
		const char *mark = line;

		while (mark > scan.at && *mark != '{')
			mark--;
		if (mark == scan.at || (mark[-1] != ' ' && mark[-1] != '('))
			return false;
		scan.at = mark + 1;
		if (!imap_scan_number(&scan, UINT32_MAX, &bytes) || !imap_scan_char(&scan, '}') ||
		    !imap_scan_char(&scan, '\r') || scan.at++ != line ||
		    bytes > (size_t)(scan.end - scan.at))
			return false;
		scan.at += bytes;
	}
	return true;
}

static void parse(struct imap_grammar *grammar, struct text reply)
{
	struct imap_scan scan = imap_scan_of(reply);
	struct imap_listed listed;
	char software[128] = "";
	uint64_t bytes_max;
	unsigned bits = 0;

	if (imap_scan_word(&scan, "CAPABILITY")) {
		bits |= imap_parse_capability(imap_scan_rest(&scan));
		must((bits & ~(unsigned)IMAP_CAPABILITIES_ALL) == 0);
		if (imap_parse_append_limit(imap_scan_rest(&scan), &bytes_max))
			must(bits & IMAP_HAS_APPENDLIMIT);
	} else if (imap_scan_word(&scan, "ID")) {
		imap_parse_id(grammar, reply, software, sizeof software);
		must(memchr(software, '\0', sizeof software));
	} else if (imap_scan_word(&scan, "LIST") || imap_scan_word(&scan, "LSUB")) {
		if (imap_parse_list(grammar, reply, &listed))
			must(strlen(listed.name) <= reply.bytes);
	}
}

/* Parts of the input are replies of one conversation: a reply that does not parse must not harm the
 * next. */
FUZZ_FIBER(grammar)
{
	struct imap_grammar *grammar = NULL;

	must(imap_grammar_open(&grammar) == OK);
	while (input.bytes) {
		struct text part = fuzz_take_part(&input);
		char *reply = fuzz_string(part);

		if (!memchr(part.at, '\0', part.bytes) && is_shallow(part) &&
		    has_whole_literals(part))
			parse(grammar, (struct text){ reply, part.bytes });
		free(reply);
	}
	imap_grammar_close(&grammar);
}
