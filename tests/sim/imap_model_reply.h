/* What the files of the model IMAP server share: a session, and the replies it can make. */
#ifndef MAILHAUL_IMAP_MODEL_REPLY_H
#define MAILHAUL_IMAP_MODEL_REPLY_H

#include "tests/sim/imap_model.h"

struct imap_session {
	struct imap_model *model;
	struct net_conn *conn;
	struct imap_model_box *box; /* examined */
	bool logged_in, wants_response, qresync;
	bool is_to_change;	 /* selected, not examined */
	bool waits;		 /* an APPEND is worked on; what comes behind it waits here */
	bool deaf;		 /* the connection has ended in an accident */
	uint64_t heard, ends_at; /* bytes of the client; the accident, 0: none */
	size_t asked_for;	 /* of `in`: up to here literals were invited */
	char tag[64];
	struct buffer in, out;
};

void imap_model_say(struct imap_session *, const char *format, ...) PRINTF_LIKE(2, 3);
/* The tagged end of the command. */
void imap_model_done(struct imap_session *, const char *format, ...) PRINTF_LIKE(2, 3);
/* Everything said so far goes out. */
void imap_model_flush(struct imap_session *);

/* The next word of a command, of less than IMAP_MODEL_WORD_BYTES_MAX bytes: atom, string, literal,
 * or a list in parentheses as it stands; false at the end. */
enum { IMAP_MODEL_WORD_BYTES_MAX = 512 };
bool imap_model_word(struct text *rest, char to[IMAP_MODEL_WORD_BYTES_MAX]);
/* EXAMINE or SELECT. */
void imap_model_open_box(struct imap_session *, struct text rest, bool to_change);
/* Commands that wait behind an APPEND. */
void imap_model_go_on(struct imap_session *);

/* ---- a destination (imap_model_store.c) ---- */

/* Another process, or its first command. */
void imap_store_process_begins(struct imap_model *);
/* Time has passed: what is worked on long enough is stored; others deliver. */
void imap_store_time_passes(struct imap_model *);
/* False: it is no command of a destination. `rest` holds literals as they were sent. */
bool imap_store_command(struct imap_session *, const char *verb, struct text rest);
/* A literal of `bytes` was announced behind `line`. True: the command is refused and over. */
bool imap_store_refuses(struct imap_session *, struct text line, uint64_t bytes, bool waits);
/* UID STORE, with what stands behind the verb. */
void imap_store_flags(struct imap_session *, struct text rest);
/* Flags were fetched: somebody may change them right now. */
void imap_store_looked_at(struct imap_session *, const char *set);
void imap_store_session_ended(struct imap_session *);

/* ---- */

struct imap_model_box *imap_model_find(struct imap_model *, const char *raw);
void imap_model_list(struct imap_session *, const char *verb, const char *pattern,
		     const char *options);
void imap_model_status(struct imap_session *, const struct imap_model_box *, const char *items);
/* sequence-set, RFC 9051 section 9; "*" is the highest number in use. */
bool imap_model_set_holds(const char *set, uint32_t uid, uint32_t highest);
/* Whether a set of UIDs holds the message that the server will not hand out. */
bool imap_model_holds_refused(const struct imap_model_box *, const char *set);
void imap_model_fetch(struct imap_session *, const char *set, const char *items,
		      const char *modifiers);
void imap_model_base64(char *to, size_t to_bytes, const void *, size_t);

#endif
