/* See eml_folders.h. */
#include "transport/eml_folders.h"

#include <stdio.h>
#include <stdlib.h>

void eml_folders_free(struct eml_folders *folders)
{
	name_table_free(&folders->keys);
}

/* Those that an earlier run made; whether they are called what they should be is looked at when
 * there is something to be stored in them. */
static enum err list_folders(struct eml_folders *folders, struct archive_entry *entry)
{
	char prefix[STORE_KEY_BYTES_MAX + 1];
	struct buffer names = { 0 };
	const char *name = NULL;
	enum err e;

	if (folders->listed)
		return OK;
	snprintf(prefix, sizeof prefix, "%s/eml", entry->mailbox_key);
	e = entry->store->type->list(entry->store, prefix, &names);
	while (!e && store_names_next(&names, &name))
		e = name_table_put(&folders->keys, text_of(name), 0);
	folders->listed = e == OK;
	buffer_free(&names);
	return e;
}

static enum err write_folder(struct eml_folders *folders, struct archive_entry *entry,
			     const char *key, const struct box *box)
{
	char file_key[STORE_KEY_BYTES_MAX + 1];
	struct buffer text = { 0 };
	enum err e;

	eml_folder_file_key(file_key, entry->mailbox_key, key);
	eml_folder_add(&text, box);
	e = text.failed ? RAISE(ERR_MEMORY_EXHAUSTED, "naming a folder")
			: store_put_whole(entry->store, file_key, text.at, text.bytes);
	buffer_free(&text);
	if (!e)
		return name_table_put(&folders->keys, text_of(key), 1);
	if (e != ERR_DISK_EXISTS)
		return e;
	err_note_clear();
	return name_table_put(&folders->keys, text_of(key), 0);
}

enum err eml_folders_meet(struct eml_folders *folders, struct archive_entry *entry,
			  const struct box *box)
{
	char key[EML_FOLDER_KEY_BYTES_MAX + 1];
	enum err e;

	if ((e = eml_folder_key(key, box->name)) || (e = list_folders(folders, entry)))
		return e;
	return name_table_find(&folders->keys, text_of(key)) == NAME_TABLE_NONE
		       ? write_folder(folders, entry, key, box)
		       : OK;
}

/* Two names may have one key; what says the name is that of the first. */
enum err eml_folders_check(struct eml_folders *folders, struct archive_entry *entry,
			   const char *key, const char *name)
{
	char file_key[STORE_KEY_BYTES_MAX + 1];
	struct eml_folder_file *file;
	struct buffer text = { 0 };
	enum err e;

	if (name_table_find(&folders->keys, text_of(key)) == 1)
		return OK;
	if (!(file = calloc(1, sizeof *file)))
		return RAISE(ERR_MEMORY_EXHAUSTED, "looking at a folder");
	eml_folder_file_key(file_key, entry->mailbox_key, key);
	e = store_get_whole(entry->store, file_key, EML_FOLDER_BYTES_MAX, &text);
	if (!e && !eml_folder_read((struct text){ text.at, text.bytes }, file))
		e = RAISE(ERR_SINK_DAMAGED, "%s does not parse", file_key);
	if (!e && strcmp(file->name, name) != 0)
		e = RAISE(ERR_SINK_BOX, "folder \"%.200s\": its place %s is that of \"%.200s\"",
			  name, file_key, file->name);
	if (!e)
		e = name_table_put(&folders->keys, text_of(key), 1);
	buffer_free(&text);
	free(file);
	return e;
}
