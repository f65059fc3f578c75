/* See imap_wrap.h. */
#include "transport/imap_wrap.h"

#include <stdlib.h>

#include "transport/wrap.h"

struct wrapping {
	struct wrap wrap;
	uint8_t piece[WRAP_HEADER_BYTES_MAX];
	char coded[WRAP_PIECE_CHARACTERS + 1];
};
_Static_assert(WRAP_PIECE_BYTES <= WRAP_HEADER_BYTES_MAX, "a piece has room");

static void wrapping_close(struct wrapping **wrapping)
{
	if (*wrapping)
		wrap_close(&(*wrapping)->wrap);
	free(*wrapping);
	*wrapping = NULL;
}

/* The next bytes in one piece: as they lie there, or gathered where less is in memory at once.
 * *got: up to `most`, and less at the end only. */
static enum err read_piece(struct imap_parcel *parcel, const struct imap_message *message,
			   uint64_t at, size_t most, struct wrapping *wrapping,
			   const uint8_t **from, size_t *got)
{
	size_t wanted = min_u64(most, message->record.size_bytes - at), n = 0, part;
	enum err e = imap_parcel_read(parcel, message, at, from, got);

	if (e || *got >= wanted) {
		*got = wanted;
		return e;
	}
	for (; n < wanted && !e; n += part) {
		if (n > 0 && (e = imap_parcel_read(parcel, message, at + n, from, got)))
			break;
		part = min_u64(*got, wanted - n);
		bytes_copy(wrapping->piece + n, *from, part, BYTES_PARCEL);
	}
	*from = wrapping->piece;
	*got = n;
	return e;
}

static enum err wrapping_open(struct imap_parcel *parcel, const struct imap_message *message,
			      const char *function, struct wrapping **out)
{
	const struct parcel_record *record = &message->record;
	struct wrapping *wrapping = calloc(1, sizeof *wrapping);
	const uint8_t *from = NULL;
	size_t got = 0;
	enum err e;

	*out = wrapping;
	if (!wrapping)
		return RAISE(ERR_MEMORY_EXHAUSTED, "wrapping a message");
	e = read_piece(parcel, message, 0, WRAP_HEADER_BYTES_MAX, wrapping, &from, &got);
	if (!e)
		e = wrap_open(&wrapping->wrap, (struct text){ (const char *)from, got },
			      record->size_bytes, &record->digest, function);
	if (e)
		wrapping_close(out);
	return e;
}

enum err imap_wrap_measure(struct imap_parcel *parcel, struct imap_message *message,
			   const char *function)
{
	struct wrapping *wrapping;
	enum err e = wrapping_open(parcel, message, function, &wrapping);

	if (e)
		return e;
	message->wrapped_bytes = wrapping->wrap.size_bytes;
	wrapping_close(&wrapping);
	return OK;
}

static enum err send_original(struct imap_append_act *act, struct imap_parcel *parcel,
			      const struct imap_message *message, struct wrapping *wrapping)
{
	const uint8_t *from;
	size_t got;
	enum err e = OK;

	for (uint64_t at = 0; !e && at < message->record.size_bytes; at += got) {
		if (imap_append_is_off(act))
			return OK;
		e = read_piece(parcel, message, at, WRAP_PIECE_BYTES, wrapping, &from, &got);
		if (!e)
			e = imap_append_bytes(act, wrapping->coded,
					      wrap_encode(wrapping->coded, from, got));
	}
	return e;
}

enum err imap_wrap_send(struct imap_append_act *act, struct imap_parcel *parcel,
			const struct imap_message *message, const char *function)
{
	struct wrapping *wrapping;
	enum err e = wrapping_open(parcel, message, function, &wrapping);

	if (e)
		return e;
	must(wrapping->wrap.size_bytes == message->wrapped_bytes);
	e = imap_append_bytes(act, wrapping->wrap.head.at, wrapping->wrap.head.bytes);
	if (!e)
		e = send_original(act, parcel, message, wrapping);
	if (!e && !imap_append_is_off(act))
		e = imap_append_bytes(act, wrapping->wrap.tail.at, wrapping->wrap.tail.bytes);
	wrapping_close(&wrapping);
	return e;
}
