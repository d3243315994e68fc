#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# imgd: block status is what qemu-nbd says of the same image.
. "$(dirname "$0")/../lib/e2e.sh"
needs qemu-nbd qemu-img qemu-io nbdinfo "$IMGD"

# check_map FORMAT IMAGE: both servers, with few and with many extents.
check_map()
{
	start_imgd -r -f "$1" "$2"
	nbdinfo --map "$URI" >ours
	stop_server
	start_qemu_nbd -r -f "$1" "$2"
	nbdinfo --map "$URI" >theirs
	stop_server
	same theirs ours
	echo "$2: $(wc -l <ours) extents"
}

writes=(-c 'write -P 1 100k 300k' -c 'write -z 1M 256k' -c 'write -P 2 5M 1k'
	-c 'write -z -u 5200k 128k' -c 'write -P 3 7M 64k')

qemu-img create -q -f qcow2 a.qcow2 10M
check_map qcow2 a.qcow2
qemu-io "${writes[@]}" a.qcow2 >/dev/null
check_map qcow2 a.qcow2
qemu-img convert -c -O qcow2 a.qcow2 packed.qcow2
check_map qcow2 packed.qcow2
qemu-img create -q -f qcow2 -b packed.qcow2 -F qcow2 top.qcow2 12M
qemu-io -c 'write -z 0 512k' -c 'write -P 4 6M 70k' top.qcow2 >/dev/null
check_map qcow2 top.qcow2
qemu-img convert -O raw a.qcow2 a.raw
check_map raw a.raw

# More extents than one reply holds.
qemu-img create -q -f qcow2 -o cluster_size=512 fine.qcow2 48M
python3 - >commands <<'END'
for i in range(0, 48 << 20, 1024 * 64):
    print("write -q -P 1 %d 512" % i)
END
qemu-io fine.qcow2 <commands >/dev/null
check_map qcow2 fine.qcow2
truncate -s 80M many.raw
python3 - <<'END'
with open("many.raw", "r+b") as f:
    for i in range(0, 80 << 20, 8192):
        f.seek(i)
        f.write(b"x" * 4096)
END
check_map raw many.raw

# What -o leaves out moves everything.
start_imgd -r -f raw -o 102400 a.raw
nbdinfo --map "$URI" >ours
stop_server
start_qemu_nbd -r -f raw -o 102400 a.raw
nbdinfo --map "$URI" >theirs
stop_server
same theirs ours
