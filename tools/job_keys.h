/* The keys of a job file as a table (job_keys.def), and what their values may be. */
#ifndef MAILHAUL_TOOLS_JOB_KEYS_H
#define MAILHAUL_TOOLS_JOB_KEYS_H

#include <stdio.h>

#include "engine/opt.h"

enum job_key_id {
#define KEY(id, ...) JOB_KEY_##id,
#include "tools/job_keys.def"
#undef KEY
	JOB_KEYS
};
/* The keys of mailboxes.list[] stand beside each other. */
enum {
	JOB_ROW_FIRST = JOB_KEY_ROW_USER,
	JOB_ROW_KEYS = JOB_KEY_ROW_TAGS - JOB_KEY_ROW_USER + 1,
	JOB_TEXT_BYTES_MAX = 4096,
	JOB_KEY_PATH_BYTES_MAX = 128,
};

enum job_key_kind {
	JOB_TEXT,
	JOB_PATH,   /* relative to the job file's directory */
	JOB_SECRET, /* a reference; what stands there is never shown in a fault */
	JOB_NUMBER,
	JOB_SIGNED, /* -max to max */
	JOB_RATE,   /* a size and "/s" */
	JOB_BOOL,
	JOB_COPY, /* as the option of that name of `mailhaul copy`: kind, default and bounds */
	JOB_LIST, /* of texts; one alone may stand without brackets */
	JOB_ROWS, /* list of mappings */
};

struct job_key {
	const char *path;
	enum job_key_kind kind;
	const char *initial; /* as it would be written; NULL: none, or not a fixed one */
	const char *example, *help;
	uint64_t min, max; /* max 0: no bound */
	const char *zero_word, *copy;
	bool short_form; /* the section may be written as this key's value alone */
	bool is_path;	 /* of LIST: its texts are paths */
	/* Of the first key of a section: it must hold something, because what restricts nothing was
	 * hardly meant to. */
	bool never_empty;
};
extern const struct job_key job_keys[JOB_KEYS];

/* Whether it is a key of mailboxes.list[]. */
static inline bool job_key_in_row(enum job_key_id id)
{
	return (unsigned)id - JOB_ROW_FIRST < JOB_ROW_KEYS;
}

/* The key's own name: "workers" of "limits.workers". */
const char *job_key_name(const struct job_key *);
/* Its section as a prefix of the path, with the dot ("limits.", "mailboxes.list[].", ""). */
struct text job_key_section(const struct job_key *);
/* JOB_KEYS if there is none. `section` as above. */
enum job_key_id job_key_find(struct text section, struct text name);
/* The known name that `name` was meant to be in that section: its path, or a section's name; NULL
 * if nothing is near. */
const char *job_key_nearest(struct text section, struct text name);
/* The option of copy that a key of kind JOB_COPY stands for. */
const struct opt *job_key_option(const struct job_key *);
const char *job_key_initial(const struct job_key *);
const char *job_key_help(const struct job_key *);

/* What a text says as the value of a key; for texts nothing but that it is one. Durations are nsec,
 * choices the place in opt.choices, SIGNED an int64_t in two's complement.
 * returns     OK | ERR_INPUT_USAGE with what is expected */
enum err job_key_parse(const struct job_key *, const char *text, uint64_t *) MUST_CHECK;

/* The table of docs/JOBFILE.md. */
void job_keys_print(FILE *);

#endif
