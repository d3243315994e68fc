/* SPDX-License-Identifier: BSD-3-Clause */
/* The formats: see registry.h.  A new one is one line in the list. */
#include <string.h>

#include "registry.h"

static const struct driver *const registry[] = {
    &bochs_driver,
    &cloop_driver,
    &dmg_driver,
    &luks_driver,
    &parallels_driver,
    &qcow_driver,
    &qcow2_driver,
    &qed_driver,
    &raw_driver,
    &vdi_driver,
    &vhdx_driver,
    &vmdk_driver,
    &vpc_driver,
};

/* They are known by name alone. */
static const struct driver *const storage[] = {
    &file_driver, &host_device_driver, &nbd_driver};

const struct driver *registry_at(unsigned i)
{
	return i < ARRAY_N(registry) ? registry[i] : NULL;
}

const struct driver *registry_find(const char *name)
{
	/* What most people call it. */
	if (!strcmp(name, "vhd"))
		return &vpc_driver;
	for (unsigned i = 0; i < ARRAY_N(registry); i++)
		if (!strcmp(registry[i]->info.name, name))
			return registry[i];
	for (unsigned i = 0; i < ARRAY_N(storage); i++)
		if (!strcmp(storage[i]->info.name, name))
			return storage[i];
	return NULL;
}

const struct driver *registry_guess(
    const struct probe_in *p, const struct driver **other)
{
	const struct driver *found = NULL;

	*other = NULL;
	for (unsigned i = 0; i < ARRAY_N(registry); i++) {
		if (!registry[i]->probe || !registry[i]->probe(p))
			continue;
		if (found)
			*other = registry[i];
		else
			found = registry[i];
	}
	return found ? found : &raw_driver;
}

const struct driver *registry_probe(struct hostfile *f, struct err *e)
{
	uint8_t head[PROBE_HEAD_LEN], tail[PROBE_TAIL_LEN];
	struct probe_in p = {.head = head,
	    .tail = tail,
	    .file_len = host_size(f),
	    .name = f->name};
	const struct driver *found, *other;

	p.head_len = min_u64(sizeof head, p.file_len);
	p.tail_len = min_u64(sizeof tail, p.file_len);
	if (host_pread(f, head, p.head_len, 0, e) ||
	    host_pread(f, tail, p.tail_len, p.file_len - p.tail_len, e))
		return NULL;
	found = registry_guess(&p, &other);
	if (!other)
		return found;
	err_usage(e, "%s: could be a %s image or a %s image", f->name,
	    found->info.name, other->info.name);
	err_hint(e, "Give the format of the image.");
	return NULL;
}

const struct img_format *img_format_find(const char *name)
{
	const struct driver *d = registry_find(name);

	return d ? &d->info : NULL;
}

const struct img_format *img_format_at(unsigned i)
{
	const struct driver *d = registry_at(i);

	return d ? &d->info : NULL;
}
