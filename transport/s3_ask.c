/* One call, sent, heard, and repeated where it may help: the only place of S3's that does. */
#include <stdio.h>
#include <stdlib.h>

#include "engine/clock.h"
#include "engine/fiber.h"
#include "engine/log.h"
#include "transport/s3_state.h"

enum {
	ERROR_BYTES_MAX = 64 * 1024, /* of a body that says no */
	SYNTAX_ATTEMPTS_MAX = 3,     /* for who does not speak S3 will not learn it */
	FIRST_ATTEMPTS_MAX = 3,	     /* where nobody ever answered: a wrong name, a closed port */
	/* As the SDKs have it ("Standard retry mode"). */
	QUOTA_MAX = 500,
	QUOTA_RETRY = 5,
	QUOTA_TIMEOUT = 10,
	/* Bodies from this size are asked for first, so that a server that is busy or elsewhere
	 * says so before they are sent. */
	EXPECT_BYTES_MIN = 1024 * 1024,
};
#define CONTINUE_WAIT	NSEC_SECOND /* as botocore */
#define BACKOFF_FIRST	NSEC_SECOND
#define BACKOFF_LAST	(20 * NSEC_SECOND)
#define RETRY_AFTER_MAX (24 * 3600 * NSEC_SECOND)

/* ---- the answer's body ---- */

static enum err feed_reader(struct s3_call *call, struct http *http, struct xml_reader *reader)
{
	size_t got;
	enum err e = OK;

	while (!e && (e = http_read(http, call->read, sizeof call->read, &got)) == OK) {
		call->bytes_received += got;
		e = xml_reader_feed(reader, (struct text){ call->read, got });
	}
	return e == ERR_STREAM_ENDED ? xml_reader_end(reader) : e;
}

static enum err read_xml(struct s3_call *call, struct http *http, uint64_t bytes_max,
			 struct xml_sheet *sheets, size_t sheets_count)
{
	struct xml_reader *reader;
	enum err e = xml_reader_open(call->s3->host, bytes_max, sheets, sheets_count, &reader);

	if (e)
		return e;
	e = feed_reader(call, http, reader);
	xml_reader_close(&reader);
	return e;
}

enum err s3_take_xml(struct s3_call *call, struct http *http, struct xml_sheet *sheets,
		     size_t sheets_count)
{
	enum err e;

	sheets[sheets_count] = (struct xml_sheet)XML_SHEET(&s3_xml_error, &call->error);
	if ((e = read_xml(call, http, S3_ANSWER_BYTES_MAX, sheets, sheets_count + 1)))
		return e;
	return sheets[sheets_count].count ? s3_judge(call) : OK;
}

enum err s3_take_nothing(struct s3_call *call, struct http *http)
{
	size_t got;
	enum err e;

	while ((e = http_read(http, call->read, sizeof call->read, &got)) == OK)
		call->bytes_received += got;
	return e == ERR_STREAM_ENDED ? OK : e;
}

/* Whoever stands in front of S3 answers in his own words: then the status says it. What breaks off
 * behind a whole <Error> is one all the same: S3 closes connections whose request it did not read.
 */
static enum err take_refusal(struct s3_call *call, struct http *http)
{
	struct xml_sheet sheet = XML_SHEET(&s3_xml_error, &call->error);
	enum err e = read_xml(call, http, ERROR_BYTES_MAX, &sheet, 1);

	if (e == ERR_FIBER_CANCELED)
		return e;
	if (e && !call->had_note)
		err_note_clear();
	if (!sheet.count)
		call->error = (struct s3_error){ .code = "" };
	return OK;
}

/* ---- the answer ---- */

/* Seconds; S3 sends no dates here. */
static nsec retry_after(struct text fields)
{
	struct text value;
	uint64_t seconds;

	if (!http_parse_field(fields, "Retry-After", &value) ||
	    !http_parse_number(value, UINT32_MAX, &seconds))
		return 0;
	return min_nsec((nsec)seconds * NSEC_SECOND, RETRY_AFTER_MAX);
}

static void note_server_time(struct s3_call *call, struct text fields)
{
	int64_t now_s = clock_wall() / NSEC_SECOND, offset_s;
	struct text date;

	if (http_parse_field(fields, "Date", &date) && sigv4_clock_offset(date, now_s, &offset_s))
		call->server_s = now_s + offset_s;
}

static enum err hear(struct s3_call *call, struct http *http, const struct http_head *head)
{
	struct text fields = head->fields;
	enum err e = OK;

	call->status = head->status;
	call->retry_after = retry_after(fields);
	http_parse_copy_field(fields, "x-amz-request-id", call->request_id,
			      sizeof call->request_id);
	http_parse_copy_field(fields, "x-amz-id-2", call->host_id, sizeof call->host_id);
	http_parse_copy_field(fields, "x-amz-bucket-region", call->region, sizeof call->region);
	call->s3->was_let_in |= head->status / 100 == 2;
	if (head->status / 100 == 2)
		return call->take ? call->take(call, http, head) : s3_take_nothing(call, http);
	note_server_time(call, fields);
	if (head->framing != HTTP_NO_BODY)
		e = take_refusal(call, http);
	return e ? e : s3_judge(call);
}

/* ---- one attempt ---- */

static uint64_t body_bytes(const struct s3_call *call)
{
	uint64_t bytes = call->body.bytes;

	for (size_t i = 0; i < call->pieces_count; i++)
		bytes += call->pieces[i].bytes;
	return bytes;
}

/* Under TLS, and under the checksum in the head, a long body need not be hashed as well. */
static enum err sign(struct s3_call *call, const struct sigv4_credentials *credentials)
{
	struct s3 *s3 = call->s3;
	struct sigv4_request request = {
		.method = call->operation->method,
		.host = text_of(s3->host),
		.target = { call->target.at, call->target.bytes },
		.fields = call->fields,
		.fields_count = call->fields_count,
	};

	if (!call->pieces_count)
		sigv4_hash(call->body.at, call->body.bytes, call->hash);
	request.payload_hash = text_of(call->pieces_count ? SIGV4_UNSIGNED_PAYLOAD : call->hash);
	call->signed_s = request.time_s = clock_wall() / NSEC_SECOND + s3->clock_offset_s;
	return sigv4_sign(s3->signer, &request, credentials, &call->signature);
}

static enum err ask_with(struct s3_call *call, struct http *http,
			 const struct sigv4_credentials *credentials, nsec until)
{
	struct http_field fields[S3_FIELDS_MAX + SIGV4_FIELDS_ADDED_MAX];
	struct http_request request = {
		.method = call->operation->method,
		.target = call->target.at,
		.fields = fields,
		.body = call->body,
		.pieces = call->pieces,
		.pieces_count = call->pieces_count,
		.first_byte = call->first_byte ? call->first_byte : call->s3->way.io_timeout,
	};
	struct http_head head;
	enum err e;

	if ((e = sign(call, credentials)))
		return e;
	for (size_t i = 0; i < call->fields_count; i++)
		fields[request.fields_count++] =
			(struct http_field){ call->fields[i].name, call->fields[i].value };
	for (size_t i = 0; i < call->signature.fields_count; i++)
		fields[request.fields_count++] =
			(struct http_field){ call->signature.fields[i].name,
					     call->signature.fields[i].value };
	call->bytes_sent = body_bytes(call);
	if (call->bytes_sent >= EXPECT_BYTES_MIN)
		request.continue_wait = CONTINUE_WAIT;
	if ((e = http_ask(http, &request, until, &head)))
		return e;
	return hear(call, http, &head);
}

static enum err ask_over(struct s3_call *call, struct http *http, nsec until)
{
	const struct s3_keys *keys = call->s3->config.keys;
	struct s3_key_loan loan = { .held = NULL };
	enum err e;

	if ((e = keys->take(keys->context, until, &loan)))
		return e;
	call->token = loan.credentials.session_token;
	e = ask_with(call, http, &loan.credentials, until);
	call->token = (struct text){ NULL, 0 };
	keys->give(keys->context, &loan, call->was_refused);
	return e;
}

/* Whoever raised it has not said what was being done. */
static void name_in_note(const struct s3_call *call)
{
	char text[ERR_NOTE_BYTES_MAX], name[S3_NAME_BYTES];
	struct err_note *note = err_note();
	int used;

	snprintf(text, sizeof text, "%s", note->text);
	used = snprintf(note->text, sizeof note->text, "%s", s3_name_of(call, name, sizeof name));
	snprintf(note->text + used, sizeof note->text - (size_t)used, ": %.*s",
		 (int)(sizeof note->text - (size_t)used - 3), text);
}

/* It came to no verdict: there was no answer, or not all of one. */
static enum s3_again after_breaking(enum err e, bool is_stale)
{
	enum err_retry class = err_retry_class(e);

	if (is_stale)
		return S3_AT_ONCE;
	return class == RETRY_NOW || class == RETRY_RECONNECT || class == RETRY_BACKOFF
		       ? S3_LATER
		       : S3_NOT_AGAIN;
}

static void forget_attempt(struct s3_call *call)
{
	call->attempt++;
	call->status = 0;
	call->is_judged = call->was_refused = false;
	call->again = S3_NOT_AGAIN;
	call->retry_after = 0;
	call->server_s = 0;
	call->bytes_sent = call->bytes_received = 0;
	call->error = (struct s3_error){ .code = "" };
	call->request_id[0] = call->host_id[0] = call->region[0] = '\0';
	if (call->begin)
		call->begin(call);
}

static enum err attempt(struct s3_call *call, nsec until)
{
	struct http_pool *pool = call->s3->config.pool;
	struct http *http = NULL;
	enum err e;

	forget_attempt(call);
	if ((e = http_pool_take(pool, &call->s3->way, until, &http)) == OK)
		e = ask_over(call, http, until);
	if (e && !call->is_judged)
		call->again = after_breaking(e, http && http_was_stale(http));
	http_pool_give(pool, &http);
	if (e && !call->had_note && err_note()->error != OK)
		name_in_note(call);
	return e;
}

/* ---- the record ---- */

static void record(struct s3_call *call, enum err e, nsec begun)
{
	const struct s3_config *config = &call->s3->config;
	const struct aws_request request = {
		.service = "s3",
		.operation = call->operation->name,
		.host = call->s3->host,
		.region = config->endpoint.region,
		.bucket = config->bucket,
		.key = call->key ? call->key : "",
		.code = call->error.code,
		.message = call->error.message,
		.request_id = call->request_id,
		.host_id = call->host_id,
		.error = e,
		.status = call->status,
		.attempt = call->attempt,
		.duration = clock_now() - begun,
		.bytes_sent = call->status ? call->bytes_sent : 0,
		.bytes_received = call->bytes_received,
	};

	aws_request_tell(config->listener, &request);
}

/* ---- repetitions ---- */

static void refund(struct s3_call *call)
{
	unsigned back = call->paid ? call->paid : 1;

	call->s3->quota = (unsigned)min_u64(call->s3->quota + back, QUOTA_MAX);
}

/* A service that fails most requests is not asked several times as often because of it. */
static bool pay(struct s3_call *call, enum err e)
{
	unsigned cost = e == ERR_NET_TIMEOUT ? QUOTA_TIMEOUT : QUOTA_RETRY;

	if (call->s3->quota < cost)
		return false;
	call->s3->quota -= cost;
	call->paid = cost;
	return true;
}

/* Full jitter, never sooner than the service asked for. */
static nsec wait_of(const struct s3_call *call)
{
	nsec most = BACKOFF_FIRST;
	uint64_t random;

	for (unsigned i = 1; i < call->attempt && most < BACKOFF_LAST; i++)
		most *= 2;
	most = min_nsec(most, BACKOFF_LAST);
	clock_random(&random, sizeof random);
	random %= (uint64_t)most + 1;
	return call->retry_after + (nsec)random;
}

static bool may_be_later(struct s3_call *call, enum err e, nsec until, nsec *at)
{
	bool is_syntax = e == ERR_HTTP_SYNTAX || e == ERR_XML_SYNTAX;
	unsigned most = is_syntax		 ? SYNTAX_ATTEMPTS_MAX
			: call->s3->was_answered ? S3_ATTEMPTS_MAX
						 : FIRST_ATTEMPTS_MAX;

	if (call->attempt >= most)
		return false;
	*at = clock_after(wait_of(call));
	return *at < until && pay(call, e);
}

/* The server's time is what it compares signatures with. Told once, not by each call under way. */
static bool correct_clock(struct s3_call *call)
{
	int64_t offset_s = call->server_s - clock_wall() / NSEC_SECOND;
	int64_t change_s = offset_s - call->s3->clock_offset_s;

	if (!call->server_s || call->had_new_time)
		return false;
	call->had_new_time = true;
	call->s3->clock_offset_s = offset_s;
	if (llabs(change_s) >= 60)
		log_event(LOG_WARN, "s3.clock",
			  "host=%s off_s=%lld next=\"set this machine's clock; requests go on with "
			  "the server's time\"",
			  call->s3->host, (long long)-offset_s);
	return true;
}

static bool may_ask_again(struct s3_call *call, enum err e, nsec until, nsec *at)
{
	*at = clock_now();
	switch (call->again) {
	case S3_NOT_AGAIN:
		return false;
	case S3_AT_ONCE:
		return call->attempt < S3_ATTEMPTS_MAX;
	case S3_LATER:
		return may_be_later(call, e, until, at);
	case S3_WITH_NEW_KEYS:
		return !call->had_new_keys && (call->had_new_keys = true);
	case S3_WITH_NEW_TIME:
		return correct_clock(call);
	}
	return false;
}

enum err s3_ask(struct s3_call *call, nsec until)
{
	nsec at;
	enum err e;

	if (call->target.failed)
		return RAISE(ERR_INPUT_USAGE, "%s in bucket %s: the key is too long",
			     call->operation->name, call->s3->config.bucket);
	call->had_note = err_note()->error != OK;
	for (;;) {
		nsec begun = clock_now();

		e = attempt(call, until);
		record(call, e, begun);
		call->s3->was_answered |= call->status != 0;
		if (!e)
			refund(call);
		if (!e || e == ERR_FIBER_CANCELED || !may_ask_again(call, e, until, &at))
			return e;
		/* No answer, one of a service that lost its way, or another request for the key is
		 * under way (409), which may be an earlier one of ours. */
		call->is_unsure |= call->status == 0 || call->status >= 500 ||
				   call->status / 100 == 2 || call->status == 409;
		if (!call->had_note)
			err_note_clear();
		if ((e = fiber_sleep(at)))
			return e;
	}
}

enum err s3_ask_head(struct s3_call *call, s3_with_words *with_words, nsec until)
{
	enum err e = s3_ask(call, until), told;
	struct err_note before;

	if ((e != ERR_S3_DENIED && e != ERR_AWS_EXPIRED) || call->had_note)
		return e;
	before = *err_note();
	err_note_clear();
	told = with_words(call->s3, call->key, until);
	if (told && told != ERR_S3_ABSENT)
		return told;
	*err_note() = before;
	return e;
}
