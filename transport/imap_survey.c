#include "transport/imap_survey.h"

#include <stdio.h>
#include <stdlib.h>

void imap_survey_begin(struct imap_survey *survey)
{
	survey->count = survey->at = survey->highest = 0;
	survey->full = survey->all = false;
}

/* UIDs come in order from every server known, so none before is looked at. */
void imap_survey_note(struct imap_survey *survey, uint32_t uid, bool wanted)
{
	unsigned i = uid > survey->highest ? 0 : survey->count;

	while (i > 0 && survey->seen[i - 1] >> 1 != uid)
		i--;
	if (i > 0 && wanted)
		return;
	if (i > 0)
		survey->seen[i - 1] &= ~UINT64_C(1);
	else if (survey->count == IMAP_SURVEY_MAX)
		survey->full = true;
	else
		survey->seen[survey->count++] = (uint64_t)uid << 1 | wanted;
	if (uid > survey->highest)
		survey->highest = uid;
}

static int compare(const void *left, const void *right)
{
	const uint64_t *a = left, *b = right;

	return (*a > *b) - (*a < *b);
}

void imap_survey_end(struct imap_survey *survey)
{
	qsort(survey->seen, survey->count, sizeof survey->seen[0], compare);
	survey->all = survey->count > 0;
	for (unsigned i = 0; i < survey->count; i++)
		survey->all &= survey->seen[i] & 1;
	survey->at = 0;
}

/* The next run of wanted ones with no other between them. */
static bool next_run(const struct imap_survey *survey, unsigned from, unsigned *begin,
		     unsigned *end)
{
	while (from < survey->count && !(survey->seen[from] & 1))
		from++;
	*begin = from;
	while (from < survey->count && survey->seen[from] & 1)
		from++;
	*end = from;
	return *begin < *end;
}

bool imap_survey_set(struct imap_survey *survey, uint64_t first, uint64_t last, struct buffer *to)
{
	size_t used = 0;
	unsigned begin, end;
	char run[48];
	int n;

	if (survey->all && survey->at == 0) {
		survey->at = survey->count;
		buffer_addf(to, "%llu:%llu", (unsigned long long)first, (unsigned long long)last);
		return true;
	}
	for (; next_run(survey, survey->at, &begin, &end); survey->at = end) {
		unsigned long long from = survey->seen[begin] >> 1;
		unsigned long long until = survey->seen[end - 1] >> 1;

		n = from == until ? snprintf(run, sizeof run, "%s%llu", used ? "," : "", from)
				  : snprintf(run, sizeof run, "%s%llu:%llu", used ? "," : "", from,
					     until);
		if (used + (size_t)n > IMAP_SURVEY_SET_BYTES_MAX)
			break;
		buffer_add_text(to, run);
		used += (size_t)n;
	}
	return used > 0;
}
