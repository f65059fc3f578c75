/* AWS's config and credentials files: what is accepted can be asked for any value, which lies in
 * what was read. */
#include "transport/aws_profile.h"

#include <stdlib.h>

#include "tests/fuzz/fuzz.h"
#include "transport/aws_settings.h"

static void ask(const struct aws_profiles *profiles, const char *within, const char *key)
{
	struct aws_value value;
	char to[32];

	for (enum aws_section section = AWS_PROFILE; section <= AWS_SERVICES_OF; section++) {
		if (aws_profiles_get(profiles, section, "a", within, key, &value)) {
			must(err_note()->error == ERR_INPUT_FILE);
			err_note_clear();
			continue;
		}
		must(!value.text.at || aws_profiles_have(profiles, section, "a"));
		must(!value.text.at || (value.line > 0 && value.text.bytes < AWS_FILE_BYTES_MAX));
		must(!value.text.at || !memchr(value.text.at, '\n', value.text.bytes));
		if (aws_profiles_copy(profiles, section, "a", within, key, to, sizeof to) == OK)
			must(text_equal(text_of(to), value.text));
		err_note_clear();
	}
}

FUZZ(profile)
{
	struct text config = fuzz_take_part(&input);
	struct aws_settings *settings = calloc(1, sizeof *settings);
	struct aws_profiles *profiles = NULL;

	must(settings);
	if (aws_profiles_of(config, input, &profiles)) {
		must(err_note()->error == ERR_INPUT_FILE && !profiles);
	} else {
		ask(profiles, NULL, "region");
		ask(profiles, NULL, "b");
		ask(profiles, "s3", "b");
		aws_profiles_lack_prefix(profiles, "a");
		if (aws_settings_make(profiles, &(struct aws_settings_wish){ .profile = "a" },
				      settings))
			must(err_note()->error == ERR_INPUT_FILE ||
			     err_note()->error == ERR_INPUT_USAGE);
	}
	err_note_clear();
	aws_profiles_close(&profiles);
	free(settings);
}
