/* URLs of the command line, of job files and lists: the canonical spelling is its own. */
#include "tools/url.h"

#include <stdlib.h>

#include "tests/fuzz/fuzz.h"

FUZZ(url)
{
	static struct url url, again;
	char name[2 * URL_PART_BYTES_MAX], *text = fuzz_string(input);

	if (url_parse("SOURCE", text, "password-file", &url) == OK) {
		must(url_parse("SOURCE", url.shown, "password-file", &again) == OK);
		must(strcmp(url.shown, again.shown) == 0 && strcmp(url.user, again.user) == 0);
		must(strcmp(url.host, again.host) == 0 && strcmp(url.path, again.path) == 0);
		must(url.port == again.port);
		url_mailbox_name(&url, name, sizeof name);
		must(url_account(&url).user == url.user);
	} else {
		must(err_note()->error == ERR_INPUT_USAGE);
	}
	free(text);
}
