/* Which folders a set of labels stands for, and which messages stay where an earlier run put them.
 * Decided for each set once: mailboxes have some hundred sets, whatever the number of messages. */
#include <stdio.h>
#include <stdlib.h>

#include "engine/filter.h"
#include "transport/gmail_labels_state.h"

/* ---- folders that IMAP does not show ---- */

/* Beside All Mail, as Gmail calls it in English: nothing better is known of it. */
static void name_system_box(struct labels *labels, const char *level)
{
	struct box *box = &labels->work;
	const char *last =
		labels->all.separator ? strrchr(labels->all.raw, labels->all.separator) : NULL;
	int above = last ? (int)(last + 1 - labels->all.raw) : 0;

	snprintf(box->raw, sizeof box->raw, "%.*s%s", above, labels->all.raw, level);
	last = labels->all.separator ? strrchr(labels->all.name, labels->all.separator) : NULL;
	above = last ? (int)(last + 1 - labels->all.name) : 0;
	snprintf(box->name, sizeof box->name, "%.*s%s", above, labels->all.name, level);
}

/* A label whose folder is hidden from IMAP is a place all the same. */
static enum err show_label(struct labels *labels, struct gmail_label *label)
{
	struct box *box = &labels->work;
	enum err e;

	if (label->use) {
		name_system_box(labels, label->use == BOX_USE_INBOX  ? "INBOX"
					: label->use == BOX_USE_SENT ? "Sent Mail"
								     : "Drafts");
	} else if ((e = gmail_label_names(labels, text_of(label->raw)))) {
		return e;
	}
	box->use = label->use;
	box->separator = labels->all.separator;
	box->subscribed = box->childless = false;
	box->messages = 0;
	label->folder = name_table_find(&labels->names, text_of(box->name));
	if (label->folder != NAME_TABLE_NONE)
		return OK; /* spelt differently, and the same folder */
	return gmail_folder_add(labels, box, false, &label->folder);
}

static enum err show_hidden(struct labels *labels)
{
	enum err e = OK;

	for (size_t i = 0; i < labels->labels_count && e == OK; i++) {
		struct gmail_label *label = &labels->labels[i];

		if (label->folder == GMAIL_FOLDER_NONE &&
		    (label->kind == GMAIL_LABEL_USERS || label->kind == GMAIL_LABEL_PLACE))
			e = show_label(labels, label);
	}
	return e;
}

static void ask_filter(struct labels *labels)
{
	struct box *box = &labels->work;

	for (size_t i = 0; i < labels->folders_count; i++) {
		struct gmail_folder *folder = &labels->folders[i];

		snprintf(box->name, sizeof box->name, "%s", folder->name);
		box->separator = folder->separator;
		box->use = folder->use;
		folder->wanted = filter_takes_folder(labels->filter, box);
	}
}

/* ---- sets ---- */

static unsigned class_of(const struct gmail_folder *folder)
{
	switch (folder->use) {
	case BOX_USE_INBOX:
		return 0;
	case BOX_USE_SENT:
		return 1;
	case BOX_USE_DRAFTS:
		return 2;
	default:
		return 3;
	}
}

/* Does it come before the other one in the rule's order? */
static bool is_before(const struct gmail_folder *a, const struct gmail_folder *b)
{
	if (a->wanted != b->wanted)
		return a->wanted;
	if (class_of(a) != class_of(b))
		return class_of(a) < class_of(b);
	if (a->levels != b->levels)
		return a->levels > b->levels;
	return strcmp(a->name, b->name) < 0;
}

static enum err add_folder(struct labels *labels, uint32_t index, uint32_t folder)
{
	const struct gmail_set *set = &gmail_sets(labels)[index];

	for (uint32_t i = 0; i < set->folders_count; i++)
		if (gmail_numbers(labels)[set->folders_at + i] == folder)
			return OK;
	gmail_sets(labels)[index].folders_count++;
	return gmail_add_number(labels, folder);
}

/* All that its labels stand for; then, where one is to be chosen, that one in front. */
static enum err choose(struct labels *labels, uint32_t index)
{
	struct gmail_set *set = &gmail_sets(labels)[index];
	uint32_t *folders;
	enum err e = OK;

	set->folders_at = (uint32_t)labels->numbers_count;
	set->folders_count = 0;
	for (uint32_t i = 0; i < set->labels_count && e == OK; i++) {
		uint32_t label = gmail_numbers(labels)[set->labels_at + i];

		if (labels->labels[label].folder != GMAIL_FOLDER_NONE)
			e = add_folder(labels, index, labels->labels[label].folder);
	}
	labels->sums.of_several += set->folders_count > 1 ? set->messages : 0;
	folders = gmail_numbers(labels) + set->folders_at;
	for (uint32_t i = 0; i < set->folders_count && e == OK; i++)
		labels->folders[folders[i]].labelled += set->messages;
	if (!e && set->folders_count == 0)
		return add_folder(labels, index, labels->archive);
	for (uint32_t i = 1; i < set->folders_count && labels->rule == GMAIL_RULE_FIRST; i++)
		if (is_before(&labels->folders[folders[i]], &labels->folders[folders[0]]))
			folders[0] = folders[i];
	if (labels->rule == GMAIL_RULE_FIRST)
		set->folders_count = 1;
	return e;
}

/* ---- what stays where it is ---- */

static int compare_recalled(const void *left, const void *right)
{
	const struct gmail_recalled *a = left, *b = right;

	if (a->no != b->no)
		return a->no < b->no ? -1 : 1;
	if (a->rank != b->rank)
		return a->rank < b->rank ? -1 : 1;
	return (a->id > b->id) - (a->id < b->id);
}

/* Folders of the recalled ids; NULL: no memory. */
static uint32_t *folders_of_ids(const struct labels *labels)
{
	uint32_t *folders = calloc(labels->ids.count, sizeof *folders);
	uint64_t epoch = gmail_labels_epoch(labels);
	char key[GMAIL_ID_KEY_BYTES];

	for (size_t i = 0; folders && i < labels->ids.count; i++)
		folders[i] = GMAIL_FOLDER_NONE;
	for (size_t i = 0; folders && i < labels->folders_count; i++) {
		uint32_t id = name_table_find(
			&labels->ids, text_of(gmail_id_key(key, labels->folders[i].id, epoch)));

		if (id != NAME_TABLE_NONE)
			folders[id] = (uint32_t)i;
	}
	return folders;
}

/* Of the entries of one message the best, or of several as good the one that the rule says. */
static void stay(struct labels *labels, struct gmail_row *row,
		 const struct gmail_recalled *recalled, size_t count, const uint32_t *folders)
{
	const struct gmail_set *set = &gmail_sets(labels)[row->set];
	uint32_t chosen = gmail_numbers(labels)[set->folders_at];
	enum gmail_rank rank = GMAIL_RANK_NONE;

	for (size_t i = 0; i < count && recalled[i].no == row->uid; i++) {
		uint32_t folder = folders[recalled[i].id];

		if (folder == GMAIL_FOLDER_NONE || recalled[i].rank > rank)
			continue;
		/* It is not there, and shall not be. */
		if (recalled[i].rank == GMAIL_RANK_NOT_STORED && !labels->folders[folder].wanted)
			continue;
		if (rank == GMAIL_RANK_NONE || folder == chosen)
			row->stays = folder;
		rank = recalled[i].rank;
	}
	if (row->stays == chosen)
		row->stays = GMAIL_FOLDER_NONE; /* it is there anyway */
}

static enum err stay_all(struct labels *labels)
{
	struct gmail_recalled *recalled = (struct gmail_recalled *)(void *)labels->recalled.at;
	size_t count = labels->recalled_count, at = 0;
	uint32_t *folders;

	if (!count || labels->rule != GMAIL_RULE_FIRST)
		return OK;
	if (!(folders = folders_of_ids(labels)))
		return gmail_no_memory();
	qsort(recalled, count, sizeof recalled[0], compare_recalled);
	for (size_t i = 0; i < labels->rows_count; i++) {
		struct gmail_row *row = &gmail_rows(labels)[i];

		while (at < count && recalled[at].no < row->uid)
			at++;
		stay(labels, row, recalled + at, count - at, folders);
	}
	free(folders);
	return OK;
}

enum err gmail_choose_folders(struct labels *labels)
{
	enum err e;

	for (size_t i = 0; i < labels->rows_count; i++)
		gmail_sets(labels)[gmail_rows(labels)[i].set].messages++;
	if ((e = show_hidden(labels)))
		return e;
	ask_filter(labels);
	for (size_t i = 0; i < labels->sets_count && e == OK; i++)
		e = choose(labels, (uint32_t)i);
	labels->folders[labels->archive].labelled = labels->rows_count; /* of All Mail */
	return e ? e : stay_all(labels);
}
