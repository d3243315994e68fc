#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# imgd -c and -d with the block devices of a real kernel, in a virtual machine:
# programs of the guest use the device, qemu-img looks at the images afterwards.
. "$(dirname "$0")/../lib/e2e.sh"
. "$SRC/tests/lib/vm.sh"
needs mke2fs debugfs sfdisk qemu-img "$IMGD"
ldd "$IMGD" | grep >/dev/null libmnl || skip "built without libmnl"

vm_make nbd
vm_add "$IMGD"

# The images are on a disk of the guest: one with a partition, empty ones, and
# one with an odd size.
mkdir images
truncate -s 16M plain.raw
echo 'start=2048, type=83' | sfdisk -q plain.raw
qemu-img convert -f raw -O qcow2 plain.raw images/parts.qcow2
truncate -s 8M images/disk.raw
random_file images/odd.raw 1000001
random_file root/data 3145728
cp root/data images/read.raw
mke2fs -q -t ext4 -d images images.ext4 64M

vm_run -m 512 -smp 2 -drive file=images.ext4,format=raw,if=virtio <<'END'
set -x

# refused TEXT CMD...: it fails and says so.
refused()
{
	text=$1
	shift
	if "$@" >/tmp/out 2>&1; then
		return 1
	fi
	cat /tmp/out
	grep -q -e "$text" /tmp/out
}

free()
{
	[ ! -e "/sys/block/$1/pid" ]
}

mount -t ext4 /dev/vda /mnt
cd /mnt
export TMPDIR=/tmp

# Without the module; a device of another kind; none.
refused 'modprobe nbd' imgd -c /dev/nbd0 -f raw disk.raw
mknod /tmp/nbd0 b 43 0
refused 'nbd' imgd -c /tmp/nbd0 -f raw disk.raw
insmod /modules/nbd.ko
refused 'not a network block device' imgd -c /dev/vda -f raw disk.raw
refused 'Failed to open /dev/nbd77' imgd -c /dev/nbd77 -f raw disk.raw
refused 'not connected' imgd -d /dev/nbd0
refused "Could not open" imgd -c /dev/nbd0 -f raw none.raw
chmod 666 /dev/nbd0 disk.raw
refused 'CAP_SYS_ADMIN' su nobody -c 'imgd -c /dev/nbd0 -f raw disk.raw'
free nbd0

# Ready when it returns, with its partitions.
imgd -c /dev/nbd0 -f qcow2 --pid-file /tmp/pid parts.qcow2
[ "$(blockdev --getsize64 /dev/nbd0)" = 16777216 ]
[ "$(cat /sys/block/nbd0/queue/logical_block_size)" = 512 ]
[ -b /dev/nbd0p1 ]
refused 'in use' imgd -c /dev/nbd0 -f raw disk.raw
pid=$(cat /tmp/pid)
dd if=/data of=/dev/nbd0p1 bs=64k conv=fsync
cmp -n 3145728 /data /dev/nbd0p1
echo 3 >/proc/sys/vm/drop_caches
cmp -n 3145728 /data /dev/nbd0p1
imgd -d /dev/nbd0 | grep >/dev/null '^/dev/nbd0 disconnected$'
# At once: the device is free, and so is the image.
free nbd0
if kill -0 "$pid"; then
	false
fi
[ ! -e /tmp/pid ]
refused 'not connected' imgd -d /dev/nbd0
imgd -c /dev/nbd1 -f qcow2 parts.qcow2
cmp -n 3145728 /data /dev/nbd1p1
dd if=/dev/zero of=/dev/nbd1p1 bs=64k seek=16 count=1 conv=fsync,notrunc
# What is in use is not taken away.
mkdir -p /tmp/m
mke2fs -q /dev/nbd1p1 2>/dev/null >&2
mount -t ext4 /dev/nbd1p1 /tmp/m
cp /data /tmp/m/data
refused 'in use' imgd -d /dev/nbd1
umount /tmp/m
imgd -d /dev/nbd1

# In the foreground, with two connections; what was written and not flushed is
# there after SIGTERM.
rm -f /tmp/log
imgd -v -e 0 -c /dev/nbd2 -f raw --discard=unmap disk.raw >/tmp/log 2>&1 &
pid=$!
for i in $(seq 200); do
	grep -q 'is now connected to disk.raw' /tmp/log && break
	sleep 0.1
done
[ "$(grep -c 'client [12]: connected' /tmp/log)" = 2 ]
dd if=/data of=/dev/nbd2 bs=4k seek=100 count=300
kill "$pid"
wait "$pid"
free nbd2

# What the disk has no room for is told, at the end as well.
mkdir /tmp/small
mount -t tmpfs -o size=4m none /tmp/small
truncate -s 32M /tmp/small/disk.raw
for how in own -d; do
	# What the last one said is not taken for what this one says.
	rm -f /tmp/log
	imgd -v -c /dev/nbd2 -f raw /tmp/small/disk.raw >/tmp/log 2>&1 &
	pid=$!
	until grep 'is now connected' /tmp/log; do sleep 0.1; done
	dd if=/dev/urandom of=/dev/nbd2 bs=1M count=8 || true
	if [ $how = own ]; then
		kill "$pid"
		if wait "$pid"; then
			exit 1
		fi
		grep 'not all could be written: ' /tmp/log
	else
		refused 'not all could be written: ' imgd -d /dev/nbd2
		wait "$pid"
	fi
	free nbd2
done
umount /tmp/small

# Only to be read.
imgd -r -c /dev/nbd3 -f raw read.raw
[ "$(cat /sys/block/nbd3/ro)" = 1 ]
cmp -n 3145728 /data /dev/nbd3
if dd if=/data of=/dev/nbd3 bs=4k count=1 conv=fsync; then
	false
fi
imgd -d /dev/nbd3

# Not all of an odd size is seen.
imgd -c /dev/nbd4 -f raw odd.raw 2>&1 | grep 'last 65 bytes'
[ "$(blockdev --getsize64 /dev/nbd4)" = 999936 ]
imgd -d /dev/nbd4

# A server that was killed: what it had is freed, and the loss is told.
imgd -c /dev/nbd5 -f raw --pid-file /tmp/pid -s disk.raw
dd if=/data of=/dev/nbd5 bs=4k count=1
kill -9 "$(cat /tmp/pid)"
sleep 0.5
refused 'not all could be written' imgd -d /dev/nbd5
free nbd5

# A command beside.
cd /
imgd -c /dev/nbd6 -f raw -r /mnt/read.raw \
	--run 'cmp -n 3145728 /data /dev/nbd6'
free nbd6
umount /mnt
END

for image in parts.qcow2 disk.raw read.raw odd.raw; do
	debugfs -R "dump /$image after-$image" images.ext4 2>/dev/null
done
qemu-img check -q after-parts.qcow2
qemu-img convert -f qcow2 -O raw after-parts.qcow2 after.raw
dd if=after.raw of=fs.raw bs=1M skip=1 2>/dev/null
debugfs -R 'dump /data after-data' fs.raw 2>/dev/null
same root/data after-data
dd if=root/data of=want bs=4k count=300 2>/dev/null
dd if=after-disk.raw of=got bs=4k skip=100 count=300 2>/dev/null
same want got
same images/odd.raw after-odd.raw
same images/read.raw after-read.raw
