/* SPDX-License-Identifier: BSD-3-Clause */
/* --object: see object.h. */
#include "object.h"

#include <stdio.h>
#include <stdlib.h>

#include "formats/core/object.h"
#include "msg.h"
#include "out.h"

static enum object_result make(const char *text)
{
	struct err e = ERR_INIT;
	char *help = NULL;
	int rc = object_add(text, &help, &e);

	if (!rc)
		return OBJECT_OK;
	if (rc < 0) {
		msg_err(&e);
		return OBJECT_WRONG;
	}
	fputs(help, stdout);
	free(help);
	return out_flush() ? OBJECT_WRONG : OBJECT_HELP;
}

enum object_result object_make(const char *const *list)
{
	enum object_result result = OBJECT_OK;

	for (; list && *list && result == OBJECT_OK; list++)
		result = make(*list);
	return result;
}
