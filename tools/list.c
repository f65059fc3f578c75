/* mailhaul list: what an archive holds. */
#include <stdlib.h>

#include "tools/commands.h"
#include "tools/confinement.h"
#include "tools/damage.h"
#include "tools/hints.h"
#include "tools/json_out.h"
#include "tools/list_changes.h"
#include "tools/reading.h"
#include "tools/selection.h"
#include "tools/terminal.h"
#include "tools/units.h"
#include "transport/archive.h"

/* A folder of the mailbox being listed; its messages are counted from the indexes. */
struct list_box {
	char *name;
	char separator;
	bool subscribed;
	enum box_use use;
	uint64_t epoch, messages, bytes, vanished;
};

struct list {
	struct list_options {
		struct selection selection;
		bool messages, changes, json;
		const char *confine;
		struct reading_options reading;
		struct residency_options residency;
	} options;
	struct json_out json;
	struct damage damage;
	struct archive_mailbox mailbox;
	struct box box;
	struct list_box *boxes;
	size_t boxes_count, boxes_room, last_box; /* last_box: where the message before lay */
	struct archive_message message;
	char shown[3 * BOX_NAME_BYTES_MAX]; /* one name at a time, as a terminal may see it */
	uint64_t lines;
};

static const char *shown(struct list *list, const char *name)
{
	return terminal_text(list->shown, sizeof list->shown, name);
}

/* ---- one line each ---- */

static void tell_mailbox(struct list *list)
{
	const struct archive_mailbox *mailbox = &list->mailbox;
	char bytes[UNITS_TEXT_BYTES], stored[UNITS_TEXT_BYTES];

	if (!list->options.json) {
		printf("%s  %llu folder%s, %llu message%s, %s, stored as %s in %llu pack%s, %s\n",
		       shown(list, mailbox->name), (unsigned long long)mailbox->boxes,
		       units_plural(mailbox->boxes), (unsigned long long)mailbox->messages,
		       units_plural(mailbox->messages), units_bytes(bytes, mailbox->bytes),
		       units_bytes(stored, mailbox->stored_bytes),
		       (unsigned long long)mailbox->packs, units_plural(mailbox->packs),
		       mailbox->digest);
		return;
	}
	json_object_begin(&list->json, NULL);
	json_text(&list->json, "kind", "mailbox");
	json_text(&list->json, "mailbox", mailbox->name);
	json_text(&list->json, "key", mailbox->key);
	json_text(&list->json, "digest", mailbox->digest);
	json_number(&list->json, "folders", mailbox->boxes);
	json_number(&list->json, "messages", mailbox->messages);
	json_number(&list->json, "bytes", mailbox->bytes);
	json_number(&list->json, "stored_bytes", mailbox->stored_bytes);
	json_number(&list->json, "packs", mailbox->packs);
	json_number(&list->json, "generation", mailbox->generation);
	json_object_end(&list->json);
	json_line_end(&list->json);
}

static void tell_box(struct list *list, const struct list_box *box)
{
	const char *use = box_use_name(box->use);
	char separator[2] = { box->separator, '\0' };

	if (!list->options.json) {
		char bytes[UNITS_TEXT_BYTES];

		printf("  %8llu  %8s  %s%s%s%s", (unsigned long long)box->messages,
		       units_bytes(bytes, box->bytes), shown(list, box->name), *use ? "  (" : "",
		       use, *use ? ")" : "");
		if (box->vanished)
			printf("  %llu vanished", (unsigned long long)box->vanished);
		printf("\n");
		return;
	}
	json_object_begin(&list->json, NULL);
	json_text(&list->json, "kind", "folder");
	json_text(&list->json, "mailbox", list->mailbox.name);
	json_text(&list->json, "folder", box->name);
	json_text(&list->json, "separator", separator);
	json_text(&list->json, "use", use);
	json_bool(&list->json, "subscribed", box->subscribed);
	json_number(&list->json, "uidvalidity", box->epoch);
	json_number(&list->json, "messages", box->messages);
	json_number(&list->json, "bytes", box->bytes);
	json_number(&list->json, "vanished", box->vanished);
	json_object_end(&list->json);
	json_line_end(&list->json);
}

static const struct {
	enum mail_flag flag;
	const char *name;
} flags[] = {
	{ MAIL_SEEN, "seen" },	     { MAIL_ANSWERED, "answered" }, { MAIL_FLAGGED, "flagged" },
	{ MAIL_DELETED, "deleted" }, { MAIL_DRAFT, "draft" },
};

static struct text keywords(const struct mail_meta *meta)
{
	return (struct text){ meta->keywords, meta->keywords_bytes };
}

static void tell_message_json(struct list *list, const char *date, const char *digest)
{
	const struct archive_message *message = &list->message;

	json_object_begin(&list->json, NULL);
	json_text(&list->json, "kind", "message");
	json_text(&list->json, "mailbox", list->mailbox.name);
	json_text(&list->json, "folder", message->box);
	json_number(&list->json, "uid", message->no);
	json_number(&list->json, "uidvalidity", message->epoch);
	json_number(&list->json, "size", message->size_bytes);
	if (*date)
		json_text(&list->json, "date", date);
	else
		json_null(&list->json, "date");
	json_array_begin(&list->json, "flags");
	for (size_t i = 0; i < ARRAY_COUNT(flags); i++)
		if (message->meta.flags & flags[i].flag)
			json_text(&list->json, NULL, flags[i].name);
	json_array_end(&list->json);
	json_text_bytes(&list->json, "keywords", keywords(&message->meta));
	json_bool(&list->json, "vanished", message->vanished);
	if (*message->changed)
		json_text(&list->json, "changed", message->changed);
	else
		json_null(&list->json, "changed");
	json_text(&list->json, list->mailbox.digest, digest);
	json_text(&list->json, "pack", message->pack);
	json_number(&list->json, "offset", message->offset);
	json_object_end(&list->json);
	json_line_end(&list->json);
}

static void tell_message(struct list *list)
{
	const struct archive_message *message = &list->message;
	char date[40] = "", digest[2 * DIGEST_BYTES + 1];
	bool any = false;

	if (message->meta.date.known)
		mail_date_rfc3339(date, &message->meta.date);
	bytes_to_hex(digest, message->digest.bytes, DIGEST_BYTES);
	if (list->options.json) {
		tell_message_json(list, date, digest);
		return;
	}
	printf("  %10llu  %10llu  %-25s  %.16s  ", (unsigned long long)message->no,
	       (unsigned long long)message->size_bytes, *date ? date : "-", digest);
	for (size_t i = 0; i < ARRAY_COUNT(flags); i++)
		if (message->meta.flags & flags[i].flag) {
			printf("%s%s", any ? "," : "", flags[i].name);
			any = true;
		}
	printf("%s  %s%s\n", any ? "" : "-", shown(list, message->box),
	       message->vanished ? "  vanished" : "");
}

/* ---- the walk ---- */

/* Nobody reads on (a closed pipe, a full disk): why go through the rest. */
static bool goes_on(enum err e)
{
	return e == OK && !ferror(stdout);
}

static void forget_boxes(struct list *list)
{
	for (size_t i = 0; i < list->boxes_count; i++)
		free(list->boxes[i].name);
	list->boxes_count = list->last_box = 0;
}

static enum err add_box(struct list *list, const struct list_box *box, const char *name)
{
	struct list_box *added;

	if (list->boxes_count == list->boxes_room) {
		size_t room = max_u64(64, 2 * list->boxes_room);
		struct list_box *grown = reallocarray(list->boxes, room, sizeof *grown);

		if (!grown)
			return RAISE(ERR_MEMORY_EXHAUSTED, "listing folders");
		list->boxes = grown;
		list->boxes_room = room;
	}
	added = &list->boxes[list->boxes_count];
	*added = *box;
	if (!(added->name = strdup(name)))
		return RAISE(ERR_MEMORY_EXHAUSTED, "listing folders");
	list->boxes_count++;
	return OK;
}

static enum err take_boxes(struct list *list, struct archive *archive)
{
	const struct box *box = &list->box;
	enum err e;

	while ((e = archive_box_next(archive, &list->box)) == OK)
		if (selection_has_box(&list->options.selection, box->name) &&
		    (e = add_box(list,
				 &(struct list_box){ .separator = box->separator,
						     .subscribed = box->subscribed,
						     .use = box->use,
						     .epoch = box->epoch },
				 box->name)))
			break;
	return e == ERR_PIPE_ENDED ? OK : e;
}

/* The folder's place; boxes_count if it has none. Messages of one folder mostly follow each other,
 * those of its neighbours among them: it is looked for on both sides of the last. */
static size_t find_box(const struct list *list, const char *name)
{
	size_t from = list->last_box, count = list->boxes_count;

	for (size_t i = 0; i < count; i++) {
		if (from + i < count && strcmp(list->boxes[from + i].name, name) == 0)
			return from + i;
		if (i <= from && from - i < count && strcmp(list->boxes[from - i].name, name) == 0)
			return from - i;
	}
	return count;
}

static enum err count_message(struct list *list)
{
	const struct archive_message *message = &list->message;
	struct list_box unknown = { .separator = message->separator };
	size_t i = find_box(list, message->box);
	enum err e;

	if (i == list->boxes_count && (e = add_box(list, &unknown, message->box)))
		return e;
	list->boxes[i].messages++;
	list->boxes[i].bytes += message->size_bytes;
	list->boxes[i].vanished += message->vanished;
	list->last_box = i;
	return OK;
}

static enum err take_messages(struct list *list, struct archive *archive)
{
	enum err e;

	while (goes_on(e = archive_message_next(archive, &list->message))) {
		if (!selection_has_message(&list->options.selection, &list->message))
			continue;
		list->lines++;
		if (list->options.messages)
			tell_message(list);
		if ((e = count_message(list)))
			return e;
	}
	return e == ERR_PIPE_ENDED ? OK : e;
}

/* The mailbox, its messages where they are asked for, then its folders: their messages are known
 * when the indexes have been read. */
static enum err list_mailbox(struct list *list, struct archive *archive)
{
	enum err e;

	forget_boxes(list);
	tell_mailbox(list);
	if (list->options.changes)
		return list_changes(archive, &list->mailbox, &list->options.selection,
				    list->options.json ? &list->json : NULL, &list->lines);
	if ((e = take_boxes(list, archive)) || (e = take_messages(list, archive)))
		return e;
	for (size_t i = 0; i < list->boxes_count && !list->options.selection.number; i++) {
		list->lines++;
		tell_box(list, &list->boxes[i]);
	}
	return OK;
}

static enum err list_archive(void *context, struct archive *archive)
{
	struct list *list = context;
	enum err e = selection_apply(&list->options.selection, archive);

	archive_on_damage(archive, damage_tell, &list->damage);
	if (e)
		return e;
	while (goes_on(e = archive_mailbox_next(archive, &list->mailbox))) {
		if (!list->options.selection.box && !list->options.selection.number)
			list->lines++;
		if ((e = list_mailbox(list, archive)))
			return e;
	}
	if (e == ERR_PIPE_ENDED)
		e = list->lines || list->damage.files || selection_is_all(&list->options.selection)
			    ? OK
			    : RAISE(ERR_ARCHIVE_NO_MATCH,
				    "looking for what --mailbox, --folder and --uid say");
	return e;
}

static int list_main(int count, char *const *words)
{
	struct list *list = calloc(1, sizeof *list);
	struct opt_words arguments;
	int exit_code = EXIT_ALL_MOVED;
	enum err e;

	if (!list)
		return hint_fail("list", RAISE(ERR_MEMORY_EXHAUSTED, "starting"));
	list->json.file = stdout;
	if (command_parse(list_command.usage, count, words, &list->options, &arguments,
			  &exit_code)) {
		list->options.messages |= list->options.selection.number > 0;
		list->damage = (struct damage){
			.command = "list",
			.json = list->options.json ? &list->json : NULL,
		};
		e = reading_run(&(struct reading){
			.archive = arguments.at[0],
			.confine = list->options.confine,
			.options = &list->options.reading,
			.residency = &list->options.residency,
			.work = list_archive,
			.context = list,
		});
		if (e)
			exit_code = hint_fail("list", e);
		exit_code = damage_end(&list->damage, exit_code);
		exit_code = command_finish_output("list", exit_code);
	}
	forget_boxes(list);
	free(list->boxes);
	free(list);
	return exit_code;
}

static const struct opt options[] = {
	{ .name = "messages",
	  OPT_STORES_FLAG(struct list_options, messages),
	  .help = "List each message too: UID, size, date, beginning of its digest, flags, "
		  "folder." },
	{ .name = "changes",
	  OPT_STORES_FLAG(struct list_options, changes),
	  .help = "List what each run brought instead: the generations of the manifest, and what "
		  "each found re-flagged, vanished or renumbered since the one before. Those of "
		  "a run that was cut stand in the next one's." },
	SELECTION_OPTIONS(struct list_options, selection),
	{ .name = "json",
	  OPT_STORES_FLAG(struct list_options, json),
	  .help = "One JSON object per line, its \"kind\" being mailbox, folder, message, "
		  "generation, change or fault." },
	READING_OPTIONS(struct list_options, reading),
	RESIDENCY_OPTIONS(struct list_options, residency),
	CONFINEMENT_OFFLINE_OPTION(struct list_options, confine),
};

static const struct opt_command usage = {
	.name = "list",
	.arguments = "ARCHIVE",
	.words_min = 1,
	.words_max = 1,
	.summary = "show what an archive holds",
	.about = "List the mailboxes of ARCHIVE (file:///path) with their folders. A copy may be "
		 "going on meanwhile: what its last manifest says is shown. What is damaged is "
		 "named, the rest is shown, and the exit code is 121. Messages are shown as "
		 "the last run saw them: with their flags of then, in the folder and with the UID "
		 "of then, and \"vanished\" where they were not at the source any more.\n",
	.options = options,
	.options_count = ARRAY_COUNT(options),
	.examples = "  mailhaul list file:///var/archive\n"
		    "  mailhaul list --changes file:///var/archive\n"
		    "  mailhaul list --folder INBOX --messages file:///var/archive\n"
		    "  mailhaul list --messages --json file:///var/archive | jq .size\n",
};

const struct command list_command = { &usage, list_main };
