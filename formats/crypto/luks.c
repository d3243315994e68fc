/* SPDX-License-Identifier: BSD-3-Clause */
/* Opening and unlocking LUKS headers: see luks.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../core/object.h"
#include "../core/units.h"
#include "keymem.h"
#include "luks2.h"

bool luks_is(const uint8_t *buf, size_t len)
{
	return len >= LUKS_MAGIC_LEN + 2 &&
	       !memcmp(buf, LUKS_MAGIC, LUKS_MAGIC_LEN);
}

static int read_version(struct luks *l, struct err *e)
{
	uint8_t buf[LUKS1_LEN];

	if (host_pread(l->file, buf, sizeof buf, l->host, e))
		return -1;
	if (!luks_is(buf, sizeof buf))
		return luks2_read_second(l, e);
	l->version = be16(buf + LUKS_MAGIC_LEN);
	if (l->version == 1)
		return luks1_read(l, buf, e);
	if (l->version == 2)
		return luks2_read(l, e);
	return err_unsupported(e,
	    "%s: LUKS version %u is not supported: must be 1 or 2", l->name,
	    l->version);
}

struct luks *luks_open(struct hostfile *f, uint64_t host, uint64_t room,
    const char *name, struct err *e)
{
	struct luks *l = calloc(1, sizeof *l);

	if (!l) {
		err_nomem(e);
		return NULL;
	}
	l->file = f;
	l->host = host;
	l->room = room;
	l->name = name;
	if (!read_version(l, e))
		return l;
	luks_free(l);
	return NULL;
}

void luks_free(struct luks *l)
{
	if (!l)
		return;
	keymem_free(l->key, CIPHER_KEY_MAX);
	luks2_free(l->v2);
	free(l);
}

/*
 * Why a slot is not to be tried; or NULL.  `spent`: on those before it.  What
 * is too much for one slot is an error of its own.
 */
static const char *problem_of(
    const struct luks *l, const struct luks_slot *s, uint64_t *spent)
{
	size_t key_len = s->area.key_len ? s->area.key_len : s->key_len;
	uint64_t slot, digest;

	if (s->problem)
		return s->problem;
	slot = kdf_cost(&s->kdf, key_len);
	digest = kdf_cost(&l->digest.kdf, l->digest.len);
	if (slot > KDF_COST_MAX || digest > KDF_COST_MAX)
		return NULL;
	if (*spent + slot + digest > LUKS_COST_MAX)
		return "would take too long after those before it";
	*spent += slot + digest;
	return NULL;
}

/* Remembers the last reason why a slot could not be tried. */
static int try_slots(
    struct luks *l, const char *pass, uint8_t *key, struct err *e)
{
	const char *problem = NULL;
	uint64_t spent = 0;

	for (unsigned i = 0; i < l->slot_n; i++) {
		const char *why;
		int rc;

		if (!l->slot[i].active)
			continue;
		why = problem_of(l, &l->slot[i], &spent);
		if (why) {
			problem = why;
			continue;
		}
		rc = luks_slot_open(l, i, pass, key, e);
		l->opened = i;
		if (rc)
			return rc < 0 ? -1 : 0;
	}
	if (problem)
		return err_unsupported(e,
		    "%s: no key slot that can be tried has this password; "
		    "another one %s",
		    l->name, problem);
	return err_set(e, ERR_USAGE, EACCES,
	    "Invalid password, cannot unlock any keyslot");
}

int luks_unlock(struct luks *l, const char *pass, struct err *e)
{
	uint8_t *key;

	if (!l->key_len)
		return err_damaged(
		    e, "%s: LUKS2 metadata: no key slot for the data", l->name);
	key = keymem_new(CIPHER_KEY_MAX, e);
	if (!key)
		return -1;
	if (try_slots(l, pass, key, e)) {
		keymem_free(key, CIPHER_KEY_MAX);
		return -1;
	}
	l->key = key;
	return 0;
}

struct cipher *luks_cipher(const struct luks *l, struct err *e)
{
	struct cipher_spec s;

	if (cipher_spec_parse(&s, l->cipher, l->mode, l->key_len, e))
		return NULL;
	s.sector_len = l->sector_len;
	s.first_sector = l->first_sector;
	return cipher_new(&s, l->key, e);
}

const char *luks_secret(struct options *o, const char *key, struct err *e)
{
	const char *id = options_get(o, key);

	if (id)
		return object_secret(id, e);
	err_usage(e, "Parameter '%s' is required for cipher", key);
	return NULL;
}
