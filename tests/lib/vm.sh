# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# Virtual machines for tests that need a kernel of their own.  The kernel is
# Debian's (the package of the running release, unpacked, not installed), the
# rest busybox; the machine is emulated, so this takes a while.
#
# Source it after e2e.sh; then
#	vm_make MODULE...	the guest's root, with these modules in /modules
#	vm_add PROGRAM...	programs and their libraries into it
#	vm_run QEMU-ARG...	the guest runs the script on stdin, with `sh -e`,
#				to its end; what it prints is in guest.log

# For disks, in this order; loaded before the script begins.
vm_disks='virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev
virtio_pci virtio_blk'

needs qemu-system-x86_64 busybox cpio dpkg-deb apt-get

# The kernel of this release, from where the system's packages come from, which
# may be busy.
fetch_kernel()
{
	local package try
	package=$(apt-cache depends linux-image-cloud-amd64 |
		awk '/Depends: linux-image-[0-9]/ { print $2 }')
	[ -n "$package" ] || return 1
	mkdir -p kernel
	for try in 1 2 3; do
		if (cd kernel && timeout 60 apt-get download "$package") \
			>/dev/null 2>fetch.log; then
			dpkg-deb -x kernel/*.deb kernel
			return
		fi
		sleep "$try"
	done
	cat fetch.log >&2
	return 1
}

vm_make()
{
	local module
	fetch_kernel || skip "no kernel could be had"
	mkdir -p root/bin root/etc root/mnt root/proc root/sys root/dev \
		root/modules root/tmp
	cp "$(command -v busybox)" root/bin/
	echo 'root:x:0:0::/:/bin/sh' >root/etc/passwd
	echo 'nobody:x:65534:65534::/:/bin/sh' >>root/etc/passwd
	for module in $vm_disks "$@"; do
		find kernel -name "$module.ko*" -exec cp {} root/modules/ \;
		[ -e "root/modules/$module.ko" ] ||
			fail "the kernel has no module $module"
	done
}

vm_add()
{
	local program file
	for program; do
		cp "$program" root/bin/
		ldd "$program" | grep -o '/[^ ]*' | while read -r file; do
			mkdir -p "root$(dirname "$file")"
			cp -L "$file" "root$file"
		done
	done
}

vm_run()
{
	cat >root/test
	cat >root/init <<-END
	#!/bin/busybox sh
	/bin/busybox --install -s /bin
	export PATH=/bin
	mount -t proc none /proc
	mount -t sysfs none /sys
	mount -t devtmpfs none /dev
	for m in ${vm_disks//$'\n'/ }; do insmod /modules/\$m.ko; done
	sh -e /test && echo GUEST-IS-DONE
	poweroff -f
	END
	chmod +x root/init
	(cd root && find . | cpio -o -H newc 2>/dev/null) | gzip -1 >initrd
	timeout 280 qemu-system-x86_64 -accel tcg -nographic -no-reboot \
		-nodefaults -serial stdio -kernel kernel/boot/vmlinuz-* \
		-initrd initrd -append 'console=ttyS0 quiet panic=-1' "$@" \
		>guest.log 2>&1 </dev/null || true
	grep -q GUEST-IS-DONE guest.log || {
		cat guest.log >&2
		fail "the guest did not finish"
	}
}
