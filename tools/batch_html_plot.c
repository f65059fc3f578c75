/* The plots of a batch's page: inline SVG that needs no script and says in words what it shows. */
#include <stdio.h>

#include "tools/batch_html.h"
#include "tools/series.h"

/* In units of the view box. The plot's own field stands between the margins. */
enum {
	WIDTH = 560,
	HEIGHT = 200,
	LEFT = 72,
	RIGHT = 12,
	TOP = 10,
	BOTTOM = 24,
	FIELD_WIDTH = WIDTH - LEFT - RIGHT,
	FIELD_HEIGHT = HEIGHT - TOP - BOTTOM,
	LABEL_BYTES = UNITS_TEXT_BYTES + 8,
};

typedef char *label_of(char to[LABEL_BYTES], double value);

static char *label_number(char to[LABEL_BYTES], double value)
{
	if (value >= 100)
		return batch_report_number(to, (uint64_t)(value + 0.5));
	snprintf(to, LABEL_BYTES, "%.3g", value);
	return to;
}

static char *label_bytes(char to[LABEL_BYTES], double value)
{
	char bytes[UNITS_TEXT_BYTES];

	snprintf(to, LABEL_BYTES, "%s/s", units_bytes(bytes, (uint64_t)value));
	return to;
}

static char *label_share(char to[LABEL_BYTES], double value)
{
	snprintf(to, LABEL_BYTES, "%.3g %%", value * 100);
	return to;
}

/* ---- axes ---- */

/* The smallest 1, 2 or 5 times a power of ten that cuts `top` into at most four. */
static double nice_step(double top)
{
	static const double steps[] = { 1, 2, 5 };
	double power = 1e-3;

	for (unsigned i = 0; i < 3 * 24; i++) {
		if (top / (steps[i % 3] * power) <= 4)
			return steps[i % 3] * power;
		power *= i % 3 == 2 ? 10 : 1;
	}
	return top;
}

static double nice_seconds(double end)
{
	static const double steps[] = { 0.1, 0.5, 1,	2,    5,    10,	   30,	  60,	 120,  300,
					600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400 };

	for (size_t i = 0; i < ARRAY_COUNT(steps); i++)
		if (end / steps[i] <= 6)
			return steps[i];
	return nice_step(end / 86400) * 86400;
}

/* In a plot that ends at `end`: minutes for an hour or two, hours beyond. */
static char *label_seconds(char to[LABEL_BYTES], double value, double step, double end)
{
	long long whole = (long long)(value + 0.05);

	if (step < 1)
		snprintf(to, LABEL_BYTES, "%.1f s", value);
	else if (step < 60)
		snprintf(to, LABEL_BYTES, "%lld:%02lld", whole / 60, whole % 60);
	else if (end < 7200)
		snprintf(to, LABEL_BYTES, "%lld min", whole / 60);
	else if (step < 3600)
		snprintf(to, LABEL_BYTES, "%lld:%02lld h", whole / 3600, whole / 60 % 60);
	else
		snprintf(to, LABEL_BYTES, "%lld h", whole / 3600);
	return to;
}

static double y_of(double value, double top)
{
	return TOP + FIELD_HEIGHT * (1 - value / top);
}

/* Lines across the field with their values; returns the value at the field's top. */
static double draw_values(double peak, label_of *label, double least_step, FILE *to)
{
	char text[LABEL_BYTES];
	double step = nice_step(peak > 0 ? peak : 1), top;
	unsigned lines;

	if (step < least_step)
		step = least_step;
	lines = (unsigned)(peak / step);
	lines += (double)lines * step < peak || !lines;
	top = step * lines;
	for (unsigned i = 0; i <= lines; i++) {
		double y = y_of(step * i, top);

		fprintf(to,
			"<path class=grid d=\"M%d %.1fH%d\"/><text x=%d y=%.1f "
			"text-anchor=end>%s</text>\n",
			LEFT, y, WIDTH - RIGHT, LEFT - 8, y + 4, label(text, step * i));
	}
	return top;
}

static void draw_time(double end, FILE *to)
{
	char text[LABEL_BYTES];
	double step = nice_seconds(end);

	for (unsigned i = 0; i <= 8 && step * i <= end; i++)
		fprintf(to, "<text x=%.1f y=%d text-anchor=%s>%s</text>\n",
			LEFT + FIELD_WIDTH * step * i / end, HEIGHT - 6,
			step * i > end * 0.95 ? "end"
			: i		      ? "middle"
					      : "start",
			label_seconds(text, step * i, step, end));
}

static void begin_figure(const char *title, const char *words, FILE *to)
{
	fprintf(to,
		"<figure><figcaption>%s <span>%s</span></figcaption>"
		"<svg viewBox=\"0 0 %d %d\" role=img><title>%s</title><desc>%s</desc>\n",
		title, words, WIDTH, HEIGHT, title, words);
}

/* ---- over time ---- */

struct curve {
	const char *title;
	size_t value_at; /* offset of a double in struct series_point */
	label_of *label;
	double least_step;
};

static const struct curve curves[] = {
	{ "Messages per second", offsetof(struct series_point, messages_per_second), label_number,
	  0 },
	{ "Bytes per second", offsetof(struct series_point, bytes_per_second), label_bytes, 1 },
	{ "Mailboxes running", offsetof(struct series_point, running), label_number, 1 },
	{ "Throttled share of the time", offsetof(struct series_point, throttled_share),
	  label_share, 0.01 },
};

static double value_of(const struct curve *curve, const struct series_point *point)
{
	return *(const double *)(const void *)((const char *)point + curve->value_at);
}

static double peak_of(const struct curve *curve, const struct series *series, double *mean)
{
	double peak = 0, sum = 0, time = 0;

	for (unsigned i = 0; i < series_points(series); i++) {
		struct series_point point = series_point(series, i);
		double value = value_of(curve, &point);

		peak = value > peak ? value : peak;
		sum += value * point.seconds;
		time += point.seconds;
	}
	*mean = time > 0 ? sum / time : 0;
	return peak;
}

/* A value holds for its whole span, so the curve goes through the middle of each, and level at both
 * ends. */
static void draw_path(const struct curve *curve, const struct series *series, double end,
		      double top, bool area, FILE *to)
{
	unsigned count = series_points(series);
	struct series_point first = series_point(series, 0), last = series_point(series, count - 1);

	fprintf(to, "<path class=%s d=\"M%d %.1f", area ? "area" : "curve", LEFT,
		area ? y_of(0, top) : y_of(value_of(curve, &first), top));
	if (area)
		fprintf(to, "V%.1f", y_of(value_of(curve, &first), top));
	for (unsigned i = 0; i < count; i++) {
		struct series_point point = series_point(series, i);

		fprintf(to, "L%.1f %.1f", LEFT + FIELD_WIDTH * (point.at - point.seconds / 2) / end,
			y_of(value_of(curve, &point), top));
	}
	fprintf(to, "L%d %.1f", WIDTH - RIGHT, y_of(value_of(curve, &last), top));
	if (area)
		fprintf(to, "V%.1fZ", y_of(0, top));
	fputs("\"/>\n", to);
}

static void draw_curve(const struct curve *curve, const struct series *series, FILE *to)
{
	unsigned count = series_points(series);
	double end = series_point(series, count - 1).at, mean, top;
	double peak = peak_of(curve, series, &mean);
	char words[2 * LABEL_BYTES + 32], high[LABEL_BYTES], middle[LABEL_BYTES];

	snprintf(words, sizeof words, "%s on average, %s at most", curve->label(middle, mean),
		 curve->label(high, peak));
	begin_figure(curve->title, words, to);
	top = draw_values(peak, curve->label, curve->least_step, to);
	draw_time(end, to);
	draw_path(curve, series, end, top, true, to);
	draw_path(curve, series, end, top, false, to);
	fputs("</svg></figure>\n", to);
}

/* ---- histograms ---- */

struct histogram {
	const char *title, *of;
	double (*value)(const struct batch_mailbox *);
	double below[11]; /* ends of all columns but the last */
	const char *ends[11];
};

static double duration_of(const struct batch_mailbox *mailbox)
{
	return (double)mailbox->duration / (double)NSEC_SECOND;
}

static double size_of(const struct batch_mailbox *mailbox)
{
	return (double)max_u64(mailbox->bytes_known, mailbox->bytes_moved);
}

static const struct histogram histograms[] = {
	{ "How long mailboxes took",
	  "took",
	  duration_of,
	  { 1, 3, 10, 30, 60, 180, 600, 1800, 3600, 10800, 36000 },
	  { "1s", "3s", "10s", "30s", "1min", "3min", "10min", "30min", "1h", "3h", "10h" } },
	{ "How large mailboxes are",
	  "are",
	  size_of,
	  { 1e5, 1e6, 3e6, 1e7, 3e7, 1e8, 3e8, 1e9, 3e9, 1e10, 3e10 },
	  { "100kB", "1MB", "3MB", "10MB", "30MB", "100MB", "300MB", "1GB", "3GB", "10GB",
	    "30GB" } },
};

enum { COLUMNS = ARRAY_COUNT(histograms[0].below) + 1 };

static uint64_t count_columns(const struct histogram *histogram, const struct batch_report *report,
			      uint64_t columns[COLUMNS])
{
	struct batch_mailbox mailbox;
	uint64_t total = 0;

	for (size_t i = 0; i < report->rows.count; i++) {
		unsigned column = 0;

		if (!report->rows.next(report->rows.context, i, &mailbox) || !mailbox.duration)
			continue; /* it did not run in this run */
		while (column < COLUMNS - 1 &&
		       histogram->value(&mailbox) >= histogram->below[column])
			column++;
		columns[column]++;
		total++;
	}
	return total;
}

/* One column, told in words to whoever points at it. Its end stands below its right edge. */
static void draw_column(const struct histogram *histogram, unsigned i, uint64_t count, double top,
			FILE *to)
{
	double width = (double)FIELD_WIDTH / COLUMNS, x = LEFT + width * i;
	double y = y_of((double)count, top);
	bool last = i == COLUMNS - 1;

	fprintf(to,
		"<rect class=column x=%.1f y=%.1f width=%.1f height=%.1f rx=2><title>%llu "
		"mailbox%s %s %s %s</title></rect>\n",
		x + 1.5, y, width - 3, y_of(0, top) - y, (unsigned long long)count,
		count == 1 ? "" : "es", histogram->of, last ? "at least" : "less than",
		histogram->ends[last ? i - 1 : i]);
	if (!last)
		fprintf(to, "<text class=ends x=%.1f y=%d text-anchor=middle>%s</text>\n",
			x + width, HEIGHT - 6, histogram->ends[i]);
}

static void draw_histogram(const struct histogram *histogram, const struct batch_report *report,
			   FILE *to)
{
	uint64_t columns[COLUMNS] = { 0 }, peak = 0;
	uint64_t total = count_columns(histogram, report, columns);
	char words[96], number[UNITS_TEXT_BYTES];
	double top;

	for (unsigned i = 0; i < COLUMNS; i++)
		peak = max_u64(peak, columns[i]);
	snprintf(words, sizeof words, "%s mailbox%s that ran", batch_report_number(number, total),
		 total == 1 ? "" : "es");
	begin_figure(histogram->title, words, to);
	top = draw_values((double)peak, label_number, 1, to);
	for (unsigned i = 0; i < COLUMNS; i++)
		draw_column(histogram, i, columns[i], top, to);
	fputs("</svg></figure>\n", to);
}

void batch_html_plots(const struct batch_report *report, FILE *to)
{
	fputs("<h2>Over time and by size</h2>\n<div class=plots>\n", to);
	if (report->series && series_points(report->series))
		for (size_t i = 0; i < ARRAY_COUNT(curves); i++)
			draw_curve(&curves[i], report->series, to);
	for (size_t i = 0; i < ARRAY_COUNT(histograms); i++)
		draw_histogram(&histograms[i], report, to);
	fputs("</div>\n", to);
}
