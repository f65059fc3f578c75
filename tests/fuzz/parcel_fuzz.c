/* The seal of a parcel, as the ledger gives it back, and a folder that holds what the rest of the
 * input says: no record gets a message that another one has. */
#include "transport/parcel.h"

#include <stdlib.h>

#include "tests/fuzz/fuzz.h"

enum { FOUND_MAX = 64 };

static void check_outcomes(const struct parcel_outcome *outcomes, size_t count,
			   const struct parcel_found *found, size_t found_count)
{
	bool taken[FOUND_MAX] = { false };

	for (size_t i = 0; i < found_count; i++)
		taken[found[i].uid] = found[i].settled;
	for (size_t i = 0; i < count; i++) {
		if (outcomes[i].fate == PARCEL_ABSENT)
			continue;
		must(outcomes[i].uid < found_count && !taken[outcomes[i].uid]);
		taken[outcomes[i].uid] = true;
	}
}

FUZZ(parcel)
{
	struct text blob = fuzz_take_part(&input);
	struct parcel_found found[FOUND_MAX] = { { 0 } };
	struct parcel_outcome *outcomes;
	struct buffer again = { 0 };
	struct parcel_seal seal;
	size_t count, found_count = min_u64(input.bytes, FOUND_MAX);

	if (!parcel_seal_read(blob, &seal))
		return;
	parcel_seal_write(&again, &seal);
	must(text_equal((struct text){ again.at, again.bytes }, blob));
	buffer_free(&again);
	count = seal.records.bytes / PARCEL_RECORD_BYTES;
	outcomes = calloc(count + 1, sizeof *outcomes);
	must(outcomes != NULL);
	for (size_t i = 0; i < found_count; i++) {
		struct parcel_record record = { 0 };

		if (count > 0)
			parcel_record_get(seal.records, (uint8_t)input.at[i] % count, &record);
		found[i].uid = (uint32_t)i;
		found[i].digest = input.at[i] & 1 ? record.digest : record.normal;
		found[i].normal = record.normal;
		found[i].settled = input.at[i] >> 6 == 3;
	}
	must(parcel_match(seal.records, NULL, found, found_count, outcomes) <= found_count);
	check_outcomes(outcomes, count, found, found_count);
	free(outcomes);
}
