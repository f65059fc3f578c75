#include "transport/aws_call.h"

#include <stdio.h>

#include "crypto/secret.h"
#include "engine/clock.h"

enum { HTTPS_PORT = 443 };
#define GOODBYE_TIME NSEC_SECOND

void aws_answer_close(struct aws_answer *answer)
{
	secret_room_close(&answer->room);
	*answer = (struct aws_answer){ .room = NULL };
}

bool aws_answer_repeats(struct text shown, struct text hidden)
{
	return hidden.bytes > 0 && shown.bytes >= hidden.bytes &&
	       memmem(shown.at, shown.bytes, hidden.at, hidden.bytes);
}

void aws_host_field(const char *host, uint16_t port, char to[AWS_HOST_FIELD_BYTES])
{
	bool is_v6 = strchr(host, ':') != NULL;
	int n = snprintf(to, AWS_HOST_FIELD_BYTES, "%s%s%s", is_v6 ? "[" : "", host,
			 is_v6 ? "]" : "");

	must(n > 0 && n < AWS_HOST_FIELD_BYTES - 6);
	if (port && port != HTTPS_PORT)
		snprintf(to + n, AWS_HOST_FIELD_BYTES - (size_t)n, ":%u", port);
}

bool aws_status_is_for_now(unsigned status)
{
	return status == 429 || status >= 500;
}

static enum err read_body(struct http *http, const char *host, struct aws_answer *answer)
{
	char *room = answer->room;
	size_t used = 0, got;
	enum err e = OK;

	while (!e && used < AWS_ANSWER_BYTES_MAX) {
		e = http_read(http, room + used, AWS_ANSWER_BYTES_MAX - used, &got);
		used += e ? 0 : got;
	}
	answer->body = (struct text){ room, used };
	if (used == AWS_ANSWER_BYTES_MAX)
		return RAISE(ERR_HTTP_SYNTAX, "%s answers with %d bytes or more", host,
			     AWS_ANSWER_BYTES_MAX);
	return e == ERR_STREAM_ENDED ? OK : e;
}

static enum err ask(struct http *http, const struct account *account,
		    const struct http_request *request, nsec until, struct aws_answer *answer)
{
	struct http_head head;
	enum err e = http_ask(http, request, until, &head);

	if (e || (e = read_body(http, account->host, answer)))
		return e;
	answer->status = head.status;
	http_parse_copy_field(head.fields, "x-amzn-RequestId", answer->request_id,
			      sizeof answer->request_id);
	if (http_finish(http, min_nsec(until, clock_after(GOODBYE_TIME))))
		err_note_clear();
	return OK;
}

enum err aws_call(const struct account *account, const struct http_request *request, nsec until,
		  struct aws_answer *answer)
{
	struct http *http = NULL;
	enum err e;

	*answer = (struct aws_answer){ .room = secret_room_open(AWS_ANSWER_BYTES_MAX) };
	if (!answer->room)
		return RAISE(ERR_MEMORY_EXHAUSTED, "asking %s", account->host);
	if ((e = http_open(account, until, &http)) == OK)
		e = ask(http, account, request, until, answer);
	http_close(&http);
	if (e)
		aws_answer_close(answer);
	return e;
}
