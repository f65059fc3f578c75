/* What verify and rollback have in common: a destination on a server that this ledger filled, its
 * mailboxes in the ledger, and a shard in which each of them is worked on. It is
 * logged in to and spared as copy's destination is. */
#ifndef MAILHAUL_TOOLS_DESTINATION_H
#define MAILHAUL_TOOLS_DESTINATION_H

#include "engine/opt.h"
#include "engine/recheck.h"
#include "tools/copy_login.h"
#include "tools/json_out.h"
#include "tools/residency_options.h"
#include "tools/routes.h"

struct destination_options {
	struct copy_login_options login;
	const char *state, *source, *oauth2, *ca_file;
	const char *bind_address, *proxy, *proxy_password_file;
	uint64_t messages_per_second, daily_down;
	nsec io_timeout, connect_timeout;
	struct residency_options residency;
};

/* One mailbox of the ledger that was copied there. */
struct destination_mailbox {
	uint64_t mailbox_no;
	const char *source;	       /* as shown */
	const struct account *account; /* of the destination */
	const struct source_driver *driver;
	struct ledger *ledger;
	struct tap *digest; /* of the mailbox's kind */
};

#define DESTINATION_FINISH_TIMEOUT (10 * NSEC_SECOND)

struct destination_work {
	const char *command; /* "verify" */
	const char *url;     /* as given */
	const char *confine; /* the value of --confine */
	const struct destination_options *options;
	/* For each mailbox, in a fiber with a large stack; ERR_FIBER_CANCELED: stopped as asked. */
	enum err (*mailbox)(void *context, const struct destination_mailbox *);
	void *context;
};

/* Whether this URL, if it is one, names a destination on a server. */
bool destination_is_meant(const char *url);
/* Everything, to its orderly end. ERR_INPUT_*, ERR_LEDGER_ABSENT; ERR_LEDGER_UNSETTLED: the last
 * run was cut, and another has to find out what became of its last messages; what `mailbox`
 * returned. */
enum err destination_run(const struct destination_work *) MUST_CHECK;

/* recheck_run() of one mailbox. Of `what` there are the sample, which messages, the fingerprint's
 * tap and the calls back; the rest is the mailbox's. */
enum err destination_recheck(const struct destination_mailbox *,
			     const struct recheck_config *what) MUST_CHECK;
/* Whose folder it is, into an object about it: source, folder, target_folder. */
void destination_json_box(struct json_out *, const struct destination_mailbox *,
			  const struct recheck_box *);

#define DESTINATION_OPTIONS(holder, field)                                                         \
	{ .name = "state",                                                                         \
	  OPT_STORES_FILE(holder, field.state),                                                    \
	  .value = "DIR",                                                                          \
	  .help = "Where the ledger of the runs lies that filled the destination. Without it: "    \
		  "$XDG_STATE_HOME/mailhaul, or ~/.local/state/mailhaul." },                       \
		{ .name = "source",                                                                \
		  OPT_STORES_TEXT(holder, field.source),                                           \
		  .value = "URL",                                                                  \
		  .help = "Only what came from this source. Without it: from all that were "       \
			  "copied to this destination." },                                         \
		{ .name = "destination-password-file",                                             \
		  OPT_STORES_FILE(holder, field.login.password_file),                              \
		  .value = "FILE",                                                                 \
		  .help = "The destination's password is the first line of FILE, which nobody "    \
			  "else may be able to read (mode 0600)." },                               \
		{ .name = "destination-token-file",                                                \
		  OPT_STORES_FILE(holder, field.login.token_file),                                 \
		  .value = "FILE",                                                                 \
		  .help = "Instead of a password: log in with the OAuth2 access token in FILE "    \
			  "(mode 0600). Somebody else renews it." },                               \
		{ .name = "destination-token-command",                                             \
		  OPT_STORES_TEXT(holder, field.login.token_command),                              \
		  .value = "COMMAND",                                                              \
		  .help = "The same with what COMMAND prints: a full path and arguments, no "      \
			  "shell." },                                                              \
		{ .name = "oauth2",                                                                \
		  OPT_STORES_FILE(holder, field.oauth2),                                           \
		  .value = "FILE",                                                                 \
		  .help = "Get access tokens as target.oauth2 of the job file FILE says "          \
			  "(docs/JOBFILE.md); of the rest only residency is used." },              \
		{ .name = "max-messages-per-second",                                               \
		  OPT_STORES_NUMBER(holder, field.messages_per_second),                            \
		  .value = "N",                                                                    \
		  .initial = "off",                                                                \
		  .min = 1,                                                                        \
		  .max = 1000000,                                                                  \
		  .zero_word = "off",                                                              \
		  .help = "Read back at most so many messages a second. Without it as many as "    \
			  "the server bears." },                                                   \
		{ .name = "daily-down",                                                            \
		  OPT_STORES_SIZE(holder, field.daily_down),                                       \
		  .value = "SIZE",                                                                 \
		  .initial = "auto",                                                               \
		  .min = 1024,                                                                     \
		  .zero_word = "auto",                                                             \
		  .help = "Read at most so many bytes of the account in any 24 hours, copies of "  \
			  "the same ledger from it included. auto: what its provider allows "      \
			  "(2500 MB at Gmail), unbounded where nothing is known." },               \
		{ .name = "ca-file",                                                               \
		  OPT_STORES_FILE(holder, field.ca_file),                                          \
		  .value = "FILE",                                                                 \
		  .help = "Trust the certificate authorities in FILE (PEM) instead of the "        \
			  "system's." },                                                           \
		{ .name = "io-timeout",                                                            \
		  OPT_STORES_DURATION(holder, field.io_timeout),                                   \
		  .value = "TIME",                                                                 \
		  .initial = "60s",                                                                \
		  .min = NSEC_SECOND,                                                              \
		  .max = 86400 * NSEC_SECOND,                                                      \
		  .help = "The longest silence of a server that is tolerated." },                  \
		{ .name = "connect-timeout",                                                       \
		  OPT_STORES_DURATION(holder, field.connect_timeout),                              \
		  .value = "TIME",                                                                 \
		  .initial = "30s",                                                                \
		  .min = NSEC_SECOND / 10,                                                         \
		  .max = 3600 * NSEC_SECOND,                                                       \
		  .help = "How long a connection may take, name lookup and TLS included." },       \
		{ .name = "bind-address",                                                          \
		  OPT_STORES_TEXT(holder, field.bind_address),                                     \
		  .value = "ADDRESS",                                                              \
		  .help = "Connect from this address of this machine." },                          \
		{ .name = "proxy",                                                                 \
		  OPT_STORES_TEXT(holder, field.proxy),                                            \
		  .value = "URL",                                                                  \
		  .help = "Connect through a proxy: socks5://[USER@]HOST[:PORT], or "              \
			  "http://[USER@]HOST:PORT for one of HTTP CONNECT." },                    \
		RESIDENCY_OPTIONS(holder, field.residency),                                        \
	{                                                                                          \
		.name = "proxy-password-file", OPT_STORES_FILE(holder, field.proxy_password_file), \
		.value = "FILE",                                                                   \
		.help = "The password of the proxy's USER is the first line of FILE."              \
	}

#endif
