/* One reply at a time: what it is, and for FETCH its items one by one. An item's value may be
 * interrupted by literals; `scan` walks the present part, `literal` is what stands behind it. */
#include "transport/imap_fetch.h"

#include <stdlib.h>

#include "transport/imap_body.h"

enum { FETCH_MAGIC = 0x1a4a9004 };

enum fetch_known {
	KNOWN_UID = 1,
	KNOWN_FLAGS = 2,
	KNOWN_DATE = 4,
	KNOWN_ALL = KNOWN_UID | KNOWN_FLAGS | KNOWN_DATE,
};

struct imap_fetch {
	uint32_t magic;
	struct imap_wire *wire;
	struct imap_body body;
	struct imap_scan scan; /* what is left of the present part */
	int64_t literal;       /* behind it, or IMAP_NO_LITERAL */
	/* The message of the present reply. */
	unsigned known;
	uint32_t uid;
	struct mail_meta meta;
	enum { BODY_ABSENT, BODY_NIL, BODY_STAGED, BODY_LITERAL } body_is;
	uint64_t size_bytes;
	int64_t told_bytes;
	bool labels_wanted, has_labels;
	struct buffer labels; /* of the present message, NULs between */
	unsigned labels_dropped;
	bool tail_pending; /* the reply goes on behind its body */
	uint32_t expected_uid;
	struct mail_meta expected_meta;
};

static enum err tail_at_body_end(void *owner);

enum err imap_fetch_open(struct imap_wire *wire, struct reserve *reserve, struct imap_fetch **out)
{
	struct imap_fetch *fetch = calloc(1, sizeof *fetch);

	*out = fetch;
	if (!fetch)
		return RAISE(ERR_MEMORY_EXHAUSTED, "the reader of messages");
	fetch->magic = FETCH_MAGIC;
	fetch->wire = wire;
	imap_body_init(&fetch->body, wire, reserve);
	fetch->body.ended = tail_at_body_end;
	fetch->body.owner = fetch;
	return OK;
}

void imap_fetch_close(struct imap_fetch **fetch)
{
	if (!*fetch)
		return;
	MAGIC_CHECK(*fetch, FETCH_MAGIC);
	imap_body_release(&(*fetch)->body);
	buffer_free(&(*fetch)->labels);
	(*fetch)->magic = 0;
	free(*fetch);
	*fetch = NULL;
}

void imap_fetch_expect(struct imap_fetch *fetch, uint32_t uid, const struct mail_meta *meta)
{
	fetch->expected_uid = uid;
	if (uid)
		fetch->expected_meta = *meta;
}

void imap_fetch_take_labels(struct imap_fetch *fetch, bool wanted)
{
	fetch->labels_wanted = wanted;
}

/* What does not parse, shown from where it stopped. */
static enum err bad(const struct imap_fetch *fetch, const char *what)
{
	char shown[60];

	return RAISE(ERR_IMAP_SYNTAX, "FETCH: %s at \"%s\"", what,
		     err_quote(shown, sizeof shown, imap_scan_rest(&fetch->scan)));
}

static enum err next_part(struct imap_fetch *fetch, bool first)
{
	struct text part = { NULL, 0 };
	enum err e;

	if ((e = imap_wire_part(fetch->wire, first, &part, &fetch->literal)))
		return e;
	fetch->scan = imap_scan_of(part);
	return OK;
}

/* ---- values ---- */

/* It cannot be carried: counted, so that the report can say so. */
static void drop_keyword(struct mail_meta *meta)
{
	if (meta->keywords_dropped < UINT16_MAX)
		meta->keywords_dropped++;
}

static void add_keyword(struct mail_meta *meta, struct text keyword)
{
	size_t at = meta->keywords_bytes, gap = at ? 1 : 0;
	bool is_fit = keyword.bytes + gap <= KEYWORDS_BYTES_MAX - at;

	for (size_t i = 0; i < keyword.bytes; i++)
		is_fit &= keyword.at[i] > ' ' && keyword.at[i] <= '~';
	if (!is_fit) {
		drop_keyword(meta);
		return;
	}
	if (gap)
		meta->keywords[at] = ' ';
	bytes_copy(meta->keywords + at + gap, keyword.at, keyword.bytes, BYTES_META);
	meta->keywords_bytes = (uint16_t)(at + gap + keyword.bytes);
}

static void add_flag(struct mail_meta *meta, struct text flag)
{
	static const struct {
		const char *name;
		enum mail_flag flag;
	} system[] = {
		{ "\\Seen", MAIL_SEEN },       { "\\Answered", MAIL_ANSWERED },
		{ "\\Flagged", MAIL_FLAGGED }, { "\\Deleted", MAIL_DELETED },
		{ "\\Draft", MAIL_DRAFT },
	};

	for (unsigned i = 0; i < ARRAY_COUNT(system); i++)
		if (imap_text_is(flag, system[i].name)) {
			meta->flags |= system[i].flag;
			return;
		}
	if (imap_text_is(flag, "\\Recent"))
		return; /* says something about the session, not about the message */
	if (flag.at[0] == '\\')
		drop_keyword(meta);
	else
		add_keyword(meta, flag);
}

/* flag-list = "(" [flag *(SP flag)] ")" */
static bool scan_flags(struct imap_scan *scan, struct mail_meta *meta)
{
	if (!imap_scan_char(scan, '('))
		return false;
	meta->flags = 0;
	meta->keywords_bytes = meta->keywords_dropped = 0;
	while (!imap_scan_char(scan, ')')) {
		const char *begin = scan->at;

		while (scan->at < scan->end && !strchr(" ()\"", *scan->at))
			scan->at++;
		if (scan->at == begin)
			return false;
		add_flag(meta, (struct text){ begin, (size_t)(scan->at - begin) });
		while (imap_scan_char(scan, ' '))
			continue;
	}
	return true;
}

bool imap_fetch_flags(struct imap_scan *scan, struct mail_meta *meta)
{
	return scan_flags(scan, meta);
}

/* A date that does not parse is an unknown date, not a lost message. */
static bool scan_date(struct imap_scan *scan, struct mail_date *date)
{
	struct text inside;

	*date = (struct mail_date){ .known = false };
	if (imap_scan_word(scan, "NIL"))
		return true;
	if (!imap_scan_quoted(scan, &inside))
		return false;
	if (!mail_date_parse(inside, date))
		date->known = false;
	return true;
}

static enum err take_uid(struct imap_fetch *fetch)
{
	uint64_t uid;

	if (!imap_scan_number(&fetch->scan, UINT32_MAX, &uid) || uid == 0)
		return bad(fetch, "no UID");
	if ((fetch->known & KNOWN_UID) && fetch->uid != uid)
		return RAISE(ERR_IMAP_SYNTAX, "FETCH: one reply with UIDs %u and %u", fetch->uid,
			     (unsigned)uid);
	fetch->uid = (uint32_t)uid;
	fetch->known |= KNOWN_UID;
	return OK;
}

/* A value nobody asked for (MODSEQ, X-GM-LABELS ...): over it, literals included. */
static enum err skip_value(struct imap_fetch *fetch)
{
	struct imap_scan *scan = &fetch->scan;
	unsigned depth = 0;
	struct text unused;
	enum err e;

	do {
		if (imap_scan_at_end(scan)) {
			if (fetch->literal == IMAP_NO_LITERAL)
				return bad(fetch, "the reply ends inside a value");
			if ((e = imap_wire_skip(fetch->wire, (uint64_t)fetch->literal, false)) ||
			    (e = next_part(fetch, false)))
				return e;
		} else if (imap_scan_char(scan, '(')) {
			if (++depth > IMAP_NESTING_MAX)
				return bad(fetch, "lists nested too deep");
		} else if (depth && imap_scan_char(scan, ')')) {
			depth--;
		} else if (!imap_scan_quoted(scan, &unused) && !imap_scan_char(scan, '[') &&
			   !imap_scan_char(scan, ']') && !imap_scan_atom(scan, &unused)) {
			return bad(fetch, "no value");
		}
		while (depth && imap_scan_char(scan, ' '))
			continue;
	} while (depth);
	return OK;
}

/* ---- labels ---- */

static void add_label(struct imap_fetch *fetch, const char *label, size_t bytes)
{
	bool fits = bytes && !memchr(label, '\0', bytes) &&
		    bytes < IMAP_LABELS_BYTES_MAX - fetch->labels.bytes;

	if (fits) {
		buffer_add(&fetch->labels, label, bytes);
		buffer_add(&fetch->labels, "", 1);
	}
	fetch->labels_dropped += !fits;
}

/* A label that stands in the literal behind the present part. */
static enum err take_label_literal(struct imap_fetch *fetch)
{
	uint64_t left = (uint64_t)fetch->literal;
	char label[IMAP_LABEL_BYTES_MAX];
	size_t used = 0, got;
	enum err e;

	if (left > sizeof label) {
		fetch->labels_dropped++;
		return imap_wire_skip(fetch->wire, left, false);
	}
	imap_wire_pace(fetch->wire);
	for (; left; left -= got, used += got)
		if ((e = imap_wire_bytes(fetch->wire, label + used, left, &got)))
			return e;
	add_label(fetch, label, used);
	return OK;
}

/* X-GM-LABELS SP "(" [astring *(SP astring)] ")", Gmail's IMAP extensions: system labels begin with
 * a backslash and come as atoms or quoted. Other values in it are passed over. */
static enum err take_labels(struct imap_fetch *fetch)
{
	struct imap_scan *scan = &fetch->scan;
	char label[IMAP_LABEL_BYTES_MAX];
	size_t bytes;
	enum err e;

	buffer_reset(&fetch->labels);
	fetch->labels_dropped = 0;
	fetch->has_labels = true;
	if (imap_scan_word(scan, "NIL"))
		return OK;
	if (!imap_scan_char(scan, '('))
		return bad(fetch, "no list of labels");
	for (;;) {
		while (imap_scan_char(scan, ' '))
			continue;
		if (imap_scan_char(scan, ')'))
			break;
		if (imap_scan_at_end(scan)) {
			if (fetch->literal == IMAP_NO_LITERAL)
				return bad(fetch, "the reply ends inside a list of labels");
			if ((e = take_label_literal(fetch)) || (e = next_part(fetch, false)))
				return e;
		} else if (imap_scan_astring(scan, label, sizeof label, &bytes)) {
			add_label(fetch, label, bytes);
		} else if (imap_scan_value(scan)) {
			fetch->labels_dropped++;
		} else {
			return bad(fetch, "no label");
		}
	}
	return fetch->labels.failed ? RAISE(ERR_MEMORY_EXHAUSTED, "reading labels") : OK;
}

/* nstring, or a literal8 (RFC 9051 section 4.3.1). A literal is left to be read. */
static enum err take_body(struct imap_fetch *fetch)
{
	struct text inside;
	enum err e;

	if (fetch->body_is != BODY_ABSENT)
		return bad(fetch, "a second body");
	if (imap_scan_word(&fetch->scan, "NIL")) {
		fetch->body_is = BODY_NIL;
		return OK;
	}
	imap_body_begin(&fetch->body, 0);
	if (imap_scan_quoted(&fetch->scan, &inside)) {
		fetch->body_is = BODY_STAGED;
		e = imap_body_from_quoted(&fetch->body, inside, &fetch->size_bytes);
		return e;
	}
	if (!imap_scan_at_end(&fetch->scan) || fetch->literal == IMAP_NO_LITERAL)
		return bad(fetch, "no body");
	fetch->body_is = BODY_LITERAL;
	fetch->size_bytes = (uint64_t)fetch->literal;
	imap_body_begin(&fetch->body, fetch->size_bytes);
	return OK;
}

/* ---- items ---- */

/* msg-att name: an atom, for BODY with its section in brackets. */
static bool scan_item_name(struct imap_scan *scan, struct text *name)
{
	const char *begin = scan->at;

	if (!imap_scan_atom(scan, name))
		return false;
	if (imap_scan_char(scan, '[')) {
		while (scan->at < scan->end && *scan->at != ']')
			scan->at++;
		if (!imap_scan_char(scan, ']'))
			return false;
	}
	while (scan->at < scan->end && *scan->at != ' ')
		scan->at++; /* "<0>", or anything that makes it another item */
	*name = (struct text){ begin, (size_t)(scan->at - begin) };
	return imap_scan_char(scan, ' ');
}

static enum err take_item(struct imap_fetch *fetch)
{
	uint64_t told_bytes;
	struct text name;

	if (!scan_item_name(&fetch->scan, &name))
		return bad(fetch, "no item");
	if (imap_text_is(name, "UID"))
		return take_uid(fetch);
	if (imap_text_is(name, "FLAGS")) {
		fetch->known |= KNOWN_FLAGS;
		return scan_flags(&fetch->scan, &fetch->meta) ? OK : bad(fetch, "no list of flags");
	}
	if (imap_text_is(name, "INTERNALDATE")) {
		fetch->known |= KNOWN_DATE;
		return scan_date(&fetch->scan, &fetch->meta.date) ? OK : bad(fetch, "no date");
	}
	if (imap_text_is(name, "BODY[]"))
		return take_body(fetch);
	if (imap_text_is(name, "RFC822.SIZE") &&
	    imap_scan_number(&fetch->scan, INT64_MAX, &told_bytes)) {
		fetch->told_bytes = (int64_t)told_bytes;
		return OK;
	}
	if (fetch->labels_wanted && imap_text_is(name, "X-GM-LABELS"))
		return take_labels(fetch);
	if (name.bytes > 5 && imap_text_is((struct text){ name.at, 5 }, "BODY["))
		return RAISE(ERR_IMAP_SYNTAX, "FETCH: the server sends a part of a message, which "
					      "nobody asked for");
	return skip_value(fetch);
}

/* Items up to the closing parenthesis, or up to a body that is a literal (then *stopped). */
static enum err take_items(struct imap_fetch *fetch, bool *stopped)
{
	bool had_literal = fetch->body_is == BODY_LITERAL;
	enum err e;

	*stopped = false;
	while (!imap_scan_char(&fetch->scan, ')')) {
		while (imap_scan_char(&fetch->scan, ' '))
			continue;
		if (imap_scan_char(&fetch->scan, ')'))
			break;
		if ((e = take_item(fetch)))
			return e;
		if (!had_literal && fetch->body_is == BODY_LITERAL) {
			*stopped = true;
			return OK;
		}
	}
	while (imap_scan_char(&fetch->scan, ' '))
		continue;
	return imap_scan_at_end(&fetch->scan) && fetch->literal == IMAP_NO_LITERAL
		       ? OK
		       : bad(fetch, "more behind the end of the reply");
}

/* What follows a body's literal. */
static enum err take_tail(struct imap_fetch *fetch)
{
	bool stopped;
	enum err e;

	fetch->tail_pending = false;
	imap_wire_body_ended(fetch->wire);
	if ((e = next_part(fetch, false)) || (e = take_items(fetch, &stopped)))
		return e;
	must(!stopped);
	return OK;
}

/* The body was handed over live: its reply has to end as it began. */
static enum err tail_at_body_end(void *owner)
{
	struct imap_fetch *fetch = owner;

	MAGIC_CHECK(fetch, FETCH_MAGIC);
	return fetch->tail_pending ? take_tail(fetch) : OK;
}

static void begin_message(struct imap_fetch *fetch)
{
	fetch->known = 0;
	fetch->uid = 0;
	fetch->size_bytes = 0;
	fetch->told_bytes = SIZE_UNKNOWN;
	fetch->body_is = BODY_ABSENT;
	fetch->has_labels = false;
	fetch->labels_dropped = 0;
	buffer_reset(&fetch->labels);
	fetch->meta.flags = 0;
	fetch->meta.keywords_bytes = fetch->meta.keywords_dropped = 0;
	fetch->meta.date = (struct mail_date){ .known = false };
}

/* Facts that the server sends behind the body were learnt before, by imap_fetch_expect(). */
static void use_expected(struct imap_fetch *fetch)
{
	if (!fetch->expected_uid || (fetch->known & KNOWN_UID && fetch->uid != fetch->expected_uid))
		return;
	fetch->uid = fetch->expected_uid;
	fetch->meta = fetch->expected_meta;
	fetch->known = KNOWN_ALL;
	fetch->expected_uid = 0;
}

/* The body is a literal, still to be read: live if all is known, else staged, else measured. */
static enum err decide_body(struct imap_fetch *fetch, bool *too_large)
{
	enum err e;

	fetch->tail_pending = true;
	if (fetch->known != KNOWN_ALL)
		use_expected(fetch);
	if (fetch->known == KNOWN_ALL)
		return OK;
	*too_large = fetch->size_bytes > STAGE_BYTES_MAX;
	e = *too_large ? imap_body_drain(&fetch->body) : imap_body_stage(&fetch->body);
	return e ? e : take_tail(fetch);
}

static enum err take_message(struct imap_fetch *fetch, struct imap_event *event)
{
	bool stopped;
	enum err e;

	begin_message(fetch);
	if (!imap_scan_char(&fetch->scan, ' ') || !imap_scan_char(&fetch->scan, '('))
		return bad(fetch, "no list of items");
	if ((e = take_items(fetch, &stopped)) ||
	    (stopped && (e = decide_body(fetch, &event->too_large))))
		return e;
	event->kind = fetch->body_is == BODY_ABSENT ? IMAP_EVENT_FACTS : IMAP_EVENT_MESSAGE;
	event->uid = fetch->known & KNOWN_UID ? fetch->uid : 0;
	event->meta = &fetch->meta;
	event->has_flags = fetch->known & KNOWN_FLAGS;
	event->size_bytes = (int64_t)fetch->size_bytes;
	event->told_bytes = fetch->told_bytes;
	event->has_labels = fetch->has_labels;
	event->labels = (struct text){ fetch->labels.at, fetch->labels.bytes };
	event->labels_dropped = fetch->labels_dropped;
	event->no_body = fetch->body_is == BODY_NIL;
	if (fetch->body_is >= BODY_STAGED && !event->too_large)
		event->body = imap_body_open(&fetch->body);
	return OK;
}

/* ---- replies ---- */

static enum err finish_reply(struct imap_fetch *fetch)
{
	enum err e;

	if ((e = imap_body_drain(&fetch->body)))
		return e;
	return fetch->tail_pending ? take_tail(fetch) : OK;
}

/* A reply that means nothing here, to its end. */
static enum err skip_reply(struct imap_fetch *fetch)
{
	enum err e;

	while (fetch->literal != IMAP_NO_LITERAL)
		if ((e = imap_wire_skip(fetch->wire, (uint64_t)fetch->literal, false)) ||
		    (e = next_part(fetch, false)))
			return e;
	return OK;
}

/* Of 32 bits, RFC 9051 section 2.3.1.2. A message that does not have one must not pass for
 * something that means nothing. */
static bool is_message_number(struct text number)
{
	struct imap_scan scan = imap_scan_of(number);
	uint64_t unused;

	return imap_scan_number(&scan, UINT32_MAX, &unused) && imap_scan_at_end(&scan);
}

static enum err take_untagged(struct imap_fetch *fetch, struct imap_event *event)
{
	struct imap_scan scan = fetch->scan;
	struct text number;

	if (imap_scan_status(&fetch->scan, &event->status)) {
		event->kind = IMAP_EVENT_STATUS;
		return OK;
	}
	imap_scan_atom(&scan, &number);
	imap_scan_char(&scan, ' ');
	if (imap_scan_word(&scan, "FETCH") || imap_text_is(number, "FETCH")) {
		if (!is_message_number(number))
			return bad(fetch, "no message number");
		fetch->scan = scan;
		return take_message(fetch, event);
	}
	if (imap_scan_word(&fetch->scan, "VANISHED") && fetch->literal == IMAP_NO_LITERAL) {
		if (imap_scan_char(&fetch->scan, ' ') && imap_scan_char(&fetch->scan, '(') &&
		    !(imap_scan_word(&fetch->scan, "EARLIER") &&
		      imap_scan_char(&fetch->scan, ')') && imap_scan_char(&fetch->scan, ' ')))
			return bad(fetch, "no set of UIDs");
		event->kind = IMAP_EVENT_VANISHED;
		event->vanished = imap_scan_rest(&fetch->scan);
		return OK;
	}
	event->kind = IMAP_EVENT_OTHER;
	return skip_reply(fetch);
}

enum err imap_fetch_next(struct imap_fetch *fetch, struct imap_event *event)
{
	enum err e;

	MAGIC_CHECK(fetch, FETCH_MAGIC);
	*event = (struct imap_event){ .kind = IMAP_EVENT_OTHER };
	if ((e = finish_reply(fetch)) || (e = next_part(fetch, true)))
		return e;
	if (imap_wire_tag(&fetch->scan, &event->tag)) {
		event->kind = IMAP_EVENT_TAGGED;
		return imap_scan_status(&fetch->scan, &event->status) ? OK
								      : bad(fetch, "no status");
	}
	if (!imap_scan_char(&fetch->scan, '*') || !imap_scan_char(&fetch->scan, ' '))
		return bad(fetch, "no reply");
	return take_untagged(fetch, event);
}
