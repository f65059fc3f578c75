#include "tools/reading.h"

#include <stdlib.h>
#include <unistd.h>

#include "engine/clock.h"
#include "engine/log.h"
#include "engine/shard.h"
#include "tools/confinement.h"
#include "tools/routes.h"
#include "tools/url.h"
#include "transport/archive.h"
#include "transport/http_pool.h"

#define OPEN_TIMEOUT   (60 * NSEC_SECOND)
#define FINISH_TIMEOUT (10 * NSEC_SECOND)

struct reader {
	const struct reading *reading;
	struct url url;
	struct account account;
	struct bucket *bucket; /* NULL: it is in a directory */
	struct residency *residency;
	struct store_s3_config s3;
	struct http_pool *pool;
	struct routes routes;
};

static enum err read_archive(struct reader *reader)
{
	const struct reading *reading = reader->reading;
	struct archive *archive = NULL;
	enum err e = archive_open(store_driver_of(reader->url.scheme), &reader->account,
				  clock_after(OPEN_TIMEOUT), &archive);

	if (!e)
		e = reading->work(reading->context, archive);
	archive_close(&archive);
	return e;
}

static enum err read_directory(void *argument)
{
	struct reader *reader = argument;

	confine_thread(reader->reading->extracts ? CONFINE_EXTRACTOR : CONFINE_READER);
	return read_archive(reader);
}

static enum err read_bucket(void *argument)
{
	struct reader *reader = argument;
	enum err e;

	confine_thread(reader->reading->extracts ? CONFINE_FETCHER : CONFINE_WORKER);
	if ((e = http_pool_open(BUCKET_CONNECTIONS, &reader->pool)))
		return e;
	reader->account.s3 = &reader->s3;
	if (!(e = bucket_locate(reader->bucket, reader->url.host, reader->pool,
				clock_after(OPEN_TIMEOUT))) &&
	    !(e = bucket_store(reader->bucket, reader->url.host, reader->pool, &reader->s3)))
		e = read_archive(reader);
	http_pool_finish(reader->pool, clock_after(FINISH_TIMEOUT));
	http_pool_close(&reader->pool);
	return e;
}

static enum err run_directory(struct reader *reader)
{
	const struct reading *reading = reader->reading;
	const struct shard_config config = {
		.ring_use = reading->extracts ? RING_TO_EXTRACT : RING_TO_READ,
	};
	enum err e = bucket_refuse("--", "ARCHIVE", &reading->options->bucket);

	if (!e)
		e = confinement_begin_offline(reading->confine);
	return e ? e : shard_run(&config, read_directory, reader);
}

static enum err open_way(struct reader *reader)
{
	const struct reading_options *options = reader->reading->options;
	const struct route_options routes = {
		.bind_address = options->bind_address,
		.proxy = options->proxy,
		.proxy_password_file = options->proxy_password_file,
	};
	enum err e = routes_open(&routes, &reader->routes);

	reader->account.route = &reader->routes.source;
	reader->account.ca_file =
		options->ca_file ? options->ca_file : bucket_ca_file(reader->bucket);
	reader->account.io_timeout = options->io_timeout;
	reader->account.connect_timeout = options->connect_timeout;
	return e;
}

static enum err run_bucket(struct reader *reader)
{
	const struct reading *reading = reader->reading;
	const struct shard_config config = {
		.ring_use = reading->extracts ? RING_TO_COPY : RING_TO_FETCH,
	};
	enum err e;

	log_setup(STDERR_FILENO, LOG_WARN, false);
	log_set_trace(reading->options->trace);
	if ((e = confinement_prepare(reading->confine)) ||
	    (e = residency_options_set(reading->residency, NULL, &reader->residency)) ||
	    (e = bucket_open("--", reader->url.host, &reading->options->bucket, &reader->account,
			     NULL, &reader->bucket)) ||
	    (e = confinement_begin(NULL)) || (e = open_way(reader)))
		return e;
	return shard_run(&config, read_bucket, reader);
}

enum err reading_run(const struct reading *reading)
{
	struct reader *reader = calloc(1, sizeof *reader);
	enum err e;

	if (!reader)
		return RAISE(ERR_MEMORY_EXHAUSTED, "opening the archive");
	reader->reading = reading;
	e = url_parse("ARCHIVE", reading->archive, "source-password-file", &reader->url);
	if (!e && !store_driver_of(reader->url.scheme))
		e = RAISE(ERR_INPUT_USAGE,
			  "ARCHIVE is %s://, and archives are read from file:///path and "
			  "s3://BUCKET/PREFIX/",
			  reader->url.scheme);
	if (!e) {
		reader->account = url_account(&reader->url);
		e = bucket_is_meant(reader->url.scheme) ? run_bucket(reader)
							: run_directory(reader);
	}
	confinement_end();
	residency_options_end(&reader->residency);
	bucket_close(&reader->bucket);
	routes_close(&reader->routes);
	free(reader);
	return e;
}
