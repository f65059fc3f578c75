#include "tools/safe_path.h"

#include "tests/test.h"

static struct buffer path;

static const char *box(const char *name, char separator)
{
	buffer_reset(&path);
	safe_path_add_box(&path, name, separator);
	buffer_add(&path, "", 1);
	must(!path.failed);
	return path.at;
}

/* No component is "." or "..", is empty, begins with a dot or exceeds what file systems take. */
static bool is_safe(const char *at)
{
	while (*at) {
		size_t bytes;

		if (*at++ != '/')
			return false;
		bytes = strcspn(at, "/");
		if (!bytes || *at == '.' || bytes > 255)
			return false;
		for (size_t i = 0; i < bytes; i++)
			if ((uint8_t)at[i] < 0x20 || at[i] == 0x7f)
				return false;
		at += bytes;
	}
	return true;
}

TEST(ordinary_folders_keep_their_names)
{
	CHECK_TEXT(box("INBOX", '/'), "/INBOX");
	CHECK_TEXT(box("Work/2019", '/'), "/Work/2019");
	CHECK_TEXT(box("Work.2019", '.'), "/Work/2019");
	CHECK_TEXT(box("Entw\xc3\xbcrfe", '.'), "/Entw\xc3\xbcrfe");
	CHECK_TEXT(box("a.b", '/'), "/a.b");
	buffer_free(&path);
}

TEST(no_folder_leads_elsewhere)
{
	static const char *const names[] = {
		"../../x", "..",  ".",	 "/etc/passwd",		 "a//b", "",	"/",
		"a/../b",  "./a", "a/.", ".ssh/authorized_keys", "a\nb", "\x7f"
	};

	for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
		CHECK(is_safe(box(names[i], '/')));
		CHECK(is_safe(box(names[i], '.')));
		CHECK(is_safe(box(names[i], '\0')));
	}
	CHECK_TEXT(box("../../x", '/'), "/%2E./%2E./x");
	CHECK_TEXT(box("../../x", '\0'), "/%2E.%2F..%2Fx");
	CHECK_TEXT(box("a//b", '/'), "/a/%/b");
	buffer_free(&path);
}

TEST(a_folder_is_never_taken_for_a_message)
{
	CHECK_TEXT(box("1.eml", '/'), "/1%2Eeml");
	CHECK_TEXT(box("1.EML", '/'), "/1%2EEML");
	CHECK_TEXT(box("1.eml.x", '/'), "/1.eml.x");
	buffer_free(&path);
}

TEST(a_name_of_any_length_fits_and_stays_its_own)
{
	static char a[1025], b[1025], first[2048];

	memset(a, 'x', sizeof a);
	memset(b, 'x', sizeof b);
	a[300] = b[300] = '\0';
	b[299] = 'y';
	snprintf(first, sizeof first, "%s", box(a, '/'));
	CHECK(is_safe(first) && is_safe(box(b, '/')));
	CHECK(strcmp(first, box(b, '/')) != 0);
	CHECK_TEXT(first, box(a, '/')); /* the same each time */
	memset(a, '%', sizeof a);
	a[1024] = '\0';
	CHECK(is_safe(box(a, '/')));
	a[200] = '\0';
	memset(a, 'x', 200);
	CHECK_EQ(strlen(box(a, '/')), 201); /* just fits: not cut */
	buffer_free(&path);
}

/* 200 bytes end inside a character of two bytes, and inside an escape. */
TEST(a_cut_leaves_characters_and_escapes_whole)
{
	char name[400];

	memset(name, 'x', sizeof name);
	for (unsigned i = 1; i + 1 < sizeof name; i += 2)
		bytes_copy(name + i, "\xc3\xbc", 2, BYTES_META);
	name[sizeof name - 1] = '\0';
	box(name, '/');
	CHECK(strchr(path.at, '~') == path.at + 1 + 199);
	memset(name, '%', 399);
	box(name, '/');
	CHECK(strchr(path.at, '~') == path.at + 1 + 198);
	buffer_free(&path);
}

TEST(different_names_have_different_paths)
{
	static const char *const names[] = { "a", "A", "a%", "a%25",  "%2E.", "..",
					     ".", "%", "",   "a\x01", "a%01" };
	char seen[ARRAY_COUNT(names)][64];

	for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
		snprintf(seen[i], sizeof seen[i], "%s", box(names[i], '\0'));
		for (size_t j = 0; j < i; j++)
			CHECK(strcmp(seen[i], seen[j]) != 0);
	}
	buffer_free(&path);
}
