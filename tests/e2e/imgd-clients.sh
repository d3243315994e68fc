#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# imgd: clients that stall, vanish or meet a full disk cost nobody else a thing.
. "$(dirname "$0")/../lib/e2e.sh"
needs curl nbdinfo nbdcopy qemu-img qemu-io prlimit "$IMGD"

truncate -s 64M disk.raw
random_file data.raw 33554432

# Files, threads: what a client has, and leaves behind if it can.
footprint()
{
	find "/proc/$SERVER_PID/fd" -type l | wc -l
}

as_before()
{
	[ "$(footprint)" = "$1" ]
}

status()
{
	awk -v key="$1:" '$1 == key { print $2 }' "/proc/$SERVER_PID/status"
}

# stall [LEN]: a client that asks for gigabytes, LEN at a time, and reads none of
# it.
stall()
{
	python3 - "$SOCK" "${1-1048576}" <<'END' &
import socket, struct, sys, time
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.recv(18)
s.sendall(struct.pack(">I8sII", 3, b"IHAVEOPT", 1, 0))
s.recv(10)
try:
    for i in range(4000):
        s.sendall(struct.pack(">IHHQQI", 0x25609513, 0, 0, i, 0,
                              int(sys.argv[2])))
        if i == 200:
            open("stalled", "w").close()
except OSError:
    pass
time.sleep(60)
END
	staller=$!
	on_exit kill_server "$staller"
	wait_for stalled
	rm stalled
}

# (The pid file is written when all else is there.)
start_imgd -e 0 -f raw --pid-file=pid disk.raw
wait_for pid
fds=$(footprint)
stall
# Others work, and what the server holds is bounded.
nbdcopy --flush data.raw "$URI"
expect_exit 0 qemu-io -f raw -c 'write -P 1 40M 1M' -c flush "$URI"
[ "$(status VmRSS)" -lt 120000 ]
kill_server "$staller" || true
wait_until as_before "$fds"

# Killed in the middle of writing, again and again.
for i in 1 2 3 4 5 6 7 8; do
	nbdcopy --connections=4 --requests=16 data.raw "$URI" &
	copier=$!
	sleep 0.0$i
	kill_server "$copier" || true
done
wait_until as_before "$fds"
nbdcopy --flush data.raw "$URI"
stop_server
cmp -n 33554432 data.raw disk.raw

# Data that has no place in a file of its own is bounded as well.
qemu-img create -q -f qcow2 empty.qcow2 64M
start_imgd -e 0 -f qcow2 empty.qcow2
stall
sleep 0.5
[ "$(status VmHWM)" -lt 120000 ] || fail "$(status VmHWM) KiB for one client"
kill_server "$staller" || true
stop_server
# So is the number of requests: 256, and those whose replies the socket takes.
start_imgd -f qcow2 --metrics "unix:$TMP/metrics" empty.qcow2
stall 65536
requests()
{
	n=$(curl -s --unix-socket metrics http://x/ |
		sed -n 's/.*"read"} //p' | head -n 1)
}
enough()
{
	requests
	[ "$n" -ge 256 ]
}
wait_until enough || fail "only $n requests for one client"
sleep 0.5
requests
[ "$n" -lt 400 ] || fail "$n requests for one client"
kill_server "$staller" || true
stop_server

# The server ends though a client does not take its replies.
start_imgd -e 0 -f raw disk.raw
stall
stop_server

# A disk that is full gives this request an error, and the rest goes on.
next_socket
start_server prlimit --fsize=4194304 "$IMGD" -t -k "$SOCK" -f raw disk.raw
expect_exit 0 qemu-io -f raw -c 'write -P 1 0 1M' "$URI"
expect_exit 1 qemu-io -f raw -c 'write -P 2 16M 1M' "$URI"
cat out err | grep >/dev/null 'No space left on device'
expect_exit 0 qemu-io -f raw -c 'read -P 1 0 1M' -c 'write -P 3 0 1M' \
	-c 'read -P 3 0 1M' -c flush "$URI"
stop_server
