#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Every geometry of qcow2, made by us and by the reference: each reads what the
# other made, and finds it whole after our server wrote to it.
. "$(dirname "$0")/../lib/e2e.sh"
needs qemu-img "$IMGCTL" "$IMGD" "$STAMPER"

sectors=16384

# serve_and_write IMAGE: 300 random requests from four clients, then the
# reference says that nothing is wrong, and the contents are as they must be.
serve_and_write()
{
	cp first.model model
	start_imgd --shared=4 --discard=unmap -f qcow2 "$1"
	expect_exit 0 "$STAMPER" run model "$URI" 300 "$seed"
	stop_server
	expect_exit 0 qemu-img check -f qcow2 "$1"
	expect_exit 0 "$IMGCTL" check -f qcow2 "$1"
	qemu-img convert -f qcow2 -O raw "$1" out.raw
	expect_exit 0 "$STAMPER" verify model out.raw
}

# agree IMAGE: both find it whole and equal to the source.
agree()
{
	expect_exit 0 qemu-img check -f qcow2 "$1"
	expect_exit 0 "$IMGCTL" check -f qcow2 "$1"
	expect_exit 0 qemu-img compare -f raw -F qcow2 src.raw "$1"
	expect_exit 0 "$IMGCTL" compare -f raw -F qcow2 src.raw "$1"
}

# geometry OPTIONS [CONVERT-OPTION...]
geometry()
{
	local opts=$1 tool
	shift
	seed=$((seed + 1))
	echo "$opts $*"
	for tool in "$IMGCTL" qemu-img; do
		rm -f disk.qcow2 data.raw
		expect_exit 0 "$tool" convert -f raw -O qcow2 -o "$opts" "$@" \
			src.raw disk.qcow2
		agree disk.qcow2
		serve_and_write disk.qcow2
	done
}

seed=0
"$STAMPER" new first.model $sectors stamped
"$STAMPER" fill first.model src.raw

for cluster in 512 1k 2k 4k 8k 16k 32k 64k 128k 256k 512k 1M 2M; do
	geometry compat=1.1,cluster_size=$cluster
	geometry compat=0.10,cluster_size=$cluster
	geometry compat=1.1,cluster_size=$cluster,compression_type=zstd -c
done
for cluster in 512 4k 64k 2M; do
	geometry compat=0.10,cluster_size=$cluster -c
done
for bits in 1 2 4 8 16 32 64; do
	geometry refcount_bits=$bits
	geometry refcount_bits=$bits,cluster_size=512
done
for cluster in 16k 32k 64k 128k 2M; do
	geometry extended_l2=on,cluster_size=$cluster
done
geometry extended_l2=on -c
for prealloc in metadata falloc full; do
	geometry preallocation=$prealloc
done
geometry extended_l2=on,preallocation=metadata
geometry lazy_refcounts=on
for raw in on off; do
	geometry data_file=data.raw,data_file_raw=$raw
	geometry data_file=data.raw,data_file_raw=$raw,cluster_size=4k
done
