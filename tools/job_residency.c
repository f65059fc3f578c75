/* The section `residency` of a job file as a policy, and whether the hosts that the job names are
 * inside it: by their names, so that a violation is told before a run and not in its night. What
 * only the run meets (addresses, endpoints of AWS) is refused there (transport/residency.h). */
#include "tools/drivers.h"
#include "tools/job.h"
#include "tools/job_make.h"
#include "transport/aws_partition.h"
#include "transport/http.h"
#include "transport/residency.h"

static const enum job_key_id keys[RESIDENCY_KINDS] = {
	JOB_KEY_RESIDENCY_PARTITIONS, JOB_KEY_RESIDENCY_REGIONS,   JOB_KEY_RESIDENCY_KEYS,
	JOB_KEY_RESIDENCY_HOSTS,      JOB_KEY_RESIDENCY_ADDRESSES,
};

static void take_list(struct job_make *make, enum residency_kind kind)
{
	struct residency *policy = make->owner->job.residency;
	enum job_key_id id = keys[kind];
	size_t count = job_file_items_count(make->file, id);
	char text[ERR_NOTE_BYTES_MAX];

	for (size_t i = 0; i < count; i++) {
		const char *entry = job_file_item(make->file, id, i);

		if (residency_add(policy, kind, entry) == OK)
			continue;
		snprintf(text, sizeof text, "%s", err_note()->text);
		err_note_clear();
		job_fault(&make->faults, job_file_item_line(make->file, id, i), job_keys[id].path,
			  "\"%.100s\": %s", entry, text);
	}
}

enum err job_make_residency(struct job_make *make)
{
	bool any = false;
	enum err e;

	for (unsigned kind = 0; kind < RESIDENCY_KINDS; kind++)
		any |= job_file_line(make->file, keys[kind]) != 0;
	if (!any)
		return OK;
	if ((e = residency_open(&make->owner->job.residency)))
		return e;
	for (unsigned kind = 0; kind < RESIDENCY_KINDS; kind++)
		take_list(make, (enum residency_kind)kind);
	return OK;
}

/* ---- what the job names ---- */

enum { SOURCE, TARGET, SIDES };

struct look {
	struct job_make *make;
	bool through[SIDES];			    /* a proxy connects us */
	char before[SIDES][URL_PART_BYTES_MAX + 1]; /* looked at last: told once */
};

static struct job_spot spot_of(const struct look *look, enum job_key_id id)
{
	return (struct job_spot){ look->make->faults.file, job_file_line(look->make->file, id),
				  job_keys[id].path };
}

static void tell(struct look *look, const struct job_spot *spot, enum err e)
{
	if (!e)
		return;
	if (!look->make->violations++)
		look->make->violation = e;
	job_fault_at_raised(look->make, spot, e);
}

static void check_host(struct look *look, const struct job_spot *spot, const char *host,
		       bool through)
{
	tell(look, spot, residency_check_host(look->make->owner->job.residency, host, through));
}

/* Archives have no host, and a bucket's name is none. What does not parse was told before. */
static void check_url(struct look *look, unsigned side, const struct job_spot *spot,
		      const char *text)
{
	struct url *url = &look->make->url;
	char *before = look->before[side];

	if (!text || !drivers_is_server(text))
		return;
	if (url_parse("the URL", text, "password", url)) {
		err_note_clear();
		return;
	}
	if (strcmp(before, url->host) == 0)
		return;
	snprintf(before, sizeof look->before[side], "%s", url->host);
	check_host(look, spot, url->host, look->through[side]);
}

static void check_key(struct look *look, unsigned side, enum job_key_id id)
{
	struct job_spot spot = spot_of(look, id);

	check_url(look, side, &spot, job_file_text(look->make->file, id));
}

static void check_proxy(struct look *look, unsigned side, enum job_key_id id)
{
	const char *text = job_file_text(look->make->file, id);
	struct job_spot spot = spot_of(look, id);
	struct route route = { 0 };

	if (text && routes_set_proxy(&route, "this", text))
		err_note_clear();
	look->through[side] = route.kind != ROUTE_STRAIGHT;
	if (look->through[side])
		check_host(look, &spot, route.host, false);
}

/* Where tokens come from. */
static void check_login(struct look *look, unsigned side, enum job_key_id id)
{
	const char *text = job_file_text(look->make->file, id);
	struct job_spot spot = spot_of(look, id);
	struct http_url url;

	if (!text)
		return;
	if (http_url_parse("token_url", text, &url))
		err_note_clear();
	else
		check_host(look, &spot, url.host, look->through[side]);
}

/* Where a bucket is, as far as the job says that itself; the rest is in AWS's files. */
static void check_bucket(struct look *look, unsigned side, const struct job_bucket *bucket,
			 enum job_key_id endpoint, enum job_key_id region)
{
	const struct bucket_options *options = &bucket->options;
	enum job_key_id id = options->endpoint ? endpoint : region;
	const struct aws_endpoint_wish wish = { .service = AWS_S3,
						.region = options->region ? options->region : "any",
						.url = options->endpoint,
						.bucket = bucket->name,
						.style = bucket_style(options) };
	struct job_spot spot = spot_of(look, id);
	struct aws_endpoint made;

	if (!*bucket->name || !spot.line)
		return;
	if (aws_endpoint_make(&wish, &made))
		err_note_clear();
	else
		check_host(look, &spot, made.host, look->through[side]);
}

static void check_kms_key(struct look *look)
{
	const char *arn = job_file_text(look->make->file, JOB_KEY_TARGET_S3_KMS_KEY);
	struct job_spot spot = spot_of(look, JOB_KEY_TARGET_S3_KMS_KEY);

	if (arn)
		tell(look, &spot, residency_check_key(look->make->owner->job.residency, arn));
}

static void check_logins(struct look *look)
{
	check_login(look, SOURCE, JOB_KEY_SOURCE_TOKEN_URL);
	check_login(look, TARGET, JOB_KEY_TARGET_TOKEN_URL);
}

void job_check_residency_alone(struct job_make *make)
{
	struct look look = { .make = make };

	check_logins(&look);
}

void job_check_residency(struct job_make *make)
{
	const struct job *job = &make->owner->job;
	struct look look = { .make = make };

	if (!job->residency)
		return;
	check_proxy(&look, SOURCE, JOB_KEY_SOURCE_PROXY);
	check_proxy(&look, TARGET, JOB_KEY_TARGET_PROXY);
	check_logins(&look);
	check_key(&look, SOURCE, JOB_KEY_SOURCE_URL);
	check_key(&look, TARGET, JOB_KEY_TARGET_URL);
	check_bucket(&look, SOURCE, &job->source_bucket, JOB_KEY_SOURCE_S3_ENDPOINT,
		     JOB_KEY_SOURCE_S3_REGION);
	check_bucket(&look, TARGET, &job->target_bucket, JOB_KEY_TARGET_S3_ENDPOINT,
		     JOB_KEY_TARGET_S3_REGION);
	check_kms_key(&look);
	for (size_t i = 0; i < job->mailboxes_count; i++) {
		const struct job_mailbox *mailbox = &job->mailboxes[i];
		struct job_spot spot = { mailbox->file, mailbox->line, "source" };

		check_url(&look, SOURCE, &spot, mailbox->source);
		spot.key = "target";
		check_url(&look, TARGET, &spot, mailbox->target);
	}
}
