/* The program: finds the subcommand. Help and man pages are made from the commands' own tables. */
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "tools/commands.h"
#include "tools/hints.h"

static const struct command *const commands[] = {
	&copy_command,	  &run_command,	     &config_command,	 &list_command,
	&extract_command, &verify_command,   &rollback_command,	 &unwrap_command,
	&status_command,  &topology_command, &providers_command, &version_command,
};

struct program_options {
	bool version;
};
struct help_options {
	const char *man;
};

static const struct opt program_options[] = {
	{ .name = "version",
	  OPT_STORES_FLAG(struct program_options, version),
	  .help = "Show versions; the same as the command of that name." },
};

/* Made from the tables below by list_commands(). */
static char commands_text[1024];

static const struct opt_section program_sections[] = {
	{ "Commands", commands_text },
	{ "Exit codes", hint_exit_codes },
};

static const struct opt_command program_usage = {
	.name = "",
	.arguments = "COMMAND ...",
	.words_min = 0,
	.words_max = OPT_WORDS_MAX,
	.summary = "move mailboxes, resumably and with proof",
	.about = "Move mailboxes: fast, resumable, and with proof of every message.\n",
	.options = program_options,
	.options_count = ARRAY_COUNT(program_options),
	.sections = program_sections,
	.sections_count = ARRAY_COUNT(program_sections),
	.examples = "  mailhaul copy --source-password-file alice.pw \\\n"
		    "      imaps://alice@mail.example.com/ file:///var/archive\n"
		    "  mailhaul run tenant.yaml\n"
		    "  mailhaul list file:///var/archive\n"
		    "  mailhaul extract --to mail file:///var/archive\n"
		    "  mailhaul verify file:///var/archive\n"
		    "  mailhaul verify --sample 2% --destination-password-file new.pw \\\n"
		    "      imaps://alice@new.example.com/\n"
		    "  mailhaul help copy\n",
};

static const struct opt help_options[] = {
	{ .name = "man",
	  OPT_STORES_FILE(struct help_options, man),
	  .value = "DIR",
	  .help = "Write the man pages of all commands into DIR instead." },
};

static const struct opt_command help_usage = {
	.name = "help",
	.arguments = "[COMMAND]",
	.words_min = 0,
	.words_max = 1,
	.summary = "show help for a command, write the man pages",
	.about = "Show the help of COMMAND, or of the program.\n",
	.options = help_options,
	.options_count = ARRAY_COUNT(help_options),
	.examples = "  mailhaul help copy\n"
		    "  mailhaul help --man /usr/local/share/man/man1\n",
};

static void list_commands(void)
{
	size_t used = 0;

	for (size_t i = 0; i <= ARRAY_COUNT(commands); i++) {
		const struct opt_command *usage =
			i < ARRAY_COUNT(commands) ? commands[i]->usage : &help_usage;

		used += (size_t)snprintf(commands_text + used, sizeof commands_text - used,
					 "  %-11s%s\n", usage->name, usage->summary);
		must(used < sizeof commands_text);
	}
}

static const struct opt_command *find_usage(const char *name)
{
	for (size_t i = 0; i < ARRAY_COUNT(commands); i++)
		if (strcmp(commands[i]->usage->name, name) == 0)
			return commands[i]->usage;
	return strcmp(name, "help") == 0 ? &help_usage : NULL;
}

static enum err write_man_page(const char *directory, const struct opt_command *usage)
{
	char path[4096 - 1024];
	FILE *file;

	if (snprintf(path, sizeof path, "%s/mailhaul%s%s.1", directory, *usage->name ? "-" : "",
		     usage->name) >= (int)sizeof path)
		return RAISE(ERR_INPUT_USAGE, "the name of the directory is too long");
	if (!(file = fopen(path, "we")))
		return RAISE_ERRNO(err_of_file_errno(errno), errno, "making %s", path);
	opt_man(usage, "mailhaul", program_version, file);
	if (ferror(file) | fclose(file))
		return RAISE_ERRNO(err_of_file_errno(errno), errno, "writing %s", path);
	return OK;
}

static enum err write_man_pages(const char *directory)
{
	enum err e;

	if (mkdir(directory, 0755) && errno != EEXIST)
		return RAISE_ERRNO(err_of_file_errno(errno), errno, "making the directory %s",
				   directory);
	if ((e = write_man_page(directory, &program_usage)) ||
	    (e = write_man_page(directory, &help_usage)))
		return e;
	for (size_t i = 0; i < ARRAY_COUNT(commands); i++)
		if ((e = write_man_page(directory, commands[i]->usage)))
			return e;
	return OK;
}

static const char *command_name(const void *from, size_t index)
{
	(void)from;
	return index < ARRAY_COUNT(commands)	? commands[index]->usage->name
	       : index == ARRAY_COUNT(commands) ? help_usage.name
						: NULL;
}

/* What was typed is repeated only if it is a command but for a slip: anything else may be a
 * password in the wrong place. */
static int refuse_command(const char *typed)
{
	const char *meant = opt_nearest(text_of(typed), command_name, NULL);
	char shown[80];

	err_quote(shown, sizeof shown, text_of(typed));
	return hint_fail("", meant ? RAISE(ERR_INPUT_USAGE,
					   "there is no command \"%s\"; perhaps \"%s\" is meant",
					   shown, meant)
				   : RAISE(ERR_INPUT_USAGE, "there is no such command"));
}

static int help_main(int count, char *const *words)
{
	struct help_options options = { 0 };
	const struct opt_command *usage = &program_usage;
	struct opt_words arguments;
	int exit_code;
	enum err e;

	if (!command_parse(&help_usage, count, words, &options, &arguments, &exit_code))
		return exit_code;
	if (options.man)
		return (e = write_man_pages(options.man)) ? hint_fail("help", e) : EXIT_ALL_MOVED;
	if (arguments.count && !(usage = find_usage(arguments.at[0])))
		return refuse_command(arguments.at[0]);
	opt_help(usage, "mailhaul", stdout);
	return command_finish_output("help", EXIT_ALL_MOVED);
}

/* Without a command: --version, --help, or a complaint. */
static int program_main(int count, char *const *words)
{
	struct program_options options = { 0 };
	struct opt_words arguments;
	int exit_code;

	if (!command_parse(&program_usage, count, words, &options, &arguments, &exit_code))
		return exit_code;
	if (options.version)
		return version_command.run(0, words);
	opt_help(&program_usage, "mailhaul", stderr);
	return EXIT_USAGE;
}

/* By itself malloc raises the size from which memory comes from, and goes back to, the kernel; then
 * a night of many mailboxes keeps the holes that their buffers leave. */
static void set_allocator(void)
{
	(void)!mallopt(M_MMAP_THRESHOLD, 64 * 1024);
	(void)!mallopt(M_TRIM_THRESHOLD, 256 * 1024);
}

int main(int count, char **words)
{
	set_allocator();
	list_commands();
	if (count < 2 || words[1][0] == '-')
		return program_main(count > 0 ? count - 1 : 0, words + 1);
	if (strcmp(words[1], "help") == 0)
		return help_main(count - 2, words + 2);
	for (size_t i = 0; i < ARRAY_COUNT(commands); i++)
		if (strcmp(commands[i]->usage->name, words[1]) == 0)
			return commands[i]->run(count - 2, words + 2);
	return refuse_command(words[1]);
}
