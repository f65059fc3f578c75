/* --help and man pages, made from the same option tables that opt.c parses with. */
#include "engine/opt.h"


enum { HELP_COLUMNS = 80, HELP_INDENT = 6 };

/* ---- filling text ---- */

/* Words of `text` as lines of at most HELP_COLUMNS, each indented; the cursor is at `column` now.
 */
static void fill(FILE *to, const char *text, size_t bytes, unsigned indent, unsigned column)
{
	const char *end = text + bytes;

	while (text < end) {
		const char *word = text;

		while (text < end && *text != ' ' && *text != '\n')
			text++;
		if (column > indent && column + 1 + (text - word) > HELP_COLUMNS) {
			fprintf(to, "\n%*s", (int)indent, "");
			column = indent;
		} else if (column > indent && text > word) {
			fputc(' ', to);
			column++;
		} else if (column < indent) {
			fprintf(to, "%*s", (int)(indent - column), "");
			column = indent;
		}
		fwrite(word, 1, (size_t)(text - word), to);
		column += (unsigned)(text - word);
		while (text < end && (*text == ' ' || *text == '\n'))
			text++;
	}
	fputc('\n', to);
}

/* One piece of a section: a line kept as it is (begins with two spaces), an empty line, or
 * everything up to the next of those. *bytes excludes the line end; returns where the next piece
 * begins. */
enum piece { PIECE_KEPT, PIECE_EMPTY, PIECE_PARAGRAPH };
static const char *next_piece(const char *text, enum piece *kind, size_t *bytes)
{
	const char *end = strchrnul(text, '\n');

	*kind = *text == '\n'		      ? PIECE_EMPTY
		: strncmp(text, "  ", 2) == 0 ? PIECE_KEPT
					      : PIECE_PARAGRAPH;
	if (*kind == PIECE_PARAGRAPH)
		while (*end && end[1] && end[1] != '\n' && strncmp(end + 1, "  ", 2) != 0)
			end = strchrnul(end + 1, '\n');
	*bytes = (size_t)(end - text);
	return *end ? end + 1 : end;
}

static void help_text(FILE *to, const char *text)
{
	enum piece kind;
	size_t bytes;

	while (*text) {
		const char *next = next_piece(text, &kind, &bytes);

		if (kind == PIECE_PARAGRAPH)
			fill(to, text, bytes, 0, 0);
		else
			fprintf(to, "%.*s\n", (int)bytes, text);
		text = next;
	}
}

/* "NAME", "a|b|c", "LEVEL|off" */
static void value_name(FILE *to, const struct opt *opt)
{
	if (opt->kind == OPT_CHOICE)
		for (const char *const *choice = opt->choices; *choice; choice++)
			fprintf(to, "%s%s", choice == opt->choices ? "" : "|", *choice);
	else if (opt->value)
		fprintf(to, "%s%s%s", opt->value, opt->zero_word ? "|" : "",
			opt->zero_word ? opt->zero_word : "");
}

static bool takes_value(const struct opt *opt)
{
	return opt->kind != OPT_FLAG;
}

/* ---- help ---- */

static void help_option(FILE *to, const struct opt *opt)
{
	fprintf(to, "  --%s%s", opt->name, takes_value(opt) ? " " : "");
	value_name(to, opt);
	fputc('\n', to);
	fill(to, opt->help, strlen(opt->help), HELP_INDENT, 0);
	if (opt->initial)
		fprintf(to, "%*sDefault: %s.\n", HELP_INDENT, "", opt->initial);
}

void opt_help(const struct opt_command *command, const char *program, FILE *to)
{
	fprintf(to, "Usage: %s%s%s%s%s%s\n\n", program, *command->name ? " " : "", command->name,
		command->options_count ? " [OPTIONS]" : "", *command->arguments ? " " : "",
		command->arguments);
	help_text(to, command->about);
	fprintf(to, "\nOptions:\n");
	for (size_t i = 0; i < command->options_count; i++)
		help_option(to, &command->options[i]);
	fprintf(to, "  --help\n%*sShow this text.\n", HELP_INDENT, "");
	for (size_t i = 0; i < command->sections_count; i++) {
		fprintf(to, "\n%s:\n", command->sections[i].title);
		help_text(to, command->sections[i].text);
	}
	if (command->examples)
		fprintf(to, "\nExamples:\n%s", command->examples);
}

/* ---- man page ---- */

/* man(7): a backslash and a minus sign are written with a backslash, and no line of text begins
 * with a dot or an apostrophe. */
static void roff(FILE *to, const char *text, size_t bytes)
{
	bool at_line_start = true;

	for (size_t i = 0; i < bytes; i++) {
		char c = text[i];

		if (at_line_start && (c == '.' || c == '\''))
			fputs("\\&", to);
		if (c == '\\')
			fputs("\\e", to);
		else if (c == '-')
			fputs("\\-", to);
		else
			fputc(c, to);
		at_line_start = c == '\n';
	}
}

static void roff_line(FILE *to, const char *text)
{
	roff(to, text, strlen(text));
	fputc('\n', to);
}

static void man_text(FILE *to, const char *text)
{
	enum piece kind;
	bool kept = false;
	size_t bytes;

	while (*text) {
		const char *next = next_piece(text, &kind, &bytes);

		if (kept != (kind == PIECE_KEPT))
			fputs(kept ? ".fi\n" : ".nf\n", to);
		kept = kind == PIECE_KEPT;
		if (kind == PIECE_EMPTY)
			fputs(".PP\n", to);
		else {
			roff(to, text, bytes);
			fputc('\n', to);
		}
		text = next;
	}
	if (kept)
		fputs(".fi\n", to);
}

static void man_option(FILE *to, const struct opt *opt)
{
	fputs(".TP\n\\fB\\-\\-", to);
	roff(to, opt->name, strlen(opt->name));
	fputs("\\fR", to);
	if (takes_value(opt)) {
		fputs(" \\fI", to);
		value_name(to, opt);
		fputs("\\fR", to);
	}
	fputc('\n', to);
	roff_line(to, opt->help);
	if (opt->initial)
		fprintf(to, "Default: %s.\n", opt->initial);
}

/* Titles of man pages and their sections are written in capitals. */
static void capitals(FILE *to, const char *text)
{
	for (; *text; text++)
		fputc(*text >= 'a' && *text <= 'z' ? *text - 'a' + 'A' : *text, to);
}

static void man_head(FILE *to, const struct opt_command *command, const char *program,
		     const char *version)
{
	const char *dash = *command->name ? "-" : "";

	fputs(".TH ", to);
	capitals(to, program);
	capitals(to, dash);
	capitals(to, command->name);
	fprintf(to, " 1 \"\" \"%s %s\"\n.SH NAME\n%s%s%s \\- ", program, version, program,
		*dash ? "\\-" : "", command->name);
	roff_line(to, command->summary);
	fprintf(to, ".SH SYNOPSIS\n\\fB%s%s%s\\fR%s ", program, *dash ? " " : "", command->name,
		command->options_count ? " [\\fIOPTIONS\\fR]" : "");
	roff_line(to, command->arguments);
}

void opt_man(const struct opt_command *command, const char *program, const char *version, FILE *to)
{
	man_head(to, command, program, version);
	fputs(".SH DESCRIPTION\n", to);
	man_text(to, command->about);
	fputs(".SH OPTIONS\n", to);
	for (size_t i = 0; i < command->options_count; i++)
		man_option(to, &command->options[i]);
	fputs(".TP\n\\fB\\-\\-help\\fR\nShow help.\n", to);
	for (size_t i = 0; i < command->sections_count; i++) {
		fputs(".SH ", to);
		capitals(to, command->sections[i].title);
		fputc('\n', to);
		man_text(to, command->sections[i].text);
	}
	if (command->examples) {
		fputs(".SH EXAMPLES\n.nf\n", to);
		roff(to, command->examples, strlen(command->examples));
		fputs(".fi\n", to);
	}
}
