/* See damage.h. */
#include "tools/damage.h"

#include <stdio.h>

#include "tools/terminal.h"
#include "tools/units.h"
#include "transport/archive_faults.h"

/* By the folder of the object's key (docs/FORMAT.md section 1): what is lost, what to do. */
static const struct {
	const char *part, *advice;
} advices[] = {
	{ "/index/", "Its pack holds the same lines, and they are read from there; bring this "
		     "file back from a copy of the archive" },
	{ "/packs/",
	  "What else it holds is read; bring this file back from a copy of the archive" },
	{ "/packs", "mailhaul verify names them; bring them back from a copy of the archive" },
	{ "/changes/", "Without it flags and folders are older ones, and messages that vanished "
		       "are shown; bring this file back from a copy of the archive" },
	{ "/manifest/", "Messages are read without it; bring this file back from a copy of the "
			"archive" },
	{ "/mailbox.json", "An index that can be read names the mailbox, too; bring this file back "
			   "from a copy of the archive" },
};

static const char *advice_for(const char *key)
{
	for (size_t i = 0; i < ARRAY_COUNT(advices); i++)
		if (strstr(key, advices[i].part))
			return advices[i].advice;
	return "Bring this file back from a copy of the archive";
}

void damage_json(struct json_out *json, const char *key, const char *what)
{
	json_object_begin(json, NULL);
	json_text(json, "kind", "fault");
	json_text(json, "key", key);
	json_text(json, "what", what);
	json_object_end(json);
	json_line_end(json);
}

static void count_file(struct damage *damage, const char *key)
{
	if (strcmp(damage->last_pack, key) == 0)
		return;
	damage->files++;
	if (strstr(key, "/packs/"))
		snprintf(damage->last_pack, sizeof damage->last_pack, "%s", key);
}

void damage_tell(void *context, const char *key, const char *what)
{
	struct damage *damage = context;
	char shown_key[512], shown_what[2 * ERR_NOTE_BYTES_MAX];

	count_file(damage, key);
	fprintf(stderr, "mailhaul: %s: %s: %s. %s.\n", damage->command,
		terminal_text(shown_key, sizeof shown_key, key),
		terminal_text(shown_what, sizeof shown_what, what), advice_for(key));
	if (damage->json)
		damage_json(damage->json, key, what);
}

void damage_tell_note(struct damage *damage, const char *key)
{
	damage_tell(damage, key, archive_fault_what(key));
	err_note_clear();
}

int damage_end(const struct damage *damage, int exit_code)
{
	if (!damage->files)
		return exit_code;
	fprintf(stderr,
		"mailhaul: %s: %llu file%s of the archive could not be read as stored; all that "
		"the others hold was read. mailhaul verify names everything that is wrong.\n",
		damage->command, (unsigned long long)damage->files, units_plural(damage->files));
	return exit_code == EXIT_ALL_MOVED ? EXIT_MISMATCH : exit_code;
}
