/* What proxies answer: SOCKS5 and HTTP CONNECT, the same in whatever pieces it comes. The first
 * byte chooses the way, whether there is a login, and how large the pieces of the second reading
 * are; the rest is what is heard, as far as it is the proxy's. */
#include "transport/proxy_talk.h"

#include <stdlib.h>

#include "crypto/secret.h"
#include "tests/fuzz/fuzz.h"

struct outcome {
	enum err error;
	bool done;
	size_t used;
	uint64_t said; /* a hash */
};

/* What it wants to say in between is said at once. */
static struct outcome hear(const struct route *route, const char *at, size_t bytes, size_t piece)
{
	static struct proxy_talk talk;
	struct outcome outcome = { .error = OK };
	size_t used;

	must(proxy_talk_begin(&talk, route, "imap.example.com", 993) == OK);
	while (outcome.error == OK && !talk.done) {
		size_t n = min_u64(piece, bytes - outcome.used);
		/* A piece of its own: reading behind it is the sanitizer's. */
		char *heard;

		outcome.said = fuzz_hash(outcome.said, talk.say, talk.say_bytes);
		proxy_talk_end(&talk);
		if (n == 0)
			break;
		heard = fuzz_string((struct text){ at + outcome.used, n });
		outcome.error = proxy_talk_hear(&talk, (struct text){ heard, n }, &used);
		must(used <= n);
		outcome.used += used;
		free(heard);
	}
	outcome.done = talk.done;
	must(outcome.error == OK || err_note()->error == outcome.error);
	must(outcome.error == OK || outcome.error == ERR_PROXY_SYNTAX ||
	     outcome.error == ERR_PROXY_LOGIN || outcome.error == ERR_PROXY_REFUSED);
	must(!*route->user || !strstr(err_note()->text, "sesame"));
	proxy_talk_end(&talk);
	err_note_clear();
	return outcome;
}

FUZZ(proxy)
{
	unsigned choice = fuzz_take_byte(&input);
	struct route route = { 0 };
	struct secret *password = NULL;
	struct outcome whole, pieces;

	must(route_set_proxy(&route, "--proxy", choice & 1 ? "http" : "socks5",
			     choice & 2 ? "ann" : "", "proxy.example", 1080) == OK);
	must(secret_from_bytes("sesame", 6, &password) == OK);
	must(route_set_password(&route, "--proxy", password) == OK);
	/* What comes sooner than it may is seen only where it comes at once, so byte by byte is
	 * what larger pieces are held against. */
	whole = hear(&route, input.at, input.bytes, 1);
	pieces = hear(&route, input.at, input.bytes, (choice >> 2) + 1);
	if (pieces.error == ERR_PROXY_SYNTAX && pieces.error != whole.error) {
		must(route.kind == ROUTE_SOCKS5);
	} else {
		must(pieces.error == whole.error && pieces.done == whole.done);
		must(pieces.error || (pieces.used == whole.used && pieces.said == whole.said));
	}
	secret_close(&password);
}
