/* Each stage of a message's way alone, with nothing around it: what the whole is compared with. All
 * figures are CPU time of this process in nanoseconds. */
#ifndef MAILHAUL_BENCH_STAGES_H
#define MAILHAUL_BENCH_STAGES_H

#include "bench/canned.h"
#include "crypto/crc.h"
#include "engine/fiber.h"

/* Larger than the second-level cache: bytes are as cold as they come from the network. */
enum { BENCH_COLD_BYTES = 48 * 1024 * 1024 };

struct bench {
	struct corpus corpus;
	struct canned canned;
	const char *certificate, *key, *ca_file, *state_dir;
	uint8_t *cold;
};

double bench_cpu_ns(void);
/* Run a fiber to its end in a shard of this thread; its failure ends the program. */
void bench_fiber(const char *what, fiber_main *, void *context);
void bench_remove_ledger(const struct bench *);

/* Per byte: from the kernel into ring buffers; out of TLS records into cold chunks; digested. */
double stage_receive(const struct bench *);
double stage_tls(const struct bench *);
double stage_digest(const struct bench *, const char *name);
/* Per byte stored: its checksum. */
double stage_crc(const struct bench *, enum crc_kind);
/* Per byte of mail, in frames as a pack has them; and how many bytes are left of one. */
double stage_zstd(const struct bench *, int level, double *stored_per_byte);
/* Per byte stored: write(2) alone. */
double stage_store(const struct bench *);
/* Per message: the head and tail of a FETCH reply; a ledger row settled. */
double stage_framing(const struct bench *);
double stage_ledger(const struct bench *);

#endif
