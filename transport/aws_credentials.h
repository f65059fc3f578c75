/* Keys to sign requests with, for a run of many hours: got from a chain (aws_chain.h), shared by
 * all threads of the process, and renewed before they expire. A run that copies from one partition
 * to another has two of them.
 *
 * From a quarter of an hour before their end (a third of their life, if that is less) the first
 * fiber that asks renews them, while the others go on with the old ones; from ten minutes before it
 * (a sixth) the others wait for it. What cannot be renewed for now is asked for again after some
 * seconds, and the old ones are used until their end. Where the same ones are given again, that is
 * no renewal: they are asked for every minute, and four minutes before their end (a sixth) it
 * counts as refused. So do keys from elsewhere than the first ones: a run does not change its
 * identity. */
#ifndef MAILHAUL_AWS_CREDENTIALS_H
#define MAILHAUL_AWS_CREDENTIALS_H

#include "transport/aws_chain.h"

struct aws_credentials;

struct aws_credentials_config {
	struct aws_chain chain; /* what it points to is borrowed until the close */
	/* Renewal was refused (or a program that gives keys failed) until the others would wait for
	 * it: the keys are good for some minutes more, and then no more. To be taken as a request
	 * to drain the run: what is begun can be finished, nothing new should be. Told once, by
	 * whichever thread; does not suspend. May be NULL. */
	void (*refused)(void *context);
	void *context;
};
/* Asks nobody yet. ERR_MEMORY_EXHAUSTED. */
enum err aws_credentials_open(const struct aws_credentials_config *,
			      struct aws_credentials **) MUST_CHECK;
/* No fiber may be in aws_credentials_get(). Keys that are held stay good. */
void aws_credentials_close(struct aws_credentials **);

/* One set of keys, counted; may be put on another thread than it was got on. */
struct aws_held;
/* Good for some time yet: ten minutes, mostly. Take them afresh for each request. On a fiber with
 * FIBER_STACK_LARGE. Suspends.
 * returns     OK | what aws_chain_fetch() returns, the same for some seconds without asking again
 *             (a refusal: a minute) | ERR_AWS_EXPIRED: there were keys, and nobody renews them |
 *             ERR_NET_TIMEOUT: asking takes longer than `until` */
enum err aws_credentials_get(struct aws_credentials *, nsec until, struct aws_held **) MUST_CHECK;
/* They lie in what is held. */
struct sigv4_credentials aws_held_credentials(const struct aws_held *);
void aws_held_put(struct aws_held **);
/* A service said ExpiredToken: the next get asks for others. If those are the same, it is
 * ERR_AWS_EXPIRED. Nothing happens if there are others by now. */
void aws_credentials_drop(struct aws_credentials *, const struct aws_held *);

#endif
