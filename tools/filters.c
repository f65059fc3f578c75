#include "tools/filters.h"

#include <stdio.h>

#include "transport/box_known.h"

static enum box_use use_by_name(struct text level)
{
	unsigned rank;

	return box_known_use(level, &rank);
}

enum err filters_begin(struct filter **out)
{
	return filter_open(use_by_name, out);
}

/* The same error, with the option it is about. */
static enum err at_option(const char *name, enum err e)
{
	char why[ERR_NOTE_BYTES_MAX];

	if (e != ERR_INPUT_USAGE)
		return e;
	snprintf(why, sizeof why, "%s", err_note()->text);
	err_note_clear();
	return RAISE(e, "--%s %s", name, why);
}

static enum err add(struct filter *filter, const char *name, const struct opt_list *list,
		    enum err (*take)(struct filter *, const char *))
{
	enum err e = OK;

	for (unsigned i = 0; i < list->count && e == OK; i++)
		e = at_option(name, take(filter, list->at[i]));
	return e;
}

static enum err take_all(struct filter *filter, const struct filter_options *options)
{
	enum err e;

	if ((e = add(filter, "include-folder", &options->include, filter_include_folder)) ||
	    (e = add(filter, "exclude-folder", &options->exclude, filter_exclude_folder)) ||
	    (e = add(filter, "rename-folder", &options->rename, filter_rename_folder)) ||
	    (options->since && (e = at_option("since", filter_since(filter, options->since)))) ||
	    (options->before && (e = at_option("before", filter_before(filter, options->before)))))
		return e;
	filter_sizes(filter, options->min_bytes, options->max_bytes);
	return filter_check(filter);
}

enum err filters_open(const struct filter_options *options, struct filter **out)
{
	enum err e;

	*out = NULL;
	if (!options->include.count && !options->exclude.count && !options->rename.count &&
	    !options->since && !options->before && !options->min_bytes && !options->max_bytes)
		return OK;
	if ((e = filters_begin(out)) == OK && (e = take_all(*out, options)))
		filter_close(out);
	return e;
}
