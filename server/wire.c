/* SPDX-License-Identifier: BSD-3-Clause */
/* Headers of the transmission phase: see wire.h. */
#include "core/units.h"

#include "nbd.h"
#include "wire.h"

size_t wire_request_len(bool extended)
{
	return extended ? WIRE_REQUEST_MAX : 28;
}

/*
 * The length of a compact request is that of its effect, and a write's payload
 * is as long.  An extended one says with a flag that its length is that of the
 * payload.  A write that forgets to is refused, but its payload comes.
 */
bool wire_request(const uint8_t *p, bool extended, struct wire_request *rq)
{
	bool write;

	rq->extended = extended;
	rq->flags = be16(p + 4);
	rq->type = be16(p + 6);
	rq->cookie = be64(p + 8);
	rq->off = be64(p + 16);
	rq->len = extended ? be64(p + 24) : be32(p + 24);
	rq->payload = 0;
	write = rq->type == NBD_CMD_WRITE;
	if (write || (extended && rq->flags & NBD_CMD_FLAG_PAYLOAD_LEN))
		rq->payload = rq->len;
	if (rq->payload && !write)
		rq->len = 0;
	return be32(p) ==
	       (extended ? NBD_EXTENDED_REQUEST_MAGIC : NBD_REQUEST_MAGIC);
}

size_t wire_simple(uint8_t *head, const struct wire_request *rq, uint32_t error)
{
	put_be32(head, NBD_SIMPLE_REPLY_MAGIC);
	put_be32(head + 4, error);
	put_be64(head + 8, rq->cookie);
	return 16;
}

/* The header of a chunk; returns where its payload begins. */
static uint8_t *chunk(uint8_t *head, const struct wire_request *rq, bool last,
    uint16_t type, uint64_t len)
{
	put_be32(head, rq->extended ? NBD_EXTENDED_REPLY_MAGIC
				    : NBD_STRUCTURED_REPLY_MAGIC);
	put_be16(head + 4, last ? NBD_REPLY_FLAG_DONE : 0);
	put_be16(head + 6, type);
	put_be64(head + 8, rq->cookie);
	if (!rq->extended) {
		put_be32(head + 16, (uint32_t)len);
		return head + 20;
	}
	put_be64(head + 16, rq->off);
	put_be64(head + 24, len);
	return head + 32;
}

size_t wire_none(uint8_t *head, const struct wire_request *rq)
{
	return (size_t)(chunk(head, rq, true, NBD_REPLY_TYPE_NONE, 0) - head);
}

size_t wire_error(uint8_t *head, const struct wire_request *rq, uint32_t error,
    uint16_t message_len)
{
	uint8_t *p =
	    chunk(head, rq, true, NBD_REPLY_TYPE_ERROR, 6u + message_len);

	put_be32(p, error);
	put_be16(p + 4, message_len);
	return (size_t)(p + 6 - head);
}

size_t wire_data(uint8_t *head, const struct wire_request *rq, bool last,
    uint64_t off, uint32_t len)
{
	uint8_t *p = chunk(head, rq, last, NBD_REPLY_TYPE_OFFSET_DATA, 8 + len);

	put_be64(p, off);
	return (size_t)(p + 8 - head);
}

size_t wire_hole(uint8_t *head, const struct wire_request *rq, bool last,
    uint64_t off, uint32_t len)
{
	uint8_t *p = chunk(head, rq, last, NBD_REPLY_TYPE_OFFSET_HOLE, 12);

	put_be64(p, off);
	put_be32(p + 8, len);
	return (size_t)(p + 12 - head);
}

size_t wire_status(uint8_t *head, const struct wire_request *rq, bool last,
    uint32_t context, uint32_t n)
{
	uint64_t len = (uint64_t)n * wire_descriptor_len(rq->extended);
	uint8_t *p;

	if (!rq->extended) {
		p = chunk(head, rq, last, NBD_REPLY_TYPE_BLOCK_STATUS, 4 + len);
		put_be32(p, context);
		return (size_t)(p + 4 - head);
	}
	p = chunk(head, rq, last, NBD_REPLY_TYPE_BLOCK_STATUS_EXT, 8 + len);
	put_be32(p, context);
	put_be32(p + 4, n);
	return (size_t)(p + 8 - head);
}

size_t wire_descriptor_len(bool extended)
{
	return extended ? 16 : 8;
}

size_t wire_descriptor(uint8_t *p, bool extended, uint64_t len, uint64_t status)
{
	if (extended) {
		put_be64(p, len);
		put_be64(p + 8, status);
	} else {
		put_be32(p, (uint32_t)len);
		put_be32(p + 4, (uint32_t)status);
	}
	return wire_descriptor_len(extended);
}
