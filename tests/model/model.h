/* Thousands of mailboxes that nobody stored: every folder, message and byte follows from a seed and
 * the user's number, so a server can serve them from no memory and a checker can know them. And of
 * every user what will go wrong, and how a run over all of them must therefore end. */
#ifndef MAILHAUL_TEST_MODEL_H
#define MAILHAUL_TEST_MODEL_H

#include "engine/err.h"

enum {
	MODEL_POOL_BYTES = 78 * 16384, /* whole lines, so bodies may wrap round its end */
	MODEL_NAME_BYTES = 64,
	MODEL_HEAD_BYTES = 400,
};

/* MODEL_FAULT(word, state and error a run must end in, folders skipped, what happens) */
#define MODEL_FAULTS_ALL(MODEL_FAULT)                                                              \
	MODEL_FAULT(none, "done", OK, 0)                                                           \
	MODEL_FAULT(wrong, "failed", ERR_IMAP_LOGIN, 0) /* the password is refused */              \
	/* So many logins, or for so long, are refused, each kind in its own words: */             \
	MODEL_FAULT(throttled, "done", OK, 0)		     /* NO [THROTTLED] */                  \
	MODEL_FAULT(backoff, "done", OK, 0)		     /* NO ... Suggested Backoff Time */   \
	MODEL_FAULT(limit, "done", OK, 0)		     /* NO [LIMIT] */                      \
	MODEL_FAULT(unavailable, "done", OK, 0)		     /* NO [UNAVAILABLE] */                \
	MODEL_FAULT(bye, "done", OK, 0)			     /* BYE Too many connections */        \
	MODEL_FAULT(shut, "failed", ERR_IMAP_UNAVAILABLE, 0) /* NO [UNAVAILABLE], for ever */      \
	MODEL_FAULT(noperm, "incomplete", OK, 1)	     /* one folder cannot be examined */   \
	MODEL_FAULT(cut, "done", OK, 0)	 /* the connection ends inside a literal, once */          \
	MODEL_FAULT(slow, "done", OK, 0) /* every answer comes late */

enum model_fault {
#define MODEL_FAULT(word, state, error, skipped) MODEL_##word,
	MODEL_FAULTS_ALL(MODEL_FAULT)
#undef MODEL_FAULT
		MODEL_FAULTS
};
struct model_fate {
	const char *word, *state; /* the fault; as batch_state_name() says it */
	enum err error;
	unsigned folders_skipped;
};
extern const struct model_fate model_fates[MODEL_FAULTS];

struct model {
	/* The caller's choice. */
	uint64_t mailboxes, folders, messages, bytes, seed;
	uint64_t uid_step;    /* 1: one unused number in eight; 1000: a thousand times as many */
	bool same_size;	      /* every message is as large as asked for */
	bool no_body;	      /* the header goes on to the end */
	const char *faults;   /* "wrong=10,cut=5": per cent of all users; "" none */
	const char *password; /* of every user; NULL: each has its own */
	/* model_open()'s. */
	unsigned percents[MODEL_FAULTS];
	char *pool;
};

struct model_folder {
	char raw[MODEL_NAME_BYTES];  /* on the wire: modified UTF-7 */
	char name[MODEL_NAME_BYTES]; /* what it means */
	const char *attributes;	     /* "\\Sent" */
	uint32_t epoch, next_uid;    /* UIDVALIDITY, UIDNEXT */
	uint64_t messages;
	bool refused; /* to EXAMINE */
};

struct model_message {
	uint32_t uid;
	uint64_t bytes;
	char flags[80], date[32];
	/* Its first bytes, and where in the pool the others begin. */
	char head[MODEL_HEAD_BYTES];
	uint64_t head_bytes, pool_at;
};

/* ERR_INPUT_USAGE where the faults are not understood. */
enum err model_open(struct model *) MUST_CHECK;
void model_close(struct model *);

/* "user0000"; the password is "pw-user0000" unless all share one. */
void model_user_name(uint64_t user, char to[MODEL_NAME_BYTES]);
void model_password(const struct model *, uint64_t user, char to[MODEL_NAME_BYTES]);
bool model_find_user(const struct model *, const char *name, uint64_t *user);
enum model_fault model_fault_of(const struct model *, uint64_t user);

void model_folder(const struct model *, uint64_t user, uint64_t folder, struct model_folder *);
void model_message(const struct model *, uint64_t user, uint64_t folder, uint64_t index,
		   struct model_message *);
/* n bytes of the message from `at` on; all of them are there. */
void model_read(const struct model *, const struct model_message *, uint64_t at, char *to,
		uint64_t n);
/* Its size alone. */
uint64_t model_bytes(const struct model *, uint64_t user, uint64_t folder, uint64_t index);
/* Every eighth number is unused, as if that message were deleted, and with a step most others. The
 * index of the first message whose number is at least `uid`. */
uint64_t model_index_from(const struct model *, uint64_t uid);
/* False: no folder is spelt so. */
bool model_find_folder(const struct model *, const char *raw, uint64_t *folder);

#endif
