/* For tests of mailbox lists: write one, read it, keep what was told. */
#ifndef MAILHAUL_TESTS_MAILBOX_CSV_HELP_H
#define MAILHAUL_TESTS_MAILBOX_CSV_HELP_H

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "engine/bytes.h"
#include "tests/test.h"
#include "tools/mailbox_csv.h"
#include "tools/mailbox_secret.h"

/* "line|column|text\n" each. */
struct told {
	struct buffer faults, warnings;
	unsigned faults_count;
};

static inline void told_keep(void *context, const struct job_fault *fault)
{
	struct told *told = context;

	buffer_addf(fault->warning ? &told->warnings : &told->faults, "%u|%s|%s\n", fault->line,
		    fault->key, fault->text);
	told->faults_count += !fault->warning;
}

static inline void told_free(struct told *told)
{
	buffer_free(&told->faults);
	buffer_free(&told->warnings);
}

static inline bool told_has(const struct buffer *told, const char *part)
{
	if (told->at && strstr(told->at, part))
		return true;
	printf("  not told: \"%s\" in:\n%s", part, told->at ? told->at : "  nothing\n");
	return false;
}

static inline const char *list_path(void)
{
	static char path[200];

	snprintf(path, sizeof path, "%s/list.csv", test_directory());
	return path;
}

static inline void list_write(const char *text, size_t bytes, mode_t mode)
{
	FILE *file = fopen(list_path(), "w");

	must(file && fwrite(text, 1, bytes, file) == bytes && fclose(file) == 0);
	must(chmod(list_path(), mode) == 0);
}

/* Reads the list as it was written last; with faults *out stays NULL. */
static inline enum err list_read(const char *source, bool target_given, struct told *told,
				 struct mailbox_csv **out)
{
	*out = NULL;
	err_note_clear();
	return mailbox_csv_read(
		list_path(),
		&(struct mailbox_csv_defaults){ .source = source, .target_given = target_given },
		told_keep, told, out);
}

static inline bool secret_is(const struct secret_ref *ref, const char *expected)
{
	struct secret *secret = NULL;
	bool same = false;

	if (ref->kind == SECRET_REF_CSV && mailbox_secret_read(ref, &secret) == OK)
		same = text_equal(secret_text(secret), text_of(expected));
	secret_close(&secret);
	return same;
}

#endif
