/* SPDX-License-Identifier: BSD-3-Clause */
/* bzip2 streams, with libbz2; unpacked only. */
#include <bzlib.h>
#include <errno.h>

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

const struct codec_impl bzip2_codec = {
    .name = "bzip2",
    .unpack_new = codec_no_state,
    .unpack_free = codec_no_state_free,
    .unpack = bzip2_unpack,
};
