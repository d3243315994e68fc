#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# A virtual machine runs from imgd: a small Linux mounts the disk, checks what
# is on it, writes, trims and shuts down; then the file system is clean and
# holds what the guest says it wrote.
#
# The kernel is Debian's (the package of the running release, unpacked, not
# installed), the rest busybox; the machine is emulated, so this takes a while.
. "$(dirname "$0")/../lib/e2e.sh"
needs qemu-system-x86_64 busybox mke2fs e2fsck debugfs qemu-img cpio dpkg-deb \
	apt-get "$IMGD"

# The kernel of this release, from where the system's packages come from.
fetch_kernel()
{
	local package
	package=$(apt-cache depends linux-image-cloud-amd64 |
		awk '/Depends: linux-image-[0-9]/ { print $2 }')
	[ -n "$package" ] && mkdir kernel && (cd kernel &&
		timeout 120 apt-get download "$package") >/dev/null 2>&1 &&
		dpkg-deb -x kernel/*.deb kernel
}

fetch_kernel || skip "no kernel could be had"

# The guest: what it prints last says whether all went well.
mkdir -p root/bin root/mnt root/proc root/dev root/modules
cp "$(command -v busybox)" root/bin/
for module in virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev \
	virtio_pci virtio_blk; do
	find kernel -name "$module.ko*" -exec cp {} root/modules/ \;
done
cat >root/init <<'END'
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc none /proc
mount -t devtmpfs none /dev
for m in virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev \
	virtio_pci virtio_blk; do
	insmod /modules/$m.ko
done
work()
{
	set -e
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
}
(work) && echo GUEST-IS-DONE
poweroff -f
END
chmod +x root/init
(cd root && find . | cpio -o -H newc 2>/dev/null) | gzip -1 >initrd

# The disk: an ext4 file system in an overlay upon a compressed qcow2.
mkdir seed
random_file seed/seed 6291456
(cd seed && sha256sum seed >seed.sum)
mke2fs -q -t ext4 -d seed fs.raw 64M
qemu-img convert -c -O qcow2 fs.raw base.qcow2
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 disk.qcow2 64M

start_imgd -f qcow2 -e 2 --discard=unmap disk.qcow2
timeout 280 qemu-system-x86_64 -accel tcg -m 256 -nographic -no-reboot \
	-nodefaults -serial stdio -kernel kernel/boot/vmlinuz-* -initrd initrd \
	-append 'console=ttyS0 quiet panic=-1' -drive \
	"file=nbd+unix:///?socket=$SOCK,format=raw,if=virtio,discard=unmap" \
	>guest.log 2>&1 </dev/null || true
grep -q GUEST-IS-DONE guest.log || {
	cat guest.log >&2
	fail "the guest did not finish"
}
stop_server

qemu-img check -q disk.qcow2
qemu-img convert -O raw disk.qcow2 after.raw
e2fsck -fn after.raw
mkdir dump
debugfs -R 'rdump / dump' after.raw 2>/dev/null
(cd dump && sha256sum -c --quiet new.sum)
[ ! -e dump/seed ] && [ "$(find dump/many -type f | wc -l)" = 200 ]
