/* See gmail.h. */
#include "tools/gmail.h"

const char *const gmail_rules[] = { "first", "every", "folders", NULL };

enum err gmail_open(const struct gmail_options *options, struct labels **out)
{
	enum gmail_rule rule;

	must(gmail_rule_from_name(text_of(options->labels), &rule));
	return gmail_labels_open(rule, options->keywords, out);
}
