/* Comma-separated values, RFC 4180, as people and spreadsheets really write them: any one byte as
 * delimiter; LF, CR LF or CR; comment lines that begin with '#'; blank lines and lines of nothing
 * but delimiters; spaces around a quoted field. Pure: works on bytes that somebody else read, keeps
 * no memory, changes nothing until csv_decode(). Not for: what a field means. */
#ifndef MAILHAUL_TOOLS_CSV_H
#define MAILHAUL_TOOLS_CSV_H

#include "engine/base.h"

enum {
	/* A record with its line end. A quote that somebody forgot to close ends here, too. */
	CSV_RECORD_BYTES_MAX = 64 * 1024,
	CSV_FIELDS_MAX = 64,
};

struct csv_field {
	char *at; /* between the quotes; an unquoted field is with the spaces around it */
	size_t bytes;
	size_t raw_bytes; /* as in the file, before csv_decode() */
	uint64_t offset;  /* of `at`, from where the file begins */
	uint32_t line;
	bool quoted, doubled; /* doubled: holds quotes that stand for one each, see csv_decode() */
};

struct csv_record {
	struct csv_field fields[CSV_FIELDS_MAX];
	size_t count;
	uint32_t line; /* the first of its lines */
};

struct csv {
	char delimiter;
	bool quotes;	 /* false: a '"' is a character like any other */
	uint32_t line;	 /* 1-based, of what comes next */
	uint64_t offset; /* the same in bytes */
	bool stopped;
	/* Of the last CSV_FAULT. Columns count characters, from 1. */
	const char *fault;
	uint32_t fault_line, fault_column;
};

enum csv_result {
	CSV_RECORD,
	CSV_MORE,  /* the record goes on behind these bytes: call again with more of them */
	CSV_FAULT, /* a record that is not sound; the next call goes on behind it if it can */
	CSV_END,
};

/* Bytes of the byte order mark at the beginning of a file (0: none); needs the first 4 bytes.
 * *utf16 if it is one of UTF-16 or UTF-32, which are not read here. */
size_t csv_mark(const char *at, size_t bytes, bool *utf16);

/* Take the next record from the bytes at hand; comments and blank lines before it go too.
 * last  nothing comes behind these bytes
 * used  bytes done with; may be more than 0 also for CSV_MORE */
enum csv_result csv_next(struct csv *, char *at, size_t bytes, bool last, struct csv_record *,
			 size_t *used);

/* Make doubled quotes single, in place. Once per record. */
void csv_decode(struct csv_record *);
/* The same for one field's bytes; returns how many are left. */
size_t csv_decode_quotes(char *at, size_t bytes);
/* A field's text; of an unquoted one without the spaces and tabs around it. */
struct text csv_trimmed(const struct csv_field *);

#endif
