#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# nbdkit image below nbdkit's own filters.
. "$(dirname "$0")/../lib/e2e.sh"
needs nbdkit nbdinfo nbdcopy qemu-img qemu-io sfdisk mke2fs "$PLUGIN"

# A disk with one partition that holds a file system.
random_file hello 200000
mkdir files
cp hello files/
mke2fs -q -t ext4 -d files part.raw 8M
truncate -s 10M disk.raw
echo '2048,16384,83' | sfdisk -q disk.raw
dd if=part.raw of=disk.raw bs=1M seek=1 conv=notrunc status=none
qemu-img convert -c -f raw -O qcow2 disk.raw disk.qcow2
before=$(sha disk.qcow2)

# partition: one of the partitions of a qcow2 image.
start_nbdkit -r --filter=partition "$PLUGIN" disk.qcow2 partition=1
[ "$(nbdinfo --size "$URI")" = 8388608 ]
nbdcopy "$URI" out.raw
same part.raw out.raw
stop_server

# ext2 upon partition: a file of the file system of the partition.  (The ext2
# filter opens what is below it for writing, also with -r.)
cp disk.qcow2 ext2.qcow2
start_nbdkit -r --filter=ext2 --filter=partition "$PLUGIN" ext2.qcow2 \
	partition=1 ext2file=/hello
nbdcopy "$URI" out.raw
same hello out.raw
stop_server

# cow: clients write, the image stays as it is, and is opened read-only: a
# second one may share it.
start_nbdkit --filter=cow "$PLUGIN" disk.qcow2
expect_exit 0 qemu-io -f raw -c 'write -P 7 0 1M' -c 'read -P 7 0 1M' "$URI"
expect_exit 0 nbdkit -U - --filter=cow "$PLUGIN" disk.qcow2 --run \
	'qemu-io -f raw -c "write -P 8 0 1M" -c "read -P 8 0 1M" "$uri"'
expect_exit 0 qemu-io -f raw -c 'read -P 7 0 1M' "$URI"
stop_server
[ "$before" = "$(sha disk.qcow2)" ]

# blocksize and truncate: the image grows for its clients.
start_nbdkit --filter=blocksize --filter=truncate "$PLUGIN" disk.qcow2 \
	round-up=16M minblock=4k
[ "$(nbdinfo --size "$URI")" = 16777216 ]
expect_exit 0 qemu-io -f raw -c 'write -P 9 1000 300' -c 'read -P 9 1000 300' \
	-c 'read -P 0 12M 1M' "$URI"
stop_server
expect_exit 0 qemu-img check disk.qcow2
expect_exit 0 qemu-io -r -c 'read -P 9 1000 300' disk.qcow2

# retry: what fails is done again, on a handle of its own; what had been written
# before is there.
touch fail
cp disk.qcow2 retry.qcow2
start_nbdkit --filter=retry --filter=error "$PLUGIN" retry.qcow2 \
	error-pread-rate=100% error-pwrite-rate=100% error-file="$TMP/fail" \
	retry-delay=1 retry-exponential=no
(sleep 1.5; rm fail) &
expect_exit 0 qemu-io -f raw -c 'write -P 5 1M 300k' -c 'read -P 5 1M 300k' \
	-c flush "$URI"
stop_server
expect_exit 0 qemu-img check retry.qcow2
expect_exit 0 qemu-io -r -c 'read -P 5 1M 300k' retry.qcow2
