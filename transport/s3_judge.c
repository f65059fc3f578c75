/* What S3's answers that say no mean here, and what to do about them. "Error responses" of the
 * Amazon S3 API Reference; which of them are worth another attempt, botocore's _retry.json and
 * retries/standard.py say. */
#include <stdio.h>
#include <stdlib.h>

#include "engine/clock.h"
#include "transport/aws_call.h"
#include "transport/s3_state.h"

enum {
	SKEW_S_MIN = 5 * 60, /* of the server's clock and ours; AWS bears 15 minutes */
	/* All of AWS's tokens begin alike, but nothing else does. */
	TOKEN_TOLD_BY = 16,
};

struct verdict {
	const char *code;
	enum err error;
	enum s3_again again;
};

static const struct verdict by_code[] = {
	{ "SlowDown", ERR_S3_THROTTLED, S3_LATER },
	{ "RequestLimitExceeded", ERR_S3_THROTTLED, S3_LATER },
	{ "BandwidthLimitExceeded", ERR_S3_THROTTLED, S3_LATER },
	{ "TransactionInProgressException", ERR_S3_THROTTLED, S3_LATER },
	{ "PriorRequestNotComplete", ERR_S3_THROTTLED, S3_LATER },
	{ "TooManyRequestsException", ERR_S3_THROTTLED, S3_LATER },
	{ "InternalError", ERR_S3_UNAVAILABLE, S3_LATER },
	{ "ServiceUnavailable", ERR_S3_UNAVAILABLE, S3_LATER },
	{ "RequestTimeout", ERR_S3_UNAVAILABLE, S3_LATER },
	{ "RequestTimeoutException", ERR_S3_UNAVAILABLE, S3_LATER },
	{ "IncompleteBody", ERR_S3_UNAVAILABLE, S3_LATER },
	{ "OperationAborted", ERR_S3_UNAVAILABLE, S3_LATER },
	{ "ConditionalRequestConflict", ERR_S3_UNAVAILABLE, S3_LATER },
	/* Of an upload, which is to be begun anew. */
	{ "InvalidPart", ERR_S3_UNAVAILABLE, S3_NOT_AGAIN },
	{ "BadDigest", ERR_S3_CHECKSUM, S3_LATER },
	{ "XAmzContentChecksumMismatch", ERR_S3_CHECKSUM, S3_LATER },
	{ "XAmzContentSHA256Mismatch", ERR_S3_CHECKSUM, S3_LATER },
	{ "RequestTimeTooSkewed", ERR_S3_REFUSED, S3_WITH_NEW_TIME },
	{ "ExpiredToken", ERR_AWS_EXPIRED, S3_WITH_NEW_KEYS },
	{ "ExpiredTokenException", ERR_AWS_EXPIRED, S3_WITH_NEW_KEYS },
	{ "TokenRefreshRequired", ERR_AWS_EXPIRED, S3_WITH_NEW_KEYS },
	{ "InvalidToken", ERR_S3_KEYS, S3_WITH_NEW_KEYS },
	{ "InvalidAccessKeyId", ERR_S3_KEYS, S3_WITH_NEW_KEYS }, /* deleted or switched off */
	{ "SignatureDoesNotMatch", ERR_S3_KEYS, S3_NOT_AGAIN },
	{ "NotSignedUp", ERR_S3_KEYS, S3_NOT_AGAIN },
	{ "AccessDenied", ERR_S3_DENIED, S3_NOT_AGAIN },
	{ "AccountProblem", ERR_S3_DENIED, S3_NOT_AGAIN },
	{ "AllAccessDisabled", ERR_S3_DENIED, S3_NOT_AGAIN },
	{ "NoSuchBucket", ERR_S3_BUCKET, S3_NOT_AGAIN },
	{ "NoSuchKey", ERR_S3_ABSENT, S3_NOT_AGAIN },
	{ "NoSuchUpload", ERR_S3_ABSENT, S3_NOT_AGAIN },
	{ "PreconditionFailed", ERR_S3_CHANGED, S3_NOT_AGAIN },
	{ "PermanentRedirect", ERR_S3_REGION, S3_NOT_AGAIN },
	{ "TemporaryRedirect", ERR_S3_REGION, S3_NOT_AGAIN },
	{ "IllegalLocationConstraintException", ERR_S3_REGION, S3_NOT_AGAIN },
	{ "QuotaExceeded", ERR_S3_FULL, S3_NOT_AGAIN }, /* radosgw */
	{ "EntityTooLarge", ERR_S3_FULL, S3_NOT_AGAIN },
	{ "XMinioStorageFull", ERR_S3_FULL, S3_NOT_AGAIN },
	{ "InvalidObjectState", ERR_S3_ARCHIVED, S3_NOT_AGAIN },
	{ "NotImplemented", ERR_S3_LACKS, S3_NOT_AGAIN },
	{ "MethodNotAllowed", ERR_S3_LACKS, S3_NOT_AGAIN },
};

/* Where no code is known: answers to HEAD have none, and proxies do not know any. */
static struct verdict by_status(const struct s3_call *call)
{
	switch (call->status) {
	case 301:
	case 302:
	case 307:
	case 308:
		return (struct verdict){ "", ERR_S3_REGION, S3_NOT_AGAIN };
	case 401:
		return (struct verdict){ "", ERR_S3_KEYS, S3_WITH_NEW_KEYS };
	case 403:
		return (struct verdict){ "", ERR_S3_DENIED, S3_NOT_AGAIN };
	case 404:
		return (struct verdict){ "", call->key ? ERR_S3_ABSENT : ERR_S3_BUCKET,
					 S3_NOT_AGAIN };
	case 405:
	case 501:
		return (struct verdict){ "", ERR_S3_LACKS, S3_NOT_AGAIN };
	case 412:
		return (struct verdict){ "", ERR_S3_CHANGED, S3_NOT_AGAIN };
	case 429:
		return (struct verdict){ "", ERR_S3_THROTTLED, S3_LATER };
	case 408:
	case 500:
	case 502:
	case 503:
	case 504:
		return (struct verdict){ "", ERR_S3_UNAVAILABLE, S3_LATER };
	case 507:
		return (struct verdict){ "", ERR_S3_FULL, S3_NOT_AGAIN };
	default:
		return (struct verdict){ "", ERR_S3_REFUSED, S3_NOT_AGAIN };
	}
}

static const char *region_said(const struct s3_call *call)
{
	return *call->region ? call->region : call->error.region;
}

/* An answer to HEAD has only its status: S3 says 400 of tokens that have expired, and of a region
 * that is another; 403 of a clock that is off. */
static struct verdict of_silence(const struct s3_call *call)
{
	bool is_elsewhere = *region_said(call) &&
			    strcmp(region_said(call), call->s3->config.endpoint.region) != 0;

	if (call->status == 400)
		return is_elsewhere ? (struct verdict){ "", ERR_S3_REGION, S3_NOT_AGAIN }
				    : (struct verdict){ "", ERR_AWS_EXPIRED, S3_WITH_NEW_KEYS };
	if (call->status == 403 && call->server_s &&
	    llabs(call->server_s - call->signed_s) >= SKEW_S_MIN)
		return (struct verdict){ "", ERR_S3_REFUSED, S3_WITH_NEW_TIME };
	return by_status(call);
}

/* A code decides before a status: an answer of 200 may have one. */
static struct verdict look_up(const struct s3_call *call)
{
	const char *code = call->error.code;

	for (size_t i = 0; i < ARRAY_COUNT(by_code); i++)
		if (strcmp(code, by_code[i].code) == 0)
			return by_code[i];
	if (strstr(code, "Throttl"))
		return (struct verdict){ code, ERR_S3_THROTTLED, S3_LATER };
	/* It was signed for one region and the bucket is in another; or the field is malformed. */
	if (strcmp(code, "AuthorizationHeaderMalformed") == 0 && *region_said(call))
		return (struct verdict){ code, ERR_S3_REGION, S3_NOT_AGAIN };
	if (!*code && strcmp(call->operation->method, "HEAD") == 0)
		return of_silence(call);
	return by_status(call);
}

/* If-None-Match and If-Match fail alike. */
static bool asked_for_absence(const struct s3_call *call)
{
	for (size_t i = 0; i < call->fields_count; i++)
		if (strcmp(call->fields[i].name, "if-none-match") == 0)
			return true;
	return false;
}

/* ---- texts ---- */

const char *s3_name_of(const struct s3_call *call, char *to, size_t room)
{
	const struct s3_config *config = &call->s3->config;
	char key[100];

	if (call->key)
		snprintf(to, room, "%s of %s in bucket %.64s", call->operation->name,
			 err_quote(key, sizeof key, text_of(call->key)), config->bucket);
	else
		snprintf(to, room, "%s of bucket %.64s", call->operation->name, config->bucket);
	return to;
}

/* Which permission on what, and whatever else AWS says the same word about. */
static void advise_policy(const struct s3_call *call, struct buffer *to)
{
	const struct s3_config *config = &call->s3->config;
	const struct aws_partition *partition = config->endpoint.partition;
	bool is_kms = config->encryption && strncmp(config->encryption, "aws:kms", 7) == 0;
	char key[100];

	buffer_addf(to, "allow %s", call->operation->action);
	if (call->operation->stores && config->lock_mode)
		buffer_add_text(to, ", s3:PutObjectRetention");
	if (call->operation->stores && config->legal_hold)
		buffer_add_text(to, ", s3:PutObjectLegalHold");
	buffer_addf(to, " on arn:%s:s3:::%.64s", partition ? partition->name : "aws",
		    config->bucket);
	if (call->operation->on_object)
		buffer_addf(to, "/%s", err_quote(key, sizeof key, text_of(call->key)));
	if (call->operation->stores && is_kms)
		buffer_add_text(to, ", and kms:GenerateDataKey and kms:Decrypt on the KMS key");
	if (strcmp(call->operation->action, "s3:GetObject") == 0)
		buffer_add_text(to, ", and s3:ListBucket, without which S3 says this of what is "
				    "not there, and kms:Decrypt on its KMS key if it has one");
	if (config->owner)
		buffer_addf(to, "; or the bucket is not account %s's", config->owner);
}

static void advise_region(const struct s3_call *call, struct buffer *to)
{
	const char *region = region_said(call);
	char shown[200];

	if (*region)
		buffer_addf(to, "the bucket is in region %s, not in %s: say that region",
			    err_quote(shown, sizeof shown, text_of(region)),
			    call->s3->config.endpoint.region);
	else
		buffer_addf(
			to,
			"it is not at %s in region %s%s%s: look up the bucket's region, and say "
			"that",
			call->s3->host, call->s3->config.endpoint.region,
			*call->error.endpoint ? " but at " : "",
			err_quote(shown, sizeof shown, text_of(call->error.endpoint)));
}

/* What to do next, for those that a word of ours helps with. */
static void advise(const struct s3_call *call, enum err e, struct buffer *to)
{
	const char *code = call->error.code;

	if (e == ERR_S3_DENIED)
		advise_policy(call, to);
	else if (e == ERR_S3_REGION)
		advise_region(call, to);
	else if (e == ERR_S3_KEYS)
		buffer_add_text(to, "check the access key id and its secret, and that the key is "
				    "of this service and active");
	else if (e == ERR_AWS_EXPIRED)
		buffer_addf(to,
			    "%sthe session token has expired and there is no newer one: log in "
			    "anew and run again",
			    *code ? "" : "it does not say why; most likely ");
	else if (e == ERR_S3_BUCKET)
		buffer_add_text(to, "check its name, or create it");
	else if (e == ERR_S3_FULL)
		buffer_add_text(to, "raise the quota or make room, and run again");
	else if (e == ERR_S3_CHECKSUM)
		buffer_add_text(to, "bytes are altered on the way or in memory: run again, and if "
				    "it stays so on another machine");
	else if (e == ERR_S3_CHANGED)
		buffer_add_text(to, "somebody else writes there: see who, and run again");
	else if (e == ERR_S3_THROTTLED || e == ERR_S3_UNAVAILABLE)
		buffer_add_text(to, "run again later");
	else if (e == ERR_S3_LACKS)
		buffer_add_text(to, "this server cannot do that; AWS can");
	else if (call->again == S3_WITH_NEW_TIME)
		buffer_add_text(to, "set this machine's clock");
	else if (e == ERR_S3_ARCHIVED)
		buffer_add_text(to, "it is in an archive storage class: have it restored, and run "
				    "again");
	else if (strncmp(code, "KMS.", 4) == 0)
		buffer_add_text(to, "see to the KMS key");
}

/* Both ids are what AWS's support asks for. */
static void add_ids(const struct s3_call *call, struct buffer *to)
{
	const char *request = call->request_id, *host = call->host_id;
	char shown[100];

	if (!*request && !*host) {
		buffer_addf(to, " (no request id: it may not be S3 that answers at %.100s)",
			    call->s3->host);
		return;
	}
	buffer_addf(to, " (request id %s", err_quote(shown, sizeof shown, text_of(request)));
	if (*host)
		buffer_addf(to, ", host id %s", err_quote(shown, sizeof shown, text_of(host)));
	buffer_add_text(to, ")");
}

static enum err say(const struct s3_call *call, enum err e)
{
	struct buffer text = { .bytes_max = ERR_NOTE_BYTES_MAX };
	char shown[130];

	buffer_addf(&text, "S3 answers %u", call->status);
	if (*call->error.code)
		buffer_addf(&text, " %s",
			    err_quote(shown, sizeof shown, text_of(call->error.code)));
	if (*call->error.message && (e == ERR_S3_REFUSED || e == ERR_S3_DENIED))
		buffer_addf(&text, ", \"%s\"",
			    err_quote(shown, sizeof shown, text_of(call->error.message)));
	if (call->attempt > 1)
		buffer_addf(&text, " (attempt %u)", call->attempt);
	add_ids(call, &text);
	buffer_add_text(&text, "; ");
	advise(call, e, &text);
	if (text.bytes >= 2 && text.at[text.bytes - 2] == ';')
		text.bytes -= 2;
	if (call->retry_after)
		err_retry_after(call->retry_after, ERR_OF_HOST);
	e = RAISE(e, "%.*s", (int)text.bytes, text.at ? text.at : "");
	buffer_free(&text);
	return e;
}

/* They stand in the head, too, but where somebody else made it. */
static void take_ids(struct s3_call *call)
{
	if (!*call->request_id)
		snprintf(call->request_id, sizeof call->request_id, "%s", call->error.request_id);
	if (!*call->host_id)
		snprintf(call->host_id, sizeof call->host_id, "%s", call->error.host_id);
}

/* Words that repeat the token of the session, of which they may be too short to hold all, are not
 * kept: they come into texts of errors and into the log. */
static void hide_token(struct s3_call *call)
{
	struct text hidden = { call->token.at, min_u64(call->token.bytes, TOKEN_TOLD_BY) };

	if (aws_answer_repeats(text_of(call->error.code), hidden))
		*call->error.code = '\0';
	if (aws_answer_repeats(text_of(call->error.message), hidden))
		snprintf(call->error.message, sizeof call->error.message,
			 "words that repeat the token");
}

enum err s3_judge(struct s3_call *call)
{
	struct verdict verdict;

	take_ids(call);
	hide_token(call);
	verdict = look_up(call);
	if (verdict.error == ERR_S3_CHANGED && asked_for_absence(call))
		verdict.error = ERR_S3_EXISTS;
	/* What never was good is wrong; what was may have been replaced, and new ones be there. */
	if (verdict.error == ERR_S3_KEYS && !call->s3->was_let_in)
		verdict.again = S3_NOT_AGAIN;
	call->is_judged = true;
	call->again = verdict.again;
	call->was_refused = verdict.again == S3_WITH_NEW_KEYS;
	return say(call, verdict.error);
}
