/* What every error means, and the note that says what was being done when it happened. Not for:
 * what to do about an error (engine/retry.c). */
#include "engine/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/bytes.h"

struct err_row {
	const char *name, *text;
	enum err_retry retry;
	int exit_code;
};

static const struct err_row rows[ERR_COUNT] = {
	[OK] = { "OK", "all is well", RETRY_NONE, EXIT_ALL_MOVED },
#define ERR(domain, code, retry_class, exit_value, sentence)                                       \
	[ERR_##domain##_##code] = { #domain "_" #code, sentence, RETRY_##retry_class, exit_value },
#include "engine/err.def"
#undef ERR
};

/* Outside fibers a thread has a note of its own; the fiber switch points `current` elsewhere. */
static _Thread_local struct err_note thread_note;
static _Thread_local struct err_note *current;

void must_failed(const char *condition, const char *file, int line, const char *function)
{
	const struct err_note *note = err_note();

	fprintf(stderr, "mailhaul: broken promise in %s (%s:%d): %s\n", function, file, line,
		condition);
	if (note->error)
		fprintf(stderr, "mailhaul: last error noted: %s (%s:%d)\n", note->text, note->file,
			note->line);
	abort();
}

static const struct err_row *row_of(enum err e)
{
	must((unsigned)e < ERR_COUNT);
	return &rows[e];
}

const char *err_name(enum err e)
{
	return row_of(e)->name;
}

const char *err_text(enum err e)
{
	return row_of(e)->text;
}

enum err_retry err_retry_class(enum err e)
{
	return row_of(e)->retry;
}

int err_exit_code(enum err e)
{
	return row_of(e)->exit_code;
}

bool err_from_name(struct text name, enum err *out)
{
	for (unsigned i = 0; i < ERR_COUNT; i++)
		if (text_equal(name, text_of(rows[i].name))) {
			*out = (enum err)i;
			return true;
		}
	return false;
}

struct err_note *err_note(void)
{
	return current ? current : &thread_note;
}

void err_note_clear(void)
{
	struct err_note *note = err_note();

	/* The text is left where it is: 400 bytes need no wiping, an empty string is enough. */
	note->error = OK;
	note->errno_value = 0;
	note->scope = ERR_OF_MAILBOX;
	note->retry_after = 0;
	note->file = NULL;
	note->line = 0;
	note->text[0] = '\0';
}

void err_retry_after(nsec duration, enum err_scope scope)
{
	struct err_note *note = err_note();

	must(duration >= 0);
	if (note->error)
		return; /* what follows is not the cause */
	note->scope = scope;
	note->retry_after = duration;
}

void err_note_inherit(const struct err_note *kept)
{
	if (kept->error && !err_note()->error)
		*err_note() = *kept;
}

struct err_note *err_note_swap(struct err_note *note)
{
	struct err_note *before = current;

	current = note;
	return before;
}

/* ": No space left on device", as far as it fits. */
static void append_errno(struct err_note *note, size_t length)
{
	char text[100];

	snprintf(note->text + length, sizeof note->text - length, ": %s",
		 strerror_r(note->errno_value, text, sizeof text));
}

enum err err_raise(enum err e, int errno_value, const char *file, int line, const char *format, ...)
{
	struct err_note *note = err_note();
	va_list arguments;
	int length;

	must(e != OK && (unsigned)e < ERR_COUNT);
	must(errno_value >= 0);
	if (note->error)
		return e; /* the first one is the cause */
	note->error = e;
	note->errno_value = errno_value;
	note->file = file;
	note->line = line;
	va_start(arguments, format);
	length = vsnprintf(note->text, sizeof note->text, format, arguments);
	va_end(arguments);
	must(length >= 0);
	if (errno_value && (size_t)length < sizeof note->text)
		append_errno(note, (size_t)length);
	return e;
}

enum err err_of_file_errno(int errno_value)
{
	must(errno_value > 0);
	switch (errno_value) {
	case ENOSPC:
	case EDQUOT:
		return ERR_DISK_FULL;
	case EROFS:
		return ERR_DISK_READ_ONLY;
	case EACCES:
	case EPERM:
		return ERR_DISK_DENIED;
	case ENOENT:
	case ENOTDIR:
		return ERR_DISK_ABSENT;
	case EEXIST:
	case ENOTEMPTY:
		return ERR_DISK_EXISTS;
	default:
		return ERR_DISK_IO;
	}
}

/* What one character of `from` looks like when shown; returns how many bytes of `from` that was. A
 * whole UTF-8 character stays, everything a terminal could act on becomes \xNN. */
static size_t quote_one(char shown[5], const char *from, size_t bytes)
{
	size_t length = bytes_utf8_length(from, bytes);
	uint8_t byte = (uint8_t)*from;
	bool plain = byte >= 0x20 && byte != 0x7f && byte != '"' && byte != '\\';

	if (length > 0 && plain) {
		bytes_copy(shown, from, length, BYTES_META);
		shown[length] = '\0';
		return length;
	}
	snprintf(shown, 5, "\\x%02x", byte);
	return 1;
}

char *err_quote(char *to, size_t to_bytes, struct text from)
{
	size_t used = 0, fits = 0, taken = 0, length;
	char shown[5];

	must(to_bytes >= 4); /* room for "..." */
	while (taken < from.bytes) {
		taken += quote_one(shown, from.at + taken, from.bytes - taken);
		length = strlen(shown);
		if (used + length >= to_bytes)
			break;
		bytes_copy(to + used, shown, length, BYTES_META);
		used += length;
		if (used + 4 <= to_bytes)
			fits = used; /* the last place where "..." still has room */
		shown[0] = '\0';
	}
	to[used] = '\0';
	if (from.bytes > 0 && shown[0])
		memcpy(to + fits, "...", 4);
	return to;
}
