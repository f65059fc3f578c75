/* The calls of ledger.h that go to the storage: what each brings, and where its answer goes. Not
 * for: how they get there (ledger.c), what is done there (ledger_sqlite*.c). */
#include "engine/ledger_call.h"

#include "engine/ledger_sqlite.h"

enum err ledger_mailbox(struct ledger *ledger, const char *source, const char *target,
			const char *digest, struct ledger_mailbox *mailbox)
{
	struct ledger_call call = { .run = ledger_sqlite_mailbox,
				    .writes = true,
				    .source = source,
				    .target = target,
				    .digest = digest,
				    .mailbox = mailbox };

	must(strlen(digest) < sizeof mailbox->digest);
	*mailbox = (struct ledger_mailbox){ 0 };
	return ledger_act(ledger, &call);
}

enum err ledger_mailbox_end(struct ledger *ledger, uint64_t mailbox_no, const char *state,
			    enum err fate, const char *note, int64_t ended_wall_s)
{
	struct ledger_call call = { .run = ledger_sqlite_mailbox_end,
				    .writes = true,
				    .mailbox_no = mailbox_no,
				    .state = state,
				    .fate = fate,
				    .note = note ? note : "",
				    .ended_wall_s = ended_wall_s };

	return ledger_act(ledger, &call);
}

enum err ledger_box(struct ledger *ledger, uint64_t mailbox_no, struct box *box,
		    uint64_t *epoch_before, uint64_t *next_no)
{
	struct ledger_call call = {
		.run = ledger_sqlite_box, .writes = true, .mailbox_no = mailbox_no, .box = box
	};
	enum err e = ledger_act(ledger, &call);

	*epoch_before = call.epoch;
	*next_no = call.next_no;
	return e;
}

enum err ledger_box_fate(struct ledger *ledger, uint64_t box_no, enum err fate, const char *note)
{
	struct ledger_call call = { .run = ledger_sqlite_box_fate,
				    .writes = true,
				    .box_no = box_no,
				    .fate = fate,
				    .note = note ? note : "" };

	return ledger_act(ledger, &call);
}

enum err ledger_box_next(struct ledger *ledger, uint64_t mailbox_no, struct ledger_known_box *known)
{
	struct ledger_call call = { .run = ledger_sqlite_box_next,
				    .mailbox_no = mailbox_no,
				    .known = known };
	enum err e = ledger_act(ledger, &call);

	return e || call.found ? e : ERR_PIPE_ENDED;
}

enum err ledger_mailbox_beside(struct ledger *ledger, uint64_t mailbox_no, uint64_t *beside)
{
	struct ledger_call call = { .run = ledger_sqlite_mailbox_beside,
				    .mailbox_no = mailbox_no,
				    .first = *beside };
	enum err e = ledger_act(ledger, &call);

	*beside = call.first;
	return e || call.found ? e : ERR_PIPE_ENDED;
}

enum err ledger_box_rename(struct ledger *ledger, uint64_t mailbox_no, struct box *box)
{
	struct ledger_call call = { .run = ledger_sqlite_box_rename,
				    .writes = true,
				    .mailbox_no = mailbox_no,
				    .box = box };

	return ledger_act(ledger, &call);
}

enum err ledger_box_former(struct ledger *ledger, uint64_t box_no, enum ledger_former former)
{
	struct ledger_call call = {
		.run = ledger_sqlite_box_former, .writes = true, .box_no = box_no, .former = former
	};

	return ledger_act(ledger, &call);
}

enum err ledger_box_target(struct ledger *ledger, uint64_t box_no, const char *target,
			   uint64_t target_epoch)
{
	struct ledger_call call = { .run = ledger_sqlite_box_target,
				    .writes = true,
				    .box_no = box_no,
				    .target = target,
				    .epoch = target_epoch };

	return ledger_act(ledger, &call);
}

enum err ledger_cursor(struct ledger *ledger, uint64_t box_no, const struct cursor *cursor)
{
	struct ledger_call call = {
		.run = ledger_sqlite_cursor, .writes = true, .box_no = box_no, .note = cursor->at
	};

	return ledger_act(ledger, &call);
}

enum err ledger_intend(struct ledger *ledger, uint64_t box_no, uint64_t first, uint64_t last)
{
	struct ledger_call call = { .run = ledger_sqlite_intend,
				    .writes = true,
				    .box_no = box_no,
				    .first = first,
				    .last = last };

	must(first > 0 && first <= last && last < INT64_MAX);
	return ledger_act(ledger, &call);
}

enum err ledger_open_range(struct ledger *ledger, uint64_t box_no, uint64_t after,
			   struct ledger_range *range)
{
	struct ledger_call call = { .run = ledger_sqlite_open_range,
				    .box_no = box_no,
				    .first = after };
	enum err e = ledger_act(ledger, &call);

	*range = call.range;
	return e || call.found ? e : ERR_PIPE_ENDED;
}

enum err ledger_open_range_below(struct ledger *ledger, uint64_t box_no, uint64_t below,
				 struct ledger_range *range)
{
	struct ledger_call call = { .run = ledger_sqlite_open_range_below,
				    .box_no = box_no,
				    .last = below };
	enum err e = ledger_act(ledger, &call);

	*range = call.range;
	return e || call.found ? e : ERR_PIPE_ENDED;
}

enum err ledger_unsettled(struct ledger *ledger, uint64_t box_no, uint64_t from, uint64_t last,
			  struct ledger_range *gap)
{
	struct ledger_call call = {
		.run = ledger_sqlite_unsettled, .box_no = box_no, .first = from, .last = last
	};
	enum err e = OK;

	must(from > 0 && last < INT64_MAX);
	while (!e && !call.found && call.first <= last)
		e = ledger_act(ledger, &call); /* each moves call.first, or ends it */
	*gap = call.range;
	return e || call.found ? e : ERR_PIPE_ENDED;
}

enum err ledger_seal(struct ledger *ledger, uint64_t mailbox_no, uint64_t seal_no, struct text seal)
{
	struct ledger_call call = { .run = ledger_sqlite_seal,
				    .writes = true,
				    .mailbox_no = mailbox_no,
				    .seal_no = seal_no,
				    .seal = seal };

	must(seal_no > 0 && seal_no < INT64_MAX);
	return ledger_act(ledger, &call);
}

enum err ledger_seal_drop(struct ledger *ledger, uint64_t mailbox_no, uint64_t seal_no)
{
	struct ledger_call call = { .run = ledger_sqlite_seal_drop,
				    .writes = true,
				    .mailbox_no = mailbox_no,
				    .seal_no = seal_no };

	return ledger_act(ledger, &call);
}

enum err ledger_seal_next(struct ledger *ledger, uint64_t mailbox_no, uint64_t after,
			  uint64_t *seal_no, struct buffer *seal)
{
	struct ledger_call call = { .run = ledger_sqlite_seal_next,
				    .mailbox_no = mailbox_no,
				    .seal_no = after,
				    .blob = seal };
	enum err e = ledger_act(ledger, &call);

	*seal_no = call.seal_no;
	return e || call.found ? e : ERR_PIPE_ENDED;
}

enum err ledger_totals(struct ledger *ledger, uint64_t mailbox_no, struct ledger_totals *totals)
{
	struct ledger_call call = { .run = ledger_sqlite_totals,
				    .mailbox_no = mailbox_no,
				    .totals = totals };

	*totals = (struct ledger_totals){ 0 };
	return ledger_act(ledger, &call);
}

enum err ledger_exception_next(struct ledger *ledger, uint64_t mailbox_no,
			       struct ledger_exception *exception)
{
	struct ledger_call call = { .run = ledger_sqlite_exception,
				    .mailbox_no = mailbox_no,
				    .exception = exception };
	enum err e = ledger_act(ledger, &call);

	return e || call.found ? e : ERR_PIPE_ENDED;
}

enum err ledger_wrapped_next(struct ledger *ledger, uint64_t mailbox_no,
			     struct ledger_exception *wrapped)
{
	struct ledger_call call = { .run = ledger_sqlite_wrapped,
				    .mailbox_no = mailbox_no,
				    .exception = wrapped };
	enum err e = ledger_act(ledger, &call);

	return e || call.found ? e : ERR_PIPE_ENDED;
}

enum err ledger_lesson_set(struct ledger *ledger, const struct ledger_lesson *lesson)
{
	struct ledger_lesson copy = *lesson;
	struct ledger_call call = { .run = ledger_sqlite_lesson_set,
				    .writes = true,
				    .lesson = &copy };

	must(lesson->kind[0] && lesson->name[0]);
	return ledger_act(ledger, &call);
}

enum err ledger_lesson_next(struct ledger *ledger, struct ledger_lesson *lesson)
{
	struct ledger_call call = { .run = ledger_sqlite_lesson, .lesson = lesson };
	enum err e = ledger_act(ledger, &call);

	return e || call.found ? e : ERR_PIPE_ENDED;
}

/* ---- what became of settled messages ---- */

enum err ledger_forget_skipped(struct ledger *ledger, uint64_t mailbox_no, const char *reason,
			       uint64_t *count)
{
	struct ledger_call call = { .run = ledger_sqlite_forget,
				    .writes = true,
				    .mailbox_no = mailbox_no,
				    .note = reason };
	enum err e = ledger_act(ledger, &call);

	*count = e ? 0 : call.count;
	return e;
}

enum err ledger_filter(struct ledger *ledger, uint64_t mailbox_no, const char *text,
		       uint64_t *count)
{
	struct ledger_call call = {
		.run = ledger_sqlite_filter, .writes = true, .mailbox_no = mailbox_no, .note = text
	};
	enum err e = ledger_act(ledger, &call);

	*count = e ? 0 : call.count;
	return e;
}

enum err ledger_seen(struct ledger *ledger, uint64_t box_no, uint64_t first, uint64_t last,
		     struct ledger_seen *seen, size_t max, size_t *count)
{
	struct ledger_call call = { .run = ledger_sqlite_seen,
				    .box_no = box_no,
				    .first = first,
				    .last = last,
				    .seen = seen,
				    .max = max };
	enum err e = ledger_act(ledger, &call);

	*count = e ? 0 : call.count;
	return e;
}

enum err ledger_stored(struct ledger *ledger, uint64_t box_no, uint64_t after,
		       struct ledger_stored *stored, size_t max, size_t *count)
{
	struct ledger_call call = { .run = ledger_sqlite_stored,
				    .box_no = box_no,
				    .first = after,
				    .stored = stored,
				    .max = max };
	enum err e = ledger_act(ledger, &call);

	*count = e ? 0 : call.count;
	return e;
}

enum err ledger_seek(struct ledger *ledger, uint64_t mailbox_no, uint64_t *box_no, uint64_t *no)
{
	struct ledger_call call = { .run = ledger_sqlite_seek,
				    .writes = true,
				    .mailbox_no = mailbox_no,
				    .box_no = *box_no,
				    .first = *no };
	enum err e = ledger_act(ledger, &call);

	*box_no = e ? 0 : call.box_no;
	*no = call.first;
	return e;
}

enum err ledger_sought(struct ledger *ledger, uint64_t mailbox_no, const struct digest *digest,
		       const struct ledger_renumber *taken, size_t taken_count,
		       struct ledger_renumber *renumber, char *was_name)
{
	struct ledger_call call = { .run = ledger_sqlite_sought,
				    .mailbox_no = mailbox_no,
				    .sought = digest,
				    .apart = taken,
				    .count = taken_count,
				    .renumber = renumber,
				    .name = was_name };

	return ledger_act(ledger, &call);
}

enum err ledger_seek_end(struct ledger *ledger, uint64_t mailbox_no)
{
	struct ledger_call call = { .run = ledger_sqlite_seek_end,
				    .writes = true,
				    .mailbox_no = mailbox_no };

	return ledger_act(ledger, &call);
}
