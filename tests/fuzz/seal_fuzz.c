/* The seal that the ledger gives back: what is read says the same when it is written again. */
#include "transport/seal.h"

#include "tests/fuzz/fuzz.h"

FUZZ(seal)
{
	struct buffer again = { 0 }, records = { 0 };
	struct seal_record record;
	struct seal seal;
	bool is_newest;

	if (!seal_read(input, &seal))
		return;
	is_newest = seal.record_bytes == SEAL_RECORD_BYTES;
	for (size_t i = 0; i < seal.records.bytes / seal.record_bytes; i++) {
		seal_record_get(seal.records, seal.record_bytes, i, &record);
		seal_record_add(&records, &record);
	}
	if (is_newest) {
		must(records.bytes == seal.records.bytes);
		must(!records.bytes || memcmp(records.at, seal.records.at, records.bytes) == 0);
	}
	seal.records = (struct text){ records.at, records.bytes };
	seal_write(&again, &seal);
	must(!is_newest || text_equal((struct text){ again.at, again.bytes }, input));
	must(seal_read((struct text){ again.at, again.bytes }, &seal));
	must(seal.records.bytes == records.bytes);
	buffer_free(&again);
	buffer_free(&records);
}
