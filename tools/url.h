/* SOURCE and TARGET of the command line: RFC 3986 URLs as far as mailhaul has use for them. A URL
 * never carries a password, because command lines are visible to everybody on the machine. */
#ifndef MAILHAUL_TOOLS_URL_H
#define MAILHAUL_TOOLS_URL_H

#include "engine/source.h"

enum {
	URL_SCHEME_BYTES_MAX = 15,
	URL_PART_BYTES_MAX = 255,
	URL_PATH_BYTES_MAX = 2047,
	URL_EML_PATH_BYTES_MAX = 240, /* it is a mailbox's name */
};

struct url {
	char scheme[URL_SCHEME_BYTES_MAX + 1]; /* lower case */
	char user[URL_PART_BYTES_MAX + 1];     /* decoded; "" if none */
	char host[URL_PART_BYTES_MAX + 1];     /* lower case, without brackets; "" for file */
	uint16_t port;			       /* 0: none given, or the scheme's own */
	char path[URL_PATH_BYTES_MAX +
		  1]; /* decoded, begins with '/'; file: without "." and "//" */
	/* The URL in its one canonical spelling: what is shown, and what the ledger knows it by. */
	char shown[3 * URL_PATH_BYTES_MAX + 4 * URL_PART_BYTES_MAX];
};

/* what             how the user knows it: "SOURCE"
 * password_option  named in the refusal of a URL with a password in it; such text is never quoted
 * returns          OK | ERR_INPUT_USAGE */
enum err url_parse(const char *what, const char *text, const char *password_option,
		   struct url *out) MUST_CHECK;

/* Make the URL of an archive that of a mailbox in it. ERR_INPUT_USAGE: it is too long. */
enum err url_set_archive(struct url *, const char *root, const char *mailbox) MUST_CHECK;

/* The same of a mailbox of the archive that it names: its name goes behind the path. */
enum err url_add_mailbox(struct url *, const char *mailbox) MUST_CHECK;

/* What identifies that mailbox in a batch: its name and, behind the last '@', the archive's URL in
 * the place of a host. */
struct buffer;
void url_archived_account(const struct url *, struct buffer *to);

/* "alice@mail.example.com", with ":port" where one was given; of a prefix in a bucket
 * "inbound/alice@bucket", so that no two sources have one name: what a mailbox is called in
 * archives. */
void url_mailbox_name(const struct url *, char *to, size_t to_bytes);

/* The account a driver is opened with; borrows from the URL. Password, timeouts and callbacks are
 * the caller's to add. */
struct account url_account(const struct url *);

#endif
