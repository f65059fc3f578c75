/* See conversations.h. */
#include "tests/wire/conversations.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/wire/play.h"
#include "transport/conn.h"

enum { CONVERSATIONS_MAX = 512 };

static const struct play_kind *played; /* the program's */
static unsigned played_count;

static int is_conversation(const struct dirent *entry)
{
	size_t n = strlen(entry->d_name);

	return n > 5 && strcmp(entry->d_name + n - 5, ".wire") == 0;
}

static void play_tricks(const char *path)
{
	unsigned lines = wire_lines_for_tricks(path), plays = 0;

	for (unsigned t = 0; t < wire_tricks_count; t++)
		for (unsigned at = 0; at < lines; at++) {
			struct wire_way way = { .trick = &wire_tricks[t], .at = at };

			plays += play_once(played, path, &way);
		}
	CHECK(!lines || plays > lines);
	if (plays)
		printf("  %u plays with a trick in them\n", plays);
}

static void play(void)
{
	const char *seed = getenv("SEED");
	bool more = true;
	char path[300];

	snprintf(path, sizeof path, "%s/%.250s.wire", played->folder, test_name());
	for (unsigned n = 0; more; n++)
		more = play_once(played, path, &(struct wire_way){ .each = n }) &&
		       play_once(played, path, &(struct wire_way){ .each = n, .piece = 1 }) &&
		       play_once(played, path,
				 &(struct wire_way){
					 .each = n,
					 .seed = seed ? (unsigned)strtoul(seed, NULL, 10) : 1,
				 });
	if (!getenv("WIRE_SHORT"))
		play_tricks(path);
	conn_thread_cleanup();
}

void conversations_add(const struct play_kind *kind)
{
	static struct test rows[CONVERSATIONS_MAX];
	static char names[CONVERSATIONS_MAX][200];
	struct dirent **entries = NULL;
	int count = scandir(kind->folder, &entries, is_conversation, alphasort);

	must(!played && count <= CONVERSATIONS_MAX);
	played = kind;
	played_count = count < 0 ? 0 : (unsigned)count;
	for (int i = 0; i < count; i++) {
		snprintf(names[i], sizeof names[i], "%.*s", (int)strlen(entries[i]->d_name) - 5,
			 entries[i]->d_name);
		rows[i] = (struct test){ .name = names[i], .run = play, .in_fiber = true };
		test_add(&rows[i]);
		free(entries[i]);
	}
	free(entries);
}

unsigned conversations_count(void)
{
	return played_count;
}
