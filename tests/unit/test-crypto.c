/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ciphers for sectors, key derivation, and the splitter, against published
 * values and against those of another library (the table is made with Python's
 * `cryptography`, whose ciphers are OpenSSL's).
 */
#include <pthread.h>
#include <stdio.h>

#include "check.h"
#include "formats/core/base64.h"
#include "formats/core/units.h"
#include "formats/crypto/afsplit.h"
#include "formats/crypto/cipher.h"
#include "formats/crypto/hash.h"
#include "formats/crypto/kdf.h"

static void from_hex(const char *text, uint8_t *out)
{
	for (unsigned v; sscanf(text, "%2x", &v) == 1; text += 2)
		*out++ = (uint8_t)v;
}

static void assert_hex(const uint8_t *bytes, const char *want)
{
	char text[2 * 64 + 1] = "";

	for (size_t i = 0; i < strlen(want) / 2; i++)
		sprintf(text + 2 * i, "%02x", bytes[i]);
	assert_string_equal(text, want);
}

static void assert_sha256(const uint8_t *bytes, size_t len, const char *want)
{
	uint8_t digest[32];

	hash_bytes(hash_find("sha256"), bytes, len, digest);
	assert_hex(digest, want);
}

static struct cipher *make(
    const char *name, const char *mode, const uint8_t *key, size_t key_len)
{
	struct err e = ERR_INIT;
	struct cipher_spec s;
	struct cipher *c;

	if (cipher_spec_parse(&s, name, mode, key_len, &e))
		fail_msg("%s", e.msg);
	c = cipher_new(&s, key, &e);
	assert_non_null(c);
	return c;
}

/* IEEE 1619-2007, vectors 4 and following: AES-128-XTS, the bytes 00 to ff
 * twice. */
static void ieee1619(void **state)
{
	static const char key_text[] = "27182818284590452353602874713526"
				       "31415926535897932384626433832795";
	struct err e = ERR_INIT;
	uint8_t key[32], buf[1024];
	struct cipher *c;

	(void)state;
	from_hex(key_text, key);
	for (unsigned i = 0; i < sizeof buf; i++)
		buf[i] = (uint8_t)i;
	c = make("aes", "xts-plain64", key, sizeof key);
	assert_int_equal(cipher_encrypt(c, buf, buf, sizeof buf, 0, &e), 0);
	assert_hex(buf, "27a7479befa1d476489f308cd4cfa6e2"
			"a96e4bbe3208ff25287dd3819616e89c");
	assert_hex(buf + 512, "bbf9d6a74a7465fee20f42adf9a623fc"
			      "954f3b55587e8e429eec6f71e738a390");
	cipher_free(c);
}

static const struct {
	const char *name, *mode;
	size_t key_len;
	const char *sha256; /* of the enciphered sector */
} table[] = {
    {"aes", "xts-plain64", 32,
	"a7c09bd9f0b4a5f407620c37ff80b5a12fae337eedfbee7c0c9790e388874e89"},
    {"aes", "xts-plain64", 64,
	"41c1eb5f4f5add79538bbbb9f3212c8cc11ff3816210674a687e130b17eb1514"},
    {"aes", "xts-plain", 64,
	"94a56c11b180f453565eb903d010d5a969afe0dd3497fa49d215b6884307b308"},
    {"aes", "cbc-essiv:sha256", 32,
	"e06f24e5c9816b5ef012d29119cdd3f1ad753b4323815a8db31e098fbfddaaae"},
    {"aes", "cbc-essiv:sha256", 24,
	"f73d0ee6c5425d32ebe554e638345130bc6bc08258c8252f14c9511e6bfd1514"},
    {"aes", "cbc-essiv:md5", 16,
	"190700b457e7cac5fa45c97d9b8dde59d91a5399a1e3a158a33298f82b5c943a"},
    {"aes", "cbc-plain64be", 16,
	"4ad5016dc6866aeeddd82e3026bc0cd6185b127dde4ea884a4a2f45d26b48084"},
    {"aes", "cbc-benbi", 32,
	"b22bdb89473511f4119077da30ead80ce18ad89eeb84ed6fd32308a79e79921b"},
    {"aes", "cbc-null", 16,
	"cf76ff8c9bcd7e3e09ad37ec32f9b124ca2c5c24592d71da038de70376a6b3bc"},
    {"aes", "ctr-plain64", 32,
	"5e3dd4f22e20fd46e5c0894d3053501acb0a4f409100165c25f2dbccc7fdb5de"},
    {"aes", "ecb", 16,
	"db0037e866d613b62647833539bb32170827c239726a966bef5104bfe3be67d7"},
    {"camellia", "cbc-plain64", 32,
	"ca9ac44a5fb6839aff024ebb9570d757e01a3d80c52b6c5ac4b660991446a032"},
    {"cast5", "cbc-plain64", 16,
	"b8c71a440632ba0d3c83c95a5b1916c02dc7c95782fe947ae5642d8c65e99cd3"},
    {"blowfish", "cbc-benbi", 16,
	"ec737a3477ae7f3c032614954d8cadaf5143210e55f518f5e0d61e5c62a2340e"},
    {"blowfish", "cbc-benbi", 32,
	"918b2adb753666e6ece7756fb3adbae315ffa09a0c3d74aca627732e07cde4df"},
    {"blowfish", "cbc-benbi", 56,
	"1c9dc186cc8b5e15009b7eaabf8584f4efb735a59c76c78b5121f902d7065d55"},
    {"seed", "cbc-plain64", 16,
	"66bd91d5457f04bd25128e94b8d8e28b4b44e99fb83fe8ca2586bc818678600f"},
    {"des3_ede", "cbc-plain64", 24,
	"6243b656b58a41e749d072cb60d7f88781ddf4fd0c6d32450bb07534403573cc"},
    {"sm4", "cbc-plain64", 16,
	"8dd13b17a60a21abf199fe33a9f524b572837c8c12fdb238e0154e4f6c313245"},
};

static void modes(void **state)
{
	const uint64_t sector = 0x123456789a;
	struct err e = ERR_INIT;
	uint8_t key[64], plain[512], buf[512];

	(void)state;
	for (unsigned i = 0; i < sizeof key; i++)
		key[i] = (uint8_t)i;
	for (unsigned i = 0; i < sizeof plain; i++)
		plain[i] = (uint8_t)(i * 7);
	for (size_t i = 0; i < ARRAY_N(table); i++) {
		struct cipher *c =
		    make(table[i].name, table[i].mode, key, table[i].key_len);

		assert_int_equal(
		    cipher_encrypt(c, buf, plain, 512, sector, &e), 0);
		assert_sha256(buf, 512, table[i].sha256);
		assert_int_equal(
		    cipher_decrypt(c, buf, buf, 512, sector, &e), 0);
		assert_memory_equal(buf, plain, 512);
		cipher_free(c);
	}
}

/* The first of the table that Twofish's authors have published for keys of 192
 * bits: each key is made of the plain texts before. */
static void twofish192(void **state)
{
	uint8_t text[4 * 16] = {0}, key[24] = {0}, sector[512] = {0};
	struct err e = ERR_INIT;
	struct cipher *c;

	(void)state;
	for (unsigned i = 1; i < 4; i++) {
		c = make("twofish", "ecb", key, sizeof key);
		memcpy(sector, text + 16 * (i - 1), 16);
		assert_int_equal(
		    cipher_encrypt(c, sector, sector, 512, 0, &e), 0);
		memcpy(text + 16 * i, sector, 16);
		memcpy(key + 16, key, 8);
		memcpy(key, text + 16 * (i - 1), 16);
		cipher_free(c);
	}
	assert_hex(text + 16, "efa71f788965bd4453f860178fc19101");
	assert_hex(text + 32, "88b2b2706b105e36b446bb6d731a1e88");
	assert_hex(text + 48, "39da69d6ba4997d585b6dc073ca341b2");
}

static void refused(void **state)
{
	static const struct {
		const char *name, *mode;
		size_t key_len;
	} bad[] = {
	    {"aes", "xts-plain64", 33},
	    {"aes", "xts-plain64", 16},
	    {"aes", "xts-plain64", 65},
	    {"aes", "xts", 64},
	    {"aes", "xts-", 64},
	    {"aes", "xts-plain6", 64},
	    {"aes", "xts-plain644", 64},
	    {"aes", "cbc-essiv", 32},
	    {"aes", "cbc-essiv:", 32},
	    {"aes", "cbc-essiv:sha1", 32},
	    {"aes", "cbc-essiv:nothing", 32},
	    {"aes", "cbc-plain64:sha256", 32},
	    {"aes", "lrw-benbi", 32},
	    {"aes", "", 32},
	    {"", "cbc-plain", 32},
	    {"ae", "cbc-plain", 32},
	    {"des3_ede", "xts-plain64", 48},
	    {"cipher_null", "ecb", 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_N(bad); i++) {
		struct err e = ERR_INIT;
		struct cipher_spec s;

		assert_int_equal(cipher_spec_parse(&s, bad[i].name, bad[i].mode,
				     bad[i].key_len, &e),
		    -1);
		assert_int_equal(e.kind, ERR_UNSUPPORTED);
	}
}

/* A crypt sector of 4096 bytes is ciphered at once, and numbered in 512s. */
static void long_sectors(void **state)
{
	struct err e = ERR_INIT;
	static uint8_t key[64] = {1}, all[8192], one[4096];
	struct cipher_spec s;
	struct cipher *c;

	(void)state;
	memset(key + 32, 2, 32);
	assert_int_equal(
	    cipher_spec_parse(&s, "aes", "xts-plain64", 64, &e), 0);
	s.sector_len = 4096;
	s.first_sector = 100;
	c = cipher_new(&s, key, &e);
	assert_int_equal(cipher_sector_len(c), 4096);
	assert_int_equal(cipher_encrypt(c, all, all, sizeof all, 16, &e), 0);
	s.first_sector = 0;
	cipher_free(c);
	c = cipher_new(&s, key, &e);
	assert_int_equal(cipher_encrypt(c, one, one, sizeof one, 124, &e), 0);
	assert_memory_equal(one, all + 4096, 4096);
	cipher_free(c);
}

static void *use_cipher(void *arg)
{
	struct err e = ERR_INIT;
	uint8_t buf[4096];

	for (unsigned i = 0; i < 200; i++) {
		memset(buf, (int)i, sizeof buf);
		assert_int_equal(
		    cipher_encrypt(arg, buf, buf, sizeof buf, i, &e), 0);
		assert_int_equal(
		    cipher_decrypt(arg, buf, buf, sizeof buf, i, &e), 0);
		for (unsigned at = 0; at < sizeof buf; at++)
			assert_int_equal(buf[at], (uint8_t)i);
	}
	return NULL;
}

static void threads(void **state)
{
	uint8_t key[32] = {3};
	struct cipher *c = make("aes", "cbc-essiv:sha256", key, sizeof key);
	pthread_t t[4];

	(void)state;
	for (size_t i = 0; i < ARRAY_N(t); i++)
		assert_int_equal(pthread_create(&t[i], NULL, use_cipher, c), 0);
	for (size_t i = 0; i < ARRAY_N(t); i++)
		pthread_join(t[i], NULL);
	cipher_free(c);
}

static void assert_key(const struct kdf *k, const char *pass, const char *want)
{
	struct err e = ERR_INIT;
	uint8_t out[64];

	if (kdf_derive(k, pass, strlen(pass), out, strlen(want) / 2, &e))
		fail_msg("%s", e.msg);
	assert_hex(out, want);
}

/* RFC 6070, and the test vectors of Argon2's reference implementation. */
static void derivation(void **state)
{
	struct kdf k = {.kind = KDF_PBKDF2,
	    .hash = hash_find("sha1"),
	    .iterations = 4096,
	    .salt = "salt",
	    .salt_len = 4};

	(void)state;
	assert_key(&k, "password", "4b007901b765489abead49d926f721d065a429c1");
	k = (struct kdf){.kind = KDF_ARGON2ID,
	    .iterations = 2,
	    .memory_kib = 65536,
	    .lanes = 1,
	    .salt = "somesalt",
	    .salt_len = 8};
	assert_key(&k, "password",
	    "09316115d5cf24ed5a15a31a3ba326e5"
	    "cf32edc24702987c02b6566f61913cf7");
	k.kind = KDF_ARGON2I;
	assert_key(&k, "password",
	    "c1628832147d9720c5bd1cfd61367078"
	    "729f6dfb6f8fea9ff98158e0d7816ed0");
}

static void limits(void **state)
{
	static const struct kdf bad[] = {
	    {.kind = KDF_PBKDF2, .iterations = 0},
	    {.kind = KDF_PBKDF2, .iterations = UINT32_MAX},
	    {.kind = KDF_ARGON2ID,
		.iterations = 4,
		.memory_kib = 8,
		.lanes = 0},
	    {.kind = KDF_ARGON2ID,
		.iterations = 4,
		.memory_kib = 8,
		.lanes = 2},
	    {.kind = KDF_ARGON2ID,
		.iterations = 0,
		.memory_kib = 8,
		.lanes = 1},
	    {.kind = KDF_ARGON2ID,
		.iterations = 4,
		.memory_kib = (4u << 20) + 1,
		.lanes = 1},
	    {.kind = KDF_ARGON2ID,
		.iterations = 65,
		.memory_kib = 4u << 20,
		.lanes = 1},
	    {.kind = KDF_ARGON2I,
		.iterations = 1,
		.memory_kib = UINT32_MAX,
		.lanes = UINT32_MAX},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_N(bad); i++) {
		struct err e = ERR_INIT;
		uint8_t out[16];

		assert_int_equal(
		    kdf_derive(&bad[i], "x", 1, out, sizeof out, &e), -1);
		assert_int_equal(e.kind, ERR_DAMAGED);
	}
}

/* PBKDF2 pays for every digest of a key: a long key takes as many. */
static void costs(void **state)
{
	struct kdf k = {.kind = KDF_PBKDF2,
	    .hash = hash_find("sha1"),
	    .iterations = 1u << 28};
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(kdf_cost(&k, 20), 1u << 28);
	assert_int_equal(kdf_cost(&k, 21), 2ull << 28);
	assert_int_equal(kdf_check(&k, 20, &e), 0);
	assert_int_equal(kdf_check(&k, 21, &e), -1);
	assert_string_equal(
	    e.msg, "PBKDF2 with 268435456 iterations: must be 1 to 134217728");
}

/* About as long as it should take: a machine that is busy may be slower. */
static void iterations(void **state)
{
	struct kdf k = {
	    .kind = KDF_PBKDF2, .hash = hash_find("sha256"), .salt_len = 32};
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(kdf_tune(&k, 32, 0, &e), 0);
	assert_int_equal(k.iterations, 1000);
	assert_int_equal(kdf_tune(&k, 32, 1000, &e), 0);
	assert_true(k.iterations > 10000);
	assert_int_equal(kdf_tune(&k, 512, UINT32_MAX, &e), 0);
	assert_int_equal(k.iterations, (1u << 28) / 16);
}

/* cryptsetup's least, and its most. */
static void memory(void **state)
{
	struct kdf k = {.kind = KDF_ARGON2ID, .salt_len = 32};
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(kdf_tune(&k, 64, 0, &e), 0);
	assert_int_equal(k.iterations, 4);
	assert_int_equal(k.memory_kib, 65536);
	assert_in_range(k.lanes, 1, 4);
	assert_int_equal(kdf_tune(&k, 64, 3600000, &e), 0);
	assert_in_range(k.memory_kib, 65536, 1u << 20);
	assert_true(k.iterations > 4);
	assert_int_equal(kdf_check(&k, 64, &e), 0);
}

/* RFC 4648, section 10. */
static void base64(void **state)
{
	static const char *const text[] = {
	    "", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};
	static const uint8_t odd[] = {0xfb, 0xff, 0xbf};
	char out[BASE64_SIZE(6)];

	(void)state;
	for (size_t len = 0; len < ARRAY_N(text); len++) {
		base64_encode((const uint8_t *)"foobar", len, out);
		assert_string_equal(out, text[len]);
		assert_true(strlen(out) < BASE64_SIZE(len));
	}
	base64_encode(odd, sizeof odd, out);
	assert_string_equal(out, "+/+/");
}

static void splitter(void **state)
{
	struct err e = ERR_INIT;
	int hash = hash_find("ripemd160"); /* no part of the key's length */
	static uint8_t key[64], split[64 * 100], back[64];

	(void)state;
	for (unsigned i = 0; i < sizeof key; i++)
		key[i] = (uint8_t)(i * i);
	assert_int_equal(af_split(hash, key, sizeof key, 100, split, &e), 0);
	af_merge(hash, split, sizeof key, 100, back);
	assert_memory_equal(back, key, sizeof key);
	split[17] ^= 1;
	af_merge(hash, split, sizeof key, 100, back);
	assert_memory_not_equal(back, key, 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(ieee1619),
	    cmocka_unit_test(modes),
	    cmocka_unit_test(twofish192),
	    cmocka_unit_test(refused),
	    cmocka_unit_test(long_sectors),
	    cmocka_unit_test(threads),
	    cmocka_unit_test(derivation),
	    cmocka_unit_test(limits),
	    cmocka_unit_test(costs),
	    cmocka_unit_test(iterations),
	    cmocka_unit_test(memory),
	    cmocka_unit_test(base64),
	    cmocka_unit_test(splitter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
