/* The mailboxes of a job: rows of the job file and of lists, with what the job says filled in. */
#include <stdlib.h>
#include <strings.h>

#include "tools/drivers.h"
#include "tools/job_make.h"

static struct job_spot spot_of_row(const struct job_make *make, size_t row, enum job_key_id id,
				   char key[JOB_KEY_PATH_BYTES_MAX])
{
	return (struct job_spot){ make->faults.file, job_file_row_line(make->file, row, id),
				  job_file_row_key(row, id, key) };
}

/* ---- URLs ---- */

/* make->url with this user as text, in make->scratch. Everything that is not unreserved in a URL
 * (RFC 3986 section 2.3) is percent-encoded. */
static void write_url(struct job_make *make, const char *user)
{
	const struct url *url = &make->url;
	bool bracketed = strchr(url->host, ':') != NULL;

	buffer_reset(&make->scratch);
	buffer_addf(&make->scratch, "%s://", url->scheme);
	for (; *user; user++)
		if ((*user >= 'a' && *user <= 'z') || (*user >= 'A' && *user <= 'Z') ||
		    (*user >= '0' && *user <= '9') || strchr("-._~", *user))
			buffer_add(&make->scratch, user, 1);
		else
			buffer_addf(&make->scratch, "%%%02X", (unsigned char)*user);
	buffer_addf(&make->scratch, "@%s%s%s", bracketed ? "[" : "", url->host,
		    bracketed ? "]" : "");
	if (url->port)
		buffer_addf(&make->scratch, ":%u", url->port);
	buffer_add_text(&make->scratch, url->path);
}

/* Read `text` into make->url, with `user` ("": none to add) put into it. */
static bool read_url(struct job_make *make, const struct job_spot *spot, const char *text,
		     const char *user)
{
	enum err e = url_parse("the URL", text, "source-password-file", &make->url);

	if (e == OK && *user && !*make->url.user && !drivers_has_archives(make->url.scheme)) {
		write_url(make, user);
		make->memory_lost |= make->scratch.failed;
		e = url_parse("the URL with its user", make->scratch.at, "source-password-file",
			      &make->url);
	}
	if (e == OK)
		return true;
	/* This refusal speaks of command line options. */
	if (strstr(err_note()->text, "has a password in it")) {
		err_note_clear();
		job_fault_at(make, spot,
			     "the URL has a password in it; write a reference to it as "
			     "`password` instead");
		return false;
	}
	job_fault_at_raised(make, spot, e);
	return false;
}

static bool check_source(struct job_make *make, const struct job_spot *spot)
{
	const char *text = NULL;

	if (!drivers_source(make->url.scheme))
		text = "the URL's scheme is none of the sources; imaps://host/ is one";
	else if (!drivers_has_archives(make->url.scheme) && strcmp(make->url.path, "/") != 0)
		text = "the URL names a folder; only whole mailboxes are copied: end it after the "
		       "host with a slash";
	if (text)
		job_fault_at(make, spot, text);
	return !text;
}

static bool check_target(struct job_make *make, const struct job_spot *spot)
{
	const struct sink_driver *sink = drivers_sink(make->url.scheme);
	const char *text = NULL;

	if (!sink)
		text = "the URL's scheme is none of the targets; file:///path is one";
	else if (sink->reopens && strcmp(make->url.path, "/") != 0)
		text = "the URL names a folder; only whole mailboxes are copied: end it after the "
		       "host with a slash";
	if (text)
		job_fault_at(make, spot, text);
	return !text;
}

/* source.url and target.url, once. */
static void check_job_urls(struct job_make *make)
{
	const char *source = job_file_text(make->file, JOB_KEY_SOURCE_URL);
	const char *target = job_file_text(make->file, JOB_KEY_TARGET_URL);
	struct job_spot spot = { make->faults.file, job_file_line(make->file, JOB_KEY_SOURCE_URL),
				 "source.url" };

	if (source && read_url(make, &spot, source, "") && check_source(make, &spot)) {
		if (*make->url.user)
			job_fault_at(make, &spot,
				     "the URL names a user; leave it out, it comes from "
				     "each mailbox");
		else
			make->source = job_keep(make, text_of(make->url.shown));
	}
	spot.line = job_file_line(make->file, JOB_KEY_TARGET_URL);
	spot.key = "target.url";
	if (target && read_url(make, &spot, target, "") && check_target(make, &spot))
		make->target = job_keep(make, text_of(make->url.shown));
}

/* ---- one mailbox ---- */

static const struct job_mailbox *mailbox_before(const struct job_make *make)
{
	const struct job *job = &make->owner->job;

	return job->mailboxes_count ? &job->mailboxes[job->mailboxes_count - 1] : NULL;
}

static const char *keep_like(struct job_make *make, const char *before, const char *text)
{
	return before && strcmp(before, text) == 0 ? before : job_keep(make, text_of(text));
}

static void add_mailbox(struct job_make *make, const struct job_mailbox *mailbox)
{
	struct job *job = &make->owner->job;
	struct job_mailbox *grown;
	size_t room = make->mailboxes_room ? make->mailboxes_room * 2 : 64;

	if (job->mailboxes_count == make->mailboxes_room) {
		if (!(grown = realloc(job->mailboxes, room * sizeof *grown))) {
			make->memory_lost = true;
			return;
		}
		job->mailboxes = grown;
		make->mailboxes_room = room;
	}
	job->mailboxes[job->mailboxes_count++] = *mailbox;
}

/* Waves are known by the job's list, or else by who names them first. */
static const char *make_wave(struct job_make *make, const struct job_spot *spot, const char *name)
{
	const struct job_mailbox *before = mailbox_before(make);

	if (!*name || (before && strcmp(before->wave, name) == 0))
		return *name ? before->wave : "";
	for (size_t i = 0; i < make->waves_count; i++)
		if (strcmp(make->waves[i], name) == 0)
			return make->waves[i];
	if (make->waves_given)
		job_fault_at(make, spot, "the wave is none of those listed as `waves`");
	else if (make->waves_count == JOB_WAVES_MAX)
		job_fault_at(make, spot, "there are more than 1000 waves");
	else
		return make->waves[make->waves_count++] = job_keep(make, text_of(name));
	return "";
}

static void check_connections(struct job_make *make, const struct job_spot *spot, unsigned wanted)
{
	char text[120];

	if (wanted <= make->owner->job.limits.connections_per_account)
		return;
	snprintf(text, sizeof text, "is %u, more than limits.connections_per_account (%u)", wanted,
		 make->owner->job.limits.connections_per_account);
	job_fault_at(make, spot, text);
}

/* The target with the mailbox's user in it, where it has users. */
static void make_target(struct job_make *make, const struct job_spot *spot, const char *target,
			const char *user, struct job_mailbox *mailbox)
{
	const struct job_mailbox *before = mailbox_before(make);

	if (!drivers_is_server(target) && before && strcmp(before->target, target) == 0)
		mailbox->target = before->target;
	else if (read_url(make, spot, target, user) && check_target(make, spot))
		mailbox->target = job_keep(make, text_of(make->url.shown));
}

static struct job_mailbox new_mailbox(const char *file, uint32_t line)
{
	const struct secret_ref none = { .text = "" };

	return (struct job_mailbox){ .source = "",
				     .target = "",
				     .source_secret = none,
				     .target_secret = none,
				     .ca_file = "",
				     .wave = "",
				     .ticket = "",
				     .tags = "",
				     .account = "",
				     .file = file,
				     .line = line };
}

/* What cannot be left out once defaults are in. What was written and is wrong was told before. */
static void check_complete(struct job_make *make, const struct job_mailbox *mailbox,
			   bool has_password)
{
	struct job_spot spot = { mailbox->file, mailbox->line, "" };

	if (!*mailbox->target && !make->target_missed &&
	    !job_file_line(make->file, JOB_KEY_TARGET_URL)) {
		make->target_missed = true;
		job_fault_at(make, &spot,
			     "no target: give the job file a target.url, or the mailbox (and "
			     "perhaps others below) a target");
	}
	if (!has_password && mailbox->source_secret.kind == SECRET_REF_NONE &&
	    !drivers_is_archive(mailbox->source) &&
	    !job_file_line(make->file, make->source_secret_key))
		job_fault_at(make, &spot,
			     "no password: give the job file a source.password or source.oauth2, "
			     "or the mailbox a password");
	if (mailbox->target_secret.kind == SECRET_REF_NONE && drivers_is_server(mailbox->target) &&
	    !job_file_line(make->file, make->target_secret_key))
		job_fault_at(make, &spot,
			     "no password for the target: give the job file a target.password or "
			     "target.oauth2, or the mailbox a target_password");
}

/* The job's own way to log in is for mailboxes that say nothing; an archive has none. */
static void default_source_secret(struct job_make *make, struct job_mailbox *mailbox,
				  const char *user)
{
	if (drivers_is_archive(mailbox->source))
		return;
	job_secret_default(make, mailbox, make->source_secret_key, user, &mailbox->source_secret);
	mailbox->source_login = make->owner->job.source_login;
}

static void default_target_secret(struct job_make *make, struct job_mailbox *mailbox,
				  const char *user)
{
	job_secret_default(make, mailbox, make->target_secret_key, user, &mailbox->target_secret);
	mailbox->target_login = make->owner->job.target_login;
}

/* ---- rows of the job file ---- */

static void row_account(struct job_make *make, struct job_mailbox *mailbox)
{
	char name[2 * URL_PART_BYTES_MAX + 32];

	url_mailbox_name(&make->url, name, sizeof name);
	for (char *c = name; strchr(make->url.user, '@') && *c; c++)
		*c = *c >= 'A' && *c <= 'Z' ? (char)(*c - 'A' + 'a') : *c;
	mailbox->account = job_keep(make, text_of(name));
	mailbox->source = job_keep(make, text_of(make->url.shown));
}

/* A mailbox of the archive make->url, or (`name` is NULL) the one that it names at its end. */
static bool archived_account(struct job_make *make, const struct job_spot *spot, const char *name,
			     struct job_mailbox *mailbox)
{
	const struct url *url = &make->url;
	enum err e = name ? url_add_mailbox(&make->url, name) : OK;

	if (e) {
		job_fault_at_raised(make, spot, e);
		return false;
	}
	url_archived_account(url, &make->scratch);
	make->memory_lost |= make->scratch.failed;
	mailbox->account = make->scratch.failed ? "" : job_keep(make, text_of(make->scratch.at));
	mailbox->source = job_keep(make, text_of(url->shown));
	return true;
}

/* False: told. */
static bool row_source(struct job_make *make, size_t row, struct job_mailbox *mailbox)
{
	const char *source = job_file_row_text(make->file, row, JOB_KEY_ROW_SOURCE);
	const char *user = job_file_row_text(make->file, row, JOB_KEY_ROW_SOURCE_USER);
	char key[JOB_KEY_PATH_BYTES_MAX];
	struct job_spot spot = spot_of_row(make, row, JOB_KEY_ROW_SOURCE, key);

	user = user ? user : job_file_row_text(make->file, row, JOB_KEY_ROW_USER);
	if (!source && !(source = make->source)) {
		if (!make->source_missed && !job_file_line(make->file, JOB_KEY_SOURCE_URL))
			job_fault_at(make, &spot,
				     "no source: give the job file a source.url, or the "
				     "mailbox (and perhaps others below) a source");
		make->source_missed = true;
		return false;
	}
	if (!read_url(make, &spot, source, user ? user : "") || !check_source(make, &spot))
		return false;
	if (drivers_has_archives(make->url.scheme) && (user || source != make->source))
		return archived_account(make, &spot, user, mailbox);
	if (*make->url.user) {
		row_account(make, mailbox);
		return true;
	}
	spot = spot_of_row(make, row, JOB_KEY_ROW_USER, key);
	job_fault_at(make, &spot, "no user: whose mailbox is it?");
	return false;
}

static void row_secrets(struct job_make *make, size_t row, const char *source_user,
			const char *target_user, struct job_mailbox *mailbox)
{
	const char *own = job_file_row_text(make->file, row, JOB_KEY_ROW_PASSWORD);
	const char *own_target = job_file_row_text(make->file, row, JOB_KEY_ROW_TARGET_PASSWORD);
	char key[JOB_KEY_PATH_BYTES_MAX];
	struct job_spot spot = spot_of_row(make, row, JOB_KEY_ROW_PASSWORD, key);

	if (own)
		job_secret_make(make, &spot, own, source_user, NULL, &mailbox->source_secret);
	else
		default_source_secret(make, mailbox, source_user);
	spot = spot_of_row(make, row, JOB_KEY_ROW_TARGET_PASSWORD, key);
	if (own_target)
		job_secret_make(make, &spot, own_target, target_user, NULL,
				&mailbox->target_secret);
	else
		default_target_secret(make, mailbox, target_user);
	check_complete(make, mailbox, own != NULL);
}

static const char *row_text(struct job_make *make, size_t row, enum job_key_id id)
{
	const char *text = job_file_row_text(make->file, row, id);

	return text ? text : "";
}

static void row_rest(struct job_make *make, size_t row, struct job_mailbox *mailbox)
{
	const struct job_mailbox *before = mailbox_before(make);
	const char *ca_file = row_text(make, row, JOB_KEY_ROW_CA_FILE);
	const char *connections = job_file_row_text(make->file, row, JOB_KEY_ROW_CONNECTIONS);
	char key[JOB_KEY_PATH_BYTES_MAX];
	struct job_spot spot = spot_of_row(make, row, JOB_KEY_ROW_WAVE, key);

	mailbox->wave = make_wave(make, &spot, row_text(make, row, JOB_KEY_ROW_WAVE));
	mailbox->ticket = keep_like(make, before ? before->ticket : NULL,
				    row_text(make, row, JOB_KEY_ROW_TICKET));
	mailbox->tags = keep_like(make, before ? before->tags : NULL,
				  row_text(make, row, JOB_KEY_ROW_TAGS));
	mailbox->priority = (int32_t)job_file_row_value(make->file, row, JOB_KEY_ROW_PRIORITY);
	mailbox->connections =
		connections ? (uint16_t)job_file_row_value(make->file, row, JOB_KEY_ROW_CONNECTIONS)
			    : (uint16_t)job_file_value(make->file, JOB_KEY_SOURCE_CONNECTIONS);
	if (connections) {
		spot = spot_of_row(make, row, JOB_KEY_ROW_CONNECTIONS, key);
		check_connections(make, &spot, mailbox->connections);
	}
	mailbox->ca_file = make->ca_file;
	if (*ca_file) {
		mailbox->ca_file = job_resolve_path(make, ca_file);
		spot = spot_of_row(make, row, JOB_KEY_ROW_CA_FILE, key);
		job_check_readable(make, mailbox->ca_file, spot.line, key);
	}
}

static void make_row(struct job_make *make, size_t row)
{
	struct job_mailbox mailbox = new_mailbox(
		make->faults.file, job_file_row_line(make->file, row, JOB_KEY_ROW_USER));
	const char *target = job_file_row_text(make->file, row, JOB_KEY_ROW_TARGET);
	const char *user = job_file_row_text(make->file, row, JOB_KEY_ROW_TARGET_USER);
	char key[JOB_KEY_PATH_BYTES_MAX], source_user[URL_PART_BYTES_MAX + 1];
	struct job_spot spot = spot_of_row(make, row, JOB_KEY_ROW_TARGET, key);

	if (!row_source(make, row, &mailbox))
		return;
	snprintf(source_user, sizeof source_user, "%s", make->url.user);
	user = user ? user : job_file_row_text(make->file, row, JOB_KEY_ROW_USER);
	user = user ? user : source_user;
	if (target || (target = make->target))
		make_target(make, &spot, target, user, &mailbox);
	row_secrets(make, row, source_user, user, &mailbox);
	row_rest(make, row, &mailbox);
	add_mailbox(make, &mailbox);
}

/* ---- rows of a list ---- */

/* What a list's row calls its columns depends on its dialect; these are the names of our own. */
static void make_list_row(struct job_make *make, const char *file, const struct mailbox_row *row)
{
	const struct job_mailbox *before = mailbox_before(make);
	struct job_mailbox mailbox = new_mailbox(file, row->line);
	const char *target = *row->target ? row->target : make->target;
	const char *target_user = *row->target_user ? row->target_user : row->source_user;
	struct job_spot spot = { file, row->line, "dest" };

	mailbox.source = row->source;
	mailbox.account = row->account;
	mailbox.ca_file = make->ca_file;
	mailbox.ticket = row->ticket;
	mailbox.tags = row->tags;
	mailbox.priority = row->priority;
	if (target)
		make_target(make, &spot, target, target_user, &mailbox);
	spot.key = "source_auth";
	if (row->source_secret.kind)
		job_secret_of_list(make, &spot, &row->source_secret,
				   before ? &before->source_secret : NULL, &mailbox.source_secret);
	else
		default_source_secret(make, &mailbox, row->source_user);
	spot.key = "dest_auth";
	if (row->target_secret.kind)
		job_secret_of_list(make, &spot, &row->target_secret,
				   before ? &before->target_secret : NULL, &mailbox.target_secret);
	else
		default_target_secret(make, &mailbox, target_user);
	check_complete(make, &mailbox, row->source_secret.kind != SECRET_REF_NONE);
	spot.key = "batch";
	mailbox.wave = make_wave(make, &spot, row->wave);
	mailbox.connections = row->connections;
	spot.key = "connections";
	if (row->connections)
		check_connections(make, &spot, row->connections);
	else
		mailbox.connections =
			(uint16_t)job_file_value(make->file, JOB_KEY_SOURCE_CONNECTIONS);
	add_mailbox(make, &mailbox);
}

static void pass_fault(void *context, const struct job_fault *fault)
{
	struct job_make *make = context;

	job_fault_pass(&make->faults, fault);
}

static void make_list(struct job_make *make, size_t index)
{
	struct mailbox_csv_defaults defaults = {
		.source = make->source ? make->source : "",
		.target_given = make->target != NULL,
		.source_wrong = !make->source && job_file_line(make->file, JOB_KEY_SOURCE_URL),
	};
	struct job_owner *owner = make->owner;
	const char *path = job_resolve_path(make, job_file_item(make->file, JOB_KEY_CSV, index));
	unsigned before = make->faults.count;
	struct mailbox_csv *list = NULL;
	enum err e = mailbox_csv_read(path, &defaults, pass_fault, make, &list);

	if (e) {
		make->list_failed = true;
		if (make->faults.count == before)
			job_fault_raised(&make->faults,
					 job_file_item_line(make->file, JOB_KEY_CSV, index),
					 job_keys[JOB_KEY_CSV].path, e);
		err_note_clear();
		return;
	}
	owner->lists[owner->lists_count++] = list;
	for (size_t i = 0; i < list->count; i++)
		make_list_row(make, path, &list->rows[i]);
}

/* ---- all of them ---- */

static int by_account(const void *a, const void *b)
{
	const struct job_mailbox *one = *(const struct job_mailbox *const *)a;
	const struct job_mailbox *other = *(const struct job_mailbox *const *)b;
	int order = strcmp(one->account, other->account);

	return order ? order : (one > other) - (one < other);
}

static const char *behind_scheme(const char *url)
{
	const char *mark = strstr(url, "://");

	return mark ? mark + 3 : url;
}

static int compare_targets(const struct job_mailbox *one, const struct job_mailbox *other)
{
	return one->target == other->target
		       ? 0
		       : strcasecmp(behind_scheme(one->target), behind_scheme(other->target));
}

static int by_target(const void *a, const void *b)
{
	const struct job_mailbox *one = *(const struct job_mailbox *const *)a;
	const struct job_mailbox *other = *(const struct job_mailbox *const *)b;
	int order = compare_targets(one, other);

	return order ? order : (one > other) - (one < other);
}

/* The caller frees the list. NULL: without memory, which is noted. */
static const struct job_mailbox **sorted_mailboxes(struct job_make *make,
						   int (*compare)(const void *, const void *))
{
	const struct job *job = &make->owner->job;
	const struct job_mailbox **sorted = calloc(job->mailboxes_count + 1, sizeof *sorted);

	make->memory_lost |= !sorted;
	for (size_t i = 0; sorted && i < job->mailboxes_count; i++)
		sorted[i] = &job->mailboxes[i];
	if (sorted)
		qsort(sorted, job->mailboxes_count, sizeof *sorted, compare);
	return sorted;
}

/* Over all lists; each list has looked for itself, but not at the others. */
static void find_twins(struct job_make *make)
{
	struct job *job = &make->owner->job;
	const struct job_mailbox **sorted = sorted_mailboxes(make, by_account);
	char text[JOB_PATH_BYTES_MAX / 4];

	for (size_t i = 1; sorted && i < job->mailboxes_count; i++) {
		struct job_spot spot = { sorted[i]->file, sorted[i]->line, "" };

		if (strcmp(sorted[i - 1]->account, sorted[i]->account) != 0)
			continue;
		snprintf(text, sizeof text, "the mailbox %s stands there already, in %s:%u",
			 sorted[i]->account, sorted[i - 1]->file, sorted[i - 1]->line);
		job_fault_at(make, &spot, text);
	}
	free(sorted);
}

/* What a mailbox of an archive is called in another one. */
static const char *archived_name(const struct job_mailbox *mailbox)
{
	const char *slash =
		drivers_is_packed(mailbox->source) ? strrchr(mailbox->source, '/') : NULL;

	return slash ? slash + 1 : "";
}

static int by_target_and_name(const void *a, const void *b)
{
	const struct job_mailbox *one = *(const struct job_mailbox *const *)a;
	const struct job_mailbox *other = *(const struct job_mailbox *const *)b;
	int order = strcmp(one->target, other->target);

	order = order ? order : strcmp(archived_name(one), archived_name(other));
	return order ? order : (one > other) - (one < other);
}

/* Mailboxes of two archives go by their own names. */
static void find_namesakes(struct job_make *make)
{
	struct job *job = &make->owner->job;
	const struct job_mailbox **sorted = sorted_mailboxes(make, by_target_and_name);
	char text[JOB_PATH_BYTES_MAX / 4];

	for (size_t i = 1; sorted && i < job->mailboxes_count; i++) {
		struct job_spot spot = { sorted[i]->file, sorted[i]->line, "" };

		if (!*archived_name(sorted[i]) || drivers_is_server(sorted[i]->target) ||
		    strcmp(sorted[i - 1]->target, sorted[i]->target) != 0 ||
		    strcmp(archived_name(sorted[i - 1]), archived_name(sorted[i])) != 0)
			continue;
		snprintf(text, sizeof text,
			 "would have the name of the mailbox of %s:%u in the same archive; give it "
			 "a target of its own",
			 sorted[i - 1]->file, sorted[i - 1]->line);
		job_fault_at(make, &spot, text);
	}
	free(sorted);
}

/* One warning for all: where the target names a user, they may be all mailboxes of the job. */
static void warn_of_shared(struct job_make *make)
{
	const struct job_mailbox **sorted = sorted_mailboxes(make, by_target);
	size_t count = 0, shown = 0;
	char text[JOB_PATH_BYTES_MAX / 4];

	for (size_t i = 1; sorted && i < make->owner->job.mailboxes_count; i++) {
		if (compare_targets(sorted[i - 1], sorted[i]) != 0 ||
		    !drivers_is_server(sorted[i]->target))
			continue;
		count++;
		shown = shown ? shown : i;
	}
	if (count) {
		snprintf(text, sizeof text,
			 "goes to the same account as the mailbox of %s:%u, and begins when that "
			 "one has ended; such mailboxes in all: %zu",
			 sorted[shown - 1]->file, sorted[shown - 1]->line, count);
		job_fault_pass(&make->faults, &(struct job_fault){ .warning = true,
								   .file = sorted[shown]->file,
								   .line = sorted[shown]->line,
								   .key = "",
								   .text = text });
	}
	free(sorted);
}

const char *job_target_account(const struct job_mailbox *mailbox)
{
	return drivers_is_server(mailbox->target) ? behind_scheme(mailbox->target) : NULL;
}

void job_make_mailboxes(struct job_make *make)
{
	size_t lists = job_file_items_count(make->file, JOB_KEY_CSV);
	struct job_owner *owner = make->owner;

	check_job_urls(make);
	job_login_make(make);
	job_secret_shared(make, make->source_secret_key, &make->source_secret);
	job_secret_shared(make, make->target_secret_key, &make->target_secret);
	if (!(owner->lists = calloc(lists + 1, sizeof(struct mailbox_csv *)))) {
		make->memory_lost = true;
		return;
	}
	for (size_t i = 0; i < job_file_rows_count(make->file); i++)
		make_row(make, i);
	for (size_t i = 0; i < lists && !make->memory_lost; i++)
		make_list(make, i);
	find_twins(make);
	find_namesakes(make);
	if (!make->faults.count)
		warn_of_shared(make);
	if (!owner->job.mailboxes_count && !make->faults.count)
		job_fault(&make->faults, 0, "mailboxes",
			  "there are none; name a list as mailboxes.csv, or write them as "
			  "mailboxes.list");
}
