/* The first half of reading a job file: YAML checked against the table of keys, through libyaml,
 * because only its documents know lines. Not for: loading what passed (tools/job_file.c). */
#ifndef MAILHAUL_TOOLS_JOB_FILE_CHECK_H
#define MAILHAUL_TOOLS_JOB_FILE_CHECK_H

#include "engine/bytes.h"
#include "tools/job_fault.h"
#include "tools/job_keys.h"

/* Where everything stands; 0: it does not. */
struct job_row_lines {
	unsigned first, keys[JOB_ROW_KEYS];
};
struct job_lines {
	unsigned keys[JOB_KEYS];
	unsigned *items[JOB_KEYS]; /* of lists, by index */
	struct job_row_lines *rows;
};

/* Check `content`, telling every fault. What passed is added to `sound` as YAML: short forms
 * written out, wrong keys left out; nothing if it cannot be understood at all. returns     OK |
 * ERR_MEMORY_EXHAUSTED */
enum err job_file_check(struct text content, struct job_faults *, struct job_lines *,
			struct buffer *sound) MUST_CHECK;

#endif
