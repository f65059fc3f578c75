/* TLS 1.2 and 1.3 over somebody else's bytes (OpenSSL behind one door). Knows no socket and never
 * suspends: ciphertext is taken from and given to a `tls_wire`. Chain and host name are verified
 * always. tests/sim/tls_sim.c is linked in its place as a pass-through. */
#ifndef MAILHAUL_TLS_H
#define MAILHAUL_TLS_H

#include "engine/source.h"

struct tls_context; /* trust and settings, shared by the connections of a thread */
struct tls;

struct tls_wire {
	/* Copy at most max received bytes to `to`; 0: none there now. */
	size_t (*take)(void *owner, void *to, size_t max);
	/* Append to what will be sent; false: no memory. */
	bool (*give)(void *owner, const void *from, size_t bytes);
	void *owner;
	const char *peer; /* for texts: "imap.example.com:993"; borrowed until tls_close */
};

/* Have OpenSSL read its configuration and load what that names, before threads are confined and may
 * load nothing. ERR_TLS_SETUP. */
enum err tls_prepare(void) MUST_CHECK;

/* ca_file NULL: the system's trust store, else this file alone is trusted. ERR_TLS_SETUP names the
 * file and what is wrong with it. Blocks for reading the file; once per thread. */
enum err tls_context_open(const char *ca_file, struct tls_context **) MUST_CHECK;
void tls_context_close(struct tls_context **); /* no struct tls of it may be open */

/* `host` is a DNS name (sent as SNI, and matched) or an IP address literal (matched, not sent). An
 * earlier session with it under this context is gone on from where the server agrees, for an hour
 * at most; where a server breaks off instead (ERR_NET_RESET), none of the context is any more. */
enum err tls_open(struct tls_context *, const char *host, const struct tls_wire *,
		  struct tls **) MUST_CHECK;
void tls_close(struct tls **); /* frees; sends nothing */

/* Go on with the handshake: *done, or more ciphertext is needed. ERR_TLS_UNTRUSTED, _EXPIRED,
 * _HOSTNAME, _HANDSHAKE with OpenSSL's reason in the note. */
enum err tls_handshake(struct tls *, bool *done) MUST_CHECK;
/* Plaintext into `to`, of one record at most: *got 0 means more ciphertext is needed. May give to
 * the wire (an alert, an answer to KeyUpdate, RFC 8446 section 4.6.3). ERR_NET_CLOSED: close_notify
 * came; ERR_NET_RESET: a fatal alert came; ERR_TLS_RECORD: the record does not open. */
enum err tls_read(struct tls *, void *to, size_t max, size_t *got) MUST_CHECK;
/* Seals all of it into the wire, in full records. *sealed false (rare: a message of TLS itself has
 * arrived in part): nothing was taken; say it again when more ciphertext has arrived. */
enum err tls_write(struct tls *, const void *from, size_t bytes, bool *sealed) MUST_CHECK;
/* close_notify into the wire. */
void tls_goodbye(struct tls *);
/* tls_version, tls_cipher, certificate_sha256 of `peer`. After the handshake. */
void tls_facts(const struct tls *, struct peer *);

#endif
