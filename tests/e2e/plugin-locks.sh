#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# nbdkit image and other programs that use the same image at the same time.
. "$(dirname "$0")/../lib/e2e.sh"
needs nbdkit nbdinfo qemu-img qemu-io qemu-nbd "$PLUGIN"

qemu-img create -q -f qcow2 disk.qcow2 1M

# A virtual machine writes to it (qemu-nbd stands for it): refused at start.
start_qemu_nbd -f qcow2 disk.qcow2
expect_exit 1 nbdkit -r -U - "$PLUGIN" disk.qcow2 --run 'echo served'
expect_err disk.qcow2
expect_err lock
[ ! -s out ]
stop_server

# We write: others are kept out.  We only read: others may read too.
start_nbdkit "$PLUGIN" disk.qcow2
expect_exit 0 qemu-io -f raw -c 'write 0 64k' "$URI"
expect_exit 1 qemu-img info disk.qcow2
expect_err lock
stop_server
start_nbdkit -r "$PLUGIN" disk.qcow2
nbdinfo --size "$URI" >/dev/null
expect_exit 0 qemu-img info disk.qcow2
expect_exit 1 qemu-io -c 'write 0 64k' disk.qcow2
expect_exit 0 nbdkit -r -U - "$PLUGIN" disk.qcow2 --run 'nbdinfo --size "$uri"'
stop_server
