/* Every conversation of tests/wire/flag as a test of its own: the real imap_flag on the real ring,
 * over a loopback socket, TLS passed through. The file says what is to be carried:
 *
 *   do message uid= now= was=     (words of: seen answered flagged deleted draft, keywords; was
 *                                 left out: not known)
 *   do messages uid=FIRST count= now= was=
 *   do carry box= validity=       (all messages since the last one)
 *
 * and what must come of it:
 *
 *   expect carried carried= merged= gone= refused=
 *   expect error name= note=
 *   expect end                    (LOGOUT)
 *
 * Words left out are not compared. account: timeout_ms= piece= whole= tricks= as in
 * imap_source_test.c. Each is played as it stands, read in pieces, read as the dice of SEED say,
 * and with tricks. */
#include "tests/sim/tls_sim.h"
#include "tests/test.h"
#include "tests/wire/conversations.h"
#include "tests/wire/play.h"

#include <stdlib.h>

#include "engine/bytes.h"
#include "engine/clock.h"
#include "transport/imap_flag.h"

enum { MESSAGES_MAX = 2000, KEYWORDS_BYTES = 64 };

struct client {
	struct imap_flag *flag;
	struct imap_flagged messages[MESSAGES_MAX];
	char keywords[MESSAGES_MAX][KEYWORDS_BYTES];
	size_t messages_count;
};

/* ---- what the client does ---- */

static void read_flags(const char *words, struct mail_meta *meta)
{
	static const char *const names[] = { "seen", "answered", "flagged", "deleted", "draft" };
	char *text = strdup(words), *rest = text, *word;

	must(text);
	*meta = (struct mail_meta){ 0 };
	while ((word = strsep(&rest, " ")) != NULL) {
		unsigned i = 0;

		while (i < ARRAY_COUNT(names) && strcmp(word, names[i]) != 0)
			i++;
		if (i < ARRAY_COUNT(names))
			meta->flags |= 1u << i;
		else if (*word)
			meta->keywords_bytes += (uint16_t)snprintf(
				meta->keywords + meta->keywords_bytes, KEYWORDS_BYTES, "%s%s",
				meta->keywords_bytes ? " " : "", word);
	}
	free(text);
	must(meta->keywords_bytes < KEYWORDS_BYTES);
}

static void add_message(struct client *client, const struct wire_words *words, uint32_t uid)
{
	struct imap_flagged *message = &client->messages[client->messages_count];
	char *keywords = client->keywords[client->messages_count++];
	const char *was = wire_word(words, "was", NULL);
	struct mail_meta meta;

	must(client->messages_count <= MESSAGES_MAX);
	*message = (struct imap_flagged){ .uid = uid };
	if (was) {
		read_flags(was, &meta);
		message->was_mark = mail_mark(&meta);
	}
	read_flags(wire_word(words, "now", ""), &meta);
	message->flags = meta.flags;
	bytes_copy(keywords, meta.keywords, meta.keywords_bytes, BYTES_META);
	message->keywords = keywords;
	message->keywords_bytes = meta.keywords_bytes;
}

static enum err carry(struct play *play, const struct wire_words *words)
{
	uint32_t validity = (uint32_t)strtoul(wire_word(words, "validity", "5"), NULL, 10);
	struct mail_carried carried = { 0 };
	struct client *client = play->client;
	enum err e = imap_flag_carry(client->flag, wire_word(words, "box", "INBOX"), validity,
				     client->messages, client->messages_count, &carried);

	client->messages_count = 0;
	if (!e)
		play_event(play, "carried carried=%llu merged=%llu gone=%llu refused=%llu",
			   (unsigned long long)carried.carried, (unsigned long long)carried.merged,
			   (unsigned long long)carried.gone, (unsigned long long)carried.refused);
	return e;
}

static enum err do_line(struct play *play, const char *what)
{
	char *text = strdup(what);
	struct wire_words words;
	uint32_t uid, count;
	enum err e = OK;

	must(text);
	wire_split(text, &words);
	uid = (uint32_t)strtoul(wire_word(&words, "uid", "1"), NULL, 10);
	count = (uint32_t)strtoul(wire_word(&words, "count", "1"), NULL, 10);
	if (strncmp(what, "carry", 5) == 0)
		e = carry(play, &words);
	else
		for (uint32_t i = 0; i < count; i++)
			add_message(play->client, &words, uid + i * (count > 1 ? 2 : 1));
	free(text);
	return e;
}

static enum err do_all(struct play *play)
{
	enum err e = OK;

	for (unsigned i = 0; !e && i < play->script.count; i++)
		if (strncmp(play->script.lines[i].text, "do ", 3) == 0)
			e = do_line(play, play->script.lines[i].text + 3);
	return e;
}

static enum err converse(struct play *play)
{
	struct client *client = play->client;
	enum err e = imap_flag_open(&play->account, clock_after(20 * NSEC_SECOND), &client->flag);
	char raised[PLAY_RAISED_BYTES];

	if (!e)
		e = do_all(play);
	if (!e) {
		imap_flag_finish(client->flag, clock_after(20 * NSEC_SECOND));
		play_event(play, "end");
	} else {
		play_event(play, "error name=%s %s", err_name(e), play_raised_words(raised));
	}
	imap_flag_close(&client->flag);
	return e;
}

static void judge_tricked(const struct play *play)
{
	play_judge_end(play, NULL);
}

static const struct play_kind about_flags = {
	.folder = "tests/wire/flag",
	.client_bytes = sizeof(struct client),
	.converse = converse,
	.judge_tricked = judge_tricked,
};

CONVERSATIONS(about_flags)

/* A wrong working directory must not look like success. */
TEST(there_are_at_least_14_conversations)
{
	CHECK(conversations_count() >= 14);
}
