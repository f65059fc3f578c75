/* What a request to the S3 stand-in asks of which bucket and key, and who does it. */
#include "tests/sim/s3_model_state.h"

#include <stdio.h>
#include <strings.h>

/* Path style: the bucket begins the path. */
static void split_path(struct s3_model_request *r)
{
	const char *key = strchr(r->path + 1, '/');
	size_t n = key ? (size_t)(key - r->path - 1) : strlen(r->path + 1);

	snprintf(r->bucket_name, sizeof r->bucket_name, "%.*s", (int)min_u64(n, 63), r->path + 1);
	r->key = key ? key + 1 : "";
}

/* Which endpoint the Host names, and with what before it: virtual-hosted style. */
static bool find_endpoint(struct s3_model_request *r)
{
	char host[256];

	s3_model_header_text(r, "host", host, sizeof host);
	host[strcspn(host, ":")] = '\0';
	for (unsigned i = 0; i < S3_MODEL_ENDPOINTS_MAX; i++) {
		const char *end = r->model->endpoints[i].host;
		size_t n = strlen(host), m = strlen(end);

		if (m == 0 || n < m || strcasecmp(host + n - m, end) != 0)
			continue;
		if (n > m && host[n - m - 1] != '.')
			continue;
		r->endpoint_region = r->model->endpoints[i].region;
		if (n == m) {
			split_path(r);
		} else {
			snprintf(r->bucket_name, sizeof r->bucket_name, "%.*s",
				 (int)min_u64(n - m - 1, 63), host);
			r->key = r->path + 1;
		}
		return true;
	}
	return s3_model_refuse(r, 400, "InvalidRequest", "There is no endpoint of that name: %s",
			       host);
}

static bool asks_for(const struct s3_model_request *r, const char *const *names)
{
	while (*names && !s3_model_query(r, *names))
		names++;
	return *names;
}

static enum s3_model_op bucket_op(const struct s3_model_request *r)
{
	static const char *const settings[] = { "location",	"versioning",  "object-lock",
						"encryption",	"replication", "publicAccessBlock",
						"policyStatus", NULL };

	if (strcmp(r->method, "HEAD") == 0)
		return S3_MODEL_HEAD_BUCKET;
	if (strcmp(r->method, "GET") != 0)
		return S3_MODEL_UNKNOWN;
	if (asks_for(r, settings))
		return S3_MODEL_GET_CONFIG;
	if (s3_model_query(r, "versions"))
		return S3_MODEL_LIST_VERSIONS;
	if (s3_model_query(r, "uploads"))
		return S3_MODEL_LIST_UPLOADS;
	return s3_model_query(r, "list-type") ? S3_MODEL_LIST : S3_MODEL_UNKNOWN;
}

static enum s3_model_op object_op(const struct s3_model_request *r)
{
	static const char *const others[] = { "acl",	 "tagging", "attributes", "torrent",
					      "restore", "select",  NULL };
	static const char *const locks[] = { "retention", "legal-hold", NULL };
	bool of_upload = s3_model_query(r, "uploadId"), of_lock = asks_for(r, locks);

	if (asks_for(r, others) || s3_model_header(r, "x-amz-copy-source"))
		return S3_MODEL_UNKNOWN;
	if (strcmp(r->method, "PUT") == 0 && !of_lock)
		return !of_upload			 ? S3_MODEL_PUT
		       : s3_model_query(r, "partNumber") ? S3_MODEL_PART
							 : S3_MODEL_UNKNOWN;
	if (strcmp(r->method, "GET") == 0)
		return of_upload ? S3_MODEL_LIST_PARTS : of_lock ? S3_MODEL_GET_LOCK : S3_MODEL_GET;
	if (strcmp(r->method, "HEAD") == 0)
		return S3_MODEL_HEAD;
	if (strcmp(r->method, "DELETE") == 0)
		return of_upload ? S3_MODEL_ABORT : S3_MODEL_DELETE;
	if (strcmp(r->method, "POST") == 0 && s3_model_query(r, "uploads"))
		return S3_MODEL_CREATE;
	return strcmp(r->method, "POST") == 0 && of_upload ? S3_MODEL_COMPLETE : S3_MODEL_UNKNOWN;
}

/* What is asked of what. */
bool s3_model_route(struct s3_model_request *r)
{
	if (!find_endpoint(r))
		return false;
	r->op = !r->bucket_name[0] ? S3_MODEL_UNKNOWN : r->key[0] ? object_op(r) : bucket_op(r);
	r->model->counts.requests[r->op]++;
	r->model->counts.all++;
	r->bucket = s3_model_bucket_of(r->model, r->bucket_name);
	if (strlen(r->key) > S3_MODEL_KEY_BYTES_MAX)
		return s3_model_refuse(r, 400, "KeyTooLongError", "Your key is too long");
	return true;
}

/* The bucket is there, here, and of who it is said to be. */
static bool locate(struct s3_model_request *r)
{
	const struct s3_model_bucket *bucket = r->bucket;
	const char *host = "";

	if (!bucket)
		return s3_model_refuse(r, 404, "NoSuchBucket",
				       "The specified bucket does not exist");
	if (strcmp(bucket->region, r->endpoint_region) != 0) {
		for (unsigned i = 0; i < S3_MODEL_ENDPOINTS_MAX; i++)
			if (strcmp(r->model->endpoints[i].region, bucket->region) == 0)
				host = r->model->endpoints[i].host;
		s3_model_xml(&r->more, "Endpoint", "%s.%s", bucket->name, host);
		s3_model_xml(&r->more, "Bucket", "%s", bucket->name);
		s3_model_field(r, "x-amz-bucket-region", "%s", bucket->region);
		return s3_model_refuse(
			r, 301, "PermanentRedirect",
			"The bucket you are attempting to access must be addressed "
			"using the specified endpoint. Please send all future requests "
			"to this endpoint.");
	}
	if (s3_model_header(r, "x-amz-expected-bucket-owner") &&
	    !s3_model_header_is(r, "x-amz-expected-bucket-owner", bucket->owner))
		return s3_model_refuse(r, 403, "AccessDenied", "Access Denied");
	return true;
}

bool s3_model_judge(struct s3_model_request *r)
{
	if (s3_model_verify(r))
		return locate(r);
	r->model->counts.forbidden++;
	return false;
}

void s3_model_do(struct s3_model_request *r)
{
	switch (r->op) {
	case S3_MODEL_PUT:
		s3_model_put(r);
		break;
	case S3_MODEL_GET:
	case S3_MODEL_HEAD:
		s3_model_get(r);
		break;
	case S3_MODEL_DELETE:
		s3_model_delete(r);
		break;
	case S3_MODEL_CREATE:
	case S3_MODEL_PART:
	case S3_MODEL_COMPLETE:
	case S3_MODEL_ABORT:
	case S3_MODEL_LIST_PARTS:
		s3_model_do_upload(r);
		break;
	case S3_MODEL_LIST:
	case S3_MODEL_LIST_VERSIONS:
	case S3_MODEL_LIST_UPLOADS:
		s3_model_do_list(r);
		break;
	case S3_MODEL_HEAD_BUCKET:
	case S3_MODEL_GET_CONFIG:
		s3_model_do_config(r);
		break;
	case S3_MODEL_GET_LOCK:
		s3_model_get_lock(r);
		break;
	case S3_MODEL_ANY:
	case S3_MODEL_UNKNOWN:
	case S3_MODEL_OPS:
		s3_model_refuse(r, 501, "NotImplemented",
				"The stand-in does not know this request.");
	}
}
