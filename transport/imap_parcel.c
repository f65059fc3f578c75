/* See imap_parcel.h. */
#include "transport/imap_parcel.h"

#include <stdlib.h>

#include "engine/budget.h"
#include "engine/clock.h"
#include "engine/io.h"
#include "transport/imap_place.h"

/* A disk that does not take or give a piece for so long is broken. */
#define FILE_TIMEOUT (300 * NSEC_SECOND)

enum err imap_parcel_open(size_t room, struct imap_parcel **out)
{
	struct imap_parcel *parcel = calloc(1, sizeof *parcel);

	*out = parcel;
	if (parcel)
		parcel->file = -1;
	if (!parcel || !(parcel->bytes = malloc(room))) {
		imap_parcel_close(out);
		return RAISE(ERR_MEMORY_EXHAUSTED, "messages on their way to a destination");
	}
	parcel->room = room;
	budget_take(BUDGET_WRITES, room);
	return OK;
}

void imap_parcel_reset(struct imap_parcel *parcel)
{
	parcel->place = NULL;
	parcel->state = IMAP_PARCEL_FREE;
	parcel->seal_no = 0;
	parcel->is_checked = parcel->is_matched = false;
	parcel->found = 0;
	parcel->count = parcel->next_receipt = parcel->open = 0;
	parcel->used = 0;
	parcel->window_at = parcel->window_bytes = 0;
	buffer_reset(&parcel->keywords);
	buffer_reset(&parcel->seal);
	io_close(&parcel->file);
}

void imap_parcel_close(struct imap_parcel **parcel)
{
	if (!*parcel)
		return;
	io_close(&(*parcel)->file);
	buffer_free(&(*parcel)->keywords);
	buffer_free(&(*parcel)->seal);
	if ((*parcel)->bytes)
		budget_give(BUDGET_WRITES, (*parcel)->room);
	free((*parcel)->bytes);
	free(*parcel);
	*parcel = NULL;
}

bool imap_parcel_takes(const struct imap_parcel *parcel, const struct imap_place *place,
		       uint64_t size_bytes)
{
	if (parcel->count == 0)
		return true;
	return parcel->place == place && parcel->count < IMAP_PARCEL_MESSAGES_MAX &&
	       parcel->file == -1 && size_bytes <= parcel->room - parcel->used;
}

/* ---- what some servers make of a message ---- */

static enum err read_likeness(struct imap_parcel *parcel, const struct imap_message *message,
			      struct tap *tap, struct likeness *likeness)
{
	struct likeness_reader reader;
	const uint8_t *from;
	size_t got;
	enum err e = OK;

	likeness_begin(&reader, tap);
	for (uint64_t at = 0; !e && at < message->record.size_bytes; at += got)
		if ((e = imap_parcel_read(parcel, message, at, &from, &got)) == OK)
			likeness_feed(&reader, from, got);
	return e ? e : likeness_end(&reader, likeness);
}

/* As it was read while the message came. A normal form is made of odd messages only, one in a
 * thousand, which are read again for that. */
static enum err take_likeness(struct imap_parcel *parcel, struct imap_message *message,
			      struct likeness_reader *reader, struct tap *tap)
{
	struct parcel_record *record = &message->record;
	struct likeness likeness;
	enum err e = likeness_end(reader, &likeness);

	record->normal = record->digest;
	if (!e && likeness.oddities && (e = read_likeness(parcel, message, tap, &likeness)) == OK)
		record->normal = likeness.normal;
	if (e)
		return e;
	message->oddities = likeness.oddities;
	bytes_copy(record->id, likeness.id, sizeof record->id, BYTES_META);
	return OK;
}

/* ---- filling ---- */

static enum err open_file(struct imap_parcel *parcel, const char *spool)
{
	return io_open_nameless(spool, clock_after(FILE_TIMEOUT), &parcel->file);
}

static enum err write_window(struct imap_parcel *parcel)
{
	enum err e = io_write(parcel->file, parcel->bytes, parcel->window_bytes, parcel->window_at,
			      clock_after(FILE_TIMEOUT));

	parcel->window_at += parcel->window_bytes;
	parcel->window_bytes = 0;
	return e;
}

static enum err take_into_file(struct imap_parcel *parcel, const uint8_t *from, size_t bytes)
{
	enum err e = OK;
	size_t n;

	for (; bytes > 0 && !e; from += n, bytes -= n) {
		n = min_u64(bytes, parcel->room - parcel->window_bytes);
		bytes_copy(parcel->bytes + parcel->window_bytes, from, n, BYTES_PARCEL);
		parcel->window_bytes += n;
		if (parcel->window_bytes == parcel->room)
			e = write_window(parcel);
	}
	return e;
}

static enum err take_slice(struct imap_parcel *parcel, struct imap_message *message,
			   const struct slice *slice, uint64_t *taken,
			   struct likeness_reader *reader)
{
	const uint8_t *from = slice_bytes(slice);
	size_t bytes = slice->length;
	enum err e = OK;

	if (bytes > message->record.size_bytes - *taken)
		return RAISE(ERR_STREAM_CUT, "a message that is longer than announced");
	likeness_feed(reader, from, bytes);
	if (parcel->file != -1)
		e = take_into_file(parcel, from, bytes);
	else
		bytes_copy(parcel->bytes + message->at + *taken, from, bytes, BYTES_PARCEL);
	*taken += bytes;
	return e;
}

static enum err take_body(struct imap_parcel *parcel, struct imap_message *message,
			  struct stream *body, struct likeness_reader *reader)
{
	struct iolist list = { 0 };
	uint64_t taken = 0;
	enum err e;

	likeness_begin(reader, NULL);
	while ((e = stream_pull(body, &list)) == OK) {
		for (unsigned i = 0; i < list.count && e == OK; i++)
			e = take_slice(parcel, message, &list.slices[i], &taken, reader);
		iolist_release(&list);
		if (e)
			return e;
	}
	if (e != ERR_STREAM_ENDED)
		return e;
	if (taken != message->record.size_bytes)
		return RAISE(ERR_STREAM_CUT, "a message that is shorter than announced");
	return parcel->file != -1 ? write_window(parcel) : OK;
}

static void take_facts(struct imap_parcel *parcel, struct imap_message *message,
		       const struct item *item)
{
	const struct mail_meta *meta = &item->meta;

	*message = (struct imap_message){
		.record = { .box_no = item->box_no,
			    .no = item->no,
			    .size_bytes = (uint64_t)item->size_bytes,
			    .kind = item->mail_kind,
			    .mark = mail_mark(meta),
			    .date_s = meta->date.known ? meta->date.seconds : INT64_MIN },
		.at = parcel->used,
		.flags = meta->flags,
		.date = meta->date,
		.keywords_at = (uint32_t)parcel->keywords.bytes,
		.keywords_bytes = meta->keywords_bytes,
	};
	buffer_add(&parcel->keywords, meta->keywords, meta->keywords_bytes);
}

enum err imap_parcel_add(struct imap_parcel *parcel, struct item *item, struct tap *tap,
			 const char *spool)
{
	struct imap_message *message = &parcel->messages[parcel->count];
	uint64_t size = (uint64_t)item->size_bytes;
	size_t keywords = parcel->keywords.bytes;
	struct likeness_reader reader;
	enum err e = OK;

	must(item->size_bytes >= 0 && parcel->count < IMAP_PARCEL_MESSAGES_MAX);
	take_facts(parcel, message, item);
	if (parcel->keywords.failed)
		e = RAISE(ERR_MEMORY_EXHAUSTED, "a message's keywords");
	if (!e && size > parcel->room - parcel->used) {
		must(parcel->count == 0);
		e = open_file(parcel, spool);
		parcel->window_at = parcel->window_bytes = 0;
	}
	if (!e)
		e = take_body(parcel, message, item->body, &reader);
	message->record.digest = item->digest;
	if (!e)
		e = take_likeness(parcel, message, &reader, tap);
	if (e) {
		parcel->keywords.bytes = keywords;
		io_close(&parcel->file);
		return e;
	}
	if (parcel->file == -1)
		parcel->used += size;
	parcel->count++;
	parcel->open++;
	return OK;
}

/* Each part stays in its order. */
void imap_parcel_put_found_last(struct imap_parcel *parcel)
{
	struct imap_message message;
	unsigned to_send = 0;

	for (unsigned i = 0; i < parcel->count; i++) {
		if (parcel->messages[i].fate == IMAP_MESSAGE_FOUND)
			continue;
		message = parcel->messages[i];
		for (unsigned at = i; at > to_send; at--)
			parcel->messages[at] = parcel->messages[at - 1];
		parcel->messages[to_send++] = message;
	}
	parcel->found = parcel->count - to_send;
}

enum err imap_parcel_seal(struct imap_parcel *parcel, uint32_t uidvalidity, uint32_t uidnext)
{
	struct buffer records = { 0 };

	for (unsigned i = 0; i < parcel->count - parcel->found; i++)
		parcel_record_add(&records, &parcel->messages[i].record);
	buffer_reset(&parcel->seal);
	parcel_seal_write(&parcel->seal,
			  &(struct parcel_seal){ .raw = text_of(parcel->place->raw),
						 .uidvalidity = uidvalidity,
						 .uidnext = uidnext,
						 .records = { records.at, records.bytes } });
	buffer_free(&records);
	return records.failed || parcel->seal.failed
		       ? RAISE(ERR_MEMORY_EXHAUSTED, "a parcel's seal")
		       : OK;
}

/* ---- reading ---- */

void imap_parcel_meta(const struct imap_parcel *parcel, const struct imap_message *message,
		      struct mail_meta *meta)
{
	*meta = (struct mail_meta){ .flags = message->flags, .date = message->date };
	if (message->keywords_left_out)
		return;
	meta->keywords_bytes = message->keywords_bytes;
	bytes_copy(meta->keywords, parcel->keywords.at + message->keywords_at,
		   message->keywords_bytes, BYTES_META);
}

static enum err read_window(struct imap_parcel *parcel, uint64_t offset, size_t most)
{
	enum err e = io_read(parcel->file, parcel->bytes, most, offset, clock_after(FILE_TIMEOUT),
			     &parcel->window_bytes);

	parcel->window_at = offset;
	if (e)
		parcel->window_bytes = 0;
	return e || parcel->window_bytes == most
		       ? e
		       : RAISE(ERR_DISK_IO, "a large message's file ends before it should");
}

enum err imap_parcel_read(struct imap_parcel *parcel, const struct imap_message *message,
			  uint64_t offset, const uint8_t **from, size_t *got)
{
	uint64_t left = message->record.size_bytes - offset;
	enum err e = OK;

	if (parcel->file == -1) {
		*from = parcel->bytes + message->at + offset;
		*got = left;
		return OK;
	}
	if (offset < parcel->window_at || offset - parcel->window_at >= parcel->window_bytes)
		e = read_window(parcel, offset, min_u64(parcel->room, left));
	*from = parcel->bytes + (offset - parcel->window_at);
	*got = parcel->window_bytes - (offset - parcel->window_at);
	return e;
}

void imap_parcel_settle(struct imap_parcel *parcel, unsigned at, enum imap_message_fate fate,
			enum err why)
{
	struct imap_message *message = &parcel->messages[at];

	if (message->fate != IMAP_MESSAGE_OPEN)
		return;
	message->fate = fate;
	message->why = why;
	parcel->open--;
}

void imap_parcel_return(struct imap_parcel *parcel, unsigned first, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		imap_parcel_settle(parcel, first + i, IMAP_MESSAGE_RETURNED, OK);
}
