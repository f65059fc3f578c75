/* Lists: objects, uploads and parts, page after page. A page is kept until it is whole, because
 * half of one may be asked for again, and nothing is to be told twice; and because the encoding of
 * its keys may be said behind them (s3_xml.h). */
#include <stdio.h>
#include <stdlib.h>

#include "transport/s3_state.h"

enum { PAGE_ROWS = 1000 /* more than that no server gives */ };

/* In the page; behind it key, id and checksum, each terminated. */
struct row {
	uint64_t number, bytes;
	int64_t time_s;
	bool is_prefix;
};

struct listing {
	const struct list_kind *kind;
	struct s3 *s3;
	const char *key, *upload_id; /* of parts */
	const char *prefix, *start_after, *delimiter;
	s3_take *take;
	void *context;
	struct buffer page; /* of rows */
	/* Where the next page begins: a key or a token, and what goes with it. */
	char marker[S3_KEY_SENT_BYTES_MAX + 1];
	char marker_beside[S3_UPLOAD_ID_BYTES_MAX + 1];
	bool has_marker;
	bool is_truncated; /* there is another page, */
	bool is_stuck;	   /* and it is this one */
	union {
		struct s3_objects objects;
		struct s3_uploads uploads;
		struct s3_parts parts;
	} head;
	union {
		struct s3_object object;
		struct s3_upload upload;
		struct s3_part part;
	} one;
	struct s3_prefix common;
};

struct list_kind {
	struct s3_operation operation;
	void (*ask)(struct listing *, struct s3_call *); /* the parameters of the next page */
	enum err (*take)(struct s3_call *, struct http *, const struct http_head *);
	const char *(*encoding)(const struct listing *);
	/* Move the markers to where the page after this one begins. */
	void (*mark)(struct listing *);
};

/* ---- rows ---- */

static enum err keep_row(struct listing *listing, struct row row, const char *key, const char *id,
			 const char *checksum)
{
	struct buffer *page = &listing->page;

	buffer_add(page, &row, sizeof row);
	buffer_add(page, key, strlen(key) + 1);
	buffer_add(page, id, strlen(id) + 1);
	buffer_add(page, checksum, strlen(checksum) + 1);
	if (page->failed)
		return RAISE(ERR_XML_SYNTAX, "a page of more than %d bytes", S3_PAGE_BYTES_MAX);
	return OK;
}

static enum err keep_object(void *owner, void *to)
{
	const struct s3_object *object = to;

	return keep_row(owner,
			(struct row){ .bytes = object->size, .time_s = object->last_modified },
			object->key, object->etag, "");
}

static enum err keep_prefix(void *owner, void *to)
{
	const struct s3_prefix *prefix = to;

	return keep_row(owner, (struct row){ .is_prefix = true }, prefix->prefix, "", "");
}

static enum err keep_upload(void *owner, void *to)
{
	const struct s3_upload *upload = to;

	return keep_row(owner, (struct row){ .time_s = upload->initiated }, upload->key,
			upload->upload_id, "");
}

static enum err keep_part(void *owner, void *to)
{
	const struct s3_part *part = to;
	struct listing *listing = owner;

	return keep_row(listing,
			(struct row){ .number = part->part_number,
				      .bytes = part->size,
				      .time_s = part->last_modified },
			"", part->etag, s3_checksum_of(listing->s3, &part->checksums));
}

/* The next page is said to begin there. A server that says the same again and again would be asked
 * for ever. */
static void move_marker(struct listing *listing, bool is_truncated, const char *marker,
			const char *beside)
{
	bool is_same =
		strcmp(listing->marker, marker) == 0 && strcmp(listing->marker_beside, beside) == 0;

	listing->is_truncated = is_truncated;
	listing->is_stuck = is_truncated && (!*marker || (listing->has_marker && is_same));
	listing->has_marker = true;
	snprintf(listing->marker, sizeof listing->marker, "%s", marker);
	snprintf(listing->marker_beside, sizeof listing->marker_beside, "%s", beside);
}

/* ---- objects ---- */

static void ask_objects(struct listing *listing, struct s3_call *call)
{
	struct buffer *target = &call->target;

	sigv4_add_parameter(target, "list-type", text_of("2"));
	sigv4_add_parameter(target, "encoding-type", text_of("url"));
	s3_call_number(call, "max-keys", PAGE_ROWS);
	if (listing->prefix)
		sigv4_add_parameter(target, "prefix", text_of(listing->prefix));
	if (listing->delimiter)
		sigv4_add_parameter(target, "delimiter", text_of(listing->delimiter));
	if (listing->has_marker)
		sigv4_add_parameter(target, "continuation-token", text_of(listing->marker));
	else if (listing->start_after)
		sigv4_add_parameter(target, "start-after", text_of(listing->start_after));
}

static enum err take_objects(struct s3_call *call, struct http *http, const struct http_head *head)
{
	struct listing *listing = call->owner;
	struct xml_sheet sheets[4] = {
		XML_SHEET(&s3_xml_objects, &listing->head.objects),
		XML_ROWS(&s3_xml_object, &listing->one.object, keep_object, listing),
		XML_ROWS(&s3_xml_prefix, &listing->common, keep_prefix, listing),
	};

	(void)head;
	return s3_take_xml(call, http, sheets, 3);
}

static const char *encoding_of_objects(const struct listing *listing)
{
	return listing->head.objects.encoding_type;
}

static void mark_objects(struct listing *listing)
{
	move_marker(listing, listing->head.objects.is_truncated,
		    listing->head.objects.next_continuation_token, "");
}

/* ---- uploads ---- */

static void ask_uploads(struct listing *listing, struct s3_call *call)
{
	struct buffer *target = &call->target;

	buffer_add_text(target, "?uploads=");
	sigv4_add_parameter(target, "encoding-type", text_of("url"));
	s3_call_number(call, "max-uploads", PAGE_ROWS);
	if (listing->prefix)
		sigv4_add_parameter(target, "prefix", text_of(listing->prefix));
	if (!listing->has_marker)
		return;
	sigv4_add_parameter(target, "key-marker", text_of(listing->marker));
	sigv4_add_parameter(target, "upload-id-marker", text_of(listing->marker_beside));
}

static enum err take_uploads(struct s3_call *call, struct http *http, const struct http_head *head)
{
	struct listing *listing = call->owner;
	struct xml_sheet sheets[3] = {
		XML_SHEET(&s3_xml_uploads, &listing->head.uploads),
		XML_ROWS(&s3_xml_upload, &listing->one.upload, keep_upload, listing),
	};

	(void)head;
	return s3_take_xml(call, http, sheets, 2);
}

static const char *encoding_of_uploads(const struct listing *listing)
{
	return listing->head.uploads.encoding_type;
}

static void mark_uploads(struct listing *listing)
{
	struct s3_uploads *uploads = &listing->head.uploads;
	bool is_url = strcmp(uploads->encoding_type, "url") == 0;

	if (is_url && !s3_xml_url_decode(uploads->next_key_marker))
		uploads->next_key_marker[0] = '\0'; /* which is found to lead nowhere */
	move_marker(listing, uploads->is_truncated, uploads->next_key_marker,
		    uploads->next_upload_id_marker);
}

/* ---- parts ---- */

static void ask_parts(struct listing *listing, struct s3_call *call)
{
	sigv4_add_parameter(&call->target, "uploadId", text_of(listing->upload_id));
	s3_call_number(call, "max-parts", PAGE_ROWS);
	if (listing->has_marker)
		sigv4_add_parameter(&call->target, "part-number-marker", text_of(listing->marker));
}

static enum err take_parts(struct s3_call *call, struct http *http, const struct http_head *head)
{
	struct listing *listing = call->owner;
	struct xml_sheet sheets[3] = {
		XML_SHEET(&s3_xml_parts, &listing->head.parts),
		XML_ROWS(&s3_xml_part, &listing->one.part, keep_part, listing),
	};

	(void)head;
	return s3_take_xml(call, http, sheets, 2);
}

static const char *encoding_of_parts(const struct listing *listing)
{
	(void)listing;
	return "";
}

static void mark_parts(struct listing *listing)
{
	char digits[21];

	snprintf(digits, sizeof digits, "%llu",
		 (unsigned long long)listing->head.parts.next_part_number_marker);
	move_marker(listing, listing->head.parts.is_truncated, digits, "");
}

/* ---- pages ---- */

static const struct list_kind objects_kind = {
	.operation = { .name = "ListObjectsV2", .method = "GET", .action = "s3:ListBucket" },
	.ask = ask_objects,
	.take = take_objects,
	.encoding = encoding_of_objects,
	.mark = mark_objects,
};
static const struct list_kind uploads_kind = {
	.operation = { .name = "ListMultipartUploads",
		       .method = "GET",
		       .action = "s3:ListBucketMultipartUploads" },
	.ask = ask_uploads,
	.take = take_uploads,
	.encoding = encoding_of_uploads,
	.mark = mark_uploads,
};
static const struct list_kind parts_kind = {
	.operation = { .name = "ListParts",
		       .method = "GET",
		       .action = "s3:ListMultipartUploadParts",
		       .on_object = true },
	.ask = ask_parts,
	.take = take_parts,
	.encoding = encoding_of_parts,
	.mark = mark_parts,
};

static void forget_page(struct s3_call *call)
{
	struct listing *listing = call->owner;

	buffer_reset(&listing->page);
}

static enum err fetch_page(struct listing *listing, nsec until)
{
	struct s3_call *call;
	enum err e;

	if ((e = s3_call_open(listing->s3, &listing->kind->operation, listing->key, &call)))
		return e;
	listing->kind->ask(listing, call);
	call->begin = forget_page;
	call->take = listing->kind->take;
	call->owner = listing;
	e = s3_ask(call, until);
	s3_call_close(&call);
	return e;
}

/* The text at `at`, and behind it the next. */
static char *next_text(char *at)
{
	return at + strlen(at) + 1;
}

static enum err hand_out_row(struct listing *listing, bool is_url, size_t *at)
{
	struct s3_entry entry;
	struct row row;
	char *key, *id, *checksum;

	memcpy(&row, listing->page.at + *at, sizeof row);
	key = listing->page.at + *at + sizeof row;
	id = next_text(key);
	checksum = next_text(id);
	*at = (size_t)(next_text(checksum) - listing->page.at);
	if (is_url && !s3_xml_url_decode(key))
		return RAISE(ERR_XML_SYNTAX,
			     "%s of bucket %s: a key is not encoded as it should be",
			     listing->kind->operation.name, listing->s3->config.bucket);
	entry = (struct s3_entry){ .is_prefix = row.is_prefix,
				   .key = key,
				   .id = id,
				   .checksum = checksum,
				   .number = (unsigned)min_u64(row.number, UINT32_MAX),
				   .bytes = row.bytes,
				   .time_s = row.time_s };
	return listing->take(listing->context, &entry);
}

static enum err hand_out(struct listing *listing)
{
	bool is_url = strcmp(listing->kind->encoding(listing), "url") == 0;
	enum err e = OK;

	for (size_t at = 0; !e && at < listing->page.bytes;)
		e = hand_out_row(listing, is_url, &at);
	return e;
}

static enum err list_pages(struct listing *listing, nsec until)
{
	enum err e;

	do {
		if ((e = fetch_page(listing, until)) || (e = hand_out(listing)))
			return e;
		listing->kind->mark(listing);
		if (listing->is_stuck)
			return RAISE(ERR_XML_SYNTAX,
				     "%s of bucket %s: S3 says that there is more, but not where: "
				     "the list cannot be had in full",
				     listing->kind->operation.name, listing->s3->config.bucket);
	} while (listing->is_truncated);
	return OK;
}

/* ---- the calls ---- */

static enum err listing_open(struct s3 *s3, const struct list_kind *kind, s3_take *take,
			     void *context, struct listing **out)
{
	struct listing *listing = calloc(1, sizeof *listing);

	MAGIC_CHECK(s3, S3_MAGIC);
	*out = listing;
	if (!listing)
		return RAISE(ERR_MEMORY_EXHAUSTED, "a list of bucket %s", s3->config.bucket);
	listing->s3 = s3;
	listing->kind = kind;
	listing->take = take;
	listing->context = context;
	listing->page.bytes_max = S3_PAGE_BYTES_MAX;
	return OK;
}

/* Takes the listing. */
static enum err list(struct listing *listing, nsec until)
{
	enum err e = list_pages(listing, until);

	buffer_free(&listing->page);
	free(listing);
	return e;
}

enum err s3_list(struct s3 *s3, const struct s3_list *wanted, nsec until)
{
	struct listing *listing;
	enum err e;

	if ((e = listing_open(s3, &objects_kind, wanted->take, wanted->context, &listing)))
		return e;
	listing->prefix = wanted->prefix;
	listing->start_after = wanted->start_after;
	listing->delimiter = wanted->delimiter;
	return list(listing, until);
}

enum err s3_list_uploads(struct s3 *s3, const char *prefix, s3_take *take, void *context,
			 nsec until)
{
	struct listing *listing;
	enum err e;

	if ((e = listing_open(s3, &uploads_kind, take, context, &listing)))
		return e;
	listing->prefix = prefix;
	return list(listing, until);
}

enum err s3_list_parts(struct s3 *s3, const char *key, const char *upload_id, s3_take *take,
		       void *context, nsec until)
{
	struct listing *listing;
	enum err e;

	if ((e = listing_open(s3, &parts_kind, take, context, &listing)))
		return e;
	listing->key = key;
	listing->upload_id = upload_id;
	return list(listing, until);
}
