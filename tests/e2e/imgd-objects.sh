#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# imgd: secrets that are encrypted, lists of who may in a file, TLS without
# certificates.
. "$(dirname "$0")/../lib/e2e.sh"
. "$SRC/tests/lib/pki.sh"
needs certtool openssl nbdcopy nbdinfo qemu-img qemu-io qemu-nbd "$IMGD"

new_ca ca
new_cert ca server server 'cn = "localhost"' 'dns_name = "localhost"'
new_cert ca alice client 'cn = "alice"'
new_cert ca bob client 'cn = "bob"'
random_file disk.raw 1000448
ln -s "$IMGD" qemu-nbd
x509=tls-creds-x509,id=tls,endpoint=server,dir=$TMP/server

# as WHO [EXPORT]
as()
{
	echo "nbds+unix:///${2-}?socket=$SOCK&tls-certificates=$TMP/$1"
}

# ---- secrets -----------------------------------------------------------------

random_file key.bin 32 3
random_file iv.bin 16 4
base64 -w 0 key.bin >key.b64
iv=$(base64 iv.bin)
hex()
{
	od -An -v -tx1 "$1" | tr -d ' \n'
}
key_hex=$(hex key.bin)
master=secret,id=master,format=base64,file=$TMP/key.b64

# encrypt TEXT: into text.b64 and text.bin
encrypt()
{
	printf %s "$1" | openssl enc -aes-256-cbc -K "$key_hex" \
		-iv "$(hex iv.bin)" >text.bin
	base64 -w 0 text.bin >text.b64
}

# Does the password open the server's key?  Both are asked.
# opens SECRET-PROPERTIES [MASTER]
opens()
{
	local server
	for server in start_qemu_nbd start_imgd; do
		$server -e 8 -f raw --object "${2-$master}" \
			--object "secret,id=pw,keyid=master,iv=$iv,$1" \
			--object "$x509,passwordid=pw" --tls-creds tls disk.raw
		expect_exit 0 nbdinfo --size "$(as alice)"
		expect_out 1000448
		stop_server
	done
}

cp server/server-key.pem plain-key.pem
for password in geheim 'sixteen bytes ..' 'forty characters, more than two blocks..'
do
	certtool --load-privkey plain-key.pem --to-p8 --password "$password" \
		--outfile server/server-key.pem 2>/dev/null
	encrypt "$password"
	opens "format=base64,data=$(cat text.b64)"
done
opens "format=base64,file=$TMP/text.b64"
opens "file=$TMP/text.bin" "secret,id=master,file=$TMP/key.bin"

# So it is with the key of an encrypted image, here made by the reference.
encrypt geheim
sealed="secret,id=s,keyid=master,iv=$iv,data=$(cat text.b64),format=base64"
qemu-img create -q -f luks --object "$master" --object "$sealed" \
	-o key-secret=s,iter-time=10 disk.luks 1000448
luks=driver=luks,key-secret=s,file.filename=disk.luks
qemu-img convert --object "$master" --object "$sealed" -n --target-image-opts \
	-f raw disk.raw "$luks"
start_imgd --object "$master" --object "$sealed" -r --image-opts "$luks"
nbdcopy "$URI" out.raw
same disk.raw out.raw
stop_server
expect_exit 0 "$IMGCTL" convert --object "$master" --object "$sealed" \
	--image-opts "$luks" -O raw out.raw
same disk.raw out.raw

# What is wrong is said as the reference says it.
# check OBJECT...
check()
{
	local args=() object
	for object; do
		args+=(--object "$object")
	done
	expect_exit 1 timeout 20 qemu-nbd -k "$TMP/s" "${args[@]}" -f raw none
	mv err want
	expect_exit 1 ./qemu-nbd -k "$TMP/s" "${args[@]}" -f raw none
	same want err
	grep -e "$key_hex" -e "$(cat key.b64)" err &&
		fail 'a secret is in a message'
	return 0
}
encrypt geheim
good="data=$(cat text.b64),format=base64"
check "secret,id=s,keyid=nobody,iv=$iv,$good"
check "$master" "secret,id=s,keyid=master,$good"
check "$master" "secret,id=s,keyid=master,iv=AAAA,$good"
check "$master" "secret,id=s,keyid=master,iv=*%,$good"
check secret,id=master,data=short \
	"secret,id=s,keyid=master,iv=$iv,$good"
head -c 33 /dev/zero >long.bin
check "secret,id=master,file=$TMP/long.bin" \
	"secret,id=s,keyid=master,iv=$iv,$good"
check "$master" "secret,id=s,keyid=master,iv=$iv,data=AAAA,format=base64"
check "$master" "secret,id=s,keyid=master,iv=$(head -c 17 /dev/zero |
	base64),$good"
# The end of what was encrypted says how long it is, in each of its bytes: the
# reference looks at the last one alone.
odd_end()
{
	printf "fourteen bytes%b" "$1" | openssl enc -aes-256-cbc \
		-K "$key_hex" -iv "$(hex iv.bin)" -nopad | base64 -w 0 >odd.b64
	odd="secret,id=s,keyid=master,iv=$iv,data=$(cat odd.b64),format=base64"
}
odd_end '.\x11'
check "$master" "$odd"
for end in '.\0' '\3\2'; do
	odd_end "$end"
	expect_exit 1 "$IMGD" --object "$master" --object "$odd" -f raw disk.raw
	expect_err 'Incorrect number of padding bytes'
done
check "$master" "secret,id=s,keyid=master,iv=$iv,data=A*AA,format=base64"
check "secret,id=s,data=A*AA,format=base64"
# A wrong key: what comes out has no proper end.
random_file other.bin 32 8
check "secret,id=master,file=$TMP/other.bin" \
	"secret,id=s,keyid=master,iv=$iv,$good"
expect_exit 1 "$IMGD" --object "$master" --object \
	"secret,id=s,keyid=master,iv=$iv,data=" -f raw disk.raw
expect_err 'Length 0 must be'
expect_exit 1 "$IMGD" --object authz-simple,id=a,identity=x --object \
	"secret,id=s,keyid=a,iv=$iv,$good" -f raw disk.raw
expect_err "Object with id 'a' is not a secret"
mv plain-key.pem server/server-key.pem

# ---- who may, in a file ------------------------------------------------------

# allow NAME: in one step
allow()
{
	cat >new.json <<END
{ "policy": "deny", "rules": [
  { "match": "CN=$1*", "policy": "allow", "format": "glob" } ] }
END
	mv new.json who.json
}

enters()
{
	expect_exit 0 nbdinfo --size "$(as "$1" "${2-}")"
}

refused()
{
	expect_exit 1 nbdinfo --size "$(as "$1" "${2-}")"
	kill -0 "$SERVER_PID"
}

allow alice
list=authz-list-file,id=who,filename=who.json
start_imgd -v -e 0 -f raw --object "$x509" --tls-creds tls --tls-authz who \
	--object "$list" disk.raw
enters alice
refused bob
allow bob
refused alice
enters bob
# What cannot be read allows nobody.
echo '{ "policy": "allow", ' >who.json
refused alice
refused bob
rm who.json
refused bob
echo '{ "policy": "allow" }' >who.json
enters alice
stop_server
grep -q "who.json: " "$TMP/server-$server_n.log" ||
	fail 'the list that cannot be read is not in the log'

# Read once; for one of the exports; after the change to another folder.
allow alice
next_socket
"$IMGD" --fork --pid-file "$TMP/pid" -t -k "$SOCK" --object "$x509" \
	--tls-creds tls --object "$list" --object "${list/id=who/id=once},refresh=off" \
	--export first=disk.raw,format=raw,read-only=on,tls-authz=who \
	--export second=disk.raw,format=raw,read-only=on,tls-authz=once
SERVER_PID=$(cat pid)
on_exit kill_daemon "$SERVER_PID"
for name in first second; do
	enters alice $name
	refused bob $name
done
allow bob
refused alice first
enters bob first
enters alice second
refused bob second
kill "$SERVER_PID"

# list_is TEXT MESSAGE
list_is()
{
	printf %s "$1" >who.json
	expect_exit 1 "$IMGD" -f raw --object "$x509" --tls-creds tls \
		--tls-authz who --object "$list" disk.raw
	expect_err "who.json: $2"
}
list_is '' 'not a JSON object'
list_is '[]' 'not a JSON object'
list_is '{ "policy": "maybe" }' \
	"Parameter 'policy' does not accept value 'maybe'"
list_is '{ "rules": [ { "match": "a" } ] }' \
	"Parameter 'rules.0.policy' is missing"
list_is '{ "rules": [ { "match": "a", "policy": "allow", "what": 1 } ] }' \
	"Parameter 'rules.0.what' is unexpected"
rm who.json
expect_exit 1 "$IMGD" -f raw --object "$x509" --tls-creds tls --tls-authz who \
	--object "$list" disk.raw
expect_err 'Unable to read who.json: No such file'
expect_exit 1 "$IMGD" --object authz-list-file,id=a -f raw disk.raw
expect_err "Parameter 'filename' is missing"

# ---- TLS without certificates ------------------------------------------------

server=tls-creds-anon,id=tls,endpoint=server
client=tls-creds-anon,id=c,endpoint=client
opts()
{
	echo "driver=raw,file.driver=nbd,file.server.type=unix,$(
	)file.server.path=$SOCK,file.tls-creds=c"
}
start_imgd -e 0 -f raw --object "$server" --tls-creds tls disk.raw
expect_exit 0 qemu-io --object "$client" --image-opts -c 'write -P 7 0 64k' \
	-c 'read -P 7 0 64k' "$(opts)"
expect_exit 0 qemu-nbd -L -k "$SOCK" --object "$client" --tls-creds c
expect_out 'exports available: 1'
expect_exit 0 "$IMGD" -L -k "$SOCK" --object "$client" --tls-creds c
expect_out 'exports available: 1'
expect_exit 1 nbdinfo "$URI"
expect_exit 1 nbdinfo "$(as alice)"
stop_server
[ "$(head -c 1 disk.raw)" = $'\a' ]
start_qemu_nbd -e 8 -f raw --object "$server" --tls-creds tls disk.raw
expect_exit 0 "$IMGD" -L -k "$SOCK" --object "$client" --tls-creds c
expect_out 'exports available: 1'
stop_server

# Nobody is known: a list allows nobody in.
start_imgd -e 0 -f raw --object "$server" --tls-creds tls --tls-authz a \
	--object authz-list,id=a,policy=allow disk.raw
expect_exit 1 qemu-io --object "$client" --image-opts -c 'read 0 512' \
	"$(opts)"
stop_server
