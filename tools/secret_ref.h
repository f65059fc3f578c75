/* Where a secret is, without being one: "file:/etc/mailhaul/alice" (0600), "env:NAME",
 * "systemd:NAME" ($CREDENTIALS_DIRECTORY/NAME), "exec:/usr/bin/pass show alice" (first line of its
 * output; no shell), and the field of a CSV that holds a password in plain (discouraged). */
#ifndef MAILHAUL_TOOLS_SECRET_REF_H
#define MAILHAUL_TOOLS_SECRET_REF_H

#include "crypto/secret.h"
#include "engine/clock.h"

enum secret_ref_kind {
	SECRET_REF_NONE,
	SECRET_REF_FILE,
	SECRET_REF_ENV,
	SECRET_REF_SYSTEMD,
	SECRET_REF_EXEC,
	SECRET_REF_CSV, /* a password that stands in a mailbox list; read again when needed */
};
struct mailbox_secrets;
struct secret_ref {
	enum secret_ref_kind kind;
	const char *text; /* path, name or command; of CSV the list's path; borrowed */
	bool whole;	  /* all lines, not the first: a key file */
	/* The rest is of CSV only, made by mailbox_secret_place(). secret_ref_resolve() hands such
	 * a reference to mailbox_secret_read() of tools/mailbox_secret.h, which blocks (offload).
	 */
	const struct mailbox_secrets *list;
	uint64_t offset, check; /* where in the file, and a keyed hash of what must be there */
	uint32_t bytes;
	bool doubled; /* quotes are doubled there */
};

/* "file:..." and so on; `text` is borrowed by *out. ERR_INPUT_USAGE names what is wrong and never
 * quotes a text that might be a password. */
enum err secret_ref_parse(const char *text, struct secret_ref *out) MUST_CHECK;
/* Whether it looks as if it could be resolved here and now, without reading it: the file is there
 * and nobody else's to read, the variable is set, the program can be run. ERR_INPUT_SECRET. */
enum err secret_ref_check(const struct secret_ref *) MUST_CHECK;
/* Get the secret. Suspends (files and commands are read on an offload thread); a command is killed
 * at `until`. Outside a fiber it blocks instead. ERR_INPUT_SECRET. */
enum err secret_ref_resolve(const struct secret_ref *, nsec until, struct secret **) MUST_CHECK;
/* "file:", "env:" and so on; "" for none. What stands in front of `text`. */
const char *secret_ref_prefix(enum secret_ref_kind);

#endif
