/* One FETCH at a time: each covers as many UIDs as make an answer of some thousand messages, so a
 * server that is slow is heard of in time, and one that repeats itself does not go on for ever. */
#include "transport/gmail_survey.h"

#include <stdlib.h>

#include "engine/clock.h"
#include "engine/filter.h"
#include "engine/govern.h"
#include "engine/log.h"
#include "transport/provider.h"

enum {
	PIECE_UIDS = 4096,
	PIECE_UIDS_MAX = 1 << 26,
	PIECE_MESSAGES_FEW = 1024,
	PIECE_MESSAGES_MANY = 16 * 1024,
	/* A server may say the same again, but not for ever. */
	REPLIES_FREE = 4096,
	REPLIES_PER_UID = 4,
	/* Longest time of replies that tell nothing, in io_timeouts. */
	CHATTER_TIMEOUTS = 10,
};

struct survey {
	struct labels *labels;
	struct imap_session *session;
	struct imap_wire *wire;
	struct imap_fetch *fetch;
	const struct filter *filter;
	uint64_t seen_epoch, dropped;
	uint64_t messages; /* of the present piece */
	nsec progress_until;
};

bool gmail_survey_is_due(struct imap_session *session)
{
	return imap_session_capabilities(session) & IMAP_HAS_GMAIL &&
	       imap_session_provider(session)->quirks & PROVIDER_LABELS;
}

/* ---- folders ---- */

typedef enum err each_box(struct labels *, const struct filter *, const struct box *);

static enum err walk(struct imap_list *list, struct imap_session *session, each_box *each,
		     struct labels *labels, const struct filter *filter)
{
	struct box_page *page = calloc(1, sizeof *page);
	enum err e = page ? OK : RAISE(ERR_MEMORY_EXHAUSTED, "listing folders");

	imap_list_rewind(list);
	while (e == OK && !page->last) {
		e = imap_list_page(list, session, page);
		for (unsigned i = 0; i < page->count && e == OK; i++)
			e = each(labels, filter, &page->boxes[i]);
	}
	imap_list_rewind(list);
	free(page);
	return e == ERR_PIPE_ENDED ? OK : e;
}

/* The first one that is found ends the walk. */
static enum err find_all_mail(struct labels *labels, const struct filter *filter,
			      const struct box *box)
{
	enum err e;

	if (box->use != BOX_USE_ALL || !box->selectable || box->fate)
		return OK;
	e = gmail_labels_begin(labels, filter, box);
	return e ? e : ERR_PIPE_ENDED;
}

static enum err add_label(struct labels *labels, const struct filter *filter, const struct box *box)
{
	(void)filter;
	return gmail_labels_kind(labels, box) == GMAIL_BOX_LABEL
		       ? gmail_labels_add_folder(labels, box)
		       : OK;
}

static enum err take_folders(struct survey *survey, struct imap_list *list)
{
	struct labels *labels = survey->labels;
	enum err e = gmail_labels_begin(labels, survey->filter, &(struct box){ 0 });

	if (e || (e = walk(list, survey->session, find_all_mail, labels, survey->filter)))
		return e;
	if (!gmail_labels_all(labels)->raw[0])
		return RAISE(ERR_SOURCE_LABELS,
			     "%s: All Mail is not shown over IMAP, so messages that are in no "
			     "other folder cannot be read",
			     imap_session_account(survey->session)->shown);
	return walk(list, survey->session, add_label, labels, survey->filter);
}

/* ---- commands ---- */

static void note_progress(struct survey *survey)
{
	survey->progress_until = clock_after(CHATTER_TIMEOUTS * survey->wire->io_timeout);
}

static void take_status(struct survey *survey, const struct imap_status *status)
{
	const struct account *account = imap_session_account(survey->session);
	struct imap_scan scan = imap_scan_of(status->argument);
	uint64_t number;

	if (imap_text_is(status->code, "UIDVALIDITY") &&
	    imap_scan_number(&scan, UINT32_MAX, &number))
		survey->seen_epoch = number;
	if (status->state == IMAP_OK && imap_text_is(status->code, "THROTTLED") && account->govern)
		govern_throttled(account->govern, ERR_OF_ACCOUNT, clock_now());
}

static enum err take_message(struct survey *survey, const struct imap_event *event, uint64_t first,
			     uint64_t last)
{
	const struct filter *filter = survey->filter;
	bool wanted = filter_takes_message(filter, &event->meta->date, event->told_bytes);

	if (!event->has_labels || !event->has_flags || event->uid < first || event->uid > last)
		return OK;
	if (survey->messages++ > REPLIES_FREE + REPLIES_PER_UID * (last - first + 1))
		return RAISE(ERR_IMAP_SYNTAX, "FETCH: the server tells of labels again and again");
	note_progress(survey);
	survey->dropped += event->labels_dropped;
	return gmail_labels_note(survey->labels, event->uid, event->meta, event->labels, wanted);
}

/* What is sent, to its answer. */
static enum err converse(struct survey *survey, const char *what, uint64_t first, uint64_t last)
{
	unsigned tag = survey->wire->tag;
	struct imap_event event;
	enum err e;

	note_progress(survey);
	if ((e = imap_wire_send(survey->wire)) || (e = imap_wire_flush(survey->wire)))
		return e;
	for (;;) {
		if (clock_now() > survey->progress_until)
			return RAISE(ERR_NET_TIMEOUT,
				     "%s: the server talks and talks but tells nothing", what);
		if ((e = imap_fetch_next(survey->fetch, &event)))
			return e;
		if (event.kind == IMAP_EVENT_TAGGED)
			break;
		if (event.kind == IMAP_EVENT_STATUS && event.status.state == IMAP_BYE)
			return imap_status_raise(&event.status, ERR_IMAP_BYE,
						 imap_session_account(survey->session)->shown);
		if (event.kind == IMAP_EVENT_STATUS)
			take_status(survey, &event.status);
		if (event.kind == IMAP_EVENT_FACTS && last &&
		    (e = take_message(survey, &event, first, last)))
			return e;
	}
	if (event.tag != tag)
		return RAISE(ERR_IMAP_SYNTAX, "an answer to a command we did not send");
	take_status(survey, &event.status);
	if ((e = imap_status_raise(&event.status, ERR_IMAP_UNAVAILABLE, what)) &&
	    err_retry_class(e) == RETRY_SKIP_BOX) /* without this folder there is no other */
		e = err_note()->error = ERR_IMAP_UNAVAILABLE;
	return e;
}

static enum err examine(struct survey *survey)
{
	bool literals = imap_session_capabilities(survey->session) & IMAP_HAS_LITERAL_PLUS;
	const struct box *all = gmail_labels_all(survey->labels);
	enum err e;

	imap_wire_begin(survey->wire);
	buffer_add_text(&survey->wire->command, "EXAMINE ");
	if (!imap_wire_add_string(survey->wire, text_of(all->raw), literals)) {
		buffer_reset(&survey->wire->command);
		return RAISE(ERR_SOURCE_LABELS, "EXAMINE: All Mail's name is not ASCII and the "
						"server lacks LITERAL+");
	}
	if ((e = converse(survey, "EXAMINE of All Mail", 0, 0)))
		return e;
	return survey->seen_epoch == all->epoch
		       ? OK
		       : RAISE(ERR_SOURCE_AGAIN,
			       "EXAMINE: All Mail's UIDVALIDITY is %llu, and was %llu when the "
			       "folders were listed",
			       (unsigned long long)survey->seen_epoch,
			       (unsigned long long)all->epoch);
}

static enum err survey_piece(struct survey *survey, uint64_t first, uint64_t last)
{
	survey->messages = 0;
	imap_wire_begin(survey->wire);
	buffer_addf(&survey->wire->command, "UID FETCH %llu:%llu (UID FLAGS X-GM-LABELS%s%s)",
		    (unsigned long long)first, (unsigned long long)last,
		    filter_wants_dates(survey->filter) ? " INTERNALDATE" : "",
		    filter_wants_sizes(survey->filter) ? " RFC822.SIZE" : "");
	return converse(survey, "UID FETCH of labels", first, last);
}

static enum err survey_all(struct survey *survey)
{
	uint64_t next_no = gmail_labels_all(survey->labels)->next_no, width = PIECE_UIDS, last;
	enum err e = OK;

	for (uint64_t first = 1; first < next_no && e == OK; first = last + 1) {
		last = min_u64(first + width - 1, next_no - 1);
		e = survey_piece(survey, first, last);
		if (survey->messages < PIECE_MESSAGES_FEW && width < PIECE_UIDS_MAX)
			width *= 4;
		else if (survey->messages > PIECE_MESSAGES_MANY && width > PIECE_UIDS)
			width /= 4;
	}
	return e;
}

/* ---- */

static void tell(const struct survey *survey)
{
	struct gmail_sums sums = gmail_labels_sums(survey->labels);

	log_event(LOG_INFO, "gmail.labels",
		  "rule=%s messages=%llu of_several=%llu stay=%llu copies=%llu folders=%zu "
		  "dropped=%llu",
		  gmail_rule_name(gmail_labels_rule(survey->labels)),
		  (unsigned long long)sums.messages, (unsigned long long)sums.of_several,
		  (unsigned long long)sums.stayed, (unsigned long long)sums.places,
		  gmail_labels_folders(survey->labels), (unsigned long long)survey->dropped);
}

enum err gmail_survey(struct labels *labels, struct imap_session *session, struct imap_fetch *fetch,
		      struct imap_list *list, const struct filter *filter)
{
	struct survey survey = { .labels = labels,
				 .session = session,
				 .wire = imap_session_wire(session),
				 .fetch = fetch,
				 .filter = filter };
	nsec until = survey.wire->until;
	enum err e = take_folders(&survey, list);

	if (e)
		return e;
	survey.wire->until = DEADLINE_NEVER; /* a large mailbox takes long; progress is asked for */
	imap_fetch_take_labels(fetch, true);
	if ((e = examine(&survey)) == OK)
		e = survey_all(&survey);
	imap_fetch_take_labels(fetch, false);
	survey.wire->until = until;
	if (!e && (e = gmail_labels_end(labels)) == OK)
		tell(&survey);
	return e;
}
