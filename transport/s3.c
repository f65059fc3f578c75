/* A bucket, and what every call begins with: see s3.h. How a call is sent and repeated is
 * s3_ask.c's, what an answer means s3_judge.c's. */
#include "transport/s3.h"

#include <stdio.h>
#include <stdlib.h>

#include "transport/residency.h"
#include "transport/s3_state.h"

enum { OWNER_DIGITS = 12, QUOTA_MAX = 500 /* of the SDKs */ };

/* ---- does it fit together? ---- */

static bool is_one_of(const char *text, const char *const *choices, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(text, choices[i]) == 0)
			return true;
	return false;
}

static enum err check_owner(const struct s3_config *config)
{
	const char *owner = config->owner;

	if (!owner || (strlen(owner) == OWNER_DIGITS && strspn(owner, "0123456789") == 12))
		return OK;
	return RAISE(
		ERR_INPUT_USAGE,
		"the owner that bucket %s is to have, \"%.40s\", is no AWS account: those have "
		"12 digits",
		config->bucket, owner);
}

static bool is_kms(const struct s3_config *config)
{
	return config->encryption && strncmp(config->encryption, "aws:kms", 7) == 0;
}

static enum err check_encryption(const struct s3_config *config)
{
	static const char *const known[] = { "AES256", "aws:kms", "aws:kms:dsse" };

	if (config->encryption && !is_one_of(config->encryption, known, ARRAY_COUNT(known)))
		return RAISE(ERR_INPUT_USAGE,
			     "encryption \"%.40s\" of bucket %s: S3 knows AES256, aws:kms and "
			     "aws:kms:dsse",
			     config->encryption, config->bucket);
	if (!is_kms(config) && (config->kms_key || config->kms_context || config->bucket_key))
		return RAISE(ERR_INPUT_USAGE,
			     "a KMS key, its context and a bucket key for bucket %s need the "
			     "encryption aws:kms",
			     config->bucket);
	if (config->bucket_key && strcmp(config->encryption, "aws:kms") != 0)
		return RAISE(
			ERR_INPUT_USAGE,
			"a bucket key for bucket %s needs the encryption aws:kms: aws:kms:dsse "
			"has none",
			config->bucket);
	return OK;
}

static enum err check_lock(const struct s3_config *config)
{
	static const char *const known[] = { "GOVERNANCE", "COMPLIANCE" };
	struct mail_date date;

	if (!config->lock_mode != !config->retain_until)
		return RAISE(ERR_INPUT_USAGE,
			     "Object Lock in bucket %s needs a mode and a date until which objects "
			     "are retained: the %s is missing",
			     config->bucket, config->lock_mode ? "date" : "mode");
	if (!config->lock_mode)
		return OK;
	if (!is_one_of(config->lock_mode, known, ARRAY_COUNT(known)))
		return RAISE(ERR_INPUT_USAGE,
			     "Object Lock mode \"%.40s\" of bucket %s: S3 knows GOVERNANCE and "
			     "COMPLIANCE",
			     config->lock_mode, config->bucket);
	if (!mail_date_from_rfc3339(text_of(config->retain_until), &date))
		return RAISE(
			ERR_INPUT_USAGE,
			"objects in bucket %s are to be retained until \"%.40s\", which is not "
			"like 2030-01-31T00:00:00Z",
			config->bucket, config->retain_until);
	return OK;
}

enum err s3_check(const struct s3_config *config)
{
	enum err e;

	must(config->checksum == CRC64NVME || config->checksum == CRC32C);
	if ((e = check_owner(config)) || (e = check_encryption(config)))
		return e;
	return check_lock(config);
}

/* ---- a bucket ---- */

/* What http.c sends as Host, which is signed. */
static void name_host(struct s3 *s3)
{
	const char *host = s3->config.endpoint.host;
	unsigned port = s3->config.endpoint.port;
	bool is_v6 = strchr(host, ':') != NULL;
	int used = snprintf(s3->host, sizeof s3->host, "%s%s%s", is_v6 ? "[" : "", host,
			    is_v6 ? "]" : "");

	if (port && port != 443)
		snprintf(s3->host + used, sizeof s3->host - (size_t)used, ":%u", port);
}

enum err s3_open(const struct s3_config *config, struct s3 **out)
{
	struct s3 *s3;
	enum err e;

	*out = NULL;
	must(config->bucket && config->way && config->pool && config->keys);
	if ((e = s3_check(config)) ||
	    (is_kms(config) && (e = residency_guard_key(config->kms_key))))
		return e;
	if (!(s3 = calloc(1, sizeof *s3)))
		return RAISE(ERR_MEMORY_EXHAUSTED, "bucket %s", config->bucket);
	s3->magic = S3_MAGIC;
	s3->config = *config;
	s3->way = *config->way;
	s3->way.host = s3->config.endpoint.host;
	s3->way.port = s3->config.endpoint.port;
	s3->way.key = s3->config.kms_key;
	s3->quota = QUOTA_MAX;
	name_host(s3);
	if ((e = sigv4_open(s3->config.endpoint.region, "s3", SIGV4_S3, &s3->signer)))
		s3_close(&s3);
	*out = s3;
	return e;
}

const struct s3_config *s3_opened_as(const struct s3 *s3)
{
	MAGIC_CHECK(s3, S3_MAGIC);
	return &s3->config;
}

void s3_close(struct s3 **closing)
{
	struct s3 *s3 = *closing;

	if (!s3)
		return;
	MAGIC_CHECK(s3, S3_MAGIC);
	sigv4_close(&s3->signer);
	free(s3);
	*closing = NULL;
}

/* ---- checksums ---- */

void s3_checksum_use(struct s3 *s3, enum crc_kind kind)
{
	MAGIC_CHECK(s3, S3_MAGIC);
	s3->config.checksum = kind;
}

const char *s3_checksum_algorithm(const struct s3 *s3)
{
	return s3->config.checksum == CRC32C ? "CRC32C" : "CRC64NVME";
}

const char *s3_checksum_field(const struct s3 *s3)
{
	return s3->config.checksum == CRC32C ? "x-amz-checksum-crc32c" : "x-amz-checksum-crc64nvme";
}

const char *s3_checksum_element(const struct s3 *s3)
{
	return s3->config.checksum == CRC32C ? "ChecksumCRC32C" : "ChecksumCRC64NVME";
}

const char *s3_checksum_of(const struct s3 *s3, const struct s3_checksums *checksums)
{
	return s3->config.checksum == CRC32C ? checksums->crc32c : checksums->crc64nvme;
}

/* ---- calls ---- */

enum err s3_call_open(struct s3 *s3, const struct s3_operation *operation, const char *key,
		      struct s3_call **out)
{
	struct s3_call *call = calloc(1, sizeof *call);
	const char *path = s3->config.endpoint.path;

	MAGIC_CHECK(s3, S3_MAGIC);
	must(!key == !operation->on_object);
	*out = call;
	if (!call)
		return RAISE(ERR_MEMORY_EXHAUSTED, "%s in bucket %s", operation->name,
			     s3->config.bucket);
	call->s3 = s3;
	call->operation = operation;
	call->key = key;
	call->target.bytes_max = S3_TARGET_BYTES_MAX;
	buffer_add_text(&call->target, path);
	if (key || !*path)
		buffer_add_text(&call->target, "/");
	if (key)
		sigv4_add_path(&call->target, text_of(key));
	s3_call_field(call, "x-amz-expected-bucket-owner", s3->config.owner);
	return OK;
}

void s3_call_close(struct s3_call **closing)
{
	if (*closing)
		buffer_free(&(*closing)->target);
	free(*closing);
	*closing = NULL;
}

void s3_call_field(struct s3_call *call, const char *name, const char *value)
{
	if (!value)
		return;
	must(call->fields_count < S3_FIELDS_MAX);
	call->fields[call->fields_count++] = (struct sigv4_field){ name, text_of(value) };
}

void s3_call_number(struct s3_call *call, const char *parameter, uint64_t value)
{
	char digits[21];

	snprintf(digits, sizeof digits, "%llu", (unsigned long long)value);
	sigv4_add_parameter(&call->target, parameter, text_of(digits));
}
