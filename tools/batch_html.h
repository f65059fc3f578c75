/* The report of a batch as one page that needs nothing else: opens offline, says who may run what
 * (a Content-Security-Policy with hashes), draws its plots as inline SVG, and is complete without
 * the few lines of script that sort its table. Mailboxes that need attention come first; past
 * BATCH_HTML_ROWS_MAX rows the page refers to the CSV. */
#ifndef MAILHAUL_TOOLS_BATCH_HTML_H
#define MAILHAUL_TOOLS_BATCH_HTML_H

#include "tools/batch_report.h"

enum { BATCH_HTML_ROWS_MAX = 2000 };

/* A batch_report_writer. */
void batch_html(const struct batch_report *, FILE *);

/* Text of anybody as page text: markup escaped, control characters and what turns the writing
 * direction replaced, cut at some hundred characters. */
void batch_html_text(FILE *, const char *);

/* ---- plots: batch_html_plot.c ---- */

/* The plots over time, then the histograms. */
void batch_html_plots(const struct batch_report *, FILE *);

/* ---- batch_html_style.c ---- */

extern const char batch_html_style[], batch_html_script[];
/* ---- batch_html_paths.c ---- */

/* A table of the ways to hosts, where there were any. */
void batch_html_paths(const struct batch_report *, FILE *);

#endif
