/* mailhaul unwrap: prints the original of a message that was stored wrapped (docs/FORMAT.md section
 * 9), once it is known to be whole: not a byte of it is shown before. It waits in a file without a
 * name meanwhile. One thread, no ring, no connection. */
#include <errno.h>
#include <stdlib.h>

#include "crypto/digest.h"
#include "tools/commands.h"
#include "tools/hints.h"
#include "transport/unwrap.h"

enum { PIECE_BYTES = 64 * 1024 };

struct unwrapping {
	const char *path; /* as given */
	FILE *from, *inside;
	struct tap *tap; /* NULL: nothing came yet */
	enum err error;	 /* of taking */
	struct unwrap unwrap;
	char piece[PIECE_BYTES];
};

static const char *shown(const struct unwrapping *unwrapping)
{
	return strcmp(unwrapping->path, "-") == 0 ? "standard input" : unwrapping->path;
}

static enum err open_tap(struct unwrapping *unwrapping)
{
	const char *function = unwrapping->unwrap.function;
	const struct tap_type *type = digest_type(text_of(function));

	if (unwrapping->tap)
		return OK;
	if (!type)
		return RAISE(ERR_INPUT_WRAPPED,
			     "%s: its digest is of the kind \"%s\"; this version knows %s",
			     shown(unwrapping), function, digest_names());
	return digest_open(type, &unwrapping->tap);
}

static void take(void *context, const void *from, size_t n)
{
	struct unwrapping *unwrapping = context;

	if (unwrapping->error || (unwrapping->error = open_tap(unwrapping)))
		return;
	unwrapping->tap->type->update(unwrapping->tap, from, n);
	if (fwrite(from, 1, n, unwrapping->inside) != n)
		unwrapping->error = RAISE_ERRNO(ERR_DISK_IO, errno, "keeping the original of %s",
						shown(unwrapping));
}

static enum err open_files(struct unwrapping *unwrapping)
{
	unwrapping->from =
		strcmp(unwrapping->path, "-") == 0 ? stdin : fopen(unwrapping->path, "re");
	if (!unwrapping->from)
		return RAISE_ERRNO(ERR_INPUT_FILE, errno, "opening %s", shown(unwrapping));
	if (!(unwrapping->inside = tmpfile()))
		return RAISE_ERRNO(ERR_DISK_IO, errno, "making a temporary file");
	return OK;
}

static enum err read_all(struct unwrapping *unwrapping)
{
	size_t n;

	unwrap_begin(&unwrapping->unwrap, take, unwrapping);
	while (!unwrapping->error &&
	       (n = fread(unwrapping->piece, 1, PIECE_BYTES, unwrapping->from)) > 0)
		unwrap_feed(&unwrapping->unwrap, unwrapping->piece, n);
	if (!unwrapping->error && ferror(unwrapping->from))
		return RAISE_ERRNO(ERR_INPUT_FILE, errno, "reading %s", shown(unwrapping));
	return unwrapping->error;
}

static enum err check(struct unwrapping *unwrapping)
{
	struct unwrap *unwrap = &unwrapping->unwrap;
	enum unwrap_state state = unwrap_end(unwrap);
	struct digest digest;
	enum err e = unwrapping->error; /* of its end */

	if (e)
		return e;
	if (state == UNWRAP_NOT_WRAPPED)
		return RAISE(ERR_INPUT_FILE,
			     "%s is no message that mailhaul wrapped: its header has no field "
			     "X-Mailhaul-Wrapped. Save the message as its server has it, with its "
			     "whole header",
			     shown(unwrapping));
	if (state == UNWRAP_BROKEN)
		return RAISE(ERR_INPUT_WRAPPED, "%s: %s", shown(unwrapping), unwrap->fault);
	if ((e = open_tap(unwrapping)))
		return e;
	unwrapping->tap->type->end(unwrapping->tap, &digest);
	if (memcmp(&digest, &unwrap->digest, sizeof digest) != 0)
		return RAISE(ERR_INPUT_WRAPPED,
			     "%s: what is inside has another digest than it says",
			     shown(unwrapping));
	return OK;
}

static enum err print(struct unwrapping *unwrapping)
{
	size_t n;

	if (fflush(unwrapping->inside) || fseek(unwrapping->inside, 0, SEEK_SET))
		return RAISE_ERRNO(ERR_DISK_IO, errno, "keeping the original");
	while ((n = fread(unwrapping->piece, 1, PIECE_BYTES, unwrapping->inside)) > 0)
		if (fwrite(unwrapping->piece, 1, n, stdout) != n)
			return OK; /* the command's end says so */
	return ferror(unwrapping->inside)
		       ? RAISE_ERRNO(ERR_DISK_IO, errno, "reading the original back")
		       : OK;
}

static void unwrapping_close(struct unwrapping *unwrapping)
{
	if (unwrapping->from && unwrapping->from != stdin)
		fclose(unwrapping->from);
	if (unwrapping->inside)
		fclose(unwrapping->inside);
	if (unwrapping->tap)
		unwrapping->tap->type->close(&unwrapping->tap);
	free(unwrapping);
}

static int run(const char *path)
{
	struct unwrapping *unwrapping = calloc(1, sizeof *unwrapping);
	int exit_code;
	enum err e;

	if (!unwrapping)
		return hint_fail("unwrap", RAISE(ERR_MEMORY_EXHAUSTED, "starting"));
	unwrapping->path = path;
	if ((e = open_files(unwrapping)) || (e = read_all(unwrapping)) || (e = check(unwrapping)) ||
	    (e = print(unwrapping)))
		exit_code = hint_fail("unwrap", e);
	else
		exit_code = command_finish_output("unwrap", EXIT_ALL_MOVED);
	unwrapping_close(unwrapping);
	return exit_code;
}

static int unwrap_main(int count, char *const *words)
{
	struct opt_words arguments;
	int exit_code, none;

	if (!command_parse(unwrap_command.usage, count, words, &none, &arguments, &exit_code))
		return exit_code;
	return run(arguments.at[0]);
}

static const struct opt_section sections[] = { { "Exit codes", hint_exit_codes } };

static const struct opt_command usage = {
	.name = "unwrap",
	.arguments = "FILE",
	.words_min = 1,
	.words_max = 1,
	.summary = "print the original of a message that was stored wrapped",
	.about = "Print the original of a message that copy --wrap stored inside another one, byte "
		 "for byte. FILE is that other one, with its whole header, as its server has it or "
		 "as a mail program saves it; - reads standard input. Nothing is printed unless "
		 "size and digest are those that it announces. One layer is taken off: what was "
		 "inside a wrapper may be one itself.\n",
	.sections = sections,
	.sections_count = ARRAY_COUNT(sections),
	.examples = "  mailhaul unwrap saved.eml > original.eml\n"
		    "  mailhaul unwrap - < saved.eml\n",
};

const struct command unwrap_command = { &usage, unwrap_main };
