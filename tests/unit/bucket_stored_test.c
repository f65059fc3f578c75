/* What a run has stored, kept for its audit: by many threads, in the order of keys, each once; and
 * that a file that cannot grow costs rows and nothing else. */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "engine/log.h"
#include "tests/test.h"
#include "transport/bucket_stored.h"

enum { THREADS = 4, EACH = 10000 };

struct adder {
	struct bucket_stored *stored;
	unsigned number;
};

static void key_of(char to[100], unsigned i)
{
	snprintf(to, 100, "archive/mailbox-%06u/packs/000000000001.tar.zst", i);
}

static void *add(void *argument)
{
	const struct adder *adder = argument;
	char key[100];

	for (unsigned i = 0; i < EACH; i++) {
		unsigned n = (i * 7919 % EACH) * THREADS + adder->number; /* in no order */

		key_of(key, n);
		bucket_stored_add(adder->stored, key, n, (uint64_t)n << 32);
	}
	return NULL;
}

TEST(many_threads_add_and_all_comes_back_in_the_order_of_keys)
{
	struct bucket_stored *stored;
	struct bucket_stored_row row;
	struct adder adders[THREADS];
	pthread_t threads[THREADS];
	char key[100];

	CHECK_OK(bucket_stored_open(&stored));
	for (unsigned i = 0; i < THREADS; i++) {
		adders[i] = (struct adder){ stored, i };
		REQUIRE(pthread_create(&threads[i], NULL, add, &adders[i]) == 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	CHECK_OK(bucket_stored_sort(stored));
	for (unsigned i = 0; i < THREADS * EACH; i++) {
		key_of(key, i);
		REQUIRE(bucket_stored_row(stored, i, &row));
		REQUIRE(strcmp(row.key, key) == 0);
		REQUIRE(row.bytes == i && row.crc == (uint64_t)i << 32);
	}
	CHECK(!bucket_stored_row(stored, THREADS * EACH, &row));
	CHECK_EQ(bucket_stored_lost(stored), 0);
	bucket_stored_close(&stored);
	CHECK(stored == NULL);
}

TEST(a_key_is_there_once_as_it_was_said_last)
{
	struct bucket_stored *stored;
	struct bucket_stored_row row;

	CHECK_OK(bucket_stored_open(&stored));
	CHECK_OK(bucket_stored_sort(stored));
	CHECK(!bucket_stored_row(stored, 0, &row));
	for (unsigned i = 1; i <= 3; i++) {
		bucket_stored_add(stored, "b", i, i);
		bucket_stored_add(stored, "a", 10 + i, i);
	}
	CHECK_OK(bucket_stored_sort(stored));
	REQUIRE(bucket_stored_row(stored, 0, &row));
	CHECK_TEXT(row.key, "a");
	CHECK_EQ(row.bytes, 13);
	REQUIRE(bucket_stored_row(stored, 1, &row));
	CHECK_TEXT(row.key, "b");
	CHECK_EQ(row.bytes, 3);
	CHECK(!bucket_stored_row(stored, 2, &row));
	bucket_stored_close(&stored);
}

TEST(what_there_is_no_room_for_is_counted_and_leaves_no_note)
{
	struct rlimit before, least = { 1024 * 1024, 1024 * 1024 };
	struct bucket_stored *stored;
	struct bucket_stored_row row;
	char key[100];

	CHECK_OK(bucket_stored_open(&stored));
	getrlimit(RLIMIT_FSIZE, &before);
	least.rlim_max = before.rlim_max;
	signal(SIGXFSZ, SIG_IGN);
	log_setup(2, LOG_ERROR, false);
	REQUIRE(setrlimit(RLIMIT_FSIZE, &least) == 0);
	for (unsigned i = 0; i < 20000; i++) {
		key_of(key, i);
		bucket_stored_add(stored, key, i, i);
	}
	setrlimit(RLIMIT_FSIZE, &before);
	CHECK_EQ(err_note()->error, OK);
	CHECK(bucket_stored_lost(stored) > 0 && bucket_stored_lost(stored) < 20000);
	CHECK_OK(bucket_stored_sort(stored));
	CHECK(bucket_stored_row(stored, 19999 - bucket_stored_lost(stored), &row));
	CHECK(!bucket_stored_row(stored, 20000 - bucket_stored_lost(stored), &row));
	bucket_stored_close(&stored);
}
