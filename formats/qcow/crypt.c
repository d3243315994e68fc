/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Encrypted QCOW images: clusters that are stored as they are go through AES;
 * tables and compressed clusters do not.
 */
#include "../crypto/aes_legacy.h"
#include "../crypto/luks.h"
#include "qcow.h"

#define NEED_KEY "Parameter 'encrypt.key-secret' is required for cipher"

/* Metadata can be looked at, and checked, without a key. */
static bool needs_key(const struct image *img)
{
	return img->open_gate != IMG_GATE_METADATA &&
	       !(img->flags & IMG_O_CHECK);
}

int qcow_crypt_open(struct image *img, struct options *o, struct err *e)
{
	CLEANUP(options) struct options *sub = options_sub(o, "encrypt", e);
	const char *format, *pass;

	if (!sub || !qcow_of(img)->h.crypt)
		return sub ? 0 : -1;
	format = options_get(sub, "format");
	if (format && strcmp(format, "aes"))
		return err_usage(e,
		    "Header reported 'aes' encryption format but options "
		    "specify '%s'",
		    format);
	if (!options_get(sub, "key-secret"))
		return needs_key(img) ? err_usage(e, NEED_KEY) : 0;
	pass = luks_secret(sub, "key-secret", e);
	img->cipher = pass ? aes_legacy_cipher(pass, e) : NULL;
	return img->cipher ? 0 : -1;
}

int qcow_crypt_params(struct options *o, uint32_t *method, struct err *e)
{
	CLEANUP(options) struct options *sub = options_sub(o, "encrypt", e);
	const char *format, *unused;
	bool old = false;

	if (!sub || options_bool(o, "encryption", &old, e) < 0)
		return -1;
	format = options_get(sub, "format");
	if (format && options_has(o, "encryption"))
		return err_usage(e,
		    "'encrypt.format' and its alias 'encryption' can't be used "
		    "at the same time");
	*method = old || format;
	if (!*method)
		return options_empty(sub)
			   ? 0
			   : err_usage(e, "Parameter 'encrypt.format' is "
					  "missing");
	if (format && strcmp(format, "aes"))
		return err_usage(e, "Unsupported encryption format");
	if (!options_get(sub, "key-secret"))
		return err_usage(e, NEED_KEY);
	unused = options_unused(sub);
	if (unused)
		return err_usage(
		    e, "Parameter 'encrypt.%s' is unexpected", unused);
	return luks_secret(sub, "key-secret", e) ? 0 : -1;
}
