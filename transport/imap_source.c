/* Ranges asked for, commands in flight, messages handed over. A server may work on several FETCH
 * commands at once (RFC 9051 section 5.5; Dovecot does while its output is blocked), so a message
 * belongs to the range its UID lies in and tags may come in any order, up to the next EXAMINE,
 * which waits for all before it. Ranges are reported done in the order they were asked.
 *
 * EXAMINE goes out right before the first FETCH of its folder without waiting for its answer, so
 * what a FETCH brings counts only when the EXAMINE before it was granted with the right UIDVALIDITY
 * (some servers keep the old folder open when an EXAMINE fails). */
#include "transport/imap_source.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/clock.h"
#include "engine/filter.h"
#include "engine/govern.h"
#include "engine/log.h"
#include "transport/gmail_survey.h"
#include "transport/imap_asks.h"
#include "transport/imap_delta.h"
#include "transport/imap_fetch.h"
#include "transport/imap_labelled.h"
#include "transport/imap_list.h"
#include "transport/imap_survey.h"

enum {
	SOURCE_MAGIC = 0x1a4a9005,
	ASKS_MAX = 8,
	/* Of each range one FETCH at a time is in flight, behind an EXAMINE. */
	COMMANDS_MAX = ASKS_MAX * 2,
	/* Longest time of unsolicited replies alone, in io_timeouts: a server may send "still here"
	 * for a while, not for ever. */
	CHATTER_TIMEOUTS = 10,
};

enum command_kind {
	COMMAND_EXAMINE,
	COMMAND_SURVEY, /* what the filter wants to know of a range's messages */
	COMMAND_RANGE,	/* everything of a range, or of what is wanted of it */
	COMMAND_FACTS,	/* of one large message: its flags and date, */
	COMMAND_LARGE,	/* then its body */
};
struct command {
	enum command_kind kind;
	unsigned tag;
	struct imap_ask *ask;
	uint32_t uid; /* FACTS, LARGE: of the message; 0 when its body was handed over */
};

struct imap_source {
	struct source base;
	uint32_t magic;
	struct imap_session *session;
	struct imap_wire *wire;
	struct reserve *reserve;
	struct imap_list *list;
	struct imap_delta *delta;
	struct imap_fetch *fetch;
	enum err failed;	     /* the conversation is over; said again and again */
	const struct filter *filter; /* NULL: it judges no messages */
	struct imap_survey *surveys; /* one for each of the asks */
	struct imap_ask asks[ASKS_MAX];
	unsigned asks_head, asks_count;
	/* Folders made of labels; NULL: folders are what the server shows. */
	struct labels *labels;
	struct imap_labelled *labelled; /* one for each of the asks */
	struct imap_labelled_scan labelled_scan;
	size_t labels_listed;
	struct command commands[COMMANDS_MAX];
	unsigned commands_head, commands_count;
	/* What the last EXAMINE sent opens, and what came of the last one answered. */
	char sent_raw[BOX_NAME_BYTES_MAX + 1];
	uint64_t sent_epoch, seen_epoch;
	enum err box_fate;
	char box_fate_text[240];
	struct imap_hint box_hint;
	nsec progress_until;
};

static struct imap_source *source_of(struct source *base)
{
	struct imap_source *source = (struct imap_source *)base;

	MAGIC_CHECK(source, SOURCE_MAGIC);
	return source;
}

static void source_close(struct source **base)
{
	struct imap_source *source;

	if (!*base)
		return;
	source = source_of(*base);
	imap_list_close(&source->list);
	imap_delta_close(&source->delta);
	imap_fetch_close(&source->fetch);
	imap_session_close(&source->session);
	free(source->surveys);
	free(source->labelled);
	source->magic = 0;
	free(source);
	*base = NULL;
}

static enum err open_surveys(struct imap_source *source, const struct filter *filter)
{
	if (!filter_judges_messages(filter))
		return OK;
	source->filter = filter;
	source->surveys = calloc(ASKS_MAX, sizeof *source->surveys);
	return source->surveys ? OK : RAISE(ERR_MEMORY_EXHAUSTED, "an IMAP source");
}

static enum err open_labels(struct imap_source *source, struct labels *labels)
{
	if (!labels || gmail_labels_rule(labels) == GMAIL_RULE_FOLDERS ||
	    !gmail_survey_is_due(source->session))
		return OK;
	source->labels = labels;
	source->labelled = calloc(ASKS_MAX, sizeof *source->labelled);
	return source->labelled ? OK : RAISE(ERR_MEMORY_EXHAUSTED, "an IMAP source");
}

static enum err source_open(struct source **out, const struct account *account,
			    struct reserve *reserve, nsec until)
{
	struct imap_source *source = calloc(1, sizeof *source);
	enum err e;

	*out = NULL;
	if (!source)
		return RAISE(ERR_MEMORY_EXHAUSTED, "an IMAP source");
	source->base.type = &imap_source;
	source->magic = SOURCE_MAGIC;
	source->reserve = reserve;
	*out = &source->base;
	e = open_surveys(source, account->filter);
	if (e == OK)
		e = imap_session_open(account, until, &source->session);
	if (e == OK) {
		source->wire = imap_session_wire(source->session);
		e = imap_fetch_open(source->wire, reserve, &source->fetch);
	}
	if (e == OK)
		e = open_labels(source, account->labels);
	if (e)
		source_close(out);
	return e;
}

/* ---- folders ---- */

static bool source_recalls(struct source *base)
{
	struct imap_source *source = source_of(base);

	if (!source->labels)
		return false;
	gmail_labels_forget(source->labels);
	return gmail_labels_rule(source->labels) == GMAIL_RULE_FIRST;
}

static enum err source_recall(struct source *base, const struct settled_before *before)
{
	return gmail_labels_recall(source_of(base)->labels, before->box_id, before->epoch,
				   before->no, before->stored, before->there);
}

static enum err begin_list(struct imap_source *source)
{
	const struct account *account = imap_session_account(source->session);
	enum err e = imap_list_open(source->session, &source->list);

	source->labels_listed = 0;
	if (e || !source->labels)
		return e;
	source->sent_raw[0] = '\0'; /* another folder is examined */
	return gmail_survey(source->labels, source->session, source->fetch, source->list,
			    account->filter);
}

/* First those made of labels. */
static void list_labelled(struct imap_source *source, struct box_page *page)
{
	size_t count = source->labels ? gmail_labels_folders(source->labels) : 0;

	page->count = 0;
	page->last = false;
	while (source->labels_listed < count && page->count < ARRAY_COUNT(page->boxes))
		page->count += gmail_labels_box(source->labels, source->labels_listed++,
						&page->boxes[page->count]);
}

/* Then the server's own, without what labels stand for. */
static enum err list_own(struct imap_source *source, struct box_page *page)
{
	enum err e = imap_list_page(source->list, source->session, page);
	unsigned kept = 0;

	for (unsigned i = 0; i < page->count && source->labels && e == OK; i++)
		if (gmail_labels_kind(source->labels, &page->boxes[i]) == GMAIL_BOX_ITSELF)
			page->boxes[kept++] = page->boxes[i];
	page->count = source->labels ? kept : page->count;
	return e;
}

static enum err source_list(struct source *base, struct box_page *page, nsec until)
{
	struct imap_source *source = source_of(base);
	enum err e = source->failed;

	must(source->asks_count == 0); /* folders first, then messages */
	page->count = 0;
	source->wire->read_bytes = IMAP_READ_BYTES_COLD;
	source->wire->until = until;
	if (e == OK && !source->list)
		e = begin_list(source);
	if (e == OK)
		list_labelled(source, page);
	if (e == OK && !page->count)
		e = list_own(source, page);
	if (e || page->last)
		imap_list_close(&source->list);
	source->wire->until = DEADLINE_NEVER;
	source->failed = e;
	return e;
}

/* ---- what changed ---- */

/* A refusal concerns the folder, and the conversation goes on; anything else ends it. */
static enum err keep_failure(struct imap_source *source, enum err e)
{
	if (e && e != ERR_PIPE_ENDED && err_retry_class(e) != RETRY_SKIP_BOX)
		source->failed = e;
	return e;
}

static enum err source_scan(struct source *base, const struct box *box, uint64_t first,
			    uint64_t last, bool flags)
{
	struct imap_source *source = source_of(base);
	enum err e = source->failed;

	must(source->asks_count == 0);
	if (e == OK &&
	    imap_labelled_scan(source->labels, &source->labelled_scan, box, first, last, flags))
		return OK;
	source->wire->read_bytes = IMAP_READ_BYTES_COLD;
	if (e == OK && !source->delta)
		e = imap_delta_open(source->session, source->fetch, &source->delta);
	return e ? e
		 : keep_failure(source, imap_delta_scan(source->delta, box, first, last, flags));
}

static enum err source_found(struct source *base, struct finding *finding)
{
	struct imap_source *source = source_of(base);

	if (source->failed)
		return source->failed;
	if (source->labelled_scan.open)
		return imap_labelled_found(source->labels, &source->labelled_scan, finding);
	if (!source->delta)
		return ERR_PIPE_ENDED;
	return keep_failure(source, imap_delta_found(source->delta, finding));
}

/* ---- asking ---- */

static struct imap_ask *head_ask(struct imap_source *source)
{
	return source->asks_count ? &source->asks[source->asks_head] : NULL;
}

static struct command *head_command(struct imap_source *source)
{
	return source->commands_count ? &source->commands[source->commands_head] : NULL;
}

static enum err send_command(struct imap_source *source, enum command_kind kind,
			     struct imap_ask *ask, uint32_t uid)
{
	unsigned place = (source->commands_head + source->commands_count) % COMMANDS_MAX;

	must(source->commands_count < COMMANDS_MAX);
	source->commands[place] =
		(struct command){ .kind = kind, .tag = source->wire->tag, .ask = ask, .uid = uid };
	if (source->commands_count++ == 0)
		source->seen_epoch = 0;
	return imap_wire_send(source->wire);
}

static struct imap_survey *survey_of(struct imap_source *source, const struct imap_ask *ask)
{
	must(source->surveys);
	return &source->surveys[ask - source->asks];
}

/* Read-only, and never waited for. */
static enum err send_examine(struct imap_source *source, struct imap_ask *ask)
{
	bool literals = imap_session_capabilities(source->session) & IMAP_HAS_LITERAL_PLUS;
	struct buffer *command = &source->wire->command;
	struct text raw = text_of(ask->raw);

	if (source->sent_epoch == ask->epoch && text_equal(text_of(source->sent_raw), raw))
		return OK;
	imap_wire_begin(source->wire);
	buffer_add_text(command, "EXAMINE ");
	if (!imap_wire_add_string(source->wire, raw, literals)) {
		buffer_reset(command);
		ask->answered = true;
		ask->fate = ERR_IMAP_REFUSED;
		snprintf(ask->fate_text, sizeof ask->fate_text,
			 "EXAMINE: the folder's name is not ASCII and the server lacks LITERAL+");
		return OK;
	}
	source->sent_epoch = ask->epoch;
	bytes_copy(source->sent_raw, raw.at, raw.bytes + 1, BYTES_META);
	return send_command(source, COMMAND_EXAMINE, ask, 0);
}

static enum err send_range(struct imap_source *source, struct imap_ask *ask)
{
	enum err e;

	if ((e = send_examine(source, ask)) || ask->answered)
		return e;
	imap_wire_begin(source->wire);
	buffer_addf(&source->wire->command,
		    "UID FETCH %llu:%llu (UID FLAGS INTERNALDATE BODY.PEEK[])",
		    (unsigned long long)ask->first, (unsigned long long)ask->last);
	if ((e = send_command(source, COMMAND_RANGE, ask, 0)))
		return e;
	return imap_wire_flush(source->wire);
}

/* Where messages are judged, they are asked what the filter wants to know of them, and no more:
 * some servers read a message whose size is asked for. Bodies are asked of the wanted ones then. */
static enum err send_survey(struct imap_source *source, struct imap_ask *ask)
{
	enum err e;

	imap_survey_begin(survey_of(source, ask));
	if ((e = send_examine(source, ask)) || ask->answered)
		return e;
	imap_wire_begin(source->wire);
	buffer_addf(&source->wire->command, "UID FETCH %llu:%llu (UID%s%s)",
		    (unsigned long long)ask->first, (unsigned long long)ask->last,
		    filter_wants_dates(source->filter) ? " INTERNALDATE" : "",
		    filter_wants_sizes(source->filter) ? " RFC822.SIZE" : "");
	if ((e = send_command(source, COMMAND_SURVEY, ask, 0)))
		return e;
	return imap_wire_flush(source->wire);
}

/* Where the folder is made of labels its messages are asked of All Mail by their UIDs. */
static bool is_labelled(const struct imap_source *source, const struct imap_ask *ask)
{
	return source->labelled && imap_labelled_is(&source->labelled[ask - source->asks]);
}

/* Ask for the next set of messages: of a folder made of labels, or of those the filter wants. *more
 * is false when there was none left. */
static enum err send_set(struct imap_source *source, struct imap_ask *ask, bool *more)
{
	struct buffer set = { 0 };
	enum err e = OK;

	buffer_add_text(&set, "UID FETCH ");
	*more = is_labelled(source, ask)
			? imap_labelled_set(source->labels,
					    &source->labelled[ask - source->asks], &set)
			: imap_survey_set(survey_of(source, ask), ask->first, ask->last, &set);
	buffer_add_text(&set, " (UID FLAGS INTERNALDATE BODY.PEEK[])");
	if (set.failed)
		e = RAISE(ERR_MEMORY_EXHAUSTED, "asking for messages");
	if (e || !*more || (e = send_examine(source, ask)) || ask->answered)
		goto out;
	imap_wire_begin(source->wire);
	buffer_add(&source->wire->command, set.at, set.bytes);
	if ((e = send_command(source, COMMAND_RANGE, ask, 0)) == OK)
		e = imap_wire_flush(source->wire);
out:
	buffer_free(&set);
	return e;
}

/* A message whose facts came behind a body too large to hold: first the facts, and when they are
 * there, the body. A body that comes before its UID is then taken for this message's, so no other
 * FETCH may be worked on at the same time: each stands alone between two EXAMINEs. */
static enum err send_facts(struct imap_source *source, struct imap_ask *ask)
{
	uint32_t uid = ask->large[ask->large_at];
	enum err e;

	must(ask->large_at < ask->large_count);
	ask->facts_known = false;
	source->sent_raw[0] = '\0'; /* EXAMINE in any case */
	if ((e = send_examine(source, ask)) || ask->answered)
		return e;
	imap_wire_begin(source->wire);
	buffer_addf(&source->wire->command, "UID FETCH %u (UID FLAGS INTERNALDATE)", uid);
	if ((e = send_command(source, COMMAND_FACTS, ask, uid)))
		return e;
	source->sent_raw[0] = '\0';
	return imap_wire_flush(source->wire);
}

/* With nothing in flight the folder that the facts came from is open still, and this is alone. */
static enum err send_large(struct imap_source *source, struct imap_ask *ask)
{
	uint32_t uid = ask->large[ask->large_at];
	enum err e;

	must(ask->large_at < ask->large_count);
	source->sent_raw[0] = '\0';
	if (source->commands_count && ((e = send_examine(source, ask)) || ask->answered))
		return e;
	imap_wire_begin(source->wire);
	buffer_addf(&source->wire->command, "UID FETCH %u (UID BODY.PEEK[])", uid);
	if ((e = send_command(source, COMMAND_LARGE, ask, uid)))
		return e;
	source->sent_raw[0] = '\0';
	return imap_wire_flush(source->wire);
}

static enum err source_ask(struct source *base, const struct box *box, uint64_t first,
			   uint64_t last)
{
	struct imap_source *source = source_of(base);
	struct imap_ask *ask;

	must(source->asks_count < ASKS_MAX);
	if (source->failed)
		return source->failed;
	ask = &source->asks[(source->asks_head + source->asks_count++) % ASKS_MAX];
	source->wire->read_bytes = IMAP_READ_BYTES_HOT;
	if (source->labels) {
		struct imap_labelled *labelled = &source->labelled[ask - source->asks];
		bool more = true;

		imap_labelled_begin(source->labels, labelled, ask, box, first, last);
		if (imap_labelled_is(labelled)) {
			source->failed = send_set(source, ask, &more);
			ask->answered |= !more;
			return source->failed;
		}
	} else {
		imap_ask_begin(ask, box, first, last);
	}
	source->failed = source->filter ? send_survey(source, ask) : send_range(source, ask);
	return source->failed;
}

void imap_source_look_anew(struct source *base)
{
	struct imap_source *source = source_of(base);

	must(source->asks_count == 0);
	source->sent_raw[0] = '\0';
}

struct imap_session *imap_source_session(struct source *base)
{
	struct imap_source *source = source_of(base);

	must(source->asks_count == 0);
	return source->session;
}

/* ---- answers ---- */

/* An answer, or a message that was asked for: anything else is chatter. */
static void note_progress(struct imap_source *source)
{
	source->progress_until = clock_after(CHATTER_TIMEOUTS * source->wire->io_timeout);
}

static struct command *command_at(struct imap_source *source, unsigned index)
{
	return &source->commands[(source->commands_head + index) % COMMANDS_MAX];
}

/* How many commands the server may be working on: those of the folder that is open. An EXAMINE is
 * worked on alone. */
static unsigned commands_at_work(struct imap_source *source)
{
	unsigned count = 0;

	while (count < source->commands_count && command_at(source, count)->kind != COMMAND_EXAMINE)
		count++;
	return count || !source->commands_count ? count : 1;
}

/* Take an answered command out; those before it stay where they are in order. */
static void remove_command(struct imap_source *source, unsigned index)
{
	for (; index > 0; index--)
		*command_at(source, index) = *command_at(source, index - 1);
	source->commands_head = (source->commands_head + 1) % COMMANDS_MAX;
	source->commands_count--;
	source->seen_epoch = 0;
}

static void box_changed(struct imap_source *source, uint64_t epoch, uint64_t listed)
{
	source->box_fate = ERR_SOURCE_EPOCH;
	snprintf(source->box_fate_text, sizeof source->box_fate_text,
		 "EXAMINE: UIDVALIDITY is %llu, and was %llu when the folder was listed",
		 (unsigned long long)epoch, (unsigned long long)listed);
}

/* The folder the server has open from now on, or why it has none. */
static void examined(struct imap_source *source, const struct command *command,
		     const struct imap_status *status)
{
	struct imap_hint hint = imap_hint(status, ERR_IMAP_REFUSED);
	enum err e = hint.error;
	char text[160];

	source->box_hint = hint;
	source->box_fate = e == ERR_IMAP_BAD ? ERR_IMAP_REFUSED : e;
	source->box_fate_text[0] = '\0';
	if (e)
		snprintf(source->box_fate_text, sizeof source->box_fate_text,
			 "EXAMINE: the server says \"%s\"",
			 err_quote(text, sizeof text, status->text));
	else if (source->seen_epoch != command->ask->epoch)
		box_changed(source, source->seen_epoch, command->ask->epoch);
	if (source->box_fate && source->sent_epoch == command->ask->epoch &&
	    strcmp(source->sent_raw, command->ask->raw) == 0)
		source->sent_raw[0] = '\0'; /* asked again, it is examined again */
}

/* "OK [THROTTLED]": it was done, and the next shall come later (Gmail). */
static void heed(struct imap_source *source, const struct imap_status *status)
{
	const struct account *account = imap_session_account(source->session);

	if (status->state == IMAP_OK && imap_text_is(status->code, "THROTTLED") && account->govern)
		govern_throttled(account->govern, ERR_OF_ACCOUNT, clock_now());
}

static void end_fetch(struct imap_source *source, const struct command *command,
		      const struct imap_status *status)
{
	struct imap_ask *ask = command->ask;

	heed(source, status);
	if (!ask->fate && source->box_fate) {
		ask->fate = source->box_fate;
		ask->hint = source->box_hint;
		bytes_copy(ask->fate_text, source->box_fate_text, sizeof ask->fate_text,
			   BYTES_META);
		return;
	}
	imap_ask_status(ask, status);
	if (command->kind == COMMAND_RANGE)
		imap_ask_check(ask);
	if (command->kind == COMMAND_SURVEY && !ask->fate) {
		imap_survey_end(survey_of(source, ask));
		if (survey_of(source, ask)->full)
			imap_ask_crowded(ask);
	}
	if (command->kind == COMMAND_LARGE && command->uid)
		imap_ask_large_missing(ask);
}

/* A range is answered when its FETCH is and each of its large messages was asked for again. */
static enum err after_fetch(struct imap_source *source, const struct command *command)
{
	struct imap_ask *ask = command->ask;
	bool more;
	enum err e;

	if (!ask->fate && (source->filter || is_labelled(source, ask)) &&
	    (command->kind == COMMAND_SURVEY || command->kind == COMMAND_RANGE) &&
	    ((e = send_set(source, ask, &more)) || more))
		return e;
	if (command->kind == COMMAND_LARGE)
		ask->large_at++;
	if (!ask->fate && command->kind == COMMAND_FACTS)
		return send_large(source, ask);
	if (!ask->fate && ask->large_at < ask->large_count)
		return send_facts(source, ask);
	ask->answered = true;
	return OK;
}

/* Only while the body of a large message is all that is asked for, one without UID is its own. */
static void expect_large(struct imap_source *source)
{
	const struct command *head = head_command(source);

	if (head && head->kind == COMMAND_LARGE && head->ask->facts_known)
		imap_fetch_expect(source->fetch, head->uid, &head->ask->facts);
	else
		imap_fetch_expect(source->fetch, 0, NULL);
}

static enum err take_tagged(struct imap_source *source, const struct imap_event *event)
{
	unsigned at_work = commands_at_work(source), index = 0;
	struct command command;
	enum err e;

	while (index < at_work && command_at(source, index)->tag != event->tag)
		index++;
	if (index == at_work)
		return RAISE(ERR_IMAP_SYNTAX, "an answer to a command we did not send");
	command = *command_at(source, index);
	if (command.kind == COMMAND_EXAMINE)
		examined(source, &command, &event->status);
	else
		end_fetch(source, &command, &event->status);
	remove_command(source, index);
	if (command.kind != COMMAND_EXAMINE && (e = after_fetch(source, &command)))
		return e;
	expect_large(source);
	return OK;
}

static enum err take_status(struct imap_source *source, const struct imap_event *event)
{
	struct command *head = head_command(source);
	struct imap_scan scan = imap_scan_of(event->status.argument);
	uint64_t number;

	if (event->status.state == IMAP_BYE)
		return imap_status_raise(&event->status, ERR_IMAP_BYE,
					 imap_session_account(source->session)->shown);
	heed(source, &event->status);
	if (!head || !imap_text_is(event->status.code, "UIDVALIDITY") ||
	    !imap_scan_number(&scan, UINT32_MAX, &number))
		return OK;
	if (head->kind == COMMAND_EXAMINE)
		source->seen_epoch = number;
	else if (!source->box_fate && number != head->ask->epoch)
		box_changed(source, number, head->ask->epoch); /* while it was being read */
	return OK;
}

/* Ranges of folders made of labels have UIDs between each other's, and where a message is in
 * several folders the same. */
static bool waits_for(const struct imap_source *source, const struct imap_ask *ask, uint32_t uid)
{
	return !is_labelled(source, ask) ||
	       imap_labelled_waits_for(source->labels, &source->labelled[ask - source->asks], ask,
				       uid);
}

/* Which of the commands at work asked for this message; NULL: none. */
static struct command *asked_by(struct imap_source *source, uint32_t uid)
{
	unsigned at_work = commands_at_work(source);

	if (!uid || source->box_fate)
		return NULL;
	for (unsigned i = 0; i < at_work; i++) {
		struct command *command = command_at(source, i);

		if (command->kind == COMMAND_RANGE && uid >= command->ask->first &&
		    uid <= command->ask->last && waits_for(source, command->ask, uid))
			return command;
		if (command->kind == COMMAND_LARGE && uid == command->uid)
			return command;
	}
	return NULL;
}

static void fill_item(const struct imap_ask *ask, const struct imap_event *event, struct item *item)
{
	item->kind = ITEM_MESSAGE;
	item->box_no = ask->box_no;
	item->no = event->uid;
	item->range_first = ask->first;
	item->range_last = ask->last;
	item->size_bytes = event->size_bytes;
	item->meta = *event->meta;
	item->body = event->body;
	item->fate = OK;
	if (!event->body) {
		item->fate = event->too_large ? ERR_SOURCE_SIZE : ERR_IMAP_MSG_REFUSED;
		item->size_bytes = event->too_large ? event->size_bytes : SIZE_UNKNOWN;
	}
}

/* Its labels as they were when the folders were listed. */
static void add_keywords(const struct imap_source *source, const struct imap_ask *ask,
			 struct item *item)
{
	if (is_labelled(source, ask))
		gmail_labels_add_keywords(source->labels,
					  source->labelled[ask - source->asks].folder,
					  (uint32_t)item->no, &item->meta);
}

/* The next message that was judged when the labels were read, and is not wanted. */
static bool take_unwanted(struct imap_source *source, const struct imap_ask *ask, struct item *item)
{
	uint32_t uid = is_labelled(source, ask)
			       ? imap_labelled_unwanted(source->labels,
							&source->labelled[ask - source->asks])
			       : 0;

	if (!uid)
		return false;
	*item = (struct item){ .kind = ITEM_MESSAGE,
			       .box_no = ask->box_no,
			       .no = uid,
			       .range_first = ask->first,
			       .range_last = ask->last,
			       .size_bytes = SIZE_UNKNOWN,
			       .fate = ERR_SOURCE_FILTERED };
	return true;
}

/* Whose it is cannot be known, but then no range may pass for complete that it may belong to. */
static void take_unnamed(struct imap_source *source)
{
	unsigned at_work = commands_at_work(source);

	for (unsigned i = 0; i < at_work; i++)
		if (command_at(source, i)->kind == COMMAND_RANGE)
			imap_ask_unnamed(command_at(source, i)->ask);
}

static enum err take_message(struct imap_source *source, const struct imap_event *event,
			     struct item *item, bool *taken)
{
	struct command *command = asked_by(source, event->uid);
	bool first;
	enum err e;

	if (!event->uid && !source->box_fate)
		take_unnamed(source);
	if (!command)
		return OK;
	if (command->kind == COMMAND_RANGE &&
	    ((e = imap_ask_body(command->ask, event->uid, &first)) || !first))
		return e;
	note_progress(source);
	if (event->too_large && command->kind == COMMAND_RANGE) {
		imap_ask_large(command->ask, event->uid);
		return OK;
	}
	fill_item(command->ask, event, item);
	add_keywords(source, command->ask, item);
	if (command->kind == COMMAND_LARGE)
		command->uid = 0; /* a second one is nobody's */
	*taken = true;
	return OK;
}

/* What the filter wanted to know. Not in doubt: a message whose facts are missing is asked for, and
 * judged when it comes. */
static enum err take_surveyed(struct imap_source *source, const struct imap_event *event,
			      struct item *item, bool *taken)
{
	unsigned at_work = commands_at_work(source);
	struct imap_ask *ask = NULL;
	enum err e;

	for (unsigned i = 0; i < at_work && event->uid && !source->box_fate; i++)
		if (command_at(source, i)->kind == COMMAND_SURVEY &&
		    event->uid >= command_at(source, i)->ask->first &&
		    event->uid <= command_at(source, i)->ask->last)
			ask = command_at(source, i)->ask;
	if (!ask)
		return OK;
	if (filter_takes_message(source->filter, &event->meta->date, event->told_bytes)) {
		imap_survey_note(survey_of(source, ask), event->uid, true);
		return OK;
	}
	imap_survey_note(survey_of(source, ask), event->uid, false);
	if ((e = imap_ask_body(ask, event->uid, taken)) || !*taken)
		return e;
	note_progress(source);
	fill_item(ask, event, item);
	item->fate = ERR_SOURCE_FILTERED;
	item->size_bytes = event->told_bytes;
	return OK;
}

/* Facts that were asked for; or flags that changed, or a message whose body is left out, which
 * look the same. */
static void take_facts(struct imap_source *source, const struct imap_event *event)
{
	struct command *head = head_command(source), *command = asked_by(source, event->uid);

	if (command && command->kind == COMMAND_RANGE)
		imap_ask_bare(command->ask, event->uid);
	if (!head || head->kind != COMMAND_FACTS || head->uid != event->uid)
		return;
	head->ask->facts = *event->meta;
	head->ask->facts_known = true;
}

static enum err take_event(struct imap_source *source, const struct imap_event *event,
			   struct item *item, bool *taken)
{
	switch (event->kind) {
	case IMAP_EVENT_MESSAGE:
		return take_message(source, event, item, taken);
	case IMAP_EVENT_FACTS:
		take_facts(source, event);
		return source->filter ? take_surveyed(source, event, item, taken) : OK;
	case IMAP_EVENT_TAGGED:
		note_progress(source);
		return take_tagged(source, event);
	case IMAP_EVENT_STATUS:
		return take_status(source, event);
	case IMAP_EVENT_VANISHED:
	case IMAP_EVENT_OTHER:
		break;
	}
	return OK;
}

static enum err next_event(struct imap_source *source, struct item *item, bool *taken)
{
	struct imap_event event;
	enum err e;

	must(source->commands_count > 0); /* an unanswered range has a command in flight */
	if (clock_now() > source->progress_until)
		return RAISE(ERR_NET_TIMEOUT,
			     "FETCH: the server talks and talks but sends no message");
	if ((e = imap_fetch_next(source->fetch, &event)))
		return e;
	return take_event(source, &event, item, taken);
}

static void range_done(struct imap_source *source, struct imap_ask *ask, struct item *item)
{
	item->kind = ITEM_RANGE_DONE;
	item->box_no = ask->box_no;
	item->no = 0;
	item->range_first = ask->first;
	item->range_last = ask->last;
	item->size_bytes = SIZE_UNKNOWN;
	item->body = NULL;
	item->fate = ask->fate;
	if (ask->fate) { /* the note, for who reports the fate */
		err_retry_after(ask->hint.retry_after, ask->hint.scope);
		(void)RAISE(ask->fate, "%s", ask->fate_text);
	}
	source->asks_head = (source->asks_head + 1) % ASKS_MAX;
	source->asks_count--;
}

static enum err source_next(struct source *base, struct item *item)
{
	struct imap_source *source = source_of(base);
	bool taken = false;
	struct imap_ask *ask;

	note_progress(source);
	while (!source->failed && !taken && (ask = head_ask(source)) != NULL) {
		if (take_unwanted(source, ask, item))
			return OK;
		taken = ask->answered;
		if (ask->answered)
			range_done(source, ask, item);
		else
			source->failed = next_event(source, item, &taken);
	}
	return source->failed ? source->failed : taken ? OK : ERR_PIPE_ENDED;
}

static enum err source_finish(struct source *base, nsec until)
{
	struct imap_source *source = source_of(base);

	/* In the middle of answers, or after an error, there is nothing to wait for. */
	if (source->failed || source->asks_count)
		return OK;
	return imap_session_finish(source->session, until);
}

const struct source_driver imap_source = {
	.scheme = "imaps",
	.open = source_open,
	.recalls = source_recalls,
	.recall = source_recall,
	.list = source_list,
	.scan = source_scan,
	.found = source_found,
	.ask = source_ask,
	.next = source_next,
	.finish = source_finish,
	.close = source_close,
	.asks_max = ASKS_MAX,
};
