#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# nbdkit image: parameters, and what is refused before a client can connect.
. "$(dirname "$0")/../lib/e2e.sh"
needs nbdkit nbdinfo qemu-img "$PLUGIN"

# refused TEXT PARAM...: exit code 1, the text, and nobody was served.
refused()
{
	local text=$1
	shift
	expect_exit 1 nbdkit -U - "$PLUGIN" "$@" --run 'echo served'
	expect_err "$text"
	[ ! -s out ] || fail "served all the same: $*"
}

size_of()
{
	nbdkit -U - "$PLUGIN" "$@" --run 'nbdinfo --size "$uri"'
}

truncate -s 1M plain.raw
qemu-img create -q -f qcow2 base.qcow2 3M
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 top.qcow2
qemu-img create -q -f qcow2 snap.qcow2 2M
qemu-img snapshot -c first snap.qcow2

refused 'no image was named'
refused "unknown parameter 'colour'" plain.raw colour=red
refused 'more than once' plain.raw file=base.qcow2
refused 'backing=maybe: must be allow or deny' plain.raw backing=maybe
refused 'cache=fast: must be' plain.raw cache=fast
refused 'discard=some: must be' plain.raw discard=some
refused 'format=fancy: no such format' plain.raw format=fancy
refused 'object: ' plain.raw object=secret,id=s
refused 'object: ' plain.raw object=fancy,id=s
refused 'object: must be TYPE' plain.raw object=help

refused "$TMP/absent.raw" absent.raw
refused 'No such file' absent.raw
refused "$TMP" .
refused 'plain.raw' plain.raw format=qcow2
refused 'snapshot' snap.qcow2 snapshot=no-such
refused 'top.qcow2' top.qcow2 backing=deny
rm base.qcow2
refused 'base.qcow2' top.qcow2
qemu-img create -q -f qcow2 base.qcow2 3M

for mode in writeback none off writethrough directsync unsafe; do
	[ "$(size_of plain.raw format=raw cache=$mode)" = 1048576 ]
done
for mode in unmap ignore on off; do
	[ "$(size_of plain.raw format=raw discard=$mode)" = 1048576 ]
done
[ "$(size_of file="$TMP/plain.raw")" = 1048576 ]
[ "$(size_of file:plain.raw)" = 1048576 ]
[ "$(size_of top.qcow2)" = 3145728 ]
[ "$(size_of top.qcow2 backing=allow)" = 3145728 ]
[ "$(size_of base.qcow2 backing=deny)" = 3145728 ]
[ "$(size_of base.qcow2 format=raw)" = "$(stat -c %s base.qcow2)" ]
[ "$(size_of snap.qcow2 snapshot=first)" = 2097152 ]

# A relative name still works when nbdkit has left the working directory.
nbdkit -P pid -U "$TMP/sock" "$PLUGIN" top.qcow2
on_exit kill_daemon "$(cat pid)"
expect_exit 0 nbdinfo --can write "nbd+unix:///?socket=$TMP/sock"

expect_exit 0 nbdkit "$PLUGIN" --dump-plugin
grep -qx 'name=image' out
grep -qE '^image_formats=.*qcow2.*raw|^image_formats=.*raw.*qcow2' out
expect_exit 0 nbdkit "$PLUGIN" --help
expect_out 'snapshot=NAME'
