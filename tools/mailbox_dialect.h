/* Which tool's mailbox list this is, by its header line, and which of its columns means what. A new
 * dialect is one table in mailbox_dialect.c. Not for: what is in the rows. */
#ifndef MAILHAUL_TOOLS_MAILBOX_DIALECT_H
#define MAILHAUL_TOOLS_MAILBOX_DIALECT_H

#include "tools/csv.h"
#include "tools/mailbox_tell.h"

/* What a column says. The first ones exist for the source and for the target. */
enum mailbox_role {
	ROLE_URL, /* or a host's name: TLS from the first byte */
	ROLE_HOST,
	ROLE_PORT,
	ROLE_SECURITY, /* MailFerry: ssl; tls and starttls, which are the same; none */
	ROLE_USER,
	ROLE_ADDRESS,  /* the user, where no other is named */
	ROLE_AUTH,     /* a reference to a secret, or "plain:PASSWORD" */
	ROLE_PASSWORD, /* itself */
	ROLE_WAVE,
	ROLE_PRIORITY,
	ROLE_CONNECTIONS,
	ROLE_TICKET,
	ROLE_TAGS,
	ROLE_OPTIONS, /* imapsync's */
	ROLE_FLAGS,   /* MigrationWiz: a number, 0 is none */
	ROLE_REFUSED, /* means something that this version cannot do: must be empty */
	ROLE_NOTHING, /* may hold what it wants */
	ROLE_COUNT
};
enum mailbox_side { SIDE_SOURCE, SIDE_TARGET, SIDE_COUNT };

struct mailbox_column {
	const char *name; /* as the tool documents it */
	enum mailbox_side side;
	enum mailbox_role role;
	bool required; /* the header tells the dialect by these */
};

struct mailbox_dialect {
	const char *name;
	const struct mailbox_column *columns;
	size_t columns_count;
	size_t columns_min; /* 0: each row has as many fields as the header */
	bool literal;	    /* knows no quotes, has no header: the columns come in this order */
	bool own;	    /* ours: a row's destination goes before the job's */
};

struct mailbox_layout {
	const struct mailbox_dialect *dialect;
	size_t fields;
	const struct mailbox_column *of[CSV_FIELDS_MAX]; /* by field; NULL: unknown */
	uint8_t at[SIDE_COUNT][ROLE_COUNT];		 /* field + 1; 0: not there */
};

/* Recognise the record at the head of the file and set csv->delimiter and ->quotes for what
 * follows. Tells faults and, once each, columns that nobody knows.
 * header   whether the record is one and no row
 * returns  false if nothing can be read (told) */
bool mailbox_dialect_find(struct csv *, char *at, size_t bytes, bool last, struct csv_record *,
			  struct mailbox_tell *, struct mailbox_layout *, bool *header);

#endif
