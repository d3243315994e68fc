#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# imgctl with NBD servers that want TLS: certificates and keys.
. "$(dirname "$0")/../lib/e2e.sh"
. "$SRC/tests/lib/pki.sh"
needs certtool psktool nbdkit qemu-nbd qemu-img "$IMGD"

"$IMGCTL" info nbd: 2>err || true
grep -q 'built without' err && skip "built without NBD support"

new_ca ca
new_ca strange-ca
new_cert ca server server 'cn = "localhost"' 'dns_name = "localhost"' \
	'ip_address = "127.0.0.1"'
new_cert ca elsewhere server 'cn = "elsewhere"' 'dns_name = "elsewhere"'
new_cert ca alice client 'cn = "alice"'
new_cert strange-ca stranger client 'cn = "alice"'
mkdir keys other-keys empty
psktool -u alice -p keys/keys.psk >psk.log 2>&1
psktool -u alice -p other-keys/keys.psk >psk.log 2>&1
random_file data.raw 3000320
cp data.raw disk.raw

x509=tls-creds-x509,id=c,dir=$TMP/alice,endpoint=client
psk=tls-creds-psk,id=c,dir=$TMP/keys,username=alice,endpoint=client
stranger=tls-creds-x509,id=c,dir=$TMP/stranger
opts()
{
	echo "driver=raw,file.driver=nbd,file.path=$SOCK,file.tls-creds=c"
}

# uri PARAMETERS: of the newest server.
uri()
{
	echo "nbds+unix://${2-}/?socket=$SOCK&$1"
}

# try_creds OBJECT PARAMETERS [USER@]: there and back, both ways to say it.
try_creds()
{
	expect_exit 0 "$IMGCTL" convert --object "$1" --image-opts \
		"$(opts)" out.raw
	same data.raw out.raw
	expect_exit 0 "$IMGCTL" compare -f raw -F raw \
		"$(uri "$2" "${3-}")" data.raw
	expect_exit 0 "$IMGCTL" convert --object "$1" -n -O raw data.raw \
		"$(uri "$2" "${3-}")"
}

server_x509=tls-creds-x509,id=tls,endpoint=server,dir=$TMP/server
server_psk=tls-creds-psk,id=tls,endpoint=server,dir=$TMP/keys
start_imgd -e 0 -f raw --object "$server_x509" --tls-creds tls disk.raw
try_creds "$x509" "tls-certificates=$TMP/alice"
# The name as in `info`, by both.
"$IMGCTL" info "$(uri "tls-certificates=$TMP/alice")" >info.txt
grep -q "^image: nbds+unix://?socket=$SOCK\$" info.txt

# Who is not let in, and who does not let in.
expect_exit 1 "$IMGCTL" info "$URI"
expect_err "NBD negotiation failed"
expect_exit 1 "$IMGCTL" info --object "$stranger" --image-opts "$(opts)"
expect_err "NBD negotiation failed"
stop_server

start_qemu_nbd -e 8 -f raw --object "$server_x509,verify-peer=on" \
	--tls-creds tls disk.raw
try_creds "$x509" "tls-certificates=$TMP/alice"
stop_server
start_nbdkit --tls=require --tls-certificates="$TMP/server" \
	--tls-verify-peer file disk.raw
try_creds "$x509" "tls-certificates=$TMP/alice"
stop_server

start_imgd -e 0 -f raw --object "$server_psk" --tls-creds tls disk.raw
try_creds "$psk" "tls-psk-file=$TMP/keys/keys.psk" alice@
expect_exit 1 "$IMGCTL" info "$(uri "tls-psk-file=$TMP/other-keys/keys.psk" \
	alice@)"
expect_exit 1 "$IMGCTL" info "$(uri "tls-psk-file=$TMP/keys/keys.psk" bob@)"
stop_server
start_nbdkit --tls=require --tls-psk="$TMP/keys/keys.psk" file disk.raw
try_creds "$psk" "tls-psk-file=$TMP/keys/keys.psk" alice@
stop_server
# TLS is not left out where the server has none.
start_nbdkit file disk.raw
expect_exit 1 "$IMGCTL" info "$(uri "tls-certificates=$TMP/alice")"
stop_server

# The name in the certificate is that of the host, over TCP.
free_port()
{
	python3 -c 'import socket
s = socket.socket()
s.bind(("127.0.0.1", 0))
print(s.getsockname()[1])'
}
# tcp_server DIR: sets port
tcp_server()
{
	port=$(free_port)
	rm -f tcp.pid
	nbdkit -f -i localhost -p "$port" -P tcp.pid --tls=require \
		--tls-certificates="$TMP/$1" file disk.raw 2>tcp.log &
	on_exit kill_server $!
	wait_for tcp.pid
}
tcp_server server
for host in localhost 127.0.0.1; do
	expect_exit 0 "$IMGCTL" compare -f raw -F raw \
		"nbds://$host:$port/?tls-certificates=$TMP/alice" data.raw
done
expect_exit 0 "$IMGCTL" info --object "$x509" --image-opts \
	"driver=nbd,host=localhost,port=$port,tls-creds=c,tls-hostname=localhost"
tcp_server elsewhere
expect_exit 1 "$IMGCTL" info \
	"nbds://localhost:$port/?tls-certificates=$TMP/alice"
expect_err "NBD negotiation failed"
expect_exit 0 "$IMGCTL" info \
	"nbds://localhost:$port/?tls-certificates=$TMP/alice&tls-verify-peer=0"

# Objects that do not fit.
wrong()
{
	expect_exit 1 "$IMGCTL" info --object "$1" --image-opts "$(opts)$3"
	expect_err "$2"
}
wrong "${x509/id=c/id=d}" "No TLS credentials with id 'c'" ''
wrong secret,id=c,data=x "Object with id 'c' is not TLS credentials" ''
wrong "${x509/client/server}" "Expecting TLS credentials with a client" ''
wrong tls-creds-x509,id=c "No directory ('dir') in object 'c'" ''
wrong tls-creds-x509,id=c,dir="$TMP/empty" \
	"Unable to access credentials $TMP/empty/ca-cert.pem: No such file" ''
wrong tls-creds-psk,id=c,dir="$TMP/empty" \
	"Unable to access credentials $TMP/empty/keys.psk: No such file" ''
wrong tls-creds-anon,id=c,dir="$TMP/alice" "cannot be used" ''
wrong "$x509,priority=NORMAL" "takes no 'priority'" ''
wrong "$x509" "no other 'tls-hostname'" ',file.tls-hostname=x'
