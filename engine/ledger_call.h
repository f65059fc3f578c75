/* What ledger.c gives to ledger_call.c, and to nobody else. */
#ifndef MAILHAUL_LEDGER_CALL_H
#define MAILHAUL_LEDGER_CALL_H

#include "engine/ledger.h"

struct ledger_call;

/* Have this call of ledger_sqlite.h done in the next transaction of this front; its own result,
 * with its note. Suspends. ERR_FIBER_CANCELED: it was not begun. */
enum err ledger_act(struct ledger *, struct ledger_call *) MUST_CHECK;

#endif
