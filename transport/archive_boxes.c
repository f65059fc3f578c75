/* See archive_boxes.h. */
#include "transport/archive_boxes.h"

#include <stdlib.h>

#include "transport/json.h"

struct archive_box {
	struct pack_box box;
	struct buffer name, escaped, path; /* what it points into */
};

static void box_free(struct archive_box *box)
{
	buffer_free(&box->name);
	buffer_free(&box->escaped);
	buffer_free(&box->path);
	free(box);
}

void archive_boxes_free(struct archive_boxes *boxes)
{
	for (size_t i = 0; i < boxes->count; i++)
		box_free(boxes->boxes[i]);
	free(boxes->boxes);
	*boxes = (struct archive_boxes){ 0 };
}

static enum err box_fill(struct archive_box *to, const struct box *box)
{
	enum err e = tar_path_add(&to->path, text_of(box->name), box->separator);

	buffer_add_text(&to->name, box->name);
	json_escape(&to->escaped, text_of(box->name));
	if (!e && (to->name.failed || to->escaped.failed))
		e = RAISE(ERR_MEMORY_EXHAUSTED, "keeping a folder");
	to->box = (struct pack_box){
		.box_no = box->box_no,
		.epoch = box->epoch,
		.name = { to->name.at, to->name.bytes },
		.escaped = { to->escaped.at, to->escaped.bytes },
		.path = { to->path.at, to->path.bytes },
		.separator = box->separator,
	};
	return e;
}

static enum err make_room(struct archive_boxes *boxes)
{
	size_t room = boxes->room ? 2 * boxes->room : 64;
	struct archive_box **more;

	if (boxes->count < boxes->room)
		return OK;
	if (!(more = realloc(boxes->boxes, room * sizeof(struct archive_box *))))
		return RAISE(ERR_MEMORY_EXHAUSTED, "keeping %zu folders", boxes->count);
	boxes->boxes = more;
	boxes->room = room;
	return OK;
}

enum err archive_boxes_add(struct archive_boxes *boxes, const struct box *box)
{
	struct archive_box *one;
	enum err e;

	if ((e = make_room(boxes)))
		return e;
	if (!(one = calloc(1, sizeof *one)))
		return RAISE(ERR_MEMORY_EXHAUSTED, "keeping a folder");
	if ((e = box_fill(one, box))) {
		box_free(one);
		return e;
	}
	boxes->boxes[boxes->count++] = one;
	return OK;
}

/* Messages come folder by folder, those of several conversations mixed: the next one is looked for
 * on both sides of the last. */
const struct pack_box *archive_boxes_find(struct archive_boxes *boxes, uint64_t box_no)
{
	struct archive_box **all = boxes->boxes;
	size_t from = boxes->current;

	for (size_t i = 0; i < boxes->count; i++) {
		if (from + i < boxes->count && all[from + i]->box.box_no == box_no)
			return &all[boxes->current = from + i]->box;
		if (i <= from && all[from - i]->box.box_no == box_no)
			return &all[boxes->current = from - i]->box;
	}
	return NULL;
}
