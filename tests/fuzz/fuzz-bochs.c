/* SPDX-License-Identifier: BSD-3-Clause */
/* Fuzz target: the input is a bochs image. */
#include "look.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	fuzz_look("bochs", data, len);
	fuzz_check("bochs", data, len);
	return 0;
}
