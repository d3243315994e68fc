/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a service manager wants to know (sd_notify(3)).  Nothing happens where
 * none asks; that it cannot be told is no error.
 */
#ifndef IMGD_NOTIFY_H
#define IMGD_NOTIFY_H

void notify_ready(void); /* clients can connect */
void notify_stopping(void);

#endif
