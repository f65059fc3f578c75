/* See pack_index.h. */
#include "transport/pack_index.h"

#include <stdio.h>

#include "transport/json.h"

enum { FORMAT_VERSION = 1 };

/* ---- header line ---- */

void pack_head_add(struct buffer *to, const struct pack_head *head, bool whole)
{
	json_begin(to);
	json_add_text(to, "format", text_of("mailhaul-index"));
	json_add_number(to, "version", FORMAT_VERSION);
	json_add_text(to, "mailbox", text_of(head->mailbox));
	json_add_text(to, "pack", text_of(head->pack));
	json_add_text(to, "created", text_of(head->created));
	json_add_text(to, "digest_name", text_of(head->digest_name));
	json_add_number(to, "messages", head->messages);
	json_add_number(to, "bytes", head->bytes);
	if (whole) {
		json_add_number(to, "plain_bytes", head->plain_bytes);
		json_add_number(to, "pack_bytes", head->pack_bytes);
		json_add_hex(to, "pack_digest", head->pack_digest, sizeof head->pack_digest);
	}
	json_end(to);
}

struct head_line {
	char format[32];
	uint64_t version;
	struct pack_head head;
};

bool pack_head_read(struct text line, struct pack_head *head)
{
	static const struct json_field fields[] = {
		JSON_FIELD("format", JSON_TEXT, struct head_line, format),
		JSON_FIELD("version", JSON_NUMBER, struct head_line, version),
		JSON_FIELD("mailbox", JSON_TEXT, struct head_line, head.mailbox),
		JSON_FIELD("pack", JSON_TEXT, struct head_line, head.pack),
		JSON_FIELD("created", JSON_TEXT, struct head_line, head.created),
		JSON_FIELD("digest_name", JSON_TEXT, struct head_line, head.digest_name),
		JSON_FIELD("messages", JSON_NUMBER, struct head_line, head.messages),
		JSON_FIELD("bytes", JSON_NUMBER, struct head_line, head.bytes),
		JSON_FIELD_OPTIONAL("plain_bytes", JSON_NUMBER, struct head_line, head.plain_bytes),
		JSON_FIELD_OPTIONAL("pack_bytes", JSON_NUMBER, struct head_line, head.pack_bytes),
		JSON_FIELD_OPTIONAL("pack_digest", JSON_HEX, struct head_line, head.pack_digest),
	};
	struct head_line read = { 0 };

	if (!json_read(line, fields, ARRAY_COUNT(fields), &read) ||
	    strcmp(read.format, "mailhaul-index") != 0 || read.version != FORMAT_VERSION)
		return false;
	*head = read.head;
	return true;
}

/* ---- message lines ---- */

static const struct {
	uint32_t flag;
	const char *name;
} flag_names[] = {
	{ MAIL_SEEN, "seen" },	     { MAIL_ANSWERED, "answered" }, { MAIL_FLAGGED, "flagged" },
	{ MAIL_DELETED, "deleted" }, { MAIL_DRAFT, "draft" },
};

void pack_flags_add(struct buffer *to, uint32_t flags)
{
	bool any = false;

	for (size_t i = 0; i < ARRAY_COUNT(flag_names); i++)
		if (flags & flag_names[i].flag) {
			buffer_addf(to, "%s%s", any ? " " : "", flag_names[i].name);
			any = true;
		}
}

static uint32_t flags_read(const char *from)
{
	uint32_t flags = 0;

	while (*from) {
		size_t n = strcspn(from, " ");

		for (size_t i = 0; i < ARRAY_COUNT(flag_names); i++)
			if (text_equal((struct text){ from, n }, text_of(flag_names[i].name)))
				flags |= flag_names[i].flag;
		from += n + (from[n] == ' ');
	}
	return flags;
}

void pack_line_add(struct buffer *to, const struct pack_box *box, const struct item *item,
		   const struct pack_place *place)
{
	const struct mail_meta *meta = &item->meta;
	struct buffer flags = { 0 };
	char date[40] = "";

	pack_flags_add(&flags, meta->flags);
	if (meta->date.known)
		mail_date_rfc3339(date, &meta->date);
	json_begin(to);
	json_add_escaped(to, "box", box->escaped);
	json_add_text(to, "sep", (struct text){ &box->separator, box->separator != '\0' });
	json_add_number(to, "epoch", box->epoch);
	json_add_number(to, "no", item->no);
	json_add_number(to, "size", (uint64_t)item->size_bytes);
	json_add_hex(to, "digest", item->digest.bytes, sizeof item->digest.bytes);
	json_add_text(to, "date", text_of(date));
	json_add_text(to, "flags", (struct text){ flags.at, flags.bytes });
	json_add_text(to, "keywords", (struct text){ meta->keywords, meta->keywords_bytes });
	json_add_text(to, "kind", text_of(mail_kind_name(item->mail_kind)));
	json_add_text(to, "member", place->member);
	json_add_number(to, "offset", place->offset);
	json_add_number(to, "body", place->body_offset);
	json_end(to);
	to->failed |= flags.failed;
	buffer_free(&flags);
}

bool pack_line_read(struct text line, struct pack_line *out)
{
	static const struct json_field fields[] = {
		JSON_FIELD("box", JSON_TEXT, struct pack_line, box),
		JSON_FIELD("sep", JSON_TEXT, struct pack_line, separator),
		JSON_FIELD("epoch", JSON_NUMBER, struct pack_line, epoch),
		JSON_FIELD("no", JSON_NUMBER, struct pack_line, no),
		JSON_FIELD("size", JSON_NUMBER, struct pack_line, size_bytes),
		JSON_FIELD("digest", JSON_HEX, struct pack_line, digest),
		JSON_FIELD("date", JSON_TEXT, struct pack_line, date),
		JSON_FIELD("flags", JSON_TEXT, struct pack_line, flags),
		JSON_FIELD("keywords", JSON_TEXT, struct pack_line, keywords),
		JSON_FIELD("kind", JSON_TEXT, struct pack_line, kind),
		JSON_FIELD("member", JSON_TEXT, struct pack_line, member),
		JSON_FIELD("offset", JSON_NUMBER, struct pack_line, offset),
		JSON_FIELD("body", JSON_NUMBER, struct pack_line, body_offset),
	};

	return json_read(line, fields, ARRAY_COUNT(fields), out) &&
	       out->body_offset >= out->offset && out->body_offset <= UINT64_MAX / 4 &&
	       out->size_bytes <= UINT64_MAX / 4;
}

void pack_meta_read(const char *date, const char *flags, const char *keywords,
		    struct mail_meta *meta)
{
	size_t bytes = strlen(keywords);

	*meta = (struct mail_meta){ .flags = flags_read(flags) };
	if (date[0])
		meta->date.known = mail_date_from_rfc3339(text_of(date), &meta->date);
	must(bytes <= sizeof meta->keywords);
	bytes_copy(meta->keywords, keywords, bytes, BYTES_META);
	meta->keywords_bytes = (uint16_t)bytes;
}

void pack_line_meta(const struct pack_line *line, struct mail_meta *meta)
{
	pack_meta_read(line->date, line->flags, line->keywords, meta);
}

/* ---- keys ---- */

void pack_key(char to[STORE_KEY_BYTES_MAX + 1], const char *mailbox_key, uint64_t number,
	      bool compressed)
{
	int n = snprintf(to, STORE_KEY_BYTES_MAX + 1, "%s/packs/%012llu.tar%s", mailbox_key,
			 (unsigned long long)number, compressed ? ".zst" : "");

	must(n > 0 && n <= STORE_KEY_BYTES_MAX);
}

void pack_index_key(char to[STORE_KEY_BYTES_MAX + 1], const char *pack)
{
	const char *slash = strrchr(pack, '/');
	const char *folder = slash ? memrchr(pack, '/', (size_t)(slash - pack)) : NULL;
	int n;

	must(folder != NULL);
	n = snprintf(to, STORE_KEY_BYTES_MAX + 1, "%.*s/index/%.*s.ndjson.zst",
		     (int)(folder - pack), pack, (int)strcspn(slash + 1, "."), slash + 1);
	must(n > 0 && n <= STORE_KEY_BYTES_MAX);
}

bool pack_number(const char *name, uint64_t *number)
{
	size_t digits = strspn(name, "0123456789");

	if (digits < 12 || digits > 19 || name[digits] != '.' || (digits > 12 && name[0] == '0'))
		return false;
	*number = 0;
	for (size_t i = 0; i < digits; i++)
		*number = *number * 10 + (uint64_t)(name[i] - '0');
	return true;
}
