/* libyaml makes a document; short forms are written out in it; every key and value is checked
 * against the table, and what is wrong is taken out, so that the rest can be checked further. */
#include "tools/job_file_check.h"

#include <stdio.h>
#include <stdlib.h>
#include <yaml.h>

enum {
	PAIRS_MAX = 256, /* of one mapping: more than any has keys for */
	DEPTH_MAX = 16,	 /* more than there are levels, and few enough for libyaml to stay quick */
};

/* Bytes that are not text have an offset only. */
static unsigned line_of_problem(const yaml_parser_t *parser, struct text content)
{
	unsigned line = 1;

	if (parser->error != YAML_READER_ERROR)
		return (unsigned)parser->problem_mark.line + 1;
	for (size_t i = 0; i < content.bytes && i < parser->problem_offset; i++)
		line += content.at[i] == '\n';
	return line;
}

static const yaml_char_t *anchor_of(const yaml_event_t *event)
{
	switch (event->type) {
	case YAML_ALIAS_EVENT:
		return event->data.alias.anchor;
	case YAML_SCALAR_EVENT:
		return event->data.scalar.anchor;
	case YAML_SEQUENCE_START_EVENT:
		return event->data.sequence_start.anchor;
	case YAML_MAPPING_START_EVENT:
		return event->data.mapping_start.anchor;
	default:
		return NULL;
	}
}

/* What would let a small file be a large job, or take libyaml a time that grows with the square of
 * the file: found while it is still events, before there is a document. */
static const char *find_excess(const yaml_event_t *event, unsigned *depth)
{
	if (anchor_of(event))
		return "holds an anchor (&name) or alias (*name); write the value out, they are "
		       "not understood";
	if (event->type == YAML_SEQUENCE_START_EVENT || event->type == YAML_MAPPING_START_EVENT)
		++*depth;
	else if (event->type == YAML_SEQUENCE_END_EVENT || event->type == YAML_MAPPING_END_EVENT)
		--*depth;
	return *depth > DEPTH_MAX ? "nests deeper than any key of a job file" : NULL;
}

static void start(yaml_parser_t *parser, struct text content)
{
	/* Fails only without memory for some hundred bytes, where nothing else works either. */
	must(yaml_parser_initialize(parser));
	yaml_parser_set_input_string(parser, (const unsigned char *)content.at, content.bytes);
}

/* What is no YAML at all is told too. False: a fault was told. */
static bool check_events(struct job_faults *faults, struct text content)
{
	const char *excess = NULL;
	unsigned depth = 0, documents = 0;
	yaml_parser_t parser;
	yaml_event_t event;
	bool more = true;

	start(&parser, content);
	while (more && yaml_parser_parse(&parser, &event)) {
		documents += event.type == YAML_DOCUMENT_START_EVENT;
		excess = documents > 1 ? "a second YAML document begins; a job file has one"
				       : find_excess(&event, &depth);
		if (excess)
			job_fault(faults, (unsigned)event.start_mark.line + 1, "", "%s", excess);
		more = !excess && event.type != YAML_STREAM_END_EVENT;
		yaml_event_delete(&event);
	}
	if (parser.error)
		job_fault(faults, line_of_problem(&parser, content), "", "is not YAML: %s%s%s",
			  parser.context ? parser.context : "", parser.context ? ", " : "",
			  parser.problem ? parser.problem : "it ends too early");
	more = !excess && !parser.error;
	yaml_parser_delete(&parser);
	return more;
}

static enum err load_document(struct text content, yaml_document_t *out)
{
	yaml_parser_t parser;
	bool loaded;

	start(&parser, content);
	loaded = yaml_parser_load(&parser, out);
	yaml_parser_delete(&parser);
	return loaded ? OK : RAISE(ERR_MEMORY_EXHAUSTED, "reading the job file");
}

/* ---- nodes ---- */

static unsigned line_of(const yaml_node_t *node)
{
	return (unsigned)node->start_mark.line + 1;
}

static struct text scalar(const yaml_node_t *node)
{
	return (struct text){ (const char *)node->data.scalar.value, node->data.scalar.length };
}

/* YAML's null (section 10.3.2 of YAML 1.2): a key whose value was left out. */
static bool is_null(const yaml_node_t *node)
{
	static const char *const words[] = { "", "~", "null", "Null", "NULL" };

	if (node->type != YAML_SCALAR_NODE || node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
		return false;
	for (size_t i = 0; i < ARRAY_COUNT(words); i++)
		if (text_equal(scalar(node), text_of(words[i])))
			return true;
	return false;
}

/* The first key of the section `name` inside the section `within` (with its dot; "": at the top),
 * or with `short_form` the one its short form stands for; JOB_KEYS if none. */
static enum job_key_id find_section(struct text within, struct text name, bool short_form)
{
	for (size_t i = 0; i < JOB_KEYS; i++) {
		struct text section = job_key_section(&job_keys[i]);

		if (section.bytes == within.bytes + name.bytes + 1 &&
		    (job_keys[i].short_form || !short_form) &&
		    memcmp(section.at, within.at, within.bytes) == 0 &&
		    memcmp(section.at + within.bytes, name.at, name.bytes) == 0 &&
		    !job_key_in_row((enum job_key_id)i))
			return (enum job_key_id)i;
	}
	return JOB_KEYS;
}

/* ---- short forms ---- */

/* What takes the place of node `value`: "{name: value}", "[value]" or "{}". 0 without memory. */
static int wrap(yaml_document_t *document, int value, const char *name, bool list)
{
	yaml_mark_t mark = yaml_document_get_node(document, value)->start_mark;
	int made = list ? yaml_document_add_sequence(document, NULL, YAML_ANY_SEQUENCE_STYLE)
			: yaml_document_add_mapping(document, NULL, YAML_ANY_MAPPING_STYLE);
	int word;

	if (!made)
		return 0;
	yaml_document_get_node(document, made)->start_mark = mark;
	if (list)
		return yaml_document_append_sequence_item(document, made, value) ? made : 0;
	if (!name)
		return made;
	word = yaml_document_add_scalar(document, NULL, (const yaml_char_t *)name, -1,
					YAML_ANY_SCALAR_STYLE);
	if (!word)
		return 0;
	yaml_document_get_node(document, word)->start_mark = mark;
	return yaml_document_append_mapping_pair(document, made, word, value) ? made : 0;
}

/* The node that pair `name: value` of `section` is to have. */
static int expanded(yaml_document_t *document, struct text section, struct text name, int value)
{
	const yaml_node_t *node = yaml_document_get_node(document, value);
	enum job_key_id id = job_key_find(section, name);

	if (id < JOB_KEYS)
		return job_keys[id].kind == JOB_LIST && node->type == YAML_SCALAR_NODE &&
				       !is_null(node)
			       ? wrap(document, value, NULL, true)
			       : value;
	if (node->type == YAML_MAPPING_NODE || find_section(section, name, false) == JOB_KEYS)
		return value;
	if (is_null(node))
		return wrap(document, value, NULL, false);
	id = find_section(section, name, true);
	return id < JOB_KEYS ? wrap(document, value, job_key_name(&job_keys[id]), false) : value;
}

/* Nodes are looked up again after each change, because that may move them. */
static bool expand(yaml_document_t *document, int mapping, struct text section)
{
	for (size_t i = 0; i < PAIRS_MAX; i++) {
		const yaml_node_t *node = yaml_document_get_node(document, mapping);
		yaml_node_pair_t pair;
		struct text name;
		enum job_key_id id;
		int made;

		if (!node || node->type != YAML_MAPPING_NODE ||
		    node->data.mapping.pairs.start + i >= node->data.mapping.pairs.top)
			break;
		pair = node->data.mapping.pairs.start[i];
		node = yaml_document_get_node(document, pair.key);
		if (node->type != YAML_SCALAR_NODE)
			continue;
		name = scalar(node);
		if (!(made = expanded(document, section, name, pair.value)))
			return false;
		node = yaml_document_get_node(document, mapping);
		node->data.mapping.pairs.start[i].value = made;
		id = find_section(section, name, false);
		if (id < JOB_KEYS && !expand(document, made, job_key_section(&job_keys[id])))
			return false;
	}
	return true;
}

/* ---- checking ---- */

struct walk {
	struct job_lines *lines;
	struct job_faults *faults;
	yaml_document_t *document;
	bool short_of_memory;
};
/* Where in the file: the section's path, and the row if it is one of a list. */
struct place {
	struct text section;
	size_t row;
	bool in_row;
};

static char *show_key(const struct place *place, struct text name, char to[JOB_KEY_PATH_BYTES_MAX])
{
	char shown[64];

	err_quote(shown, sizeof shown, name);
	if (place->in_row)
		snprintf(to, JOB_KEY_PATH_BYTES_MAX, "%s[%zu].%s", job_keys[JOB_KEY_ROWS].path,
			 place->row, shown);
	else
		snprintf(to, JOB_KEY_PATH_BYTES_MAX, "%.*s%s", (int)place->section.bytes,
			 place->section.at, shown);
	return to;
}

static void check_scalar(struct walk *walk, const struct job_key *key, const char *shown_key,
			 unsigned line, const yaml_node_t *node)
{
	struct text text = node->type == YAML_SCALAR_NODE ? scalar(node) : text_of("");
	uint64_t value;
	enum err e;

	if (node->type != YAML_SCALAR_NODE) {
		job_fault(walk->faults, line, shown_key, "takes one value, not a %s",
			  node->type == YAML_SEQUENCE_NODE ? "list" : "mapping of keys");
		return;
	}
	for (size_t i = 0; i < text.bytes; i++)
		if ((unsigned char)text.at[i] < 0x20 || text.at[i] == 0x7f) {
			job_fault(walk->faults, line, shown_key,
				  "holds a control character or the end of a line");
			return;
		}
	if ((e = job_key_parse(key, is_null(node) ? "" : text.at, &value)))
		job_fault_raised(walk->faults, line, shown_key, e);
}

static void check_list(struct walk *walk, enum job_key_id id, unsigned line,
		       const yaml_node_t *node)
{
	const struct job_key *key = &job_keys[id];
	const yaml_node_item_t *items = node->data.sequence.items.start;
	size_t count;

	if (node->type != YAML_SEQUENCE_NODE) {
		check_scalar(walk, key, key->path, line, node);
		return;
	}
	count = (size_t)(node->data.sequence.items.top - items);
	if (count == 0)
		job_fault(walk->faults, line, key->path, "is an empty list; leave the key out");
	if (!(walk->lines->items[id] = calloc(count + 1, sizeof(unsigned)))) {
		walk->short_of_memory = true;
		return;
	}
	for (size_t i = 0; i < count; i++) {
		const yaml_node_t *item = yaml_document_get_node(walk->document, items[i]);

		walk->lines->items[id][i] = line_of(item);
		check_scalar(walk, key, key->path, line_of(item), item);
	}
}

static bool check_mapping(struct walk *walk, const struct place *place, yaml_node_t *node);

/* Each of the three below says whether libcyaml can load what it checked. What is wrong inside a
 * mapping is taken out of it, so that all the rest is still loaded and checked further. */
static bool check_rows(struct walk *walk, unsigned line, const yaml_node_t *node)
{
	const struct job_key *key = &job_keys[JOB_KEY_ROWS];
	const yaml_node_item_t *items = node->data.sequence.items.start;
	bool loadable = true;
	size_t count;

	if (node->type != YAML_SEQUENCE_NODE) {
		job_fault(walk->faults, line, key->path,
			  "takes a list of mailboxes, each with keys of its own");
		return false;
	}
	count = (size_t)(node->data.sequence.items.top - items);
	if (!(walk->lines->rows = calloc(count + 1, sizeof *walk->lines->rows))) {
		walk->short_of_memory = true;
		return false;
	}
	for (size_t i = 0; i < count; i++) {
		struct place place = { job_key_section(&job_keys[JOB_ROW_FIRST]), i, true };
		yaml_node_t *item = yaml_document_get_node(walk->document, items[i]);

		walk->lines->rows[i].first = line_of(item);
		loadable = check_mapping(walk, &place, item) && loadable;
	}
	return loadable;
}

/* The line in which the key was met before is kept where it belongs; 0: it was not. */
static unsigned *line_place(struct walk *walk, const struct place *place, enum job_key_id id)
{
	return place->in_row ? &walk->lines->rows[place->row].keys[id - JOB_ROW_FIRST]
			     : &walk->lines->keys[id];
}

static void refuse_name(struct walk *walk, const struct place *place, struct text name,
			unsigned line, const char *shown_key)
{
	const char *meant = job_key_nearest(place->section, name);

	job_fault(walk->faults, line, shown_key, "there is no such key%s%s%s",
		  meant ? "; perhaps " : "", meant ? meant : "", meant ? " is meant" : "");
}

static bool is_empty(const yaml_node_t *node)
{
	return node->type == YAML_MAPPING_NODE &&
	       node->data.mapping.pairs.start == node->data.mapping.pairs.top;
}

/* `first` is the line of the same key earlier in this mapping, or 0. */
static bool check_pair(struct walk *walk, const struct place *place, const yaml_node_t *name_node,
		       int value, unsigned first)
{
	char shown_key[JOB_KEY_PATH_BYTES_MAX];
	struct text name = scalar(name_node);
	unsigned line = line_of(name_node);
	enum job_key_id id = job_key_find(place->section, name);
	enum job_key_id section =
		place->in_row ? JOB_KEYS : find_section(place->section, name, false);
	unsigned before = walk->faults->count;
	yaml_node_t *node = yaml_document_get_node(walk->document, value);

	show_key(place, name, shown_key);
	if (id == JOB_KEYS && section == JOB_KEYS)
		refuse_name(walk, place, name, line, shown_key);
	else if (first)
		job_fault(walk->faults, line, shown_key, "stands twice; first in line %u", first);
	else if (id == JOB_KEYS && job_keys[section].never_empty && is_empty(node))
		job_fault(walk->faults, line, shown_key,
			  "is empty and would restrict nothing; leave it out, or say what is "
			  "allowed");
	if (walk->faults->count > before)
		return false;
	if (id == JOB_KEYS)
		return check_mapping(
			walk, &(struct place){ .section = job_key_section(&job_keys[section]) },
			node);
	*line_place(walk, place, id) = line;
	if (job_keys[id].kind == JOB_ROWS)
		return check_rows(walk, line, node);
	if (job_keys[id].kind == JOB_LIST)
		check_list(walk, id, line, node);
	else
		check_scalar(walk, &job_keys[id], shown_key, line, node);
	return walk->faults->count == before;
}

/* The line of an earlier pair with the same name, or 0. */
static unsigned earlier_line(yaml_document_t *document, const yaml_node_pair_t *pairs, size_t count,
			     struct text name)
{
	for (size_t i = 0; i < count; i++) {
		const yaml_node_t *other = yaml_document_get_node(document, pairs[i].key);

		if (other->type == YAML_SCALAR_NODE && text_equal(scalar(other), name))
			return line_of(other);
	}
	return 0;
}

static bool check_mapping(struct walk *walk, const struct place *place, yaml_node_t *node)
{
	char shown_key[JOB_KEY_PATH_BYTES_MAX];
	yaml_node_pair_t *pairs = node->data.mapping.pairs.start, *kept = pairs;
	size_t count;

	show_key(place, text_of(""), shown_key);
	if (*shown_key)
		shown_key[strlen(shown_key) - 1] = '\0'; /* its last dot */
	if (node->type != YAML_MAPPING_NODE) {
		job_fault(walk->faults, line_of(node), shown_key,
			  "takes keys with values, each on a line of its own: \"key: value\"");
		return false;
	}
	count = (size_t)(node->data.mapping.pairs.top - pairs);
	if (count > PAIRS_MAX) {
		job_fault(walk->faults, line_of(node), shown_key, "has %zu keys; %d at most", count,
			  PAIRS_MAX);
		count = PAIRS_MAX;
	}
	for (size_t i = 0; i < count; i++) {
		yaml_node_pair_t pair = pairs[i];
		const yaml_node_t *name = yaml_document_get_node(walk->document, pair.key);

		if (name->type != YAML_SCALAR_NODE)
			job_fault(walk->faults, line_of(name), shown_key,
				  "a key must be a word, not a list or mapping");
		else if (check_pair(walk, place, name, pair.value,
				    earlier_line(walk->document, pairs, i, scalar(name))))
			*kept++ = pair;
	}
	node->data.mapping.pairs.top = kept;
	return true;
}

static enum err check_document(struct job_lines *lines, struct job_faults *faults,
			       yaml_document_t *document, bool *loadable)
{
	struct walk walk = { lines, faults, document, false };
	yaml_node_t *root = yaml_document_get_root_node(document);

	*loadable = root && check_mapping(&walk, &(struct place){ .section = text_of("") }, root);
	if (!root)
		job_fault(faults, 0, "", "is empty");
	return walk.short_of_memory ? RAISE(ERR_MEMORY_EXHAUSTED, "checking the job file") : OK;
}

static int write_handler(void *data, unsigned char *bytes, size_t size)
{
	struct buffer *to = data;

	buffer_add(to, bytes, size);
	return !to->failed;
}

/* ---- the whole ---- */

/* The document as text again; it is used up. */
static bool emit(yaml_document_t *document, struct buffer *to)
{
	yaml_emitter_t emitter;
	bool emitted;

	if (!yaml_emitter_initialize(&emitter)) {
		yaml_document_delete(document);
		return false;
	}
	yaml_emitter_set_output(&emitter, write_handler, to);
	yaml_emitter_set_unicode(&emitter, 1);
	yaml_emitter_set_width(&emitter, -1);
	emitted = yaml_emitter_open(&emitter);
	if (!emitted)
		yaml_document_delete(document);
	emitted = emitted && yaml_emitter_dump(&emitter, document) && yaml_emitter_close(&emitter);
	yaml_emitter_delete(&emitter);
	return emitted && !to->failed;
}

enum err job_file_check(struct text content, struct job_faults *faults, struct job_lines *lines,
			struct buffer *sound)
{
	yaml_document_t document;
	bool loadable = false;
	enum err e;

	if (!check_events(faults, content))
		return OK;
	if ((e = load_document(content, &document)))
		return e;
	if (!expand(&document, 1, text_of("")))
		e = RAISE(ERR_MEMORY_EXHAUSTED, "reading the job file");
	else
		e = check_document(lines, faults, &document, &loadable);
	if (e || !loadable)
		yaml_document_delete(&document);
	else if (!emit(&document, sound))
		e = RAISE(ERR_MEMORY_EXHAUSTED, "reading the job file");
	return e;
}
