/* See imap_labelled.h. */
#include "transport/imap_labelled.h"

#include <stdio.h>

void imap_labelled_begin(const struct labels *labels, struct imap_labelled *labelled,
			 struct imap_ask *ask, const struct box *box, uint64_t first, uint64_t last)
{
	const struct box *all;

	imap_ask_begin(ask, box, first, last);
	*labelled = (struct imap_labelled){ .folder = SIZE_MAX };
	if (!labels || (labelled->folder = gmail_labels_find(labels, box)) == SIZE_MAX)
		return;
	all = gmail_labels_all(labels);
	ask->epoch = all->epoch;
	bytes_copy(ask->raw, all->raw, strlen(all->raw) + 1, BYTES_META);
	labelled->at = labelled->told = gmail_labels_seek(labels, labelled->folder, ask->first);
	labelled->end = gmail_labels_seek(labels, labelled->folder, ask->last + 1);
}

bool imap_labelled_set(const struct labels *labels, struct imap_labelled *labelled,
		       struct buffer *to)
{
	size_t used = 0, at = labelled->at;
	uint32_t first, last;
	char run[32];
	int n;

	while (gmail_labels_run(labels, &at, labelled->end, &first, &last)) {
		n = first == last
			    ? snprintf(run, sizeof run, "%s%u", used ? "," : "", first)
			    : snprintf(run, sizeof run, "%s%u:%u", used ? "," : "", first, last);
		if (used + (size_t)n > IMAP_LABELLED_SET_BYTES_MAX)
			return true;
		buffer_add_text(to, run);
		used += (size_t)n;
		labelled->at = at;
	}
	labelled->at = labelled->end;
	return used > 0;
}

uint32_t imap_labelled_unwanted(const struct labels *labels, struct imap_labelled *labelled)
{
	while (labelled->told < labelled->end) {
		size_t place = labelled->told++;

		if (!gmail_labels_is_wanted(labels, place))
			return gmail_labels_uid(labels, place);
	}
	return 0;
}

bool imap_labelled_waits_for(const struct labels *labels, const struct imap_labelled *labelled,
			     const struct imap_ask *ask, uint32_t uid)
{
	return gmail_labels_holds(labels, labelled->folder, uid) && !imap_ask_has(ask, uid);
}

bool imap_labelled_scan(const struct labels *labels, struct imap_labelled_scan *scan,
			const struct box *box, uint64_t first, uint64_t last, bool flags)
{
	size_t folder = labels ? gmail_labels_find(labels, box) : SIZE_MAX;

	scan->open = folder != SIZE_MAX;
	if (!scan->open)
		return false;
	scan->flags = flags;
	scan->folder = folder;
	scan->place = gmail_labels_seek(labels, folder, first);
	scan->first = first;
	scan->last = last;
	return true;
}

enum err imap_labelled_found(const struct labels *labels, struct imap_labelled_scan *scan,
			     struct finding *finding)
{
	size_t end;

	if (!scan->open)
		return ERR_PIPE_ENDED;
	end = gmail_labels_seek(labels, scan->folder, scan->last + 1);
	if (scan->place == end) {
		scan->open = false;
		*finding = (struct finding){ FINDING_REST_GONE, scan->first, scan->last, NULL };
		return OK;
	}
	*finding = (struct finding){ .kind = FINDING_THERE,
				     .no = gmail_labels_uid(labels, scan->place) };
	finding->last = finding->no;
	if (scan->flags) {
		gmail_labels_meta(labels, scan->folder, scan->place, &scan->meta);
		finding->kind = FINDING_FLAGS;
		finding->meta = &scan->meta;
	}
	scan->place++;
	return OK;
}
