/* The S3 stand-in as a server of the simulated network. */
#ifndef MAILHAUL_S3_MODEL_NET_H
#define MAILHAUL_S3_MODEL_NET_H

#include "tests/sim/s3_model.h"
#include "tests/sim/net_sim.h"

/* In each process of the world, after net_forget(). Its clock is the world's, whatever the wall
 * clock of the process says; what was to be done late is still to come. */
void s3_model_listen(struct s3_model *, uint16_t port);
/* What that clock says, Unix time. */
int64_t s3_model_world_time(void);

#endif
