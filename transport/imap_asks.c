/* A server that grants a FETCH may all the same leave out a body, or not say whose it is. Such a
 * range ends with a fate narrower than its folder: the lane asks again for pieces of it, until the
 * piece is the one message that is at fault, or that is not there any more. */
#include "transport/imap_asks.h"

#include <stdio.h>

#include "engine/bytes.h"

void imap_ask_begin(struct imap_ask *ask, const struct box *box, uint64_t first, uint64_t last)
{
	must(first > 0 && first <= last);
	ask->box_no = box->box_no;
	ask->epoch = box->epoch;
	/* UIDs are 32 bits wide, RFC 9051 section 2.3.1.1. */
	ask->first = min_u64(first, UINT32_MAX);
	ask->last = min_u64(last, UINT32_MAX);
	ask->answered = false;
	ask->fate = OK;
	ask->fate_text[0] = '\0';
	ask->large_count = ask->large_at = 0;
	ask->facts_known = false;
	ask->delivered_count = ask->bare_count = 0;
	ask->highest = 0;
	ask->named = 0;
	ask->bare_full = ask->large_full = ask->unnamed = false;
	bytes_copy(ask->raw, box->raw, strlen(box->raw) + 1, BYTES_META);
}

static unsigned place_of(const uint32_t *uids, unsigned count, uint32_t uid)
{
	unsigned i = 0;

	while (i < count && uids[i] != uid)
		i++;
	return i;
}

bool imap_ask_has(const struct imap_ask *ask, uint32_t uid)
{
	return uid <= ask->highest &&
	       place_of(ask->delivered, ask->delivered_count, uid) < ask->delivered_count;
}

enum err imap_ask_body(struct imap_ask *ask, uint32_t uid, bool *first)
{
	unsigned bare;

	if (uid <= ask->highest && ask->delivered_count == IMAP_ASK_DELIVERED_MAX)
		return RAISE(ERR_IMAP_SYNTAX, "FETCH: more than %d messages out of order",
			     IMAP_ASK_DELIVERED_MAX);
	*first = !imap_ask_has(ask, uid);
	if (!*first)
		return OK;
	if (ask->delivered_count < IMAP_ASK_DELIVERED_MAX)
		ask->delivered[ask->delivered_count++] = uid;
	if (uid > ask->highest)
		ask->highest = uid;
	ask->named++;
	bare = place_of(ask->bare, ask->bare_count, uid);
	if (bare < ask->bare_count)
		ask->bare[bare] = ask->bare[--ask->bare_count];
	return OK;
}

void imap_ask_bare(struct imap_ask *ask, uint32_t uid)
{
	must(uid >= ask->first && uid <= ask->last);
	if (imap_ask_has(ask, uid) || place_of(ask->bare, ask->bare_count, uid) < ask->bare_count)
		return;
	if (ask->bare_count == IMAP_ASK_BARE_MAX)
		ask->bare_full = true;
	else
		ask->bare[ask->bare_count++] = uid;
}

void imap_ask_unnamed(struct imap_ask *ask)
{
	ask->unnamed = true;
}

void imap_ask_large(struct imap_ask *ask, uint32_t uid)
{
	if (ask->large_count == IMAP_ASK_LARGE_MAX)
		ask->large_full = true;
	else
		ask->large[ask->large_count++] = uid;
}

/* What a FETCH not granted in full means for its range. NO is narrow: the lane asks for smaller
 * pieces until it knows the message that is at fault. BAD is no wider: Outlook.com says
 * "Command Argument Error. 11" of a FETCH whose form it knows well (awangga/outlook issue 42). */
static enum err range_fate(const struct imap_status *status, enum err said)
{
	if (said == ERR_IMAP_BAD || imap_text_is(status->code, "SERVERBUG") ||
	    imap_text_is(status->code, "CONTACTADMIN") || imap_text_is(status->code, "CORRUPTION"))
		return ERR_IMAP_MSG_REFUSED;
	return said;
}

void imap_ask_status(struct imap_ask *ask, const struct imap_status *status)
{
	char text[160];

	if (ask->fate)
		return;
	ask->hint = imap_hint(status, ERR_IMAP_MSG_REFUSED);
	ask->fate = range_fate(status, ask->hint.error);
	if (ask->fate)
		snprintf(ask->fate_text, sizeof ask->fate_text,
			 "FETCH %llu:%llu: the server says \"%s\"", (unsigned long long)ask->first,
			 (unsigned long long)ask->last, err_quote(text, sizeof text, status->text));
}

static void refuse(struct imap_ask *ask, uint32_t uid, const char *why)
{
	char message[40] = "";

	if (ask->fate)
		return;
	if (uid)
		snprintf(message, sizeof message, " UID %u", uid);
	ask->fate = ERR_IMAP_MSG_REFUSED;
	snprintf(ask->fate_text, sizeof ask->fate_text,
		 "FETCH %llu:%llu: the server says OK, but %s%s", (unsigned long long)ask->first,
		 (unsigned long long)ask->last, why, message);
}

void imap_ask_crowded(struct imap_ask *ask)
{
	refuse(ask, 0, "named more messages than can be judged at once");
}

void imap_ask_check(struct imap_ask *ask)
{
	if (ask->large_full)
		refuse(ask, 0, "sent more large bodies before their UIDs than can be put aside");
	if (ask->named == ask->last - ask->first + 1)
		return; /* whatever else was said, all that can be there came */
	if (ask->bare_count)
		refuse(ask, ask->bare[0], "sent no body of");
	if (ask->bare_full)
		refuse(ask, 0, "sent flags of many messages and no bodies");
	if (ask->unnamed)
		refuse(ask, 0, "sent a body without its UID");
}

void imap_ask_large_missing(struct imap_ask *ask)
{
	must(ask->large_at < ask->large_count);
	refuse(ask, ask->large[ask->large_at], "sent no body of");
}
