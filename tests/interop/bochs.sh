#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Bochs: images that bximage makes, as qemu-img reads them; damaged ones.
. "$(dirname "$0")/../lib/e2e.sh"
. "$SRC/tests/lib/readonly.sh"
needs bximage mke2fs jq qemu-img nbdkit nbdcopy "$IMGCTL" "$PLUGIN"

# A disk with a file system, and with bytes in its first and last sectors.
bximage -q -func=create -hd=10M -imgmode=flat flat >/dev/null
mke2fs -q -F -t ext2 flat
printf 'first' | dd of=flat conv=notrunc status=none
printf 'last!' | dd of=flat conv=notrunc status=none oflag=seek_bytes \
	seek=$(($(stat -c %s flat) - 5))
bximage -q -func=convert -imgmode=growing flat disk.bochs >/dev/null
qemu-img convert -f bochs -O raw disk.bochs theirs.raw
same flat theirs.raw
reads_as bochs disk.bochs flat
refuses_writes bochs disk.bochs
# What was never written is a hole.
[ "$("$IMGCTL" map --output=json disk.bochs |
	jq '[.[] | select(.present)] | length')" -gt 2 ]
[ "$("$IMGCTL" map --output=json disk.bochs |
	jq '[.[] | select(.present) | .length] | add')" -lt 200000 ]

bximage -q -func=create -hd=10M -imgmode=growing empty.bochs >/dev/null
truncate -s "$(stat -c %s flat)" zeroes
reads_as bochs empty.bochs zeroes

if [ -d "$SAMPLES" ]; then
	file=$(sample empty.bochs)
	qemu-img convert -f bochs -O raw "$file" theirs.raw
	reads_as bochs "$file" theirs.raw
fi

# refused OFFSET HEX MESSAGE: not opened with these bytes in the header.
refused()
{
	cp disk.bochs bad.bochs
	poke bad.bochs "$1" "$2"
	expect_exit 1 "$IMGCTL" convert -f bochs -O raw bad.bochs out.raw
	expect_err "bad.bochs"
	expect_err "$3"
}

refused 0 00 'not in Bochs format'
refused 48 556e646f6161626c6500 "kind 'Undoaable'"
refused 48 ffffffffffffffffffffffffffffffff 'only '
refused 64 00000300 'version 0x30000'
refused 68 ffffffff 'Bochs catalog'
refused 72 00000000 'catalog has 0 extents'
refused 72 ffffffff 'catalog of 4294967295 entries'
refused 76 00000000 'bitmaps of 0 bytes'
refused 80 00000000 'extents of 0 bytes'
refused 80 00030000 'extents of 768 bytes'
refused 80 00000001 'extents of 16777216 bytes'
refused 88 ffffffffffffff7f 'a disk of 9223372036854775296 bytes'

# Damage of one extent leaves the others readable.
cp disk.bochs bad.bochs
poke bad.bochs 516 feffff7f
expect_exit 1 "$IMGCTL" convert -O raw bad.bochs out.raw
expect_err 'Bochs extent 1: its space at'
expect_exit 0 "$IMGCTL" convert --salvage -O raw bad.bochs out.raw
cmp -n 16384 flat out.raw
expect_exit 2 "$IMGCTL" check bad.bochs
expect_err 'Bochs extent 1: its space at'
cp disk.bochs bad.bochs
poke bad.bochs 516 00000000
expect_exit 2 "$IMGCTL" check bad.bochs
expect_err 'two extents have the number 0'
