#include "transport/residency.h"

#include <ctype.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/bytes.h"
#include "transport/aws_partition.h"

/* A range of addresses, IPv4 in the last bytes as IPv6 maps it. */
struct range {
	struct in6_addr first;
	unsigned bits;
};
struct entry {
	char *text;
	struct range range; /* of RESIDENCY_ADDRESSES */
};
struct list {
	struct entry at[RESIDENCY_ENTRIES_MAX];
	unsigned count;
};
struct residency {
	struct list lists[RESIDENCY_KINDS];
};

enum { LIST_SHOWN_BYTES = 200, MAPPED_BITS = 96 };

const char *residency_kind_name(enum residency_kind kind)
{
	static const char *const names[RESIDENCY_KINDS] = { "partitions", "regions", "keys",
							    "hosts", "addresses" };

	must((unsigned)kind < RESIDENCY_KINDS);
	return names[kind];
}

enum err residency_open(struct residency **out)
{
	*out = calloc(1, sizeof **out);
	return *out ? OK : RAISE(ERR_MEMORY_EXHAUSTED, "a residency policy");
}

void residency_close(struct residency **closing)
{
	struct residency *policy = *closing;

	if (!policy)
		return;
	for (unsigned kind = 0; kind < RESIDENCY_KINDS; kind++)
		for (unsigned i = 0; i < policy->lists[kind].count; i++)
			free(policy->lists[kind].at[i].text);
	free(policy);
	*closing = NULL;
}

unsigned residency_count(const struct residency *policy, enum residency_kind kind)
{
	must((unsigned)kind < RESIDENCY_KINDS);
	return policy->lists[kind].count;
}

const char *residency_entry(const struct residency *policy, enum residency_kind kind,
			    unsigned index)
{
	must(index < residency_count(policy, kind));
	return policy->lists[kind].at[index].text;
}

/* ---- texts ---- */

/* "eu-central-1, eu-west-1"; cut with "..." where there are more than fit. */
static const char *show_list(const struct residency *policy, enum residency_kind kind,
			     char to[LIST_SHOWN_BYTES])
{
	const struct list *list = &policy->lists[kind];
	size_t used = 0;

	to[0] = '\0';
	for (unsigned i = 0; i < list->count; i++) {
		const char *text = list->at[i].text;

		if (used + strlen(text) + sizeof ", ..." > LIST_SHOWN_BYTES) {
			snprintf(to + used, LIST_SHOWN_BYTES - used, "%s...", used ? ", " : "");
			break;
		}
		used += (size_t)snprintf(to + used, LIST_SHOWN_BYTES - used, "%s%s",
					 used ? ", " : "", text);
	}
	return to;
}

char *residency_show(const struct residency *policy, char to[RESIDENCY_TEXT_BYTES])
{
	struct buffer text = { .bytes_max = 8 * LIST_SHOWN_BYTES };
	char shown[LIST_SHOWN_BYTES];

	for (unsigned i = 0; i < RESIDENCY_KINDS; i++) {
		enum residency_kind kind = (enum residency_kind)i;

		if (policy->lists[i].count)
			buffer_addf(&text, "%s%s %s", text.bytes ? "; " : "",
				    residency_kind_name(kind), show_list(policy, kind, shown));
	}
	snprintf(to, RESIDENCY_TEXT_BYTES, "%s", text.failed || !text.at ? "" : text.at);
	buffer_free(&text);
	return to;
}

static enum err refuse(const struct residency *policy, enum err e, enum residency_kind kind,
		       const char *what)
{
	char shown[LIST_SHOWN_BYTES];

	return RAISE(e, "%s: outside of residency.%s (%s)", what, residency_kind_name(kind),
		     show_list(policy, kind, shown));
}

/* ---- entries ---- */

static bool is_given(const struct residency *policy, enum residency_kind kind)
{
	return policy->lists[kind].count > 0;
}

static bool holds(const struct residency *policy, enum residency_kind kind, struct text word)
{
	for (unsigned i = 0; i < policy->lists[kind].count; i++)
		if (text_equal(text_of(policy->lists[kind].at[i].text), word))
			return true;
	return false;
}

/* A name in small letters without the root's dot: "Mail.Example.EU." is mail.example.eu. */
static bool normalize(const char *host, char to[RESOLVE_HOST_BYTES_MAX + 1])
{
	size_t n = strlen(host);

	if (n > RESOLVE_HOST_BYTES_MAX)
		return false;
	for (size_t i = 0; i <= n; i++)
		to[i] = (char)tolower((unsigned char)host[i]);
	if (n > 0 && to[n - 1] == '.')
		to[n - 1] = '\0';
	return true;
}

/* What inet_aton(3) and resolvers take for an address ends in a label of digits, or 0x. */
static bool ends_in_number(const char *name)
{
	const char *dot = strrchr(name, '.'), *last = dot ? dot + 1 : name;

	return last[strspn(last, "0123456789")] == '\0' || strncmp(last, "0x", 2) == 0;
}

/* Labels of letters, digits, hyphens and underscores, behind a dot or not. */
static bool is_host_rule(const char *name)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789-_";
	size_t n;

	name += *name == '.';
	for (;; name += n + 1) {
		n = strspn(name, letters);
		if (n == 0 || n > 63 || (name[n] && name[n] != '.'))
			return false;
		if (!name[n])
			return true;
	}
}

static enum err check_host_rule(const char *text, char normal[RESOLVE_HOST_BYTES_MAX + 1])
{
	union resolve_address literal;

	if (!normalize(text, normal))
		return RAISE(ERR_INPUT_USAGE, "longer than any host name");
	if (strncmp(normal, "*.", 2) == 0)
		return RAISE(ERR_INPUT_USAGE,
			     "has a star; a dot in front stands for all names below: .example.eu");
	if (resolve_literal(normal, 0, &literal) || (*normal && ends_in_number(normal)))
		return RAISE(ERR_INPUT_USAGE, "is an address; it belongs to residency.addresses");
	return is_host_rule(normal)
		       ? OK
		       : RAISE(ERR_INPUT_USAGE, "is no host name; write mail.example.eu for one "
						"host, or .example.eu "
						"for all below it");
}

static bool is_mapped(const struct in6_addr *address)
{
	return IN6_IS_ADDR_V4MAPPED(address);
}

static struct in6_addr as_v6(const union resolve_address *address)
{
	struct in6_addr v6 = { .s6_addr = { [10] = 0xff, [11] = 0xff } };

	if (address->any.sa_family == AF_INET6)
		return address->v6.sin6_addr;
	must(address->any.sa_family == AF_INET);
	bytes_copy(&v6.s6_addr[12], &address->v4.sin_addr, 4, BYTES_META);
	return v6;
}

static bool same_bits(const struct in6_addr *a, const struct in6_addr *b, unsigned bits)
{
	unsigned whole = bits / 8, rest = bits % 8;

	must(bits <= 128);
	if (memcmp(a->s6_addr, b->s6_addr, whole) != 0)
		return false;
	return rest == 0 || (a->s6_addr[whole] ^ b->s6_addr[whole]) >> (8 - rest) == 0;
}

static bool has_bits_behind(const struct range *range)
{
	for (unsigned i = range->bits; i < 128; i++)
		if (range->first.s6_addr[i / 8] & (0x80 >> i % 8))
			return true;
	return false;
}

/* The number behind the slash; all bits where there is none. */
static bool parse_bits(const char *slash, unsigned most, unsigned *bits)
{
	size_t digits = slash ? strspn(slash + 1, "0123456789") : 0;

	*bits = most;
	if (!slash)
		return true;
	if (digits == 0 || digits > 3 || slash[1 + digits])
		return false;
	*bits = (unsigned)strtoul(slash + 1, NULL, 10);
	return *bits <= most;
}

static enum err parse_range(const char *text, struct range *out)
{
	const char *slash = strchr(text, '/');
	size_t bytes = slash ? (size_t)(slash - text) : strlen(text);
	union resolve_address address;
	char literal[INET6_ADDRSTRLEN];
	bool is_v4;

	snprintf(literal, sizeof literal, "%.*s", (int)min_u64(bytes, sizeof literal), text);
	if (bytes >= sizeof literal || strchr(literal, '%') ||
	    !resolve_literal(literal, 0, &address))
		return RAISE(ERR_INPUT_USAGE,
			     "is no range of addresses; write 192.0.2.0/24 or 2001:db8::/32");
	is_v4 = address.any.sa_family == AF_INET;
	out->first = as_v6(&address);
	if (!is_v4 && is_mapped(&out->first))
		return RAISE(ERR_INPUT_USAGE, "is IPv4 in IPv6; write the IPv4 address");
	if (!parse_bits(slash, is_v4 ? 32 : 128, &out->bits))
		return RAISE(ERR_INPUT_USAGE, "has no number from 0 to %d behind the slash",
			     is_v4 ? 32 : 128);
	out->bits += is_v4 ? MAPPED_BITS : 0;
	if (has_bits_behind(out))
		return RAISE(ERR_INPUT_USAGE,
			     "is an address with bits behind its prefix; write the range's first "
			     "address, or leave the slash out");
	return OK;
}

/* Stars only at the end of a part, so that what is meant can be seen. */
static bool stars_are_sound(struct text part)
{
	const char *star = memchr(part.at, '*', part.bytes);

	return !star || star == part.at + part.bytes - 1;
}

/* Whether `whole` is what the pattern's part says: all of it, or how it begins. */
static bool part_fits(struct text pattern, struct text whole)
{
	bool has_star = pattern.bytes > 0 && pattern.at[pattern.bytes - 1] == '*';

	if (!has_star)
		return text_equal(pattern, whole);
	return whole.bytes >= pattern.bytes - 1 &&
	       memcmp(pattern.at, whole.at, pattern.bytes - 1) == 0;
}

enum { ARN_PARTS = 6 }; /* arn, partition, service, region, account, resource */

static bool split_arn(const char *text, struct text parts[ARN_PARTS])
{
	for (unsigned i = 0; i < ARN_PARTS; i++) {
		size_t n = i + 1 < ARN_PARTS ? strcspn(text, ":") : strlen(text);

		if (i + 1 < ARN_PARTS && !text[n])
			return false;
		parts[i] = (struct text){ text, n };
		text += n + 1;
	}
	return true;
}

static bool begins(struct text text, const char *with)
{
	size_t n = strlen(with);

	return text.bytes >= n && memcmp(text.at, with, n) == 0;
}

static enum err check_key_rule(const char *text)
{
	struct text parts[ARN_PARTS];
	bool sound = strlen(text) <= AWS_ARN_BYTES_MAX && split_arn(text, parts) &&
		     text_equal(parts[0], text_of("arn")) && aws_partition_named(parts[1]) &&
		     text_equal(parts[2], text_of("kms"));

	for (unsigned i = 3; sound && i < ARN_PARTS; i++)
		sound = parts[i].bytes > 0 && stars_are_sound(parts[i]);
	sound = sound && (begins(parts[5], "key/") || begins(parts[5], "alias/") ||
			  text_equal(parts[5], text_of("*")));
	return sound ? OK
		     : RAISE(ERR_INPUT_USAGE,
			     "is no ARN of a KMS key; write arn:aws:kms:REGION:ACCOUNT:key/ID, "
			     "where "
			     "region, account and what is behind them may end in *");
}

static enum err check_partition(const char *text)
{
	return aws_partition_named(text_of(text))
		       ? OK
		       : RAISE(ERR_INPUT_USAGE,
			       "is no partition of AWS that is known; aws and aws-eusc are two");
}

/* The entry as it is kept. */
static enum err parse(enum residency_kind kind, const char *text,
		      char normal[RESOLVE_HOST_BYTES_MAX + 1], struct range *range)
{
	const struct aws_partition *partition;

	switch (kind) {
	case RESIDENCY_PARTITIONS:
		return check_partition(text);
	case RESIDENCY_REGIONS:
		return aws_partition_of_region(text, &partition);
	case RESIDENCY_KEYS:
		return check_key_rule(text);
	case RESIDENCY_HOSTS:
		return check_host_rule(text, normal);
	case RESIDENCY_ADDRESSES:
		return parse_range(text, range);
	case RESIDENCY_KINDS:
		break;
	}
	must(false);
}

enum err residency_add(struct residency *policy, enum residency_kind kind, const char *text)
{
	char normal[RESOLVE_HOST_BYTES_MAX + 1] = "";
	struct list *list = &policy->lists[kind];
	struct entry entry = { .text = NULL };
	enum err e = parse(kind, text, normal, &entry.range);

	if (e)
		return e;
	if (list->count == RESIDENCY_ENTRIES_MAX)
		return RAISE(ERR_INPUT_USAGE, "residency.%s has more than %d entries",
			     residency_kind_name(kind), RESIDENCY_ENTRIES_MAX);
	if (!(entry.text = strdup(*normal ? normal : text)))
		return RAISE(ERR_MEMORY_EXHAUSTED, "a residency policy");
	list->at[list->count++] = entry;
	return OK;
}

/* ---- hosts ---- */

static bool host_fits(const struct residency *policy, const char *name)
{
	size_t n = strlen(name);

	for (unsigned i = 0; i < policy->lists[RESIDENCY_HOSTS].count; i++) {
		const char *rule = policy->lists[RESIDENCY_HOSTS].at[i].text;
		size_t r = strlen(rule);

		if (*rule == '.' ? n > r && strcmp(name + n - r, rule) == 0
				 : strcmp(name, rule) == 0)
			return true;
	}
	return false;
}

static bool address_fits(const struct residency *policy, const union resolve_address *address)
{
	struct in6_addr v6 = as_v6(address);

	for (unsigned i = 0; i < policy->lists[RESIDENCY_ADDRESSES].count; i++) {
		const struct range *range = &policy->lists[RESIDENCY_ADDRESSES].at[i].range;

		/* ::/0 is all of IPv6 and nothing of IPv4. */
		if (is_mapped(&range->first) == is_mapped(&v6) &&
		    same_bits(&range->first, &v6, range->bits))
			return true;
	}
	return false;
}

static enum err check_literal(const struct residency *policy, const char *host,
			      const union resolve_address *address)
{
	char what[300];

	snprintf(what, sizeof what, "connecting to %.120s", host);
	if (is_given(policy, RESIDENCY_ADDRESSES))
		return address_fits(policy, address)
			       ? OK
			       : refuse(policy, ERR_RESIDENCY_ENDPOINT, RESIDENCY_ADDRESSES, what);
	snprintf(what, sizeof what, "connecting to %.120s, which is no name", host);
	return is_given(policy, RESIDENCY_HOSTS)
		       ? refuse(policy, ERR_RESIDENCY_ENDPOINT, RESIDENCY_HOSTS, what)
		       : OK;
}

/* A host or a key of AWS in that partition and region. */
static enum err check_place(const struct residency *policy, enum err e, struct text partition,
			    struct text region, const char *what)
{
	if (is_given(policy, RESIDENCY_PARTITIONS) &&
	    !holds(policy, RESIDENCY_PARTITIONS, partition))
		return refuse(policy, e, RESIDENCY_PARTITIONS, what);
	if (is_given(policy, RESIDENCY_REGIONS) && !holds(policy, RESIDENCY_REGIONS, region))
		return refuse(policy, e, RESIDENCY_REGIONS, what);
	return OK;
}

static bool judges_places(const struct residency *policy)
{
	return is_given(policy, RESIDENCY_PARTITIONS) || is_given(policy, RESIDENCY_REGIONS);
}

static enum err check_aws(const struct residency *policy, const char *name)
{
	struct aws_host place;
	char what[300];

	if (!judges_places(policy) || !aws_host_place(name, &place))
		return OK;
	if (!place.partition)
		return RAISE(ERR_RESIDENCY_ENDPOINT,
			     "connecting to %.120s: it is AWS's, and its name does not say in "
			     "which region",
			     name);
	snprintf(what, sizeof what, "connecting to %.120s in %s of %s", name, place.region,
		 place.partition->name);
	return check_place(policy, ERR_RESIDENCY_ENDPOINT, text_of(place.partition->name),
			   text_of(place.region), what);
}

static enum err check_name(const struct residency *policy, const char *name, bool through)
{
	char what[300];

	snprintf(what, sizeof what, "connecting to %.120s", name);
	if (is_given(policy, RESIDENCY_HOSTS) && !host_fits(policy, name))
		return refuse(policy, ERR_RESIDENCY_ENDPOINT, RESIDENCY_HOSTS, what);
	if (through && is_given(policy, RESIDENCY_ADDRESSES) && !is_given(policy, RESIDENCY_HOSTS))
		return RAISE(ERR_RESIDENCY_ENDPOINT,
			     "%s through a proxy, which looks the name up itself, so "
			     "residency.addresses cannot be kept: allow the name in "
			     "residency.hosts",
			     what);
	return check_aws(policy, name);
}

enum err residency_check_host(const struct residency *policy, const char *host, bool through)
{
	char name[RESOLVE_HOST_BYTES_MAX + 1];
	union resolve_address literal;

	if (!policy)
		return OK;
	if (resolve_literal(host, 0, &literal))
		return check_literal(policy, host, &literal);
	if (!normalize(host, name))
		return RAISE(ERR_RESIDENCY_ENDPOINT,
			     "connecting to a host with a name of %zu bytes", strlen(host));
	return check_name(policy, name, through);
}

enum err residency_check_addresses(const struct residency *policy, const char *shown,
				   const struct resolve_list *list)
{
	char address[RESOLVE_SHOWN_BYTES], what[400];

	if (!policy || !is_given(policy, RESIDENCY_ADDRESSES))
		return OK;
	for (unsigned i = 0; i < list->count; i++) {
		if (address_fits(policy, &list->addresses[i]))
			continue;
		snprintf(what, sizeof what, "connecting to %.290s at %s", shown,
			 resolve_show(&list->addresses[i], address));
		return refuse(policy, ERR_RESIDENCY_ENDPOINT, RESIDENCY_ADDRESSES, what);
	}
	return OK;
}

/* ---- keys ---- */

static bool key_fits(const struct residency *policy, const char *arn)
{
	struct text rule[ARN_PARTS], parts[ARN_PARTS];

	must(split_arn(arn, parts));
	for (unsigned i = 0; i < policy->lists[RESIDENCY_KEYS].count; i++) {
		bool fits = split_arn(policy->lists[RESIDENCY_KEYS].at[i].text, rule);

		must(fits);
		for (unsigned part = 0; part < ARN_PARTS; part++)
			fits = fits && part_fits(rule[part], parts[part]);
		if (fits)
			return true;
	}
	return false;
}

enum err residency_check_key(const struct residency *policy, const char *arn)
{
	struct aws_arn parts;
	char what[300];
	enum err e;

	if (!policy || (!is_given(policy, RESIDENCY_KEYS) && (!arn || !judges_places(policy))))
		return OK;
	if (!arn)
		return refuse(policy, ERR_RESIDENCY_KEY, RESIDENCY_KEYS,
			      "using a key of KMS that is not named");
	if (aws_arn_parse("the key", arn, &parts)) {
		err_note_clear();
		return RAISE(ERR_RESIDENCY_KEY,
			     "using the key %.120s: only an ARN says where a key is", arn);
	}
	snprintf(what, sizeof what, "using the key %.200s", arn);
	if ((e = check_place(policy, ERR_RESIDENCY_KEY, parts.partition, parts.region, what)))
		return e;
	return is_given(policy, RESIDENCY_KEYS) && !key_fits(policy, arn)
		       ? refuse(policy, ERR_RESIDENCY_KEY, RESIDENCY_KEYS, what)
		       : OK;
}

/* ---- the process's ---- */

static const struct residency *current;
static _Atomic uint64_t refused;

void residency_set(const struct residency *policy)
{
	must(!policy || !current); /* what holds is not exchanged under those who rely on it */
	current = policy;
	if (!policy)
		atomic_store(&refused, 0);
}

const struct residency *residency_current(void)
{
	return current;
}

static enum err count(enum err e)
{
	if (e)
		atomic_fetch_add(&refused, 1);
	return e;
}

enum err residency_guard_host(const char *host, bool through)
{
	return count(residency_check_host(current, host, through));
}

enum err residency_guard_addresses(const char *shown, const struct resolve_list *list)
{
	return count(residency_check_addresses(current, shown, list));
}

enum err residency_guard_key(const char *arn)
{
	return count(residency_check_key(current, arn));
}

uint64_t residency_refused(void)
{
	return atomic_load(&refused);
}
