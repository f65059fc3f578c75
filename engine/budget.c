/* See budget.h. */
#include "engine/budget.h"

#include <stdatomic.h>

#include "engine/limits.h"

#define MIB (UINT64_C(1) << 20)

/* What one mailbox that has the machine for itself may have. */
#define ALONE                                                                                      \
	.chunks = LANE_CHUNKS_RESERVED - LANE_CHUNKS_PER_READER,                                   \
	.chunks_per_reader = LANE_CHUNKS_PER_READER, .recv_buffers = RECV_BUFFERS_COUNT,           \
	.recv_held = RECV_BUFFERS_HELD_MAX, .frames = FRAMES_MAX, .frame_bytes = FRAME_BYTES,      \
	.put_bytes = WRITE_BYTES_ALONE, .part_bytes = UPLOAD_PART_BYTES, .uploads = UPLOADS_MAX,   \
	.parts_shared = UPLOADS_MAX, .ahead_bytes = READ_AHEAD_BYTES,                              \
	.lines_bytes = PACK_LINES_BYTES_MAX, .filled = PACKS_FILLED_MAX

static struct budget present = {
	.shape = { .workers = 1,
		   .lanes = 1,
		   .connections = LANE_READERS_MAX,
		   .pairs = LANE_READERS_MAX },
	ALONE,
};

const struct budget *budget(void)
{
	return &present;
}

/* ---- shares ---- */

static unsigned per_worker(unsigned count)
{
	return (count + present.shape.workers - 1) / present.shape.workers;
}

unsigned budget_worker_connections(void)
{
	return per_worker(present.shape.pairs);
}

/* Fibers of a worker's lanes that speak with buckets. */
static unsigned bucket_fibers(void)
{
	return present.shape.to_buckets ? per_worker(present.shape.lanes) * (present.uploads + 1)
					: 0;
}

unsigned budget_bucket_connections(void)
{
	return (unsigned)min_u64(bucket_fibers(), UPLOADS_OF_WORKER);
}

static unsigned worker_connections_most(void)
{
	const struct budget_shape *shape = &present.shape;
	uint64_t most = min_u64(budget_worker_connections() + shape->connections - 1,
				(uint64_t)per_worker(shape->lanes) * shape->connections);

	return (unsigned)min_u64(most, shape->pairs);
}

unsigned budget_lane_chunks(unsigned connections)
{
	return present.chunks + connections * present.chunks_per_reader;
}

unsigned budget_lane_chunks_most(unsigned connections)
{
	return (unsigned)max_u64(budget_lane_chunks(connections),
				 (connections + 1) * LANE_CHUNKS_PER_READER);
}

unsigned budget_arena_chunks(void)
{
	unsigned connections = present.shape.connections,
		 loan = budget_lane_chunks_most(connections) - budget_lane_chunks(connections),
		 looking = present.shape.to_servers ? LANE_CHUNKS_LOOKING : 0;

	return per_worker(present.shape.lanes) * (present.chunks + looking) +
	       worker_connections_most() * present.chunks_per_reader + present.loans * loan;
}

/* ---- the plan ---- */

bool budget_is_kept(void)
{
	return budget_bound_sum() <= budget_promise();
}

static bool is_alone(const struct budget *plan)
{
	return plan->shape.lanes == 1;
}

static void share_buffers(struct budget *plan)
{
	if (!is_alone(plan))
		plan->recv_held =
			(unsigned)max_u64(RECV_BUFFERS_HELD_MIN,
					  min_u64(RECV_BUFFERS_HELD_MAX / 2,
						  plan->recv_buffers / worker_connections_most()));
}

static void share_buckets(struct budget *plan)
{
	unsigned lanes = per_worker(plan->shape.lanes);

	plan->ahead_bytes = READ_AHEAD_BYTES_OF_MANY;
	plan->part_bytes = UPLOAD_PART_BYTES_LEAST;
	plan->uploads = (unsigned)max_u64(1, min_u64(UPLOADS_OF_WORKER / lanes, UPLOADS_MAX));
	plan->parts_shared = (unsigned)min_u64((uint64_t)lanes * UPLOADS_MAX, UPLOADS_OF_WORKER);
}

static void plan_sharing(struct budget *plan)
{
	plan->chunks = LANE_CHUNKS_SHARING;
	plan->chunks_per_reader = LANE_CHUNKS_SHARING_PER_READER;
	plan->loans = ARENA_LOANS;
	share_buffers(plan);
	plan->frames = FRAMES_OF_MANY;
	plan->frame_bytes = FRAME_BYTES_OF_MANY;
	plan->put_bytes = WRITE_BYTES_OF_MANY;
	share_buckets(plan);
	plan->lines_bytes = PACK_LINES_BYTES_OF_MANY;
	plan->filled = PACKS_FILLED_OF_MANY;
}

/* By a step, in the order in which it is missed least. False: nothing is left. */
static bool narrow(struct budget *plan)
{
	if (plan->recv_buffers > RECV_BUFFERS_LEAST) {
		plan->recv_buffers /= 2;
		share_buffers(plan);
	} else if (plan->loans > 1) {
		plan->loans--;
	} else if (plan->put_bytes > WRITE_BYTES) {
		plan->put_bytes /= 2;
	} else if (plan->frames / 2 > FRAMES_OF_FEW) {
		plan->frames /= 2;
	} else if (plan->lines_bytes > PACK_LINES_BYTES_OF_MANY) {
		plan->lines_bytes /= 2;
	} else if (plan->put_bytes > WRITE_BYTES_LEAST) {
		plan->put_bytes /= 2;
	} else if (plan->frame_bytes > FRAME_BYTES_OF_MANY) {
		plan->frame_bytes = FRAME_BYTES_OF_MANY; /* whose compressors take less */
	} else {
		return false;
	}
	return true;
}

/* Only where the promise still holds. */
static void widen(struct budget *plan, const struct budget *wider)
{
	struct budget narrower = *plan;

	*plan = *wider;
	if (!budget_is_kept())
		*plan = narrower;
}

/* Few mailboxes may have as much room on the way to the compressor and the disk as one alone: with
 * little, both wait for each other. Then chunks for whole messages, so that nobody waits for a
 * loan. */
static void plan_wide(struct budget *plan)
{
	struct budget wider = *plan;

	wider.frames = FRAMES_OF_FEW;
	wider.frame_bytes = FRAME_BYTES;
	wider.put_bytes = WRITE_BYTES;
	widen(plan, &wider);
	wider = *plan;
	wider.chunks = wider.chunks_per_reader = LANE_CHUNKS_PER_READER;
	widen(plan, &wider);
}

/* Longer packs are the best use of what is left of the promise then. Doubled, because the
 * buffers double: three quarters of a power of two fill three quarters of one. */
static void plan_lines(struct budget *plan)
{
	size_t least = plan->lines_bytes;

	while (plan->lines_bytes < PACK_LINES_BYTES_MAX && budget_is_kept())
		plan->lines_bytes *= 2;
	if (plan->lines_bytes > least && !budget_is_kept())
		plan->lines_bytes /= 2;
}

/* And then more frames, where they are long. */
static void plan_frames(struct budget *plan)
{
	struct budget wider = *plan;

	while (plan->frame_bytes == FRAME_BYTES && wider.frames++ < FRAMES_MAX)
		widen(plan, &wider);
}

void budget_set(const struct budget_shape *shape)
{
	must(shape->workers > 0 && shape->workers <= shape->lanes);
	must(shape->lanes <= shape->pairs);
	must(shape->connections > 0 && shape->connections <= LANE_READERS_MAX);
	present = (struct budget){ .shape = *shape, ALONE };
	if (!is_alone(&present))
		plan_sharing(&present);
	while (!budget_is_kept() && narrow(&present))
		;
	if (!is_alone(&present))
		plan_wide(&present);
	plan_lines(&present);
	plan_frames(&present);
}

/* ---- what was taken ---- */

static _Atomic uint64_t now[BUDGET_PARTS], high[BUDGET_PARTS];

static const struct {
	const char *name, *text;
} parts[] = {
#define BUDGET_PART(id, name, text) { name, text },
	BUDGET_PARTS_ALL(BUDGET_PART)
#undef BUDGET_PART
};

const char *budget_part_name(enum budget_part part)
{
	return parts[part].name;
}

const char *budget_part_text(enum budget_part part)
{
	return parts[part].text;
}

void budget_take(enum budget_part part, size_t bytes)
{
	uint64_t is = atomic_fetch_add_explicit(&now[part], bytes, memory_order_relaxed) + bytes;
	uint64_t was = atomic_load_explicit(&high[part], memory_order_relaxed);

	while (is > was &&
	       !atomic_compare_exchange_weak_explicit(&high[part], &was, is, memory_order_relaxed,
						      memory_order_relaxed))
		;
}

void budget_give(enum budget_part part, size_t bytes)
{
	atomic_fetch_sub_explicit(&now[part], bytes, memory_order_relaxed);
}

void budget_hold(enum budget_part part, size_t *held, size_t bytes)
{
	if (bytes > *held)
		budget_take(part, bytes - *held);
	else if (bytes < *held)
		budget_give(part, *held - bytes);
	*held = bytes;
}

uint64_t budget_high(enum budget_part part)
{
	return atomic_load_explicit(&high[part], memory_order_relaxed);
}

/* ---- what may be taken ---- */

/* A worker's buffers. They grow when every one of them is held by somebody who waits: a mailbox
 * alone may be given all of them by one connection before it sees that it should pause, and the
 * others need some. */
static uint64_t receive_bound(void)
{
	uint64_t held = (uint64_t)worker_connections_most() * present.recv_held;

	return is_alone(&present)
		       ? present.recv_buffers + held
		       : max_u64(present.recv_buffers, round_up(held, RECV_BUFFERS_GROWTH));
}

static uint64_t frame_bound(void)
{
	return 2 * present.frame_bytes + present.frame_bytes / 256 + FRAME_OVERHEAD_BYTES;
}

/* The lines, the sums and the seal's records of the pack being filled, whose buffers double as they
 * grow; of those that are complete, records and compressed lines, and these twice of the one whose
 * seal was given to the ledger. */
static uint64_t packs_bound(void)
{
	uint64_t lines = present.lines_bytes * 4 / 3, sums = present.lines_bytes / 2;

	return lines + 2 * sums + (present.filled + 2) * (sums / 2 + lines / 4);
}

/* Parts of objects that go to buckets. */
static uint64_t parts_bound(void)
{
	const struct budget_shape *shape = &present.shape;
	uint64_t count = (uint64_t)shape->lanes * UPLOAD_PARTS_OWN +
			 (uint64_t)shape->workers * present.parts_shared;

	return shape->to_buckets ? count * present.part_bytes : 0;
}

static uint64_t lane_bound(enum budget_part part)
{
	switch (part) {
	case BUDGET_FRAMES:
		return present.frames * frame_bound();
	case BUDGET_WRITES:
		return max_u64((present.filled + 2) * WRITE_BUFFERS,
			       present.shape.to_servers ? PARCELS_WRITES : 0) *
		       present.put_bytes;
	case BUDGET_PACKS:
		return packs_bound();
	default:
		return 0;
	}
}

/* To a server a mailbox sends over one, and looks over another at what was stored. */
static uint64_t conversations(void)
{
	return present.shape.pairs + (present.shape.to_servers ? 2 * present.shape.lanes : 0);
}

static uint64_t bucket_connections_bound(void)
{
	return (uint64_t)present.shape.workers * budget_bucket_connections() *
	       (CONNECTION_BYTES + HTTP_CONNECTION_BYTES + HTTP_SENDING_BYTES);
}

/* A target reads its own packs after a restart. */
static uint64_t read_ahead_bound(void)
{
	const struct budget_shape *shape = &present.shape;

	return ((uint64_t)shape->to_buckets + shape->from_buckets) * shape->lanes * READ_AHEADS *
	       present.ahead_bytes;
}

static uint64_t bucket_stacks_bound(void)
{
	return (uint64_t)present.shape.workers * bucket_fibers() * FIBER_STACK_BYTES_USED;
}

static uint64_t compression_bound(void)
{
	return (uint64_t)present.shape.pairs * present.shape.compressed *
	       COMPRESSED_CONVERSATION_BYTES;
}

uint64_t budget_bound(enum budget_part part)
{
	const struct budget_shape *shape = &present.shape;
	uint64_t threads = (uint64_t)shape->workers + shape->offload_threads;

	switch (part) {
	case BUDGET_PROGRAM:
		return PROGRAM_BYTES + threads * THREAD_BYTES;
	case BUDGET_RECEIVE:
		return shape->workers * receive_bound() * RECV_BUFFER_BYTES;
	case BUDGET_ARENA:
		return (uint64_t)shape->workers * budget_arena_chunks() * CHUNK_BYTES;
	case BUDGET_STACKS: /* and a few of the run's own */
		return (4 + shape->workers + conversations()) * FIBER_STACK_BYTES_USED +
		       (uint64_t)shape->lanes * LANE_STACKS * FIBER_STACK_BYTES_SHALLOW +
		       bucket_stacks_bound();
	case BUDGET_LANES:
		return (uint64_t)shape->lanes * LANE_BYTES;
	case BUDGET_CONNECTIONS:
		return conversations() * CONNECTION_BYTES + compression_bound() +
		       bucket_connections_bound() + read_ahead_bound();
	case BUDGET_COMPRESSORS:
		return threads * (present.frame_bytes == FRAME_BYTES
					  ? shape->compressor_bytes
					  : shape->compressor_bytes_of_many);
	case BUDGET_LEDGER:
		return LEDGER_CACHE_BYTES + 2 * MIB + (1 + shape->workers) * (MIB / 4);
	case BUDGET_WAITING:
		return MIB / 4 + shape->waiting * WAITING_BYTES;
	case BUDGET_WRITES:
		return shape->lanes * lane_bound(part) + parts_bound();
	default:
		return shape->lanes * lane_bound(part);
	}
}

uint64_t budget_bound_sum(void)
{
	uint64_t sum = 0;

	for (unsigned part = 0; part < BUDGET_PARTS; part++)
		sum += budget_bound((enum budget_part)part);
	return sum;
}

uint64_t budget_promise(void)
{
	const struct budget_shape *shape = &present.shape;

	return 64 * MIB + shape->pairs * 2 * MIB + shape->waiting * WAITING_BYTES +
	       compression_bound() + parts_bound() + bucket_connections_bound() +
	       read_ahead_bound() + bucket_stacks_bound();
}
