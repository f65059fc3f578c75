#include "transport/aws_metadata.h"

#include <stdio.h>
#include <strings.h>

#include "engine/clock.h"
#include "transport/aws_file.h"
#include "transport/aws_local.h"
#include "transport/aws_settings.h"
#include "transport/json.h"

#define METADATA_V4  "http://169.254.169.254"
#define METADATA_V6  "http://[fd00:ec2::254]"
#define CONTAINER_V4 "http://169.254.170.2"
#define METADATA     "the instance metadata service"
#define CONTAINER    "the container's credential endpoint"
#define ASK_TIME     (4 * NSEC_SECOND) /* they are beside us; the SDKs give them one or two */
#define TOKEN_LIFE_S "21600"
#define ROLES_TARGET "/latest/meta-data/iam/security-credentials/"
#define TOKEN_TARGET "/latest/api/token"

enum {
	METADATA_TOKEN_BYTES_MAX = 1024, /* they have 56 */
	ROLE_BYTES_MAX = 64,		 /* of a role's name, IAM */
	TOKEN_FILE_BYTES_MAX = 12 * 1024,
};

/* ---- instance metadata ---- */

bool aws_metadata_is_disabled(void)
{
	const char *value = aws_environment("AWS_EC2_METADATA_DISABLED");

	return value && strcasecmp(value, "true") == 0;
}

static enum err find_metadata(struct aws_local_place *place)
{
	const char *mode = aws_environment("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE");
	const char *url = aws_environment("AWS_EC2_METADATA_SERVICE_ENDPOINT");
	bool is_v6 = mode && strcasecmp(mode, "ipv6") == 0;

	if (mode && !is_v6 && strcasecmp(mode, "ipv4") != 0)
		return RAISE(ERR_INPUT_USAGE,
			     "$AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE is neither IPv4 nor IPv6");
	return aws_local_parse("$AWS_EC2_METADATA_SERVICE_ENDPOINT",
			       url     ? url
			       : is_v6 ? METADATA_V6
				       : METADATA_V4,
			       place);
}

/* `place` with another path, behind the one that it has. */
static enum err go_to(const struct aws_local_place *base, const char *target, const char *more,
		      struct aws_local_place *place)
{
	size_t bytes = strlen(base->target);

	while (bytes > 0 && base->target[bytes - 1] == '/')
		bytes--;
	place->address = base->address;
	if ((size_t)snprintf(place->target, sizeof place->target, "%.*s%s%s", (int)bytes,
			     base->target, target, more) < sizeof place->target)
		return OK;
	return RAISE(ERR_INPUT_USAGE, "$AWS_EC2_METADATA_SERVICE_ENDPOINT is too long");
}

/* The token's answer may travel one hop only, unless the instance is told otherwise. */
static enum err explain_silence(enum err e)
{
	char said[ERR_NOTE_BYTES_MAX];

	if (e != ERR_NET_TIMEOUT)
		return e;
	snprintf(said, sizeof said, "%s", err_note()->text);
	err_note_clear();
	return RAISE(e,
		     "%.150s (" METADATA "; inside a container on EC2 its answer needs a hop more: "
		     "modify-instance-metadata-options --http-put-response-hop-limit 2)",
		     said);
}

static enum err judge_metadata(unsigned status, const char *doing)
{
	if (status == 200)
		return OK;
	if (aws_status_is_for_now(status) || status == 401)
		return RAISE(ERR_AWS_UNAVAILABLE, METADATA " answers %u %s", status, doing);
	return RAISE(ERR_AWS_REFUSED,
		     METADATA
		     " answers %u %s: it is off for this instance, or this instance has no "
		     "role; version 1 is never asked",
		     status, doing);
}

static bool is_visible(struct text text)
{
	for (size_t i = 0; i < text.bytes; i++)
		if (text.at[i] <= ' ' || text.at[i] >= 0x7f)
			return false;
	return text.bytes > 0;
}

static enum err ask_for_token(const struct aws_local_place *base, nsec until,
			      struct aws_answer *answer)
{
	const struct http_field life = { "X-aws-ec2-metadata-token-ttl-seconds",
					 text_of(TOKEN_LIFE_S) };
	const struct http_request request = { .method = "PUT", .fields = &life, .fields_count = 1 };
	struct aws_local_place place;
	enum err e;

	if ((e = go_to(base, TOKEN_TARGET, "", &place)) ||
	    (e = aws_local_ask(&place, &request, min_nsec(until, clock_after(ASK_TIME)), answer)))
		return explain_silence(e);
	if ((e = judge_metadata(answer->status, "the request for a token")))
		return e;
	if (is_visible(answer->body) && answer->body.bytes <= METADATA_TOKEN_BYTES_MAX)
		return OK;
	return RAISE(ERR_HTTP_SYNTAX, METADATA " gives a token that cannot be one");
}

static enum err ask_metadata(const struct aws_local_place *base, const char *role,
			     const char *doing, struct text token, nsec until,
			     struct aws_answer *answer)
{
	const struct http_field field = { "X-aws-ec2-metadata-token", token };
	const struct http_request request = { .method = "GET",
					      .fields = &field,
					      .fields_count = 1 };
	struct aws_local_place place;
	enum err e;

	if ((e = go_to(base, ROLES_TARGET, role, &place)) ||
	    (e = aws_local_ask(&place, &request, min_nsec(until, clock_after(ASK_TIME)), answer)))
		return e;
	return judge_metadata(answer->status, doing);
}

/* The first line of the list; there never was a second one. */
static enum err take_role(struct text list, char role[ROLE_BYTES_MAX + 1])
{
	size_t n = 0;

	for (; n < list.bytes && list.at[n] != '\n' && list.at[n] != '\r'; n++) {
		char c = list.at[n];

		if (n == ROLE_BYTES_MAX || !((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
					     (c >= '0' && c <= '9') || (c && strchr("_+=,.@-", c))))
			return RAISE(ERR_HTTP_SYNTAX, METADATA " names a role that cannot be one");
		role[n] = c;
	}
	role[n] = '\0';
	return n ? OK : RAISE(ERR_AWS_REFUSED, METADATA " says that this instance has no role");
}

static enum err fetch_with(const struct aws_local_place *base, struct text token, nsec until,
			   struct aws_keys *keys)
{
	struct aws_answer list = { 0 }, answer = { 0 };
	char role[ROLE_BYTES_MAX + 1];
	enum err e;

	if ((e = ask_metadata(base, "", "the question for its role", token, until, &list)) == OK &&
	    (e = take_role(list.body, role)) == OK &&
	    (e = ask_metadata(base, role, "the question for keys", token, until, &answer)) == OK)
		e = aws_keys_read(METADATA, AWS_KEYS_OF_SERVICE, answer.body, keys);
	aws_answer_close(&list);
	aws_answer_close(&answer);
	return e;
}

enum err aws_metadata_fetch(nsec until, struct aws_keys *keys)
{
	struct aws_answer token = { 0 };
	struct aws_local_place base;
	enum err e;

	if ((e = find_metadata(&base)))
		return e;
	if ((e = ask_for_token(&base, until, &token)) == OK)
		e = fetch_with(&base, token.body, until, keys);
	aws_answer_close(&token);
	return e;
}

/* ---- containers ---- */

bool aws_container_is_named(void)
{
	return aws_environment("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") ||
	       aws_environment("AWS_CONTAINER_CREDENTIALS_FULL_URI");
}

/* What is sent as Authorization; {"", 0}: nothing. */
static enum err read_token(nsec until, struct aws_file *file)
{
	const char *path = aws_environment("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
	const char *token = aws_environment("AWS_CONTAINER_AUTHORIZATION_TOKEN");
	enum err e;

	if (!path)
		return aws_file_of("$AWS_CONTAINER_AUTHORIZATION_TOKEN",
				   text_of(token ? token : ""), TOKEN_FILE_BYTES_MAX, file);
	if ((e = aws_file_read(path, TOKEN_FILE_BYTES_MAX, until, file)))
		return e;
	if (file->text.bytes > 0 && file->text.at[file->text.bytes - 1] == '\n')
		file->text.bytes--;
	return file->text.bytes > 0 && http_parse_is_value(file->text)
		       ? OK
		       : RAISE(ERR_INPUT_SECRET, "%s holds no token of one line", path);
}

static enum err ask_local(const char *what, const char *url, const struct http_request *request,
			  nsec until, struct aws_answer *answer)
{
	struct aws_local_place place;
	enum err e = aws_local_parse(what, url, &place);

	return e ? e
		 : aws_local_ask(&place, request, min_nsec(until, clock_after(ASK_TIME)), answer);
}

static enum err ask_over_tls(const char *what, const char *text, const struct account *way,
			     struct http_request *request, nsec until, struct aws_answer *answer)
{
	struct account account = *way;
	struct http_url url;
	enum err e = http_url_parse(what, text, &url);

	if (e)
		return e;
	account.host = url.host;
	account.port = url.port;
	request->target = url.target;
	request->first_byte = way->io_timeout;
	return aws_call(&account, request, until, answer);
}

static enum err ask_container(const struct account *way, struct http_request *request, nsec until,
			      struct aws_answer *answer)
{
	const char *relative = aws_environment("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
	const char *full = aws_environment("AWS_CONTAINER_CREDENTIALS_FULL_URI");
	char url[AWS_LOCAL_TARGET_BYTES_MAX + sizeof CONTAINER_V4];

	if (!relative && strncmp(full, "https://", 8) == 0)
		return ask_over_tls("$AWS_CONTAINER_CREDENTIALS_FULL_URI", full, way, request,
				    until, answer);
	if (!relative)
		return ask_local("$AWS_CONTAINER_CREDENTIALS_FULL_URI", full, request, until,
				 answer);
	if (*relative != '/' ||
	    (size_t)snprintf(url, sizeof url, CONTAINER_V4 "%s", relative) >= sizeof url)
		return RAISE(ERR_INPUT_USAGE,
			     "$AWS_CONTAINER_CREDENTIALS_RELATIVE_URI is no path, or too long");
	return ask_local("$AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", url, request, until, answer);
}

struct complaint {
	char code[64], message[200];
};
static const struct json_field complaint_fields[] = {
	JSON_FIELD_OPTIONAL("code", JSON_TEXT, struct complaint, code),
	JSON_FIELD_OPTIONAL("message", JSON_TEXT, struct complaint, message),
};

static enum err judge_container(const struct aws_answer *answer, struct text token)
{
	enum err e = aws_status_is_for_now(answer->status) ? ERR_AWS_UNAVAILABLE : ERR_AWS_REFUSED;
	struct complaint said = { .code = "" };
	char code[80], message[240];

	if (answer->status == 200)
		return OK;
	if (!json_read(answer->body, complaint_fields, ARRAY_COUNT(complaint_fields), &said) ||
	    aws_answer_repeats(answer->body, token) ||
	    aws_answer_repeats(text_of(said.code), token) ||
	    aws_answer_repeats(text_of(said.message), token))
		said = (struct complaint){ .code = "no reason that can be shown" };
	return RAISE(e, CONTAINER " answers with status %u: %s: \"%s\"", answer->status,
		     err_quote(code, sizeof code, text_of(said.code)),
		     err_quote(message, sizeof message, text_of(said.message)));
}

enum err aws_container_fetch(const struct account *way, nsec until, struct aws_keys *keys)
{
	struct http_field fields[2] = { { "Accept", text_of("application/json") } };
	/* The path names whose keys are given, and is all that some agents ask for. */
	struct http_request request = {
		.method = "GET", .fields = fields, .fields_count = 1, .hides_target = true
	};
	struct aws_answer answer = { 0 };
	struct aws_file token = { 0 };
	enum err e;

	must(aws_container_is_named());
	if ((e = read_token(until, &token)) == OK && token.text.bytes > 0)
		fields[request.fields_count++] = (struct http_field){ "Authorization", token.text };
	if (e == OK && (e = ask_container(way, &request, until, &answer)) == OK &&
	    (e = judge_container(&answer, token.text)) == OK)
		e = aws_keys_read(CONTAINER, AWS_KEYS_OF_SERVICE, answer.body, keys);
	aws_answer_close(&answer);
	aws_file_close(&token);
	return e;
}
