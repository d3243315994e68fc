/* SPDX-License-Identifier: BSD-3-Clause */
/* What --help and --version print. */
#ifndef IMGD_USAGE_H
#define IMGD_USAGE_H

void usage_print_help(void);
void usage_print_version(void);

#endif
