#include "tools/archived.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "engine/clock.h"
#include "transport/archive_place.h"
#include "transport/store_s3.h"

#define FIND_TIMEOUT (60 * NSEC_SECOND)

/* Whether the archive at this path of the source is that of the target, too. */
static bool is_same(const struct account *source, const char *root, const struct account *target)
{
	struct stat from, to;

	if (strcmp(source->scheme, target->scheme) != 0)
		return false;
	if (source->s3)
		return strcmp(source->host, target->host) == 0 &&
		       strcmp(source->s3->s3.endpoint.host, target->s3->s3.endpoint.host) == 0 &&
		       strcmp(*root ? root : "/", target->path) == 0;
	return stat(root, &from) == 0 && stat(target->path, &to) == 0 && from.st_dev == to.st_dev &&
	       from.st_ino == to.st_ino;
}

enum err archived_find(const struct account *source, const struct account *target, struct url *url,
		       char name[ARCHIVED_NAME_BYTES])
{
	struct archive_place *place = calloc(1, sizeof *place);
	enum err e = place ? archive_place_find(source, clock_after(FIND_TIMEOUT), place)
			   : RAISE(ERR_MEMORY_EXHAUSTED, "looking for a mailbox in an archive");

	_Static_assert(sizeof place->mailbox == ARCHIVED_NAME_BYTES, "a name must fit");
	if (!e && is_same(source, place->root, target))
		e = RAISE(ERR_INPUT_USAGE, "SOURCE and TARGET are the same archive");
	if (!e)
		e = url_set_archive(url, place->root, place->mailbox);
	if (!e)
		snprintf(name, ARCHIVED_NAME_BYTES, "%s", place->mailbox);
	free(place);
	return e;
}

/* Whether a path is the other one or above it. */
static bool contains(const char *path, const char *other)
{
	size_t bytes = strcmp(path, "/") == 0 ? 0 : strlen(path);

	return strncmp(path, other, bytes) == 0 && (other[bytes] == '/' || !other[bytes]);
}

enum err archived_check_apart(const struct account *source, const struct account *target)
{
	if (!source->s3 || !target->s3 || strcmp(source->host, target->host) != 0 ||
	    strcmp(source->s3->s3.endpoint.host, target->s3->s3.endpoint.host) != 0 ||
	    (!contains(source->path, target->path) && !contains(target->path, source->path)))
		return OK;
	return RAISE(
		ERR_INPUT_USAGE,
		"SOURCE %s and TARGET %s lie one in the other, so what is stored would be read "
		"as more mail; choose a prefix apart from it",
		source->shown, target->shown);
}
