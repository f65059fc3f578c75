/* The model IMAP server as a destination. What is stored lies behind `used` in the store's own
 * memory and never moves, so pointers into it mean the same in every process of the world. */
#include "tests/sim/imap_model_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/mman.h>

#include "tests/sim/imap_model_reply.h"
#include "tests/sim/sim.h"

enum { FOREIGN_BYTES_MAX = 300 };

struct shared {
	struct imap_model model;
	struct imap_store store;
};

struct imap_store_image {
	struct imap_model model;
	struct imap_store store; /* as much of its bytes as was used */
};

/* ---- the memory of it ---- */

struct imap_model *imap_store_open(const char *user, const char *password,
				   struct imap_model_counts *counts,
				   struct imap_store_counts *store_counts)
{
	struct shared *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct imap_model *model;

	must(shared != MAP_FAILED);
	model = &shared->model;
	*model = (struct imap_model){
		.store = &shared->store, .user = user, .password = password, .counts = counts
	};
	shared->store.counts = store_counts;
	shared->store.uidplus = shared->store.multiappend = shared->store.binary = true;
	shared->store.create_special_use = true;
	shared->store.literals = IMAP_STORE_LITERALS_PLUS;
	(void)imap_store_add_box(model, "INBOX", "");
	return model;
}

static struct shared *shared_of(struct imap_model *model)
{
	struct shared *shared = CONTAINER_OF(model, struct shared, model);

	must(model->store == &shared->store);
	return shared;
}

void imap_store_close(struct imap_model **model)
{
	if (!*model)
		return;
	must(munmap(shared_of(*model), sizeof(struct shared)) == 0);
	*model = NULL;
}

static size_t used_bytes(const struct imap_store *store)
{
	return offsetof(struct imap_store, bytes) + store->used;
}

struct imap_store_image *imap_store_save(const struct imap_model *model)
{
	struct imap_store_image *image = malloc(sizeof *image);

	must(image);
	image->model = *model;
	bytes_copy(&image->store, model->store, used_bytes(model->store), BYTES_META);
	return image;
}

void imap_store_restore(struct imap_model *model, const struct imap_store_image *image)
{
	*model = image->model;
	bytes_copy(model->store, &image->store, used_bytes(&image->store), BYTES_META);
}

struct imap_model_box *imap_store_add_box(struct imap_model *model, const char *raw,
					  const char *attributes)
{
	struct imap_model_box *box = imap_model_add_box(model, raw, "", attributes);

	box->name = box->raw;
	box->epoch += 7000;
	box->subscribed = false;
	return box;
}

static const uint8_t *keep(struct imap_store *store, const void *from, size_t n)
{
	uint8_t *to = store->bytes + store->used;

	must(n <= IMAP_STORE_BYTES - store->used);
	bytes_copy(to, from, n, BYTES_META);
	store->used += n;
	return to;
}

/* ---- what becomes visible ---- */

static struct imap_model_message *show(struct imap_model_box *box,
				       const struct imap_model_message *message)
{
	struct imap_model_message *to = &box->messages[box->messages_count++];

	must(box->messages_count <= IMAP_MODEL_MESSAGES_MAX);
	*to = *message;
	to->uid = box->next_uid++;
	to->modseq = ++box->modseq;
	to->was = -1;
	return to;
}

void imap_store_deliver(struct imap_model *model, struct imap_model_box *box)
{
	struct imap_store *store = model->store;
	struct imap_model_message message = { .flags = "", .foreign = true };
	char mail[FOREIGN_BYTES_MAX];
	int n = snprintf(mail, sizeof mail,
			 "From: carol@example.org\r\nTo: bob@example.net\r\n"
			 "Subject: somebody else's %u\r\n\r\nNot ours.\r\n",
			 ++store->foreign_no);

	snprintf(message.date, sizeof message.date, "05-May-2025 05:05:05 +0000");
	message.length = (size_t)n;
	message.bytes = keep(store, mail, (size_t)n);
	(void)show(box, &message);
	store->counts->foreign++;
}

void imap_store_deliver_mail(struct imap_model *model, struct imap_model_box *box,
			     const char *flags, const char *date, const void *bytes, size_t n)
{
	struct imap_model_message message = { .foreign = true, .length = n };

	snprintf(message.flags, sizeof message.flags, "%s", flags);
	snprintf(message.date, sizeof message.date, "%s", date);
	message.bytes = keep(model->store, bytes, n);
	(void)show(box, &message);
	model->store->foreign_no++;
	model->store->counts->foreign++;
}

static void others_deliver(struct imap_model *model, struct imap_model_box *box)
{
	struct imap_store *store = model->store;

	if (!store->foreign_left || !sim_one_in(SIM_NET, store->foreign_one_in))
		return;
	store->foreign_left--;
	if (!box)
		box = &model->boxes[sim_below(SIM_NET, model->boxes_count)];
	imap_store_deliver(model, box);
}

void imap_store_alter(void *bytes, size_t n)
{
	uint8_t *at = bytes;

	for (size_t i = 0; i < n; i++) {
		if (n - i >= 4 && memcmp(at + i, "\r\n\r\n", 4) == 0)
			return;
		at[i] = at[i] & 0x80 ? 'X' : at[i];
	}
}

/* ---- APPENDs that have arrived ---- */

/* To be added to the UIDs that it tells. */
static int lie_about(const struct imap_store *store, uint32_t uid)
{
	switch (store->tells) {
	case IMAP_STORE_TELLS_LOW:
		return 1 - (int)uid;
	case IMAP_STORE_TELLS_SAME:
		return IMAP_STORE_SAME_UID - (int)uid;
	case IMAP_STORE_TELLS_HIGH:
		return 1000;
	case IMAP_STORE_TELLS_TRUTH:
		break;
	}
	return 0;
}

/* resp-code-apnd, RFC 4315 section 3: "7:9,12". */
static void say_uids(struct imap_session *session, const struct imap_model_box *box,
		     const uint32_t *uids, unsigned count)
{
	struct buffer set = { 0 };
	int lie = lie_about(session->model->store, uids[0]);

	for (unsigned i = 0, last; i < count; i = last + 1) {
		for (last = i; last + 1 < count && uids[last + 1] == uids[last] + 1;)
			last++;
		buffer_addf(&set, "%s%u", set.bytes ? "," : "", uids[i] + lie);
		if (last > i)
			buffer_addf(&set, ":%u", uids[last] + lie);
	}
	imap_model_done(session, "OK [APPENDUID %u %.*s] Append completed", box->epoch,
			(int)set.bytes, set.at);
	buffer_free(&set);
}

static unsigned ours(const struct imap_model *model)
{
	unsigned count = 0;

	for (unsigned b = 0; b < model->boxes_count; b++)
		for (unsigned i = 0; i < model->boxes[b].messages_count; i++)
			count += !model->boxes[b].messages[i].foreign;
	return count;
}

static bool is_over_quota(const struct imap_model *model, unsigned more)
{
	unsigned most = model->store->quota_messages;

	return most && ours(model) + more > most;
}

/* The connection ends where the answer would have been said, in one way or another. */
static void lose_answer(struct imap_session *session)
{
	struct imap_store *store = session->model->store;

	store->lose_answers--;
	store->counts->lost_answers++;
	session->deaf = true;
	switch (sim_below(SIM_NET, 3)) {
	case 0:
		net_reset(session->conn);
		break;
	case 1:
		net_accident_after(session->conn, NET_STALLS, 0, 0);
		net_say(session->conn, "*", 1);
		break;
	default:
		net_hang_up(session->conn);
	}
}

static void answer(const struct imap_store_work *work, const struct imap_model_box *box,
		   const uint32_t *uids)
{
	struct imap_session *session = work->session;
	struct imap_store *store = session->model->store;

	snprintf(session->tag, sizeof session->tag, "%.63s", work->tag);
	session->waits = false;
	if (!uids) {
		store->counts->refused++;
		imap_model_done(session, "NO [OVERQUOTA] Quota exceeded");
	} else if (store->lose_answers) {
		lose_answer(session);
		return;
	} else if (store->uidplus) {
		say_uids(session, box, uids, work->count);
	} else {
		imap_model_done(session, "OK Append completed");
	}
	imap_model_flush(session);
}

/* All of it, or nothing. Returns the session that waited. */
static struct imap_session *finish(struct imap_model *model, struct imap_store_work *work)
{
	struct imap_model_box *box = &model->boxes[work->box];
	bool fits = !is_over_quota(model, work->count);
	uint32_t uids[IMAP_MODEL_MESSAGES_MAX];

	work->used = false;
	for (unsigned i = 0; i < work->count && fits; i++) {
		others_deliver(model, box);
		uids[i] = show(box, &work->messages[i])->uid;
		model->store->counts->stored++;
	}
	if (work->session)
		answer(work, box, fits ? uids : NULL);
	return work->session;
}

/* In the order in which they are done. */
static void finish_until(struct imap_model *model, nsec until)
{
	for (;;) {
		struct imap_store_work *first = NULL;
		struct imap_session *session;

		for (unsigned i = 0; i < IMAP_STORE_WORKED_ON_MAX; i++) {
			struct imap_store_work *work = &model->store->works[i];

			if (work->used && work->at <= until && (!first || work->at < first->at))
				first = work;
		}
		if (!first)
			return;
		session = finish(model, first);
		if (session && !session->deaf)
			imap_model_go_on(session);
	}
}

static void alarm_rings(void *owner)
{
	struct imap_model *model = owner;

	finish_until(model, sim_now());
}

void imap_store_time_passes(struct imap_model *model)
{
	finish_until(model, sim_now());
	others_deliver(model, NULL);
}

void imap_store_settle(struct imap_model *model)
{
	finish_until(model, INT64_MAX);
}

static struct imap_store_work *new_work(struct imap_store *store)
{
	for (unsigned i = 0; i < IMAP_STORE_WORKED_ON_MAX; i++) {
		if (store->works[i].used)
			continue;
		store->works[i].count = 0;
		return &store->works[i];
	}
	sim_stuck("more than %d APPENDs are worked on", IMAP_STORE_WORKED_ON_MAX);
}

/* It arrived, and nobody waits for its answer any more. */
static void orphan(struct imap_store *store, struct imap_store_work *work, nsec now)
{
	work->session = NULL;
	work->at = now +
		   (store->late_max ? 1 + (nsec)sim_below(SIM_NET, (uint64_t)store->late_max) : 0);
	store->counts->late++;
	if (store->never_one_in && sim_one_in(SIM_NET, store->never_one_in)) {
		work->used = false;
		store->counts->never++;
	}
}

void imap_store_session_ended(struct imap_session *session)
{
	struct imap_store *store = session->model->store;

	for (unsigned i = 0; i < IMAP_STORE_WORKED_ON_MAX; i++)
		if (store->works[i].used && store->works[i].session == session)
			orphan(store, &store->works[i], sim_now());
}

/* Between two processes no time passes: each begins at the same moment. */
void imap_store_process_ended(struct imap_model *model)
{
	struct imap_store *store = model->store;

	for (unsigned i = 0; i < IMAP_STORE_WORKED_ON_MAX; i++) {
		struct imap_store_work *work = &store->works[i];

		if (!work->used)
			continue;
		if (work->session)
			orphan(store, work, sim_now());
		work->at = work->at > sim_now() ? work->at - sim_now() : 0;
	}
}

void imap_store_process_begins(struct imap_model *model)
{
	static const char *const literals[] = { "", " LITERAL-", " LITERAL+" };
	struct imap_store *store = model->store;

	for (unsigned i = 0; i < IMAP_STORE_WORKED_ON_MAX; i++) {
		if (!store->works[i].used)
			continue;
		store->works[i].session = NULL; /* of a process that crashed */
		store->works[i].at += sim_now();
	}
	snprintf(store->capabilities, sizeof store->capabilities,
		 "IMAP4rev1 AUTH=PLAIN%s%s%s%s%s%s%s",
		 store->few ? ""
			    : " SASL-IR ID ENABLE NAMESPACE UNSELECT CHILDREN LIST-EXTENDED "
			      "LIST-STATUS STATUS=SIZE SPECIAL-USE",
		 store->condstore ? " CONDSTORE" : "", store->uidplus ? " UIDPLUS" : "",
		 store->multiappend ? " MULTIAPPEND" : "", store->binary ? " BINARY" : "",
		 store->create_special_use && !store->few ? " CREATE-SPECIAL-USE" : "",
		 literals[store->literals]);
	model->capabilities = store->capabilities;
}

/* ---- commands ---- */

static void broken(struct imap_store *store, const char *what)
{
	if (store->counts->broken++ == 0)
		snprintf(store->counts->broken_what, sizeof store->counts->broken_what, "%s", what);
}

/* Why an APPEND is refused, as far as can be told now; NULL: it is not. */
static const char *refusal(const struct imap_model *model, const char *raw, uint64_t bytes)
{
	const struct imap_store *store = model->store;

	if (!imap_model_find((struct imap_model *)(uintptr_t)model, raw))
		return "NO [TRYCREATE] Mailbox doesn't exist";
	if (store->bytes_max && bytes > store->bytes_max)
		return "NO [TOOBIG] Message is too large";
	return NULL;
}

bool imap_store_refuses(struct imap_session *session, struct text line, uint64_t bytes, bool waits)
{
	struct imap_store *store = session->model->store;
	char tag[IMAP_MODEL_WORD_BYTES_MAX], verb[IMAP_MODEL_WORD_BYTES_MAX],
		raw[IMAP_MODEL_WORD_BYTES_MAX];
	const char *why;

	if (!waits && (store->literals == IMAP_STORE_LITERALS_NONE ||
		       (store->literals == IMAP_STORE_LITERALS_MINUS && bytes > 4096)))
		broken(store, "a literal that was not waited for");
	if (!waits || !store->refuses_early || !imap_model_word(&line, tag) ||
	    strlen(tag) >= sizeof session->tag || !imap_model_word(&line, verb) ||
	    strcasecmp(verb, "APPEND") != 0 || !imap_model_word(&line, raw) || raw[0] == '{' ||
	    line.bytes == 0)
		return false;
	if (!(why = refusal(session->model, raw, bytes)))
		return false;
	bytes_copy(session->tag, tag, strlen(tag) + 1, BYTES_META);
	store->counts->appends++;
	store->counts->refused++;
	imap_model_done(session, "%s", why);
	return true;
}

static bool has_flag(const char *flags, const char *flag)
{
	struct text rest = text_of(flags);
	char word[IMAP_MODEL_WORD_BYTES_MAX];

	while (imap_model_word(&rest, word))
		if (strcasecmp(word, flag) == 0)
			return true;
	return false;
}

static void remember_keywords(struct imap_store *store, const char *flags)
{
	struct text rest = text_of(flags);
	char word[IMAP_MODEL_WORD_BYTES_MAX];
	size_t n = strlen(store->keywords);

	while (imap_model_word(&rest, word))
		if (word[0] != '\\' && !has_flag(store->keywords, word)) {
			n += (size_t)snprintf(store->keywords + n, sizeof store->keywords - n,
					      " %s", word);
			must(n < sizeof store->keywords);
		}
}

/* "\Seen $x" without what this server forgets. */
static void keep_flags(struct imap_store *store, char to[64], const char *list)
{
	struct text rest = { list + 1, strlen(list) - 2 };
	char flag[IMAP_MODEL_WORD_BYTES_MAX];
	size_t n = 0;

	to[0] = '\0';
	while (imap_model_word(&rest, flag)) {
		if (store->drops_keywords && flag[0] != '\\')
			continue;
		n += (size_t)snprintf(to + n, 64 - n, "%s%s", n ? " " : "", flag);
		must(n < 64);
	}
	remember_keywords(store, to);
}

/* append-message = [SP flag-list] [SP date-time] SP literal. False: it is none. */
static bool take_message(struct imap_store *store, struct text *rest,
			 struct imap_model_message *message)
{
	char word[IMAP_MODEL_WORD_BYTES_MAX];
	const char *line;
	size_t n;

	*message = (struct imap_model_message){ .flags = "" };
	snprintf(message->date, sizeof message->date, "01-Jan-2030 00:00:00 +0000");
	if (rest->bytes > 1 && rest->at[1] == '(') {
		if (!imap_model_word(rest, word))
			return false;
		keep_flags(store, message->flags, word);
	}
	if (rest->bytes > 1 && rest->at[1] == '"') {
		if (!imap_model_word(rest, word) || strlen(word) >= sizeof message->date)
			return false;
		snprintf(message->date, sizeof message->date, "%.31s", word);
	}
	if (rest->bytes < 3 || rest->at[0] != ' ')
		return false;
	*rest = (struct text){ rest->at + 1, rest->bytes - 1 };
	if (*rest->at == '~') {
		if (!store->binary)
			broken(store, "a literal8");
		*rest = (struct text){ rest->at + 1, rest->bytes - 1 };
	}
	if (*rest->at != '{' || !(line = memchr(rest->at, '\n', rest->bytes)))
		return false;
	n = strtoul(rest->at + 1, NULL, 10);
	line++;
	if (n > rest->bytes - (size_t)(line - rest->at))
		return false;
	message->bytes = keep(store, line, n);
	message->length = n;
	*rest = (struct text){ line + n, rest->bytes - (size_t)(line - rest->at) - n };
	return true;
}

static const char *message_refusal(const struct imap_model *model, const char *raw,
				   const struct imap_model_message *message)
{
	const char *bad = model->store->bad_text;

	if (bad && memmem(message->bytes, message->length, bad, strlen(bad)))
		return "BAD Message contains invalid header";
	return refusal(model, raw, message->length);
}

static const char *busy(struct imap_store *store)
{
	if (store->busy_appends) {
		store->busy_appends--;
		return "NO [UNAVAILABLE] Try again later";
	}
	if (store->throttled_appends) {
		store->throttled_appends--;
		return "NO [THROTTLED] Slow down";
	}
	return NULL;
}

/* All messages of the command. Returns why it is refused. */
static const char *take_messages(struct imap_model *model, const char *raw, struct text rest,
				 struct imap_store_work *work)
{
	struct imap_store *store = model->store;
	const char *why = NULL;

	do {
		struct imap_model_message *message = &work->messages[work->count];

		if (work->count == IMAP_MODEL_MESSAGES_MAX || !take_message(store, &rest, message))
			return "BAD Syntax";
		if (!why)
			why = message_refusal(model, raw, message);
		if (store->alters_headers)
			imap_store_alter((void *)(uintptr_t)message->bytes, message->length);
		work->count++;
	} while (rest.bytes > 0);
	if (work->count > 1 && !store->multiappend)
		broken(store, "several messages in one APPEND");
	return why ? why : busy(store);
}

static void do_append(struct imap_session *session, struct text rest)
{
	struct imap_model *model = session->model;
	struct imap_store *store = model->store;
	struct imap_store_work *work = new_work(store);
	size_t used = store->used;
	char raw[IMAP_MODEL_WORD_BYTES_MAX];
	const char *why = imap_model_word(&rest, raw) ? take_messages(model, raw, rest, work)
						      : "BAD Missing arguments";

	store->counts->appends++;
	if (why) {
		store->used = used;
		store->counts->refused++;
		imap_model_done(session, "%s", why);
		return;
	}
	work->used = session->waits = true;
	work->session = session;
	work->box = (unsigned)(imap_model_find(model, raw) - model->boxes);
	snprintf(work->tag, sizeof work->tag, "%s", session->tag);
	work->at = sim_now();
	if (store->works_max)
		work->at += (nsec)sim_below(SIM_NET, (uint64_t)store->works_max);
	if (work->at > sim_now())
		net_at(work->at, alarm_rings, model);
	else
		(void)finish(model, work);
}

/* CREATE name [(USE (\Sent))], RFC 6154 section 3. */
static void do_create(struct imap_session *session, struct text rest)
{
	struct imap_model *model = session->model;
	struct imap_store *store = model->store;
	char raw[IMAP_MODEL_WORD_BYTES_MAX], options[IMAP_MODEL_WORD_BYTES_MAX], use[64] = "";

	store->counts->creates++;
	if (!imap_model_word(&rest, raw) || strlen(raw) > IMAP_MODEL_NAME_BYTES_MAX) {
		imap_model_done(session, "BAD Missing arguments");
		return;
	}
	if (imap_model_word(&rest, options)) {
		if (!store->create_special_use || store->few)
			broken(store, "CREATE with USE");
		if (sscanf(options, "(USE (%60[^)]", use) != 1)
			broken(store, "CREATE with other options than USE");
	}
	if (imap_model_find(model, raw)) {
		imap_model_done(session, "NO [ALREADYEXISTS] Mailbox already exists");
	} else if (store->create_no && strcmp(store->create_no, raw) == 0) {
		imap_model_done(session, "NO [CANNOT] Invalid mailbox name");
	} else {
		(void)imap_store_add_box(model, raw, use);
		imap_model_done(session, "OK Create completed");
	}
}

static void do_subscribe(struct imap_session *session, struct text rest)
{
	char raw[IMAP_MODEL_WORD_BYTES_MAX];
	struct imap_model_box *box = NULL;

	session->model->store->counts->subscribes++;
	if (imap_model_word(&rest, raw))
		box = imap_model_find(session->model, raw);
	if (box)
		box->subscribed = true;
	imap_model_done(session, box ? "OK Subscribe completed" : "NO [NONEXISTENT] No mailbox");
}

/* ---- flags ---- */

/* Those of `list` are there, or are not; keywords stay behind the others. */
static void change_flags(struct imap_store *store, struct imap_model_message *message,
			 const char *list, bool adds)
{
	char was[64], word[IMAP_MODEL_WORD_BYTES_MAX];
	const char *const sources[] = { message->flags, adds ? list : "" };
	size_t n = 0;

	was[0] = '\0';
	for (unsigned pass = 0; pass < 4; pass++) {
		struct text rest = text_of(sources[pass % 2]);

		while (imap_model_word(&rest, word)) {
			bool is_keyword = word[0] != '\\';

			if (is_keyword != (pass >= 2) || has_flag(was, word) ||
			    (!adds && has_flag(list, word)) ||
			    (is_keyword && pass % 2 && store->drops_keywords))
				continue;
			n += (size_t)snprintf(was + n, sizeof was - n, "%s%s", n ? " " : "", word);
			must(n < sizeof was);
		}
	}
	snprintf(message->flags, sizeof message->flags, "%s", was);
	remember_keywords(store, was);
}

void imap_store_looked_at(struct imap_session *session, const char *set)
{
	struct imap_store *store = session->model->store;
	struct imap_model_box *box = session->box;

	for (unsigned i = 0; i < box->messages_count && store->touches_left; i++) {
		struct imap_model_message *message = &box->messages[i];

		if (!imap_model_set_holds(set, message->uid, 0) ||
		    has_flag(message->flags, "$touched") || !sim_one_in(SIM_NET, 2))
			continue;
		store->touches_left--;
		store->touched++;
		change_flags(store, message, "$touched", true);
		message->modseq = ++box->modseq;
	}
}

/* "set [(UNCHANGEDSINCE n)] +FLAGS.SILENT (list)", RFC 7162 section 3.1.3. */
void imap_store_flags(struct imap_session *session, struct text rest)
{
	struct imap_store *store = session->model->store;
	struct imap_model_box *box = session->box;
	char set[IMAP_MODEL_WORD_BYTES_MAX], word[IMAP_MODEL_WORD_BYTES_MAX],
		list[IMAP_MODEL_WORD_BYTES_MAX];
	unsigned long long since = UINT64_MAX;
	struct buffer modified = { 0 };

	store->counts->stores++;
	if (!box || !session->is_to_change)
		broken(store, "STORE in a folder that is not selected");
	if (!imap_model_word(&rest, set) || !imap_model_word(&rest, word))
		broken(store, "STORE without arguments");
	if (sscanf(word, "(UNCHANGEDSINCE %llu)", &since) == 1 &&
	    (!store->condstore || !imap_model_word(&rest, word)))
		broken(store, "UNCHANGEDSINCE");
	if (!imap_model_word(&rest, list) || list[0] != '(' ||
	    strcasecmp(word + 1, "FLAGS.SILENT") != 0 || !strchr("+-", word[0]))
		broken(store, "another STORE than of single flags");
	list[strlen(list) - 1] = '\0';
	if (has_flag(list + 1, "\\Recent"))
		broken(store, "\\Recent");
	for (unsigned i = 0; i < box->messages_count; i++) {
		struct imap_model_message *message = &box->messages[i];

		if (!imap_model_set_holds(set, message->uid, 0))
			continue;
		if (message->modseq > since) {
			buffer_addf(&modified, "%s%u", modified.bytes ? "," : "", message->uid);
			store->counts->modified++;
			continue;
		}
		change_flags(store, message, list + 1, word[0] == '+');
		message->modseq = ++box->modseq;
		if (store->condstore)
			imap_model_say(session, "* %u FETCH (UID %u MODSEQ (%llu))\r\n", i + 1,
				       message->uid, (unsigned long long)message->modseq);
	}
	if (modified.bytes)
		imap_model_done(session, "OK [MODIFIED %.*s] Conditional STORE failed",
				(int)modified.bytes, modified.at);
	else
		imap_model_done(session, "OK Store completed");
	buffer_free(&modified);
}

bool imap_store_command(struct imap_session *session, const char *verb, struct text rest)
{
	if (strcasecmp(verb, "APPEND") == 0)
		do_append(session, rest);
	else if (strcasecmp(verb, "CREATE") == 0)
		do_create(session, rest);
	else if (strcasecmp(verb, "SUBSCRIBE") == 0)
		do_subscribe(session, rest);
	else if (strcasecmp(verb, "SELECT") == 0)
		imap_model_open_box(session, rest, true);
	else
		return false;
	return true;
}

/* ---- */

/* FNV-1a */
static uint64_t mix(uint64_t hash, const void *from, size_t n)
{
	const uint8_t *at = from;

	for (size_t i = 0; i < n; i++)
		hash = (hash ^ at[i]) * 1099511628211u;
	return hash;
}

uint64_t imap_store_fingerprint(const struct imap_model *model)
{
	uint64_t hash = 14695981039346656037u;

	for (unsigned b = 0; b < model->boxes_count; b++) {
		const struct imap_model_box *box = &model->boxes[b];

		hash = mix(hash, box->raw, strlen(box->raw));
		hash = mix(hash, &box->subscribed, sizeof box->subscribed);
		hash = mix(hash, &box->next_uid, sizeof box->next_uid);
		for (unsigned i = 0; i < box->messages_count; i++) {
			const struct imap_model_message *message = &box->messages[i];

			hash = mix(hash, &message->uid, sizeof message->uid);
			hash = mix(hash, message->flags, strlen(message->flags) + 1);
			hash = mix(hash, message->date, strlen(message->date) + 1);
			hash = mix(hash, message->bytes, message->length);
		}
	}
	return hash;
}
