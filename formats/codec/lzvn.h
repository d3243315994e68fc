/* SPDX-License-Identifier: BSD-3-Clause */
/* LZVN streams, as LZFSE has them. */
#ifndef IMGD_LZVN_H
#define IMGD_LZVN_H

#include "lz.h"

/* Unpack up to the code that ends the stream.  False: the stream is bad. */
bool lzvn_unpack(struct lz_out *o, struct lz_in *in);

#endif
