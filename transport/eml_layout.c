/* See eml_layout.h. */
#include "transport/eml_layout.h"

#include <stdio.h>
#include <stdlib.h>

#include "transport/json.h"

enum { READABLE_BYTES = 16, HASH_BYTES = 8, VERSION = 1 };

const char eml_folder_name[] = "/folder.json";

/* ---- keys ---- */

enum err eml_folder_key(char to[EML_FOLDER_KEY_BYTES_MAX + 1], const char *name)
{
	return store_name_of(to, EML_FOLDER_KEY_BYTES_MAX + 1, name, READABLE_BYTES, HASH_BYTES);
}

void eml_folder_file_key(char to[STORE_KEY_BYTES_MAX + 1], const char *mailbox_key,
			 const char *folder_key)
{
	int n = snprintf(to, STORE_KEY_BYTES_MAX + 1, "%s/eml/%s%s", mailbox_key, folder_key,
			 eml_folder_name);

	must(n > 0 && n <= STORE_KEY_BYTES_MAX);
}

void eml_message_key(char to[STORE_KEY_BYTES_MAX + 1], const char *mailbox_key,
		     const char *folder_key, uint64_t epoch, uint64_t no)
{
	int n = snprintf(to, STORE_KEY_BYTES_MAX + 1, "%s/eml/%s/%llu-%010llu.eml", mailbox_key,
			 folder_key, (unsigned long long)epoch, (unsigned long long)no);

	must(n > 0 && n <= STORE_KEY_BYTES_MAX);
}

/* ---- a folder's own words ---- */

struct folder_file {
	char format[32];
	uint64_t version;
	struct eml_folder_file file;
};

static const struct json_field folder_fields[] = {
	JSON_FIELD("format", JSON_TEXT, struct folder_file, format),
	JSON_FIELD("version", JSON_NUMBER, struct folder_file, version),
	JSON_FIELD("name", JSON_TEXT, struct folder_file, file.name),
	JSON_FIELD("raw", JSON_TEXT, struct folder_file, file.raw),
	JSON_FIELD("sep", JSON_TEXT, struct folder_file, file.separator),
	JSON_FIELD("use", JSON_TEXT, struct folder_file, file.use),
	JSON_FIELD("subscribed", JSON_BOOL, struct folder_file, file.subscribed),
	JSON_FIELD("selectable", JSON_BOOL, struct folder_file, file.selectable),
	JSON_FIELD("epoch", JSON_NUMBER, struct folder_file, file.epoch),
};

void eml_folder_add(struct buffer *to, const struct box *box)
{
	json_begin(to);
	json_add_text(to, "format", text_of("mailhaul-folder"));
	json_add_number(to, "version", VERSION);
	json_add_text(to, "name", text_of(box->name));
	json_add_text(to, "raw", text_of(box->raw));
	json_add_text(to, "sep", (struct text){ &box->separator, box->separator != '\0' });
	json_add_text(to, "use", text_of(box_use_name(box->use)));
	json_add_bool(to, "subscribed", box->subscribed);
	json_add_bool(to, "selectable", box->selectable);
	json_add_number(to, "epoch", box->epoch);
	json_end(to);
}

bool eml_folder_read(struct text text, struct eml_folder_file *out)
{
	struct folder_file *file = calloc(1, sizeof *file);
	bool is_read = file && json_read(text, folder_fields, ARRAY_COUNT(folder_fields), file) &&
		       strcmp(file->format, "mailhaul-folder") == 0 && file->version == VERSION &&
		       file->file.name[0];

	if (is_read)
		*out = file->file;
	free(file);
	return is_read;
}
