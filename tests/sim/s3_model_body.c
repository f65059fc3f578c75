/* The body of a request to the S3 stand-in: chunks of aws-chunked with their signatures and trailer
 * (Amazon S3 API Reference, "Signature Calculations for the Authorization Header: Transferring
 * Payload in Multiple Chunks", "... Trailing headers"), its hash, its checksums. */
#include "tests/sim/s3_model_state.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum { CHUNK_BYTES_MIN = 8 * 1024 };

static const char empty_hash[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/* A stream of chunks, on its way. */
struct stream {
	struct text rest;
	bool is_signed, has_trailer;
	char before[65]; /* the signature before */
	bool was_short;
	char trailer_name[64], trailer_value[128];
};

static bool incomplete(struct s3_model_request *r)
{
	return s3_model_refuse(r, 400, "IncompleteBody",
			       "The request body terminated unexpectedly");
}

static bool mismatch(struct s3_model_request *r)
{
	return s3_model_refuse(r, 403, "SignatureDoesNotMatch",
			       "The request signature we calculated does not match the signature "
			       "you provided. Check your key and signing method.");
}

static bool take_line(struct stream *stream, struct text *line)
{
	const char *end = memmem(stream->rest.at, stream->rest.bytes, "\r\n", 2);

	if (!end)
		return false;
	*line = (struct text){ stream->rest.at, (size_t)(end - stream->rest.at) };
	stream->rest.bytes -= line->bytes + 2;
	stream->rest.at = end + 2;
	return true;
}

static bool signature_follows(struct s3_model_request *r, struct stream *stream, const char *kind,
			      const char *hashes, struct text given)
{
	struct buffer what = { 0 };
	char right[65];

	buffer_addf(&what, "%s\n%s\n%s\n%s\n%s", kind, r->date, r->scope, stream->before, hashes);
	s3_model_sign(r->signing_key, (struct text){ what.at, what.bytes }, right);
	buffer_free(&what);
	snprintf(stream->before, sizeof stream->before, "%s", right);
	return text_equal(given, text_of(right)) || mismatch(r);
}

/* hex [;chunk-signature=hex64] CRLF data CRLF; the last has no data, and its CRLF ends the body
 * where no trailer follows. */
static bool take_chunk(struct s3_model_request *r, struct stream *stream, size_t *length)
{
	static const char extension[] = ";chunk-signature=";
	char hashes[140], hash[65];
	struct text line, given = { "", 0 };
	const char *at;

	if (!take_line(stream, &line))
		return incomplete(r);
	if ((at = memmem(line.at, line.bytes, extension, strlen(extension)))) {
		given.at = at + strlen(extension);
		given.bytes = (size_t)(line.at + line.bytes - given.at);
		line.bytes = (size_t)(at - line.at);
	}
	if (!line.bytes || line.bytes > 8 ||
	    strspn(line.at, "0123456789abcdefABCDEF") < line.bytes ||
	    (at != NULL) != stream->is_signed)
		return s3_model_refuse(r, 400, "InvalidRequest", "A chunk's head is malformed.");
	*length = strtoul(line.at, NULL, 16);
	if (stream->was_short && *length)
		return s3_model_refuse(r, 403, "InvalidChunkSizeError",
				       "Only the last chunk is allowed to have a size less than "
				       "8192 bytes");
	stream->was_short = *length < CHUNK_BYTES_MIN;
	if (*length + (*length ? 2 : 0) > stream->rest.bytes)
		return incomplete(r);
	s3_model_sha256_hex(stream->rest.at, *length, hash);
	snprintf(hashes, sizeof hashes, "%s\n%s", empty_hash, hash);
	return !stream->is_signed ||
	       signature_follows(r, stream, "AWS4-HMAC-SHA256-PAYLOAD", hashes, given);
}

/* name:value CRLF [x-amz-trailer-signature:hex64 CRLF] CRLF. What is signed is "name:value\n". */
static bool take_trailer(struct s3_model_request *r, struct stream *stream)
{
	static const char name[] = "x-amz-trailer-signature:";
	struct text line, last;
	const char *colon;
	char one[256], hash[65];

	if (!take_line(stream, &line) || !(colon = memchr(line.at, ':', line.bytes)) ||
	    line.bytes > 190)
		return s3_model_refuse(r, 400, "MalformedTrailerError",
				       "The request contained trailing data that was not "
				       "well-formed or did not conform to our published schema.");
	snprintf(stream->trailer_name, sizeof stream->trailer_name, "%.*s", (int)(colon - line.at),
		 line.at);
	for (colon++; *colon == ' ';)
		colon++;
	snprintf(stream->trailer_value, sizeof stream->trailer_value, "%.*s",
		 (int)(line.at + line.bytes - colon), colon);
	if (!stream->is_signed)
		return true;
	snprintf(one, sizeof one, "%s:%s\n", stream->trailer_name, stream->trailer_value);
	s3_model_sha256_hex(one, strlen(one), hash);
	if (!take_line(stream, &last) || last.bytes < strlen(name) ||
	    strncasecmp(last.at, name, strlen(name)) != 0)
		return mismatch(r);
	last = (struct text){ last.at + strlen(name), last.bytes - strlen(name) };
	return signature_follows(r, stream, "AWS4-HMAC-SHA256-TRAILER", hash, last);
}

static bool trailer_is_right(struct s3_model_request *r, const struct stream *stream)
{
	static const char prefix[] = "x-amz-checksum-";
	char promised[64];

	s3_model_header_text(r, "x-amz-trailer", promised, sizeof promised);
	if (strcasecmp(promised, stream->trailer_name) != 0 ||
	    strncasecmp(promised, prefix, strlen(prefix)) != 0)
		return s3_model_refuse(r, 400, "MalformedTrailerError",
				       "The trailer is not the one that x-amz-trailer names.");
	r->sent.algorithm = s3_model_algorithm_of(promised + strlen(prefix));
	snprintf(r->sent.text, sizeof r->sent.text, "%.99s", stream->trailer_value);
	return true;
}

static bool read_stream(struct s3_model_request *r, struct stream *stream)
{
	char declared[24];
	uint64_t length;
	struct text end;
	size_t n = 0;

	if (!s3_model_header_text(r, "x-amz-decoded-content-length", declared, sizeof declared) ||
	    !s3_model_number(declared, &length))
		return s3_model_refuse(r, 411, "MissingContentLength",
				       "You must provide the Content-Length HTTP header.");
	snprintf(stream->before, sizeof stream->before, "%s", r->signature);
	r->decoded.bytes_max = SIZE_MAX / 2;
	do {
		if (!take_chunk(r, stream, &n))
			return false;
		buffer_add(&r->decoded, stream->rest.at, n);
		stream->rest = (struct text){ stream->rest.at + n, stream->rest.bytes - n };
		if (n && (!take_line(stream, &end) || end.bytes))
			return incomplete(r);
	} while (n);
	if (stream->has_trailer && !(take_trailer(r, stream) && trailer_is_right(r, stream)))
		return false;
	if (!take_line(stream, &end) || end.bytes || stream->rest.bytes ||
	    r->decoded.bytes != length)
		return incomplete(r);
	r->body = (const uint8_t *)(r->decoded.at ? r->decoded.at : "");
	r->length = r->decoded.bytes;
	return true;
}

bool s3_model_read_body(struct s3_model_request *r, const uint8_t *raw, size_t n)
{
	struct stream stream = { .rest = { (const char *)raw, n } };
	char payload[80], right[65];

	r->body = raw;
	r->length = n;
	if (!s3_model_header_text(r, "x-amz-content-sha256", payload, sizeof payload) ||
	    strcmp(payload, "UNSIGNED-PAYLOAD") == 0)
		return true;
	if (strncmp(payload, "STREAMING-", 10) == 0) {
		stream.is_signed = strncmp(payload + 10, "AWS4-HMAC-SHA256-PAYLOAD", 24) == 0;
		stream.has_trailer = strstr(payload, "PAYLOAD-TRAILER");
		if (stream.is_signed || strcmp(payload + 10, "UNSIGNED-PAYLOAD-TRAILER") == 0)
			return read_stream(r, &stream);
	}
	s3_model_sha256_hex(raw, n, right);
	if (strcmp(payload, right) == 0)
		return true;
	if (strlen(payload) != 64 || strspn(payload, "0123456789abcdef") != 64)
		return s3_model_refuse(
			r, 400, "InvalidArgument",
			"x-amz-content-sha256 must be UNSIGNED-PAYLOAD, "
			"STREAMING-AWS4-HMAC-SHA256-PAYLOAD or a valid sha256 value.");
	s3_model_xml(&r->more, "ClientComputedContentSHA256", "%s", payload);
	s3_model_xml(&r->more, "S3ComputedContentSHA256", "%s", right);
	return s3_model_refuse(r, 400, "XAmzContentSHA256Mismatch",
			       "The provided 'x-amz-content-sha256' header does not match what was "
			       "computed.");
}

/* ---- checksums ---- */

static bool names_a_checksum(const struct s3_model_header *header)
{
	return strncmp(header->name, "x-amz-checksum-", 15) == 0 &&
	       strcmp(header->name, "x-amz-checksum-algorithm") != 0 &&
	       strcmp(header->name, "x-amz-checksum-mode") != 0 &&
	       strcmp(header->name, "x-amz-checksum-type") != 0;
}

bool s3_model_read_checksum(struct s3_model_request *r)
{
	char algorithm[24];
	unsigned count = r->sent.algorithm != S3_MODEL_NO_CHECKSUM;

	for (unsigned i = 0; i < r->headers_count; i++) {
		const struct s3_model_header *header = &r->headers[i];

		if (!names_a_checksum(header))
			continue;
		if (count++)
			return s3_model_refuse(
				r, 400, "InvalidRequest",
				"Expecting a single x-amz-checksum- header. Multiple "
				"checksum Types are not allowed.");
		r->sent.algorithm = s3_model_algorithm_of(header->name + 15);
		s3_model_header_text(r, header->name, r->sent.text, sizeof r->sent.text);
		if (r->sent.algorithm == S3_MODEL_NO_CHECKSUM)
			return s3_model_refuse(r, 501, "NotImplemented",
					       "The stand-in does not know %s.", header->name);
	}
	if (!s3_model_header_text(r, "x-amz-sdk-checksum-algorithm", algorithm, sizeof algorithm))
		return true;
	if (count == 0 && !s3_model_header(r, "x-amz-trailer"))
		return s3_model_refuse(
			r, 400, "InvalidRequest",
			"x-amz-sdk-checksum-algorithm specified, but no corresponding "
			"x-amz-checksum-* or x-amz-trailer headers were found.");
	if (count && s3_model_algorithm_of(algorithm) != r->sent.algorithm)
		return s3_model_refuse(
			r, 400, "BadDigest",
			"x-amz-sdk-checksum-algorithm is %s, and the checksum is not.", algorithm);
	return true;
}

static bool md5_is_right(struct s3_model_request *r)
{
	uint8_t given[16], right[64];
	char text[64];
	size_t n;

	if (!s3_model_header(r, "content-md5"))
		return true;
	if (!s3_model_header_text(r, "content-md5", text, sizeof text) ||
	    !s3_model_from_base64(text, given, sizeof given, &n) || n != sizeof given)
		return s3_model_refuse(r, 400, "InvalidDigest",
				       "The Content-MD5 you specified was invalid.");
	s3_model_digest(S3_MODEL_MD5, r->body, r->length, right);
	return memcmp(given, right, sizeof given) == 0 ||
	       s3_model_refuse(r, 400, "BadDigest",
			       "The Content-MD5 you specified did not match what we received.");
}

bool s3_model_check_body(struct s3_model_request *r)
{
	struct s3_model_checksum right;
	uint8_t digest[64];
	size_t n;

	if (!md5_is_right(r) || !s3_model_read_checksum(r))
		return false;
	if (r->model->lacks & S3_MODEL_LACKS_CHECKSUMS)
		r->sent.algorithm = S3_MODEL_NO_CHECKSUM;
	if (r->sent.algorithm == S3_MODEL_CRC64NVME && r->model->lacks & S3_MODEL_LACKS_CRC64NVME)
		return s3_model_refuse(
			r, 400, "InvalidRequest",
			"Checksum algorithm provided is unsupported. Please try again "
			"with any of the valid types: [CRC32, CRC32C, SHA1, SHA256]");
	/* What Complete carries is of the object, not of the body. */
	if (r->sent.algorithm == S3_MODEL_NO_CHECKSUM || r->op == S3_MODEL_COMPLETE)
		return true;
	s3_model_checksum(&right, r->sent.algorithm, r->body, r->length);
	if (!s3_model_from_base64(r->sent.text, digest, sizeof digest, &n) ||
	    strlen(right.text) != strlen(r->sent.text))
		return s3_model_refuse(r, 400, "InvalidRequest",
				       "Value for x-amz-checksum-%s header is invalid.",
				       s3_model_algorithm_name(r->sent.algorithm));
	return strcmp(right.text, r->sent.text) == 0 ||
	       s3_model_refuse(r, 400, "BadDigest",
			       "The %s you specified did not match the calculated checksum.",
			       s3_model_algorithm_name(r->sent.algorithm));
}
