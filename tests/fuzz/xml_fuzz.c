/* A document of XML, whole and in pieces whose length the first byte says: the same starts, texts
 * and ends, or refused both times. What was read is written again and read the same. */
#include "transport/xml.h"

#include <stdlib.h>

#include "tests/fuzz/fuzz.h"

enum { BYTES_MAX = 1 << 20 };

struct reading {
	enum err error;
	unsigned starts, ends;
	struct buffer again; /* the same document without what has no event */
};

static void take(struct reading *reading, const struct xml *xml, const struct xml_event *event)
{
	struct text value;

	must(xml_depth(xml) > 0 && xml_depth(xml) <= XML_DEPTH_MAX);
	if (event->kind == XML_TEXT) {
		for (size_t i = 0, n; i < event->text.bytes; i += n)
			must((n = bytes_utf8_length(event->text.at + i, event->text.bytes - i)) >
			     0);
		must(event->text.bytes > 0 && xml_escape(&reading->again, event->text));
		return;
	}
	must(strcmp(event->name, xml_name(xml, xml_depth(xml) - 1)) == 0);
	if (event->kind == XML_END) {
		buffer_addf(&reading->again, "</%s>", event->name);
		reading->ends++;
		return;
	}
	buffer_addf(&reading->again, "<%s xmlns=\"", event->name);
	must(xml_escape(&reading->again, text_of(event->space)));
	buffer_add_text(&reading->again, "\"");
	if (xml_attribute(xml, "id", &value)) {
		buffer_add_text(&reading->again, " id=\"");
		must(xml_escape(&reading->again, value));
		buffer_add_text(&reading->again, "\"");
	}
	buffer_add_text(&reading->again, ">");
	reading->starts++;
}

static struct reading read_document(struct text from, size_t piece)
{
	struct reading reading = { 0 };
	struct xml_event event;
	struct xml *xml;
	enum err e = xml_open("peer", BYTES_MAX, &xml);

	for (size_t i = 0; i < from.bytes && !e; i += min_u64(piece, from.bytes - i)) {
		xml_feed(xml, (struct text){ from.at + i, min_u64(piece, from.bytes - i) });
		while (!(e = xml_next(xml, &event)) && event.kind != XML_MORE)
			take(&reading, xml, &event);
	}
	if (!e && !(e = xml_end(xml)))
		must(xml_depth(xml) == 0 && reading.starts > 0 && reading.starts == reading.ends);
	must(e == err_note()->error && (!e || e == ERR_XML_SYNTAX));
	err_note_clear();
	xml_close(&xml);
	reading.error = e;
	return reading;
}

static bool same(const struct reading *a, const struct reading *b)
{
	return a->error == b->error &&
	       (a->error || text_equal((struct text){ a->again.at, a->again.bytes },
				       (struct text){ b->again.at, b->again.bytes }));
}

FUZZ(xml)
{
	size_t piece = fuzz_take_byte(&input) + 1;
	struct reading whole = read_document(input, SIZE_MAX), pieces = read_document(input, piece);
	struct reading again;

	must(same(&whole, &pieces));
	if (!whole.error) {
		must(!whole.again.failed);
		again = read_document((struct text){ whole.again.at, whole.again.bytes }, piece);
		/* What is written without its prefixes may have longer tags than are read. */
		must(again.error || same(&whole, &again));
		buffer_free(&again.again);
	}
	buffer_free(&whole.again);
	buffer_free(&pieces.again);
}
