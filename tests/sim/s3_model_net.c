#include "tests/sim/s3_model_net.h"

#include <stdlib.h>

#include "engine/clock.h"
#include "tests/sim/sim.h"

enum { LINE_MAGIC = 0x53e11e };

struct line {
	uint32_t magic;
	struct net_conn *conn; /* NULL: the client is gone, */
	struct s3_model_session *session;
	bool waits; /* and this one stays until its alarm has come */
};

int64_t s3_model_world_time(void)
{
	return clock_wall() / NSEC_SECOND - sim_wall_s();
}

static void act(struct line *line);

static void go_on(void *owner)
{
	struct line *line = owner;

	MAGIC_CHECK(line, LINE_MAGIC);
	line->waits = false;
	if (line->conn)
		act(line);
	else
		free(line);
}

static void act(struct line *line)
{
	while (!line->waits) {
		struct s3_model_step step = s3_model_next(line->session);

		switch (step.act) {
		case S3_MODEL_IDLE:
			return;
		case S3_MODEL_SAY:
			net_say(line->conn, step.bytes, step.length);
			break;
		case S3_MODEL_WAIT:
			line->waits = true;
			net_at(sim_now() + step.wait_ms * NSEC_MILLISECOND, go_on, line);
			break;
		case S3_MODEL_CLOSE:
			net_hang_up(line->conn);
			break;
		case S3_MODEL_RESET:
			net_reset(line->conn);
			break;
		}
	}
}

static void *accepted(void *owner, struct net_conn *conn)
{
	struct line *line = calloc(1, sizeof *line);

	must(line);
	*line = (struct line){ .magic = LINE_MAGIC,
			       .conn = conn,
			       .session = s3_model_accept(owner) };
	return line;
}

static void received(void *session, struct net_conn *conn, const void *bytes, size_t n)
{
	struct line *line = session;

	MAGIC_CHECK(line, LINE_MAGIC);
	must(line->conn == conn);
	s3_model_hear(line->session, s3_model_world_time(), bytes, n);
	act(line);
}

static void closed(void *session)
{
	struct line *line = session;

	MAGIC_CHECK(line, LINE_MAGIC);
	s3_model_hang_up(&line->session);
	line->conn = NULL;
	if (!line->waits)
		free(line);
}

void s3_model_listen(struct s3_model *model, uint16_t port)
{
	net_listen(&(struct net_server){ .port = port,
					 .accepted = accepted,
					 .received = received,
					 .closed = closed,
					 .owner = model });
}
