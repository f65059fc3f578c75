/* Where a mailbox whose messages are objects of their own has what: docs/FORMAT.md section 13.1.
 * Not for: what stands with a message (mime_said.h). */
#ifndef MAILHAUL_EML_LAYOUT_H
#define MAILHAUL_EML_LAYOUT_H

#include "transport/store.h"

enum {
	EML_FOLDER_KEY_BYTES_MAX = 33, /* 16, '-', 16 */
	EML_FOLDER_BYTES_MAX = 16 * 1024,
};

/* The folder's place below "<mailbox>/eml/". */
enum err eml_folder_key(char to[EML_FOLDER_KEY_BYTES_MAX + 1], const char *name) MUST_CHECK;
void eml_folder_file_key(char to[STORE_KEY_BYTES_MAX + 1], const char *mailbox_key,
			 const char *folder_key);
void eml_message_key(char to[STORE_KEY_BYTES_MAX + 1], const char *mailbox_key,
		     const char *folder_key, uint64_t epoch, uint64_t no);

/* What a folder says of itself. Large: keep it off fiber stacks. */
struct eml_folder_file {
	char name[BOX_NAME_BYTES_MAX + 1], raw[BOX_NAME_BYTES_MAX + 1];
	char separator[5], use[16];
	bool subscribed, selectable;
	uint64_t epoch;
};
extern const char eml_folder_name[]; /* "/folder.json" */
void eml_folder_add(struct buffer *, const struct box *);
bool eml_folder_read(struct text, struct eml_folder_file *) MUST_CHECK;

#endif
