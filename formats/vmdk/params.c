/* SPDX-License-Identifier: BSD-3-Clause */
/* The options of create and measure, and which of them go together. */
#include <errno.h>

#include "params.h"

#define HWVERSION_DEFAULT "4"
#define HWVERSION_6	  "6"
#define TOOLS_DEFAULT	  "2147483647"
#define GRAIN_SECTORS	  (VMDK_GRAIN_LEN / SECTOR_LEN)
#define GT_SECTORS	  (VMDK_GT_N * 4 / SECTOR_LEN)

/* In the order in which they are printed; `shown` as they are printed. */
const struct img_opt vmdk_create_opts[] = {
    {"size", IMG_OPT_SIZE, "Virtual disk size", NULL},
    {"adapter_type", IMG_OPT_STR,
	"Virtual adapter type, can be one of ide (default), lsilogic, "
	"buslogic or legacyESX",
	NULL},
    {"backing_file", IMG_OPT_STR, "File name of a base image", NULL},
    {"backing_fmt", IMG_OPT_STR, "Must be 'vmdk' if present", NULL},
    {"compat6", IMG_OPT_BOOL, "VMDK version 6 image", "off"},
    {"hwversion", IMG_OPT_STR, "VMDK hardware version", "undefined"},
    {"toolsversion", IMG_OPT_STR, "VMware guest tools version", NULL},
    {"subformat", IMG_OPT_STR,
	"VMDK flat extent format, can be one of {monolithicSparse (default) | "
	"monolithicFlat | twoGbMaxExtentSparse | twoGbMaxExtentFlat | "
	"streamOptimized} ",
	NULL},
    {"zeroed_grain", IMG_OPT_BOOL,
	"Enable efficient zero writes using the zeroed-grain GTE feature",
	NULL},
    {0},
};

static const struct {
	const char *name;
	bool flat, split, stream;
} subformats[] = {
    {"monolithicSparse", false, false, false},
    {"monolithicFlat", true, false, false},
    {"twoGbMaxExtentSparse", false, true, false},
    {"twoGbMaxExtentFlat", true, true, false},
    {"streamOptimized", false, false, true},
};

static int read_subformat(
    struct options *o, struct vmdk_params *p, struct err *e)
{
	const char *text = options_get(o, "subformat");

	for (size_t i = 0; i < ARRAY_N(subformats); i++) {
		if (strcmp(
			text ? text : "monolithicSparse", subformats[i].name))
			continue;
		p->create_type = subformats[i].name;
		p->flat = subformats[i].flat;
		p->split = subformats[i].split;
		p->stream = subformats[i].stream;
		return 0;
	}
	return err_usage(e, "invalid parameter value: %s", text);
}

bool vmdk_makes_files(struct options *o)
{
	struct err ignored = ERR_INIT;
	struct vmdk_params p = {0};

	return !read_subformat(o, &p, &ignored) && (p.flat || p.split);
}

/* These go into the descriptor, between quotes. */
static int read_text(struct options *o, const char *key, const char *none,
    const char **out, struct err *e)
{
	const char *text = options_get(o, key);

	*out = text ? text : none;
	if (!strpbrk(*out, "\"\r\n"))
		return 0;
	return err_usage(
	    e, "Parameter '%s' takes no quotes and no line ends", key);
}

static int read_adapter(struct options *o, struct vmdk_params *p, struct err *e)
{
	static const char *const known[] = {
	    "ide", "lsilogic", "buslogic", "legacyESX"};
	const char *text = options_get(o, "adapter_type");

	p->adapter = text ? text : "ide";
	for (size_t i = 0; i < ARRAY_N(known); i++)
		if (!strcmp(p->adapter, known[i]))
			return 0;
	return err_usage(e, "invalid parameter value: %s", text);
}

static int read_versions(
    struct options *o, struct vmdk_params *p, struct err *e)
{
	bool compat6 = false, set;

	if (options_bool(o, "compat6", &compat6, e) < 0 ||
	    read_text(o, "hwversion", "undefined", &p->hwversion, e) ||
	    read_text(o, "toolsversion", TOOLS_DEFAULT, &p->tools, e))
		return -1;
	set = strcmp(p->hwversion, "undefined");
	if (set && compat6)
		return err_usage(
		    e, "compat6 cannot be enabled with hwversion set");
	if (!set)
		p->hwversion = compat6 ? HWVERSION_6 : HWVERSION_DEFAULT;
	return 0;
}

static int check_combination(
    const struct create_args *a, const struct vmdk_params *p, struct err *e)
{
	struct vmdk_layout l;

	if (p->flat && a->backing)
		return err_usage(e, "Flat image can't have backing file");
	if (p->flat && p->zero_gte)
		return err_usage(e, "Flat image can't enable zeroed grain");
	if (a->backing_fmt && strcmp(a->backing_fmt, "vmdk"))
		return err_usage(e, "backing_file must be a vmdk image");
	if (a->backing && strpbrk(a->backing, "\"\r\n"))
		return err_usage(
		    e, "the name of a parent has no quotes and no line ends");
	return p->flat || p->split ? 0 : vmdk_lay_out(p->size, &l, e);
}

int vmdk_params_read(
    const struct create_args *a, struct vmdk_params *p, struct err *e)
{
	*p = (struct vmdk_params){.size = a->size};
	if (read_adapter(a->o, p, e) || read_subformat(a->o, p, e) ||
	    read_versions(a->o, p, e) ||
	    options_bool(a->o, "zeroed_grain", &p->zero_gte, e) < 0)
		return -1;
	return check_combination(a, p, e);
}

int vmdk_lay_out(uint64_t size, struct vmdk_layout *l, struct err *e)
{
	*l = (struct vmdk_layout){
	    .gd_n = div_up(size, (uint64_t)VMDK_GRAIN_LEN * VMDK_GT_N)};
	l->gd_len = div_up(l->gd_n * 4, SECTOR_LEN);
	l->gts_len = l->gd_n * GT_SECTORS;
	l->rgd = (VMDK_DESC_HOST + VMDK_DESC_LEN) / SECTOR_LEN;
	l->gd = l->rgd + l->gd_len + l->gts_len;
	l->overhead = round_up(l->gd + l->gd_len + l->gts_len, GRAIN_SECTORS);
	if (l->overhead < UINT32_MAX / 2)
		return 0;
	return err_set(e, ERR_USAGE, EFBIG,
	    "a VMDK image of %llu bytes would need more than 1 TiB of tables",
	    (unsigned long long)size);
}
