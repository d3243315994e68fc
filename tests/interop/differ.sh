#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The same random operations through imgctl and qemu-img: see differ/differ.py.
. "$(dirname "$0")/../lib/e2e.sh"
needs qemu-img qemu-io nbdsh "$IMGCTL" "$IMGD"

# Debian's python3 has the module nbd; another that comes first has not.
export IMGCTL IMGD

differ()
{
	/usr/bin/python3 "$SRC/tests/interop/differ/differ.py" "$TMP"
}

differ
for fmt in vmdk vpc vhdx vdi qed qcow parallels luks; do
	echo "with $fmt:"
	DIFFER_FORMATS=$fmt DIFFER_N=3 differ
done
