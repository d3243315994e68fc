/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Keys are gone from the memory of the process when an image has been closed,
 * or could not be opened or changed: its writable memory is searched.  The keys
 * that are looked for are kept with every bit turned round.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "check.h"
#include "faultfile.h"
#include "formats/core/object.h"
#include "formats/core/units.h"
#include "formats/crypto/luks.h"

#define PART_LEN   16u	       /* of a key, that is looked for */
#define REGION_MAX (256 * MiB) /* larger ones are a sanitizer's own */

struct sought {
	uint8_t turned[PART_LEN];
};

static void seek_key(struct sought *s, const uint8_t *key)
{
	for (unsigned i = 0; i < PART_LEN; i++)
		s->turned[i] = (uint8_t)~key[i];
}

static bool is_key(const struct sought *s, const uint8_t *p)
{
	for (unsigned i = 0; i < PART_LEN; i++)
		if ((p[i] ^ s->turned[i]) != 0xff)
			return false;
	return true;
}

static unsigned find_in(
    int mem, const struct sought *s, uint64_t from, uint64_t to)
{
	static uint8_t buf[64 * KiB];
	unsigned n = 0;

	for (uint64_t at = from; at < to; at += sizeof buf - PART_LEN) {
		uint64_t len = min_u64(sizeof buf, to - at);
		ssize_t got;

		explicit_bzero(buf, sizeof buf);
		got = pread(mem, buf, len, (off_t)at);
		for (ssize_t i = 0; i + PART_LEN <= got; i++)
			n += is_key(s, buf + i);
	}
	explicit_bzero(buf, sizeof buf);
	return n;
}

/* How often the key is in writable memory. */
static unsigned find(const struct sought *s)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	int mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	unsigned n = 0;
	char line[512];

	assert_non_null(maps);
	assert_true(mem >= 0);
	while (fgets(line, sizeof line, maps)) {
		uint64_t from, to;
		char flags[8];

		assert_int_equal(sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s",
				     &from, &to, flags),
		    3);
		if (flags[1] == 'w' && to - from < REGION_MAX)
			n += find_in(mem, s, from, to);
	}
	fclose(maps);
	close(mem);
	return n;
}

static void assert_gone(const struct sought *s, const char *what)
{
	unsigned n = find(s);

	if (n)
		fail_msg("%s: %u times in memory", what, n);
}

static const char *const versions[] = {"1", "2"};

/* The slot's own key, as the passphrase makes it. */
static void seek_slot_key(struct sought *s, const struct luks_slot *slot)
{
	struct err e = ERR_INIT;
	uint8_t key[64];

	assert_ok(
	    kdf_derive(&slot->kdf, "first", 5, key,
		slot->area.key_len ? slot->area.key_len : slot->key_len, &e),
	    &e);
	seek_key(s, key);
	explicit_bzero(key, sizeof key);
}

/* What the slot stores, decrypted: the volume key can be made of it. */
static void seek_split_key(
    struct sought *s, const struct luks *l, const struct luks_slot *slot)
{
	struct cipher_spec spec = slot->area;
	uint8_t key[64], split[SECTOR_LEN];
	struct err e = ERR_INIT;
	struct cipher *c;

	if (!spec.key_len)
		assert_ok(cipher_spec_parse(
			      &spec, l->cipher, l->mode, slot->key_len, &e),
		    &e);
	assert_ok(
	    kdf_derive(&slot->kdf, "first", 5, key, spec.key_len, &e), &e);
	c = cipher_new(&spec, key, &e);
	assert_no_error(&e);
	assert_ok(host_pread(l->file, split, sizeof split, slot->at, &e), &e);
	assert_ok(cipher_decrypt(c, split, split, sizeof split, 0, &e), &e);
	seek_key(s, split + sizeof split / 2);
	cipher_free(c);
	explicit_bzero(key, sizeof key);
	explicit_bzero(split, sizeof split);
}

static void make(struct hostfile *f, const char *version)
{
	struct err e = ERR_INIT;
	CLEANUP(options) struct options *o = options_new(&e);
	struct luks_params p;
	char text[96];

	snprintf(text, sizeof text,
	    "key-secret=a,iter-time=0,pbkdf=pbkdf2,version=%s", version);
	assert_ok(options_parse(o, text, NULL, &e), &e);
	assert_ok(luks_params_read(o, "", true, &p, &e), &e);
	assert_ok(luks_create(f, 0, "x", &p, luks_header_len(&p), &e), &e);
}

static struct luks *open_luks(struct hostfile *f)
{
	struct err e = ERR_INIT;
	struct luks *l = luks_open(f, 0, 32 * MiB, "x", &e);

	assert_no_error(&e);
	return l;
}

static int amend(struct luks *l, const char *text, struct err *e)
{
	CLEANUP(options) struct options *o = options_new(e);

	assert_ok(options_parse(o, text, NULL, e), e);
	return luks_amend(l, o, false, e);
}

/* Opened, used, its slots changed, closed; a wrong password in between. */
static void used(void **state)
{
	for (size_t i = 0; i < ARRAY_N(versions); i++) {
		static uint8_t data[4096];
		struct sought volume, slot, split;
		struct err e = ERR_INIT;
		struct hostfile *f = host_open_memory("x", 32 * MiB, &e);
		struct luks *l;
		struct cipher *c;

		(void)state;
		make(f, versions[i]);
		l = open_luks(f);
		assert_int_equal(luks_unlock(l, "wrong", &e), -1);
		err_clear(&e);
		assert_ok(luks_unlock(l, "first", &e), &e);
		seek_key(&volume, l->key);
		seek_slot_key(&slot, &l->slot[0]);
		seek_split_key(&split, l, &l->slot[0]);
		assert_gone(&split, "split key");
		c = luks_cipher(l, &e);
		assert_ok(
		    cipher_encrypt(c, data, data, sizeof data, 0, &e), &e);
		assert_ok(
		    amend(l, "state=active,new-secret=b,iter-time=0", &e), &e);
		assert_ok(amend(l, "state=inactive,old-secret=a", &e), &e);
		assert_true(find(&volume) >= 2);
		cipher_free(c);
		luks_free(l);
		assert_gone(&volume, "volume key");
		assert_gone(&slot, "key of the slot");
		host_put(f);
	}
}

/* A host call fails while it is opened or changed. */
static void failed(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_N(versions); i++) {
		struct err e = ERR_INIT;
		struct hostfile *f =
		    faultfile_new(host_open_memory("x", 32 * MiB, &e), &e);
		struct sought volume, slot, split;
		struct luks *l;

		make(f, versions[i]);
		l = open_luks(f);
		faultfile_fail(f, FAULT_READ, 1, EIO, false);
		assert_int_equal(luks_unlock(l, "first", &e), -1);
		err_clear(&e);
		assert_ok(luks_unlock(l, "first", &e), &e);
		seek_key(&volume, l->key);
		seek_slot_key(&slot, &l->slot[0]);
		seek_split_key(&split, l, &l->slot[0]);
		assert_gone(&split, "split key");
		for (unsigned nth = 1; nth <= 2; nth++) {
			faultfile_fail(f, FAULT_WRITE, nth, EIO, false);
			assert_int_equal(
			    amend(
				l, "state=active,new-secret=b,iter-time=0", &e),
			    -1);
			err_clear(&e);
		}
		luks_free(l);
		assert_gone(&volume, "volume key");
		assert_gone(&slot, "key of the slot");
		host_put(f);
	}
}

static void make_secret(const char *text)
{
	struct err e = ERR_INIT;
	char *help;

	assert_ok(object_add(text, &help, &e), &e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(used),
	    cmocka_unit_test(failed),
	};

	/* Memory that is freed stays, to be looked at. */
	mallopt(M_MMAP_THRESHOLD, 1 << 30);
	mallopt(M_TRIM_THRESHOLD, 1 << 30);
	make_secret("secret,id=a,data=first");
	make_secret("secret,id=b,data=second");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
