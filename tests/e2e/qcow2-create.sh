#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# imgctl create -f qcow2: the files are those that qemu-img makes, byte for byte
# where nothing is preallocated on the host; what it refuses is refused alike.
. "$(dirname "$0")/../lib/e2e.sh"
. "$SRC/tests/lib/peer.sh"

both qemu-img create -q -f qcow2 base.qcow2 3M

# identical ARGS...: both make i.qcow2, and it is the same.
identical()
{
	agree create -f qcow2 "$@"
	same ours/i.qcow2 theirs/i.qcow2
}

for size in 0 512 1M 513M 1T; do
	identical i.qcow2 "$size"
done
for bits in 1 2 4 8 16 32 64; do
	for cluster in 512 1k 8k 64k 2M; do
		identical -o "refcount_bits=$bits,cluster_size=$cluster" \
			i.qcow2 7M
	done
done
for o in compat={0.10,v2,1.1,v3} lazy_refcounts=on compression_type=zstd \
	extended_l2=on extended_l2=on,cluster_size={16k,2M} \
	data_file={d.raw,d.raw,data_file_raw=on} preallocation=metadata \
	preallocation=metadata,extended_l2=on; do
	identical -o "$o" i.qcow2 30M
done
identical -o compat=v2 -b base.qcow2 -F qcow2 i.qcow2
identical -o extended_l2=on,preallocation=metadata \
	-b base.qcow2 -F qcow2 i.qcow2

# alike OPTIONS: the same length and map; the peer finds nothing wrong.
alike()
{
	agree create -f qcow2 -o "$1" i.qcow2 30M
	[ "$(stat -c %s ours/i.qcow2)" = "$(stat -c %s theirs/i.qcow2)" ] ||
		fail "$1: another length"
	(cd ours && qemu-img check -q i.qcow2)
	(cd ours && qemu-img map --output=json i.qcow2) >ours.map
	(cd theirs && qemu-img map --output=json i.qcow2) >theirs.map
	same ours.map theirs.map
}

for mode in falloc full; do
	for o in cluster_size=64k extended_l2=on data_file=d.raw \
		data_file=d.raw,data_file_raw=on; do
		alike "preallocation=$mode,$o"
	done
done
[ "$(stat -c %b ours/d.raw)" -ge 61440 ] || fail "d.raw is not allocated"

# Refused, with the old file untouched.
echo old >ours/kept
refuse()
{
	local text=$1
	shift
	(cd ours && expect_exit 1 "$IMGCTL" create -f qcow2 "$@")
	expect_err "$text"
	[ "$(cat ours/kept)" = old ] || fail "an image was destroyed: $*"
}

too_large='The image size is too large for file format '\''qcow2'\'''
too_large="$too_large (try using a larger cluster size)"
for size in 100 511 3000 0 4M; do
	refuse 'Cluster size must be a power of two between 512 and 2048k' \
		-o cluster_size="$size" kept 1M
done
for bits in 0 3 128; do
	refuse 'Refcount width must be a power of two and may not exceed' \
		-o refcount_bits="$bits" kept 1M
done
refuse "$too_large" -o cluster_size=512 kept 129G
refuse "$too_large" kept 8191P
for o in lazy_refcounts=on extended_l2=on compression_type=zstd data_file=x; do
	refuse 'with compatibility level 1.1 and above' -o compat=v2,"$o" kept 1M
done
refuse 'Different refcount widths than 16 bits' \
	-o compat=0.10,refcount_bits=8 kept 1M
refuse "Parameter 'version' does not accept value 'v4'" -o compat=v4 kept 1M
refuse "Parameter 'compression-type' does not accept value 'lz4'" \
	-o compression_type=lz4 kept 1M
refuse "Parameter 'preallocation' does not accept value 'some'" \
	-o preallocation=some kept 1M
refuse 'cluster sizes of at least 16384 bytes' \
	-o extended_l2=on,cluster_size=8k kept 1M
refuse 'data-file-raw requires data-file' -o data_file_raw=on kept 1M
refuse 'Backing file and data-file-raw cannot be used at the same time' \
	-o data_file=x,data_file_raw=on -b base.qcow2 -F qcow2 kept
refuse 'can only be used at the same time if extended_l2 is on' \
	-o preallocation=metadata -b base.qcow2 -F qcow2 kept
refuse 'do not fit into a qcow2 header of 512 bytes' -u -o cluster_size=512 \
	-b "$(printf 'x%.0s' {1..500})" -F qcow2 kept 1M
refuse '' -o data_file=kept kept 1M
refuse 'is the image or its backing file' \
	-o data_file=base.qcow2 -b base.qcow2 -F qcow2 kept
qemu-img check -q ours/base.qcow2
[ ! -e ours/x ] || fail "a data file was made for a refused image"
