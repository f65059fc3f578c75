/* The first look at a Gmail mailbox: its folders, and of every message of All Mail what its labels
 * are. Some 100 bytes a message, once for each listing of the folders. Not for: what the labels
 * mean (gmail_labels), or messages themselves (imap_source). */
#ifndef MAILHAUL_GMAIL_SURVEY_H
#define MAILHAUL_GMAIL_SURVEY_H

#include "transport/gmail_labels.h"
#include "transport/imap_fetch.h"
#include "transport/imap_list.h"

/* Has this server labels, as Gmail has them? (X-GM-EXT-1, and its row of provider.def.) */
bool gmail_survey_is_due(struct imap_session *);
/* Walk the folders of `list`, which is rewound before and behind it, and All Mail. `fetch` is the
 * conversation's, without anything asked. All Mail is what EXAMINE opened last, then.
 * returns   OK | ERR_SOURCE_LABELS: there is no All Mail | ERR_SOURCE_EPOCH | ERR_IMAP_* |
 *           ERR_NET_* | ERR_DISK_* | ERR_MEMORY_EXHAUSTED. Suspends. */
enum err gmail_survey(struct labels *, struct imap_session *, struct imap_fetch *,
		      struct imap_list *, const struct filter *) MUST_CHECK;

#endif
