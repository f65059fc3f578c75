/* What lies in a folder: all UIDs, with their sizes or, of what is not ours, three header fields;
 * without what the ledger knows to be somebody's copy. */
#include <stdlib.h>

#include "engine/log.h"
#include "transport/fingerprint.h"
#include "transport/imap_existing_state.h"
#include "transport/imap_session.h"

enum {
	/* Messages of one command, about: all replies to it are bounded (imap_session.c). */
	LIST_MESSAGES = 100 * 1000,
	LIST_PIECES_MAX = 4096, /* UIDs may have gaps, and all messages lie in one */
	HEADER_MESSAGES = 1000,
	/* A command line stays below 1000 bytes, RFC 2683 section 3.2.1.5. */
	SET_BYTES_MAX = 880,
};

/* ---- replies ---- */

/* "UID", "FLAGS", "BODY[HEADER.FIELDS (DATE)]<0>". */
static bool scan_name(struct imap_scan *scan, struct text *name)
{
	const char *begin = scan->at;

	while (scan->at < scan->end && *scan->at != ' ' && *scan->at != ')') {
		if (*scan->at == '[' &&
		    !(scan->at = memchr(scan->at, ']', (size_t)(scan->end - scan->at)))) {
			scan->at = scan->end;
			return false;
		}
		scan->at++;
	}
	*name = (struct text){ begin, (size_t)(scan->at - begin) };
	return name->bytes > 0 && imap_scan_char(scan, ' ');
}

static bool is_header(struct text name)
{
	static const char word[] = "BODY[HEADER.FIELDS";

	return name.bytes > sizeof word &&
	       imap_text_is((struct text){ name.at, sizeof word - 1 }, word);
}

static bool read_item(struct imap_scan *scan, struct text name,
		      char room[IMAP_EXISTING_HEADER_BYTES_MAX], struct imap_existing_facts *facts)
{
	const char *begin = scan->at;
	uint64_t number;
	size_t bytes;

	if (imap_text_is(name, "UID")) {
		if (!imap_scan_number(scan, UINT32_MAX, &number))
			return false;
		facts->uid = (uint32_t)number;
		return true;
	}
	if (imap_text_is(name, "RFC822.SIZE"))
		return facts->has_size = imap_scan_number(scan, INT64_MAX, &facts->size_bytes);
	if (is_header(name) &&
	    imap_scan_astring(scan, room, IMAP_EXISTING_HEADER_BYTES_MAX, &bytes)) {
		facts->header = (struct text){ room, bytes };
		return true;
	}
	if (!imap_scan_value(scan))
		return false;
	if (imap_text_is(name, "FLAGS")) {
		facts->has_flags = true;
		facts->is_deleted = imap_text_holds(
			(struct text){ begin, (size_t)(scan->at - begin) }, "\\Deleted");
	}
	return true;
}

bool imap_existing_read(struct text reply, char room[IMAP_EXISTING_HEADER_BYTES_MAX],
			struct imap_existing_facts *facts)
{
	struct imap_scan scan = imap_scan_of(reply);
	struct text name;

	*facts = (struct imap_existing_facts){ 0 };
	if (!imap_scan_fetch(&scan))
		return false;
	while (!imap_scan_char(&scan, ')')) {
		if (!scan_name(&scan, &name) || !read_item(&scan, name, room, facts))
			return false;
		imap_scan_char(&scan, ' ');
	}
	return true;
}

/* ---- the conversation ---- */

struct listing {
	struct imap_existing *existing;
	struct imap_session *session;
	struct imap_existing_box *to;
	uint32_t uidvalidity, uidnext, messages;
	bool headers; /* are asked for; else UIDs and sizes */
	char room[IMAP_EXISTING_HEADER_BYTES_MAX];
};

static bool wants_sizes(const struct listing *listing)
{
	return listing->existing->config->existing == SINK_EXISTING_DIGEST;
}

/* A changed flag alone is no message of the listing. */
static enum err take_listed(struct listing *listing, const struct imap_existing_facts *facts)
{
	uint8_t key[EXISTING_KEY_BYTES] = { 0 };

	if (!facts->has_flags || (wants_sizes(listing) && !facts->has_size))
		return OK;
	if (wants_sizes(listing))
		bytes_put_le64(key, facts->size_bytes);
	return existing_add(&listing->existing->table, &listing->to->box, facts->uid, key,
			    facts->is_deleted);
}

static void take_header(struct listing *listing, const struct imap_existing_facts *facts)
{
	struct existing_row *row =
		existing_of_uid(&listing->existing->table, &listing->to->box, facts->uid);
	struct tap *tap = listing->existing->fingerprint;

	if (!row || !facts->header.at)
		return;
	tap->type->begin(tap);
	tap->type->update(tap, facts->header.at, facts->header.bytes);
	if (!fingerprint_key(tap, row->key))
		row->state = EXISTING_TAKEN;
}

static enum err take_reply(struct listing *listing, struct text reply)
{
	struct imap_existing_facts facts;
	struct imap_scan scan = imap_scan_of(reply);
	uint64_t number;

	if (imap_existing_read(reply, listing->room, &facts)) {
		if (facts.uid && listing->headers)
			take_header(listing, &facts);
		else if (facts.uid)
			return take_listed(listing, &facts);
	} else if (imap_scan_number(&scan, UINT32_MAX, &number) && imap_scan_char(&scan, ' ') &&
		   imap_scan_word(&scan, "EXISTS")) {
		listing->messages = (uint32_t)number;
	}
	return OK;
}

static void take_status(struct listing *listing, const struct imap_status *status)
{
	struct imap_scan scan = imap_scan_of(status->argument);
	uint64_t number;

	if (!imap_scan_number(&scan, UINT32_MAX, &number))
		return;
	if (imap_text_is(status->code, "UIDVALIDITY"))
		listing->uidvalidity = (uint32_t)number;
	else if (imap_text_is(status->code, "UIDNEXT"))
		listing->uidnext = (uint32_t)number;
}

/* Send what was begun, and hear all of the answer. */
static enum err act(struct listing *listing, unsigned tag, const char *verb)
{
	struct imap_wire *wire = imap_session_wire(listing->session);
	struct imap_reply reply;
	enum err e;

	if ((e = imap_wire_send(wire)) || (e = imap_wire_flush(wire)))
		return e;
	while ((e = imap_session_reply(listing->session, &reply)) == OK) {
		if (reply.kind == IMAP_CONTINUE || (reply.kind == IMAP_TAGGED && reply.tag != tag))
			return RAISE(ERR_IMAP_SYNTAX, "an answer to nothing we asked");
		if (reply.is_status)
			take_status(listing, &reply.status);
		else if ((e = take_reply(listing, reply.text)))
			return e;
		if (reply.kind == IMAP_TAGGED)
			return imap_status_raise(&reply.status, ERR_IMAP_REFUSED, verb);
	}
	return e;
}

static enum err examine(struct listing *listing)
{
	const struct imap_place *place = listing->to->place;
	struct imap_wire *wire = imap_session_wire(listing->session);
	bool literals = imap_session_capabilities(listing->session) & IMAP_HAS_LITERAL_PLUS;
	unsigned tag = imap_wire_begin(wire);
	enum err e;

	wire->read_bytes = IMAP_READ_BYTES_COLD;
	buffer_add_text(&wire->command, "EXAMINE ");
	if (!imap_wire_add_string(wire, text_of(place->raw), literals)) {
		buffer_reset(&wire->command);
		return RAISE(ERR_IMAP_REFUSED, "EXAMINE: the folder's name is not ASCII and the "
					       "server lacks LITERAL+");
	}
	if ((e = act(listing, tag, "EXAMINE")))
		return e;
	if (listing->uidvalidity != place->uidvalidity)
		return RAISE(ERR_SOURCE_EPOCH, "EXAMINE: UIDVALIDITY is %u, and was %u",
			     listing->uidvalidity, place->uidvalidity);
	listing->uidnext = (uint32_t)max_u64(listing->uidnext, place->uidnext);
	return OK;
}

/* Pieces of as many UIDs each. */
static enum err list_all(struct listing *listing)
{
	struct imap_wire *wire = imap_session_wire(listing->session);
	uint64_t end = listing->uidnext;
	uint64_t pieces = max_u64(listing->messages / LIST_MESSAGES + 1,
				  min_u64(end / LIST_MESSAGES + 1, LIST_PIECES_MAX));
	uint64_t width = end / pieces + 1;
	unsigned tag;
	enum err e = OK;

	for (uint64_t first = 1; first < end && listing->messages && !e; first += width) {
		tag = imap_wire_begin(wire);
		buffer_addf(&wire->command, "UID FETCH %llu:%llu (UID FLAGS%s)",
			    (unsigned long long)first,
			    (unsigned long long)min_u64(first + width, end) - 1,
			    wants_sizes(listing) ? " RFC822.SIZE" : "");
		e = act(listing, tag, "UID FETCH");
	}
	return e;
}

/* A set of the next rows that are not taken; false: there is none. Between two that stand beside
 * each other in the table the folder has nothing. */
static bool add_set(const struct listing *listing, struct buffer *command, size_t *at)
{
	const struct existing_row *rows =
		existing_rows(&listing->existing->table, &listing->to->box);
	size_t count = listing->to->box.count, begin = command->bytes, messages = 0, last;

	while (*at < count && messages < HEADER_MESSAGES &&
	       command->bytes - begin < SET_BYTES_MAX - 24) {
		if (rows[*at].state == EXISTING_TAKEN) {
			++*at;
			continue;
		}
		for (last = *at; last + 1 < count && rows[last + 1].state != EXISTING_TAKEN &&
				 messages < HEADER_MESSAGES;
		     last++)
			messages++;
		buffer_addf(command, "%s%u", command->bytes > begin ? "," : "", rows[*at].uid);
		if (last > *at)
			buffer_addf(command, ":%u", rows[last].uid);
		messages++;
		*at = last + 1;
	}
	return command->bytes > begin;
}

/* A row of which the server says nothing is nobody's. */
static enum err list_headers(struct listing *listing)
{
	static const uint8_t none[EXISTING_KEY_BYTES];
	struct existing_row *rows = existing_rows(&listing->existing->table, &listing->to->box);
	struct buffer set = { 0 };
	size_t at = 0;
	enum err e = OK;

	listing->headers = true;
	while (!e && add_set(listing, &set, &at)) {
		struct imap_wire *wire = imap_session_wire(listing->session);
		unsigned tag = imap_wire_begin(wire);

		buffer_add_text(&wire->command, "UID FETCH ");
		buffer_add(&wire->command, set.at, set.bytes);
		buffer_addf(&wire->command,
			    " (UID BODY.PEEK[HEADER.FIELDS (MESSAGE-ID DATE FROM)]<0.%d>)",
			    IMAP_EXISTING_HEADER_BYTES_MAX);
		e = act(listing, tag, "UID FETCH");
		buffer_reset(&set);
	}
	if (!e && set.failed)
		e = RAISE(ERR_MEMORY_EXHAUSTED, "what lies in a destination");
	buffer_free(&set);
	for (size_t i = 0; i < listing->to->box.count && !e; i++)
		if (memcmp(rows[i].key, none, sizeof none) == 0)
			rows[i].state = EXISTING_TAKEN;
	return e;
}

/* ---- what is somebody's already ---- */

static enum err take_sent(void *context, const struct sink_copy *copy)
{
	struct imap_existing *existing = context;

	return existing_was_sent(&existing->table, NULL, &copy->digest);
}

/* What is not where the ledger says may be there under another number. */
static enum err take_copy(void *context, const struct sink_copy *copy)
{
	struct listing *listing = context;
	struct existing *table = &listing->existing->table;
	struct existing_row *row = NULL;

	if (copy->target_no <= UINT32_MAX)
		row = existing_of_uid(table, &listing->to->box, (uint32_t)copy->target_no);
	if (!row)
		return existing_was_sent(table, &listing->to->box, &copy->digest);
	row->state = EXISTING_TAKEN;
	return OK;
}

static enum err take_copies(struct listing *listing)
{
	const struct sink_config *config = listing->existing->config;
	const struct imap_place *place = listing->to->place;
	enum err e = config->ask_copies(config->asked, place->raw, place->uidvalidity, take_copy,
					listing);

	existing_sent_ends(&listing->existing->table, &listing->to->box);
	return e;
}

/* Once for all folders. */
static enum err take_all_sent(struct imap_existing *existing)
{
	const struct sink_config *config = existing->config;
	enum err e = OK;

	if (!existing->knows_sent)
		e = config->ask_copies(config->asked, NULL, 0, take_sent, existing);
	existing_sent_ends(&existing->table, NULL);
	existing->knows_sent = true;
	return e;
}

/* ---- */

static enum err list(struct listing *listing)
{
	struct imap_existing *existing = listing->existing;
	struct existing_box *box = &listing->to->box;
	struct imap_place *place = listing->to->place;
	size_t all;
	enum err e;

	if ((e = take_all_sent(existing)))
		return e;
	existing_begin(&existing->table, box);
	if ((e = examine(listing)) || (e = list_all(listing)))
		return e;
	existing_by_uid(&existing->table, box);
	all = box->count;
	place->seen_top = all ? existing_rows(&existing->table, box)[all - 1].uid : 0;
	if (all &&
	    ((e = take_copies(listing)) || (!wants_sizes(listing) && (e = list_headers(listing)))))
		return e;
	existing_by_key(&existing->table, box);
	place->uidnext = 0; /* what was listed lies below the mark of what is sent */
	log_event(LOG_INFO, "imap.existing", "messages=%zu not_ours=%zu", all, box->count);
	return OK;
}

enum err imap_existing_list(struct imap_existing *existing, struct imap_session *session,
			    struct imap_existing_box *to)
{
	struct listing *listing = calloc(1, sizeof *listing);
	enum err e;

	if (!listing)
		return RAISE(ERR_MEMORY_EXHAUSTED, "what lies in a destination");
	listing->existing = existing;
	listing->session = session;
	listing->to = to;
	e = list(listing);
	free(listing);
	return e;
}
