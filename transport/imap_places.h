/* The folders of an IMAP destination, and which of them each folder of the source becomes: listed,
 * decided (box_map), created, subscribed to. For the IMAP sink. Not for: messages.
 *
 * Calls that suspend use the session, which nobody else may use meanwhile. */
#ifndef MAILHAUL_IMAP_PLACES_H
#define MAILHAUL_IMAP_PLACES_H

#include "transport/box_map.h"
#include "transport/imap_place.h"

struct imap_places;

/* Lists the destination's folders. ERR_IMAP_*, ERR_NET_*... Suspends. */
enum err imap_places_open(struct imap_session *, struct imap_places **) MUST_CHECK;
void imap_places_close(struct imap_places **);

/* In this order: recall, add, settle; add and settle may come again. */
enum err imap_places_recall(struct imap_places *, const char *name, const char *target) MUST_CHECK;
/* The folder's UIDNEXT is not what was listed any more: it is asked for before it is used. Before
 * the first settle. */
void imap_places_outdated(struct imap_places *, struct text raw);
/* A folder of the source. */
enum err imap_places_add(struct imap_places *, const struct box *) MUST_CHECK;
/* Folders were added and have no place yet. */
bool imap_places_are_open(const struct imap_places *);
/* Decide for all that were added: create what is not there, subscribe to what the source is
 * subscribed to. A folder that the server refuses gets a fate; what concerns the conversation or
 * the account is the call's error. Suspends. */
enum err imap_places_settle(struct imap_places *, struct imap_session *) MUST_CHECK;

/* Where mail of the source's folder goes, until imap_places_close(); NULL: it has no place (it
 * holds no mail). After settle. */
struct imap_place *imap_places_find(struct imap_places *, uint64_t box_no);
/* The next folder of the source whose place nobody was told of; false: there is none. */
bool imap_places_next_news(struct imap_places *, uint64_t *box_no, struct imap_place **);

#endif
