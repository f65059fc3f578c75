/* Certificates and TLS servers for tests, made with OpenSSL directly when the test runs. */
#ifndef MAILHAUL_TEST_IDENTITY_H
#define MAILHAUL_TEST_IDENTITY_H

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/test.h"

enum { HOUR_SECONDS = 3600 };

/* A key and its certificate. */
struct identity {
	EVP_PKEY *key;
	X509 *certificate;
};

struct identity_spec {
	const char *subject;	       /* common name */
	const char *names;	       /* "DNS:localhost,IP:127.0.0.1"; NULL: no subjectAltName */
	long from_hours, until_hours;  /* from now; until 0: one hour */
	const struct identity *issuer; /* NULL: self-signed */
	bool is_authority;
};

static inline void identity_extension(X509 *certificate, int kind, const char *value)
{
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, kind, value);

	must(extension && X509_add_ext(certificate, extension, -1));
	X509_EXTENSION_free(extension);
}

static inline struct identity identity_make(const struct identity_spec *spec)
{
	static long serial = 1;
	struct identity made = { EVP_EC_gen("P-256"), X509_new() };
	const struct identity *issuer = spec->issuer ? spec->issuer : &made;
	long until_hours = spec->until_hours ? spec->until_hours : 1;
	X509_NAME *name;

	must(made.key && made.certificate);
	name = X509_get_subject_name(made.certificate);
	must(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const uint8_t *)spec->subject,
					-1, -1, 0));
	must(X509_set_version(made.certificate, X509_VERSION_3));
	must(ASN1_INTEGER_set(X509_get_serialNumber(made.certificate), serial++));
	must(X509_set_pubkey(made.certificate, made.key));
	must(X509_set_issuer_name(made.certificate, X509_get_subject_name(issuer->certificate)));
	X509_gmtime_adj(X509_getm_notBefore(made.certificate), spec->from_hours * HOUR_SECONDS);
	X509_gmtime_adj(X509_getm_notAfter(made.certificate), until_hours * HOUR_SECONDS);
	if (spec->names)
		identity_extension(made.certificate, NID_subject_alt_name, spec->names);
	if (spec->is_authority)
		identity_extension(made.certificate, NID_basic_constraints, "critical,CA:TRUE");
	must(X509_sign(made.certificate, issuer->key, EVP_sha256()));
	return made;
}

static inline void identity_free(struct identity *identity)
{
	EVP_PKEY_free(identity->key);
	X509_free(identity->certificate);
	*identity = (struct identity){ 0 };
}

/* The certificate as a PEM file of this test; the path is valid until the next call. */
static inline const char *identity_file(const struct identity *identity)
{
	static char path[128];
	static unsigned count;
	FILE *file;

	snprintf(path, sizeof path, "%s/certificate-%u.pem", test_directory(), count++);
	file = fopen(path, "w");
	must(file && PEM_write_X509(file, identity->certificate));
	must(fclose(file) == 0);
	return path;
}

static inline void identity_fingerprint(const struct identity *identity, char to[65])
{
	uint8_t digest[32];

	must(X509_digest(identity->certificate, EVP_sha256(), digest, NULL));
	for (int i = 0; i < 32; i++)
		snprintf(to + 2 * i, 3, "%02x", digest[i]);
}

/* A server of exactly this version (TLS1_2_VERSION...) that shows `identity`. */
static inline SSL_CTX *identity_server(const struct identity *identity, int version)
{
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());

	must(context);
	if (version < TLS1_2_VERSION)
		SSL_CTX_set_security_level(context, 0);
	must(SSL_CTX_set_min_proto_version(context, version));
	must(SSL_CTX_set_max_proto_version(context, version));
	must(SSL_CTX_use_certificate(context, identity->certificate) == 1);
	must(SSL_CTX_use_PrivateKey(context, identity->key) == 1);
	return context;
}

#endif
