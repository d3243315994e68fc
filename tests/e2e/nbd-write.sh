#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# imgctl writing images on NBD servers of different abilities.
. "$(dirname "$0")/../lib/e2e.sh"
. "$SRC/tests/lib/below.sh"
. "$SRC/tests/lib/peer.sh"
needs nbdsh nbdkit qemu-nbd

"$IMGCTL" info nbd: 2>err || true
grep -q 'built without' err && skip "built without NBD support"

random_file data.bin 3000000
truncate -s 8M disk.raw
dd if=data.bin of=disk.raw bs=64k seek=16 conv=notrunc status=none
dd if=data.bin of=disk.raw bs=1000 seek=6543 count=1 conv=notrunc status=none
random_file noise.raw 8388608 2

# expect_writes FILE URI: FILE, of 8 MiB, is served there with other content.
expect_writes()
{
	cp noise.raw "$1"
	expect_exit 0 "$IMGCTL" convert -n -O raw disk.raw "$2"
	same disk.raw "$1"
	cp noise.raw "$1"
	expect_exit 0 "$IMGCTL" convert -O raw disk.raw "$2"
	same disk.raw "$1"
	expect_exit 0 "$IMGCTL" convert -O qcow2 -t none disk.raw "$2"
	expect_exit 0 qemu-img compare -f raw -F qcow2 disk.raw "$1"
	expect_exit 0 qemu-img check "$1"
	expect_exit 0 "$IMGCTL" snapshot -c one "$2"
	expect_exit 0 "$IMGCTL" bench -w --pattern 7 -c 100 -d 8 -s 3000 \
		-S 40000 "$2"
	expect_exit 0 "$IMGCTL" check "$2"
	expect_exit 1 qemu-img compare -f raw -F qcow2 disk.raw "$1"
	expect_exit 0 "$IMGCTL" snapshot -a one "$2"
	expect_exit 0 "$IMGCTL" snapshot -d one "$2"
	expect_exit 0 qemu-img compare -f raw -F qcow2 disk.raw "$1"
	expect_exit 0 qemu-img check "$1"
}

serve_nbdkit()
{
	cp noise.raw disk
	start_nbdkit "$@"
	expect_writes disk "$URI"
	stop_server
}

serve_nbdkit file disk
serve_nbdkit --no-sr file disk
serve_nbdkit --filter=nozero file disk
serve_nbdkit --filter=nozero file disk zeromode=notrim
serve_nbdkit --filter=noextents file disk
serve_nbdkit --filter=noparallel --filter=multi-conn file disk \
	multi-conn-mode=disable
serve_nbdkit --filter=fua file disk
# Whole blocks only, and short ones.
for block in 512 4096 65536; do
	serve_nbdkit --filter=blocksize-policy file disk \
		blocksize-minimum=$block blocksize-preferred=65536 \
		blocksize-maximum=65536 blocksize-error-policy=error
done

cp noise.raw disk
start_qemu_nbd -f raw -e 4 --discard=unmap disk
# (qemu-img takes no lock that qemu-nbd would refuse.)
cp noise.raw copy
expect_exit 0 "$IMGCTL" convert -n -O raw disk.raw "$URI"
expect_exit 0 "$IMGCTL" compare -f raw -F raw disk.raw "$URI"
stop_server
same disk.raw disk
start_imgd -f raw -e 4 --discard=unmap disk
expect_exit 0 "$IMGCTL" convert -n -O raw noise.raw "$URI"
expect_exit 0 "$IMGCTL" compare -f raw -F raw noise.raw "$URI"
stop_server
same noise.raw disk

# Zeroes are not sent, and space is given back.
cp noise.raw disk
start_nbdkit --filter=log file disk logfile="$TMP/requests"
expect_exit 0 "$IMGCTL" convert -n -O raw disk.raw "$URI"
same disk.raw disk
grep -q ' Zero ' requests || fail "no zero request"
sent=$(sed -n 's/.* Write .*count=\(0x[0-9a-f]*\).*/\1/p' requests |
	python3 -c 'import sys; print(sum(int(l, 16) for l in sys.stdin))')
[ "$sent" -lt 3200000 ] || fail "$sent bytes were sent"
grep -q ' Flush ' requests && fail "cache=unsafe flushes"
expect_exit 0 "$IMGCTL" convert -t writeback -n -O raw disk.raw "$URI"
grep -q ' Flush ' requests || fail "no flush at the end"
stop_server

# More of them than one request may be about.
qemu-img create -q -f qcow2 empty.qcow2 6G
start_nbdkit --filter=noextents --filter=log memory 6G \
	logfile="$TMP/requests"
expect_exit 0 "$IMGCTL" convert -n -O raw empty.qcow2 "$URI"
grep -q ' Zero ' requests || fail "no zero request"
grep -q ' Write ' requests && fail "zeroes were sent"
stop_server

# Served again by imgd and by the plugin.
again()
{
	"$@"
	URI="nbd+unix:///?socket=$SOCK"
	expect_exit 0 qemu-io -f raw -c "write -P 3 1000000 300k" \
		-c "write -z 1M 64k" -c "discard 2M 1M" -c flush "$URI"
	expect_exit 0 qemu-io -f raw -c "read -P 3 1000000 40k" \
		-c "read -P 0 1M 64k" "$URI"
	expect_exit 0 "$IMGCTL" bench -f raw -w -d 32 -c 500 --random "$URI"
	stop_server
	expect_exit 0 "$IMGCTL" check "$inner"
	expect_out "No errors were found"
}
qemu-img create -q -f qcow2 again.qcow2 8M
truncate -s 12M again.qcow2
start_nbdkit file again.qcow2
inner=$URI
again start_imgd -e 0 -f qcow2 "$inner"
again start_imgd -e 0 --image-opts "driver=qcow2,file.driver=nbd,$(
	)file.path=${inner#*socket=}"
if [ -e "$PLUGIN" ]; then
	again start_nbdkit "$PLUGIN" file="$inner" format=qcow2
fi

# Space is kept there or given back as our client wants it.
start_below memory 1M
start_imgd -f raw --discard=unmap "$below"
expect_exit 0 nbdsh -u "$URI" -c 'h.zero(65536, 0)'
grep -q ' Zero .*offset=0x0 .*trim=1' requests || fail "$(cat requests)"
expect_exit 0 nbdsh -u "$URI" -c 'h.zero(65536, 65536, nbd.CMD_FLAG_NO_HOLE)'
grep -q ' Zero .*offset=0x10000 .*trim=0' requests || fail "$(cat requests)"
expect_exit 0 nbdsh -u "$URI" -c 'h.trim(65536, 131072)'
grep -qE ' (Trim|Zero) .*offset=0x20000 ' requests || fail "$(cat requests)"
stop_server

# Zeroes that must be fast are so for the server behind, or refused.
fast_zero()
{
	start_imgd -f raw "$URI"
	expect_exit "$1" nbdsh -u "$URI" \
		-c 'h.pwrite(b"x" * 1048576, 0)' \
		-c 'h.zero(524288, 0, nbd.CMD_FLAG_FAST_ZERO)' \
		-c 'assert h.pread(524289, 0) == bytes(524288) + b"x"' \
		-c 'h.zero(1000, 700000,
			nbd.CMD_FLAG_FAST_ZERO | nbd.CMD_FLAG_NO_HOLE)' \
		-c 'assert h.pread(1002, 699999) == b"x" + bytes(1000) + b"x"'
	stop_server
}
start_nbdkit --filter=log memory 1M logfile="$TMP/requests"
fast_zero 0
grep -q 'Zero .*fast=1' requests || fail "$(cat requests)"
for mode in none slow; do
	start_nbdkit --filter=nozero memory 1M zeromode=notrim fastzeromode=$mode
	fast_zero 1
	expect_err 'Operation not supported'
done
# Whole blocks of the server, or not.
start_nbdkit --filter=blocksize-policy memory 1M blocksize-minimum=4096 \
	blocksize-error-policy=error
fast_zero 0

# What is more than the server takes at a time is cut for it.
start_nbdkit --filter=blocksize-policy memory 1M blocksize-minimum=1 \
	blocksize-preferred=4096 blocksize-maximum=65536 \
	blocksize-error-policy=error
start_imgd -f raw "$URI"
expect_exit 0 nbdsh -u "$URI" -c '
for i in range(12):
    h.pwrite(bytes([i + 1]) * 262145, i)
    assert h.pread(262145, i) == bytes([i + 1]) * 262145'
stop_server

# One qcow2 over another, both on servers.
qemu-img create -q -f qcow2 base.qcow2 8M
truncate -s 9M base.qcow2
start_nbdkit file base.qcow2
base=$URI
truncate -s 4M over.disk
start_nbdkit file over.disk
over=$URI
expect_exit 0 "$IMGCTL" create -f qcow2 -b "$base" -F qcow2 "$over"
expect_exit 0 "$IMGCTL" bench -w --pattern 9 -c 20 -S 100000 "$over"
expect_exit 0 "$IMGCTL" info "$over"
expect_out "backing file: $base"
expect_exit 0 qemu-img convert -O raw "$over" want.raw
expect_exit 0 "$IMGCTL" commit "$over"
expect_exit 0 qemu-img compare -f qcow2 -F raw "$base" want.raw
expect_exit 0 "$IMGCTL" check "$base"
expect_exit 0 qemu-img check "$over"

# What is there is used as it is, if it is large enough.
start_nbdkit memory 1M
agree create -f raw "$URI" 512k
agree create -f raw "$URI" 1M
expect_exit 1 "$IMGCTL" create -f raw "$URI" 2M
expect_err "the device has 1048576 bytes, the image needs 2097152"
expect_exit 1 "$IMGCTL" convert disk.raw "$URI"
expect_exit 1 "$IMGCTL" convert -n disk.raw "$URI"
expect_exit 1 "$IMGCTL" convert -O qcow2 disk.raw "$URI"
expect_err "No space left on device"
expect_exit 1 "$IMGCTL" resize -f raw "$URI" 2M
expect_err "cannot be resized"
expect_exit 1 "$IMGCTL" create -f raw "nbd+unix:///?socket=$TMP/none" 1M
expect_err "does not support creating new images"
expect_err "No such file or directory"

# Read-only is known before anything is done.
start_nbdkit -r memory 8M
expect_exit 1 "$IMGCTL" convert -n disk.raw "$URI"
expect_err "exports it read-only"
expect_exit 1 "$IMGCTL" create -f qcow2 "$URI" 1M
expect_err "exports it read-only"
