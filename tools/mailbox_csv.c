#include "tools/mailbox_csv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tools/mailbox_row.h"

enum {
	WINDOW_BYTES = 4 * CSV_RECORD_BYTES_MAX, /* all that is in memory of the file */
	ROWS_MAX = 4000000,			 /* several times the largest tenant known */
	SCRATCH_BYTES = 8 * 1024,
	ACCOUNTS_FIRST = 1024,
};

/* What outlives the reading. */
struct mailbox_csv_store {
	struct text_store texts;
	struct mailbox_secrets *secrets;
};

struct reader {
	struct mailbox_csv *list;
	struct mailbox_tell tell;
	struct mailbox_layout layout;
	struct mailbox_maker maker;
	struct csv csv;
	struct csv_record record;
	struct url source;
	char *window;
	size_t at, bytes; /* of the window: done with, and filled */
	uint64_t file_at; /* where the next byte is read */
	bool last;
	size_t rows_room;
	uint32_t *accounts; /* open addressing: row + 1 by its account; 0: free */
	size_t accounts_room;
};

/* Move what is left to the front and fill up behind it. */
static enum err refill(struct reader *reader)
{
	int fd = mailbox_secret_fd(reader->list->store->secrets);
	ssize_t n = 1;

	bytes_move(reader->window, reader->window + reader->at, reader->bytes - reader->at);
	reader->bytes -= reader->at;
	reader->at = 0;
	while (reader->bytes < WINDOW_BYTES && n != 0) {
		n = pread(fd, reader->window + reader->bytes, WINDOW_BYTES - reader->bytes,
			  (off_t)reader->file_at);
		if (n < 0 && errno != EINTR)
			return RAISE_ERRNO(err_of_file_errno(errno), errno,
					   "reading the mailbox list %s", reader->tell.path);
		if (n < 0)
			continue;
		reader->bytes += (size_t)n;
		reader->file_at += (uint64_t)n;
	}
	reader->last = n == 0;
	return OK;
}

static enum err next(struct reader *reader, enum csv_result *result)
{
	enum err e = OK;
	size_t used;

	while ((*result = csv_next(&reader->csv, reader->window + reader->at,
				   reader->bytes - reader->at, reader->last, &reader->record,
				   &used)) == CSV_MORE &&
	       e == OK) {
		reader->at += used;
		e = refill(reader);
	}
	reader->at += used;
	return e;
}

/* ---- accounts seen so far ---- */

/* FNV-1a: the list is its owner's, nobody gains by making it collide. */
static uint64_t hash_of(const char *text)
{
	uint64_t hash = 0xcbf29ce484222325;

	for (; *text; text++)
		hash = (hash ^ (unsigned char)*text) * 0x100000001b3;
	return hash;
}

/* Where the account stands, or the free place where it would. */
static uint32_t *account_place(const struct reader *reader, const char *account)
{
	size_t at = hash_of(account) & (reader->accounts_room - 1);

	while (reader->accounts[at] &&
	       strcmp(reader->list->rows[reader->accounts[at] - 1].account, account) != 0)
		at = (at + 1) & (reader->accounts_room - 1);
	return &reader->accounts[at];
}

static bool accounts_grow(struct reader *reader)
{
	size_t room = max_u64(2 * reader->accounts_room, ACCOUNTS_FIRST);
	uint32_t *accounts = calloc(room, sizeof *accounts);

	if (!accounts)
		return false;
	free(reader->accounts);
	reader->accounts = accounts;
	reader->accounts_room = room;
	for (size_t i = 0; i < reader->list->count; i++) {
		uint32_t *place = account_place(reader, reader->list->rows[i].account);

		if (!*place)
			*place = (uint32_t)(i + 1);
	}
	return true;
}

static bool rows_grow(struct reader *reader)
{
	size_t room = max_u64(2 * reader->rows_room, 256);
	struct mailbox_row *rows = reallocarray(reader->list->rows, room, sizeof *rows);

	if (!rows)
		return false;
	reader->list->rows = rows;
	reader->rows_room = room;
	return true;
}

/* ---- reading ---- */

/* Keep the row, or tell that its mailbox was there before. */
static void take_row(struct reader *reader, const struct mailbox_row *row)
{
	uint32_t *place = account_place(reader, row->account);
	unsigned column = reader->layout.at[SIDE_SOURCE][ROLE_USER];

	if (*place)
		mailbox_tell_fault(&reader->tell, row->line,
				   column ? reader->layout.of[column - 1]->name : "",
				   "the same mailbox stands in line %u (same user and server)",
				   reader->list->rows[*place - 1].line);
	else
		*place = (uint32_t)(reader->list->count + 1);
	reader->list->rows[reader->list->count++] = *row;
}

static enum err read_row(struct reader *reader)
{
	struct mailbox_csv *list = reader->list;
	struct mailbox_row row;
	enum err e;

	if (list->count == ROWS_MAX) {
		mailbox_tell_fault(&reader->tell, reader->record.line, "",
				   "more than %d mailboxes; make several lists of them", ROWS_MAX);
		reader->csv.stopped = true;
		return OK;
	}
	if ((list->count == reader->rows_room && !rows_grow(reader)) ||
	    (2 * list->count >= reader->accounts_room && !accounts_grow(reader)))
		return RAISE(ERR_MEMORY_EXHAUSTED, "keeping a mailbox list");
	csv_decode(&reader->record);
	e = mailbox_row_make(&reader->maker, &reader->record,
			     list->count ? &list->rows[list->count - 1] : NULL, &row);
	if (e == OK && *row.account) /* otherwise it was told why not */
		take_row(reader, &row);
	return e;
}

/* Past comments and blank lines, to a window that holds the whole first record. *result tells what
 * is there; nothing of it is taken. */
static enum err find_first(struct reader *reader, enum csv_result *result)
{
	struct csv csv = reader->csv;
	enum err e = OK;
	size_t used;

	while ((*result = csv_next(&csv, reader->window + reader->at, reader->bytes - reader->at,
				   reader->last, &reader->record, &used)) == CSV_MORE &&
	       e == OK) {
		reader->csv = csv;
		reader->at += used;
		e = refill(reader);
	}
	return e;
}

static bool take_mark(struct reader *reader)
{
	bool utf16;
	size_t bytes = csv_mark(reader->window, reader->bytes, &utf16);

	reader->at = bytes;
	reader->csv.offset = bytes;
	if (utf16)
		mailbox_tell_fault(&reader->tell, 1, "",
				   "the list is in UTF-16, as Excel's \"Unicode Text\" is; save it "
				   "as \"CSV UTF-8\", or convert it: iconv -f UTF-16 -t UTF-8 OLD "
				   "> NEW");
	return !utf16;
}

/* The first record: the dialect. False if the list cannot be read; told or *e. */
static bool read_header(struct reader *reader, enum err *e)
{
	enum csv_result result;
	bool header;

	reader->csv = (struct csv){ .delimiter = ',', .quotes = true, .line = 1 };
	if ((*e = refill(reader)) || !take_mark(reader) || (*e = find_first(reader, &result)))
		return false;
	if (result == CSV_END) {
		mailbox_tell_fault(&reader->tell, 0, "", "the list is empty");
		return false;
	}
	if (!mailbox_dialect_find(&reader->csv, reader->window + reader->at,
				  reader->bytes - reader->at, reader->last, &reader->record,
				  &reader->tell, &reader->layout, &header))
		return false;
	reader->list->dialect = reader->layout.dialect->name;
	return !header || (*e = next(reader, &result)) == OK;
}

static enum err read_rows(struct reader *reader)
{
	enum csv_result result;
	enum err e = OK;

	while (e == OK && (e = next(reader, &result)) == OK && result != CSV_END) {
		if (result == CSV_RECORD)
			e = read_row(reader);
		else
			mailbox_tell_fault(&reader->tell, reader->csv.fault_line, "",
					   "column %u: %s", reader->csv.fault_column,
					   reader->csv.fault);
	}
	return e;
}

/* What can be said only when everything was read. */
static void judge(struct reader *reader)
{
	struct err_note note = { 0 }, *outer;
	enum err e;

	if (reader->list->count == 0 && reader->tell.faults == 0 && !reader->maker.source_missed)
		mailbox_tell_fault(&reader->tell, 0, "", "the list has no mailboxes");
	if (!reader->maker.plain_count)
		return;
	reader->list->passwords_plain = true;
	outer = err_note_swap(&note);
	e = mailbox_secret_check_mode(reader->list->store->secrets);
	err_note_swap(outer);
	if (e)
		mailbox_tell_fault(&reader->tell, reader->maker.plain_line, "", "%s", note.text);
	mailbox_tell_warning(&reader->tell, reader->maker.plain_line, "",
			     "%llu password%s in the list in plain; references (file:, systemd:, "
			     "exec:) are safer",
			     (unsigned long long)reader->maker.plain_count,
			     reader->maker.plain_count == 1 ? " stands" : "s stand");
}

static bool take_source(struct reader *reader, const char *source)
{
	struct err_note note = { 0 }, *outer;
	enum err e;

	if (!*source)
		return true;
	outer = err_note_swap(&note);
	e = url_parse("the job's `source`", source, "source-password-file", &reader->source);
	err_note_swap(outer);
	if (e)
		mailbox_tell_fault(&reader->tell, 0, "source", "%s", note.text);
	reader->maker.source = &reader->source;
	return e == OK;
}

static enum err read_all(struct reader *reader, const struct mailbox_csv_defaults *defaults)
{
	static const char nothing[SCRATCH_BYTES];
	enum err e = OK;

	reader->maker.tell = &reader->tell;
	reader->maker.layout = &reader->layout;
	reader->maker.secrets = reader->list->store->secrets;
	reader->maker.target_given = defaults->target_given;
	reader->maker.source_missed = defaults->source_wrong;
	/* Made large at once: a password does not stay behind in a smaller one that was freed. */
	buffer_add(&reader->maker.text, nothing, sizeof nothing);
	if (take_source(reader, defaults->source) && read_header(reader, &e) &&
	    (e = read_rows(reader)) == OK)
		judge(reader);
	if (e == OK && reader->tell.faults)
		e = ERR_INPUT_FILE;
	return e;
}

static void reader_close(struct reader **reader)
{
	if (!*reader)
		return;
	if ((*reader)->window)
		secret_wipe((*reader)->window, WINDOW_BYTES);
	free((*reader)->window);
	mailbox_row_end(&(*reader)->maker);
	free((*reader)->accounts);
	free(*reader);
	*reader = NULL;
}

static struct mailbox_csv *list_open(void)
{
	struct mailbox_csv *list = calloc(1, sizeof *list);

	if (list && !(list->store = calloc(1, sizeof *list->store))) {
		free(list);
		list = NULL;
	}
	if (list)
		list->dialect = "";
	return list;
}

enum err mailbox_csv_read(const char *path, const struct mailbox_csv_defaults *defaults,
			  void (*fault)(void *context, const struct job_fault *), void *context,
			  struct mailbox_csv **out)
{
	struct mailbox_csv *list = list_open();
	struct reader *reader = calloc(1, sizeof *reader);
	enum err e;

	if (!list || !reader || !(reader->window = malloc(WINDOW_BYTES))) {
		e = RAISE(ERR_MEMORY_EXHAUSTED, "reading the mailbox list %s", path);
		goto out;
	}
	reader->list = list;
	reader->tell = (struct mailbox_tell){ .fault = fault, .context = context, .path = path };
	if ((e = mailbox_secret_open(path, &list->store->secrets)) == OK)
		e = read_all(reader, defaults);
	list->store->texts = reader->maker.texts;
out:
	reader_close(&reader);
	if (e)
		mailbox_csv_close(&list);
	else
		*out = list;
	return e;
}

void mailbox_csv_close(struct mailbox_csv **list)
{
	if (!*list)
		return;
	text_store_free(&(*list)->store->texts);
	mailbox_secret_close(&(*list)->store->secrets);
	free((*list)->store);
	free((*list)->rows);
	free(*list);
	*list = NULL;
}
