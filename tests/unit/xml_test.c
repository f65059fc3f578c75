/* Documents as traces: "<name" for a start with "@name=value" behind it, the text, ">" for an end.
 * Each is read whole and in pieces of every length, and must come to the same. Some are in a fiber,
 * whose stack is small. */
#include "transport/xml.h"

#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/confine.h"
#include "engine/io.h"
#include "tests/test.h"

#define PEER "s3.example.com"
enum { BYTES_MAX = 1 << 20 };

static void trace_event(struct buffer *to, const struct xml *xml, const struct xml_event *event)
{
	static const char *const shown[] = { "id", "b", "q" };
	struct text value;

	if (event->kind == XML_START) {
		buffer_addf(to, "<%s", event->name);
		for (size_t i = 0; i < ARRAY_COUNT(shown); i++)
			if (xml_attribute(xml, shown[i], &value))
				buffer_addf(to, "@%s=%.*s", shown[i], (int)value.bytes, value.at);
	}
	if (event->kind == XML_TEXT)
		buffer_add(to, event->text.at, event->text.bytes);
	if (event->kind == XML_END)
		buffer_add_text(to, ">");
}

static enum err read_in_pieces(struct text document, size_t piece, struct buffer *trace)
{
	struct xml_event event;
	struct xml *xml;
	enum err e = xml_open(PEER, BYTES_MAX, &xml);

	for (size_t i = 0; i < document.bytes && !e; i += piece) {
		xml_feed(xml, (struct text){ document.at + i, min_u64(piece, document.bytes - i) });
		while (!(e = xml_next(xml, &event)) && event.kind != XML_MORE)
			trace_event(trace, xml, &event);
	}
	if (!e)
		e = xml_end(xml);
	xml_close(&xml);
	return e;
}

/* Read in every way, it is `expected`, or fails with `expected` in the note. */
static void check_text(struct text document, const char *expected, enum err error)
{
	size_t longest = min_u64(document.bytes, 64) + 1;

	for (size_t piece = 1; piece <= longest; piece++) {
		struct buffer trace = { 0 };
		size_t of = piece == longest ? document.bytes + 1 : piece;

		CHECK_ERR(read_in_pieces(document, of, &trace), error);
		if (error) {
			if (!strstr(err_note()->text, expected))
				test_failed(__FILE__, __LINE__, "\"%s\" does not say \"%s\"",
					    err_note()->text, expected);
			CHECK(strstr(err_note()->text, PEER));
		} else {
			CHECK_TEXT(trace.at, expected);
		}
		err_note_clear();
		buffer_free(&trace);
	}
}

static void check_says(const char *document, const char *expected)
{
	check_text(text_of(document), expected, OK);
}

static void check_refused(const char *document, const char *expected)
{
	check_text(text_of(document), expected, ERR_XML_SYNTAX);
}

TEST(starts_texts_and_ends_come_in_their_order)
{
	check_says("<a/>", "<a>");
	check_says("<a><b>x</b><c>y</c>z</a>", "<a<bx><cy>z>");
	check_says("<?xml version='1.0' encoding='utf-8'?>\n<a>\n<b/>\n</a>\n\n", "<a\n<b>\n>");
	check_says("<a id='1' b=\"2>1\" q='\"&lt;&gt;'><b id=''/></a>",
		   "<a@id=1@b=2>1@q=\"<><b@id=>>");
}

TEST(references_and_sections_are_text)
{
	check_says("<a>&lt;&amp;&gt;&quot;&apos;&#65;&#x20AC;</a>", "<a<&>\"'A\xE2\x82\xAC>");
	check_says("<a id='&amp;&#38;&lt;' b='&amp;lt;'/>", "<a@id=&&<@b=&lt;>");
	check_says("<a>x<![CDATA[<y>&]]]]>z</a>", "<ax<y>&]]z>");
	check_says("<a><?p it's \"?>x</a>", "<ax>");
	check_says("<a xmlns:p='urn:p' p:id='1'/>", "<a@id=1>");
	check_says("<a>x<!-- <b> & ' \" - -->y<?pi <b>?>z<!----></a>", "<axyz>");
}

TEST(white_space_and_a_mark_may_stand_in_front)
{
	check_says(" \r\n\t <?xml version=\"1.0\"?> <a/>", "<a>");
	check_says("\xEF\xBB\xBF<?xml version=\"1.0\" encoding=\"UTF-8\"?><a/>", "<a>");
	check_says("<?xml version='1.0' encoding='us-ascii'?><a>\xC3\xA9</a>", "<a\xC3\xA9>");
	check_refused("\xEF\xBB<a/>", "no XML in UTF-8");
	check_refused("<!-- --> <?xml version=\"1.0\"?><a/>", "XML or text declaration");
}

TEST(names_are_local_and_namespaces_are_told)
{
	static const char document[] = "<p:a xmlns:p='urn:p'><b xmlns='urn:q'/><c/></p:a>";
	static const char *const spaces[] = { "urn:p", "urn:q", "" };
	struct xml_event event;
	struct xml *xml;
	size_t i = 0;

	REQUIRE(xml_open(PEER, BYTES_MAX, &xml) == OK);
	xml_feed(xml, text_of(document));
	while (xml_next(xml, &event) == OK && event.kind != XML_MORE) {
		if (event.kind != XML_START)
			continue;
		CHECK_EQ(event.name[0], "abc"[i]);
		CHECK_TEXT(event.space, spaces[i++]);
	}
	CHECK_EQ(i, ARRAY_COUNT(spaces));
	CHECK_OK(xml_end(xml));
	xml_close(&xml);
}

TEST(the_path_is_that_of_the_event)
{
	struct xml_event event;
	struct xml *xml;
	unsigned texts = 0;

	REQUIRE(xml_open(PEER, BYTES_MAX, &xml) == OK);
	xml_feed(xml, text_of("<Error><Code>x</Code>y</Error>"));
	while (xml_next(xml, &event) == OK && event.kind != XML_MORE) {
		if (event.kind == XML_TEXT && *event.text.at == 'x') {
			CHECK(xml_is_at(xml, "Error/Code"));
			CHECK(!xml_is_at(xml, "Error"));
			CHECK(!xml_is_at(xml, "Error/Codes"));
			CHECK(!xml_is_at(xml, "Error/Code/x"));
			CHECK(!xml_is_at(xml, "Error/Cod"));
			texts++;
		}
		if (event.kind == XML_TEXT && *event.text.at == 'y') {
			CHECK(xml_is_at(xml, "Error"));
			texts++;
		}
	}
	CHECK_EQ(texts, 2);
	CHECK_EQ(xml_depth(xml), 0);
	CHECK(!xml_is_at(xml, ""));
	xml_close(&xml);
}

TEST_FIBER(long_texts_come_in_pieces_of_whole_characters)
{
	struct buffer document = { 0 }, trace = { 0 };

	buffer_add_text(&document, "<a>");
	for (int i = 0; i < 9000; i++)
		buffer_add_text(&document, i % 7 ? "\xE2\x82\xAC" : "x]\r\n");
	buffer_add_text(&document, "</a>");
	CHECK_OK(read_in_pieces((struct text){ document.at, document.bytes }, document.bytes,
				&trace));
	for (size_t piece = 1; piece < 12000; piece = piece * 3 + 1) {
		struct buffer again = { 0 };

		CHECK_OK(read_in_pieces((struct text){ document.at, document.bytes }, piece,
					&again));
		CHECK(text_equal((struct text){ trace.at, trace.bytes },
				 (struct text){ again.at, again.bytes }));
		buffer_free(&again);
	}
	CHECK_EQ(trace.bytes, document.bytes - strlen("<a></a>") + strlen("<a>") - 9000 / 7 - 1);
	buffer_free(&document);
	buffer_free(&trace);
}

TEST_FIBER(what_is_malformed_is_refused)
{
	check_refused("", "it is empty");
	check_refused(" \n ", "it is empty");
	check_refused("{\"error\":1}", "no XML in UTF-8: \"{");
	check_refused("<a>", "in the middle");
	check_refused("<a><b></a>", "mismatch");
	check_refused("<a></a", "in the middle");
	check_refused("<a/><b/>", "line 1");
	check_refused("<a/>x", "");
	check_refused("<a/>&amp;", "");
	check_refused("<a/>\n\n<", "in the middle");
	check_refused("<a b='1' b='2'/>", "duplicate attribute");
	check_refused("<a b=1/>", "");
	check_refused("<a b='<'/>", "");
	check_refused("<p:a/>", "unbound prefix");
	check_refused("<a><!-- -- --></a>", "");
	check_refused("<a>]]></a>", "");
	check_refused("<a>&foo;</a>", "undefined entity");
	check_refused("<a>& more than a reference has</a>", "an & that is none");
	check_refused("<html><p>Bad gateway<br></p></html>", "mismatch");
	check_refused("<a>\n\n<b>\n</c></a>", "line 4");
	check_refused("\n\n\n<a>\n</b>", "line 5");
}

TEST(other_characters_than_those_of_utf_8_are_refused)
{
	check_refused("<a>\xff</a>", "");
	check_refused("<a>\xc0\x80</a>", "");
	check_refused("<a>\xed\xa0\x80</a>", "");
	check_refused("<a>\x01</a>", "");
	check_refused("<a>&#0;</a>", "");
	check_refused("<a>&#x1F;</a>", "");
	check_refused("<a>&#xFFFFFF;</a>", "");
	check_refused("<?xml version='1.0' encoding='ISO-8859-1'?><a/>", "\"ISO-8859-1\"");
	check_refused("<?xml version='1.0' encoding=\"UTF-16\"?><a/>", "\"UTF-16\"");
	check_refused("<?xml version='1.0' encoding=\"IBM037\"?><a/>", "\"IBM037\"");
	check_text((struct text){ "<a>\0</a>", 8 }, "NUL", ERR_XML_SYNTAX);
	check_text((struct text){ "<a/>\0", 5 }, "NUL", ERR_XML_SYNTAX);
	check_text((struct text){ "<\0a\0/\0>\0", 8 }, "NUL", ERR_XML_SYNTAX);
	check_text((struct text){ "\xFF\xFE<\0a\0/\0>\0", 10 }, "UTF-8", ERR_XML_SYNTAX);
	check_text((struct text){ "\xFE\xFF\0<\0a\0/\0>", 10 }, "UTF-8", ERR_XML_SYNTAX);
	check_text((struct text){ "\x4C\x6F\xA7\x94\x93", 5 }, "UTF-8",
		   ERR_XML_SYNTAX); /* EBCDIC */
}

TEST_FIBER(document_types_and_what_they_bring_are_refused)
{
	static const char never[] = "a document type declaration, which is never read";

	check_refused("<!DOCTYPE a><a/>", never);
	check_refused("<!DOCTYPE html PUBLIC \"-//W3C//DTD HTML 4.01//EN\" "
		      "\"http://www.w3.org/TR/html4/strict.dtd\"><html></html>",
		      never);
	check_refused("<?xml version=\"1.0\"?><!DOCTYPE lolz [<!ENTITY lol \"lol\">"
		      "<!ENTITY lol1 \"&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;\">"
		      "<!ENTITY lol2 \"&lol1;&lol1;&lol1;&lol1;&lol1;&lol1;&lol1;&lol1;\">]>"
		      "<lolz>&lol2;</lolz>",
		      never);
	check_refused("<!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><a>&x;</a>", never);
	check_refused("<!DOCTYPE a [<!ENTITY % x SYSTEM \"http://127.0.0.1:9/\"> %x;]><a/>", never);
	check_refused("<a><!DOCTYPE a></a>", "not well-formed");
	check_refused("<a><![INCLUDE[x]]></a>", "not well-formed");
	check_refused("<!ELEMENT a ANY><a/>", "syntax error");
	check_says("<a xmlns:i='http://www.w3.org/2001/XInclude'>"
		   "<i:include id='x' href='file:///etc/passwd'/></a>",
		   "<a<include@id=x>>");
}

/* ---- bounds ---- */

static void repeat(struct buffer *to, const char *what, unsigned times)
{
	while (times--)
		buffer_add_text(to, what);
}

static void check_nested(unsigned depth, enum err expected)
{
	struct buffer document = { 0 }, trace = { 0 };

	repeat(&document, "<a>", depth);
	repeat(&document, "</a>", depth);
	CHECK_ERR(read_in_pieces((struct text){ document.at, document.bytes }, 7, &trace),
		  expected);
	if (expected)
		CHECK(strstr(err_note()->text, "too deep"));
	err_note_clear();
	buffer_free(&document);
	buffer_free(&trace);
}

TEST(depth_is_bounded)
{
	check_nested(XML_DEPTH_MAX, OK);
	check_nested(XML_DEPTH_MAX + 1, ERR_XML_SYNTAX);
	check_nested(100 * 1000, ERR_XML_SYNTAX);
}

/* `times` of `what` between two ends; refused for `reason`, or not. */
static void check_long(const char *before, const char *what, unsigned times, const char *after,
		       const char *reason)
{
	struct buffer document = { 0 }, trace = { 0 };

	buffer_add_text(&document, before);
	repeat(&document, what, times);
	buffer_add_text(&document, after);
	CHECK_ERR(read_in_pieces((struct text){ document.at, document.bytes }, 4000, &trace),
		  reason ? ERR_XML_SYNTAX : OK);
	if (reason && !strstr(err_note()->text, reason))
		test_failed(__FILE__, __LINE__, "\"%s\" does not say \"%s\"", err_note()->text,
			    reason);
	err_note_clear();
	buffer_free(&document);
	buffer_free(&trace);
}

TEST_FIBER(tags_comments_and_sections_are_bounded)
{
	enum { FITS = XML_MARKUP_BYTES_MAX - 20, NOT = XML_MARKUP_BYTES_MAX + 1 };

	check_long("<a b='", "x", FITS, "'/>", NULL);
	check_long("<a b='", "x", NOT, "'/>", "too long");
	check_long("<a b='", ">", NOT, "'/>", "without an end");
	check_long("<a b='", "&amp;", FITS / 5, "'/>", NULL);
	check_long("<", "x", FITS, "/>", NULL);
	check_long("<", "x", NOT, "/>", "too long");
	check_long("<a><!--", "x", FITS, "--></a>", NULL);
	check_long("<a><!--", "x", NOT, "--></a>", "too long");
	check_long("<a><!-->", "x>", NOT / 2, "--></a>", "too long");
	check_long("<a>", "y", 1, "<![CDATA[]]></a>", NULL);
	check_long("<a><![CDATA[", "x", FITS, "]]></a>", NULL);
	check_long("<a><![CDATA[", "x", NOT, "]]></a>", "too long");
	check_long("<a><?p ", "x", NOT, "?></a>", "too long");
	check_long("<a>&#x", "0", NOT, "41;</a>", "too long");
	check_long("<a ", "x='' y='' ", 1, "/>", NULL);
	check_long("<a>", "&lt;x", 100 * 1000, "</a>", NULL);
}

/* Names that are left behind make room again. */
TEST_FIBER(names_of_open_elements_are_bounded)
{
	struct buffer document = { 0 }, outer = { 0 };
	static const char space[] = "0123456789abcdef0123456789abcdef";

	buffer_add_text(&outer, "<a xmlns='urn:");
	repeat(&outer, space, XML_NAMES_BYTES_MAX / 8 / sizeof space);
	buffer_add_text(&outer, "'>");
	buffer_add_text(&document, outer.at);
	repeat(&document, "<b/>", 100);
	repeat(&document, "<b>", 6);
	check_long(document.at, "</b>", 6, "</a>", NULL);
	check_long(document.at, "<b>", 2, "", "names of elements in one another");
	buffer_free(&document);
	buffer_free(&outer);
}

TEST(attributes_and_names_are_bounded)
{
	struct buffer document = { 0 }, trace = { 0 };

	buffer_add_text(&document, "<a");
	for (int i = 0; i <= XML_ATTRIBUTES_MAX; i++)
		buffer_addf(&document, " a%d=''", i);
	buffer_add_text(&document, "/>");
	check_refused(document.at, "too many attributes");

	buffer_reset(&document);
	buffer_add_text(&document, "<a>");
	for (int i = 0; i < 50 * 1000; i++)
		buffer_addf(&document, "<b%06d/>", i);
	CHECK_ERR(read_in_pieces((struct text){ document.at, document.bytes }, 4000, &trace),
		  ERR_XML_SYNTAX);
	CHECK(strstr(err_note()->text, "too many different names"));
	err_note_clear();
	buffer_free(&document);
	buffer_free(&trace);
}

TEST(the_whole_is_bounded_where_the_caller_says_so)
{
	struct xml_event event;
	struct xml *xml;

	REQUIRE(xml_open(PEER, 10, &xml) == OK);
	xml_feed(xml, text_of("<a>45678"));
	CHECK_OK(xml_next(xml, &event));
	CHECK_EQ(event.kind, XML_START);
	CHECK_OK(xml_next(xml, &event));
	CHECK_EQ(event.kind, XML_TEXT);
	CHECK_OK(xml_next(xml, &event));
	CHECK_EQ(event.kind, XML_MORE);
	xml_feed(xml, text_of("9</a>"));
	CHECK_ERR(xml_next(xml, &event), ERR_XML_SYNTAX);
	CHECK(strstr(err_note()->text, "longer than"));
	err_note_clear();
	xml_close(&xml);
}

/* A document of 64 MiB takes no more than one of 64 KiB. */
TEST(a_long_document_is_never_held)
{
	static char row[4096];
	struct xml_event event;
	struct xml *xml;
	size_t first = 0, used = 0;

	if (SANITIZED)
		SKIP("a sanitizer counts memory otherwise");
	memset(row, 'x', sizeof row);
	memcpy(row, "<r id='1'>&amp;", 15);
	memcpy(row + sizeof row - 4, "</r>", 4);
	REQUIRE(xml_open(PEER, UINT64_MAX, &xml) == OK);
	xml_feed(xml, text_of("<a>"));
	for (unsigned i = 0; i < 16384; i++) {
		enum err e;

		while (!(e = xml_next(xml, &event)) && event.kind != XML_MORE)
			;
		REQUIRE(e == OK);
		xml_feed(xml, (struct text){ row, sizeof row });
		used = mallinfo2().uordblks;
		first = i == 15 ? used : first;
	}
	CHECK(used <= first + 16 * 1024);
	xml_close(&xml);
}

/* The Makefile links these in the place of malloc, calloc and free, for our code and so for expat.
 */
void *__real_malloc(size_t);
void *__real_calloc(size_t, size_t);
void __real_free(void *);
void *__wrap_malloc(size_t);
void *__wrap_calloc(size_t, size_t);
void __wrap_free(void *);
static unsigned allocations_left = UINT_MAX;
static int allocations_held;

static bool may_allocate(void)
{
	if (allocations_left == 0)
		return false;
	allocations_left -= allocations_left != UINT_MAX;
	allocations_held++;
	return true;
}

void *__wrap_malloc(size_t bytes)
{
	return may_allocate() ? __real_malloc(bytes) : NULL;
}

void *__wrap_calloc(size_t count, size_t bytes)
{
	return may_allocate() ? __real_calloc(count, bytes) : NULL;
}

void __wrap_free(void *at)
{
	allocations_held -= at != NULL;
	__real_free(at);
}

static enum err read_with_allocations(unsigned count, struct text document)
{
	struct xml_event event;
	struct xml *xml;
	enum err e;

	allocations_left = count;
	if (!(e = xml_open(PEER, BYTES_MAX, &xml)))
		xml_feed(xml, document);
	while (!e && !(e = xml_next(xml, &event)) && event.kind != XML_MORE)
		;
	if (!e)
		e = xml_end(xml);
	xml_close(&xml);
	allocations_left = UINT_MAX;
	return e;
}

TEST(each_allocation_may_fail)
{
	struct buffer document = { 0 };
	unsigned count = 0;
	int held;

	buffer_add_text(&document, "<?xml version='1.0'?><a xmlns:p='urn:p'>");
	for (int i = 0; i < 40; i++)
		buffer_addf(&document, "<e%d xmlns='urn:%099d' p:a='%02000d' b%d=''>&lt;", i, i, i,
			    i);
	buffer_add_text(&document, "<!--");
	repeat(&document, "-x", 5000);
	buffer_add_text(&document, "-->");
	for (int i = 39; i >= 0; i--)
		buffer_addf(&document, "</e%d>", i);
	buffer_add_text(&document, "</a>");
	held = allocations_held;
	for (enum err e;
	     (e = read_with_allocations(count, (struct text){ document.at, document.bytes }));
	     count++) {
		CHECK_ERR(e, ERR_MEMORY_EXHAUSTED);
		REQUIRE(strstr(err_note()->text, PEER));
		err_note_clear();
	}
	CHECK(count > 50);
	CHECK_EQ(allocations_held, held);
	buffer_free(&document);
}

/* ---- manners ---- */

TEST(nothing_is_printed)
{
	static const char *const documents[] = {
		"<a",	       "<a>&foo;</a>",	 "<p:a/>",
		"<a>\x01</a>", "<a xmlns=':'/>", "<a xml:space='x'/>"
	};
	char path[200], said;
	int kept = dup(STDERR_FILENO), file;

	snprintf(path, sizeof path, "%s/stderr", test_directory());
	file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	REQUIRE(kept >= 0 && file >= 0 && dup2(file, STDERR_FILENO) == STDERR_FILENO);
	for (size_t i = 0; i < ARRAY_COUNT(documents); i++) {
		struct buffer trace = { 0 };

		(void)!read_in_pieces(text_of(documents[i]), 100, &trace);
		err_note_clear();
		buffer_free(&trace);
	}
	fflush(stderr);
	dup2(kept, STDERR_FILENO);
	CHECK_EQ(pread(file, &said, 1, 0), 0);
	close(kept);
	close(file);
}

/* Whether the heap holds this text, of which `mark` is a copy with the first byte changed, so that
 * it is not found itself. Without a stream, whose buffer would take the place of what was freed. */
static bool is_in_heap(const char *mark)
{
	static char maps[64 * 1024];
	int file = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	unsigned long from = 0, to = 0;
	size_t bytes = 0, n = strlen(mark);
	ssize_t got;
	bool found = false;
	char *line;

	while ((got = read(file, maps + bytes, sizeof maps - 1 - bytes)) > 0)
		bytes += (size_t)got;
	close(file);
	maps[bytes] = '\0';
	line = strstr(maps, "[heap]");
	must(line);
	while (line > maps && line[-1] != '\n')
		line--;
	must(sscanf(line, "%lx-%lx", &from, &to) == 2);
	for (const char *at = (const char *)from; at + n < (const char *)to; at++)
		found |= *at == (*mark ^ 1) && memcmp(at + 1, mark + 1, n - 1) == 0;
	return found;
}

TEST(what_was_read_does_not_stay_in_memory)
{
	static char document[2000];
	struct xml_event event;
	struct xml *xml;
	bool seen = false;
	int bytes;

	if (SANITIZED)
		SKIP("a sanitizer keeps what was freed");
	bytes = snprintf(document, sizeof document,
			 "<a>%0900d<b id='%cJalrXUtnFEMI'/>%cJalrXUtnFEMI</a>", 0, 'v' ^ 1,
			 'v' ^ 1);
	REQUIRE(xml_open(PEER, BYTES_MAX, &xml) == OK);
	for (int i = 0; i < bytes; i += 5) {
		xml_feed(xml, (struct text){ document + i, min_u64(5, (uint64_t)(bytes - i)) });
		while (xml_next(xml, &event) == OK && event.kind != XML_MORE)
			seen |= event.kind == XML_END && is_in_heap("vJalrXUtnFEMI");
	}
	CHECK(seen); /* or this test would find nothing in any case */
	CHECK_OK(xml_end(xml));
	xml_close(&xml);
	CHECK(!is_in_heap("vJalrXUtnFEMI"));
}

static int read_as_worker(void)
{
	struct confine_facts facts;
	struct buffer trace = { 0 };

	confine_process(CONFINE_ON);
	confine_facts(&facts);
	if (!facts.filtered)
		return 2;
	confine_thread(CONFINE_WORKER);
	if (read_in_pieces(text_of("<a xmlns='urn:x'><b>&lt;\xC3\xA9</b></a>"), 3, &trace))
		return 1;
	return read_in_pieces(text_of("<?xml version='1.0' encoding='KOI8-R'?><a/>"), 9, &trace) !=
	       ERR_XML_SYNTAX;
}

TEST(a_confined_worker_may_read)
{
	pid_t child = fork();
	int status = 0;

	if (child == 0)
		_exit(read_as_worker());
	REQUIRE(waitpid(child, &status, 0) == child);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 2)
		SKIP("no seccomp filters here (a sanitized build, or a container that forbids)");
	CHECK_EQ(status, 0);
}

/* ---- writing ---- */

TEST(what_is_escaped_reads_the_same)
{
	static const char value[] = "a<b>&\"c\"'\r\n\t\xE2\x82\xAC\xF0\x9F\x98\x80]]>";
	struct buffer document = { 0 }, trace = { 0 };

	buffer_add_text(&document, "<a id=\"");
	CHECK(xml_escape(&document, text_of("<&>\"'")));
	buffer_add_text(&document, "\">");
	CHECK(xml_escape(&document, text_of(value)));
	buffer_add_text(&document, "</a>");
	CHECK_OK(read_in_pieces((struct text){ document.at, document.bytes }, 1, &trace));
	CHECK(strncmp(trace.at, "<a@id=<&>\"'", 11) == 0);
	CHECK(strncmp(trace.at + 11, value, strlen(value)) == 0);
	buffer_free(&document);
	buffer_free(&trace);
}

TEST(what_xml_cannot_say_is_not_written)
{
	static const char *const values[] = { "\x01",	      "a\x1f",	      "\xff",
					      "\xed\xa0\x80", "\xEF\xBF\xBE", "\xEF\xBF\xBF",
					      "ok\xc3" };
	struct buffer to = { 0 };

	for (size_t i = 0; i < ARRAY_COUNT(values); i++)
		CHECK(!xml_escape(&to, text_of(values[i])));
	CHECK(!xml_escape(&to, (struct text){ "a\0b", 3 }));
	CHECK_EQ(to.bytes, 0);
	CHECK(xml_escape(&to, text_of("\xEF\xBF\xBD")));
	buffer_free(&to);
}
