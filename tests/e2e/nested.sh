#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# An image inside of another one, and storage that is named as the format: both
# tools read what the other has written there, and call it the same.
. "$(dirname "$0")/../lib/e2e.sh"
. "$SRC/tests/lib/peer.sh"
. "$SRC/tests/lib/crypt.sh"
needs "$IMGD" nbdsh

random_file src 3145728
truncate -s 8M src
both cp ../src .

# ---- storage as a format

both cp src copy
for args in "info -f file copy" "info -f host_device copy" \
	"info -f nbd copy" "info -f file nope" "info -f host_device nope" \
	"info --output=json --image-opts driver=file,filename=copy" \
	"map --output=json -f file copy" "check -f file copy" \
	"convert -f file -O raw copy out" "compare -f file copy out" \
	"convert -O file copy out2" "compare -F file src out2" \
	"create -f file new 1M" "create -f nbd new2 1M" \
	"create -f host_device new2 1M" "resize -f file new 2M" \
	"measure -O file new" "convert -O host_device src new2" \
	"create -f qcow2 -F file -b src over" "info over" \
	"compare -F raw over src"; do
	# shellcheck disable=SC2086
	agree $args
done
[ ! -e ours/new2 ] || fail "a file was made where a device was asked for"
cp src out.nbd
start_imgd -f raw out.nbd
agree info -f nbd "$URI"
agree info --image-opts "driver=nbd,server.type=unix,server.path=$SOCK"
expect_exit 0 "$IMGCTL" convert -n -f raw -O nbd src "$URI"
stop_server

# ---- names

both qemu-img create -q -f qcow2 q 8M
qemu-img create -q -f luks "${secrets[@]}" -o key-secret=s,iter-time=10 \
	enc 8M
both cp ../enc .
for args in driver=qcow2,file.driver=raw,file.offset=0,file.file.filename=q \
	driver=qcow2,file.filename=q driver=raw,offset=512,file.filename=q \
	driver=raw,size=512,offset=512,file.filename=q \
	driver=luks,key-secret=s,file.filename=enc \
	driver=raw,file.driver=luks,file.key-secret=s,file.file.filename=enc \
	driver=qcow2,file.driver=nope,file.file.filename=q; do
	agree info "${secrets[@]}" --image-opts "$args"
	agree info --output=json "${secrets[@]}" --image-opts "$args"
done

# ---- contents

# nested NAME: where the image NAME is.
nested()
{
	case $1 in
	part) echo driver=qcow2,file.driver=raw,file.offset=1M,file.file.filename=part ;;
	luks) echo driver=qcow2,file.driver=luks,file.key-secret=s,file.file.filename=luks ;;
	qcow2) echo driver=vdi,file.driver=qcow2,file.file.filename=qcow2 ;;
	deep) echo driver=vhdx,file.driver=raw,file.file.driver=luks,file.file.key-secret=s,file.file.file.driver=qcow2,file.file.file.file.filename=deep ;;
	esac
}

# An empty image inside of each.
both qemu-img create -q -f qcow2 inner 8M
(truncate -s 1M part && cat ours/inner >>part)
qemu-img create -q -f luks "${secrets[@]}" -o key-secret=s,iter-time=10 luks 256k
qemu-img convert -n -f raw "${secrets[@]}" --target-image-opts ours/inner \
	driver=luks,key-secret=s,file.filename=luks
qemu-img create -q -f vdi inner.vdi 8M
qemu-img convert -f raw -O qcow2 inner.vdi qcow2
qemu-img resize -q qcow2 10M
qemu-img create -q -f vhdx -o log_size=1M,block_size=1M inner.vhdx 8M
qemu-img create -q -f luks "${secrets[@]}" -o key-secret=s,iter-time=10 deep.luks \
	"$(stat -c %s inner.vhdx)"
qemu-img convert -n -f raw "${secrets[@]}" --target-image-opts inner.vhdx \
	driver=luks,key-secret=s,file.filename=deep.luks
qemu-img convert -f raw -O qcow2 deep.luks deep

# (In a disk that would have to grow, the peer loses what it writes.)
for name in part luks qcow2; do
	echo "$name:"
	image=$(nested $name)
	for dir in ours theirs; do
		cp $name $dir
	done
	agree convert -n "${secrets[@]}" --target-image-opts -f raw src "$image"
	for tool in "$OURS" "$THEIRS"; do
		for dir in ours theirs; do
			(cd $dir && expect_exit 0 "$tool" compare \
				"${secrets[@]}" --image-opts "$image" \
				driver=raw,file.filename=src)
		done
	done
	agree_on_theirs map --output=json "${secrets[@]}" --image-opts "$image"
	# (What is past the end of a VDI counts as leaks.)
	[ $name = qcow2 ] || expect_exit 0 "$IMGCTL" check -q "${secrets[@]}" --image-opts \
		"${image//filename=/filename=ours/}"
done

# Requests in any order, while the file below grows; then both agree.
oracle()
{
	nbdsh "$@" -c '
import random
r = random.Random(5)
disk = bytearray(8 << 20)
for i in range(200):
    n = r.randrange(1, 100000)
    at = r.randrange(len(disk) - n)
    kind = r.randrange(4)
    data = r.randbytes(n) if kind else bytes(n)
    if kind:
        h.pwrite(data, at)
    else:
        h.zero(n, at)
    disk[at:at + n] = data
    at = r.randrange(len(disk) - n)
    assert h.pread(n, at) == disk[at:at + n]
h.flush()
open("oracle", "wb").write(disk)'
}
for name in luks qcow2 deep; do
	echo "$name, written by a client:"
	start_imgd "${secrets[@]}" --image-opts "$(nested $name)"
	oracle -u "$URI"
	stop_server
	for tool in "$IMGCTL" qemu-img; do
		expect_exit 0 "$tool" compare "${secrets[@]}" --image-opts \
			"$(nested $name)" driver=raw,file.filename=oracle
	done
done

# A part of fixed size is full at some time; nothing is lost by that.
cp ours/inner full
truncate -s 262144 full
expect_exit 1 "$IMGCTL" convert -n --target-image-opts -f raw src \
	driver=qcow2,file.driver=raw,file.size=256k,file.file.filename=full
expect_exit 0 "$IMGCTL" check -q -f qcow2 full
[ "$(stat -c %s full)" = 262144 ] || fail "it has grown"

# No image is below itself without an end.
"$IMGCTL" create -q -f qcow2 loop 1M
expect_exit 0 "$IMGCTL" rebase -q -u -f qcow2 -F raw -b \
	'json:{"driver":"raw","file":{"driver":"qcow2","file":{"filename":"loop"}}}' \
	loop
expect_exit 1 "$IMGCTL" convert -f qcow2 -O raw loop out
