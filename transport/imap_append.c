/* Acts are written in their order, one at a time, and answered in whatever order the server likes:
 * a tagged answer finds its act by its tag and waits there until it is taken. Who waits for
 * anything, an answer or a "+", reads for all. */
#include "transport/imap_append.h"

#include <stdlib.h>

#include "engine/bytes.h"
#include "engine/clock.h"
#include "engine/fiber.h"

enum {
	APPEND_MAGIC = 0x1a4a9e0d,
	/* Longest time of one answer, in io_timeouts: a server may say "still here" for a while,
	 * not for ever. */
	ANSWER_TIMEOUTS = 10,
};

struct imap_append_act {
	struct imap_append *append; /* NULL: free */
	unsigned tag;
	unsigned messages;
	uint64_t left;	      /* of the present message, still to be given to us */
	bool has_empty;	      /* message */
	bool awaits_go_ahead; /* "+" */
	bool off;	      /* nothing more of it is sent */
	bool ended;	      /* its last bytes may have left */
	bool answered;
	struct imap_appended answer;
};

struct imap_append {
	uint32_t magic;
	struct imap_session *session; /* borrowed */
	struct imap_wire *wire;	      /* its */
	unsigned capabilities;
	struct imap_append_act *writing; /* begun and not ended */
	bool hearing;			 /* a fiber reads; others wait for what it hears */
	struct wait_queue heard;
	enum err failed; /* of reading; nothing more can be heard */
	struct imap_append_act acts[IMAP_APPENDS_MAX];
};

enum err imap_append_open(struct imap_session *session, struct imap_append **out)
{
	struct imap_append *append = calloc(1, sizeof *append);

	*out = append;
	if (!append)
		return RAISE(ERR_MEMORY_EXHAUSTED, "messages on their way to a destination");
	append->magic = APPEND_MAGIC;
	append->session = session;
	append->wire = imap_session_wire(session);
	append->capabilities = imap_session_capabilities(session);
	return OK;
}

void imap_append_close(struct imap_append **append)
{
	if (!*append)
		return;
	MAGIC_CHECK(*append, APPEND_MAGIC);
	must(!(*append)->hearing);
	(*append)->magic = 0;
	free(*append);
	*append = NULL;
}

/* ---- what the server says ---- */

/* One element of a set of UIDs. */
static bool scan_range(struct imap_scan *scan, uint64_t *first, uint64_t *last)
{
	if (!imap_scan_number(scan, UINT32_MAX, first))
		return false;
	*last = *first;
	return !imap_scan_char(scan, ':') || imap_scan_number(scan, UINT32_MAX, last);
}

/* Whether it names so many UIDs, each larger than the one before: they are given in the order in
 * which the messages are stored. */
static bool has_uids(struct text set, unsigned messages)
{
	struct imap_scan scan = imap_scan_of(set);
	uint64_t first, last, before = 0, count = 0;

	do {
		if (!scan_range(&scan, &first, &last) || first <= before || last < first)
			return false;
		count += last - first + 1;
		before = last;
	} while (imap_scan_char(&scan, ','));
	return imap_scan_at_end(&scan) && count == messages;
}

/* resp-code-apnd = "APPENDUID" SP nz-number SP append-uid */
static void keep_uids(struct imap_appended *answer, struct text argument)
{
	struct imap_scan scan = imap_scan_of(argument);
	struct text set;
	uint64_t epoch;

	if (!imap_scan_number(&scan, UINT32_MAX, &epoch) || epoch == 0 ||
	    !imap_scan_char(&scan, ' '))
		return;
	set = imap_scan_rest(&scan);
	if (set.bytes > IMAP_APPEND_UIDS_BYTES_MAX || !has_uids(set, answer->messages))
		return;
	answer->uidvalidity = (uint32_t)epoch;
	bytes_copy(answer->uids, set.at, set.bytes, BYTES_META);
	answer->uids[set.bytes] = '\0';
}

uint32_t imap_appended_uid(const struct imap_appended *appended, unsigned n)
{
	struct imap_scan scan = imap_scan_of(text_of(appended->uids));
	uint64_t first, last;

	must(n < appended->messages);
	while (scan_range(&scan, &first, &last)) {
		if (n <= last - first)
			return (uint32_t)(first + n);
		n -= (unsigned)(last - first + 1);
		imap_scan_char(&scan, ',');
	}
	return 0;
}

enum err imap_appended_raise(const struct imap_appended *appended, const char *what)
{
	const char *word = appended->state == IMAP_NO ? "NO" : "BAD", *code = appended->code;

	must(!appended->granted);
	err_retry_after(appended->hint.retry_after, appended->hint.scope);
	return RAISE(appended->hint.error, "%s: the server says %s%s%s%s \"%s\"", what, word,
		     code[0] ? " [" : "", code, code[0] ? "]" : "", appended->text);
}

static enum err take_answer(struct imap_append_act *act, const struct imap_status *status)
{
	struct imap_appended *answer = &act->answer;

	if (status->state == IMAP_OK && !act->ended)
		return RAISE(ERR_IMAP_SYNTAX, "APPEND: OK before the message was sent");
	if (status->state == IMAP_PREAUTH)
		return RAISE(ERR_IMAP_SYNTAX, "APPEND: PREAUTH is no answer");
	*answer = (struct imap_appended){ .granted = status->state == IMAP_OK,
					  .messages = act->messages,
					  .hint = imap_hint(status, ERR_SINK_REFUSED),
					  .state = status->state };
	if (answer->hint.error == ERR_IMAP_BAD)
		answer->hint.error = ERR_SINK_REFUSED;
	err_quote(answer->code, sizeof answer->code, status->code);
	err_quote(answer->text, sizeof answer->text, status->text);
	if (answer->granted && imap_text_is(status->code, "APPENDUID"))
		keep_uids(answer, status->argument);
	act->answered = true;
	/* Refused where "+" was to come: the server does not want the message. */
	act->off |= act->awaits_go_ahead;
	act->awaits_go_ahead = false;
	return OK;
}

static struct imap_append_act *find_act(struct imap_append *append, unsigned tag)
{
	for (unsigned i = 0; i < IMAP_APPENDS_MAX; i++) {
		struct imap_append_act *act = &append->acts[i];

		if (act->append && act->messages > 0 && act->tag == tag && !act->answered)
			return act;
	}
	return NULL;
}

/* What is untagged and no BYE may come at any time and means nothing here (RFC 9051 section 7). */
static enum err take_reply(struct imap_append *append, const struct imap_reply *reply)
{
	struct imap_append_act *act = append->writing;

	if (reply->kind == IMAP_UNTAGGED)
		return OK;
	if (reply->kind == IMAP_CONTINUE && act && act->awaits_go_ahead) {
		act->awaits_go_ahead = false;
		return OK;
	}
	if (reply->kind == IMAP_TAGGED && (act = find_act(append, reply->tag)) != NULL)
		return take_answer(act, &reply->status);
	return RAISE(ERR_IMAP_SYNTAX, "an answer to nothing we asked");
}

static enum err read_reply(struct imap_append *append)
{
	struct imap_reply reply;
	enum err e;

	append->hearing = true;
	e = imap_session_reply(append->session, &reply);
	append->hearing = false;
	if (!e)
		e = take_reply(append, &reply);
	if (e)
		append->failed = e == ERR_FIBER_CANCELED ? ERR_NET_RESET : e;
	wake_all(&append->heard);
	return e;
}

/* Wait for one more reply, read by this fiber or by another. */
static enum err hear(struct imap_append *append, nsec until)
{
	enum err e = OK;

	if (append->failed)
		return RAISE(append->failed, "APPEND: nothing more can be heard of the server");
	if (clock_now() > until)
		return RAISE(ERR_NET_TIMEOUT,
			     "APPEND: the server answers with nothing that was asked for");
	if (!append->hearing)
		return read_reply(append);
	e = wait_on(&append->heard, until);
	return e == ERR_FIBER_TIMEOUT ? OK : e; /* which the next call says */
}

static nsec answer_until(const struct imap_append *append)
{
	return clock_after(ANSWER_TIMEOUTS * append->wire->io_timeout);
}

static enum err hear_answer(struct imap_append_act *act)
{
	nsec until = answer_until(act->append);
	enum err e = OK;

	while (!e && !act->answered)
		e = hear(act->append, until);
	return act->answered ? OK : e;
}

enum err imap_append_answer(struct imap_append_act *act, struct imap_appended *out)
{
	enum err e;

	must(act->append && act->append->writing != act);
	if ((e = hear_answer(act)))
		return e;
	*out = act->answer;
	*act = (struct imap_append_act){ .append = NULL };
	return OK;
}

bool imap_append_may_be_stored(const struct imap_append_act *act)
{
	must(act->append);
	return act->ended && (!act->answered || act->answer.granted);
}

/* ---- what we say ---- */

/* IMAP_APPENDS_MAX: there is none. */
static unsigned free_place(const struct imap_append *append)
{
	unsigned place = 0;

	while (place < IMAP_APPENDS_MAX && append->acts[place].append)
		place++;
	return place;
}

bool imap_append_has_room(const struct imap_append *append)
{
	MAGIC_CHECK(append, APPEND_MAGIC);
	return free_place(append) < IMAP_APPENDS_MAX;
}

enum err imap_append_begin(struct imap_append *append, const char *raw,
			   struct imap_append_act **out)
{
	struct buffer *command = &append->wire->command;
	unsigned place = free_place(append);
	struct imap_append_act *act = &append->acts[place];

	MAGIC_CHECK(append, APPEND_MAGIC);
	must(place < IMAP_APPENDS_MAX && !append->writing && raw[0]);
	*act = (struct imap_append_act){ .append = append, .tag = imap_wire_begin(append->wire) };
	buffer_add_text(command, "APPEND ");
	*out = append->writing = act;
	if (imap_wire_add_string(append->wire, text_of(raw),
				 append->capabilities & IMAP_HAS_LITERAL_PLUS))
		return OK;
	buffer_reset(command);
	act->append = NULL;
	*out = append->writing = NULL;
	return RAISE(ERR_IMAP_REFUSED,
		     "APPEND: the folder's name is not ASCII and the server lacks LITERAL+");
}

/* flag-keyword = atom, RFC 9051 section 9: no "\Seen" either, which is no keyword. */
static bool is_keyword(struct text word)
{
	for (size_t i = 0; i < word.bytes; i++)
		if (word.at[i] <= ' ' || word.at[i] > '~' || strchr("(){%*\"\\]", word.at[i]))
			return false;
	return true;
}

/* One flag more of a list that opens with its first. */
static void add_flag(struct buffer *command, bool *is_open, struct text flag)
{
	buffer_add_text(command, *is_open ? " " : " (");
	buffer_add(command, flag.at, flag.bytes);
	*is_open = true;
}

/* The keywords, without those that cannot be said; returns how many these are. */
static unsigned add_keywords(struct buffer *command, bool *is_open, const struct mail_meta *meta)
{
	const char *at = meta->keywords, *end = meta->keywords + meta->keywords_bytes;
	unsigned left_out = 0;

	for (struct text word; at < end; at += word.bytes + 1) {
		const char *space = memchr(at, ' ', (size_t)(end - at));

		word = (struct text){ at, (size_t)((space ? space : end) - at) };
		if (word.bytes == 0)
			continue;
		if (is_keyword(word))
			add_flag(command, is_open, word);
		else
			left_out++;
	}
	return left_out;
}

static void add_meta(struct buffer *command, const struct mail_meta *meta,
		     struct imap_append_left_out *left_out)
{
	static const struct {
		uint32_t bit;
		const char *name;
	} flags[] = { { MAIL_SEEN, "\\Seen" },
		      { MAIL_ANSWERED, "\\Answered" },
		      { MAIL_FLAGGED, "\\Flagged" },
		      { MAIL_DELETED, "\\Deleted" },
		      { MAIL_DRAFT, "\\Draft" } };
	bool is_open = false;
	char date[40];

	for (unsigned i = 0; i < ARRAY_COUNT(flags); i++)
		if (meta->flags & flags[i].bit)
			add_flag(command, &is_open, text_of(flags[i].name));
	left_out->keywords = add_keywords(command, &is_open, meta);
	if (is_open)
		buffer_add_text(command, ")");
	mail_date_imap(date, &meta->date);
	left_out->date = meta->date.known && !date[0];
	if (date[0])
		buffer_addf(command, " \"%s\"", date);
}

/* Whether the server takes a literal of this size without being asked first (RFC 7888). */
static bool is_free_to_send(const struct imap_append *append, uint64_t bytes)
{
	return (append->capabilities & IMAP_HAS_LITERAL_PLUS_LARGE) ||
	       ((append->capabilities & IMAP_HAS_LITERAL_PLUS) &&
		bytes <= IMAP_LITERAL_MINUS_BYTES_MAX);
}

/* Sending failed. Where the server has gone, what it said before tells why, and may be this act's
 * answer: it may refuse a message and close instead of reading the rest. */
static enum err cut_short(struct imap_append_act *act, enum err e, bool had_note)
{
	if (e != ERR_NET_CLOSED && e != ERR_NET_RESET && e != ERR_TLS_CUT)
		return e;
	if (!had_note)
		err_note_clear();
	act->off = true;
	return hear_answer(act);
}

static enum err await_go_ahead(struct imap_append_act *act)
{
	nsec until = answer_until(act->append);
	enum err e = imap_wire_flush(act->append->wire);

	while (!e && act->awaits_go_ahead)
		e = hear(act->append, until);
	return e;
}

static void must_be_allowed(const struct imap_append_act *act, uint64_t size_bytes, bool binary)
{
	unsigned capabilities = act->append->capabilities;

	must(act->append->writing == act && (act->left == 0 || act->off));
	must(!binary || (capabilities & IMAP_HAS_BINARY));
	if (act->messages == 0)
		return;
	must(capabilities & IMAP_HAS_MULTIAPPEND);
	must(size_bytes > 0 && !act->has_empty);
}

enum err imap_append_message(struct imap_append_act *act, const struct mail_meta *meta,
			     uint64_t size_bytes, bool binary,
			     struct imap_append_left_out *left_out)
{
	struct imap_wire *wire = act->append->wire;
	bool had_note = err_note()->error != OK, is_free = is_free_to_send(act->append, size_bytes);
	enum err e;

	must_be_allowed(act, size_bytes, binary);
	*left_out = (struct imap_append_left_out){ 0 };
	act->left = size_bytes;
	act->has_empty |= size_bytes == 0;
	act->messages++;
	if (act->off)
		return OK;
	act->awaits_go_ahead = !is_free; /* from now on: another fiber may hear it first */
	add_meta(&wire->command, meta, left_out);
	buffer_addf(&wire->command, " %s{%llu%s}", binary ? "~" : "",
		    (unsigned long long)size_bytes, is_free ? "+" : "");
	e = act->messages == 1 ? imap_wire_send(wire) : imap_wire_send_more(wire);
	if (e)
		return cut_short(act, e, had_note);
	return is_free ? OK : await_go_ahead(act);
}

enum err imap_append_bytes(struct imap_append_act *act, const void *from, size_t bytes)
{
	bool had_note = err_note()->error != OK;
	enum err e;

	must(act->append->writing == act && bytes <= act->left);
	act->left -= bytes;
	if (act->off || bytes == 0)
		return OK;
	e = imap_wire_send_bytes(act->append->wire, from, bytes);
	return e ? cut_short(act, e, had_note) : OK;
}

bool imap_append_is_off(const struct imap_append_act *act)
{
	return act->off;
}

enum err imap_append_end(struct imap_append_act *act)
{
	struct imap_wire *wire = act->append->wire;
	bool had_note = err_note()->error != OK;
	enum err e;

	must(act->append->writing == act && act->messages > 0);
	must(act->left == 0 || act->off);
	act->append->writing = NULL;
	if (act->off)
		return OK;
	act->ended = true;
	if ((e = imap_wire_send_more(wire)) == OK)
		e = imap_wire_flush(wire);
	return e ? cut_short(act, e, had_note) : OK;
}
