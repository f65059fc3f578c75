/* Requests that the S3 stand-in carries out later than their connection lived: as an accident of
 * the table wants it, or because the client was gone while they were worked on. They outlive
 * processes.
 */
#include "tests/sim/s3_model_state.h"

struct s3_model_late {
	struct s3_model_late *next;
	bool is_held;
	unsigned requests_left;
	const uint8_t *head, *raw;
	size_t head_bytes, raw_bytes;
};

struct s3_model_late *s3_model_put_off(struct s3_model *model, struct text head, struct text raw,
				       unsigned requests)
{
	struct s3_model_late **at = &model->late, *late = s3_model_allocate(model, sizeof *late);

	late->requests_left = requests;
	late->head = s3_model_copy_bytes(model, head.at, late->head_bytes = head.bytes);
	late->raw = s3_model_copy_bytes(model, raw.at, late->raw_bytes = raw.bytes);
	while (*at)
		at = &(*at)->next;
	*at = late;
	return late;
}

void s3_model_hold(struct s3_model_late *late)
{
	late->is_held = true;
}

static void late_free(struct s3_model *model, struct s3_model_late *late)
{
	s3_model_release(model, late->head, late->head_bytes + 1);
	s3_model_release(model, late->raw, late->raw_bytes + 1);
	s3_model_release(model, late, sizeof *late);
}

void s3_model_take_back(struct s3_model *model, struct s3_model_late **late)
{
	struct s3_model_late **at = &model->late;

	while (*at != *late)
		at = &(*at)->next;
	*at = (*late)->next;
	late_free(model, *late);
	*late = NULL;
}

void s3_model_let_go(struct s3_model *model, struct s3_model_late *late)
{
	must(late->is_held);
	late->is_held = false;
	late->requests_left = (unsigned)(s3_model_throw(model) % (model->late_requests_max + 1));
	if (!model->never_one_in || s3_model_throw(model) % model->never_one_in)
		return;
	model->counts.never++;
	s3_model_take_back(model, &late);
}

void s3_model_process_ended(struct s3_model *model)
{
	for (struct s3_model_late *late = model->late, *next; late; late = next) {
		next = late->next;
		if (late->is_held)
			s3_model_let_go(model, late);
	}
}

static void do_it(struct s3_model *model, struct s3_model_late *late, int64_t now_s)
{
	struct s3_model_request *r = s3_model_request_open(model, now_s);

	r->is_forgiven = true;
	if (s3_model_read_head(r, (struct text){ (const char *)late->head, late->head_bytes }) &&
	    s3_model_route(r) && s3_model_judge(r))
		s3_model_work(r, late->raw, late->raw_bytes);
	model->counts.late++;
	model->counts.late_at = model->counts.all;
	s3_model_request_close(&r);
	late_free(model, late);
}

static void do_those_due(struct s3_model *model, int64_t now_s, bool all)
{
	struct s3_model_late **at = &model->late, *late;

	while ((late = *at)) {
		if (late->is_held || (!all && late->requests_left)) {
			late->requests_left -= !late->is_held;
			at = &late->next;
			continue;
		}
		*at = late->next;
		do_it(model, late, now_s);
	}
}

void s3_model_do_late(struct s3_model *model, int64_t now_s)
{
	do_those_due(model, now_s, false);
}

void s3_model_settle(struct s3_model *model, int64_t now_s)
{
	do_those_due(model, now_s, true);
}
