#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Four clients write, zero, trim and flush at random; the server is killed in
# the middle.  What was flushed is there, and nothing worse than a leak.
. "$(dirname "$0")/../lib/e2e.sh"
needs qemu-img nbdkit "$IMGCTL" "$IMGD" "$PLUGIN" "$STAMPER"

sectors=131072

# Leaks (exit code 3) may be; the contents are read by the reference.
check_after_crash()
{
	local rc=0
	qemu-img check -q -f qcow2 disk.qcow2 || rc=$?
	[ $rc = 0 ] || [ $rc = 3 ] || fail "qemu-img check: exit code $rc"
	qemu-img convert -f qcow2 -O raw disk.qcow2 out.raw
	expect_exit 0 "$STAMPER" verify model out.raw
}

# crash REQUESTS SEED START-COMMAND...: killed in the middle; then the rest of
# the requests upon what was left, and an orderly end.
crash()
{
	local half=$(($1 / 2)) seed=$2
	shift 2
	"$@" disk.qcow2
	expect_exit 0 "$STAMPER" run model "$URI" $((half * 2)) "$seed" \
		"$SERVER_PID" "$half"
	cat out
	expect_out 'server killed'
	wait_until ended "$SERVER_PID"
	check_after_crash
	"$@" disk.qcow2
	expect_exit 0 "$STAMPER" run model "$URI" "$half" "$((seed + 1))"
	stop_server
	check_after_crash
}

with_imgd()
{
	start_imgd --shared=4 --discard=unmap -f qcow2 "$@"
}

with_nbdkit()
{
	start_nbdkit "$PLUGIN" "$@"
}

# The test sees a loss: an image as it was before fits no model of after.
"$STAMPER" new model $sectors zero
"$STAMPER" fill model empty.raw
qemu-img create -q -f qcow2 disk.qcow2 $((sectors * 512))
crash 10000 1 with_imgd
expect_exit 1 "$STAMPER" verify model empty.raw

# Over a base whose bytes must never show through again.
"$STAMPER" new first.model $sectors stamped
"$STAMPER" fill first.model base.raw
seed=10
for opts in cluster_size=64k cluster_size=512 extended_l2=on \
	refcount_bits=1,cluster_size=4k; do
	echo "$opts"
	cp first.model model
	"$IMGCTL" create -q -f qcow2 -b base.raw -F raw -o "$opts" disk.qcow2
	crash 2000 $seed with_imgd
	seed=$((seed + 2))
done
cp first.model model
"$IMGCTL" convert -c -f raw -O qcow2 base.raw disk.qcow2
crash 2000 $seed with_nbdkit
