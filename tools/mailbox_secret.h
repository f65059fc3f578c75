/* Passwords that stand in a mailbox list. 500,000 of them in locked memory would need 500,000
 * guarded pages (secret.c) and no RLIMIT_MEMLOCK allows that, so none is kept: a reference says
 * where in the file the password stands, and it is read again when its mailbox starts. The list
 * stays open meanwhile, so one that is replaced by rename goes on being read as it was; one that is
 * changed in place is noticed by a keyed hash of the password and refused. */
#ifndef MAILHAUL_TOOLS_MAILBOX_SECRET_H
#define MAILHAUL_TOOLS_MAILBOX_SECRET_H

#include "tools/secret_ref.h"

enum { MAILBOX_SECRET_BYTES_MAX = 1024 };

struct mailbox_secrets;

/* Open a mailbox list. ERR_DISK_* | ERR_INPUT_FILE (not a regular file). */
enum err mailbox_secret_open(const char *path, struct mailbox_secrets **) MUST_CHECK;
/* Its descriptor; stays with *secrets. */
int mailbox_secret_fd(const struct mailbox_secrets *);
/* May it hold passwords? ERR_INPUT_SECRET unless it is ours or root's and closed to group and
 * others. */
enum err mailbox_secret_check_mode(const struct mailbox_secrets *) MUST_CHECK;
/* A reference to the password in `bytes` bytes at `offset`, borrowing *secrets.
 * password  the same as it is meant: doubled quotes made single
 * doubled   quotes stand doubled in the file */
struct secret_ref mailbox_secret_place(const struct mailbox_secrets *, struct text password,
				       uint64_t offset, size_t bytes, bool doubled);
/* Read the password of a reference of kind SECRET_REF_CSV. Blocks for one small read: call it on an
 * offload thread. ERR_INPUT_SECRET, also if the list was changed since it was checked. */
enum err mailbox_secret_read(const struct secret_ref *, struct secret **) MUST_CHECK;
void mailbox_secret_close(struct mailbox_secrets **);

#endif
