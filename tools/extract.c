/* mailhaul extract: messages of an archive as files, DIR/MAILBOX/FOLDER/UID.eml. Running it again
 * goes on: a file that holds the message already is left alone. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crypto/digest.h"
#include "engine/clock.h"
#include "engine/io.h"
#include "tools/commands.h"
#include "tools/hints.h"
#include "tools/json_out.h"
#include "tools/safe_path.h"
#include "tools/selection.h"
#include "tools/units.h"
#include "transport/archive.h"

/* One file operation; a disk that needs longer is not well. */
#define FILE_TIMEOUT (60 * NSEC_SECOND)
enum { READ_BYTES = 64 * 1024 };

struct extract {
	struct extract_options {
		struct selection selection;
		const char *to;
		bool overwrite, json;
	} options;
	struct archive_mailbox mailbox;
	struct archive_message message;
	struct tap *digest; /* of the mailbox, for files that are there already */
	struct buffer directory, path, temporary; /* terminated */
	int fd;
	uint64_t offset; /* written of the message so far */
	uint64_t messages, bytes, present, damaged;
	uint8_t read[READ_BYTES];
};

/* ---- paths ---- */

static enum err terminate(struct buffer *path)
{
	buffer_add(path, "", 1);
	return path->failed ? RAISE(ERR_MEMORY_EXHAUSTED, "writing a path") : OK;
}

static enum err make_directory(const char *path)
{
	enum err e = io_mkdir(path, 0700, clock_after(FILE_TIMEOUT));

	if (e == ERR_DISK_EXISTS) {
		err_note_clear();
		return OK;
	}
	return e;
}

/* The directory of the message's folder, made level by level; the same as last time costs nothing.
 */
static enum err enter_directory(struct extract *extract)
{
	struct buffer *path = &extract->path;
	enum err e;

	buffer_reset(path);
	buffer_addf(path, "%s/", extract->options.to);
	safe_path_add_level(path, text_of(extract->mailbox.name));
	safe_path_add_box(path, extract->message.box, extract->message.separator);
	if ((e = terminate(path)))
		return e;
	if (extract->directory.bytes == path->bytes &&
	    memcmp(extract->directory.at, path->at, path->bytes) == 0)
		return OK;
	for (char *slash = path->at + strlen(extract->options.to); slash;
	     slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		e = make_directory(path->at);
		*slash = '/';
		if (e)
			return e;
	}
	buffer_reset(&extract->directory);
	buffer_add(&extract->directory, path->at, path->bytes);
	return extract->directory.failed ? RAISE(ERR_MEMORY_EXHAUSTED, "writing a path")
					 : make_directory(path->at);
}

static enum err name_files(struct extract *extract)
{
	unsigned long long no = extract->message.no;
	enum err e;

	buffer_reset(&extract->path);
	buffer_addf(&extract->path, "%s/%llu.eml", extract->directory.at, no);
	buffer_reset(&extract->temporary);
	/* No folder begins with a dot here, so this is nobody else's. */
	buffer_addf(&extract->temporary, "%s/.%llu.eml.part", extract->directory.at, no);
	e = terminate(&extract->path);
	return e ? e : terminate(&extract->temporary);
}

/* ---- what is there already ---- */

static enum err digest_file(struct extract *extract, int fd, struct digest *out)
{
	struct tap *tap = extract->digest;
	uint64_t offset = 0;
	size_t got;
	enum err e;

	tap->type->begin(tap);
	do {
		if ((e = io_read(fd, extract->read, READ_BYTES, offset, clock_after(FILE_TIMEOUT),
				 &got)))
			return e;
		tap->type->update(tap, extract->read, got);
		offset += got;
	} while (got == READ_BYTES);
	tap->type->end(tap, out);
	return OK;
}

/* *same: the file holds exactly this message. */
static enum err compare(struct extract *extract, const struct ring_stat *stat, bool *same)
{
	const struct archive_message *message = &extract->message;
	struct digest digest;
	int fd = -1;
	enum err e;

	*same = false;
	if (!stat->is_regular || stat->size_bytes != message->size_bytes || !extract->digest)
		return OK;
	e = io_open(extract->path.at, O_RDONLY | O_NOFOLLOW, 0, clock_after(FILE_TIMEOUT), &fd);
	if (e == OK && (e = digest_file(extract, fd, &digest)) == OK)
		*same = memcmp(digest.bytes, message->digest.bytes, DIGEST_BYTES) == 0;
	io_close(&fd);
	return e;
}

/* *present: nothing is to be done for this message. ERR_DISK_EXISTS: something else has its place.
 */
static enum err look(struct extract *extract, bool *present)
{
	struct ring_stat stat;
	enum err e = io_stat(extract->path.at, clock_after(FILE_TIMEOUT), &stat);

	*present = false;
	if (e == ERR_DISK_ABSENT) {
		err_note_clear();
		return OK;
	}
	if (e || (e = compare(extract, &stat, present)) || *present || extract->options.overwrite)
		return e;
	return RAISE(ERR_DISK_EXISTS,
		     "%s holds something else than the message; --overwrite replaces it",
		     extract->path.at);
}

/* ---- writing ---- */

static enum err write_piece(void *context, const void *bytes, size_t count)
{
	struct extract *extract = context;
	enum err e =
		io_write(extract->fd, bytes, count, extract->offset, clock_after(FILE_TIMEOUT));

	extract->offset += count;
	return e;
}

/* The file's time is the message's INTERNALDATE. A file system that cannot hold it is no reason to
 * fail. */
static void set_time(int fd, const struct mail_date *date)
{
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_sec = date->seconds } };

	if (date->known && futimens(fd, times) != 0)
		return;
}

static enum err write_file(struct extract *extract, struct archive *archive)
{
	const char *temporary = extract->temporary.at;
	nsec until = clock_after(FILE_TIMEOUT);
	enum err e;

	extract->fd = -1;
	extract->offset = 0;
	if ((e = io_open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600, until,
			 &extract->fd)))
		return e;
	e = archive_message_read(archive, &extract->message, write_piece, extract);
	must(e || extract->offset == extract->message.size_bytes);
	if (e == OK)
		set_time(extract->fd, &extract->message.meta.date);
	io_close(&extract->fd);
	if (e == OK)
		e = io_rename(temporary, extract->path.at, extract->options.overwrite,
			      clock_after(FILE_TIMEOUT));
	if (e && io_unlink(temporary, clock_after(FILE_TIMEOUT)))
		return e; /* what failed first is what counts */
	return e;
}

static enum err extract_message(struct extract *extract, struct archive *archive)
{
	bool present;
	enum err e;

	if ((e = enter_directory(extract)) || (e = name_files(extract)) ||
	    (e = look(extract, &present)))
		return e;
	if (present) {
		extract->present++;
		return OK;
	}
	e = write_file(extract, archive);
	if (e == ERR_ARCHIVE_DAMAGED) { /* the others may be well */
		extract->damaged++;
		hint_fail("extract", e);
		return OK;
	}
	if (e == OK) {
		extract->messages++;
		extract->bytes += extract->message.size_bytes;
	}
	return e;
}

/* ---- the walk ---- */

static void close_digest(struct extract *extract)
{
	if (extract->digest)
		extract->digest->type->close(&extract->digest);
}

static enum err extract_mailbox(struct extract *extract, struct archive *archive)
{
	const struct tap_type *type = digest_type(text_of(extract->mailbox.digest));
	const struct archive_message *message = &extract->message;
	enum err e = OK;

	close_digest(extract);
	if (type && (e = digest_open(type, &extract->digest)))
		return e;
	while ((e = archive_message_next(archive, &extract->message)) == OK)
		if (selection_has_message(&extract->options.selection, message->box, message->no) &&
		    (e = extract_message(extract, archive)))
			break;
	return e == ERR_PIPE_ENDED ? OK : e;
}

/* One wait for the disk at the end instead of one per file: running again finds what is missing. */
static enum err make_durable(const char *directory)
{
	int fd = -1;
	enum err e = io_open(directory, O_RDONLY | O_DIRECTORY, 0, clock_after(FILE_TIMEOUT), &fd);

	if (e == OK && syncfs(fd) != 0)
		e = RAISE(ERR_DISK_IO, "writing %s to the disk", directory);
	io_close(&fd);
	return e;
}

static enum err extract_archive(void *context, struct archive *archive)
{
	struct extract *extract = context;
	const struct selection *selection = &extract->options.selection;
	enum err e = make_directory(extract->options.to);

	while (e == OK && (e = archive_mailbox_next(archive, &extract->mailbox)) == OK)
		if (selection_has_mailbox(selection, extract->mailbox.name))
			e = extract_mailbox(extract, archive);
	if (e != ERR_PIPE_ENDED)
		return e;
	if (!selection_is_all(selection) && !extract->messages && !extract->present &&
	    !extract->damaged)
		return RAISE(ERR_ARCHIVE_NO_MATCH,
			     "looking for what --mailbox, --folder and --uid say");
	return make_durable(extract->options.to);
}

static void tell(const struct extract *extract)
{
	struct json_out json = { .file = stdout };
	char bytes[UNITS_TEXT_BYTES];

	if (!extract->options.json) {
		printf("Extracted %llu message%s, %s, into %s; %llu there already, %llu damaged\n",
		       (unsigned long long)extract->messages, units_plural(extract->messages),
		       units_bytes(bytes, extract->bytes), extract->options.to,
		       (unsigned long long)extract->present, (unsigned long long)extract->damaged);
		return;
	}
	json_object_begin(&json, NULL);
	json_text(&json, "kind", "total");
	json_text(&json, "to", extract->options.to);
	json_number(&json, "messages", extract->messages);
	json_number(&json, "bytes", extract->bytes);
	json_number(&json, "present", extract->present);
	json_number(&json, "damaged", extract->damaged);
	json_object_end(&json);
	json_line_end(&json);
}

static int extract_run(struct extract *extract, const char *archive)
{
	enum err e;
	int exit_code = EXIT_ALL_MOVED;

	if (!extract->options.to)
		return hint_fail("extract", RAISE(ERR_INPUT_USAGE, "--to DIR is missing"));
	e = command_read_archive(archive, extract_archive, extract);
	if (e == OK || extract->messages)
		tell(extract);
	if (e)
		exit_code = hint_fail("extract", e);
	else if (extract->damaged)
		exit_code = EXIT_MISMATCH;
	return command_finish_output("extract", exit_code);
}

static int extract_main(int count, char *const *words)
{
	struct extract *extract = calloc(1, sizeof *extract);
	struct opt_words arguments;
	int exit_code;

	if (!extract)
		return hint_fail("extract", RAISE(ERR_MEMORY_EXHAUSTED, "starting"));
	if (command_parse(extract_command.usage, count, words, &extract->options, &arguments,
			  &exit_code))
		exit_code = extract_run(extract, arguments.at[0]);
	close_digest(extract);
	buffer_free(&extract->directory);
	buffer_free(&extract->path);
	buffer_free(&extract->temporary);
	free(extract);
	return exit_code;
}

static const struct opt options[] = {
	{ .name = "to",
	  OPT_STORES_FILE(struct extract_options, to),
	  .value = "DIR",
	  .help = "Where the files go; made if it is not there. Nothing is ever written outside "
		  "it." },
	SELECTION_OPTIONS(struct extract_options, selection),
	{ .name = "overwrite",
	  OPT_STORES_FLAG(struct extract_options, overwrite),
	  .help = "Replace files that hold something else. Without it they are refused with exit "
		  "code 73." },
	{ .name = "json",
	  OPT_STORES_FLAG(struct extract_options, json),
	  .help = "Print the totals as a JSON object." },
};

static const struct opt_section sections[] = {
	{ "Names", "Each level of a folder's name becomes a directory. What could lead elsewhere "
		   "('/', a leading dot, control characters) and '%' are written as %XX, levels "
		   "over 200 bytes are cut and get a suffix that tells them apart.\n" },
};

static const struct opt_command usage = {
	.name = "extract",
	.arguments = "ARCHIVE",
	.words_min = 1,
	.words_max = 1,
	.summary = "write messages of an archive to files",
	.about = "Write the messages of ARCHIVE (file:///path) to DIR/MAILBOX/FOLDER/UID.eml, byte "
		 "for byte as they were at the source, dated as they were there. Each is compared "
		 "with its digest. Running it again writes what is missing.\n",
	.options = options,
	.options_count = ARRAY_COUNT(options),
	.sections = sections,
	.sections_count = ARRAY_COUNT(sections),
	.examples = "  mailhaul extract --to mail file:///var/archive\n"
		    "  mailhaul extract --to mail --folder INBOX --uid 17 file:///var/archive\n",
};

const struct command extract_command = { &usage, extract_main };
