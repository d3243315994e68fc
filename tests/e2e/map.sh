#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# imgctl map: both layouts, against qemu-img.
. "$(dirname "$0")/../lib/e2e.sh"
. "$SRC/tests/lib/peer.sh"

cd theirs
qemu-img create -q -f qcow2 base.qcow2 10M
qemu-io -c 'write -P 1 0 128k' -c 'write -P 2 1M 64k' -c 'write -z 2M 64k' \
	-c 'write -P 3 3M 64k' base.qcow2 >io.log
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 mid.qcow2 12M
qemu-io -c 'write -P 4 1M 64k' -c 'write -z 3M 64k' mid.qcow2 >io.log
qemu-img create -q -f qcow2 -b mid.qcow2 -F qcow2 top.qcow2
qemu-io -c 'write -P 5 11M 64k' -c 'write -P 6 64k 64k' top.qcow2 >io.log
qemu-img convert -c -O qcow2 base.qcow2 packed.qcow2
qemu-img create -q -f qcow2 -b packed.qcow2 -F qcow2 over.qcow2
qemu-img create -q -f qcow2 empty.qcow2 0
qemu-img create -q -f qcow2 -o compat=0.10 v2.qcow2 1M
qemu-io -c 'write -P 1 64k 64k' v2.qcow2 >io.log
qemu-img create -q -f qcow2 -o extended_l2=on l2.qcow2 1M
qemu-io -c 'write -P 1 4k 4k' -c 'write -P 1 256k 64k' l2.qcow2 >io.log
truncate -s 4M flat.raw
qemu-io -f raw -c 'write -P 1 1M 64k' flat.raw >io.log
truncate -s 0 zero.raw
cp base.qcow2 gone.qcow2
qemu-img create -q -f qcow2 -b gone.qcow2 -F qcow2 orphan.qcow2
rm gone.qcow2
cd ..

for f in base mid top packed over empty v2 orphan; do
	agree_on_theirs map "$f.qcow2"
	agree_on_theirs map --output=json "$f.qcow2"
done
for f in flat.raw zero.raw; do
	agree_on_theirs map "$f"
	agree_on_theirs map "$f" --output json
done

# Part of an image.
for range in '-s 1M -l 64k' '-s 100M' '-l 0' '-s 5 -l 7' '-s 10M' \
	'-s 1048577' '-l 7E' '--start-offset=0x10000 --max-length 70000' \
	'-s x' '-l x' '-s 9E' '-l 1.5' '-s 0.5M'; do
	# shellcheck disable=SC2086
	agree_on_theirs map --output=json $range base.qcow2
	# shellcheck disable=SC2086
	agree_on_theirs map base.qcow2 $range
done

expect_exit 1 "$IMGCTL" map -s -1 theirs/base.qcow2
expect_err "Must be between 0 and 9223372036854775807."

# The other options.
agree_on_theirs map -f raw --output=json flat.raw
agree_on_theirs map -U --format=qcow2 base.qcow2
agree_on_theirs map --image-opts driver=qcow2,file.filename=base.qcow2
agree_on_theirs map --image-opts driver=qcow2,file.filename=top.qcow2,backing.driver=qcow2,backing.file.filename=base.qcow2
agree_on_theirs map --object secret,id=a,data=x base.qcow2
agree_on_theirs map --image-opts -f raw driver=raw,file.filename=flat.raw
agree_on_theirs map --output=yaml base.qcow2
agree_on_theirs map
agree_on_theirs map a b
agree_on_theirs map nope
agree_on_theirs map -q base.qcow2
hold_lock theirs/flat.raw
expect_exit 1 "$IMGCTL" map -f raw theirs/flat.raw
expect_exit 0 "$IMGCTL" map --force-share -f raw theirs/flat.raw

# What the peer does not print yet.
expect_exit 0 "$IMGCTL" map --output=json theirs/packed.qcow2
expect_out '"start": 0, "length": 131072, "depth": 0, "present": true, "zero": false, "data": true, "compressed": true}'
expect_exit 0 "$IMGCTL" map --output=json theirs/base.qcow2
expect_out '"data": true, "compressed": false, "offset": '

# JSON as a whole: covers the disk once, in order.
for f in base mid top packed l2; do
	"$IMGCTL" map --output=json "theirs/$f.qcow2" |
		python3 -c '
import json, sys
at = 0
for x in json.load(sys.stdin):
    assert x["start"] == at and x["length"] > 0, x
    at += x["length"]
assert at == int(sys.argv[1]), at
' "$("$IMGCTL" info --output=json "theirs/$f.qcow2" |
		python3 -c 'import json,sys; print(json.load(sys.stdin)["virtual-size"])')"
done
expect_exit 1 sh -c '"$1" map theirs/base.qcow2 >/dev/full' - "$IMGCTL"
