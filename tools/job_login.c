/* source.oauth2 and target.oauth2 of a job file: which way to get tokens, and whether it is whole.
 */
#include <stdlib.h>

#include "tools/job_make.h"

/* The keys of one side. */
struct side {
	const char *name;
	enum job_key_id password, url, client_id, client_secret, scope, ca_file;
	enum job_key_id credentials[OAUTH2_REFRESH_TOKEN + 1]; /* by grant */
};
static const struct side sides[] = {
	{ .name = "source.oauth2",
	  .password = JOB_KEY_SOURCE_PASSWORD,
	  .url = JOB_KEY_SOURCE_TOKEN_URL,
	  .client_id = JOB_KEY_SOURCE_CLIENT_ID,
	  .client_secret = JOB_KEY_SOURCE_CLIENT_SECRET,
	  .scope = JOB_KEY_SOURCE_SCOPE,
	  .ca_file = JOB_KEY_SOURCE_OAUTH2_CA_FILE,
	  .credentials = { JOB_KEY_SOURCE_TOKEN, JOB_KEY_SOURCE_CLIENT_SECRET,
			   JOB_KEY_SOURCE_CERTIFICATE, JOB_KEY_SOURCE_SERVICE_ACCOUNT,
			   JOB_KEY_SOURCE_REFRESH_TOKEN } },
	{ .name = "target.oauth2",
	  .password = JOB_KEY_TARGET_PASSWORD,
	  .url = JOB_KEY_TARGET_TOKEN_URL,
	  .client_id = JOB_KEY_TARGET_CLIENT_ID,
	  .client_secret = JOB_KEY_TARGET_CLIENT_SECRET,
	  .scope = JOB_KEY_TARGET_SCOPE,
	  .ca_file = JOB_KEY_TARGET_OAUTH2_CA_FILE,
	  .credentials = { JOB_KEY_TARGET_TOKEN, JOB_KEY_TARGET_CLIENT_SECRET,
			   JOB_KEY_TARGET_CERTIFICATE, JOB_KEY_TARGET_SERVICE_ACCOUNT,
			   JOB_KEY_TARGET_REFRESH_TOKEN } },
};

/* The first line in which anything of the side's section stands; 0: none. */
static unsigned section_line(const struct job_make *make, const struct side *side)
{
	unsigned first = 0;

	for (enum job_key_id id = side->credentials[0]; id <= side->ca_file; id++) {
		unsigned line = job_file_line(make->file, id);

		first = line && (!first || line < first) ? line : first;
	}
	return first;
}

/* Exactly one credential says which grant it is; a client secret beside a refresh token is none. */
static unsigned count_credentials(const struct job_make *make, const struct side *side,
				  enum oauth2_grant *grant)
{
	bool refreshes = job_file_line(make->file, side->credentials[OAUTH2_REFRESH_TOKEN]);
	unsigned count = 0;

	for (unsigned i = 0; i < ARRAY_COUNT(side->credentials); i++)
		if (job_file_line(make->file, side->credentials[i]) &&
		    !(i == OAUTH2_CLIENT_SECRET && refreshes)) {
			*grant = (enum oauth2_grant)i;
			count++;
		}
	return count;
}

static const char *kept(struct job_make *make, enum job_key_id id)
{
	const char *text = job_file_text(make->file, id);

	return text ? job_keep(make, text_of(text)) : "";
}

static void fill(struct job_make *make, const struct side *side, struct login *login)
{
	const char *ca_file = job_file_text(make->file, side->ca_file);

	login->token_url = kept(make, side->url);
	login->client_id = kept(make, side->client_id);
	login->scope = kept(make, side->scope);
	login->ca_file = ca_file ? job_resolve_path(make, ca_file) : "";
	login->client_secret = (struct secret_ref){ .text = "" };
	login->credential =
		job_secret_keep(make, job_file_text(make->file, side->credentials[login->grant]));
	if (ca_file)
		job_check_readable(make, login->ca_file, job_file_line(make->file, side->ca_file),
				   job_keys[side->ca_file].path);
	if (login->grant == OAUTH2_REFRESH_TOKEN)
		job_secret_shared(make, side->client_secret, &login->client_secret);
}

/* NULL: the side has none, or a fault was told. */
static struct login *make_side(struct job_make *make, const struct side *side, struct login *login,
			       enum job_key_id *secret_key)
{
	unsigned line = section_line(make, side), count = 0;
	enum err e;

	*secret_key = side->password;
	if (!line)
		return NULL;
	count = count_credentials(make, side, &login->grant);
	if (count != 1) {
		job_fault(&make->faults, line, side->name,
			  "holds %s of token, client_secret, certificate, service_account and "
			  "refresh_token; one is needed (client_secret may stand beside "
			  "refresh_token)",
			  count ? "more than one" : "none");
		return NULL;
	}
	if (job_file_line(make->file, side->password))
		job_fault(&make->faults, job_file_line(make->file, side->password),
			  job_keys[side->password].path,
			  "stands beside %s; a login is by password or by token, not both",
			  side->name);
	*secret_key = side->credentials[login->grant];
	fill(make, side, login);
	if ((e = login_complete(login)))
		job_fault_raised(&make->faults, line, side->name, e);
	return login;
}

void job_login_make(struct job_make *make)
{
	struct job_owner *owner = make->owner;

	owner->job.source_login =
		make_side(make, &sides[0], &owner->logins[0], &make->source_secret_key);
	owner->job.target_login =
		make_side(make, &sides[1], &owner->logins[1], &make->target_secret_key);
}

void job_login_make_alone(struct job_make *make, const char *source_user, const char *target_user)
{
	struct job *job = &make->owner->job;
	struct job_mailbox *mailbox = calloc(1, sizeof *mailbox);

	if (!mailbox) {
		make->memory_lost = true;
		return;
	}
	job->mailboxes = mailbox;
	job->mailboxes_count = 1;
	*mailbox = (struct job_mailbox){ .file = make->faults.file, .account = "" };
	job_login_make(make);
	if (!job->source_login && !job->target_login && !make->faults.count)
		job_fault(&make->faults, 0, "", "holds neither source.oauth2 nor target.oauth2");
	mailbox->source_login = job->source_login;
	mailbox->target_login = job->target_login;
	if (job->source_login) {
		job_secret_shared(make, make->source_secret_key, &make->source_secret);
		job_secret_default(make, mailbox, make->source_secret_key, source_user,
				   &mailbox->source_secret);
	}
	if (job->target_login) {
		job_secret_shared(make, make->target_secret_key, &make->target_secret);
		job_secret_default(make, mailbox, make->target_secret_key, target_user,
				   &mailbox->target_secret);
	}
}
