/* The residency policy (transport/residency.h) as the command line says it; a job file's is read in
 * tools/job_residency.c. */
#ifndef MAILHAUL_TOOLS_RESIDENCY_OPTIONS_H
#define MAILHAUL_TOOLS_RESIDENCY_OPTIONS_H

#include "engine/opt.h"
#include "tools/job.h"

struct residency_options {
	struct opt_list partitions, regions, keys, hosts, addresses;
};

/* Sets the policy of this process: what the options say, or the section `residency` of the job file
 * that --oauth2 names (`job`, borrowed; may be NULL), and not both. Before the first connection and
 * the first thread; *made is NULL where options say nothing. ERR_INPUT_USAGE. */
enum err residency_options_set(const struct residency_options *, const struct job *job,
			       struct residency **made) MUST_CHECK;
/* No policy holds any more; before the job is closed. */
void residency_options_end(struct residency **made);

/* Rows of an option table; `field` of `holder` is a struct residency_options. */
#define RESIDENCY_OPTIONS(holder, field)                                                           \
	{ .name = "residency-host",                                                                \
	  OPT_STORES_LIST(holder, field.hosts),                                                    \
	  .value = "NAME",                                                                         \
	  .help = "Connect only to hosts of this name, or below it where it begins with a dot: "   \
		  "mail.example.eu, .example.eu; may be given more than once. Holds for every "    \
		  "connection, those to proxies and token endpoints too. What is outside is "      \
		  "refused before a byte is sent, with exit code 120. See docs/OPERATING.md, "     \
		  "\"Residency\"." },                                                              \
		{ .name = "residency-address",                                                     \
		  OPT_STORES_LIST(holder, field.addresses),                                        \
		  .value = "RANGE",                                                                \
		  .help = "Connect only to addresses in RANGE: 192.0.2.0/24, 2001:db8::/32; may "  \
			  "be given more than once. A host of which one address is outside is "    \
			  "refused." },                                                            \
		{ .name = "residency-region",                                                      \
		  OPT_STORES_LIST(holder, field.regions),                                          \
		  .value = "REGION",                                                               \
		  .help = "Of AWS, use only hosts and keys in this region: eu-central-1; may be "  \
			  "given more than once." },                                               \
		{ .name = "residency-partition",                                                   \
		  OPT_STORES_LIST(holder, field.partitions),                                       \
		  .value = "NAME",                                                                 \
		  .help = "Of AWS, use only hosts and keys in this partition: aws-eusc; may be "   \
			  "given more than once." },                                               \
	{                                                                                          \
		.name = "residency-key", OPT_STORES_LIST(holder, field.keys), .value = "ARN",      \
		.help = "Use only this key of KMS; region, account and what is behind them may "   \
			"end in *: arn:aws:kms:eu-central-1:123456789012:key/*. May be given "     \
			"more than once.",                                                         \
	}

#endif
