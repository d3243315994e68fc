/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How much random testing a run does: less under a sanitizer, which is many
 * times slower and finds what it looks for in fewer steps.
 */
#ifndef TEST_EFFORT_H
#define TEST_EFFORT_H

#ifndef __has_feature
#define __has_feature(x) 0
#endif

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) ||           \
    __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define EFFORT(usual, sanitized) (sanitized)
#else
#define EFFORT(usual, sanitized) (usual)
#endif

#endif
