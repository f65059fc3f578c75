/* The reader of tar, which is fed as bytes come: what it tells must not depend on the pieces. The
 * first byte chooses them. */
#include "transport/tar.h"

#include "tests/fuzz/fuzz.h"

struct told {
	uint64_t hash, members, body_bytes, size_bytes;
	bool open;
};

static enum err begin(void *context, const struct tar_member *member)
{
	struct told *told = context;

	must(!told->open && memchr(member->name, '\0', sizeof member->name));
	must(member->body_offset > member->offset);
	told->hash = fuzz_hash(told->hash, member->name, strlen(member->name));
	told->hash = fuzz_hash(told->hash, &member->size_bytes, sizeof member->size_bytes);
	told->hash = fuzz_hash(told->hash, &member->body_offset, sizeof member->body_offset);
	told->size_bytes = member->size_bytes;
	told->body_bytes = 0;
	told->open = true;
	told->members++;
	return OK;
}

static enum err bytes(void *context, const void *at, size_t n)
{
	struct told *told = context;

	must(told->open && n > 0);
	told->hash = fuzz_hash(told->hash, at, n);
	told->body_bytes += n;
	must(told->body_bytes <= told->size_bytes);
	return OK;
}

static enum err end(void *context)
{
	struct told *told = context;

	must(told->open && told->body_bytes == told->size_bytes);
	told->open = false;
	return OK;
}

static enum err read_all(struct text input, size_t piece, struct told *told)
{
	static const struct tar_events events = { begin, bytes, end };
	struct tar_read *tar = NULL;
	enum err e = OK;

	must(tar_read_open(&events, told, &tar) == OK);
	for (size_t at = 0, n; !e && at < input.bytes; at += n) {
		n = min_u64(piece, input.bytes - at);
		e = tar_read_feed(tar, input.at + at, n);
	}
	if (!e)
		e = tar_read_finish(tar);
	must(e == OK || e == ERR_ARCHIVE_DAMAGED);
	tar_read_close(&tar);
	err_note_clear();
	return e;
}

FUZZ(tar)
{
	unsigned piece = 1 + fuzz_take_byte(&input);
	struct told whole = { .hash = 0 }, pieces = { .hash = 0 };
	enum err e = read_all(input, input.bytes, &whole);

	must(read_all(input, piece, &pieces) == e);
	must(whole.members == pieces.members && whole.hash == pieces.hash);
}
