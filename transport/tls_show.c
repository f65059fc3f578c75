/* tls_show.h: what certificates say, for people. */
#include "transport/tls_show.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <stdio.h>

#include "engine/bytes.h"
#include "engine/err.h"

/* OpenSSL's own words for the last error of this thread. */
const char *tls_show_reason(void)
{
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());

	return reason ? reason : "no reason given";
}

/* The text that OpenSSL printed into a memory BIO, escaped; takes the BIO. */
static void take_printed(BIO *printed, char *to, size_t room)
{
	struct text text = { NULL, 0 };
	char *at;

	if (printed) {
		text.bytes = (size_t)BIO_get_mem_data(printed, &at);
		text.at = at;
	}
	err_quote(to, room, text);
	BIO_free(printed);
}

void tls_show_name(const X509_NAME *name, char *to, size_t room)
{
	const unsigned long flags = XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_CTRL;
	BIO *printed = BIO_new(BIO_s_mem());

	if (printed) /* control characters are escaped by take_printed(), as everywhere */
		X509_NAME_print_ex(printed, name, 0, flags);
	take_printed(printed, to, room);
}

void tls_show_time(const ASN1_TIME *time, char *to, size_t room)
{
	BIO *printed = BIO_new(BIO_s_mem());

	if (printed)
		ASN1_TIME_print(printed, time);
	take_printed(printed, to, room);
}

void tls_show_fingerprint(const X509 *certificate, char to[65])
{
	uint8_t digest[EVP_MAX_MD_SIZE];
	unsigned bytes = 0;

	to[0] = '\0';
	if (certificate && X509_digest(certificate, EVP_sha256(), digest, &bytes) && bytes == 32)
		bytes_to_hex(to, digest, bytes);
}

/* One name of a certificate; false for kinds that are not matched against hosts. */
static bool show_general_name(const GENERAL_NAME *name, char *to, size_t room)
{
	const ASN1_STRING *value;
	int family;

	if (name->type == GEN_DNS) {
		value = name->d.dNSName;
		err_quote(to, room,
			  (struct text){ (const char *)ASN1_STRING_get0_data(value),
					 (size_t)ASN1_STRING_length(value) });
		return true;
	}
	if (name->type != GEN_IPADD)
		return false;
	value = name->d.iPAddress;
	family = ASN1_STRING_length(value) == 4 ? AF_INET : AF_INET6;
	if (family == AF_INET6 && ASN1_STRING_length(value) != 16)
		return false;
	return inet_ntop(family, ASN1_STRING_get0_data(value), to, (socklen_t)room) != NULL;
}

/* The hosts a certificate is for, separated by ", ": its subjectAltName, else its subject. */
void tls_show_hosts(const X509 *certificate, char *to, size_t room)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
	size_t used = 0;
	char one[80];

	to[0] = '\0';
	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		if (!show_general_name(sk_GENERAL_NAME_value(names, i), one, sizeof one))
			continue;
		if (used + strlen(one) + sizeof ", ..." > room) {
			snprintf(to + used, room - used, ", ...");
			break;
		}
		used += (size_t)snprintf(to + used, room - used, "%s%s", used ? ", " : "", one);
	}
	GENERAL_NAMES_free(names);
	if (used == 0)
		tls_show_name(X509_get_subject_name(certificate), to, room);
}
