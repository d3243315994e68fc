/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The functions of libnbd that we call.  The library is loaded when the first
 * NBD name is opened: with what it needs in turn it takes longer to load than
 * most commands take to run.
 */
#ifndef IMGD_NBD_LIB_H
#define IMGD_NBD_LIB_H

#include <libnbd.h>

#include "../core/err.h"

#define NBD_CALLS(X)                                                           \
	X(create)                                                              \
	X(close)                                                               \
	X(get_error)                                                           \
	X(get_errno)                                                           \
	X(set_export_name)                                                     \
	X(set_tls)                                                             \
	X(set_tls_certificates)                                                \
	X(set_tls_verify_peer)                                                 \
	X(set_tls_username)                                                    \
	X(set_tls_psk_file)                                                    \
	X(add_meta_context)                                                    \
	X(can_meta_context)                                                    \
	X(get_size)                                                            \
	X(get_block_size)                                                      \
	X(is_read_only)                                                        \
	X(can_flush)                                                           \
	X(can_fua)                                                             \
	X(can_trim)                                                            \
	X(can_zero)                                                            \
	X(can_fast_zero)                                                       \
	X(can_multi_conn)                                                      \
	X(aio_connect_unix)                                                    \
	X(aio_connect_tcp)                                                     \
	X(aio_disconnect)                                                      \
	X(aio_get_fd)                                                          \
	X(aio_get_direction)                                                   \
	X(aio_notify_read)                                                     \
	X(aio_notify_write)                                                    \
	X(aio_is_ready)                                                        \
	X(aio_is_dead)                                                         \
	X(aio_is_closed)                                                       \
	X(aio_pread_structured)                                                \
	X(aio_pwrite)                                                          \
	X(aio_zero)                                                            \
	X(aio_trim)                                                            \
	X(aio_flush)                                                           \
	X(aio_block_status)

/* nbd_X is called X here. */
struct nbd_lib {
#define NBD_FIELD(name) __typeof__(nbd_##name) *name;
	NBD_CALLS(NBD_FIELD)
#undef NBD_FIELD
};

/* The library, loaded once for the process; NULL with *e set. */
const struct nbd_lib *nbd_lib_get(struct err *e);

#endif
