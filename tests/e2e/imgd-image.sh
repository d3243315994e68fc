#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# imgd: what the options of an image do to requests: -o, --cache, -n,
# --discard, --detect-zeroes.
. "$(dirname "$0")/../lib/e2e.sh"
. "$SRC/tests/lib/below.sh"
needs nbdinfo nbdcopy nbdkit nbdsh qemu-img qemu-io qemu-nbd "$IMGD"

# ---- -o moves all requests, as it does with the reference.

random_file data.raw 3000320
fallocate --punch-hole --offset 0 --length 512k data.raw
fallocate --punch-hole --offset 2M --length 256k data.raw
for server in imgd qemu_nbd; do
	cp data.raw $server.raw
	start_$server -f raw -o 1048576 --discard=unmap -e 1 -t $server.raw
	expect_exit 0 nbdcopy "$URI" $server.before
	expect_exit 0 nbdsh -u "$URI" -c '
h.pwrite(b"w" * 5000, 100)
h.pwrite(b"W" * 100000, 10000)
h.zero(70000, 200000)
h.zero(4096, 400000, nbd.CMD_FLAG_NO_HOLE)
h.trim(131072, 524288)
h.pwrite(b"e", h.get_size() - 1)
h.cache(h.get_size(), 0)
h.flush()'
	expect_exit 0 nbdcopy "$URI" $server.after
	stop_server
done
tail -c +1048577 data.raw | cmp - imgd.before
same qemu_nbd.after imgd.after
same qemu_nbd.raw imgd.raw
qemu-img create -q -f qcow2 bitmap.qcow2 4M
qemu-img bitmap --add -g 64k bitmap.qcow2 b
qemu-io -f qcow2 -c 'write 2M 64k' bitmap.qcow2 >io
start_imgd -r -f qcow2 -o 1M -B b bitmap.qcow2
expect_exit 0 nbdinfo --map=qemu:dirty-bitmap:b "$URI"
[ "$(awk '{ print $1, $2, $3 }' out)" = '0 1048576 0
1048576 65536 1
1114112 2031616 0' ] || fail "$(cat out)"
stop_server

# ---- What becomes durable when: nbdkit, below, tells what it was asked.

start_below memory 1M
# imgd_durable PYTHON ARGS...
imgd_durable()
{
	durable "$1" start_imgd "${@:2}"
}
write='h.pwrite(b"x" * 4096, 0)'
for mode in writethrough directsync; do
	imgd_durable "$write" -f raw --cache=$mode "$below" && [ "$n" -ge 1 ]
done
imgd_durable "$write" -f raw --cache=unsafe \
	--export "=file=$below,format=raw,cache=writethrough" && [ "$n" -ge 1 ]
for mode in writeback none off unsafe; do
	imgd_durable "$write" -f raw --cache=$mode "$below" && [ "$n" = 0 ]
done
imgd_durable "$write; h.flush()" -f raw "$below" && [ "$n" = 1 ]
imgd_durable "$write; h.flush()" -f raw -n "$below" && [ "$n" = 1 ]
imgd_durable "$write; h.flush()" -f raw --cache=unsafe "$below" && [ "$n" = 0 ]
fua='h.pwrite(bytes(65536), 0, nbd.CMD_FLAG_FUA)'
for mode in off on unmap; do
	imgd_durable "$fua" -f raw --discard=unmap --detect-zeroes=$mode \
		"$below" && [ "$n" -ge 1 ]
	grep -q ' Zero ' requests || [ $mode = off ]
done
imgd_durable 'h.pwrite(bytes(65536), 0)' \
	--export "=file=$below,format=raw,discard=unmap,detect-zeroes=unmap"
grep -q ' Zero .*trim=1' requests
grep -q ' Write ' requests && fail 'zeroes are written'

# Past the page cache, or not.
direct()
{
	start_imgd -f raw "$@" data.raw
	python3 - "$SERVER_PID" <<'END'
import os, sys
proc = "/proc/%s/" % sys.argv[1]
for fd in os.listdir(proc + "fd"):
    if os.readlink(proc + "fd/" + fd).endswith("/data.raw"):
        for line in open(proc + "fdinfo/" + fd):
            if line.startswith("flags:"):
                print(bool(int(line.split()[1], 8) & os.O_DIRECT))
END
	stop_server
}
if dd if=data.raw iflag=direct of=/dev/null bs=4k count=1 2>dd.log; then
	for args in -n --cache=none --cache=off --cache=directsync; do
		[ "$(direct $args | sort -u)" = True ]
	done
	for args in --cache=writeback --cache=writethrough -r; do
		[ "$(direct $args | sort -u)" = False ]
	done
fi

# ---- --discard: space is given back where that is wanted.

for args in noise.raw '--discard=ignore noise.raw' \
	'--discard=unmap noise.raw' '--export =noise.raw,discard=unmap' \
	'--discard=unmap --export =noise.raw,discard=off'; do
	random_file noise.raw 4194304
	# shellcheck disable=SC2086
	start_imgd -f raw $args
	expect_exit 0 nbdsh -u "$URI" -c 'h.trim(2 << 20, 1 << 20)' \
		-c 'h.flush()'
	stop_server
	used=$(($(stat -c '%b * %B' noise.raw)))
	if [[ $args == *discard=unmap* && $args != *off ]]; then
		[ "$used" -le 2200000 ] || fail "still $used bytes"
	else
		[ "$used" -ge 4194304 ] || fail "only $used bytes"
	fi
done
