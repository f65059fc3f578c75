#include "tools/bucket_watch.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "engine/clock.h"
#include "engine/fiber.h"
#include "engine/shard.h"
#include "tools/terminal.h"
#include "transport/bucket_audit.h"

#define GUARD_NS (120 * NSEC_SECOND)
/* One request for each object, some hundreds of them a second. */
#define AUDIT_NS     (12 * 3600 * NSEC_SECOND)
#define ATTEND_EVERY (50 * NSEC_MILLISECOND)

enum { FACT_BYTES = 600, LINE_BYTES = 700 };

struct bucket_watch {
	const struct account *account;
	const struct bucket_options *options;
	struct bucket_policy policy;
	struct bucket_facts facts;
	struct bucket_stored *stored;
	struct store_s3_proofs proofs;
	struct bucket_audit audit;
	bool is_audited;
};

/* ---- before ---- */

static void make_policy(struct bucket_watch *watch)
{
	const struct bucket_options *options = watch->options;
	const struct s3_config *config = &watch->account->s3->s3;
	struct bucket_policy *policy = &watch->policy;
	bool strict = strcmp(options->guard, "strict") == 0;

	*policy = (struct bucket_policy){
		.replicas = options->replicas.at,
		.replicas_count = options->replicas.count,
		.encryption = strict ? config->encryption : NULL,
		.kms_key = strict ? config->kms_key : NULL,
		.bucket_key = strict && config->bucket_key,
	};
	for (unsigned rule = 0; rule < BUCKET_RULES; rule++)
		policy->demand[rule] = strict				     ? BUCKET_DEMANDED
				       : strcmp(options->guard, "tell") == 0 ? BUCKET_TOLD
									     : BUCKET_USUAL;
	/* What no job can do without, and what only some want. */
	if (strict && !config->lock_mode && !config->legal_hold)
		policy->demand[BUCKET_LOCK] = BUCKET_USUAL;
}

static enum err ask(struct bucket_watch *watch, struct store *store)
{
	struct s3 *s3 = store_s3_bucket(store, &watch->policy.prefix);
	enum err e = bucket_guard_check(s3, &watch->policy, clock_after(GUARD_NS), &watch->facts);

	watch->policy.prefix = NULL; /* the store's */
	return e;
}

enum err bucket_watch_open(const struct account *account, const struct bucket_options *options,
			   bool dry_run, struct bucket_watch **out)
{
	struct bucket_watch *watch = *out = calloc(1, sizeof *watch);
	struct store *store = NULL;
	enum err e;

	if (!watch)
		return RAISE(ERR_MEMORY_EXHAUSTED, "looking at %s", account->shown);
	watch->account = account;
	watch->options = options;
	make_policy(watch);
	if (!(e = store_open(&store, account, true, clock_after(GUARD_NS))))
		e = ask(watch, store);
	if (store)
		store->type->close(&store);
	if (!e && !dry_run && strcmp(options->audit, "no") != 0)
		e = bucket_stored_open(&watch->stored);
	return e;
}

void bucket_watch_use(struct bucket_watch *watch, struct store_s3_config *s3)
{
	s3->stored = watch ? watch->stored : NULL;
	s3->proofs = watch ? &watch->proofs : NULL;
}

/* ---- behind ---- */

struct auditing {
	struct bucket_watch *watch;
	struct store *store;
	nsec until;
	void (*attend)(void *context);
	void *context;
	struct group *group;
	bool is_over;
	enum err e;
	struct err_note note;
};

static enum err audit(void *argument)
{
	struct auditing *auditing = argument;
	struct bucket_watch *watch = auditing->watch;
	struct s3 *s3 = store_s3_bucket(auditing->store, &watch->policy.prefix);

	/* What there was no room to note is among all. */
	auditing->e =
		bucket_audit(s3,
			     &(struct bucket_audit_wish){
				     .policy = &watch->policy,
				     .stored = watch->stored,
				     .only_stored = strcmp(watch->options->audit, "all") != 0 &&
						    bucket_stored_lost(watch->stored) == 0,
			     },
			     auditing->until, &watch->audit);
	watch->policy.prefix = NULL;
	auditing->note = *err_note();
	err_note_clear();
	auditing->is_over = true;
	return OK;
}

static enum err attend(void *argument)
{
	struct auditing *auditing = argument;
	enum err e = OK;

	while (!auditing->is_over && !e) {
		auditing->attend(auditing->context);
		if (shard_requested() == SHARD_DRAIN)
			group_cancel(auditing->group);
		e = fiber_sleep(clock_after(ATTEND_EVERY));
	}
	return e;
}

static enum err audit_attended(struct auditing *auditing)
{
	struct group *group = auditing->group = group_open();
	enum err e = group_spawn(group, "audit", FIBER_STACK_LARGE, audit, auditing), ended;

	if (!e)
		e = group_spawn(group, "attend", FIBER_STACK_LARGE, attend, auditing);
	if (e)
		group_cancel(group);
	ended = group_join(&group);
	if (ended)
		err_note_clear();
	if (e)
		return e;
	if (auditing->e)
		*err_note() = auditing->note;
	return auditing->e;
}

enum err bucket_watch_audit(struct bucket_watch *watch, void (*attend_to)(void *context),
			    void *context)
{
	struct store_s3_config config = *watch->account->s3;
	struct account account = *watch->account;
	nsec until = clock_after(AUDIT_NS);
	struct auditing *auditing;
	enum err e;

	if (!watch->stored)
		return OK;
	if (!(auditing = calloc(1, sizeof *auditing)))
		return RAISE(ERR_MEMORY_EXHAUSTED, "looking at %s", account.shown);
	*auditing = (struct auditing){
		.watch = watch, .until = until, .attend = attend_to, .context = context
	};
	/* What the server turned out to have when it was locked. */
	if (atomic_load(&watch->proofs.objects[STORE_S3_BY_CRC32C]) > 0)
		config.s3.checksum = CRC32C;
	account.s3 = &config;
	if (!(e = store_open(&auditing->store, &account, false, until)))
		e = audit_attended(auditing);
	if (auditing->store)
		auditing->store->type->close(&auditing->store);
	free(auditing);
	watch->is_audited = e == OK || e == ERR_S3_UNFIT;
	if (e == ERR_FIBER_CANCELED && shard_requested() == SHARD_DRAIN) {
		err_note_clear();
		return OK;
	}
	return e;
}

void bucket_watch_close(struct bucket_watch **watch_at)
{
	struct bucket_watch *watch = *watch_at;

	*watch_at = NULL;
	if (!watch)
		return;
	bucket_stored_close(&watch->stored);
	free(watch);
}

/* ---- telling ---- */

/* How it was proved that the service has the bytes of what was stored. */
static const struct {
	enum store_s3_proof proof;
	const char *key, *words;
} proofs[] = {
	{ STORE_S3_BY_CRC64NVME, "crc64nvme", "by the service's CRC64NVME" },
	{ STORE_S3_BY_CRC32C, "crc32c", "by its CRC32C" },
	{ STORE_S3_BY_ETAG, "etag", "by their MD5" },
	{ STORE_S3_BY_READ_BACK, "read_back", "by reading them back" },
};

static uint64_t proved(const struct bucket_watch *watch, size_t row)
{
	return atomic_load(&watch->proofs.objects[proofs[row].proof]);
}

static void text_proofs(const struct bucket_watch *watch, FILE *to)
{
	bool any = false;

	for (size_t i = 0; i < ARRAY_COUNT(proofs); i++) {
		if (!proved(watch, i))
			continue;
		fprintf(to, any ? ", %llu %s" : "  proved             %llu %s",
			(unsigned long long)proved(watch, i), proofs[i].words);
		any = true;
	}
	if (any)
		fputc('\n', to);
}

static unsigned faults_kept(const struct bucket_watch *watch)
{
	return (unsigned)min_u64(watch->audit.faults, BUCKET_FAULTS_KEPT);
}

void bucket_watch_text(const struct bucket_watch *watch, FILE *to)
{
	char found[FACT_BYTES], line[LINE_BYTES], shown[LINE_BYTES];

	if (!watch)
		return;
	fprintf(to, "Bucket       %s\n", terminal_text(shown, sizeof shown, watch->account->shown));
	for (unsigned rule = 0; rule < BUCKET_RULES; rule++)
		fprintf(to, "  %-18s %s\n", bucket_rule_name((enum bucket_rule)rule),
			terminal_text(shown, sizeof shown,
				      bucket_fact_show(&watch->facts, (enum bucket_rule)rule, found,
						       sizeof found)));
	text_proofs(watch, to);
	if (!watch->is_audited && watch->stored)
		fputs("  audit              not done, or not to its end: the run was stopped, or "
		      "failed; with an audit of \"all\" a later run looks at every object\n",
		      to);
	if (!watch->is_audited)
		return;
	if (watch->audit.lost)
		fprintf(to,
			"  audit              %llu objects could not be noted while they were "
			"stored: their checksums are not compared with ours\n",
			(unsigned long long)watch->audit.lost);
	fprintf(to, "  %-18s %s\n", "audit",
		terminal_text(shown, sizeof shown,
			      bucket_audit_show(&watch->audit, line, sizeof line)));
	for (unsigned i = 0; i < faults_kept(watch); i++)
		fprintf(to, "    %s: %s\n",
			terminal_text(line, sizeof line, watch->audit.first[i].key),
			terminal_text(shown, sizeof shown, watch->audit.first[i].what));
}

static void json_audit(const struct bucket_watch *watch, struct json_out *json)
{
	const struct bucket_audit *audit = &watch->audit;

	json_object_begin(json, "audit");
	json_number(json, "objects", audit->objects);
	json_number(json, "stored", audit->stored);
	json_number(json, "bytes", audit->bytes);
	json_number(json, "encrypted", audit->encrypted);
	json_text(json, "encryption", audit->encryption);
	json_text(json, "kms_key", audit->kms_key);
	json_number(json, "checksums_equal", audit->checksums_equal);
	json_number(json, "checksums_kept", audit->checksums_kept);
	json_number(json, "checksums_none", audit->checksums_none);
	json_number(json, "locked", audit->locked);
	json_number(json, "foreign", audit->foreign);
	json_number(json, "lost", audit->lost);
	json_number(json, "faults", audit->faults);
	json_array_begin(json, "first_faults");
	for (unsigned i = 0; i < faults_kept(watch); i++) {
		json_object_begin(json, NULL);
		json_text(json, "key", audit->first[i].key);
		json_text(json, "what", audit->first[i].what);
		json_object_end(json);
	}
	json_array_end(json);
	json_object_end(json);
}

void bucket_watch_json(const struct bucket_watch *watch, struct json_out *json)
{
	char found[FACT_BYTES];

	json_object_begin(json, NULL);
	json_text(json, "archive", watch->account->shown);
	for (unsigned rule = 0; rule < BUCKET_RULES; rule++)
		json_text(json, bucket_rule_name((enum bucket_rule)rule),
			  bucket_fact_show(&watch->facts, (enum bucket_rule)rule, found,
					   sizeof found));
	json_object_begin(json, "proved");
	for (size_t i = 0; i < ARRAY_COUNT(proofs); i++)
		json_number(json, proofs[i].key, proved(watch, i));
	json_object_end(json);
	if (watch->is_audited)
		json_audit(watch, json);
	json_object_end(json);
}
