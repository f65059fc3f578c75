/* Scratch memory: zeroed, kept while it grows, refused where there is no room. */
#include "engine/scratch.h"

#include <stdlib.h>
#include <unistd.h>

#include "tests/test.h"

enum { STEP = 1 << 20 };

static void check_grows(void)
{
	struct scratch scratch = { 0 };

	for (size_t i = 1; i <= 8; i++) {
		REQUIRE(CHECK_OK(scratch_grow(&scratch, i * STEP)));
		CHECK_EQ(scratch.bytes, i * STEP);
		for (size_t at = (i - 1) * STEP; at < i * STEP; at += 997)
			REQUIRE(scratch.at[at] == 0);
		memset(scratch.at + (i - 1) * STEP, (int)i, STEP);
	}
	CHECK_OK(scratch_grow(&scratch, STEP)); /* never shrinks */
	for (size_t at = 0; at < 8 * STEP; at += 997)
		REQUIRE(scratch.at[at] == at / STEP + 1);
	scratch_close(&scratch);
	CHECK(scratch.at == NULL && scratch.bytes == 0);
	scratch_close(&scratch);
}

TEST(what_is_in_it_stays_while_it_grows)
{
	check_grows();
}

TEST(a_place_that_is_not_there_is_passed_over)
{
	const char *before = getenv("TMPDIR");
	char kept[300];

	snprintf(kept, sizeof kept, "%s", before ? before : "");
	setenv("TMPDIR", "/nowhere/at/all", 1);
	check_grows();
	if (before)
		setenv("TMPDIR", kept, 1);
	else
		unsetenv("TMPDIR");
}

TEST(more_than_there_is_is_an_error_and_what_was_there_stays)
{
	struct scratch scratch = { 0 };
	enum err e;

	REQUIRE(CHECK_OK(scratch_grow(&scratch, STEP)));
	scratch.at[5] = 5;
	e = scratch_grow(&scratch, (size_t)1 << 60);
	CHECK(e == ERR_DISK_FULL || e == ERR_DISK_IO);
	CHECK(strstr(err_note()->text, "TMPDIR") != NULL);
	err_note_clear();
	CHECK_EQ(scratch.bytes, STEP);
	CHECK_EQ(scratch.at[5], 5);
	scratch_close(&scratch);
}
