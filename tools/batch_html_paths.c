/* The page's table of the ways to hosts (tools/paths.h). */
#include "tools/batch_html.h"
#include "tools/paths.h"

static void write_number(uint64_t value, const char *shown, FILE *to)
{
	fprintf(to, "<td class=n data-v=%llu>%s</td>", (unsigned long long)value, shown);
}

/* Nothing where it is not known. */
static void write_time(nsec value, FILE *to)
{
	char shown[UNITS_TEXT_BYTES] = "";

	if (value > 0)
		snprintf(shown, sizeof shown, "%.2f ms", (double)value / (double)NSEC_MILLISECOND);
	write_number((uint64_t)value, shown, to);
}

static void write_speed(uint64_t bytes, nsec active, FILE *to)
{
	char amount[UNITS_TEXT_BYTES], speed[UNITS_TEXT_BYTES], shown[2 * UNITS_TEXT_BYTES + 8];

	snprintf(shown, sizeof shown, "%s (%s/s)", units_bytes(amount, bytes),
		 units_bytes(speed, (uint64_t)units_rate(bytes, active)));
	write_number(bytes, shown, to);
}

static void write_host(const struct paths_host *host, FILE *to)
{
	char shown[UNITS_TEXT_BYTES] = "";

	fputs("<tr><th scope=row>", to);
	batch_html_text(to, host->host);
	fprintf(to, ":%u</th><td>", host->port);
	batch_html_text(to, host->through ? host->through : "");
	fputs("</td>", to);
	write_number(host->connections, batch_report_number(shown, host->connections), to);
	write_time(paths_round_trip(host), to);
	write_time(host->round_trip_least, to);
	shown[0] = '\0';
	if (host->mtu_least)
		snprintf(shown, sizeof shown, "%u", host->mtu_least);
	write_number(host->mtu_least, shown, to);
	write_number(host->segments_resent, batch_report_number(shown, host->segments_resent), to);
	write_speed(host->bytes_received, host->active, to);
	write_speed(host->bytes_sent, host->active, to);
	fputs("</tr>\n", to);
}

void batch_html_paths(const struct batch_report *report, FILE *to)
{
	if (!report->paths || !report->paths->count)
		return;
	fputs("<h2>Ways to the servers</h2>\n<div class=scroll><table>\n<thead><tr>"
	      "<th scope=col>Host</th><th scope=col>Through</th>"
	      "<th scope=col class=n>Connections</th><th scope=col class=n>Round trip</th>"
	      "<th scope=col class=n>Least</th><th scope=col class=n>Path MTU</th>"
	      "<th scope=col class=n>Sent again</th><th scope=col class=n>Received</th>"
	      "<th scope=col class=n>Sent</th></tr></thead>\n<tbody>\n",
	      to);
	for (unsigned i = 0; i < report->paths->count; i++)
		write_host(&report->paths->hosts[i], to);
	fputs("</tbody></table></div>\n", to);
}
