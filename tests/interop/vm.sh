#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# A virtual machine runs from imgd: a small Linux mounts the disk, checks what
# is on it, writes, trims and shuts down; then the file system is clean and
# holds what the guest says it wrote.
. "$(dirname "$0")/../lib/e2e.sh"
. "$SRC/tests/lib/vm.sh"
needs mke2fs e2fsck debugfs qemu-img "$IMGD"

vm_make

# The disk: an ext4 file system in an overlay upon a compressed qcow2.
mkdir seed
random_file seed/seed 6291456
(cd seed && sha256sum seed >seed.sum)
mke2fs -q -t ext4 -d seed fs.raw 64M
qemu-img convert -c -O qcow2 fs.raw base.qcow2
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 disk.qcow2 64M

start_imgd -f qcow2 -e 2 --discard=unmap disk.qcow2
vm_run -m 256 -drive \
	"file=nbd+unix:///?socket=$SOCK,format=raw,if=virtio,discard=unmap" \
	<<'END'
mount -t ext4 -o discard /dev/vda /mnt
cd /mnt
sha256sum -c -s seed.sum
rm seed
sync
dd if=/dev/urandom of=new bs=64k count=96 2>/dev/null
mkdir many
for i in $(seq 200); do echo "file $i" >many/$i; done
sha256sum new many/* >new.sum
fstrim /mnt || true
cd /
umount /mnt
END
stop_server

qemu-img check -q disk.qcow2
qemu-img convert -O raw disk.qcow2 after.raw
e2fsck -fn after.raw
mkdir dump
debugfs -R 'rdump / dump' after.raw 2>/dev/null
(cd dump && sha256sum -c --quiet new.sum)
[ ! -e dump/seed ] && [ "$(find dump/many -type f | wc -l)" = 200 ]
