/* Signing: a server's Date, and keys, prefixes and fields of any bytes. What is encoded decodes to
 * the same; in what order parameters stand and how many spaces a field's value has is no matter to
 * the signature. */
#include "crypto/sigv4.h"

#include <stdlib.h>

#include "tests/fuzz/fuzz.h"

static void check_date(struct text date)
{
	int64_t offset, again;

	if (!sigv4_clock_offset(date, 0, &offset))
		return;
	must(offset >= -INT64_C(62135596800) && offset <= INT64_C(253402300800));
	must(sigv4_clock_offset(date, offset, &again) && again == 0);
}

static void check_encoded(struct text plain, enum sigv4_slash slash)
{
	struct buffer coded = { 0 };
	size_t at = 0;

	sigv4_add_encoded(&coded, plain, slash);
	for (size_t i = 0; i < plain.bytes; i++) {
		uint8_t byte = (uint8_t)plain.at[i];

		must(at < coded.bytes);
		if (coded.at[at] == '%') {
			must(bytes_from_hex(&byte, 1, (struct text){ coded.at + at + 1, 2 }));
			at += 2;
		} else {
			must(slash == SIGV4_SLASH_KEPT || byte != '/');
			must(coded.at[at] == plain.at[i] && byte > ' ' && byte < 0x7f);
		}
		must(byte == (uint8_t)plain.at[i]);
		at++;
	}
	must(at == coded.bytes);
	buffer_free(&coded);
}

/* Each space of the value as two. */
static void widen(struct text value, struct buffer *to)
{
	for (size_t i = 0; i < value.bytes; i++)
		buffer_add(to, value.at[i] == ' ' ? "  " : value.at + i,
			   value.at[i] == ' ' ? 2 : 1);
}

static void sign(struct sigv4 *sigv4, struct text target, struct text value,
		 struct sigv4_signed *out)
{
	const struct sigv4_credentials credentials = { text_of("id"), text_of("key"), { 0 } };
	const struct sigv4_field field = { "X-Amz-Meta-A", value };
	const struct sigv4_request request = { .method = "GET",
					       .host = text_of("host"),
					       .target = target,
					       .fields = &field,
					       .fields_count = 1,
					       .payload_hash = text_of(SIGV4_EMPTY_PAYLOAD) };
	struct buffer presigned = { 0 };

	must(sigv4_sign(sigv4, &request, &credentials, out) == OK);
	must(sigv4_presign(sigv4, &request, &credentials, 1, &presigned) == OK);
	must(presigned.bytes > target.bytes);
	buffer_free(&presigned);
}

static void check_signed(unsigned rules, struct text key, struct text prefix, struct text value)
{
	struct buffer target = { 0 }, turned = { 0 }, wide = { 0 };
	struct sigv4_signed first, second;
	struct sigv4 *sigv4;

	buffer_add_text(&target, "/");
	buffer_add_text(&turned, "/");
	sigv4_add_path(&target, key);
	sigv4_add_path(&turned, key);
	sigv4_add_parameter(&target, "prefix", prefix);
	sigv4_add_parameter(&target, "list-type", text_of("2"));
	sigv4_add_parameter(&turned, "list-type", text_of("2"));
	sigv4_add_parameter(&turned, "prefix", prefix);
	widen(value, &wide);
	must(sigv4_open("eu-west-1", "s3", rules, &sigv4) == OK);
	sign(sigv4, (struct text){ target.at, target.bytes }, value, &first);
	sign(sigv4, (struct text){ turned.at, turned.bytes }, (struct text){ wide.at, wide.bytes },
	     &second);
	must(strcmp(first.signature, second.signature) == 0);
	sigv4_close(&sigv4);
	buffer_free(&wide);
	buffer_free(&turned);
	buffer_free(&target);
}

FUZZ(sigv4)
{
	unsigned rules = fuzz_take_byte(&input) & 1 ? SIGV4_OTHERS : SIGV4_S3;
	struct text date = fuzz_take_part(&input), key = fuzz_take_part(&input);
	struct text prefix = fuzz_take_part(&input);

	check_date(date);
	check_encoded(key, SIGV4_SLASH_KEPT);
	check_encoded(prefix, SIGV4_SLASH_ENCODED);
	check_signed(rules, key, prefix, input);
}
