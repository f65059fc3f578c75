/* The texts of a window as numbers. Private to engine/window*.c; what the texts mean stands in
 * window.h. */
#ifndef MAILHAUL_WINDOW_PARSE_H
#define MAILHAUL_WINDOW_PARSE_H

#include "engine/err.h"

enum {
	/* Two an hour of the day, one beginning and one in reserve: nobody writes more by hand. */
	WINDOW_SPANS_MAX = 48,
	/* Every day of a year by itself, and some. */
	WINDOW_DATES_MAX = 400,

	WINDOW_UNRATED = 1,
};

/* From begin_s to end_s after the midnight each of its days begins with. */
struct window_span {
	int32_t begin_s, end_s;	   /* begin < end; past 24 hours: over midnight */
	uint8_t days;		   /* bit 0: Monday */
	uint64_t bytes_per_second; /* never 0; WINDOW_UNRATED where rates are no matter */
};
struct window_spans {
	struct window_span at[WINDOW_SPANS_MAX];
	size_t count;
};
/* Days since 1970-01-01, both included. */
struct window_dates {
	struct {
		int32_t first, last;
	} at[WINDOW_DATES_MAX];
	size_t count;
};

/* "mon-fri 22:00-06:00, sat 00:00-24:00 Europe/Berlin"; *zone is borrowed from the text. */
enum err window_parse_spans(const char *, struct window_spans *, struct text *zone) MUST_CHECK;
/* "08:00-18:00 5MB/s, ..." */
enum err window_parse_rates(const char *, struct window_spans *) MUST_CHECK;
/* "2026-12-24, 2026-12-31..2027-01-02" */
enum err window_parse_dates(const char *, struct window_dates *) MUST_CHECK;

#endif
