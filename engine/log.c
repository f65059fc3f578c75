/* Events, one line and one write(2) each. A value can hold anything a server sends, so where a
 * value begins and ends is taken from the caller's format, never found in the formatted text: a
 * folder named `x" level=error` stays one value. */
#include "engine/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "engine/bytes.h"
#include "engine/clock.h"

enum {
	/* PIPE_BUF: a pipe that is writable takes so much in one piece, so lines of several threads
	 * or processes never mix and the write never blocks. */
	LINE_BYTES_MAX = 4096,
	KEYS_BYTES_MAX = 2048, /* of one event, formatted, before escaping */
	FORMAT_BYTES_MAX = 512,
};

static struct {
	int fd;
	bool is_ours; /* the file behind `path`, closed here */
	bool is_terminal;
	enum log_level level;
	bool json, names, traces;
	char path[PATH_MAX];
	const char *(*mailbox)(void);
	pthread_t opener;
} settings = { .fd = STDERR_FILENO, .level = LOG_WARN, .names = true };

static atomic_bool reopen_asked;

/* One line is written at a time: a pipe that poll() finds writable is so until we write, and a view
 * is taken off its terminal once. `lock` also guards settings.fd and this. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
	void (*before)(void), (*after)(void);
	unsigned long long dropped;
	bool torn; /* the disk took the first part of a line only */
} output;

static const char *const level_names[] = { "debug", "info", "warn", "error", "trace" };

/* ---- where lines go ---- */

static void set_file(int fd, bool is_ours)
{
	int before;

	pthread_mutex_lock(&lock);
	before = settings.is_ours ? settings.fd : -1;
	settings.fd = fd;
	settings.is_ours = is_ours;
	settings.is_terminal = isatty(fd) == 1;
	output.torn = false;
	pthread_mutex_unlock(&lock);
	if (before >= 0)
		close(before);
}

static void set(int fd, const struct log_config *config)
{
	must(fd >= 0);
	must(config->level <= LOG_ERROR);
	set_file(fd, config->path != NULL);
	snprintf(settings.path, sizeof settings.path, "%s", config->path ? config->path : "");
	settings.level = config->level;
	settings.json = config->json;
	settings.names = config->names;
	settings.opener = pthread_self();
}

void log_setup(int fd, enum log_level level, bool json)
{
	set(fd, &(struct log_config){ .level = level, .json = json, .names = true });
}

/* O_NONBLOCK is for a path that is a FIFO: without a reader it is refused instead of waited for. */
static int open_path(const char *path)
{
	return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);
}

enum err log_open(const struct log_config *config)
{
	struct log_config own = *config;
	int fd = STDERR_FILENO;

	if (!own.path || !*own.path)
		own.path = NULL;
	else if (strlen(own.path) >= sizeof settings.path)
		return RAISE(ERR_INPUT_FILE, "the log file's path has %zu bytes; %zu are allowed",
			     strlen(own.path), sizeof settings.path - 1);
	else if ((fd = open_path(own.path)) < 0)
		return RAISE_ERRNO(ERR_INPUT_FILE, errno, "opening the log file %s", own.path);
	set(fd, &own);
	return OK;
}

void log_reopen(void)
{
	atomic_store(&reopen_asked, true);
}

static void reopen(void)
{
	int fd;

	if (!*settings.path)
		return;
	if ((fd = open_path(settings.path)) >= 0)
		set_file(fd, true);
	else
		log_event(LOG_WARN, "log.reopen_failed", "path=\"%s\" errno=%d", settings.path,
			  errno);
}

/* The thread that opened the log may do so again; others may be confined and make no files. */
void log_attend(void)
{
	if (atomic_load_explicit(&reopen_asked, memory_order_relaxed) &&
	    pthread_equal(pthread_self(), settings.opener) && atomic_exchange(&reopen_asked, false))
		reopen();
}

void log_set_around(void (*before)(void), void (*after)(void))
{
	must(!before == !after);
	pthread_mutex_lock(&lock);
	output.before = before;
	output.after = after;
	pthread_mutex_unlock(&lock);
}

void log_set_mailbox(const char *(*mailbox)(void))
{
	settings.mailbox = mailbox;
}

void log_set_trace(bool wanted)
{
	settings.traces = wanted;
}

bool log_traces(void)
{
	return settings.traces;
}

static bool is_wanted(enum log_level level)
{
	return level == LOG_TRACE ? settings.traces : level >= settings.level;
}

/* ---- the line being built ---- */

struct line {
	size_t bytes;
	char at[LINE_BYTES_MAX];
};

/* Room is kept for what closes the line: a quote, a brace, the line end. */
static bool line_add(struct line *line, const char *from, size_t n)
{
	if (n > sizeof line->at - 4 - line->bytes)
		return false;
	bytes_copy(line->at + line->bytes, from, n, BYTES_META);
	line->bytes += n;
	return true;
}

static bool line_add_text(struct line *line, const char *string)
{
	return line_add(line, string, strlen(string));
}

/* One character of a value, escaped; returns how many bytes of `from` it was, 0 when the line is
 * full. */
static size_t add_escaped(struct line *line, const char *from, size_t n)
{
	size_t length = bytes_utf8_length(from, n);
	uint8_t byte = (uint8_t)*from;
	char shown[8];

	if (byte == '"' || byte == '\\')
		snprintf(shown, sizeof shown, "\\%c", byte);
	else if (length == 0 && settings.json)
		snprintf(shown, sizeof shown, "\\ufffd"); /* JSON is UTF-8: RFC 8259 section 8.1 */
	else if (length == 0 || ((byte < 0x20 || byte == 0x7f) && !settings.json))
		snprintf(shown, sizeof shown, "\\x%02x", byte);
	else if (byte < 0x20 || byte == 0x7f)
		snprintf(shown, sizeof shown, "\\u%04x", byte);
	else
		return line_add(line, from, length) ? length : 0;
	return line_add_text(line, shown) ? max_u64(length, 1) : 0;
}

static void add_quoted(struct line *line, struct text value)
{
	size_t taken;

	line->at[line->bytes++] = '"';
	while (value.bytes > 0 && (taken = add_escaped(line, value.at, value.bytes)) > 0) {
		value.at += taken;
		value.bytes -= taken;
	}
	line->at[line->bytes++] = '"';
	must(line->bytes <= sizeof line->at - 2);
}

/* A value that a reader of key=value lines cannot misread. */
static bool is_plain(struct text value)
{
	for (size_t i = 0; i < value.bytes; i++)
		if ((uint8_t)value.at[i] <= ' ' || (uint8_t)value.at[i] >= 0x7f ||
		    value.at[i] == '"' || value.at[i] == '\\' || value.at[i] == '=')
			return false;
	return value.bytes > 0;
}

/* A pair is left out whole when its key has no room; its value may be cut. */
static void add_pair(struct line *line, struct text key, struct text value, bool is_number)
{
	size_t overhead = 8 + (is_number ? value.bytes : 0);

	if (line->bytes + key.bytes + overhead > sizeof line->at - 4)
		return;
	if (line->bytes > 0 && !(settings.json && line->bytes == 1))
		(void)line_add_text(line, settings.json ? "," : " ");
	if (settings.json)
		add_quoted(line, key);
	else
		(void)line_add(line, key.at, key.bytes);
	(void)line_add_text(line, settings.json ? ":" : "=");
	if (is_number ||
	    (!settings.json && is_plain(value) && value.bytes <= sizeof line->at - 4 - line->bytes))
		(void)line_add(line, value.at, value.bytes);
	else
		add_quoted(line, value);
}

static void add_pair_text(struct line *line, const char *key, const char *value)
{
	add_pair(line, text_of(key), text_of(value), false);
}

static void line_begin(struct line *line, enum log_level level, const char *event)
{
	nsec now = clock_wall();
	time_t seconds = now / NSEC_SECOND;
	char date[32], time[48];
	struct tm utc;
	const char *mailbox = settings.mailbox ? settings.mailbox() : NULL;

	must(gmtime_r(&seconds, &utc));
	must(strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &utc) > 0);
	snprintf(time, sizeof time, "%s.%03dZ", date, (int)(now % NSEC_SECOND / NSEC_MILLISECOND));
	line->bytes = 0;
	if (settings.json)
		(void)line_add_text(line, "{");
	add_pair_text(line, "time", time);
	add_pair_text(line, "level", level_names[level]);
	add_pair_text(line, "event", event);
	if (mailbox && *mailbox)
		add_pair_text(line, "mailbox", mailbox);
}

/* The line's first bytes may be all that a full disk takes: then the next line begins with an end
 * of line, so that only one is damaged. */
static bool put(const char *from, size_t n)
{
	struct pollfd ready = { .fd = settings.fd, .events = POLLOUT };
	ssize_t taken;

	if (poll(&ready, 1, 0) != 1 || !(ready.revents & POLLOUT))
		return false;
	taken = write(settings.fd, from, n);
	if (taken > 0)
		output.torn = taken < (ssize_t)n;
	return taken == (ssize_t)n;
}

static bool put_around(const struct line *line)
{
	bool shown = settings.is_terminal && output.before, done;

	if (shown)
		output.before();
	done = (!output.torn || put("\n", 1)) && put(line->at, line->bytes);
	if (shown && output.after)
		output.after();
	return done;
}

/* Lines that found no room are told of in the next that does. */
static void line_end(struct line *line)
{
	char count[24];

	pthread_mutex_lock(&lock);
	snprintf(count, sizeof count, "%llu", output.dropped);
	if (output.dropped > 0)
		add_pair(line, text_of("dropped"), text_of(count), true);
	if (settings.json)
		line->at[line->bytes++] = '}';
	line->at[line->bytes++] = '\n';
	must(line->bytes <= sizeof line->at);
	output.dropped = put_around(line) ? 0 : output.dropped + 1;
	pthread_mutex_unlock(&lock);
}

/* ---- the caller's pairs ---- */

/* One key=value of the format: where its key is and the form of its value, [value_at, end). */
struct pair {
	size_t key_at, key_bytes, value_at, end;
	bool is_number, is_name;
};

/* A form that is one whole-number conversion, so that JSON can show a number: "%u", "%zu", "%"
 * PRId64. A sign, width or padding that JSON does not allow makes it text. */
static bool is_number_form(const char *form, size_t bytes)
{
	size_t i = 1;

	if (bytes < 2 || form[0] != '%')
		return false;
	while (i < bytes && memchr("hljzt", form[i], 5))
		i++;
	return i + 1 == bytes && memchr("diu", form[i], 3);
}

/* Reads the pair at *next and moves on to the next one; false when there is none ("%s" with "" is
 * how an event without pairs is written). In key="..." the quotes belong to the form. */
static bool read_pair(const char *format, size_t *next, struct pair *pair)
{
	size_t at = *next;
	bool quoted;

	pair->is_name = format[at] == '!';
	at += pair->is_name;
	pair->key_at = at;
	pair->key_bytes = strcspn(format + at, "= ");
	at += pair->key_bytes;
	if (format[at] != '=')
		return false;
	quoted = format[++at] == '"';
	at += quoted;
	pair->value_at = at;
	while (format[at] != '\0' && format[at] != (quoted ? '"' : ' '))
		at++;
	must(!quoted || format[at] == '"');
	pair->end = at;
	pair->is_number = !quoted && is_number_form(format + pair->value_at, at - pair->value_at);
	at += quoted;
	while (format[at] == ' ')
		at++;
	*next = at;
	return true;
}

/* How long the first `form_bytes` of the format come out: a prefix of a format is a format that
 * uses a prefix of the arguments. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
static size_t prefix_bytes(const char *format, size_t form_bytes, va_list arguments)
{
	char prefix[FORMAT_BYTES_MAX];
	va_list copy;
	int length;

	must(form_bytes < sizeof prefix);
	bytes_copy(prefix, format, form_bytes, BYTES_META);
	prefix[form_bytes] = '\0';
	va_copy(copy, arguments);
	length = vsnprintf(NULL, 0, prefix, copy);
	va_end(copy);
	must(length >= 0);
	return min_u64((uint64_t)length, KEYS_BYTES_MAX - 1);
}
#pragma GCC diagnostic pop

static void add_pairs(struct line *line, const char *format, const char *formatted,
		      va_list arguments)
{
	struct text key, value;
	struct pair pair;
	size_t at = 0, began, ended;

	while (read_pair(format, &at, &pair)) {
		if (pair.is_name && !settings.names)
			continue;
		key = (struct text){ format + pair.key_at, pair.key_bytes };
		began = prefix_bytes(format, pair.value_at, arguments);
		ended = prefix_bytes(format, pair.end, arguments);
		value = (struct text){ formatted + began, ended - began };
		add_pair(line, key, value, pair.is_number);
	}
}

void log_event(enum log_level level, const char *event, const char *keys, ...)
{
	/* Not on the stack, which may be a small fiber's; nothing here suspends. */
	static _Thread_local char formatted[KEYS_BYTES_MAX];
	static _Thread_local struct line line;
	va_list arguments;

	must(level <= LOG_TRACE);
	if (!is_wanted(level))
		return;
	log_attend();
	va_start(arguments, keys);
	must(vsnprintf(formatted, sizeof formatted, keys, arguments) >= 0);
	va_end(arguments);
	line_begin(&line, level, event);
	va_start(arguments, keys);
	add_pairs(&line, keys, formatted, arguments);
	va_end(arguments);
	line_end(&line);
}

void log_error(enum log_level level, const char *event, enum err e)
{
	const struct err_note *note = err_note();

	if (note->error)
		log_event(level, event, "error=%s meaning=\"%s\" !note=\"%s\" errno=%d at=%s:%d",
			  err_name(e), err_text(e), note->text, note->errno_value, note->file,
			  note->line);
	else
		log_event(level, event, "error=%s meaning=\"%s\"", err_name(e), err_text(e));
}
