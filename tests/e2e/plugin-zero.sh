#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# nbdkit image: zero, trim, flush and FUA, over qcow2 with and without a base.
. "$(dirname "$0")/../lib/e2e.sh"
. "$SRC/tests/lib/below.sh"
needs nbdkit nbdsh qemu-img qemu-io "$PLUGIN"

# A qemu-io command line over NBD must succeed, patterns included.
io()
{
	expect_exit 0 qemu-io -f raw --discard=unmap "$@" "$URI"
}

allocated()
{
	stat -c '%b * %B' "$1" | xargs expr
}

qemu-img create -q -f qcow2 base.qcow2 8M
qemu-io -c 'write -P 1 0 8M' base.qcow2 >/dev/null
before=$(sha base.qcow2)
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 top.qcow2

start_nbdkit "$PLUGIN" top.qcow2
# Zero hides the base: whole clusters, parts of them, with and without space.
io -c 'write -z 0 64k' -c 'write -z -u 100k 200k' -c 'write -z 1M 513' \
	-c 'read -P 0 0 64k' -c 'read -P 1 64k 36k' -c 'read -P 0 100k 200k' \
	-c 'read -P 1 300k 700k' -c 'read -P 0 1M 513' -c 'read -P 1 1049089 9000'
# Data, then zeroes over it, then data again.
io -c 'write -P 2 2M 256k' -c 'write -z -u 2M 128k' -c 'write -P 3 2100k 4k' \
	-c 'read -P 0 2M 52k' -c 'read -P 3 2100k 4k' -c 'read -P 2 2176k 128k'
# FUA on each of them; flush.
io -c 'write -f -P 4 3M 4k' -c 'write -f -z 3200k 4k' -c flush \
	-c 'read -P 4 3M 4k' -c 'read -P 0 3200k 4k'
# A trim of this overlay must not let the base show through what was written.
io -c 'write -P 5 4M 1M' -c 'discard 4M 1M' -c 'read -P 0 4M 1M'
# Fast zero: done at once, or refused for that reason; then nothing changed.
# Cache is a hint.
nbdsh -u "$URI" -c - <<'END'
import errno

h.pwrite(b"x" * 65536, 6 << 20)
h.zero(65536, 6 << 20, nbd.CMD_FLAG_FAST_ZERO)
assert h.pread(65536, 6 << 20) == bytes(65536)
h.pwrite(b"x" * 65536, 6 << 20)
try:
    h.zero(1000, (6 << 20) + 512, nbd.CMD_FLAG_FAST_ZERO)
    assert h.pread(1000, (6 << 20) + 512) == bytes(1000)
except nbd.Error as e:
    assert e.errnum == errno.ENOTSUP, e
    assert h.pread(65536, 6 << 20) == b"x" * 65536
h.cache(1 << 20, 0)
END
stop_server
[ "$before" = "$(sha base.qcow2)" ]
expect_exit 0 qemu-img check top.qcow2
expect_exit 0 qemu-io -r -c 'read -P 0 0 64k' -c 'read -P 0 100k 200k' \
	-c 'read -P 0 1M 513' -c 'read -P 3 2100k 4k' -c 'read -P 4 3M 4k' \
	-c 'read -P 0 4M 1M' top.qcow2

# Trimmed space is given back, unless discard=ignore says not to.
for discard in unmap ignore; do
	rm -f disk.qcow2
	qemu-img create -q -f qcow2 disk.qcow2 16M
	qemu-io -c 'write -P 1 0 16M' disk.qcow2 >/dev/null
	start_nbdkit "$PLUGIN" disk.qcow2 discard=$discard
	io -c 'discard 0 12M' -c flush -c 'read -P 1 12M 4M'
	stop_server
	expect_exit 0 qemu-img check disk.qcow2
	used=$(allocated disk.qcow2)
	case $discard in
	unmap) [ "$used" -lt 6000000 ] || fail "still $used bytes" ;;
	ignore) [ "$used" -gt 16000000 ] || fail "only $used bytes" ;;
	esac
done

# Raw files: holes for zeroes with -u, and space kept without.
truncate -s 8M plain.raw
start_nbdkit "$PLUGIN" plain.raw format=raw
io -c 'write -P 1 0 8M' -c flush -c 'write -z -u 0 4M' -c 'write -z 4M 1000' \
	-c flush -c 'read -P 0 0 4M' -c 'read -P 0 4M 1000' \
	-c 'read -P 1 4195304 1000'
stop_server
[ "$(allocated plain.raw)" -le 4300000 ]

# What becomes durable when, and what goes wrong.
start_below memory 1M
# plugin_durable PYTHON PARAM...
plugin_durable()
{
	durable "$1" start_nbdkit "$PLUGIN" file="$below" format=raw "${@:2}"
}
write='h.pwrite(b"x" * 4096, 0)'
plugin_durable "$write" && [ "$n" = 0 ]
plugin_durable "$write; h.flush()" && [ "$n" = 1 ]
plugin_durable "$write; h.flush()" cache=unsafe && [ "$n" = 0 ]
plugin_durable "$write" cache=writethrough && [ "$n" -ge 1 ]
for did in 'pwrite(b"x" * 4096, 0' 'zero(4096, 0' 'trim(4096, 0'; do
	plugin_durable "h.$did, nbd.CMD_FLAG_FUA)" && [ "$n" -ge 1 ] ||
		fail "$did"
done
# A zero that cannot be fast is refused, which is no message for the log.
start_below --filter=nozero memory 1M zeromode=notrim fastzeromode=none
start_nbdkit "$PLUGIN" file="$below" format=raw
expect_exit 1 nbdsh -u "$URI" -c 'h.zero(4096, 0, nbd.CMD_FLAG_FAST_ZERO)'
expect_err 'Operation not supported'
stop_server
grep error "server-$server_n.log" && fail 'it is in the log'
start_below --filter=error memory 1M error-pwrite-rate=100% error=ENOSPC
start_nbdkit "$PLUGIN" file="$below" format=raw
expect_exit 1 nbdsh -u "$URI" -c 'h.pwrite(b"x", 0)'
expect_err 'No space left on device'
stop_server
