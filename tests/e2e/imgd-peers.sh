#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# imgd: what other programs see and change in disks of their own kind.
# (Each program on its own: tests/interop/peers.sh.)
. "$(dirname "$0")/../lib/e2e.sh"
needs nbdinfo nbdcopy qemu-img qemu-io qemu-nbd fio "$IMGD"

info()
{
	nbdinfo --json "$URI" >info.json
	python3 - "$@" <<'END'
import json, sys
export = json.load(open("info.json"))["exports"][0]
for arg in sys.argv[1:]:
    key, want = arg.split("=", 1)
    got = json.dumps(export[key])
    if got != want:
        sys.exit("%s is %s instead of %s" % (key, got, want))
END
}

# check_in FORMAT IMAGE: the image holds what was copied in.
check_in()
{
	expect_exit 0 qemu-img compare -f raw -F "$1" new.raw "$2"
	expect_exit 0 qemu-img check -f "$1" "$2"
}

random_file data.raw 3000000
truncate -s 16M data.raw
random_file new.raw 2000000 2
truncate -s 16M new.raw

# Compressed clusters, out and in.
qemu-img convert -c -f raw -O qcow2 -o cluster_size=4k data.raw small.qcow2
start_imgd -e 0 -f qcow2 small.qcow2
nbdcopy --connections=4 "$URI" out.raw
same data.raw out.raw
expect_exit 0 qemu-io -f raw -c 'write -P 7 1000001 3001' \
	-c 'read -P 7 1000001 3001' -c 'write -z 2M 100k' -c 'discard 1M 64k' \
	"$URI"
nbdcopy --connections=4 --flush new.raw "$URI"
stop_server
check_in qcow2 small.qcow2
qemu-img convert -f raw -O qcow2 new.raw disk.qcow2

# Four clients with many requests in flight each; what one of them wrote is
# what it reads.
qemu-img create -q -f qcow2 -b disk.qcow2 -F qcow2 top.qcow2 64M
start_imgd -e 0 -f qcow2 --discard=unmap top.qcow2
cat >job <<END
[global]
ioengine=nbd
uri=$URI
thread
rw=randrw
bsrange=512-70000
bs_unaligned=1
iodepth=16
size=8M
io_size=8M
verify=crc32c
verify_fatal=1
fsync=50
[a]
offset=1M
[b]
offset=15M
[c]
offset=33M
[d]
offset=50M
END
expect_exit 0 fio job
stop_server
expect_exit 0 qemu-img check top.qcow2
check_in qcow2 disk.qcow2

# Odd sizes: every byte of the disk is served.
random_file odd.raw 100001
start_imgd -f raw odd.raw
info export-size=100001
nbdcopy "$URI" out.raw
same odd.raw out.raw
expect_exit 0 qemu-io -f raw -c 'write -P 5 100000 1' "$URI"
stop_server
[ "$(tail -c 1 odd.raw)" = $'\005' ]

# -r, and a snapshot: said, enforced, and nothing is written.
qemu-img snapshot -c first disk.qcow2
qemu-io -c 'write -P 7 0 1M' disk.qcow2 >/dev/null
before=$(sha disk.qcow2)
for args in '-r' '-l first' '-l snapshot.name=first'; do
	# shellcheck disable=SC2086
	start_imgd $args disk.qcow2
	info is_read_only=true can_trim=false can_zero=false
	expect_exit 1 qemu-io -f raw -c 'write 0 512' "$URI"
	[ "$args" = -r ] || expect_exit 0 qemu-img compare -f raw -F raw \
		new.raw "$URI"
	stop_server
done
[ "$before" = "$(sha disk.qcow2)" ]

# Named exports, and what a list shows.
start_imgd -r -f raw -x 'a name' -D 'a text' data.raw
expect_exit 0 qemu-nbd -L -k "$SOCK"
expect_out "export: 'a name'"
expect_out 'description: a text'
expect_out 'base:allocation'
expect_exit 0 nbdinfo --size "nbd+unix:///a%20name?socket=$SOCK"
expect_out 16777216
expect_exit 1 nbdinfo --size "$URI"
expect_err 'has no export named'
stop_server
