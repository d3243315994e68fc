/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Headers of the transmission phase, to and from bytes.  The only file that
 * knows their layout; offsets and lengths are 64 bits on this side of it.
 *
 * Headers are compact, or extended where the client negotiated that.
 */
#ifndef IMGD_WIRE_H
#define IMGD_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WIRE_REQUEST_MAX 32u /* bytes of a request header */
#define WIRE_HEAD_MAX	 44u /* bytes of a reply header and its fixed fields */

struct wire_request {
	bool extended;	      /* the header was, the replies' must be */
	uint16_t flags, type; /* NBD_CMD_FLAG_*, NBD_CMD_* */
	uint64_t cookie;
	uint64_t off, len; /* guest bytes of the export         */
	uint64_t payload;  /* bytes that follow the header; when they say
			      what the length is, `len` is 0    */
};

size_t wire_request_len(bool extended);
/* From that many bytes; false when they are not a request. */
bool wire_request(const uint8_t *p, bool extended, struct wire_request *rq);

/* Each writes the header of a reply to `head` and returns its length. */
size_t wire_simple(
    uint8_t *head, const struct wire_request *rq, uint32_t error);
size_t wire_none(uint8_t *head, const struct wire_request *rq);
/* An error chunk; its message of `message_len` bytes follows. */
size_t wire_error(uint8_t *head, const struct wire_request *rq, uint32_t error,
    uint16_t message_len);
/* A data chunk; its `len` bytes follow. */
size_t wire_data(uint8_t *head, const struct wire_request *rq, bool last,
    uint64_t off, uint32_t len);
size_t wire_hole(uint8_t *head, const struct wire_request *rq, bool last,
    uint64_t off, uint32_t len);
/* A block status chunk; n descriptors follow. */
size_t wire_status(uint8_t *head, const struct wire_request *rq, bool last,
    uint32_t context, uint32_t n);
size_t wire_descriptor_len(bool extended);
/* One descriptor; returns its length. */
size_t wire_descriptor(
    uint8_t *p, bool extended, uint64_t len, uint64_t status);

#endif
