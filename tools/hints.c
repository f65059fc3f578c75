#include "tools/hints.h"

#include <stdio.h>

#include "tools/terminal.h"

/* Most errors of one kind have one remedy. */
#define RUN_AGAIN    "Run the same command again: it goes on where it stopped"
#define SEE_HELP     "See mailhaul help"
#define REPORT_BUG   "This is a fault of mailhaul; please report it with this line"
#define LOOK_AT_DISK "Check the disk, then run the same command again: it goes on where it stopped"
#define SEE_RESIDENCY                                                                              \
	"Correct what leads there, or, if it may be, allow it in the policy (residency in a job; " \
	"docs/OPERATING.md, \"Residency\"); then run the same command again: it goes on where it " \
	"stopped"

static const char *const hints[ERR_COUNT] = {
	[ERR_FIBER_CANCELED] = RUN_AGAIN,
	[ERR_FIBER_TIMEOUT] =
		RUN_AGAIN ", perhaps with a larger --io-timeout (in a job: options.io_timeout)",
	[ERR_FIBER_STACKS] = "Free some memory, then run it again",
	[ERR_RING_ABSENT] = "Use Linux 6.1 or newer with io_uring built in",
	[ERR_RING_FORBIDDEN] =
		"Set sysctl kernel.io_uring_disabled=0, or let the container's seccomp profile "
		"allow io_uring_setup, io_uring_enter and io_uring_register",
	[ERR_RING_TOO_OLD] = "Use Linux 6.1 or newer",
	[ERR_RING_FAILED] = REPORT_BUG,
	[ERR_MEMORY_EXHAUSTED] = "Free some memory, then run it again",
	[ERR_MEMORY_RESERVE] = REPORT_BUG,
	[ERR_HELPER_FAILED] = RUN_AGAIN,
	[ERR_HELPER_DIED] = RUN_AGAIN "; see the system's log for who ended the process",
	[ERR_STREAM_ENDED] = REPORT_BUG,
	[ERR_STREAM_CUT] = RUN_AGAIN,
	[ERR_PIPE_ENDED] = REPORT_BUG,
	[ERR_DISK_FULL] = "Make room, then run the same command again: it goes on where it stopped",
	[ERR_DISK_DENIED] = "Check owner and permissions",
	[ERR_DISK_READ_ONLY] =
		"Check how the file system is mounted, and in the kernel's log whether its disk "
		"fails; then run the same command again",
	[ERR_DISK_ABSENT] = "Check the path",
	[ERR_DISK_EXISTS] = "Choose another place, or move what is there out of the way",
	[ERR_DISK_IO] = LOOK_AT_DISK,
	[ERR_NET_NAME] = "Check the host name in the URL and this machine's name lookup",
	[ERR_NET_REFUSED] =
		"Check host and port, and that the server accepts connections from here",
	[ERR_NET_UNREACHABLE] = "Check the network and firewalls between here and the server",
	[ERR_NET_TIMEOUT] = RUN_AGAIN
	", perhaps with a larger --io-timeout or --connect-timeout (in a job: options.io_timeout, "
	"options.connect_timeout)",
	[ERR_NET_CLOSED] = RUN_AGAIN,
	[ERR_NET_RESET] = RUN_AGAIN,
	[ERR_NET_LOCAL] = "Give --bind-address (in a job: source.bind_address, "
			  "target.bind_address) one of this machine's (see: ip address)",
	[ERR_RESIDENCY_ENDPOINT] = SEE_RESIDENCY,
	[ERR_RESIDENCY_KEY] = SEE_RESIDENCY,
	[ERR_PROXY_SYNTAX] = "Check host, port and scheme of --proxy (in a job: source.proxy, "
			     "target.proxy): socks5:// or http://",
	[ERR_PROXY_LOGIN] = "Check the user in the proxy's URL and --proxy-password-file (in a "
			    "job: proxy_password)",
	[ERR_PROXY_REFUSED] = "Check what the proxy says, and whether it may connect to that host "
			      "and port",
	[ERR_TLS_HANDSHAKE] = "Check that the port speaks TLS 1.2 or 1.3 (imaps:// is 993, imap:// "
			      "with STARTTLS is 143)",
	[ERR_TLS_UNTRUSTED] =
		"If you know the certificate's authority, give its certificate as --ca-file (in a "
		"job: source.ca_file, target.s3.ca_file)",
	[ERR_TLS_EXPIRED] = "Renew the server's certificate, or check this machine's clock",
	[ERR_TLS_HOSTNAME] = "Use the host name that the certificate was made for",
	[ERR_TLS_STRIPPED] = "Use imaps://, or find out who removes STARTTLS on the way",
	[ERR_TLS_INJECTED] =
		"Somebody tampers with this connection; use imaps:// and another network",
	[ERR_TLS_CUT] = RUN_AGAIN,
	[ERR_TLS_RECORD] = RUN_AGAIN,
	[ERR_TLS_SETUP] = "Check --ca-file (in a job: source.ca_file) and OpenSSL's configuration",
	[ERR_HTTP_SYNTAX] =
		"Check that the URL of the service (an S3 endpoint, oauth2.token_url) is "
		"right, and that no proxy answers in its place",
	[ERR_XML_SYNTAX] = "Check that the URL of the service is right, and that no proxy answers "
			   "in its place",
	[ERR_OAUTH2_REFUSED] =
		"Check client, secret and what the application was granted; what to set up is in "
		"docs/OPERATING.md, \"OAuth2\"",
	[ERR_OAUTH2_UNAVAILABLE] = RUN_AGAIN,
	[ERR_AWS_ABSENT] = "Name a profile (AWS_PROFILE), set AWS_ACCESS_KEY_ID and "
			   "AWS_SECRET_ACCESS_KEY, or run where AWS gives a role; what is read in "
			   "which order is in docs/AWS.md",
	[ERR_AWS_REFUSED] = "Check the role's trust policy, and what whoever asks for it may do; "
			    "try `aws sts get-caller-identity` with the same profile",
	[ERR_AWS_EXPIRED] = "Give it new credentials and run the same command again: it goes on "
			    "where it stopped",
	[ERR_AWS_UNAVAILABLE] = RUN_AGAIN,
	[ERR_S3_DENIED] =
		"Have it allowed (the role's or user's policy, the bucket's policy), then "
		"run the same command again",
	[ERR_S3_KEYS] = "Check which keys are used (docs/AWS.md says in which order they are "
			"looked for); try `aws sts get-caller-identity` with the same profile",
	[ERR_S3_BUCKET] = "Check the URL, and the endpoint where it is not AWS's own",
	[ERR_S3_REGION] = "Say the region (AWS_REGION, the profile's region, --source-aws-region, "
			  "--destination-aws-region; in a job: target.s3.region)",
	[ERR_S3_ABSENT] = "Check the URL; mailhaul verify tells what is missing in an archive",
	[ERR_S3_EXISTS] = "Let nobody else write there, then run the same command again",
	[ERR_S3_CHANGED] = "Let nobody else write there, then run the same command again",
	[ERR_S3_CHECKSUM] = RUN_AGAIN,
	[ERR_S3_FULL] = "Make room or raise the quota, then run the same command again",
	[ERR_S3_LACKS] =
		"Use a server that knows it; docs/FORMAT.md, section 11, says what is asked",
	[ERR_S3_REFUSED] = "See what it says; for AWS's support, give both ids",
	[ERR_S3_ARCHIVED] =
		"Restore it (aws s3api restore-object), then run the same command again",
	[ERR_S3_RESIDENCY] =
		"Choose a bucket that keeps it there; what is asked is in docs/AWS.md, "
		"\"The bucket guard\"",
	[ERR_S3_POLICY] =
		"Set the bucket up as said, or say with --destination-s3-guard (in a job: "
		"target.s3.guard) how much that is worth",
	[ERR_S3_UNFIT] =
		"See the report for what is wrong with which object, and find out who writes "
		"there; mailhaul verify reads all of them",
	[ERR_S3_THROTTLED] = "Wait a while, then run the same command again",
	[ERR_S3_UNAVAILABLE] = "Wait a while, then run the same command again",
	[ERR_IMAP_SYNTAX] = RUN_AGAIN
	"; if it fails there each time, please report it with a log of level debug",
	[ERR_IMAP_DEFLATE] = RUN_AGAIN
	"; if it is damaged each time, run without --compress (in a job: source.compress, "
	"target.compress)",
	[ERR_IMAP_BYE] = RUN_AGAIN,
	[ERR_IMAP_LOGIN] =
		"Check the user and the password, and that the account may log in over IMAP",
	[ERR_IMAP_NO_AUTH] =
		"Let the server offer PLAIN or LOGIN over TLS to this account, or, where it takes "
		"tokens, log in with OAuth2 (docs/OPERATING.md)",
	[ERR_IMAP_THROTTLED] = "Wait a while, then run the same command again",
	[ERR_IMAP_UNAVAILABLE] = "Wait a while, then run the same command again",
	[ERR_IMAP_REFUSED] =
		"See the report for what was refused; what the account may do is set on the server",
	[ERR_IMAP_BOX_GONE] = RUN_AGAIN,
	[ERR_IMAP_MSG_GONE] = "Nothing needs to be done: somebody removed it meanwhile",
	[ERR_IMAP_MSG_REFUSED] = "Open the message on the server; it may be damaged there",
	[ERR_IMAP_BAD] = "Please report it with a log of level debug",
	[ERR_SOURCE_POISON] = "Open the message on the server; it may be damaged there",
	[ERR_SOURCE_NAME] = "Give it a shorter name with --rename-folder (in a job: "
			    "filter.rename_folders)",
	[ERR_SOURCE_FILTERED] = "Nothing is wrong: the filter is to leave it out",
	[ERR_SOURCE_SIZE] = "Move this message by other means",
	[ERR_SOURCE_CHANGED] = RUN_AGAIN "; somebody replaced the object while it was read",
	[ERR_SOURCE_ENCRYPTED] =
		"Decrypt it with the client that encrypted it, and put it there as "
		"it is; see docs/AWS.md",
	[ERR_SOURCE_ARCHIVED] = "Restore the object, then run the same command again",
	[ERR_SOURCE_NOT_MAIL] =
		"Look at what it is; if it is mail after all, move it by other means",
	[ERR_SOURCE_STUCK] = RUN_AGAIN "; the report names the folders",
	[ERR_SOURCE_EPOCH] = RUN_AGAIN "; the server replaced the folder while it was read",
	[ERR_SOURCE_AGAIN] = RUN_AGAIN "; the server replaced a folder while it was read",
	[ERR_SOURCE_FOREIGN] = "Check the source's URL",
	[ERR_SOURCE_DAMAGED] = "Bring the pack back from a copy of the source archive (mailhaul "
			       "verify names it), then run with --retry-skipped SOURCE_DAMAGED",
	[ERR_SOURCE_LABELS] = "In Gmail's settings, under Labels, have All Mail shown in "
			      "IMAP; or take folders as they are (--gmail-labels folders)",
	[ERR_SOURCE_LOST] = "Bring the files that mailhaul verify names back from a copy of the "
			    "source archive, then run the same command again",
	[ERR_SINK_REFUSED] = "See the report for the reason",
	[ERR_SINK_FINISHED] = REPORT_BUG,
	[ERR_SINK_FOREIGN] = "Choose an empty directory, or one that mailhaul filled",
	[ERR_SINK_BUSY] = "Wait until the other run has ended",
	[ERR_SINK_LEDGER_LOST] = "Name the state directory of the runs that filled this target "
				 "(--state; in a job: state), or choose an empty directory",
	[ERR_SINK_DAMAGED] = "Run mailhaul verify on the target to see what is wrong",
	[ERR_SINK_DIGEST] = "Keep the digest the target was begun with, or choose another target",
	[ERR_SINK_KEEPS] = "Remove them with a mail program; mailhaul verify and the ledger's view "
			   "\"message\" (docs/LEDGER.md) tell which are meant",
	[ERR_SINK_QUOTA] = "Raise the quota, then run the same command again",
	[ERR_LIMIT_DAY] = "Run the same command again then: it goes on where it stopped; "
			  "--daily-down and --daily-up (in a job: source.daily_down, "
			  "target.daily_up) say how much a day",
	[ERR_INPUT_ADDRESS] = "Choose a free port of 127.0.0.1, or unix:/path",
	[ERR_TOPOLOGY_UNREADABLE] = "Check that /sys is mounted and readable",
	[ERR_ARCHIVE_DAMAGED] = "mailhaul verify names everything that is wrong; bring those files "
				"back from a copy",
	[ERR_ARCHIVE_FORMAT] = "Check the path: it names a directory that copy or run filled",
	[ERR_ARCHIVE_NO_MATCH] = "See mailhaul list for what is in the archive",
	[ERR_LEDGER_BUSY] = "Wait until the other run has ended; mailhaul status shows it",
	[ERR_LEDGER_DAMAGED] = "Check the disk; bring ledger.db back from a copy",
	[ERR_LEDGER_VERSION] = "Use the version of mailhaul that wrote it",
	[ERR_LEDGER_STATE] = REPORT_BUG,
	[ERR_LEDGER_UNSETTLED] = "Run the copy again: it finds out; then this",
	[ERR_LEDGER_ABSENT] =
		"Check --state; it names the directory in which copy or run keep their ledger",
	[ERR_INPUT_USAGE] = SEE_HELP,
	[ERR_INPUT_FILE] = "Check the file",
	[ERR_INPUT_SECRET] =
		"Check what the reference names; a file holds the secret on its first line, is "
		"yours and has mode 0600",
};

const char hint_exit_codes[] =
	"  0        all moved, or nothing left to do\n"
	"  12       TLS: certificate not trusted, expired, of another host; handshake failed\n"
	"  64       the command line is not understood\n"
	"  65       an input file or archive cannot be read\n"
	"  70       an internal fault, or a system without io_uring\n"
	"  73       the target is not writable, or holds something foreign\n"
	"  74       the disk is full, or input and output failed\n"
	"  75       stopped on request or by the job's window, ledger or target busy, or a daily\n"
	"           byte budget used up: run again later\n"
	"  101 102  no connection to the source, to the destination\n"
	"  111      finished, but some messages or folders were skipped or failed\n"
	"  113      the destination is over its quota\n"
	"  120      a host, an address or a key outside of the residency policy\n"
	"  121      something stored is not what was sent\n"
	"  130 143  stopped at once by a second SIGINT, SIGTERM\n"
	"  161 162  login refused by the source, by the destination\n"
	"Of several causes the first in this order decides: 121, 120, 75, 111.\n";

const char *hint_for(enum err e)
{
	must(e > OK && e < ERR_COUNT);
	return hints[e] ? hints[e] : REPORT_BUG;
}

char *hint_sentence(enum err e, const struct err_note *note, char *to, size_t to_bytes)
{
	char shown[ERR_NOTE_BYTES_MAX * 2];
	bool noted = note->error && *note->text;
	bool says_all = noted && note->error == e && (note->errno_value || e == ERR_INPUT_USAGE);

	terminal_text(shown, sizeof shown, noted ? note->text : "");
	snprintf(to, to_bytes, "%s%s%s. %s", shown, noted && !says_all ? ": " : "",
		 says_all ? "" : err_text(e), hint_for(e));
	return to;
}

int hint_fail(const char *command, enum err e)
{
	char sentence[ERR_NOTE_BYTES_MAX * 4];
	bool names_command = e == ERR_INPUT_USAGE && *command && strcmp(command, "help") != 0;

	terminal_restore();
	fprintf(stderr, "mailhaul: %s%s%s%s%s.\n", command, *command ? ": " : "",
		hint_sentence(e, err_note(), sentence, sizeof sentence), names_command ? " " : "",
		names_command ? command : "");
	err_note_clear();
	return err_exit_code(e);
}
