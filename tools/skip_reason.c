#include "tools/skip_reason.h"

#include <ctype.h>

#include "tools/terminal.h"

/* ---- counts ---- */

static const struct ledger_reason *next_reason(const struct ledger_reason *reasons, unsigned i)
{
	return i < LEDGER_REASONS_MAX && reasons[i].messages ? &reasons[i] : NULL;
}

/* More kinds than there is room for are left out: the sum of all is told elsewhere. */
void skip_reasons_add(struct ledger_reason *sum, const struct ledger_reason *more)
{
	const struct ledger_reason *reason;
	unsigned at;

	for (unsigned i = 0; (reason = next_reason(more, i)); i++) {
		for (at = 0; next_reason(sum, at) && strcmp(sum[at].name, reason->name) != 0;)
			at++;
		if (at == LEDGER_REASONS_MAX)
			continue;
		sum[at].messages += reason->messages;
		snprintf(sum[at].name, sizeof sum[at].name, "%s", reason->name);
	}
}

void skip_reasons_text(const struct ledger_reason *reasons, const char *label, FILE *to)
{
	char shown[2 * LEDGER_REASON_NAME_BYTES];
	const struct ledger_reason *reason;

	for (unsigned i = 0; (reason = next_reason(reasons, i)); i++)
		fprintf(to, "%s%llu %s", i ? ", " : label, (unsigned long long)reason->messages,
			terminal_text(shown, sizeof shown, reason->name));
	if (next_reason(reasons, 0))
		fputs("; --retry-skipped REASON asks for them again\n", to);
}

void skip_reasons_json(const struct ledger_reason *reasons, struct json_out *json)
{
	const struct ledger_reason *reason;

	json_object_begin(json, "skipped_reasons");
	for (unsigned i = 0; (reason = next_reason(reasons, i)); i++)
		json_number(json, reason->name, reason->messages);
	json_object_end(json);
}

/* ---- REASON ---- */

static char letter(char c)
{
	return c == '-' || c == ' ' ? '_' : (char)toupper((unsigned char)c);
}

static bool is_same(const char *left, const char *right)
{
	while (*left && letter(*left) == letter(*right)) {
		left++;
		right++;
	}
	return !*left && !*right;
}

/* What this version may skip a message for. */
static bool skips_messages(enum err e)
{
	return err_retry_class(e) == RETRY_SKIP_MSG;
}

static void add_mailbox(void *context, const struct ledger_status_mailbox *mailbox)
{
	skip_reasons_add(context, mailbox->totals.skipped_for);
}

static enum err refuse(const char *given, const struct ledger_reason *there)
{
	char names[300] = "", shown[80];
	size_t used = 0;

	for (unsigned i = 0; next_reason(there, i) && used < sizeof names; i++)
		used += (size_t)snprintf(names + used, sizeof names - used, ", %s", there[i].name);
	for (unsigned e = OK + 1; !next_reason(there, 0) && e < ERR_COUNT; e++)
		if (skips_messages((enum err)e) && used < sizeof names)
			used += (size_t)snprintf(names + used, sizeof names - used, ", %s",
						 err_name((enum err)e));
	return RAISE(ERR_INPUT_USAGE,
		     "--retry-skipped takes a reason for which messages %s skipped (%s), or all, "
		     "not \"%s\"",
		     next_reason(there, 0) ? "were" : "may be", names + 2,
		     err_quote(shown, sizeof shown, text_of(given)));
}

enum err skip_reason_parse(const char *given, const char *state, char to[LEDGER_REASON_NAME_BYTES])
{
	struct ledger_reason there[LEDGER_REASONS_MAX] = { 0 };
	const char *name = NULL;

	if (!given || is_same(given, LEDGER_ANY_REASON))
		name = given ? LEDGER_ANY_REASON : "";
	for (unsigned e = OK + 1; !name && e < ERR_COUNT; e++)
		if (skips_messages((enum err)e) && (is_same(given, err_name((enum err)e)) ||
						    is_same(given, err_text((enum err)e))))
			name = err_name((enum err)e);
	if (!name && ledger_status(state, add_mailbox, NULL, there))
		err_note_clear(); /* no ledger, or a broken one: the run itself says so */
	for (unsigned i = 0; !name && next_reason(there, i); i++)
		if (is_same(given, there[i].name))
			name = there[i].name;
	if (!name)
		return refuse(given, there);
	snprintf(to, LEDGER_REASON_NAME_BYTES, "%.*s", LEDGER_REASON_NAME_BYTES - 1, name);
	return OK;
}
