#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# imgctl measure: against qemu-img, and against what convert makes.
. "$(dirname "$0")/../lib/e2e.sh"
. "$SRC/tests/lib/peer.sh"

cd theirs
qemu-img create -q -f qcow2 a.qcow2 10M
qemu-io -c 'write -P 1 0 64k' -c 'write -P 2 128k 192k' \
	-c 'write -z 1M 64k' a.qcow2 >io.log
qemu-img snapshot -c s1 a.qcow2
qemu-io -c 'write -P 3 4M 1M' a.qcow2 >io.log
qemu-img convert -O raw a.qcow2 a.raw
qemu-img create -q -f qcow2 -b a.qcow2 -F qcow2 over.qcow2 12M
qemu-img create -q -f qcow2 bitmaps.qcow2 1G
qemu-img bitmap --add bitmaps.qcow2 b0
cd ..

for f in a.qcow2 a.raw over.qcow2 bitmaps.qcow2; do
	for to in raw qcow2; do
		agree_on_theirs measure -O "$to" "$f"
		agree_on_theirs measure "$f" -O "$to" --output=json
	done
done
for o in cluster_size={512,4k,2M} refcount_bits={1,64} extended_l2=on \
	compat=0.10 preallocation={metadata,falloc,full} \
	cluster_size=4k,lazy_refcounts=on data_file=x; do
	agree_on_theirs measure -O qcow2 -o "$o" a.qcow2
	agree_on_theirs measure -O qcow2 -o "$o" --size 1G
done
for size in 0 3 1G 1.5T 0x10000; do
	agree measure --size "$size"
	agree measure -O qcow2 --size "$size" --output json
done
agree_on_theirs measure -O qcow2 -l s1 a.qcow2
agree_on_theirs measure -O qcow2 -l snapshot.name=s1 a.qcow2
agree_on_theirs measure -U -f qcow2 a.qcow2
agree_on_theirs measure --force-share a.qcow2
agree_on_theirs measure -f raw -O qcow2 a.raw
agree_on_theirs measure --image-opts driver=qcow2,file.filename=a.qcow2
agree_on_theirs measure --object secret,id=a,data=x a.qcow2

agree_on_theirs measure
agree_on_theirs measure --size 1G a.qcow2
agree_on_theirs measure --size x
agree_on_theirs measure -O bogus --size 1G
agree_on_theirs measure -O qcow2 --size 1G -f raw
agree_on_theirs measure -O qcow2 --size 1G -l s
agree_on_theirs measure -O qcow2 -l nosnap a.qcow2
agree_on_theirs measure --output x a.qcow2
agree_on_theirs measure -O qcow2 -o cluster_size=100 a.qcow2
agree_on_theirs measure a b
agree_on_theirs measure nope
expect_exit 1 "$IMGCTL" measure -O qcow2 -o foo=1 --size 1G
expect_err "Invalid parameter 'foo'"
expect_exit 1 "$IMGCTL" measure --bogus
expect_exit 0 "$IMGCTL" measure -O qcow2 -o help
expect_out cluster_size=

# What it says is what convert makes.
required()
{
	"$IMGCTL" measure --output=json "$@" |
		python3 -c 'import json,sys; print(json.load(sys.stdin)["required"])'
}
for o in cluster_size=64k cluster_size=4k extended_l2=on; do
	"$IMGCTL" convert -O qcow2 -o "$o" theirs/a.raw made.qcow2
	want=$(required -O qcow2 -o "$o" theirs/a.raw)
	got=$(stat -c %s made.qcow2)
	[ "$got" -le "$want" ] || fail "$o: $got bytes, $want measured"
done
