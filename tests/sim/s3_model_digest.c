/* Checksums of the S3 stand-in, bit by bit from their polynomials (Amazon S3 User Guide, "Checking
 * object integrity"), so that the product's fast ones are proved by other code. */
#include "tests/sim/s3_model_state.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <strings.h>

static const char *const names[S3_MODEL_ALGORITHMS] = {
	[S3_MODEL_NO_CHECKSUM] = "",  [S3_MODEL_CRC64NVME] = "CRC64NVME",
	[S3_MODEL_CRC32C] = "CRC32C", [S3_MODEL_CRC32] = "CRC32",
	[S3_MODEL_SHA1] = "SHA1",     [S3_MODEL_SHA256] = "SHA256",
	[S3_MODEL_SHA512] = "SHA512", [S3_MODEL_MD5] = "MD5",
};

const char *s3_model_algorithm_name(enum s3_model_algorithm algorithm)
{
	return names[algorithm];
}

enum s3_model_algorithm s3_model_algorithm_of(const char *name)
{
	for (unsigned i = S3_MODEL_CRC64NVME; i < S3_MODEL_ALGORITHMS; i++)
		if (strcasecmp(name, names[i]) == 0)
			return (enum s3_model_algorithm)i;
	return S3_MODEL_NO_CHECKSUM;
}

/* Reflected, all ones in and out: CRC-32/ISO-HDLC, CRC-32/ISCSI and CRC-64/NVME alike. */
static uint64_t crc(uint64_t polynomial, uint64_t ones, const uint8_t *bytes, size_t n)
{
	uint64_t value = ones;

	for (size_t i = 0; i < n; i++) {
		value ^= bytes[i];
		for (unsigned bit = 0; bit < 8; bit++)
			value = value >> 1 ^ (polynomial & (0 - (value & 1)));
	}
	return value ^ ones;
}

static size_t put_big_endian(uint64_t value, size_t bytes, uint8_t *to)
{
	for (size_t i = 0; i < bytes; i++)
		to[i] = (uint8_t)(value >> 8 * (bytes - 1 - i));
	return bytes;
}

static size_t openssl_digest(const EVP_MD *kind, const void *bytes, size_t n, uint8_t to[64])
{
	unsigned length = 0;

	must(EVP_Digest(bytes, n, to, &length, kind, NULL) == 1);
	return length;
}

size_t s3_model_digest(enum s3_model_algorithm algorithm, const void *bytes, size_t n,
		       uint8_t to[64])
{
	switch (algorithm) {
	case S3_MODEL_CRC64NVME:
		return put_big_endian(crc(0x9A6C9329AC4BC9B5, UINT64_MAX, bytes, n), 8, to);
	case S3_MODEL_CRC32C:
		return put_big_endian(crc(0x82F63B78, UINT32_MAX, bytes, n), 4, to);
	case S3_MODEL_CRC32:
		return put_big_endian(crc(0xEDB88320, UINT32_MAX, bytes, n), 4, to);
	case S3_MODEL_SHA1:
		return openssl_digest(EVP_sha1(), bytes, n, to);
	case S3_MODEL_SHA256:
		return openssl_digest(EVP_sha256(), bytes, n, to);
	case S3_MODEL_SHA512:
		return openssl_digest(EVP_sha512(), bytes, n, to);
	case S3_MODEL_MD5:
		return openssl_digest(EVP_md5(), bytes, n, to);
	case S3_MODEL_NO_CHECKSUM:
	case S3_MODEL_ALGORITHMS:
		break;
	}
	return 0;
}

void s3_model_checksum(struct s3_model_checksum *checksum, enum s3_model_algorithm algorithm,
		       const void *bytes, size_t n)
{
	uint8_t digest[64];

	*checksum = (struct s3_model_checksum){ .algorithm = algorithm };
	bytes_to_base64(checksum->text, digest, s3_model_digest(algorithm, bytes, n, digest));
}

bool s3_model_from_base64(const char *text, uint8_t *to, size_t max, size_t *bytes)
{
	uint8_t decoded[1024];
	size_t n = strlen(text);
	int length;

	if (n == 0 || n % 4 || n / 4 * 3 > sizeof decoded)
		return false;
	length = EVP_DecodeBlock(decoded, (const uint8_t *)text, (int)n);
	if (length < 0)
		return false;
	/* It counts the padding as bytes. */
	*bytes = (size_t)length - (text[n - 1] == '=') - (text[n - 2] == '=');
	if (*bytes > max)
		return false;
	bytes_copy(to, decoded, *bytes, BYTES_META);
	return true;
}

void s3_model_sha256_hex(const void *bytes, size_t n, char to[65])
{
	uint8_t digest[64];

	bytes_to_hex(to, digest, s3_model_digest(S3_MODEL_SHA256, bytes, n, digest));
}
