#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# imgctl reading images on NBD servers: names, info, map, convert, compare.
. "$(dirname "$0")/../lib/e2e.sh"
. "$SRC/tests/lib/peer.sh"
needs nbdkit nbdsh qemu-nbd nbdinfo

"$IMGCTL" info nbd: 2>err || true
grep -q 'built without' err && skip "built without NBD support"

# Data here and there, holes between.
make_disk()
{
	local i
	random_file data.bin 1048576
	truncate -s 40M "$1"
	for i in 0 3 4 9 20 33; do
		dd if=data.bin of="$1" bs=64k seek=$((i * 16 + i)) \
			count=$((i % 5 + 1)) conv=notrunc status=none
	done
	dd if=data.bin of="$1" bs=1000 seek=41942 count=1 conv=notrunc \
		status=none
}
make_disk disk.raw

# The same answers, whatever serves it and however it is named.
expect_reads()
{
	local uri=$1
	agree info "$uri"
	agree map "$uri"
	agree map --output=json "$uri"
	expect_exit 0 "$IMGCTL" convert "$uri" out.raw
	same disk.raw out.raw
	expect_exit 0 "$IMGCTL" compare "$uri" disk.raw
	expect_out "Images are identical."
}

start_qemu_nbd -f raw -r -e 8 disk.raw
expect_reads "$URI"
qemu_uri=$URI
start_nbdkit -r file disk.raw
expect_reads "$URI"
expect_reads "nbd:unix:$SOCK"
start_imgd -f raw -r -e 8 disk.raw
expect_reads "$URI"
expect_exit 0 "$IMGCTL" compare "$qemu_uri" "$URI"
agree dd if="$URI" of=dd.raw bs=64k count=20
same ours/dd.raw theirs/dd.raw
agree measure -O qcow2 "$URI"

# A server without block status, and one without structured replies.
start_nbdkit -r --no-sr file disk.raw
expect_reads "$URI"

# Who waits for a server needs no processor: with one there are several
# connections at work, too.
start_nbdkit -r --filter=log --filter=delay pattern 8M rdelay=100ms \
	logfile="$TMP/requests"
expect_exit 0 taskset -c "$(taskset -cp $$ | sed 's/.*: //; s/[-,].*//')" \
	"$IMGCTL" convert "$URI" out.raw
[ "$(grep -o 'connection=[0-9]* Read' requests | sort -u | wc -l)" -ge 3 ]

: >requests
expect_exit 0 "$IMGCTL" convert --image-opts "driver=raw,file.driver=nbd,$(
	)file.path=$SOCK,file.connections=1" out.raw
[ "$(grep -c ' Connect ' requests)" = 1 ]

# A size that is no multiple of anything.
random_file odd.raw 1234567
start_nbdkit -r file odd.raw
expect_exit 0 "$IMGCTL" convert "$URI" out.raw
head -c 1234567 out.raw >head.raw
same odd.raw head.raw

# The convert skips what the server says is a hole.
start_nbdkit -r --filter=log file disk.raw logfile="$TMP/requests"
expect_exit 0 "$IMGCTL" convert "$URI" out.raw
same disk.raw out.raw
read_len=$(sed -n 's/.* Read .*count=\(0x[0-9a-f]*\).*/\1/p' requests |
	python3 -c 'import sys; print(sum(int(l, 16) for l in sys.stdin))')
[ "$read_len" -lt 4000000 ] || fail "$read_len bytes were read"

# bench: as many connections as it is told, where the server allows them.
start_nbdkit -r --filter=log file disk.raw logfile="$TMP/requests"
for n in 1 3 8; do
	: >requests
	expect_exit 0 "$IMGCTL" bench -f raw -c 4000 -d 4 --random \
		--connections "$n" "$URI"
	made=$(grep -c ' Connect ' requests) || true
	[ "$made" -ge 1 ] && [ "$made" -le "$n" ] ||
		fail "$made connections instead of $n"
done
[ "$made" -gt 1 ] || fail "one connection for 8 clients"

# One, where the server does not say that several see the same; as many as it
# has room for, where it does not say how many that is.
start_nbdkit -r --filter=multi-conn --filter=log file disk.raw \
	multi-conn-mode=disable logfile="$TMP/requests"
expect_exit 0 "$IMGCTL" bench -f raw -c 1000 -d 8 --connections 4 "$URI"
[ "$(grep -c ' Connect ' requests)" = 1 ] || fail "$(grep Connect requests)"
start_imgd -r -f raw -e 2 disk.raw
expect_exit 0 timeout 40 "$IMGCTL" bench -f raw -c 1000 -d 8 --connections 4 \
	"$URI"

# What a server said of its holes is believed for a second: others write, too.
truncate -s 1M changes.raw
start_nbdkit file changes.raw
first=$URI
start_imgd -r -f raw "$first"
expect_exit 0 nbdinfo --map "$URI"
[ "$(awk '{ print $3 }' out)" = 3 ]
nbdsh -u "$first" -c 'h.pwrite(b"x" * 65536, 65536)'
sleep 1.1
expect_exit 0 nbdinfo --map "$URI"
[ "$(awk '{ print $3 }' out | tr '\n' ' ')" = '3 0 3 ' ] || fail "$(cat out)"

# Export names.
start_qemu_nbd -f raw -r -x 'my export' disk.raw
agree info "nbd:unix:$SOCK:exportname=my export"
agree info "nbd+unix:///my%20export?socket=$SOCK"
agree info --image-opts \
	"driver=raw,file.driver=nbd,file.server.type=unix,file.server.path=$SOCK,file.export=my export"
agree info "json:{'driver':'raw','file':{'driver':'nbd','path':'$SOCK','export':'my export'}}"
agree map --image-opts "driver=nbd,path=$SOCK,export=my export"
expect_exit 1 "$IMGCTL" info "nbd+unix:///other?socket=$SOCK"
expect_err "Requested export not available"

# Over TCP.
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
nbdkit -f -r -i 127.0.0.1 -p "$port" -P tcp.pid file disk.raw &
on_exit kill_server $!
wait_for tcp.pid
expect_reads "nbd://127.0.0.1:$port"
expect_reads "nbd:127.0.0.1:$port"
agree info --image-opts \
	"driver=raw,file.driver=nbd,file.server.type=inet,file.server.host=127.0.0.1,file.server.port=$port"

# qcow2 on a server, with a backing file there too.
qemu-img convert -O qcow2 disk.raw base.qcow2
start_nbdkit -r file base.qcow2
expect_reads "$URI"
base=$URI
qemu-img create -q -f qcow2 -b "$base" -F qcow2 over.qcow2
start_nbdkit -r file over.qcow2
expect_reads "$URI"
agree info --backing-chain "$URI"
agree compare -U "$base" "$URI"
expect_exit 0 "$IMGCTL" check "$base"

# How deep the server's data lies, where it says that, is how deep it is; so it
# is through a second server.
qemu-img create -q -f raw low.raw 4M
qemu-io -f raw -c 'write 0 64k' low.raw >/dev/null
qemu-img create -q -f qcow2 -b low.raw -F raw mid.qcow2
qemu-io -c 'write 1M 64k' mid.qcow2 >/dev/null
qemu-img create -q -f qcow2 -b mid.qcow2 -F qcow2 top.qcow2
qemu-img bitmap --add --enable top.qcow2 b
qemu-io -c 'write 2M 64k' -c 'write -z 3M 64k' -c 'write 192k 64k' \
	top.qcow2 >/dev/null
qemu-img convert -O raw top.qcow2 want.raw
layers()
{
	jq -c '.[] | [.start, .length, .depth, .present, .zero, .data]'
}
qemu-img map --output=json top.qcow2 | layers >want
grep -q 2,true,false,true want
for server in start_imgd start_qemu_nbd; do
	$server -A -B b -r -e 8 -f qcow2 top.qcow2
	expect_exit 0 "$IMGCTL" map --output=json "$URI"
	layers <out >got
	same want got
	first=$URI
	start_imgd -A -r -f raw "$URI"
	expect_exit 0 "$IMGCTL" map --output=json "$URI"
	layers <out >got
	same want got
	expect_exit 0 nbdinfo --map=qemu:allocation-depth "$URI"
	mv out got
	expect_exit 0 nbdinfo --map=qemu:allocation-depth "$first"
	same out got
	# A dirty bitmap in place of what is there: for map alone, the
	# contents are what they are.
	bitmap=driver=nbd,path=${first#*socket=},x-dirty-bitmap
	agree map --image-opts "$bitmap=qemu:dirty-bitmap:b"
	agree map --output=json --image-opts "$bitmap=qemu:dirty-bitmap:b"
	expect_exit 0 "$IMGCTL" convert -O raw --image-opts \
		"$bitmap=qemu:dirty-bitmap:b" out.raw
	same want.raw out.raw
	expect_exit 1 "$IMGCTL" map --image-opts \
		"$bitmap=qemu:dirty-bitmap:none"
	expect_err "has no 'qemu:dirty-bitmap:none'"
	expect_exit 1 "$IMGCTL" map --image-opts "$bitmap=base:allocation"
	expect_err 'only qemu:dirty-bitmap:NAME'
done

# A name inside an image: relative to nothing, or to itself; and the gate.
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 relative.qcow2
start_nbdkit -r file relative.qcow2
agree info "$URI"
expect_exit 1 "$IMGCTL" map "$URI"
expect_err "Cannot generate a base directory for NBD nodes"
next_socket
qemu-img create -q -u -f qcow2 -b "nbd:unix:$SOCK" -F qcow2 loop.qcow2 1M
start_server nbdkit -f -r -U "$SOCK" file loop.qcow2
expect_exit 1 "$IMGCTL" map "$URI"
expect_err "creates an infinite loop"
start_imgd -r -f qcow2 over.qcow2
expect_exit 0 "$IMGCTL" compare "$URI" disk.raw
qemu-img create -q -f qcow2 -o "data_file=data.raw" data.qcow2 1M
python3 - data.qcow2 "$base" <<'END'
import sys
image = open(sys.argv[1], "r+b").read()
name = sys.argv[2].encode()
at = image.index(b"data.raw")
length = (len(name) + 7) // 8 * 8
new = image[:at - 4] + len(name).to_bytes(4, "big") + name.ljust(length, b"\0")
new += image[at + 8:]
open(sys.argv[1], "wb").write(new[:len(image)])
END
expect_exit 1 "$IMGCTL" map data.qcow2
expect_err "Unknown protocol 'nbd+unix'"

# What does not work says why.
agree info "nbd+unix:///?socket=$TMP/none"
agree info nbd:127.0.0.1:1
agree info nbd:
agree info nbd:somewhere
agree info nbd+what://x
agree info --image-opts driver=nbd
agree info --image-opts driver=nbd,server.type=inet,server.host=h
agree info --image-opts "driver=nbd,path=$SOCK,host=h"
expect_exit 1 "$IMGCTL" info "nbd://127.0.0.1:1/?what=1"
expect_err "unknown parameter 'what'"
expect_exit 1 "$IMGCTL" info --image-opts "driver=nbd,path=$SOCK,bogus=1"
expect_err "Block protocol 'nbd' doesn't support the option 'bogus'"
expect_exit 1 "$IMGCTL" resize -f raw "$base" 1G
expect_err "exports it read-only"
