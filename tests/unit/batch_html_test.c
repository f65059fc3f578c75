/* The page of a batch as text: escaped, bounded, and as its Content-Security-Policy says. How a
 * browser takes it: tests/cli/html_test, which lets this program write its samples into the folder
 * named by MAILHAUL_SAMPLES. */
#include "tools/batch_html.h"

#include <math.h>

#include "crypto/digest.h"
#include "tests/test.h"
#include "tests/unit/batch_rows.h"
#include "tools/series.h"

static struct batch_counts counts, at_the_time;
static struct series series;

/* A night: slow at first, throttled for an hour, slower towards its end. */
static void make_series(const struct batch_counts *whole)
{
	static const struct series empty;
	double messages = 0, bytes = 0;

	series = empty;
	at_the_time = *whole;
	at_the_time.throttled = at_the_time.ran = 0;
	for (unsigned i = 1; i <= 1500; i++) {
		double wave = 1 + 0.2 * sin(i / 40.0) + 0.1 * sin(i / 3.0);
		double speed = fmin(i / 100.0, 1) * wave * (i > 600 && i < 800 ? 0.3 : 1);

		messages += speed;
		bytes += speed * (1 + 0.4 * sin(i / 90.0));
		at_the_time.elapsed = whole->elapsed / 1500 * i;
		at_the_time.mailboxes[BATCH_RUNNING] =
			i < 1400 ? (uint64_t)fmin(i, 64) : (1500 - i) * 64 / 100;
		at_the_time.messages_moved =
			(uint64_t)(messages * (double)whole->messages_moved / 1300);
		at_the_time.bytes_moved = (uint64_t)(bytes * (double)whole->bytes_moved / 1300);
		at_the_time.ran += (i > 600 && i < 800 ? 20 : 60) * NSEC_SECOND;
		at_the_time.throttled += (i > 600 && i < 800 ? 45 : 1) * NSEC_SECOND;
		series_feed(&series, &at_the_time);
	}
}

static char *page_of(size_t count)
{
	struct batch_report report = made_up_report(count, &counts);

	make_series(&counts);
	report.series = &series;
	return written(&report, batch_html);
}

TEST(no_name_gets_out_of_its_cell)
{
	char *page = page_of(200);

	CHECK_EQ(times(page, "<script>"), 1); /* ours */
	CHECK(!strstr(page, "<b>nights"));
	CHECK(strstr(page,
		     "&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;<wbr>@old.example"));
	free(page);
}

static void hash_of(const char *page, const char *from, const char *to, char *base64)
{
	static const char letters[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *begin = strstr(page, from), *end = begin ? strstr(begin, to) : NULL;
	struct digest digest;
	uint32_t bits = 0, held = 0;
	size_t used = 0;

	must(begin && end);
	begin += strlen(from);
	must(digest_of(digest_type(text_of("sha-256")), begin, (size_t)(end - begin), &digest) ==
	     OK);
	for (size_t i = 0; i < sizeof digest.bytes; i++) {
		bits = bits << 8 | digest.bytes[i];
		for (held += 8; held >= 6; held -= 6)
			base64[used++] = letters[bits >> (held - 6) & 63];
	}
	base64[used++] = letters[bits << (6 - held) & 63]; /* 32 bytes leave four bits */
	base64[used++] = '=';
	base64[used] = '\0';
}

TEST(the_policy_allows_the_page_s_own_style_and_script_and_nothing_else)
{
	char *page = page_of(20), style[48], script[48], policy[300];

	hash_of(page, "<style>", "</style>", style);
	hash_of(page, "<script>", "</script>", script);
	snprintf(policy, sizeof policy,
		 "content=\"default-src 'none'; base-uri 'none'; form-action 'none'; style-src "
		 "'sha256-%s'; script-src 'sha256-%s'\"",
		 style, script);
	CHECK(strstr(page, policy));
	CHECK(!strstr(page, " style=") && !strstr(page, " onclick="));
	CHECK(!strstr(page, "http://") && !strstr(page, "https://"));
	free(page);
}

TEST(what_needs_attention_comes_first_and_ten_thousand_mailboxes_are_cut)
{
	char *page = page_of(10000), *body, *done, *failed;

	body = strstr(page, "aria-label=Mailboxes");
	REQUIRE(body);
	CHECK_EQ(times(body, "<tr><td class=s>"), BATCH_HTML_ROWS_MAX);
	CHECK(strstr(body, "And 8,000 more: all rows are in the CSV report, "
			   "/var/lib/mailhaul/office-a.csv"));
	done = strstr(body, "</svg>done");
	failed = strstr(body, "</svg>failed");
	REQUIRE(done && failed);
	CHECK(failed < done);
	CHECK(!strstr(done, "</svg>failed") && !strstr(done, "</svg>incomplete"));
	CHECK(strlen(page) < 2 * 1024 * 1024);
	free(page);
}

TEST(every_plot_says_in_words_what_it_shows)
{
	char *page = page_of(300);

	CHECK_EQ(times(page, "<figure>"), 6);
	CHECK_EQ(times(page, "role=img><title>"), 7); /* and the bar of states */
	CHECK_EQ(times(page, "<desc>"), 7);
	CHECK(!strstr(page, "nan") && !strstr(page, "inf\""));
	free(page);
}

TEST(what_was_found_wrapped_and_left_out_has_its_cards)
{
	struct batch_report report = made_up_report(3, &counts);
	char *page = written(&report, batch_html);

	CHECK(!strstr(page, "Not sent") && !strstr(page, "Wrapped") && !strstr(page, "left out"));
	free(page);
	counts.messages_found = 71;
	counts.messages_wrapped = 72;
	counts.messages_left_out = 73;
	counts.folders_left_out = 1;
	page = written(&report, batch_html);
	CHECK(strstr(page, "<dt>Not sent</dt><dd><b>71</b>"));
	CHECK(strstr(page, "<dt>Wrapped messages</dt><dd><b>72</b>"));
	CHECK(strstr(page,
		     "<dt>Messages left out</dt><dd><b>73</b><span>by the filter, and 1 folder<"));
	free(page);
}

TEST(an_empty_batch_and_one_without_samples_are_pages_too)
{
	struct batch_report report = made_up_report(0, &counts);
	char *page;

	page = written(&report, batch_html);
	CHECK(strstr(page, "0 of 0 mailboxes are done"));
	CHECK_EQ(times(page, "<figure>"), 2);
	CHECK(!strstr(page, "nan"));
	CHECK(strstr(page, "</html>"));
	free(page);
	report = made_up_report(1, &counts);
	report.series = &series;
	series = (struct series){ 0 };
	page = written(&report, batch_html);
	CHECK_EQ(times(page, "<figure>"), 2);
	free(page);
}

TEST(samples_for_the_browser_are_written)
{
	static const size_t sizes[] = { 0, 300, 10000 };
	const char *folder = getenv("MAILHAUL_SAMPLES");
	char path[300];

	for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
		struct batch_report report = made_up_report(sizes[i], &counts);

		if (sizes[i]) {
			make_series(&counts);
			report.series = &series;
		}
		snprintf(path, sizeof path, "%s/%zu.html", folder ? folder : test_directory(),
			 sizes[i]);
		CHECK_OK(batch_report_save(&report, path, batch_html));
	}
}
