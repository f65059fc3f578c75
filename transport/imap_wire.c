/* Lines and literals in, checked commands out. The line buffer is one fixed piece of memory; what
 * it holds beyond the line just taken is the beginning of a literal or of the next line. */
#include "transport/imap_wire.h"

#include <stdio.h>
#include <stdlib.h>

#include "crypto/secret.h"
#include "engine/clock.h"
#include "transport/conn.h"
#include "transport/imap_deflate.h"

_Static_assert(IMAP_READ_BYTES_HOT <= IMAP_READ_BYTES_COLD, "the line buffer has room for either");

static enum err read_conn(void *owner, void *to, size_t max, nsec until, size_t *got)
{
	struct conn *conn = owner;

	conn_deadline(conn, until);
	return conn_read(conn, to, max, got);
}

struct imap_port imap_wire_conn_port(struct conn *conn)
{
	return (struct imap_port){ read_conn, conn };
}

enum err imap_wire_open(const struct imap_port *port, struct conn *conn, nsec io_timeout,
			struct imap_wire **out)
{
	struct imap_wire *wire = malloc(sizeof *wire);

	must(io_timeout > 0);
	if (!wire)
		return RAISE(ERR_MEMORY_EXHAUSTED, "line buffer of an IMAP conversation");
	/* Not the line: most conversations use a few KiB of it, and what is not touched costs
	 * nothing. */
	memset(wire, 0, offsetof(struct imap_wire, line));
	wire->port = *port;
	wire->conn = conn;
	wire->io_timeout = io_timeout;
	wire->until = DEADLINE_NEVER;
	wire->read_bytes = IMAP_READ_BYTES_COLD;
	/* At full size from the start: growing would leave copies of secrets behind. */
	wire->command.bytes_max = IMAP_COMMAND_BYTES_MAX - 1; /* and a terminator */
	wire->command.at = malloc(IMAP_COMMAND_BYTES_MAX);
	wire->command.room = wire->command.at ? IMAP_COMMAND_BYTES_MAX : 0;
	*out = wire;
	if (wire->command.at)
		return OK;
	imap_wire_close(out);
	return RAISE(ERR_MEMORY_EXHAUSTED, "command buffer of an IMAP conversation");
}

void imap_wire_close(struct imap_wire **wire)
{
	if (!*wire)
		return;
	imap_deflate_close(&(*wire)->deflate);
	buffer_free(&(*wire)->command);
	free((*wire)->gathered);
	free(*wire);
	*wire = NULL;
}

enum err imap_wire_compress(struct imap_wire *wire)
{
	enum err e;

	must(!wire->deflate && wire->command.bytes == 0 && wire->gathered_bytes == 0);
	must(wire->end - wire->begin <= IMAP_READ_BYTES_COLD); /* read with the OK */
	e = imap_deflate_open(&wire->port, wire->conn, wire->line + wire->begin,
			      wire->end - wire->begin, &wire->deflate);
	if (e)
		return e;
	wire->begin = wire->end = 0;
	wire->port = imap_deflate_port(wire->deflate);
	return OK;
}

static enum err refill(struct imap_wire *wire, nsec until)
{
	size_t got;
	enum err e;

	if (wire->begin && wire->end + wire->read_bytes > sizeof wire->line) {
		bytes_move(wire->line, wire->line + wire->begin, wire->end - wire->begin);
		wire->end -= wire->begin;
		wire->begin = 0;
	}
	must(wire->end + wire->read_bytes <= sizeof wire->line);
	e = wire->port.read(wire->port.owner, wire->line + wire->end, wire->read_bytes,
			    min_nsec(until, wire->until), &got);
	if (e)
		return e;
	must(got > 0 && got <= wire->read_bytes);
	wire->end += got;
	return OK;
}

/* Asked of the clock too: what has arrived already is read without a wait. */
static enum err check_reply_time(const struct imap_wire *wire)
{
	if (clock_now() <= wire->reply_until)
		return OK;
	return RAISE(ERR_NET_TIMEOUT,
		     "reading one reply: it has not come to its end in %d times the time-out",
		     IMAP_REPLY_TIMEOUTS);
}

static void begin_reply(struct imap_wire *wire)
{
	wire->reply_until = clock_after(IMAP_REPLY_TIMEOUTS * wire->io_timeout);
}

void imap_wire_body_ended(struct imap_wire *wire)
{
	begin_reply(wire);
}

/* A whole line, its LF included, is in the buffer: *bytes long. The time for all of it is one
 * io_timeout, so a server cannot stretch a line by sending it byte by byte. */
static enum err need_line(struct imap_wire *wire, size_t *bytes)
{
	nsec until = clock_after(wire->io_timeout);
	size_t seen = 0;
	enum err e;

	for (;;) {
		size_t held = wire->end - wire->begin;
		const char *from = wire->line + wire->begin;
		const char *lf = memchr(from + seen, '\n', held - seen);

		if (lf && (size_t)(lf - from) <= IMAP_LINE_BYTES_MAX) {
			*bytes = (size_t)(lf - from) + 1;
			return OK;
		}
		if (lf || held > IMAP_LINE_BYTES_MAX)
			return RAISE(ERR_IMAP_SYNTAX, "a line of more than %d bytes",
				     IMAP_LINE_BYTES_MAX);
		seen = held;
		if (held == 0)
			wire->begin = wire->end = 0;
		if ((e = refill(wire, until)))
			return e;
	}
}

/* Where the literal's "{" or "~{" at the end of `part` begins; NULL if none is announced there.
 * Outside strings a brace can begin nothing else, so one that is no number is an error of the
 * caller's. */
static const char *literal_mark(struct text part)
{
	size_t at = part.bytes;

	if (part.bytes < 2 || part.at[part.bytes - 1] != '}')
		return NULL;
	while (at > 0 && part.at[at - 1] != '{')
		at--;
	if (at == 0)
		return NULL;
	at--;
	if (at > 0 && part.at[at - 1] == '~')
		at--;
	if (at > 0 && part.at[at - 1] != ' ' && part.at[at - 1] != '(')
		return NULL;
	return part.at + at;
}

/* literal = "{" number64 "}", RFC 9051 section 4.3; "~" before it is a literal8. The "+" and "-"
 * forms are for clients only (RFC 7888). */
static enum err take_literal(struct text *part, int64_t *literal)
{
	const char *mark = literal_mark(*part);
	struct imap_scan scan;
	uint64_t bytes;
	char shown[80];

	*literal = IMAP_NO_LITERAL;
	if (!mark)
		return OK;
	scan = (struct imap_scan){ mark, part->at + part->bytes };
	imap_scan_char(&scan, '~');
	if (!imap_scan_char(&scan, '{') ||
	    !imap_scan_number(&scan, IMAP_LITERAL_BYTES_MAX, &bytes) || !imap_scan_char(&scan, '}'))
		return RAISE(
			ERR_IMAP_SYNTAX, "a literal announced as \"%s\"",
			err_quote(shown, sizeof shown,
				  (struct text){ mark, (size_t)(part->at + part->bytes - mark) }));
	part->bytes = (size_t)(mark - part->at);
	*literal = (int64_t)bytes;
	return OK;
}

/* The first part of a reply that is free text: literals do not occur in it. */
static bool is_resp_text(struct text part)
{
	struct imap_scan scan = imap_scan_of(part);
	struct imap_status status;
	struct text tag;

	if (imap_scan_char(&scan, '+'))
		return true;
	return imap_scan_atom(&scan, &tag) && imap_scan_char(&scan, ' ') &&
	       imap_scan_status(&scan, &status);
}

enum err imap_wire_part(struct imap_wire *wire, bool first, struct text *part, int64_t *literal)
{
	size_t bytes = 0;
	enum err e;

	if (first)
		begin_reply(wire);
	if ((e = check_reply_time(wire)) || (e = need_line(wire, &bytes)))
		return e;
	*part = (struct text){ wire->line + wire->begin, bytes - 1 };
	wire->begin += bytes;
	if (part->bytes && part->at[part->bytes - 1] == '\r')
		part->bytes--;
	if (memchr(part->at, '\0', part->bytes))
		return RAISE(ERR_IMAP_SYNTAX, "a NUL byte in a line");
	if (first)
		wire->resp_text = is_resp_text(*part);
	imap_wire_pace(wire);
	*literal = IMAP_NO_LITERAL;
	return wire->resp_text ? OK : take_literal(part, literal);
}

void imap_wire_pace(struct imap_wire *wire)
{
	wire->pace_until = clock_after(wire->io_timeout);
	wire->pace_bytes = wire->io_timeout / NSEC_SECOND * IMAP_BYTES_PER_SECOND_MIN;
}

enum err imap_wire_bytes(struct imap_wire *wire, void *to, size_t max, size_t *got)
{
	enum err e;

	must(max > 0);
	if (wire->begin < wire->end) {
		*got = min_u64(max, wire->end - wire->begin);
		bytes_copy(to, wire->line + wire->begin, *got, BYTES_LINE_TAIL);
		wire->begin += *got;
		return OK;
	}
	e = wire->port.read(wire->port.owner, to, max, min_nsec(wire->pace_until, wire->until),
			    got);
	if (e)
		return e;
	must(*got > 0 && *got <= max);
	wire->pace_bytes -= (int64_t)*got;
	if (wire->pace_bytes <= 0)
		imap_wire_pace(wire);
	return OK;
}

enum err imap_wire_skip(struct imap_wire *wire, uint64_t bytes, bool is_body)
{
	char nowhere[2048];
	enum err e;

	imap_wire_pace(wire);
	while (bytes) {
		size_t got = min_u64(bytes, wire->end - wire->begin);

		if (!is_body && (e = check_reply_time(wire)))
			return e;
		if (got)
			wire->begin += got; /* forgotten where it lies: no copy */
		else if ((e = imap_wire_bytes(wire, nowhere, min_u64(bytes, sizeof nowhere), &got)))
			return e;
		bytes -= got;
	}
	return OK;
}

size_t imap_wire_left(const struct imap_wire *wire)
{
	return wire->end - wire->begin;
}

/* ---- commands ---- */

/* All that mailhaul ever says to a source, and in a dry run. Nothing here changes a mailbox:
 * EXAMINE opens read-only, and BODY.PEEK does not set \Seen. */
static const char *const verbs[] = {
	"AUTHENTICATE", "CAPABILITY", "COMPRESS DEFLATE", "ENABLE", "EXAMINE",	 "ID",
	"LIST",		"LOGIN",      "LOGOUT",		  "LSUB",   "NAMESPACE", "NOOP",
	"STARTTLS",	"STATUS",     "UID FETCH",
};

/* And to a destination, where nothing is ever deleted. */
static const char *const changing_verbs[] = { "APPEND", "CREATE", "SUBSCRIBE" };

/* And to one that is rolled back. EXPUNGE, which removes what others marked too, and CLOSE, which
 * does the same, are nowhere. */
static const char *const removing_verbs[] = { "SELECT", "UID EXPUNGE", "UID STORE" };

/* And to one whose flags are brought up to date. */
static const char *const flagging_verbs[] = { "SELECT", "UID STORE" };

static bool begins_with_one(struct text command, const char *const *words, unsigned count)
{
	struct imap_scan scan = imap_scan_of(command);

	for (unsigned i = 0; i < count; i++)
		if (imap_scan_word(&scan, words[i]))
			return true;
	return false;
}

static bool is_harmless(struct text command)
{
	struct imap_scan scan = imap_scan_of(command);

	return begins_with_one(command, verbs, ARRAY_COUNT(verbs)) &&
	       (!imap_scan_word(&scan, "UID FETCH") || !imap_text_holds(command, "BODY["));
}

/* The only flag that is ever stored is the one that UID EXPUNGE wants. */
static bool is_removal(struct text command)
{
	struct imap_scan scan = imap_scan_of(command);

	return begins_with_one(command, removing_verbs, ARRAY_COUNT(removing_verbs)) &&
	       (!imap_scan_word(&scan, "UID STORE") ||
		imap_text_holds(command, " +FLAGS.SILENT (\\Deleted)"));
}

/* "(\Seen x)": a flag that is no session's own, and \Deleted alone where it is added. */
static bool is_flag_list(struct text list, bool adds)
{
	struct imap_scan scan = imap_scan_of(list);
	unsigned count = 0;
	struct text flag;

	if (!imap_scan_char(&scan, '('))
		return false;
	do {
		const char *begin = scan.at;

		while (scan.at < scan.end && !strchr(" ()", *scan.at))
			scan.at++;
		flag = (struct text){ begin, (size_t)(scan.at - begin) };
		if (flag.bytes == 0 || imap_text_is(flag, "\\Recent"))
			return false;
		count++;
	} while (imap_scan_char(&scan, ' '));
	return imap_scan_char(&scan, ')') && imap_scan_at_end(&scan) &&
	       (!adds || count == 1 || !imap_text_holds(list, "\\Deleted"));
}

/* "UID STORE" SP sequence-set SP ["(UNCHANGEDSINCE" SP number ")" SP] ("+" / "-") "FLAGS.SILENT"
 * SP flag-list (RFC 7162 section 3.1.3): what is not named stays. */
static bool is_store_of_flags(struct imap_scan scan)
{
	uint64_t number;
	bool adds;

	do {
		if (!imap_scan_number(&scan, UINT32_MAX, &number) ||
		    (imap_scan_char(&scan, ':') && !imap_scan_number(&scan, UINT32_MAX, &number)))
			return false;
	} while (imap_scan_char(&scan, ','));
	if (!imap_scan_char(&scan, ' '))
		return false;
	if (imap_scan_char(&scan, '(') &&
	    (!imap_scan_word(&scan, "UNCHANGEDSINCE") || !imap_scan_char(&scan, ' ') ||
	     !imap_scan_number(&scan, INT64_MAX, &number) || !imap_scan_char(&scan, ')') ||
	     !imap_scan_char(&scan, ' ')))
		return false;
	adds = imap_scan_char(&scan, '+');
	return (adds || imap_scan_char(&scan, '-')) && imap_scan_word(&scan, "FLAGS.SILENT") &&
	       imap_scan_char(&scan, ' ') && is_flag_list(imap_scan_rest(&scan), adds);
}

static bool is_flagging(struct text command)
{
	struct imap_scan scan = imap_scan_of(command);

	return begins_with_one(command, flagging_verbs, ARRAY_COUNT(flagging_verbs)) &&
	       (!imap_scan_word(&scan, "UID STORE") ||
		(imap_scan_char(&scan, ' ') && is_store_of_flags(scan)));
}

static bool is_allowed(const struct imap_wire *wire)
{
	struct text command = { wire->command.at, wire->command.bytes };

	return is_harmless(command) ||
	       (wire->may == IMAP_WIRE_CHANGE &&
		begins_with_one(command, changing_verbs, ARRAY_COUNT(changing_verbs))) ||
	       (wire->may == IMAP_WIRE_REMOVE && is_removal(command)) ||
	       (wire->may == IMAP_WIRE_FLAG && is_flagging(command));
}

enum err imap_wire_allow_changes(struct imap_wire *wire)
{
	must(wire->may == IMAP_WIRE_READ);
	if (!(wire->gathered = malloc(IMAP_GATHER_BYTES_MAX)))
		return RAISE(ERR_MEMORY_EXHAUSTED, "gathering what is sent to a destination");
	wire->may = IMAP_WIRE_CHANGE;
	return OK;
}

void imap_wire_allow_removal(struct imap_wire *wire)
{
	must(wire->may == IMAP_WIRE_READ);
	wire->may = IMAP_WIRE_REMOVE;
}

void imap_wire_allow_flags(struct imap_wire *wire)
{
	must(wire->may == IMAP_WIRE_READ);
	wire->may = IMAP_WIRE_FLAG;
}

static enum err hand_over(struct imap_wire *wire, const void *from, size_t bytes)
{
	return wire->deflate ? imap_deflate_write(wire->deflate, from, bytes)
			     : conn_write(wire->conn, from, bytes);
}

static enum err write_gathered(struct imap_wire *wire)
{
	size_t bytes = wire->gathered_bytes;

	wire->gathered_bytes = 0;
	return bytes ? hand_over(wire, wire->gathered, bytes) : OK;
}

/* All that is sent goes through here, so it stays in order. */
static enum err write_out(struct imap_wire *wire, const void *from, size_t bytes,
			  enum bytes_why why)
{
	bool is_large = !wire->gathered || bytes > IMAP_GATHER_PIECE_BYTES_MAX;
	enum err e;

	if ((is_large || wire->gathered_bytes + bytes > IMAP_GATHER_BYTES_MAX) &&
	    (e = write_gathered(wire)))
		return e;
	if (is_large)
		return hand_over(wire, from, bytes);
	bytes_copy(wire->gathered + wire->gathered_bytes, from, bytes, why);
	wire->gathered_bytes += bytes;
	return OK;
}

unsigned imap_wire_begin(struct imap_wire *wire)
{
	must(wire->command.bytes == 0); /* the one before was sent */
	return ++wire->tag;
}

static enum err write_command(struct imap_wire *wire)
{
	struct buffer *command = &wire->command;
	enum err e;

	buffer_add_text(command, "\r\n");
	if (command->failed)
		e = RAISE(ERR_INPUT_FILE, "an IMAP command would be longer than %d bytes",
			  IMAP_COMMAND_BYTES_MAX);
	else
		e = write_out(wire, command->at, command->bytes, BYTES_META);
	secret_wipe(command->at, command->failed ? command->room : command->bytes);
	command->failed = false;
	buffer_reset(command);
	return e;
}

enum err imap_wire_send(struct imap_wire *wire)
{
	char tag[16];
	int n = snprintf(tag, sizeof tag, "a%u ", wire->tag);
	enum err e;

	must(is_allowed(wire));
	conn_deadline(wire->conn, min_nsec(clock_after(wire->io_timeout), wire->until));
	if ((e = write_out(wire, tag, (size_t)n, BYTES_META)))
		return e;
	return write_command(wire);
}

enum err imap_wire_send_more(struct imap_wire *wire)
{
	conn_deadline(wire->conn, min_nsec(clock_after(wire->io_timeout), wire->until));
	return write_command(wire);
}

enum err imap_wire_send_bytes(struct imap_wire *wire, const void *from, size_t bytes)
{
	must(wire->may == IMAP_WIRE_CHANGE);
	conn_deadline(wire->conn, min_nsec(clock_after(wire->io_timeout), wire->until));
	return write_out(wire, from, bytes, BYTES_RECORD);
}

enum err imap_wire_flush(struct imap_wire *wire)
{
	bool had_note = err_note()->error != OK;
	enum err e;

	conn_deadline(wire->conn, min_nsec(clock_after(wire->io_timeout), wire->until));
	if ((e = write_gathered(wire)) == OK)
		e = wire->deflate ? imap_deflate_flush(wire->deflate) : conn_flush(wire->conn);
	if (e != ERR_NET_RESET && e != ERR_NET_CLOSED)
		return e;
	if (!had_note)
		err_note_clear();
	return OK;
}

bool imap_wire_add_string(struct imap_wire *wire, struct text text, bool literal_plus)
{
	bool quotable = true;

	must(!memchr(text.at, '\0', text.bytes));
	for (size_t i = 0; i < text.bytes; i++)
		quotable &= text.at[i] >= ' ' && text.at[i] <= '~';
	if (!quotable && !literal_plus)
		return false;
	if (!quotable) {
		buffer_addf(&wire->command, "{%zu+}\r\n", text.bytes);
		buffer_add(&wire->command, text.at, text.bytes);
		return true;
	}
	buffer_add_text(&wire->command, "\"");
	for (size_t i = 0; i < text.bytes; i++) {
		if (text.at[i] == '"' || text.at[i] == '\\')
			buffer_add_text(&wire->command, "\\");
		buffer_add(&wire->command, text.at + i, 1);
	}
	buffer_add_text(&wire->command, "\"");
	return true;
}

bool imap_wire_tag(struct imap_scan *scan, unsigned *tag)
{
	struct imap_scan s = *scan;
	uint64_t number;

	if (!imap_scan_char(&s, 'a') || !imap_scan_number(&s, UINT32_MAX, &number) ||
	    !imap_scan_char(&s, ' '))
		return false;
	*tag = (unsigned)number;
	*scan = s;
	return true;
}
