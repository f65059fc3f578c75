/* The files of a folder into a bucket, with the S3 library as the product uses it: what fits one
 * part with one PutObject, longer ones part by part; so many fibers and connections as asked for.
 * It is mailhaul's row of bench/upload, so all of its life counts.
 *
 *   upload_bench PORT CA_FILE AT_ONCE FILES */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/clock.h"
#include "engine/io.h"
#include "engine/limits.h"
#include "engine/offload.h"
#include "engine/shard.h"
#include "transport/conn.h"
#include "transport/s3.h"

enum {
	PART_BYTES = UPLOAD_PART_BYTES,
	AT_ONCE_MAX = 64,
	PARTS_MAX = 128, /* of a file: 1 GiB */
};
#define PATIENCE (300 * NSEC_SECOND)

struct uploads {
	const char *files;
	unsigned at_once;
	struct account way;
	struct s3 *s3;
	const char *names, *names_end; /* that nobody has taken */
};

/* Of one fiber. */
struct upload {
	char key[S3_KEY_BYTES_MAX + 1];
	int fd;
	size_t fill; /* of the part */
	uint64_t crc;
	struct s3_part_sent sent[PARTS_MAX];
	uint8_t part[PART_BYTES];
};

/* ---- files ---- */

static const char *take_name(struct uploads *uploads)
{
	const char *name = uploads->names;

	if (name == uploads->names_end)
		return NULL;
	uploads->names += strlen(name) + 1;
	return name;
}

static enum err open_file(const struct uploads *uploads, const char *name, struct upload *upload)
{
	char path[1024];

	snprintf(upload->key, sizeof upload->key, "objects/%s", name);
	snprintf(path, sizeof path, "%s/%s", uploads->files, name);
	upload->fd = open(path, O_RDONLY | O_CLOEXEC);
	return upload->fd < 0 ? RAISE_ERRNO(err_of_file_errno(errno), errno, "opening %s", path)
			      : OK;
}

/* The next part; at the file's end it is shorter, or empty. Not through the ring: files in memory
 * do not make it wait, and tmpfs would have a thread of the kernel's read them. */
static enum err read_part(struct upload *upload)
{
	ssize_t got = read(upload->fd, upload->part, PART_BYTES);

	if (got < 0)
		return RAISE_ERRNO(err_of_file_errno(errno), errno, "reading %s", upload->key);
	upload->fill = (size_t)got;
	upload->crc = crc_update(CRC64NVME, 0, upload->part, upload->fill);
	return OK;
}

/* ---- objects ---- */

static enum err put_whole(struct s3 *s3, const struct upload *upload)
{
	const struct text piece = { (const char *)upload->part, upload->fill };
	const struct s3_put put = { .key = upload->key,
				    .pieces = &piece,
				    .pieces_count = 1,
				    .crc = upload->crc,
				    .only_if_absent = true };
	struct s3_stored stored;

	return s3_put(s3, &put, clock_after(PATIENCE), &stored);
}

static enum err put_part(struct s3 *s3, const struct upload *upload, const char *upload_id,
			 struct s3_part_sent *sent)
{
	const struct text piece = { (const char *)upload->part, upload->fill };
	const struct s3_part_put part = { .key = upload->key,
					  .upload_id = upload_id,
					  .number = sent->number,
					  .pieces = &piece,
					  .pieces_count = 1,
					  .crc = upload->crc };
	struct s3_stored stored;
	enum err e = s3_upload_part(s3, &part, clock_after(PATIENCE), &stored);

	sent->crc = upload->crc;
	snprintf(sent->etag, sizeof sent->etag, "%s", stored.etag);
	return e;
}

/* The first part has been read. */
static enum err put_parts(struct s3 *s3, struct upload *upload)
{
	char upload_id[S3_UPLOAD_ID_BYTES_MAX + 1];
	struct s3_complete complete = { .key = upload->key,
					.upload_id = upload_id,
					.parts = upload->sent,
					.only_if_absent = true };
	struct s3_stored stored;
	enum err e = s3_upload_begin(s3, &(struct s3_begin){ .key = upload->key },
				     clock_after(PATIENCE), upload_id);

	while (!e && upload->fill > 0) {
		must(complete.parts_count < PARTS_MAX);
		upload->sent[complete.parts_count].number = (unsigned)complete.parts_count + 1;
		if ((e = put_part(s3, upload, upload_id, &upload->sent[complete.parts_count++])))
			break;
		complete.crc = crc_combine(CRC64NVME, complete.crc, upload->crc, upload->fill);
		complete.bytes += upload->fill;
		e = read_part(upload);
	}
	return e ? e : s3_upload_complete(s3, &complete, clock_after(PATIENCE), &stored);
}

static enum err put_file(struct uploads *uploads, const char *name, struct upload *upload)
{
	enum err e = open_file(uploads, name, upload);

	if (!e && (e = read_part(upload)) == OK)
		e = upload->fill < PART_BYTES ? put_whole(uploads->s3, upload)
					      : put_parts(uploads->s3, upload);
	if (upload->fd >= 0)
		close(upload->fd);
	return e;
}

static enum err put_files(void *argument)
{
	struct uploads *uploads = argument;
	struct upload *upload = malloc(sizeof *upload);
	const char *name;
	enum err e = OK;

	must(upload);
	while (!e && (name = take_name(uploads)))
		e = put_file(uploads, name, upload);
	free(upload);
	return e;
}

/* ---- the run ---- */

static enum err take_keys(void *context, nsec until, struct s3_key_loan *loan)
{
	(void)context, (void)until;
	loan->credentials = (struct sigv4_credentials){ .access_key_id = text_of("nobody"),
							.secret = text_of("nothing") };
	return OK;
}

static void give_keys(void *context, struct s3_key_loan *loan, bool refused)
{
	(void)context, (void)loan, (void)refused;
}

static enum err put_at_once(struct uploads *uploads)
{
	struct group *group = group_open();
	enum err e = OK, of_fibers;

	for (unsigned i = 0; !e && i < uploads->at_once; i++)
		e = group_spawn(group, "upload", FIBER_STACK_LARGE, put_files, uploads);
	of_fibers = group_join(&group);
	return e ? e : of_fibers;
}

static enum err put_all(struct uploads *uploads, struct http_pool *pool)
{
	static const struct s3_keys keys = { .take = take_keys, .give = give_keys };
	struct s3_config config = {
		.bucket = "bucket",
		.endpoint = { .path = "/bucket", .region = "us-east-1", .port = uploads->way.port },
		.way = &uploads->way,
		.pool = pool,
		.keys = &keys,
		.checksum = CRC64NVME,
	};
	enum err e;

	snprintf(config.endpoint.host, sizeof config.endpoint.host, "localhost");
	if ((e = s3_open(&config, &uploads->s3)))
		return e;
	e = put_at_once(uploads);
	s3_close(&uploads->s3);
	return e;
}

static enum err run(void *argument)
{
	struct uploads *uploads = argument;
	struct buffer names = { .bytes_max = 64 * 1024 * 1024 };
	struct http_pool *pool = NULL;
	enum err e;

	if ((e = io_list(uploads->files, clock_after(PATIENCE), &names)) == OK &&
	    (e = http_pool_open(uploads->at_once, &pool)) == OK) {
		uploads->names = names.at;
		uploads->names_end = names.at + names.bytes;
		e = put_all(uploads, pool);
		http_pool_finish(pool, clock_after(NSEC_SECOND));
	}
	http_pool_close(&pool);
	buffer_free(&names);
	conn_thread_cleanup();
	return e;
}

int main(int count, char **arguments)
{
	struct uploads uploads;
	enum err e;

	if (count != 5 || atoi(arguments[3]) < 1 || atoi(arguments[3]) > AT_ONCE_MAX) {
		fprintf(stderr, "usage: upload_bench PORT CA_FILE AT_ONCE FILES\n");
		return 64;
	}
	/* As the product's, in tools/main.c. */
	(void)!mallopt(M_MMAP_THRESHOLD, 64 * 1024);
	(void)!mallopt(M_TRIM_THRESHOLD, 256 * 1024);
	uploads = (struct uploads){ .files = arguments[4],
				    .at_once = (unsigned)atoi(arguments[3]),
				    .way = { .port = (uint16_t)atoi(arguments[1]),
					     .ca_file = arguments[2],
					     .io_timeout = 60 * NSEC_SECOND,
					     .connect_timeout = 30 * NSEC_SECOND } };
	if ((e = shard_run(&(struct shard_config){ .arena_chunks = 1 }, run, &uploads)))
		fprintf(stderr, "upload_bench: %s: %s\n", err_text(e), err_note()->text);
	offload_shutdown(clock_after(NSEC_SECOND));
	return e ? 1 : 0;
}
