/* One conversation with the destination: a fiber that sends published parcels, and one that takes
 * the answers. A parcel is one MULTIAPPEND where the server has it; a refused one is sent again in
 * halves, down to the message that the server does not want. */
#include <stdlib.h>

#include "engine/govern.h"
#include "engine/log.h"
#include "transport/imap_sink_state.h"
#include "transport/imap_wrap.h"
#include "transport/provider.h"

bool imap_link_is_idle(const struct imap_link *link)
{
	return !link->busy && link->sent_count == 0 && !link->again;
}

/* ---- sending ---- */

static void no_more(struct imap_link *link, enum err e)
{
	link->is_dead = true;
	link->busy = NULL;
	imap_sink_breaks(link->sink, e);
}

/* Waits for room among the acts on their way. */
static enum err wait_for_room(struct imap_link *link)
{
	enum err e = OK;

	while (!e && !link->is_dead && !imap_append_has_room(link->append))
		e = wait_on(&link->sink->changed, DEADLINE_NEVER);
	return e ? e : link->is_dead ? imap_sink_is_broken(link->sink) : OK;
}

static enum err send_body(struct imap_append_act *act, struct imap_parcel *parcel,
			  const struct imap_message *message)
{
	const uint8_t *from;
	size_t got;
	enum err e = OK;

	for (uint64_t at = 0; !e && at < message->record.size_bytes; at += got) {
		if (imap_append_is_off(act))
			return OK;
		if ((e = imap_parcel_read(parcel, message, at, &from, &got)) == OK)
			e = imap_append_bytes(act, from, got);
	}
	return e;
}

static enum err send_message(const struct imap_link *link, struct imap_append_act *act,
			     struct imap_parcel *parcel, const struct imap_message *message,
			     struct mail_meta *meta)
{
	bool wrap = message->wrap;
	struct imap_append_left_out left_out;
	enum err e;

	imap_parcel_meta(parcel, message, meta);
	e = imap_append_message(act, meta,
				wrap ? message->wrapped_bytes : message->record.size_bytes,
				!wrap && message->oddities & LIKENESS_NUL, &left_out);
	if (left_out.keywords || left_out.date)
		log_event(LOG_WARN, "imap.left_out", "message=%llu keywords=%u date=%d",
			  (unsigned long long)message->record.no, left_out.keywords, left_out.date);
	if (!e && wrap)
		return imap_wrap_send(act, parcel, message, link->sink->config.digest->name);
	return e ? e : send_body(act, parcel, message);
}

static void note_sent(struct imap_link *link, const struct imap_sent *sent)
{
	must(link->sent_count < IMAP_APPENDS_MAX);
	link->sent[(link->sent_head + link->sent_count++) % IMAP_APPENDS_MAX] = *sent;
	wake_all(&link->sink->changed);
}

/* One command. An answer that comes before its end waits in the act until it is noted. */
static enum err send_act(struct imap_link *link, struct imap_parcel *parcel, unsigned first,
			 unsigned count, struct mail_meta *meta)
{
	struct imap_sent sent = { .parcel = parcel, .first = first, .count = count };
	enum err e = wait_for_room(link);

	sent.uid_floor = imap_group_uid_floor(parcel->place->owner);
	if (!e)
		e = imap_append_begin(link->append, parcel->place->raw, &sent.act);
	if (e == ERR_IMAP_REFUSED) { /* the name cannot be said */
		imap_sink_refuse(link->sink, parcel->place, ERR_SINK_BOX, err_note()->text);
		err_note_clear();
		imap_parcel_return(parcel, first, count);
		return OK;
	}
	if (e)
		return e;
	for (unsigned i = 0; i < count && e == OK && !imap_append_is_off(sent.act); i++)
		e = send_message(link, sent.act, parcel, &parcel->messages[first + i], meta);
	if (!e)
		e = imap_append_end(sent.act);
	if (!e)
		note_sent(link, &sent);
	return e;
}

/* An empty message is alone in its act. */
static unsigned act_length(const struct imap_link *link, const struct imap_parcel *parcel,
			   unsigned first, unsigned count)
{
	unsigned n = 1;

	if (!(imap_session_capabilities(link->session) & IMAP_HAS_MULTIAPPEND) ||
	    parcel->messages[first].record.size_bytes == 0)
		return 1;
	while (n < count && parcel->messages[first + n].record.size_bytes > 0)
		n++;
	return n;
}

/* NUL goes as literal8 only (RFC 9051 section 4.3). */
static bool has_nul_in_vain(const struct imap_link *link, const struct imap_message *message)
{
	return (message->oddities & LIKENESS_NUL) &&
	       !(imap_session_capabilities(link->session) & IMAP_HAS_BINARY);
}

/* Oddities of messages that this server alters, as is known of its kind or was seen. */
static unsigned altered_here(const struct imap_link *link)
{
	unsigned quirks = imap_session_provider(link->session)->quirks;

	return link->sink->altered |
	       (quirks & PROVIDER_ALTERS_8BIT_HEADERS ? LIKENESS_8BIT_HEADER : 0);
}

/* Which of them go wrapped, and how large they are then. */
static enum err choose_forms(const struct imap_link *link, struct imap_parcel *parcel,
			     unsigned first, unsigned count)
{
	const struct sink_config *config = &link->sink->config;
	unsigned altered = config->wrap == SINK_WRAP_ODD ? altered_here(link) : 0;
	enum err e = OK;

	for (unsigned i = first; i < first + count && !e; i++) {
		struct imap_message *message = &parcel->messages[i];

		message->wrap |= message->oddities & altered ||
				 (config->wrap && has_nul_in_vain(link, message));
		if (message->wrap && !message->wrapped_bytes)
			e = imap_wrap_measure(parcel, message, config->digest->name);
	}
	return e;
}

/* What the server will not store as it is: NUL in vain, more bytes than it says it takes. */
static enum err is_hopeless(const struct imap_link *link, const struct imap_message *message)
{
	if (message->wrap)
		return message->wrapped_bytes > link->sink->append_limit ? ERR_SINK_TOOBIG : OK;
	if (has_nul_in_vain(link, message))
		return ERR_SINK_REFUSED;
	return message->record.size_bytes > link->sink->append_limit ? ERR_SINK_TOOBIG : OK;
}

static enum err send_messages(struct imap_link *link, struct imap_parcel *parcel, unsigned first,
			      unsigned count)
{
	struct mail_meta *meta = malloc(sizeof *meta);
	unsigned last = first + count, n;
	enum err e = meta ? OK : RAISE(ERR_MEMORY_EXHAUSTED, "sending messages"), hopeless;

	if (!e)
		e = choose_forms(link, parcel, first, count);
	for (unsigned at = first; at < last && e == OK; at += n) {
		n = 1;
		if ((hopeless = is_hopeless(link, &parcel->messages[at])) != OK) {
			imap_parcel_settle(parcel, at, IMAP_MESSAGE_REFUSED, hopeless);
			continue;
		}
		while (at + n < last && !is_hopeless(link, &parcel->messages[at + n]))
			n++;
		n = act_length(link, parcel, at, n);
		e = send_act(link, parcel, at, n, meta);
	}
	free(meta);
	return e;
}

/* All its messages have their fates, if this was the last one. */
static void look_whether_answered(struct imap_sink *sink, struct imap_parcel *parcel)
{
	if (parcel->open == 0 && parcel->state == IMAP_PARCEL_SENDING)
		parcel->state = IMAP_PARCEL_ANSWERED;
	wake_all(&sink->changed);
}

struct imap_parcel *imap_link_next_published(const struct imap_sink *sink)
{
	for (struct imap_parcel *parcel = sink->queue; parcel; parcel = parcel->next)
		if (parcel->state == IMAP_PARCEL_PUBLISHED)
			return parcel;
	return NULL;
}

static enum err send_parcel(struct imap_link *link, struct imap_parcel *parcel)
{
	enum err e = OK;

	parcel->state = IMAP_PARCEL_SENDING;
	parcel->uid_from = imap_group_uid_floor(parcel->place->owner) + 1;
	if (parcel->place->fate)
		imap_parcel_return(parcel, 0, parcel->count - parcel->found);
	else
		e = send_messages(link, parcel, 0, parcel->count - parcel->found);
	return e;
}

static enum err send_again(struct imap_link *link, struct imap_again *again)
{
	struct imap_parcel *parcel = again->parcel;
	unsigned first = again->first, count = again->count;

	link->again = again->next;
	free(again);
	if (!parcel->place->fate && !link->sink->broken.error)
		return send_messages(link, parcel, first, count);
	imap_parcel_return(parcel, first, count);
	return OK;
}

/* Whatever is next, what was refused in one before what is new; NULL: nothing. */
static struct imap_parcel *next_parcel(const struct imap_link *link)
{
	const struct imap_sink *sink = link->sink;

	if (link->again)
		return link->again->parcel;
	return sink->is_paused || sink->broken.error ? NULL : imap_link_next_published(sink);
}

static enum err send_next(struct imap_link *link, struct imap_parcel *parcel)
{
	enum err e;

	link->busy = parcel;
	e = link->again ? send_again(link, link->again) : send_parcel(link, parcel);
	link->busy = NULL;
	look_whether_answered(link->sink, parcel);
	return e;
}

/* What is larger is refused for certain. */
static uint64_t size_limit(const struct imap_session *session)
{
	uint64_t known = imap_session_provider(session)->message_bytes_max;

	return min_u64(imap_session_append_limit(session),
		       known ? known : IMAP_APPEND_LIMIT_UNKNOWN);
}

/* One conversation keeps a server busy, but where it has to wait for "+" before each message. */
static unsigned links_worth(const struct imap_sink *sink, const struct imap_session *session)
{
	unsigned most = sink->config.connections ? sink->config.connections : IMAP_LINKS_MAX;

	if (imap_session_capabilities(session) & IMAP_HAS_LITERAL_PLUS_LARGE)
		return 1;
	return provider_connections(imap_session_provider(session),
				    (unsigned)min_u64(most, IMAP_LINKS_MAX));
}

/* The first link lists the folders. */
static enum err open_link(struct imap_link *link)
{
	struct imap_sink *sink = link->sink;
	const struct account *account = sink->account;
	nsec until = clock_after(account->connect_timeout + account->io_timeout);
	enum err e = imap_session_open_to_change(account, until, &link->session);

	if (!e && link == &sink->links[0]) {
		sink->links_max = links_worth(sink, link->session);
		sink->append_limit = size_limit(link->session);
		imap_session_wire(link->session)->until = clock_after(10 * account->io_timeout);
		e = imap_places_open(link->session, &sink->places);
	}
	if (!e) {
		imap_session_wire(link->session)->until = DEADLINE_NEVER;
		e = imap_append_open(link->session, &link->append);
	}
	wake_all(&sink->changed);
	return e;
}

static enum err send_loop(struct imap_link *link)
{
	struct imap_parcel *parcel;
	enum err e = OK;

	while (!e && !link->is_dead && !link->sink->is_over) {
		if ((parcel = next_parcel(link)) != NULL) {
			e = send_next(link, parcel);
			continue;
		}
		if (link->sink->broken.error && imap_link_is_idle(link))
			break;
		e = wait_on(&link->sink->changed, DEADLINE_NEVER);
	}
	return e;
}

enum err imap_link_send(void *argument)
{
	struct imap_link *link = argument;
	enum err e = open_link(link);

	/* A further one that the server does not grant is not missed. */
	if (e && link != &link->sink->links[0] && !fiber_canceled()) {
		log_error(LOG_INFO, "imap.fewer_connections", e);
		err_note_clear();
		link->sink->links_max = 1;
		link->is_dead = true;
	} else if (!e) {
		e = send_loop(link);
	}
	if (e && !link->is_dead)
		no_more(link, e);
	link->is_sending = false;
	wake_all(&link->sink->changed);
	return OK;
}

/* ---- answers ---- */

static void take_uids(struct imap_link *link, struct imap_parcel *parcel,
		      const struct imap_sent *sent, const struct imap_appended *answer)
{
	bool is_told = answer->uidvalidity == parcel->place->uidvalidity;
	uint32_t first = is_told ? imap_appended_uid(answer, 0) : 0,
		 last = is_told ? imap_appended_uid(answer, sent->count - 1) : 0;

	is_told = imap_group_note_uids(parcel->place->owner, sent->uid_floor, first, last,
				       sent->count);
	for (unsigned i = 0; i < sent->count; i++) {
		struct imap_message *message = &parcel->messages[sent->first + i];

		message->uid = is_told ? imap_appended_uid(answer, i) : 0;
		imap_parcel_settle(parcel, sent->first + i, IMAP_MESSAGE_STORED, OK);
		imap_recover_note_stored(link->sink, parcel->place, &message->record);
	}
}

static enum err again(struct imap_link *link, struct imap_parcel *parcel, unsigned first,
		      unsigned count)
{
	struct imap_again **at = &link->again;
	struct imap_again *new = calloc(1, sizeof *new);

	if (!new)
		return RAISE(ERR_MEMORY_EXHAUSTED, "sending messages again");
	*new = (struct imap_again){ .parcel = parcel, .first = first, .count = count };
	while (*at)
		at = &(*at)->next;
	*at = new;
	return OK;
}

/* Not of this message, but of all that would go into the folder. */
static bool is_of_folder(const struct imap_appended *answer)
{
	return answer->hint.error == ERR_SINK_QUOTA || answer->hint.error == ERR_IMAP_BOX_GONE ||
	       strcmp(answer->code, "NOPERM") == 0 || strcmp(answer->code, "READ-ONLY") == 0;
}

/* Nothing of it is stored, so it may come once more, inside another one. */
static enum err wrap_refused(struct imap_link *link, const struct imap_sent *sent,
			     const struct imap_appended *answer)
{
	struct imap_message *message = &sent->parcel->messages[sent->first];

	log_event(LOG_INFO, "imap.wrapped", "message=%llu error=%s code=%s !said=\"%s\"",
		  (unsigned long long)message->record.no, err_name(answer->hint.error),
		  answer->code, answer->text);
	message->wrap = true;
	message->keywords_left_out = false; /* it was not for them */
	return again(link, sent->parcel, sent->first, 1);
}

static enum err refuse_message(struct imap_link *link, const struct imap_sent *sent,
			       const struct imap_appended *answer)
{
	struct imap_message *message = &sent->parcel->messages[sent->first];

	/* A server may dislike the keywords (RFC 9051 section 2.3.2: they may be forbidden). */
	if (message->keywords_bytes && !message->keywords_left_out &&
	    answer->hint.error == ERR_SINK_REFUSED) {
		message->keywords_left_out = true;
		return again(link, sent->parcel, sent->first, 1);
	}
	if (link->sink->config.wrap && !message->wrap && answer->hint.error == ERR_SINK_REFUSED)
		return wrap_refused(link, sent, answer);
	log_event(LOG_WARN, "imap.refused", "message=%llu error=%s code=%s !said=\"%s\"",
		  (unsigned long long)message->record.no, err_name(answer->hint.error),
		  answer->code, answer->text);
	imap_parcel_settle(sent->parcel, sent->first, IMAP_MESSAGE_REFUSED, answer->hint.error);
	return OK;
}

/* Nothing of the act is stored. */
static enum err take_refusal(struct imap_link *link, const struct imap_sent *sent,
			     const struct imap_appended *answer)
{
	enum err e = answer->hint.error;
	unsigned half = sent->count / 2;

	if (err_retry_class(e) == RETRY_BACKOFF) {
		imap_parcel_return(sent->parcel, sent->first, sent->count);
		imap_sink_breaks(link->sink, imap_appended_raise(answer, "APPEND"));
		return OK;
	}
	if (is_of_folder(answer)) {
		imap_parcel_return(sent->parcel, sent->first, sent->count);
		if (imap_appended_raise(answer, "APPEND"))
			imap_sink_refuse(link->sink, sent->parcel->place,
					 e == ERR_SINK_QUOTA ? e : ERR_SINK_BOX, err_note()->text);
		err_note_clear();
		return OK;
	}
	if (sent->count == 1)
		return refuse_message(link, sent, answer);
	if ((e = again(link, sent->parcel, sent->first, half)) == OK)
		e = again(link, sent->parcel, sent->first + half, sent->count - half);
	return e;
}

static enum err hear_one(struct imap_link *link)
{
	struct imap_sent sent = link->sent[link->sent_head];
	struct imap_appended answer;
	enum err e = imap_append_answer(sent.act, &answer);

	if (e)
		return e;
	link->sent_head = (link->sent_head + 1) % IMAP_APPENDS_MAX;
	link->sent_count--;
	/* Gmail: it was stored, and the next shall come later. */
	if (answer.granted && strcmp(answer.code, "THROTTLED") == 0 && link->sink->account->govern)
		govern_throttled(link->sink->account->govern, ERR_OF_ACCOUNT, clock_now());
	if (answer.granted)
		take_uids(link, sent.parcel, &sent, &answer);
	else
		e = take_refusal(link, &sent, &answer);
	if (link->busy != sent.parcel)
		look_whether_answered(link->sink, sent.parcel);
	wake_all(&link->sink->changed);
	return e;
}

/* Until the sender has ended and everything is answered. */
static enum err hear_loop(struct imap_link *link)
{
	enum err e = OK;

	while (!e && (link->is_sending || link->sent_count) && !link->is_dead) {
		if (link->sent_count) {
			e = hear_one(link);
			continue;
		}
		e = wait_on(&link->sink->changed, DEADLINE_NEVER);
	}
	return e;
}

enum err imap_link_hear(void *argument)
{
	struct imap_link *link = argument;
	enum err e = hear_loop(link);

	if (e)
		no_more(link, e);
	link->is_hearing = false;
	wake_all(&link->sink->changed);
	return OK;
}

void imap_link_close(struct imap_link *link)
{
	struct imap_again *next;

	for (; link->again; link->again = next) {
		next = link->again->next;
		free(link->again);
	}
	imap_append_close(&link->append);
	imap_session_close(&link->session);
}
