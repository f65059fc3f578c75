/* libetpan's only door. Facts about libetpan 1.9.4 that gave it this shape, each found by running
 * it: it spins when the peer closes inside a literal, takes BYE for a tagged answer (and reads
 * through the wrong pointer), recurses 0.45 KB per nested list, has a 65 KB frame, and gives up on
 * everything at one LIST line it does not like. So it sees one reply at a time, from memory, behind
 * a tagged answer of our own making. */
#include "transport/imap.h"

#include <libetpan/libetpan.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/bytes.h"

enum { IMAP_MAGIC = 0x1a4a9001, FEED_BYTES = 4096 };

struct imap_grammar {
	uint32_t magic;
	mailimap *session;
	struct text feed[3]; /* what the driver reads next */
};

static ssize_t feed_read(mailstream_low *low, void *to, size_t max)
{
	struct imap_grammar *imap = low->data;

	MAGIC_CHECK(imap, IMAP_MAGIC);
	for (unsigned i = 0; i < ARRAY_COUNT(imap->feed); i++) {
		struct text *feed = &imap->feed[i];
		size_t n = min_u64(max, feed->bytes);

		if (n == 0)
			continue;
		bytes_copy(to, feed->at, n, BYTES_META);
		feed->at += n;
		feed->bytes -= n;
		return (ssize_t)n;
	}
	return -1; /* never 0: it would ask again for ever */
}

static ssize_t feed_write(mailstream_low *low, const void *from, size_t bytes)
{
	(void)low, (void)from, (void)bytes;
	return -1; /* libetpan says nothing to anybody */
}

static int feed_close(mailstream_low *low)
{
	(void)low;
	return 0;
}

static int feed_fd(mailstream_low *low)
{
	(void)low;
	return -1;
}

static void feed_free(mailstream_low *low)
{
	free(low);
}

static void feed_cancel(mailstream_low *low)
{
	(void)low;
}

static mailstream_low_driver feed_driver = {
	.mailstream_read = feed_read,
	.mailstream_write = feed_write,
	.mailstream_close = feed_close,
	.mailstream_get_fd = feed_fd,
	.mailstream_free = feed_free,
	.mailstream_cancel = feed_cancel,
};

enum err imap_grammar_open(struct imap_grammar **out)
{
	struct imap_grammar *imap = calloc(1, sizeof *imap);
	mailstream_low *low = mailstream_low_new(imap, &feed_driver);
	mailstream *stream = low ? mailstream_new(low, FEED_BYTES) : NULL;

	*out = NULL;
	if (!stream)
		free(low);
	if (imap && stream) {
		imap->magic = IMAP_MAGIC;
		imap->session = mailimap_new(0, NULL);
	}
	if (imap && imap->session) {
		/* The real greeting has been judged already; libetpan needs one to be a session. */
		imap->feed[0] = text_of("* OK ready\r\n");
		must(mailimap_connect(imap->session, stream) ==
		     MAILIMAP_NO_ERROR_NON_AUTHENTICATED);
		*out = imap;
		return OK;
	}
	if (stream)
		mailstream_close(stream);
	free(imap);
	return RAISE(ERR_MEMORY_EXHAUSTED, "libetpan's session");
}

void imap_grammar_close(struct imap_grammar **imap)
{
	mailstream *stream;

	if (!*imap)
		return;
	MAGIC_CHECK(*imap, IMAP_MAGIC);
	stream = (*imap)->session->imap_stream;
	(*imap)->session->imap_stream = NULL; /* or it would try to LOGOUT */
	mailimap_free((*imap)->session);
	mailstream_close(stream);
	free(*imap);
	*imap = NULL;
}

static bool skip_literal(struct imap_scan *scan)
{
	uint64_t bytes;

	if (!imap_scan_char(scan, '{') || !imap_scan_number(scan, UINT32_MAX, &bytes) ||
	    !imap_scan_char(scan, '}') || !imap_scan_char(scan, '\r') ||
	    !imap_scan_char(scan, '\n') || bytes > imap_scan_rest(scan).bytes)
		return false;
	scan->at += bytes;
	return true;
}

/* libetpan takes "{n}" for a literal in the middle of a line too, and reserves n bytes, 4 GiB of
 * them if it says so: outside strings each brace has to begin a literal that is there. */
static bool has_whole_literals(struct text reply)
{
	struct imap_scan scan = imap_scan_of(reply);
	struct text string;

	while (!imap_scan_at_end(&scan)) {
		if (imap_scan_quoted(&scan, &string))
			continue;
		if (*scan.at != '{')
			scan.at++;
		else if (!skip_literal(&scan))
			return false;
	}
	return true;
}

/* Let libetpan parse "* <reply>". True: the results are in the session's imap_response_info and
 * imap_connection_info. */
static bool parse(struct imap_grammar *imap, struct text reply)
{
	struct mailimap_response *response = NULL;
	mailimap *session = imap->session;
	char end[40];
	int result;

	MAGIC_CHECK(imap, IMAP_MAGIC);
	if (!has_whole_literals(reply))
		return false;
	snprintf(end, sizeof end, "\r\n%d OK .\r\n", session->imap_tag);
	imap->feed[0] = text_of("* ");
	imap->feed[1] = reply;
	imap->feed[2] = text_of(end);
	session->imap_stream->read_buffer_len = 0; /* of a reply that did not parse */
	if (!mailimap_read_line(session))
		return false;
	result = mailimap_parse_response(session, &response);
	if (result == MAILIMAP_NO_ERROR)
		mailimap_response_free(response);
	return result == MAILIMAP_NO_ERROR && session->imap_response_info;
}

/* Where nothing stands in a list, libetpan may have no list. */
static clistiter *first_of(clist *list)
{
	return list ? clist_begin(list) : NULL;
}

static const struct {
	const char *name;
	unsigned bits;
} known_capabilities[] = {
	{ "IMAP4rev1", IMAP_REV1 },
	/* RFC 9051 appendix E: what the revision brings with it (of BINARY only the reading). */
	{ "IMAP4rev2", IMAP_REV2 | IMAP_HAS_SASL_IR | IMAP_HAS_NAMESPACE | IMAP_HAS_LITERAL_PLUS |
			       IMAP_HAS_LIST_EXTENDED | IMAP_HAS_LIST_STATUS |
			       IMAP_HAS_SPECIAL_USE | IMAP_HAS_STATUS_SIZE | IMAP_HAS_UIDPLUS },
	{ "STARTTLS", IMAP_HAS_STARTTLS },
	{ "LOGINDISABLED", IMAP_HAS_LOGINDISABLED },
	{ "SASL-IR", IMAP_HAS_SASL_IR },
	{ "ID", IMAP_HAS_ID },
	{ "NAMESPACE", IMAP_HAS_NAMESPACE },
	{ "LITERAL+", IMAP_HAS_LITERAL_PLUS | IMAP_HAS_LITERAL_PLUS_LARGE },
	{ "LITERAL-", IMAP_HAS_LITERAL_PLUS },
	{ "LIST-EXTENDED", IMAP_HAS_LIST_EXTENDED },
	{ "LIST-STATUS", IMAP_HAS_LIST_STATUS },
	{ "SPECIAL-USE", IMAP_HAS_SPECIAL_USE },
	{ "STATUS=SIZE", IMAP_HAS_STATUS_SIZE },
	{ "AUTH=PLAIN", IMAP_HAS_AUTH_PLAIN },
	{ "AUTH=XOAUTH2", IMAP_HAS_AUTH_XOAUTH2 },
	{ "AUTH=OAUTHBEARER", IMAP_HAS_AUTH_OAUTHBEARER },
	{ "CONDSTORE", IMAP_HAS_CONDSTORE },
	/* RFC 7162 section 3.2: who has it has CONDSTORE, and ENABLE. */
	{ "QRESYNC", IMAP_HAS_QRESYNC | IMAP_HAS_CONDSTORE },
	{ "OBJECTID", IMAP_HAS_OBJECTID },
	{ "MULTIAPPEND", IMAP_HAS_MULTIAPPEND },
	{ "UIDPLUS", IMAP_HAS_UIDPLUS },
	{ "BINARY", IMAP_HAS_BINARY },
	{ "APPENDLIMIT", IMAP_HAS_APPENDLIMIT },
	{ "CREATE-SPECIAL-USE", IMAP_HAS_CREATE_SPECIAL_USE },
	{ "X-GM-EXT-1", IMAP_HAS_GMAIL },
	{ "COMPRESS=DEFLATE", IMAP_HAS_COMPRESS_DEFLATE },
};

/* "APPENDLIMIT=35651584" */
static bool append_limit(struct text word, uint64_t *bytes_max)
{
	static const char name[] = "APPENDLIMIT=";
	size_t bytes = sizeof name - 1;
	struct imap_scan scan;

	if (word.bytes <= bytes || !imap_text_is((struct text){ word.at, bytes }, name))
		return false;
	scan = imap_scan_of((struct text){ word.at + bytes, word.bytes - bytes });
	return imap_scan_number(&scan, UINT64_MAX, bytes_max) && imap_scan_at_end(&scan);
}

static unsigned capability_bits(struct text word)
{
	uint64_t unused;

	for (unsigned i = 0; i < ARRAY_COUNT(known_capabilities); i++)
		if (imap_text_is(word, known_capabilities[i].name))
			return known_capabilities[i].bits;
	return append_limit(word, &unused) ? IMAP_HAS_APPENDLIMIT : 0;
}

/* The next of the words between spaces, read by ourselves: libetpan gives up on the whole list at
 * one word that is no atom, and takes the word behind an empty "AUTH=" for its method. */
static bool next_word(struct text *list, struct text *word)
{
	*word = (struct text){ list->at, 0 };
	if (list->bytes == 0)
		return false;
	while (word->bytes < list->bytes && !strchr(" \t", word->at[word->bytes]))
		word->bytes++;
	list->at += min_u64(word->bytes + 1, list->bytes);
	list->bytes -= min_u64(word->bytes + 1, list->bytes);
	return true;
}

unsigned imap_parse_capability(struct text list)
{
	struct text word;
	unsigned bits = 0;

	while (next_word(&list, &word))
		bits |= capability_bits(word);
	return bits;
}

bool imap_parse_append_limit(struct text list, uint64_t *bytes_max)
{
	struct text word;

	while (next_word(&list, &word))
		if (append_limit(word, bytes_max))
			return true;
	return false;
}

/* What an extension's reply came to; NULL if there is none of that extension. */
static const void *extension_data(const struct imap_grammar *imap, int id)
{
	clist *list = imap->session->imap_response_info->rsp_extension_list;

	for (clistiter *at = first_of(list); at; at = clist_next(at)) {
		const struct mailimap_extension_data *data = clist_content(at);

		if (data->ext_extension->ext_id == id)
			return data->ext_data;
	}
	return NULL;
}

void imap_parse_id(struct imap_grammar *imap, struct text reply, char *to, size_t to_bytes)
{
	const struct mailimap_id_params_list *list;
	struct buffer text = { .bytes_max = to_bytes };

	list = parse(imap, reply) ? extension_data(imap, MAILIMAP_EXTENSION_ID) : NULL;
	for (clistiter *at = list ? first_of(list->idpa_list) : NULL; at; at = clist_next(at)) {
		const struct mailimap_id_param *pair = clist_content(at);
		struct text name = text_of(pair->idpa_name ? pair->idpa_name : "");

		if (pair->idpa_value &&
		    (imap_text_is(name, "name") || imap_text_is(name, "version")))
			buffer_addf(&text, "%s%s", text.bytes ? " " : "", pair->idpa_value);
	}
	if (text.at)
		err_quote(to, to_bytes, (struct text){ text.at, text.bytes });
	buffer_free(&text);
}

/* Attributes of RFC 6154 are the names of enum box_use, in any case. */
static unsigned use_bit(struct text name)
{
	for (enum box_use use = BOX_USE_ALL; use <= BOX_USE_IMPORTANT; use++)
		if (imap_text_is(name, box_use_name(use)))
			return (unsigned)IMAP_LIST_USES << use;
	return 0;
}

static unsigned attribute_bits(const struct mailimap_mbx_list_flags *flags)
{
	unsigned bits = 0;

	if (!flags)
		return 0;
	if (flags->mbf_type == MAILIMAP_MBX_LIST_FLAGS_SFLAG &&
	    flags->mbf_sflag == MAILIMAP_MBX_LIST_SFLAG_NOSELECT)
		bits |= IMAP_LIST_NOSELECT;
	for (clistiter *at = first_of(flags->mbf_oflags); at; at = clist_next(at)) {
		const struct mailimap_mbx_list_oflag *flag = clist_content(at);
		struct text name = text_of(flag->of_flag_ext ? flag->of_flag_ext : "");

		if (flag->of_type == MAILIMAP_MBX_LIST_OFLAG_NOINFERIORS)
			bits |= IMAP_LIST_NOINFERIORS;
		else if (imap_text_is(name, "NonExistent") || imap_text_is(name, "Noselect"))
			bits |= IMAP_LIST_NOSELECT;
		else if (imap_text_is(name, "Subscribed"))
			bits |= IMAP_LIST_SUBSCRIBED;
		else
			bits |= use_bit(name);
	}
	return bits;
}

/* LIST-EXTENDED may add data behind the name (RFC 5258 section 6: CHILDINFO, OLDNAME), which
 * libetpan does not know: cut it off. */
static struct text without_extended_data(struct text reply)
{
	struct imap_scan scan = imap_scan_of(reply);
	struct text word;

	if (imap_scan_atom(&scan, &word) && imap_scan_char(&scan, ' ') && imap_scan_value(&scan) &&
	    imap_scan_char(&scan, ' ') && imap_scan_value(&scan) && imap_scan_char(&scan, ' ') &&
	    imap_scan_value(&scan) && scan.at + 1 < scan.end && scan.at[0] == ' ' &&
	    scan.at[1] == '(')
		reply.bytes = (size_t)(scan.at - reply.at);
	return reply;
}

bool imap_parse_list(struct imap_grammar *imap, struct text reply, struct imap_listed *out)
{
	struct imap_scan scan = imap_scan_of(reply);
	const struct mailimap_response_info *info;
	const struct mailimap_mailbox_list *list;
	clist *lists;

	out->is_lsub = imap_scan_word(&scan, "LSUB");
	if (!parse(imap, without_extended_data(reply)))
		return false;
	info = imap->session->imap_response_info;
	lists = out->is_lsub ? info->rsp_mailbox_lsub : info->rsp_mailbox_list;
	if (!first_of(lists))
		return false;
	list = clist_content(first_of(lists));
	out->name = list->mb_name;
	out->separator = list->mb_delimiter;
	out->attributes = attribute_bits(list->mb_flag);
	return true;
}

/* ---- NAMESPACE, RFC 2342 section 5: by ourselves, because libetpan reads the byte before the
 * prefix of (("" "")) ---- */

/* NIL, or a list of (prefix delimiter extensions). */
static bool scan_spaces(struct imap_scan *scan, enum imap_space space, imap_each_space *each,
			void *context)
{
	char prefix[BOX_NAME_BYTES_MAX + 1];
	size_t bytes;

	if (imap_scan_word(scan, "NIL"))
		return true;
	if (!imap_scan_char(scan, '('))
		return false;
	do {
		if (!imap_scan_char(scan, '(') ||
		    !imap_scan_astring(scan, prefix, BOX_NAME_BYTES_MAX, &bytes))
			return false;
		while (imap_scan_char(scan, ' '))
			if (!imap_scan_value(scan))
				return false;
		if (!imap_scan_char(scan, ')'))
			return false;
		prefix[bytes] = '\0';
		if (each)
			each(context, space, prefix);
		imap_scan_char(scan, ' ');
	} while (!imap_scan_char(scan, ')'));
	return true;
}

bool imap_parse_namespace(struct text reply, imap_each_space *each, void *context)
{
	struct imap_scan scan = imap_scan_of(reply), spaces;

	if (!imap_scan_word(&scan, "NAMESPACE") || !imap_scan_char(&scan, ' '))
		return false;
	spaces = scan;
	/* All of it is looked at before anything is told. */
	return scan_spaces(&scan, 0, NULL, NULL) && imap_scan_char(&scan, ' ') &&
	       scan_spaces(&scan, 0, NULL, NULL) && imap_scan_char(&scan, ' ') &&
	       scan_spaces(&scan, 0, NULL, NULL) &&
	       scan_spaces(&spaces, IMAP_SPACE_PERSONAL, each, context) &&
	       imap_scan_char(&spaces, ' ') &&
	       scan_spaces(&spaces, IMAP_SPACE_OTHERS, each, context);
}
