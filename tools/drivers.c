#include "tools/drivers.h"

#include <stdio.h>

#include "tools/url.h"
#include "transport/store.h"

#define SOURCE(symbol, scheme, what) extern const struct source_driver symbol##_source;
#define SINK(symbol, scheme, what)   extern const struct sink_driver symbol##_sink;
#include "transport/drivers.def"
#undef SOURCE
#undef SINK

static const struct {
	const char *scheme;
	const struct source_driver *driver;
} sources[] = {
#define SOURCE(symbol, scheme, what) { scheme, &symbol##_source },
#define SINK(symbol, scheme, what)
#include "transport/drivers.def"
#undef SOURCE
#undef SINK
};

static const struct {
	const char *scheme;
	const struct sink_driver *driver;
} sinks[] = {
#define SOURCE(symbol, scheme, what)
#define SINK(symbol, scheme, what) { scheme, &symbol##_sink },
#include "transport/drivers.def"
#undef SOURCE
#undef SINK
};

const char drivers_sources_text[] =
#define SOURCE(symbol, scheme, what) "  " scheme "://  " what "\n"
#define SINK(symbol, scheme, what)
#include "transport/drivers.def"
#undef SOURCE
#undef SINK
	"";

const char drivers_sinks_text[] =
#define SOURCE(symbol, scheme, what)
#define SINK(symbol, scheme, what) "  " scheme "://  " what "\n"
#include "transport/drivers.def"
#undef SOURCE
#undef SINK
	"";

const struct source_driver *drivers_source(const char *scheme)
{
	for (size_t i = 0; i < ARRAY_COUNT(sources); i++)
		if (strcmp(sources[i].scheme, scheme) == 0)
			return sources[i].driver;
	return NULL;
}

const struct sink_driver *drivers_sink(const char *scheme)
{
	for (size_t i = 0; i < ARRAY_COUNT(sinks); i++)
		if (strcmp(sinks[i].scheme, scheme) == 0)
			return sinks[i].driver;
	return NULL;
}

/* "" where the text is no URL. */
static const char *scheme_of(const char *url, char to[URL_SCHEME_BYTES_MAX + 1])
{
	size_t bytes = strcspn(url, ":");

	snprintf(to, URL_SCHEME_BYTES_MAX + 1, "%.*s", (int)(url[bytes] ? bytes : 0), url);
	return to;
}

bool drivers_is_server(const char *target)
{
	char scheme[URL_SCHEME_BYTES_MAX + 1];
	const struct sink_driver *sink = drivers_sink(scheme_of(target, scheme));

	return sink && sink->reopens;
}

bool drivers_has_archives(const char *scheme)
{
	return store_driver_of(scheme) || strcmp(scheme, "s3+eml") == 0;
}

bool drivers_is_packed(const char *url)
{
	char scheme[URL_SCHEME_BYTES_MAX + 1];

	return store_driver_of(scheme_of(url, scheme)) != NULL;
}

bool drivers_is_archive(const char *url)
{
	char scheme[URL_SCHEME_BYTES_MAX + 1];

	return drivers_has_archives(scheme_of(url, scheme));
}
