#include "tools/residency_options.h"

#include "transport/residency.h"

static const char *const names[RESIDENCY_KINDS] = {
	"residency-partition", "residency-region",  "residency-key",
	"residency-host",      "residency-address",
};

static enum err add_all(struct residency *policy, enum residency_kind kind,
			const struct opt_list *list)
{
	char text[ERR_NOTE_BYTES_MAX];

	for (unsigned i = 0; i < list->count; i++) {
		if (residency_add(policy, kind, list->at[i]) == OK)
			continue;
		snprintf(text, sizeof text, "%s", err_note()->text);
		err_note_clear();
		return RAISE(ERR_INPUT_USAGE, "--%s \"%.100s\": %s", names[kind], list->at[i],
			     text);
	}
	return OK;
}

enum err residency_options_set(const struct residency_options *options, const struct job *job,
			       struct residency **made)
{
	const struct opt_list *const lists[RESIDENCY_KINDS] = { &options->partitions,
								&options->regions, &options->keys,
								&options->hosts,
								&options->addresses };
	bool any = false;
	enum err e = OK;

	*made = NULL;
	for (unsigned kind = 0; kind < RESIDENCY_KINDS; kind++)
		any |= lists[kind]->count > 0;
	if (any && job && job->residency)
		return RAISE(ERR_INPUT_USAGE,
			     "both the file of --oauth2 and options say what residency allows: "
			     "leave one of them out");
	if (any && (e = residency_open(made)))
		return e;
	for (unsigned kind = 0; any && !e && kind < RESIDENCY_KINDS; kind++)
		e = add_all(*made, (enum residency_kind)kind, lists[kind]);
	if (!e)
		residency_set(any ? *made : job ? job->residency : NULL);
	return e;
}

void residency_options_end(struct residency **made)
{
	residency_set(NULL);
	residency_close(made);
}
