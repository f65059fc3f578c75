/* Selection sampling: a message is taken with the probability (still wanted) / (still to come), so
 * exactly as many are taken as are wanted, each with the same chance, in one pass and in no memory.
 */
#include "engine/sample.h"

bool sample_parse(const char *text, uint32_t *per_million)
{
	uint64_t parts = 0, worth = SAMPLE_ALL / 100;
	bool digits = false, fraction = false;

	for (; *text && *text != '%'; text++) {
		if (*text == '.' && digits && !fraction) {
			fraction = true;
			continue;
		}
		if (*text < '0' || *text > '9' || (fraction && worth == 1))
			return false;
		digits = true;
		if (fraction)
			parts += (uint64_t)(*text - '0') * (worth /= 10);
		else
			parts = 10 * parts + (uint64_t)(*text - '0') * worth;
		if (parts > SAMPLE_ALL)
			return false;
	}
	*per_million = (uint32_t)parts;
	return digits && parts > 0 && text[0] == '%' && !text[1];
}

/* Each bit of the argument changes half of the result's: multiplication and the shifts between
 * carry it up and down. */
static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 31) * 0x9fb21c651e98df25u;
	x = (x ^ x >> 28) * 0xd6e8feb86659fd93u;
	return x ^ x >> 32;
}

/* Below `bound`: uneven by less than bound / 2^64. */
static uint64_t dice(struct sample_class *class, uint64_t bound)
{
	class->dice = mix(class->dice + 0x632be59bd9b4e019u);
	return (uint64_t)((unsigned __int128)class->dice * bound >> 64);
}

static struct sample_class *class_of(struct sample *sample, uint64_t size_bytes)
{
	return &sample->classes[size_bytes ? 64 - __builtin_clzll(size_bytes) : 0];
}

void sample_begin(struct sample *sample, uint64_t seed, uint64_t box_no)
{
	*sample = (struct sample){ .seed = mix(seed) ^ mix(box_no + 1) };
}

void sample_count(struct sample *sample, uint64_t size_bytes)
{
	class_of(sample, size_bytes)->there++;
}

void sample_draw(struct sample *sample, uint32_t per_million)
{
	must(per_million > 0 && per_million <= SAMPLE_ALL);
	for (unsigned i = 0; i < SAMPLE_CLASSES; i++) {
		struct sample_class *class = &sample->classes[i];

		must(class->there < (uint64_t)1 << 40);
		class->left = class->there;
		class->wanted = (class->there * per_million + SAMPLE_ALL - 1) / SAMPLE_ALL;
		class->dice = sample->seed + i;
	}
}

bool sample_takes(struct sample *sample, uint64_t size_bytes)
{
	struct sample_class *class = class_of(sample, size_bytes);

	if (!class->left)
		return false;
	if (dice(class, class->left--) >= class->wanted)
		return false;
	class->wanted--;
	return true;
}
