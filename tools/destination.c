#include "tools/destination.h"

#include <ctype.h>
#include <stdlib.h>
#include <unistd.h>

#include "crypto/digest.h"
#include "engine/budget.h"
#include "engine/clock.h"
#include "engine/log.h"
#include "engine/shard.h"
#include "tools/commands.h"
#include "tools/confinement.h"
#include "tools/drivers.h"
#include "tools/governing.h"
#include "tools/signals.h"
#include "tools/url.h"
#include "transport/unwrap.h"

#define LEDGER_TIMEOUT (120 * NSEC_SECOND)

static const char *const kinds[] = { "blake3", "blake2b-256", "sha-256" };

struct destination {
	const struct destination_work *work;
	struct url url, source;
	char state[URL_PATH_BYTES_MAX + 1];
	struct account account;
	struct routes routes;
	struct copy_login login;
	struct job *logins; /* of --oauth2; NULL: none */
	struct residency *residency;
	struct governor *governor;
	struct tap *digests[ARRAY_COUNT(kinds)];
	struct ledger *ledger;
	/* Of the ledger, those that went to this destination. */
	struct known {
		uint64_t mailbox_no;
		char *source;
	} * known;
	size_t count;
	bool no_memory;
};

/* ---- the command line ---- */

bool destination_is_meant(const char *url)
{
	char scheme[URL_SCHEME_BYTES_MAX + 1];
	const char *end = strstr(url, "://");
	size_t bytes = end ? (size_t)(end - url) : 0;

	if (!bytes || bytes >= sizeof scheme)
		return false;
	for (size_t i = 0; i < bytes; i++)
		scheme[i] = (char)tolower((unsigned char)url[i]);
	scheme[bytes] = '\0';
	return drivers_sink(scheme) && drivers_sink(scheme)->reopens && drivers_source(scheme);
}

static enum err parse_urls(struct destination *destination)
{
	const struct destination_options *options = destination->work->options;
	const struct url *url = &destination->url;
	enum err e;

	if ((e = url_parse("DESTINATION", destination->work->url, "destination-password-file",
			   &destination->url)))
		return e;
	if (!destination_is_meant(url->shown))
		return RAISE(ERR_INPUT_USAGE,
			     "DESTINATION is %s://, and only mail servers are meant here",
			     url->scheme);
	if (strcmp(url->path, "/") != 0 || !*url->user)
		return RAISE(ERR_INPUT_USAGE,
			     "DESTINATION is to be written as it was for copy: %s://user@%s/",
			     url->scheme, url->host);
	return options->source ? url_parse("--source", options->source, "source-password-file",
					   &destination->source)
			       : OK;
}

static void add_known(void *context, const struct ledger_status_mailbox *mailbox)
{
	struct destination *destination = context;
	struct known *grown;

	if (strcmp(mailbox->target, destination->url.shown) != 0 ||
	    (*destination->source.shown && strcmp(mailbox->source, destination->source.shown) != 0))
		return;
	grown = reallocarray(destination->known, destination->count + 1, sizeof *grown);
	if (grown) {
		destination->known = grown;
		grown[destination->count] =
			(struct known){ mailbox->mailbox_no, strdup(mailbox->source) };
	}
	destination->no_memory |= !grown || !grown[destination->count].source;
	destination->count += grown != NULL;
}

static enum err find_known(struct destination *destination)
{
	const struct url *source = &destination->source;
	enum err e;

	if ((e = command_state_directory(destination->work->options->state, destination->state,
					 sizeof destination->state)) ||
	    (e = ledger_status(destination->state, add_known, NULL, destination)))
		return e;
	if (destination->no_memory)
		return RAISE(ERR_MEMORY_EXHAUSTED, "reading the ledger's mailboxes");
	if (!destination->count)
		return RAISE(ERR_INPUT_USAGE,
			     "the ledger in %s knows of nothing that was copied %s%s%sto %s",
			     destination->state, *source->shown ? "from " : "", source->shown,
			     *source->shown ? " " : "", destination->url.shown);
	return OK;
}

/* Faults of the file of --oauth2: the first one will do. The source is not logged in to. */
static enum err plan_login(struct destination *destination)
{
	const struct destination_options *options = destination->work->options;
	const struct job_mailbox none = { 0 }, *of_file = &none;
	const struct url *url = &destination->url;
	enum err e;

	if (options->oauth2) {
		if ((e = job_open_logins(options->oauth2, destination->source.user, url->user,
					 &destination->logins)))
			return e;
		of_file = destination->logins->mailboxes;
	}
	if ((e = copy_login_plan("destination", &options->login, of_file->target_login,
				 &of_file->target_secret, &destination->login)))
		return e;
	return copy_login_check("destination", url->shown, &options->login, &destination->login);
}

static enum err open_digests(struct destination *destination)
{
	enum err e = OK;

	for (size_t i = 0; i < ARRAY_COUNT(kinds) && !e; i++)
		e = digest_open(digest_type(text_of(kinds[i])), &destination->digests[i]);
	return e;
}

static enum err open_login(struct destination *destination)
{
	const struct destination_options *options = destination->work->options;
	const struct route_options routes = {
		.bind_address = options->bind_address,
		.proxy = options->proxy,
		.proxy_password_file = options->proxy_password_file,
	};
	enum err e;

	if ((e = copy_login_open(&options->login, &destination->login)) ||
	    (e = routes_open(&routes, &destination->routes)))
		return e;
	destination->account = url_account(&destination->url);
	destination->account.ca_file = options->ca_file;
	destination->account.io_timeout = options->io_timeout;
	destination->account.connect_timeout = options->connect_timeout;
	destination->account.route = &destination->routes.destination;
	copy_login_use(&destination->login, &destination->account);
	return OK;
}

/* What is read back is spared the server as copy from there would. */
static enum err open_limits(struct destination *destination)
{
	const struct destination_options *options = destination->work->options;
	const struct governing limits = { .url = &destination->url,
					  .way = GOVERN_DOWN,
					  .messages_per_second = options->messages_per_second,
					  .bytes_a_day = options->daily_down };
	enum err e;

	if ((e = governing_check(limits.url)) || (e = governor_open(&destination->governor)) ||
	    (e = governing_open(destination->governor, &limits, &destination->account.govern)))
		return e;
	(void)governing_tell_end(destination->work->command, limits.url);
	return OK;
}

static enum err prepare(struct destination *destination)
{
	enum err e;

	if ((e = confinement_prepare(destination->work->confine)) ||
	    (e = parse_urls(destination)) || (e = plan_login(destination)) ||
	    (e = residency_options_set(&destination->work->options->residency, destination->logins,
				       &destination->residency)) ||
	    (e = find_known(destination)))
		return e;
	log_setup(STDERR_FILENO, LOG_WARN, false);
	if ((e = confinement_begin(destination->logins)) || (e = open_login(destination)) ||
	    (e = open_limits(destination)))
		return e;
	return open_digests(destination);
}

/* ---- in the shard's first fiber ---- */

static struct tap *digest_named(const struct destination *destination, const char *name)
{
	for (size_t i = 0; i < ARRAY_COUNT(kinds); i++)
		if (strcmp(kinds[i], name) == 0)
			return destination->digests[i];
	return NULL;
}

/* A cut run's seals would find their messages in states that they cannot have. */
static enum err check_settled(struct destination *destination, const struct known *known)
{
	struct ledger_totals *totals = calloc(1, sizeof *totals);
	enum err e = totals ? OK : RAISE(ERR_MEMORY_EXHAUSTED, "reading the ledger's totals");

	if (!e)
		e = ledger_totals(destination->ledger, known->mailbox_no, totals);
	if (!e && totals->seals_open)
		e = RAISE(ERR_LEDGER_UNSETTLED, "%s to %s", known->source, destination->url.shown);
	free(totals);
	return e;
}

static enum err do_mailbox(struct destination *destination, const struct known *known)
{
	struct destination_mailbox mailbox = {
		.mailbox_no = known->mailbox_no,
		.source = known->source,
		.account = &destination->account,
		.driver = drivers_source(destination->url.scheme),
		.ledger = destination->ledger,
	};
	struct ledger_mailbox facts;
	enum err e = ledger_mailbox(destination->ledger, known->source, destination->url.shown,
				    kinds[0], &facts);

	if (e)
		return e;
	must(facts.mailbox_no == known->mailbox_no);
	if (!(mailbox.digest = digest_named(destination, facts.digest)))
		return RAISE(ERR_LEDGER_VERSION, "%s has digests of the kind \"%s\"", known->source,
			     facts.digest);
	if ((e = check_settled(destination, known)))
		return e;
	return destination->work->mailbox(destination->work->context, &mailbox);
}

/* What copies and batches of this ledger, and earlier runs of this, learnt of the server. */
static enum err load_lessons(struct destination *destination)
{
	struct ledger_lesson lesson = { 0 };
	enum err e;

	while ((e = ledger_lesson_next(destination->ledger, &lesson)) == OK)
		if ((e = governing_learn(destination->governor, &lesson)))
			return e;
	return e == ERR_PIPE_ENDED ? OK : e;
}

static enum err work(struct destination *destination)
{
	enum err e = load_lessons(destination), saved;
	struct err_note note;

	for (size_t i = 0; i < destination->count && !e; i++)
		e = do_mailbox(destination, &destination->known[i]);
	note = *err_note();
	err_note_clear();
	saved = governing_save(destination->governor, destination->ledger);
	if (e)
		*err_note() = note; /* the first one counts */
	return e ? e : saved;
}

static enum err work_in_fiber(void *argument)
{
	struct destination *destination = argument;
	struct err_note note;
	enum err e =
		ledger_open(destination->state, clock_after(LEDGER_TIMEOUT), &destination->ledger);
	enum err finished;

	if (e)
		return e;
	confine_thread(CONFINE_WORKER);
	e = work(destination);
	note = *err_note();
	err_note_clear();
	finished = ledger_finish(destination->ledger, clock_after(LEDGER_TIMEOUT));
	ledger_close(&destination->ledger);
	if (e)
		*err_note() = note; /* the first one counts */
	return e ? e : finished;
}

enum err destination_recheck(const struct destination_mailbox *mailbox,
			     const struct recheck_config *what)
{
	struct recheck_config config = *what;
	enum err e;

	config.source = mailbox->driver;
	config.account = mailbox->account;
	config.ledger = mailbox->ledger;
	config.mailbox_no = mailbox->mailbox_no;
	config.digest = mailbox->digest;
	config.finish_timeout = DESTINATION_FINISH_TIMEOUT;
	if ((e = unwrap_tap_open(mailbox->digest->type, &config.inside)))
		return e;
	e = recheck_run(&config);
	config.inside->type->close(&config.inside);
	return e;
}

void destination_json_box(struct json_out *json, const struct destination_mailbox *mailbox,
			  const struct recheck_box *box)
{
	json_text(json, "source", mailbox->source);
	json_text(json, "folder", box->known.name);
	json_text(json, "target_folder", box->known.target);
}

/* ---- to its end ---- */

static void destination_close(struct destination *destination)
{
	confinement_end();
	copy_login_close(&destination->login);
	residency_options_end(&destination->residency);
	job_close(&destination->logins);
	govern_close(&destination->account.govern);
	governor_close(&destination->governor);
	routes_close(&destination->routes);
	for (size_t i = 0; i < ARRAY_COUNT(kinds); i++)
		if (destination->digests[i])
			destination->digests[i]->type->close(&destination->digests[i]);
	for (size_t i = 0; i < destination->count; i++)
		free(destination->known[i].source);
	free(destination->known);
	free(destination);
}

enum err destination_run(const struct destination_work *work)
{
	struct destination *destination = calloc(1, sizeof *destination);
	enum err e;

	if (!destination)
		return RAISE(ERR_MEMORY_EXHAUSTED, "starting");
	destination->work = work;
	if ((e = prepare(destination)) == OK) {
		signals_setup();
		budget_set(&(struct budget_shape){
			.workers = 1, .lanes = 1, .connections = 1, .pairs = 1 });
		e = shard_run(&(struct shard_config){ .arena_chunks = budget_arena_chunks() },
			      work_in_fiber, destination);
	}
	destination_close(destination);
	return e;
}
