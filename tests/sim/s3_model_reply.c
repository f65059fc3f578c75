/* Answers of the S3 stand-in: fields, XML, errors as Amazon S3 words them ("Error responses"). What
 * is XML comes in chunks, as S3 sends it; objects come with their length. */
#include "tests/sim/s3_model_state.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { TEXT_BYTES_MAX = 8192, CHUNK_BYTES_MAX = 700 };

__attribute__((format(printf, 1, 0))) static char *format_text(const char *format,
							       va_list arguments)
{
	char *text = malloc(TEXT_BYTES_MAX);

	must(text && vsnprintf(text, TEXT_BYTES_MAX, format, arguments) >= 0);
	return text;
}

bool s3_model_refuse(struct s3_model_request *r, unsigned status, const char *code,
		     const char *format, ...)
{
	va_list arguments;
	char *text;

	if (r->code)
		return false;
	va_start(arguments, format);
	text = format_text(format, arguments);
	va_end(arguments);
	r->status = status;
	r->code = code;
	buffer_add_text(&r->message, text);
	free(text);
	return false;
}

void s3_model_field(struct s3_model_request *r, const char *name, const char *format, ...)
{
	va_list arguments;
	char *text;

	va_start(arguments, format);
	text = format_text(format, arguments);
	va_end(arguments);
	buffer_addf(&r->fields, "%s: %s\r\n", name, text);
	free(text);
}

static void add_escaped(struct buffer *to, const char *text)
{
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '&')
			buffer_add_text(to, "&amp;");
		else if (c == '<')
			buffer_add_text(to, "&lt;");
		else if (c == '>')
			buffer_add_text(to, "&gt;");
		else if (c < ' ' && c != '\n' && c != '\t')
			buffer_addf(to, "&#x%X;",
				    c); /* as S3 does, though XML 1.0 has none of it */
		else
			buffer_add(to, text, 1);
	}
}

void s3_model_xml(struct buffer *to, const char *tag, const char *format, ...)
{
	va_list arguments;
	char *text;

	va_start(arguments, format);
	text = format_text(format, arguments);
	va_end(arguments);
	buffer_addf(to, "<%s>", tag);
	add_escaped(to, text);
	buffer_addf(to, "</%s>", tag);
	free(text);
}

void s3_model_xml_checksum(struct buffer *to, const struct s3_model_checksum *checksum)
{
	char tag[40];

	if (checksum->algorithm == S3_MODEL_NO_CHECKSUM)
		return;
	snprintf(tag, sizeof tag, "Checksum%s", s3_model_algorithm_name(checksum->algorithm));
	s3_model_xml(to, tag, "%s", checksum->text);
}

static const char *reason_of(unsigned status)
{
	switch (status) {
	case 200:
		return "OK";
	case 204:
		return "No Content";
	case 206:
		return "Partial Content";
	case 301:
		return "Moved Permanently";
	case 304:
		return "Not Modified";
	case 400:
		return "Bad Request";
	case 403:
		return "Forbidden";
	case 404:
		return "Not Found";
	case 405:
		return "Method Not Allowed";
	case 409:
		return "Conflict";
	case 411:
		return "Length Required";
	case 412:
		return "Precondition Failed";
	case 416:
		return "Requested Range Not Satisfiable";
	case 500:
		return "Internal Server Error";
	case 501:
		return "Not Implemented";
	case 503:
		return "Slow Down";
	default:
		return "Answer";
	}
}

static void write_error(struct s3_model_request *r, const char *id)
{
	buffer_reset(&r->xml);
	s3_model_xml(&r->xml, "Code", "%s", r->code);
	s3_model_xml(&r->xml, "Message", "%s", r->message.bytes ? r->message.at : "");
	if (r->key && r->key[0])
		s3_model_xml(&r->xml, "Key", "%s", r->key);
	if (r->bucket_name[0])
		s3_model_xml(&r->xml, "BucketName", "%s", r->bucket_name);
	buffer_add(&r->xml, r->more.at, r->more.bytes);
	s3_model_xml(&r->xml, "RequestId", "%s", id);
	s3_model_xml(&r->xml, "HostId", "%s", "c3RhbmQtaW4=");
}

static void add_chunks(struct s3_model_request *r, const char *head, struct buffer *to)
{
	struct buffer all = { 0 };

	buffer_addf(&all, "%s%s%s", head, r->xml.bytes ? r->xml.at : "", r->code ? "</Error>" : "");
	for (size_t at = 0, n; at < all.bytes; at += n) {
		n = min_u64(all.bytes - at, 1 + s3_model_throw(r->model) % CHUNK_BYTES_MAX);
		buffer_addf(to, "%zx\r\n", n);
		buffer_add(to, all.at + at, n);
		buffer_add_text(to, "\r\n");
	}
	buffer_add_text(to, "0\r\n\r\n");
	buffer_free(&all);
}

void s3_model_answer(struct s3_model_request *r, bool closes, struct buffer *to, size_t *body_at)
{
	static const char declaration[] = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
	bool is_head = strcmp(r->method, "HEAD") == 0;
	char id[17], date[32], head[80];

	s3_model_id(r->model, id, sizeof id - 1);
	s3_model_http_time(date, r->now_s);
	if (r->code)
		write_error(r, id);
	buffer_addf(to, "HTTP/1.1 %u %s\r\nx-amz-id-2: c3RhbmQtaW4=\r\nx-amz-request-id: %s\r\n",
		    r->status, reason_of(r->status), id);
	buffer_addf(to, "Date: %s\r\nServer: AmazonS3\r\n%s", date,
		    closes ? "Connection: close\r\n" : "");
	if (r->fields.bytes)
		buffer_add(to, r->fields.at, r->fields.bytes);
	if (r->code || r->xml.bytes) {
		buffer_add_text(
			to, "Content-Type: application/xml\r\nTransfer-Encoding: chunked\r\n\r\n");
		*body_at = to->bytes;
		snprintf(head, sizeof head, "%s%s", declaration, r->code ? "<Error>" : "");
		if (!is_head)
			add_chunks(r, head, to);
		return;
	}
	if (r->status != 204 && r->status != 304)
		buffer_addf(to, "Content-Length: %zu\r\n", r->bytes_length);
	buffer_add_text(to, "\r\n");
	*body_at = to->bytes;
	if (r->bytes_length && !is_head)
		buffer_add(to, r->bytes, r->bytes_length);
}
