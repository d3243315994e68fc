/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fast deflate with ISA-L: see isal.h.
 *
 * Below its level 3 the library begins a stream without history by hashing
 * what depends on the address of the stream, so that another thread would get
 * other bytes from the same input.  So every stream gets a history of one byte
 * that no match can reach.
 */
#include <errno.h>
#include <isa-l/igzip_lib.h>
#include <stdlib.h>

#include "../core/units.h"
#include "codec.h"
#include "isal.h"

#define WINDOW (1u << DEFLATE_WINDOW_BITS)
#define LEVEL_BUF_LEN                                                          \
	(ISAL_DEF_LVL2_LARGE > ISAL_DEF_LVL3_LARGE ? ISAL_DEF_LVL2_LARGE       \
						   : ISAL_DEF_LVL3_LARGE)

struct isal_packer {
	struct isal_zstream stream;
	uint8_t level_buf[LEVEL_BUF_LEN];
};

struct isal_packer *isal_packer_new(struct err *e)
{
	struct isal_packer *p = calloc(1, sizeof *p);

	if (!p)
		err_nomem(e);
	return p;
}

void isal_packer_free(struct isal_packer *p)
{
	free(p);
}

/*
 * A byte that may stand before the data, since no match can begin with it: it
 * is never found before the first two bytes, within the window.  -1: none.
 */
static int silent_byte(const uint8_t *p, size_t len)
{
	bool seen[256] = {false};

	for (size_t i = 1; i <= WINDOW && i + 1 < len; i++)
		if (p[i] == p[0] && p[i + 1] == p[1])
			seen[p[i - 1]] = true;
	for (int x = 0; x < 256; x++)
		if (!seen[x])
			return x;
	return -1;
}

/* Level 2; level 3, at half the speed, where no byte is silent. */
static int begin(
    struct isal_packer *p, const uint8_t *src, size_t len, struct err *e)
{
	int x = silent_byte(src, len);
	uint8_t history = (uint8_t)x;

	isal_deflate_init(&p->stream);
	p->stream.level = x < 0 ? 3 : 2;
	p->stream.level_buf = p->level_buf;
	p->stream.level_buf_size = sizeof p->level_buf;
	p->stream.hist_bits = DEFLATE_WINDOW_BITS;
	p->stream.end_of_stream = 1;
	if (x < 0 || isal_deflate_set_dict(&p->stream, &history, 1) == COMP_OK)
		return 0;
	return err_set(e, ERR_SYSTEM, EIO, "ISA-L: cannot set a history");
}

ssize_t isal_pack(struct isal_packer *p, void *dst, size_t dst_len,
    const void *src, size_t len, struct err *e)
{
	struct isal_zstream *s = &p->stream;
	int rc;

	if (begin(p, src, len, e))
		return -1;
	s->next_in = (uint8_t *)src;
	s->avail_in = (uint32_t)len;
	s->next_out = dst;
	s->avail_out = (uint32_t)min_u64(dst_len, CODEC_UNIT_MAX * 2);
	rc = isal_deflate(s);
	if (rc != COMP_OK)
		return err_set(
		    e, ERR_SYSTEM, EIO, "ISA-L: deflate: error %d", rc);
	return s->internal_state.state == ZSTATE_END ? s->total_out : 0;
}
