/* SPDX-License-Identifier: BSD-3-Clause */
/* What is served: see export.h. */
#include <string.h>

#include "image.h"

#include "authz.h"
#include "export.h"
#include "folder.h"
#include "nbd.h"
#include "session.h"

bool export_visible(const struct export *x, const char *identity)
{
	return !x->authz || authz_allows(x->authz, identity);
}

const struct export *exports_fixed(
    const struct exports *x, const void *name, size_t len)
{
	for (size_t i = 0; i < x->n; i++)
		if (strlen(x->item[i].name) == len &&
		    !memcmp(x->item[i].name, name, len))
			return &x->item[i];
	return NULL;
}

/* One that is hidden from this client hides the file of its name, too. */
const struct export *export_find(
    const struct exports *x, const char *identity, const void *name, size_t len)
{
	const struct export *fixed = exports_fixed(x, name, len);

	if (fixed)
		return export_visible(fixed, identity) ? fixed : NULL;
	return x->folder ? folder_get(x->folder, name, len) : NULL;
}

void export_release(const struct export *x)
{
	if (x && x->folder)
		folder_put(x->folder, x);
}

void exports_each(const struct exports *x,
    void (*fn)(const struct export *x, void *data), void *data)
{
	for (size_t i = 0; i < x->n; i++)
		fn(&x->item[i], data);
	if (x->folder)
		folder_each(x->folder, fn, data);
}

bool export_writable(const struct export *x)
{
	return img_writable(x->img);
}

/* All connections share one image handle, so a flush covers all of them. */
uint16_t export_flags(const struct export *x, const struct session *s)
{
	unsigned f = NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH |
		     NBD_FLAG_SEND_FUA | NBD_FLAG_SEND_CACHE;

	if (export_writable(x))
		f |= NBD_FLAG_SEND_TRIM | NBD_FLAG_SEND_WRITE_ZEROES |
		     NBD_FLAG_SEND_FAST_ZERO;
	else
		f |= NBD_FLAG_READ_ONLY;
	if (s->structured)
		f |= NBD_FLAG_SEND_DF;
	if (s->extended && s->contexts)
		f |= NBD_FLAG_BLOCK_STATUS_PAYLOAD;
	if (x->multi_conn)
		f |= NBD_FLAG_CAN_MULTI_CONN;
	return (uint16_t)f;
}
