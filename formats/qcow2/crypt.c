/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Encrypted qcow2 images: see crypt.h.
 *
 * Guest clusters that are stored as they are go through the cipher; metadata
 * and compressed clusters do not.  With LUKS the header lies in clusters of its
 * own, and the vectors count sectors of the host file; with the AES of old
 * there is no header, and they count sectors of the disk.
 */
#include "../crypto/aes_legacy.h"
#include "crypt.h"

static const char *method_name(unsigned method)
{
	return method == QCOW2_CRYPT_AES ? "aes" : "luks";
}

/* ---- opening ------------------------------------------------------------- */

static int check_format(
    const struct qcow2 *q, struct options *sub, struct err *e)
{
	const char *format = options_get(sub, "format");
	const char *ours = method_name(q->h.crypt_method);

	if (format && q->h.crypt_method == QCOW2_CRYPT_NONE)
		return err_usage(e,
		    "No encryption in image header, but options specified "
		    "format '%s'",
		    format);
	if (!format || !strcmp(format, ours))
		return 0;
	return err_usage(e,
	    "Header reported '%s' encryption format but options specify '%s'",
	    ours, format);
}

static int read_header(struct image *img, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);

	if (q->h.crypt_method != QCOW2_CRYPT_LUKS)
		return 0;
	q->luks =
	    luks_open(img->file, q->h.crypt.host, q->h.crypt.len, img->name, e);
	if (!q->luks)
		return -1;
	/* The sectors of version 2 may be longer than clusters. */
	if (q->luks->version != 1)
		return err_unsupported(e,
		    "%s: LUKS version %u is not supported inside qcow2: must "
		    "be 1",
		    img->name, q->luks->version);
	return 0;
}

static struct cipher *unlock(
    const struct qcow2 *q, const char *pass, struct err *e)
{
	if (!q->luks)
		return aes_legacy_cipher(pass, e);
	return luks_unlock(q->luks, pass, e) ? NULL : luks_cipher(q->luks, e);
}

/* Metadata can be looked at, and checked, without a key. */
static bool needs_key(const struct image *img)
{
	return img->open_gate != IMG_GATE_METADATA &&
	       !(img->flags & IMG_O_CHECK);
}

int qcow2_crypt_open(struct image *img, struct options *o, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	CLEANUP(options) struct options *sub = options_sub(o, "encrypt", e);
	const char *id, *pass, *unused;

	if (!sub)
		return -1;
	id = options_get(sub, "key-secret");
	if (check_format(q, sub, e))
		return -1;
	if (q->h.crypt_method == QCOW2_CRYPT_NONE)
		return 0;
	unused = options_unused(sub);
	if (unused)
		return err_usage(e, "Parameter '%s' is unexpected", unused);
	if (read_header(img, e))
		return -1;
	if (!needs_key(img))
		return 0;
	if (!id)
		return err_usage(
		    e, "Parameter 'encrypt.key-secret' is required for cipher");
	pass = luks_secret(sub, "key-secret", e);
	img->cipher = pass ? unlock(q, pass, e) : NULL;
	img->cipher_by_host = q->luks;
	return img->cipher ? 0 : -1;
}

json_t *qcow2_crypt_describe(const struct qcow2 *q)
{
	if (q->luks)
		return luks_describe(q->luks, false, "luks");
	return json_pack("{s:s}", "format", "aes");
}

/* ---- creating ------------------------------------------------------------ */

static int read_method(struct options *o, struct options *sub,
    enum qcow2_crypt *method, struct err *e)
{
	const char *format = options_get(sub, "format");
	bool old = false;

	*method = QCOW2_CRYPT_NONE;
	if (options_bool(o, "encryption", &old, e) < 0)
		return -1;
	if (format && options_has(o, "encryption"))
		return err_usage(e,
		    "'encrypt.format' and its alias 'encryption' can't be used "
		    "at the same time");
	if (old || (format && !strcmp(format, "aes")))
		*method = QCOW2_CRYPT_AES;
	else if (format && !strcmp(format, "luks"))
		*method = QCOW2_CRYPT_LUKS;
	else if (format)
		return err_usage(
		    e, "Parameter 'format' does not accept value '%s'", format);
	else if (!options_empty(sub))
		return err_usage(e, "Parameter 'encrypt.format' is missing");
	return 0;
}

/* There is nothing to choose. */
static int read_aes(struct options *sub, struct err *e)
{
	const char *unused;

	if (!options_get(sub, "key-secret"))
		return err_usage(
		    e, "Parameter 'encrypt.key-secret' is required for cipher");
	if (!luks_secret(sub, "key-secret", e))
		return -1;
	unused = options_unused(sub);
	return unused ? err_usage(
			    e, "Parameter 'encrypt.%s' is unexpected", unused)
		      : 0;
}

int qcow2_crypt_params(
    struct options *o, struct qcow2_crypt_params *p, struct err *e)
{
	CLEANUP(options) struct options *sub = options_sub(o, "encrypt", e);

	*p = (struct qcow2_crypt_params){0};
	if (!sub || read_method(o, sub, &p->method, e))
		return -1;
	switch (p->method) {
	case QCOW2_CRYPT_NONE:
		return 0;
	case QCOW2_CRYPT_AES:
		return read_aes(sub, e);
	case QCOW2_CRYPT_LUKS:
		return luks_params_read(sub, "encrypt.", false, &p->luks, e);
	}
	return 0;
}

uint64_t qcow2_crypt_len(const struct qcow2_crypt_params *p)
{
	return p->method == QCOW2_CRYPT_LUKS ? luks_header_len(&p->luks) : 0;
}

int qcow2_crypt_create(struct hostfile *f, const char *name, uint64_t host,
    uint32_t cluster_len, const struct qcow2_crypt_params *p, struct err *e)
{
	uint64_t len = qcow2_crypt_len(p);

	if (!len)
		return 0;
	if (host_zero(f, host, round_up(len, cluster_len), 0, e))
		return -1;
	return luks_create(f, host, name, &p->luks, len, e);
}

/* ---- key slots ----------------------------------------------------------- */

int qcow2_crypt_amend(struct image *img, struct options *o, struct err *e)
{
	const struct qcow2 *q = qcow2_of(img);
	CLEANUP(options) struct options *sub = options_sub(o, "encrypt", e);

	if (!sub || options_empty(sub))
		return sub ? 0 : -1;
	if (q->h.crypt_method == QCOW2_CRYPT_NONE)
		return err_usage(e, "Can't amend encryption options - "
				    "encryption not present");
	if (!q->luks)
		return err_unsupported(
		    e, "Only LUKS encryption options can be amended");
	return luks_amend(q->luks, sub, img->flags & IMG_O_FORCE, e);
}
