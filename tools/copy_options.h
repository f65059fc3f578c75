/* What the command line of `mailhaul copy` says, and the table that reads and documents it. Not
 * for: what of it cannot be together, and what is made of it (copy.c). */
#ifndef MAILHAUL_TOOLS_COPY_OPTIONS_H
#define MAILHAUL_TOOLS_COPY_OPTIONS_H

#include "engine/log.h"
#include "engine/sink.h"
#include "tools/bucket.h"
#include "tools/copy_login.h"
#include "tools/filters.h"
#include "tools/gmail.h"
#include "tools/residency_options.h"
#include "tools/routes.h"

struct copy_options {
	struct copy_login_options source_login, destination_login;
	const char *oauth2, *ca_file, *state;
	const char *digest, *flags, *retry_skipped, *log, *log_level, *confine;
	const char *as_of, *compress, *wrap, *skip_existing;
	uint64_t zstd, pack_size, connections;
	uint64_t messages_per_second, bytes_per_second, daily_down, daily_up;
	nsec io_timeout, connect_timeout, settle;
	bool json, dry_run, stats, vanished, trace;
	struct route_options routes;
	struct residency_options residency;
	struct filter_options filter;
	struct gmail_options gmail;
	struct bucket_options source_bucket, destination_bucket;
};

extern const struct opt_command copy_usage; /* its values are a struct copy_options */

/* The values of --skip-existing and of --log-level. */
enum sink_existing copy_options_existing(const struct copy_options *);
enum log_level copy_options_log_level(const struct copy_options *);

#endif
