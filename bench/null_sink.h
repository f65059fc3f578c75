/* A sink that pulls every body to its end, forgets it and says it is stored: what is left is the
 * cost of the source's side and of the engine. */
#ifndef MAILHAUL_BENCH_NULL_SINK_H
#define MAILHAUL_BENCH_NULL_SINK_H

#include "engine/sink.h"

extern const struct sink_driver null_sink;

#endif
