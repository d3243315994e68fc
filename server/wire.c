/* SPDX-License-Identifier: BSD-3-Clause */
/* Headers of the transmission phase: see wire.h. */
#include "core/units.h"

#include "nbd.h"
#include "wire.h"

#define CHUNK_LEN 20u /* header of a structured reply chunk */

bool wire_request(const uint8_t *p, struct wire_request *rq)
{
	rq->flags = be16(p + 4);
	rq->type = be16(p + 6);
	rq->cookie = be64(p + 8);
	rq->off = be64(p + 16);
	rq->len = be32(p + 24);
	return be32(p) == NBD_REQUEST_MAGIC;
}

size_t wire_simple(uint8_t *head, uint64_t cookie, uint32_t error)
{
	put_be32(head, NBD_SIMPLE_REPLY_MAGIC);
	put_be32(head + 4, error);
	put_be64(head + 8, cookie);
	return 16;
}

static uint8_t *chunk(
    uint8_t *head, uint64_t cookie, bool last, uint16_t type, uint32_t len)
{
	put_be32(head, NBD_STRUCTURED_REPLY_MAGIC);
	put_be16(head + 4, last ? NBD_REPLY_FLAG_DONE : 0);
	put_be16(head + 6, type);
	put_be64(head + 8, cookie);
	put_be32(head + 16, len);
	return head + CHUNK_LEN;
}

size_t wire_none(uint8_t *head, uint64_t cookie)
{
	chunk(head, cookie, true, NBD_REPLY_TYPE_NONE, 0);
	return CHUNK_LEN;
}

size_t wire_error(
    uint8_t *head, uint64_t cookie, uint32_t error, uint16_t message_len)
{
	uint8_t *p =
	    chunk(head, cookie, true, NBD_REPLY_TYPE_ERROR, 6u + message_len);

	put_be32(p, error);
	put_be16(p + 4, message_len);
	return CHUNK_LEN + 6;
}

size_t wire_data(
    uint8_t *head, uint64_t cookie, bool last, uint64_t off, uint32_t len)
{
	uint8_t *p =
	    chunk(head, cookie, last, NBD_REPLY_TYPE_OFFSET_DATA, 8 + len);

	put_be64(p, off);
	return CHUNK_LEN + 8;
}

size_t wire_hole(
    uint8_t *head, uint64_t cookie, bool last, uint64_t off, uint32_t len)
{
	uint8_t *p = chunk(head, cookie, last, NBD_REPLY_TYPE_OFFSET_HOLE, 12);

	put_be64(p, off);
	put_be32(p + 8, len);
	return CHUNK_LEN + 12;
}

size_t wire_status(
    uint8_t *head, uint64_t cookie, bool last, uint32_t context, uint32_t len)
{
	uint8_t *p =
	    chunk(head, cookie, last, NBD_REPLY_TYPE_BLOCK_STATUS, 4 + len);

	put_be32(p, context);
	return CHUNK_LEN + 4;
}

size_t wire_descriptor(uint8_t *p, uint64_t len, uint32_t flags)
{
	put_be32(p, (uint32_t)len);
	put_be32(p + 4, flags);
	return WIRE_DESCRIPTOR_LEN;
}
