#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# imgctl convert -c: levels of compression, and what they cannot go with.
. "$(dirname "$0")/../lib/e2e.sh"
needs qemu-img

# Text, bytes that do not compress, a hole, and an odd end.
seq 400000 >in.raw
random_file random 200000
cat random >>in.raw
truncate -s 4M in.raw
tail -c 100001 random >>in.raw
qemu-img convert -f raw -O qcow2 in.raw in.qcow2

# packed ARGS... TARGET: it holds the disk, and the peer finds it sound.
packed()
{
	expect_exit 0 "$IMGCTL" convert -c -O qcow2 "$@"
	[ ! -s err ] && [ ! -s out ]
	qemu-img compare -q -f raw -F qcow2 in.raw "${!#}"
	qemu-img check -q "${!#}"
	qemu-img info "${!#}" >info
}

size_of()
{
	stat -c %s "$1"
}

packed in.raw zlib.qcow2
for level in 1 6 9; do
	packed -o compression_level=$level in.qcow2 "zlib-$level.qcow2"
	packed -m 1 -o compression_level=$level in.qcow2 m1.qcow2
	same "zlib-$level.qcow2" m1.qcow2
done
[ "$(size_of zlib-9.qcow2)" -lt "$(size_of zlib-1.qcow2)" ]
# The peer packs at 6.
qemu-img convert -c -O qcow2 in.raw peer.qcow2
[ "$(size_of zlib-6.qcow2)" -le $(($(size_of peer.qcow2) + 65536)) ]

if "$IMGCTL" convert -c -O qcow2 -o compression_type=zstd in.raw zstd.qcow2
then
	packed -o compression_type=zstd in.raw zstd.qcow2
	for level in 1 3 19; do
		packed -o compression_type=zstd,compression_level=$level \
			in.raw "zstd-$level.qcow2"
		grep -q 'compression type: zstd' info
	done
	same zstd.qcow2 zstd-3.qcow2
	[ "$(size_of zstd-19.qcow2)" -lt "$(size_of zstd-1.qcow2)" ]
	expect_exit 1 "$IMGCTL" convert -c -O qcow2 \
		-o compression_type=zstd,compression_level=20 in.raw no.qcow2
	expect_err 'compression level 20 of zstd, allowed are 1 to 19'
fi

# What is refused, with nothing made.
for level in 0 10 18446744073709551615; do
	expect_exit 1 "$IMGCTL" convert -c -O qcow2 \
		-o compression_level=$level in.raw no.qcow2
	expect_err "compression level $level of zlib, allowed are 1 to 9"
done
for level in x -1 1k ''; do
	expect_exit 1 "$IMGCTL" convert -c -O qcow2 \
		-o compression_level="$level" in.raw no.qcow2
	expect_err "Parameter 'compression_level' expects a number"
done
expect_exit 1 "$IMGCTL" convert -O qcow2 -o compression_level=3 in.raw no.qcow2
expect_err 'compression_level needs -c'
expect_exit 1 "$IMGCTL" create -f qcow2 -o compression_level=3 no.qcow2 1M
expect_err 'an image does not record it'
expect_exit 1 "$IMGCTL" create -f raw -o compression_level=3 no.qcow2 1M
expect_err "Invalid parameter 'compression_level'"
expect_exit 1 "$IMGCTL" measure -O qcow2 -o compression_level=10 in.raw
expect_err 'compression level 10 of zlib, allowed are 1 to 9'
[ ! -e no.qcow2 ]

# To measure is to allow for data that does not compress.
expect_exit 0 "$IMGCTL" measure -O qcow2 in.raw
cp out want
expect_exit 0 "$IMGCTL" measure -O qcow2 -o compression_level=9 in.raw
same want out

# The others that -c does not go with.
for o in '-O raw' '-O qcow2 -o preallocation=metadata' \
	'-O qcow2 -o preallocation=full' '-C -O qcow2'; do
	# shellcheck disable=SC2086
	expect_exit 1 "$IMGCTL" convert -c $o in.raw no.qcow2
	[ -s err ] && [ ! -e no.qcow2 ]
done
