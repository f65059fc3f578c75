/* What hands out AWS keys: JSON of a program, a container or instance metadata, and XML of STS.
 * Keys that are taken can be sent in a header; the words of a refusal do not show a token. */
#include "transport/aws_sts.h"

#include <stdlib.h>

#include "crypto/secret.h"
#include "tests/fuzz/fuzz.h"

static void check_visible(const char *text)
{
	for (; *text; text++)
		must(*text > ' ' && *text < 0x7f);
}

FUZZ(keys)
{
	static const unsigned statuses[] = { 200, 403, 503 };
	unsigned choice = fuzz_take_byte(&input);
	void *room = secret_room_open(sizeof(struct aws_keys));
	struct aws_keys *keys = room;
	struct aws_sts_refusal said = { .code = "" };
	enum err e;

	must(room);
	if (choice % 5 < 2)
		e = aws_keys_read("it", choice % 5 ? AWS_KEYS_OF_PROCESS : AWS_KEYS_OF_SERVICE,
				  input, keys);
	else
		e = aws_sts_read("it", statuses[choice % 5 - 2], input, text_of("hunter2"), keys,
				 &said);
	if (e) {
		must(err_note()->error == e);
		must(choice % 5 < 3 || !strstr(err_note()->text, "hunter2"));
		must(choice % 5 < 3 ||
		     (!strstr(said.code, "hunter2") && !strstr(said.message, "hunter2")));
	} else {
		must(*keys->key_id && *keys->secret && keys->expires_s >= 0);
		check_visible(keys->key_id);
		check_visible(keys->secret);
		check_visible(keys->token);
	}
	err_note_clear();
	secret_room_close(&room);
}
