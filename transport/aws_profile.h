/* The files in which AWS's tools keep profiles: ~/.aws/config and ~/.aws/credentials, read strictly
 * ("Using shared config and credentials files", AWS SDKs and Tools Reference Guide). Not for: which
 * profile is meant, and what the environment says (aws_settings.h).
 *
 * Own code, because it is a dialect: one level of blocks by indentation ("s3 =" and then lines that
 * begin with a space), prefixes in section names in one file and none in the other, comments only
 * behind a space. Debian's INI libraries (inih, iniparser, libconfini) know continued lines but not
 * blocks, and keep what they read, here secret keys, in plain memory.
 *
 * How lines are read:
 *   # and ; begin a comment at the beginning of a line (a space before it counts as beginning), and
 *   behind a value or a section where a space is in front of them. Empty lines count nowhere.
 *   [default], [profile NAME] and [services NAME] are sections of the config file, [NAME] is one of
 *   the credentials file; others are passed over. A NAME has letters, digits and - / . % @ _ : +
 *   "name = value"; names are the same in any case of letters. An empty value opens a block of
 *   indented "name = value" lines; behind another value such a line continues it, which AWS joins
 *   and nothing here has a use for: who asks for that value is refused.
 *   Said twice, the last one counts; the credentials file counts before the config file, and
 *   [profile default] before [default]. */
#ifndef MAILHAUL_AWS_PROFILE_H
#define MAILHAUL_AWS_PROFILE_H

#include "engine/clock.h"
#include "engine/err.h"

enum {
	AWS_FILE_BYTES_MAX = 1024 * 1024,
	AWS_PATH_ROOM = 1024,	     /* of a file's path */
	AWS_PROFILE_BYTES_MAX = 255, /* of its name */
};

/* Both files, checked to their ends, in guarded memory. Not changed after they were opened: threads
 * may share them. */
struct aws_profiles;

struct aws_profile_file {
	const char *path; /* NULL: none */
	bool required;	  /* somebody named it: it must be there */
};
/* A file with a secret key in it must be closed to others (chmod 600). Suspends.
 * returns     OK | ERR_INPUT_FILE with file and line | ERR_INPUT_SECRET: open to others |
 *             ERR_DISK_* | ERR_MEMORY_EXHAUSTED */
enum err aws_profiles_open(const struct aws_profile_file *config,
			   const struct aws_profile_file *credentials, nsec until,
			   struct aws_profiles **) MUST_CHECK;
/* The same from texts, which are copied; errors call them "config" and "credentials". */
enum err aws_profiles_of(struct text config, struct text credentials,
			 struct aws_profiles **) MUST_CHECK;
/* The same files as they are now: people and programs put new keys there during a long run. As
 * aws_profiles_open(); of texts a copy. Suspends. */
enum err aws_profiles_reread(const struct aws_profiles *, nsec until,
			     struct aws_profiles **) MUST_CHECK;
void aws_profiles_close(struct aws_profiles **);

enum aws_section { AWS_PROFILE, AWS_SERVICES_OF };
bool aws_profiles_have(const struct aws_profiles *, enum aws_section, const char *name);
/* The config file has [NAME] where it would have to be [profile NAME]. */
bool aws_profiles_lack_prefix(const struct aws_profiles *, const char *name);

struct aws_value {
	struct text text; /* borrowed; {NULL, 0}: it is not said. A secret, perhaps */
	const char *file; /* where it stands, for error texts */
	unsigned line;
};
/* The value of `key`, or with `within` (else NULL) that of `key` in the block `within`.
 * ERR_INPUT_FILE: it goes over several lines. */
enum err aws_profiles_get(const struct aws_profiles *, enum aws_section, const char *name,
			  const char *within, const char *key, struct aws_value *) MUST_CHECK;
/* The same for a text that has to fit, terminated; "" where it is not said. ERR_INPUT_FILE. */
enum err aws_profiles_copy(const struct aws_profiles *, enum aws_section, const char *name,
			   const char *within, const char *key, char *to, size_t room) MUST_CHECK;

#endif
