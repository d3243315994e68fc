/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include "luks2.h"
int luks2_read(struct luks *l, struct err *e)
{
	return err_unsupported(e, "%s: LUKS2", l->name);
}
int luks2_read_second(struct luks *l, struct err *e)
{
	(void)l;
	return err_set(
	    e, ERR_NOT_FORMAT, EINVAL, "Volume is not in LUKS format");
}
void luks2_free(struct luks2 *v)
{
	(void)v;
}
json_t *luks2_describe(const struct luks *l, bool detached, const char *format)
{
	(void)l, (void)detached, (void)format;
	return NULL;
}
