/* mailhaul providers: what is known of mail providers and servers before any of them was asked. */
#include "transport/provider.h"

#include "engine/clock.h"
#include "tools/commands.h"
#include "tools/json_out.h"
#include "tools/units.h"

struct providers_options {
	bool json;
};

/* ---- text ---- */

static void tell_bytes(const char *what, uint64_t bytes)
{
	char text[UNITS_TEXT_BYTES];

	if (bytes)
		printf("  %-13s %s (%llu bytes)\n", what, units_bytes(text, bytes),
		       (unsigned long long)bytes);
}

static void tell_number(const char *what, unsigned number, const char *of)
{
	if (number)
		printf("  %-13s %u %s\n", what, number, of);
}

static void tell_quirks(const struct provider *row)
{
	bool any = false;

	for (unsigned bit = 1; bit & PROVIDER_QUIRKS_ALL; bit <<= 1) {
		if (!(row->quirks & bit))
			continue;
		printf("%s%s", any ? ", " : "  quirks        ",
		       provider_quirk_name((enum provider_quirk)bit));
		any = true;
	}
	if (any)
		putchar('\n');
}

static void tell_text(const struct provider *row, int64_t wall_s)
{
	char end[160];

	printf("%s\n", row->name);
	if (row->hosts)
		printf("  %-13s %s\n", "hosts", row->hosts);
	if (row->software)
		printf("  %-13s says \"%s\" in ID or greeting\n", "known by", row->software);
	tell_bytes("message", row->message_bytes_max);
	tell_bytes("mailbox", row->quota_bytes);
	tell_number("connections", row->connections_per_account, "of one user");
	tell_number("connections", row->connections_per_address, "of one user from one address");
	tell_number("goes well at", row->messages_per_second, "messages a second");
	tell_bytes("down a day", row->down_bytes_a_day);
	tell_bytes("up a day", row->up_bytes_a_day);
	tell_quirks(row);
	if (row->impersonation)
		printf("  %-13s %s\n", "for others",
		       provider_impersonation_name(row->impersonation));
	if (provider_end_text(row, wall_s, end, sizeof end))
		printf("  %-13s %s\n", "note", end);
}

/* ---- JSON ---- */

/* null stands for "not known". */
static void json_known(struct json_out *json, const char *key, uint64_t value)
{
	if (value)
		json_number(json, key, value);
	else
		json_null(json, key);
}

static void json_words(struct json_out *json, const char *key, const char *words)
{
	json_array_begin(json, key);
	for (const char *at = words; at && *at;) {
		size_t bytes = strcspn(at, " ");

		json_text_bytes(json, NULL, (struct text){ at, bytes });
		at += bytes + strspn(at + bytes, " ");
	}
	json_array_end(json);
}

static void tell_json(struct json_out *json, const struct provider *row, int64_t wall_s)
{
	int days;

	json_object_begin(json, NULL);
	json_text(json, "name", row->name);
	json_words(json, "hosts", row->hosts);
	if (row->software)
		json_text(json, "software", row->software);
	else
		json_null(json, "software");
	json_known(json, "message_bytes_max", row->message_bytes_max);
	json_known(json, "quota_bytes", row->quota_bytes);
	json_known(json, "connections_per_account", row->connections_per_account);
	json_known(json, "connections_per_address", row->connections_per_address);
	json_known(json, "messages_per_second", row->messages_per_second);
	json_known(json, "down_bytes_a_day", row->down_bytes_a_day);
	json_known(json, "up_bytes_a_day", row->up_bytes_a_day);
	json_array_begin(json, "quirks");
	for (unsigned bit = 1; bit & PROVIDER_QUIRKS_ALL; bit <<= 1)
		if (row->quirks & bit)
			json_text(json, NULL, provider_quirk_name((enum provider_quirk)bit));
	json_array_end(json);
	json_text(json, "impersonation", provider_impersonation_name(row->impersonation));
	if (provider_days_left(row, wall_s, &days))
		json_signed(json, "days_left", days);
	else
		json_null(json, "days_left");
	json_object_end(json);
	json_line_end(json);
}

/* ---- the command ---- */

static int providers_main(int count, char *const *words)
{
	struct providers_options values = { 0 };
	struct json_out json = { .file = stdout };
	int64_t wall_s = clock_wall() / NSEC_SECOND;
	const struct provider *row;
	struct opt_words arguments;
	int exit_code;

	if (!command_parse(providers_command.usage, count, words, &values, &arguments, &exit_code))
		return exit_code;
	for (size_t i = 0; (row = provider_row(i)) && provider_is_known(row); i++) {
		if (values.json)
			tell_json(&json, row, wall_s);
		else
			tell_text(row, wall_s);
	}
	return command_finish_output("providers", EXIT_ALL_MOVED);
}

static const struct opt options[] = {
	{ .name = "json",
	  OPT_STORES_FLAG(struct providers_options, json),
	  .help = "One JSON object per provider, one per line; null: not known." },
};

static const struct opt_command usage = {
	.name = "providers",
	.arguments = "",
	.summary = "show what is known of mail providers and servers",
	.about = "Show limits, daily budgets and quirks of the providers and servers that "
		 "mailhaul knows, and how each is recognised. copy and run keep to them; of a "
		 "server that is not listed they learn what it says and what it refuses. What "
		 "they learnt is shown by mailhaul status. No connection is made.\n",
	.options = options,
	.options_count = ARRAY_COUNT(options),
	.examples = "  mailhaul providers\n"
		    "  mailhaul providers --json\n",
};

const struct command providers_command = { &usage, providers_main };
