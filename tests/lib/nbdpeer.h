/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The server over socket pairs, and the client's side of them byte by byte:
 * nothing here keeps a client from sending what it must not.
 *
 * A reply that does not come, or is not the one expected, fails the test.
 */
#ifndef TEST_NBDPEER_H
#define TEST_NBDPEER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "server/clients.h"
#include "server/export.h"

#define PEER_SIZE (1u << 20) /* bytes of the image */
#define PEER_HOLE 0x20000u   /* [PEER_HOLE, PEER_DATA) has nothing */
#define PEER_DATA 0xc0000u

/* The byte that the image holds at first. */
uint8_t peer_byte(uint64_t off);

struct peer {
	struct image *img;
	struct hostfile *host;	 /* a faultfile, below img */
	struct export export[2]; /* "" and "other", the same bytes */
	struct exports exports;
	struct sched *sched;
	struct conn_shared shared;
	struct clients *clients;
};

struct peer_setup {
	bool read_only;
	unsigned limit_ms; /* for the handshake; 0 none */
	/* as in struct conn_shared and struct export */
	const struct tls_creds *creds;
	bool tls_optional;
	struct authz *authz;
	struct authz *other_authz; /* of the export "other" */
};

void peer_start(struct peer *p, const struct peer_setup *how);
/* Stops the server; it may not hang, whatever its clients have done. */
void peer_end(struct peer *p);
/* A connected client. */
int peer_connect(struct peer *p);
/* In a thread of its own; returns when all clients are told, and it waits for
 * them.  The thread is the caller's to join. */
struct peer_stop {
	pthread_t thread;
	struct clients *clients;
	_Atomic pid_t tid;
};
void peer_stop_begin(struct peer_stop *s, struct peer *p);
/* Waits until that many clients are left. */
void peer_wait_clients(struct peer *p, unsigned n);

/* The image itself has `len` bytes at `off` of this value; -1: as at first. */
void peer_expect_image(struct peer *p, uint64_t off, size_t len, int byte);

/* ---- bytes ---- */

void peer_send(int fd, const void *buf, size_t len);
void peer_recv(int fd, void *buf, size_t len);
/* From now on the two go through these for this connection; NULL: not more. */
struct peer_channel {
	int fd;
	ssize_t (*send)(const void *buf, size_t len);
	ssize_t (*recv)(void *buf, size_t len);
};
void peer_use_channel(const struct peer_channel *c);
/* The server has closed the connection and sends nothing more. */
void peer_expect_end(int fd);

/* ---- negotiation ---- */

/* The greeting, answered with these flags. */
void peer_greet(int fd, uint32_t client_flags);
void peer_option(int fd, uint32_t opt, const void *data, size_t len);
/* A reply of this type; its data goes to buf (4 KiB), its length is returned */
size_t peer_option_reply(int fd, uint32_t opt, uint32_t type, void *buf);
/* The option's only reply. */
void peer_expect_option(
    int fd, uint32_t opt, const void *data, size_t len, uint32_t type);
/* Selects contexts of the export "", with SET; gives their IDs. */
void peer_set_contexts(
    int fd, const char *const *names, size_t n, uint32_t *ids);
/* GO with the export ""; returns the transmission flags. */
uint16_t peer_go(int fd);
/*
 * Greets and asks an option without data in one piece, and takes the `len`
 * bytes that answer it; false: the server hung up, as it does with one who is
 * slow.
 */
bool peer_ask_at_once(int fd, uint32_t opt, void *reply, size_t len);
/* All of it, up to transmission of the export "". */
void peer_negotiate(int fd, bool structured, bool contexts);

/* ---- transmission ---- */

void peer_request(int fd, uint16_t type, uint16_t flags, uint64_t cookie,
    uint64_t off, uint32_t len);
void peer_expect_simple(int fd, uint64_t cookie, uint32_t error);
/* A chunk; its payload goes to buf (max bytes), its length is returned. */
size_t peer_expect_chunk(int fd, uint64_t cookie, uint16_t flags, uint16_t type,
    void *buf, size_t max);
/* A reply that only says that all went well. */
void peer_expect_done(int fd, uint64_t cookie);
/* A reply that is one error chunk. */
void peer_expect_error(int fd, uint64_t cookie, uint32_t error);

/* ---- the same with extended headers ---- */

/* A client that has agreed on them, and on nothing else yet. */
int peer_connect_extended(struct peer *p);

struct peer_request {
	uint16_t type, flags;
	uint64_t cookie, off, len;
};
/* `len` bytes of payload at `payload` follow when it is not NULL. */
void peer_ext_request(
    int fd, const struct peer_request *rq, const void *payload);
/* A chunk of the reply to this request; its type has to be `type`. */
size_t peer_ext_chunk(int fd, const struct peer_request *rq, uint16_t flags,
    uint16_t type, void *buf, size_t max);
void peer_ext_done(int fd, const struct peer_request *rq);
void peer_ext_error(int fd, const struct peer_request *rq, uint32_t error);

#endif
