/* What is told of each request that was made of a service of AWS, whatever came of it, so that the
 * run's record has it (tools/aws_record.h), and the log. Not for: the services beside a machine
 * that hand out keys (aws_local.h), of which AWS keeps no trail. */
#ifndef MAILHAUL_AWS_REQUEST_H
#define MAILHAUL_AWS_REQUEST_H

#include "engine/err.h"

enum { AWS_REQUEST_ID_BYTES = 128 }; /* of a request's id with its NUL; longer ones are cut */

/* One request; a repetition is another one. Texts are borrowed until return and never NULL: "" is
 * what was not said, or does not apply. */
struct aws_request {
	const char *service;   /* as in the signature's scope, "s3"; a literal */
	const char *operation; /* as the API calls it, "PutObject"; a literal */
	const char *host, *region;
	const char *bucket, *key;	  /* of S3; keys can hold names */
	const char *code, *message;	  /* of the service's error; the message can hold names */
	const char *request_id, *host_id; /* the latter of S3 only */
	enum err error;			  /* OK: it worked */
	unsigned status;		  /* 0: there was no whole answer */
	unsigned attempt; /* from 1; 0: whoever repeats such requests does not count */
	nsec duration;	  /* until now, from the wait for a connection on */
	uint64_t bytes_sent, bytes_received; /* of bodies */
};

/* Who keeps the record. Called on any thread; does not suspend. */
struct aws_listener {
	void (*tell)(void *context, const struct aws_request *);
	void *context;
};

/* To the listener, who may be NULL, and to the log. */
void aws_request_tell(const struct aws_listener *, const struct aws_request *);

#endif
