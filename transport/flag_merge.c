/* See flag_merge.h. Flags are either there or not, so a change at both ends is the same change, and
 * there is nothing to be decided between them. */
#include "transport/flag_merge.h"

#include "transport/imap_fetch.h"

enum { FLAGS_ALL = 2 * MAIL_DRAFT - 1 };

void flag_room_all(struct flag_room *room)
{
	room->kept.flags = FLAGS_ALL;
	room->kept.keywords_bytes = 0;
	room->any_keyword = true;
}

void flag_room_read(struct text argument, struct flag_room *room)
{
	struct imap_scan scan = imap_scan_of(argument);

	if (imap_fetch_flags(&scan, &room->kept))
		room->any_keyword = imap_text_holds(argument, "\\*");
	else
		flag_room_all(room);
}

/* ---- keywords ---- */

/* The next one at *at; false: there is none. */
static bool next_keyword(const struct mail_meta *meta, size_t *at, struct text *keyword)
{
	const char *begin = meta->keywords + *at, *space;
	size_t left = meta->keywords_bytes - *at;

	if (left == 0)
		return false;
	space = memchr(begin, ' ', left);
	*keyword = (struct text){ begin, space ? (size_t)(space - begin) : left };
	*at += keyword->bytes + (space != NULL);
	return true;
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* Equal in any case of letters (RFC 9051 section 2.3.2). */
static bool has_keyword(const struct mail_meta *meta, struct text keyword)
{
	struct text other;
	size_t at = 0;

	while (next_keyword(meta, &at, &other)) {
		size_t i = 0;

		if (other.bytes != keyword.bytes)
			continue;
		while (i < keyword.bytes && lower(keyword.at[i]) == lower(other.at[i]))
			i++;
		if (i == keyword.bytes)
			return true;
	}
	return false;
}

/* flag-keyword = atom, RFC 9051 section 9. */
static bool can_be_said(struct text keyword)
{
	for (size_t i = 0; i < keyword.bytes; i++)
		if (keyword.at[i] <= ' ' || keyword.at[i] > '~' ||
		    strchr("(){%*\"\\]", keyword.at[i]))
			return false;
	return keyword.bytes > 0;
}

static bool is_kept(const struct flag_room *room, struct text keyword)
{
	return can_be_said(keyword) && (room->any_keyword || has_keyword(&room->kept, keyword));
}

/* ---- merging ---- */

static void add_word(struct buffer *list, struct text word)
{
	if (list->bytes)
		buffer_add_text(list, " ");
	buffer_add(list, word.at, word.bytes);
}

static void add_system(struct buffer *list, uint32_t flags)
{
	static const char *const names[] = { "\\Seen", "\\Answered", "\\Flagged", "\\Deleted",
					     "\\Draft" };

	for (unsigned i = 0; i < ARRAY_COUNT(names); i++)
		if (flags & 1u << i)
			add_word(list, text_of(names[i]));
}

static void merge_system(const struct mail_meta *was, const struct mail_meta *now,
			 const struct mail_meta *there, const struct flag_room *room,
			 struct flag_merge *merge)
{
	uint32_t before = was ? was->flags : 0;
	uint32_t add = now->flags & ~before & ~there->flags;
	uint32_t remove = before & ~now->flags & there->flags;
	uint32_t theirs = there->flags ^ now->flags;

	merge->is_short |= (add | remove) & ~room->kept.flags;
	add &= room->kept.flags;
	remove &= room->kept.flags;
	merge->is_merged |= theirs & ~add & ~remove & room->kept.flags;
	merge->adds_deleted = add & MAIL_DELETED;
	add_system(&merge->add, add & ~(uint32_t)MAIL_DELETED);
	add_system(&merge->remove, remove);
}

/* Keywords of `now` that the destination has not: new ones are added; others were removed there, or
 * were never kept. */
static void merge_added(const struct mail_meta *was, const struct mail_meta *now,
			const struct mail_meta *there, const struct flag_room *room,
			struct flag_merge *merge)
{
	struct text keyword;
	size_t at = 0;

	while (next_keyword(now, &at, &keyword)) {
		bool is_new = !was || !has_keyword(was, keyword);

		if (has_keyword(there, keyword))
			continue;
		if (!is_kept(room, keyword))
			merge->is_short |= is_new;
		else if (is_new)
			add_word(&merge->add, keyword);
		else
			merge->is_merged = true;
	}
}

/* Keywords of the destination that `now` has not. */
static void merge_removed(const struct mail_meta *was, const struct mail_meta *now,
			  const struct mail_meta *there, const struct flag_room *room,
			  struct flag_merge *merge)
{
	struct text keyword;
	size_t at = 0;

	while (next_keyword(there, &at, &keyword)) {
		if (has_keyword(now, keyword))
			continue;
		if (!was || !has_keyword(was, keyword))
			merge->is_merged = true;
		else if (is_kept(room, keyword))
			add_word(&merge->remove, keyword);
		else
			merge->is_short = true;
	}
}

void flag_merge(const struct mail_meta *was, const struct mail_meta *now,
		const struct mail_meta *there, const struct flag_room *room,
		struct flag_merge *merge)
{
	buffer_reset(&merge->add);
	buffer_reset(&merge->remove);
	merge->is_merged = merge->is_short = false;
	merge_system(was, now, there, room, merge);
	merge_added(was, now, there, room, merge);
	merge_removed(was, now, there, room, merge);
}
