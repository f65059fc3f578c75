/* See store_memory.h. */
#include "tests/fuzz/store_memory.h"

#include "engine/err.h"

static struct store_memory *current;

void store_memory_init(struct store_memory *store)
{
	*store = (struct store_memory){ .base.type = &store_memory };
	current = store;
}

void store_memory_put(struct store_memory *store, const char *key, struct text content)
{
	unsigned i = 0;

	while (i < store->count && strcmp(store->objects[i].key, key) < 0)
		i++;
	if (i == store->count || strcmp(store->objects[i].key, key) != 0) {
		must(store->count < STORE_MEMORY_OBJECTS_MAX);
		for (unsigned k = store->count++; k > i; k--)
			store->objects[k] = store->objects[k - 1];
	}
	store->objects[i].key = key;
	store->objects[i].content = content;
}

static enum err open_last(struct store **out, const struct account *account, bool create,
			  nsec until)
{
	(void)account, (void)until;
	must(!create);
	*out = &current->base;
	return OK;
}

static const struct text *find(struct store *base, const char *key)
{
	struct store_memory *store = (struct store_memory *)base;

	must(store_key_is_valid(text_of(key))); /* a reader never asks for another */
	for (unsigned i = 0; i < store->count; i++)
		if (strcmp(store->objects[i].key, key) == 0)
			return &store->objects[i].content;
	return NULL;
}

static enum err get(struct store *base, const char *key, uint64_t offset, void *to, size_t length,
		    size_t *got)
{
	const struct text *content = find(base, key);

	*got = 0;
	if (!content)
		return RAISE(ERR_DISK_ABSENT, "reading %s", key);
	if (offset < content->bytes)
		*got = min_u64(length, content->bytes - offset);
	bytes_copy(to, content->at + (*got ? offset : 0), *got, BYTES_META);
	return OK;
}

static enum err size(struct store *base, const char *key, uint64_t *bytes)
{
	const struct text *content = find(base, key);

	if (!content)
		return RAISE(ERR_DISK_ABSENT, "looking at %s", key);
	*bytes = content->bytes;
	return OK;
}

/* Keys are sorted, so equal names stand beside each other. */
static enum err list(struct store *base, const char *prefix, struct buffer *names)
{
	struct store_memory *store = (struct store_memory *)base;
	size_t bytes = strlen(prefix) + (prefix[0] != '\0'), last = SIZE_MAX;

	buffer_reset(names);
	for (unsigned i = 0; i < store->count; i++) {
		const char *key = store->objects[i].key;
		size_t n;

		if (bytes && (strncmp(key, prefix, bytes - 1) != 0 || key[bytes - 1] != '/'))
			continue;
		n = strcspn(key + bytes, "/");
		if (last != SIZE_MAX && strlen(names->at + last) == n &&
		    memcmp(names->at + last, key + bytes, n) == 0)
			continue;
		last = names->bytes;
		buffer_add(names, key + bytes, n);
		buffer_add(names, "", 1);
	}
	return OK;
}

static enum err leftovers(struct store *base, uint64_t *count)
{
	(void)base;
	*count = 0;
	return OK;
}

static void leave(struct store **store)
{
	*store = NULL;
}

const struct store_driver store_memory = {
	.scheme = "memory",
	.open = open_last,
	.get = get,
	.size = size,
	.list = list,
	.leftovers = leftovers,
	.close = leave,
};
