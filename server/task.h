/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A task is one request of a client, from its header to the last byte of its
 * reply.
 *
 * A task is owned by one thread at a time: the client's reader, then a
 * worker perhaps, then whoever sends its reply (see outbox.h), who frees it.
 *
 * A reply is a list of chunks: a header, and perhaps data.  A read may have
 * many, each with a piece of the range; every other reply has one for each
 * block status context, or just one.
 */
#ifndef IMGD_TASK_H
#define IMGD_TASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "image.h"

#include "sched.h"
#include "session.h"
#include "wire.h"

enum chunk_state {
	CHUNK_READY = 0, /* nothing to do                              */
	CHUNK_PLANNED,	 /* in a batch: `io` must be finished          */
	CHUNK_TODO,	 /* has to be read or written by a worker      */
};

struct chunk {
	uint64_t off, len; /* guest bytes of the export       */
	bool hole;	   /* reads as zeroes: only the header is sent */
	enum chunk_state state;
	struct img_request io;
	uint8_t head[WIRE_HEAD_MAX];
	size_t head_len;
	const void *data; /* sent after the header */
	bool placed;	  /* instead, data_len bytes at `place` */
	struct img_place place;
	size_t data_len;
};

struct conn;

struct task {
	struct job job;
	struct task *next; /* in the list that holds it */
	struct conn *conn;
	struct wire_request rq;
	uint64_t contexts; /* of a block status: bit i, context i is wanted */
	uint64_t charge;   /* bytes of the client's budget */
	uint32_t error;	   /* NBD_E*, 0 none */
	char *message;	   /* for a human; NULL none */
	struct chunk first;
	struct chunk *chunk; /* &first, or malloc'd */
	size_t chunk_n;
	size_t sent_n;	/* chunks sent */
	size_t sent;	/* bytes sent of chunk[sent_n] */
	uint8_t *extra; /* malloc'd descriptors of a block status */
	/* The payload, or what a read gives; NULL: there is no room yet. */
	uint8_t *data;
	uint8_t inside[]; /* short data */
};

/* A list in order of arrival. */
struct task_list {
	struct task *head, *last;
};
void task_append(struct task_list *l, struct task *r);

/*
 * May the client ask this?  0, or the error to answer, with the reason in *why.
 */
uint32_t task_check(
    const struct session *s, const struct wire_request *rq, const char **why);
/*
 * The payload of a request is there.  Where it says what is asked for, that is
 * seen only now, and checked: the request may fail.
 */
void task_arrived(struct task *r, const struct session *s);
/* Bytes of memory, beyond a small constant, until the reply is sent. */
uint64_t task_charge(const struct session *s, const struct wire_request *rq);

/* With room for the payload, or a short read.  NULL when out of memory. */
struct task *task_new(struct conn *c, const struct wire_request *rq);
/* The same for a request that is refused: without. */
struct task *task_new_refused(struct conn *c, const struct wire_request *rq);
void task_free(struct task *r); /* NULL is allowed */
/* Room for what a read gives, if there is none. */
int task_buffer(struct task *r, struct err *e);
/* Sets the error to answer; the first one wins.  `message` is copied. */
void task_fail(struct task *r, uint32_t error, const char *message);
/* The same from an error of the core. */
void task_fail_err(struct task *r, const struct err *e);
/* Room for one more chunk [off, off + len); NULL when out of memory. */
struct chunk *task_chunk(struct task *r, uint64_t off, uint64_t len);
/* Encodes the reply. */
void task_reply(struct task *r);

#endif
