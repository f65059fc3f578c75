/* The vectors of tests/vec: each is an archive and what a reader must find in it
 * (tests/vec/README.md). Our reader finds that, stock tools agree on the sound ones, and building
 * the sound ones again from the same messages gives the same bytes. MAILHAUL_WRITE_VECTORS=1 writes
 * them anew. */
#include <glob.h>
#include <stdarg.h>

#include "tests/unit/archive_help.h"
#include "transport/archive_mark.h"
#include "transport/changes.h"
#include "transport/json.h"
#include "transport/manifest.h"
#include "transport/pack.h"
#include "transport/pack_read.h"

/* ---- the messages of the sound vectors ---- */

struct mail {
	const char *box;
	char separator;
	uint64_t epoch, no;
	const char *bytes;
	struct mail_date date;
	uint32_t flags;
	const char *keywords;
	enum mail_kind kind;
};

struct vector {
	const char *name, *digest;
	int level;
	struct mail mails[8];
};

static const char letter[] =
	"From: Alice <alice@example.org>\r\nTo: bob@example.org\r\nSubject: one\r\n"
	"Date: Sat, 1 Mar 2014 08:00:00 +0100\r\n\r\nOne line.\r\n";
static const char bare[] = "Subject: bare line ends\n\nCR alone:\r8-bit: \xE4\xF6\xFC\nno end";
static const char long_box[] = "0123456789012345678901234567890123456789012345678901234567890123456"
			       "789012345678901234567890123456789"
			       "0123456789012345678901234567890123456789012345678901234567890123456"
			       "789012345678901234567890123456789"
			       "0123456789012345678901234567890123456789012345678901234567890123456"
			       "789012345678901234567890123456789";

static const struct vector vectors[] = {
	{ "one-message",
	  "blake3",
	  1,
	  { { "INBOX",
	      '/',
	      1700000000,
	      17,
	      letter,
	      { 1393657200, 60, true },
	      MAIL_SEEN | MAIL_FLAGGED,
	      "$Label1 work",
	      MAIL_PLAIN } } },
	{ "not-compressed",
	  "sha-256",
	  0,
	  { { "INBOX", '.', 7, 1, letter, { 1393657200, -330, true }, 0, "", MAIL_PGP_SIGNED },
	    { "INBOX.Sent", '.', 7, 4294967295, bare, { 0 }, 31, "", MAIL_PLAIN } } },
	{ "empty-message",
	  "blake3",
	  1,
	  { { "INBOX", '/', 1, 1, "", { 0, 0, true }, 0, "", MAIL_PLAIN },
	    { "INBOX", '/', 1, 2, letter, { 1393657200, 0, true }, 0, "", MAIL_PLAIN } } },
	{ "hard-names",
	  "blake2b-256",
	  1,
	  { { "../../x", '/', 1, 1, letter, { -86400, 0, true }, 0, "", MAIL_PLAIN },
	    { "Entw\xC3\xBCrfe/\xD0\x9F\xD0\xB8\xD1\x81\xD1\x8C\xD0\xBC\xD0\xB0",
	      '/',
	      2,
	      1,
	      bare,
	      { 0 },
	      MAIL_DRAFT,
	      "",
	      MAIL_PLAIN },
	    { "a\"b\\c",
	      '/',
	      3,
	      1,
	      letter,
	      { 1393657200, 0, true },
	      0,
	      "$Forwarded",
	      MAIL_SMIME_SIGNED },
	    { "Case", '/', 4, 1, "upper", { 0 }, 0, "", MAIL_PLAIN },
	    { "case", '/', 4, 1, "lower", { 0 }, 0, "", MAIL_PLAIN },
	    { long_box, '/', 5, 1, "long", { 0 }, 0, "", MAIL_PLAIN },
	    { "no/levels", '\0', 6, 1, "flat", { 0 }, 0, "", MAIL_PLAIN } } },
};

static const char vec_root[] = "tests/vec", mailbox_name[] = "alice@mail.example.com";

/* ---- building one ---- */

struct build {
	struct account account;
	char path[300];
	struct store *store;
	struct tap *tap;
	struct reserve *reserve;
	struct pack *pack;
	struct pack_done done;
	struct manifest_boxes boxes;
	struct buffer escaped, tar_path;
	char mailbox_key[ARCHIVE_MAILBOX_KEY_BYTES_MAX + 1];
};

static struct build build;
static struct box box;

static enum err build_open(const struct vector *vector, const char *path)
{
	static const char marker[] =
		"{\"format\":\"mailhaul-archive\",\"version\":1,\"ledger\":"
		"\"000102030405060708090a0b0c0d0e0f\",\"created\":\"2023-11-14T22:13:20+00:00\"}\n";
	struct archive_mailbox_mark mark = { 0 };
	enum err e;

	build = (struct build){ 0 };
	snprintf(build.path, sizeof build.path, "%s", path);
	snprintf(mark.name, sizeof mark.name, "%s", mailbox_name);
	snprintf(mark.digest_name, sizeof mark.digest_name, "%s", vector->digest);
	build.account =
		(struct account){ .scheme = "file", .path = build.path, .shown = build.path };
	if ((e = store_dir.open(&build.store, &build.account, true, clock_after(NSEC_SECOND))) ||
	    (e = store_dir.lock(build.store)) ||
	    (e = store_put_whole(build.store, "mailhaul-archive.json", marker,
				 sizeof marker - 1)) ||
	    (e = archive_mailbox_key(build.mailbox_key, mailbox_name)) ||
	    (e = archive_mailbox_write(build.store, build.mailbox_key, &mark)) ||
	    (e = digest_open(digest_type(text_of(vector->digest)), &build.tap)))
		return e;
	return reserve_open(arena_current(), IOLIST_SLICES_MAX, clock_after(NSEC_SECOND),
			    &build.reserve);
}

static enum err build_mail(const struct mail *mail)
{
	struct body_stream body = body_of(build.reserve, mail->bytes, strlen(mail->bytes), 0);
	static struct item item;
	struct pack_box pack_box = { .box_no = 1,
				     .epoch = mail->epoch,
				     .name = text_of(mail->box),
				     .separator = mail->separator };
	struct digesting digesting;
	bool broken;
	enum err e;

	memset(&item, 0, sizeof item);
	item.no = mail->no;
	item.box_no = 1;
	item.size_bytes = (int64_t)body.length;
	item.body = &body.base;
	item.mail_kind = mail->kind;
	item.meta.flags = mail->flags;
	item.meta.date = mail->date;
	item.meta.keywords_bytes = (uint16_t)strlen(mail->keywords);
	bytes_copy(item.meta.keywords, mail->keywords, item.meta.keywords_bytes, BYTES_META);
	memset(&box, 0, sizeof box);
	snprintf(box.name, sizeof box.name, "%s", mail->box);
	snprintf(box.raw, sizeof box.raw, "%s", mail->box);
	box.selectable = box.subscribed = true;
	box.separator = mail->separator;
	box.epoch = mail->epoch;
	buffer_reset(&build.escaped);
	buffer_reset(&build.tar_path);
	json_escape(&build.escaped, text_of(mail->box));
	if ((e = manifest_boxes_add(&build.boxes, &box)) ||
	    (e = tar_path_add(&build.tar_path, text_of(mail->box), mail->separator)))
		return e;
	pack_box.escaped = (struct text){ build.escaped.at, build.escaped.bytes };
	pack_box.path = (struct text){ build.tar_path.at, build.tar_path.bytes };
	digesting_open(&digesting, &item, build.tap->type);
	e = pack_add(build.pack, &pack_box, &item, &broken);
	digesting_close(&digesting);
	return e;
}

static enum err build_pack(const struct vector *vector)
{
	struct pack_config config = { .store = build.store,
				      .digest = digest_type(text_of(vector->digest)),
				      .digest_of_store = build.tap,
				      .zstd_level = vector->level,
				      .pack_bytes = UINT64_MAX,
				      .mailbox_name = mailbox_name };
	char key[STORE_KEY_BYTES_MAX + 1], index_key[STORE_KEY_BYTES_MAX + 1];
	enum err e;

	pack_key(key, build.mailbox_key, 1, vector->level > 0);
	pack_index_key(index_key, key);
	if ((e = pack_open(&config, &build.pack)) || (e = pack_begin(build.pack, key, 1700000000)))
		return e;
	for (const struct mail *mail = vector->mails; mail->box && !e; mail++)
		e = build_mail(mail);
	if (e || (e = pack_end(build.pack, &build.done)) ||
	    (e = store_dir.put_seal(build.done.put)) ||
	    (e = store_dir.put_publish(&build.done.put)))
		return e;
	return store_put_whole(build.store, index_key, build.done.index.at, build.done.index.bytes);
}

static enum err build_manifest(const struct vector *vector)
{
	struct manifest_next next = { .mailbox_key = build.mailbox_key,
				      .mailbox_name = mailbox_name,
				      .digest = digest_type(text_of(vector->digest)),
				      .boxes = &build.boxes };

	return manifest_write(build.store, &next);
}

static void build_close(void)
{
	if (build.store)
		pack_done_free(build.store, &build.done);
	pack_close(&build.pack);
	manifest_boxes_free(&build.boxes);
	buffer_free(&build.escaped);
	buffer_free(&build.tar_path);
	if (build.tap)
		build.tap->type->close(&build.tap);
	reserve_close(&build.reserve);
	store_dir.close(&build.store);
}

static bool build_vector(const struct vector *vector, const char *path)
{
	bool well = CHECK_OK(build_open(vector, path)) && CHECK_OK(build_pack(vector)) &&
		    CHECK_OK(build_manifest(vector));

	build_close();
	return well;
}

/* ---- what is written when asked for ---- */

static bool write_wanted(void)
{
	return getenv("MAILHAUL_WRITE_VECTORS") != NULL;
}

static void run(const char *format, ...) PRINTF_LIKE(1, 2);
static void run(const char *format, ...)
{
	static char command[2000], output[2000];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(command, sizeof command, format, arguments);
	va_end(arguments);
	if (shell(command, output, sizeof output) != 0)
		test_failed(__FILE__, __LINE__, "%s: %s", command, output);
}

static void write_sound(const struct vector *vector)
{
	char path[300];

	run("rm -rf %s/%s && mkdir -p %s/%s/archive", vec_root, vector->name, vec_root,
	    vector->name);
	snprintf(path, sizeof path, "%s/%s/archive", vec_root, vector->name);
	if (!build_vector(vector, path))
		return;
	run("cd %s && rm -rf .tmp .lock && (echo verify sound; cd %s && f=$(ls packs/*) && mkdir x "
	    "&& "
	    "(case $f in *.zst) zstd -dcq $f;; *) cat $f;; esac) | tar -x -C x && "
	    "sed -n '/mailhaul/!p' x/.mailhaul/*SUMS | sed 's/^\\([0-9a-f]*\\) .*/message \\1/'; "
	    "rm -rf x) > ../expect",
	    path, build.mailbox_key);
}

/* From a sound one by a change to its bytes: python3 on `pack`, `index` (paths) and `table` (offset
 * of the first entry). */
static void write_damaged(const char *name, const char *from, const char *script,
			  const char *expect)
{
	run("cd %s && rm -rf %s && cp -r %s %s && cd %s/archive/alice* && python3 - packs/* "
	    "index/* <<'EOF'\n"
	    "import sys, struct, subprocess\n"
	    "pack_path, index_path = sys.argv[1:3]\n"
	    "pack = bytearray(open(pack_path, 'rb').read())\n"
	    "frames = struct.unpack('<I', pack[-9:-5])[0]\n"
	    "table = len(pack) - 9 - 8 * frames\n"
	    "def index(change):\n"
	    "    text = subprocess.run(['zstd', '-dcq', index_path], "
	    "stdout=subprocess.PIPE).stdout\n"
	    "    head, rest = text.split(b'\\n', 1)\n"
	    "    made = b''.join(subprocess.run(['zstd', '-1cq', '--stream-size=%%d' %% len(p), "
	    "'-'], input=p,\n"
	    "                    stdout=subprocess.PIPE).stdout for p in (head + b'\\n', "
	    "change(rest)))\n"
	    "    open(index_path, 'wb').write(made)\n"
	    "%s\n"
	    "open(pack_path, 'wb').write(pack)\n"
	    "EOF\n"
	    "printf '%s' > ../../expect",
	    vec_root, name, from, name, name, script, expect);
}

/* What a later run recorded beside the messages of `empty-message`. */
static enum err add_changes(bool lies)
{
	static struct change change;
	struct changes *changes = NULL;
	enum err e = changes_open(build.store, build.mailbox_key, mailbox_name, &changes);

	box.epoch = 2;
	change = (struct change){ .kind = CHANGE_RENUMBERED,
				  .box = &box,
				  .epoch = 2,
				  .no = 7,
				  .was_box = "INBOX",
				  .was_epoch = 1,
				  .was_no = lies ? 99 : 1,
				  .meta.flags = MAIL_SEEN };
	if (!e)
		e = changes_add(changes, &change);
	if (!e)
		e = changes_flush(changes);
	change.kind = CHANGE_REFLAGGED;
	change.meta.flags = MAIL_FLAGGED | MAIL_DRAFT;
	change.meta.keywords_bytes = 11;
	bytes_copy(change.meta.keywords, "$Work later", 11, BYTES_META);
	if (!e && !lies)
		e = changes_add(changes, &change);
	change = (struct change){ .kind = CHANGE_VANISHED, .box = &box, .epoch = 1, .no = 2 };
	if (!e)
		e = changes_add(changes, &change);
	if (!e)
		e = changes_flush(changes);
	if (changes)
		changes_close(&changes);
	return e;
}

/* The same messages, and what a second run told of them. */
static void write_changed(const char *name, bool lies, const char *then, const char *expect)
{
	const struct vector *vector = &vectors[2];
	char path[300];

	must(strcmp(vector->name, "empty-message") == 0);
	run("rm -rf %s/%s && mkdir -p %s/%s/archive", vec_root, name, vec_root, name);
	snprintf(path, sizeof path, "%s/%s/archive", vec_root, name);
	if (CHECK_OK(build_open(vector, path)) && CHECK_OK(build_pack(vector)) &&
	    CHECK_OK(build_manifest(vector)) && CHECK_OK(add_changes(lies))) {
		manifest_boxes_free(&build.boxes);
		CHECK_OK(manifest_boxes_add(&build.boxes, &box));
		CHECK_OK(build_manifest(vector));
	}
	build_close();
	run("cd %s/%s && rm -rf archive/.tmp archive/.lock && cd archive/alice* && %s && "
	    "printf '%s' > ../../expect",
	    vec_root, name, then, expect);
}

#define EMPTY_DIGEST  "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
#define LETTER_DIGEST "51fc3089844f23ce5cda1884afa561981318238a92df918d591b68866c96522f"

TEST_FIBER(vectors_of_changes_are_written_when_asked_for)
{
	if (!write_wanted())
		return;
	write_changed("changed", false, "true",
		      "verify sound\n"
		      "message " EMPTY_DIGEST " now INBOX 2 7 \"flagged draft\" \"$Work later\"\n"
		      "message " LETTER_DIGEST " now INBOX 1 2 \"\" \"\" vanished\n");
	write_changed("changes-lie", true, "true",
		      "verify damaged changes\n"
		      "message " EMPTY_DIGEST " now INBOX 1 1 \"\" \"\"\n"
		      "message " LETTER_DIGEST " now INBOX 1 2 \"\" \"\" vanished\n");
	write_changed("changes-cut", false, "truncate -s -30 changes/000000000002.ndjson.zst",
		      "verify damaged changes/000000000002\n"
		      "changes damaged\n"
		      "message " EMPTY_DIGEST " now INBOX 2 7 \"seen\" \"\"\n"
		      "message " LETTER_DIGEST " now INBOX 1 2 \"\" \"\"\n");
}

TEST_FIBER(vectors_are_written_when_asked_for)
{
	if (!write_wanted())
		return;
	for (size_t i = 0; i < ARRAY_COUNT(vectors); i++)
		write_sound(&vectors[i]);
	write_damaged("cut-pack", "one-message", "del pack[-100:]",
		      "verify damaged packs/\\nmessage damaged\\n");
	write_damaged("flipped-bit", "empty-message", "pack[60] ^= 4",
		      "verify damaged packs/\\n"
		      "message "
		      "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262\\nmessage "
		      "damaged\\n");
	write_damaged("table-lies", "one-message",
		      "pack[table + 4:table + 8] = struct.pack('<I', 0x7fffffff)",
		      "verify damaged packs/\\nmessage damaged\\n");
	write_damaged("index-lies", "one-message",
		      "index(lambda t: t.replace(b'\"body\":1536', b'\"body\":1535'))",
		      "verify damaged packs/\\nmessage damaged\\n");
	write_damaged(
		"index-beyond", "one-message",
		"index(lambda t: t.replace(b'\"body\":1536', b'\"body\":4611686018427387903'))",
		"verify damaged packs/\\nmessage damaged\\n");
	write_damaged("index-deep", "one-message",
		      "index(lambda t: b'{\"x\":' + b'[' * 30000 + b'\\n')",
		      "verify damaged packs/\\nindex damaged\\n"
		      "message "
		      "51fc3089844f23ce5cda1884afa561981318238a92df918d591b68866c96522f\\n");
}

/* ---- reading them all ---- */

static void check_now(const struct archive_message *message, const char *wanted)
{
	struct buffer now = { 0 };

	buffer_addf(&now, "%s %llu %llu \"", message->box, (unsigned long long)message->epoch,
		    (unsigned long long)message->no);
	pack_flags_add(&now, message->meta.flags);
	buffer_addf(&now, "\" \"%.*s\"%s", message->meta.keywords_bytes, message->meta.keywords,
		    message->vanished ? " vanished" : "");
	CHECK_TEXT(now.at, wanted);
	buffer_free(&now);
}

static void check_messages(struct archive *archive, FILE *expect)
{
	static struct archive_mailbox mailbox;
	static struct archive_message message;
	char line[200], wanted[80], now[120], hex[2 * DIGEST_BYTES + 1];
	struct buffer got = { 0 };
	enum err e = archive_mailbox_next(archive, &mailbox);

	CHECK_OK(e);
	while (fgets(line, sizeof line, expect)) {
		if (strcmp(line, "index damaged\n") == 0 ||
		    strcmp(line, "changes damaged\n") == 0) {
			CHECK_ERR(archive_message_next(archive, &message), ERR_ARCHIVE_DAMAGED);
			err_note_clear();
			continue;
		}
		now[0] = '\0';
		REQUIRE(sscanf(line, "message %79s now %119[^\n]", wanted, now) >= 1);
		REQUIRE(CHECK_OK(archive_message_next(archive, &message)));
		buffer_reset(&got);
		e = archive_message_read(archive, &message, collect, &got);
		CHECK_ERR(e, strcmp(wanted, "damaged") == 0 ? ERR_ARCHIVE_DAMAGED : OK);
		err_note_clear();
		bytes_to_hex(hex, message.digest.bytes, DIGEST_BYTES);
		if (e == OK)
			CHECK_TEXT(hex, wanted);
		if (now[0])
			check_now(&message, now);
	}
	CHECK_ERR(archive_message_next(archive, &message), ERR_PIPE_ENDED);
	buffer_free(&got);
}

static void check_vector(const char *directory)
{
	struct account account = { .scheme = "file" };
	struct archive *archive = NULL;
	struct archive_check check;
	static struct faults faults;
	char path[300], line[200] = "", wanted[40] = "", where[40] = "";
	FILE *expect;

	snprintf(path, sizeof path, "%s/expect", directory);
	REQUIRE((expect = fopen(path, "r")) != NULL);
	CHECK(fgets(line, sizeof line, expect) != NULL);
	CHECK(sscanf(line, "verify %39s %39s", wanted, where) >= 1);
	snprintf(path, sizeof path, "%s/archive", directory);
	account.path = account.shown = path;
	faults = (struct faults){ 0 };
	if (CHECK_OK(archive_open(&store_dir, &account, clock_after(NSEC_SECOND), &archive))) {
		CHECK_ERR(archive_verify(archive, fault_seen, &faults, &check),
			  strcmp(wanted, "sound") == 0 ? OK : ERR_ARCHIVE_DAMAGED);
		CHECK(strstr(faults.first_key, where) != NULL);
		err_note_clear();
		check_messages(archive, expect);
	}
	archive_close(&archive);
	fclose(expect);
}

TEST_FIBER(each_vector_is_found_as_it_says)
{
	glob_t found;
	char pattern[100];

	snprintf(pattern, sizeof pattern, "%s/*/expect", vec_root);
	REQUIRE(glob(pattern, 0, NULL, &found) == 0);
	CHECK(found.gl_pathc >= 13);
	for (size_t i = 0; i < found.gl_pathc; i++) {
		*strrchr(found.gl_pathv[i], '/') = '\0';
		printf("  %s\n", found.gl_pathv[i]);
		check_vector(found.gl_pathv[i]);
	}
	globfree(&found);
}

/* ---- the same messages give the same bytes ---- */

/* Unpacked bytes of a pack or an index; the rest as it is. The header line of an index holds the
 * length and digest of the pack as compressed, the first line of a manifest a date: both are left
 * out. */
static void plain_of(struct store *store, const char *key, struct buffer *to)
{
	struct pack_read *pack = NULL;
	struct ndjson *lines = NULL;
	struct text line;
	const uint8_t *at;
	size_t n;

	buffer_reset(to);
	if (strstr(key, "/packs/")) {
		REQUIRE(CHECK_OK(pack_read_open(store, key, &pack)));
		while (pack_read_next(pack, &at, &n) == OK)
			buffer_add(to, at, n);
	} else {
		REQUIRE(CHECK_OK(ndjson_open(store, key, &lines)));
		while (ndjson_next(lines, &line) == OK)
			if (ndjson_lines(lines) > 1 &&
			    !memmem(line.at, line.bytes, "pack_digest", 11))
				buffer_add(to, line.at, line.bytes);
	}
	pack_read_close(&pack);
	ndjson_close(&lines);
}

static void compare_key(struct store *stored, struct store *built, const char *key)
{
	struct buffer a = { 0 }, b = { 0 };

	plain_of(stored, key, &a);
	plain_of(built, key, &b);
	CHECK(a.bytes > 0 && a.bytes == b.bytes && memcmp(a.at, b.at, a.bytes) == 0);
	buffer_free(&a);
	buffer_free(&b);
}

static void rebuild(const struct vector *vector)
{
	struct account account = { .scheme = "file" };
	struct store *stored = NULL, *built = NULL;
	char path[300], built_path[300], key[STORE_KEY_BYTES_MAX + 1],
		index[STORE_KEY_BYTES_MAX + 1];

	snprintf(path, sizeof path, "%s/%s/archive", vec_root, vector->name);
	snprintf(built_path, sizeof built_path, "%s/%s", test_directory(), vector->name);
	REQUIRE(build_vector(vector, built_path));
	account.path = account.shown = path;
	CHECK_OK(store_dir.open(&stored, &account, false, clock_after(NSEC_SECOND)));
	account.path = account.shown = built_path;
	CHECK_OK(store_dir.open(&built, &account, false, clock_after(NSEC_SECOND)));
	if (stored && built) {
		pack_key(key, build.mailbox_key, 1, vector->level > 0);
		pack_index_key(index, key);
		compare_key(stored, built, key);
		compare_key(stored, built, index);
		manifest_key(key, build.mailbox_key, 1);
		compare_key(stored, built, key);
	}
	store_dir.close(&stored);
	store_dir.close(&built);
}

TEST_FIBER(building_again_gives_the_same_bytes)
{
	for (size_t i = 0; i < ARRAY_COUNT(vectors); i++)
		rebuild(&vectors[i]);
}

/* ---- stock tools ---- */

TEST_FIBER(stock_tools_open_the_sound_ones)
{
	static const char *const tools[] = { "zstd", "tar", "b3sum", "b2sum", "sha256sum" };

	for (size_t i = 0; i < ARRAY_COUNT(tools); i++)
		if (!have_program(tools[i]))
			SKIP("%s is not installed", tools[i]);
	for (size_t i = 0; i < ARRAY_COUNT(vectors); i++) {
		const char *check = strcmp(vectors[i].digest, "blake3") == 0
					    ? "b3sum -c .mailhaul/B3SUMS"
				    : strcmp(vectors[i].digest, "sha-256") == 0
					    ? "sha256sum --strict -c .mailhaul/SHA256SUMS"
					    : "b2sum -l 256 --strict -c .mailhaul/B2SUMS";

		run("mkdir %s/%s && pack=$(realpath %s/%s/archive/*/packs/*) && cd %s/%s && "
		    "test -z \"$( (%s $pack | tar -x) 2>&1)\" && %s 2>&1",
		    test_directory(), vectors[i].name, vec_root, vectors[i].name, test_directory(),
		    vectors[i].name, vectors[i].level ? "zstd -dcq" : "cat", check);
	}
}
