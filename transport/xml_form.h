/* The common case of reading XML: a few texts into the members of structs. A *form* says which, by
 * a table; a *sheet* is one struct to be filled in by it. Forms of elements that repeat are handed
 * on one by one, so a page of a thousand rows needs the room of one:
 *
 *	struct row { char key[1025]; uint64_t size; };
 *	static const struct xml_field row_fields[] = {
 *		XML_FIELD_REQUIRED("Key", XML_CHARS, struct row, key),
 *		XML_FIELD("Size", XML_NUMBER, struct row, size),
 *	};
 *	static const struct xml_form row_form =
 *		XML_FORM("ListBucketResult/Contents", struct row, row_fields);
 *
 *	struct xml_sheet sheets[] = {
 *		XML_SHEET(&page_form, &page), XML_SHEET(&error_form, &error),
 *		XML_ROWS(&row_form, &row, take_row, list),
 *	};
 *	if ((e = xml_reader_open(peer, 8 * 1024 * 1024, sheets, 3, &reader)))
 *		return e;
 *	while (!e && (e = http_read(http, room, sizeof room, &got)) == OK)
 *		e = xml_reader_feed(reader, (struct text){ room, got });
 *	if (e == ERR_STREAM_ENDED)
 *		e = xml_reader_end(reader);
 *	xml_reader_close(&reader);
 *	if (!e && sheets[1].count > 0)
 *		...                              // it was an <Error>
 *
 * Elements that no form asks for are passed over; namespaces are not looked at (radosgw's errors
 * have none, AWS's answers have one or none). A document whose root no form knows is refused: it is
 * the page of some proxy. */
#ifndef MAILHAUL_XML_FORM_H
#define MAILHAUL_XML_FORM_H

#include "transport/xml.h"

enum xml_kind {
	XML_CHARS,     /* char[room], terminated; more than fits: refused */
	XML_CHARS_CUT, /* the same; cut between characters where it does not fit: for people */
	XML_LIST,      /* char[room]: the element may repeat, the texts are joined with commas */
	XML_NUMBER,    /* uint64_t: decimal digits */
	XML_BOOL,      /* bool: "true" or "false" */
	XML_TIME,      /* int64_t: RFC 3339 as seconds since 1970-01-01 UTC */
};
struct xml_field {
	const char *path; /* below the form's element: "Owner/ID"; "": its own text */
	enum xml_kind kind;
	bool required; /* there, and not empty */
	size_t offset, room;
};
#define XML_FIELD_ANY(path_text, xml_kind_, type, member, is_required)                             \
	{                                                                                          \
		.path = (path_text), .kind = (xml_kind_), .required = (is_required),               \
		.offset = offsetof(type, member), .room = sizeof(((type *)NULL)->member)           \
	}
#define XML_FIELD(path, kind, type, member)	     XML_FIELD_ANY(path, kind, type, member, false)
#define XML_FIELD_REQUIRED(path, kind, type, member) XML_FIELD_ANY(path, kind, type, member, true)

enum { XML_FIELDS_MAX = 32 };
struct xml_form {
	const char *path; /* of its element, from the root: "ListBucketResult/Contents" */
	size_t bytes;	  /* of the struct */
	const struct xml_field *fields;
	size_t fields_count;
};
#define XML_FORM(path_text, type, fields_)                                                         \
	{                                                                                          \
		.path = (path_text), .bytes = sizeof(type), .fields = (fields_),                   \
		.fields_count = ARRAY_COUNT(fields_)                                               \
	}

/* XML_SHEET: of an element that comes once at most. XML_ROWS: of one that repeats; take() has each
 * at its end, and may suspend. `to` is cleared where the element begins, and before the first. */
struct xml_sheet {
	const struct xml_form *form;
	void *to;
	size_t bytes; /* of what `to` points to: the form's */
	enum err (*take)(void *owner, void *to);
	void *owner;
	/* The reader's: */
	uint64_t count; /* elements that were read */
	uint32_t seen;	/* fields of this one */
	bool is_open;
};
#define XML_SHEET(form_, to_)                                                                      \
	{                                                                                          \
		.form = (form_), .to = (to_), .bytes = sizeof *(to_)                               \
	}
#define XML_ROWS(form_, to_, take_, owner_)                                                        \
	{                                                                                          \
		.form = (form_), .to = (to_), .bytes = sizeof *(to_), .take = (take_),             \
		.owner = (owner_)                                                                  \
	}

struct xml_reader;
/* `peer` and bytes_max as for xml_open(); sheets are borrowed until the close. */
enum err xml_reader_open(const char *peer, uint64_t bytes_max, struct xml_sheet *,
			 size_t sheets_count, struct xml_reader **) MUST_CHECK;
void xml_reader_close(struct xml_reader **);
/* What comes next, used up on return. ERR_XML_SYNTAX, also where a field is not of its kind, comes
 * twice or is missing; what take() returns. After an error only the close. Suspends where take()
 * does. */
enum err xml_reader_feed(struct xml_reader *, struct text) MUST_CHECK;
/* It was all. ERR_XML_SYNTAX: it is not whole. */
enum err xml_reader_end(struct xml_reader *) MUST_CHECK;
/* All of it for a document in memory. */
enum err xml_form_read(const char *peer, struct text document, struct xml_sheet *,
		       size_t sheets_count) MUST_CHECK;

#endif
