/* The table, and looking into it. */
#include "transport/provider.h"

#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

#include "transport/imap.h"

/* As providers write it, and as machines do. */
#define MEGA UINT64_C(1000000)
#define MEBI (UINT64_C(1) << 20)
#define GIBI (UINT64_C(1) << 30)

#define PROVIDER(named, ...) { .name = (named), __VA_ARGS__ },
static const struct provider providers[] = {
#include "transport/provider.def"
	{ .name = "unknown" },
};

enum { UNKNOWN = ARRAY_COUNT(providers) - 1, HOST_BYTES_MAX = 255 };

const struct provider *provider_row(size_t no)
{
	return no < ARRAY_COUNT(providers) ? &providers[no] : NULL;
}

bool provider_is_known(const struct provider *provider)
{
	return provider != &providers[UNKNOWN];
}

/* ---- which one ---- */

static bool matches_host(const char *patterns, const char *host)
{
	char pattern[64];

	for (const char *at = patterns; *at;) {
		size_t bytes = strcspn(at, " ");

		must(bytes > 0 && bytes < sizeof pattern);
		snprintf(pattern, sizeof pattern, "%.*s", (int)bytes, at);
		if (fnmatch(pattern, host, FNM_CASEFOLD) == 0)
			return true;
		at += bytes + strspn(at + bytes, " ");
	}
	return false;
}

static bool is_given(const char *text)
{
	return text && *text;
}

static bool matches(const struct provider *row, const char *host, const char *software,
		    unsigned capabilities)
{
	if (row->hosts && is_given(host) && matches_host(row->hosts, host))
		return true;
	if (row->software && is_given(software) && strcasestr(software, row->software))
		return true;
	return row->capabilities && (row->capabilities & capabilities) == row->capabilities;
}

/* A host says for certain who it is, software less so (Gmail's ID might be anybody's), bits least:
 * three walks over a dozen rows. */
const struct provider *provider_find(const char *host, const char *software, unsigned capabilities)
{
	for (size_t i = 0; i < UNKNOWN; i++)
		if (matches(&providers[i], host, NULL, 0))
			return &providers[i];
	for (size_t i = 0; i < UNKNOWN; i++)
		if (matches(&providers[i], NULL, software, 0))
			return &providers[i];
	for (size_t i = 0; i < UNKNOWN; i++)
		if (matches(&providers[i], NULL, NULL, capabilities))
			return &providers[i];
	return &providers[UNKNOWN];
}

unsigned provider_connections(const struct provider *provider, unsigned asked)
{
	unsigned most = provider->connections_per_account;

	if (!most ||
	    (provider->connections_per_address && provider->connections_per_address < most))
		most = provider->connections_per_address ? provider->connections_per_address : most;
	return most && most < asked ? most : asked;
}

/* ---- hosts at which there is nothing ---- */

/* The one partition `aws-eusc` has one region, two suffixes and no WorkMail (botocore 1.43.11,
 * endpoints.json; the SDK would still build a host name). */
static bool is_sovereign(const char *host)
{
	return strcasestr(host, "eusc-de-east-1") || matches_host("*.amazonaws.eu", host) ||
	       matches_host("*.amazonwebservices.eu", host);
}

/* Machines and balancers of customers, who may run a mail server there. */
static bool is_of_customer(const char *host)
{
	return strcasestr(host, ".compute.") || strcasestr(host, ".elb.");
}

enum err provider_check_host(const char *host)
{
	char shown[HOST_BYTES_MAX + 1];

	err_quote(shown, sizeof shown, text_of(host));
	if (is_sovereign(host) && !is_of_customer(host))
		return RAISE(ERR_INPUT_USAGE,
			     "%s lies in the AWS European Sovereign Cloud, for which AWS lists no "
			     "WorkMail: WorkMail mailboxes are in us-east-1, us-west-2 and "
			     "eu-west-1, at imap.mail.REGION.awsapps.com",
			     shown);
	if (matches_host("*.awsapps.com", host) && !provider_is_known(provider_find(host, NULL, 0)))
		return RAISE(ERR_INPUT_USAGE,
			     "%s is none of WorkMail's IMAP hosts: there is "
			     "imap.mail.REGION.awsapps.com with the region us-east-1, us-west-2 or "
			     "eu-west-1",
			     shown);
	return OK;
}

/* ---- its end ---- */

/* Days from 1970-01-01 in the Gregorian calendar; years begin in March, so that the leap day is the
 * last of one. */
static int64_t day_number(struct provider_date date)
{
	int64_t year = date.month <= 2 ? date.year - 1 : date.year;
	int64_t month = date.month <= 2 ? date.month + 9 : date.month - 3;

	return 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + date.day -
	       1 - 719468;
}

bool provider_days_left(const struct provider *provider, int64_t wall_s, int *days)
{
	int64_t today = wall_s / 86400;

	*days = 0;
	if (!provider->ends.year || wall_s < 0)
		return false;
	*days = (int)(day_number(provider->ends) - today);
	return true;
}

bool provider_end_text(const struct provider *provider, int64_t wall_s, char *to, size_t to_bytes)
{
	const struct provider_date *date = &provider->ends;
	int days;

	*to = '\0';
	if (!provider_days_left(provider, wall_s, &days))
		return false;
	if (days >= 0)
		snprintf(to, to_bytes, "%s ends on %04d-%02d-%02d: %d day%s left", provider->name,
			 date->year, date->month, date->day, days, days == 1 ? " is" : "s are");
	else
		snprintf(to, to_bytes,
			 "%s ended on %04d-%02d-%02d, %d day%s ago: nothing there can be reached "
			 "any more, says its provider",
			 provider->name, date->year, date->month, date->day, -days,
			 days == -1 ? "" : "s");
	return true;
}

/* ---- words ---- */

const char *provider_quirk_name(enum provider_quirk quirk)
{
	switch (quirk) {
	case PROVIDER_NO_CONDSTORE:
		return "no-condstore";
	case PROVIDER_ALTERS_8BIT_HEADERS:
		return "alters-8bit-headers";
	case PROVIDER_REFUSES_NUL:
		return "refuses-nul";
	case PROVIDER_REFUSES_BARE_LF:
		return "refuses-bare-lf";
	case PROVIDER_NAMES_FOLD_CASE:
		return "names-fold-case";
	case PROVIDER_BACKOFF_TEXT:
		return "backoff-text";
	case PROVIDER_LABELS:
		return "labels";
	case PROVIDER_SAYS_THROTTLED_WITH_OK:
		return "throttled-with-ok";
	case PROVIDER_QUIRKS_ALL:
		break;
	}
	must(!"a quirk without a name");
	return "";
}

const char *provider_impersonation_name(enum provider_impersonation impersonation)
{
	static const char *const names[] = {
		[PROVIDER_IMPERSONATION_UNKNOWN] = "unknown",
		[PROVIDER_NOBODY_FOR_OTHERS] = "none",
		[PROVIDER_BY_LOGIN] = "login",
		[PROVIDER_BY_TOKEN] = "token",
	};

	must(impersonation < ARRAY_COUNT(names));
	return names[impersonation];
}
