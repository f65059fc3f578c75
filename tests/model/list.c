/* The generated mailboxes and their fates as JSON lines, for a test to compare with. */
#include "tests/model/list.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <sys/resource.h>

#include "engine/bytes.h"

static void digest_message(const struct model *model, const struct model_message *message,
			   char hex[65])
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	uint8_t digest[32];
	char piece[2048];

	must(context && EVP_DigestInit_ex(context, EVP_sha256(), NULL));
	for (uint64_t at = 0, n; at < message->bytes; at += n) {
		n = min_u64(sizeof piece, message->bytes - at);
		model_read(model, message, at, piece, n);
		must(EVP_DigestUpdate(context, piece, n));
	}
	must(EVP_DigestFinal_ex(context, digest, NULL));
	EVP_MD_CTX_free(context);
	bytes_to_hex(hex, digest, sizeof digest);
}

/* "a b" as "a","b"; the backslashes of flags are doubled. */
static void print_flags(const char *flags)
{
	printf("[");
	for (const char *at = flags; *at; at++)
		printf("%s%s%s", at == flags ? "\"" : "", *at == ' ' ? "\",\"" : "",
		       *at == '\\'  ? "\\\\"
		       : *at == ' ' ? ""
				    : (char[]){ *at, '\0' });
	printf("%s]", *flags ? "\"" : "");
}

void list_messages(const struct model *model, uint64_t user)
{
	char name[MODEL_NAME_BYTES], hex[65];
	struct model_message message;
	struct model_folder folder;

	model_user_name(user, name);
	for (uint64_t f = 0; f < model->folders; f++) {
		model_folder(model, user, f, &folder);
		for (uint64_t i = 0; i < folder.messages && !folder.refused; i++) {
			model_message(model, user, f, i, &message);
			digest_message(model, &message, hex);
			printf("{\"user\":\"%s\",\"folder\":\"%s\",\"uid\":%u,\"size\":%llu,"
			       "\"sha256\":\"%s\",\"date\":\"%s\",\"flags\":",
			       name, folder.name, message.uid, (unsigned long long)message.bytes,
			       hex, message.date);
			print_flags(message.flags);
			printf("}\n");
		}
	}
}

/* What will have been moved of it in the end. */
static void count_user(const struct model *model, uint64_t user, uint64_t *messages,
		       uint64_t *bytes)
{
	struct model_message message;
	struct model_folder folder;

	*messages = *bytes = 0;
	if (model_fates[model_fault_of(model, user)].error != OK)
		return;
	for (uint64_t f = 0; f < model->folders; f++) {
		model_folder(model, user, f, &folder);
		for (uint64_t i = 0; i < folder.messages && !folder.refused; i++) {
			model_message(model, user, f, i, &message);
			++*messages;
			*bytes += message.bytes;
		}
	}
}

void list_user(const struct model *model, uint64_t hosts, uint64_t user)
{
	const struct model_fate *fate = &model_fates[model_fault_of(model, user)];
	char name[MODEL_NAME_BYTES], password[MODEL_NAME_BYTES];
	uint64_t messages, bytes;

	model_user_name(user, name);
	model_password(model, user, password);
	count_user(model, user, &messages, &bytes);
	printf("{\"user\":\"%s\",\"password\":\"%s\",\"host\":%llu,\"fault\":\"%s\","
	       "\"state\":\"%s\",\"error\":\"%s\",\"exit_code\":%d,\"folders_skipped\":%u,"
	       "\"messages_moved\":%llu,\"bytes_moved\":%llu}\n",
	       name, password, (unsigned long long)(user % hosts), fate->word, fate->state,
	       fate->error ? err_name(fate->error) : "",
	       fate->folders_skipped ? EXIT_INCOMPLETE
	       : fate->error	     ? err_exit_code(fate->error)
				     : 0,
	       fate->folders_skipped, (unsigned long long)messages, (unsigned long long)bytes);
}

void list_counts(const struct service_counts *counts, uint64_t host_most)
{
	struct rusage usage;
	char line[200];

	must(getrusage(RUSAGE_SELF, &usage) == 0);
#define COUNT(field) printf("\"" #field "\":%llu,", (unsigned long long)counts->field)
	printf("{");
	COUNT(connections), COUNT(connections_now), COUNT(connections_most), COUNT(over_limit);
	COUNT(user_most), COUNT(logins), COUNT(logins_refused), COUNT(logins_too_early);
	COUNT(fetches_throttled), COUNT(examines), COUNT(fetches), COUNT(messages), COUNT(bytes),
		COUNT(cuts);
	COUNT(changes), COUNT(unknown);
#undef COUNT
	err_quote(line, sizeof line, text_of(counts->unknown_line));
	for (char *at = line; *at; at++) /* its \xNN is no JSON */
		*at = *at == '\\' ? '%' : *at;
	printf("\"unknown_line\":\"%s\",\"host_most\":%llu,\"cpu_ms\":%lld,\"rss_kib\":%ld}\n",
	       line, (unsigned long long)host_most,
	       (long long)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000 +
		       (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000,
	       usage.ru_maxrss);
}
