#include "tests/sim/s3_talk.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "tests/sim/s3_model_state.h"
#include "tests/test.h"

#include <openssl/hmac.h>

enum { MODEL_BYTES = 256 * 1024 * 1024 };

void s3_talk_open(struct s3_talk *talk)
{
	talk->model = s3_model_open(1, MODEL_BYTES);
	talk->now_s = S3_TALK_NOW;
	talk->key = "AKIAIOSFODNN7EXAMPLE";
	talk->secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
	talk->region = "us-east-1";
	talk->host = "s3.amazonaws.com";
	snprintf(talk->model->endpoints[0].host, sizeof talk->model->endpoints[0].host, "%s",
		 talk->host);
	(void)s3_model_add_bucket(talk->model, "box", "us-east-1");
	(void)s3_model_add_user(talk->model, talk->key, talk->secret, NULL);
}

void s3_talk_close(struct s3_talk *talk)
{
	s3_model_hang_up(&talk->session);
	buffer_free(&talk->said);
	buffer_free(&talk->head);
	buffer_free(&talk->body);
	s3_model_close(&talk->model);
}

/* ---- signing ---- */

static void signing_key(const struct s3_talk *talk, const char *day, uint8_t to[32])
{
	const char *words[] = { day, talk->region, "s3", "aws4_request" };
	uint8_t key[96];
	unsigned n = 32;
	int key_bytes = snprintf((char *)key, sizeof key, "AWS4%s", talk->secret);

	for (unsigned i = 0; i < ARRAY_COUNT(words); i++) {
		must(HMAC(EVP_sha256(), key, key_bytes, (const uint8_t *)words[i], strlen(words[i]),
			  to, &n));
		memcpy(key, to, 32);
		key_bytes = 32;
	}
}

/* Up to the colon, which sorts behind the hyphen and must not count. */
static int by_name(const void *left, const void *right)
{
	const char *a = *(const char *const *)left, *b = *(const char *const *)right;
	size_t n = strcspn(a, ":"), m = strcspn(b, ":");
	int order = strncmp(a, b, min_u64(n, m));

	return order ? order : (n > m) - (n < m);
}

/* "name: value\n" lines in order as canonical headers, and their names. */
static void canonical(char *lines, struct buffer *headers, struct buffer *names)
{
	char *at[S3_TALK_FIELDS_MAX], *rest = lines;
	unsigned count = 0;

	while (count < S3_TALK_FIELDS_MAX && (at[count] = strtok_r(rest, "\n", &rest)))
		count++;
	qsort(at, count, sizeof at[0], by_name);
	for (unsigned i = 0; i < count; i++) {
		int n = (int)strcspn(at[i], ":");

		buffer_addf(headers, "%.*s:%s\n", n, at[i], at[i] + n + 2);
		buffer_addf(names, "%s%.*s", i ? ";" : "", n, at[i]);
	}
}

static void sign(const struct s3_talk *talk, const struct s3_talk_request *ask, const char *date,
		 const char *payload, const char *lines, struct buffer *to)
{
	struct buffer request = { 0 }, headers = { 0 }, names = { 0 }, what = { 0 };
	char *copy = strdup(lines), hash[65], signature[65];
	uint8_t key[32];
	char day[9];

	snprintf(day, sizeof day, "%.8s", date);
	canonical(copy, &headers, &names);
	buffer_addf(&request, "%s\n%s\n%s\n%s\n%s\n%s", ask->method, ask->path,
		    ask->query ? ask->query : "", headers.at, names.at, payload);
	s3_model_sha256_hex(request.at, request.bytes, hash);
	buffer_addf(&what, "AWS4-HMAC-SHA256\n%s\n%s/%s/s3/aws4_request\n%s", date, day,
		    talk->region, hash);
	signing_key(talk, day, key);
	s3_model_sign(key, (struct text){ what.at, what.bytes }, signature);
	buffer_addf(to,
		    "authorization: AWS4-HMAC-SHA256 Credential=%s/%s/%s/s3/aws4_request, "
		    "SignedHeaders=%s, Signature=%s\r\n",
		    talk->key, day, talk->region, names.at, signature);
	buffer_free(&request);
	buffer_free(&headers);
	buffer_free(&names);
	buffer_free(&what);
	free(copy);
}

/* 20130524T000000Z */
static void short_time(char to[20], int64_t seconds)
{
	char iso[32];

	s3_model_iso_time(iso, seconds);
	snprintf(to, 20, "%.4s%.2s%.5s%.2s%.2sZ", iso, iso + 5, iso + 8, iso + 14, iso + 17);
	to[8] = 'T';
	memcpy(to + 9, iso + 11, 2);
}

void s3_talk_write(const struct s3_talk *talk, const struct s3_talk_request *ask, struct buffer *to)
{
	const char *body = ask->body ? ask->body : "", *payload = ask->payload;
	size_t n = ask->length ? ask->length : strlen(body);
	struct buffer lines = { 0 };
	char date[20], hash[65];

	short_time(date, talk->now_s - talk->behind_s);
	s3_model_sha256_hex(body, n, hash);
	payload = payload ? payload : hash;
	buffer_addf(&lines, "host: %s\nx-amz-content-sha256: %s\nx-amz-date: %s\n%s", talk->host,
		    payload, date, ask->fields ? ask->fields : "");
	if (talk->token)
		buffer_addf(&lines, "x-amz-security-token: %s\n", talk->token);
	buffer_addf(to, "%s %s%s%s HTTP/1.1\r\n", ask->method, ask->path, ask->query ? "?" : "",
		    ask->query ? ask->query : "");
	sign(talk, ask, date, payload, lines.at, to);
	for (const char *at = lines.at; *at; at++)
		buffer_addf(to, "%s%c", *at == '\n' ? "\r" : "", *at);
	if (ask->unsigned_fields)
		buffer_add_text(to, ask->unsigned_fields);
	if (!ask->without_length)
		buffer_addf(to, "content-length: %zu\r\n", n);
	buffer_add_text(to, "\r\n");
	buffer_add(to, body, n);
	buffer_free(&lines);
}

/* ---- answers ---- */

static void take_steps(struct s3_talk *talk)
{
	struct s3_model_step step;

	while ((step = s3_model_next(talk->session)).act != S3_MODEL_IDLE) {
		if (step.act == S3_MODEL_SAY)
			buffer_add(&talk->said, step.bytes, step.length);
		else if (step.act == S3_MODEL_WAIT)
			talk->waited_ms += step.wait_ms;
		else
			talk->ended = step.act;
	}
}

/* Chunks, RFC 9112 section 7.1; a broken one ends it. */
static void join_chunks(struct s3_talk *talk, const char *at, const char *end)
{
	while (at < end) {
		char *head_end;
		size_t n = strtoul(at, &head_end, 16);

		at = head_end + 2;
		n = min_u64(n, (uint64_t)(end - at));
		buffer_add(&talk->body, at, n);
		if (n == 0)
			return;
		at += n + 2;
	}
}

static void split_answer(struct s3_talk *talk)
{
	const char *at = talk->said.bytes ? talk->said.at : "", *end;

	buffer_reset(&talk->head);
	buffer_reset(&talk->body);
	talk->status = 0;
	while ((end = strstr(at, "\r\n\r\n")) && strncmp(at, "HTTP/1.1 100", 12) == 0)
		at = end + 4;
	if (!end || sscanf(at, "HTTP/1.1 %u", &talk->status) != 1)
		return;
	buffer_add(&talk->head, at, (size_t)(end + 2 - at));
	if (strstr(talk->head.at, "Transfer-Encoding: chunked"))
		join_chunks(talk, end + 4, talk->said.at + talk->said.bytes);
	else
		buffer_add(&talk->body, end + 4,
			   (size_t)(talk->said.at + talk->said.bytes - (end + 4)));
}

void s3_talk_say(struct s3_talk *talk, const void *bytes, size_t n)
{
	size_t piece = talk->piece ? talk->piece : n;

	if (talk->ended != S3_MODEL_IDLE)
		s3_model_hang_up(&talk->session);
	if (!talk->session)
		talk->session = s3_model_accept(talk->model);
	talk->ended = S3_MODEL_IDLE;
	talk->waited_ms = 0;
	buffer_reset(&talk->said);
	for (size_t at = 0, some; at < n; at += some) {
		some = min_u64(piece, n - at);
		s3_model_hear(talk->session, talk->now_s, (const char *)bytes + at, some);
		take_steps(talk);
	}
	split_answer(talk);
}

unsigned s3_talk_ask(struct s3_talk *talk, const struct s3_talk_request *ask)
{
	struct buffer request = { 0 };

	s3_talk_write(talk, ask, &request);
	s3_talk_say(talk, request.at, request.bytes);
	buffer_free(&request);
	return talk->status;
}

bool s3_talk_field(const struct s3_talk *talk, const char *name, char *to, size_t max)
{
	char line[80];
	const char *at;

	snprintf(line, sizeof line, "\r\n%s: ", name);
	to[0] = '\0';
	if (!talk->head.bytes || !(at = strcasestr(talk->head.at, line)))
		return false;
	at += strlen(line);
	snprintf(to, max, "%.*s", (int)strcspn(at, "\r"), at);
	return true;
}

bool s3_talk_element(const struct s3_talk *talk, const char *tag, char *to, size_t max)
{
	struct text all = { talk->body.bytes ? talk->body.at : "", talk->body.bytes }, inside;

	to[0] = '\0';
	if (!s3_model_element(&all, tag, &inside))
		return false;
	snprintf(to, max, "%.*s", (int)inside.bytes, inside.at);
	return true;
}

bool s3_talk_check(const char *file, int line, struct s3_talk *talk, unsigned status,
		   const char *code, const struct s3_talk_request *ask)
{
	unsigned got = s3_talk_ask(talk, ask);
	char got_code[80] = "";

	(void)s3_talk_element(talk, "Code", got_code, sizeof got_code);
	if (got == status && strcmp(got_code, code) == 0)
		return true;
	test_failed(file, line, "%s %s?%s: answered %u %s, expected %u %s: %.300s", ask->method,
		    ask->path, ask->query ? ask->query : "", got, got_code, status, code,
		    talk->body.bytes ? talk->body.at : "");
	return false;
}
