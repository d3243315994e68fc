/* SPDX-License-Identifier: BSD-3-Clause */
/* --list: print what a server exports. */
#ifndef IMGD_LIST_H
#define IMGD_LIST_H

#include "args.h"

/* The exit code. */
int list_run(const struct args *a);

#endif
