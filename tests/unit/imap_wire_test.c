/* Which commands may leave the process: a conversation with a source can change nothing, whatever
 * mistake is made above it, one with a destination can delete nothing, and one that takes messages
 * back, or brings flags up to date, can do that and nothing else. */
#include "tests/test.h"

#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/clock.h"
#include "transport/imap_wire.h"

static enum err nothing_to_read(void *owner, void *to, size_t max, nsec until, size_t *got)
{
	(void)owner, (void)to, (void)max, (void)until;
	*got = 0;
	return ERR_NET_CLOSED;
}

static void send_command(const char *command, enum imap_wire_may may)
{
	const struct imap_port port = { .read = nothing_to_read };
	struct imap_wire *wire;

	must(imap_wire_open(&port, NULL, NSEC_SECOND, &wire) == OK);
	must(may != IMAP_WIRE_CHANGE || imap_wire_allow_changes(wire) == OK);
	if (may == IMAP_WIRE_REMOVE)
		imap_wire_allow_removal(wire);
	if (may == IMAP_WIRE_FLAG)
		imap_wire_allow_flags(wire);
	imap_wire_begin(wire);
	buffer_add_text(&wire->command, command);
	_exit(imap_wire_send(wire) ? 1 : 0);
}

/* There is no connection, so a command that is not refused ends the child too: which promise was
 * broken is what it says. */
static bool is_refused(const char *command, enum imap_wire_may may)
{
	struct rlimit none = { 0, 0 };
	FILE *said = tmpfile();
	char text[400] = "";
	pid_t child;

	must(said);
	fflush(NULL);
	if ((child = fork()) == 0) {
		setrlimit(RLIMIT_CORE, &none);
		must(dup2(fileno(said), STDERR_FILENO) >= 0);
		send_command(command, may);
	}
	must(child > 0 && waitpid(child, NULL, 0) == child);
	rewind(said);
	must(fread(text, 1, sizeof text - 1, said) > 0);
	fclose(said);
	return strstr(text, "is_allowed(wire)");
}

TEST(a_conversation_that_was_not_opened_to_change_refuses_what_would)
{
	static const char *const changing[] = { "APPEND \"INBOX\" {3+}", "CREATE \"x\"",
						"SUBSCRIBE \"x\"", "append \"INBOX\" {3+}" };

	for (unsigned i = 0; i < ARRAY_COUNT(changing); i++) {
		CHECK(is_refused(changing[i], IMAP_WIRE_READ));
		CHECK(is_refused(changing[i], IMAP_WIRE_REMOVE));
		CHECK(is_refused(changing[i], IMAP_WIRE_FLAG));
		CHECK(!is_refused(changing[i], IMAP_WIRE_CHANGE));
	}
}

TEST(nothing_is_deleted_or_changed_in_place_even_where_changes_are_allowed)
{
	static const char *const never[] = { "DELETE \"x\"",
					     "RENAME \"x\" \"y\"",
					     "UNSUBSCRIBE \"x\"",
					     "SELECT \"INBOX\"",
					     "STORE 1 +FLAGS (\\Deleted)",
					     "UID STORE 1 +FLAGS (\\Deleted)",
					     "EXPUNGE",
					     "UID EXPUNGE 1",
					     "CLOSE",
					     "MOVE 1 \"x\"",
					     "UID MOVE 1 \"x\"",
					     "REPLACE 1 \"x\" {3+}",
					     "UID FETCH 1 (BODY[])",
					     "APPENDX \"INBOX\"",
					     "CREATED",
					     "" };

	for (unsigned i = 0; i < ARRAY_COUNT(never); i++) {
		CHECK(is_refused(never[i], IMAP_WIRE_READ));
		CHECK(is_refused(never[i], IMAP_WIRE_CHANGE));
	}
}

TEST(what_changes_nothing_may_be_said_in_both)
{
	CHECK(!is_refused("NOOP", IMAP_WIRE_READ));
	CHECK(!is_refused("UID FETCH 1 (BODY.PEEK[])", IMAP_WIRE_READ));
	CHECK(!is_refused("NOOP", IMAP_WIRE_CHANGE));
	CHECK(!is_refused("STATUS \"INBOX\" (APPENDLIMIT)", IMAP_WIRE_CHANGE));
}

TEST(what_removes_may_be_said_where_it_was_allowed_and_by_uid_only)
{
	static const char *const removing[] = { "SELECT \"INBOX\"",
						"UID STORE 1:3,7 +FLAGS.SILENT (\\Deleted)",
						"UID EXPUNGE 1:3,7" };
	static const char *const never[] = { "EXPUNGE",
					     "CLOSE",
					     "STORE 1 +FLAGS.SILENT (\\Deleted)",
					     "UID STORE 1 +FLAGS.SILENT (\\Seen)",
					     "UID STORE 1 +FLAGS.SILENT (\\Deleted \\Seen)",
					     "UID STORE 1 -FLAGS.SILENT (\\Deleted)",
					     "UID STORE 1 FLAGS.SILENT (\\Deleted)",
					     "UID MOVE 1 \"x\"",
					     "DELETE \"x\"",
					     "UID FETCH 1 (BODY[])" };

	for (unsigned i = 0; i < ARRAY_COUNT(removing); i++) {
		CHECK(is_refused(removing[i], IMAP_WIRE_READ));
		CHECK(is_refused(removing[i], IMAP_WIRE_CHANGE));
		CHECK(!is_refused(removing[i], IMAP_WIRE_REMOVE));
	}
	for (unsigned i = 0; i < ARRAY_COUNT(never); i++)
		CHECK(is_refused(never[i], IMAP_WIRE_REMOVE));
	CHECK(!is_refused("UID FETCH 1 (UID)", IMAP_WIRE_REMOVE));
}

TEST(flags_may_be_named_where_that_was_allowed_and_by_uid_only)
{
	static const char *const flagging[] = {
		"SELECT \"INBOX\" (CONDSTORE)",
		"UID STORE 1:3,7 +FLAGS.SILENT (\\Seen $x)",
		"UID STORE 7 (UNCHANGEDSINCE 715194045007) +FLAGS.SILENT (\\Flagged)",
		"UID STORE 4294967295 -FLAGS.SILENT (\\Deleted \\Seen)",
	};
	static const char *const never[] = {
		"EXPUNGE",
		"CLOSE",
		"UID EXPUNGE 1",
		"STORE 1 +FLAGS.SILENT (\\Seen)",
		"UID STORE 1 FLAGS.SILENT (\\Seen)",
		"UID STORE 1 +FLAGS (\\Seen)",
		"UID STORE 1:* +FLAGS.SILENT (\\Seen)",
		"UID STORE * +FLAGS.SILENT (\\Seen)",
		"UID STORE 1, +FLAGS.SILENT (\\Seen)",
		"UID STORE 1 (UNCHANGEDSINCE) +FLAGS.SILENT (\\Seen)",
		"UID STORE 1 (X 1) +FLAGS.SILENT (\\Seen)",
		"UID STORE 1 +FLAGS.SILENT (\\Recent)",
		"UID STORE 1 +FLAGS.SILENT (\\Seen \\recent)",
		"UID STORE 1 +FLAGS.SILENT (\\Deleted \\Seen)",
		"UID STORE 1 +FLAGS.SILENT ()",
		"UID STORE 1 +FLAGS.SILENT (\\Seen) x",
		"UID STORE 1 +FLAGS.SILENT \\Seen",
		"UID STORE",
		"UID MOVE 1 \"x\"",
		"DELETE \"x\"",
	};

	for (unsigned i = 0; i < ARRAY_COUNT(flagging); i++) {
		CHECK(is_refused(flagging[i], IMAP_WIRE_READ));
		CHECK(is_refused(flagging[i], IMAP_WIRE_CHANGE));
		CHECK(!is_refused(flagging[i], IMAP_WIRE_FLAG));
	}
	for (unsigned i = 0; i < ARRAY_COUNT(never); i++)
		CHECK(is_refused(never[i], IMAP_WIRE_FLAG));
	CHECK(!is_refused("UID STORE 1 +FLAGS.SILENT (\\Deleted)", IMAP_WIRE_FLAG));
	CHECK(!is_refused("UID FETCH 1 (FLAGS MODSEQ)", IMAP_WIRE_FLAG));
	CHECK(is_refused("UID STORE 1 +FLAGS.SILENT (\\Seen)", IMAP_WIRE_REMOVE));
}
