#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# imgd: what other programs read and write through it.
. "$(dirname "$0")/../lib/e2e.sh"
needs nbdinfo nbdcopy nbdkit qemu-img qemu-io qemu-nbd fio "$IMGD"

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
	[ "$1" = raw ] || expect_exit 0 qemu-img check -f "$1" "$2"
}

random_file data.raw 3000000
truncate -s 16M data.raw
random_file new.raw 2000000 2
truncate -s 16M new.raw

# check_format FORMAT IMAGE: out and in, by every peer.
check_format()
{
	start_imgd -e 0 -f "$1" -D 'a disk' "$2"
	info export-size=16777216 is_read_only=false can_flush=true \
		can_fua=true can_trim=true can_zero=true can_fast_zero=true \
		can_multi_conn=true can_cache=true can_df=true \
		is_rotational=false block_size_minimum=1 \
		block_size_maximum=33554432 description='"a disk"'
	nbdcopy --connections=4 "$URI" out.raw
	same data.raw out.raw
	expect_exit 0 qemu-img compare -f raw -F raw data.raw "$URI"
	nbdcopy --connections=4 --flush new.raw "$URI"
	qemu-img convert -n -f raw -O raw "$URI" out.raw
	same new.raw out.raw
	# through a proxy that speaks the protocol itself
	nbdkit -U - nbd "$URI" --run 'nbdcopy "$uri" proxy.raw'
	same new.raw proxy.raw
	qemu-img convert -n -f raw -O raw data.raw "$URI"
	expect_exit 0 qemu-io -f raw -c 'write -P 7 1000001 3001' \
		-c 'read -P 7 1000001 3001' -c 'write -f -P 8 5M 70k' \
		-c 'read -P 8 5M 70k' -c 'write -z 8M 100k' \
		-c 'read -P 0 8M 100k' -c 'write -z -u 9M 1M' \
		-c 'read -P 0 9M 1M' -c 'discard 12M 1M' -c flush "$URI"
	nbdcopy --flush new.raw "$URI"
	stop_server
	check_in "$1" "$2"
}

cp data.raw disk.raw
check_format raw disk.raw
qemu-img convert -f raw -O qcow2 data.raw disk.qcow2
check_format qcow2 disk.qcow2
qemu-img convert -c -f raw -O qcow2 -o cluster_size=4k data.raw small.qcow2
check_format qcow2 small.qcow2

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
