/* Checking everything that an archive says about itself: packs against indexes, members against
 * lines, bytes against digests, generations against each other. A fault is told and the walk goes
 * on. */
#include <stdio.h>
#include <stdlib.h>

#include "crypto/digest.h"
#include "transport/archive_chain.h"
#include "transport/archive_mark.h"
#include "transport/archive_packs.h"
#include "transport/pack_index.h"
#include "transport/pack_read.h"

/* Which part of a pack the tar is in. */
enum part { PART_MESSAGES, PART_INDEX, PART_SUMS };

struct verify {
	struct store *store;
	struct archive_faults faults;
	struct archive_check *check;
	char mailbox_key[ARCHIVE_MAILBOX_KEY_BYTES_MAX + 1];
	const struct tap_type *digest;
	struct manifest_head manifest; /* the newest */
	/* One pack: */
	char index_key[STORE_KEY_BYTES_MAX + 1], pack_key[STORE_KEY_BYTES_MAX + 1];
	struct pack_head head;
	struct ndjson *index;
	struct pack_line line;
	enum part part;
	bool in_head; /* of the index inside: its first line is its own */
	uint64_t messages, bytes, plain_bytes;
	struct tap *tap;		  /* of the member at hand */
	struct tap *lines, *lines_inside; /* message lines: of the index file, of the copy inside */
	struct tap *sums;		  /* of the sums as they should be */
};

static enum err tell(struct verify *verify, const char *key, enum err e)
{
	return archive_fault(&verify->faults, key, e);
}

#define DAMAGED(...) ARCHIVE_DAMAGED(__VA_ARGS__)

/* ---- members of a pack ---- */

static enum err next_line(struct verify *verify)
{
	struct text line;
	enum err e = ndjson_next(verify->index, &line);

	if (e)
		return e;
	verify->lines->type->update(verify->lines, line.at, line.bytes);
	verify->lines->type->update(verify->lines, "\n", 1);
	return pack_line_read(line, &verify->line)
		       ? OK
		       : DAMAGED("line %llu of its index does not parse",
				 (unsigned long long)ndjson_lines(verify->index));
}

static enum err begin_message(struct verify *verify, const struct tar_member *member)
{
	const struct pack_line *line = &verify->line;
	char quoted[120];
	enum err e = next_line(verify);

	if (e == ERR_PIPE_ENDED ||
	    (!e &&
	     (strcmp(line->member, member->name) != 0 || line->offset != member->offset ||
	      line->body_offset != member->body_offset || line->size_bytes != member->size_bytes)))
		return DAMAGED("member \"%s\" at byte %llu is not the one the index has there",
			       err_quote(quoted, sizeof quoted, text_of(member->name)),
			       (unsigned long long)member->offset);
	return e;
}

/* After the last message: the index has no more lines either. */
static enum err begin_index(struct verify *verify)
{
	enum err e = verify->part == PART_MESSAGES ? next_line(verify) : OK;

	if (e != ERR_PIPE_ENDED)
		return e ? e : DAMAGED("it holds fewer messages than its index says");
	verify->part = PART_INDEX;
	verify->in_head = true;
	return OK;
}

static enum err on_begin(void *context, const struct tar_member *member)
{
	struct verify *verify = context;
	const char *sums = strcmp(verify->digest->name, "sha-256") == 0	 ? ".mailhaul/SHA256SUMS"
			   : strcmp(verify->digest->name, "blake3") == 0 ? ".mailhaul/B3SUMS"
									 : ".mailhaul/B2SUMS";

	verify->tap->type->begin(verify->tap);
	if (strcmp(member->name, ".mailhaul/index.ndjson") == 0)
		return begin_index(verify);
	if (verify->part == PART_INDEX && strcmp(member->name, sums) == 0) {
		verify->part = PART_SUMS;
		return OK;
	}
	if (verify->part != PART_MESSAGES)
		return DAMAGED("a member follows its index");
	return begin_message(verify, member);
}

static enum err on_bytes(void *context, const void *from, size_t n)
{
	struct verify *verify = context;
	const char *at = from, *end;

	verify->tap->type->update(verify->tap, from, n);
	if (verify->part != PART_INDEX)
		return OK;
	if (verify->in_head && (end = memchr(at, '\n', n))) {
		verify->in_head = false;
		n -= (size_t)(end + 1 - at);
		at = end + 1;
	}
	if (!verify->in_head)
		verify->lines_inside->type->update(verify->lines_inside, at, n);
	return OK;
}

static void add_sum(struct verify *verify, const struct digest *digest, const char *name)
{
	char hex[2 * DIGEST_BYTES + 1];

	bytes_to_hex(hex, digest->bytes, DIGEST_BYTES);
	verify->sums->type->update(verify->sums, hex, 2 * DIGEST_BYTES);
	verify->sums->type->update(verify->sums, "  ", 2);
	verify->sums->type->update(verify->sums, name, strlen(name));
	verify->sums->type->update(verify->sums, "\n", 1);
}

static enum err message_fault(struct verify *verify, const char *what)
{
	char quoted[120];

	return tell(verify, verify->pack_key,
		    DAMAGED("message %llu of \"%s\" %s", (unsigned long long)verify->line.no,
			    err_quote(quoted, sizeof quoted, text_of(verify->line.box)), what));
}

static enum err end_message(struct verify *verify, const struct digest *digest)
{
	add_sum(verify, &verify->line.digest, verify->line.member);
	if (memcmp(digest, &verify->line.digest, sizeof *digest) != 0)
		return message_fault(verify, "is not what was stored");
	verify->messages++;
	verify->bytes += verify->line.size_bytes;
	return OK;
}

static enum err on_end(void *context)
{
	struct verify *verify = context;
	struct digest digest, expected;

	verify->tap->type->end(verify->tap, &digest);
	if (verify->part == PART_MESSAGES)
		return end_message(verify, &digest);
	if (verify->part == PART_INDEX) {
		add_sum(verify, &digest, ".mailhaul/index.ndjson");
		verify->lines->type->end(verify->lines, &expected);
		verify->lines_inside->type->end(verify->lines_inside, &digest);
	} else {
		verify->sums->type->end(verify->sums, &expected);
	}
	if (memcmp(&digest, &expected, sizeof digest) != 0)
		return DAMAGED(verify->part == PART_INDEX
				       ? "the index inside differs from the one beside it"
				       : "the sums inside are not those of its messages");
	return OK;
}

static const struct tar_events events = { on_begin, on_bytes, on_end };

/* ---- a pack ---- */

static enum err index_begin(struct verify *verify)
{
	struct text line;
	enum err e;

	ndjson_close(&verify->index);
	if ((e = ndjson_open(verify->store, verify->index_key, &verify->index)))
		return e;
	e = ndjson_next(verify->index, &line);
	if (e == ERR_PIPE_ENDED || (!e && !pack_head_read(line, &verify->head)))
		return DAMAGED("its first line does not parse");
	if (!e && strcmp(verify->head.pack, verify->pack_key) != 0)
		return DAMAGED("it is the index of another pack");
	if (!e && strcmp(verify->head.digest_name, verify->digest->name) != 0)
		return DAMAGED("its digest is another one than the mailbox's");
	return e;
}

static void taps_begin(struct verify *verify)
{
	verify->lines->type->begin(verify->lines);
	verify->lines_inside->type->begin(verify->lines_inside);
	verify->sums->type->begin(verify->sums);
	verify->part = PART_MESSAGES;
	verify->messages = verify->bytes = verify->plain_bytes = 0;
}

static enum err check_stored(struct verify *verify)
{
	struct digest digest;
	uint64_t bytes;
	enum err e = store_digest(verify->store, verify->pack_key, verify->tap, &digest, &bytes);

	if (!e && bytes != verify->head.pack_bytes)
		return DAMAGED("it is %llu bytes long, it was stored with %llu",
			       (unsigned long long)bytes,
			       (unsigned long long)verify->head.pack_bytes);
	if (!e && memcmp(digest.bytes, verify->head.pack_digest, DIGEST_BYTES) != 0)
		return DAMAGED("its bytes are not those that were stored");
	return e;
}

static enum err walk_frames(struct verify *verify, struct pack_read *pack, struct tar_read *tar)
{
	const uint8_t *at;
	size_t n;
	enum err e;

	while (!(e = pack_read_next(pack, &at, &n)) && !(e = tar_read_feed(tar, at, n)))
		verify->plain_bytes += n;
	if (e != ERR_PIPE_ENDED)
		return e;
	if ((e = tar_read_finish(tar)))
		return e;
	if (verify->part != PART_SUMS)
		return DAMAGED("it has no index and sums at its end");
	if (verify->plain_bytes != verify->head.plain_bytes)
		return DAMAGED("its tar is %llu bytes long, the index says %llu",
			       (unsigned long long)verify->plain_bytes,
			       (unsigned long long)verify->head.plain_bytes);
	return OK;
}

static enum err update_tap(void *context, const void *from, size_t n)
{
	struct verify *verify = context;

	verify->tap->type->update(verify->tap, from, n);
	return OK;
}

/* Where the walk stopped, the rest may still be well: try each message through index and table. */
static enum err try_messages(struct verify *verify, struct pack_read *pack)
{
	struct digest digest;
	enum err e;

	taps_begin(verify);
	if ((e = index_begin(verify)))
		return e;
	while (!(e = next_line(verify))) {
		verify->tap->type->begin(verify->tap);
		e = pack_read_span(pack, verify->line.body_offset, verify->line.size_bytes,
				   update_tap, verify);
		if (e == ERR_ARCHIVE_DAMAGED) {
			err_note_clear();
			e = message_fault(verify, "cannot be read");
		} else if (!e) {
			verify->tap->type->end(verify->tap, &digest);
			e = end_message(verify, &digest);
		}
		if (e)
			return e;
	}
	return e == ERR_PIPE_ENDED ? OK : e;
}

static enum err check_counts(struct verify *verify, uint64_t faults_before)
{
	verify->check->messages += verify->messages;
	verify->check->bytes += verify->bytes;
	if (verify->check->faults == faults_before &&
	    (verify->messages != verify->head.messages || verify->bytes != verify->head.bytes))
		return DAMAGED("it holds %llu messages, the index says %llu",
			       (unsigned long long)verify->messages,
			       (unsigned long long)verify->head.messages);
	return OK;
}

static enum err check_members(struct verify *verify)
{
	uint64_t faults = verify->check->faults;
	struct pack_read *pack = NULL;
	struct tar_read *tar = NULL;
	enum err e;

	taps_begin(verify);
	if (!(e = pack_read_open(verify->store, verify->pack_key, &pack)) &&
	    !(e = tar_read_open(&events, verify, &tar)))
		e = walk_frames(verify, pack, tar);
	if (e && !(e = tell(verify, verify->pack_key, e)) && pack)
		e = try_messages(verify, pack);
	if (!e)
		e = check_counts(verify, faults);
	pack_read_close(&pack);
	tar_read_close(&tar);
	return e;
}

static enum err check_pack(struct verify *verify)
{
	enum err e = index_begin(verify);

	verify->check->packs++;
	if (e) {
		e = tell(verify, verify->index_key, e);
	} else if (!(e = tell(verify, verify->pack_key, check_stored(verify)))) {
		verify->check->stored_bytes += verify->head.pack_bytes;
		e = tell(verify, verify->pack_key, check_members(verify));
	}
	ndjson_close(&verify->index);
	return e;
}

/* ---- the packs of a mailbox ---- */

static enum err forget_note(void)
{
	err_note_clear();
	return OK;
}

/* What is there and cannot be read is told where it is read. */
static enum err absent(struct verify *verify, const char *key, bool *is_absent)
{
	uint64_t bytes;
	enum err e = verify->store->type->size(verify->store, key, &bytes);

	*is_absent = e == ERR_DISK_ABSENT;
	return archive_is_damage(e) ? forget_note() : e;
}

static enum err check_pack_name(struct verify *verify, const char *name)
{
	uint64_t number;
	bool no_index;
	enum err e;

	snprintf(verify->pack_key, sizeof verify->pack_key, "%s/packs/%.60s", verify->mailbox_key,
		 name);
	if (!pack_number(name, &number) || !store_key_is_valid(text_of(verify->pack_key)))
		return tell(verify, verify->pack_key, DAMAGED("this does not belong here"));
	verify->check->packs_unlisted += number > verify->manifest.last_pack;
	pack_index_key(verify->index_key, verify->pack_key);
	if ((e = absent(verify, verify->index_key, &no_index)))
		return e;
	if (!no_index)
		return check_pack(verify);
	/* A run that was cut between pack and index: the ledger's next run writes it. */
	return number > verify->manifest.last_pack
		       ? OK
		       : tell(verify, verify->index_key, ERR_DISK_ABSENT);
}

/* An index whose pack is gone; the rest is checked with the pack. */
static enum err check_index_name(struct verify *verify, const char *name)
{
	char pack[STORE_KEY_BYTES_MAX + 1];
	uint64_t number;
	bool none, none_plain;
	enum err e;

	snprintf(verify->index_key, sizeof verify->index_key, "%s/index/%.60s", verify->mailbox_key,
		 name);
	if (!pack_number(name, &number) || !store_key_is_valid(text_of(verify->index_key)))
		return tell(verify, verify->index_key, DAMAGED("this does not belong here"));
	pack_key(pack, verify->mailbox_key, number, false);
	if ((e = absent(verify, pack, &none_plain)))
		return e;
	pack_key(pack, verify->mailbox_key, number, true);
	if ((e = absent(verify, pack, &none)) || !none || !none_plain)
		return e;
	return tell(verify, pack, ERR_DISK_ABSENT);
}

static enum err each_name(struct verify *verify, const char *folder,
			  enum err (*check)(struct verify *, const char *name))
{
	char prefix[STORE_KEY_BYTES_MAX + 1];
	struct buffer names = { 0 };
	const char *name = NULL;
	enum err e;

	snprintf(prefix, sizeof prefix, "%s/%s", verify->mailbox_key, folder);
	e = verify->store->type->list(verify->store, prefix, &names);
	while (!e && store_names_next(&names, &name))
		e = check(verify, name);
	buffer_free(&names);
	return e;
}

/* ---- mailboxes ---- */

static void taps_close(struct verify *verify)
{
	struct tap **taps[] = { &verify->tap, &verify->lines, &verify->lines_inside,
				&verify->sums };

	for (size_t i = 0; i < ARRAY_COUNT(taps); i++)
		if (*taps[i])
			(*taps[i])->type->close(taps[i]);
}

static enum err taps_open(struct verify *verify)
{
	struct tap **taps[] = { &verify->tap, &verify->lines, &verify->lines_inside,
				&verify->sums };
	enum err e = OK;

	taps_close(verify);
	for (size_t i = 0; i < ARRAY_COUNT(taps) && !e; i++)
		e = digest_open(verify->digest, taps[i]);
	return e;
}

/* What has none and no name is no mailbox; where that cannot be told, it is one. */
static bool has_packs(struct verify *verify)
{
	struct archive_packs packs = { 0 };
	const char *index;
	uint64_t number;
	bool any = archive_packs_list(&packs, verify->store, verify->mailbox_key) != OK ||
		   archive_packs_next(&packs, &number, &index);

	archive_packs_free(&packs);
	return any;
}

static enum err check_mailbox(struct verify *verify, const char *name)
{
	struct archive_mailbox_mark mark;
	char key[STORE_KEY_BYTES_MAX + 1];
	uint64_t faults = verify->check->faults;
	enum err e;

	if (!store_name_is_valid(text_of(name)) || strlen(name) > ARCHIVE_MAILBOX_KEY_BYTES_MAX)
		return OK;
	snprintf(verify->mailbox_key, sizeof verify->mailbox_key, "%s", name);
	e = archive_mailbox_read(verify->store, name, &mark);
	snprintf(key, sizeof key, "%.80s/mailbox.json", name);
	if (e)
		return e != ERR_DISK_ABSENT || has_packs(verify) ? tell(verify, key, e)
								 : forget_note();
	verify->digest = digest_type(text_of(mark.digest_name));
	if ((e = taps_open(verify)))
		return e;
	e = manifest_find(&verify->faults, verify->store, name, &(struct archive_moment){ 0 },
			  &verify->manifest);
	if (!e && !(e = each_name(verify, "packs", check_pack_name)) &&
	    !(e = each_name(verify, "index", check_index_name)))
		e = archive_chain_check(&verify->faults, verify->store, name, verify->digest,
					&verify->manifest, verify->check->faults == faults);
	return e;
}

enum err archive_verify(struct archive *archive, void (*fault)(void *, const char *, const char *),
			void *context, struct archive_check *check)
{
	struct verify *verify = calloc(1, sizeof *verify);
	struct buffer names = { 0 };
	const char *name = NULL;
	enum err e;

	*check = (struct archive_check){ 0 };
	if (!verify)
		return RAISE(ERR_MEMORY_EXHAUSTED, "verifying an archive");
	verify->store = archive_store(archive);
	verify->faults = (struct archive_faults){ fault, context, check };
	verify->check = check;
	e = verify->store->type->list(verify->store, "", &names);
	while (!e && store_names_next(&names, &name))
		e = check_mailbox(verify, name);
	if (!e)
		e = verify->store->type->leftovers(verify->store, &check->leftovers);
	buffer_free(&names);
	ndjson_close(&verify->index);
	taps_close(verify);
	free(verify);
	if (!e && check->faults)
		return RAISE(ERR_ARCHIVE_DAMAGED, "%llu faults", (unsigned long long)check->faults);
	return e;
}
