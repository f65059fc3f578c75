/* From a job file to a job: defaults, limits, outputs, the window, and what must fit together. */
#include "tools/job.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/commands.h"
#include "tools/job_make.h"
#include "tools/metrics.h"
#include "transport/residency.h"

/* ---- texts and paths ---- */

const char *job_keep(struct job_make *make, struct text text)
{
	const char *kept = text_store_add(&make->owner->texts, text);

	make->memory_lost |= !kept;
	return kept ? kept : "";
}

static const char *keep_text(struct job_make *make, const char *text)
{
	return text ? job_keep(make, text_of(text)) : "";
}

const char *job_resolve_path(struct job_make *make, const char *path)
{
	if (*path == '/')
		return keep_text(make, path);
	buffer_reset(&make->scratch);
	buffer_addf(&make->scratch, "%s/%s", make->directory, path);
	make->memory_lost |= make->scratch.failed;
	return make->scratch.failed ? "" : job_keep(make, text_of(make->scratch.at));
}

void job_check_readable(struct job_make *make, const char *path, unsigned line, const char *key)
{
	struct stat status;

	if (stat(path, &status) || access(path, R_OK))
		job_fault(&make->faults, line, key, "%s cannot be read: %s", path,
			  strerrordesc_np(errno));
	else if (!S_ISREG(status.st_mode))
		job_fault(&make->faults, line, key, "%s is not a regular file", path);
}

/* A file that will be made: its directory must take it. */
static const char *output_path(struct job_make *make, enum job_key_id id)
{
	const char *text = job_file_text(make->file, id), *path, *slash;
	char directory[JOB_PATH_BYTES_MAX / 4];
	struct stat status;

	if (!text)
		return "";
	path = job_resolve_path(make, text);
	slash = strrchr(path, '/');
	snprintf(directory, sizeof directory, "%.*s", slash ? (int)(slash - path) + 1 : 1,
		 slash ? path : ".");
	if (access(directory, W_OK | X_OK))
		job_fault(&make->faults, job_file_line(make->file, id), job_keys[id].path,
			  "no file can be made in %s: %s", directory, strerrordesc_np(errno));
	else if (stat(path, &status) == 0 && S_ISDIR(status.st_mode))
		job_fault(&make->faults, job_file_line(make->file, id), job_keys[id].path,
			  "%s is a directory", path);
	return path;
}

/* ---- faults of one mailbox ---- */

void job_fault_at(struct job_make *make, const struct job_spot *spot, const char *text)
{
	job_fault_pass(&make->faults, &(struct job_fault){ .file = spot->file,
							   .line = spot->line,
							   .key = spot->key,
							   .text = text });
}

void job_fault_at_raised(struct job_make *make, const struct job_spot *spot, enum err e)
{
	job_fault_at(make, spot, *err_note()->text ? err_note()->text : err_text(e));
	err_note_clear();
}

/* ---- sections ---- */

static uint32_t number(const struct job_make *make, enum job_key_id id)
{
	return (uint32_t)job_file_value(make->file, id);
}

/* A limit that was not written gives way to a wider one that was; two that were must fit. */
static uint32_t limit_within(struct job_make *make, enum job_key_id id, enum job_key_id wider,
			     uint32_t bound)
{
	uint32_t value = number(make, id);

	if (value <= bound)
		return value;
	if (job_file_line(make->file, id))
		job_fault(&make->faults, job_file_line(make->file, id), job_keys[id].path,
			  "is %u, more than %s (%u)", value, job_keys[wider].path, bound);
	return bound;
}

static void make_limits(struct job_make *make)
{
	struct job_limits *limits = &make->owner->job.limits;

	limits->workers = number(make, JOB_KEY_WORKERS);
	limits->connections = number(make, JOB_KEY_CONNECTIONS);
	limits->mailboxes =
		limit_within(make, JOB_KEY_MAILBOXES_MAX, JOB_KEY_CONNECTIONS, limits->connections);
	limits->connections_per_host =
		limit_within(make, JOB_KEY_PER_HOST, JOB_KEY_CONNECTIONS, limits->connections);
	limits->connections_per_account = limit_within(make, JOB_KEY_PER_ACCOUNT, JOB_KEY_PER_HOST,
						       limits->connections_per_host);
	limits->bytes_per_second = job_file_value(make->file, JOB_KEY_BANDWIDTH);
	limits->source = (struct job_pace){ job_file_value(make->file, JOB_KEY_SOURCE_RATE),
					    job_file_value(make->file, JOB_KEY_SOURCE_DAILY) };
	limits->target = (struct job_pace){ job_file_value(make->file, JOB_KEY_TARGET_RATE),
					    job_file_value(make->file, JOB_KEY_TARGET_DAILY) };
	limit_within(make, JOB_KEY_SOURCE_CONNECTIONS, JOB_KEY_PER_ACCOUNT,
		     limits->connections_per_account);
}

static const char *choice(const struct job_make *make, enum job_key_id id)
{
	return job_key_option(&job_keys[id])->choices[job_file_value(make->file, id)];
}

static void make_options(struct job_make *make)
{
	make->owner->job.options = (struct job_options){
		.digest = choice(make, JOB_KEY_DIGEST),
		.zstd_level = number(make, JOB_KEY_ZSTD),
		.pack_bytes = job_file_value(make->file, JOB_KEY_PACK_SIZE),
		.flags_never = strcmp(choice(make, JOB_KEY_FLAGS), "never") == 0,
		.flags_keep = strcmp(choice(make, JOB_KEY_FLAGS), "auto") != 0,
		.settle = (nsec)job_file_value(make->file, JOB_KEY_SETTLE),
		.wrap = choice(make, JOB_KEY_WRAP),
		.newest_first = job_file_value(make->file, JOB_KEY_NEWEST_FIRST),
		.existing = number(make, JOB_KEY_SKIP_EXISTING),
		.gmail = { .labels = choice(make, JOB_KEY_GMAIL_LABELS),
			   .keywords = job_file_value(make->file, JOB_KEY_GMAIL_KEYWORDS) },
		.io_timeout = (nsec)job_file_value(make->file, JOB_KEY_IO_TIMEOUT),
		.connect_timeout = (nsec)job_file_value(make->file, JOB_KEY_CONNECT_TIMEOUT),
	};
}

static const char *state_directory(struct job_make *make)
{
	const char *given = job_file_text(make->file, JOB_KEY_STATE);
	char path[JOB_PATH_BYTES_MAX / 2];
	enum err e;

	if (given)
		return job_resolve_path(make, given);
	if ((e = command_state_directory(NULL, path, sizeof path)) == OK)
		return keep_text(make, path);
	err_note_clear();
	job_fault(&make->faults, 0, "state",
		  "there is no home directory to keep the ledger in; "
		  "name a directory");
	return "";
}

static const char *make_metrics(struct job_make *make)
{
	const char *text = job_file_text(make->file, JOB_KEY_METRICS);
	enum err e = text ? metrics_check(text) : OK;

	if (e)
		job_fault_raised(&make->faults, job_file_line(make->file, JOB_KEY_METRICS),
				 job_keys[JOB_KEY_METRICS].path, e);
	return keep_text(make, text);
}

static void make_outputs(struct job_make *make)
{
	make->owner->job.outputs = (struct job_outputs){
		.state = state_directory(make),
		.text = output_path(make, JOB_KEY_REPORT_TEXT),
		.json = output_path(make, JOB_KEY_REPORT_JSON),
		.csv = output_path(make, JOB_KEY_REPORT_CSV),
		.html = output_path(make, JOB_KEY_REPORT_HTML),
		.metrics = make_metrics(make),
		.log = output_path(make, JOB_KEY_LOG),
		.log_level = choice(make, JOB_KEY_LOG_LEVEL),
		.log_json = job_file_value(make->file, JOB_KEY_LOG_JSON),
		.log_names = job_file_value(make->file, JOB_KEY_LOG_NAMES),
	};
}

/* With one text more each time, so that a refusal can be told about the key it comes from. */
static enum err make_window(struct job_make *make)
{
	static const enum job_key_id ids[] = { JOB_KEY_WINDOW, JOB_KEY_BLACKOUT,
					       JOB_KEY_WINDOW_BANDWIDTH };
	struct job *job = &make->owner->job;
	const char *texts[] = { "", "", "" };
	enum err e;

	for (size_t i = 0; i < ARRAY_COUNT(ids); i++) {
		if (!job_file_line(make->file, ids[i]))
			continue;
		texts[i] = job_file_text(make->file, ids[i]);
		window_close(&job->window);
		e = window_open(texts[0], texts[1], texts[2], &job->window);
		if (e == ERR_INPUT_USAGE) {
			job_fault_raised(&make->faults, job_file_line(make->file, ids[i]),
					 job_keys[ids[i]].path, e);
			texts[i] = "";
		} else if (e) {
			return e;
		}
		job->window_texts[i] = keep_text(make, texts[i]);
	}
	return OK;
}

static void make_waves(struct job_make *make)
{
	size_t count = job_file_items_count(make->file, JOB_KEY_WAVES);

	make->waves_given = job_file_line(make->file, JOB_KEY_WAVES) != 0;
	for (size_t i = 0; i < count; i++) {
		const char *name = job_file_item(make->file, JOB_KEY_WAVES, i);
		unsigned line = job_file_item_line(make->file, JOB_KEY_WAVES, i);
		bool twice = false;

		for (size_t j = 0; j < make->waves_count; j++)
			twice |= strcmp(make->waves[j], name) == 0;
		if (twice || make->waves_count == JOB_WAVES_MAX)
			job_fault(&make->faults, line, "waves",
				  twice ? "this wave stands there already"
					: "there are more than 1000 waves");
		else
			make->waves[make->waves_count++] = keep_text(make, name);
	}
}

/* The file's name without its extension, unless the file says another. */
static const char *make_name(struct job_make *make)
{
	const char *given = job_file_text(make->file, JOB_KEY_NAME);
	const char *slash = strrchr(make->faults.file, '/');
	const char *base = slash ? slash + 1 : make->faults.file, *dot = strrchr(base, '.');

	if (given)
		return keep_text(make, given);
	return job_keep(make, (struct text){ base, dot && dot > base ? (size_t)(dot - base)
								     : strlen(base) });
}

/* ---- the whole ---- */

/* Whoever runs the job may be in another directory by then, so paths become absolute. */
static enum err find_directory(struct job_make *make)
{
	const char *path = make->faults.file, *slash = strrchr(path, '/');
	char *given = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");

	make->directory = given ? realpath(given, NULL) : NULL;
	free(given);
	return make->directory ? OK
			       : RAISE_ERRNO(err_of_file_errno(errno), errno,
					     "looking for the directory of %s", path);
}

/* One side's way there, refused here as it would be when the run begins. */
static void make_route(struct job_make *make, enum job_key_id from, enum job_key_id proxy,
		       enum job_key_id password, struct job_route *to)
{
	const char *from_text = job_file_text(make->file, from);
	const char *proxy_text = job_file_text(make->file, proxy);
	const char *password_text = job_file_text(make->file, password);
	struct route route = { 0 };
	enum err e;

	to->bind_address = keep_text(make, from_text);
	to->proxy = keep_text(make, proxy_text);
	if (from_text && (e = route_set_from(&route, "this", from_text)))
		job_fault_raised(&make->faults, job_file_line(make->file, from),
				 job_keys[from].path, e);
	if (proxy_text && (e = routes_set_proxy(&route, "this", proxy_text)))
		job_fault_raised(&make->faults, job_file_line(make->file, proxy),
				 job_keys[proxy].path, e);
	job_secret_shared(make, password, &to->proxy_password);
	if (password_text && strstr(password_text, "{user}"))
		job_fault(&make->faults, job_file_line(make->file, password),
			  job_keys[password].path,
			  "has {user} in it, and the proxy is the same for all mailboxes");
	if (*route.user && !password_text)
		job_fault(&make->faults, job_file_line(make->file, proxy), job_keys[proxy].path,
			  "names a user; %s is missing", job_keys[password].path);
	else if (!*route.user && password_text)
		job_fault(&make->faults, job_file_line(make->file, password),
			  job_keys[password].path, "is of no use: %s names no user",
			  job_keys[proxy].path);
}

static enum err make_job(struct job_make *make)
{
	struct job *job = &make->owner->job;
	const char *ca_file = job_file_text(make->file, JOB_KEY_SOURCE_CA_FILE);
	enum err e;

	if (!(make->waves = calloc(JOB_WAVES_MAX, sizeof *make->waves)))
		return RAISE(ERR_MEMORY_EXHAUSTED, "reading the job");
	job->waves = make->waves; /* the job's from here */
	job->name = make_name(make);
	job->path = keep_text(make, make->faults.file);
	make_limits(make);
	make_options(make);
	make_outputs(make);
	make_waves(make);
	make_route(make, JOB_KEY_SOURCE_BIND, JOB_KEY_SOURCE_PROXY, JOB_KEY_SOURCE_PROXY_PASSWORD,
		   &job->source_route);
	make_route(make, JOB_KEY_TARGET_BIND, JOB_KEY_TARGET_PROXY, JOB_KEY_TARGET_PROXY_PASSWORD,
		   &job->target_route);
	job->source_route.compress = job_file_value(make->file, JOB_KEY_SOURCE_COMPRESS);
	job->target_route.compress = job_file_value(make->file, JOB_KEY_TARGET_COMPRESS);
	if ((e = make_window(make)) || (e = job_make_filter(make)) ||
	    (e = job_make_residency(make)))
		return e;
	make->ca_file = ca_file ? job_resolve_path(make, ca_file) : "";
	if (ca_file)
		job_check_readable(make, make->ca_file,
				   job_file_line(make->file, JOB_KEY_SOURCE_CA_FILE),
				   job_keys[JOB_KEY_SOURCE_CA_FILE].path);
	job_make_mailboxes(make);
	job_bucket_make(make);
	job_check_residency(make);
	job->waves_count = make->waves_count;
	return make->memory_lost ? RAISE(ERR_MEMORY_EXHAUSTED, "reading the job") : OK;
}

struct opening {
	const char *path;
	void (*fault)(void *context, const struct job_fault *);
	void *context;
	const char *source_user, *target_user; /* NULL: the whole job is wanted */
};

static enum err make_logins(struct job_make *make, const struct opening *opening)
{
	enum err e = job_make_residency(make);

	if (e)
		return e;
	job_login_make_alone(make, opening->source_user, opening->target_user);
	job_check_residency_alone(make);
	return make->memory_lost ? RAISE(ERR_MEMORY_EXHAUSTED, "reading the job") : OK;
}

/* A job that is well written and leads outside is a violation, and no bad input. */
static enum err end_faults(const struct job_make *make)
{
	char first[ERR_NOTE_BYTES_MAX];
	enum err e = job_faults_end(&make->faults);

	if (!e || make->violations < make->faults.count)
		return e;
	snprintf(first, sizeof first, "%s", err_note()->text);
	err_note_clear();
	return RAISE(make->violation, "%s", first);
}

static enum err open_file(const struct opening *opening, struct job **out)
{
	struct job_make *make = calloc(1, sizeof *make);
	struct job_owner *owner = calloc(1, sizeof *owner);
	struct job *job = &owner->job;
	enum err e;

	err_note_clear();
	if (!make || !owner) {
		free(owner);
		free(make);
		return RAISE(ERR_MEMORY_EXHAUSTED, "reading the job");
	}
	make->faults = (struct job_faults){ .file = opening->path,
					    .tell = opening->fault,
					    .context = opening->context };
	make->owner = owner;
	for (size_t i = 0; i < ARRAY_COUNT(job->window_texts); i++)
		job->window_texts[i] = "";
	e = job_file_open(opening->path, &make->faults, &make->file);
	if (e == OK && make->file && (e = find_directory(make)) == OK)
		e = opening->source_user ? make_logins(make, opening) : make_job(make);
	if (e == OK)
		e = end_faults(make);
	job_faults_tell(&make->faults);
	job_file_close(&make->file);
	free(make->directory);
	buffer_free(&make->scratch);
	free(make);
	if (e)
		job_close(&job);
	else
		*out = job;
	return e;
}

enum err job_open(const char *path, void (*fault)(void *context, const struct job_fault *),
		  void *context, struct job **out)
{
	return open_file(&(struct opening){ .path = path, .fault = fault, .context = context },
			 out);
}

enum err job_open_logins(const char *path, const char *source_user, const char *target_user,
			 struct job **out)
{
	return open_file(&(struct opening){ .path = path,
					    .source_user = source_user,
					    .target_user = target_user },
			 out);
}

void job_close(struct job **taken)
{
	struct job_owner *owner;

	if (!*taken)
		return;
	owner = CONTAINER_OF(*taken, struct job_owner, job);
	window_close(&owner->job.window);
	filter_close(&owner->job.filter.filter);
	residency_close(&owner->job.residency);
	for (size_t i = 0; i < owner->lists_count; i++)
		mailbox_csv_close(&owner->lists[i]);
	free(owner->lists);
	free(owner->job.mailboxes);
	free((void *)(uintptr_t)owner->job.waves);
	text_store_free(&owner->texts);
	free(owner);
	*taken = NULL;
}
