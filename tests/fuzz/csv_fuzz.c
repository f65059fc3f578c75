/* Lists of mailboxes: the records, which must not depend on the pieces they are read in, and the
 * whole list in whatever dialect it is, with its passwords read again from where they stand. The
 * first byte chooses pieces and what the job says beside it. */
#include "tools/csv.h"

#include <stdlib.h>

#include "crypto/secret.h"
#include "tests/fuzz/fuzz.h"
#include "tools/mailbox_csv.h"
#include "tools/mailbox_secret.h"

static uint64_t hash_record(uint64_t hash, struct csv_record *record, struct text input)
{
	for (size_t i = 0; i < record->count; i++) {
		const struct csv_field *field = &record->fields[i];

		/* The place it names in the file is where it is. */
		must(field->offset + field->raw_bytes <= input.bytes);
		must(memcmp(input.at + field->offset, field->at, field->raw_bytes) == 0);
	}
	csv_decode(record);
	hash = fuzz_hash(hash, &record->line, sizeof record->line);
	for (size_t i = 0; i < record->count; i++) {
		hash = fuzz_hash(hash, record->fields[i].at, record->fields[i].bytes);
		hash = fuzz_hash(hash, "|", 1);
		must(csv_trimmed(&record->fields[i]).bytes <= record->fields[i].bytes);
	}
	return hash;
}

static uint64_t read_records(struct text input, size_t step)
{
	static struct csv_record record;
	struct csv csv = { .delimiter = ',', .quotes = true, .line = 1 };
	size_t from = 0, filled = min_u64(step, input.bytes), used;
	char *copy = fuzz_string(input);
	enum csv_result result;
	uint64_t hash = 0;

	while ((result = csv_next(&csv, copy + from, filled - from, filled == input.bytes, &record,
				  &used)) != CSV_END) {
		must(used <= filled - from);
		must(result != CSV_MORE || filled < input.bytes);
		from += used;
		if (result == CSV_MORE)
			filled = min_u64(filled + step, input.bytes);
		else if (result == CSV_FAULT)
			hash = fuzz_hash(hash, &csv.fault_line, sizeof csv.fault_line);
		else
			hash = hash_record(hash, &record, input);
	}
	free(copy);
	return hash;
}

static void told(void *context, const struct job_fault *fault)
{
	must(fault->text && fault->key && fault->file);
	*(unsigned *)context += !fault->warning;
}

static void check_rows(const struct mailbox_csv *list)
{
	for (size_t i = 0; i < list->count; i++) {
		const struct mailbox_row *row = &list->rows[i];
		struct secret *secret = NULL;

		must(row->source[0] && row->account[0] && row->line > 0);
		if (row->source_secret.kind == SECRET_REF_CSV)
			must(mailbox_secret_read(&row->source_secret, &secret) == OK);
		secret_close(&secret);
	}
}

FUZZ(csv)
{
	unsigned how = fuzz_take_byte(&input), faults = 0;
	struct mailbox_csv_defaults defaults = { .source = how & 1 ? "imaps://old.example/" : "",
						 .target_given = how & 2 };
	struct mailbox_csv *list = NULL;
	enum err e;

	must(read_records(input, input.bytes) == read_records(input, 1 + how / 4));
	e = mailbox_csv_read(fuzz_file(0, input), &defaults, told, &faults, &list);
	must((e == OK) == (list != NULL));
	must((e == ERR_INPUT_FILE) == (faults > 0));
	if (list)
		check_rows(list);
	mailbox_csv_close(&list);
}
