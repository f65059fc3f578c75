/* The seal that the ledger gives back: what is read says the same when it is written again. One of
 * the first version comes back with the mark that its records had not got. */
#include "transport/seal.h"

#include "tests/fuzz/fuzz.h"

static void records_again(const struct seal *seal, struct buffer *to)
{
	struct seal_record record;

	for (size_t i = 0; i < seal->records.bytes / seal->record_bytes; i++) {
		seal_record_get(seal->records, seal->record_bytes, i, &record);
		must(seal->record_bytes == SEAL_RECORD_BYTES || record.mark == 0);
		seal_record_add(to, &record);
		must(memcmp(to->at + i * SEAL_RECORD_BYTES,
			    seal->records.at + i * seal->record_bytes, SEAL_RECORD_BYTES_1) == 0);
	}
	must(!to->failed);
}

FUZZ(seal)
{
	struct buffer again = { 0 }, records = { 0 };
	struct seal seal, read;

	if (!seal_read(input, &seal))
		return;
	must(seal.record_bytes == SEAL_RECORD_BYTES || seal.record_bytes == SEAL_RECORD_BYTES_1);
	must(seal.records.bytes % seal.record_bytes == 0);
	records_again(&seal, &records);
	if (seal.record_bytes == SEAL_RECORD_BYTES)
		must(text_equal((struct text){ records.at, records.bytes }, seal.records));
	seal.records = (struct text){ records.at, records.bytes };
	seal_write(&again, &seal);
	must(!again.failed && seal_read((struct text){ again.at, again.bytes }, &read));
	if (seal.record_bytes == SEAL_RECORD_BYTES)
		must(text_equal((struct text){ again.at, again.bytes }, input));
	must(text_equal(read.records, seal.records) && text_equal(read.key, seal.key) &&
	     text_equal(read.index, seal.index) && read.stored_bytes == seal.stored_bytes);
	buffer_free(&again);
	buffer_free(&records);
}
