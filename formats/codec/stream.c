/* SPDX-License-Identifier: BSD-3-Clause */
/* Unpacking piece by piece: see codec.h. */
#include <errno.h>
#include <stdlib.h>

#include "../core/units.h"
#include "codec_impl.h"

#define IN_LEN (256 * KiB)

struct codec_stream {
	const struct codec_impl *impl;
	void *state;
	struct codec_source src;
	uint64_t off;  /* of src: what was taken */
	uint64_t left; /* unpacked bytes to come */
	bool ended;    /* the stream says so */
	struct codec_io io;
	uint8_t in[IN_LEN];
};

static void begin(
    struct codec_stream *s, uint64_t len, const struct codec_source *src)
{
	s->src = *src;
	s->off = 0;
	s->left = len;
	s->ended = false;
	s->io = (struct codec_io){0};
}

struct codec_stream *codec_stream_new(
    enum codec c, uint64_t len, const struct codec_source *src, struct err *e)
{
	struct codec_stream *s = malloc(sizeof *s);

	if (!s) {
		err_nomem(e);
		return NULL;
	}
	begin(s, len, src);
	s->impl = codec_impl_of(c);
	s->state = s->impl->stream_new(e);
	if (s->state)
		return s;
	free(s);
	return NULL;
}

int codec_stream_again(struct codec_stream *s, uint64_t len,
    const struct codec_source *src, struct err *e)
{
	begin(s, len, src);
	return s->impl->stream_again(s->state, e);
}

void codec_stream_free(struct codec_stream *s)
{
	if (!s)
		return;
	s->impl->stream_free(s->state);
	free(s);
}

static int bad(const struct codec_stream *s, const char *why, struct err *e)
{
	return err_set(e, ERR_DAMAGED, EIO,
	    "%s: %llu stored bytes, %llu bytes before the end of the unit: %s",
	    s->impl->name, (unsigned long long)s->src.len,
	    (unsigned long long)(s->left + s->io.out_len), why);
}

/* One step.  1: something came of it, 0: nothing did. */
static int step(struct codec_stream *s, struct err *e)
{
	size_t in_len, out_len = s->io.out_len;
	const char *why = NULL;
	int rc;

	if (!s->io.in_len && s->off < s->src.len) {
		size_t n = min_u64(sizeof s->in, s->src.len - s->off);

		if (s->src.read(s->src.arg, s->in, n, s->off, e))
			return -1;
		s->io.in = s->in;
		s->io.in_len = n;
		s->off += n;
	}
	in_len = s->io.in_len;
	s->io.last = s->off == s->src.len;
	rc = s->impl->stream_step(s->state, &s->io, &why);
	if (rc < 0)
		return why ? bad(s, why, e) : err_nomem(e);
	s->ended = rc;
	return rc || s->io.in_len != in_len || s->io.out_len != out_len;
}

/* The whole unit is there: is what follows it right?  Checksums are. */
static int finish(struct codec_stream *s, struct err *e)
{
	int rc = 1;

	while (rc == 1 && !s->ended)
		rc = step(s, e);
	if (rc < 0)
		return -1;
	if (!s->ended && s->impl->ends_with_unit)
		return bad(s, "stream is cut, or goes on", e);
	return 0;
}

int codec_stream_read(
    struct codec_stream *s, void *buf, size_t len, struct err *e)
{
	s->io.out = buf;
	s->io.out_len = len;
	s->left -= len;
	while (s->io.out_len) {
		int rc = s->ended ? 0 : step(s, e);

		if (rc < 0)
			return -1;
		if (!rc)
			return bad(s,
			    s->ended ? "stream ends early" : "stream is cut",
			    e);
	}
	return s->left ? 0 : finish(s, e);
}
