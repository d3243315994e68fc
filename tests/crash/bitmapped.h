/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A disk with dirty bitmaps that is written and whose bitmaps are changed,
 * beside what they have to cover; for the crash and fault tests of bitmaps.
 * What fails here fails the test.
 */
#ifndef TEST_BITMAPPED_H
#define TEST_BITMAPPED_H

#include "crash.h"
#include "formats/image.h"
#include "rng.h"

#define BITMAPPED_START (1200 * KiB) /* guest bytes, at first */
/* And at most: more than a cluster of bits, where clusters are small. */
#define BITMAPPED_END (2300 * KiB)
#define BITMAPPED_N   3u

struct bitmapped_scene {
	const char *options;
	uint64_t granularity;
};

enum bitmap_presence { BITMAP_ABSENT = 0, BITMAP_PRESENT, BITMAP_EITHER };

struct bitmapped {
	const struct bitmapped_scene *scene;
	struct crashfile *crash; /* or NULL */
	struct hostfile *file;
	struct image *img;
	struct rng rng;
	enum bitmap_presence presence[BITMAPPED_N];
	uint8_t *base[BITMAPPED_N]; /* the disk then; zeroes behind its end */
	bool gap[BITMAPPED_N]; /* it was disabled since: it may miss writes */
	bool may_void;	       /* there were writes since all was stored */
	bool must;	       /* no call may fail */
	uint64_t size[2];      /* that the disk may have */
	unsigned image_n, void_n, clean_n;
};

/* Of an image of BITMAPPED_START bytes that the caller makes in w->file. */
void bitmapped_init(
    struct bitmapped *w, const struct bitmapped_scene *scene, uint64_t seed);
void bitmapped_clear(struct bitmapped *w);
/* Open, some steps, close. */
void bitmapped_session(struct bitmapped *w, unsigned step_n);
/* An image that was left, closed or not. */
void bitmapped_judge(struct bitmapped *w, struct hostfile *f);
/* It can be written; what is inconsistent stays so until it is removed. */
void bitmapped_go_on(struct hostfile *f);

#endif
