/* The model IMAP server's replies, and the mailbox they speak of. */
#include "tests/sim/imap_model_reply.h"
#include "tests/sim/imap_model_store.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

__attribute__((format(printf, 2, 0))) static void say_list(struct imap_session *session,
							   const char *format, va_list arguments)
{
	char line[1024];
	int n = vsnprintf(line, sizeof line, format, arguments);

	must(n >= 0 && (size_t)n < sizeof line);
	buffer_add(&session->out, line, (size_t)n);
}

void imap_model_say(struct imap_session *session, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	say_list(session, format, arguments);
	va_end(arguments);
}

void imap_model_done(struct imap_session *session, const char *format, ...)
{
	va_list arguments;

	buffer_addf(&session->out, "%s ", session->tag);
	va_start(arguments, format);
	say_list(session, format, arguments);
	va_end(arguments);
	buffer_add_text(&session->out, "\r\n");
}

void imap_model_flush(struct imap_session *session)
{
	must(!session->out.failed);
	if (session->out.bytes)
		net_say(session->conn, session->out.at, session->out.bytes);
	buffer_reset(&session->out);
}

/* ---- the mailbox ---- */

/* Bytes of messages, of every state of the model that a test may go back to. */
struct kept {
	struct kept *next;
	uint8_t bytes[];
};
static struct kept *first_kept;

static const uint8_t *keep(const void *from, size_t n)
{
	struct kept *kept = malloc(sizeof *kept + n + 1);

	must(kept);
	kept->next = first_kept;
	first_kept = kept;
	bytes_copy(kept->bytes, from, n, BYTES_META);
	return kept->bytes;
}

struct imap_model_box *imap_model_add_box(struct imap_model *model, const char *raw,
					  const char *name, const char *attributes)
{
	struct imap_model_box *box = &model->boxes[model->boxes_count++];

	must(model->boxes_count <= IMAP_MODEL_BOXES_MAX &&
	     strlen(raw) <= IMAP_MODEL_NAME_BYTES_MAX);
	*box = (struct imap_model_box){
		.name = name, .epoch = 1000 + model->boxes_count, .next_uid = 1, .subscribed = true
	};
	snprintf(box->raw, sizeof box->raw, "%s", raw);
	snprintf(box->attributes, sizeof box->attributes, "%s", attributes);
	snprintf(box->id, sizeof box->id, "F%u", model->boxes_count);
	box->modseq = 1;
	return box;
}

struct imap_model_message *imap_model_add_message(struct imap_model_box *box, const char *flags,
						  const char *date, const void *from, size_t n)
{
	struct imap_model_message *message = &box->messages[box->messages_count++];

	must(box->messages_count <= IMAP_MODEL_MESSAGES_MAX);
	message->uid = box->next_uid++;
	message->modseq = ++box->modseq;
	snprintf(message->flags, sizeof message->flags, "%s", flags);
	snprintf(message->date, sizeof message->date, "%s", date);
	message->length = n;
	message->bytes = keep(from, n);
	message->was = -1;
	return message;
}

void imap_model_clear(struct imap_model *model)
{
	model->boxes_count = 0;
	for (struct kept *next; first_kept; first_kept = next) {
		next = first_kept->next;
		free(first_kept);
	}
}

/* Not announced yet, or not there any more. */
static bool is_hidden(const struct imap_model_box *box, unsigned index)
{
	return box->messages[index].gone || index + box->late >= box->messages_count;
}

unsigned imap_model_messages(const struct imap_model_box *box, uint32_t *next_uid)
{
	unsigned count = 0;

	*next_uid = box->next_uid;
	if (box->late && box->late <= box->messages_count)
		*next_uid = box->messages[box->messages_count - box->late].uid;
	for (unsigned i = 0; i < box->messages_count; i++)
		count += !is_hidden(box, i);
	return count;
}

/* ---- what happens to it ---- */

void imap_model_replace(struct imap_model_box *box)
{
	unsigned before = box->messages_count;

	box->epoch++;
	box->may_be_refused = true;
	for (unsigned i = 0; i < before; i++) {
		struct imap_model_message *message = &box->messages[i], *again;

		if (message->gone)
			continue;
		must(box->messages_count < IMAP_MODEL_MESSAGES_MAX);
		again = &box->messages[box->messages_count++];
		*again = *message;
		again->uid = box->next_uid++;
		again->was = (int)i;
		message->gone = true;
	}
}

struct imap_model_box *imap_model_rename(struct imap_model *model, struct imap_model_box *box,
					 const char *name)
{
	struct imap_model_box *to = &model->boxes[model->boxes_count++];

	must(model->boxes_count <= IMAP_MODEL_BOXES_MAX && strlen(name) < sizeof to->raw);
	*to = *box; /* UIDVALIDITY and UIDs stay, as Dovecot and Cyrus leave them */
	to->name = name;
	snprintf(to->raw, sizeof to->raw, "%s", name);
	box->gone = true;
	for (unsigned i = 0; i < box->messages_count; i++)
		box->messages[i].gone = true;
	return to;
}

void imap_model_flag(struct imap_model_box *box, unsigned index, const char *flags)
{
	must(index < box->messages_count);
	snprintf(box->messages[index].flags, sizeof box->messages[index].flags, "%s", flags);
	box->messages[index].modseq = ++box->modseq;
}

void imap_model_expunge(struct imap_model_box *box, unsigned index)
{
	must(index < box->messages_count && box->vanished_count < IMAP_MODEL_MESSAGES_MAX);
	box->vanished[box->vanished_count].uid = box->messages[index].uid;
	box->vanished[box->vanished_count++].modseq = ++box->modseq;
	box->messages_count--;
	bytes_move(box->messages + index, box->messages + index + 1,
		   (box->messages_count - index) * sizeof box->messages[0]);
}

void imap_model_renew(struct imap_model_box *box, uint32_t first)
{
	box->epoch += 1000;
	box->vanished_count = 0;
	box->next_uid = first;
	for (unsigned i = 0; i < box->messages_count; i++)
		box->messages[i].uid = box->next_uid++;
}

void imap_model_remove_box(struct imap_model *model, unsigned index)
{
	struct imap_model_box *box = &model->boxes[index];

	must(index < model->boxes_count);
	model->boxes_count--;
	bytes_move(box, box + 1, (model->boxes_count - index) * sizeof *box);
}

void imap_model_call(struct imap_model_box *box, const char *raw, const char *name)
{
	snprintf(box->raw, sizeof box->raw, "%s", raw);
	box->name = name;
}

/* INBOX in any case of letters, RFC 9051 section 5.1. */
struct imap_model_box *imap_model_find(struct imap_model *model, const char *raw)
{
	bool folds = strcasecmp(raw, "INBOX") == 0 || (model->store && model->store->folds_case);

	for (unsigned i = 0; i < model->boxes_count; i++)
		if (!model->boxes[i].gone && (strcmp(model->boxes[i].raw, raw) == 0 ||
					      (folds && strcasecmp(model->boxes[i].raw, raw) == 0)))
			return &model->boxes[i];
	return NULL;
}

/* ---- LIST, STATUS ---- */

void imap_model_status(struct imap_session *session, const struct imap_model_box *box,
		       const char *items)
{
	uint64_t bytes = 0;
	uint32_t next_uid;
	unsigned count = imap_model_messages(box, &next_uid);

	for (unsigned i = 0; i < box->messages_count; i++)
		bytes += is_hidden(box, i) ? 0 : box->messages[i].length;
	imap_model_say(session, "* STATUS \"%s\" (MESSAGES %u UIDNEXT %u UIDVALIDITY %u", box->raw,
		       count, next_uid, box->epoch);
	if (strstr(items, "SIZE"))
		imap_model_say(session, " SIZE %llu", (unsigned long long)bytes);
	if (strstr(items, "HIGHESTMODSEQ"))
		imap_model_say(session, " HIGHESTMODSEQ %llu", (unsigned long long)box->modseq);
	if (strstr(items, "MAILBOXID"))
		imap_model_say(session, " MAILBOXID (%s)", box->id);
	imap_model_say(session, ")\r\n");
}

static void list_one(struct imap_session *session, const char *verb,
		     const struct imap_model_box *box, const char *options)
{
	bool says_subscribed = box->subscribed && strcasestr(options, "SUBSCRIBED");

	imap_model_say(session, "* %s (%s%s) \"/\" \"%s\"\r\n", verb, box->attributes,
		       !says_subscribed	    ? ""
		       : box->attributes[0] ? " \\Subscribed"
					    : "\\Subscribed",
		       box->raw);
	if (strcasestr(options, "STATUS") && !strstr(box->attributes, "\\Noselect"))
		imap_model_status(session, box, options);
}

/* Patterns: all of it, one folder, or "" for the separator alone (RFC 9051 section 6.3.9). */
void imap_model_list(struct imap_session *session, const char *verb, const char *pattern,
		     const char *options)
{
	struct imap_model *model = session->model;

	if (!pattern[0])
		imap_model_say(session, "* LIST (\\Noselect) \"/\" \"\"\r\n");
	for (unsigned i = 0; pattern[0] && i < model->boxes_count; i++) {
		const struct imap_model_box *box = &model->boxes[i];

		if (box->gone || (strcmp(verb, "LSUB") == 0 && !box->subscribed))
			continue;
		if (strpbrk(pattern, "*%") || imap_model_find(model, pattern) == box)
			list_one(session, verb, box, options);
	}
}

/* ---- FETCH ---- */

bool imap_model_set_holds(const char *set, uint32_t uid, uint32_t highest)
{
	while (*set) {
		uint32_t low = *set == '*' ? highest : (uint32_t)strtoul(set, NULL, 10), high = low,
			 swap;

		set += strspn(set, "0123456789*");
		if (*set == ':') {
			high = set[1] == '*' ? highest : (uint32_t)strtoul(set + 1, NULL, 10);
			set += 1 + strspn(set + 1, "0123456789*");
		}
		if (low > high) {
			swap = low;
			low = high;
			high = swap;
		}
		if (uid >= low && uid <= high)
			return true;
		set += *set == ',';
	}
	return false;
}

bool imap_model_holds_refused(const struct imap_model_box *box, const char *set)
{
	return box->refused && imap_model_set_holds(set, box->refused, box->next_uid - 1);
}

/* Those three that are ever asked for, RFC 9051 section 6.4.5; none of the model's is folded. */
static void say_header_fields(struct imap_session *session,
			      const struct imap_model_message *message)
{
	static const char *const fields[] = { "message-id:", "date:", "from:" };
	const char *at = (const char *)message->bytes, *end = at + message->length, *lf;
	struct buffer header = { 0 };

	for (; (lf = memchr(at, '\n', (size_t)(end - at))) != NULL && *at != '\r'; at = lf + 1)
		for (unsigned i = 0; i < ARRAY_COUNT(fields); i++)
			if (strncasecmp(at, fields[i], strlen(fields[i])) == 0)
				buffer_add(&header, at, (size_t)(lf + 1 - at));
	buffer_add_text(&header, "\r\n");
	must(!header.failed);
	imap_model_say(session, " BODY[HEADER.FIELDS (MESSAGE-ID DATE FROM)]<0> {%zu}\r\n%.*s",
		       header.bytes, (int)header.bytes, header.at);
	buffer_free(&header);
}

static void fetch_one(struct imap_session *session, unsigned sequence, unsigned index,
		      const char *items)
{
	const struct imap_model_message *message = &session->box->messages[index];

	imap_model_say(session, "* %u FETCH (UID %u", sequence, message->uid);
	if (strcasestr(items, "FLAGS"))
		imap_model_say(session, " FLAGS (%s)", message->flags);
	if (strcasestr(items, "X-GM-LABELS"))
		imap_model_say(session, " X-GM-LABELS (%s)", message->labels);
	if (strcasestr(items, "MODSEQ"))
		imap_model_say(session, " MODSEQ (%llu)", (unsigned long long)message->modseq);
	if (strcasestr(items, "INTERNALDATE"))
		imap_model_say(session, " INTERNALDATE \"%s\"", message->date);
	if (strcasestr(items, "RFC822.SIZE"))
		imap_model_say(session, " RFC822.SIZE %zu", message->length);
	if (strcasestr(items, "BODY.PEEK[]")) {
		imap_model_say(session, " BODY[] {%zu}\r\n", message->length);
		imap_model_flush(session);
		net_say(session->conn, message->bytes, message->length);
		session->model->counts->messages_sent++;
	}
	if (strcasestr(items, "BODY.PEEK[HEADER.FIELDS"))
		say_header_fields(session, message);
	imap_model_say(session, ")\r\n");
}

/* VANISHED (EARLIER), RFC 7162 section 3.2.6, one reply for all. */
static void say_vanished(struct imap_session *session, const char *set, uint64_t since)
{
	const struct imap_model_box *box = session->box;
	const char *between = "* VANISHED (EARLIER) ";

	for (unsigned i = 0; i < box->vanished_count; i++) {
		if (box->vanished[i].modseq <= since ||
		    !imap_model_set_holds(set, box->vanished[i].uid, 0))
			continue;
		imap_model_say(session, "%s%u", between, box->vanished[i].uid);
		between = ",";
	}
	imap_model_say(session, "%s", *between == ',' ? "\r\n" : "");
}

void imap_model_fetch(struct imap_session *session, const char *set, const char *items,
		      const char *modifiers)
{
	const char *changed = strstr(modifiers, "CHANGEDSINCE ");
	uint64_t since = changed ? strtoull(changed + 13, NULL, 10) : 0;
	const struct imap_model_box *box = session->box;
	uint32_t highest = 0;
	unsigned sequence = 0;

	for (unsigned i = 0; i < box->messages_count; i++)
		highest = is_hidden(box, i) ? highest : box->messages[i].uid;
	if (strcasestr(items, "BODY[") || strcasestr(items, "RFC822 ") ||
	    strcasestr(items, "RFC822)"))
		session->model->counts->changes++; /* without PEEK it sets \Seen */
	if (session->qresync && strstr(modifiers, "VANISHED"))
		say_vanished(session, set, since);
	for (unsigned i = 0; i < box->messages_count; i++) {
		sequence += !is_hidden(box, i);
		if (!is_hidden(box, i) && box->messages[i].uid != box->withheld &&
		    box->messages[i].modseq > since &&
		    imap_model_set_holds(set, box->messages[i].uid, highest))
			fetch_one(session, sequence, i, items);
	}
}

/* ---- */

void imap_model_base64(char *to, size_t to_bytes, const void *from, size_t n)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const uint8_t *at = from;

	must(to_bytes > (n + 2) / 3 * 4);
	for (size_t i = 0; i < n; i += 3) {
		unsigned word = (unsigned)at[i] << 16 | (unsigned)(i + 1 < n ? at[i + 1] : 0) << 8 |
				(unsigned)(i + 2 < n ? at[i + 2] : 0);

		*to++ = digits[word >> 18];
		*to++ = digits[word >> 12 & 63];
		*to++ = i + 1 < n ? digits[word >> 6 & 63] : '=';
		*to++ = i + 2 < n ? digits[word & 63] : '=';
	}
	*to = '\0';
}
