/* SPDX-License-Identifier: BSD-3-Clause */
/* What a client and the server agreed on; constant after the handshake. */
#ifndef IMGD_SESSION_H
#define IMGD_SESSION_H

#include <stdbool.h>

struct export;

struct session {
	const struct export *export;
	bool structured;   /* structured replies                       */
	unsigned contexts; /* bit i: status_context(i) was selected    */
};

#endif
