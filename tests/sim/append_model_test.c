/* The model of a destination (imap_model_store.h), driven by imap_append, imap_source and
 * parcel_match alone: a *carrier* brings a few messages there as docs/FORMAT.md section 8 says. It
 * writes down what it is about to send, sends it, and where it does not learn what became of it, it
 * waits until the folder is quiet, looks, and sends what is not there. What is wrong with the model
 * shows here, apart from what is wrong with the real sink.
 *
 *	make sim SEED=7 CARRIER=17    the carrier is cut before that step */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "crypto/digest.h"
#include "crypto/secret.h"
#include "engine/clock.h"
#include "engine/fiber.h"
#include "engine/shard.h"
#include "tests/sim/sweep.h"
#include "tests/test.h"
#include "transport/imap_append.h"
#include "transport/imap_source.h"
#include "transport/parcel.h"

enum {
	MESSAGES = 9,
	PARCEL_MAX = 4,
	FOUND_MAX = 20,
	ATTEMPTS_MAX = 12,
	SEAL_BYTES_MAX = 1024,
	CUTS_USUAL = SANITIZED ? 15 : 60,
};
#define QUIET	   (30 * NSEC_SECOND)
#define LOOK_EVERY (2 * NSEC_SECOND)
#define PATIENCE   (60 * NSEC_SECOND)

static const char folder[] = "Work";

struct post {
	struct buffer mail;
	const char *flags, *date;
};

/* What the carrier has written down: it outlives its processes, and a write is one act. */
struct notes {
	bool done[MESSAGES];
	bool doubtful[MESSAGES];
	bool is_open; /* the parcel of this seal is on its way */
	size_t seal_bytes;
	char seal[SEAL_BYTES_MAX];
	unsigned looks, surplus;
};

struct carrier {
	struct world *world;
	struct notes *notes;
	struct post posts[MESSAGES];
	unsigned per_act;
	bool hasty; /* does not wait until the folder is quiet */
	/* of one conversation */
	struct imap_session *session;
	struct account account;
	struct imap_append *append;
	uint32_t uidvalidity, uidnext, messages;
	unsigned found_count;
	struct parcel_found found[FOUND_MAX];
};

/* Of a process: its checks count where the test can see it. */
static void holds(const struct carrier *carrier, bool condition, const char *what, int line)
{
	if (condition)
		return;
	carrier->world->result->faults++;
	printf("  %s:%d: %s is not true\n", __FILE__, line, what);
}
#define HOLDS(carrier, condition) holds(carrier, condition, #condition, __LINE__)

/* The carrier's folder, which is the last that was made. */
static const struct imap_model_box *work_box(const struct carrier *carrier)
{
	const struct imap_model *target = carrier->world->target;

	return &target->boxes[target->boxes_count - 1];
}

/* ---- small things ---- */

static void make_posts(struct carrier *carrier)
{
	static const char *const flags[] = { "", "\\Seen", "\\Seen \\Flagged $Forwarded",
					     "\\Answered" };
	static const char *const dates[] = { "17-Jul-1996 02:44:25 -0700",
					     " 9-Feb-2020 23:59:59 +0530" };

	for (unsigned i = 0; i < MESSAGES; i++) {
		struct post *post = &carrier->posts[i];
		unsigned as = i == 5 ? 4 : i; /* twins */

		if (i == 7)
			buffer_add_text(&post->mail, "Subject: \xc3\xbc"
						     "ber\r\n\r\nbare\n\xc3\xbc\r");
		else
			world_make_mail(carrier->world, "carried", 300 + 1500 * as, &post->mail);
		post->flags = flags[as % ARRAY_COUNT(flags)];
		post->date = dates[as % ARRAY_COUNT(dates)];
	}
}

static void digest_mail(const struct buffer *mail, struct digest *out)
{
	must(digest_of(digest_type(text_of("blake3")), mail->at, mail->bytes, out) == OK);
}

/* Of the normal form; of what is sent, of the bytes where no server is known to alter them. */
static void digest_normal(const struct buffer *mail, bool is_sent, struct digest *out)
{
	struct likeness_reader reader;
	struct likeness likeness;
	struct tap *tap;

	must(digest_open(digest_type(text_of("blake3")), &tap) == OK);
	likeness_begin(&reader, tap);
	likeness_feed(&reader, mail->at, mail->bytes);
	must(likeness_end(&reader, &likeness) == OK);
	*out = likeness.normal;
	if (is_sent && !likeness.oddities)
		digest_mail(mail, out);
	tap->type->close(&tap);
}

static void post_meta(const struct post *post, struct mail_meta *meta)
{
	*meta = (struct mail_meta){ 0 };
	world_flags(post->flags, meta);
	must(mail_date_parse(text_of(post->date), &meta->date));
}

/* ---- commands beside APPEND ---- */

static enum err take_status(struct imap_session *session, const struct imap_reply *reply,
			    void *context)
{
	struct carrier *carrier = context;
	const char *list = memmem(reply->text.at, reply->text.bytes, "(MESSAGES ", 10);

	(void)session;
	if (list)
		HOLDS(carrier,
		      sscanf(list, "(MESSAGES %u UIDNEXT %u UIDVALIDITY %u", &carrier->messages,
			     &carrier->uidnext, &carrier->uidvalidity) == 3);
	return OK;
}

/* *granted NULL: a refusal is an error. */
static enum err ask(struct carrier *carrier, const char *command, bool *granted)
{
	struct imap_wire *wire = imap_session_wire(carrier->session);
	unsigned tag = imap_wire_begin(wire);
	struct imap_status status;
	enum err e;

	buffer_add_text(&wire->command, command);
	e = imap_wire_send(wire);
	if (!e)
		e = imap_wire_flush(wire);
	if (!e)
		e = imap_session_answer(carrier->session, tag, take_status, carrier, &status);
	if (e)
		return e;
	if (granted)
		*granted = status.state == IMAP_OK;
	else if (status.state != IMAP_OK)
		return RAISE(ERR_IMAP_REFUSED, "%s", command);
	return OK;
}

static enum err ask_status(struct carrier *carrier)
{
	return ask(carrier, "STATUS \"Work\" (MESSAGES UIDNEXT UIDVALIDITY)", NULL);
}

static enum err await_quiet(struct carrier *carrier)
{
	enum err e = ask_status(carrier);
	nsec since = clock_now();

	while (!e && !carrier->hasty && clock_now() - since < QUIET) {
		uint32_t next = carrier->uidnext, messages = carrier->messages;

		if ((e = fiber_sleep(clock_after(LOOK_EVERY))) || (e = ask_status(carrier)))
			break;
		if (carrier->uidnext != next || carrier->messages != messages)
			since = clock_now();
	}
	return e;
}

/* ---- looking ---- */

static enum err read_body(struct item *item, struct buffer *to)
{
	struct iolist list = { .count = 0 };
	enum err e;

	while ((e = stream_pull(item->body, &list)) == OK) {
		for (unsigned i = 0; i < list.count; i++)
			buffer_add(to, slice_bytes(&list.slices[i]), list.slices[i].length);
		iolist_release(&list);
	}
	stream_close(&item->body);
	return e == ERR_STREAM_ENDED ? OK : e;
}

/* What a reader is told of a message must be what the server was given. */
static void check_item(struct carrier *carrier, const struct item *item, const struct buffer *mail)
{
	const struct imap_model_box *box = work_box(carrier);

	for (unsigned i = 0; i < box->messages_count; i++) {
		const struct imap_model_message *message = &box->messages[i];
		static struct mail_meta meta;

		if (message->uid != item->no)
			continue;
		HOLDS(carrier, message->length == mail->bytes &&
				       memcmp(message->bytes, mail->at, mail->bytes) == 0);
		meta = (struct mail_meta){ 0 };
		world_flags(message->flags, &meta);
		HOLDS(carrier, meta.flags == item->meta.flags);
		HOLDS(carrier, meta.keywords_bytes == item->meta.keywords_bytes);
		must(mail_date_parse(text_of(message->date), &meta.date));
		HOLDS(carrier,
		      item->meta.date.known && item->meta.date.seconds == meta.date.seconds);
		return;
	}
	holds(carrier, false, "a message that the server has", __LINE__);
}

static enum err take_items(struct carrier *carrier, struct source *source)
{
	static struct item item;
	struct parcel_found *found;
	enum err e;

	while ((e = imap_source.next(source, &item)) == OK) {
		struct buffer mail = { 0 };

		if (item.kind == ITEM_RANGE_DONE)
			continue;
		if (item.fate || (e = read_body(&item, &mail))) {
			buffer_free(&mail);
			return e ? e : RAISE(item.fate, "looking");
		}
		check_item(carrier, &item, &mail);
		must(carrier->found_count < FOUND_MAX);
		found = &carrier->found[carrier->found_count++];
		found->uid = (uint32_t)item.no;
		digest_mail(&mail, &found->digest);
		digest_normal(&mail, false, &found->normal);
		buffer_free(&mail);
	}
	return e == ERR_PIPE_ENDED ? OK : e;
}

static enum err find_box(struct source *source, struct box *out)
{
	static struct box_page page;
	enum err e = OK;

	do {
		page = (struct box_page){ 0 };
		e = imap_source.list(source, &page, clock_after(PATIENCE));
		for (unsigned i = 0; i < page.count && !e; i++)
			if (strcmp(page.boxes[i].raw, folder) == 0)
				*out = page.boxes[i];
	} while (!e && !page.last);
	return e;
}

/* Everything in the folder from that UID on, over a conversation that may only read. */
static enum err look(struct carrier *carrier, uint32_t from)
{
	static struct box box;
	struct reserve *reserve = NULL;
	struct source *source = NULL;
	enum err e;

	carrier->found_count = 0;
	carrier->notes->looks++;
	box = (struct box){ .box_no = 1 };
	e = reserve_open(arena_current(), LANE_CHUNKS_RESERVED, clock_after(PATIENCE), &reserve);
	if (!e)
		e = imap_source.open(&source, &carrier->account, reserve, clock_after(PATIENCE));
	if (!e && (e = find_box(source, &box)) == OK) {
		box.box_no = 1;
		HOLDS(carrier, box.epoch == carrier->uidvalidity);
		if (box.next_no > from)
			e = imap_source.ask(source, &box, from, box.next_no - 1);
		if (!e)
			e = take_items(carrier, source);
	}
	if (!e)
		e = imap_source.finish(source, clock_after(PATIENCE));
	if (source)
		imap_source.close(&source);
	if (reserve)
		reserve_close(&reserve);
	return e;
}

/* ---- a parcel ---- */

static enum err settle(struct carrier *carrier)
{
	struct notes *notes = carrier->notes;
	struct parcel_outcome outcomes[PARCEL_MAX];
	struct parcel_record record;
	struct parcel_seal seal;
	enum err e;

	must(parcel_seal_read((struct text){ notes->seal, notes->seal_bytes }, &seal));
	if ((e = await_quiet(carrier)) || (e = look(carrier, seal.uidnext)))
		return e;
	HOLDS(carrier, seal.uidvalidity == carrier->uidvalidity);
	notes->surplus += (unsigned)parcel_match(seal.records, NULL, carrier->found,
						 carrier->found_count, outcomes);
	for (size_t i = 0; i < seal.records.bytes / PARCEL_RECORD_BYTES; i++) {
		parcel_record_get(seal.records, i, &record);
		notes->done[record.no] |= outcomes[i].fate != PARCEL_ABSENT;
		notes->doubtful[record.no] |= outcomes[i].fate == PARCEL_ALTERED;
	}
	notes->is_open = false;
	return OK;
}

static unsigned choose(const struct carrier *carrier, unsigned chosen[PARCEL_MAX])
{
	unsigned count = 0;

	for (unsigned i = 0; i < MESSAGES && count < PARCEL_MAX; i++)
		if (!carrier->notes->done[i])
			chosen[count++] = i;
	return count;
}

static void write_seal(struct carrier *carrier, const unsigned *chosen, unsigned count)
{
	struct notes *notes = carrier->notes;
	struct buffer records = { 0 }, seal = { 0 };

	for (unsigned i = 0; i < count; i++) {
		struct parcel_record record = { .box_no = 1, .no = chosen[i] };

		digest_mail(&carrier->posts[chosen[i]].mail, &record.digest);
		digest_normal(&carrier->posts[chosen[i]].mail, true, &record.normal);
		parcel_record_add(&records, &record);
	}
	parcel_seal_write(&seal, &(struct parcel_seal){ .raw = text_of(folder),
							.uidvalidity = carrier->uidvalidity,
							.uidnext = carrier->uidnext,
							.records = { records.at, records.bytes } });
	must(seal.bytes <= SEAL_BYTES_MAX);
	bytes_copy(notes->seal, seal.at, notes->seal_bytes = seal.bytes, BYTES_META);
	notes->is_open = true;
	buffer_free(&records);
	buffer_free(&seal);
}

static enum err send_act(struct carrier *carrier, const unsigned *chosen, unsigned count,
			 struct imap_append_act **act)
{
	enum err e = imap_append_begin(carrier->append, folder, act);

	for (unsigned i = 0; i < count && !e; i++) {
		const struct post *post = &carrier->posts[chosen[i]];
		struct imap_append_left_out left_out;
		static struct mail_meta meta;

		post_meta(post, &meta);
		e = imap_append_message(*act, &meta, post->mail.bytes, false, &left_out);
		if (!e && !imap_append_is_off(*act))
			e = imap_append_bytes(*act, post->mail.at, post->mail.bytes);
	}
	return e ? e : imap_append_end(*act);
}

/* APPENDUID must name what the server has under that UID. */
static void check_uids(const struct carrier *carrier, const struct imap_appended *appended,
		       const unsigned *chosen)
{
	const struct imap_model_box *box = work_box(carrier);

	HOLDS(carrier, appended->uidvalidity == box->epoch);
	for (unsigned n = 0; n < appended->messages; n++)
		for (unsigned i = 0; i < box->messages_count; i++)
			if (box->messages[i].uid == imap_appended_uid(appended, n))
				HOLDS(carrier, box->messages[i].length ==
						       carrier->posts[chosen[n]].mail.bytes);
}

static enum err take_answer(struct carrier *carrier, struct imap_append_act *act,
			    const unsigned *chosen)
{
	struct imap_appended appended;
	enum err e = imap_append_answer(act, &appended);

	if (e)
		return e;
	if (!appended.granted)
		return imap_appended_raise(&appended, "the carrier's APPEND");
	if (carrier->world->target->store->uidplus)
		check_uids(carrier, &appended, chosen);
	for (unsigned i = 0; i < appended.messages; i++)
		carrier->notes->done[chosen[i]] = true;
	return OK;
}

/* All acts of the parcel are on their way before the first answer is taken. */
static enum err send_parcel(struct carrier *carrier)
{
	struct imap_append_act *acts[PARCEL_MAX];
	unsigned chosen[PARCEL_MAX], count = choose(carrier, chosen), n = 0;
	enum err e = ask_status(carrier);

	if (e)
		return e;
	write_seal(carrier, chosen, count);
	for (unsigned i = 0; i < count && !e; i += carrier->per_act)
		e = send_act(carrier, chosen + i, (unsigned)min_u64(carrier->per_act, count - i),
			     &acts[n++]);
	for (unsigned i = 0; i < n && !e; i++)
		e = take_answer(carrier, acts[i], chosen + i * carrier->per_act);
	carrier->notes->is_open = carrier->notes->is_open && e;
	return e;
}

static enum err carry_all(struct carrier *carrier)
{
	unsigned chosen[PARCEL_MAX];
	bool granted;
	enum err e = imap_session_open_to_change(&carrier->account, clock_after(PATIENCE),
						 &carrier->session);

	if (!e)
		e = imap_append_open(carrier->session, &carrier->append);
	if (!e)
		e = ask(carrier, "CREATE \"Work\"", &granted);
	if (!e && carrier->notes->is_open)
		e = settle(carrier);
	while (!e && choose(carrier, chosen) > 0)
		e = send_parcel(carrier);
	if (!e)
		e = imap_session_finish(carrier->session, clock_after(PATIENCE));
	imap_append_close(&carrier->append);
	imap_session_close(&carrier->session);
	return e;
}

/* Of one process: again and again, until nothing more is lost. */
static enum err carry(void *argument)
{
	struct carrier *carrier = argument;
	enum err e = ERR_NET_CLOSED;

	for (unsigned i = 0; i < ATTEMPTS_MAX && e; i++) {
		err_note_clear();
		e = carry_all(carrier);
		if (e && err_retry_class(e) != RETRY_RECONNECT && err_retry_class(e) != RETRY_NOW &&
		    err_retry_class(e) != RETRY_BACKOFF)
			return e;
	}
	return e;
}

/* In a shard, logged in to the second server. */
static enum err carrier_run(struct world *world, struct carrier *carrier,
			    enum err (*run)(void *carrier))
{
	struct secret *password;
	enum err e =
		secret_from_bytes(world->imap.password, strlen(world->imap.password), &password);

	must(e == OK);
	carrier->account = world_target_account(password);
	e = shard_run(&(struct shard_config){ .arena_chunks = LANE_CHUNKS_RESERVED }, run, carrier);
	secret_close(&password);
	return e;
}

static enum err carry_body(struct world *world, void *argument)
{
	return carrier_run(world, argument, carry);
}

/* ---- the judge ---- */

static unsigned copies_of(const struct carrier *carrier, unsigned i)
{
	const struct imap_model_box *box = work_box(carrier);
	const struct post *post = &carrier->posts[i];
	unsigned copies = 0;

	for (unsigned m = 0; m < box->messages_count; m++) {
		const struct imap_model_message *message = &box->messages[m];

		copies += message->length == post->mail.bytes && !message->foreign &&
			  memcmp(message->bytes, post->mail.at, post->mail.bytes) == 0 &&
			  strcmp(message->flags, post->flags) == 0 &&
			  strcmp(message->date, post->date) == 0;
	}
	return copies;
}

static unsigned all_of_ours(const struct carrier *carrier)
{
	const struct imap_model_box *box = work_box(carrier);
	unsigned count = 0;

	for (unsigned m = 0; m < box->messages_count; m++)
		count += !box->messages[m].foreign;
	return count;
}

/* False: something is lost or there twice. */
static bool is_carried(const struct carrier *carrier)
{
	bool good = true;

	imap_store_settle(carrier->world->target);
	for (unsigned i = 0; i < MESSAGES; i++)
		good &= copies_of(carrier, i) == (i == 4 || i == 5 ? 2 : 1) &&
			carrier->notes->done[i] && !carrier->notes->doubtful[i];
	return good && all_of_ours(carrier) == MESSAGES;
}

static bool ended_well(const struct carrier *carrier)
{
	const struct world_result *result = carrier->world->result;

	if (result->end == WORLD_FINISHED && !result->error && !result->open_files &&
	    !result->faults && !result->store.broken && !result->target.changes &&
	    !result->target.unknown)
		return true;
	printf("  broken: %s; unknown: %s\n", result->store.broken_what,
	       result->target.unknown_line);
	world_show(carrier->world, "the carrier");
	return false;
}

static void carrier_open(struct carrier *carrier, unsigned per_act)
{
	*carrier =
		(struct carrier){ .world = world_open(world_seed(SEED_USUAL)), .per_act = per_act };
	world_add_target(carrier->world);
	carrier->notes = mmap(NULL, sizeof *carrier->notes, PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	must(carrier->notes != MAP_FAILED);
	make_posts(carrier);
}

static void carrier_close(struct carrier *carrier)
{
	for (unsigned i = 0; i < MESSAGES; i++)
		buffer_free(&carrier->posts[i].mail);
	must(munmap(carrier->notes, sizeof *carrier->notes) == 0);
	world_close(&carrier->world);
}

/* ---- what it offers ---- */

TEST(what_is_appended_is_there_whatever_the_server_offers)
{
	ONLY_FOR("");
	for (unsigned with = 0; with < 24; with++) {
		struct carrier carrier;
		struct imap_store *store;

		carrier_open(&carrier, with & 1 ? 3 : 1);
		store = carrier.world->target->store;
		store->multiappend = with & 1;
		store->uidplus = with & 2;
		store->few = with & 4;
		store->literals = (enum imap_store_literals)(with / 8);
		store->works_max = with & 4 ? NSEC_SECOND : 0;
		world_process(carrier.world, carry_body, &carrier);
		CHECK(ended_well(&carrier));
		CHECK(is_carried(&carrier));
		CHECK_EQ(carrier.world->result->store.appends, with & 1 ? 5 : MESSAGES);
		CHECK_EQ(carrier.world->result->store.stored, MESSAGES);
		CHECK_EQ(carrier.world->result->store.creates, 1);
		carrier_close(&carrier);
	}
}

/* Looks at what another process stored. */
static enum err look_body_fiber(void *argument)
{
	struct carrier *carrier = argument;

	carrier->uidvalidity = work_box(carrier)->epoch;
	return look(carrier, 1);
}

static enum err look_body(struct world *world, void *argument)
{
	struct carrier *carrier = argument;
	enum err e = carrier_run(world, carrier, look_body_fiber);

	carrier->notes->surplus = carrier->found_count;
	return e;
}

TEST(the_next_process_reads_what_was_appended_with_flags_and_dates)
{
	struct carrier carrier;

	ONLY_FOR("");
	carrier_open(&carrier, 2);
	world_process(carrier.world, carry_body, &carrier);
	CHECK(ended_well(&carrier));
	world_process(carrier.world, look_body, &carrier);
	CHECK(ended_well(&carrier));
	CHECK_EQ(carrier.notes->surplus, MESSAGES);
	CHECK_EQ(carrier.world->result->target.fetches, 1);
	carrier_close(&carrier);
}

TEST(a_world_goes_back_to_what_its_destination_was)
{
	struct carrier carrier;
	struct world_mark mark;
	uint64_t empty;

	ONLY_FOR("");
	carrier_open(&carrier, 1);
	empty = imap_store_fingerprint(carrier.world->target);
	mark = world_mark(carrier.world);
	world_process(carrier.world, carry_body, &carrier);
	CHECK(imap_store_fingerprint(carrier.world->target) != empty);
	world_back(carrier.world, &mark);
	CHECK_EQ(imap_store_fingerprint(carrier.world->target), empty);
	CHECK_EQ(carrier.world->target->boxes_count, 1);
	world_mark_free(&mark);
	carrier_close(&carrier);
}

/* ---- what it does wrong ---- */

/* Sent once, refused, and why. */
static void refused_with(void (*turn)(struct imap_store *), enum err expected, unsigned stored)
{
	for (unsigned with = 0; with < 4; with++) {
		struct carrier carrier;

		carrier_open(&carrier, 1);
		turn(carrier.world->target->store);
		carrier.world->target->store->refuses_early = with & 1;
		carrier.world->target->store->literals =
			with & 2 ? IMAP_STORE_LITERALS_NONE : IMAP_STORE_LITERALS_PLUS;
		world_process(carrier.world, carry_body, &carrier);
		CHECK_EQ(carrier.world->result->end, WORLD_FINISHED);
		CHECK_EQ(carrier.world->result->error, expected);
		CHECK_EQ(carrier.world->result->store.stored, stored);
		CHECK_EQ(all_of_ours(&carrier), stored);
		carrier_close(&carrier);
	}
}

static void turn_quota(struct imap_store *store)
{
	store->quota_messages = 2;
}

static void turn_too_big(struct imap_store *store)
{
	store->bytes_max = 1200;
}

static void turn_bad(struct imap_store *store)
{
	store->bad_text = "bare\n";
}

static void turn_create_no(struct imap_store *store)
{
	store->create_no = folder;
}

TEST(refusals_store_nothing_and_say_why)
{
	ONLY_FOR("");
	refused_with(turn_quota, ERR_SINK_QUOTA, 2);
	refused_with(turn_too_big, ERR_SINK_TOOBIG, 1); /* of the first parcel: the smallest */
	refused_with(turn_bad, ERR_SINK_REFUSED, 7);	/* what comes before it */
}

TEST(a_folder_that_is_refused_takes_no_message)
{
	struct carrier carrier;

	ONLY_FOR("");
	carrier_open(&carrier, 1);
	turn_create_no(carrier.world->target->store);
	world_process(carrier.world, carry_body, &carrier);
	CHECK_EQ(carrier.world->result->end, WORLD_FINISHED);
	CHECK(carrier.world->result->error != OK);
	CHECK_EQ(carrier.world->target->boxes_count, 1);
	CHECK_EQ(carrier.world->result->store.stored, 0);
	carrier_close(&carrier);
}

TEST(a_server_that_is_busy_for_a_while_takes_all_in_the_end)
{
	struct carrier carrier;

	ONLY_FOR("");
	carrier_open(&carrier, 2);
	carrier.world->target->store->busy_appends = 1;
	carrier.world->target->store->throttled_appends = 1;
	world_process(carrier.world, carry_body, &carrier);
	CHECK(ended_well(&carrier));
	CHECK(is_carried(&carrier));
	CHECK_EQ(carrier.world->result->store.refused, 2);
	CHECK(carrier.notes->looks > 0);
	carrier_close(&carrier);
}

TEST(an_altered_header_is_recognised_and_not_sent_again)
{
	struct carrier carrier;

	ONLY_FOR("");
	carrier_open(&carrier, 1);
	carrier.world->target->store->alters_headers = true;
	carrier.world->target->store->lose_answers = MESSAGES;
	world_process(carrier.world, carry_body, &carrier);
	CHECK(ended_well(&carrier));
	CHECK_EQ(all_of_ours(&carrier), MESSAGES);
	CHECK_EQ(copies_of(&carrier, 7), 0);
	CHECK(carrier.notes->doubtful[7]);
	carrier_close(&carrier);
}

TEST(keywords_are_forgotten_where_they_are_forbidden)
{
	struct carrier carrier;
	const struct imap_model_box *box;

	ONLY_FOR("");
	carrier_open(&carrier, 1);
	carrier.world->target->store->drops_keywords = true;
	world_process(carrier.world, carry_body, &carrier);
	CHECK(ended_well(&carrier));
	box = work_box(&carrier);
	CHECK_EQ(box->messages_count, MESSAGES);
	for (unsigned i = 0; i < box->messages_count; i++)
		CHECK(!strchr(box->messages[i].flags, '$'));
	CHECK(strcmp(box->messages[2].flags, "\\Seen \\Flagged") == 0);
	carrier_close(&carrier);
}

TEST(names_that_differ_in_case_are_one_where_case_is_folded)
{
	ONLY_FOR("");
	for (unsigned folds = 0; folds < 2; folds++) {
		struct carrier carrier;

		carrier_open(&carrier, 1);
		carrier.world->target->store->folds_case = folds;
		(void)imap_store_add_box(carrier.world->target, "WORK", "");
		world_process(carrier.world, carry_body, &carrier);
		CHECK_EQ(carrier.world->target->boxes_count, folds ? 2 : 3);
		carrier_close(&carrier);
	}
}

/* ---- lost answers, late commits, cuts ---- */

TEST(an_answer_that_is_lost_leaves_the_message_there)
{
	ONLY_FOR("");
	for (unsigned per_act = 1; per_act <= 4; per_act++) {
		struct carrier carrier;

		carrier_open(&carrier, per_act);
		carrier.world->target->store->lose_answers = 3;
		carrier.world->target->store->foreign_left = 10;
		carrier.world->target->store->foreign_one_in = 4;
		world_process(carrier.world, carry_body, &carrier);
		CHECK(ended_well(&carrier));
		CHECK(is_carried(&carrier));
		CHECK_EQ(carrier.world->result->store.lost_answers, 3);
		CHECK_EQ(carrier.notes->surplus, 0);
		CHECK(carrier.notes->looks >= 3);
		CHECK(carrier.world->result->store.foreign > 0);
		carrier_close(&carrier);
	}
}

/* One cut after the other. Returns after how many of them a message was lost or doubled. */
static unsigned cut_everywhere(struct carrier *carrier, unsigned usual)
{
	struct world *world = carrier->world;
	struct world_mark start = world_mark(world);
	struct notes fresh = *carrier->notes;
	uint64_t only = sweep_asked("CARRIER"), steps, step;
	unsigned faults = 0, late = 0;

	world_process(world, carry_body, carrier);
	CHECK(ended_well(carrier));
	steps = world->result->steps;
	step = sweep_asked("SIM_ALL") ? 1 : sweep_every(steps, usual);
	for (uint64_t k = only ? only : 1; k <= (only ? only : steps); k += step) {
		world_back(world, &start);
		*carrier->notes = fresh;
		world_cut_at(world, k);
		world_process(world, carry_body, carrier);
		CHECK_EQ(world->result->end, WORLD_CUT);
		late += world->result->store.late;
		world_process(world, carry_body, carrier);
		if (ended_well(carrier) && is_carried(carrier))
			continue;
		faults++;
		if (!carrier->hasty)
			printf("  repeat: make sim SEED=%llu CARRIER=%llu\n",
			       (unsigned long long)world->seed, (unsigned long long)k);
	}
	printf("  %llu steps, cut at each %llu., %u acts stored late, %u faults\n",
	       (unsigned long long)steps, (unsigned long long)step, late, faults);
	CHECK(late > 0 || only || !world->target->store->works_max);
	world_mark_free(&start);
	return faults;
}

TEST(a_carrier_that_waits_and_looks_leaves_each_message_once)
{
	ONLY_FOR("CARRIER");
	for (unsigned with = 0; with < 4; with++) {
		struct carrier carrier;
		struct imap_store *store;

		carrier_open(&carrier, with & 1 ? 3 : 1);
		store = carrier.world->target->store;
		store->works_max = NSEC_SECOND;
		store->late_max = 8 * NSEC_SECOND;
		store->never_one_in = 4;
		store->uidplus = with & 2;
		store->foreign_left = 12;
		store->foreign_one_in = 8;
		CHECK_EQ(cut_everywhere(&carrier, CUTS_USUAL), 0);
		carrier_close(&carrier);
	}
}

TEST(a_carrier_that_does_not_wait_sends_some_twice)
{
	struct carrier carrier;

	ONLY_FOR("");
	carrier_open(&carrier, 3);
	carrier.hasty = true;
	carrier.world->target->store->works_max = NSEC_SECOND;
	carrier.world->target->store->late_max = 8 * NSEC_SECOND;
	CHECK(cut_everywhere(&carrier, CUTS_USUAL) > 0);
	carrier_close(&carrier);
}

TEST(several_in_one_command_are_all_there_or_none)
{
	struct carrier carrier;
	struct world_mark start;
	uint64_t steps;
	unsigned seen[2] = { 0 };

	ONLY_FOR("");
	carrier_open(&carrier, PARCEL_MAX);
	carrier.world->target->store->works_max = NSEC_SECOND;
	start = world_mark(carrier.world);
	world_process(carrier.world, carry_body, &carrier);
	steps = carrier.world->result->steps;
	for (uint64_t k = 1; k < steps; k += SANITIZED ? 9 : 2) {
		unsigned count;

		world_back(carrier.world, &start);
		*carrier.notes = (struct notes){ 0 };
		world_cut_at(carrier.world, k);
		world_process(carrier.world, carry_body, &carrier);
		imap_store_settle(carrier.world->target);
		count = all_of_ours(&carrier);
		CHECK(count % PARCEL_MAX == 0 || count == MESSAGES);
		seen[count > 0]++;
	}
	CHECK(seen[0] > 0 && seen[1] > 0);
	world_mark_free(&start);
	carrier_close(&carrier);
}

TEST(a_connection_that_ends_at_any_byte_of_the_client_doubles_nothing)
{
	ONLY_FOR("");
	for (unsigned i = 0; i < (SANITIZED ? 10 : 60); i++) {
		struct carrier carrier;
		struct imap_model *target;

		carrier_open(&carrier, 1 + i % 3);
		target = carrier.world->target;
		target->store->works_max = NSEC_SECOND / 2;
		target->store->late_max = 5 * NSEC_SECOND;
		target->store->never_one_in = 3;
		target->end_count = 2;
		target->end_after_heard = 1 + 211 * i;
		target->end_how = NET_CLOSES + i % 3;
		world_process(carrier.world, carry_body, &carrier);
		CHECK(ended_well(&carrier));
		CHECK(is_carried(&carrier));
		carrier_close(&carrier);
	}
}
