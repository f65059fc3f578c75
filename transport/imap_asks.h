/* What is known of one range of messages asked for: which of them were handed over, which the
 * server only spoke of, and what came of it all. Part of imap_source; knows no conversation. */
#ifndef MAILHAUL_IMAP_ASKS_H
#define MAILHAUL_IMAP_ASKS_H

#include "engine/mail.h"
#include "transport/imap_hint.h"

enum {
	/* UIDs of a range, to hand each over once; ranges with more must come in order. */
	IMAP_ASK_DELIVERED_MAX = 8192,
	/* UIDs of a range that came without a body; with more the range is asked again anyway. */
	IMAP_ASK_BARE_MAX = 1024,
	/* Large messages of one range whose facts came behind the body; asked for one by one. */
	IMAP_ASK_LARGE_MAX = 64,
};

struct imap_ask {
	uint64_t box_no, epoch, first, last;
	bool answered;
	enum err fate;
	char fate_text[240];
	struct imap_hint hint; /* what the server said with it */
	uint32_t large[IMAP_ASK_LARGE_MAX];
	unsigned large_count, large_at;
	struct mail_meta facts;				     /* of large[large_at], */
	bool facts_known;				     /* when this says so */
	uint32_t delivered[IMAP_ASK_DELIVERED_MAX], highest; /* handed over already */
	unsigned delivered_count;
	uint64_t named; /* how many different UIDs came with a body */
	uint32_t bare[IMAP_ASK_BARE_MAX];
	unsigned bare_count;
	bool bare_full, large_full, unnamed;
	char raw[BOX_NAME_BYTES_MAX + 1];
};

void imap_ask_begin(struct imap_ask *, const struct box *, uint64_t first, uint64_t last);
/* A body of `uid` came: *first the first time. */
enum err imap_ask_body(struct imap_ask *, uint32_t uid, bool *first) MUST_CHECK;
/* Was it handed over already? */
bool imap_ask_has(const struct imap_ask *, uint32_t uid);
/* A FETCH reply of `uid` came without a body. As long as none comes, nobody may believe that this
 * message is not there. */
void imap_ask_bare(struct imap_ask *, uint32_t uid);
/* A body came without its UID: it may be any of the range. */
void imap_ask_unnamed(struct imap_ask *);
/* The body is to be asked for again. */
void imap_ask_large(struct imap_ask *, uint32_t uid);
/* A FETCH of it was answered. The first cause of a fate stays. */
void imap_ask_status(struct imap_ask *, const struct imap_status *);
/* There are more messages in it than can be judged at once: smaller pieces, please. */
void imap_ask_crowded(struct imap_ask *);
/* Its first FETCH was granted in full: were all its messages handed over or put aside? If not, the
 * fate says so, which makes the lane ask for smaller pieces. */
void imap_ask_check(struct imap_ask *);
/* The same when the body of large[large_at] did not come. */
void imap_ask_large_missing(struct imap_ask *);

#endif
