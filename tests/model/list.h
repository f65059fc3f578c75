/* What the model server serves, and how a run over it must end, as JSON lines on standard output.
 */
#ifndef MAILHAUL_TEST_LIST_H
#define MAILHAUL_TEST_LIST_H

#include "tests/model/session.h"

/* One line: how this user's mailbox must end. */
void list_user(const struct model *, uint64_t hosts, uint64_t user);
/* A line for each message that can be read, as tests/real/mailbox.py writes it. */
void list_messages(const struct model *, uint64_t user);
/* What was seen of the clients, and what it cost: one line. */
void list_counts(const struct service_counts *, uint64_t host_most);

#endif
