/* SPDX-License-Identifier: BSD-3-Clause */
/* What a client and the server agreed on; constant after the handshake. */
#ifndef IMGD_SESSION_H
#define IMGD_SESSION_H

#include <stdbool.h>
#include <stdint.h>

struct export;

struct session {
	const struct export *export;
	bool structured;   /* replies are chunks                      */
	bool extended;	   /* extended headers; structured too        */
	uint64_t contexts; /* bit i: context i was selected           */
};

#endif
