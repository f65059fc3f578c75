/* What tests may ask of the TLS that is passed through. */
#ifndef MAILHAUL_TLS_SIM_H
#define MAILHAUL_TLS_SIM_H

#include <stddef.h>

/* How much of the `max` bytes asked for one read may give (at least 1); NULL: all. So every border
 * of what arrives can be tried, whatever the kernel gathers. */
extern size_t (*tls_sim_piece)(size_t max);
/* Records that would have been sealed so far. */
extern size_t tls_sim_records;

#endif
