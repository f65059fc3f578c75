/* How a run reaches its two sides: what --bind-address, --proxy and their like say, or the same
 * keys of a job, as routes (transport/route.h) with their passwords. */
#ifndef MAILHAUL_TOOLS_ROUTES_H
#define MAILHAUL_TOOLS_ROUTES_H

#include "engine/opt.h"
#include "tools/secret_ref.h"
#include "transport/route.h"

struct route_options {
	const char *bind_address, *source_bind_address, *destination_bind_address;
	const char *proxy, *source_proxy, *destination_proxy, *proxy_password_file;
};

/* The same of one side of a job. */
struct job_route {
	const char *bind_address, *proxy; /* "": none */
	struct secret_ref proxy_password;
	bool compress;
};

/* Outlives all connections and their report. */
struct routes {
	struct route source, destination;
	struct secret *source_password, *destination_password;
};

/* The proxy's URL, or "none". ERR_INPUT_USAGE. */
enum err routes_set_proxy(struct route *, const char *what, const char *text) MUST_CHECK;

/* For start-up: secrets are read, and whether addresses are this machine's is tried.
 * ERR_INPUT_USAGE, ERR_INPUT_SECRET, ERR_NET_LOCAL. routes_close() whatever they return. */
enum err routes_open(const struct route_options *, struct routes *) MUST_CHECK;
enum err routes_open_job(const struct job_route *source, const struct job_route *destination,
			 struct routes *) MUST_CHECK;
void routes_close(struct routes *);

/* Rows of an option table; `field` of `holder` is a struct route_options. */
#define ROUTES_OPTIONS(holder, field)                                                              \
	{ .name = "bind-address",                                                                  \
	  OPT_STORES_TEXT(holder, field.bind_address),                                             \
	  .value = "ADDRESS",                                                                      \
	  .help = "Connect from this address of this machine, to both sides: an IPv4 or IPv6 "     \
		  "address. Only addresses of its family are then tried." },                       \
		{ .name = "source-bind-address",                                                   \
		  OPT_STORES_TEXT(holder, field.source_bind_address),                              \
		  .value = "ADDRESS",                                                              \
		  .help = "The same for the source alone." },                                      \
		{ .name = "destination-bind-address",                                              \
		  OPT_STORES_TEXT(holder, field.destination_bind_address),                         \
		  .value = "ADDRESS",                                                              \
		  .help = "The same for the target alone." },                                      \
		{ .name = "proxy",                                                                 \
		  OPT_STORES_TEXT(holder, field.proxy),                                            \
		  .value = "URL",                                                                  \
		  .help = "Connect to both sides through a proxy: socks5://[USER@]HOST[:PORT], "   \
			  "or "                                                                    \
			  "http://[USER@]HOST:PORT for one of HTTP CONNECT. It is told the "       \
			  "server's name and looks it up itself. TLS and the server's "            \
			  "certificate are checked inside as ever." },                             \
		{ .name = "source-proxy",                                                          \
		  OPT_STORES_TEXT(holder, field.source_proxy),                                     \
		  .value = "URL",                                                                  \
		  .help = "The same for the source alone; none: straight there." },                \
		{ .name = "destination-proxy",                                                     \
		  OPT_STORES_TEXT(holder, field.destination_proxy),                                \
		  .value = "URL",                                                                  \
		  .help = "The same for the target alone; none: straight there." },                \
	{                                                                                          \
		.name = "proxy-password-file", OPT_STORES_FILE(holder, field.proxy_password_file), \
		.value = "FILE",                                                                   \
		.help = "The password of the proxy's USER is the first line of FILE, which "       \
			"nobody else may be able to read (mode 0600)."                             \
	}

#endif
