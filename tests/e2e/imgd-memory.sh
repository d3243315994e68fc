#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# imgd: what 64 clients cost that are connected and do nothing, plain and with
# TLS, before and after all of them have read and written.
. "$(dirname "$0")/../lib/e2e.sh"
. "$SRC/tests/lib/pki.sh"
needs certtool nbdsh qemu-img "$IMGD"

limit_kib=65536

new_ca ca
new_cert ca server server 'cn = "localhost"' 'dns_name = "localhost"'
new_cert ca alice client 'cn = "alice"'
qemu-img create -q -f qcow2 -o cluster_size=64k disk.qcow2 64M

# memory URI: sets the most that the server had with all the clients idle.
memory()
{
	expect_exit 0 nbdsh -c "uri, pid = '$1', $SERVER_PID" -c '
def resident():
    with open("/proc/%d/status" % pid) as f:
        return int(next(x for x in f if x.startswith("VmRSS:")).split()[1])

clients = [nbd.NBD() for i in range(64)]
for c in clients:
    c.set_uri_allow_local_file(True)
    c.connect_uri(uri)
before = resident()
for i, c in enumerate(clients):
    c.pwrite(bytes([i + 1]) * (1 << 20), i << 20)
    for k in range(8):
        assert c.pread(1 << 20, i << 20) == bytes([i + 1]) * (1 << 20)
        c.pread(4096, (i << 20) + (k << 12))
    c.flush()
print("connected:", before, "KiB, used:", resident(), "KiB")
for c in clients:
    c.shutdown()'
	cat out
	for kib in $(grep -o '[0-9]*' out); do
		[ "$kib" -gt 1000 ] && [ "$kib" -lt "$limit_kib" ] ||
			fail "64 idle clients take $kib KiB"
	done
}

start_imgd -e 0 -f qcow2 disk.qcow2
memory "$URI"
stop_server
start_imgd -e 0 -f qcow2 --tls-creds tls \
	--object "tls-creds-x509,id=tls,endpoint=server,dir=$TMP/server" \
	disk.qcow2
memory "nbds+unix:///?socket=$SOCK&tls-certificates=$TMP/alice"
stop_server
