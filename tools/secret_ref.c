/* References to secrets: what they may look like, and getting what they name. Commands are run in
 * secret_ref_exec.c. */
#include "tools/secret_ref.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/bytes.h"
#include "engine/fiber.h"
#include "engine/offload.h"
#include "tools/mailbox_secret.h"
#include "tools/secret_ref_exec.h"

enum { PATH_BYTES_MAX = 1024 };
/* The waiting fiber gives the thread this much longer than the command, so that the error is the
 * command's own. */
#define GRACE NSEC_SECOND

static const char *const prefixes[] = {
	[SECRET_REF_NONE] = "",	     [SECRET_REF_FILE] = "file:",
	[SECRET_REF_ENV] = "env:",   [SECRET_REF_SYSTEMD] = "systemd:",
	[SECRET_REF_EXEC] = "exec:", [SECRET_REF_CSV] = "csv:",
};

const char *secret_ref_prefix(enum secret_ref_kind kind)
{
	must((size_t)kind < ARRAY_COUNT(prefixes));
	return prefixes[kind];
}

/* ---- parsing ---- */

static bool is_name(const char *text, const char *forbidden)
{
	return *text && !text[strcspn(text, forbidden)] && strcmp(text, ".") && strcmp(text, "..");
}

enum err secret_ref_parse(const char *text, struct secret_ref *out)
{
	*out = (struct secret_ref){ .text = "" };
	for (enum secret_ref_kind kind = SECRET_REF_FILE; kind <= SECRET_REF_EXEC; kind++)
		if (strncmp(text, prefixes[kind], strlen(prefixes[kind])) == 0)
			*out = (struct secret_ref){ .kind = kind,
						    .text = text + strlen(prefixes[kind]) };
	switch (out->kind) {
	case SECRET_REF_NONE:
	case SECRET_REF_CSV:
		return RAISE(ERR_INPUT_USAGE,
			     "this is no reference to a secret; file:PATH, env:NAME, systemd:NAME "
			     "or exec:/PROGRAM ARGUMENTS is expected, and never the secret itself");
	case SECRET_REF_FILE:
		return *out->text ? OK : RAISE(ERR_INPUT_USAGE, "file: is followed by no path");
	case SECRET_REF_ENV:
		return is_name(out->text, "= \t/")
			       ? OK
			       : RAISE(ERR_INPUT_USAGE, "env: is not followed by the name of an "
							"environment variable");
	case SECRET_REF_SYSTEMD:
		return is_name(out->text, "/ \t")
			       ? OK
			       : RAISE(ERR_INPUT_USAGE, "systemd: is not followed by the name of "
							"a credential (LoadCredential=NAME:...)");
	case SECRET_REF_EXEC:
		return secret_ref_exec_parse(out->text);
	}
	must(false); /* a kind that is not in the enum */
}

/* ---- files and credentials ---- */

static enum err credential_path(const char *name, char *to, size_t to_bytes)
{
	const char *directory = getenv("CREDENTIALS_DIRECTORY");
	int used;

	if (!directory || *directory != '/')
		return RAISE(ERR_INPUT_SECRET,
			     "the credential %s: $CREDENTIALS_DIRECTORY is not set; run as a "
			     "systemd service with LoadCredential=%s:...",
			     name, name);
	used = snprintf(to, to_bytes, "%s/%s", directory, name);
	return used >= 0 && (size_t)used < to_bytes
		       ? OK
		       : RAISE(ERR_INPUT_SECRET, "the path of the credential %s is too long", name);
}

/* Credentials belong to root, and an access control list lets the service's user read them; that
 * shows as the group's read bit (systemd.exec(5), LoadCredential), so it is no fault here as it is
 * for secret files. Anything for others is. */
static enum err check_credential(const char *name, const struct stat *status)
{
	if (!S_ISREG(status->st_mode))
		return RAISE(ERR_INPUT_SECRET, "the credential %s is not a regular file", name);
	if (status->st_mode & (S_IWGRP | S_IRWXO))
		return RAISE(ERR_INPUT_SECRET, "the credential %s is open to others (mode %04o)",
			     name, (unsigned)(status->st_mode & 07777));
	return OK;
}

static enum err read_credential(const char *name, bool whole, struct secret **out)
{
	char path[PATH_BYTES_MAX];
	struct stat status;
	enum err e;
	int fd;

	if ((e = credential_path(name, path, sizeof path)))
		return e;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &status))
		e = RAISE_ERRNO(ERR_INPUT_SECRET, errno, "opening the credential %s", path);
	else if ((e = check_credential(name, &status)) == OK)
		e = secret_ref_exec_read(fd, DEADLINE_NEVER, path, whole, out);
	if (fd >= 0)
		close(fd);
	return e;
}

/* ---- checking ---- */

/* The rules of secret_from_file(), which looks again when it reads. */
static enum err check_file(const char *path)
{
	struct stat status;

	if (stat(path, &status))
		return RAISE_ERRNO(ERR_INPUT_SECRET, errno, "looking at the secret file %s", path);
	return secret_file_check(path, &status);
}

static enum err check_systemd(const char *name)
{
	char path[PATH_BYTES_MAX];
	struct stat status;
	enum err e;

	if ((e = credential_path(name, path, sizeof path)))
		return e;
	if (stat(path, &status))
		return RAISE_ERRNO(ERR_INPUT_SECRET, errno, "looking at the credential %s", path);
	return check_credential(name, &status);
}

static enum err missing_variable(const char *name)
{
	return RAISE(ERR_INPUT_SECRET, "the environment variable %s is not set, or empty", name);
}

enum err secret_ref_check(const struct secret_ref *ref)
{
	const char *value;

	switch (ref->kind) {
	case SECRET_REF_NONE:
	case SECRET_REF_CSV:
		return OK;
	case SECRET_REF_FILE:
		return check_file(ref->text);
	case SECRET_REF_ENV:
		value = getenv(ref->text);
		return value && *value ? OK : missing_variable(ref->text);
	case SECRET_REF_SYSTEMD:
		return check_systemd(ref->text);
	case SECRET_REF_EXEC:
		return secret_ref_exec_check(ref->text);
	}
	must(false); /* a kind that is not in the enum */
}

/* ---- resolving ---- */

/* A job's own copy: whoever waits may be gone before the thread is done. A list is not copied; it
 * stays open as long as the job it belongs to. */
struct resolving {
	struct secret_ref ref;
	char *text;
	nsec until;
	struct secret *secret;
};

static enum err resolve_job(void *argument)
{
	struct resolving *resolving = argument;
	bool whole = resolving->ref.whole;

	switch (resolving->ref.kind) {
	case SECRET_REF_FILE:
		return whole ? secret_from_file_whole(resolving->text, &resolving->secret)
			     : secret_from_file(resolving->text, &resolving->secret);
	case SECRET_REF_SYSTEMD:
		return read_credential(resolving->text, whole, &resolving->secret);
	case SECRET_REF_EXEC:
		return secret_ref_exec(resolving->text, resolving->until, whole,
				       &resolving->secret);
	case SECRET_REF_CSV:
		return mailbox_secret_read(&resolving->ref, &resolving->secret);
	case SECRET_REF_NONE:
	case SECRET_REF_ENV:
		break;
	}
	must(false); /* a kind that needs no thread */
}

static void resolve_drop(void *argument)
{
	struct resolving *resolving = argument;

	secret_close(&resolving->secret);
	free(resolving->text);
	resolving->text = NULL;
}

static enum err resolve_offload(struct resolving *resolving)
{
	nsec until = DEADLINE_NEVER;
	struct offload_act *act = NULL;
	enum err e = offload_start(&(struct offload_job){ .name = "secret",
							  .run = resolve_job,
							  .drop = resolve_drop,
							  .argument = resolving,
							  .argument_bytes = sizeof *resolving },
				   &act);

	if (e)
		return e;
	/* One that is over already still lets the job say so. */
	if (resolving->until < DEADLINE_NEVER - GRACE)
		until = (resolving->until > clock_now() ? resolving->until : clock_now()) + GRACE;
	/* Given up, the job frees what it owns; otherwise that comes back with the argument. */
	*resolving = (struct resolving){ 0 };
	e = offload_wait(&act, resolving, until);
	return e == ERR_FIBER_TIMEOUT ? RAISE(ERR_INPUT_SECRET, "a secret was not there in time")
				      : e;
}

static enum err resolve_blocking(const struct secret_ref *ref, nsec until, struct secret **out)
{
	struct resolving resolving = { *ref, strdup(ref->text), until, NULL };
	enum err e;

	if (!resolving.text)
		return RAISE(ERR_MEMORY_EXHAUSTED, "getting a secret");
	resolving.ref.text = resolving.text;
	e = fiber_self() ? resolve_offload(&resolving) : resolve_job(&resolving);
	if (e == OK) {
		*out = resolving.secret;
		resolving.secret = NULL;
	}
	resolve_drop(&resolving);
	return e;
}

enum err secret_ref_resolve(const struct secret_ref *ref, nsec until, struct secret **out)
{
	const char *value;

	switch (ref->kind) {
	case SECRET_REF_NONE:
		return RAISE(ERR_INPUT_SECRET, "no password is given");
	case SECRET_REF_ENV:
		value = getenv(ref->text);
		return value && *value ? secret_from_bytes(value, strlen(value), out)
				       : missing_variable(ref->text);
	case SECRET_REF_CSV:
	case SECRET_REF_FILE:
	case SECRET_REF_SYSTEMD:
	case SECRET_REF_EXEC:
		return resolve_blocking(ref, until, out);
	}
	must(false); /* a kind that is not in the enum */
}
