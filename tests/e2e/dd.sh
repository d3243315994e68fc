#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# imgctl dd: against dd(1), and against qemu-img where it does the same.
. "$(dirname "$0")/../lib/e2e.sh"
. "$SRC/tests/lib/peer.sh"

random_file ours/in.raw 1048576
truncate -s 2M ours/in.raw
cp ours/in.raw theirs/in.raw
cp ours/in.raw in.raw
both qemu-img convert -f raw -O qcow2 in.raw in.qcow2

agree dd
agree dd if=in.raw
agree dd if=in.raw of=o seek=3
agree dd foo
agree dd conv=notrunc if=in.raw of=o
agree dd if=in.raw of=o bs=0
agree dd if=in.raw of=o bs=3G
agree dd if=in.raw of=o bs=x
agree dd if=in.raw of=o count=x
agree dd if=nope of=o
agree dd if= of=o
agree dd -n if=in.raw of=o
agree dd -f raw --image-opts if=driver=raw,file.filename=in.raw of=o
expect_exit 1 "$IMGCTL" dd -O bogus if=in.raw of=o
expect_exit 1 "$IMGCTL" dd if=in.raw of=nodir/o
expect_err 'nodir/o: error while creating output image: '
expect_exit 1 "$IMGCTL" dd if=in.raw of=in.raw
expect_err 'Failed to get "write" lock'
same in.raw ours/in.raw

# dd_like ARGS...: the same file as dd(1) makes, in whole sectors.
dd_like()
{
	expect_exit 0 "$IMGCTL" dd -f raw if=in.raw of=got "$@"
	[ ! -s out ] && [ ! -s err ]
	dd if=in.raw of=want "$@" 2>dd.log
	truncate -s %512 want
	same want got
}

dd_like
dd_like bs=1M
dd_like bs=64k count=3
dd_like bs=64k skip=5
dd_like bs=64k count=2 skip=1
dd_like bs=64k count=2 skip=3
dd_like bs=64k count=100 skip=3
dd_like bs=1000 count=7 skip=11
dd_like count=0
dd_like bs=1M skip=2
dd_like bs=100k skip=20 count=1

# Past the end: said, and an empty output.
expect_exit 0 "$IMGCTL" dd if=in.raw of=got bs=1M skip=30
expect_err 'in.raw: cannot skip to specified offset'
[ ! -s got ]
expect_exit 0 "$IMGCTL" dd if=in.raw of=got bs=2147483647 skip=9000000000000000000
[ ! -s got ]

# Formats.
expect_exit 0 "$IMGCTL" dd -O qcow2 if=ours/in.qcow2 of=o.qcow2 bs=64k count=4
qemu-img info o.qcow2 | grep >/dev/null 'virtual size: 256 KiB'
expect_exit 0 "$IMGCTL" dd -f qcow2 -O raw if=o.qcow2 of=got
head -c 256K in.raw >want
same want got
expect_exit 0 "$IMGCTL" dd --image-opts if=driver=qcow2,file.filename=o.qcow2 of=got
same want got
expect_exit 0 "$IMGCTL" dd --object secret,id=a,data=x if=o.qcow2 of=got
hold_lock in.raw
expect_exit 1 "$IMGCTL" dd -f raw if=in.raw of=got
expect_exit 0 "$IMGCTL" dd -U -f raw if=in.raw of=got
expect_exit 0 "$IMGCTL" dd --force-share -f raw if=in.raw of=got
same in.raw got
