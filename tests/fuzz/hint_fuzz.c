/* What a server means by NO, BAD or BYE, and words of the grammar that only the cold path uses. */
#include "transport/imap_hint.h"

#include <stdlib.h>

#include "tests/fuzz/fuzz.h"

static void read_words(struct text line)
{
	struct imap_scan scan = imap_scan_of(line);
	char name[64], *unquoted = malloc(line.bytes + 1);
	struct text inside;
	size_t bytes;

	must(unquoted);
	while (!imap_scan_at_end(&scan)) {
		const char *before = scan.at;

		if (imap_scan_quoted(&scan, &inside))
			must(imap_unquote(unquoted, inside) <= inside.bytes);
		else if (imap_scan_astring(&scan, name, sizeof name, &bytes))
			must(bytes <= sizeof name);
		else if (!imap_scan_value(&scan))
			scan.at++;
		must(scan.at > before && scan.at <= scan.end);
	}
	free(unquoted);
}

FUZZ(hint)
{
	char *line = fuzz_string(input); /* of exactly this length: reading on is seen */
	struct text text = { line, input.bytes };
	struct imap_scan scan = imap_scan_of(text);
	struct imap_status status;
	struct imap_hint hint;

	if (imap_scan_status(&scan, &status)) {
		hint = imap_hint(&status, ERR_IMAP_LOGIN);
		must((hint.error == OK) ==
		     (status.state == IMAP_OK || status.state == IMAP_PREAUTH));
		must(hint.retry_after >= 0);
		must(imap_status_raise(&status, ERR_IMAP_LOGIN, "LOGIN") == hint.error);
	}
	read_words(text);
	free(line);
}
