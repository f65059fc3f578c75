/* A bucket in memory in place of transport/s3.c, by linking: keeps S3's rules about uploads and
 * conditions, complains of a caller that does not, and can fail at any call. Each call suspends. */
#ifndef MAILHAUL_S3_FAKE_H
#define MAILHAUL_S3_FAKE_H

#include <stdlib.h>

#include "engine/clock.h"
#include "engine/fiber.h"
#include "engine/log.h"
#include "tests/test.h"
#include "transport/s3.h"

enum fake_fault {
	FAKE_NONE,
	FAKE_REFUSED,  /* nothing is done, and the answer says so */
	FAKE_LOST,     /* it is done, and no answer comes */
	FAKE_REPEATED, /* it is done, no answer comes, and the repetition is answered */
	FAKE_LATE,     /* no answer comes, and it is done when fake_catch_up() is called */
	FAKE_CUT,      /* this one is done, and nothing after it: the process was killed */
	FAKE_FAULTS
};

enum {
	FAKE_OBJECTS = 200,
	FAKE_UPLOADS = 200,
	FAKE_LATE_MAX = 4,
	FAKE_FIELDS_BYTES = 2500,
	FAKE_TIME = 1700000000,
};

struct fake_object {
	char key[S3_KEY_BYTES_MAX + 1], etag[40];
	char fields[FAKE_FIELDS_BYTES]; /* of an answer's head: what was said of it */
	uint8_t *at;
	size_t bytes;
	bool is_archived; /* it must be restored before it can be read */
};
struct fake_part {
	unsigned number;
	uint8_t *at;
	size_t bytes;
	char etag[40];
	struct fake_part *next;
};
struct fake_upload {
	char key[S3_KEY_BYTES_MAX + 1], id[40]; /* key "": none */
	struct fake_part *parts;
	char fields[FAKE_FIELDS_BYTES]; /* of the object that it is to be */
	unsigned aborts;		/* so many have no effect yet: a part is still coming in */
	unsigned flying;		/* parts */
};
/* A request that is on its way. */
struct fake_late {
	enum { LATE_PUT, LATE_COMPLETE, LATE_PART, LATE_BEGIN, LATE_DELETE } what;
	char key[S3_KEY_BYTES_MAX + 1], id[40], match[40];
	bool only_if_absent;
	uint8_t *at;
	size_t bytes;
	unsigned number;
	struct s3_part_sent *parts;
	size_t parts_count;
	char *fields; /* NULL: nothing is said */
};

/* What can be asked of the bucket, and what is answered: an error, or what is set. */
enum fake_question {
	FAKE_REGION,
	FAKE_VERSIONING,
	FAKE_LOCK,
	FAKE_ENCRYPTION,
	FAKE_BLOCK,
	FAKE_POLICY,
	FAKE_REPLICATION,
	FAKE_QUESTIONS
};
struct fake_bucket {
	enum err errors[FAKE_QUESTIONS];
	const char *region;
	struct s3_versioning versioning;
	struct s3_object_lock lock;
	struct s3_encryption encryption;
	struct s3_public_access_block block;
	struct s3_policy_status policy;
	struct s3_replication_rule rules[3];
	unsigned rules_count;
};

static struct {
	struct fake_bucket bucket;
	struct fake_object objects[FAKE_OBJECTS];
	struct fake_upload uploads[FAKE_UPLOADS];
	struct fake_late late[FAKE_LATE_MAX];
	unsigned late_count;
	uint64_t made; /* for ETags and ids */
	unsigned calls, fail_at;
	enum fake_fault fault;
	bool is_cut;
	bool ignores_conditions, tells_nothing; /* as radosgw 16 does */
	enum { FAKE_KNOWS_CRC64, FAKE_IGNORES_CRC64, FAKE_REFUSES_CRC64 } crc64;
	enum crc_kind checksum; /* that was chosen */
	bool damages;
	const char *intruder; /* what another writes over a lock right behind us; NULL: nobody */
	size_t least;	      /* of parts but the last */
	/* Of four parts that are sent at once the first lands last. */
	bool lands_backwards;
	unsigned flying, flying_highest; /* parts */
	uint64_t heads, gets, lists, parts_count;
	size_t bytes_last; /* that were asked for */
} fake;

struct s3 {
	struct s3_config config;
};

static inline void fake_parts_free(struct fake_upload *upload)
{
	for (struct fake_part *part = upload->parts, *next; part; part = next) {
		next = part->next;
		free(part->at);
		free(part);
	}
	*upload = (struct fake_upload){ 0 };
}

static inline void fake_reset(size_t least)
{
	for (unsigned i = 0; i < FAKE_OBJECTS; i++)
		free(fake.objects[i].at);
	for (unsigned i = 0; i < FAKE_UPLOADS; i++)
		fake_parts_free(&fake.uploads[i]);
	for (unsigned i = 0; i < fake.late_count; i++) {
		free(fake.late[i].at);
		free(fake.late[i].parts);
		free(fake.late[i].fields);
	}
	memset(&fake, 0, sizeof fake);
	fake.least = least;
	log_setup(2, LOG_ERROR, false); /* what is left behind is said as a warning */
}

static inline uint8_t *fake_copy(const void *from, size_t bytes)
{
	uint8_t *to = malloc(bytes + 1);

	must(to);
	if (bytes)
		memcpy(to, from, bytes);
	return to;
}

static inline uint8_t *fake_join(const struct text *pieces, size_t count, size_t *bytes)
{
	uint8_t *whole;

	*bytes = 0;
	for (size_t i = 0; i < count; i++)
		*bytes += pieces[i].bytes;
	whole = fake_copy(NULL, 0);
	whole = realloc(whole, *bytes + 1);
	must(whole);
	for (size_t i = 0, at = 0; i < count; at += pieces[i++].bytes)
		if (pieces[i].bytes)
			memcpy(whole + at, pieces[i].at, pieces[i].bytes);
	return whole;
}

static inline struct fake_object *fake_find(const char *key)
{
	for (unsigned i = 0; i < FAKE_OBJECTS; i++)
		if (fake.objects[i].at && strcmp(fake.objects[i].key, key) == 0)
			return &fake.objects[i];
	return NULL;
}

static inline struct fake_upload *fake_upload_find(const char *key, const char *id)
{
	for (unsigned i = 0; i < FAKE_UPLOADS; i++)
		if (fake.uploads[i].key[0] && strcmp(fake.uploads[i].key, key) == 0 &&
		    (!id || strcmp(fake.uploads[i].id, id) == 0))
			return &fake.uploads[i];
	return NULL;
}

/* Takes the bytes. */
static inline struct fake_object *fake_store(const char *key, uint8_t *at, size_t bytes)
{
	struct fake_object *object = fake_find(key);

	for (unsigned i = 0; !object && i < FAKE_OBJECTS; i++)
		if (!fake.objects[i].at)
			object = &fake.objects[i];
	must(object);
	free(object->at);
	snprintf(object->key, sizeof object->key, "%s", key);
	snprintf(object->etag, sizeof object->etag, "\"e%llu\"", (unsigned long long)++fake.made);
	object->at = at;
	object->bytes = bytes;
	object->fields[0] = '\0';
	object->is_archived = false;
	if (fake.damages && bytes)
		at[bytes / 2] ^= 1;
	return object;
}

/* ---- what a request does when it arrives ---- */

static inline enum err fake_do_put(struct fake_late *put)
{
	struct fake_object *there = fake_find(put->key);

	if (!fake.ignores_conditions && put->only_if_absent && there)
		return ERR_S3_EXISTS;
	if (!fake.ignores_conditions && put->match[0] && !there)
		return ERR_S3_ABSENT;
	if (!fake.ignores_conditions && put->match[0] && strcmp(there->etag, put->match) != 0)
		return ERR_S3_CHANGED;
	there = fake_store(put->key, fake_copy(put->at, put->bytes), put->bytes);
	snprintf(there->fields, sizeof there->fields, "%s", put->fields ? put->fields : "");
	return OK;
}

static inline enum err fake_do_begin(struct fake_late *begin)
{
	for (unsigned i = 0; i < FAKE_UPLOADS; i++)
		if (!fake.uploads[i].key[0]) {
			snprintf(fake.uploads[i].key, sizeof fake.uploads[i].key, "%s", begin->key);
			snprintf(fake.uploads[i].id, sizeof fake.uploads[i].id, "u%llu",
				 (unsigned long long)++fake.made);
			snprintf(begin->id, sizeof begin->id, "%s", fake.uploads[i].id);
			snprintf(fake.uploads[i].fields, FAKE_FIELDS_BYTES, "%s",
				 begin->fields ? begin->fields : "");
			return OK;
		}
	must(false); /* make room for more uploads */
}

static inline enum err fake_do_part(struct fake_late *late)
{
	struct fake_upload *upload = fake_upload_find(late->key, late->id);
	struct fake_part *part;

	if (!upload)
		return ERR_S3_ABSENT;
	for (part = upload->parts; part && part->number != late->number; part = part->next)
		;
	if (!part) {
		part = calloc(1, sizeof *part);
		must(part);
		part->number = late->number;
		part->next = upload->parts;
		upload->parts = part;
	}
	free(part->at);
	part->at = fake_copy(late->at, late->bytes);
	part->bytes = late->bytes;
	snprintf(part->etag, sizeof part->etag, "\"p%llu\"", (unsigned long long)++fake.made);
	return OK;
}

static inline enum err fake_do_complete(struct fake_late *late)
{
	struct fake_upload *upload = fake_upload_find(late->key, late->id);
	struct fake_part *part;
	uint8_t *whole = fake_copy(NULL, 0);
	size_t bytes = 0, listed = 0;

	if (!upload || (!fake.ignores_conditions && late->only_if_absent && fake_find(late->key))) {
		free(whole);
		return upload ? ERR_S3_EXISTS : ERR_S3_ABSENT;
	}
	for (size_t i = 0; i < late->parts_count; i++) {
		for (part = upload->parts; part && part->number != late->parts[i].number;
		     part = part->next)
			;
		CHECK(part && strcmp(part->etag, late->parts[i].etag) == 0);
		CHECK(i == 0 || late->parts[i - 1].number < late->parts[i].number);
		CHECK(part && (i + 1 == late->parts_count || part->bytes >= fake.least));
		must(part && (whole = realloc(whole, bytes + part->bytes + 1)));
		if (part->bytes)
			memcpy(whole + bytes, part->at, part->bytes);
		bytes += part->bytes;
	}
	if (fake.ignores_conditions) { /* radosgw wants each part that it has */
		for (part = upload->parts; part; part = part->next)
			listed++;
		CHECK_EQ(listed, late->parts_count);
	}
	snprintf(fake_store(late->key, whole, bytes)->fields, FAKE_FIELDS_BYTES, "%s",
		 upload->fields);
	fake_parts_free(upload);
	return OK;
}

static inline enum err fake_do_delete(struct fake_late *late)
{
	struct fake_object *there = fake_find(late->key);

	if (!there)
		return late->match[0] && !fake.ignores_conditions ? ERR_S3_ABSENT : OK;
	if (!fake.ignores_conditions && late->match[0] && strcmp(there->etag, late->match) != 0)
		return ERR_S3_CHANGED;
	free(there->at);
	*there = (struct fake_object){ 0 };
	return OK;
}

static inline enum err fake_do(struct fake_late *late)
{
	switch (late->what) {
	case LATE_PUT:
		return fake_do_put(late);
	case LATE_COMPLETE:
		return fake_do_complete(late);
	case LATE_PART:
		return fake_do_part(late);
	case LATE_BEGIN:
		return fake_do_begin(late);
	case LATE_DELETE:
		return fake_do_delete(late);
	}
	must(false);
}

static inline void fake_late_free(struct fake_late *late)
{
	free(late->at);
	free(late->parts);
	free(late->fields);
}

/* What was late arrives. */
static inline void fake_catch_up(void)
{
	for (unsigned i = 0; i < fake.late_count; i++) {
		(void)fake_do(&fake.late[i]);
		fake_late_free(&fake.late[i]);
	}
	fake.late_count = 0;
}

/* ---- faults ---- */

static inline enum err fake_pause(void)
{
	enum err e = fiber_yield();

	return e ? e : fake.is_cut ? RAISE(ERR_FIBER_CANCELED, "cut") : OK;
}

static inline bool fake_is_now(void)
{
	return ++fake.calls == fake.fail_at;
}

/* A request that changes something, which is freed; *maybe_ours as in s3.h. */
static inline enum err fake_change(struct fake_late *late, bool *maybe_ours)
{
	enum fake_fault fault = fake_is_now() ? fake.fault : FAKE_NONE;
	enum err e = fake_pause();

	*maybe_ours = false;
	if (e || fault == FAKE_REFUSED) {
		fake_late_free(late);
		return e ? e : RAISE(ERR_S3_UNAVAILABLE, "refused");
	}
	*maybe_ours = fault != FAKE_NONE;
	if (fault == FAKE_LATE) {
		must(fake.late_count < FAKE_LATE_MAX);
		fake.late[fake.late_count++] = *late;
		return RAISE(ERR_NET_TIMEOUT, "late");
	}
	e = fake_do(late);
	if (fault == FAKE_REPEATED)
		e = fake_do(late);
	fake_late_free(late);
	fake.is_cut |= fault == FAKE_CUT;
	if (fault == FAKE_LOST || fault == FAKE_CUT)
		return RAISE(fault == FAKE_CUT ? ERR_FIBER_CANCELED : ERR_NET_TIMEOUT, "lost");
	return e ? RAISE(e, "no") : OK;
}

/* One that only asks. */
static inline enum err fake_ask(void)
{
	bool now = fake_is_now();
	enum err e = fake_pause();

	fake.is_cut |= now && fake.fault == FAKE_CUT;
	if (e || !now || fake.fault == FAKE_REPEATED)
		return e;
	return RAISE(fake.is_cut ? ERR_FIBER_CANCELED : ERR_S3_UNAVAILABLE, "lost");
}

/* ---- the calls of s3.h ---- */

static inline enum s3_proof fake_proof(const struct s3 *s3)
{
	bool ignored = fake.crc64 == FAKE_IGNORES_CRC64 && s3->config.checksum == CRC64NVME;

	return fake.tells_nothing || ignored ? S3_PROOF_NONE : S3_PROOF_CHECKSUM;
}

static inline bool fake_refuses(const struct s3 *s3)
{
	return fake.crc64 == FAKE_REFUSES_CRC64 && s3->config.checksum == CRC64NVME;
}

void s3_checksum_use(struct s3 *s3, enum crc_kind kind)
{
	fake.checksum = s3->config.checksum = kind;
}

enum err s3_open(const struct s3_config *config, struct s3 **out)
{
	*out = malloc(sizeof **out);
	must(*out && config->bucket && config->way);
	(*out)->config = *config;
	return OK;
}

const struct s3_config *s3_opened_as(const struct s3 *s3)
{
	return &s3->config;
}

void s3_close(struct s3 **s3)
{
	free(*s3);
	*s3 = NULL;
}

static inline struct fake_late fake_request(int what, const char *key, const char *id,
					    const char *match)
{
	struct fake_late late = { .what = what };

	snprintf(late.key, sizeof late.key, "%s", key);
	snprintf(late.id, sizeof late.id, "%s", id ? id : "");
	snprintf(late.match, sizeof late.match, "%s", match ? match : "");
	return late;
}

/* What S3 counts is names without "x-amz-meta-" and values: 2 KB. */
static inline char *fake_say(const struct s3_metadata *metadata, size_t count)
{
	char *to = calloc(1, FAKE_FIELDS_BYTES);
	size_t used = 0, counted = 0;

	must(to);
	for (size_t i = 0; i < count; i++) {
		if (!metadata[i].value)
			continue;
		counted += strlen(metadata[i].name) - strlen("x-amz-meta-") +
			   strlen(metadata[i].value);
		used += (size_t)snprintf(to + used, FAKE_FIELDS_BYTES - used, "%s: %s\r\n",
					 metadata[i].name, metadata[i].value);
		must(used < FAKE_FIELDS_BYTES);
	}
	CHECK(counted <= 2048);
	return to;
}

enum err s3_put(struct s3 *s3, const struct s3_put *put, nsec until, struct s3_stored *out)
{
	struct fake_late late = fake_request(LATE_PUT, put->key, NULL, put->if_match);
	struct fake_object *there;
	enum err e;

	CHECK(until > clock_now());
	*out = (struct s3_stored){ .proof = fake_proof(s3) };
	if (fake_refuses(s3))
		return RAISE(ERR_S3_REFUSED, "unknown checksum");
	late.only_if_absent = put->only_if_absent;
	late.at = fake_join(put->pieces, put->pieces_count, &late.bytes);
	late.fields = fake_say(put->metadata, put->metadata_count);
	CHECK(crc_update(s3->config.checksum, 0, late.at, late.bytes) == put->crc);
	CHECK(put->is_transient == (strstr(put->key, ".lock") != NULL));
	if ((e = fake_change(&late, &out->maybe_ours)))
		return e;
	there = fake_find(put->key);
	must(there);
	snprintf(out->etag, sizeof out->etag, "%s", there->etag);
	if (fake.intruder && put->is_transient)
		fake_store(put->key, fake_copy(fake.intruder, strlen(fake.intruder)),
			   strlen(fake.intruder));
	return OK;
}

enum err s3_upload_begin(struct s3 *s3, const struct s3_begin *begin, nsec until,
			 char upload_id[S3_UPLOAD_ID_BYTES_MAX + 1])
{
	struct fake_late late = fake_request(LATE_BEGIN, begin->key, NULL, NULL);
	bool maybe_ours;
	enum err e;

	(void)until;
	if (fake_refuses(s3))
		return RAISE(ERR_S3_REFUSED, "unknown checksum");
	late.fields = fake_say(begin->metadata, begin->metadata_count);
	if (!(e = fake_change(&late, &maybe_ours)))
		snprintf(upload_id, S3_UPLOAD_ID_BYTES_MAX + 1, "%s", late.id);
	return e;
}

/* The memory of a part that is on its way stays as it is, and its upload is not aborted. */
static inline void fake_fly(struct fake_upload *upload)
{
	if (upload)
		upload->flying++;
	fake.flying_highest = (unsigned)max_u64(fake.flying_highest, ++fake.flying);
}

static inline struct fake_upload *fake_land(const char *key, const char *id)
{
	struct fake_upload *upload = fake_upload_find(key, id);

	if (upload)
		upload->flying--;
	fake.flying--;
	return upload;
}

enum err s3_upload_part(struct s3 *s3, const struct s3_part_put *put, nsec until,
			struct s3_stored *out)
{
	struct fake_late late = fake_request(LATE_PART, put->key, put->upload_id, NULL);
	struct fake_upload *upload = fake_upload_find(put->key, put->upload_id);
	struct fake_part *part = upload ? upload->parts : NULL;
	enum err e;

	(void)until;
	*out = (struct s3_stored){ .proof = fake_proof(s3) };
	if (fake_refuses(s3))
		return RAISE(ERR_S3_REFUSED, "unknown checksum");
	CHECK(put->number >= 1 && put->number <= S3_PARTS_MAX);
	for (; part && !fake.ignores_conditions; part = part->next)
		CHECK(part->number != put->number);
	late.number = put->number;
	late.at = fake_join(put->pieces, put->pieces_count, &late.bytes);
	CHECK(crc_update(s3->config.checksum, 0, late.at, late.bytes) == put->crc);
	fake.parts_count++;
	fake_fly(upload);
	for (unsigned i = put->number % 4; fake.lands_backwards && i < 4; i++)
		(void)fiber_yield();
	e = fake_change(&late, &out->maybe_ours);
	upload = fake_land(put->key, put->upload_id);
	CHECK(crc_update(s3->config.checksum, 0, put->pieces->at, put->pieces->bytes) == put->crc);
	if (e)
		return e;
	for (part = upload ? upload->parts : NULL; part && part->number != put->number;
	     part = part->next)
		;
	must(part);
	snprintf(out->etag, sizeof out->etag, "%s", part->etag);
	return OK;
}

enum err s3_upload_complete(struct s3 *s3, const struct s3_complete *complete, nsec until,
			    struct s3_stored *out)
{
	struct fake_late late =
		fake_request(LATE_COMPLETE, complete->key, complete->upload_id, NULL);
	struct fake_object *there;
	enum err e;

	(void)until;
	*out = (struct s3_stored){ .proof = fake_proof(s3) };
	if (fake_refuses(s3))
		return RAISE(ERR_S3_REFUSED, "unknown checksum");
	CHECK(complete->only_if_absent && complete->parts_count > 0);
	late.only_if_absent = true;
	late.parts_count = complete->parts_count;
	late.parts = malloc(late.parts_count * sizeof *late.parts);
	must(late.parts);
	memcpy(late.parts, complete->parts, late.parts_count * sizeof *late.parts);
	if ((e = fake_change(&late, &out->maybe_ours)))
		return e;
	there = fake_find(complete->key);
	must(there);
	CHECK_EQ(there->bytes, complete->bytes);
	CHECK(fake.damages ||
	      crc_update(s3->config.checksum, 0, there->at, there->bytes) == complete->crc);
	return OK;
}

enum err s3_upload_abort(struct s3 *s3, const char *key, const char *upload_id, nsec until)
{
	struct fake_upload *upload;
	enum err e = fake_ask();

	(void)s3, (void)until;
	if (e)
		return e;
	if (!(upload = fake_upload_find(key, upload_id)))
		return RAISE(ERR_S3_ABSENT, "no such upload");
	CHECK_EQ(upload->flying, 0);
	if (upload->aborts > 0)
		upload->aborts--;
	else
		fake_parts_free(upload);
	return OK;
}

enum err s3_delete(struct s3 *s3, const char *key, const char *if_match, nsec until)
{
	struct fake_late late = fake_request(LATE_DELETE, key, NULL, if_match);
	bool maybe_ours;

	(void)s3, (void)until;
	CHECK(strstr(key, ".lock") != NULL);
	return fake_change(&late, &maybe_ours);
}

static inline void fake_tell(const struct fake_object *there, struct buffer *fields)
{
	if (!fields)
		return;
	buffer_reset(fields);
	buffer_addf(fields, "ETag: %s\r\n%s", there->etag, there->fields);
}

enum err s3_head_fields(struct s3 *s3, const char *key, nsec until, struct s3_about *about,
			struct buffer *fields)
{
	struct fake_object *there;
	enum err e = fake_ask();

	(void)until;
	fake.heads++;
	*about = (struct s3_about){ 0 };
	if (e)
		return e;
	if (!(there = fake_find(key)))
		return RAISE(ERR_S3_ABSENT, "no %s", key);
	fake_tell(there, fields);
	about->bytes = there->bytes;
	snprintf(about->etag, sizeof about->etag, "%s", there->etag);
	if (fake_proof(s3) == S3_PROOF_CHECKSUM)
		crc_base64(s3->config.checksum,
			   crc_update(s3->config.checksum, 0, there->at, there->bytes),
			   about->checksum);
	return OK;
}

enum err s3_head(struct s3 *s3, const char *key, nsec until, struct s3_about *about)
{
	return s3_head_fields(s3, key, until, about, NULL);
}

/* The first half of it comes before others may run. */
enum err s3_get(struct s3 *s3, const struct s3_get *get, nsec until, size_t *got)
{
	struct fake_object *there = fake_find(get->key);
	enum err e;

	if (there && get->at < there->bytes)
		memcpy(get->to, there->at + get->at,
		       min_u64(get->bytes / 2, there->bytes - get->at));
	e = fake_ask();

	(void)s3, (void)until;
	fake.gets++;
	fake.bytes_last = get->bytes;
	*got = 0;
	if (e)
		return e;
	if (!(there = fake_find(get->key)))
		return RAISE(ERR_S3_ABSENT, "no %s", get->key);
	if (get->etag && strcmp(get->etag, there->etag) != 0)
		return RAISE(ERR_S3_CHANGED, "another");
	if (there->is_archived)
		return RAISE(ERR_S3_ARCHIVED, "to be restored");
	fake_tell(there, get->fields);
	if (get->at < there->bytes)
		*got = min_u64(get->bytes, there->bytes - get->at);
	if (*got > get->bytes / 2)
		memcpy((char *)get->to + get->bytes / 2, there->at + get->at + get->bytes / 2,
		       *got - get->bytes / 2);
	return OK;
}

static inline int fake_compare_keys(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

enum err s3_list(struct s3 *s3, const struct s3_list *list, nsec until)
{
	const char *keys[FAKE_OBJECTS], *rest, *slash, *prefix = list->prefix ? list->prefix : "";
	char last[S3_KEY_BYTES_MAX + 1] = "", common[S3_KEY_BYTES_MAX + 1];
	const struct fake_object *there;
	size_t count = 0;
	enum err e = fake_ask();

	(void)s3, (void)until;
	fake.lists++;
	for (unsigned i = 0; i < FAKE_OBJECTS; i++)
		if (fake.objects[i].at && strncmp(fake.objects[i].key, prefix, strlen(prefix)) == 0)
			keys[count++] = fake.objects[i].key;
	qsort(keys, count, sizeof *keys, fake_compare_keys);
	for (size_t i = 0; i < count && !e; i++) { /* what stands for several behind all others */
		rest = keys[i] + strlen(prefix);
		there = fake_find(keys[i]);
		if (there && (!list->delimiter || !strstr(rest, list->delimiter)))
			e = list->take(list->context, &(struct s3_entry){ .key = keys[i],
									  .id = there->etag,
									  .bytes = there->bytes,
									  .time_s = FAKE_TIME });
	}
	for (size_t i = 0; i < count && !e; i++) {
		rest = keys[i] + strlen(prefix);
		if (!list->delimiter || !(slash = strstr(rest, list->delimiter)))
			continue;
		snprintf(common, sizeof common, "%.*s", (int)(slash - keys[i] + 1), keys[i]);
		if (strcmp(common, last) != 0)
			e = list->take(list->context,
				       &(struct s3_entry){ .key = common, .is_prefix = true });
		snprintf(last, sizeof last, "%s", common);
	}
	return e;
}

enum err s3_list_uploads(struct s3 *s3, const char *prefix, s3_take *take, void *context,
			 nsec until)
{
	enum err e = fake_ask();

	(void)s3, (void)until;
	for (unsigned i = 0; i < FAKE_UPLOADS && !e; i++)
		if (fake.uploads[i].key[0] &&
		    strncmp(fake.uploads[i].key, prefix, strlen(prefix)) == 0) {
			char key[S3_KEY_BYTES_MAX + 1], id[40];

			snprintf(key, sizeof key, "%s", fake.uploads[i].key);
			snprintf(id, sizeof id, "%s", fake.uploads[i].id);
			e = take(context, &(struct s3_entry){ .key = key, .id = id });
		}
	return e;
}

enum err s3_list_parts(struct s3 *s3, const char *key, const char *upload_id, s3_take *take,
		       void *context, nsec until)
{
	enum err e = fake_ask();

	(void)s3, (void)take, (void)context, (void)until;
	if (e)
		return e;
	return fake_upload_find(key, upload_id) ? OK : RAISE(ERR_S3_ABSENT, "no such upload");
}

/* ---- the bucket ---- */

static inline enum err fake_answer(enum fake_question question, const void *from, void *to,
				   size_t bytes)
{
	enum err e = fake_ask();

	memset(to, 0, bytes);
	if (e)
		return e;
	if (fake.bucket.errors[question])
		return RAISE(fake.bucket.errors[question], "no answer to %d", question);
	memcpy(to, from, bytes);
	return OK;
}

enum err s3_bucket_region(struct s3 *s3, nsec until, char region[S3_REGION_BYTES_MAX + 1])
{
	enum err e = fake.bucket.errors[FAKE_REGION];

	(void)s3, (void)until;
	snprintf(region, S3_REGION_BYTES_MAX + 1, "%s",
		 !e || e == ERR_S3_REGION ? fake.bucket.region : "");
	return e ? RAISE(e, "no region") : fake_ask();
}

enum err s3_bucket_versioning(struct s3 *s3, nsec until, struct s3_versioning *to)
{
	(void)s3, (void)until;
	return fake_answer(FAKE_VERSIONING, &fake.bucket.versioning, to, sizeof *to);
}

enum err s3_bucket_object_lock(struct s3 *s3, nsec until, struct s3_object_lock *to)
{
	(void)s3, (void)until;
	return fake_answer(FAKE_LOCK, &fake.bucket.lock, to, sizeof *to);
}

enum err s3_bucket_encryption(struct s3 *s3, nsec until, struct s3_encryption *to)
{
	(void)s3, (void)until;
	return fake_answer(FAKE_ENCRYPTION, &fake.bucket.encryption, to, sizeof *to);
}

enum err s3_bucket_public_access(struct s3 *s3, nsec until, struct s3_public_access_block *to)
{
	(void)s3, (void)until;
	return fake_answer(FAKE_BLOCK, &fake.bucket.block, to, sizeof *to);
}

enum err s3_bucket_policy_status(struct s3 *s3, nsec until, struct s3_policy_status *to)
{
	(void)s3, (void)until;
	return fake_answer(FAKE_POLICY, &fake.bucket.policy, to, sizeof *to);
}

enum err s3_bucket_replication(struct s3 *s3, nsec until,
			       void (*take)(void *context, const struct s3_replication_rule *),
			       void *context)
{
	char nothing;
	enum err e = fake_answer(FAKE_REPLICATION, "", &nothing, 1);

	(void)s3, (void)until;
	for (unsigned i = 0; i < fake.bucket.rules_count && !e; i++)
		take(context, &fake.bucket.rules[i]);
	return e;
}

#endif
