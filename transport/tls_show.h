/* Certificates and OpenSSL's errors as text for errors and reports; part of transport/tls.c. What a
 * peer chose is escaped. Each writes at most `room` bytes, terminated. */
#ifndef MAILHAUL_TLS_SHOW_H
#define MAILHAUL_TLS_SHOW_H

#include <openssl/x509v3.h>
#include <stddef.h>

/* OpenSSL's own words for the last error of this thread. */
const char *tls_show_reason(void);
void tls_show_name(const X509_NAME *, char *to, size_t room);
void tls_show_time(const ASN1_TIME *, char *to, size_t room);
/* SHA-256, hexadecimal; "" of none. */
void tls_show_fingerprint(const X509 *certificate, char to[65]);
/* The hosts a certificate is for, separated by ", ": its subjectAltName, else its subject. */
void tls_show_hosts(const X509 *certificate, char *to, size_t room);

#endif
