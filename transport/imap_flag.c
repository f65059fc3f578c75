/* SELECT, whose UIDVALIDITY is compared; for each page UID FETCH and UID STOREs. The folder is left
 * by selecting another one or by LOGOUT: CLOSE would expunge. */
#include "transport/imap_flag.h"

#include <stdlib.h>

#include "engine/clock.h"
#include "engine/log.h"
#include "transport/flag_merge.h"
#include "transport/imap_fetch.h"
#include "transport/imap_remove.h"
#include "transport/imap_session.h"

enum {
	PAGE = IMAP_FLAG_MESSAGES_MAX,
	/* How often a message is read that others go on changing. The last time it is changed
	 * without a condition: what is done is one difference, so nothing of theirs is lost. */
	ROUNDS_MAX = 4,
	/* Messages refused one by one; then the rest of the folder is taken for refused. */
	REFUSALS_MAX = 16,
	LISTS_MAX = 8 * PAGE,
};

_Static_assert(11 * PAGE + KEYWORDS_BYTES_MAX + 200 <= 8192, "a command is a line of that length");

/* In this order: where a run is cut, what is still to be removed tells the next one what there was
 * before (mail_meta_of_mark()). */
enum step { ADD, ADD_DELETED, REMOVE, STEPS };

struct message {
	const struct imap_flagged *now;
	unsigned lists[STEPS]; /* what is to be stored: its place in `lists`, plus one; 0: nothing
				*/
	uint64_t since;	       /* UNCHANGEDSINCE; 0: whatever happened */
	unsigned flight;       /* on its way in this one, plus one */
	bool is_open;	       /* to be read, and stored, in this round */
	bool is_there, is_again, is_refused, is_merged, is_short;
};

/* A STORE on its way. */
struct flight {
	unsigned tag; /* 0: none */
	enum step step;
};

struct imap_flag {
	struct imap_session *session;
	/* Of what SELECT said last. */
	uint64_t uidvalidity, modseq;
	bool read_only;
	struct flag_room room;
	struct mail_meta used; /* keywords that the folder has, or had */
	/* The page. */
	struct message messages[PAGE];
	size_t count;
	char *lists[LISTS_MAX];
	unsigned lists_count;
	struct flight flights[IMAP_FLAG_FLIGHT_MAX];
	struct message *splitting[PAGE];
	unsigned refusals; /* of this folder, one by one */
	char why[160];	   /* the first */
	struct mail_meta was, now, there;
	struct flag_merge merge;
};

enum err imap_flag_open(const struct account *account, nsec until, struct imap_flag **out)
{
	struct imap_flag *flag = calloc(1, sizeof *flag);
	enum err e;

	*out = flag;
	if (!flag)
		return RAISE(ERR_MEMORY_EXHAUSTED, "carrying flags");
	if ((e = imap_session_open_to_flag(account, until, &flag->session)))
		imap_flag_close(out);
	return e;
}

static void free_lists(struct imap_flag *flag)
{
	while (flag->lists_count)
		free(flag->lists[--flag->lists_count]);
}

void imap_flag_close(struct imap_flag **flag)
{
	if (!*flag)
		return;
	free_lists(*flag);
	buffer_free(&(*flag)->merge.add);
	buffer_free(&(*flag)->merge.remove);
	imap_session_close(&(*flag)->session);
	free(*flag);
	*flag = NULL;
}

void imap_flag_finish(struct imap_flag *flag, nsec until)
{
	if (imap_session_finish(flag->session, until))
		err_note_clear(); /* what was stored was stored */
}

/* ---- answers ---- */

static void note_why(struct imap_flag *flag, const struct imap_status *status)
{
	if (!flag->why[0])
		err_quote(flag->why, sizeof flag->why, status->text);
}

/* The server will not; or, as an error, it cannot now. BAD is no wider than NO: it is said of what
 * one command holds. [LIMIT] is of the folder, which has as many keywords as it takes (RFC 5530),
 * and not of how much is asked. */
static enum err take_refusal(struct imap_flag *flag, const struct imap_status *status,
			     const char *verb)
{
	struct imap_hint hint = imap_hint(status, ERR_IMAP_REFUSED);

	if (!imap_text_is(status->code, "LIMIT") && hint.error != ERR_IMAP_BAD &&
	    err_retry_class(hint.error) != RETRY_SKIP_BOX &&
	    err_retry_class(hint.error) != RETRY_SKIP_MSG && hint.error != ERR_SINK_QUOTA)
		return imap_status_raise(status, ERR_IMAP_REFUSED, verb);
	note_why(flag, status);
	return OK;
}

/* A reply that is none of the conversation's own. */
static enum err check_reply(const struct imap_reply *reply)
{
	return reply->kind == IMAP_CONTINUE ? RAISE(ERR_IMAP_SYNTAX, "\"+\" to nothing we asked")
					    : OK;
}

/* ---- SELECT ---- */

static void take_code(struct imap_flag *flag, const struct imap_status *status)
{
	struct imap_scan scan = imap_scan_of(status->argument);
	uint64_t number;

	if (imap_text_is(status->code, "PERMANENTFLAGS"))
		flag_room_read(status->argument, &flag->room);
	else if (imap_text_is(status->code, "READ-ONLY"))
		flag->read_only = true;
	else if (imap_text_is(status->code, "UIDVALIDITY") &&
		 imap_scan_number(&scan, UINT32_MAX, &number))
		flag->uidvalidity = number;
	else if (imap_text_is(status->code, "HIGHESTMODSEQ") &&
		 imap_scan_number(&scan, INT64_MAX, &number))
		flag->modseq = number;
}

/* "FLAGS" SP flag-list: RFC 9051 section 7.3.5. */
static void take_used(struct imap_flag *flag, struct text reply)
{
	struct imap_scan scan = imap_scan_of(reply);

	if (imap_scan_word(&scan, "FLAGS") && imap_scan_char(&scan, ' ') &&
	    !imap_fetch_flags(&scan, &flag->used))
		flag->used.keywords_bytes = 0;
}

static enum err send_select(struct imap_flag *flag, const char *raw, unsigned *tag)
{
	struct imap_wire *wire = imap_session_wire(flag->session);
	unsigned has = imap_session_capabilities(flag->session);
	enum err e;

	*tag = imap_wire_begin(wire);
	buffer_add_text(&wire->command, "SELECT ");
	if (!imap_wire_add_string(wire, text_of(raw), has & IMAP_HAS_LITERAL_PLUS)) {
		buffer_reset(&wire->command);
		*tag = 0;
		return OK;
	}
	if (has & (IMAP_HAS_CONDSTORE | IMAP_HAS_QRESYNC))
		buffer_add_text(&wire->command, " (CONDSTORE)");
	return (e = imap_wire_send(wire)) ? e : imap_wire_flush(wire);
}

/* Anew for each act, so that its HIGHESTMODSEQ is below whatever comes later. */
static enum err select_box(struct imap_flag *flag, const char *raw, bool *is_open, bool *is_gone)
{
	struct imap_reply reply;
	unsigned tag;
	enum err e;

	*is_open = *is_gone = flag->read_only = false;
	flag->uidvalidity = flag->modseq = 0;
	flag->used.keywords_bytes = 0;
	flag_room_all(&flag->room);
	if ((e = send_select(flag, raw, &tag)) || !tag)
		return e;
	do {
		if ((e = imap_session_reply(flag->session, &reply)) || (e = check_reply(&reply)))
			return e;
		if (reply.is_status)
			take_code(flag, &reply.status);
		else
			take_used(flag, reply.text);
	} while (reply.kind != IMAP_TAGGED);
	if (reply.tag != tag)
		return RAISE(ERR_IMAP_SYNTAX, "an answer to nothing we asked");
	*is_open = reply.status.state == IMAP_OK;
	*is_gone = imap_hint(&reply.status, ERR_IMAP_REFUSED).error == ERR_IMAP_BOX_GONE;
	return *is_open || *is_gone ? OK : take_refusal(flag, &reply.status, "SELECT");
}

/* ---- what is to be stored ---- */

static struct message *find(struct imap_flag *flag, uint64_t uid)
{
	size_t low = 0, high = flag->count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (flag->messages[middle].now->uid < uid)
			low = middle + 1;
		else
			high = middle;
	}
	return low < flag->count && flag->messages[low].now->uid == uid ? &flag->messages[low]
									: NULL;
}

/* Equal lists have one place. */
static enum err place_list(struct imap_flag *flag, const char *list, unsigned *place)
{
	*place = 0;
	for (unsigned i = 0; i < flag->lists_count && !*place; i++)
		if (strcmp(flag->lists[i], list) == 0)
			*place = i + 1;
	if (*place)
		return OK;
	if (flag->lists_count == LISTS_MAX)
		return RAISE(ERR_IMAP_SYNTAX, "UID FETCH: the flags of %d messages change %d times",
			     PAGE, LISTS_MAX);
	if (!(flag->lists[flag->lists_count] = strdup(list)))
		return RAISE(ERR_MEMORY_EXHAUSTED, "carrying flags");
	*place = ++flag->lists_count;
	return OK;
}

static void fill_now(struct mail_meta *meta, const struct imap_flagged *now)
{
	must(now->keywords_bytes <= sizeof meta->keywords);
	meta->flags = now->flags;
	meta->keywords_dropped = now->keywords_dropped;
	meta->keywords_bytes = now->keywords_bytes;
	bytes_copy(meta->keywords, now->keywords, now->keywords_bytes, BYTES_META);
}

/* flag->there is what it has. */
static enum err decide(struct imap_flag *flag, struct message *message)
{
	struct flag_merge *merge = &flag->merge;
	bool is_known;
	enum err e;

	fill_now(&flag->now, message->now);
	is_known = mail_meta_of_mark(message->now->was_mark, &flag->now, &flag->there, &flag->used,
				     &flag->was);
	flag_merge(is_known ? &flag->was : NULL, &flag->now, &flag->there, &flag->room, merge);
	if (merge->add.failed || merge->remove.failed)
		return RAISE(ERR_MEMORY_EXHAUSTED, "carrying flags");
	message->is_there = true;
	message->is_merged = merge->is_merged;
	message->is_short = merge->is_short;
	memset(message->lists, 0, sizeof message->lists);
	if ((merge->remove.bytes &&
	     (e = place_list(flag, merge->remove.at, &message->lists[REMOVE]))) ||
	    (merge->add.bytes && (e = place_list(flag, merge->add.at, &message->lists[ADD]))))
		return e;
	return merge->adds_deleted ? place_list(flag, "\\Deleted", &message->lists[ADD_DELETED])
				   : OK;
}

/* ---- UID FETCH ---- */

/* What a FETCH reply tells: UID, FLAGS, MODSEQ, in any order; the flags into flag->there. */
struct told {
	uint64_t uid, modseq;
	bool has_flags;
};

static bool scan_item(struct imap_scan *scan, struct text name, struct imap_flag *flag,
		      struct told *told)
{
	if (imap_text_is(name, "UID"))
		return imap_scan_number(scan, UINT32_MAX, &told->uid);
	if (imap_text_is(name, "FLAGS"))
		return told->has_flags = imap_fetch_flags(scan, &flag->there);
	if (imap_text_is(name, "MODSEQ"))
		return imap_scan_char(scan, '(') &&
		       imap_scan_number(scan, INT64_MAX, &told->modseq) &&
		       imap_scan_char(scan, ')');
	return imap_scan_value(scan);
}

static bool read_fetch(struct imap_flag *flag, struct text reply, struct told *told)
{
	struct imap_scan scan = imap_scan_of(reply);
	struct text name;

	*told = (struct told){ 0 };
	if (!imap_scan_fetch(&scan))
		return false;
	do {
		if (!imap_scan_atom(&scan, &name) || !imap_scan_char(&scan, ' ') ||
		    !scan_item(&scan, name, flag, told))
			return false;
	} while (imap_scan_char(&scan, ' '));
	return imap_scan_char(&scan, ')') && told->uid && told->has_flags;
}

static enum err take_fetched(struct imap_flag *flag, struct text reply, unsigned round)
{
	struct message *message;
	struct told told;

	if (!read_fetch(flag, reply, &told) || !(message = find(flag, told.uid)) ||
	    !message->is_open)
		return OK;
	message->since = round == 0 ? flag->modseq : told.modseq;
	if (round == ROUNDS_MAX - 1)
		message->since = 0;
	return decide(flag, message);
}

static enum err send_fetch(struct imap_flag *flag, unsigned round, unsigned *tag)
{
	struct imap_wire *wire = imap_session_wire(flag->session);
	uint32_t uids[PAGE];
	size_t count = 0;
	enum err e;

	for (size_t i = 0; i < flag->count; i++)
		if (flag->messages[i].is_open)
			uids[count++] = flag->messages[i].now->uid;
	*tag = imap_wire_begin(wire);
	buffer_add_text(&wire->command, "UID FETCH ");
	imap_remove_add_set(&wire->command, uids, count);
	buffer_add_text(&wire->command, round && flag->modseq ? " (FLAGS MODSEQ)" : " (FLAGS)");
	return (e = imap_wire_send(wire)) ? e : imap_wire_flush(wire);
}

static enum err fetch(struct imap_flag *flag, unsigned round)
{
	struct imap_reply reply;
	unsigned tag;
	enum err e = send_fetch(flag, round, &tag);

	if (e)
		return e;
	for (;;) {
		if ((e = imap_session_reply(flag->session, &reply)) || (e = check_reply(&reply)))
			return e;
		if (reply.kind == IMAP_TAGGED)
			break;
		if (!reply.is_status && (e = take_fetched(flag, reply.text, round)))
			return e;
	}
	if (reply.tag != tag)
		return RAISE(ERR_IMAP_SYNTAX, "an answer to nothing we asked");
	if (reply.status.state != IMAP_OK &&
	    (e = take_refusal(flag, &reply.status, "UID FETCH of flags")))
		return e;
	for (size_t i = 0; i < flag->count; i++)
		if (flag->messages[i].is_open && !flag->messages[i].is_there)
			flag->messages[i].is_refused = reply.status.state != IMAP_OK;
	return OK;
}

/* ---- UID STORE ---- */

static bool is_wanted(const struct message *message, enum step step)
{
	return message->is_open && message->is_there && !message->is_again &&
	       !message->is_refused && message->lists[step] && !message->flight;
}

/* One command for the messages of this flight, all of which want the same. */
static enum err send_store(struct imap_flag *flag, unsigned slot, enum step step, unsigned list,
			   uint64_t since)
{
	struct imap_wire *wire = imap_session_wire(flag->session);
	uint32_t uids[PAGE];
	size_t count = 0;
	enum err e;

	for (size_t i = 0; i < flag->count; i++)
		if (flag->messages[i].flight == slot + 1)
			uids[count++] = flag->messages[i].now->uid;
	flag->flights[slot] = (struct flight){ .tag = imap_wire_begin(wire), .step = step };
	buffer_add_text(&wire->command, "UID STORE ");
	imap_remove_add_set(&wire->command, uids, count);
	if (since)
		buffer_addf(&wire->command, " (UNCHANGEDSINCE %llu)", (unsigned long long)since);
	buffer_addf(&wire->command, " %cFLAGS.SILENT (%s)", step == REMOVE ? '-' : '+',
		    flag->lists[list - 1]);
	return (e = imap_wire_send(wire)) ? e : imap_wire_flush(wire);
}

/* [MODIFIED set], RFC 7162 section 3.1.3: these were changed meanwhile, and not by us. */
static bool take_modified(struct imap_flag *flag, unsigned slot, const struct imap_status *status)
{
	struct imap_scan scan = imap_scan_of(status->argument);
	uint64_t first, last;

	if (!imap_text_is(status->code, "MODIFIED"))
		return false;
	do {
		if (!imap_scan_number(&scan, UINT32_MAX, &first))
			return false;
		last = first;
		if (imap_scan_char(&scan, ':') && !imap_scan_number(&scan, UINT32_MAX, &last))
			return false;
		for (size_t i = 0; i < flag->count; i++) {
			struct message *message = &flag->messages[i];

			if (message->flight == slot + 1 &&
			    message->now->uid >= min_u64(first, last) &&
			    message->now->uid <= max_u64(first, last))
				message->is_again = true;
		}
	} while (imap_scan_char(&scan, ','));
	return true;
}

/* What was stored has another MODSEQ from here on, which is ours. */
static void end_flight(struct imap_flag *flag, unsigned slot)
{
	enum step step = flag->flights[slot].step;

	flag->flights[slot].tag = 0;
	for (size_t i = 0; i < flag->count; i++) {
		struct message *message = &flag->messages[i];

		if (message->flight != slot + 1)
			continue;
		message->flight = 0;
		if (message->is_again)
			continue;
		message->lists[step] = 0;
		message->since = 0;
	}
}

/* The next answer. *refused: the flight, plus one, of which nothing was stored; its messages are on
 * it still. */
static enum err hear(struct imap_flag *flag, unsigned *refused)
{
	struct imap_reply reply;
	unsigned slot = 0;
	enum err e;

	*refused = 0;
	do {
		if ((e = imap_session_reply(flag->session, &reply)) || (e = check_reply(&reply)))
			return e;
	} while (reply.kind != IMAP_TAGGED);
	while (slot < IMAP_FLAG_FLIGHT_MAX &&
	       (!flag->flights[slot].tag || flag->flights[slot].tag != reply.tag))
		slot++;
	if (slot == IMAP_FLAG_FLIGHT_MAX)
		return RAISE(ERR_IMAP_SYNTAX, "an answer to nothing we asked");
	if (take_modified(flag, slot, &reply.status) || reply.status.state == IMAP_OK) {
		end_flight(flag, slot);
		return OK;
	}
	flag->flights[slot].tag = 0;
	*refused = slot + 1;
	return take_refusal(flag, &reply.status, "UID STORE");
}

static void refuse(struct imap_flag *flag, struct message *message)
{
	message->flight = 0;
	message->is_refused = true;
	flag->refusals++;
}

/* Messages of a refused flight, in halves, down to those that the server does not want. No other is
 * on its way. */
static enum err split(struct imap_flag *flag, enum step step, struct message **messages,
		      size_t count)
{
	size_t half = count / 2;
	unsigned refused;
	enum err e;

	if (count == 1 || flag->refusals >= REFUSALS_MAX) {
		for (size_t i = 0; i < count; i++)
			refuse(flag, messages[i]);
		return OK;
	}
	for (unsigned part = 0; part < 2; part++) {
		struct message **from = messages + (part ? half : 0);
		size_t n = part ? count - half : half;

		for (size_t i = 0; i < n; i++)
			from[i]->flight = 1;
		if ((e = send_store(flag, 0, step, from[0]->lists[step], from[0]->since)) ||
		    (e = hear(flag, &refused)))
			return e;
		for (size_t i = 0; i < n; i++)
			from[i]->flight = 0;
		if (refused && (e = split(flag, step, from, n)))
			return e;
	}
	return OK;
}

/* Those of refused flights of this step. */
static enum err split_refused(struct imap_flag *flag, enum step step, const bool *is_refused)
{
	struct message **messages = flag->splitting;
	enum err e = OK;

	for (unsigned slot = 0; slot < IMAP_FLAG_FLIGHT_MAX && !e; slot++) {
		size_t count = 0;

		for (size_t i = 0; i < flag->count && is_refused[slot]; i++)
			if (flag->messages[i].flight == slot + 1)
				messages[count++] = &flag->messages[i];
		for (size_t i = 0; i < count; i++)
			messages[i]->flight = 0;
		if (count)
			e = split(flag, step, messages, count);
	}
	return e;
}

/* All that want the same as the first that wants anything are put on the flight. */
static bool board(struct imap_flag *flag, unsigned slot, enum step step, unsigned *list,
		  uint64_t *since)
{
	bool any = false;

	for (size_t i = 0; i < flag->count; i++) {
		struct message *message = &flag->messages[i];

		if (!is_wanted(message, step) ||
		    (any && (message->lists[step] != *list || message->since != *since)))
			continue;
		any = true;
		*list = message->lists[step];
		*since = message->since;
		message->flight = slot + 1;
	}
	return any;
}

/* At most IMAP_FLAG_FLIGHT_MAX commands; *any: there were some. */
static enum err store_some(struct imap_flag *flag, enum step step, bool *any)
{
	bool is_refused[IMAP_FLAG_FLIGHT_MAX] = { 0 };
	unsigned slot = 0, list = 0, refused;
	uint64_t since = 0;
	enum err e = OK;

	while (!e && slot < IMAP_FLAG_FLIGHT_MAX && board(flag, slot, step, &list, &since))
		e = send_store(flag, slot++, step, list, since);
	*any = slot > 0;
	for (unsigned i = 0; i < slot && !e; i++) {
		e = hear(flag, &refused);
		if (!e && refused)
			is_refused[refused - 1] = true;
	}
	return e ? e : split_refused(flag, step, is_refused);
}

/* ---- a page ---- */

static bool any_is_open(struct imap_flag *flag, unsigned round)
{
	bool any = round == 0;

	for (size_t i = 0; i < flag->count && round; i++) {
		struct message *message = &flag->messages[i];

		message->is_open = message->is_again;
		any |= message->is_again;
		if (!message->is_again)
			continue;
		message->is_again = message->is_there = false;
		memset(message->lists, 0, sizeof message->lists);
	}
	return any;
}

static void count_page(const struct imap_flag *flag, struct mail_carried *carried)
{
	for (size_t i = 0; i < flag->count; i++) {
		const struct message *message = &flag->messages[i];

		if (message->is_refused || (message->is_there && message->is_short)) {
			carried->refused++;
		} else if (!message->is_there) {
			carried->gone++;
		} else {
			carried->carried++;
			carried->merged += message->is_merged;
		}
	}
}

static enum err carry_page(struct imap_flag *flag, struct mail_carried *carried)
{
	enum err e = OK;

	for (unsigned round = 0; !e && round < ROUNDS_MAX && any_is_open(flag, round); round++) {
		e = fetch(flag, round);
		for (enum step step = ADD; step < STEPS && !e; step++)
			for (bool any = true; any && !e;)
				e = store_some(flag, step, &any);
	}
	free_lists(flag);
	if (!e)
		count_page(flag, carried);
	return e;
}

static enum err carry_all(struct imap_flag *flag, const struct imap_flagged *now, size_t count,
			  struct mail_carried *carried)
{
	nsec io_timeout = imap_session_account(flag->session)->io_timeout;
	enum err e = OK;

	for (size_t at = 0, n; at < count && !e; at += n) {
		imap_session_wire(flag->session)->until = clock_after(10 * io_timeout);
		n = min_u64(count - at, PAGE);
		memset(flag->messages, 0, n * sizeof flag->messages[0]);
		for (size_t i = 0; i < n; i++) {
			must(now[at + i].uid > (at + i ? now[at + i - 1].uid : 0));
			flag->messages[i].now = &now[at + i];
			flag->messages[i].is_open = true;
		}
		flag->count = n;
		e = carry_page(flag, carried);
	}
	return e;
}

enum err imap_flag_carry(struct imap_flag *flag, const char *raw, uint32_t uidvalidity,
			 const struct imap_flagged *now, size_t count, struct mail_carried *carried)
{
	nsec io_timeout = imap_session_account(flag->session)->io_timeout;
	uint64_t refused = carried->refused;
	bool is_open, is_gone;
	enum err e;

	flag->refusals = 0;
	flag->why[0] = '\0';
	imap_session_wire(flag->session)->until = clock_after(10 * io_timeout);
	if ((e = select_box(flag, raw, &is_open, &is_gone)) == OK) {
		if (is_open && flag->uidvalidity == uidvalidity && !flag->read_only)
			e = carry_all(flag, now, count, carried);
		else
			*(is_gone ? &carried->gone : &carried->refused) += count;
	}
	imap_session_wire(flag->session)->until = DEADLINE_NEVER;
	if (!e && carried->refused > refused)
		log_event(LOG_WARN, "imap.flags_not_carried",
			  "messages=%llu of=%zu uidvalidity=%llu was=%u readonly=%d !said=\"%s\"",
			  (unsigned long long)(carried->refused - refused), count,
			  (unsigned long long)flag->uidvalidity, uidvalidity, flag->read_only,
			  flag->why);
	return e;
}
