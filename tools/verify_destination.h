/* mailhaul verify of a destination on a server: what was stored there is read back. */
#ifndef MAILHAUL_TOOLS_VERIFY_DESTINATION_H
#define MAILHAUL_TOOLS_VERIFY_DESTINATION_H

#include "tools/destination.h"

struct verify_destination_options {
	struct destination_options destination;
	const char *sample; /* NULL: all */
	uint64_t seed;	    /* 0: the ledger's own */
	bool json;
};

/* Returns the exit code. */
int verify_destination(const struct verify_destination_options *, const char *url,
		       const char *confine);

#endif
