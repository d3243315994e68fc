/* SPDX-License-Identifier: BSD-3-Clause */
/* Hashes and random bytes: see hash.h. */
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "../core/units.h"
#include "gcrypt.h"
#include "hash.h"

static const struct {
	const char *name;
	int algo;
} hashes[] = {
    {"sha1", GCRY_MD_SHA1},
    {"sha224", GCRY_MD_SHA224},
    {"sha256", GCRY_MD_SHA256},
    {"sha384", GCRY_MD_SHA384},
    {"sha512", GCRY_MD_SHA512},
    {"md5", GCRY_MD_MD5},
    {"ripemd160", GCRY_MD_RMD160},
    {"sm3", GCRY_MD_SM3},
    {"whirlpool", GCRY_MD_WHIRLPOOL},
    {"sha3-224", GCRY_MD_SHA3_224},
    {"sha3-256", GCRY_MD_SHA3_256},
    {"sha3-384", GCRY_MD_SHA3_384},
    {"sha3-512", GCRY_MD_SHA3_512},
    {"stribog256", GCRY_MD_STRIBOG256},
    {"stribog512", GCRY_MD_STRIBOG512},
    {"blake2b-160", GCRY_MD_BLAKE2B_160},
    {"blake2b-256", GCRY_MD_BLAKE2B_256},
    {"blake2b-384", GCRY_MD_BLAKE2B_384},
    {"blake2b-512", GCRY_MD_BLAKE2B_512},
    {"blake2s-128", GCRY_MD_BLAKE2S_128},
    {"blake2s-160", GCRY_MD_BLAKE2S_160},
    {"blake2s-224", GCRY_MD_BLAKE2S_224},
    {"blake2s-256", GCRY_MD_BLAKE2S_256},
};

int hash_find(const char *name)
{
	crypto_ready();
	for (size_t i = 0; i < ARRAY_N(hashes); i++)
		if (!strcmp(hashes[i].name, name) &&
		    !gcry_md_test_algo(hashes[i].algo))
			return hashes[i].algo;
	return 0;
}

int hash_need(const char *name, struct err *e)
{
	int hash = hash_find(name);

	if (!hash)
		err_unsupported(
		    e, "Hash algorithm '%s' is not supported", name);
	return hash;
}

size_t hash_len(int hash)
{
	return gcry_md_get_algo_dlen(hash);
}

void hash_bytes(int hash, const void *buf, size_t len, uint8_t *out)
{
	gcry_md_hash_buffer(hash, out, buf, len);
}

int hash_equal(const uint8_t *a, const uint8_t *b, size_t len)
{
	uint8_t differ = 0;

	for (size_t i = 0; i < len; i++)
		differ |= a[i] ^ b[i];
	return !differ;
}

int random_bytes(uint8_t *buf, size_t len, struct err *e)
{
	while (len) {
		ssize_t n = getrandom(buf, len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, errno, "no random bytes");
		buf += n;
		len -= (size_t)n;
	}
	return 0;
}
