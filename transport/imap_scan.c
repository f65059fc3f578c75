/* Words of the grammar. Servers are read generously where a wrong byte can do no harm (any atom is
 * taken up to the next separator) and strictly where it could: numbers, literals, nesting. */
#include "transport/imap_scan.h"

#include <strings.h>

#include "engine/bytes.h"

static bool is_atom_char(char c)
{
	return (unsigned char)c > ' ' && c != 127 && !strchr("()[]\"{", c);
}

bool imap_scan_char(struct imap_scan *scan, char c)
{
	if (scan->at == scan->end || *scan->at != c)
		return false;
	scan->at++;
	return true;
}

bool imap_scan_word(struct imap_scan *scan, const char *word)
{
	size_t n = strlen(word);

	if ((size_t)(scan->end - scan->at) < n || strncasecmp(scan->at, word, n) != 0)
		return false;
	if (scan->at + n < scan->end && is_atom_char(scan->at[n]))
		return false;
	scan->at += n;
	return true;
}

bool imap_scan_number(struct imap_scan *scan, uint64_t max, uint64_t *number)
{
	const char *at = scan->at;
	uint64_t value = 0;

	for (; at < scan->end && *at >= '0' && *at <= '9'; at++) {
		unsigned digit = (unsigned)(*at - '0');

		if (value > (max - digit) / 10 || digit > max)
			return false;
		value = value * 10 + digit;
	}
	if (at == scan->at)
		return false;
	scan->at = at;
	*number = value;
	return true;
}

bool imap_scan_atom(struct imap_scan *scan, struct text *atom)
{
	const char *at = scan->at;

	while (at < scan->end && is_atom_char(*at))
		at++;
	*atom = (struct text){ scan->at, (size_t)(at - scan->at) };
	scan->at = at;
	return atom->bytes > 0;
}

bool imap_scan_quoted(struct imap_scan *scan, struct text *inside)
{
	const char *at = scan->at;

	if (at == scan->end || *at++ != '"')
		return false;
	for (; at < scan->end && *at != '"'; at++)
		if (*at == '\\' && ++at == scan->end)
			return false;
	if (at == scan->end)
		return false;
	*inside = (struct text){ scan->at + 1, (size_t)(at - scan->at - 1) };
	scan->at = at + 1;
	return true;
}

size_t imap_unquote(char *to, struct text inside)
{
	size_t n = 0;

	for (size_t i = 0; i < inside.bytes; i++) {
		if (inside.at[i] == '\\' && i + 1 < inside.bytes)
			i++;
		to[n++] = inside.at[i];
	}
	return n;
}

/* An inline literal: its bytes stay where they are. */
static bool scan_literal(struct imap_scan *scan, struct text *bytes)
{
	struct imap_scan s = *scan;
	uint64_t n;

	imap_scan_char(&s, '~');
	if (!imap_scan_char(&s, '{') || !imap_scan_number(&s, SIZE_MAX / 2, &n))
		return false;
	if (!imap_scan_char(&s, '}') || !imap_scan_char(&s, '\r') || !imap_scan_char(&s, '\n'))
		return false;
	if ((uint64_t)(s.end - s.at) < n)
		return false;
	*bytes = (struct text){ s.at, n };
	scan->at = s.at + n;
	return true;
}

bool imap_scan_value(struct imap_scan *scan)
{
	struct imap_scan s = *scan;
	struct text unused;
	unsigned depth = 0;

	do {
		if (imap_scan_char(&s, '(')) {
			if (++depth > IMAP_NESTING_MAX)
				return false;
		} else if (depth && imap_scan_char(&s, ')')) {
			depth--;
		} else if (!imap_scan_quoted(&s, &unused) && !scan_literal(&s, &unused) &&
			   !imap_scan_char(&s, '[') && !imap_scan_char(&s, ']') &&
			   !imap_scan_atom(&s, &unused)) {
			return false;
		}
		while (depth && imap_scan_char(&s, ' '))
			continue;
	} while (depth);
	*scan = s;
	return true;
}

bool imap_scan_astring(struct imap_scan *scan, char *to, size_t to_bytes, size_t *bytes)
{
	struct imap_scan s = *scan;
	struct text text;
	bool quoted = imap_scan_quoted(&s, &text);

	/* An astring may hold "]", which the atoms of response codes may not. */
	if (!quoted && !scan_literal(&s, &text)) {
		const char *begin = s.at;

		while (s.at < s.end && (is_atom_char(*s.at) || *s.at == ']' || *s.at == '['))
			s.at++;
		text = (struct text){ begin, (size_t)(s.at - begin) };
		if (text.bytes == 0)
			return false;
	}
	if (text.bytes > to_bytes)
		return false;
	if (quoted) {
		*bytes = imap_unquote(to, text);
	} else {
		bytes_copy(to, text.at, text.bytes, BYTES_META);
		*bytes = text.bytes;
	}
	*scan = s;
	return true;
}

bool imap_scan_fetch(struct imap_scan *scan)
{
	struct imap_scan at = *scan;
	uint64_t number;

	if (!imap_scan_number(&at, UINT32_MAX, &number) || !imap_scan_char(&at, ' ') ||
	    !imap_scan_word(&at, "FETCH") || !imap_scan_char(&at, ' ') || !imap_scan_char(&at, '('))
		return false;
	*scan = at;
	return true;
}

bool imap_text_is(struct text text, const char *word)
{
	return text.bytes == strlen(word) && strncasecmp(text.at, word, text.bytes) == 0;
}

bool imap_text_holds(struct text text, const char *part)
{
	size_t n = strlen(part);

	for (size_t i = 0; i + n <= text.bytes; i++)
		if (strncasecmp(text.at + i, part, n) == 0)
			return true;
	return false;
}

/* resp-text-code = "[" atom [SP 1*any] "]"; a "]" may stand inside a quoted argument only. */
static void scan_code(struct imap_scan *scan, struct imap_status *status)
{
	struct imap_scan s = *scan;
	const char *begin;

	if (!imap_scan_char(&s, '[') || !imap_scan_atom(&s, &status->code))
		return;
	imap_scan_char(&s, ' ');
	begin = s.at;
	while (s.at < s.end && *s.at != ']') {
		struct text unused;

		if (!imap_scan_quoted(&s, &unused))
			s.at++;
	}
	status->argument = (struct text){ begin, (size_t)(s.at - begin) };
	if (imap_scan_char(&s, ']'))
		*scan = s;
	else
		status->code = status->argument = (struct text){ begin, 0 };
	imap_scan_char(scan, ' ');
}

bool imap_scan_status(struct imap_scan *scan, struct imap_status *status)
{
	static const char *const words[] = { "OK", "NO", "BAD", "BYE", "PREAUTH" };

	for (unsigned i = 0; i < ARRAY_COUNT(words); i++) {
		if (!imap_scan_word(scan, words[i]))
			continue;
		*status = (struct imap_status){ .state = (enum imap_state)i,
						.code = { scan->at, 0 },
						.argument = { scan->at, 0 } };
		imap_scan_char(scan, ' ');
		scan_code(scan, status);
		status->text = imap_scan_rest(scan);
		return true;
	}
	return false;
}
