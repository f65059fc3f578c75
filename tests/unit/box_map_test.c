/* Where each folder of a source goes at a destination: transport/box_map.h, docs/FOLDERS.md. */
#include <stdlib.h>

#include "crypto/digest.h"
#include "engine/bytes.h"
#include "tests/test.h"
#include "transport/box_map.h"
#include "transport/imap_utf7.h"

/* The servers of these tests. */
static const struct box_map_target dovecot = { .separator = '/', .create_special_use = true };
static const struct box_map_target courier = { .separator = '.', .prefix = "INBOX." };
static const struct box_map_target cyrus = { .separator = '/',
					     .create_special_use = true,
					     .inbox_is_leaf = true };
static const struct box_map_target netnews = { .separator = '.',
					       .prefix = "INBOX.",
					       .forbidden = "/" };
static const struct box_map_target exchange = { .separator = '/', .case_insensitive = true };

struct folder {
	const char *name;
	enum box_use use;
	const char *goes; /* in UTF-8; not of the destination's own */
	enum box_why why;
};

static void fill(struct box *box, const char *name, char separator, enum box_use use)
{
	*box = (struct box){ .separator = separator, .use = use, .selectable = true };
	snprintf(box->name, sizeof box->name, "%s", name);
	if (!imap_utf7_encode(text_of(name), box->raw, sizeof box->raw))
		snprintf(box->raw, sizeof box->raw, "%s", name);
}

static struct box_map *open_map(const struct box_map_target *target)
{
	struct box_map *map;

	CHECK_OK(box_map_open(target, &map));
	return map;
}

static void add_target(struct box_map *map, const char *name, char separator, enum box_use use)
{
	struct box *box = malloc(sizeof *box);

	fill(box, name, separator, use);
	CHECK_OK(box_map_add_target(map, box));
	free(box);
}

static void add_source(struct box_map *map, uint64_t no, const char *name, char separator,
		       enum box_use use)
{
	struct box *box = malloc(sizeof *box);

	fill(box, name, separator, use);
	box->box_no = no;
	CHECK_OK(box_map_add_source(map, box));
	free(box);
}

/* Of a folder that was added; until the next call. */
static const struct box_place *place(struct box_map *map, uint64_t no)
{
	static struct box box;
	static struct box_place out;

	box.box_no = no;
	box.selectable = true;
	CHECK_OK(box_map_place(map, &box, &out));
	return &out;
}

static bool is_of(const struct folder *there, const char *name)
{
	for (; there && there->name; there++)
		if (strcmp(there->name, name) == 0)
			return true;
	return false;
}

static void check_place(const struct box_place *out, const struct folder *folder,
			const struct folder *there)
{
	char raw[BOX_NAME_BYTES_MAX + 1];

	if (strcmp(out->name, folder->goes) != 0 || out->why != folder->why)
		test_failed(__FILE__, __LINE__, "\"%s\" goes to \"%s\" (%s), not \"%s\" (%s)",
			    folder->name, out->name, box_why_text(out->why), folder->goes,
			    box_why_text(folder->why));
	CHECK(imap_utf7_encode(text_of(out->name), raw, sizeof raw));
	CHECK_TEXT(out->raw, raw);
	CHECK_EQ(out->kind, is_of(there, out->name) ? BOX_PLACE_EXISTS : BOX_PLACE_CREATE);
}

/* In the order of listing, and in the opposite one: the answer is the same. */
static void check_map(const struct box_map_target *target, const struct folder *there,
		      char separator, const struct folder *from)
{
	unsigned count = 0;

	while (from[count].name)
		count++;
	for (unsigned turned = 0; turned < 2; turned++) {
		struct box_map *map = open_map(target);

		for (const struct folder *folder = there; folder && folder->name; folder++)
			add_target(map, folder->name, target->separator, folder->use);
		for (unsigned i = 0; i < count; i++) {
			unsigned no = turned ? count - 1 - i : i;

			add_source(map, no + 1, from[no].name, separator, from[no].use);
		}
		for (unsigned i = 0; i < count; i++) {
			check_place(place(map, i + 1), &from[i], there);
		}
		box_map_close(&map);
	}
}

/* ---- separators and prefixes ---- */

TEST(a_dovecot_with_slashes_keeps_names_of_its_kind)
{
	check_map(&dovecot, NULL, '/',
		  (const struct folder[]){ { "INBOX", BOX_USE_INBOX, "INBOX", BOX_WHY_NONE },
					   { "Projekte/Ährenfeld", 0, "Projekte/Ährenfeld", 0 },
					   { "a b ", 0, "a b ", 0 },
					   { " leading", 0, " leading", 0 },
					   { "quote\"back\\slash", 0, "quote\"back\\slash", 0 },
					   { "{curly}", 0, "{curly}", 0 },
					   { "R&D", 0, "R&D", 0 },
					   { 0 } });
}

TEST(levels_are_joined_as_the_destination_does)
{
	check_map(&dovecot, NULL, '.',
		  (const struct folder[]){
			  { "a", 0, "a", 0 }, { "a.b.c", 0, "a/b/c", BOX_WHY_SEPARATOR }, { 0 } });
}

TEST(a_separator_of_the_destination_in_a_level_is_replaced)
{
	check_map(&dovecot, NULL, '.',
		  (const struct folder[]){ { "a/b", 0, "a_b", BOX_WHY_REPLACED },
					   { "x.a/b.y", 0, "x/a_b/y", BOX_WHY_REPLACED },
					   { 0 } });
	check_map(&courier, NULL, '/',
		  (const struct folder[]){ { "v1.0/x", 0, "INBOX.v1_0.x", BOX_WHY_REPLACED },
					   { 0 } });
}

TEST(top_level_folders_come_below_the_prefix_and_inbox_does_not)
{
	check_map(&courier, NULL, '/',
		  (const struct folder[]){ { "INBOX", 0, "INBOX", BOX_WHY_NONE },
					   { "Work", 0, "INBOX.Work", BOX_WHY_PREFIX },
					   { "Work/2020", 0, "INBOX.Work.2020", BOX_WHY_PREFIX },
					   { "INBOX/kids", 0, "INBOX.kids", BOX_WHY_PREFIX },
					   { 0 } });
}

TEST(below_the_prefix_a_child_of_inbox_and_a_folder_of_its_name_are_two)
{
	check_map(&courier, NULL, '/',
		  (const struct folder[]){ { "INBOX", 0, "INBOX", BOX_WHY_NONE },
					   { "X", 0, "INBOX.X", BOX_WHY_PREFIX },
					   { "INBOX/X", 0, "INBOX.X (2)", BOX_WHY_CLASH },
					   { "INBOX/X/y", 0, "INBOX.X (2).y", BOX_WHY_PARENT },
					   { 0 } });
}

TEST(a_prefix_that_is_not_inbox_has_inbox_as_a_level)
{
	struct box_map_target mail = dovecot;

	mail.prefix = "mail/";
	check_map(&mail, NULL, '/',
		  (const struct folder[]){ { "INBOX", 0, "INBOX", BOX_WHY_NONE },
					   { "INBOX/a", 0, "mail/INBOX/a", BOX_WHY_PREFIX },
					   { "a", 0, "mail/a", BOX_WHY_PREFIX },
					   { 0 } });
}

TEST(children_of_inbox_stay_children)
{
	check_map(&dovecot, NULL, '.',
		  (const struct folder[]){ { "INBOX", 0, "INBOX", BOX_WHY_NONE },
					   { "INBOX.a", 0, "INBOX/a", BOX_WHY_SEPARATOR },
					   { "inbox.b", 0, "INBOX/b", BOX_WHY_SEPARATOR },
					   { 0 } });
}

TEST(without_inbox_in_the_list_its_children_are_still_its_own)
{
	check_map(&dovecot, NULL, '/',
		  (const struct folder[]){ { "Inbox/a", 0, "INBOX/a", BOX_WHY_NONE }, { 0 } });
}

TEST(the_prefix_of_the_source_is_taken_off)
{
	struct box_map_target target = dovecot;

	target.source_prefix = "INBOX.";
	check_map(&target, NULL, '.',
		  (const struct folder[]){ { "INBOX", 0, "INBOX", BOX_WHY_NONE },
					   { "INBOX.Work", 0, "Work", BOX_WHY_PREFIX },
					   { "INBOX.Work.a", 0, "Work/a", BOX_WHY_PREFIX },
					   { "INBOX.INBOX", 0, "INBOX (2)", BOX_WHY_INBOX },
					   { "INBOX.INBOX.a", 0, "INBOX (2)/a", BOX_WHY_PARENT },
					   { 0 } });
	target = courier;
	target.source_prefix = "INBOX.";
	check_map(&target, NULL, '.',
		  (const struct folder[]){ { "INBOX", 0, "INBOX", BOX_WHY_NONE },
					   { "INBOX.Work.a", 0, "INBOX.Work.a", BOX_WHY_NONE },
					   { 0 } });
}

TEST(where_inbox_can_have_no_children_they_stand_beside_it)
{
	check_map(&cyrus, NULL, '/',
		  (const struct folder[]){ { "INBOX", 0, "INBOX", BOX_WHY_NONE },
					   { "INBOX/a", 0, "a", BOX_WHY_PREFIX },
					   { "INBOX/b/c", 0, "b (2)/c", BOX_WHY_PARENT },
					   { "b", 0, "b", BOX_WHY_NONE },
					   { "INBOX/b", 0, "b (2)", BOX_WHY_CLASH },
					   { 0 } });
}

TEST(a_cyrus_of_the_netnews_kind_refuses_slashes_too)
{
	check_map(&netnews, NULL, '\\',
		  (const struct folder[]){ { "in/out", 0, "INBOX.in_out", BOX_WHY_REPLACED },
					   { "a\\b", 0, "INBOX.a.b", BOX_WHY_PREFIX },
					   { 0 } });
}

TEST(a_flat_source_has_folders_of_one_level)
{
	check_map(&dovecot, NULL, '\0',
		  (const struct folder[]){ { "a.b", 0, "a.b", BOX_WHY_NONE },
					   { "a/b", 0, "a_b", BOX_WHY_REPLACED },
					   { 0 } });
}

TEST(a_flat_destination_gets_the_levels_in_one_name)
{
	struct box_map_target flat = dovecot;

	flat.separator = '\0';
	check_map(&flat, NULL, '/',
		  (const struct folder[]){ { "INBOX", 0, "INBOX", BOX_WHY_NONE },
					   { "INBOX/a", 0, "INBOX_a", BOX_WHY_SEPARATOR },
					   { "b", 0, "b", BOX_WHY_NONE },
					   { "b/c", 0, "b_c (2)", BOX_WHY_CLASH },
					   { "b_c", 0, "b_c", BOX_WHY_NONE },
					   { 0 } });
}

TEST(a_separator_that_cannot_be_one_is_refused)
{
	static const char wrong[] = "a1% *&\"\n\x80";

	for (unsigned i = 0; i < sizeof wrong - 1; i++) {
		struct box_map_target target = dovecot;
		struct box_map *map;

		target.separator = wrong[i];
		CHECK_ERR(box_map_open(&target, &map), ERR_IMAP_SYNTAX);
		CHECK(!map);
	}
}

TEST(a_prefix_that_is_no_name_is_refused)
{
	char longest[BOX_NAME_BYTES_MAX + 1];
	const char *const wrong[] = { "gr\xfcn/", "&AOQ", longest };

	memset(longest, 'x', sizeof longest - 1);
	longest[sizeof longest - 1] = '\0';
	for (unsigned i = 0; i < ARRAY_COUNT(wrong); i++) {
		struct box_map_target target = dovecot;
		struct box_map *map;

		target.prefix = wrong[i];
		CHECK_ERR(box_map_open(&target, &map), ERR_IMAP_SYNTAX);
		CHECK(!map);
	}
}

/* ---- characters ---- */

TEST(wildcards_and_control_characters_are_replaced)
{
	check_map(
		&dovecot, NULL, '/',
		(const struct folder[]){ { "percent%star*", 0, "percent_star_", BOX_WHY_REPLACED },
					 { "a\tb\x7f", 0, "a_b_", BOX_WHY_REPLACED },
					 { "c1\xc2\x85z", 0, "c1_z", BOX_WHY_REPLACED },
					 { "\xc2\xa0z", 0, "\xc2\xa0z", BOX_WHY_NONE },
					 { "bad\xffutf8", 0, "bad_utf8", BOX_WHY_REPLACED },
					 { 0 } });
}

TEST(what_the_server_forbids_is_replaced)
{
	struct box_map_target strict = dovecot;

	strict.forbidden = "\\\"{}_ ";
	check_map(&strict, NULL, '/',
		  (const struct folder[]){ { "q\"b\\s", 0, "q-b-s", BOX_WHY_REPLACED },
					   { "{c}", 0, "-c-", BOX_WHY_REPLACED },
					   { " a ", 0, "-a--(2)", BOX_WHY_CLASH },
					   { "-a-", 0, "-a-", BOX_WHY_NONE },
					   { "_a_", 0, "-a--(3)", BOX_WHY_CLASH },
					   { 0 } });
}

TEST(empty_levels_and_dots_are_no_names)
{
	check_map(&dovecot, NULL, '/',
		  (const struct folder[]){ { "a//b", 0, "a/_/b", BOX_WHY_REPLACED },
					   { "x/../y", 0, "x/__/y", BOX_WHY_REPLACED },
					   { ".", 0, "_", BOX_WHY_REPLACED },
					   { "...", 0, "...", BOX_WHY_NONE },
					   { ".hidden", 0, ".hidden", BOX_WHY_NONE },
					   { 0 } });
}

TEST(names_are_said_in_utf8_where_the_server_takes_it)
{
	struct box_map_target utf8 = dovecot;
	struct box_map *map;
	const struct box_place *out;

	utf8.utf8 = true;
	utf8.prefix = "Bücher/";
	map = open_map(&utf8);
	add_source(map, 1, "台北/R&D", '/', 0);
	out = place(map, 1);
	CHECK_TEXT(out->raw, "Bücher/台北/R&D");
	CHECK_TEXT(out->name, "Bücher/台北/R&D");
	box_map_close(&map);
}

/* ---- special use ---- */

TEST(a_use_goes_to_the_destinations_folder_of_that_use)
{
	static const struct folder there[] = { { .name = "INBOX" },
					       { .name = "Gesendet", .use = BOX_USE_SENT },
					       { .name = "Papierkorb", .use = BOX_USE_TRASH },
					       { 0 } };

	check_map(&dovecot, there, '/',
		  (const struct folder[]){
			  { "[Gmail]/Sent Mail", BOX_USE_SENT, "Gesendet", BOX_WHY_USE },
			  { "[Gmail]/Trash", BOX_USE_TRASH, "Papierkorb", BOX_WHY_USE },
			  { "[Gmail]/Drafts", BOX_USE_DRAFTS, "[Gmail]/Drafts", BOX_WHY_NONE },
			  { "[Gmail]/All Mail", BOX_USE_ALL, "[Gmail]/All Mail", BOX_WHY_NONE },
			  { "[Gmail]/Starred", BOX_USE_FLAGGED, "[Gmail]/Starred", BOX_WHY_NONE },
			  { 0 } });
}

TEST(a_folder_in_one_with_a_use_goes_along)
{
	static const struct folder there[] = { { .name = "Sent", .use = BOX_USE_SENT }, { 0 } };

	check_map(&dovecot, there, '.',
		  (const struct folder[]){
			  { "Gesendet", BOX_USE_SENT, "Sent", BOX_WHY_USE },
			  { "Gesendet.2020", 0, "Sent/2020", BOX_WHY_PARENT },
			  { "Gesendet.2020.Mai", 0, "Sent/2020/Mai", BOX_WHY_PARENT },
			  { 0 } });
}

TEST(names_of_exchange_are_known_in_common_languages)
{
	static const struct folder there[] = { { .name = "Sent", .use = BOX_USE_SENT },
					       { .name = "Drafts", .use = BOX_USE_DRAFTS },
					       { .name = "Trash", .use = BOX_USE_TRASH },
					       { .name = "Junk", .use = BOX_USE_JUNK },
					       { .name = "Archive", .use = BOX_USE_ARCHIVE },
					       { 0 } };
	static const char *const names[][5] = {
		{ "Sent Items", "Drafts", "Deleted Items", "Junk E-mail", "Archive" },
		{ "Gesendete Elemente", "Entwürfe", "Gelöschte Elemente", "Junk-E-Mail", "Archiv" },
		{ "Éléments envoyés", "Brouillons", "Éléments supprimés", "Courrier indésirable",
		  "Archives" },
		{ "Objets envoyés", "brouillons", "Corbeille", "Indésirables", "ARCHIVE" },
		{ "Elementos enviados", "Borradores", "Elementos eliminados", "Correo no deseado",
		  "Archivo" },
		{ "Posta inviata", "Bozze", "Posta eliminata", "Posta indesiderata", "Archivio" },
		{ "Verzonden items", "Concepten", "Verwijderde items", "Ongewenste e-mail",
		  "Archief" },
		{ "Wysłane", "Kopie robocze", "Elementy usunięte", "Wiadomości-śmieci",
		  "Archiwum" },
		{ "Отправленные", "ЧЕРНОВИКИ", "Удаленные", "Нежелательная почта", "архив" },
		{ "送信済みアイテム", "下書き", "削除済みアイテム", "迷惑メール", "アーカイブ" },
		{ "已发送邮件", "草稿", "已删除邮件", "垃圾邮件", "存档" },
		{ "Skickat", "Utkast", "Borttagna objekt", "Skräppost", "Arkiv" },
	};

	for (unsigned i = 0; i < ARRAY_COUNT(names); i++) {
		struct folder from[6] = { 0 };

		for (unsigned use = 0; use < 5; use++) {
			from[use] =
				(struct folder){ names[i][use], 0, there[use].name, BOX_WHY_USE };
			if (strcmp(from[use].name, from[use].goes) == 0)
				from[use].why = BOX_WHY_NONE;
		}
		check_map(&dovecot, there, '/', from);
	}
}

TEST(a_well_known_name_counts_at_the_top_and_in_inbox_alone)
{
	static const struct folder there[] = { { .name = "Sent", .use = BOX_USE_SENT }, { 0 } };

	check_map(&dovecot, there, '.',
		  (const struct folder[]){
			  { "Kunde.Gesendet", 0, "Kunde/Gesendet", BOX_WHY_SEPARATOR }, { 0 } });
	check_map(&dovecot, there, '.',
		  (const struct folder[]){ { "INBOX.Gesendet", 0, "Sent", BOX_WHY_USE }, { 0 } });
}

TEST(a_destination_that_declares_no_use_is_known_by_names)
{
	static const struct folder there[] = { { .name = "INBOX" },
					       { .name = "Sent Items" },
					       { .name = "Deleted Items" },
					       { .name = "Kunde/Drafts" },
					       { 0 } };

	check_map(&exchange, there, '.',
		  (const struct folder[]){ { "INBOX.Sent", 0, "Sent Items", BOX_WHY_USE },
					   { "Trash", BOX_USE_TRASH, "Deleted Items", BOX_WHY_USE },
					   { "Drafts", BOX_USE_DRAFTS, "Drafts", BOX_WHY_NONE },
					   { 0 } });
	check_map(&courier, (const struct folder[]){ { .name = "INBOX.Sent" }, { 0 } }, '/',
		  (const struct folder[]){ { "Gesendet", BOX_USE_SENT, "INBOX.Sent", BOX_WHY_USE },
					   { 0 } });
}

TEST(of_two_sent_folders_the_declared_one_is_it)
{
	static const struct folder there[] = { { .name = "Sent", .use = BOX_USE_SENT }, { 0 } };

	check_map(&dovecot, there, '/',
		  (const struct folder[]){ { "Gesendet", 0, "Gesendet", BOX_WHY_NONE },
					   { "Meine Post", BOX_USE_SENT, "Sent", BOX_WHY_USE },
					   { 0 } });
	check_map(&dovecot, there, '/',
		  (const struct folder[]){ { "Sent", 0, "Sent (2)", BOX_WHY_CLASH },
					   { "Sent Items", BOX_USE_SENT, "Sent", BOX_WHY_USE },
					   { 0 } });
}

TEST(of_two_with_equal_right_the_one_that_is_called_so_is_it)
{
	static const struct folder there[] = { { .name = "Spam", .use = BOX_USE_JUNK }, { 0 } };

	check_map(&dovecot, there, '/',
		  (const struct folder[]){ { "Junk", 0, "Junk", BOX_WHY_NONE },
					   { "Spam", 0, "Spam", BOX_WHY_NONE },
					   { 0 } });
	check_map(&dovecot, there, '/',
		  (const struct folder[]){ { "Junk E-mail", 0, "Junk E-mail", BOX_WHY_NONE },
					   { "Junk", 0, "Spam", BOX_WHY_USE },
					   { 0 } });
	check_map(&dovecot, there, '/',
		  (const struct folder[]){ { "B", BOX_USE_JUNK, "B", BOX_WHY_NONE },
					   { "A", BOX_USE_JUNK, "Spam", BOX_WHY_USE },
					   { 0 } });
}

TEST(of_two_sent_folders_at_the_destination_the_lower_name_is_it)
{
	static const struct folder there[] = { { .name = "b", .use = BOX_USE_SENT },
					       { .name = "a", .use = BOX_USE_SENT },
					       { .name = "Sent" },
					       { 0 } };

	check_map(&dovecot, there, '/',
		  (const struct folder[]){ { "Gesendet", BOX_USE_SENT, "a", BOX_WHY_USE }, { 0 } });
}

TEST(a_use_the_destination_lacks_is_created_once)
{
	struct box_map *map = open_map(&dovecot);
	const struct box_place *out;

	add_source(map, 1, "Gesendet", '/', 0);
	add_source(map, 2, "Sent", '/', 0);
	add_source(map, 3, "Alles", '/', BOX_USE_ALL);
	out = place(map, 1);
	CHECK_TEXT(out->name, "Gesendet");
	CHECK_EQ(out->create_use, BOX_USE_NONE);
	out = place(map, 2);
	CHECK_TEXT(out->name, "Sent");
	CHECK_EQ(out->create_use, BOX_USE_SENT);
	out = place(map, 3);
	CHECK_EQ(out->kind, BOX_PLACE_CREATE);
	CHECK_EQ(out->create_use, BOX_USE_NONE);
	box_map_close(&map);
}

TEST(a_use_is_not_created_where_the_server_cannot)
{
	struct box_map *map = open_map(&courier);
	const struct box_place *out;

	add_source(map, 1, "Gesendet", '/', BOX_USE_SENT);
	out = place(map, 1);
	CHECK_TEXT(out->raw, "INBOX.Gesendet");
	CHECK_EQ(out->create_use, BOX_USE_NONE);
	box_map_close(&map);
}

TEST(a_folder_never_becomes_the_destinations_folder_of_another_use)
{
	static const struct folder there[] = { { .name = "Viagra", .use = BOX_USE_JUNK },
					       { .name = "All", .use = BOX_USE_ALL },
					       { .name = "Sent", .use = BOX_USE_SENT },
					       { 0 } };

	check_map(
		&dovecot, there, '/',
		(const struct folder[]){ { "Viagra", 0, "Viagra (2)", BOX_WHY_USE_TAKEN },
					 { "All", BOX_USE_ALL, "All (2)", BOX_WHY_USE_TAKEN },
					 { "Sent", BOX_USE_ARCHIVE, "Sent (2)", BOX_WHY_USE_TAKEN },
					 { 0 } });
}

/* ---- clashes ---- */

TEST(there_is_one_inbox)
{
	check_map(&dovecot, NULL, '/',
		  (const struct folder[]){ { "Posteingang", BOX_USE_INBOX, "INBOX", BOX_WHY_NONE },
					   { "Inbox", 0, "INBOX (2)", BOX_WHY_INBOX },
					   { "Inbox/a", 0, "INBOX (2)/a", BOX_WHY_PARENT },
					   { "Posteingang/a", 0, "INBOX/a", BOX_WHY_PREFIX },
					   { 0 } });
}

TEST(sent_and_SENT_are_two_folders_on_a_server_that_folds_case)
{
	static const struct folder there[] = { { .name = "kunden" }, { 0 } };

	check_map(&exchange, there, '/',
		  (const struct folder[]){ { "Kunden", 0, "Kunden (2)", BOX_WHY_CASE },
					   { "kunden", 0, "kunden", BOX_WHY_NONE },
					   { "Kunden/a", 0, "Kunden (2)/a", BOX_WHY_PARENT },
					   { "kunden/a", 0, "kunden/a", BOX_WHY_NONE },
					   { "ÄHRE", 0, "ÄHRE", BOX_WHY_NONE },
					   { "Ähre", 0, "Ähre (2)", BOX_WHY_CASE },
					   { 0 } });
	check_map(&dovecot, there, '/',
		  (const struct folder[]){ { "Kunden", 0, "Kunden", BOX_WHY_NONE },
					   { "kunden", 0, "kunden", BOX_WHY_NONE },
					   { 0 } });
}

TEST(the_destinations_spelling_is_used_where_case_does_not_count)
{
	static const struct folder there[] = { { .name = "KUNDEN" }, { 0 } };

	check_map(&exchange, there, '/',
		  (const struct folder[]){ { "Kunden", 0, "KUNDEN", BOX_WHY_CASE }, { 0 } });
}

static const char *place_name(struct box_map *map, uint64_t box_no, const char *name,
			      struct box_place *place)
{
	static struct box box;

	box = (struct box){ .box_no = box_no, .selectable = true, .separator = '/' };
	snprintf(box.raw, sizeof box.raw, "%s", name);
	snprintf(box.name, sizeof box.name, "%s", name);
	CHECK_OK(box_map_place(map, &box, place));
	return place->name;
}

TEST(a_name_that_is_taken_by_another_case_gets_a_number)
{
	static struct box_place place;
	struct box_map *map;
	bool moved;

	CHECK_OK(box_map_open(&dovecot, &map));
	CHECK_TEXT(place_name(map, 1, "Kunden", &place), "Kunden");
	CHECK_TEXT(place_name(map, 2, "kunden", &place), "kunden");
	CHECK_TEXT(place_name(map, 3, "Other", &place), "Other");
	CHECK_OK(box_map_taken(map, 3, &moved));
	CHECK(!moved);
	CHECK_OK(box_map_taken(map, 1, &moved)); /* the other one was created first */
	CHECK(moved);
	CHECK_TEXT(place_name(map, 1, "Kunden", &place), "Kunden (2)");
	CHECK_TEXT(place_name(map, 2, "kunden", &place), "kunden");
	CHECK_TEXT(place_name(map, 4, "KUNDEN", &place), "KUNDEN (3)");
	box_map_close(&map);
}

TEST(the_name_that_needs_no_change_keeps_it)
{
	check_map(&dovecot, NULL, '.',
		  (const struct folder[]){ { "a/b", 0, "a_b (4)", BOX_WHY_CLASH },
					   { "a_b", 0, "a_b", BOX_WHY_NONE },
					   { "a%b", 0, "a_b (3)", BOX_WHY_CLASH },
					   { "a_b (2)", 0, "a_b (2)", BOX_WHY_NONE },
					   { 0 } });
}

TEST(merged_on_demand_two_become_one_and_say_so)
{
	struct box_map_target merging = exchange;
	struct box_map *map;
	const struct box_place *out;

	merging.merge = true;
	map = open_map(&merging);
	add_target(map, "Sent Items", '/', 0);
	add_target(map, "Viagra", '/', BOX_USE_JUNK);
	add_source(map, 1, "Gesendet", '.', BOX_USE_SENT);
	add_source(map, 2, "Sent", '.', BOX_USE_NONE);
	add_source(map, 3, "a.b", '.', BOX_USE_NONE);
	add_source(map, 4, "A.B", '.', BOX_USE_NONE);
	add_source(map, 5, "alone", '.', BOX_USE_NONE);
	add_source(map, 6, "Viagra", '.', BOX_USE_NONE);
	for (uint64_t no = 1; no <= 2; no++) {
		out = place(map, no);
		CHECK_TEXT(out->name, "Sent Items");
		CHECK(out->merged && out->why == BOX_WHY_USE);
	}
	out = place(map, 4);
	CHECK_TEXT(out->name, "A/B");
	CHECK(out->merged);
	out = place(map, 3);
	CHECK_TEXT(out->name, "A/B");
	CHECK(out->merged && out->why == BOX_WHY_CASE);
	out = place(map, 5);
	CHECK(!out->merged);
	out = place(map, 6); /* not another folder of the source: not to be merged */
	CHECK_TEXT(out->name, "Viagra (2)");
	box_map_close(&map);
}

TEST(a_mere_level_has_nothing_to_do)
{
	struct box *box = malloc(sizeof *box);
	struct box_map *map = open_map(&dovecot);
	struct box_place out;

	fill(box, "[Gmail]", '/', 0);
	box->box_no = 1;
	box->selectable = false;
	CHECK_OK(box_map_place(map, box, &out));
	CHECK_EQ(out.kind, BOX_PLACE_NOTHING);
	box->selectable = true;
	box->fate = ERR_IMAP_REFUSED;
	CHECK_OK(box_map_place(map, box, &out));
	CHECK_EQ(out.kind, BOX_PLACE_NOTHING);
	free(box);
	box_map_close(&map);
}

TEST(a_mere_level_of_the_destination_is_created_to_hold_mail)
{
	struct box *box = malloc(sizeof *box);
	struct box_map *map = open_map(&exchange);
	const struct box_place *out;

	fill(box, "Work", '/', 0);
	box->selectable = false;
	CHECK_OK(box_map_add_target(map, box));
	add_source(map, 1, "work", '/', 0);
	out = place(map, 1);
	CHECK_TEXT(out->raw, "Work");
	CHECK_EQ(out->kind, BOX_PLACE_CREATE);
	free(box);
	box_map_close(&map);
}

TEST(subscriptions_are_copied)
{
	struct box *box = malloc(sizeof *box);
	struct box_map *map = open_map(&dovecot);
	struct box_place out;

	fill(box, "a", '/', 0);
	box->box_no = 1;
	CHECK_OK(box_map_place(map, box, &out));
	CHECK(!out.subscribe);
	box->subscribed = true;
	CHECK_OK(box_map_place(map, box, &out));
	CHECK(out.subscribe);
	free(box);
	box_map_close(&map);
}

TEST(a_folder_that_was_not_added_gets_what_is_left)
{
	struct box *box = malloc(sizeof *box);
	struct box_map *map = open_map(&courier);
	struct box_place out;

	add_source(map, 1, "A", '/', 0);
	add_source(map, 2, "Sent", '/', 0);
	CHECK_TEXT(place(map, 1)->raw, "INBOX.A");
	fill(box, "INBOX/A", '/', 0);
	box->box_no = 3;
	CHECK_OK(box_map_place(map, box, &out));
	CHECK_TEXT(out.raw, "INBOX.A (2)");
	fill(box, "Mine", '/', BOX_USE_SENT);
	box->box_no = 4;
	CHECK_OK(box_map_place(map, box, &out));
	CHECK_TEXT(out.raw, "INBOX.Mine");
	CHECK_TEXT(place(map, 2)->raw, "INBOX.Sent");
	free(box);
	box_map_close(&map);
}

/* ---- later runs ---- */

TEST(what_earlier_runs_decided_stays)
{
	struct box_map *map = open_map(&exchange);
	const struct box_place *out;

	add_target(map, "INBOX", '/', 0);
	add_target(map, "Sent", '/', 0);
	add_target(map, "x", '/', 0);
	add_target(map, "x (2)", '/', 0);
	CHECK_OK(box_map_remember(map, text_of("X"), text_of("x (2)")));
	CHECK_OK(box_map_remember(map, text_of("x"), text_of("x")));
	CHECK_OK(box_map_remember(map, text_of("Sent"), text_of("Alt/Gesendet &AOQ-")));
	CHECK_OK(box_map_remember(map, text_of("gone"), text_of("Y")));
	CHECK_OK(box_map_remember(map, text_of("odd"), text_of("&&&")));
	add_source(map, 1, "X", '/', 0);
	add_source(map, 2, "x", '/', 0);
	add_source(map, 3, "Sent", '/', BOX_USE_SENT);
	add_source(map, 4, "y", '/', 0);
	add_source(map, 5, "odd", '/', 0);
	out = place(map, 1);
	CHECK_TEXT(out->raw, "x (2)");
	CHECK_EQ(out->why, BOX_WHY_REMEMBERED);
	CHECK_EQ(out->kind, BOX_PLACE_EXISTS);
	CHECK_TEXT(place(map, 2)->raw, "x");
	CHECK_EQ(place(map, 2)->why, BOX_WHY_NONE);
	out = place(map, 3);
	CHECK_TEXT(out->raw, "Alt/Gesendet &AOQ-"); /* deleted there: made again */
	CHECK_TEXT(out->name, "Alt/Gesendet ä");
	CHECK_EQ(out->kind, BOX_PLACE_CREATE);
	CHECK_TEXT(place(map, 4)->raw, "y (2)"); /* Y is what became of "gone" */
	CHECK_TEXT(place(map, 5)->raw, "odd");
	box_map_close(&map);
}

TEST(a_destination_folder_of_an_impossible_name_is_remembered_all_the_same)
{
	struct box *box = malloc(sizeof *box);
	struct box_map *map = open_map(&courier);
	const struct box_place *out;

	fill(box, "%raw:Gel%F6scht", '.', BOX_USE_TRASH);
	snprintf(box->raw, sizeof box->raw, "Gel\xf6scht");
	CHECK_OK(box_map_add_target(map, box));
	CHECK_OK(box_map_remember(map, text_of("Trash"), text_of("Gel\xf6scht")));
	add_source(map, 1, "Trash", '/', 0);
	out = place(map, 1);
	CHECK_TEXT(out->raw, "Gel\xf6scht");
	CHECK_EQ(out->kind, BOX_PLACE_EXISTS);
	free(box);
	box_map_close(&map);
}

/* ---- length ---- */

/* "é" n times, behind `ascii` letters. */
static void long_name(char *to, unsigned ascii, unsigned n)
{
	memset(to, 'x', ascii);
	for (to += ascii; n > 0; n--, to += 2)
		memcpy(to, "é", 2);
	*to = '\0';
}

static bool ends_in_mark(const char *name)
{
	const char *mark = strrchr(name, '~');

	return mark && strlen(mark) == 9 && strspn(mark + 1, "0123456789abcdef") == 8;
}

TEST(a_level_is_cut_at_a_character_and_marked_at_every_border)
{
	for (unsigned utf8 = 0; utf8 < 2; utf8++)
		for (unsigned ascii = 0; ascii < 9; ascii++)
			for (unsigned n = 85; n < 135; n++) {
				struct box_map_target target = dovecot;
				char name[400], whole[1025];
				const struct box_place *out;
				struct box_map *map;
				size_t bytes;

				target.utf8 = utf8;
				map = open_map(&target);
				long_name(name, ascii, n);
				CHECK(imap_utf7_encode(text_of(name), whole, sizeof whole));
				bytes = utf8 ? strlen(name) : strlen(whole);
				add_source(map, 1, name, '/', 0);
				out = place(map, 1);
				CHECK(strlen(out->raw) <= 255);
				CHECK(imap_utf8_valid(text_of(out->name)));
				CHECK_EQ(out->why, bytes > 255 ? BOX_WHY_TOO_LONG : BOX_WHY_NONE);
				CHECK(bytes > 255 ? ends_in_mark(out->name)
						  : strcmp(out->name, name) == 0);
				/* no more is cut than must be: a character is at most 6 bytes */
				CHECK(bytes <= 255 || strlen(out->raw) > 255 - 6);
				box_map_close(&map);
			}
}

TEST(a_whole_name_is_cut_where_it_is_too_long)
{
	struct box_map_target target = courier;

	target.level_bytes_max = 40;
	for (unsigned max = 64; max < 140; max++) {
		char name[140];
		const struct box_place *out;
		struct box_map *map;

		target.name_bytes_max = max;
		map = open_map(&target);
		memset(name, 'x', 133);
		for (unsigned i = 40; i < 133; i += 41)
			name[i] = '/';
		name[133] = '\0'; /* levels of 40, 40, 40 and 10 letters */
		add_source(map, 1, name, '/', 0);
		out = place(map, 1);
		CHECK(strlen(out->raw) <= max);
		CHECK_EQ(out->why, max < 139 ? BOX_WHY_TOO_LONG : BOX_WHY_PREFIX);
		CHECK(strncmp(out->raw, "INBOX.", 6) == 0);
		for (const char *at = out->raw; at; at = strchr(at + 1, '.'))
			CHECK(strcspn(at + 1, ".") <= 40);
		box_map_close(&map);
	}
}

TEST(long_names_that_begin_alike_stay_two)
{
	struct box_map *map = open_map(&dovecot);
	char one[301], two[301], first[BOX_NAME_BYTES_MAX + 1];

	memset(one, 'x', 300);
	one[300] = '\0';
	snprintf(two, sizeof two, "%s", one);
	two[299] = 'y';
	add_source(map, 1, one, '/', 0);
	add_source(map, 2, two, '/', 0);
	memcpy(first, place(map, 1)->raw, sizeof first);
	CHECK(strcmp(first, place(map, 2)->raw) != 0);
	CHECK(ends_in_mark(first) && ends_in_mark(place(map, 2)->raw));
	box_map_close(&map);
}

TEST(a_number_has_room_behind_the_longest_name)
{
	struct box_map_target target = exchange;
	struct box_map *map;
	char one[256], two[256];
	const struct box_place *out;

	map = open_map(&target);
	memset(one, 'x', 255);
	one[255] = '\0';
	snprintf(two, sizeof two, "%s", one);
	two[0] = 'X';
	add_source(map, 1, one, '/', 0);
	add_source(map, 2, two, '/', 0);
	CHECK_TEXT(place(map, 2)->raw, two);
	out = place(map, 1);
	CHECK_EQ(strlen(out->raw), 255);
	CHECK_TEXT(out->raw + 251, " (2)");
	CHECK(out->raw[242] == '~');
	box_map_close(&map);
}

TEST(the_mark_is_of_the_whole_name_at_the_source)
{
	struct box_map *map = open_map(&courier);
	struct digest digest;
	char name[310] = "a/", hex[9];

	memset(name + 2, 'x', 300);
	add_source(map, 1, name, '/', 0);
	CHECK_OK(digest_of(digest_type(text_of("blake3")), name, 302, &digest));
	bytes_to_hex(hex, digest.bytes, 4);
	CHECK_TEXT(strrchr(place(map, 1)->raw, '~') + 1, hex);
	CHECK_EQ(strlen(place(map, 1)->raw), strlen("INBOX.a.") + 255);
	box_map_close(&map);
}

/* ---- many ---- */

enum { MANY = 10 * 1000 };

/* All wish for one name: each number is looked for once. A search that began at 2 each time would
 * be 50 million long. */
TEST(ten_thousand_folders_of_one_name_get_ten_thousand_numbers)
{
	struct box_map *map = open_map(&dovecot);
	bool *seen = calloc(MANY + 2, 1);

	for (unsigned i = 0; i < MANY; i++) {
		char name[16];

		for (unsigned bit = 0; bit < 14; bit++)
			name[bit] = i >> bit & 1 ? '%' : '*';
		name[14] = '\0';
		add_source(map, i + 1, name, '/', 0);
	}
	for (unsigned i = 0; i < MANY; i++) {
		const struct box_place *out = place(map, i + 1);
		unsigned number = 1;

		if (out->name[14])
			CHECK_EQ(sscanf(out->name + 14, " (%u)", &number), 1);
		REQUIRE(number >= 1 && number <= MANY && !seen[number]);
		seen[number] = true;
	}
	free(seen);
	box_map_close(&map);
}

TEST(fifty_thousand_folders_are_mapped)
{
	struct box_map *map = open_map(&courier);
	char name[64];
	const struct box_place *out;

	for (unsigned i = 0; i < 50 * 1000; i++) {
		snprintf(name, sizeof name, "level %u/folder %u", i / 100, i);
		add_source(map, i + 1, name, '/', 0);
	}
	out = place(map, 23457);
	CHECK_TEXT(out->raw, "INBOX.level 234.folder 23456");
	box_map_close(&map);
}

/* ---- anything ---- */

static uint64_t dice;

static unsigned throw(unsigned sides)
{
	dice = dice * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(dice >> 33) % sides;
}

/* Out of pieces that are likely to meet. */
static void random_name(char *to, size_t to_bytes)
{
	static const char *const pieces[] = {
		"a",	"A",	 "b",
		"/",	"/",	 ".",
		".",	"%",	 "*",
		"é",	"É",	 "\x01",
		"\xff", "&",	 " (2)",
		"~",	"INBOX", "inbox/",
		"台",	"😀",	 "Sent",
		"Spam", "Я",	 "я",
		"_",	"\"",	 "INBOX.",
		"..",	"Trash", "\\",
		" ",	"-",	 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
	};
	unsigned count = 1 + throw(throw(8) ? 4 : 40);
	size_t used = 0;

	to[0] = '\0';
	for (unsigned i = 0; i < count; i++) {
		const char *piece = pieces[throw(ARRAY_COUNT(pieces))];

		if (used + strlen(piece) < to_bytes)
			used += (size_t)snprintf(to + used, to_bytes - used, "%s", piece);
	}
}

enum { FOLDERS = 40, NAME_BYTES = 600 };
struct random_world {
	char names[FOLDERS][NAME_BYTES];
	enum box_use uses[FOLDERS];
	char theirs[FOLDERS / 2][NAME_BYTES];
	enum box_use their_uses[FOLDERS / 2];
	struct box_place places[FOLDERS];
	struct box_map_target target;
	char separator;
};

static void make_world(struct random_world *world)
{
	static const char *const prefixes[] = { "", "INBOX.", "INBOX/", "mail/" };
	static const char separators[] = { '/', '.', '\\', '\0' };

	memset(world, 0, sizeof *world);
	world->separator = separators[throw(4)];
	world->target = (struct box_map_target){
		.separator = separators[throw(4)],
		.prefix = prefixes[throw(4)],
		.source_prefix = prefixes[throw(4)],
		.forbidden = throw(2) ? "" : "\\\" ",
		.case_insensitive = throw(2),
		.utf8 = throw(2),
		.create_special_use = throw(2),
		.inbox_is_leaf = throw(2),
		.level_bytes_max = throw(2) ? 0 : 32 + throw(40),
		.name_bytes_max = throw(2) ? 0 : 64 + throw(200),
	};
	for (unsigned i = 0; i < FOLDERS; i++) {
		random_name(world->names[i], NAME_BYTES);
		world->uses[i] = throw(4) ? BOX_USE_NONE : throw(BOX_USE_IMPORTANT + 1);
		for (unsigned k = 0; k < i; k++) /* the lane refuses twins */
			if (strcmp(world->names[k], world->names[i]) == 0)
				snprintf(world->names[i], NAME_BYTES, "twin %u", i);
	}
	for (unsigned i = 0; i < FOLDERS / 2; i++) {
		random_name(world->theirs[i], NAME_BYTES);
		world->their_uses[i] = throw(4) ? BOX_USE_NONE : throw(BOX_USE_IMPORTANT + 1);
	}
}

/* Only what could be listed: valid UTF-8 without control characters. */
static void add_theirs(struct box_map *map, const struct random_world *world)
{
	char raw[BOX_NAME_BYTES_MAX + 1];

	for (unsigned i = 0; i < FOLDERS / 2; i++)
		if (imap_utf7_encode(text_of(world->theirs[i]), raw, sizeof raw))
			add_target(map, world->theirs[i], world->target.separator,
				   world->their_uses[i]);
}

static struct box_map *map_of_world(const struct random_world *world, bool turned)
{
	struct box_map *map = open_map(&world->target);

	if (!world->target.utf8)
		add_theirs(map, world);
	for (unsigned i = 0; i < FOLDERS; i++) {
		unsigned no = turned ? FOLDERS - 1 - i : i;

		add_source(map, no + 1, world->names[no], world->separator, world->uses[no]);
	}
	return map;
}

/* Whether it lies in a folder of theirs, whose spelling is their own affair. */
static bool is_in_theirs(const struct random_world *world, const char *name)
{
	for (unsigned i = 0; i < FOLDERS / 2 && !world->target.utf8; i++) {
		size_t n = strlen(world->theirs[i]);

		if (strncmp(world->theirs[i], name, n) == 0 &&
		    (!name[n] ||
		     name[n] == (world->target.separator ? world->target.separator : '_')))
			return true;
	}
	return false;
}

static void check_level(const struct random_world *world, struct text level)
{
	const struct box_map_target *target = &world->target;
	size_t level_max = target->level_bytes_max ? target->level_bytes_max : 255;
	char raw[BOX_NAME_BYTES_MAX + 1];

	CHECK(level.bytes > 0);
	CHECK(!text_equal(level, text_of(".")) && !text_equal(level, text_of("..")));
	for (size_t i = 0; i < level.bytes; i++)
		CHECK(!strchr("%*\x01\x7f", level.at[i]) &&
		      !strchr(target->forbidden, level.at[i]));
	if (target->utf8)
		CHECK(level.bytes <= level_max);
	else
		CHECK(imap_utf7_encode(level, raw, level_max + 1));
}

static void check_spelling(const struct random_world *world, const struct box_place *out)
{
	const struct box_map_target *target = &world->target;
	size_t whole = target->name_bytes_max ? target->name_bytes_max : BOX_NAME_BYTES_MAX;
	const char *at = out->name, *stop;
	char name[BOX_NAME_BYTES_MAX + 1];

	CHECK(out->kind == BOX_PLACE_EXISTS || out->kind == BOX_PLACE_CREATE);
	if (target->utf8)
		CHECK(imap_utf8_valid(text_of(out->raw)) && strcmp(out->raw, out->name) == 0);
	else
		CHECK(imap_utf7_decode(text_of(out->raw), name, sizeof name) &&
		      strcmp(name, out->name) == 0);
	if (is_in_theirs(world, out->name))
		return;
	CHECK(strlen(out->raw) <= whole);
	if (strncmp(at, target->prefix, strlen(target->prefix)) == 0)
		at += strlen(target->prefix);
	for (;; at = stop + 1) {
		stop = strchrnul(at, target->separator ? target->separator : '\0');
		check_level(world, (struct text){ at, (size_t)(stop - at) });
		if (!*stop)
			return;
	}
}

static bool is_one(const struct random_world *world, const char *a, const char *b)
{
	return strcmp(a, b) == 0 || (world->target.case_insensitive && strcasecmp(a, b) == 0) ||
	       (strcasecmp(a, "INBOX") == 0 && strcasecmp(b, "INBOX") == 0);
}

/* Each has its own, the same whatever the order, the same when asked again, and the same in a
 * second run that finds the first one's folders. */
TEST(random_folders_are_mapped_uniquely_validly_and_for_good)
{
	struct random_world *world = malloc(sizeof *world);

	for (unsigned seed = 1; seed <= (SANITIZED ? 150 : 1000); seed++) {
		struct box_map *map, *turned, *again;

		dice = seed;
		make_world(world);
		map = map_of_world(world, false);
		turned = map_of_world(world, true);
		again = open_map(&world->target);
		if (!world->target.utf8)
			add_theirs(again, world);
		for (unsigned i = 0; i < FOLDERS; i++) {
			struct box_place *out = &world->places[i];

			*out = *place(map, i + 1);
			check_spelling(world, out);
			CHECK(!out->merged);
			CHECK_TEXT(place(turned, i + 1)->raw, out->raw);
			CHECK_TEXT(place(map, i + 1)->raw, out->raw);
			for (unsigned k = 0; k < i; k++)
				if (is_one(world, world->places[k].name, out->name))
					test_failed(__FILE__, __LINE__,
						    "seed %u: \"%s\" and \"%s\" are both \"%s\"",
						    seed, world->names[k], world->names[i],
						    out->name);
			if (!world->target.utf8)
				add_target(again, out->name, world->target.separator,
					   out->create_use);
		}
		for (unsigned i = 0; i < FOLDERS; i++)
			CHECK_OK(box_map_remember(again, text_of(world->names[i]),
						  text_of(world->places[i].raw)));
		for (unsigned i = FOLDERS; i-- > 0;)
			add_source(again, i + 1, world->names[i], world->separator, world->uses[i]);
		for (unsigned i = 0; i < FOLDERS; i++)
			CHECK_TEXT(place(again, i + 1)->raw, world->places[i].raw);
		box_map_close(&map);
		box_map_close(&turned);
		box_map_close(&again);
	}
	free(world);
}

TEST(each_reason_has_a_text)
{
	for (enum box_why why = BOX_WHY_NONE + 1; why < BOX_WHY_COUNT; why++)
		CHECK(strlen(box_why_text(why)) > 10);
	CHECK_TEXT(box_why_text(BOX_WHY_NONE), "");
}
