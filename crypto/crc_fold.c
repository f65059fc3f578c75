/* Folding with the instructions of this machine. See crc_fold.h. */
#include "crypto/crc_fold.h"

/* A lane is 16 bytes of the message. */
#if defined __x86_64__
#include <immintrin.h>

#define NARROW __attribute__((target("pclmul,sse4.1")))
#define WIDE   __attribute__((target("pclmul,sse4.1,avx512f,vpclmulqdq")))
typedef __m128i lane;

NARROW static inline lane lane_load(const void *from)
{
	return _mm_loadu_si128(from);
}

NARROW static inline lane lane_of(uint64_t first)
{
	return _mm_cvtsi64_si128((long long)first);
}

NARROW static inline lane lane_add(lane a, lane b)
{
	return _mm_xor_si128(a, b);
}

NARROW static inline lane lane_fold(lane moved, lane by, lane onto)
{
	return lane_add(lane_add(_mm_clmulepi64_si128(moved, by, 0x00),
				 _mm_clmulepi64_si128(moved, by, 0x11)),
			onto);
}

enum crc_way crc_best_way(void)
{
	if (!__builtin_cpu_supports("pclmul") || !__builtin_cpu_supports("sse4.1"))
		return CRC_TABLE;
	return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("vpclmulqdq")
		       ? CRC_WIDE
		       : CRC_NARROW;
}

#else /* aarch64: engine/fiber_switch.S knows no other machine */
#include <arm_neon.h>
#include <sys/auxv.h>

#ifdef __clang__
#define NARROW __attribute__((target("aes")))
#else
#define NARROW __attribute__((target("+crypto")))
#endif
typedef uint64x2_t lane;

NARROW static inline lane lane_load(const void *from)
{
	return vreinterpretq_u64_u8(vld1q_u8(from));
}

NARROW static inline lane lane_of(uint64_t first)
{
	return vcombine_u64(vcreate_u64(first), vcreate_u64(0));
}

NARROW static inline lane lane_add(lane a, lane b)
{
	return veorq_u64(a, b);
}

NARROW static inline lane lane_fold(lane moved, lane by, lane onto)
{
	poly128_t first =
		vmull_p64((poly64_t)vgetq_lane_u64(moved, 0), (poly64_t)vgetq_lane_u64(by, 0));
	poly128_t second = vmull_high_p64(vreinterpretq_p64_u64(moved), vreinterpretq_p64_u64(by));

	return lane_add(lane_add(vreinterpretq_u64_p128(first), vreinterpretq_u64_p128(second)),
			onto);
}

enum crc_way crc_best_way(void)
{
	return getauxval(AT_HWCAP) & HWCAP_PMULL ? CRC_NARROW : CRC_TABLE;
}
#endif

enum { LANE_BYTES = 16, LANES_BYTES = 4 * LANE_BYTES };

/* Four, so that a multiplication need not wait for the one before it. With names, not in an array:
 * compilers would keep that in memory. */
struct lanes {
	lane a, b, c, d;
};

/* Four lanes into one, and what follows of whole lanes too. */
NARROW static size_t fold_end(const struct crc_folding *folding, struct lanes lanes,
			      const uint8_t *from, size_t n, uint8_t rest[CRC_REST_BYTES])
{
	lane by = lane_load(folding->by_128);
	lane sum = lane_fold(lane_fold(lane_fold(lanes.a, by, lanes.b), by, lanes.c), by, lanes.d);
	size_t at = 0;

	for (; n - at >= LANE_BYTES; at += LANE_BYTES)
		sum = lane_fold(sum, by, lane_load(from + at));
	memcpy(rest, &sum, LANE_BYTES);
	return at;
}

NARROW static inline struct lanes lanes_load(const uint8_t *from)
{
	return (struct lanes){ lane_load(from), lane_load(from + LANE_BYTES),
			       lane_load(from + 2 * LANE_BYTES), lane_load(from + 3 * LANE_BYTES) };
}

NARROW static size_t fold_narrow(const struct crc_folding *folding, uint64_t state,
				 const uint8_t *from, size_t n, uint8_t rest[CRC_REST_BYTES])
{
	lane by = lane_load(folding->by_512);
	struct lanes sum = lanes_load(from), next;
	size_t at = LANES_BYTES;

	sum.a = lane_add(sum.a, lane_of(state));
	for (; n - at >= LANES_BYTES; at += LANES_BYTES) {
		next = lanes_load(from + at);
		sum.a = lane_fold(sum.a, by, next.a);
		sum.b = lane_fold(sum.b, by, next.b);
		sum.c = lane_fold(sum.c, by, next.c);
		sum.d = lane_fold(sum.d, by, next.d);
	}
	return at + fold_end(folding, sum, from + at, n - at, rest);
}

#ifdef WIDE
/* The same with four lanes in a register, and four registers. */
enum { WIDE_BYTES = 4 * LANES_BYTES };

WIDE static inline __m512i wide_load(const uint8_t *from)
{
	return _mm512_loadu_si512(from);
}

WIDE static inline __m512i wide_fold(__m512i moved, __m512i by, __m512i onto)
{
	enum { SUM_OF_THREE = 0x96 };

	return _mm512_ternarylogic_epi64(_mm512_clmulepi64_epi128(moved, by, 0x00),
					 _mm512_clmulepi64_epi128(moved, by, 0x11), onto,
					 SUM_OF_THREE);
}

WIDE static size_t fold_wide(const struct crc_folding *folding, uint64_t state, const uint8_t *from,
			     size_t n, uint8_t rest[CRC_REST_BYTES])
{
	__m512i by = _mm512_broadcast_i32x4(lane_load(folding->by_2048));
	__m512i a = wide_load(from), b = wide_load(from + LANES_BYTES),
		c = wide_load(from + 2 * LANES_BYTES), d = wide_load(from + 3 * LANES_BYTES);
	size_t at = WIDE_BYTES;
	uint8_t last[LANES_BYTES];

	a = _mm512_xor_si512(a, _mm512_zextsi128_si512(lane_of(state)));
	for (; n - at >= WIDE_BYTES; at += WIDE_BYTES) {
		a = wide_fold(a, by, wide_load(from + at));
		b = wide_fold(b, by, wide_load(from + at + LANES_BYTES));
		c = wide_fold(c, by, wide_load(from + at + 2 * LANES_BYTES));
		d = wide_fold(d, by, wide_load(from + at + 3 * LANES_BYTES));
	}
	by = _mm512_broadcast_i32x4(lane_load(folding->by_512));
	a = wide_fold(wide_fold(wide_fold(a, by, b), by, c), by, d);
	for (; n - at >= LANES_BYTES; at += LANES_BYTES)
		a = wide_fold(a, by, wide_load(from + at));
	_mm512_storeu_si512(last, a);
	return at + fold_end(folding, lanes_load(last), from + at, n - at, rest);
}
#endif

size_t crc_fold(enum crc_way way, const struct crc_folding *folding, uint64_t state,
		const uint8_t *from, size_t n, uint8_t rest[CRC_REST_BYTES])
{
	must(way <= crc_best_way());
	must(n >= (way == CRC_WIDE ? CRC_WIDE_BYTES_MIN : CRC_NARROW_BYTES_MIN));
#ifdef WIDE
	if (way == CRC_WIDE)
		return fold_wide(folding, state, from, n, rest);
#endif
	return fold_narrow(folding, state, from, n, rest);
}
