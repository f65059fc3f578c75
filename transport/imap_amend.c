/* What the IMAP sink is told of messages that it stored in earlier runs: flags that changed at the
 * source are carried to the destination. What vanished there stays here, and what has another
 * number there lies where it lay. Queued, sorted by folder and UID, and carried folder by folder
 * over a conversation of its own (imap_flag), which is opened at its first use. */
#include <stdlib.h>

#include "engine/clock.h"
#include "engine/log.h"
#include "transport/imap_flag.h"
#include "transport/imap_sink_state.h"

enum {
	/* Changes that wait; more are carried before they are asked for, which does no harm. */
	AMENDS_MAX = 4096,
	KEYWORDS_MAX = 256 * 1024,
	FOLDERS_MAX = 64,
};
/* A conversation that was not used for so long may have been closed by the server. */
#define AMEND_IDLE_MAX (60 * NSEC_SECOND)

struct amend {
	unsigned folder, order;
	uint32_t uid, flags;
	uint64_t was_mark;
	uint32_t keywords_at;
	uint16_t keywords_bytes, keywords_dropped;
};
struct folder {
	char *raw;
	uint32_t uidvalidity;
};
struct imap_amends {
	struct imap_flag *flag; /* NULL: no conversation */
	nsec used;		/* when it was, last */
	struct amend list[AMENDS_MAX];
	unsigned count;
	struct buffer keywords;
	struct folder folders[FOLDERS_MAX];
	unsigned folders_count;
	struct imap_flagged flagged[AMENDS_MAX];
};

static struct imap_sink *sink_of(struct sink *base)
{
	return CONTAINER_OF(base, struct imap_sink, base);
}

static void forget(struct imap_amends *amends)
{
	while (amends->folders_count)
		free(amends->folders[--amends->folders_count].raw);
	amends->count = 0;
	buffer_reset(&amends->keywords);
}

void imap_amend_finish(struct imap_sink *sink, nsec until)
{
	if (sink->amends && sink->amends->flag)
		imap_flag_finish(sink->amends->flag, until);
}

void imap_amend_close(struct imap_sink *sink)
{
	if (!sink->amends)
		return;
	forget(sink->amends);
	buffer_free(&sink->amends->keywords);
	imap_flag_close(&sink->amends->flag);
	free(sink->amends);
	sink->amends = NULL;
}

/* ---- carrying ---- */

static enum err open_flag(struct imap_sink *sink)
{
	struct imap_amends *amends = sink->amends;
	const struct account *account = sink->account;
	nsec now = clock_now();
	enum err e = OK;

	if (amends->flag && now - amends->used > AMEND_IDLE_MAX) {
		imap_flag_finish(amends->flag, clock_after(account->io_timeout));
		imap_flag_close(&amends->flag);
	}
	if (!amends->flag)
		e = imap_flag_open(account,
				   clock_after(account->connect_timeout + account->io_timeout),
				   &amends->flag);
	amends->used = clock_now();
	return e;
}

static int compare(const void *left, const void *right)
{
	const struct amend *a = left, *b = right;

	if (a->folder != b->folder)
		return a->folder < b->folder ? -1 : 1;
	if (a->uid != b->uid)
		return a->uid < b->uid ? -1 : 1;
	return (a->order > b->order) - (a->order < b->order);
}

/* What was told twice: from what it was first to what it became last. */
static void merge_equal(struct imap_amends *amends)
{
	unsigned to = 0;

	qsort(amends->list, amends->count, sizeof amends->list[0], compare);
	for (unsigned i = 1; i < amends->count; i++) {
		struct amend *last = &amends->list[to];
		struct amend next = amends->list[i];

		if (next.folder == last->folder && next.uid == last->uid) {
			next.was_mark = last->was_mark;
			*last = next;
		} else {
			amends->list[++to] = next;
		}
	}
	amends->count = amends->count ? to + 1 : 0;
}

/* The messages of one folder, from `first` on. */
static enum err carry_folder(struct imap_sink *sink, unsigned first, unsigned *count)
{
	struct imap_amends *amends = sink->amends;
	const struct folder *folder = &amends->folders[amends->list[first].folder];

	for (*count = 0; first + *count < amends->count; ++*count) {
		const struct amend *amend = &amends->list[first + *count];

		if (amend->folder != amends->list[first].folder)
			break;
		amends->flagged[*count] = (struct imap_flagged){
			.uid = amend->uid,
			.flags = amend->flags,
			.was_mark = amend->was_mark,
			.keywords = amend->keywords_bytes ? amends->keywords.at + amend->keywords_at
							  : "",
			.keywords_bytes = amend->keywords_bytes,
			.keywords_dropped = amend->keywords_dropped,
		};
	}
	return imap_flag_carry(amends->flag, folder->raw, folder->uidvalidity, amends->flagged,
			       *count, sink->config.carried);
}

enum err imap_amend_flush(struct sink *base)
{
	struct imap_sink *sink = sink_of(base);
	struct imap_amends *amends = sink->amends;
	unsigned count;
	enum err e;

	if (!amends || !amends->count)
		return OK;
	merge_equal(amends);
	e = open_flag(sink);
	for (unsigned at = 0; at < amends->count && !e; at += count)
		e = carry_folder(sink, at, &count);
	forget(amends);
	if (e)
		imap_flag_close(&amends->flag);
	return e;
}

/* ---- queueing ---- */

static enum err place_folder(struct imap_amends *amends, const struct change *change,
			     unsigned *place)
{
	struct folder *folder = amends->folders;

	for (unsigned i = 0; i < amends->folders_count; i++, folder++)
		if (folder->uidvalidity == change->target_epoch &&
		    strcmp(folder->raw, change->target) == 0) {
			*place = i;
			return OK;
		}
	must(amends->folders_count < FOLDERS_MAX);
	folder->uidvalidity = (uint32_t)change->target_epoch;
	if (!(folder->raw = strdup(change->target)))
		return RAISE(ERR_MEMORY_EXHAUSTED, "carrying flags");
	*place = amends->folders_count++;
	return OK;
}

static enum err queue(struct imap_amends *amends, const struct change *change)
{
	struct amend *amend = &amends->list[amends->count];
	enum err e;

	*amend = (struct amend){
		.order = amends->count,
		.uid = (uint32_t)change->target_no,
		.flags = change->meta.flags,
		.was_mark = change->was_mark,
		.keywords_at = (uint32_t)amends->keywords.bytes,
		.keywords_bytes = change->meta.keywords_bytes,
		.keywords_dropped = change->meta.keywords_dropped,
	};
	if ((e = place_folder(amends, change, &amend->folder)))
		return e;
	buffer_add(&amends->keywords, change->meta.keywords, change->meta.keywords_bytes);
	if (amends->keywords.failed)
		return RAISE(ERR_MEMORY_EXHAUSTED, "carrying flags");
	amends->count++;
	return OK;
}

static bool is_full(const struct imap_amends *amends)
{
	return amends->count == AMENDS_MAX || amends->folders_count == FOLDERS_MAX ||
	       amends->keywords.bytes + KEYWORDS_BYTES_MAX > KEYWORDS_MAX;
}

enum err imap_amend(struct sink *base, const struct change *change)
{
	struct imap_sink *sink = sink_of(base);
	enum err e;

	if (change->kind == CHANGE_VANISHED || sink->config.flags_keep ||
	    change->was_mark == mail_mark(&change->meta))
		return OK;
	/* A server without UIDPLUS, or a folder that is another one now. */
	if (!change->target || !change->target_epoch || change->target_epoch > UINT32_MAX ||
	    !change->target_no || change->target_no > UINT32_MAX) {
		sink->config.carried->refused++;
		log_event(LOG_INFO, "imap.flags_not_carried",
			  "message=%llu why=\"its number at the destination is not known\"",
			  (unsigned long long)change->no);
		return OK;
	}
	if (!sink->amends && !(sink->amends = calloc(1, sizeof *sink->amends)))
		return RAISE(ERR_MEMORY_EXHAUSTED, "carrying flags");
	if (is_full(sink->amends) && (e = imap_amend_flush(base)))
		return e;
	return queue(sink->amends, change);
}
