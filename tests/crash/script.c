/* SPDX-License-Identifier: BSD-3-Clause */
/* Random operations on whole sectors: see script.h. */
#include <errno.h>
#include <stdlib.h>

#include "formats/codec/codec.h"
#include "formats/core/units.h"
#include "formats/driver.h"
#include "script.h"

/* Sectors. */
struct span {
	uint64_t first, n;
};

static uint64_t zone_n(const struct script *s)
{
	return s->n ? s->n : s->ledger->sector_n;
}

static struct span pick(struct script *s)
{
	uint64_t all = zone_n(s);
	uint64_t unit = max_u64(img_cluster_size(s->img) / LEDGER_SECTOR, 1);
	struct span p = {rng_below(s->rng, all), 1};

	switch (rng_below(s->rng, 4)) {
	case 0:
		p.n += rng_below(s->rng, 8);
		break;
	case 1:
		p.n += rng_below(s->rng, 2 * unit);
		break;
	case 2:
		p.first = round_down(p.first, unit);
		p.n = unit * (1 + rng_below(s->rng, 4));
		break;
	default:
		p.n += rng_below(s->rng, all / 4);
		break;
	}
	p.n = min_u64(p.n, all - p.first);
	p.first += s->first;
	return p;
}

static uint8_t *stamps(struct script *s, struct span p, struct err *e)
{
	uint64_t value = s->version += s->stride;
	uint8_t *buf = malloc(p.n * LEDGER_SECTOR);

	if (!buf) {
		err_nomem(e);
		return NULL;
	}
	for (uint64_t i = 0; i < p.n; i++)
		ledger_fill(
		    s->ledger, buf + i * LEDGER_SECTOR, p.first + i, value);
	return buf;
}

static int do_write(struct script *s, struct span p, struct err *e)
{
	unsigned flags = rng_below(s->rng, 12) ? 0 : IMG_FUA;
	CLEANUP_FREE uint8_t *buf = stamps(s, p, e);

	if (!buf)
		return -1;
	ledger_put(s->ledger, p.first, p.n, s->version);
	if (img_pwrite(s->img, buf, p.n * LEDGER_SECTOR,
		p.first * LEDGER_SECTOR, flags, e))
		return -1;
	if (flags)
		ledger_flush_range(s->ledger, p.first, p.n);
	return 0;
}

static int do_packed(struct script *s, struct span p, struct err *e)
{
	uint32_t unit = img_cluster_size(s->img);
	CLEANUP_FREE uint8_t *packed = malloc(unit), *buf = NULL;
	struct codec_ctx *codec = codec_ctx_new(s->img->codec, 0, e);
	ssize_t len = -1;

	p.first = round_down(p.first, unit / LEDGER_SECTOR);
	p.n = unit / LEDGER_SECTOR;
	if (p.first >= s->first && p.first + p.n <= s->first + zone_n(s)) {
		buf = stamps(s, p, e);
		if (buf && packed && codec)
			len = codec_pack(codec, packed, unit - 1, buf, unit, e);
	} else {
		len = 0;
	}
	codec_ctx_free(codec);
	if (len <= 0)
		return (int)len;
	ledger_put(s->ledger, p.first, p.n, s->version);
	return img_write_packed(
	    s->img, packed, len, p.first * LEDGER_SECTOR, e);
}

static int do_zero(struct script *s, struct span p, struct err *e)
{
	unsigned flags = rng_below(s->rng, 2) ? IMG_MAY_TRIM : 0;

	ledger_put(s->ledger, p.first, p.n, LEDGER_ZERO);
	return img_zero(
	    s->img, p.n * LEDGER_SECTOR, p.first * LEDGER_SECTOR, flags, e);
}

static int wrong(uint64_t bad, struct err *e)
{
	return err_set(e, ERR_DAMAGED, EILSEQ, "sector %llu is wrong",
	    (unsigned long long)bad);
}

/* What is there afterwards is what counts. */
static int do_trim(struct script *s, struct span p, struct err *e)
{
	uint64_t len = p.n * LEDGER_SECTOR, off = p.first * LEDGER_SECTOR, bad;
	CLEANUP_FREE uint8_t *buf = malloc(len);

	ledger_trim(s->ledger, p.first, p.n);
	if (!buf)
		return err_nomem(e);
	if (img_trim(s->img, len, off, 0, e) ||
	    img_pread(s->img, buf, len, off, e))
		return -1;
	return ledger_settle(s->ledger, buf, p.first, p.n, &bad)
		   ? 0
		   : wrong(bad, e);
}

int script_flush(struct script *s, struct err *e)
{
	if (img_flush(s->img, e))
		return -1;
	ledger_flush_range(s->ledger, s->first, zone_n(s));
	return 0;
}

int script_step(struct script *s, struct err *e)
{
	struct span p = pick(s);
	uint64_t dice = rng_below(s->rng, 20);

	/* Some flushes have much to do, some one thing alone. */
	if (++s->step / 16 % 2 && s->step % 2)
		return script_flush(s, e);
	if (dice < 9)
		return do_write(s, p, e);
	if (dice < 11 && s->img->codec && !s->no_packed)
		return do_packed(s, p, e);
	if (dice < 14)
		return do_zero(s, p, e);
	if (dice < 17)
		return do_trim(s, p, e);
	return script_flush(s, e);
}

uint8_t *script_read(struct image *img, struct err *e)
{
	uint64_t size = img_size(img);
	uint8_t *buf = malloc(size);

	if (!buf) {
		err_nomem(e);
		return NULL;
	}
	if (!img_pread(img, buf, size, 0, e))
		return buf;
	free(buf);
	return NULL;
}

int script_verify(struct script *s, struct err *e)
{
	uint64_t n = zone_n(s), bad;
	CLEANUP_FREE uint8_t *buf = malloc(n * LEDGER_SECTOR);

	if (!buf)
		return err_nomem(e);
	if (img_pread(
		s->img, buf, n * LEDGER_SECTOR, s->first * LEDGER_SECTOR, e))
		return -1;
	return ledger_current(s->ledger, buf, s->first, n, &bad)
		   ? 0
		   : wrong(bad, e);
}

int script_go_on(struct script *s, unsigned n, struct err *e)
{
	CLEANUP_FREE uint8_t *buf = script_read(s->img, e);
	uint64_t bad;

	if (!buf)
		return -1;
	if (!ledger_settle(s->ledger, buf, 0, s->ledger->sector_n, &bad))
		return wrong(bad, e);
	for (unsigned i = 0; i < n; i++)
		if (script_step(s, e))
			return -1;
	return script_verify(s, e);
}
