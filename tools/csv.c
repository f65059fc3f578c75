#include "tools/csv.h"

#include "engine/bytes.h"

/* One record while it is looked at; nothing in struct csv changes until it is complete. */
struct scan {
	const struct csv *csv;
	char *at;
	size_t bytes, next; /* of a window that is at most CSV_RECORD_BYTES_MAX */
	uint32_t line;
	bool open; /* inside a quote that has not ended yet */
	size_t fault_at;
	const char *fault;
};

size_t csv_mark(const char *at, size_t bytes, bool *utf16)
{
	bool little = bytes >= 2 && memcmp(at, "\xff\xfe", 2) == 0;
	bool big = bytes >= 2 && memcmp(at, "\xfe\xff", 2) == 0;
	bool wide = bytes >= 4 && memcmp(at, "\0\0\xfe\xff", 4) == 0;

	*utf16 = little || big || wide;
	return bytes >= 3 && memcmp(at, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
}

static bool is_line_end(char c)
{
	return c == '\n' || c == '\r';
}

static bool is_space(const struct csv *csv, char c)
{
	return c == ' ' || (c == '\t' && csv->delimiter != '\t');
}

static void note(struct scan *scan, size_t at, const char *fault)
{
	if (scan->fault)
		return;
	scan->fault = fault;
	scan->fault_at = at;
}

static uint32_t line_ends(const char *at, size_t bytes)
{
	uint32_t count = 0;

	for (size_t i = 0; i < bytes; i++)
		count += at[i] == '\n' || (at[i] == '\r' && !(i + 1 < bytes && at[i + 1] == '\n'));
	return count;
}

/* To the closing quote; false if there is none yet. */
static bool scan_quoted(struct scan *scan, struct csv_field *field)
{
	size_t from = ++scan->next;
	const char *quote;

	for (;;) {
		quote = memchr(scan->at + scan->next, '"', scan->bytes - scan->next);
		scan->next = quote ? (size_t)(quote - scan->at) + 1 : scan->bytes;
		if (!quote || scan->next == scan->bytes || scan->at[scan->next] != '"')
			break;
		field->doubled = true;
		scan->next++;
	}
	scan->open = !quote;
	field->quoted = true;
	field->at = scan->at + from;
	field->bytes = scan->next - from - !scan->open;
	scan->line += line_ends(field->at, field->bytes);
	return !scan->open;
}

static void scan_plain(struct scan *scan)
{
	while (scan->next < scan->bytes && scan->at[scan->next] != scan->csv->delimiter &&
	       !is_line_end(scan->at[scan->next]))
		scan->next++;
}

static void scan_spaces(struct scan *scan)
{
	while (scan->next < scan->bytes && is_space(scan->csv, scan->at[scan->next]))
		scan->next++;
}

/* One field up to what ends it, which stays. */
static void scan_field(struct scan *scan, struct csv_field *field)
{
	size_t from = scan->next, quote;

	*field = (struct csv_field){ .line = scan->line };
	scan_spaces(scan);
	quote = scan->next;
	if (scan->csv->quotes && quote < scan->bytes && scan->at[quote] == '"') {
		if (!scan_quoted(scan, field)) {
			note(scan, quote, "the quote that opens here is never closed");
		} else {
			size_t end;

			scan_spaces(scan);
			end = scan->next;
			scan_plain(scan);
			if (scan->next > end)
				note(scan, end,
				     "text follows the closing quote (a quote inside a quoted "
				     "field is written twice)");
		}
	} else {
		scan_plain(scan);
		field->at = scan->at + from;
		field->bytes = scan->next - from;
	}
	field->raw_bytes = field->bytes;
	field->offset = scan->csv->offset + (size_t)(field->at - scan->at);
}

/* All fields of a record and its line end. False if it goes on behind the window. */
static bool scan_record(struct scan *scan, bool last, struct csv_record *record)
{
	struct csv_field spare;
	bool more;

	record->count = 0;
	record->line = scan->line;
	do {
		size_t from = scan->next;

		scan_field(scan, record->count < CSV_FIELDS_MAX ? &record->fields[record->count]
								: &spare);
		if (record->count < CSV_FIELDS_MAX)
			record->count++;
		else
			note(scan, from, "more than 64 columns");
		more = scan->next < scan->bytes && scan->at[scan->next] == scan->csv->delimiter;
		scan->next += more;
	} while (more);
	/* A CR at the end of the window may be half of a line end. */
	if (scan->open || scan->bytes - scan->next < 2) {
		bool ended = scan->next < scan->bytes && scan->at[scan->next] == '\n';

		if (ended || last)
			scan->next = scan->bytes;
		return ended || last;
	}
	scan->next += scan->at[scan->next] == '\r' && scan->at[scan->next + 1] == '\n' ? 2 : 1;
	return true;
}
_Static_assert(CSV_FIELDS_MAX == 64, "as the text says");

/* Bytes of the comment or blank line that begins here, with its line end; 0 if it is neither.
 * *more if that cannot be told yet. */
static size_t skippable(const struct csv *csv, const char *at, size_t bytes, bool last, bool *more)
{
	size_t n = 0;

	while (n < bytes && (is_space(csv, at[n]) || at[n] == csv->delimiter))
		n++;
	if (n < bytes && at[n] == '#')
		while (n < bytes && !is_line_end(at[n]))
			n++;
	*more = !last && (n == bytes || (at[n] == '\r' && n + 1 == bytes));
	if (*more || (n < bytes && !is_line_end(at[n])))
		return 0;
	if (n < bytes)
		n += at[n] == '\r' && n + 1 < bytes && at[n + 1] == '\n' ? 2 : 1;
	return n;
}

/* NUL and what is not UTF-8 (RFC 3629). Behind a NUL nothing is worth reading. */
static void check_bytes(struct scan *scan, bool *stop)
{
	const char *nul = memchr(scan->at, '\0', scan->next);
	size_t i = 0, length;

	if (nul) {
		*stop = true;
		scan->fault = NULL;
		note(scan, (size_t)(nul - scan->at),
		     "a NUL byte: this is no text in UTF-8 (UTF-16 without its mark?)");
		return;
	}
	while (i < scan->next) {
		if ((unsigned char)scan->at[i] < 0x80) {
			i++;
			continue;
		}
		if (!(length = bytes_utf8_length(scan->at + i, scan->next - i))) {
			note(scan, i,
			     "not UTF-8; save the list as \"CSV UTF-8\", or convert it: "
			     "iconv -f WINDOWS-1252 -t UTF-8 OLD > NEW");
			return;
		}
		i += length;
	}
}

static enum csv_result tell(struct csv *csv, const struct scan *scan)
{
	size_t line_at = 0;

	for (size_t i = 0; i < scan->fault_at; i++)
		if (is_line_end(scan->at[i]))
			line_at = i + 1;
	csv->fault = scan->fault;
	csv->fault_line = csv->line + line_ends(scan->at, line_at);
	csv->fault_column = 1;
	for (size_t i = line_at; i < scan->fault_at; i++)
		csv->fault_column += ((unsigned char)scan->at[i] & 0xc0) != 0x80;
	return CSV_FAULT;
}

static void advance(struct csv *csv, const char *at, size_t bytes, size_t *used)
{
	csv->line += line_ends(at, bytes);
	csv->offset += bytes;
	*used += bytes;
}

enum csv_result csv_next(struct csv *csv, char *at, size_t bytes, bool last,
			 struct csv_record *record, size_t *used)
{
	struct scan scan = { .csv = csv };
	enum csv_result result;
	bool more = false, whole;
	size_t skipped;

	*used = 0;
	while (!csv->stopped && *used < bytes &&
	       (skipped = skippable(csv, at + *used, bytes - *used, last, &more)))
		advance(csv, at + *used, skipped, used);
	if (csv->stopped || (last && *used == bytes))
		return CSV_END;
	scan.at = at + *used;
	scan.bytes = min_u64(bytes - *used, CSV_RECORD_BYTES_MAX);
	scan.line = csv->line;
	if (more && scan.bytes < CSV_RECORD_BYTES_MAX)
		return CSV_MORE;
	whole = scan_record(&scan, last && scan.bytes == bytes - *used, record);
	if (!whole && scan.bytes < CSV_RECORD_BYTES_MAX)
		return CSV_MORE;
	if (!whole && !scan.open)
		note(&scan, 0, "a line of more than 64 KiB");
	csv->stopped = !whole || scan.open;
	check_bytes(&scan, &csv->stopped);
	result = scan.fault ? tell(csv, &scan) : CSV_RECORD;
	advance(csv, scan.at, scan.next, used);
	return result;
}

size_t csv_decode_quotes(char *at, size_t bytes)
{
	size_t used = 0;

	for (size_t i = 0; i < bytes; i++) {
		at[used++] = at[i];
		i += at[i] == '"';
	}
	return used;
}

void csv_decode(struct csv_record *record)
{
	for (size_t i = 0; i < record->count; i++)
		if (record->fields[i].doubled)
			record->fields[i].bytes =
				csv_decode_quotes(record->fields[i].at, record->fields[i].bytes);
}

struct text csv_trimmed(const struct csv_field *field)
{
	struct text text = { field->at, field->bytes };

	if (field->quoted)
		return text;
	while (text.bytes > 0 && (*text.at == ' ' || *text.at == '\t'))
		text.at++, text.bytes--;
	while (text.bytes > 0 &&
	       (text.at[text.bytes - 1] == ' ' || text.at[text.bytes - 1] == '\t'))
		text.bytes--;
	return text;
}
