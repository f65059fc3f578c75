/* Three ways to learn what changed, by what the server can do and what was known of the folder:
 *
 *   QRESYNC     UID FETCH a:b (UID FLAGS) (CHANGEDSINCE m VANISHED): all there is to know
 *   CONDSTORE   the same without VANISHED; UIDs are listed where the counts say that some went
 *   neither     UID FETCH a:b (UID FLAGS): what is not listed is gone
 *
 * A server that refuses the first two is asked the third way. */
#include "transport/imap_delta.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/clock.h"

enum {
	DELTA_MAGIC = 0x1a4a9007,
	/* Longest time of replies that tell nothing, in io_timeouts. */
	CHATTER_TIMEOUTS = 10,
};

/* A cursor taken apart. */
struct place {
	uint64_t epoch, next_no, messages, modseq;
};

struct imap_delta {
	uint32_t magic;
	struct imap_session *session;
	struct imap_wire *wire;
	struct imap_fetch *fetch;
	bool enable_asked, qresync;
	char raw[BOX_NAME_BYTES_MAX + 1]; /* of the folder that is open; "": none */
	uint64_t epoch, seen_epoch;
	/* The present scan. */
	struct place before, now;
	uint64_t first, last;
	enum step {
		STEP_DONE,
		STEP_CHANGES, /* what changed since */
		STEP_LISTING, /* all that is there */
	} step;
	unsigned tag;
	bool with_flags;	   /* the command asks for them */
	bool flags_wanted;	   /* in a listing */
	struct imap_scan vanished; /* not told yet; of the present event */
	nsec progress_until;
};

/* ---- cursors ---- */

void imap_delta_cursor(struct box *box, uint64_t modseq)
{
	snprintf(box->cursor.at, sizeof box->cursor.at, "%llu %llu %llu %llu",
		 (unsigned long long)box->epoch, (unsigned long long)box->next_no,
		 (unsigned long long)box->messages, (unsigned long long)modseq);
	box->cursor.exact = modseq > 0;
}

/* One that we did not write says nothing. */
static struct place place_of(const struct cursor *cursor)
{
	struct imap_scan scan = imap_scan_of(text_of(cursor->at));
	struct place place;

	if (imap_scan_number(&scan, UINT32_MAX, &place.epoch) && imap_scan_char(&scan, ' ') &&
	    imap_scan_number(&scan, UINT32_MAX, &place.next_no) && imap_scan_char(&scan, ' ') &&
	    imap_scan_number(&scan, UINT32_MAX, &place.messages) && imap_scan_char(&scan, ' ') &&
	    imap_scan_number(&scan, INT64_MAX, &place.modseq) && imap_scan_at_end(&scan))
		return place;
	return (struct place){ 0 };
}

static bool counts_changed(const struct imap_delta *delta)
{
	return delta->before.messages != delta->now.messages ||
	       delta->before.next_no != delta->now.next_no;
}

/* Modification sequences never go back while the UIDVALIDITY stays; a server put back from a copy
 * may do it all the same, and then they say nothing. */
static bool can_tell_changes(const struct imap_delta *delta)
{
	return imap_session_capabilities(delta->session) & IMAP_HAS_CONDSTORE &&
	       delta->before.epoch == delta->now.epoch && delta->before.modseq > 0 &&
	       delta->now.modseq >= delta->before.modseq;
}

/* ---- opening ---- */

enum err imap_delta_open(struct imap_session *session, struct imap_fetch *fetch,
			 struct imap_delta **out)
{
	struct imap_delta *delta = calloc(1, sizeof *delta);

	*out = delta;
	if (!delta)
		return RAISE(ERR_MEMORY_EXHAUSTED, "looking for what changed");
	delta->magic = DELTA_MAGIC;
	delta->session = session;
	delta->wire = imap_session_wire(session);
	delta->fetch = fetch;
	return OK;
}

void imap_delta_close(struct imap_delta **delta)
{
	if (!*delta)
		return;
	MAGIC_CHECK(*delta, DELTA_MAGIC);
	(*delta)->magic = 0;
	free(*delta);
	*delta = NULL;
}

/* ---- one command at a time ---- */

static void note_progress(struct imap_delta *delta)
{
	delta->progress_until = clock_after(CHATTER_TIMEOUTS * delta->wire->io_timeout);
}

static enum err send_command(struct imap_delta *delta)
{
	enum err e;

	delta->tag = delta->wire->tag;
	note_progress(delta);
	e = imap_wire_send(delta->wire);
	return e ? e : imap_wire_flush(delta->wire);
}

/* The next event that is not one of the session's. */
static enum err next_event(struct imap_delta *delta, struct imap_event *event)
{
	enum err e;

	if (clock_now() > delta->progress_until)
		return RAISE(
			ERR_NET_TIMEOUT,
			"looking for what changed: the server talks and talks but tells nothing");
	if ((e = imap_fetch_next(delta->fetch, event)))
		return e;
	if (event->kind == IMAP_EVENT_STATUS && event->status.state == IMAP_BYE)
		return imap_status_raise(&event->status, ERR_IMAP_BYE,
					 imap_session_account(delta->session)->shown);
	if (event->kind == IMAP_EVENT_TAGGED && event->tag != delta->tag)
		return RAISE(ERR_IMAP_SYNTAX, "an answer to a command we did not send");
	return OK;
}

/* A command of ours that is not understood is a refused folder, not the end of the mailbox. */
static enum err refusal(const struct imap_status *status, const char *what)
{
	enum err e = imap_status_raise(status, ERR_IMAP_REFUSED, what);

	if (e == ERR_IMAP_BAD)
		e = err_note()->error = ERR_IMAP_REFUSED;
	return e;
}

static enum err on_enabled(struct imap_session *session, const struct imap_reply *reply,
			   void *context)
{
	struct imap_scan scan = imap_scan_of(reply->text);

	(void)session;
	if (imap_scan_word(&scan, "ENABLED") && imap_text_holds(imap_scan_rest(&scan), "QRESYNC"))
		*(bool *)context = true;
	return OK;
}

/* Once, and before any folder is open (RFC 5161 section 3.1). Refused, it is not there. */
static enum err enable(struct imap_delta *delta)
{
	struct imap_status status;
	enum err e;

	if (delta->enable_asked || !(imap_session_capabilities(delta->session) & IMAP_HAS_QRESYNC))
		return OK;
	delta->enable_asked = true;
	imap_wire_begin(delta->wire);
	buffer_add_text(&delta->wire->command, "ENABLE QRESYNC");
	if ((e = send_command(delta)))
		return e;
	return imap_session_answer(delta->session, delta->tag, on_enabled, &delta->qresync,
				   &status);
}

static void take_epoch(struct imap_delta *delta, const struct imap_status *status)
{
	struct imap_scan scan = imap_scan_of(status->argument);
	uint64_t number;

	if (imap_text_is(status->code, "UIDVALIDITY") &&
	    imap_scan_number(&scan, UINT32_MAX, &number))
		delta->seen_epoch = number;
}

static enum err hear_examined(struct imap_delta *delta, const struct box *box)
{
	struct imap_event event;
	enum err e;

	do {
		if ((e = next_event(delta, &event)))
			return e;
		if (event.kind == IMAP_EVENT_STATUS)
			take_epoch(delta, &event.status);
	} while (event.kind != IMAP_EVENT_TAGGED);
	if ((e = refusal(&event.status, "EXAMINE")))
		return e;
	if (delta->seen_epoch != box->epoch)
		return RAISE(
			ERR_SOURCE_EPOCH,
			"EXAMINE: UIDVALIDITY is %llu, and was %llu when the folder was listed",
			(unsigned long long)delta->seen_epoch, (unsigned long long)box->epoch);
	bytes_copy(delta->raw, box->raw, strlen(box->raw) + 1, BYTES_META);
	delta->epoch = box->epoch;
	return OK;
}

static enum err examine(struct imap_delta *delta, const struct box *box)
{
	bool literals = imap_session_capabilities(delta->session) & IMAP_HAS_LITERAL_PLUS;
	struct imap_wire *wire = delta->wire;
	enum err e;

	if (delta->epoch == box->epoch && delta->raw[0] && strcmp(delta->raw, box->raw) == 0)
		return OK;
	delta->raw[0] = '\0';
	delta->seen_epoch = 0;
	imap_wire_begin(wire);
	buffer_add_text(&wire->command, "EXAMINE ");
	if (!imap_wire_add_string(wire, text_of(box->raw), literals)) {
		buffer_reset(&wire->command);
		return RAISE(ERR_IMAP_REFUSED, "EXAMINE: the folder's name is not ASCII and the "
					       "server lacks LITERAL+");
	}
	e = send_command(delta);
	return e ? e : hear_examined(delta, box);
}

/* ---- the scan ---- */

static enum err send_changes(struct imap_delta *delta)
{
	delta->step = STEP_CHANGES;
	delta->with_flags = true;
	imap_wire_begin(delta->wire);
	buffer_addf(&delta->wire->command, "UID FETCH %llu:%llu (UID FLAGS) (CHANGEDSINCE %llu%s)",
		    (unsigned long long)delta->first, (unsigned long long)delta->last,
		    (unsigned long long)delta->before.modseq, delta->qresync ? " VANISHED" : "");
	return send_command(delta);
}

static enum err send_listing(struct imap_delta *delta, bool flags)
{
	delta->step = STEP_LISTING;
	delta->with_flags = flags;
	imap_wire_begin(delta->wire);
	buffer_addf(&delta->wire->command, "UID FETCH %llu:%llu (UID%s)",
		    (unsigned long long)delta->first, (unsigned long long)delta->last,
		    flags ? " FLAGS" : "");
	return send_command(delta);
}

enum err imap_delta_scan(struct imap_delta *delta, const struct box *box, uint64_t first,
			 uint64_t last, bool flags)
{
	enum err e;

	MAGIC_CHECK(delta, DELTA_MAGIC);
	must(delta->step == STEP_DONE && first > 0 && first <= last);
	delta->before = place_of(&box->before);
	delta->now = place_of(&box->cursor);
	delta->first = min_u64(first, UINT32_MAX);
	delta->last = min_u64(last, UINT32_MAX);
	delta->flags_wanted = flags;
	delta->vanished = imap_scan_of((struct text){ NULL, 0 });
	if ((e = enable(delta)) || (e = examine(delta, box)))
		return e;
	if (can_tell_changes(delta))
		return send_changes(delta);
	if (!flags && delta->before.epoch == delta->now.epoch && !counts_changed(delta))
		return OK;
	return send_listing(delta, flags);
}

/* uniqueid, or two with a colon in either order; "*" has no place in VANISHED. */
static bool scan_uids(struct imap_scan *scan, uint64_t *first, uint64_t *last)
{
	if (!imap_scan_number(scan, UINT32_MAX, first))
		return false;
	*last = *first;
	if (imap_scan_char(scan, ':') && !imap_scan_number(scan, UINT32_MAX, last))
		return false;
	if (*first > *last) {
		uint64_t swap = *first;

		*first = *last;
		*last = swap;
	}
	return imap_scan_char(scan, ',') || imap_scan_at_end(scan);
}

/* The next of the UIDs that vanished; false: none is left. */
static enum err next_vanished(struct imap_delta *delta, struct finding *finding, bool *is_one)
{
	while (!*is_one && !imap_scan_at_end(&delta->vanished)) {
		uint64_t first, last;

		if (!scan_uids(&delta->vanished, &first, &last))
			return RAISE(ERR_IMAP_SYNTAX,
				     "VANISHED: a set of UIDs that does not parse");
		finding->kind = FINDING_GONE;
		finding->no = max_u64(first, delta->first);
		finding->last = min_u64(last, delta->last);
		*is_one = finding->no <= finding->last;
	}
	return OK;
}

static bool take_facts(const struct imap_delta *delta, const struct imap_event *event,
		       struct finding *finding)
{
	finding->kind = event->has_flags ? FINDING_FLAGS : FINDING_THERE;
	finding->no = finding->last = event->uid;
	finding->meta = event->meta;
	return event->uid >= delta->first && event->uid <= delta->last &&
	       (event->has_flags || !delta->with_flags);
}

/* A command is answered. Where it was a listing, it says what is gone, too. */
static enum err take_answer(struct imap_delta *delta, const struct imap_status *status,
			    struct finding *finding, bool *is_one)
{
	bool refused = status->state != IMAP_OK;
	enum step step = delta->step;

	delta->step = STEP_DONE;
	if (step == STEP_CHANGES && refused &&
	    imap_hint(status, ERR_IMAP_BAD).error == ERR_IMAP_BAD)
		return send_listing(delta, true); /* NOMODSEQ, or it does not know the words */
	if (refused)
		return refusal(status, "UID FETCH of flags");
	if (step == STEP_CHANGES)
		return delta->qresync || !counts_changed(delta) ? OK : send_listing(delta, false);
	*finding = (struct finding){ FINDING_REST_GONE, delta->first, delta->last, NULL };
	*is_one = true;
	return OK;
}

static enum err take_event(struct imap_delta *delta, struct finding *finding, bool *is_one)
{
	struct imap_event event;
	enum err e = next_event(delta, &event);

	if (e)
		return e;
	if (event.kind == IMAP_EVENT_FACTS)
		*is_one = take_facts(delta, &event, finding);
	else if (event.kind == IMAP_EVENT_VANISHED)
		delta->vanished = imap_scan_of(event.vanished);
	else if (event.kind == IMAP_EVENT_TAGGED)
		return take_answer(delta, &event.status, finding, is_one);
	return OK;
}

enum err imap_delta_found(struct imap_delta *delta, struct finding *finding)
{
	bool is_one = false;
	enum err e;

	MAGIC_CHECK(delta, DELTA_MAGIC);
	note_progress(delta); /* who asks has taken the last one */
	while ((e = next_vanished(delta, finding, &is_one)) == OK && !is_one) {
		if (delta->step == STEP_DONE)
			return ERR_PIPE_ENDED;
		if ((e = take_event(delta, finding, &is_one)) || is_one)
			return e;
	}
	return e;
}
