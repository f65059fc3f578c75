/* XML 1.0 of servers, read piece by piece and never held: expat, a push parser, behind one door,
 * with a gate before it. Bytes go in as they come, in whatever pieces; starts of elements, texts
 * and ends come out, and are the same however the bytes were cut:
 *
 *	if ((e = xml_open(peer, 64 * 1024, &xml)))
 *		return e;
 *	while (!e && (e = http_read(http, room, sizeof room, &got)) == OK) {
 *		xml_feed(xml, (struct text){ room, got });
 *		while (!(e = xml_next(xml, &event)) && event.kind != XML_MORE)
 *			if (event.kind == XML_TEXT && xml_is_at(xml, "Error/Code"))
 *				buffer_add(&code, event.text.at, event.text.bytes);
 *	}
 *	if (e == ERR_STREAM_ENDED)
 *		e = xml_end(xml);
 *	xml_close(&xml);
 *
 * Most answers are a few texts into the members of a struct: transport/xml_form does that.
 *
 * UTF-8 only, whatever the document says of itself. No DOCTYPE, so there are no entities but the
 * five and characters by number, and nothing is ever looked up, on disk or in the network; no
 * XInclude, no XPath, no tree. Needs no system call but for memory. What expat gives back to the
 * heap is wiped, because answers of STS are secrets. Not for: writing XML, but for xml_escape(). */
#ifndef MAILHAUL_XML_H
#define MAILHAUL_XML_H

#include "engine/bytes.h"
#include "engine/err.h"

enum {
	XML_DEPTH_MAX = 64, /* elements in one another; S3 has 5, Exchange some 20 */
	/* A tag with its attributes, a comment, a processing instruction, a section of CDATA: these
	 * are gathered before they are read. Exchange's longest tags have ids of 512 bytes. */
	XML_MARKUP_BYTES_MAX = 16 * 1024,
	XML_REFERENCE_BYTES_MAX = 16, /* "&#x10FFFF;" has 10 */
	XML_ATTRIBUTES_MAX = 32,
	XML_NAMES_BYTES_MAX = 32 * 1024, /* names and namespaces of elements in one another */
	/* What expat may have, in which it keeps some 70 bytes for each name that a document uses.
	 * No service has more than a few hundred. */
	XML_PARSER_BYTES_MAX = 256 * 1024,
	XML_TEXT_BYTES_MAX = 4 * 1024, /* of a text are read at once; longer ones come in pieces */
};

struct xml;

enum xml_event_kind {
	XML_TEXT = 1, /* a piece of the text of the element that is open, comments cut out */
	XML_START,
	XML_END,
	XML_MORE, /* all that was fed is used up: feed more, or say that it was all */
};
struct xml_event {
	enum xml_event_kind kind;
	const char *name;  /* of START and END: the local name; until the next call */
	const char *space; /* its namespace, or ""; until the next call */
	struct text text;  /* of TEXT: whole characters, at least one; until the next call */
};

/* peer       for texts of errors: who said it, "bucket.s3.eu-central-1.amazonaws.com"; borrowed
 *            until xml_close()
 * bytes_max  what the whole document may have
 * ERR_MEMORY_EXHAUSTED. An open parser takes 80 KiB, and XML_PARSER_BYTES_MAX more at worst. */
enum err xml_open(const char *peer, uint64_t bytes_max, struct xml **) MUST_CHECK;
/* Wipes what was read. */
void xml_close(struct xml **);

/* What comes next; borrowed until XML_MORE. Only after an open or an XML_MORE. */
void xml_feed(struct xml *, struct text);
/* What stands there next. ERR_XML_SYNTAX says whose answer it is, the line, and what is wrong with
 * it, malformed or past a bound; after it or ERR_MEMORY_EXHAUSTED only xml_close(). Does not
 * suspend, and the caller may between two calls. */
enum err xml_next(struct xml *, struct xml_event *) MUST_CHECK;
/* It was all, after an XML_MORE: OK if it is a whole document, else ERR_XML_SYNTAX, or
 * ERR_MEMORY_EXHAUSTED. */
enum err xml_end(struct xml *) MUST_CHECK;

/* Where the last event stands: how many elements are open, START's and END's own among them, and
 * the local name of each, from the root (0) on. */
unsigned xml_depth(const struct xml *);
const char *xml_name(const struct xml *, unsigned depth);
/* Whether these are the names in `path`: "Error/Code". */
bool xml_is_at(const struct xml *, const char *path);
/* The attribute of that local name (the first, where namespaces part them) of the last event, which
 * is a START; false: it has none. Until the next call. */
bool xml_attribute(const struct xml *, const char *name, struct text *value);

/* The line that is being read, for errors of callers. */
unsigned xml_line(const struct xml *);
const char *xml_peer(const struct xml *);

/* `value` as the text of an element or, in double quotes, of an attribute: & < > " ' and CR by
 * reference. False: it has a byte that XML 1.0 cannot say (a control character, or no UTF-8);
 * nothing was added then. */
bool xml_escape(struct buffer *to, struct text value) MUST_CHECK;

#endif
