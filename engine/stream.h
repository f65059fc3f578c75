/* A message's bytes, pulled. Three calls; implementations embed the base as first member. */
#ifndef MAILHAUL_STREAM_H
#define MAILHAUL_STREAM_H

#include "engine/chunk.h"

struct stream;
struct stream_type {
	/* Append at least one slice of the next bytes to the (empty) list and return OK; at the end
	 * ERR_STREAM_ENDED, again and again. After an error the same error again. Suspends. */
	enum err (*pull)(struct stream *, struct iolist *out);
	/* Let go; bytes not pulled are the implementation's business. Never suspends. */
	void (*close)(struct stream *);
};
struct stream {
	const struct stream_type *type;
};

static inline enum err stream_pull(struct stream *stream, struct iolist *out)
{
	return stream->type->pull(stream, out);
}
/* Takes *stream, accepts NULL inside, leaves NULL. */
static inline void stream_close(struct stream **stream)
{
	if (*stream)
		(*stream)->type->close(*stream);
	*stream = NULL;
}

/* A stream over a list that is already there. Takes the list's references. The struct is the
 * caller's and must outlive the stream. */
struct stream_list {
	struct stream base;
	struct iolist list;
	bool given;
};
struct stream *stream_list_open(struct stream_list *, struct iolist *taken);
/* All bytes of a list's stream, before the first pull; NULL for any other stream. Borrowed. */
const struct iolist *stream_list_peek(struct stream *);

#endif
