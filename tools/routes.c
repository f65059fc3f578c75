#include "tools/routes.h"

#include <stdlib.h>

#include "engine/clock.h"
#include "tools/url.h"

/* A command that asks a vault, or a file on a network. */
#define SECRET_TIMEOUT (30 * NSEC_SECOND)

/* What one side asks for, and how the user knows it. Texts may be NULL or "": not given. */
struct side {
	const char *from, *from_name, *proxy, *proxy_name;
};

static bool is_given(const char *text)
{
	return text && *text;
}

static enum err set_proxy_url(struct route *route, const char *what, const struct url *url)
{
	if (strcmp(url->path, "/") != 0)
		return RAISE(ERR_INPUT_USAGE, "%s has something behind the port", what);
	return route_set_proxy(route, what, url->scheme, url->user, url->host, url->port);
}

enum err routes_set_proxy(struct route *route, const char *what, const char *text)
{
	struct url *url; /* too large for a stack */
	enum err e;

	if (strcmp(text, "none") == 0)
		return OK;
	if (!(url = malloc(sizeof *url)))
		return RAISE(ERR_MEMORY_EXHAUSTED, "reading %s", what);
	if ((e = url_parse(what, text, "proxy-password-file", url)) == OK)
		e = set_proxy_url(route, what, url);
	free(url);
	return e;
}

static enum err set(struct route *route, const struct side *side)
{
	enum err e = OK;

	if (is_given(side->from) && (e = route_set_from(route, side->from_name, side->from)))
		return e;
	if (is_given(side->proxy) && (e = routes_set_proxy(route, side->proxy_name, side->proxy)))
		return e;
	return route_check_from(route);
}

static struct side side_of(const char *from, const char *from_name, const char *from_both,
			   const char *proxy, const char *proxy_name, const char *proxy_both)
{
	return (struct side){ .from = from ? from : from_both,
			      .from_name = from ? from_name : "--bind-address",
			      .proxy = proxy ? proxy : proxy_both,
			      .proxy_name = proxy ? proxy_name : "--proxy" };
}

enum err routes_open(const struct route_options *options, struct routes *routes)
{
	struct side source = side_of(options->source_bind_address, "--source-bind-address",
				     options->bind_address, options->source_proxy, "--source-proxy",
				     options->proxy);
	struct side destination =
		side_of(options->destination_bind_address, "--destination-bind-address",
			options->bind_address, options->destination_proxy, "--destination-proxy",
			options->proxy);
	enum err e;

	*routes = (struct routes){ 0 };
	if ((e = set(&routes->source, &source)) || (e = set(&routes->destination, &destination)))
		return e;
	if (options->proxy_password_file && !*routes->source.user && !*routes->destination.user)
		return RAISE(ERR_INPUT_USAGE,
			     "--proxy-password-file is of no use, because no proxy "
			     "names a user: socks5://USER@HOST");
	if (options->proxy_password_file &&
	    (e = secret_from_file(options->proxy_password_file, &routes->source_password)))
		return e;
	if ((e = route_set_password(&routes->source, source.proxy_name, routes->source_password)))
		return e;
	return route_set_password(&routes->destination, destination.proxy_name,
				  routes->source_password);
}

static enum err open_side(const struct job_route *job, const struct side *side, struct route *route,
			  struct secret **password)
{
	enum err e;

	if ((e = set(route, side)))
		return e;
	if (*route->user && job->proxy_password.kind != SECRET_REF_NONE &&
	    (e = secret_ref_resolve(&job->proxy_password, clock_after(SECRET_TIMEOUT), password)))
		return e;
	return route_set_password(route, side->proxy_name, *password);
}

enum err routes_open_job(const struct job_route *source, const struct job_route *destination,
			 struct routes *routes)
{
	const struct side sides[] = {
		{ source->bind_address, "source.bind_address", source->proxy, "source.proxy" },
		{ destination->bind_address, "target.bind_address", destination->proxy,
		  "target.proxy" },
	};
	enum err e;

	*routes = (struct routes){ 0 };
	e = open_side(source, &sides[0], &routes->source, &routes->source_password);
	return e ? e
		 : open_side(destination, &sides[1], &routes->destination,
			     &routes->destination_password);
}

void routes_close(struct routes *routes)
{
	secret_close(&routes->source_password);
	secret_close(&routes->destination_password);
}
