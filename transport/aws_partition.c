#include "transport/aws_partition.h"

#include <ctype.h>
#include <stdio.h>
#include <strings.h>

#include "engine/bytes.h"
#include "transport/http.h"
#include "transport/resolve.h"

/* What a partition does not have. */
enum {
	AWS_WITHOUT_S3_FIPS = 1,
	AWS_WITHOUT_STS_FIPS_NAME = 2, /* all of STS is FIPS there, under its plain name */
};

static const struct aws_partition partitions[] = {
#define PARTITION(name_, suffix, dual, prefixes_, regions_, without_)                              \
	{ .name = (name_),                                                                         \
	  .dns_suffix = (suffix),                                                                  \
	  .dual_stack_suffix = (dual),                                                             \
	  .prefixes = (prefixes_),                                                                 \
	  .regions = (regions_),                                                                   \
	  .without = (without_) },
#include "transport/aws_partition.def"
#undef PARTITION
};

const char *aws_service_name(enum aws_service service)
{
	static const char *const names[AWS_SERVICES] = { "s3", "kms", "sts" };

	must((unsigned)service < AWS_SERVICES);
	return names[service];
}

/* ---- regions ---- */

static bool is_lower(char c)
{
	return c >= 'a' && c <= 'z';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* The next word of a list with spaces between; false at its end. */
static bool next_word(const char **list, struct text *word)
{
	*list += strspn(*list, " ");
	*word = (struct text){ *list, strcspn(*list, " ") };
	*list += word->bytes;
	return word->bytes > 0;
}

/* "central-1": a word, a hyphen and a number. */
static bool is_place(const char *text)
{
	size_t word = 0, digits = 0;

	while (is_lower(text[word]) || is_digit(text[word]))
		word++;
	if (word == 0 || text[word] != '-')
		return false;
	while (is_digit(text[word + 1 + digits]))
		digits++;
	return digits > 0 && !text[word + 1 + digits];
}

static bool has_region(const struct aws_partition *partition, const char *region)
{
	const char *list = partition->prefixes;
	struct text prefix;

	while (next_word(&list, &prefix))
		if (strncmp(region, prefix.at, prefix.bytes) == 0 &&
		    is_place(region + prefix.bytes))
			return true;
	return false;
}

static const struct aws_partition *find_by_region(const char *region)
{
	if (strlen(region) > AWS_REGION_BYTES_MAX)
		return NULL;
	for (size_t i = 0; i < ARRAY_COUNT(partitions); i++)
		if (has_region(&partitions[i], region))
			return &partitions[i];
	return NULL;
}

enum err aws_partition_of_region(const char *region, const struct aws_partition **out)
{
	char shown[80];

	if ((*out = find_by_region(region)))
		return OK;
	return RAISE(
		ERR_INPUT_USAGE,
		"\"%s\" is no region of AWS; one is like eu-central-1, or eusc-de-east-1 in the "
		"European Sovereign Cloud",
		err_quote(shown, sizeof shown, text_of(region)));
}

const struct aws_partition *aws_partition_named(struct text name)
{
	for (size_t i = 0; i < ARRAY_COUNT(partitions); i++)
		if (text_equal(name, text_of(partitions[i].name)))
			return &partitions[i];
	return NULL;
}

bool aws_region_is_new(const char *region)
{
	const struct aws_partition *partition = find_by_region(region);
	const char *list = partition ? partition->regions : "";
	struct text known;

	while (next_word(&list, &known))
		if (text_equal(known, text_of(region)))
			return false;
	return partition != NULL;
}

bool aws_region_is_sound(const char *region)
{
	size_t n =
		strspn(region, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._");

	return n > 0 && n <= AWS_REGION_BYTES_MAX && !region[n];
}

/* ---- buckets ---- */

static bool bucket_is_sound(const char *bucket)
{
	size_t n =
		strspn(bucket, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.");

	return n >= 3 && n <= AWS_BUCKET_BYTES_MAX && !bucket[n] && bucket[0] != '.';
}

/* A single label of a host name: a certificate for *.s3.REGION.SUFFIX covers no more. */
static bool bucket_fits_host(const char *bucket)
{
	size_t n = strspn(bucket, "abcdefghijklmnopqrstuvwxyz0123456789-");

	return n >= 3 && n <= 63 && !bucket[n] && bucket[0] != '-' && bucket[n - 1] != '-';
}

/* ---- endpoints ---- */

/* A last dot is the root's and changes nothing. */
static bool host_is_under(const char *host, const char *suffix)
{
	size_t h = strlen(host), s = strlen(suffix);

	h -= h > 0 && host[h - 1] == '.';
	return h >= s && strncasecmp(host + h - s, suffix, s) == 0 &&
	       (h == s || host[h - s - 1] == '.');
}

/* Two partitions share a suffix; there the region in the host tells them apart. */
static bool host_names_other_region(const char *host, const struct aws_partition *partition)
{
	char region[AWS_REGION_BYTES_MAX + 1];
	const struct aws_partition *found;
	size_t n;

	for (; *host; host += n + (host[n] == '.')) {
		n = strcspn(host, ".");
		if (n >= sizeof region)
			continue;
		for (size_t i = 0; i < n; i++)
			region[i] = (char)tolower((unsigned char)host[i]);
		region[n] = '\0';
		if ((found = find_by_region(region)) && found != partition)
			return true;
	}
	return false;
}

/* A host of AWS's own, and whether it is one of `partition` (which may be NULL). */
static bool host_is_of_aws(const char *host, const struct aws_partition *partition, bool *fits)
{
	bool found = false;

	*fits = false;
	for (size_t i = 0; i < ARRAY_COUNT(partitions); i++) {
		const struct aws_partition *p = &partitions[i];

		if (!host_is_under(host, p->dns_suffix) &&
		    !host_is_under(host, p->dual_stack_suffix))
			continue;
		found = true;
		*fits |= p == partition;
	}
	*fits = *fits && !host_names_other_region(host, partition);
	return found;
}

/* ---- where a host is ---- */

/* Names of the partition aws that are not in the table: WorkMail's, and those of Lambda and others
 * ("imap.mail.eu-west-1.awsapps.com", "Amazon WorkMail endpoints and quotas" of the AWS General
 * Reference). */
static const char *const further_suffixes[] = { "awsapps.com", "on.aws" };

/* What stands behind the region: private links, machines, load balancers of old. */
static const char *const behind_region[] = { "vpce", "compute", "elb" };

/* The last label of `name`, which is cut off, in small letters; false: there is none that fits. */
static bool take_last_label(struct text *name, char to[AWS_REGION_BYTES_MAX + 1])
{
	size_t n = 0;

	while (n < name->bytes && name->at[name->bytes - 1 - n] != '.')
		n++;
	if (n == 0 || n > AWS_REGION_BYTES_MAX)
		return false;
	for (size_t i = 0; i < n; i++)
		to[i] = (char)tolower((unsigned char)name->at[name->bytes - n + i]);
	to[n] = '\0';
	name->bytes -= n < name->bytes ? n + 1 : n;
	return true;
}

/* The region in front of the suffix under which the host is. */
static bool region_of_host(const char *host, const char *suffix,
			   char region[AWS_REGION_BYTES_MAX + 1])
{
	size_t bytes = strlen(host), taken = strlen(suffix) + 1;
	struct text name;

	bytes -= host[bytes - 1] == '.';
	if (bytes <= taken)
		return false;
	name = (struct text){ host, bytes - taken };
	if (!take_last_label(&name, region))
		return false;
	for (size_t i = 0; i < ARRAY_COUNT(behind_region); i++)
		if (strcmp(region, behind_region[i]) == 0)
			return take_last_label(&name, region);
	return true;
}

/* True: the host is under the suffix, which is the partition's. */
static bool place_host(const char *host, const char *suffix, const struct aws_partition *partition,
		       struct aws_host *out)
{
	char region[AWS_REGION_BYTES_MAX + 1];

	if (!host_is_under(host, suffix))
		return false;
	if (region_of_host(host, suffix, region) && find_by_region(region) == partition) {
		out->partition = partition;
		snprintf(out->region, sizeof out->region, "%s", region);
	}
	return true;
}

bool aws_host_place(const char *host, struct aws_host *out)
{
	bool is_of_aws = false;

	*out = (struct aws_host){ .partition = NULL };
	for (size_t i = 0; i < ARRAY_COUNT(partitions); i++) {
		is_of_aws |= place_host(host, partitions[i].dns_suffix, &partitions[i], out);
		is_of_aws |= place_host(host, partitions[i].dual_stack_suffix, &partitions[i], out);
	}
	for (size_t i = 0; i < ARRAY_COUNT(further_suffixes); i++)
		is_of_aws |= place_host(host, further_suffixes[i], &partitions[0], out);
	return is_of_aws;
}

/* AWS's own host, without a bucket. */
static enum err make_host(const struct aws_endpoint_wish *wish, struct aws_endpoint *out)
{
	const struct aws_partition *p = out->partition;
	const char *service = aws_service_name(wish->service);
	bool is_s3 = wish->service == AWS_S3;
	bool fips_name = wish->fips;

	if (wish->fips && is_s3 && p->without & AWS_WITHOUT_S3_FIPS)
		return RAISE(ERR_INPUT_USAGE,
			     "the partition %s has no FIPS endpoints of S3; turn use_fips_endpoint "
			     "off",
			     p->name);
	if (wish->service == AWS_STS && !wish->dual_stack && p->without & AWS_WITHOUT_STS_FIPS_NAME)
		fips_name = false;
	snprintf(out->host, sizeof out->host, "%s%s%s.%s.%s", service, fips_name ? "-fips" : "",
		 is_s3 && wish->dual_stack ? ".dualstack" : "", out->region,
		 wish->dual_stack && !is_s3 ? p->dual_stack_suffix : p->dns_suffix);
	out->port = 443;
	return OK;
}

/* Room for a bucket stays behind both. */
static enum err take_url(const struct aws_endpoint_wish *wish, const struct http_url *url,
			 struct aws_endpoint *out)
{
	const char *service = aws_service_name(wish->service);
	size_t path_bytes = strlen(url->target);
	bool fits;

	if (host_is_of_aws(url->host, out->partition, &fits) && !fits)
		return RAISE(ERR_INPUT_USAGE,
			     "the endpoint %.100s of %s is in another partition than the region "
			     "%s: correct one of them",
			     url->host, service, out->region);
	if (strchr(url->target, '?'))
		return RAISE(ERR_INPUT_USAGE, "the endpoint URL of %s holds a query", service);
	while (path_bytes > 0 && url->target[path_bytes - 1] == '/')
		path_bytes--;
	if (path_bytes > AWS_PATH_BYTES_MAX - AWS_BUCKET_BYTES_MAX - 1)
		return RAISE(ERR_INPUT_USAGE, "the endpoint URL of %s is too long", service);
	snprintf(out->host, sizeof out->host, "%s", url->host);
	snprintf(out->path, sizeof out->path, "%.*s", (int)path_bytes, url->target);
	out->port = url->port;
	return OK;
}

static enum err take_own_url(const struct aws_endpoint_wish *wish, struct aws_endpoint *out)
{
	char what[32];
	struct http_url url;
	enum err e;

	snprintf(what, sizeof what, "the endpoint URL of %s", aws_service_name(wish->service));
	if (strlen(wish->url) > AWS_URL_BYTES_MAX)
		return RAISE(ERR_INPUT_USAGE, "%s is too long", what);
	if ((e = http_url_parse(what, wish->url, &url)))
		return e;
	return take_url(wish, &url, out);
}

static bool wants_virtual(const struct aws_endpoint_wish *wish, const struct aws_endpoint *out)
{
	union resolve_address literal;
	bool fits;

	if (wish->style == AWS_STYLE_PATH || !bucket_fits_host(wish->bucket) ||
	    strlen(out->host) + 1 + strlen(wish->bucket) > AWS_HOST_BYTES_MAX ||
	    resolve_literal(out->host, out->port, &literal))
		return false;
	return wish->style == AWS_STYLE_VIRTUAL || host_is_of_aws(out->host, out->partition, &fits);
}

static enum err add_bucket(const struct aws_endpoint_wish *wish, struct aws_endpoint *out)
{
	char shown[80], host[sizeof out->host];
	size_t path_bytes = strlen(out->path);

	if (!bucket_is_sound(wish->bucket))
		return RAISE(ERR_INPUT_USAGE,
			     "\"%s\" is no name of a bucket: 3 to 63 lower-case letters, digits, "
			     "hyphens and dots",
			     err_quote(shown, sizeof shown, text_of(wish->bucket)));
	if (wants_virtual(wish, out)) {
		snprintf(host, sizeof host, "%s", out->host);
		must((size_t)snprintf(out->host, sizeof out->host, "%s.%s", wish->bucket, host) <
		     sizeof out->host);
		return OK;
	}
	must((size_t)snprintf(out->path + path_bytes, sizeof out->path - path_bytes, "/%s",
			      wish->bucket) < sizeof out->path - path_bytes);
	return OK;
}

enum err aws_endpoint_make(const struct aws_endpoint_wish *wish, struct aws_endpoint *out)
{
	enum err e;

	must(!wish->bucket || wish->service == AWS_S3);
	*out = (struct aws_endpoint){ .partition = find_by_region(wish->region) };
	if (!wish->url && (e = aws_partition_of_region(wish->region, &out->partition)))
		return e;
	if (!aws_region_is_sound(wish->region))
		return RAISE(ERR_INPUT_USAGE,
			     "the region to sign for is empty or no name; a server "
			     "of its own mostly takes us-east-1");
	snprintf(out->region, sizeof out->region, "%s", wish->region);
	if ((e = wish->url ? take_own_url(wish, out) : make_host(wish, out)))
		return e;
	return wish->bucket ? add_bucket(wish, out) : OK;
}

bool aws_endpoint_is_of_aws(const struct aws_endpoint *endpoint)
{
	const struct aws_partition *partition = endpoint->partition;

	return partition && (host_is_under(endpoint->host, partition->dns_suffix) ||
			     host_is_under(endpoint->host, partition->dual_stack_suffix));
}

bool aws_endpoint_may_move(const struct aws_endpoint *endpoint, const char *region)
{
	const struct aws_partition *partition = NULL;

	if (!aws_endpoint_is_of_aws(endpoint))
		return false;
	if (aws_partition_of_region(region, &partition))
		err_note_clear();
	return partition == endpoint->partition;
}

/* ---- resource names ---- */

/* Up to the next colon, which goes too. */
static bool take_part(struct text *rest, struct text *part)
{
	const char *colon = memchr(rest->at, ':', rest->bytes);

	if (!colon)
		return false;
	*part = (struct text){ rest->at, (size_t)(colon - rest->at) };
	rest->at = colon + 1;
	rest->bytes -= part->bytes + 1;
	return true;
}

static bool is_account(struct text account)
{
	for (size_t i = 0; i < account.bytes; i++)
		if (!is_digit(account.at[i]))
			return false;
	return account.bytes == 0 || account.bytes == 12;
}

static bool split_arn(struct text rest, struct aws_arn *out)
{
	struct text head;

	for (size_t i = 0; i < rest.bytes; i++)
		if (rest.at[i] <= ' ' || rest.at[i] >= 0x7f)
			return false;
	if (!take_part(&rest, &head) || !text_equal(head, text_of("arn")) ||
	    !take_part(&rest, &out->partition) || !take_part(&rest, &out->service) ||
	    !take_part(&rest, &out->region) || !take_part(&rest, &out->account))
		return false;
	out->resource = rest;
	return out->service.bytes > 0 && rest.bytes > 0 && is_account(out->account);
}

enum err aws_arn_parse(const char *what, const char *text, struct aws_arn *out)
{
	char shown[100];

	if (strlen(text) > AWS_ARN_BYTES_MAX || !split_arn(text_of(text), out))
		return RAISE(ERR_INPUT_USAGE,
			     "%s \"%s\" is no ARN; one is like arn:aws:iam::123456789012:role/name",
			     what, err_quote(shown, sizeof shown, text_of(text)));
	if (!aws_partition_named(out->partition))
		return RAISE(ERR_INPUT_USAGE, "%s is of the partition \"%s\", which is not known",
			     what, err_quote(shown, sizeof shown, out->partition));
	return OK;
}
