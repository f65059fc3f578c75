/* Many small strings that live and die together, in large blocks: half a million rows of a list
 * would otherwise be millions of allocations. Not for: secrets; nothing here is wiped. */
#ifndef MAILHAUL_TOOLS_TEXT_STORE_H
#define MAILHAUL_TOOLS_TEXT_STORE_H

#include "engine/base.h"

struct text_block;
/* Zero-initialised is valid and empty. */
struct text_store {
	struct text_block *blocks;
};

/* A copy with a NUL behind it, valid until the store is freed; "" takes no room. NULL: no memory.
 */
const char *text_store_add(struct text_store *, struct text);
void text_store_free(struct text_store *);

#endif
