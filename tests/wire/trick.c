/* Tricks are changes of the script, so the server that plays them knows nothing of it. A reply
 * begins in a line "S: * ..." or "S: TAG OK ..."; other lines go on with one. */
#include "tests/wire/trick.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/bytes.h"
#include "tests/sim/tls_sim.h"

#define TIMEOUT_MS 20

const struct wire_trick wire_tricks[] = {
	/* RFC 9051 section 7: any of these may come at any time. */
	{ .name = "chatter",
	  .lines = { "S: * 7 EXISTS", "S: * 2 RECENT", "S: * 7 EXPUNGE",
		     "S: * 3 FETCH (FLAGS (\\Seen) MODSEQ (12))", "S: * OK [ALERT] mind {3}",
		     "S: * NO [ALERT] not this", "S: * BAD nor that",
		     "S: * XWHAT ((a \"(\") [b] {4}", "S+ *(\\r\\n NIL)\\r\\n" } },
	{ .name = "bye", .lines = { "S: * BYE so long", "close" }, .error = "IMAP_BYE" },
	{ .name = "bye with a code",
	  .lines = { "S: * BYE [UNAVAILABLE] going down", "close" },
	  .error = "IMAP_UNAVAILABLE" },
	{ .name = "close", .lines = { "close" }, .error = "TLS_CUT" },
	{ .name = "close inside a line", .lines = { "S+ * OK [", "close" }, .error = "TLS_CUT" },
	{ .name = "close inside a literal",
	  .lines = { "S: * LIST () \"/\" {9}", "S+ four", "close" },
	  .error = "TLS_CUT" },
	{ .name = "silence",
	  .lines = { "stall" },
	  .timeout_ms = TIMEOUT_MS,
	  .error = "NET_TIMEOUT" },
	{ .name = "silence inside a line",
	  .lines = { "S+ * OK", "stall" },
	  .timeout_ms = TIMEOUT_MS,
	  .error = "NET_TIMEOUT" },
	{ .name = "alien tag", .lines = { "S: a999 OK surprise" }, .error = "IMAP_SYNTAX" },
	{ .name = "largest tag", .lines = { "S: a4294967295 OK more" }, .error = "IMAP_SYNTAX" },
	{ .name = "tag of another kind", .lines = { "S: XYZZY OK who" }, .error = "IMAP_SYNTAX" },
	{ .name = "tag of 20 digits",
	  .lines = { "S: a18446744073709551617 OK round" },
	  .error = "IMAP_SYNTAX" },
	{ .name = "no reply", .lines = { "S: hello there" }, .error = "IMAP_SYNTAX" },
	{ .name = "empty line", .lines = { "S+ \\r\\n" }, .error = "IMAP_SYNTAX" },
	{ .name = "NUL", .lines = { "S+ * OK \\x00\\r\\n" }, .error = "IMAP_SYNTAX" },
	{ .name = "literal of 20 digits",
	  .lines = { "S: * X {99999999999999999999}" },
	  .error = "IMAP_SYNTAX" },
	{ .name = "literal of less than nothing",
	  .lines = { "S: * X {-1}" },
	  .error = "IMAP_SYNTAX" },
	{ .name = "literal+", .lines = { "S: * X {3+}", "S+ abc\\r\\n" }, .error = "IMAP_SYNTAX" },
	{ .name = "literal of no size", .lines = { "S: * X {}" }, .error = "IMAP_SYNTAX" },
	{ .name = "endless line",
	  .lines = { "S+ * X ", "S-forever 0123456789" },
	  .error = "IMAP_SYNTAX" },
	/* What is legal at one place and nowhere else, or depends on what is left out. */
	{ .name = "go ahead", .lines = { "S: + go ahead" }, .timeout_ms = TIMEOUT_MS, .error = "" },
	{ .name = "twice", .twice = true, .timeout_ms = TIMEOUT_MS, .error = "" },
	{ .name = "left out", .instead = true, .timeout_ms = TIMEOUT_MS, .error = "" },
};
const unsigned wire_tricks_count = ARRAY_COUNT(wire_tricks);

static bool is_tagged(const char *text)
{
	const char *behind = strchr(text + 3, ' ');

	return behind && (strncmp(behind, " OK", 3) == 0 || strncmp(behind, " NO", 3) == 0 ||
			  strncmp(behind, " BAD", 4) == 0);
}

static void put(struct wire_script *script, unsigned at, const char *text)
{
	struct wire_line *line = &script->lines[at];

	must(at <= script->count && script->count < WIRE_LINES_MAX);
	bytes_move(line + 1, line, (script->count - at) * sizeof *line);
	script->count++;
	line->text = strdup(text);
}

static void take_out(struct wire_script *script, unsigned at)
{
	struct wire_line *line = &script->lines[at];

	free(line->text);
	script->count--;
	bytes_move(line, line + 1, (script->count - at) * sizeof *line);
}

/* The reply's last line: literals belong to it, up to the next line that begins a reply or is not
 * the server's. */
static unsigned reply_end(const struct wire_script *script, unsigned at)
{
	while (++at < script->count) {
		const char *text = script->lines[at].text;

		if (strncmp(text, "S", 1) != 0 || strncmp(text, "S: *", 4) == 0 ||
		    (strncmp(text, "S: ", 3) == 0 && is_tagged(text)))
			break;
	}
	return at;
}

/* What may come at any time may not come before the greeting. */
static bool is_greeting(const struct wire_script *script, unsigned at)
{
	while (at-- > 0)
		if (script->lines[at].text[0] == 'S')
			return false;
	return true;
}

bool wire_trick_apply(const struct wire_trick *trick, struct wire_script *script, unsigned at)
{
	const char *text = script->lines[at].text;
	unsigned end;

	if (strncmp(text, "S: ", 3) != 0 || (text[3] != '*' && !is_tagged(text)))
		return false;
	if (!trick->error && is_greeting(script, at))
		return false;
	if (trick->twice) {
		if (is_tagged(text))
			put(script, at + 1, text);
		return is_tagged(text);
	}
	for (end = reply_end(script, at); trick->instead && end > at; end--)
		take_out(script, at);
	for (unsigned i = 0; i < ARRAY_COUNT(trick->lines) && trick->lines[i]; i++)
		put(script, at + i, trick->lines[i]);
	return true;
}

/* ---- ways ---- */

static const struct wire_way *cutting;
static struct wire_bytes dice;

/* Small ones most often: borders of words, lines and literals are where readers go wrong. */
static size_t cut(size_t max)
{
	static const uint16_t most[] = { 1, 3, 40, 5000 };
	uint8_t thrown[4];
	size_t piece = cutting->piece;

	if (!piece) {
		wire_bytes_next(&dice, thrown, sizeof thrown);
		piece = 1 + (thrown[0] | (size_t)thrown[1] << 8) % most[thrown[2] & 3];
	}
	return min_u64(piece, max);
}

void wire_cut_like(const struct wire_way *way)
{
	cutting = way;
	dice = wire_bytes_of(way->seed);
	tls_sim_piece = way->piece || way->seed ? cut : NULL;
}

const char *wire_way_words(const struct wire_way *way, const struct wire_script *script,
			   char to[300])
{
	if (way->trick)
		snprintf(to, 300, "trick \"%s\" in line %u", way->trick->name,
			 script->lines[way->at].number);
	else if (way->seed)
		snprintf(to, 300, "SEED=%u, each %u", way->seed, way->each);
	else
		snprintf(to, 300, "pieces of %zu bytes, each %u", way->piece, way->each);
	return to;
}

unsigned wire_lines_for_tricks(const char *path)
{
	struct wire_script *script = calloc(1, sizeof *script);
	bool long_form = getenv("WIRE_LONG");
	unsigned count = 0;

	must(script);
	wire_read(script, path);
	for (unsigned i = 0; i < script->count; i++)
		if (strncmp(script->lines[i].text, "account ", 8) == 0 &&
		    (strstr(script->lines[i].text, "tricks=yes") ||
		     (long_form && strstr(script->lines[i].text, "tricks=long"))))
			count = script->count;
	wire_free(script);
	free(script);
	return count;
}
