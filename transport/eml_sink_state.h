/* What the files of the sink of single messages share: eml_sink.c (the driver, and what is put),
 * eml_sink_letter.c (the messages on their way), eml_sink_upload.c (large ones), eml_sink_send.c
 * (the fibers that send), eml_sink_receipt.c (what the lane is told), eml_sink_recover.c (what
 * became of what was sealed before). Nobody else's. One thread, so no locks; after every call that
 * suspends, what was assumed about it is checked again. */
#ifndef MAILHAUL_EML_SINK_STATE_H
#define MAILHAUL_EML_SINK_STATE_H

#include "engine/fiber.h"
#include "transport/archive_boxes.h"
#include "transport/archive_entry.h"
#include "transport/changes.h"
#include "transport/eml_folders.h"
#include "transport/eml_sink.h"
#include "transport/mime_said.h"
#include "transport/store_s3.h"

enum { EML_LETTERS_MAX = 64 }; /* gathered, on their way, or waiting for their receipt */

/* A message on its way to being receipted. */
struct eml_letter {
	enum eml_letter_state {
		EML_LETTER_FILLING, /* a large one, as it comes */
		EML_LETTER_FILLED,
		EML_LETTER_SHOWN,  /* its seal was given to the lane, */
		EML_LETTER_SEALED, /* and is durable: it may be sent */
		EML_LETTER_SENT,   /* one of the fibers has it */
		EML_LETTER_ANSWERED,
		EML_LETTER_DROPPED, /* it is not there, and will not be */
	} state;
	uint64_t seal_no; /* 0: none yet */
	bool was_sealed;  /* by an earlier run */
	uint64_t box_no, no, epoch, size_bytes;
	char folder[EML_FOLDER_KEY_BYTES_MAX + 1], key[STORE_KEY_BYTES_MAX + 1];
	struct text box; /* its name; lives as long as the sink */
	uint8_t *bytes;	 /* NULL: a large one, or of an earlier run */
	size_t held;	 /* of the budget */
	struct digest digest;
	uint64_t crc;
	struct mail_meta meta;
	uint64_t mark; /* mail_mark() of it */
	enum mail_kind kind;
	struct mime_saying saying;
	enum store_s3_there there; /* what was there before; of SAME, with other flags: */
	bool is_reflagged;
	struct eml_letter *next;
};

struct eml_sink {
	struct sink base;
	struct sink_config config;
	struct account way;
	struct archive_entry entry;
	struct archive_boxes boxes;
	struct eml_folders folders;
	struct eml_letter *first, *last;
	unsigned letters;
	uint64_t bytes; /* of letters */
	uint64_t next_seal_no;
	struct buffer seal;		       /* the one that was given last */
	uint64_t settled[EML_LETTERS_MAX + 1]; /* seals that no letter has any more */
	size_t settled_count;
	bool settled_given; /* with the last receipt */
	struct group *sending;
	struct changes *changes; /* from the first one on */
	bool changing;		 /* somebody is writing into them */
	struct wait_queue changed;
	enum err broken;
	char broken_why[ERR_NOTE_BYTES_MAX];
	bool draining;
};

/* ---- eml_sink.c ---- */

struct eml_sink *eml_sink_of(struct sink *);
/* What failed in one fiber fails in the others, with the same words: OK, or that error raised. */
enum err eml_sink_is_broken(const struct eml_sink *) MUST_CHECK;
/* The sink is of no use any more, for the reason in err_note(), which stays there; the first such
 * reason is kept. OK breaks nothing. Wakes all either way, and returns what it was given. */
enum err eml_sink_breaks(struct eml_sink *, enum err);
/* Until something is different. Why the sink is broken, ERR_FIBER_CANCELED, or after an hour
 * ERR_FIBER_TIMEOUT. Suspends. */
enum err eml_sink_wait(struct eml_sink *) MUST_CHECK;
/* That of the store, which is open. */
enum crc_kind eml_sink_checksum(const struct eml_sink *);
/* What is stored says other flags than the ledger is about to know: durable on return. Suspends. */
enum err eml_sink_record_flags(struct eml_sink *, const struct eml_letter *) MUST_CHECK;

/* ---- eml_sink_letter.c ---- */

/* One that is in no list. */
void eml_letter_free(struct eml_letter *);
/* Takes it. Wakes all. */
void eml_letter_append(struct eml_sink *, struct eml_letter *);
/* The oldest in this state, which stays the sink's; NULL: none. */
struct eml_letter *eml_letter_in(const struct eml_sink *, enum eml_letter_state);
typedef enum err eml_take_bytes(void *context, const uint8_t *, size_t);
/* All of the body, which must be as long as was said: ERR_STREAM_CUT. What `take` returns ends it.
 * Suspends. */
enum err eml_letter_pull(struct item *, eml_take_bytes *take, void *context) MUST_CHECK;
/* Makes what stands beside it; `digest` NULL: not known yet. Keywords without room are logged. */
void eml_letter_say(const struct eml_sink *, struct eml_letter *, const struct digest *);
/* An earlier run stored it: `is_reflagged` tells whether with other flags than it has now.
 * Suspends. */
enum err eml_letter_compare_flags(const struct eml_sink *, struct eml_letter *) MUST_CHECK;

/* ---- eml_sink_upload.c: the write fiber's ---- */

/* By parts, as it comes: it is there before this returns, or nothing of it is. Takes the letter,
 * which the receipt fiber lets go of. Where the store fails so that nobody knows, the sink breaks,
 * and the next run looks. Suspends, also until its seal is durable. */
enum err eml_sink_upload(struct eml_sink *, struct eml_letter *, struct item *) MUST_CHECK;

/* ---- eml_sink_send.c ---- */

/* Starts them at its first call; nothing where there is no store. By the fiber that asks for
 * receipts, because it outlives the one that puts. */
enum err eml_sink_begin_sending(struct eml_sink *) MUST_CHECK;
/* The driver's call of this name. */
void eml_sink_end_receipts(struct sink *);

/* ---- eml_sink_receipt.c: the driver's calls of these names ---- */

enum err eml_sink_receipt(struct sink *, struct receipt *) MUST_CHECK;
enum err eml_sink_publish(struct sink *, uint64_t seal_no) MUST_CHECK;

/* ---- eml_sink_recover.c: the driver's call of this name ---- */

enum err eml_sink_find(struct sink *, uint64_t seal_no, struct text seal,
		       enum seal_fate *) MUST_CHECK;

#endif
