/* What may be met at all: which hosts, addresses, AWS regions and keys a run is allowed. dial.c
 * asks here before it looks a name up and before it connects, whoever wants the connection; whoever
 * uses a key of KMS asks before he does. Not for: what was met (tools/endpoints.h).
 *
 * Each list that is given restricts, and all of them must allow; a list that is absent restricts
 * nothing. docs/OPERATING.md, "Residency", says what that means case by case. Nothing here suspends
 * or looks anything up. */
#ifndef MAILHAUL_RESIDENCY_H
#define MAILHAUL_RESIDENCY_H

#include "transport/resolve.h"

enum residency_kind {
	RESIDENCY_PARTITIONS, /* "aws-eusc": of hosts and keys of AWS */
	RESIDENCY_REGIONS,    /* "eu-central-1": the same */
	RESIDENCY_KEYS,	      /* ARNs of KMS; region, account and resource may end in `*` */
	RESIDENCY_HOSTS,      /* "mail.example.eu": this name; ".example.eu": all below */
	RESIDENCY_ADDRESSES,  /* "192.0.2.0/24", "2001:db8::/32", "192.0.2.7" */
	RESIDENCY_KINDS
};
enum { RESIDENCY_ENTRIES_MAX = 64, RESIDENCY_TEXT_BYTES = 400 };

/* "partitions", "regions", "keys", "hosts", "addresses" */
const char *residency_kind_name(enum residency_kind);

/* A policy; constant once it is in use. */
struct residency;
enum err residency_open(struct residency **) MUST_CHECK;
void residency_close(struct residency **);
/* ERR_INPUT_USAGE says what is wrong, as the end of a sentence that begins with the entry. */
enum err residency_add(struct residency *, enum residency_kind, const char *text) MUST_CHECK;
unsigned residency_count(const struct residency *, enum residency_kind);
/* As it was written, but in small letters; below residency_count(). */
const char *residency_entry(const struct residency *, enum residency_kind, unsigned index);
/* "regions eu-central-1; hosts .example.eu, mail.example.org", cut to fit; returns `to`. */
char *residency_show(const struct residency *, char to[RESIDENCY_TEXT_BYTES]);

/* Whether the policy (NULL: there is none, all is well) allows a host by its name. A literal has no
 * name: it is judged by the addresses, and refused where only hosts are allowed. `through`: a proxy
 * connects us, so its address is not known to us; where addresses are given, hosts must be, too.
 * A host of AWS's own must be in an allowed partition and region. ERR_RESIDENCY_ENDPOINT. */
enum err residency_check_host(const struct residency *, const char *host, bool through) MUST_CHECK;
/* All of them: one that is outside refuses the whole host, or it would be chance that decides.
 * IPv4 in IPv6 (RFC 4291 section 2.5.5.2) is judged as IPv4. `shown` names the host in texts. */
enum err residency_check_addresses(const struct residency *, const char *shown,
				   const struct resolve_list *) MUST_CHECK;
/* A key's ARN; partition and region count, too. An id or an alias alone does not say where it is,
 * and is refused by either. NULL: the one that a service takes by itself, in the region where it is
 * asked; refused where keys are listed. ERR_RESIDENCY_KEY. */
enum err residency_check_key(const struct residency *, const char *arn) MUST_CHECK;

/* The policy of this process, borrowed: set once before threads, by whoever has read it; NULL when
 * it ends. It is the process's, not an account's, so that no caller can forget it. */
void residency_set(const struct residency *);
const struct residency *residency_current(void);
/* The same by the policy of this process. What is refused is counted. Any thread. */
enum err residency_guard_host(const char *host, bool through) MUST_CHECK;
enum err residency_guard_addresses(const char *shown, const struct resolve_list *) MUST_CHECK;
enum err residency_guard_key(const char *arn) MUST_CHECK;
uint64_t residency_refused(void);

#endif
