#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# nbdkit image: block status is what the reference's and our own map say.
. "$(dirname "$0")/../lib/e2e.sh"
needs nbdkit nbdinfo qemu-img qemu-io "$PLUGIN" "$IMGCTL"

# Lines "START LENGTH HOLE ZERO", neighbours merged, of either kind of map.
normal()
{
	python3 - "$1" <<'END'
import json, sys
runs = []
for x in json.load(open(sys.argv[1])):
    if "data" in x:
        start, n, kind = x["start"], x["length"], (not x["data"], x["zero"])
    else:
        start, n = x["offset"], x["length"]
        kind = (bool(x["type"] & 1), bool(x["type"] & 2))
    if runs and runs[-1][2] == kind:
        runs[-1][1] += n
    else:
        runs.append([start, n, kind])
for start, n, kind in runs:
    print(start, n, *kind)
END
}

# check_our_map IMAGE: NBD and imgctl agree.
check_our_map()
{
	"$IMGCTL" map --output=json "$1" >ours.json
	start_nbdkit -r "$PLUGIN" "$1"
	nbdinfo --map --json "$URI" >nbd.json
	stop_server
	normal ours.json >ours
	normal nbd.json >nbd
	same ours nbd
	echo "$1: $(wc -l <nbd) extents"
}

# check_map IMAGE: qemu-img agrees too.
check_map()
{
	check_our_map "$1"
	qemu-img map --output=json "$1" >theirs.json
	normal theirs.json >theirs
	same theirs nbd
}

writes=(-c 'write -P 1 100k 300k' -c 'write -z 1M 256k' -c 'write -P 2 5M 1k'
	-c 'write -z -u 5200k 128k' -c 'write -P 3 7M 64k')

qemu-img create -q -f qcow2 a.qcow2 10M
check_map a.qcow2
qemu-io "${writes[@]}" a.qcow2 >/dev/null
check_map a.qcow2
qemu-img convert -c -O qcow2 a.qcow2 packed.qcow2
check_map packed.qcow2
qemu-img create -q -f qcow2 -o extended_l2=on,cluster_size=128k sub.qcow2 10M
qemu-io "${writes[@]}" sub.qcow2 >/dev/null
check_map sub.qcow2
# An overlay that is longer than its base, and zeroes that hide it.
qemu-img create -q -f qcow2 -b packed.qcow2 -F qcow2 top.qcow2 12M
qemu-io -c 'write -z 0 512k' -c 'write -P 4 6M 70k' top.qcow2 >/dev/null
check_map top.qcow2
qemu-img create -q -f qcow2 -o data_file=d.raw,data_file_raw=on ext.qcow2 10M
qemu-io "${writes[@]}" ext.qcow2 >/dev/null
# Holes of the data file read as zeroes, which qemu-img does not see.
check_our_map ext.qcow2
# Raw, with holes.
qemu-img convert -O raw a.qcow2 a.raw
check_map a.raw
