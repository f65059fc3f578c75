/* mailhaul config: what a job file says, checked whole, without doing any of it. */
#include <stdlib.h>

#include "engine/bytes.h"
#include "tools/commands.h"
#include "tools/hints.h"
#include "tools/job.h"
#include "tools/job_keys.h"
#include "tools/json_out.h"
#include "tools/terminal.h"
#include "transport/residency.h"

struct config_options {
	bool json;
};

/* ---- faults ---- */

/* FILE:LINE: KEY: TEXT, as compilers write it, so that editors find the place. */
static void say_fault(void *context, const struct job_fault *fault)
{
	char file[1024], key[256], text[ERR_NOTE_BYTES_MAX * 2];
	unsigned *count = context;

	terminal_text(file, sizeof file, fault->file);
	terminal_text(key, sizeof key, fault->key);
	terminal_text(text, sizeof text, fault->text);
	fputs(file, stderr);
	if (fault->line)
		fprintf(stderr, ":%u", fault->line);
	fprintf(stderr, ": %s%s%s%s\n", fault->warning ? "warning: " : "", key, *key ? ": " : "",
		text);
	*count += fault->more ? fault->more : !fault->warning;
}

static int open_job(const char *path, struct job **job)
{
	unsigned faults = 0;
	enum err e = job_open(path, say_fault, &faults, job);

	if (e == ERR_INPUT_FILE || (e && err_exit_code(e) == EXIT_RESIDENCY)) {
		fprintf(stderr, "mailhaul: config: %u fault%s; nothing would be run.\n", faults,
			faults == 1 ? "" : "s");
		err_note_clear();
		return err_exit_code(e);
	}
	return e ? hint_fail("config", e) : EXIT_ALL_MOVED;
}

/* ---- showing ---- */

/* One writer for both: what is shown as YAML is JSON's spelling of each value, which YAML takes. */
struct writer {
	struct json_out json; /* depth 0 and reused for values where YAML is written */
	bool yaml;
	unsigned depth;
	bool item; /* a list's row begins with the next key */
};

static void yaml_key(struct writer *to, const char *key)
{
	for (unsigned i = 0; i < to->depth; i++)
		fputs(to->item && i + 1 == to->depth ? "- " : "  ", to->json.file);
	to->item = false;
	fprintf(to->json.file, "%s:", key);
}

static void begin(struct writer *to, const char *key)
{
	if (to->yaml) {
		yaml_key(to, key);
		fputc('\n', to->json.file);
		to->depth++;
	} else {
		json_object_begin(&to->json, key);
	}
}

static void end(struct writer *to)
{
	if (to->yaml)
		to->depth--;
	else
		json_object_end(&to->json);
}

static void put_text(struct writer *to, const char *key, const char *value)
{
	struct json_out alone = { .file = to->json.file };

	if (!value || !*value)
		return;
	if (!to->yaml) {
		json_text(&to->json, key, value);
		return;
	}
	yaml_key(to, key);
	fputc(' ', to->json.file);
	json_text(&alone, NULL, value);
	json_line_end(&alone);
}

static void put_number(struct writer *to, const char *key, int64_t value)
{
	if (!to->yaml) {
		json_signed(&to->json, key, value);
		return;
	}
	yaml_key(to, key);
	fprintf(to->json.file, " %lld\n", (long long)value);
}

/* A value with its unit, in YAML as the key takes it, in JSON as a number of that unit. */
static void put_unit(struct writer *to, const char *key, uint64_t value, const char *unit)
{
	char text[48];

	if (!to->yaml) {
		json_number(&to->json, key, value);
		return;
	}
	snprintf(text, sizeof text, "%llu%s", (unsigned long long)value, unit);
	put_text(to, key, text);
}

static void put_bool(struct writer *to, const char *key, bool value)
{
	if (!to->yaml) {
		json_bool(&to->json, key, value);
		return;
	}
	yaml_key(to, key);
	fprintf(to->json.file, " %s\n", value ? "true" : "false");
}

/* A password that stands in a list is no reference of a job file's; where it stands is all that is
 * shown. */
static void put_secret(struct writer *to, const char *key, const struct secret_ref *ref)
{
	struct buffer text = { 0 };

	if (ref->kind == SECRET_REF_NONE)
		return;
	buffer_addf(&text, "%s%s", secret_ref_prefix(ref->kind), ref->text);
	put_text(to, key, text.failed ? NULL : text.at);
	buffer_free(&text);
}

static void show_mailbox(struct writer *to, const struct job_mailbox *mailbox)
{
	if (to->yaml)
		to->item = true;
	else
		json_object_begin(&to->json, NULL);
	put_text(to, "source", mailbox->source);
	if (!mailbox->source_login)
		put_secret(to, "password", &mailbox->source_secret);
	put_text(to, "ca_file", mailbox->ca_file);
	put_text(to, "target", mailbox->target);
	if (!mailbox->target_login)
		put_secret(to, "target_password", &mailbox->target_secret);
	put_number(to, "priority", mailbox->priority);
	put_text(to, "wave", mailbox->wave);
	put_number(to, "connections", mailbox->connections);
	put_text(to, "ticket", mailbox->ticket);
	put_text(to, "tags", mailbox->tags);
	if (!to->yaml)
		json_object_end(&to->json);
}

static void show_mailboxes(struct writer *to, const struct job *job)
{
	begin(to, "mailboxes");
	if (to->yaml)
		yaml_key(to, "list");
	else
		json_array_begin(&to->json, "list");
	if (to->yaml)
		fputc('\n', to->json.file);
	to->depth += 2;
	for (size_t i = 0; i < job->mailboxes_count; i++)
		show_mailbox(to, &job->mailboxes[i]);
	to->depth -= 2;
	if (!to->yaml)
		json_array_end(&to->json);
	end(to);
}

static void show_waves(struct writer *to, const struct job *job)
{
	if (!job->waves_count)
		return;
	if (to->yaml)
		yaml_key(to, "waves");
	else
		json_array_begin(&to->json, "waves");
	for (size_t i = 0; i < job->waves_count; i++) {
		struct json_out alone = { .file = to->json.file };

		if (to->yaml)
			fputs("\n  - ", to->json.file);
		json_text(to->yaml ? &alone : &to->json, NULL, job->waves[i]);
	}
	if (to->yaml)
		fputc('\n', to->json.file);
	else
		json_array_end(&to->json);
}

static void show_limits(struct writer *to, const struct job_limits *limits)
{
	begin(to, "limits");
	put_number(to, "workers", limits->workers);
	put_number(to, "mailboxes", limits->mailboxes);
	put_number(to, "connections", limits->connections);
	put_number(to, "connections_per_host", limits->connections_per_host);
	put_number(to, "connections_per_account", limits->connections_per_account);
	if (limits->bytes_per_second)
		put_unit(to, "bandwidth", limits->bytes_per_second, "B/s");
	else
		put_text(to, "bandwidth", "off");
	end(to);
}

static void show_window(struct writer *to, const struct job *job)
{
	if (!job->window)
		return;
	begin(to, "window");
	put_text(to, "open", job->window_texts[0]);
	put_text(to, "blackout", job->window_texts[1]);
	put_text(to, "bandwidth", job->window_texts[2]);
	end(to);
}

static void show_options(struct writer *to, const struct job_options *options)
{
	begin(to, "options");
	put_text(to, "digest", options->digest);
	if (options->zstd_level)
		put_number(to, "zstd", options->zstd_level);
	else
		put_text(to, "zstd", "off");
	put_unit(to, "pack_size", options->pack_bytes, "B");
	put_text(to, "flags",
		 options->flags_never  ? "never"
		 : options->flags_keep ? "keep"
				       : "auto");
	put_text(to, "skip_existing",
		 job_key_option(&job_keys[JOB_KEY_SKIP_EXISTING])->choices[options->existing]);
	put_unit(to, "settle", (uint64_t)(options->settle / NSEC_MILLISECOND), "ms");
	put_text(to, "wrap", options->wrap);
	put_bool(to, "newest_first", options->newest_first);
	put_unit(to, "io_timeout", (uint64_t)(options->io_timeout / NSEC_MILLISECOND), "ms");
	put_unit(to, "connect_timeout", (uint64_t)(options->connect_timeout / NSEC_MILLISECOND),
		 "ms");
	end(to);
}

static void show_login(struct writer *to, const struct login *login)
{
	begin(to, "oauth2");
	put_text(to, login_credential_key(login->grant), login->credential);
	put_secret(to, "client_secret", &login->client_secret);
	put_text(to, "token_url", login->token_url);
	put_text(to, "client_id", login->client_id);
	put_text(to, "scope", login->scope);
	put_text(to, "ca_file", login->ca_file);
	end(to);
}

static void show_texts(struct writer *to, const char *key, const char *const *texts, size_t count)
{
	if (!count)
		return;
	if (to->yaml)
		yaml_key(to, key);
	else
		json_array_begin(&to->json, key);
	for (size_t i = 0; i < count; i++) {
		struct json_out alone = { .file = to->json.file };

		if (to->yaml)
			fputs("\n    - ", to->json.file);
		json_text(to->yaml ? &alone : &to->json, NULL, texts[i]);
	}
	if (to->yaml)
		fputc('\n', to->json.file);
	else
		json_array_end(&to->json);
}

static void show_bucket(struct writer *to, const struct bucket_options *bucket, bool stores)
{
	begin(to, "s3");
	put_text(to, "profile", bucket->profile);
	put_text(to, "region", bucket->region);
	put_text(to, "endpoint", bucket->endpoint);
	put_text(to, "addressing", bucket->addressing);
	put_text(to, "role", bucket->role);
	put_text(to, "external_id", bucket->external_id);
	put_text(to, "mfa_serial", bucket->mfa_serial);
	put_text(to, "mfa_command", bucket->mfa_command);
	put_text(to, "session_policy", bucket->session_policy);
	put_text(to, "source_identity", bucket->source_identity);
	show_texts(to, "session_tags", bucket->session_tags.at, bucket->session_tags.count);
	put_text(to, "ca_file", bucket->ca_file);
	put_text(to, "owner", bucket->owner);
	if (stores) {
		put_text(to, "encryption", bucket->encryption);
		put_text(to, "kms_key", bucket->kms_key);
		put_text(to, "kms_context", bucket->kms_context);
		put_bool(to, "bucket_key", bucket->bucket_key);
		put_text(to, "storage_class", bucket->storage_class);
		put_text(to, "object_lock", bucket->lock_mode);
		put_text(to, "retain_until", bucket->retain_until);
		put_bool(to, "legal_hold", bucket->legal_hold);
		put_text(to, "guard", bucket->guard);
		show_texts(to, "replicas", bucket->replicas.at, bucket->replicas.count);
		put_text(to, "audit", bucket->audit);
		put_text(to, "checksum", bucket->checksum);
	}
	end(to);
}

/* What holds for one side; what the mailboxes themselves say is with them. */
static void show_side(struct writer *to, const char *side, const struct job_route *route,
		      const struct login *login, const struct job_pace *pace, const char *daily,
		      const struct gmail_options *gmail, const struct job_bucket *bucket)
{
	bool labels = gmail && (gmail->keywords || strcmp(gmail->labels, gmail_rules[0]) != 0);

	if (!*route->bind_address && !*route->proxy && !route->compress && !login &&
	    !pace->messages_per_second && !pace->bytes_a_day && !labels && !*bucket->name)
		return;
	begin(to, side);
	put_text(to, "bind_address", route->bind_address);
	put_text(to, "proxy", route->proxy);
	put_secret(to, "proxy_password", &route->proxy_password);
	if (route->compress)
		put_bool(to, "compress", true);
	if (pace->messages_per_second)
		put_number(to, "messages_per_second", pace->messages_per_second);
	if (pace->bytes_a_day)
		put_number(to, daily, pace->bytes_a_day);
	if (labels) {
		put_text(to, "gmail_labels", gmail->labels);
		put_bool(to, "gmail_keywords", gmail->keywords);
	}
	if (login)
		show_login(to, login);
	if (*bucket->name)
		show_bucket(to, &bucket->options, !gmail);
	end(to);
}

static void show_filter(struct writer *to, const struct job_filter *filter)
{
	if (!filter->filter)
		return;
	begin(to, "filter");
	show_texts(to, "include_folders", filter->include.at, filter->include.count);
	show_texts(to, "exclude_folders", filter->exclude.at, filter->exclude.count);
	show_texts(to, "rename_folders", filter->rename.at, filter->rename.count);
	put_text(to, "since", filter->since);
	put_text(to, "before", filter->before);
	if (filter->min_bytes)
		put_unit(to, "min_size", filter->min_bytes, "B");
	if (filter->max_bytes)
		put_unit(to, "max_size", filter->max_bytes, "B");
	end(to);
}

static void show_residency(struct writer *to, const struct residency *policy)
{
	const char *texts[RESIDENCY_ENTRIES_MAX];

	if (!policy)
		return;
	begin(to, "residency");
	for (unsigned i = 0; i < RESIDENCY_KINDS; i++) {
		enum residency_kind kind = (enum residency_kind)i;
		unsigned count = residency_count(policy, kind);

		for (unsigned at = 0; at < count; at++)
			texts[at] = residency_entry(policy, kind, at);
		show_texts(to, residency_kind_name(kind), texts, count);
	}
	end(to);
}

static void show_outputs(struct writer *to, const struct job_outputs *outputs)
{
	put_text(to, "state", outputs->state);
	if (*outputs->text || *outputs->json || *outputs->csv || *outputs->html) {
		begin(to, "report");
		put_text(to, "text", outputs->text);
		put_text(to, "json", outputs->json);
		put_text(to, "csv", outputs->csv);
		put_text(to, "html", outputs->html);
		end(to);
	}
	if (*outputs->metrics) {
		begin(to, "metrics");
		put_text(to, "listen", outputs->metrics);
		end(to);
	}
	begin(to, "log");
	put_text(to, "file", outputs->log);
	put_text(to, "level", outputs->log_level);
	put_bool(to, "json", outputs->log_json);
	put_bool(to, "names", outputs->log_names);
	end(to);
}

static void show_job(const struct job *job, bool json)
{
	struct writer to = { .json = { .file = stdout }, .yaml = !json };

	if (json)
		json_object_begin(&to.json, NULL);
	put_text(&to, "name", job->name);
	show_outputs(&to, &job->outputs);
	show_side(&to, "source", &job->source_route, job->source_login, &job->limits.source,
		  "daily_down", &job->options.gmail, &job->source_bucket);
	show_side(&to, "target", &job->target_route, job->target_login, &job->limits.target,
		  "daily_up", NULL, &job->target_bucket);
	show_limits(&to, &job->limits);
	show_window(&to, job);
	show_filter(&to, &job->filter);
	show_residency(&to, job->residency);
	show_options(&to, &job->options);
	show_waves(&to, job);
	show_mailboxes(&to, job);
	if (json) {
		json_object_end(&to.json);
		json_line_end(&to.json);
	}
}

/* ---- the command ---- */

static int config_job(const char *verb, const char *path, bool json)
{
	struct job *job = NULL;
	int exit_code = open_job(path, &job);

	if (exit_code)
		return exit_code;
	if (strcmp(verb, "show") == 0)
		show_job(job, json);
	else
		printf("%s: %zu mailbox%s, no faults.\n", path, job->mailboxes_count,
		       job->mailboxes_count == 1 ? "" : "es");
	job_close(&job);
	return command_finish_output("config", EXIT_ALL_MOVED);
}

extern const struct command config_command;

static int config_main(int count, char *const *words)
{
	struct config_options options = { 0 };
	struct opt_words arguments;
	const char *verb;
	int exit_code;

	if (!command_parse(config_command.usage, count, words, &options, &arguments, &exit_code))
		return exit_code;
	verb = arguments.at[0];
	if (strcmp(verb, "keys") == 0 && arguments.count == 1) {
		job_keys_print(stdout);
		return command_finish_output("config", EXIT_ALL_MOVED);
	}
	if ((strcmp(verb, "check") == 0 || strcmp(verb, "show") == 0) && arguments.count == 2)
		return config_job(verb, arguments.at[1], options.json);
	return hint_fail("config", RAISE(ERR_INPUT_USAGE, "config is followed by check FILE, show "
							  "FILE or keys"));
}

static const struct opt options_table[] = {
	{ .name = "json",
	  OPT_STORES_FLAG(struct config_options, json),
	  .help = "With show: print one JSON object instead of YAML. Sizes are in bytes there, "
		  "times in milliseconds." },
};

static const struct opt_section sections[] = {
	{ "Exit codes", "0 without faults, 65 with one or more, 120 where all of them are hosts "
			"outside of the job's residency: each is a line on stderr, FILE:LINE: KEY: "
			"what is wrong.\n" },
};

static const struct opt_command usage = {
	.name = "config",
	.arguments = "check|show|keys [FILE]",
	.words_min = 1,
	.words_max = 2,
	.summary = "check or show a job file before it is run",
	.about = "check reads a job file and every list it names, and tells all that is wrong with "
		 "them. show prints the job as it would be run: every default filled in, every "
		 "mailbox with what holds for it; what it prints is a job file again, unless "
		 "passwords stand in a list. keys prints the table of all keys.\n"
		 "\n"
		 "No connection is opened, and secrets are never read: what is shown says only "
		 "where "
		 "they are.\n",
	.options = options_table,
	.options_count = ARRAY_COUNT(options_table),
	.sections = sections,
	.sections_count = ARRAY_COUNT(sections),
	.examples = "  mailhaul config check tenant.yaml\n"
		    "  mailhaul config show --json tenant.yaml\n",
};

const struct command config_command = { &usage, config_main };
