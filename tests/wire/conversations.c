/* See conversations.h. */
#include "tests/wire/conversations.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONVERSATIONS_MAX = 512 };

static int is_conversation(const struct dirent *entry)
{
	size_t n = strlen(entry->d_name);

	return n > 5 && strcmp(entry->d_name + n - 5, ".wire") == 0;
}

unsigned conversations_add(const char *folder, void (*run)(void))
{
	static struct test rows[CONVERSATIONS_MAX];
	static char names[CONVERSATIONS_MAX][200];
	struct dirent **entries = NULL;
	int count = scandir(folder, &entries, is_conversation, alphasort);

	must(count <= CONVERSATIONS_MAX);
	for (int i = 0; i < count; i++) {
		snprintf(names[i], sizeof names[i], "%.*s", (int)strlen(entries[i]->d_name) - 5,
			 entries[i]->d_name);
		rows[i] = (struct test){ .name = names[i], .run = run, .in_fiber = true };
		test_add(&rows[i]);
		free(entries[i]);
	}
	free(entries);
	return count < 0 ? 0 : (unsigned)count;
}
