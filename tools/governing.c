#include "tools/governing.h"

#include <stdio.h>

#include "engine/clock.h"
#include "engine/log.h"
#include "transport/provider.h"

static const struct provider *provider_of(const struct url *url)
{
	return provider_find(url->host, NULL, 0);
}

void governing_host(const struct url *url, char to[GOVERNING_HOST_BYTES])
{
	if (url->port)
		snprintf(to, GOVERNING_HOST_BYTES, "%s:%u", url->host, url->port);
	else
		snprintf(to, GOVERNING_HOST_BYTES, "%s", url->host);
}

enum err governing_open(struct governor *governor, const struct governing *asked,
			struct govern **out)
{
	const struct provider *provider = provider_of(asked->url);
	struct govern_limits limits = { .messages_milli = asked->messages_per_second * 1000 };
	char host[GOVERNING_HOST_BYTES];
	enum err e;

	*out = NULL;
	if (!*asked->url->host)
		return OK;
	limits.bytes_a_day[GOVERN_DOWN] = provider->down_bytes_a_day;
	limits.bytes_a_day[GOVERN_UP] = provider->up_bytes_a_day;
	if (asked->bytes_a_day)
		limits.bytes_a_day[asked->way] = asked->bytes_a_day;
	governing_host(asked->url, host);
	if ((e = govern_open(governor, host, asked->url->shown, &limits, clock_now(), out)))
		return e;
	if (govern_milli(*out))
		log_event(LOG_INFO, "govern.rate", "way=%s messages_a_1000_s=%llu",
			  asked->way == GOVERN_DOWN ? "down" : "up",
			  (unsigned long long)govern_milli(*out));
	return OK;
}

enum err governing_check(const struct url *url)
{
	return strncmp(url->scheme, "imap", 4) == 0 ? provider_check_host(url->host) : OK;
}

bool governing_tell_end(const char *command, const struct url *url)
{
	char text[200];

	if (!provider_end_text(provider_of(url), clock_wall() / NSEC_SECOND, text, sizeof text))
		return false;
	fprintf(stderr, "mailhaul: %s: %s\n", command, text);
	return true;
}

unsigned governing_connections_at(const char *host, unsigned asked)
{
	char name[GOVERNING_HOST_BYTES];

	snprintf(name, sizeof name, "%.*s", (int)strcspn(host, ":"), host);
	return provider_connections(provider_find(name, NULL, 0), asked);
}

unsigned governing_connections(const struct url *url, unsigned asked)
{
	const struct provider *provider = provider_of(url);
	unsigned most = provider_connections(provider, asked);

	if (most < asked)
		log_event(LOG_WARN, "provider.connections", "provider=\"%s\" asked=%u allowed=%u",
			  provider->name, asked, most);
	return most;
}

enum err governing_learn(struct governor *governor, const struct ledger_lesson *lesson)
{
	return governor_learn(governor, lesson->kind, lesson->name, lesson->reason, clock_now(),
			      clock_wall() / NSEC_SECOND);
}

enum err governing_save(struct governor *governor, struct ledger *ledger)
{
	struct govern_lesson changed;
	enum err e = OK;

	while (e == OK && governor_changed(governor, clock_wall() / NSEC_SECOND, &changed)) {
		struct ledger_lesson lesson = { .failures = *changed.text != '\0' };

		snprintf(lesson.kind, sizeof lesson.kind, "%s", changed.kind);
		snprintf(lesson.name, sizeof lesson.name, "%s", changed.name);
		snprintf(lesson.reason, sizeof lesson.reason, "%s", changed.text);
		e = ledger_lesson_set(ledger, &lesson);
	}
	return e;
}
