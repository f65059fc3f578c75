/* What the S3 stand-in keeps: memory that outlives a process, objects in order of their keys,
 * uploads, and what a judge asks of them. */
#include "tests/sim/s3_model_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

/* Blocks of powers of two in one shared mapping; what is released is used again. */
enum { BLOCK_BITS_MIN = 5, BLOCK_BITS_MAX = 40, ARENA_START = 4096 };

struct s3_model_arena {
	size_t used, room;
	void *released[BLOCK_BITS_MAX];
};

static unsigned block_bits(size_t n)
{
	unsigned bits = BLOCK_BITS_MIN;

	while ((size_t)1 << bits < n)
		bits++;
	must(bits < BLOCK_BITS_MAX);
	return bits;
}

static void *take_block(struct s3_model_arena *arena, size_t n)
{
	unsigned bits = block_bits(n);
	size_t bytes = (size_t)1 << bits;
	void *block = arena->released[bits];

	if (block) {
		arena->released[bits] = *(void **)block;
	} else {
		must(arena->room - arena->used >= bytes); /* open the model with more */
		block = (char *)arena + arena->used;
		arena->used += bytes;
	}
	memset(block, 0, n);
	return block;
}

void *s3_model_allocate(struct s3_model *model, size_t n)
{
	return take_block(model->arena, n);
}

void s3_model_release(struct s3_model *model, const void *block, size_t n)
{
	void **free_block = (void **)(uintptr_t)block;
	unsigned bits = block_bits(n);

	if (!block)
		return;
	*free_block = model->arena->released[bits];
	model->arena->released[bits] = free_block;
}

const uint8_t *s3_model_copy_bytes(struct s3_model *model, const void *bytes, size_t n)
{
	uint8_t *copy = s3_model_allocate(model, n + 1);

	if (n)
		bytes_copy(copy, bytes, n, BYTES_META);
	return copy;
}

char *s3_model_copy_text(struct s3_model *model, const char *text)
{
	return (char *)(uintptr_t)s3_model_copy_bytes(model, text, strlen(text));
}

struct s3_model *s3_model_open(uint64_t seed, size_t bytes_max)
{
	struct s3_model_arena *arena;
	struct s3_model *model;

	arena = mmap(NULL, bytes_max, PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	must(arena != MAP_FAILED);
	arena->used = ARENA_START;
	arena->room = bytes_max;
	model = take_block(arena, sizeof *model);
	model->arena = arena;
	model->seed = seed;
	model->part_bytes_min = S3_MODEL_PART_BYTES_MIN;
	model->part_count_max = S3_MODEL_PARTS_MAX;
	snprintf(model->endpoints[0].host, sizeof model->endpoints[0].host, "localhost");
	snprintf(model->endpoints[0].region, sizeof model->endpoints[0].region, "us-east-1");
	return model;
}

void s3_model_close(struct s3_model **model)
{
	if (*model)
		must(munmap((*model)->arena, (*model)->arena->room) == 0);
	*model = NULL;
}

/* Together with what is in the arena of the model itself. */
struct s3_model_image {
	size_t bytes;
	uint8_t at[];
};

struct s3_model_image *s3_model_save(const struct s3_model *model)
{
	struct s3_model_image *image = malloc(sizeof *image + model->arena->used);

	must(image);
	image->bytes = model->arena->used;
	bytes_copy(image->at, model->arena, image->bytes, BYTES_META);
	return image;
}

void s3_model_restore(struct s3_model *model, const struct s3_model_image *image)
{
	bytes_copy(model->arena, image->at, image->bytes, BYTES_META);
}

struct s3_model_bucket *s3_model_add_bucket(struct s3_model *model, const char *name,
					    const char *region)
{
	struct s3_model_bucket *bucket = &model->buckets[model->buckets_count];

	must(model->buckets_count++ < S3_MODEL_BUCKETS_MAX);
	snprintf(bucket->name, sizeof bucket->name, "%s", name);
	snprintf(bucket->region, sizeof bucket->region, "%s", region);
	snprintf(bucket->owner, sizeof bucket->owner, "111122223333");
	snprintf(bucket->encryption, sizeof bucket->encryption, "AES256");
	return bucket;
}

struct s3_model_user *s3_model_add_user(struct s3_model *model, const char *key, const char *secret,
					const char *token)
{
	struct s3_model_user *user = &model->users[model->users_count];

	must(model->users_count++ < S3_MODEL_USERS_MAX);
	snprintf(user->key, sizeof user->key, "%s", key);
	snprintf(user->secret, sizeof user->secret, "%s", secret);
	snprintf(user->token, sizeof user->token, "%s", token ? token : "");
	snprintf(user->account, sizeof user->account, "111122223333");
	snprintf(user->arn, sizeof user->arn, "arn:aws:iam::111122223333:user/mover");
	return user;
}

void s3_model_add_fault(struct s3_model *model, const struct s3_model_fault *fault)
{
	must(model->faults_count < S3_MODEL_FAULTS_MAX);
	model->faults[model->faults_count++] = *fault;
}

/* SplitMix64 over a counter: the same seed, the same requests, the same dice. */
uint64_t s3_model_throw(struct s3_model *model)
{
	uint64_t z = model->seed + ++model->serial * 0x9E3779B97F4A7C15;

	z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
	z = (z ^ z >> 27) * 0x94D049BB133111EB;
	return z ^ z >> 31;
}

void s3_model_id(struct s3_model *model, char *to, size_t digits)
{
	static const char alphabet[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz012345._";

	for (size_t i = 0; i < digits; i++)
		to[i] = alphabet[s3_model_throw(model) % (sizeof alphabet - 1)];
	to[digits] = '\0';
}

/* ---- objects ---- */

/* Where the versions of the key begin, or would. */
static struct s3_model_object **place_of(struct s3_model_bucket *bucket, const char *key)
{
	struct s3_model_object **at = &bucket->objects;

	while (*at && strcmp((*at)->key, key) < 0)
		at = &(*at)->next;
	return at;
}

struct s3_model_object *s3_model_version_of(const struct s3_model_bucket *bucket, const char *key,
					    const char *version)
{
	struct s3_model_object *object = bucket->objects;

	for (; object && strcmp(object->key, key) <= 0; object = object->next)
		if (strcmp(object->key, key) == 0 &&
		    (!version || strcmp(object->version, version) == 0))
			return object;
	return NULL;
}

const struct s3_model_object *s3_model_object_of(const struct s3_model_bucket *bucket,
						 const char *key)
{
	const struct s3_model_object *object = s3_model_version_of(bucket, key, NULL);

	return object && !object->is_delete_marker ? object : NULL;
}

void s3_model_remove(struct s3_model *model, struct s3_model_bucket *bucket,
		     struct s3_model_object *object)
{
	struct s3_model_object **at = &bucket->objects;

	while (*at != object)
		at = &(*at)->next;
	*at = object->next;
	model->counts.stored_bytes -= object->length;
	s3_model_release(model, object->key, strlen(object->key) + 1);
	s3_model_release(model, object->bytes, object->length + 1);
	s3_model_release(model, object, sizeof *object);
}

struct s3_model_object *s3_model_store(struct s3_model *model, struct s3_model_bucket *bucket,
				       const struct s3_model_object *what)
{
	struct s3_model_object **at, *object = s3_model_allocate(model, sizeof *object), *old;

	old = s3_model_version_of(bucket, what->key, NULL);
	model->counts.overwritten += old && !old->is_delete_marker && !what->is_delete_marker;
	*object = *what;
	if (bucket->versioning == S3_MODEL_VERSIONED) {
		s3_model_id(model, object->version, 32);
	} else {
		snprintf(object->version, sizeof object->version, "null");
		if ((old = s3_model_version_of(bucket, what->key, "null")))
			s3_model_remove(model, bucket, old);
	}
	at = place_of(bucket, what->key);
	object->next = *at;
	*at = object;
	model->counts.stored_bytes += object->length;
	return object;
}

struct s3_model_object *s3_model_plant(struct s3_model *model, struct s3_model_bucket *bucket,
				       const char *key, const void *bytes, size_t n, int64_t now_s)
{
	struct s3_model_object object = { .length = n, .modified_s = now_s };
	uint8_t md5[64];

	object.key = s3_model_copy_text(model, key);
	object.bytes = s3_model_copy_bytes(model, bytes, n);
	bytes_to_hex(object.etag, md5, s3_model_digest(S3_MODEL_MD5, bytes, n, md5));
	s3_model_checksum(&object.checksum, S3_MODEL_CRC64NVME, bytes, n);
	return s3_model_store(model, bucket, &object);
}

/* ---- uploads ---- */

struct s3_model_upload *s3_model_upload_of(const struct s3_model_bucket *bucket, const char *key,
					   const char *id)
{
	struct s3_model_upload *upload = bucket->uploads;

	while (upload && (strcmp(upload->id, id) != 0 || strcmp(upload->key, key) != 0))
		upload = upload->next;
	return upload;
}

void s3_model_drop_upload(struct s3_model *model, struct s3_model_bucket *bucket,
			  struct s3_model_upload *upload, bool bytes_too)
{
	struct s3_model_upload **at = &bucket->uploads;
	struct s3_model_part *part;

	while (*at != upload)
		at = &(*at)->next;
	*at = upload->next;
	while ((part = upload->parts)) {
		upload->parts = part->next;
		if (bytes_too)
			model->counts.stored_bytes -= part->length;
		s3_model_release(model, part->bytes, part->length + 1);
		s3_model_release(model, part, sizeof *part);
	}
	s3_model_release(model, upload->key, strlen(upload->key) + 1);
	s3_model_release(model, upload, sizeof *upload);
}

struct s3_model_upload *s3_model_plant_upload(struct s3_model *model,
					      struct s3_model_bucket *bucket, const char *key,
					      int64_t now_s)
{
	struct s3_model_upload **at = &bucket->uploads, *upload;

	upload = s3_model_allocate(model, sizeof *upload);
	upload->key = s3_model_copy_text(model, key);
	upload->began_s = now_s;
	s3_model_id(model, upload->id, 64);
	while (*at && strcmp((*at)->key, key) <= 0)
		at = &(*at)->next;
	upload->next = *at;
	*at = upload;
	return upload;
}

/* ---- what a judge asks ---- */

struct s3_model_bucket *s3_model_bucket_of(struct s3_model *model, const char *name)
{
	for (unsigned i = 0; i < model->buckets_count; i++)
		if (strcmp(model->buckets[i].name, name) == 0)
			return &model->buckets[i];
	return NULL;
}

unsigned s3_model_objects(const struct s3_model_bucket *bucket, const char *prefix)
{
	const struct s3_model_object *object = bucket->objects, *before = NULL;
	unsigned count = 0;

	for (; object; before = object, object = object->next)
		count += (!before || strcmp(before->key, object->key) != 0) &&
			 !object->is_delete_marker &&
			 strncmp(object->key, prefix, strlen(prefix)) == 0;
	return count;
}

unsigned s3_model_versions(const struct s3_model_bucket *bucket, const char *key)
{
	unsigned count = 0;

	for (const struct s3_model_object *object = bucket->objects; object; object = object->next)
		count += strcmp(object->key, key) == 0;
	return count;
}

unsigned s3_model_uploads(const struct s3_model_bucket *bucket, const char *prefix)
{
	unsigned count = 0;

	for (const struct s3_model_upload *upload = bucket->uploads; upload; upload = upload->next)
		count += strncmp(upload->key, prefix, strlen(prefix)) == 0;
	return count;
}

/* FNV-1a. */
static uint64_t hash(uint64_t state, const void *bytes, size_t n)
{
	const uint8_t *at = bytes;

	for (size_t i = 0; i < n; i++)
		state = (state ^ at[i]) * 0x100000001b3;
	return state;
}

uint64_t s3_model_fingerprint(const struct s3_model_bucket *bucket, const char *but_key)
{
	uint64_t state = 0xcbf29ce484222325;

	for (const struct s3_model_object *o = bucket->objects; o; o = o->next) {
		if (strcmp(o->key, but_key) == 0)
			continue;
		state = hash(state, o->key, strlen(o->key) + 1);
		state = hash(state, o->version, strlen(o->version) + 1);
		state = hash(state, o->bytes, o->length);
	}
	return state;
}
