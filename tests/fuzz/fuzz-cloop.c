/* SPDX-License-Identifier: BSD-3-Clause */
/* Fuzz target: the input is a cloop image. */
#include "look.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	fuzz_look("cloop", data, len);
	fuzz_check("cloop", data, len);
	return 0;
}
