/* See imap_places.h. */
#include "transport/imap_places.h"

#include <stdlib.h>

#include "engine/log.h"
#include "transport/imap_list.h"
#include "transport/name_table.h"
#include "transport/provider.h"

enum {
	PLACES_MAGIC = 0x1a4a91ce,
};

/* A folder of the source. */
struct placed {
	uint64_t box_no;
	struct imap_place *place; /* NULL: none yet, or none at all */
	bool subscribed;
	bool was_moved; /* to another place, because the first one was taken */
};

struct known {
	uint32_t uidvalidity, uidnext;
	bool subscribed, selectable;
};

struct imap_places {
	uint32_t magic;
	struct box_map *map;
	unsigned capabilities;
	const struct provider *provider;
	/* The destination's folders as listed, by their raw names. */
	struct name_table known_by_raw;
	struct known *known;
	uint32_t known_count, known_room;
	struct name_table places_by_raw;
	struct imap_place **places;
	uint32_t places_count, places_room;
	struct name_table placed_by_no;
	struct placed *placed;
	uint32_t placed_count, placed_room;
	uint32_t settled; /* of placed: all before have their place */
	uint32_t told;	  /* all before were told of */
};

/* ---- the destination's folders ---- */

static enum err open_map(struct imap_places *places, const struct box *first)
{
	unsigned capabilities = places->capabilities;

	return box_map_open(
		&(struct box_map_target){
			.separator = first ? first->separator : '\0',
			.prefix = first ? first->prefix : "",
			.forbidden = places->provider->forbidden,
			.case_insensitive = places->provider->quirks & PROVIDER_NAMES_FOLD_CASE,
			.utf8 = !(capabilities & IMAP_REV1),
			.create_special_use = capabilities & IMAP_HAS_CREATE_SPECIAL_USE,
			.inbox_is_leaf = first && first->use == BOX_USE_INBOX && first->childless,
		},
		&places->map);
}

static enum err add_known(struct imap_places *places, const struct box *box)
{
	enum err e;

	if ((e = name_table_room((void **)&places->known, places->known_count, &places->known_room,
				 sizeof *places->known)) ||
	    (e = name_table_put(&places->known_by_raw, text_of(box->raw), places->known_count)))
		return e;
	places->known[places->known_count++] = (struct known){
		.uidvalidity = (uint32_t)box->epoch,
		.uidnext = (uint32_t)box->next_no,
		.subscribed = box->subscribed,
		.selectable = box->selectable && !box->fate,
	};
	return box_map_add_target(places->map, box);
}

/* The one that tells separator and prefix: INBOX, which every server has. */
static const struct box *telling(const struct box_page *page)
{
	for (unsigned i = 0; i < page->count; i++)
		if (page->boxes[i].use == BOX_USE_INBOX && page->boxes[i].separator)
			return &page->boxes[i];
	for (unsigned i = 0; i < page->count; i++)
		if (page->boxes[i].separator)
			return &page->boxes[i];
	return page->count ? &page->boxes[0] : NULL;
}

static enum err list_known(struct imap_places *places, struct imap_session *session,
			   struct imap_list *list)
{
	struct box_page *page = calloc(1, sizeof *page);
	enum err e = page ? OK : RAISE(ERR_MEMORY_EXHAUSTED, "listing a destination's folders");

	while (e == OK && !page->last) {
		if ((e = imap_list_page(list, session, page)))
			break;
		if (!places->map && (e = open_map(places, telling(page))))
			break;
		for (unsigned i = 0; i < page->count && e == OK; i++)
			e = add_known(places, &page->boxes[i]);
	}
	free(page);
	return e;
}

enum err imap_places_open(struct imap_session *session, struct imap_places **out)
{
	struct imap_places *places = calloc(1, sizeof *places);
	struct imap_list *list = NULL;
	enum err e;

	*out = places;
	if (!places)
		return RAISE(ERR_MEMORY_EXHAUSTED, "a destination's folders");
	places->magic = PLACES_MAGIC;
	places->capabilities = imap_session_capabilities(session);
	places->provider = imap_session_provider(session);
	if ((e = imap_list_open(session, &list)) == OK)
		e = list_known(places, session, list);
	imap_list_close(&list);
	if (e)
		imap_places_close(out);
	return e;
}

void imap_places_close(struct imap_places **out)
{
	struct imap_places *places = *out;

	if (!places)
		return;
	MAGIC_CHECK(places, PLACES_MAGIC);
	box_map_close(&places->map);
	name_table_free(&places->known_by_raw);
	name_table_free(&places->places_by_raw);
	name_table_free(&places->placed_by_no);
	for (uint32_t i = 0; i < places->places_count; i++) {
		free(places->places[i]->raw);
		free(places->places[i]);
	}
	free(places->places);
	free(places->known);
	free(places->placed);
	places->magic = 0;
	free(places);
	*out = NULL;
}

/* ---- the source's folders ---- */

enum err imap_places_recall(struct imap_places *places, const char *name, const char *target)
{
	return box_map_remember(places->map, text_of(name), text_of(target));
}

void imap_places_outdated(struct imap_places *places, struct text raw)
{
	uint32_t known = name_table_find(&places->known_by_raw, raw);

	must(places->places_count == 0);
	if (known != NAME_TABLE_NONE)
		places->known[known].uidnext = 0;
}

enum err imap_places_add(struct imap_places *places, const struct box *box)
{
	uint64_t box_no = box->box_no;
	enum err e;

	MAGIC_CHECK(places, PLACES_MAGIC);
	if (name_table_find(&places->placed_by_no, name_table_key(&box_no)) != NAME_TABLE_NONE)
		return OK;
	if ((e = box_map_add_source(places->map, box)))
		return e;
	if (!box->selectable || box->fate)
		return OK;
	if ((e = name_table_room((void **)&places->placed, places->placed_count,
				 &places->placed_room, sizeof *places->placed)) ||
	    (e = name_table_put(&places->placed_by_no, name_table_key(&box_no),
				places->placed_count)))
		return e;
	places->placed[places->placed_count++] =
		(struct placed){ .box_no = box_no, .subscribed = box->subscribed };
	return OK;
}

bool imap_places_are_open(const struct imap_places *places)
{
	return places->settled < places->placed_count;
}

struct imap_place *imap_places_find(struct imap_places *places, uint64_t box_no)
{
	uint32_t at = name_table_find(&places->placed_by_no, name_table_key(&box_no));

	return at == NAME_TABLE_NONE ? NULL : places->placed[at].place;
}

bool imap_places_next_news(struct imap_places *places, uint64_t *box_no, struct imap_place **place)
{
	while (places->told < places->settled) {
		struct placed *placed = &places->placed[places->told++];

		if (!placed->place)
			continue;
		*box_no = placed->box_no;
		*place = placed->place;
		return true;
	}
	return false;
}

/* ---- deciding ---- */

/* One that several folders of the source share is one object. */
static enum err find_place(struct imap_places *places, const char *raw, struct imap_place **out)
{
	uint32_t at = name_table_find(&places->places_by_raw, text_of(raw));
	struct imap_place *place;
	uint32_t known;
	enum err e;

	if (at != NAME_TABLE_NONE) {
		*out = places->places[at];
		return OK;
	}
	if ((e = name_table_room((void **)&places->places, places->places_count,
				 &places->places_room, sizeof(struct imap_place *))) ||
	    (e = name_table_put(&places->places_by_raw, text_of(raw), places->places_count)))
		return e;
	if (!(place = calloc(1, sizeof *place)) || !(place->raw = strdup(raw))) {
		free(place);
		return RAISE(ERR_MEMORY_EXHAUSTED, "a folder of a destination");
	}
	known = name_table_find(&places->known_by_raw, text_of(raw));
	if (known != NAME_TABLE_NONE && places->known[known].selectable) {
		place->is_there = true;
		place->uidvalidity = places->known[known].uidvalidity;
		place->uidnext = places->known[known].uidnext;
	}
	*out = places->places[places->places_count++] = place;
	return OK;
}

static bool is_subscribed(const struct imap_places *places, const char *raw)
{
	uint32_t known = name_table_find(&places->known_by_raw, text_of(raw));

	return known != NAME_TABLE_NONE && places->known[known].subscribed;
}

/* A mailbox's folders, one at a time: what is asked for one that is in the flight already is not
 * asked for again. */
static bool is_flying(const struct imap_flight *flight, const struct imap_place *place)
{
	for (unsigned i = 0; i < flight->count; i++)
		if (flight->errands[i].place == place)
			return true;
	return false;
}

static enum err plan_errand(struct imap_places *places, struct imap_flight *flight,
			    struct placed *placed)
{
	struct box_place *decided = malloc(sizeof *decided);
	struct box *box = calloc(1, sizeof *box);
	struct imap_errand errand = { 0 };
	enum err e = decided && box ? OK : RAISE(ERR_MEMORY_EXHAUSTED, "placing a folder");

	if (!e) {
		*box = (struct box){ .box_no = placed->box_no,
				     .selectable = true,
				     .subscribed = placed->subscribed };
		e = box_map_place(places->map, box, decided);
	}
	if (!e && decided->kind != BOX_PLACE_NOTHING &&
	    (e = find_place(places, decided->raw, &placed->place)) == OK) {
		errand = (struct imap_errand){ .place = placed->place,
					       .use = decided->create_use,
					       .create = !placed->place->is_there,
					       .subscribe = decided->subscribe &&
							    !is_subscribed(places, decided->raw) };
		if (decided->why > BOX_WHY_PREFIX)
			log_event(LOG_INFO, "imap.folder_renamed", "box=%llu why=\"%s\"",
				  (unsigned long long)placed->box_no, box_why_text(decided->why));
	}
	if (!e && errand.place && !errand.place->fate && (errand.create || errand.subscribe) &&
	    !is_flying(flight, errand.place))
		flight->errands[flight->count++] = errand;
	free(decided);
	free(box);
	return e;
}

/* Create what was planned. */
static enum err plan_all(struct imap_places *places, struct imap_flight *flight)
{
	enum err e = OK;

	for (uint32_t at = places->settled; e == OK && at < places->placed_count; at++) {
		if (places->placed[at].place)
			continue;
		if ((e = plan_errand(places, flight, &places->placed[at])) == OK &&
		    flight->count == IMAP_ERRANDS_MAX)
			e = imap_flight_run(flight);
	}
	return e ? e : imap_flight_run(flight);
}

/* Folders whose name turned out to be another one's get another. Those that differ in case only are
 * one where nothing said so before a CREATE was refused. */
static enum err move_taken(struct imap_places *places, bool *moved)
{
	bool is_moved;
	enum err e = OK;

	*moved = false;
	for (uint32_t at = places->settled; at < places->placed_count && !e; at++) {
		struct placed *placed = &places->placed[at];

		if (!placed->place || !placed->place->was_taken || placed->was_moved)
			continue;
		if ((e = box_map_taken(places->map, placed->box_no, &is_moved)) || !is_moved)
			continue;
		placed->was_moved = *moved = true;
		placed->place = NULL;
	}
	return e;
}

enum err imap_places_settle(struct imap_places *places, struct imap_session *session)
{
	struct imap_flight *flight = calloc(1, sizeof *flight);
	bool again = true;
	enum err e = flight ? OK : RAISE(ERR_MEMORY_EXHAUSTED, "creating folders");

	MAGIC_CHECK(places, PLACES_MAGIC);
	while (!e && again) {
		flight->session = session;
		e = plan_all(places, flight);
		if (!e)
			e = move_taken(places, &again);
	}
	if (!e)
		places->settled = places->placed_count;
	free(flight);
	return e;
}
