#include "tools/selection.h"

#include <string.h>

bool selection_is_all(const struct selection *selection)
{
	return !selection->mailbox && !selection->box && !selection->number;
}

bool selection_has_box(const struct selection *selection, const char *name)
{
	return !selection->box || strcmp(selection->box, name) == 0;
}

bool selection_has_message(const struct selection *selection, const struct archive_message *message)
{
	return selection_has_box(selection, message->box) &&
	       (!selection->number || selection->number == message->no) &&
	       (!selection->present || !message->vanished);
}

enum err selection_apply(const struct selection *selection, struct archive *archive)
{
	struct archive_moment moment;
	enum err e;

	if (selection->mailbox && (e = archive_only(archive, selection->mailbox)))
		return e;
	if (!selection->as_of)
		return OK;
	if (!archive_moment_read(selection->as_of, &moment))
		return RAISE(ERR_INPUT_USAGE,
			     "--as-of %s: give a generation (3), a day (2026-11-22) or a moment "
			     "(2026-11-22T06:00:00Z)",
			     selection->as_of);
	archive_as_of(archive, &moment);
	return OK;
}
