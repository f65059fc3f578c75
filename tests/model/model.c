/* The mailboxes of the model server: pure functions of the seed and of numbers. */
#include "tests/model/model.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/bytes.h"

const struct model_fate model_fates[MODEL_FAULTS] = {
#define MODEL_FAULT(word, state, error, skipped) { #word, state, error, skipped },
	MODEL_FAULTS_ALL(MODEL_FAULT)
#undef MODEL_FAULT
};

/* The finalizer of SplitMix64 (Steele, Lea and Flood, 2014), over up to three numbers. */
static uint64_t mix(uint64_t value)
{
	value += 0x9e3779b97f4a7c15u;
	value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9u;
	value = (value ^ value >> 27) * 0x94d049bb133111ebu;
	return value ^ value >> 31;
}

static uint64_t draw(const struct model *model, uint64_t user, uint64_t folder, uint64_t index)
{
	return mix(mix(mix(model->seed ^ user) ^ folder << 40) ^ index);
}

/* ---- faults ---- */

static enum model_fault fault_named(struct text word)
{
	unsigned i = 0;

	while (i < MODEL_FAULTS && !text_equal(word, text_of(model_fates[i].word)))
		i++;
	return i;
}

static enum err parse_faults(struct model *model)
{
	const char *at = model->faults;
	unsigned total = 0;

	while (*at) {
		size_t bytes = strcspn(at, "=,");
		enum model_fault fault = fault_named((struct text){ at, bytes });
		char *end;

		if (fault == MODEL_FAULTS || at[bytes] != '=')
			return RAISE(ERR_INPUT_USAGE, "faults: not known, or without \"=\": %s",
				     at);
		model->percents[fault] = (unsigned)strtoul(at + bytes + 1, &end, 10);
		total += model->percents[fault];
		if ((*end && *end != ',') || total > 100)
			return RAISE(ERR_INPUT_USAGE, "faults: not a per cent, or over 100: %s",
				     at);
		at = end + (*end == ',');
	}
	return OK;
}

/* Of each hundred users in a row exactly so many have a fault; which ones depends on the seed. */
enum model_fault model_fault_of(const struct model *model, uint64_t user)
{
	uint64_t roll = (user * 37 + model->seed) % 100;
	unsigned i = MODEL_none + 1;

	for (; i < MODEL_FAULTS; i++) {
		if (roll < model->percents[i])
			return i;
		roll -= model->percents[i];
	}
	return MODEL_none;
}

/* ---- users ---- */

void model_user_name(uint64_t user, char to[MODEL_NAME_BYTES])
{
	snprintf(to, MODEL_NAME_BYTES, "user%04llu", (unsigned long long)user);
}

void model_password(const struct model *model, uint64_t user, char to[MODEL_NAME_BYTES])
{
	if (model->password)
		snprintf(to, MODEL_NAME_BYTES, "%s", model->password);
	else
		snprintf(to, MODEL_NAME_BYTES, "pw-user%04llu", (unsigned long long)user);
}

bool model_find_user(const struct model *model, const char *name, uint64_t *user)
{
	char same[MODEL_NAME_BYTES];

	if (strncmp(name, "user", 4) != 0)
		return false;
	*user = strtoull(name + 4, NULL, 10);
	model_user_name(*user, same);
	return strcmp(same, name) == 0 && *user < model->mailboxes;
}

/* ---- folders ---- */

static const struct {
	const char *raw, *name, *attributes;
} known_folders[] = {
	{ "INBOX", "INBOX", "" },
	{ "Sent", "Sent", "\\Sent" },
	{ "Projekte/K&APY-ln", "Projekte/K\xc3\xb6ln", "" },
	{ "Archive/2009", "Archive/2009", "" },
	{ "R&-D", "R&D", "" },
};

/* Even shares; of three folders or more the last is empty. */
static uint64_t messages_in(const struct model *model, uint64_t folder)
{
	uint64_t shares = model->folders < 3 ? model->folders : model->folders - 1;

	if (folder >= shares)
		return 0;
	return model->messages * (folder + 1) / shares - model->messages * folder / shares;
}

static uint32_t uid_of(const struct model *model, uint64_t index)
{
	uint64_t uid = 1 + (index + index / 7) * model->uid_step;

	must(uid <= UINT32_MAX);
	return (uint32_t)uid;
}

uint64_t model_index_from(const struct model *model, uint64_t uid)
{
	uint64_t place = uid ? (uid - 1 + model->uid_step - 1) / model->uid_step : 0;

	return place / 8 * 7 + place % 8;
}

bool model_find_folder(const struct model *model, const char *raw, uint64_t *folder)
{
	char *end;

	for (*folder = 0; *folder < ARRAY_COUNT(known_folders); ++*folder)
		if (strcmp(raw, known_folders[*folder].raw) == 0)
			return *folder < model->folders;
	if (strncmp(raw, "Folder ", 7) != 0)
		return false;
	*folder = strtoull(raw + 7, &end, 10);
	return !*end && *folder >= ARRAY_COUNT(known_folders) && *folder < model->folders;
}

void model_folder(const struct model *model, uint64_t user, uint64_t folder,
		  struct model_folder *out)
{
	*out = (struct model_folder){ .attributes = "" };
	if (folder < ARRAY_COUNT(known_folders)) {
		snprintf(out->raw, sizeof out->raw, "%s", known_folders[folder].raw);
		snprintf(out->name, sizeof out->name, "%s", known_folders[folder].name);
		out->attributes = known_folders[folder].attributes;
	} else {
		snprintf(out->raw, sizeof out->raw, "Folder %llu", (unsigned long long)folder);
		snprintf(out->name, sizeof out->name, "Folder %llu", (unsigned long long)folder);
	}
	out->epoch = 1 + (uint32_t)(draw(model, user, folder, UINT32_MAX) % INT32_MAX);
	out->messages = messages_in(model, folder);
	out->next_uid = out->messages ? uid_of(model, out->messages - 1) + 1 : 1;
	out->refused = model_fault_of(model, user) == MODEL_noperm &&
		       folder == (model->folders > 1 ? 1 : 0);
}

/* ---- messages ---- */

static void choose_flags(uint64_t chance, char *to, size_t room)
{
	/* In the order of their bytes, as a checker sorts them. */
	static const char *const flags[] = { "$Forwarded", "\\Answered", "\\Deleted", "\\Draft",
					     "\\Flagged",  "\\Seen",	 "work" };
	size_t used = 0;

	to[0] = '\0';
	for (unsigned i = 0; i < ARRAY_COUNT(flags); i++)
		if ((chance >> 2 * i & 3) == 0)
			used += (size_t)snprintf(to + used, room - used, "%s%s", used ? " " : "",
						 flags[i]);
	must(used < room);
}

static void choose_date(uint64_t chance, char *to, size_t room)
{
	static const char *const months[] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
					      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
	static const char *const zones[] = { "+0000", "+0100", "-0330", "+0545", "-0800" };

	snprintf(to, room, "%2u-%s-%u %02u:%02u:%02u %s", 1 + (unsigned)(chance % 28),
		 months[chance / 28 % 12], 1998 + (unsigned)(chance / 336 % 27),
		 (unsigned)(chance / 9072 % 24), (unsigned)(chance / 217728 % 60),
		 (unsigned)(chance / 13063680 % 60), zones[chance / 783820800 % 5]);
}

static uint64_t size_of(const struct model *model, uint64_t chance)
{
	if (model->same_size)
		return model->bytes;
	return model->bytes / 2 + mix(chance + 1) % (model->bytes + 1);
}

uint64_t model_bytes(const struct model *model, uint64_t user, uint64_t folder, uint64_t index)
{
	uint64_t bytes = size_of(model, draw(model, user, folder, index));
	struct model_message message;

	if (bytes >= MODEL_HEAD_BYTES)
		return bytes;
	model_message(model, user, folder, index, &message); /* no shorter than its head */
	return message.bytes;
}

void model_message(const struct model *model, uint64_t user, uint64_t folder, uint64_t index,
		   struct model_message *out)
{
	uint64_t chance = draw(model, user, folder, index);
	int n;

	out->uid = uid_of(model, index);
	choose_flags(chance, out->flags, sizeof out->flags);
	choose_date(mix(chance), out->date, sizeof out->date);
	n = snprintf(out->head, sizeof out->head,
		     "From: Sender %llu <sender@example.org>\r\n"
		     "To: user%04llu@example.org\r\n"
		     "Subject: message %u of folder %llu\r\n"
		     "Message-ID: <%016llx.%u.%llu.%llu@example.org>\r\n"
		     "Content-Type: text/plain\r\n%s",
		     (unsigned long long)(chance % 1000), (unsigned long long)user, out->uid,
		     (unsigned long long)folder, (unsigned long long)chance, out->uid,
		     (unsigned long long)folder, (unsigned long long)user,
		     model->no_body ? "" : "\r\n");
	must(n > 0 && (size_t)n < sizeof out->head);
	out->head_bytes = (uint64_t)n;
	out->bytes = max_u64(size_of(model, chance), out->head_bytes);
	out->pool_at = mix(chance + 2) % (MODEL_POOL_BYTES / 78) * 78;
}

void model_read(const struct model *model, const struct model_message *message, uint64_t at,
		char *to, uint64_t n)
{
	must(at + n <= message->bytes);
	while (n) {
		const char *from = message->head + at;
		uint64_t piece = message->head_bytes - at, pool_at;

		if (at >= message->head_bytes) {
			pool_at = (message->pool_at + at - message->head_bytes) % MODEL_POOL_BYTES;
			from = model->pool + pool_at;
			piece = MODEL_POOL_BYTES - pool_at;
		}
		piece = min_u64(piece, n);
		bytes_copy(to, from, piece, BYTES_META);
		to += piece;
		at += piece;
		n -= piece;
	}
}

/* ---- */

enum err model_open(struct model *model)
{
	static const char letters[] =
		"abcdefghijklmnopqrstuvwxyz   ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
	enum err e = parse_faults(model);

	if (e)
		return e;
	if (!(model->pool = malloc(MODEL_POOL_BYTES)))
		return RAISE(ERR_MEMORY_EXHAUSTED, "the text of all messages");
	for (size_t i = 0; i < MODEL_POOL_BYTES; i++)
		model->pool[i] = i % 78 == 76	? '\r'
				 : i % 78 == 77 ? '\n'
						: letters[mix(model->seed + i) % 64];
	return OK;
}

void model_close(struct model *model)
{
	free(model->pool);
	model->pool = NULL;
}
