#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# imgd: several exports in one server, each with its own options.
. "$(dirname "$0")/../lib/e2e.sh"
needs nbdinfo nbdcopy nbdsh qemu-img qemu-io "$IMGD" "$IMGCTL"

random_file data.raw 1000000
qemu-img convert -f raw -O qcow2 data.raw disk.qcow2
qemu-img snapshot -c first disk.qcow2
qemu-img bitmap --add disk.qcow2 b0
qemu-img bitmap --add disk.qcow2 b1
qemu-io -f qcow2 -c 'write -P 7 0 64k' disk.qcow2 >/dev/null
qemu-img create -q -f qcow2 -b data.raw -F raw top.qcow2
truncate -s 2M 'a,b=c.raw'
truncate -s 3M 'd=e.raw'

# at EXPORT: its URI.
at()
{
	echo "nbd+unix:///$1?socket=$SOCK"
}

# names: of the exports, as a client sees them.
names()
{
	nbdinfo --list "$URI" | sed -n 's/^export="\(.*\)":$/\1/p'
}

# is EXPORT LINE: nbdinfo says so.
is()
{
	expect_exit 0 nbdinfo "$(at "$1")"
	expect_out "$2"
}

start_imgd -e 0 --export 'one=disk.qcow2,format=qcow2,description=a disk,'`
	`'bitmaps.0=b0,bitmaps.1=b1,discard=unmap' \
	--export raw=data.raw,format=raw,read-only=on,offset=1000 \
	--export top=top.qcow2,allocation-depth=on,cache=writethrough \
	--export 'comma=a,,b=c.raw,format=raw' \
	--export "equals=$TMP/d=e.raw,format=raw,read-only=on" \
	--export 'key=file=d=e.raw,format=raw,read-only=on'
[ "$(names | tr '\n' ' ')" = 'one raw top comma equals key ' ]
is one 'description: a disk'
expect_out qemu:dirty-bitmap:b0
expect_out qemu:dirty-bitmap:b1
expect_out 'is_read_only: false'
is raw 'is_read_only: true'
expect_out 'export-size: 999000'
is top qemu:allocation-depth
grep -q dirty-bitmap out && fail 'a bitmap of another export'
is comma 'export-size: 2097152'
expect_exit 1 nbdinfo "$(at '')"
expect_exit 1 nbdinfo "$(at two)"
# one of them is written while another is read
nbdcopy --flush data.raw "$(at one)" &
writer=$!
nbdcopy "$(at raw)" out.raw
wait "$writer"
tail -c +1001 data.raw | cmp - out.raw
expect_exit 1 qemu-io -f raw -c 'write 0 512' "$(at raw)"
expect_exit 0 qemu-io -f raw -c 'write -P 9 0 64k' "$(at top)"
expect_exit 0 qemu-io -f raw -c 'read -P 0 0 2M' "$(at comma)"
nbdinfo --map=qemu:allocation-depth "$(at top)" >map
[ "$(awk '{ print $3 }' map | tr '\n' ' ')" = '1 2 ' ]
stop_server
expect_exit 0 qemu-img compare -f raw -F qcow2 data.raw disk.qcow2
expect_exit 0 qemu-io -f qcow2 -c 'read -P 9 0 64k' top.qcow2
grep -q 'Pattern verification failed' out && fail 'the write is lost'

# A snapshot beside the image itself cannot be: the image is in use.  What the
# single form takes holds for all that do not say otherwise.
start_imgd -r -A --export old=disk.qcow2,snapshot=first \
	--export raw=data.raw,format=raw
is raw 'is_read_only: true'
expect_out qemu:allocation-depth
nbdcopy "$(at old)" out.raw
cmp -n 1000000 data.raw out.raw
stop_server

start_imgd -r --export mine=disk.qcow2,read-only=off \
	--export raw=data.raw,format=raw
is mine 'is_read_only: false'
expect_out 'can_multi_conn: false'
is raw 'is_read_only: true'
stop_server
start_imgd --export old=disk.qcow2,snapshot=first
is old 'is_read_only: true'
nbdcopy "$(at old)" out.raw
cmp -n 1000000 data.raw out.raw
stop_server

# 61 bitmaps and the contexts that are always there are the 64 that one client
# can have.
qemu-img create -q -f qcow2 many.qcow2 1M
many=()
for i in {1..61}; do
	"$IMGCTL" bitmap --add many.qcow2 "b$i"
	many+=(-B "b$i")
done
qemu-io -f qcow2 -c 'write 0 64k' many.qcow2 >/dev/null
start_imgd -r -A "${many[@]}" many.qcow2
expect_exit 0 nbdsh -c - <<END
names = ["base:allocation", "imgd:map", "qemu:allocation-depth"] + [
    "qemu:dirty-bitmap:b%d" % (i + 1) for i in range(61)]
for name in names:
    h.add_meta_context(name)
h.connect_uri("$URI")
seen = {}
h.block_status(1 << 20, 0, lambda c, at, e, err: seen.update({c: e}))
assert sorted(seen) == sorted(names), sorted(seen)
for name in names[3:]:
    assert seen[name] == [65536, 1, 983040, 0], (name, seen[name])
END
PYTHONPATH=$SRC/tests/lib expect_exit 0 python3 - "$SOCK" <<'END'
import sys
from nbdext import Peer
p = Peer(sys.argv[1])
last = p.set_context(b"qemu:dirty-bitmap:b61")
p.go()
assert list(p.status(0, 1 << 20, last)) == [(65536, 1), (983040, 0)]
END
stop_server
"$IMGCTL" bitmap --add many.qcow2 b62
expect_exit 1 timeout 20 "$IMGD" -r "${many[@]}" -B b62 many.qcow2
expect_err '62 bitmaps for one export: at most 61'

# A bitmap that a killed server left is not true any more.
start_imgd -B b1 many.qcow2
expect_exit 0 qemu-io -f raw -c 'write 0 64k' -c flush "$URI"
kill_server "$SERVER_PID" || true
expect_exit 1 timeout 20 "$IMGD" -r -B b1 many.qcow2
expect_err "Bitmap 'b1' is inconsistent and cannot be used"

expect_exit 0 "$IMGD" --export a=data.raw,format=raw -r \
	--export b=disk.qcow2 --run 'echo "<$exportname> $uri"'
expect_out '<> nbd+unix:///?socket='
expect_exit 0 "$IMGD" -r --export 'x y=data.raw,format=raw' \
	--run 'echo "<$exportname>"; nbdinfo --size "$uri"'
expect_out '<x y>'
expect_out 1000000

# What is wrong is said with the export's name.
wrong()
{
	local message=$1
	shift
	expect_exit 1 timeout 20 "$IMGD" "$@"
	expect_err "$message"
}
wrong 'expected NAME=FILE' --export disk.qcow2
wrong 'no file is given' --export a=
wrong "there are two exports 'a'" --export a=data.raw --export a=disk.qcow2
wrong "Invalid parameter 'bogus'" --export a=data.raw,bogus=1
wrong "Invalid parameter 'name'" --export a=data.raw,name=b
wrong 'Invalid cache mode' --export a=data.raw,cache=bogus
wrong 'Invalid discard mode' --export a=data.raw,discard=bogus
wrong "Parameter 'read-only'" --export a=data.raw,read-only=perhaps
wrong 'Invalid number of arguments' --export a=data.raw disk.qcow2
wrong "Could not open 'nope'" --export a=data.raw,format=raw --export b=nope
wrong "Bitmap 'x' is not found" --export a=disk.qcow2,bitmaps.0=x
wrong 'cannot be used with --export' -x name --export a=data.raw
wrong 'cannot be used with --export' -B b0 --export a=disk.qcow2
wrong 'name or description of more than 4096 bytes' \
	--export "$(printf %05000d 1)=data.raw"
