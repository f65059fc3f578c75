#include "tools/terminal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "engine/bytes.h"

static volatile sig_atomic_t line_is_drawn;

/* ---- text ---- */

size_t utf8_take(struct text text, uint32_t *code)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint8_t first;
	size_t bytes;

	if (!text.bytes)
		return 0;
	first = (uint8_t)text.at[0];
	bytes = first < 0x80			? 1
		: first >= 0xf0 && first < 0xf8 ? 4
		: first >= 0xe0 && first < 0xf0 ? 3
		: first >= 0xc0 && first < 0xe0 ? 2
						: 0;
	if (!bytes || bytes > text.bytes)
		return 0;
	*code = bytes == 1 ? first : first & (0x7fu >> bytes);
	for (size_t i = 1; i < bytes; i++) {
		if (((uint8_t)text.at[i] & 0xc0) != 0x80)
			return 0;
		*code = *code << 6 | ((uint8_t)text.at[i] & 0x3f);
	}
	if (*code < least[bytes] || *code > 0x10ffff || (*code >= 0xd800 && *code <= 0xdfff))
		return 0;
	return bytes;
}

static bool is_harmful(uint32_t code)
{
	return code < 0x20 || (code >= 0x7f && code < 0xa0) || (code >= 0x200e && code <= 0x200f) ||
	       (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069) ||
	       code == 0xfeff || code == 0x61c;
}

/* Columns of a code point: the ranges of Unicode's East Asian Width that matter in names, and the
 * combining marks. A wrong guess costs one column, nothing else. */
static unsigned columns_of(uint32_t code)
{
	if ((code >= 0x300 && code <= 0x36f) || (code >= 0x200b && code <= 0x200d) ||
	    (code >= 0xfe00 && code <= 0xfe0f))
		return 0;
	if ((code >= 0x1100 && code <= 0x115f) || (code >= 0x2e80 && code <= 0xa4cf) ||
	    (code >= 0xac00 && code <= 0xd7a3) || (code >= 0xf900 && code <= 0xfaff) ||
	    (code >= 0xfe30 && code <= 0xfe6f) || (code >= 0xff00 && code <= 0xff60) ||
	    (code >= 0x1f300 && code <= 0x1faff) || (code >= 0x20000 && code <= 0x3fffd))
		return 2;
	return 1;
}

char *terminal_fit(char *to, size_t to_bytes, struct text from, unsigned columns)
{
	static const char ellipsis[] = "\xe2\x80\xa6";
	size_t used = 0, cut_at = 0;
	unsigned width = 0;

	must(to_bytes > sizeof ellipsis);
	while (from.bytes) {
		uint32_t code = '?';
		size_t bytes = utf8_take(from, &code), taken = bytes ? bytes : 1;
		bool shown = bytes && !is_harmful(code);
		unsigned wide = shown ? columns_of(code) : 1;

		if (width + wide > columns || used + taken + sizeof ellipsis > to_bytes) {
			used = cut_at;
			if (columns)
				bytes_copy(to + used, ellipsis, sizeof ellipsis - 1, BYTES_META);
			used += columns ? sizeof ellipsis - 1 : 0;
			break;
		}
		bytes_copy(to + used, shown ? from.at : "?", shown ? bytes : 1, BYTES_META);
		used += shown ? bytes : 1;
		width += wide;
		from.at += taken;
		from.bytes -= taken;
		if (width + 1 <= columns)
			cut_at = used; /* from here there is still room for the ellipsis */
	}
	to[used] = '\0';
	return to;
}

char *terminal_text(char *to, size_t to_bytes, const char *from)
{
	return terminal_fit(to, to_bytes, text_of(from), UINT32_MAX / 2);
}

/* ---- the line ---- */

bool terminal_is(int fd)
{
	return isatty(fd) == 1;
}

unsigned terminal_columns(int fd)
{
	struct winsize size;

	if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
		return size.ws_col;
	return 80;
}

static bool takes_output(int fd)
{
	struct pollfd poller = { .fd = fd, .events = POLLOUT };

	return poll(&poller, 1, 0) == 1 && (poller.revents & POLLOUT);
}

/* What does not go out at once is dropped: progress is not worth waiting for. */
static void put(int fd, const char *text, size_t bytes)
{
	ssize_t written = write(fd, text, bytes);

	(void)written;
}

/* The cursor waits at the line's beginning, so that a log line written over it looks whole. */
void terminal_redraw(const char *line)
{
	char text[1024];
	int bytes = snprintf(text, sizeof text, "%s\x1b[K\r", line);

	must(bytes > 0);
	if (!takes_output(STDERR_FILENO))
		return;
	line_is_drawn = 1;
	put(STDERR_FILENO, text, min_u64((uint64_t)bytes, sizeof text - 1));
}

void terminal_restore(void)
{
	int errno_before = errno;

	if (line_is_drawn)
		put(STDERR_FILENO, "\r\x1b[J", 4);
	line_is_drawn = 0;
	errno = errno_before;
}

void terminal_say(const char *line)
{
	int errno_before = errno;

	terminal_restore();
	if (takes_output(STDERR_FILENO)) {
		put(STDERR_FILENO, line, strlen(line));
		put(STDERR_FILENO, "\n", 1);
	}
	errno = errno_before;
}
