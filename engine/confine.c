/* The only door to libseccomp. Filters are compiled once, before there are threads, because
 * libseccomp keeps state of its own; a thread then only hands its program to the kernel. */
#include "engine/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <seccomp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engine/log.h"

enum {
	PROGRAM_STEPS_MAX = 4096, /* BPF_MAXINSNS of the kernel */
	/* Beside those of the roles. The flags of clone3(2) are where a filter cannot look, so it
	 * is absent and libc takes clone(2). That is no news, and this program is loaded without
	 * logging.
	 */
	NO_CLONE3 = CONFINE_ROLES,
	PROGRAMS_COUNT,
};

/* struct sock_fprog and sock_filter of linux/filter.h, which clashes with libseccomp's headers. */
struct program {
	unsigned short steps_count;
	uint64_t *steps;
};

static struct {
	enum confine_mode mode;
	bool filtered, no_new_privs;
	char why[CONFINE_WHY_BYTES];
	struct program programs[PROGRAMS_COUNT];
} state = { .mode = CONFINE_OFF, .why = "nothing asked for it" };
static atomic_uint threads;

static const char *const mode_names[] = {
	[CONFINE_ON] = "on",
	[CONFINE_LOG] = "log",
	[CONFINE_OFF] = "off",
};

const char *confine_mode_name(enum confine_mode mode)
{
	must((size_t)mode < ARRAY_COUNT(mode_names));
	return mode_names[mode];
}

bool confine_mode_from_name(const char *name, enum confine_mode *out)
{
	for (size_t i = 0; i < ARRAY_COUNT(mode_names); i++)
		if (strcmp(mode_names[i], name) == 0) {
			*out = (enum confine_mode)i;
			return true;
		}
	return false;
}

/* ---- compiling ---- */

enum {
	MAIN = 1 << CONFINE_MAIN,
	OFFLOAD = 1 << CONFINE_OFFLOAD,
	WORKER = 1 << CONFINE_WORKER,
	EXTRACTOR = 1 << CONFINE_EXTRACTOR,
	READER = 1 << CONFINE_READER,
	OFFLINE = EXTRACTOR | READER,
	ONLINE = MAIN | OFFLOAD | WORKER,
	EVERYBODY = ONLINE | OFFLINE,
	CONDITIONS_MAX = 2,
};

struct rule {
	int call;
	unsigned roles; /* 0: nobody, and deadly */
	unsigned conditions_count;
	struct scmp_arg_cmp conditions[CONDITIONS_MAX];
};

static unsigned mask_of(enum confine_role role)
{
	return role == CONFINE_FETCHER ? WORKER | EXTRACTOR : 1u << role;
}

static int rule_add(scmp_filter_ctx filter, const struct rule *rule, enum confine_role role,
		    enum confine_mode mode)
{
	if (!rule->roles)
		return mode == CONFINE_ON
			       ? seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, rule->call, 0)
			       : 0;
	if (role != CONFINE_MAIN && !(rule->roles & mask_of(role)))
		return 0;
	return seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, rule->call, rule->conditions_count,
				      rule->conditions);
}

static const struct rule rules[] = {
#define CALL(name, roles) { SCMP_SYS(name), (roles), 0, { { 0 } } },
#define DEADLY(name)	  { SCMP_SYS(name), 0, 0, { { 0 } } },
#define CALL_IF(name, roles, argument, mask, value)                                                \
	{ SCMP_SYS(name), (roles), 1, { { (argument), SCMP_CMP_MASKED_EQ, (mask), (value) } } },
#define CALL_IF2(name, roles, a, a_value, b, b_value)                                              \
	{ SCMP_SYS(name),                                                                          \
	  (roles),                                                                                 \
	  2,                                                                                       \
	  { { (a), SCMP_CMP_EQ, (a_value), 0 }, { (b), SCMP_CMP_EQ, (b_value), 0 } } },
#include "engine/confine.def"
#undef CALL
#undef DEADLY
#undef CALL_IF
#undef CALL_IF2
};

static int rules_add(scmp_filter_ctx filter, unsigned which, enum confine_mode mode)
{
	const struct scmp_arg_cmp to_us = { 0, SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0 };
	int failed = 0;

	if (which == NO_CLONE3)
		return seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	for (size_t i = 0; i < ARRAY_COUNT(rules) && !failed; i++)
		failed = rule_add(filter, &rules[i], (enum confine_role)which, mode);
	/* abort(), and a crash that is handed on: signals to ourselves only */
	return failed ? failed
		      : seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1, &to_us);
}

/* Filters are no reason for the kernel to slow this process down against speculation between
 * processes (SECCOMP_FILTER_FLAG_SPEC_ALLOW, set where a program is loaded). Calls of another
 * architecture end the process. */
static int program_export(scmp_filter_ctx filter, struct program *program)
{
	int fd = memfd_create("filter", MFD_CLOEXEC), failed = -errno;
	struct stat status;

	if (fd < 0)
		return failed;
	if (!(failed = seccomp_export_bpf(filter, fd))) {
		must(fstat(fd, &status) == 0);
		must(status.st_size > 0 && status.st_size / 8 <= PROGRAM_STEPS_MAX);
		program->steps_count = (unsigned short)(status.st_size / 8);
		program->steps = malloc((size_t)status.st_size);
		failed = !program->steps ? -ENOMEM
			 : pread(fd, program->steps, (size_t)status.st_size, 0) == status.st_size
				 ? 0
				 : -EIO;
	}
	close(fd);
	return failed;
}

static int program_make(unsigned which, enum confine_mode mode)
{
	scmp_filter_ctx filter = seccomp_init(which == NO_CLONE3   ? SCMP_ACT_ALLOW
					      : mode == CONFINE_ON ? SCMP_ACT_ERRNO(EPERM)
								   : SCMP_ACT_LOG);
	int failed;

	if (!filter)
		return -ENOMEM;
	if (!(failed = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS)) &&
	    !(failed = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2)) &&
	    !(failed = rules_add(filter, which, mode)))
		failed = program_export(filter, &state.programs[which]);
	seccomp_release(filter);
	return failed;
}

/* ---- loading ---- */

static int program_load(unsigned which)
{
	const unsigned flags =
		SECCOMP_FILTER_FLAG_SPEC_ALLOW | (which == NO_CLONE3 ? 0 : SECCOMP_FILTER_FLAG_LOG);

	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &state.programs[which]) ? -errno
											    : 0;
}

static void stay_open(const char *what, int failed)
{
	snprintf(state.why, sizeof state.why, "%s: %s", what, strerror(-failed));
	log_event(LOG_WARN, "confine.none", "why=\"%s\"", state.why);
}

static void confine(enum confine_mode mode)
{
	int failed = 0;

	for (unsigned which = 0; which < PROGRAMS_COUNT && !failed; which++)
		failed = program_make(which, mode);
	if (failed) {
		stay_open("making seccomp filters", failed);
	} else if ((failed = program_load(NO_CLONE3)) || (failed = program_load(CONFINE_MAIN))) {
		stay_open("the kernel takes no seccomp filter", failed);
	} else {
		state.filtered = true;
		atomic_fetch_add(&threads, 1);
	}
}

void confine_process(enum confine_mode mode)
{
	must(!state.filtered);
	state.mode = mode;
	state.why[0] = '\0';
	if (mode == CONFINE_OFF) {
		snprintf(state.why, sizeof state.why, "asked for");
		return;
	}
	/* Without it an unprivileged process may load no filter. */
	state.no_new_privs = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
	/* Sanitizers start threads, read other threads' memory and map code when they like. */
	if (SANITIZED)
		snprintf(state.why, sizeof state.why,
			 "this build has sanitizers, which do what a filter forbids");
	else
		confine(mode);
}

bool confine_is_possible(void)
{
	const uint32_t kill = SECCOMP_RET_KILL_PROCESS;

	return !SANITIZED && syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &kill) == 0;
}

void confine_thread(enum confine_role role)
{
	int failed;

	must((unsigned)role < CONFINE_ROLES);
	if (!state.filtered)
		return;
	if ((failed = program_load(role)))
		log_event(LOG_WARN, "confine.thread_failed", "role=%u errno=%d", (unsigned)role,
			  -failed);
	else
		atomic_fetch_add(&threads, 1);
}

void confine_facts(struct confine_facts *facts)
{
	*facts = (struct confine_facts){
		.mode = state.mode,
		.filtered = state.filtered,
		.no_new_privs = state.no_new_privs,
		.threads = atomic_load(&threads),
	};
	snprintf(facts->why, sizeof facts->why, "%s", state.why);
}
