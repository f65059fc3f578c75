/* After a crash or a lost answer: the seals that the ledger holds say what may be in the folders.
 * Nothing that a folder shows is believed before it was still for a while, because a server may go
 * on storing what a conversation sent that is gone. */
#include <stdlib.h>

#include "engine/log.h"
#include "transport/imap_sink_state.h"

/* A folder that others fill is never still: after so many settle times it is looked into. */
enum { SETTLES_MAX = 10, LOOKS_PER_SETTLE = 8 };

enum err imap_recover_add(struct imap_sink *sink, uint64_t seal_no, struct text seal)
{
	struct imap_found **at = &sink->found;
	struct imap_found *found = calloc(1, sizeof *found);

	if (!found)
		return RAISE(ERR_MEMORY_EXHAUSTED, "looking for what an earlier run sent");
	buffer_add(&found->seal, seal.at, seal.bytes);
	found->seal_no = seal_no;
	while (*at)
		at = &(*at)->next;
	*at = found;
	if (found->seal.failed)
		return RAISE(ERR_MEMORY_EXHAUSTED, "looking for what an earlier run sent");
	if (!parcel_seal_read((struct text){ found->seal.at, found->seal.bytes }, &found->view))
		return RAISE(ERR_LEDGER_DAMAGED, "seal %llu is none of an IMAP destination",
			     (unsigned long long)seal_no);
	return OK;
}

void imap_recover_close(struct imap_sink *sink)
{
	for (struct imap_found *next, *found = sink->found; found; found = next) {
		next = found->next;
		buffer_free(&found->seal);
		free(found->outcomes);
		free(found->expected);
		free(found);
	}
	sink->found = NULL;
	free(sink->found_nos);
	sink->found_nos = NULL;
}

/* ---- the folders ---- */

/* Under whatever UIDVALIDITY: it may have been replaced more than once. */
static bool is_same_folder(const struct imap_found *a, const struct imap_found *b)
{
	return text_equal(a->view.raw, b->view.raw);
}

/* The first seal of each folder stands for it. */
static bool is_first(const struct imap_sink *sink, const struct imap_found *found)
{
	for (const struct imap_found *at = sink->found; at != found; at = at->next)
		if (is_same_folder(at, found))
			return false;
	return true;
}

static char *name_of(const struct imap_found *found)
{
	return strndup(found->view.raw.at, found->view.raw.bytes);
}

/* ---- stillness ---- */

struct still {
	struct imap_place place;
	uint32_t uidnext, messages; /* as said before */
	bool is_gone;
};

/* What a folder says now; a change begins the wait anew. */
static enum err ask_folder(struct imap_session *session, struct still *still, bool *changed)
{
	enum err e = imap_place_status(session, &still->place);

	if (e && err_retry_class(e) == RETRY_SKIP_BOX) {
		err_note_clear();
		still->is_gone = true;
		still->place.uidnext = still->place.messages = 0;
		e = OK;
	}
	*changed |=
		still->place.uidnext != still->uidnext || still->place.messages != still->messages;
	still->uidnext = still->place.uidnext;
	still->messages = still->place.messages;
	return e;
}

static enum err wait_until_still(struct imap_sink *sink, struct still *stills, size_t count)
{
	nsec settle = sink->config.settle, quiet_since = clock_now();
	nsec give_up = clock_after(SETTLES_MAX * settle);
	struct imap_session *session;
	bool changed;
	enum err e = OK;

	while (!e) {
		if ((e = imap_sink_borrow(sink, &session)))
			return e;
		changed = false;
		for (size_t i = 0; i < count && !e; i++)
			e = ask_folder(session, &stills[i], &changed);
		imap_sink_give_back(sink);
		if (changed)
			quiet_since = clock_now();
		if (e || clock_now() >= quiet_since + settle || clock_now() >= give_up)
			return e;
		e = fiber_sleep(
			min_nsec(quiet_since + settle, clock_after(settle / LOOKS_PER_SETTLE)));
	}
	return e;
}

/* ---- what is there ---- */

/* All seals of a folder together, because they are all that is ours in it from their marks on.
 * Where it was replaced it has other UIDs, so all of it is looked at for those of before, and what
 * is found of them is doubtful. */
struct folder {
	struct imap_found *first;
	const struct still *still;
	struct buffer records; /* of the seals of the present folder, then of those before it */
	size_t count, present; /* records */
	uint32_t mark;	       /* the lowest of the present folder's */
	struct parcel_claims *claims;
	size_t settled; /* records of which the claims say which copy is theirs */
	enum sink_known *known;
	struct parcel_outcome *outcomes;
	struct parcel_wanted *wanted;
	struct imap_looked there;
};

static bool is_present(const struct folder *folder, const struct imap_found *found)
{
	return found->view.uidvalidity == folder->still->place.uidvalidity;
}

static void gather_some(struct folder *folder, bool present)
{
	for (const struct imap_found *found = folder->first; found; found = found->next) {
		if (!is_same_folder(found, folder->first) || is_present(folder, found) != present)
			continue;
		buffer_add(&folder->records, found->view.records.at, found->view.records.bytes);
		if (present && found->view.uidnext < folder->mark)
			folder->mark = found->view.uidnext;
	}
}

static struct text records_of(const struct folder *folder)
{
	return (struct text){ folder->records.at, folder->records.bytes };
}

static enum err gather(struct folder *folder)
{
	folder->mark = UINT32_MAX;
	gather_some(folder, true);
	folder->present = folder->records.bytes / PARCEL_RECORD_BYTES;
	gather_some(folder, false);
	folder->count = folder->records.bytes / PARCEL_RECORD_BYTES;
	folder->outcomes = calloc(folder->count + 1, sizeof *folder->outcomes);
	folder->known = calloc(folder->count + 1, sizeof *folder->known);
	if (folder->records.failed || !folder->outcomes || !folder->known)
		return RAISE(ERR_MEMORY_EXHAUSTED, "what an earlier run sent");
	return OK;
}

/* Which copies are somebody's already. Of a folder of before nobody can tell. The second time all
 * of ours are counted, of which many are settled since. */
static enum err ask_claims(const struct sink_config *config, struct folder *folder)
{
	const struct imap_place *place = &folder->still->place;
	size_t ours = folder->first->expected ? 0 : folder->present;
	struct text records = { folder->records.at, ours * PARCEL_RECORD_BYTES };
	enum err e = parcel_claims_open(records, folder->mark, &folder->claims);

	if (!e && folder->present > 0)
		e = config->ask_copies(config->asked, place->raw, place->uidvalidity,
				       parcel_claims_add, folder->claims);
	if (e)
		return e;
	parcel_claims_sort(folder->claims);
	return parcel_wanted_open(records_of(folder), folder->claims, &folder->wanted);
}

static void close_folder(struct folder *folder)
{
	imap_looked_free(&folder->there);
	parcel_wanted_close(&folder->wanted);
	parcel_claims_close(&folder->claims);
	buffer_free(&folder->records);
	free(folder->outcomes);
	free(folder->known);
}

static uint32_t look_from(const struct folder *folder)
{
	return folder->present < folder->count ? 1 : folder->mark;
}

static enum err look_into(struct imap_sink *sink, struct folder *folder)
{
	const struct imap_place *place = &folder->still->place;
	struct imap_look *look;
	enum err e = folder->still->is_gone ? OK : imap_sink_look(sink, &look);

	if (e || folder->still->is_gone)
		return e;
	return imap_look_into(look, place->raw, place->uidvalidity, look_from(folder), UINT32_MAX,
			      folder->wanted, &folder->there);
}

/* Each seal gets its part of the outcomes. */
static enum err share_out(struct folder *folder, bool present)
{
	const struct parcel_outcome *outcomes = folder->outcomes + (present ? 0 : folder->present);

	for (struct imap_found *found = folder->first; found; found = found->next) {
		size_t count = found->view.records.bytes / PARCEL_RECORD_BYTES;

		if (!is_same_folder(found, folder->first) || is_present(folder, found) != present)
			continue;
		found->outcomes = calloc(count + 1, sizeof *outcomes);
		if (!found->outcomes)
			return RAISE(ERR_MEMORY_EXHAUSTED, "what an earlier run sent");
		for (size_t i = 0; i < count; i++)
			found->outcomes[i] = *outcomes++;
		found->doubt = present ? OK : ERR_SOURCE_EPOCH;
	}
	return OK;
}

/* ---- how often ---- */

static int by_digest(const void *a, const void *b)
{
	return memcmp(&((const struct imap_expected *)a)->digest,
		      &((const struct imap_expected *)b)->digest, DIGEST_BYTES);
}

static struct imap_expected *find_expected(const struct imap_found *first,
					   const struct digest *digest)
{
	const struct imap_expected key = { .digest = *digest };

	return first->expected ? bsearch(&key, first->expected, first->expected_count, sizeof key,
					 by_digest)
			       : NULL;
}

/* What a message that is there counts for: its bytes, or the original inside of it. Of both, those
 * that are still to be there. NULL: it is none of ours. */
static struct imap_expected *expected_for(const struct imap_found *first,
					  const struct parcel_found *there)
{
	struct imap_expected *one = find_expected(first, &there->digest), *inside = NULL;

	if (there->wrapped && (!one || !one->copies))
		inside = find_expected(first, &there->inside);
	return one && (!inside || !inside->copies) ? one : inside;
}

/* All that may be there of what was in doubt, as often as it is there now. */
static enum err expect(struct folder *folder)
{
	struct imap_found *first = folder->first;
	size_t n = folder->count, kept = 0;
	struct imap_expected *all = calloc(n + 1, sizeof *all), *one;
	struct parcel_record record;

	if (!all)
		return RAISE(ERR_MEMORY_EXHAUSTED, "what an earlier run sent");
	for (size_t i = 0; i < n; i++) {
		parcel_record_get(records_of(folder), i, &record);
		all[i].digest = record.digest;
	}
	qsort(all, n, sizeof *all, by_digest);
	for (size_t i = 0; i < n; i++)
		if (kept == 0 || by_digest(&all[kept - 1], &all[i]) != 0)
			all[kept++] = all[i];
	first->expected = all;
	first->expected_count = kept;
	first->looked_from = look_from(folder);
	first->looked_epoch = folder->still->place.uidvalidity;
	for (size_t i = 0; i < folder->there.found_count; i++)
		if ((one = expected_for(first, &folder->there.found[i])) != NULL)
			one->copies++;
	return OK;
}

void imap_recover_note_stored(struct imap_sink *sink, const struct imap_place *place,
			      const struct parcel_record *record)
{
	for (struct imap_found *found = sink->found; found; found = found->next) {
		struct imap_expected *one;

		if (!found->expected || !text_equal(found->view.raw, text_of(place->raw)))
			continue;
		if ((one = find_expected(found, &record->digest)) != NULL)
			one->copies++;
	}
}

/* Of a folder that was replaced meanwhile nothing can be said. */
static size_t count_surplus(const struct folder *folder)
{
	const struct imap_found *first = folder->first;
	size_t surplus = 0;

	if (first->looked_epoch != folder->still->place.uidvalidity ||
	    first->looked_from != look_from(folder))
		return 0;
	for (size_t i = 0; i < folder->there.found_count; i++) {
		struct imap_expected *one = expected_for(first, &folder->there.found[i]);

		if (one && one->copies == 0)
			surplus++;
		else if (one)
			one->copies--;
	}
	return surplus;
}

/* ---- what is settled already ---- */

/* Records [i, *end) of the text follow one another without a gap. */
static void find_run(struct text records, size_t i, size_t *end, struct parcel_record *first)
{
	size_t count = records.bytes / PARCEL_RECORD_BYTES;
	struct parcel_record next;

	parcel_record_get(records, i, first);
	for (*end = i + 1; *end < count && *end - i < IMAP_PARCEL_MESSAGES_MAX; ++*end) {
		parcel_record_get(records, *end, &next);
		if (next.box_no != first->box_no || next.no != first->no + (*end - i))
			break;
	}
}

/* A group's seals are kept while one of its messages is open. Where the others are settled they own
 * their copies, or a twin that was given back would pass for stored. Here are those whose UIDs
 * nobody knows; the others leave with their copies (parcel_claims). */
static enum err read_known(const struct imap_sink *sink, struct text records,
			   enum sink_known *known)
{
	size_t count = records.bytes / PARCEL_RECORD_BYTES, end;
	struct parcel_record first;
	enum err e = OK;

	for (size_t i = 0; i < count && !e; i = end) {
		find_run(records, i, &end, &first);
		e = sink->config.ask_known(sink->config.asked, first.box_no, first.no, end - i,
					   &known[i]);
	}
	return e;
}

/* ---- matching ---- */

static size_t match_records(struct folder *folder)
{
	struct imap_looked *there = &folder->there;
	size_t surplus = parcel_match_folder(records_of(folder), folder->present, folder->mark,
					     folder->known, there->found, there->found_count,
					     folder->outcomes);

	parcel_match_unread(records_of(folder), folder->known, there->unread, there->unread_count,
			    folder->outcomes);
	if (folder->present == folder->count)
		surplus += parcel_wanted_over(folder->wanted);
	return surplus;
}

static void log_look(const struct folder *folder, size_t surplus)
{
	size_t found = folder->settled, unread = 0;

	for (size_t i = 0; i < folder->count; i++) {
		found += folder->outcomes[i].fate != PARCEL_ABSENT;
		unread += folder->outcomes[i].fate == PARCEL_UNREAD;
	}
	log_event(surplus || unread ? LOG_WARN : LOG_INFO, "imap.looked",
		  "messages=%llu sealed=%zu found=%zu surplus=%zu not_readable=%zu in_doubt=%zu",
		  (unsigned long long)folder->there.seen, folder->count, found, surplus,
		  folder->there.unread_count, unread);
}

static enum err match(const struct imap_sink *sink, struct folder *folder, size_t *surplus)
{
	enum err e = read_known(sink, records_of(folder), folder->known);

	if (e)
		return e;
	folder->settled = parcel_claims_settle(folder->claims, folder->there.found,
					       folder->there.found_count, folder->there.unread,
					       &folder->there.unread_count, folder->known);
	if ((e = expect(folder)))
		return e;
	*surplus = match_records(folder);
	log_look(folder, *surplus);
	if ((e = share_out(folder, true)) == OK)
		e = share_out(folder, false);
	return e;
}

/* The second time only copies are counted. */
static enum err match_folder(struct imap_sink *sink, struct imap_found *first,
			     const struct still *still, size_t *surplus)
{
	struct folder folder = { .first = first, .still = still };
	enum err e = gather(&folder);

	*surplus = 0;
	if (!e)
		e = ask_claims(&sink->config, &folder);
	if (!e)
		e = look_into(sink, &folder);
	if (!e && first->expected)
		*surplus = count_surplus(&folder);
	else if (!e)
		e = match(sink, &folder, surplus);
	close_folder(&folder);
	return e;
}

static enum err open_stills(struct imap_sink *sink, struct still **out, size_t *count)
{
	struct still *stills;
	size_t n = 0;

	for (struct imap_found *found = sink->found; found; found = found->next)
		n += is_first(sink, found);
	*count = 0;
	if (!(*out = stills = calloc(n + 1, sizeof *stills)))
		return RAISE(ERR_MEMORY_EXHAUSTED, "looking for what an earlier run sent");
	for (struct imap_found *found = sink->found; found; found = found->next)
		if (is_first(sink, found) && !(stills[(*count)++].place.raw = name_of(found)))
			return RAISE(ERR_MEMORY_EXHAUSTED, "looking for what an earlier run sent");
	return OK;
}

static void close_stills(struct still *stills, size_t count)
{
	for (size_t i = 0; stills && i < count; i++)
		free(stills[i].place.raw);
	free(stills);
}

static enum err look(struct imap_sink *sink, size_t *surplus)
{
	struct still *stills = NULL;
	size_t count = 0, at = 0, more;
	enum err e = open_stills(sink, &stills, &count);

	*surplus = 0;
	if (!e)
		e = wait_until_still(sink, stills, count);
	for (struct imap_found *found = sink->found; found && !e; found = found->next) {
		if (!is_first(sink, found))
			continue;
		e = match_folder(sink, found, &stills[at++], &more);
		*surplus += more;
	}
	close_stills(stills, count);
	return e;
}

enum err imap_recover_look(struct imap_sink *sink)
{
	size_t surplus, seals = 0;
	enum err e;

	for (const struct imap_found *found = sink->found; found; found = found->next)
		seals++;
	if (!(sink->found_nos = calloc(seals, sizeof *sink->found_nos)))
		return RAISE(ERR_MEMORY_EXHAUSTED, "what an earlier run sent");
	if ((e = look(sink, &surplus)))
		return e;
	sink->surplus = surplus;
	/* They were listed before late commits came: what is found now must lie below the mark of
	 * what is sent next. */
	for (const struct imap_found *found = sink->found; found; found = found->next)
		imap_places_outdated(sink->places, found->view.raw);
	sink->is_looked = true;
	wake_all(&sink->changed);
	return OK;
}

enum err imap_recover_look_again(struct imap_sink *sink)
{
	nsec settle = sink->config.settle;
	size_t surplus;
	enum err e;

	sink->config.settle = 0; /* it was still then, and nothing of ours is under way */
	e = look(sink, &surplus);
	sink->config.settle = settle;
	surplus += sink->surplus;
	if (e || !surplus)
		return e;
	return RAISE(ERR_SINK_SURPLUS,
		     "%zu messages are in the destination's folders once more than they were sent"
		     " (an answer was lost, and the server stored late, or others delivered the"
		     " same)",
		     surplus);
}

/* ---- receipts ---- */

static enum err why_doubtful(const struct imap_found *found, const struct parcel_outcome *outcome)
{
	if (found->doubt || outcome->fate == PARCEL_STORED)
		return found->doubt;
	return outcome->fate == PARCEL_UNREAD ? ERR_SINK_UNREADABLE : ERR_SINK_ALTERED;
}

static void receipt_found(const struct imap_found *found, const struct parcel_record *record,
			  const struct parcel_outcome *outcome, struct receipt *receipt)
{
	bool stored = outcome->fate == PARCEL_STORED && !found->doubt;

	*receipt = (struct receipt){
		.kind = stored ? RECEIPT_STORED : RECEIPT_DOUBTFUL,
		.box_no = record->box_no,
		.no = record->no,
		.size_bytes = record->size_bytes,
		.digest = record->digest,
		.mark = record->mark,
		.mail_kind = (enum mail_kind)record->kind,
		.why = why_doubtful(found, outcome),
		.seal_no = found->seal_no,
		.was_sealed = true,
		.target_no = outcome->uid,
		.form = outcome->wrapped ? MAIL_WRAPPED : MAIL_AS_IT_IS,
	};
}

/* Those of one folder are forgotten together: with one of them alone, what it holds and was not
 * found would pass for its twin that another one held. */
static bool tell_folder_settled(struct imap_sink *sink, struct imap_found *first,
				struct receipt *receipt)
{
	size_t count = 0;

	if (first->is_settled)
		return false;
	for (struct imap_found *found = first; found; found = found->next)
		if (is_same_folder(found, first)) {
			sink->found_nos[count++] = found->seal_no;
			found->is_settled = true;
		}
	*receipt = (struct receipt){ .kind = RECEIPT_SETTLED,
				     .seal_nos = sink->found_nos,
				     .seals_count = count };
	return true;
}

bool imap_recover_receipt(struct imap_sink *sink, struct receipt *receipt)
{
	struct parcel_record record;

	for (struct imap_found *found = sink->found; found; found = found->next) {
		size_t count = found->view.records.bytes / PARCEL_RECORD_BYTES;

		while (found->at < count) {
			const struct parcel_outcome *outcome = &found->outcomes[found->at];

			parcel_record_get(found->view.records, found->at++, &record);
			if (outcome->fate == PARCEL_ABSENT)
				continue;
			receipt_found(found, &record, outcome, receipt);
			return true;
		}
	}
	for (struct imap_found *found = sink->found; found; found = found->next)
		if (tell_folder_settled(sink, found, receipt))
			return true;
	return false;
}
