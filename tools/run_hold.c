/* The archives that a batch's mailboxes go to, and the buckets on both sides: planned before
 * threads start, looked at and locked for the whole run, and looked at again behind it. */
#include <stdlib.h>

#include "engine/clock.h"
#include "tools/aws_record.h"
#include "tools/drivers.h"
#include "tools/run.h"
#include "transport/archive_hold.h"
#include "transport/http_pool.h"

#define HOLD_TIMEOUT	(60 * NSEC_SECOND)
#define LOCATE_TIMEOUT	(300 * NSEC_SECOND)
#define GOODBYE_TIMEOUT (5 * NSEC_SECOND)

/* ---- planning ---- */

/* For account->met of what several threads may connect; `context` is the run. */
static void met_by_any(void *context, const struct peer *peer)
{
	struct run *run = context;

	must(pthread_mutex_lock(&run->lock) == 0);
	endpoints_met(&run->endpoints, peer);
	must(pthread_mutex_unlock(&run->lock) == 0);
}

static enum err plan_side(struct run *run, const char *keys, const struct job_bucket *asked,
			  const struct route *route, struct run_buckets *side)
{
	enum err e;

	if (!*asked->name)
		return OK;
	side->way = (struct account){
		.route = route,
		.met = met_by_any,
		.met_context = run,
		.io_timeout = run->job->options.io_timeout,
		.connect_timeout = run->job->options.connect_timeout,
	};
	e = bucket_open(keys, asked->name, &asked->options, &side->way,
			aws_record_listener(run->record), &side->bucket);
	if (!e)
		side->way.ca_file = bucket_ca_file(side->bucket);
	return e;
}

enum err run_plan_buckets(struct run *run)
{
	const struct job *job = run->job;
	const struct aws_record_config record = {
		.directory = run->options.dry_run ? NULL : job->outputs.state,
		.names = run->ids.names,
	};
	enum err e;

	if (!*job->source_bucket.name && !*job->target_bucket.name)
		return OK;
	if ((e = aws_record_open(&record, &run->record)) ||
	    (e = plan_side(run, "source.s3.", &job->source_bucket, &run->routes.source,
			   &run->source_buckets)))
		return e;
	return plan_side(run, "target.s3.", &job->target_bucket, &run->routes.destination,
			 &run->target_buckets);
}

enum err run_use_bucket(const struct run *run, const struct run_buckets *side,
			struct http_pool *pool, struct account *account, struct store_s3_config *s3)
{
	enum err e;

	if (!bucket_is_meant(account->scheme))
		return OK;
	if ((e = bucket_store(side->bucket, account->host, pool, s3)))
		return e;
	s3->ledger_id = run->ledger ? ledger_id(run->ledger) : NULL;
	account->s3 = s3;
	account->ca_file = bucket_ca_file(side->bucket);
	return OK;
}

/* ---- holding ---- */

/* Tenants have one target or a few. */
const struct run_hold *run_hold_of(const struct run *run, const char *target)
{
	const struct run_hold *hold = run->holds;

	while (hold && strcmp(hold->target, target) != 0)
		hold = hold->next;
	return hold;
}

/* Each bucket once, as far as mailboxes of one stand together. */
static enum err locate_sources(struct run *run)
{
	struct url *url = calloc(1, sizeof *url);
	char last[AWS_BUCKET_BYTES_MAX + 1] = "";
	enum err e = url ? OK : RAISE(ERR_MEMORY_EXHAUSTED, "looking for buckets");

	for (size_t i = 0; e == OK && run->source_buckets.bucket && i < run->job->mailboxes_count;
	     i++) {
		if ((e = url_parse("source", run->job->mailboxes[i].source, "password", url)) ||
		    !bucket_is_meant(url->scheme) || strcmp(url->host, last) == 0)
			continue;
		snprintf(last, sizeof last, "%s", url->host);
		e = bucket_locate(run->source_buckets.bucket, url->host, run->pool,
				  clock_after(LOCATE_TIMEOUT));
		if (e && !run_is_stopped_by(e) && e != ERR_FIBER_CANCELED) {
			err_note_clear(); /* its mailboxes will say so, each for itself */
			e = OK;
		}
	}
	free(url);
	return e;
}

static enum err look_at_bucket(struct run *run, struct run_hold *hold)
{
	enum err e;

	if (!bucket_is_meant(hold->account.scheme))
		return OK;
	if ((e = bucket_locate(run->target_buckets.bucket, hold->account.host, run->pool,
			       clock_after(LOCATE_TIMEOUT))) ||
	    (e = run_use_bucket(run, &run->target_buckets, run->pool, &hold->account, &hold->s3)))
		return e;
	e = bucket_watch_open(&hold->account, &run->job->target_bucket.options,
			      run->options.dry_run, &hold->watch);
	bucket_watch_use(hold->watch, &hold->s3);
	return e;
}

static enum err hold_target(struct run *run, const char *target)
{
	struct run_hold *hold = calloc(1, sizeof *hold);
	enum err e;

	if (!hold)
		return RAISE(ERR_MEMORY_EXHAUSTED, "locking targets");
	hold->target = target;
	hold->next = run->holds;
	run->holds = hold;
	if ((e = url_parse("target", target, "password", &hold->url)))
		return e;
	hold->account = url_account(&hold->url);
	hold->account.route = &run->routes.destination;
	hold->account.met = met_by_any;
	hold->account.met_context = run;
	hold->account.io_timeout = run->job->options.io_timeout;
	hold->account.connect_timeout = run->job->options.connect_timeout;
	if ((e = look_at_bucket(run, hold)) || run->options.dry_run)
		return e;
	return archive_hold(&hold->account, ledger_id(run->ledger), clock_after(HOLD_TIMEOUT),
			    &hold->hold);
}

enum err run_hold_targets(struct run *run)
{
	enum err e = http_pool_open(BUCKET_CONNECTIONS, &run->pool);

	if (!e && run->record)
		e = bucket_beside_begin(run->record, run->source_buckets.bucket,
					run->target_buckets.bucket, &run->beside_buckets);
	if (!e)
		e = locate_sources(run);
	for (size_t i = 0; e == OK && i < run->job->mailboxes_count; i++) {
		const char *target = run->job->mailboxes[i].target;

		if (!drivers_is_server(target) && !run_hold_of(run, target))
			e = hold_target(run, target);
	}
	return e;
}

enum err run_audit_targets(struct run *run)
{
	struct err_note first = { .error = OK };
	enum err e, of_all = OK;

	for (struct run_hold *hold = run->holds; hold; hold = hold->next) {
		if (!hold->watch || !(e = bucket_watch_audit(hold->watch, run_attend, run)))
			continue;
		if (!of_all) {
			of_all = e;
			first = *err_note();
		}
		err_note_clear();
	}
	if (of_all)
		*err_note() = first;
	return of_all;
}

void run_release_targets(struct run *run)
{
	for (struct run_hold *hold = run->holds; hold; hold = hold->next)
		archive_release(&hold->hold);
	bucket_beside_end(&run->beside_buckets);
	if (run->pool)
		http_pool_finish(run->pool, clock_after(GOODBYE_TIMEOUT));
	http_pool_close(&run->pool);
}

void run_forget_targets(struct run *run)
{
	struct run_hold *hold;

	while ((hold = run->holds)) {
		run->holds = hold->next;
		bucket_watch_close(&hold->watch);
		free(hold);
	}
}
