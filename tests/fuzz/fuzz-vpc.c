/* SPDX-License-Identifier: BSD-3-Clause */
/* Fuzz target: the input is a VHD image. */
#include "look.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	fuzz_all("vpc", data, len);
	return 0;
}
