/* The folders of an IMAP mailbox: LIST, LSUB, NAMESPACE and STATUS, asked in as few flights as the
 * server allows. Memory is some 100 bytes a folder. */
#ifndef MAILHAUL_IMAP_LIST_H
#define MAILHAUL_IMAP_LIST_H

#include "transport/imap_session.h"

struct imap_list;

/* Ask for all folders, in one flight: one extended LIST where the server has it, otherwise LIST and
 * LSUB. Folders in other users' namespaces are left out (they are those users' mailboxes) and
 * logged. Suspends. */
enum err imap_list_open(struct imap_session *, struct imap_list **) MUST_CHECK;
/* The next page; asks the STATUS of folders that have none yet, STATUS_FLIGHT at a time. A folder
 * whose STATUS is refused gets a fate. Suspends. */
enum err imap_list_page(struct imap_list *, struct imap_session *, struct box_page *) MUST_CHECK;
/* The next page is the first one again; nothing is asked twice for that. */
void imap_list_rewind(struct imap_list *);
/* The names of a folder that the server spells `raw`: box->raw, and box->name as people read it, no
 * two alike. `utf8_names`: it spells them in UTF-8, not in modified UTF-7. Fails only as digests
 * do. */
enum err imap_list_names(struct text raw, bool utf8_names, struct box *) MUST_CHECK;
void imap_list_close(struct imap_list **);

#endif
