#include "tools/job_fault.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { TOLD_OF_FILE_MAX = 50 };

struct kept {
	unsigned line;
	char *key, *text;
};
/* The first faults of one file by their lines, and how many more there were: memory does not grow
 * with a list whose every row is wrong. */
struct job_fault_file {
	const char *path; /* borrowed from the job */
	struct job_fault_file *next;
	unsigned kept_count, more;
	struct kept kept[TOLD_OF_FILE_MAX];
};

static struct job_fault_file *file_of(struct job_faults *faults, const char *path)
{
	struct job_fault_file **at = &faults->files;

	while (*at && (*at)->path != path && strcmp((*at)->path, path) != 0)
		at = &(*at)->next;
	if (!*at && (*at = calloc(1, sizeof **at)))
		(*at)->path = path;
	return *at;
}

static void drop(struct kept *kept)
{
	free(kept->key);
	free(kept->text);
}

/* Behind those of the same line. False without memory. */
static bool keep(struct job_fault_file *file, const struct job_fault *fault)
{
	struct kept new = { .line = fault->line };
	unsigned at = file->kept_count;

	while (at > 0 && file->kept[at - 1].line > fault->line)
		at--;
	if (at == TOLD_OF_FILE_MAX) {
		file->more++;
		return true;
	}
	new.key = strdup(fault->key);
	new.text = strdup(fault->text);
	if (!new.key || !new.text) {
		drop(&new);
		return false;
	}
	if (file->kept_count == TOLD_OF_FILE_MAX) {
		drop(&file->kept[--file->kept_count]);
		file->more++;
	}
	for (unsigned i = file->kept_count++; i > at; i--)
		file->kept[i] = file->kept[i - 1];
	file->kept[at] = new;
	return true;
}

static void tell(const struct job_faults *faults, const struct job_fault *fault)
{
	if (faults->tell)
		faults->tell(faults->context, fault);
}

void job_fault_pass(struct job_faults *faults, const struct job_fault *fault)
{
	struct job_fault_file *file = fault->warning ? NULL : file_of(faults, fault->file);

	faults->count += !fault->warning;
	if (!file || !keep(file, fault))
		tell(faults, fault);
}

void job_fault(struct job_faults *faults, unsigned line, const char *key, const char *format, ...)
{
	char text[ERR_NOTE_BYTES_MAX];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	job_fault_pass(faults, &(struct job_fault){
				       .file = faults->file,
				       .line = line,
				       .key = key,
				       .text = text,
			       });
}

void job_fault_raised(struct job_faults *faults, unsigned line, const char *key, enum err e)
{
	const struct err_note *note = err_note();

	job_fault(faults, line, key, "%s", *note->text ? note->text : err_text(e));
	err_note_clear();
}

/* ---- the end ---- */

static void tell_file(const struct job_faults *faults, const struct job_fault_file *file)
{
	char text[64];

	for (unsigned i = 0; i < file->kept_count; i++)
		tell(faults, &(struct job_fault){ .file = file->path,
						  .line = file->kept[i].line,
						  .key = file->kept[i].key,
						  .text = file->kept[i].text });
	if (!file->more)
		return;
	snprintf(text, sizeof text, "... and %u more", file->more);
	tell(faults, &(struct job_fault){
			     .more = file->more, .file = file->path, .key = "", .text = text });
}

static enum err raise_first(const struct job_fault_file *file)
{
	const struct kept *first = &file->kept[0];
	char line[16] = "";

	if (first->line)
		snprintf(line, sizeof line, ":%u", first->line);
	return RAISE(ERR_INPUT_FILE, "%s%s: %s%s%s", file->path, line, first->key,
		     *first->key ? ": " : "", first->text);
}

enum err job_faults_end(const struct job_faults *faults)
{
	const struct job_fault_file *first = faults->files;

	err_note_clear();
	if (!faults->count)
		return OK;
	return first && first->kept_count ? raise_first(first)
					  : RAISE(ERR_INPUT_FILE, "%s", faults->file);
}

void job_faults_tell(struct job_faults *faults)
{
	struct job_fault_file *next;

	for (struct job_fault_file *file = faults->files; file; file = next) {
		next = file->next;
		tell_file(faults, file);
		for (unsigned i = 0; i < file->kept_count; i++)
			drop(&file->kept[i]);
		free(file);
	}
	faults->files = NULL;
}
