#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# imgd --exports-dir: what is in the folder is served, as it is when a client
# asks, and nothing besides.
. "$(dirname "$0")/../lib/e2e.sh"
needs nbdinfo nbdcopy nbdsh qemu-img qemu-io jq curl mkfifo "$IMGD"

random_file data.raw 1000000
random_file other.raw 500000 2
qemu-img convert -f raw -O qcow2 data.raw disk.qcow2
mkdir dir

# at EXPORT: its URI.
at()
{
	echo "nbd+unix:///$1?socket=$SOCK"
}

# lists NAME...: these are the exports, as a client sees them.
lists()
{
	"$IMGD" -L -k "$SOCK" --output=json >list
	[ "$(jq -r ".exports[].name" list |
		tr '\n' ',')" = "$(printf '%s,' "$@")" ] ||
		fail "not ($*): $(cat list)"
}

# holds EXPORT FILE: its contents are those of the file.
holds()
{
	nbdcopy "$(at "$1")" out.raw
	cmp -n "$(stat -c %s "$2")" "$2" out.raw
}

# refuses NAME...: there are no such exports.
refuses()
{
	local name
	for name; do
		expect_exit 1 nbdinfo "$(at "$name")"
		expect_err 'No such file'
	done
}

# Files come and go; the folder is found again from elsewhere.
expect_exit 0 "$IMGD" --fork -t -e 0 -k "$TMP/forked" --pid-file=pid \
	--exports-dir dir
on_exit kill_daemon "$(cat pid)"
SOCK=$TMP/forked
cp data.raw dir/b.raw
holds b.raw data.raw
kill "$(cat pid)"
wait_until test ! -e pid
rm dir/b.raw

start_imgd -e 0 --metrics "unix:$TMP/metrics" --exports-dir dir \
	--export top=disk.qcow2,format=qcow2 -f raw
lists top
refuses b.raw ''
cp data.raw dir/b.raw
lists top b.raw
holds b.raw data.raw
cp other.raw dir/a
lists top a b.raw
holds a other.raw
mv dir/a 'dir/c d'
lists top b.raw 'c d'
holds c%20d other.raw
refuses a
rm 'dir/c d'
lists top b.raw
refuses c%20d
cp other.raw dir/top # hidden by the export of that name
lists top b.raw
holds top data.raw
rm dir/top

# Nothing else: hidden files, folders, links wherever they lead, what is no
# disk, other folders.
mkdir dir/folder outside
cp data.raw dir/.hidden
cp data.raw dir/folder/below
cp data.raw outside/secret
ln -s ../outside/secret dir/link
ln -s b.raw dir/near
ln -s "$TMP/outside" dir/away
ln -s nowhere dir/dangling
ln -s /dev/null dir/device
mkfifo dir/pipe
lists top b.raw
refuses .hidden folder folder/below ../outside/secret link near away \
	away/secret dangling device pipe . .. ./b.raw b.raw/ /b.raw \
	"$TMP/dir/b.raw" '' "$(printf %0300d 1)"

# Who has a file keeps it, when it is replaced or removed; others get what is
# there now.  All who have the same file see the same.
cp other.raw other.raw.new
expect_exit 0 env FILE_URI="$(at b.raw)" PATH="/usr/bin:$PATH" nbdsh -c '
import os
uri = os.environ["FILE_URI"]
def new():
    c = nbd.NBD()
    c.connect_uri(uri)
    return c
a, b = new(), new()
a.pwrite(b"1" * 4096, 8192)
assert b.pread(4096, 8192) == b"1" * 4096
os.replace("other.raw.new", "dir/b.raw")
c, d = new(), new()
assert c.get_size() == d.get_size() == 500000
assert a.get_size() == 1000000
c.pwrite(b"2" * 4096, 8192)
assert d.pread(4096, 8192) == b"2" * 4096
assert a.pread(4096, 8192) == b.pread(4096, 8192) == b"1" * 4096
os.unlink("dir/b.raw")
try:
    new()
    assert False
except nbd.Error:
    pass
assert d.pread(4096, 8192) == b"2" * 4096
b.pwrite(b"3" * 4096, 0)
assert a.pread(4096, 0) == b"3" * 4096
for x in a, b, c, d:
    x.flush()
    x.shutdown()'
lists top

# A file is open while somebody uses it, and no longer.
released()
{
	[ -z "$(find "/proc/$SERVER_PID/fd" -lname "$TMP/dir/*")" ]
}
wait_until released
cp disk.qcow2 dir/disk
coproc nbdsh -u "$(at disk)" -c 'print("ready", flush=True)' \
	-c 'import sys; sys.stdin.readline()'
user=$COPROC_PID
read -r _ <&"${COPROC[0]}"
released && fail 'it is not open'
expect_exit 1 qemu-io -f raw -c 'write 0 4k' dir/disk
expect_err 'lock'
echo >&"${COPROC[1]}"
wait "$user"
wait_until released
expect_exit 0 qemu-io -f raw -c 'write 0 4k' dir/disk

# One who asks about it, again and again, and goes, does not keep it.
expect_exit 0 python3 - "$SOCK" <<'END'
import socket, struct, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.recv(18)
s.sendall(struct.pack(">I", 3))
name = struct.pack(">I", 4) + b"disk"
def ask(option, data):
    s.sendall(struct.pack(">8sII", b"IHAVEOPT", option, len(data)) + data)
    kind = 0
    while kind != 1:
        kind, n = struct.unpack(">12xII", s.recv(20, socket.MSG_WAITALL))
        assert kind < 1 << 31, hex(kind)
        s.recv(n, socket.MSG_WAITALL)
ask(8, b"")
for i in range(3):
    ask(10, name + struct.pack(">II", 1, 15) + b"base:allocation")
    ask(9, name + struct.pack(">I", 0))
    ask(6, name + struct.pack(">H", 0))
END
wait_until released
expect_exit 0 nbdinfo --can multi-conn "$(at disk)"
rm dir/disk

# One that cannot be opened is refused, and the others are served.
stop_server
start_imgd -v -e 0 --metrics "unix:$TMP/metrics" --exports-dir dir
printf 'QFI\373garbage' >dir/broken
cp disk.qcow2 dir/good.qcow2
cp data.raw dir/raw
lists broken good.qcow2 raw
expect_exit 1 nbdinfo "$(at broken)"
holds good.qcow2 data.raw
holds raw data.raw
expect_exit 1 nbdinfo "$(at broken)"
grep -q "dir/broken" "server-$server_n.log"
stop_server

# Statistics outlive the use.
start_imgd -e 0 --metrics "unix:$TMP/metrics" --exports-dir dir
nbdsh -u "$(at raw)" -c 'h.pread(512, 0)'
wait_until released
curl -s --unix-socket metrics http://x/metrics >metrics.txt
grep -q '^imgd_clients_total{export="raw"} 1$' metrics.txt
nbdsh -u "$(at raw)" -c 'h.pread(512, 0)'
curl -s --unix-socket metrics http://x/metrics >metrics.txt
grep -q '^imgd_clients_total{export="raw"} 2$' metrics.txt
kill -USR1 "$SERVER_PID"
stop_server
grep -q "export 'raw': .* of 2," "server-$server_n.log"

# What is said of all of them: how many clients may come, and what they may do.
start_imgd -e 1 -r --exports-dir dir
expect_exit 2 nbdinfo --can multi-conn "$(at raw)"
expect_exit 0 nbdinfo --is readonly "$(at raw)"
stop_server

# What is written to temporary files stays until the server ends.
sum=$(sha dir/raw)
start_imgd -s -e 0 -f raw --exports-dir dir
expect_exit 0 qemu-io -f raw -c 'write -P 9 0 64k' "$(at raw)"
expect_exit 0 qemu-io -f raw -c 'read -P 9 0 64k' "$(at raw)"
grep -q 'verification failed' out && fail 'it is lost'
stop_server
[ "$(sha dir/raw)" = "$sum" ]

# Many at once.
start_imgd -e 0 --exports-dir dir
readers=()
for i in 1 2 3 4; do
	for k in 1 2 3 4 5 6; do
		nbdcopy "$(at good.qcow2)" "out.$i"
	done &
	readers+=($!)
done
for k in 1 2 3 4 5 6; do
	mv dir/raw dir/raw2
	"$IMGD" -L -k "$SOCK" >list
	mv dir/raw2 dir/raw
	nbdinfo "$(at raw)" >info
done
for reader in "${readers[@]}"; do
	wait "$reader"
done
for i in 1 2 3 4; do
	cmp -n 1000000 data.raw "out.$i"
done
stop_server

expect_exit 1 timeout 20 "$IMGD" --exports-dir none
expect_err "Could not open 'none'"
expect_exit 1 timeout 20 "$IMGD" --exports-dir data.raw
expect_err "Could not open 'data.raw': Not a directory"
