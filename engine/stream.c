/* A stream over slices that are already there. */
#include "engine/stream.h"

static struct stream_list *list_of(struct stream *stream)
{
	return CONTAINER_OF(stream, struct stream_list, base);
}

static enum err list_pull(struct stream *stream, struct iolist *out)
{
	struct stream_list *self = list_of(stream);

	must(out->count == 0);
	if (self->given || self->list.count == 0)
		return ERR_STREAM_ENDED;
	*out = self->list; /* the references move along */
	self->list.count = 0;
	self->given = true;
	return OK;
}

static void list_close(struct stream *stream)
{
	iolist_release(&list_of(stream)->list);
}

static const struct stream_type list_type = { .pull = list_pull, .close = list_close };

struct stream *stream_list_open(struct stream_list *self, struct iolist *taken)
{
	self->base.type = &list_type;
	self->list = *taken;
	self->given = false;
	taken->count = 0;
	return &self->base;
}

const struct iolist *stream_list_peek(struct stream *stream)
{
	return stream->type == &list_type ? &list_of(stream)->list : NULL;
}
