/* SPDX-License-Identifier: BSD-3-Clause */
/* Two disks side by side: see sides.h. */
#include "sides.h"

#include "map.h"
#include "request.h"
#include "samefile.h"

/* Bytes of block status asked for at once, or a part of a huge disk. */
#define MAP_LEN GiB
#define MAPS_N	65536u

void sides_init(struct sides *s, struct image *a, struct image *b)
{
	*s = (struct sides){0};
	s->side[0].img = a;
	s->side[1].img = b;
	for (unsigned i = 0; i < 2; i++)
		if (s->side[i].img)
			s->side[i].size = img_size(s->side[i].img);
}

int sides_look(struct sides *s, unsigned i, struct err *e)
{
	struct side *side = &s->side[i];

	if (side->x.len)
		return 0;
	if (s->pos < side->size)
		return img_map(side->img, s->pos,
		    min_u64(side->size - s->pos,
			round_down(side->size / MAPS_N, MAP_LEN) + MAP_LEN),
		    &side->x, e);
	side->x = (struct img_extent){.len = UINT64_MAX - s->pos, .zero = true};
	return 0;
}

static bool same_place(const struct extent *a, const struct extent *b)
{
	if (a->kind != b->kind || a->host != b->host ||
	    ((a->flags ^ b->flags) & EXT_F_CRYPT) ||
	    !same_file(a->file, b->file))
		return false;
	if (a->kind == EXT_DATA)
		return !(a->flags & EXT_F_CRYPT);
	return a->kind == EXT_PACKED && a->packed.unit == b->packed.unit &&
	       a->packed.unit_len == b->packed.unit_len &&
	       a->packed.codec == b->packed.codec;
}

/* Bytes from pos on that are the same host bytes in both; 0: none. */
static uint64_t shared_len(struct sides *s, uint64_t len)
{
	struct err ignored = ERR_INIT;
	struct chain_extent x[2];
	bool known = true;

	for (unsigned i = 0; i < 2 && known; i++) {
		struct image *img = s->side[i].img;
		unsigned pin = request_enter(img);

		known = !chain_map(img, s->pos, len, &x[i], &ignored);
		request_leave(img, pin);
	}
	if (!known || !same_place(&x[0].x, &x[1].x))
		return 0;
	return min_u64(x[0].x.len, x[1].x.len);
}

bool sides_equal(struct sides *s, uint64_t max, uint64_t *len)
{
	const struct img_extent *a = &s->side[0].x, *b = &s->side[1].x;
	uint64_t n;

	*len = min_u64(min_u64(a->len, b->len), max);
	if (a->zero && b->zero)
		return true;
	if (!a->data || !b->data)
		return false;
	n = shared_len(s, *len);
	if (n)
		*len = n;
	return n;
}

void sides_move(struct sides *s, uint64_t len)
{
	s->pos += len;
	for (unsigned i = 0; i < 2; i++)
		s->side[i].x.len -= min_u64(len, s->side[i].x.len);
}
