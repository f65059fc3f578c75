#include "tools/signals.h"

#include <signal.h>
#include <stddef.h>
#include <unistd.h>

#include "engine/base.h"
#include "engine/log.h"
#include "engine/shard.h"
#include "tools/terminal.h"

static volatile sig_atomic_t stops_asked;

static void on_stop(int number)
{
	if (stops_asked++) {
		terminal_restore();
		_exit(128 + number);
	}
	shard_request(SHARD_DRAIN);
	terminal_say("mailhaul: draining: finishing what is in flight; again to stop at once");
}

/* Runs on a stack of its own: the fault may be a fiber's stack that ran into its guard page. */
static void on_crash(int number)
{
	terminal_restore();
	signal(number, SIG_DFL);
	raise(number);
}

static void handle(int number, void (*handler)(int), int flags)
{
	struct sigaction action = { .sa_handler = handler, .sa_flags = flags };

	sigemptyset(&action.sa_mask);
	must(sigaction(number, &action, NULL) == 0);
}

void signals_setup(void)
{
	static const int crashes[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT };
	static char crash_stack[16 * 1024];
	stack_t stack = { .ss_sp = crash_stack, .ss_size = sizeof crash_stack };

	handle(SIGPIPE, SIG_IGN, 0);
	handle(SIGINT, on_stop, SA_RESTART | SA_ONSTACK);
	handle(SIGTERM, on_stop, SA_RESTART | SA_ONSTACK);
	if (SANITIZED) /* they report crashes themselves */
		return;
	must(sigaltstack(&stack, NULL) == 0);
	for (size_t i = 0; i < ARRAY_COUNT(crashes); i++)
		handle(crashes[i], on_crash, SA_ONSTACK | SA_RESETHAND | SA_NODEFER);
}

static void on_hangup(int number)
{
	(void)number;
	log_reopen();
}

void signals_reopen_log(void)
{
	handle(SIGHUP, on_hangup, SA_RESTART | SA_ONSTACK);
}
