/* SPDX-License-Identifier: BSD-3-Clause */
/* Numbers of the NBD protocol, as its specification names them. */
#ifndef IMGD_NBD_H
#define IMGD_NBD_H

#define NBD_MAGIC		   0x4e42444d41474943ull /* "NBDMAGIC" */
#define NBD_OPTION_MAGIC	   0x49484156454f5054ull /* "IHAVEOPT" */
#define NBD_OPTION_REPLY_MAGIC	   0x0003e889045565a9ull
#define NBD_REQUEST_MAGIC	   0x25609513u
#define NBD_SIMPLE_REPLY_MAGIC	   0x67446698u
#define NBD_STRUCTURED_REPLY_MAGIC 0x668e33efu
#define NBD_EXTENDED_REQUEST_MAGIC 0x21e41c71u
#define NBD_EXTENDED_REPLY_MAGIC   0x6e8a278cu

#define NBD_STRING_MAX	4096u	    /* bytes of a name or a message     */
#define NBD_PAYLOAD_MAX (32u << 20) /* bytes in one request or reply    */
#define NBD_DF_MIN	65536u	    /* unfragmented reads that must work */
#define NBD_PORT	"10809"

/* Handshake flags; the client's have the same values. */
#define NBD_FLAG_FIXED_NEWSTYLE 0x1u
#define NBD_FLAG_NO_ZEROES	0x2u

enum nbd_option {
	NBD_OPT_EXPORT_NAME = 1,
	NBD_OPT_ABORT = 2,
	NBD_OPT_LIST = 3,
	NBD_OPT_STARTTLS = 5,
	NBD_OPT_INFO = 6,
	NBD_OPT_GO = 7,
	NBD_OPT_STRUCTURED_REPLY = 8,
	NBD_OPT_LIST_META_CONTEXT = 9,
	NBD_OPT_SET_META_CONTEXT = 10,
	NBD_OPT_EXTENDED_HEADERS = 11,
};

#define NBD_REP_ACK		    1u
#define NBD_REP_SERVER		    2u
#define NBD_REP_INFO		    3u
#define NBD_REP_META_CONTEXT	    4u
#define NBD_REP_ERR_UNSUP	    0x80000001u
#define NBD_REP_ERR_POLICY	    0x80000002u
#define NBD_REP_ERR_INVALID	    0x80000003u
#define NBD_REP_ERR_TLS_REQD	    0x80000005u
#define NBD_REP_ERR_UNKNOWN	    0x80000006u
#define NBD_REP_ERR_SHUTDOWN	    0x80000007u
#define NBD_REP_ERR_TOO_BIG	    0x80000009u
#define NBD_REP_ERR_EXT_HEADER_REQD 0x8000000au

#define NBD_INFO_EXPORT	     0u
#define NBD_INFO_NAME	     1u
#define NBD_INFO_DESCRIPTION 2u
#define NBD_INFO_BLOCK_SIZE  3u

/* Transmission flags. */
#define NBD_FLAG_HAS_FLAGS	      0x0001u
#define NBD_FLAG_READ_ONLY	      0x0002u
#define NBD_FLAG_SEND_FLUSH	      0x0004u
#define NBD_FLAG_SEND_FUA	      0x0008u
#define NBD_FLAG_ROTATIONAL	      0x0010u
#define NBD_FLAG_SEND_TRIM	      0x0020u
#define NBD_FLAG_SEND_WRITE_ZEROES    0x0040u
#define NBD_FLAG_SEND_DF	      0x0080u
#define NBD_FLAG_CAN_MULTI_CONN	      0x0100u
#define NBD_FLAG_SEND_RESIZE	      0x0200u
#define NBD_FLAG_SEND_CACHE	      0x0400u
#define NBD_FLAG_SEND_FAST_ZERO	      0x0800u
#define NBD_FLAG_BLOCK_STATUS_PAYLOAD 0x1000u

enum nbd_command {
	NBD_CMD_READ = 0,
	NBD_CMD_WRITE = 1,
	NBD_CMD_DISC = 2,
	NBD_CMD_FLUSH = 3,
	NBD_CMD_TRIM = 4,
	NBD_CMD_CACHE = 5,
	NBD_CMD_WRITE_ZEROES = 6,
	NBD_CMD_BLOCK_STATUS = 7,
};

#define NBD_CMD_FLAG_FUA	 0x01u
#define NBD_CMD_FLAG_NO_HOLE	 0x02u
#define NBD_CMD_FLAG_DF		 0x04u
#define NBD_CMD_FLAG_REQ_ONE	 0x08u
#define NBD_CMD_FLAG_FAST_ZERO	 0x10u
#define NBD_CMD_FLAG_PAYLOAD_LEN 0x20u

#define NBD_REPLY_FLAG_DONE 0x1u

#define NBD_REPLY_TYPE_NONE		0u
#define NBD_REPLY_TYPE_OFFSET_DATA	1u
#define NBD_REPLY_TYPE_OFFSET_HOLE	2u
#define NBD_REPLY_TYPE_BLOCK_STATUS	5u
#define NBD_REPLY_TYPE_BLOCK_STATUS_EXT 6u
#define NBD_REPLY_TYPE_ERROR		0x8001u

#define NBD_STATE_HOLE 0x1u
#define NBD_STATE_ZERO 0x2u

#define NBD_EPERM     1u
#define NBD_EIO	      5u
#define NBD_ENOMEM    12u
#define NBD_EINVAL    22u
#define NBD_ENOSPC    28u
#define NBD_EOVERFLOW 75u
#define NBD_ENOTSUP   95u
#define NBD_ESHUTDOWN 108u

#endif
