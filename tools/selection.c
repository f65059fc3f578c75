#include "tools/selection.h"

bool selection_is_all(const struct selection *selection)
{
	return !selection->mailbox && !selection->box && !selection->number;
}

bool selection_has_mailbox(const struct selection *selection, const char *name)
{
	return !selection->mailbox || strcmp(selection->mailbox, name) == 0;
}

bool selection_has_box(const struct selection *selection, const char *name)
{
	return !selection->box || strcmp(selection->box, name) == 0;
}

bool selection_has_message(const struct selection *selection, const char *box_name, uint64_t number)
{
	return selection_has_box(selection, box_name) &&
	       (!selection->number || selection->number == number);
}
