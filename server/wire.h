/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Headers of the transmission phase, to and from bytes.  The only file that
 * knows their layout; offsets and lengths are 64 bits on this side of it.
 */
#ifndef IMGD_WIRE_H
#define IMGD_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WIRE_REQUEST_LEN 28u
#define WIRE_HEAD_MAX	 32u /* bytes of a reply header and its fixed fields */

struct wire_request {
	uint16_t flags, type; /* NBD_CMD_FLAG_*, NBD_CMD_* */
	uint64_t cookie;
	uint64_t off, len; /* guest bytes of the export */
};

/* From WIRE_REQUEST_LEN bytes; false when they are not a request. */
bool wire_request(const uint8_t *p, struct wire_request *rq);

/* Each writes a header to `head` and returns its length. */
size_t wire_simple(uint8_t *head, uint64_t cookie, uint32_t error);
size_t wire_none(uint8_t *head, uint64_t cookie);
/* An error chunk; its message of `message_len` bytes follows. */
size_t wire_error(
    uint8_t *head, uint64_t cookie, uint32_t error, uint16_t message_len);
/* A data chunk; its `len` bytes follow. */
size_t wire_data(
    uint8_t *head, uint64_t cookie, bool last, uint64_t off, uint32_t len);
size_t wire_hole(
    uint8_t *head, uint64_t cookie, bool last, uint64_t off, uint32_t len);
/* A block status chunk; `len` bytes of descriptors follow. */
size_t wire_status(
    uint8_t *head, uint64_t cookie, bool last, uint32_t context, uint32_t len);
/* One descriptor; returns its length. */
size_t wire_descriptor(uint8_t *p, uint64_t len, uint32_t flags);

#define WIRE_DESCRIPTOR_LEN 8u

#endif
