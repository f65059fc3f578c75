/* One client's conversation with the model server: command lines in, bytes out. Knows no socket and
 * no TLS; the server calls it whenever there is a line, or room for more to send. */
#ifndef MAILHAUL_TEST_SESSION_H
#define MAILHAUL_TEST_SESSION_H

#include "engine/bytes.h"
#include "engine/clock.h"
#include "tests/model/model.h"

/* What the server remembers of a user from one connection to the next. */
struct account_state {
	uint32_t refusals, now, most; /* logins refused; connections now, and at most */
	nsec first_try, last_refusal;
	nsec rest_until;  /* as the last refused FETCH suggested */
	nsec spent_until; /* the messages it got are what the rate allows until then */
	bool was_cut;
};

/* What happened, for a test to judge the client by. */
struct service_counts {
	uint64_t connections, connections_now, connections_most, over_limit; /* BYE said at once */
	uint64_t user_most; /* connections of one user at once */
	uint64_t logins, logins_refused;
	uint64_t logins_too_early;  /* before the time that a refusal had asked for was over */
	uint64_t fetches_throttled; /* and nothing of them was served */
	uint64_t examines, fetches, messages, bytes, cuts;
	uint64_t changes; /* commands that would not leave the mailbox as it is */
	uint64_t unknown;
	char unknown_line[80];
};

struct service {
	struct model model;
	const char *capabilities;
	uint64_t connections_per_user; /* 0: as many as come */
	uint64_t refusals;
	uint64_t rate; /* messages a second of one user, with a second's worth saved up; 0: any */
	nsec refuse_for, backoff, delay;
	uint64_t refuse_uid; /* in everyone's first folder; 0: none */
	const char *refuse_while;
	struct account_state *accounts; /* by user */
	struct service_counts counts;
};

struct session {
	struct service *service;
	char tag[32];
	bool logged_in, wants_response;
	bool ending;  /* no more lines: what is in `out` goes out, then the connection ends */
	bool cutting; /* the same without TLS's good-bye */
	bool is_slow;
	uint64_t user;
	bool examined;
	uint64_t folder;
	/* A FETCH under way: messages [index, end), of which `at` bytes of the first are out. */
	uint64_t index, end, at;
	bool in_message, wants_flags, wants_date, wants_size, wants_body;
	struct model_message *message;
	struct buffer out;
};

enum { SESSION_FILL_BYTES = 16 * 1024 }; /* one TLS record */

void session_greet(struct session *, struct service *, bool has_room);
/* One command without its CRLF; NUL-terminated. Not while session_is_busy(). */
void session_line(struct session *, char *line);
/* A FETCH has more to say: fill `out` with about SESSION_FILL_BYTES of it. */
bool session_is_busy(const struct session *);
void session_fill(struct session *);
void session_end(struct session *);

#endif
