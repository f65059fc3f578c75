/* An answer of S3, read by every form there is, whole and in pieces whose length the first byte
 * says: the same structs come out, each text terminated within its room. Behind a separator, an
 * ETag and a checksum for the body of CompleteMultipartUpload, which reads the same. */
#include "transport/s3_xml.h"

#include <stdlib.h>

#include "tests/fuzz/fuzz.h"

enum { BYTES_MAX = 1 << 20, SHEETS_MAX = 24 };

static const struct xml_form *const forms[] = {
	&s3_xml_error,
	&s3_xml_upload_begun,
	&s3_xml_upload_completed,
	&s3_xml_objects,
	&s3_xml_object,
	&s3_xml_prefix,
	&s3_xml_versions,
	&s3_xml_version,
	&s3_xml_delete_marker,
	&s3_xml_uploads,
	&s3_xml_upload,
	&s3_xml_parts,
	&s3_xml_part,
	&s3_xml_location,
	&s3_xml_versioning,
	&s3_xml_object_lock,
	&s3_xml_encryption,
	&s3_xml_replication,
	&s3_xml_replication_rule,
	&s3_xml_public_access_block,
	&s3_xml_deleted,
	&s3_xml_delete_failed,
};
_Static_assert(ARRAY_COUNT(forms) <= SHEETS_MAX, "a sheet for each form");

struct reading {
	enum err error;
	uint64_t hash;
	struct xml_sheet sheets[SHEETS_MAX];
};
struct owner {
	struct reading *reading;
	const struct xml_form *form;
};

static void check_member(const struct xml_field *field, char *member)
{
	char *decoded;

	if (field->kind >= XML_NUMBER)
		return;
	must(strnlen(member, field->room) < field->room);
	decoded = fuzz_string(text_of(member));
	if (s3_xml_url_decode(decoded))
		must(strlen(decoded) <= strlen(member));
	free(decoded);
}

static enum err take(void *owner, void *to)
{
	struct owner *of = owner;

	for (size_t i = 0; i < of->form->fields_count; i++)
		check_member(&of->form->fields[i], (char *)to + of->form->fields[i].offset);
	of->reading->hash = fuzz_hash(of->reading->hash, to, of->form->bytes);
	return OK;
}

static enum err feed_all(struct xml_reader *reader, struct text from, size_t piece)
{
	enum err e = OK;

	for (size_t i = 0, n; i < from.bytes && !e; i += n) {
		n = min_u64(piece, from.bytes - i);
		e = xml_reader_feed(reader, (struct text){ from.at + i, n });
	}
	return e ? e : xml_reader_end(reader);
}

static struct reading read_answer(struct text from, size_t piece)
{
	struct reading reading = { 0 };
	struct owner owners[SHEETS_MAX];
	struct xml_reader *reader;

	for (size_t i = 0; i < ARRAY_COUNT(forms); i++) {
		owners[i] = (struct owner){ &reading, forms[i] };
		reading.sheets[i] = (struct xml_sheet){
			.form = forms[i],
			.to = malloc(forms[i]->bytes),
			.bytes = forms[i]->bytes,
			.take = take,
			.owner = &owners[i],
		};
		must(reading.sheets[i].to);
	}
	must(xml_reader_open("peer", BYTES_MAX, reading.sheets, ARRAY_COUNT(forms), &reader) == OK);
	reading.error = feed_all(reader, from, piece);
	must(reading.error == err_note()->error);
	must(!reading.error || reading.error == ERR_XML_SYNTAX);
	err_note_clear();
	xml_reader_close(&reader);
	for (size_t i = 0; i < ARRAY_COUNT(forms); i++)
		free(reading.sheets[i].to);
	return reading;
}

/* ---- writing ---- */

struct part {
	uint64_t number;
	char etag[S3_ETAG_BYTES_MAX + 1], checksum[S3_CHECKSUM_BYTES_MAX + 1];
};
static const struct xml_field part_fields[] = {
	XML_FIELD_REQUIRED("PartNumber", XML_NUMBER, struct part, number),
	XML_FIELD("ETag", XML_CHARS, struct part, etag),
	XML_FIELD("ChecksumCRC64NVME", XML_CHARS, struct part, checksum),
};
static const struct xml_form part_form =
	XML_FORM("CompleteMultipartUpload/Part", struct part, part_fields);

static void write_part(struct text etag, struct text checksum)
{
	struct part part;
	struct xml_sheet sheet = XML_SHEET(&part_form, &part);
	struct buffer body = { 0 };

	s3_xml_complete_begin(&body);
	if (s3_xml_complete_part(&body, 7, etag, "ChecksumCRC64NVME", checksum)) {
		s3_xml_complete_end(&body);
		must(xml_form_read("we", (struct text){ body.at, body.bytes }, &sheet, 1) == OK);
		must(part.number == 7 && text_equal(text_of(part.etag), etag) &&
		     text_equal(text_of(part.checksum), checksum));
	}
	buffer_free(&body);
}

FUZZ(s3_xml)
{
	size_t piece = fuzz_take_byte(&input) + 1;
	struct text answer = fuzz_take_part(&input), etag = fuzz_take_part(&input);
	struct reading whole = read_answer(answer, SIZE_MAX), pieces = read_answer(answer, piece);

	must(whole.error == pieces.error);
	must(whole.error || whole.hash == pieces.hash);
	write_part(etag, input);
}
