/* The second half: libcyaml loads what job_file_check.c found sound, by a schema made of the same
 * table. libcyaml alone would stop at the first fault and name no line for it. */
#include "tools/job_file.h"

#include <cyaml/cyaml.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/job_file_check.h"

enum { SECTIONS_MAX = 16 };

struct row {
	char *values[JOB_ROW_KEYS];
};
/* What libcyaml fills. Sections are not structs of their own: each key has one place. */
struct raw {
	char *values[JOB_KEYS];
	char **items[JOB_KEYS]; /* of lists */
	uint32_t items_count[JOB_KEYS];
	struct row *rows;
	uint32_t rows_count;
};
struct schema {
	cyaml_schema_value_t top, text, row;
	char names[SECTIONS_MAX][16];
	cyaml_schema_field_t top_fields[JOB_KEYS];
	cyaml_schema_field_t
		fields[JOB_KEYS + 2 * SECTIONS_MAX]; /* of sections, each ended by NULL */
};
struct job_file {
	struct raw *raw;
	struct schema schema;
	struct job_lines lines;
};

/* ---- reading ---- */

static enum err read_whole(int fd, char *to, size_t *got)
{
	ssize_t n;

	*got = 0;
	while (*got <= JOB_FILE_BYTES_MAX &&
	       (n = read(fd, to + *got, JOB_FILE_BYTES_MAX + 1 - *got)) != 0) {
		if (n > 0)
			*got += (size_t)n;
		else if (errno != EINTR)
			return RAISE_ERRNO(ERR_INPUT_FILE, errno, "reading the job file");
	}
	return *got <= JOB_FILE_BYTES_MAX ? OK
					  : RAISE(ERR_INPUT_FILE,
						  "is longer than %d bytes; put the mailboxes into "
						  "a CSV and name that "
						  "as mailboxes.csv",
						  JOB_FILE_BYTES_MAX);
}

static enum err read_file(const char *path, char *to, size_t *got)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat status;
	enum err e;

	if (fd < 0 || fstat(fd, &status))
		e = RAISE_ERRNO(ERR_INPUT_FILE, errno, "opening the job file");
	else if (!S_ISREG(status.st_mode))
		e = RAISE(ERR_INPUT_FILE, "is not a regular file");
	else
		e = read_whole(fd, to, got);
	if (fd >= 0)
		close(fd);
	return e;
}

/* ---- loading by libcyaml ---- */

static cyaml_schema_field_t field_of(const struct schema *schema, enum job_key_id id)
{
	cyaml_schema_field_t field = { .key = job_key_name(&job_keys[id]), .value = schema->text };

	field.data_offset = (uint32_t)(offsetof(struct raw, values) + id * sizeof(char *));
	field.value.flags |= CYAML_FLAG_OPTIONAL;
	if (job_key_in_row(id))
		field.data_offset = (uint32_t)(offsetof(struct row, values) +
					       (id - JOB_ROW_FIRST) * sizeof(char *));
	if (job_keys[id].kind != JOB_LIST && job_keys[id].kind != JOB_ROWS)
		return field;
	field.count_size = sizeof(uint32_t);
	field.value = (cyaml_schema_value_t){ CYAML_VALUE_SEQUENCE(
		CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, char *, &schema->text, 0,
		CYAML_UNLIMITED) };
	field.data_offset = (uint32_t)(offsetof(struct raw, items) + id * sizeof(char **));
	field.count_offset = (uint32_t)(offsetof(struct raw, items_count) + id * sizeof(uint32_t));
	if (job_keys[id].kind == JOB_ROWS) {
		field.value.sequence.entry = &schema->row;
		field.value.data_size = sizeof(struct row);
		field.data_offset = offsetof(struct raw, rows);
		field.count_offset = offsetof(struct raw, rows_count);
	}
	return field;
}

static cyaml_schema_value_t mapping_of(const cyaml_schema_field_t *fields, size_t bytes)
{
	return (cyaml_schema_value_t){ .type = CYAML_MAPPING,
				       .flags = CYAML_FLAG_DEFAULT,
				       .data_size = (uint32_t)bytes,
				       .mapping = { .fields = fields } };
}

/* The name of a section without what it is inside of and its dot. */
static const char *name_section(struct schema *schema, size_t *names, struct text section)
{
	const char *from = section.at + section.bytes - 1;
	char *to = schema->names[*names];

	while (from > section.at && from[-1] != '.')
		from--;
	must((size_t)(section.at + section.bytes - from) <= sizeof schema->names[0] &&
	     *names < SECTIONS_MAX);
	++*names;
	snprintf(to, sizeof schema->names[0], "%.*s", (int)(section.at + section.bytes - 1 - from),
		 from);
	return to;
}

/* How many sections are inside this one, of which the first stands at `next` of the table. */
static size_t count_inner(struct text section, size_t next)
{
	struct text last = section;
	size_t count = 0;

	for (; next < JOB_KEYS; next++) {
		struct text inner = job_key_section(&job_keys[next]);

		if (inner.bytes <= section.bytes ||
		    memcmp(inner.at, section.at, section.bytes) != 0)
			break;
		count += !text_equal(inner, last);
		last = inner;
	}
	return count;
}

/* libcyaml's schema from the table. The keys of a section stand beside each other there, and a
 * sections inside another right behind it. */
static void make_schema(struct schema *schema)
{
	cyaml_schema_field_t *top = schema->top_fields, *next = schema->fields, *inner = NULL, *at;
	size_t i = 0, names = 0, inners = 0;

	schema->text = (cyaml_schema_value_t){ CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char *, 0,
								  JOB_TEXT_BYTES_MAX) };
	while (i < JOB_KEYS) {
		struct text section = job_key_section(&job_keys[i]);
		const cyaml_schema_field_t *first = next;

		if (section.bytes == 0) {
			*top++ = field_of(schema, (enum job_key_id)i++);
			continue;
		}
		for (; i < JOB_KEYS && text_equal(job_key_section(&job_keys[i]), section); i++)
			*next++ = field_of(schema, (enum job_key_id)i);
		at = inners > 0 ? inner++ : NULL;
		if (at) {
			inners--;
		} else {
			inner = next;
			next += inners = count_inner(section, i);
		}
		next++; /* stays zero: the end */
		must(next <= schema->fields + ARRAY_COUNT(schema->fields));
		if (section.at == job_keys[JOB_ROW_FIRST].path) {
			schema->row = mapping_of(first, sizeof(struct row));
			continue;
		}
		at = at ? at : top++;
		at->key = name_section(schema, &names, section);
		at->value = mapping_of(first, sizeof(struct raw));
		at->value.flags |= CYAML_FLAG_OPTIONAL;
	}
	schema->top = mapping_of(schema->top_fields, sizeof(struct raw));
	schema->top.flags |= CYAML_FLAG_POINTER;
}

static const cyaml_config_t loading = {
	.mem_fn = cyaml_mem,
	.log_level = CYAML_LOG_ERROR,
	.flags = CYAML_CFG_NO_ALIAS,
};

static enum err load(struct job_file *file, const struct buffer *content)
{
	cyaml_data_t *data = NULL;
	cyaml_err_t failed;

	make_schema(&file->schema);
	failed = cyaml_load_data((const uint8_t *)content->at, content->bytes, &loading,
				 &file->schema.top, &data, NULL);
	file->raw = data;
	if (failed == CYAML_ERR_OOM)
		return RAISE(ERR_MEMORY_EXHAUSTED, "loading the job file");
	must(failed == CYAML_OK); /* it was checked against the same table */
	return OK;
}

/* ---- opening ---- */

static enum err open_content(struct job_file *file, struct job_faults *faults, struct text content)
{
	struct buffer sound = { 0 };
	enum err e = job_file_check(content, faults, &file->lines, &sound);

	if (e == OK && sound.bytes)
		e = load(file, &sound);
	buffer_free(&sound);
	return e;
}

enum err job_file_open(const char *path, struct job_faults *faults, struct job_file **out)
{
	char *at = malloc(JOB_FILE_BYTES_MAX + 1);
	struct job_file *file = calloc(1, sizeof *file);
	size_t bytes = 0;
	enum err e = OK;

	if (!at || !file)
		e = RAISE(ERR_MEMORY_EXHAUSTED, "reading the job file");
	else if ((e = read_file(path, at, &bytes)) == OK)
		e = open_content(file, faults, (struct text){ at, bytes });
	else
		job_fault_raised(faults, 0, "", e);
	free(at);
	if (e == OK && file->raw)
		*out = file;
	else
		job_file_close(&file);
	return e == ERR_INPUT_FILE ? OK : e;
}

void job_file_close(struct job_file **taken)
{
	struct job_file *file = *taken;

	if (!file)
		return;
	cyaml_free(&loading, &file->schema.top, file->raw, 0);
	for (size_t i = 0; i < JOB_KEYS; i++)
		free(file->lines.items[i]);
	free(file->lines.rows);
	free(file);
	*taken = NULL;
}

/* ---- asking ---- */

const char *job_file_text(const struct job_file *file, enum job_key_id id)
{
	const char *text = file->raw->values[id];

	return text ? text : job_key_initial(&job_keys[id]);
}

static uint64_t parsed(enum job_key_id id, const char *text)
{
	uint64_t value;

	must(text != NULL);
	must(job_key_parse(&job_keys[id], text, &value) == OK);
	return value;
}

uint64_t job_file_value(const struct job_file *file, enum job_key_id id)
{
	return parsed(id, job_file_text(file, id));
}

unsigned job_file_line(const struct job_file *file, enum job_key_id id)
{
	return file->lines.keys[id];
}

size_t job_file_items_count(const struct job_file *file, enum job_key_id list)
{
	return file->raw->items_count[list];
}

const char *job_file_item(const struct job_file *file, enum job_key_id list, size_t index)
{
	must(index < file->raw->items_count[list]);
	return file->raw->items[list][index];
}

unsigned job_file_item_line(const struct job_file *file, enum job_key_id list, size_t index)
{
	must(index < file->raw->items_count[list]);
	return file->lines.items[list][index];
}

size_t job_file_rows_count(const struct job_file *file)
{
	return file->raw->rows_count;
}

const char *job_file_row_text(const struct job_file *file, size_t row, enum job_key_id id)
{
	const char *text;

	must(row < file->raw->rows_count && job_key_in_row(id));
	text = file->raw->rows[row].values[id - JOB_ROW_FIRST];
	return text ? text : job_key_initial(&job_keys[id]);
}

uint64_t job_file_row_value(const struct job_file *file, size_t row, enum job_key_id id)
{
	return parsed(id, job_file_row_text(file, row, id));
}

unsigned job_file_row_line(const struct job_file *file, size_t row, enum job_key_id id)
{
	const struct job_row_lines *lines = &file->lines.rows[row];

	must(row < file->raw->rows_count && job_key_in_row(id));
	return lines->keys[id - JOB_ROW_FIRST] ? lines->keys[id - JOB_ROW_FIRST] : lines->first;
}

char *job_file_row_key(size_t row, enum job_key_id id, char to[JOB_KEY_PATH_BYTES_MAX])
{
	snprintf(to, JOB_KEY_PATH_BYTES_MAX, "%s[%zu].%s", job_keys[JOB_KEY_ROWS].path, row,
		 job_key_name(&job_keys[id]));
	return to;
}
