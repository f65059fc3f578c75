/* The door to libxml2 2.9 and newer: see xml.h.
 *
 * The *gate* cuts what comes into tokens (a tag, a reference, a piece of text) and hands libxml2
 * one whole token at a time. That is where the bounds are, because libxml2's own begin at 10 MB;
 * why an answer is read the same however it was cut (its push parser is not sure of a '>' in an
 * attribute that came in parts); and why a token makes at most a text, a start and an end, in this
 * order. It knows no more of XML than where a token ends: libxml2 judges all of them. */
#include "transport/xml.h"

#include <libxml/parser.h>
#include <libxml/parserInternals.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <strings.h>

#include "crypto/secret.h"

enum {
	XML_MAGIC = 0x5c3a7e11,
	/* libxml2 keeps up to 300 bytes of a text until it sees what follows. */
	TEXT_ROOM = XML_MARKUP_BYTES_MAX + 1024,
	SHOWN_BYTES = 200,
};
_Static_assert(XML_TEXT_BYTES_MAX <= XML_MARKUP_BYTES_MAX, "pieces of text fit TEXT_ROOM, too");

struct attribute {
	const char *name;
	uint32_t offset, bytes; /* in `values` */
};

struct xml {
	uint32_t magic;
	const char *peer;
	xmlParserCtxtPtr context;
	enum err error;
	uint64_t bytes_left;
	struct text input;
	unsigned lines_skipped; /* before the document */
	bool has_begun;

	char token[XML_MARKUP_BYTES_MAX];
	size_t token_bytes;
	char quote; /* inside a tag: the value of an attribute that ends with it */

	/* What the last token made: bits 1 << kind. */
	unsigned made;
	char text[TEXT_ROOM];
	size_t text_bytes;
	const char *name, *space;
	struct attribute attributes[XML_ATTRIBUTES_MAX];
	unsigned attributes_count;
	char values[XML_MARKUP_BYTES_MAX];

	const char *path[XML_DEPTH_MAX];
	unsigned depth;
	bool leaves; /* the last event was an END: its element goes with the next call */
};

/* ---- errors ---- */

unsigned xml_line(const struct xml *xml)
{
	return xml->lines_skipped +
	       (unsigned)max_u64(1, (uint64_t)xmlSAX2GetLineNumber(xml->context));
}

const char *xml_peer(const struct xml *xml)
{
	return xml->peer;
}

/* The first one stands. libxml2 may be in the middle of a token, which it reads to its end (to stop
 * it here would free what it reads from); nothing that it finds there counts, and it gets no more.
 */
static void fail(struct xml *xml, const char *what)
{
	if (xml->error)
		return;
	xml->error = RAISE(ERR_XML_SYNTAX, "line %u of the XML that %s sent: %s", xml_line(xml),
			   xml->peer, what);
}

static void fail_about(struct xml *xml, const char *what, struct text shown)
{
	char quoted[SHOWN_BYTES], text[SHOWN_BYTES + 100];

	snprintf(text, sizeof text, "%s \"%s\"", what, err_quote(quoted, sizeof quoted, shown));
	fail(xml, text);
}

/* Instead of libxml2's own, which prints. Of its warnings there is none that matters here. */
static void libxml2_complains(void *owner, xmlErrorPtr error)
{
	struct xml *xml = owner;
	struct text message = text_of(error->message ? error->message : "it does not parse");
	char quoted[SHOWN_BYTES];

	if (error->level < XML_ERR_ERROR)
		return;
	while (message.bytes > 0 && message.at[message.bytes - 1] == '\n')
		message.bytes--;
	fail(xml, err_quote(quoted, sizeof quoted, message));
}

/* ---- what libxml2 finds ---- */

static bool make(struct xml *xml, enum xml_event_kind kind)
{
	if (xml->error)
		return false;
	if (xml->made >> kind) {
		fail(xml, "elements where there was one tag");
		return false;
	}
	xml->made |= 1u << kind;
	return true;
}

static void found_text(void *owner, const xmlChar *at, int bytes)
{
	struct xml *xml = owner;
	size_t n = (size_t)bytes;

	if (n == 0 || xml->error)
		return;
	if (xml->made >> XML_START || n > sizeof xml->text - xml->text_bytes) {
		fail(xml, "a text where there was a tag");
		return;
	}
	bytes_copy(xml->text + xml->text_bytes, at, n, BYTES_META);
	xml->text_bytes += n;
	xml->made |= 1u << XML_TEXT;
}

static const char *or_empty(const xmlChar *text)
{
	return text ? (const char *)text : "";
}

/* Names live in libxml2's dictionary, as long as the parser; values only until we return. Each
 * attribute is five pointers: name, prefix, namespace, and its value's beginning and end. */
static void keep_attributes(struct xml *xml, const xmlChar **at, int count)
{
	size_t used = 0;

	xml->attributes_count = 0;
	if (count > XML_ATTRIBUTES_MAX) {
		fail(xml, "too many attributes");
		return;
	}
	for (; count > 0; count--, at += 5) {
		size_t n = (size_t)(at[4] - at[3]);

		if (n > sizeof xml->values - used) {
			fail(xml, "the attributes are too long");
			return;
		}
		bytes_copy(xml->values + used, at[3], n, BYTES_META);
		xml->attributes[xml->attributes_count++] =
			(struct attribute){ or_empty(at[0]), (uint32_t)used, (uint32_t)n };
		used += n;
	}
}

static void found_start(void *owner, const xmlChar *name, const xmlChar *prefix,
			const xmlChar *space, int spaces_count, const xmlChar **spaces,
			int attributes_count, int defaulted_count, const xmlChar **attributes)
{
	struct xml *xml = owner;

	(void)prefix, (void)spaces_count, (void)spaces, (void)defaulted_count;
	if (!make(xml, XML_START))
		return;
	if (xml->depth == XML_DEPTH_MAX) {
		fail(xml, "elements too deep in one another");
		return;
	}
	xml->name = (const char *)name;
	xml->space = or_empty(space);
	keep_attributes(xml, attributes, attributes_count);
}

static void found_end(void *owner, const xmlChar *name, const xmlChar *prefix, const xmlChar *space)
{
	struct xml *xml = owner;

	(void)prefix;
	if (!make(xml, XML_END))
		return;
	xml->name = (const char *)name;
	xml->space = or_empty(space);
}

/* The gate has refused it before; nobody should rely on one of the two alone. */
static void found_doctype(void *owner, const xmlChar *name, const xmlChar *public_id,
			  const xmlChar *system_id)
{
	(void)name, (void)public_id, (void)system_id;
	fail(owner, "a document type declaration, which is never read");
}

/* What is absent is not done: entities are not looked up, external ones least of all. */
static const xmlSAXHandler handler = {
	.initialized = XML_SAX2_MAGIC,
	.startElementNs = found_start,
	.endElementNs = found_end,
	.characters = found_text,
	.cdataBlock = found_text,
	.ignorableWhitespace = found_text,
	.internalSubset = found_doctype,
	.serror = libxml2_complains,
};

/* ---- the gate ---- */

static bool begins(const struct xml *xml, const char *with)
{
	size_t n = strlen(with);

	return xml->token_bytes >= n && memcmp(xml->token, with, n) == 0;
}

static bool ends(const struct xml *xml, const char *with, size_t from)
{
	size_t n = strlen(with);

	return xml->token_bytes >= from + n &&
	       memcmp(xml->token + xml->token_bytes - n, with, n) == 0;
}

/* Whether the byte that was added is the last of its token. */
static bool token_is_whole(struct xml *xml)
{
	char last = xml->token[xml->token_bytes - 1];

	if (xml->token[0] == '&')
		return last == ';';
	if (begins(xml, "<!--"))
		return ends(xml, "-->", 4);
	if (begins(xml, "<![CDATA["))
		return ends(xml, "]]>", 9);
	if (begins(xml, "<?"))
		return ends(xml, "?>", 2);
	if (xml->quote)
		xml->quote = last == xml->quote ? '\0' : xml->quote;
	else if (last == '"' || last == '\'')
		xml->quote = last;
	return last == '>' && !xml->quote;
}

/* "<!" begins a comment or CDATA; all else is of document types. */
static void check_declaration(struct xml *xml)
{
	static const char *const known[] = { "<!--", "<![CDATA[" };

	for (size_t i = 0; i < ARRAY_COUNT(known); i++)
		if (memcmp(known[i], xml->token, min_u64(strlen(known[i]), xml->token_bytes)) == 0)
			return;
	fail(xml, "a document type declaration, which is never read");
}

/* What an XML declaration says of its encoding, XML 1.0 section 4.3.3. libxml2 does not look at it:
 * it would have iconv load code. */
static void check_encoding(struct xml *xml)
{
	struct text name = { xml->token, xml->token_bytes };
	const char *found = memmem(name.at, name.bytes, "encoding", 8), *end = name.at + name.bytes;
	char quote;

	if (!found)
		return;
	for (found += 8; found < end && *found != '"' && *found != '\'';)
		found++;
	if (found == end)
		return; /* malformed: libxml2 says how */
	quote = *found++;
	name = (struct text){ found, 0 };
	while (found + name.bytes < end && found[name.bytes] != quote)
		name.bytes++;
	if ((name.bytes != 5 || strncasecmp(name.at, "utf-8", 5) != 0) &&
	    (name.bytes != 8 || strncasecmp(name.at, "us-ascii", 8) != 0))
		fail_about(xml, "only UTF-8 is read, and it says that it is", name);
}

static void push(struct xml *xml, struct text bytes)
{
	if (xml->error)
		return;
	if (xmlParseChunk(xml->context, bytes.at, (int)bytes.bytes, 0) != 0)
		fail(xml, "it does not parse");
	if (xmlDictGetUsage(xml->context->dict) > XML_NAMES_BYTES_MAX)
		fail(xml, "too many different names");
}

static void take(struct text *from, size_t n)
{
	from->at += n;
	from->bytes -= n;
}

static void gather(struct xml *xml)
{
	bool in_reference = xml->token_bytes > 0 && xml->token[0] == '&';

	/* What it holds is not told: it may be a text. */
	if (in_reference && xml->token_bytes == XML_REFERENCE_BYTES_MAX)
		fail(xml, "a reference that is too long, or an & that is none");
	if (xml->token_bytes == sizeof xml->token)
		fail(xml, "a tag, comment or section that is too long, or without an end");
	if (xml->error)
		return;
	xml->token[xml->token_bytes++] = *xml->input.at;
	take(&xml->input, 1);
	if (begins(xml, "<!"))
		check_declaration(xml);
	if (!token_is_whole(xml))
		return;
	if (begins(xml, "<?xml"))
		check_encoding(xml);
	push(xml, (struct text){ xml->token, xml->token_bytes });
	xml->token_bytes = 0;
}

static void pass_text(struct xml *xml)
{
	size_t n = 0, most = min_u64(xml->input.bytes, XML_TEXT_BYTES_MAX);

	while (n < most && xml->input.at[n] != '<' && xml->input.at[n] != '&')
		n++;
	push(xml, (struct text){ xml->input.at, n });
	take(&xml->input, n);
}

/* White space before the document, which XML does not allow: S3 sends it to keep the connection
 * while it completes an upload (CompleteMultipartUpload, AWS API reference). And the mark of UTF-8,
 * of which three bytes are known here and judged as any other where they are not these. */
static void skip_to_document(struct xml *xml)
{
	static const char mark[] = "\xEF\xBB\xBF";
	struct text *in = &xml->input;

	while (in->bytes > 0 && xml->token_bytes == 0 && *in->at && strchr(" \t\r\n", *in->at)) {
		xml->lines_skipped += *in->at == '\n';
		take(in, 1);
	}
	while (in->bytes > 0 && xml->token_bytes < 3 && *in->at == mark[xml->token_bytes]) {
		xml->token_bytes++;
		take(in, 1);
	}
	if (in->bytes == 0)
		return;
	if (*in->at != '<' || xml->token_bytes % 3 != 0)
		fail_about(xml, "this is no XML in UTF-8:",
			   (struct text){ in->at, min_u64(in->bytes, 16) });
	xml->token_bytes = 0;
	xml->has_begun = true;
}

/* Take the next token of what was fed, or as much of it as is there. */
static void turn(struct xml *xml)
{
	if (!xml->has_begun)
		skip_to_document(xml);
	else if (xml->token_bytes > 0 || *xml->input.at == '<' || *xml->input.at == '&')
		gather(xml);
	else
		pass_text(xml);
}

/* ---- events ---- */

void xml_feed(struct xml *xml, struct text bytes)
{
	MAGIC_CHECK(xml, XML_MAGIC);
	must(xml->input.bytes == 0 && !xml->made);
	xml->input = bytes;
	if (bytes.bytes > xml->bytes_left)
		fail(xml, "it is longer than any such answer");
	else if (bytes.bytes > 0 && memchr(bytes.at, '\0', bytes.bytes))
		fail(xml, "it holds a NUL byte, so it is no XML in UTF-8");
	xml->bytes_left -= min_u64(bytes.bytes, xml->bytes_left);
}

static enum xml_event_kind take_made(struct xml *xml)
{
	enum xml_event_kind kind = XML_TEXT;

	while (!(xml->made & 1u << kind))
		kind++;
	xml->made &= ~(1u << kind);
	return kind;
}

enum err xml_next(struct xml *xml, struct xml_event *event)
{
	MAGIC_CHECK(xml, XML_MAGIC);
	xml->depth -= xml->leaves;
	xml->leaves = false;
	if (!xml->made)
		xml->text_bytes = 0;
	while (!xml->error && !xml->made && xml->input.bytes > 0)
		turn(xml);
	if (xml->error)
		return xml->error;
	*event = (struct xml_event){ .kind = xml->made ? take_made(xml) : XML_MORE };
	if (event->kind == XML_TEXT)
		event->text = (struct text){ xml->text, xml->text_bytes };
	if (event->kind == XML_START)
		xml->path[xml->depth++] = xml->name;
	if (event->kind == XML_START || event->kind == XML_END) {
		event->name = xml->name;
		event->space = xml->space;
	}
	xml->leaves = event->kind == XML_END;
	return OK;
}

enum err xml_end(struct xml *xml)
{
	MAGIC_CHECK(xml, XML_MAGIC);
	must(xml->input.bytes == 0 && !xml->made);
	if (!xml->has_begun)
		fail(xml, "it is empty");
	else if (xml->token_bytes > 0 || xml->depth > 0)
		fail(xml, "it ends in the middle");
	else if (!xml->error && xmlParseChunk(xml->context, NULL, 0, 1) != 0)
		fail(xml, "it ends in the middle");
	return xml->error;
}

unsigned xml_depth(const struct xml *xml)
{
	return xml->depth;
}

const char *xml_name(const struct xml *xml, unsigned depth)
{
	must(depth < xml->depth);
	return xml->path[depth];
}

bool xml_is_at(const struct xml *xml, const char *path)
{
	for (unsigned i = 0; i < xml->depth; i++) {
		size_t n = strlen(xml->path[i]);

		if (strncmp(path, xml->path[i], n) != 0 ||
		    path[n] != (i + 1 < xml->depth ? '/' : '\0'))
			return false;
		path += n + 1;
	}
	return xml->depth > 0;
}

bool xml_attribute(const struct xml *xml, const char *name, struct text *value)
{
	for (unsigned i = 0; i < xml->attributes_count; i++) {
		const struct attribute *attribute = &xml->attributes[i];

		if (strcmp(attribute->name, name) == 0) {
			*value = (struct text){ xml->values + attribute->offset, attribute->bytes };
			return true;
		}
	}
	return false;
}

/* ---- beginning and ending ---- */

/* libxml2's memory, wiped as it goes: it held what was read. */
static void wiping_free(void *at)
{
	if (at)
		secret_wipe(at, malloc_usable_size(at));
	free(at);
}

static void *wiping_realloc(void *at, size_t bytes)
{
	void *larger = malloc(bytes);

	if (!larger || !at)
		return larger;
	bytes_copy(larger, at, min_u64(malloc_usable_size(at), bytes), BYTES_META);
	wiping_free(at);
	return larger;
}

static void prepare(void)
{
	must(xmlMemSetup(wiping_free, malloc, wiping_realloc, strdup) == 0);
	xmlInitParser();
}

void xml_prepare(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	must(pthread_once(&once, prepare) == 0);
}

enum err xml_open(const char *peer, uint64_t bytes_max, struct xml **out)
{
	xmlSAXHandler sax = handler;
	struct xml *xml;

	xml_prepare();
	*out = NULL;
	if (!(xml = calloc(1, sizeof *xml)) ||
	    !(xml->context = xmlCreatePushParserCtxt(&sax, xml, NULL, 0, NULL))) {
		free(xml);
		return RAISE(ERR_MEMORY_EXHAUSTED, "reading what %s answers", peer);
	}
	xml->magic = XML_MAGIC;
	xml->peer = peer;
	xml->bytes_left = bytes_max;
	/* NOENT is about "&amp;" in attributes, which comes as "&#38;" without it; other entities
	 * than the five there are none. */
	xmlCtxtUseOptions(xml->context, XML_PARSE_NONET | XML_PARSE_IGNORE_ENC | XML_PARSE_NOENT);
	/* Said now, or libxml2 would guess from the first four bytes, and wait for them. */
	xmlSwitchEncoding(xml->context, XML_CHAR_ENCODING_UTF8);
	*out = xml;
	return OK;
}

void xml_close(struct xml **taken)
{
	struct xml *xml = *taken;

	*taken = NULL;
	if (!xml)
		return;
	MAGIC_CHECK(xml, XML_MAGIC);
	xmlFreeParserCtxt(xml->context);
	secret_wipe(xml, sizeof *xml);
	free(xml);
}

/* ---- writing ---- */

/* Char of XML 1.0 section 2.2, from its `n` bytes of UTF-8: no control characters but three, and
 * not U+FFFE and U+FFFF. */
static bool is_char(const char *at, size_t n)
{
	if (n == 3 && memcmp(at, "\xEF\xBF", 2) == 0)
		return (uint8_t)at[2] < 0xBE;
	return n > 1 || (uint8_t)*at >= 0x20 || *at == '\t' || *at == '\n' || *at == '\r';
}

static const char *reference_for(char c)
{
	switch (c) {
	case '&':
		return "&amp;";
	case '<':
		return "&lt;";
	case '>':
		return "&gt;";
	case '"':
		return "&quot;";
	case '\'':
		return "&apos;";
	case '\r': /* a reader takes a bare one for the end of a line */
		return "&#13;";
	default:
		return NULL;
	}
}

bool xml_escape(struct buffer *to, struct text value)
{
	for (size_t i = 0, n; i < value.bytes; i += n)
		if ((n = bytes_utf8_length(value.at + i, value.bytes - i)) == 0 ||
		    !is_char(value.at + i, n))
			return false;
	for (size_t i = 0; i < value.bytes; i++) {
		const char *reference = reference_for(value.at[i]);

		if (reference)
			buffer_add_text(to, reference);
		else
			buffer_add(to, &value.at[i], 1);
	}
	return true;
}
