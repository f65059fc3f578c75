/* What list, extract and verify have in common: they open an archive in a shard of their own, and
 * read it confined to that. One in a directory needs no network, no helper and no other thread;
 * one in a bucket does. */
#ifndef MAILHAUL_TOOLS_READING_H
#define MAILHAUL_TOOLS_READING_H

#include "tools/bucket.h"
#include "tools/residency_options.h"
#include "tools/trace.h"

/* What the command line says of how a bucket is reached. */
struct reading_options {
	struct bucket_options bucket;
	const char *ca_file, *bind_address, *proxy, *proxy_password_file;
	nsec io_timeout, connect_timeout;
	bool trace;
};

struct archive;
struct reading {
	const char *archive; /* as given */
	const char *confine; /* the value of --confine */
	const struct reading_options *options;
	const struct residency_options *residency; /* what a bucket must keep to */
	bool extracts;				   /* files are written, too */
	/* Suspends. */
	enum err (*work)(void *context, struct archive *);
	void *context;
};
/* To its orderly end: what `work` returned, ERR_INPUT_*, ERR_SOURCE_FOREIGN... Blocks. */
enum err reading_run(const struct reading *) MUST_CHECK;

/* Rows of an option table; `field` of `holder` is a struct reading_options. */
#define READING_OPTIONS(holder, field)                                                             \
	BUCKET_ACCESS_OPTIONS("", "the bucket", holder, field.bucket),                             \
		TRACE_OPTION(holder, field.trace),                                                 \
		{ .name = "ca-file",                                                               \
		  OPT_STORES_FILE(holder, field.ca_file),                                          \
		  .value = "FILE",                                                                 \
		  .help = "Of a bucket: trust the certificate authorities in FILE (PEM) instead "  \
			  "of the system's." },                                                    \
		{ .name = "io-timeout",                                                            \
		  OPT_STORES_DURATION(holder, field.io_timeout),                                   \
		  .value = "TIME",                                                                 \
		  .initial = "60s",                                                                \
		  .min = NSEC_SECOND,                                                              \
		  .max = 86400 * NSEC_SECOND,                                                      \
		  .help = "Of a bucket: the longest silence of its server that is tolerated." },   \
		{ .name = "connect-timeout",                                                       \
		  OPT_STORES_DURATION(holder, field.connect_timeout),                              \
		  .value = "TIME",                                                                 \
		  .initial = "30s",                                                                \
		  .min = NSEC_SECOND / 10,                                                         \
		  .max = 3600 * NSEC_SECOND,                                                       \
		  .help = "Of a bucket: how long a connection may take, name lookup and TLS "      \
			  "included." },                                                           \
		{ .name = "bind-address",                                                          \
		  OPT_STORES_TEXT(holder, field.bind_address),                                     \
		  .value = "ADDRESS",                                                              \
		  .help = "Of a bucket: connect from this address of this machine." },             \
		{ .name = "proxy",                                                                 \
		  OPT_STORES_TEXT(holder, field.proxy),                                            \
		  .value = "URL",                                                                  \
		  .help = "Of a bucket: connect through a proxy: socks5://[USER@]HOST[:PORT], or " \
			  "http://[USER@]HOST:PORT for one of HTTP CONNECT." },                    \
	{                                                                                          \
		.name = "proxy-password-file", OPT_STORES_FILE(holder, field.proxy_password_file), \
		.value = "FILE",                                                                   \
		.help = "The password of the proxy's USER is the first line of FILE."              \
	}

#endif
