/* mailhaul version: what this program is, was built with and runs on. */
#include <expat.h>
#include <hwloc.h>
#include <libetpan/libetpan_version.h>
#include <liburing.h>
#include <openssl/crypto.h>
#include <seccomp.h>
#include <sodium/version.h>
#include <sqlite3.h>
#include <zlib.h>
#include <zstd.h>

#include "engine/confine.h"
#include "engine/ring.h"
#include "engine/shard.h"
#include "tools/commands.h"
#include "tools/hints.h"
#include "tools/json_out.h"

const char program_version[] = MAILHAUL_VERSION;

struct version {
	struct version_options {
		bool json;
	} options;
	struct ring_facts facts;
	enum err ring; /* why there are no facts */
	char note[ERR_NOTE_BYTES_MAX];
};

#ifdef IO_URING_VERSION_MAJOR
#define RING_LIBRARY_VERSION (IO_URING_VERSION_MAJOR * 100 + IO_URING_VERSION_MINOR)
#else
#define RING_LIBRARY_VERSION 0 /* its headers say so from 2.4 on */
#endif

/* What is loaded now, where the library says; otherwise what it was built with. */
struct library {
	const char *name;
	char version[64];
};

enum { LIBRARIES_COUNT = 10 };
static void find_libraries(struct library list[LIBRARIES_COUNT])
{
	XML_Expat_Version expat = XML_ExpatVersionInfo();
	unsigned hwloc = hwloc_get_api_version();
	struct {
		const char *name, *version;
	} const named[] = {
		{ "openssl", OpenSSL_version(OPENSSL_VERSION_STRING) },
		{ "libsodium", sodium_version_string() },
		{ "zstd", ZSTD_versionString() },
		{ "zlib", zlibVersion() },
		{ "sqlite", sqlite3_libversion() },
	};
	size_t n = 0;

	for (; n < ARRAY_COUNT(named); n++) {
		list[n].name = named[n].name;
		snprintf(list[n].version, sizeof list[n].version, "%s", named[n].version);
	}
	list[n].name = "liburing";
	if (RING_LIBRARY_VERSION)
		snprintf(list[n].version, sizeof list[n].version, "%d.%d",
			 RING_LIBRARY_VERSION / 100, RING_LIBRARY_VERSION % 100);
	else
		snprintf(list[n].version, sizeof list[n].version, "before 2.4");
	list[++n].name = "expat";
	snprintf(list[n].version, sizeof list[n].version, "%d.%d.%d", expat.major, expat.minor,
		 expat.micro);
	list[++n].name = "hwloc";
	snprintf(list[n].version, sizeof list[n].version, "%u.%u.%u", hwloc >> 16,
		 hwloc >> 8 & 0xff, hwloc & 0xff);
	list[++n].name = "libetpan";
	snprintf(list[n].version, sizeof list[n].version, "%d.%d", libetpan_get_version_major(),
		 libetpan_get_version_minor());
	list[++n].name = "libseccomp";
	snprintf(list[n].version, sizeof list[n].version, "%u.%u.%u", seccomp_version()->major,
		 seccomp_version()->minor, seccomp_version()->micro);
	must(n + 1 == LIBRARIES_COUNT);
}

static enum err take_facts(void *argument)
{
	struct version *version = argument;

	version->facts = *ring_facts(scheduler_ring());
	return OK;
}

static void tell_json(const struct version *version, const struct library *list)
{
	struct json_out json = { .file = stdout };

	json_object_begin(&json, NULL);
	json_text(&json, "version", program_version);
	json_text(&json, "compiler", __VERSION__);
	json_object_begin(&json, "libraries");
	for (size_t i = 0; i < LIBRARIES_COUNT; i++)
		json_text(&json, list[i].name, list[i].version);
	json_object_end(&json);
	json_bool(&json, "io_uring", version->ring == OK);
	if (version->ring) {
		json_text(&json, "io_uring_error", err_name(version->ring));
		json_text(&json, "io_uring_note", version->note);
	} else {
		json_text(&json, "kernel", version->facts.kernel);
		json_bool(&json, "receive_bundles", version->facts.bundles);
		json_bool(&json, "defer_taskrun", version->facts.defer_taskrun);
	}
	json_bool(&json, "seccomp", confine_is_possible());
	json_object_end(&json);
	json_line_end(&json);
}

static void tell_text(const struct version *version, const struct library *list)
{
	printf("mailhaul %s (%s)\n", program_version, __VERSION__);
	for (size_t i = 0; i < LIBRARIES_COUNT; i++)
		printf("  %-10s %s\n", list[i].name, list[i].version);
	if (version->ring)
		printf("  %-10s not usable: %s: %s. %s.\n", "io_uring", version->note,
		       err_text(version->ring), hint_for(version->ring));
	else
		printf("  %-10s %s\n  %-10s deferred task work: %s, receive bundles: %s\n",
		       "kernel", version->facts.kernel, "io_uring",
		       version->facts.defer_taskrun ? "yes" : "no",
		       version->facts.bundles ? "yes" : "no");
	printf("  %-10s filters for threads: %s\n", "seccomp",
	       confine_is_possible() ? "yes" : "no, so runs will not be confined");
}

static int version_main(int count, char *const *words)
{
	struct version version = { 0 };
	struct library list[LIBRARIES_COUNT];
	struct opt_words arguments;
	int exit_code;

	if (!command_parse(version_command.usage, count, words, &version.options, &arguments,
			   &exit_code))
		return exit_code;
	version.ring = shard_run(&(struct shard_config){ 0 }, take_facts, &version);
	if (version.ring)
		snprintf(version.note, sizeof version.note, "%s", err_note()->text);
	err_note_clear();
	find_libraries(list);
	if (version.options.json)
		tell_json(&version, list);
	else
		tell_text(&version, list);
	return command_finish_output("version", EXIT_ALL_MOVED);
}

static const struct opt options[] = {
	{ .name = "json",
	  OPT_STORES_FLAG(struct version_options, json),
	  .help = "Print one JSON object." },
};

static const struct opt_command usage = {
	.name = "version",
	.arguments = "",
	.summary = "show versions, and whether this system can run mailhaul",
	.about = "Show the versions of mailhaul and its libraries, and what the kernel's io_uring "
		 "offers.\n",
	.options = options,
	.options_count = ARRAY_COUNT(options),
	.examples = "  mailhaul version\n",
};

const struct command version_command = { &usage, version_main };
