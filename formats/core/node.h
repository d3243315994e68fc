/* SPDX-License-Identifier: BSD-3-Clause */
/* Options that every image and every kind of storage takes when opened. */
#ifndef IMGD_NODE_H
#define IMGD_NODE_H

#include "options.h"

enum node_detect {
	DETECT_OFF = 0,
	DETECT_ON,    /* a write of nothing but zeroes makes zeroes        */
	DETECT_UNMAP, /* ... and gives space back                          */
};

struct node_options {
	bool discard_given, discard; /* trims are passed on, or are not */
	bool force_share;	     /* also while others write it */
	enum node_detect detect_zeroes;
};

/* All of them are asked for; *out is what those say that are there. */
int node_options_read(
    struct options *o, struct node_options *out, struct err *e);

#endif
