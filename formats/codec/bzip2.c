/* SPDX-License-Identifier: BSD-3-Clause */
/* bzip2 streams, with libbz2; unpacked only. */
#include <bzlib.h>
#include <errno.h>
#include <stdlib.h>

#include "codec_impl.h"

static const char *reason(int rc)
{
	switch (rc) {
	case BZ_DATA_ERROR_MAGIC:
		return "not a bzip2 stream";
	case BZ_DATA_ERROR:
		return "a checksum or the stream is wrong";
	case BZ_UNEXPECTED_EOF:
		return "stream is cut";
	case BZ_OUTBUFF_FULL:
		return "stream goes on";
	case BZ_OK:
		return "stream ends early";
	default:
		return "internal error";
	}
}

static int bzip2_unpack(void *state, void *dst, size_t len, const void *src,
    size_t stored, struct err *e)
{
	unsigned got = (unsigned)len;
	int rc = BZ2_bzBuffToBuffDecompress(
	    dst, &got, (char *)src, (unsigned)stored, 0, 0);

	(void)state;
	if (rc == BZ_OK && got == len)
		return 0;
	if (rc == BZ_MEM_ERROR)
		return err_nomem(e);
	return err_set(e, ERR_DAMAGED, EIO,
	    "bzip2: %zu stored bytes do not unpack to %zu bytes: %s", stored,
	    len, reason(rc));
}

/* ---- piece by piece ---------------------------------------------------- */

static void *stream_new(struct err *e)
{
	bz_stream *s = calloc(1, sizeof *s);

	if (s && BZ2_bzDecompressInit(s, 0, 0) == BZ_OK)
		return s;
	free(s);
	err_nomem(e);
	return NULL;
}

static int stream_again(void *state, struct err *e)
{
	bz_stream *s = state;

	BZ2_bzDecompressEnd(s);
	*s = (bz_stream){0};
	return BZ2_bzDecompressInit(s, 0, 0) == BZ_OK ? 0 : err_nomem(e);
}

static void stream_free(void *state)
{
	BZ2_bzDecompressEnd(state);
	free(state);
}

static int stream_step(void *state, struct codec_io *io, const char **why)
{
	bz_stream *s = state;
	int rc;

	s->next_in = (char *)io->in;
	s->avail_in = (unsigned)io->in_len;
	s->next_out = (char *)io->out;
	s->avail_out = (unsigned)io->out_len;
	rc = BZ2_bzDecompress(s);
	io->in = (const uint8_t *)s->next_in;
	io->in_len = s->avail_in;
	io->out = (uint8_t *)s->next_out;
	io->out_len = s->avail_out;
	if (rc == BZ_OK || rc == BZ_STREAM_END)
		return rc == BZ_STREAM_END;
	*why = rc == BZ_MEM_ERROR ? NULL : reason(rc);
	return -1;
}

const struct codec_impl bzip2_codec = {
    .name = "bzip2",
    .unpack_new = codec_no_state,
    .unpack_free = codec_no_state_free,
    .unpack = bzip2_unpack,
    .stream_new = stream_new,
    .stream_again = stream_again,
    .stream_free = stream_free,
    .stream_step = stream_step,
    .ends_with_unit = true,
};
