/* AWS Signature Version 4, checked from the raw request as Amazon S3's API Reference tells it
 * ("Authenticating Requests: Using the Authorization Header", "... Using Query Parameters").
 * Written from that text alone, so that an error of the product's signer is not repeated here. */
#include "tests/sim/s3_model_state.h"

#include <ctype.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>

enum { SKEW_S_MAX = 15 * 60, EXPIRES_S_MAX = 7 * 24 * 3600, DAY_DIGITS = 8 };

/* What the client claims. */
struct claim {
	bool presigned;
	char key[128], day[16], region[32], service[16], end[16]; /* the credential's five */
	char signed_names[2048], signature[80], date[40], payload[80];
	uint64_t expires_s;
};

static bool malformed(struct s3_model_request *r, const struct claim *claim, const char *why)
{
	if (claim->presigned)
		return s3_model_refuse(r, 400, "AuthorizationQueryParametersError", "%s", why);
	return s3_model_refuse(r, 400, "AuthorizationHeaderMalformed",
			       "The authorization header is malformed; %s", why);
}

/* ---- reading the claim ---- */

static bool read_credential(struct s3_model_request *r, struct claim *claim, const char *text)
{
	int end = 0;

	if (sscanf(text, "%127[^/]/%15[^/]/%31[^/]/%15[^/]/%15[^/]%n", claim->key, claim->day,
		   claim->region, claim->service, claim->end, &end) != 5 ||
	    text[end] != '\0' || strcmp(claim->end, "aws4_request") != 0 ||
	    strlen(claim->day) != DAY_DIGITS)
		return malformed(r, claim,
				 "the Credential is mal-formed; expecting "
				 "\"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\".");
	if (strcmp(claim->service, "s3") != 0)
		return malformed(r, claim, "incorrect service. This endpoint belongs to \"s3\".");
	return true;
}

/* "Name=value", up to a comma or the end. */
static bool take_field(const char *fields, const char *name, char *to, size_t max)
{
	const char *at = strstr(fields, name);
	size_t n;

	if (!at)
		return false;
	at += strlen(name);
	n = strcspn(at, ", ");
	if (n == 0 || n >= max)
		return false;
	snprintf(to, max, "%.*s", (int)n, at);
	return true;
}

static bool read_header_claim(struct s3_model_request *r, struct claim *claim)
{
	static const char scheme[] = "AWS4-HMAC-SHA256 ";
	char fields[3000], credential[256];

	s3_model_header_text(r, "authorization", fields, sizeof fields);
	if (strncmp(fields, scheme, strlen(scheme)) != 0)
		return s3_model_refuse(r, 400, "InvalidRequest",
				       "The authorization mechanism you have provided is not "
				       "supported. Please use AWS4-HMAC-SHA256.");
	if (!take_field(fields, " Credential=", credential, sizeof credential) ||
	    !take_field(fields, "SignedHeaders=", claim->signed_names,
			sizeof claim->signed_names) ||
	    !take_field(fields, "Signature=", claim->signature, sizeof claim->signature))
		return malformed(r, claim, "it lacks a Credential, SignedHeaders or Signature.");
	if (!s3_model_header_text(r, "x-amz-content-sha256", claim->payload, sizeof claim->payload))
		return s3_model_refuse(
			r, 400, "InvalidRequest",
			"Missing required header for this request: x-amz-content-sha256");
	if (!s3_model_header_text(r, "x-amz-date", claim->date, sizeof claim->date))
		return s3_model_refuse(
			r, 403, "AccessDenied",
			"AWS authentication requires a valid Date or x-amz-date header");
	return read_credential(r, claim, credential);
}

static bool copy_query(const struct s3_model_request *r, const char *name, char *to, size_t max)
{
	const char *value = s3_model_query(r, name);

	if (!value || strlen(value) >= max)
		return false;
	snprintf(to, max, "%s", value);
	return true;
}

static bool read_query_claim(struct s3_model_request *r, struct claim *claim)
{
	char algorithm[32], credential[256], expires[16];

	claim->presigned = true;
	if (!copy_query(r, "X-Amz-Algorithm", algorithm, sizeof algorithm) ||
	    strcmp(algorithm, "AWS4-HMAC-SHA256") != 0 ||
	    !copy_query(r, "X-Amz-Credential", credential, sizeof credential) ||
	    !copy_query(r, "X-Amz-Date", claim->date, sizeof claim->date) ||
	    !copy_query(r, "X-Amz-Expires", expires, sizeof expires) ||
	    !copy_query(r, "X-Amz-SignedHeaders", claim->signed_names,
			sizeof claim->signed_names) ||
	    !copy_query(r, "X-Amz-Signature", claim->signature, sizeof claim->signature))
		return malformed(r, claim,
				 "Query-string authentication version 4 requires the "
				 "X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, "
				 "X-Amz-SignedHeaders, and X-Amz-Expires parameters.");
	if (!s3_model_number(expires, &claim->expires_s) || claim->expires_s < 1 ||
	    claim->expires_s > EXPIRES_S_MAX)
		return malformed(r, claim,
				 "X-Amz-Expires must be less than a week (in seconds); "
				 "that is, the given X-Amz-Expires must be less than "
				 "604800 seconds");
	if (!s3_model_header_text(r, "x-amz-content-sha256", claim->payload, sizeof claim->payload))
		snprintf(claim->payload, sizeof claim->payload, "UNSIGNED-PAYLOAD");
	return read_credential(r, claim, credential);
}

/* ---- what is signed ---- */

static int by_name_then_value(const void *left, const void *right)
{
	return strcmp(*(const char *const *)left, *(const char *const *)right);
}

/* Sorted by the encoded name, then by the encoded value. A tab sorts below what names are made of,
 * so "name<TAB>value" does it. */
static void add_query(const struct s3_model_request *r, struct buffer *to)
{
	char *pairs[S3_MODEL_QUERIES_MAX];
	unsigned count = 0;

	for (unsigned i = 0; i < r->queries_count; i++) {
		const struct s3_model_query *q = &r->queries[i];
		struct buffer pair = { 0 };

		if (strcmp(q->name, "X-Amz-Signature") == 0)
			continue;
		s3_model_encode(&pair, q->name, strlen(q->name), false);
		buffer_add_text(&pair, "\t");
		s3_model_encode(&pair, q->value, strlen(q->value), false);
		pairs[count++] = pair.at;
	}
	qsort(pairs, count, sizeof pairs[0], by_name_then_value);
	for (unsigned i = 0; i < count; i++) {
		*strchr(pairs[i], '\t') = '=';
		buffer_addf(to, "%s%s", i ? "&" : "", pairs[i]);
		free(pairs[i]);
	}
}

/* White space inside a value counts once. */
static void add_value(struct buffer *to, struct text value)
{
	for (size_t i = 0; i < value.bytes; i++)
		if (value.at[i] != ' ' || i == 0 || value.at[i - 1] != ' ')
			buffer_add(to, value.at + i, 1);
}

static bool add_headers(struct s3_model_request *r, const struct claim *claim, struct buffer *to)
{
	const char *names = claim->signed_names, *before = "";
	char name[2][64];

	for (unsigned i = 0; *names; i ^= 1) {
		size_t n = strcspn(names, ";");
		struct s3_model_header *header;

		if (n == 0 || n >= sizeof name[i])
			return malformed(r, claim, "SignedHeaders is malformed.");
		snprintf(name[i], sizeof name[i], "%.*s", (int)n, names);
		header = (struct s3_model_header *)(uintptr_t)s3_model_header(r, name[i]);
		if (strcmp(before, name[i]) >= 0)
			return malformed(r, claim, "SignedHeaders is not in order.");
		buffer_addf(to, "%s:", name[i]);
		if (header) {
			header->is_signed = true;
			add_value(to, header->value);
		}
		buffer_add_text(to, "\n");
		before = name[i];
		names += n + (names[n] == ';');
	}
	return true;
}

/* "The CanonicalHeaders list must include the HTTP host header, the Content-Type header if it is
 * present, and any x-amz-* headers that you plan to include in your request." */
static bool all_are_signed(struct s3_model_request *r)
{
	for (unsigned i = 0; i < r->headers_count; i++) {
		const struct s3_model_header *header = &r->headers[i];

		if (header->is_signed)
			continue;
		if (strcmp(header->name, "host") == 0 ||
		    strcmp(header->name, "content-type") == 0 ||
		    strncmp(header->name, "x-amz-", 6) == 0) {
			s3_model_xml(&r->more, "HeadersNotSigned", "%s", header->name);
			return s3_model_refuse(r, 403, "AccessDenied",
					       "There were headers present in the request which "
					       "were not signed");
		}
	}
	return true;
}

static bool canonical_request(struct s3_model_request *r, const struct claim *claim,
			      struct buffer *to)
{
	buffer_addf(to, "%s\n", r->method);
	s3_model_encode(to, r->path, r->path_bytes, true);
	buffer_add_text(to, "\n");
	add_query(r, to);
	buffer_add_text(to, "\n");
	if (!add_headers(r, claim, to))
		return false;
	buffer_addf(to, "\n%s\n%s", claim->signed_names, claim->payload);
	return true;
}

/* ---- the signature ---- */

static void hmac(const void *key, size_t key_bytes, struct text what, uint8_t to[32])
{
	unsigned n = 32;

	must(HMAC(EVP_sha256(), key, (int)key_bytes, (const uint8_t *)what.at, what.bytes, to, &n));
}

void s3_model_sign(const uint8_t key[32], struct text what, char to[65])
{
	uint8_t digest[32];

	hmac(key, 32, what, digest);
	bytes_to_hex(to, digest, sizeof digest);
}

/* kSecret = "AWS4" + secret, then HMAC over date, region, service and "aws4_request". */
static void derive_key(const char *secret, const struct claim *claim, uint8_t to[32])
{
	const char *words[] = { claim->day, claim->region, claim->service, claim->end };
	uint8_t next[32];
	char first[80];

	snprintf(first, sizeof first, "AWS4%s", secret);
	hmac(first, strlen(first), text_of(words[0]), to);
	for (unsigned i = 1; i < ARRAY_COUNT(words); i++) {
		hmac(to, 32, text_of(words[i]), next);
		memcpy(to, next, sizeof next);
	}
}

static bool signature_is_right(struct s3_model_request *r, const struct claim *claim)
{
	struct buffer request = { 0 }, what = { 0 };
	char hash[65];
	bool right = canonical_request(r, claim, &request);

	if (right) {
		s3_model_sha256_hex(request.at, request.bytes, hash);
		snprintf(r->date, sizeof r->date, "%.19s", claim->date);
		snprintf(r->scope, sizeof r->scope, "%s/%s/%s/%s", claim->day, claim->region,
			 claim->service, claim->end);
		buffer_addf(&what, "AWS4-HMAC-SHA256\n%s\n%s\n%s", r->date, r->scope, hash);
		derive_key(r->user->secret, claim, r->signing_key);
		s3_model_sign(r->signing_key, (struct text){ what.at, what.bytes }, r->signature);
		right = strcmp(r->signature, claim->signature) == 0;
		if (!right) {
			s3_model_xml(&r->more, "StringToSign", "%s", what.at);
			s3_model_xml(&r->more, "CanonicalRequest", "%s", request.at);
			s3_model_refuse(
				r, 403, "SignatureDoesNotMatch",
				"The request signature we calculated does not match the "
				"signature you provided. Check your key and signing method.");
		}
	}
	buffer_free(&request);
	buffer_free(&what);
	return right;
}

/* ---- when, where, who ---- */

static bool time_is_right(struct s3_model_request *r, const struct claim *claim)
{
	char now[32];
	int64_t at;

	if (strlen(claim->date) != strlen("20130524T000000Z") ||
	    !s3_model_parse_time(claim->date, &at))
		return s3_model_refuse(
			r, 403, "AccessDenied",
			"AWS authentication requires a valid Date or x-amz-date header");
	if (strncmp(claim->date, claim->day, DAY_DIGITS) != 0)
		return malformed(r, claim,
				 "Invalid credential date. This date is not the same as "
				 "X-Amz-Date.");
	if (r->is_forgiven)
		return true;
	s3_model_iso_time(now, r->now_s);
	if (claim->presigned && r->now_s > at + (int64_t)claim->expires_s) {
		s3_model_xml(&r->more, "ServerTime", "%s", now);
		return s3_model_refuse(r, 403, "AccessDenied", "Request has expired");
	}
	if (at > r->now_s + SKEW_S_MAX || (!claim->presigned && at < r->now_s - SKEW_S_MAX)) {
		s3_model_xml(&r->more, "RequestTime", "%s", claim->date);
		s3_model_xml(&r->more, "ServerTime", "%s", now);
		s3_model_xml(&r->more, "MaxAllowedSkewMilliseconds", "%d", SKEW_S_MAX * 1000);
		return s3_model_refuse(r, 403, "RequestTimeTooSkewed",
				       "The difference between the request time and the current "
				       "time is too large.");
	}
	return true;
}

static bool region_is_right(struct s3_model_request *r, const struct claim *claim)
{
	if (strcmp(claim->region, r->endpoint_region) == 0)
		return true;
	s3_model_xml(&r->more, "Region", "%s", r->endpoint_region);
	s3_model_field(r, "x-amz-bucket-region", "%s",
		       r->bucket ? r->bucket->region : r->endpoint_region);
	return s3_model_refuse(r, 400,
			       claim->presigned ? "AuthorizationQueryParametersError"
						: "AuthorizationHeaderMalformed",
			       "The authorization header is malformed; the region '%s' is wrong; "
			       "expecting '%s'",
			       claim->region, r->endpoint_region);
}

static bool user_is_known(struct s3_model_request *r, const struct claim *claim)
{
	for (unsigned i = 0; i < r->model->users_count; i++)
		if (strcmp(r->model->users[i].key, claim->key) == 0)
			r->user = &r->model->users[i];
	if (r->user && !r->user->revoked)
		return true;
	s3_model_xml(&r->more, "AWSAccessKeyId", "%s", claim->key);
	return s3_model_refuse(r, 403, "InvalidAccessKeyId",
			       "The AWS Access Key Id you provided does not exist in our records.");
}

static bool token_is_right(struct s3_model_request *r, const struct claim *claim)
{
	char token[2048] = "";

	if (claim->presigned)
		(void)copy_query(r, "X-Amz-Security-Token", token, sizeof token);
	else
		(void)s3_model_header_text(r, "x-amz-security-token", token, sizeof token);
	if (r->user->token[0] && !token[0]) /* keys of a session are none without it */
		return s3_model_refuse(r, 403, "InvalidAccessKeyId",
				       "The AWS Access Key Id you provided does not exist in our "
				       "records.");
	if (strcmp(r->user->token, token) != 0)
		return s3_model_refuse(r, 400, "InvalidToken",
				       "The provided token is malformed or otherwise invalid.");
	if (r->user->expires_s && r->now_s >= r->user->expires_s && !r->is_forgiven)
		return s3_model_refuse(r, 400, "ExpiredToken", "The provided token has expired.");
	return true;
}

bool s3_model_verify(struct s3_model_request *r)
{
	struct claim *claim = calloc(1, sizeof *claim);
	bool in_query =
		s3_model_query(r, "X-Amz-Algorithm") || s3_model_query(r, "X-Amz-Signature");
	bool in_header = s3_model_header(r, "authorization"), right;

	must(claim);
	if (in_query && in_header)
		right = s3_model_refuse(r, 400, "InvalidArgument",
					"Only one auth mechanism allowed; only the X-Amz-Algorithm "
					"query parameter, Signature query string parameter or the "
					"Authorization header should be specified");
	else if (!in_query && !in_header)
		right = s3_model_refuse(r, 403, "AccessDenied", "Access Denied");
	else
		right = (in_query ? read_query_claim(r, claim) : read_header_claim(r, claim)) &&
			region_is_right(r, claim) && user_is_known(r, claim) &&
			time_is_right(r, claim) && signature_is_right(r, claim) &&
			all_are_signed(r) && token_is_right(r, claim);
	free(claim);
	return right;
}
