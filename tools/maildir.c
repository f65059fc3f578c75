/* See maildir.h. The format as Dovecot has it: https://doc.dovecot.org/2.3/ under "Maildir". */
#include "tools/maildir.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "engine/clock.h"
#include "engine/io.h"
#include "tools/extract_file.h"
#include "tools/maildir_name.h"
#include "transport/pack_index.h"

enum {
	KEYWORDS_MAX = 26, /* letters there are: 'a' to 'z' */
	KEYWORDS_FILE_BYTES_MAX = 64 * 1024,
};

struct maildir {
	struct maildir_config config;
	bool fresh;		/* nothing was there before us, so nobody has renamed a file */
	struct buffer folder;	/* path of the present one, terminated; empty: none */
	struct buffer keywords; /* of it: each followed by NUL */
	struct buffer cur, new; /* of it: names from before, sorted */
	struct buffer path, temporary, subscriptions;
	char box[BOX_NAME_BYTES_MAX + 1], separator; /* the present one */
	uint64_t keywords_dropped;
};

static nsec patience(void)
{
	return clock_after(EXTRACT_FILE_TIMEOUT);
}

static enum err is_whole(const struct buffer *buffer)
{
	return buffer->failed ? RAISE(ERR_MEMORY_EXHAUSTED, "writing a Maildir") : OK;
}

enum err maildir_open(const struct maildir_config *config, struct maildir **out)
{
	struct maildir *maildir = calloc(1, sizeof *maildir);
	enum err e;

	*out = maildir;
	if (!maildir)
		return RAISE(ERR_MEMORY_EXHAUSTED, "writing a Maildir");
	maildir->config = *config;
	if ((e = extract_directory(config->path, &maildir->fresh)))
		maildir_close(out);
	return e;
}

void maildir_close(struct maildir **maildir_at)
{
	struct maildir *maildir = *maildir_at;

	*maildir_at = NULL;
	if (!maildir)
		return;
	buffer_free(&maildir->folder);
	buffer_free(&maildir->keywords);
	buffer_free(&maildir->cur);
	buffer_free(&maildir->new);
	buffer_free(&maildir->path);
	buffer_free(&maildir->temporary);
	buffer_free(&maildir->subscriptions);
	free(maildir);
}

uint64_t maildir_keywords_dropped(const struct maildir *maildir)
{
	return maildir->keywords_dropped;
}

/* "<folder>/<a><b>" into `path`. */
static enum err path_make(struct maildir *maildir, struct buffer *path, const char *a,
			  const char *b)
{
	buffer_reset(path);
	buffer_addf(path, "%s/%s%s", maildir->folder.at, a, b);
	return is_whole(path);
}

/* ---- keywords: lines "<number> <keyword>", the number's letter stands in file names ---- */

static size_t keyword_find(const struct maildir *maildir, struct text keyword)
{
	const char *name = NULL;
	size_t i = 0;

	for (; store_names_next(&maildir->keywords, &name); i++)
		if (text_equal(text_of(name), keyword))
			break;
	return i;
}

static size_t keywords_count(const struct maildir *maildir)
{
	return keyword_find(maildir, (struct text){ "\n", 1 });
}

/* Numbers without a gap, as we and Dovecot write them; anything else is somebody's own. */
static enum err keywords_parse(struct maildir *maildir, const struct buffer *file)
{
	const char *at = file->at, *end = at + file->bytes, *line_end;
	char number[24];

	for (size_t i = 0; at && at < end; at = line_end + 1, i++) {
		size_t n = (size_t)snprintf(number, sizeof number, "%zu ", i);

		line_end = memchr(at, '\n', (size_t)(end - at));
		if (!line_end || (size_t)(line_end - at) <= n || strncmp(at, number, n) != 0)
			return RAISE(ERR_INPUT_FILE, "%s: line %zu is not \"%zu KEYWORD\"",
				     maildir->path.at, i + 1, i);
		buffer_add(&maildir->keywords, at + n, (size_t)(line_end - at) - n);
		buffer_add(&maildir->keywords, "", 1);
	}
	return is_whole(&maildir->keywords);
}

static enum err keywords_load(struct maildir *maildir)
{
	struct buffer file = { 0 };
	enum err e;

	buffer_reset(&maildir->keywords);
	if ((e = path_make(maildir, &maildir->path, "dovecot-keywords", "")))
		return e;
	e = io_read_file(maildir->path.at, KEYWORDS_FILE_BYTES_MAX, patience(), &file);
	if (!e)
		e = keywords_parse(maildir, &file);
	buffer_free(&file);
	if (e != ERR_DISK_ABSENT)
		return e;
	err_note_clear();
	return OK;
}

/* Durable before a file name uses the new letter. */
static enum err keywords_save(struct maildir *maildir)
{
	struct buffer file = { 0 };
	const char *name = NULL;
	enum err e;

	for (size_t i = 0; store_names_next(&maildir->keywords, &name); i++)
		buffer_addf(&file, "%zu %s\n", i, name);
	if (!(e = is_whole(&file)) &&
	    !(e = path_make(maildir, &maildir->path, "dovecot-keywords", "")))
		e = io_write_file(maildir->path.at, file.at, file.bytes, 0600, patience());
	buffer_free(&file);
	return e;
}

/* A line of the file, and nothing else. */
static bool is_keyword(struct text keyword)
{
	for (size_t i = 0; i < keyword.bytes; i++)
		if ((uint8_t)keyword.at[i] <= ' ' || keyword.at[i] == 0x7f)
			return false;
	return true;
}

/* The letters of a message's keywords as bits; those that are new to the folder get one. */
static enum err keywords_bits(struct maildir *maildir, const struct mail_meta *meta, uint32_t *bits)
{
	size_t at = 0, count = keywords_count(maildir), before = count, i;
	struct text keyword;
	const char *space;

	*bits = 0;
	for (; at < meta->keywords_bytes; at += keyword.bytes + 1) {
		keyword = (struct text){ meta->keywords + at, meta->keywords_bytes - at };
		if ((space = memchr(keyword.at, ' ', keyword.bytes)))
			keyword.bytes = (size_t)(space - keyword.at);
		if (keyword.bytes == 0)
			continue;
		i = keyword_find(maildir, keyword);
		if (i >= KEYWORDS_MAX || !is_keyword(keyword)) {
			maildir->keywords_dropped++;
			continue;
		}
		if (i == count) {
			buffer_add(&maildir->keywords, keyword.at, keyword.bytes);
			buffer_add(&maildir->keywords, "", 1);
			count++;
		}
		*bits |= 1u << i;
	}
	return count > before ? keywords_save(maildir) : OK;
}

/* ---- folders ---- */

static enum err list_before(struct maildir *maildir, const char *directory, struct buffer *names)
{
	enum err e;

	buffer_reset(names);
	names->bytes_max = SIZE_MAX / 2; /* 80 bytes a message of the folder being gone on with */
	if (maildir->fresh)
		return OK;
	e = path_make(maildir, &maildir->path, directory, "");
	return e ? e : io_list(maildir->path.at, patience(), names);
}

static enum err directories_make(struct maildir *maildir, bool is_inbox)
{
	static const char *const names[] = { "cur", "new", "tmp" };
	int fd = -1;
	enum err e = extract_directory(maildir->folder.at, NULL);

	for (size_t i = 0; i < ARRAY_COUNT(names) && !e; i++)
		if (!(e = path_make(maildir, &maildir->path, names[i], "")))
			e = extract_directory(maildir->path.at, NULL);
	if (e || is_inbox || (e = path_make(maildir, &maildir->path, "maildirfolder", "")))
		return e;
	/* Maildir++: says that this is a folder of the Maildir above. */
	e = io_open(maildir->path.at, O_WRONLY | O_CREAT | O_NOFOLLOW, 0600, patience(), &fd);
	io_close(&fd);
	return e;
}

static enum err folder_enter(struct maildir *maildir, const char *box, char separator)
{
	bool is_inbox = strcasecmp(box, "INBOX") == 0; /* RFC 9051 section 5.1: in any case */
	enum err e;

	if (maildir->folder.bytes && maildir->separator == separator &&
	    strcmp(maildir->box, box) == 0)
		return OK;
	buffer_reset(&maildir->folder);
	buffer_add_text(&maildir->folder, maildir->config.path);
	if (!is_inbox) {
		buffer_add_text(&maildir->folder, "/");
		if ((e = maildir_name_add(&maildir->folder, box, separator, maildir->config.utf8)))
			return e;
	}
	if ((e = is_whole(&maildir->folder)) || (e = directories_make(maildir, is_inbox)) ||
	    (e = keywords_load(maildir)) || (e = list_before(maildir, "cur", &maildir->cur)) ||
	    (e = list_before(maildir, "new", &maildir->new))) {
		buffer_reset(&maildir->folder);
		return e;
	}
	snprintf(maildir->box, sizeof maildir->box, "%s", box);
	maildir->separator = separator;
	return OK;
}

enum err maildir_add_box(struct maildir *maildir, const struct box *box)
{
	enum err e = folder_enter(maildir, box->name, box->separator);
	const char *name = strrchr(maildir->folder.at ? maildir->folder.at : "", '/');

	if (e || !box->subscribed)
		return e;
	buffer_addf(&maildir->subscriptions, "%s\n",
		    strcasecmp(box->name, "INBOX") == 0 ? "INBOX" : name + 2);
	return is_whole(&maildir->subscriptions);
}

enum err maildir_finish(struct maildir *maildir)
{
	struct ring_stat stat;
	enum err e;

	buffer_reset(&maildir->path);
	buffer_addf(&maildir->path, "%s/subscriptions", maildir->config.path);
	if ((e = is_whole(&maildir->path)) || !maildir->subscriptions.bytes)
		return e;
	e = io_stat(maildir->path.at, patience(), &stat);
	if (e != ERR_DISK_ABSENT)
		return e;
	err_note_clear();
	return io_write_file(maildir->path.at, maildir->subscriptions.at,
			     maildir->subscriptions.bytes, 0600, patience());
}

/* ---- messages ---- */

/* The same in every run: the moment it arrived, where it lies in the archive, its digest, its
 * size. Dovecot numbers files that it has not met by the moment, then by name. */
static void unique_make(char *to, size_t room, const struct archive_message *message)
{
	const struct mail_date *date = &message->meta.date;
	const char *pack = strrchr(message->pack, '/');
	char digest[2 * 8 + 1];
	uint64_t number = 0;

	must(pack && pack_number(pack + 1, &number));
	bytes_to_hex(digest, message->digest.bytes, 8);
	snprintf(to, room, "%lld.P%010lluO%012llu.%s,S=%llu",
		 (long long)(date->known && date->seconds > 0 ? date->seconds : 0),
		 (unsigned long long)number, (unsigned long long)message->offset, digest,
		 (unsigned long long)message->size_bytes);
}

/* In ASCII order, as the format wants them. */
static void info_add(struct buffer *to, uint32_t flags, uint32_t keywords)
{
	static const struct {
		uint32_t flag;
		char letter;
	} letters[] = { { MAIL_DRAFT, 'D' },
			{ MAIL_FLAGGED, 'F' },
			{ MAIL_ANSWERED, 'R' },
			{ MAIL_SEEN, 'S' },
			{ MAIL_DELETED, 'T' } };
	char letter;

	buffer_add_text(to, ":2,");
	for (size_t i = 0; i < ARRAY_COUNT(letters); i++)
		if (flags & letters[i].flag)
			buffer_add(to, &letters[i].letter, 1);
	for (unsigned i = 0; i < KEYWORDS_MAX; i++)
		if (keywords & 1u << i) {
			letter = (char)('a' + i);
			buffer_add(to, &letter, 1);
		}
}

/* Whether a name begins with `unique` and then ends, or has its flags there. The names are sorted,
 * one behind the other: halve, and go back to where the name in the middle begins. */
static bool names_have(const struct buffer *names, const char *unique)
{
	size_t low = 0, high = names->bytes, n = strlen(unique), middle;
	int order;

	while (low < high) {
		middle = low + (high - low) / 2;
		while (middle > low && names->at[middle - 1])
			middle--;
		order = strncmp(names->at + middle, unique, n);
		if (order == 0 && (!names->at[middle + n] || names->at[middle + n] == ':'))
			return true;
		if (order < 0)
			low = middle + strlen(names->at + middle) + 1;
		else
			high = middle;
	}
	return false;
}

/* With the flags that it has here it may have been written by an earlier run; with others
 * somebody has read it since, and it stays as it is. */
static enum err message_look(struct maildir *maildir, const char *unique,
			     const struct archive_message *message, bool *present)
{
	bool exists = false;
	enum err e;

	*present = false;
	if (maildir->fresh)
		return OK;
	if ((e = extract_file_look(maildir->path.at, message, maildir->config.digest, &exists,
				   present)))
		return e;
	if (exists && !*present)
		return RAISE(ERR_DISK_EXISTS,
			     "%s holds something else than the message; move it away",
			     maildir->path.at);
	*present |= names_have(&maildir->cur, unique) || names_have(&maildir->new, unique);
	return OK;
}

enum err maildir_add(struct maildir *maildir, struct archive *archive,
		     const struct archive_message *message, bool *present)
{
	struct extract_file file = { .durable = true };
	char unique[160];
	uint32_t keywords;
	enum err e;

	unique_make(unique, sizeof unique, message);
	if ((e = folder_enter(maildir, message->box, message->separator)) ||
	    (e = keywords_bits(maildir, &message->meta, &keywords)) ||
	    (e = path_make(maildir, &maildir->temporary, "tmp/", unique)) ||
	    (e = path_make(maildir, &maildir->path, "cur/", unique)))
		return e;
	info_add(&maildir->path, message->meta.flags, keywords);
	if ((e = is_whole(&maildir->path)) ||
	    (e = message_look(maildir, unique, message, present)) || *present)
		return e;
	file.path = maildir->path.at;
	file.temporary = maildir->temporary.at;
	return extract_file_write(&file, archive, message);
}
