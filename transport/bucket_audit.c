/* See bucket_audit.h. One fiber walks what the bucket lists beside what the run stored, both in the
 * order of keys, and hands each object to one of the fibers that ask. */
#include "transport/bucket_audit.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/fiber.h"
#include "engine/mail.h"
#include "transport/store.h"

struct audit;

/* Of one fiber that asks: the object that it is to ask for. */
struct slot {
	struct audit *audit;
	struct wait_queue filled;
	bool is_full;
	char key[S3_KEY_BYTES_MAX + 1];
	bool is_stored; /* by this run; else it is listed alone */
	bool has_fault;
	uint64_t listed_bytes, stored_bytes, stored_crc;
	struct s3_about about;
};

struct audit {
	struct s3 *s3;
	const struct s3_config *config;
	const struct bucket_audit_wish *wish;
	struct bucket_audit *out;
	const char *prefix;
	/* Demanded; NULL: nothing is. */
	const char *encryption, *kms_key;
	bool bucket_key, is_of_aws;
	nsec until;
	size_t next; /* of the rows stored */
	bool is_over, has_first;
	struct wait_queue freed;
	struct slot slots[BUCKET_AUDIT_IN_FLIGHT];
};

/* ---- one object ---- */

/* One of an object is enough. */
static void fault(struct slot *slot, const char *format, ...) PRINTF_LIKE(2, 3);
static void fault(struct slot *slot, const char *format, ...)
{
	struct bucket_audit *out = slot->audit->out;
	struct bucket_fault *row;
	va_list arguments;

	if (slot->has_fault)
		return;
	slot->has_fault = true;
	if (out->faults++ >= BUCKET_FAULTS_KEPT)
		return;
	row = &out->first[out->faults - 1];
	err_quote(row->key, sizeof row->key, text_of(slot->key));
	va_start(arguments, format);
	vsnprintf(row->what, sizeof row->what, format, arguments);
	va_end(arguments);
}

static void judge_length(struct slot *slot)
{
	uint64_t wanted = slot->is_stored ? slot->stored_bytes : slot->listed_bytes;

	if (slot->about.bytes != wanted)
		fault(slot, "it has %llu bytes, and was %s with %llu: somebody else writes there",
		      (unsigned long long)slot->about.bytes, slot->is_stored ? "stored" : "listed",
		      (unsigned long long)wanted);
}

static void judge_checksum(struct slot *slot)
{
	struct bucket_audit *out = slot->audit->out;
	const char *found = slot->about.checksum;
	char base64[CRC_BASE64_BYTES];

	crc_base64(slot->audit->config->checksum, slot->stored_crc, base64);
	if (!*found) {
		out->checksums_none++;
		if (slot->is_stored && slot->audit->is_of_aws)
			fault(slot, "it has no checksum of its whole, and was stored with one");
	} else if (!slot->is_stored) {
		out->checksums_kept++;
	} else if (strcmp(found, base64) == 0) {
		out->checksums_equal++;
	} else {
		fault(slot, "its checksum is %.40s, and was stored as %s: it holds other bytes",
		      found, base64);
	}
}

/* An alias names no key that an object could be compared with; its key is the first one's. */
static bool is_alias(const char *key)
{
	return strncmp(key, "alias/", 6) == 0 || strstr(key, ":alias/");
}

static void learn_first(struct audit *audit, const struct s3_about *about)
{
	struct bucket_audit *out = audit->out;

	if (audit->has_first)
		return;
	audit->has_first = true;
	if (!audit->encryption)
		snprintf(out->encryption, sizeof out->encryption, "%s", about->encryption);
	if (!audit->kms_key || is_alias(audit->kms_key))
		snprintf(out->kms_key, sizeof out->kms_key, "%s", about->kms_key);
}

/* Where nothing was demanded, one that is otherwise is counted and no fault. */
static void judge_encryption(struct slot *slot)
{
	const struct audit *audit = slot->audit;
	struct bucket_audit *out = audit->out;
	const struct s3_about *about = &slot->about;
	bool is_same = strcmp(about->encryption, out->encryption) == 0,
	     is_same_key = !*out->kms_key || bucket_key_is(out->kms_key, about->kms_key);

	out->encrypted += is_same && is_same_key;
	if ((audit->encryption && !is_same) || (audit->kms_key && !is_same_key))
		fault(slot, "it is %s%s%s%.130s, and should be encrypted with %s%s%.130s",
		      *about->encryption ? "encrypted with " : "not encrypted", about->encryption,
		      *about->kms_key ? " and key " : "", about->kms_key, out->encryption,
		      *out->kms_key ? " and key " : "", out->kms_key);
}

/* COMPLIANCE is more than GOVERNANCE, and later is longer. Who may not see a lock is told of none
 * ("HeadObject", x-amz-object-lock-mode). */
static void judge_lock(struct slot *slot)
{
	const struct s3_config *config = slot->audit->config;
	const struct s3_about *about = &slot->about;
	struct mail_date until, wanted;

	if (config->legal_hold && strcmp(about->legal_hold, "ON") != 0)
		fault(slot, "it is not on legal hold, or s3:GetObjectLegalHold is to be allowed");
	if (!config->lock_mode)
		return;
	if (strcmp(about->lock_mode, config->lock_mode) != 0 &&
	    strcmp(about->lock_mode, "COMPLIANCE") != 0)
		fault(slot, "its lock is %s, and should be %s",
		      *about->lock_mode ? about->lock_mode
					: "none (or s3:GetObjectRetention is to be allowed)",
		      config->lock_mode);
	if (!mail_date_from_rfc3339(text_of(about->retain_until), &until) ||
	    !mail_date_from_rfc3339(text_of(config->retain_until), &wanted) ||
	    until.seconds < wanted.seconds)
		fault(slot, "it is retained until \"%.40s\", and should be until %.40s",
		      about->retain_until, config->retain_until);
}

/* What later runs and lifecycle rules may change is judged of what was just stored. */
static void judge_of_run(struct slot *slot)
{
	const struct audit *audit = slot->audit;
	const char *wanted = audit->config->storage_class;
	const char *found = *slot->about.storage_class ? slot->about.storage_class : "STANDARD";

	if (wanted && strcmp(found, wanted) != 0)
		fault(slot, "its storage class is %s, and should be %s", found, wanted);
	if (audit->bucket_key && !slot->about.bucket_key)
		fault(slot, "it is encrypted without a bucket key, and should be with one");
	judge_lock(slot);
}

static void judge(struct slot *slot)
{
	struct bucket_audit *out = slot->audit->out;

	out->bytes += slot->about.bytes;
	out->locked += *slot->about.lock_mode || strcmp(slot->about.legal_hold, "ON") == 0;
	learn_first(slot->audit, &slot->about);
	judge_length(slot);
	judge_checksum(slot);
	judge_encryption(slot);
	if (slot->is_stored)
		judge_of_run(slot);
}

static enum err look(struct slot *slot)
{
	struct audit *audit = slot->audit;
	enum err e = s3_head(audit->s3, slot->key, audit->until, &slot->about);

	if (e && e != ERR_S3_ABSENT)
		return e;
	audit->out->objects++;
	audit->out->stored += slot->is_stored;
	if (!e) {
		judge(slot);
		return OK;
	}
	err_note_clear();
	fault(slot, "it is not there, and %s: see who deletes there",
	      slot->is_stored ? "was stored in this run" : "was listed a moment ago");
	return OK;
}

/* ---- many at once ---- */

static enum err wait_for(struct audit *audit, struct wait_queue *queue)
{
	enum err e = wait_on(queue, audit->until);

	if (e != ERR_FIBER_TIMEOUT)
		return e;
	return RAISE(ERR_NET_TIMEOUT,
		     "the audit of bucket %.64s came to its end after %llu objects; give it more "
		     "time, or ask only for what the run stored",
		     audit->config->bucket, (unsigned long long)audit->out->objects);
}

static enum err ask(void *argument)
{
	struct slot *slot = argument;
	struct audit *audit = slot->audit;
	enum err e;

	for (;;) {
		while (!slot->is_full && !audit->is_over)
			if ((e = wait_for(audit, &slot->filled)))
				return e;
		if (!slot->is_full)
			return OK;
		if ((e = look(slot)))
			return e;
		slot->is_full = false;
		wake_one(&audit->freed);
	}
}

static struct slot *free_slot(struct audit *audit)
{
	for (unsigned i = 0; i < BUCKET_AUDIT_IN_FLIGHT; i++)
		if (!audit->slots[i].is_full)
			return &audit->slots[i];
	return NULL;
}

/* An object as it is listed, or as it was stored, or both. */
static enum err hand_out(struct audit *audit, const struct s3_entry *listed,
			 const struct bucket_stored_row *stored)
{
	struct slot *slot;
	enum err e;

	while (!(slot = free_slot(audit)))
		if ((e = wait_for(audit, &audit->freed)))
			return e;
	snprintf(slot->key, sizeof slot->key, "%s", listed ? listed->key : stored->key);
	slot->has_fault = false;
	slot->is_stored = stored != NULL;
	slot->listed_bytes = listed ? listed->bytes : 0;
	slot->stored_bytes = stored ? stored->bytes : 0;
	slot->stored_crc = stored ? stored->crc : 0;
	slot->is_full = true;
	wake_one(&slot->filled);
	return OK;
}

static bool next_stored(const struct audit *audit, struct bucket_stored_row *row)
{
	return audit->wish->stored && bucket_stored_row(audit->wish->stored, audit->next, row);
}

/* Those that stand before `key` are not listed, so most likely not there. NULL: all. */
static enum err hand_out_unlisted(struct audit *audit, const char *key)
{
	struct bucket_stored_row row;
	enum err e = OK;

	while (!e && next_stored(audit, &row) && (!key || strcmp(row.key, key) < 0)) {
		audit->next++;
		e = hand_out(audit, NULL, &row);
	}
	return e;
}

static enum err take(void *context, const struct s3_entry *entry)
{
	struct audit *audit = context;
	const char *key = entry->key + strlen(audit->prefix);
	struct bucket_stored_row row;
	enum err e;

	if (!store_key_is_of_archive(text_of(key))) {
		audit->out->foreign += strcmp(key, ".lock") != 0;
		return OK;
	}
	if ((e = hand_out_unlisted(audit, entry->key)))
		return e;
	if (!next_stored(audit, &row) || strcmp(row.key, entry->key) != 0)
		return hand_out(audit, entry, NULL);
	audit->next++;
	return hand_out(audit, entry, &row);
}

static enum err walk(void *argument)
{
	struct audit *audit = argument;
	enum err e = OK;

	if (!audit->wish->only_stored)
		e = s3_list(audit->s3,
			    &(struct s3_list){
				    .prefix = audit->prefix, .take = take, .context = audit },
			    audit->until);
	if (!e)
		e = hand_out_unlisted(audit, NULL);
	audit->is_over = true;
	for (unsigned i = 0; i < BUCKET_AUDIT_IN_FLIGHT; i++)
		wake_one(&audit->slots[i].filled);
	return e;
}

static enum err walk_and_ask(struct audit *audit)
{
	struct group *group = group_open();
	enum err e = group_spawn(group, "audit walk", FIBER_STACK_LARGE, walk, audit), joined;

	for (unsigned i = 0; i < BUCKET_AUDIT_IN_FLIGHT && !e; i++) {
		audit->slots[i].audit = audit;
		e = group_spawn(group, "audit ask", FIBER_STACK_LARGE, ask, &audit->slots[i]);
	}
	if (e)
		group_cancel(group);
	joined = group_join(&group);
	return e ? e : joined;
}

/* ---- the audit ---- */

static enum err conclude(const struct audit *audit)
{
	const struct bucket_audit *out = audit->out;

	if (out->faults == 0)
		return OK;
	return RAISE(ERR_S3_UNFIT,
		     "%llu of %llu objects in bucket %.64s are not as they were to be stored; the "
		     "first is %.100s: %.250s",
		     (unsigned long long)out->faults, (unsigned long long)out->objects,
		     audit->config->bucket, out->first[0].key, out->first[0].what);
}

static void begin(struct audit *audit)
{
	const struct bucket_policy *policy = audit->wish->policy;
	const struct s3_config *config = audit->config;
	struct bucket_audit *out = audit->out;

	audit->prefix = policy->prefix ? policy->prefix : "";
	audit->encryption = config->encryption ? config->encryption : policy->encryption;
	audit->kms_key = config->kms_key ? config->kms_key : policy->kms_key;
	audit->bucket_key = config->bucket_key || policy->bucket_key;
	audit->is_of_aws = aws_endpoint_is_of_aws(&config->endpoint);
	if (audit->encryption)
		snprintf(out->encryption, sizeof out->encryption, "%s", audit->encryption);
	if (audit->kms_key && !is_alias(audit->kms_key))
		snprintf(out->kms_key, sizeof out->kms_key, "%s", audit->kms_key);
	if (audit->wish->stored)
		out->lost = bucket_stored_lost(audit->wish->stored);
}

enum err bucket_audit(struct s3 *s3, const struct bucket_audit_wish *wish, nsec until,
		      struct bucket_audit *out)
{
	struct audit *audit = calloc(1, sizeof *audit);
	enum err e = OK;

	*out = (struct bucket_audit){ 0 };
	if (!audit)
		return RAISE(ERR_MEMORY_EXHAUSTED, "looking at what is stored");
	audit->s3 = s3;
	audit->config = s3_opened_as(s3);
	audit->wish = wish;
	audit->out = out;
	audit->until = until;
	begin(audit);
	if (wish->stored)
		e = bucket_stored_sort(wish->stored);
	if (!e && !(e = walk_and_ask(audit)))
		e = conclude(audit);
	free(audit);
	return e;
}

/* ---- the line ---- */

static void add_count(struct buffer *to, const char *what, uint64_t count)
{
	if (count > 0)
		buffer_addf(to, "%s%llu", what, (unsigned long long)count);
}

char *bucket_audit_show(const struct bucket_audit *audit, char *to, size_t room)
{
	struct buffer text = { 0 };

	if (audit->objects == 0) {
		snprintf(to, room, "no objects");
		return to;
	}
	buffer_addf(&text, "%llu of %llu objects %s%s%s%s", (unsigned long long)audit->encrypted,
		    (unsigned long long)audit->objects,
		    *audit->encryption ? "encrypted with " : "not encrypted", audit->encryption,
		    *audit->kms_key ? " and key " : "", audit->kms_key);
	if (audit->checksums_equal == audit->objects) {
		buffer_add_text(&text, ", checksum equal");
	} else {
		add_count(&text, ", checksum equal of ", audit->checksums_equal);
		add_count(&text, ", kept by the service of earlier runs: ", audit->checksums_kept);
		add_count(&text, ", without a checksum: ", audit->checksums_none);
	}
	add_count(&text, ", locked: ", audit->locked);
	add_count(&text, ", not as they were to be stored: ", audit->faults);
	snprintf(to, room, "%.*s", (int)text.bytes, text.at ? text.at : "");
	buffer_free(&text);
	return to;
}
