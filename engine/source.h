/* Where mail comes from. One `struct source` is one conversation; a mailbox may have several on
 * disjoint keys. Nine in ten drivers are one file pair and one row in transport/drivers.def. */
#ifndef MAILHAUL_SOURCE_H
#define MAILHAUL_SOURCE_H

#include "engine/mail.h"

struct secret;		/* crypto/secret.h */
struct oauth2_source;	/* transport/oauth2.h */
struct route;		/* transport/route.h */
struct store_s3_config; /* transport/store_s3.h */
struct opt_values;
struct filter; /* engine/filter.h */
struct govern; /* engine/govern.h */
struct labels; /* transport/gmail_labels.h */

enum { PEER_KEY_BYTES = 384 }; /* an ARN of KMS: an alias has up to 256 bytes */

/* Facts of one peer met, for the report. */
struct peer {
	char host[256];
	char address[64]; /* "[2001:db8::1]:993" */
	char tls_version[16], tls_cipher[64];
	char certificate_sha256[65]; /* hexadecimal */
	char software[128];	     /* what it says it is; may be empty */
	/* Who connects us, whose `address` it then is; the route's text. NULL: nobody. */
	const char *through;
	/* Of a host of AWS whose name says it, and of the key of KMS that it is met for; "". */
	char region[64], key[PEER_KEY_BYTES];
};

/* What a connection was like, told when it ends. */
struct path {
	const char *host;    /* borrowed until return */
	const char *through; /* as of struct peer; borrowed for the route's life */
	uint16_t port;
	/* As far as the kernel told them, else 0; where somebody connects us, of the way there. */
	nsec round_trip, round_trip_min;
	uint32_t mtu_bytes;
	uint64_t segments_resent;
	uint64_t bytes_received, bytes_sent; /* of plaintext, still compressed where it is */
	bool compressed;		     /* the conversation was */
	nsec active; /* the time in which they moved: longer silences are left out */
};

struct account {
	const char *scheme;	       /* as in the URL */
	const char *user;	       /* decoded; may be "" */
	const char *host;	       /* without brackets; may be "" */
	uint16_t port;		       /* 0: the scheme's default */
	const char *path;	       /* decoded, with its leading slash */
	const char *shown;	       /* the URL as it may be logged */
	const struct secret *password; /* NULL: none given */
	/* NULL: the password logs in. Else access tokens from here do, and nothing else. */
	const struct oauth2_source *oauth2;
	/* Of an archive in a bucket, whose name is `host`: how to speak with it. Outlives all that
	 * is opened with it. */
	const struct store_s3_config *s3;
	/* The key of KMS for whose sake a host is met, for the report; NULL: none. That it may be
	 * used is asked by whoever uses it (transport/residency.h). */
	const char *key;
	const char *ca_file; /* NULL: the system's */
	nsec io_timeout;     /* longest silence of a peer that is tolerated */
	nsec connect_timeout;
	const char *as_of; /* of an archive: read it as it was then; NULL: now */
	bool vanished;	   /* of an archive: with what vanished from its source later */
	void (*met)(void *context,
		    const struct peer *); /* called once per connection; may be NULL */
	void *met_context;
	const struct route *route; /* how to get there; NULL: as the kernel would */
	/* Called once per connection, when it ends, from where nothing may suspend; may be NULL.
	 * The context outlives all connections. */
	void (*parted)(void *context, const struct path *);
	void *parted_context;
	/* Grows whenever bytes of the peer come, on any connection; outlives them. NULL: nobody
	 * wants to know. */
	uint64_t *heard;
	/* Of a source: what of it is wanted; NULL: everything. A source that knows a message before
	 * it asks for its body need not ask, and hands it out with the fate ERR_SOURCE_FILTERED;
	 * whatever comes all the same is judged by the lane, which also judges folders. */
	const struct filter *filter;
	/* Have the conversation compressed where the server offers that. */
	bool compress;
	/* Of a source whose folders are labels of messages: the rule by which it puts each into
	 * folders, and what came of it, for all conversations of one lane. NULL: folders are what
	 * the server shows. */
	struct labels *labels;
	/* What paces this account; told by drivers when a server says "slow down" without refusing
	 * anything. NULL: nobody paces it. */
	struct govern *govern;
};

/* A page of folders, the caller's. */
struct box_page {
	struct box boxes[16];
	unsigned count;
	bool last;
};

/* What a scan finds out about messages that were there before. */
struct finding {
	enum finding_kind {
		FINDING_FLAGS,	   /* `no` is there; `meta` has its flags and keywords, no date */
		FINDING_THERE,	   /* `no` is there */
		FINDING_GONE,	   /* nothing of [no, last] is there any more */
		FINDING_REST_GONE, /* of [no, last] only what this scan told of is there */
	} kind;
	uint64_t no, last;
	const struct mail_meta *meta; /* borrowed until the next one */
};

/* A message that an earlier run settled. */
struct settled_before {
	const char *box_id; /* of its folder, as the source gave it */
	uint64_t epoch, no;
	bool stored; /* else it was skipped, or taken back */
	bool there;  /* else it was gone from the folder later */
};

struct source;

/* Everything suspends but close. */
struct source_driver {
	const char *scheme;
	/* Connect and log in. ERR_NET_*, ERR_TLS_*, ERR_IMAP_LOGIN... */
	enum err (*open)(struct source **, const struct account *, struct reserve *, nsec until);
	/* A source that chooses itself which folder a message is in keeps to what it chose before.
	 * Said before each list(): recalls() asks whether it wants to know, and forgets what it was
	 * told; then recall() tells it, message by message, in no order. Both NULL: it never
	 * wants to; they do not suspend. */
	bool (*recalls)(struct source *);
	enum err (*recall)(struct source *, const struct settled_before *);
	/* The next page of folders, names in the source's order; call until `last`. Each has its
	 * epoch, next_no and totals where the source has them, or a fate. */
	enum err (*list)(struct source *, struct box_page *, nsec until);
	/* Begin to tell what became of the messages [first, last] of a box between box->before and
	 * box->cursor, or since; where box->before is empty, all there is to know. `flags`: also
	 * where flags have to be read anew for that. Before the first ask() of the conversation.
	 * ERR_SOURCE_EPOCH: it is another folder by now. NULL: this source cannot tell. */
	enum err (*scan)(struct source *, const struct box *, uint64_t first, uint64_t last,
			 bool flags);
	/* The next finding, in any order and more than once for a message; ERR_PIPE_ENDED: told.
	 * Messages outside of [first, last] are not told of. */
	enum err (*found)(struct source *, struct finding *);
	/* Ask for the messages whose keys lie in [first, last] of a box (its raw name, epoch and
	 * box_no are used; borrowed until return). Queued and sent at once; several may be asked
	 * while items arrive, answered in order. How many: asks_max. */
	enum err (*ask)(struct source *, const struct box *, uint64_t first, uint64_t last);
	/* The next item. A body must be drained or closed before next() is called again. When the
	 * folder is refused or has another epoch, every range asked of it ends with ITEM_RANGE_DONE
	 * whose fate says so. ERR_PIPE_ENDED: nothing asked is left. */
	enum err (*next)(struct source *, struct item *);
	/* Orderly end (LOGOUT). */
	enum err (*finish)(struct source *, nsec until);
	void (*close)(struct source **);
	unsigned asks_max;
};
struct source {
	const struct source_driver *type;
};

#endif
