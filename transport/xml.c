/* The door to expat 2.5 and newer: see xml.h. Expat, because it loads no other library, keeps no
 * tree and takes its memory from us, so that it can be bounded and wiped.
 *
 * The *gate* cuts what comes into tokens (a tag, a reference, a piece of text) and hands expat one
 * whole token at a time. That is where the bounds are: expat would gather a token of any length,
 * and read it from its beginning again with each piece of it that comes. And it is why a token
 * makes at most a text, a start and an end, in this order, so that there is no queue of events. It
 * knows no more of XML than where a token ends: expat judges all of them. */
#include "transport/xml.h"

#include <expat.h>
#include <malloc.h>
#include <stdlib.h>
#include <strings.h>

#include "crypto/secret.h"
#include "engine/clock.h"

enum {
	XML_MAGIC = 0x5c3a7e11,
	/* Expat keeps the end of a text ("]]", a CR, half a character) until it knows more. */
	TEXT_HELD_BYTES_MAX = 16,
	SHOWN_BYTES = 200,
};
#define SPACE_END '\x01' /* between a namespace and a name: no document may hold it */
_Static_assert(XML_TEXT_BYTES_MAX <= XML_MARKUP_BYTES_MAX, "pieces of text fit `kept`, too");

struct attribute {
	const char *name;
	struct text value;
};

struct element {
	const char *name, *space;
	size_t names_bytes; /* before it was opened */
};

struct xml {
	uint32_t magic;
	const char *peer;
	XML_Parser parser;
	size_t parser_bytes; /* that it holds */
	bool wants_more;     /* than XML_PARSER_BYTES_MAX */
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
	/* A text, and behind it the names and values of attributes, which are shorter than their
	 * tag. */
	char kept[TEXT_HELD_BYTES_MAX + XML_MARKUP_BYTES_MAX];
	size_t kept_bytes, text_bytes;
	struct attribute attributes[XML_ATTRIBUTES_MAX];
	unsigned attributes_count;

	/* The elements that are open, and behind them the one whose start was made. */
	struct element path[XML_DEPTH_MAX];
	unsigned depth;
	char names[XML_NAMES_BYTES_MAX];
	size_t names_bytes;
	bool leaves; /* the last event was an END: its element goes with the next call */
};

/* ---- errors ---- */

unsigned xml_line(const struct xml *xml)
{
	return xml->lines_skipped + (unsigned)XML_GetCurrentLineNumber(xml->parser);
}

const char *xml_peer(const struct xml *xml)
{
	return xml->peer;
}

/* The first one stands. Expat may be in the middle of a token, which it reads to its end; nothing
 * that it finds there counts, and it gets no more. */
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

static void expat_complains(struct xml *xml)
{
	enum XML_Error error = XML_GetErrorCode(xml->parser);

	if (error != XML_ERROR_NO_MEMORY)
		fail(xml, XML_ErrorString(error));
	else if (xml->wants_more)
		fail(xml, "too many different names, or too long ones");
	else if (!xml->error)
		xml->error = RAISE(ERR_MEMORY_EXHAUSTED, "reading what %s answers", xml->peer);
}

/* ---- expat's memory ---- */

/* Whose parser is at work: its memory functions are not told. */
static _Thread_local struct xml *at_work;

/* Expat keeps each name that was ever used, so here a document of nothing but names ends. */
static void *bounded_malloc(size_t bytes)
{
	void *at;

	if (bytes > XML_PARSER_BYTES_MAX - min_u64(at_work->parser_bytes, XML_PARSER_BYTES_MAX)) {
		at_work->wants_more = true;
		return NULL;
	}
	if ((at = malloc(bytes)))
		at_work->parser_bytes += malloc_usable_size(at);
	return at;
}

/* Wiped as it goes: it held what was read. */
static void wiping_free(void *at)
{
	size_t bytes = malloc_usable_size(at);

	if (!at)
		return;
	secret_wipe(at, bytes);
	at_work->parser_bytes -= bytes;
	free(at);
}

static void *wiping_realloc(void *at, size_t bytes)
{
	void *larger = bounded_malloc(bytes);

	if (!larger || !at)
		return larger;
	bytes_copy(larger, at, min_u64(malloc_usable_size(at), bytes), BYTES_META);
	wiping_free(at);
	return larger;
}

static const XML_Memory_Handling_Suite memory = { bounded_malloc, wiping_realloc, wiping_free };

/* ---- what expat finds ---- */

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

/* A copy of what a token made, or NULL. */
static char *keep(struct xml *xml, const char *at, size_t bytes)
{
	char *to = xml->kept + xml->kept_bytes;

	if (bytes > sizeof xml->kept - xml->kept_bytes) {
		fail(xml, "more than there was in the tag");
		return NULL;
	}
	bytes_copy(to, at, bytes, BYTES_META);
	xml->kept_bytes += bytes;
	return to;
}

static void found_text(void *owner, const char *at, int bytes)
{
	struct xml *xml = owner;

	if (xml->error)
		return;
	if (xml->made >> XML_START)
		fail(xml, "a text where there was a tag");
	else if (keep(xml, at, (size_t)bytes)) {
		xml->text_bytes = xml->kept_bytes;
		xml->made |= 1u << XML_TEXT;
	}
}

/* Where the local name begins in a name of expat's: namespace, SPACE_END, local name; or that
 * alone. */
static size_t local_name(const char *name)
{
	const char *end = strchr(name, SPACE_END);

	return end ? (size_t)(end + 1 - name) : 0;
}

/* Pairs of a name and a value, and a NULL behind them, all gone when we return. */
static void keep_attributes(struct xml *xml, const char *const *at)
{
	for (xml->attributes_count = 0; *at; at += 2) {
		const char *name = at[0] + local_name(at[0]);
		struct attribute *to = &xml->attributes[xml->attributes_count];

		if (xml->attributes_count == XML_ATTRIBUTES_MAX) {
			fail(xml, "too many attributes");
			return;
		}
		if (!(to->name = keep(xml, name, strlen(name) + 1)) ||
		    !(to->value.at = keep(xml, at[1], strlen(at[1]))))
			return;
		to->value.bytes = strlen(at[1]);
		xml->attributes_count++;
	}
}

static void found_start(void *owner, const char *name, const char **attributes)
{
	struct xml *xml = owner;
	size_t bytes = strlen(name) + 1, local = local_name(name);
	char *to = xml->names + xml->names_bytes;

	if (!make(xml, XML_START))
		return;
	if (xml->depth == XML_DEPTH_MAX) {
		fail(xml, "elements too deep in one another");
		return;
	}
	if (bytes > sizeof xml->names - xml->names_bytes) {
		fail(xml, "the names of elements in one another are too long");
		return;
	}
	bytes_copy(to, name, bytes, BYTES_META);
	if (local > 0)
		to[local - 1] = '\0';
	xml->path[xml->depth] =
		(struct element){ to + local, local > 0 ? to : "", xml->names_bytes };
	xml->names_bytes += bytes;
	keep_attributes(xml, (const char *const *)attributes);
}

/* Expat sees to it that it is the end of what was begun last. */
static void found_end(void *owner, const char *name)
{
	(void)name;
	(void)make(owner, XML_END);
}

/* Expat reads UTF-8 whatever this says, XML 1.0 section 4.3.3. */
static void found_declaration(void *owner, const char *version, const char *encoding,
			      int standalone)
{
	(void)version, (void)standalone;
	if (encoding && strcasecmp(encoding, "utf-8") != 0 && strcasecmp(encoding, "us-ascii") != 0)
		fail_about(owner, "only UTF-8 is read, and it says that it is", text_of(encoding));
}

static void found_doctype(void *owner, const char *name, const char *system_id,
			  const char *public_id, int has_internal_subset)
{
	(void)name, (void)system_id, (void)public_id, (void)has_internal_subset;
	fail(owner, "a document type declaration, which is never read");
}

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

static void push(struct xml *xml, struct text bytes, bool is_last)
{
	if (xml->error)
		return;
	at_work = xml;
	if (XML_Parse(xml->parser, bytes.at, (int)bytes.bytes, is_last) != XML_STATUS_OK)
		expat_complains(xml);
	at_work = NULL;
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
	if (!token_is_whole(xml))
		return;
	push(xml, (struct text){ xml->token, xml->token_bytes }, false);
	xml->token_bytes = 0;
}

static void pass_text(struct xml *xml)
{
	size_t n = 0, most = min_u64(xml->input.bytes, XML_TEXT_BYTES_MAX);

	while (n < most && xml->input.at[n] != '<' && xml->input.at[n] != '&')
		n++;
	push(xml, (struct text){ xml->input.at, n }, false);
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
	if (xml->leaves)
		xml->names_bytes = xml->path[--xml->depth].names_bytes;
	xml->leaves = false;
	if (!xml->made)
		xml->kept_bytes = xml->text_bytes = 0;
	while (!xml->error && !xml->made && xml->input.bytes > 0)
		turn(xml);
	if (xml->error)
		return xml->error;
	*event = (struct xml_event){ .kind = xml->made ? take_made(xml) : XML_MORE };
	if (event->kind == XML_TEXT)
		event->text = (struct text){ xml->kept, xml->text_bytes };
	if (event->kind == XML_START)
		xml->depth++;
	if (event->kind == XML_START || event->kind == XML_END) {
		event->name = xml->path[xml->depth - 1].name;
		event->space = xml->path[xml->depth - 1].space;
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
	else
		push(xml, (struct text){ "", 0 }, true);
	return xml->error;
}

unsigned xml_depth(const struct xml *xml)
{
	return xml->depth;
}

const char *xml_name(const struct xml *xml, unsigned depth)
{
	must(depth < xml->depth);
	return xml->path[depth].name;
}

bool xml_is_at(const struct xml *xml, const char *path)
{
	for (unsigned i = 0; i < xml->depth; i++) {
		size_t n = strlen(xml->path[i].name);

		if (strncmp(path, xml->path[i].name, n) != 0 ||
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
			*value = attribute->value;
			return true;
		}
	}
	return false;
}

/* ---- beginning and ending ---- */

/* With a salt of our own: expat would ask the kernel for one. */
static XML_Parser open_parser(struct xml *xml)
{
	XML_Parser parser = XML_ParserCreate_MM("UTF-8", &memory, (const char[]){ SPACE_END, 0 });
	unsigned long salt;

	if (!parser)
		return NULL;
	clock_random(&salt, sizeof salt);
	XML_SetHashSalt(parser, salt | 1);
	XML_SetUserData(parser, xml);
	XML_SetElementHandler(parser, found_start, found_end);
	XML_SetCharacterDataHandler(parser, found_text);
	XML_SetXmlDeclHandler(parser, found_declaration);
	XML_SetStartDoctypeDeclHandler(parser, found_doctype);
	return parser;
}

enum err xml_open(const char *peer, uint64_t bytes_max, struct xml **out)
{
	struct xml *xml = calloc(1, sizeof *xml);

	*out = NULL;
	if ((at_work = xml))
		xml->parser = open_parser(xml);
	at_work = NULL;
	if (!xml || !xml->parser) {
		free(xml);
		return RAISE(ERR_MEMORY_EXHAUSTED, "reading what %s answers", peer);
	}
	xml->magic = XML_MAGIC;
	xml->peer = peer;
	xml->bytes_left = bytes_max;
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
	at_work = xml;
	XML_ParserFree(xml->parser);
	at_work = NULL;
	must(xml->parser_bytes == 0);
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
