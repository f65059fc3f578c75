#include "tools/confinement.h"

#include <stdlib.h>

#include "crypto/digest.h"
#include "engine/offload.h"
#include "tools/secret_ref_exec.h"
#include "tools/units.h"
#include "transport/resolve.h"
#include "transport/tls.h"

const char *const confinement_modes[] = { "on", "log", "off", NULL };

static enum confine_mode mode = CONFINE_OFF;
static bool begun;
static const char **commands; /* the helper's, too: it is a copy of this process */

enum err confinement_prepare(const char *name)
{
	must(confine_mode_from_name(name, &mode));
	return mode == CONFINE_OFF ? OK : secret_process_setup();
}

/* ---- what the helper may run ---- */

enum { OF_COMMAND_LINE_MAX = 16 }; /* tokens, and keys of two buckets */
static const char *of_command_line[OF_COMMAND_LINE_MAX];
static size_t of_command_line_count;

void confinement_allow(const char *command)
{
	must(of_command_line_count < OF_COMMAND_LINE_MAX);
	of_command_line[of_command_line_count++] = command;
}

static void add_program(const struct secret_ref *ref, size_t *count)
{
	if (ref->kind != SECRET_REF_EXEC)
		return;
	if (commands)
		commands[*count] = ref->text;
	++*count;
}

/* Into `commands`, if there are any yet; how many there are. */
static size_t add_programs(const struct job *job)
{
	size_t count = 0;

	for (size_t i = 0; i < of_command_line_count; i++, count++)
		if (commands)
			commands[count] = of_command_line[i];
	if (job) {
		add_program(&job->source_route.proxy_password, &count);
		add_program(&job->target_route.proxy_password, &count);
	}
	for (size_t i = 0; job && i < job->mailboxes_count; i++) {
		const struct job_mailbox *mailbox = &job->mailboxes[i];

		add_program(&mailbox->source_secret, &count);
		add_program(&mailbox->target_secret, &count);
		if (mailbox->source_login)
			add_program(&mailbox->source_login->client_secret, &count);
		if (mailbox->target_login)
			add_program(&mailbox->target_login->client_secret, &count);
	}
	return count;
}

static enum err allow_programs(const struct job *job)
{
	size_t count = add_programs(job);

	if (count > 0 && !(commands = calloc(count, sizeof *commands)))
		return RAISE(ERR_MEMORY_EXHAUSTED, "listing the programs that give secrets");
	if (count > 0)
		must(add_programs(job) == count);
	secret_ref_exec_allow(commands, count);
	return OK;
}

/* ---- beginning and ending ---- */

static const struct helper_call *const calls[] = { &resolve_call, &secret_ref_exec_call,
						   &secret_ref_exec_whole_call };

/* The helper comes before no_new_privs, which what it runs would inherit: a program that gives a
 * password may well be one of another user (sudo). */
enum err confinement_begin(const struct job *job)
{
	enum err e;

	begun = true;
	if (mode == CONFINE_OFF) {
		confine_process(mode);
		return OK;
	}
	if ((e = allow_programs(job)) || (e = helper_start(calls, ARRAY_COUNT(calls))) ||
	    (e = tls_prepare()))
		return e;
	confine_process(mode);
	return offload_prestart();
}

/* OpenSSL and libsodium read their surroundings when they are used first. */
static enum err open_each_digest(void)
{
	static const char *const names[] = { "blake3", "blake2b-256", "sha-256" };
	struct digest digest;
	enum err e = OK;

	for (size_t i = 0; i < ARRAY_COUNT(names) && !e; i++)
		e = digest_of(digest_type(text_of(names[i])), "", 0, &digest);
	return e;
}

enum err confinement_begin_offline(const char *name)
{
	enum err e;

	if ((e = confinement_prepare(name)) || (e = open_each_digest()))
		return e;
	confine_process(mode);
	return OK;
}

void confinement_end(void)
{
	helper_stop();
	free(commands);
	commands = NULL;
}

/* ---- telling ---- */

void confinement_text(FILE *to)
{
	struct confine_facts facts;

	if (!begun)
		return;
	confine_facts(&facts);
	if (!secret_all_locked())
		fputs("Secrets      not locked in memory: raise ulimit -l (LimitMEMLOCK= of the "
		      "service)\n",
		      to);
	if (facts.filtered)
		fprintf(to, "Confined     %s: seccomp filters on %u thread%s, no core files%s\n",
			confine_mode_name(facts.mode), facts.threads, units_plural(facts.threads),
			facts.mode == CONFINE_LOG ? "; nothing is refused, see the kernel's log"
						  : "");
	else
		fprintf(to, "Not confined %s\n", facts.why);
}

void confinement_json(struct json_out *json)
{
	struct confine_facts facts;

	if (!begun)
		return;
	confine_facts(&facts);
	json_object_begin(json, "confinement");
	json_text(json, "mode", confine_mode_name(facts.mode));
	json_bool(json, "seccomp", facts.filtered);
	json_number(json, "threads", facts.threads);
	json_bool(json, "no_new_privs", facts.no_new_privs);
	json_bool(json, "core_files", facts.mode == CONFINE_OFF);
	json_bool(json, "helper", facts.mode != CONFINE_OFF);
	json_bool(json, "secrets_locked", secret_all_locked());
	json_bool(json, "ring_restricted", true); /* there is no ring otherwise */
	json_text(json, "why_not", facts.why);
	json_object_end(json);
}
