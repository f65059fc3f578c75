/* Messages of the ledger are read back from where they should be by now, and compared: size and
 * digest with what was sent, flags and date with what is known of them. All of them, or a sample of
 * each folder and size class (sample.h). The ledger is only read. Not for: what follows from it
 * (the callbacks). */
#ifndef MAILHAUL_RECHECK_H
#define MAILHAUL_RECHECK_H

#include "engine/ledger.h"
#include "engine/sample.h"
#include "engine/source.h"

struct recheck_row {
	struct ledger_stored stored;
	enum recheck_outcome {
		RECHECK_OPEN,	 /* (not looked for yet; told to nobody) */
		RECHECK_SAME,	 /* it is there, byte for byte */
		RECHECK_MISSING, /* nothing has its number */
		RECHECK_ALTERED, /* what has its number has other bytes */
		RECHECK_UNKNOWN, /* `why`; OK: the target never told its number */
	} outcome;
	enum err why;
	/* Of SAME and ALTERED: it has other flags or keywords than were seen last; another date
	 * than the target was told, as far as both are known. */
	bool reflagged, redated;
};

struct recheck_box {
	struct ledger_known_box known;
	uint64_t stored;   /* moved messages of the folder, and with `doubtful` those too */
	uint64_t doubtful; /* that are doubtful already */
	uint64_t found;	   /* of both: they were there before anything was sent */
	uint64_t chosen, bytes;
	uint64_t same, missing, altered, unknown, reflagged, redated; /* of the chosen ones */
	enum err fate; /* not OK: the target will not show the folder, or has another there */
	char note[240];
};

struct recheck_config {
	const struct source_driver *source;
	const struct account *account;
	struct ledger *ledger;
	uint64_t mailbox_no;
	struct tap *digest;   /* of the kind that the mailbox's digests are of */
	struct tap *inside;   /* the same of what is inside a wrapped message */
	uint32_t per_million; /* SAMPLE_ALL: no sample */
	uint64_t seed;
	bool doubtful;	/* doubtful messages are looked for, too */
	bool sent_only; /* what was there before is not looked for, and not in `stored` */
	/* A tap of transport/fingerprint.h, for what was found by one; NULL: nobody can tell
	 * whether it is the same. */
	struct tap *fingerprint;
	nsec finish_timeout;
	/* Some messages of a folder, each with its outcome; counted in the folder already. The
	 * conversation with the target waits meanwhile, so not for long. May suspend. */
	enum err (*page)(void *context, const struct recheck_box *, const struct recheck_row *,
			 size_t count);
	/* A folder's end, if there was something to look for in it. May suspend. */
	enum err (*box)(void *context, const struct recheck_box *);
	void *context;
};

/* Through all folders of a mailbox. A conversation that breaks is begun anew a few times; a page
 * whose reading was cut is read again from its beginning. ERR_FIBER_CANCELED when
 * shard_requested() says drain; errors of the source, the ledger and the callbacks. Suspends; needs
 * a large stack. */
enum err recheck_run(const struct recheck_config *) MUST_CHECK;

#endif
