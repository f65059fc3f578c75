/* Folders of a Maildir++: whatever the source calls a folder, it is one directory in the Maildir,
 * and two folders are two directories. */
#include "tests/test.h"
#include "tools/maildir_name.h"

static const char *named(const char *name, char separator, bool utf8)
{
	static char text[400];
	struct buffer to = { 0 };

	CHECK_OK(maildir_name_add(&to, name, separator, utf8));
	snprintf(text, sizeof text, "%s", to.at);
	buffer_free(&to);
	return text;
}

TEST(levels_are_joined_by_dots_and_spelled_as_dovecot_reads_them)
{
	CHECK_TEXT(named("Work/2019", '/', false), ".Work.2019");
	CHECK_TEXT(named("Work.2019", '.', false), ".Work.2019");
	CHECK_TEXT(named("INBOX/Below", '/', false), ".INBOX.Below");
	CHECK_TEXT(named("R&D/K\xC3\xB6ln", '/', false), ".R&-D.K&APY-ln");
	CHECK_TEXT(named("R&D/K\xC3\xB6ln", '/', true), ".R&D.K\xC3\xB6ln");
}

TEST(what_could_lead_elsewhere_is_escaped)
{
	CHECK_TEXT(named("../../etc", '/', false), ".%2E%2E.%2E%2E.etc");
	CHECK_TEXT(named("/etc/passwd", '/', false), ".%.etc.passwd");
	CHECK_TEXT(named("a/b.c", '\0', false), ".a%2Fb%2Ec");
	CHECK_TEXT(named("~root", '/', false), ".%7Eroot");
	CHECK_TEXT(named("a\nb\x7F", '/', false), ".a%0Ab%7F");
	CHECK_TEXT(named("\xFF\xC3", '/', false), ".%FF%C3");
	CHECK_TEXT(named("100%", '/', false), ".100%25");
	CHECK_TEXT(named("", '/', false), ".%");
	CHECK_TEXT(named("a//b/", '/', false), ".a.%.b.%");
}

TEST(names_that_look_alike_stay_apart)
{
	static const char *const names[] = { "a/b", "a.b", "a%2Eb", "a%2Fb", "a", "%", "%25", "" };
	char seen[ARRAY_COUNT(names)][400];

	for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
		snprintf(seen[i], sizeof seen[i], "%s", named(names[i], '/', false));
		for (size_t j = 0; j < i; j++)
			CHECK(strcmp(seen[i], seen[j]) != 0);
	}
}

/* Of every length and of characters of every width; the cut breaks neither those nor an escape. */
TEST(long_names_are_cut_and_stay_apart)
{
	static const char *const pieces[] = { "x",  "\xC3\xB6", "\xE6\x97\xA5", "\xF0\x9F\x98\x80",
					      "a/", ".",	"x\xC3\xB6" };
	char name[1100], one[400], other[400];

	for (size_t p = 0; p < ARRAY_COUNT(pieces); p++)
		for (size_t length = 1; length + 5 < 1024; length += 7) {
			size_t used = 0, n = strlen(pieces[p]);

			for (; used + n < length; used += n)
				memcpy(name + used, pieces[p], n);
			strcpy(name + used, "1");
			snprintf(one, sizeof one, "%s", named(name, '/', p % 2));
			strcpy(name + used, "2");
			snprintf(other, sizeof other, "%s", named(name, '/', p % 2));
			CHECK(strcmp(one, other) != 0);
			CHECK(strlen(one) <= MAILDIR_NAME_BYTES_MAX && !strchr(one, '/'));
			CHECK(one[0] == '.' && one[1] != '.' && one[1] != '\0');
		}
	CHECK(strchr(one, '~') != NULL);
}
