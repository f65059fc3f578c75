/* The only place that acts on an error's retry class: how often, how long to wait. */
#ifndef MAILHAUL_RETRY_H
#define MAILHAUL_RETRY_H

#include "engine/err.h"

/* Attempts of one kind of work. Zero-initialised is fresh. */
struct retry {
	unsigned failures;	   /* since the last progress */
	bool backoff_is_elsewhere; /* somebody else knows when to come back (engine/batch): errors
				    * of class BACKOFF are not tried again here */
};
void retry_progress(struct retry *); /* something was settled: start counting anew */
/* After `e`: true and the absolute time to try again (full jitter, 0.5 s doubling to 60 s for
 * BACKOFF, a tenth of that for RECONNECT and NOW); false when it is not to be tried again (class,
 * or 8 failures without progress). */
bool retry_again(struct retry *, enum err e, nsec *at);

#endif
