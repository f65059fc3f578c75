#include "tools/status_learnt.h"

#include "engine/govern.h"
#include "tools/terminal.h"
#include "tools/units.h"

enum { EXPLAINED_BYTES = 200, NAME_SHOWN_BYTES = 1600 };

/* Of a host or an account: until when it rests, and how many connections it bears. */
static bool explain_rest(const struct status_learnt *learnt, const struct ledger_lesson *lesson,
			 char to[EXPLAINED_BYTES])
{
	bool rests = lesson->not_before_wall_s > learnt->now_wall_s;
	char time[UNITS_TEXT_BYTES];
	int used = 0;

	if (strcmp(lesson->kind, "host") != 0 && strcmp(lesson->kind, "account") != 0)
		return false;
	to[0] = '\0';
	if (lesson->connections_max)
		used = snprintf(to, EXPLAINED_BYTES, "at most %u connection%s",
				lesson->connections_max, units_plural(lesson->connections_max));
	if (rests)
		snprintf(to + used, EXPLAINED_BYTES - (size_t)used, "%srests until %s",
			 used ? ", " : "", units_wall(time, lesson->not_before_wall_s));
	return to[0] != '\0';
}

static void add_json(const struct status_learnt *learnt, const struct ledger_lesson *lesson,
		     const char *explained)
{
	char time[UNITS_TEXT_BYTES];

	json_object_begin(learnt->json, NULL);
	json_text(learnt->json, "kind", "learnt");
	json_text(learnt->json, "about", lesson->kind);
	json_text(learnt->json, "name", lesson->name);
	json_text(learnt->json, "says", explained);
	if (lesson->connections_max)
		json_number(learnt->json, "connections_max", lesson->connections_max);
	if (lesson->not_before_wall_s > learnt->now_wall_s)
		json_text(learnt->json, "rests_until", units_wall(time, lesson->not_before_wall_s));
	json_object_end(learnt->json);
	json_line_end(learnt->json);
}

void status_learnt_add(struct status_learnt *learnt, const struct ledger_lesson *lesson)
{
	char explained[EXPLAINED_BYTES], name[NAME_SHOWN_BYTES];

	if (!explain_rest(learnt, lesson, explained) &&
	    !govern_explain(lesson->kind, lesson->reason, learnt->now_wall_s, explained,
			    sizeof explained))
		return;
	if (!learnt->to) {
		add_json(learnt, lesson, explained);
	} else if (learnt->all || learnt->shown < STATUS_LEARNT_SHOWN) {
		fprintf(learnt->to, "%s  %s: %s\n", learnt->shown ? "" : "\nLearnt of servers\n",
			terminal_text(name, sizeof name, lesson->name), explained);
		learnt->shown++;
	} else {
		learnt->more++;
	}
}

void status_learnt_end(struct status_learnt *learnt)
{
	if (learnt->to && learnt->more)
		fprintf(learnt->to, "  ... and %llu more; mailhaul status --all lists them all\n",
			(unsigned long long)learnt->more);
}
