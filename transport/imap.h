/* libetpan's only door: the grammar of CAPABILITY, ID, LIST and LSUB. It is handed one complete
 * reply at a time out of memory, checked before (imap_session: nesting, lengths, no NUL), so it
 * never waits, reads ahead or writes, and holds nothing between replies; what it cannot parse costs
 * that reply and not the session. Call on a fiber with FIBER_STACK_LARGE. None of this suspends.
 *
 * Not for: sessions (imap_session), messages (imap_fetch), what a folder is (imap_list). */
#ifndef MAILHAUL_IMAP_H
#define MAILHAUL_IMAP_H

#include "engine/mail.h"
#include "transport/imap_scan.h"

struct imap_grammar;
enum err imap_grammar_open(struct imap_grammar **) MUST_CHECK;
void imap_grammar_close(struct imap_grammar **);

/* Everywhere below `reply` is what stands behind "* ", without the final CRLF, literals inline;
 * false means libetpan cannot parse it. */

enum imap_capability {
	IMAP_REV1 = 1 << 0,
	IMAP_REV2 = 1 << 1,
	IMAP_HAS_STARTTLS = 1 << 2,
	IMAP_HAS_LOGINDISABLED = 1 << 3,
	IMAP_HAS_SASL_IR = 1 << 4,
	IMAP_HAS_AUTH_PLAIN = 1 << 5,
	IMAP_HAS_AUTH_XOAUTH2 = 1 << 6,
	IMAP_HAS_ID = 1 << 7,
	IMAP_HAS_NAMESPACE = 1 << 8,
	/* LITERAL+ or LITERAL-: a literal of at most IMAP_LITERAL_MINUS_BYTES_MAX need not be
	 * waited for; all of ours are, but for messages. */
	IMAP_HAS_LITERAL_PLUS = 1 << 9,
	IMAP_HAS_LIST_EXTENDED = 1 << 10,
	IMAP_HAS_LIST_STATUS = 1 << 11,
	IMAP_HAS_SPECIAL_USE = 1 << 12,
	IMAP_HAS_STATUS_SIZE = 1 << 13,
	IMAP_HAS_CONDSTORE = 1 << 14,
	IMAP_HAS_QRESYNC = 1 << 15,
	IMAP_HAS_OBJECTID = 1 << 16,
	IMAP_HAS_LITERAL_PLUS_LARGE = 1 << 17, /* LITERAL+: of any length */
	IMAP_HAS_MULTIAPPEND = 1 << 18,	       /* RFC 3502 */
	IMAP_HAS_UIDPLUS = 1 << 19,	       /* RFC 4315 */
	IMAP_HAS_BINARY = 1 << 20,	       /* RFC 3516 */
	/* RFC 7889, with the server's value (imap_parse_append_limit()) or, where there is none,
	 * with one of each folder, which STATUS tells. */
	IMAP_HAS_APPENDLIMIT = 1 << 21,
	IMAP_HAS_CREATE_SPECIAL_USE = 1 << 22, /* RFC 6154 */
	IMAP_HAS_AUTH_OAUTHBEARER = 1 << 23,   /* RFC 7628 */
	IMAP_HAS_GMAIL = 1 << 24,	       /* X-GM-EXT-1: folders are labels */
	IMAP_HAS_COMPRESS_DEFLATE = 1 << 25,   /* RFC 4978 */
	IMAP_CAPABILITIES_ALL = (1 << 26) - 1,
};
enum { IMAP_LITERAL_MINUS_BYTES_MAX = 4096 }; /* RFC 7888 section 5 */

/* The bits of what stands behind "CAPABILITY". */
unsigned imap_parse_capability(struct text list);
/* The "n" of its "APPENDLIMIT=n": the largest message that any folder of the server takes. False
 * where none stands there. */
bool imap_parse_append_limit(struct text list, uint64_t *bytes_max) MUST_CHECK;
/* "name" and "version" of an ID reply (RFC 2971) as one text, escaped, cut to fit; untouched if
 * there is none. */
void imap_parse_id(struct imap_grammar *, struct text reply, char *to, size_t to_bytes);

enum imap_list_attribute {
	IMAP_LIST_NOSELECT = 1 << 0, /* \NonExistent too */
	IMAP_LIST_SUBSCRIBED = 1 << 1,
	IMAP_LIST_NOINFERIORS = 1 << 2,
	IMAP_LIST_USES = 1 << 8, /* first of the special uses: IMAP_LIST_USES << enum box_use */
};
struct imap_listed {
	const char *name; /* borrowed until the next call */
	char separator;	  /* '\0': none */
	unsigned attributes;
	bool is_lsub;
};
/* A reply that begins with LIST or LSUB. */
bool imap_parse_list(struct imap_grammar *, struct text reply, struct imap_listed *) MUST_CHECK;
/* A NAMESPACE reply (RFC 2342): each prefix of the user's own folders and of other users'. Not
 * libetpan's doing. */
enum imap_space { IMAP_SPACE_PERSONAL, IMAP_SPACE_OTHERS };
typedef void imap_each_space(void *context, enum imap_space, const char *prefix);
bool imap_parse_namespace(struct text reply, imap_each_space *, void *context) MUST_CHECK;

#endif
