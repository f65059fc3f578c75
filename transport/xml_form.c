/* Texts of XML into structs: see xml_form.h. */
#include "transport/xml_form.h"

#include <stdlib.h>

#include "crypto/secret.h"
#include "engine/mail.h"

enum { READER_MAGIC = 0x5f02a177, SCALAR_BYTES_MAX = 64 };

struct xml_reader {
	uint32_t magic;
	struct xml *xml;
	struct xml_sheet *sheets;
	size_t sheets_count;
	/* The field that is being read, if any, and at which depth it began. */
	const struct xml_field *field;
	struct xml_sheet *sheet;
	unsigned depth;
	char *to; /* its characters */
	size_t room, bytes;
	bool is_full;
	char scalar[SCALAR_BYTES_MAX + 1]; /* numbers, times and words on their way */
};

static enum err refuse(const struct xml_reader *reader, const char *path, const char *what)
{
	return RAISE(ERR_XML_SYNTAX, "line %u of the XML that %s sent: %s%s%s %s",
		     xml_line(reader->xml), xml_peer(reader->xml), reader->sheet->form->path,
		     *path ? "/" : "", path, what);
}

/* ---- fields ---- */

static bool is_scalar(const struct xml_field *field)
{
	return field->kind >= XML_NUMBER;
}

static void *member_of(const struct xml_reader *reader)
{
	return (char *)reader->sheet->to + reader->field->offset;
}

static enum err begin_field(struct xml_reader *reader, const struct xml_field *field)
{
	uint32_t bit = 1u << (field - reader->sheet->form->fields);

	if (reader->sheet->seen & bit && field->kind != XML_LIST)
		return refuse(reader, field->path, "comes twice");
	reader->field = field;
	reader->depth = xml_depth(reader->xml);
	reader->to = is_scalar(field) ? reader->scalar : member_of(reader);
	reader->room = is_scalar(field) ? sizeof reader->scalar : field->room;
	reader->is_full = false;
	reader->bytes = field->kind == XML_LIST ? strlen(reader->to) : 0;
	if (reader->bytes > 0 && reader->bytes + 1 < reader->room)
		reader->to[reader->bytes++] = ',';
	reader->to[reader->bytes] = '\0';
	reader->sheet->seen |= bit;
	return OK;
}

static enum err add_text(struct xml_reader *reader, struct text text)
{
	size_t fits = 0, room = reader->room - 1 - reader->bytes, n;

	if (reader->is_full)
		return OK;
	if (text.bytes <= room)
		fits = text.bytes;
	else if (reader->field->kind != XML_CHARS_CUT)
		return refuse(reader, reader->field->path, "is too long");
	else
		while ((n = bytes_utf8_length(text.at + fits, text.bytes - fits)) > 0 &&
		       fits + n <= room)
			fits += n;
	reader->is_full = fits < text.bytes;
	bytes_copy(reader->to + reader->bytes, text.at, fits, BYTES_META);
	reader->bytes += fits;
	reader->to[reader->bytes] = '\0';
	return OK;
}

static bool read_number(const char *digits, uint64_t *out)
{
	uint64_t value = 0;

	for (; *digits >= '0' && *digits <= '9'; digits++)
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*digits - '0'), &value))
			return false;
	*out = value;
	return *digits == '\0';
}

static bool read_bool(const char *word, bool *out)
{
	*out = strcmp(word, "true") == 0;
	return *out || strcmp(word, "false") == 0;
}

static bool read_time(const char *moment, int64_t *out)
{
	struct mail_date date;

	if (!mail_date_from_rfc3339(text_of(moment), &date))
		return false;
	*out = date.seconds;
	return true;
}

static bool read_scalar(struct xml_reader *reader)
{
	switch (reader->field->kind) {
	case XML_NUMBER:
		must(reader->field->room == sizeof(uint64_t));
		return read_number(reader->scalar, member_of(reader));
	case XML_BOOL:
		must(reader->field->room == sizeof(bool));
		return read_bool(reader->scalar, member_of(reader));
	case XML_TIME:
		must(reader->field->room == sizeof(int64_t));
		return read_time(reader->scalar, member_of(reader));
	default:
		return true;
	}
}

/* An empty element says nothing: "<NextPartNumberMarker/>". */
static enum err end_field(struct xml_reader *reader)
{
	const struct xml_field *field = reader->field;
	enum err e = OK;

	if (reader->bytes == 0)
		reader->sheet->seen &= ~(1u << (field - reader->sheet->form->fields));
	else if (!read_scalar(reader))
		e = refuse(reader, field->path, "is not what it should be");
	reader->field = NULL;
	return e;
}

/* ---- sheets ---- */

static enum err begin_sheet(struct xml_reader *reader)
{
	struct xml_sheet *sheet = reader->sheet;

	if (!sheet->take && sheet->count > 0)
		return refuse(reader, "", "comes twice");
	secret_wipe(sheet->to, sheet->form->bytes);
	sheet->is_open = true;
	sheet->seen = 0;
	return OK;
}

static enum err end_sheet(struct xml_reader *reader)
{
	struct xml_sheet *sheet = reader->sheet;
	const struct xml_form *form = sheet->form;

	sheet->is_open = false;
	sheet->count++;
	for (size_t i = 0; i < form->fields_count; i++)
		if (form->fields[i].required && !(sheet->seen & 1u << i))
			return refuse(reader, form->fields[i].path, "is missing");
	return sheet->take ? sheet->take(sheet->owner, sheet->to) : OK;
}

/* The path of a form, then that of a field below it. */
static bool is_at(const struct xml *xml, const char *form, const char *field)
{
	for (unsigned i = 0; i < xml_depth(xml); i++) {
		const char **path = *form ? &form : &field;
		size_t n = strlen(xml_name(xml, i));

		if (strncmp(*path, xml_name(xml, i), n) != 0 ||
		    ((*path)[n] != '/' && (*path)[n] != '\0'))
			return false;
		*path += n + ((*path)[n] == '/');
	}
	return !*form && !*field;
}

static enum err find_field(struct xml_reader *reader)
{
	const struct xml_form *form = reader->sheet->form;

	for (size_t i = 0; i < form->fields_count; i++)
		if (is_at(reader->xml, form->path, form->fields[i].path))
			return begin_field(reader, &form->fields[i]);
	return OK;
}

static enum err check_root(const struct xml_reader *reader)
{
	const char *root = xml_name(reader->xml, 0);
	size_t n = strlen(root);
	char quoted[60];

	for (size_t i = 0; i < reader->sheets_count; i++) {
		const char *path = reader->sheets[i].form->path;

		if (strncmp(path, root, n) == 0 && (path[n] == '/' || path[n] == '\0'))
			return OK;
	}
	return RAISE(ERR_XML_SYNTAX, "%s sent XML of <%s> where <%s> belongs",
		     xml_peer(reader->xml), err_quote(quoted, sizeof quoted, text_of(root)),
		     reader->sheets[0].form->path);
}

/* ---- events ---- */

static enum err take_start(struct xml_reader *reader)
{
	enum err e = xml_depth(reader->xml) == 1 ? check_root(reader) : OK;

	/* What stands inside a field is none of ours. */
	for (size_t i = 0; i < reader->sheets_count && !e && !reader->field; i++) {
		reader->sheet = &reader->sheets[i];
		if (xml_is_at(reader->xml, reader->sheet->form->path))
			e = begin_sheet(reader);
		if (!e && reader->sheet->is_open)
			e = find_field(reader);
	}
	return e;
}

static enum err take_end(struct xml_reader *reader)
{
	enum err e = OK;

	if (reader->field && xml_depth(reader->xml) == reader->depth)
		e = end_field(reader);
	for (size_t i = 0; i < reader->sheets_count && !e && !reader->field; i++)
		if (reader->sheets[i].is_open &&
		    xml_is_at(reader->xml, reader->sheets[i].form->path)) {
			reader->sheet = &reader->sheets[i];
			e = end_sheet(reader);
		}
	return e;
}

enum err xml_reader_feed(struct xml_reader *reader, struct text bytes)
{
	struct xml_event event;
	enum err e;

	MAGIC_CHECK(reader, READER_MAGIC);
	xml_feed(reader->xml, bytes);
	while (!(e = xml_next(reader->xml, &event)) && event.kind != XML_MORE) {
		if (event.kind == XML_START)
			e = take_start(reader);
		else if (event.kind == XML_END)
			e = take_end(reader);
		else if (reader->field && xml_depth(reader->xml) == reader->depth)
			e = add_text(reader, event.text);
		if (e)
			break;
	}
	return e;
}

enum err xml_reader_end(struct xml_reader *reader)
{
	MAGIC_CHECK(reader, READER_MAGIC);
	return xml_end(reader->xml);
}

/* ---- beginning and ending ---- */

enum err xml_reader_open(const char *peer, uint64_t bytes_max, struct xml_sheet *sheets,
			 size_t sheets_count, struct xml_reader **out)
{
	struct xml_reader *reader = calloc(1, sizeof *reader);
	enum err e;

	*out = NULL;
	if (!reader)
		return RAISE(ERR_MEMORY_EXHAUSTED, "reading what %s answers", peer);
	if ((e = xml_open(peer, bytes_max, &reader->xml))) {
		free(reader);
		return e;
	}
	reader->magic = READER_MAGIC;
	reader->sheets = sheets;
	reader->sheets_count = sheets_count;
	for (size_t i = 0; i < sheets_count; i++) {
		must(sheets[i].form->fields_count <= XML_FIELDS_MAX);
		must(sheets[i].form->bytes == sheets[i].bytes);
		secret_wipe(sheets[i].to, sheets[i].form->bytes);
		sheets[i].count = 0;
		sheets[i].is_open = false;
	}
	*out = reader;
	return OK;
}

void xml_reader_close(struct xml_reader **taken)
{
	struct xml_reader *reader = *taken;

	*taken = NULL;
	if (!reader)
		return;
	MAGIC_CHECK(reader, READER_MAGIC);
	xml_close(&reader->xml);
	free(reader);
}

enum err xml_form_read(const char *peer, struct text document, struct xml_sheet *sheets,
		       size_t sheets_count)
{
	struct xml_reader *reader;
	enum err e = xml_reader_open(peer, document.bytes, sheets, sheets_count, &reader);

	if (!e)
		e = xml_reader_feed(reader, document);
	if (!e)
		e = xml_reader_end(reader);
	xml_reader_close(&reader);
	return e;
}
