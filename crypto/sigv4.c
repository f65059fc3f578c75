/* Signing of requests: credentials, the day's key, the canonical request. See sigv4.h. */
#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <strings.h>

#include "crypto/sigv4_state.h"
#include "engine/mail.h"

static const char algorithm[] = "AWS4-HMAC-SHA256";

enum { BLOCK_BYTES = 64 /* of SHA-256 */ };

/* What is signed of the fields, ordered by name; those of one name as they were given. */
struct fields {
	struct sigv4_field at[SIGV4_FIELDS_MAX];
	size_t count;
};

/* ---- hashes ---- */

/* Looked up by its name once: that takes longer than to hash a request. */
static EVP_MD *sha256_found;

static void find_sha256(void)
{
	sha256_found = EVP_MD_fetch(NULL, "SHA256", NULL);
	must(sha256_found != NULL);
}

static const EVP_MD *sha256_algorithm(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, find_sha256);
	return sha256_found;
}

/* EVP fails only without memory. */
static void sha256(const void *from, size_t n, uint8_t to[SIGV4_SHA256_BYTES])
{
	must(EVP_Digest(from, n, to, NULL, sha256_algorithm(), NULL) == 1);
}

void sigv4_hash(const void *from, size_t n, char to[SIGV4_HEX_BYTES])
{
	uint8_t hash[SIGV4_SHA256_BYTES];

	sha256(from, n, hash);
	bytes_to_hex(to, hash, sizeof hash);
}

static void sha256_behind(const uint8_t block[BLOCK_BYTES], const void *from, size_t n,
			  uint8_t to[SIGV4_SHA256_BYTES])
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();

	must(context && EVP_DigestInit_ex(context, sha256_algorithm(), NULL) == 1 &&
	     EVP_DigestUpdate(context, block, BLOCK_BYTES) == 1 &&
	     EVP_DigestUpdate(context, from, n) == 1 && EVP_DigestFinal_ex(context, to, NULL) == 1);
	EVP_MD_CTX_free(context); /* wipes */
}

static void add_to_all(uint8_t block[BLOCK_BYTES], uint8_t mask)
{
	for (size_t i = 0; i < BLOCK_BYTES; i++)
		block[i] ^= mask;
}

/* RFC 2104 section 2. Not OpenSSL's, which looks up two algorithms each time. */
static void hmac(const void *key, size_t key_bytes, struct text text,
		 uint8_t to[SIGV4_SHA256_BYTES])
{
	uint8_t block[BLOCK_BYTES] = { 0 }, inner[SIGV4_SHA256_BYTES];

	if (key_bytes > sizeof block)
		sha256(key, key_bytes, block);
	else
		bytes_copy(block, key, key_bytes, BYTES_META);
	add_to_all(block, 0x36);
	sha256_behind(block, text.at, text.bytes, inner);
	add_to_all(block, 0x36 ^ 0x5c);
	sha256_behind(block, inner, sizeof inner, to);
	secret_wipe(block, sizeof block);
}

void sigv4_sign_text(const uint8_t key[SIGV4_SHA256_BYTES], struct text text,
		     char to[SIGV4_HEX_BYTES])
{
	uint8_t signature[SIGV4_SHA256_BYTES];

	hmac(key, SIGV4_SHA256_BYTES, text, signature);
	bytes_to_hex(to, signature, sizeof signature);
}

/* ---- life ---- */

static bool is_label(const char *name)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789-._";
	size_t bytes = strlen(name);

	return bytes > 0 && bytes <= SIGV4_NAME_BYTES_MAX && strspn(name, letters) == bytes;
}

static enum err check_label(const char *what, const char *name)
{
	char shown[100];

	if (is_label(name))
		return OK;
	return RAISE(ERR_INPUT_USAGE,
		     "\"%s\" is not the name of a %s: 1 to %d letters, digits, \"-\", \".\" and "
		     "\"_\" are",
		     err_quote(shown, sizeof shown, text_of(name)), what, SIGV4_NAME_BYTES_MAX);
}

enum err sigv4_open(const char *region, const char *service, unsigned rules, struct sigv4 **out)
{
	struct sigv4 *sigv4;
	enum err e;

	must(!(rules & SIGV4_NORMALISE) || (rules & SIGV4_ENCODE_AGAIN));
	*out = NULL;
	if ((e = check_label("region", region)) || (e = check_label("service", service)))
		return e;
	if (!(sigv4 = secret_room_open(sizeof *sigv4)))
		return RAISE(ERR_MEMORY_EXHAUSTED,
			     "guarded memory for the key that signs requests");
	memset(sigv4, 0, sizeof *sigv4);
	sigv4->magic = SIGV4_MAGIC;
	sigv4->rules = rules;
	sigv4->canonical = (struct buffer){ .at = sigv4->canonical_room,
					    .room = sizeof sigv4->canonical_room,
					    .bytes_max = SIGV4_CANONICAL_BYTES_MAX };
	sigv4->names = (struct buffer){ .at = sigv4->names_room,
					.room = sizeof sigv4->names_room,
					.bytes_max = SIGV4_NAMES_BYTES_MAX };
	snprintf(sigv4->region, sizeof sigv4->region, "%s", region);
	snprintf(sigv4->service, sizeof sigv4->service, "%s", service);
	if ((e = secret_check_key(sigv4->check_key)))
		sigv4_close(&sigv4);
	*out = sigv4;
	return e;
}

void sigv4_close(struct sigv4 **closing)
{
	void *room = *closing;

	if (!room)
		return;
	MAGIC_CHECK(*closing, SIGV4_MAGIC);
	secret_room_close(&room); /* wipes */
	*closing = NULL;
}

/* ---- credentials, key ---- */

/* Whether it can stand in a field; `but` are characters that would end it there. */
static bool is_credential(struct text text, size_t bytes_max, const char *but)
{
	if (text.bytes == 0 || text.bytes > bytes_max)
		return false;
	for (size_t i = 0; i < text.bytes; i++)
		if (text.at[i] <= ' ' || text.at[i] > '~' || strchr(but, text.at[i]))
			return false;
	return true;
}

static enum err check_credentials(const struct sigv4_credentials *credentials)
{
	const char *what = NULL;

	if (!is_credential(credentials->access_key_id, SIGV4_KEY_ID_BYTES_MAX, "/,"))
		what = "access key id";
	else if (!is_credential(credentials->secret, SIGV4_SECRET_BYTES_MAX, ""))
		what = "secret access key";
	else if (credentials->session_token.bytes &&
		 !is_credential(credentials->session_token, SIGV4_TOKEN_BYTES_MAX, ""))
		what = "session token";
	if (what)
		return RAISE(ERR_INPUT_SECRET,
			     "the %s cannot be one: it is empty, too long or holds characters that "
			     "none has; look where it comes from",
			     what);
	return OK;
}

static void derive_key(struct sigv4 *sigv4, struct text secret, uint64_t check)
{
	char first[4 + SIGV4_SECRET_BYTES_MAX] = "AWS4";
	uint8_t *key = sigv4->key;

	bytes_copy(first + 4, secret.at, secret.bytes, BYTES_META);
	hmac(first, 4 + secret.bytes, text_of(sigv4->key_day), key);
	hmac(key, SIGV4_SHA256_BYTES, text_of(sigv4->region), key);
	hmac(key, SIGV4_SHA256_BYTES, text_of(sigv4->service), key);
	hmac(key, SIGV4_SHA256_BYTES, text_of("aws4_request"), key);
	secret_wipe(first, sizeof first);
	sigv4->check = check;
	sigv4->key_number++;
}

static void renew_key(struct sigv4 *sigv4, struct text secret, const char date[SIGV4_DATE_BYTES])
{
	uint64_t check = secret_check(sigv4->check_key, secret.at, secret.bytes);

	if (check == sigv4->check && strncmp(sigv4->key_day, date, 8) == 0)
		return;
	snprintf(sigv4->key_day, sizeof sigv4->key_day, "%.8s", date);
	snprintf(sigv4->scope, sizeof sigv4->scope, "%s/%s/%s/aws4_request", sigv4->key_day,
		 sigv4->region, sigv4->service);
	derive_key(sigv4, secret, check);
}

/* ---- dates ---- */

/* ISO 8601 in its basic form, from the extended one. Many requests have the same. */
static enum err write_date(struct sigv4 *sigv4, int64_t time_s, char to[SIGV4_DATE_BYTES])
{
	struct mail_date date = { .seconds = time_s, .known = true };
	char text[40];

	if (!sigv4->date[0] || sigv4->date_s != time_s) {
		if (mail_date_rfc3339(text, &date)[0] == '\0')
			return RAISE(ERR_INPUT_USAGE,
				     "signing a request at a time that no calendar has: set the "
				     "clock of this machine");
		snprintf(sigv4->date, sizeof sigv4->date, "%.4s%.2s%.2sT%.2s%.2s%.2sZ", text,
			 text + 5, text + 8, text + 11, text + 14, text + 17);
		sigv4->date_s = time_s;
	}
	bytes_copy(to, sigv4->date, sizeof sigv4->date, BYTES_META);
	return OK;
}

/* "Sun, 06 Nov 1994 08:49:37 GMT" has the parts of an IMAP date-time in fixed places. */
bool sigv4_clock_offset(struct text text, int64_t now_s, int64_t *offset_s)
{
	static const char form[] = "www, dd mmm yyyy hh:mm:ss GMT", marks[] = " ,:GMT";
	char written[sizeof "06-Nov-1994 08:49:37 +0000"];
	struct mail_date date;
	int64_t offset;

	if (text.bytes != sizeof form - 1)
		return false;
	for (size_t i = 0; i < text.bytes; i++)
		if (strchr(marks, form[i]) && text.at[i] != form[i])
			return false;
	snprintf(written, sizeof written, "%.2s-%.3s-%.4s %.8s +0000", text.at + 5, text.at + 8,
		 text.at + 12, text.at + 17);
	if (!mail_date_parse(text_of(written), &date) ||
	    __builtin_sub_overflow(date.seconds, now_s, &offset))
		return false;
	*offset_s = offset;
	return true;
}

/* ---- the canonical request ---- */

static enum err add_field(struct fields *fields, const char *name, struct text value)
{
	size_t at = fields->count;

	if (at == SIGV4_FIELDS_MAX)
		return RAISE(ERR_INPUT_USAGE, "signing a request with more than %d fields",
			     SIGV4_FIELDS_MAX);
	for (; at > 0 && strcasecmp(fields->at[at - 1].name, name) > 0; at--)
		fields->at[at] = fields->at[at - 1];
	fields->at[at] = (struct sigv4_field){ name, value };
	fields->count++;
	return OK;
}

/* The request's own, host among them. */
static enum err take_fields(const struct sigv4_request *request, struct fields *fields)
{
	enum err e;

	fields->count = 0;
	e = add_field(fields, "host", request->host);
	for (size_t i = 0; i < request->fields_count && e == OK; i++)
		e = add_field(fields, request->fields[i].name, request->fields[i].value);
	return e;
}

static bool has_name_before(const struct fields *fields, size_t i)
{
	return i > 0 && strcasecmp(fields->at[i - 1].name, fields->at[i].name) == 0;
}

static void add_lower(struct buffer *to, const char *name)
{
	size_t at = to->bytes;

	buffer_add_text(to, name);
	for (; at < to->bytes; at++)
		if (to->at[at] >= 'A' && to->at[at] <= 'Z')
			to->at[at] += 'a' - 'A';
}

static enum err collect_names(struct sigv4 *sigv4, const struct fields *fields)
{
	struct buffer *names = &sigv4->names;

	buffer_reset(names);
	for (size_t i = 0; i < fields->count; i++)
		if (!has_name_before(fields, i)) {
			buffer_add_text(names, i ? ";" : "");
			add_lower(names, fields->at[i].name);
		}
	if (names->failed)
		return RAISE(ERR_INPUT_USAGE,
			     "signing a request whose fields' names are more than %d bytes",
			     SIGV4_NAMES_BYTES_MAX);
	return OK;
}

/* Its words, one space between them. */
static void add_value(struct buffer *to, struct text value)
{
	size_t begin, i = 0, words = 0;

	while (i < value.bytes) {
		for (begin = i; i < value.bytes && value.at[i] != ' ' && value.at[i] != '\t'; i++)
			;
		if (i > begin) {
			buffer_add_text(to, words++ ? " " : "");
			buffer_add(to, value.at + begin, i - begin);
		}
		i += i < value.bytes;
	}
}

static void add_fields(struct buffer *to, const struct fields *fields)
{
	for (size_t i = 0; i < fields->count; i++) {
		if (has_name_before(fields, i)) {
			buffer_add_text(to, ",");
		} else {
			buffer_add_text(to, i ? "\n" : "");
			add_lower(to, fields->at[i].name);
			buffer_add_text(to, ":");
		}
		add_value(to, fields->at[i].value);
	}
	buffer_add_text(to, "\n\n");
}

static enum err write_canonical(struct sigv4 *sigv4, const struct sigv4_request *request,
				struct text target, const struct fields *fields)
{
	struct buffer *to = &sigv4->canonical;
	enum err e;

	buffer_reset(to);
	buffer_add_text(to, request->method);
	buffer_add_text(to, "\n");
	if ((e = sigv4_add_target(to, target, sigv4->rules)))
		return e;
	add_fields(to, fields);
	buffer_add(to, sigv4->names.at, sigv4->names.bytes);
	buffer_add_text(to, "\n");
	buffer_add(to, request->payload_hash.at, request->payload_hash.bytes);
	if (to->failed)
		return RAISE(ERR_INPUT_USAGE,
			     "signing a request whose target and fields are more than %d bytes",
			     SIGV4_CANONICAL_BYTES_MAX);
	return OK;
}

/* The names of the fields are collected; the day's key is there. */
static enum err write_signature(struct sigv4 *sigv4, const struct sigv4_request *request,
				struct text target, const struct fields *fields,
				const char date[SIGV4_DATE_BYTES], char to[SIGV4_HEX_BYTES])
{
	char hash[SIGV4_HEX_BYTES];
	char text[sizeof algorithm + SIGV4_DATE_BYTES + SIGV4_SCOPE_BYTES + SIGV4_HEX_BYTES];
	enum err e;

	if ((e = write_canonical(sigv4, request, target, fields)))
		return e;
	sigv4_hash(sigv4->canonical.at, sigv4->canonical.bytes, hash);
	snprintf(text, sizeof text, "%s\n%s\n%s\n%s", algorithm, date, sigv4->scope, hash);
	sigv4_sign_text(sigv4->key, text_of(text), to);
	return OK;
}

/* ---- requests ---- */

/* What both ways of signing begin with. */
static enum err prepare(struct sigv4 *sigv4, const struct sigv4_request *request,
			const struct sigv4_credentials *credentials, char date[SIGV4_DATE_BYTES])
{
	enum err e;

	MAGIC_CHECK(sigv4, SIGV4_MAGIC);
	must(request->target.bytes && request->target.at[0] == '/' && request->payload_hash.bytes);
	if ((e = check_credentials(credentials)) || (e = write_date(sigv4, request->time_s, date)))
		return e;
	renew_key(sigv4, credentials->secret, date);
	return OK;
}

static enum err sign_also(struct sigv4_signed *out, struct fields *fields, const char *name,
			  struct text value)
{
	out->fields[out->fields_count++] = (struct sigv4_field){ name, value };
	return add_field(fields, name, value);
}

static enum err add_own_fields(const struct sigv4 *sigv4, const struct sigv4_request *request,
			       const struct sigv4_credentials *credentials,
			       struct sigv4_signed *out, struct fields *fields)
{
	enum err e;

	out->fields_count = 0;
	e = sign_also(out, fields, "X-Amz-Date", text_of(out->date));
	if (e == OK && (sigv4->rules & SIGV4_HASH_FIELD))
		e = sign_also(out, fields, "X-Amz-Content-Sha256", request->payload_hash);
	if (e == OK && credentials->session_token.bytes)
		e = sign_also(out, fields, "X-Amz-Security-Token", credentials->session_token);
	return e;
}

static void write_authorization(const struct sigv4 *sigv4, struct text access_key_id,
				struct sigv4_signed *out)
{
	int length = snprintf(out->authorization, sizeof out->authorization,
			      "%s Credential=%.*s/%s, SignedHeaders=%s, Signature=%s", algorithm,
			      (int)access_key_id.bytes, access_key_id.at, sigv4->scope,
			      sigv4->names.at, out->signature);
	must(length > 0 && length < (int)sizeof out->authorization); /* by its parts' bounds */
	out->fields[out->fields_count++] =
		(struct sigv4_field){ "Authorization", { out->authorization, (size_t)length } };
}

enum err sigv4_sign(struct sigv4 *sigv4, const struct sigv4_request *request,
		    const struct sigv4_credentials *credentials, struct sigv4_signed *out)
{
	struct fields fields;
	enum err e;

	if ((e = prepare(sigv4, request, credentials, out->date)) ||
	    (e = take_fields(request, &fields)) ||
	    (e = add_own_fields(sigv4, request, credentials, out, &fields)) ||
	    (e = collect_names(sigv4, &fields)) ||
	    (e = write_signature(sigv4, request, request->target, &fields, out->date,
				 out->signature)))
		return e;
	write_authorization(sigv4, credentials->access_key_id, out);
	out->key_number = sigv4->key_number;
	return OK;
}

/* What a presigned target says beside its signature. */
static void add_presign_parameters(const struct sigv4 *sigv4,
				   const struct sigv4_credentials *credentials,
				   const char date[SIGV4_DATE_BYTES], uint32_t expires_s,
				   struct buffer *out)
{
	char text[SIGV4_KEY_ID_BYTES_MAX + 1 + SIGV4_SCOPE_BYTES];

	snprintf(text, sizeof text, "%.*s/%s", (int)credentials->access_key_id.bytes,
		 credentials->access_key_id.at, sigv4->scope);
	sigv4_add_parameter(out, "X-Amz-Algorithm", text_of(algorithm));
	sigv4_add_parameter(out, "X-Amz-Credential", text_of(text));
	sigv4_add_parameter(out, "X-Amz-Date", text_of(date));
	snprintf(text, sizeof text, "%u", expires_s);
	sigv4_add_parameter(out, "X-Amz-Expires", text_of(text));
	if (credentials->session_token.bytes)
		sigv4_add_parameter(out, "X-Amz-Security-Token", credentials->session_token);
	sigv4_add_parameter(out, "X-Amz-SignedHeaders",
			    (struct text){ sigv4->names.at, sigv4->names.bytes });
}

enum err sigv4_presign(struct sigv4 *sigv4, const struct sigv4_request *request,
		       const struct sigv4_credentials *credentials, uint32_t expires_s,
		       struct buffer *out)
{
	char date[SIGV4_DATE_BYTES], signature[SIGV4_HEX_BYTES];
	struct fields fields;
	enum err e;

	must(expires_s > 0 && expires_s <= SIGV4_EXPIRES_S_MAX);
	if ((e = prepare(sigv4, request, credentials, date)) ||
	    (e = take_fields(request, &fields)) || (e = collect_names(sigv4, &fields)))
		return e;
	buffer_reset(out);
	buffer_add(out, request->target.at, request->target.bytes);
	add_presign_parameters(sigv4, credentials, date, expires_s, out);
	if (!out->failed) {
		e = write_signature(sigv4, request, (struct text){ out->at, out->bytes }, &fields,
				    date, signature);
		if (e)
			return e;
		sigv4_add_parameter(out, "X-Amz-Signature", text_of(signature));
	}
	if (out->failed)
		return RAISE(ERR_MEMORY_EXHAUSTED,
			     "presigning a request: no room for what comes behind its target");
	return OK;
}
