/* Targets of requests, as they are sent and as they are signed. */
#include "crypto/sigv4_state.h"

struct parameter {
	struct text name, value;
};
struct parameters {
	struct parameter at[SIGV4_PARAMETERS_MAX];
	size_t count;
};

/* RFC 3986 section 2.3. */
static bool is_unreserved(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '.' || c == '_' || c == '~';
}

void sigv4_add_encoded(struct buffer *to, struct text text, enum sigv4_slash slash)
{
	static const char digits[] = "0123456789ABCDEF";
	size_t plain = 0; /* where the run of bytes begins that stay as they are */

	for (size_t i = 0; i < text.bytes; i++) {
		uint8_t byte = (uint8_t)text.at[i];

		if (is_unreserved(text.at[i]) || (byte == '/' && slash == SIGV4_SLASH_KEPT))
			continue;
		buffer_add(to, text.at + plain, i - plain);
		buffer_add(to, (char[]){ '%', digits[byte >> 4], digits[byte & 15] }, 3);
		plain = i + 1;
	}
	if (text.bytes > plain)
		buffer_add(to, text.at + plain, text.bytes - plain);
}

void sigv4_add_path(struct buffer *to, struct text path)
{
	sigv4_add_encoded(to, path, SIGV4_SLASH_KEPT);
}

void sigv4_add_parameter(struct buffer *to, const char *name, struct text value)
{
	buffer_add_text(to, to->bytes && memchr(to->at, '?', to->bytes) ? "&" : "?");
	sigv4_add_encoded(to, text_of(name), SIGV4_SLASH_ENCODED);
	buffer_add_text(to, "=");
	sigv4_add_encoded(to, value, SIGV4_SLASH_ENCODED);
}

/* What stands before the first `mark`, which is taken with it, or all there is. */
static struct text take_until(struct text *from, char mark)
{
	const char *end = from->bytes ? memchr(from->at, mark, from->bytes) : NULL;
	struct text taken = { from->at, end ? (size_t)(end - from->at) : from->bytes };
	size_t gone = taken.bytes + (end != NULL);

	from->at = gone ? from->at + gone : from->at;
	from->bytes -= gone;
	return taken;
}

/* The segments that remain, each encoded. Going up a level cuts one off again: in the encoded text
 * "/" stands before segments only. */
static void add_normalised(struct buffer *to, struct text path)
{
	bool ends_in_slash = path.bytes && path.at[path.bytes - 1] == '/';
	size_t begin = to->bytes;

	while (path.bytes) {
		struct text segment = take_until(&path, '/');

		if (text_equal(segment, text_of("..")))
			while (to->bytes > begin && to->at[--to->bytes] != '/')
				;
		else if (segment.bytes && !text_equal(segment, text_of("."))) {
			buffer_add_text(to, "/");
			sigv4_add_encoded(to, segment, SIGV4_SLASH_ENCODED);
		}
	}
	if (to->bytes == begin || ends_in_slash)
		buffer_add_text(to, "/");
}

static int compare_texts(struct text a, struct text b)
{
	size_t shorter = min_u64(a.bytes, b.bytes);
	int difference = shorter ? memcmp(a.at, b.at, shorter) : 0;

	return difference ? difference : (a.bytes > b.bytes) - (a.bytes < b.bytes);
}

/* By name, then by value, as bytes of their encoded forms. */
static bool is_before(const struct parameter *a, const struct parameter *b)
{
	int difference = compare_texts(a->name, b->name);

	return difference ? difference < 0 : compare_texts(a->value, b->value) < 0;
}

static void insert_parameter(struct parameters *parameters, const struct parameter *parameter)
{
	size_t at = parameters->count++;

	for (; at > 0 && is_before(parameter, &parameters->at[at - 1]); at--)
		parameters->at[at] = parameters->at[at - 1];
	parameters->at[at] = *parameter;
}

static enum err add_query(struct buffer *to, struct text query)
{
	struct parameters parameters;

	parameters.count = 0;
	while (query.bytes) {
		struct text value = take_until(&query, '&'), name = take_until(&value, '=');

		if (name.bytes == 0)
			continue;
		if (parameters.count == SIGV4_PARAMETERS_MAX)
			return RAISE(ERR_INPUT_USAGE,
				     "signing a request with more than %d parameters",
				     SIGV4_PARAMETERS_MAX);
		insert_parameter(&parameters, &(struct parameter){ name, value });
	}
	for (size_t i = 0; i < parameters.count; i++) {
		buffer_add_text(to, i ? "&" : "");
		buffer_add(to, parameters.at[i].name.at, parameters.at[i].name.bytes);
		buffer_add_text(to, "=");
		buffer_add(to, parameters.at[i].value.at, parameters.at[i].value.bytes);
	}
	return OK;
}

enum err sigv4_add_target(struct buffer *to, struct text target, unsigned rules)
{
	struct text query = target, path = take_until(&query, '?');
	enum err e;

	if (rules & SIGV4_NORMALISE)
		add_normalised(to, path);
	else if (rules & SIGV4_ENCODE_AGAIN)
		sigv4_add_path(to, path);
	else
		buffer_add(to, path.at, path.bytes);
	buffer_add_text(to, "\n");
	e = add_query(to, query);
	buffer_add_text(to, "\n");
	return e;
}
