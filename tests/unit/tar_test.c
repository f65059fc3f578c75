/* Names, headers and records written; the same fed back in any pieces; damage refused; stock tar.
 */
#include "transport/tar.h"

#include "tests/test.h"
#include "tests/unit/archive_help.h"

static const char *path_of(const char *folder, char separator)
{
	static struct buffer path;

	buffer_reset(&path);
	CHECK_OK(tar_path_add(&path, text_of(folder), separator));
	buffer_add(&path, "", 1);
	return path.at;
}

TEST(folder_names_become_safe_levels)
{
	CHECK_TEXT(path_of("INBOX", '/'), "INBOX");
	CHECK_TEXT(path_of("Work/2014", '/'), "Work/2014");
	CHECK_TEXT(path_of("Work.2014", '.'), "Work/2014");
	CHECK_TEXT(path_of("a/b", '.'), "a%2Fb");
	CHECK_TEXT(path_of("a/b", '\0'), "a%2Fb");
	CHECK_TEXT(path_of("../../x", '/'), "%2E%2E/%2E%2E/x");
	CHECK_TEXT(path_of("..", '/'), "%2E%2E");
	CHECK_TEXT(path_of(".", '/'), "%2E");
	CHECK_TEXT(path_of("/etc", '/'), "%/etc");
	CHECK_TEXT(path_of("", '/'), "%");
	CHECK_TEXT(path_of("a//b/", '/'), "a/%/b/%");
	CHECK_TEXT(path_of("%", '/'), "%25");
	CHECK_TEXT(path_of("-rf ~x", '/'), "%2Drf ~x");
	CHECK_TEXT(path_of("~root", '/'), "%7Eroot");
	CHECK_TEXT(path_of("dot. ", '/'), "dot.%20");
	CHECK_TEXT(path_of("a\nb\x7f\x1b[0m", '/'), "a%0Ab%7F%1B[0m");
	CHECK_TEXT(path_of("C:\\x*?<>|\"", '/'), "C%3A%5Cx%2A%3F%3C%3E%7C%22");
	CHECK_TEXT(path_of("Entw\xC3\xBCrfe", '/'), "Entw\xC3\xBCrfe");
	CHECK_TEXT(path_of("\xFFx\xC3", '/'), "%FFx%C3");
	CHECK_TEXT(path_of("\xC2\x9B", '/'), "%C2%9B");
	CHECK_TEXT(path_of(".mailhaul", '/'), "%2Emailhaul");
}

/* 300 bytes, alike for 299 of them: each level short enough for a file system, no two the same. */
TEST(long_levels_are_cut_and_told_apart)
{
	char one[301], other[301], first[TAR_LEVEL_BYTES_MAX + 1];

	memset(one, 'x', 300);
	one[300] = '\0';
	memcpy(other, one, sizeof one);
	other[299] = 'y';
	snprintf(first, sizeof first, "%s", path_of(one, '/'));
	CHECK_EQ(strlen(first), 200);
	CHECK(first[183] == '~');
	CHECK(strcmp(first, path_of(other, '/')) != 0);
	CHECK_EQ(strlen(path_of(other, '/')), 200);
	for (int i = 0; i < 300; i += 2)
		memcpy(one + i, "\xC3\xA4", 2);
	snprintf(first, sizeof first, "%s", path_of(one, '/'));
	CHECK_EQ(strlen(first), 182 + 17); /* no character is cut in half */
	CHECK(first[182] == '~');
}

TEST(names_never_exceed_their_bound)
{
	char worst[BOX_NAME_BYTES_MAX + 1];

	memset(worst, '\x01', sizeof worst - 1);
	worst[sizeof worst - 1] = '\0';
	for (int i = 60; i < BOX_NAME_BYTES_MAX; i += 61)
		worst[i] = '/';
	CHECK(strlen(path_of(worst, '/')) + 50 <= TAR_NAME_BYTES_MAX);
	memset(worst, '/', sizeof worst - 1);
	CHECK(strlen(path_of(worst, '/')) + 50 <= TAR_NAME_BYTES_MAX);
}

/* The length of a record counts its own digits: values on both sides of 10, 100 and 1000 bytes. */
TEST(record_lengths_count_themselves)
{
	char value[1100];
	struct buffer record = { 0 };

	memset(value, 'v', sizeof value);
	for (size_t n = 0; n < sizeof value; n++) {
		buffer_reset(&record);
		tar_record_add(&record, "k", (struct text){ value, n });
		buffer_add(&record, "", 1);
		CHECK_EQ(strtoul(record.at, NULL, 10), record.bytes - 1);
	}
	buffer_free(&record);
}

/* ---- a tar with what is hard in it, and what reading it back found ---- */

struct seen {
	struct buffer text; /* "name:size:offset:body_offset:sum of bytes;" per member */
	uint64_t sum;
};

static enum err on_begin(void *context, const struct tar_member *member)
{
	struct seen *seen = context;

	buffer_addf(&seen->text, "%s:%llu:%llu:%llu:", member->name,
		    (unsigned long long)member->size_bytes, (unsigned long long)member->offset,
		    (unsigned long long)member->body_offset);
	seen->sum = 0;
	return OK;
}

static enum err on_bytes(void *context, const void *from, size_t n)
{
	struct seen *seen = context;

	for (size_t i = 0; i < n; i++)
		seen->sum = seen->sum * 31 + ((const uint8_t *)from)[i];
	return OK;
}

static enum err on_end(void *context)
{
	struct seen *seen = context;

	buffer_addf(&seen->text, "%llx;", (unsigned long long)seen->sum);
	return OK;
}

static const struct tar_events events = { on_begin, on_bytes, on_end };

static enum err read_back(struct text tar, size_t piece, struct seen *seen)
{
	struct tar_read *reader = NULL;
	enum err e = tar_read_open(&events, seen, &reader);

	buffer_reset(&seen->text);
	for (size_t at = 0, n; at < tar.bytes && !e; at += n) {
		n = min_u64(piece, tar.bytes - at);
		e = tar_read_feed(reader, tar.at + at, n);
	}
	if (!e)
		e = tar_read_finish(reader);
	tar_read_close(&reader);
	buffer_add(&seen->text, "", 1);
	return e;
}

static void add_member(struct buffer *tar, const char *name, const char *record, size_t n)
{
	static const char zeros[TAR_BLOCK_BYTES];
	struct buffer records = { 0 };
	struct tar_entry entry = { text_of(name), n, 1394000000 };
	static uint8_t bytes[5000];

	must(n <= sizeof bytes);
	fill(bytes, n, n);
	if (record)
		tar_record_add(&records, "SCHILY.xattr.user.mailhaul.box", text_of(record));
	tar_head_add(tar, &entry, &records);
	buffer_add(tar, bytes, n);
	buffer_add(tar, zeros, tar_padding(n));
	buffer_free(&records);
}

static struct buffer sample(void)
{
	static const char zeros[TAR_END_BYTES];
	struct buffer tar = { 0 };
	char longer[160];

	memset(longer, 'l', sizeof longer);
	longer[100] = '/';
	longer[sizeof longer - 1] = '\0';
	add_member(&tar, "INBOX/1-0000000001.eml", "INBOX", 5000);
	add_member(&tar, "INBOX/1-0000000002.eml", "INBOX", 0);
	add_member(&tar, longer, NULL, 512);
	add_member(&tar, "Entw\xC3\xBCrfe/1-0000000003.eml", "Entw\xC3\xBCrfe", 1);
	add_member(&tar, "plain", NULL, 511);
	buffer_add(&tar, zeros, sizeof zeros);
	return tar;
}

TEST(any_pieces_read_back_the_same)
{
	static const size_t pieces[] = { 1, 7, 511, 512, 513, 4096, 100000 };
	struct buffer tar = sample();
	struct seen first = { 0 }, seen = { 0 };

	CHECK_OK(read_back((struct text){ tar.at, tar.bytes }, 100000, &first));
	CHECK(strstr(first.text.at, "INBOX/1-0000000001.eml:5000:0:1536:") == first.text.at);
	CHECK(strstr(first.text.at, "Entw\xC3\xBCrfe/1-0000000003.eml:1:") != NULL);
	for (size_t i = 0; i < ARRAY_COUNT(pieces); i++) {
		CHECK_OK(read_back((struct text){ tar.at, tar.bytes }, pieces[i], &seen));
		CHECK_TEXT(seen.text.at, first.text.at);
	}
	buffer_free(&tar);
	buffer_free(&first.text);
	buffer_free(&seen.text);
}

TEST(a_tar_cut_anywhere_is_damage)
{
	struct buffer tar = sample();
	struct seen seen = { 0 };

	for (size_t n = 0; n < tar.bytes; n += n % 512 == 511 ? 1 : 73) {
		CHECK_ERR(read_back((struct text){ tar.at, n }, 4096, &seen), ERR_ARCHIVE_DAMAGED);
		err_note_clear();
	}
	buffer_free(&tar);
	buffer_free(&seen.text);
}

TEST(every_flipped_bit_of_a_header_is_damage)
{
	struct buffer tar = sample();
	struct seen seen = { 0 };

	for (size_t bit = 0; bit < 8 * TAR_BLOCK_BYTES; bit++) {
		tar.at[bit / 8] ^= (char)(1u << bit % 8);
		CHECK(read_back((struct text){ tar.at, tar.bytes }, 4096, &seen) ==
			      ERR_ARCHIVE_DAMAGED ||
		      (bit / 8 >= 154 && bit / 8 < 156)); /* what ends the checksum's digits */
		err_note_clear();
		tar.at[bit / 8] ^= (char)(1u << bit % 8);
	}
	buffer_free(&tar);
	buffer_free(&seen.text);
}

/* A record that lies, with the block's checksum intact. */
static enum err read_record(const char *record, size_t n)
{
	static const char zeros[TAR_END_BYTES];
	struct buffer tar = { 0 }, records = { 0 };
	struct seen seen = { 0 };
	struct tar_entry entry = { text_of("x"), 0, 0 };
	enum err e;

	buffer_add(&records, record, n);
	tar_head_add(&tar, &entry, &records);
	buffer_add(&tar, zeros, sizeof zeros);
	e = read_back((struct text){ tar.at, tar.bytes }, 512, &seen);
	err_note_clear();
	buffer_free(&tar);
	buffer_free(&records);
	buffer_free(&seen.text);
	return e;
}

TEST(records_that_lie_are_damage)
{
	CHECK_ERR(read_record("6 k=v\n", 6), OK);
	CHECK_ERR(read_record("7 k=v\n", 6), ERR_ARCHIVE_DAMAGED);
	CHECK_ERR(read_record("5 k=v\n", 6), ERR_ARCHIVE_DAMAGED);
	CHECK_ERR(read_record("0 k=v\n", 6), ERR_ARCHIVE_DAMAGED);
	CHECK_ERR(read_record("6 k v\n", 6), ERR_ARCHIVE_DAMAGED);
	CHECK_ERR(read_record("k=v\n", 4), ERR_ARCHIVE_DAMAGED);
	CHECK_ERR(read_record("99999999999999999999 k=v\n", 25), ERR_ARCHIVE_DAMAGED);
	CHECK_ERR(read_record("11 path=a\0b\n", 12), ERR_ARCHIVE_DAMAGED);
	CHECK_ERR(read_record("12 path=a\0b\n", 12), ERR_ARCHIVE_DAMAGED);
	CHECK_ERR(read_record("8 path=\n", 8), ERR_ARCHIVE_DAMAGED);
	CHECK_ERR(read_record("11 size=-1\n", 11), ERR_ARCHIVE_DAMAGED);
	CHECK_ERR(read_record("28 size=18446744073709551615\n", 29), ERR_ARCHIVE_DAMAGED);
	CHECK_ERR(read_record("29 size=18446744073709551615\n", 29), ERR_ARCHIVE_DAMAGED);
}

/* More than 8 GiB goes into a record; the header alone could not say it. */
TEST(sizes_past_the_header_go_into_a_record)
{
	struct buffer head = { 0 }, records = { 0 };
	struct tar_entry entry = { text_of("big"), UINT64_C(8589934592), 0 };
	struct seen seen = { 0 };

	tar_head_add(&head, &entry, &records);
	CHECK(head.bytes == 1536 && memcmp(head.at + 512, "19 size=8589934592\n", 19) == 0);
	CHECK_ERR(read_back((struct text){ head.at, head.bytes }, 512, &seen), ERR_ARCHIVE_DAMAGED);
	CHECK(strstr(seen.text.at, "big:8589934592:0:1536:") != NULL);
	buffer_free(&head);
	buffer_free(&records);
	buffer_free(&seen.text);
}

TEST(stock_tar_lists_it_without_a_word_on_stderr)
{
	struct buffer tar = sample();
	char path[200], command[400], output[2000];
	FILE *file;

	if (!have_program("tar"))
		SKIP("tar is not installed");
	snprintf(path, sizeof path, "%s/sample.tar", test_directory());
	REQUIRE((file = fopen(path, "wb")) != NULL);
	CHECK_EQ(fwrite(tar.at, 1, tar.bytes, file), tar.bytes);
	fclose(file);
	snprintf(command, sizeof command, "tar -t --quoting-style=literal -f %s 2>&1", path);
	CHECK_EQ(shell(command, output, sizeof output), 0);
	CHECK(strstr(output, "INBOX/1-0000000001.eml\nINBOX/1-0000000002.eml\nlllll") == output);
	CHECK(strstr(output, "Entw\xC3\xBCrfe/1-0000000003.eml\nplain\n") != NULL);
	CHECK(strstr(output, "tar:") == NULL);
	buffer_free(&tar);
}
