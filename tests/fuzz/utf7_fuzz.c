/* Names in modified UTF-7: only the one correct spelling of a name is decoded, so what was decoded
 * encodes to the same bytes again, and the other way round. */
#include "transport/imap_utf7.h"

#include "tests/fuzz/fuzz.h"

enum { ROOM = 4096 };

FUZZ(utf7)
{
	static char first[ROOM], second[ROOM];

	if (imap_utf7_decode(input, first, sizeof first)) {
		must(imap_utf8_valid(text_of(first)));
		must(imap_utf7_encode(text_of(first), second, sizeof second));
		must(text_equal(text_of(second), input));
	}
	if (imap_utf7_encode(input, first, sizeof first)) {
		must(imap_utf8_valid(input));
		must(imap_utf7_decode(text_of(first), second, sizeof second));
		must(text_equal(text_of(second), input));
	}
}
