/* SPDX-License-Identifier: BSD-3-Clause */
/* The options of create and measure, and which of them go together. */
#include <errno.h>

#include "params.h"

#define COMPAT_HINT                                                            \
	"compatibility level 1.1 and above (use version=v3 or greater)"

/* In the order in which they are printed; `shown` as they are printed. */
const struct img_opt qcow2_create_opts[] = {
    {"encryption", IMG_OPT_BOOL,
	"Encrypt the image with format 'aes'. (Deprecated in favor of "
	"encrypt.format=aes)",
	NULL},
    {"encrypt.format", IMG_OPT_STR,
	"Encrypt the image, format choices: 'aes', 'luks'", NULL},
    {"encrypt.key-secret", IMG_OPT_STR,
	"ID of secret providing qcow AES key or LUKS passphrase", NULL},
    {"encrypt.cipher-alg", IMG_OPT_STR, "Name of encryption cipher algorithm",
	NULL},
    {"encrypt.cipher-mode", IMG_OPT_STR, "Name of encryption cipher mode",
	NULL},
    {"encrypt.ivgen-alg", IMG_OPT_STR, "Name of IV generator algorithm", NULL},
    {"encrypt.ivgen-hash-alg", IMG_OPT_STR,
	"Name of IV generator hash algorithm", NULL},
    {"encrypt.hash-alg", IMG_OPT_STR, "Name of encryption hash algorithm",
	NULL},
    {"encrypt.iter-time", IMG_OPT_NUM, "Time to spend in PBKDF in milliseconds",
	NULL},
    {"cluster_size", IMG_OPT_SIZE, "qcow2 cluster size", "65536"},
    {"extended_l2", IMG_OPT_BOOL, "Extended L2 tables", "off"},
    {"preallocation", IMG_OPT_STR,
	"Preallocation mode (allowed values: off, metadata, falloc, full)",
	NULL},
    {"compression_type", IMG_OPT_STR,
	"Compression method used for image cluster compression", "zlib"},
    {"compression_level", IMG_OPT_NUM,
	"Compression level of convert -c (zlib: 1 to 9, zstd: 1 to 19)", NULL},
    {"size", IMG_OPT_SIZE, "Virtual disk size", NULL},
    {"compat", IMG_OPT_STR, "Compatibility level (v2 [0.10] or v3 [1.1])",
	NULL},
    {"backing_file", IMG_OPT_STR, "File name of a base image", NULL},
    {"backing_fmt", IMG_OPT_STR, "Image format of the base image", NULL},
    {"data_file", IMG_OPT_STR, "File name of an external data file", NULL},
    {"data_file_raw", IMG_OPT_BOOL,
	"The external data file must stay valid as a raw image", NULL},
    {"lazy_refcounts", IMG_OPT_BOOL, "Postpone refcount updates", "off"},
    {"refcount_bits", IMG_OPT_NUM, "Width of a reference count entry in bits",
	"16"},
    {0},
};

/* One of the words of a list that ends with NULL: its index. */
static int get_word(struct options *o, const char *key, const char *shown,
    const char *const *words, unsigned *ix, struct err *e)
{
	const char *text = options_get(o, key);

	if (!text)
		return 0;
	for (unsigned i = 0; words[i]; i++) {
		if (!strcmp(text, words[i])) {
			*ix = i;
			return 0;
		}
	}
	return err_usage(
	    e, "Parameter '%s' does not accept value '%s'", shown, text);
}

unsigned qcow2_version_of(const char *compat)
{
	if (!strcmp(compat, "0.10") || !strcmp(compat, "v2"))
		return 2;
	return !strcmp(compat, "1.1") || !strcmp(compat, "v3") ? 3 : 0;
}

static int get_version(struct options *o, struct qcow2_params *p, struct err *e)
{
	const char *text = options_get(o, "compat");

	p->version = text ? qcow2_version_of(text) : 3;
	if (p->version)
		return 0;
	return err_usage(
	    e, "Parameter 'version' does not accept value '%s'", text);
}

static int get_cluster(struct options *o, struct qcow2_params *p, struct err *e)
{
	uint64_t len = 64 * KiB;

	if (options_size(o, "cluster_size", &len, e) < 0)
		return -1;
	if (!is_pow2(len) || len < 1u << QCOW2_CLUSTER_MIN ||
	    len > 1u << QCOW2_CLUSTER_MAX)
		return err_usage(e,
		    "Cluster size must be a power of two between 512 and "
		    "2048k");
	p->cluster_bits = log2_u64(len);
	return 0;
}

int qcow2_refcount_order_read(struct options *o, unsigned *order, struct err *e)
{
	uint64_t bits = 1ull << *order;

	if (options_u64(o, "refcount_bits", &bits, e) < 0)
		return -1;
	if (!is_pow2(bits) || bits > 64)
		return err_usage(e,
		    "Refcount width must be a power of two and may not exceed "
		    "64 bits");
	*order = log2_u64(bits);
	return 0;
}

/* Nothing keeps it: only who packs the data needs it. */
static int check_level(
    struct options *o, const struct qcow2_params *p, struct err *e)
{
	uint64_t level = 0;
	int rc = options_u64(o, "compression_level", &level, e);

	if (rc <= 0)
		return rc;
	return codec_check_level(
	    p->compression ? CODEC_ZSTD : CODEC_DEFLATE, level, e);
}

static int get_all(struct options *o, struct qcow2_params *p, struct err *e)
{
	static const char *const codecs[] = {"zlib", "zstd", NULL};
	static const char *const modes[] = {
	    [IMG_PREALLOC_OFF] = "off",
	    [IMG_PREALLOC_METADATA] = "metadata",
	    [IMG_PREALLOC_FALLOC] = "falloc",
	    [IMG_PREALLOC_FULL] = "full",
	    NULL,
	};
	unsigned mode = IMG_PREALLOC_OFF;

	p->refcount_order = 4;
	p->data_file = options_get(o, "data_file");
	if (get_version(o, p, e) || get_cluster(o, p, e) ||
	    qcow2_refcount_order_read(o, &p->refcount_order, e) ||
	    get_word(o, "preallocation", "preallocation", modes, &mode, e) ||
	    get_word(o, "compression_type", "compression-type", codecs,
		&p->compression, e) ||
	    check_level(o, p, e) || qcow2_crypt_params(o, &p->crypt, e) ||
	    options_bool(o, "extended_l2", &p->extended, e) < 0 ||
	    options_bool(o, "data_file_raw", &p->data_raw, e) < 0 ||
	    options_bool(o, "lazy_refcounts", &p->lazy, e) < 0)
		return -1;
	p->prealloc = (enum img_prealloc)mode;
	return 0;
}

static int check_version(const struct qcow2_params *p, struct err *e)
{
	if (p->version >= 3)
		return 0;
	if (p->extended)
		return err_usage(e,
		    "Extended L2 entries are only supported with " COMPAT_HINT);
	if (p->lazy)
		return err_usage(
		    e, "Lazy refcounts only supported with " COMPAT_HINT);
	if (p->refcount_order != 4)
		return err_usage(e,
		    "Different refcount widths than 16 bits require "
		    "compatibility level 1.1 or above (use version=v3 or "
		    "greater)");
	if (p->data_file)
		return err_usage(e,
		    "External data files are only supported with " COMPAT_HINT);
	if (p->compression)
		return err_usage(e, "Non-zlib compression type is only "
				    "supported with " COMPAT_HINT);
	return 0;
}

/* What is not encrypted would be read as if it were. */
static int check_crypt(const struct qcow2_params *p, struct err *e)
{
	if (p->crypt.method == QCOW2_CRYPT_NONE)
		return 0;
	if (p->data_raw)
		return err_usage(e,
		    "Encryption and data-file-raw cannot be used at the same "
		    "time");
	if (p->version < 3 && p->prealloc != IMG_PREALLOC_OFF)
		return err_usage(e, "Preallocation of encrypted images is only "
				    "supported with " COMPAT_HINT);
	return 0;
}

static int check_together(
    const struct qcow2_params *p, bool has_backing, struct err *e)
{
	if (p->extended && p->cluster_bits < 14)
		return err_usage(e,
		    "Extended L2 entries are only supported with cluster sizes "
		    "of at least 16384 bytes");
	if (p->prealloc != IMG_PREALLOC_OFF && has_backing && !p->extended)
		return err_usage(e,
		    "Backing file and preallocation can only be used at the "
		    "same time if extended_l2 is on");
	if (p->data_raw && !p->data_file)
		return err_usage(e, "data-file-raw requires data-file");
	if (p->data_raw && has_backing)
		return err_usage(e,
		    "Backing file and data-file-raw cannot be used at the same "
		    "time");
	return 0;
}

int qcow2_params_read(struct options *o, uint64_t size, bool has_backing,
    struct qcow2_params *p, struct err *e)
{
	*p = (struct qcow2_params){.size = size};
	if (get_all(o, p, e) || check_version(p, e) || check_crypt(p, e) ||
	    check_together(p, has_backing, e))
		return -1;
	p->l1_n = qcow2_l1_entries(size, p->cluster_bits, p->extended);
	if (p->l1_n > QCOW2_L1_LEN_MAX / 8)
		return err_set(e, ERR_USAGE, EFBIG,
		    "The image size is too large for file format 'qcow2' (try "
		    "using a larger cluster size)");
	/* A raw data file holds the guest bytes where the guest has them. */
	if (p->data_raw && p->prealloc == IMG_PREALLOC_OFF)
		p->prealloc = IMG_PREALLOC_METADATA;
	return 0;
}

/*
 * The blocks must count themselves and their table too, so their number is
 * the smallest one that is enough; it grows to it from below.
 */
void qcow2_refcount_space(const struct qcow2_params *p, uint64_t used_cl,
    uint64_t *reftable_cl, uint64_t *refblock_n)
{
	unsigned bits = p->cluster_bits;
	uint64_t per_block = 1ull << (bits + 3 - p->refcount_order);
	uint64_t per_table = 1ull << (bits - 3);
	uint64_t blocks = 0, table = 0, last;

	do {
		last = blocks + table;
		blocks = div_up(used_cl + last, per_block);
		table = div_up(blocks, per_table);
	} while (blocks + table != last);
	*refblock_n = blocks;
	*reftable_cl = table;
}
