/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Changing key slots: see luks.h; of LUKS2: see luks2_change.c.
 *
 * A passphrase is added to a free slot: first the split key, then the header
 * that says so.  It is erased the other way round than one would expect: the
 * split key first, so that a crash leaves no slot that is said to be free and
 * still opens.
 */
#include <inttypes.h>
#include <string.h>

#include "../core/object.h"
#include "../core/units.h"
#include "keymem.h"
#include "luks.h"
#include "luks2.h"

struct request {
	bool activate;
	int64_t slot; /* -1: not given */
	const char *new, *old;
	uint64_t iter_ms;
	bool iter_given, force;
};

/* ---- reading ----------------------------------------------------------- */

static int read_state(struct options *o, struct request *r, struct err *e)
{
	const char *state = options_get(o, "state");

	if (!state)
		return err_usage(e, "Parameter 'state' is missing");
	r->activate = !strcmp(state, "active");
	if (r->activate || !strcmp(state, "inactive"))
		return 0;
	return err_usage(
	    e, "Parameter 'state' does not accept value '%s'", state);
}

/* The bytes of a secret; 1, 0 not given, -1. */
static int read_secret(
    struct options *o, const char *key, const char **out, struct err *e)
{
	const char *id = options_get(o, key);

	*out = NULL;
	if (!id)
		return 0;
	*out = object_secret(id, e);
	return *out ? 1 : -1;
}

static int read_slot(
    const struct luks *l, struct options *o, struct request *r, struct err *e)
{
	uint64_t n = 0;
	int given = options_u64(o, "keyslot", &n, e);

	if (given < 0)
		return -1;
	r->slot = given ? (int64_t)n : -1;
	if (given && n < l->slot_n && l->slot[n].taken)
		return err_usage(e,
		    "%s: key slot %" PRIu64 " is for something else than the "
		    "data",
		    l->name, n);
	if (!given || n < l->slot_n)
		return 0;
	return err_usage(e,
	    "Invalid keyslot %" PRId64 " specified, must be between 0 and %u",
	    (int64_t)n, l->slot_n - 1);
}

static int read_request(const struct luks *l, struct options *o, bool force,
    struct request *r, struct err *e)
{
	int given;

	*r = (struct request){.iter_ms = 2000, .force = force};
	if (read_state(o, r, e) || read_slot(l, o, r, e) ||
	    read_secret(o, "new-secret", &r->new, e) < 0 ||
	    read_secret(o, "old-secret", &r->old, e) < 0)
		return -1;
	given = options_u64(o, "iter-time", &r->iter_ms, e);
	r->iter_given = given > 0;
	return given < 0 ? -1 : 0;
}

/* ---- adding ------------------------------------------------------------ */

static int choose_slot(
    const struct luks *l, const struct request *r, unsigned *ix, struct err *e)
{
	if (r->slot >= 0) {
		*ix = (unsigned)r->slot;
		if (!l->slot[*ix].active || r->force)
			return 0;
		return err_usage(e,
		    "Refusing to overwrite active keyslot %u - please erase it "
		    "first",
		    *ix);
	}
	for (*ix = 0; *ix < l->slot_n; ++*ix)
		if (!l->slot[*ix].active && !l->slot[*ix].taken)
			return 0;
	return err_usage(e, "Can't add a keyslot - all keyslots are in use");
}

static int luks1_add(struct luks *l, unsigned ix, const char *pass,
    uint64_t iter_ms, struct err *e)
{
	struct luks_slot *s = &l->slot[ix], old = *s;

	s->kdf.salt_len = LUKS_SALT_LEN;
	if (kdf_tune(&s->kdf, s->key_len, iter_ms, e) ||
	    luks_slot_fill(l, ix, pass, e)) {
		*s = old;
		return -1;
	}
	s->active = true;
	return luks1_write(l, e);
}

static int add(struct luks *l, const struct request *r, struct err *e)
{
	unsigned ix;

	if (!r->new)
		return err_usage(
		    e, "'new-secret' is required to activate a keyslot");
	if (r->old)
		return err_usage(e, "'old-secret' must not be given when "
				    "activating keyslots");
	if (r->iter_ms > LUKS_ITER_MS_MAX)
		return err_usage(e,
		    "Parameter 'iter-time' must be at most %u milliseconds",
		    LUKS_ITER_MS_MAX);
	if (choose_slot(l, r, &ix, e))
		return -1;
	return (l->version == 2 ? luks2_add : luks1_add)(
	    l, ix, r->new, r->iter_ms, e);
}

/* ---- erasing ----------------------------------------------------------- */

/* Slots that are to be erased, as bits. */
static int find_slots(
    struct luks *l, const struct request *r, uint32_t *found, struct err *e)
{
	uint8_t *key;
	int rc = 0;

	*found = 0;
	if (!r->old) {
		*found = 1u << r->slot;
		return 0;
	}
	key = keymem_new(CIPHER_KEY_MAX, e);
	if (!key)
		return -1;
	for (unsigned i = 0; rc >= 0 && i < l->slot_n; i++) {
		if (!l->slot[i].active || l->slot[i].problem ||
		    (r->slot >= 0 && i != (unsigned)r->slot))
			continue;
		rc = luks_slot_open(l, i, r->old, key, e);
		if (rc > 0)
			*found |= 1u << i;
	}
	keymem_free(key, CIPHER_KEY_MAX);
	return rc < 0 ? -1 : 0;
}

static uint32_t active_slots(const struct luks *l)
{
	uint32_t bits = 0;

	for (unsigned i = 0; i < l->slot_n; i++)
		bits |= (uint32_t)l->slot[i].active << i;
	return bits;
}

/* Is there something to erase, and does a slot remain? */
static int check_found(const struct luks *l, const struct request *r,
    uint32_t found, struct err *e)
{
	if (r->slot >= 0 && !l->slot[r->slot].active && !r->force)
		return err_usage(e,
		    "Given keyslot %" PRId64 " is already erased (inactive) ",
		    r->slot);
	if (!found && r->slot >= 0)
		return err_usage(e,
		    "Given keyslot %" PRId64 " doesn't contain the given old "
		    "password for erase operation",
		    r->slot);
	if (!found)
		return err_usage(e, "No keyslots match given (old) password "
				    "for erase operation");
	if ((active_slots(l) & ~found) || r->force)
		return 0;
	if (r->slot >= 0)
		return err_usage(e,
		    "Attempt to erase the only active keyslot %" PRId64
		    " which will erase all the data in the image irreversibly "
		    "- refusing operation",
		    r->slot);
	return err_usage(e,
	    "All the active keyslots match the (old) password that was given "
	    "and erasing them will erase all the data in the image "
	    "irreversibly - refusing operation");
}

static int luks1_erase(struct luks *l, unsigned ix, struct err *e)
{
	if (luks_slot_wipe(l, &l->slot[ix], e))
		return -1;
	l->slot[ix].active = false;
	return luks1_write(l, e);
}

static int erase(struct luks *l, const struct request *r, struct err *e)
{
	uint32_t found;

	if (r->new)
		return err_usage(e, "'new-secret' must not be given when "
				    "erasing keyslots");
	if (r->iter_given)
		return err_usage(e, "'iter-time' must not be given when "
				    "erasing keyslots");
	if (r->slot < 0 && !r->old)
		return err_usage(e,
		    "To erase keyslot(s), either explicit keyslot index or the "
		    "password currently contained in them must be given");
	if (find_slots(l, r, &found, e) || check_found(l, r, found, e))
		return -1;
	for (unsigned i = 0; i < l->slot_n; i++) {
		if ((found >> i & 1) &&
		    (l->version == 2 ? luks2_erase : luks1_erase)(l, i, e))
			return -1;
	}
	return 0;
}

int luks_amend(struct luks *l, struct options *o, bool force, struct err *e)
{
	struct request r;

	if (read_request(l, o, force, &r, e))
		return -1;
	return (r.activate ? add : erase)(l, &r, e);
}
