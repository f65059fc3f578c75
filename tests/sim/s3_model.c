/* A connection to the S3 stand-in: requests are taken apart, judged, done and answered, and meet
 * the accidents of the table. */
#include "tests/sim/s3_model_state.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum {
	SESSION_MAGIC = 0x53e5510,
	HEAD_BYTES_MAX = 32 * 1024,
	PIECES_MAX = 200,
	STEPS_MAX = 4 * PIECES_MAX, /* each piece has a wait before it */
	BREATH_MS = 20,		    /* what was said arrives before the reset */
};

struct step {
	enum s3_model_act act;
	bool is_work; /* the request is carried out now */
	size_t from, length;
	unsigned wait_ms;
};

struct s3_model_session {
	uint32_t magic;
	struct s3_model *model;
	struct buffer in, head, raw;
	struct s3_model_request *request; /* whose head has come; NULL: none */
	struct s3_model_fault fault;	  /* that it meets */
	struct s3_model_late *worked_on;  /* the request; NULL: none */
	int64_t now_s;			  /* when it was last heard of */
	bool is_chunked, ends, is_dead;
	uint64_t body_bytes; /* still to come, where not chunked */
	unsigned answered;
	struct buffer out;
	struct step steps[STEPS_MAX];
	unsigned steps_count, steps_done;
};

/* ---- what to do next ---- */

static void go_on(struct s3_model_session *);

static void add_step(struct s3_model_session *s, const struct step *step)
{
	struct step *last = s->steps_count ? &s->steps[s->steps_count - 1] : NULL;

	if (last && last->act == S3_MODEL_SAY && step->act == S3_MODEL_SAY &&
	    s->steps_count > s->steps_done) {
		last->length += step->length;
		return;
	}
	must(s->steps_count < STEPS_MAX); /* a client that reads nothing and asks on */
	s->steps[s->steps_count++] = *step;
}

/* Everything in `out` from there on. */
static void say_from(struct s3_model_session *s, size_t from, size_t length)
{
	if (length)
		add_step(s, &(struct step){ .act = S3_MODEL_SAY, .from = from, .length = length });
}

static void wait_step(struct s3_model_session *s, unsigned wait_ms)
{
	add_step(s, &(struct step){ .act = S3_MODEL_WAIT, .wait_ms = wait_ms });
}

static void end(struct s3_model_session *s, enum s3_model_act act)
{
	s->is_dead = true;
	if (act != S3_MODEL_IDLE)
		add_step(s, &(struct step){ .act = act });
}

struct s3_model_step s3_model_next(struct s3_model_session *s)
{
	const struct step *step;

	MAGIC_CHECK(s, SESSION_MAGIC);
	if (s->steps_done == s->steps_count) {
		s->steps_done = s->steps_count = 0;
		buffer_reset(&s->out);
		return (struct s3_model_step){ .act = S3_MODEL_IDLE };
	}
	step = &s->steps[s->steps_done++];
	if (step->is_work) {
		go_on(s);
		return s3_model_next(s);
	}
	return (struct s3_model_step){ .act = step->act,
				       .bytes = s->out.at ? s->out.at + step->from : "",
				       .length = step->length,
				       .wait_ms = step->wait_ms };
}

/* ---- requests ---- */

struct s3_model_request *s3_model_request_open(struct s3_model *model, int64_t now_s)
{
	struct s3_model_request *r = calloc(1, sizeof *r);

	must(r);
	r->model = model;
	r->now_s = now_s + model->clock_offset_s;
	r->status = 200;
	r->key = "";
	return r;
}

void s3_model_request_close(struct s3_model_request **request)
{
	struct s3_model_request *r = *request;

	if (!r)
		return;
	buffer_free(&r->decoded);
	buffer_free(&r->message);
	buffer_free(&r->more);
	buffer_free(&r->fields);
	buffer_free(&r->xml);
	free(r);
	*request = NULL;
}

void s3_model_work(struct s3_model_request *r, const void *raw, size_t n)
{
	if (s3_model_read_body(r, raw, n) && s3_model_check_body(r))
		s3_model_do(r);
}

/* ---- accidents ---- */

static void throw_dice(struct s3_model *model, enum s3_model_op op, struct s3_model_fault *fault)
{
	static const enum s3_model_accident usual[] = {
		S3_MODEL_ANSWERS,	   S3_MODEL_ANSWERS,	    S3_MODEL_ANSWERS_APPLIED,
		S3_MODEL_RESETS_EARLY,	   S3_MODEL_RESETS_IN_BODY, S3_MODEL_RESETS_APPLIED,
		S3_MODEL_RESETS_IN_ANSWER, S3_MODEL_LATE,	    S3_MODEL_SLOW,
		S3_MODEL_TRUNCATES,	   S3_MODEL_CONTINUES_LATE, S3_MODEL_CONTINUES_NEVER,
	};
	bool slow_down = s3_model_throw(model) % 2;

	fault->accident = usual[s3_model_throw(model) % ARRAY_COUNT(usual)];
	if (op == S3_MODEL_COMPLETE && s3_model_throw(model) % 4 == 0)
		fault->accident = S3_MODEL_ERROR_IN_200;
	fault->status = slow_down ? 503 : 500;
	fault->code = slow_down ? "SlowDown" : "InternalError";
	fault->retry_after_s = (unsigned)(s3_model_throw(model) % 3);
	fault->bytes = s3_model_throw(model) % 400;
	fault->wait_ms = (unsigned)(s3_model_throw(model) % 2000);
	fault->requests = (unsigned)(s3_model_throw(model) % 4);
}

static bool concerns(const struct s3_model_fault *fault, const struct s3_model_request *r)
{
	return (fault->op == S3_MODEL_ANY || fault->op == r->op) &&
	       (!fault->key || strncmp(r->key, fault->key, strlen(fault->key)) == 0);
}

static void choose_fault(struct s3_model_request *r, struct s3_model_fault *chosen)
{
	struct s3_model *model = r->model;

	for (unsigned i = 0; i < model->faults_count; i++) {
		struct s3_model_fault *fault = &model->faults[i];

		if (!concerns(fault, r) || fault->count == 0)
			continue;
		if (fault->skip) {
			fault->skip--;
			continue;
		}
		if (fault->one_in && s3_model_throw(model) % fault->one_in)
			continue;
		fault->count--;
		fault->met++;
		model->counts.faults++;
		*chosen = *fault;
		if (fault->accident == S3_MODEL_DICE)
			throw_dice(model, r->op, chosen);
		return;
	}
}

/* Somebody else writes under the key: the same length, another byte. */
static void change_object(struct s3_model_request *r)
{
	const struct s3_model_object *old = s3_model_object_of(r->bucket, r->key);
	struct buffer bytes = { .bytes_max = SIZE_MAX / 2 };

	if (!old)
		return;
	buffer_add(&bytes, old->bytes, old->length);
	buffer_add_text(&bytes, old->length ? "" : "x");
	bytes.at[0] ^= 1;
	(void)s3_model_plant(r->model, r->bucket, r->key, bytes.at, bytes.bytes, r->now_s);
	buffer_free(&bytes);
}

static void lose_upload(struct s3_model_request *r)
{
	const char *id = s3_model_query(r, "uploadId");
	struct s3_model_upload *upload = s3_model_upload_of(r->bucket, r->key, id ? id : "");

	if (upload)
		s3_model_drop_upload(r->model, r->bucket, upload, true);
}

/* The answer that the table wants instead of the one there is. */
static void answer_instead(struct s3_model_session *s, unsigned status, const char *code)
{
	struct s3_model_request *r = s->request;

	buffer_reset(&r->fields);
	buffer_reset(&r->xml);
	buffer_reset(&r->message);
	buffer_reset(&r->more);
	r->code = NULL;
	r->bytes_length = 0;
	if (s->fault.loses_upload)
		lose_upload(r);
	if (s->fault.retry_after_s)
		s3_model_field(r, "Retry-After", "%u", s->fault.retry_after_s);
	s3_model_refuse(r, status, code, "The table of accidents wants it so.");
}

static void alter_byte(char *at)
{
	*at = *at == 'A' ? 'B' : 'A';
}

/* The first checksum in the answer, wherever it stands. */
static void alter_checksum(char *answer, size_t n)
{
	static const char *const marks[] = { "x-amz-checksum-crc", "x-amz-checksum-sha",
					     "<ChecksumCRC", "<ChecksumSHA", "ETag: " };

	for (unsigned i = 0; i < ARRAY_COUNT(marks); i++) {
		char *at = memmem(answer, n, marks[i], strlen(marks[i]));

		if (!at)
			continue;
		at = strpbrk(at + 1, marks[i][0] == '<' ? ">" : " ");
		alter_byte(at + (marks[i][0] == 'E' ? 2 : 1));
		return;
	}
}

static void say_slowly(struct s3_model_session *s, size_t from)
{
	size_t left = s->out.bytes - from, piece = max_u64(s->fault.bytes, left / PIECES_MAX + 1);

	for (size_t n; left; left -= n, from += n) {
		n = min_u64(piece, left);
		wait_step(s, s->fault.wait_ms);
		say_from(s, from, n);
	}
}

/* Says what stands in `out` from there, as the accident wants it. */
static void say_answer(struct s3_model_session *s, size_t from, size_t body_at)
{
	size_t n = s->out.bytes - from, body = s->out.bytes - body_at;

	switch (s->fault.accident) {
	case S3_MODEL_RESETS_IN_ANSWER:
		say_from(s, from, min_u64(n, s->fault.bytes));
		wait_step(s, BREATH_MS);
		end(s, S3_MODEL_RESET);
		return;
	case S3_MODEL_TRUNCATES:
		say_from(s, from, n - body + (body ? s->fault.bytes % body : 0));
		end(s, S3_MODEL_CLOSE);
		return;
	case S3_MODEL_SLOW:
		say_slowly(s, from);
		break;
	case S3_MODEL_WRONG_CHECKSUM:
		alter_checksum(s->out.at + from, n);
		say_from(s, from, n);
		break;
	case S3_MODEL_DAMAGES:
		if (body)
			alter_byte(s->out.at + body_at + s->fault.bytes % body);
		say_from(s, from, n);
		break;
	default:
		say_from(s, from, n);
	}
	if (s->ends)
		end(s, S3_MODEL_CLOSE);
}

/* CompleteMultipartUpload: "a 200 OK response can contain either a success or an error". */
static void say_error_in_200(struct s3_model_session *s)
{
	static const char body[] =
		"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n   \n  \n<Error><Code>"
		"InternalError</Code><Message>We encountered an internal error. "
		"Please try again.</Message><RequestId>X</RequestId></Error>";
	struct s3_model_request *r = s->request;
	size_t from = s->out.bytes, body_at = 0;

	if (s->fault.loses_upload)
		lose_upload(r);
	buffer_reset(&r->xml);
	r->status = 200;
	r->bytes = (const uint8_t *)body;
	r->bytes_length = sizeof body - 1;
	s3_model_answer(r, s->ends, &s->out, &body_at);
	say_answer(s, from, body_at);
}

/* ---- a request has come in full, or is refused ---- */

static void answer(struct s3_model_session *s)
{
	struct s3_model_request *r = s->request;
	size_t from = s->out.bytes, body_at = 0;

	s->answered++;
	s->ends |= s3_model_header_is(r, "connection", "close") ||
		   (s->model->requests_max && s->answered >= s->model->requests_max);
	s->model->counts.refused += r->status >= 400;
	s->out.bytes_max = SIZE_MAX / 2;
	s3_model_answer(r, s->ends, &s->out, &body_at);
	say_answer(s, from, body_at);
}

static struct s3_model_late *put_off(struct s3_model_session *s)
{
	return s3_model_put_off(s->model, (struct text){ s->head.at, s->head.bytes },
				(struct text){ s->raw.at ? s->raw.at : "", s->raw.bytes },
				s->fault.requests);
}

/* Does it and answers, unless an accident has other plans. */
static void conclude(struct s3_model_session *s)
{
	struct s3_model_request *r = s->request;
	const struct s3_model_fault *fault = &s->fault;

	if (fault->accident == S3_MODEL_CHANGES_OBJECT)
		change_object(r);
	if (fault->accident == S3_MODEL_LATE)
		(void)put_off(s);
	else if (fault->accident == S3_MODEL_ERROR_IN_200)
		say_error_in_200(s);
	else if (fault->accident != S3_MODEL_ANSWERS && fault->accident != S3_MODEL_STALLS)
		s3_model_work(r, s->raw.at ? s->raw.at : "", s->raw.bytes);
	switch (fault->accident) {
	case S3_MODEL_LATE:
	case S3_MODEL_RESETS_APPLIED:
		end(s, S3_MODEL_RESET);
		break;
	case S3_MODEL_STALLS:
		end(s, S3_MODEL_IDLE);
		break;
	case S3_MODEL_ERROR_IN_200:
		break;
	case S3_MODEL_ANSWERS:
	case S3_MODEL_ANSWERS_APPLIED:
		answer_instead(s, fault->status, fault->code);
		answer(s);
		break;
	default:
		answer(s);
	}
}

/* ---- the head has come ---- */

static bool refuse_and_end(struct s3_model_session *s)
{
	s->ends = true;
	s->fault = (struct s3_model_fault){ 0 };
	answer(s);
	return false;
}

/* How much is to come. RFC 9112 section 6; S3 takes chunks only where it is told their sum. */
static bool read_framing(struct s3_model_session *s)
{
	struct s3_model_request *r = s->request;
	bool with_length = s3_model_header(r, "content-length");
	char length[24];

	s->body_bytes = 0;
	s->is_chunked = s3_model_header(r, "transfer-encoding");
	s3_model_header_text(r, "content-length", length, sizeof length);
	if (s->is_chunked &&
	    (with_length || !s3_model_header_is(r, "transfer-encoding", "chunked")))
		return s3_model_refuse(r, 400, "BadRequest", "The request's length is ambiguous.");
	if (s->is_chunked && !s3_model_header(r, "x-amz-decoded-content-length")) {
		s3_model_xml(&r->more, "Header", "Transfer-Encoding");
		return s3_model_refuse(r, 501, "NotImplemented",
				       "A header you provided implies functionality that is not "
				       "implemented");
	}
	if (with_length && !s3_model_number(length, &s->body_bytes))
		return s3_model_refuse(r, 400, "BadRequest", "The request's length is malformed.");
	if (!with_length && !s->is_chunked && strcmp(r->method, "PUT") == 0)
		return s3_model_refuse(r, 411, "MissingContentLength",
				       "You must provide the Content-Length HTTP header.");
	return true;
}

static void say_continue(struct s3_model_session *s)
{
	size_t from = s->out.bytes;

	if (s->fault.accident == S3_MODEL_CONTINUES_NEVER)
		return;
	if (s->fault.accident == S3_MODEL_CONTINUES_LATE)
		wait_step(s, s->fault.wait_ms);
	buffer_add_text(&s->out, "HTTP/1.1 100 Continue\r\n\r\n");
	say_from(s, from, s->out.bytes - from);
}

/* The accidents that come before anything is looked at. False: the connection is over. */
static bool survives_head(struct s3_model_session *s, int64_t now_s)
{
	struct s3_model_request *r = s->request;

	if (s->fault.accident == S3_MODEL_RESETS_EARLY) {
		end(s, S3_MODEL_RESET);
		return false;
	}
	if (s->fault.accident == S3_MODEL_JUMPS) {
		s->model->clock_offset_s += s->fault.seconds;
		r->now_s = now_s + s->model->clock_offset_s;
	}
	return true;
}

static bool judge_head(struct s3_model_session *s)
{
	struct s3_model_request *r = s->request;

	if (!s3_model_judge(r))
		return false;
	if (s->fault.accident == S3_MODEL_EXPIRES_TOKEN && r->user->token[0]) {
		r->user->expires_s = r->now_s;
		return s3_model_refuse(r, 400, "ExpiredToken", "The provided token has expired.");
	}
	return true;
}

static bool take_head(struct s3_model_session *s, int64_t now_s)
{
	const char *found = s->in.bytes ? memmem(s->in.at, s->in.bytes, "\r\n\r\n", 4) : NULL;
	size_t n = found ? (size_t)(found - s->in.at) : s->in.bytes;
	struct s3_model_request *r;
	bool waits;

	if (!found && n < HEAD_BYTES_MAX)
		return false;
	s3_model_do_late(s->model, now_s);
	s->request = r = s3_model_request_open(s->model, now_s);
	s->fault = (struct s3_model_fault){ 0 };
	buffer_reset(&s->head);
	buffer_reset(&s->raw);
	s->raw.bytes_max = SIZE_MAX / 2;
	buffer_add(&s->head, s->in.at, n);
	bytes_move(s->in.at, s->in.at + n + (found ? 4 : 0), s->in.bytes - n - (found ? 4 : 0));
	s->in.bytes -= n + (found ? 4 : 0);
	if (n >= HEAD_BYTES_MAX)
		s3_model_refuse(r, 400, "RequestHeaderSectionTooLarge",
				"Your request header section exceeds the maximum allowed size.");
	if (r->code || !s3_model_read_head(r, (struct text){ s->head.at, n }) || !read_framing(s) ||
	    !s3_model_route(r))
		return refuse_and_end(s);
	choose_fault(r, &s->fault);
	if (!survives_head(s, now_s))
		return false;
	waits = s3_model_header_is(r, "expect", "100-continue");
	if (!judge_head(s) && waits)
		return refuse_and_end(s);
	if (waits)
		say_continue(s);
	return true;
}

/* ---- the body comes ---- */

static void consume(struct s3_model_session *s, size_t n)
{
	bytes_move(s->in.at, s->in.at + n, s->in.bytes - n);
	s->in.bytes -= n;
}

/* True: one more chunk is there, of *length bytes. RFC 9112 section 7.1, without extensions. */
static bool take_chunk(struct s3_model_session *s, size_t *length)
{
	const char *line_end = s->in.bytes ? memmem(s->in.at, s->in.bytes, "\r\n", 2) : NULL;
	size_t head = line_end ? (size_t)(line_end - s->in.at) : 0;

	if (!line_end)
		return false;
	if (head == 0 || head > 8 || strspn(s->in.at, "0123456789abcdefABCDEF") != head) {
		s3_model_refuse(s->request, 400, "BadRequest", "A chunk's head is malformed.");
		*length = 0;
		return true;
	}
	*length = strtoul(s->in.at, NULL, 16);
	if (s->in.bytes < head + 2 + *length + 2)
		return false;
	buffer_add(&s->raw, s->in.at + head + 2, *length);
	consume(s, head + 2 + *length + 2);
	return true;
}

/* True: the body is there. */
static bool take_body(struct s3_model_session *s)
{
	size_t n = min_u64(s->body_bytes, s->in.bytes);

	if (s->is_chunked) {
		while (take_chunk(s, &n))
			if (n == 0)
				return true;
		return false;
	}
	if (n) {
		buffer_add(&s->raw, s->in.at, n);
		consume(s, n);
		s->body_bytes -= n;
	}
	return s->body_bytes == 0;
}

/* It takes a while, if it changes something: who goes meanwhile does not know what becomes of it.
 */
static bool is_worked_on(struct s3_model_session *s)
{
	static const bool changes[S3_MODEL_OPS] = {
		[S3_MODEL_PUT] = true,	[S3_MODEL_DELETE] = true,   [S3_MODEL_CREATE] = true,
		[S3_MODEL_PART] = true, [S3_MODEL_COMPLETE] = true, [S3_MODEL_ABORT] = true,
	};

	if (!s->model->works_ms_max || s->fault.accident || !changes[s->request->op])
		return false;
	s->worked_on = put_off(s);
	s3_model_hold(s->worked_on);
	wait_step(s, (unsigned)(s3_model_throw(s->model) % s->model->works_ms_max));
	add_step(s, &(struct step){ .is_work = true });
	return true;
}

static bool take_request(struct s3_model_session *s, int64_t now_s)
{
	bool whole;

	if (!s->request && !take_head(s, now_s))
		return false;
	whole = take_body(s);
	if (s->fault.accident == S3_MODEL_RESETS_IN_BODY && !s->request->code &&
	    (whole || s->raw.bytes >= s->fault.bytes)) {
		end(s, S3_MODEL_RESET);
		return false;
	}
	if (!whole)
		return false;
	if (s->request->code) {
		s->fault = (struct s3_model_fault){ 0 };
		answer(s);
	} else if (is_worked_on(s)) {
		return false;
	} else {
		conclude(s);
	}
	s3_model_request_close(&s->request);
	return !s->is_dead;
}

/* The work was done. */
static void go_on(struct s3_model_session *s)
{
	s3_model_take_back(s->model, &s->worked_on);
	conclude(s);
	s3_model_request_close(&s->request);
	while (!s->is_dead && !s->worked_on && take_request(s, s->now_s))
		continue;
}

struct s3_model_session *s3_model_accept(struct s3_model *model)
{
	struct s3_model_session *s = calloc(1, sizeof *s);

	must(s);
	s->magic = SESSION_MAGIC;
	s->model = model;
	return s;
}

void s3_model_hear(struct s3_model_session *s, int64_t now_s, const void *bytes, size_t n)
{
	MAGIC_CHECK(s, SESSION_MAGIC);
	if (s->is_dead)
		return;
	s->now_s = now_s;
	buffer_add(&s->in, bytes, n);
	while (!s->worked_on && take_request(s, now_s))
		continue;
	must(!s->in.failed && !s->raw.failed && !s->out.failed);
}

void s3_model_hang_up(struct s3_model_session **session)
{
	struct s3_model_session *s = *session;

	if (!s)
		return;
	MAGIC_CHECK(s, SESSION_MAGIC);
	if (s->worked_on)
		s3_model_let_go(s->model, s->worked_on);
	s3_model_request_close(&s->request);
	buffer_free(&s->in);
	buffer_free(&s->head);
	buffer_free(&s->raw);
	buffer_free(&s->out);
	free(s);
	*session = NULL;
}
