#include "tools/aws_record.h"

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>

#include "engine/bytes.h"
#include "engine/clock.h"
#include "engine/io.h"
#include "engine/log.h"
#include "tools/durations.h"
#include "tools/json_out.h"
#include "tools/units.h"
#include "transport/json.h"

enum {
	MAGIC = 0x41575352,
	FORMAT_VERSION = 1,
	/* Of lines that wait and of those being written each. Some 700 fit, so 2,800 requests a
	 * second find room where the disk is fast enough: a bucket takes 3,500 writes a second
	 * below one prefix, and ours have some MiB mostly. */
	HALF_BYTES = 256 * 1024,
	TEXT_BYTES_MAX = 1024, /* of one value: keys have no more, nothing else as much */
	/* There are eleven texts, and each byte may need six (\u001f). */
	LINE_BYTES_MAX = 12 * 6 * TEXT_BYTES_MAX,
	/* S3 has some twenty operations, and a status or two of each is usual. */
	KINDS_MAX = 96,
	HOST_BYTES = 272,
};
#define WRITE_EVERY (250 * NSEC_MILLISECOND)
#define WRITE_AGAIN (5 * NSEC_SECOND) /* after a failure */
#define WRITE_TIME  (20 * NSEC_SECOND)

/* Requests that went alike. */
struct kind {
	const char *service, *operation;
	char host[HOST_BYTES];
	unsigned status;
	uint64_t requests, failed, repeated, bytes_sent, bytes_received;
	struct durations durations;
};

struct lines {
	struct buffer text; /* of HALF_BYTES, that do not grow */
	uint64_t count;
};

struct aws_record {
	uint32_t magic;
	struct aws_listener listener;
	bool names;
	char path[PATH_MAX]; /* "": none is written */
	/* Of whoever writes. */
	int fd;
	uint64_t offset; /* up to which all is written */
	struct lines going;
	enum err error; /* the first */
	bool fails;	/* it did when it was tried last */
	/* Of all, behind `lock`. */
	pthread_mutex_t lock;
	struct lines waiting;
	uint64_t missing, missing_before_next; /* lines that found no room */
	uint64_t requests, failed, repeated, of_other_kinds;
	unsigned kinds_count;
	struct kind kinds[KINDS_MAX];
};

/* ---- totals ---- */

static struct kind *find_kind(struct aws_record *record, const struct aws_request *request)
{
	struct kind *kind = record->kinds;

	for (; kind < record->kinds + record->kinds_count; kind++)
		if (kind->status == request->status &&
		    strcmp(kind->operation, request->operation) == 0 &&
		    strcmp(kind->service, request->service) == 0 &&
		    strncmp(kind->host, request->host, HOST_BYTES - 1) == 0)
			return kind;
	if (record->kinds_count == KINDS_MAX)
		return NULL;
	record->kinds_count++;
	kind->service = request->service;
	kind->operation = request->operation;
	kind->status = request->status;
	snprintf(kind->host, sizeof kind->host, "%s", request->host);
	return kind;
}

/* Whether something is there, or was ever set, is asked all the time. */
static bool has_failed(const struct aws_request *request)
{
	return request->error != OK && request->status != 404;
}

static void count(struct aws_record *record, const struct aws_request *request)
{
	struct kind *kind = find_kind(record, request);

	record->requests++;
	record->failed += has_failed(request);
	record->repeated += request->attempt > 1;
	if (!kind) {
		record->of_other_kinds++;
		return;
	}
	kind->requests++;
	kind->failed += has_failed(request);
	kind->repeated += request->attempt > 1;
	kind->bytes_sent += request->bytes_sent;
	kind->bytes_received += request->bytes_received;
	durations_add(&kind->durations, request->duration);
}

/* ---- lines ---- */

static void add_text(struct buffer *line, const char *name, const char *value)
{
	if (value && *value)
		json_add_text(line, name,
			      (struct text){ value, min_u64(strlen(value), TEXT_BYTES_MAX) });
}

/* When it began. */
static void add_time(struct buffer *line, const struct aws_request *request)
{
	nsec begun = clock_wall() - request->duration;
	char second[UNITS_TEXT_BYTES], time[UNITS_TEXT_BYTES + 8];

	snprintf(time, sizeof time, "%.19s.%03dZ", units_wall(second, begun / NSEC_SECOND),
		 (int)(begun % NSEC_SECOND / NSEC_MILLISECOND));
	add_text(line, "time", time);
}

static void put_line(const struct aws_record *record, const struct aws_request *request,
		     struct buffer *line)
{
	json_begin(line);
	json_add_number(line, "version", FORMAT_VERSION);
	add_time(line, request);
	add_text(line, "service", request->service);
	add_text(line, "operation", request->operation);
	add_text(line, "region", request->region);
	add_text(line, "host", request->host);
	add_text(line, "bucket", request->bucket);
	add_text(line, "key", record->names ? request->key : "");
	add_text(line, "mailbox", fiber_tag());
	json_add_number(line, "status", request->status);
	add_text(line, "code", request->code);
	add_text(line, "error", request->error ? err_name(request->error) : "");
	add_text(line, "request_id", request->request_id);
	add_text(line, "host_id", request->host_id);
	if (request->attempt)
		json_add_number(line, "attempt", request->attempt);
	json_add_number(line, "duration_us", (uint64_t)(request->duration / NSEC_MICROSECOND));
	json_add_number(line, "bytes_sent", request->bytes_sent);
	json_add_number(line, "bytes_received", request->bytes_received);
	if (record->missing_before_next)
		json_add_number(line, "missing", record->missing_before_next);
	json_end(line);
}

static void add_line(struct aws_record *record, const struct aws_request *request)
{
	struct buffer *text = &record->waiting.text;
	size_t before = text->bytes;

	put_line(record, request, text);
	if (text->failed) {
		text->failed = false;
		text->bytes = before;
		record->missing++;
		record->missing_before_next++;
		return;
	}
	record->waiting.count++;
	record->missing_before_next = 0;
}

static void told(void *context, const struct aws_request *request)
{
	struct aws_record *record = context;

	MAGIC_CHECK(record, MAGIC);
	must(pthread_mutex_lock(&record->lock) == 0);
	count(record, request);
	if (*record->path)
		add_line(record, request);
	must(pthread_mutex_unlock(&record->lock) == 0);
}

/* ---- writing ---- */

/* What waits becomes what goes, unless the disk has not taken all of that yet. */
static bool take_lines(struct aws_record *record)
{
	struct lines empty = record->going;

	if (record->going.text.bytes)
		return true;
	must(pthread_mutex_lock(&record->lock) == 0);
	record->going = record->waiting;
	record->waiting = empty;
	must(pthread_mutex_unlock(&record->lock) == 0);
	return record->going.text.bytes > 0;
}

/* Where it fails the same bytes go to the same place the next time, however many came through. */
static enum err write_lines(struct aws_record *record, nsec until)
{
	struct buffer *text = &record->going.text;
	enum err e = OK;

	while (!e && take_lines(record)) {
		if (record->fd < 0 &&
		    (e = io_open(record->path, O_WRONLY | O_CREAT, 0600, until, &record->fd)))
			break;
		if ((e = io_write(record->fd, text->at, text->bytes, record->offset, until)))
			break;
		record->offset += text->bytes;
		buffer_reset(text);
		record->going.count = 0;
	}
	return e;
}

/* Once: the reports tell it again. */
static void note_error(struct aws_record *record, enum err e, bool had_note)
{
	record->fails = e != OK;
	if (e && !record->error) {
		record->error = e;
		log_event(LOG_WARN, "aws_record.failed",
			  "path=\"%s\" error=%s meaning=\"%s\" next=\"make room: it is tried "
			  "again; the transfer goes on\"",
			  record->path, err_name(e), err_text(e));
	}
	if (e && !had_note)
		err_note_clear();
}

enum err aws_record_keep(void *argument)
{
	struct aws_record *record = argument;
	enum err e;

	MAGIC_CHECK(record, MAGIC);
	for (;;) {
		nsec rest = record->fails ? WRITE_AGAIN : WRITE_EVERY;

		if ((e = fiber_sleep(clock_after(rest))) ||
		    (e = write_lines(record, clock_after(WRITE_TIME))) == ERR_FIBER_CANCELED)
			return e;
		note_error(record, e, false);
	}
}

/* Without room the file ends with a whole line. */
void aws_record_finish(struct aws_record *record, nsec until)
{
	bool had_note = err_note()->error != OK;
	enum err e;

	MAGIC_CHECK(record, MAGIC);
	fiber_shield();
	if ((e = write_lines(record, until)) == OK && record->fd >= 0)
		e = io_fsync(record->fd, false, until);
	note_error(record, e, had_note);
	if (e && record->fd >= 0 && io_truncate(record->fd, record->offset, until) && !had_note)
		err_note_clear();
	fiber_unshield();
	record->missing += record->going.count + record->waiting.count;
	record->going.count = record->waiting.count = 0;
	buffer_reset(&record->going.text);
	buffer_reset(&record->waiting.text);
	if (record->fd >= 0)
		io_close(&record->fd);
}

/* ---- a record ---- */

/* STATE/aws-requests-20261123T071308.123Z.ndjson */
static enum err name_file(struct aws_record *record, const char *directory)
{
	nsec now = clock_wall();
	char time[UNITS_TEXT_BYTES], digits[UNITS_TEXT_BYTES];
	size_t used = 0;
	int n;

	units_wall(time, now / NSEC_SECOND);
	for (const char *at = time; *at && *at != 'Z'; at++)
		if (*at != '-' && *at != ':')
			digits[used++] = *at;
	n = snprintf(record->path, sizeof record->path, "%s/aws-requests-%.*s.%03dZ.ndjson",
		     directory, (int)used, digits, (int)(now % NSEC_SECOND / NSEC_MILLISECOND));
	return n > 0 && (size_t)n < sizeof record->path
		       ? OK
		       : RAISE(ERR_INPUT_USAGE, "the path of the state directory is too long");
}

static bool lines_open(struct lines *lines)
{
	lines->text = (struct buffer){ .at = malloc(HALF_BYTES),
				       .room = HALF_BYTES,
				       .bytes_max = HALF_BYTES - 1 };
	return lines->text.at != NULL;
}

enum err aws_record_open(const struct aws_record_config *config, struct aws_record **out)
{
	struct aws_record *record = calloc(1, sizeof *record);
	enum err e = OK;

	*out = record;
	if (!record)
		return RAISE(ERR_MEMORY_EXHAUSTED, "the record of requests to AWS");
	record->magic = MAGIC;
	record->listener = (struct aws_listener){ told, record };
	record->names = config->names;
	record->fd = -1;
	must(pthread_mutex_init(&record->lock, NULL) == 0);
	if (!lines_open(&record->going) || !lines_open(&record->waiting))
		e = RAISE(ERR_MEMORY_EXHAUSTED, "the record of requests to AWS");
	else if (config->directory)
		e = name_file(record, config->directory);
	if (e)
		aws_record_close(out);
	return e;
}

void aws_record_close(struct aws_record **closing)
{
	struct aws_record *record = *closing;

	if (!record)
		return;
	MAGIC_CHECK(record, MAGIC);
	if (record->fd >= 0)
		io_close(&record->fd);
	buffer_free(&record->going.text);
	buffer_free(&record->waiting.text);
	must(pthread_mutex_destroy(&record->lock) == 0);
	free(record);
	*closing = NULL;
}

const struct aws_listener *aws_record_listener(const struct aws_record *record)
{
	MAGIC_CHECK(record, MAGIC);
	return &record->listener;
}

/* ---- telling ---- */

static double milliseconds(nsec duration)
{
	return (double)duration / (double)NSEC_MILLISECOND;
}

static void kind_text(const struct kind *kind, FILE *to)
{
	fprintf(to, "AWS request  %s %s at %s, ", kind->service, kind->operation, kind->host);
	if (kind->status)
		fprintf(to, "status %u", kind->status);
	else
		fputs("no answer", to);
	fprintf(to, ": %llu time%s, half of them in %.2f ms, 99 %% in %.2f ms\n",
		(unsigned long long)kind->requests, units_plural(kind->requests),
		milliseconds(durations_of(&kind->durations, 500)),
		milliseconds(durations_of(&kind->durations, 990)));
}

void aws_record_text(const struct aws_record *record, FILE *to)
{
	if (!record->requests)
		return;
	fprintf(to, "AWS requests %llu, %llu failed, %llu repeated%s%s\n",
		(unsigned long long)record->requests, (unsigned long long)record->failed,
		(unsigned long long)record->repeated, *record->path ? "; record: " : "",
		record->path);
	if (record->missing)
		fprintf(to, "AWS record   not complete: %llu request%s missing%s%s\n",
			(unsigned long long)record->missing, record->missing == 1 ? " is" : "s are",
			record->error ? ": " : "", record->error ? err_text(record->error) : "");
	for (unsigned i = 0; i < record->kinds_count; i++)
		if (record->kinds[i].failed || record->kinds[i].repeated)
			kind_text(&record->kinds[i], to);
	if (record->of_other_kinds)
		fprintf(to, "AWS request  %llu of other kinds\n",
			(unsigned long long)record->of_other_kinds);
}

static void kind_json(const struct kind *kind, struct json_out *json)
{
	json_object_begin(json, NULL);
	json_text(json, "service", kind->service);
	json_text(json, "operation", kind->operation);
	json_text(json, "host", kind->host);
	json_number(json, "status", kind->status);
	json_number(json, "requests", kind->requests);
	json_number(json, "failed", kind->failed);
	json_number(json, "repeated", kind->repeated);
	json_number(json, "bytes_sent", kind->bytes_sent);
	json_number(json, "bytes_received", kind->bytes_received);
	json_number_decimal(json, "p50_ms", milliseconds(durations_of(&kind->durations, 500)));
	json_number_decimal(json, "p99_ms", milliseconds(durations_of(&kind->durations, 990)));
	json_object_end(json);
}

void aws_record_json(const struct aws_record *record, struct json_out *json)
{
	if (!record->requests)
		return;
	json_object_begin(json, "aws_requests");
	if (*record->path)
		json_text(json, "file", record->path);
	else
		json_null(json, "file");
	json_number(json, "requests", record->requests);
	json_number(json, "failed", record->failed);
	json_number(json, "repeated", record->repeated);
	json_number(json, "missing", record->missing);
	if (record->error)
		json_text(json, "error", err_name(record->error));
	else
		json_null(json, "error");
	json_array_begin(json, "kinds");
	for (unsigned i = 0; i < record->kinds_count; i++)
		kind_json(&record->kinds[i], json);
	json_array_end(json);
	json_number(json, "of_other_kinds", record->of_other_kinds);
	json_object_end(json);
}
