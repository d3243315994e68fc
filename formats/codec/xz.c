/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * xz streams (LZMA2 in the xz container), with liblzma; unpacked only.
 *
 * The memory that a stream asks for is bounded; the library takes up to that
 * before it has seen any data, and keeps it with the state.
 */
#include <errno.h>
#include <lzma.h>
#include <stdlib.h>

#include "../core/units.h"
#include "codec_impl.h"

#define MEMORY_MAX (80 * MiB) /* the highest preset wants 65 */

static void *xz_unpack_new(struct err *e)
{
	lzma_stream *s = calloc(1, sizeof *s);

	if (!s) {
		err_nomem(e);
		return NULL;
	}
	*s = (lzma_stream)LZMA_STREAM_INIT;
	return s;
}

static void xz_unpack_free(void *state)
{
	lzma_end(state);
	free(state);
}

static const char *reason(lzma_ret rc)
{
	switch ((int)rc) {
	case LZMA_OK:
	case LZMA_BUF_ERROR:
		return "stream is cut, or goes on";
	case LZMA_STREAM_END:
		return "stream ends early";
	case LZMA_FORMAT_ERROR:
		return "not an xz stream";
	case LZMA_OPTIONS_ERROR:
		return "a filter that is not known";
	case LZMA_MEMLIMIT_ERROR:
		return "it asks for too much memory";
	case LZMA_DATA_ERROR:
		return "a checksum or the stream is wrong";
	default:
		return "internal error";
	}
}

static int xz_unpack(void *state, void *dst, size_t len, const void *src,
    size_t stored, struct err *e)
{
	lzma_stream *s = state;
	lzma_ret rc = lzma_stream_decoder(s, MEMORY_MAX, 0);

	if (rc == LZMA_OK) {
		s->next_in = src;
		s->avail_in = stored;
		s->next_out = dst;
		s->avail_out = len;
		rc = lzma_code(s, LZMA_FINISH);
	}
	if (rc == LZMA_STREAM_END && !s->avail_out)
		return 0;
	if (rc == LZMA_MEM_ERROR)
		return err_nomem(e);
	return err_set(e, ERR_DAMAGED, EIO,
	    "xz: %zu stored bytes do not unpack to %zu bytes: %s", stored, len,
	    reason(rc));
}

/* ---- piece by piece ---------------------------------------------------- */

static int stream_again(void *state, struct err *e)
{
	return lzma_stream_decoder(state, MEMORY_MAX, 0) == LZMA_OK
		   ? 0
		   : err_nomem(e);
}

static void *stream_new(struct err *e)
{
	lzma_stream *s = xz_unpack_new(e);

	if (!s || !stream_again(s, e))
		return s;
	xz_unpack_free(s);
	return NULL;
}

static int stream_step(void *state, struct codec_io *io, const char **why)
{
	lzma_stream *s = state;
	lzma_ret rc;

	s->next_in = io->in;
	s->avail_in = io->in_len;
	s->next_out = io->out;
	s->avail_out = io->out_len;
	rc = lzma_code(s, io->last ? LZMA_FINISH : LZMA_RUN);
	io->in = s->next_in;
	io->in_len = s->avail_in;
	io->out = s->next_out;
	io->out_len = s->avail_out;
	if (rc == LZMA_OK || rc == LZMA_BUF_ERROR || rc == LZMA_STREAM_END)
		return rc == LZMA_STREAM_END;
	*why = rc == LZMA_MEM_ERROR ? NULL : reason(rc);
	return -1;
}

const struct codec_impl xz_codec = {
    .name = "xz",
    .unpack_new = xz_unpack_new,
    .unpack_free = xz_unpack_free,
    .unpack = xz_unpack,
    .stream_new = stream_new,
    .stream_again = stream_again,
    .stream_free = xz_unpack_free,
    .stream_step = stream_step,
    .ends_with_unit = true,
};
