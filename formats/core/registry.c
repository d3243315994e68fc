/* SPDX-License-Identifier: BSD-3-Clause */
/* The formats: see registry.h.  A new one is one line in the list. */
#include <string.h>

#include "registry.h"

#define PROBE_LEN 4096u

static const struct driver *const registry[] = {
    &qcow2_driver,
    &raw_driver,
};

const struct driver *registry_at(unsigned i)
{
	return i < ARRAY_N(registry) ? registry[i] : NULL;
}

const struct driver *registry_find(const char *name)
{
	for (unsigned i = 0; i < ARRAY_N(registry); i++)
		if (!strcmp(registry[i]->info.name, name))
			return registry[i];
	return NULL;
}

const struct driver *registry_guess(
    const uint8_t *buf, size_t len, const char *name)
{
	const struct driver *best = NULL;
	int best_score = 0;

	for (unsigned i = 0; i < ARRAY_N(registry); i++) {
		int score = registry[i]->probe(buf, len, name);

		if (score > best_score) {
			best_score = score;
			best = registry[i];
		}
	}
	return best;
}

const struct driver *registry_probe(struct hostfile *f, struct err *e)
{
	uint8_t buf[PROBE_LEN];
	size_t len = min_u64(sizeof buf, host_size(f));

	if (len && host_pread(f, buf, len, 0, e))
		return NULL;
	return registry_guess(buf, len, f->name);
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
