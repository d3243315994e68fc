/* SPDX-License-Identifier: BSD-3-Clause */
/* Fuzz target: the input is a VMDK image, or a descriptor. */
#include "look.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	fuzz_all("vmdk", data, len);
	return 0;
}
