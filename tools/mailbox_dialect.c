#include "tools/mailbox_dialect.h"

#include <stdio.h>

#include "engine/bytes.h"

#define SOURCE SIDE_SOURCE
#define TARGET SIDE_TARGET

/* Our own: `batch` and `wave` are the same; either of the two required ones will do, because a URL
 * may hold the user and the job the server. */
static const struct mailbox_column native[] = {
	{ "source", SOURCE, ROLE_URL, true },
	{ "source_user", SOURCE, ROLE_USER, true },
	{ "source_auth", SOURCE, ROLE_AUTH, false },
	{ "dest", TARGET, ROLE_URL, false },
	{ "dest_user", TARGET, ROLE_USER, false },
	{ "dest_auth", TARGET, ROLE_AUTH, false },
	{ "batch", SOURCE, ROLE_WAVE, false },
	{ "wave", SOURCE, ROLE_WAVE, false },
	{ "priority", SOURCE, ROLE_PRIORITY, false },
	{ "connections", SOURCE, ROLE_CONNECTIONS, false },
	{ "folder_rules", SOURCE, ROLE_REFUSED, false },
	{ "since", SOURCE, ROLE_REFUSED, false },
	{ "before", SOURCE, ROLE_REFUSED, false },
	{ "max_gb", SOURCE, ROLE_REFUSED, false },
	{ "ticket", SOURCE, ROLE_TICKET, false },
	{ "tags", SOURCE, ROLE_TAGS, false },
};

/* "CSV files for IMAP migration batches" of Microsoft 365: EmailAddress is the mailbox there,
 * UserName and Password open the one here. UserRoot moves a folder only. */
static const struct mailbox_column microsoft[] = {
	{ "EmailAddress", TARGET, ROLE_ADDRESS, true },
	{ "UserName", SOURCE, ROLE_USER, true },
	{ "Password", SOURCE, ROLE_PASSWORD, true },
	{ "UserRoot", SOURCE, ROLE_REFUSED, false },
};

/* BitTitan's Bulk Add: only the two addresses are required. */
static const struct mailbox_column migrationwiz[] = {
	{ "Source Email", SOURCE, ROLE_ADDRESS, true },
	{ "Source Login Name", SOURCE, ROLE_USER, false },
	{ "Source Password", SOURCE, ROLE_PASSWORD, false },
	{ "Destination Email", TARGET, ROLE_ADDRESS, true },
	{ "Destination Login Name", TARGET, ROLE_USER, false },
	{ "Destination Password", TARGET, ROLE_PASSWORD, false },
	{ "Flags", SOURCE, ROLE_FLAGS, false },
};

static const struct mailbox_column mailferry[] = {
	{ "srchost", SOURCE, ROLE_HOST, true },
	{ "srcport", SOURCE, ROLE_PORT, false },
	{ "srcsecurity", SOURCE, ROLE_SECURITY, true },
	{ "srcuser", SOURCE, ROLE_USER, true },
	{ "srcpassword", SOURCE, ROLE_PASSWORD, true },
	{ "dsthost", TARGET, ROLE_HOST, false },
	{ "dstport", TARGET, ROLE_PORT, false },
	{ "dstsecurity", TARGET, ROLE_SECURITY, false },
	{ "dstuser", TARGET, ROLE_USER, false },
	{ "dstpassword", TARGET, ROLE_PASSWORD, false },
};

/* examples/file.txt of imapsync: its scripts split at every ';' and know no quotes. What follows
 * the last semicolon is there to keep a CR out of the column before it. */
static const struct mailbox_column imapsync[] = {
	{ "host1", SOURCE, ROLE_HOST, true },
	{ "user1", SOURCE, ROLE_USER, true },
	{ "password1", SOURCE, ROLE_PASSWORD, true },
	{ "host2", TARGET, ROLE_HOST, true },
	{ "user2", TARGET, ROLE_USER, true },
	{ "password2", TARGET, ROLE_PASSWORD, true },
	{ "extra options", SOURCE, ROLE_OPTIONS, false },
	{ "fake", SOURCE, ROLE_NOTHING, false },
};

#define COLUMNS(table) .columns = (table), .columns_count = ARRAY_COUNT(table)
static const struct mailbox_dialect dialects[] = {
	{ .name = "native", COLUMNS(native), .own = true },
	{ .name = "Microsoft IMAP", COLUMNS(microsoft) },
	{ .name = "MigrationWiz", COLUMNS(migrationwiz) },
	{ .name = "MailFerry", COLUMNS(mailferry) },
	{ .name = "imapsync", COLUMNS(imapsync), .columns_min = 6, .literal = true },
};
static const struct mailbox_dialect *const imapsync_dialect = &dialects[4];

static const char headers[] =
	"mailhaul's own (source,source_user,source_auth,dest,...), Microsoft's "
	"(EmailAddress,UserName,Password), MigrationWiz's (Source Email,...,Destination "
	"Email,...), MailFerry's (srchost,srcport,...), or imapsync's "
	"(host1;user1;password1;host2;user2;password2; without a header)";

/* Names are compared without regard to case, spaces, '_' and '-': "Source Email" is SourceEmail. */
static int name_character(const char **at, const char *end)
{
	while (*at < end && (**at == ' ' || **at == '_' || **at == '-'))
		(*at)++;
	if (*at == end)
		return 0;
	int c = (unsigned char)*(*at)++;

	return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c;
}

static bool is_named(struct text text, const char *name)
{
	const char *at = text.at, *end = at + text.bytes, *name_end = name + strlen(name);
	int c;

	while ((c = name_character(&at, end)) == name_character(&name, name_end))
		if (!c)
			return true;
	return false;
}

static const struct mailbox_column *column_of(const struct mailbox_dialect *dialect,
					      struct text name)
{
	for (size_t i = 0; i < dialect->columns_count; i++)
		if (is_named(name, dialect->columns[i].name))
			return &dialect->columns[i];
	return NULL;
}

/* How many of a dialect's required columns the record names; *missing is the first it does not. */
static unsigned match(const struct mailbox_dialect *dialect, const struct csv_record *record,
		      const char **missing)
{
	unsigned found = 0;

	*missing = NULL;
	for (size_t i = 0; i < dialect->columns_count; i++) {
		const struct mailbox_column *column = &dialect->columns[i];
		bool here = false;

		for (size_t k = 0; k < record->count && column->required; k++)
			here |= is_named(csv_trimmed(&record->fields[k]), column->name);
		found += here;
		if (column->required && !here && !*missing)
			*missing = column->name;
	}
	if (dialect->own && found)
		*missing = NULL;
	return found;
}

static void assign(struct mailbox_layout *layout, size_t field, const struct mailbox_column *column,
		   uint32_t line, struct mailbox_tell *tell)
{
	uint8_t *at = &layout->at[column->side][column->role];

	/* Several columns may be refused, each for itself. */
	if (*at && column->role != ROLE_REFUSED && column->role != ROLE_NOTHING)
		mailbox_tell_fault(tell, line, column->name,
				   "this column is there twice (columns %u and %zu)", *at,
				   field + 1);
	*at = (uint8_t)(field + 1);
	layout->of[field] = column;
}

static void lay_out_header(struct mailbox_layout *layout, const struct csv_record *record,
			   struct mailbox_tell *tell)
{
	char shown[80];

	layout->fields = record->count;
	for (size_t i = 0; i < record->count; i++) {
		struct text name = csv_trimmed(&record->fields[i]);
		const struct mailbox_column *column = column_of(layout->dialect, name);

		if (column)
			assign(layout, i, column, record->line, tell);
		else if (name.bytes > 0)
			mailbox_tell_warning(tell, record->line, "",
					     "column %zu, \"%s\", means nothing to mailhaul and "
					     "is left out",
					     i + 1, err_quote(shown, sizeof shown, name));
	}
}

static void lay_out_literal(struct mailbox_layout *layout, struct mailbox_tell *tell)
{
	layout->fields = layout->dialect->columns_count;
	for (size_t i = 0; i < layout->fields; i++)
		assign(layout, i, &layout->dialect->columns[i], 0, tell);
}

/* Split the first record at `delimiter`. False if that cannot be done: told once nothing else can.
 */
static bool try_record(const struct csv *csv, char delimiter, bool quotes, char *at, size_t bytes,
		       bool last, struct csv_record *record, struct csv *tried)
{
	size_t used;

	*tried = *csv;
	tried->delimiter = delimiter;
	tried->quotes = quotes;
	return csv_next(tried, at, bytes, last, record, &used) == CSV_RECORD;
}

/* The dialect whose required columns are all there. Otherwise NULL, with the one that most are of.
 */
static const struct mailbox_dialect *find(const struct csv_record *record, unsigned *best,
					  const struct mailbox_dialect **nearest,
					  const char **missing)
{
	for (size_t i = 0; i < ARRAY_COUNT(dialects); i++) {
		const char *lacks;
		unsigned found = match(&dialects[i], record, &lacks);

		if (!lacks)
			return &dialects[i];
		if (found <= *best)
			continue;
		*best = found;
		*nearest = &dialects[i];
		*missing = lacks;
	}
	return NULL;
}

static void tell_unknown(struct mailbox_tell *tell, uint32_t line,
			 const struct mailbox_dialect *nearest, const char *missing)
{
	if (nearest)
		mailbox_tell_fault(tell, line, missing,
				   "this looks like a list of the %s kind, but it has no column of "
				   "this name",
				   nearest->name);
	else
		mailbox_tell_fault(tell, line, "",
				   "the first line is no header that mailhaul knows; it must be %s",
				   headers);
}

bool mailbox_dialect_find(struct csv *csv, char *at, size_t bytes, bool last,
			  struct csv_record *record, struct mailbox_tell *tell,
			  struct mailbox_layout *layout, bool *header)
{
	static const char delimiters[] = { ',', ';', '\t' };
	const struct mailbox_dialect *nearest = NULL;
	const char *missing = NULL;
	unsigned best = 0;
	struct csv tried;

	*layout = (struct mailbox_layout){ 0 };
	for (size_t i = 0; i < ARRAY_COUNT(delimiters) && !layout->dialect; i++)
		if (try_record(csv, delimiters[i], true, at, bytes, last, record, &tried))
			layout->dialect = find(record, &best, &nearest, &missing);
	*header = layout->dialect != NULL;
	if (layout->dialect) {
		lay_out_header(layout, record, tell);
		tried.quotes = !layout->dialect->literal;
	} else if (!nearest && try_record(csv, ';', false, at, bytes, last, record, &tried) &&
		   record->count >= imapsync_dialect->columns_min) {
		layout->dialect = imapsync_dialect;
		lay_out_literal(layout, tell);
	} else if (tried.fault) {
		mailbox_tell_fault(tell, tried.fault_line, "", "column %u: %s", tried.fault_column,
				   tried.fault);
	} else {
		tell_unknown(tell, record->line, nearest, missing);
	}
	csv->delimiter = tried.delimiter;
	csv->quotes = tried.quotes;
	return layout->dialect != NULL;
}
