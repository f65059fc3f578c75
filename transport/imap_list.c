/* Folders are kept as one row each plus the names, found again by a small hash table, since LSUB
 * and STATUS name them in whatever order they like. */
#include "transport/imap_list.h"

#include <stdio.h>
#include <stdlib.h>

#include "crypto/digest.h"
#include "engine/log.h"
#include "transport/imap_delta.h"
#include "transport/imap_utf7.h"

enum {
	/* More than any real mailbox has; bounds what a server can make us remember. */
	FOLDERS_MAX = 200 * 1000,
	/* STATUS commands in flight: two pages, 3 KiB of commands, which any socket takes. */
	STATUS_FLIGHT = 32,
	OTHERS_MAX = 8,
};

struct folder {
	uint32_t name_at, name_bytes; /* in names */
	unsigned attributes;	      /* enum imap_list_attribute */
	char separator;
	bool has_status;
	enum err fate;
	uint64_t messages, next_no, epoch, bytes;
	uint64_t modseq;	  /* HIGHESTMODSEQ; 0: the server has none for it */
	uint32_t id_at, id_bytes; /* MAILBOXID, in names */
};

struct imap_list {
	struct buffer names;
	struct folder *folders;
	uint32_t count, room, page_at;
	uint32_t *table; /* index + 1 of folders; 0: free; table_size a power of two */
	uint32_t table_size;
	struct buffer others[OTHERS_MAX];      /* prefixes of other users' folders */
	char prefix[BOX_PREFIX_BYTES_MAX + 1]; /* of the user's own */
	bool has_prefix;
	unsigned others_count, left_out, unreadable;
	bool utf8_names; /* IMAP4rev2 alone */
};

static struct text folder_name(const struct imap_list *list, const struct folder *folder)
{
	return (struct text){ list->names.at + folder->name_at, folder->name_bytes };
}

/* INBOX is one folder in any case (RFC 9051 section 5.1). */
static bool same_name(struct text a, struct text b)
{
	return text_equal(a, b) || (imap_text_is(a, "INBOX") && imap_text_is(b, "INBOX"));
}

/* FNV-1a; INBOX in any case alike. */
static uint32_t hash_name(struct text name)
{
	uint32_t hash = 2166136261u;

	if (imap_text_is(name, "INBOX"))
		name = text_of("INBOX");
	for (size_t i = 0; i < name.bytes; i++)
		hash = (hash ^ (unsigned char)name.at[i]) * 16777619u;
	return hash;
}

/* Where the name is in the table, or would go. */
static uint32_t *find_place(const struct imap_list *list, struct text name)
{
	uint32_t at = hash_name(name);

	must(list->count < list->table_size); /* a free place ends the walk */
	for (;; at++) {
		uint32_t *place = &list->table[at & (list->table_size - 1)];

		if (!*place || same_name(folder_name(list, &list->folders[*place - 1]), name))
			return place;
	}
}

static struct folder *find_folder(const struct imap_list *list, struct text name)
{
	uint32_t place = list->table_size ? *find_place(list, name) : 0;

	return place ? &list->folders[place - 1] : NULL;
}

static enum err grow(struct imap_list *list)
{
	uint32_t room = list->room ? 2 * list->room : 64;
	struct folder *folders = realloc(list->folders, room * sizeof *folders);
	uint32_t *table;

	if (folders)
		list->folders = folders;
	table = folders ? calloc(2 * (size_t)room, sizeof *table) : NULL;
	if (!table)
		return RAISE(ERR_MEMORY_EXHAUSTED, "a list of %u folders", list->count);
	free(list->table);
	list->table = table;
	list->room = room;
	list->table_size = 2 * room;
	for (uint32_t i = 0; i < list->count; i++)
		*find_place(list, folder_name(list, &folders[i])) = i + 1;
	return OK;
}

static enum err add_folder(struct imap_list *list, struct text name, struct folder **out)
{
	enum err e;

	*out = find_folder(list, name);
	if (*out)
		return OK;
	if (list->count == FOLDERS_MAX)
		return RAISE(ERR_IMAP_SYNTAX, "LIST: more than %d folders", FOLDERS_MAX);
	if (list->count == list->room && (e = grow(list)))
		return e;
	*out = &list->folders[list->count];
	**out = (struct folder){ .name_at = (uint32_t)list->names.bytes,
				 .name_bytes = (uint32_t)name.bytes };
	buffer_add(&list->names, name.at, name.bytes);
	if (list->names.failed)
		return RAISE(ERR_MEMORY_EXHAUSTED, "names of %u folders", list->count);
	*find_place(list, name) = list->count + 1;
	list->count++;
	return OK;
}

/* ---- what the server says ---- */

static void note_space(void *context, enum imap_space space, const char *prefix)
{
	struct imap_list *list = context;

	if (space == IMAP_SPACE_PERSONAL) {
		if (!list->has_prefix && strlen(prefix) < sizeof list->prefix)
			bytes_copy(list->prefix, prefix, strlen(prefix) + 1, BYTES_META);
		list->has_prefix = true;
	} else if (prefix[0] && list->others_count < OTHERS_MAX)
		buffer_add_text(&list->others[list->others_count++], prefix);
}

/* INBOX is the user's own (RFC 9051 section 5.1), whatever NAMESPACE says. */
static bool is_others(const struct imap_list *list, struct text name)
{
	if (imap_text_is(name, "INBOX"))
		return false;
	for (unsigned i = 0; i < list->others_count; i++) {
		const struct buffer *prefix = &list->others[i];

		if (name.bytes >= prefix->bytes && memcmp(name.at, prefix->at, prefix->bytes) == 0)
			return true;
	}
	return false;
}

/* A LIST line that libetpan cannot parse is a folder all the same: it is shown by its line, with a
 * fate, so that nobody believes it was moved. */
static enum err note_unreadable(struct imap_list *list, struct text line)
{
	struct folder *folder;
	char shown[200], name[240];
	int n;
	enum err e;

	n = snprintf(name, sizeof name, "unreadable-%u %s", ++list->unreadable,
		     err_quote(shown, sizeof shown, line));
	log_event(LOG_WARN, "imap.list_unreadable", "!line=\"%s\"", shown);
	if ((e = add_folder(list, (struct text){ name, (size_t)n }, &folder)))
		return e;
	folder->fate = ERR_IMAP_REFUSED;
	folder->attributes |= IMAP_LIST_NOSELECT;
	return OK;
}

static enum err on_list(struct imap_session *imap, struct imap_list *list, struct text reply)
{
	struct imap_listed listed;
	struct folder *folder;
	struct text name;
	enum err e;

	if (!imap_parse_list(imap_session_grammar(imap), reply, &listed))
		return listed.is_lsub ? OK : note_unreadable(list, reply);
	name = text_of(listed.name);
	if (name.bytes == 0)
		return OK;
	if (is_others(list, name)) {
		list->left_out++;
		return OK;
	}
	if (listed.is_lsub) {
		folder = find_folder(list, name);
		if (folder)
			folder->attributes |= IMAP_LIST_SUBSCRIBED;
		return OK;
	}
	if ((e = add_folder(list, name, &folder)))
		return e;
	folder->separator = listed.separator;
	folder->attributes |= listed.attributes;
	if (name.bytes > BOX_NAME_BYTES_MAX)
		folder->fate = ERR_IMAP_REFUSED;
	return OK;
}

/* MAILBOXID "(" objectid ")", RFC 8474 section 4.3. */
static bool scan_id(struct imap_list *list, struct imap_scan *scan, struct folder *folder)
{
	struct text id;

	if (!imap_scan_char(scan, '(') || !imap_scan_atom(scan, &id) || !imap_scan_char(scan, ')'))
		return false;
	if (id.bytes > BOX_ID_BYTES_MAX)
		return true; /* no id then */
	folder->id_at = (uint32_t)list->names.bytes;
	folder->id_bytes = (uint32_t)id.bytes;
	buffer_add(&list->names, id.at, id.bytes);
	return !list->names.failed;
}

/* A size that cannot be true is none: nothing hangs on it. */
static bool scan_status_items(struct imap_list *list, struct imap_scan *scan, struct folder *folder)
{
	while (!imap_scan_char(scan, ')')) {
		struct text name;
		uint64_t *to, unused, max;
		bool counts;

		if (!imap_scan_atom(scan, &name) || !imap_scan_char(scan, ' '))
			return false;
		if (imap_text_is(name, "MAILBOXID")) {
			if (!scan_id(list, scan, folder))
				return false;
			imap_scan_char(scan, ' ');
			continue;
		}
		to = imap_text_is(name, "MESSAGES")	   ? &folder->messages
		     : imap_text_is(name, "UIDNEXT")	   ? &folder->next_no
		     : imap_text_is(name, "UIDVALIDITY")   ? &folder->epoch
		     : imap_text_is(name, "SIZE")	   ? &folder->bytes
		     : imap_text_is(name, "HIGHESTMODSEQ") ? &folder->modseq
							   : &unused;
		counts = to != &folder->bytes && to != &folder->modseq && to != &unused;
		max = counts ? UINT32_MAX : INT64_MAX;
		if (!imap_scan_number(scan, max, to) && (counts || !imap_scan_value(scan)))
			return false;
		imap_scan_char(scan, ' ');
	}
	return true;
}

/* UIDNEXT and UIDVALIDITY are never 0 (RFC 9051 section 9, nz-number), and without them nothing can
 * be asked for. A folder of which the server says nothing that can be true is asked about once
 * more, by itself, and then refused. */
static void take_status(struct imap_list *list, struct folder *folder, struct imap_scan scan)
{
	struct folder said = *folder;

	if (imap_scan_char(&scan, ' ') && imap_scan_char(&scan, '(') &&
	    scan_status_items(list, &scan, &said) && said.epoch && said.next_no) {
		*folder = said;
		folder->has_status = true;
	}
}

/* STATUS is read by ourselves: libetpan 1.9.4 does not know SIZE (RFC 8438). */
static enum err on_status(struct imap_list *list, struct text reply)
{
	struct imap_scan scan = imap_scan_of(reply);
	char name[2 * BOX_NAME_BYTES_MAX], shown[100];
	struct folder *folder;
	size_t bytes;

	if (!imap_scan_word(&scan, "STATUS") || !imap_scan_char(&scan, ' '))
		return OK;
	if (!imap_scan_astring(&scan, name, sizeof name, &bytes)) {
		if (imap_scan_value(&scan))
			return OK; /* longer than the name of any folder that can be moved */
		return RAISE(ERR_IMAP_SYNTAX, "\"%s\" does not parse",
			     err_quote(shown, sizeof shown, reply));
	}
	folder = find_folder(list, (struct text){ name, bytes });
	if (folder)
		take_status(list, folder, scan);
	return OK;
}

static enum err on_reply(struct imap_session *imap, const struct imap_reply *reply, void *context)
{
	struct imap_scan scan = imap_scan_of(reply->text);
	struct imap_list *list = context;

	if (imap_scan_word(&scan, "LIST") || imap_scan_word(&scan, "LSUB"))
		return on_list(imap, list, reply->text);
	if (imap_scan_word(&scan, "NAMESPACE") &&
	    !imap_parse_namespace(reply->text, note_space, list))
		log_event(LOG_WARN, "imap.namespace_unreadable", "others=unknown");
	return on_status(list, reply->text);
}

/* ---- asking ---- */

static enum err say(struct imap_session *imap, const char *command, unsigned *tag)
{
	struct imap_wire *wire = imap_session_wire(imap);

	*tag = imap_wire_begin(wire);
	buffer_add_text(&wire->command, command);
	return imap_wire_send(wire);
}

static void add_status_items(unsigned capabilities, struct buffer *command)
{
	buffer_add_text(command, "(MESSAGES UIDNEXT UIDVALIDITY");
	if (capabilities & IMAP_HAS_STATUS_SIZE)
		buffer_add_text(command, " SIZE");
	if (capabilities & IMAP_HAS_CONDSTORE)
		buffer_add_text(command, " HIGHESTMODSEQ");
	if (capabilities & IMAP_HAS_OBJECTID)
		buffer_add_text(command, " MAILBOXID");
	buffer_add_text(command, ")");
}

/* LIST with everything in its answer that the server can put there (RFC 5258, 6154, 5819). */
static void extended_command(unsigned capabilities, struct buffer *command)
{
	buffer_add_text(command, "LIST \"\" \"*\" RETURN (SUBSCRIBED");
	if (capabilities & IMAP_HAS_SPECIAL_USE)
		buffer_add_text(command, " SPECIAL-USE");
	if (capabilities & IMAP_HAS_LIST_STATUS) {
		buffer_add_text(command, " STATUS ");
		add_status_items(capabilities, command);
	}
	buffer_add_text(command, ")");
}

/* Everything in one flight; NAMESPACE first, since its answer says which LIST lines to leave
 * out. */
enum { ASK_NAMESPACE, ASK_LIST, ASK_LSUB, ASKS };

static enum err ask(struct imap_session *imap, struct imap_list *list, bool extended)
{
	struct buffer *command = &imap_session_wire(imap)->command;
	unsigned capabilities = imap_session_capabilities(imap), tags[ASKS] = { 0 };
	struct imap_status status = { .state = IMAP_OK };
	enum err e = OK;

	if (capabilities & IMAP_HAS_NAMESPACE)
		e = say(imap, "NAMESPACE", &tags[ASK_NAMESPACE]);
	if (e == OK && extended) {
		tags[ASK_LIST] = imap_wire_begin(imap_session_wire(imap));
		extended_command(capabilities, command);
		e = imap_wire_send(imap_session_wire(imap));
	} else if (e == OK && (e = say(imap, "LIST \"\" \"*\"", &tags[ASK_LIST])) == OK) {
		e = say(imap, "LSUB \"\" \"*\"", &tags[ASK_LSUB]);
	}
	if (e || (e = imap_wire_flush(imap_session_wire(imap))))
		return e;
	for (unsigned i = 0; i < ASKS; i++) {
		if (tags[i] && (e = imap_session_answer(imap, tags[i], on_reply, list, &status)))
			return e;
		/* Refused NAMESPACE or LSUB: less is known, nothing is lost. An extended LIST
		 * offered and then refused happens; the plain form always works. */
		if (i == ASK_LIST && status.state != IMAP_OK)
			return extended ? ask(imap, list, false)
					: imap_status_raise(&status, ERR_IMAP_UNAVAILABLE, "LIST");
	}
	return OK;
}

enum err imap_list_open(struct imap_session *imap, struct imap_list **out)
{
	struct imap_list *list = calloc(1, sizeof *list);
	enum err e;

	*out = list;
	if (!list)
		return RAISE(ERR_MEMORY_EXHAUSTED, "the list of folders");
	list->utf8_names = !(imap_session_capabilities(imap) & IMAP_REV1);
	e = ask(imap, list, imap_session_capabilities(imap) & IMAP_HAS_LIST_EXTENDED);
	if (list->left_out)
		log_event(LOG_WARN, "imap.others_left_out", "folders=%u", list->left_out);
	if (e)
		imap_list_close(out);
	return e;
}

void imap_list_close(struct imap_list **list)
{
	if (!*list)
		return;
	for (unsigned i = 0; i < OTHERS_MAX; i++)
		buffer_free(&(*list)->others[i]);
	buffer_free(&(*list)->names);
	free((*list)->folders);
	free((*list)->table);
	free(*list);
	*list = NULL;
}

/* ---- STATUS, a flight at a time ---- */

static bool needs_status(const struct folder *folder)
{
	return !folder->has_status && !folder->fate && !(folder->attributes & IMAP_LIST_NOSELECT);
}

struct flight {
	uint32_t folders[STATUS_FLIGHT];
	unsigned tags[STATUS_FLIGHT]; /* 0: answered */
	unsigned count, answered;
};

static enum err send_flight(struct imap_list *list, struct imap_session *imap,
			    struct flight *flight)
{
	unsigned capabilities = imap_session_capabilities(imap);
	struct imap_wire *wire = imap_session_wire(imap);
	enum err e;

	for (uint32_t i = list->page_at; i < list->count && flight->count < STATUS_FLIGHT; i++) {
		struct folder *folder = &list->folders[i];
		unsigned tag;

		if (!needs_status(folder))
			continue;
		tag = imap_wire_begin(wire);
		buffer_add_text(&wire->command, "STATUS ");
		if (!imap_wire_add_string(wire, folder_name(list, folder),
					  capabilities & IMAP_HAS_LITERAL_PLUS)) {
			/* An 8-bit name without LITERAL+: no way to say it in one flight. */
			buffer_reset(&wire->command);
			folder->fate = ERR_IMAP_REFUSED;
			continue;
		}
		buffer_add_text(&wire->command, " ");
		add_status_items(capabilities, &wire->command);
		if ((e = imap_wire_send(wire)))
			return e;
		flight->tags[flight->count] = tag;
		flight->folders[flight->count++] = i;
	}
	return imap_wire_flush(wire);
}

/* The server will not tell about this folder. Only what concerns the whole session stops the
 * listing. */
static enum err refuse_folder(struct imap_list *list, struct folder *folder,
			      const struct imap_status *status)
{
	enum err e = imap_hint(status, ERR_IMAP_REFUSED).error;
	char shown[100], text[200];

	if (e == ERR_IMAP_THROTTLED || (e == ERR_IMAP_UNAVAILABLE && status->state == IMAP_BAD))
		return imap_status_raise(status, ERR_IMAP_REFUSED, "STATUS");
	folder->fate = e == OK || e == ERR_IMAP_BAD ? ERR_IMAP_REFUSED : e;
	log_event(LOG_WARN, "imap.status_refused", "!box=\"%s\" error=%s !said=\"%s\"",
		  err_quote(shown, sizeof shown, folder_name(list, folder)), err_name(folder->fate),
		  err_quote(text, sizeof text, status->text));
	return OK;
}

/* Which folder's STATUS this tag answers, once; NULL: none. */
static struct folder *answered_folder(struct imap_list *list, struct flight *flight, unsigned tag)
{
	for (unsigned i = 0; i < flight->count; i++) {
		if (!tag || flight->tags[i] != tag)
			continue;
		flight->tags[i] = 0;
		flight->answered++;
		return &list->folders[flight->folders[i]];
	}
	return NULL;
}

static enum err hear_flight(struct imap_list *list, struct imap_session *imap,
			    struct flight *flight)
{
	struct imap_reply reply;
	struct folder *folder;
	enum err e;

	while (flight->answered < flight->count) {
		if ((e = imap_session_reply(imap, &reply)))
			return e;
		if (reply.kind == IMAP_UNTAGGED) {
			if (!reply.is_status && (e = on_reply(imap, &reply, list)))
				return e;
			continue;
		}
		folder =
			reply.kind == IMAP_TAGGED ? answered_folder(list, flight, reply.tag) : NULL;
		if (!folder)
			return RAISE(ERR_IMAP_SYNTAX, "STATUS: an answer to nothing we asked");
		/* OK without a STATUS line is a refusal too. */
		if (!folder->has_status && (e = refuse_folder(list, folder, &reply.status)))
			return e;
	}
	return OK;
}

static enum err ask_status(struct imap_list *list, struct imap_session *imap)
{
	struct flight flight = { .count = 0 };
	enum err e;

	if ((e = send_flight(list, imap, &flight)))
		return e;
	return hear_flight(list, imap, &flight);
}

/* ---- pages ---- */

static void copy_name(char to[BOX_NAME_BYTES_MAX + 1], struct text name)
{
	size_t bytes = min_u64(name.bytes, BOX_NAME_BYTES_MAX);

	bytes_copy(to, name.at, bytes, BYTES_META);
	to[bytes] = '\0';
}

/* An escaped name that is too long ends early, in "%:" and a digest of all of it. */
static enum err cut_escaped(struct text raw, struct box *box)
{
	char *to = box->name + BOX_NAME_BYTES_MAX - 2 - 2 * DIGEST_BYTES;
	struct digest digest;
	enum err e = digest_of(digest_type(text_of("blake3")), raw.at, raw.bytes, &digest);

	if (e)
		return e;
	*to++ = '%';
	*to++ = ':';
	for (unsigned i = 0; i < DIGEST_BYTES; i++, to += 2)
		snprintf(to, 3, "%02x", digest.bytes[i]);
	must(to == box->name + BOX_NAME_BYTES_MAX);
	return OK;
}

static const char escaped_prefix[] = "%raw:";

/* "%raw:" and the bytes of the raw name, those that are not printable ASCII and "&" and "%" as %XX:
 * one spelling for each raw name, and no two alike. */
static enum err escape_name(struct text raw, struct box *box)
{
	size_t used = sizeof escaped_prefix - 1;

	bytes_copy(box->name, escaped_prefix, used, BYTES_META);
	for (size_t i = 0; i < raw.bytes; i++) {
		unsigned byte = (unsigned char)raw.at[i];
		bool plain = byte >= ' ' && byte <= '~' && byte != '&' && byte != '%';

		if (used + (plain ? 1 : 3) > BOX_NAME_BYTES_MAX)
			return cut_escaped(raw, box);
		if (plain)
			box->name[used++] = (char)byte;
		else
			used += (size_t)snprintf(box->name + used, 4, "%%%02X", byte);
	}
	box->name[used] = '\0';
	return OK;
}

/* The raw name as people spell it; false if it is not the one correct spelling of a name. */
static bool decode_name(bool utf8_names, struct text raw, struct box *box)
{
	if (raw.bytes > BOX_NAME_BYTES_MAX)
		return false; /* box->raw is cut: this folder has a fate, and a name all the same */
	if (!utf8_names)
		return imap_utf7_decode(raw, box->name, sizeof box->name);
	copy_name(box->name, raw);
	return imap_utf8_valid(raw);
}

/* Two folders never share a display name, or one would hide the other in the archive: only correct
 * modified UTF-7 is decoded (where names are UTF-8: only correct UTF-8 is taken), everything else
 * is escaped, and so is a correct name that looks like an escaped one. Servers do hand out names
 * that they never should have stored: raw 8-bit ones, or a bare "&". */
enum err imap_list_names(struct text raw, bool utf8_names, struct box *box)
{
	copy_name(box->raw, raw);
	if (decode_name(utf8_names, raw, box) &&
	    strncmp(box->name, escaped_prefix, sizeof escaped_prefix - 1) != 0)
		return OK;
	return escape_name(raw, box);
}

static enum box_use use_of(struct text raw, unsigned attributes)
{
	if (imap_text_is(raw, "INBOX"))
		return BOX_USE_INBOX;
	for (enum box_use use = BOX_USE_ALL; use <= BOX_USE_IMPORTANT; use++)
		if (attributes & (unsigned)IMAP_LIST_USES << use)
			return use;
	return BOX_USE_NONE;
}

static enum err fill_box(const struct imap_list *list, const struct folder *folder, struct box *box)
{
	struct text raw = folder_name(list, folder);

	box->separator = folder->separator;
	box->use = use_of(raw, folder->attributes);
	box->subscribed = folder->attributes & IMAP_LIST_SUBSCRIBED;
	box->selectable = !(folder->attributes & IMAP_LIST_NOSELECT);
	box->childless = folder->attributes & IMAP_LIST_NOINFERIORS;
	bytes_copy(box->prefix, list->prefix, sizeof box->prefix, BYTES_META);
	box->fate = folder->fate;
	box->epoch = folder->epoch;
	box->next_no = folder->next_no;
	box->messages = folder->messages;
	box->bytes = folder->bytes;
	box->box_no = 0;
	box->renamed = false;
	bytes_copy(box->id, list->names.at + folder->id_at, folder->id_bytes, BYTES_META);
	box->id[folder->id_bytes] = '\0';
	imap_delta_cursor(box, folder->modseq);
	return imap_list_names(raw, list->utf8_names, box);
}

void imap_list_rewind(struct imap_list *list)
{
	list->page_at = 0;
}

enum err imap_list_page(struct imap_list *list, struct imap_session *imap, struct box_page *page)
{
	enum err e;

	page->count = 0;
	while (list->page_at < list->count && page->count < ARRAY_COUNT(page->boxes)) {
		const struct folder *folder;

		/* Folders that appear meanwhile move the rows: no pointer is kept over it. */
		if (needs_status(&list->folders[list->page_at]) && (e = ask_status(list, imap)))
			return e;
		folder = &list->folders[list->page_at];
		if (needs_status(folder))
			return RAISE(ERR_IMAP_SYNTAX, "STATUS: a folder was never answered for");
		if ((e = fill_box(list, folder, &page->boxes[page->count])))
			return e;
		page->count++;
		list->page_at++;
	}
	page->last = list->page_at == list->count;
	return OK;
}
