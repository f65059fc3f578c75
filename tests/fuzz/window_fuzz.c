/* The texts of a window, blackout and bandwidth, and the calendar made of them: wherever one stands
 * in time, the next change lies ahead. */
#include "engine/window.h"

#include <stdlib.h>

#include "tests/fuzz/fuzz.h"

/* Winter, the nights in which Berlin's clock is changed, a leap day, 1970 and 2100. */
static const int64_t moments[] = { 0, 1700000000, 1711846800, 1729990800, 1709200000, 4102444800 };

FUZZ(window)
{
	char *spans = fuzz_string(fuzz_take_part(&input));
	char *blackout = fuzz_string(fuzz_take_part(&input)), *rates = fuzz_string(input);
	char text[WINDOW_TEXT_BYTES];
	struct window *window = NULL;

	if (window_open(spans, blackout, rates, &window) == OK)
		for (unsigned i = 0; i < ARRAY_COUNT(moments); i++) {
			struct window_state state = window_at(window, moments[i]);

			must(state.changes_at_s > moments[i]);
			must(state.bandwidth_changes_at_s > moments[i]);
			must(strlen(window_describe(window, moments[i], text)) < sizeof text);
		}
	else
		must(err_note()->error == ERR_INPUT_USAGE);
	window_close(&window);
	free(spans);
	free(blackout);
	free(rates);
}
