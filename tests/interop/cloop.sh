#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# cloop: images that cloop-utils make, as qemu-img reads them; damaged ones.
. "$(dirname "$0")/../lib/e2e.sh"
. "$SRC/tests/lib/readonly.sh"
needs create_compressed_fs jq qemu-img nbdkit nbdcopy "$IMGCTL" "$PLUGIN"

# Noise, then what packs well; the last block is not full.
random_file disk 300000
seq -w 66667 >>disk
create_compressed_fs -q -B 65536 disk disk.cloop >/dev/null 2>&1
qemu-img convert -f cloop -O raw disk.cloop theirs.raw
cmp -n 700002 disk theirs.raw
reads_as cloop disk.cloop theirs.raw
refuses_writes cloop disk.cloop

# A large block, that no chunk of a copy holds.
create_compressed_fs -q -B 2097152 disk large.cloop >/dev/null 2>&1
qemu-img convert -f cloop -O raw large.cloop large.raw
reads_as cloop large.cloop large.raw

if [ -d "$SAMPLES" ]; then
	file=$(sample simple-pattern.cloop)
	qemu-img convert -f cloop -O raw "$file" sample.raw
	reads_as cloop "$file" sample.raw
fi

# refused OFFSET HEX MESSAGE: not opened with these bytes in the header.
refused()
{
	cp disk.cloop bad.cloop
	poke bad.cloop "$1" "$2"
	expect_exit 1 "$IMGCTL" convert -f cloop -O raw bad.cloop out.raw
	expect_err "bad.cloop"
	expect_err "$3"
}

refused 12 33 'not in cloop format, version 2'
refused 128 00000000 'blocks of 0 bytes'
refused 128 00000201 'blocks of 513 bytes'
refused 128 04000200 'blocks of 67109376 bytes'
refused 132 ffffffff 'the table of 4294967295 blocks'

# damaged OFFSET HEX MESSAGE...: in what is stored of blocks 2 and 3.
damaged()
{
	cp disk.cloop bad.cloop
	poke bad.cloop "$1" "$2"
	expect_exit 1 "$IMGCTL" convert -O raw bad.cloop out.raw
	expect_err "$3"
	expect_exit 0 "$IMGCTL" convert --salvage -O raw bad.cloop out.raw
	cmp -n $((2 * 65536)) theirs.raw out.raw
	cmp -i $((4 * 65536)) theirs.raw out.raw
	expect_exit 2 "$IMGCTL" check bad.cloop
	shift 2
	for text; do
		expect_err "$text"
	done
}

table=$((136 + 3 * 8))
damaged $table ffffffffffffffff 'cloop block 2: from' 'cloop block 3: from'
damaged $table 0000000000000000 'cloop block 2: from' \
	'incorrect header check'
start=$(python3 -c 'import struct
print(struct.unpack(">Q", open("disk.cloop", "rb").read()[160:168])[0])')
damaged "$start" ffff 'incorrect header check'
damaged $((start + 1000)) 00ff00ff00ff 'compressed data of'
