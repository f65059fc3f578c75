#include "transport/aws_sts.h"

#include <stdio.h>
#include <stdlib.h>

#include "crypto/secret.h"
#include "engine/clock.h"
#include "transport/xml_form.h"

enum {
	/* A token of 20,000 characters, which mostly need no escape; fifty tags with every byte
	 * escaped and a policy. */
	FORM_BYTES_MAX = 128 * 1024,
	DURATION_S_MIN = 900,
	DURATION_S_MAX = 43200,
	POLICY_BYTES_MAX = 2048, /* what STS lets through, after packing it */
	CODE_DIGITS = 6,
	NAME_BYTES_MAX = 64,
};
#define NAME_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+=,.@-"

/* ---- parameters ---- */

static enum err check_text(const char *what, const char *text, const char *chars, size_t least,
			   size_t most)
{
	size_t n = text ? strlen(text) : 0;

	if (!text || (n >= least && n <= most && (!chars || !text[strspn(text, chars)])))
		return OK;
	return RAISE(ERR_INPUT_USAGE, "%s is nothing that STS takes: %zu to %zu characters%s%s",
		     what, least, most, chars ? " of " : "", chars ? chars : "");
}

static enum err check_tags(const struct aws_role *role)
{
	enum err e = OK;

	if (role->tags_count > AWS_TAGS_MAX)
		return RAISE(ERR_INPUT_USAGE, "a role takes no more than %d session tags",
			     AWS_TAGS_MAX);
	for (size_t i = 0; i < role->tags_count && !e; i++)
		if ((e = check_text("the key of a session tag", role->tags[i].key, NULL, 1,
				    4 * 128)) == OK)
			e = check_text("the value of a session tag", role->tags[i].value, NULL, 0,
				       4 * 256);
	return e;
}

static bool is_code(struct text code)
{
	for (size_t i = 0; i < code.bytes; i++)
		if (code.at[i] < '0' || code.at[i] > '9')
			return false;
	return code.bytes == CODE_DIGITS;
}

/* A role lies in the partition of the STS that is asked for it: there is no way across. */
static enum err check_partition(const struct aws_role *role, const struct aws_endpoint *sts)
{
	struct aws_arn arn;
	enum err e = aws_arn_parse("the role", role->arn, &arn);

	if (e)
		return e;
	if (!text_equal(arn.service, text_of("iam")))
		return RAISE(ERR_INPUT_USAGE, "%.200s is not the ARN of a role", role->arn);
	if (sts->partition && !text_equal(arn.partition, text_of(sts->partition->name)))
		return RAISE(ERR_INPUT_USAGE,
			     "the role %.150s is of another partition than the region %s, which is "
			     "of %s: no role can be assumed across partitions",
			     role->arn, sts->region, sts->partition->name);
	return OK;
}

static enum err check_role(const struct aws_role *role, const struct aws_endpoint *sts)
{
	enum err e;

	if (role->duration_s &&
	    (role->duration_s < DURATION_S_MIN || role->duration_s > DURATION_S_MAX))
		return RAISE(ERR_INPUT_USAGE,
			     "the duration of a role's session is %d to %d s, not %u",
			     DURATION_S_MIN, DURATION_S_MAX, role->duration_s);
	if ((e = check_partition(role, sts)) ||
	    (e = check_text("the name of a role's session", role->session_name, NAME_CHARS, 2,
			    NAME_BYTES_MAX)) ||
	    (e = check_text("the external id", role->external_id, NAME_CHARS ":/", 2, 1224)) ||
	    (e = check_text("the serial number of the MFA device", role->mfa_serial,
			    NAME_CHARS ":/", 9, 256)) ||
	    (e = check_text("the source identity", role->source_identity, NAME_CHARS, 2,
			    NAME_BYTES_MAX)) ||
	    (e = check_text("the session policy", role->policy, NULL, 1, POLICY_BYTES_MAX)))
		return e;
	return check_tags(role);
}

/* ---- the form ---- */

/* application/x-www-form-urlencoded, in guarded memory that does not grow. */
static void add(struct buffer *form, const char *name, struct text value)
{
	buffer_addf(form, "%s%s=", form->bytes ? "&" : "", name);
	sigv4_add_encoded(form, value, SIGV4_SLASH_ENCODED);
}

static void add_text(struct buffer *form, const char *name, const char *value)
{
	if (value)
		add(form, name, text_of(value));
}

static void add_session(struct buffer *form, const char *action, const struct aws_role *role)
{
	char name[48], duration[16];

	snprintf(name, sizeof name, "mailhaul-%lld", (long long)(clock_wall() / NSEC_SECOND));
	snprintf(duration, sizeof duration, "%u", role->duration_s);
	add_text(form, "Action", action);
	add_text(form, "Version", "2011-06-15");
	add_text(form, "RoleArn", role->arn);
	add_text(form, "RoleSessionName", role->session_name ? role->session_name : name);
	if (role->duration_s)
		add_text(form, "DurationSeconds", duration);
	add_text(form, "Policy", role->policy);
}

static void add_tags(struct buffer *form, const struct aws_role *role)
{
	char name[40];

	for (size_t i = 0; i < role->tags_count; i++) {
		snprintf(name, sizeof name, "Tags.member.%zu.Key", i + 1);
		add_text(form, name, role->tags[i].key);
		snprintf(name, sizeof name, "Tags.member.%zu.Value", i + 1);
		add_text(form, name, role->tags[i].value);
	}
}

/* ---- the answer ---- */

struct credentials {
	char key_id[AWS_KEY_ID_BYTES_MAX + 1];
	char secret[AWS_SECRET_BYTES_MAX + 1];
	char token[AWS_TOKEN_BYTES_MAX + 1];
	char expiration[40];
};
static const struct xml_field credentials_fields[] = {
	XML_FIELD_REQUIRED("AccessKeyId", XML_CHARS, struct credentials, key_id),
	XML_FIELD_REQUIRED("SecretAccessKey", XML_CHARS, struct credentials, secret),
	XML_FIELD_REQUIRED("SessionToken", XML_CHARS, struct credentials, token),
	XML_FIELD_REQUIRED("Expiration", XML_CHARS, struct credentials, expiration),
};
static const struct xml_form role_form = XML_FORM("AssumeRoleResponse/AssumeRoleResult/Credentials",
						  struct credentials, credentials_fields);
static const struct xml_form by_token_form =
	XML_FORM("AssumeRoleWithWebIdentityResponse/AssumeRoleWithWebIdentityResult/Credentials",
		 struct credentials, credentials_fields);

static const struct xml_field refusal_fields[] = {
	XML_FIELD("Code", XML_CHARS_CUT, struct aws_sts_refusal, code),
	XML_FIELD("Message", XML_CHARS_CUT, struct aws_sts_refusal, message),
};
static const struct xml_form refusal_form =
	XML_FORM("ErrorResponse/Error", struct aws_sts_refusal, refusal_fields);

/* "Common Error Types" and "Errors" of both actions: what passes by itself. */
static bool is_for_now(unsigned status, const char *code)
{
	static const char *const codes[] = { "Throttling",	     "ThrottlingException",
					     "RequestLimitExceeded", "ServiceUnavailable",
					     "InternalFailure",	     "IDPCommunicationError" };

	for (size_t i = 0; i < ARRAY_COUNT(codes); i++)
		if (strcmp(code, codes[i]) == 0)
			return true;
	return aws_status_is_for_now(status);
}

/* As it came, or with its characters by number. */
static bool repeats(struct text hidden, struct text body, const struct aws_sts_refusal *said)
{
	return aws_answer_repeats(body, hidden) ||
	       aws_answer_repeats(text_of(said->code), hidden) ||
	       aws_answer_repeats(text_of(said->message), hidden);
}

static enum err refused(const char *shown, unsigned status, struct text body, struct text hidden,
			struct aws_sts_refusal *said)
{
	struct xml_sheet sheet = XML_SHEET(&refusal_form, said);
	char code[100], message[sizeof said->message + 60];
	enum err e;

	if (xml_form_read(shown, body, &sheet, 1) || !*said->code) {
		err_note_clear();
		*said = (struct aws_sts_refusal){ .code = "" };
		return RAISE(is_for_now(status, "") ? ERR_AWS_UNAVAILABLE : ERR_AWS_REFUSED,
			     "%s answers with status %u and no reason that can be read", shown,
			     status);
	}
	e = is_for_now(status, said->code) ? ERR_AWS_UNAVAILABLE : ERR_AWS_REFUSED;
	if (repeats(hidden, body, said)) {
		*said = (struct aws_sts_refusal){ .code = "" };
		return RAISE(e, "%s refuses the role (status %u) in words that repeat the token",
			     shown, status);
	}
	return RAISE(e, "%s refuses the role (status %u): %s: \"%s\"", shown, status,
		     err_quote(code, sizeof code, text_of(said->code)),
		     err_quote(message, sizeof message, text_of(said->message)));
}

static enum err read_keys(const char *shown, struct text body, struct credentials rooms[2],
			  struct aws_keys *out)
{
	struct xml_sheet sheets[] = { XML_SHEET(&role_form, &rooms[0]),
				      XML_SHEET(&by_token_form, &rooms[1]) };
	const struct credentials *said;
	enum err e = xml_form_read(shown, body, sheets, ARRAY_COUNT(sheets));

	if (e)
		return e;
	if (sheets[0].count + sheets[1].count == 0)
		return RAISE(ERR_INPUT_SECRET, "%s answers with no Credentials", shown);
	said = sheets[0].count ? &rooms[0] : &rooms[1];
	return aws_keys_take(shown,
			     &(struct aws_keys_said){ text_of(said->key_id), text_of(said->secret),
						      text_of(said->token),
						      text_of(said->expiration) },
			     out);
}

enum err aws_sts_read(const char *shown, unsigned status, struct text body, struct text hidden,
		      struct aws_keys *out, struct aws_sts_refusal *said)
{
	void *room;
	enum err e;

	*said = (struct aws_sts_refusal){ .code = "" };
	if (status != 200)
		return refused(shown, status, body, hidden, said);
	if (!(room = secret_room_open(2 * sizeof(struct credentials))))
		return RAISE(ERR_MEMORY_EXHAUSTED, "reading the answer of STS");
	e = read_keys(shown, body, room, out);
	secret_room_close(&room);
	return e;
}

/* ---- asking ---- */

struct asking {
	const char *action;
	const struct aws_listener *listener;
	struct aws_endpoint sts;
	struct account account;
	char shown[AWS_HOST_BYTES_MAX + 16];
	char host_field[AWS_HOST_FIELD_BYTES];
	char target[AWS_PATH_BYTES_MAX + 2];
	void *room; /* of the form */
	struct buffer form;
};

static void close_asking(struct asking **asking)
{
	if (*asking)
		secret_room_close(&(*asking)->room);
	free(*asking);
	*asking = NULL;
}

static enum err begin(const struct aws_sts *from, const char *action, const struct aws_role *role,
		      struct asking **out)
{
	struct asking *asking = calloc(1, sizeof *asking);
	enum err e;

	*out = asking;
	if (!asking || !(asking->room = secret_room_open(FORM_BYTES_MAX)))
		return RAISE(ERR_MEMORY_EXHAUSTED, "asking STS for a role");
	asking->form = (struct buffer){ .at = asking->room,
					.room = FORM_BYTES_MAX,
					.bytes_max = FORM_BYTES_MAX - 1 };
	if ((e = aws_settings_endpoint(from->settings, AWS_STS, NULL, &asking->sts)) ||
	    (e = check_role(role, &asking->sts)))
		return e;
	asking->action = action;
	asking->listener = from->listener;
	asking->account = *from->way;
	asking->account.host = asking->sts.host;
	asking->account.port = asking->sts.port;
	if (*from->settings->ca_file)
		asking->account.ca_file = from->settings->ca_file;
	snprintf(asking->shown, sizeof asking->shown, "STS at %s", asking->sts.host);
	snprintf(asking->target, sizeof asking->target, "%s/", asking->sts.path);
	aws_host_field(asking->sts.host, asking->sts.port, asking->host_field);
	return OK;
}

static void tell(const struct asking *asking, enum err e, const struct aws_answer *answer,
		 const struct aws_sts_refusal *said, nsec begun)
{
	const struct aws_request request = {
		.service = "sts",
		.operation = asking->action,
		.host = asking->host_field,
		.region = asking->sts.region,
		.bucket = "",
		.key = "",
		.code = said->code,
		.message = said->message,
		.request_id = answer->request_id,
		.host_id = "",
		.error = e,
		.status = answer->status,
		.duration = clock_now() - begun,
		.bytes_sent = answer->status ? asking->form.bytes : 0,
		.bytes_received = answer->body.bytes,
	};

	aws_request_tell(asking->listener, &request);
}

static enum err post(struct asking *asking, const struct http_field *fields, size_t fields_count,
		     nsec until, struct text hidden, struct aws_keys *keys)
{
	const struct http_request request = { .method = "POST",
					      .target = asking->target,
					      .fields = fields,
					      .fields_count = fields_count,
					      .body = { asking->form.at, asking->form.bytes },
					      .first_byte = asking->account.io_timeout };
	struct aws_sts_refusal said = { .code = "" };
	struct aws_answer answer;
	nsec begun = clock_now();
	enum err e = aws_call(&asking->account, &request, until, &answer);

	if (e == OK)
		e = aws_sts_read(asking->shown, answer.status, answer.body, hidden, keys, &said);
	tell(asking, e, &answer, &said, begun);
	aws_answer_close(&answer);
	return e;
}

static const struct http_field content_type = { "Content-Type",
						{ "application/x-www-form-urlencoded", 33 } };

static enum err sign_and_post(struct asking *asking, struct sigv4 *sigv4, nsec until,
			      struct aws_keys *keys)
{
	const struct sigv4_field signed_field = { content_type.name, content_type.value };
	struct http_field fields[1 + SIGV4_FIELDS_ADDED_MAX] = { content_type };
	const struct sigv4_credentials credentials = aws_keys_credentials(keys);
	char hash[SIGV4_HEX_BYTES];
	struct sigv4_request request = { .method = "POST",
					 .host = text_of(asking->host_field),
					 .target = text_of(asking->target),
					 .fields = &signed_field,
					 .fields_count = 1,
					 .time_s = clock_wall() / NSEC_SECOND };
	struct sigv4_signed signature;
	enum err e;

	sigv4_hash(asking->form.at, asking->form.bytes, hash);
	request.payload_hash = text_of(hash);
	if ((e = sigv4_sign(sigv4, &request, &credentials, &signature)))
		return e;
	for (size_t i = 0; i < signature.fields_count; i++)
		fields[1 + i] =
			(struct http_field){ signature.fields[i].name, signature.fields[i].value };
	return post(asking, fields, 1 + signature.fields_count, until, (struct text){ NULL, 0 },
		    keys);
}

static enum err too_long(void)
{
	return RAISE(ERR_INPUT_USAGE,
		     "what is to be sent to STS for a role is longer than %d bytes",
		     FORM_BYTES_MAX);
}

enum err aws_sts_assume(const struct aws_sts *from, const struct aws_role *role, struct text code,
			nsec until, struct aws_keys *keys)
{
	struct asking *asking = NULL;
	struct sigv4 *sigv4 = NULL;
	enum err e;

	if ((e = begin(from, "AssumeRole", role, &asking)))
		goto out;
	must(!code.at == !role->mfa_serial);
	if (code.at && !is_code(code)) {
		e = RAISE(ERR_INPUT_SECRET, "the code for the MFA device %.200s is not six digits",
			  role->mfa_serial);
		goto out;
	}
	add_session(&asking->form, asking->action, role);
	add_text(&asking->form, "ExternalId", role->external_id);
	add_text(&asking->form, "SerialNumber", role->mfa_serial);
	if (code.at)
		add(&asking->form, "TokenCode", code);
	add_text(&asking->form, "SourceIdentity", role->source_identity);
	add_tags(&asking->form, role);
	e = asking->form.failed ? too_long() : OK;
	if (e || (e = sigv4_open(asking->sts.region, "sts", SIGV4_OTHERS, &sigv4)))
		goto out;
	e = sign_and_post(asking, sigv4, until, keys);
out:
	sigv4_close(&sigv4);
	close_asking(&asking);
	return e;
}

enum err aws_sts_assume_by_token(const struct aws_sts *from, const struct aws_role *role,
				 struct text token, nsec until, struct aws_keys *out)
{
	struct asking *asking = NULL;
	enum err e = begin(from, "AssumeRoleWithWebIdentity", role, &asking);

	if (e == OK) {
		add_session(&asking->form, asking->action, role);
		add(&asking->form, "WebIdentityToken", token);
		e = asking->form.failed ? too_long()
					: post(asking, &content_type, 1, until, token, out);
	}
	close_asking(&asking);
	return e;
}
