/* mailhaul extract: messages of an archive as files, DIR/MAILBOX/FOLDER/UID.eml. Running it again
 * goes on: a file that holds the message already is left alone. */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "crypto/digest.h"
#include "engine/clock.h"
#include "engine/io.h"
#include "tools/commands.h"
#include "tools/confinement.h"
#include "tools/damage.h"
#include "tools/extract_file.h"
#include "tools/hints.h"
#include "tools/json_out.h"
#include "tools/maildir.h"
#include "tools/safe_path.h"
#include "tools/reading.h"
#include "tools/selection.h"
#include "tools/units.h"
#include "transport/archive.h"

struct extract_box {
	char *name;
	uint64_t epoch;
};

struct extract {
	struct extract_options {
		struct selection selection;
		const char *to;
		const char *maildir_names, *confine;
		struct reading_options reading;
		struct residency_options residency;
		bool overwrite, maildir, json;
	} options;
	struct json_out json;
	struct damage damage;
	struct archive_mailbox mailbox;
	struct archive_message message;
	struct tap *digest; /* of the mailbox, for files that are there already */
	struct buffer directory, path, temporary; /* terminated */
	struct maildir *maildir;		  /* of the mailbox, if one was asked for */
	struct extract_box *boxes;		  /* of the mailbox, by name */
	size_t boxes_count, boxes_room;
	uint64_t messages, bytes, present, damaged, keywords_dropped;
};

/* ---- folders ---- */

static void forget_boxes(struct extract *extract)
{
	for (size_t i = 0; i < extract->boxes_count; i++)
		free(extract->boxes[i].name);
	extract->boxes_count = 0;
}

static int compare_boxes(const void *a, const void *b)
{
	return strcmp(((const struct extract_box *)a)->name, ((const struct extract_box *)b)->name);
}

static enum err keep_box(struct extract *extract, const struct box *box)
{
	size_t room = max_u64(64, 2 * extract->boxes_room);
	struct extract_box *grown;

	if (extract->boxes_count == extract->boxes_room) {
		if (!(grown = reallocarray(extract->boxes, room, sizeof *grown)))
			return RAISE(ERR_MEMORY_EXHAUSTED, "keeping folders");
		extract->boxes = grown;
		extract->boxes_room = room;
	}
	grown = &extract->boxes[extract->boxes_count];
	*grown = (struct extract_box){ strdup(box->name), box->epoch };
	if (!grown->name)
		return RAISE(ERR_MEMORY_EXHAUSTED, "keeping folders");
	extract->boxes_count++;
	return OK;
}

/* Which UIDVALIDITY each folder has now; and folders without a message exist, too. */
static enum err take_boxes(struct extract *extract, struct archive *archive)
{
	struct box *box = calloc(1, sizeof *box);
	enum err e = box ? OK : RAISE(ERR_MEMORY_EXHAUSTED, "keeping folders");

	forget_boxes(extract);
	while (!e && !(e = archive_box_next(archive, box))) {
		e = keep_box(extract, box);
		if (!e && extract->maildir && box->selectable &&
		    selection_has_box(&extract->options.selection, box->name))
			e = maildir_add_box(extract->maildir, box);
	}
	free(box);
	if (extract->boxes_count)
		qsort(extract->boxes, extract->boxes_count, sizeof *extract->boxes, compare_boxes);
	return e == ERR_PIPE_ENDED ? OK : e;
}

/* ---- paths ---- */

static enum err terminate(struct buffer *path)
{
	buffer_add(path, "", 1);
	return path->failed ? RAISE(ERR_MEMORY_EXHAUSTED, "writing a path") : OK;
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
		e = extract_directory(path->at, NULL);
		*slash = '/';
		if (e)
			return e;
	}
	buffer_reset(&extract->directory);
	buffer_add(&extract->directory, path->at, path->bytes);
	return extract->directory.failed ? RAISE(ERR_MEMORY_EXHAUSTED, "writing a path")
					 : extract_directory(path->at, NULL);
}

/* A message of a time when the folder had another UIDVALIDITY: its UID may be another's now. */
static bool is_of_before(struct extract *extract)
{
	const struct extract_box *box =
		bsearch(&(struct extract_box){ extract->message.box, 0 }, extract->boxes,
			extract->boxes_count, sizeof *extract->boxes, compare_boxes);

	return box && box->epoch != extract->message.epoch;
}

static enum err name_files(struct extract *extract)
{
	unsigned long long no = extract->message.no, epoch = extract->message.epoch;
	char before[32] = "";
	enum err e;

	if (extract->boxes_count && is_of_before(extract))
		snprintf(before, sizeof before, "%llu-", epoch);
	buffer_reset(&extract->path);
	buffer_addf(&extract->path, "%s/%s%llu.eml", extract->directory.at, before, no);
	buffer_reset(&extract->temporary);
	/* No folder begins with a dot here, so this is nobody else's. */
	buffer_addf(&extract->temporary, "%s/.%s%llu.eml.part", extract->directory.at, before, no);
	e = terminate(&extract->path);
	return e ? e : terminate(&extract->temporary);
}

/* ---- one message ---- */

static enum err extract_plain(struct extract *extract, struct archive *archive, bool *present)
{
	const struct archive_message *message = &extract->message;
	struct extract_file file = { .replace = extract->options.overwrite };
	bool exists;
	enum err e;

	if ((e = enter_directory(extract)) || (e = name_files(extract)) ||
	    (e = extract_file_look(extract->path.at, message, extract->digest, &exists, present)) ||
	    *present)
		return e;
	if (exists && !extract->options.overwrite)
		return RAISE(ERR_DISK_EXISTS,
			     "%s holds something else than the message; --overwrite replaces it",
			     extract->path.at);
	file.path = extract->path.at;
	file.temporary = extract->temporary.at;
	return extract_file_write(&file, archive, message);
}

static enum err extract_message(struct extract *extract, struct archive *archive)
{
	bool present = false;
	enum err e = extract->maildir
			     ? maildir_add(extract->maildir, archive, &extract->message, &present)
			     : extract_plain(extract, archive, &present);

	if (e == ERR_ARCHIVE_DAMAGED) { /* the others may be well */
		extract->damaged++;
		damage_tell_note(&extract->damage, extract->message.pack);
		return OK;
	}
	if (e)
		return e;
	extract->present += present;
	extract->messages += !present;
	extract->bytes += present ? 0 : extract->message.size_bytes;
	return OK;
}

/* ---- the walk ---- */

static void close_digest(struct extract *extract)
{
	if (extract->digest)
		extract->digest->type->close(&extract->digest);
}

static enum err open_maildir(struct extract *extract)
{
	struct maildir_config config = { .digest = extract->digest };
	enum err e;

	buffer_reset(&extract->path);
	buffer_addf(&extract->path, "%s/", extract->options.to);
	safe_path_add_level(&extract->path, text_of(extract->mailbox.name));
	if ((e = terminate(&extract->path)))
		return e;
	config.path = extract->path.at; /* nothing else uses it in this mailbox */
	config.utf8 = strcmp(extract->options.maildir_names, "utf-8") == 0;
	return maildir_open(&config, &extract->maildir);
}

static enum err close_maildir(struct extract *extract, enum err e)
{
	if (e == OK && extract->maildir)
		e = maildir_finish(extract->maildir);
	if (extract->maildir)
		extract->keywords_dropped += maildir_keywords_dropped(extract->maildir);
	maildir_close(&extract->maildir);
	return e;
}

static enum err extract_mailbox(struct extract *extract, struct archive *archive)
{
	enum err e;

	close_digest(extract);
	if ((e = digest_open(digest_type(text_of(extract->mailbox.digest)), &extract->digest)) ||
	    (extract->options.maildir && (e = open_maildir(extract))))
		return e;
	e = take_boxes(extract, archive);
	while (e == OK && (e = archive_message_next(archive, &extract->message)) == OK)
		if (selection_has_message(&extract->options.selection, &extract->message))
			e = extract_message(extract, archive);
	return close_maildir(extract, e == ERR_PIPE_ENDED ? OK : e);
}

/* One wait for the disk at the end instead of one per file: running again finds what is missing. */
static enum err make_durable(const char *directory)
{
	int fd = -1;
	enum err e = io_open(directory, O_RDONLY | O_DIRECTORY, 0,
			     clock_after(EXTRACT_FILE_TIMEOUT), &fd);

	if (e == OK && syncfs(fd) != 0)
		e = RAISE(ERR_DISK_IO, "writing %s to the disk", directory);
	io_close(&fd);
	return e;
}

static enum err extract_archive(void *context, struct archive *archive)
{
	struct extract *extract = context;
	const struct selection *selection = &extract->options.selection;
	enum err e = selection_apply(selection, archive);

	archive_on_damage(archive, damage_tell, &extract->damage);
	if (e == OK)
		e = extract_directory(extract->options.to, NULL);
	while (e == OK && (e = archive_mailbox_next(archive, &extract->mailbox)) == OK)
		e = extract_mailbox(extract, archive);
	if (e != ERR_PIPE_ENDED)
		return e;
	if (!selection_is_all(selection) && !extract->messages && !extract->present &&
	    !extract->damage.files)
		return RAISE(ERR_ARCHIVE_NO_MATCH,
			     "looking for what --mailbox, --folder and --uid say");
	return make_durable(extract->options.to);
}

static void tell(struct extract *extract)
{
	struct json_out *json = &extract->json;
	char bytes[UNITS_TEXT_BYTES];

	if (!extract->options.json) {
		printf("Extracted %llu message%s, %s, into %s; %llu there already, %llu damaged\n",
		       (unsigned long long)extract->messages, units_plural(extract->messages),
		       units_bytes(bytes, extract->bytes), extract->options.to,
		       (unsigned long long)extract->present, (unsigned long long)extract->damaged);
		if (extract->keywords_dropped)
			printf("%llu keyword%s left out: a Maildir folder has letters for 26\n",
			       (unsigned long long)extract->keywords_dropped,
			       units_plural(extract->keywords_dropped));
		return;
	}
	json_object_begin(json, NULL);
	json_text(json, "kind", "total");
	json_text(json, "to", extract->options.to);
	json_number(json, "messages", extract->messages);
	json_number(json, "bytes", extract->bytes);
	json_number(json, "present", extract->present);
	json_number(json, "damaged", extract->damaged);
	json_number(json, "faults", extract->damage.files);
	json_number(json, "keywords_dropped", extract->keywords_dropped);
	json_object_end(json);
	json_line_end(json);
}

static int extract_run(struct extract *extract, const char *archive)
{
	enum err e;
	int exit_code = EXIT_ALL_MOVED;

	if (!extract->options.to)
		return hint_fail("extract", RAISE(ERR_INPUT_USAGE, "--to DIR is missing"));
	if (extract->options.maildir && extract->options.overwrite)
		return hint_fail(
			"extract",
			RAISE(ERR_INPUT_USAGE,
			      "--overwrite and --maildir: nothing in a Maildir is replaced"));
	extract->damage = (struct damage){
		.command = "extract",
		.json = extract->options.json ? &extract->json : NULL,
	};
	e = reading_run(&(struct reading){
		.archive = archive,
		.confine = extract->options.confine,
		.options = &extract->options.reading,
		.residency = &extract->options.residency,
		.extracts = true,
		.work = extract_archive,
		.context = extract,
	});
	if (e == OK || extract->messages)
		tell(extract);
	if (e)
		exit_code = hint_fail("extract", e);
	exit_code = damage_end(&extract->damage, exit_code);
	return command_finish_output("extract", exit_code);
}

static int extract_main(int count, char *const *words)
{
	struct extract *extract = calloc(1, sizeof *extract);
	struct opt_words arguments;
	int exit_code;

	if (!extract)
		return hint_fail("extract", RAISE(ERR_MEMORY_EXHAUSTED, "starting"));
	extract->json.file = stdout;
	if (command_parse(extract_command.usage, count, words, &extract->options, &arguments,
			  &exit_code))
		exit_code = extract_run(extract, arguments.at[0]);
	close_digest(extract);
	buffer_free(&extract->directory);
	buffer_free(&extract->path);
	buffer_free(&extract->temporary);
	forget_boxes(extract);
	free(extract->boxes);
	free(extract);
	return exit_code;
}

static const char *const maildir_names[] = { "utf-7", "utf-8", NULL };

static const struct opt options[] = {
	{ .name = "to",
	  OPT_STORES_FILE(struct extract_options, to),
	  .value = "DIR",
	  .help = "Where the files go; made if it is not there. Nothing is ever written outside "
		  "it." },
	SELECTION_OPTIONS(struct extract_options, selection),
	{ .name = "maildir",
	  OPT_STORES_FLAG(struct extract_options, maildir),
	  .help = "Write DIR/MAILBOX as a Maildir++ that Dovecot and others take over: flags in "
		  "file names, keywords in each folder's dovecot-keywords." },
	{ .name = "maildir-names",
	  OPT_STORES_CHOICE(struct extract_options, maildir_names),
	  .initial = "utf-7",
	  .choices = maildir_names,
	  .help = "How folders of a Maildir are spelled: utf-7 (modified UTF-7, as Dovecot reads "
		  "it) or utf-8 (with UTF-8 in its mail_location)." },
	{ .name = "overwrite",
	  OPT_STORES_FLAG(struct extract_options, overwrite),
	  .help = "Replace files that hold something else. Without it they are refused with exit "
		  "code 73." },
	{ .name = "json",
	  OPT_STORES_FLAG(struct extract_options, json),
	  .help = "Print the totals as a JSON object, and one before it for each fault." },
	READING_OPTIONS(struct extract_options, reading),
	RESIDENCY_OPTIONS(struct extract_options, residency),
	CONFINEMENT_OFFLINE_OPTION(struct extract_options, confine),
};

static const struct opt_section sections[] = {
	{ "Names", "Each level of a folder's name becomes a directory. What could lead elsewhere "
		   "('/', a leading dot, control characters) and '%' are written as %XX, levels "
		   "over 200 bytes are cut and get a suffix that tells them apart. A message of "
		   "a time when its folder had another UIDVALIDITY is UIDVALIDITY-UID.eml.\n" },
	{ "Maildir", "INBOX is DIR/MAILBOX itself; Work/2019 is .Work.2019 in it. A dot, a slash "
		     "and '%' inside a level are written as %XX. Files are forced to disk one by "
		     "one and never replaced: a message that is there already, under whatever "
		     "flags, stays as it is.\n" },
};

static const struct opt_command usage = {
	.name = "extract",
	.arguments = "ARCHIVE",
	.words_min = 1,
	.words_max = 1,
	.summary = "write messages of an archive to files",
	.about = "Write the messages of ARCHIVE (file:///path) to DIR/MAILBOX/FOLDER/UID.eml, byte "
		 "for byte as they were at the source, dated as they were there. Each is compared "
		 "with its digest. Running it again writes what is missing. What is damaged in the "
		 "archive is named, with each message that cannot be had, all others are "
		 "written, and the exit code is 121. A message that was "
		 "renumbered since lies in its newest folder under its newest UID; one that "
		 "vanished at the source is written, too, unless --present is given.\n",
	.options = options,
	.options_count = ARRAY_COUNT(options),
	.sections = sections,
	.sections_count = ARRAY_COUNT(sections),
	.examples = "  mailhaul extract --to mail file:///var/archive\n"
		    "  mailhaul extract --to mail --folder INBOX --uid 17 file:///var/archive\n"
		    "  mailhaul extract --to mail --maildir --present file:///var/archive\n",
};

const struct command extract_command = { &usage, extract_main };
