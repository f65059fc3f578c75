#include "transport/xml_form.h"

#include <stdlib.h>

#include "crypto/secret.h"
#include "tests/test.h"

#define PEER "s3.example.com"

struct thing {
	char name[8], shown[8], list[12], inner[8];
	uint64_t number;
	bool flag;
	int64_t moment;
};
static const struct xml_field thing_fields[] = {
	XML_FIELD("Name", XML_CHARS, struct thing, name),
	XML_FIELD("Shown", XML_CHARS_CUT, struct thing, shown),
	XML_FIELD("List", XML_LIST, struct thing, list),
	XML_FIELD("Deep/Inner", XML_CHARS, struct thing, inner),
	XML_FIELD("Number", XML_NUMBER, struct thing, number),
	XML_FIELD("Flag", XML_BOOL, struct thing, flag),
	XML_FIELD("Moment", XML_TIME, struct thing, moment),
};
static const struct xml_form thing_form = XML_FORM("Thing", struct thing, thing_fields);

static enum err read_thing(const char *document, struct thing *thing)
{
	struct xml_sheet sheet = XML_SHEET(&thing_form, thing);

	return xml_form_read(PEER, text_of(document), &sheet, 1);
}

TEST(each_kind_of_field_is_read)
{
	struct thing thing;

	CHECK_OK(read_thing("<Thing><Name>1&lt;34567</Name><Number>18446744073709551615</Number>"
			    "<Flag>true</Flag><Moment>2009-10-12T17:50:30.000Z</Moment>"
			    "<List>a</List><Other>x</Other><List>bc</List>"
			    "<Deep><Inner>i</Inner><Name>not this</Name></Deep></Thing>",
			    &thing));
	CHECK_TEXT(thing.name, "1<34567");
	CHECK(thing.number == UINT64_MAX);
	CHECK(thing.flag);
	CHECK_EQ(thing.moment, 1255369830);
	CHECK_TEXT(thing.list, "a,bc");
	CHECK_TEXT(thing.inner, "i");
	CHECK_TEXT(thing.shown, "");
}

TEST(what_is_for_people_is_cut_between_characters)
{
	struct thing thing;

	CHECK_OK(read_thing("<Thing><Shown>12345\xE2\x82\xAC"
			    "6</Shown></Thing>",
			    &thing));
	CHECK_TEXT(thing.shown, "12345");
	CHECK_OK(read_thing("<Thing><Shown>1234\xE2\x82\xAC</Shown></Thing>", &thing));
	CHECK_TEXT(thing.shown, "1234\xE2\x82\xAC");
	CHECK_OK(read_thing("<Thing><Shown>123456&lt;8</Shown></Thing>", &thing));
	CHECK_TEXT(thing.shown, "123456<");
	CHECK_OK(read_thing("<Thing><Shown>12345&#xE4;&#xE4;x</Shown></Thing>", &thing));
	CHECK_TEXT(thing.shown, "12345\xC3\xA4");
}

/* A piece that does not fit, then one that would. */
TEST(nothing_follows_a_cut)
{
	struct thing thing;
	struct xml_sheet sheet = XML_SHEET(&thing_form, &thing);
	struct buffer euros = { 0 };
	struct xml_reader *reader;

	REQUIRE(xml_reader_open(PEER, 1 << 20, &sheet, 1, &reader) == OK);
	CHECK_OK(xml_reader_feed(reader, text_of("<Thing><Shown>12345")));
	for (int i = 0; i < 100; i++)
		buffer_add_text(&euros, "\xE2\x82\xAC");
	CHECK_OK(xml_reader_feed(reader, (struct text){ euros.at, euros.bytes }));
	CHECK_TEXT(thing.shown, "12345");
	CHECK_OK(xml_reader_feed(reader, text_of("6</Shown></Thing>")));
	CHECK_OK(xml_reader_end(reader));
	CHECK_TEXT(thing.shown, "12345");
	xml_reader_close(&reader);
	buffer_free(&euros);
}

TEST(an_empty_element_is_an_absent_one)
{
	struct thing thing;

	CHECK_OK(read_thing("<Thing><Number/><Flag></Flag><Moment/><Number>7</Number></Thing>",
			    &thing));
	CHECK_EQ(thing.number, 7);
	CHECK(!thing.flag);
	CHECK_EQ(thing.moment, 0);
}

TEST(text_of_elements_in_a_field_is_not_the_fields)
{
	struct thing thing;

	CHECK_OK(read_thing("<Thing><Name>a<Number>5</Number><b>c</b>d</Name></Thing>", &thing));
	CHECK_TEXT(thing.name, "ad");
	CHECK_EQ(thing.number, 0);
}

static void check_refused(const char *document, const char *reason)
{
	struct thing thing;

	CHECK_ERR(read_thing(document, &thing), ERR_XML_SYNTAX);
	if (!strstr(err_note()->text, reason) || !strstr(err_note()->text, PEER))
		test_failed(__FILE__, __LINE__, "\"%s\" does not say \"%s\"", err_note()->text,
			    reason);
	err_note_clear();
}

TEST(what_is_not_of_its_kind_is_refused)
{
	check_refused("<Thing>\n<Name>12345678</Name></Thing>", "line 2");
	check_refused("<Thing><Name>12345678</Name></Thing>", "Thing/Name is too long");
	check_refused("<Thing><List>123456789012</List></Thing>", "Thing/List is too long");
	check_refused("<Thing><List>12345</List><List>123456</List></Thing>", "too long");
	check_refused("<Thing><Number>18446744073709551616</Number></Thing>",
		      "Thing/Number is not");
	check_refused("<Thing><Number>-1</Number></Thing>", "Thing/Number is not");
	check_refused("<Thing><Number> 1</Number></Thing>", "Thing/Number is not");
	check_refused("<Thing><Flag>yes</Flag></Thing>", "Thing/Flag is not");
	check_refused("<Thing><Moment>yesterday</Moment></Thing>", "Thing/Moment is not");
	check_refused("<Thing><Name>a</Name><Name>b</Name></Thing>", "Thing/Name comes twice");
	check_refused("<html><body/></html>", "<html> where <Thing> belongs");
	check_refused("<Thin/>", "<Thin> where <Thing> belongs");
	check_refused("<Thing><Name>a</Name>", "in the middle");
}

/* ---- rows ---- */

struct page {
	char next[8];
	bool is_cut;
};
static const struct xml_field page_fields[] = {
	XML_FIELD("Next", XML_CHARS, struct page, next),
	XML_FIELD_REQUIRED("IsCut", XML_BOOL, struct page, is_cut),
};
static const struct xml_form page_form = XML_FORM("List/Page", struct page, page_fields);
struct row {
	char key[8];
	uint64_t size;
};
static const struct xml_field row_fields[] = {
	XML_FIELD_REQUIRED("Key", XML_CHARS, struct row, key),
	XML_FIELD("Size", XML_NUMBER, struct row, size),
};
static const struct xml_form row_form = XML_FORM("List/Page/Row", struct row, row_fields);

static enum err take_row(void *owner, void *to)
{
	struct row *row = to;

	buffer_addf(owner, "%s=%d ", row->key, (int)row->size);
	return strcmp(row->key, "stop") == 0 ? ERR_FIBER_CANCELED : OK;
}

static enum err read_rows(const char *document, struct page *page, struct buffer *rows)
{
	struct row row;
	struct xml_sheet sheets[] = {
		XML_SHEET(&page_form, page),
		XML_ROWS(&row_form, &row, take_row, rows),
	};

	return xml_form_read(PEER, text_of(document), sheets, 2);
}

TEST(rows_are_handed_on_one_by_one)
{
	struct buffer rows = { 0 };
	struct page page;

	CHECK_OK(read_rows("<List><Page><Row><Key>a</Key><Size>1</Size></Row><Next>n</Next>"
			   "<Row><Key>b</Key></Row><IsCut>true</IsCut></Page></List>",
			   &page, &rows));
	CHECK_TEXT(rows.at, "a=1 b=0 ");
	CHECK_TEXT(page.next, "n");
	CHECK(page.is_cut);
	buffer_reset(&rows);
	CHECK_ERR(read_rows("<List><Page><Row><Key>stop</Key></Row><Row><Key>b</Key></Row>", &page,
			    &rows),
		  ERR_FIBER_CANCELED);
	CHECK_TEXT(rows.at, "stop=0 ");
	buffer_free(&rows);
}

TEST(what_is_required_must_be_there)
{
	struct buffer rows = { 0 };
	struct page page;

	CHECK_ERR(read_rows("<List><Page><Row><Key/></Row></Page></List>", &page, &rows),
		  ERR_XML_SYNTAX);
	CHECK(strstr(err_note()->text, "List/Page/Row/Key is missing"));
	err_note_clear();
	CHECK_ERR(read_rows("<List><Page/></List>", &page, &rows), ERR_XML_SYNTAX);
	CHECK(strstr(err_note()->text, "List/Page/IsCut is missing"));
	err_note_clear();
	CHECK_ERR(read_rows("<List><Page><IsCut>false</IsCut></Page>"
			    "<Page><IsCut>false</IsCut></Page></List>",
			    &page, &rows),
		  ERR_XML_SYNTAX);
	CHECK(strstr(err_note()->text, "List/Page comes twice"));
	err_note_clear();
	CHECK_EQ(rows.bytes, 0);
	buffer_free(&rows);
}

/* As a client of STS does it: the struct lies in guarded memory, and the error beside it. */
struct credentials {
	char key_id[129], secret[129], token[2049];
	int64_t expiration;
};
#define CREDENTIALS "AssumeRoleResult/Credentials/"
static const struct xml_field credentials_fields[] = {
	XML_FIELD_REQUIRED(CREDENTIALS "AccessKeyId", XML_CHARS, struct credentials, key_id),
	XML_FIELD_REQUIRED(CREDENTIALS "SecretAccessKey", XML_CHARS, struct credentials, secret),
	XML_FIELD_REQUIRED(CREDENTIALS "SessionToken", XML_CHARS, struct credentials, token),
	XML_FIELD_REQUIRED(CREDENTIALS "Expiration", XML_TIME, struct credentials, expiration),
};
static const struct xml_form credentials_form =
	XML_FORM("AssumeRoleResponse", struct credentials, credentials_fields);

TEST(credentials_come_in_any_pieces)
{
	static char document[4096];
	FILE *file = fopen("tests/vec/s3/sts-assume-role.xml", "re");
	void *room = secret_room_open(sizeof(struct credentials));
	struct credentials *credentials = room;
	struct xml_sheet sheet = XML_SHEET(&credentials_form, credentials);
	size_t bytes;

	REQUIRE(file && room);
	bytes = fread(document, 1, sizeof document, file);
	for (size_t piece = 1; piece <= bytes; piece += piece < 40 ? 1 : 500) {
		struct xml_reader *reader;
		enum err e = xml_reader_open(PEER, bytes, &sheet, 1, &reader);

		for (size_t i = 0; i < bytes && !e; i += piece)
			e = xml_reader_feed(
				reader, (struct text){ document + i, min_u64(piece, bytes - i) });
		CHECK_OK(e);
		CHECK_OK(xml_reader_end(reader));
		xml_reader_close(&reader);
		CHECK_EQ(sheet.count, 1);
		CHECK_TEXT(credentials->key_id, "ASIAIOSFODNN7EXAMPLE");
		CHECK_TEXT(credentials->secret, "wJalrXUtnFEMI/K7MDENG/bPxRfiCYzEXAMPLEKEY");
		CHECK_EQ(strlen(credentials->token), 336);
		CHECK_EQ(credentials->expiration, 1573306481);
	}
	fclose(file);
	secret_room_close(&room);
}
