/* Gmail's folders are labels: one message shows up in the folder of each label it has, and once
 * more in All Mail. Here is what All Mail holds, asked once (UID, flags, X-GM-LABELS of every
 * message), and which folders its messages are in by a rule. These folders are the source's from
 * then on, under the names that labels have as folders; their keys are All Mail's UIDs, and their
 * messages are asked of All Mail. Spam and Trash lie outside of it and stay folders like any other;
 * Starred and Important are views, and no folders.
 *
 * One object serves all conversations of a lane (struct account), on one thread: the first fills it
 * when it lists the folders, and then nothing in it changes until they are listed again.
 *
 * Knows no conversation (transport/gmail_survey.h does). Costs some 28 bytes a message, and 4 for
 * each folder it is in, in scratch memory that the kernel may put aside. */
#ifndef MAILHAUL_GMAIL_LABELS_H
#define MAILHAUL_GMAIL_LABELS_H

#include "engine/mail.h"

struct filter; /* engine/filter.h */

enum gmail_rule {
	/* Each message in one folder: INBOX, Sent, Drafts, or that of a label of the user's, the
	 * first of those it has in this order. Of the user's labels the one with most levels comes
	 * first, then the lower name by bytes. Folders that the filter leaves out are passed over
	 * as long as another one is left. None: All Mail's place, which is an archive. A message
	 * that an earlier run settled in one of its folders stays there. */
	GMAIL_RULE_FIRST,
	/* In the folder of each of its labels; none: as above. */
	GMAIL_RULE_EVERY,
	/* As the server shows it; nothing of this file is used. */
	GMAIL_RULE_FOLDERS,
};
/* "first", "every", "folders"; false: it is none. */
bool gmail_rule_from_name(struct text, enum gmail_rule *) MUST_CHECK;
const char *gmail_rule_name(enum gmail_rule);

enum {
	/* Gmail has at most 10,000 labels in an account. */
	GMAIL_LABELS_MAX = 20 * 1000,
	/* Of one message; more are as if they were not there. */
	GMAIL_LABELS_OF_MESSAGE_MAX = 256,
	/* Sets of labels, and of keywords, that messages have: most share a few hundred. Their
	 * bytes are what a server can make us keep in memory. */
	GMAIL_SETS_MAX = 200 * 1000,
	GMAIL_TEXTS_BYTES_MAX = 8 * 1024 * 1024,
};

struct labels; /* of a mailbox; engine/source.h knows it by this name */

/* keywords  labels that are not the message's folder become keywords: each character of the label
 *           as IMAP spells it (modified UTF-7) that cannot stand in one becomes '_'; \Important is
 *           "$Important" (RFC 8457), another label of the system's loses its backslash; \Inbox,
 *           \Sent, \Draft and \Starred never become any
 * returns   OK | ERR_MEMORY_EXHAUSTED */
enum err gmail_labels_open(enum gmail_rule, bool keywords, struct labels **) MUST_CHECK;
void gmail_labels_close(struct labels **);
enum gmail_rule gmail_labels_rule(const struct labels *);

/* ---- what earlier runs settled; only GMAIL_RULE_FIRST wants to know ---- */

void gmail_labels_forget(struct labels *);
/* As of struct settled_before (engine/source.h). OK | ERR_DISK_* | ERR_MEMORY_EXHAUSTED */
enum err gmail_labels_recall(struct labels *, const char *box_id, uint64_t epoch, uint64_t no,
			     bool stored, bool there) MUST_CHECK;

/* ---- filling: begin, the folders, the messages, end. Errors as above; only the end suspends ----
 */

/* `all`: All Mail, as listed. `filter`: as of gmail_rule; NULL: everything is wanted. */
enum err gmail_labels_begin(struct labels *, const struct filter *,
			    const struct box *all) MUST_CHECK;
enum gmail_box {
	GMAIL_BOX_ITSELF, /* no label: it stays what it is */
	GMAIL_BOX_LABEL,  /* to be added */
	GMAIL_BOX_VIEW,	  /* nothing that is not elsewhere: not a folder of the source any more */
};
enum gmail_box gmail_labels_kind(const struct labels *, const struct box *);
enum err gmail_labels_add_folder(struct labels *, const struct box *) MUST_CHECK;
/* A message: its flags and keywords, and labels, each terminated by a NUL. `wanted`: by the filter
 * of messages. ERR_SOURCE_LABELS: more labels than anybody has. */
enum err gmail_labels_note(struct labels *, uint32_t uid, const struct mail_meta *,
			   struct text labels, bool wanted) MUST_CHECK;
/* All is noted. Suspends in a large mailbox. */
enum err gmail_labels_end(struct labels *) MUST_CHECK;
/* For the log: messages, those that are in several folders of labels, and labels (places of the
 * server's and views not counted) that are nobody's folder and no keyword. */
struct gmail_sums {
	uint64_t messages, of_several, stayed, places;
};
struct gmail_sums gmail_labels_sums(const struct labels *);

/* ---- asking. None of these fails or suspends ---- */

/* What is asked in the place of its folders: raw name, epoch. */
const struct box *gmail_labels_all(const struct labels *);
size_t gmail_labels_folders(const struct labels *);
/* False: there is nothing in it, and the server does not list it; `box` is unchanged. */
bool gmail_labels_box(const struct labels *, size_t folder, struct box *);
/* By raw name and epoch; SIZE_MAX: it is none of these. */
size_t gmail_labels_find(const struct labels *, const struct box *);
/* The first place of a folder whose key is not below `no`; behind its last message: its end. */
size_t gmail_labels_seek(const struct labels *, size_t folder, uint64_t no);
/* What is at a place (below the folder's end). */
uint32_t gmail_labels_uid(const struct labels *, size_t place);
bool gmail_labels_is_wanted(const struct labels *, size_t place);
/* Its flags and keywords as they were when it was noted; no date. */
void gmail_labels_meta(const struct labels *, size_t folder, size_t place, struct mail_meta *);
/* The next run of wanted messages from *place on and below `end`, *place then behind it; between
 * its first and last UID All Mail held nothing else. False: there is none. */
bool gmail_labels_run(const struct labels *, size_t *place, size_t end, uint32_t *first,
		      uint32_t *last);
/* Is the message in the folder, and wanted? */
bool gmail_labels_holds(const struct labels *, size_t folder, uint32_t uid);
/* Its labels as keywords, added to `meta`. Nothing where none are wanted. */
void gmail_labels_add_keywords(const struct labels *, size_t folder, uint32_t uid,
			       struct mail_meta *);

#endif
