/* What the two files of the model IMAP server share: a session, and the replies it can make. */
#ifndef MAILHAUL_IMAP_MODEL_REPLY_H
#define MAILHAUL_IMAP_MODEL_REPLY_H

#include "tests/sim/imap_model.h"

struct imap_session {
	struct imap_model *model;
	struct net_conn *conn;
	struct imap_model_box *box; /* examined */
	bool logged_in, wants_response, qresync;
	size_t asked_for; /* of `in`: up to here literals were invited */
	char tag[64];
	struct buffer in, out;
};

void imap_model_say(struct imap_session *, const char *format, ...) PRINTF_LIKE(2, 3);
/* The tagged end of the command. */
void imap_model_done(struct imap_session *, const char *format, ...) PRINTF_LIKE(2, 3);
/* Everything said so far goes out. */
void imap_model_flush(struct imap_session *);

struct imap_model_box *imap_model_find(struct imap_model *, const char *raw);
void imap_model_list(struct imap_session *, const char *verb, const char *pattern,
		     const char *options);
void imap_model_status(struct imap_session *, const struct imap_model_box *, const char *items);
/* Whether a set of UIDs holds the message that the server will not hand out. */
bool imap_model_holds_refused(const struct imap_model_box *, const char *set);
void imap_model_fetch(struct imap_session *, const char *set, const char *items,
		      const char *modifiers);
void imap_model_base64(char *to, size_t to_bytes, const void *, size_t);

#endif
