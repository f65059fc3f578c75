/* The seal that the ledger gives back: what is read says the same when it is written again. */
#include "transport/seal.h"

#include "tests/fuzz/fuzz.h"

FUZZ(seal)
{
	struct buffer again = { 0 }, records = { 0 };
	struct seal_record record;
	struct seal seal;

	if (!seal_read(input, &seal))
		return;
	for (size_t i = 0; i < seal.records.bytes / SEAL_RECORD_BYTES; i++) {
		seal_record_get(seal.records, i, &record);
		seal_record_add(&records, &record);
	}
	must(records.bytes == seal.records.bytes);
	must(!records.bytes || memcmp(records.at, seal.records.at, records.bytes) == 0);
	seal_write(&again, &seal);
	must(text_equal((struct text){ again.at, again.bytes }, input));
	buffer_free(&again);
	buffer_free(&records);
}
