/* Events are text, so a file can say what it wants of them. */
#include "tests/wire/event.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint64_t wire_hash_more(uint64_t hash, const uint8_t *at, size_t n)
{
	for (size_t i = 0; i < n; i++)
		hash = (hash ^ at[i]) * 1099511628211u;
	return hash;
}

static void wanted_hash(const struct wire_words *wanted, char to[20])
{
	const char *seed = wire_word(wanted, "seed", NULL);
	struct wire_bytes bytes = wire_bytes_of(seed ? (unsigned)strtoul(seed, NULL, 10) : 0);
	unsigned long long size = strtoull(wire_word(wanted, "size", "0"), NULL, 10);
	char *text = strdup(wire_word(wanted, "text", ""));
	uint64_t hash = WIRE_HASH_BEGIN;
	uint8_t block[1024];

	if (!seed)
		hash = wire_hash_more(hash, (uint8_t *)text, wire_unescape(text));
	for (size_t n; seed && size; size -= n) {
		n = size < sizeof block ? (size_t)size : sizeof block;
		wire_bytes_next(&bytes, block, n);
		hash = wire_hash_more(hash, block, n);
	}
	snprintf(to, 20, "%016llx", (unsigned long long)hash);
	free(text);
}

static bool word_fits(const struct wire_words *wanted, const struct wire_words *got, unsigned i)
{
	const char *key = wanted->words[i].key, *value = wanted->words[i].value;
	char hash[20];

	if (strcmp(key, "note") == 0)
		return strstr(wire_word(got, key, ""), value);
	if (strcmp(key, "seed") != 0 && strcmp(key, "text") != 0)
		return strcmp(wire_word(got, key, "(absent)"), value) == 0;
	wanted_hash(wanted, hash);
	return strcmp(wire_word(got, "hash", ""), hash) == 0;
}

bool wire_event_fits(const char *event, const char *expected)
{
	char *event_text = strdup(event), *expected_text = strdup(expected);
	struct wire_words wanted, got;
	size_t kind = strcspn(event, " ");
	bool good = strcspn(expected, " ") == kind && strncmp(event, expected, kind) == 0;

	wire_split(event_text, &got);
	wire_split(expected_text, &wanted);
	for (unsigned i = 0; good && i < wanted.count; i++)
		good = word_fits(&wanted, &got, i);
	free(event_text);
	free(expected_text);
	return good;
}

const struct wire_line *wire_next_expected(const struct wire_script *script, unsigned *at)
{
	while (*at < script->count) {
		const struct wire_line *line = &script->lines[(*at)++];

		if (strncmp(line->text, "expect ", 7) == 0)
			return line;
	}
	return NULL;
}

bool wire_is_expected(const struct wire_script *script, const char *event)
{
	const struct wire_line *line;

	for (unsigned at = 0; (line = wire_next_expected(script, &at)) != NULL;)
		if (wire_event_fits(event, line->text + 7))
			return true;
	return false;
}
