/* What a run makes sure of about a bucket that it stores in: that it is set up as it must be,
 * before the first byte (transport/bucket_guard.h), and that every object is there as it was to be
 * stored, behind the last (transport/bucket_audit.h). One for each archive; told in reports. */
#ifndef MAILHAUL_TOOLS_BUCKET_WATCH_H
#define MAILHAUL_TOOLS_BUCKET_WATCH_H

#include <stdio.h>

#include "tools/bucket.h"
#include "tools/json_out.h"

struct bucket_watch;

/* Look at the bucket, as its options want; in it nothing is changed.
 * account  of the archive, with `s3` filled in; borrowed until the close, as `options`
 * dry_run  nothing will be stored, so there is no audit
 * returns  OK | those of bucket_guard_check(), whose facts can be told all the same
 * suspends on a fiber with FIBER_STACK_LARGE, before its thread is confined */
enum err bucket_watch_open(const struct account *, const struct bucket_options *, bool dry_run,
			   struct bucket_watch **) MUST_CHECK;
/* Have stores of the same archive that are opened with this, on any thread, note what they store
 * and what proved it. The watch may be NULL. */
void bucket_watch_use(struct bucket_watch *, struct store_s3_config *);
/* When nobody writes any more. A run that is asked to drain meanwhile ends it; the report says so.
 * attend   called several times a second
 * returns  OK | those of bucket_audit(). Suspends as above. */
enum err bucket_watch_audit(struct bucket_watch *, void (*attend)(void *context),
			    void *context) MUST_CHECK;
void bucket_watch_close(struct bucket_watch **);

void bucket_watch_text(const struct bucket_watch *, FILE *);
/* An object of its own. */
void bucket_watch_json(const struct bucket_watch *, struct json_out *);

#endif
