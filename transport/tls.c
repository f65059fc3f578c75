/* The only door to OpenSSL's TLS. A BIO of our own takes ciphertext from, and gives it to, a struct
 * tls_wire, so no socket and no waiting is known here. Chain and host name are verified always, and
 * there is no way to switch that off. Not for: reading in time, sending, STARTTLS (conn.c).
 *
 * OpenSSL's error queue belongs to the thread and fibers share it: it is emptied before each
 * operation, and no operation suspends between that and reading it. */
#include "transport/tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/budget.h"
#include "engine/bytes.h"
#include "engine/clock.h"
#include "transport/tls_show.h"

enum {
	CONTEXT_MAGIC = 0x715c0e00,
	TLS_MAGIC = 0x7150e000,
	NAME_BYTES_MAX = 254,
	TICKETS_KEPT = 64,
};
_Static_assert((TICKETS_KEPT & (TICKETS_KEPT - 1)) == 0, "tickets_next may wrap");
/* A host is verified anew after this, whatever its tickets allow (RFC 8446: up to seven days). */
#define RESUMED_FOR_MAX (3600 * NSEC_SECOND)

/* What a later connection may go on from, with a host that was verified under this trust. */
struct ticket {
	SSL_SESSION *session; /* NULL: none here */
	nsec until;
	char host[NAME_BYTES_MAX + 1];
};

struct tls_context {
	uint32_t magic;
	SSL_CTX *ssl_context;
	BIO_METHOD *wire_method; /* used by every struct tls: they must be gone first */
	unsigned opened;
	struct ticket tickets[TICKETS_KEPT];
	unsigned tickets_next; /* the oldest */
	bool resumes_not;      /* a server broke off when we tried */
};

struct tls {
	uint32_t magic;
	struct tls_context *context;
	SSL *ssl;
	struct tls_wire wire;
	char host[NAME_BYTES_MAX + 1];
	bool is_done, out_of_memory, offers_session;
	nsec offered_until;
	/* The first reason why verification failed, and the certificate it was about. */
	int refusal;
	X509 *refused;
};

/* Cheap where there are none, as always: OpenSSL empties all its places one by one. */
static void forget_errors(void)
{
	if (ERR_peek_error())
		ERR_clear_error();
}

/* ---- the wire as a BIO ---- */

static int wire_read(BIO *bio, char *to, int max)
{
	struct tls *tls = BIO_get_data(bio);
	size_t got;

	MAGIC_CHECK(tls, TLS_MAGIC);
	BIO_clear_retry_flags(bio);
	if (!to || max <= 0)
		return 0;
	got = tls->wire.take(tls->wire.owner, to, (size_t)max);
	must(got <= (size_t)max);
	if (got == 0) {
		BIO_set_retry_read(bio); /* the end of the wire is conn's to see */
		return -1;
	}
	return (int)got;
}

static int wire_write(BIO *bio, const char *from, int bytes)
{
	struct tls *tls = BIO_get_data(bio);

	MAGIC_CHECK(tls, TLS_MAGIC);
	BIO_clear_retry_flags(bio);
	if (!from || bytes <= 0)
		return 0;
	if (tls->wire.give(tls->wire.owner, from, (size_t)bytes))
		return bytes;
	tls->out_of_memory = true;
	return -1;
}

static long wire_control(BIO *bio, int command, long number, void *pointer)
{
	(void)bio, (void)number, (void)pointer;
	return command == BIO_CTRL_FLUSH; /* 1: done; everything else is not offered */
}

static BIO_METHOD *wire_method_new(void)
{
	BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "mailhaul wire");

	if (method && BIO_meth_set_read(method, wire_read) &&
	    BIO_meth_set_write(method, wire_write) && BIO_meth_set_ctrl(method, wire_control))
		return method;
	BIO_meth_free(method);
	return NULL;
}

/* ---- why a certificate was refused ---- */

/* Called by OpenSSL for each certificate of the chain. Changes nothing: it only keeps the first
 * refusal, because OpenSSL forgets the certificate when the handshake fails. */
static int verified(int is_good, X509_STORE_CTX *store)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct tls *tls = SSL_get_app_data(ssl);
	X509 *certificate = X509_STORE_CTX_get_current_cert(store);

	MAGIC_CHECK(tls, TLS_MAGIC);
	if (is_good || tls->refusal != X509_V_OK)
		return is_good;
	tls->refusal = X509_STORE_CTX_get_error(store);
	if (!certificate)
		certificate = X509_STORE_CTX_get0_cert(store);
	if (certificate && X509_up_ref(certificate))
		tls->refused = certificate;
	return is_good;
}

static enum err refused_for_time(const struct tls *tls)
{
	char subject[100], from[40], until[40];

	tls_show_name(X509_get_subject_name(tls->refused), subject, sizeof subject);
	tls_show_time(X509_get0_notBefore(tls->refused), from, sizeof from);
	tls_show_time(X509_get0_notAfter(tls->refused), until, sizeof until);
	return RAISE(
		ERR_TLS_EXPIRED,
		"TLS with %s: %s: the certificate of %s is valid from %s until %s; its owner must "
		"renew it (or this machine's clock is wrong)",
		tls->wire.peer, X509_verify_cert_error_string(tls->refusal), subject, from, until);
}

static enum err refused_for_host(const struct tls *tls)
{
	char hosts[180];

	tls_show_hosts(tls->refused, hosts, sizeof hosts);
	return RAISE(
		ERR_TLS_HOSTNAME,
		"TLS with %s: the server's certificate is not for %s but for %s; use a name that "
		"it has",
		tls->wire.peer, tls->host, hosts);
}

static bool is_issuer_refusal(int refusal)
{
	return refusal == X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT ||
	       refusal == X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN ||
	       refusal == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT ||
	       refusal == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY ||
	       refusal == X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE;
}

static enum err refused_for_trust(const struct tls *tls)
{
	char subject[70], issuer[70], fingerprint[65];

	tls_show_name(X509_get_subject_name(tls->refused), subject, sizeof subject);
	tls_show_name(X509_get_issuer_name(tls->refused), issuer, sizeof issuer);
	tls_show_fingerprint(tls->refused, fingerprint);
	return RAISE(ERR_TLS_UNTRUSTED, "TLS with %s: %s: %s, issued by %s, SHA-256 %s%s",
		     tls->wire.peer, X509_verify_cert_error_string(tls->refusal), subject, issuer,
		     fingerprint,
		     is_issuer_refusal(tls->refusal) ? "; give its CA with --ca-file" : "");
}

static enum err refused(const struct tls *tls)
{
	must(tls->refusal != X509_V_OK);
	if (!tls->refused)
		return RAISE(ERR_TLS_UNTRUSTED, "TLS with %s: %s", tls->wire.peer,
			     X509_verify_cert_error_string(tls->refusal));
	switch (tls->refusal) {
	case X509_V_ERR_CERT_HAS_EXPIRED:
	case X509_V_ERR_CERT_NOT_YET_VALID:
		return refused_for_time(tls);
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
		return refused_for_host(tls);
	default:
		return refused_for_trust(tls);
	}
}

/* What a person can do about a handshake that failed for another reason than the certificate. */
static const char *handshake_advice(int reason)
{
	switch (reason) {
	case SSL_R_WRONG_VERSION_NUMBER:
	case SSL_R_HTTP_REQUEST:
	case SSL_R_PACKET_LENGTH_TOO_LONG:
	case SSL_R_BAD_RECORD_TYPE:
		return "the server does not answer with TLS: is this a TLS port?";
	case SSL_R_UNSUPPORTED_PROTOCOL:
	case SSL_R_VERSION_TOO_LOW:
	case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
		return "the server offers no TLS 1.2 or newer";
	case SSL_R_NO_SHARED_CIPHER:
	case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE:
	case SSL_R_TLSV1_ALERT_INSUFFICIENT_SECURITY:
	case SSL_R_DH_KEY_TOO_SMALL:
		return "the server offers no cipher or key that is strong enough";
	case SSL_R_TLSV1_UNRECOGNIZED_NAME:
		return "the server does not know this host name";
	case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
		return "the server wants a client certificate, which mailhaul does not have";
	default:
		return "the two sides do not agree";
	}
}

static enum err handshake_failed(const struct tls *tls)
{
	if (tls->out_of_memory)
		return RAISE(ERR_MEMORY_EXHAUSTED, "TLS with %s: the handshake's answer",
			     tls->wire.peer);
	if (tls->refusal != X509_V_OK)
		return refused(tls);
	if (tls->offers_session)
		return RAISE(ERR_NET_RESET,
			     "TLS with %s: it would not go on from an earlier session (OpenSSL: "
			     "%s); from now on each begins anew",
			     tls->wire.peer, tls_show_reason());
	return RAISE(ERR_TLS_HANDSHAKE, "TLS with %s: %s (OpenSSL: %s)", tls->wire.peer,
		     handshake_advice(ERR_GET_REASON(ERR_peek_last_error())), tls_show_reason());
}

/* ---- going on from an earlier session ---- */

/* What resumption (RFC 8446 section 2.2, RFC 5077) spares is the certificate and its signature:
 * most of a handshake. Keys are exchanged anew all the same, and nothing is ever sent early
 * (0-RTT). */

static void ticket_drop(struct ticket *ticket)
{
	SSL_SESSION_free(ticket->session);
	ticket->session = NULL;
}

/* Called by OpenSSL with a session that may be resumed; 1: it is ours to free. */
static int ticket_came(SSL *ssl, SSL_SESSION *session)
{
	struct tls *tls = SSL_get_app_data(ssl);
	struct ticket *at;

	MAGIC_CHECK(tls, TLS_MAGIC);
	if (SSL_get_verify_result(ssl) != X509_V_OK)
		return 0;
	at = &tls->context->tickets[tls->context->tickets_next++ % TICKETS_KEPT];
	ticket_drop(at);
	at->session = session;
	/* A session that was itself resumed does not prolong the trust in the first one. */
	at->until = SSL_session_reused(ssl) ? tls->offered_until : clock_after(RESUMED_FOR_MAX);
	bytes_copy(at->host, tls->host, sizeof at->host, BYTES_META);
	return 1;
}

static struct ticket *ticket_newest(struct tls_context *context, const char *host)
{
	for (unsigned i = 1; i <= TICKETS_KEPT; i++) {
		struct ticket *at = &context->tickets[(context->tickets_next - i) % TICKETS_KEPT];

		if (at->session && strcmp(at->host, host) == 0)
			return at;
	}
	return NULL;
}

/* A ticket of TLS 1.3 is used once (RFC 8446 appendix C.4); a server of 1.2 need not send another.
 */
static void ticket_offer(struct tls *tls)
{
	struct ticket *at = ticket_newest(tls->context, tls->host);

	if (!at || tls->context->resumes_not)
		return;
	if (clock_now() < at->until && SSL_SESSION_is_resumable(at->session)) {
		tls->offers_session = SSL_set_session(tls->ssl, at->session) == 1;
		tls->offered_until = at->until;
		if (SSL_SESSION_get_protocol_version(at->session) != TLS1_3_VERSION)
			return;
	}
	ticket_drop(at);
}

/* ---- trust ---- */

static enum err load_trust(SSL_CTX *context, const char *ca_file)
{
	if (!ca_file && SSL_CTX_set_default_verify_paths(context))
		return OK;
	if (!ca_file)
		return RAISE(ERR_TLS_SETUP, "the system's trusted certificates: %s",
			     tls_show_reason());
	if (SSL_CTX_load_verify_file(context, ca_file))
		return OK;
	return RAISE(ERR_TLS_SETUP,
		     "reading trusted certificates from %s: %s; it must be a PEM file of "
		     "certificates",
		     ca_file, tls_show_reason());
}

/* TLS 1.2 is the floor (RFC 8996 ends 1.0 and 1.1). Renegotiation is a thing of 1.2 that no mail
 * server needs and attacks did; compression leaks lengths (CRIME). Idle buffers are given back. */
static bool set_policy(SSL_CTX *context)
{
	SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	SSL_CTX_set_mode(context, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	/* Many connections wait most of the time; those of one mailbox are busy, and would have
	 * theirs freed and made anew for each record. */
	if (budget()->shape.lanes > 1)
		SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER, verified);
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(context, ticket_came);
	return SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1;
}

enum err tls_prepare(void)
{
	return OPENSSL_init_ssl(OPENSSL_INIT_LOAD_CONFIG | OPENSSL_INIT_LOAD_SSL_STRINGS, NULL)
		       ? OK
		       : RAISE(ERR_TLS_SETUP, "starting OpenSSL: %s", tls_show_reason());
}

enum err tls_context_open(const char *ca_file, struct tls_context **out)
{
	struct tls_context *context = calloc(1, sizeof *context);
	enum err e;

	if (!context)
		return RAISE(ERR_MEMORY_EXHAUSTED, "TLS settings");
	ERR_clear_error();
	context->magic = CONTEXT_MAGIC;
	context->ssl_context = SSL_CTX_new(TLS_client_method());
	context->wire_method = wire_method_new();
	if (context->ssl_context && context->wire_method && set_policy(context->ssl_context))
		e = load_trust(context->ssl_context, ca_file);
	else
		e = RAISE(ERR_TLS_SETUP, "starting OpenSSL: %s", tls_show_reason());
	ERR_clear_error();
	if (e)
		tls_context_close(&context);
	*out = context;
	return e;
}

void tls_context_close(struct tls_context **context)
{
	if (!*context)
		return;
	MAGIC_CHECK(*context, CONTEXT_MAGIC);
	must((*context)->opened == 0);
	for (unsigned i = 0; i < TICKETS_KEPT; i++)
		ticket_drop(&(*context)->tickets[i]);
	SSL_CTX_free((*context)->ssl_context);
	BIO_meth_free((*context)->wire_method);
	free(*context);
	*context = NULL;
}

/* ---- one connection ---- */

/* `host` without what is not part of the name on the wire: the last dot of a rooted name (RFC 6066
 * section 3) and the zone of a link-local address (RFC 4007 section 11). */
static bool bare_host(const char *host, char to[NAME_BYTES_MAX + 1])
{
	size_t bytes = strcspn(host, "%");

	if (bytes > 1 && host[bytes - 1] == '.')
		bytes--;
	if (bytes == 0 || bytes > NAME_BYTES_MAX)
		return false;
	bytes_copy(to, host, bytes, BYTES_META);
	to[bytes] = '\0';
	return true;
}

static bool is_address(const char *host)
{
	uint8_t address[16];

	return inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
}

/* Whom the certificate must name. Names in the subject count only where there is no subjectAltName,
 * and a wildcard only as a whole label (RFC 9525 section 6.3). SNI carries names, never addresses.
 */
static bool expect_host(SSL *ssl, char *host)
{
	if (is_address(host))
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

static bool join_wire(struct tls *tls)
{
	BIO *bio = BIO_new(tls->context->wire_method);

	if (!bio)
		return false;
	BIO_set_data(bio, tls);
	BIO_set_init(bio, 1);
	SSL_set_bio(tls->ssl, bio, bio); /* takes the one reference for both */
	return SSL_set_app_data(tls->ssl, tls) == 1;
}

enum err tls_open(struct tls_context *context, const char *host, const struct tls_wire *wire,
		  struct tls **out)
{
	struct tls *tls;
	enum err e = OK;

	MAGIC_CHECK(context, CONTEXT_MAGIC);
	must(wire->take && wire->give && wire->peer);
	if (!(tls = calloc(1, sizeof *tls)))
		return RAISE(ERR_MEMORY_EXHAUSTED, "TLS with %s", wire->peer);
	tls->magic = TLS_MAGIC;
	tls->wire = *wire;
	tls->context = context;
	context->opened++;
	ERR_clear_error();
	tls->ssl = SSL_new(context->ssl_context);
	if (!tls->ssl || !join_wire(tls))
		e = RAISE(ERR_MEMORY_EXHAUSTED, "TLS with %s: %s", wire->peer, tls_show_reason());
	else if (!bare_host(host, tls->host) || !expect_host(tls->ssl, tls->host))
		e = RAISE(ERR_NET_NAME, "TLS with %s: this is not a host name", wire->peer);
	if (e) {
		tls_close(&tls);
	} else {
		ticket_offer(tls);
		SSL_set_connect_state(tls->ssl);
	}
	*out = tls;
	return e;
}

void tls_close(struct tls **tls)
{
	if (!*tls)
		return;
	MAGIC_CHECK(*tls, TLS_MAGIC);
	must((*tls)->context->opened > 0);
	(*tls)->context->opened--;
	/* A server that cannot cope with the offer must not meet it again. */
	if ((*tls)->offers_session && !(*tls)->is_done)
		(*tls)->context->resumes_not = true;
	SSL_free((*tls)->ssl); /* with its BIO */
	X509_free((*tls)->refused);
	free(*tls);
	*tls = NULL;
}

/* True if OpenSSL only needs more ciphertext. */
static bool wants_more(const struct tls *tls, int result)
{
	return SSL_get_error(tls->ssl, result) == SSL_ERROR_WANT_READ;
}

enum err tls_handshake(struct tls *tls, bool *done)
{
	int result;

	MAGIC_CHECK(tls, TLS_MAGIC);
	must(!tls->is_done);
	forget_errors();
	result = SSL_do_handshake(tls->ssl);
	*done = tls->is_done = result == 1;
	if (!tls->is_done && !wants_more(tls, result))
		return handshake_failed(tls);
	if (!tls->is_done)
		return OK;
	/* Verification was ordered; that it took place is checked once more, where it counts. */
	must(SSL_get_verify_result(tls->ssl) == X509_V_OK && SSL_get0_peer_certificate(tls->ssl));
	return OK;
}

/* A read or a write that failed for good. A TLS 1.3 server refuses a missing client certificate
 * only now, after our side of the handshake has ended (RFC 8446 section 4.4.2.4). */
static enum err session_failed(const struct tls *tls, enum err e, const char *doing)
{
	int reason = ERR_GET_REASON(ERR_peek_last_error());

	if (tls->out_of_memory)
		return RAISE(ERR_MEMORY_EXHAUSTED, "%s %s: no room for what must be sent", doing,
			     tls->wire.peer);
	if (reason == SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED)
		return RAISE(ERR_TLS_HANDSHAKE, "TLS with %s: %s", tls->wire.peer,
			     handshake_advice(reason));
	if (reason > SSL_AD_REASON_OFFSET)
		return RAISE(ERR_NET_RESET, "%s %s: it ended the session with an alert: %s", doing,
			     tls->wire.peer, tls_show_reason());
	return RAISE(e, "%s %s: %s", doing, tls->wire.peer, tls_show_reason());
}

enum err tls_read(struct tls *tls, void *to, size_t max, size_t *got)
{
	int result;

	MAGIC_CHECK(tls, TLS_MAGIC);
	must(tls->is_done && max > 0);
	forget_errors();
	*got = 0;
	result = SSL_read_ex(tls->ssl, to, max, got);
	must(*got <= max);
	if (result == 1 || wants_more(tls, result))
		return OK;
	if (SSL_get_error(tls->ssl, result) == SSL_ERROR_ZERO_RETURN)
		return RAISE(ERR_NET_CLOSED, "reading from %s: it ended the session",
			     tls->wire.peer);
	return session_failed(tls, ERR_TLS_RECORD, "reading from");
}

enum err tls_write(struct tls *tls, const void *from, size_t bytes, bool *sealed)
{
	size_t written = 0;
	int result;

	MAGIC_CHECK(tls, TLS_MAGIC);
	must(tls->is_done && bytes > 0);
	forget_errors();
	result = SSL_write_ex(tls->ssl, from, bytes, &written);
	*sealed = result == 1;
	must(!*sealed || written == bytes);
	if (*sealed || wants_more(tls, result))
		return OK;
	return session_failed(tls, ERR_TLS_RECORD, "sending to");
}

void tls_goodbye(struct tls *tls)
{
	MAGIC_CHECK(tls, TLS_MAGIC);
	ERR_clear_error();
	/* Not before the handshake's end, and not after a fatal error: OpenSSL refuses both. */
	if (tls->is_done)
		SSL_shutdown(tls->ssl);
	ERR_clear_error();
}

void tls_facts(const struct tls *tls, struct peer *peer)
{
	MAGIC_CHECK(tls, TLS_MAGIC);
	must(tls->is_done);
	snprintf(peer->tls_version, sizeof peer->tls_version, "%s", SSL_get_version(tls->ssl));
	snprintf(peer->tls_cipher, sizeof peer->tls_cipher, "%s", SSL_get_cipher_name(tls->ssl));
	tls_show_fingerprint(SSL_get0_peer_certificate(tls->ssl), peer->certificate_sha256);
}
