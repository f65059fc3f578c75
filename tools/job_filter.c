/* The section `filter` of a job file as a filter, shared by all mailboxes. */
#include "tools/filters.h"
#include "tools/job.h"
#include "tools/job_make.h"

struct section {
	struct job_make *make;
	struct job_filter *job;
	bool any;
};

static void fault(struct section *section, enum job_key_id id, unsigned line, enum err e)
{
	if (e)
		job_fault_raised(&section->make->faults, line, job_keys[id].path, e);
}

/* Each text, where it stands, and kept to be shown. */
static void take_list(struct section *section, enum job_key_id id, struct job_texts *kept,
		      enum err (*take)(struct filter *, const char *))
{
	const struct job_file *file = section->make->file;
	size_t count = job_file_items_count(file, id);

	for (size_t i = 0; i < count; i++) {
		const char *text = job_file_item(file, id, i);

		fault(section, id, job_file_item_line(file, id, i),
		      take(section->job->filter, text));
		if (kept->count < FILTER_PATTERNS_MAX)
			kept->at[kept->count++] = job_keep(section->make, text_of(text));
	}
	section->any |= count > 0;
}

static const char *take_date(struct section *section, enum job_key_id id,
			     enum err (*take)(struct filter *, const char *))
{
	const char *text = job_file_text(section->make->file, id);
	unsigned line = job_file_line(section->make->file, id);

	if (!line || !text)
		return "";
	section->any = true;
	fault(section, id, line, take(section->job->filter, text));
	return job_keep(section->make, text_of(text));
}

/* Told where the section's last bound stands: which of them is the wrong one is not ours to say. */
static void check(struct section *section)
{
	static const enum job_key_id ids[] = { JOB_KEY_SINCE, JOB_KEY_BEFORE, JOB_KEY_MIN_SIZE,
					       JOB_KEY_MAX_SIZE };
	enum job_key_id last = JOB_KEY_SINCE;
	unsigned line = 0, at;

	for (size_t i = 0; i < ARRAY_COUNT(ids); i++)
		if ((at = job_file_line(section->make->file, ids[i])) > line) {
			line = at;
			last = ids[i];
		}
	fault(section, last, line, filter_check(section->job->filter));
}

enum err job_make_filter(struct job_make *make)
{
	struct job_filter *job = &make->owner->job.filter;
	struct section section = { .make = make, .job = job };
	unsigned before = make->faults.count;
	enum err e = filters_begin(&job->filter);

	if (e)
		return e;
	take_list(&section, JOB_KEY_INCLUDE_FOLDERS, &job->include, filter_include_folder);
	take_list(&section, JOB_KEY_EXCLUDE_FOLDERS, &job->exclude, filter_exclude_folder);
	take_list(&section, JOB_KEY_RENAME_FOLDERS, &job->rename, filter_rename_folder);
	job->since = take_date(&section, JOB_KEY_SINCE, filter_since);
	job->before = take_date(&section, JOB_KEY_BEFORE, filter_before);
	job->min_bytes = job_file_value(make->file, JOB_KEY_MIN_SIZE);
	job->max_bytes = job_file_value(make->file, JOB_KEY_MAX_SIZE);
	filter_sizes(job->filter, job->min_bytes, job->max_bytes);
	section.any |= job->min_bytes || job->max_bytes;
	if (make->faults.count == before)
		check(&section);
	if (!section.any)
		filter_close(&job->filter);
	return OK;
}
