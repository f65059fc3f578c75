/* What a mailbox's labels and messages are while they are told: see gmail_labels.h. A row a
 * message, and sets of labels are kept once each. Not for: what is in which folder then
 * (gmail_labels_places.c). */
#include "transport/gmail_labels.h"

#include <stdio.h>
#include <stdlib.h>

#include "crypto/digest.h"
#include "transport/gmail_labels_state.h"
#include "transport/imap_list.h"
#include "transport/imap_scan.h"

enum { ROOM_BYTES_MIN = 64 * 1024 };

/* ---- rules ---- */

static const char *const rule_names[] = { "first", "every", "folders" };

bool gmail_rule_from_name(struct text name, enum gmail_rule *rule)
{
	for (unsigned i = 0; i < ARRAY_COUNT(rule_names); i++)
		if (text_equal(name, text_of(rule_names[i]))) {
			*rule = (enum gmail_rule)i;
			return true;
		}
	return false;
}

const char *gmail_rule_name(enum gmail_rule rule)
{
	return rule_names[rule];
}

/* ---- the memory of it ---- */

enum err gmail_labels_open(enum gmail_rule rule, bool keywords, struct labels **out)
{
	struct labels *labels = calloc(1, sizeof *labels);

	*out = labels;
	if (!labels)
		return gmail_no_memory();
	labels->rule = rule;
	labels->keywords_wanted = keywords;
	return OK;
}

static void forget_mailbox(struct labels *labels)
{
	for (size_t i = 0; i < labels->folders_count; i++) {
		free(labels->folders[i].name);
		free(labels->folders[i].raw);
	}
	for (size_t i = 0; i < labels->labels_count; i++)
		free(labels->labels[i].raw);
	free(labels->folders);
	free(labels->labels);
	labels->folders = NULL;
	labels->labels = NULL;
	labels->folders_count = labels->folders_room = 0;
	labels->labels_count = labels->labels_room = 0;
	name_table_free(&labels->names);
	name_table_free(&labels->raws);
	name_table_free(&labels->label_names);
	name_table_free(&labels->sets_known);
	name_table_free(&labels->keywords_known);
	buffer_free(&labels->keywords);
	scratch_close(&labels->rows);
	scratch_close(&labels->sets);
	scratch_close(&labels->numbers);
	scratch_close(&labels->places);
	labels->rows_count = labels->sets_count = labels->numbers_count = labels->places_count = 0;
	labels->sums = (struct gmail_sums){ 0 };
}

void gmail_labels_forget(struct labels *labels)
{
	name_table_free(&labels->ids);
	labels->recalled_count = 0;
	scratch_close(&labels->recalled);
}

void gmail_labels_close(struct labels **labels_at)
{
	struct labels *labels = *labels_at;

	*labels_at = NULL;
	if (!labels)
		return;
	forget_mailbox(labels);
	gmail_labels_forget(labels);
	free(labels);
}

enum gmail_rule gmail_labels_rule(const struct labels *labels)
{
	return labels->rule;
}

enum err gmail_room(struct scratch *scratch, size_t bytes)
{
	size_t room = max_u64(scratch->bytes, ROOM_BYTES_MIN);

	while (room < bytes)
		room *= 2;
	return scratch_grow(scratch, room);
}

enum err gmail_add_number(struct labels *labels, uint32_t number)
{
	enum err e = gmail_room(&labels->numbers, (labels->numbers_count + 1) * sizeof number);

	if (e)
		return e;
	if (labels->numbers_count == UINT32_MAX)
		return gmail_no_memory();
	gmail_numbers(labels)[labels->numbers_count++] = number;
	return OK;
}

/* A server may say what it likes, and what we keep of it is bounded. */
static enum err too_many(const char *what, int max)
{
	return RAISE(ERR_SOURCE_LABELS, "the server tells of more than %d %s", max, what);
}

/* ---- what earlier runs settled ---- */

/* A folder is known by its id together with its epoch. */
char *gmail_id_key(char to[GMAIL_ID_KEY_BYTES], const char *id, uint64_t epoch)
{
	snprintf(to, GMAIL_ID_KEY_BYTES, "%llu %s", (unsigned long long)epoch, id);
	return to;
}

static enum err id_number(struct labels *labels, const char *box_id, uint64_t epoch,
			  uint32_t *number)
{
	char key[GMAIL_ID_KEY_BYTES];

	*number = name_table_find(&labels->ids, text_of(gmail_id_key(key, box_id, epoch)));
	if (*number != NAME_TABLE_NONE)
		return OK;
	*number = labels->ids.count;
	return name_table_put(&labels->ids, text_of(key), *number);
}

enum err gmail_labels_recall(struct labels *labels, const char *box_id, uint64_t epoch, uint64_t no,
			     bool stored, bool there)
{
	size_t bytes = (labels->recalled_count + 1) * sizeof(struct gmail_recalled);
	uint32_t id;
	enum err e;

	if (!box_id[0] || no > UINT32_MAX)
		return OK;
	if ((e = id_number(labels, box_id, epoch, &id)) ||
	    (e = gmail_room(&labels->recalled, bytes)))
		return e;
	((struct gmail_recalled *)(void *)labels->recalled.at)[labels->recalled_count++] =
		(struct gmail_recalled){ .no = (uint32_t)no,
					 .id = id,
					 .rank = !stored ? GMAIL_RANK_NOT_STORED
						 : there ? GMAIL_RANK_THERE
							 : GMAIL_RANK_GONE_LATER };
	return OK;
}

/* ---- folders ---- */

static enum err make_id(struct gmail_folder *folder)
{
	static const char *const ids[] = {
		[BOX_USE_INBOX] = "gmail:inbox",
		[BOX_USE_SENT] = "gmail:sent",
		[BOX_USE_DRAFTS] = "gmail:drafts",
		[BOX_USE_ARCHIVE] = "gmail:all",
	};
	const char *id = folder->use < ARRAY_COUNT(ids) ? ids[folder->use] : NULL;
	char hex[2 * DIGEST_BYTES + 1];
	struct digest digest;
	enum err e;

	if (id) {
		snprintf(folder->id, sizeof folder->id, "%s", id);
		return OK;
	}
	e = digest_of(digest_type(text_of("blake3")), folder->raw, strlen(folder->raw), &digest);
	if (e)
		return e;
	bytes_to_hex(hex, digest.bytes, DIGEST_BYTES);
	snprintf(folder->id, sizeof folder->id, "gmail:label:%.40s", hex);
	return OK;
}

static enum err folders_grow(struct labels *labels)
{
	size_t room = labels->folders_room ? 2 * labels->folders_room : 64;
	struct gmail_folder *folders;

	if (labels->folders_count < labels->folders_room)
		return OK;
	if (!(folders = realloc(labels->folders, room * sizeof *folders)))
		return gmail_no_memory();
	labels->folders = folders;
	labels->folders_room = room;
	return OK;
}

static unsigned levels_of(const struct box *box)
{
	unsigned levels = 1;

	for (const char *at = box->name; *at && box->separator; at++)
		levels += *at == box->separator;
	return levels;
}

enum err gmail_folder_add(struct labels *labels, const struct box *box, bool listed, uint32_t *out)
{
	struct gmail_folder *folder;
	enum err e = folders_grow(labels);

	if (e)
		return e;
	*out = (uint32_t)labels->folders_count;
	folder = &labels->folders[labels->folders_count++];
	*folder = (struct gmail_folder){
		.name = strdup(box->name),
		.raw = strdup(box->raw),
		.separator = box->separator,
		.use = box->use,
		.subscribed = box->subscribed,
		.childless = box->childless,
		.listed = listed,
		.levels = levels_of(box),
		.announced = box->messages,
	};
	if (!folder->name || !folder->raw)
		return gmail_no_memory();
	if ((e = make_id(folder)) || (e = name_table_put(&labels->names, text_of(box->name), *out)))
		return e;
	return name_table_put(&labels->raws, text_of(box->raw), *out);
}

enum err gmail_labels_begin(struct labels *labels, const struct filter *filter,
			    const struct box *all)
{
	forget_mailbox(labels);
	labels->filter = filter;
	labels->all = *all;
	labels->work = *all;
	labels->work.use = BOX_USE_ARCHIVE; /* nobody's view any more */
	return gmail_folder_add(labels, &labels->work, true, &labels->archive);
}

/* "[Gmail]/", wherever All Mail is: how many bytes of its name. */
static size_t system_bytes(const struct labels *labels)
{
	const char *last =
		labels->all.separator ? strrchr(labels->all.name, labels->all.separator) : NULL;

	return last ? (size_t)(last + 1 - labels->all.name) : 0;
}

/* A folder beside All Mail of whose use nothing is known ("[Gmail]/Chats") is no label. */
enum gmail_box gmail_labels_kind(const struct labels *labels, const struct box *box)
{
	size_t system = system_bytes(labels);

	if (!box->selectable || strlen(box->raw) == BOX_NAME_BYTES_MAX)
		return GMAIL_BOX_ITSELF;
	switch (box->use) {
	case BOX_USE_JUNK:
	case BOX_USE_TRASH:
		return GMAIL_BOX_ITSELF;
	case BOX_USE_ALL:
		return strcmp(box->raw, labels->all.raw) == 0 ? GMAIL_BOX_VIEW : GMAIL_BOX_ITSELF;
	case BOX_USE_FLAGGED:
	case BOX_USE_IMPORTANT:
		return GMAIL_BOX_VIEW;
	case BOX_USE_INBOX:
	case BOX_USE_SENT:
	case BOX_USE_DRAFTS:
		return GMAIL_BOX_LABEL;
	case BOX_USE_NONE:
	case BOX_USE_ARCHIVE:
		break;
	}
	return system && strncmp(box->name, labels->all.name, system) == 0 ? GMAIL_BOX_ITSELF
									   : GMAIL_BOX_LABEL;
}

enum err gmail_labels_add_folder(struct labels *labels, const struct box *box)
{
	uint32_t unused;

	/* Of two with one name the server says nothing that we could tell apart. */
	if (name_table_find(&labels->raws, text_of(box->raw)) != NAME_TABLE_NONE)
		return OK;
	if (labels->folders_count > GMAIL_LABELS_MAX)
		return too_many("labels in LIST", GMAIL_LABELS_MAX);
	return gmail_folder_add(labels, box, true, &unused);
}

/* ---- labels ---- */

enum err gmail_label_names(struct labels *labels, struct text raw)
{
	bool ascii = true;

	for (size_t i = 0; i < raw.bytes; i++)
		ascii &= (unsigned char)raw.at[i] < 0x80;
	return imap_list_names(raw, !ascii, &labels->work);
}

/* The folder that a label of the user's is shown as: spelt alike, or of the same name. */
static enum err folder_of_label(struct labels *labels, struct text raw, uint32_t *folder)
{
	enum err e;

	*folder = name_table_find(&labels->raws, raw);
	if (*folder == NAME_TABLE_NONE) {
		if ((e = gmail_label_names(labels, raw)))
			return e;
		*folder = name_table_find(&labels->names, text_of(labels->work.name));
	}
	if (*folder == NAME_TABLE_NONE)
		*folder = GMAIL_FOLDER_NONE;
	return OK;
}

/* Labels of the system's begin with a backslash, which Gmail sends quoted or not. */
static enum err judge_label(struct labels *labels, struct text raw, struct gmail_label *label)
{
	static const struct {
		const char *name;
		enum gmail_label_kind kind;
		enum box_use use;
	} known[] = {
		{ "\\Inbox", GMAIL_LABEL_PLACE, BOX_USE_INBOX },
		{ "\\Sent", GMAIL_LABEL_PLACE, BOX_USE_SENT },
		{ "\\Draft", GMAIL_LABEL_PLACE, BOX_USE_DRAFTS },
		{ "\\Drafts", GMAIL_LABEL_PLACE, BOX_USE_DRAFTS },
		{ "\\Starred", GMAIL_LABEL_FLAG, BOX_USE_NONE },
		{ "\\Flagged", GMAIL_LABEL_FLAG, BOX_USE_NONE },
	};

	label->folder = GMAIL_FOLDER_NONE;
	if (raw.at[0] != '\\')
		return folder_of_label(labels, raw, &label->folder);
	label->kind = GMAIL_LABEL_MARK;
	for (unsigned i = 0; i < ARRAY_COUNT(known); i++)
		if (imap_text_is(raw, known[i].name)) {
			label->kind = known[i].kind;
			label->use = known[i].use;
		}
	for (size_t i = 0; i < labels->folders_count && label->use; i++)
		if (labels->folders[i].use == label->use)
			label->folder = (uint32_t)i;
	return OK;
}

static enum err label_number(struct labels *labels, struct text raw, uint32_t *number)
{
	size_t room = labels->labels_room ? 2 * labels->labels_room : 64;
	struct gmail_label *label;
	enum err e;

	*number = name_table_find(&labels->label_names, raw);
	if (*number != NAME_TABLE_NONE)
		return OK;
	if (labels->labels_count == GMAIL_LABELS_MAX)
		return too_many("labels", GMAIL_LABELS_MAX);
	if (labels->label_names.texts.bytes > GMAIL_TEXTS_BYTES_MAX)
		return too_many("bytes of labels", GMAIL_TEXTS_BYTES_MAX);
	if (labels->labels_count == labels->labels_room) {
		if (!(label = realloc(labels->labels, room * sizeof *label)))
			return gmail_no_memory();
		labels->labels = label;
		labels->labels_room = room;
	}
	*number = (uint32_t)labels->labels_count;
	label = &labels->labels[labels->labels_count++];
	*label = (struct gmail_label){ .raw = strndup(raw.at, raw.bytes) };
	if (!label->raw)
		return gmail_no_memory();
	e = judge_label(labels, raw, label);
	return e ? e : name_table_put(&labels->label_names, raw, *number);
}

static int compare_numbers(const void *left, const void *right)
{
	const uint32_t *a = left, *b = right;

	return (*a > *b) - (*a < *b);
}

static enum err add_set(struct labels *labels, const uint32_t *numbers, unsigned count,
			uint32_t *set)
{
	struct gmail_set added = { .labels_at = (uint32_t)labels->numbers_count,
				   .labels_count = count };
	enum err e = OK;

	if (labels->sets_count == GMAIL_SETS_MAX)
		return too_many("sets of labels", GMAIL_SETS_MAX);
	if (labels->sets_known.texts.bytes > GMAIL_TEXTS_BYTES_MAX)
		return too_many("bytes of sets of labels", GMAIL_TEXTS_BYTES_MAX);
	for (unsigned i = 0; i < count && e == OK; i++)
		e = gmail_add_number(labels, numbers[i]);
	if (e || (e = gmail_room(&labels->sets, (labels->sets_count + 1) * sizeof added)))
		return e;
	*set = (uint32_t)labels->sets_count;
	gmail_sets(labels)[labels->sets_count++] = added;
	return name_table_put(&labels->sets_known,
			      (struct text){ (const char *)numbers, count * sizeof numbers[0] },
			      *set);
}

static enum err set_number(struct labels *labels, struct text said, uint32_t *set)
{
	uint32_t numbers[GMAIL_LABELS_OF_MESSAGE_MAX];
	unsigned count = 0, kept = 0;
	enum err e;

	while (said.bytes && count < GMAIL_LABELS_OF_MESSAGE_MAX) {
		struct text one = { said.at, strnlen(said.at, said.bytes) };
		size_t step = min_u64(one.bytes + 1, said.bytes);

		if (one.bytes && (e = label_number(labels, one, &numbers[count++])))
			return e;
		said = (struct text){ said.at + step, said.bytes - step };
	}
	qsort(numbers, count, sizeof numbers[0], compare_numbers);
	for (unsigned i = 0; i < count; i++)
		if (i == 0 || numbers[i] != numbers[kept - 1])
			numbers[kept++] = numbers[i];
	*set = name_table_find(&labels->sets_known,
			       (struct text){ (const char *)numbers, kept * sizeof numbers[0] });
	return *set != NAME_TABLE_NONE ? OK : add_set(labels, numbers, kept, set);
}

/* Where the text of keywords stands; 0: there are none. */
static enum err keywords_at(struct labels *labels, const struct mail_meta *meta, uint32_t *at)
{
	struct text text = { meta->keywords, meta->keywords_bytes };

	*at = 0;
	if (!text.bytes)
		return OK;
	*at = name_table_find(&labels->keywords_known, text);
	if (*at != NAME_TABLE_NONE)
		return OK;
	if (labels->keywords.bytes > GMAIL_TEXTS_BYTES_MAX)
		return too_many("bytes of keywords", GMAIL_TEXTS_BYTES_MAX);
	if (!labels->keywords.bytes)
		buffer_add(&labels->keywords, "", 1);
	*at = (uint32_t)labels->keywords.bytes;
	buffer_add(&labels->keywords, text.at, text.bytes);
	buffer_add(&labels->keywords, "", 1);
	return labels->keywords.failed ? gmail_no_memory()
				       : name_table_put(&labels->keywords_known, text, *at);
}

enum err gmail_labels_note(struct labels *labels, uint32_t uid, const struct mail_meta *meta,
			   struct text said, bool wanted)
{
	struct gmail_row row = {
		.uid = uid,
		.stays = GMAIL_FOLDER_NONE,
		.flags = (uint8_t)meta->flags,
		.wanted = wanted,
	};
	enum err e;

	must(uid);
	if ((e = set_number(labels, said, &row.set)) ||
	    (e = keywords_at(labels, meta, &row.keywords)) ||
	    (e = gmail_room(&labels->rows, (labels->rows_count + 1) * sizeof row)))
		return e;
	if (labels->rows_count == UINT32_MAX)
		return gmail_no_memory();
	gmail_rows(labels)[labels->rows_count++] = row;
	return OK;
}
