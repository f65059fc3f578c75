/* Bodies whose chunks are signed one by one, or not at all (AWS, "Signature Calculations for the
 * Authorization Header: Transferring Payload in Multiple Chunks", and the same "Including Trailing
 * Headers"). */
#include <inttypes.h>
#include <stdio.h>

#include "crypto/sigv4_state.h"

static const char head_mark[] = ";chunk-signature=", trailer_mark[] = "x-amz-trailer-signature:";
enum { DIGITS_OF_SIGNATURE = SIGV4_HEX_BYTES - 1, CRLF_BYTES = 2 };

static bool is_signed(enum sigv4_streaming streaming)
{
	return streaming != SIGV4_CHUNKS_UNSIGNED_TRAILER;
}

static bool has_trailer(enum sigv4_streaming streaming)
{
	return streaming != SIGV4_CHUNKS_SIGNED;
}

const char *sigv4_streaming_hash(enum sigv4_streaming streaming)
{
	static const char *const words[] = {
		[SIGV4_CHUNKS_SIGNED] = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
		[SIGV4_CHUNKS_SIGNED_TRAILER] = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
		[SIGV4_CHUNKS_UNSIGNED_TRAILER] = "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
	};

	must((unsigned)streaming < ARRAY_COUNT(words));
	return words[streaming];
}

/* ---- lengths ---- */

static uint64_t head_bytes(enum sigv4_streaming streaming, uint64_t bytes)
{
	uint64_t digits = 1;

	for (; bytes >= 16; bytes /= 16)
		digits++;
	return digits + CRLF_BYTES +
	       (is_signed(streaming) ? sizeof head_mark - 1 + DIGITS_OF_SIGNATURE : 0);
}

static uint64_t end_bytes(enum sigv4_streaming streaming, const struct sigv4_field *trailer)
{
	uint64_t bytes = head_bytes(streaming, 0) + CRLF_BYTES;

	must(has_trailer(streaming) == (trailer != NULL));
	if (trailer)
		bytes += strlen(trailer->name) + 1 + trailer->value.bytes + CRLF_BYTES;
	if (trailer && is_signed(streaming))
		bytes += sizeof trailer_mark - 1 + DIGITS_OF_SIGNATURE + CRLF_BYTES;
	return bytes;
}

uint64_t sigv4_streamed_bytes(enum sigv4_streaming streaming, uint64_t payload_bytes,
			      uint64_t chunk_bytes, const struct sigv4_field *trailer)
{
	uint64_t whole = payload_bytes / chunk_bytes, rest = payload_bytes % chunk_bytes;

	return payload_bytes + whole * (head_bytes(streaming, chunk_bytes) + CRLF_BYTES) +
	       (rest ? head_bytes(streaming, rest) + CRLF_BYTES : 0) +
	       end_bytes(streaming, trailer);
}

/* ---- signatures ---- */

void sigv4_chunks_begin(const struct sigv4 *sigv4, const struct sigv4_signed *seed,
			enum sigv4_streaming streaming, struct sigv4_chunks *chunks)
{
	MAGIC_CHECK(sigv4, SIGV4_MAGIC);
	must(seed->key_number == sigv4->key_number);
	chunks->streaming = streaming;
	bytes_copy(chunks->key, sigv4->key, sizeof chunks->key, BYTES_META);
	bytes_copy(chunks->date, seed->date, sizeof chunks->date, BYTES_META);
	bytes_copy(chunks->signature, seed->signature, sizeof chunks->signature, BYTES_META);
	bytes_copy(chunks->scope, sigv4->scope, sizeof chunks->scope, BYTES_META);
}

/* `what` is the last part of the algorithm's name, `hashes` what is signed anew. */
static void sign_next(struct sigv4_chunks *chunks, const char *what, const char *hashes)
{
	char text[64 + SIGV4_DATE_BYTES + SIGV4_SCOPE_BYTES + 3 * SIGV4_HEX_BYTES];
	int length = snprintf(text, sizeof text, "AWS4-HMAC-SHA256-%s\n%s\n%s\n%s\n%s", what,
			      chunks->date, chunks->scope, chunks->signature, hashes);

	must(length > 0 && length < (int)sizeof text);
	sigv4_sign_text(chunks->key, text_of(text), chunks->signature);
}

static size_t write_head(struct sigv4_chunks *chunks, uint64_t bytes,
			 const char hash[SIGV4_HEX_BYTES], char to[SIGV4_CHUNK_HEAD_BYTES])
{
	char hashes[2 * SIGV4_HEX_BYTES];

	if (!is_signed(chunks->streaming))
		return (size_t)snprintf(to, SIGV4_CHUNK_HEAD_BYTES, "%" PRIx64 "\r\n", bytes);
	snprintf(hashes, sizeof hashes, "%s\n%s", SIGV4_EMPTY_PAYLOAD, hash);
	sign_next(chunks, "PAYLOAD", hashes);
	return (size_t)snprintf(to, SIGV4_CHUNK_HEAD_BYTES, "%" PRIx64 "%s%s\r\n", bytes, head_mark,
				chunks->signature);
}

size_t sigv4_chunk_head(struct sigv4_chunks *chunks, uint64_t bytes,
			const uint8_t sha256[SIGV4_SHA256_BYTES], char to[SIGV4_CHUNK_HEAD_BYTES])
{
	char hash[SIGV4_HEX_BYTES] = "";

	must(bytes > 0 && is_signed(chunks->streaming) == (sha256 != NULL));
	if (sha256)
		bytes_to_hex(hash, sha256, SIGV4_SHA256_BYTES);
	return write_head(chunks, bytes, hash, to);
}

/* "name:value" and the line's end, which is another in what is signed than in what is sent. */
static int write_trailer(const struct sigv4_field *trailer, const char *end, char *to, size_t room)
{
	return snprintf(to, room, "%s:%.*s%s", trailer->name, (int)trailer->value.bytes,
			trailer->value.at, end);
}

static size_t write_trailer_signature(struct sigv4_chunks *chunks,
				      const struct sigv4_field *trailer, char *to, size_t room)
{
	char line[SIGV4_TRAILER_BYTES_MAX + 3], hash[SIGV4_HEX_BYTES];
	int length = write_trailer(trailer, "\n", line, sizeof line);

	sigv4_hash(line, (size_t)length, hash);
	sign_next(chunks, "TRAILER", hash);
	return (size_t)snprintf(to, room, "%s%s\r\n", trailer_mark, chunks->signature);
}

size_t sigv4_chunks_end(struct sigv4_chunks *chunks, const struct sigv4_field *trailer,
			char to[SIGV4_CHUNKS_END_BYTES])
{
	size_t at = write_head(chunks, 0, SIGV4_EMPTY_PAYLOAD, to);

	must(has_trailer(chunks->streaming) == (trailer != NULL));
	must(!trailer || strlen(trailer->name) + trailer->value.bytes <= SIGV4_TRAILER_BYTES_MAX);
	if (trailer)
		at += (size_t)write_trailer(trailer, "\r\n", to + at, SIGV4_CHUNKS_END_BYTES - at);
	if (trailer && is_signed(chunks->streaming))
		at += write_trailer_signature(chunks, trailer, to + at,
					      SIGV4_CHUNKS_END_BYTES - at);
	at += (size_t)snprintf(to + at, SIGV4_CHUNKS_END_BYTES - at, "\r\n");
	must(at == end_bytes(chunks->streaming, trailer));
	return at;
}

void sigv4_chunks_wipe(struct sigv4_chunks *chunks)
{
	secret_wipe(chunks, sizeof *chunks);
}
