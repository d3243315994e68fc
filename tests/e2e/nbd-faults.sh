#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# imgctl with NBD servers that lie, die, or say nothing.
. "$(dirname "$0")/../lib/e2e.sh"
needs jq nbdkit nbdsh python3 "$IMGCTL"

"$IMGCTL" info nbd: 2>err || true
grep -q 'built without' err && skip "built without NBD support"

# The servers of badnbd.py; bad WHAT: the next command meets this one.
mapfile -t all_bad < <(grep -oE '"[a-z]+(-[a-z]+)+"' "$SRC/tests/lib/badnbd.py" |
	tr -d '"' | sort -u)
python3 "$SRC/tests/lib/badnbd.py" nothing silent garbage simple depth-good \
	"${all_bad[@]}" &
on_exit kill_server $!
wait_for ready

bad()
{
	SOCK=$TMP/$1.sock
	URI="nbd+unix:///?socket=$SOCK"
	[ -S "$SOCK" ] || fail "no such server: $1"
}

# Runs in a few seconds: no crash, no hang, one line that names the server.
# try N CMD...
try()
{
	local want=$1
	shift
	expect_exit "$want" timeout -s KILL 20 "$IMGCTL" "$@"
	if [ "$want" != 0 ]; then
		[ "$(wc -l <err)" = 1 ] || fail "not one line: $(cat err)"
		expect_err "$SOCK"
	fi
}

python3 -c '
import sys
for i in range(16):
    sys.stdout.buffer.write(bytes([0x55 * (1 - i % 2)]) * 65536)' >want.raw
cp want.raw old.raw

# Whoever lies in the handshake is refused.
for what in close-at-once close-after-magic garbage option-garbage \
	option-huge size-max size-huge block-unaligned-size; do
	bad $what
	try 1 info "$URI"
done
bad silent
try 1 info --image-opts "driver=nbd,path=$SOCK,request-timeout=1"
expect_err "does not answer"

# What a good server says, and what can be made good.
for what in nothing simple block-odd block-huge block-inverted \
	status-zero-length-later status-beyond status-flags; do
	bad $what
	try 0 map -f raw --output=json "$URI"
	if [ $what != status-beyond ]; then
		try 0 convert -f raw "$URI" out.raw
		same want.raw out.raw
	fi
done
bad size-zero
try 0 info -f raw "$URI"
expect_out "virtual size: 0 B"

# Reads that fail leave the old target as it was.
for what in read-error read-short read-nothing read-elsewhere read-too-much \
	read-hole-outside read-hole-zero wrong-cookie huge-chunk \
	read-twice reply-garbage close-always size-changes; do
	bad $what
	try 1 convert -f raw "$URI" old.raw
	same want.raw old.raw
done
bad read-silent
try 1 convert --image-opts \
	"driver=raw,file.driver=nbd,file.path=$SOCK,file.request-timeout=1" \
	old.raw
same want.raw old.raw

# Block status that makes no sense.
for what in status-error status-empty status-zero-length status-half \
	status-context; do
	bad $what
	try 1 map -f raw --output=json "$URI"
done

# Depths that make no sense.  A hole that is of no layer is not there.
for what in depth-empty depth-missing; do
	bad $what
	try 1 map -f raw --output=json "$URI"
done
for what in depth-short depth-zero-length depth-huge depth-good; do
	bad $what
	try 0 map -f raw --output=json "$URI"
	try 0 convert -f raw "$URI" out.raw
	same want.raw out.raw
done
bad depth-good
try 0 map -f raw --output=json "$URI"
jq -c 'map([.start, .depth, .present]) | unique_by(.[1:])' out >depths
[ "$(cat depths)" = '[[589824,0,false],[524288,0,true],[0,1,true]]' ] ||
	fail "$(cat depths)"

# A connection that is lost is made again, once.
bad close-first
try 1 convert -f raw "$URI" old.raw
bad close-always
try 1 convert --image-opts \
	"driver=raw,file.driver=nbd,file.path=$SOCK,file.reconnect-delay=1" \
	old.raw
for what in read-only-later flush-not-later; do
	bad $what
	try 1 convert --image-opts \
		"driver=raw,file.driver=nbd,file.path=$SOCK,$(
		)file.reconnect-delay=1" old.raw
	expect_err "can do less than it could at first"
done
same want.raw old.raw
bad close-first-again
try 0 convert --image-opts \
	"driver=raw,file.driver=nbd,file.path=$SOCK,file.reconnect-delay=10" \
	out.raw
same want.raw out.raw

# Writes.
head -c 1048576 /dev/zero | tr '\0' '\314' >new.raw
for what in write-error write-full; do
	bad $what
	try 1 convert -n -O raw new.raw "$URI"
done
expect_err "No space left on device"
bad flush-error
try 1 convert -t none -n -O raw new.raw "$URI"
# imgd cannot store at its end what it had told a client is written.
start_imgd -f raw "$URI"
expect_exit 0 nbdsh -u "$URI" -c 'h.pwrite(b"x", 0)'
kill "$SERVER_PID"
rc=0
wait "$SERVER_PID" || rc=$?
[ "$rc" = 1 ]
grep -q 'could not sync: Input/output error' "server-$server_n.log"
if [ -e "$PLUGIN" ]; then
	bad flush-error
	start_nbdkit "$PLUGIN" file="$URI" format=raw
	expect_exit 0 nbdsh -u "$URI" -c 'h.pwrite(b"x", 0)'
	stop_server
	grep -q 'could not sync: Input/output error' "server-$server_n.log"
fi
bad zero-unsupported
try 0 convert -n -O raw want.raw "$URI"
try 0 compare -f raw -F raw want.raw "$URI"
bad only-fua
try 0 convert -t none -n -O raw new.raw "$URI"
try 0 compare -f raw -F raw new.raw "$URI"

# What the server may have lost is not passed over in silence.
bad close-writes
try 1 bench -f raw -w -d 1 -c 100 "$URI"
expect_err "perhaps what was written since the last flush"
bad close-flush
try 1 convert -t none -n -O raw new.raw "$URI"
expect_err "perhaps what was written since the last flush"
bad close-writes-again
try 0 bench -w -d 1 -c 100 --image-opts \
	"driver=raw,file.driver=nbd,file.path=$SOCK,file.reconnect-delay=5"

# What it cannot have lost is no reason to stop.
bad only-fua-close
try 0 bench -f raw -w -d 1 -c 100 "$URI"
bad close-flushed
start_imgd -f raw "$URI"
expect_exit 0 nbdsh -u "$URI" -c 'h.pwrite(b"1" * 4096, 0)' -c 'h.flush()' \
	-c 'h.pwrite(b"2" * 4096, 4096)' -c 'h.flush()' \
	-c 'assert h.pread(8192, 0) == b"1" * 4096 + b"2" * 4096'
stop_server

# A flush is for a connection that was there when what it flushes was written:
# one that is newer may be to a server that was started since.
start_nbdkit --filter=log --filter=delay memory 1M rdelay=3 logfile=log
start_imgd -f raw "$URI"
expect_exit 0 nbdsh -u "$URI" -c 'h.pwrite(b"1" * 4096, 0)' \
	-c 'read = h.aio_pread(nbd.Buffer(4096), 0x18000)' -c '
while not h.aio_command_completed(read):
    h.poll(10)
    if "offset=0x18000" in open("log").read():
        break' -c 'h.flush()'
for what in Write Flush; do
	grep -m 1 " $what id=" log | sed 's/.*\(connection=[0-9]*\).*/\1/'
done >used
[ "$(uniq used | wc -l)" = 1 ] || fail "$(cat log)"
stop_server

# A server that is killed in the middle, source or target.
start_nbdkit --filter=delay memory 64M rdelay=500ms
(sleep 0.7; kill -9 "$SERVER_PID") &
try 1 convert -S 0 -f raw "$URI" old.raw
same want.raw old.raw
truncate -s 64M big.raw
start_nbdkit --filter=delay memory 64M wdelay=500ms
(sleep 0.7; kill -9 "$SERVER_PID") &
try 1 convert -S 0 -n -O raw big.raw "$URI"

# imgd is killed and started again: nobody notices who has nbdkit between, which
# tries again, nor who waits.
start_imgd -e 0 -f raw want.raw
imgd=$SOCK
(sleep 1; kill -9 "$SERVER_PID"; rm "$imgd"; sleep 0.5
	wait_until ended "$SERVER_PID"
	exec "$IMGD" -t -e 0 -k "$imgd" -f raw "$TMP/want.raw") &
on_exit kill_server $!
start_nbdkit --filter=retry --filter=blocksize --filter=delay nbd \
	socket="$imgd" maxdata=64k rdelay=2 retry-delay=1 \
	retry-exponential=no
try 0 convert -S 0 -f raw "$URI" out.raw
same want.raw out.raw

# One that comes back is waited for.
next_socket
late=$SOCK
try 1 info "nbd+unix:///?socket=$late"
(sleep 1; exec nbdkit -f -U "$late" -P "$TMP/late.pid" memory 1M) &
on_exit kill_server $!
try 0 info --image-opts "driver=nbd,path=$late,open-timeout=15"
expect_out "1 MiB"

# A disk that fails.
start_nbdkit --filter=error memory 1M error-pread-rate=100% error=EIO
try 1 convert -S 0 -f raw "$URI" old.raw
expect_err "Input/output error"
start_nbdkit --filter=error memory 1M error-extents-rate=100% error=EIO
try 1 map -f raw --output=json "$URI"

# Connected and let down before we look again: it is not that there was no
# connection.  (One that waits is all that the server has room for.)
expect_exit 0 python3 - "$IMGCTL" <<'END'
import os, signal, socket, subprocess, sys, time

def connecting(port):
    with open("/proc/net/tcp") as f:
        return any(x[2] == "0100007F:%04X" % port and x[3] == "02"
                   for x in map(str.split, f))

s = socket.socket()
s.bind(("127.0.0.1", 0))
s.listen(0)
port = s.getsockname()[1]
waiting = socket.create_connection(s.getsockname())
client = subprocess.Popen([sys.argv[1], "info", f"nbd://127.0.0.1:{port}"],
                          stderr=subprocess.PIPE, text=True)
while not connecting(port):
    assert client.poll() is None
    time.sleep(0.01)
os.kill(client.pid, signal.SIGSTOP)
s.accept()
late = s.accept()[0]
late.sendall(b"not NBD!" * 10)
late.close()
os.kill(client.pid, signal.SIGCONT)
print(client.communicate(timeout=20)[1])
END
expect_out 'NBD negotiation failed'
