#include "transport/aws_keys.h"

#include "crypto/secret.h"
#include "engine/mail.h"
#include "transport/json.h"

/* ---- texts ---- */

/* Copied where it fits and can be sent in a header field. */
static bool take_visible(struct text from, char *to, size_t room)
{
	if (from.bytes >= room)
		return false;
	for (size_t i = 0; i < from.bytes; i++) {
		if (from.at[i] <= ' ' || from.at[i] >= 0x7f)
			return false;
		to[i] = from.at[i];
	}
	to[from.bytes] = '\0';
	return true;
}

enum err aws_keys_take(const char *what, const struct aws_keys_said *said, struct aws_keys *keys)
{
	struct mail_date date;

	*keys = (struct aws_keys){ .expires_s = 0 };
	if (said->key_id.bytes == 0 || said->secret.bytes == 0)
		return RAISE(ERR_INPUT_SECRET, "%s gives %s: both are needed", what,
			     said->key_id.bytes	  ? "an access key id without its secret key"
			     : said->secret.bytes ? "a secret key without its access key id"
						  : "no access key id and no secret key");
	if (!take_visible(said->key_id, keys->key_id, sizeof keys->key_id) ||
	    !take_visible(said->secret, keys->secret, sizeof keys->secret) ||
	    !take_visible(said->token, keys->token, sizeof keys->token))
		return RAISE(ERR_INPUT_SECRET,
			     "%s gives keys that cannot be any: too long, or with a space or what "
			     "is not ASCII in them",
			     what);
	if (said->expiration.bytes == 0)
		return OK;
	if (!mail_date_from_rfc3339(said->expiration, &date) || date.seconds <= 0)
		return RAISE(ERR_INPUT_SECRET,
			     "%s gives a time of expiry that is not like 2030-01-31T12:00:00Z",
			     what);
	keys->expires_s = date.seconds;
	return OK;
}

struct sigv4_credentials aws_keys_credentials(const struct aws_keys *keys)
{
	return (struct sigv4_credentials){ .access_key_id = text_of(keys->key_id),
					   .secret = text_of(keys->secret),
					   .session_token = *keys->token
								    ? text_of(keys->token)
								    : (struct text){ NULL, 0 } };
}

bool aws_keys_equal(const struct aws_keys *a, const struct aws_keys *b)
{
	return strcmp(a->key_id, b->key_id) == 0 && strcmp(a->secret, b->secret) == 0 &&
	       strcmp(a->token, b->token) == 0;
}

/* ---- JSON ---- */

struct said {
	uint64_t version;
	char code[64], message[256];
	char expiration[40];
	struct aws_keys keys;
};
static const struct json_field service_fields[] = {
	JSON_FIELD_OPTIONAL("Code", JSON_TEXT, struct said, code),
	JSON_FIELD_OPTIONAL("Message", JSON_TEXT, struct said, message),
	JSON_FIELD_OPTIONAL("AccessKeyId", JSON_TEXT, struct said, keys.key_id),
	JSON_FIELD_OPTIONAL("SecretAccessKey", JSON_TEXT, struct said, keys.secret),
	JSON_FIELD_OPTIONAL("Token", JSON_TEXT, struct said, keys.token),
	JSON_FIELD_OPTIONAL("Expiration", JSON_TEXT, struct said, expiration),
};
static const struct json_field process_fields[] = {
	JSON_FIELD("Version", JSON_NUMBER, struct said, version),
	JSON_FIELD_OPTIONAL("AccessKeyId", JSON_TEXT, struct said, keys.key_id),
	JSON_FIELD_OPTIONAL("SecretAccessKey", JSON_TEXT, struct said, keys.secret),
	JSON_FIELD_OPTIONAL("SessionToken", JSON_TEXT, struct said, keys.token),
	JSON_FIELD_OPTIONAL("Expiration", JSON_TEXT, struct said, expiration),
};

static enum err judge(const char *what, enum aws_keys_form form, const struct said *said,
		      struct aws_keys *keys)
{
	char code[80], message[300];

	if (*said->code && strcmp(said->code, "Success") != 0)
		return RAISE(ERR_AWS_REFUSED, "%s gives no keys: %s: \"%s\"", what,
			     err_quote(code, sizeof code, text_of(said->code)),
			     err_quote(message, sizeof message, text_of(said->message)));
	if (form == AWS_KEYS_OF_PROCESS && said->version != 1)
		return RAISE(ERR_INPUT_SECRET, "%s gives \"Version\": %llu, and only 1 is known",
			     what, (unsigned long long)said->version);
	/* A service gives keys for a while only. Without their end we would never ask again. */
	if (form == AWS_KEYS_OF_SERVICE && !*said->expiration)
		return RAISE(ERR_INPUT_SECRET, "%s gives keys without \"Expiration\"", what);
	return aws_keys_take(
		what,
		&(struct aws_keys_said){ text_of(said->keys.key_id), text_of(said->keys.secret),
					 text_of(said->keys.token), text_of(said->expiration) },
		keys);
}

enum err aws_keys_read(const char *what, enum aws_keys_form form, struct text json,
		       struct aws_keys *keys)
{
	bool is_process = form == AWS_KEYS_OF_PROCESS, is_read;
	void *room = secret_room_open(sizeof(struct said));
	struct said *said = room;
	enum err e;

	if (!room)
		return RAISE(ERR_MEMORY_EXHAUSTED, "reading keys");
	*said = (struct said){ .version = 0 };
	is_read = is_process ? json_read(json, process_fields, ARRAY_COUNT(process_fields), said)
			     : json_read(json, service_fields, ARRAY_COUNT(service_fields), said);
	if (is_read)
		e = judge(what, form, said, keys);
	else
		e = RAISE(ERR_INPUT_SECRET,
			  "%s gives no JSON object with %sAccessKeyId and "
			  "SecretAccessKey",
			  what, is_process ? "Version, " : "");
	secret_room_close(&room);
	return e;
}
