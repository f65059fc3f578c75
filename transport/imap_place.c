/* See imap_place.h. */
#include "transport/imap_place.h"

#include <stdio.h>

enum { CREATE, SUBSCRIBE, STATUS, VERBS };

void imap_place_refuse(struct imap_place *place, enum err fate, const char *why)
{
	if (place->fate)
		return;
	place->fate = fate;
	snprintf(place->why, sizeof place->why, "%s", why);
}

/* ---- saying ---- */

static const char status_items[] = " (MESSAGES UIDNEXT UIDVALIDITY)";

/* *tag 0: there is no way to say the name, which is 8-bit, without LITERAL+. */
static enum err say(struct imap_session *session, const char *verb, const char *raw,
		    const char *rest, unsigned *tag)
{
	struct imap_wire *wire = imap_session_wire(session);
	bool literals = imap_session_capabilities(session) & IMAP_HAS_LITERAL_PLUS;

	*tag = imap_wire_begin(wire);
	buffer_addf(&wire->command, "%s ", verb);
	if (!imap_wire_add_string(wire, text_of(raw), literals)) {
		buffer_reset(&wire->command);
		*tag = 0;
		return OK;
	}
	buffer_add_text(&wire->command, rest);
	return imap_wire_send(wire);
}

/* Attributes of RFC 6154: "\Sent". */
static const char *use_argument(enum box_use use, char to[40])
{
	const char *name = box_use_name(use);

	to[0] = '\0';
	if (use != BOX_USE_NONE)
		snprintf(to, 40, " (USE (\\%c%s))", name[0] & ~0x20, name + 1);
	return to;
}

static enum err send_errand(struct imap_flight *flight, struct imap_errand *errand)
{
	const char *raw = errand->place->raw;
	char use[40];
	enum err e = OK;

	if (errand->create)
		e = say(flight->session, "CREATE", raw, use_argument(errand->use, use),
			&errand->tags[CREATE]);
	if (!e && errand->subscribe)
		e = say(flight->session, "SUBSCRIBE", raw, "", &errand->tags[SUBSCRIBE]);
	if (!e && errand->create)
		e = say(flight->session, "STATUS", raw, status_items, &errand->tags[STATUS]);
	for (unsigned verb = 0; verb < VERBS; verb++)
		flight->open += errand->tags[verb] != 0;
	return e;
}

static enum err send_flight(struct imap_flight *flight)
{
	enum err e = OK;

	for (unsigned i = 0; i < flight->count && e == OK; i++)
		e = send_errand(flight, &flight->errands[i]);
	return e ? e : imap_wire_flush(imap_session_wire(flight->session));
}

/* "STATUS" SP mailbox SP "(" items ")" for this folder: RFC 9051 section 7.3.4. */
static void take_status(struct imap_place *place, struct text reply)
{
	struct imap_scan scan = imap_scan_of(reply);
	char name[2 * BOX_NAME_BYTES_MAX];
	struct text item;
	uint64_t number;
	size_t bytes;

	if (!imap_scan_word(&scan, "STATUS") || !imap_scan_char(&scan, ' ') ||
	    !imap_scan_astring(&scan, name, sizeof name, &bytes) || !imap_scan_char(&scan, ' ') ||
	    !imap_scan_char(&scan, '('))
		return;
	if (!text_equal((struct text){ name, bytes }, text_of(place->raw)) &&
	    !(imap_text_is((struct text){ name, bytes }, "INBOX") &&
	      imap_text_is(text_of(place->raw), "INBOX")))
		return;
	while (imap_scan_atom(&scan, &item) && imap_scan_char(&scan, ' ') &&
	       imap_scan_number(&scan, UINT32_MAX, &number)) {
		if (imap_text_is(item, "UIDNEXT"))
			place->uidnext = (uint32_t)number;
		else if (imap_text_is(item, "UIDVALIDITY"))
			place->uidvalidity = (uint32_t)number;
		else if (imap_text_is(item, "MESSAGES"))
			place->messages = (uint32_t)number;
		imap_scan_char(&scan, ' ');
	}
}

/* A refused CREATE or SUBSCRIBE concerns the folder; what is wider ends the flight. */
static enum err take_refusal(struct imap_errand *errand, const struct imap_status *status)
{
	struct imap_hint hint = imap_hint(status, ERR_IMAP_REFUSED);
	char text[120];

	if (hint.error == ERR_IMAP_THROTTLED || hint.error == ERR_IMAP_UNAVAILABLE)
		return imap_status_raise(status, ERR_IMAP_REFUSED, "CREATE");
	errand->refused = ERR_SINK_BOX;
	errand->taken = imap_text_is(status->code, "ALREADYEXISTS") || status->code.bytes == 0;
	snprintf(errand->why, sizeof errand->why, "CREATE: the server says \"%s\"",
		 err_quote(text, sizeof text, status->text));
	return OK;
}

static enum err take_answer(struct imap_flight *flight, const struct imap_reply *reply)
{
	for (unsigned i = 0; i < flight->count; i++) {
		struct imap_errand *errand = &flight->errands[i];

		for (unsigned verb = 0; verb < VERBS; verb++) {
			if (!errand->tags[verb] || errand->tags[verb] != reply->tag)
				continue;
			errand->tags[verb] = 0;
			flight->open--;
			return verb == CREATE && reply->status.state != IMAP_OK
				       ? take_refusal(errand, &reply->status)
				       : OK;
		}
	}
	return RAISE(ERR_IMAP_SYNTAX, "an answer to nothing we asked");
}

static enum err hear_flight(struct imap_flight *flight)
{
	struct imap_reply reply;
	enum err e;

	while (flight->open) {
		if ((e = imap_session_reply(flight->session, &reply)))
			return e;
		if (reply.kind == IMAP_CONTINUE)
			return RAISE(ERR_IMAP_SYNTAX, "\"+\" to nothing we asked");
		if (reply.kind == IMAP_TAGGED && (e = take_answer(flight, &reply)))
			return e;
		for (unsigned i = 0; reply.kind == IMAP_UNTAGGED && i < flight->count; i++)
			take_status(flight->errands[i].place, reply.text);
	}
	return OK;
}

/* Created, or there in spite of the refusal: its STATUS says. */
static void conclude(struct imap_errand *errand)
{
	struct imap_place *place = errand->place;

	place->was_taken = errand->taken && !place->is_there;
	place->is_there |= place->uidvalidity && place->uidnext;
	if (place->is_there)
		return;
	imap_place_refuse(place, ERR_SINK_BOX,
			  errand->refused ? errand->why
					  : "it was created, but the server says nothing of it");
}

static enum err fly(struct imap_flight *flight)
{
	enum err e = send_flight(flight);

	return e ? e : hear_flight(flight);
}

/* What was refused with a use: "[USEATTR]", or the server offers what it does not do. */
static bool ask_without_use(struct imap_errand *errand)
{
	if (!errand->refused || !errand->use || errand->place->uidvalidity)
		return false;
	*errand = (struct imap_errand){ .place = errand->place, .create = true };
	return true;
}

enum err imap_flight_run(struct imap_flight *flight)
{
	bool again = false;
	enum err e;

	if (!flight->count)
		return OK;
	if ((e = fly(flight)))
		return e;
	for (unsigned i = 0; i < flight->count; i++) {
		struct imap_errand *errand = &flight->errands[i];

		if (ask_without_use(errand))
			again = true;
		else
			errand->create = errand->subscribe = false;
	}
	if (again && (e = fly(flight)))
		return e;
	for (unsigned i = 0; i < flight->count; i++)
		conclude(&flight->errands[i]);
	flight->count = 0;
	return OK;
}

/* ---- asking ---- */

enum err imap_place_status(struct imap_session *session, struct imap_place *place)
{
	struct imap_status status = { .state = IMAP_OK };
	struct imap_reply reply;
	unsigned tag;
	enum err e;

	place->uidvalidity = place->uidnext = place->messages = 0;
	if ((e = say(session, "STATUS", place->raw, status_items, &tag)))
		return e;
	if (!tag)
		return RAISE(ERR_IMAP_REFUSED, "STATUS: the folder's name cannot be said");
	if ((e = imap_wire_flush(imap_session_wire(session))))
		return e;
	do {
		if ((e = imap_session_reply(session, &reply)))
			return e;
		if (reply.kind == IMAP_CONTINUE || (reply.kind == IMAP_TAGGED && reply.tag != tag))
			return RAISE(ERR_IMAP_SYNTAX, "an answer to nothing we asked");
		if (reply.kind == IMAP_UNTAGGED)
			take_status(place, reply.text);
		else
			status = reply.status;
	} while (reply.kind != IMAP_TAGGED);
	if (status.state != IMAP_OK)
		return imap_status_raise(&status, ERR_IMAP_REFUSED, "STATUS");
	if (!place->uidvalidity || !place->uidnext)
		return RAISE(ERR_IMAP_SYNTAX, "STATUS: neither UIDVALIDITY nor UIDNEXT");
	return OK;
}
