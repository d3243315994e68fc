#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# imgd --list: what qemu-nbd --list prints of the same server, and as JSON.
. "$(dirname "$0")/../lib/e2e.sh"
. "$SRC/tests/lib/pki.sh"
needs certtool psktool jq nbdkit qemu-img qemu-nbd "$IMGD"

qemu-img create -q -f qcow2 disk.qcow2 10M
qemu-img bitmap --add disk.qcow2 b0
truncate -s 1M raw.img
ln -s "$IMGD" qemu-nbd

# agree ARGS...: of the server on $SOCK.  The reference here is older than the
# line with the size of transactions, and than extended headers.
agree()
{
	expect_exit 0 qemu-nbd -L -k "$SOCK" "$@"
	mv out want
	expect_exit 0 ./qemu-nbd --list -k "$SOCK" "$@"
	sed -e '/transaction size/d' -e 's/flags: 0x1/flags: 0x/' \
		-e 's/ block-status-payload//' out >got
	same want got
}

start_qemu_nbd -e 0 -A -B b0 -x 'a name' -D 'a text' -f qcow2 disk.qcow2
agree
expect_out 'transaction size: 32-bit'
stop_server
start_nbdkit memory 1M
agree
stop_server
start_imgd -r -A -B b0 -x 'a name' -D 'a text' -f qcow2 disk.qcow2
agree
expect_out 'transaction size: 64-bit'
expect_exit 0 "$IMGD" -L -k "$SOCK" --output=json
jq -e '.tls == false and .exports[0] == {
	"name": "a name", "description": "a text", "size": 10485760,
	"flags": ["readonly", "flush", "fua", "df", "cache",
		"block-status-payload"],
	"min-block": 1, "opt-block": 4096, "max-block": 33554432,
	"transaction-size": "64-bit",
	"meta-contexts": ["base:allocation", "qemu:allocation-depth",
		"imgd:map", "qemu:dirty-bitmap:b0"]}' out >/dev/null || {
	cat out
	fail 'not the JSON that was expected'
}
stop_server
start_imgd -r --export one=disk.qcow2 --export two=raw.img,format=raw
agree
expect_out 'exports available: 2'
expect_exit 0 "$IMGD" -L -k "$SOCK" --output=human
expect_out "export: 'two'"
stop_server

# Over TCP.
expect_exit 0 "$IMGD" -f raw -b 127.0.0.1 -p 0 -e 0 raw.img --run "
	'$IMGD' -L -b 127.0.0.1 -p \$port"
expect_out 'size:  1048576'

# TLS, with certificates and with keys.
new_ca ca
new_cert ca server server 'cn = "localhost"' 'dns_name = "localhost"'
new_cert ca client client 'cn = "alice"'
mkdir keys
psktool -u alice -p keys/keys.psk >/dev/null 2>&1
x509=tls-creds-x509,id=tls,dir
psk=tls-creds-psk,id=tls,dir=$TMP/keys
start_imgd -e 0 -f raw --tls-creds tls raw.img \
	--object "$x509=$TMP/server,endpoint=server"
agree --tls-creds tls --object "$x509=$TMP/client,endpoint=client" \
	--tls-hostname localhost
expect_exit 0 "$IMGD" -L -k "$SOCK" --output=json --tls-hostname localhost \
	--tls-creds tls --object "$x509=$TMP/client,endpoint=client"
jq -e '.tls == true' out >/dev/null
# refused WORDS ARGS...
refused()
{
	local words=$1
	shift
	expect_exit 1 "$IMGD" -L -k "$SOCK" "$@"
	expect_err "$words"
}
refused 'TLS negotiation required before option 3 (list)'
expect_err 'Did you forget a valid tls-creds?'
expect_err 'server reported: TLS is required'
refused 'No hostname for certificate validation' --tls-creds tls \
	--object "$x509=$TMP/client,endpoint=client"
refused 'certificate verification' --tls-creds tls \
	--object "$x509=$TMP/client,endpoint=client" --tls-hostname elsewhere
refused 'Expected TLS credentials for a client endpoint' --tls-creds tls \
	--object "$x509=$TMP/server,endpoint=server" --tls-hostname localhost
stop_server
start_imgd -e 0 -f raw --tls-creds tls --object "$psk,endpoint=server" raw.img
agree --tls-creds tls --object "$psk,endpoint=client,username=alice"
refused "No key of user 'bob'" --tls-creds tls \
	--object "$psk,endpoint=client,username=bob"
stop_server
start_imgd -e 0 -f raw raw.img
refused 'Denied by server for option 5 (starttls)' --tls-creds tls \
	--object "$psk,endpoint=client,username=alice"
stop_server

# Servers that do not keep to the protocol.  hostile BYTES: this is all that it
# sends.
hostile()
{
	next_socket
	python3 - "$SOCK" "$1" 2>/dev/null <<'END' &
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
s.listen()
c = s.accept()[0]
c.sendall(eval("b'" + sys.argv[2] + "'"))
c.shutdown(socket.SHUT_WR)
while c.recv(1000):
    pass
END
	wait_until listening "$SOCK"
	expect_exit 1 timeout 20 "$IMGD" -L -k "$SOCK"
	wait $! || true
}
greeting='NBDMAGICIHAVEOPT\0\3'
reply='\0\3\xe8\x89\4\x55\x65\xa9'
hostile ''
hostile 'SSH-2.0-OpenSSH_9.2'
expect_err 'Bad initial magic'
hostile 'NBDMAGIC\0\0\x42\x02\x81\x86\x12\x53'
expect_err 'old style'
hostile 'NBDMAGICIHAVEOPT\0\0'
expect_err 'does not support NBD_OPT_LIST'
hostile "$greeting$reply\\0\\0\\0\\x0b\\0\\0\\0\\1\\xff\\xff\\xff\\xff"
expect_err '4294967295 bytes'
hostile "$greeting$reply\\0\\0\\0\\x0c\\0\\0\\0\\1\\0\\0\\0\\0"
expect_err 'reply to option 11'
ack="$reply\\0\\0\\0\\x0b\\0\\0\\0\\1\\0\\0\\0\\0"
hostile "$greeting$ack$reply\\0\\0\\0\\3\\0\\0\\0\\2\\0\\0\\0\\4\\0\\0\\0\\1"
expect_err 'an export without a name'
hostile "$greeting$ack$reply\\0\\0\\0\\3\\x80\\0\\0\\2\\0\\0\\0\\3no\\x1b"
expect_err 'server reported: no?'

# It waits to be let go: what the server opened for it is closed then.
next_socket
python3 - "$SOCK" <<'END' &
import os, socket, struct, sys, time
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
s.listen()
c = s.accept()[0]
c.sendall(b"NBDMAGICIHAVEOPT\0\3")
c.recv(4, socket.MSG_WAITALL)
option = 0
while option != 2:
    option, = struct.unpack(">8xI4x", c.recv(16, socket.MSG_WAITALL))
    if option == 2:
        time.sleep(0.2)
        open("closed", "w").close()
    c.sendall(struct.pack(">QIII", 0x3e889045565a9, option, 1, 0))
END
on_exit kill_server $!
wait_until listening "$SOCK"
expect_exit 0 timeout 20 "$IMGD" -L -k "$SOCK"
expect_out 'exports available: 0'
[ -e closed ]

# What does not go together.
check()
{
	expect_exit 1 qemu-nbd "$@"
	mv err want
	expect_exit 1 ./qemu-nbd "$@"
	same want err
}
check -L raw.img
check -L -x a
check -L -A
check -L -B a
check -L -o 1
check -L -f raw
check -L --cache=none
check -L --discard=unmap
check -L --fork
check -L --tls-hostname x
check -L --tls-creds x --tls-authz y
check -L -k "$TMP/nope"
check -L -b 127.0.0.1 -p 1
check -L -k relative
check --tls-creds x --tls-hostname y raw.img
expect_exit 1 "$IMGD" -L --output=bogus
expect_err '--output must be used with human or json'
