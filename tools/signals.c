#include "tools/signals.h"

#include <signal.h>
#include <stddef.h>
#include <unistd.h>

#include "engine/base.h"
#include "engine/err.h"
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

/* SQLite maps the ledger's -shm file, and a page of it may need a block that a full disk does not
 * have (blocks below 4 KiB; file systems that copy what is written again). As after kill -9 nothing
 * is lost. */
static void on_bus_error(int number, siginfo_t *info, void *context)
{
	static const char text[] =
		"mailhaul: a file that is mapped into memory, most likely the ledger's (-shm), "
		"could not be written: its disk is full, or fails. Make room there and run the "
		"same command again\n";

	(void)context;
	if (info->si_code != BUS_ADRERR) {
		on_crash(number);
		return;
	}
	terminal_restore();
	(void)!write(STDERR_FILENO, text, sizeof text - 1);
	_exit(EXIT_IO);
}

static void handle(int number, void (*handler)(int), int flags)
{
	struct sigaction action = { .sa_handler = handler, .sa_flags = flags };

	sigemptyset(&action.sa_mask);
	must(sigaction(number, &action, NULL) == 0);
}

void signals_setup(void)
{
	static const int crashes[] = { SIGSEGV, SIGILL, SIGFPE, SIGABRT };
	struct sigaction bus_error = { .sa_sigaction = on_bus_error,
				       .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESETHAND |
						   SA_NODEFER };
	static char crash_stack[16 * 1024];
	stack_t stack = { .ss_sp = crash_stack, .ss_size = sizeof crash_stack };

	handle(SIGPIPE, SIG_IGN, 0);
	handle(SIGINT, on_stop, SA_RESTART | SA_ONSTACK);
	handle(SIGTERM, on_stop, SA_RESTART | SA_ONSTACK);
	must(sigaction(SIGBUS, &bus_error, NULL) == 0);
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
