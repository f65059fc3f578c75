/* Modified UTF-7, RFC 3501 section 5.1.3. */
#include "tests/test.h"
#include "transport/imap_utf7.h"

static const struct {
	const char *raw, *name;
} pairs[] = {
	{ "", "" },
	{ "INBOX", "INBOX" },
	{ "~peter/mail/&U,BTF2XlZyyKng-", "~peter/mail/台北日本語" },
	{ "~peter/mail/&U,BTFw-/&ZeVnLIqe-", "~peter/mail/台北/日本語" }, /* the RFC's own */
	{ "&-", "&" },
	{ "a&-b&-", "a&b&" },
	{ "Entw&APw-rfe", "Entwürfe" },
	{ "&AOQA9gD8-", "äöü" },
	{ "&2D3eAA-", "😀" },
	{ "x&2D3eAA-y", "x😀y" },
	{ "&AAo-", "\n" },
	{ "100%*\"\\{5}", "100%*\"\\{5}" },
};

TEST(names_decode_and_encode_both_ways)
{
	char to[200];

	for (unsigned i = 0; i < ARRAY_COUNT(pairs); i++) {
		CHECK(imap_utf7_decode(text_of(pairs[i].raw), to, sizeof to));
		CHECK_TEXT(to, pairs[i].name);
		CHECK(imap_utf7_encode(text_of(pairs[i].name), to, sizeof to));
		CHECK_TEXT(to, pairs[i].raw);
	}
}

TEST(every_character_survives)
{
	char name[8], raw[64], again[64];

	for (uint32_t code = 1; code <= 0x10ffff; code++) {
		unsigned n = 0;

		if (code >= 0xd800 && code < 0xe000)
			continue;
		if (code < 0x80) {
			name[n++] = (char)code;
		} else {
			unsigned more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
			static const unsigned char lead[] = { 0, 0xc0, 0xe0, 0xf0 };

			name[n++] = (char)(lead[more] | code >> (6 * more));
			while (more--)
				name[n++] = (char)(0x80 | (code >> (6 * more) & 0x3f));
		}
		name[n] = '\0';
		if (!imap_utf7_encode((struct text){ name, n }, raw, sizeof raw) ||
		    !imap_utf7_decode(text_of(raw), again, sizeof again) ||
		    strcmp(name, again) != 0) {
			test_failed(__FILE__, __LINE__, "U+%04X becomes \"%s\"", code, raw);
			return;
		}
	}
}

TEST(wrong_spellings_are_not_decoded)
{
	static const char *const wrong[] = {
		"&",		      /* not ended */
		"&AOQ",		      /* not ended */
		"&AGE-",	      /* "a" stands for itself */
		"&AOQ-&APY-",	      /* one run would do */
		"&AOR-",	      /* bits left over */
		"&AO-",		      /* half a unit */
		"&2D0-",	      /* half a surrogate pair */
		"&3gDYPQ-",	      /* the pair turned round */
		"&AAA-",	      /* U+0000 */
		"&AO/-",	      /* "/" instead of "," */
		"&AOQ=-",	      /* padding */
		"gr\xc3\xbcn",	      /* 8 bits */
		"a\nb",		      /* control */
		"&Jjo!",	      /* from the RFC: not ended properly */
		"&U,BTFw-&ZeVnLIqe-", /* from the RFC: superfluous shift */
	};
	char to[100];

	for (unsigned i = 0; i < ARRAY_COUNT(wrong); i++)
		if (imap_utf7_decode(text_of(wrong[i]), to, sizeof to))
			test_failed(__FILE__, __LINE__, "\"%s\" becomes \"%s\"", wrong[i], to);
}

TEST(what_is_not_utf8_is_not_encoded)
{
	static const char *const wrong[] = { "\xff",	 "\xc0\x80", "\xed\xa0\x80",
					     "\xe2\x82", "\x80",     "\xf4\x90\x80\x80" };
	char to[100];

	for (unsigned i = 0; i < ARRAY_COUNT(wrong); i++)
		CHECK(!imap_utf7_encode(text_of(wrong[i]), to, sizeof to));
	CHECK(!imap_utf7_encode((struct text){ "a\0b", 3 }, to, sizeof to));
}

TEST(results_never_pass_their_room)
{
	char to[40];

	for (size_t room = 0; room < 20; room++) {
		memset(to, '#', sizeof to);
		CHECK(imap_utf7_encode(text_of("Entwürfe"), to, room) == (room > 12));
		CHECK(to[room] == '#');
		memset(to, '#', sizeof to);
		CHECK(imap_utf7_decode(text_of("Entw&APw-rfe"), to, room) == (room > 9));
		CHECK(to[room] == '#');
	}
}
