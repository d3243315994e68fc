/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Codecs by number, and the states that unpacking keeps between calls.
 *
 * An unpack takes an idle state or makes one, and puts it back: as many exist
 * as threads have unpacked at once, IDLE_MAX of them at rest.
 */
#include <errno.h>
#include <stdlib.h>

#include "../core/lock.h"
#include "../core/units.h"
#include "codec_impl.h"

#define IDLE_MAX 32

struct codec_ctx {
	const struct codec_impl *impl;
	void *state;
};

struct pool {
	struct mutex lock;
	void *idle[IDLE_MAX]; /* under lock */
	unsigned n;
};

static const struct codec_impl *const impls[] = {
    [CODEC_DEFLATE] = &deflate_codec,
    [CODEC_ZSTD] = &zstd_codec,
    [CODEC_ZLIB] = &zlib_codec,
    [CODEC_BZIP2] = &bzip2_codec,
    [CODEC_XZ] = &xz_codec,
    [CODEC_ADC] = &adc_codec,
    [CODEC_LZFSE] = &lzfse_codec,
};
static struct pool pools[] = {
    [CODEC_DEFLATE] = {.lock = {PTHREAD_MUTEX_INITIALIZER}},
    [CODEC_ZSTD] = {.lock = {PTHREAD_MUTEX_INITIALIZER}},
    [CODEC_ZLIB] = {.lock = {PTHREAD_MUTEX_INITIALIZER}},
    [CODEC_BZIP2] = {.lock = {PTHREAD_MUTEX_INITIALIZER}},
    [CODEC_XZ] = {.lock = {PTHREAD_MUTEX_INITIALIZER}},
    [CODEC_ADC] = {.lock = {PTHREAD_MUTEX_INITIALIZER}},
    [CODEC_LZFSE] = {.lock = {PTHREAD_MUTEX_INITIALIZER}},
};

void *codec_no_state(struct err *e)
{
	static char none;

	(void)e;
	return &none;
}

void codec_no_state_free(void *state)
{
	(void)state;
}

const char *codec_name(enum codec c)
{
	return c < ARRAY_N(impls) && impls[c] ? impls[c]->name : NULL;
}

bool codec_available(enum codec c)
{
	return codec_name(c) && impls[c]->unpack_new;
}

bool codec_can_stream(enum codec c)
{
	return codec_available(c) && impls[c]->stream_new;
}

const struct codec_impl *codec_impl_of(enum codec c)
{
	return impls[c];
}

static const struct codec_impl *find(enum codec c, struct err *e)
{
	const char *name = codec_name(c);

	if (!name)
		err_unsupported(e, "compression type %d is not known", (int)c);
	else if (!impls[c]->unpack_new)
		err_unsupported(e,
		    "compression type %s is not built into this program", name);
	else
		return impls[c];
	return NULL;
}

static const struct codec_impl *find_packer(enum codec c, struct err *e)
{
	const struct codec_impl *impl = find(c, e);

	if (!impl || impl->pack_new)
		return impl;
	err_unsupported(
	    e, "compression type %s can only be unpacked", impl->name);
	return NULL;
}

static int check_len(size_t len, struct err *e)
{
	if (len && len <= CODEC_UNIT_MAX)
		return 0;
	return err_set(e, ERR_DAMAGED, EIO,
	    "compressed unit of %zu bytes, allowed are 1 to %u", len,
	    CODEC_UNIT_MAX);
}

int codec_check_level(enum codec c, uint64_t level, struct err *e)
{
	const struct codec_impl *impl = find_packer(c, e);

	if (!impl)
		return -1;
	if (level && level <= (uint64_t)impl->level_max)
		return 0;
	return err_usage(e, "compression level %llu of %s, allowed are 1 to %d",
	    (unsigned long long)level, impl->name, impl->level_max);
}

struct codec_ctx *codec_ctx_new(enum codec c, int level, struct err *e)
{
	const struct codec_impl *impl = find_packer(c, e);
	struct codec_ctx *x;

	if (!impl || (level && codec_check_level(c, (uint64_t)level, e)))
		return NULL;
	x = calloc(1, sizeof *x);
	if (!x) {
		err_nomem(e);
		return NULL;
	}
	x->impl = impl;
	x->state = impl->pack_new(level, e);
	if (!x->state) {
		free(x);
		return NULL;
	}
	return x;
}

void codec_ctx_free(struct codec_ctx *x)
{
	if (!x)
		return;
	x->impl->pack_free(x->state);
	free(x);
}

ssize_t codec_pack(struct codec_ctx *x, void *dst, size_t dst_len,
    const void *src, size_t len, struct err *e)
{
	if (check_len(len, e) < 0)
		return -1;
	return x->impl->pack(x->state, dst, dst_len, src, len, e);
}

static void *pool_take(struct pool *p)
{
	void *state;

	mutex_lock(&p->lock);
	state = p->n ? p->idle[--p->n] : NULL;
	mutex_unlock(&p->lock);
	return state;
}

static bool pool_put(struct pool *p, void *state)
{
	bool room;

	mutex_lock(&p->lock);
	room = p->n < IDLE_MAX;
	if (room)
		p->idle[p->n++] = state;
	mutex_unlock(&p->lock);
	return room;
}

int codec_unpack(enum codec c, void *dst, size_t len, const void *src,
    size_t stored, struct err *e)
{
	const struct codec_impl *impl = find(c, e);
	void *state;
	int rc;

	if (!impl || check_len(len, e) < 0 || check_len(stored, e) < 0)
		return -1;
	state = pool_take(&pools[c]);
	if (!state)
		state = impl->unpack_new(e);
	if (!state)
		return -1;
	rc = impl->unpack(state, dst, len, src, stored, e);
	if (!pool_put(&pools[c], state))
		impl->unpack_free(state);
	return rc;
}
