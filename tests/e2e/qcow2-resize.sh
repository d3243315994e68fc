#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# imgctl resize of qcow2 images: content, soundness, space given back.
. "$(dirname "$0")/../lib/e2e.sh"
needs qemu-img qemu-io python3

mkdir random
(cd random && python3 "$SRC/tests/e2e/qcow2-resize.py" "$IMGCTL" 1 40)

size_of()
{
	stat -c %s "$1"
}

# What is cut off does not come back, and its space goes.
qemu-img create -q -f qcow2 a.qcow2 64M
qemu-io -c 'write -P 7 0 64M' a.qcow2 >io.log
"$IMGCTL" resize -q --shrink a.qcow2 1000448
[ "$(size_of a.qcow2)" -le $((25 * 65536)) ] || fail "the file is still long"
qemu-img resize -q a.qcow2 64M
qemu-io -c 'read -P 7 0 1000448' -c 'read -P 0 1000448 60M' a.qcow2 >io.log
if grep -q failed io.log; then
	fail "$(cat io.log)"
fi

# A terabyte with all its metadata shrinks to what a small image takes.
"$IMGCTL" create -q -f qcow2 -o preallocation=metadata big.qcow2 1T
"$IMGCTL" resize -q --shrink big.qcow2 10M
qemu-img check -q big.qcow2
"$IMGCTL" create -q -f qcow2 -o preallocation=metadata small.qcow2 10M
[ "$(size_of big.qcow2)" = "$(size_of small.qcow2)" ] ||
	fail "$(size_of big.qcow2) bytes after shrinking"
rm big.qcow2

# L1 tables that grow by many clusters.
"$IMGCTL" create -q -f qcow2 -o cluster_size=512 l1.qcow2 1M
qemu-io -c 'write -P 5 0 1M' l1.qcow2 >io.log
for size in 2M 100M 3G 20G; do
	"$IMGCTL" resize -q l1.qcow2 "$size"
	qemu-img check -q l1.qcow2
done
qemu-io -c 'read -P 5 0 1M' -c 'write -P 6 19G 1M' l1.qcow2 >io.log
if grep -q failed io.log; then
	fail "$(cat io.log)"
fi
"$IMGCTL" resize -q --shrink l1.qcow2 1M
qemu-img check -q l1.qcow2

# Refused.
expect_exit 1 "$IMGCTL" resize l1.qcow2 1T
expect_err 'Failed to grow the L1 table: File too large'
expect_exit 1 "$IMGCTL" resize --shrink l1.qcow2 1000
expect_err 'The new size must be a multiple of 512'
qemu-img create -q -f qcow2 -o compat=v2 v2.qcow2 1M
qemu-img snapshot -c s v2.qcow2
before=$(sha v2.qcow2)
expect_exit 1 "$IMGCTL" resize v2.qcow2 2M
expect_err "Can't resize a v2 image which has snapshots"
[ "$(sha v2.qcow2)" = "$before" ] || fail "v2.qcow2 was changed"
