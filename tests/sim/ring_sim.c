/* The simulated ring, linked in place of engine/ring_uring.c. An operation is carried out when its
 * moment comes, a throw of the dice after it was submitted, so operations in flight together end in
 * any order. A cut falls between two of them. Nothing sleeps: ring_turn() moves the simulated time
 * to the next event or to the deadline. */
#include "engine/ring.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/limits.h"
#include "tests/sim/net_sim.h"
#include "tests/sim/ring_verbs.h"
#include "tests/sim/sim.h"

enum {
	RING_MAGIC = 0x51312196,
	OP_MAGIC = 0x51320900,
	RECV_MAGIC = 0x51333ecf,
	RECVS_MAX = 64,
	NO_BUFFER = UINT16_MAX,
	POOL_SMALL = 8, /* with few buffers receiving starves, which must be survived, too */
	OP_NSEC_MAX = 200000,
	SLOW_ONE_IN = 40,
};
#define SLOW_NSEC_MAX (20 * NSEC_SECOND)

/* Lies in an operation's scratch. */
struct act {
	struct ring_op *next;
	nsec ready_at;
	bool canceled;
};
_Static_assert(sizeof(struct act) <= sizeof((struct ring_op){ 0 }.scratch), "scratch is too small");
_Static_assert(_Alignof(struct act) <= _Alignof(uint64_t), "scratch is aligned");

struct receiver {
	struct ring_recv *recv; /* NULL: a free row */
	struct net_conn *conn;
};

struct ring {
	uint32_t magic;
	bool woken;
	unsigned in_flight, free_count, buffers; /* that are used, free ones too */
	struct ring_op *first;			 /* in flight, unsorted */
	struct receiver receivers[RECVS_MAX];
	uint8_t (*pool)[RECV_BUFFER_BYTES];
	uint32_t lengths[RECV_BUFFERS_COUNT];
	uint16_t nexts[RECV_BUFFERS_COUNT]; /* of the buffers that wait to be taken */
	uint16_t free[RECV_BUFFERS_COUNT];
	void (*on_wake)(void *context);
	void *on_wake_context;
	struct ring_facts facts;
	struct ring_counts counts;
};

static struct act *act_of(struct ring_op *op)
{
	MAGIC_CHECK(op, OP_MAGIC);
	return (struct act *)(void *)op->scratch;
}

static void use_more(struct ring *ring, unsigned count)
{
	for (; count && ring->buffers < RECV_BUFFERS_COUNT; count--)
		ring->free[ring->free_count++] = (uint16_t)ring->buffers++;
}

enum err ring_open(struct ring **out)
{
	return ring_open_for(RING_TO_COPY, out);
}

/* What a ring may be asked for is the kernel's to refuse. */
enum err ring_open_for(enum ring_use use, struct ring **out)
{
	struct ring *ring = calloc(1, sizeof *ring);

	must(ring && use <= RING_TO_FETCH);
	ring->magic = RING_MAGIC;
	ring->pool = calloc(RECV_BUFFERS_COUNT, sizeof ring->pool[0]);
	must(ring->pool);
	use_more(ring, sim_one_in(SIM_NET, 3) ? POOL_SMALL : RECV_BUFFERS_COUNT);
	snprintf(ring->facts.kernel, sizeof ring->facts.kernel, "simulated");
	*out = ring;
	return OK;
}

void ring_close(struct ring **ring)
{
	if (!*ring)
		return;
	MAGIC_CHECK(*ring, RING_MAGIC);
	must(ring_in_flight(*ring) == 0);
	free((*ring)->pool);
	(*ring)->magic = 0;
	free(*ring);
	*ring = NULL;
}

const struct ring_facts *ring_facts(const struct ring *ring)
{
	return &ring->facts;
}

const struct ring_counts *ring_counts(const struct ring *ring)
{
	return &ring->counts;
}

/* Simulated ways have no length. */
bool ring_path_of(int fd, struct ring_path *path)
{
	(void)fd;
	*path = (struct ring_path){ 0 };
	return false;
}

void ring_acknowledge(struct ring *ring, int fd)
{
	(void)fd;
	ring->counts.acknowledged++;
}

int ring_address_check(const struct sockaddr *address, socklen_t address_bytes)
{
	(void)address;
	(void)address_bytes;
	return 0;
}

void ring_wake(struct ring *ring)
{
	ring->woken = true;
}

void ring_on_wake(struct ring *ring, void (*woken)(void *context), void *context)
{
	MAGIC_CHECK(ring, RING_MAGIC);
	ring->on_wake = woken;
	ring->on_wake_context = context;
}

/* ---- operations ---- */

/* On a slow machine an operation now and then takes seconds: a disk that spins up, a full queue. */
static nsec op_ready_at(void)
{
	nsec at = sim_now() + 1 + (nsec)sim_below(SIM_ORDER, OP_NSEC_MAX);

	if (sim_is_slow() && sim_one_in(SIM_ORDER, SLOW_ONE_IN))
		at += (nsec)sim_below(SIM_ORDER, SLOW_NSEC_MAX);
	return at;
}

void ring_submit(struct ring *ring, struct ring_op *op)
{
	MAGIC_CHECK(ring, RING_MAGIC);
	must(op->verb < RING_VERB_COUNT && op->done);
	op->magic = OP_MAGIC;
	*act_of(op) =
		(struct act){ .next = ring->first,
			      .ready_at = ring_verb_is_stalled(op) ? INT64_MAX : op_ready_at() };
	ring->first = op;
	ring->in_flight++;
	ring->counts.operations++;
}

static bool is_in_flight(const struct ring *ring, const struct ring_op *op)
{
	for (struct ring_op *at = ring->first; at; at = act_of(at)->next)
		if (at == op)
			return true;
	return false;
}

/* An operation that is as good as done may still win. */
void ring_cancel(struct ring *ring, struct ring_op *op)
{
	MAGIC_CHECK(ring, RING_MAGIC);
	if (!is_in_flight(ring, op))
		return;
	act_of(op)->canceled = !sim_one_in(SIM_ORDER, 8);
	act_of(op)->ready_at = sim_now() + 1;
}

unsigned ring_in_flight(const struct ring *ring)
{
	unsigned count = ring->in_flight;

	for (unsigned i = 0; i < RECVS_MAX; i++)
		count += ring->receivers[i].recv != NULL;
	return count;
}

static void op_finish(struct ring *ring, struct ring_op *op)
{
	struct ring_op **at = &ring->first;

	while (*at != op)
		at = &act_of(*at)->next;
	*at = act_of(op)->next;
	ring->in_flight--;
	if (act_of(op)->canceled) {
		op->result = -ECANCELED;
	} else {
		sim_step(ring_verb_name(op->verb));
		op->result = ring_verb_do(op);
	}
	if (op->verb == RING_SEND && op->result > 0)
		ring->counts.send_bytes += (uint64_t)op->result;
	op->done(op);
}

/* ---- receiving ---- */

static struct receiver *receiver_free_row(struct ring *ring)
{
	unsigned i = 0;

	while (i < RECVS_MAX && ring->receivers[i].recv)
		i++;
	must(i < RECVS_MAX); /* a scenario has few connections */
	return &ring->receivers[i];
}

void ring_recv_start(struct ring *ring, struct ring_recv *recv)
{
	MAGIC_CHECK(ring, RING_MAGIC);
	must(recv->arrived);
	recv->magic = RECV_MAGIC;
	recv->ring = ring;
	recv->first = recv->last = NO_BUFFER;
	recv->count = recv->taken = 0;
	recv->ended = 0;
	recv->armed = true;
	recv->paused = recv->stopping = recv->waiting = false;
	*receiver_free_row(ring) = (struct receiver){ recv, ring_verb_conn(recv->fd) };
}

/* TCP slows the peer while this many buffers are not given back. */
static void pause_or_go_on(struct ring_recv *recv)
{
	if (recv->count + recv->taken >= RECV_BUFFERS_HELD_MAX)
		recv->paused = true;
	else if (recv->count + recv->taken <= RECV_BUFFERS_HELD_MAX / 2)
		recv->paused = false;
}

int ring_recv_take(struct ring_recv *recv, struct ring_bytes *out)
{
	struct ring *ring = recv->ring;
	uint16_t buffer = recv->first;

	MAGIC_CHECK(recv, RECV_MAGIC);
	if (recv->count == 0)
		return recv->ended ? -1 : 0;
	*out = (struct ring_bytes){ ring->pool[buffer], ring->lengths[buffer], buffer };
	recv->first = ring->nexts[buffer];
	recv->count--;
	recv->taken++;
	return 1;
}

/* Whoever still reads released bytes shall find them gone. */
void ring_recv_release(struct ring_recv *recv, const struct ring_bytes *bytes)
{
	struct ring *ring = recv->ring;

	MAGIC_CHECK(recv, RECV_MAGIC);
	must(bytes->buffer < RECV_BUFFERS_COUNT && recv->taken > 0);
	must(ring->free_count < ring->buffers);
	memset(ring->pool[bytes->buffer], 0xdd, ring->lengths[bytes->buffer]);
	ring->free[ring->free_count++] = bytes->buffer;
	recv->taken--;
	pause_or_go_on(recv);
}

void ring_recv_stop(struct ring_recv *recv)
{
	struct ring_bytes bytes;

	MAGIC_CHECK(recv, RECV_MAGIC);
	must(recv->taken == 0);
	while (ring_recv_take(recv, &bytes) > 0)
		ring_recv_release(recv, &bytes);
	recv->stopping = true;
}

bool ring_recv_stopped(const struct ring_recv *recv)
{
	MAGIC_CHECK(recv, RECV_MAGIC);
	return !recv->armed;
}

static void receiver_end(struct receiver *receiver)
{
	receiver->recv->armed = false;
	receiver->recv = NULL;
	if (receiver->conn)
		net_unref(&receiver->conn);
}

/* How much of what has come the kernel hands over at once: often a buffer full, sometimes a byte.
 */
static size_t arrives_at_once(void)
{
	switch (sim_below(SIM_NET, 8)) {
	case 0:
		return 1 + sim_below(SIM_NET, 16);
	case 1:
	case 2:
		return 1 + sim_below(SIM_NET, 2000);
	default:
		return RECV_BUFFER_BYTES;
	}
}

static void queue_add(struct ring_recv *recv, uint16_t buffer, uint32_t length)
{
	struct ring *ring = recv->ring;

	ring->lengths[buffer] = length;
	ring->nexts[buffer] = NO_BUFFER;
	if (recv->count++)
		ring->nexts[recv->last] = buffer;
	else
		recv->first = buffer;
	recv->last = buffer;
	pause_or_go_on(recv);
}

static void receive(struct ring *ring, struct receiver *receiver)
{
	struct ring_recv *recv = receiver->recv;
	uint16_t buffer = ring->free[ring->free_count - 1];
	int64_t got = -ENOTCONN;

	sim_step("receive");
	if (receiver->conn)
		got = net_take(receiver->conn, ring->pool[buffer], arrives_at_once());
	if (got > 0) {
		ring->free_count--;
		ring->counts.recv_bytes += (uint64_t)got;
		ring->counts.recv_starved += ring->free_count == 0;
		queue_add(recv, buffer, (uint32_t)got);
	} else {
		recv->ended = got == 0 ? 1 : (int32_t)got;
		receiver_end(receiver);
	}
	recv->arrived(recv);
}

static nsec receiver_ready_at(const struct ring *ring, const struct receiver *receiver)
{
	if (!receiver->recv)
		return INT64_MAX;
	if (receiver->recv->stopping)
		return 0;
	if (receiver->recv->paused || ring->free_count == 0)
		return INT64_MAX;
	return receiver->conn ? net_ready_at(receiver->conn) : 0;
}

/* ---- turning ---- */

/* What comes first: an operation or a receiver, and when; neither: INT64_MAX. */
static nsec next_event(struct ring *ring, struct ring_op **op, struct receiver **receiver)
{
	nsec first = INT64_MAX;

	*op = NULL;
	*receiver = NULL;
	for (struct ring_op *at = ring->first; at; at = act_of(at)->next)
		if (act_of(at)->ready_at < first) {
			first = act_of(at)->ready_at;
			*op = at;
		}
	for (unsigned i = 0; i < RECVS_MAX; i++)
		if (receiver_ready_at(ring, &ring->receivers[i]) < first) {
			first = receiver_ready_at(ring, &ring->receivers[i]);
			*receiver = &ring->receivers[i];
			*op = NULL;
		}
	return first;
}

static void wait_for_event(struct ring *ring, nsec until)
{
	struct ring_op *op;
	struct receiver *receiver;
	nsec first;

	if (ring->free_count == 0 && until > sim_now()) /* see ring_pool_grow() */
		use_more(ring, RECV_BUFFERS_GROWTH);
	first = min_nsec(next_event(ring, &op, &receiver), net_alarm_at());

	if (first == INT64_MAX && until > sim_now() + NSEC_SECOND * 3600 * 24 * 365)
		sim_stuck("deadlock: every fiber waits, nothing is in flight, no deadline is set "
			  "(%u receivers, %u free buffers; the last operation was %s)",
			  ring_in_flight(ring), ring->free_count, sim_last_step());
	sim_advance(min_nsec(first, until));
}

/* Each look takes a microsecond, so that whoever only looks sees time pass. */
unsigned ring_turn(struct ring *ring, nsec until)
{
	unsigned completed = 0;
	struct ring_op *op;
	struct receiver *receiver;

	MAGIC_CHECK(ring, RING_MAGIC);
	ring->counts.enters++;
	sim_advance(sim_now() + NSEC_MICROSECOND);
	if (!ring->woken)
		wait_for_event(ring, until);
	net_alarms();
	if (ring->woken && ring->on_wake)
		ring->on_wake(ring->on_wake_context);
	ring->woken = false;
	while (next_event(ring, &op, &receiver) <= sim_now()) {
		completed++;
		if (op)
			op_finish(ring, op);
		else if (receiver->recv->stopping)
			receiver_end(receiver);
		else
			receive(ring, receiver);
		if (sim_one_in(SIM_ORDER, 4))
			break; /* the rest is seen the next time */
	}
	ring->counts.completions += completed;
	return completed;
}
