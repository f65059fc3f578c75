/* The words of IMAP's grammar (RFC 9051 section 9) over bytes that are already there: no input, no
 * memory, no session. What does not match leaves the scanner where it was and says false. Used by
 * everything that reads replies without libetpan. */
#ifndef MAILHAUL_IMAP_SCAN_H
#define MAILHAUL_IMAP_SCAN_H

#include "engine/err.h"

struct imap_scan {
	const char *at, *end;
};

static inline struct imap_scan imap_scan_of(struct text text)
{
	return (struct imap_scan){ text.at, text.at + text.bytes };
}

static inline bool imap_scan_at_end(const struct imap_scan *scan)
{
	return scan->at == scan->end;
}

static inline struct text imap_scan_rest(const struct imap_scan *scan)
{
	return (struct text){ scan->at, (size_t)(scan->end - scan->at) };
}

bool imap_scan_char(struct imap_scan *, char);
/* `word` in any case, not followed by another atom character. */
bool imap_scan_word(struct imap_scan *, const char *word);
/* Decimal digits, at most `max`. */
bool imap_scan_number(struct imap_scan *, uint64_t max, uint64_t *);
/* The longest run without space, parentheses, brackets, quote, control bytes; false if empty. */
bool imap_scan_atom(struct imap_scan *, struct text *);
/* A quoted string; `inside` is what stands between the quotes, still escaped. */
bool imap_scan_quoted(struct imap_scan *, struct text *inside);
/* Resolve the escapes of `inside` into `to` (at least inside.bytes); returns the length. */
size_t imap_unquote(char *to, struct text inside);
/* One value that we do not care for: number, atom, quoted string, list up to IMAP_NESTING_MAX deep,
 * literals inline. */
bool imap_scan_value(struct imap_scan *);
/* "{n}" CRLF and n bytes, inline; quoted; or an atom. `to` receives it unescaped; false if
 * longer. */
bool imap_scan_astring(struct imap_scan *, char *to, size_t to_bytes, size_t *bytes);
/* How a reply about a message begins: its number, "FETCH" and "(", up to the first item. */
bool imap_scan_fetch(struct imap_scan *);
/* Case-insensitive. */
bool imap_text_is(struct text, const char *word);
bool imap_text_holds(struct text, const char *part);

enum {
	/* libetpan recurses 0.45 KB a level, and nothing legitimate is deeper than a few. */
	IMAP_NESTING_MAX = 32,
};

/* ---- status responses: OK, NO, BAD, BYE, PREAUTH ---- */

enum imap_state { IMAP_OK, IMAP_NO, IMAP_BAD, IMAP_BYE, IMAP_PREAUTH };
struct imap_status {
	enum imap_state state;
	struct text code;     /* without brackets and arguments: "UIDVALIDITY"; may be empty */
	struct text argument; /* of the code */
	struct text text;     /* for people, code left out */
};
/* What follows the tag, or "* ". */
bool imap_scan_status(struct imap_scan *, struct imap_status *);

#endif
