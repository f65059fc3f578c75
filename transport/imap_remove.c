/* SELECT, whose UIDVALIDITY is compared; UID STORE; UID EXPUNGE; and UID FETCH, whether they are
 * gone. The folder is left by selecting another one or by LOGOUT: CLOSE would expunge. */
#include "transport/imap_remove.h"

#include <stdlib.h>

#include "transport/imap_session.h"

struct imap_remove {
	struct imap_session *session;
	char raw[BOX_NAME_BYTES_MAX + 1]; /* the folder that is open; "": none */
	uint64_t uidvalidity;		  /* of what SELECT said last */
	bool read_only;
	const uint32_t *uids;
	size_t count;
	bool *there;
};

enum err imap_remove_open(const struct account *account, bool dry, nsec until,
			  struct imap_remove **out)
{
	struct imap_remove *remove = calloc(1, sizeof *remove);
	enum err e;

	*out = remove;
	if (!remove)
		return RAISE(ERR_MEMORY_EXHAUSTED, "removing messages");
	e = (dry ? imap_session_open : imap_session_open_to_remove)(account, until,
								    &remove->session);
	if (!e && !(imap_session_capabilities(remove->session) & IMAP_HAS_UIDPLUS))
		e = RAISE(ERR_SINK_KEEPS,
			  "%s does not offer UIDPLUS: without it a message is removed "
			  "only together with all that others marked",
			  account->shown);
	if (e)
		imap_remove_close(out);
	return e;
}

void imap_remove_close(struct imap_remove **remove)
{
	if (!*remove)
		return;
	imap_session_close(&(*remove)->session);
	free(*remove);
	*remove = NULL;
}

void imap_remove_finish(struct imap_remove *remove, nsec until)
{
	if (imap_session_finish(remove->session, until))
		err_note_clear(); /* what was removed was removed */
}

/* ---- parts ---- */

void imap_remove_add_set(struct buffer *command, const uint32_t *uids, size_t count)
{
	for (size_t i = 0, n; i < count; i += n) {
		n = 1;
		while (i + n < count && uids[i + n] == uids[i] + n)
			n++;
		buffer_addf(command, "%s%u", i ? "," : "", uids[i]);
		if (n > 1)
			buffer_addf(command, ":%u", uids[i + n - 1]);
	}
}

bool imap_remove_read_uid(struct text reply, uint32_t *uid)
{
	struct imap_scan scan = imap_scan_of(reply);
	uint64_t number;
	bool is_uid;

	if (!imap_scan_fetch(&scan))
		return false;
	do {
		struct text name;

		is_uid = imap_scan_word(&scan, "UID");
		if ((!is_uid && !imap_scan_atom(&scan, &name)) || !imap_scan_char(&scan, ' '))
			return false;
		if (is_uid && imap_scan_number(&scan, UINT32_MAX, &number) && number) {
			*uid = (uint32_t)number;
			return true;
		}
	} while (!is_uid && imap_scan_value(&scan) && imap_scan_char(&scan, ' '));
	return false;
}

/* ---- commands ---- */

static void note_there(struct imap_remove *remove, uint32_t uid)
{
	for (size_t i = 0; i < remove->count; i++)
		remove->there[i] |= remove->uids[i] == uid;
}

static void note_status(struct imap_remove *remove, const struct imap_status *status)
{
	struct imap_scan scan = imap_scan_of(status->argument);
	uint64_t number;

	if (imap_text_is(status->code, "UIDVALIDITY") &&
	    imap_scan_number(&scan, UINT32_MAX, &number))
		remove->uidvalidity = number;
	remove->read_only |= imap_text_is(status->code, "READ-ONLY");
}

/* Send what was begun, and hear all of the answer. `fetched`: UIDs of FETCH replies count. */
static enum err act(struct imap_remove *remove, unsigned tag, const char *verb, bool fetched)
{
	struct imap_wire *wire = imap_session_wire(remove->session);
	struct imap_reply reply;
	uint32_t uid;
	enum err e;

	if ((e = imap_wire_send(wire)) || (e = imap_wire_flush(wire)))
		return e;
	while ((e = imap_session_reply(remove->session, &reply)) == OK) {
		if (reply.kind == IMAP_CONTINUE || (reply.kind == IMAP_TAGGED && reply.tag != tag))
			return RAISE(ERR_IMAP_SYNTAX, "an answer to nothing we asked");
		if (reply.is_status)
			note_status(remove, &reply.status);
		else if (fetched && imap_remove_read_uid(reply.text, &uid))
			note_there(remove, uid);
		if (reply.kind == IMAP_TAGGED)
			return imap_status_raise(&reply.status, ERR_IMAP_REFUSED, verb);
	}
	return e;
}

static enum err select_box(struct imap_remove *remove, const char *raw, uint32_t uidvalidity)
{
	struct imap_wire *wire = imap_session_wire(remove->session);
	bool literals = imap_session_capabilities(remove->session) & IMAP_HAS_LITERAL_PLUS;
	unsigned tag;
	enum err e;

	if (strcmp(remove->raw, raw) == 0 && remove->uidvalidity == uidvalidity)
		return OK;
	remove->raw[0] = '\0';
	remove->uidvalidity = 0;
	remove->read_only = false;
	tag = imap_wire_begin(wire);
	buffer_add_text(&wire->command, "SELECT ");
	if (!imap_wire_add_string(wire, text_of(raw), literals)) {
		buffer_reset(&wire->command);
		return RAISE(
			ERR_IMAP_REFUSED,
			"SELECT: the folder's name is not ASCII and the server lacks LITERAL+");
	}
	if ((e = act(remove, tag, "SELECT", false)))
		return e;
	if (remove->uidvalidity != uidvalidity)
		return RAISE(ERR_SOURCE_EPOCH, "SELECT: UIDVALIDITY is %llu, and was %u",
			     (unsigned long long)remove->uidvalidity, uidvalidity);
	if (remove->read_only)
		return RAISE(ERR_IMAP_REFUSED, "SELECT: the folder can only be read");
	must(strlen(raw) < sizeof remove->raw);
	bytes_copy(remove->raw, raw, strlen(raw) + 1, BYTES_META);
	return OK;
}

static enum err act_on_set(struct imap_remove *remove, const char *verb, const char *rest,
			   bool fetched)
{
	struct imap_wire *wire = imap_session_wire(remove->session);
	unsigned tag = imap_wire_begin(wire);

	buffer_addf(&wire->command, "%s ", verb);
	imap_remove_add_set(&wire->command, remove->uids, remove->count);
	buffer_add_text(&wire->command, rest);
	return act(remove, tag, verb, fetched);
}

enum err imap_remove_from(struct imap_remove *remove, const char *raw, uint32_t uidvalidity,
			  const uint32_t *uids, size_t count, bool *there)
{
	enum err e;

	must(count > 0 && count <= IMAP_REMOVE_UIDS_MAX);
	for (size_t i = 0; i < count; i++) {
		must(uids[i] > 0 && (i == 0 || uids[i - 1] < uids[i]));
		there[i] = false;
	}
	remove->uids = uids;
	remove->count = count;
	remove->there = there;
	if ((e = select_box(remove, raw, uidvalidity)) ||
	    (e = act_on_set(remove, "UID STORE", " +FLAGS.SILENT (\\Deleted)", false)) ||
	    (e = act_on_set(remove, "UID EXPUNGE", "", false)))
		return e;
	return act_on_set(remove, "UID FETCH", " (UID)", true);
}
