/* Nothing is built from the files: whoever wants a value has them read again. They are short and
 * are asked a few dozen times in a run, and so nothing can be forgotten in memory. */
#include "transport/aws_profile.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "engine/bytes.h"
#include "transport/aws_file.h"

struct file {
	char path[AWS_PATH_ROOM];
	struct aws_file content; /* empty where the file is not there */
	bool required;
	bool is_config;
};
enum { CONFIG, CREDENTIALS, FILES };
struct aws_profiles {
	struct file files[FILES];
	bool are_texts;
};

/* ---- lines ---- */

enum kind {
	LINE_END, /* of the file */
	LINE_SECTION,
	LINE_VALUE,	/* name = value */
	LINE_IN_BLOCK,	/* the same, of the block `block` */
	LINE_CONTINUED, /* more of the value before */
	LINE_WRONG,
};

struct reading {
	const struct file *file;
	size_t at;
	unsigned line;
	/* The section that lasts. */
	enum aws_section section;
	struct text name; /* {NULL, 0}: one that nobody has a use for */
	bool is_prefixed; /* [profile default] */
	bool begun;	  /* there was a section */
	/* What the line before left open. */
	struct text open; /* the name of a value; {NULL, 0}: nothing can be continued */
	bool open_is_block;
	/* The line. */
	struct text key, value;
	const char *wrong;
};

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static bool is_comment(struct text text)
{
	return text.bytes > 0 && (*text.at == '#' || *text.at == ';');
}

static struct text trimmed(struct text text)
{
	while (text.bytes > 0 && is_space(*text.at)) {
		text.at++;
		text.bytes--;
	}
	while (text.bytes > 0 && is_space(text.at[text.bytes - 1]))
		text.bytes--;
	return text;
}

/* Without what follows a # or ; that has a space in front. */
static struct text without_comment(struct text text)
{
	for (size_t i = 1; i < text.bytes; i++)
		if ((text.at[i] == '#' || text.at[i] == ';') && is_space(text.at[i - 1]))
			text.bytes = i;
	return trimmed(text);
}

static bool next_raw(struct reading *r, struct text *line)
{
	struct text rest = { r->file->content.text.at + r->at,
			     r->file->content.text.bytes - r->at };
	const char *end;

	if (rest.bytes == 0)
		return false;
	end = memchr(rest.at, '\n', rest.bytes);
	*line = (struct text){ rest.at, end ? (size_t)(end - rest.at) : rest.bytes };
	r->at += line->bytes + (end != NULL);
	r->line++;
	return true;
}

static enum kind wrong(struct reading *r, const char *why)
{
	r->wrong = why;
	return LINE_WRONG;
}

/* ---- sections ---- */

static bool is_name(struct text text)
{
	for (size_t i = 0; i < text.bytes; i++) {
		char c = text.at[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		      (c && strchr("-/.%@_:+", c))))
			return false;
	}
	return text.bytes > 0 && text.bytes <= AWS_PROFILE_BYTES_MAX;
}

/* "profile NAME": what follows the word and at least one space. */
static bool is_prefixed(struct text text, const char *prefix, struct text *name)
{
	size_t n = strlen(prefix);

	if (text.bytes <= n || strncmp(text.at, prefix, n) != 0 || !is_space(text.at[n]))
		return false;
	*name = trimmed((struct text){ text.at + n, text.bytes - n });
	return true;
}

static void begin_section(struct reading *r, struct text inside)
{
	r->begun = true;
	r->section = AWS_PROFILE;
	r->name = inside;
	r->is_prefixed = r->file->is_config && is_prefixed(inside, "profile", &r->name);
	if (r->file->is_config && is_prefixed(inside, "services", &r->name))
		r->section = AWS_SERVICES_OF;
	else if (r->file->is_config && !r->is_prefixed && !text_equal(inside, text_of("default")))
		r->name = (struct text){ NULL, 0 };
	if (!is_name(r->name))
		r->name = (struct text){ NULL, 0 };
}

static enum kind read_section(struct reading *r, struct text line)
{
	const char *end = memchr(line.at, ']', line.bytes);
	struct text rest;

	r->open = (struct text){ NULL, 0 };
	if (!end)
		return wrong(r, "the section has no \"]\"");
	rest = trimmed((struct text){ end + 1, (size_t)(line.at + line.bytes - end - 1) });
	if (rest.bytes > 0 && !is_comment(rest))
		return wrong(r, "something follows the section's \"]\"");
	begin_section(r, trimmed((struct text){ line.at + 1, (size_t)(end - line.at - 1) }));
	return LINE_SECTION;
}

/* ---- values ---- */

static bool split(struct text line, struct text *key, struct text *value)
{
	const char *equals = memchr(line.at, '=', line.bytes);

	if (!equals)
		return false;
	*key = trimmed((struct text){ line.at, (size_t)(equals - line.at) });
	*value = (struct text){ equals + 1, (size_t)(line.at + line.bytes - equals - 1) };
	return true;
}

static enum kind read_value(struct reading *r, struct text line)
{
	if (!r->begun)
		return wrong(r, "a value stands before the first [section]");
	if (!split(line, &r->key, &r->value))
		return wrong(r, "there is no \"=\" between a name and its value");
	if (r->key.bytes == 0)
		return wrong(r, "there is no name in front of the \"=\"");
	r->value = without_comment(r->value);
	r->open = r->key;
	r->open_is_block = r->value.bytes == 0;
	return LINE_VALUE;
}

static enum kind read_indented(struct reading *r, struct text line)
{
	if (!r->open.at)
		return wrong(r,
			     "the line is indented, but there is nothing that it could continue");
	if (!r->open_is_block)
		return LINE_CONTINUED;
	if (!split(line, &r->key, &r->value))
		return wrong(r, "there is no \"=\" in this line of a block");
	if (r->key.bytes == 0)
		return wrong(r, "there is no name in front of the \"=\" in this line of a block");
	r->value = trimmed(r->value);
	return LINE_IN_BLOCK;
}

static enum kind next_line(struct reading *r)
{
	struct text line, inside;

	while (next_raw(r, &line)) {
		inside = trimmed(line);
		if (inside.bytes == 0 || is_comment(inside))
			continue;
		if (memchr(inside.at, '\0', inside.bytes))
			return wrong(r, "it holds a NUL byte: is it text?");
		if (is_space(*line.at))
			return read_indented(r, inside);
		return *line.at == '[' ? read_section(r, inside) : read_value(r, inside);
	}
	return LINE_END;
}

/* ---- opening ---- */

static bool text_is(struct text text, const char *word)
{
	return text.bytes == strlen(word) && strncasecmp(text.at, word, text.bytes) == 0;
}

static enum err check_file(const struct file *file, bool *has_secret)
{
	struct reading r = { .file = file };
	enum kind kind;

	*has_secret = false;
	while ((kind = next_line(&r)) != LINE_END) {
		if (kind == LINE_WRONG)
			return RAISE(ERR_INPUT_FILE, "%s:%u: %s", file->path, r.line, r.wrong);
		if (kind == LINE_VALUE && (text_is(r.key, "aws_secret_access_key") ||
					   text_is(r.key, "aws_session_token")))
			*has_secret = true;
	}
	return OK;
}

static enum err open_file(struct file *file, const struct aws_profile_file *from, nsec until)
{
	bool has_secret;
	enum err e;

	if (!from->path)
		return OK;
	file->required = from->required;
	if ((size_t)snprintf(file->path, sizeof file->path, "%s", from->path) >= sizeof file->path)
		return RAISE(ERR_INPUT_FILE, "the path %.100s... is too long", from->path);
	e = aws_file_read(file->path, AWS_FILE_BYTES_MAX, until, &file->content);
	if (e == ERR_DISK_ABSENT && !from->required) {
		err_note_clear();
		return OK;
	}
	if (e || (e = check_file(file, &has_secret)))
		return e;
	if (has_secret && file->content.mode & 077)
		return RAISE(ERR_INPUT_SECRET,
			     "%s holds secret keys and is open to others (mode %04o): chmod 600 %s",
			     file->path, (unsigned)file->content.mode, file->path);
	return OK;
}

static struct aws_profiles *profiles_new(void)
{
	struct aws_profiles *profiles = calloc(1, sizeof *profiles);

	for (size_t i = 0; profiles && i < FILES; i++)
		profiles->files[i] =
			(struct file){ .content.text = { "", 0 }, .is_config = i == CONFIG };
	return profiles;
}

enum err aws_profiles_open(const struct aws_profile_file *config,
			   const struct aws_profile_file *credentials, nsec until,
			   struct aws_profiles **out)
{
	struct aws_profiles *profiles = profiles_new();
	enum err e;

	if (!profiles)
		return RAISE(ERR_MEMORY_EXHAUSTED, "reading AWS's config files");
	if ((e = open_file(&profiles->files[CONFIG], config, until)) ||
	    (e = open_file(&profiles->files[CREDENTIALS], credentials, until)))
		aws_profiles_close(&profiles);
	*out = profiles;
	return e;
}

static enum err take_text(struct file *file, const char *shown, struct text text)
{
	bool has_secret;
	enum err e;

	snprintf(file->path, sizeof file->path, "%s", shown);
	e = aws_file_of(shown, text, AWS_FILE_BYTES_MAX, &file->content);
	return e ? e : check_file(file, &has_secret);
}

enum err aws_profiles_of(struct text config, struct text credentials, struct aws_profiles **out)
{
	struct aws_profiles *profiles = profiles_new();
	enum err e;

	if (!profiles)
		return RAISE(ERR_MEMORY_EXHAUSTED, "reading AWS's config files");
	profiles->are_texts = true;
	if ((e = take_text(&profiles->files[CONFIG], "config", config)) ||
	    (e = take_text(&profiles->files[CREDENTIALS], "credentials", credentials)))
		aws_profiles_close(&profiles);
	*out = profiles;
	return e;
}

enum err aws_profiles_reread(const struct aws_profiles *profiles, nsec until,
			     struct aws_profiles **out)
{
	struct aws_profile_file files[FILES];

	if (profiles->are_texts)
		return aws_profiles_of(profiles->files[CONFIG].content.text,
				       profiles->files[CREDENTIALS].content.text, out);
	for (size_t i = 0; i < FILES; i++)
		files[i] = (struct aws_profile_file){ *profiles->files[i].path
							      ? profiles->files[i].path
							      : NULL,
						      profiles->files[i].required };
	return aws_profiles_open(&files[CONFIG], &files[CREDENTIALS], until, out);
}

void aws_profiles_close(struct aws_profiles **profiles)
{
	if (!*profiles)
		return;
	for (size_t i = 0; i < FILES; i++)
		aws_file_close(&(*profiles)->files[i].content);
	free(*profiles);
	*profiles = NULL;
}

/* ---- asking ---- */

static bool is_in(const struct reading *r, enum aws_section section, const char *name)
{
	return r->name.at && r->section == section && text_equal(r->name, text_of(name));
}

/* Whether the section is in the file; and with [profile default], [default] does not count. */
static bool file_has(const struct file *file, enum aws_section section, const char *name,
		     bool *prefixed)
{
	struct reading r = { .file = file };
	bool found = false;
	enum kind kind;

	*prefixed = false;
	while ((kind = next_line(&r)) != LINE_END) {
		must(kind != LINE_WRONG);
		if (kind != LINE_SECTION || !is_in(&r, section, name))
			continue;
		found = true;
		*prefixed |= r.is_prefixed;
	}
	return found;
}

bool aws_profiles_have(const struct aws_profiles *profiles, enum aws_section section,
		       const char *name)
{
	bool prefixed;

	for (size_t i = 0; i < FILES; i++)
		if (file_has(&profiles->files[i], section, name, &prefixed))
			return true;
	return false;
}

bool aws_profiles_lack_prefix(const struct aws_profiles *profiles, const char *name)
{
	/* As the credentials file would be read, it is there. */
	struct file as_credentials = profiles->files[CONFIG];
	bool prefixed;

	as_credentials.is_config = false;
	return file_has(&as_credentials, AWS_PROFILE, name, &prefixed) &&
	       !file_has(&profiles->files[CONFIG], AWS_PROFILE, name, &prefixed);
}

struct question {
	enum aws_section section;
	const char *name, *within, *key;
};

/* Whether the line says what is asked for. */
static bool answers(const struct reading *r, enum kind kind, const struct question *q)
{
	if (!is_in(r, q->section, q->name) || !text_is(r->key, q->key))
		return false;
	return q->within ? kind == LINE_IN_BLOCK && text_is(r->open, q->within)
			 : kind == LINE_VALUE;
}

static enum err ask_file(const struct file *file, const struct question *q, struct aws_value *out)
{
	struct reading r = { .file = file };
	bool prefixed, is_last = false, continued = false;
	enum kind kind;

	if (!file_has(file, q->section, q->name, &prefixed))
		return OK;
	while ((kind = next_line(&r)) != LINE_END) {
		must(kind != LINE_WRONG);
		if (kind == LINE_CONTINUED) {
			continued |= is_last;
			continue;
		}
		is_last = answers(&r, kind, q) && (!prefixed || r.is_prefixed);
		if (!is_last)
			continue;
		continued = false;
		*out = (struct aws_value){ r.value, file->path, r.line };
	}
	return continued
		       ? RAISE(ERR_INPUT_FILE, "%s:%u: the value of %s goes on in an indented line",
			       out->file, out->line, q->key)
		       : OK;
}

enum err aws_profiles_get(const struct aws_profiles *profiles, enum aws_section section,
			  const char *name, const char *within, const char *key,
			  struct aws_value *out)
{
	struct question question = { section, name, within, key };
	enum err e = OK;

	*out = (struct aws_value){ .file = "" };
	for (size_t i = 0; i < FILES && !e; i++)
		e = ask_file(&profiles->files[i], &question, out);
	return e;
}

enum err aws_profiles_copy(const struct aws_profiles *profiles, enum aws_section section,
			   const char *name, const char *within, const char *key, char *to,
			   size_t room)
{
	struct aws_value value;
	enum err e = aws_profiles_get(profiles, section, name, within, key, &value);

	*to = '\0';
	if (e)
		return e;
	if (value.text.bytes >= room)
		return RAISE(ERR_INPUT_FILE, "%s:%u: the value of %s is longer than %zu bytes",
			     value.file, value.line, key, room - 1);
	if (value.text.bytes > 0)
		bytes_copy(to, value.text.at, value.text.bytes, BYTES_META);
	to[value.text.bytes] = '\0';
	return OK;
}
