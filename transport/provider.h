/* What is known of mail providers and servers: limits, budgets and quirks, as a table
 * (transport/provider.def, a row each with the sources of its figures). Pure look-ups, no state, no
 * clock, nothing suspends. Not for: what a server says of itself in this session (imap_session), or
 * what it taught us by refusing (engine/backoff, engine/govern), both of which know better.
 *
 * In all figures 0 means "not known": then there is nothing to obey but the server's own words. */
#ifndef MAILHAUL_PROVIDER_H
#define MAILHAUL_PROVIDER_H

#include "engine/err.h"

/* Whoever stores or reads there has to reckon with: */
enum provider_quirk {
	/* CONDSTORE and QRESYNC are missing, or not to be relied on: flags are compared in full. */
	PROVIDER_NO_CONDSTORE = 1 << 0,
	/* 8-bit bytes in headers are altered on arrival, with the same size: what was stored has
	 * another digest than what was sent. */
	PROVIDER_ALTERS_8BIT_HEADERS = 1 << 1,
	/* Messages that hold NUL, or LF without CR, are refused; MULTIAPPEND fails as a whole. */
	PROVIDER_REFUSES_NUL = 1 << 2,
	PROVIDER_REFUSES_BARE_LF = 1 << 3,
	/* Names of folders that differ in case only are one folder. */
	PROVIDER_NAMES_FOLD_CASE = 1 << 4,
	/* "Suggested Backoff Time: N milliseconds" in NO and BAD; transport/imap_hint reads it. */
	PROVIDER_BACKOFF_TEXT = 1 << 5,
	/* Folders are labels: one message turns up in several, and once more in All Mail. */
	PROVIDER_LABELS = 1 << 6,
	/* "OK [THROTTLED]": the command was done, and the next shall come later. */
	PROVIDER_SAYS_THROTTLED_WITH_OK = 1 << 7,
	PROVIDER_QUIRKS_ALL = (1 << 8) - 1,
};

/* May an administrator log in by IMAP as somebody else? */
enum provider_impersonation {
	PROVIDER_IMPERSONATION_UNKNOWN,
	PROVIDER_NOBODY_FOR_OTHERS, /* each user's own password is needed */
	PROVIDER_BY_LOGIN,	    /* "user*master", or the authorisation identity of PLAIN */
	PROVIDER_BY_TOKEN,	    /* OAuth 2.0: a service account or an application */
};

struct provider {
	const char *name;
	/* By which it is known; NULL or 0: not by that. */
	const char *hosts;     /* patterns of fnmatch(3), a space between two */
	const char *software;  /* part of its ID or its greeting */
	unsigned capabilities; /* all of these bits, of transport/imap.h */

	uint64_t message_bytes_max; /* above it a message is refused for certain; below it is for
				     * the server to say (APPENDLIMIT is exact where it is said) */
	uint64_t quota_bytes;	    /* of a mailbox */
	unsigned connections_per_account, connections_per_address; /* at once */
	unsigned messages_per_second; /* so many were seen to go well; a hint for people */
	uint64_t down_bytes_a_day, up_bytes_a_day; /* of an account; more locks it out */
	unsigned quirks;
	const char *forbidden; /* characters it refuses in folders' names, ASCII; NULL: not known */
	enum provider_impersonation impersonation;
	struct provider_date {
		int year, month, day;
	} ends; /* year 0: it goes on */
};

/* The first row that matches `host` (without brackets or port), or else `software` (what the server
 * says in ID, or its greeting), or else `capabilities` (transport/imap.h). NULL or "" where
 * something is not known: with the host alone it can be asked before there is a connection. Never
 * NULL: a server that no row matches has a row of its own, "unknown", in which all is 0. The row is
 * constant and lives as long as the program. */
const struct provider *provider_find(const char *host, const char *software, unsigned capabilities);
bool provider_is_known(const struct provider *);

/* How many connections of one user make sense there: `asked`, or fewer where the provider allows no
 * more. At least 1. */
unsigned provider_connections(const struct provider *, unsigned asked);

/* A host at which there cannot be what was meant: WorkMail in the AWS European Sovereign Cloud, or
 * in a region that has none. ERR_INPUT_USAGE with a note that says what to do. */
enum err provider_check_host(const char *host) MUST_CHECK;

/* How many days are left of it, counted in UTC: on the day itself 0, afterwards negative. False:
 * no end is known. */
bool provider_days_left(const struct provider *, int64_t wall_s, int *days);
/* The same as a sentence without a full stop: "Amazon WorkMail ends on 2027-03-31: 129 days are
 * left". False and "" where no end is known. */
bool provider_end_text(const struct provider *, int64_t wall_s, char *to, size_t to_bytes);

/* For tables: the row of this number from 0 on, NULL behind the last. The last one is "unknown". */
const struct provider *provider_row(size_t no);
/* Words of the quirks, and of impersonation: "labels", "no-condstore"; constant. */
const char *provider_quirk_name(enum provider_quirk);
const char *provider_impersonation_name(enum provider_impersonation);

#endif
