/* The job file as it is written, loaded by libcyaml, whose only door this is, after it was checked
 * against the table of keys (tools/job_file_check.h): every value asked for here is one its key may
 * have. Not for: what the values mean together (tools/job.c). */
#ifndef MAILHAUL_TOOLS_JOB_FILE_H
#define MAILHAUL_TOOLS_JOB_FILE_H

#include "tools/job_fault.h"
#include "tools/job_keys.h"

enum { JOB_FILE_BYTES_MAX = 1024 * 1024 };

struct job_file;

/* Every fault is told with its line and key; what is sound can be asked for all the same. Blocks.
 * *out stays NULL if there is no sense in the file at all.
 * returns     OK | ERR_MEMORY_EXHAUSTED */
enum err job_file_open(const char *path, struct job_faults *, struct job_file **) MUST_CHECK;
void job_file_close(struct job_file **);

/* A key outside of lists: as written, or its default, or NULL. Borrowed. */
const char *job_file_text(const struct job_file *, enum job_key_id);
/* The same, parsed (job_key_parse()); it has a default or was written. */
uint64_t job_file_value(const struct job_file *, enum job_key_id);
/* Where the key stands; 0: not written. */
unsigned job_file_line(const struct job_file *, enum job_key_id);

size_t job_file_items_count(const struct job_file *, enum job_key_id list);
const char *job_file_item(const struct job_file *, enum job_key_id list, size_t index);
unsigned job_file_item_line(const struct job_file *, enum job_key_id list, size_t index);

/* mailboxes.list[row]; `id` is one of its keys. Without the key: the default or NULL, and the line
 * in which the row begins. */
size_t job_file_rows_count(const struct job_file *);
const char *job_file_row_text(const struct job_file *, size_t row, enum job_key_id id);
uint64_t job_file_row_value(const struct job_file *, size_t row, enum job_key_id id);
unsigned job_file_row_line(const struct job_file *, size_t row, enum job_key_id id);
/* "mailboxes.list[3].password"; returns `to`. */
char *job_file_row_key(size_t row, enum job_key_id id, char to[JOB_KEY_PATH_BYTES_MAX]);

#endif
