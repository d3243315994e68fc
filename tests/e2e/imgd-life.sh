#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# imgd: --snapshot and --detect-zeroes, with the reference's effect; limits for
# each client.
. "$(dirname "$0")/../lib/e2e.sh"
needs qemu-nbd qemu-img qemu-io nbdinfo nbdsh "$IMGD"
# As nbdsh() of e2e.sh, for what timeout(1) starts.
PATH=/usr/bin:$PATH

# ---- --snapshot: what is written is seen, and then it is gone.

mkdir tmp sub
export TMPDIR=$TMP/tmp
random_file base.raw 1000001
qemu-img create -q -f qcow2 -b "$TMP/base.raw" -F raw sub/top.qcow2
qemu-io -f qcow2 -c 'write -P 7 128k 64k' sub/top.qcow2 >io
qemu-img create -q -f qcow2 -o cluster_size=4k big.qcow2 6G
qemu-io -f qcow2 -c 'write -P 9 5G 64k' big.qcow2 >io

# vanishes FILE ARGS...
vanishes()
{
	local file=$1
	shift
	sha256sum "$file" >before
	chmod a-w "$file"
	start_imgd -e 0 --snapshot "$@"
	expect_exit 1 qemu-io -f raw -c 'read -P 5 4k 4k' "$URI"
	qemu-io -f raw -c 'write -P 5 4k 4k' -c 'write -z 64k 128k' \
		-c 'discard 512k 64k' -c flush "$URI" >io
	qemu-io -f raw -c 'read -P 5 4k 4k' -c 'read -P 0 64k 128k' "$URI" >io
	! grep -q failed io || fail "$(cat io)"
	nbdinfo "$URI" | grep >/dev/null 'is_read_only: false'
	# The file has no name any more: it goes with the process.
	[ -z "$(ls "$TMPDIR")" ]
	stop_server
	sha256sum --quiet -c before
	chmod u+w "$file"
}
vanishes base.raw -f raw base.raw
vanishes base.raw -f raw file:base.raw --cache=none --discard=unmap
vanishes sub/top.qcow2 sub/top.qcow2
vanishes sub/top.qcow2 -f qcow2 "json:{'file.filename':'sub/top.qcow2'}"
vanishes sub/top.qcow2 --image-opts driver=qcow2,file.filename=sub/top.qcow2
vanishes big.qcow2 -f qcow2 big.qcow2
vanishes base.raw --export a=base.raw,format=raw --export =base.raw,format=raw
start_imgd -s -r -f raw base.raw
nbdinfo "$URI" | grep >/dev/null 'is_read_only: true'
stop_server

# A killed server leaves nothing either; where there is no folder for the
# file, that is told.
start_imgd -s -f raw base.raw
qemu-io -f raw -c 'write 0 64k' "$URI" >io
kill_server "$SERVER_PID" || true
[ -z "$(ls "$TMPDIR")" ]
TMPDIR=/no/such expect_exit 1 "$IMGD" -s -f raw base.raw
expect_err "imgd: Failed to blk_new_open 'base.raw': Could not create"

# The same disk as with the reference, depth and all.
seen()
{
	qemu-io -f raw -c 'write -P 5 4k 4k' -c 'write -z 256k 64k' "$URI" >io
	qemu-img map --output=json -f raw "$URI" >"$1.map"
	nbdinfo --map=qemu:allocation-depth "$URI" >"$1.depth"
	qemu-img convert -f raw -O raw "$URI" "$1.raw"
}
start_imgd -s -A -e 0 -f qcow2 sub/top.qcow2
seen ours
stop_server
start_qemu_nbd -s -A -e 0 -f qcow2 sub/top.qcow2
seen theirs
stop_server
cmp ours.raw theirs.raw
same theirs.map ours.map
same theirs.depth ours.depth

# ---- --detect-zeroes

# zeroed NAME SERVER MODE...: an image with data, zeroes written over some.
zeroed()
{
	local name=$1 server=$2 format
	shift 2
	for format in raw qcow2; do
		rm -f "$name.$format"
		qemu-img create -q -f "$format" "$name.$format" 4M
		qemu-io -f "$format" -c 'write -P 1 0 2M' "$name.$format" >io
		"start_$server" -f "$format" "$@" "$name.$format"
		qemu-io -f raw -c 'write -P 0 512k 1M' -c 'write -P 0 3M 128k' \
			-c 'write -P 0 4k 512' -c 'write -P 2 3584k 64k' \
			-c 'write -f -P 0 1792k 64k' "$URI" >io
		stop_server
		qemu-img map --output=json -f "$format" "$name.$format" |
			sed 's/, "offset": [0-9]*//' >"$name.$format.map"
	done
}

i=0
for mode in off on unmap; do
	i=$((i + 1))
	discard=ignore
	[ $mode != unmap ] || discard=unmap
	for server in imgd qemu_nbd; do
		zeroed "$server$i" $server --discard=$discard \
			--detect-zeroes=$mode
	done
	for format in raw qcow2; do
		qemu-img compare -q -f "$format" -F "$format" \
			"imgd$i.$format" "qemu_nbd$i.$format"
	done
	same "qemu_nbd$i.qcow2.map" "imgd$i.qcow2.map"
done
qemu-img check -q imgd3.qcow2
# The three differ, and where space is given back it is.
cmp -s imgd1.qcow2.map imgd2.qcow2.map &&
	fail "no difference: imgd1.qcow2.map imgd2.qcow2.map"
[ "$(stat -c %b imgd3.qcow2)" -lt "$(stat -c %b imgd2.qcow2)" ]
[ "$(stat -c %b imgd3.raw)" -lt "$(stat -c %b imgd1.raw)" ]

# ---- limits

# 3 MiB at 1 MiB a second, of reads and writes: a little saved up, however long
# it did nothing, and the last one need not wait.
start_imgd -f raw -e 0 --client-rate=1M base.raw
timeout 60 nbdsh -u "$URI" -c '
import time
time.sleep(1)
begin = time.monotonic()
for i in range(12):
    h.pread(131072, 0)
    h.pwrite(bytes(131072), 0)
print(int(1000 * (time.monotonic() - begin)))
' >ms &
slow=$!
# Another is not held up, and an end of the server is not either.
timeout 20 nbdsh -u "$URI" -c 'h.pread(65536, 0)'
wait "$slow"
[ "$(cat ms)" -gt 2500 ] || fail "3 MiB took $(cat ms) ms"
stop_server
# A client in debt, of a minute, that goes or that the server ends on.
start_imgd -f qcow2 -s -e 1 --client-rate=64k big.qcow2
export SERVER_PID
debt='h.pwrite(bytearray(4 << 20), 0); h.aio_pread(nbd.Buffer(512), 0)'
timeout 20 nbdsh -u "$URI" -c "$debt" -c 'import os; os._exit(0)'
timeout 20 nbdsh -u "$URI" -c "$debt" -c '
import os, signal, time
time.sleep(0.3)
os.kill(int(os.environ["SERVER_PID"]), signal.SIGTERM)
try:
    while h.aio_in_flight():
        h.poll(-1)
except nbd.Error:
    pass
'
wait "$SERVER_PID"
unset SERVER_PID

# The same over TCP, where the end of a client is not seen unless it is asked
# for: its place is free at once.
export debt
expect_exit 0 timeout 20 "$IMGD" -f qcow2 -s -e 1 --client-rate=64k -t \
	-b 127.0.0.1 -p 0 big.qcow2 --run '
	nbdsh() { PATH=/usr/bin:$PATH command nbdsh "$@"; }
	nbdsh -u "$uri" -c "$debt" -c "import os; os._exit(0)"
	timeout 10 nbdinfo --size "$uri"'
expect_out 6442450944

# One request in flight, with many waiting: answers come in order, which they
# do not where reads pass writes.
in_order='
seen = []
def done(i):
    return lambda *a: seen.append(i) or 1
for i in range(200):
    if i % 2:
        h.aio_pread(nbd.Buffer(512), 1 << 32, done(i))
    else:
        h.aio_pwrite(bytearray(b"x" * 300000), i * 300000, done(i))
while h.aio_in_flight():
    h.poll(-1)
assert sorted(seen) == list(range(200))
print(seen == sorted(seen))'
for n in 1 64; do
	start_imgd -f qcow2 -s --client-requests=$n big.qcow2
	timeout 60 nbdsh -u "$URI" -c "$in_order" >order.$n
	stop_server
done
[ "$(cat order.1 order.64)" = $'True\nFalse' ]

# ---- messages as JSON

cp base.raw $'odd\xff.raw'
next_socket
start_server "$IMGD" --log-format=json -v -t -k "$SOCK" --export x=base.raw \
	--export $'y=odd\xff.raw'
timeout 20 nbdsh -u "nbd+unix:///x?socket=$SOCK" -c '
h.set_strict_mode(0)
try:
    h.pread(512, 1 << 40)
    assert False
except nbd.Error:
    pass'
stop_server
python3 - "server-$server_n.log" <<'END'
import datetime, json, sys
lines = [json.loads(line) for line in open(sys.argv[1], encoding="utf-8")]
for line in lines:
    datetime.datetime.strptime(line["time"], "%Y-%m-%dT%H:%M:%S.%fZ")
said = [(x["level"], x.get("client"), x.get("export"), x["message"])
        for x in lines]
last = [x for x in said if x[2] == "x"]
assert last[0][0] == "debug" and last[0][3].startswith("request 0, "), said
assert last[-1][3] == "client %d: disconnected" % last[-1][1]
assert ("debug", last[0][1], None, "client %d: connected" % last[0][1]) in said
assert sum(x[0] == "warning" for x in said) == 2
assert any("'odd?.raw'" in x[3] for x in said)
END
expect_exit 1 "$IMGD" --log-format=json -k "/$(printf %0200d 1)" -f raw base.raw
python3 -c '
import json, sys
x = json.loads(sys.stdin.read())
assert x["level"] == "error" and x["hint"].startswith("Path must be")' <err
expect_exit 1 "$IMGD" --log-format=xml base.raw
expect_err "imgd: --log-format must be text or json, not 'xml'"
