/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * luks: an encrypted disk behind its LUKS header, or with the header in a file
 * of its own (option `header`).
 *
 * Everything is DATA in place, through the cipher.  So there are no holes: a
 * block that is not there does not read as zeroes.  The header itself is the
 * business of crypto/luks.h.
 */
#include <errno.h>
#include <stdlib.h>

#include "core/open.h"
#include "core/prealloc.h"
#include "core/samefile.h"
#include "crypto/luks.h"
#include "driver.h"

struct luks_image {
	struct luks *luks;
	struct hostfile *header; /* NULL: in the image's file */
};

static struct luks_image *of(const struct image *img)
{
	return img->priv;
}

static bool probe(const struct probe_in *p)
{
	return luks_is(p->head, p->head_len);
}

/* ---- open -------------------------------------------------------------- */

static int open_header(struct image *img, struct options *o, struct err *e)
{
	CLEANUP(options) struct options *sub = options_sub(o, "header", e);
	struct luks_image *k = of(img);

	if (!sub || options_empty(sub))
		return sub ? 0 : -1;
	k->header = open_file_options(sub, img->host_flags, e);
	if (!k->header || open_lock(k->header, e))
		return -1;
	if (same_file(k->header, img->file))
		return err_usage(
		    e, "%s: the header is in the file of the data", img->name);
	return 0;
}

/* What is left behind the header, in whole crypt sectors. */
static int find_size(struct image *img, struct err *e)
{
	const struct luks *l = of(img)->luks;
	uint64_t end = host_size(img->file), size;

	if (!of(img)->header && !l->payload) {
		if (img->open_gate == IMG_GATE_METADATA)
			return 0;
		err_usage(
		    e, "%s: holds no data, only the header for it", img->name);
		err_hint(e, "Give the file that has the data, and this one as "
			    "header.filename.");
		return -1;
	}
	if (l->payload > end)
		return err_damaged(e,
		    "%s: LUKS header: the data begins at %llu: must be inside "
		    "the file, which has %llu bytes",
		    img->name, (unsigned long long)l->payload,
		    (unsigned long long)end);
	size = end - l->payload;
	if (l->payload_len && l->payload_len > size)
		return err_damaged(e,
		    "%s: LUKS header: the data has %llu bytes: must be at most "
		    "the %llu that the file has for it",
		    img->name, (unsigned long long)l->payload_len,
		    (unsigned long long)size);
	if (l->payload_len)
		size = l->payload_len;
	atomic_store(&img->size, round_down(size, l->sector_len));
	return 0;
}

/* Without a key only the header can be looked at. */
static int unlock(struct image *img, struct options *o, struct err *e)
{
	struct luks *l = of(img)->luks;
	bool given = options_get(o, "key-secret");
	const char *pass;

	if (img->open_gate == IMG_GATE_METADATA)
		return 0;
	if (!given)
		return err_usage(
		    e, "Parameter 'key-secret' is required for cipher");
	pass = luks_secret(o, "key-secret", e);
	if (!pass || luks_unlock(l, pass, e))
		return -1;
	img->cipher = luks_cipher(l, e);
	return img->cipher ? 0 : -1;
}

static int open_all(struct image *img, struct options *o, struct err *e)
{
	struct luks_image *k = of(img);
	struct hostfile *f;

	if (open_header(img, o, e))
		return -1;
	f = k->header ? k->header : img->file;
	k->luks = luks_open(f, 0, host_size(f), img->name, e);
	if (!k->luks)
		return -1;
	return find_size(img, e) || unlock(img, o, e) ? -1 : 0;
}

static void close_image(struct image *img)
{
	luks_free(of(img)->luks);
	host_put(of(img)->header);
	free(img->priv);
	img->priv = NULL;
}

static int open_image(struct image *img, struct options *o, struct err *e)
{
	img->priv = calloc(1, sizeof(struct luks_image));
	if (!img->priv)
		return err_nomem(e);
	img->unit = 1;
	if (!open_all(img, o, e))
		return 0;
	close_image(img);
	return -1;
}

static int map(struct image *img, uint64_t guest, uint64_t len,
    struct extent *x, struct err *e)
{
	if (!img->cipher)
		return err_usage(
		    e, "%s: opened for its metadata alone", img->name);
	x->len = len;
	x->kind = EXT_DATA;
	x->flags = EXT_F_CRYPT;
	x->file = img->file;
	x->host = of(img)->luks->payload + guest;
	return 0;
}

/* ---- create, measure --------------------------------------------------- */

static const struct img_opt create_opts[] = {
    {"size", IMG_OPT_SIZE, "Virtual disk size", NULL},
    {"key-secret", IMG_OPT_STR,
	"ID of the secret that provides the keyslot passphrase", NULL},
    {"cipher-alg", IMG_OPT_STR, "Name of encryption cipher algorithm", NULL},
    {"cipher-mode", IMG_OPT_STR, "Name of encryption cipher mode", NULL},
    {"ivgen-alg", IMG_OPT_STR, "Name of IV generator algorithm", NULL},
    {"ivgen-hash-alg", IMG_OPT_STR, "Name of IV generator hash algorithm",
	NULL},
    {"hash-alg", IMG_OPT_STR, "Name of encryption hash algorithm", NULL},
    {"iter-time", IMG_OPT_NUM, "Time to spend in PBKDF in milliseconds", NULL},
    {"detached-header", IMG_OPT_BOOL,
	"Make the header alone, for data in another file", NULL},
    {"version", IMG_OPT_NUM, "Version of the LUKS header (1 or 2)", NULL},
    {"pbkdf", IMG_OPT_STR,
	"How keys are made from passphrases (argon2id, pbkdf2; version 2 only)",
	NULL},
    {"preallocation", IMG_OPT_STR,
	"Preallocation mode (allowed values: off, falloc, full)", NULL},
    {0},
};

struct params {
	struct luks_params luks;
	enum img_prealloc prealloc;
	bool detached;
	uint64_t payload, end; /* of the file */
};

static int read_params(
    struct options *o, uint64_t size, struct params *p, struct err *e)
{
	if (luks_params_read(o, "", true, &p->luks, e) ||
	    prealloc_read(o, &p->prealloc, e))
		return -1;
	p->detached = false;
	if (options_bool(o, "detached-header", &p->detached, e) < 0)
		return -1;
	p->payload = p->detached ? 0 : luks_header_len(&p->luks);
	if (p->detached)
		p->end = luks_header_len(&p->luks);
	else if (!add_ok(p->payload, size, &p->end) || p->end > IMG_SIZE_MAX)
		return err_set(e, ERR_USAGE, EFBIG,
		    "a disk of %llu bytes is too large",
		    (unsigned long long)size);
	return 0;
}

static int create_check(const struct create_args *a, struct err *e)
{
	struct params p;

	return read_params(a->o, a->size, &p, e);
}

static int create(const struct create_args *a, struct err *e)
{
	struct params p;

	if (read_params(a->o, a->size, &p, e))
		return -1;
	if (prealloc_new(a->file, p.end, p.prealloc, e))
		return -1;
	return luks_create(a->file, 0, a->name, &p.luks, p.payload, e);
}

static int measure(struct options *o, uint64_t size, struct image *src,
    struct img_measure *out, struct err *e)
{
	struct params p;

	(void)src;
	if (read_params(o, size, &p, e))
		return -1;
	out->required = out->fully_allocated = p.end;
	out->bitmaps = -1;
	return 0;
}

/* ---- amend -------------------------------------------------------------- */

static const struct img_opt amend_opts[] = {
    {"iter-time", IMG_OPT_NUM, "Time to spend in PBKDF in milliseconds", NULL},
    {"keyslot", IMG_OPT_NUM, "Select a single keyslot to modify explicitly",
	NULL},
    {"new-secret", IMG_OPT_STR,
	"New secret to set in the matching keyslots. Empty string to erase",
	NULL},
    {"old-secret", IMG_OPT_STR, "Select all keyslots that match this password",
	NULL},
    {"state", IMG_OPT_STR,
	"Select new state of affected keyslots (active/inactive)", NULL},
    {0},
};

static int amend(struct image *img, struct options *o, struct err *e)
{
	return luks_amend(of(img)->luks, o, img->flags & IMG_O_FORCE, e);
}

static const struct amend_ops amend_ops = {.amend = amend};

/* ---- the rest ---------------------------------------------------------- */

static int resize(
    struct image *img, uint64_t size, enum img_prealloc how, struct err *e)
{
	const struct luks *l = of(img)->luks;
	uint64_t end;

	if (l->payload_len)
		return err_unsupported(e,
		    "%s: the LUKS header says how large the disk is",
		    img->name);
	if (!is_aligned(size, l->sector_len))
		return err_usage(e, "%s: the size must be a multiple of %u",
		    img->name, l->sector_len);
	if (!add_ok(l->payload, size, &end) || end > IMG_SIZE_MAX)
		return err_set(e, ERR_SYSTEM, EFBIG, "%s: size %llu too large",
		    img->name, (unsigned long long)size);
	if (prealloc_resize(
		img, img->file, l->payload + img_size(img), end, how, e))
		return -1;
	atomic_store(&img->size, size);
	return 0;
}

static int walk(struct image *img, struct walker *w, struct err *e)
{
	const struct luks *l = of(img)->luks;
	const struct walk_extent header = {
	    .len = l->payload,
	    .kind = META_HEADER,
	    .owner = "LUKS header",
	    .guest = UINT64_MAX,
	};
	const struct walk_extent data = {
	    .host = l->payload,
	    .len = img_size(img),
	    .kind = META_DATA,
	    .owner = "guest data",
	};

	if (!of(img)->header && w->extent(w, &header, e))
		return -1;
	return data.len ? w->extent(w, &data, e) : 0;
}

static int describe(struct image *img, struct img_info *out, struct err *e)
{
	const struct luks_image *k = of(img);
	json_t *data =
	    luks_describe(k->luks, k->header || !k->luks->payload, NULL);

	out->dirty = 0;
	out->encrypted = true;
	out->specific = json_pack("{s:s,s:o}", "type", "luks", "data", data);
	return out->specific ? 0 : err_nomem(e);
}

const struct driver luks_driver = {
    .no_backing = true,
    .info =
	{
	    .name = "luks",
	    .can_create = true,
	    .can_resize = true,
	    .can_measure = true,
	    .born_random = true,
	    .create_opts = create_opts,
	    .amend_opts = amend_opts,
	},
    .probe = probe,
    .open = open_image,
    .close = close_image,
    .map = map,
    .create = create,
    .create_check = create_check,
    .resize = resize,
    .measure = measure,
    .walk = walk,
    .describe = describe,
    .amend = &amend_ops,
};
