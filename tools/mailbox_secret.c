#include "tools/mailbox_secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/csv.h"

enum { SECRETS_MAGIC = 0x5ec3e701 };

struct mailbox_secrets {
	uint32_t magic;
	int fd;
	char *path;
	uint8_t key[SECRET_CHECK_KEY_BYTES];
};

static enum err open_list(struct mailbox_secrets *secrets)
{
	struct stat status;

	/* O_NONBLOCK: opening a FIFO must not wait for a writer before we can refuse it. */
	secrets->fd = open(secrets->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (secrets->fd < 0)
		return RAISE_ERRNO(err_of_file_errno(errno), errno, "opening the mailbox list %s",
				   secrets->path);
	if (fstat(secrets->fd, &status))
		return RAISE_ERRNO(err_of_file_errno(errno), errno,
				   "looking at the mailbox list %s", secrets->path);
	if (!S_ISREG(status.st_mode))
		return RAISE(ERR_INPUT_FILE,
			     "the mailbox list %s is not a regular file; write it to one first, "
			     "because it is read again while the mailboxes start",
			     secrets->path);
	return secret_check_key(secrets->key);
}

enum err mailbox_secret_open(const char *path, struct mailbox_secrets **out)
{
	struct mailbox_secrets *secrets = calloc(1, sizeof *secrets);
	enum err e = OK;

	if (secrets) {
		*secrets = (struct mailbox_secrets){ SECRETS_MAGIC, -1, strdup(path), { 0 } };
		e = secrets->path ? open_list(secrets) : OK;
	}
	if (!secrets || !secrets->path)
		e = RAISE(ERR_MEMORY_EXHAUSTED, "opening the mailbox list %s", path);
	if (e)
		mailbox_secret_close(&secrets);
	else
		*out = secrets;
	return e;
}

int mailbox_secret_fd(const struct mailbox_secrets *secrets)
{
	MAGIC_CHECK(secrets, SECRETS_MAGIC);
	return secrets->fd;
}

enum err mailbox_secret_check_mode(const struct mailbox_secrets *secrets)
{
	struct stat status;

	MAGIC_CHECK(secrets, SECRETS_MAGIC);
	if (fstat(secrets->fd, &status))
		return RAISE_ERRNO(ERR_INPUT_SECRET, errno, "looking at %s", secrets->path);
	if (status.st_uid != geteuid() && status.st_uid != 0)
		return RAISE(ERR_INPUT_SECRET,
			     "the list holds a password and belongs to user %u, not to you or root",
			     (unsigned)status.st_uid);
	if (status.st_mode & (S_IRWXG | S_IRWXO))
		return RAISE(ERR_INPUT_SECRET,
			     "the list holds a password and is open to others (mode %04o): "
			     "chmod 600 %s",
			     (unsigned)(status.st_mode & 07777), secrets->path);
	return OK;
}

struct secret_ref mailbox_secret_place(const struct mailbox_secrets *secrets, struct text password,
				       uint64_t offset, size_t bytes, bool doubled)
{
	MAGIC_CHECK(secrets, SECRETS_MAGIC);
	must(password.bytes > 0 && password.bytes <= MAILBOX_SECRET_BYTES_MAX);
	must(bytes <= 2 * MAILBOX_SECRET_BYTES_MAX);
	return (struct secret_ref){
		.kind = SECRET_REF_CSV,
		.text = secrets->path,
		.list = secrets,
		.offset = offset,
		.bytes = (uint32_t)bytes,
		.doubled = doubled,
		.check = secret_check(secrets->key, password.at, password.bytes),
	};
}

static enum err read_at(const struct secret_ref *ref, int fd, char *to, size_t *got)
{
	ssize_t n;

	*got = 0;
	while (*got < ref->bytes &&
	       (n = pread(fd, to + *got, ref->bytes - *got, (off_t)(ref->offset + *got))) != 0) {
		if (n > 0)
			*got += (size_t)n;
		else if (errno != EINTR)
			return RAISE_ERRNO(ERR_INPUT_SECRET, errno,
					   "reading a password from the mailbox list %s",
					   ref->text);
	}
	return OK;
}

enum err mailbox_secret_read(const struct secret_ref *ref, struct secret **out)
{
	char password[2 * MAILBOX_SECRET_BYTES_MAX];
	size_t bytes;
	enum err e;

	must(ref->kind == SECRET_REF_CSV && ref->bytes <= sizeof password);
	MAGIC_CHECK(ref->list, SECRETS_MAGIC);
	if ((e = read_at(ref, ref->list->fd, password, &bytes)))
		goto out;
	if (ref->doubled)
		bytes = csv_decode_quotes(password, bytes);
	if (bytes == 0 || secret_check(ref->list->key, password, bytes) != ref->check)
		e = RAISE(ERR_INPUT_SECRET,
			  "the mailbox list %s was changed in place after it was checked; end this "
			  "run and start it again, so that the list is read anew",
			  ref->text);
	else
		e = secret_from_bytes(password, bytes, out);
out:
	secret_wipe(password, sizeof password);
	return e;
}

void mailbox_secret_close(struct mailbox_secrets **secrets)
{
	if (!*secrets)
		return;
	MAGIC_CHECK(*secrets, SECRETS_MAGIC);
	if ((*secrets)->fd >= 0)
		close((*secrets)->fd);
	free((*secrets)->path);
	secret_wipe(*secrets, sizeof **secrets);
	free(*secrets);
	*secrets = NULL;
}
