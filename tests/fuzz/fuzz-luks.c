/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzz target: the input is a luks image in memory, with the passphrase "x".
 * So that inputs get past them, checksums of LUKS2 are made right; so that they
 * are quick, iterations of LUKS1 are few, and a key is looked for only where
 * that takes little.
 */
#include <stdlib.h>
#include <string.h>

#include "formats/core/object.h"
#include "formats/core/units.h"
#include "formats/crypto/hash.h"
#include "formats/crypto/luks.h"
#include "formats/driver.h"
#include "look.h"

#define ITERATIONS_MAX 64u
#define HEADER2_LEN    16384u
#define SUM_AT	       448u
#define COST_MAX       4096u
#define BYTES_MAX      (1u << 20) /* of split keys */

static void few_iterations(uint8_t *p)
{
	put_be32(p + 164, be32(p + 164) % ITERATIONS_MAX);
	for (unsigned i = 0; i < LUKS1_SLOTS; i++) {
		uint8_t *at = p + 208 + 48 * i + 4;

		put_be32(at, be32(at) % ITERATIONS_MAX);
	}
}

static void right_sums(uint8_t *p, size_t len)
{
	for (size_t at = 0; at <= HEADER2_LEN; at += HEADER2_LEN) {
		if (len < at + HEADER2_LEN)
			return;
		memset(p + at + SUM_AT, 0, 64);
		hash_bytes(
		    hash_find("sha256"), p + at, HEADER2_LEN, p + at + SUM_AT);
	}
}

static struct image *open_input(
    const uint8_t *data, size_t len, const struct img_open *how)
{
	struct err e = ERR_INIT;
	struct hostfile *f = host_open_memory("input", 0, &e);
	struct image *img;

	if (!f || (len && host_pwrite(f, data, len, 0, &e)))
		abort();
	img = img_open_host(f, how, &e);
	if (!img && (!err_is_set(&e) || !e.msg[0]))
		abort();
	return img;
}

static struct options *options(const char *text)
{
	struct err e = ERR_INIT;
	struct options *o = options_new(&e);

	if (!o || options_parse(o, text, NULL, &e))
		abort();
	return o;
}

static void make_secret(void)
{
	struct err e = ERR_INIT;
	char *help;

	if (!object_find("x") && object_add("secret,id=x,data=x", &help, &e))
		abort();
}

static void metadata(const uint8_t *data, size_t len)
{
	const struct img_open how = {
	    .format = "luks", .gate = IMG_GATE_METADATA};
	struct image *img = open_input(data, len, &how);

	if (!img)
		return;
	fuzz_describe(img);
	img_drop(img);
}

static void change(struct image *img, const char *text)
{
	CLEANUP(options) struct options *o = options(text);
	static const uint8_t buf[1000] = {1};
	struct err e = ERR_INIT;

	img_pwrite(img, buf, min_u64(sizeof buf, img_size(img)), 0, 0, &e);
	err_clear(&e);
	img_zero(img, img_size(img) / 2, 0, 0, &e);
	err_clear(&e);
	img_amend(img, o, &e);
}

static void unlocked(const uint8_t *data, size_t len)
{
	CLEANUP(options) struct options *o = options("key-secret=x");
	const struct img_open how = {
	    .format = "luks", .flags = IMG_O_RDWR, .options = o};
	static const char *const amends[] = {
	    "state=active,new-secret=x,iter-time=0",
	    "state=inactive,old-secret=x", "state=inactive,keyslot=0"};

	for (size_t i = 0; i < ARRAY_N(amends); i++) {
		struct image *img = open_input(data, len, &how);

		if (!img)
			return;
		fuzz_map(img);
		fuzz_read(img);
		change(img, amends[i]);
		img_drop(img);
	}
}

/* Would it take little to look for the key in each slot? */
static bool is_cheap(const uint8_t *data, size_t len)
{
	struct err e = ERR_INIT;
	struct hostfile *f = host_open_memory("input", 0, &e);
	uint64_t cost = 0, bytes = 0;
	struct luks *l;

	if (!f || (len && host_pwrite(f, data, len, 0, &e)))
		abort();
	l = luks_open(f, 0, len, "input", &e);
	for (unsigned i = 0; l && i < l->slot_n; i++) {
		const struct luks_slot *s = &l->slot[i];

		if (!s->active)
			continue;
		/* A slot that is added with Argon2 takes 64 MiB. */
		cost +=
		    s->kdf.kind != KDF_PBKDF2
			? COST_MAX
			: min_u64(kdf_cost(&s->kdf, CIPHER_KEY_MAX), COST_MAX);
		cost += min_u64(kdf_cost(&l->digest.kdf, 64), COST_MAX);
		bytes += s->len;
	}
	luks_free(l);
	host_put(f);
	return l && cost < COST_MAX && bytes < BYTES_MAX;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint8_t *p = malloc(len + 1);

	if (!p)
		abort();
	memcpy(p, data, len);
	make_secret();
	if (len >= LUKS1_LEN && p[7] == 1)
		few_iterations(p);
	else
		right_sums(p, len);
	metadata(p, len);
	if (is_cheap(p, len))
		unlocked(p, len);
	free(p);
	return 0;
}
