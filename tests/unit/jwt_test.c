/* Signed tokens: the examples of RFC 7515, and what is refused. What is signed with chance in it is
 * verified by OpenSSL. */
#include "tests/unit/identity.h"

#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>

#include "crypto/jwt.h"

/* RFC 7515 appendix A.2.1. */
static const char *const rsa_numbers[][2] = {
	{ OSSL_PKEY_PARAM_RSA_N,
	  "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt"
	  "0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSX"
	  "ndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5"
	  "IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ" },
	{ OSSL_PKEY_PARAM_RSA_E, "AQAB" },
	{ OSSL_PKEY_PARAM_RSA_D,
	  "Eq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyWPEAeP88vLNO97IjlA7_GQ5sLKMgvfTeXZx9SE-7YwVol"
	  "2NXOoAJe46sui395IW_GO-pWJ1O0BkTGoVEn2bKVRUCgu-GjBVaYLU6f3l9kJfFNS3E0QbVdxzubSu3Mkqzjkn43"
	  "9X0M_V51gfpRLI9JYanrC4D4qAdGcopV_0ZHHzQlBjudU2QvXt4ehNYTCBr6XCLQUShb1juUO1ZdiYoFaFQT5Tw8"
	  "bGUl_x_jTj3ccPDVZFD9pIuhLhBOneufuBiB4cS98l2SR_RQyGWSeWjnczT0QU91p1DhOVRuOopznQ" },
	{ OSSL_PKEY_PARAM_RSA_FACTOR1,
	  "4BzEEOtIpmVdVEZNCqS7baC4crd0pqnRH_5IB3jw3bcxGn6QLvnEtfdUdiYrqBdss1l58BQ3KhooKeQTa9AB0Hw_"
	  "Py5PJdTJNPY8cQn7ouZ2KKDcmnPGBY5t7yLc1QlQ5xHdwW1VhvKn-nXqhJTBgIPgtldC-KDV5z-y2XDwGUc" },
	{ OSSL_PKEY_PARAM_RSA_FACTOR2,
	  "uQPEfgmVtjL0Uyyx88GZFF1fOunH3-7cepKmtH4pxhtCoHqpWmT8YAmZxaewHgHAjLYsp1ZSe7zFYHj7C6ul7Tje"
	  "LQeZD_YwD66t62wDmpe_HlB-TnBA-njbglfIsRLtXlnDzQkv5dTltRJ11BKBBypeeF6689rjcJIDEz9RWdc" },
	{ OSSL_PKEY_PARAM_RSA_EXPONENT1,
	  "BwKfV3Akq5_MFZDFZCnW-wzl-CCo83WoZvnLQwCTeDv8uzluRSnm71I3QCLdhrqE2e9YkxvuxdBfpT_PI7Yz-FOK"
	  "nu1R6HsJeDCjn12Sk3vmAktV2zb34MCdy7cpdTh_YVr7tss2u6vneTwrA86rZtu5Mbr1C1XsmvkxHQAdYo0" },
	{ OSSL_PKEY_PARAM_RSA_EXPONENT2,
	  "h_96-mK1R_7glhsum81dZxjTnYynPbZpHziZjeeHcXYsXaaMwkOlODsWa7I9xXDoRwbKgB719rrmI2oKr6N3Do9U"
	  "0ajaHF-NKJnwgjMd2w9cjz3_-kyNlxAr2v4IKhGNpmM5iIgOS1VZnOZ68m6_pbLBSp3nssTdlqvd0tIiTHU" },
	{ OSSL_PKEY_PARAM_RSA_COEFFICIENT1,
	  "IYd7DHOhrWvxkwPQsRM2tOgrjbcrfvtQJipd-DlcxyVuuM9sQLdgjVk2oy26F0EmpScGLq2MowX7fhd_QJQ3ydy5"
	  "cY7YIBi87w93IKLEdfnbJtoOPLUW0ITrJReOgo1cq9SbsxYawBgfp_gh6A5603k2-ZQwVK0JKSHuLFkuQ3U" },
};
static const char payload[] =
	"{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}";
#define PAYLOAD_CODED                                                                              \
	"eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0" \
	"c"                                                                                        \
	"nVlfQ"

static size_t decode(const char *from, uint8_t *to)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	uint32_t bits = 0;
	unsigned have = 0;
	size_t n = 0;

	for (; *from; from++) {
		const char *digit = strchr(digits, *from);

		must(digit);
		bits = bits << 6 | (uint32_t)(digit - digits);
		if ((have += 6) >= 8)
			to[n++] = (uint8_t)(bits >> (have -= 8));
	}
	return n;
}

/* A key as PEM; `to` holds 8 KiB. */
static void write_pem(EVP_PKEY *key, X509 *certificate, const char *passphrase, char *to)
{
	BIO *out = BIO_new(BIO_s_mem());
	char *at;
	long bytes;

	must(PEM_write_bio_PKCS8PrivateKey(out, key, passphrase ? EVP_aes_128_cbc() : NULL, NULL, 0,
					   NULL, (void *)(uintptr_t)passphrase));
	if (certificate)
		must(PEM_write_bio_X509(out, certificate));
	bytes = BIO_get_mem_data(out, &at);
	must(bytes > 0 && bytes < 8192);
	memcpy(to, at, (size_t)bytes);
	to[bytes] = '\0';
	BIO_free(out);
}

static EVP_PKEY *key_from(const char *type, OSSL_PARAM_BLD *built)
{
	OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(built);
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
	EVP_PKEY *key = NULL;

	must(params && EVP_PKEY_fromdata_init(context) == 1 &&
	     EVP_PKEY_fromdata(context, &key, EVP_PKEY_KEYPAIR, params) == 1);
	EVP_PKEY_CTX_free(context);
	OSSL_PARAM_free(params);
	OSSL_PARAM_BLD_free(built);
	return key;
}

static EVP_PKEY *rsa_of_the_rfc(void)
{
	OSSL_PARAM_BLD *built = OSSL_PARAM_BLD_new();
	BIGNUM *numbers[ARRAY_COUNT(rsa_numbers)];
	EVP_PKEY *key;
	uint8_t bytes[512];

	for (size_t i = 0; i < ARRAY_COUNT(rsa_numbers); i++) {
		numbers[i] = BN_bin2bn(bytes, (int)decode(rsa_numbers[i][1], bytes), NULL);
		must(OSSL_PARAM_BLD_push_BN(built, rsa_numbers[i][0], numbers[i]));
	}
	key = key_from("RSA", built);
	for (size_t i = 0; i < ARRAY_COUNT(numbers); i++)
		BN_free(numbers[i]);
	return key;
}

/* Appendix A.3.1. */
static EVP_PKEY *ec_of_the_rfc(void)
{
	OSSL_PARAM_BLD *built = OSSL_PARAM_BLD_new();
	uint8_t point[65] = { 4 }, d[32];
	BIGNUM *number;
	EVP_PKEY *key;

	must(decode("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", point + 1) == 32);
	must(decode("x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0", point + 33) == 32);
	must(decode("jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI", d) == 32);
	number = BN_bin2bn(d, sizeof d, NULL);
	must(OSSL_PARAM_BLD_push_utf8_string(built, OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0) &&
	     OSSL_PARAM_BLD_push_octet_string(built, OSSL_PKEY_PARAM_PUB_KEY, point,
					      sizeof point) &&
	     OSSL_PARAM_BLD_push_BN(built, OSSL_PKEY_PARAM_PRIV_KEY, number));
	key = key_from("EC", built);
	BN_free(number);
	return key;
}

static struct jwt_key *open_key(EVP_PKEY *from, X509 *certificate)
{
	static char pem[8192];
	struct jwt_key *key = NULL;

	write_pem(from, certificate, NULL, pem);
	CHECK_OK(jwt_key_open(text_of(pem), "the key", &key));
	return key;
}

/* ---- what is made ---- */

TEST(rs256_is_as_rfc_7515_has_it)
{
	EVP_PKEY *from = rsa_of_the_rfc();
	struct jwt_key *key = open_key(from, NULL);
	struct buffer out = { 0 };
	char x5t[JWT_X5T_BYTES], x5t_s256[JWT_X5T_S256_BYTES];

	if (key && CHECK_OK(jwt_sign(key, JWT_RS256, text_of("{\"alg\":\"RS256\"}"),
				     text_of(payload), &out)))
		CHECK_TEXT(out.at,
			   "eyJhbGciOiJSUzI1NiJ9." PAYLOAD_CODED
			   ".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm"
			   "4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f"
			   "_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOL"
			   "n6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUT"
			   "I8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw");
	CHECK(key && jwt_key_is_rsa(key) && !jwt_key_thumbprints(key, x5t, x5t_s256));
	buffer_free(&out);
	jwt_key_close(&key);
	EVP_PKEY_free(from);
}

/* The signature behind the last dot, and what it is of. */
static size_t split(const struct buffer *token, uint8_t *signature, size_t *signed_bytes)
{
	const char *dot = strrchr(token->at, '.');

	*signed_bytes = (size_t)(dot - token->at);
	return decode(dot + 1, signature);
}

TEST(ps256_verifies_with_a_salt_as_long_as_the_hash)
{
	EVP_PKEY *from = rsa_of_the_rfc();
	struct jwt_key *key = open_key(from, NULL);
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	EVP_PKEY_CTX *settings;
	struct buffer out = { 0 };
	uint8_t signature[512];
	size_t bytes, signed_bytes;

	if (CHECK_OK(jwt_sign(key, JWT_PS256, text_of("{\"alg\":\"PS256\"}"), text_of(payload),
			      &out))) {
		bytes = split(&out, signature, &signed_bytes);
		CHECK_EQ(bytes, 256);
		must(EVP_DigestVerifyInit(context, &settings, EVP_sha256(), NULL, from) == 1 &&
		     EVP_PKEY_CTX_set_rsa_padding(settings, RSA_PKCS1_PSS_PADDING) == 1 &&
		     EVP_PKEY_CTX_set_rsa_pss_saltlen(settings, 32) == 1);
		CHECK_EQ(EVP_DigestVerify(context, signature, bytes, (uint8_t *)out.at,
					  signed_bytes),
			 1);
	}
	EVP_MD_CTX_free(context);
	buffer_free(&out);
	jwt_key_close(&key);
	EVP_PKEY_free(from);
}

/* R and S beside each other, as in appendix A.3; back into DER for OpenSSL. */
static bool verifies_es256(EVP_PKEY *key, const char *message, size_t bytes, const uint8_t *flat)
{
	ECDSA_SIG *parsed = ECDSA_SIG_new();
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	unsigned char *der = NULL;
	int der_bytes;
	bool verified;

	must(ECDSA_SIG_set0(parsed, BN_bin2bn(flat, 32, NULL), BN_bin2bn(flat + 32, 32, NULL)));
	der_bytes = i2d_ECDSA_SIG(parsed, &der);
	must(der_bytes > 0 && EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, key) == 1);
	verified = EVP_DigestVerify(context, der, (size_t)der_bytes, (const unsigned char *)message,
				    bytes) == 1;
	OPENSSL_free(der);
	ECDSA_SIG_free(parsed);
	EVP_MD_CTX_free(context);
	return verified;
}

TEST(es256_is_two_numbers_of_32_bytes_that_verify)
{
	static const char of_the_rfc[] = "eyJhbGciOiJFUzI1NiJ9." PAYLOAD_CODED;
	EVP_PKEY *from = ec_of_the_rfc();
	struct jwt_key *key = open_key(from, NULL);
	uint8_t signature[64];
	size_t signed_bytes;

	/* The example's own signature first: the way back is the right one. */
	must(decode("DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3"
		    "-Kg6NU1Q",
		    signature) == 64);
	CHECK(verifies_es256(from, of_the_rfc, strlen(of_the_rfc), signature));
	/* Some of many have an R or S that is shorter than 32 bytes. */
	for (unsigned i = 0; key && i < 600; i++) {
		struct buffer out = { 0 };

		CHECK_OK(jwt_sign(key, JWT_ES256, text_of("{\"alg\":\"ES256\"}"), text_of(payload),
				  &out));
		CHECK(strncmp(out.at, of_the_rfc, strlen(of_the_rfc)) == 0);
		CHECK_EQ(split(&out, signature, &signed_bytes), 64);
		CHECK(verifies_es256(from, out.at, signed_bytes, signature));
		buffer_free(&out);
	}
	CHECK(key && !jwt_key_is_rsa(key));
	jwt_key_close(&key);
	EVP_PKEY_free(from);
}

/* The certificate of RFC 7515's x5t is any: its DER is hashed. A chain before it is passed over. */
TEST(thumbprints_are_of_the_keys_own_certificate)
{
	struct identity_spec spec = { .subject = "app", .names = "DNS:app" };
	struct identity mine = identity_make(&spec), other = identity_make(&spec);
	char *pem = malloc(32768), wanted[65], found[65];
	char x5t[JWT_X5T_BYTES], x5t_s256[JWT_X5T_S256_BYTES];
	struct jwt_key *key = NULL;
	uint8_t hash[64];

	write_pem(other.key, other.certificate, NULL, pem);
	*strstr(pem, "-----BEGIN PRIVATE") = '#'; /* of the other only the certificate */
	memmove(pem, strstr(pem, "-----BEGIN CERT"), strlen(strstr(pem, "-----BEGIN CERT")) + 1);
	write_pem(mine.key, mine.certificate, NULL, pem + strlen(pem));
	if (CHECK_OK(jwt_key_open(text_of(pem), "the key", &key))) {
		CHECK(jwt_key_thumbprints(key, x5t, x5t_s256));
		CHECK_EQ(strlen(x5t), 27);
		must(decode(x5t_s256, hash) == 32);
		bytes_to_hex(found, hash, 32);
		identity_fingerprint(&mine, wanted);
		CHECK_TEXT(found, wanted);
	}
	jwt_key_close(&key);
	free(pem);
	identity_free(&mine);
	identity_free(&other);
}

TEST(base64url_has_no_padding)
{
	static const uint8_t bytes[] = { 3, 236, 255, 224, 193 }; /* RFC 7515 appendix C */
	char to[16];

	for (size_t n = 0; n <= sizeof bytes; n++) {
		jwt_base64url(to, bytes, n);
		CHECK_EQ(strlen(to) + 1, jwt_base64url_bytes(n));
	}
	CHECK_TEXT(to, "A-z_4ME");
}

/* ---- what is refused ---- */

static void check_no_key(const char *pem, const char *words)
{
	struct jwt_key *key = NULL;

	CHECK_ERR(jwt_key_open(text_of(pem), "file:app.pem", &key), ERR_INPUT_SECRET);
	CHECK(!key);
	CHECK(strstr(err_note()->text, words) && strstr(err_note()->text, "file:app.pem"));
	err_note_clear();
}

static EVP_PKEY *made_key(const char *type, const char *what)
{
	EVP_PKEY *key = strcmp(type, "RSA") == 0 ? EVP_PKEY_Q_keygen(NULL, NULL, type, (size_t)1024)
						 : EVP_PKEY_Q_keygen(NULL, NULL, type, what);

	must(key);
	return key;
}

TEST(what_is_no_usable_key_is_refused_by_name)
{
	static char pem[8192];
	EVP_PKEY *keys[] = { made_key("RSA", NULL), made_key("EC", "P-384"), ec_of_the_rfc() };

	check_no_key("", "no private key");
	check_no_key("secret", "no private key");
	check_no_key("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
		     "no private key");
	write_pem(keys[0], NULL, NULL, pem);
	check_no_key(pem, "1024 bits");
	write_pem(keys[1], NULL, NULL, pem);
	check_no_key(pem, "P-256");
	write_pem(keys[2], NULL, "a passphrase", pem);
	check_no_key(pem, "without a passphrase");
	for (size_t i = 0; i < ARRAY_COUNT(keys); i++)
		EVP_PKEY_free(keys[i]);
}

TEST(a_key_of_the_other_kind_does_not_sign)
{
	EVP_PKEY *from = ec_of_the_rfc();
	struct jwt_key *key = open_key(from, NULL);
	struct buffer out = { 0 };

	CHECK_ERR(jwt_sign(key, JWT_RS256, text_of("{}"), text_of("{}"), &out), ERR_INPUT_SECRET);
	CHECK_EQ(out.bytes, 0);
	buffer_free(&out);
	jwt_key_close(&key);
	EVP_PKEY_free(from);
}
