/* References to secrets, one of each mailbox: {user} put in, relative paths resolved, checked. */
#include <stdlib.h>

#include "tools/job_make.h"

/* A user becomes part of a path or a command here, so it must not be able to change either. */
static bool user_fits(const char *reference, const char *user)
{
	bool is_path = strncmp(reference, "exec:", 5) != 0;

	return is_path ? *user != '.' && !strchr(user, '/')
		       : *user != '-' && !user[strcspn(user, " \t'\"\\/")];
}

/* `reference` with "{user}" replaced and a relative path resolved, in make->scratch. */
static bool write_reference(struct job_make *make, const struct job_spot *spot,
			    const char *reference, const char *user)
{
	const char *mark = strstr(reference, "{user}"), *from = reference;

	if (mark && !user_fits(reference, user)) {
		job_fault_at(make, spot,
			     "the user of this mailbox has characters that cannot be put "
			     "in the place of {user}; give it a password of its own");
		return false;
	}
	buffer_reset(&make->scratch);
	if (strncmp(reference, "file:", 5) == 0 && reference[5] != '/' && reference[5]) {
		from += 5;
		buffer_addf(&make->scratch, "file:%s/", make->directory);
	}
	for (; (mark = strstr(from, "{user}")); from = mark + strlen("{user}")) {
		buffer_add(&make->scratch, from, (size_t)(mark - from));
		buffer_add_text(&make->scratch, user);
	}
	buffer_add_text(&make->scratch, from);
	make->memory_lost |= make->scratch.failed;
	return !make->scratch.failed;
}

/* `before` is the same secret of the mailbox before: mostly they are one, and looked at once. */
void job_secret_make(struct job_make *make, const struct job_spot *spot, const char *reference,
		     const char *user, const struct secret_ref *before, struct secret_ref *out)
{
	size_t prefix;
	enum err e;

	if (!write_reference(make, spot, reference, user))
		return;
	if ((e = secret_ref_parse(make->scratch.at, out))) {
		job_fault_at_raised(make, spot, e);
		return;
	}
	prefix = (size_t)(out->text - make->scratch.at);
	if (before && before->kind == out->kind && strcmp(before->text, out->text) == 0) {
		*out = *before;
		return;
	}
	out->text = job_keep(make, text_of(make->scratch.at)) + prefix;
	if (!make->memory_lost && (e = secret_ref_check(out)))
		job_fault_at_raised(make, spot, e);
}

/* A reference that a list's row holds itself; relative paths are the job file's. */
void job_secret_of_list(struct job_make *make, const struct job_spot *spot,
			const struct secret_ref *given, const struct secret_ref *before,
			struct secret_ref *out)
{
	struct buffer text = { 0 };

	if (given->kind == SECRET_REF_CSV) {
		*out = *given;
		return;
	}
	buffer_addf(&text, "%s%s", secret_ref_prefix(given->kind), given->text);
	make->memory_lost |= text.failed;
	if (!text.failed)
		job_secret_make(make, spot, text.at, "", before, out);
	buffer_free(&text);
}

const char *job_secret_keep(struct job_make *make, const char *reference)
{
	bool relative = strncmp(reference, "file:", 5) == 0 && reference[5] != '/';

	buffer_reset(&make->scratch);
	if (relative)
		buffer_addf(&make->scratch, "file:%s/%s", make->directory, reference + 5);
	else
		buffer_add_text(&make->scratch, reference);
	make->memory_lost |= make->scratch.failed;
	return make->scratch.failed ? "" : job_keep(make, text_of(make->scratch.at));
}

/* source.password and target.password (or what stands for them), once, where they hold for all
 * mailboxes. */
void job_secret_shared(struct job_make *make, enum job_key_id id, struct secret_ref *out)
{
	const char *reference = job_file_text(make->file, id);
	struct job_spot spot = { make->faults.file, job_file_line(make->file, id),
				 job_keys[id].path };

	*out = (struct secret_ref){ .text = "" };
	if (reference && !strstr(reference, "{user}"))
		job_secret_make(make, &spot, reference, "", NULL, out);
}

/* The job's password for a mailbox that has none of its own. One with "{user}" in it is told about
 * where the mailbox stands. */
void job_secret_default(struct job_make *make, const struct job_mailbox *mailbox,
			enum job_key_id id, const char *user, struct secret_ref *out)
{
	const char *reference = job_file_text(make->file, id);
	struct job_spot spot = { mailbox->file, mailbox->line, job_keys[id].path };

	if (reference && strstr(reference, "{user}"))
		job_secret_make(make, &spot, reference, user, NULL, out);
	else
		*out = id == make->source_secret_key ? make->source_secret : make->target_secret;
}
