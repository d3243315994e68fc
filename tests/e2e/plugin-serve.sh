#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# nbdkit image: what a client learns of the export, reading and writing it.
. "$(dirname "$0")/../lib/e2e.sh"
needs nbdkit nbdinfo nbdcopy qemu-img qemu-io setpriv "$PLUGIN"

info()
{
	nbdinfo --json --no-content "$URI" >info.json
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

random_file data.raw 3000000
qemu-img convert -f raw -O qcow2 -o cluster_size=128k data.raw disk.qcow2

start_nbdkit "$PLUGIN" disk.qcow2
size=$(qemu-img info --output=json disk.qcow2 |
	python3 -c 'import json, sys; print(json.load(sys.stdin)["virtual-size"])')
info export-size="$size" is_read_only=false can_flush=true can_fua=true \
	can_trim=true can_zero=true can_fast_zero=true can_multi_conn=true \
	can_cache=true is_rotational=false block_size_minimum=1 \
	block_size_preferred=131072 description='"qcow2 image"'

# Out, over four connections; then other data in, and out by another program.
truncate -s "$size" data.raw
nbdcopy --connections=4 "$URI" out.raw
same data.raw out.raw
random_file new.raw "$size" 2
nbdcopy --connections=4 --flush new.raw "$URI"
nbdcopy "$URI" out.raw
same new.raw out.raw
stop_server
expect_exit 0 qemu-img check disk.qcow2
expect_exit 0 qemu-img compare -f raw -F qcow2 new.raw disk.qcow2

# -r, a snapshot, a file that may not be written: the export says so, and the
# image stays as it is.
qemu-img snapshot -c first disk.qcow2
qemu-io -c 'write -P 7 0 1M' disk.qcow2 >/dev/null
before=$(sha disk.qcow2)
start_nbdkit -r "$PLUGIN" disk.qcow2
info is_read_only=true
expect_exit 1 qemu-io -f raw -c 'write 0 512' "$URI"
stop_server
start_nbdkit "$PLUGIN" disk.qcow2 snapshot=first
info is_read_only=true description='"qcow2 image, snapshot first"'
nbdcopy "$URI" out.raw
same new.raw out.raw
stop_server
chmod a-w disk.qcow2
may_not=()
[ "$(id -u)" != 0 ] || may_not=(setpriv --bounding-set=-all --inh-caps=-all)
if "${may_not[@]}" test ! -w disk.qcow2; then
	next_socket
	start_server "${may_not[@]}" nbdkit -f -U "$SOCK" "$PLUGIN" disk.qcow2
	info is_read_only=true
	nbdcopy "$URI" out.raw
	stop_server
fi
chmod u+w disk.qcow2
[ "$before" = "$(sha disk.qcow2)" ]

# Written below --run, where nbdkit is two processes.
expect_exit 0 nbdkit -U - "$PLUGIN" disk.qcow2 \
	--run 'qemu-io -f raw -c "write -P 7 0 1M" "$uri"'
before=$(sha disk.qcow2)

# An overlay is written, its base is not.
qemu-img create -q -f qcow2 -b disk.qcow2 -F qcow2 top.qcow2
start_nbdkit "$PLUGIN" top.qcow2
expect_exit 0 qemu-io -f raw -c 'write -P 9 1500000 1000' \
	-c 'read -P 9 1500000 1000' -c 'read -P 7 0 1M' "$URI"
stop_server
[ "$before" = "$(sha disk.qcow2)" ]
expect_exit 0 qemu-io -c 'read -P 9 1500000 1000' -c 'read -P 7 0 1M' top.qcow2
expect_exit 0 qemu-img check top.qcow2

# Odd sizes: every byte of the disk is served.
random_file odd.raw 100001
start_nbdkit "$PLUGIN" odd.raw format=raw
info export-size=100001 block_size_preferred=4096
nbdcopy "$URI" out.raw
same odd.raw out.raw
stop_server

# A raw image that was not called raw must not become another format.
truncate -s 1M plain.raw
printf 'QFI\373\0\0\0\003' >magic
truncate -s 512 magic
for given in '' format=raw; do
	start_nbdkit "$PLUGIN" plain.raw $given
	expect_exit 0 qemu-io -f raw -c 'write -P 5 0 512' \
		-c 'write -P 6 8k 512' "$URI"
	if [ -z "$given" ]; then
		expect_exit 1 qemu-io -f raw -c "write -s magic 0 512" "$URI"
		expect_exit 1 qemu-io -f raw -c "write -s magic 0 4k" "$URI"
		grep -q 'only guessed' server-$server_n.log
		expect_exit 0 qemu-io -f raw -c 'read -P 5 0 512' "$URI"
	else
		expect_exit 0 qemu-io -f raw -c "write -s magic 0 512" "$URI"
	fi
	stop_server
done
