#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# imgd: the protocol as libnbd speaks it: what is durable when, several
# contexts at once, and the error that each wrong request gets.
. "$(dirname "$0")/../lib/e2e.sh"
needs nbdkit nbdsh qemu-img qemu-io "$IMGD"
nbdsh -c 'pass' 2>/dev/null || skip 'no nbd module for python3'

# What one connection wrote and another flushed is there after the server was
# killed: all that was in its memory is gone.  So is what was written with FUA.
qemu-img create -q -f qcow2 disk.qcow2 64M
start_imgd -e 0 -f qcow2 disk.qcow2
expect_exit 0 nbdsh -c '
a, b = nbd.NBD(), nbd.NBD()
for h in a, b:
    h.connect_uri("'"$URI"'")
    assert h.can_multi_conn()
for i in range(40):
    a.pwrite(bytes([i + 1]) * 70000, i * 1000000)
b.flush()
b.pwrite(b"f" * 1000, 50000001, nbd.CMD_FLAG_FUA)
a.zero(200000, 55000000, nbd.CMD_FLAG_FUA)
import os
os.kill('"$SERVER_PID"', 9)
'
wait "$SERVER_PID" || true
commands=(-c "read -P $((0x66)) 50000001 1000")
for ((i = 0; i < 40; i++)); do
	commands+=(-c "read -P $((i + 1)) $((i * 1000000)) 70000")
done
expect_exit 0 qemu-io -f qcow2 "${commands[@]}" disk.qcow2
grep -q 'Pattern verification failed' out && fail 'flushed data is lost'
# leaks at worst
qemu-img check -q -f qcow2 disk.qcow2 || [ $? = 3 ]

# Several contexts in one answer; each covers what was asked.
qemu-img bitmap --add -g 64k disk.qcow2 b0
qemu-io -f qcow2 -c 'write 60M 128k' disk.qcow2 >/dev/null
start_imgd -e 0 -f qcow2 -A -B b0 disk.qcow2
expect_exit 0 nbdsh -c '
names = ["base:allocation", "imgd:map", "qemu:allocation-depth",
         "qemu:dirty-bitmap:b0"]
for n in names:
    h.add_meta_context(n)
h.connect_uri("'"$URI"'")
def ask(off, length, flags=0):
    seen = {}
    def extent(context, at, entries, err):
        assert at == off
        seen[context] = list(zip(entries[::2], entries[1::2]))
    h.block_status(length, off, extent, flags)
    assert sorted(seen) == names, seen
    return seen
seen = ask(0, 64 << 20)
for c in names:
    assert sum(n for n, s in seen[c]) == 64 << 20, c
assert [n for n, s in seen["qemu:dirty-bitmap:b0"] if s] == [128 << 10]
for off in 0, 1, 59 << 20, (60 << 20) + 5:
    for c, e in ask(off, 3 << 20, nbd.CMD_FLAG_REQ_ONE).items():
        assert len(e) == 1 and 0 < e[0][0] <= 3 << 20, (c, e)
'
stop_server

# The largest request that is allowed, and one byte more.
truncate -s 34M long.raw
start_imgd -f raw long.raw
expect_exit 0 nbdsh -u "$URI" -c '
import errno
n = 32 << 20
h.pwrite(b"l" * n, 1 << 20)
assert h.pread(n, 1 << 20) == b"l" * n
h.set_strict_mode(0)
for flags, want in (0, errno.EINVAL), (nbd.CMD_FLAG_DF, errno.EOVERFLOW):
    try:
        h.pread(n + 1, 0, flags)
        assert False
    except nbd.Error as e:
        assert e.errnum == want, e
try:
    h.pwrite(bytes(n + 1), 0)
    assert False
except nbd.Error:
    pass'
stop_server

# More than 4 GiB in one request, which needs extended headers; also where the
# image is on a server that has none.
long_requests()
{
	expect_exit 0 nbdsh -u "$URI" -c '
for at in 0, 3 << 30, 5 << 30:
    h.pwrite(b"d" * (1 << 20), at)'
	PYTHONPATH=$SRC/tests/lib expect_exit 0 python3 - "$SOCK" <<'END'
import sys
from nbdext import CMD_CACHE, CMD_FLUSH, CMD_TRIM, CMD_ZERO, Peer
p = Peer(sys.argv[1])
p.set_context(b"base:allocation")
p.go()
p.do(CMD_CACHE, 0, p.size)
assert [s for n, s in p.status(0, p.size) if n > 1 << 30] == [3, 3]
p.do(CMD_TRIM, 65536, 1 << 32)
assert list(p.status(65536, 1 << 32)) == [(1 << 32, 3)]
p.do(CMD_ZERO, 65536, 5 << 30, 1)
assert list(p.status(65536, 5 << 30)) == [(5 << 30, 3)]
p.do(CMD_FLUSH, 0, 0)
END
	expect_exit 0 nbdsh -u "$URI" -c '
for at, data in (0, b"d"), (65536, b"\0"), (3 << 30, b"\0"), (5 << 30, b"\0"), (
        (5 << 30) + 65536, b"d"):
    assert h.pread(65536, at) == data * 65536, at'
	stop_server
}
qemu-img create -q -f qcow2 huge.qcow2 6G
start_imgd -e 0 -f qcow2 --discard=unmap huge.qcow2
long_requests
start_nbdkit memory 6G
start_imgd -e 0 -f raw --discard=unmap "$URI"
long_requests

# Errors.  libnbd is told to send what it should not.
cat >errors.py <<'E2'
import errno, sys
h.set_strict_mode(0)
h.set_request_block_size(False)
h.connect_uri(sys.argv[1])
size, read_only = h.get_size(), h.is_read_only()
def refuses(want, call, *args):
    try:
        call(*args)
    except nbd.Error as e:
        assert e.errnum == getattr(errno, want), (want, e.errno, call, args)
    else:
        sys.exit("no error: %s%r" % (call, args))
write = "EPERM" if read_only else "ENOSPC"
refuses("EINVAL", h.pread, 2, size - 1)
refuses(write, h.pwrite, b"xx", size - 1)
refuses(write, h.zero, 2, size - 1)
refuses("EPERM" if read_only else "EINVAL", h.trim, 2, size - 1)
refuses("EINVAL", h.cache, 2, size - 1)
refuses("EINVAL", h.pread, 1, 0, nbd.CMD_FLAG_NO_HOLE)
refuses("EINVAL", h.pwrite, b"x", 0, nbd.CMD_FLAG_DF)
refuses("EINVAL", h.flush, nbd.CMD_FLAG_NO_HOLE)
refuses("EINVAL", h.block_status, 512, 0, lambda *a: 0)
if read_only:
    refuses("EPERM", h.pwrite, b"x", 0)
    refuses("EPERM", h.zero, 512, 0)
    refuses("EPERM", h.trim, 512, 0)
else:
    h.zero(1 << 20, 0, nbd.CMD_FLAG_FAST_ZERO)
    h.zero(1000, 7, nbd.CMD_FLAG_NO_HOLE | nbd.CMD_FLAG_FUA)
    h.pwrite(b"y" * 5, size - 5)
h.cache(size, 0)
h.flush()
assert len(h.pread(size, 0, nbd.CMD_FLAG_DF)) == size
h.shutdown()
E2
qemu-img create -q -f qcow2 small.qcow2 3M
for args in '' -r; do
	# shellcheck disable=SC2086
	start_imgd $args -f qcow2 small.qcow2
	expect_exit 0 nbdsh -c 'import sys; sys.argv = ["", "'"$URI"'"]' \
		-c 'exec(open("errors.py").read())'
	stop_server
done
expect_exit 0 qemu-img check -f qcow2 small.qcow2
