/* The job from one server to another in the simulated world: named scenarios, each cut at every
 * step (a sample of them in `make check`, all with SIM_ALL=1), and cut again while the next run
 * recovers. What the destination's server offers and does wrong is imap_model_store.h; what must
 * hold is world_judge_target.c. A new scenario is one row.
 *
 *	make sim SCENARIO=target_twins SEED=7                   that scenario, the usual sample
 *	make sim SCENARIO=target_twins SEED=7 CUT=123 CUT2=45   that cut, and a second one
 *	make sim TARGET=17                                      that world of any seed alone */
#include <stdio.h>
#include <stdlib.h>

#include "crypto/digest.h"
#include "engine/clock.h"
#include "engine/shard.h"
#include "tests/sim/sweep.h"
#include "tests/test.h"
#include "transport/wrap.h"

extern const struct sink_driver imap_sink;

enum {
	HEARD_BYTES = 211,
	WORLDS_USUAL = SANITIZED ? 8 : 60,
	SPOOLED_BYTES = 2200 * 1000,
	TROUBLED_MAX = 5, /* runs before the one that must end well */
};

/* ---- mailboxes ---- */

static void add(struct world *world, struct imap_model_box *box, const char *subject, size_t bytes)
{
	struct buffer mail = { 0 };

	world_make_mail(world, subject, bytes, &mail);
	(void)imap_model_add_message(box, "\\Seen $Forwarded", "02-Feb-2022 22:22:22 +0200",
				     mail.at, mail.bytes);
	buffer_free(&mail);
}

static struct imap_model_box *add_box(struct world *world, const char *name, const char *attributes)
{
	return imap_model_add_box(&world->imap, name, name, attributes);
}

/* The destination's knobs. */
static struct imap_store *add_target(struct world *world)
{
	world_add_target(world);
	world->sink = &imap_sink;
	return world->target->store;
}

static void fill_standard(struct world *world)
{
	world_fill(world);
	(void)add_target(world);
}

static struct imap_store *fill_with_small(struct world *world)
{
	struct imap_model_box *inbox = add_box(world, "INBOX", "");

	for (unsigned i = 0; i < 30; i++)
		add(world, inbox, "small", 200 + i);
	return add_target(world);
}

static void fill_small(struct world *world)
{
	(void)fill_with_small(world);
}

/* Nothing but RFC 3501. */
static void fill_bare(struct world *world)
{
	struct imap_store *store;

	world_fill(world);
	store = add_target(world);
	store->few = true;
	store->uidplus = store->multiappend = store->binary = store->create_special_use = false;
	store->literals = IMAP_STORE_LITERALS_NONE;
}

static void fill_without_uids(struct world *world)
{
	fill_with_small(world)->uidplus = false;
}

static void lie(struct world *world, unsigned tells)
{
	static const char *const names[] = { "INBOX", "A", "B" };
	struct imap_store *store;

	for (unsigned i = 0; i < 30; i++) {
		struct imap_model_box *box =
			i < 3 ? add_box(world, names[i], "") : &world->imap.boxes[i % 3];

		add(world, box, "small", i % 4 ? 200 + i : 600 * 1000);
	}
	store = add_target(world);
	store->tells = tells;
	store->multiappend = false;
	for (unsigned i = 0; i < 3; i++)
		imap_store_deliver(world->target, &world->target->boxes[0]);
}

static void fill_uids_low(struct world *world)
{
	lie(world, IMAP_STORE_TELLS_LOW);
}

static void fill_uids_same(struct world *world)
{
	lie(world, IMAP_STORE_TELLS_SAME);
}

static void fill_uids_high(struct world *world)
{
	lie(world, IMAP_STORE_TELLS_HIGH);
	world->target->store->late_max = 8 * NSEC_SECOND;
}

static void fill_one_by_one(struct world *world)
{
	struct imap_store *store = fill_with_small(world);

	store->multiappend = false;
	store->literals = IMAP_STORE_LITERALS_MINUS;
}

static void be_late(struct imap_store *store)
{
	store->works_max = NSEC_SECOND;
	store->late_max = 8 * NSEC_SECOND;
	store->never_one_in = 4;
	store->foreign_one_in = 10;
	store->foreign_left = 12;
}

static void fill_late(struct world *world)
{
	be_late(fill_with_small(world));
}

static void fill_late_one_by_one(struct world *world)
{
	struct imap_store *store = fill_with_small(world);

	be_late(store);
	store->multiappend = store->uidplus = false;
}

/* Identical in bytes, flags and date, in two folders. */
static void fill_twins(struct world *world)
{
	struct imap_model_box *inbox = add_box(world, "INBOX", ""),
			      *other = add_box(world, "Other", "");

	for (unsigned i = 0; i < 12; i++)
		add(world, i < 9 ? inbox : other, "twin", 3000);
	be_late(add_target(world));
}

/* The first is given back, and the others are stored one by one. */
static void fill_twins_given_back(struct world *world)
{
	struct imap_store *store;

	fill_twins(world);
	store = world->target->store;
	store->multiappend = store->uidplus = false;
	store->foreign_left = store->never_one_in = 0;
	store->throttled_appends = 1;
}

/* So large that each has a seal of its own. */
static void fill_large_twins(struct world *world)
{
	struct imap_model_box *inbox = add_box(world, "INBOX", "");

	for (unsigned i = 0; i < 6; i++)
		add(world, inbox, "twin", 600 * 1000);
	(void)add_target(world);
}

static void fill_answers_lost(struct world *world)
{
	fill_with_small(world)->lose_answers = 3;
}

/* One answer takes up to an hour, and nobody is impatient. */
static void fill_answers_slow(struct world *world)
{
	fill_with_small(world)->works_max = 3600 * NSEC_SECOND;
	world->target_silence = 7200 * NSEC_SECOND;
}

static void fill_large_answers_slow(struct world *world)
{
	fill_large_twins(world);
	world->target->store->works_max = 3600 * NSEC_SECOND;
	world->target_silence = 7200 * NSEC_SECOND;
}

static void fill_busy(struct world *world)
{
	struct imap_store *store = fill_with_small(world);

	store->busy_appends = 1;
	store->throttled_appends = 1;
}

static void fill_folders(struct world *world)
{
	static const char *const names[] = { "INBOX", "Empty", "A",    "A/B",  "A/B/C",
					     "D",     "Other", "Sent", "Trash" };

	for (unsigned i = 0; i < ARRAY_COUNT(names); i++) {
		struct imap_model_box *box = add_box(world, names[i], "");

		for (unsigned k = 0; k < i % 4; k++)
			add(world, box, names[i], 400 + 1000 * k);
	}
	(void)add_target(world);
}

static void fill_folder_refused(struct world *world)
{
	fill_folders(world);
	world->target->store->create_no = "A/B";
	world->excused[0] = "SINK_BOX";
}

static const char *use_place(const char *raw)
{
	return strcmp(raw, "Gesendet") == 0 ? "Sent" : raw;
}

/* The destination has a folder of that use. */
static void fill_use(struct world *world)
{
	struct imap_model_box *sent = add_box(world, "Gesendet", "\\Sent");

	for (unsigned i = 0; i < 5; i++)
		add(world, sent, "sent", 500 * i);
	(void)add_box(world, "INBOX", "");
	(void)add_target(world);
	imap_store_deliver(world->target, imap_store_add_box(world->target, "Sent", "\\Sent"));
	world->place_of = use_place;
}

static const char *case_place(const char *raw)
{
	return strcmp(raw, "kunden") == 0 ? "kunden (2)" : raw;
}

static void fill_case(struct world *world)
{
	struct imap_model_box *one = add_box(world, "Kunden", ""),
			      *other = add_box(world, "kunden", "");

	for (unsigned i = 0; i < 6; i++)
		add(world, i % 2 ? one : other, "customer", 300 + i);
	add_target(world)->folds_case = true; /* nothing tells a client before it is refused */
	world->place_of = case_place;
}

static void fill_keywords_forbidden(struct world *world)
{
	fill_with_small(world)->drops_keywords = true;
}

static void fill_altered(struct world *world)
{
	struct imap_model_box *inbox = add_box(world, "INBOX", "");

	for (unsigned i = 0; i < 8; i++)
		add(world, inbox, i % 3 == 1 ? "\xc3\xbc" : "plain", 400 + 300 * i);
	add_target(world)->alters_headers = true;
	world->excused[0] = "SINK_ALTERED";
}

static void fill_altered_without_uids(struct world *world)
{
	fill_altered(world);
	world->target->store->uidplus = false;
}

static void fill_too_big(struct world *world)
{
	struct imap_store *store;

	world_fill(world);
	store = add_target(world);
	store->bytes_max = 20000;
	world->excused[0] = "SINK_TOOBIG";
}

static void fill_too_big_early(struct world *world)
{
	fill_too_big(world);
	world->target->store->literals = IMAP_STORE_LITERALS_NONE;
	world->target->store->refuses_early = true;
}

static void fill_bad(struct world *world)
{
	struct imap_model_box *inbox = add_box(world, "INBOX", "");

	for (unsigned i = 0; i < 12; i++)
		add(world, inbox, i == 5 ? "poison" : "sound", 300 + i);
	add_target(world)->bad_text = "Subject: poison";
	world->excused[0] = "SINK_REFUSED";
}

static void add_bytes(struct imap_model_box *box, const void *bytes, size_t n)
{
	(void)imap_model_add_message(box, "\\Seen $Forwarded", "02-Feb-2022 22:22:22 +0200", bytes,
				     n);
}

static const char poison[] = "Subject: odd\r\nMessage-ID: <odd@example.org>\r\n\r\npoison\n";

/* What mailhaul made of it somewhere else, which is a message like any other. */
static void add_wrapper(struct imap_model_box *box)
{
	char coded[WRAP_LINE_CHARACTERS * 8];
	struct buffer all = { 0 };
	struct digest digest;
	struct wrap wrap;
	size_t n = sizeof poison - 1;

	must(!digest_of(digest_type(text_of("blake3")), poison, n, &digest));
	must(!wrap_open(&wrap, (struct text){ poison, n }, n, &digest, "blake3"));
	buffer_add(&all, wrap.head.at, wrap.head.bytes);
	buffer_add(&all, coded, wrap_encode(coded, (const uint8_t *)poison, n));
	buffer_add(&all, wrap.tail.at, wrap.tail.bytes);
	must(!all.failed);
	add_bytes(box, all.at, all.bytes);
	wrap_close(&wrap);
	buffer_free(&all);
}

/* Refused ones, twins of them, a wrapper of the same from elsewhere, NUL, and sound ones between.
 */
static struct imap_store *fill_with_odd(struct world *world)
{
	struct imap_model_box *inbox = add_box(world, "INBOX", "");
	struct imap_store *store;

	for (unsigned i = 0; i < 12; i++) {
		if (i % 4 == 1)
			add_bytes(inbox, poison, sizeof poison - 1);
		else if (i == 3 || i == 8)
			add_wrapper(inbox);
		else if (i == 6)
			add_bytes(inbox, "Subject: NUL\r\n\r\n\0\r\n", 19);
		else
			add(world, inbox, "sound", 300 + i);
	}
	store = add_target(world);
	store->bad_text = "poison";
	store->binary = false;
	world->wrap = SINK_WRAP_REFUSED;
	return store;
}

static void fill_wrapped(struct world *world)
{
	(void)fill_with_odd(world);
}

static void fill_wrapped_late(struct world *world)
{
	be_late(fill_with_odd(world));
}

static void fill_wrapped_one_by_one(struct world *world)
{
	struct imap_store *store = fill_with_odd(world);

	be_late(store);
	store->multiappend = store->uidplus = false;
	store->literals = IMAP_STORE_LITERALS_NONE;
}

/* Larger than what lies in memory: it comes through a file. */
static void fill_wrapped_large(struct world *world)
{
	struct imap_model_box *inbox = add_box(world, "INBOX", "");
	struct buffer mail = { 0 };

	world_make_mail(world, "large", STAGE_BYTES_MAX + 10000, &mail);
	buffer_add_text(&mail, "poison");
	must(!mail.failed);
	add(world, inbox, "small", 300);
	add_bytes(inbox, mail.at, mail.bytes);
	add(world, inbox, "small", 400);
	buffer_free(&mail);
	add_target(world)->bad_text = "poison";
	world->wrap = SINK_WRAP_REFUSED;
}

/* Those with 8-bit headers that come behind the first that was altered. */
static void fill_wrapped_odd(struct world *world)
{
	fill_altered(world);
	world->wrap = SINK_WRAP_ODD;
}

/* Larger than what is staged; small ones between them. */
static void fill_large(struct world *world)
{
	struct imap_model_box *inbox = add_box(world, "INBOX", "");

	for (unsigned i = 0; i < 2; i++) {
		add(world, inbox, "large", STAGE_BYTES_MAX + 10000 * (i + 1));
		add(world, inbox, "small between", 300 + i);
	}
	(void)add_target(world);
}

/* Beyond a parcel's room, so it goes through a file, which has no name. */
static void fill_spooled(struct world *world)
{
	struct imap_model_box *inbox = add_box(world, "INBOX", "");

	add(world, inbox, "small", 300);
	add(world, inbox, "spooled", SPOOLED_BYTES);
	add(world, inbox, "small", 301);
	(void)add_target(world);
}

/* The state directory is on NFS, say. */
static void fill_spooled_without_nameless(struct world *world)
{
	fill_spooled(world);
	disk_refuse_nameless(world->disk);
}

/* So much in so many folders that two conversations share it. */
static void fill_shared(struct world *world)
{
	static const char *const names[] = { "A", "B", "C", "D", "E", "F" };

	world->connections = 2;
	for (unsigned i = 0; i < ARRAY_COUNT(names); i++) {
		struct imap_model_box *box = add_box(world, names[i], "");

		for (unsigned k = 0; k < 24; k++)
			add(world, box, names[i], k == 7 ? 70000 : 300 + k);
	}
	be_late(add_target(world));
}

/* ---- mail that both sides got ---- */

/* What others delivered to the destination: as the source has it, with a trace of its own. */
static void deliver_too(struct world *world, struct imap_model_box *box, const char *flags,
			const char *trace, const char *subject, size_t bytes)
{
	struct buffer mail = { 0 }, body = { 0 };

	buffer_add_text(&mail, trace);
	world_make_mail(world, subject, bytes, &body);
	buffer_add(&mail, body.at, body.bytes);
	imap_store_deliver_mail(world->target, box, flags, "03-Mar-2023 03:33:33 +0000", mail.at,
				mail.bytes);
	buffer_free(&mail);
	buffer_free(&body);
}

static const char received[] = "Received: from there by here; Tue, 3 Mar 2026 03:33:33 +0000\r\n";

/* Four twins of which two are there, eight others of which three are; one that looks alike, one
 * that is to be removed, one that is nobody's; a folder that is not there, and one that is empty.
 */
static struct imap_model_box *fill_both(struct world *world, const char *trace)
{
	struct imap_model_box *inbox = add_box(world, "INBOX", ""),
			      *empty = add_box(world, "Empty", ""), *there;

	(void)add_box(world, "New", "");
	for (unsigned i = 0; i < 12; i++)
		add(world, inbox, i % 3 ? "small" : "twin", i % 3 ? 400 + i : 900);
	add(world, empty, "alone", 700);
	(void)add_target(world);
	there = &world->target->boxes[0];
	(void)imap_store_add_box(world->target, "Empty", "");
	deliver_too(world, there, "\\Flagged", trace, "twin", 900);
	deliver_too(world, there, "\\Deleted", trace, "small", 402);
	deliver_too(world, there, "", trace, "small", 401);
	deliver_too(world, there, "", trace, "small", 404);
	deliver_too(world, there, "", trace, "xmall", 405);
	imap_store_deliver(world->target, there);
	deliver_too(world, there, "", trace, "twin", 900);
	deliver_too(world, there, "", trace, "small", 411);
	return there;
}

static void fill_existing(struct world *world)
{
	(void)fill_both(world, "");
	world->existing = SINK_EXISTING_DIGEST;
	be_late(world->target->store);
}

/* What is there takes half an hour to be looked through, and a large message waits for that. */
static void fill_existing_slowly(struct world *world)
{
	struct imap_model_box *there = fill_both(world, "");

	add(world, &world->imap.boxes[0], "alike", 10000);
	add(world, &world->imap.boxes[0], "large", 200000);
	world->existing = SINK_EXISTING_DIGEST;
	world->target_silence = 900 * NSEC_SECOND;
	for (unsigned i = 0; i < 18; i++)
		deliver_too(world, there, "", "", "xlike", 10000);
	world->target->bytes_per_second = 100;
}

static void fill_existing_alike(struct world *world)
{
	(void)fill_both(world, received);
	world->existing = SINK_EXISTING_FINGERPRINT;
	be_late(world->target->store);
}

/* Both sides get more of the same, also of what was copied before. */
static void deliver_to_both(struct world *world)
{
	struct imap_model_box *there = &world->target->boxes[0];

	add(world, &world->imap.boxes[0], "both", 500);
	add(world, &world->imap.boxes[0], "twin", 900);
	deliver_too(world, there, "", received, "both", 500);
	deliver_too(world, there, "", received, "twin", 900);
}

/* The same with nothing that was in doubt: of that, others' copies are known by their Message-ID,
 * and doubtful. */
static void deliver_new_to_both(struct world *world)
{
	add(world, &world->imap.boxes[0], "both", 500);
	add(world, &world->imap.boxes[0], "both", 500);
	deliver_too(world, &world->target->boxes[0], "", received, "both", 500);
}

/* ---- what people do ---- */

static void expunge(struct world *world)
{
	struct imap_model_box *box = &world->imap.boxes[0];

	for (unsigned i = 1; i < box->messages_count; i += 3)
		box->messages[i].gone = true;
}

static void deliver(struct world *world)
{
	add(world, &world->imap.boxes[0], "new", 2000);
	add(world, &world->imap.boxes[0], "new", 2000);
}

/* ---- what else goes wrong in the run that is cut ---- */

static void trouble_quota(struct world *world, uint64_t k)
{
	world->target->store->quota_messages = 1 + (unsigned)(k % 29);
}

static void trouble_room_for_half(struct world *world, uint64_t k)
{
	(void)k;
	world->target->store->quota_messages = 3;
}

static void enlarge(struct world *world)
{
	world->target->store->quota_messages = 0;
}

static void lose_connection(struct world *world, enum net_accident how, uint64_t heard,
			    uint64_t said)
{
	world->target->end_count = 1;
	world->target->end_how = how;
	world->target->end_after_heard = heard;
	world->target->end_after = said;
}

static void trouble_lost_connection(struct world *world, uint64_t k)
{
	lose_connection(world, k % 2 ? NET_RESETS : NET_CLOSES, k % 4 < 2 ? 1 + k * HEARD_BYTES : 0,
			1 + k * 17);
}

static void trouble_stall(struct world *world, uint64_t k)
{
	lose_connection(world, NET_STALLS, k % 2 ? 1 + k * HEARD_BYTES : 0, 1 + k * 17);
}

static void back_to_normal(struct world *world)
{
	world->target->end_count = 0;
}

static void trouble_weather(struct world *world, uint64_t k)
{
	world->faults.bad_connections = 4;
	world->faults.bad_bytes = 1000 + k * 37;
}

static void trouble_full_disk(struct world *world, uint64_t k)
{
	world->faults.room_bytes = 4096 * (1 + k * 13 % 60);
}

static void trouble_sync(struct world *world, uint64_t k)
{
	world->faults.from_step = k;
	world->faults.sync_no = 1;
}

static void trouble_slow(struct world *world, uint64_t k)
{
	(void)k;
	world->faults.slow = true;
}

/* ---- the table ---- */

SCENARIO(target_standard, .fill = fill_standard)
SCENARIO(target_small_messages, .fill = fill_small)
SCENARIO(target_with_nothing_but_rfc3501, .fill = fill_bare)
SCENARIO(target_without_uidplus, .fill = fill_without_uids)
SCENARIO(target_that_tells_low_uids, .fill = fill_uids_low)
SCENARIO(target_that_tells_the_same_uids, .fill = fill_uids_same)
SCENARIO(target_that_tells_high_uids, .fill = fill_uids_high)
SCENARIO(target_one_by_one, .fill = fill_one_by_one)
SCENARIO(target_late_commits, .fill = fill_late)
SCENARIO(target_late_commits_one_by_one, .fill = fill_late_one_by_one)
SCENARIO(target_twins, .fill = fill_twins)
SCENARIO(target_twins_given_back, .fill = fill_twins_given_back)
SCENARIO(target_twins_and_little_room, .fill = fill_large_twins, .trouble = trouble_room_for_half,
	 .between = enlarge)
SCENARIO(target_existing, .fill = fill_existing)
SCENARIO(target_existing_slowly, .fill = fill_existing_slowly)
SCENARIO(target_existing_and_lost_connection, .fill = fill_existing,
	 .trouble = trouble_lost_connection, .between = back_to_normal)
SCENARIO(target_existing_alike, .fill = fill_existing_alike)
SCENARIO(target_existing_alike_and_more, .fill = fill_existing_alike,
	 .between = deliver_new_to_both)
SCENARIO(target_answers_lost, .fill = fill_answers_lost)
SCENARIO(target_answers_slow, .fill = fill_answers_slow)
SCENARIO(target_answers_slow_and_large, .fill = fill_large_answers_slow)
SCENARIO(target_busy, .fill = fill_busy)
SCENARIO(target_folders, .fill = fill_folders)
SCENARIO(target_folder_refused, .fill = fill_folder_refused)
SCENARIO(target_folder_of_a_use, .fill = fill_use)
SCENARIO(target_that_folds_case, .fill = fill_case)
SCENARIO(target_forbids_keywords, .fill = fill_keywords_forbidden)
SCENARIO(target_alters_headers, .fill = fill_altered)
SCENARIO(target_alters_headers_without_uidplus, .fill = fill_altered_without_uids)
SCENARIO(target_too_big, .fill = fill_too_big)
SCENARIO(target_too_big_said_early, .fill = fill_too_big_early)
SCENARIO(target_refuses_one_message, .fill = fill_bad)
SCENARIO(target_wrapped, .fill = fill_wrapped)
SCENARIO(target_wrapped_late_commits, .fill = fill_wrapped_late)
SCENARIO(target_wrapped_one_by_one, .fill = fill_wrapped_one_by_one)
SCENARIO(target_wrapped_large, .fill = fill_wrapped_large)
SCENARIO(target_wrapped_odd, .fill = fill_wrapped_odd)
SCENARIO(target_wrapped_lost_connection, .fill = fill_wrapped_late,
	 .trouble = trouble_lost_connection, .between = back_to_normal)
SCENARIO(target_large_messages, .fill = fill_large)
SCENARIO(target_spooled_message, .fill = fill_spooled)
SCENARIO(target_spooled_message_and_no_nameless_files, .fill = fill_spooled_without_nameless)
SCENARIO(target_two_conversations, .fill = fill_shared)
SCENARIO(target_quota_enlarged, .fill = fill_small, .trouble = trouble_quota, .between = enlarge)
SCENARIO(target_quota_and_no_cut, .fill = fill_small, .trouble = trouble_quota, .is_uncut = true,
	 .between = enlarge)
SCENARIO(target_lost_connection, .fill = fill_late, .trouble = trouble_lost_connection,
	 .between = back_to_normal)
SCENARIO(target_lost_connection_and_no_cut, .fill = fill_late, .trouble = trouble_lost_connection,
	 .is_uncut = true, .between = back_to_normal)
SCENARIO(target_stalled_connection, .fill = fill_late, .trouble = trouble_stall,
	 .between = back_to_normal)
SCENARIO(target_bad_weather, .fill = fill_late, .trouble = trouble_weather, .is_uncut = true)
SCENARIO(target_expunged_meanwhile, .fill = fill_standard, .meanwhile = expunge)
SCENARIO(target_new_mail_meanwhile, .fill = fill_standard, .meanwhile = deliver)
SCENARIO(target_full_disk, .fill = fill_standard, .trouble = trouble_full_disk)
SCENARIO(target_failed_fsync, .fill = fill_small, .trouble = trouble_sync, .is_uncut = true)
SCENARIO(target_slow_machine, .fill = fill_late, .trouble = trouble_slow)

/* A batch books the rest with the side that asked for it. */
TEST(who_asked_for_a_rest_is_told_apart)
{
	for (unsigned of_target = 0; of_target < 2; of_target++) {
		struct world *world = world_open(1);

		fill_with_small(world)->throttled_appends = of_target ? 1000 : 0;
		if (!of_target)
			world->imap.refuse_fetches = 1000;
		world_copy(world);
		CHECK_EQ(world->result->end, WORLD_FINISHED);
		CHECK(world->result->error != OK);
		CHECK_EQ(world->result->progress.sink_failed, of_target);
		world_close(&world);
	}
}

/* ---- the judge ---- */

static void lose_one(struct world *world)
{
	imap_model_expunge(&world->target->boxes[0], 3);
}

static void double_one(struct world *world)
{
	struct imap_model_box *inbox = &world->target->boxes[0];

	inbox->messages[inbox->messages_count] = inbox->messages[0];
	inbox->messages[inbox->messages_count++].uid = inbox->next_uid++;
}

/* Two that are not alike change places. */
static void swap_two(struct world *world)
{
	struct imap_model_message *messages = world->target->boxes[0].messages, was = messages[3];

	messages[3] = messages[4];
	messages[4] = was;
	messages[4].uid = messages[3].uid;
	messages[3].uid = was.uid;
}

static void change_a_byte(struct world *world)
{
	((uint8_t *)(uintptr_t)world->target->boxes[0].messages[5].bytes)[40] ^= 1;
}

static void change_a_flag(struct world *world)
{
	imap_model_flag(&world->target->boxes[0], 2, "\\Seen");
}

static void change_a_date(struct world *world)
{
	world->target->boxes[0].messages[7].date[1]++;
}

static void lose_one_of_others(struct world *world)
{
	world->target->store->foreign_no++;
}

TEST(a_copy_that_is_there_counts_once)
{
	void (*const fills[])(struct world *) = { fill_existing, fill_existing_alike };
	const struct world_result *result;
	struct world *world;

	ONLY_FOR("TARGET");
	for (unsigned i = 0; i < ARRAY_COUNT(fills); i++) {
		REQUIRE((world = world_open(world_seed(7))) != NULL);
		fills[i](world);
		result = world_copy(world);
		CHECK(result->end == WORLD_FINISHED && !result->error);
		CHECK_EQ(result->progress.messages_moved, 13);
		CHECK_EQ(result->progress.messages_found, 5);
		CHECK_EQ(result->store.stored, 8);
		CHECK(world_judge(world));
		result = world_copy(world); /* the next night */
		CHECK_EQ(result->progress.messages_moved, 0);
		deliver_to_both(world);
		result = world_copy(world);
		CHECK_EQ(result->progress.messages_moved, 2);
		CHECK_EQ(result->progress.messages_found, i ? 2 : 0); /* they differ in a trace */
		CHECK(world_judge(world));
		world->existing = SINK_EXISTING_NO;
		deliver_to_both(world);
		result = world_copy(world);
		CHECK_EQ(result->progress.messages_moved, 2);
		CHECK_EQ(result->progress.messages_found, 0);
		world_close(&world);
	}
}

TEST(the_judge_of_a_destination_sees_what_is_wrong)
{
	void (*const wrongs[])(struct world *) = { lose_one,	      double_one,    swap_two,
						   change_a_byte,     change_a_flag, change_a_date,
						   lose_one_of_others };
	struct world *world;
	struct world_mark mark;

	ONLY_FOR("");
	world = world_open(world_seed(SEED_USUAL));
	fill_small(world);
	CHECK(sweep_ends_well(world));
	mark = world_mark(world);
	for (unsigned i = 0; i < ARRAY_COUNT(wrongs); i++) {
		world_back(world, &mark);
		wrongs[i](world);
		printf("  the judge must find a fault:\n");
		CHECK(!world_judge(world));
	}
	world_mark_free(&mark);
	world_close(&world);
}

/* ---- seals ---- */

enum { FOLDERS = 15, SEALS_MOST = LANE_READERS_MAX + 1 };

static enum err count_seals(void *argument)
{
	struct world *world = argument;
	struct ledger_mailbox mailbox;
	struct ledger_totals totals = { 0 };
	struct ledger *ledger;
	enum err e = ledger_open(world_state_path, clock_after(600 * NSEC_SECOND), &ledger);

	if (e)
		return e;
	e = ledger_mailbox(ledger, world_source_shown, world_target_shown, "blake3", &mailbox);
	if (!e)
		e = ledger_totals(ledger, mailbox.mailbox_no, &totals);
	ledger_close(&ledger);
	world->result->faults = (unsigned)totals.seals_open;
	return e;
}

static enum err count_body(struct world *world, void *argument)
{
	(void)argument;
	return shard_run(&(struct shard_config){ 0 }, count_seals, world);
}

/* Where everything was sent and the run is cut, not all of it is read back. */
TEST(of_many_folders_few_have_seals)
{
	struct world *world;
	struct world_mark mark;
	uint64_t steps, most = 0;

	ONLY_FOR("");
	world = world_open(SEED_USUAL);
	for (unsigned i = 0; i < FOLDERS; i++) {
		char name[8];

		snprintf(name, sizeof name, "F%u", i);
		add(world, add_box(world, name, ""), name, 500);
	}
	(void)add_target(world);
	mark = world_mark(world);
	CHECK(sweep_completes(world, "a run that is not cut"));
	steps = world->result->steps;
	for (uint64_t step = steps / 2; step < steps; step += 2) {
		world_back(world, &mark);
		world_cut_at(world, step);
		world_copy(world);
		CHECK_OK(world_process(world, count_body, NULL)->error);
		most = max_u64(most, world->result->faults);
	}
	CHECK(most > 0);
	CHECK(most <= SEALS_MOST);
	world_mark_free(&mark);
	world_close(&world);
}

/* ---- whole worlds from a seed ---- */

/* The seed's own dice, apart from those of the processes: splitmix64, as sim.c. */
static uint64_t below(uint64_t *dice, uint64_t bound)
{
	uint64_t value = *dice += 0x9e3779b97f4a7c15u;

	value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
	value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
	return (value ^ (value >> 31)) % bound;
}

static void fill_any(struct world *world, uint64_t *dice)
{
	static const char *const names[] = { "INBOX", "A", "A/B", "Old" };
	unsigned boxes = 1 + (unsigned)below(dice, ARRAY_COUNT(names));

	world->connections = 1 + (unsigned)below(dice, 2);
	for (unsigned b = 0; b < boxes; b++) {
		struct imap_model_box *box = add_box(world, names[b], "");

		for (uint64_t messages = below(dice, 16); messages; messages--)
			add(world, box, "any",
			    below(dice, 30) ? below(dice, below(dice, 4) ? 600 : 20000)
					    : STAGE_BYTES_MAX + 1000);
	}
}

static void turn_knobs(struct imap_store *store, uint64_t *dice)
{
	store->uidplus = below(dice, 2);
	store->multiappend = below(dice, 2);
	store->binary = below(dice, 2);
	store->few = below(dice, 4) == 0;
	store->literals = (enum imap_store_literals)below(dice, 3);
	store->refuses_early = below(dice, 2);
	store->folds_case = below(dice, 4) == 0;
	store->drops_keywords = below(dice, 4) == 0;
	store->works_max = below(dice, 3) ? (nsec)below(dice, 3 * NSEC_SECOND) : 0;
	store->late_max = (nsec)below(dice, 9 * NSEC_SECOND);
	store->never_one_in = (unsigned)below(dice, 4);
	store->lose_answers = below(dice, 3) ? 0 : (unsigned)below(dice, 4);
	store->busy_appends = below(dice, 4) ? 0 : (unsigned)below(dice, 3);
	store->throttled_appends = below(dice, 6) ? 0 : 1;
	store->foreign_one_in = 4 + (unsigned)below(dice, 20);
	store->foreign_left = (unsigned)below(dice, 12);
}

static void trouble_any(struct world *world, uint64_t *dice)
{
	world->target->end_count = 0;
	world->target->store->quota_messages = 0;
	switch (below(dice, 6)) {
	case 0:
		lose_connection(world, NET_CLOSES + (enum net_accident)below(dice, 3),
				below(dice, 2) ? 1 + below(dice, 30000) : 0, 1 + below(dice, 5000));
		break;
	case 1:
		world->faults.bad_connections = 1 + (unsigned)below(dice, 5);
		world->faults.bad_bytes = below(dice, 40000);
		break;
	case 2:
		world->target->store->quota_messages = 1 + (unsigned)below(dice, 40);
		break;
	case 3:
		world->faults.room_bytes = 4096 * (1 + below(dice, 60));
		break;
	case 4:
		world->faults.slow = true;
		break;
	default:
		break;
	}
	if (below(dice, 3))
		world_cut_at(world, 1 + below(dice, 500));
}

static bool is_orderly(const struct world *world)
{
	const struct world_result *result = world->result;

	return sweep_is_harmless(world) &&
	       (result->end == WORLD_CUT ||
		(result->end == WORLD_FINISHED && sweep_is_excused(result->error)));
}

static bool world_of(uint64_t seed)
{
	struct world *world = world_open(seed);
	uint64_t dice = seed * 7919;
	bool good = true;

	fill_any(world, &dice);
	turn_knobs(add_target(world), &dice);
	for (uint64_t runs = below(&dice, TROUBLED_MAX + 1); runs && good; runs--) {
		trouble_any(world, &dice);
		world_copy(world);
		good = is_orderly(world);
		if (!good)
			world_show(world, "a run in trouble");
	}
	world->target->end_count = 0;
	world->target->store->quota_messages = 0;
	good = good && sweep_ends_well(world);
	if (!good)
		printf("  repeat: make sim TARGET=%llu\n", (unsigned long long)seed);
	world_close(&world);
	return good;
}

TEST(in_a_world_of_any_seed_each_message_is_at_the_destination_once)
{
	uint64_t only = sweep_asked("TARGET"), first = world_seed(1);
	unsigned failures = 0;

	ONLY_FOR("TARGET");
	for (uint64_t seed = only ? only : first;
	     seed < (only ? only + 1 : first + WORLDS_USUAL) && failures < FAILURES_MAX; seed++)
		failures += !world_of(seed);
	CHECK_EQ(failures, 0);
}
