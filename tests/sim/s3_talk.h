/* Conversations with the S3 stand-in for its own tests: requests are signed and said, in any
 * pieces, answers taken apart. Not for: the product, which signs for itself. */
#ifndef MAILHAUL_S3_TALK_H
#define MAILHAUL_S3_TALK_H

#include "tests/sim/s3_model.h"

enum { S3_TALK_FIELDS_MAX = 24 };
#define S3_TALK_NOW ((int64_t)1369353600) /* 20130524T000000Z */

struct s3_talk {
	struct s3_model *model;
	struct s3_model_session *session; /* opened when needed */
	int64_t now_s;			  /* what the world's clock says, */
	int64_t behind_s;		  /* and the client's is behind by */
	const char *key, *secret, *token, *region, *host;
	size_t piece; /* so many bytes at once; 0: all */
	/* The last answer. */
	struct buffer said, head, body; /* as it came; its head; its body without chunks */
	unsigned status, waited_ms;
	enum s3_model_act ended; /* IDLE: the connection goes on */
};

struct s3_talk_request {
	const char *method;
	const char *path;   /* encoded: "/bucket/key" */
	const char *query;  /* encoded, in order: "a=1&b="; NULL: none */
	const char *fields; /* lines "name: value\n", names in lower case; signed, too */
	const char *body;
	size_t length;	     /* 0: of the text */
	const char *payload; /* for x-amz-content-sha256; NULL: the hash */
	const char *unsigned_fields;
	bool without_length;
};

/* A model with a bucket "box" and a user, the clock at S3_TALK_NOW. */
void s3_talk_open(struct s3_talk *);
void s3_talk_close(struct s3_talk *);
/* The bytes of a request, added to `to`. */
void s3_talk_write(const struct s3_talk *, const struct s3_talk_request *, struct buffer *to);
/* Says these bytes and takes the answer. */
void s3_talk_say(struct s3_talk *, const void *, size_t);
/* Says a request and takes the answer; returns its status, 0: none came. */
unsigned s3_talk_ask(struct s3_talk *, const struct s3_talk_request *);
/* The value of a field or element of the last answer, in `to`; false: it is not there. */
bool s3_talk_field(const struct s3_talk *, const char *name, char *to, size_t max);
bool s3_talk_element(const struct s3_talk *, const char *tag, char *to, size_t max);
/* The request must be answered like that; code "": no error, NULL: no answer but the end. */
#define S3_TALK(talk, wanted_status, wanted_code, method_, path_, ...)                             \
	s3_talk_check(                                                                             \
		__FILE__, __LINE__, talk, wanted_status, wanted_code,                              \
		&(struct s3_talk_request){ .method = (method_), .path = (path_), ##__VA_ARGS__ })
bool s3_talk_check(const char *file, int line, struct s3_talk *, unsigned status, const char *code,
		   const struct s3_talk_request *);

#endif
